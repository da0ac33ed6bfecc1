//! Reductions of contiguous memory.

pub mod kernels;
pub mod ops;
