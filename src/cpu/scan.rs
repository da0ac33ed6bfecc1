//! Running sums and products.
//!
//! Along the last dimension a row goes through in groups of eight: prefixes within the group by three shifted additions,
//! then what came before. Only the latter waits for the group before. float32 adds up in float64.

use super::isa::{self, Level};
use super::threads::{SendPtr, parallel_for};

/// Elements of a group.
const GROUP: usize = 8;

/// Sum or product.
pub trait Running: Copy + Send + Sync + 'static {
    const PRODUCT: bool;
    fn start<A: Number>(self) -> A;
    fn join<A: Number>(self, a: A, b: A) -> A;
}
#[derive(Clone, Copy)]
pub struct Plus;
#[derive(Clone, Copy)]
pub struct Times;

impl Running for Plus {
    const PRODUCT: bool = false;
    #[inline(always)]
    fn start<A: Number>(self) -> A {
        A::ZERO
    }
    #[inline(always)]
    fn join<A: Number>(self, a: A, b: A) -> A {
        a.plus(b)
    }
}
impl Running for Times {
    const PRODUCT: bool = true;
    #[inline(always)]
    fn start<A: Number>(self) -> A {
        A::ONE
    }
    #[inline(always)]
    fn join<A: Number>(self, a: A, b: A) -> A {
        a.times(b)
    }
}

/// What adds up: f64 and (wrapping) i64.
pub trait Number: Copy + Send + Sync + 'static {
    const ZERO: Self;
    const ONE: Self;
    fn plus(self, o: Self) -> Self;
    fn times(self, o: Self) -> Self;
}
impl Number for f64 {
    const ZERO: f64 = 0.0;
    const ONE: f64 = 1.0;
    #[inline(always)]
    fn plus(self, o: f64) -> f64 {
        self + o
    }
    #[inline(always)]
    fn times(self, o: f64) -> f64 {
        self * o
    }
}
impl Number for i64 {
    const ZERO: i64 = 0;
    const ONE: i64 = 1;
    #[inline(always)]
    fn plus(self, o: i64) -> i64 {
        self.wrapping_add(o)
    }
    #[inline(always)]
    fn times(self, o: i64) -> i64 {
        self.wrapping_mul(o)
    }
}

/// An element, and what it adds up in.
pub trait Item: Copy + Send + Sync + 'static {
    type Acc: Number;
    fn widen(self) -> Self::Acc;
    fn narrow(a: Self::Acc) -> Self;
    /// A row by a kernel written for the level, if there is one: the same sums in the same order as `scan_row`.
    ///
    /// # Safety
    /// `x` and `y` have `n` elements, and the processor has `level`.
    unsafe fn scan_fast<R: Running>(_level: Level, _x: *const Self, _y: *mut Self, _n: usize, _reverse: bool, _op: R) -> bool {
        false
    }
}
impl Item for f32 {
    type Acc = f64;
    #[inline(always)]
    fn widen(self) -> f64 {
        f64::from(self)
    }
    #[inline(always)]
    fn narrow(a: f64) -> f32 {
        a as f32
    }
    #[cfg(target_arch = "x86_64")]
    unsafe fn scan_fast<R: Running>(level: Level, x: *const f32, y: *mut f32, n: usize, reverse: bool, op: R) -> bool {
        if level < Level::Avx512 {
            return false;
        }
        // SAFETY: the caller's promise.
        unsafe {
            match (reverse, R::PRODUCT) {
                (false, false) => x86::scan_row::<false, false, R>(x, y, n, op),
                (true, false) => x86::scan_row::<true, false, R>(x, y, n, op),
                (false, true) => x86::scan_row::<false, true, R>(x, y, n, op),
                (true, true) => x86::scan_row::<true, true, R>(x, y, n, op),
            }
        }
        true
    }
}

