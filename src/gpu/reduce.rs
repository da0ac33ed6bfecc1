//! Reductions: sums, products, extremes and where they are, moments.

use super::{Call, call, index, of};
use crate::cpu::reduce::Shape;
use crate::dtype::{Dtype, Scalar};
use crate::error::Result;
use crate::layout::Layout;
use crate::tensor::Tensor;

/// Elements of a column that one invocation reduces.
const COLUMN: usize = 256;
/// The same where there are [`MANY`] columns.
const LONG_COLUMN: usize = 1 << 12;
const MANY: usize = 1 << 16;
/// Elements of a row that one workgroup reduces.
const ROW: usize = 1 << 14;
/// Rows up to this length are reduced by one invocation each.
const SHORT: usize = 48;

/// The dtype in which a GPU adds up what the CPU adds up in `d`: float64 there is a matter of accuracy alone.
fn accumulator(x: &Tensor, d: Dtype) -> Dtype {
    if d == Dtype::F64 && x.dtype() != Dtype::F64 { Dtype::F32 } else { d }
}

/// `x` (contiguous) folded by `op`, as a flat tensor of outer x inner elements. `start` is the result of nothing.
pub fn fold(x: &Tensor, s: Shape, op: &'static str, merge: &'static str, dtype: Dtype, start: Scalar) -> Result<Tensor> {
    let dtype = accumulator(x, dtype);
    if dtype == Dtype::F64 {
        return Err(super::refuse(crate::ops::current(), dtype, of(x)?));
    }
    let count = s.outer * s.inner;
    if s.len == 0 {
        return Tensor::full(&[count], start, dtype, x.device());
    }
    let out = Tensor::empty(&[count], dtype, x.device())?;
    if count > 0 {
        into(x, s, op, merge, &out)?;
    }
    Ok(out)
}

/// How a kernel goes over a tensor: cut into chunks of a fixed size, whose results are reduced again, unless there are enough
/// columns to keep a GPU busy.
struct Cut {
    shape: Shape,
    /// By a workgroup for each chunk of a row, not by an invocation for each chunk of a column.
    rows: bool,
    chunk: usize,
    chunks: usize,
}

impl Cut {
    /// `shape.len` is not 0.
    fn new(shape: Shape) -> Cut {
        let Shape { outer, len, inner } = shape;
        let rows = inner == 1 && len > SHORT;
        let chunk = match rows {
            true => ROW,
            false if outer * inner >= MANY => LONG_COLUMN,
            false => COLUMN,
        };
        let chunk = chunk.min(len);
        Cut { shape, rows, chunk, chunks: len.div_ceil(chunk) }
    }

    /// What is left to reduce.
    fn left(&self) -> Shape {
        Shape { len: self.chunks, ..self.shape }
    }

    /// Results of this step.
    fn count(&self) -> usize {
        self.shape.outer * self.chunks * self.shape.inner
    }

    /// Runs one of two kernels: for chunks of rows and for those of columns.
    fn run(&self, [rows, columns]: [&'static str; 2], tensors: &[&Tensor], choice: &[(&str, &str)]) -> Result<()> {
        let words = [self.shape.len, self.shape.inner, self.chunk, self.chunks].map(|v| v as u32);
        if self.rows {
            let params = [words[0], words[2], words[3]];
            return Call { name: rows, tensors, params: &params, choice, n: self.count() }.run();
        }
        Call { name: columns, tensors, params: &words, choice, n: self.count() }.run()
    }
}

fn into(x: &Tensor, s: Shape, op: &'static str, merge: &'static str, out: &Tensor) -> Result<()> {
    let cut = Cut::new(s);
    let whole = cut.chunks == 1;
    let target = if whole { out.clone() } else { Tensor::empty(&[cut.count()], out.dtype(), x.device())? };
    cut.run(["fold_rows", "fold_columns"], &[x, &target], &[("OP", op)])?;
    if whole { Ok(()) } else { into(&target, cut.left(), merge, merge, out) }
}

/// The extreme of every column of `x` (contiguous), and the first place where it is; flat, `op` is `max` or `min`.
pub fn extreme(x: &Tensor, s: Shape, op: &'static str) -> Result<(Tensor, Tensor)> {
    if s.outer * s.inner == 0 {
        return Ok((Tensor::empty(&[0], x.dtype(), x.device())?, Tensor::empty(&[0], Dtype::I64, x.device())?));
    }
    let cut = Cut::new(s);
    let best = Tensor::empty(&[cut.count()], x.dtype(), x.device())?;
    let index = Tensor::empty(&[cut.count()], Dtype::I64, x.device())?;
    cut.run(["extreme_rows", "extreme_columns"], &[x, &best, &index], &[("OP", op)])?;
    if cut.chunks == 1 {
        return Ok((best, index));
    }
    let (best, chunk) = extreme(&best, cut.left(), op)?;
    let place = Tensor::empty(&[s.outer * s.inner], Dtype::I64, x.device())?;
    let chunk = chunk.alias(Layout::contiguous(&[s.outer, 1, s.inner])?);
    let chunks = Layout::contiguous(&[s.outer, cut.chunks, s.inner])?;
    index::read(&index, &index::Lanes::along(&chunks, 1, &chunk, String::new()), &place)?;
    Ok((best, place))
}

/// Mean, and sum of squared distances from it, of every column of `x` (contiguous, of a float dtype); float32, flat.
pub fn moments(x: &Tensor, s: Shape) -> Result<(Tensor, Tensor)> {
    if x.dtype() == Dtype::F64 {
        return Err(super::refuse(crate::ops::current(), x.dtype(), of(x)?));
    }
    let n = s.outer * s.inner;
    if s.len == 0 {
        let zeros = || Tensor::zeros(&[n], Dtype::F32, x.device());
        return Ok((zeros()?, zeros()?));
    }
    let new = |n: usize| Tensor::empty(&[n], Dtype::F32, x.device());
    let cut = Cut::new(s);
    let (means, m2s) = (new(cut.count())?, new(cut.count())?);
    cut.run(["moments_rows", "moments_columns"], &[x, &means, &m2s], &[])?;
    if cut.chunks == 1 {
        return Ok((means, m2s));
    }
    let (mean, m2) = (new(n)?, new(n)?);
    let params = [s.len, s.inner, cut.chunk, cut.chunks].map(|v| v as u32);
    call("moments_join", &[&means, &m2s, &mean, &m2], &params, n)?;
    Ok((mean, m2))
}
