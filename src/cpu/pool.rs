//! Pooling over planes of depth, height and width; fewer dimensions have leading ones.
//!
//! Max pooling returns where in the plane each maximum was, which is all its gradient needs. Average
//! and adaptive pooling share one routine over tables of windows.

#[cfg(target_arch = "x86_64")]
mod pairs;

use super::threads::{SendPtr, parallel_for};
#[cfg(target_arch = "x86_64")]
use std::any::TypeId;
use std::ops::{Add, AddAssign, Div, Range};

/// Why a pooling has no output size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolError {
    /// A stride, dilation or kernel size is zero.
    Zero,
    /// The padding exceeds half of the kernel.
    Padding,
    /// The output would be empty.
    TooSmall,
}

/// Output size along one dimension. In ceil mode a last window that would start in the right padding
/// is left out.
pub fn output_size(
    input: usize,
    kernel: usize,
    stride: usize,
    pad: usize,
    dilation: usize,
    ceil: bool,
) -> Result<usize, PoolError> {
    if kernel == 0 || stride == 0 || dilation == 0 {
        return Err(PoolError::Zero);
    }
    let reach = (dilation as i128) * (kernel as i128 - 1) + 1;
    if 2 * pad as i128 > reach {
        return Err(PoolError::Padding);
    }
    let room = input as i128 + 2 * pad as i128 - reach;
    let up = if ceil { stride as i128 - 1 } else { 0 };
    let mut size = (room + up).div_euclid(stride as i128) + 1;
    if ceil && (size - 1) * stride as i128 >= input as i128 + pad as i128 {
        size -= 1;
    }
    usize::try_from(size).ok().filter(|&n| n > 0).ok_or(PoolError::TooSmall)
}

/// The sizes of a pooling with windows of equal size.
#[derive(Clone, Copy, Debug)]
pub struct PoolShape {
    /// Batch times channels.
    pub planes: usize,
    pub input: [usize; 3],
    pub kernel: [usize; 3],
    pub stride: [usize; 3],
    pub pad: [usize; 3],
    pub dilation: [usize; 3],
    pub output: [usize; 3],
}

/// Elements that have a maximum.
pub trait MaxElement: Copy + PartialOrd + Send + Sync + 'static {
    /// What every other value is above, or equal to.
    const LOWEST: Self;
}

macro_rules! max_element {
    ($($t:ty, $low:expr;)*) => {$(
        impl MaxElement for $t {
            const LOWEST: $t = $low;
        }
    )*};
}
max_element! {
    f32, f32::NEG_INFINITY; f64, f64::NEG_INFINITY;
    i8, i8::MIN; u8, u8::MIN; i16, i16::MIN; i32, i32::MIN; i64, i64::MIN;
}

/// Floats that can be averaged.
pub trait AvgElement: Copy + Default + Add<Output = Self> + AddAssign + Div<Output = Self> + Send + Sync {
    /// The nearest float.
    fn from_f64(x: f64) -> Self;
}
impl AvgElement for f32 {
    fn from_f64(x: f64) -> f32 {
        x as f32
    }
}
impl AvgElement for f64 {
    fn from_f64(x: f64) -> f64 {
        x
    }
}

/// True when `new` takes the place of `best`: larger, or not a number.
#[inline(always)]
#[allow(clippy::eq_op)] // the test for NaN, which integers pass too
fn beats<T: MaxElement>(new: T, best: T) -> bool {
    new > best || new != new
}

/// Planes per piece of work.
fn grain(work: usize) -> usize {
    (1 << 15) / work.max(1)
}

/// For one kernel offset, the outputs `first..last` that read inside the input.
fn inside(s: &PoolShape, d: usize, k: usize) -> (usize, usize) {
    let shift = k * s.dilation[d];
    let first = s.pad[d].saturating_sub(shift).div_ceil(s.stride[d]);
    let end = (s.input[d] + s.pad[d]).saturating_sub(shift);
    let last = end.div_ceil(s.stride[d]).min(s.output[d]);
    (first.min(last), last)
}

/// Whether the places of maxima are wanted.
pub trait Track: Sync {
    const ON: bool;
}
struct Places;
struct NoPlaces;
impl Track for Places {
    const ON: bool = true;
}
impl Track for NoPlaces {
    const ON: bool = false;
}

/// Outputs of a row that are pooled together.
const CHUNK: usize = 128;

/// The maxima of some outputs so far, and their places.
struct Buffers<T> {
    value: [T; CHUNK],
    at: [u32; CHUNK],
}

