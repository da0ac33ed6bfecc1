#![allow(clippy::undocumented_unsafe_blocks)]
use super::*;
use crate::cpu::threads::set_num_threads;

/// Small pseudo-random multiples of 1/8: their sums are exact, so comparisons are exact too.
fn numbers(len: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % 33) as f64 / 8.0 - 2.0
        })
        .collect()
}

fn naive(m: usize, n: usize, k: usize, a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut c = vec![0.0; m * n];
    for i in 0..m {
        for j in 0..n {
            c[i * n + j] = (0..k).map(|p| a[i * k + p] * b[p * n + j]).sum();
        }
    }
    c
}

/// Places a row-major matrix in memory with the given order and padding; returns data and strides.
fn place<T: Copy>(m: usize, n: usize, data: &[T], order: usize, fill: T) -> (Vec<T>, isize, isize) {
    let (rs, cs) = match order {
        0 => (n, 1),
        1 => (1, m),
        2 => (n + 3, 1),
        _ => (2 * n + 1, 2),
    };
    let mut out = vec![fill; m.max(1) * rs + n.max(1) * cs];
    for i in 0..m {
        for j in 0..n {
            out[i * rs + j * cs] = data[i * n + j];
        }
    }
    (out, rs as isize, cs as isize)
}

macro_rules! check {
    ($t:ty, $m:expr, $n:expr, $k:expr, $orders:expr) => {{
        let (m, n, k) = ($m, $n, $k);
        let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
        let want = naive(m, n, k, &a, &b);
        let a: Vec<$t> = a.iter().map(|&x| x as $t).collect();
        let b: Vec<$t> = b.iter().map(|&x| x as $t).collect();
        for (oa, ob, oc) in $orders {
            // NaN in the padding of the operands must never reach the result.
            let (a, rsa, csa) = place(m, k, &a, oa, <$t>::NAN);
            let (b, rsb, csb) = place(k, n, &b, ob, <$t>::NAN);
            for kernels in <$t>::all_kernels() {
                for accumulate in [false, true] {
                    let start = vec![if accumulate { 0.5 } else { <$t>::NAN }; m * n];
                    let (mut c, rsc, csc) = place(m, n, &start, oc, 77.0);
                    unsafe {
                        let out = Out { ptr: SendPtr(c.as_mut_ptr()), rs: rsc, cs: csc };
                        gemm_with(
                            kernels,
                            m,
                            n,
                            k,
                            Mat { ptr: a.as_ptr(), rs: rsa, cs: csa },
                            Mat { ptr: b.as_ptr(), rs: rsb, cs: csb },
                            out,
                            Ends::start(out.start(accumulate)),
                        );
                    }
                    let expected: Vec<$t> = want.iter().map(|&x| x as $t + if accumulate { 0.5 } else { 0.0 }).collect();
                    let (expected, _, _) = place(m, n, &expected, oc, 77.0);
                    assert_eq!(c, expected, "{} {m}x{n}x{k} orders {oa}{ob}{oc} accumulate {accumulate}", kernels.name);
                }
            }
        }
    }};
}

fn all_orders() -> impl Iterator<Item = (usize, usize, usize)> {
    (0..64).map(|i| (i / 16, i / 4 % 4, i % 4))
}

#[test]
fn small_sizes_and_all_strides() {
    for m in [1, 2, 3, 7, 13, 25] {
        for n in [1, 2, 5, 16, 17, 33, 70] {
            for k in [0, 1, 2, 8, 19, 40] {
                check!(f32, m, n, k, all_orders());
                check!(f64, m, n, k, all_orders());
            }
        }
    }
}

/// A bias for each column, in every way that a product can take.
#[test]
fn a_bias_is_added_to_every_row_before_an_activation() {
    for (m, n, k) in
        [(1, 1, 5), (1, 70, 40), (40, 1, 9), (5, 33, 0), (7, 3, 80), (6, 400, 500), (97, 129, 801), (40, 700, 810), (40, 12, 3)]
    {
        let (a, b, bias) = (numbers(m * k, 1), numbers(k * n, 2), numbers(n, 3));
        let want = naive(m, n, k, &a, &b);
        for (oa, ob, oc) in all_orders() {
            let ((a, rsa, csa), (b, rsb, csb)) = (place(m, k, &a, oa, f64::NAN), place(k, n, &b, ob, f64::NAN));
            let (mut c, rsc, csc) = place(m, n, &vec![f64::NAN; m * n], oc, 77.0);
            for kernels in f64::all_kernels() {
                unsafe {
                    gemm_with(
                        kernels,
                        m,
                        n,
                        k,
                        Mat { ptr: a.as_ptr(), rs: rsa, cs: csa },
                        Mat { ptr: b.as_ptr(), rs: rsb, cs: csb },
                        Out { ptr: SendPtr(c.as_mut_ptr()), rs: rsc, cs: csc },
                        Ends { init: Mat { ptr: bias.as_ptr(), rs: 0, cs: 1 }, activation: Some(Activation::Relu) },
                    );
                }
                let sums: Vec<f64> = want.iter().enumerate().map(|(at, v)| (v + bias[at % n]).max(0.0)).collect();
                assert_eq!(c, place(m, n, &sums, oc, 77.0).0, "{} {m}x{n}x{k} orders {oa}{ob}{oc}", kernels.name);
            }
        }
    }
}

