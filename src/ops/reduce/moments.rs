//! Spread: var, std, var_mean, std_mean, cov, corrcoef.

use super::run::{self, moments_over};
use super::tools::*;
use super::{mean, reduced_count, reduced_dims, reduced_shape, sum};
use crate::autograd::{record, record_many, save, save_output};
use crate::dtype::Dtype;
use crate::ensure;
use crate::error::Result;
use crate::expr::builder::{c, wh};
use crate::ops::elementwise as ew;
use crate::ops::{Args, Registry, Ret, copy, matmul, view};
use crate::tensor::Tensor;
use smallvec::{SmallVec, smallvec};

/// Which of the two measures, and whether the mean is wanted beside it.
#[derive(Clone, Copy)]
struct Kind {
    root: bool,
    mean: bool,
}

struct Moments {
    spread: Tensor,
    mean: Tensor,
    with_ones: crate::layout::Dims,
    /// Elements per result less the correction.
    dof: f64,
}

fn moments(x: &Tensor, dims: Option<&[i64]>, keepdim: bool, correction: f64, root: bool) -> Result<Moments> {
    ensure!(
        x.dtype().is_float() || x.dtype().is_complex(),
        Runtime,
        "std and var only support floating point and complex dtypes"
    );
    if x.dtype().is_complex() {
        return complex_moments(x, dims, keepdim, correction, root);
    }
    let gone = reduced_dims(x.ndim(), dims)?;
    let dof = reduced_count(x.shape(), &gone) as f64 - correction;
    if dof <= 0.0 {
        let name = if root { "std" } else { "var" };
        crate::ops::warn(format!(
            "{name}(): degrees of freedom is <= 0. Correction should be strictly less than the reduction factor (input numel divided by output numel)."
        ));
    }
    let shape = reduced_shape(x.shape(), &gone, keepdim);
    let with_ones = reduced_shape(x.shape(), &gone, true);
    if crate::gpu::holds(x) {
        return moments_on_gpu(x, &gone, &shape, with_ones, dof, root);
    }
    x.check_data("var")?;
    let rows = match wide_dtype(x.dtype()) {
        Dtype::F64 => moments_over::<f64>(x, &gone)?,
        _ => moments_over::<f32>(x, &gone)?,
    };
    let empty = |_| Tensor::empty(&[rows.len()], Dtype::F64, x.device());
    let (spread, mean) = (empty(0)?, empty(1)?);
    for ((s, m), row) in spread.data_mut::<f64>().iter_mut().zip(mean.data_mut::<f64>()).zip(&rows) {
        let var = row.m2 / dof.max(0.0);
        *s = if root { var.sqrt() } else { var };
        // There is no mean of nothing.
        *m = if row.count == 0.0 { f64::NAN } else { row.mean };
    }
    let finish = |t: Tensor| reshaped(&copy::to_dtype(&t, x.dtype())?, &shape);
    Ok(Moments { spread: finish(spread)?, mean: finish(mean)?, with_ones, dof })
}

fn moments_on_gpu(
    x: &Tensor,
    gone: &[bool],
    shape: &[usize],
    with_ones: crate::layout::Dims,
    dof: f64,
    root: bool,
) -> Result<Moments> {
    let count = reduced_count(x.shape(), gone);
    let (mean, m2) = run::moments_on_gpu(x, gone)?;
    let spread = call2s(&ew::DIV, &m2, dof.max(0.0))?;
    let spread = if root { call1(&ew::SQRT, &spread)? } else { spread };
    // There is no mean of nothing.
    let mean = if count == 0 { Tensor::full(mean.shape(), f64::NAN, mean.dtype(), mean.device())? } else { mean };
    let finish = |t: Tensor| reshaped(&copy::to_dtype(&t, x.dtype())?, shape);
    Ok(Moments { spread: finish(spread)?, mean: finish(mean)?, with_ones, dof })
}

/// The spread of a complex tensor is that of its two parts together.
fn complex_moments(x: &Tensor, dims: Option<&[i64]>, keepdim: bool, correction: f64, root: bool) -> Result<Moments> {
    let c128 = copy::contiguous(&copy::to_dtype(&x.detach(), Dtype::C128)?)?;
    let (re, im) = (Tensor::empty(x.shape(), Dtype::F64, x.device())?, Tensor::empty(x.shape(), Dtype::F64, x.device())?);
    for ((v, r), i) in c128.data::<Pair<f64>>().iter().zip(re.data_mut::<f64>()).zip(im.data_mut::<f64>()) {
        (*r, *i) = (v.0, v.1);
    }
    let (a, b) = (moments(&re, dims, keepdim, correction, false)?, moments(&im, dims, keepdim, correction, false)?);
    let total = ew::add(&a.spread, &b.spread)?;
    let total = if root { call1(&ew::SQRT, &total)? } else { total };
    let mean = mean(&x.detach(), Some(dims.unwrap_or(&[])), keepdim, None)?;
    Ok(Moments { spread: copy::to_dtype(&total, x.dtype().to_real())?, mean, with_ones: a.with_ones, dof: a.dof })
}