/// LLVM does not find the shifts within a vector.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{GROUP, Item, Running};
    use std::arch::x86_64::*;

    /// # Safety
    /// `x` and `y` have `n` elements; the processor has AVX-512F.
    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx2,fma")]
    pub unsafe fn scan_row<const REVERSE: bool, const PRODUCT: bool, R: Running>(x: *const f32, y: *mut f32, n: usize, op: R) {
        let join = |a, b| if PRODUCT { _mm512_mul_pd(a, b) } else { _mm512_add_pd(a, b) };
        // Lanes of `mask` take in those that `from` names. (Shifting in zeros instead makes LLVM choose VEXPANDPD, which
        // waits for what its target register held before.)
        let take = |v: __m512d, from: __m512i, mask: u8| {
            let other = _mm512_permutexvar_pd(from, v);
            if PRODUCT { _mm512_mask_mul_pd(v, mask, other, v) } else { _mm512_mask_add_pd(v, mask, other, v) }
        };
        let start = _mm512_set1_pd(op.start::<f64>());
        // Backwards, lanes take in those above instead of those below.
        let below = |by: i64| if REVERSE { by } else { 8 - by };
        let ring = |by: i64| {
            _mm512_set_epi64(
                (7 + by) & 7,
                (6 + by) & 7,
                (5 + by) & 7,
                (4 + by) & 7,
                (3 + by) & 7,
                (2 + by) & 7,
                (1 + by) & 7,
                by & 7,
            )
        };
        let (one, two, four) = (ring(below(1)), ring(below(2)), ring(4));
        let masks: [u8; 3] =
            if REVERSE { [0b0111_1111, 0b0011_1111, 0b0000_1111] } else { [0b1111_1110, 0b1111_1100, 0b1111_0000] };
        let last = _mm512_set1_epi64(if REVERSE { 0 } else { 7 });
        let mut carry = start;
        let mut k = 0;
        // SAFETY: positions below n, by the caller.
        unsafe {
            while k + GROUP <= n {
                let at = if REVERSE { n - GROUP - k } else { k };
                let v = _mm512_cvtps_pd(_mm256_loadu_ps(x.add(at)));
                let v = take(v, one, masks[0]);
                let v = take(v, two, masks[1]);
                let v = take(v, four, masks[2]);
                _mm256_storeu_ps(y.add(at), _mm512_cvtpd_ps(join(carry, v)));
                carry = join(carry, _mm512_permutexvar_pd(last, v));
                k += GROUP;
            }
            let mut carry = _mm512_cvtsd_f64(carry);
            while k < n {
                let at = if REVERSE { n - 1 - k } else { k };
                carry = op.join(carry, (*x.add(at)).widen());
                *y.add(at) = f32::narrow(carry);
                k += 1;
            }
        }
    }
}

macro_rules! items {
    ($($t:ty => $a:ty),*) => {$(
        impl Item for $t {
            type Acc = $a;
            #[inline(always)]
            fn widen(self) -> $a {
                self as $a
            }
            #[inline(always)]
            fn narrow(a: $a) -> $t {
                a as $t
            }
        }
    )*};
}
items!(f64 => f64, i64 => i64);

multiversion! {
    /// One row of `n` elements, forwards or backwards.
    ///
    /// # Safety
    /// `x` and `y` have `n` elements.
    unsafe fn scan_row<T: Item, R: Running>(x: *const T, y: *mut T, n: usize, reverse: bool, op: R) {
        let mut carry = op.start::<T::Acc>();
        let mut k = 0;
        // SAFETY: positions below n, by the caller.
        unsafe {
            while k + GROUP <= n {
                let at = if reverse { n - GROUP - k } else { k };
                let v = (x.add(at) as *const [T; GROUP]).read_unaligned();
                let mut p = [op.start::<T::Acc>(); GROUP];
                for j in 0..GROUP {
                    p[j] = v[if reverse { GROUP - 1 - j } else { j }].widen();
                }
                let mut q = p;
                for j in 1..GROUP {
                    q[j] = op.join(p[j - 1], p[j]);
                }
                p = q;
                for j in 2..GROUP {
                    q[j] = op.join(p[j - 2], p[j]);
                }
                p = q;
                for j in 4..GROUP {
                    q[j] = op.join(p[j - 4], p[j]);
                }
                let mut out = v;
                for j in 0..GROUP {
                    out[if reverse { GROUP - 1 - j } else { j }] = T::narrow(op.join(carry, q[j]));
                }
                (y.add(at) as *mut [T; GROUP]).write_unaligned(out);
                carry = op.join(carry, q[GROUP - 1]);
                k += GROUP;
            }
            while k < n {
                let at = if reverse { n - 1 - k } else { k };
                carry = op.join(carry, (*x.add(at)).widen());
                *y.add(at) = T::narrow(carry);
                k += 1;
            }
        }
    }
}

multiversion! {
    /// `state.len()` columns of `n` rows that lie `stride` apart.
    ///
    /// # Safety
    /// All rows have `state.len()` elements; `x` and `y` do not overlap.
    unsafe fn scan_columns<T: Item, R: Running>(x: *const T, y: *mut T, stride: usize, n: usize, reverse: bool, state: &mut [T::Acc], op: R) {
        for k in 0..n {
            let at = if reverse { n - 1 - k } else { k } * stride;
            for j in 0..state.len() {
                // SAFETY: rows and columns inside, by the caller.
                unsafe {
                    state[j] = op.join(state[j], (*x.add(at + j)).widen());
                    *y.add(at + j) = T::narrow(state[j]);
                }
            }
        }
    }
}

/// Elements that are worth handing to another thread.
const GRAIN: usize = 1 << 15;

