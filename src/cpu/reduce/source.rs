//! Where reductions read from: contiguous elements of any dtype, a run at a time, in the type that kernels compute in.

use half::{bf16, f16};
use std::marker::PhantomData;

/// Elements read a run at a time as `T`.
pub trait Source<T>: Sync {
    fn len(&self) -> usize;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Elements `at..at + n`: in place, or written to `buffer`.
    ///
    /// # Safety
    /// They are inside, and `buffer` has room for `n` if [`Source::BUFFERED`].
    unsafe fn read(&self, at: usize, n: usize, buffer: *mut T) -> *const T;
    /// Whether `read` uses the buffer.
    const BUFFERED: bool;
}

/// Elements of the type itself.
impl<T: Copy + Sync> Source<T> for &[T] {
    const BUFFERED: bool = false;
    fn len(&self) -> usize {
        <[T]>::len(self)
    }
    #[inline(always)]
    unsafe fn read(&self, at: usize, _: usize, _: *mut T) -> *const T {
        // SAFETY: inside, by the caller.
        unsafe { self.as_ptr().add(at) }
    }
}

/// Elements that are converted as they are read.
pub struct Converted<'a, S, T>(&'a [S], PhantomData<fn() -> T>);

impl<'a, S, T> Converted<'a, S, T> {
    pub fn new(x: &'a [S]) -> Self {
        Converted(x, PhantomData)
    }
}

impl<S: Widen<T> + Copy + Sync, T: Copy> Source<T> for Converted<'_, S, T> {
    const BUFFERED: bool = true;
    fn len(&self) -> usize {
        self.0.len()
    }
    #[inline(always)]
    unsafe fn read(&self, at: usize, n: usize, buffer: *mut T) -> *const T {
        // SAFETY: inside, and the buffer is large enough, by the caller.
        unsafe { widen(self.0.as_ptr().add(at), buffer, n) }
        buffer
    }
}

/// An exact conversion.
pub trait Widen<T>: 'static {
    fn widen(self) -> T;
}

macro_rules! widen {
    ($($from:ty => $to:ty),*) => {$(
        impl Widen<$to> for $from {
            #[inline(always)]
            fn widen(self) -> $to {
                self as $to
            }
        }
    )*};
}
widen!(f32 => f64, i32 => i64, i16 => i64, i8 => i64, u8 => i64);

impl Widen<f32> for bf16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

impl Widen<f32> for f16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        let bits = u32::from(self.to_bits());
        // Exponent and fraction moved to their places are the value times 2^-112, denormals included.
        let v = f32::from_bits((bits & 0x7fff) << 13) * f32::from_bits((127 + 112) << 23);
        // The largest exponent stands for infinity and NaN.
        let special = (bits & 0x7fff) >= 0x7c00;
        let magnitude = if special { v.to_bits() | 0x7f80_0000 } else { v.to_bits() };
        f32::from_bits(magnitude | (bits & 0x8000) << 16)
    }
}

multiversion! {
    /// # Safety
    /// Both have `n` elements.
    unsafe fn widen<S: Copy, T: From_<S>>(from: *const S, to: *mut T, n: usize) {
        for k in 0..n {
            // SAFETY: k < n.
            unsafe { *to.add(k) = T::from_(*from.add(k)) }
        }
    }
}

/// [`Widen`] seen from the other side: the macro above allows one bound to a parameter.
trait From_<S>: Copy {
    fn from_(s: S) -> Self;
}
impl<S: Widen<T>, T: Copy> From_<S> for T {
    #[inline(always)]
    fn from_(s: S) -> T {
        s.widen()
    }
}
