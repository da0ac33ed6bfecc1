//! Depthwise convolution: every output channel reads one input channel, so there is nothing for a
//! matrix product to share. Rows of the output are sums of scaled rows of the input.

use super::ConvShape;
use crate::cpu::gemm::GemmScalar;
use crate::cpu::threads::{SendPtr, parallel_for};

/// For one kernel offset along a dimension, the outputs `first..last` that read inside the input.
fn inside(s: &ConvShape, d: usize, k: usize) -> (usize, usize) {
    let (stride, shift) = (s.stride[d], k * s.dilation[d]);
    let first = s.pad[d].saturating_sub(shift).div_ceil(stride);
    let last = (s.input[d] + s.pad[d])
        .saturating_sub(shift)
        .div_ceil(stride);
    let last = last.min(s.output[d]);
    (first.min(last), last)
}

/// Calls `f(tap, output start, input start, length)` for every tap and output row that overlap.
#[inline(always)]
fn rows(s: &ConvShape, mut f: impl FnMut(usize, usize, usize, usize)) {
    let [kd, kh, kw] = s.kernel;
    for z in 0..kd {
        let (z0, z1) = inside(s, 0, z);
        for oz in z0..z1 {
            let iz = oz * s.stride[0] + z * s.dilation[0] - s.pad[0];
            for y in 0..kh {
                let (y0, y1) = inside(s, 1, y);
                for oy in y0..y1 {
                    let iy = oy * s.stride[1] + y * s.dilation[1] - s.pad[1];
                    for x in 0..kw {
                        let (x0, x1) = inside(s, 2, x);
                        if x0 < x1 {
                            let ix = x0 * s.stride[2] + x * s.dilation[2] - s.pad[2];
                            f(
                                (z * kh + y) * kw + x,
                                (oz * s.output[1] + oy) * s.output[2] + x0,
                                (iz * s.input[1] + iy) * s.input[2] + ix,
                                x1 - x0,
                            );
                        }
                    }
                }
            }
        }
    }
}

/// Outputs that are summed side by side in registers.
const WIDE: usize = 16;

multiversion! {
    fn plane_forward<T: GemmScalar>(s: &ConvShape, x: &[T], w: &[T], start: T, y: &mut [T]) {
        let [kd, kh, kw] = s.kernel;
        let [_, height, width] = s.input;
        let step = s.stride[2];
        // Outputs whose taps all lie inside the row.
        let (first, last) = (0..kw).fold((0, s.output[2]), |(a, b), k| {
            let (x0, x1) = inside(s, 2, k);
            (a.max(x0), b.min(x1))
        });
        // Kernel row and input row of the taps above and below that lie inside.
        let mut rows: Vec<(usize, usize)> = Vec::with_capacity(kd * kh);
        for (line, to) in y.chunks_exact_mut(s.output[2]).enumerate() {
            let (oz, oy) = (line / s.output[1], line % s.output[1]);
            rows.clear();
            for k in 0..kd * kh {
                let z = (oz * s.stride[0] + k / kh * s.dilation[0]).wrapping_sub(s.pad[0]);
                let y = (oy * s.stride[1] + k % kh * s.dilation[1]).wrapping_sub(s.pad[1]);
                if z < s.input[0] && y < height {
                    rows.push((k * kw, (z * height + y) * width));
                }
            }
            let mut o = 0;
            while o < s.output[2] {
                if o >= first && last >= o + WIDE {
                    let at = o * step - s.pad[2].min(o * step);
                    let late = s.pad[2] - s.pad[2].min(o * step);
                    let to = &mut to[o..o + WIDE];
                    let place = (at, late, s.dilation[2], step);
                    match step {
                        1 => wide::<T, 1>(x, w, &rows, kw, place, start, to),
                        2 => wide::<T, 2>(x, w, &rows, kw, place, start, to),
                        _ => wide::<T, 0>(x, w, &rows, kw, place, start, to),
                    }
                    o += WIDE;
                    continue;
                }
                let mut sum = start;
                for &(wk, row) in &rows {
                    for k in 0..kw {
                        let at = (o * step + k * s.dilation[2]).wrapping_sub(s.pad[2]);
                        if at < width {
                            sum += x[row + at] * w[wk + k];
                        }
                    }
                }
                to[o] = sum;
                o += 1;
            }
        }
    }
}

/// `WIDE` outputs at once; `STEP` is the stride if it is known. The first tap of the first output
/// reads at `at`, less `late`.
#[inline(always)]
fn wide<T: GemmScalar, const STEP: usize>(
    x: &[T],
    w: &[T],
    rows: &[(usize, usize)],
    kw: usize,
    (at, late, dilation, step): (usize, usize, usize, usize),
    start: T,
    to: &mut [T],
) {
    let step = if STEP == 0 { step } else { STEP };
    let mut sums = [start; WIDE];
    for &(wk, row) in rows {
        for k in 0..kw {
            let scale = w[wk + k];
            let from = row + at + k * dilation - late;
            let from = &x[from..=from + (WIDE - 1) * step];
            for i in 0..WIDE {
                sums[i] += from[i * step] * scale;
            }
        }
    }
    to.copy_from_slice(&sums);
}

multiversion! {
    fn plane_backward_input<T: GemmScalar>(s: &ConvShape, gy: &[T], w: &[T], gx: &mut [T]) {
        let step = s.stride[2];
        rows(s, |tap, out, at, len| {
            let scale = w[tap];
            let from = &gy[out..out + len];
            if step == 1 {
                for (to, &from) in gx[at..at + len].iter_mut().zip(from) {
                    *to += from * scale;
                }
            } else {
                let to = &mut gx[at..=at + (len - 1) * step];
                for (i, &from) in from.iter().enumerate() {
                    to[i * step] += from * scale;
                }
            }
        });
    }
}

