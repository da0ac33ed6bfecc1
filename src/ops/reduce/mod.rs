//! Reductions over dimensions.

mod extreme;
mod fold;
mod logic;
mod moments;
mod norms;
pub mod run;
pub mod tools;

use super::elementwise as ew;
use super::{Registry, Ret, copy, scan, view};
use crate::autograd::{record, save, save_output};
use crate::cpu::reduce::ops::{Prod, Sum};
use crate::dtype::Dtype;
use crate::error::Result;
use crate::expr::eval::compute_dtype;
use crate::layout::{Dims, wrap_dim};
use crate::tensor::Tensor;
use crate::{bail, ensure};
pub use extreme::{over as extreme_over, share_evenly};
pub use norms::{common_norm, vector_norm};
use smallvec::{SmallVec, smallvec};
use tools::*;

/// Which dimensions a reduction removes: none given (or an empty list) means all.
pub fn reduced_dims(ndim: usize, dims: Option<&[i64]>) -> Result<SmallVec<[bool; 8]>> {
    let mut gone: SmallVec<[bool; 8]> = SmallVec::from_elem(false, ndim);
    match dims {
        None | Some([]) => gone.fill(true),
        Some(dims) => {
            for &d in dims {
                let d = wrap_dim(d, ndim)?;
                if ndim > 0 {
                    ensure!(
                        !std::mem::replace(&mut gone[d], true),
                        Runtime,
                        "dim {d} appears multiple times in the list of dims"
                    );
                }
            }
        }
    }
    Ok(gone)
}

/// The shape after a reduction.
pub fn reduced_shape(shape: &[usize], gone: &[bool], keepdim: bool) -> Dims {
    shape
        .iter()
        .zip(gone)
        .filter_map(|(&s, &g)| {
            if !g {
                Some(s)
            } else if keepdim {
                Some(1)
            } else {
                None
            }
        })
        .collect()
}

/// The input with kept dimensions first and reduced ones last, contiguous: rows to reduce. Answers the
/// tensor (no history), the number of rows and their length.
pub fn rows(x: &Tensor, gone: &[bool]) -> Result<(Tensor, usize, usize)> {
    let order: Vec<i64> =
        (0..x.ndim()).filter(|&d| !gone[d]).chain((0..x.ndim()).filter(|&d| gone[d])).map(|d| d as i64).collect();
    let moved = view::permute(&x.detach(), &order)?;
    let row: usize = (0..x.ndim()).filter(|&d| gone[d]).map(|d| x.shape()[d]).product();
    let count: usize = (0..x.ndim()).filter(|&d| !gone[d]).map(|d| x.shape()[d]).product();
    Ok((copy::contiguous(&moved)?, count, row))
}

/// Sum of a row in a fixed order: eight lanes, blocks added pairwise, so that the error stays small.
pub fn sum_row<T: Copy + std::ops::Add<Output = T> + Default>(row: &[T]) -> T {
    fold_row(row, T::default(), &|a: T, v: T| a + v, &|a: T, b: T| a + b)
}

/// The dtype of a sum: integers and bools add up in int64.
pub fn sum_dtype(x: Dtype, asked: Option<Dtype>) -> Dtype {
    asked.unwrap_or(if x.is_integral() { Dtype::I64 } else { x })
}

/// The dtype in which sums of a dtype are added up.
fn sum_acc(d: Dtype) -> Dtype {
    if d.is_complex() { d } else { compute_dtype(d) }
}

/// `x` without history in a dtype that kernels read as [`sum_acc`] of `dtype`, converted to `dtype` where that changes
/// values.
fn summands(x: &Tensor, dtype: Dtype) -> Result<Tensor> {
    let x = x.detach();
    let acc = sum_acc(dtype);
    if x.dtype() == dtype || (sum_acc(x.dtype()) == acc && dtype == acc) {
        return Ok(x);
    }
    if dtype.is_integral() {
        return copy::to_dtype(&x, dtype);
    }
    copy::to_dtype(&x, acc)
}

/// The sum in the accumulation dtype, reduced dimensions kept.
fn sum_wide(x: &Tensor, gone: &[bool], dtype: Dtype) -> Result<Tensor> {
    let from = summands(x, dtype)?;
    match sum_acc(dtype) {
        Dtype::F32 => run::folded::<f32, Sum>(&from, gone),
        Dtype::F64 => run::folded::<f64, Sum>(&from, gone),
        Dtype::C64 => fold_pairs::<f32>(&from, gone, Pair::default(), |a, b| a + b),
        Dtype::C128 => fold_pairs::<f64>(&from, gone, Pair::default(), |a, b| a + b),
        _ => run::folded::<i64, Sum>(&from, gone),
    }
}

