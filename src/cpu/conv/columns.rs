//! Padded copies of images, and the unfolded image read from one as an operand of a product.
//!
//! A padded copy is cut into phases: positions that leave the same remainder by the stride lie together. For one tap of
//! the kernel, neighbouring outputs then read neighbouring elements, whatever the stride.

use super::ConvShape;
use crate::cpu::gemm::{GemmScalar, Panels, transpose_rows};
use crate::cpu::threads::{SendPtr, parallel_for};

/// Elements after the padded images that short copies may read.
const SLACK: usize = 16;

multiversion! {
    /// Every `step`-th element, gathered.
    fn thin<T: GemmScalar>(from: &[T], step: usize, to: &mut [T]) {
        if step == 2 {
            for (to, from) in to.iter_mut().zip(from.chunks(2)) {
                *to = from[0];
            }
        } else {
            for (to, from) in to.iter_mut().zip(from.iter().step_by(step)) {
                *to = *from;
            }
        }
    }
}

multiversion! {
    /// The reverse of [`thin`].
    pub fn spread<T: GemmScalar>(from: &[T], to: &mut [T], step: usize) {
        for (to, from) in to.iter_mut().step_by(step).zip(from) {
            *to = *from;
        }
    }
}

multiversion! {
    /// Copies lines of `width` elements to places `step` apart; short lines are not worth a call each.
    pub fn copy_lines<T: GemmScalar>(from: &[T], width: usize, to: &mut [T], step: usize) {
        for (i, from) in from.chunks_exact(width.max(1)).enumerate() {
            let to = &mut to[i * step..i * step + width];
            // SAFETY: both have `width` elements; every copy lies inside.
            unsafe {
                let (from, to) = (from.as_ptr(), to.as_mut_ptr());
                let copy = std::ptr::copy_nonoverlapping::<T>;
                if width >= 16 {
                    for j in (0..width - 15).step_by(16) {
                        copy(from.add(j), to.add(j), 16);
                    }
                    copy(from.add(width - 16), to.add(width - 16), 16);
                } else if width >= 4 {
                    for j in (0..width - 3).step_by(4) {
                        copy(from.add(j), to.add(j), 4);
                    }
                    copy(from.add(width - 4), to.add(width - 4), 4);
                } else {
                    copy(from, to, width);
                }
            }
        }
    }
}

/// Layout of the padded copies of some channels of some images.
#[derive(Clone)]
pub struct Padded {
    /// Phases along each dimension: the strides.
    phases: [usize; 3],
    /// Depth, height and width of a phase.
    pub size: [usize; 3],
    channels: usize,
    /// Whether a tap reads the phase, for each dimension.
    used: [Vec<bool>; 3],
}

impl Padded {
    pub fn new(s: &ConvShape, channels: usize) -> Padded {
        Padded {
            phases: s.stride,
            size: std::array::from_fn(|d| {
                // Output padding of a transposed convolution can reach beyond the padded input.
                let reach = (s.output[d].max(1) - 1) * s.stride[d] + (s.kernel[d] - 1) * s.dilation[d] + 1;
                (s.input[d] + 2 * s.pad[d]).max(reach).div_ceil(s.stride[d])
            }),
            channels,
            used: std::array::from_fn(|d| {
                let mut used = vec![false; s.stride[d]];
                (0..s.kernel[d].min(s.stride[d])).for_each(|k| used[k * s.dilation[d] % s.stride[d]] = true);
                used
            }),
        }
    }

    /// Elements of a channel.
    pub fn plane(&self) -> usize {
        self.phases.iter().chain(&self.size).product()
    }

    /// Elements of an image.
    pub fn image(&self) -> usize {
        self.channels * self.plane()
    }

    /// Elements needed for `images` images.
    pub fn len(&self, images: usize) -> usize {
        images * self.image() + SLACK
    }

    /// Where a padded position lies in its channel.
    fn at(&self, p: [usize; 3]) -> usize {
        let (f, s) = (self.phases, self.size);
        let phase = (p[0] % f[0] * f[1] + p[1] % f[1]) * f[2] + p[2] % f[2];
        ((phase * s[0] + p[0] / f[0]) * s[1] + p[1] / f[1]) * s[2] + p[2] / f[2]
    }

