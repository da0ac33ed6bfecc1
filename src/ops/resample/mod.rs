//! Ops that move image elements: unfolding, shuffles, resizing, sampling at points.

pub mod fold;
mod grid;
mod shuffle;
mod upsample;

use super::Registry;

pub(super) fn register(r: &mut Registry) {
    fold::register(r);
    shuffle::register(r);
    upsample::register(r);
    grid::register(r);
}
