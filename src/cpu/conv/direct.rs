//! Convolution straight from padded images, without unfolding: for depthwise kernels, few taps or few channels, and for
//! the gradient of the input under any stride.
//!
//! A tile of outputs (channels by neighbouring positions) is a sum over taps; each tap is a vector of the padded image
//! at its own offset. The order of a sum is that of the taps.

use super::columns::{Padded, Taps, copy_lines, spread};
use super::{ConvShape, each_or_rows};
use crate::cpu::gemm::{GemmScalar, Kernels, with_scratch};
use crate::cpu::threads::{SendPtr, parallel_for};
use std::ops::Range;

/// Weights of `m` outputs by the offsets they meet, in tiles of `high` rows: `[tile][tap][row]`.
struct Weights<T: 'static> {
    micro: &'static Kernels<T>,
    m: usize,
    high: usize,
    values: Vec<T>,
    offsets: Vec<usize>,
}

impl<T: GemmScalar> Weights<T> {
    /// `value(row, tap)` for `m` rows and the taps at `offsets`.
    fn new(m: usize, offsets: Vec<usize>, value: impl Fn(usize, usize) -> T) -> Self {
        let micro = T::kernels();
        let high = m.div_ceil(m.div_ceil(micro.mr));
        let mut values = Vec::with_capacity(m * offsets.len());
        for first in (0..m).step_by(high) {
            for tap in 0..offsets.len() {
                values.extend((first..(first + high).min(m)).map(|row| value(row, tap)));
            }
        }
        Weights { micro, m, high, values, offsets }
    }

    /// `count` lines of `width` positions for all outputs: lines begin `step` apart in `b`, and `ldc` apart in `c`, where
    /// outputs are `plane` apart. `start` is null or has a value for each output.
    ///
    /// # Safety
    /// The positions at all offsets are readable, the outputs writable.
    unsafe fn lines(
        &self,
        b: *const T,
        step: usize,
        count: usize,
        start: *const T,
        c: *mut T,
        ldc: usize,
        plane: usize,
        width: usize,
    ) {
        let (lanes, k) = (self.micro.lanes, self.offsets.len());
        let wide = if self.m == 1 { 8 * lanes } else { 2 * lanes };
        for j in (0..width).step_by(wide) {
            let cols = (width - j).min(wide);
            let vectors = cols.div_ceil(lanes);
            let tail = cols - (vectors - 1) * lanes;
            if self.m == 1 {
                let (most, several, one) = self.micro.lines[vectors - 1];
                let mut line = 0;
                while line < count {
                    let (kernel, taken) = if count - line >= most { (several, most) } else { (one, 1) };
                    // SAFETY: by the caller; there are `k` values.
                    unsafe {
                        let (b, c) = (b.add(line * step + j), c.add(line * ldc + j));
                        kernel(k, self.values.as_ptr(), b, step as isize, self.offsets.as_ptr(), start, c, ldc as isize, tail);
                    }
                    line += taken;
                }
                continue;
            }
            for line in 0..count {
                for first in (0..self.m).step_by(self.high) {
                    let rows = (self.m - first).min(self.high);
                    let kernel = self.micro.taps[rows - 1][vectors - 1];
                    // SAFETY: by the caller; `values` has `k` columns of `rows` values from there.
                    unsafe {
                        let a = self.values.as_ptr().add(first * k);
                        let (b, c) = (b.add(line * step + j), c.add(line * ldc + first * plane + j));
                        let start = if start.is_null() { start } else { start.add(first) };
                        kernel(k, a, rows as isize, b, self.offsets.as_ptr(), start, c, plane as isize, tail);
                    }
                }
            }
        }
    }
}

/// Cuts `rows` into runs that do not cross a multiple of `height`: `f(first, count)`.
fn runs(rows: Range<usize>, height: usize, mut f: impl FnMut(usize, usize)) {
    let mut row = rows.start;
    while row < rows.end {
        let count = (height - row % height).min(rows.end - row);
        f(row, count);
        row += count;
    }
}

