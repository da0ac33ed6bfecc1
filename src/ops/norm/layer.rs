//! Layer norm: every row of the trailing dimensions on its own.

use super::num::{dense, dense_as, op1, ops, row_or_all, rows_or_one, sum_keep};
use crate::autograd::{Grads, is_grad_enabled, needs_grad, record, save};
use crate::cpu::norm as kernels;
use crate::error::Result;
use crate::gpu;
use crate::layout::{Dims, show, sizes};
use crate::ops::elementwise::{ADD, MUL, RSQRT, mul, sub};
use crate::ops::{Registry, Ret, copy, reduce, view};
use crate::tensor::Tensor;
use crate::{dispatch, ensure};
use smallvec::smallvec;

fn check(x: &Tensor, shape: &[i64], w: Option<&Tensor>, b: Option<&Tensor>) -> Result<Dims> {
    ensure!(
        !shape.is_empty(),
        Runtime,
        "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got normalized_shape = []"
    );
    let tail = sizes(shape)?;
    for (name, t) in [("weight", w), ("bias", b)] {
        if let Some(t) = t {
            ensure!(
                t.shape() == tail.as_slice(),
                Runtime,
                "Expected {name} to be of same shape as normalized_shape, but got {name} of shape {} and normalized_shape = {}",
                show(t.shape()),
                show(shape)
            );
        }
    }
    ensure!(
        x.ndim() >= tail.len() && x.shape()[x.ndim() - tail.len()..] == tail[..],
        Runtime,
        "Given normalized_shape={}, expected input with shape [*, {}, but got input of size{}",
        show(shape),
        &show(shape)[1..],
        show(x.shape())
    );
    ensure!(x.dtype().is_float(), NotImplemented, "\"LayerNormKernelImpl\" not implemented for '{}'", x.dtype().scalar_name());
    for t in [w, b].into_iter().flatten() {
        ensure!(
            t.dtype() == x.dtype() || (t.dtype() == crate::dtype::Dtype::F32 && x.dtype().size() == 2),
            Runtime,
            "mixed dtype (CPU): expect parameter to have scalar type of Float"
        );
    }
    Ok(tail)
}

/// `(x - mean) / sqrt(var + eps) * weight + bias` over the trailing dimensions. Differentiable.
pub fn layer_norm(x: &Tensor, shape: &[i64], w: Option<&Tensor>, b: Option<&Tensor>, eps: f64) -> Result<Tensor> {
    Ok(native(x, shape, w, b, eps)?.0)
}

/// [`layer_norm`], with the mean and the reciprocal of the deviation of each row.
fn native(x: &Tensor, shape: &[i64], w: Option<&Tensor>, b: Option<&Tensor>, eps: f64) -> Result<(Tensor, Tensor, Tensor)> {
    let tail = check(x, shape, w, b)?;
    run(x, &tail, w, b, eps, true)
}

/// `x / sqrt(mean of squares + eps) * weight` over the trailing dimensions. Differentiable.
pub fn rms_norm(x: &Tensor, shape: &[i64], w: Option<&Tensor>, eps: Option<f64>) -> Result<Tensor> {
    ensure!(
        x.dtype().is_float() || shape.is_empty(),
        NotImplemented,
        "\"rms_norm\" not implemented for '{}'",
        x.dtype().scalar_name()
    );
    let tail = check(x, shape, w, None)?;
    let eps = eps.unwrap_or(match x.dtype() {
        crate::dtype::Dtype::F64 => f64::EPSILON,
        _ => f32::EPSILON as f64,
    });
    Ok(run(x, &tail, w, None, eps, false)?.0)
}

