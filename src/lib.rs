//! rustgrad: a PyTorch-compatible tensor library.
//!
//! The map of the crate, from the bottom up; arrows go downward only:
//! [`error`], [`dtype`], [`layout`], [`device`] — plain facts;
//! [`storage`], [`tensor`] — memory and the handle to it;
//! [`cpu`], [`random`] — kernels and the generator, over slices, without tensors;
//! [`gpu`] — memory of GPUs, and the kernels of `shaders/`;
//! [`expr`] — elementwise formulas: written once, evaluated in tiles, differentiated symbolically;
//! [`autograd`] — the graph and the backward pass;
//! [`ops`] — the ops by family, and the registry from which the Python names are made;
//! `python` — the binding (only with the feature `python`).

pub mod autograd;
#[macro_use]
pub mod cpu;
pub mod device;
pub mod dtype;
pub mod error;
pub mod expr;
pub mod gpu;
pub mod layout;
pub mod ops;
#[cfg(feature = "python")]
mod python;
pub mod random;
pub mod small;
pub mod storage;
pub mod tensor;

pub use error::{Error, Result};
pub use tensor::Tensor;
