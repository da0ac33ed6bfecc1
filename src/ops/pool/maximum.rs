//! Max pooling. Its gradient and the gradient of that move elements to and from the recorded places.

use super::super::{Args, Registry, Ret, copy, view};
use super::{Windowed, planes, three, with_last};
use crate::autograd::{needs_grad, record, record_many, save, save_output};
use crate::cpu::pool::{MaxElement, PoolShape, max_pool as kernel, max_pool_backward};
use crate::cpu::threads::{SendPtr, parallel_for};
use crate::device::Device;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::gpu;
use crate::gpu::pool::Windows;
use crate::layout::{Dims, show};
use crate::tensor::Tensor;
use crate::{bail, dispatch, ensure};
use smallvec::{SmallVec, smallvec};

/// Adds every element of `g` to the place in a plane of `shape` that `index` names; other places are zero.
/// `windows` are those that the places come from, if they do.
pub fn put(g: &Tensor, index: &Tensor, shape: &[usize], dim: usize, windows: Option<Windows>) -> Result<Tensor> {
    let acc = g.dtype().compute();
    let at = copy::contiguous(&index.detach())?;
    if gpu::holds(g) && shape.iter().all(|&n| n > 0) && g.numel() > 0 {
        let plane: usize = shape[shape.len() - dim..].iter().product();
        let out = match windows {
            Some(w) => w.max_backward(g, &at, shape)?,
            None => gpu::pool::put(g, &at, shape, plane, at.shape()[at.ndim() - dim..].iter().product())?,
        };
        return put_recorded(g, index, copy::to_dtype(&out, g.dtype())?, dim);
    }
    let source = copy::contiguous(&copy::to_dtype(&g.detach(), acc)?)?;
    // The kernel writes every element.
    let runs = shape.iter().all(|&n| n > 0) && g.numel() > 0;
    let out = if runs { Tensor::empty(shape, acc, g.device())? } else { Tensor::zeros(shape, acc, g.device())? };
    let plane: usize = shape[shape.len() - dim..].iter().product();
    if runs {
        let n = out.numel() / plane;
        dispatch!(float "max_pool_backward", acc, T => max_pool_backward::<T>(n, plane, source.data(), at.data(), out.data_mut()));
    }
    put_recorded(g, index, copy::to_dtype(&out, g.dtype())?, dim)
}

fn put_recorded(g: &Tensor, index: &Tensor, out: Tensor, dim: usize) -> Result<Tensor> {
    let kept = save(index);
    Ok(record("MaxPoolBackwardBackward0", &[g], out, move |ctx, gg| Ok(smallvec![Some(take(gg, &kept.get(ctx)?, dim)?)])))
}

/// The elements of the planes of `x` that `index` names.
pub fn take(x: &Tensor, index: &Tensor, dim: usize) -> Result<Tensor> {
    let source = copy::contiguous(&x.detach())?;
    let at = copy::contiguous(&index.detach())?;
    let plane: usize = x.shape()[x.ndim() - dim..].iter().product();
    let count: usize = index.shape()[index.ndim() - dim..].iter().product();
    let on_gpu = gpu::holds(x) && plane > 0;
    let out = if on_gpu { gpu::pool::take(x, &at, plane, count)? } else { Tensor::zeros(index.shape(), x.dtype(), x.device())? };
    if out.numel() > 0 && plane > 0 && !on_gpu {
        let at = at.data::<i64>();
        dispatch!(bytes x.dtype(), T => {
            let (from, to) = (source.data::<T>(), SendPtr(out.data_mut::<T>().as_mut_ptr()));
            parallel_for(at.len() / count, (1 << 15) / count, |range| {
                for p in range {
                    // SAFETY: each plane of the result is written by one piece.
                    let to = unsafe { to.slice(p * count, count) };
                    let from = &from[p * plane..][..plane];
                    for (to, &i) in to.iter_mut().zip(&at[p * count..]) {
                        if let Some(&v) = usize::try_from(i).ok().and_then(|i| from.get(i)) {
                            *to = v;
                        }
                    }
                }
            });
        });
    }
    let (kept, shape) = (save(index), x.dims());
    Ok(record("MaxPoolTakeBackward0", &[x], out, move |ctx, g| Ok(smallvec![Some(put(g, &kept.get(ctx)?, &shape, dim, None)?)])))
}

/// Records values and indices of a max pooling.
pub(super) fn recorded(
    name: &'static str,
    x: &Tensor,
    values: Tensor,
    index: Tensor,
    dim: usize,
    windows: Option<Windows>,
) -> (Tensor, Tensor) {
    let (shape, kept): (Dims, _) = (x.dims(), save_output(&index, 1));
    record_many(name, &[x], &[&values, &index], move |ctx, g| {
        let Some(g) = &g[0] else { return Ok(smallvec![None]) };
        Ok(smallvec![Some(put(g, &kept.get(ctx)?.detach(), &shape, dim, windows)?)])
    });
    (values, index)
}

