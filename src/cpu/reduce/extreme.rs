//! Where the largest or smallest is: the first of equals, or the first NaN.

use super::super::threads::{SendPtr, parallel_for};
use super::kernels::fold_block;
use super::ops::{Fold, Max, Min, Value};
use super::source::Source;
use super::{BLOCK, PIECE, Shape, buffer};
use std::marker::PhantomData;

/// [`Max`] or [`Min`].
pub trait Extreme<T>: Fold<T> {
    /// Whether `v` takes the place of `best`: NaN before all, and a number only if it is farther out.
    fn beats(v: T, best: T) -> bool;
}

macro_rules! extremes {
    ($($t:ty),*) => {$(
        impl Extreme<$t> for Max {
            #[inline(always)]
            fn beats(v: $t, best: $t) -> bool {
                // Only NaN differs from itself.
                (v > best) | ((v != v) & (best == best))
            }
        }
        impl Extreme<$t> for Min {
            #[inline(always)]
            fn beats(v: $t, best: $t) -> bool {
                (v < best) | ((v != v) & (best == best))
            }
        }
    )*};
}
#[allow(clippy::eq_op)]
mod impls {
    use super::*;
    extremes!(f32, f64, i64);
}

/// Where `top`, which the run contains, is first. NaN is found by being NaN.
#[inline(always)]
unsafe fn find<T: Value>(x: *const T, n: usize, top: T) -> usize {
    let nan = top.partial_cmp(&top).is_none();
    let hit = |v: T| if nan { v.partial_cmp(&v).is_none() } else { v == top };
    const STEP: usize = 128;
    let mut at = 0;
    // SAFETY: positions below n, by the caller.
    unsafe {
        while at + STEP <= n {
            let mut any = 0u32;
            if nan {
                for k in 0..STEP {
                    any |= u32::from(*x.add(at + k) != *x.add(at + k));
                }
            } else {
                for k in 0..STEP {
                    any |= u32::from(*x.add(at + k) == top);
                }
            }
            if any != 0 {
                break;
            }
            at += STEP;
        }
        while at + 1 < n && !hit(*x.add(at)) {
            at += 1;
        }
    }
    at
}

multiversion! {
    /// The extreme of each of `rows` rows of `n` elements, and where it is.
    ///
    /// # Safety
    /// `x` has `rows * n` elements, the results `rows`; n > 0.
    unsafe fn extreme_runs<T: Value, O: Extreme<T>>(op: PhantomData<O>, x: *const T, rows: usize, n: usize, best: *mut T, index: *mut i64) {
        for r in 0..rows {
            // SAFETY: inside, by the caller.
            unsafe {
                let x = x.add(r * n);
                let top = fold_block::<FMA, T, O>(x, n);
                *best.add(r) = top;
                *index.add(r) = find(x, n, top) as i64;
            }
        }
    }
}

multiversion! {
    /// The extremes of `w` columns of `rows` rows that lie `stride` apart: `best`, and `at` the row. Both are begun anew.
    ///
    /// # Safety
    /// All rows have `best.len()` elements, as has `at`; there are few enough rows for [`Value::small`], and one at least.
    unsafe fn extreme_columns<T: Value, O: Extreme<T>>(op: PhantomData<O>, x: *const T, stride: usize, rows: usize, best: &mut [T], at: &mut [T]) {
        let w = best.len();
        let at = &mut at[..w];
        // SAFETY: rows and columns inside, by the caller.
        unsafe {
            for k in 0..w {
                best[k] = *x.add(k);
                at[k] = T::small(0);
            }
            for i in 1..rows {
                let x = x.add(i * stride);
                let row = T::small(i);
                for k in 0..w {
                    let v = *x.add(k);
                    let wins = O::beats(v, best[k]);
                    best[k] = if wins { v } else { best[k] };
                    at[k] = if wins { row } else { at[k] };
                }
            }
        }
    }
}

