//! Indexing with tensors: gather, scatter, index_*, masked_*, take, nonzero, where.

pub mod advanced;
pub mod along;
pub mod lanes;
pub mod mask;
pub mod select;
pub mod write;

use super::Registry;
use crate::dtype::{Dtype, Scalar};
use crate::ensure;
use crate::error::Result;
use crate::expr::Operand;
use crate::tensor::Tensor;

pub use advanced::{index, index_put};
pub use along::{gather, scatter, scatter_add};
pub use mask::{masked_fill, masked_select, nonzero};
pub use select::{index_add, index_select};

/// A tensor as an operand.
pub(crate) fn t(x: &Tensor) -> Operand {
    Operand::T(x.clone())
}

/// Values where a tensor of a GPU is: one number may come from the CPU.
pub(crate) fn beside(values: &Tensor, x: &Tensor) -> Result<Tensor> {
    if values.device() == x.device() || values.numel() != 1 {
        return Ok(values.clone());
    }
    if values.dtype().is_complex() {
        return crate::ops::copy::to_device(&values.detach(), x.device());
    }
    Tensor::full(values.shape(), values.detach().item()?, values.dtype(), x.device())
}

/// Whether a number can be stored in a dtype without overflow.
fn fits(s: Scalar, d: Dtype) -> bool {
    let whole = |lo: f64, hi: f64| match s {
        Scalar::Int(i) => (i as f64) >= lo && (i as f64) <= hi,
        Scalar::Float(f) => f > lo - 1.0 && f < hi + 1.0,
        _ => true,
    };
    if matches!(s, Scalar::Complex(_, im) if im != 0.0) && !d.is_complex() {
        return false;
    }
    match d {
        Dtype::U8 => whole(-255.0, 255.0),
        Dtype::I8 => whole(-128.0, 127.0),
        Dtype::I16 => whole(-32768.0, 32767.0),
        Dtype::I32 => whole(-2147483648.0, 2147483647.0),
        Dtype::I64 => !matches!(s, Scalar::Float(f) if !(-9.3e18..9.3e18).contains(&f)),
        Dtype::F32 => !matches!(s, Scalar::Float(f) if f.is_finite() && f.abs() > f32::MAX as f64),
        _ => true,
    }
}

/// A number as a 0-d tensor of a dtype; an error where it does not fit.
pub fn fill_value(s: Scalar, d: Dtype) -> Result<Tensor> {
    let name = match d {
        Dtype::U8 => "uint8_t",
        Dtype::I8 => "int8_t",
        Dtype::I16 => "int16_t",
        Dtype::I64 => "int64_t",
        d => d.cpp_name(),
    };
    ensure!(fits(s, d), Runtime, "value cannot be converted to type {name} without overflow");
    Ok(Tensor::scalar(s, d))
}

pub(super) fn register(r: &mut Registry) {
    r.op("_", "_index(Tensor self, Tensor?[] indices) -> Tensor", "Indexing with tensors.", |a| {
        index(a.t(0), a.ots(1)).map(Into::into)
    });
    r.op(
        "fmi",
        "index_put(Tensor self, Tensor?[] indices, Tensor values, bool accumulate=False) -> Tensor",
        "values written (or added) at indices.",
        |a| index_put(a.t(0), a.ots(1), a.t(2), a.b(3), a.target.as_ref()).map(Into::into),
    );
    along::register(r);
    select::register(r);
    mask::register(r);
    write::register(r);
}
