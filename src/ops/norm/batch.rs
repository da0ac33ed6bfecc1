//! Batch norm and instance norm.

use super::num::{op1, ops, sum_keep};
use super::segments::{Groups, backward, composed, forward, per_channel};
use crate::autograd::{Grads, is_grad_enabled, no_grad, record_many, save};
use crate::dtype::Dtype;
use crate::error::Result;
use crate::expr::Operand;
use crate::layout::{Dims, show};
use crate::ops::elementwise::{ADD, Compiled, MUL, RSQRT, add, apply, compile, mul, result_type, sub};
use crate::ops::{Args, Registry, Ret, copy, reduce, view};
use crate::tensor::Tensor;
use crate::{bail, ensure};
use smallvec::smallvec;
use std::sync::{Arc, OnceLock};

/// Weight, bias, running mean and running variance.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    pub w: Option<&'a Tensor>,
    pub b: Option<&'a Tensor>,
    pub mean: Option<&'a Tensor>,
    pub var: Option<&'a Tensor>,
}

impl Parts<'_> {
    fn check(&self, x: &Tensor, training: bool) -> Result<()> {
        let c = if x.ndim() < 2 { 0 } else { x.shape()[1] };
        for (name, t) in [("running_mean", self.mean), ("running_var", self.var), ("weight", self.w), ("bias", self.b)] {
            match t {
                Some(t) => {
                    ensure!(t.numel() == c, Runtime, "{name} should contain {c} elements not {}", t.numel());
                    ensure!(t.ndim() == 1, Runtime, "{name}: expected 1 dims but tensor has {}", t.ndim());
                    t.check_memory("batch_norm")?;
                }
                None => ensure!(training || !name.starts_with("running"), Runtime, "{name} must be defined in evaluation mode"),
            }
        }
        ensure!(x.ndim() >= 2 || x.numel() == 0, Runtime, "batch_norm: expected at least 2 dimensions, got {}", x.ndim());
        ensure!(x.dtype().is_float(), NotImplemented, "\"batch_norm\" not implemented for '{}'", x.dtype().scalar_name());
        for t in [self.mean, self.var, self.w, self.b].into_iter().flatten() {
            ensure!(
                t.dtype() == x.dtype() || (x.dtype().size() == 2 && t.dtype() == Dtype::F32),
                Runtime,
                "mixed dtype (CPU): all inputs must share same datatype."
            );
        }
        Ok(())
    }
}

/// Moves a running statistic towards `new`, in place and without history.
fn update(running: &Tensor, new: &Tensor, momentum: f64) -> Result<()> {
    let value = no_grad(|| add(&ops(&MUL, &running.detach(), 1.0 - momentum)?, &ops(&MUL, new, momentum)?))?;
    copy::copy_raw(running, &value)?;
    running.storage().bump_version();
    Ok(())
}

/// The variances behind reciprocal deviations, corrected by `n / (n - 1)`.
fn unbiased(rstd: &Tensor, eps: f64, n: usize) -> Result<Tensor> {
    static F: OnceLock<Arc<Compiled>> = OnceLock::new();
    let f = F.get_or_init(|| {
        let two_params = |x: &[crate::expr::builder::E]| {
            let p = crate::expr::builder::par;
            ((x[0] * x[0]).recip() - p(0)) * p(1)
        };
        compile(1, "", two_params)
    });
    let factor = n as f64 / (n as f64 - 1.0);
    apply(f, &[Operand::T(rstd.clone())], &[eps.into(), factor.into()], rstd.dtype(), rstd.dtype(), None)
}

