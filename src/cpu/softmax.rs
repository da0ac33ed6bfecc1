//! Softmax and its logarithm, forward and backward: a row is read once from memory and worked on in the cache.
//!
//! Terms below the smallest normal number count as 0.

use super::float::Float;
use super::isa::prefetch;
use super::reduce::kernels::{fold_block, fold_into, sum_of};
use super::reduce::ops::{Fold, MaxNumber, Value};
use super::threads::{SendPtr, parallel_for};

/// What becomes of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// exp(x) / sum(exp(x))
    Plain,
    /// The logarithm of that.
    Log,
    /// As `Plain`, but a row of nothing but -inf becomes 0.
    Safe,
}

/// f32 or f64, with its maximum.
pub trait Row: Float + Value {
    type Top: Fold<Self>;
}
impl Row for f32 {
    type Top = MaxNumber;
}
impl Row for f64 {
    type Top = MaxNumber;
}

/// Terms made before they are added up; eight times the accumulators.
const TILE: usize = 512;

/// The sum of exp(x - m); each term is put into `y` if that is given.
///
/// # Safety
/// `x`, and `y` if given, have `n` elements and do not overlap.
#[inline(always)]
pub(super) unsafe fn exp_sum<const FMA: bool, T: Row>(x: *const T, y: Option<*mut T>, n: usize, m: T) -> T {
    let mut tile = [T::ZERO; TILE];
    let mut total = 0.0;
    for at in (0..n).step_by(TILE) {
        let len = TILE.min(n - at);
        // SAFETY: at + len <= n, and `tile` has room for `len`.
        unsafe {
            let x = x.add(at);
            // The row below comes from memory while this one is worked on.
            prefetch(x.wrapping_add(n), len);
            let terms = match y {
                Some(y) => std::slice::from_raw_parts_mut(y.add(at), len),
                None => &mut tile[..len],
            };
            for k in 0..len {
                terms[k] = (*x.add(k) - m).exp_nonpositive::<FMA>();
            }
            let terms = terms.as_ptr();
            total += sum_of(len, |k| *terms.add(k)).to_f64();
        }
    }
    T::of(total)
}

multiversion! {
    /// The largest `m[r]` of every row and the sum `s[r]` of exp(x - m); with `mean`, the mean of x - m too.
    ///
    /// # Safety
    /// `x` has `rows * n` elements, the others `rows`.
    pub(super) unsafe fn stats<T: Row>(x: *const T, rows: usize, n: usize, m: *mut T, s: *mut T, mean: Option<*mut T>) {
        for r in 0..rows {
            // SAFETY: inside the row, by the caller.
            unsafe {
                let x = x.add(r * n);
                let top = fold_block::<FMA, T, T::Top>(x, n);
                *m.add(r) = top;
                *s.add(r) = exp_sum::<FMA, T>(x, None, n, top);
                if let Some(mean) = mean {
                    *mean.add(r) = sum_of(n, |k| *x.add(k) - top) / T::of(n as f64);
                }
            }
        }
    }
}

multiversion! {
    /// Softmax of `rows` rows of `n` elements.
    ///
    /// # Safety
    /// `x` and `y` have `rows * n` elements and do not overlap.
    pub unsafe fn softmax_rows<T: Row>(x: *const T, y: *mut T, rows: usize, n: usize, mode: Mode) {
        for r in 0..rows {
            // SAFETY: inside the rows, by the caller.
            unsafe {
                let (x, y) = (x.add(r * n), y.add(r * n));
                let m = fold_block::<FMA, T, T::Top>(x, n);
                if mode == Mode::Safe && m == T::LOWEST && (0..n).all(|k| *x.add(k) == m) {
                    std::slice::from_raw_parts_mut(y, n).fill(T::ZERO);
                } else if mode == Mode::Log {
                    let ln = exp_sum::<FMA, T>(x, None, n, m).ln::<FMA>();
                    for k in 0..n {
                        *y.add(k) = (*x.add(k) - m) - ln;
                    }
                } else {
                    let scale = T::ONE / exp_sum::<FMA, T>(x, Some(y), n, m);
                    for k in 0..n {
                        *y.add(k) = *y.add(k) * scale;
                    }
                }
            }
        }
    }
}

