//! Optimiser steps and gradient clipping over whole parameter lists: one call, one walk over the elements.

use super::{Args, Registry, Ret, copy, inplace};
use crate::cpu::isa::level;
use crate::cpu::optim::{self as kernels, Adagrad, Adam, Adamax, Decay, Float, Job, NAdam, RAdam, RmsProp, Rule, Sgd};
use crate::cpu::threads::{SendPtr, parallel_pieces};
use crate::device::Device;
use crate::dtype::{Dtype, Element, Scalar};
use crate::error::Result;
use crate::gpu;
use crate::gpu::optim::{Job as GpuJob, OnGpu};
use crate::tensor::Tensor;
use crate::{bail, ensure};
use smallvec::SmallVec;

/// The tensors of a step, by parameter, and the options of the rule.
struct Step {
    params: Vec<Tensor>,
    grads: Vec<Tensor>,
    states: [Vec<Tensor>; 3],
    /// How many steps each parameter has taken, this one included; empty where the rule does not count.
    t: Vec<f64>,
    options: Vec<f64>,
}

impl Step {
    fn decay<T: Float>(&self) -> Decay<T> {
        let o = &self.options;
        let (lr, weight, decoupled) = (o[0], o[2], o[3] != 0.0);
        Decay {
            maximize: o[1] != 0.0,
            weight: T::of(if decoupled { 0.0 } else { weight }),
            shrink: T::of(if decoupled && weight != 0.0 { 1.0 - lr * weight } else { 1.0 }),
        }
    }

    /// Runs the rule that `make` gives for each parameter.
    fn drive<T: Float + Element, R: Rule<T>>(&self, make: impl Fn(usize) -> R) -> Result<()> {
        let of_type: SmallVec<[usize; 16]> =
            (0..self.params.len()).filter(|&i| (self.params[i].dtype() == Dtype::F64) == (T::DTYPE == Dtype::F64)).collect();
        let shared = self.shared(&of_type, R::STATES);
        if !shared {
            return self.drive_some(&of_type, shared, make);
        }
        of_type.iter().try_for_each(|&i| self.drive_some(&[i], shared, &make))
    }

    /// Whether some of the parameters, or what belongs to them, share memory that is written to.
    fn shared(&self, which: &[usize], states: usize) -> bool {
        let mut seen: Vec<(usize, bool)> = Vec::with_capacity(which.len() * 4);
        for &i in which {
            let id = |t: &Tensor| std::sync::Arc::as_ptr(t.storage()) as usize;
            seen.push((id(&self.grads[i]), false));
            seen.push((id(&self.params[i]), true));
            seen.extend(self.states[..states].iter().map(|s| (id(&s[i]), true)));
        }
        seen.sort_unstable();
        seen.windows(2).any(|w| w[0].0 == w[1].0 && (w[0].1 || w[1].1))
    }

    /// The rule that `make` gives for each parameter, by kernels that take many of them at once.
    fn drive_gpu<R: Rule<f32> + OnGpu>(&self, make: impl Fn(usize) -> R) -> Result<()> {
        let every: SmallVec<[usize; 16]> = (0..self.params.len()).collect();
        if self.shared(&every, R::STATES) {
            return every.iter().try_for_each(|&i| self.drive_gpu_some(&[i], &make));
        }
        self.drive_gpu_some(&every, make)
    }

    fn drive_gpu_some<R: Rule<f32> + OnGpu>(&self, which: &[usize], make: impl Fn(usize) -> R) -> Result<()> {
        let mut jobs = Vec::with_capacity(which.len());
        // Copies that kernels work on, and what they are written back to.
        let mut staged: Vec<(Tensor, Tensor)> = Vec::new();
        for &i in which {
            let (p, g) = (&self.params[i], &self.grads[i]);
            let states: SmallVec<[&Tensor; 3]> = self.states[..R::STATES].iter().map(|s| &s[i]).collect();
            let plain = !self.shared(&[i], R::STATES)
                && p.layout().is_dense()
                && states.iter().chain([&g]).all(|t| t.strides() == p.strides());
            let ready = |t: &Tensor| {
                if plain { Ok(t.detach()) } else { copy::clone(&t.detach(), Some(super::MemoryFormat::Contiguous)) }
            };
            let ready_states = states.iter().map(|s| ready(s)).collect::<Result<SmallVec<[Tensor; 3]>>>()?;
            let job = GpuJob { kernel: make(i).kernel(), param: ready(p)?, grad: ready(g)?, states: ready_states };
            if !plain {
                staged.push((p.clone(), job.param.clone()));
                staged.extend(states.iter().zip(&job.states).map(|(to, from)| ((*to).clone(), from.clone())));
            }
            jobs.push(job);
        }
        gpu::optim::run(&jobs)?;
        staged.iter().try_for_each(|(to, from)| copy::copy_raw(to, from))
    }

