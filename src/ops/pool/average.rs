//! Average pooling and norms of windows. Averaging is linear: it and its gradient are each other's derivative.

use super::super::elementwise::{ABS, MUL, RELU_ROW, SIGN, mul, pow};
use super::super::{Registry, Ret, copy, view};
use super::{Windowed, expect_1d, pair, planes, three, with_last};
use crate::autograd::record;
use crate::cpu::pool::{PoolShape, Windows, avg_pool as kernel, avg_pool_backward};
use crate::device::Device;
use crate::dtype::{Dtype, Scalar};
use crate::error::Result;
use crate::expr::Operand;
use crate::gpu;
use crate::gpu::pool::Divisor;
use crate::layout::Dims;
use crate::tensor::Tensor;
use crate::{bail, dispatch, ensure};
use smallvec::{SmallVec, smallvec};
use std::sync::Arc;

/// An averaging of the last `dim` dimensions.
pub(super) struct Averaging {
    pub windows: Windows,
    /// The same for a GPU.
    pub on_gpu: (gpu::pool::Windows, Divisor),
    pub planes: usize,
    pub name: &'static str,
}

/// `None` stands for windows over or into nothing.
pub(super) type Plan = Arc<(Option<Averaging>, Dims, Dims)>;

pub(super) fn plan(a: Option<Averaging>, input: Dims, output: Dims) -> Plan {
    Arc::new((a, input, output))
}

/// The averages, or with `turned` the gradient of the averaged.
pub(super) fn linear(p: &Plan, x: &Tensor, turned: bool) -> Result<Tensor> {
    let (averaging, input, output) = (&p.0, &p.1, &p.2);
    let to = if turned { input } else { output };
    // Integers are averaged exactly enough in f64, and cut off.
    let acc = if x.dtype() == Dtype::I64 && !gpu::holds(x) { Dtype::F64 } else { x.dtype().compute() };
    let mut out = Tensor::zeros(to, acc, x.device())?;
    if let Some(a) = averaging.as_ref().filter(|_| x.numel() > 0 && out.numel() > 0 && gpu::holds(x)) {
        let (w, d) = &a.on_gpu;
        out = if turned { w.average_backward(x, *d, to)? } else { w.average(x, *d, to)? };
    } else if let Some(a) = averaging.as_ref().filter(|_| x.numel() > 0 && out.numel() > 0 && x.device() != Device::Meta) {
        let source = copy::contiguous(&copy::to_dtype(&x.detach(), acc)?)?;
        dispatch!(float a.name, acc, T => if turned {
            avg_pool_backward::<T>(&a.windows, a.planes, source.data(), out.data_mut())
        } else {
            kernel::<T>(&a.windows, a.planes, source.data(), out.data_mut())
        });
    }
    let out = copy::to_dtype(&out, x.dtype())?;
    let name = match (averaging.as_ref().map_or("", |a| a.name), turned) {
        ("avg_pool2d", false) => "AvgPool2DBackward0",
        ("avg_pool3d", false) => "AvgPool3DBackward0",
        ("adaptive_avg_pool3d", false) => "AdaptiveAvgPool3DBackward0",
        (_, false) => "AdaptiveAvgPool2DBackward0",
        ("avg_pool2d", true) => "AvgPool2DBackwardBackward0",
        ("avg_pool3d", true) => "AvgPool3DBackwardBackward0",
        ("adaptive_avg_pool3d", true) => "AdaptiveAvgPool3DBackwardBackward0",
        (_, true) => "AdaptiveAvgPool2DBackwardBackward0",
    };
    let p = p.clone();
    Ok(record(name, &[x], out, move |_, g| Ok(smallvec![Some(linear(&p, g, !turned)?)])))
}

/// Average pooling over two or three dimensions.
pub fn avg_pool(
    dim: usize,
    x: &Tensor,
    kernel_size: &[i64],
    stride: Option<&[i64]>,
    padding: &[i64],
    ceil: bool,
    include_pad: bool,
    divisor: Option<i64>,
) -> Result<Tensor> {
    let name = if dim == 2 { "avg_pool2d" } else { "avg_pool3d" };
    let w = Windowed::new(name, dim, kernel_size, stride, padding, &[1], ceil)?;
    ensure!(divisor != Some(0), Runtime, "divisor must be not zero");
    if dim == 3 && x.ndim() >= 4 && w.stride.iter().all(|&s| s > 0) && !ceil {
        let n = &x.shape()[x.ndim() - 3..];
        let (k, p) = (&w.kernel, &w.padding);
        let fits = (0..3).all(|d| n[d] == 0 || n[d] as i128 + 2 * i128::from(p[d]) >= i128::from(k[d]));
        let padded = (0..3).all(|d| p[d] >= 0 && p[d] <= k[d] / 2);
        ensure!(
            fits || !padded,
            Runtime,
            "input image (T: {} H: {} W: {}) smaller than kernel size (kT: {} kH: {} kW: {})",
            n[0],
            n[1],
            n[2],
            k[0],
            k[1],
            k[2]
        );
    }
    let output = w.output(x, "avg_pool3d()")?;
    if !(x.dtype().is_float() || x.dtype() == Dtype::I64) {
        let kernel = if dim == 2 { "avg_pool2d" } else { "avg_pool3d_out_frame" };
        bail!(NotImplemented, "\"{kernel}\" not implemented for '{}'", x.dtype().scalar_name());
    }
    let shape = with_last(x, &output);
    crate::layout::checked_numel(&shape)?;
    let ints = |v: &[i64], lead: usize| three(&v.iter().map(|&n| n as usize).collect::<SmallVec<[usize; 3]>>(), lead);
    let s = PoolShape {
        planes: planes(x, dim),
        input: three(&x.shape()[x.ndim() - dim..], 1),
        kernel: ints(&w.kernel, 1),
        stride: ints(&w.stride, 1),
        pad: ints(&w.padding, 0),
        dilation: [1; 3],
        output: three(&output, 1),
    };
    let averaging = if s.planes == 0 {
        None
    } else {
        // The tables are small beside the output, which must fit.
        drop(Tensor::empty(&shape, x.dtype(), x.device())?);
        let windows = Windows::fixed(&s, include_pad, divisor);
        let d = divisor.map_or(if include_pad { Divisor::WithPadding } else { Divisor::Elements }, Divisor::Given);
        Some(Averaging { windows, on_gpu: (gpu::pool::Windows::fixed(s), d), planes: s.planes, name })
    };
    linear(&plan(averaging, x.dims(), shape), x, false)
}