    /// Copies channels from `first_channel` of `images` images from `first`, and pads them with zeros.
    ///
    /// # Safety
    /// `to` has room for `len(images)` elements.
    pub unsafe fn fill<T: GemmScalar>(
        &self,
        s: &ConvShape,
        x: &[T],
        first_channel: usize,
        first: usize,
        images: usize,
        to: SendPtr<T>,
    ) {
        let (plane, in_plane) = (self.plane(), s.input.iter().product::<usize>());
        let grain = (1 << 15) / plane.max(1);
        parallel_for(images * self.channels, grain, |pieces| {
            for piece in pieces {
                let (image, channel) = (piece / self.channels, piece % self.channels);
                let at = ((first + image) * s.c_in + first_channel + channel) * in_plane;
                // SAFETY: each plane is written by one piece; zeros are valid floats, so the slice is initialised.
                let to = unsafe {
                    std::ptr::write_bytes(to.get().add(piece * plane), 0, plane);
                    to.slice(piece * plane, plane)
                };
                self.fill_plane(s, &x[at..at + in_plane], to);
            }
        });
        // SAFETY: the slack is part of the allocation.
        unsafe { std::ptr::write_bytes(to.get().add(images * self.image()), 0, SLACK) };
    }

    fn fill_plane<T: GemmScalar>(&self, s: &ConvShape, from: &[T], to: &mut [T]) {
        let step = s.stride[2];
        if s.stride == [1; 3] {
            for (z, from) in from.chunks_exact((s.input[1] * s.input[2]).max(1)).enumerate() {
                copy_lines(from, s.input[2], &mut to[self.at([z + s.pad[0], s.pad[1], s.pad[2]])..], self.size[2]);
            }
            return;
        }
        for (row, line) in from.chunks_exact(s.input[2].max(1)).enumerate() {
            let (z, y) = (row / s.input[1] + s.pad[0], row % s.input[1] + s.pad[1]);
            if !self.used[0][z % s.stride[0]] || !self.used[1][y % s.stride[1]] {
                continue;
            }
            if step == 1 {
                let at = self.at([z, y, s.pad[2]]);
                to[at..at + line.len()].copy_from_slice(line);
                continue;
            }
            for start in 0..step.min(line.len()) {
                if self.used[2][(start + s.pad[2]) % step] {
                    let at = self.at([z, y, start + s.pad[2]]);
                    thin(&line[start..], step, &mut to[at..at + (line.len() - start).div_ceil(step)]);
                }
            }
        }
    }
}

/// Offset of each tap (channel and kernel element) in a padded image, relative to an output position.
pub struct Taps(pub Vec<usize>);

impl Taps {
    pub fn new(s: &ConvShape, padded: &Padded) -> Taps {
        let [kd, kh, kw] = s.kernel;
        let mut offsets = Vec::with_capacity(padded.channels * kd * kh * kw);
        for channel in 0..padded.channels {
            for z in 0..kd {
                for y in 0..kh {
                    for x in 0..kw {
                        let at = padded.at([z * s.dilation[0], y * s.dilation[1], x * s.dilation[2]]);
                        offsets.push(channel * padded.plane() + at);
                    }
                }
            }
        }
        Taps(offsets)
    }
}

/// A run of positions in one output row: `len` positions, the first at `offset` of the images.
#[derive(Clone, Copy, Default)]
struct Run {
    offset: usize,
    len: usize,
}

/// The unfolded images: positions across, taps as steps.
pub struct Positions<'a, T> {
    base: *const T,
    image: usize,
    size: [usize; 3],
    output: [usize; 3],
    taps: &'a Taps,
}

// SAFETY: the padded images are only read while the operand is in use.
unsafe impl<T> Sync for Positions<'_, T> {}

impl<'a, T: GemmScalar> Positions<'a, T> {
    pub fn new(s: &ConvShape, padded: &Padded, base: *const T, taps: &'a Taps) -> Self {
        Positions { base, image: padded.image(), size: padded.size, output: s.output, taps }
    }