fn run(
    x: &Tensor,
    tail: &[usize],
    w: Option<&Tensor>,
    b: Option<&Tensor>,
    eps: f64,
    center: bool,
) -> Result<(Tensor, Tensor, Tensor)> {
    let lead = x.ndim() - tail.len();
    let mut stat_shape = x.dims();
    stat_shape[lead..].fill(1);
    if x.device() == crate::device::Device::Meta {
        let stat = Tensor::empty(&stat_shape, x.dtype(), x.device())?;
        return Ok((x.empty_like()?, stat.clone(), stat));
    }
    let n: usize = tail.iter().product();
    let (out, mean, rstd) = if gpu::holds(x) {
        gpu::norm::rows(x, n, w, b, eps, center, &stat_shape)?
    } else {
        let from = dense(x)?;
        let kind = from.dtype();
        let (wd, bd) = (dense_as(w, kind)?, dense_as(b, kind)?);
        let out = from.empty_like()?;
        let (mean, rstd) = (Tensor::empty(&stat_shape, kind, x.device())?, Tensor::empty(&stat_shape, kind, x.device())?);
        dispatch!(float "LayerNormKernelImpl", kind, T => {
            let (wd, bd) = (wd.as_ref().map(|t| t.data::<T>()), bd.as_ref().map(|t| t.data::<T>()));
            let (m, s) = (mean.data_mut::<T>(), rstd.data_mut::<T>());
            kernels::forward(from.data::<T>(), n, wd, bd, eps, center, out.data_mut::<T>(), m, s);
        });
        (copy::to_dtype(&out, x.dtype())?, mean, rstd)
    };
    let stats = [save(&mean), save(&rstd)];
    let (mean, rstd) = (copy::to_dtype(&mean, x.dtype())?, copy::to_dtype(&rstd, x.dtype())?);
    let mut inputs = vec![x];
    inputs.extend(w);
    inputs.extend(b);
    let out = if needs_grad(&inputs) {
        let (xs, ws) = (save(x), w.map(save));
        let (has_w, has_b) = (w.is_some(), b.is_some());
        let name = if center { "NativeLayerNormBackward0" } else { "MulBackward0" };
        record(name, &inputs, out, move |ctx, g| {
            let x = xs.get(ctx)?;
            let w = ws.as_ref().map(|w| w.get(ctx)).transpose()?;
            let mut grads: Grads = smallvec![None; 1 + has_w as usize + has_b as usize];
            let (dx, dw, db) = if is_grad_enabled() {
                composed(&x, g, w.as_ref(), lead, eps, center)?
            } else {
                backward(&x, g, w.as_ref(), [&stats[0].get(ctx)?, &stats[1].get(ctx)?], lead, center)?
            };
            grads[0] = Some(dx);
            if has_w {
                grads[1] = Some(dw);
            }
            if has_b {
                grads[1 + has_w as usize] = Some(copy::to_dtype(&db, g.dtype())?);
            }
            Ok(grads)
        })
    } else {
        out
    };
    Ok((out, mean, rstd))
}

/// Gradients of input, weight and bias, from the mean and reciprocal deviation of every row.
fn backward(
    x: &Tensor,
    g: &Tensor,
    w: Option<&Tensor>,
    stats: [&Tensor; 2],
    lead: usize,
    center: bool,
) -> Result<(Tensor, Tensor, Tensor)> {
    if gpu::holds(x) {
        let tail = &x.shape()[lead..];
        let g = row_or_all(g, lead)?;
        let (dx, dw, db) = gpu::norm::rows_backward(x, &g, tail.iter().product(), w, stats, center)?;
        let dw = copy::to_dtype(&view::reshape_to(&dw, tail)?, w.map_or(x.dtype(), Tensor::dtype))?;
        return Ok((dx, dw, view::reshape_to(&db, tail)?));
    }
    let (xd, gd) = (dense(x)?, rows_or_one(g, lead)?);
    let kind = xd.dtype();
    let wd = dense_as(w, kind)?;
    let dx = xd.empty_like()?;
    let tail = &x.shape()[lead..];
    let n: usize = tail.iter().product();
    let partial = Tensor::zeros(&[2, kernels::blocks(stats[0].numel()), n], kind, x.device())?;
    dispatch!(float "LayerNormBackwardKernelImpl", kind, T => {
        let wd = wd.as_ref().map(|t| t.data::<T>());
        let (mean, rstd) = (stats[0].data::<T>(), stats[1].data::<T>());
        kernels::backward(xd.data::<T>(), gd.data::<T>(), n, wd, mean, rstd, center, dx.data_mut::<T>(), partial.data_mut::<T>());
    });
    let total = reduce::sum(&partial, Some(&[1]), false, None)?;
    let (dw, db) = (view::select(&total, 0, 0)?, view::select(&total, 0, 1)?);
    let dw = copy::to_dtype(&view::reshape_to(&dw, tail)?, w.map_or(x.dtype(), Tensor::dtype))?;
    Ok((copy::to_dtype(&dx, x.dtype())?, dw, view::reshape_to(&db, tail)?))
}