    fn drive_some<T: Float + Element, R: Rule<T>>(&self, which: &[usize], shared: bool, make: impl Fn(usize) -> R) -> Result<()> {
        let mut jobs = Vec::with_capacity(which.len());
        // Copies that the kernel works on, and where they go.
        let mut staged: Vec<(Tensor, &Tensor)> = Vec::new();
        // Contiguous gradients, kept alive.
        let mut kept: Vec<Tensor> = Vec::new();
        for &i in which {
            let (p, g) = (&self.params[i], &self.grads[i]);
            let states: SmallVec<[&Tensor; 3]> = self.states[..R::STATES].iter().map(|s| &s[i]).collect();
            let plain = !shared
                && p.dtype() == T::DTYPE
                && p.layout().is_dense()
                && states.iter().chain([&g]).all(|t| t.dtype() == T::DTYPE && t.strides() == p.strides());
            let mut to_write = |t: &'_ Tensor, at: usize| -> Result<SendPtr<T>> {
                if plain {
                    return Ok(SendPtr(t.ptr_mut() as *mut T));
                }
                let copied = copy::clone(&copy::to_dtype(&t.detach(), T::DTYPE)?, Some(super::MemoryFormat::Contiguous))?;
                let ptr = SendPtr(copied.ptr_mut() as *mut T);
                staged.push((copied, if at == 0 { p } else { &self.states[at - 1][i] }));
                Ok(ptr)
            };
            let pointer = to_write(p, 0)?;
            let mut s = [SendPtr(std::ptr::null_mut()); 3];
            for (k, t) in states.iter().enumerate() {
                s[k] = to_write(t, k + 1)?;
            }
            let g = if plain { g.clone() } else { copy::contiguous(&copy::to_dtype(&g.detach(), T::DTYPE)?)? };
            // Where everything is copied the gradient may be the memory that is written to: it is read before.
            jobs.push(Job { p: pointer, g: g.ptr() as *const T, s, n: p.numel(), rule: make(i) });
            kept.push(g);
        }
        // SAFETY: every pointer is to as many elements of a tensor's own memory as the job is long; nothing is shared, by
        // the check in `drive` or because everything written is a copy.
        unsafe { kernels::run(level(), &jobs) };
        staged.iter().try_for_each(|(from, to)| copy::copy_raw(to, from))
    }
}

/// The same expression for f32 and f64.
macro_rules! for_both {
    ($step:ident, $T:ident, $i:ident => $rule:expr) => {{
        {
            type $T = f32;
            if $step.params.first().is_some_and(gpu::holds) {
                $step.drive_gpu(|$i| $rule)?;
            } else {
                $step.drive::<f32, _>(|$i| $rule)?;
            }
        }
        if !$step.params.first().is_some_and(gpu::holds) {
            type $T = f64;
            $step.drive::<f64, _>(|$i| $rule)?;
        }
    }};
}

fn check(a: &Step, rule: &str) -> Result<()> {
    let n = a.params.len();
    ensure!(a.grads.len() == n, Runtime, "{rule}: {n} parameters, but {} gradients", a.grads.len());
    for (p, g) in a.params.iter().zip(&a.grads) {
        ensure!(
            p.shape() == g.shape(),
            Runtime,
            "{rule}: a parameter of shape {} has a gradient of shape {}",
            crate::layout::show(p.shape()),
            crate::layout::show(g.shape())
        );
        inplace::check_writable(p)?;
    }
    for (k, list) in a.states.iter().enumerate().filter(|(_, s)| !s.is_empty()) {
        let scalars = rule == "nadam" && k == 2;
        ensure!(list.len() == n, Runtime, "{rule}: {n} parameters, but {} state tensors", list.len());
        for (p, s) in a.params.iter().zip(list) {
            ensure!(
                if scalars { s.numel() == 1 } else { p.shape() == s.shape() },
                Runtime,
                "{rule}: a parameter of shape {} has a state of shape {}",
                crate::layout::show(p.shape()),
                crate::layout::show(s.shape())
            );
            inplace::check_writable(s)?;
        }
    }
    Ok(())
}

