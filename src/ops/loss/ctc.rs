//! Connectionist temporal classification (Graves et al. 2006), in the space of logarithms.

use super::{Reduction, answer, finish};
use crate::autograd::{record, save, save_output};
use crate::cpu::float::Float;
use crate::device::Device;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::expr::Operand;
use crate::gpu;
use crate::ops::elementwise::{EQ, WHERE, div};
use crate::ops::norm::num::dense;
use crate::ops::{Args, Registry, copy, view};
use crate::tensor::Tensor;
use crate::{bail, dispatch, ensure};
use smallvec::smallvec;

/// What the recursions need besides the probabilities; all checked.
#[derive(Clone)]
struct Ctc {
    /// The target of every sample.
    targets: Vec<Vec<usize>>,
    /// How many steps of every sample count.
    lengths: Vec<usize>,
    blank: usize,
    steps: usize,
    classes: usize,
    zero_infinity: bool,
}

fn exp<T: Float>(x: T) -> T {
    T::of(x.to_f64().exp())
}

fn ln<T: Float>(x: T) -> T {
    T::of(x.to_f64().ln())
}

fn log_add<T: Float>(a: T, b: T) -> T {
    let (high, low) = if a > b { (a, b) } else { (b, a) };
    if low == T::LOWEST { high } else { high + ln(T::ONE + exp(low - high)) }
}

impl Ctc {
    /// The class at position `s` of the target with blanks around every label.
    fn label(&self, i: usize, s: usize) -> usize {
        if s % 2 == 0 { self.blank } else { self.targets[i][s / 2] }
    }

    /// Whether position `s` may follow `s - 2` without the blank between.
    fn skips(&self, i: usize, s: usize) -> bool {
        s % 2 == 1 && s >= 2 && self.label(i, s) != self.label(i, s - 2)
    }

    fn at(&self, t: usize, i: usize, class: usize) -> usize {
        (t * self.targets.len() + i) * self.classes + class
    }

    /// For every step and position, the logarithm of the probability of the paths that lead there.
    fn alpha<T: Float>(&self, i: usize, p: &[T]) -> Vec<T> {
        let n = 2 * self.targets[i].len() + 1;
        let mut a = vec![T::LOWEST; self.lengths[i] * n];
        for t in 0..self.lengths[i] {
            for s in 0..n {
                let here = p[self.at(t, i, self.label(i, s))];
                a[t * n + s] = if t == 0 {
                    if s < 2 { here } else { T::LOWEST }
                } else {
                    let before = &a[(t - 1) * n..t * n];
                    let mut sum = before[s];
                    if s >= 1 {
                        sum = log_add(sum, before[s - 1]);
                    }
                    if self.skips(i, s) {
                        sum = log_add(sum, before[s - 2]);
                    }
                    sum + here
                };
            }
        }
        a
    }

    /// The same for the paths from there to the end, the step itself included.
    fn beta<T: Float>(&self, i: usize, p: &[T]) -> Vec<T> {
        let n = 2 * self.targets[i].len() + 1;
        let len = self.lengths[i];
        let mut b = vec![T::LOWEST; len * n];
        for t in (0..len).rev() {
            for s in 0..n {
                let here = p[self.at(t, i, self.label(i, s))];
                b[t * n + s] = if t + 1 == len {
                    if s + 2 >= n { here } else { T::LOWEST }
                } else {
                    let after = &b[(t + 1) * n..(t + 2) * n];
                    let mut sum = after[s];
                    if s + 1 < n {
                        sum = log_add(sum, after[s + 1]);
                    }
                    if s + 2 < n && self.skips(i, s + 2) {
                        sum = log_add(sum, after[s + 2]);
                    }
                    sum + here
                };
            }
        }
        b
    }

    fn loss<T: Float>(&self, i: usize, p: &[T]) -> T {
        let n = 2 * self.targets[i].len() + 1;
        if self.lengths[i] == 0 {
            return if n == 1 { -T::ZERO } else { -T::LOWEST };
        }
        let a = self.alpha(i, p);
        let last = &a[(self.lengths[i] - 1) * n..];
        -(if n == 1 { last[0] } else { log_add(last[n - 1], last[n - 2]) })
    }

    /// As PyTorch's: that of the probabilities' logarithms after a log-softmax.
    fn gradient<T: Float>(&self, i: usize, p: &[T], loss: T, g: T, out: &mut [T]) {
        if self.zero_infinity && loss == -T::LOWEST {
            return;
        }
        let n = 2 * self.targets[i].len() + 1;
        let (a, b) = (self.alpha(i, p), self.beta(i, p));
        let mut sums = vec![T::LOWEST; self.classes];
        for t in 0..self.lengths[i] {
            sums.fill(T::LOWEST);
            for s in 0..n {
                let l = self.label(i, s);
                sums[l] = log_add(sums[l], a[t * n + s] + b[t * n + s]);
            }
            for (class, &sum) in sums.iter().enumerate() {
                let lp = p[self.at(t, i, class)];
                out[self.at(t, i, class)] = (exp(lp) - exp(sum + loss - lp)) * g;
            }
        }
    }
}

