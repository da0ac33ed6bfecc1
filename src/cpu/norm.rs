//! Layer and RMS norm of rows, forward and backward.
//!
//! A row is read from memory once; mean, deviation and result are passes over it in the cache.

use super::float::Float;
use super::reduce::kernels::sum_of;
use super::threads::{SendPtr, parallel_for};

/// Mean and reciprocal deviation of a row; without `center` the mean counts as 0.
///
/// # Safety
/// `x` has `n` elements.
#[inline(always)]
unsafe fn moments<const FMA: bool, T: Float>(x: *const T, n: usize, eps: f64, center: bool) -> (T, T) {
    // SAFETY: k < n.
    unsafe {
        let mean = if center { long_sum(n, |k| *x.add(k)) / n as f64 } else { 0.0 };
        let m = T::of(mean);
        let square = |k: usize| {
            let d = *x.add(k) - m;
            d * d
        };
        let var = long_sum(n, square) / n as f64;
        (m, T::of(1.0 / (var + eps).sqrt()))
    }
}

/// [`sum_of`] by blocks, which are added up in float64.
#[inline(always)]
fn long_sum<T: Float>(n: usize, f: impl Fn(usize) -> T) -> f64 {
    const BLOCK: usize = 4096;
    let mut total = 0.0;
    for at in (0..n).step_by(BLOCK) {
        total += sum_of(BLOCK.min(n - at), |k| f(at + k)).to_f64();
    }
    total
}

multiversion! {
    /// `y = (x - mean) * rstd * w + b` in `rows` rows of `n` elements, and the mean and rstd of each.
    ///
    /// # Safety
    /// `x` and `y` have `rows * n` elements and do not overlap, `w` and `b` have `n`, `mean` and `rstd` `rows`.
    unsafe fn forward_rows<T: Float>(x: *const T, w: Option<*const T>, b: Option<*const T>, y: *mut T, mean: *mut T, rstd: *mut T, rows: usize, n: usize, eps: f64, center: bool) {
        for r in 0..rows {
            // SAFETY: inside the rows, by the caller.
            unsafe {
                let (x, y) = (x.add(r * n), y.add(r * n));
                let (m, s) = moments::<FMA, T>(x, n, eps, center);
                (*mean.add(r), *rstd.add(r)) = (m, s);
                match (w, b) {
                    (Some(w), Some(b)) => {
                        for k in 0..n {
                            *y.add(k) = ((*x.add(k) - m) * s).fma::<FMA>(*w.add(k), *b.add(k));
                        }
                    }
                    (Some(w), None) => {
                        for k in 0..n {
                            *y.add(k) = (*x.add(k) - m) * s * *w.add(k);
                        }
                    }
                    (None, Some(b)) => {
                        for k in 0..n {
                            *y.add(k) = (*x.add(k) - m).fma::<FMA>(s, *b.add(k));
                        }
                    }
                    (None, None) => {
                        for k in 0..n {
                            *y.add(k) = (*x.add(k) - m) * s;
                        }
                    }
                }
            }
        }
    }
}

multiversion! {
    /// The gradient `dx` of `rows` rows; `dw` and `db` take in the contributions to those of weight and bias. From one
    /// row of `g` to the next are `g_step` elements (0: all rows have the same).
    ///
    /// # Safety
    /// `x` and `dx` have `rows * n` elements, `g` `n` from each `r * g_step`, `w` has `n`, `mean` and `rstd` `rows`;
    /// `dx` overlaps with nothing.
    unsafe fn backward_rows<T: Float>(x: *const T, g: *const T, g_step: usize, w: Option<*const T>, mean: *const T, rstd: *const T, dx: *mut T, dw: &mut [T], db: &mut [T], rows: usize, n: usize, center: bool) {
        // Their lengths are known below: no checks in the loops, which vectorise.
        let (dw, db) = (&mut dw[..n], &mut db[..n]);
        for r in 0..rows {
            // SAFETY: inside the rows, by the caller.
            unsafe {
                let (x, g, dx) = (x.add(r * n), g.add(r * g_step), dx.add(r * n));
                let (m, s) = (*mean.add(r), *rstd.add(r));
                let hat = |k: usize| (*x.add(k) - m) * s;
                let count = n as f64;
                // A weight of 1 where there is none costs a pass over the weights only where there are any.
                if let Some(w) = w {
                    let a = if center { T::of(long_sum(n, |k| *g.add(k) * *w.add(k)) / count) } else { T::ZERO };
                    let p = T::of(long_sum(n, |k| *g.add(k) * *w.add(k) * hat(k)) / count);
                    for k in 0..n {
                        let (h, gk) = (hat(k), *g.add(k));
                        dw[k] = gk.fma::<FMA>(h, dw[k]);
                        db[k] += gk;
                        *dx.add(k) = s * (gk * *w.add(k) - a - h * p);
                    }
                } else {
                    let a = if center { T::of(long_sum(n, |k| *g.add(k)) / count) } else { T::ZERO };
                    let p = T::of(long_sum(n, |k| *g.add(k) * hat(k)) / count);
                    for k in 0..n {
                        let (h, gk) = (hat(k), *g.add(k));
                        db[k] += gk;
                        *dx.add(k) = s * (gk - a - h * p);
                    }
                }
            }
        }
    }
}

