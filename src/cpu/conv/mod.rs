//! Convolution over contiguous `N C (D H W)` arrays; fewer spatial dimensions have leading ones.
//!
//! A convolution is a matrix product whose right operand, the unfolded image, is never stored: the
//! panels of the product are filled from a padded copy of the image ([`columns`]). Where little would be shared, the
//! padded image is read as it is ([`direct`]); 3 x 3 kernels have an algorithm of their own ([`winograd`]). The order of
//! every sum depends on the shape alone.

#![allow(clippy::too_many_arguments)]

mod columns;
mod direct;
mod winograd;

use super::gemm::{GemmScalar, batched_gemm, gemm, gemm_panels, strided_panels, with_scratch};
use super::threads::{SendPtr, num_threads, parallel_for, parallel_pieces};
use columns::{ImageRows, Joint, Padded, Positions, Taps};
use std::any::TypeId;
use std::ops::Range;

/// Why a convolution has no shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConvError {
    /// Groups are zero or do not divide the channels.
    Groups,
    /// A stride or dilation is zero.
    Zero,
    /// The kernel, with its dilation, is larger than the padded input, or empty.
    KernelTooLarge,
    /// A size does not fit in the address space.
    Overflow,
}

/// The sizes of a convolution: `batch` images of `c_in` channels to `c_out` channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvShape {
    pub batch: usize,
    pub c_in: usize,
    pub c_out: usize,
    pub groups: usize,
    /// Depth, height and width.
    pub input: [usize; 3],
    pub kernel: [usize; 3],
    pub stride: [usize; 3],
    pub pad: [usize; 3],
    pub dilation: [usize; 3],
    pub output: [usize; 3],
}

fn product(factors: &[usize]) -> Option<usize> {
    let all = factors.iter().try_fold(1_usize, |a, &b| a.checked_mul(b));
    all.filter(|&n| n <= isize::MAX as usize / 16)
}

impl ConvShape {
    /// A forward convolution; computes the output size.
    pub fn new(
        batch: usize,
        c_in: usize,
        c_out: usize,
        groups: usize,
        input: [usize; 3],
        kernel: [usize; 3],
        stride: [usize; 3],
        pad: [usize; 3],
        dilation: [usize; 3],
    ) -> Result<ConvShape, ConvError> {
        let mut output = [0; 3];
        for d in 0..3 {
            if stride[d] == 0 || dilation[d] == 0 {
                return Err(ConvError::Zero);
            }
            let reach =
                kernel[d].checked_sub(1).ok_or(ConvError::KernelTooLarge)?.checked_mul(dilation[d]).ok_or(ConvError::Overflow)?;
            let padded = pad[d].checked_mul(2).and_then(|p| p.checked_add(input[d])).ok_or(ConvError::Overflow)?;
            let room = padded.checked_sub(reach + 1);
            output[d] = room.ok_or(ConvError::KernelTooLarge)? / stride[d] + 1;
        }
        let shape = ConvShape { batch, c_in, c_out, groups, input, kernel, stride, pad, dilation, output };
        shape.check()
    }

    /// The convolution whose input gradient is this transposed convolution: `input` is the (small)
    /// input of the transposed one, and becomes `output` here; `c_in` and `c_out` are those of the
    /// transposed one and change places too. Weights are `[c_in, c_out / groups, kernel]`, which is
    /// the layout [`conv_backward_input`] takes.
    pub fn transposed(
        batch: usize,
        c_in: usize,
        c_out: usize,
        groups: usize,
        input: [usize; 3],
        kernel: [usize; 3],
        stride: [usize; 3],
        pad: [usize; 3],
        output_pad: [usize; 3],
        dilation: [usize; 3],
    ) -> Result<ConvShape, ConvError> {
        let mut large = [0; 3];
        for d in 0..3 {
            if stride[d] == 0 || dilation[d] == 0 {
                return Err(ConvError::Zero);
            }
            let size = || {
                let steps = input[d].checked_sub(1)?.checked_mul(stride[d])?;
                let reach = kernel[d].checked_sub(1)?.checked_mul(dilation[d])?;
                let full = steps.checked_add(reach)?.checked_add(output_pad[d])?;
                full.checked_add(1)?.checked_sub(pad[d].checked_mul(2)?)
            };
            large[d] = size().ok_or(ConvError::KernelTooLarge)?;
        }
        let shape =
            ConvShape { batch, c_in: c_out, c_out: c_in, groups, input: large, kernel, stride, pad, dilation, output: input };
        shape.check()
    }

