//! Views: other looks into the same storage, with their gradients.
//!
//! A view is a function from layout to layout. Applied to the layout of a fresh contiguous tensor, the
//! same function says where the gradient belongs, so one backward serves them all.

use super::{Registry, Ret, copy, reduce};
use crate::autograd::{Ctx, Grads, needs_grad, record, record_many};
use crate::dtype::{Dtype, Element};
use crate::error::Result;
use crate::gpu;
use crate::layout::{Dims, Layout, Strides, infer_size, show, sizes, wrap_dim};
use crate::storage::Storage;
use crate::tensor::Tensor;
use crate::{bail, dispatch, ensure};
use smallvec::{SmallVec, smallvec};
use std::sync::Arc;

type LayoutFn = Arc<dyn Fn(&Layout) -> Result<Layout> + Send + Sync>;

/// How the gradient of a view gets back.
enum Back {
    /// The view covers every element once: the gradient under the input's shape.
    Reshape,
    /// The inverse of a permutation.
    Permute(Dims),
    /// Stretched dimensions are summed.
    SumTo,
    /// Zeros, with the gradient where the view looks.
    Place(LayoutFn),
}

fn make(x: &Tensor, layout: Layout, name: &'static str, back: impl FnOnce() -> Back) -> Tensor {
    let out = x.alias(layout);
    out.mark_fresh_view();
    if !needs_grad(&[x]) {
        return out;
    }
    let shape = x.dims();
    let back = back();
    record(name, &[x], out, move |_: &Ctx, g: &Tensor| -> Result<Grads> {
        let gi = match &back {
            Back::Reshape => reshape_to(g, &shape)?,
            Back::Permute(inv) => permute_dims(g, inv, "PermuteBackward0"),
            Back::SumTo => reduce::sum_to(g, &shape)?,
            Back::Place(f) => place(g, &shape, f)?,
        };
        Ok(smallvec![Some(gi)])
    })
}

fn by_function(x: &Tensor, name: &'static str, f: impl Fn(&Layout) -> Result<Layout> + Send + Sync + 'static) -> Result<Tensor> {
    let layout = f(x.layout())?;
    Ok(make(x, layout, name, || Back::Place(Arc::new(f))))
}

/// Several views of `x` that together are all of it; `join` puts their gradients together in one pass.
fn several(
    x: &Tensor,
    name: &'static str,
    layouts: Vec<Layout>,
    join: impl Fn(&[Tensor]) -> Result<Tensor> + Send + Sync + 'static,
) -> Vec<Tensor> {
    let fresh = |l: Layout| {
        let out = x.alias(l);
        out.mark_fresh_view();
        out
    };
    let outs: Vec<Tensor> = layouts.into_iter().map(fresh).collect();
    if !outs.is_empty() && needs_grad(&[x]) {
        let shapes: Vec<Dims> = outs.iter().map(Tensor::dims).collect();
        record_many(name, &[x], &outs.iter().collect::<Vec<_>>(), move |_, g| {
            let Some(like) = g.iter().flatten().next() else { return Ok(smallvec![None]) };
            let part = |(g, shape): (&Option<Tensor>, &Dims)| match g {
                Some(g) => Ok(g.clone()),
                None => Tensor::zeros(shape, like.dtype(), like.device()),
            };
            let parts = g.iter().zip(&shapes).map(part).collect::<Result<Vec<_>>>()?;
            Ok(smallvec![Some(join(&parts)?)])
        });
    }
    outs
}

/// Zeros of `shape` with `g` where the view `f` looks; what overlaps is added up. Differentiable.
fn place(g: &Tensor, shape: &Dims, f: &LayoutFn) -> Result<Tensor> {
    let out = Tensor::zeros(shape, g.dtype(), g.device())?;
    let slot = out.alias(f(out.layout())?);
    add_strided(&slot, g)?;
    let f = f.clone();
    Ok(record("SliceBackward0", &[g], out, move |_, gg| {
        let gg = copy::contiguous(gg)?;
        let l = f(&Layout::contiguous(gg.shape())?)?;
        let l = Layout::strided(&l.shape, &l.strides, l.offset + gg.layout().offset)?;
        Ok(smallvec![Some(as_view_of(&gg, l)?)])
    }))
}