/// The gradient of the variance.
fn var_backward(g: &Tensor, x: &Tensor, dims: &[i64], dof: f64) -> Result<Tensor> {
    let centred = ew::sub(x, &mean(x, Some(dims), true, None)?)?;
    if dof <= 0.0 {
        let f = formula!(2, "VarBackward0", |x| x[1] * wh(x[0].eq(0.0), c(f64::NAN), c(f64::INFINITY)));
        return eval_formula(f, &[&centred, g], &[]);
    }
    ew::scale(&ew::mul(g, &centred)?, 2.0 / dof)
}

fn spread(x: &Tensor, dims: Option<&[i64]>, correction: f64, keepdim: bool, kind: Kind) -> Result<Ret> {
    let m = moments(x, dims, keepdim, correction, kind.root)?;
    let (with_ones, dof, full, n) = (m.with_ones, m.dof, x.dims(), m.dof + correction);
    let saved = save(x);
    let result = kind.root.then(|| save_output(&m.spread, 0));
    let dims: SmallVec<[i64; 6]> = dims.unwrap_or(&[]).into();
    let back = move |ctx: &crate::autograd::Ctx, g: Option<&Tensor>, gm: Option<&Tensor>| -> Result<Option<Tensor>> {
        let mut total = None;
        if let Some(g) = g {
            let x = saved.get(ctx)?;
            let mut g = view::reshape_to(g, &with_ones)?;
            if let Some(std) = &result {
                let f = formula!(2, "StdBackward0", |x| wh(x[0].eq(0.0), c(0.0), x[1] / (x[0] * 2.0)));
                g = eval_formula(f, &[&view::reshape_to(&std.get(ctx)?, &with_ones)?, &g], &[])?;
            }
            total = Some(var_backward(&g, &x, &dims, dof)?);
        }
        if let Some(gm) = gm {
            let part = call2s(&ew::DIV, &view::expand(&view::reshape_to(gm, &with_ones)?, &full)?, n)?;
            total = Some(match total {
                Some(t) => ew::add(&t, &part)?,
                None => part,
            });
        }
        Ok(total)
    };
    if kind.mean {
        let name = if kind.root { "StdMeanBackward0" } else { "VarMeanBackward0" };
        record_many(name, &[x], &[&m.spread, &m.mean], move |ctx, g| Ok(smallvec![back(ctx, g[0].as_ref(), g[1].as_ref())?]));
        return Ok((m.spread, m.mean).into());
    }
    let name = if kind.root { "StdBackward0" } else { "VarBackward0" };
    Ok(record(name, &[x], m.spread, move |ctx, g| Ok(smallvec![back(ctx, Some(g), None)?])).into())
}

fn by_correction(a: &Args, kind: Kind) -> Result<Ret> {
    spread(a.t(0), a.oints(1), a.of(2).unwrap_or(1.0), a.b(3), kind)
}
fn by_dim(a: &Args, kind: Kind) -> Result<Ret> {
    spread(a.t(0), a.oints(1), f64::from(a.b(2)), a.b(3), kind)
}
fn of_all(a: &Args, kind: Kind) -> Result<Ret> {
    spread(a.t(0), None, f64::from(a.b(1)), false, kind)
}

