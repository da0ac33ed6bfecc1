use super::*;

fn wave(n: usize, f: f64) -> Vec<f64> {
    (0..n).map(|i| (i as f64 * f + 0.3).sin()).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn resize_row(mode: Mode, x: &[f64], n: usize, corners: bool) -> Vec<f64> {
    let one = || Axis::new(Mode::Nearest, 1, 1, false, None);
    let axes = [one(), one(), Axis::new(mode, x.len(), n, corners, None)];
    let mut y = vec![f64::NAN; n];
    Resize { axes }.forward(1, x, &mut y);
    y
}

fn close(a: &[f64], b: &[f64]) {
    assert_eq!(a.len(), b.len());
    for (x, y) in a.iter().zip(b) {
        assert!((x - y).abs() < 1e-12, "{a:?} {b:?}");
    }
}

#[test]
fn rows_by_hand() {
    let x = [1.0, 2.0, 4.0, 8.0];
    close(&resize_row(Mode::Nearest, &x, 6, false), &[1.0, 1.0, 2.0, 4.0, 4.0, 8.0]);
    close(&resize_row(Mode::NearestExact, &x, 6, false), &[1.0, 2.0, 2.0, 4.0, 8.0, 8.0]);
    close(&resize_row(Mode::Linear, &x, 2, false), &[1.5, 6.0]);
    close(&resize_row(Mode::Linear, &x[..2], 4, false), &[1.0, 1.25, 1.75, 2.0]);
    close(&resize_row(Mode::Linear, &x, 7, true), &[1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0]);
    close(&resize_row(Mode::Linear, &x, 1, true), &[1.0]);
    // With this kernel a straight line gets steps: 1.75 - 3/64 and so on.
    let line: Vec<f64> = (0..8).map(f64::from).collect();
    let y = resize_row(Mode::Cubic, &line, 16, false);
    close(&y[4..8], &[1.703_125, 2.296_875, 2.703_125, 3.296_875]);
    // The filter of a halving is a tent over four elements, cut at the border.
    let y = resize_row(Mode::LinearAntialias, &line, 4, false);
    close(&y[1..3], &[2.5, 4.5]);
    close(&y[..1], &[(0.0 * 0.75 + 0.75 + 2.0 * 0.25) / 1.75]);
}

#[test]
fn a_given_scale_is_used() {
    let axis = Axis::<f64>::new(Mode::Linear, 4, 7, false, Some(1.9));
    let x: f64 = (3.0 + 0.5) / 1.9 - 0.5;
    let tap = axis.offsets[3];
    assert_eq!(axis.index[tap], 1);
    assert!((axis.weight[tap + 1] - (x - 1.0)).abs() < 1e-15);
}

#[test]
fn gradients_are_adjoint() {
    for mode in [Mode::Nearest, Mode::NearestExact, Mode::Linear, Mode::Cubic, Mode::LinearAntialias, Mode::CubicAntialias] {
        for corners in [false, true] {
            let (input, output) = ([2, 7, 9], [3, 4, 14]);
            let axes = std::array::from_fn(|d| Axis::new(mode, input[d], output[d], corners, None));
            let r = Resize { axes };
            let (x, g) = (wave(3 * 126, 0.7), wave(3 * 168, 1.1));
            let (mut y, mut gx) = (vec![f64::NAN; 3 * 168], vec![f64::NAN; 3 * 126]);
            r.forward(3, &x, &mut y);
            r.backward(3, &g, &mut gx);
            assert!((dot(&y, &g) - dot(&x, &gx)).abs() < 1e-10, "{mode:?}");
            // Weights sum to one, so a constant stays.
            let mut y = vec![0.0; 3 * 168];
            r.forward(3, &vec![2.5; 3 * 126], &mut y);
            assert!(y.iter().all(|v| (v - 2.5).abs() < 1e-12), "{mode:?}");
        }
    }
}

#[test]
fn same_size_copies_bits() {
    let axes = std::array::from_fn(|_| Axis::new(Mode::Linear, 2, 2, false, None));
    let x = [1.0_f32, f32::NAN, -0.0, f32::INFINITY, 1.0, 2.0, 3.0, 4.0];
    let mut y = [0.0; 8];
    Resize { axes }.forward(1, &x, &mut y);
    assert_eq!(y.map(f32::to_bits), x.map(f32::to_bits));
}

fn grid_shape(dims: usize, mode: GridMode, padding: GridPadding, align_corners: bool) -> GridShape {
    GridShape {
        batch: 2,
        channels: 3,
        input: [if dims == 3 { 3 } else { 1 }, 4, 5],
        points: 7,
        dims,
        mode,
        padding,
        align_corners,
    }
}

const PADDINGS: [GridPadding; 3] = [GridPadding::Zeros, GridPadding::Border, GridPadding::Reflection];

#[test]
fn grid_of_the_pixels_gives_the_image() {
    for mode in [GridMode::Linear, GridMode::Nearest, GridMode::Cubic] {
        for padding in PADDINGS {
            let s = GridShape { batch: 1, channels: 1, input: [1, 1, 5], points: 5, dims: 2, mode, padding, align_corners: true };
            let x = [3.0, -1.0, 4.0, 1.0, 5.0];
            let grid: Vec<f64> = (0..5).flat_map(|i| [i as f64 / 2.0 - 1.0, 0.0]).collect();
            let mut y = [0.0; 5];
            grid_sample(&s, &x, &grid, &mut y);
            close(&y, &x);
        }
    }
}

#[test]
fn grid_outside() {
    let sample = |mode, padding, at: f64| {
        let s = GridShape { batch: 1, channels: 1, input: [1, 1, 4], points: 1, dims: 2, mode, padding, align_corners: false };
        let mut y = [0.0];
        grid_sample(&s, &[1.0, 2.0, 3.0, 4.0], &[at, 0.0], &mut y);
        y[0]
    };
    use GridMode::{Cubic, Linear, Nearest};
    use GridPadding::{Border, Reflection, Zeros};
    // Pixel coordinate 4 * (at + 1) / 2 - 0.5.
    assert_eq!(sample(Linear, Zeros, 1.0), 2.0);
    assert_eq!(sample(Linear, Border, 1.5), 4.0);
    assert_eq!(sample(Linear, Reflection, 1.5), 3.5);
    assert_eq!(sample(Nearest, Reflection, -1.6), 2.0);
    assert_eq!(sample(Nearest, Zeros, -1.6), 0.0);
    for padding in PADDINGS {
        for at in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300] {
            for mode in [Linear, Nearest, Cubic] {
                let y = sample(mode, padding, at);
                if mode == Linear && padding == Zeros {
                    assert_eq!(y.is_nan(), !at.is_finite());
                } else if mode == Nearest {
                    assert!((0.0..=4.0).contains(&y));
                }
            }
        }
        assert_eq!(sample(Linear, Border, f64::NAN), 1.0);
        assert_eq!(sample(Linear, Border, f64::INFINITY), 4.0);
    }
}

