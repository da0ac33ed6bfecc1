//! Losses that are a formula over the elements.

use super::{Reduction, answer, finish, formula_loss, warn_sizes};
use crate::autograd::{Grads, no_grad, record, save};
use crate::dtype::{Dtype, Scalar, default_dtype};
use crate::error::Result;
use crate::expr::Operand;
use crate::expr::builder::{E, c, par, prim, wh};
use crate::expr::prim::Prim;
use crate::gpu;
use crate::layout::{broadcast, show};
use crate::ops::elementwise::{CLAMP_MIN, Compiled, DIV, apply, compile, div, mul, result_type};
use crate::ops::norm::num::ops;
use crate::ops::{Args, Registry, reduce, view, warn};
use crate::tensor::Tensor;
use crate::{bail, dispatch, ensure};
use smallvec::smallvec;
use std::sync::{Arc, OnceLock};

/// A formula that is made when first needed.
macro_rules! formula {
    ($n:literal, $name:literal, $f:expr) => {{
        static F: OnceLock<Arc<Compiled>> = OnceLock::new();
        F.get_or_init(|| compile($n, $name, $f))
    }};
}
pub(super) use formula;

/// The loss with a weight for each element: a weighted sum, or a mean in proportion to the weights.
fn weighted(elements: Tensor, x: &Tensor, weight: Option<&Tensor>, red: Reduction, name: &'static str) -> Result<Tensor> {
    let Some(w) = weight else { return finish(elements, red, name) };
    ensure!(w.shape() == x.shape(), Value, "Weights and input must have the same size.");
    let e = mul(&elements, w)?;
    Ok(match red {
        Reduction::None => e,
        Reduction::Sum => reduce::sum(&e, None, false, None)?,
        Reduction::Mean => div(&reduce::sum(&e, None, false, None)?, &reduce::sum(w, None, false, None)?)?,
    })
}

/// `(x - target)^2`. Differentiable.
pub fn mse_loss(x: &Tensor, target: &Tensor, weight: Option<&Tensor>, red: Reduction) -> Result<Tensor> {
    warn_sizes(x, target);
    let f = formula!(2, "MseLossBackward0", |x| (x[0] - x[1]).square());
    weighted(formula_loss(f, &[x, target], &[], Reduction::None, "", "mse_cpu")?, x, weight, red, "MseLossBackward0")
}

/// `|x - target|`. Differentiable.
pub fn l1_loss(x: &Tensor, target: &Tensor, weight: Option<&Tensor>, red: Reduction) -> Result<Tensor> {
    let f = formula!(2, "AbsBackward0", |x| (x[0] - x[1]).abs());
    let operands = [Operand::T(x.clone()), Operand::T(target.clone())];
    let common = result_type(&operands);
    weighted(apply(f, &operands, &[], common, common, None)?, x, weight, red, "MeanBackward0")
}

/// Squared below `beta`, linear above. Differentiable.
pub fn smooth_l1_loss(x: &Tensor, target: &Tensor, red: Reduction, beta: f64) -> Result<Tensor> {
    warn_sizes(x, target);
    if beta == 0.0 {
        return l1_loss(x, target, None, red);
    }
    ensure!(beta >= 0.0, Runtime, "smooth_l1_loss does not support negative values for beta.");
    let f = formula!(2, "SmoothL1LossBackward0", |x| {
        let z = (x[0] - x[1]).abs();
        wh(z.lt(par(0)), z.square() * 0.5 / par(0), z - par(0) * 0.5)
    });
    formula_loss(f, &[x, target], &[beta], red, "SmoothL1LossBackward0", "smooth_l1_cpu")
}

/// Squared below `delta`, linear above, with the slope `delta` there. Differentiable.
pub fn huber_loss(x: &Tensor, target: &Tensor, red: Reduction, delta: f64, weight: Option<&Tensor>) -> Result<Tensor> {
    warn_sizes(x, target);
    ensure!(delta > 0.0, Runtime, "huber_loss does not support non-positive values for delta.");
    let f = formula!(2, "HuberLossBackward0", |x| {
        let z = (x[0] - x[1]).abs();
        wh(z.le(par(0)), z.square() * 0.5, (z - par(0) * 0.5) * par(0))
    });
    let elements = formula_loss(f, &[x, target], &[delta], Reduction::None, "", "huber_cpu")?;
    let Some(w) = weight else { return finish(elements, red, "HuberLossBackward0") };
    ensure!(w.shape() == x.shape(), Value, "Weights and input must have the same size.");
    finish(mul(&elements, w)?, red, "MeanBackward0")
}

