//! Shuffles between channels and space.

use super::super::{Registry, Ret, copy, view};
use crate::autograd::record;
use crate::error::Result;
use crate::layout::{Dims, show};
use crate::tensor::Tensor;
use crate::{ensure, err};
use smallvec::smallvec;

/// The elements of `x`, seen as `split`, with dimensions in the order `order`, as `shape`. Without history.
fn moved(x: &Tensor, split: &[usize], order: &[i64], shape: &[usize]) -> Result<Tensor> {
    let parts = view::reshape_to(&x.detach(), split)?;
    let y = copy::clone(&view::permute(&parts, order)?, Some(super::super::MemoryFormat::Contiguous))?;
    Ok(view::reshape_to(&y, shape)?.detach())
}

/// Flattens leading dimensions: batch, channels, height, width.
fn image(x: &Tensor) -> (usize, [usize; 3]) {
    let s = x.shape();
    let n = s.len();
    (s[..n - 3].iter().product(), [s[n - 3], s[n - 2], s[n - 1]])
}

/// `[*, C r², H, W]` to `[*, C, H r, W r]`.
pub fn pixel_shuffle(x: &Tensor, factor: i64) -> Result<Tensor> {
    ensure!(
        x.ndim() >= 3,
        Runtime,
        "pixel_shuffle expects input to have at least 3 dimensions, but got input with {} dimension(s)",
        x.ndim()
    );
    ensure!(factor > 0, Runtime, "pixel_shuffle expects a positive upscale_factor, but got {factor}");
    let square = factor
        .checked_mul(factor)
        .ok_or_else(|| err!(Value, "upscale factor is too large, (upscale_factor)^2 overflowed: upscale_factor={factor}"))?
        as usize;
    let (batch, [c, h, w]) = image(x);
    ensure!(
        c % square == 0,
        Runtime,
        "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, but input.size(-3)={c} is not divisible by {square}"
    );
    let r = factor as usize;
    let over =
        || err!(Runtime, "pixel_shuffle: the output size overflows, with input {} and upscale_factor {factor}", show(x.shape()));
    let (tall, wide) = (h.checked_mul(r).ok_or_else(over)?, w.checked_mul(r).ok_or_else(over)?);
    let lead = &x.shape()[..x.ndim() - 3];
    let shape: Dims = lead.iter().copied().chain([c / square, tall, wide]).collect();
    let out = if x.numel() == 0 {
        Tensor::empty(&shape, x.dtype(), x.device())?
    } else {
        moved(x, &[batch, c / square, r, r, h, w], &[0, 1, 4, 2, 5, 3], &shape)?
    };
    Ok(record("PixelShuffleBackward0", &[x], out, move |_, g| Ok(smallvec![Some(pixel_unshuffle(g, factor)?)])))
}

/// `[*, C, H r, W r]` to `[*, C r², H, W]`.
pub fn pixel_unshuffle(x: &Tensor, factor: i64) -> Result<Tensor> {
    ensure!(
        x.ndim() >= 3,
        Runtime,
        "pixel_unshuffle expects input to have at least 3 dimensions, but got input with {} dimension(s)",
        x.ndim()
    );
    ensure!(factor > 0, Runtime, "pixel_unshuffle expects a positive downscale_factor, but got {factor}");
    let (batch, [c, h, w]) = image(x);
    let r = factor as usize;
    for (n, what, d) in [(h, "height", 2), (w, "width", 1)] {
        ensure!(
            n % r == 0,
            Runtime,
            "pixel_unshuffle expects {what} to be divisible by downscale_factor, but input.size(-{d})={n} is not divisible by {factor}"
        );
    }
    let over = || {
        err!(Runtime, "pixel_unshuffle: the output size overflows, with input {} and downscale_factor {factor}", show(x.shape()))
    };
    let channels = r.checked_mul(r).and_then(|q| q.checked_mul(c)).filter(|&n| n <= i64::MAX as usize).ok_or_else(over)?;
    let lead = &x.shape()[..x.ndim() - 3];
    let shape: Dims = lead.iter().copied().chain([channels, h / r, w / r]).collect();
    let out = if x.numel() == 0 {
        Tensor::empty(&shape, x.dtype(), x.device())?
    } else {
        moved(x, &[batch, c, h / r, r, w / r, r], &[0, 1, 3, 5, 2, 4], &shape)?
    };
    Ok(record("PixelUnshuffleBackward0", &[x], out, move |_, g| Ok(smallvec![Some(pixel_shuffle(g, factor)?)])))
}

/// Interleaves `groups` blocks of channels.
pub fn channel_shuffle(x: &Tensor, groups: i64) -> Result<Tensor> {
    ensure!(x.ndim() > 2, Runtime, "channel_shuffle expects input with > 2 dims, but got input with sizes {}", show(x.shape()));
    ensure!(groups > 0, Runtime, "Number of groups to divide channels in must be positive. Value of groups:{groups}");
    let c = x.shape()[1];
    ensure!(
        c as i64 % groups == 0,
        Runtime,
        "Number of channels must be divisible by groups. Got {c} channels and {groups} groups."
    );
    let (g, batch) = (groups as usize, x.shape()[0]);
    let plane: usize = x.shape()[2..].iter().product();
    let shape = x.dims();
    let out = if x.numel() == 0 { x.empty_like()? } else { moved(x, &[batch, g, c / g, plane], &[0, 2, 1, 3], &shape)? };
    Ok(record("ChannelShuffleBackward0", &[x], out, move |_, grad| {
        // The other way: as many groups as there were channels in one.
        let back = if c == 0 { 1 } else { (c / g) as i64 };
        Ok(smallvec![Some(channel_shuffle(grad, back)?)])
    }))
}

pub(super) fn register(r: &mut Registry) {
    r.op("fn", "pixel_shuffle(Tensor self, int upscale_factor) -> Tensor", "Channels to finer pixels.", |a| {
        pixel_shuffle(a.t(0), a.int(1)).map(Ret::from)
    });
    r.op("fn", "pixel_unshuffle(Tensor self, int downscale_factor) -> Tensor", "Fine pixels to channels.", |a| {
        pixel_unshuffle(a.t(0), a.int(1)).map(Ret::from)
    });
    r.op("fn", "channel_shuffle(Tensor self, int groups) -> Tensor", "Interleaves groups of channels.", |a| {
        channel_shuffle(a.t(0), a.int(1)).map(Ret::from)
    });
    r.op("fn", "native_channel_shuffle(Tensor self, int groups) -> Tensor", "Interleaves groups of channels.", |a| {
        channel_shuffle(a.t(0), a.int(1)).map(Ret::from)
    });
}
