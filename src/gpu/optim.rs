//! Optimiser steps, and gradients clipped by their norm without waiting for it.

use super::Call;
use crate::cpu::optim::{Adagrad, Adam, Adamax, Decay, NAdam, RAdam, RmsProp, Sgd};
use crate::dtype::Dtype;
use crate::error::Result;
use crate::layout::Layout;
use crate::tensor::Tensor;
use smallvec::SmallVec;

/// A rule as a kernel: its name, its parameters after what all rules share, the choices of its text, and how many state
/// slots it has.
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

    /// One step of a parameter; all tensors are dense in one order.
    pub fn run(&self, v: &Tensor, g: &Tensor, states: &[Tensor]) -> Result<()> {
        let d = self.decay;
        let mut params: SmallVec<[u32; 16]> =
            SmallVec::from_slice(&[u32::from(d.maximize), d.weight.to_bits(), d.shrink.to_bits()]);
        params.extend_from_slice(&self.params);
        let mut tensors: SmallVec<[&Tensor; 5]> = SmallVec::from_slice(&[v, g]);
        // The kernel does not touch the states that the rule does not have.
        tensors.extend((0..self.slots).map(|k| states.get(k).unwrap_or(v)));
        Call { name: self.name, tensors: &tensors, params: &params, choice: &self.choice, n: v.numel() }.run()
    }
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

/// Pieces of a dense tensor that a kernel can bind, as flat tensors.
fn pieces(t: &Tensor) -> Result<Vec<Tensor>> {
    let (n, most) = (t.numel(), super::of(t)?.info().max_binding / t.dtype().size() / 2);
    (0..n.div_ceil(most))
        .map(|k| Ok(t.detach().alias(Layout::strided(&[most.min(n - k * most)], &[1], t.layout().offset + k * most)?)))
        .collect()
}

/// The 2-norm of dense tensors of one GPU as one vector, float32, of no dimensions.
pub fn total_norm(tensors: &[Tensor]) -> Result<Tensor> {
    let mut all = Vec::with_capacity(tensors.len());
    for t in tensors {
        all.extend(pieces(t)?);
    }
    let count = |t: &Tensor| t.numel().div_ceil(CHUNK);
    let device = tensors[0].device();
    let total = all.iter().map(count).sum::<usize>();
    let parts = Tensor::empty(&[total], Dtype::F32, device)?;
    let mut first = 0;
    for t in &all {
        super::call("squares", &[t, &parts], &[t.numel() as u32, CHUNK as u32, first as u32], count(t))?;
        first += count(t);
    }
    let out = Tensor::empty(&[], Dtype::F32, device)?;
    super::call("root_of_sum", &[&parts, &out], &[total as u32], 1)?;
    Ok(out)
}

/// Multiplies dense tensors by `min(bound / (norm + 1e-6), 1)`.
pub fn clip(tensors: &[Tensor], bound: f32, norm: &Tensor) -> Result<()> {
    for t in tensors {
        for piece in pieces(t)? {
            super::call("clip", &[&piece, norm], &[bound.to_bits()], piece.numel())?;
        }
    }
    Ok(())
}
