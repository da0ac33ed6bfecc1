//! What divides or measures by p-norms: `normalize`, the distance of the losses.

use super::num::ops;
use crate::error::Result;
use crate::ops::elementwise::{ADD, CLAMP_MIN, div, sub};
use crate::ops::{Registry, Ret, reduce};
use crate::tensor::Tensor;

/// `x / max(norm(x), eps)` along `dims`. Differentiable.
pub fn normalize(x: &Tensor, p: f64, dims: &[i64], eps: f64) -> Result<Tensor> {
    div(x, &ops(&CLAMP_MIN, &reduce::vector_norm(x, p, Some(dims), true, None)?, eps)?)
}

/// The p-norm of `a - b + eps` along the last dimension. Differentiable.
pub fn distance(a: &Tensor, b: &Tensor, p: f64, eps: f64) -> Result<Tensor> {
    reduce::vector_norm(&ops(&ADD, &sub(a, b)?, eps)?, p, Some(&[-1]), false, None)
}

pub(super) fn register(r: &mut Registry) {
    r.op(
        "n",
        "normalize(Tensor self, float p=2.0, int[1] dim=1, float eps=1e-12) -> Tensor",
        "Divides by the p-norm over dim.",
        |a| normalize(a.t(0), a.f(1), a.ints(2), a.f(3)).map(Ret::from),
    );
}
