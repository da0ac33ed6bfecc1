//! The unfolded image as an operand of a product, read from a padded copy of the image.

use super::ConvShape;
use crate::cpu::gemm::{GemmScalar, Panels, pack_panel};
use crate::cpu::threads::{SendPtr, parallel_for};

/// Elements after the padded images that short copies may read.
const SLACK: usize = 16;

/// Layout of the padded copies of some channels of some images.
pub struct Padded {
    /// Padded depth, height and width.
    size: [usize; 3],
    channels: usize,
}

impl Padded {
    pub fn new(s: &ConvShape, channels: usize) -> Padded {
        Padded {
            size: std::array::from_fn(|d| {
                // Output padding of a transposed convolution can reach beyond the padded input.
                let reach = (s.output[d].max(1) - 1) * s.stride[d] + (s.kernel[d] - 1) * s.dilation[d] + 1;
                (s.input[d] + 2 * s.pad[d]).max(reach)
            }),
            channels,
        }
    }

    fn plane(&self) -> usize {
        self.size.iter().product()
    }

    fn image(&self) -> usize {
        self.channels * self.plane()
    }

    /// Elements needed for `images` images.
    pub fn len(&self, images: usize) -> usize {
        images * self.image() + SLACK
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
        let [_, height, width] = self.size;
        let grain = (1 << 15) / plane.max(1);
        parallel_for(images * self.channels, grain, |pieces| {
            for piece in pieces {
                let (image, channel) = (piece / self.channels, piece % self.channels);
                let at = ((first + image) * s.c_in + first_channel + channel) * in_plane;
                let from = &x[at..at + in_plane];
                // SAFETY: each plane is written by one piece.
                let to = unsafe {
                    // Zeros are valid floats, so the slice below is initialised.
                    std::ptr::write_bytes(to.get().add(piece * plane), 0, plane);
                    to.slice(piece * plane, plane)
                };
                for (row, line) in from.chunks_exact(s.input[2].max(1)).enumerate() {
                    let (z, y) = (row / s.input[1], row % s.input[1]);
                    let at = ((z + s.pad[0]) * height + y + s.pad[1]) * width + s.pad[2];
                    to[at..at + line.len()].copy_from_slice(line);
                }
            }
        });
        // SAFETY: the slack is part of the allocation.
        unsafe { std::ptr::write_bytes(to.get().add(images * self.image()), 0, SLACK) };
    }

    /// One channel of the first padded image.
    ///
    /// # Safety
    /// `image` is a padded image, and nobody else uses this channel of it.
    pub unsafe fn channel<'a, T>(&self, image: SendPtr<T>, channel: usize) -> &'a mut [T] {
        // SAFETY: the caller's promise.
        unsafe { image.slice(channel * self.plane(), self.plane()) }
    }

    /// Adds the columns of `count` output rows from `row0` to the places they were read from.
    /// `from` holds, tap by tap, the values of all positions of these rows.
    pub fn scatter<T: GemmScalar>(&self, s: &ConvShape, image: &mut [T], from: &[T], row0: usize, count: usize) {
        let [_, height, width] = self.size;
        let (line, step) = (s.output[2], s.stride[2]);
        let [_, kh, kw] = s.kernel;
        for (tap, from) in from.chunks_exact(count * line).enumerate() {
            let (z, y, x) = (tap / (kh * kw), tap / kw % kh, tap % kw);
            for (i, from) in from.chunks_exact(line).enumerate() {
                let (oz, oy) = ((row0 + i) / s.output[1], (row0 + i) % s.output[1]);
                let iz = oz * s.stride[0] + z * s.dilation[0];
                let iy = oy * s.stride[1] + y * s.dilation[1];
                let at = (iz * height + iy) * width + x * s.dilation[2];
                if step == 1 {
                    for (to, &from) in image[at..at + line].iter_mut().zip(from) {
                        *to += from;
                    }
                } else {
                    let to = &mut image[at..at + (line - 1) * step + 1];
                    for (to, &from) in to.iter_mut().step_by(step).zip(from) {
                        *to += from;
                    }
                }
            }
        }
    }

