//! CPU kernels over raw slices and pointers.
//!
//! Nothing here knows about tensors, autograd or Python: a kernel gets memory, sizes and strides.
//! Every kernel gives the same bits for any number of threads.

/// Compiles a function body a second time for AVX2 and picks at run time. Neither version contracts
/// or reorders floating-point operations, so both give the same bits.
macro_rules! multiversion {
    (
        $(#[$meta:meta])*
        $vis:vis fn $name:ident $(<$($g:ident: $bound:path),*>)? ($($arg:ident: $t:ty),* $(,)?)
        $(-> $ret:ty)? $body:block
    ) => {
        $(#[$meta])*
        $vis fn $name $(<$($g: $bound),*>)? ($($arg: $t),*) $(-> $ret)? {
            #[inline(always)]
            fn body $(<$($g: $bound),*>)? ($($arg: $t),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn fast $(<$($g: $bound),*>)? ($($arg: $t),*) $(-> $ret)? {
                    body($($arg),*)
                }
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: the CPU has the feature.
                    return unsafe { fast($($arg),*) };
                }
            }
            body($($arg),*)
        }
    };
}

pub mod conv;
pub mod fft;
pub mod gemm;
pub mod linalg;
pub mod pool;
pub mod resample;
pub mod sort;
pub mod threads;