/// Adds one to each counter; answers the new values.
fn count(steps: &[Tensor]) -> Result<Vec<f64>> {
    let mut out = Vec::with_capacity(steps.len());
    for s in steps {
        out.push(add_to_scalar(s, |v| v + 1.0)?);
    }
    Ok(out)
}

/// Changes a 0-d state entry; answers what it holds then.
fn add_to_scalar(s: &Tensor, f: impl Fn(f64) -> f64) -> Result<f64> {
    let new = f(s.item()?.f64());
    match s.dtype() {
        Dtype::F32 => s.data_mut::<f32>()[0] = new as f32,
        Dtype::F64 => s.data_mut::<f64>()[0] = new,
        d => {
            bail!(Runtime, "the state entries of an optimizer that count have to be float32 or float64, got {}", d.scalar_name())
        }
    }
    s.storage().bump_version();
    Ok(s.item()?.f64())
}

/// One step of an optimiser over its parameters. Answers whether it could: complex tensors and those without memory are
/// for the caller. `options`: lr, maximize, weight_decay, decoupled, then what the rule takes.
fn optim_step(a: &Args) -> Result<bool> {
    let rule = a.s(0);
    let mut step = Step {
        params: a.ts(1),
        grads: a.ts(2),
        states: [a.ts(3), a.ts(4), a.ts(5)],
        t: Vec::new(),
        options: a.floats(7).unwrap_or(&[]).to_vec(),
    };
    let steps = a.ts(6);
    let device = step.params.first().map_or(Device::Cpu, Tensor::device);
    let on_gpu = matches!(device, Device::Gpu(_));
    // Numbers of a rule are tensors on the CPU.
    let counts = |t: &Tensor| t.dtype().is_float() && t.device() == Device::Cpu;
    let able = |t: &Tensor| t.dtype().is_float() && t.device() == device && !(on_gpu && t.dtype() == Dtype::F64);
    let lists = if rule == "nadam" { 2 } else { 3 };
    let all = || step.params.iter().chain(&step.grads).chain(step.states[..lists].iter().flatten());
    if !(on_gpu || device == Device::Cpu)
        || !all().all(able)
        || !step.states[lists..].iter().flatten().chain(&steps).all(|t| t.device() == Device::Cpu)
        || step.params.iter().zip(&step.grads).any(|(p, g)| p.dtype() != g.dtype())
    {
        return Ok(false);
    }
    check(&step, rule)?;
    ensure!(steps.is_empty() || steps.len() == step.params.len(), Runtime, "{rule}: one step counter for each parameter");
    ensure!(steps.iter().all(|s| s.numel() == 1 && counts(s)), Runtime, "{rule}: step counters have one element");
    step.t = count(&steps)?;
    let o = step.options.clone();
    let lr = o[0];
    match rule {
        // momentum, dampening, nesterov, first
        "sgd" if o[4] == 0.0 => for_both!(step, T, _i => Sgd::<T, false> {
            decay: step.decay(), momentum: 0.0, gain: 0.0, nesterov: false, first: false, lr: T::of(lr)
        }),
        "sgd" => for_both!(step, T, _i => Sgd::<T, true> {
            decay: step.decay(), momentum: T::of(o[4]), gain: T::of(1.0 - o[5]), nesterov: o[6] != 0.0, first: o[7] != 0.0, lr: T::of(lr)
        }),
        // beta1, beta2, eps, amsgrad
        "adam" => {
            macro_rules! adam {
                ($amsgrad:literal) => {
                    for_both!(step, T, i => Adam::<T, $amsgrad> {
                        decay: step.decay(),
                        weight1: T::of(1.0 - o[4]),
                        beta2: T::of(o[5]),
                        weight2: T::of(1.0 - o[5]),
                        step_size: T::of(lr / (1.0 - o[4].powf(step.t[i]))),
                        correction2: T::of((1.0 - o[5].powf(step.t[i])).sqrt()),
                        eps: T::of(o[6]),
                    })
                };
            }
            if o[7] != 0.0 { adam!(true) } else { adam!(false) }
        }
        // beta1, beta2, eps
        "adamax" => for_both!(step, T, i => Adamax::<T> {
            decay: step.decay(),
            weight1: T::of(1.0 - o[4]),
            beta2: T::of(o[5]),
            eps: T::of(o[6]),
            step_size: T::of(lr / (1.0 - o[4].powf(step.t[i]))),
        }),
        // beta1, beta2, eps, momentum_decay; the third state is the product of the momenta so far
        "nadam" => {
            let mut factors = Vec::with_capacity(step.t.len());
            for (t, product) in step.t.iter().zip(&step.states[2]) {
                let mu = |t: f64| o[4] * (1.0 - 0.5 * 0.96f64.powf(t * o[7]));
                let (now, next) = (mu(*t), mu(t + 1.0));
                let product = add_to_scalar(product, |p| p * now)?;
                factors.push((-lr * (1.0 - now) / (1.0 - product), -lr * next / (1.0 - product * next)));
            }
            for_both!(step, T, i => NAdam::<T> {
                decay: step.decay(),
                weight1: T::of(1.0 - o[4]),
                beta2: T::of(o[5]),
                weight2: T::of(1.0 - o[5]),
                correction2: T::of(1.0 - o[5].powf(step.t[i])),
                eps: T::of(o[6]),
                of_grad: T::of(factors[i].0),
                of_moment: T::of(factors[i].1),
            })
        }
        // beta1, beta2, eps
        "radam" => {
            let limit = 2.0 / (1.0 - o[5]) - 1.0;
            let rho = |t: f64| limit - 2.0 * t * o[5].powf(t) / (1.0 - o[5].powf(t));
            let rect = |r: f64| ((r - 4.0) * (r - 2.0) * limit / ((limit - 4.0) * (limit - 2.0) * r)).sqrt();
            for_both!(step, T, i => RAdam::<T> {
                decay: step.decay(),
                weight1: T::of(1.0 - o[4]),
                beta2: T::of(o[5]),
                weight2: T::of(1.0 - o[5]),
                correction1: T::of(1.0 - o[4].powf(step.t[i])),
                correction2: T::of((1.0 - o[5].powf(step.t[i])).sqrt()),
                lr: T::of(lr),
                eps: T::of(o[6]),
                adaptive: rho(step.t[i]) > 5.0,
                rect: T::of(rect(rho(step.t[i]))),
            })
        }
        // alpha, eps, momentum, centered
        "rmsprop" => {
            macro_rules! rmsprop {
                ($centered:literal, $momentum:literal) => {
                    for_both!(step, T, _i => RmsProp::<T, $centered, $momentum> {
                        decay: step.decay(),
                        alpha: T::of(o[4]),
                        weight: T::of(1.0 - o[4]),
                        eps: T::of(o[5]),
                        momentum: T::of(o[6]),
                        lr: T::of(lr),
                    })
                };
            }
            match (o[7] != 0.0, o[6] > 0.0) {
                (false, false) => rmsprop!(false, false),
                (false, true) => rmsprop!(false, true),
                (true, false) => rmsprop!(true, false),
                (true, true) => rmsprop!(true, true),
            }
        }
        // lr_decay, eps
        "adagrad" => for_both!(step, T, i => Adagrad::<T> {
            decay: step.decay(), lr: T::of(lr / (1.0 + (step.t[i] - 1.0) * o[4])), eps: T::of(o[5])
        }),
        _ => bail!(Runtime, "no optimizer rule {rule}"),
    }
    step.params.iter().chain(step.states.iter().flatten()).for_each(|t| t.storage().bump_version());
    Ok(true)
}

