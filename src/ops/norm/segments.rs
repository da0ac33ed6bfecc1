//! Norms over groups of segments: batch, group and instance norm.
//!
//! The input is `[N, C, inner]`: `N * C` segments of `inner` elements. A batch norm group is the segments of a
//! channel, a group norm group is neighbouring segments of a sample.

use super::layer::composed_parts;
use super::num::{dense, dense_as};
use crate::cpu::float::Float;
use crate::cpu::threads::{SendPtr, parallel_for};
use crate::dispatch;
use crate::error::Result;
use crate::gpu;
use crate::layout::Dims;
use crate::ops::elementwise::mul;
use crate::ops::{copy, reduce, view};
use crate::tensor::Tensor;
use smallvec::SmallVec;

/// How the segments make up groups.
#[derive(Clone, Copy)]
pub struct Groups {
    n: usize,
    c: usize,
    inner: usize,
    pub groups: usize,
    /// Segments of a group, and from one to the next.
    count: usize,
    step: usize,
    /// From the first segment of a group to that of the next group.
    skip: usize,
    /// Whether a group is a channel.
    whole_channels: bool,
}

impl Groups {
    /// A group for each channel.
    pub fn batch(x: &Tensor) -> Groups {
        let (n, c) = (x.shape()[0], x.shape()[1]);
        let inner = x.shape()[2..].iter().product();
        Groups { n, c, inner, groups: c, count: n, step: c, skip: 1, whole_channels: true }
    }

    /// `groups` for each sample; they divide the channels.
    pub fn of_channels(x: &Tensor, groups: usize) -> Groups {
        let (n, c) = (x.shape()[0], x.shape()[1]);
        let inner = x.shape()[2..].iter().product();
        Groups { n, c, inner, groups: n * groups, count: c / groups, step: 1, skip: c / groups, whole_channels: false }
    }

    /// The same for a GPU.
    fn segments(&self) -> gpu::norm::Segments {
        let count = if self.whole_channels { 0 } else { self.count };
        gpu::norm::Segments { n: self.n, channels: self.c, inner: self.inner, count }
    }

    /// Elements of a group.
    pub fn size(&self) -> usize {
        self.count * self.inner
    }

    /// Where segment `k` of group `i` begins.
    fn at(&self, i: usize, k: usize) -> usize {
        (i * self.skip + k * self.step) * self.inner
    }

    fn channel(&self, i: usize, k: usize) -> usize {
        (i * self.skip + k * self.step) % self.c.max(1)
    }

    /// Whether groups are the columns of a matrix.
    fn columns(&self) -> bool {
        self.whole_channels && self.inner == 1 && self.n > 0 && self.c > 0
    }

    fn grain(&self) -> usize {
        (1 << 14) / self.size().max(1) + 1
    }
}

/// Elements whose sums are taken at a time: they stay in the first-level cache between two looks.
const BLOCK: usize = 4096;

/// Adds up lanes in a fixed order.
#[inline(always)]
fn fold<T: Float>(lanes: &[T; 64]) -> T {
    let mut few = [T::ZERO; 8];
    for eight in lanes.chunks_exact(8) {
        for i in 0..8 {
            few[i] += eight[i];
        }
    }
    ((few[0] + few[4]) + (few[2] + few[6])) + ((few[1] + few[5]) + (few[3] + few[7]))
}

multiversion! {
    /// The sum of `x - shift`, or of its squares.
    fn sum_of<T: Float>(x: &[T], shift: T, squares: bool) -> T {
        let mut lanes = [T::ZERO; 64];
        let whole = x.chunks_exact(64);
        let rest = whole.remainder();
        if squares {
            for x in whole {
                for i in 0..64 {
                    let d = x[i] - shift;
                    lanes[i] += d * d;
                }
            }
            for (lane, &x) in lanes.iter_mut().zip(rest) {
                *lane += (x - shift) * (x - shift);
            }
        } else {
            for x in whole {
                for i in 0..64 {
                    lanes[i] += x[i] - shift;
                }
            }
            for (lane, &x) in lanes.iter_mut().zip(rest) {
                *lane += x - shift;
            }
        }
        fold(&lanes)
    }
}

multiversion! {
    /// The sums of `g` and of `g * (x - mean)`.
    fn sums_of<T: Float>(x: &[T], g: &[T], mean: T) -> [T; 2] {
        let (mut plain, mut times) = ([T::ZERO; 64], [T::ZERO; 64]);
        let (x, g) = (&x[..g.len()], g);
        let whole = g.len() / 64 * 64;
        for (x, g) in x[..whole].chunks_exact(64).zip(g[..whole].chunks_exact(64)) {
            for i in 0..64 {
                plain[i] += g[i];
                times[i] += g[i] * (x[i] - mean);
            }
        }
        for i in 0..g.len() - whole {
            plain[i] += g[whole + i];
            times[i] += g[whole + i] * (x[whole + i] - mean);
        }
        [fold(&plain), fold(&times)]
    }
}