/// `slot += g` element by element, in order: elements of the slot may share memory.
fn add_strided(slot: &Tensor, g: &Tensor) -> Result<()> {
    if !slot.layout().overlaps_itself() {
        return copy::copy_raw(slot, &g.detach());
    }
    if gpu::holds(slot) {
        let lanes = gpu::index::Lanes::places(slot.layout(), slot.device())?;
        return gpu::index::combine(slot, &lanes, &copy::contiguous(&g.detach())?, "add");
    }
    slot.check_data("add")?;
    let g = copy::contiguous(&g.detach())?;
    let (shape, strides) = (slot.dims(), slot.strides());
    dispatch!(real "add", slot.dtype(), T => {
        let base = slot.ptr_mut() as *mut T;
        let mut index = Dims::from_elem(0, shape.len());
        let mut pos = 0isize;
        for v in g.data::<T>() {
            // SAFETY: `pos` is a position of the slot's layout.
            unsafe {
                let p = base.wrapping_offset(pos);
                *p = T::from_f64((*p).to_f64() + v.to_f64());
            }
            for d in (0..shape.len()).rev() {
                index[d] += 1;
                pos += strides[d];
                if index[d] < shape[d] { break; }
                pos -= strides[d] * shape[d] as isize;
                index[d] = 0;
            }
        }
    });
    Ok(())
}

/// The view of `base` with this layout (whose offset counts in the storage). Differentiable.
pub fn as_view_of(base: &Tensor, layout: Layout) -> Result<Tensor> {
    let own = base.layout().clone();
    let out = base.alias(layout.clone());
    out.mark_fresh_view();
    if !needs_grad(&[base]) {
        return Ok(out);
    }
    Ok(record("AsStridedBackward0", &[base], out, move |_, g| {
        let flat = Layout::strided(&own.shape, &own.strides, 0)?;
        let rel = layout.offset as isize - own.offset as isize;
        // The view may reach before or behind the base's own elements: give it room.
        let before = (-rel).max(0) as usize;
        let reach = Layout::strided(&layout.shape, &layout.strides, (rel.max(0)) as usize)?;
        let need = flat.required()?.max(reach.required()?) + before;
        let storage = Storage::zeros(need * g.dtype().size(), g.device())?;
        let whole = Tensor::from_parts(storage.clone(), Layout::strided(&own.shape, &own.strides, before)?, g.dtype());
        let slot = whole.alias(Layout::strided(&layout.shape, &layout.strides, (before as isize + rel) as usize)?);
        add_strided(&slot, g)?;
        let (own, layout) = (own.clone(), layout.clone());
        let gi = record("AsStridedBackward0", &[g], whole.detach(), move |_, gg| {
            let whole = super::inplace::laid_out_like(gg, &own)?;
            Ok(smallvec![Some(super::inplace::inside(&whole, &own, &layout)?)])
        });
        Ok(smallvec![Some(gi)])
    }))
}

/// A copy of `whole` (laid out like the base) with zeros where the view looks. Differentiable.
pub fn zero_slice(whole: &Tensor, base: &Layout, layout: &Layout) -> Result<Tensor> {
    let out = copy::clone_dense(&whole.detach())?;
    let offset = out.layout().offset + layout.offset - base.offset;
    let slot = out.alias(Layout::strided(&layout.shape, &layout.strides, offset)?);
    copy::copy_raw(&slot, &Tensor::scalar(0.0, whole.dtype()))?;
    let (base, layout) = (base.clone(), layout.clone());
    Ok(record("CopySlices", &[whole], out, move |_, g| {
        let g = super::inplace::laid_out_like(g, &base)?;
        Ok(smallvec![Some(zero_slice(&g, &base, &layout)?)])
    }))
}

// ---- shape ----

/// The same elements under another shape; an error where that needs a copy.
pub fn view(x: &Tensor, shape: &[usize]) -> Result<Tensor> {
    match x.layout().view(shape)? {
        Some(l) => Ok(make(x, l, "ViewBackward0", || Back::Reshape)),
        None => bail!(
            Runtime,
            "view size is not compatible with input tensor's size and stride (at least one dimension spans across two contiguous subspaces). Use .reshape(...) instead."
        ),
    }
}

/// A view if the strides allow it, else a copy.
pub fn reshape_to(x: &Tensor, shape: &[usize]) -> Result<Tensor> {
    match x.layout().view(shape)? {
        Some(l) => Ok(make(x, l, "ViewBackward0", || Back::Reshape)),
        None => {
            let c = copy::clone(x, Some(super::MemoryFormat::Contiguous))?;
            let l = Layout::contiguous(shape)?;
            Ok(make(&c, l, "UnsafeViewBackward0", || Back::Reshape))
        }
    }
}

