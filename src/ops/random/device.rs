//! Random numbers on a GPU: its generators, and the draws as kernels.

use super::Draw;
use crate::device::Device;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::gpu::{self, random as kernels, random::Stream};
use crate::ops::elementwise as ew;
use crate::ops::reduce::{self, tools::*};
use crate::ops::scan::cumsum_along;
use crate::ops::{SharedGenerator, copy, view};
use crate::random::{Generator, os_seed};
use crate::tensor::Tensor;
use crate::{bail, ensure};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The default generators that there are, by GPU, and the seed for those to come.
struct Defaults {
    generators: BTreeMap<u16, SharedGenerator>,
    seed: Option<u64>,
}

static DEFAULTS: Mutex<Defaults> = Mutex::new(Defaults { generators: BTreeMap::new(), seed: None });

/// The generator that functions draw from for tensors of a GPU when none is given.
pub fn gpu_generator(index: u16) -> SharedGenerator {
    let mut d = DEFAULTS.lock();
    let seed = d.seed;
    let new = || Arc::new(Mutex::new(Generator::for_gpu(index, seed.unwrap_or_else(os_seed))));
    d.generators.entry(index).or_insert_with(new).clone()
}

/// The GPUs whose default generators have been used.
pub fn gpu_generators() -> Vec<u16> {
    DEFAULTS.lock().generators.keys().copied().collect()
}

/// Seeds the default generators of all GPUs. Does not look for any.
pub fn seed_gpus(seed: u64) {
    let mut d = DEFAULTS.lock();
    d.seed = Some(seed);
    d.generators.values().for_each(|g| g.lock().manual_seed(seed));
}

/// The next blocks of a generator, or of the default one, for tensors of a device.
fn take(g: Option<&SharedGenerator>, device: Device, blocks: u64) -> Result<Stream> {
    let Device::Gpu(index) = device else { bail!(Runtime, "a GPU's generator is for tensors on a GPU") };
    let g = g.cloned().unwrap_or_else(|| gpu_generator(index));
    let mut g = g.lock();
    check_device(&g, device)?;
    let (seed, at) = g.take_blocks(blocks);
    Ok(Stream { seed, at })
}

/// An error if a generator is for another device.
pub fn check_device(g: &Generator, device: Device) -> Result<()> {
    let own = g.gpu().map_or(Device::Cpu, Device::Gpu);
    ensure!(own == device, Runtime, "Expected a '{device}' device type for generator but found '{own}'");
    Ok(())
}

/// Fills a contiguous tensor.
pub(super) fn fill(t: &Tensor, draw: Draw, g: Option<&SharedGenerator>) -> Result<()> {
    let n = t.numel();
    let bits = |v: f64| (v as f32).to_bits();
    let float = |op, a, b| kernels::fill(t, take(g, t.device(), kernels::blocks(n))?, op, bits(a), bits(b));
    let int = |low, span| kernels::integers(t, take(g, t.device(), kernels::integer_blocks(n, low, span))?, low, span);
    match draw {
        Draw::Uniform(from, to) => float("uniform", from, to),
        Draw::Normal(mean, std) => float("normal", mean, std),
        Draw::LogNormal(mean, std) => float("log_normal", mean, std),
        Draw::Exponential(lambda) => float("exponential", 1.0 / lambda, 0.0),
        Draw::Geometric(p) => float("geometric", -1.0 / (-p).ln_1p(), 0.0),
        Draw::Cauchy(median, sigma) => float("cauchy", median, sigma),
        Draw::Bernoulli(p) => kernels::bernoulli(t, take(g, t.device(), kernels::blocks(n))?, p),
        Draw::Int(low, span) => int(low, span),
        Draw::Bits64 => int(0, 0),
        Draw::Unbounded(modulus, _) => int(0, modulus),
    }
}

/// A random permutation of `0 .. n - 1`: where random numbers of 64 bits go when they are sorted.
pub(super) fn randperm(n: usize, device: Device, g: Option<&SharedGenerator>) -> Result<Tensor> {
    let keys = Tensor::empty(&[n], Dtype::I64, device)?;
    fill(&keys, Draw::Bits64, g)?;
    copy::to_dtype(&gpu::sort::rows(&keys)?.1, Dtype::I64)
}