multiversion! {
    /// The gradient `dx` of the input from that of the result, `g`, and the result, `y`. From one row of `g` to the next
    /// are `g_step` elements (0: all rows have the same).
    ///
    /// # Safety
    /// `y` and `dx` have `rows * n` elements, `g` has `n` from each `r * g_step`; `dx` overlaps with neither.
    pub unsafe fn softmax_backward_rows<T: Row>(g: *const T, g_step: usize, y: *const T, dx: *mut T, rows: usize, n: usize, log: bool) {
        for r in 0..rows {
            // SAFETY: inside the rows, by the caller.
            unsafe {
                let (g, y, dx) = (g.add(r * g_step), y.add(r * n), dx.add(r * n));
                if log {
                    let s = sum_of(n, |k| *g.add(k));
                    for k in 0..n {
                        *dx.add(k) = (*y.add(k)).exp_nonpositive::<FMA>().fma::<FMA>(-s, *g.add(k));
                    }
                } else {
                    let s = sum_of(n, |k| *g.add(k) * *y.add(k));
                    for k in 0..n {
                        *dx.add(k) = *y.add(k) * (*g.add(k) - s);
                    }
                }
            }
        }
    }
}

/// Columns worked on together where the dimension is not the last.
const WIDTH: usize = 128;

multiversion! {
    /// Softmax down `w <= WIDTH` columns of `n` rows that lie `stride` apart.
    ///
    /// # Safety
    /// All rows have `w` elements; `x` and `y` do not overlap.
    pub unsafe fn softmax_columns<T: Row>(x: *const T, y: *mut T, stride: usize, n: usize, w: usize, mode: Mode) {
        let (mut m, mut s) = ([T::LOWEST; WIDTH], [T::ZERO; WIDTH]);
        let (m, s) = (&mut m[..w], &mut s[..w]);
        // SAFETY: rows below n, columns below w.
        unsafe {
            fold_into::<FMA, T, T::Top>(x, stride, n, m);
            for i in 0..n {
                let (x, y) = (x.add(i * stride), y.add(i * stride));
                for k in 0..w {
                    let e = (*x.add(k) - m[k]).exp_nonpositive::<FMA>();
                    *y.add(k) = e;
                    s[k] += e;
                }
            }
            if mode == Mode::Log {
                for k in 0..w {
                    s[k] = s[k].ln::<FMA>();
                }
                for i in 0..n {
                    let (x, y) = (x.add(i * stride), y.add(i * stride));
                    for k in 0..w {
                        *y.add(k) = (*x.add(k) - m[k]) - s[k];
                    }
                }
                return;
            }
            for k in 0..w {
                s[k] = T::ONE / s[k];
                // The sum is NaN where the maximum is -inf: nothing but -inf, or NaN beside it.
                if mode == Mode::Safe && m[k] == T::LOWEST && (0..n).all(|i| *x.add(i * stride + k) == T::LOWEST) {
                    for i in 0..n {
                        *y.add(i * stride + k) = T::ZERO;
                    }
                    s[k] = T::ONE;
                }
            }
            for i in 0..n {
                let y = y.add(i * stride);
                for k in 0..w {
                    *y.add(k) = *y.add(k) * s[k];
                }
            }
        }
    }
}

multiversion! {
    /// [`softmax_backward_rows`] down `w <= WIDTH` columns of `n` rows that lie `stride` apart.
    ///
    /// # Safety
    /// All rows have `w` elements; `dx` overlaps with neither of the others.
    pub unsafe fn softmax_backward_columns<T: Row>(g: *const T, y: *const T, dx: *mut T, stride: usize, n: usize, w: usize, log: bool) {
        let mut s = [T::ZERO; WIDTH];
        let s = &mut s[..w];
        for i in 0..n {
            // SAFETY: rows below n, columns below w.
            unsafe {
                let (g, y) = (g.add(i * stride), y.add(i * stride));
                for k in 0..w {
                    s[k] += if log { *g.add(k) } else { *g.add(k) * *y.add(k) };
                }
            }
        }
        for i in 0..n {
            // SAFETY: as above.
            unsafe {
                let (g, y, dx) = (g.add(i * stride), y.add(i * stride), dx.add(i * stride));
                for k in 0..w {
                    *dx.add(k) = if log {
                        (*y.add(k)).exp_nonpositive::<FMA>().fma::<FMA>(-s[k], *g.add(k))
                    } else {
                        *y.add(k) * (*g.add(k) - s[k])
                    };
                }
            }
        }
    }
}