    fn check(self) -> Result<ConvShape, ConvError> {
        if self.groups == 0 || !self.c_in.is_multiple_of(self.groups) || !self.c_out.is_multiple_of(self.groups) {
            return Err(ConvError::Groups);
        }
        let padded: Option<Vec<usize>> = (0..3).map(|d| self.pad[d].checked_mul(2)?.checked_add(self.input[d])).collect();
        let padded = padded.ok_or(ConvError::Overflow)?;
        let sizes = [
            product(&[self.batch, self.c_in, padded[0], padded[1], padded[2]]),
            product(&[self.c_out, self.c_in, self.kernel[0], self.kernel[1], self.kernel[2]]),
            product(&[self.batch, self.c_out, self.output[0], self.output[1], self.output[2]]),
            product(&[self.c_in, self.kernel[0], self.kernel[1], self.kernel[2], self.output[2]]),
        ];
        if sizes.contains(&None) {
            return Err(ConvError::Overflow);
        }
        Ok(self)
    }

    /// Elements of an input plane, a kernel, an output plane.
    fn planes(&self) -> (usize, usize, usize) {
        (self.input.iter().product(), self.kernel.iter().product(), self.output.iter().product())
    }

    /// Elements of the input, the weight and the output.
    pub fn lens(&self) -> (usize, usize, usize) {
        let (input, kernel, output) = self.planes();
        (self.batch * self.c_in * input, self.c_out * (self.c_in / self.groups) * kernel, self.batch * self.c_out * output)
    }

    /// Whether each output channel sees a single input channel.
    fn depthwise(&self) -> bool {
        self.groups == self.c_in && self.c_in > 1
    }

    /// Whether the unfolded image is the image itself.
    fn pointwise(&self) -> bool {
        self.kernel == [1; 3] && self.stride == [1; 3] && self.pad == [0; 3]
    }

    /// Whether the input gradient is a stride-1 convolution of the output gradient.
    fn flips(&self) -> bool {
        self.stride == [1; 3]
            && (0..3).all(|d| {
                let reach = self.dilation[d] * (self.kernel[d] - 1);
                reach >= self.pad[d] && self.output[d] + reach == self.input[d] + 2 * self.pad[d]
            })
    }

    fn assert_lens<T>(&self, x: &[T], w: &[T], y: &[T]) {
        assert_eq!((x.len(), w.len(), y.len()), self.lens(), "convolution buffers do not fit {self:?}");
    }
}

/// Runs `f` for each piece, side by side when there are enough of them for all threads, else one by
/// one so that each can use all threads itself.
fn spread(pieces: usize, f: impl Fn(usize) + Sync) {
    if pieces >= num_threads() {
        parallel_pieces(pieces, f);
    } else {
        (0..pieces).for_each(f);
    }
}

/// Runs `f(piece, run)` for every piece; `run(g)` is to be called for what the piece does row by row, `g` getting ranges
/// of rows. Pieces run side by side if there are enough of them for all threads, else their rows do. `work` is that of a
/// piece, in multiply-adds.
fn each_or_rows(pieces: usize, work: usize, rows: usize, f: impl Fn(usize, &dyn Fn(&(dyn Fn(Range<usize>) + Sync))) + Sync) {
    const GRAIN: usize = 1 << 17;
    if pieces >= num_threads() {
        parallel_for(pieces, GRAIN / work.max(1), |range| {
            range.for_each(|piece| f(piece, &|run| run(0..rows)));
        });
    } else {
        let grain = GRAIN * rows / work.max(1);
        (0..pieces).for_each(|piece| f(piece, &|run| parallel_for(rows, grain, run)));
    }
}

