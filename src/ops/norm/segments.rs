//! Norms over groups of segments: batch, group and instance norm.
//!
//! The input is `[N, C, inner]`: `N * C` segments of `inner` elements. A batch norm group is the segments of a
//! channel, a group norm group is neighbouring segments of a sample.

use super::layer::{composed_parts, moments};
use super::num::{Num, dense, dense_as, dot_row};
use crate::cpu::norm::group::{self, Segments};
use crate::cpu::threads::{SendPtr, parallel_for};
use crate::dispatch;
use crate::error::Result;
use crate::layout::Dims;
use crate::ops::elementwise::mul;
use crate::ops::reduce::sum_row;
use crate::ops::{copy, reduce, view};
use crate::tensor::Tensor;
use smallvec::{SmallVec, smallvec};

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
}

impl Groups {
    /// A group for each channel.
    pub fn batch(x: &Tensor) -> Groups {
        let (n, c) = (x.shape()[0], x.shape()[1]);
        let inner = x.shape()[2..].iter().product();
        Groups { n, c, inner, groups: c, count: n, step: c, skip: 1 }
    }

    /// `groups` for each sample; they divide the channels.
    pub fn of_channels(x: &Tensor, groups: usize) -> Groups {
        let (n, c) = (x.shape()[0], x.shape()[1]);
        let inner = x.shape()[2..].iter().product();
        Groups { n, c, inner, groups: n * groups, count: c / groups, step: 1, skip: c / groups }
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

    /// Groups that lie in one piece, for the kernels of group norm.
    fn whole(&self) -> Option<Segments> {
        let neighbours = self.step == 1 && self.skip == self.count && self.count > 0 && self.c > 0;
        neighbours.then(|| Segments { groups: self.c / self.count, channels: self.count, inner: self.inner })
    }

    fn gather<T: Num>(&self, from: &[T], i: usize, to: &mut [T]) {
        if self.inner == 1 {
            for (k, to) in to.iter_mut().enumerate() {
                *to = from[self.at(i, k)];
            }
            return;
        }
        for k in 0..self.count {
            let at = self.at(i, k);
            to[k * self.inner..(k + 1) * self.inner].copy_from_slice(&from[at..at + self.inner]);
        }
    }

    fn grain(&self) -> usize {
        (1 << 14) / self.size().max(1) + 1
    }
}

/// The normalised input, scaled and shifted by channel; mean and reciprocal deviation of every group.
pub fn forward(x: &Tensor, gr: Groups, w: Option<&Tensor>, b: Option<&Tensor>, eps: f64) -> Result<(Tensor, Tensor, Tensor)> {
    let from = dense(x)?;
    let kind = from.dtype();
    let (wd, bd) = (dense_as(w, kind)?, dense_as(b, kind)?);
    let out = from.empty_like()?;
    let (mean, rstd) = (Tensor::empty(&[gr.groups], kind, x.device())?, Tensor::empty(&[gr.groups], kind, x.device())?);
    dispatch!(float "batch_norm", kind, T => {
        let (wd, bd) = (wd.as_ref().map(|t| t.data::<T>()), bd.as_ref().map(|t| t.data::<T>()));
        if let Some(q) = gr.whole() {
            let (m, s) = (mean.data_mut::<T>(), rstd.data_mut::<T>());
            group::forward(from.data::<T>(), q, wd, bd, eps, out.data_mut::<T>(), m, s);
            return Ok((copy::to_dtype(&out, x.dtype())?, mean, rstd));
        }
        let to = SendPtr(out.data_mut::<T>().as_mut_ptr());
        let (m, s) = (SendPtr(mean.data_mut::<T>().as_mut_ptr()), SendPtr(rstd.data_mut::<T>().as_mut_ptr()));
        let from = from.data::<T>();
        parallel_for(gr.groups, gr.grain(), |range| {
            let (mut buffer, mut d) = (vec![T::ZERO; gr.size()], vec![T::ZERO; gr.size()]);
            for i in range {
                gr.gather(from, i, &mut buffer);
                let (mean, rstd) = moments(&buffer, &mut d, eps, true);
                // SAFETY: each group has a mean, a deviation and segments of its own.
                unsafe {
                    *m.get().add(i) = mean;
                    *s.get().add(i) = rstd;
                }
                for k in 0..gr.count {
                    let ch = gr.channel(i, k);
                    let (scale, shift) = (wd.map_or(rstd, |w| w[ch] * rstd), bd.map_or(T::ZERO, |b| b[ch]));
                    // SAFETY: as above.
                    let seg = unsafe { std::slice::from_raw_parts_mut(to.get().add(gr.at(i, k)), gr.inner) };
                    for (y, &d) in seg.iter_mut().zip(&d[k * gr.inner..]) {
                        *y = d * scale + shift;
                    }
                }
            }
        });
    });
    Ok((copy::to_dtype(&out, x.dtype())?, mean, rstd))
}

/// Gradients of input, weight and bias (the last two in the dtype that kernels compute in).
pub fn backward(x: &Tensor, g: &Tensor, gr: Groups, w: Option<&Tensor>, eps: f64) -> Result<(Tensor, Tensor, Tensor)> {
    let (xd, gd) = (dense(x)?, dense(g)?);
    let kind = xd.dtype();
    let wd = dense_as(w, kind)?;
    let dx = xd.empty_like()?;
    let sums = Tensor::zeros(&[2, gr.n, gr.c], kind, x.device())?;
    let segments = gr.n * gr.c;
    dispatch!(float "batch_norm_backward", kind, T => {
        let wd = wd.as_ref().map(|t| t.data::<T>());
        let (xd, gd) = (xd.data::<T>(), gd.data::<T>());
        if let Some(q) = gr.whole() {
            let (gh, g) = sums.data_mut::<T>().split_at_mut(segments);
            group::backward(xd, gd, q, wd, eps, dx.data_mut::<T>(), gh, g);
        } else {
        let (to, sums) = (SendPtr(dx.data_mut::<T>().as_mut_ptr()), SendPtr(sums.data_mut::<T>().as_mut_ptr()));
        parallel_for(gr.groups, gr.grain(), |range| {
            let size = gr.size();
            let (mut buffer, mut hat, mut gw) = (vec![T::ZERO; size], vec![T::ZERO; size], vec![T::ZERO; size]);
            for i in range {
                gr.gather(xd, i, &mut buffer);
                gr.gather(gd, i, &mut gw);
                let (_, rstd) = moments(&buffer, &mut hat, eps, true);
                hat.iter_mut().for_each(|h| *h *= rstd);
                for k in 0..gr.count {
                    let part = k * gr.inner..(k + 1) * gr.inner;
                    let (g, h) = (&mut gw[part.clone()], &hat[part]);
                    let seg = i * gr.skip + k * gr.step;
                    // SAFETY: each segment belongs to one group, so to one thread.
                    unsafe {
                        *sums.get().add(seg) = dot_row(g, h);
                        *sums.get().add(segments + seg) = sum_row(g);
                    }
                    if let Some(w) = wd {
                        let w = w[gr.channel(i, k)];
                        g.iter_mut().for_each(|g| *g *= w);
                    }
                }
                let n = T::of(size as f64);
                let (m, p) = (sum_row(&gw) / n, dot_row(&gw, &hat) / n);
                for k in 0..gr.count {
                    // SAFETY: as above.
                    let seg = unsafe { std::slice::from_raw_parts_mut(to.get().add(gr.at(i, k)), gr.inner) };
                    let (g, h) = (&gw[k * gr.inner..], &hat[k * gr.inner..]);
                    for (j, dx) in seg.iter_mut().enumerate() {
                        *dx = rstd * (g[j] - m - h[j] * p);
                    }
                }
            }
        });
        }
    });
    let total = reduce::sum(&sums, Some(&[1]), false, None)?;
    Ok((copy::to_dtype(&dx, x.dtype())?, view::select(&total, 0, 0)?, view::select(&total, 0, 1)?))
}

/// A weight for each channel, in a shape that broadcasts over `[N, C, ...]`.
pub fn per_channel(w: &Tensor, ndim: usize) -> Result<Tensor> {
    let mut shape: Dims = smallvec![1; ndim];
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
