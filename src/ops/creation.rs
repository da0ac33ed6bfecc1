//! New tensors: zeros, arange, linspace, eye, windows.

use super::Registry;

pub(super) fn register(_r: &mut Registry) {}
