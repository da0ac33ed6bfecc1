//! What reductions, scans and sorts share: the block form of a tensor along a dimension, picking by index with its gradient, and short names for elementwise calls.

use crate::autograd::{record, record_many, save};
use crate::dtype::{Dtype, Element, Scalar};
use crate::error::Result;
use crate::expr::Operand;
use crate::expr::eval::compute_dtype;
use crate::gpu;
use crate::layout::{Dims, wrap_dim};
use crate::ops::elementwise::{Compiled, Row, WHERE, apply};
use crate::ops::{copy, index, view};
use crate::tensor::Tensor;
use crate::{dispatch, ensure};
use smallvec::smallvec;
use std::sync::Arc;

pub use super::fold::{fold_block, fold_long, fold_row};

// ---- elementwise calls ----

pub fn call1(row: &'static Row, a: &Tensor) -> Result<Tensor> {
    row.call(&[Operand::T(a.clone())], &[], None)
}
pub fn call2(row: &'static Row, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    row.call(&[Operand::T(a.clone()), Operand::T(b.clone())], &[], None)
}
pub fn call2s(row: &'static Row, a: &Tensor, b: impl Into<Scalar>) -> Result<Tensor> {
    row.call(&[Operand::T(a.clone()), Operand::S(b.into())], &[], None)
}
/// `cond ? a : b` in dtype `d`.
pub fn choose(cond: &Tensor, a: impl Into<Choice>, b: impl Into<Choice>, d: Dtype) -> Result<Tensor> {
    apply(WHERE.compiled(), &[Operand::T(cond.clone()), a.into().0, b.into().0], &[], d, d, None)
}
/// A side of [`choose`].
pub struct Choice(Operand);
impl From<&Tensor> for Choice {
    fn from(t: &Tensor) -> Choice {
        Choice(Operand::T(t.clone()))
    }
}
impl From<f64> for Choice {
    fn from(v: f64) -> Choice {
        Choice(Operand::S(v.into()))
    }
}

/// A formula over tensors, all of one floating dtype.
pub fn eval_formula(f: &Arc<Compiled>, tensors: &[&Tensor], params: &[f64]) -> Result<Tensor> {
    let operands: Vec<Operand> = tensors.iter().map(|t| Operand::T((*t).clone())).collect();
    let params: Vec<Scalar> = params.iter().map(|&p| p.into()).collect();
    let d = tensors[0].dtype();
    apply(f, &operands, &params, d, d, None)
}

/// `formula!(n, "NameBackward0", |x| ...)`: compiled once.
macro_rules! formula {
    ($n:expr, $name:expr, $f:expr) => {{
        static F: std::sync::OnceLock<std::sync::Arc<$crate::ops::elementwise::Compiled>> = std::sync::OnceLock::new();
        F.get_or_init(|| $crate::ops::elementwise::compile($n, $name, $f))
    }};
}
pub(crate) use formula;

// ---- kernel types ----

/// Two numbers of a complex element.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Pair<T>(pub T, pub T);

impl<T: std::ops::Add<Output = T>> std::ops::Add for Pair<T> {
    type Output = Pair<T>;
    fn add(self, o: Pair<T>) -> Pair<T> {
        Pair(self.0 + o.0, self.1 + o.1)
    }
}
impl<T: Copy + std::ops::Add<Output = T> + std::ops::Sub<Output = T> + std::ops::Mul<Output = T>> std::ops::Mul for Pair<T> {
    type Output = Pair<T>;
    fn mul(self, o: Pair<T>) -> Pair<T> {
        Pair(self.0 * o.0 - self.1 * o.1, self.0 * o.1 + self.1 * o.0)
    }
}

/// An ordered kernel type: f32, f64, i64.
pub trait Real: Element + PartialOrd + Default {
    fn nan(self) -> bool;
}
macro_rules! real {
    ($($t:ty, |$v:ident| $nan:expr;)*) => {$(
        impl Real for $t {
            #[inline(always)]
            fn nan(self) -> bool {
                let $v = self;
                $nan
            }
        }
    )*};
}
real! {
    f32, |v| v.is_nan();
    f64, |v| v.is_nan();
    i64, |_v| false;
}

/// `kernel!(dtype, T => body)` for the three dtypes that [`wide`] gives.
macro_rules! kernel {
    ($d:expr, $T:ident => $body:expr) => {
        match $d {
            $crate::dtype::Dtype::F32 => {
                type $T = f32;
                $body
            }
            $crate::dtype::Dtype::F64 => {
                type $T = f64;
                $body
            }
            _ => {
                type $T = i64;
                $body
            }
        }
    };
}
pub(crate) use kernel;

/// The dtype in which kernels see a real dtype: f32, f64 or i64. Exact.
pub fn wide_dtype(d: Dtype) -> Dtype {
    compute_dtype(d)
}

