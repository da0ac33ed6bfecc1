//! The folding kernel: many rows into one, in a loop that LLVM vectorises.
//!
//! A run of contiguous elements is folded as a matrix with rows of [`LANES`] elements, so this one kernel serves the
//! last dimension as well as the others. Accumulators lie in memory (a few lines of L1), which costs one load and one
//! store for every eight elements.

use super::super::float::Float;
use super::ops::{Fold, Value};

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
    while at < n {
        for k in 0..LANES.min(n - at) {
            acc[k] += f(at + k);
        }
        at += LANES;
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

/// Folds a contiguous run of any length (block after block where sums should stay accurate: see `fold_run`).
///
/// # Safety
/// `x` has `n` elements.
#[inline(always)]
pub unsafe fn fold_block<const FMA: bool, T: Value, O: Fold<T>>(x: *const T, n: usize) -> T {
    let rows = n / LANES;
    let mut acc = [O::START; LANES];
    // SAFETY: `rows` whole rows and a part of one.
    unsafe {
        if rows > 0 {
            fold_into::<FMA, T, O>(x, LANES, rows, &mut acc);
        }
        for k in 0..n % LANES {
            acc[k] = O::step::<FMA>(acc[k], *x.add(rows * LANES + k));
        }
    }
    merge_lanes::<T, O>(&mut acc)
}

/// All accumulators as one, by a tree.
#[inline(always)]
pub fn merge_lanes<T: Value, O: Fold<T>>(acc: &mut [T; LANES]) -> T {
    for k in 0..16 {
        acc[k] = O::merge(O::merge(acc[k], acc[k + 16]), O::merge(acc[k + 32], acc[k + 48]));
    }
    let two = |a: T, b: T| O::merge(a, b);
    let mut b = [O::START; 8];
    for k in 0..8 {
        b[k] = two(acc[k], acc[k + 8]);
    }
    two(two(two(b[0], b[4]), two(b[2], b[6])), two(two(b[1], b[5]), two(b[3], b[7])))
}