/// The weight in a shape that the loss can be multiplied by.
fn times(loss: Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
    let Some(w) = weight else { return Ok(loss) };
    match broadcast(w.shape(), loss.shape()) {
        Ok(s) if s.as_slice() == loss.shape() => mul(&loss, w),
        _ => bail!(
            Runtime,
            "Attempting to broadcast a dimension of length {} at -1! Mismatching argument at index 1 had torch.Size({}); but expected shape should be broadcastable to {}",
            w.shape().last().copied().unwrap_or(1),
            show(w.shape()),
            show(loss.shape())
        ),
    }
}

/// The cross entropy of probabilities, whose logarithms count as at least -100. Differentiable.
pub fn binary_cross_entropy(x: &Tensor, target: &Tensor, weight: Option<&Tensor>, red: Reduction) -> Result<Tensor> {
    ensure!(
        x.shape() == target.shape(),
        Value,
        "Using a target size (torch.Size({})) that is different to the input size (torch.Size({})) is deprecated. Please ensure they have the same size.",
        show(target.shape()),
        show(x.shape())
    );
    ensure!(
        x.dtype() == target.dtype(),
        Runtime,
        "Found dtype {} but expected {}",
        target.dtype().scalar_name(),
        x.dtype().scalar_name()
    );
    ensure!(x.dtype().is_float(), NotImplemented, "\"binary_cross_entropy\" not implemented for '{}'", x.dtype().scalar_name());
    const OUTSIDE: &str = "all elements of input should be between 0 and 1";
    if gpu::holds(x) {
        gpu::loss::check_inside_unit(x, OUTSIDE)?;
    } else {
        x.check_data("binary_cross_entropy")?;
        let values = crate::ops::norm::num::dense(x)?;
        let inside = dispatch!(float "binary_cross_entropy", values.dtype(), T => {
            values.data::<T>().iter().all(|v| (0.0..=1.0).contains(v))
        });
        ensure!(inside, Runtime, "{OUTSIDE}");
    }
    let d = x.dtype();
    let f = formula!(2, "", |x| {
        let low = |e: E| wh(e.lt(-100.0), c(-100.0), e);
        (x[1] - 1.0) * low((-x[0]).log1p()) - x[1] * low(x[0].log())
    });
    let operands = [Operand::T(x.clone()), Operand::T(target.clone())];
    let elements = no_grad(|| apply(f, &operands, &[], d, d, None))?;
    let (xs, ts) = (save(x), save(target));
    let elements = record("BinaryCrossEntropyBackward0", &[x, target], elements, move |ctx, g| {
        let (x, t) = (Operand::T(xs.get(ctx)?), Operand::T(ts.get(ctx)?));
        let mut grads: Grads = smallvec![None, None];
        if ctx.needs(0) {
            let f = formula!(3, "BinaryCrossEntropyBackwardBackward0", |x| {
                let v = x[0] * (1.0 - x[0]);
                x[2] * (x[0] - x[1]) / wh(v.lt(1e-12), c(1e-12), v)
            });
            grads[0] = Some(apply(f, &[x.clone(), t, Operand::T(g.clone())], &[], d, d, None)?);
        }
        if ctx.needs(1) {
            let f = formula!(2, "MulBackward0", |x| {
                let low = |e: E| wh(e.lt(-100.0), c(-100.0), e);
                x[1] * (low((-x[0]).log1p()) - low(x[0].log()))
            });
            grads[1] = Some(apply(f, &[x, Operand::T(g.clone())], &[], d, d, None)?);
        }
        Ok(grads)
    });
    finish(times(elements, weight)?, red, "BinaryCrossEntropyBackward0")
}

/// The cross entropy of logits. Differentiable.
pub fn binary_cross_entropy_with_logits(
    x: &Tensor,
    target: &Tensor,
    weight: Option<&Tensor>,
    pos: Option<&Tensor>,
    red: Reduction,
) -> Result<Tensor> {
    ensure!(
        x.shape() == target.shape(),
        Value,
        "Target size (torch.Size({})) must be the same as input size (torch.Size({}))",
        show(target.shape()),
        show(x.shape())
    );
    ensure!(x.dtype().is_float(), NotImplemented, "\"log_sigmoid_cpu\" not implemented for '{}'", x.dtype().scalar_name());
    ensure!(
        target.dtype().is_float(),
        Runtime,
        "result type {} can't be cast to the desired output type {}",
        x.dtype().scalar_name(),
        target.dtype().scalar_name()
    );
    let elements = match pos {
        None => {
            let f = formula!(2, "BinaryCrossEntropyWithLogitsBackward0", |x| (1.0 - x[1]) * x[0] - x[0].log_sigmoid());
            formula_loss(f, &[x, target], &[], Reduction::None, "", "log_sigmoid_cpu")?
        }
        Some(p) => {
            let f = formula!(3, "BinaryCrossEntropyWithLogitsBackward0", |x| {
                (1.0 - x[1]) * x[0] - ((x[2] - 1.0) * x[1] + 1.0) * x[0].log_sigmoid()
            });
            formula_loss(f, &[x, target, p], &[], Reduction::None, "", "log_sigmoid_cpu")?
        }
    };
    let elements = match weight {
        Some(w) => mul(&elements, w)?,
        None => elements,
    };
    finish(elements, red, "BinaryCrossEntropyWithLogitsBackward0")
}

