use super::*;

fn shape(
    planes: usize,
    input: [usize; 3],
    k: [usize; 3],
    s: [usize; 3],
    p: [usize; 3],
    dil: [usize; 3],
    ceil: bool,
) -> PoolShape {
    PoolShape {
        planes,
        input,
        kernel: k,
        stride: s,
        pad: p,
        dilation: dil,
        output: std::array::from_fn(|d| output_size(input[d], k[d], s[d], p[d], dil[d], ceil).unwrap()),
    }
}

/// Distinct-ish values with ties, infinities and NaN.
fn numbers(len: usize) -> Vec<f32> {
    let mut state = 88_172_645_463_325_252_u64;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            match state % 50 {
                0 => f32::NAN,
                1 => f32::NEG_INFINITY,
                _ => (state / 50 % 64) as f32 / 4.0 - 8.0,
            }
        })
        .collect()
}

fn naive_max(s: &PoolShape, x: &[f32]) -> (Vec<f32>, Vec<i64>) {
    let (mut y, mut index) = (vec![], vec![]);
    let [d, h, w] = s.input.map(|n| n as isize);
    for p in 0..s.planes {
        let x = &x[p * (d * h * w) as usize..];
        for o in 0..s.output.iter().product::<usize>() {
            let o = [o / (s.output[1] * s.output[2]), o / s.output[2] % s.output[1], o % s.output[2]];
            let mut best: Option<(f32, i64)> = None;
            for k in 0..s.kernel.iter().product::<usize>() {
                let k = [k / (s.kernel[1] * s.kernel[2]), k / s.kernel[2] % s.kernel[1], k % s.kernel[2]];
                let i: [isize; 3] =
                    std::array::from_fn(|d| (o[d] * s.stride[d] + k[d] * s.dilation[d]) as isize - s.pad[d] as isize);
                if i[0] < 0 || i[0] >= d || i[1] < 0 || i[1] >= h || i[2] < 0 || i[2] >= w {
                    continue;
                }
                let at = (i[0] * h + i[1]) * w + i[2];
                let v = x[at as usize];
                best = match best {
                    Some((b, _)) if !(v > b || v.is_nan()) => best,
                    _ => Some((v, at as i64)),
                };
            }
            let (v, i) = best.unwrap();
            y.push(v);
            index.push(i);
        }
    }
    (y, index)
}

#[test]
fn max_pool_matches_the_definition() {
    for (input, k, st, p, dil, ceil) in [
        ([1, 6, 8], [1, 2, 2], [1, 2, 2], [0, 0, 0], [1, 1, 1], false),
        ([1, 7, 9], [1, 3, 3], [1, 2, 2], [0, 1, 1], [1, 1, 1], true),
        ([1, 11, 40], [1, 3, 3], [1, 1, 1], [0, 1, 1], [1, 1, 1], false),
        ([4, 7, 9], [2, 3, 3], [2, 1, 3], [1, 1, 0], [1, 2, 3], false),
        ([1, 5, 70], [1, 2, 2], [1, 2, 2], [0, 0, 0], [1, 1, 1], false),
        ([1, 4, 121], [1, 2, 3], [1, 1, 3], [0, 0, 1], [1, 1, 2], true),
        ([5, 1, 33], [5, 1, 5], [1, 1, 4], [2, 0, 2], [1, 1, 1], true),
    ] {
        let s = shape(3, input, k, st, p, dil, ceil);
        let x = numbers(3 * input.iter().product::<usize>());
        let (want, want_index) = naive_max(&s, &x);
        let (mut y, mut index) = (vec![0.0; want.len()], vec![-1; want.len()]);
        max_pool(&s, &x, &mut y, Some(&mut index));
        assert_eq!(index, want_index, "{s:?}");
        let mut bare = vec![0.0; y.len()];
        max_pool(&s, &x, &mut bare, None);
        assert!(y.iter().zip(&bare).all(|(a, b)| a.to_bits() == b.to_bits()), "{s:?}");
        assert!(y.iter().zip(&want).all(|(a, b)| a == b || a.is_nan() && b.is_nan()));
        // The gradient counts how often each element won.
        let mut gx = vec![9.0_f64; x.len()];
        max_pool_backward(3, x.len() / 3, &vec![1.0; y.len()], &index, &mut gx);
        let mut count = vec![0.0; x.len()];
        for (o, &i) in index.iter().enumerate() {
            count[o / (y.len() / 3) * (x.len() / 3) + i as usize] += 1.0;
        }
        assert_eq!(gx, count);
    }
}

#[test]
fn max_pool_of_integers_and_of_the_lowest() {
    let s = shape(1, [1, 1, 4], [1, 1, 2], [1, 1, 2], [0; 3], [1; 3], false);
    let (mut y, mut index) = ([0_i64; 2], [9; 2]);
    max_pool(&s, &[i64::MIN, i64::MIN, 3, i64::MAX], &mut y, Some(&mut index));
    assert_eq!((y, index), ([i64::MIN, i64::MAX], [0, 3]));
    let (mut y, mut index) = ([0.0_f32; 2], [9; 2]);
    max_pool(&s, &[f32::NEG_INFINITY; 4], &mut y, Some(&mut index));
    assert_eq!((y, index), ([f32::NEG_INFINITY; 2], [0, 2]));
}

