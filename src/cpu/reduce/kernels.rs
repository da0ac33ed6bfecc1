//! The folding kernel: many rows into one, in a loop that LLVM vectorises.
//!
//! A run of contiguous elements is folded as a matrix with rows of [`LANES`] elements, so this one kernel serves the
//! last dimension as well as the others. Accumulators lie in memory (a few lines of L1), which costs one load and one
//! store for every eight elements.

use super::super::float::Float;
use super::ops::{Fold, Value};
use std::marker::PhantomData;

/// Accumulators of a contiguous run.
pub const LANES: usize = 64;

/// `acc[k]` takes in `x[r * stride + k]` for `rows` rows: eight rows at a time as a tree.
///
/// # Safety
/// Every row has `acc.len()` elements.
#[inline(always)]
pub unsafe fn fold_into<const FMA: bool, T: Value, O: Fold<T>>(x: *const T, stride: usize, rows: usize, acc: &mut [T]) {
    let n = acc.len();
    let mut r = 0;
    // SAFETY: all rows are below `rows` and all k below n, by the caller.
    unsafe {
        while r + 8 <= rows {
            let x = x.add(r * stride);
            let (a, b, c, d) = (x, x.add(stride), x.add(2 * stride), x.add(3 * stride));
            let (e, f, g, h) = (x.add(4 * stride), x.add(5 * stride), x.add(6 * stride), x.add(7 * stride));
            for k in 0..n {
                let two = |p: *const T, q: *const T| O::step::<FMA>(O::step::<FMA>(O::START, *p.add(k)), *q.add(k));
                let left = O::merge(two(a, b), two(c, d));
                let right = O::merge(two(e, f), two(g, h));
                acc[k] = O::merge(acc[k], O::merge(left, right));
            }
            r += 8;
        }
        while r < rows {
            let x = x.add(r * stride);
            for k in 0..n {
                acc[k] = O::step::<FMA>(acc[k], *x.add(k));
            }
            r += 1;
        }
    }
}

/// The sum of `f(k)` over `0..n` with [`LANES`] accumulators, eight terms at a time as a tree.
#[inline(always)]
pub fn sum_of<T: Float>(n: usize, f: impl Fn(usize) -> T) -> T {
    let mut acc = [T::ZERO; LANES];
    let mut at = 0;
    while at + 8 * LANES <= n {
        for k in 0..LANES {
            let f = |r: usize| f(at + r * LANES + k);
            acc[k] += ((f(0) + f(1)) + (f(2) + f(3))) + ((f(4) + f(5)) + (f(6) + f(7)));
        }
        at += 8 * LANES;
    }
    while at + LANES <= n {
        for k in 0..LANES {
            acc[k] += f(at + k);
        }
        at += LANES;
    }
    for k in 0..n - at {
        acc[k] += f(at + k);
    }
    add_lanes(&acc)
}

/// All accumulators as one, by a tree.
#[inline(always)]
fn add_lanes<T: Float>(acc: &[T; LANES]) -> T {
    let mut a = [T::ZERO; 16];
    for k in 0..16 {
        a[k] = (acc[k] + acc[k + 16]) + (acc[k + 32] + acc[k + 48]);
    }
    let mut b = [T::ZERO; 8];
    for k in 0..8 {
        b[k] = a[k] + a[k + 8];
    }
    ((b[0] + b[4]) + (b[2] + b[6])) + ((b[1] + b[5]) + (b[3] + b[7]))
}

/// Folds a contiguous run in one go.
///
/// # Safety
/// `x` has `n` elements.
#[inline(always)]
pub unsafe fn fold_block<const FMA: bool, T: Value, O: Fold<T>>(x: *const T, n: usize) -> T {
    // SAFETY: n elements, by the caller.
    unsafe {
        if n < 16 {
            return (0..n).fold(O::START, |a, k| O::step::<FMA>(a, *x.add(k)));
        }
        let rows = n / LANES;
        let mut acc = [O::START; LANES];
        fold_into::<FMA, T, O>(x, LANES, rows, &mut acc);
        for k in 0..n % LANES {
            acc[k] = O::step::<FMA>(acc[k], *x.add(rows * LANES + k));
        }
        merge_lanes::<T, O>(&mut acc)
    }
}

/// All accumulators as one, by a tree.
#[inline(always)]
fn merge_lanes<T: Value, O: Fold<T>>(acc: &mut [T; LANES]) -> T {
    for k in 0..16 {
        acc[k] = O::merge(O::merge(acc[k], acc[k + 16]), O::merge(acc[k + 32], acc[k + 48]));
    }
    let mut b = [O::START; 8];
    for k in 0..8 {
        b[k] = O::merge(acc[k], acc[k + 8]);
    }
    let two = |a: usize, c: usize| O::merge(b[a], b[c]);
    O::merge(O::merge(two(0, 4), two(2, 6)), O::merge(two(1, 5), two(3, 7)))
}

multiversion! {
    /// Every one of `rows` rows of `n` contiguous elements.
    ///
    /// # Safety
    /// `x` has `rows * n` elements, `out` has `rows`.
    pub unsafe fn fold_runs<T: Value, O: Fold<T>>(op: PhantomData<O>, x: *const T, rows: usize, n: usize, out: *mut T) {
        for r in 0..rows {
            // SAFETY: inside, by the caller.
            unsafe { *out.add(r) = fold_block::<FMA, T, O>(x.add(r * n), n) }
        }
    }
}

multiversion! {
    /// [`fold_into`] by itself.
    ///
    /// # Safety
    /// Every row has `acc.len()` elements.
    pub unsafe fn fold_rows<T: Value, O: Fold<T>>(op: PhantomData<O>, x: *const T, stride: usize, rows: usize, acc: &mut [T]) {
        // SAFETY: the caller's promise.
        unsafe { fold_into::<FMA, T, O>(x, stride, rows, acc) }
    }
}
