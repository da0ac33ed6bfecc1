//! Elementwise ops with several results, on a GPU.

use super::{call, of, refuse};
use crate::dtype::Dtype;
use crate::error::Result;
use crate::ops::copy;
use crate::tensor::Tensor;

/// Mantissas in [0.5, 1) and exponents.
pub fn frexp(x: &Tensor) -> Result<(Tensor, Tensor)> {
    if x.dtype() == Dtype::F64 {
        return Err(refuse("frexp", x.dtype(), of(x)?));
    }
    let x = copy::contiguous(x)?;
    let (m, e) = (x.empty_like()?, Tensor::empty(x.shape(), Dtype::I32, x.device())?);
    call("frexp", &[&x, &m, &e], &[], x.numel())?;
    Ok((m, e))
}
