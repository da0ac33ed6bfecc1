//! Optimiser steps: parameter, gradient and state of each element are read and written once.
//!
//! A [`Rule`] is the arithmetic of one element, in the order of operations of PyTorch's loop over single tensors; no
//! multiply-add is fused, so every instruction level gives the same bits.

use super::isa::Level;
use super::threads::{SendPtr, parallel_pieces};
use std::ops::{Add, Div, Mul, Neg, Sub};

/// f32 or f64.
pub trait Float:
    Copy
    + PartialOrd
    + Send
    + Sync
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + 'static
{
    fn of(v: f64) -> Self;
    fn f64(self) -> f64;
    fn sqrt(self) -> Self;
    fn abs(self) -> Self;
}

macro_rules! float {
    ($t:ty) => {
        impl Float for $t {
            #[inline(always)]
            fn of(v: f64) -> Self {
                v as $t
            }
            #[inline(always)]
            fn f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                <$t>::sqrt(self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                <$t>::abs(self)
            }
        }
    };
}
float!(f32);
float!(f64);

/// One element of a step.
pub trait Rule<T>: Copy + Send + Sync {
    /// How many state tensors the rule reads and writes, at most three.
    const STATES: usize;
    /// The new parameter; the states are updated in place.
    fn step(&self, p: T, g: T, s: &mut [T; 3]) -> T;
}

/// What the rules share: `g` negated to maximise, and weight decay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decay<T> {
    pub maximize: bool,
    /// Added to the gradient as `weight * p`, if not zero.
    pub weight: T,
    /// The parameter is multiplied by this, if not one.
    pub shrink: T,
}

impl<T: Float> Decay<T> {
    #[inline(always)]
    fn apply(&self, p: T, g: T) -> (T, T) {
        let g = if self.maximize { -g } else { g };
        let p = if self.shrink != T::of(1.0) { p * self.shrink } else { p };
        (p, if self.weight != T::of(0.0) { g + self.weight * p } else { g })
    }
}

/// `start + weight (end - start)`, from the nearer end.
#[inline(always)]
fn lerp<T: Float>(start: T, end: T, weight: T) -> T {
    if weight < T::of(0.5) { start + weight * (end - start) } else { end - (end - start) * (T::of(1.0) - weight) }
}

/// The larger; NaN if either is.
#[inline(always)]
#[allow(clippy::eq_op)] // NaN differs from itself
fn max<T: Float>(a: T, b: T) -> T {
    if b > a || b != b { b } else { a }
}

/// Gradient descent. State: the momentum buffer, if `momentum` is not zero.
#[derive(Clone, Copy)]
pub struct Sgd<T, const MOMENTUM: bool> {
    pub decay: Decay<T>,
    pub momentum: T,
    /// `1 - dampening`
    pub gain: T,
    pub nesterov: bool,
    /// The buffer has no content yet: it starts as the gradient.
    pub first: bool,
    pub lr: T,
}

impl<T: Float, const MOMENTUM: bool> Rule<T> for Sgd<T, MOMENTUM> {
    const STATES: usize = MOMENTUM as usize;
    #[inline(always)]
    fn step(&self, p: T, g: T, s: &mut [T; 3]) -> T {
        let (p, g) = self.decay.apply(p, g);
        let g = if MOMENTUM {
            s[0] = if self.first { g } else { s[0] * self.momentum + self.gain * g };
            if self.nesterov { g + self.momentum * s[0] } else { s[0] }
        } else {
            g
        };
        p + -self.lr * g
    }
}

/// Adam and AdamW. States: both moments, and with `AMSGRAD` the largest second moment.
#[derive(Clone, Copy)]
pub struct Adam<T, const AMSGRAD: bool> {
    pub decay: Decay<T>,
    /// `1 - beta1`
    pub weight1: T,
    pub beta2: T,
    /// `1 - beta2`
    pub weight2: T,
    /// `lr / (1 - beta1^t)`
    pub step_size: T,
    /// `sqrt(1 - beta2^t)`
    pub correction2: T,
    pub eps: T,
}

impl<T: Float, const AMSGRAD: bool> Rule<T> for Adam<T, AMSGRAD> {
    const STATES: usize = 2 + AMSGRAD as usize;
    #[inline(always)]
    fn step(&self, p: T, g: T, s: &mut [T; 3]) -> T {
        let (p, g) = self.decay.apply(p, g);
        s[0] = lerp(s[0], g, self.weight1);
        s[1] = s[1] * self.beta2 + self.weight2 * g * g;
        if AMSGRAD {
            s[2] = max(s[2], s[1]);
        }
        let second = s[1 + AMSGRAD as usize];
        p + -self.step_size * s[0] / (second.sqrt() / self.correction2 + self.eps)
    }
}

/// Adam with the infinity norm. States: first moment, decaying maximum.
#[derive(Clone, Copy)]
pub struct Adamax<T> {
    pub decay: Decay<T>,
    pub weight1: T,
    pub beta2: T,
    pub eps: T,
    pub step_size: T,
}

