//! Order: sort, argsort, msort, topk, kthvalue, median, nanmedian, mode; quantiles, unique values,
//! searching and histograms in files of their own.

mod histogram;
mod quantile;
mod search;
mod unique;

use super::reduce::{self, tools::*};
use super::{Registry, Ret, copy, view};
use crate::autograd::{record, save, save_output};
use crate::cpu::sort::{self as kernels, SortKey};
use crate::dtype::{Dtype, Element};
use crate::error::Result;
use crate::gpu;
use crate::layout::wrap_dim;
use crate::tensor::Tensor;
use crate::{bail, ensure};
use smallvec::smallvec;

/// `sorting!(dtype, T => body)` for the dtypes that [`keys`] gives.
macro_rules! sorting {
    ($d:expr, $T:ident => $body:expr) => {
        $crate::dispatch!(@arms $d, $T, $body, [F32 = f32, F64 = f64, I32 = i32, I64 = i64], unreachable!("as `keys` gives them"))
    };
}

/// The values in the dtype that they are sorted in (f32, f64, i32 or i64; exact), with dimension `d`
/// last and contiguous.
fn keys(x: &Tensor, d: usize) -> Result<Tensor> {
    let key = match x.dtype() {
        Dtype::F16 | Dtype::BF16 | Dtype::F32 => Dtype::F32,
        Dtype::F64 => Dtype::F64,
        Dtype::I64 => Dtype::I64,
        _ => Dtype::I32,
    };
    ensure!(x.size(d) <= u32::MAX as usize, Runtime, "rows of more than {} elements cannot be sorted", u32::MAX);
    copy::contiguous(&last(&copy::to_dtype(&x.detach(), key)?, d)?)
}

/// Dimension `d` moved to the end; 0-d tensors get one.
fn last(x: &Tensor, d: usize) -> Result<Tensor> {
    if x.ndim() == 0 {
        return reshaped(x, &[1]);
    }
    let order: Vec<i64> = (0..x.ndim()).filter(|&k| k != d).chain([d]).map(|k| k as i64).collect();
    view::permute(x, &order)
}

/// Undoes [`last`] for a result whose last dimension belongs at `d`.
fn back(y: Tensor, d: usize, ndim: usize) -> Result<Tensor> {
    if ndim == 0 {
        return reshaped(&y, &[]);
    }
    let mut order: Vec<i64> = (0..ndim as i64 - 1).collect();
    order.insert(d, ndim as i64 - 1);
    copy::contiguous(&view::permute(&y, &order)?)
}

/// The keys of a tensor on a GPU, sorted along `d`, and their positions; dimension `d` is last.
fn sorted_keys(x: &Tensor, d: usize, descending: bool) -> Result<(Tensor, Tensor)> {
    use gpu::sort::Way;
    gpu::sort::rows(&gpu::sort::keys(&last(&x.detach(), d)?, if descending { Way::Down } else { Way::Up })?)
}

/// The stable order of the elements along `d`.
fn order_along(x: &Tensor, d: usize, descending: bool) -> Result<Tensor> {
    x.check_memory("sort")?;
    ensure!(!x.dtype().is_complex(), Runtime, " Sort does not support complex dtypes on CPU");
    if gpu::holds(x) {
        return back(copy::to_dtype(&sorted_keys(x, d, descending)?.1, Dtype::I64)?, d, x.ndim());
    }
    let k = keys(x, d)?;
    let vals = copy::clone(&k, None)?;
    let idx = Tensor::empty(k.shape(), Dtype::I64, x.device())?;
    let len = *k.shape().last().unwrap_or(&1);
    sorting!(k.dtype(), T => kernels::sort_rows(vals.data_mut::<T>(), idx.data_mut::<i64>(), len, descending));
    back(idx, d, x.ndim())
}

/// Sorted along `dim`, and where each element was. Stable. Differentiable.
pub fn sort(x: &Tensor, dim: i64, descending: bool) -> Result<(Tensor, Tensor)> {
    let d = wrap_dim(dim, x.ndim())?;
    let idx = order_along(x, d, descending)?;
    pick_many("SortBackward0", x, idx, d)
}

/// The `k` largest or smallest along `dim`. Differentiable.
pub fn topk(x: &Tensor, k: i64, dim: i64, largest: bool, sorted: bool) -> Result<(Tensor, Tensor)> {
    let d = wrap_dim(dim, x.ndim())?;
    ensure!(k >= 0 && k as u64 <= x.size(d) as u64, Runtime, "selected index k out of range");
    ensure!(!x.dtype().is_complex(), Runtime, " Topk does not support complex dtypes on CPU");
    ensure!(x.dtype() != Dtype::Bool, Runtime, "topk does not support bool dtypes on CPU");
    x.check_memory("topk")?;
    // A 0-d tensor has its one element, whatever k is.
    let k = if x.ndim() == 0 { 1 } else { k as usize };
    if gpu::holds(x) {
        let idx = view::narrow(&sorted_keys(x, d, largest)?.1, -1, 0, k as i64)?;
        return pick_many("TopkBackward0", x, back(copy::to_dtype(&idx, Dtype::I64)?, d, x.ndim())?, d);
    }
    let key = keys(x, d)?;
    let len = *key.shape().last().unwrap_or(&1);
    let shape = with_size(key.shape(), key.ndim() - 1, k);
    let (vals, idx) = (Tensor::empty(&shape, key.dtype(), x.device())?, Tensor::empty(&shape, Dtype::I64, x.device())?);
    if key.numel() > 0 && k > 0 {
        sorting!(key.dtype(), T => kernels::topk_rows(key.data::<T>(), len, k, largest, sorted, vals.data_mut::<T>(), idx.data_mut::<i64>()));
    }
    pick_many("TopkBackward0", x, back(idx, d, x.ndim())?, d)
}

