//! What talks to the driver: wgpu, or nothing.

#[cfg(not(feature = "gpu"))]
mod none;
#[cfg(feature = "gpu")]
mod wgpu;

#[cfg(not(feature = "gpu"))]
pub use none::{Gpu, Raw, count};
#[cfg(feature = "gpu")]
pub use wgpu::{Gpu, Raw, count};
