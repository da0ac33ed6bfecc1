//! Joining, splitting and rearranging tensors: cat, stack, pad, roll, repeat, tril, ...

pub mod arrange;
pub mod cat;
pub mod matrix;
pub mod pad;
mod pieces;
pub mod split;
pub mod views;

use super::Registry;

pub use cat::{cat, stack};
pub use pad::constant_pad_nd;

pub(super) fn register(r: &mut Registry) {
    cat::register(r);
    split::register(r);
    arrange::register(r);
    matrix::register(r);
    pad::register(r);
    views::register(r);
}
