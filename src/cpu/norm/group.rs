//! Group norm: a row is the segments of neighbouring channels, each with a weight and a bias of its own.

use super::{GRAIN, long_sum, moments};
use crate::cpu::float::Float;
use crate::cpu::threads::{SendPtr, parallel_for};

/// How rows are made up: `groups` for each sample, `channels` in each, `inner` elements of a channel.
#[derive(Clone, Copy)]
pub struct Segments {
    pub groups: usize,
    pub channels: usize,
    pub inner: usize,
}

impl Segments {
    fn row(&self) -> usize {
        self.channels * self.inner
    }
    /// The first channel of row `r`.
    fn first(&self, r: usize) -> usize {
        r % self.groups * self.channels
    }
}

multiversion! {
    /// A row: its mean and reciprocal deviation, and `y`. Weight and bias are those of its channels.
    ///
    /// # Safety
    /// `x` and `y` have `channels * inner` elements and do not overlap, `w` and `b` `channels`.
    unsafe fn forward_row<T: Float>(x: *const T, w: Option<*const T>, b: Option<*const T>, y: *mut T, channels: usize, inner: usize, eps: f64) -> (T, T) {
        // SAFETY: channels and elements inside, by the caller.
        unsafe {
            let (m, s) = moments::<FMA, T>(x, channels * inner, eps, true);
            for c in 0..channels {
                let (x, y) = (x.add(c * inner), y.add(c * inner));
                let scale = w.map_or(s, |w| *w.add(c) * s);
                let shift = b.map_or(T::ZERO, |b| *b.add(c));
                for k in 0..inner {
                    *y.add(k) = (*x.add(k) - m).fma::<FMA>(scale, shift);
                }
            }
            (m, s)
        }
    }
}

multiversion! {
    /// The gradient `dx` of a row, and for each of its channels the sums of g and of g times the normalised input.
    ///
    /// # Safety
    /// `x`, `g` and `dx` have `channels * inner` elements, the others `channels`; `dx` overlaps with nothing.
    unsafe fn backward_row<T: Float>(x: *const T, g: *const T, w: Option<*const T>, dx: *mut T, sum_g: &mut [T], sum_gh: &mut [T], inner: usize, eps: f64) {
        let channels = sum_g.len();
        let n = (channels * inner) as f64;
        // SAFETY: channels and elements inside, by the caller.
        unsafe {
            let (m, s) = moments::<FMA, T>(x, channels * inner, eps, true);
            let (mut a, mut p) = (0.0, 0.0);
            for c in 0..channels {
                let (x, g) = (x.add(c * inner), g.add(c * inner));
                let (sg, sh) = (long_sum(inner, |k| *g.add(k)), long_sum(inner, |k| *g.add(k) * (*x.add(k) - m)) * s.to_f64());
                let w = w.map_or(1.0, |w| (*w.add(c)).to_f64());
                (a, p) = (a + sg * w, p + sh * w);
                (sum_g[c], sum_gh[c]) = (T::of(sg), T::of(sh));
            }
            let (a, p) = (T::of(a / n), T::of(p / n));
            for c in 0..channels {
                let (x, g, dx) = (x.add(c * inner), g.add(c * inner), dx.add(c * inner));
                let w = w.map_or(T::ONE, |w| *w.add(c));
                for k in 0..inner {
                    let h = (*x.add(k) - m) * s;
                    *dx.add(k) = s * (*g.add(k) * w - a - h * p);
                }
            }
        }
    }
}

/// Group norm of `x`; mean and reciprocal deviation of every row.
pub fn forward<T: Float>(
    x: &[T],
    q: Segments,
    w: Option<&[T]>,
    b: Option<&[T]>,
    eps: f64,
    y: &mut [T],
    mean: &mut [T],
    rstd: &mut [T],
) {
    let (rows, n) = (mean.len(), q.row());
    assert!(x.len() == rows * n && y.len() == x.len() && rstd.len() == rows, "group norm buffers");
    assert!([w, b].iter().flatten().all(|w| w.len() == q.groups * q.channels), "group norm parameters");
    let (y, mean, rstd) = (SendPtr(y.as_mut_ptr()), SendPtr(mean.as_mut_ptr()), SendPtr(rstd.as_mut_ptr()));
    parallel_for(rows, GRAIN / n.max(1) + 1, |range| {
        for r in range {
            // SAFETY: this row belongs to this piece, and its channels have parameters.
            unsafe {
                let of = |w: Option<&[T]>| w.map(|w| w.as_ptr().add(q.first(r)));
                let (m, s) = forward_row(x.as_ptr().add(r * n), of(w), of(b), y.get().add(r * n), q.channels, q.inner, eps);
                *mean.get().add(r) = m;
                *rstd.get().add(r) = s;
            }
        }
    });
}

/// The gradient of the input, and for every channel of every sample the sums of g times the normalised input and of g.
pub fn backward<T: Float>(
    x: &[T],
    g: &[T],
    q: Segments,
    w: Option<&[T]>,
    eps: f64,
    dx: &mut [T],
    sum_gh: &mut [T],
    sum_g: &mut [T],
) {
    let n = q.row();
    let rows = sum_g.len() / q.channels.max(1);
    assert!(x.len() == rows * n && g.len() == x.len() && dx.len() == x.len(), "group norm buffers");
    assert!(sum_g.len() == rows * q.channels && sum_gh.len() == sum_g.len(), "group norm sums");
    assert!(w.is_none_or(|w| w.len() == q.groups * q.channels), "group norm parameters");
    let (dx, sum_g, sum_gh) = (SendPtr(dx.as_mut_ptr()), SendPtr(sum_g.as_mut_ptr()), SendPtr(sum_gh.as_mut_ptr()));
    parallel_for(rows, GRAIN / n.max(1) + 1, |range| {
        for r in range {
            // SAFETY: this row belongs to this piece, and its channels have parameters.
            unsafe {
                let w = w.map(|w| w.as_ptr().add(q.first(r)));
                let (sum_g, sum_gh) = (sum_g.slice(r * q.channels, q.channels), sum_gh.slice(r * q.channels, q.channels));
                backward_row(x.as_ptr().add(r * n), g.as_ptr().add(r * n), w, dx.get().add(r * n), sum_g, sum_gh, q.inner, eps);
            }
        }
    });
}