impl Ctc {
    /// The losses of all samples.
    fn losses(&self, p: &Tensor) -> Result<Tensor> {
        let from = dense(p)?;
        let out = Tensor::empty(&[self.targets.len()], p.dtype(), p.device())?;
        dispatch!(float "ctc_loss_cpu", p.dtype(), T => {
            for (i, o) in out.data_mut::<T>().iter_mut().enumerate() {
                *o = self.loss(i, from.data::<T>());
            }
        });
        Ok(out)
    }

    /// The gradient of the input from the losses and their gradients.
    fn gradients(&self, p: &Tensor, loss: &Tensor, g: &Tensor) -> Result<Tensor> {
        let (from, gd) = (dense(p)?, dense(g)?);
        let out = Tensor::zeros(&[self.steps, self.targets.len(), self.classes], p.dtype(), p.device())?;
        dispatch!(float "ctc_loss_cpu", p.dtype(), T => {
            for i in 0..self.targets.len() {
                self.gradient(i, from.data::<T>(), loss.data::<T>()[i], gd.data::<T>()[i], out.data_mut::<T>());
            }
        });
        Ok(out)
    }
}

fn whole(name: &str, t: &Tensor, n: usize) -> Result<Vec<i64>> {
    ensure!(t.dtype().is_integral() && t.dtype() != Dtype::Bool, Runtime, "{name} must be integral");
    ensure!(t.ndim() <= 1 && t.numel() == n, Runtime, "{name} must be of size batch_size");
    Ok(numbers(t)?.data::<i64>().to_vec())
}

/// Whole numbers, where the CPU can read them.
fn numbers(t: &Tensor) -> Result<Tensor> {
    t.check_memory("ctc_loss")?;
    let t = copy::to_device(&t.detach(), Device::Cpu)?;
    copy::contiguous(&copy::to_dtype(&t, Dtype::I64)?)
}

const CHECKING: &str = "(while checking arguments for ctc_loss_allocate_outputs)";

fn prepare(
    p: &Tensor,
    targets: &Tensor,
    input_lengths: &Tensor,
    target_lengths: &Tensor,
    blank: i64,
    zero_infinity: bool,
) -> Result<Ctc> {
    let (steps, n, classes) = (p.shape()[0], p.shape()[1], p.shape()[2]);
    ensure!((0..classes as i64).contains(&blank), Runtime, "blank must be in label range");
    let lengths = whole("input_lengths", input_lengths, n)?;
    let sizes = whole("target_lengths", target_lengths, n)?;
    ensure!(!targets.dtype().is_complex(), Runtime, "targets must be integral");
    ensure!((1..=2).contains(&targets.ndim()), Runtime, "targets must have 1 or 2 dimensions, got {}", targets.ndim());
    let all = numbers(targets)?;
    if let Some(&bad) = sizes.iter().find(|&&v| v < 0) {
        bail!(Runtime, "Expected target_lengths to have value at least 0, but got value {bad} {CHECKING}");
    }
    let total = sizes.iter().fold(0i64, |a, &b| a.saturating_add(b));
    let longest = sizes.iter().copied().max().unwrap_or(0);
    if targets.ndim() == 1 {
        ensure!(
            total == all.numel() as i64,
            Runtime,
            "Expected tensor to have size {total} at dimension 0, but got size {} for argument #2 'targets' {CHECKING}",
            all.numel()
        );
    } else {
        ensure!(
            all.shape()[0] == n,
            Runtime,
            "Expected tensor to have size {n} at dimension 0, but got size {} for argument #2 'targets' {CHECKING}",
            all.shape()[0]
        );
        ensure!(
            longest <= all.shape()[1] as i64,
            Runtime,
            "Expected tensor to have size at least {longest} at dimension 1, but got size {} for argument #2 'targets' {CHECKING}",
            all.shape()[1]
        );
    }
    if let Some(&bad) = lengths.iter().find(|&&v| v < 0) {
        bail!(Runtime, "Expected input_lengths to have value at least 0, but got value {bad} {CHECKING}");
    }
    if let Some(&bad) = lengths.iter().find(|&&v| v > steps as i64) {
        bail!(Runtime, "Expected input_lengths to have value at most {steps}, but got value {bad} {CHECKING}");
    }
    let data = all.data::<i64>();
    let mut start = 0;
    let mut labels = Vec::with_capacity(n);
    for (i, &len) in sizes.iter().enumerate() {
        let from = if targets.ndim() == 1 { start } else { i * all.shape()[1] };
        let part = &data[from..from + len as usize];
        start += len as usize;
        if let Some(bad) = part.iter().find(|&&v| !(0..classes as i64).contains(&v)) {
            bail!(Runtime, "Expected targets to be classes from 0 to {}, but got value {bad}", classes as i64 - 1);
        }
        labels.push(part.iter().map(|&v| v as usize).collect());
    }
    // The tables of one sample; not having the memory is an error, not the end of the process.
    let table = lengths
        .iter()
        .zip(&labels)
        .map(|(&t, l): (_, &Vec<usize>)| (t as usize).saturating_mul(2 * l.len() + 1))
        .max()
        .unwrap_or(0);
    ensure!(Vec::<[f64; 2]>::new().try_reserve_exact(table).is_ok(), Memory, "ctc_loss: no memory for tables of {table} numbers");
    Ok(Ctc {
        targets: labels,
        lengths: lengths.iter().map(|&v| v as usize).collect(),
        blank: blank as usize,
        steps,
        classes,
        zero_infinity,
    })
}