/// Complex elements combined by `f`, reduced dimensions kept.
fn fold_pairs<T: Copy + Send + Sync>(
    x: &Tensor,
    gone: &[bool],
    init: Pair<T>,
    f: impl Fn(Pair<T>, Pair<T>) -> Pair<T> + Sync + Copy,
) -> Result<Tensor> {
    let b = block(x, gone)?;
    let out = Tensor::empty(&reduced_shape(x.shape(), gone, true), x.dtype(), x.device())?;
    fold_block(b.data.data::<Pair<T>>(), &b, out.data_mut::<Pair<T>>(), init, f, f);
    Ok(out)
}

/// The gradient of a sum: `g` under the shape that keeps reduced dimensions, stretched.
fn spread(g: &Tensor, with_ones: &[usize], full: &[usize], dtype: Dtype) -> Result<Tensor> {
    let g = copy::to_dtype(&view::reshape_to(g, with_ones)?, dtype)?;
    view::expand(&g, full)
}

/// Sum over `dims`. Differentiable.
pub fn sum(x: &Tensor, dims: Option<&[i64]>, keepdim: bool, dtype: Option<Dtype>) -> Result<Tensor> {
    let dtype = sum_dtype(x.dtype(), dtype);
    let gone = reduced_dims(x.ndim(), dims)?;
    let kept = copy::to_dtype(&sum_wide(x, &gone, dtype)?, dtype)?;
    let out = reshaped(&kept, &reduced_shape(x.shape(), &gone, keepdim))?;
    let (full, back) = (x.dims(), x.dtype());
    let with_ones = reduced_shape(x.shape(), &gone, true);
    let name = if dims.is_none() { "SumBackward0" } else { "SumBackward1" };
    Ok(record(name, &[x], out, move |_, g| Ok(smallvec![Some(spread(g, &with_ones, &full, back)?)])))
}

/// Undoes broadcasting: sums what was stretched, so that the result has `shape`.
pub fn sum_to(g: &Tensor, shape: &[usize]) -> Result<Tensor> {
    if g.shape() == shape {
        return Ok(g.clone());
    }
    let lead = g.ndim() - shape.len();
    let dims: Vec<i64> =
        (0..g.ndim()).filter(|&d| d < lead || (shape[d - lead] == 1 && g.shape()[d] != 1)).map(|d| d as i64).collect();
    let s = if dims.is_empty() { g.clone() } else { sum(g, Some(&dims), true, None)? };
    view::reshape_to(&s, shape)
}

/// How many elements each result is made of.
pub fn reduced_count(shape: &[usize], gone: &[bool]) -> usize {
    shape.iter().zip(gone).filter(|(_, g)| **g).map(|(&s, _)| s).product()
}

/// A fresh sum of the CPU divided by a count.
fn divided(wide: Tensor, n: f64) -> Tensor {
    match wide.dtype() {
        Dtype::F32 => wide.data_mut::<f32>().iter_mut().for_each(|v| *v /= n as f32),
        Dtype::F64 => wide.data_mut::<f64>().iter_mut().for_each(|v| *v /= n),
        Dtype::C64 => wide.data_mut::<Pair<f32>>().iter_mut().for_each(|v| *v = Pair(v.0 / n as f32, v.1 / n as f32)),
        _ => wide.data_mut::<Pair<f64>>().iter_mut().for_each(|v| *v = Pair(v.0 / n, v.1 / n)),
    }
    wide
}

/// Mean over `dims`. Differentiable.
pub fn mean(x: &Tensor, dims: Option<&[i64]>, keepdim: bool, dtype: Option<Dtype>) -> Result<Tensor> {
    let d = dtype.unwrap_or(x.dtype());
    if d.is_integral() {
        match dtype {
            None => bail!(
                Runtime,
                "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. Got: {}",
                d.scalar_name()
            ),
            Some(_) => bail!(
                Runtime,
                "mean(): could not infer output dtype. Optional dtype must be either a floating point or complex dtype. Got: {}",
                d.scalar_name()
            ),
        }
    }
    let gone = reduced_dims(x.ndim(), dims)?;
    let wide = sum_wide(x, &gone, d)?;
    let n = reduced_count(x.shape(), &gone) as f64;
    let wide = if crate::gpu::holds(&wide) { call2s(&ew::DIV, &wide, n)? } else { divided(wide, n) };
    let out = reshaped(&copy::to_dtype(&wide, d)?, &reduced_shape(x.shape(), &gone, keepdim))?;
    let (full, back) = (x.dims(), x.dtype());
    let with_ones = reduced_shape(x.shape(), &gone, true);
    let name = if dims.is_none() { "MeanBackward0" } else { "MeanBackward1" };
    Ok(record(name, &[x], out, move |_, g| Ok(smallvec![Some(call2s(&ew::DIV, &spread(g, &with_ones, &full, back)?, n)?)])))
}