/// Running results of `x`, seen as outer x len x inner, along the middle; with `reverse` from its end.
pub fn scan<T: Item, R: Running>(x: &[T], y: &mut [T], len: usize, inner: usize, reverse: bool, op: R) {
    const WIDTH: usize = 256;
    assert_eq!(x.len(), y.len(), "scan buffers");
    if x.is_empty() {
        return;
    }
    let outer = x.len() / (len * inner);
    assert_eq!(x.len(), outer * len * inner, "scan sizes");
    let to = SendPtr(y.as_mut_ptr());
    if inner == 1 {
        let level = isa::level();
        parallel_for(outer, GRAIN / len + 1, |rows| {
            for r in rows {
                // SAFETY: this row belongs to this piece.
                unsafe {
                    let (x, y) = (x.as_ptr().add(r * len), to.get().add(r * len));
                    if !T::scan_fast(level, x, y, len, reverse, op) {
                        scan_row(x, y, len, reverse, op);
                    }
                }
            }
        });
        return;
    }
    let chunks = inner.div_ceil(WIDTH);
    parallel_for(outer * chunks, GRAIN / (len * inner.min(WIDTH)) + 1, |range| {
        let mut state = [op.start::<T::Acc>(); WIDTH];
        for task in range {
            let (o, c) = (task / chunks, task % chunks * WIDTH);
            let state = &mut state[..WIDTH.min(inner - c)];
            state.fill(op.start());
            let at = o * len * inner + c;
            // SAFETY: these columns belong to this piece.
            unsafe { scan_columns(x.as_ptr().add(at), to.get().add(at), inner, len, reverse, state, op) }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::isa;

    fn numbers(n: usize) -> Vec<f32> {
        (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 8_388_608.0 - 1.0).collect()
    }

    #[test]
    fn running_sums_and_products() {
        for (outer, len, inner) in
            [(2, 1, 1), (3, 7, 1), (2, 8, 1), (2, 9, 1), (1, 1000, 1), (2, 5, 3), (1, 40, 300), (2, 33, 16)]
        {
            let x = numbers(outer * len * inner);
            let wide: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
            let whole: Vec<i64> = x.iter().map(|&v| (v * 9.0) as i64).collect();
            for reverse in [false, true] {
                let (mut s, mut p, mut i) = (x.clone(), wide.clone(), whole.clone());
                scan(&x, &mut s, len, inner, reverse, Plus);
                scan(&wide, &mut p, len, inner, reverse, Times);
                scan(&whole, &mut i, len, inner, reverse, Plus);
                for o in 0..outer {
                    for j in 0..inner {
                        let (mut a, mut b, mut c) = (0.0, 1.0, 0);
                        for k in 0..len {
                            let at = (o * len + if reverse { len - 1 - k } else { k }) * inner + j;
                            (a, b, c) = (a + wide[at], b * wide[at], c + whole[at]);
                            // The sum is rounded once.
                            assert!((f64::from(s[at]) - a).abs() <= 6.1e-8 * a.abs() + 1e-12);
                            assert!((p[at] - b).abs() <= 1e-13 * b.abs() + 1e-300);
                            assert_eq!(i[at], c);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn every_level_gives_the_same() {
        for n in [1, 7, 8, 64, 203] {
            let x = numbers(n);
            for reverse in [false, true] {
                let run = |level, product: bool| {
                    let (mut a, mut b) = (vec![0.0f32; n], vec![0.0f32; n]);
                    let (p, a_, b_) = (x.as_ptr(), a.as_mut_ptr(), b.as_mut_ptr());
                    // SAFETY: buffers of n elements; the processor has the level.
                    unsafe {
                        if product {
                            scan_row::at(level, p, a_, n, reverse, Times);
                            let fast = f32::scan_fast(level, p, b_, n, reverse, Times);
                            (a, fast.then_some(b))
                        } else {
                            scan_row::at(level, p, a_, n, reverse, Plus);
                            let fast = f32::scan_fast(level, p, b_, n, reverse, Plus);
                            (a, fast.then_some(b))
                        }
                    }
                };
                for product in [false, true] {
                    let want = run(isa::Level::Baseline, product).0;
                    for level in isa::available() {
                        let (plain, fast) = run(level, product);
                        assert_eq!(plain, want, "{}", level.name());
                        assert!(fast.is_none_or(|f| f == want), "{}", level.name());
                    }
                }
            }
        }
    }

    #[test]
    fn infinities_stay_where_they_are() {
        let x = [1.0f32, f32::INFINITY, 2.0, f32::NEG_INFINITY, 3.0, 1.0, 1.0, 1.0, 1.0];
        let mut y = [0.0; 9];
        scan(&x, &mut y, 9, 1, false, Plus);
        assert_eq!(y[..3], [1.0, f32::INFINITY, f32::INFINITY]);
        assert!(y[3..].iter().all(|v| v.is_nan()));
        // No cancellation is lost.
        let mut z = [0.0; 3];
        scan(&[1e8f32, 1.0, -1e8], &mut z, 3, 1, false, Plus);
        assert_eq!(z, [1e8, 1e8, 1.0]);
        // A zero makes products zero, not what comes before it.
        let mut w = [0.0; 9];
        scan(&[2.0f32, 3.0, 0.0, 5.0, f32::INFINITY, 1.0, 1.0, 1.0, 1.0], &mut w, 9, 1, false, Times);
        assert_eq!(w[..4], [2.0, 6.0, 0.0, 0.0]);
        assert!(w[4..].iter().all(|v| v.is_nan()));
    }
}
