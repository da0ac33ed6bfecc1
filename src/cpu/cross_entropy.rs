//! Cross entropy of rows of logits and class numbers, without storing probabilities.
//!
//! With `m` the largest logit of a row and `s` the sum of exp(x - m), the loss of class `t` is `ln s - (x[t] - m)` and
//! its gradient exp(x - m) / s less 1 at `t`. Label smoothing `e` over `n` classes makes the loss
//! `(1 - e) w[t] (ln s - (x[t] - m)) + e / n sum_c (ln s - (x[c] - m))`.

use super::softmax::{Row, stats};
use super::threads::{SendPtr, parallel_for};

/// What the rows have in common.
#[derive(Clone, Copy)]
pub struct Classes<'a, T> {
    /// Number of classes.
    pub n: usize,
    /// A class for every row; each is in `0..n` or `ignore`.
    pub target: &'a [i64],
    pub ignore: i64,
    /// A weight for every class.
    pub weight: Option<&'a [T]>,
    /// Label smoothing, for equal weights only.
    pub smoothing: f64,
}

impl<T: Row> Classes<'_, T> {
    fn weight(&self, t: i64) -> T {
        self.weight.map_or(T::ONE, |w| w[t as usize])
    }
    fn check(&self, len: usize) {
        assert_eq!(len, self.target.len() * self.n, "cross entropy buffers");
        assert!(self.target.iter().all(|&t| t == self.ignore || (0..self.n as i64).contains(&t)), "cross entropy targets");
    }
}

multiversion! {
    /// `dx[k] = exp(x[k] - m) * scale - shift` in a row.
    ///
    /// # Safety
    /// `x` and `dx` have `n` elements and do not overlap.
    unsafe fn spread<T: Row>(x: *const T, dx: *mut T, n: usize, m: T, scale: T, shift: T) {
        for k in 0..n {
            // SAFETY: k < n.
            unsafe { *dx.add(k) = (*x.add(k) - m).exp_nonpositive::<FMA>().fma::<FMA>(scale, -shift) }
        }
    }
}

/// Elements that are worth handing to another thread.
const GRAIN: usize = 1 << 14;

/// The loss of every row (0 where the target is ignored), and what the gradient needs: `m` and `s`.
pub fn forward<T: Row>(x: &[T], c: Classes<T>, loss: &mut [T], m: &mut [T], s: &mut [T]) {
    c.check(x.len());
    let (rows, n) = (c.target.len(), c.n);
    assert!(loss.len() == rows && m.len() == rows && s.len() == rows, "cross entropy results");
    let (loss, m, s) = (SendPtr(loss.as_mut_ptr()), SendPtr(m.as_mut_ptr()), SendPtr(s.as_mut_ptr()));
    parallel_for(rows, GRAIN / n.max(1) + 1, |range| {
        let (first, count) = (range.start, range.len());
        let smooth = c.smoothing > 0.0;
        // SAFETY: these rows belong to this piece.
        unsafe {
            // The loss holds the mean until it is known.
            let mean = smooth.then(|| loss.get().add(first));
            stats(x.as_ptr().add(first * n), count, n, m.get().add(first), s.get().add(first), mean);
            for r in range {
                let t = c.target[r];
                let out = &mut *loss.get().add(r);
                if t == c.ignore {
                    *out = T::ZERO;
                    continue;
                }
                let ln = T::of((*s.get().add(r)).to_f64().ln());
                let mut l = (ln - (x[r * n + t as usize] - *m.get().add(r))) * c.weight(t);
                if smooth {
                    l = l * T::of(1.0 - c.smoothing) + (ln - *out) * T::of(c.smoothing);
                }
                *out = l;
            }
        }
    });
}