/// Takes one element of a window.
#[inline(always)]
fn take<T: MaxElement>(new: T, place: u32, value: &mut T, at: &mut u32) {
    let wins = beats(new, *value);
    *value = if wins { new } else { *value };
    *at = if wins { place } else { *at };
}

/// The taps of one output row: the input rows inside the image, and along a row taps `dilation` apart.
struct Line<'a> {
    /// Where the rows begin in the plane.
    rows: &'a [usize],
    taps: usize,
    dilation: usize,
    step: usize,
    pad: usize,
    width: usize,
    /// The outputs all of whose taps lie inside the rows.
    inner: Range<usize>,
    /// The row and first column of a window's first element.
    corner: usize,
}

impl Line<'_> {
    /// The column of output `o`'s first tap inside the image.
    #[inline(always)]
    fn first(&self, o: usize) -> usize {
        let k = self.pad.saturating_sub(o * self.step).div_ceil(self.dilation);
        (o * self.step + k * self.dilation - self.pad).min(self.width.max(1) - 1)
    }
}

/// The inner outputs of a row by `pairs::max_pairs`, where that applies.
#[inline(always)]
fn by_pairs<T: MaxElement>(line: &Line<'_>, on: bool, x: &[T], best: &mut [T], index: &mut [i64]) -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        use super::isa::{Level, level};
        let fits = TypeId::of::<T>() == TypeId::of::<f32>() && line.step == 2 && line.taps == 2 && line.dilation == 1;
        let Range { start, end } = line.inner;
        if fits && start < end && level() >= Level::Avx512 {
            let from = start * 2 - line.pad;
            let best = &mut best[start..end];
            let needed = line.rows.last().map_or(0, |row| row + from + 2 * best.len());
            assert!(needed <= x.len(), "rows of a pool");
            // SAFETY: `T` is f32; the processor has the level; the rows ascend, so all of them end inside of `x`.
            unsafe {
                let best = std::slice::from_raw_parts_mut(best.as_mut_ptr() as *mut f32, best.len());
                let index = on.then(|| &mut index[start..end]);
                pairs::max_pairs(
                    x.as_ptr() as *const f32,
                    line.rows.iter().map(|row| row + from),
                    line.corner + from,
                    best,
                    index,
                );
            }
            return true;
        }
    }
    let _ = (line, on, x, best, index);
    false
}

multiversion! {
    /// One row of maxima of the plane at `base` of `all`. The last block reads beyond the row, where there is more.
    fn max_line<T: MaxElement, P: Track>(line: &Line<'_>, track: &P, all: &[T], base: usize, buffers: &mut Buffers<T>, best: &mut [T], index: &mut [i64]) {
        let x = &all[base..];
        let edge = |o: usize, best: &mut [T], index: &mut [i64]| {
            let (mut value, mut at) = (T::LOWEST, line.corner + line.first(o));
            for &row in line.rows {
                for k in 0..line.taps {
                    let i = (o * line.step + k * line.dilation).wrapping_sub(line.pad);
                    if i < line.width && beats(x[row + i], value) {
                        (value, at) = (x[row + i], row + i);
                    }
                }
            }
            best[o] = value;
            if P::ON {
                index[o] = at as i64;
            }
        };
        let Range { start, end } = line.inner;
        for o in (0..start).chain(end..best.len()) {
            edge(o, best, index);
        }
        let end = if by_pairs(line, P::ON, x, best, index) { start } else { end };
        let reach = line.rows.last().map_or(0, |row| row + (line.taps - 1) * line.dilation);
        let Buffers { value, at } = buffers;
        for o in (start..end).step_by(CHUNK) {
            let count = (end - o).min(CHUNK);
            // Whole vectors: what is too many of them is not used.
            let wide = count.next_multiple_of(16);
            let from = o * line.step - line.pad;
            if reach + from + wide * line.step >= x.len() {
                (o..o + count).for_each(|o| edge(o, best, index));
                continue;
            }
            for l in 0..wide {
                value[l] = T::LOWEST;
                at[l] = (line.corner + from + l * line.step) as u32;
            }
            // SAFETY: rows ascend, so all elements read lie at most `reach + from + wide * step` into `x`.
            unsafe {
                for &row in line.rows {
                    if line.step == 1 {
                        for k in 0..line.taps {
                            let first = row + from + k * line.dilation;
                            let x = x.as_ptr().add(first);
                            for l in 0..wide {
                                take(*x.add(l), (first + l) as u32, &mut value[l], &mut at[l]);
                            }
                        }
                    } else if line.step == 2 && line.dilation == 1 && line.taps > 1 {
                        // Neighbouring taps in pairs; to see the one before the last again changes nothing.
                        for k in (0..line.taps).step_by(2) {
                            let first = row + from + k.min(line.taps - 2);
                            let x = x.as_ptr().add(first);
                            for l in 0..wide {
                                take(*x.add(2 * l), (first + 2 * l) as u32, &mut value[l], &mut at[l]);
                                take(*x.add(2 * l + 1), (first + 2 * l + 1) as u32, &mut value[l], &mut at[l]);
                            }
                        }
                    } else {
                        for k in 0..line.taps {
                            let first = row + from + k * line.dilation;
                            let x = x.as_ptr().add(first);
                            for l in 0..count {
                                take(*x.add(l * line.step), (first + l * line.step) as u32, &mut value[l], &mut at[l]);
                            }
                        }
                    }
                }
            }
            for (to, value) in best[o..o + count].iter_mut().zip(&*value) {
                *to = *value;
            }
            if P::ON {
                for (to, at) in index[o..o + count].iter_mut().zip(&*at) {
                    *to = i64::from(*at);
                }
            }
        }
    }
}

