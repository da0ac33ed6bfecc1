use super::*;
use crate::cpu::conv::{conv_backward_input, conv_backward_weight, conv_forward};
use crate::cpu::isa;
use crate::cpu::threads::set_num_threads;

fn numbers(len: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % 2001) as f32 / 1000.0 - 1.0
        })
        .collect()
}

/// One tile of one channel pair by each level's transforms, against sums in float64.
#[test]
fn transforms_of_every_level() {
    let (d, w, dy) = (numbers(36 * LANES, 1), numbers(9 * LANES, 2), numbers(16 * LANES, 3));
    let zero = [0.0; LANES];
    for level in isa::available() {
        let (mut u, mut v, mut g) = (vec![0.0; 36 * LANES], vec![0.0; 36 * LANES], vec![0.0; 36 * LANES]);
        let (mut tmp, mut y, mut dw) = (vec![0.0; 36 * LANES], vec![0.0; 16 * LANES], vec![0.0; 9 * LANES]);
        // SAFETY: one tile of each; the processor has the level.
        let flag = unsafe {
            transform::kernel::at(level, w.as_ptr(), u.as_mut_ptr(), LANES);
            transform::input::at(level, d.as_ptr(), tmp.as_mut_ptr(), 1, v.as_mut_ptr(), LANES, 0);
            transform::gradient::at(level, dy.as_ptr(), tmp.as_mut_ptr(), 1, g.as_mut_ptr(), LANES, 0);
            let m: Vec<f32> = u.iter().zip(&v).map(|(a, b)| a * b).collect();
            let n: Vec<f32> = g.iter().zip(&v).map(|(a, b)| a * b).collect();
            transform::kernel_gradient::at(level, n.as_ptr(), LANES, dw.as_mut_ptr());
            transform::output::at(level, m.as_ptr(), LANES, 0, 1, &zero, tmp.as_mut_ptr(), y.as_mut_ptr())
        };
        assert_eq!(flag, 0.0);
        let at = |v: &[f32], i: usize, l: usize| f64::from(v[i * LANES + l]);
        for l in 0..LANES {
            for i in 0..16 {
                let want: f64 = (0..9).map(|k| at(&w, k, l) * at(&d, (i / 4 + k / 3) * 6 + i % 4 + k % 3, l)).sum();
                assert!((at(&y, i, l) - want).abs() < 1e-5, "{}: {} {want}", level.name(), at(&y, i, l));
            }
            for k in 0..9 {
                let want: f64 = (0..16).map(|i| at(&dy, i, l) * at(&d, (i / 4 + k / 3) * 6 + i % 4 + k % 3, l)).sum();
                assert!((at(&dw, k, l) - want).abs() < 1e-5, "{}: {} {want}", level.name(), at(&dw, k, l));
            }
        }
    }
}

fn shape(batch: usize, c_in: usize, c_out: usize, h: usize, w: usize, pad: [usize; 2]) -> ConvShape {
    ConvShape::new(batch, c_in, c_out, 1, [1, h, w], [1, 3, 3], [1; 3], [0, pad[0], pad[1]], [1; 3]).unwrap()
}

/// The error relative to the sum of the absolute products, which bounds that of a plain sum.
fn worst(got: &[f32], want: &[f64], size: &[f64]) -> f64 {
    got.iter().zip(want).zip(size).map(|((g, w), s)| (f64::from(*g) - w).abs() / s.max(1e-30)).fold(0.0, f64::max)
}

