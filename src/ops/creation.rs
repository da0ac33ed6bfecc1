//! New tensors: zeros, arange, linspace, eye, windows.

use super::{Args, MemoryFormat, Registry, Ret, copy};
use crate::device::{Device, default_device};
use crate::dtype::{Dtype, Element, Scalar, default_dtype};
use crate::error::Result;
use crate::layout::sizes;
use crate::tensor::Tensor;
use crate::{bail, dispatch, ensure};

/// The device of a creation call.
pub fn device_of(given: Option<Device>) -> Result<Device> {
    given.unwrap_or_else(default_device).check_usable()
}

/// Marks the result of a creation call.
pub fn finish(t: Tensor, requires_grad: Option<bool>) -> Result<Ret> {
    if requires_grad == Some(true) {
        t.set_requires_grad(true)?;
    }
    Ok(Ret::Tensor(t))
}

/// Rows of numbers are computed on the CPU for a GPU too: the same numbers, once.
fn gpu(device: Device) -> bool {
    matches!(device, Device::Gpu(_))
}

/// `start, start + step, ...` below `end`.
pub fn arange(start: Scalar, end: Scalar, step: Scalar, dtype: Option<Dtype>, device: Device) -> Result<Tensor> {
    let whole = ![start, end, step].iter().any(|s| s.is_float());
    let dtype = dtype.unwrap_or(if whole { Dtype::I64 } else { default_dtype() });
    let (s, e, d) = (start.f64(), end.f64(), step.f64());
    ensure!(d != 0.0, Runtime, "step must be nonzero");
    ensure!(s.is_finite() && e.is_finite(), Runtime, "unsupported range: {s} -> {e}");
    ensure!((d > 0.0 && e >= s) || (d < 0.0 && e <= s), Runtime, "upper bound and lower bound inconsistent with step sign");
    let n = if whole {
        let (a, b, c) = (start.i64() as i128, end.i64() as i128, step.i64() as i128);
        ((b - a + c - c.signum()) / c) as f64
    } else {
        ((e - s) / d).ceil()
    };
    ensure!((0.0..9.0e15).contains(&n), Runtime, "invalid size, possible overflow?");
    if gpu(device) {
        return copy::to_device(&arange(start, end, step, Some(dtype), Device::Cpu)?, device);
    }
    let t = Tensor::empty(&[n as usize], dtype, device)?;
    if device == Device::Meta {
        return Ok(t);
    }
    dispatch!(real "arange_cpu", dtype, T => {
        let out = t.data_mut::<T>();
        if dtype.is_integral() {
            let (a, c) = (start.i64(), step.i64());
            for (i, o) in out.iter_mut().enumerate() { *o = T::from_i64(a.wrapping_add(c.wrapping_mul(i as i64))); }
        } else {
            for (i, o) in out.iter_mut().enumerate() { *o = T::from_f64(s + i as f64 * d); }
        }
    });
    Ok(t)
}

/// `steps` values from `start` to `end`; the second half is counted from the end, as torch does.
pub fn linspace(start: f64, end: f64, steps: i64, dtype: Dtype, device: Device) -> Result<Tensor> {
    ensure!(steps >= 0, Runtime, "number of steps must be non-negative");
    if gpu(device) {
        return copy::to_device(&linspace(start, end, steps, dtype, Device::Cpu)?, device);
    }
    let n = steps as usize;
    let t = Tensor::empty(&[n], dtype, device)?;
    if device == Device::Meta || n == 0 {
        return Ok(t);
    }
    let step = if n > 1 { (end - start) / (n - 1) as f64 } else { 0.0 };
    dispatch!(real "linspace_cpu", dtype, T => {
        // float32 steps as torch's kernel takes them.
        let narrow = dtype == Dtype::F32;
        let (s, e, d) = if narrow { (start as f32 as f64, end as f32 as f64, ((end as f32 - start as f32) / (n.max(2) - 1) as f32) as f64) } else { (start, end, step) };
        for (i, o) in t.data_mut::<T>().iter_mut().enumerate() {
            let v = if n == 1 { s } else if i < n / 2 { s + d * i as f64 } else { e - d * (n - 1 - i) as f64 };
            *o = T::from_f64(v);
        }
    });
    Ok(t)
}

/// Ones on the diagonal.
pub fn eye(n: i64, m: i64, dtype: Dtype, device: Device) -> Result<Tensor> {
    ensure!(n >= 0, Runtime, "n must be greater or equal to 0, got {n}");
    ensure!(m >= 0, Runtime, "m must be greater or equal to 0, got {m}");
    if gpu(device) {
        return copy::to_device(&eye(n, m, dtype, Device::Cpu)?, device);
    }
    let t = Tensor::zeros(&[n as usize, m as usize], dtype, device)?;
    if device == Device::Cpu {
        dispatch!(all dtype, T => {
            let out = t.data_mut::<T>();
            for i in 0..n.min(m) as usize { out[i * m as usize + i] = T::from_i64(1); }
        });
    }
    Ok(t)
}