/// [`reshape_to`] with PyTorch's -1.
pub fn reshape(x: &Tensor, shape: &[i64]) -> Result<Tensor> {
    reshape_to(x, &infer_size(shape, x.numel())?)
}

fn permute_dims(x: &Tensor, dims: &[usize], name: &'static str) -> Tensor {
    make(x, x.layout().permuted(dims), name, || {
        let mut inv = Dims::from_elem(0, dims.len());
        for (i, &d) in dims.iter().enumerate() {
            inv[d] = i;
        }
        Back::Permute(inv)
    })
}

/// Dimensions in another order.
pub fn permute(x: &Tensor, dims: &[i64]) -> Result<Tensor> {
    ensure!(
        dims.len() == x.ndim(),
        Runtime,
        "permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired ordering of dimensions i.e. input.dim() = {} is not equal to len(dims) = {}",
        x.ndim(),
        dims.len()
    );
    let dims: SmallVec<[usize; 8]> = dims.iter().map(|&d| wrap_dim(d, x.ndim())).collect::<Result<_>>()?;
    let mut seen = [false; crate::layout::MAX_DIMS];
    for &d in &dims {
        ensure!(!std::mem::replace(&mut seen[d], true), Runtime, "permute(): duplicate dims are not allowed.");
    }
    Ok(permute_dims(x, &dims, "PermuteBackward0"))
}

pub fn transpose(x: &Tensor, a: i64, b: i64) -> Result<Tensor> {
    transpose_named(x, a, b, "TransposeBackward0")
}

fn transpose_named(x: &Tensor, a: i64, b: i64, name: &'static str) -> Result<Tensor> {
    let (a, b) = (wrap_dim(a, x.ndim())?, wrap_dim(b, x.ndim())?);
    let mut dims: Dims = (0..x.ndim()).collect();
    if !dims.is_empty() {
        dims.swap(a, b);
    }
    Ok(permute_dims(x, &dims, name))
}

/// `x.t()`: a matrix transposed; 0-d and 1-d tensors unchanged.
pub fn t(x: &Tensor) -> Result<Tensor> {
    ensure!(x.ndim() <= 2, Runtime, "t() expects a tensor with <= 2 dimensions, but self is {}D", x.ndim());
    if x.ndim() == 2 { transpose_named(x, 0, 1, "TBackward0") } else { transpose_named(x, 0, 0, "TBackward0") }
}

/// Stretched to `shape` without memory.
pub fn expand(x: &Tensor, shape: &[usize]) -> Result<Tensor> {
    Ok(make(x, x.layout().expand(shape)?, "ExpandBackward0", || Back::SumTo))
}

/// [`expand`] where -1 keeps a size.
pub fn expand_sizes(x: &Tensor, shape: &[i64]) -> Result<Tensor> {
    ensure!(
        shape.len() >= x.ndim(),
        Runtime,
        "expand({}{{{}}}, size={}): the number of sizes provided ({}) must be greater or equal to the number of dimensions in the tensor ({})",
        x.type_name(),
        show(x.shape()),
        show(shape),
        shape.len(),
        x.ndim()
    );
    let lead = shape.len() - x.ndim();
    let mut out: Dims = Dims::new();
    for (i, &s) in shape.iter().enumerate() {
        out.push(match s {
            -1 if i >= lead => x.shape()[i - lead],
            s if s >= 0 => s as usize,
            _ => bail!(Runtime, "The expanded size of the tensor ({s}) isn't allowed in a leading, non-existing dimension {i}"),
        });
    }
    expand(x, &out)
}

pub fn squeeze(x: &Tensor, dims: Option<&[i64]>) -> Result<Tensor> {
    let mut gone = [false; crate::layout::MAX_DIMS];
    match dims {
        None => gone.fill(true),
        Some(dims) => {
            for &d in dims {
                let d = wrap_dim(d, x.ndim())?;
                ensure!(!std::mem::replace(&mut gone[d], true), Runtime, "dim {d} appears multiple times in the list of dims");
            }
        }
    }
    let l = x.layout();
    let keep: SmallVec<[usize; 8]> = (0..x.ndim()).filter(|&d| l.shape[d] != 1 || !gone[d]).collect();
    let name = match dims {
        None => "SqueezeBackward0",
        Some([_]) => "SqueezeBackward1",
        _ => "SqueezeBackward2",
    };
    Ok(make(x, l.permuted(&keep), name, || Back::Reshape))
}

