//! Optimiser steps, and gradients clipped by their norm without waiting for it.

use super::{Item, flat, for_each};
use crate::cpu::optim::{Adagrad, Adam, Adamax, Decay, NAdam, RAdam, RmsProp, Sgd};
use crate::dtype::Dtype;
use crate::error::Result;
use crate::tensor::Tensor;
use smallvec::SmallVec;

/// A rule as a kernel: its name, its parameters after what all rules share, the choices of its text, and how many state
/// slots it has.
#[derive(PartialEq)]
pub struct Kernel {
    name: &'static str,
    decay: Decay<f32>,
    params: SmallVec<[u32; 12]>,
    choice: SmallVec<[(&'static str, &'static str); 2]>,
    slots: usize,
}

/// A rule that has a kernel.
pub trait OnGpu {
    fn kernel(&self) -> Kernel;
}

fn kernel(name: &'static str, decay: Decay<f32>, slots: usize, numbers: &[f32]) -> Kernel {
    Kernel { name, decay, params: numbers.iter().map(|v| v.to_bits()).collect(), choice: SmallVec::new(), slots }
}

impl Kernel {
    fn with(mut self, name: &'static str, on: bool) -> Kernel {
        self.choice.push((name, if on { "true" } else { "false" }));
        self
    }

    fn flag(mut self, on: bool) -> Kernel {
        self.params.push(u32::from(on));
        self
    }

    fn words(&self) -> SmallVec<[u32; 16]> {
        let d = self.decay;
        let mut words = SmallVec::from_slice(&[u32::from(d.maximize), d.weight.to_bits(), d.shrink.to_bits()]);
        words.extend_from_slice(&self.params);
        words
    }

    fn item<'a>(&self, j: &'a Job) -> Item<'a> {
        let mut tensors: SmallVec<[&Tensor; 6]> = SmallVec::from_slice(&[&j.param, &j.grad]);
        // The kernel does not touch the states that the rule does not have.
        tensors.extend((0..self.slots).map(|k| j.states.get(k).unwrap_or(&j.param)));
        Item { tensors, each: SmallVec::new(), n: j.param.numel() }
    }
}

/// A parameter with its gradient and states, all dense in one order.
pub struct Job {
    pub kernel: Kernel,
    pub param: Tensor,
    pub grad: Tensor,
    pub states: SmallVec<[Tensor; 3]>,
}

/// One step of every parameter; those with the same numbers go together. None writes what another one reads.
pub fn run(jobs: &[Job]) -> Result<()> {
    for same in jobs.chunk_by(|a, b| a.kernel == b.kernel && a.param.dtype() == b.param.dtype()) {
        let k = &same[0].kernel;
        let items: Vec<Item> = same.iter().map(|j| k.item(j)).collect();
        for_each(k.name, &items, &k.words(), &k.choice)?;
    }
    Ok(())
}

impl<const MOMENTUM: bool> OnGpu for Sgd<f32, MOMENTUM> {
    fn kernel(&self) -> Kernel {
        kernel("sgd", self.decay, 1, &[self.lr, self.momentum, self.gain])
            .flag(self.nesterov)
            .flag(self.first)
            .with("MOMENTUM", MOMENTUM)
    }
}

impl<const AMSGRAD: bool> OnGpu for Adam<f32, AMSGRAD> {
    fn kernel(&self) -> Kernel {
        let numbers = [self.weight1, self.beta2, self.weight2, self.step_size, self.correction2, self.eps];
        kernel("adam", self.decay, 3, &numbers).with("AMSGRAD", AMSGRAD)
    }
}

impl OnGpu for Adamax<f32> {
    fn kernel(&self) -> Kernel {
        kernel("adamax", self.decay, 2, &[self.weight1, self.beta2, self.eps, self.step_size])
    }
}

impl OnGpu for NAdam<f32> {
    fn kernel(&self) -> Kernel {
        let numbers = [self.weight1, self.beta2, self.weight2, self.correction2, self.eps, self.of_grad, self.of_moment];
        kernel("nadam", self.decay, 2, &numbers)
    }
}

impl OnGpu for RAdam<f32> {
    fn kernel(&self) -> Kernel {
        let numbers = [self.weight1, self.beta2, self.weight2, self.correction1, self.correction2, self.lr, self.eps];
        let mut k = kernel("radam", self.decay, 2, &numbers).flag(self.adaptive);
        k.params.push(self.rect.to_bits());
        k
    }
}

impl<const CENTERED: bool, const MOMENTUM: bool> OnGpu for RmsProp<f32, CENTERED, MOMENTUM> {
    fn kernel(&self) -> Kernel {
        let numbers = [self.alpha, self.weight, self.eps, self.momentum, self.lr];
        kernel("rmsprop", self.decay, 3, &numbers).with("CENTERED", CENTERED).with("MOMENTUM", MOMENTUM)
    }
}

impl OnGpu for Adagrad<f32> {
    fn kernel(&self) -> Kernel {
        kernel("adagrad", self.decay, 1, &[self.lr, self.eps])
    }
}

/// Elements that one workgroup adds up.
const CHUNK: usize = 1 << 13;

/// The 2-norm of dense tensors of one GPU as one vector, float32, of no dimensions.
pub fn total_norm(tensors: &[Tensor]) -> Result<Tensor> {
    let device = tensors[0].device();
    let count = |t: &Tensor| t.numel().div_ceil(CHUNK);
    let parts = Tensor::empty(&[tensors.iter().map(count).sum()], Dtype::F32, device)?;
    let mut at = 0;
    let mut part = |t: &Tensor| {
        at += count(t);
        flat(&parts, at - count(t), count(t))
    };
    let sums: Vec<Tensor> = tensors.iter().map(&mut part).collect::<Result<_>>()?;
    let items = tensors.iter().zip(&sums).map(|(t, y)| Item {
        tensors: SmallVec::from_slice(&[t, y]),
        each: SmallVec::from_slice(&[t.numel() as u32]),
        n: count(t),
    });
    for_each("squares", &items.collect::<Vec<_>>(), &[CHUNK as u32], &[])?;
    let out = Tensor::empty(&[], Dtype::F32, device)?;
    super::call("root_of_sum", &[&parts, &out], &[parts.numel() as u32], 1)?;
    Ok(out)
}

/// Multiplies dense tensors by `min(bound / (norm + 1e-6), 1)`.
pub fn clip(tensors: &[Tensor], bound: f32, norm: &Tensor) -> Result<()> {
    let item = |t| Item { tensors: SmallVec::from_slice(&[t, norm]), each: SmallVec::new(), n: t.numel() };
    for_each("clip", &tensors.iter().map(item).collect::<Vec<_>>(), &[bound.to_bits()], &[])
}