/// Whether the forward pass goes this way.
pub fn pays(s: &ConvShape) -> bool {
    let (cig, cog) = (s.c_in / s.groups, s.c_out / s.groups);
    let taps = cig * s.kernel.iter().product::<usize>();
    // Rows that fill vectors badly are better joined.
    let width = s.output[2] as f64 / s.output[2].next_multiple_of(16) as f64;
    cog <= 4 || (taps <= 256 && width > 0.7)
}

/// The forward pass.
pub fn forward<T: GemmScalar>(s: &ConvShape, x: &[T], w: &[T], bias: Option<&[T]>, y: &mut [T]) {
    let (_, kernel, plane) = s.planes();
    let (cig, cog) = (s.c_in / s.groups, s.c_out / s.groups);
    let padded = Padded::new(s, cig);
    let Taps(offsets) = Taps::new(s, &padded);
    let taps = offsets.len();
    debug_assert_eq!(taps, cig * kernel);
    let weights: Vec<Weights<T>> =
        (0..s.groups).map(|g| Weights::new(cog, offsets.clone(), |row, tap| w[(g * cog + row) * taps + tap])).collect();
    let out = SendPtr(y.as_mut_ptr());
    let rows = s.output[0] * s.output[1];
    each_or_rows(s.batch * s.groups, cog * taps * plane, rows, |piece, parts| {
        let (image, group) = (piece / s.groups, piece % s.groups);
        with_scratch::<T, _>(padded.len(1), |scratch| {
            // SAFETY: the scratch has room for an image.
            unsafe { padded.fill(s, x, group * cig, image, 1, scratch) };
            parts(&|rows| {
                runs(rows, s.output[1], |row, count| {
                    let (z, v) = (row / s.output[1], row % s.output[1]);
                    let from = (z * padded.size[1] + v) * padded.size[2];
                    let to = (image * s.c_out + group * cog) * plane + row * s.output[2];
                    let start = bias.map_or(std::ptr::null(), |b| b[group * cog..].as_ptr());
                    // SAFETY: the taps of a row's positions lie inside the padded image; the rows belong to this part.
                    unsafe {
                        let (b, c) = (scratch.get().add(from), out.get().add(to));
                        weights[group].lines(b, padded.size[2], count, start, c, s.output[2], plane, s.output[2]);
                    }
                });
            });
        });
    });
}

/// One remainder by the stride along a dimension of the input.
struct Phase {
    /// Taps that meet it, and how far back in the output each looks.
    taps: Vec<(usize, usize)>,
    /// The first position, its quotient by the stride, and the number of positions.
    first: usize,
    from: usize,
    count: usize,
}

/// The phases of dimension `d`, the margin before the output gradient, and its size with margins.
fn phases(s: &ConvShape, d: usize) -> (Vec<Phase>, usize, usize) {
    let (step, pad, size) = (s.stride[d], s.pad[d], s.input[d]);
    let margin = (s.kernel[d] - 1) * s.dilation[d] / step;
    let all = (0..step.min(size + pad)).map(|p| {
        let taps = (0..s.kernel[d]).filter(|k| k * s.dilation[d] % step == p).map(|k| (k, k * s.dilation[d] / step)).collect();
        let from = pad.saturating_sub(p).div_ceil(step);
        let first = (from * step + p).saturating_sub(pad);
        Phase { taps, first, from, count: size.saturating_sub(first).div_ceil(step) }
    });
    (all.collect(), margin, margin + s.output[d].max((size + pad).div_ceil(step)))
}

