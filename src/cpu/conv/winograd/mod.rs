//! 3 x 3 convolutions of stride 1 by Winograd's algorithm, F(4x4, 3x3): a quarter of the multiplications.
//!
//! Images are cut into tiles of 4 x 4 outputs. For each of the 36 elements of a transformed tile there is a matrix
//! product, tiles by input channels by output channels. Channels lie in vectors of 16 throughout, so that transforms
//! need no shuffles; blocks of tiles are as large as the second-level cache allows, and each goes from the image to
//! the result by itself. Sums run over channels in order (forward) or over tiles in order, in a number of parts that
//! the sizes decide (the gradient of the weight).
//!
//! Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2015. The error is about twice that of a plain
//! sum, relative to the largest products of a tile. Not finite numbers would spread over their tile: a result that
//! has any is refused, and the caller takes another way.

mod transform;

use super::ConvShape;
use crate::cpu::gemm::{GemmScalar, Kernels, transpose, with_scratch};
use crate::cpu::threads::{SendPtr, parallel_for, parallel_pieces};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// Channels that are transformed together.
const LANES: usize = 16;
/// Elements of a transformed tile.
const POINTS: usize = 36;
/// Output channels of a block of products.
const BLOCK: usize = 2 * LANES;

/// The sizes of one direction: the forward pass, or the gradient of the input as a forward pass.
#[derive(Clone, Copy)]
struct Sizes {
    /// Channels read and written, and the same in whole vectors.
    c_in: usize,
    c_out: usize,
    wide_in: usize,
    wide_out: usize,
    input: [usize; 2],
    output: [usize; 2],
    pad: [usize; 2],
    /// Tiles down and across an image, and all of them.
    down: usize,
    across: usize,
    tiles: usize,
}

/// Distance between elements of a transform: one more cache line than the data, against conflicts in the caches.
fn step(elements: usize) -> usize {
    elements + LANES
}

/// Part of a row of tiles.
struct Run {
    image: usize,
    row: usize,
    col: usize,
    tiles: usize,
    /// The number of its first tile in the block.
    at: usize,
}

impl Sizes {
    fn new(s: &ConvShape) -> Sizes {
        let output = [s.output[1], s.output[2]];
        let (down, across) = (output[0].div_ceil(4), output[1].div_ceil(4));
        Sizes {
            c_in: s.c_in,
            c_out: s.c_out,
            wide_in: s.c_in.next_multiple_of(LANES),
            wide_out: s.c_out.next_multiple_of(LANES),
            input: [s.input[1], s.input[2]],
            output,
            pad: [s.pad[1], s.pad[2]],
            down,
            across,
            tiles: s.batch * down * across,
        }
    }

    /// The gradient of the input as the forward convolution of the output's, with the kernels turned round.
    fn turned(&self, batch: usize) -> Sizes {
        let (down, across) = (self.input[0].div_ceil(4), self.input[1].div_ceil(4));
        Sizes {
            c_in: self.c_out,
            c_out: self.c_in,
            wide_in: self.wide_out,
            wide_out: self.wide_in,
            input: self.output,
            output: self.input,
            pad: [2 - self.pad[0], 2 - self.pad[1]],
            down,
            across,
            tiles: batch * down * across,
        }
    }

    /// Calls `f` with the parts of tile rows that make up tiles `from..to`.
    fn runs(&self, from: usize, to: usize, mut f: impl FnMut(Run)) {
        let mut t = from;
        while t < to {
            let (row, col) = (t / self.across, t % self.across);
            let tiles = (self.across - col).min(to - t);
            f(Run { image: row / self.down, row: row % self.down, col, tiles, at: t - from });
            t += tiles;
        }
    }