/// The slices as float32, if that is what they are.
fn as_f32<T: 'static>(v: &[T]) -> Option<&[f32]> {
    // SAFETY: a slice of the same type.
    (TypeId::of::<T>() == TypeId::of::<f32>()).then(|| unsafe { std::slice::from_raw_parts(v.as_ptr().cast(), v.len()) })
}

/// As [`as_f32`], to write.
fn as_f32_mut<T: 'static>(v: &mut [T]) -> Option<&mut [f32]> {
    // SAFETY: a slice of the same type.
    (TypeId::of::<T>() == TypeId::of::<f32>()).then(|| unsafe { std::slice::from_raw_parts_mut(v.as_mut_ptr().cast(), v.len()) })
}

/// `y = conv(x, w) + bias`.
pub fn conv_forward<T: GemmScalar>(s: &ConvShape, x: &[T], w: &[T], bias: Option<&[T]>, y: &mut [T]) {
    s.assert_lens(x, w, y);
    if let Some(bias) = bias {
        assert_eq!(bias.len(), s.c_out, "convolution bias");
    }
    if y.is_empty() {
        return;
    }
    if s.depthwise() {
        return direct::forward(s, x, w, bias, y);
    }
    if let (Some(x), Some(w), Some(y)) = (as_f32(x), as_f32(w), as_f32_mut(y))
        && winograd::forward(s, x, w, bias.and_then(as_f32), y)
    {
        return;
    }
    let (in_plane, kernel, plane) = s.planes();
    if direct::pays(s) && !(s.pointwise() && plane >= 32) {
        return direct::forward(s, x, w, bias, y);
    }
    let (cig, cog) = (s.c_in / s.groups, s.c_out / s.groups);
    let taps = cig * kernel;
    let y = SendPtr(y.as_mut_ptr());
    // The bias is what the sums start from.
    let start = |image: usize, group: usize| {
        if let Some(bias) = bias {
            let first = group * cog;
            for (co, &value) in bias[first..first + cog].iter().enumerate() {
                let at = (image * s.c_out + first + co) * plane;
                // SAFETY: a plane of the output that only this piece writes.
                unsafe { y.slice(at, plane) }.fill(value);
            }
        }
    };
    if s.pointwise() && plane >= 32 {
        return spread(s.batch * s.groups, |piece| {
            let (image, group) = (piece / s.groups, piece % s.groups);
            start(image, group);
            let from = &x[(image * s.c_in + group * cig) * in_plane..][..cig * in_plane];
            let weight = &w[group * cog * taps..][..cog * taps];
            // SAFETY: the operands are whole slices; the result is this piece's part of `y`.
            unsafe {
                gemm(
                    cog,
                    plane,
                    taps,
                    weight.as_ptr(),
                    taps as isize,
                    1,
                    from.as_ptr(),
                    plane as isize,
                    1,
                    y.get().add((image * s.c_out + group * cog) * plane),
                    plane as isize,
                    1,
                    bias.is_some(),
                );
            }
        });
    }
    // Small images share a product.
    let share = if plane >= 128 { 1 } else { 256_usize.div_ceil(plane).min(s.batch) };
    let chunks = s.batch.div_ceil(share);
    let padded = Padded::new(s, cig);
    let offsets = Taps::new(s, &padded);
    spread(chunks * s.groups, |piece| {
        let (chunk, group) = (piece / s.groups, piece % s.groups);
        let first = chunk * share;
        let images = share.min(s.batch - first);
        with_scratch::<T, _>(padded.len(images), |scratch| {
            // SAFETY: the scratch has room for `images` padded images.
            unsafe { padded.fill(s, x, group * cig, first, images, scratch) };
            let columns = Positions::new(s, &padded, scratch.get(), &offsets);
            // SAFETY: the weights are a slice of `cog` rows.
            let rows = unsafe { strided_panels(w[group * cog * taps..][..cog * taps].as_ptr(), taps as isize, 1) };
            if images == 1 {
                start(first, group);
                // SAFETY: the result is this piece's part of `y`.
                unsafe {
                    let to = y.get().add((first * s.c_out + group * cog) * plane);
                    gemm_panels(cog, plane, taps, &rows, &columns, to, plane as isize, bias.is_some());
                }
                return;
            }
            let wide = images * plane;
            with_scratch::<T, _>(cog * wide, |tmp| {
                // SAFETY: `tmp` holds the product; each plane of `y` written belongs to this piece.
                unsafe {
                    gemm_panels(cog, wide, taps, &rows, &columns, tmp.get(), wide as isize, false);
                    for image in 0..images {
                        for co in 0..cog {
                            let channel = group * cog + co;
                            let from = tmp.slice(co * wide + image * plane, plane);
                            let at = ((first + image) * s.c_out + channel) * plane;
                            let to = y.slice(at, plane);
                            match bias {
                                None => to.copy_from_slice(from),
                                Some(bias) => {
                                    for (to, from) in to.iter_mut().zip(from.iter()) {
                                        *to = *from + bias[channel];
                                    }
                                }
                            }
                        }
                    }
                }
            });
        });
    });
}

