//! The two float types that kernels compute in, and the small helpers that the kernels of the nn families share.

use crate::dtype::{Dtype, Element};
use crate::error::Result;
use crate::expr::Operand;
use crate::layout::Layout;
use crate::ops::elementwise::Row;
use crate::ops::{copy, reduce};
use crate::tensor::Tensor;
use std::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

/// f32 or f64.
pub trait Num:
    Element
    + Default
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
{
    const ZERO: Self;
    const ONE: Self;
    const LOWEST: Self;
    /// The exponential, for arguments up to 0 fast enough to run over whole rows.
    fn exp(self) -> Self;
    fn ln(self) -> Self;
    fn sqrt(self) -> Self;
    fn of(v: f64) -> Self {
        Self::from_f64(v)
    }
}

impl Num for f32 {
    const ZERO: f32 = 0.0;
    const ONE: f32 = 1.0;
    const LOWEST: f32 = f32::NEG_INFINITY;
    #[inline(always)]
    fn exp(self) -> f32 {
        crate::cpu::math::exp::<false>(self)
    }
    #[inline(always)]
    fn ln(self) -> f32 {
        f32::ln(self)
    }
    #[inline(always)]
    fn sqrt(self) -> f32 {
        f32::sqrt(self)
    }
}

impl Num for f64 {
    const ZERO: f64 = 0.0;
    const ONE: f64 = 1.0;
    const LOWEST: f64 = f64::NEG_INFINITY;
    #[inline(always)]
    fn exp(self) -> f64 {
        f64::exp(self)
    }
    #[inline(always)]
    fn ln(self) -> f64 {
        f64::ln(self)
    }
    #[inline(always)]
    fn sqrt(self) -> f64 {
        f64::sqrt(self)
    }
}

/// The values in the dtype that kernels compute in, row-major, without history.
pub fn dense(x: &Tensor) -> Result<Tensor> {
    copy::contiguous(&copy::to_dtype(&x.detach(), x.dtype().compute())?)
}

/// As [`dense`], but where all rows of the dimensions from `lead` on are one and the same in memory (a gradient that was
/// stretched), only that row.
pub fn rows_or_one(x: &Tensor, lead: usize) -> Result<Tensor> {
    let one = (0..lead.min(x.ndim())).all(|d| x.strides()[d] == 0 && x.shape()[d] > 0);
    if !one || lead == 0 || lead > x.ndim() {
        return dense(x);
    }
    let row = Layout::strided(&x.shape()[lead..], &x.strides()[lead..], x.layout().offset)?;
    dense(&Tensor::from_parts(x.storage().clone(), row, x.dtype()))
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

/// The sum of products, in a fixed order with small errors, as `reduce::sum_row`.
pub fn dot_row<T: Num>(a: &[T], b: &[T]) -> T {
    const BLOCK: usize = 1024;
    if a.len() > BLOCK {
        let mid = (a.len() / 2).next_multiple_of(BLOCK).min(a.len() - 1);
        return dot_row(&a[..mid], &b[..mid]) + dot_row(&a[mid..], &b[mid..]);
    }
    let mut lanes = [T::ZERO; 8];
    for (x, y) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        for k in 0..8 {
            lanes[k] += x[k] * y[k];
        }
    }
    let mut total = (lanes[0] + lanes[4]) + (lanes[2] + lanes[6]) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
    for k in a.len() / 8 * 8..a.len() {
        total += a[k] * b[k];
    }
    total
}
