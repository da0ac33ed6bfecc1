//! Distances between vectors: cdist, pdist, pairwise_distance, cosine_similarity.

use super::super::elementwise::{self, add, div, mul, sub};
use super::super::{Registry, Ret, copy, reduce, view};
use super::{matmul, mt, reshaped};
use crate::autograd::{record, save, save_output};
use crate::cpu::threads::{SendPtr, parallel_for};
use crate::dtype::Scalar;
use crate::error::Result;
use crate::expr::Operand;
use crate::gpu;
use crate::layout::{Dims, broadcast, wrap_dim};
use crate::tensor::Tensor;
use crate::{bail, dispatch, ensure};
use num_traits::Float;
use smallvec::smallvec;

/// The p-norm of the difference of two rows.
fn distance<T: Float>(a: &[T], b: &[T], p: f64) -> T {
    let diffs = a.iter().zip(b).map(|(&x, &y)| (x - y).abs());
    let max = |m: T, v: T| if v.is_nan() || m.is_nan() { T::nan() } else { m.max(v) };
    if p == 2.0 {
        diffs.fold(T::zero(), |s, d| s + d * d).sqrt()
    } else if p == 1.0 {
        diffs.fold(T::zero(), |s, d| s + d)
    } else if p == 0.0 {
        diffs.fold(T::zero(), |s, d| if d != T::zero() { s + T::one() } else { s })
    } else if p.is_infinite() {
        diffs.fold(T::zero(), max)
    } else {
        let q = T::from(p).unwrap_or_else(T::nan);
        diffs.fold(T::zero(), |s, d| s + d.powf(q)).powf(T::one() / q)
    }
}

/// What one coordinate's difference contributes to the gradient of a distance.
fn slope<T: Float>(d: T, dist: T, p: f64) -> T {
    if dist == T::zero() || p == 0.0 || d == T::zero() {
        return T::zero();
    }
    let sign = d.signum();
    if p == 1.0 {
        sign
    } else if p == 2.0 {
        d / dist
    } else if p.is_infinite() {
        if d.abs() == dist { sign } else { T::zero() }
    } else {
        let q = T::from(p - 1.0).unwrap_or_else(T::nan);
        sign * (d.abs() / dist).powf(q)
    }
}

/// Distances of all pairs of rows: (batch, r1, m) and (batch, r2, m) to (batch, r1, r2).
fn all_pairs(a: &Tensor, b: &Tensor, p: f64) -> Result<Tensor> {
    let (a, b) = (copy::contiguous(&a.detach())?, copy::contiguous(&b.detach())?);
    let (batch, r1, r2, m) = (a.shape()[0], a.shape()[1], b.shape()[1], a.shape()[2]);
    let out = Tensor::empty(&[batch, r1, r2], a.dtype(), a.device())?;
    if out.numel() == 0 {
        return Ok(out);
    }
    if gpu::holds(&out) {
        gpu::distance::pairs(&a, &b, &out, p)?;
        return Ok(out);
    }
    dispatch!(float "cdist", a.dtype(), T => {
        let (x, y, o) = (a.data::<T>(), b.data::<T>(), SendPtr(out.data_mut::<T>().as_mut_ptr()));
        parallel_for(batch * r1, (1 << 14) / (r2 * m.max(1)) + 1, |range| {
            for i in range {
                let row = &x[i * m..(i + 1) * m];
                // SAFETY: row `i` of the result belongs to this piece alone.
                let to = unsafe { o.slice(i * r2, r2) };
                for (j, v) in to.iter_mut().enumerate() {
                    let k = i / r1 * r2 + j;
                    *v = distance(row, &y[k * m..(k + 1) * m], p);
                }
            }
        });
    });
    Ok(out)
}

/// The gradient of [`all_pairs`] for `a`, given that of the distances.
fn all_pairs_grad(g: &Tensor, a: &Tensor, b: &Tensor, dist: &Tensor, p: f64) -> Result<Tensor> {
    let c = |t: &Tensor| copy::contiguous(&t.detach());
    let (g, a, b, dist) = (c(g)?, c(a)?, c(b)?, c(dist)?);
    let (r1, r2, m) = (a.shape()[1], b.shape()[1], a.shape()[2]);
    let out = Tensor::zeros(a.shape(), a.dtype(), a.device())?;
    if gpu::holds(&out) {
        gpu::distance::pairs_grad(&g, &a, &b, &dist, &out, p)?;
        return Ok(out);
    }
    dispatch!(float "cdist_backward", a.dtype(), T => {
        let (gs, x, y, ds) = (g.data::<T>(), a.data::<T>(), b.data::<T>(), dist.data::<T>());
        let o = SendPtr(out.data_mut::<T>().as_mut_ptr());
        parallel_for(a.shape()[0] * r1, (1 << 14) / (r2 * m + 1) + 1, |range| {
            for i in range {
                // SAFETY: row `i` of the result belongs to this piece alone.
                let to = unsafe { o.slice(i * m, m) };
                for j in 0..r2 {
                    let k = i / r1 * r2 + j;
                    let (gv, dv) = (gs[i * r2 + j], ds[i * r2 + j]);
                    for (t, v) in to.iter_mut().enumerate() {
                        *v += gv * slope(x[i * m + t] - y[k * m + t], dv, p);
                    }
                }
            }
        });
    });
    Ok(out)
}

