//! Random numbers from the generator: rand, randn, normal_ and the other fills; [`sample`] and [`dropout`] use them.
//!
//! Numbers are drawn in the order in which the elements lie in memory, as PyTorch's CPU does.

mod device;
mod dropout;
mod sample;

pub use device::{gpu_generator, gpu_generators, seed_gpus};
pub use dropout::dropout;
use sample::bernoulli;

use super::creation::{device_of, finish, like};
use super::elementwise as ew;
use super::{Args, Registry, Ret, SharedGenerator, copy, inplace, view};
use crate::device::Device;
use crate::dtype::{Dtype, Element, default_dtype};
use crate::error::Result;
use crate::expr::Operand;
use crate::gpu;
use crate::layout::sizes;
use crate::random::{Generator, os_seed};
use crate::tensor::Tensor;
use crate::{bail, dispatch, ensure};
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock};

/// The generator that functions draw from when none is given.
pub fn default_generator() -> &'static SharedGenerator {
    static G: OnceLock<SharedGenerator> = OnceLock::new();
    G.get_or_init(|| Arc::new(Mutex::new(Generator::new(os_seed()))))
}

fn with_generator<R>(g: Option<&SharedGenerator>, f: impl FnOnce(&mut Generator) -> R) -> R {
    f(&mut g.unwrap_or_else(|| default_generator()).lock())
}

/// What is drawn.
#[derive(Clone, Copy)]
enum Draw {
    Uniform(f64, f64),
    Normal(f64, f64),
    /// low, span
    Int(i64, u64),
    Bits64,
    /// modulus, 64-bit draws
    Unbounded(u64, bool),
    Bernoulli(f64),
    Exponential(f64),
    Geometric(f64),
    Cauchy(f64, f64),
    LogNormal(f64, f64),
}

/// A view with the dimensions in the order of memory.
fn memory_order(t: &Tensor) -> Result<Tensor> {
    let mut dims: Vec<i64> = (0..t.ndim() as i64).collect();
    dims.sort_by_key(|&d| std::cmp::Reverse(t.strides()[d as usize]));
    view::permute(&t.detach(), &dims)
}

/// Fills memory, without history or version.
fn fill(t: &Tensor, draw: Draw, g: Option<&SharedGenerator>) -> Result<()> {
    if t.device() == Device::Meta || t.numel() == 0 {
        return Ok(());
    }
    let ordered = memory_order(t)?;
    let target = if ordered.is_contiguous() { ordered.clone() } else { Tensor::empty(ordered.shape(), t.dtype(), t.device())? };
    let dense = t.layout().is_dense();
    if gpu::holds(t) {
        device::fill(&target, draw, g)?;
    } else {
        with_generator(g, |g| {
            device::check_device(g, Device::Cpu)?;
            fill_contiguous(&target, draw, dense, g)
        })?;
    }
    if !ordered.is_contiguous() {
        copy::copy_raw(&ordered, &target)?;
    }
    Ok(())
}

