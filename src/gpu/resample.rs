//! Resizing by tables, sampling at points, columns of patches.

use super::softmax::plain;
use super::{Call, call, of};
use crate::cpu::resample::{Axis, FoldShape, GridMode, GridPadding, GridShape, Resize};
use crate::dtype::Dtype;
use crate::error::Result;
use crate::ops::copy;
use crate::tensor::Tensor;

/// Resizes planes along every dimension that changes, in this order; the result is float32.
fn resize(axes: [(usize, &Axis<f32>); 3], planes: usize, x: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let mut size = [1; 3];
    axes.iter().for_each(|(d, a)| size[*d] = a.input());
    let mut now = copy::to_dtype(&copy::contiguous(&x.detach())?, Dtype::F32)?;
    for (d, axis) in axes.into_iter().filter(|(_, axis)| !axis.copies()) {
        let outer = planes * size[..d].iter().product::<usize>();
        let inner: usize = size[d + 1..].iter().product();
        let (ends, index, weight) = axis.taps();
        let table = |v: &[usize]| -> Result<Tensor> {
            let v: Vec<i32> = v.iter().map(|&i| i as i32).collect();
            copy::to_device(&Tensor::from_slice(&v, &[v.len()])?, x.device())
        };
        let weight = copy::to_device(&Tensor::from_slice(weight, &[weight.len()])?, x.device())?;
        size[d] = axis.output();
        let next = Tensor::empty(&[outer, axis.output(), inner], Dtype::F32, x.device())?;
        let params = [axis.input() as u32, axis.output() as u32, inner as u32];
        call("resize_axis", &[&now, &table(ends)?, &table(index)?, &weight, &next], &params, next.numel())?;
        now = next;
    }
    crate::ops::view::reshape_to(&now, shape).map(|t| t.detach())
}

impl Resize<f32> {
    /// [`Resize::forward`] on a GPU.
    pub fn forward_on_gpu(&self, planes: usize, x: &Tensor, shape: &[usize]) -> Result<Tensor> {
        resize([2, 1, 0].map(|d| (d, &self.axes[d])), planes, x, shape)
    }

    /// [`Resize::backward`] on a GPU.
    pub fn backward_on_gpu(&self, planes: usize, g: &Tensor, shape: &[usize]) -> Result<Tensor> {
        let turned = self.axes.each_ref().map(Axis::turned);
        resize([0, 1, 2].map(|d| (d, &turned[d])), planes, g, shape)
    }
}

/// Images to columns of patches, or back, adding up what overlaps.
pub fn fold(s: &FoldShape, x: &Tensor, out: &Tensor, to_columns: bool) -> Result<()> {
    if x.dtype().is_complex() {
        return Err(super::refuse("unfold", x.dtype(), of(x)?));
    }
    let from = copy::contiguous(&x.detach())?;
    let params: Vec<u32> =
        [s.input, s.kernel, s.stride, s.pad, s.dilation, s.output].iter().flatten().map(|&v| v as u32).collect();
    call(if to_columns { "unfold" } else { "fold" }, &[&from, out], &params, out.numel())
}

fn grid_params(s: &GridShape) -> Vec<u32> {
    let mode = match s.mode {
        GridMode::Linear => 0,
        GridMode::Nearest => 1,
        GridMode::Cubic => 2,
    };
    let padding = match s.padding {
        GridPadding::Zeros => 0,
        GridPadding::Border => 1,
        GridPadding::Reflection => 2,
    };
    let [z, y, x] = s.input;
    [s.channels, z, y, x, s.points, s.dims, mode, padding, s.align_corners as usize].map(|v| v as u32).into()
}

/// The samples of an image at the points of a grid, in the shape `shape`.
pub fn grid_sample(s: &GridShape, x: &Tensor, grid: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let (from, at) = (plain("grid_sampler", x)?, plain("grid_sampler", grid)?);
    let out = Tensor::empty(shape, Dtype::F32, x.device())?;
    // A point is found once for eight channels.
    let n = s.batch * s.channels.div_ceil(8) * s.points;
    call("grid_sample", &[&from, &at, &out], &grid_params(s), n)?;
    Ok(out)
}

/// The gradients of [`grid_sample`] by the image and by the grid, where they are wanted: float32.
pub fn grid_sample_backward(
    s: &GridShape,
    g: &Tensor,
    x: &Tensor,
    grid: &Tensor,
    wanted: [bool; 2],
) -> Result<[Option<Tensor>; 2]> {
    let (g, from, at) = (plain("grid_sampler", g)?, plain("grid_sampler", x)?, plain("grid_sampler", grid)?);
    let make = |t: &Tensor, on: bool| on.then(|| Tensor::zeros(t.shape(), Dtype::F32, t.device())).transpose();
    let (gx, gg) = (make(x, wanted[0])?, make(grid, wanted[1])?);
    let params = grid_params(s);
    if let (Some(gx), true) = (&gx, g.numel() > 0) {
        // Where the points are is the same for all channels of an image.
        let each = match s.mode {
            GridMode::Nearest => 1,
            GridMode::Linear => 1 << s.dims,
            GridMode::Cubic => 4usize.pow(s.dims as u32),
        };
        let n = s.batch * s.points;
        let places = Tensor::empty(&[n * each], Dtype::I32, x.device())?;
        let shares = Tensor::empty(&[n * each], Dtype::F32, x.device())?;
        let mut own = params.clone();
        own.remove(4);
        own[0] = each as u32;
        call("grid_sample_taps", &[&at, &places, &shares], &own, n)?;
        let plane: usize = s.input.iter().product();
        let owners = if of(x)?.info().kind == "Cpu" { "8" } else { "256" };
        // One launch after the other adds to the result; llvmpipe stops a kernel's loops after 65,535 rounds.
        const ROUNDS: usize = 48 * 1024;
        for skip in (0..s.points * each).step_by(ROUNDS) {
            let count = ROUNDS.min(s.points * each - skip);
            let params = [s.channels, plane, s.points, each, skip, count].map(|v| v as u32);
            Call {
                name: "grid_sample_backward_input",
                tensors: &[&places, &shares, &g, gx],
                params: &params,
                choice: &[("OWNERS", owners)],
                n: s.batch * s.channels,
            }
            .run()?;
        }
    }
    if let (Some(gg), true) = (&gg, g.numel() > 0) {
        call("grid_sample_backward_grid", &[&from, &at, &g, gg], &params, s.batch * s.points)?;
    }
    Ok([gx, gg])
}