/// Elements that are worth handing to another thread.
const GRAIN: usize = 1 << 14;

/// Softmax of `x`, seen as outer x n x inner, along the middle.
pub fn forward<T: Row>(x: &[T], y: &mut [T], n: usize, inner: usize, mode: Mode) {
    assert_eq!(x.len(), y.len(), "softmax buffers");
    if x.is_empty() {
        return;
    }
    let outer = x.len() / (n * inner);
    assert_eq!(x.len(), outer * n * inner, "softmax sizes");
    let to = SendPtr(y.as_mut_ptr());
    if inner == 1 {
        parallel_for(outer, GRAIN / n + 1, |rows| {
            // SAFETY: these rows belong to this piece.
            unsafe { softmax_rows(x.as_ptr().add(rows.start * n), to.get().add(rows.start * n), rows.len(), n, mode) }
        });
        return;
    }
    for_columns(outer, n, inner, |at, w| {
        // SAFETY: these columns belong to this piece.
        unsafe { softmax_columns(x.as_ptr().add(at), to.get().add(at), inner, n, w, mode) }
    });
}

/// The gradient of [`forward`]'s input. `g` has the elements of `y`, or where `inner` is 1 a single row that counts for
/// every one.
pub fn backward<T: Row>(g: &[T], y: &[T], dx: &mut [T], n: usize, inner: usize, log: bool) {
    assert_eq!(y.len(), dx.len(), "softmax buffers");
    if y.is_empty() {
        return;
    }
    let outer = y.len() / (n * inner);
    assert!(y.len() == outer * n * inner && (g.len() == y.len() || (inner == 1 && g.len() == n)), "softmax sizes");
    let to = SendPtr(dx.as_mut_ptr());
    if inner == 1 {
        let step = if g.len() == y.len() { n } else { 0 };
        parallel_for(outer, GRAIN / n + 1, |rows| {
            // SAFETY: these rows belong to this piece.
            unsafe {
                let (g, y) = (g.as_ptr().add(rows.start * step), y.as_ptr().add(rows.start * n));
                softmax_backward_rows(g, step, y, to.get().add(rows.start * n), rows.len(), n, log)
            }
        });
        return;
    }
    for_columns(outer, n, inner, |at, w| {
        // SAFETY: these columns belong to this piece.
        unsafe { softmax_backward_columns(g.as_ptr().add(at), y.as_ptr().add(at), to.get().add(at), inner, n, w, log) }
    });
}

/// log(sum(exp(x))) of rows as long as `n`: -inf for no elements, or none but -inf.
pub fn logsumexp<T: Row>(x: &[T], n: usize, out: &mut [T]) {
    assert_eq!(x.len(), out.len() * n, "logsumexp buffers");
    let to = SendPtr(out.as_mut_ptr());
    parallel_for(out.len(), GRAIN / n.max(1) + 1, |rows| {
        let mut s = vec![T::ZERO; rows.len()];
        // SAFETY: these rows belong to this piece.
        let m = unsafe { to.slice(rows.start, rows.len()) };
        // SAFETY: as above.
        unsafe { stats(x.as_ptr().add(rows.start * n), rows.len(), n, m.as_mut_ptr(), s.as_mut_ptr(), None) }
        for ((m, s), r) in m.iter_mut().zip(s).zip(rows) {
            let infinite = m.to_f64().is_infinite();
            if !infinite {
                *m += T::of(s.to_f64().ln());
            } else if let Some(&nan) = x[r * n..(r + 1) * n].iter().find(|v| v.to_f64().is_nan()) {
                *m = nan;
            }
        }
    });
}

/// Calls `f` with the first element and the width of groups of columns, on all threads.
fn for_columns(outer: usize, n: usize, inner: usize, f: impl Fn(usize, usize) + Sync) {
    let groups = inner.div_ceil(WIDTH);
    parallel_for(outer * groups, GRAIN / (n * inner.min(WIDTH)) + 1, |range| {
        for task in range {
            let (o, c) = (task / groups, task % groups * WIDTH);
            f(o * n * inner + c, WIDTH.min(inner - c));
        }
    });
}

#[cfg(test)]
mod tests;