/// The gradient of the input: each phase of the input is a convolution of stride 1 of the output's gradient.
pub fn backward_input<T: GemmScalar>(s: &ConvShape, gy: &[T], w: &[T], gx: &mut [T]) {
    let (in_plane, kernel, plane) = s.planes();
    let (cig, cog) = (s.c_in / s.groups, s.c_out / s.groups);
    let [(pz, mz, dz), (py, my, dy), (px, mx, dx)] = [0, 1, 2].map(|d| phases(s, d));
    let wide = dz * dy * dx;
    // Weights for each phase, for each group.
    let mut passes = Vec::new();
    for z in &pz {
        for y in &py {
            for x in &px {
                let mut taps = Vec::new();
                let mut offsets = Vec::new();
                for co in 0..cog {
                    for &(kz, bz) in &z.taps {
                        for &(ky, by) in &y.taps {
                            for &(kx, bx) in &x.taps {
                                taps.push(co * cig * kernel + (kz * s.kernel[1] + ky) * s.kernel[2] + kx);
                                offsets.push(((co * dz + mz - bz) * dy + my - by) * dx + mx - bx);
                            }
                        }
                    }
                }
                let weights: Vec<Weights<T>> = (0..s.groups)
                    .map(|g| {
                        let w = &w[g * cog * cig * kernel..];
                        Weights::new(cig, offsets.clone(), |row, tap| w[taps[tap] + row * kernel])
                    })
                    .collect();
                passes.push((z, y, x, weights));
            }
        }
    }
    let rows: usize = passes.iter().map(|(z, y, ..)| z.count * y.count).sum();
    let out = SendPtr(gx.as_mut_ptr());
    let step = s.stride[2];
    each_or_rows(s.batch * s.groups, cog * cig * kernel * plane, rows, |piece, parts| {
        let (image, group) = (piece / s.groups, piece % s.groups);
        with_scratch::<T, _>(cog * wide, |scratch| {
            parallel_for(cog, (1 << 15) / wide, |channels| {
                for co in channels {
                    // SAFETY: a plane of the scratch that only this piece writes; zeros are valid floats.
                    let to = unsafe {
                        std::ptr::write_bytes(scratch.get().add(co * wide), 0, wide);
                        scratch.slice(co * wide, wide)
                    };
                    let from = &gy[(image * s.c_out + group * cog + co) * plane..][..plane];
                    for (z, from) in from.chunks_exact(s.output[1] * s.output[2]).enumerate() {
                        copy_lines(from, s.output[2], &mut to[((z + mz) * dy + my) * dx + mx..], dx);
                    }
                }
            });
            parts(&|rows| {
                // Rows are numbered phase after phase.
                let mut before = 0;
                for (z, y, x, weights) in &passes {
                    let all = z.count * y.count;
                    let here = rows.start.clamp(before, before + all) - before..rows.end.clamp(before, before + all) - before;
                    before += all;
                    runs(here, y.count.max(1), |row, count| {
                        let (j, i) = (row / y.count, row % y.count);
                        let from = ((z.from + j) * dy + y.from + i) * dx + x.from;
                        let line = (z.first + j * s.stride[0]) * s.input[1] + y.first + i * s.stride[1];
                        let to = (image * s.c_in + group * cig) * in_plane + line * s.input[2] + x.first;
                        let ldc = s.stride[1] * s.input[2];
                        let (none, width) = (std::ptr::null(), x.count);
                        // SAFETY: as in `forward`; positions minus what taps look back stay inside the margins. Elements
                        // of different phases are distinct.
                        unsafe {
                            let b = scratch.get().add(from);
                            if step == 1 {
                                return weights[group].lines(b, dx, count, none, out.get().add(to), ldc, in_plane, width);
                            }
                            if width == 0 {
                                return;
                            }
                            with_scratch::<T, _>(cig * count * width, |tmp| {
                                weights[group].lines(b, dx, count, none, tmp.get(), width, count * width, width);
                                for ci in 0..cig {
                                    for line in 0..count {
                                        let to = out.slice(to + ci * in_plane + line * ldc, (width - 1) * step + 1);
                                        spread(tmp.slice((ci * count + line) * width, width), to, step);
                                    }
                                }
                            });
                        }
                    });
                }
            });
        });
    });
}

/// Elements of a plane that are correlated at a time.
const STRETCH: usize = 3072;

/// Whether the gradient of the weight goes this way.
pub fn correlates(s: &ConvShape) -> bool {
    (s.c_in / s.groups) * s.kernel.iter().product::<usize>() <= 64
}

