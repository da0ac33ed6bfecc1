//! interpolate, grid_sample, affine_grid, fold, unfold, pixel shuffles.

use super::Registry;

pub(super) fn register(_r: &mut Registry) {}
