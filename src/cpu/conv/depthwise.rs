//! Depthwise convolution: every output channel reads one input channel, so there is nothing for a
//! matrix product to share. Rows of the output are sums of scaled rows of the input.

use super::ConvShape;
use crate::cpu::gemm::GemmScalar;
use crate::cpu::threads::{SendPtr, parallel_for};

/// For one kernel offset along a dimension, the outputs `first..last` that read inside the input.
fn inside(s: &ConvShape, d: usize, k: usize) -> (usize, usize) {
    let (stride, shift) = (s.stride[d], k * s.dilation[d]);
    let first = s.pad[d].saturating_sub(shift).div_ceil(stride);
    let last = (s.input[d] + s.pad[d]).saturating_sub(shift).div_ceil(stride);
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

/// The outputs of a row whose taps all lie inside it.
fn interior(s: &ConvShape) -> (usize, usize) {
    let (first, last) = (0..s.kernel[2]).fold((0, s.output[2]), |(a, b), k| {
        let (x0, x1) = inside(s, 2, k);
        (a.max(x0), b.min(x1))
    });
    (first.min(last), last)
}

/// Calls `f(kernel row, start of the input row)` for the rows of taps of an output row that lie
/// inside.
#[inline(always)]
fn tap_rows(s: &ConvShape, line: usize, mut f: impl FnMut(usize, usize)) {
    let (oz, oy) = (line / s.output[1], line % s.output[1]);
    for k in 0..s.kernel[0] * s.kernel[1] {
        let (kz, ky) = (k / s.kernel[1], k % s.kernel[1]);
        let z = (oz * s.stride[0] + kz * s.dilation[0]).wrapping_sub(s.pad[0]);
        let y = (oy * s.stride[1] + ky * s.dilation[1]).wrapping_sub(s.pad[1]);
        if z < s.input[0] && y < s.input[1] {
            f(k, (z * s.input[1] + y) * s.input[2]);
        }
    }
}

multiversion! {
    fn plane_forward<T: GemmScalar>(s: &ConvShape, x: &[T], w: &[T], start: T, y: &mut [T]) {
        let (kw, width, step, dilation) = (s.kernel[2], s.input[2], s.stride[2], s.dilation[2]);
        let (first, last) = interior(s);
        let kernels = T::kernels();
        let wide = 8 * kernels.lanes;
        for (line, to) in y.chunks_exact_mut(s.output[2]).enumerate() {
            to.fill(start);
            tap_rows(s, line, |k, row| {
                let (w, row) = (&w[k * kw..][..kw], &x[row..][..width]);
                // The inner part of the row is a row of a product: tap after tap the operand moves
                // on by the dilation.
                if step == 1 {
                    for o in (first..last).step_by(wide) {
                        let count = (last - o).min(wide);
                        let vectors = count.div_ceil(kernels.lanes);
                        let tail = count - (vectors - 1) * kernels.lanes;
                        let from = &row[o - s.pad[2]..];
                        // SAFETY: all taps of outputs `o..o + count` read inside the row, so the last
                        // read is element `count - 1 + (kw - 1) * dilation` after the first; `to` has
                        // `count` elements from `o`.
                        unsafe {
                            kernels.row[vectors - 1](
                                kw,
                                w.as_ptr(),
                                0,
                                1,
                                from.as_ptr(),
                                dilation as isize,
                                to[o..o + count].as_mut_ptr(),
                                0,
                                tail,
                                true,
                            );
                        }
                    }
                }
                if step > 1 {
                    for (k, &scale) in w.iter().enumerate() {
                        let (x0, x1) = inside(s, 2, k);
                        if x0 < x1 {
                            let at = x0 * step + k * dilation - s.pad[2];
                            let from = &row[at..=at + (x1 - x0 - 1) * step];
                            for (i, to) in to[x0..x1].iter_mut().enumerate() {
                                *to += from[i * step] * scale;
                            }
                        }
                    }
                    return;
                }
                for o in (0..first).chain(last..to.len()) {
                    let mut sum = to[o];
                    for (k, &scale) in w.iter().enumerate() {
                        let at = (o * step + k * dilation).wrapping_sub(s.pad[2]);
                        if let Some(&from) = row.get(at) {
                            sum += from * scale;
                        }
                    }
                    to[o] = sum;
                }
            });
        }
    }
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
    /// Adds a plane's part of the gradient.
    fn plane_backward_weight<T: GemmScalar>(s: &ConvShape, x: &[T], gy: &[T], gw: &mut [T]) {
        let (kw, width, step, dilation) = (s.kernel[2], s.input[2], s.stride[2], s.dilation[2]);
        let (first, last) = interior(s);
        let dots = T::kernels().dots;
        for (line, grad) in gy.chunks_exact(s.output[2]).enumerate() {
            tap_rows(s, line, |k, row| {
                let (gw, row) = (&mut gw[k * kw..][..kw], &x[row..][..width]);
                if step == 1 && first < last {
                    let from = &row[first - s.pad[2]..];
                    for k in (0..kw).step_by(4) {
                        let count = (kw - k).min(4);
                        // SAFETY: all taps of outputs `first..last` read inside the row; `gw` has
                        // `count` elements from `k`.
                        unsafe {
                            dots[0][count - 1](
                                last - first,
                                grad[first..last].as_ptr(),
                                0,
                                from[k * dilation..].as_ptr(),
                                dilation as isize,
                                gw[k..k + count].as_mut_ptr(),
                                0,
                                1,
                                true,
                            );
                        }
                    }
                }
                if step > 1 {
                    for (k, gw) in gw.iter_mut().enumerate() {
                        let (x0, x1) = inside(s, 2, k);
                        if x0 < x1 {
                            let at = x0 * step + k * dilation - s.pad[2];
                            let from = &row[at..=at + (x1 - x0 - 1) * step];
                            // Several sums, so that they do not wait for each other.
                            let mut sums = [T::default(); 8];
                            for (i, &grad) in grad[x0..x1].iter().enumerate() {
                                sums[i % 8] += grad * from[i * step];
                            }
                            *gw += fold(sums);
                        }
                    }
                    return;
                }
                for (k, gw) in gw.iter_mut().enumerate() {
                    let mut sum = *gw;
                    for o in (0..first).chain(last..grad.len()) {
                        let at = (o * step + k * dilation).wrapping_sub(s.pad[2]);
                        if let Some(&from) = row.get(at) {
                            sum += grad[o] * from;
                        }
                    }
                    *gw = sum;
                }
            });
        }
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
            to.fill(T::default());
            for image in 0..s.batch {
                let from = &x[(image * s.c_in + co / per) * in_plane..][..in_plane];
                let grad = &gy[(image * s.c_out + co) * plane..][..plane];
                plane_backward_weight(s, from, grad, to);
            }
        }
    });
}