/// Average pooling of signals.
pub fn avg_pool1d(
    x: &Tensor,
    kernel: &[i64],
    stride: Option<&[i64]>,
    padding: &[i64],
    ceil: bool,
    include_pad: bool,
) -> Result<Tensor> {
    expect_1d(x, "avg_pool1d")?;
    let k = pair(kernel, 1, "avg_pool1d", "kernel_size")?;
    let s = match stride {
        None | Some([]) => k,
        Some(v) => pair(v, 1, "avg_pool1d", "stride")?,
    };
    let p = pair(padding, 0, "avg_pool1d", "padding")?;
    let y = avg_pool(2, &view::unsqueeze(x, -2)?, &k, Some(&s), &p, ceil, include_pad, None)?;
    view::squeeze(&y, Some(&[-2]))
}

/// `(sum x^p)^(1/p)` over windows.
fn lp_pool(dim: usize, x: &Tensor, p: Scalar, kernel: &[i64], stride: Option<&[i64]>, ceil: bool) -> Result<Tensor> {
    let t = |t: &Tensor| Operand::T(t.clone());
    let powers = pow(t(x), Operand::S(p))?;
    let out = match dim {
        1 => avg_pool1d(&powers, kernel, stride, &[0], ceil, true)?,
        _ => avg_pool(dim, &powers, kernel, stride, &[0], ceil, true, None)?,
    };
    let size = match kernel {
        [k] => (*k as f64).powi(dim as i32),
        k => k.iter().map(|&k| k as f64).product(),
    };
    let signed =
        mul(&SIGN.call(&[t(&out)], &[], None)?, &RELU_ROW.call(&[Operand::T(ABS.call(&[t(&out)], &[], None)?)], &[], None)?)?;
    let sum = MUL.call(&[t(&signed), Operand::S(Scalar::Float(size))], &[], None)?;
    pow(t(&sum), Operand::S(Scalar::Float(1.0 / p.f64())))
}

pub(super) fn register(r: &mut Registry) {
    r.op(
        "fn",
        "avg_pool1d(Tensor self, int[1] kernel_size, int[1]? stride=None, int[1] padding=0, bool ceil_mode=False, bool count_include_pad=True) -> Tensor",
        "The averages of windows.",
        |a| avg_pool1d(a.t(0), a.ints(1), a.oints(2), a.ints(3), a.b(4), a.b(5)).map(Ret::from),
    );
    r.op(
        "n",
        "avg_pool2d(Tensor self, int[2] kernel_size, int[2]? stride=None, int[2] padding=0, bool ceil_mode=False, bool count_include_pad=True, int? divisor_override=None) -> Tensor",
        "The averages of windows.",
        |a| avg_pool(2, a.t(0), a.ints(1), a.oints(2), a.ints(3), a.b(4), a.b(5), a.oint(6)).map(Ret::from),
    );
    r.op(
        "n",
        "avg_pool3d(Tensor self, int[3] kernel_size, int[3]? stride=None, int[3] padding=0, bool ceil_mode=False, bool count_include_pad=True, int? divisor_override=None) -> Tensor",
        "The averages of windows.",
        |a| avg_pool(3, a.t(0), a.ints(1), a.oints(2), a.ints(3), a.b(4), a.b(5), a.oint(6)).map(Ret::from),
    );
    r.op(
        "n",
        "lp_pool1d(Tensor input, Scalar norm_type, int[1] kernel_size, int[1]? stride=None, bool ceil_mode=False) -> Tensor",
        "The p-norms of windows.",
        |a| lp_pool(1, a.t(0), a.sc(1), a.ints(2), a.oints(3), a.b(4)).map(Ret::from),
    );
    r.op(
        "n",
        "lp_pool2d(Tensor input, Scalar norm_type, int[2] kernel_size, int[2]? stride=None, bool ceil_mode=False) -> Tensor",
        "The p-norms of windows.",
        |a| lp_pool(2, a.t(0), a.sc(1), a.ints(2), a.oints(3), a.b(4)).map(Ret::from),
    );
    r.op(
        "n",
        "lp_pool3d(Tensor input, Scalar norm_type, int[3] kernel_size, int[3]? stride=None, bool ceil_mode=False) -> Tensor",
        "The p-norms of windows.",
        |a| lp_pool(3, a.t(0), a.sc(1), a.ints(2), a.oints(3), a.b(4)).map(Ret::from),
    );
}