/// Max pooling: values, and if wanted for each the flat index into its input plane. A NaN in a window wins.
///
/// # Panics
/// When slices do not fit the shape, or a plane has 2^32 elements or more.
pub fn max_pool<T: MaxElement>(s: &PoolShape, x: &[T], y: &mut [T], index: Option<&mut [i64]>) {
    match index {
        Some(index) => max_planes(s, &Places, x, y, index),
        None => max_planes(s, &NoPlaces, x, y, &mut []),
    }
}

fn max_planes<T: MaxElement, P: Track>(s: &PoolShape, track: &P, x: &[T], y: &mut [T], index: &mut [i64]) {
    let in_plane: usize = s.input.iter().product();
    let plane: usize = s.output.iter().product();
    let window: usize = s.kernel.iter().product();
    assert_eq!((x.len(), y.len()), (s.planes * in_plane, s.planes * plane), "max_pool buffers");
    assert!(!P::ON || index.len() == y.len(), "max_pool indices");
    assert!(u32::try_from(in_plane).is_ok(), "max_pool plane too large");
    let [_, height, width] = s.input;
    let row = s.output[2];
    let (first, last) = (0..s.kernel[2]).fold((0, row), |(a, b), k| {
        let (x0, x1) = inside(s, 2, k);
        (a.max(x0), b.min(x1))
    });
    let inner = first.min(last)..last;
    let (y, index) = (SendPtr(y.as_mut_ptr()), SendPtr(index.as_mut_ptr()));
    parallel_for(s.planes, grain(plane * window), |planes| {
        let mut rows = Vec::with_capacity(s.kernel[0] * s.kernel[1]);
        let mut buffers = Buffers { value: [T::LOWEST; CHUNK], at: [0; CHUNK] };
        for p in planes {
            for out in 0..s.output[0] * s.output[1] {
                let o = [out / s.output[1], out % s.output[1]];
                // SAFETY: this plane of the results belongs to this piece; without places there is no index to write.
                let (best, index) = unsafe {
                    let start = p * plane + out * row;
                    (y.slice(start, row), if P::ON { index.slice(start, row) } else { &mut [] })
                };
                rows.clear();
                for kz in 0..s.kernel[0] {
                    let z = (o[0] * s.stride[0] + kz * s.dilation[0]).wrapping_sub(s.pad[0]);
                    for ky in 0..s.kernel[1] {
                        let yy = (o[1] * s.stride[1] + ky * s.dilation[1]).wrapping_sub(s.pad[1]);
                        if z < s.input[0] && yy < height {
                            rows.push((z * height + yy) * width);
                        }
                    }
                }
                // The index of a window of lowest values is that of its first element.
                let first = |d: usize, o: usize| {
                    let k = s.pad[d].saturating_sub(o * s.stride[d]).div_ceil(s.dilation[d]);
                    (o * s.stride[d] + k * s.dilation[d] - s.pad[d]).min(s.input[d].max(1) - 1)
                };
                let line = Line {
                    rows: &rows,
                    taps: s.kernel[2],
                    dilation: s.dilation[2],
                    step: s.stride[2],
                    pad: s.pad[2],
                    width,
                    inner: inner.clone(),
                    corner: (first(0, o[0]) * height + first(1, o[1])) * width,
                };
                max_line(&line, track, x, p * in_plane, &mut buffers, best, index);
            }
        }
    });
}