/// The sum of what is not NaN. Differentiable.
pub fn nansum(x: &Tensor, dims: Option<&[i64]>, keepdim: bool, dtype: Option<Dtype>) -> Result<Tensor> {
    ensure!(!x.dtype().is_complex(), Runtime, "nansum on CPU does not support complex inputs");
    if !x.dtype().is_float() {
        return sum(x, dims, keepdim, dtype);
    }
    let out_dtype = sum_dtype(x.dtype(), dtype);
    let gone = reduced_dims(x.ndim(), dims)?;
    let nan = call1(&ew::ISNAN, &x.detach())?;
    let clean = choose(&nan, 0.0, &x.detach(), x.dtype())?;
    let kept = copy::to_dtype(&sum_wide(&clean, &gone, out_dtype)?, out_dtype)?;
    let out = reshaped(&kept, &reduced_shape(x.shape(), &gone, keepdim))?;
    let (full, back, with_ones) = (x.dims(), x.dtype(), reduced_shape(x.shape(), &gone, true));
    let numbers = save(&call1(&ew::LOGICAL_NOT, &nan)?);
    Ok(record("NansumBackward0", &[x], out, move |ctx, g| {
        let g = spread(g, &with_ones, &full, back)?;
        Ok(smallvec![Some(ew::mul(&g, &numbers.get(ctx)?)?)])
    }))
}

/// The mean of what is not NaN. Differentiable.
pub fn nanmean(x: &Tensor, dims: Option<&[i64]>, keepdim: bool, dtype: Option<Dtype>) -> Result<Tensor> {
    ensure!(
        !x.dtype().is_integral(),
        Runtime,
        "nanmean(): expected input to have floating point or complex dtype but got {}",
        x.dtype().scalar_name()
    );
    let numbers = call1(&ew::LOGICAL_NOT, &call1(&ew::ISNAN, &x.detach())?)?;
    let count = sum(&numbers, Some(dims.unwrap_or(&[])), keepdim, None)?;
    ew::div(&nansum(x, Some(dims.unwrap_or(&[])), keepdim, dtype)?, &count)
}

/// The product over a dimension, or over everything. Differentiable.
pub fn prod(x: &Tensor, dim: Option<i64>, keepdim: bool, dtype: Option<Dtype>) -> Result<Tensor> {
    let dims: Option<SmallVec<[i64; 1]>> = dim.map(|d| smallvec![d]);
    let gone = reduced_dims(x.ndim(), dims.as_deref())?;
    let out_dtype = sum_dtype(x.dtype(), dtype);
    let from = summands(x, out_dtype)?;
    let with_ones = reduced_shape(x.shape(), &gone, true);
    let kept = match sum_acc(out_dtype) {
        Dtype::F32 => run::folded::<f32, Prod>(&from, &gone),
        Dtype::F64 => run::folded::<f64, Prod>(&from, &gone),
        Dtype::C64 => fold_pairs::<f32>(&from, &gone, Pair(1.0, 0.0), |a, b| a * b),
        Dtype::C128 => fold_pairs::<f64>(&from, &gone, Pair(1.0, 0.0), |a, b| a * b),
        _ => run::folded::<i64, Prod>(&from, &gone),
    }?;
    let kept = copy::to_dtype(&kept, out_dtype)?;
    let out = reshaped(&kept, &reduced_shape(x.shape(), &gone, keepdim))?;
    let (full, back) = (x.dims(), x.dtype());
    let (saved, result) = (save(x), save_output(&out, 0));
    let name = if dim.is_none() { "ProdBackward0" } else { "ProdBackward1" };
    Ok(record(name, &[x], out, move |ctx, g| {
        let x = saved.get(ctx)?;
        let g = copy::to_dtype(&view::reshape_to(g, &with_ones)?, back)?;
        let zeros = logic::any_equal_zero(&x.detach())?;
        let others = if zeros {
            // Products of what is before and what is behind, so that nothing is divided by zero.
            let (flat, d) = match dim {
                Some(d) => (x.clone(), wrap_dim(d, x.ndim())?),
                None => (view::reshape_to(&x, &[x.numel()])?, 0),
            };
            let before = scan::shift(&scan::cumprod_along(&flat, d, false)?, d, false, 1.0)?;
            let behind = scan::shift(&scan::cumprod_along(&flat, d, true)?, d, true, 1.0)?;
            view::reshape_to(&ew::mul(&before, &behind)?, &full)?
        } else {
            let out = copy::to_dtype(&view::reshape_to(&result.get(ctx)?, &with_ones)?, back)?;
            ew::div(&out, &x)?
        };
        Ok(smallvec![Some(ew::mul(&g, &others)?)])
    }))
}

