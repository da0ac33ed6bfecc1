//! p-norms over dimensions, for `normalize` and the losses on distances.

use super::num::{op1, op2, ops, sum_keep};
use crate::autograd::{no_grad, record, save, save_output};
use crate::cpu::float::Float;
use crate::error::Result;
use crate::expr::Operand;
use crate::gpu;
use crate::ops::elementwise::{ABS, CLAMP_MIN, DIV, EQ, MUL, NE, SIGN, WHERE, div, mul, pow};
use crate::ops::reduce::{reduced_dims, reduced_shape, rows};
use crate::ops::{Registry, Ret, copy, reduce, view};
use crate::tensor::Tensor;
use crate::{dispatch, ensure};
use smallvec::smallvec;

/// The norms that `common_norm` leaves.
fn row_norm<T: Float>(row: &[T], p: f64) -> T {
    if p == 0.0 {
        T::of(row.iter().filter(|v| **v != T::ZERO).count() as f64)
    } else if p == f64::NEG_INFINITY {
        let abs = |v: &T| if *v < T::ZERO { -*v } else { *v };
        row.iter().map(abs).fold(T::of(f64::INFINITY), |m, v| if v < m || v.partial_cmp(&v).is_none() { v } else { m })
    } else {
        T::of(row.iter().map(|v| v.to_f64().abs().powf(p)).sum::<f64>().powf(1.0 / p))
    }
}

/// The norms that `common_norm` leaves, in tensor ops.
fn of_powers(x: &Tensor, p: f64, dims: &[i64]) -> Result<Tensor> {
    let x = copy::to_dtype(x, x.dtype().compute())?;
    if p == 0.0 {
        return sum_keep(&copy::to_dtype(&ops(&NE, &x, 0.0)?, x.dtype())?, dims);
    }
    let abs = op1(&ABS, &x)?;
    if p == f64::NEG_INFINITY {
        return reduce::extreme_over(&abs, dims, true, false);
    }
    let power = |t: Tensor, e: f64| pow(Operand::T(t), Operand::S(e.into()));
    power(sum_keep(&power(abs, p)?, dims)?, 1.0 / p)
}

/// The p-norm over `dims`, which stay with size 1. Differentiable.
pub fn lp_norm(x: &Tensor, p: f64, dims: &[i64]) -> Result<Tensor> {
    ensure!(
        x.dtype().is_float(),
        Runtime,
        "linalg.vector_norm: Expected a floating point or complex tensor as input. Got {}",
        x.dtype().scalar_name()
    );
    x.check_memory("norm")?;
    let gone = reduced_dims(x.ndim(), Some(dims))?;
    let out = match reduce::common_norm(x, p, &gone)? {
        Some(kept) => kept,
        None if gpu::holds(x) => no_grad(|| of_powers(&x.detach(), p, dims))?,
        None => {
            let wide = copy::to_dtype(&x.detach(), x.dtype().compute())?;
            let (data, count, row) = rows(&wide, &gone)?;
            let out = Tensor::empty(&reduced_shape(x.shape(), &gone, true), data.dtype(), x.device())?;
            dispatch!(float "norm", data.dtype(), T => {
                for (i, o) in out.data_mut::<T>().iter_mut().enumerate().take(count) {
                    *o = row_norm(&data.data::<T>()[i * row..(i + 1) * row], p);
                }
            });
            out
        }
    };
    let out = copy::to_dtype(&out, x.dtype())?;
    let (xs, ns) = (save(x), save_output(&out, 0));
    let dims = dims.to_vec();
    Ok(record("LinalgVectorNormBackward0", &[x], out, move |ctx, g| {
        let (x, n) = (xs.get(ctx)?, ns.get(ctx)?);
        let zero = |t: &Tensor| EQ.call(&[Operand::T(t.clone()), Operand::S(0.0.into())], &[], None);
        let unless = |mask: Tensor, t: Tensor| WHERE.call(&[Operand::T(mask), Operand::S(0.0.into()), Operand::T(t)], &[], None);
        let slope = if p == 0.0 {
            ops(&MUL, &x, 0.0)?
        } else if p == 1.0 {
            op1(&SIGN, &x)?
        } else if p == 2.0 {
            unless(zero(&n)?, div(&x, &n)?)?
        } else if p.is_infinite() {
            let at = copy::to_dtype(&op2(&EQ, &op1(&ABS, &x)?, &n)?, x.dtype())?;
            div(&mul(&op1(&SIGN, &x)?, &at)?, &sum_keep(&at, &dims)?)?
        } else {
            let power = |t: &Tensor, e: f64| pow(Operand::T(t.clone()), Operand::S(e.into()));
            let s = mul(&mul(&op1(&SIGN, &x)?, &power(&op1(&ABS, &x)?, p - 1.0)?)?, &power(&n, 1.0 - p)?)?;
            unless(zero(&x)?, s)?
        };
        Ok(smallvec![Some(mul(&slope, g)?)])
    }))
}

/// `x / max(norm(x), eps)` along `dims`. Differentiable.
pub fn normalize(x: &Tensor, p: f64, dims: &[i64], eps: f64) -> Result<Tensor> {
    div(x, &ops(&CLAMP_MIN, &lp_norm(x, p, dims)?, eps)?)
}

/// The p-norm of `a - b + eps` along the last dimension. Differentiable.
pub fn distance(a: &Tensor, b: &Tensor, p: f64, eps: f64) -> Result<Tensor> {
    let d = ops(&crate::ops::elementwise::ADD, &crate::ops::elementwise::sub(a, b)?, eps)?;
    let n = lp_norm(&d, p, &[-1])?;
    let shape = &n.shape()[..n.ndim().saturating_sub(1)];
    view::reshape_to(&n, shape)
}

/// The mean of all elements. Differentiable.
pub fn mean(x: &Tensor) -> Result<Tensor> {
    ops(&DIV, &reduce::sum(x, None, false, None)?, x.numel() as f64)
}

pub(super) fn register(r: &mut Registry) {
    r.op(
        "n",
        "normalize(Tensor self, float p=2.0, int[1] dim=1, float eps=1e-12) -> Tensor",
        "Divides by the p-norm over dim.",
        |a| normalize(a.t(0), a.f(1), a.ints(2), a.f(3)).map(Ret::from),
    );
}
