//! Softmax and normalisation: batch, layer, group, instance, RMS.

use super::Registry;

mod layer;
pub mod num;
pub mod softmax;

pub use layer::layer_norm;
pub use softmax::{log_softmax, softmax};

pub(super) fn register(r: &mut Registry) {
    softmax::register(r);
    layer::register(r);
}