/// Without history, in [`wide_dtype`].
pub fn wide(x: &Tensor) -> Result<Tensor> {
    copy::to_dtype(&x.detach(), wide_dtype(x.dtype()))
}

// ---- blocks ----

/// A contiguous tensor as outer x len x inner, where `len` is what an op works along.
pub struct Block {
    pub data: Tensor,
    pub outer: usize,
    pub len: usize,
    pub inner: usize,
}

impl Block {
    pub fn count(&self) -> usize {
        self.outer * self.inner
    }
}

/// The block form for the dimensions that `gone` marks. What is kept stays in order.
pub fn block(x: &Tensor, gone: &[bool]) -> Result<Block> {
    let shape = x.shape();
    let marked: Vec<usize> = (0..x.ndim()).filter(|&d| gone[d] && shape[d] != 1).collect();
    let (first, last) = match (marked.first(), marked.last()) {
        (Some(&f), Some(&l)) => (f, l + 1),
        _ => (x.ndim(), x.ndim()),
    };
    if (first..last).all(|d| gone[d] || shape[d] == 1) {
        return Ok(Block {
            data: copy::contiguous(&x.detach())?,
            outer: shape[..first].iter().product(),
            len: shape[first..last].iter().product(),
            inner: shape[last..].iter().product(),
        });
    }
    let (data, outer, len) = super::rows(x, gone)?;
    Ok(Block { data, outer, len, inner: 1 })
}

/// The block form along one dimension.
pub fn along(x: &Tensor, d: usize) -> Result<Block> {
    let shape = x.shape();
    let after = (d + 1).min(shape.len());
    Ok(Block {
        data: copy::contiguous(&x.detach())?,
        outer: shape[..d.min(shape.len())].iter().product(),
        len: x.size(d),
        inner: shape[after..].iter().product(),
    })
}

/// A tensor just made, under another shape of as many elements.
pub fn reshaped(x: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let c = copy::contiguous(&x.detach())?;
    let l = crate::layout::Layout::strided(shape, &crate::layout::contiguous_strides(shape), c.layout().offset)?;
    Ok(Tensor::from_parts(c.storage().clone(), l, c.dtype()))
}

/// The shape with dimension `d` of another size (0-d tensors: none or one element).
pub fn with_size(shape: &[usize], d: usize, size: usize) -> Dims {
    let mut s: Dims = shape.into();
    if d < s.len() {
        s[d] = size;
    }
    s
}

/// The shape without dimension `d`.
pub fn without(shape: &[usize], d: usize) -> Dims {
    let mut s: Dims = shape.into();
    if d < s.len() {
        s.remove(d);
    }
    s
}

// ---- picking by index ----

/// `out[o, i, j] = x[o, index[o, i, j], j]` along `dim`; the other sizes are equal. Differentiable.
pub fn gather_along(x: &Tensor, index: &Tensor, dim: usize) -> Result<Tensor> {
    if gpu::holds(x) {
        return index::gather(x, dim as i64, index);
    }
    let (bx, bi) = (along(x, dim)?, along(index, dim)?);
    let out = Tensor::empty(index.shape(), x.dtype(), x.device())?;
    let inner = bx.inner;
    check_indices(&bi.data, bx.len)?;
    dispatch!(bytes x.dtype(), T => {
        let (from, at, to) = (bx.data.data::<T>(), bi.data.data::<i64>(), out.data_mut::<T>());
        for o in 0..bi.outer {
            let from = &from[o * bx.len * inner..(o + 1) * bx.len * inner];
            for i in 0..bi.len {
                let start = (o * bi.len + i) * inner;
                for j in 0..inner {
                    to[start + j] = from[at[start + j] as usize * inner + j];
                }
            }
        }
    });
    let (size, saved) = (x.size(dim), save(index));
    let shape = x.dims();
    Ok(record("GatherBackward0", &[x], out, move |ctx, g| {
        let g = scatter_along(g, &saved.get(ctx)?, dim, size)?;
        Ok(smallvec![Some(view::reshape_to(&g, &shape)?)])
    }))
}

fn check_indices(index: &Tensor, size: usize) -> Result<()> {
    let bad = index.data::<i64>().iter().find(|&&i| i < 0 || i as u64 >= size as u64);
    ensure!(bad.is_none(), Index, "index {} is out of bounds for dimension with size {size}", bad.unwrap());
    Ok(())
}