/// The gradient of the logits: `g(r)` is that of the loss of row `r`. `m` and `s` are those of [`forward`].
pub fn backward<T: Row>(x: &[T], c: Classes<T>, m: &[T], s: &[T], g: impl Fn(usize) -> T + Sync, dx: &mut [T]) {
    c.check(x.len());
    let (rows, n) = (c.target.len(), c.n);
    assert!(dx.len() == x.len() && m.len() == rows && s.len() == rows, "cross entropy results");
    let to = SendPtr(dx.as_mut_ptr());
    parallel_for(rows, GRAIN / n.max(1) + 1, |range| {
        for r in range {
            // SAFETY: this row belongs to this piece.
            let dx = unsafe { to.slice(r * n, n) };
            let t = c.target[r];
            if t == c.ignore {
                dx.fill(T::ZERO);
                continue;
            }
            // Without smoothing this is the weight; with it weights are 1.
            let g = g(r) * c.weight(t);
            let shift = g * T::of(c.smoothing / n as f64);
            // SAFETY: both have n elements.
            unsafe { spread(x.as_ptr().add(r * n), dx.as_mut_ptr(), n, m[r], g / s[r], shift) }
            dx[t as usize] += g * T::of(c.smoothing - 1.0);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(n: usize, weighted: bool, smoothing: f64) {
        let rows = 5;
        let x: Vec<f64> = (0..rows * n).map(|i| f64::from(((i * 7919 % 1009) as f32 / 1009.0 - 0.5) * 8.0)).collect();
        let target: Vec<i64> = (0..rows as i64).map(|r| if r == 2 { -100 } else { r * 31 % n as i64 }).collect();
        let w: Vec<f64> = (0..n).map(|k| f64::from(0.5 + (k % 3) as f32)).collect();
        let g = |r: usize| 0.25 + r as f64 * 0.5;
        let (mut loss, mut dx) = (vec![0.0; rows], vec![0.0; rows * n]);
        for (r, &t) in target.iter().enumerate() {
            if t < 0 {
                continue;
            }
            let row = &x[r * n..(r + 1) * n];
            let total: f64 = row.iter().map(|v| v.exp()).sum();
            let w = if weighted { w[t as usize] } else { 1.0 };
            let smooth = |k: usize| smoothing / n as f64 + if k == t as usize { (1.0 - smoothing) * w } else { 0.0 };
            let all: f64 = (0..n).map(smooth).sum();
            loss[r] = (0..n).map(|k| smooth(k) * (total.ln() - row[k])).sum();
            for k in 0..n {
                dx[r * n + k] = g(r) * (row[k].exp() / total * all - smooth(k));
            }
        }
        let c = Classes { n, target: &target, ignore: -100, weight: weighted.then_some(&w[..]), smoothing };
        let (mut l, mut m, mut s, mut d) = (vec![9.0; rows], vec![0.0; rows], vec![0.0; rows], vec![9.0; rows * n]);
        forward(&x, c, &mut l, &mut m, &mut s);
        backward(&x, c, &m, &s, g, &mut d);
        assert!(l.iter().zip(&loss).all(|(a, b)| (a - b).abs() < 1e-12), "{n}");
        assert!(d.iter().zip(&dx).all(|(a, b)| (a - b).abs() < 1e-12), "{n}");
        let narrow = |v: &[f64]| v.iter().map(|&v| v as f32).collect::<Vec<f32>>();
        let (x, w) = (narrow(&x), narrow(&w));
        let c = Classes { n, target: &target, ignore: -100, weight: weighted.then_some(&w[..]), smoothing };
        let (mut l, mut m, mut s, mut d) = (vec![9.0; rows], vec![0.0; rows], vec![0.0; rows], vec![9.0; rows * n]);
        forward(&x, c, &mut l, &mut m, &mut s);
        backward(&x, c, &m, &s, |r| g(r) as f32, &mut d);
        // A few roundings of logits up to 8.
        assert!(l.iter().zip(&loss).all(|(a, b)| (f64::from(*a) - b).abs() < 4e-6 * b.abs().max(1.0)), "{n}");
        assert!(d.iter().zip(&dx).all(|(a, b)| (f64::from(*a) - b).abs() < 2e-6), "{n}");
    }

    #[test]
    fn losses_and_gradients() {
        for n in [1, 2, 10, 65, 513, 1500] {
            check(n, false, 0.0);
            check(n, true, 0.0);
            check(n, false, 0.1);
        }
    }
}
