//! Embedding, embedding_bag, scaled dot-product attention.

use super::Registry;

mod attention;
mod bag;
mod flash;
mod rows;

pub use attention::scaled_dot_product_attention;
pub use rows::embedding;

pub(super) fn register(r: &mut Registry) {
    rows::register(r);
    bag::register(r);
    attention::register(r);
}