    /// Copies the inner part of the padded image to `to`.
    ///
    /// # Safety
    /// `image` is an initialised padded image that nobody writes meanwhile.
    pub unsafe fn crop<T: GemmScalar>(&self, s: &ConvShape, image: SendPtr<T>, to: &mut [T]) {
        let [_, height, width] = self.size;
        // SAFETY: the caller's promise.
        let image = unsafe { image.slice(0, self.image()) };
        for (row, line) in to.chunks_exact_mut(s.input[2]).enumerate() {
            let (channel, row) = (row / (s.input[0] * s.input[1]), row % (s.input[0] * s.input[1]));
            let (z, y) = (row / s.input[1], row % s.input[1]);
            let at = ((z + s.pad[0]) * height + y + s.pad[1]) * width + s.pad[2];
            let from = &image[channel * self.plane() + at..][..line.len()];
            line.copy_from_slice(from);
        }
    }
}

/// Offset of each tap (channel and kernel element) in a padded image, relative to a position.
pub struct Taps(Vec<usize>);

impl Taps {
    pub fn new(s: &ConvShape, channels: usize) -> Taps {
        let padded = Padded::new(s, channels);
        let [_, height, width] = padded.size;
        let [kd, kh, kw] = s.kernel;
        let mut offsets = Vec::with_capacity(channels * kd * kh * kw);
        for channel in 0..channels {
            for z in 0..kd {
                for y in 0..kh {
                    for x in 0..kw {
                        let row = z * s.dilation[0] * height + y * s.dilation[1];
                        let at = row * width + x * s.dilation[2];
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
    stride: [usize; 3],
    taps: &'a Taps,
}

// SAFETY: the padded images are only read while the operand is in use.
unsafe impl<T> Sync for Positions<'_, T> {}

impl<'a, T: GemmScalar> Positions<'a, T> {
    pub fn new(s: &ConvShape, padded: &Padded, base: *const T, taps: &'a Taps) -> Self {
        Positions { base, image: padded.image(), size: padded.size, output: s.output, stride: s.stride, taps }
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
            let row = (z * self.stride[0] * self.size[1] + y * self.stride[1]) * self.size[2];
            f(Run { offset: image * self.image + row + x * self.stride[2], len });
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
        let stride = self.stride[2];
        // SAFETY: runs and taps stay inside the padded images. A short copy may write up to seven
        // elements more than its run has: into what a later copy of this row or the next fills, never
        // beyond the last row, whose copies are exact. It may read as far into the slack.
        unsafe {
            if stride == 1 && count == 1 && width == full && full == 32 {
                for (p, &tap) in taps.iter().enumerate() {
                    let from = self.base.add(tap + runs[0].offset);
                    std::ptr::copy_nonoverlapping(from, dst.add(p * 32), 32);
                }
                return;
            }
            let rows_hit = 7_usize.div_ceil(full);
            for (p, &tap) in taps.iter().enumerate() {
                let mut to = dst.add(p * full);
                if stride == 1 && p + rows_hit < depth {
                    for run in runs {
                        let from = self.base.add(tap + run.offset);
                        let mut i = 0;
                        while i < run.len {
                            std::ptr::copy_nonoverlapping(from.add(i), to.add(i), 8);
                            i += 8;
                        }
                        to = to.add(run.len);
                    }
                } else {
                    for run in runs {
                        let from = self.base.add(tap + run.offset);
                        for i in 0..run.len {
                            *to.add(i) = *from.add(i * stride);
                        }
                        to = to.add(run.len);
                    }
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
        let stride = this.stride[2];
        let mut to = dst;
        this.runs(step, depth, |run| {
            // SAFETY: runs and taps stay inside the padded images; `run.len` rows of `full`.
            unsafe {
                let from = this.base.add(run.offset);
                let mut i = 0;
                while i + 4 <= width {
                    let rows = [0, 1, 2, 3].map(|r| from.add(taps[i + r]));
                    for t in 0..run.len {
                        for (r, row) in rows.iter().enumerate() {
                            *to.add(t * full + i + r) = *row.add(t * stride);
                        }
                    }
                    i += 4;
                }
                for (i, &tap) in taps.iter().enumerate().skip(i) {
                    let row = from.add(tap);
                    for t in 0..run.len {
                        *to.add(t * full + i) = *row.add(t * stride);
                    }
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
                pack_panel(to, full, from.as_ptr(), self.plane as isize, 1, width, len);
            }
            done += len;
        }
    }
}
