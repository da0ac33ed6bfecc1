//! Integer matrix products, wrapping on overflow as PyTorch's do.

#![allow(clippy::too_many_arguments)]

use super::super::threads::{SendPtr, parallel_for};

/// Integer types with a product.
pub trait IntScalar: Copy + Send + Sync + 'static {
    /// Zero.
    const ZERO: Self;
    /// `self + a * b`, wrapping.
    fn mul_add_wrapping(self, a: Self, b: Self) -> Self;
}

macro_rules! int_scalar {
    ($($t:ty)*) => {$(
        impl IntScalar for $t {
            const ZERO: Self = 0;
            #[inline(always)]
            fn mul_add_wrapping(self, a: Self, b: Self) -> Self {
                self.wrapping_add(a.wrapping_mul(b))
            }
        }
    )*};
}
int_scalar!(i8 i16 i32 i64 u8);

/// As [`super::gemm`], for integers.
///
/// # Safety
/// As for [`super::gemm`].
pub unsafe fn gemm_int<T: IntScalar>(
    m: usize,
    n: usize,
    k: usize,
    a: *const T,
    rsa: isize,
    csa: isize,
    b: *const T,
    rsb: isize,
    csb: isize,
    c: *mut T,
    rsc: isize,
    csc: isize,
    accumulate: bool,
) {
    let (a, b, c) = (SendPtr(a.cast_mut()), SendPtr(b.cast_mut()), SendPtr(c));
    let grain = ((1 << 16) / n.saturating_mul(k).max(1)).max(1);
    parallel_for(m, grain, |rows| {
        for i in rows {
            // SAFETY: the indices stay below m, n and k, inside the operands by the caller's promise;
            // rows of `c` are disjoint between pieces.
            unsafe {
                let row = c.get().offset(i as isize * rsc);
                if !accumulate {
                    for j in 0..n {
                        *row.offset(j as isize * csc) = T::ZERO;
                    }
                }
                for p in 0..k {
                    let x = *a.get().offset(i as isize * rsa + p as isize * csa);
                    let from = b.get().offset(p as isize * rsb);
                    if csb == 1 && csc == 1 {
                        let from = std::slice::from_raw_parts(from, n);
                        let to = std::slice::from_raw_parts_mut(row, n);
                        for (to, from) in to.iter_mut().zip(from) {
                            *to = to.mul_add_wrapping(x, *from);
                        }
                    } else {
                        for j in 0..n {
                            let to = row.offset(j as isize * csc);
                            *to = (*to).mul_add_wrapping(x, *from.offset(j as isize * csb));
                        }
                    }
                }
            }
        }
    });
}

/// As [`super::batched_gemm`], for integers.
///
/// # Safety
/// As for [`super::batched_gemm`].
pub unsafe fn batched_gemm_int<T: IntScalar>(
    batch: usize,
    m: usize,
    n: usize,
    k: usize,
    a: *const T,
    bsa: isize,
    rsa: isize,
    csa: isize,
    b: *const T,
    bsb: isize,
    rsb: isize,
    csb: isize,
    c: *mut T,
    bsc: isize,
    rsc: isize,
    csc: isize,
    accumulate: bool,
) {
    for i in 0..batch as isize {
        // SAFETY: the caller's promise for matrix `i`.
        unsafe {
            gemm_int(
                m,
                n,
                k,
                a.wrapping_offset(i * bsa),
                rsa,
                csa,
                b.wrapping_offset(i * bsb),
                rsb,
                csb,
                c.wrapping_offset(i * bsc),
                rsc,
                csc,
                accumulate,
            );
        }
    }
}
