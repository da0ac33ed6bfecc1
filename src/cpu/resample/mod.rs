//! Resizing of planes: every mode is a table of input elements and weights per output element, one
//! table per dimension, applied dimension by dimension. The gradient applies the turned tables.

#![allow(clippy::too_many_arguments)]

mod fold;
mod grid;

pub use fold::{FoldShape, fold, unfold};
pub use grid::{GridMode, GridPadding, GridShape, grid_sample, grid_sample_backward};

use super::gemm::with_scratch;
use super::threads::{SendPtr, parallel_for};

/// Floats that can be resampled.
pub trait Real: num_traits::Float + std::ops::AddAssign + Default + Send + Sync + std::fmt::Debug + 'static {
    /// The nearest float.
    fn of(x: f64) -> Self;
}
impl Real for f32 {
    #[inline(always)]
    fn of(x: f64) -> f32 {
        x as f32
    }
}
impl Real for f64 {
    #[inline(always)]
    fn of(x: f64) -> f64 {
        x
    }
}

/// How an output element is made from its neighbours along one dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Nearest,
    NearestExact,
    Linear,
    Cubic,
    /// Linear with a filter as wide as the reduction.
    LinearAntialias,
    /// Cubic with a filter as wide as the reduction.
    CubicAntialias,
}

/// For each output element of a dimension, the input elements and weights that make it.
#[derive(Clone, Debug)]
pub struct Axis<T> {
    input: usize,
    /// Taps of output `o` are `offsets[o]..offsets[o + 1]`.
    offsets: Vec<usize>,
    index: Vec<usize>,
    weight: Vec<T>,
}

/// The cubic convolution kernel at distances below one, and between one and two.
#[inline(always)]
pub(super) fn cubic_near<T: Real>(x: T, a: T) -> T {
    ((a + T::of(2.0)) * x - (a + T::of(3.0))) * x * x + T::one()
}
#[inline(always)]
pub(super) fn cubic_far<T: Real>(x: T, a: T) -> T {
    ((a * x - T::of(5.0) * a) * x + T::of(8.0) * a) * x - T::of(4.0) * a
}

impl<T: Real> Axis<T> {
    /// The table of a mode. `scale` is the factor the user gave (output over input), if it is to be
    /// used instead of the sizes. `align_corners` is not for the nearest modes.
    ///
    /// For two-dimensional `Nearest`, PyTorch ignores a given scale along a dimension whose output
    /// is as large or twice as large as its input; a caller who wants that leaves the scale out.
    pub fn new(mode: Mode, input: usize, output: usize, align_corners: bool, scale: Option<f64>) -> Axis<T> {
        let mut axis = Axis { input, offsets: Vec::with_capacity(output + 1), index: Vec::new(), weight: Vec::new() };
        axis.offsets.push(0);
        if input == 0 || output == 0 {
            axis.offsets.resize(output + 1, 0);
            return axis;
        }
        let nearest = matches!(mode, Mode::Nearest | Mode::NearestExact);
        let step = if align_corners && !nearest {
            if output > 1 { T::of((input - 1) as f64) / T::of((output - 1) as f64) } else { T::zero() }
        } else {
            match scale.filter(|&s| s > 0.0) {
                Some(scale) => T::of(1.0 / scale),
                None => T::of(input as f64) / T::of(output as f64),
            }
        };
        let half = T::of(0.5);
        let last = input - 1;
        for o in 0..output {
            let at = T::of(o as f64);
            let middle = if align_corners { step * at } else { step * (at + half) - half };
            match mode {
                Mode::Nearest => axis.push(whole(at * step, last), T::one()),
                Mode::NearestExact => axis.push(whole((at + half) * step, last), T::one()),
                Mode::Linear if input == output => axis.push(o, T::one()),
                Mode::Linear => {
                    let x = middle.max(T::zero());
                    let low = whole(x, last);
                    let part = (x - T::of(low as f64)).max(T::zero()).min(T::one());
                    axis.push(low, T::one() - part);
                    axis.push((low + 1).min(last), part);
                }
                Mode::Cubic if input == output && scale.is_none() => axis.push(o, T::one()),
                Mode::Cubic => {
                    let a = T::of(-0.75);
                    let floor = middle.floor();
                    let t = (middle - floor).max(T::zero()).min(T::one());
                    let low = floor.to_i64().unwrap_or(0);
                    let weights =
                        [cubic_far(t + T::one(), a), cubic_near(t, a), cubic_near(T::one() - t, a), cubic_far(T::of(2.0) - t, a)];
                    for (i, w) in weights.into_iter().enumerate() {
                        let tap = (low + i as i64 - 1).clamp(0, last as i64);
                        axis.push(tap as usize, w);
                    }
                }
                Mode::LinearAntialias | Mode::CubicAntialias if input == output => {
                    axis.push(o, T::one());
                }
                Mode::LinearAntialias => axis.filter(o, step, T::one(), |x| if x < T::one() { T::one() - x } else { T::zero() }),
                Mode::CubicAntialias => axis.filter(o, step, T::of(2.0), |x| {
                    let a = half.neg();
                    if x < T::one() {
                        cubic_near(x, a)
                    } else if x < T::of(2.0) {
                        cubic_far(x, a)
                    } else {
                        T::zero()
                    }
                }),
            }
            axis.offsets.push(axis.index.len());
        }
        axis
    }

