//! The CPU kernels by themselves, and ops through the registry: `cargo bench`, one group with
//! `cargo bench -- gemm`. benches/README.md says how to read the numbers.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rustgrad::Tensor;
use rustgrad::cpu::conv::{ConvShape, conv_forward};
use rustgrad::cpu::gemm::gemm;
use rustgrad::cpu::pool::{PoolShape, Windows, avg_pool, max_pool, output_size};
use rustgrad::cpu::sort::{sort_rows, topk_rows};
use rustgrad::ops::{Args, Ret, Value, default_value, registry};
use rustgrad::random::Generator;
use std::hint::black_box;

/// Uniform numbers in [-1, 1), the same in every run.
fn uniform(n: usize) -> Vec<f32> {
    let mut out = vec![0.0; n];
    Generator::new(0).fill_uniform_f32(&mut out, -1.0, 1.0);
    out
}

fn products(c: &mut Criterion) {
    let mut group = c.benchmark_group("gemm");
    for n in [64, 128, 256, 512, 1024] {
        // A multiply and an add for each of n^3 pairs.
        group.throughput(Throughput::Elements(2 * (n * n * n) as u64));
        let (a, b) = (uniform(n * n), uniform(n * n));
        let mut y = vec![0.0_f32; n * n];
        let s = n as isize;
        for (name, rsb, csb) in [("a @ b", s, 1), ("a @ b.T", 1, s)] {
            group.bench_function(BenchmarkId::new(name, n), |bench| {
                bench.iter(|| {
                    // SAFETY: three separate buffers of n x n elements, the result writable.
                    unsafe {
                        gemm(n, n, n, a.as_ptr(), s, 1, b.as_ptr(), rsb, csb, y.as_mut_ptr(), s, 1, false);
                    }
                    black_box(&mut y);
                });
            });
        }
    }
    group.finish();
}

fn convolutions(c: &mut Criterion) {
    let mut group = c.benchmark_group("conv 3x3");
    // Channels in, channels out, groups, image edge.
    for (c_in, c_out, groups, edge) in [(3, 64, 1, 112), (64, 64, 1, 56), (256, 256, 1, 14), (128, 128, 128, 56)] {
        let shape = ConvShape::new(1, c_in, c_out, groups, [1, edge, edge], [1, 3, 3], [1; 3], [0, 1, 1], [1; 3])
            .expect("a valid convolution");
        let x = uniform(c_in * edge * edge);
        let w = uniform(c_out * c_in / groups * 9);
        let mut y = vec![0.0_f32; c_out * edge * edge];
        group.throughput(Throughput::Elements(2 * (w.len() * edge * edge) as u64));
        group.bench_function(format!("{c_in} to {c_out}, groups {groups}, {edge}x{edge}"), |bench| {
            bench.iter(|| {
                conv_forward(&shape, &x, &w, None, &mut y);
                black_box(&mut y);
            });
        });
    }
    group.finish();
}

fn pools(c: &mut Criterion) {
    let mut group = c.benchmark_group("pool 64x56x56");
    let (planes, edge) = (64, 56);
    let x = uniform(planes * edge * edge);
    group.throughput(Throughput::Bytes(4 * x.len() as u64));
    for (k, stride, pad) in [(2, 2, 0), (3, 2, 1), (3, 1, 1)] {
        let out = output_size(edge, k, stride, pad, 1, false).expect("a valid pooling");
        let shape = PoolShape {
            planes,
            input: [1, edge, edge],
            kernel: [1, k, k],
            stride: [1, stride, stride],
            pad: [0, pad, pad],
            dilation: [1; 3],
            output: [1, out, out],
        };
        let mut y = vec![0.0_f32; planes * out * out];
        let mut index = vec![0_i64; y.len()];
        group.bench_function(format!("max {k}x{k} stride {stride}"), |bench| {
            bench.iter(|| {
                max_pool(&shape, &x, &mut y, Some(&mut index));
                black_box((&mut y, &mut index));
            });
        });
        let windows = Windows::fixed(&shape, true, None);
        group.bench_function(format!("average {k}x{k} stride {stride}"), |bench| {
            bench.iter(|| {
                avg_pool(&windows, planes, &x, &mut y);
                black_box(&mut y);
            });
        });
    }
    group.finish();
}

