//! Convolutions: the three bilinear maps in the terms of `shaders/conv.wgsl`.

use super::matmul::{self, Start, join, slices, wide};
use super::{Call, Gpu, check_dtype, flat, of};
use crate::cpu::conv::ConvShape;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::layout::Layout;
use crate::ops::copy;
use crate::tensor::Tensor;

/// Rows up to which a convolution has an invocation for each result.
const DIRECT_ROWS: usize = 4;
/// Workgroups that large tiles need to be worth it.
const MANY: usize = 96;
/// Shared memory of the kernel with large tiles.
const LARGE_SHARED: usize = (17 + 65) * 256 + 16 * 20;

/// What the kernels take as parameters; all in elements.
#[derive(Clone, Copy, Default)]
struct Sizes {
    rows: usize,
    cols: usize,
    len: usize,
    groups: usize,
    /// Positions: how many in each dimension, the coordinates of the first, the steps between them.
    grid: [usize; 3],
    base: [isize; 3],
    step: [isize; 3],
    /// Taps: how many in each dimension, the steps between them.
    taps: [usize; 3],
    tap_step: [isize; 3],
    /// The sizes of what is read at positions and taps.
    limit: [usize; 3],
    /// Strides of an image, a channel, a group.
    x: [usize; 3],
    /// Strides of the left operand: a row, a group, a channel (or an image), the taps.
    left: [usize; 3],
    left_tap: [usize; 3],
    /// Strides of the result: an image, a row, a group, the positions.
    y: [usize; 3],
    y_step: [usize; 3],
}

impl Sizes {
    fn words(&self, y_slice: usize, chunk: usize, biased: bool) -> [u32; 40] {
        let (grid, taps) = (self.grid, self.taps);
        let all = |v: [usize; 3]| v.iter().product::<usize>();
        let mut w = Vec::with_capacity(40);
        let mut put = |v: &[usize]| w.extend(v.iter().map(|&v| v as u32));
        let signed = |v: [isize; 3]| v.map(|v| v as usize);
        put(&[self.rows, self.cols, self.len, self.groups, all(grid), grid[1], grid[2]]);
        put(&signed(self.base));
        put(&signed(self.step));
        put(&[all(taps), taps[1], taps[2]]);
        put(&signed(self.tap_step));
        put(&self.limit);
        put(&self.x);
        put(&self.left);
        put(&self.left_tap);
        put(&self.y);
        put(&self.y_step);
        put(&[y_slice, chunk, usize::from(biased)]);
        w.try_into().expect("as many as the kernels take")
    }
}

/// Which side of a convolution is computed: as `ops::conv::raw::Map`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Output,
    Input,
    Weight,
}

/// Strides of a contiguous block of three dimensions.
fn strides(d: [usize; 3]) -> [usize; 3] {
    [d[1] * d[2], d[2], 1]
}

fn area(d: [usize; 3]) -> usize {
    d.iter().product()
}

/// A contiguous tensor from an element on.
fn from(t: &Tensor, at: usize) -> Result<Tensor> {
    let at = at.min(t.numel());
    flat(t, at, t.numel() - at)
}

/// A convolution's side from the other two, in the order input, weight, output; all contiguous, `out` too.
pub fn run(side: Side, s: &ConvShape, a: &Tensor, b: &Tensor, bias: Option<&Tensor>, out: &Tensor) -> Result<()> {
    let gpu = of(out)?;
    check_dtype("convolution", out.dtype(), gpu)?;
    if out.numel() == 0 {
        return Ok(());
    }
    if side != Side::Weight && plain(s) {
        return pointwise(side, s, a, b, bias, out);
    }
    match side {
        Side::Output => output(gpu, s, a, b, bias, out),
        Side::Input => input(gpu, s, a, b, bias, out),
        Side::Weight => weight(gpu, s, a, b, out),
    }
}

/// Whether a convolution is a matrix product for each image, of enough columns for one.
fn plain(s: &ConvShape) -> bool {
    s.groups == 1 && area(s.kernel) == 1 && s.stride == [1; 3] && s.pad == [0; 3] && area(s.input) >= 256
}

