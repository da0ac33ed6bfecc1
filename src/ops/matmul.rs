//! Matrix products: matmul and its kin, einsum, addmm, bilinear.

use super::{Registry, Ret};
use crate::error::Result;
use crate::tensor::Tensor;
use crate::bail;

/// `a @ b` in all rank combinations.
pub fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let _ = (a, b);
    bail!(NotImplemented, "matmul")
}

pub(super) fn register(r: &mut Registry) {
    r.op("fm", "matmul(Tensor self, Tensor other) -> Tensor", "Matrix product.", |a| matmul(a.t(0), a.t(1)).map(Ret::from));
}