    /// The transformed input of 16 channels from `c`, element `p` of tile `t` to `to[p * step + t * wide_in]`.
    ///
    /// # Safety
    /// `src` and `tmp` have room for 6 rows of the longest run, `to` for the tiles.
    unsafe fn transformed(
        &self,
        x: &[f32],
        c: usize,
        tiles: Range<usize>,
        src: *mut f32,
        tmp: *mut f32,
        to: *mut f32,
        step: usize,
    ) {
        let live = (self.c_in - c).min(LANES);
        // The last two rows of a run are the first two of the one below.
        let mut above = None;
        self.runs(tiles.start, tiles.end, |r| {
            let columns = 4 * r.tiles + 2;
            let from = x[(r.image * self.c_in + c) * self.input[0] * self.input[1]..].as_ptr();
            let left = (4 * r.col) as isize - self.pad[1] as isize;
            let top = (4 * r.row) as isize - self.pad[0] as isize;
            let known = if above == Some((r.image, r.row, r.col, r.tiles)) { 2 } else { 0 };
            // SAFETY: by the caller; `live` planes of an image.
            unsafe {
                if known > 0 {
                    std::ptr::copy(src.add(4 * columns * LANES), src, 2 * columns * LANES);
                }
                let rest = src.add(known * columns * LANES);
                gather(from, self.input, live, [top + known as isize, left], [6 - known, columns], rest);
                transform::input(src, tmp, r.tiles, to.add(r.at * self.wide_in), step, self.wide_in);
            }
            above = Some((r.image, r.row + 1, r.col, r.tiles));
        });
    }

    /// Whether this is faster than a plain product, by counting vector operations.
    fn pays(&self) -> bool {
        let (ci, co, tiles) = (self.wide_in as f64, self.wide_out as f64, self.tiles as f64);
        let outputs = self.output[0] * self.output[1] * (self.tiles / (self.down * self.across).max(1));
        let plain = 9.0 * (self.c_in * self.c_out) as f64 * outputs as f64 / 32.0;
        // Kernels that leave the second-level cache cost their way through memory.
        let heavy = if ci * co > 8192.0 { 60.0 } else { 25.0 };
        let ours = 36.0 * ci * co * tiles / 28.0 + 30.0 * (ci + co) * tiles + heavy * ci * co;
        self.c_in >= 12 && self.c_out >= 12 && ours < plain && POINTS * self.wide_in * self.wide_out <= 8 << 20
    }
}

/// Whether the kernels here know this shape.
fn fits(s: &ConvShape) -> bool {
    s.groups == 1
        && s.kernel == [1, 3, 3]
        && s.stride == [1; 3]
        && s.dilation == [1; 3]
        && s.input[0] == 1
        && s.pad[0] == 0
        && s.pad[1] <= 2
        && s.pad[2] <= 2
        && (1..3).all(|d| s.output[d] + 2 == s.input[d] + 2 * s.pad[d])
}

/// Copies `columns` columns from column `x` of `rows` rows from row `y` of 16 channels, zero outside of the image:
/// `to[(row * columns + column) * LANES + channel]`.
///
/// # Safety
/// `from` is the first of `live` planes of an image, `to` has room for all.
unsafe fn gather(from: *const f32, size: [usize; 2], live: usize, [y, x]: [isize; 2], [rows, columns]: [usize; 2], to: *mut f32) {
    let plane = (size[0] * size[1]) as isize;
    let (first, last) = ((-x).clamp(0, columns as isize), (size[1] as isize - x).clamp(0, columns as isize));
    // SAFETY: the rows and columns copied lie inside the image.
    unsafe {
        for r in 0..rows {
            let to = to.add(r * columns * LANES);
            let row = y + r as isize;
            if row < 0 || row >= size[0] as isize || first >= last {
                std::ptr::write_bytes(to, 0, columns * LANES);
                continue;
            }
            if live < LANES {
                std::ptr::write_bytes(to, 0, columns * LANES);
            } else {
                std::ptr::write_bytes(to, 0, first as usize * LANES);
                std::ptr::write_bytes(to.offset(last * LANES as isize), 0, (columns as isize - last) as usize * LANES);
            }
            let from = from.offset(row * size[1] as isize + x + first);
            transpose(from, plane, live, (last - first) as usize, to.offset(first * LANES as isize), LANES as isize);
        }
    }
}

