//! Indexing with tensors: gather, scatter, index_*, masked_*, take, nonzero, where.

pub mod advanced;
pub mod lanes;

use super::Registry;

pub use advanced::{index, index_put};

pub(super) fn register(r: &mut Registry) {
    r.op("_", "_index(Tensor self, Tensor?[] indices) -> Tensor", "Indexing with tensors.", |a| index(a.t(0), a.ots(1)).map(Into::into));
    r.op(
        "fmi",
        "index_put(Tensor self, Tensor?[] indices, Tensor values, bool accumulate=False) -> Tensor",
        "values written (or added) at indices.",
        |a| index_put(a.t(0), a.ots(1), a.t(2), a.b(3), a.target.as_ref()).map(Into::into),
    );
}
