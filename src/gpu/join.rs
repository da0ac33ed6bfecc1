//! Triangles of matrices, on a GPU.

use super::call;
use crate::error::Result;
use crate::ops::complex;
use crate::tensor::Tensor;

/// Contiguous matrices without what is above (or below) a diagonal, to contiguous memory, which may be the same.
pub fn triangle(x: &Tensor, out: &Tensor, diagonal: i64, lower: bool) -> Result<()> {
    let (rows, cols) = (x.shape()[x.ndim() - 2], x.shape()[x.ndim() - 1]);
    let edge = diagonal.clamp(-(1 << 30), 1 << 30) as i32;
    if x.dtype().is_complex() {
        let (x, out) = (complex::pairs(x)?, complex::pairs(out)?);
        let params = [rows as u32, cols as u32, 2, edge as u32, lower as u32];
        return call("triangle", &[&x, &out], &params, x.numel());
    }
    call("triangle", &[x, out], &[rows as u32, cols as u32, 1, edge as u32, lower as u32], x.numel())
}