/// The gradient of the input; also the forward pass of a transposed convolution.
pub fn conv_backward_input<T: GemmScalar>(s: &ConvShape, gy: &[T], w: &[T], gx: &mut [T]) {
    s.assert_lens(gx, w, gy);
    if gx.is_empty() {
        return;
    }
    let (in_plane, kernel, plane) = s.planes();
    let (cig, cog) = (s.c_in / s.groups, s.c_out / s.groups);
    let taps = cig * kernel;
    if cog == 0 || plane == 0 {
        gx.fill(T::default());
        return;
    }
    if s.depthwise() {
        return direct::backward_input(s, gy, w, gx);
    }
    if let (Some(gy), Some(w), Some(gx)) = (as_f32(gy), as_f32(w), as_f32_mut(gx))
        && winograd::backward_input(s, gy, w, gx)
    {
        return;
    }
    if s.pointwise() && plane >= 32 {
        let gx = SendPtr(gx.as_mut_ptr());
        return spread(s.groups, |group| {
            let at = group * cog * plane;
            // SAFETY: the strides walk over whole slices; groups are disjoint in `gx`.
            unsafe {
                batched_gemm(
                    s.batch,
                    cig,
                    plane,
                    cog,
                    w[group * cog * taps..].as_ptr(),
                    0,
                    1,
                    taps as isize,
                    gy[at..].as_ptr(),
                    (s.c_out * plane) as isize,
                    plane as isize,
                    1,
                    gx.get().add(group * cig * in_plane),
                    (s.c_in * in_plane) as isize,
                    in_plane as isize,
                    1,
                    false,
                );
            }
        });
    }
    if s.flips() {
        let turned = ConvShape {
            c_in: s.c_out,
            c_out: s.c_in,
            input: s.output,
            output: s.input,
            pad: std::array::from_fn(|d| s.dilation[d] * (s.kernel[d] - 1) - s.pad[d]),
            ..*s
        };
        return with_scratch::<T, _>(w.len(), |scratch| {
            // SAFETY: the scratch has room for the weights; every element is written below.
            let flipped = unsafe {
                std::ptr::write_bytes(scratch.get(), 0, w.len());
                scratch.slice(0, w.len())
            };
            for group in 0..s.groups {
                for co in 0..cog {
                    for ci in 0..cig {
                        let from = &w[((group * cog + co) * cig + ci) * kernel..][..kernel];
                        let at = ((group * cig + ci) * cog + co) * kernel;
                        for (to, from) in flipped[at..at + kernel].iter_mut().rev().zip(from) {
                            *to = *from;
                        }
                    }
                }
            }
            conv_forward(&turned, gy, flipped, None, gx);
        });
    }
    direct::backward_input(s, gy, w, gx);
}

