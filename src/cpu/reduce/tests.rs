use super::extreme::extreme;
use super::kernels::{fold_rows, fold_runs};
use super::moments::{Moments, moments};
use super::ops::*;
use super::source::{Converted, Widen};
use super::*;
use crate::cpu::isa;

/// Numbers in [-1, 1), the same in every run.
fn numbers(n: usize) -> Vec<f32> {
    (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / 8_388_608.0 - 1.0).collect()
}

/// Sizes around the borders of lanes, blocks and pieces.
fn shapes() -> Vec<Shape> {
    let mut all = Vec::new();
    for len in [1, 2, 15, 16, 63, 64, 65, 513, 1000, 4095, 4096, 4097, 70_000] {
        all.push(Shape { outer: 3, len, inner: 1 });
    }
    for (outer, len, inner) in [
        (1, 1, 7),
        (2, 9, 3),
        (1, 1000, 3),
        (3, 17, 5),
        (2, 100, 63),
        (1, 8, 64),
        (2, 700, 65),
        (1, 2000, 40),
        (1, 70, 1030),
        (70, 5, 9),
    ] {
        all.push(Shape { outer, len, inner });
    }
    all.push(Shape { outer: 1, len: 200_000, inner: 1 });
    all
}

/// The elements of result `(o, j)` in float64.
fn column(x: &[f32], s: Shape, r: usize) -> Vec<f64> {
    let (o, j) = (r / s.inner, r % s.inner);
    (0..s.len).map(|i| f64::from(x[(o * s.len + i) * s.inner + j])).collect()
}

#[test]
fn sums_and_products() {
    for s in shapes() {
        let x = numbers(s.numel());
        let count = s.outer * s.inner;
        let run = |which: usize| {
            let mut out = vec![9.0f32; count];
            let src: &[f32] = &x;
            match which {
                0 => fold::<f32, Sum, _>(&src, s, &mut out),
                1 => fold::<f32, Squares, _>(&src, s, &mut out),
                2 => fold::<f32, Magnitudes, _>(&src, s, &mut out),
                3 => fold::<f32, Prod, _>(&src, s, &mut out),
                4 => fold::<f32, Max, _>(&src, s, &mut out),
                _ => fold::<f32, Min, _>(&src, s, &mut out),
            }
            out
        };
        for which in 0..6 {
            for (r, &got) in run(which).iter().enumerate() {
                let c = column(&x, s, r);
                let want: f64 = match which {
                    0 => c.iter().sum(),
                    1 => c.iter().map(|v| v * v).sum(),
                    2 => c.iter().map(|v| v.abs()).sum(),
                    3 => c.iter().product(),
                    4 => c.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                    _ => c.iter().copied().fold(f64::INFINITY, f64::min),
                };
                // Rounding grows with the depth of the tree, not with the length.
                let scale: f64 = if which < 3 { c.iter().map(|v| v.abs()).sum() } else { want.abs() };
                let bound = match which {
                    3 => want.abs() * s.len as f64 * 1.2e-7 + 1e-44,
                    4 | 5 => 0.0,
                    _ => scale * 24.0 * 6e-8,
                };
                assert!((f64::from(got) - want).abs() <= bound, "{which} {s:?} {r}: {got} for {want}");
            }
        }
    }
}

#[test]
fn every_level_folds_the_same_tree() {
    let x = numbers(3 * 1000);
    for level in isa::available() {
        let (mut a, mut b) = (vec![0.0f32; 3], vec![0.0f32; 3]);
        let (mut c, mut d) = (vec![0.0f32; 100], vec![0.0f32; 100]);
        // SAFETY: three rows of 1000, thirty of 100; the processor has the levels.
        unsafe {
            fold_runs::at(level, PhantomData::<Sum>, x.as_ptr(), 3, 1000, a.as_mut_ptr());
            fold_runs::at(isa::Level::Baseline, PhantomData::<Sum>, x.as_ptr(), 3, 1000, b.as_mut_ptr());
            fold_rows::at(level, PhantomData::<Max>, x.as_ptr(), 100, 30, &mut c);
            fold_rows::at(isa::Level::Baseline, PhantomData::<Max>, x.as_ptr(), 100, 30, &mut d);
        }
        assert_eq!((a, c), (b, d), "{}", level.name());
    }
}

#[test]
fn integers_bytes_and_float64() {
    for s in shapes() {
        let x = numbers(s.numel());
        let (wide, whole): (Vec<f64>, Vec<i64>) = x.iter().map(|&v| (f64::from(v), (v * 1000.0) as i64)).unzip();
        let small: Vec<i32> = whole.iter().map(|&v| v as i32).collect();
        let count = s.outer * s.inner;
        let (mut a, mut b, mut c, mut d) = (vec![0.0; count], vec![0; count], vec![0; count], vec![0.0; count]);
        fold::<f64, Sum, _>(&&wide[..], s, &mut a);
        fold::<i64, Sum, _>(&&whole[..], s, &mut b);
        fold::<i64, Sum, _>(&Converted::<i32, i64>::new(&small), s, &mut c);
        fold::<f64, Squares, _>(&Converted::<f32, f64>::new(&x), s, &mut d);
        assert_eq!(b, c);
        for r in 0..count {
            let col = column(&x, s, r);
            assert!((a[r] - col.iter().sum::<f64>()).abs() <= 1e-10);
            assert!((d[r] - col.iter().map(|v| v * v).sum::<f64>()).abs() <= 1e-10 * s.len as f64);
            assert_eq!(b[r], col.iter().map(|&v| (v as f32 * 1000.0) as i64).sum::<i64>());
        }
    }
}

