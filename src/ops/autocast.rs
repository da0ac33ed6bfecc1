//! Automatic mixed precision: inside an autocast context the products take their float32 operands in a
//! narrower type.

use super::{Args, Value, copy};
use crate::dtype::Dtype;
use crate::error::Result;
use smallvec::SmallVec;
use std::cell::Cell;

thread_local! {
    static STATE: Cell<(bool, Dtype)> = const { Cell::new((false, Dtype::BF16)) };
}

/// Whether autocast is on in this thread, and the dtype it casts to.
pub fn state() -> (bool, Dtype) {
    STATE.with(Cell::get)
}

/// Sets it; answers what it was.
pub fn set(on: bool, dtype: Dtype) -> (bool, Dtype) {
    STATE.with(|s| s.replace((on, dtype)))
}

/// The ops that run in the narrower type (PyTorch's list for CPUs).
const NARROW: &[&str] = &[
    "linear",
    "matmul",
    "mm",
    "bmm",
    "addmm",
    "_addmm_activation",
    "addbmm",
    "baddbmm",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "scaled_dot_product_attention",
    "multi_dot",
    "chain_matmul",
];

/// The arguments of `op` as autocast wants them; `None` where nothing changes.
pub fn cast(op: &str, args: &Args) -> Result<Option<Args>> {
    let (on, dtype) = state();
    if !on || !NARROW.contains(&op) {
        return Ok(None);
    }
    let narrow = |t: &crate::tensor::Tensor| -> Result<crate::tensor::Tensor> {
        if t.dtype().is_float() && t.dtype() != Dtype::F64 { copy::to_dtype(t, dtype) } else { Ok(t.clone()) }
    };
    let values: SmallVec<[Value; 6]> = args
        .values
        .iter()
        .map(|v| {
            Ok(match v {
                Value::Tensor(t) => Value::Tensor(narrow(t)?),
                Value::Tensors(ts) => {
                    Value::Tensors(ts.iter().map(|t| t.as_ref().map(narrow).transpose()).collect::<Result<_>>()?)
                }
                v => v.clone(),
            })
        })
        .collect::<Result<_>>()?;
    Ok(Some(Args { values, target: None, out: None }))
}