/// The gradient of the weight.
pub fn conv_backward_weight<T: GemmScalar>(s: &ConvShape, x: &[T], gy: &[T], gw: &mut [T]) {
    s.assert_lens(x, gw, gy);
    let (_, kernel, plane) = s.planes();
    let (cig, cog) = (s.c_in / s.groups, s.c_out / s.groups);
    let taps = cig * kernel;
    if s.batch == 0 || plane == 0 {
        gw.fill(T::default());
        return;
    }
    if gw.is_empty() {
        return;
    }
    if s.depthwise() {
        return direct::backward_weight(s, x, gy, gw);
    }
    if let (Some(x), Some(gy), Some(gw)) = (as_f32(x), as_f32(gy), as_f32_mut(gw))
        && winograd::backward_weight(s, x, gy, gw)
    {
        return;
    }
    if direct::correlates(s) {
        return direct::backward_weight(s, x, gy, gw);
    }
    let padded = Padded::new(s, cig);
    // Several images in one product make its sums long enough to pay for loading the result.
    let most = ((16 << 20) / padded.len(1).max(1)).max(1);
    let share = 1024_usize.div_ceil(plane).min(most).min(s.batch);
    let offsets = Taps::new(s, &padded);
    let out = SendPtr(gw.as_mut_ptr());
    spread(s.groups, |group| {
        with_scratch::<T, _>(padded.len(share), |scratch| {
            for first in (0..s.batch).step_by(share) {
                let images = share.min(s.batch - first);
                // SAFETY: the scratch has room for `share` images.
                unsafe { padded.fill(s, x, group * cig, first, images, scratch) };
                let columns = Joint(Positions::new(s, &padded, scratch.get(), &offsets));
                let rows = ImageRows { data: &gy[(first * s.c_out + group * cog) * plane..], image: s.c_out * plane, plane };
                // SAFETY: this group's weights belong to this piece.
                unsafe {
                    let to = out.get().add(group * cog * taps);
                    let more = first > 0;
                    gemm_panels(cog, taps, images * plane, &rows, &columns, to, taps as isize, more);
                }
            }
        });
    });
}

#[inline(always)]
fn fold<T: GemmScalar>(l: [T; 8]) -> T {
    ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
}

multiversion! {
    /// The sum of a slice, in 64 lanes and blocks of 4096 elements.
    fn sum<T: GemmScalar>(values: &[T]) -> T {
        let mut total = T::default();
        for block in values.chunks(4096) {
            let mut lanes = [T::default(); 64];
            let whole = block.chunks_exact(64);
            let rest = whole.remainder();
            for part in whole {
                for i in 0..64 {
                    lanes[i] += part[i];
                }
            }
            for (lane, &value) in lanes.iter_mut().zip(rest) {
                *lane += value;
            }
            let mut few = [T::default(); 8];
            for eight in lanes.chunks_exact(8) {
                for i in 0..8 {
                    few[i] += eight[i];
                }
            }
            total += fold(few);
        }
        total
    }
}

/// The gradient of the bias: sums over images and planes of `plane` elements, in order.
pub fn conv_backward_bias<T: GemmScalar>(batch: usize, plane: usize, gy: &[T], gb: &mut [T]) {
    let channels = gb.len();
    assert_eq!(gy.len(), batch * channels * plane, "convolution bias");
    let out = SendPtr(gb.as_mut_ptr());
    let grain = (1 << 18) / (batch * plane).max(1);
    parallel_for(channels, grain, |range| {
        for co in range {
            let mut total = T::default();
            for image in 0..batch {
                total += sum(&gy[(image * channels + co) * plane..][..plane]);
            }
            // SAFETY: each channel is written by one piece.
            unsafe { *out.get().add(co) = total };
        }
    });
}

#[cfg(test)]
mod tests;