multiversion! {
    /// `(x - mean) * scale + shift`.
    fn scaled<T: Float>(x: &[T], mean: T, scale: T, shift: T, y: &mut [T]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = (x - mean) * scale + shift;
        }
    }
}

multiversion! {
    /// `g * a - (x - mean) * b - c`.
    fn slope<T: Float>(x: &[T], g: &[T], mean: T, a: T, b: T, c: T, dx: &mut [T]) {
        for ((dx, &x), &g) in dx.iter_mut().zip(x).zip(g) {
            *dx = g * a - (x - mean) * b - c;
        }
    }
}

/// Mean and sum of squared deviations of parts, joined one after the other (Chan, Golub and LeVeque, 1979).
#[derive(Default)]
struct Moments {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Moments {
    fn add<T: Float>(&mut self, x: &[T]) {
        for x in x.chunks(BLOCK) {
            let n = x.len() as f64;
            let mean = sum_of(x, T::ZERO, false).to_f64() / n;
            // The rounded mean is what is taken away; the rest of it is put right.
            let near = T::of(mean);
            let squares = sum_of(x, near, true).to_f64() - n * (near.to_f64() - mean) * (near.to_f64() - mean);
            let (delta, all) = (mean - self.mean, self.count + n);
            self.squares += squares + delta * delta * (self.count * n / all);
            self.mean += delta * (n / all);
            self.count = all;
        }
    }

