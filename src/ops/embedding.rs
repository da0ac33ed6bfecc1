//! Embedding, embedding_bag, one_hot, scaled dot-product attention.

use super::Registry;

pub(super) fn register(_r: &mut Registry) {}