/// Elements that are worth handing to another thread.
const GRAIN: usize = 1 << 14;

/// Rows whose contributions to the gradients of weight and bias are added up one after the other.
const BLOCK: usize = 32;

/// Layer norm (RMS norm without `center`) of rows as long as `n`, with the mean and reciprocal deviation of each.
pub fn forward<T: Float>(
    x: &[T],
    n: usize,
    w: Option<&[T]>,
    b: Option<&[T]>,
    eps: f64,
    center: bool,
    y: &mut [T],
    mean: &mut [T],
    rstd: &mut [T],
) {
    let rows = mean.len();
    assert!(x.len() == rows * n && y.len() == x.len() && rstd.len() == rows, "norm buffers");
    assert!([w, b].iter().flatten().all(|w| w.len() == n), "norm parameters");
    let (y, mean, rstd) = (SendPtr(y.as_mut_ptr()), SendPtr(mean.as_mut_ptr()), SendPtr(rstd.as_mut_ptr()));
    let of = |w: Option<&[T]>| w.map(|w| w.as_ptr());
    parallel_for(rows, GRAIN / n.max(1) + 1, |range| {
        let at = range.start;
        // SAFETY: these rows belong to this piece.
        unsafe {
            forward_rows(
                x.as_ptr().add(at * n),
                of(w),
                of(b),
                y.get().add(at * n),
                mean.get().add(at),
                rstd.get().add(at),
                range.len(),
                n,
                eps,
                center,
            );
        }
    });
}

/// The gradients of [`forward`]'s input, and in `sums` (zeros before, of `2 * blocks(rows) * n` elements) those of
/// weight and bias: of each block of rows, first all of the weight. `g` has the elements of `x` or a single row that
/// counts for every one.
pub fn backward<T: Float>(
    x: &[T],
    g: &[T],
    n: usize,
    w: Option<&[T]>,
    mean: &[T],
    rstd: &[T],
    center: bool,
    dx: &mut [T],
    sums: &mut [T],
) {
    let rows = mean.len();
    let pieces = blocks(rows);
    assert!(x.len() == rows * n && dx.len() == x.len() && rstd.len() == rows, "norm buffers");
    assert!((g.len() == x.len() || g.len() == n) && w.is_none_or(|w| w.len() == n), "norm parameters");
    assert_eq!(sums.len(), 2 * pieces * n, "norm sums");
    let step = if g.len() == x.len() { n } else { 0 };
    let (dx, sums) = (SendPtr(dx.as_mut_ptr()), SendPtr(sums.as_mut_ptr()));
    parallel_for(pieces, GRAIN / (n * BLOCK).max(1) + 1, |range| {
        for block in range {
            let first = block * BLOCK;
            // SAFETY: these sums and rows belong to this piece.
            unsafe {
                let (dw, db) = (sums.slice(block * n, n), sums.slice((pieces + block) * n, n));
                backward_rows(
                    x.as_ptr().add(first * n),
                    g.as_ptr().add(first * step),
                    step,
                    w.map(|w| w.as_ptr()),
                    mean.as_ptr().add(first),
                    rstd.as_ptr().add(first),
                    dx.get().add(first * n),
                    dw,
                    db,
                    BLOCK.min(rows - first),
                    n,
                    center,
                );
            }
        }
    });
}

/// Blocks of rows that [`backward`] adds up by themselves.
pub fn blocks(rows: usize) -> usize {
    rows.div_ceil(BLOCK)
}

#[cfg(test)]
mod tests;