/// Euclidean distances by one matrix product: |a|^2 + |b|^2 - 2ab.
fn euclidean_by_product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let square_sum = |t: &Tensor| reduce::sum(&mul(t, t)?, Some(&[-1]), true, None);
    let (na, nb) = (square_sum(a)?, mt(&square_sum(b)?)?);
    let ab = elementwise::scale(&matmul(a, &mt(b)?)?, -2.0)?;
    let sq = add(&add(&ab, &na)?, &nb)?;
    let sq = elementwise::CLAMP_MIN.call(&[Operand::T(sq), Operand::S(Scalar::Int(0))], &[], None)?;
    elementwise::SQRT.call(&[Operand::T(sq)], &[], None)
}

/// Distances between all rows of `a` and all rows of `b`.
pub fn cdist(a: &Tensor, b: &Tensor, p: f64, mode: Option<&str>) -> Result<Tensor> {
    for (name, t) in [("X1", a), ("X2", b)] {
        ensure!(t.ndim() >= 2, Runtime, "cdist only supports at least 2D tensors, {name} got: {}D", t.ndim());
    }
    let m = a.shape()[a.ndim() - 1];
    let mb = b.shape()[b.ndim() - 1];
    ensure!(m == mb, Runtime, "X1 and X2 must have the same number of columns. X1: {m} X2: {mb}");
    for (name, t) in [("X1", a), ("X2", b)] {
        ensure!(
            t.dtype().is_float(),
            Runtime,
            "cdist only supports floating-point dtypes, {name} got: {}",
            t.dtype().scalar_name()
        );
    }
    ensure!(p >= 0.0, Runtime, "cdist only supports non-negative p values");
    let by_product = match mode {
        None | Some("use_mm_for_euclid_dist_if_necessary") => false,
        Some("use_mm_for_euclid_dist") => true,
        Some("donot_use_mm_for_euclid_dist") => false,
        Some(m) => bail!(Value, "{m} is not a valid value for compute_mode"),
    };
    let (r1, r2) = (a.shape()[a.ndim() - 2], b.shape()[b.ndim() - 2]);
    let large = (r1 > 25 || r2 > 25) && mode != Some("donot_use_mm_for_euclid_dist");
    let batch = broadcast(&a.shape()[..a.ndim() - 2], &b.shape()[..b.ndim() - 2])?;
    ensure!(
        a.dtype() == b.dtype(),
        Runtime,
        "expected scalar type {} but found {}",
        a.dtype().scalar_name(),
        b.dtype().scalar_name()
    );
    ensure!(a.dtype().compute() == a.dtype(), NotImplemented, "\"cdist\" not implemented for '{}'", a.dtype().scalar_name());
    a.check_memory("cdist")?;
    if p == 2.0 && (by_product || large) && m > 0 && r1 > 0 && r2 > 0 && batch.iter().all(|&s| s > 0) {
        return euclidean_by_product(a, b);
    }
    let full = |t: &Tensor, rows: usize| -> Result<Tensor> {
        let mut shape: Dims = batch.clone();
        shape.extend_from_slice(&[rows, m]);
        view::reshape_to(&view::expand(t, &shape)?, &[batch.iter().product(), rows, m])
    };
    let (x, y) = (full(a, r1)?, full(b, r2)?);
    let out = pairs_with_grad(&x, &y, p)?;
    let mut shape: Dims = batch.clone();
    shape.extend_from_slice(&[r1, r2]);
    reshaped(out, &shape, "CdistBackward0")
}

fn pairs_with_grad(x: &Tensor, y: &Tensor, p: f64) -> Result<Tensor> {
    let out = all_pairs(x, y, p)?;
    let (sx, sy, so) = (save(x), save(y), save_output(&out, 0));
    Ok(record("CdistBackward0", &[x, y], out, move |ctx, g| {
        let (x, y, d) = (sx.get(ctx)?, sy.get(ctx)?, so.get(ctx)?);
        if crate::autograd::is_grad_enabled() {
            // To be differentiated again: in tensor ops.
            let diff = sub(&view::unsqueeze(&x, 2)?, &view::unsqueeze(&y, 1)?)?;
            let s = mul(&view::unsqueeze(g, 3)?, &slopes(&diff, &view::unsqueeze(&d, 3)?, p)?)?;
            let gx = reduce::sum(&s, Some(&[2]), false, None)?;
            let gy = elementwise::scale(&reduce::sum(&s, Some(&[1]), false, None)?, -1.0)?;
            return Ok(smallvec![Some(gx), Some(gy)]);
        }
        let gx = if ctx.needs(0) { Some(all_pairs_grad(g, &x, &y, &d, p)?) } else { None };
        let gy = if ctx.needs(1) { Some(all_pairs_grad(&mt(g)?, &y, &x, &mt(&d)?, p)?) } else { None };
        Ok(smallvec![gx, gy])
    }))
}