/// Batch norm over all dimensions but the second; while training also the mean and the reciprocal deviation
/// of every channel, and running statistics are moved. Differentiable.
pub fn native_batch_norm(
    x: &Tensor,
    p: Parts,
    training: bool,
    momentum: f64,
    eps: f64,
) -> Result<(Tensor, Option<(Tensor, Tensor)>)> {
    p.check(x, training)?;
    x.check_memory("batch_norm")?;
    if x.ndim() < 2 {
        return Ok((copy::clone(x, None)?, None));
    }
    if !training {
        return Ok((evaluate(x, p, eps)?, None));
    }
    let gr = Groups::batch(x);
    let (out, mean, rstd) = forward(x, gr, p.w, p.b, eps)?;
    if x.numel() > 0 {
        if let Some(running) = p.mean {
            update(running, &mean, momentum)?;
        }
        if let Some(running) = p.var {
            update(running, &unbiased(&rstd, eps, gr.size())?, momentum)?;
        }
    }
    let mut shape: Dims = x.dims();
    shape.truncate(x.ndim());
    let dims: Vec<i64> = (0..x.ndim() as i64).filter(|&d| d != 1).collect();
    record_affine("NativeBatchNormBackward0", x, p.w, p.b, &[&out], gr, (&mean, &rstd), shape, dims, eps);
    Ok((out, Some((mean, rstd))))
}

/// Records a norm over groups with its weight and bias.
#[allow(clippy::too_many_arguments)]
pub(super) fn record_affine(
    name: &'static str,
    x: &Tensor,
    w: Option<&Tensor>,
    b: Option<&Tensor>,
    outs: &[&Tensor],
    gr: Groups,
    (mean, rstd): (&Tensor, &Tensor),
    shape: Dims,
    dims: Vec<i64>,
    eps: f64,
) {
    let mut inputs = vec![x];
    inputs.extend(w);
    inputs.extend(b);
    if !crate::autograd::needs_grad(&inputs) {
        return;
    }
    let (xs, ws, stats) = (save(x), w.map(save), (save(mean), save(rstd)));
    let kinds: Vec<Dtype> = inputs.iter().map(|t| t.dtype()).collect();
    let (has_w, has_b) = (w.is_some(), b.is_some());
    record_many(name, &inputs, outs, move |ctx, g| {
        let x = xs.get(ctx)?;
        let w = ws.as_ref().map(|w| w.get(ctx)).transpose()?;
        let mut grads: Grads = smallvec![None; kinds.len()];
        if let Some(g) = &g[0] {
            let (dx, dw, db) = if is_grad_enabled() {
                composed(&x, g, &shape, &dims, w.as_ref(), eps)?
            } else {
                backward(&x, g, gr, w.as_ref(), &stats.0.get(ctx)?, &stats.1.get(ctx)?)?
            };
            grads[0] = Some(dx);
            if has_w {
                grads[1] = Some(copy::to_dtype(&dw, kinds[1])?);
            }
            if has_b {
                grads[1 + has_w as usize] = Some(copy::to_dtype(&db, kinds[kinds.len() - 1])?);
            }
        }
        let stats = g.iter().skip(1).flatten().count() > 0;
        if stats {
            let more = through_statistics(&x, &shape, &dims, eps, g[1].as_ref(), g[2].as_ref())?;
            grads[0] = Some(match grads[0].take() {
                Some(dx) => add(&dx, &more)?,
                None => more,
            });
        }
        Ok(grads)
    })
}

/// The gradient of the input for gradients of the means and of the reciprocal deviations of the groups.
fn through_statistics(
    x: &Tensor,
    shape: &[usize],
    dims: &[i64],
    eps: f64,
    dm: Option<&Tensor>,
    ds: Option<&Tensor>,
) -> Result<Tensor> {
    let xs = view::reshape_to(x, shape)?;
    let kept: Dims = shape.iter().enumerate().map(|(d, &s)| if dims.contains(&(d as i64)) { 1 } else { s }).collect();
    let n: usize = dims.iter().map(|&d| shape[d as usize]).product();
    let mean = |t: &Tensor| -> Result<Tensor> { ops(&MUL, &sum_keep(t, dims)?, 1.0 / n as f64) };
    let mut total = ops(&MUL, &xs, 0.0)?;
    if let Some(dm) = dm {
        total = add(&total, &ops(&MUL, &view::reshape_to(dm, &kept)?, 1.0 / n as f64)?)?;
    }
    if let Some(ds) = ds {
        let d = sub(&xs, &mean(&xs)?)?;
        let rstd = op1(&RSQRT, &ops(&ADD, &mean(&mul(&d, &d)?)?, eps)?)?;
        let cube = mul(&mul(&rstd, &rstd)?, &rstd)?;
        let slope = mul(&mul(&d, &cube)?, &view::reshape_to(ds, &kept)?)?;
        total = sub(&total, &ops(&MUL, &slope, 1.0 / n as f64)?)?;
    }
    view::reshape_to(&total, x.shape())
}

