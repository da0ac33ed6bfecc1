//! Small helpers that the kernels of the nn families share.

use crate::dtype::Dtype;
use crate::error::Result;
use crate::expr::Operand;
use crate::layout::Layout;
use crate::ops::elementwise::Row;
use crate::ops::{copy, reduce};
use crate::tensor::Tensor;

/// The values in the dtype that kernels compute in, row-major, without history.
pub fn dense(x: &Tensor) -> Result<Tensor> {
    copy::contiguous(&copy::to_dtype(&x.detach(), x.dtype().compute())?)
}

/// As [`dense`], but where all rows of the dimensions from `lead` on are one and the same in memory (a gradient that was
/// stretched), only that row.
pub fn rows_or_one(x: &Tensor, lead: usize) -> Result<Tensor> {
    dense(&row_or_all(x, lead)?)
}

/// Where all rows of the dimensions from `lead` on are one and the same in memory, only that row, else all of `x`.
pub fn row_or_all(x: &Tensor, lead: usize) -> Result<Tensor> {
    let one = (0..lead.min(x.ndim())).all(|d| x.strides()[d] == 0 && x.shape()[d] > 0);
    if !one || lead == 0 || lead > x.ndim() {
        return Ok(x.clone());
    }
    let row = Layout::strided(&x.shape()[lead..], &x.strides()[lead..], x.layout().offset)?;
    Ok(Tensor::from_parts(x.storage().clone(), row, x.dtype()))
}

/// An optional tensor as [`dense`], converted to `dtype`.
pub fn dense_as(x: Option<&Tensor>, dtype: Dtype) -> Result<Option<Tensor>> {
    x.map(|x| copy::contiguous(&copy::to_dtype(&x.detach(), dtype)?)).transpose()
}

/// A row of the elementwise table over two tensors.
pub fn op2(row: &'static Row, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    row.call(&[Operand::T(a.clone()), Operand::T(b.clone())], &[], None)
}
/// A row of the elementwise table over one tensor.
pub fn op1(row: &'static Row, a: &Tensor) -> Result<Tensor> {
    row.call(&[Operand::T(a.clone())], &[], None)
}
/// A row of the elementwise table over a tensor and a number.
pub fn ops(row: &'static Row, a: &Tensor, s: f64) -> Result<Tensor> {
    row.call(&[Operand::T(a.clone()), Operand::S(s.into())], &[], None)
}
/// The sum over dimensions, which stay with size 1.
pub fn sum_keep(x: &Tensor, dims: &[i64]) -> Result<Tensor> {
    reduce::sum(x, Some(dims), true, None)
}