/// 1 with the probability given by each element. Probabilities are not checked, as that would have to wait for the GPU.
pub(super) fn bernoulli(p: &Tensor, dtype: Dtype, g: Option<&SharedGenerator>) -> Result<Tensor> {
    let p = copy::contiguous(&p.detach())?;
    let out = Tensor::empty(p.shape(), dtype, p.device())?;
    kernels::bernoulli_of(&p, &out, take(g, p.device(), kernels::blocks(p.numel()))?)?;
    Ok(out)
}

/// The smallest element.
pub(super) fn least(x: &Tensor) -> Result<f64> {
    if x.numel() == 0 {
        return Ok(f64::INFINITY);
    }
    let flat = view::reshape_to(&x.detach(), &[x.numel()])?;
    Ok(reduce::extreme_over(&flat, &[0], false, false)?.item()?.f64())
}

/// Indices drawn with the probabilities of each row. Waits for the GPU: the probabilities are checked.
pub(super) fn multinomial(p: &Tensor, n: usize, replacement: bool, g: Option<&SharedGenerator>) -> Result<Tensor> {
    if p.dtype() == Dtype::F64 {
        return Err(gpu::refuse("multinomial", p.dtype(), gpu::of(p)?));
    }
    let p = copy::contiguous(&copy::to_dtype(&p.detach(), Dtype::F32)?)?;
    let axis = p.ndim() - 1;
    let cats = p.shape()[axis];
    // 0 where a probability is a number and not negative.
    let odd = call2s(&ew::MUL, &p, 0.0)?;
    ensure!(least(&p)? >= 0.0 && least(&odd)? == 0.0, Runtime, "probability tensor contains either `inf`, `nan` or element < 0");
    let total = reduce::sum(&p, Some(&[axis as i64]), true, None)?;
    ensure!(cats > 0 && least(&total)? > 0.0, Runtime, "invalid multinomial distribution (sum of probabilities <= 0)");
    if !replacement || n == 1 {
        // The largest p / e with exponential e are a sample without replacement.
        let e = p.empty_like()?;
        fill(&e, Draw::Exponential(1.0), g)?;
        let keys = gpu::sort::keys(&ew::div(&p, &e)?, gpu::sort::Way::Down)?;
        let order = view::narrow(&gpu::sort::rows(&keys)?.1, axis as i64, 0, n as i64)?;
        return copy::contiguous(&copy::to_dtype(&order, Dtype::I64)?);
    }
    let sums = copy::contiguous(&cumsum_along(&p, axis, false)?)?;
    let u = Tensor::empty(&with_size(p.shape(), axis, n), Dtype::F32, p.device())?;
    fill(&u, Draw::Uniform(0.0, 1.0), g)?;
    let u = copy::contiguous(&ew::mul(&u, &view::narrow(&sums, axis as i64, cats as i64 - 1, 1)?)?)?;
    let at = gpu::sort::searchsorted(&sums, None, &u, (axis > 0).then_some(n), true)?;
    call2s(&ew::CLAMP_MAX, &at, cats as i64 - 1)
}

/// A number for each element of tensors of one shape by a kernel, in the dtype of the first one.
pub(super) fn sample(name: &'static str, inputs: &[&Tensor], g: Option<&SharedGenerator>) -> Result<Tensor> {
    let first = inputs[0];
    if let Some(t) = inputs.iter().find(|t| t.dtype() == Dtype::F64) {
        return Err(gpu::refuse(crate::ops::current(), t.dtype(), gpu::of(t)?));
    }
    let wide = |t: &&Tensor| copy::contiguous(&copy::to_dtype(&t.detach(), Dtype::F32)?);
    let wide: Vec<Tensor> = inputs.iter().map(wide).collect::<Result<_>>()?;
    let s = take(g, first.device(), first.numel() as u64)?;
    copy::to_dtype(&kernels::sample(name, &wide.iter().collect::<Vec<_>>(), s)?, first.dtype())
}
