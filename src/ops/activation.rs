//! Activations that are not plain rows of the elementwise table.

use super::elementwise::{
    Compiled, ELU_ROW, GELU_ERF, GELU_TANH, HARDSHRINK_ROW, HARDSIGMOID_ROW, HARDSWISH_ROW, HARDTANH_ROW, LEAKY_RELU_ROW, LOGIT,
    LOGIT_EPS, LOGSIGMOID_ROW, MISH_ROW, NAN_TO_NUM_ROW, RELU_ROW, Row, SILU_ROW, SOFTPLUS_ROW, SOFTSHRINK_ROW, THRESHOLD_ROW,
    apply, compile, mul,
};
use super::{Args, Registry, Ret, copy, inplace, view};
use crate::autograd::overwriting;
use crate::dtype::{Dtype, Element, Scalar, default_dtype};
use crate::error::Result;
use crate::expr::Operand;
use crate::expr::builder::wh;
use crate::gpu;
use crate::layout::{Dims, wrap_dim};
use crate::tensor::Tensor;
use crate::{bail, dispatch, ensure};
use std::sync::{Arc, OnceLock};

/// A row over one tensor, with numbers.
fn row(row: &'static Row, x: &Tensor, params: &[f64]) -> Result<Tensor> {
    let params: smallvec::SmallVec<[Scalar; 4]> = params.iter().map(|&p| p.into()).collect();
    row.call(&[Operand::T(x.clone())], &params, None)
}

/// A row that takes floating dtypes only; `kernel` is the name in the error.
fn float_row(r: &'static Row, kernel: &str, x: &Tensor, params: &[f64]) -> Result<Tensor> {
    float_only(x, kernel)?;
    row(r, x, params)
}

fn float_only(x: &Tensor, kernel: &str) -> Result<()> {
    ensure!(x.dtype().is_float(), NotImplemented, "\"{kernel}\" not implemented for '{}'", x.dtype().scalar_name());
    Ok(())
}

type F = fn(&Args) -> Result<Tensor>;

/// Writes the result over the first argument, and answers that.
fn over(a: &Args, f: F) -> Result<Ret> {
    let x = a.t(0);
    inplace::check_writable(x)?;
    let result = overwriting(x, || f(a))?;
    inplace::assign(x, result)?;
    Ok(x.clone().into())
}

/// The result, or with `inplace` at `i` the first argument after it is written there.
fn maybe_over(a: &Args, i: usize, f: F) -> Result<Ret> {
    if a.b(i) { over(a, f) } else { f(a).map(Ret::from) }
}

/// `max(x, 0)`. Differentiable.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    ensure!(x.dtype() != Dtype::Bool, Runtime, "Boolean inputs not supported for relu");
    ensure!(!x.dtype().is_complex(), NotImplemented, "clamp is not supported for complex types");
    row(&RELU_ROW, x, &[])
}

/// `x Phi(x)`, or its approximation by tanh. Differentiable.
pub fn gelu(x: &Tensor, approximate: &str) -> Result<Tensor> {
    let formula = match approximate {
        "none" => &GELU_ERF,
        "tanh" => &GELU_TANH,
        _ => bail!(Runtime, "approximate argument must be either none or tanh."),
    };
    float_row(formula, "GeluKernelImpl", x, &[])
}

/// `x`, or `slope * x` below 0. Differentiable.
pub fn leaky_relu(x: &Tensor, slope: f64) -> Result<Tensor> {
    float_row(&LEAKY_RELU_ROW, "leaky_relu_cpu", x, &[slope])
}

fn elu(x: &Tensor, alpha: f64, scale: f64, input_scale: f64) -> Result<Tensor> {
    float_row(&ELU_ROW, "elu_cpu", x, &[alpha, scale, input_scale])
}

const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;

fn selu(x: &Tensor) -> Result<Tensor> {
    elu(x, SELU_ALPHA, SELU_SCALE, 1.0)
}