    fn push(&mut self, index: usize, weight: T) {
        self.index.push(index);
        self.weight.push(weight);
    }

    /// Taps of a filter with this `reach`, stretched by the reduction, with weights that sum to one.
    fn filter(&mut self, o: usize, step: T, reach: T, f: impl Fn(T) -> T) {
        let half = T::of(0.5);
        let wide = step >= T::one();
        let support = if wide { reach * step } else { reach };
        let shrink = if wide { T::one() / step } else { T::one() };
        let center = step * (T::of(o as f64) + half);
        let from = (center - support + half).to_i64().unwrap_or(0).max(0) as usize;
        let to = (center + support + half).to_i64().unwrap_or(0).max(0) as usize;
        let (from, to) = (from.min(self.input), to.min(self.input));
        let start = self.weight.len();
        let mut total = T::zero();
        for i in from..to {
            let x = (T::of(i as f64) - center + half) * shrink;
            let w = f(x.abs());
            total += w;
            self.push(i, w);
        }
        if total != T::zero() {
            for w in &mut self.weight[start..] {
                *w = *w / total;
            }
        }
    }

    /// Number of input elements.
    pub fn input(&self) -> usize {
        self.input
    }

    /// The taps of output `o` are `ends[o]..ends[o + 1]`; and index and weight of each tap.
    pub fn taps(&self) -> (&[usize], &[usize], &[T]) {
        (&self.offsets, &self.index, &self.weight)
    }

