//! Matrix products of half precision: operands widen while they are packed, sums are float32, the result is rounded once.

#![allow(clippy::too_many_arguments)]

use super::{Panels, gemm_panels, transpose, with_scratch};
use crate::cpu::threads::{SendPtr, num_threads, parallel_for};
use half::slice::HalfFloatSliceExt;

/// float16 and bfloat16.
pub trait Narrow: Copy + Send + Sync + 'static {
    /// Widens a slice.
    fn widen(from: &[Self], to: &mut [f32]);
    /// Widens one number.
    fn wide(self) -> f32;
    /// Rounds a slice.
    fn round(from: &[f32], to: &mut [Self]);
}

macro_rules! narrow {
    ($($t:ty)*) => {$(
        impl Narrow for $t {
            fn widen(from: &[Self], to: &mut [f32]) {
                from.convert_to_f32_slice(to);
            }
            fn wide(self) -> f32 {
                self.to_f32()
            }
            fn round(from: &[f32], to: &mut [Self]) {
                to.convert_from_f32_slice(from);
            }
        }
    )*};
}
narrow!(half::f16 half::bf16);

/// A matrix of half precision in memory, read as float32.
struct Wide<H> {
    ptr: *const H,
    across: isize,
    step: isize,
}

// SAFETY: the pointer is only read, while the caller of the product keeps the operand alive and unwritten.
unsafe impl<H> Sync for Wide<H> {}

impl<H: Narrow> Panels<f32> for Wide<H> {
    unsafe fn pack(&self, dst: *mut f32, full: usize, across: usize, width: usize, step: usize, depth: usize) {
        let src = self.ptr.wrapping_offset(across as isize * self.across + step as isize * self.step);
        // SAFETY: the caller's promise: `full * depth` elements of `dst`, and the elements of the operand.
        unsafe {
            // Zeros are valid floats.
            let to = {
                if width < full {
                    std::ptr::write_bytes(dst, 0, full * depth);
                }
                SendPtr(dst)
            };
            if self.across == 1 {
                for p in 0..depth {
                    let from = std::slice::from_raw_parts(src.offset(p as isize * self.step), width);
                    std::ptr::write_bytes(dst.add(p * full), 0, width);
                    H::widen(from, to.slice(p * full, width));
                }
            } else if self.step == 1 {
                const RUN: usize = 64;
                let mut rows = [0.0_f32; 16 * RUN];
                for i in (0..width).step_by(16) {
                    let high = (width - i).min(16);
                    for p in (0..depth).step_by(RUN) {
                        let len = (depth - p).min(RUN);
                        for r in 0..high {
                            let from = src.offset((i + r) as isize * self.across).add(p);
                            H::widen(std::slice::from_raw_parts(from, len), &mut rows[r * RUN..][..len]);
                        }
                        transpose(rows.as_ptr(), RUN as isize, high, len, dst.add(p * full + i), full as isize);
                    }
                }
            } else {
                for p in 0..depth {
                    for i in 0..width {
                        let from = src.offset(p as isize * self.step + i as isize * self.across);
                        *dst.add(p * full + i) = (*from).wide();
                    }
                }
            }
        }
    }
}

/// `c[i] = a[i] * b[i]` or `c[i] += a[i] * b[i]` for a batch of matrices; those of `c` are row-major and follow each other.
///
/// # Safety
/// As for [`super::batched_gemm`].
pub unsafe fn batched_gemm_narrow<H: Narrow>(
    batch: usize,
    m: usize,
    n: usize,
    k: usize,
    a: *const H,
    bsa: isize,
    rsa: isize,
    csa: isize,
    b: *const H,
    bsb: isize,
    rsb: isize,
    csb: isize,
    c: *mut H,
    accumulate: bool,
) {
    let (a, b, c) = (SendPtr(a.cast_mut()), SendPtr(b.cast_mut()), SendPtr(c));
    let one = |i: usize| {
        let (a, b) = (a.get().wrapping_offset(i as isize * bsa), b.get().wrapping_offset(i as isize * bsb));
        let left = Wide { ptr: a.cast_const(), across: rsa, step: csa };
        let right = Wide { ptr: b.cast_const(), across: csb, step: rsb };
        with_scratch::<f32, _>(m * n, |sum| {
            // SAFETY: the scratch has room for the result; the operands are the caller's promise; matrix `i` of `c` is
            // written here alone.
            unsafe {
                std::ptr::write_bytes(sum.get(), 0, m * n);
                let (sums, c) = (sum.slice(0, m * n), c.slice(i * m * n, m * n));
                if accumulate {
                    H::widen(c, sums);
                }
                // A column is a row of the transposed product.
                if n == 1 {
                    gemm_panels(1, m, k, &right, &left, sum.get(), m as isize, accumulate);
                } else {
                    gemm_panels(m, n, k, &left, &right, sum.get(), n as isize, accumulate);
                }
                H::round(sums, c);
            }
        });
    };
    let work = m.saturating_mul(n).saturating_mul(k).max(1);
    if batch < 2 * num_threads() && work >= 1 << 18 {
        (0..batch).for_each(one);
    } else {
        parallel_for(batch, ((1 << 18) / work).max(1), |range| range.for_each(one));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::{bf16, f16};

    /// Small multiples of 1/8: sums are exact in float32, and their rounding is the type's own.
    fn check<H: Narrow + PartialEq + std::fmt::Debug>(from: fn(f32) -> H) {
        for (batch, m, n, k) in [(1, 1, 1, 1), (1, 5, 40, 33), (2, 17, 1, 100), (3, 1, 70, 9), (1, 64, 50, 300), (2, 4, 4, 0)] {
            let value = |i: usize| ((i * 37 % 23) as f32 - 11.0) / 8.0;
            for order in 0..4 {
                let (ra, ca) = if order & 1 == 0 { (k, 1) } else { (1, m) };
                let (rb, cb) = if order & 2 == 0 { (n, 1) } else { (1, k) };
                let a: Vec<H> = (0..batch * m * k).map(|i| from(value(i))).collect();
                let b: Vec<H> = (0..batch * k * n).map(|i| from(value(i + 5))).collect();
                for accumulate in [false, true] {
                    let mut c: Vec<H> = vec![from(0.5); batch * m * n];
                    // SAFETY: the strides are those of the three buffers.
                    unsafe {
                        batched_gemm_narrow(
                            batch,
                            m,
                            n,
                            k,
                            a.as_ptr(),
                            (m * k) as isize,
                            ra as isize,
                            ca as isize,
                            b.as_ptr(),
                            (k * n) as isize,
                            rb as isize,
                            cb as isize,
                            c.as_mut_ptr(),
                            accumulate,
                        );
                    }
                    for (at, got) in c.iter().enumerate() {
                        let (z, i, j) = (at / (m * n), at / n % m, at % n);
                        let sum: f64 = (0..k)
                            .map(|p| {
                                let (a, b) = (a[z * m * k + i * ra + p * ca], b[z * k * n + p * rb + j * cb]);
                                f64::from(a.wide()) * f64::from(b.wide())
                            })
                            .sum();
                        assert_eq!(*got, from((sum + if accumulate { 0.5 } else { 0.0 }) as f32), "{m} x {n} x {k} at {at}");
                    }
                }
            }
        }
    }

    #[test]
    fn float16_and_bfloat16() {
        check::<f16>(f16::from_f32);
        check::<bf16>(bf16::from_f32);
    }
}
