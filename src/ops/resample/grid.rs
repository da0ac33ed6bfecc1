//! Sampling of images at points, and grids of points.

use super::super::matmul::bmm;
use super::super::{Registry, Ret, copy, view};
use crate::autograd::{needs_grad, record, save};
use crate::cpu::resample::{GridMode, GridPadding, GridShape, grid_sample as kernel, grid_sample_backward};
use crate::device::Device;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::gpu;
use crate::layout::{Dims, show};
use crate::tensor::Tensor;
use crate::{bail, dispatch, ensure};
use smallvec::{SmallVec, smallvec};

fn shape_of(x: &Tensor, grid: &Tensor, mode: GridMode, padding: GridPadding, align_corners: bool) -> GridShape {
    let dims = x.ndim() - 2;
    let s = x.shape();
    GridShape {
        batch: s[0],
        channels: s[1],
        input: std::array::from_fn(|d| if d + dims < 3 { 1 } else { s[2 + d + dims - 3] }),
        points: grid.shape()[1..grid.ndim() - 1].iter().product(),
        dims,
        mode,
        padding,
        align_corners,
    }
}

fn ready(t: &Tensor) -> Result<Tensor> {
    copy::contiguous(&copy::to_dtype(&t.detach(), t.dtype().compute())?)
}

/// The values of an image at the points of a grid, whose coordinates go from -1 to 1.
pub fn grid_sampler(x: &Tensor, grid: &Tensor, mode: i64, padding: i64, align_corners: bool) -> Result<Tensor> {
    let (xs, gs) = (x.shape(), grid.shape());
    ensure!(
        x.device() == grid.device(),
        Runtime,
        "grid_sampler(): expected input and grid to be on same device, but input is on {} and grid is on {}",
        x.device(),
        grid.device()
    );
    ensure!(
        x.ndim() >= 2 && grid.ndim() >= 1,
        Runtime,
        "grid_sampler(): expected 4D or 5D input and grid, but got input with sizes {} and grid with sizes {}",
        show(xs),
        show(gs)
    );
    ensure!(
        xs[0] == gs[0],
        Runtime,
        "grid_sampler(): expected grid and input to have same batch size, but got input with sizes {} and grid with sizes {}",
        show(xs),
        show(gs)
    );
    ensure!(
        gs[gs.len() - 1] == xs.len() - 2,
        Runtime,
        "grid_sampler(): expected grid to have size {} in last dimension, but got grid with sizes {}",
        xs.len() - 2,
        show(gs)
    );
    for (d, &n) in xs.iter().enumerate().skip(2) {
        ensure!(
            n > 0,
            Runtime,
            "grid_sampler(): expected input to have non-empty spatial dimensions, but input has sizes {} with dimension {d} being empty",
            show(xs)
        );
    }
    ensure!(
        (xs.len() == 4 || xs.len() == 5) && xs.len() == gs.len(),
        Runtime,
        "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but got input with sizes {} and grid with sizes {}",
        show(xs),
        show(gs)
    );
    ensure!(!(xs.len() == 5 && mode == 2), Runtime, "grid_sampler(): bicubic interpolation only supports 4D input");
    let mode = match mode {
        0 => GridMode::Linear,
        1 => GridMode::Nearest,
        2 => GridMode::Cubic,
        m => bail!(Runtime, "grid_sampler(): unknown interpolation mode {m}"),
    };
    let padding = match padding {
        0 => GridPadding::Zeros,
        1 => GridPadding::Border,
        2 => GridPadding::Reflection,
        m => bail!(Runtime, "grid_sampler(): unknown padding mode {m}"),
    };
    ensure!(
        x.dtype() == grid.dtype(),
        Runtime,
        "expected scalar type {} but found {}",
        x.dtype().scalar_name(),
        grid.dtype().scalar_name()
    );
    let dims = xs.len() - 2;
    ensure!(
        x.dtype().is_float(),
        NotImplemented,
        "\"grid_sampler_{dims}d_cpu_kernel_impl\" not implemented for '{}'",
        x.dtype().scalar_name()
    );
    let s = shape_of(x, grid, mode, padding, align_corners);
    let shape: Dims = xs[..2].iter().chain(&gs[1..gs.len() - 1]).copied().collect();
    let acc = x.dtype().compute();
    let out =
        if gpu::holds(x) { gpu::resample::grid_sample(&s, x, grid, &shape)? } else { Tensor::empty(&shape, acc, x.device())? };
    if !gpu::holds(x) && out.device() != Device::Meta && out.numel() > 0 {
        x.check_data("grid_sampler")?;
        let (a, b) = (ready(x)?, ready(grid)?);
        dispatch!(float "grid_sampler", acc, T => kernel::<T>(&s, a.data(), b.data(), out.data_mut()));
    }
    let out = copy::to_dtype(&out, x.dtype())?;
    if !needs_grad(&[x, grid]) {
        return Ok(out);
    }
    let (sx, sg) = (save(x), save(grid));
    let name = if dims == 2 { "GridSampler2DBackward0" } else { "GridSampler3DBackward0" };
    Ok(record(name, &[x, grid], out, move |ctx, g| {
        let (x, grid) = (sx.get(ctx)?, sg.get(ctx)?);
        backward(&s, g, &x, &grid, [ctx.needs(0), ctx.needs(1)])
    }))
}