multiversion! {
    /// Adds a plane's products to eight sums per tap.
    fn plane_backward_weight<T: GemmScalar>(s: &ConvShape, x: &[T], gy: &[T], sums: &mut [[T; 8]]) {
        let step = s.stride[2];
        rows(s, |tap, out, at, len| {
            let grad = &gy[out..out + len];
            let from = &x[at..=at + (len - 1) * step];
            let lanes = &mut sums[tap];
            if step == 1 {
                let (grads, images) = (grad.chunks_exact(8), from.chunks_exact(8));
                let (rest, rest_image) = (grads.remainder(), images.remainder());
                for (a, b) in grads.zip(images) {
                    for i in 0..8 {
                        lanes[i] += a[i] * b[i];
                    }
                }
                for (i, (&a, &b)) in rest.iter().zip(rest_image).enumerate() {
                    lanes[i] += a * b;
                }
            } else {
                for (i, &a) in grad.iter().enumerate() {
                    lanes[i % 8] += a * from[i * step];
                }
            }
        });
    }
}

#[inline(always)]
fn fold<T: GemmScalar>(l: [T; 8]) -> T {
    ((l[0] + l[4]) + (l[2] + l[6])) + ((l[1] + l[5]) + (l[3] + l[7]))
}

multiversion! {
    /// The sum of a slice, in eight lanes and blocks of 1024 elements.
    pub fn sum<T: GemmScalar>(values: &[T]) -> T {
        let mut total = T::default();
        for block in values.chunks(1024) {
            let mut lanes = [T::default(); 8];
            let eights = block.chunks_exact(8);
            let rest = eights.remainder();
            for eight in eights {
                for i in 0..8 {
                    lanes[i] += eight[i];
                }
            }
            for (lane, &value) in lanes.iter_mut().zip(rest) {
                *lane += value;
            }
            total += fold(lanes);
        }
        total
    }
}

/// Planes per piece of work.
fn grain(s: &ConvShape, planes: usize) -> usize {
    let (_, kernel, plane) = s.planes();
    (1 << 15) / (planes * kernel * plane).max(1)
}

pub fn forward<T: GemmScalar>(s: &ConvShape, x: &[T], w: &[T], bias: Option<&[T]>, y: &mut [T]) {
    let (in_plane, kernel, plane) = s.planes();
    let per = s.c_out / s.c_in;
    let out = SendPtr(y.as_mut_ptr());
    parallel_for(s.batch * s.c_out, grain(s, 1), |range| {
        for i in range {
            let (image, co) = (i / s.c_out, i % s.c_out);
            let from = &x[(image * s.c_in + co / per) * in_plane..][..in_plane];
            // SAFETY: each output plane is written by one piece.
            let to = unsafe { out.slice(i * plane, plane) };
            let start = bias.map_or(T::default(), |bias| bias[co]);
            plane_forward(s, from, &w[co * kernel..][..kernel], start, to);
        }
    });
}

pub fn backward_input<T: GemmScalar>(s: &ConvShape, gy: &[T], w: &[T], gx: &mut [T]) {
    let (in_plane, kernel, plane) = s.planes();
    let per = s.c_out / s.c_in;
    let out = SendPtr(gx.as_mut_ptr());
    if per == 1 && s.flips() {
        // Stride one: the forward convolution of the gradient with the kernel turned round.
        let turned = ConvShape {
            input: s.output,
            output: s.input,
            pad: std::array::from_fn(|d| s.dilation[d] * (s.kernel[d] - 1) - s.pad[d]),
            ..*s
        };
        let mut flipped = w.to_vec();
        flipped.chunks_exact_mut(kernel).for_each(<[T]>::reverse);
        return forward(&turned, gy, &flipped, None, gx);
    }
    parallel_for(s.batch * s.c_in, grain(s, per), |range| {
        for i in range {
            let (image, ci) = (i / s.c_in, i % s.c_in);
            // SAFETY: each input plane is written by one piece.
            let to = unsafe { out.slice(i * in_plane, in_plane) };
            to.fill(T::default());
            for co in ci * per..(ci + 1) * per {
                let from = &gy[(image * s.c_out + co) * plane..][..plane];
                plane_backward_input(s, from, &w[co * kernel..][..kernel], to);
            }
        }
    });
}

pub fn backward_weight<T: GemmScalar>(s: &ConvShape, x: &[T], gy: &[T], gw: &mut [T]) {
    let (in_plane, kernel, plane) = s.planes();
    let per = s.c_out / s.c_in;
    let out = SendPtr(gw.as_mut_ptr());
    parallel_for(s.c_out, grain(s, s.batch), |range| {
        for co in range {
            // SAFETY: each kernel is written by one piece.
            let to = unsafe { out.slice(co * kernel, kernel) };
            let mut sums = vec![[T::default(); 8]; kernel];
            for image in 0..s.batch {
                let from = &x[(image * s.c_in + co / per) * in_plane..][..in_plane];
                let grad = &gy[(image * s.c_out + co) * plane..][..plane];
                plane_backward_weight(s, from, grad, &mut sums);
            }
            for (to, &sums) in to.iter_mut().zip(&sums) {
                *to = fold(sums);
            }
        }
    });
}