/// [`slope`] in tensor ops.
fn slopes(diff: &Tensor, dist: &Tensor, p: f64) -> Result<Tensor> {
    let zero = elementwise::EQ.call(&[Operand::T(dist.clone()), Operand::S(Scalar::Int(0))], &[], None)?;
    let safe =
        elementwise::WHERE.call(&[Operand::T(zero), Operand::S(Scalar::Float(1.0)), Operand::T(dist.clone())], &[], None)?;
    let safe = copy::to_dtype(&safe, diff.dtype())?;
    if p == 2.0 {
        return div(diff, &safe);
    }
    let sign = elementwise::SIGN.call(&[Operand::T(diff.clone())], &[], None)?;
    if p == 1.0 {
        return Ok(sign);
    }
    let abs = elementwise::ABS.call(&[Operand::T(diff.clone())], &[], None)?;
    if p.is_infinite() {
        let at = elementwise::EQ.call(&[Operand::T(abs), Operand::T(dist.clone())], &[], None)?;
        return mul(&sign, &copy::to_dtype(&at, diff.dtype())?);
    }
    if p == 0.0 {
        return elementwise::scale(&sign, 0.0);
    }
    let ratio = div(&abs, &safe)?;
    let none = elementwise::EQ.call(&[Operand::T(ratio.clone()), Operand::S(Scalar::Int(0))], &[], None)?;
    let ratio = elementwise::WHERE.call(&[Operand::T(none), Operand::S(Scalar::Float(1.0)), Operand::T(ratio)], &[], None)?;
    mul(&sign, &elementwise::pow(Operand::T(ratio), Operand::S(Scalar::Float(p - 1.0)))?)
}

/// Distances of all pairs `i < j` of rows.
fn pdist(x: &Tensor, p: f64) -> Result<Tensor> {
    ensure!(x.ndim() == 2, Runtime, "pdist only supports 2D tensors, got: {}D", x.ndim());
    ensure!(x.dtype().is_float(), Runtime, "pdist only supports floating-point dtypes");
    ensure!(p >= 0.0, Runtime, "pdist only supports non-negative p values");
    ensure!(x.dtype().compute() == x.dtype(), NotImplemented, "\"pdist\" not implemented for '{}'", x.dtype().scalar_name());
    x.check_memory("pdist")?;
    let c = copy::contiguous(&x.detach())?;
    let (n, m) = (x.shape()[0], x.shape()[1]);
    let count = n * n.saturating_sub(1) / 2;
    let out = Tensor::empty(&[count], x.dtype(), x.device())?;
    if gpu::holds(&out) {
        gpu::distance::own_pairs(&c, &out, p)?;
    } else {
        dispatch!(float "pdist", x.dtype(), T => {
            let (v, o) = (c.data::<T>(), out.data_mut::<T>());
            let mut at = 0;
            for i in 0..n {
                for j in i + 1..n {
                    o[at] = distance(&v[i * m..(i + 1) * m], &v[j * m..(j + 1) * m], p);
                    at += 1;
                }
            }
        });
    }
    let (sx, so) = (save(x), save_output(&out, 0));
    Ok(record("PdistBackward0", &[x], out, move |ctx, g| {
        let (x, d) = (sx.get(ctx)?, so.get(ctx)?);
        let (x, d, g) = (copy::contiguous(&x.detach())?, copy::contiguous(&d.detach())?, copy::contiguous(&g.detach())?);
        let out = Tensor::zeros(x.shape(), x.dtype(), x.device())?;
        if gpu::holds(&out) {
            gpu::distance::own_pairs_grad(&g, &x, &d, &out, p)?;
            return Ok(smallvec![Some(out)]);
        }
        dispatch!(float "pdist_backward", x.dtype(), T => {
            let (v, ds, gs, o) = (x.data::<T>(), d.data::<T>(), g.data::<T>(), out.data_mut::<T>());
            let mut at = 0;
            for i in 0..n {
                for j in i + 1..n {
                    for t in 0..m {
                        let s = gs[at] * slope(v[i * m + t] - v[j * m + t], ds[at], p);
                        o[i * m + t] += s;
                        o[j * m + t] -= s;
                    }
                    at += 1;
                }
            }
        });
        Ok(smallvec![Some(out)])
    }))
}