#[test]
fn grid_gradients_match_differences() {
    for dims in [2, 3] {
        for mode in [GridMode::Linear, GridMode::Cubic, GridMode::Nearest] {
            for padding in PADDINGS {
                for corners in [false, true] {
                    let s = grid_shape(dims, mode, padding, corners);
                    let x = wave(2 * 3 * s.input.iter().product::<usize>(), 0.9);
                    let grid: Vec<f64> = wave(2 * 7 * dims, 2.3).iter().map(|v| v * 1.4).collect();
                    let g = wave(2 * 3 * 7, 1.7);
                    let (mut gx, mut gg) = (vec![0.0; x.len()], vec![0.0; grid.len()]);
                    grid_sample_backward(&s, &g, &x, &grid, Some(&mut gx), Some(&mut gg));
                    let value = |x: &[f64], grid: &[f64]| {
                        let mut y = vec![0.0; g.len()];
                        grid_sample(&s, x, grid, &mut y);
                        dot(&y, &g)
                    };
                    assert!((value(&x, &grid) - dot(&x, &gx)).abs() < 1e-10);
                    for i in 0..grid.len() {
                        let mut moved = grid.clone();
                        moved[i] += 1e-6;
                        let up = value(&x, &moved);
                        moved[i] -= 2e-6;
                        let slope = (up - value(&x, &moved)) / 2e-6;
                        assert!((slope - gg[i]).abs() < 1e-6, "{s:?} {i}: {slope} {}", gg[i]);
                    }
                }
            }
        }
    }
}

#[test]
fn unfold_and_fold() {
    let s = FoldShape {
        batch: 1,
        channels: 1,
        input: [2, 3],
        kernel: [2, 2],
        stride: [1, 2],
        pad: [0, 1],
        dilation: [1, 1],
        output: [1, 2],
    };
    let x = [1, 2, 3, 4, 5, 6];
    let mut y = [9; 8];
    unfold(&s, &x, &mut y);
    assert_eq!(y, [0, 2, 1, 3, 0, 5, 4, 6]);
    let mut back = [9; 6];
    fold(&s, &y, &mut back);
    assert_eq!(back, [1, 2, 3, 4, 5, 6]);
    let s = FoldShape {
        batch: 2,
        channels: 3,
        input: [5, 7],
        kernel: [3, 2],
        stride: [2, 1],
        pad: [1, 2],
        dilation: [2, 3],
        output: [2, 8],
    };
    let (x, g) = (wave(210, 0.3), wave(2 * 18 * 16, 0.8));
    let (mut y, mut gx) = (vec![0.0; g.len()], vec![0.0; 210]);
    unfold(&s, &x, &mut y);
    fold(&s, &g, &mut gx);
    assert!((dot(&y, &g) - dot(&x, &gx)).abs() < 1e-11);
}
