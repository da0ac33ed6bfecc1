//! Random numbers from the generator: rand, randn, normal_, bernoulli, multinomial, dropout.
//!
//! Numbers are drawn in the order in which the elements lie in memory, as PyTorch's CPU does.

use super::creation::{device_of, finish, like};
use super::elementwise as ew;
use super::{Args, Registry, Ret, SharedGenerator, copy, inplace, view};
use crate::device::Device;
use crate::dtype::{Dtype, Element, Scalar, default_dtype};
use crate::error::Result;
use crate::expr::Operand;
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
    if t.device() != Device::Cpu || t.numel() == 0 {
        return Ok(());
    }
    let ordered = memory_order(t)?;
    let target = if ordered.is_contiguous() { ordered.clone() } else { Tensor::empty(ordered.shape(), t.dtype(), Device::Cpu)? };
    let dense = t.layout().is_dense();
    with_generator(g, |g| fill_contiguous(&target, draw, dense, g))?;
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
        let low = copy::contiguous(&copy::to_dtype(&s.detach(), Dtype::F64)?)?;
        ensure!(low.data::<f64>().iter().all(|&v| v >= 0.0 || v.is_nan()), Runtime, "normal expects all elements of std >= 0.0");
    }
    let shape = match (&mean, &std) {
        (Operand::T(a), Operand::T(b)) => crate::layout::broadcast(a.shape(), b.shape())?,
        (Operand::T(a), _) | (_, Operand::T(a)) => a.dims(),
        _ => bail!(Runtime, "normal() needs a tensor or a size"),
    };
    let dtype = ew::result_type(&[mean.clone(), std.clone()]);
    float_only("normal_kernel_cpu", dtype)?;
    let z = Tensor::empty(&shape, dtype, Device::Cpu)?;
    fill(&z, Draw::Normal(0.0, 1.0), g)?;
    crate::autograd::no_grad(|| {
        let scaled = ew::MUL.call(&[Operand::T(z), std], &[], None)?;
        ew::ADD.call(&[Operand::T(scaled), mean], &[], None)
    })
}

/// Indices drawn with the probabilities (not necessarily normalised) of each row.
pub fn multinomial(p: &Tensor, n: i64, replacement: bool, g: Option<&SharedGenerator>) -> Result<Tensor> {
    ensure!(p.ndim() == 1 || p.ndim() == 2, Runtime, "prob_dist must be 1 or 2 dim");
    ensure!(
        p.dtype().is_float(),
        Runtime,
        "multinomial only supports floating-point dtypes for input, got: {}",
        p.dtype().scalar_name()
    );
    ensure!(n > 0, Runtime, "cannot sample n_sample <= 0 samples");
    let cats = p.shape()[p.ndim() - 1];
    ensure!(
        replacement || n as usize <= cats,
        Runtime,
        "cannot sample n_sample > prob_dist.size(-1) samples without replacement"
    );
    p.check_data("multinomial")?;
    let single = p.dtype() != Dtype::F64;
    let wide = copy::contiguous(&copy::to_dtype(&p.detach(), Dtype::F64)?)?;
    let probs = wide.data::<f64>();
    ensure!(
        probs.iter().all(|v| v.is_finite() && *v >= 0.0),
        Runtime,
        "probability tensor contains either `inf`, `nan` or element < 0"
    );
    ensure!(
        cats > 0 && probs.chunks(cats).all(|row| row.iter().sum::<f64>() > 0.0),
        Runtime,
        "invalid multinomial distribution (sum of probabilities <= 0)"
    );
    let rows = probs.len() / cats;
    let n = n as usize;
    crate::layout::checked_numel(&[rows, n])?;
    let shape: Vec<usize> = if p.ndim() == 1 { vec![n] } else { vec![rows, n] };
    let out = Tensor::empty(&shape, Dtype::I64, Device::Cpu)?;
    let samples = out.data_mut::<i64>();
    with_generator(g, |g| {
        if !replacement || n == 1 {
            // The largest p / e with exponential e are a sample without replacement.
            let mut e = vec![0f64; probs.len()];
            g.fill_exponential(&mut e, 1.0);
            for r in 0..rows {
                let keys: Vec<f64> = (0..cats)
                    .map(|c| {
                        let (p, e) = (probs[r * cats + c], e[r * cats + c]);
                        if single { (p as f32 / e as f32) as f64 } else { p / e }
                    })
                    .collect();
                let mut order: Vec<usize> = (0..cats).collect();
                if n == 1 {
                    let best = order.iter().copied().fold(0, |b, i| if keys[i] > keys[b] { i } else { b });
                    samples[r] = best as i64;
                } else {
                    order.sort_by(|&a, &b| keys[b].total_cmp(&keys[a]));
                    for k in 0..n {
                        samples[r * n + k] = order[k] as i64;
                    }
                }
            }
        } else {
            for r in 0..rows {
                let row = &probs[r * cats..(r + 1) * cats];
                let mut cdf: Vec<f64> = Vec::with_capacity(cats);
                let mut sum = 0f64;
                for &v in row {
                    sum = if single { (sum as f32 + v as f32) as f64 } else { sum + v };
                    cdf.push(sum);
                }
                for v in &mut cdf {
                    *v = if single { (*v as f32 / sum as f32) as f64 } else { *v / sum };
                }
                cdf[cats - 1] = 1.0;
                for k in 0..n {
                    let u = g.uniform53();
                    samples[r * n + k] = cdf.partition_point(|&c| c < u).min(cats - 1) as i64;
                }
            }
        }
    });
    Ok(out)
}

