//! Softmax and normalisation: batch, layer, group, instance, RMS.

use super::Registry;

mod batch;
mod group;
mod layer;
pub mod lp;
pub mod num;
mod segments;
pub mod softmax;

pub use batch::{batch_norm, instance_norm};
pub use group::{local_response_norm, native_group_norm};
pub use layer::{layer_norm, rms_norm};
pub use softmax::{log_softmax, softmax};

pub(super) fn register(r: &mut Registry) {
    softmax::register(r);
    layer::register(r);
    batch::register(r);
    group::register(r);
    lp::register(r);
}