#[test]
fn output_sizes() {
    assert_eq!(output_size(7, 2, 2, 0, 1, false), Ok(3));
    assert_eq!(output_size(7, 2, 2, 0, 1, true), Ok(4));
    // The fourth window would start in the padding.
    assert_eq!(output_size(5, 2, 3, 1, 1, true), Ok(2));
    assert_eq!(output_size(1, 2, 2, 0, 1, false), Err(PoolError::TooSmall));
    assert_eq!(output_size(5, 2, 0, 0, 1, false), Err(PoolError::Zero));
    assert_eq!(output_size(5, 2, 1, 2, 1, false), Err(PoolError::Padding));
    assert_eq!(output_size(9, 3, 1, 2, 2, false), Ok(9));
}

#[test]
fn average_counts_padding_as_told() {
    // One row 1 2 3 4 5, kernel 3, stride 2, padding 1, ceil mode.
    let s = shape(1, [1, 1, 5], [1, 1, 3], [1, 1, 2], [0, 0, 1], [1; 3], true);
    assert_eq!(s.output, [1, 1, 3]);
    let x = [1.0_f32, 2.0, 3.0, 4.0, 5.0];
    let run = |include, divisor| {
        let mut y = [0.0; 3];
        avg_pool(&Windows::fixed(&s, include, divisor), 1, &x, &mut y);
        y
    };
    assert_eq!(run(true, None), [1.0, 3.0, 3.0]);
    assert_eq!(run(false, None), [1.5, 3.0, 4.5]);
    assert_eq!(run(true, Some(2)), [1.5, 4.5, 4.5]);
    // A last window that hangs over the padded end counts only what lies in it.
    let s = shape(1, [1, 1, 4], [1, 1, 3], [1, 1, 2], [0, 0, 0], [1; 3], true);
    let mut y = [0.0; 2];
    avg_pool(&Windows::fixed(&s, true, None), 1, &x[..4], &mut y);
    assert_eq!(y, [2.0, 3.5]);
}

#[test]
fn average_gradient_is_the_adjoint() {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let fixed = shape(2, [3, 8, 21], [2, 3, 5], [1, 2, 3], [1, 1, 2], [1; 3], true);
    for (w, input) in [
        (Windows::fixed(&fixed, true, None), fixed.input),
        (Windows::fixed(&fixed, false, None), fixed.input),
        (Windows::adaptive([2, 5, 40], [1, 3, 2]), [2, 5, 40]),
        (Windows::adaptive([2, 3, 3], [4, 7, 3]), [2, 3, 3]),
    ] {
        let (in_plane, plane) = w.planes();
        assert_eq!(in_plane, input.iter().product::<usize>());
        let real = |n: usize, f: f64| (0..n).map(|i| (i as f64 * f).sin()).collect::<Vec<_>>();
        let (x, g) = (real(2 * in_plane, 0.7), real(2 * plane, 1.3));
        let (mut y, mut gx) = (vec![0.0; 2 * plane], vec![0.0; 2 * in_plane]);
        avg_pool(&w, 2, &x, &mut y);
        avg_pool_backward(&w, 2, &g, &mut gx);
        assert!((dot(&y, &g) - dot(&x, &gx)).abs() < 1e-12);
    }
}

#[test]
fn adaptive_windows_overlap_as_pytorchs() {
    let w = Windows::adaptive([1, 1, 7], [1, 1, 3]);
    let got: Vec<_> = w.dims[2].iter().map(|w| (w.start, w.end)).collect();
    assert_eq!(got, [(0, 3), (2, 5), (4, 7)]);
    let x = [1.0, 5.0, 2.0, f64::NAN, 0.0, 7.0, 7.0];
    let (mut y, mut index) = ([0.0; 3], [0; 3]);
    adaptive_max_pool(&w, 1, &x, &mut y, &mut index);
    assert_eq!((y[0], y[2], index), (5.0, 7.0, [1, 3, 5]));
    assert!(y[1].is_nan());
    let mut y = [0.0; 3];
    avg_pool(&w, 1, &[1.0, 5.0, 3.0, 4.0, 2.0, 7.0, 6.0], &mut y);
    assert_eq!(y, [3.0, 3.0, 5.0]);
}

#[test]
fn no_planes() {
    let s = shape(0, [1, 4, 4], [1, 2, 2], [1, 2, 2], [0; 3], [1; 3], false);
    max_pool::<f32>(&s, &[], &mut [], Some(&mut []));
    max_pool_backward::<f32>(0, 16, &[], &[], &mut []);
    avg_pool::<f32>(&Windows::fixed(&s, true, None), 0, &[], &mut []);
}
