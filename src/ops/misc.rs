//! What belongs to no other family: questions about dtypes.

use super::elementwise::result_type;
use super::{Registry, Ret};

pub(super) fn register(r: &mut Registry) {
    r.op("f", "result_type(Operand tensor1, Operand tensor2) -> ScalarType", "The dtype of an op over both.", |a| {
        Ok(Ret::Dtype(result_type(&[a.operand(0).unwrap(), a.operand(1).unwrap()])))
    });
    r.op("f", "promote_types(ScalarType type1, ScalarType type2) -> ScalarType", "The smallest dtype that holds both.", |a| {
        Ok(Ret::Dtype(a.dtype(0).unwrap().promote(a.dtype(1).unwrap())))
    });
    r.op(
        "f",
        "can_cast(ScalarType from_, ScalarType to) -> bool",
        "Whether a result of one dtype may be written into the other.",
        |a| Ok(a.dtype(1).unwrap().can_hold(a.dtype(0).unwrap()).into()),
    );
    r.op("fm", "is_same_size(Tensor self, Tensor other) -> bool", "Whether the shapes are equal.", |a| {
        Ok((a.t(0).shape() == a.t(1).shape()).into())
    });
}