#[test]
fn the_thread_count_changes_no_bit() {
    use crate::cpu::threads::{num_threads, set_num_threads};
    let before = num_threads();
    for s in shapes() {
        let x = numbers(s.numel());
        let mut results = Vec::new();
        for threads in [1, 2, 3] {
            set_num_threads(threads);
            let count = s.outer * s.inner;
            let (mut a, mut m) = (vec![0.0f32; count], vec![Moments::default(); count]);
            fold::<f32, Sum, _>(&&x[..], s, &mut a);
            moments::<f32, _>(&&x[..], s, &mut m);
            results.push((a, m.iter().map(|m| (m.mean, m.m2)).collect::<Vec<_>>()));
        }
        assert!(results.iter().all(|r| *r == results[0]), "{s:?}");
    }
    set_num_threads(before);
}

#[test]
fn places_of_extremes() {
    for s in shapes() {
        // Few values, so that there are ties.
        let mut x: Vec<f32> = numbers(s.numel()).iter().map(|v| (v * 5.0).round()).collect();
        for with_nan in [false, true] {
            if with_nan {
                let n = x.len();
                x[n / 2] = f32::NAN;
                x[n - 1] = f32::NAN;
            }
            let count = s.outer * s.inner;
            let halves: Vec<half::f16> = x.iter().map(|&v| half::f16::from_f32(v)).collect();
            for max in [true, false] {
                let (mut best, mut at) = (vec![0.0f32; count], vec![-1; count]);
                let (mut best16, mut at16) = (vec![0.0f32; count], vec![-1; count]);
                let src: &[f32] = &x;
                let converted = Converted::<half::f16, f32>::new(&halves);
                if max {
                    extreme::<f32, Max, _>(&src, s, &mut best, &mut at);
                    extreme::<f32, Max, _>(&converted, s, &mut best16, &mut at16);
                } else {
                    extreme::<f32, Min, _>(&src, s, &mut best, &mut at);
                    extreme::<f32, Min, _>(&converted, s, &mut best16, &mut at16);
                }
                assert_eq!(at, at16);
                for r in 0..count {
                    let c = column(&x, s, r);
                    let mut want = 0;
                    for (i, v) in c.iter().enumerate() {
                        let b = c[want];
                        if !b.is_nan() && (v.is_nan() || if max { *v > b } else { *v < b }) {
                            want = i;
                        }
                    }
                    assert_eq!(at[r], want as i64, "{s:?} {r} {max}");
                    assert!(f64::from(best[r]) == c[want] || (best[r].is_nan() && c[want].is_nan()));
                }
            }
        }
    }
}

#[test]
fn extremes_at_the_ends_of_a_type() {
    let s = Shape { outer: 1, len: 3, inner: 1 };
    let (mut v, mut i) = ([0], [9]);
    extreme::<i64, Max, _>(&&[i64::MIN; 3][..], s, &mut v, &mut i);
    assert_eq!((v, i), ([i64::MIN], [0]));
    let (mut v, mut i) = ([0.0], [9]);
    extreme::<f64, Max, _>(&&[f64::NEG_INFINITY; 3][..], s, &mut v, &mut i);
    assert_eq!((v, i), ([f64::NEG_INFINITY], [0]));
    // The zeros are equal.
    extreme::<f64, Max, _>(&&[-0.0, 0.0, -1.0][..], s, &mut v, &mut i);
    assert_eq!(i, [0]);
}

#[test]
fn variances() {
    for s in shapes() {
        // Far from zero: a sum of squares would lose everything.
        let x: Vec<f32> = numbers(s.numel()).iter().map(|v| v + 1000.0).collect();
        let count = s.outer * s.inner;
        let mut out = vec![Moments::default(); count];
        moments::<f32, _>(&&x[..], s, &mut out);
        let wide: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
        let mut exact = vec![Moments::default(); count];
        moments::<f64, _>(&&wide[..], s, &mut exact);
        for r in 0..count {
            let c = column(&x, s, r);
            let mean = c.iter().sum::<f64>() / c.len() as f64;
            let m2: f64 = c.iter().map(|v| (v - mean) * (v - mean)).sum();
            assert!((out[r].mean - mean).abs() <= 2e-4 && (exact[r].mean - mean).abs() <= 1e-10, "{s:?}");
            assert!((out[r].m2 - m2).abs() <= 1e-6 * m2 + 1e-7 * s.len as f64, "{s:?}: {} for {m2}", out[r].m2);
            assert!((exact[r].m2 - m2).abs() <= 1e-10 * m2.max(1.0), "{s:?}: {} for {m2}", exact[r].m2);
        }
    }
}

#[test]
fn half_precision_is_read_exactly() {
    for bits in 0..=u16::MAX {
        let (a, b) = (half::f16::from_bits(bits), half::bf16::from_bits(bits));
        let same = |x: f32, y: f32| x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan());
        assert!(same(Widen::<f32>::widen(a), a.to_f32()), "{bits:x}");
        assert!(same(Widen::<f32>::widen(b), b.to_f32()), "{bits:x}");
    }
}

#[test]
fn nothing_to_reduce() {
    let mut out = [1.0f32; 4];
    fold::<f32, Sum, _>(&&[][..], Shape { outer: 2, len: 0, inner: 2 }, &mut out);
    assert_eq!(out, [0.0; 4]);
    fold::<f32, Sum, _>(&&[][..], Shape { outer: 0, len: 5, inner: 2 }, &mut []);
    extreme::<f32, Max, _>(&&[][..], Shape { outer: 0, len: 0, inner: 1 }, &mut [], &mut []);
    moments::<f32, _>(&&[][..], Shape { outer: 3, len: 4, inner: 0 }, &mut []);
}
