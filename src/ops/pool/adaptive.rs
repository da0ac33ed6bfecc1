//! Pooling into a given number of windows.

use super::super::{Registry, Ret, copy, view};
use super::average::{Averaging, linear, plan};
use super::maximum::{answer, recorded};
use super::{expect_1d, pair, planes, three, with_last};
use crate::cpu::pool::{Windows, adaptive_max_pool as kernel};
use crate::device::Device;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::gpu;
use crate::gpu::pool::Divisor;
use crate::layout::{checked_numel, show};
use crate::tensor::Tensor;
use crate::{bail, dispatch, ensure};
use smallvec::SmallVec;

/// The sizes asked for; where there is none, the input's.
fn sizes(dim: usize, x: &Tensor, given: &[i64]) -> SmallVec<[i64; 3]> {
    let lead = x.ndim().saturating_sub(dim);
    given.iter().enumerate().map(|(d, &n)| if n == crate::ops::NO_INT { x.size(lead + d) as i64 } else { n }).collect()
}

/// Average pooling into `output` windows per dimension.
pub fn adaptive_avg_pool(dim: usize, x: &Tensor, output: &[i64]) -> Result<Tensor> {
    let name = if dim == 2 { "adaptive_avg_pool2d" } else { "adaptive_avg_pool3d" };
    let out = sizes(dim, x, output);
    ensure!(out.len() == dim, Runtime, "{name}: output_size must be {dim}");
    let received = match out.as_slice() {
        [a, b] => format!("{{{a}, {b}}}"),
        v => format!("{{{}, {},{}}}", v[0], v[1], v[2]),
    };
    ensure!(
        out.iter().all(|&n| n >= 0),
        Runtime,
        "{name}: elements of output_size must be greater than or equal to 0 but received {received}"
    );
    let to_one = out.iter().all(|&n| n == 1);
    // To one window it is a mean, which takes any number of dimensions.
    let least = if to_one { dim } else { dim + 1 };
    ensure!(
        x.ndim() >= least && x.ndim() <= dim + 2,
        Runtime,
        "{name}(): Expected {}D or {}D tensor, but got {}",
        dim + 1,
        dim + 2,
        show(x.shape())
    );
    let out: SmallVec<[usize; 3]> = out.iter().map(|&n| n as usize).collect();
    let shape = with_last(x, &out);
    let last = &x.shape()[x.ndim() - dim..];
    if !to_one || dim == 3 {
        check_nonempty(x, dim, name)?;
    }
    if !x.dtype().is_float() {
        bail!(NotImplemented, "\"{name}\" not implemented for '{}'", x.dtype().scalar_name());
    }
    if last.contains(&0) && checked_numel(&shape)? > 0 {
        // The mean of nothing.
        return Tensor::full(&shape, f64::NAN, x.dtype(), x.device());
    }
    // The tables are small beside the output, which must fit.
    drop(Tensor::empty(&shape, x.dtype(), x.device())?);
    let averaging = (checked_numel(&shape)? > 0).then(|| Averaging {
        windows: Windows::adaptive(three(last, 1), three(&out, 1)),
        on_gpu: (gpu::pool::Windows::adaptive(planes(x, dim), three(last, 1), three(&out, 1)), Divisor::Elements),
        planes: planes(x, dim),
        name,
    });
    linear(&plan(averaging, x.dims(), shape), x, false)
}

fn check_nonempty(x: &Tensor, dim: usize, name: &str) -> Result<()> {
    for d in x.ndim() - dim..x.ndim() {
        ensure!(
            x.shape()[d] > 0,
            Runtime,
            "{name}(): Expected input to have non-zero size for non-batch dimensions, but input has sizes {} with dimension {d} being empty",
            show(x.shape())
        );
    }
    Ok(())
}