/// The p-norm over one dimension, in tensor ops; the gradient at 0 is 0.
fn norm_along(x: &Tensor, p: f64, dim: i64, keepdim: bool) -> Result<Tensor> {
    let d = wrap_dim(dim, x.ndim())?;
    let moved = view::transpose(&view::unsqueeze(x, -1)?, d as i64, -1)?;
    let rows: usize = moved.numel() / x.size(d).max(1);
    let n = x.size(d);
    let lead: Dims = moved.shape()[..moved.ndim() - 1].into();
    let count = lead.iter().product::<usize>();
    debug_assert!(n == 0 || rows == count);
    let flat = view::reshape_to(&moved, &[count, 1, n])?;
    let zero = Tensor::zeros(&[1, 1, n], x.dtype(), x.device())?;
    let zero = view::expand(&zero, &[count, 1, n])?;
    // `lead` has the dimension as a one; a 0-d tensor stands for a vector of one.
    let mut shape = lead;
    if x.ndim() == 0 {
        shape.truncate(usize::from(keepdim));
    } else if !keepdim {
        shape.remove(d);
    }
    reshaped(pairs_with_grad(&flat, &zero, p)?, &shape, "NormBackward1")
}

fn pairwise_distance(a: &Tensor, b: &Tensor, p: f64, eps: f64, keepdim: bool) -> Result<Tensor> {
    let diff = sub(a, b)?;
    let diff = elementwise::ADD.call(&[Operand::T(diff), Operand::S(Scalar::Float(eps))], &[], None)?;
    let dtype = diff.dtype();
    let wide = copy::to_dtype(&diff, dtype.compute())?;
    let out = if p < 0.0 {
        let abs = elementwise::ABS.call(&[Operand::T(wide)], &[], None)?;
        let s = reduce::sum(&elementwise::pow(Operand::T(abs), Operand::S(Scalar::Float(p)))?, Some(&[-1]), keepdim, None)?;
        elementwise::pow(Operand::T(s), Operand::S(Scalar::Float(1.0 / p)))?
    } else {
        norm_along(&wide, p, -1, keepdim)?
    };
    copy::to_dtype(&out, dtype)
}

fn cosine_similarity(a: &Tensor, b: &Tensor, dim: i64, eps: f64) -> Result<Tensor> {
    let common = elementwise::result_type(&[Operand::T(a.clone()), Operand::T(b.clone())]);
    ensure!(
        common.is_float(),
        Runtime,
        "expected common dtype to be floating point, yet common dtype is {}",
        common.scalar_name()
    );
    let shape = broadcast(a.shape(), b.shape())?;
    let unit = |t: &Tensor| -> Result<Tensor> {
        let t = view::expand(&copy::to_dtype(t, common.compute())?, &shape)?;
        let n = norm_along(&t, 2.0, dim, true)?;
        let n = if t.ndim() == 0 { view::reshape_to(&n, &[])? } else { n };
        // The bound counts for the value, not for the gradient.
        let low = crate::autograd::no_grad(|| -> Result<Tensor> {
            let c = elementwise::CLAMP_MIN.call(&[Operand::T(n.detach()), Operand::S(Scalar::Float(eps))], &[], None)?;
            sub(&c, &n.detach())
        })?;
        div(&t, &add(&n, &low)?)
    };
    wrap_dim(dim, shape.len())?;
    let out = reduce::sum(&mul(&unit(a)?, &unit(b)?)?, Some(&[dim]), false, None)?;
    copy::to_dtype(&out, common)
}

pub(super) fn register(r: &mut Registry) {
    r.op(
        "f",
        "cdist(Tensor x1, Tensor x2, float p=2.0, str? compute_mode='use_mm_for_euclid_dist_if_necessary') -> Tensor",
        "Distances between all rows of x1 and all rows of x2.",
        |a| cdist(a.t(0), a.t(1), a.f(2), a.os(3)).map(Ret::from),
    );
    for places in ["n", "f"] {
        r.op(places, "pdist(Tensor self, float p=2) -> Tensor", "Distances of all pairs of rows.", |a| {
            pdist(a.t(0), a.f(1)).map(Ret::from)
        });
        r.op(
            places,
            "pairwise_distance(Tensor x1, Tensor x2, float p=2.0, float eps=1e-06, bool keepdim=False) -> Tensor",
            "The norm of the difference along the last dimension.",
            |a| pairwise_distance(a.t(0), a.t(1), a.f(2), a.f(3), a.b(4)).map(Ret::from),
        );
        r.op(
            places,
            "cosine_similarity(Tensor x1, Tensor x2, int dim=1, float eps=1e-08) -> Tensor",
            "The cosine of the angle between vectors along a dimension.",
            |a| cosine_similarity(a.t(0), a.t(1), a.int(2), a.f(3)).map(Ret::from),
        );
    }
}