fn celu(x: &Tensor, alpha: f64) -> Result<Tensor> {
    ensure!(alpha != 0.0, Runtime, "ZeroDivisionError: alpha cannot be 0 for CELU");
    elu(x, alpha, 1.0, 1.0 / alpha)
}

fn hardtanh(x: &Tensor, low: f64, high: f64) -> Result<Tensor> {
    ensure!(x.dtype() != Dtype::Bool, Runtime, "Bool inputs not supported for hardtanh");
    ensure!(
        !(x.dtype() == Dtype::U8 && (low < 0.0 || high < 0.0)),
        Runtime,
        "cannot do hardtanh on an unsigned type with negative limits"
    );
    row(&HARDTANH_ROW, x, &[low, high])
}

fn checked_hardtanh(a: &Args) -> Result<Tensor> {
    ensure!(a.f(1) <= a.f(2), Value, "min_val cannot be greater than max_val");
    hardtanh(a.t(0), a.f(1), a.f(2))
}

fn softshrink(x: &Tensor, lambd: f64) -> Result<Tensor> {
    float_only(x, "softshrink_check")?;
    let top = if x.dtype() == Dtype::F64 { f64::MAX } else { f32::MAX as f64 };
    ensure!(
        (0.0..=top).contains(&lambd),
        Runtime,
        "lambda must be in range [0, {}] for input dtype {}, but found {lambd}",
        if x.dtype() == Dtype::F64 { "1.79769e+308" } else { "3.40282e+38" },
        x.dtype().scalar_name()
    );
    row(&SOFTSHRINK_ROW, x, &[lambd])
}

/// `x / (1 + |x|)`. Differentiable.
fn softsign(x: &Tensor) -> Result<Tensor> {
    static F: OnceLock<Arc<Compiled>> = OnceLock::new();
    let f = F.get_or_init(|| compile(1, "DivBackward0", |x| x[0] / (x[0].abs() + 1.0)));
    formula(f, &[x])
}

fn tanhshrink(x: &Tensor) -> Result<Tensor> {
    static F: OnceLock<Arc<Compiled>> = OnceLock::new();
    let f = F.get_or_init(|| compile(1, "SubBackward0", |x| x[0] - x[0].tanh()));
    formula(f, &[x])
}

/// A formula over tensors of any real dtype; integers become the default float.
fn formula(f: &Arc<Compiled>, x: &[&Tensor]) -> Result<Tensor> {
    let operands: Vec<Operand> = x.iter().map(|t| Operand::T((*t).clone())).collect();
    let common = super::elementwise::result_type(&operands);
    let common = if common.is_integral() { default_dtype() } else { common };
    apply(f, &operands, &[], common, common, None)
}

/// `x`, or below 0 `weight * x`, with a weight for each channel or one for all. Differentiable.
pub fn prelu(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    ensure!(
        x.dtype() == w.dtype(),
        Runtime,
        "prelu: Type promoting not supported. Got {} and {}",
        x.dtype().scalar_name(),
        w.dtype().scalar_name()
    );
    ensure!(w.ndim() <= 1, Runtime, "prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {}", w.ndim());
    let mut shape = Dims::from_elem(1, x.ndim());
    if w.numel() != 1 {
        ensure!(x.ndim() > 0, Runtime, "Not allow zero-dim input tensor.");
        let channels = if x.ndim() > 1 { x.shape()[1] } else { 1 };
        ensure!(
            channels == w.numel(),
            Runtime,
            "Mismatch of parameter numbers and input channel size. Found parameter numbers = {} and channel size = {channels}.",
            w.numel()
        );
        // With one dimension the weights would have to be one.
        ensure!(x.ndim() > 1, Runtime, "prelu: the input has no channels");
        shape[1] = channels;
    }
    float_only(x, "prelu_cpu")?;
    static F: OnceLock<Arc<Compiled>> = OnceLock::new();
    let f = F.get_or_init(|| compile(2, "PreluKernelBackward0", |x| wh(x[0].gt(0.0), x[0], x[0] * x[1])));
    formula(f, &[x, &view::reshape_to(w, &shape)?])
}