/// The extreme of the middle axis and its place along it: `best[o, j]` and `index[o, j]` from `x[o, .., j]`.
pub fn extreme<T: Value, O: Extreme<T>, S: Source<T>>(x: &S, s: Shape, best: &mut [T], index: &mut [i64]) {
    let count = s.outer * s.inner;
    assert!(
        x.len() == s.numel() && best.len() == count && index.len() == count && (s.len > 0 || count == 0),
        "reduction buffers"
    );
    if count == 0 {
        return;
    }
    let (to, places) = (SendPtr(best.as_mut_ptr()), SendPtr(index.as_mut_ptr()));
    if s.inner > 1 {
        return columns::<T, O, S>(x, s, to, places);
    }
    let op = PhantomData::<O>;
    let len = s.len;
    if len <= BLOCK {
        let group = (BLOCK / len).max(1);
        parallel_for(s.outer, (PIECE / len).next_multiple_of(group), |rows| {
            let mut buffer = buffer::<T, S>(group * len, O::START);
            for first in rows.clone().step_by(group) {
                let count = group.min(rows.end - first);
                // SAFETY: these rows and results belong to this piece.
                unsafe {
                    let x = x.read(first * len, count * len, buffer.as_mut_ptr());
                    extreme_runs(op, x, count, len, to.get().add(first), places.get().add(first));
                }
            }
        });
        return;
    }
    // Blocks of a row, each with its extreme; the first of the farthest wins.
    let pieces = len.div_ceil(PIECE);
    let mut parts = vec![(O::START, 0i64); s.outer * pieces];
    let part = SendPtr(parts.as_mut_ptr());
    parallel_for(parts.len(), (PIECE / len).max(1), |range| {
        let mut buffer = buffer::<T, S>(BLOCK, O::START);
        for task in range {
            let (row, from) = (task / pieces, task % pieces * PIECE);
            let end = (from + PIECE).min(len);
            let mut top: Option<(T, i64)> = None;
            for at in (from..end).step_by(BLOCK) {
                let n = BLOCK.min(end - at);
                let (mut v, mut i) = (O::START, 0);
                // SAFETY: inside the row.
                unsafe { extreme_runs(op, x.read(row * len + at, n, buffer.as_mut_ptr()), 1, n, &mut v, &mut i) };
                if top.is_none_or(|(best, _)| O::beats(v, best)) {
                    top = Some((v, at as i64 + i));
                }
            }
            // SAFETY: this part belongs to this piece.
            unsafe { *part.get().add(task) = top.unwrap_or((O::START, 0)) }
        }
    });
    for (r, parts) in parts.chunks_exact(pieces).enumerate() {
        let first = parts[0];
        (best[r], index[r]) = parts[1..].iter().fold(first, |a, &b| if O::beats(b.0, a.0) { b } else { a });
    }
}

fn columns<T: Value, O: Extreme<T>, S: Source<T>>(x: &S, s: Shape, to: SendPtr<T>, places: SendPtr<i64>) {
    const WIDTH: usize = 512;
    /// Few enough for every type to count them.
    const ROWS: usize = 1024;
    let Shape { outer, len, inner } = s;
    let chunks = inner.div_ceil(WIDTH);
    parallel_for(outer * chunks, (PIECE / (len * inner.min(WIDTH))).max(1), |range| {
        let w = WIDTH.min(inner);
        let mut spare = buffer::<T, S>(w * ROWS.min(len), O::START);
        let (mut tops, mut rows) = (vec![O::START; w], vec![O::START; w]);
        for task in range {
            let (o, c) = (task / chunks, task % chunks * WIDTH);
            let w = WIDTH.min(inner - c);
            // SAFETY: these results belong to this piece.
            let (best, index) = unsafe { (to.slice(o * inner + c, w), places.slice(o * inner + c, w)) };
            for first in (0..len).step_by(ROWS) {
                let count = ROWS.min(len - first);
                let at = (o * len + first) * inner + c;
                // SAFETY: rows and columns inside; the buffer holds them all.
                unsafe {
                    let (p, stride) = if S::BUFFERED {
                        for r in 0..count {
                            x.read(at + r * inner, w, spare.as_mut_ptr().add(r * w));
                        }
                        (spare.as_ptr(), w)
                    } else {
                        (x.read(at, w, spare.as_mut_ptr()), inner)
                    };
                    extreme_columns(PhantomData::<O>, p, stride, count, &mut tops[..w], &mut rows[..w]);
                }
                for k in 0..w {
                    if first == 0 || O::beats(tops[k], best[k]) {
                        (best[k], index[k]) = (tops[k], (first + rows[k].to_small()) as i64);
                    }
                }
            }
        }
    });
}