/// The covariance matrix of variables (rows) over observations (columns).
pub fn cov(x: &Tensor, correction: i64, fweights: Option<&Tensor>, aweights: Option<&Tensor>) -> Result<Tensor> {
    ensure!(
        x.ndim() <= 2,
        Runtime,
        "cov(): expected input to have two or fewer dimensions but got an input with {} dimensions",
        x.ndim()
    );
    ensure!(x.dtype() != Dtype::Bool, Runtime, "cov(): bool dtype is not supported for input");
    let m = if x.ndim() < 2 { view::reshape_to(x, &[1, x.numel()])? } else { x.clone() };
    let m = if m.dtype().is_integral() { copy::to_dtype(&m, crate::dtype::default_dtype())? } else { m };
    let n = m.shape()[1];
    let check = |w: &Tensor, name: &str| -> Result<()> {
        ensure!(
            w.ndim() <= 1,
            Runtime,
            "cov(): expected {name} to have one or fewer dimensions but got {name} with {} dimensions",
            w.ndim()
        );
        ensure!(
            w.numel() == n,
            Runtime,
            "cov(): expected {name} to have the same numel as there are observations in the input but got {} != {n}",
            w.numel()
        );
        let min = if w.numel() > 0 { super::extreme::full(&w.detach(), false)?.item()?.f64() } else { 0.0 };
        ensure!(min >= 0.0, Runtime, "cov(): {name} cannot be negative");
        Ok(())
    };
    let mut w: Option<Tensor> = None;
    if let Some(f) = fweights {
        ensure!(
            f.dtype().is_integral(),
            Runtime,
            "cov(): expected fweights to have integral dtype but got fweights with {} dtype",
            f.dtype().scalar_name()
        );
        check(f, "fweights")?;
        w = Some(f.clone());
    }
    if let Some(a) = aweights {
        ensure!(
            a.dtype().is_float(),
            Runtime,
            "cov(): expected aweights to have floating point dtype but got aweights with {} dtype",
            a.dtype().scalar_name()
        );
        check(a, "aweights")?;
        w = Some(match w {
            Some(f) => ew::mul(&f, a)?,
            None => a.clone(),
        });
    }
    let w_sum = match &w {
        Some(w) => sum(w, None, false, None)?,
        None => Tensor::scalar(n as i64, Dtype::I64),
    };
    if let Some(w) = &w
        && w.numel() > 0
    {
        ensure!(w_sum.detach().item()?.f64() != 0.0, Runtime, "cov(): weights sum to zero, can't be normalized");
    }
    let avg = match &w {
        Some(w) => ew::div(&sum(&ew::mul(&m, w)?, Some(&[1]), false, None)?, &w_sum)?,
        None => ew::div(&sum(&m, Some(&[1]), false, None)?, &w_sum)?,
    };
    let norm = match (&w, aweights) {
        (Some(w), Some(a)) if correction != 0 => {
            let wa = sum(&ew::mul(w, a)?, None, false, None)?;
            ew::sub(&w_sum, &ew::scale(&ew::div(&wa, &w_sum)?, correction as f64)?)?
        }
        _ => call2s(&ew::SUB, &w_sum, correction)?,
    };
    if norm.detach().item()?.f64() <= 0.0 {
        crate::ops::warn(
            "cov(): degrees of freedom is <= 0. Correction should be strictly less than the number of observations.",
        );
    }
    let norm = super::super::elementwise::CLAMP_MIN.call(
        &[crate::expr::Operand::T(norm), crate::expr::Operand::S(0i64.into())],
        &[],
        None,
    )?;
    let centred = ew::sub(&m, &view::unsqueeze(&avg, 1)?)?;
    let weighted = match &w {
        Some(w) => ew::mul(&centred, w)?,
        None => centred.clone(),
    };
    let product = matmul::matmul(&centred, &view::transpose(&weighted, 0, 1)?)?;
    view::squeeze(&ew::div(&product, &norm)?, None)
}

/// The matrix of correlation coefficients.
pub fn corrcoef(x: &Tensor) -> Result<Tensor> {
    ensure!(
        x.ndim() <= 2,
        Runtime,
        "corrcoef(): expected input to have two or fewer dimensions but got an input with {} dimensions",
        x.ndim()
    );
    let c = cov(x, 1, None, None)?;
    if c.ndim() == 0 {
        return ew::div(&c, &c);
    }
    let d = call1(&ew::SQRT, &view::diagonal(&c, 0, 0, 1)?)?;
    let c = ew::div(&c, &view::unsqueeze(&d, 1)?)?;
    let c = ew::div(&c, &view::unsqueeze(&d, 0)?)?;
    ew::CLAMP_ROW.call(
        &[crate::expr::Operand::T(c), crate::expr::Operand::S((-1.0).into()), crate::expr::Operand::S(1.0.into())],
        &[],
        None,
    )
}

macro_rules! spread_ops {
    ($r:expr, $name:literal, $ret:literal, $doc:literal, $kind:expr) => {
        $r.op(
            "fm",
            concat!($name, "(Tensor self, int[1]? dim=None, *, Scalar? correction=None, bool keepdim=False) -> ", $ret),
            $doc,
            |a| by_correction(a, $kind),
        );
        $r.op("fm", concat!($name, "(Tensor self, int[1]? dim, bool unbiased=True, bool keepdim=False) -> ", $ret), $doc, |a| {
            by_dim(a, $kind)
        });
        $r.op("fm", concat!($name, "(Tensor self, bool unbiased=True) -> ", $ret), $doc, |a| of_all(a, $kind));
    };
}

pub fn register(r: &mut Registry) {
    spread_ops!(r, "var", "Tensor", "Variance.", Kind { root: false, mean: false });
    spread_ops!(r, "std", "Tensor", "Standard deviation.", Kind { root: true, mean: false });
    spread_ops!(r, "var_mean", "Tensor[]", "Variance and mean.", Kind { root: false, mean: true });
    spread_ops!(r, "std_mean", "Tensor[]", "Standard deviation and mean.", Kind { root: true, mean: true });
    r.op(
        "fm",
        "cov(Tensor self, *, int correction=1, Tensor? fweights=None, Tensor? aweights=None) -> Tensor",
        "Covariances of the rows.",
        |a| cov(a.t(0), a.int(1), a.ot(2), a.ot(3)).map(Ret::from),
    );
    r.op("fm", "corrcoef(Tensor self) -> Tensor", "Correlation coefficients of the rows.", |a| corrcoef(a.t(0)).map(Ret::from));
}
