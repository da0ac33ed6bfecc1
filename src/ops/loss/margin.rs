//! Margin losses of class scores.

use super::{Reduction, answer, classes, finish};
use crate::autograd::{record, save};
use crate::cpu::float::Float;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::gpu;
use crate::layout::{Dims, show};
use crate::ops::norm::num::{dense, dense_as};
use crate::ops::{Registry, copy, view};
use crate::tensor::Tensor;
use crate::{bail, dispatch, ensure};
use smallvec::smallvec;

/// Samples and classes: `[C]` is one sample, and a number one sample of one class.
fn samples(x: &Tensor) -> Result<(usize, usize)> {
    ensure!(
        x.ndim() <= 2 && (x.ndim() == 0 || x.shape()[x.ndim() - 1] > 0),
        Runtime,
        "Expected non-empty vector or matrix with optional 0-dim batch size, but got: {}",
        show(x.shape())
    );
    Ok((if x.ndim() == 2 { x.shape()[0] } else { 1 }, x.shape().last().copied().unwrap_or(1)))
}

fn long_target(target: &Tensor) -> Result<Tensor> {
    ensure!(target.dtype() == Dtype::I64, Runtime, "expected scalar type Long but found {}", target.dtype().scalar_name());
    target.check_memory("margin loss")?;
    classes(target)
}

/// Losses of samples from scores, with their gradients; `f` gets sample, scores and, for the gradient, where
/// it goes and the factor.
#[derive(Clone)]
struct Margin {
    kind: Kind,
    target: Tensor,
    n: usize,
    c: usize,
    on_gpu: Option<OnGpu>,
}

/// What the kernels of a GPU need of the target.
#[derive(Clone)]
enum OnGpu {
    Classes(gpu::loss::Targets),
    Labels(Tensor),
}

#[derive(Clone)]
enum Kind {
    Multi { squared: bool, margin: f64, weight: Option<Tensor> },
    Labels,
}

impl Margin {
    fn sample<T: Float>(&self, i: usize, x: &[T], mut grad: Option<(&mut [T], T)>) -> T {
        let c = T::of(self.c as f64);
        let t = self.target.data::<i64>();
        let mut loss = T::ZERO;
        match &self.kind {
            Kind::Multi { squared, margin, weight } => {
                let y = t[i] as usize;
                let w = weight.as_ref().map_or(T::ONE, |w| w.data::<T>()[y]);
                for j in (0..self.c).filter(|&j| j != y) {
                    let z = T::of(*margin) - x[y] + x[j];
                    if z > T::ZERO {
                        loss += if *squared { z * z * w } else { z * w };
                        if let Some((d, g)) = &mut grad {
                            let v = (if *squared { (z + z) * w } else { w }) * *g / c;
                            d[j] += v;
                            d[y] = d[y] - v;
                        }
                    }
                }
            }
            Kind::Labels => {
                let row = &t[i * self.c..(i + 1) * self.c];
                let labels = &row[..row.iter().position(|&v| v < 0).unwrap_or(self.c)];
                let mut is_label = vec![false; self.c];
                labels.iter().for_each(|&l| is_label[l as usize] = true);
                for &l in labels {
                    for j in (0..self.c).filter(|&j| !is_label[j]) {
                        let z = T::ONE - x[l as usize] + x[j];
                        if z > T::ZERO {
                            loss += z;
                            if let Some((d, g)) = &mut grad {
                                let v = *g / c;
                                d[j] += v;
                                d[l as usize] = d[l as usize] - v;
                            }
                        }
                    }
                }
            }
        }
        loss / c
    }

    /// Whether the hinge is squared, and its margin.
    fn hinge(&self) -> (bool, f64) {
        match self.kind {
            Kind::Multi { squared, margin, .. } => (squared, margin),
            Kind::Labels => (false, 1.0),
        }
    }

    fn losses(&self, x: &Tensor) -> Result<Tensor> {
        let (squared, margin) = self.hinge();
        match &self.on_gpu {
            Some(OnGpu::Classes(t)) => return gpu::loss::multi_margin(x, t, self.c, margin, squared),
            Some(OnGpu::Labels(counts)) => return gpu::loss::multilabel_margin(x, counts, self.c),
            None => {}
        }
        let from = dense(x)?;
        let out = Tensor::empty(&[self.n], from.dtype(), x.device())?;
        dispatch!(float "margin_loss", from.dtype(), T => {
            for (i, o) in out.data_mut::<T>().iter_mut().enumerate() {
                *o = self.sample(i, &from.data::<T>()[i * self.c..(i + 1) * self.c], None);
            }
        });
        copy::to_dtype(&out, x.dtype())
    }

    fn gradient(&self, x: &Tensor, g: &Tensor) -> Result<Tensor> {
        let (squared, margin) = self.hinge();
        match &self.on_gpu {
            Some(OnGpu::Classes(t)) => return gpu::loss::multi_margin_backward(x, g, t, self.c, margin, squared),
            Some(OnGpu::Labels(counts)) => return gpu::loss::multilabel_margin_backward(x, g, counts, self.c),
            None => {}
        }
        let (from, g) = (dense(x)?, dense(g)?);
        let out = Tensor::zeros(x.shape(), from.dtype(), x.device())?;
        dispatch!(float "margin_loss_backward", from.dtype(), T => {
            for (i, d) in out.data_mut::<T>().chunks_exact_mut(self.c).enumerate() {
                self.sample(i, &from.data::<T>()[i * self.c..(i + 1) * self.c], Some((d, g.data::<T>()[i])));
            }
        });
        copy::to_dtype(&out, x.dtype())
    }