fn fill_contiguous(t: &Tensor, draw: Draw, dense: bool, g: &mut Generator) -> Result<()> {
    let (n, d) = (t.numel(), t.dtype());
    match draw {
        Draw::Uniform(from, to) => match d {
            Dtype::F32 => g.fill_uniform_f32(t.data_mut(), from as f32, to as f32),
            Dtype::F64 => g.fill_uniform_f64(t.data_mut(), from, to),
            _ => {
                let mut wide = vec![0f32; n];
                g.fill_uniform_f32(&mut wide, from as f32, to as f32);
                dispatch!(real "uniform", d, T => for (o, v) in t.data_mut::<T>().iter_mut().zip(wide) {
                    let r = T::from_f64(v as f64);
                    // A value that rounds up to the excluded end becomes the other end.
                    *o = if r.to_f64() >= to { T::from_f64(from) } else { r };
                });
            }
        },
        Draw::Normal(mean, std) => match d {
            Dtype::F32 if dense => g.fill_normal_f32(t.data_mut(), mean, std),
            Dtype::F64 if dense => g.fill_normal_f64(t.data_mut(), mean, std),
            Dtype::F16 | Dtype::BF16 if dense => {
                let mut wide = vec![0f32; n];
                g.fill_normal_half(&mut wide, mean, std);
                dispatch!(real "normal", d, T => for (o, v) in t.data_mut::<T>().iter_mut().zip(wide) { *o = T::from_f64(v as f64); });
            }
            _ => {
                let mut wide = vec![0f64; n];
                g.fill_normal_serial(&mut wide, mean, std);
                store(t, &wide)?;
            }
        },
        Draw::Int(..) | Draw::Bits64 | Draw::Unbounded(..) => {
            let mut ints = vec![0i64; n];
            match draw {
                Draw::Int(low, span) => g.fill_randint(&mut ints, low, span),
                Draw::Unbounded(modulus, wide) => g.fill_random(&mut ints, modulus, wide),
                _ => g.fill_random_bits64(&mut ints),
            }
            dispatch!(real "random_", d, T => for (o, v) in t.data_mut::<T>().iter_mut().zip(ints) { *o = T::from_i64(v); });
        }
        Draw::Bernoulli(p) => {
            let mut bits = vec![false; n];
            g.fill_bernoulli(&mut bits, p);
            dispatch!(real "bernoulli_", d, T => for (o, b) in t.data_mut::<T>().iter_mut().zip(bits) { *o = T::from_i64(b as i64); });
        }
        _ => {
            let mut wide = vec![0f64; n];
            match draw {
                Draw::Exponential(l) => g.fill_exponential(&mut wide, l),
                Draw::Geometric(p) => g.fill_geometric(&mut wide, p),
                Draw::Cauchy(m, s) => g.fill_cauchy(&mut wide, m, s),
                Draw::LogNormal(m, s) => g.fill_log_normal(&mut wide, m, s),
                _ => unreachable!("handled above"),
            }
            store(t, &wide)?;
        }
    }
    Ok(())
}

fn store(t: &Tensor, values: &[f64]) -> Result<()> {
    dispatch!(real "random", t.dtype(), T => for (o, v) in t.data_mut::<T>().iter_mut().zip(values) { *o = T::from_f64(*v); });
    Ok(())
}

/// Numbers uniform in [from, to), in the shape of a tensor.
pub fn uniform_like(x: &Tensor, from: f64, to: f64, g: Option<&SharedGenerator>) -> Result<Tensor> {
    let t = like(&x.detach(), None, None, None)?;
    fill(&t, Draw::Uniform(from, to), g)?;
    Ok(t)
}

/// Draws over the elements of `t`: an in-place op.
fn draw_into(t: &Tensor, draw: Draw, g: Option<&SharedGenerator>) -> Result<Ret> {
    inplace::check_writable(t)?;
    if t.requires_grad() && crate::autograd::is_grad_enabled() {
        let fresh = t.empty_like()?;
        fill(&fresh, draw, g)?;
        inplace::assign(t, fresh)?;
    } else {
        fill(t, draw, g)?;
        t.storage().bump_version();
    }
    Ok(Ret::Tensor(t.clone()))
}

fn float_only(name: &str, d: Dtype) -> Result<()> {
    ensure!(d.is_float(), NotImplemented, "\"{name}\" not implemented for '{}'", d.scalar_name());
    Ok(())
}

fn normal_draw(mean: f64, std: f64) -> Result<Draw> {
    ensure!(std >= 0.0 || std.is_nan(), Runtime, "normal expects std >= 0.0, but found std {std}");
    Ok(Draw::Normal(mean, std))
}

/// Standard normal numbers.
pub fn randn(shape: &[usize], dtype: Dtype, device: Device, g: Option<&SharedGenerator>) -> Result<Tensor> {
    float_only("normal_kernel_cpu", dtype)?;
    let t = Tensor::empty(shape, dtype, device)?;
    fill(&t, Draw::Normal(0.0, 1.0), g)?;
    Ok(t)
}