impl<T: Float> Rule<T> for Adamax<T> {
    const STATES: usize = 2;
    #[inline(always)]
    fn step(&self, p: T, g: T, s: &mut [T; 3]) -> T {
        let (p, g) = self.decay.apply(p, g);
        s[0] = lerp(s[0], g, self.weight1);
        s[1] = max(s[1] * self.beta2, g.abs() + self.eps);
        p + -self.step_size * s[0] / s[1]
    }
}

/// Adam with Nesterov momentum. States: both moments.
#[derive(Clone, Copy)]
pub struct NAdam<T> {
    pub decay: Decay<T>,
    pub weight1: T,
    pub beta2: T,
    pub weight2: T,
    /// `1 - beta2^t`
    pub correction2: T,
    pub eps: T,
    /// Factors of gradient and first moment.
    pub of_grad: T,
    pub of_moment: T,
}

impl<T: Float> Rule<T> for NAdam<T> {
    const STATES: usize = 2;
    #[inline(always)]
    fn step(&self, p: T, g: T, s: &mut [T; 3]) -> T {
        let (p, g) = self.decay.apply(p, g);
        s[0] = lerp(s[0], g, self.weight1);
        s[1] = s[1] * self.beta2 + self.weight2 * g * g;
        let denom = (s[1] / self.correction2).sqrt() + self.eps;
        p + self.of_grad * g / denom + self.of_moment * s[0] / denom
    }
}

/// Rectified Adam. States: both moments.
#[derive(Clone, Copy)]
pub struct RAdam<T> {
    pub decay: Decay<T>,
    pub weight1: T,
    pub beta2: T,
    pub weight2: T,
    /// `1 - beta1^t`
    pub correction1: T,
    /// `sqrt(1 - beta2^t)`
    pub correction2: T,
    pub lr: T,
    pub eps: T,
    /// Whether the adaptive rate is in use, and its rectification.
    pub adaptive: bool,
    pub rect: T,
}

impl<T: Float> Rule<T> for RAdam<T> {
    const STATES: usize = 2;
    #[inline(always)]
    fn step(&self, p: T, g: T, s: &mut [T; 3]) -> T {
        let (p, g) = self.decay.apply(p, g);
        s[0] = lerp(s[0], g, self.weight1);
        s[1] = s[1] * self.beta2 + self.weight2 * g * g;
        let update = s[0] / self.correction1 * self.lr;
        let update = if self.adaptive { update * (self.correction2 / (s[1].sqrt() + self.eps)) * self.rect } else { update };
        p - update
    }
}

/// RMSprop. States: mean square, then with `CENTERED` the mean, then with `MOMENTUM` the buffer.
#[derive(Clone, Copy)]
pub struct RmsProp<T, const CENTERED: bool, const MOMENTUM: bool> {
    pub decay: Decay<T>,
    pub alpha: T,
    /// `1 - alpha`
    pub weight: T,
    pub eps: T,
    pub momentum: T,
    pub lr: T,
}

impl<T: Float, const CENTERED: bool, const MOMENTUM: bool> Rule<T> for RmsProp<T, CENTERED, MOMENTUM> {
    const STATES: usize = 1 + CENTERED as usize + MOMENTUM as usize;
    #[inline(always)]
    fn step(&self, p: T, g: T, s: &mut [T; 3]) -> T {
        let (p, g) = self.decay.apply(p, g);
        s[0] = s[0] * self.alpha + self.weight * g * g;
        let square = if CENTERED {
            s[1] = lerp(s[1], g, self.weight);
            s[0] - s[1] * s[1]
        } else {
            s[0]
        };
        let avg = square.sqrt() + self.eps;
        if MOMENTUM {
            let at = 1 + CENTERED as usize;
            s[at] = s[at] * self.momentum + g / avg;
            p + -self.lr * s[at]
        } else {
            p + -self.lr * g / avg
        }
    }
}

/// Adagrad. State: the sum of squares.
#[derive(Clone, Copy)]
pub struct Adagrad<T> {
    pub decay: Decay<T>,
    pub lr: T,
    pub eps: T,
}

impl<T: Float> Rule<T> for Adagrad<T> {
    const STATES: usize = 1;
    #[inline(always)]
    fn step(&self, p: T, g: T, s: &mut [T; 3]) -> T {
        let (p, g) = self.decay.apply(p, g);
        s[0] = s[0] + g * g;
        p + -self.lr * g / (s[0].sqrt() + self.eps)
    }
}

/// One tensor of a step: its memory, which no other pointer of the step reaches, and its rule.
pub struct Job<T, R> {
    pub p: SendPtr<T>,
    pub g: *const T,
    /// As many as the rule has.
    pub s: [SendPtr<T>; 3],
    pub n: usize,
    pub rule: R,
}

// SAFETY: gradients are only read, the rest is `SendPtr`.
unsafe impl<T, R: Send> Send for Job<T, R> {}
// SAFETY: as above.
unsafe impl<T, R: Sync> Sync for Job<T, R> {}

