//! Resizing of images. It is linear: it and its gradient are each other's derivative.

use super::super::{Registry, Ret, copy};
use crate::autograd::record;
use crate::cpu::resample::{Axis, Mode, Real, Resize};
use crate::device::Device;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::expr::Operand;
use crate::expr::builder::{c, wh};
use crate::gpu;
use crate::layout::{Dims, show};
use crate::ops::elementwise::{Compiled, apply, compile};
use crate::tensor::Tensor;
use crate::{bail, dispatch, ensure};
use smallvec::smallvec;
use std::sync::{Arc, OnceLock};

/// A resizing of planes from `input` to `output`.
struct Plan {
    mode: Mode,
    dim: usize,
    align_corners: bool,
    /// Depth, height and width.
    from: [usize; 3],
    to: [usize; 3],
    scales: [Option<f64>; 3],
    planes: usize,
    input: Dims,
    output: Dims,
    names: [&'static str; 2],
}

impl Plan {
    fn resize<T: Real>(&self) -> Resize<T> {
        let axis = |d: usize| {
            if d + self.dim < 3 {
                return Axis::new(Mode::Nearest, 1, 1, false, None);
            }
            let (from, to) = (self.from[d], self.to[d]);
            // In two dimensions PyTorch copies and doubles by size, whatever the scale says.
            let by_size = self.mode == Mode::Nearest && self.dim == 2 && (from == to || 2 * from as u128 == to as u128);
            Axis::new(self.mode, from, to, self.align_corners, self.scales[d].filter(|_| !by_size))
        };
        Resize { axes: [axis(0), axis(1), axis(2)] }
    }
}

/// The resized planes, or with `turned` the gradient of the resized.
fn linear(p: &Arc<Plan>, x: &Tensor, turned: bool) -> Result<Tensor> {
    let acc = if x.dtype() == Dtype::U8 { Dtype::F32 } else { x.dtype().compute() };
    if gpu::holds(x) && p.planes > 0 {
        let out = on_gpu(p, x, turned)?;
        let p = p.clone();
        return Ok(record(p.names[usize::from(turned)], &[x], out, move |_, g| Ok(smallvec![Some(linear(&p, g, !turned)?)])));
    }
    let out = Tensor::empty(if turned { &p.input } else { &p.output }, acc, x.device())?;
    if x.device() != Device::Meta && p.planes > 0 {
        x.check_data("interpolate")?;
        let source = copy::contiguous(&copy::to_dtype(&x.detach(), acc)?)?;
        dispatch!(float "upsample", acc, T => {
            let r = p.resize::<T>();
            if turned { r.backward(p.planes, source.data(), out.data_mut()) } else { r.forward(p.planes, source.data(), out.data_mut()) }
        });
        if x.dtype() == Dtype::U8 {
            out.data_mut::<f32>().iter_mut().for_each(|v| *v = (*v + 0.5).floor().clamp(0.0, 255.0));
        }
    }
    let out = copy::to_dtype(&out, x.dtype())?;
    let p = p.clone();
    Ok(record(p.names[usize::from(turned)], &[x], out, move |_, g| Ok(smallvec![Some(linear(&p, g, !turned)?)])))
}

/// [`linear`] without history on a GPU.
fn on_gpu(p: &Plan, x: &Tensor, turned: bool) -> Result<Tensor> {
    if x.dtype() == Dtype::F64 {
        return Err(gpu::refuse("interpolate", x.dtype(), gpu::of(x)?));
    }
    let r = p.resize::<f32>();
    let out = if turned { r.backward_on_gpu(p.planes, x, &p.input)? } else { r.forward_on_gpu(p.planes, x, &p.output)? };
    if x.dtype() != Dtype::U8 {
        return copy::to_dtype(&out, x.dtype());
    }
    static F: OnceLock<Arc<Compiled>> = OnceLock::new();
    let f = F.get_or_init(|| {
        compile(1, "", |x| {
            let v = (x[0] + 0.5).floor();
            wh(v.lt(0.0), c(0.0), wh(v.gt(255.0), c(255.0), v))
        })
    });
    copy::to_dtype(&apply(f, &[Operand::T(out)], &[], Dtype::F32, Dtype::F32, None)?, Dtype::U8)
}

/// The mode of the kernel and the names of the graph nodes.
fn mode_of(mode: &str, dim: usize, antialias: bool) -> Result<(Mode, [&'static str; 2], &'static str)> {
    macro_rules! named {
        ($mode:ident, $base:literal, $op:literal) => {
            (Mode::$mode, [concat!("Upsample", $base, "Backward0"), concat!("Upsample", $base, "BackwardBackward0")], $op)
        };
    }
    Ok(match (mode, dim, antialias) {
        ("nearest", 1, false) => named!(Nearest, "Nearest1D", "upsample_nearest1d"),
        ("nearest", 2, false) => named!(Nearest, "Nearest2D", "upsample_nearest2d_channels_last"),
        ("nearest", 3, false) => named!(Nearest, "Nearest3D", "upsample_nearest3d"),
        ("nearest-exact", 1, false) => named!(NearestExact, "NearestExact1D", "upsample_nearest1d"),
        ("nearest-exact", 2, false) => named!(NearestExact, "NearestExact2D", "upsample_nearest2d_channels_last"),
        ("nearest-exact", 3, false) => named!(NearestExact, "NearestExact3D", "upsample_nearest3d"),
        ("linear", 1, false) => named!(Linear, "Linear1D", "upsample_linear1d"),
        ("bilinear", 2, false) => named!(Linear, "Bilinear2D", "upsample_bilinear2d_channels_last"),
        ("trilinear", 3, false) => named!(Linear, "Trilinear3D", "upsample_trilinear3d"),
        ("bicubic", 2, false) => named!(Cubic, "Bicubic2D", "upsample_bicubic2d"),
        ("bilinear", 2, true) => named!(LinearAntialias, "Bilinear2DAa", "upsample_bilinear2d_aa"),
        ("bicubic", 2, true) => named!(CubicAntialias, "Bicubic2DAa", "upsample_bicubic2d_aa"),
        _ => bail!(
            NotImplemented,
            "interpolate: mode '{mode}' is not implemented for {dim} spatial dimensions (antialias={antialias})"
        ),
    })
}

/// Resizes to `size`, or by `scales` where no size is given; scales take part in the mapping of positions.
pub fn upsample(
    x: &Tensor,
    size: Option<&[i64]>,
    scales: Option<&[f64]>,
    mode: &str,
    align_corners: bool,
    antialias: bool,
) -> Result<Tensor> {
    let n = x.ndim();
    ensure!((3..=5).contains(&n), Runtime, "It is expected input_size equals to 3, 4 or 5, but got size {n}");
    let dim = n - 2;
    let last = &x.shape()[2..];
    let size: Vec<i64> = match (size, scales) {
        (Some(s), _) => s.into(),
        (None, Some(s)) => last
            .iter()
            .zip(s)
            .map(|(&n, s)| {
                let v = n as f64 * s;
                ensure!(v.is_finite() && v.abs() < 9.2e18, Runtime, "value cannot be converted to type int64_t without overflow");
                Ok(v as i64)
            })
            .collect::<Result<_>>()?,
        (None, None) => bail!(Runtime, "Must specify exactly one of output_size and scale_factors"),
    };
    ensure!(size.len() == dim, Runtime, "It is expected output_size equals to {dim}, but got size {}", size.len());
    ensure!(
        scales.is_none_or(|s| s.len() == dim),
        Runtime,
        "It is expected scale_factors equals to {dim}, but got size {}",
        scales.map_or(0, <[f64]>::len)
    );
    let axes = &["D", "H", "W"][3 - dim..];
    let show_sizes =
        |v: &mut dyn Iterator<Item = i64>| axes.iter().zip(v).map(|(a, n)| format!("{a}: {n}")).collect::<Vec<_>>().join(", ");
    ensure!(
        last.iter().all(|&n| n > 0) && size.iter().all(|&n| n > 0),
        Runtime,
        "Input and output sizes should be greater than 0, but got input ({}) output ({})",
        show_sizes(&mut last.iter().map(|&n| n as i64)),
        show_sizes(&mut size.iter().copied())
    );
    ensure!(x.shape()[1] > 0, Runtime, "Non-empty {n}D data tensor expected but got a tensor with sizes {}", show(x.shape()));
    let (mode, names, op) = mode_of(mode, dim, antialias)?;
    ensure!(
        x.dtype().is_float() || x.dtype() == Dtype::U8,
        NotImplemented,
        "\"{op}\" not implemented for '{}'",
        x.dtype().scalar_name()
    );
    let output: Dims = x.shape()[..2].iter().copied().chain(size.iter().map(|&n| n as usize)).collect();
    let three = |v: &[usize]| -> [usize; 3] { std::array::from_fn(|d| if d + dim < 3 { 1 } else { v[d + dim - 3] }) };
    let plan = Plan {
        mode,
        dim,
        align_corners,
        from: three(last),
        to: three(&output[2..]),
        scales: std::array::from_fn(|d| if d + dim < 3 { None } else { scales.map(|s| s[d + dim - 3]) }),
        planes: x.shape()[0] * x.shape()[1],
        input: x.dims(),
        output,
        names,
    };
    linear(&Arc::new(plan), x, false)
}

pub(super) fn register(r: &mut Registry) {
    r.op(
        "n",
        "_upsample(Tensor input, int[]? size, float[]? scales, str mode, bool align_corners, bool antialias) -> Tensor",
        "Resizing, behind interpolate.",
        |a| upsample(a.t(0), a.oints(1), a.floats(2), a.s(3), a.b(4), a.b(5)).map(Ret::from),
    );
}