/// One position per row by a kernel over the keys; the index has size 1 along `d`.
fn select(x: &Tensor, d: usize, f: impl Fn(&Tensor, usize, &Tensor, &mut [i64])) -> Result<Tensor> {
    let key = keys(x, d)?;
    let len = *key.shape().last().unwrap_or(&1);
    let shape = with_size(key.shape(), key.ndim() - 1, 1);
    let (vals, idx) = (Tensor::empty(&shape, key.dtype(), x.device())?, Tensor::empty(&shape, Dtype::I64, x.device())?);
    if key.numel() > 0 {
        f(&key, len, &vals, idx.data_mut::<i64>());
    }
    back(idx, d, x.ndim())
}

/// The `k`-th smallest along `dim`. Differentiable.
pub fn kthvalue(x: &Tensor, k: i64, dim: i64, keepdim: bool) -> Result<(Tensor, Tensor)> {
    ensure!(!x.dtype().is_complex(), NotImplemented, "\"kthvalue_cpu\" not implemented for '{}'", x.dtype().scalar_name());
    let d = nonempty_dim(x, dim, "kthvalue")?;
    ensure!(k >= 1 && k as u64 <= x.size(d) as u64, Runtime, "kthvalue(): selected number k out of range for dimension {d}");
    ensure!(x.dtype() != Dtype::Bool, NotImplemented, "\"kthvalue_cpu\" not implemented for 'Bool'");
    x.check_memory("kthvalue")?;
    if gpu::holds(x) {
        let idx = view::narrow(&sorted_keys(x, d, false)?.1, -1, k - 1, 1)?;
        let idx = back(copy::to_dtype(&idx, Dtype::I64)?, d, x.ndim())?;
        return pick("KthvalueBackward0", x, &idx, d, keepdim);
    }
    let idx = select(x, d, |key, len, vals, idx| {
        sorting!(key.dtype(), T => kernels::kthvalue_rows(key.data::<T>(), len, k as usize, vals.data_mut::<T>(), idx));
    })?;
    pick("KthvalueBackward0", x, &idx, d, keepdim)
}

fn check_median(x: &Tensor, name: &str) -> Result<()> {
    if x.dtype() == Dtype::Bool || x.dtype().is_complex() {
        bail!(NotImplemented, "\"median_cpu\" not implemented for '{}'", x.dtype().scalar_name());
    }
    x.check_memory(name)
}

fn median_index(x: &Tensor, d: usize, ignore_nan: bool) -> Result<Tensor> {
    if gpu::holds(x) {
        let (keys, order) = sorted_keys(x, d, false)?;
        return back(gpu::sort::median(&keys, &order, x.dtype(), ignore_nan)?, d, x.ndim());
    }
    select(x, d, |key, len, vals, idx| {
        sorting!(key.dtype(), T => kernels::median_rows(key.data::<T>(), len, ignore_nan, vals.data_mut::<T>(), idx));
    })
}

/// The lower median along `dim`. Differentiable.
pub fn median(x: &Tensor, dim: i64, keepdim: bool, ignore_nan: bool) -> Result<(Tensor, Tensor)> {
    let name = if ignore_nan { "nanmedian" } else { "median" };
    check_median(x, name)?;
    let d = nonempty_dim(x, dim, "median")?;
    let idx = median_index(x, d, ignore_nan)?;
    pick(if ignore_nan { "NanmedianBackward1" } else { "MedianBackward1" }, x, &idx, d, keepdim)
}

/// The lower median of everything; its gradient is shared among equals.
fn median_all(x: &Tensor, ignore_nan: bool) -> Result<Tensor> {
    check_median(x, if ignore_nan { "nanmedian" } else { "median" })?;
    if x.numel() == 0 {
        return Tensor::full(
            &[],
            if x.dtype().is_float() { crate::dtype::Scalar::Float(f64::NAN) } else { crate::dtype::Scalar::Int(i64::MIN) },
            x.dtype(),
            x.device(),
        );
    }
    let flat = reshaped(x, &[x.numel()])?;
    let idx = median_index(&flat, 0, ignore_nan)?;
    let out = reshaped(&gather_along(&flat, &idx, 0)?, &[])?;
    let (saved, result) = (save(x), save_output(&out, 0));
    Ok(record(if ignore_nan { "NanmedianBackward0" } else { "MedianBackward0" }, &[x], out, move |ctx, g| {
        Ok(smallvec![Some(reduce::share_evenly(&saved.get(ctx)?, &result.get(ctx)?, g, &[], true)?)])
    }))
}