/// The gradient of max pooling, adaptive too: `gy` goes where the maxima were. Indices outside the
/// plane are passed over.
pub fn max_pool_backward<T: AvgElement>(planes: usize, in_plane: usize, gy: &[T], index: &[i64], gx: &mut [T]) {
    assert_eq!(gx.len(), planes * in_plane, "max_pool_backward buffers");
    assert_eq!(gy.len(), index.len(), "max_pool_backward indices");
    let plane = gy.len() / planes.max(1);
    let gx = SendPtr(gx.as_mut_ptr());
    parallel_for(planes, grain(plane + in_plane), |range| {
        for p in range {
            // SAFETY: this plane belongs to this piece.
            let to = unsafe { gx.slice(p * in_plane, in_plane) };
            to.fill(T::default());
            let part = p * plane..(p + 1) * plane;
            for (&g, &i) in gy[part.clone()].iter().zip(&index[part]) {
                if let Some(to) = usize::try_from(i).ok().and_then(|i| to.get_mut(i)) {
                    *to += g;
                }
            }
        }
    });
}

/// One window along one dimension: the elements `start..end` of the input, and the length that counts
/// when padding does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub start: usize,
    pub end: usize,
    pub full: usize,
}

/// The windows of an average pooling along each dimension.
pub struct Windows {
    input: [usize; 3],
    dims: [Vec<Window>; 3],
    divisor: Divisor,
}

enum Divisor {
    Elements,
    WithPadding,
    Given(f64),
}

impl Windows {
    /// Windows of equal size; `dilation` does not apply.
    pub fn fixed(s: &PoolShape, count_include_pad: bool, divisor: Option<i64>) -> Windows {
        Windows {
            input: s.input,
            dims: std::array::from_fn(|d| {
                (0..s.output[d])
                    .map(|o| {
                        let (pad, input) = (s.pad[d], s.input[d]);
                        let start = o * s.stride[d];
                        let end = (start + s.kernel[d]).min(input + 2 * pad);
                        Window {
                            start: start.saturating_sub(pad).min(input),
                            end: end.saturating_sub(pad).min(input),
                            full: end.saturating_sub(start),
                        }
                    })
                    .collect()
            }),
            divisor: match divisor {
                Some(n) => Divisor::Given(n as f64),
                None if count_include_pad => Divisor::WithPadding,
                None => Divisor::Elements,
            },
        }
    }

    /// Windows that cut the input into `output` overlapping pieces.
    pub fn adaptive(input: [usize; 3], output: [usize; 3]) -> Windows {
        Windows {
            input,
            dims: std::array::from_fn(|d| {
                let (n, m) = (input[d], output[d]);
                (0..m)
                    .map(|o| {
                        // As o * n / m, without overflow.
                        let start = o / m * n + o % m * n / m;
                        let end = 1 + ((o + 1) * n - 1) / m;
                        Window { start, end, full: end - start }
                    })
                    .collect()
            }),
            divisor: Divisor::Elements,
        }
    }

    fn planes(&self) -> (usize, usize) {
        (self.input.iter().product(), self.dims.iter().map(Vec::len).product())
    }

    /// Work per plane.
    fn work(&self) -> usize {
        let lens = self.dims.each_ref().map(|d| d.iter().map(|w| w.end - w.start).sum::<usize>());
        lens.iter().product::<usize>().max(self.planes().0)
    }

    /// Calls `f(output index, windows)` for every output.
    #[inline(always)]
    fn each(&self, mut f: impl FnMut(usize, [Window; 3])) {
        let mut at = 0;
        for &z in &self.dims[0] {
            for &y in &self.dims[1] {
                for &x in &self.dims[2] {
                    f(at, [z, y, x]);
                    at += 1;
                }
            }
        }
    }

    #[inline(always)]
    fn divisor<T: AvgElement>(&self, w: &[Window; 3]) -> T {
        let count = match self.divisor {
            Divisor::Given(n) => n,
            Divisor::Elements => w.iter().map(|w| w.end - w.start).product::<usize>() as f64,
            Divisor::WithPadding => w.iter().map(|w| w.full).product::<usize>() as f64,
        };
        T::from_f64(count)
    }
}

