//! Samples of distributions that need more than a fill: multinomial, bernoulli with tensors, Poisson, binomial.

use super::{device, float_only, with_generator};
use crate::device::Device;
use crate::dtype::{Dtype, Element};
use crate::error::Result;
use crate::gpu;
use crate::ops::{Registry, Ret, SharedGenerator, copy, view};
use crate::random::Generator;
use crate::tensor::Tensor;
use crate::{dispatch, ensure};

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
    if gpu::holds(p) {
        return device::multinomial(p, n as usize, replacement, g);
    }
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

/// 1 with the probability given by each element.
pub(super) fn bernoulli(p: &Tensor, dtype: Dtype, g: Option<&SharedGenerator>) -> Result<Tensor> {
    if gpu::holds(p) {
        return device::bernoulli(p, dtype, g);
    }
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

pub(super) fn register(r: &mut Registry) {
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
            if gpu::holds(a.t(0)) {
                return device::sample("random_poisson", &[a.t(0)], a.generator(1)).map(Ret::from);
            }
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
        if gpu::holds(a.t(0)) {
            let (n, p) = (view::expand(a.t(0), &shape)?, view::expand(a.t(1), &shape)?);
            return device::sample("random_binomial", &[&n, &p], a.generator(2)).map(Ret::from);
        }
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
}
