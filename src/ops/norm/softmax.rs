//! Softmax and its logarithm along one dimension.

use super::num::{dense, rows_or_one, sum_keep};
use crate::autograd::{is_grad_enabled, needs_grad, record, save_output};
use crate::cpu::softmax::{self as kernels, Mode};
use crate::dispatch;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::gpu;
use crate::layout::wrap_dim;
use crate::ops::elementwise::{EXP, NEG, mul, sub};
use crate::ops::norm::num::op1;
use crate::ops::{Args, Registry, Ret, copy, warn};
use crate::tensor::Tensor;
use smallvec::smallvec;

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

/// Elements in and after the dimension.
fn split(x: &Tensor, dim: usize) -> (usize, usize) {
    (x.size(dim), x.shape().iter().skip(dim + 1).product())
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
    let (n, inner) = split(x, dim);
    if gpu::holds(x) {
        return gpu::softmax::forward(x, n, inner, mode);
    }
    let from = dense(x)?;
    let out = from.empty_like()?;
    dispatch!(float name, from.dtype(), T => kernels::forward(from.data::<T>(), out.data_mut::<T>(), n, inner, mode));
    copy::to_dtype(&out, x.dtype())
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
    let (n, inner) = split(y, dim);
    if gpu::holds(y) {
        return gpu::softmax::backward(g, y, n, inner, log);
    }
    g.check_data("softmax_backward")?;
    let yd = dense(y)?;
    let gd = if inner == 1 { rows_or_one(g, dim)? } else { dense(g)? };
    let out = yd.empty_like()?;
    dispatch!(float "softmax_backward", yd.dtype(), T => {
        kernels::backward(gd.data::<T>(), yd.data::<T>(), out.data_mut::<T>(), n, inner, log);
    });
    copy::to_dtype(&out, y.dtype())
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