pub fn unsqueeze(x: &Tensor, dim: i64) -> Result<Tensor> {
    let d = wrap_dim(dim, x.ndim() + 1)?;
    Ok(make(x, x.layout().unsqueezed(d)?, "UnsqueezeBackward0", || Back::Reshape))
}

/// Dimensions `start..=end` as one.
pub fn flatten(x: &Tensor, start: i64, end: i64) -> Result<Tensor> {
    let (s, e) = (wrap_dim(start, x.ndim())?, wrap_dim(end, x.ndim())?);
    ensure!(s <= e, Runtime, "flatten() has invalid args: start_dim cannot come after end_dim");
    if x.ndim() == 0 {
        return reshape_to(x, &[1]);
    }
    if s == e {
        return Ok(x.clone());
    }
    let mut shape: Dims = x.shape()[..s].into();
    shape.push(x.shape()[s..=e].iter().product());
    shape.extend_from_slice(&x.shape()[e + 1..]);
    reshape_to(x, &shape)
}

/// One dimension as several.
pub fn unflatten(x: &Tensor, dim: i64, into: &[i64]) -> Result<Tensor> {
    let d = wrap_dim(dim, x.ndim())?;
    ensure!(!into.is_empty(), Runtime, "unflatten: sizes must be non-empty");
    let part = infer_size(into, x.size(d)).map_err(|_| {
        crate::err!(
            Runtime,
            "unflatten: Provided sizes {} don't multiply up to the size of dim {d} ({}) in the input tensor",
            show(into),
            x.size(d)
        )
    })?;
    let mut shape: Dims = x.shape()[..d].into();
    shape.extend_from_slice(&part);
    shape.extend_from_slice(&x.shape()[(d + 1).min(x.ndim())..]);
    view(x, &shape)
}

// ---- parts ----

/// Index `index` of dimension `dim`, which disappears.
pub fn select(x: &Tensor, dim: i64, index: i64) -> Result<Tensor> {
    ensure!(x.ndim() > 0, Index, "select() cannot be applied to a 0-dim tensor.");
    let d = wrap_dim(dim, x.ndim())?;
    let n = x.shape()[d] as i64;
    ensure!(
        (-n..n).contains(&index),
        Index,
        "select(): index {index} out of range for tensor of size {} at dimension {d}",
        show(x.shape())
    );
    let i = if index < 0 { index + n } else { index } as usize;
    by_function(x, "SelectBackward0", move |l| {
        let (mut shape, mut strides) = (l.shape.clone(), l.strides.clone());
        let offset = l.offset + i * strides[d] as usize;
        shape.remove(d);
        strides.remove(d);
        Layout::strided(&shape, &strides, offset)
    })
}

/// `start..end` in steps of `step` of dimension `dim`; positions beyond the ends are clamped.
pub fn slice(x: &Tensor, dim: i64, start: Option<i64>, end: Option<i64>, step: i64) -> Result<Tensor> {
    ensure!(x.ndim() > 0, Runtime, "slice() cannot be applied to a 0-dim tensor.");
    ensure!(step > 0, Runtime, "slice step must be positive");
    let d = wrap_dim(dim, x.ndim())?;
    let n = x.shape()[d] as i64;
    let clamp = |v: i64| (if v < 0 { v.saturating_add(n) } else { v }).clamp(0, n);
    let s = clamp(start.unwrap_or(0));
    let e = clamp(end.unwrap_or(n)).max(s);
    let len = ((e - s) as u64).div_ceil(step as u64) as usize;
    by_function(x, "SliceBackward0", move |l| {
        let (mut shape, mut strides) = (l.shape.clone(), l.strides.clone());
        let offset = if len == 0 { l.offset } else { l.offset + s as usize * strides[d] as usize };
        shape[d] = len;
        strides[d] = strides[d].saturating_mul(step as isize);
        Layout::strided(&shape, &strides, offset)
    })
}

/// A view of all of it (`x[:]`).
pub fn alias(x: &Tensor) -> Tensor {
    make(x, x.layout().clone(), "AliasBackward0", || Back::Reshape)
}