    /// The losses of the samples, reduced. Differentiable once.
    fn run(self, x: &Tensor, shape: Dims, red: Reduction, name: &'static str) -> Result<Tensor> {
        let out = self.losses(x)?;
        let (xs, ts) = (save(x), save(&self.target));
        let out = record(name, &[x], out, move |ctx, g| {
            ts.get(ctx)?;
            let x = xs.get(ctx)?;
            let d = self.gradient(&x, g)?;
            Ok(smallvec![Some(record("NotImplemented", &[&x, g], d, move |_, _| {
                bail!(Runtime, "derivative for {name} is not implemented twice")
            }))])
        });
        let out = if red == Reduction::None { view::reshape_to(&out, &shape)? } else { out };
        finish(out, red, name)
    }
}

/// The sum over the other classes of `max(0, margin - x[target] + x[j])^p`, divided by the number of classes.
pub fn multi_margin_loss(
    x: &Tensor,
    target: &Tensor,
    p: i64,
    margin: f64,
    weight: Option<&Tensor>,
    red: Reduction,
) -> Result<Tensor> {
    ensure!(p == 1 || p == 2, Value, "only p == 1 and p == 2 supported");
    ensure!(weight.is_none_or(|w| w.ndim() == 1), Value, "weight must be one-dimensional");
    let (n, c) = samples(x)?;
    ensure!(
        target.ndim() <= 1 && target.numel() == n,
        Runtime,
        "multi_margin_loss: target tensor should be 1-D with size equal to the number of input samples (batch size). Expected target size [{n}], but got {}. Input has shape {}.",
        show(target.shape()),
        show(x.shape())
    );
    if let Some(w) = weight {
        ensure!(w.numel() == c, Runtime, "inconsistent weight size, expected {c} but got {}", show(w.shape()));
    }
    ensure!(x.dtype().is_float(), NotImplemented, "\"multi_margin_loss\" not implemented for '{}'", x.dtype().scalar_name());
    x.check_memory("multi_margin_loss")?;
    let t = long_target(target)?;
    if gpu::holds(x) {
        let targets = gpu::loss::Targets::new(&t, weight, i64::MIN, c, "target out of range: {}")?;
        let kind = Kind::Multi { squared: p == 2, margin, weight: None };
        let m = Margin { kind, target: t, n, c, on_gpu: Some(OnGpu::Classes(targets)) };
        return m.run(x, target.dims(), red, "MultiMarginLossBackward0");
    }
    ensure!(t.data::<i64>().iter().all(|&v| (0..c as i64).contains(&v)), Runtime, "target out of range");
    let weight = dense_as(weight, x.dtype().compute())?;
    let m = Margin { kind: Kind::Multi { squared: p == 2, margin, weight }, target: t, n, c, on_gpu: None };
    m.run(x, target.dims(), red, "MultiMarginLossBackward0")
}

/// For every label and every other class `max(0, 1 - x[label] + x[j])`, divided by the number of classes.
/// The labels of a sample end with the first -1.
pub fn multilabel_margin_loss(x: &Tensor, target: &Tensor, red: Reduction) -> Result<Tensor> {
    let (n, c) = samples(x)?;
    let fits = target.shape() == x.shape() || (x.ndim() < 2 && target.ndim() < 2 && target.numel() == c);
    ensure!(fits, Runtime, "inconsistent target size: {} for input of size: {}", show(target.shape()), show(x.shape()));
    ensure!(x.dtype().is_float(), NotImplemented, "\"multilabel_margin_loss\" not implemented for '{}'", x.dtype().scalar_name());
    x.check_memory("multilabel_margin_loss")?;
    let t = long_target(target)?;
    let on_gpu = if gpu::holds(x) {
        Some(OnGpu::Labels(gpu::loss::label_counts(&t, c, "argument #2 'target' is out of range: {}")?))
    } else {
        None
    };
    let fits = |t: &Tensor| t.data::<i64>().iter().all(|&v| (-1..c as i64).contains(&v));
    ensure!(on_gpu.is_some() || fits(&t), Runtime, "argument #2 'target' is out of range");
    let shape: Dims = if x.ndim() == 2 { [n].into() } else { Dims::new() };
    Margin { kind: Kind::Labels, target: t, n, c, on_gpu }.run(x, shape, red, "MultilabelMarginLossBackward0")
}

pub(super) fn register(r: &mut Registry) {
    r.op(
        "n",
        "multi_margin_loss(Tensor self, Tensor target, int p=1, float margin=1.0, Tensor? weight=None, bool? size_average=None, bool? reduce=None, str reduction='mean') -> Tensor",
        "The hinge loss of class scores.",
        |a| answer(multi_margin_loss(a.t(0), a.t(1), a.int(2), a.f(3), a.ot(4), Reduction::legacy(a, 5, 6, 7)?)),
    );
    r.op(
        "n",
        "multilabel_margin_loss(Tensor self, Tensor target, bool? size_average=None, bool? reduce=None, str reduction='mean') -> Tensor",
        "The hinge loss of class scores with several labels.",
        |a| answer(multilabel_margin_loss(a.t(0), a.t(1), Reduction::legacy(a, 2, 3, 4)?)),
    );
}