/// Disjoint slices of one length; unused states are empty. (The signature tells LLVM that nothing overlaps.)
#[inline(always)]
fn lanes<T: Float, R: Rule<T>>(rule: &R, p: &mut [T], g: &[T], a: &mut [T], b: &mut [T], c: &mut [T]) {
    let n = p.len();
    let g = &g[..n];
    let a = if R::STATES > 0 { &mut a[..n] } else { a };
    let b = if R::STATES > 1 { &mut b[..n] } else { b };
    let c = if R::STATES > 2 { &mut c[..n] } else { c };
    let zero = T::of(0.0);
    for k in 0..n {
        let mut s = [zero; 3];
        if R::STATES > 0 {
            s[0] = a[k];
        }
        if R::STATES > 1 {
            s[1] = b[k];
        }
        if R::STATES > 2 {
            s[2] = c[k];
        }
        p[k] = rule.step(p[k], g[k], &mut s);
        if R::STATES > 0 {
            a[k] = s[0];
        }
        if R::STATES > 1 {
            b[k] = s[1];
        }
        if R::STATES > 2 {
            c[k] = s[2];
        }
    }
}

macro_rules! compiled {
    ($($level:ident $feature:literal),*) => {
        $(
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = $feature)]
            fn $level<T: Float, R: Rule<T>>(rule: &R, p: &mut [T], g: &[T], a: &mut [T], b: &mut [T], c: &mut [T]) {
                lanes(rule, p, g, a, b, c)
            }
        )*
    };
}
compiled!(avx2 "avx2", avx512 "avx512f,avx512bw,avx512dq,avx512vl,avx2");

/// Elements `start..end` of a job.
///
/// # Safety
/// The processor has `level`; the memory of the job is valid and nobody else uses this part of it.
unsafe fn part<T: Float, R: Rule<T>>(level: Level, job: &Job<T, R>, start: usize, end: usize) {
    let n = end - start;
    let state = |i: usize| {
        // SAFETY: the caller's promise; a state that the rule does not have is not touched.
        if i < R::STATES { unsafe { job.s[i].slice(start, n) } } else { &mut [] }
    };
    // SAFETY: the caller's promise.
    unsafe {
        let (p, g) = (job.p.slice(start, n), std::slice::from_raw_parts(job.g.add(start), n));
        let (a, b, c) = (state(0), state(1), state(2));
        match level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => avx512(&job.rule, p, g, a, b, c),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => avx2(&job.rule, p, g, a, b, c),
            _ => lanes(&job.rule, p, g, a, b, c),
        }
    }
}

/// Elements that one piece of a parallel region takes.
const PIECE: usize = 1 << 14;

/// Cuts tensors of the given lengths into pieces of about `grain` elements altogether: runs of (tensor, start, end).
pub fn pieces(lengths: impl Iterator<Item = usize>, grain: usize) -> Vec<Vec<(usize, usize, usize)>> {
    let (mut out, mut now, mut room) = (Vec::new(), Vec::new(), grain);
    for (i, n) in lengths.enumerate() {
        let mut at = 0;
        while at < n {
            let take = room.min(n - at);
            now.push((i, at, at + take));
            (at, room) = (at + take, room - take);
            if room == 0 {
                out.push(std::mem::take(&mut now));
                room = grain;
            }
        }
    }
    if !now.is_empty() {
        out.push(now);
    }
    out
}

/// Runs the jobs, in pieces of all tensors together.
///
/// # Safety
/// The memory of every job is valid for its length, initialised, and reached by no other pointer of any job.
pub unsafe fn run<T: Float, R: Rule<T>>(level: Level, jobs: &[Job<T, R>]) {
    let all = pieces(jobs.iter().map(|j| j.n), PIECE);
    parallel_pieces(all.len(), |i| {
        for &(job, start, end) in &all[i] {
            // SAFETY: the caller's promise; pieces are disjoint.
            unsafe { part(level, &jobs[job], start, end) }
        }
    });
}

multiversion! {
    /// The sum of squares, in float64: 16 lanes folded in a fixed order.
    pub fn sum_squares(x: &[f32]) -> f64 {
        let mut lanes = [0f64; 32];
        let mut blocks = x.chunks_exact(32);
        for block in &mut blocks {
            for k in 0..32 {
                let v = block[k] as f64;
                lanes[k] = crate::cpu::isa::fma64::<FMA>(v, v, lanes[k]);
            }
        }
        for (l, v) in lanes.iter_mut().zip(blocks.remainder()) {
            *l += *v as f64 * *v as f64;
        }
        let mut width = 16;
        while width > 0 {
            for k in 0..width {
                lanes[k] += lanes[k + width];
            }
            width /= 2;
        }
        lanes[0]
    }
}

multiversion! {
    /// `x *= factor`
    pub fn scale(x: &mut [f32], factor: f32) {
        for v in x {
            *v *= factor;
        }
    }
}

#[cfg(test)]
mod tests;