/// A Poisson number: by products of uniforms for small rates, by transformed rejection (Hörmann 1993) else.
fn poisson(rate: f64, g: &mut Generator) -> f64 {
    if rate <= 0.0 {
        return 0.0;
    }
    if rate < 10.0 {
        let limit = (-rate).exp();
        let (mut k, mut p) = (0.0, 1.0);
        loop {
            p *= g.uniform53();
            if p <= limit {
                return k;
            }
            k += 1.0;
        }
    }
    let (slam, loglam) = (rate.sqrt(), rate.ln());
    let b = 0.931 + 2.53 * slam;
    let a = -0.059 + 0.02483 * b;
    let invalpha = 1.1239 + 1.1328 / (b - 3.4);
    let vr = 0.9277 - 3.6224 / (b - 2.0);
    loop {
        let u = g.uniform53() - 0.5;
        let v = g.uniform53();
        let us = 0.5 - u.abs();
        let k = ((2.0 * a / us + b) * u + rate + 0.43).floor();
        if us >= 0.07 && v <= vr {
            return k;
        }
        if k < 0.0 || (us < 0.013 && v > us) {
            continue;
        }
        use crate::expr::special::Real;
        if v.ln() + invalpha.ln() - (a / (us * us) + b).ln() <= -rate + k * loglam - Real::lgamma(k + 1.0) {
            return k;
        }
    }
}

/// A binomial number for p <= 0.5: by geometric gaps for small means, by transformed rejection (Hörmann 1993) else.
fn binomial(n: f64, p: f64, g: &mut Generator) -> f64 {
    if n <= 0.0 || p <= 0.0 {
        return 0.0;
    }
    if n * p < 10.0 {
        let (log_q, mut sum, mut count) = ((-p).ln_1p(), 0.0, 0.0);
        loop {
            sum += (g.uniform53().ln() / log_q).ceil();
            if sum > n {
                return count;
            }
            count += 1.0;
        }
    }
    let spread = (n * p * (1.0 - p)).sqrt();
    let b = 1.15 + 2.53 * spread;
    let a = -0.0873 + 0.0248 * b + 0.01 * p;
    let c = n * p + 0.5;
    let vr = 0.92 - 4.2 / b;
    let r = p / (1.0 - p);
    let alpha = (2.83 + 5.1 / b) * spread;
    let m = ((n + 1.0) * p).floor();
    loop {
        let u = g.uniform53() - 0.5;
        let v = g.uniform53();
        let us = 0.5 - u.abs();
        let k = ((2.0 * a / us + b) * u + c).floor();
        if us >= 0.07 && v <= vr {
            return k;
        }
        if k < 0.0 || k > n {
            continue;
        }
        let v = (v * alpha / (a / (us * us) + b)).ln();
        let bound = (m + 0.5) * ((m + 1.0) / (r * (n - m + 1.0))).ln()
            + (n + 1.0) * ((n - m + 1.0) / (n - k + 1.0)).ln()
            + (k + 0.5) * (r * (n - k + 1.0) / (k + 1.0)).ln()
            + stirling_tail(m)
            + stirling_tail(n - m)
            - stirling_tail(k)
            - stirling_tail(n - k);
        if v <= bound {
            return k;
        }
    }
}

/// What Stirling's formula leaves of log k!.
fn stirling_tail(k: f64) -> f64 {
    const SMALL: [f64; 10] = [
        0.081_061_466_795_327_2,
        0.041_340_695_955_409_2,
        0.027_677_925_684_998_3,
        0.020_790_672_103_765,
        0.016_644_691_189_821_1,
        0.013_876_128_823_070_7,
        0.011_896_709_945_891_7,
        0.010_411_265_261_972,
        0.009_255_462_182_712_7,
        0.008_330_563_433_363_1,
    ];
    if k <= 9.0 {
        return SMALL[k as usize];
    }
    let kp1 = k + 1.0;
    (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / 1260.0 / (kp1 * kp1)) / (kp1 * kp1)) / kp1
}

