//! CPU kernels over raw slices and pointers.
//!
//! Nothing here knows about tensors, autograd or Python: a kernel gets memory, sizes and strides.
//! Every kernel gives the same bits for any number of threads.

pub mod gemm;
pub mod threads;