/// mean + std * normal, with tensors for either.
fn normal_of(mean: Operand, std: Operand, g: Option<&SharedGenerator>) -> Result<Tensor> {
    if let Operand::T(s) = &std {
        let least = if gpu::holds(s) { Tensor::scalar(device::least(s)?, Dtype::F64) } else { s.detach() };
        let low = copy::contiguous(&copy::to_dtype(&least, Dtype::F64)?)?;
        ensure!(low.data::<f64>().iter().all(|&v| v >= 0.0 || v.is_nan()), Runtime, "normal expects all elements of std >= 0.0");
    }
    let shape = match (&mean, &std) {
        (Operand::T(a), Operand::T(b)) => crate::layout::broadcast(a.shape(), b.shape())?,
        (Operand::T(a), _) | (_, Operand::T(a)) => a.dims(),
        _ => bail!(Runtime, "normal() needs a tensor or a size"),
    };
    let dtype = ew::result_type(&[mean.clone(), std.clone()]);
    float_only("normal_kernel_cpu", dtype)?;
    let device = [&mean, &std].into_iter().find_map(|o| match o {
        Operand::T(t) if t.device() != Device::Cpu => Some(t.device()),
        _ => None,
    });
    let z = Tensor::empty(&shape, dtype, device.unwrap_or(Device::Cpu))?;
    fill(&z, Draw::Normal(0.0, 1.0), g)?;
    crate::autograd::no_grad(|| {
        let scaled = ew::MUL.call(&[Operand::T(z), std], &[], None)?;
        ew::ADD.call(&[Operand::T(scaled), mean], &[], None)
    })
}

fn sized(a: &Args, size: usize, dtype: usize) -> Result<Tensor> {
    Tensor::empty(&sizes(a.ints(size))?, a.dtype(dtype).unwrap_or_else(default_dtype), device_of(a.device(dtype + 2))?)
}

fn span(low: i64, high: i64) -> Result<Draw> {
    ensure!(low < high, Runtime, "random_ expects 'from' to be less than 'to', but got from={low} >= to={high}");
    Ok(Draw::Int(low, high.wrapping_sub(low) as u64))
}

fn randint_check(low: i64, high: i64, dtype: Dtype) -> Result<Draw> {
    let (min, max) = match dtype {
        Dtype::U8 => (0, 255),
        Dtype::I8 => (-128, 127),
        Dtype::I16 => (-32768, 32767),
        Dtype::I32 => (i32::MIN as i64, i32::MAX as i64),
        Dtype::Bool => (0, 1),
        _ => (i64::MIN, i64::MAX),
    };
    ensure!(low < high, Runtime, "random_ expects 'from' to be less than 'to', but got from={low} >= to={high}");
    ensure!(low >= min && low <= max, Runtime, "from is out of bounds for {}", dtype.name());
    ensure!(high - 1 <= max, Runtime, "to - 1 is out of bounds for {}", dtype.name());
    span(low, high)
}

