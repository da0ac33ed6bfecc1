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
        exp_f32(self)
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

/// e^x without branches, so that loops over it become vector code; within 1.5 units in the last place.
/// x = k ln 2 + r with |r| <= ln 2 / 2; e^r by its series; the exponent k is put in as two factors, so that
/// subnormal results are right too.
#[inline(always)]
fn exp_f32(x: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to a whole number
    let nan = x.is_nan();
    let x = if x > 89.0 { 89.0 } else { x };
    let x = if x > -104.0 { x } else { -104.0 };
    let k = (x * std::f32::consts::LOG2_E + MAGIC) - MAGIC;
    // ln 2 in two parts, the first exact when multiplied by k.
    let r = (x - k * 0.693_359_4) - k * -2.121_944_4e-4;
    let p = 1.987_569_1e-4f32;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let y = p * (r * r) + r + 1.0;
    let k = k as i32;
    let half = k >> 1;
    let y = y * f32::from_bits(((half + 127) as u32) << 23) * f32::from_bits(((k - half + 127) as u32) << 23);
    if nan { f32::NAN } else { y }
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

#[cfg(test)]
mod tests {
    use super::exp_f32;

    #[test]
    fn fast_exp() {
        let mut worst = 0.0f64;
        for i in -105_000..90_000 {
            let x = i as f32 * 1e-3;
            let (got, want) = (exp_f32(x) as f64, (x as f64).exp());
            if want < f32::MAX as f64 && want > f32::MIN_POSITIVE as f64 {
                worst = worst.max((got - want).abs() / want);
            } else if want <= f32::MIN_POSITIVE as f64 {
                assert!((got - want).abs() <= 3e-45, "{x}");
            }
        }
        assert!(worst < 2e-7, "{worst}");
        assert_eq!(exp_f32(0.0), 1.0);
        assert_eq!(exp_f32(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp_f32(f32::INFINITY), f32::INFINITY);
        assert!(exp_f32(f32::NAN).is_nan());
    }
}