/// `a * sigmoid(b)`, with the halves a and b of a dimension. Differentiable.
pub fn glu(x: &Tensor, dim: i64) -> Result<Tensor> {
    ensure!(x.ndim() > 0, Runtime, "glu does not support scalars because halving size must be even");
    let d = wrap_dim(dim, x.ndim())?;
    let n = x.shape()[d];
    ensure!(n % 2 == 0, Runtime, "Halving dimension must be even, but dimension {d} is size {n}");
    float_only(x, "glu_cpu")?;
    static F: OnceLock<Arc<Compiled>> = OnceLock::new();
    let f = F.get_or_init(|| compile(2, "GluBackward0", |x| x[0] * x[1].sigmoid()));
    let half = (n / 2) as i64;
    formula(f, &[&view::narrow(x, d as i64, 0, half)?, &view::narrow(x, d as i64, half, half)?])
}

/// Leaky relu whose slope is drawn anew for every element below 0 while training. Differentiable.
fn rrelu(x: &Tensor, lower: f64, upper: f64, training: bool, g: Option<&super::SharedGenerator>) -> Result<Tensor> {
    ensure!(lower <= upper, Runtime, "Lower bound should be less than or equal to the upper bound");
    if !training {
        return leaky_relu(x, (lower + upper) / 2.0);
    }
    ensure!(lower.is_finite() && upper.is_finite(), Runtime, "rrelu: the bounds must be finite");
    float_only(x, "rrelu_with_noise_out_cpu")?;
    if gpu::holds(x) {
        let (one, drawn) = (Tensor::scalar(1.0, x.dtype()), super::random::uniform_like(x, lower, upper, g)?);
        let below = super::reduce::tools::call2s(&super::elementwise::LE, &x.detach(), 0.0)?;
        return mul(x, &super::reduce::tools::choose(&below, &drawn, &one, x.dtype())?);
    }
    x.check_data("rrelu")?;
    let slopes = copy::contiguous(&copy::clone(&x.detach(), Some(super::MemoryFormat::Contiguous))?)?;
    let mut g = g.unwrap_or_else(|| super::random::default_generator()).lock();
    dispatch!(real "rrelu", slopes.dtype(), T => {
        for s in slopes.data_mut::<T>() {
            *s = T::from_f64(if s.to_f64() <= 0.0 { g.uniform53() * (upper - lower) + lower } else { 1.0 });
        }
    });
    drop(g);
    mul(x, &slopes)
}

/// `log(x / (1 - x))`, with x first limited to `[eps, 1 - eps]`. Differentiable.
pub fn logit(x: &Tensor, eps: Option<f64>) -> Result<Tensor> {
    match eps {
        None => row(&LOGIT, x, &[]),
        Some(low) => {
            let high = 1.0 - low;
            row(&LOGIT_EPS, x, &[low, high, (low / high).ln(), (high / low).ln()])
        }
    }
}

/// NaN and infinities replaced; by 0 and the largest numbers if nothing else is given. Differentiable.
pub fn nan_to_num(x: &Tensor, nan: Option<f64>, posinf: Option<f64>, neginf: Option<f64>) -> Result<Tensor> {
    if x.dtype().is_integral() {
        return copy::clone(x, None);
    }
    let top = match x.dtype() {
        Dtype::F16 => 65504.0,
        Dtype::BF16 => half::bf16::MAX.to_f64(),
        Dtype::F64 => f64::MAX,
        _ => f32::MAX as f64,
    };
    row(&NAN_TO_NUM_ROW, x, &[nan.unwrap_or(0.0), posinf.unwrap_or(top), neginf.unwrap_or(-top)])
}