pub(super) fn register(r: &mut Registry) {
    for (schema, normal) in [
        (
            "rand(int[] size, *, Generator? generator=None, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False) -> Tensor",
            false,
        ),
        (
            "randn(int[] size, *, Generator? generator=None, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False) -> Tensor",
            true,
        ),
    ] {
        r.op(
            "f",
            schema,
            "Numbers uniform in [0, 1), or standard normal.",
            if normal {
                |a| {
                    finish(
                        randn(
                            &sizes(a.ints(0))?,
                            a.dtype(2).unwrap_or_else(default_dtype),
                            device_of(a.device(4))?,
                            a.generator(1),
                        )?,
                        a.ob(6),
                    )
                }
            } else {
                |a| {
                    let t = sized(a, 0, 2)?;
                    float_only("check_uniform_bounds", t.dtype())?;
                    fill(&t, Draw::Uniform(0.0, 1.0), a.generator(1))?;
                    finish(t, a.ob(6))
                }
            },
        );
    }
    for (schema, normal) in [
        (
            "rand_like(Tensor self, *, Generator? generator=None, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False, MemoryFormat? memory_format=None) -> Tensor",
            false,
        ),
        (
            "randn_like(Tensor self, *, Generator? generator=None, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False, MemoryFormat? memory_format=None) -> Tensor",
            true,
        ),
    ] {
        r.op(
            "f",
            schema,
            "rand or randn in the shape of a tensor.",
            if normal {
                |a| {
                    let t = like(a.t(0), a.dtype(2), a.device(4), a.memory_format(7))?;
                    float_only("normal_kernel_cpu", t.dtype())?;
                    fill(&t, Draw::Normal(0.0, 1.0), a.generator(1))?;
                    finish(t, a.ob(6))
                }
            } else {
                |a| {
                    let t = like(a.t(0), a.dtype(2), a.device(4), a.memory_format(7))?;
                    float_only("check_uniform_bounds", t.dtype())?;
                    fill(&t, Draw::Uniform(0.0, 1.0), a.generator(1))?;
                    finish(t, a.ob(6))
                }
            },
        );
    }
    r.op("f", "randint(int high, int[] size, *, Generator? generator=None, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False) -> Tensor", "Integers in [0, high).", |a| {
        let d = a.dtype(3).unwrap_or(Dtype::I64);
        let t = Tensor::empty(&sizes(a.ints(1))?, d, device_of(a.device(5))?)?;
        fill(&t, randint_check(0, a.int(0), d)?, a.generator(2))?;
        finish(t, a.ob(7))
    });
    r.op("f", "randint(int low, int high, int[] size, *, Generator? generator=None, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False) -> Tensor", "Integers in [low, high).", |a| {
        let d = a.dtype(4).unwrap_or(Dtype::I64);
        let t = Tensor::empty(&sizes(a.ints(2))?, d, device_of(a.device(6))?)?;
        fill(&t, randint_check(a.int(0), a.int(1), d)?, a.generator(3))?;
        finish(t, a.ob(8))
    });
    r.op("f", "randint_like(Tensor self, int high, *, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False, MemoryFormat? memory_format=None) -> Tensor", "Integers in [0, high) in the shape of a tensor.", |a| {
        let t = like(a.t(0), a.dtype(2), a.device(4), a.memory_format(7))?;
        fill(&t, randint_check(0, a.int(1), t.dtype())?, None)?;
        finish(t, a.ob(6))
    });
    r.op("f", "randint_like(Tensor self, int low, int high, *, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False, MemoryFormat? memory_format=None) -> Tensor", "Integers in [low, high) in the shape of a tensor.", |a| {
        let t = like(a.t(0), a.dtype(3), a.device(5), a.memory_format(8))?;
        fill(&t, randint_check(a.int(1), a.int(2), t.dtype())?, None)?;
        finish(t, a.ob(7))
    });
    r.op("f", "randperm(int n, *, Generator? generator=None, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False) -> Tensor", "A random permutation of 0 .. n - 1.", |a| {
        ensure!(a.int(0) >= 0, Runtime, "Trying to create tensor with negative dimension {0}: [{0}]", a.int(0));
        let n = a.int(0) as usize;
        // Memory first: an impossible size is an error, not an abort.
        let mut t = Tensor::empty(&[n], Dtype::I64, device_of(a.device(4))?)?;
        if gpu::holds(&t) {
            t = device::randperm(n, t.device(), a.generator(1))?;
        } else if t.device() == Device::Cpu {
            let p = with_generator(a.generator(1), |g| g.randperm(n));
            t.data_mut::<i64>().copy_from_slice(&p);
        }
        finish(if a.dtype(2).is_none() { t } else { copy::to_dtype(&t, a.dtype(2).unwrap())? }, a.ob(6))
    });
    r.op("f", "normal(Tensor mean, Tensor std, *, Generator? generator=None) -> Tensor", "Normal numbers.", |a| {
        normal_of(a.operand(0).unwrap(), a.operand(1).unwrap(), a.generator(2)).map(Ret::from)
    });
    r.op("f", "normal(Tensor mean, float std=1, *, Generator? generator=None) -> Tensor", "Normal numbers.", |a| {
        normal_draw(0.0, a.f(1))?;
        normal_of(a.operand(0).unwrap(), a.operand(1).unwrap(), a.generator(2)).map(Ret::from)
    });
    r.op("f", "normal(float mean, Tensor std, *, Generator? generator=None) -> Tensor", "Normal numbers.", |a| {
        normal_of(a.operand(0).unwrap(), a.operand(1).unwrap(), a.generator(2)).map(Ret::from)
    });
    r.op("f", "normal(float mean, float std, int[] size, *, Generator? generator=None, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None, bool? requires_grad=False) -> Tensor", "Normal numbers.", |a| {
        let t = Tensor::empty(&sizes(a.ints(2))?, a.dtype(4).unwrap_or_else(default_dtype), device_of(a.device(6))?)?;
        float_only("normal_kernel_cpu", t.dtype())?;
        fill(&t, normal_draw(a.f(0), a.f(1))?, a.generator(3))?;
        finish(t, a.ob(8))
    });
    r.op(
        "m",
        "normal_(Tensor self, float mean=0, float std=1, *, Generator? generator=None) -> Tensor",
        "Normal numbers over self.",
        |a| {
            float_only("normal_kernel_cpu", a.t(0).dtype())?;
            draw_into(a.t(0), normal_draw(a.f(1), a.f(2))?, a.generator(3))
        },
    );
    r.op(
        "m",
        "uniform_(Tensor self, float from=0, float to=1, *, Generator? generator=None) -> Tensor",
        "Numbers uniform in [from, to) over self.",
        |a| {
            float_only("check_uniform_bounds", a.t(0).dtype())?;
            ensure!(
                a.f(1) <= a.f(2),
                Runtime,
                "uniform_ expects to return a [from, to) range, but found from={} > to={}",
                a.f(1),
                a.f(2)
            );
            draw_into(a.t(0), Draw::Uniform(a.f(1), a.f(2)), a.generator(3))
        },
    );
    r.op(
        "m",
        "random_(Tensor self, *, Generator? generator=None) -> Tensor",
        "Integers over the dtype's whole range over self.",
        |a| {
            let (modulus, wide) = match a.t(0).dtype() {
                Dtype::Bool => (2, false),
                Dtype::U8 => (256, false),
                Dtype::I8 => (128, false),
                Dtype::I16 => (32768, false),
                Dtype::I32 => (1 << 31, false),
                Dtype::I64 => (1 << 63, true),
                Dtype::F16 => ((1 << 11) + 1, false),
                Dtype::BF16 => ((1 << 8) + 1, false),
                Dtype::F32 => ((1 << 24) + 1, false),
                _ => ((1 << 53) + 1, true),
            };
            draw_into(a.t(0), Draw::Unbounded(modulus, wide), a.generator(1))
        },
    );
    r.op("m", "random_(Tensor self, int to, *, Generator? generator=None) -> Tensor", "Integers in [0, to) over self.", |a| {
        draw_into(a.t(0), span(0, a.int(1))?, a.generator(2))
    });
    r.op(
        "m",
        "random_(Tensor self, int from, int? to, *, Generator? generator=None) -> Tensor",
        "Integers in [from, to) over self.",
        |a| {
            let d = match a.oint(2) {
                Some(to) => span(a.int(1), to)?,
                None if a.int(1) == i64::MIN => Draw::Bits64,
                None => Draw::Int(a.int(1), (i64::MAX as u64).wrapping_sub(a.int(1) as u64).wrapping_add(1)),
            };
            draw_into(a.t(0), d, a.generator(3))
        },
    );
    r.op(
        "m",
        "bernoulli_(Tensor self, float p=0.5, *, Generator? generator=None) -> Tensor",
        "1 with probability p over self.",
        |a| {
            ensure!((0.0..=1.0).contains(&a.f(1)), Runtime, "bernoulli_ expects p to be in [0, 1], but got p={}", a.f(1));
            draw_into(a.t(0), Draw::Bernoulli(a.f(1)), a.generator(2))
        },
    );
    r.op(
        "m",
        "bernoulli_(Tensor self, Tensor p, *, Generator? generator=None) -> Tensor",
        "1 with probability p over self.",
        |a| {
            let p = view::expand(&a.t(1).detach(), a.t(0).shape())?;
            inplace::assign(a.t(0), bernoulli(&p, a.t(0).dtype(), a.generator(2))?)?;
            Ok(a.t(0).clone().into())
        },
    );
    r.op(
        "fm",
        "bernoulli(Tensor self, *, Generator? generator=None) -> Tensor",
        "1 with the probability given by each element.",
        |a| {
            float_only("bernoulli_tensor_cpu_p_", a.t(0).dtype())?;
            bernoulli(&a.t(0).detach(), a.t(0).dtype(), a.generator(1)).map(Ret::from)
        },
    );
    r.op(
        "fm",
        "bernoulli(Tensor self, float p, *, Generator? generator=None) -> Tensor",
        "1 with probability p, in the shape of self.",
        |a| {
            ensure!((0.0..=1.0).contains(&a.f(1)), Runtime, "bernoulli_ expects p to be in [0, 1], but got p={}", a.f(1));
            let t = like(&a.t(0).detach(), None, None, None)?;
            fill(&t, Draw::Bernoulli(a.f(1)), a.generator(2))?;
            Ok(t.into())
        },
    );
    r.op(
        "m",
        "exponential_(Tensor self, float lambd=1, *, Generator? generator=None) -> Tensor",
        "Exponential numbers over self.",
        |a| {
            float_only("exponential_cpu", a.t(0).dtype())?;
            ensure!(a.f(1) > 0.0, Runtime, "exponential_ expects lambda > 0.0, but found lambda={}", a.f(1));
            draw_into(a.t(0), Draw::Exponential(a.f(1)), a.generator(2))
        },
    );
    r.op("m", "geometric_(Tensor self, float p, *, Generator? generator=None) -> Tensor", "Geometric numbers over self.", |a| {
        ensure!(a.f(1) > 0.0 && a.f(1) < 1.0, Runtime, "geometric_ expects p to be in (0, 1), but got p={}", a.f(1));
        draw_into(a.t(0), Draw::Geometric(a.f(1)), a.generator(2))
    });
    r.op(
        "m",
        "cauchy_(Tensor self, float median=0, float sigma=1, *, Generator? generator=None) -> Tensor",
        "Cauchy numbers over self.",
        |a| {
            float_only("cauchy_cpu", a.t(0).dtype())?;
            ensure!(a.f(2) > 0.0, Runtime, "cauchy_ expects sigma > 0.0, but found sigma={}", a.f(2));
            draw_into(a.t(0), Draw::Cauchy(a.f(1), a.f(2)), a.generator(3))
        },
    );
    r.op(
        "m",
        "log_normal_(Tensor self, float mean=1, float std=2, *, Generator? generator=None) -> Tensor",
        "Log-normal numbers over self.",
        |a| {
            float_only("log_normal_cpu", a.t(0).dtype())?;
            ensure!(a.f(2) > 0.0, Runtime, "log_normal_ expects std > 0.0, but found std={}", a.f(2));
            draw_into(a.t(0), Draw::LogNormal(a.f(1), a.f(2)), a.generator(3))
        },
    );
    sample::register(r);
    dropout::register(r);
}