/// Batch norm by running statistics, as one formula.
fn evaluate(x: &Tensor, p: Parts, eps: f64) -> Result<Tensor> {
    static F: [OnceLock<Arc<Compiled>>; 4] = [const { OnceLock::new() }; 4];
    let (has_w, has_b) = (p.w.is_some(), p.b.is_some());
    let f = F[has_w as usize + 2 * has_b as usize].get_or_init(|| {
        compile(3 + has_w as usize + has_b as usize, "NativeBatchNormBackward0", |x| {
            let mut y = (x[0] - x[1]) * x[2];
            if has_w {
                y = y * x[3];
            }
            if has_b {
                y = y + x[3 + has_w as usize];
            }
            y
        })
    });
    let (Some(mean), Some(var)) = (p.mean, p.var) else { bail!(Runtime, "running_mean must be defined in evaluation mode") };
    let wide = copy::to_dtype(&var.detach(), var.dtype().compute())?;
    let rstd = no_grad(|| op1(&RSQRT, &ops(&ADD, &wide, eps)?))?;
    let mut operands =
        vec![Operand::T(x.clone()), Operand::T(per_channel(mean, x.ndim())?), Operand::T(per_channel(&rstd, x.ndim())?)];
    for t in [p.w, p.b].into_iter().flatten() {
        operands.push(Operand::T(per_channel(t, x.ndim())?));
    }
    apply(f, &operands, &[], result_type(&operands), x.dtype(), None)
}

/// `F.batch_norm`.
pub fn batch_norm(x: &Tensor, p: Parts, training: bool, momentum: f64, eps: f64) -> Result<Tensor> {
    if training {
        ensure!(
            x.ndim() != 1 || p.mean.is_some(),
            Index,
            "Dimension out of range (expected to be in range of [-1, 0], but got 1)"
        );
        let values = x.shape().iter().enumerate().filter(|(i, _)| *i != 1).map(|(_, s)| s).product::<usize>();
        ensure!(
            values != 1 || x.ndim() == 0,
            Value,
            "Expected more than 1 value per channel when training, got input size torch.Size({})",
            show(x.shape())
        );
    }
    Ok(native_batch_norm(x, p, training, momentum, eps)?.0)
}

/// Every channel of every sample on its own. Differentiable.
pub fn instance_norm(x: &Tensor, p: Parts, use_input_stats: bool, momentum: f64, eps: f64) -> Result<Tensor> {
    ensure!(
        use_input_stats || (p.mean.is_some() && p.var.is_some()),
        Runtime,
        "Expected running_mean and running_var to be defined when use_input_stats is false"
    );
    ensure!(x.ndim() >= 2, Runtime, "instance_norm: expected at least 2 dimensions, got {}", x.ndim());
    let (n, c) = (x.shape()[0], x.shape()[1]);
    let mut flat = x.dims();
    (flat[0], flat[1]) = (1, n * c);
    // A copy for each sample; what moves the copies is averaged afterwards.
    let each = |t: Option<&Tensor>| -> Result<Option<Tensor>> {
        let Some(t) = t else { return Ok(None) };
        let wide = view::expand(&view::reshape_to(t, &[1, t.numel()])?, &[n, t.numel()])?;
        Ok(Some(view::reshape_to(&wide, &[n * t.numel()])?))
    };
    let own = |t: Option<&Tensor>| -> Result<Option<Tensor>> { each(t)?.map(|t| copy::clone(&t, None)).transpose() };
    let (w, b) = (each(p.w)?, each(p.b)?);
    let (mean, var) = no_grad(|| -> Result<_> { Ok((own(p.mean)?, own(p.var)?)) })?;
    let parts = Parts { w: w.as_ref(), b: b.as_ref(), mean: mean.as_ref(), var: var.as_ref() };
    let (out, _) = native_batch_norm(&view::reshape_to(x, &flat)?, parts, use_input_stats, momentum, eps)?;
    if use_input_stats && n > 0 {
        for (running, moved) in [(p.mean, &mean), (p.var, &var)] {
            if let (Some(running), Some(moved)) = (running, moved) {
                let sum = no_grad(|| reduce::sum(&view::reshape_to(moved, &[n, c])?, Some(&[0]), false, None))?;
                copy::copy_raw(running, &ops(&MUL, &sum.detach(), 1.0 / n as f64)?)?;
                running.storage().bump_version();
            }
        }
    }
    view::reshape_to(&out, x.shape())
}