/// `op(x, ...)`, with `inplace` last, and `op_(x, ...)`: the entries of one activation. Where the function
/// is also `torch.NAME`, the places are given.
macro_rules! activation {
    ($r:ident, $doc:literal, $i:literal, $f:expr, $functional:literal, $inplace:literal $(, $places:literal $plain:literal $target:literal)?) => {{
        const G: F = $f;
        $r.op("n", $functional, $doc, |a| maybe_over(a, $i, G));
        $r.op("n", $inplace, $doc, |a| over(a, G));
        $(
            $r.op($places, $plain, $doc, |a| G(a).map(Ret::from));
            $r.op("f", $target, $doc, |a| over(a, G));
        )?
    }};
}

pub(super) fn register(r: &mut Registry) {
    activation!(r, "max(x, 0).", 1, |a| relu(a.t(0)), "relu(Tensor self, bool inplace=False)", "relu_(Tensor self)", "fmi" "relu(Tensor self)" "relu_(Tensor self)");
    activation!(
        r,
        "x, or negative_slope * x below 0.",
        2,
        |a| leaky_relu(a.t(0), a.f(1)),
        "leaky_relu(Tensor self, Scalar negative_slope=0.01, bool inplace=False)",
        "leaky_relu_(Tensor self, Scalar negative_slope=0.01)"
    );
    activation!(
        r,
        "x, or alpha (exp(x) - 1) below 0.",
        2,
        |a| elu(a.t(0), a.f(1), 1.0, 1.0),
        "elu(Tensor self, Scalar alpha=1.0, bool inplace=False)",
        "elu_(Tensor self, Scalar alpha=1.0)"
    );
    activation!(r, "elu with the constants that keep mean and variance.", 1, |a| selu(a.t(0)),
        "selu(Tensor self, bool inplace=False)", "selu_(Tensor self)", "f" "selu(Tensor self)" "selu_(Tensor self)");
    activation!(r, "x, or alpha (exp(x / alpha) - 1) below 0.", 2, |a| celu(a.t(0), a.f(1)),
        "celu(Tensor self, Scalar alpha=1.0, bool inplace=False)", "celu_(Tensor self, Scalar alpha=1.0)",
        "f" "celu(Tensor self, Scalar alpha=1.0)" "celu_(Tensor self, Scalar alpha=1.0)");
    activation!(
        r,
        "x sigmoid(x).",
        1,
        |a| float_row(&SILU_ROW, "silu_cpu", a.t(0), &[]),
        "silu(Tensor self, bool inplace=False)",
        "silu_(Tensor self)"
    );
    activation!(
        r,
        "x tanh(softplus(x)).",
        1,
        |a| float_row(&MISH_ROW, "mish_cpu", a.t(0), &[]),
        "mish(Tensor self, bool inplace=False)",
        "mish_(Tensor self)"
    );
    activation!(
        r,
        "x limited to [min_val, max_val].",
        3,
        checked_hardtanh,
        "hardtanh(Tensor self, Scalar min_val=-1.0, Scalar max_val=1.0, bool inplace=False)",
        "hardtanh_(Tensor self, Scalar min_val=-1.0, Scalar max_val=1.0)"
    );
    activation!(
        r,
        "min(max(x, 0), 6).",
        1,
        |a| hardtanh(a.t(0), 0.0, 6.0),
        "relu6(Tensor self, bool inplace=False)",
        "relu6_(Tensor self)"
    );
    activation!(
        r,
        "relu6(x + 3) / 6.",
        1,
        |a| float_row(&HARDSIGMOID_ROW, "hardsigmoid_cpu", a.t(0), &[]),
        "hardsigmoid(Tensor self, bool inplace=False)",
        "hardsigmoid_(Tensor self)"
    );
    activation!(
        r,
        "x relu6(x + 3) / 6.",
        1,
        |a| float_row(&HARDSWISH_ROW, "hardswish_cpu", a.t(0), &[]),
        "hardswish(Tensor self, bool inplace=False)",
        "hardswish_(Tensor self)"
    );
    activation!(r, "value where x <= threshold.", 3, |a| row(&THRESHOLD_ROW, a.t(0), &[a.f(1), a.f(2)]),
        "threshold(Tensor self, Scalar threshold, Scalar value, bool inplace=False)", "threshold_(Tensor self, Scalar threshold, Scalar value)",
        "f" "threshold(Tensor self, Scalar threshold, Scalar value)" "threshold_(Tensor self, Scalar threshold, Scalar value)");
    activation!(r, "leaky_relu with a random slope while training.", 4, |a| rrelu(a.t(0), a.f(1), a.f(2), a.b(3), None),
        "rrelu(Tensor self, Scalar lower=0.125, Scalar upper=0.3333333333333333, bool training=False, bool inplace=False)",
        "rrelu_(Tensor self, Scalar lower=0.125, Scalar upper=0.3333333333333333, bool training=False)",
        "f" "rrelu(Tensor self, Scalar lower=0.125, Scalar upper=0.3333333333333333, bool training=False)"
        "rrelu_(Tensor self, Scalar lower=0.125, Scalar upper=0.3333333333333333, bool training=False)");
    r.op(
        "n",
        "gelu(Tensor self, *, str approximate='none') -> Tensor",
        "x Phi(x), with the normal distribution function.",
        |a| gelu(a.t(0), a.s(1)).map(Ret::from),
    );
    r.op("n", "softplus(Tensor self, Scalar beta=1, Scalar threshold=20) -> Tensor", "log(1 + exp(beta x)) / beta.", |a| {
        float_row(&SOFTPLUS_ROW, "softplus_cpu", a.t(0), &[a.f(1), a.f(2)]).map(Ret::from)
    });
    r.op("n", "softsign(Tensor self) -> Tensor", "x / (1 + |x|).", |a| softsign(a.t(0)).map(Ret::from));
    r.op("n", "tanhshrink(Tensor self) -> Tensor", "x - tanh(x).", |a| tanhshrink(a.t(0)).map(Ret::from));
    r.op("n", "logsigmoid(Tensor self) -> Tensor", "log(sigmoid(x)).", |a| {
        float_row(&LOGSIGMOID_ROW, "log_sigmoid_cpu", a.t(0), &[]).map(Ret::from)
    });
    r.op("n", "softshrink(Tensor self, Scalar lambd=0.5) -> Tensor", "Moved towards 0 by lambd.", |a| {
        softshrink(a.t(0), a.f(1)).map(Ret::from)
    });
    r.op("fmn", "hardshrink(Tensor self, Scalar lambd=0.5) -> Tensor", "0 within lambd of 0.", |a| {
        float_row(&HARDSHRINK_ROW, "hardshrink_cpu", a.t(0), &[a.f(1)]).map(Ret::from)
    });
    r.op("fmn", "prelu(Tensor self, Tensor weight) -> Tensor", "x, or weight * x below 0.", |a| {
        prelu(a.t(0), a.t(1)).map(Ret::from)
    });
    r.op("n", "glu(Tensor self, int dim=-1) -> Tensor", "One half of dim, gated by the sigmoid of the other.", |a| {
        glu(a.t(0), a.int(1)).map(Ret::from)
    });
    r.op("fmis", "logit(Tensor self, float? eps=None) -> Tensor", "log(x / (1 - x)).", |a| logit(a.t(0), a.of(1)).map(Ret::from));
    r.op(
        "fmi",
        "nan_to_num(Tensor self, float? nan=None, float? posinf=None, float? neginf=None) -> Tensor",
        "NaN and infinities replaced.",
        |a| nan_to_num(a.t(0), a.of(1), a.of(2), a.of(3)).map(Ret::from),
    );
}