/// The negative log likelihood of the target sequences. Differentiable once.
#[allow(clippy::too_many_arguments)]
pub fn ctc_loss(
    p: &Tensor,
    targets: &Tensor,
    input_lengths: &Tensor,
    target_lengths: &Tensor,
    blank: i64,
    red: Reduction,
    zero_infinity: bool,
) -> Result<Tensor> {
    ensure!((2..=3).contains(&p.ndim()), Runtime, "log_probs must have 2 or 3 dimensions, got {}", p.ndim());
    ensure!(p.numel() > 0, Runtime, "log_probs tensor must not be empty");
    ensure!(
        matches!(p.dtype(), Dtype::F32 | Dtype::F64),
        NotImplemented,
        "\"ctc_loss_cpu\" not implemented for '{}'",
        p.dtype().scalar_name()
    );
    p.check_memory("ctc_loss")?;
    let batched = p.ndim() == 3;
    let p3 = if batched { p.clone() } else { view::unsqueeze(p, 1)? };
    let targets = if batched || targets.ndim() != 1 { targets.clone() } else { view::unsqueeze(targets, 0)? };
    let c = prepare(&p3, &targets, input_lengths, target_lengths, blank, zero_infinity)?;
    let n = p3.shape()[1];
    let on_gpu = if gpu::holds(&p3) { Some(gpu::loss::Ctc::new(&p3, &c.targets, &c.lengths, c.blank)?) } else { None };
    let out = match &on_gpu {
        Some(g) => g.losses(&p3)?,
        None => c.losses(&p3)?,
    };
    let sizes: Vec<f64> = c.targets.iter().map(|t| t.len().max(1) as f64).collect();
    let (ps, losses) = (save(&p3), save_output(&out, 0));
    let loss = record("CtcLossBackward0", &[&p3], out, move |ctx, g| {
        let (p, loss) = (ps.get(ctx)?, losses.get(ctx)?);
        let out = match &on_gpu {
            Some(k) => k.gradient(&p, &loss, g, c.zero_infinity)?,
            None => c.gradients(&p, &loss, g)?,
        };
        Ok(smallvec![Some(record("NotImplemented", &[&p, g], out, |_, _| {
            bail!(Runtime, "the derivative for '_ctc_loss_backward' is not implemented.")
        }))])
    });
    let loss = if zero_infinity {
        let infinite = EQ.call(&[Operand::T(loss.clone()), Operand::S(f64::INFINITY.into())], &[], None)?;
        WHERE.call(&[Operand::T(infinite), Operand::S(0.0.into()), Operand::T(loss)], &[], None)?
    } else {
        loss
    };
    match red {
        Reduction::Mean => {
            let sizes = copy::to_device(&copy::to_dtype(&Tensor::from_slice(&sizes, &[n])?, p.dtype())?, p.device())?;
            finish(div(&loss, &sizes)?, red, "MeanBackward0")
        }
        Reduction::None if !batched => view::reshape_to(&loss, &[]),
        _ => finish(loss, red, "SumBackward0"),
    }
}

fn list(a: &Args, i: usize) -> Result<Tensor> {
    match a.ot(i) {
        Some(t) => Ok(t.clone()),
        None => Tensor::from_slice(a.ints(i), &[a.ints(i).len()]),
    }
}

fn run(a: &Args, red: Reduction) -> Result<Tensor> {
    ctc_loss(a.t(0), a.t(1), &list(a, 2)?, &list(a, 3)?, a.int(4), red, a.b(6))
}

pub(super) fn register(r: &mut Registry) {
    for schema in [
        "ctc_loss(Tensor log_probs, Tensor targets, Tensor input_lengths, Tensor target_lengths, int blank=0, str reduction='mean', bool zero_infinity=False) -> Tensor",
        "ctc_loss(Tensor log_probs, Tensor targets, int[] input_lengths, int[] target_lengths, int blank=0, str reduction='mean', bool zero_infinity=False) -> Tensor",
    ] {
        r.op("n", schema, "Connectionist temporal classification.", |a| answer(run(a, Reduction::parse(a.s(5))?)));
    }
    for schema in [
        "ctc_loss(Tensor log_probs, Tensor targets, Tensor input_lengths, Tensor target_lengths, int blank=0, int reduction=1, bool zero_infinity=False) -> Tensor",
        "ctc_loss(Tensor log_probs, Tensor targets, int[] input_lengths, int[] target_lengths, int blank=0, int reduction=1, bool zero_infinity=False) -> Tensor",
    ] {
        r.op("f", schema, "Connectionist temporal classification.", |a| answer(run(a, Reduction::of_int(a.int(5)))));
    }
}