/// log(sum(exp(x))) over `dims`. Differentiable.
pub fn logsumexp(x: &Tensor, dims: &[i64], keepdim: bool) -> Result<Tensor> {
    let x = &if x.dtype().is_integral() { copy::to_dtype(x, crate::dtype::default_dtype())? } else { x.clone() };
    ensure!(x.dtype().is_float(), NotImplemented, "\"logsumexp\" not implemented for '{}'", x.dtype().scalar_name());
    let gone = reduced_dims(x.ndim(), Some(dims))?;
    let with_ones = reduced_shape(x.shape(), &gone, true);
    let kept = if crate::gpu::holds(x) {
        let (data, _, len) = rows(x, &gone)?;
        crate::gpu::softmax::logsumexp(&data, len, &with_ones)?
    } else {
        x.check_data("logsumexp")?;
        let (data, _, len) = rows(&wide(x)?, &gone)?;
        let kept = Tensor::empty(&with_ones, data.dtype(), x.device())?;
        crate::dispatch!(float "logsumexp", data.dtype(), T => {
            crate::cpu::softmax::logsumexp(data.data::<T>(), len, kept.data_mut::<T>());
        });
        kept
    };
    let out = reshaped(&copy::to_dtype(&kept, x.dtype())?, &reduced_shape(x.shape(), &gone, keepdim))?;
    let (saved, result) = (save(x), save_output(&out, 0));
    Ok(record("LogsumexpBackward0", &[x], out, move |ctx, g| {
        let f = formula!(3, "LogsumexpBackward0", |x| x[2] * (x[0] - x[1]).exp());
        let out = view::reshape_to(&result.get(ctx)?, &with_ones)?;
        let g = view::reshape_to(g, &with_ones)?;
        Ok(smallvec![Some(eval_formula(f, &[&saved.get(ctx)?, &out, &g], &[])?)])
    }))
}

pub(super) fn register(r: &mut Registry) {
    r.op("fm", "sum(Tensor self, *, ScalarType? dtype=None) -> Tensor", "Sum of all elements.", |a| {
        sum(a.t(0), None, false, a.dtype(1)).map(Ret::from)
    });
    r.op(
        "fm",
        "sum(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
        "Sum over dimensions.",
        |a| sum(a.t(0), Some(a.ints(1)), a.b(2), a.dtype(3)).map(Ret::from),
    );
    r.op("fm", "mean(Tensor self, *, ScalarType? dtype=None) -> Tensor", "Mean of all elements.", |a| {
        mean(a.t(0), None, false, a.dtype(1)).map(Ret::from)
    });
    r.op(
        "fm",
        "mean(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
        "Mean over dimensions.",
        |a| mean(a.t(0), Some(a.ints(1)), a.b(2), a.dtype(3)).map(Ret::from),
    );
    r.op(
        "fm",
        "nansum(Tensor self, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
        "Sum over dimensions, NaN counting as 0.",
        |a| nansum(a.t(0), a.oints(1), a.b(2), a.dtype(3)).map(Ret::from),
    );
    r.op(
        "fm",
        "nanmean(Tensor self, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
        "Mean over dimensions of what is not NaN.",
        |a| nanmean(a.t(0), a.oints(1), a.b(2), a.dtype(3)).map(Ret::from),
    );
    r.op("fm", "prod(Tensor self, *, ScalarType? dtype=None) -> Tensor", "Product of all elements.", |a| {
        prod(a.t(0), None, false, a.dtype(1)).map(Ret::from)
    });
    r.op(
        "fm",
        "prod(Tensor self, int dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
        "Product over a dimension.",
        |a| prod(a.t(0), Some(a.int(1)), a.b(2), a.dtype(3)).map(Ret::from),
    );
    r.op("fms", "logsumexp(Tensor self, int[1] dim, bool keepdim=False) -> Tensor", "log(sum(exp(x))) over dimensions.", |a| {
        logsumexp(a.t(0), a.ints(1), a.b(2)).map(Ret::from)
    });
    extreme::register(r);
    logic::register(r);
    moments::register(r);
    norms::register(r);
}
