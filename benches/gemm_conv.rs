//! Matrix products and convolutions against what the machine can do: `cargo bench --bench gemm_conv`. The first lines say
//! the measured peak of fused multiply-adds and the bandwidth of a copy; the rates of criterion are to be read against them.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rustgrad::cpu::conv::{ConvShape, conv_backward_input, conv_backward_weight, conv_forward};
use rustgrad::cpu::gemm::gemm;
use rustgrad::cpu::threads::set_num_threads;
use rustgrad::random::Generator;
use std::hint::black_box;
use std::time::Instant;

/// Uniform numbers in [-1, 1), the same in every run.
fn uniform(n: usize) -> Vec<f32> {
    let mut out = vec![0.0; n];
    Generator::new(0).fill_uniform_f32(&mut out, -1.0, 1.0);
    out
}

/// The best of several times, in seconds.
fn best(mut f: impl FnMut()) -> f64 {
    let once = |f: &mut dyn FnMut()| {
        let start = Instant::now();
        f();
        start.elapsed().as_secs_f64()
    };
    (0..20).map(|_| once(&mut f)).fold(f64::INFINITY, f64::min)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn chains(n: usize) -> f32 {
    use std::arch::x86_64::*;
    let mut sums: [__m512; 16] = std::array::from_fn(|i| _mm512_set1_ps(black_box(i as f32)));
    let (a, b) = (_mm512_set1_ps(black_box(0.999)), _mm512_set1_ps(black_box(0.001)));
    for _ in 0..n {
        for s in &mut sums {
            *s = _mm512_fmadd_ps(*s, a, b);
        }
    }
    sums.iter().map(|s| _mm512_reduce_add_ps(*s)).sum()
}

/// What this machine can do on one thread.
fn machine(_: &mut Criterion) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        let n = 1_000_000;
        // SAFETY: the processor has AVX-512 F.
        let time = best(|| {
            black_box(unsafe { chains(black_box(n)) });
        });
        println!("peak of one thread: {:.0} GF/s", (n * 16 * 32) as f64 / time / 1e9);
    }
    let (from, mut to) = (uniform(1 << 24), vec![0.0_f32; 1 << 24]);
    let time = best(|| black_box(&mut to).copy_from_slice(black_box(&from)));
    println!("copy: {:.1} GB/s read and written", 8.0 * from.len() as f64 / time / 1e9);
}

fn products(c: &mut Criterion) {
    let mut group = c.benchmark_group("square products");
    set_num_threads(1);
    for n in [64, 256, 512, 1024, 2048] {
        group.throughput(Throughput::Elements(2 * (n * n * n) as u64));
        let (a, b) = (uniform(n * n), uniform(n * n));
        let mut y = vec![0.0_f32; n * n];
        let s = n as isize;
        group.bench_function(BenchmarkId::new("ours", n), |bench| {
            // SAFETY: three separate buffers of n x n elements, the result writable.
            bench.iter(|| unsafe {
                gemm(n, n, n, a.as_ptr(), s, 1, b.as_ptr(), s, 1, black_box(&mut y).as_mut_ptr(), s, 1, false)
            });
        });
        group.bench_function(BenchmarkId::new("crate gemm", n), |bench| {
            // SAFETY: as above.
            bench.iter(|| unsafe {
                let (y, a, b) = (black_box(&mut y).as_mut_ptr(), a.as_ptr(), b.as_ptr());
                ::gemm::gemm(n, n, n, y, 1, s, false, a, 1, s, b, 1, s, 0.0, 1.0, false, false, false, ::gemm::Parallelism::None);
            });
        });
    }
    group.finish();
    let mut group = c.benchmark_group("a row times a matrix");
    let n = 2048;
    let (a, b, mut y) = (uniform(n), uniform(n * n), vec![0.0_f32; n]);
    group.throughput(Throughput::Bytes(4 * (n * n) as u64));
    for (name, rs, cs) in [("rows", n as isize, 1), ("columns", 1, n as isize)] {
        group.bench_function(name, |bench| {
            // SAFETY: as above; the matrix is read by rows or by columns.
            bench.iter(|| unsafe {
                gemm(1, n, n, a.as_ptr(), 1, 1, b.as_ptr(), rs, cs, black_box(&mut y).as_mut_ptr(), 1, 1, false)
            });
        });
    }
    group.finish();
}

fn convolutions(c: &mut Criterion) {
    set_num_threads(1);
    // Batch, channels in and out, groups, edge, kernel, stride.
    for (n, ci, co, g, e, k, s) in [
        (8, 64, 64, 1, 56, 3, 1),
        (8, 64, 128, 1, 56, 3, 2),
        (8, 3, 64, 1, 224, 7, 2),
        (8, 128, 128, 128, 56, 3, 1),
        (64, 1, 16, 1, 28, 3, 1),
    ] {
        let shape =
            ConvShape::new(n, ci, co, g, [1, e, e], [1, k, k], [1, s, s], [0, k / 2, k / 2], [1; 3]).expect("a convolution");
        let (nx, nw, ny) = shape.lens();
        let (x, w, gy) = (uniform(nx), uniform(nw), uniform(ny));
        let (mut y, mut gx, mut gw) = (vec![0.0; ny], vec![0.0; nx], vec![0.0; nw]);
        let mut group = c.benchmark_group(format!("conv {n}x{ci}x{e}x{e} to {co}, groups {g}, {k}x{k} stride {s}"));
        // What a plain convolution multiplies and adds.
        group.throughput(Throughput::Elements(2 * (nw / co * ny) as u64));
        group.bench_function("forward", |b| b.iter(|| conv_forward(&shape, &x, &w, None, black_box(&mut y))));
        group.bench_function("input gradient", |b| b.iter(|| conv_backward_input(&shape, &gy, &w, black_box(&mut gx))));
        group.bench_function("weight gradient", |b| b.iter(|| conv_backward_weight(&shape, &x, &gy, black_box(&mut gw))));
        group.finish();
    }
}

criterion_group!(benches, machine, products, convolutions);
criterion_main!(benches);
