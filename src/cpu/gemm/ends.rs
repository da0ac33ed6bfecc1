//! What a product begins with and what follows it at once, while its elements are in cache.

use super::super::math::Math;
use super::{GemmScalar, Mat, Out};
use std::ops::Range;

/// An activation of every element of a product.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activation {
    /// max(x, 0)
    Relu,
    /// x times the distribution function of the normal distribution
    Gelu,
}

multiversion! {
    /// # Safety
    /// `n` elements from `x` belong to the caller.
    unsafe fn relu<T: GemmScalar>(x: *mut T, n: usize) {
        for i in 0..n {
            // SAFETY: by the caller.
            let v = unsafe { &mut *x.add(i) };
            // NaN stays.
            *v = if *v < T::default() { T::default() } else { *v };
        }
    }
}
multiversion! {
    /// # Safety
    /// `n` elements from `x` belong to the caller.
    unsafe fn gelu<T: GemmScalar>(x: *mut T, n: usize) {
        for i in 0..n {
            // SAFETY: by the caller.
            let v = unsafe { &mut *x.add(i) };
            *v = *v * Math::vnormal_cdf::<FMA>(*v);
        }
    }
}

/// Both ends of a product.
#[derive(Clone, Copy)]
pub(super) struct Ends<T> {
    /// What the sums are added to, of the result's shape; null for nothing.
    pub init: Mat<T>,
    pub activation: Option<Activation>,
}

impl<T: GemmScalar> Ends<T> {
    pub fn start(init: Mat<T>) -> Ends<T> {
        Ends { init, activation: None }
    }

    pub fn t(self) -> Ends<T> {
        Ends { init: self.init.t(), ..self }
    }

    /// Finishes elements of the result whose sums are complete; each is finished once.
    ///
    /// # Safety
    /// They lie inside of the result and belong to the caller.
    pub unsafe fn finish(&self, c: Out<T>, rows: Range<usize>, cols: Range<usize>) {
        let Some(activation) = self.activation else { return };
        let (run, step) = if c.cs == 1 { (cols.len(), cols.len().max(1)) } else { (1, 1) };
        for i in rows {
            for j in cols.clone().step_by(step) {
                // SAFETY: by the caller.
                unsafe {
                    match activation {
                        Activation::Relu => relu(c.at(i, j), run),
                        Activation::Gelu => gelu(c.at(i, j), run),
                    }
                }
            }
        }
    }
}
