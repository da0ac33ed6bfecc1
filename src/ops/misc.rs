//! What belongs to no other family: equality of tensors, histograms of dtypes, type queries.

use super::Registry;

pub(super) fn register(_r: &mut Registry) {}
