use super::*;
use crate::cpu::threads::set_num_threads;

fn numbers(len: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % 17) as f64 / 4.0 - 2.0
        })
        .collect()
}

/// Calls `f(x index, w index, y index)` for every product of the convolution.
fn each(s: &ConvShape, mut f: impl FnMut(usize, usize, usize)) {
    let (in_plane, kernel, plane) = s.planes();
    let (cig, cog) = (s.c_in / s.groups, s.c_out / s.groups);
    for n in 0..s.batch {
        for co in 0..s.c_out {
            for o in 0..plane {
                for ci in 0..cig {
                    for t in 0..kernel {
                        let o3 = [o / (s.output[1] * s.output[2]), o / s.output[2] % s.output[1], o % s.output[2]];
                        let t3 = [t / (s.kernel[1] * s.kernel[2]), t / s.kernel[2] % s.kernel[1], t % s.kernel[2]];
                        let i3: Vec<isize> =
                            (0..3).map(|d| (o3[d] * s.stride[d] + t3[d] * s.dilation[d]) as isize - s.pad[d] as isize).collect();
                        if (0..3).any(|d| i3[d] < 0 || i3[d] >= s.input[d] as isize) {
                            continue;
                        }
                        let i = (i3[0] as usize * s.input[1] + i3[1] as usize) * s.input[2] + i3[2] as usize;
                        let c = co / cog * cig + ci;
                        f((n * s.c_in + c) * in_plane + i, (co * cig + ci) * kernel + t, (n * s.c_out + co) * plane + o);
                    }
                }
            }
        }
    }
}

/// Inputs are small multiples of 1/4, so every sum is exact and must match to the bit.
fn check(s: &ConvShape) {
    let (nx, nw, ny) = s.lens();
    let (x, w, g, b) = (numbers(nx, 1), numbers(nw, 2), numbers(ny, 3), numbers(s.c_out, 4));
    let (mut y, mut gx, mut gw) = (vec![0.0; ny], vec![0.0; nx], vec![0.0; nw]);
    each(s, |i, j, o| {
        y[o] += x[i] * w[j];
        gx[i] += g[o] * w[j];
        gw[j] += g[o] * x[i];
    });
    let plane = s.output.iter().product::<usize>().max(1);
    let with_bias: Vec<f64> = y.iter().enumerate().map(|(i, v)| v + b[i / plane % s.c_out]).collect();
    let mut out = vec![f64::NAN; ny];
    conv_forward(s, &x, &w, None, &mut out);
    assert_eq!(out, y, "{s:?}");
    conv_forward(s, &x, &w, Some(&b), &mut out);
    assert_eq!(out, with_bias, "{s:?}");
    let mut out = vec![f64::NAN; nx];
    conv_backward_input(s, &g, &w, &mut out);
    assert_eq!(out, gx, "{s:?}");
    let mut out = vec![f64::NAN; nw];
    conv_backward_weight(s, &x, &g, &mut out);
    assert_eq!(out, gw, "{s:?}");
    let mut out = vec![f64::NAN; s.c_out];
    conv_backward_bias(s.batch, s.output.iter().product(), &g, &mut out);
    for (co, &got) in out.iter().enumerate() {
        let want: f64 = (0..s.batch)
            .map(|n| {
                g[(n * s.c_out + co) * ny / (s.batch * s.c_out).max(1)..][..ny / (s.batch * s.c_out).max(1)].iter().sum::<f64>()
            })
            .sum();
        assert_eq!(got, want);
    }
    let f = |v: &[f64]| v.iter().map(|&x| x as f32).collect::<Vec<_>>();
    let mut out = vec![f32::NAN; ny];
    conv_forward(s, &f(&x), &f(&w), None, &mut out);
    assert_eq!(out, f(&y), "{s:?}");
}