/// Evenly high tiles of at most `most` rows.
fn height(rows: usize, most: usize) -> usize {
    rows.div_ceil(rows.div_ceil(most).max(1)).max(1)
}

/// The transformed kernels, `[element][channel read][channel written]`.
///
/// # Safety
/// `u` has room for them; `turned` says that the weight is that of the convolution whose input gradient `z` is.
unsafe fn kernels(z: &Sizes, w: &[f32], turned: bool, u: SendPtr<f32>) {
    let step = step(z.wide_in * z.wide_out);
    parallel_for(z.c_in, 1 + (1 << 14) / (z.wide_out * 16), |channels| {
        let mut taps = [0.0_f32; 9 * LANES];
        for ci in channels {
            for co in (0..z.wide_out).step_by(LANES) {
                let live = (z.c_out - co).min(LANES);
                if live < LANES {
                    taps.fill(0.0);
                }
                // SAFETY: `live` kernels of the weight; the block of `u` belongs to this piece.
                unsafe {
                    if turned {
                        transpose(w[(ci * z.c_out + co) * 9..].as_ptr(), 9, live, 9, taps.as_mut_ptr(), LANES as isize);
                        for k in 0..4 {
                            for l in 0..LANES {
                                taps.swap(k * LANES + l, (8 - k) * LANES + l);
                            }
                        }
                    } else {
                        let from = w[(co * z.c_in + ci) * 9..].as_ptr();
                        transpose(from, 9 * z.c_in as isize, live, 9, taps.as_mut_ptr(), LANES as isize);
                    }
                    transform::kernel(taps.as_ptr(), u.get().add(ci * z.wide_out + co), step);
                }
            }
        }
    });
}

/// The forward pass; false if a result is not finite.
fn run(z: &Sizes, x: &[f32], w: &[f32], turned: bool, bias: Option<&[f32]>, y: &mut [f32]) -> bool {
    let micro = f32::kernels();
    let out_plane = z.output[0] * z.output[1];
    let u_step = step(z.wide_in * z.wide_out);
    // A block's transforms stay in the second-level cache while the kernels are few; many kernels are worth longer blocks.
    let most = if POINTS * u_step * 4 <= 1 << 20 { (12 << 10) / (4 * z.wide_in) / 12 * 12 } else { 96 };
    let block = z.tiles.div_ceil(8).next_multiple_of(12).min(most.clamp(12, 96));
    let longest = block.min(z.across);
    let (v_step, m_step) = (step(block * z.wide_in), step(block * BLOCK));
    let columns = 4 * longest + 2;
    let parts = [POINTS * v_step, POINTS * m_step, 6 * columns * LANES, 6 * columns * LANES];
    let out = SendPtr(y.as_mut_ptr());
    let odd = AtomicBool::new(false);
    with_scratch::<f32, _>(POINTS * u_step, |u| {
        // SAFETY: the scratch has room for the kernels.
        unsafe { kernels(z, w, turned, u) };
        parallel_pieces(z.tiles.div_ceil(block), |piece| {
            let (first, last) = (piece * block, ((piece + 1) * block).min(z.tiles));
            with_scratch::<f32, _>(parts.iter().sum(), |scratch| {
                let v = scratch.get();
                // SAFETY: the parts of the scratch follow each other; all accesses stay inside of what the comments of
                // the transforms ask for; the tiles of `y` belong to this piece.
                unsafe {
                    let m = v.add(parts[0]);
                    let (src, tmp) = (m.add(parts[1]), m.add(parts[1] + parts[2]));
                    for c in (0..z.wide_in).step_by(LANES) {
                        z.transformed(x, c, first..last, src, tmp, v.add(c), v_step);
                    }
                    for co in (0..z.wide_out).step_by(BLOCK) {
                        let width = (z.wide_out - co).min(BLOCK);
                        for p in 0..POINTS {
                            let (a, b, c) = (v.add(p * v_step), u.get().add(p * u_step + co), m.add(p * m_step));
                            product(micro, last - first, width, z.c_in, (a, z.wide_in, 1), (b, z.wide_out), (c, BLOCK), false);
                        }
                        for c in (0..width).step_by(LANES) {
                            let channel = co + c;
                            let live = (z.c_out - channel).min(LANES);
                            let mut start = [0.0_f32; LANES];
                            if let Some(bias) = bias {
                                start[..live].copy_from_slice(&bias[channel..channel + live]);
                            }
                            z.runs(first, last, |r| {
                                let flag = transform::output(m.add(r.at * BLOCK + c), m_step, BLOCK, r.tiles, &start, tmp, src);
                                if flag.is_nan() {
                                    odd.store(true, Ordering::Relaxed);
                                }
                                let (top, left) = (4 * r.row, 4 * r.col);
                                let columns = (4 * r.tiles).min(z.output[1] - left);
                                for row in 0..4.min(z.output[0] - top) {
                                    let at = (r.image * z.c_out + channel) * out_plane + (top + row) * z.output[1] + left;
                                    let from = src.add(row * 4 * r.tiles * LANES);
                                    transpose(from, LANES as isize, columns, live, out.get().add(at), out_plane as isize);
                                }
                            });
                        }
                    }
                }
            });
        });
    });
    !odd.into_inner()
}

