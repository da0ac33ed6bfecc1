//! Softmax and normalisation: batch, layer, group, instance, RMS.

use super::Registry;

pub(super) fn register(_r: &mut Registry) {}