#[test]
fn shapes_of_all_kinds() {
    // batch, c_in, c_out, groups, input, kernel, stride, pad, dilation
    for (n, ci, co, g, input, kernel, stride, pad, dilation) in [
        (2, 3, 5, 1, [1, 9, 11], [1, 3, 3], [1, 1, 1], [0, 1, 1], [1, 1, 1]),
        (1, 3, 5, 1, [1, 20, 37], [1, 3, 3], [1, 1, 1], [0, 1, 1], [1, 1, 1]),
        (1, 4, 6, 2, [1, 8, 9], [1, 3, 2], [1, 2, 3], [0, 2, 1], [1, 2, 1]),
        (3, 2, 14, 1, [1, 1, 50], [1, 1, 5], [1, 1, 2], [0, 0, 4], [1, 1, 3]),
        (2, 2, 3, 1, [4, 5, 6], [2, 3, 3], [1, 2, 1], [1, 0, 2], [1, 1, 2]),
        (2, 4, 4, 4, [1, 7, 8], [1, 3, 3], [1, 1, 1], [0, 1, 1], [1, 1, 1]),
        (2, 3, 6, 3, [1, 9, 40], [1, 5, 3], [1, 2, 2], [0, 2, 0], [1, 1, 2]),
        (1, 2, 2, 2, [3, 4, 5], [3, 2, 1], [2, 1, 1], [2, 1, 1], [1, 1, 1]),
        (2, 13, 15, 1, [1, 6, 7], [1, 1, 1], [1, 1, 1], [0, 0, 0], [1, 1, 1]),
        (5, 6, 8, 2, [1, 2, 3], [1, 1, 1], [1, 1, 1], [0, 0, 0], [1, 1, 1]),
        (4, 6, 8, 1, [1, 9, 9], [1, 1, 1], [1, 2, 2], [0, 0, 0], [1, 1, 1]),
        (9, 5, 7, 1, [1, 4, 4], [1, 4, 4], [1, 1, 1], [0, 0, 0], [1, 1, 1]),
        (1, 3, 20, 1, [1, 32, 32], [1, 16, 16], [1, 16, 16], [0, 0, 0], [1, 1, 1]),
        (2, 1, 1, 1, [1, 3, 3], [1, 3, 3], [1, 1, 1], [0, 4, 4], [1, 1, 1]),
        (2, 40, 33, 1, [1, 12, 70], [1, 3, 3], [1, 1, 1], [0, 1, 1], [1, 1, 1]),
        (1, 8, 8, 1, [1, 1, 300], [1, 1, 3], [1, 1, 1], [0, 0, 1], [1, 1, 1]),
        (0, 3, 4, 1, [1, 5, 5], [1, 3, 3], [1, 1, 1], [0, 1, 1], [1, 1, 1]),
        (1, 2, 3, 1, [1, 7, 7], [1, 2, 2], [1, 5, 4], [0, 0, 0], [1, 1, 1]),
    ] {
        check(&ConvShape::new(n, ci, co, g, input, kernel, stride, pad, dilation).unwrap());
    }
}

#[test]
fn transposed_convolution_with_output_padding() {
    for (stride, output_pad, dilation) in [(2, 1, 1), (3, 2, 1), (1, 1, 2), (2, 0, 2), (1, 0, 1)] {
        let (stride, out_pad, dil) = ([1, stride, 2], [0, output_pad, 1], [1, dilation, 1]);
        let s = ConvShape::transposed(2, 4, 6, 2, [1, 5, 4], [1, 3, 3], stride, [0, 1, 1], out_pad, dil).unwrap();
        assert_eq!((s.c_in, s.c_out, s.output), (6, 4, [1, 5, 4]));
        assert_eq!(s.input[1], 4 * stride[1] + 2 * dil[1] + out_pad[1] + 1 - 2);
        check(&s);
        // Depthwise too.
        check(&ConvShape::transposed(2, 3, 3, 3, [1, 5, 4], [1, 3, 3], stride, [0, 1, 1], out_pad, dil).unwrap());
    }
}

#[test]
fn shapes_that_cannot_be() {
    let new =
        |groups, input, kernel, stride, pad| ConvShape::new(1, 4, 4, groups, input, kernel, stride, pad, [1; 3]).unwrap_err();
    let one = [1; 3];
    assert_eq!(new(3, [1, 5, 5], one, one, [0; 3]), ConvError::Groups);
    assert_eq!(new(0, [1, 5, 5], one, one, [0; 3]), ConvError::Groups);
    assert_eq!(new(1, [1, 5, 5], [1, 6, 1], one, [0; 3]), ConvError::KernelTooLarge);
    assert_eq!(new(1, [1, 5, 5], [1, 0, 1], one, [0; 3]), ConvError::KernelTooLarge);
    assert_eq!(new(1, [1, 5, 5], one, [1, 0, 1], [0; 3]), ConvError::Zero);
    let huge = [0, usize::MAX / 2, 0];
    assert_eq!(new(1, [1, 5, 5], one, one, huge), ConvError::Overflow);
    assert_eq!(new(1, [1, 1 << 31, 1 << 31], one, one, [0; 3]), ConvError::Overflow);
}

#[test]
fn empty_input_channels_leave_the_bias() {
    let s = ConvShape::new(1, 0, 2, 1, [1, 2, 2], [1, 1, 1], [1; 3], [0; 3], [1; 3]).unwrap();
    let mut y = [f32::NAN; 8];
    conv_forward(&s, &[], &[], Some(&[1.0, 2.0]), &mut y);
    assert_eq!(y, [1.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0, 2.0]);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for (batch, groups) in [(1, 1), (5, 1), (2, 4), (2, 8)] {
        let s = ConvShape::new(batch, 8, 16, groups, [1, 21, 30], [1, 3, 3], [1, 2, 1], [0, 1, 1], [1; 3]).unwrap();
        let (nx, nw, ny) = s.lens();
        let real = |len, seed| numbers(len, seed).iter().map(|x| (x * 0.377).sin() as f32).collect::<Vec<_>>();
        let (x, w, g) = (real(nx, 1), real(nw, 2), real(ny, 3));
        let run = |threads| {
            set_num_threads(threads);
            let (mut y, mut gx, mut gw) = (vec![0.0; ny], vec![0.0; nx], vec![0.0; nw]);
            conv_forward(&s, &x, &w, None, &mut y);
            conv_backward_input(&s, &g, &w, &mut gx);
            conv_backward_weight(&s, &x, &g, &mut gw);
            y.extend(gx);
            y.extend(gw);
            y.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        };
        let one = run(1);
        assert_eq!(run(2), one);
        assert_eq!(run(7), one);
        set_num_threads(2);
    }
}