/// `c[m x n] (+)= a * b` in tiles: element `(i, p)` of `a` at `i * rs + p * cs`, rows of `b` and `c` contiguous.
///
/// # Safety
/// All elements are readable or writable.
unsafe fn product(
    micro: &Kernels<f32>,
    m: usize,
    n: usize,
    k: usize,
    (a, rs, cs): (*const f32, usize, usize),
    (b, ldb): (*const f32, usize),
    (c, ldc): (*mut f32, usize),
    accumulate: bool,
) {
    let (lanes, nr, high) = (micro.lanes, micro.nr(), height(m, micro.mr));
    for j in (0..n).step_by(nr) {
        let cols = (n - j).min(nr);
        let vectors = 1 + usize::from(cols > lanes);
        let tail = cols - (vectors - 1) * lanes;
        for i in (0..m).step_by(high) {
            let rows = (m - i).min(high);
            let tile = if rs == 1 { micro.packed[rows - 1] } else { micro.raw[rows - 1] }[vectors - 1];
            // SAFETY: the tile lies inside the matrices; `n` is a multiple of every vector length.
            unsafe {
                tile(
                    k,
                    a.add(i * rs),
                    rs as isize,
                    cs as isize,
                    b.add(j),
                    ldb as isize,
                    c.add(i * ldc + j),
                    ldc as isize,
                    tail,
                    if accumulate { c.add(i * ldc + j) } else { std::ptr::null() },
                    ldc as isize,
                );
            }
        }
    }
}