    /// Number of output elements.
    pub fn output(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether the table copies its input.
    pub fn copies(&self) -> bool {
        self.input == self.output()
            && self.index.len() == self.input
            && self.index.iter().enumerate().all(|(i, &at)| i == at)
            && self.weight.iter().all(|&w| w == T::one())
            && self.offsets.iter().enumerate().all(|(i, &at)| i == at)
    }

    /// The table with input and output changed over: that of the gradient.
    pub fn turned(&self) -> Axis<T> {
        let mut offsets = vec![0; self.input + 1];
        for &i in &self.index {
            offsets[i + 1] += 1;
        }
        for i in 0..self.input {
            offsets[i + 1] += offsets[i];
        }
        let mut next = offsets.clone();
        let mut index = vec![0; self.index.len()];
        let mut weight = vec![T::zero(); self.index.len()];
        for o in 0..self.output() {
            for tap in self.offsets[o]..self.offsets[o + 1] {
                let slot = &mut next[self.index[tap]];
                index[*slot] = o;
                weight[*slot] = self.weight[tap];
                *slot += 1;
            }
        }
        Axis { input: self.output(), offsets, index, weight }
    }

    /// Applies the table to the middle dimension of `[outer, input, inner]`.
    fn apply(&self, outer: usize, inner: usize, x: &[T], y: SendPtr<T>) {
        let output = self.output();
        if inner == 1 {
            let grain = (1 << 14) / (self.index.len() + output).max(1);
            parallel_for(outer, grain, |rows| {
                for r in rows {
                    // SAFETY: each row is written by one piece.
                    let to = unsafe { y.slice(r * output, output) };
                    row_apply(self, &x[r * self.input..][..self.input], to);
                }
            });
            return;
        }
        let grain = (1 << 14) / inner.max(1);
        parallel_for(outer * output, grain, |rows| {
            for r in rows {
                let (plane, o) = (r / output, r % output);
                // SAFETY: each row is written by one piece.
                let to = unsafe { y.slice(r * inner, inner) };
                let x = &x[plane * self.input * inner..][..self.input * inner];
                let taps = self.offsets[o]..self.offsets[o + 1];
                if let [i] = self.index[taps.clone()]
                    && self.weight[taps.start] == T::one()
                {
                    to.copy_from_slice(&x[i * inner..][..inner]);
                    continue;
                }
                to.fill(T::zero());
                for tap in taps {
                    let from = &x[self.index[tap] * inner..][..inner];
                    add_scaled(to, from, self.weight[tap]);
                }
            }
        });
    }
}

multiversion! {
    fn row_apply<T: Real>(axis: &Axis<T>, x: &[T], to: &mut [T]) {
        for (to, ends) in to.iter_mut().zip(axis.offsets.windows(2)) {
            let mut sum = T::zero();
            for (&i, &w) in axis.index[ends[0]..ends[1]].iter().zip(&axis.weight[ends[0]..ends[1]]) {
                sum += x[i] * w;
            }
            *to = sum;
        }
    }
}

multiversion! {
    fn add_scaled<T: Real>(to: &mut [T], from: &[T], scale: T) {
        for (to, &from) in to.iter_mut().zip(from) {
            *to += from * scale;
        }
    }
}

/// The rounded-down index, kept inside.
fn whole<T: Real>(x: T, last: usize) -> usize {
    x.floor().to_i64().map_or(0, |i| i.clamp(0, last as i64) as usize)
}

/// A resizing of planes of depth, height and width.
pub struct Resize<T> {
    pub axes: [Axis<T>; 3],
}

impl<T: Real> Resize<T> {
    fn sizes(&self) -> ([usize; 3], [usize; 3]) {
        (self.axes.each_ref().map(|a| a.input), self.axes.each_ref().map(Axis::output))
    }

    /// Resizes every plane, width first.
    pub fn forward(&self, planes: usize, x: &[T], y: &mut [T]) {
        let axes = [2, 1, 0].map(|d| (d, &self.axes[d]));
        run(self.sizes(), planes, axes, x, y);
    }

    /// The gradient of [`Self::forward`]: `gx` from `gy`.
    pub fn backward(&self, planes: usize, gy: &[T], gx: &mut [T]) {
        let turned = self.axes.each_ref().map(Axis::turned);
        let (input, output) = self.sizes();
        let axes = [0, 1, 2].map(|d| (d, &turned[d]));
        run((output, input), planes, axes, gy, gx);
    }
}

fn run<T: Real>((input, output): ([usize; 3], [usize; 3]), planes: usize, axes: [(usize, &Axis<T>); 3], x: &[T], y: &mut [T]) {
    assert_eq!(x.len(), planes * input.iter().product::<usize>(), "resize input");
    assert_eq!(y.len(), planes * output.iter().product::<usize>(), "resize output");
    let steps: Vec<_> = axes.into_iter().filter(|(_, axis)| !axis.copies()).collect();
    if steps.is_empty() {
        y.copy_from_slice(x);
        return;
    }
    steps_run(&steps, input, planes, x, SendPtr(y.as_mut_ptr()));
}

/// Applies the first step into scratch and the rest from there; the last writes to `y`.
fn steps_run<T: Real>(steps: &[(usize, &Axis<T>)], mut size: [usize; 3], planes: usize, x: &[T], y: SendPtr<T>) {
    let ((d, axis), rest) = (steps[0], &steps[1..]);
    let outer = planes * size[..d].iter().product::<usize>();
    let inner: usize = size[d + 1..].iter().product();
    if rest.is_empty() {
        return axis.apply(outer, inner, x, y);
    }
    size[d] = axis.output();
    let len = planes * size.iter().product::<usize>();
    with_scratch::<T, _>(len, |tmp| {
        axis.apply(outer, inner, x, tmp);
        // SAFETY: `apply` has written all of it.
        let from = unsafe { tmp.slice(0, len) };
        steps_run(rest, size, planes, from, y);
    });
}

#[cfg(test)]
mod tests;