/// Max pooling into `output` windows per dimension: values, and where in the plane each was.
pub fn adaptive_max_pool(dim: usize, x: &Tensor, output: &[i64]) -> Result<(Tensor, Tensor)> {
    let name = if dim == 2 { "adaptive_max_pool2d" } else { "adaptive_max_pool3d" };
    ensure!(
        x.ndim() == dim + 1 || x.ndim() == dim + 2,
        Runtime,
        "{name}(): Expected {}D or {}D tensor, but got: {}",
        dim + 1,
        dim + 2,
        show(x.shape())
    );
    for d in x.ndim() - dim - 1..x.ndim() {
        ensure!(
            x.shape()[d] > 0,
            Runtime,
            "{name}(): Expected input to have non-zero size for non-batch dimensions, but input has sizes {} with dimension {d} being empty",
            show(x.shape())
        );
    }
    let out = sizes(dim, x, output);
    ensure!(out.len() == dim, Runtime, "{name}(): internal error: output_size.size() must be {dim}");
    let full: Vec<i64> = x.shape()[..x.ndim() - dim].iter().map(|&n| n as i64).chain(out.iter().copied()).collect();
    let shape = crate::layout::sizes(&full)?;
    if !x.dtype().is_float() {
        let kernel = if dim == 2 { name } else { "adaptive_max_pool3d_cpu" };
        bail!(NotImplemented, "\"{kernel}\" not implemented for '{}'", x.dtype().scalar_name());
    }
    let acc = x.dtype().compute();
    let values = Tensor::empty(&shape, acc, x.device())?;
    let index = Tensor::empty(&shape, Dtype::I64, x.device())?;
    let mut windows = None;
    if gpu::holds(x) && values.numel() > 0 {
        let source = copy::contiguous(&copy::to_dtype(&x.detach(), acc)?)?;
        let (from, to) = (three(&x.shape()[x.ndim() - dim..], 1), three(&shape[shape.len() - dim..], 1));
        let w = gpu::pool::Windows::adaptive(planes(x, dim), from, to);
        w.max(&source, &values, Some(&index))?;
        windows = Some(w);
    } else if values.numel() > 0 && x.device() != Device::Meta {
        let source = copy::contiguous(&copy::to_dtype(&x.detach(), acc)?)?;
        let w = Windows::adaptive(three(&x.shape()[x.ndim() - dim..], 1), three(&shape[shape.len() - dim..], 1));
        dispatch!(float name, acc, T => kernel::<T>(&w, planes(x, dim), source.data(), values.data_mut(), index.data_mut()));
    }
    let values = copy::to_dtype(&values, x.dtype())?;
    let node = if dim == 2 { "AdaptiveMaxPool2DBackward0" } else { "AdaptiveMaxPool3DBackward0" };
    Ok(recorded(node, x, values, index, dim, windows))
}

fn avg1d(x: &Tensor, output: &[i64]) -> Result<Tensor> {
    expect_1d(x, "adaptive_avg_pool1d")?;
    let out = pair(output, 1, "adaptive_avg_pool1d", "output_size")?;
    view::squeeze(&adaptive_avg_pool(2, &view::unsqueeze(x, -2)?, &out)?, Some(&[-2]))
}

fn max1d(x: &Tensor, output: &[i64]) -> Result<(Tensor, Tensor)> {
    expect_1d(x, "adaptive_max_pool1d")?;
    let out = pair(output, 1, "adaptive_max_pool1d", "output_size")?;
    let (v, i) = adaptive_max_pool(2, &view::unsqueeze(x, -2)?, &out)?;
    Ok((view::squeeze(&v, Some(&[-2]))?, view::squeeze(&i, Some(&[-2]))?))
}

pub(super) fn register(r: &mut Registry) {
    let avg = "Averages of that many windows.";
    r.op("fn", "adaptive_avg_pool1d(Tensor self, int[1] output_size) -> Tensor", avg, |a| {
        avg1d(a.t(0), a.ints(1)).map(Ret::from)
    });
    r.op("n", "adaptive_avg_pool2d(Tensor input, int?[2] output_size) -> Tensor", avg, |a| {
        adaptive_avg_pool(2, a.t(0), a.ints(1)).map(Ret::from)
    });
    r.op("n", "adaptive_avg_pool3d(Tensor input, int?[3] output_size) -> Tensor", avg, |a| {
        adaptive_avg_pool(3, a.t(0), a.ints(1)).map(Ret::from)
    });
    let max = "Maxima of that many windows.";
    r.op("f", "adaptive_max_pool1d(Tensor self, int[1] output_size) -> (Tensor, Tensor)", max, |a| {
        max1d(a.t(0), a.ints(1)).map(Ret::from)
    });
    macro_rules! maxima {
        ($dim:literal, $name:literal, $f:expr) => {
            r.op(
                "n",
                concat!($name, "(Tensor input, int?[", $dim, "] output_size, bool return_indices=False) -> Tensor"),
                max,
                |a| Ok(answer($f(a.t(0), a.ints(1))?, a.b(2))),
            );
            r.op(
                "n",
                concat!(
                    $name,
                    "_with_indices(Tensor input, int?[",
                    $dim,
                    "] output_size, bool return_indices=False) -> (Tensor, Tensor)"
                ),
                "Maxima of that many windows and where they are.",
                |a| $f(a.t(0), a.ints(1)).map(Ret::from),
            );
        };
    }
    maxima!(1, "adaptive_max_pool1d", max1d);
    maxima!(2, "adaptive_max_pool2d", |x, o| adaptive_max_pool(2, x, o));
    maxima!(3, "adaptive_max_pool3d", |x, o| adaptive_max_pool(3, x, o));
}