pub fn narrow(x: &Tensor, dim: i64, start: i64, length: i64) -> Result<Tensor> {
    ensure!(x.ndim() > 0, Runtime, "narrow() cannot be applied to a 0-dim tensor.");
    ensure!(length >= 0, Runtime, "narrow(): length must be non-negative.");
    let d = wrap_dim(dim, x.ndim())?;
    let n = x.shape()[d] as i64;
    ensure!((-n..=n).contains(&start), Index, "start out of range (expected to be in range of [{}, {n}], but got {start})", -n);
    let s = if start < 0 { start + n } else { start };
    ensure!(s + length <= n, Runtime, "start ({s}) + length ({length}) exceeds dimension size ({n}).");
    slice(x, dim, Some(s), Some(s + length), 1)
}

pub fn split_sizes(x: &Tensor, lengths: &[i64], dim: i64) -> Result<Vec<Tensor>> {
    ensure!(x.ndim() > 0, Runtime, "split expects at least a 1-dimensional tensor");
    let d = wrap_dim(dim, x.ndim())?;
    let n = x.shape()[d] as i64;
    ensure!(
        lengths.iter().all(|&l| l >= 0) && lengths.iter().sum::<i64>() == n,
        Runtime,
        "split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size at dimension {d}), but got split_sizes={}",
        show(lengths)
    );
    let mut layouts = Vec::with_capacity(lengths.len());
    let mut at = 0;
    for &len in lengths {
        let l = x.layout();
        let mut shape = l.shape.clone();
        shape[d] = len as usize;
        let offset = if len == 0 { l.offset } else { l.offset + at as usize * l.strides[d] as usize };
        layouts.push(Layout::strided(&shape, &l.strides, offset)?);
        at += len;
    }
    Ok(several(x, "SplitBackward0", layouts, move |parts| super::join::cat(parts, d as i64)))
}

pub fn split(x: &Tensor, size: i64, dim: i64) -> Result<Vec<Tensor>> {
    ensure!(x.ndim() > 0, Runtime, "split expects at least a 1-dimensional tensor");
    ensure!(size >= 0, Runtime, "split expects split_size be non-negative, but got split_size={size}");
    let n = x.size(wrap_dim(dim, x.ndim())?) as i64;
    ensure!(size > 0 || n == 0, Runtime, "split_size can only be 0 if dimension size is 0, but got dimension size of {n}");
    if n == 0 {
        return split_sizes(x, &[0], dim);
    }
    let lengths: Vec<i64> = (0..n).step_by(size as usize).map(|s| size.min(n - s)).collect();
    split_sizes(x, &lengths, dim)
}

pub fn chunk(x: &Tensor, chunks: i64, dim: i64) -> Result<Vec<Tensor>> {
    ensure!(x.ndim() > 0, Runtime, "chunk expects at least a 1-dimensional tensor");
    ensure!(chunks > 0, Runtime, "chunk expects `chunks` to be greater than 0, got: {chunks}");
    let n = x.size(wrap_dim(dim, x.ndim())?) as i64;
    if n == 0 {
        return split_sizes(x, &[0], dim).map(|v| vec![v[0].clone(); chunks as usize]);
    }
    split(x, (n as u64).div_ceil(chunks as u64) as i64, dim)
}

pub fn unbind(x: &Tensor, dim: i64) -> Result<Vec<Tensor>> {
    ensure!(x.ndim() > 0, Runtime, "Dimension specified as {dim} but tensor has no dimensions");
    let d = wrap_dim(dim, x.ndim())?;
    let l = x.layout();
    let one = |i: usize| {
        let (mut shape, mut strides) = (l.shape.clone(), l.strides.clone());
        let offset = l.offset + i * strides[d] as usize;
        shape.remove(d);
        strides.remove(d);
        Layout::strided(&shape, &strides, offset)
    };
    let layouts = (0..x.shape()[d]).map(one).collect::<Result<_>>()?;
    Ok(several(x, "UnbindBackward0", layouts, move |parts| super::join::stack(parts, d as i64)))
}

