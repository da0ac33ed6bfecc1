//! Largest and smallest: max, min, amax, amin, aminmax, argmax, argmin.

use super::run::{extreme_along, folded};
use super::tools::*;
use super::{reduced_dims, reduced_shape, sum};
use crate::autograd::{no_grad, record, record_many, save, save_output};
use crate::cpu::reduce::ops::{Max, Min};
use crate::dtype::Dtype;
use crate::ensure;
use crate::error::Result;
use crate::expr::builder::{E, c, par, wh};
use crate::layout::wrap_dim;
use crate::ops::elementwise as ew;
use crate::ops::{Args, Registry, Ret, copy, view};
use crate::tensor::Tensor;
use smallvec::{SmallVec, smallvec};

/// The extreme over dimensions, which stay with size 1, in the dtype of `x`.
fn fold_extreme(x: &Tensor, gone: &[bool], max: bool) -> Result<Tensor> {
    let kept = kernel!(wide_dtype(x.dtype()), T => if max { folded::<T, Max>(x, gone) } else { folded::<T, Min>(x, gone) })?;
    copy::to_dtype(&kept, x.dtype())
}

/// The extreme along a dimension, which stays with size 1, and where it is: the first place, or the first NaN.
fn arg_extreme(x: &Tensor, d: usize, max: bool) -> Result<(Tensor, Tensor)> {
    let (best, index) =
        kernel!(wide_dtype(x.dtype()), T => if max { extreme_along::<T, Max>(x, d) } else { extreme_along::<T, Min>(x, d) })?;
    Ok((copy::to_dtype(&best, x.dtype())?, index))
}

fn check_real(x: &Tensor, name: &str) -> Result<()> {
    ensure!(!x.dtype().is_complex(), NotImplemented, "\"{name}\" not implemented for '{}'", x.dtype().scalar_name());
    Ok(())
}

/// `g` shared equally among the elements that equal the result (`dims` empty: over everything). Where
/// the result is NaN, the NaNs share it with `nan_too`; without, every gradient is NaN, as in PyTorch's amax.
pub fn share_evenly(x: &Tensor, out: &Tensor, g: &Tensor, dims: &[i64], nan_too: bool) -> Result<Tensor> {
    fn hit(x: &[E]) -> E {
        wh(E::or(x[0].eq(x[1]), E::and(par(0), E::and(x[0].is_nan(), x[1].is_nan()))), c(1.0), c(0.0))
    }
    let nan_too = f64::from(nan_too);
    let ones = formula!(2, "EqBackward0", hit);
    let count = no_grad(|| sum(&eval_formula(ones, &[&x.detach(), &out.detach()], &[nan_too])?, Some(dims), true, None))?;
    let f = formula!(4, "AmaxBackward0", |x| hit(x) * x[2] / x[3]);
    eval_formula(f, &[x, out, g, &count], &[nan_too])
}

/// The extreme over `dims` with its gradient, shared evenly among equals.
fn extreme(name: &'static str, x: &Tensor, dims: Option<&[i64]>, keepdim: bool, max: bool) -> Result<Tensor> {
    let gone = reduced_dims(x.ndim(), dims)?;
    let with_ones = reduced_shape(x.shape(), &gone, true);
    let out = reshaped(&fold_extreme(&x.detach(), &gone, max)?, &reduced_shape(x.shape(), &gone, keepdim))?;
    let (saved, result) = (save(x), save_output(&out, 0));
    let dims: Option<SmallVec<[i64; 6]>> = dims.map(|d| d.into());
    Ok(record(name, &[x], out, move |ctx, g| {
        let x = saved.get(ctx)?;
        let (out, g) = (view::reshape_to(&result.get(ctx)?, &with_ones)?, view::reshape_to(g, &with_ones)?);
        Ok(smallvec![Some(share_evenly(&x, &out, &g, dims.as_deref().unwrap_or(&[]), dims.is_none())?)])
    }))
}

/// `max()` and `min()` of everything.
pub fn full(x: &Tensor, max: bool) -> Result<Tensor> {
    let name = if max { "max" } else { "min" };
    check_real(x, if max { "max_all" } else { "min_all" })?;
    ensure!(
        x.numel() > 0,
        Runtime,
        "{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the 'dim' argument."
    );
    extreme(if max { "MaxBackward1" } else { "MinBackward1" }, x, None, false, max)
}

/// `amax` and `amin`.
pub fn over(x: &Tensor, dims: &[i64], keepdim: bool, max: bool) -> Result<Tensor> {
    let name = if max { "amax" } else { "amin" };
    check_real(x, name)?;
    if x.numel() == 0 {
        ensure!(
            !dims.is_empty(),
            Runtime,
            "{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the 'dim' argument."
        );
        for &d in dims {
            let w = wrap_dim(d, x.ndim())?;
            ensure!(x.size(w) > 0, Index, "{name}(): Expected reduction dim {d} to have non-zero size.");
        }
    }
    extreme(if max { "AmaxBackward0" } else { "AminBackward0" }, x, Some(dims), keepdim, max)
}

/// `max(dim)` and `min(dim)`: values and where they are.
pub fn along_dim(x: &Tensor, dim: i64, keepdim: bool, max: bool) -> Result<(Tensor, Tensor)> {
    let name = if max { "max" } else { "min" };
    check_real(x, name)?;
    let d = nonempty_dim(x, dim, name)?;
    let (values, index) = arg_extreme(&x.detach(), d, max)?;
    picked(if max { "MaxBackward0" } else { "MinBackward0" }, x, &values, &index, d, keepdim)
}