/// Both gradients. PyTorch has no derivative of these.
fn backward(s: &GridShape, g: &Tensor, x: &Tensor, grid: &Tensor, wanted: [bool; 2]) -> Result<SmallVec<[Option<Tensor>; 3]>> {
    let (dtype, acc) = (x.dtype(), x.dtype().compute());
    let make = |t: &Tensor, on: bool| on.then(|| Tensor::zeros(t.shape(), acc, t.device())).transpose();
    let [gx, gg] = if gpu::holds(x) {
        gpu::resample::grid_sample_backward(s, g, x, grid, wanted)?
    } else {
        [make(x, wanted[0])?, make(grid, wanted[1])?]
    };
    if g.numel() > 0 && !gpu::holds(x) {
        let (a, b, c) = (ready(g)?, ready(x)?, ready(grid)?);
        dispatch!(float "grid_sampler", acc, T => {
            grid_sample_backward::<T>(s, a.data(), b.data(), c.data(), gx.as_ref().map(|t| t.data_mut()), gg.as_ref().map(|t| t.data_mut()));
        });
    }
    let name = if s.dims == 2 { "GridSampler2DBackwardBackward0" } else { "GridSampler3DBackwardBackward0" };
    let finish = |t: Option<Tensor>| -> Result<Option<Tensor>> {
        let Some(t) = t else { return Ok(None) };
        let t = copy::to_dtype(&t, dtype)?;
        Ok(Some(record(name, &[g, x, grid], t, |_, _| {
            bail!(Runtime, "derivative for aten::grid_sampler_backward is not implemented")
        })))
    };
    Ok(smallvec![finish(gx)?, finish(gg)?])
}

/// Points of an image from -1 to 1: corner to corner, or the middles of the pixels.
fn steps(n: usize, align_corners: bool, like: &Tensor) -> Result<Tensor> {
    let acc = like.dtype().compute();
    let t = Tensor::empty(&[n], acc, Device::Cpu)?;
    macro_rules! fill {
        ($t:ty) => {{
            let step = 2.0 as $t / (n - 1).max(1) as $t;
            for (i, v) in t.data_mut::<$t>().iter_mut().enumerate() {
                // From both ends, as linspace does.
                let at = if n == 1 {
                    0.0
                } else if i < n / 2 {
                    -1.0 + step * i as $t
                } else {
                    1.0 - step * (n - 1 - i) as $t
                };
                *v = if align_corners { at } else { at * (n - 1) as $t / n as $t };
            }
        }};
    }
    if acc == Dtype::F64 {
        fill!(f64)
    } else {
        fill!(f32)
    }
    copy::to_dtype(&t, like.dtype())
}

/// The grid that an affine map makes of the points of an image of this size.
pub fn affine_grid(theta: &Tensor, size: &[i64], align_corners: bool) -> Result<Tensor> {
    ensure!(size.len() == 4 || size.len() == 5, Runtime, "AffineGridGenerator needs 4d (spatial) or 5d (volumetric) inputs.");
    let all = crate::layout::sizes(size)?;
    let (dims, spatial) = (size.len() - 2, &all[2..]);
    let points = crate::layout::checked_numel(spatial)?;
    let base = Tensor::empty(&[points, dims + 1], theta.dtype(), Device::Cpu)?;
    for d in 0..=dims {
        // x comes first; the last column is one.
        let column = view::select(&base, 1, d as i64)?;
        if d == dims {
            copy::copy_raw(&column, &Tensor::full(&[], 1.0, theta.dtype(), Device::Cpu)?)?;
            continue;
        }
        let along = dims - 1 - d;
        let mut shape = Dims::from_elem(1, dims);
        shape[along] = spatial[along];
        let axis = view::reshape_to(&steps(spatial[along], align_corners, theta)?, &shape)?;
        let whole = view::expand(&axis, spatial)?;
        copy::copy_raw(&column, &view::reshape_to(&whole, &[points])?)?;
    }
    let base = copy::to_device(&base, theta.device())?;
    let base = view::expand(&view::unsqueeze(&base, 0)?, &[all[0], points, dims + 1])?;
    let grid = bmm(&base, &view::transpose(theta, 1, 2)?)?;
    let shape: Dims = [all[0]].into_iter().chain(spatial.iter().copied()).chain([dims]).collect();
    view::reshape_to(&grid, &shape)
}

pub(super) fn register(r: &mut Registry) {
    r.op(
        "f",
        "grid_sampler(Tensor input, Tensor grid, int interpolation_mode, int padding_mode, bool align_corners) -> Tensor",
        "The values of an image at the points of a grid.",
        |a| grid_sampler(a.t(0), a.t(1), a.int(2), a.int(3), a.b(4)).map(Ret::from),
    );
    for schema in [
        "grid_sampler_2d(Tensor input, Tensor grid, int interpolation_mode, int padding_mode, bool align_corners) -> Tensor",
        "grid_sampler_3d(Tensor input, Tensor grid, int interpolation_mode, int padding_mode, bool align_corners) -> Tensor",
    ] {
        r.op("f", schema, "The values of an image at the points of a grid.", |a| {
            grid_sampler(a.t(0), a.t(1), a.int(2), a.int(3), a.b(4)).map(Ret::from)
        });
    }
    r.op(
        "f",
        "affine_grid_generator(Tensor theta, int[] size, bool align_corners) -> Tensor",
        "The grid that an affine map makes.",
        |a| affine_grid(a.t(0), a.ints(1), a.b(2)).map(Ret::from),
    );
}
