//! Softmax and its logarithm along one dimension.

use super::num::{Num, dense, sum_keep};
use crate::autograd::{is_grad_enabled, needs_grad, record, save_output};
use crate::cpu::threads::{SendPtr, parallel_for};
use crate::dispatch;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::layout::wrap_dim;
use crate::ops::elementwise::{EXP, NEG, mul, sub};
use crate::ops::norm::num::op1;
use crate::ops::{Args, Registry, Ret, copy, reduce, warn};
use crate::tensor::Tensor;
use smallvec::smallvec;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Plain,
    Log,
    Safe,
}

/// `exp(x) / sum(exp(x))` along `dim`. Differentiable.
pub fn softmax(x: &Tensor, dim: i64, dtype: Option<Dtype>) -> Result<Tensor> {
    along(x, dim, dtype, Mode::Plain)
}

/// [`softmax`] in which rows of nothing but -inf become 0 (positions that may look at nothing).
pub fn safe_softmax(x: &Tensor, dim: i64) -> Result<Tensor> {
    along(x, dim, None, Mode::Safe)
}

/// The logarithm of [`softmax`]. Differentiable.
pub fn log_softmax(x: &Tensor, dim: i64, dtype: Option<Dtype>) -> Result<Tensor> {
    along(x, dim, dtype, Mode::Log)
}

fn along(x: &Tensor, dim: i64, dtype: Option<Dtype>, mode: Mode) -> Result<Tensor> {
    let log = mode == Mode::Log;
    let x = match dtype {
        Some(d) => copy::to_dtype(x, d)?,
        None => x.clone(),
    };
    let dim = wrap_dim(dim, x.ndim())?;
    let out = forward(&x, dim, mode)?;
    let y = save_output(&out, 0);
    let name = if log { "LogSoftmaxBackward0" } else { "SoftmaxBackward0" };
    Ok(record(name, &[&x], out, move |ctx, g| Ok(smallvec![Some(backward(g, &y.get(ctx)?, dim, log)?)])))
}

/// Elements before, in and after the dimension.
fn split(x: &Tensor, dim: usize) -> (usize, usize, usize) {
    let s = x.shape();
    (s.iter().take(dim).product(), x.size(dim), s.iter().skip(dim + 1).product())
}

/// Rows handled at a time, so that a piece of work is worth handing to a thread.
fn grain(row: usize) -> usize {
    (1 << 15) / row.max(1) + 1
}

fn forward(x: &Tensor, dim: usize, mode: Mode) -> Result<Tensor> {
    let log = mode == Mode::Log;
    let last = dim + 1 >= x.ndim();
    let name = match (log, last) {
        (false, true) => "softmax_lastdim_kernel_impl",
        (false, false) => "softmax_kernel_impl",
        (true, true) => "log_softmax_lastdim_kernel_impl",
        (true, false) => "log_softmax_kernel_impl",
    };
    if !x.dtype().is_float() {
        crate::bail!(NotImplemented, "\"{name}\" not implemented for '{}'", x.dtype().scalar_name());
    }
    if x.device() == crate::device::Device::Meta {
        return x.empty_like();
    }
    let (outer, n, inner) = split(x, dim);
    let from = dense(x)?;
    let out = from.empty_like()?;
    if out.numel() > 0 {
        dispatch!(float name, from.dtype(), T => {
            let to = SendPtr(out.data_mut::<T>().as_mut_ptr());
            let from = from.data::<T>();
            parallel_for(outer, grain(n * inner), |range| {
                for o in range {
                    let at = o * n * inner;
                    // SAFETY: each `o` has a block of its own.
                    let block = unsafe { std::slice::from_raw_parts_mut(to.get().add(at), n * inner) };
                    if inner == 1 {
                        forward_row(&from[at..at + n], block, mode);
                    } else {
                        forward_block(&from[at..at + n * inner], block, inner, log);
                    }
                }
            });
        });
    }
    copy::to_dtype(&out, x.dtype())
}

/// The largest, by lanes.
fn largest<T: Num>(row: &[T]) -> T {
    let mut lanes = [T::LOWEST; 16];
    let mut chunks = row.chunks_exact(16);
    for c in &mut chunks {
        for k in 0..16 {
            lanes[k] = if c[k] > lanes[k] { c[k] } else { lanes[k] };
        }
    }
    let m = lanes.iter().fold(T::LOWEST, |m, &v| if v > m { v } else { m });
    chunks.remainder().iter().fold(m, |m, &v| if v > m { v } else { m })
}

fn forward_row<T: Num>(x: &[T], y: &mut [T], mode: Mode) {
    let m = largest(x);
    if mode == Mode::Safe && m == T::LOWEST && x.iter().all(|&v| v == m) {
        return y.fill(T::ZERO);
    }
    for (y, &x) in y.iter_mut().zip(x) {
        *y = (x - m).exp();
    }
    let sum = reduce::sum_row(y);
    if mode == Mode::Log {
        let ln = sum.ln();
        for (y, &x) in y.iter_mut().zip(x) {
            *y = (x - m) - ln;
        }
    } else {
        let scale = T::ONE / sum;
        for y in y.iter_mut() {
            *y = *y * scale;
        }
    }
}