/// Whether the clipping kernels take the tensor as a block of float32.
fn is_block(t: &Tensor) -> bool {
    t.dtype() == Dtype::F32 && t.device() == Device::Cpu && t.layout().is_dense()
}

/// Whether the kernels of one GPU take all the tensors.
fn on_one_gpu(tensors: &[Tensor]) -> bool {
    let fits = |t: &Tensor| gpu::holds(t) && t.dtype() == Dtype::F32 && t.layout().is_dense();
    tensors.first().is_some_and(|first| tensors.iter().all(|t| fits(t) && t.device() == first.device()))
}

/// # Safety
/// `t` is a block, and nobody writes to it while the slice is in use.
unsafe fn block(t: &Tensor) -> &[f32] {
    // SAFETY: dense, so the elements are those from the first one on.
    if t.numel() == 0 { &[] } else { unsafe { std::slice::from_raw_parts(t.ptr() as *const f32, t.numel()) } }
}

/// Elements of one partial sum, and of a piece of a parallel region.
const SUM: usize = 1 << 14;

/// The 2-norm of all the tensors taken as one vector, in float64 until the end; `None` unless all are dense float32.
fn total_norm(tensors: &[Tensor]) -> Result<Option<Tensor>> {
    if on_one_gpu(tensors) {
        return gpu::optim::total_norm(tensors).map(Some);
    }
    if tensors.is_empty() || !tensors.iter().all(is_block) {
        return Ok(None);
    }
    let pieces = kernels::pieces(tensors.iter().map(Tensor::numel), SUM);
    // Addresses once, on this thread.
    // SAFETY: blocks, which stay unwritten during the call.
    let blocks: Vec<&[f32]> = tensors.iter().map(|t| unsafe { block(t) }).collect();
    let mut sums = vec![0f64; pieces.len()];
    let out = SendPtr(sums.as_mut_ptr());
    parallel_pieces(pieces.len(), |i| {
        let sum = pieces[i].iter().map(|&(t, start, end)| kernels::sum_squares(&blocks[t][start..end])).sum();
        // SAFETY: one element for each piece.
        unsafe { *out.get().add(i) = sum };
    });
    Ok(Some(Tensor::scalar(Scalar::Float(sums.iter().sum::<f64>().sqrt()), Dtype::F32)))
}