/// A kernel of one tap, as a product: of the weight or its transpose with each image.
fn pointwise(side: Side, s: &ConvShape, a: &Tensor, b: &Tensor, bias: Option<&Tensor>, out: &Tensor) -> Result<()> {
    let view = |t: &Tensor, shape: &[usize], strides: &[isize]| -> Result<Tensor> {
        Ok(t.detach().alias(Layout::strided(shape, strides, t.layout().offset)?))
    };
    let (cols, row) = (area(s.input), s.c_in as isize);
    let (x, w, shape, strides, rows) = match side {
        Side::Input => (b, a, [s.c_in, s.c_out], [1, row], s.c_out),
        _ => (a, b, [s.c_out, s.c_in], [row, 1], s.c_in),
    };
    let images = |t: &Tensor, rows: usize| view(t, &[s.batch, rows, cols], &[(rows * cols) as isize, cols as isize, 1]);
    let y = images(out, shape[0])?;
    let start = match bias {
        Some(bias) => {
            copy::copy_raw(&y, &view(bias, &[shape[0], 1], &[1, 1])?)?;
            Start::Result
        }
        None => Start::Nothing,
    };
    matmul::product(&view(w, &shape, &strides)?, &images(x, rows)?, &[s.batch], &y, start)
}

fn output(gpu: &Gpu, s: &ConvShape, x: &Tensor, w: &Tensor, bias: Option<&Tensor>, out: &Tensor) -> Result<()> {
    let (cig, cog) = (s.c_in / s.groups, s.c_out / s.groups);
    let (ip, kp, op) = (area(s.input), area(s.kernel), area(s.output));
    let sizes = Sizes {
        rows: cog,
        cols: s.batch * op,
        len: cig * kp,
        groups: s.groups,
        grid: s.output,
        base: s.pad.map(|p| -(p as isize)),
        step: s.stride.map(|v| v as isize),
        taps: s.kernel,
        tap_step: s.dilation.map(|v| v as isize),
        limit: s.input,
        x: [s.c_in * ip, ip, cig * ip],
        left: [cig * kp, cog * cig * kp, kp],
        left_tap: strides(s.kernel),
        y: [s.c_out * op, op, cog * op],
        y_step: strides(s.output),
    };
    gather(gpu, &sizes, x, w, bias, out, true)
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// One dimension of the input's side, for the positions `phase`, `phase + stride`, ...
struct Phase {
    positions: usize,
    /// The first tap that meets an output there, the distance of such taps, their number.
    tap: usize,
    every: usize,
    taps: usize,
    /// The output at the first position and tap, and how far the next tap's output lies before it.
    base: isize,
    back: isize,
}

impl Phase {
    fn new(s: &ConvShape, d: usize, phase: usize) -> Phase {
        let (stride, dilation, kernel) = (s.stride[d], s.dilation[d], s.kernel[d]);
        let every = stride / gcd(stride, dilation);
        let start = |k: usize| (phase + s.pad[d]) as isize - (k * dilation) as isize;
        let tap = (0..every.min(kernel)).find(|&k| start(k).rem_euclid(stride as isize) == 0);
        Phase {
            positions: (s.input[d] - phase).div_ceil(stride),
            tap: tap.unwrap_or(0),
            every,
            taps: tap.map_or(0, |k| (kernel - k).div_ceil(every)),
            base: tap.map_or(0, |k| start(k).div_euclid(stride as isize)),
            back: (every * dilation / stride) as isize,
        }
    }
}

/// The input's side, by classes of positions that the same taps reach.
fn input(gpu: &Gpu, s: &ConvShape, w: &Tensor, g: &Tensor, bias: Option<&Tensor>, out: &Tensor) -> Result<()> {
    let (cig, cog) = (s.c_in / s.groups, s.c_out / s.groups);
    let (ip, kp, op) = (area(s.input), area(s.kernel), area(s.output));
    let (in_steps, tap_steps) = (strides(s.input), strides(s.kernel));
    let classes: [usize; 3] = std::array::from_fn(|d| s.stride[d].min(s.input[d]));
    for class in 0..area(classes) {
        let at = [class / (classes[1] * classes[2]), class / classes[2] % classes[1], class % classes[2]];
        let f: [Phase; 3] = std::array::from_fn(|d| Phase::new(s, d, at[d]));
        let each = |get: fn(&Phase) -> usize| -> [usize; 3] { std::array::from_fn(|d| get(&f[d])) };
        let (grid, taps) = (each(|p| p.positions), each(|p| p.taps));
        let sizes = Sizes {
            rows: cig,
            cols: s.batch * area(grid),
            len: cog * area(taps),
            groups: s.groups,
            grid,
            base: std::array::from_fn(|d| f[d].base),
            step: [1; 3],
            taps,
            tap_step: std::array::from_fn(|d| -f[d].back),
            limit: s.output,
            x: [s.c_out * op, op, cog * op],
            left: [kp, cog * cig * kp, cig * kp],
            left_tap: std::array::from_fn(|d| f[d].every * tap_steps[d]),
            y: [s.c_in * ip, ip, cig * ip],
            y_step: std::array::from_fn(|d| s.stride[d] * in_steps[d]),
        };
        let first_tap = (0..3).map(|d| f[d].tap * tap_steps[d]).sum();
        let first = (0..3).map(|d| at[d] * in_steps[d]).sum();
        gather(gpu, &sizes, g, &from(w, first_tap)?, bias, &from(out, first)?, area(classes) == 1)?;
    }
    Ok(())
}

/// Launches a map whose columns are positions; `whole` says that it computes all of `out`.
fn gather(gpu: &Gpu, s: &Sizes, x: &Tensor, w: &Tensor, bias: Option<&Tensor>, out: &Tensor, whole: bool) -> Result<()> {
    let all = s.groups * s.rows * s.cols;
    let choice = [("MAP", "gather")];
    if s.rows <= DIRECT_ROWS && (all >= 1 << 12 || s.len <= 256) {
        let params = s.words(0, s.len.max(1), bias.is_some());
        return Call { name: "conv_direct", tensors: &[x, w, bias.unwrap_or(w), out], params: &params, choice: &[], n: all }
            .run();
    }
    tiles(gpu, s, [x, w], bias, out, choice[0], whole)
}

fn weight(gpu: &Gpu, s: &ConvShape, x: &Tensor, g: &Tensor, out: &Tensor) -> Result<()> {
    let (cig, cog) = (s.c_in / s.groups, s.c_out / s.groups);
    let (ip, kp, op) = (area(s.input), area(s.kernel), area(s.output));
    let sizes = Sizes {
        rows: cog,
        cols: cig * kp,
        len: s.batch * op,
        groups: s.groups,
        grid: s.output,
        base: s.pad.map(|p| -(p as isize)),
        step: s.stride.map(|v| v as isize),
        taps: s.kernel,
        tap_step: s.dilation.map(|v| v as isize),
        limit: s.input,
        x: [s.c_in * ip, ip, cig * ip],
        left: [op, cog * op, s.c_out * op],
        left_tap: [0; 3],
        y: [0, cig * kp, cog * cig * kp],
        y_step: [0; 3],
    };
    let groups = out.numel();
    if sizes.rows <= DIRECT_ROWS && groups <= 1 << 14 {
        return sliced(&sizes, "conv_weight_direct", [x, g], None, out, &[], groups, slices(groups, sizes.len, 4096, 256));
    }
    tiles(gpu, &sizes, [x, g], None, out, ("MAP", "weight"), true)
}

/// Launches a kernel with tiles of the right size.
fn tiles(
    gpu: &Gpu,
    s: &Sizes,
    operands: [&Tensor; 2],
    bias: Option<&Tensor>,
    out: &Tensor,
    map: (&str, &str),
    whole: bool,
) -> Result<()> {
    let count = |rows: usize, cols: usize| s.rows.div_ceil(rows) * s.cols.div_ceil(cols) * s.groups;
    let cut = |groups: usize| if whole { slices(groups, s.len, 256, 16) } else { (1, s.len.next_multiple_of(16).max(16)) };
    let suits = matches!(out.dtype(), Dtype::F32 | Dtype::F16 | Dtype::BF16) && gpu.info().shared_memory >= LARGE_SHARED;
    // Where the rows fill a tile of that height.
    for (high, rows) in [("32", 128), ("16", 64)] {
        let groups = count(rows, 16384 / rows);
        let full = s.rows % rows == 0 || s.rows % rows > rows * 3 / 4;
        if suits && full && groups * (s.len / 1024).max(1) >= MANY {
            return sliced(s, "conv_large", operands, bias, out, &[map, ("HIGH", high)], groups, cut(groups));
        }
    }
    let groups = count(64, 64);
    sliced(s, "conv", operands, bias, out, &[map], groups, cut(groups))
}

/// Launches a kernel; where its sums are cut into slices, adds these in their order.
#[allow(clippy::too_many_arguments)]
fn sliced(
    s: &Sizes,
    name: &'static str,
    [x, w]: [&Tensor; 2],
    bias: Option<&Tensor>,
    out: &Tensor,
    choice: &[(&str, &str)],
    groups: usize,
    (slices, chunk): (usize, usize),
) -> Result<()> {
    let size = out.numel();
    let to = if slices == 1 { out.clone() } else { Tensor::empty(&[slices * size], wide(out.dtype()), out.device())? };
    let params = s.words(size, chunk, bias.is_some());
    Call { name, tensors: &[x, w, bias.unwrap_or(w), &to], params: &params, choice, n: groups * slices }.run()?;
    if slices == 1 { Ok(()) } else { join(&to, out, slices) }
}