/// The normalised input, and the gradient of the input for a gradient `gw` of it, over `dims`: in
/// differentiable ops.
pub fn composed_parts(x: &Tensor, gw: &Tensor, dims: &[i64], eps: f64, center: bool) -> Result<(Tensor, Tensor)> {
    let n: usize = dims.iter().map(|&d| x.size(d as usize)).product();
    let mean = |t: &Tensor| -> Result<Tensor> { ops(&MUL, &sum_keep(t, dims)?, 1.0 / n as f64) };
    let d = if center { sub(x, &mean(x)?)? } else { x.clone() };
    let rstd = op1(&RSQRT, &ops(&ADD, &mean(&mul(&d, &d)?)?, eps)?)?;
    let hat = mul(&d, &rstd)?;
    let gc = if center { sub(gw, &mean(gw)?)? } else { gw.clone() };
    let inner = sub(&gc, &mul(&hat, &mean(&mul(gw, &hat)?)?)?)?;
    Ok((mul(&rstd, &inner)?, hat))
}

/// [`backward`] in differentiable ops.
fn composed(x: &Tensor, g: &Tensor, w: Option<&Tensor>, lead: usize, eps: f64, center: bool) -> Result<(Tensor, Tensor, Tensor)> {
    let dims: Vec<i64> = (lead..x.ndim()).map(|d| d as i64).collect();
    let gw = match w {
        Some(w) => mul(g, w)?,
        None => g.clone(),
    };
    let (dx, hat) = composed_parts(x, &gw, &dims, eps, center)?;
    let tail = &x.shape()[lead..];
    let dw = reduce::sum_to(&mul(g, &hat)?, tail)?;
    let db = reduce::sum_to(g, tail)?;
    Ok((copy::to_dtype(&dx, x.dtype())?, copy::to_dtype(&dw, w.map_or(x.dtype(), Tensor::dtype))?, db))
}

pub(super) fn register(r: &mut Registry) {
    r.op(
        "nf",
        "rms_norm(Tensor self, int[] normalized_shape, Tensor? weight=None, float? eps=None) -> Tensor",
        "Divides every row of the trailing dimensions by its root mean square.",
        |a| rms_norm(a.t(0), a.ints(1), a.ot(2), a.of(3)).map(Ret::from),
    );
    r.op(
        "n",
        "layer_norm(Tensor self, int[] normalized_shape, Tensor? weight=None, Tensor? bias=None, float eps=1e-05) -> Tensor",
        "Normalises every row of the trailing dimensions.",
        |a| layer_norm(a.t(0), a.ints(1), a.ot(2), a.ot(3), a.f(4)).map(Ret::from),
    );
    r.op(
        "f",
        "layer_norm(Tensor self, int[] normalized_shape, Tensor? weight=None, Tensor? bias=None, float eps=1e-05, bool cudnn_enable=True) -> Tensor",
        "Normalises every row of the trailing dimensions.",
        |a| layer_norm(a.t(0), a.ints(1), a.ot(2), a.ot(3), a.f(4)).map(Ret::from),
    );
    r.op(
        "f",
        "native_layer_norm(Tensor self, int[] normalized_shape, Tensor? weight, Tensor? bias, float eps) -> (Tensor, Tensor, Tensor)",
        "layer_norm with the mean and the reciprocal deviation of each row.",
        |a| {
            let (y, m, s) = native(a.t(0), a.ints(1), a.ot(2), a.ot(3), a.f(4))?;
            Ok(Ret::Tuple(vec![y, m, s]))
        },
    );
}
