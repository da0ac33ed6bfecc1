use super::*;
use crate::cpu::isa;

fn numbers(n: usize, spread: f64) -> Vec<f64> {
    (0..n).map(|i| ((i * 7919 % 1009) as f64 / 1009.0 - 0.5) * spread).collect()
}

/// In float64, by definition: softmax and its logarithm along the middle.
fn reference(x: &[f64], n: usize, inner: usize, log: bool) -> Vec<f64> {
    let mut y = vec![0.0; x.len()];
    for o in 0..x.len() / (n * inner) {
        for j in 0..inner {
            let at = |i: usize| (o * n + i) * inner + j;
            let m = (0..n).map(|i| x[at(i)]).fold(f64::NEG_INFINITY, f64::max);
            let s: f64 = (0..n).map(|i| (x[at(i)] - m).exp()).sum();
            for i in 0..n {
                let d = x[at(i)] - m;
                y[at(i)] = if log { d - s.ln() } else { d.exp() / s };
            }
        }
    }
    y
}

/// Within a few roundings, and that of x - m for |x - m| <= 30.
fn close(got: f32, want: f64, what: &str) {
    assert!((f64::from(got) - want).abs() <= (4e-7 + 30.0 / 16_777_216.0) * want.abs(), "{what}: {got} for {want}");
}

#[test]
fn every_level_is_right() {
    for n in [1, 2, 15, 16, 63, 64, 65, 511, 512, 513, 1100, 3000] {
        let rows = 3;
        let x: Vec<f32> = numbers(rows * n, 30.0).iter().map(|&v| v as f32).collect();
        let wide: Vec<f64> = x.iter().map(|&v| f64::from(v)).collect();
        for level in isa::available() {
            for mode in [Mode::Plain, Mode::Log, Mode::Safe] {
                let want = reference(&wide, n, 1, mode == Mode::Log);
                let mut y = vec![0.0f32; rows * n];
                // SAFETY: buffers of rows * n elements; the processor has the level.
                unsafe { softmax_rows::at(level, x.as_ptr(), y.as_mut_ptr(), rows, n, mode) };
                for (got, want) in y.iter().zip(&want) {
                    // A logarithm carries the rounding of x - m.
                    if mode == Mode::Log {
                        assert!((f64::from(*got) - want).abs() <= 4e-6, "{got} for {want}");
                    } else {
                        close(*got, *want, level.name());
                    }
                }
            }
        }
    }
}

#[test]
fn columns_are_as_rows() {
    for (n, inner) in [(1, 5), (9, 3), (40, 17), (7, 300)] {
        let x = numbers(2 * n * inner, 12.0);
        let narrow: Vec<f32> = x.iter().map(|&v| v as f32).collect();
        for mode in [Mode::Plain, Mode::Log, Mode::Safe] {
            let want = reference(&x, n, inner, mode == Mode::Log);
            let (mut y, mut z) = (vec![0.0; x.len()], vec![0.0f32; x.len()]);
            forward(&x, &mut y, n, inner, mode);
            forward(&narrow, &mut z, n, inner, mode);
            for ((a, b), want) in y.iter().zip(&z).zip(&want) {
                assert!((a - want).abs() <= 1e-14 * want.abs().max(1.0));
                assert!((f64::from(*b) - want).abs() <= 4e-6 * want.abs().max(0.1));
            }
        }
    }
}

#[test]
fn backward_is_the_transpose_of_the_jacobian() {
    for (n, inner) in [(1, 1), (70, 1), (1500, 1), (20, 3), (6, 200)] {
        let y = reference(&numbers(2 * n * inner, 6.0), n, inner, false);
        let g = numbers(2 * n * inner, 2.0);
        for log in [false, true] {
            let result: Vec<f64> = if log { y.iter().map(|v| v.ln()).collect() } else { y.clone() };
            let mut dx = vec![0.0; y.len()];
            backward(&g, &result, &mut dx, n, inner, log);
            let narrow = |v: &[f64]| v.iter().map(|&v| v as f32).collect::<Vec<f32>>();
            let mut dx32 = vec![0.0f32; y.len()];
            backward(&narrow(&g), &narrow(&result), &mut dx32, n, inner, log);
            for o in 0..2 {
                for j in 0..inner {
                    let at = |i: usize| (o * n + i) * inner + j;
                    let s: f64 = (0..n).map(|i| if log { g[at(i)] } else { g[at(i)] * y[at(i)] }).sum();
                    for i in 0..n {
                        let want = if log { g[at(i)] - y[at(i)] * s } else { y[at(i)] * (g[at(i)] - s) };
                        assert!((dx[at(i)] - want).abs() <= 1e-12);
                        assert!((f64::from(dx32[at(i)]) - want).abs() <= 3e-5, "{} for {want}", dx32[at(i)]);
                    }
                }
            }
        }
    }
}

#[test]
fn one_row_of_gradients_serves_all() {
    let (n, rows) = (130, 5);
    let y: Vec<f32> = reference(&numbers(rows * n, 6.0), n, 1, false).iter().map(|&v| v as f32).collect();
    let g: Vec<f32> = numbers(n, 2.0).iter().map(|&v| v as f32).collect();
    let (mut a, mut b) = (vec![0.0; y.len()], vec![0.0; y.len()]);
    backward(&g, &y, &mut a, n, 1, false);
    backward(&g.repeat(rows), &y, &mut b, n, 1, false);
    assert_eq!(a, b);
}

#[test]
fn infinities_and_nan() {
    const INF: f32 = f32::INFINITY;
    for inner in [1, 2] {
        let column = |v: &[f32]| v.iter().flat_map(|&v| vec![v; inner]).collect::<Vec<f32>>();
        let run = |v: &[f32], mode| {
            let x = column(v);
            let mut y = vec![0.0; x.len()];
            forward(&x, &mut y, v.len(), inner, mode);
            y.iter().step_by(inner).copied().collect::<Vec<f32>>()
        };
        for level in isa::available() {
            let (x, mut y) = ([0.0f32, f32::from_bits(0x7fc0_0155), 1.0], [0.0; 3]);
            // SAFETY: buffers of three elements; the processor has the level.
            unsafe { softmax_rows::at(level, x.as_ptr(), y.as_mut_ptr(), 1, 3, Mode::Plain) };
            assert!(y.iter().all(|v| v.is_nan()));
        }
        assert_eq!(run(&[-INF, 0.0, -INF], Mode::Plain), [0.0, 1.0, 0.0]);
        assert_eq!(run(&[-INF, 0.0], Mode::Log), [-INF, 0.0]);
        assert!(run(&[-INF, -INF], Mode::Plain).iter().all(|v| v.is_nan()));
        assert_eq!(run(&[-INF, -INF], Mode::Safe), [0.0, 0.0]);
        assert!(run(&[-INF, f32::NAN], Mode::Safe).iter().all(|v| v.is_nan()));
        assert!(run(&[INF, 0.0], Mode::Plain)[0].is_nan());
        assert_eq!(run(&[-1e30, -1e38], Mode::Plain), [1.0, 0.0]);
    }
}