/// `argmax` and `argmin`.
fn arg(x: &Tensor, dim: Option<i64>, keepdim: bool, max: bool) -> Result<Tensor> {
    let name = if max { "argmax" } else { "argmin" };
    ensure!(!x.dtype().is_complex(), Runtime, "{name}(): does not support complex input");
    ensure!(x.dtype() != Dtype::Bool, Runtime, "{name}(): does not support bool input");
    match dim {
        None => {
            ensure!(x.numel() > 0, Index, "{name}(): Expected reduction dim to be specified for input.numel() == 0.");
            let shape: Vec<usize> = if keepdim { vec![1; x.ndim()] } else { vec![] };
            reshaped(&arg_extreme(&reshaped(x, &[x.numel()])?, 0, max)?.1, &shape)
        }
        Some(dim) => {
            let d = nonempty_dim(x, dim, name)?;
            let (_, index) = arg_extreme(&x.detach(), d, max)?;
            let shape = if keepdim { with_size(x.shape(), d, 1) } else { without(x.shape(), d) };
            reshaped(&index, &shape)
        }
    }
}

/// Smallest and largest at once.
pub fn aminmax(x: &Tensor, dim: Option<i64>, keepdim: bool) -> Result<(Tensor, Tensor)> {
    check_real(x, "aminmax")?;
    let gone = match dim {
        None => {
            ensure!(
                x.numel() > 0,
                Runtime,
                "aminmax(): cannot compute aminmax over an empty dimension as the operation has no identity."
            );
            reduced_dims(x.ndim(), None)?
        }
        Some(d) => {
            let w = wrap_dim(d, x.ndim())?;
            ensure!(x.size(w) > 0, Index, "aminmax: Expected reduction dim {w} to have non-zero size.");
            reduced_dims(x.ndim(), Some(&[d]))?
        }
    };
    let with_ones = reduced_shape(x.shape(), &gone, true);
    let shape = reduced_shape(x.shape(), &gone, keepdim);
    let make = |max| -> Result<Tensor> { reshaped(&fold_extreme(&x.detach(), &gone, max)?, &shape) };
    let (low, high) = (make(false)?, make(true)?);
    let (saved, results) = (save(x), [save_output(&low, 0), save_output(&high, 1)]);
    let dims: SmallVec<[i64; 1]> = dim.into_iter().collect();
    record_many("AminmaxBackward0", &[x], &[&low, &high], move |ctx, gs| {
        let x = saved.get(ctx)?;
        let mut total: Option<Tensor> = None;
        for (g, r) in gs.iter().zip(&results) {
            let Some(g) = g else { continue };
            let (out, g) = (view::reshape_to(&r.get(ctx)?, &with_ones)?, view::reshape_to(g, &with_ones)?);
            let part = share_evenly(&x, &out, &g, &dims, false)?;
            total = Some(match total {
                Some(t) => ew::add(&t, &part)?,
                None => part,
            });
        }
        Ok(smallvec![total])
    });
    Ok((low, high))
}

fn binary(a: &Args, max: bool) -> Result<Ret> {
    let row = if max { &ew::MAXIMUM } else { &ew::MINIMUM };
    call2(row, a.t(0), a.t(1)).map(Ret::from)
}

fn dims_of(a: &Args) -> &[i64] {
    a.ints(1)
}

pub fn register(r: &mut Registry) {
    r.op("fm", "max(Tensor self) -> Tensor", "The largest element.", |a| full(a.t(0), true).map(Ret::from));
    r.op("fm", "max(Tensor self, Tensor other) -> Tensor", "The larger of each pair.", |a| binary(a, true));
    r.op(
        "fm",
        "max(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)",
        "The largest along a dimension.",
        |a| along_dim(a.t(0), a.int(1), a.b(2), true).map(Ret::from),
    );
    r.op("fm", "min(Tensor self) -> Tensor", "The smallest element.", |a| full(a.t(0), false).map(Ret::from));
    r.op("fm", "min(Tensor self, Tensor other) -> Tensor", "The smaller of each pair.", |a| binary(a, false));
    r.op(
        "fm",
        "min(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)",
        "The smallest along a dimension.",
        |a| along_dim(a.t(0), a.int(1), a.b(2), false).map(Ret::from),
    );
    r.op("fm", "amax(Tensor self, int[1] dim=[], bool keepdim=False) -> Tensor", "The largest over dimensions.", |a| {
        over(a.t(0), dims_of(a), a.b(2), true).map(Ret::from)
    });
    r.op("fm", "amin(Tensor self, int[1] dim=[], bool keepdim=False) -> Tensor", "The smallest over dimensions.", |a| {
        over(a.t(0), dims_of(a), a.b(2), false).map(Ret::from)
    });
    r.op(
        "fm",
        "aminmax(Tensor self, *, int? dim=None, bool keepdim=False) -> (Tensor min, Tensor max)",
        "The smallest and the largest.",
        |a| aminmax(a.t(0), a.oint(1), a.b(2)).map(Ret::from),
    );
    r.op("fm", "argmax(Tensor self, int? dim=None, bool keepdim=False) -> Tensor", "Where the largest is.", |a| {
        arg(a.t(0), a.oint(1), a.b(2), true).map(Ret::from)
    });
    r.op("fm", "argmin(Tensor self, int? dim=None, bool keepdim=False) -> Tensor", "Where the smallest is.", |a| {
        arg(a.t(0), a.oint(1), a.b(2), false).map(Ret::from)
    });
}