    fn rstd(&self, eps: f64) -> f64 {
        1.0 / (self.squares / self.count + eps).sqrt()
    }
}

/// Channels of `[N, C]` whose statistics are taken together.
const COLUMNS: usize = 64;
/// Rows between additions to the sums in double precision.
const ROWS: usize = 64;

multiversion! {
    /// Sums over the rows of `count` columns from `x`, `c` apart: of `f(x)` and `f(x) * ...`, see `forward_columns`.
    fn column_sums<T: Float>(x: &[T], c: usize, shift: &[T; COLUMNS], count: usize, totals: &mut [f64; COLUMNS], squares: bool) {
        for rows in x.chunks(ROWS * c) {
            let mut part = [T::ZERO; COLUMNS];
            for row in rows.chunks(c) {
                for (i, &x) in row[..count].iter().enumerate() {
                    let d = x - shift[i];
                    part[i] += if squares { d * d } else { d };
                }
            }
            for i in 0..count {
                totals[i] += part[i].to_f64();
            }
        }
    }
}

multiversion! {
    /// Sums over rows of `g` and of `g * (x - mean)` for `count` columns.
    fn column_products<T: Float>(x: &[T], g: &[T], c: usize, mean: &[T], totals: &mut [[f64; COLUMNS]; 2]) {
        let count = mean.len();
        for (x, g) in x.chunks(ROWS * c).zip(g.chunks(ROWS * c)) {
            let mut part = [[T::ZERO; COLUMNS]; 2];
            for (x, g) in x.chunks(c).zip(g.chunks(c)) {
                let (x, g) = (&x[..count], &g[..count]);
                for i in 0..count {
                    part[0][i] += g[i];
                    part[1][i] += g[i] * (x[i] - mean[i]);
                }
            }
            for i in 0..count {
                totals[0][i] += part[0][i].to_f64();
                totals[1][i] += part[1][i].to_f64();
            }
        }
    }
}

/// The normalised input, scaled and shifted by channel; mean and reciprocal deviation of every group.
pub fn forward(x: &Tensor, gr: Groups, w: Option<&Tensor>, b: Option<&Tensor>, eps: f64) -> Result<(Tensor, Tensor, Tensor)> {
    if gpu::holds(x) {
        return gpu::norm::groups(x, gr.segments(), w, b, eps);
    }
    let from = dense(x)?;
    let kind = from.dtype();
    let (wd, bd) = (dense_as(w, kind)?, dense_as(b, kind)?);
    let out = from.empty_like()?;
    let (mean, rstd) = (Tensor::empty(&[gr.groups], kind, x.device())?, Tensor::empty(&[gr.groups], kind, x.device())?);
    dispatch!(float "batch_norm", kind, T => {
        let (wd, bd) = (wd.as_ref().map(|t| t.data::<T>()), bd.as_ref().map(|t| t.data::<T>()));
        let from = from.data::<T>();
        let to = SendPtr(out.data_mut::<T>().as_mut_ptr());
        let (m, s) = (SendPtr(mean.data_mut::<T>().as_mut_ptr()), SendPtr(rstd.data_mut::<T>().as_mut_ptr()));
        // What a value of a channel is multiplied with, and what is added.
        let affine = |ch: usize, rstd: T| (wd.map_or(rstd, |w| w[ch] * rstd), bd.map_or(T::ZERO, |b| b[ch]));
        if gr.columns() {
            let pieces = gr.c.div_ceil(COLUMNS);
            parallel_for(pieces, (1 << 15) / (COLUMNS * gr.n) + 1, |range| {
                for first in range.map(|p| p * COLUMNS) {
                    let count = (gr.c - first).min(COLUMNS);
                    let part = &from[first..];
                    let (mut totals, mut means) = ([0.0; COLUMNS], [T::ZERO; COLUMNS]);
                    column_sums(part, gr.c, &means, count, &mut totals, false);
                    means = totals.map(|t| T::of(t / gr.n as f64));
                    let mut squares = [0.0; COLUMNS];
                    column_sums(part, gr.c, &means, count, &mut squares, true);
                    let (mut scale, mut shift) = ([T::ZERO; COLUMNS], [T::ZERO; COLUMNS]);
                    for i in 0..count {
                        let r = T::of(1.0 / (squares[i] / gr.n as f64 + eps).sqrt());
                        (scale[i], shift[i]) = affine(first + i, r);
                        // SAFETY: each channel belongs to one piece.
                        unsafe { (*m.get().add(first + i), *s.get().add(first + i)) = (means[i], r) };
                    }
                    for (n, row) in part.chunks(gr.c).enumerate() {
                        // SAFETY: as above.
                        let to = unsafe { std::slice::from_raw_parts_mut(to.get().add(n * gr.c + first), count) };
                        for i in 0..count {
                            to[i] = (row[i] - means[i]) * scale[i] + shift[i];
                        }
                    }
                }
            });
        } else {
            parallel_for(gr.groups, gr.grain(), |range| {
                for i in range {
                    let mut moments = Moments::default();
                    (0..gr.count).for_each(|k| moments.add(&from[gr.at(i, k)..][..gr.inner]));
                    let (mean, rstd) = if gr.size() > 0 { (T::of(moments.mean), T::of(moments.rstd(eps))) } else { (T::of(f64::NAN), T::of(f64::NAN)) };
                    // SAFETY: each group has a mean, a deviation and segments of its own.
                    unsafe { (*m.get().add(i), *s.get().add(i)) = (mean, rstd) };
                    for k in 0..gr.count {
                        let (scale, shift) = affine(gr.channel(i, k), rstd);
                        let at = gr.at(i, k);
                        // SAFETY: as above.
                        let to = unsafe { std::slice::from_raw_parts_mut(to.get().add(at), gr.inner) };
                        scaled(&from[at..at + gr.inner], mean, scale, shift, to);
                    }
                }
            });
        }
    });
    Ok((copy::to_dtype(&out, x.dtype())?, mean, rstd))
}

/// Gradients of input, weight and bias (the last two in the dtype that kernels compute in), from what [`forward`] gave.
pub fn backward(
    x: &Tensor,
    g: &Tensor,
    gr: Groups,
    w: Option<&Tensor>,
    mean: &Tensor,
    rstd: &Tensor,
) -> Result<(Tensor, Tensor, Tensor)> {
    if gpu::holds(x) {
        return gpu::norm::groups_backward(x, g, gr.segments(), w, mean, rstd);
    }
    let (xd, gd) = (dense(x)?, dense(g)?);
    let kind = xd.dtype();
    let (wd, mean, rstd) = (dense_as(w, kind)?, dense(mean)?, dense(rstd)?);
    let dx = xd.empty_like()?;
    // A channel is a group, or has sums for every sample.
    let rows = if gr.whole_channels { 1 } else { gr.n };
    let sums = Tensor::zeros(&[2, rows, gr.c], kind, x.device())?;
    let half = rows * gr.c;
    dispatch!(float "batch_norm_backward", kind, T => {
        let wd = wd.as_ref().map(|t| t.data::<T>());
        let (xd, gd, mean, rstd) = (xd.data::<T>(), gd.data::<T>(), mean.data::<T>(), rstd.data::<T>());
        let (to, sums) = (SendPtr(dx.data_mut::<T>().as_mut_ptr()), SendPtr(sums.data_mut::<T>().as_mut_ptr()));
        let size = gr.size() as f64;
        // dx = rstd * (g w - mean of g w - hat * mean of g w hat), hat being (x - mean) * rstd.
        if gr.columns() {
            parallel_for(gr.c.div_ceil(COLUMNS), (1 << 15) / (COLUMNS * gr.n) + 1, |range| {
                for first in range.map(|p| p * COLUMNS) {
                    let count = (gr.c - first).min(COLUMNS);
                    let (x, g, mean) = (&xd[first..], &gd[first..], &mean[first..first + count]);
                    let mut totals = [[0.0; COLUMNS]; 2];
                    column_products(x, g, gr.c, mean, &mut totals);
                    let [mut a, mut b, mut c] = [[T::ZERO; COLUMNS]; 3];
                    for i in 0..count {
                        let (r, w) = (rstd[first + i].to_f64(), wd.map_or(1.0, |w| w[first + i].to_f64()));
                        a[i] = T::of(w * r);
                        b[i] = T::of(w * r * r * r * totals[1][i] / size);
                        c[i] = T::of(w * r * totals[0][i] / size);
                        // SAFETY: each channel belongs to one piece.
                        unsafe {
                            *sums.get().add(first + i) = T::of(totals[1][i] * r);
                            *sums.get().add(half + first + i) = T::of(totals[0][i]);
                        }
                    }
                    for (n, (x, g)) in x.chunks(gr.c).zip(g.chunks(gr.c)).enumerate() {
                        // SAFETY: as above.
                        let to = unsafe { std::slice::from_raw_parts_mut(to.get().add(n * gr.c + first), count) };
                        for i in 0..count {
                            to[i] = g[i] * a[i] - (x[i] - mean[i]) * b[i] - c[i];
                        }
                    }
                }
            });
        } else {
            parallel_for(gr.groups, gr.grain(), |range| {
                for i in range {
                    let (mean, r) = (mean[i], rstd[i].to_f64());
                    let weight = |k: usize| wd.map_or(1.0, |w| w[gr.channel(i, k)].to_f64());
                    // Sums of the group's products with and without the weight.
                    let (mut weighted, mut channel) = ([0.0; 2], [0.0; 2]);
                    for k in 0..gr.count {
                        let at = gr.at(i, k);
                        let mut own = [0.0; 2];
                        for at in (at..at + gr.inner).step_by(BLOCK) {
                            let end = (at + BLOCK).min(gr.at(i, k) + gr.inner);
                            let part = sums_of(&xd[at..end], &gd[at..end], mean);
                            (0..2).for_each(|j| own[j] += part[j].to_f64());
                        }
                        (0..2).for_each(|j| weighted[j] += own[j] * weight(k));
                        if gr.whole_channels {
                            (0..2).for_each(|j| channel[j] += own[j]);
                            own = channel;
                        }
                        let to = if gr.whole_channels { i } else { i * gr.skip + k * gr.step };
                        // SAFETY: the channel, or the segment, belongs to this group, so to one thread.
                        unsafe {
                            *sums.get().add(to) = T::of(own[1] * r);
                            *sums.get().add(half + to) = T::of(own[0]);
                        }
                    }
                    for k in 0..gr.count {
                        let at = gr.at(i, k);
                        let (a, b, c) = (weight(k) * r, r * r * r * weighted[1] / size, r * weighted[0] / size);
                        // SAFETY: as above.
                        let to = unsafe { std::slice::from_raw_parts_mut(to.get().add(at), gr.inner) };
                        slope(&xd[at..at + gr.inner], &gd[at..at + gr.inner], mean, T::of(a), T::of(b), T::of(c), to);
                    }
                }
            });
        }
    });
    let total = if gr.whole_channels { view::select(&sums, 1, 0)? } else { reduce::sum(&sums, Some(&[1]), false, None)? };
    Ok((copy::to_dtype(&dx, x.dtype())?, view::select(&total, 0, 0)?, view::select(&total, 0, 1)?))
}

/// A weight for each channel, in a shape that broadcasts over `[N, C, ...]`.
pub fn per_channel(w: &Tensor, ndim: usize) -> Result<Tensor> {
    let mut shape = Dims::from_elem(1, ndim);
    shape[1] = w.numel();
    view::reshape_to(w, &shape)
}

/// [`backward`] in differentiable ops: `x` seen as `shape`, its norm taken over `dims` of that.
pub fn composed(
    x: &Tensor,
    g: &Tensor,
    shape: &[usize],
    dims: &[i64],
    w: Option<&Tensor>,
    eps: f64,
) -> Result<(Tensor, Tensor, Tensor)> {
    let gw = match w {
        Some(w) => mul(g, &per_channel(w, x.ndim())?)?,
        None => g.clone(),
    };
    let (dx, hat) = composed_parts(&view::reshape_to(x, shape)?, &view::reshape_to(&gw, shape)?, dims, eps, true)?;
    let hat = view::reshape_to(&hat, x.shape())?;
    let others: SmallVec<[i64; 6]> = (0..x.ndim() as i64).filter(|&d| d != 1).collect();
    let dw = reduce::sum(&mul(g, &hat)?, Some(&others), false, None)?;
    let db = reduce::sum(g, Some(&others), false, None)?;
    Ok((copy::to_dtype(&view::reshape_to(&dx, x.shape())?, x.dtype())?, dw, db))
}