fn window(n: i64, periodic: bool, dtype: Option<Dtype>, device: Device, f: impl Fn(f64, f64) -> f64) -> Result<Tensor> {
    ensure!(n >= 0, Runtime, "window function requires non-negative window_length, got window_length={n}");
    let dtype = dtype.unwrap_or_else(default_dtype);
    ensure!(dtype.is_float(), Runtime, "window function expects floating point dtypes, got: {}", dtype.name());
    if gpu(device) {
        return copy::to_device(&window(n, periodic, Some(dtype), Device::Cpu, f)?, device);
    }
    let wide = Tensor::empty(&[n as usize], Dtype::F64, device)?;
    if device == Device::Cpu {
        let span = if periodic { n as f64 } else { (n - 1) as f64 };
        for (i, o) in wide.data_mut::<f64>().iter_mut().enumerate() {
            *o = if n == 1 { 1.0 } else { f(i as f64, span) };
        }
    }
    if device == Device::Meta { Tensor::empty(&[n as usize], dtype, device) } else { copy::to_dtype(&wide, dtype) }
}

/// A tensor like another: its shape, and its dtype, device and dense strides unless told otherwise.
pub fn like(x: &Tensor, dtype: Option<Dtype>, device: Option<Device>, format: Option<MemoryFormat>) -> Result<Tensor> {
    let (dtype, device) = (dtype.unwrap_or(x.dtype()), device.unwrap_or(x.device()).check_usable()?);
    match format {
        None | Some(MemoryFormat::Preserve) if x.layout().is_dense() => {
            Tensor::empty_strided(x.shape(), x.strides(), dtype, device)
        }
        Some(f) if f != MemoryFormat::Preserve => {
            Tensor::empty_strided(x.shape(), &copy::format_strides(x.shape(), f)?, dtype, device)
        }
        _ => Tensor::empty(x.shape(), dtype, device),
    }
}

fn fill_raw(t: &Tensor, v: Scalar) -> Result<()> {
    if t.device() != Device::Meta {
        copy::copy_raw(t, &Tensor::full(&[], v, t.dtype(), Device::Cpu)?)?;
    }
    Ok(())
}

/// The dtype of `full` from its value.
fn full_dtype(v: Scalar) -> Dtype {
    v.dtype()
}

fn filled_like(a: &Args, v: Option<Scalar>) -> Result<Ret> {
    // self, dtype, layout, device, pin_memory, requires_grad, memory_format
    let t = like(a.t(0), a.dtype(1), a.device(3), a.memory_format(6))?;
    if let Some(v) = v {
        fill_raw(&t, v)?;
    }
    finish(t, a.ob(5))
}

fn sized(a: &Args, zeroed: bool) -> Result<Tensor> {
    let (shape, dtype, device) = (sizes(a.ints(0))?, a.dtype(1).unwrap_or_else(default_dtype), device_of(a.device(3))?);
    if zeroed { Tensor::zeros(&shape, dtype, device) } else { Tensor::empty(&shape, dtype, device) }
}

