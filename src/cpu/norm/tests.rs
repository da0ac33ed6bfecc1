use super::*;
use crate::cpu::isa;

fn numbers(n: usize, seed: usize) -> Vec<f64> {
    (0..n).map(|i| f64::from((((i + seed) * 7919 % 1009) as f32 / 1009.0 - 0.4) * 3.0)).collect()
}

fn narrow(v: &[f64]) -> Vec<f32> {
    v.iter().map(|&v| v as f32).collect()
}

struct Case {
    x: Vec<f64>,
    g: Vec<f64>,
    w: Option<Vec<f64>>,
    b: Option<Vec<f64>>,
    n: usize,
    rows: usize,
    center: bool,
}

/// In float64, by definition: result, gradients of input, weight and bias.
fn reference(c: &Case) -> [Vec<f64>; 4] {
    let n = c.n;
    let (mut y, mut dx) = (vec![0.0; c.x.len()], vec![0.0; c.x.len()]);
    let (mut dw, mut db) = (vec![0.0; n], vec![0.0; n]);
    for r in 0..c.rows {
        let (x, g) = (&c.x[r * n..(r + 1) * n], &c.g[r * n..(r + 1) * n]);
        let mean = if c.center { x.iter().sum::<f64>() / n as f64 } else { 0.0 };
        let rstd = 1.0 / (x.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n as f64 + 1e-5).sqrt();
        let w = |k: usize| c.w.as_ref().map_or(1.0, |w| w[k]);
        let a = if c.center { (0..n).map(|k| g[k] * w(k)).sum::<f64>() / n as f64 } else { 0.0 };
        let p = (0..n).map(|k| g[k] * w(k) * (x[k] - mean) * rstd).sum::<f64>() / n as f64;
        for k in 0..n {
            let h = (x[k] - mean) * rstd;
            y[r * n + k] = h * w(k) + c.b.as_ref().map_or(0.0, |b| b[k]);
            dx[r * n + k] = rstd * (g[k] * w(k) - a - h * p);
            dw[k] += g[k] * h;
            db[k] += g[k];
        }
    }
    [y, dx, dw, db]
}

fn run<T: Float>(c: &Case, of: impl Fn(&[f64]) -> Vec<T>) -> [Vec<T>; 4] {
    let (x, g, n) = (of(&c.x), of(&c.g), c.n);
    let (w, b) = (c.w.as_deref().map(&of), c.b.as_deref().map(&of));
    let (mut y, mut dx) = (vec![T::ZERO; x.len()], vec![T::ZERO; x.len()]);
    let (mut mean, mut rstd) = (vec![T::ZERO; c.rows], vec![T::ZERO; c.rows]);
    forward(&x, n, w.as_deref(), b.as_deref(), 1e-5, c.center, &mut y, &mut mean, &mut rstd);
    let mut sums = vec![T::ZERO; 2 * blocks(c.rows) * n];
    backward(&x, &g, n, w.as_deref(), &mean, &rstd, c.center, &mut dx, &mut sums);
    let add = |part: &[T]| (0..n).map(|k| part.chunks(n).fold(T::ZERO, |s, row| s + row[k])).collect::<Vec<T>>();
    let half = sums.len() / 2;
    let (dw, db) = (add(&sums[..half]), add(&sums[half..]));
    [y, dx, dw, db]
}

#[test]
fn rows_against_the_definition() {
    for n in [1, 2, 31, 64, 100, 513, 700] {
        for rows in [1, 7, 70] {
            for (affine, bias, center) in
                [(true, true, true), (true, false, false), (false, false, true), (false, true, true), (false, false, false)]
            {
                let c = Case {
                    x: numbers(rows * n, 1),
                    g: numbers(rows * n, 500),
                    w: affine.then(|| numbers(n, 77)),
                    b: bias.then(|| numbers(n, 99)),
                    n,
                    rows,
                    center,
                };
                let want = reference(&c);
                let (wide, single) = (run(&c, |v| v.to_vec()), run(&c, narrow));
                // A row of one element has the deviation sqrt(eps): its gradients are large.
                let scale = if n < 3 { 3e3 } else { 10.0 } * rows as f64;
                for part in 0..4 {
                    // Without a weight its gradient is not made.
                    if part == 2 && !affine {
                        continue;
                    }
                    for ((w, a), b) in want[part].iter().zip(&wide[part]).zip(&single[part]) {
                        assert!((a - w).abs() <= 1e-13 * scale, "{n} {rows} {part}: {a} for {w}");
                        assert!((f64::from(*b) - w).abs() <= 1e-6 * scale, "{n} {rows} {part}: {b} for {w}");
                    }
                }
            }
        }
    }
}

#[test]
fn every_level_is_right() {
    let (n, rows) = (203, 3);
    let c = Case {
        x: numbers(n * rows, 3),
        g: numbers(n * rows, 9),
        w: Some(numbers(n, 5)),
        b: Some(numbers(n, 6)),
        n,
        rows,
        center: true,
    };
    let want = reference(&c);
    let (x, g, w, b) = (narrow(&c.x), narrow(&c.g), narrow(c.w.as_ref().unwrap()), narrow(c.b.as_ref().unwrap()));
    for level in isa::available() {
        let (mut y, mut dx) = (vec![0.0; x.len()], vec![0.0; x.len()]);
        let (mut m, mut s, mut dw, mut db) = (vec![0.0; rows], vec![0.0; rows], vec![0.0; n], vec![0.0; n]);
        // SAFETY: the buffers have the sizes that the kernels name; the processor has the level.
        unsafe {
            let (w, b) = (Some(w.as_ptr()), Some(b.as_ptr()));
            forward_rows::at(level, x.as_ptr(), w, b, y.as_mut_ptr(), m.as_mut_ptr(), s.as_mut_ptr(), rows, n, 1e-5, true);
            let (m, s) = (m.as_ptr(), s.as_ptr());
            backward_rows::at(level, x.as_ptr(), g.as_ptr(), n, w, m, s, dx.as_mut_ptr(), &mut dw, &mut db, rows, n, true);
        }
        for (want, got) in want.iter().zip([y, dx, dw, db]) {
            for (w, v) in want.iter().zip(got) {
                assert!((w - f64::from(v)).abs() <= 3e-6 * w.abs().max(1.0), "{}: {v} for {w}", level.name());
            }
        }
    }
}

#[test]
fn far_from_zero_and_not_finite() {
    let n = 4000;
    let x: Vec<f32> = (0..n).map(|i| 1e4 + (i % 2) as f32).collect();
    let (mut y, mut mean, mut rstd) = (vec![0.0; n], [0.0], [0.0]);
    forward(&x, n, None, None, 0.0, true, &mut y, &mut mean, &mut rstd);
    assert_eq!((mean[0], rstd[0]), (10_000.5, 2.0));
    assert!(y.iter().enumerate().all(|(i, &v)| v == if i % 2 == 1 { 1.0 } else { -1.0 }));
    let mut x = x;
    x[17] = f32::NAN;
    forward(&x, n, None, None, 1e-5, true, &mut y, &mut mean, &mut rstd);
    assert!(y.iter().all(|v| v.is_nan()));
    forward::<f32>(&[], 0, None, None, 1e-5, true, &mut [], &mut [0.0; 2], &mut [0.0; 2]);
    forward::<f32>(&[], 3, None, None, 1e-5, true, &mut [], &mut [], &mut []);
}
