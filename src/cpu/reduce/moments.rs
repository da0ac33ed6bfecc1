//! Mean and sum of squared distances from it, in one pass over memory: blocks that stay in the cache are gone over
//! twice, and what they give is merged (Chan, Golub and LeVeque 1979) in float64.

use super::super::float::Float;
use super::super::threads::{SendPtr, parallel_for};
use super::kernels::{fold_into, sum_of};
use super::ops::{Fold, Sum, Value};
use super::source::Source;
use super::{BLOCK, PIECE, Shape, buffer};

/// f32 or f64, with its sum.
pub trait Spread: Float + Value {
    type Sum: Fold<Self>;
}
impl Spread for f32 {
    type Sum = Sum;
}
impl Spread for f64 {
    type Sum = Sum;
}

/// What is known of a number of elements.
#[derive(Clone, Copy, Default, Debug)]
pub struct Moments {
    pub count: f64,
    pub mean: f64,
    /// The sum of squared distances from the mean.
    pub m2: f64,
}

impl Moments {
    /// Those of both together.
    #[inline(always)]
    pub fn merge(self, o: Moments) -> Moments {
        if self.count == 0.0 {
            return o;
        }
        let count = self.count + o.count;
        let d = o.mean - self.mean;
        Moments { count, mean: self.mean + d * (o.count / count), m2: self.m2 + o.m2 + d * d * (self.count * o.count / count) }
    }
}

multiversion! {
    /// The moments of each of `rows` rows of `n <= BLOCK` elements.
    ///
    /// # Safety
    /// `x` has `rows * n` elements, `out` has `rows`; n > 0.
    unsafe fn moments_runs<T: Spread>(x: *const T, rows: usize, n: usize, out: *mut Moments) {
        for r in 0..rows {
            // SAFETY: inside, by the caller.
            unsafe {
                let x = x.add(r * n);
                let near = sum_of(n, |k| *x.add(k)) / T::of(n as f64);
                let m2 = sum_of(n, |k| {
                    let d = *x.add(k) - near;
                    d * d
                });
                let off = sum_of(n, |k| *x.add(k) - near);
                *out.add(r) = about(near, off, m2, n);
            }
        }
    }
}

/// The moments of `n` elements from sums of distances and of their squares, taken from a number near the mean.
#[inline(always)]
fn about<T: Float>(near: T, off: T, m2: T, n: usize) -> Moments {
    let (count, off, m2) = (n as f64, off.to_f64() / n as f64, m2.to_f64());
    let m2 = m2 - count * off * off;
    // Not below 0; NaN stays.
    Moments { count, mean: near.to_f64() + off, m2: if m2 < 0.0 { 0.0 } else { m2 } }
}

multiversion! {
    /// Of columns of `rows` rows that lie `stride` apart: a number near the mean, and the sums of distances from it and of
    /// their squares.
    ///
    /// # Safety
    /// All rows have `near.len()` elements, as have the others; all three hold zeros.
    unsafe fn moments_columns<T: Spread>(x: *const T, stride: usize, rows: usize, near: &mut [T], off: &mut [T], m2: &mut [T]) {
        let w = near.len();
        // SAFETY: rows and columns inside, by the caller.
        unsafe {
            fold_into::<FMA, T, T::Sum>(x, stride, rows, near);
            let n = T::of(rows as f64);
            for k in 0..w {
                near[k] = near[k] / n;
            }
            for i in 0..rows {
                let x = x.add(i * stride);
                for k in 0..w {
                    let d = *x.add(k) - near[k];
                    off[k] += d;
                    m2[k] = d.fma::<FMA>(d, m2[k]);
                }
            }
        }
    }
}

/// The moments along the middle axis. `len` is not 0.
pub fn moments<T: Spread, S: Source<T>>(x: &S, s: Shape, out: &mut [Moments]) {
    let Shape { outer, len, inner } = s;
    assert!(x.len() == s.numel() && out.len() == outer * inner && (len > 0 || out.is_empty()), "reduction buffers");
    if out.is_empty() {
        return;
    }
    let to = SendPtr(out.as_mut_ptr());
    if inner > 1 {
        return columns::<T, S>(x, s, to);
    }
    if len <= BLOCK {
        let group = (BLOCK / len).max(1);
        parallel_for(outer, (PIECE / 2 / len).next_multiple_of(group), |rows| {
            let mut buffer = buffer::<T, S>(group * len, T::ZERO);
            for first in rows.clone().step_by(group) {
                let count = group.min(rows.end - first);
                // SAFETY: these rows and results belong to this piece.
                unsafe { moments_runs(x.read(first * len, count * len, buffer.as_mut_ptr()), count, len, to.get().add(first)) }
            }
        });
        return;
    }
    let pieces = len.div_ceil(PIECE);
    let mut parts = vec![Moments::default(); outer * pieces];
    let part = SendPtr(parts.as_mut_ptr());
    parallel_for(parts.len(), (PIECE / len).max(1), |range| {
        let mut buffer = buffer::<T, S>(BLOCK, T::ZERO);
        for task in range {
            let (row, from) = (task / pieces, task % pieces * PIECE);
            let end = (from + PIECE).min(len);
            let mut all = Moments::default();
            for at in (from..end).step_by(BLOCK) {
                let mut block = Moments::default();
                let n = BLOCK.min(end - at);
                // SAFETY: inside the row.
                unsafe { moments_runs(x.read(row * len + at, n, buffer.as_mut_ptr()), 1, n, &mut block) };
                all = all.merge(block);
            }
            // SAFETY: this part belongs to this piece.
            unsafe { *part.get().add(task) = all }
        }
    });
    for (out, parts) in out.iter_mut().zip(parts.chunks_exact(pieces)) {
        *out = parts.iter().fold(Moments::default(), |a, &b| a.merge(b));
    }
}

fn columns<T: Spread, S: Source<T>>(x: &S, s: Shape, to: SendPtr<Moments>) {
    const WIDTH: usize = 128;
    const ROWS: usize = 64;
    let Shape { outer, len, inner } = s;
    let chunks = inner.div_ceil(WIDTH);
    parallel_for(outer * chunks, (PIECE / 2 / (len * inner.min(WIDTH))).max(1), |range| {
        let mut spare = buffer::<T, S>(WIDTH * ROWS, T::ZERO);
        let (mut near, mut off, mut m2) = ([T::ZERO; WIDTH], [T::ZERO; WIDTH], [T::ZERO; WIDTH]);
        for task in range {
            let (o, c) = (task / chunks, task % chunks * WIDTH);
            let w = WIDTH.min(inner - c);
            // SAFETY: these results belong to this piece.
            let out = unsafe { to.slice(o * inner + c, w) };
            out.fill(Moments::default());
            for first in (0..len).step_by(ROWS) {
                let count = ROWS.min(len - first);
                let at = (o * len + first) * inner + c;
                near.fill(T::ZERO);
                off.fill(T::ZERO);
                m2.fill(T::ZERO);
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
                    moments_columns(p, stride, count, &mut near[..w], &mut off[..w], &mut m2[..w]);
                }
                for k in 0..w {
                    out[k] = out[k].merge(about(near[k], off[k], m2[k], count));
                }
            }
        }
    });
}