/// Tiles of convolutions, at every level, against sums in plain order (exact on these numbers).
macro_rules! check_taps {
    ($t:ty) => {
        for micro in <$t>::all_kernels() {
            for k in [0, 1, 7, 20] {
                let width = 8 * micro.lanes;
                let offsets: Vec<usize> = (0..k).map(|p| p * 37 % 50).collect();
                let to = |v: Vec<f64>| v.iter().map(|&x| x as $t).collect::<Vec<_>>();
                let (a, b, start) = (to(numbers(12 * k, 1)), to(numbers(8 * width + 60, 2)), to(numbers(12, 3)));
                let value = |row: usize, rows: usize, at: usize, bias: bool| {
                    let sum: f64 = (0..k).map(|p| f64::from(a[p * rows + row]) * f64::from(b[offsets[p] + at])).sum();
                    (sum + if bias { f64::from(start[row]) } else { 0.0 }) as $t
                };
                for tail in [1, micro.lanes - 1, micro.lanes] {
                    for bias in [false, true] {
                        let from = if bias { start.as_ptr() } else { std::ptr::null() };
                        for (rows, vectors) in (1..=micro.mr).flat_map(|r| [(r, 1), (r, 2)]) {
                            let (live, ldc) = ((vectors - 1) * micro.lanes + tail, 2 * micro.lanes + 3);
                            let mut c = vec![77.0; rows * ldc];
                            unsafe {
                                micro.taps[rows - 1][vectors - 1](
                                    k,
                                    a.as_ptr(),
                                    rows as isize,
                                    b.as_ptr(),
                                    offsets.as_ptr(),
                                    from,
                                    c.as_mut_ptr(),
                                    ldc as isize,
                                    tail,
                                );
                            }
                            for (at, got) in c.iter().enumerate() {
                                let (r, j) = (at / ldc, at % ldc);
                                assert_eq!(*got, if j < live { value(r, rows, j, bias) } else { 77.0 }, "{}", micro.name);
                            }
                        }
                        for vectors in 1..=8 {
                            let (live, ldc) = ((vectors - 1) * micro.lanes + tail, width + 3);
                            let (several, many, one) = micro.lines[vectors - 1];
                            for (lines, kernel) in [(several, many), (1, one)] {
                                let mut c = vec![77.0; lines * ldc];
                                unsafe {
                                    kernel(
                                        k,
                                        a.as_ptr(),
                                        b.as_ptr(),
                                        5,
                                        offsets.as_ptr(),
                                        from,
                                        c.as_mut_ptr(),
                                        ldc as isize,
                                        tail,
                                    );
                                }
                                for (at, got) in c.iter().enumerate() {
                                    let (q, j) = (at / ldc, at % ldc);
                                    assert_eq!(
                                        *got,
                                        if j < live { value(0, 1, 5 * q + j, bias) } else { 77.0 },
                                        "{}",
                                        micro.name
                                    );
                                }
                            }
                        }
                    }
                }
            }
            for k in [1, 5, micro.lanes, 3 * micro.lanes + 1] {
                let to = |v: Vec<f64>| v.iter().map(|&x| x as $t).collect::<Vec<_>>();
                let (a, b) = (to(numbers(2 * k, 1)), to(numbers(k + 60, 2)));
                for (rows, taps) in (1..=2).flat_map(|r| (1..=9).map(move |t| (r, t))) {
                    let offsets: Vec<usize> = (0..taps).map(|p| p * 37 % 50).collect();
                    for accumulate in [false, true] {
                        let mut c: Vec<$t> = vec![0.5; rows * taps];
                        unsafe {
                            micro.correlate[rows - 1][taps - 1](
                                k,
                                a.as_ptr(),
                                k as isize,
                                b.as_ptr(),
                                offsets.as_ptr(),
                                c.as_mut_ptr(),
                                taps as isize,
                                accumulate,
                            );
                        }
                        for (at, got) in c.iter().enumerate() {
                            let (r, t) = (at / taps, at % taps);
                            let sum: f64 = (0..k).map(|p| f64::from(a[r * k + p]) * f64::from(b[offsets[t] + p])).sum();
                            assert_eq!(*got, (sum + if accumulate { 0.5 } else { 0.0 }) as $t, "{}", micro.name);
                        }
                    }
                }
            }
        }
    };
}