// ---- dropout ----

fn check_p(p: f64) -> Result<()> {
    ensure!((0.0..=1.0).contains(&p), Value, "dropout probability has to be between 0 and 1, but got {p:?}");
    Ok(())
}

fn feature_shape(x: &Tensor, feature: bool) -> Result<Vec<usize>> {
    if !feature {
        return Ok(x.shape().to_vec());
    }
    ensure!(x.ndim() >= 2, Runtime, "Feature dropout requires at least 2 dimensions in the input");
    Ok(x.shape().iter().enumerate().map(|(i, &s)| if i < 2 { s } else { 1 }).collect())
}

/// Zeroes elements (or whole channels) with probability `p` and scales the others by 1 / (1 - p).
pub fn dropout(x: &Tensor, p: f64, training: bool, feature: bool) -> Result<Tensor> {
    check_p(p)?;
    if !training || p == 0.0 || x.numel() == 0 {
        return Ok(x.clone());
    }
    if p == 1.0 {
        return ew::mul(x, &Tensor::zeros(&[], x.dtype(), Device::Cpu)?);
    }
    let noise = if feature {
        Tensor::empty(&feature_shape(x, true)?, x.dtype(), Device::Cpu)?
    } else {
        like(&x.detach(), None, None, None)?
    };
    fill(&noise, Draw::Bernoulli(1.0 - p), None)?;
    let noise = ew::DIV.call(&[Operand::T(noise), Operand::S(Scalar::Float(1.0 - p))], &[], None)?;
    ew::mul(x, &noise)
}

/// Dropout that keeps mean and variance for SELU networks (Klambauer et al. 2017).
pub fn alpha_dropout(x: &Tensor, p: f64, training: bool, feature: bool) -> Result<Tensor> {
    check_p(p)?;
    if !training || p == 0.0 || x.numel() == 0 {
        return Ok(x.clone());
    }
    if p == 1.0 {
        return ew::mul(x, &Tensor::zeros(&[], x.dtype(), Device::Cpu)?);
    }
    const ALPHA: f64 = 1.758_099_340_847_376_6;
    let noise = if feature {
        Tensor::empty(&feature_shape(x, true)?, x.dtype(), Device::Cpu)?
    } else {
        like(&x.detach(), None, None, None)?
    };
    fill(&noise, Draw::Bernoulli(1.0 - p), None)?;
    let a = 1.0 / ((ALPHA * ALPHA * p + 1.0) * (1.0 - p)).sqrt();
    let shift = ew::SUB.call(&[Operand::T(noise.clone()), Operand::S(Scalar::Int(1))], &[], None)?;
    let shift = ew::scale(&shift, ALPHA * a)?;
    let shift = ew::ADD.call(&[Operand::T(shift), Operand::S(Scalar::Float(ALPHA * a * p))], &[], None)?;
    ew::add(&ew::mul(x, &ew::scale(&noise, a)?)?, &shift)
}