/// Multiplies all the tensors by `min(max_norm / (norm + 1e-6), 1)`; whether it did (see [`total_norm`]).
fn clip_to_norm(tensors: &[Tensor], max_norm: f64, norm: &Tensor) -> Result<bool> {
    if on_one_gpu(tensors) && norm.dtype() == Dtype::F32 && norm.numel() == 1 && norm.device() == tensors[0].device() {
        tensors.iter().try_for_each(inplace::check_writable)?;
        gpu::optim::clip(tensors, max_norm as f32, norm)?;
        tensors.iter().for_each(|t| t.storage().bump_version());
        return Ok(true);
    }
    if norm.dtype() != Dtype::F32 || norm.numel() != 1 || norm.device() != Device::Cpu || !tensors.iter().all(is_block) {
        return Ok(false);
    }
    let mut seen: Vec<_> = tensors.iter().map(|t| std::sync::Arc::as_ptr(t.storage())).collect();
    seen.sort_unstable();
    if seen.windows(2).any(|w| w[0] == w[1]) {
        return Ok(false);
    }
    tensors.iter().try_for_each(inplace::check_writable)?;
    let factor = max_norm as f32 / (norm.item()?.f64() as f32 + 1e-6);
    // NaN stays, as in clamp.
    let factor = if factor > 1.0 { 1.0 } else { factor };
    // A factor of one changes nothing.
    if factor != 1.0 {
        let pieces = kernels::pieces(tensors.iter().map(Tensor::numel), SUM);
        let to: Vec<SendPtr<f32>> = tensors.iter().map(|t| SendPtr(t.ptr_mut() as *mut f32)).collect();
        parallel_pieces(pieces.len(), |i| {
            for &(t, start, end) in &pieces[i] {
                // SAFETY: inside the tensor; tensors and pieces are disjoint.
                kernels::scale(unsafe { to[t].slice(start, end - start) }, factor);
            }
        });
    }
    tensors.iter().for_each(|t| t.storage().bump_version());
    Ok(true)
}

pub(super) fn register(r: &mut Registry) {
    r.op(
        "_",
        "_optim_step(str rule, Tensor[] params, Tensor[] grads, Tensor[] first, Tensor[] second, Tensor[] third, Tensor[] steps, float[] options) -> bool",
        "One step of an optimizer over a list of parameters, in place; whether it was made.",
        |a| optim_step(a).map(Ret::from),
    );
    r.op("_", "_grads_norm(Tensor[] tensors) -> Tensor", "The 2-norm of dense float32 tensors as one vector, or None.", |a| {
        Ok(total_norm(&a.ts(0))?.map_or(Ret::None, Ret::from))
    });
    r.op(
        "_",
        "_grads_clip(Tensor[] tensors, float max_norm, Tensor norm) -> bool",
        "Multiplies dense float32 tensors by min(max_norm / (norm + 1e-6), 1), in place; whether it did.",
        |a| clip_to_norm(&a.ts(0), a.f(1), a.t(2)).map(Ret::from),
    );
}