/// The dtype the kernels compare in.
pub(super) fn compare_dtype(d: Dtype, name: &str) -> Result<Dtype> {
    match d {
        Dtype::Bool | Dtype::C64 | Dtype::C128 => bail!(NotImplemented, "\"{name}\" not implemented for '{}'", d.scalar_name()),
        d => Ok(d.compute()),
    }
}

/// `dispatch` over what can be compared, half types and bools aside.
macro_rules! ordered {
    ($d:expr, $T:ident => $body:expr) => {
        dispatch!(@arms $d, $T, $body,
            [F32 = f32, F64 = f64, U8 = u8, I8 = i8, I16 = i16, I32 = i32, I64 = i64], unreachable!("refused before"))
    };
}

/// Max pooling with windows much larger than the image: looks only at what is inside.
fn wide_windows<T: MaxElement>(s: &PoolShape, x: &[T], y: &mut [T], index: &mut [i64]) {
    let plane: usize = s.input.iter().product();
    let inside = |d: usize, o: usize| {
        let first = o * s.stride[d];
        let skipped = s.pad[d].saturating_sub(first).div_ceil(s.dilation[d]);
        let end = first + (s.kernel[d] - 1) * s.dilation[d] + 1;
        let start = first + skipped * s.dilation[d] - s.pad[d];
        (start..end.saturating_sub(s.pad[d]).min(s.input[d])).step_by(s.dilation[d])
    };
    let [_, height, width] = s.input;
    let [depths, rows, columns] = s.output;
    for (at, y) in y.iter_mut().enumerate() {
        let (rest, ox) = (at / columns, at % columns);
        let (rest, oy) = (rest / rows, rest % rows);
        let x = &x[rest / depths * plane..][..plane];
        let mut best = T::LOWEST;
        let mut found = None;
        for z in inside(0, rest % depths) {
            for v in inside(1, oy) {
                for h in inside(2, ox) {
                    let i = (z * height + v) * width + h;
                    // The last test is for NaN.
                    #[allow(clippy::eq_op)]
                    if found.is_none() || x[i] > best || x[i] != x[i] {
                        (best, found) = (x[i], Some(i));
                    }
                }
            }
        }
        *y = best;
        if let Some(index) = index.get_mut(at) {
            *index = found.unwrap_or(0) as i64;
        }
    }
}

/// Max pooling over two or three dimensions: values, and where in the plane each was (an empty tensor if neither
/// `places` asks for it nor a gradient will).
pub fn max_pool(
    dim: usize,
    places: bool,
    x: &Tensor,
    kernel_size: &[i64],
    stride: Option<&[i64]>,
    padding: &[i64],
    dilation: &[i64],
    ceil: bool,
) -> Result<(Tensor, Tensor)> {
    let name = if dim == 2 { "max_pool2d" } else { "max_pool3d" };
    let w = Windowed::new(name, dim, kernel_size, stride, padding, dilation, ceil)?;
    let output = w.output(x, "max_pool3d_with_indices_out_cpu_template()")?;
    let acc = compare_dtype(x.dtype(), name)?;
    let shape = with_last(x, &output);
    let values = Tensor::empty(&shape, acc, x.device())?;
    let tracked = places || needs_grad(&[x]);
    let index = Tensor::empty(if tracked { &shape } else { &[0] }, Dtype::I64, x.device())?;
    let input = &x.shape()[x.ndim() - dim..];
    let mut windows = None;
    if x.device() != Device::Meta && values.numel() > 0 {
        ensure!(
            u32::try_from(input.iter().product::<usize>()).is_ok(),
            Runtime,
            "{name}: planes of 2^32 elements or more are not supported"
        );
        let source = copy::contiguous(&copy::to_dtype(&x.detach(), acc)?)?;
        let ints = |v: &[i64], lead: usize| three(&v.iter().map(|&n| n as usize).collect::<SmallVec<[usize; 3]>>(), lead);
        let s = PoolShape {
            planes: planes(x, dim),
            input: three(input, 1),
            kernel: ints(&w.kernel, 1),
            stride: ints(&w.stride, 1),
            pad: ints(&w.padding, 0),
            dilation: ints(&w.dilation, 1),
            output: three(&output, 1),
        };
        if gpu::holds(x) {
            let w = Windows::fixed(s);
            w.max(&source, &values, tracked.then_some(&index))?;
            windows = Some(w);
        }
        // The kernel visits every element of a window, those outside the image too.
        let wide = (0..3).any(|d| s.kernel[d].saturating_mul(s.dilation[d]) > 2 * s.input[d] + 64);
        ordered!(acc, T => if windows.is_some() {
        } else if wide {
            wide_windows::<T>(&s, source.data(), values.data_mut(), if tracked { index.data_mut() } else { &mut [] });
        } else {
            kernel::<T>(&s, source.data(), values.data_mut(), if tracked { Some(index.data_mut()) } else { None });
        });
    }
    let values = copy::to_dtype(&values, x.dtype())?;
    if !tracked {
        return Ok((values, index));
    }
    let node = if dim == 2 { "MaxPool2DWithIndicesBackward0" } else { "MaxPool3DWithIndicesBackward0" };
    Ok(recorded(node, x, values, index, dim, windows))
}