fn sorts(c: &mut Criterion) {
    let mut group = c.benchmark_group("sort");
    for (rows, len) in [(1000, 100), (1, 100_000)] {
        let x = uniform(rows * len);
        group.throughput(Throughput::Elements(x.len() as u64));
        let mut index = vec![0_i64; x.len()];
        group.bench_function(format!("{rows}x{len}"), |bench| {
            bench.iter_batched_ref(
                || x.clone(),
                |vals| sort_rows(vals, &mut index, len, false),
                criterion::BatchSize::LargeInput,
            );
        });
        let (mut vals, mut at) = (vec![0.0; rows * 10], vec![0_i64; rows * 10]);
        group.bench_function(format!("top 10 of {rows}x{len}"), |bench| {
            bench.iter(|| {
                topk_rows(&x, len, 10, true, true, &mut vals, &mut at);
                black_box((&mut vals, &mut at));
            });
        });
    }
    group.finish();
}

/// An op of the registry on the given operands, its other parameters at their defaults.
fn op(name: &str, operands: &[Value]) -> impl Fn() -> Ret + use<> {
    let op = registry()
        .ops
        .iter()
        .find(|op| op.schema.name == name && op.schema.params.len() >= operands.len())
        .unwrap_or_else(|| panic!("no op {name}"));
    let mut args = Args { values: operands.iter().cloned().collect(), target: None, out: None };
    args.values.extend(op.schema.params[operands.len()..].iter().map(default_value));
    move || {
        let result = op.run(&args).unwrap_or_else(|e| panic!("{}: {e:?}", op.schema.text));
        if let Ret::Tensor(t) = &result {
            t.storage().settle(); // a large result is pending until it is asked for
        }
        result
    }
}

fn elementwise(c: &mut Criterion) {
    let n = 1 << 20;
    let mut group = c.benchmark_group("elementwise, 2^20 float32");
    // One operand is read and the result written.
    group.throughput(Throughput::Bytes(8 * n as u64));
    let tensor = |v: &[f32]| Value::Tensor(Tensor::from_slice(v, &[n]).expect("a tensor"));
    let x = tensor(&uniform(n));
    for name in ["neg", "exp", "log1p", "tanh", "sigmoid", "erf", "sin", "lgamma"] {
        let run = op(name, std::slice::from_ref(&x));
        group.bench_function(name, |bench| bench.iter(|| black_box(run())));
    }
    group.throughput(Throughput::Bytes(12 * n as u64));
    for name in ["add", "mul", "maximum", "atan2"] {
        let run = op(name, &[x.clone(), x.clone()]);
        group.bench_function(name, |bench| bench.iter(|| black_box(run())));
    }
    group.finish();
}

fn random(c: &mut Criterion) {
    let n = 1 << 20;
    let mut group = c.benchmark_group("random, 2^20");
    group.throughput(Throughput::Elements(n as u64));
    let mut generator = Generator::new(0);
    let mut floats = vec![0.0_f32; n];
    group.bench_function("uniform float32", |bench| {
        bench.iter(|| generator.fill_uniform_f32(black_box(&mut floats), 0.0, 1.0));
    });
    group.bench_function("normal float32", |bench| {
        bench.iter(|| generator.fill_normal_f32(black_box(&mut floats), 0.0, 1.0));
    });
    let mut integers = vec![0_i64; n];
    group.bench_function("integers", |bench| {
        bench.iter(|| generator.fill_randint(black_box(&mut integers), 0, 1000));
    });
    let mut bits = vec![false; n];
    group.bench_function("bernoulli", |bench| {
        bench.iter(|| generator.fill_bernoulli(black_box(&mut bits), 0.3));
    });
    group.bench_function("permutation", |bench| bench.iter(|| black_box(generator.randperm(n))));
    group.finish();
}

criterion_group!(benches, products, convolutions, pools, sorts, elementwise, random);
criterion_main!(benches);