/// Adds a row: short ones in order, long ones in eight lanes.
#[inline(always)]
fn add_row<T: AvgElement>(mut sum: T, row: &[T]) -> T {
    if row.len() < 16 {
        for &x in row {
            sum += x;
        }
        return sum;
    }
    let mut lanes = [T::default(); 8];
    let eights = row.chunks_exact(8);
    let rest = eights.remainder();
    for eight in eights {
        for i in 0..8 {
            lanes[i] += eight[i];
        }
    }
    for (lane, &x) in lanes.iter_mut().zip(rest) {
        *lane += x;
    }
    sum + (((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7])))
}

/// Average pooling of every plane.
pub fn avg_pool<T: AvgElement>(w: &Windows, planes: usize, x: &[T], y: &mut [T]) {
    let (in_plane, plane) = w.planes();
    assert_eq!((x.len(), y.len()), (planes * in_plane, planes * plane), "avg_pool buffers");
    let [_, height, width] = w.input;
    let y = SendPtr(y.as_mut_ptr());
    parallel_for(planes, grain(w.work()), |range| {
        for p in range {
            let x = &x[p * in_plane..][..in_plane];
            // SAFETY: this plane belongs to this piece.
            let y = unsafe { y.slice(p * plane, plane) };
            w.each(|at, windows| {
                let [z, v, h] = windows;
                let mut sum = T::default();
                if z.start >= z.end || v.start >= v.end || h.start >= h.end {
                    y[at] = sum;
                    return;
                }
                for z in z.start..z.end {
                    for v in v.start..v.end {
                        let row = (z * height + v) * width;
                        sum = add_row(sum, &x[row + h.start..row + h.end]);
                    }
                }
                y[at] = sum / w.divisor(&windows);
            });
        }
    });
}

/// The gradient of average pooling.
pub fn avg_pool_backward<T: AvgElement>(w: &Windows, planes: usize, gy: &[T], gx: &mut [T]) {
    let (in_plane, plane) = w.planes();
    assert_eq!((gx.len(), gy.len()), (planes * in_plane, planes * plane), "avg_pool buffers");
    let [_, height, width] = w.input;
    let gx = SendPtr(gx.as_mut_ptr());
    parallel_for(planes, grain(w.work()), |range| {
        for p in range {
            let gy = &gy[p * plane..][..plane];
            // SAFETY: this plane belongs to this piece.
            let gx = unsafe { gx.slice(p * in_plane, in_plane) };
            gx.fill(T::default());
            w.each(|at, windows| {
                let [z, v, h] = windows;
                if h.start >= h.end {
                    return;
                }
                let share = gy[at] / w.divisor(&windows);
                for z in z.start..z.end {
                    for v in v.start..v.end {
                        let row = (z * height + v) * width;
                        for to in &mut gx[row + h.start..row + h.end] {
                            *to += share;
                        }
                    }
                }
            });
        }
    });
}

/// Adaptive max pooling, as [`max_pool`] over the windows of [`Windows::adaptive`].
pub fn adaptive_max_pool<T: MaxElement>(w: &Windows, planes: usize, x: &[T], y: &mut [T], index: &mut [i64]) {
    let (in_plane, plane) = w.planes();
    assert_eq!((x.len(), y.len()), (planes * in_plane, planes * plane), "max_pool buffers");
    assert_eq!(index.len(), y.len(), "max_pool indices");
    let [_, height, width] = w.input;
    let (y, index) = (SendPtr(y.as_mut_ptr()), SendPtr(index.as_mut_ptr()));
    parallel_for(planes, grain(w.work()), |range| {
        for p in range {
            let x = &x[p * in_plane..][..in_plane];
            // SAFETY: this plane belongs to this piece.
            let (y, index) = unsafe { (y.slice(p * plane, plane), index.slice(p * plane, plane)) };
            w.each(|at, [z, v, h]| {
                let mut best = T::LOWEST;
                let mut found = (z.start * height + v.start) * width + h.start;
                for z in z.start..z.end {
                    for v in v.start..v.end {
                        let row = (z * height + v) * width;
                        for (i, &new) in x[row + h.start..row + h.end].iter().enumerate() {
                            if beats(new, best) {
                                (best, found) = (new, row + h.start + i);
                            }
                        }
                    }
                }
                (y[at], index[at]) = (best, found as i64);
            });
        }
    });
}

#[cfg(test)]
#[path = "pool_tests.rs"]
mod tests;