/// The gradient of the weight; false if it is not finite.
fn run_weight(z: &Sizes, x: &[f32], gy: &[f32], gw: &mut [f32]) -> bool {
    let micro = f32::kernels();
    let out_plane = z.output[0] * z.output[1];
    let u_step = step(z.c_in * z.wide_out);
    let block = ((14 << 10) / (4 * (z.wide_in + z.wide_out))).clamp(16, 96);
    // Parts of the sum, each in order, then added in order.
    let parts = (z.tiles / 96).clamp(1, 8).min(((24 << 20) / (POINTS * u_step * 4)).max(1));
    let share = z.tiles.div_ceil(parts);
    let parts = z.tiles.div_ceil(share);
    let longest = block.min(z.across);
    let (v_step, g_step) = (step(block * z.wide_in), step(block * z.wide_out));
    let columns = 4 * longest + 2;
    let sizes = [POINTS * v_step, POINTS * g_step, 6 * columns * LANES, 6 * columns * LANES];
    let odd = AtomicBool::new(false);
    let out = SendPtr(gw.as_mut_ptr());
    with_scratch::<f32, _>(parts * POINTS * u_step, |sums| {
        parallel_pieces(parts, |part| {
            with_scratch::<f32, _>(sizes.iter().sum(), |scratch| {
                let v = scratch.get();
                // SAFETY: as in `run`; this part of the sums belongs to this piece.
                unsafe {
                    let sum = sums.get().add(part * POINTS * u_step);
                    let g = v.add(sizes[0]);
                    let (src, tmp) = (g.add(sizes[1]), g.add(sizes[1] + sizes[2]));
                    let end = ((part + 1) * share).min(z.tiles);
                    for first in (part * share..end).step_by(block) {
                        let last = (first + block).min(end);
                        for c in (0..z.wide_in).step_by(LANES) {
                            z.transformed(x, c, first..last, src, tmp, v.add(c), v_step);
                        }
                        for c in (0..z.wide_out).step_by(LANES) {
                            z.runs(first, last, |r| {
                                let from = gy[(r.image * z.c_out + c) * out_plane..].as_ptr();
                                let corner = [(4 * r.row) as isize, (4 * r.col) as isize];
                                gather(from, z.output, (z.c_out - c).min(LANES), corner, [4, 4 * r.tiles], src);
                                transform::gradient(src, tmp, r.tiles, g.add(r.at * z.wide_out + c), g_step, z.wide_out);
                            });
                        }
                        for p in 0..POINTS {
                            let (a, b, c) = (v.add(p * v_step), g.add(p * g_step), sum.add(p * u_step));
                            let more = first > part * share;
                            product(
                                micro,
                                z.c_in,
                                z.wide_out,
                                last - first,
                                (a, 1, z.wide_in),
                                (b, z.wide_out),
                                (c, z.wide_out),
                                more,
                            );
                        }
                    }
                }
            });
        });
        parallel_for(z.c_in, 1 + (1 << 12) / (z.wide_out * parts), |channels| {
            let mut total = [0.0_f32; POINTS * LANES];
            let mut taps = [0.0_f32; 9 * LANES];
            for ci in channels {
                for co in (0..z.wide_out).step_by(LANES) {
                    let live = (z.c_out - co).min(LANES);
                    // SAFETY: the sums are complete; the kernels of `ci` belong to this piece.
                    unsafe {
                        for p in 0..POINTS {
                            let to = &mut total[p * LANES..][..LANES];
                            let from = sums.get().add(p * u_step + ci * z.wide_out + co);
                            to.copy_from_slice(std::slice::from_raw_parts(from, LANES));
                            for part in 1..parts {
                                let from = std::slice::from_raw_parts(from.add(part * POINTS * u_step), LANES);
                                to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
                            }
                        }
                        transform::kernel_gradient(total.as_ptr(), LANES, taps.as_mut_ptr());
                        for k in 0..9 {
                            for l in 0..live {
                                *out.get().add(((co + l) * z.c_in + ci) * 9 + k) = taps[k * LANES + l];
                            }
                        }
                    }
                    if taps.iter().any(|t| !t.is_finite()) {
                        odd.store(true, Ordering::Relaxed);
                    }
                }
            }
        });
    });
    !odd.into_inner()
}

/// The forward pass by this algorithm: false if it does not pay, or if the result is not finite; then `y` is to be
/// computed in another way.
pub fn forward(s: &ConvShape, x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32]) -> bool {
    if !fits(s) {
        return false;
    }
    let z = Sizes::new(s);
    z.pays() && run(&z, x, w, false, bias, y)
}

/// As [`forward`], for the gradient of the input.
pub fn backward_input(s: &ConvShape, gy: &[f32], w: &[f32], gx: &mut [f32]) -> bool {
    if !fits(s) {
        return false;
    }
    let z = Sizes::new(s).turned(s.batch);
    z.pays() && run(&z, gy, w, true, None, gx)
}

/// As [`forward`], for the gradient of the weight.
pub fn backward_weight(s: &ConvShape, x: &[f32], gy: &[f32], gw: &mut [f32]) -> bool {
    if !fits(s) {
        return false;
    }
    let z = Sizes::new(s);
    z.pays() && run_weight(&z, x, gy, gw)
}

#[cfg(test)]
mod tests;