#[test]
fn tiles_of_convolutions() {
    check_taps!(f32);
    check_taps!(f64);
}

#[test]
fn empty_results() {
    check!(f32, 0, 5, 3, all_orders());
    check!(f32, 5, 0, 3, all_orders());
}

#[test]
fn large_sizes() {
    let orders = [(0, 0, 0), (0, 1, 0), (1, 0, 1), (1, 1, 3), (2, 2, 2), (3, 3, 0)];
    for (m, n, k) in [(97, 129, 801), (513, 65, 40), (1, 700, 900), (900, 1, 700), (6, 400, 500), (400, 3, 500), (130, 131, 385)]
    {
        check!(f32, m, n, k, orders);
        check!(f64, m, n, k, orders);
    }
}

#[test]
fn more_rows_and_columns_than_one_block() {
    check!(f32, 3100, 40, 12, [(0, 0, 0)]);
    check!(f32, 40, 3200, 12, [(0, 1, 0)]);
}

#[test]
fn nan_and_infinity_propagate() {
    let a = [f32::NAN, 1.0, f32::INFINITY, 0.0];
    let b = [0.0, 1.0, 2.0, 0.0];
    let mut c = [0.0_f32; 4];
    unsafe { gemm(2, 2, 2, a.as_ptr(), 2, 1, b.as_ptr(), 2, 1, c.as_mut_ptr(), 2, 1, false) };
    assert!(c[0].is_nan() && c[1].is_nan() && c[2].is_nan());
    assert_eq!(c[3], f32::INFINITY);
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let (m, n, k) = (150, 210, 900);
    let a: Vec<f32> = numbers(m * k, 5).iter().map(|&x| (x * 0.37) as f32).collect();
    let b: Vec<f32> = numbers(n * k, 6).iter().map(|&x| (x * 0.73) as f32).collect();
    let run = |threads, m: usize| {
        set_num_threads(threads);
        let mut c = vec![0.0_f32; m * n];
        let (k, n_) = (k as isize, n as isize);
        unsafe {
            gemm(m, n, 900, a.as_ptr(), k, 1, b.as_ptr(), n_, 1, c.as_mut_ptr(), n_, 1, false);
        }
        c.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
    };
    for m in [m, 3, 1] {
        let one = run(1, m);
        assert_eq!(run(2, m), one);
        assert_eq!(run(5, m), one);
    }
    set_num_threads(2);
}

#[test]
fn batches_with_a_broadcast_operand() {
    let a: Vec<f64> = numbers(5 * 6, 3);
    let b: Vec<f64> = numbers(4 * 6 * 7, 4);
    let mut c = vec![0.0; 4 * 35];
    unsafe {
        batched_gemm(4, 5, 7, 6, a.as_ptr(), 0, 6, 1, b.as_ptr(), 42, 7, 1, c.as_mut_ptr(), 35, 7, 1, false);
    }
    for i in 0..4 {
        assert_eq!(c[i * 35..][..35], naive(5, 7, 6, &a, &b[i * 42..][..42])[..]);
    }
}

#[test]
fn integers_wrap() {
    let a = [100_i8, 3, -7, 2];
    let b = [2_i8, 1, 5, -128];
    let mut c = [9_i8; 4];
    unsafe { gemm_int(2, 2, 2, a.as_ptr(), 2, 1, b.as_ptr(), 2, 1, c.as_mut_ptr(), 1, 2, false) };
    // (200 + 15, 100 - 384; -14 + 10, -7 - 256) modulo 256, stored by columns.
    assert_eq!(c, [215_u8 as i8, -4, (-284_i32) as i8, (-263_i32) as i8]);
    let mut d = [1_i64];
    unsafe {
        gemm_int(1, 1, 1, [i64::MAX].as_ptr(), 1, 1, [2].as_ptr(), 1, 1, d.as_mut_ptr(), 1, 1, true);
    }
    assert_eq!(d, [-1]);
}