pub fn diagonal(x: &Tensor, offset: i64, dim1: i64, dim2: i64) -> Result<Tensor> {
    let (a, b) = (wrap_dim(dim1, x.ndim())?, wrap_dim(dim2, x.ndim())?);
    ensure!(a != b, Runtime, "diagonal dimensions cannot be identical {dim1}, {dim2}");
    by_function(x, "DiagonalBackward0", move |l| {
        let (rows, cols) = (l.shape[a] as i64, l.shape[b] as i64);
        let len = if offset >= 0 { rows.min(cols.saturating_sub(offset)) } else { rows.saturating_add(offset).min(cols) }.max(0);
        let mut start = l.offset;
        if len > 0 {
            start +=
                if offset >= 0 { offset as usize * l.strides[b] as usize } else { (-offset) as usize * l.strides[a] as usize };
        }
        let (mut shape, mut strides) = (Dims::new(), Strides::new());
        for d in (0..l.ndim()).filter(|&d| d != a && d != b) {
            shape.push(l.shape[d]);
            strides.push(l.strides[d]);
        }
        shape.push(len as usize);
        strides.push(l.strides[a] + l.strides[b]);
        Layout::strided(&shape, &strides, start)
    })
}

/// Sliding windows of `size` in steps of `step`, as a new last dimension.
pub fn unfold(x: &Tensor, dim: i64, size: i64, step: i64) -> Result<Tensor> {
    let d = wrap_dim(dim, x.ndim())?;
    let n = x.size(d) as i64;
    ensure!(size >= 0, Runtime, "size is {size} but must be >= 0");
    ensure!(size <= n, Runtime, "maximum size for tensor at dimension {d} is {n} but size is {size}");
    ensure!(step > 0, Runtime, "step is {step} but must be > 0");
    by_function(x, "UnfoldBackward0", move |l| {
        let (mut shape, mut strides) = (l.shape.clone(), l.strides.clone());
        if shape.is_empty() {
            return Layout::strided(&[size as usize], &[1], l.offset);
        }
        let st = strides[d];
        shape[d] = ((n - size) / step + 1) as usize;
        strides[d] = st.saturating_mul(step as isize);
        shape.push(size as usize);
        strides.push(st);
        Layout::strided(&shape, &strides, l.offset)
    })
}

/// Any layout inside the storage.
pub fn as_strided(x: &Tensor, size: &[i64], stride: &[i64], offset: Option<i64>) -> Result<Tensor> {
    let shape = sizes(size)?;
    let strides: Strides = stride.iter().map(|&s| s as isize).collect();
    let offset = offset.unwrap_or(x.layout().offset as i64);
    ensure!(offset >= 0, Runtime, "Tensor: invalid storage offset {offset}");
    let l = Layout::strided(&shape, &strides, offset as usize)?;
    let need = l.required()?.checked_mul(x.dtype().size());
    ensure!(
        need.is_some_and(|n| n <= x.storage().nbytes()),
        Runtime,
        "setStorage: sizes {}, strides {}, storage offset {offset}, and itemsize {} requiring a storage size of {} are out of bounds for storage of size {}",
        show(size),
        show(stride),
        x.dtype().size(),
        need.unwrap_or(usize::MAX),
        x.storage().nbytes()
    );
    as_view_of(x, l)
}

/// The bytes under another dtype.
pub fn view_dtype(x: &Tensor, dtype: Dtype) -> Result<Tensor> {
    if dtype == x.dtype() {
        return Ok(alias(x));
    }
    let (from, to) = (x.dtype().size(), dtype.size());
    let l = x.layout();
    let (mut shape, mut strides, mut offset) = (l.shape.clone(), l.strides.clone(), l.offset);
    if from != to {
        ensure!(
            x.ndim() > 0,
            Runtime,
            "self.dim() cannot be 0 to view {} as {} (different element sizes)",
            x.dtype().scalar_name(),
            dtype.scalar_name()
        );
        let last = x.ndim() - 1;
        ensure!(
            strides[last] == 1 || shape[last] <= 1,
            Runtime,
            "self.stride(-1) must be 1 to view {} as {} (different element sizes), but got {}",
            x.dtype().scalar_name(),
            dtype.scalar_name(),
            strides[last]
        );
        if from > to {
            let k = from / to;
            shape[last] *= k;
            strides.iter_mut().take(last).for_each(|s| *s *= k as isize);
            offset *= k;
        } else {
            let k = to / from;
            let fits =
                shape[last].is_multiple_of(k) && offset.is_multiple_of(k) && strides[..last].iter().all(|s| s % k as isize == 0);
            ensure!(
                fits,
                Runtime,
                "self.size(-1) must be divisible by {k} to view {} as {} (different element sizes), but got {}",
                x.dtype().scalar_name(),
                dtype.scalar_name(),
                shape[last]
            );
            shape[last] /= k;
            strides.iter_mut().take(last).for_each(|s| *s /= k as isize);
            offset /= k;
        }
        strides[last] = 1;
    }
    Ok(Tensor::from_parts(x.storage().clone(), Layout::strided(&shape, &strides, offset)?, dtype))
}

