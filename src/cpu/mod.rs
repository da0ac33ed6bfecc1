//! CPU kernels over raw slices and pointers.
//!
//! Nothing here knows about tensors, autograd or Python: a kernel gets memory, sizes and strides.
//! Every kernel gives the same bits for any number of threads.

#[macro_use]
pub mod isa;

pub mod attention;
pub mod conv;
pub mod convert;
pub mod copy;
pub mod cross_entropy;
pub mod fft;
pub mod float;
pub mod gemm;
pub mod linalg;
pub mod math;
pub mod memory;
pub mod norm;
pub mod optim;
pub mod pool;
pub mod reduce;
pub mod resample;
pub mod rnn;
pub mod scan;
pub mod softmax;
pub mod sort;
pub mod threads;
