//! Between element types and the types that formulas compute in, over runs of elements.

use super::eval::Compute;
use crate::dispatch;
use crate::dtype::{Dtype, Element};

/// Conversion of an element to and from a compute type.
pub(super) trait Convert<T>: Element {
    fn conv(self) -> T;
    fn back(v: T) -> Self;
}
impl<S: Element, T: Compute> Convert<T> for S {
    #[inline(always)]
    fn conv(self) -> T {
        if T::DTYPE == Dtype::I64 { T::from_i64(self.to_i64()) } else { T::from_f64(self.to_f64()) }
    }
    #[inline(always)]
    fn back(v: T) -> S {
        if T::DTYPE == Dtype::I64 { S::from_i64(v.to_i64()) } else { S::from_f64(v.to_f64()) }
    }
}

/// # Safety
/// `base` points at an element of dtype `d`.
pub(super) unsafe fn load_one<T: Compute>(d: Dtype, base: *const u8) -> T {
    // SAFETY: by the caller.
    dispatch!(all d, S => unsafe { <S as Convert<T>>::conv(*(base as *const S)) })
}

multiversion! {
    /// # Safety
    /// `n` elements to read and to write.
    unsafe fn widen<S: Convert<T>, T: Compute>(from: *const S, to: *mut T, n: usize) {
        for k in 0..n {
            // SAFETY: by the caller.
            unsafe { *to.add(k) = (*from.add(k)).conv() };
        }
    }
}
multiversion! {
    /// # Safety
    /// `n` elements to read and to write.
    unsafe fn narrow<S: Convert<T>, T: Compute>(from: *const T, to: *mut S, n: usize) {
        for k in 0..n {
            // SAFETY: by the caller.
            unsafe { *to.add(k) = S::back(*from.add(k)) };
        }
    }
}

/// # Safety
/// `len` elements of dtype `d` exist from position `pos` in steps of `stride`; `to` has room for `len`.
pub(super) unsafe fn load_run<T: Compute>(d: Dtype, base: *const u8, pos: isize, stride: isize, to: *mut T, len: usize) {
    dispatch!(all d, S => {
        let from = (base as *const S).wrapping_offset(pos);
        // SAFETY: by the caller.
        unsafe {
            match stride {
                1 if d == T::DTYPE => std::ptr::copy_nonoverlapping(from as *const T, to, len),
                1 => widen::<S, T>(from, to, len),
                0 => std::slice::from_raw_parts_mut(to, len).fill((*from).conv()),
                _ => for k in 0..len { *to.add(k) = (*from.wrapping_offset(k as isize * stride)).conv(); }
            }
        }
    })
}

/// # Safety
/// As [`load_run`], with the roles exchanged.
pub(super) unsafe fn store_run<T: Compute>(d: Dtype, base: *mut u8, pos: isize, stride: isize, from: *const T, len: usize) {
    dispatch!(all d, S => {
        let to = (base as *mut S).wrapping_offset(pos);
        // SAFETY: by the caller.
        unsafe {
            match stride {
                1 if d == T::DTYPE => std::ptr::copy_nonoverlapping(from, to as *mut T, len),
                1 => narrow::<S, T>(from, to, len),
                _ => for k in 0..len { *to.wrapping_offset(k as isize * stride) = <S as Convert<T>>::back(*from.add(k)); }
            }
        }
    })
}

/// Cuts computed integers to a narrower dtype.
///
/// # Safety
/// `p` has `len` elements.
pub(super) unsafe fn cut_tile<T: Compute>(d: Dtype, p: *mut T, len: usize) {
    dispatch!(all d, S => for k in 0..len {
        // SAFETY: by the caller.
        unsafe { *p.add(k) = <S as Convert<T>>::back(*p.add(k)).conv(); }
    })
}