/// The dimension is not the last: all of its columns at once, row by row.
fn forward_block<T: Num>(x: &[T], y: &mut [T], inner: usize, log: bool) {
    let mut m = x[..inner].to_vec();
    for row in x.chunks_exact(inner).skip(1) {
        for (m, &v) in m.iter_mut().zip(row) {
            *m = if v > *m { v } else { *m };
        }
    }
    let mut sum = vec![T::ZERO; inner];
    for (row, out) in x.chunks_exact(inner).zip(y.chunks_exact_mut(inner)) {
        for k in 0..inner {
            out[k] = (row[k] - m[k]).exp();
            sum[k] += out[k];
        }
    }
    if log {
        for s in &mut sum {
            *s = s.ln();
        }
        for (row, out) in x.chunks_exact(inner).zip(y.chunks_exact_mut(inner)) {
            for k in 0..inner {
                out[k] = (row[k] - m[k]) - sum[k];
            }
        }
    } else {
        for out in y.chunks_exact_mut(inner) {
            for k in 0..inner {
                out[k] = out[k] / sum[k];
            }
        }
    }
}

/// The gradient of the input from that of the result, `g`, and the result, `y`. Differentiable.
pub fn backward(g: &Tensor, y: &Tensor, dim: usize, log: bool) -> Result<Tensor> {
    let d = [dim as i64];
    if is_grad_enabled() && needs_grad(&[g, y]) {
        return if log {
            sub(g, &mul(&op1(&EXP, y)?, &sum_keep(g, &d)?)?)
        } else {
            mul(y, &sub(g, &sum_keep(&mul(g, y)?, &d)?)?)
        };
    }
    g.check_data("softmax_backward")?;
    let (outer, n, inner) = split(y, dim);
    let (gd, yd) = (dense(g)?, dense(y)?);
    let out = yd.empty_like()?;
    if out.numel() > 0 {
        dispatch!(float "softmax_backward", yd.dtype(), T => {
            let to = SendPtr(out.data_mut::<T>().as_mut_ptr());
            let (gd, yd) = (gd.data::<T>(), yd.data::<T>());
            parallel_for(outer, grain(n * inner), |range| {
                let mut sums = vec![T::ZERO; inner];
                for o in range {
                    let at = o * n * inner;
                    // SAFETY: each `o` has a block of its own.
                    let block = unsafe { std::slice::from_raw_parts_mut(to.get().add(at), n * inner) };
                    backward_block(&gd[at..at + n * inner], &yd[at..at + n * inner], block, &mut sums, log);
                }
            });
        });
    }
    copy::to_dtype(&out, y.dtype())
}

fn backward_block<T: Num>(g: &[T], y: &[T], out: &mut [T], sums: &mut [T], log: bool) {
    let inner = sums.len();
    if inner == 1 {
        // The products go through the output, so that they are added up in the accurate order.
        let s = if log {
            reduce::sum_row(g)
        } else {
            for k in 0..g.len() {
                out[k] = g[k] * y[k];
            }
            reduce::sum_row(out)
        };
        for k in 0..g.len() {
            out[k] = if log { g[k] - y[k].exp() * s } else { y[k] * (g[k] - s) };
        }
        return;
    }
    sums.fill(T::ZERO);
    for (g, y) in g.chunks_exact(inner).zip(y.chunks_exact(inner)) {
        for k in 0..inner {
            sums[k] += if log { g[k] } else { g[k] * y[k] };
        }
    }
    for (i, out) in out.chunks_exact_mut(inner).enumerate() {
        let (g, y) = (&g[i * inner..(i + 1) * inner], &y[i * inner..(i + 1) * inner]);
        for k in 0..inner {
            out[k] = if log { g[k] - y[k].exp() * sums[k] } else { y[k] * (g[k] - sums[k]) };
        }
    }
}

/// The dimension of `F.softmax(x)` where none was given.
fn implicit_dim(name: &str, a: &Args) -> i64 {
    a.oint(1).unwrap_or_else(|| {
        warn(format!(
            "Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument."
        ));
        if matches!(a.t(0).ndim(), 0 | 1 | 3) { 0 } else { 1 }
    })
}

pub(super) fn register(r: &mut Registry) {
    r.op("fm", "softmax(Tensor self, int dim, ScalarType? dtype=None) -> Tensor", "exp(x) / sum(exp(x)) along dim.", |a| {
        softmax(a.t(0), a.int(1), a.dtype(2)).map(Ret::from)
    });
    r.op("fm", "log_softmax(Tensor self, int dim, ScalarType? dtype=None) -> Tensor", "The logarithm of softmax.", |a| {
        log_softmax(a.t(0), a.int(1), a.dtype(2)).map(Ret::from)
    });
    r.op("s", "softmax(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor", "exp(x) / sum(exp(x)) along dim.", |a| {
        softmax(a.t(0), a.int(1), a.dtype(2)).map(Ret::from)
    });
    r.op("s", "log_softmax(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor", "The logarithm of softmax.", |a| {
        log_softmax(a.t(0), a.int(1), a.dtype(2)).map(Ret::from)
    });
    r.op(
        "n",
        "softmax(Tensor self, int? dim=None, int _stacklevel=3, ScalarType? dtype=None) -> Tensor",
        "exp(x) / sum(exp(x)) along dim.",
        |a| softmax(a.t(0), implicit_dim("softmax", a), a.dtype(3)).map(Ret::from),
    );
    r.op(
        "n",
        "log_softmax(Tensor self, int? dim=None, int _stacklevel=3, ScalarType? dtype=None) -> Tensor",
        "The logarithm of softmax.",
        |a| log_softmax(a.t(0), implicit_dim("log_softmax", a), a.dtype(3)).map(Ret::from),
    );
    r.op(
        "n",
        "softmin(Tensor self, int? dim=None, int _stacklevel=3, ScalarType? dtype=None) -> Tensor",
        "softmax of -x.",
        |a| softmax(&op1(&NEG, a.t(0))?, implicit_dim("softmin", a), a.dtype(3)).map(Ret::from),
    );
}
