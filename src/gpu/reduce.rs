//! Reductions: sums, products, extremes and where they are, moments.

use super::{Call, Gpu, fits, of};
use crate::dtype::{Dtype, Scalar};
use crate::error::Result;
use crate::layout::Layout;
use crate::tensor::Tensor;

/// A contiguous tensor as outer x len x inner, reduced along `len`.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub outer: usize,
    pub len: usize,
    pub inner: usize,
}

/// Elements of a column that one invocation folds.
const COLUMN: usize = 256;
/// Elements of a row that one workgroup folds.
const ROW: usize = 1 << 14;
/// Rows shorter than this are folded by one invocation each.
const SHORT: usize = 48;

/// The dtype in which a GPU adds up what the CPU adds up in `d`: float64 there is a matter of accuracy alone.
fn accumulator(x: &Tensor, d: Dtype) -> Dtype {
    if d == Dtype::F64 && x.dtype() != Dtype::F64 { Dtype::F32 } else { d }
}

/// Some elements of a contiguous tensor as a flat one.
fn piece(x: &Tensor, from: usize, n: usize) -> Result<Tensor> {
    Ok(x.alias(Layout::strided(&[n], &[1], x.layout().offset + from)?))
}

/// `x` (contiguous) folded by `op`, as a flat tensor of outer x inner elements. `start` is the result of nothing.
pub fn fold(x: &Tensor, s: Shape, op: &'static str, merge: &'static str, dtype: Dtype, start: Scalar) -> Result<Tensor> {
    let dtype = accumulator(x, dtype);
    let gpu = of(x)?;
    if dtype == Dtype::F64 {
        return Err(super::refuse(crate::ops::current(), dtype, gpu));
    }
    let count = s.outer * s.inner;
    if s.len == 0 {
        return Tensor::full(&[count], start, dtype, x.device());
    }
    let out = Tensor::empty(&[count], dtype, x.device())?;
    if count > 0 {
        into(gpu, x, s, op, merge, &out)?;
    }
    Ok(out)
}

fn into(gpu: &Gpu, x: &Tensor, s: Shape, op: &'static str, merge: &'static str, out: &Tensor) -> Result<()> {
    let Shape { outer, len, inner } = s;
    if !fits(x, gpu) || !fits(out, gpu) {
        return halves(gpu, x, s, op, merge, out);
    }
    let rows = inner == 1 && len > SHORT;
    let chunk = if rows { ROW } else { COLUMN };
    // Columns are cut only where there are few of them.
    let chunk = if !rows && outer * inner >= 1 << 16 { len.min(4096) } else { chunk };
    let chunks = len.div_ceil(chunk);
    let target = if chunks == 1 { out.clone() } else { Tensor::empty(&[outer * chunks * inner], out.dtype(), x.device())? };
    let (len32, chunk32, chunks32) = (len as u32, chunk.min(len) as u32, chunks as u32);
    let choice = [("OP", op)];
    if rows {
        let params = [len32, chunk32, chunks32];
        Call { name: "fold_rows", tensors: &[x, &target], params: &params, choice: &choice, n: outer * chunks }.run()?;
    } else {
        let params = [len32, inner as u32, chunk32, chunks32];
        Call { name: "fold_columns", tensors: &[x, &target], params: &params, choice: &choice, n: outer * chunks * inner }
            .run()?;
    }
    if chunks == 1 { Ok(()) } else { into(gpu, &target, Shape { outer, len: chunks, inner }, merge, merge, out) }
}

/// In two parts, where a tensor is more than a kernel can bind.
fn halves(gpu: &Gpu, x: &Tensor, s: Shape, op: &'static str, merge: &'static str, out: &Tensor) -> Result<()> {
    let Shape { outer, len, inner } = s;
    if outer > 1 {
        let half = outer / 2;
        for (from, n) in [(0, half), (half, outer - half)] {
            let part = piece(x, from * len * inner, n * len * inner)?;
            into(gpu, &part, Shape { outer: n, len, inner }, op, merge, &piece(out, from * inner, n * inner)?)?;
        }
        return Ok(());
    }
    if len == 1 {
        return Err(super::refuse(crate::ops::current(), x.dtype(), gpu));
    }
    let half = len / 2;
    let both = Tensor::empty(&[2 * inner], out.dtype(), x.device())?;
    for (k, (from, n)) in [(0, half), (half, len - half)].into_iter().enumerate() {
        let part = piece(x, from * inner, n * inner)?;
        into(gpu, &part, Shape { outer: 1, len: n, inner }, op, merge, &piece(&both, k * inner, inner)?)?;
    }
    into(gpu, &both, Shape { outer: 1, len: 2, inner }, merge, merge, out)
}

/// The extreme of every column of `x` (contiguous), and the first place where it is; flat, `op` is `max` or `min`.
pub fn extreme(x: &Tensor, s: Shape, op: &'static str) -> Result<(Tensor, Tensor)> {
    let n = s.outer * s.inner;
    let best = Tensor::empty(&[n], x.dtype(), x.device())?;
    let index = Tensor::empty(&[n], Dtype::I64, x.device())?;
    let params = [s.len as u32, s.inner as u32];
    let name = if s.len > SHORT && (s.inner == 1 || n < 1 << 12) { "extreme" } else { "extreme_columns" };
    Call { name, tensors: &[x, &best, &index], params: &params, choice: &[("OP", op)], n }.run()?;
    Ok((best, index))
}

/// Mean, and sum of squared distances from it, of every column of `x` (contiguous, of a float dtype); float32, flat.
pub fn moments(x: &Tensor, s: Shape) -> Result<(Tensor, Tensor)> {
    if x.dtype() == Dtype::F64 {
        return Err(super::refuse(crate::ops::current(), x.dtype(), of(x)?));
    }
    let n = s.outer * s.inner;
    let mean = Tensor::empty(&[n], Dtype::F32, x.device())?;
    let m2 = Tensor::empty(&[n], Dtype::F32, x.device())?;
    let params = [s.len as u32, s.inner as u32];
    let name = if s.len > SHORT && (s.inner == 1 || n < 1 << 12) { "moments_rows" } else { "moments_columns" };
    Call { name, tensors: &[x, &mean, &m2], params: &params, choice: &[], n }.run()?;
    Ok((mean, m2))
}