#[test]
fn all_three_directions_near_float64() {
    for (n, ci, co, h, w, pad) in [
        (1, 16, 32, 37, 41, [1, 1]),
        (3, 13, 17, 22, 31, [0, 2]),
        (9, 32, 48, 14, 14, [1, 1]),
        (2, 70, 33, 20, 5, [2, 0]),
        (5, 64, 64, 28, 28, [1, 1]),
    ] {
        let s = shape(n, ci, co, h, w, pad);
        let (nx, nw, ny) = s.lens();
        let (x, k, g, b) = (numbers(nx, 1), numbers(nw, 2), numbers(ny, 3), numbers(co, 4));
        let wide = |v: &[f32]| v.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        let abs = |v: &[f32]| v.iter().map(|&x| f64::from(x).abs()).collect::<Vec<_>>();
        let (mut want, mut size) = (vec![0.0; ny.max(nx).max(nw)], vec![0.0; ny.max(nx).max(nw)]);
        let (mut y, mut gx, mut gw) = (vec![f32::NAN; ny], vec![f32::NAN; nx], vec![f32::NAN; nw]);
        let z = Sizes::new(&s);
        assert!(run(&z, &x, &k, false, Some(&b), &mut y), "{s:?}");
        conv_forward(&s, &wide(&x), &wide(&k), Some(&wide(&b)), &mut want[..ny]);
        conv_forward(&s, &abs(&x), &abs(&k), Some(&abs(&b)), &mut size[..ny]);
        assert!(worst(&y, &want, &size) < 1e-6, "forward {s:?}: {:e}", worst(&y, &want, &size));
        assert!(run(&z.turned(n), &g, &k, true, None, &mut gx), "{s:?}");
        conv_backward_input(&s, &wide(&g), &wide(&k), &mut want[..nx]);
        conv_backward_input(&s, &abs(&g), &abs(&k), &mut size[..nx]);
        assert!(worst(&gx, &want, &size) < 1e-6, "input {s:?}: {:e}", worst(&gx, &want, &size));
        assert!(run_weight(&z, &x, &g, &mut gw), "{s:?}");
        conv_backward_weight(&s, &wide(&x), &wide(&g), &mut want[..nw]);
        conv_backward_weight(&s, &abs(&x), &abs(&g), &mut size[..nw]);
        assert!(worst(&gw, &want, &size) < 1e-6, "weight {s:?}: {:e}", worst(&gw, &want, &size));
    }
}

#[test]
fn what_is_not_finite_stays_where_it_belongs() {
    let s = shape(2, 16, 16, 24, 24, [1, 1]);
    let (nx, nw, ny) = s.lens();
    let (mut x, w, mut g) = (numbers(nx, 1), numbers(nw, 2), numbers(ny, 3));
    x[5 * 24 + 7] = f32::INFINITY;
    let mut y = vec![0.0; ny];
    assert!(!run(&Sizes::new(&s), &x, &w, false, None, &mut y));
    conv_forward(&s, &x, &w, None, &mut y);
    for (i, v) in y.iter().enumerate() {
        let (row, col) = (i / 24 % 24, i % 24);
        let near = i < 16 * 576 && (4..=6).contains(&row) && (6..=8).contains(&col);
        assert_eq!(v.is_finite(), !near, "{row} {col}");
    }
    g[100] = f32::NAN;
    let mut gx = vec![0.0; nx];
    conv_backward_input(&s, &g, &w, &mut gx);
    assert_eq!(gx.iter().filter(|v| v.is_nan()).count(), 9 * 16);
    let (x, mut gw) = (numbers(nx, 1), vec![0.0; nw]);
    conv_backward_weight(&s, &x, &g, &mut gw);
    assert_eq!(gw.iter().filter(|v| v.is_nan()).count(), 9 * 16);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let s = shape(6, 24, 40, 30, 26, [1, 1]);
    let (nx, nw, ny) = s.lens();
    let (x, w, g) = (numbers(nx, 1), numbers(nw, 2), numbers(ny, 3));
    let z = Sizes::new(&s);
    let all = |threads| {
        set_num_threads(threads);
        let (mut y, mut gx, mut gw) = (vec![0.0; ny], vec![0.0; nx], vec![0.0; nw]);
        assert!(run(&z, &x, &w, false, None, &mut y) && run(&z.turned(6), &g, &w, true, None, &mut gx));
        assert!(run_weight(&z, &x, &g, &mut gw));
        y.extend(gx);
        y.extend(gw);
        y.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
    };
    let one = all(1);
    assert_eq!(all(2), one);
    assert_eq!(all(5), one);
    set_num_threads(2);
}