/// `target (log target - x)`. Differentiable.
pub fn kl_div(x: &Tensor, target: &Tensor, red: Reduction, log_target: bool) -> Result<Tensor> {
    ensure!(!(x.dtype().is_integral() || target.dtype().is_integral()), Runtime, "kl_div: Integral inputs not supported.");
    let f = if log_target {
        formula!(2, "KlDivBackward0", |x| x[1].exp() * (x[1] - x[0]))
    } else {
        formula!(2, "KlDivBackward0", |x| prim(Prim::Xlogy, &[x[1], x[1]]) - x[1] * x[0])
    };
    formula_loss(f, &[x, target], &[], red, "KlDivBackward0", "kl_div")
}

fn functional_kl_div(a: &Args) -> Result<Tensor> {
    let batch = a.ob(2).is_none() && a.ob(3).is_none() && a.s(4) == "batchmean";
    let red = if batch { Reduction::Sum } else { Reduction::legacy(a, 2, 3, 4)? };
    if a.ob(2).is_none() && a.ob(3).is_none() && red == Reduction::Mean {
        warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size.'batchmean' divides only by the batch size, and aligns with the KL div math definition.'mean' will be changed to behave the same as 'batchmean' in the next major release.",
        );
    }
    let loss = kl_div(a.t(0), a.t(1), red, a.b(5))?;
    if batch && a.t(0).ndim() > 0 { ops(&DIV, &loss, a.t(0).shape()[0] as f64) } else { Ok(loss) }
}

/// The negative log likelihood of counts. Differentiable.
pub fn poisson_nll_loss(x: &Tensor, target: &Tensor, log_input: bool, full: bool, eps: f64, red: Reduction) -> Result<Tensor> {
    let f = if log_input {
        formula!(2, "SubBackward0", |x| x[0].exp() - x[1] * x[0])
    } else {
        formula!(2, "SubBackward0", |x| x[0] - x[1] * (x[0] + par(0)).log())
    };
    let mut loss = floating(f, &[x, target], &[eps])?;
    if full {
        // Stirling's approximation of log(target!).
        let f = formula!(2, "AddBackward0", |x| {
            let t = wh(x[1].le(1.0), c(1.0), x[1]);
            let s = t * t.log() - t + (t * (2.0 * std::f64::consts::PI)).log() * 0.5;
            x[0] + wh(x[1].le(1.0), c(0.0), s)
        });
        loss = floating(f, &[&loss, target], &[])?;
    }
    finish(loss, red, "MeanBackward0")
}

/// A formula over promoted operands; integers become the default float dtype.
pub(super) fn floating(f: &Arc<Compiled>, x: &[&Tensor], params: &[f64]) -> Result<Tensor> {
    let operands: Vec<Operand> = x.iter().map(|t| Operand::T((*t).clone())).collect();
    let d = result_type(&operands);
    let d = if d.is_integral() { default_dtype() } else { d };
    let params: Vec<Scalar> = params.iter().map(|&p| p.into()).collect();
    apply(f, &operands, &params, d, d, None)
}

/// The variance with its values limited from below; the gradient passes as if it were not.
fn limited(var: &Tensor, eps: f64) -> Result<Tensor> {
    let out = no_grad(|| ops(&CLAMP_MIN, &var.detach(), eps))?;
    Ok(record("CloneBackward0", &[var], out, |_, g| Ok(smallvec![Some(g.clone())])))
}