/// Max pooling of signals.
pub fn max_pool1d(
    places: bool,
    x: &Tensor,
    kernel: &[i64],
    stride: Option<&[i64]>,
    padding: &[i64],
    dilation: &[i64],
    ceil: bool,
) -> Result<(Tensor, Tensor)> {
    let (nd, s) = (x.ndim(), x.shape());
    ensure!(
        (nd == 2 || nd == 3) && s[nd - 2] > 0 && s[nd - 1] > 0,
        Runtime,
        "max_pool1d: Expected 2D or 3D (batch mode) tensor with optional 0 dim batch size for input, but got:{}",
        show(s)
    );
    let one = |v: &[i64], what: &str| -> Result<i64> {
        ensure!(
            v.len() == 1,
            Runtime,
            "max_pool1d() {what} must be an int, list of ints or tuple of ints of size 1 but got size {}",
            v.len()
        );
        Ok(v[0])
    };
    let k = one(kernel, "kernel_size")?;
    let st = match stride {
        None | Some([]) => k,
        Some(v) => one(v, "stride")?,
    };
    let (p, d) = (one(padding, "padding")?, one(dilation, "dilation")?);
    ensure!(k > 0, Runtime, "max_pool1d() kernel_size must be greater than zero, but got {k}");
    ensure!(st > 0, Runtime, "max_pool1d() stride must be greater than zero, but got {st}");
    ensure!(p >= 0, Runtime, "max_pool1d() padding must be non-negative, but got {p}");
    ensure!(
        p <= k / 2,
        Runtime,
        "max_pool1d() padding should be at most half of kernel size, but got padding={p} and kernel_size={k}"
    );
    ensure!(d > 0, Runtime, "max_pool1d() dilation must be greater than zero, but got {d}");
    let reach = i128::from(d) * (i128::from(k) - 1) + 1;
    let up = if ceil { i128::from(st) - 1 } else { 0 };
    let size = (s[nd - 1] as i128 + 2 * i128::from(p) - reach + up).div_euclid(i128::from(st)) + 1;
    ensure!(size > 0, Runtime, "max_pool1d() Invalid computed output size: {size}");
    let (v, i) = max_pool(2, places, &view::unsqueeze(x, -2)?, &[1, k], Some(&[1, st]), &[0, p], &[1, d], ceil)?;
    let i = if i.ndim() > 1 { view::squeeze(&i, Some(&[-2]))? } else { i };
    Ok((view::squeeze(&v, Some(&[-2]))?, i))
}

/// Values, and indices if they were asked for.
pub(super) fn answer((v, i): (Tensor, Tensor), indices: bool) -> Ret {
    if indices { Ret::Tuple(vec![v, i]) } else { Ret::Tensor(v) }
}

fn run(dim: usize, a: &Args, indices: bool) -> Result<Ret> {
    let (x, k, s, p, d, ceil) = (a.t(0), a.ints(1), a.oints(2), a.ints(3), a.ints(4), a.b(5));
    let r = if dim == 1 { max_pool1d(indices, x, k, s, p, d, ceil)? } else { max_pool(dim, indices, x, k, s, p, d, ceil)? };
    Ok(answer(r, indices))
}

macro_rules! entries {
    ($r:ident, $dim:literal, $name:literal) => {
        $r.op(
            "f",
            concat!(
                $name,
                "(Tensor self, int[",
                $dim,
                "] kernel_size, int[",
                $dim,
                "]? stride=None, int[",
                $dim,
                "] padding=0, int[",
                $dim,
                "] dilation=1, bool ceil_mode=False) -> Tensor"
            ),
            "The maxima of windows.",
            |a| run($dim, a, false),
        );
        $r.op(
            "n",
            concat!(
                $name,
                "(Tensor input, int[",
                $dim,
                "] kernel_size, int[",
                $dim,
                "]? stride=None, int[",
                $dim,
                "] padding=0, int[",
                $dim,
                "] dilation=1, bool ceil_mode=False, bool return_indices=False) -> Tensor"
            ),
            "The maxima of windows, and on request where they are.",
            |a| run($dim, a, a.b(6)),
        );
        $r.op(
            "n",
            concat!(
                $name,
                "_with_indices(Tensor input, int[",
                $dim,
                "] kernel_size, int[",
                $dim,
                "]? stride=None, int[",
                $dim,
                "] padding=0, int[",
                $dim,
                "] dilation=1, bool ceil_mode=False, bool return_indices=False) -> (Tensor, Tensor)"
            ),
            "The maxima of windows and where they are.",
            |a| run($dim, a, true),
        );
    };
}

pub(super) fn register(r: &mut Registry) {
    entries!(r, 1, "max_pool1d");
    entries!(r, 2, "max_pool2d");
    entries!(r, 3, "max_pool3d");
    r.op(
        "f",
        "max_pool1d_with_indices(Tensor self, int[1] kernel_size, int[1]? stride=None, int[1] padding=0, int[1] dilation=1, bool ceil_mode=False) -> (Tensor, Tensor)",
        "The maxima of windows and where they are.",
        |a| run(1, a, true),
    );
}