pub(super) fn register(r: &mut Registry) {
    r.op("m", "view(Tensor self, int[] size) -> Tensor", "The same elements under another shape, without a copy.", |a| {
        view(a.t(0), &infer_size(a.ints(1), a.t(0).numel())?).map(Ret::from)
    });
    r.op("m", "view(Tensor self, ScalarType dtype) -> Tensor", "The bytes under another dtype.", |a| {
        view_dtype(a.t(0), a.dtype(1).unwrap()).map(Ret::from)
    });
    r.op("fm", "reshape(Tensor self, int[] shape) -> Tensor", "Another shape; a view where possible.", |a| {
        reshape(a.t(0), a.ints(1)).map(Ret::from)
    });
    r.op("m", "view_as(Tensor self, Tensor other) -> Tensor", "view with the shape of other.", |a| {
        view(a.t(0), a.t(1).shape()).map(Ret::from)
    });
    r.op("m", "reshape_as(Tensor self, Tensor other) -> Tensor", "reshape with the shape of other.", |a| {
        reshape_to(a.t(0), a.t(1).shape()).map(Ret::from)
    });
    r.op("fm", "permute(Tensor self, int[] dims) -> Tensor", "Dimensions in another order.", |a| {
        permute(a.t(0), a.ints(1)).map(Ret::from)
    });
    for name in ["transpose", "swapaxes", "swapdims"] {
        let schema = match name {
            "transpose" => "transpose(Tensor self, int dim0, int dim1) -> Tensor",
            "swapaxes" => "swapaxes(Tensor self, int axis0, int axis1) -> Tensor",
            _ => "swapdims(Tensor self, int dim0, int dim1) -> Tensor",
        };
        r.op("fm", schema, "Two dimensions exchanged.", |a| transpose(a.t(0), a.int(1), a.int(2)).map(Ret::from));
    }
    r.op("m", "transpose_(Tensor self, int dim0, int dim1) -> Tensor", "transpose in place.", |a| {
        transpose(a.t(0), a.int(1), a.int(2)).map(Ret::Replace)
    });
    r.op("fm", "t(Tensor self) -> Tensor", "A matrix transposed.", |a| t(a.t(0)).map(Ret::from));
    r.op("m", "t_(Tensor self) -> Tensor", "t in place.", |a| t(a.t(0)).map(Ret::Replace));
    r.op(
        "m",
        "expand(Tensor self, int[] size, *, bool implicit=False) -> Tensor",
        "Stretches dimensions of size 1 without memory; -1 keeps a size.",
        |a| expand_sizes(a.t(0), a.ints(1)).map(Ret::from),
    );
    r.op("m", "expand_as(Tensor self, Tensor other) -> Tensor", "expand to the shape of other.", |a| {
        expand(a.t(0), a.t(1).shape()).map(Ret::from)
    });
    r.op("fm", "broadcast_to(Tensor self, int[] size) -> Tensor", "expand.", |a| expand_sizes(a.t(0), a.ints(1)).map(Ret::from));
    r.op("fm", "squeeze(Tensor self) -> Tensor", "Without the dimensions of size 1.", |a| squeeze(a.t(0), None).map(Ret::from));
    r.op("fm", "squeeze(Tensor self, int[1] dim) -> Tensor", "Without these dimensions where of size 1.", |a| {
        squeeze(a.t(0), Some(a.ints(1))).map(Ret::from)
    });
    r.op("m", "squeeze_(Tensor self, int[1]? dim=None) -> Tensor", "squeeze in place.", |a| {
        squeeze(a.t(0), a.oints(1)).map(Ret::Replace)
    });
    r.op("fm", "unsqueeze(Tensor self, int dim) -> Tensor", "With a dimension of size 1 inserted.", |a| {
        unsqueeze(a.t(0), a.int(1)).map(Ret::from)
    });
    r.op("m", "unsqueeze_(Tensor self, int dim) -> Tensor", "unsqueeze in place.", |a| {
        unsqueeze(a.t(0), a.int(1)).map(Ret::Replace)
    });
    r.op("fm", "flatten(Tensor self, int start_dim=0, int end_dim=-1) -> Tensor", "Several dimensions as one.", |a| {
        flatten(a.t(0), a.int(1), a.int(2)).map(Ret::from)
    });
    r.op("fm", "unflatten(Tensor self, int dim, int[] sizes) -> Tensor", "One dimension as several.", |a| {
        unflatten(a.t(0), a.int(1), a.ints(2)).map(Ret::from)
    });
    r.op("fm", "ravel(Tensor self) -> Tensor", "All dimensions as one.", |a| {
        reshape_to(a.t(0), &[a.t(0).numel()]).map(Ret::from)
    });
    r.op("fm", "select(Tensor self, int dim, int index) -> Tensor", "One index of a dimension.", |a| {
        select(a.t(0), a.int(1), a.int(2)).map(Ret::from)
    });
    r.op(
        "fm",
        "narrow(Tensor self, int dim, Tensor start, int length) -> Tensor",
        "narrow; start is a 0-d integer tensor.",
        |a| {
            ensure!(
                a.t(2).ndim() == 0 && a.t(2).dtype().is_integral() && a.t(2).dtype() != Dtype::Bool,
                Runtime,
                "start must be an 0-dim integral Tensor."
            );
            narrow(a.t(0), a.int(1), a.t(2).item()?.i64(), a.int(3)).map(Ret::from)
        },
    );
    r.op(
        "fm",
        "narrow(Tensor self, int dim, Tensor start, int length) -> Tensor",
        "narrow; start is a 0-d integer tensor.",
        |a| {
            ensure!(
                a.t(2).ndim() == 0 && a.t(2).dtype().is_integral() && a.t(2).dtype() != Dtype::Bool,
                Runtime,
                "start must be an 0-dim integral Tensor."
            );
            narrow(a.t(0), a.int(1), a.t(2).item()?.i64(), a.int(3)).map(Ret::from)
        },
    );
    r.op("fm", "narrow(Tensor self, int dim, int start, int length) -> Tensor", "length indices of a dimension.", |a| {
        narrow(a.t(0), a.int(1), a.int(2), a.int(3)).map(Ret::from)
    });
    r.op(
        "fm",
        "split(Tensor self, int split_size_or_sections, int dim=0) -> Tensor[]",
        "Parts of a size along a dimension.",
        |a| split(a.t(0), a.int(1), a.int(2)).map(Ret::Tuple),
    );
    r.op("fm", "split(Tensor self, int[] split_size_or_sections, int dim=0) -> Tensor[]", "Parts of given sizes.", |a| {
        split_sizes(a.t(0), a.ints(1), a.int(2)).map(Ret::Tuple)
    });
    r.op("fm", "split_with_sizes(Tensor self, int[] split_sizes, int dim=0) -> Tensor[]", "Parts of given sizes.", |a| {
        split_sizes(a.t(0), a.ints(1), a.int(2)).map(Ret::Tuple)
    });
    r.op("fm", "chunk(Tensor self, int chunks, int dim=0) -> Tensor[]", "At most that many equal parts.", |a| {
        chunk(a.t(0), a.int(1), a.int(2)).map(Ret::Tuple)
    });
    r.op("fm", "unbind(Tensor self, int dim=0) -> Tensor[]", "The slices along a dimension.", |a| {
        unbind(a.t(0), a.int(1)).map(Ret::Tuple)
    });
    r.op("fm", "diagonal(Tensor self, int offset=0, int dim1=0, int dim2=1) -> Tensor", "A diagonal, as a view.", |a| {
        diagonal(a.t(0), a.int(1), a.int(2), a.int(3)).map(Ret::from)
    });
    r.op("m", "unfold(Tensor self, int dimension, int size, int step) -> Tensor", "Sliding windows.", |a| {
        unfold(a.t(0), a.int(1), a.int(2), a.int(3)).map(Ret::from)
    });
    r.op(
        "fm",
        "as_strided(Tensor self, int[] size, int[] stride, int? storage_offset=None) -> Tensor",
        "Any layout inside the storage.",
        |a| as_strided(a.t(0), a.ints(1), a.ints(2), a.oint(3)).map(Ret::from),
    );
    r.op("m", "alias(Tensor self) -> Tensor", "A view of all of it.", |a| Ok(alias(a.t(0)).into()));
}