fn gaussian_nll_loss(a: &Args) -> Result<Tensor> {
    let (x, target) = (a.t(0), a.t(1));
    let mut var = match a.operand(2) {
        Some(Operand::T(t)) => t,
        Some(Operand::S(s)) if s.is_float() => {
            Tensor::full(x.shape(), s, if x.dtype().is_float() { x.dtype() } else { default_dtype() }, x.device())?
        }
        _ => bail!(Type, "gaussian_nll_loss(): argument 'var' must be Tensor or float"),
    };
    ensure!(var.dtype().is_float() || var.dtype().is_integral(), Type, "gaussian_nll_loss(): 'var' must be real");
    let negative = if gpu::holds(&var) {
        // As PyTorch does, this waits for the answer.
        var.numel() > 0 && no_grad(|| reduce::extreme_over(&var.detach(), &[], false, false))?.item()?.f64() < 0.0
    } else {
        var.check_data("gaussian_nll_loss")?;
        let values = crate::ops::copy::contiguous(&crate::ops::copy::to_dtype(&var.detach(), Dtype::F64)?)?;
        values.data::<f64>().iter().any(|&v| v < 0.0)
    };
    ensure!(!negative, Value, "var has negative entry/entries");
    if var.shape() != x.shape() {
        let (vs, xs) = (var.shape(), x.shape());
        if x.ndim() > 0 && xs[..x.ndim() - 1] == *vs {
            var = view::unsqueeze(&var, -1)?;
        } else {
            let differing: usize = xs.iter().zip(vs).filter(|(a, b)| a != b).map(|(_, &b)| b).sum();
            ensure!(xs.len() == vs.len() && differing == 1, Value, "var is of incorrect size");
        }
    }
    let red = match a.s(5) {
        r @ ("none" | "mean" | "sum") => Reduction::parse(r)?,
        r => bail!(Value, "{r} is not valid"),
    };
    let var = limited(&var, a.f(4))?;
    let constant = if a.b(3) { 0.5 * (2.0 * std::f64::consts::PI).ln() } else { 0.0 };
    let f = formula!(3, "AddBackward0", |x| (x[2].log() + (x[0] - x[1]).square() / x[2]) * 0.5 + par(0));
    finish(floating(f, &[x, target, &var], &[constant])?, red, "MeanBackward0")
}

/// `log(1 + exp(-target x))`. Differentiable.
pub fn soft_margin_loss(x: &Tensor, target: &Tensor, red: Reduction) -> Result<Tensor> {
    let f = formula!(2, "SoftMarginLossBackward0", |x| (-(x[1] * x[0])).exp().log1p());
    finish(floating(f, &[x, target], &[])?, red, "SoftMarginLossBackward0")
}

/// The mean over the classes of the cross entropies of logits. Differentiable.
pub fn multilabel_soft_margin_loss(x: &Tensor, target: &Tensor, weight: Option<&Tensor>) -> Result<Tensor> {
    ensure!(x.ndim() > 0, Index, "Dimension out of range (expected to be in range of [-1, 0], but got -1)");
    let f = formula!(2, "NegBackward0", |x| -(x[1] * x[0].log_sigmoid() + (1.0 - x[1]) * (-x[0]).log_sigmoid()));
    let mut loss = formula_loss(f, &[x, target], &[], Reduction::None, "", "log_sigmoid_cpu")?;
    if let Some(w) = weight {
        loss = mul(&loss, w)?;
    }
    let classes = x.shape()[x.ndim() - 1];
    let dim = x.ndim() as i64 - 1;
    ops(&DIV, &reduce::sum(&loss, Some(&[dim]), false, None)?, classes as f64)
}