pub(super) fn register(r: &mut Registry) {
    r.op(
        "f",
        "zeros(int[] size, *, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False) -> Tensor",
        "All zero.",
        |a| {
            ensure!(a.ints(0).iter().all(|&s| s >= 0), Runtime, "zeros: Dimension size must be non-negative.");
            finish(sized(a, true)?, a.ob(5))
        },
    );
    r.op(
        "f",
        "ones(int[] size, *, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False) -> Tensor",
        "All one.",
        |a| {
            let t = sized(a, false)?;
            fill_raw(&t, Scalar::Int(1))?;
            finish(t, a.ob(5))
        },
    );
    r.op(
        "f",
        "empty(int[] size, *, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False, MemoryFormat? memory_format=None) -> Tensor",
        "Content unspecified.",
        |a| {
            let t = sized(a, false)?;
            let t = match a.memory_format(6) {
                Some(f) if f != MemoryFormat::Contiguous => Tensor::empty_strided(t.shape(), &copy::format_strides(t.shape(), f)?, t.dtype(), t.device())?,
                _ => t,
            };
            finish(t, a.ob(5))
        },
    );
    r.op(
        "f",
        "empty_strided(int[] size, int[] stride, *, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False) -> Tensor",
        "Content unspecified, with given strides.",
        |a| {
            let strides: Vec<isize> = a.ints(1).iter().map(|&s| s as isize).collect();
            let t = Tensor::empty_strided(&sizes(a.ints(0))?, &strides, a.dtype(2).unwrap_or_else(default_dtype), device_of(a.device(4))?)?;
            finish(t, a.ob(6))
        },
    );
    r.op(
        "f",
        "empty_permuted(int[] size, int[] physical_layout, *, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False) -> Tensor",
        "Content unspecified; dimensions lie in memory in the given order.",
        |a| {
            let (shape, order) = (sizes(a.ints(0))?, a.ints(1));
            let mut seen = vec![false; shape.len()];
            let fits = order.len() == shape.len()
                && order.iter().all(|&d| (0..shape.len() as i64).contains(&d) && !std::mem::replace(&mut seen[d as usize], true));
            ensure!(fits, Runtime, "Number of dimensions in size does not match the length of the physical_layout");
            let mut strides = vec![1isize; shape.len()];
            let mut acc = 1isize;
            for &d in order.iter().rev() {
                strides[d as usize] = acc;
                acc = acc.saturating_mul(shape[d as usize].max(1) as isize);
            }
            finish(Tensor::empty_strided(&shape, &strides, a.dtype(2).unwrap_or_else(default_dtype), device_of(a.device(4))?)?, a.ob(6))
        },
    );
    r.op(
        "f",
        "full(int[] size, Scalar fill_value, *, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False) -> Tensor",
        "All of one value.",
        |a| {
            let dtype = a.dtype(2).unwrap_or_else(|| full_dtype(a.sc(1)));
            finish(Tensor::full(&sizes(a.ints(0))?, a.sc(1), dtype, device_of(a.device(4))?)?, a.ob(6))
        },
    );
    r.op(
        "f",
        "zeros_like(Tensor self, *, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False, MemoryFormat? memory_format=None) -> Tensor",
        "Zeros of the same shape.",
        |a| filled_like(a, Some(Scalar::Int(0))),
    );
    r.op(
        "f",
        "ones_like(Tensor self, *, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False, MemoryFormat? memory_format=None) -> Tensor",
        "Ones of the same shape.",
        |a| filled_like(a, Some(Scalar::Int(1))),
    );
    r.op(
        "f",
        "empty_like(Tensor self, *, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False, MemoryFormat? memory_format=None) -> Tensor",
        "The same shape, content unspecified.",
        |a| filled_like(a, None),
    );
    r.op(
        "f",
        "full_like(Tensor self, Scalar fill_value, *, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False, MemoryFormat? memory_format=None) -> Tensor",
        "The same shape, all of one value.",
        |a| {
            let t = like(a.t(0), a.dtype(2), a.device(4), a.memory_format(7))?;
            fill_raw(&t, a.sc(1))?;
            finish(t, a.ob(6))
        },
    );
    r.op(
        "f",
        "arange(Scalar end, *, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False) -> Tensor",
        "0, 1, ... below end.",
        |a| finish(arange(Scalar::Int(0), a.sc(0), Scalar::Int(1), a.dtype(1), device_of(a.device(3))?)?, a.ob(5)),
    );
    r.op(
        "f",
        "arange(Scalar start, Scalar end, Scalar step=1, *, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False) -> Tensor",
        "start, start + step, ... below end.",
        |a| finish(arange(a.sc(0), a.sc(1), a.sc(2), a.dtype(3), device_of(a.device(5))?)?, a.ob(7)),
    );
    r.op(
        "f",
        "range(Scalar start, Scalar end, Scalar step=1, *, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? requires_grad=False) -> Tensor",
        "start, start + step, ... up to and with end (deprecated: use arange).",
        |a| {
            let (s, e, d) = (a.f(0), a.f(1), a.f(2));
            ensure!(d != 0.0, Runtime, "step must be nonzero");
            ensure!((d > 0.0 && e >= s) || (d < 0.0 && e <= s), Runtime, "upper bound and lower bound inconsistent with step sign");
            let n = ((e - s) / d).floor() as i64 + 1;
            let dtype = a.dtype(3).unwrap_or_else(default_dtype);
            finish(arange(Scalar::Float(s), Scalar::Float(s + d * (n as f64 - 0.5)), Scalar::Float(d), Some(dtype), device_of(a.device(5))?)?, a.ob(6))
        },
    );
    r.op(
        "f",
        "linspace(Operand start, Operand end, int steps, *, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False) -> Tensor",
        "steps evenly spaced values from start to end.",
        |a| {
            let (s, e) = (end_point(a, 0)?, end_point(a, 1)?);
            finish(linspace(s, e, a.int(2), a.dtype(3).unwrap_or_else(default_dtype), device_of(a.device(5))?)?, a.ob(7))
        },
    );
    r.op(
        "f",
        "logspace(Operand start, Operand end, int steps, float base=10.0, *, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False) -> Tensor",
        "base to the power of evenly spaced values.",
        |a| {
            let dtype = a.dtype(4).unwrap_or_else(default_dtype);
            let device = device_of(a.device(6))?;
            let here = if gpu(device) { Device::Cpu } else { device };
            let wide = linspace(end_point(a, 0)?, end_point(a, 1)?, a.int(2), Dtype::F64, here)?;
            if here == Device::Cpu {
                wide.data_mut::<f64>().iter_mut().for_each(|v| *v = a.f(3).powf(*v));
            }
            finish(copy::to_device(&copy::to_dtype(&wide, dtype)?, device)?, a.ob(8))
        },
    );
    r.op(
        "f",
        "eye(int n, *, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False) -> Tensor",
        "The unit matrix.",
        |a| finish(eye(a.int(0), a.int(0), a.dtype(1).unwrap_or_else(default_dtype), device_of(a.device(3))?)?, a.ob(5)),
    );
    r.op(
        "f",
        "eye(int n, int m, *, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False) -> Tensor",
        "Ones on the diagonal of an n by m matrix.",
        |a| finish(eye(a.int(0), a.int(1), a.dtype(2).unwrap_or_else(default_dtype), device_of(a.device(4))?)?, a.ob(6)),
    );
    r.op("f", "scalar_tensor(Scalar s, *, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False) -> Tensor", "A 0-d tensor.", |a| {
        finish(Tensor::full(&[], a.sc(0), a.dtype(1).unwrap_or_else(default_dtype), device_of(a.device(3))?)?, a.ob(5))
    });
    use std::f64::consts::PI;
    for (schema, doc, f) in [
        (
            "hann_window(int window_length, bool periodic=True, *, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False) -> Tensor",
            "The Hann window.",
            (|a| {
                finish(
                    window(a.int(0), a.b(1), a.dtype(2), device_of(a.device(4))?, |i, n| 0.5 - 0.5 * (2.0 * PI * i / n).cos())?,
                    a.ob(6),
                )
            }) as super::OpFn,
        ),
        (
            "bartlett_window(int window_length, bool periodic=True, *, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False) -> Tensor",
            "The Bartlett window.",
            |a| {
                finish(
                    window(a.int(0), a.b(1), a.dtype(2), device_of(a.device(4))?, |i, n| 1.0 - (2.0 * i / n - 1.0).abs())?,
                    a.ob(6),
                )
            },
        ),
        (
            "blackman_window(int window_length, bool periodic=True, *, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False) -> Tensor",
            "The Blackman window.",
            |a| {
                finish(
                    window(a.int(0), a.b(1), a.dtype(2), device_of(a.device(4))?, |i, n| {
                        0.42 - 0.5 * (2.0 * PI * i / n).cos() + 0.08 * (4.0 * PI * i / n).cos()
                    })?,
                    a.ob(6),
                )
            },
        ),
        (
            "hamming_window(int window_length, bool periodic=True, float alpha=0.54, float beta=0.46, *, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False) -> Tensor",
            "The Hamming window.",
            |a| {
                let (al, be) = (a.f(2), a.f(3));
                finish(
                    window(a.int(0), a.b(1), a.dtype(4), device_of(a.device(6))?, move |i, n| {
                        al - be * (2.0 * PI * i / n).cos()
                    })?,
                    a.ob(8),
                )
            },
        ),
        (
            "kaiser_window(int window_length, bool periodic=True, float beta=12.0, *, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False) -> Tensor",
            "The Kaiser window.",
            |a| {
                use crate::expr::special::Real;
                let beta = a.f(2);
                let w = |i: f64, n: f64| {
                    let x = 2.0 * i / n - 1.0;
                    Real::i0(beta * (1.0 - x * x).max(0.0).sqrt()) / Real::i0(beta)
                };
                finish(window(a.int(0), a.b(1), a.dtype(3), device_of(a.device(5))?, w)?, a.ob(7))
            },
        ),
    ] {
        r.op("f", schema, doc, f);
    }
}

fn end_point(a: &Args, i: usize) -> Result<f64> {
    match a.operand(i) {
        Some(crate::expr::Operand::S(s)) => Ok(s.f64()),
        Some(crate::expr::Operand::T(t)) => {
            ensure!(t.ndim() == 0, Runtime, "linspace only supports 0-dimensional start and end tensors");
            Ok(t.item()?.f64())
        }
        None => bail!(Runtime, "linspace needs a start and an end"),
    }
}