    /// Calls `f` with the runs that make up positions `from..from + count` over all images.
    #[inline]
    fn runs(&self, from: usize, count: usize, mut f: impl FnMut(Run)) {
        let [depth, height, width] = self.output;
        let plane = depth * height * width;
        let (mut image, rest) = (from / plane, from % plane);
        let (mut z, mut y) = (rest / (height * width), rest / width % height);
        let mut x = rest % width;
        let mut left = count;
        while left > 0 {
            let len = left.min(width - x);
            f(Run { offset: image * self.image + (z * self.size[1] + y) * self.size[2] + x, len });
            left -= len;
            x = 0;
            y += 1;
            if y == height {
                y = 0;
                z += 1;
                if z == depth {
                    z = 0;
                    image += 1;
                }
            }
        }
    }
}

impl<T: GemmScalar> Panels<T> for Positions<'_, T> {
    unsafe fn pack(&self, dst: *mut T, full: usize, across: usize, width: usize, step: usize, depth: usize) {
        let mut runs = [Run::default(); 64];
        let mut count = 0;
        debug_assert!(full <= runs.len());
        self.runs(across, width, |run| {
            runs[count] = run;
            count += 1;
        });
        let runs = &runs[..count];
        let taps = &self.taps.0[step..step + depth];
        // SAFETY: runs and taps stay inside the padded images. A short copy may write up to seven
        // elements more than its run has: into what a later copy of this row or the next fills, never
        // beyond the last row, whose copies are exact. It may read as far into the slack.
        unsafe {
            if count == 1 && width == full && full == 32 {
                for (p, &tap) in taps.iter().enumerate() {
                    let from = self.base.add(tap + runs[0].offset);
                    std::ptr::copy_nonoverlapping(from, dst.add(p * 32), 32);
                }
                return;
            }
            let rows_hit = 7_usize.div_ceil(full);
            for (p, &tap) in taps.iter().enumerate() {
                let mut to = dst.add(p * full);
                for run in runs {
                    let from = self.base.add(tap + run.offset);
                    if p + rows_hit < depth {
                        for i in (0..run.len).step_by(8) {
                            std::ptr::copy_nonoverlapping(from.add(i), to.add(i), 8);
                        }
                    } else {
                        std::ptr::copy_nonoverlapping(from, to, run.len);
                    }
                    to = to.add(run.len);
                }
                for i in width..full {
                    *dst.add(p * full + i) = T::default();
                }
            }
        }
    }
}

/// The unfolded images turned round: taps across, positions as steps.
pub struct Joint<'a, T>(pub Positions<'a, T>);

impl<T: GemmScalar> Panels<T> for Joint<'_, T> {
    unsafe fn pack(&self, dst: *mut T, full: usize, across: usize, width: usize, step: usize, depth: usize) {
        let this = &self.0;
        let taps = &this.taps.0[across..across + width];
        let mut to = dst;
        this.runs(step, depth, |run| {
            let mut rows = [this.base; 16];
            // SAFETY: runs and taps stay inside the padded images; `run.len` rows of `full`.
            unsafe {
                for (i, taps) in taps.chunks(16).enumerate() {
                    for (row, tap) in rows.iter_mut().zip(taps) {
                        *row = this.base.add(run.offset + tap);
                    }
                    transpose_rows(&rows[..taps.len()], run.len, to.add(16 * i), full as isize);
                }
                for t in 0..run.len {
                    for i in width..full {
                        *to.add(t * full + i) = T::default();
                    }
                }
                to = to.add(run.len * full);
            }
        });
    }
}

/// Output gradients of several images: channels across, positions of all images as steps.
pub struct ImageRows<'a, T> {
    /// From the first channel of the first image.
    pub data: &'a [T],
    /// Elements between images.
    pub image: usize,
    /// Elements between channels.
    pub plane: usize,
}

impl<T: GemmScalar> Panels<T> for ImageRows<'_, T> {
    unsafe fn pack(&self, dst: *mut T, full: usize, across: usize, width: usize, step: usize, depth: usize) {
        let mut done = 0;
        while done < depth {
            let (image, at) = ((step + done) / self.plane, (step + done) % self.plane);
            let len = (self.plane - at).min(depth - done);
            let from = &self.data[image * self.image + across * self.plane + at..];
            // SAFETY: `len` steps of the panel; the slice bounds hold for the last channel as the
            // element range lies inside the operand.
            unsafe {
                let to = dst.add(done * full);
                crate::cpu::gemm::pack_panel(to, full, from.as_ptr(), self.plane as isize, 1, width, len);
            }
            done += len;
        }
    }
}
