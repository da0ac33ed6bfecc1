//! Reductions over dimensions.

use super::{Registry, Ret, copy, view};
use crate::autograd::record;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::expr::eval::compute_dtype;
use crate::layout::{Dims, wrap_dim};
use crate::tensor::Tensor;
use crate::ensure;
use smallvec::{SmallVec, smallvec};

/// Which dimensions a reduction removes: none given (or an empty list) means all.
pub fn reduced_dims(ndim: usize, dims: Option<&[i64]>) -> Result<SmallVec<[bool; 8]>> {
    let mut gone: SmallVec<[bool; 8]> = SmallVec::from_elem(false, ndim);
    match dims {
        None | Some([]) => gone.fill(true),
        Some(dims) => {
            for &d in dims {
                let d = wrap_dim(d, ndim)?;
                if ndim > 0 {
                    ensure!(!std::mem::replace(&mut gone[d], true), Runtime, "dim {d} appears multiple times in the list of dims");
                }
            }
        }
    }
    Ok(gone)
}

/// The shape after a reduction.
pub fn reduced_shape(shape: &[usize], gone: &[bool], keepdim: bool) -> Dims {
    shape.iter().zip(gone).filter_map(|(&s, &g)| if !g { Some(s) } else if keepdim { Some(1) } else { None }).collect()
}

/// The input with kept dimensions first and reduced ones last, contiguous: rows to reduce. Answers the
/// tensor (no history), the number of rows and their length.
pub fn rows(x: &Tensor, gone: &[bool]) -> Result<(Tensor, usize, usize)> {
    let order: Vec<i64> = (0..x.ndim()).filter(|&d| !gone[d]).chain((0..x.ndim()).filter(|&d| gone[d])).map(|d| d as i64).collect();
    let moved = view::permute(&x.detach(), &order)?;
    let row: usize = (0..x.ndim()).filter(|&d| gone[d]).map(|d| x.shape()[d]).product();
    let count: usize = (0..x.ndim()).filter(|&d| !gone[d]).map(|d| x.shape()[d]).product();
    Ok((copy::contiguous(&moved)?, count, row))
}

/// Sum of a row in a fixed order: eight lanes, blocks added pairwise, so that the error stays small.
pub fn sum_row<T: Copy + std::ops::Add<Output = T> + Default>(row: &[T]) -> T {
    const BLOCK: usize = 1024;
    if row.len() > BLOCK {
        let mid = (row.len() / 2).next_multiple_of(BLOCK).min(row.len() - 1);
        return sum_row(&row[..mid]) + sum_row(&row[mid..]);
    }
    let mut lanes = [T::default(); 8];
    let mut chunks = row.chunks_exact(8);
    for c in &mut chunks {
        for k in 0..8 {
            lanes[k] = lanes[k] + c[k];
        }
    }
    let mut total = (lanes[0] + lanes[4]) + (lanes[2] + lanes[6]) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
    for &v in chunks.remainder() {
        total = total + v;
    }
    total
}

/// The dtype of a sum: integers and bools add up in int64.
pub fn sum_dtype(x: Dtype, asked: Option<Dtype>) -> Dtype {
    asked.unwrap_or(if x.is_integral() { Dtype::I64 } else { x })
}

fn sum_raw(x: &Tensor, gone: &[bool], dtype: Dtype) -> Result<Tensor> {
    x.check_data("sum")?;
    let acc = compute_dtype(dtype);
    let wide = copy::to_dtype(&x.detach(), acc)?;
    let (data, count, row) = rows(&wide, gone)?;
    let out = Tensor::empty(&reduced_shape(x.shape(), gone, true), acc, x.device())?;
    macro_rules! go {
        ($t:ty) => {
            for (i, o) in out.data_mut::<$t>().iter_mut().enumerate().take(count) {
                *o = sum_row(&data.data::<$t>()[i * row..(i + 1) * row]);
            }
        };
    }
    match acc {
        Dtype::F32 => go!(f32),
        Dtype::F64 => go!(f64),
        _ => {
            let lanes = out.data_mut::<i64>();
            for (i, o) in lanes.iter_mut().enumerate().take(count) {
                *o = data.data::<i64>()[i * row..(i + 1) * row].iter().fold(0i64, |a, &b| a.wrapping_add(b));
            }
        }
    }
    copy::to_dtype(&out, dtype)
}

/// Sum over `dims`. Differentiable.
pub fn sum(x: &Tensor, dims: Option<&[i64]>, keepdim: bool, dtype: Option<Dtype>) -> Result<Tensor> {
    let dtype = sum_dtype(x.dtype(), dtype);
    let gone = reduced_dims(x.ndim(), dims)?;
    let kept = sum_raw(x, &gone, dtype)?;
    let shape = reduced_shape(x.shape(), &gone, keepdim);
    let out = kept.alias(kept.layout().view(&shape)?.expect("contiguous")).detach();
    let (full, back) = (x.dims(), x.dtype());
    let with_ones = reduced_shape(x.shape(), &gone, true);
    let name = if dims.is_none() { "SumBackward0" } else { "SumBackward1" };
    Ok(record(name, &[x], out, move |_, g| {
        let g = view::reshape_to(g, &with_ones)?;
        let g = copy::to_dtype(&g, back)?;
        Ok(smallvec![Some(view::expand(&g, &full)?)])
    }))
}

/// Undoes broadcasting: sums what was stretched, so that the result has `shape`.
pub fn sum_to(g: &Tensor, shape: &[usize]) -> Result<Tensor> {
    if g.shape() == shape {
        return Ok(g.clone());
    }
    let lead = g.ndim() - shape.len();
    let dims: Vec<i64> = (0..g.ndim()).filter(|&d| d < lead || (shape[d - lead] == 1 && g.shape()[d] != 1)).map(|d| d as i64).collect();
    let s = if dims.is_empty() { g.clone() } else { sum(g, Some(&dims), true, None)? };
    view::reshape_to(&s, shape)
}

pub(super) fn register(r: &mut Registry) {
    r.op("fm", "sum(Tensor self, *, ScalarType? dtype=None) -> Tensor", "Sum of all elements.", |a| sum(a.t(0), None, false, a.dtype(1)).map(Ret::from));
    r.op(
        "fm",
        "sum(Tensor self, int[1]? dim, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
        "Sum over dimensions.",
        |a| sum(a.t(0), Some(a.ints(1)), a.b(2), a.dtype(3)).map(Ret::from),
    );
}