fn maybe_inplace(x: &Tensor, r: Tensor, inplace: bool) -> Result<Ret> {
    if inplace && !Arc::ptr_eq(&x.0, &r.0) {
        super::inplace::assign(x, r)?;
        return Ok(Ret::Tensor(x.clone()));
    }
    Ok(Ret::Tensor(r))
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
        let t = Tensor::empty(&[n], Dtype::I64, device_of(a.device(4))?)?;
        if t.device() == Device::Cpu {
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
    r.op(
        "fm",
        "multinomial(Tensor self, int num_samples, bool replacement=False, *, Generator? generator=None) -> Tensor",
        "Indices drawn with given probabilities.",
        |a| multinomial(a.t(0), a.int(1), a.b(2), a.generator(3)).map(Ret::from),
    );
    r.op(
        "f",
        "poisson(Tensor self, Generator? generator=None) -> Tensor",
        "Poisson numbers with the rate given by each element.",
        |a| {
            float_only("poisson_cpu", a.t(0).dtype())?;
            let rates = copy::contiguous(&copy::to_dtype(&a.t(0).detach(), Dtype::F64)?)?;
            ensure!(
                rates.data::<f64>().iter().all(|v| *v >= 0.0),
                Runtime,
                "invalid Poisson rate, expected rate to be non-negative"
            );
            let out = rates.empty_like()?;
            with_generator(a.generator(1), |g| {
                for (o, r) in out.data_mut::<f64>().iter_mut().zip(rates.data::<f64>()) {
                    *o = poisson(*r, g);
                }
            });
            copy::to_dtype(&out, a.t(0).dtype()).map(Ret::from)
        },
    );
    r.op("f", "binomial(Tensor count, Tensor prob, Generator? generator=None) -> Tensor", "Binomial numbers.", |a| {
        float_only("binomial_cpu", a.t(0).dtype())?;
        let shape = crate::layout::broadcast(a.t(0).shape(), a.t(1).shape())?;
        let wide = |t: &Tensor| -> Result<Tensor> {
            copy::contiguous(&view::expand(&copy::to_dtype(&t.detach(), Dtype::F64)?, &shape)?)
        };
        let (n, p) = (wide(a.t(0))?, wide(a.t(1))?);
        ensure!(n.data::<f64>().iter().all(|v| (0.0..1e9).contains(v)), Runtime, "binomial: counts must lie in [0, 1e9)");
        let out = n.empty_like()?;
        with_generator(a.generator(2), |g| {
            for ((o, n), p) in out.data_mut::<f64>().iter_mut().zip(n.data::<f64>()).zip(p.data::<f64>()) {
                *o = if *p <= 0.5 { binomial(*n, *p, g) } else { *n - binomial(*n, 1.0 - *p, g) };
            }
        });
        copy::to_dtype(&out, a.t(0).dtype()).map(Ret::from)
    });
    r.op(
        "n",
        "dropout(Tensor self, float p=0.5, bool training=True, bool inplace=False) -> Tensor",
        "Zeroes elements with probability p and scales the others by 1 / (1 - p).",
        |a| maybe_inplace(a.t(0), dropout(a.t(0), a.f(1), a.b(2), false)?, a.b(3)),
    );
    r.op(
        "f",
        "dropout(Tensor self, float p, bool train) -> Tensor",
        "Zeroes elements with probability p and scales the others by 1 / (1 - p).",
        |a| dropout(a.t(0), a.f(1), a.b(2), false).map(Ret::from),
    );
    for schema in [
        "dropout1d(Tensor self, float p=0.5, bool training=True, bool inplace=False) -> Tensor",
        "dropout2d(Tensor self, float p=0.5, bool training=True, bool inplace=False) -> Tensor",
        "dropout3d(Tensor self, float p=0.5, bool training=True, bool inplace=False) -> Tensor",
    ] {
        r.op("n", schema, "Zeroes whole channels.", |a| {
            check_p(a.f(1))?;
            let x = a.t(0);
            // dropout1d and dropout3d take unbatched input as one batch.
            maybe_inplace(x, dropout(x, a.f(1), a.b(2), true)?, a.b(3))
        });
    }
    r.op("f", "feature_dropout(Tensor self, float p, bool train) -> Tensor", "Zeroes whole channels.", |a| {
        dropout(a.t(0), a.f(1), a.b(2), true).map(Ret::from)
    });
    r.op(
        "n",
        "alpha_dropout(Tensor self, float p=0.5, bool training=False, bool inplace=False) -> Tensor",
        "Dropout for SELU networks.",
        |a| maybe_inplace(a.t(0), alpha_dropout(a.t(0), a.f(1), a.b(2), false)?, a.b(3)),
    );
    r.op(
        "n",
        "feature_alpha_dropout(Tensor self, float p=0.5, bool training=False, bool inplace=False) -> Tensor",
        "alpha_dropout of whole channels.",
        |a| maybe_inplace(a.t(0), alpha_dropout(a.t(0), a.f(1), a.b(2), true)?, a.b(3)),
    );
    r.op("f", "alpha_dropout(Tensor self, float p, bool train) -> Tensor", "Dropout for SELU networks.", |a| {
        alpha_dropout(a.t(0), a.f(1), a.b(2), false).map(Ret::from)
    });
}

/// 1 with the probability given by each element.
fn bernoulli(p: &Tensor, dtype: Dtype, g: Option<&SharedGenerator>) -> Result<Tensor> {
    p.check_data("bernoulli")?;
    let single = p.dtype() != Dtype::F64;
    let wide = copy::contiguous(&copy::to_dtype(p, if single { Dtype::F32 } else { Dtype::F64 })?)?;
    let mut bits = vec![false; p.numel()];
    let fits = if single {
        wide.data::<f32>().iter().all(|v| (0.0..=1.0).contains(v))
    } else {
        wide.data::<f64>().iter().all(|v| (0.0..=1.0).contains(v))
    };
    ensure!(
        fits,
        Runtime,
        "Expected p_in >= 0 && p_in <= 1 to be true, but got false.  (Could this error message be improved?  If so, please report an enhancement request to PyTorch.)"
    );
    with_generator(g, |g| {
        if single {
            g.fill_bernoulli_f32(&mut bits, wide.data::<f32>());
        } else {
            g.fill_bernoulli_f64(&mut bits, wide.data::<f64>());
        }
    });
    let out = Tensor::empty(p.shape(), dtype, Device::Cpu)?;
    dispatch!(real "bernoulli", dtype, T => for (o, b) in out.data_mut::<T>().iter_mut().zip(bits) { *o = T::from_i64(b as i64); });
    Ok(out)
}