pub(super) fn register(r: &mut Registry) {
    r.op(
        "n",
        "mse_loss(Tensor self, Tensor target, bool? size_average=None, bool? reduce=None, str reduction='mean', Tensor? weight=None) -> Tensor",
        "The mean of the squared differences.",
        |a| answer(mse_loss(a.t(0), a.t(1), a.ot(5), Reduction::legacy(a, 2, 3, 4)?)),
    );
    r.op(
        "n",
        "l1_loss(Tensor self, Tensor target, bool? size_average=None, bool? reduce=None, str reduction='mean', Tensor? weight=None) -> Tensor",
        "The mean of the absolute differences.",
        |a| {
            warn_sizes(a.t(0), a.t(1));
            answer(l1_loss(a.t(0), a.t(1), a.ot(5), Reduction::legacy(a, 2, 3, 4)?))
        },
    );
    r.op(
        "n",
        "smooth_l1_loss(Tensor self, Tensor target, bool? size_average=None, bool? reduce=None, str reduction='mean', float beta=1.0) -> Tensor",
        "Squared differences below beta, absolute ones above.",
        |a| answer(smooth_l1_loss(a.t(0), a.t(1), Reduction::legacy(a, 2, 3, 4)?, a.f(5))),
    );
    r.op(
        "n",
        "huber_loss(Tensor self, Tensor target, str reduction='mean', float delta=1.0, Tensor? weight=None) -> Tensor",
        "Squared differences below delta, absolute ones above.",
        |a| answer(huber_loss(a.t(0), a.t(1), Reduction::parse(a.s(2))?, a.f(3), a.ot(4))),
    );
    r.op(
        "n",
        "binary_cross_entropy(Tensor self, Tensor target, Tensor? weight=None, bool? size_average=None, bool? reduce=None, str reduction='mean') -> Tensor",
        "The cross entropy of probabilities and targets between 0 and 1.",
        |a| answer(binary_cross_entropy(a.t(0), a.t(1), a.ot(2), Reduction::legacy(a, 3, 4, 5)?)),
    );
    r.op(
        "n",
        "binary_cross_entropy_with_logits(Tensor self, Tensor target, Tensor? weight=None, bool? size_average=None, bool? reduce=None, str reduction='mean', Tensor? pos_weight=None) -> Tensor",
        "The cross entropy of logits and targets between 0 and 1.",
        |a| answer(binary_cross_entropy_with_logits(a.t(0), a.t(1), a.ot(2), a.ot(6), Reduction::legacy(a, 3, 4, 5)?)),
    );
    r.op(
        "f",
        "binary_cross_entropy_with_logits(Tensor self, Tensor target, Tensor? weight=None, Tensor? pos_weight=None, int reduction=0) -> Tensor",
        "The cross entropy of logits and targets between 0 and 1.",
        |a| answer(binary_cross_entropy_with_logits(a.t(0), a.t(1), a.ot(2), a.ot(3), Reduction::of_int(a.int(4)))),
    );
    r.op(
        "n",
        "kl_div(Tensor self, Tensor target, bool? size_average=None, bool? reduce=None, str reduction='mean', bool log_target=False) -> Tensor",
        "The Kullback-Leibler divergence of log probabilities and probabilities.",
        |a| answer(functional_kl_div(a)),
    );
    r.op(
        "f",
        "kl_div(Tensor self, Tensor target, int reduction=1, *, bool log_target=False) -> Tensor",
        "The Kullback-Leibler divergence of log probabilities and probabilities.",
        |a| answer(kl_div(a.t(0), a.t(1), Reduction::of_int(a.int(2)), a.b(3))),
    );
    r.op(
        "n",
        "poisson_nll_loss(Tensor self, Tensor target, bool log_input=True, bool full=False, bool? size_average=None, float eps=1e-08, bool? reduce=None, str reduction='mean') -> Tensor",
        "The negative log likelihood of counts.",
        |a| answer(poisson_nll_loss(a.t(0), a.t(1), a.b(2), a.b(3), a.f(5), Reduction::legacy(a, 4, 6, 7)?)),
    );
    r.op(
        "f",
        "poisson_nll_loss(Tensor self, Tensor target, bool log_input, bool full, float eps, int reduction) -> Tensor",
        "The negative log likelihood of counts.",
        |a| answer(poisson_nll_loss(a.t(0), a.t(1), a.b(2), a.b(3), a.f(4), Reduction::of_int(a.int(5)))),
    );
    r.op(
        "n",
        "gaussian_nll_loss(Tensor self, Tensor target, Operand var, bool full=False, float eps=1e-06, str reduction='mean') -> Tensor",
        "The negative log likelihood of a normal distribution.",
        |a| answer(gaussian_nll_loss(a)),
    );
    r.op(
        "n",
        "soft_margin_loss(Tensor self, Tensor target, bool? size_average=None, bool? reduce=None, str reduction='mean') -> Tensor",
        "log(1 + exp(-target x)).",
        |a| answer(soft_margin_loss(a.t(0), a.t(1), Reduction::legacy(a, 2, 3, 4)?)),
    );
    r.op(
        "n",
        "multilabel_soft_margin_loss(Tensor self, Tensor target, Tensor? weight=None, bool? size_average=None, bool? reduce=None, str reduction='mean') -> Tensor",
        "The mean over the classes of the cross entropies of logits.",
        |a| {
            let red = match (a.ob(3), a.ob(4), a.s(5)) {
                (None, None, "none" | "mean" | "sum") | (Some(_), ..) | (_, Some(_), _) => Reduction::legacy(a, 3, 4, 5)?,
                (_, _, other) => bail!(Value, "{other} is not valid"),
            };
            answer(finish(multilabel_soft_margin_loss(a.t(0), a.t(1), a.ot(2))?, red, "MeanBackward0"))
        },
    );
}