/// Zeros of `size` along `dim` to which `g[o, i, j]` is added at `index[o, i, j]`. Differentiable.
pub fn scatter_along(g: &Tensor, index: &Tensor, dim: usize, size: usize) -> Result<Tensor> {
    if gpu::holds(g) {
        let zeros = Tensor::zeros(&with_size(g.shape(), dim, size), g.dtype(), g.device())?;
        return index::scatter_add(&zeros, dim as i64, index, g, None);
    }
    let (bg, bi) = (along(g, dim)?, along(index, dim)?);
    ensure!(g.shape() == index.shape(), Runtime, "scatter: shapes differ");
    check_indices(&bi.data, size)?;
    let out = Tensor::zeros(&with_size(g.shape(), dim, size), g.dtype(), g.device())?;
    let inner = bg.inner;
    dispatch!(real "scatter", g.dtype(), T => {
        let (from, at, to) = (bg.data.data::<T>(), bi.data.data::<i64>(), out.data_mut::<T>());
        for o in 0..bg.outer {
            let to = &mut to[o * size * inner..(o + 1) * size * inner];
            for i in 0..bg.len {
                let start = (o * bg.len + i) * inner;
                for j in 0..inner {
                    let p = &mut to[at[start + j] as usize * inner + j];
                    *p = T::from_f64(p.to_f64() + from[start + j].to_f64());
                }
            }
        }
    });
    let saved = save(index);
    Ok(record("ScatterAddBackward0", &[g], out, move |ctx, g| Ok(smallvec![Some(gather_along(g, &saved.get(ctx)?, dim)?)])))
}

/// Values at one index along `dim`: the result of an op that picks an element (max, median, ...), with
/// its gradient. `index` has size 1 there.
pub fn pick(name: &'static str, x: &Tensor, index: &Tensor, dim: usize, keepdim: bool) -> Result<(Tensor, Tensor)> {
    picked(name, x, &gather_along(&x.detach(), index, dim)?, index, dim, keepdim)
}

/// [`pick`] where the values are known.
pub fn picked(
    name: &'static str,
    x: &Tensor,
    values: &Tensor,
    index: &Tensor,
    dim: usize,
    keepdim: bool,
) -> Result<(Tensor, Tensor)> {
    let shape = if keepdim { with_size(x.shape(), dim, 1) } else { without(x.shape(), dim) };
    let (values, indices) = (reshaped(values, &shape)?, reshaped(index, &shape)?);
    let (size, kept, full) = (x.size(dim), with_size(x.shape(), dim, 1), x.dims());
    let saved = save(&indices);
    record_many(name, &[x], &[&values, &indices], move |ctx, g| {
        let Some(g) = &g[0] else {
            return Ok(smallvec![None]);
        };
        let index = view::reshape_to(&saved.get(ctx)?, &kept)?;
        let g = scatter_along(&view::reshape_to(g, &kept)?, &index, dim, size)?;
        Ok(smallvec![Some(view::reshape_to(&g, &full)?)])
    });
    Ok((values, indices))
}

/// Several values along `dim` in an order of their own (sort, topk), with their gradient.
pub fn pick_many(name: &'static str, x: &Tensor, index: Tensor, dim: usize) -> Result<(Tensor, Tensor)> {
    let values = gather_along(&x.detach(), &index, dim)?;
    let (size, full) = (x.size(dim), x.dims());
    let saved = save(&index);
    record_many(name, &[x], &[&values, &index], move |ctx, g| {
        let Some(g) = &g[0] else {
            return Ok(smallvec![None]);
        };
        let g = scatter_along(g, &saved.get(ctx)?, dim, size)?;
        Ok(smallvec![Some(view::reshape_to(&g, &full)?)])
    });
    Ok((values, index))
}

/// `wrap_dim` and an error for an empty dimension that `op` cannot reduce.
pub fn nonempty_dim(x: &Tensor, dim: i64, op: &str) -> Result<usize> {
    let d = wrap_dim(dim, x.ndim())?;
    ensure!(x.size(d) > 0, Index, "{op}(): Expected reduction dim {d} to have non-zero size.");
    Ok(d)
}

/// Tensors one after the other along `dim`, of equal dtype. Differentiable.
pub fn join(parts: &[&Tensor], dim: usize) -> Result<Tensor> {
    let sizes: Vec<usize> = parts.iter().map(|p| p.size(dim)).collect();
    let out = Tensor::empty(&with_size(parts[0].shape(), dim, sizes.iter().sum()), parts[0].dtype(), parts[0].device())?;
    let mut at = 0;
    for (p, &n) in parts.iter().zip(&sizes) {
        ensure!(
            p.ndim() == out.ndim() && (0..out.ndim()).all(|d| d == dim || p.shape()[d] == out.shape()[d]),
            Runtime,
            "Sizes of tensors must match except in dimension {dim}."
        );
        copy::copy_raw(&view::narrow(&out, dim as i64, at, n as i64)?, &p.detach())?;
        at += n as i64;
    }
    Ok(record("CatBackward0", parts, out.detach(), move |_, g| {
        let mut at = 0;
        sizes
            .iter()
            .map(|&n| {
                let part = view::narrow(g, dim as i64, at, n as i64)?;
                at += n as i64;
                Ok(Some(part))
            })
            .collect()
    }))
}
