//! What reductions, scans and sorts share: the block form of a tensor along a dimension, the folding
//! kernel, picking by index with its gradient, and short names for elementwise calls.

use crate::autograd::{record, record_many, save};
use crate::cpu::threads::{SendPtr, parallel_for};
use crate::dtype::{Dtype, Element, Scalar};
use crate::error::Result;
use crate::expr::Operand;
use crate::expr::eval::compute_dtype;
use crate::layout::{Dims, wrap_dim};
use crate::ops::elementwise::{Compiled, Row, WHERE, apply};
use crate::ops::{copy, view};
use crate::tensor::Tensor;
use crate::{dispatch, ensure};
use smallvec::smallvec;
use std::sync::Arc;

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
pub fn choose(
    cond: &Tensor,
    a: impl Into<Choice>,
    b: impl Into<Choice>,
    d: Dtype,
) -> Result<Tensor> {
    apply(
        WHERE.compiled(),
        &[Operand::T(cond.clone()), a.into().0, b.into().0],
        &[],
        d,
        d,
        None,
    )
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
        static F: std::sync::OnceLock<std::sync::Arc<$crate::ops::elementwise::Compiled>> =
            std::sync::OnceLock::new();
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
impl<T: Copy + std::ops::Add<Output = T> + std::ops::Sub<Output = T> + std::ops::Mul<Output = T>>
    std::ops::Mul for Pair<T>
{
    type Output = Pair<T>;
    fn mul(self, o: Pair<T>) -> Pair<T> {
        Pair(self.0 * o.0 - self.1 * o.1, self.0 * o.1 + self.1 * o.0)
    }
}

/// An ordered kernel type: f32, f64, i64.
pub trait Real: Element + PartialOrd + Default {
    const LOWEST: Self;
    const HIGHEST: Self;
    fn nan(self) -> bool;
}
impl Real for f32 {
    const LOWEST: f32 = f32::NEG_INFINITY;
    const HIGHEST: f32 = f32::INFINITY;
    #[inline(always)]
    fn nan(self) -> bool {
        self.is_nan()
    }
}
impl Real for f64 {
    const LOWEST: f64 = f64::NEG_INFINITY;
    const HIGHEST: f64 = f64::INFINITY;
    #[inline(always)]
    fn nan(self) -> bool {
        self.is_nan()
    }
}
impl Real for i64 {
    const LOWEST: i64 = i64::MIN;
    const HIGHEST: i64 = i64::MAX;
    #[inline(always)]
    fn nan(self) -> bool {
        false
    }
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
    let marked: Vec<usize> = (0..x.ndim())
        .filter(|&d| gone[d] && shape[d] != 1)
        .collect();
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
    Ok(Block {
        data,
        outer,
        len,
        inner: 1,
    })
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
    let l = crate::layout::Layout::strided(
        shape,
        &crate::layout::contiguous_strides(shape),
        c.layout().offset,
    )?;
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

// ---- folding ----

/// Rows shorter than this are folded by one thread.
const PIECE: usize = 1 << 16;

/// Folds a row in a fixed order: eight lanes, blocks merged pairwise, so that sums stay accurate.
pub fn fold_row<T: Copy, A: Copy>(
    row: &[T],
    init: A,
    f: &impl Fn(A, T) -> A,
    merge: &impl Fn(A, A) -> A,
) -> A {
    const BLOCK: usize = 1024;
    if row.len() > BLOCK {
        let mid = (row.len() / 2).next_multiple_of(BLOCK).min(row.len() - 1);
        return merge(
            fold_row(&row[..mid], init, f, merge),
            fold_row(&row[mid..], init, f, merge),
        );
    }
    if row.len() < 8 {
        return row.iter().fold(init, |a, &v| f(a, v));
    }
    let mut lanes = [init; 8];
    let mut chunks = row.chunks_exact(8);
    for c in &mut chunks {
        for k in 0..8 {
            lanes[k] = f(lanes[k], c[k]);
        }
    }
    for (k, &v) in chunks.remainder().iter().enumerate() {
        lanes[k] = f(lanes[k], v);
    }
    merge(
        merge(merge(lanes[0], lanes[4]), merge(lanes[2], lanes[6])),
        merge(merge(lanes[1], lanes[5]), merge(lanes[3], lanes[7])),
    )
}

/// [`fold_row`] on all threads; the pieces depend on the length alone.
pub fn fold_long<T: Copy + Sync, A: Copy + Send + Sync>(
    row: &[T],
    init: A,
    f: &(impl Fn(A, T) -> A + Sync),
    merge: &(impl Fn(A, A) -> A + Sync),
) -> A {
    if row.len() <= PIECE {
        return fold_row(row, init, f, merge);
    }
    let mut parts = vec![init; row.len().div_ceil(PIECE)];
    let to = SendPtr(parts.as_mut_ptr());
    parallel_for(parts.len(), 1, |range| {
        for p in range {
            let part = fold_row(
                &row[p * PIECE..((p + 1) * PIECE).min(row.len())],
                init,
                f,
                merge,
            );
            // SAFETY: part `p` belongs to this piece.
            unsafe { *to.get().add(p) = part };
        }
    });
    fold_row(&parts, init, merge, merge)
}

/// Columns `0..acc.len()` of `len` rows that lie `stride` apart.
fn fold_columns<T: Copy, A: Copy>(
    x: &[T],
    stride: usize,
    len: usize,
    acc: &mut [A],
    init: A,
    f: &impl Fn(A, T) -> A,
    merge: &impl Fn(A, A) -> A,
) {
    if len > 64 {
        let mid = len / 2;
        fold_columns(x, stride, mid, acc, init, f, merge);
        let mut other = vec![init; acc.len()];
        fold_columns(
            &x[mid * stride..],
            stride,
            len - mid,
            &mut other,
            init,
            f,
            merge,
        );
        for (a, b) in acc.iter_mut().zip(other) {
            *a = merge(*a, b);
        }
        return;
    }
    acc.fill(init);
    for i in 0..len {
        for (a, &v) in acc.iter_mut().zip(&x[i * stride..]) {
            *a = f(*a, v);
        }
    }
}

/// Folds the middle axis of a block of `x`: `out[o, j]` from `x[o, .., j]`. Same bits for any number of
/// threads.
pub fn fold_block<T: Copy + Sync, A: Copy + Send + Sync>(
    x: &[T],
    b: &Block,
    out: &mut [A],
    init: A,
    f: impl Fn(A, T) -> A + Sync,
    merge: impl Fn(A, A) -> A + Sync,
) {
    let (outer, len, inner) = (b.outer, b.len, b.inner);
    assert!(x.len() == outer * len * inner && out.len() == outer * inner);
    if len == 0 || out.is_empty() {
        out.fill(init);
        return;
    }
    let to = SendPtr(out.as_mut_ptr());
    if inner == 1 {
        if len > PIECE && outer < 64 {
            for (row, o) in x.chunks_exact(len).zip(out) {
                *o = fold_long(row, init, &f, &merge);
            }
            return;
        }
        parallel_for(outer, (PIECE / len).max(1), |range| {
            for o in range {
                let v = fold_row(&x[o * len..(o + 1) * len], init, &f, &merge);
                // SAFETY: result `o` belongs to this piece.
                unsafe { *to.get().add(o) = v };
            }
        });
        return;
    }
    const WIDTH: usize = 1024;
    let chunks = inner.div_ceil(WIDTH);
    // Tall blocks are cut along the folded axis as well.
    let tall = (PIECE / inner.min(WIDTH)).max(64);
    let pieces = if outer * chunks < 64 {
        len.div_ceil(tall)
    } else {
        1
    };
    if pieces > 1 {
        let mut parts = vec![init; outer * pieces * inner];
        let to = SendPtr(parts.as_mut_ptr());
        parallel_for(outer * pieces * chunks, 1, |range| {
            for task in range {
                let (o, p, c) = (
                    task / chunks / pieces,
                    task / chunks % pieces,
                    task % chunks,
                );
                let (r0, c0) = (p * tall, c * WIDTH);
                let (rows, w) = (tall.min(len - r0), WIDTH.min(inner - c0));
                // SAFETY: these columns of part (o, p) belong to this piece.
                let acc = unsafe { to.slice((o * pieces + p) * inner + c0, w) };
                fold_columns(
                    &x[(o * len + r0) * inner + c0..],
                    inner,
                    rows,
                    acc,
                    init,
                    &f,
                    &merge,
                );
            }
        });
        let whole = Block {
            data: b.data.clone(),
            outer,
            len: pieces,
            inner,
        };
        for o in 0..outer {
            let acc = &mut out[o * inner..(o + 1) * inner];
            fold_columns(
                &parts[o * pieces * inner..],
                inner,
                whole.len,
                acc,
                init,
                &merge,
                &merge,
            );
        }
        return;
    }
    parallel_for(
        outer * chunks,
        (PIECE / (len * inner.min(WIDTH))).max(1),
        |range| {
            for task in range {
                let (o, c0) = (task / chunks, task % chunks * WIDTH);
                let w = WIDTH.min(inner - c0);
                // SAFETY: these columns of result `o` belong to this piece.
                let acc = unsafe { to.slice(o * inner + c0, w) };
                fold_columns(
                    &x[o * len * inner + c0..],
                    inner,
                    len,
                    acc,
                    init,
                    &f,
                    &merge,
                );
            }
        },
    );
}

// ---- picking by index ----

/// `out[o, i, j] = x[o, index[o, i, j], j]` along `dim`; the other sizes are equal. Differentiable.
pub fn gather_along(x: &Tensor, index: &Tensor, dim: usize) -> Result<Tensor> {
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
    let bad = index
        .data::<i64>()
        .iter()
        .find(|&&i| i < 0 || i as u64 >= size as u64);
    ensure!(
        bad.is_none(),
        Index,
        "index {} is out of bounds for dimension with size {size}",
        bad.unwrap()
    );
    Ok(())
}

/// Zeros of `size` along `dim` to which `g[o, i, j]` is added at `index[o, i, j]`. Differentiable.
pub fn scatter_along(g: &Tensor, index: &Tensor, dim: usize, size: usize) -> Result<Tensor> {
    let (bg, bi) = (along(g, dim)?, along(index, dim)?);
    ensure!(
        g.shape() == index.shape(),
        Runtime,
        "scatter: shapes differ"
    );
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
    Ok(record("ScatterAddBackward0", &[g], out, move |ctx, g| {
        Ok(smallvec![Some(gather_along(g, &saved.get(ctx)?, dim)?)])
    }))
}

/// Values at one index along `dim`: the result of an op that picks an element (max, median, ...), with
/// its gradient. `index` has size 1 there.
pub fn pick(
    name: &'static str,
    x: &Tensor,
    index: &Tensor,
    dim: usize,
    keepdim: bool,
) -> Result<(Tensor, Tensor)> {
    let values = gather_along(&x.detach(), index, dim)?;
    let shape = if keepdim {
        with_size(x.shape(), dim, 1)
    } else {
        without(x.shape(), dim)
    };
    let (values, indices) = (reshaped(&values, &shape)?, reshaped(index, &shape)?);
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
pub fn pick_many(
    name: &'static str,
    x: &Tensor,
    index: Tensor,
    dim: usize,
) -> Result<(Tensor, Tensor)> {
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
    ensure!(
        x.size(d) > 0,
        Index,
        "{op}(): Expected reduction dim {d} to have non-zero size."
    );
    Ok(d)
}

/// Tensors one after the other along `dim`, of equal dtype. Differentiable.
pub fn join(parts: &[&Tensor], dim: usize) -> Result<Tensor> {
    let sizes: Vec<usize> = parts.iter().map(|p| p.size(dim)).collect();
    let out = Tensor::empty(
        &with_size(parts[0].shape(), dim, sizes.iter().sum()),
        parts[0].dtype(),
        parts[0].device(),
    )?;
    let mut at = 0;
    for (p, &n) in parts.iter().zip(&sizes) {
        ensure!(
            p.ndim() == out.ndim()
                && (0..out.ndim()).all(|d| d == dim || p.shape()[d] == out.shape()[d]),
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