/// The parts at these positions of the arguments.
fn parts(a: &Args, w: usize, b: usize, mean: usize, var: usize) -> Parts<'_> {
    Parts { w: a.ot(w), b: a.ot(b), mean: a.ot(mean), var: a.ot(var) }
}

pub(super) fn register(r: &mut Registry) {
    r.op(
        "n",
        "batch_norm(Tensor self, Tensor? running_mean, Tensor? running_var, Tensor? weight=None, Tensor? bias=None, bool training=False, float momentum=0.1, float eps=1e-05) -> Tensor",
        "Normalises every channel over the batch.",
        |a| batch_norm(a.t(0), parts(a, 3, 4, 1, 2), a.b(5), a.f(6), a.f(7)).map(Ret::from),
    );
    r.op(
        "f",
        "batch_norm(Tensor self, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, bool training, float momentum, float eps, bool cudnn_enabled) -> Tensor",
        "Normalises every channel over the batch.",
        |a| Ok(native_batch_norm(a.t(0), parts(a, 1, 2, 3, 4), a.b(5), a.f(6), a.f(7))?.0.into()),
    );
    r.op(
        "f",
        "native_batch_norm(Tensor self, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, bool training, float momentum, float eps) -> (Tensor, Tensor, Tensor)",
        "batch_norm with the mean and the reciprocal deviation of each channel.",
        |a| {
            let (y, stats) = native_batch_norm(a.t(0), parts(a, 1, 2, 3, 4), a.b(5), a.f(6), a.f(7))?;
            let (m, s) = match stats {
                Some(s) => s,
                None => (Tensor::empty(&[0], a.t(0).dtype(), y.device())?, Tensor::empty(&[0], a.t(0).dtype(), y.device())?),
            };
            Ok(Ret::Tuple(vec![y, m, s]))
        },
    );
    r.op(
        "n",
        "instance_norm(Tensor self, Tensor? running_mean=None, Tensor? running_var=None, Tensor? weight=None, Tensor? bias=None, bool use_input_stats=True, float momentum=0.1, float eps=1e-05) -> Tensor",
        "Normalises every channel of every sample.",
        |a| {
            let x = a.t(0);
            ensure!(
                !a.b(5) || x.shape().iter().skip(2).product::<usize>() != 1,
                Value,
                "Expected more than 1 spatial element when training, got input size torch.Size({})",
                show(x.shape())
            );
            instance_norm(x, parts(a, 3, 4, 1, 2), a.b(5), a.f(6), a.f(7)).map(Ret::from)
        },
    );
    r.op(
        "f",
        "instance_norm(Tensor self, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, bool use_input_stats, float momentum, float eps, bool cudnn_enabled) -> Tensor",
        "Normalises every channel of every sample.",
        |a| instance_norm(a.t(0), parts(a, 1, 2, 3, 4), a.b(5), a.f(6), a.f(7)).map(Ret::from),
    );
}