/// The most frequent value along `dim` (the smallest of several), and where it is last. Differentiable.
pub fn mode(x: &Tensor, dim: i64, keepdim: bool) -> Result<(Tensor, Tensor)> {
    ensure!(!x.dtype().is_complex(), NotImplemented, "\"mode_cpu\" not implemented for '{}'", x.dtype().scalar_name());
    let d = nonempty_dim(x, dim, "mode")?;
    x.check_memory("mode")?;
    if gpu::holds(x) {
        let (keys, order) = sorted_keys(x, d, false)?;
        let idx = back(gpu::sort::mode(&keys, &order, x.dtype())?, d, x.ndim())?;
        return pick("ModeBackward0", x, &idx, d, keepdim);
    }
    fn rows<T: SortKey + Element>(x: &[T], len: usize, to: &mut [i64]) {
        let mut vals = x.to_vec();
        let mut idx = vec![0i64; x.len()];
        kernels::sort_rows(&mut vals, &mut idx, len, false);
        for ((row, idx), to) in vals.chunks_exact(len).zip(idx.chunks_exact(len)).zip(to) {
            let (mut best, mut start) = (0, 0);
            for i in 0..len {
                if i + 1 == len || row[i + 1] != row[i] {
                    if i + 1 - start > best {
                        (best, *to) = (i + 1 - start, idx[i]);
                    }
                    start = i + 1;
                }
            }
        }
    }
    let idx = select(x, d, |key, len, _, idx| sorting!(key.dtype(), T => rows(key.data::<T>(), len, idx)))?;
    pick("ModeBackward0", x, &idx, d, keepdim)
}

pub(super) fn register(r: &mut Registry) {
    r.op(
        "fm",
        "sort(Tensor self, int dim=-1, bool descending=False) -> (Tensor values, Tensor indices)",
        "Sorted along a dimension.",
        |a| sort(a.t(0), a.int(1), a.b(2)).map(Ret::from),
    );
    r.op(
        "fm",
        "sort(Tensor self, *, bool? stable, int dim=-1, bool descending=False) -> (Tensor values, Tensor indices)",
        "Sorted along a dimension; always stable.",
        |a| sort(a.t(0), a.int(2), a.b(3)).map(Ret::from),
    );
    r.op("fm", "argsort(Tensor self, int dim=-1, bool descending=False) -> Tensor", "The indices that sort.", |a| {
        order_along(a.t(0), wrap_dim(a.int(1), a.t(0).ndim())?, a.b(2)).map(Ret::from)
    });
    r.op(
        "fm",
        "argsort(Tensor self, *, bool stable, int dim=-1, bool descending=False) -> Tensor",
        "The indices that sort.",
        |a| order_along(a.t(0), wrap_dim(a.int(2), a.t(0).ndim())?, a.b(3)).map(Ret::from),
    );
    r.op("fm", "msort(Tensor self) -> Tensor", "Sorted along the first dimension.", |a| {
        sort(a.t(0), 0, false).map(|(v, _)| v.into())
    });
    r.op(
        "fm",
        "topk(Tensor self, int k, int dim=-1, bool largest=True, bool sorted=True) -> (Tensor values, Tensor indices)",
        "The k largest or smallest.",
        |a| topk(a.t(0), a.int(1), a.int(2), a.b(3), a.b(4)).map(Ret::from),
    );
    r.op(
        "fm",
        "kthvalue(Tensor self, int k, int dim=-1, bool keepdim=False) -> (Tensor values, Tensor indices)",
        "The k-th smallest.",
        |a| kthvalue(a.t(0), a.int(1), a.int(2), a.b(3)).map(Ret::from),
    );
    r.op("fm", "median(Tensor self) -> Tensor", "The lower median.", |a| median_all(a.t(0), false).map(Ret::from));
    r.op("fm", "median(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)", "The lower median.", |a| {
        median(a.t(0), a.int(1), a.b(2), false).map(Ret::from)
    });
    r.op("fm", "nanmedian(Tensor self) -> Tensor", "The lower median of what is not NaN.", |a| {
        median_all(a.t(0), true).map(Ret::from)
    });
    r.op(
        "fm",
        "nanmedian(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)",
        "The lower median of what is not NaN.",
        |a| median(a.t(0), a.int(1), a.b(2), true).map(Ret::from),
    );
    r.op(
        "fm",
        "mode(Tensor self, int dim=-1, bool keepdim=False) -> (Tensor values, Tensor indices)",
        "The most frequent value.",
        |a| mode(a.t(0), a.int(1), a.b(2)).map(Ret::from),
    );
    histogram::register(r);
    quantile::register(r);
    search::register(r);
    unique::register(r);
}