/// The gradient of the weight: sums of products of the output's gradient with the input, shifted by each tap.
pub fn backward_weight<T: GemmScalar>(s: &ConvShape, x: &[T], gy: &[T], gw: &mut [T]) {
    let micro = T::kernels();
    let (_, _, plane) = s.planes();
    let (cig, cog) = (s.c_in / s.groups, s.c_out / s.groups);
    let padded = Padded::new(s, cig);
    let Taps(offsets) = Taps::new(s, &padded);
    let taps = offsets.len();
    let [_, height, width] = padded.size;
    // A gradient's plane with the rows of the padded image; what lies between is zero.
    let line = |row: usize| (row / s.output[1] * height + row % s.output[1]) * width;
    let len = line(s.output[0] * s.output[1] - 1) + s.output[2];
    // With few groups the images are shared out, into parts that are added in order.
    let parts = if s.groups >= 16 { 1 } else { s.batch.min(8) };
    let share = s.batch.div_ceil(parts);
    let parts = s.batch.div_ceil(share);
    let most = if micro.mr >= 12 { 9 } else { 4 };
    let size = gw.len() / s.groups;
    let run = |group: usize, part: usize, to: SendPtr<T>| {
        with_scratch::<T, _>(padded.len(1) + 2 * len, |scratch| {
            // SAFETY: the scratch holds an image and two planes, zeros being valid floats; `to` has the gradient of a
            // group, which belongs to this piece.
            unsafe {
                let rows = SendPtr(scratch.get().add(padded.len(1)));
                std::ptr::write_bytes(rows.get(), 0, 2 * len);
                let mut more = false;
                for image in part * share..((part + 1) * share).min(s.batch) {
                    padded.fill(s, x, group * cig, image, 1, scratch);
                    for co in (0..cog).step_by(2) {
                        let pair = (cog - co).min(2);
                        for i in 0..pair {
                            let from = &gy[(image * s.c_out + group * cog + co + i) * plane..][..plane];
                            for (z, from) in from.chunks_exact(s.output[1] * s.output[2]).enumerate() {
                                let at = z * height * width;
                                copy_lines(from, s.output[2], rows.slice(i * len + at, len - at), width);
                            }
                        }
                        for at in (0..len).step_by(STRETCH) {
                            let count = (len - at).min(STRETCH);
                            for tap in (0..taps).step_by(most) {
                                let n = (taps - tap).min(most);
                                micro.correlate[pair - 1][n - 1](
                                    count,
                                    rows.get().add(at),
                                    len as isize,
                                    scratch.get().add(at),
                                    offsets[tap..].as_ptr(),
                                    to.get().add(co * taps + tap),
                                    taps as isize,
                                    more || at > 0,
                                );
                            }
                        }
                    }
                    more = true;
                }
            }
        });
    };
    let out = SendPtr(gw.as_mut_ptr());
    if parts == 1 {
        let grain = (1 << 16) / (s.batch * cog * taps * plane).max(1);
        // SAFETY: each group has weights of its own.
        return parallel_for(s.groups, grain, |groups| {
            groups.for_each(|g| run(g, 0, SendPtr(unsafe { out.get().add(g * size) })))
        });
    }
    with_scratch::<T, _>(parts * gw.len(), |sums| {
        let grain = (1 << 16) / (share * cog * taps * plane).max(1);
        parallel_for(parts * s.groups, grain, |pieces| {
            for piece in pieces {
                // SAFETY: each piece has a part of the scratch.
                run(piece % s.groups, piece / s.groups, SendPtr(unsafe { sums.get().add(piece * size) }));
            }
        });
        // SAFETY: all parts are written.
        let sums = unsafe { sums.slice(0, parts * gw.len()) };
        let (first, rest) = sums.split_at(gw.len());
        gw.copy_from_slice(first);
        for part in rest.chunks_exact(gw.len()) {
            gw.iter_mut().zip(part).for_each(|(to, from)| *to += *from);
        }
    });
}
