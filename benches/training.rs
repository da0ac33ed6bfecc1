//! The kernels of training steps by themselves: attention, recurrent layers, optimisers, copies. `cargo bench --bench training`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rustgrad::cpu::attention::{Attention, Backward, Head, Mask, Rows};
use rustgrad::cpu::convert::{Bf16ToF32, F16ToF32, F32ToBf16, F32ToF16, convert};
use rustgrad::cpu::copy::{Axis, copy};
use rustgrad::cpu::isa::level;
use rustgrad::cpu::optim::{Adam, Decay, Job, Sgd, run, sum_squares};
use rustgrad::cpu::rnn::{Cell, Sequence};
use rustgrad::cpu::threads::SendPtr;
use rustgrad::random::Generator;
use std::hint::black_box;

/// Uniform numbers in [-1, 1), the same in every run.
fn uniform(n: usize) -> Vec<f32> {
    let mut out = vec![0.0; n];
    Generator::new(0).fill_uniform_f32(&mut out, -1.0, 1.0);
    out
}

fn at(v: &mut [f32]) -> SendPtr<f32> {
    SendPtr(v.as_mut_ptr())
}

fn attention(c: &mut Criterion) {
    let mut group = c.benchmark_group("attention");
    for (heads, l, e, causal) in [(32, 512, 64, true), (32, 512, 64, false), (48, 64, 32, true), (2, 1024, 64, true)] {
        let n = heads * l * e;
        let (mut q, mut k, mut v, mut g) = (uniform(n), uniform(n), uniform(n), uniform(n));
        let (mut out, mut lse) = (uniform(n), uniform(heads * l));
        let (mut dq, mut dk, mut dv) = (uniform(n), uniform(n), uniform(n));
        let rows = |v: &mut [f32]| Rows { ptr: at(v), rs: e as isize };
        let of = |h: usize| (h * l * e) as isize;
        let head = |h| Head { q: of(h), k: of(h), v: of(h), mask: 0, out: of(h), grad: of(h), dq: of(h), dk: of(h), dv: of(h) };
        let heads_at: Vec<Head> = (0..heads).map(head).collect();
        let mask = if causal { Mask::Causal } else { Mask::None };
        let (rq, rk, rv) = (rows(&mut q), rows(&mut k), rows(&mut v));
        let a = Attention { l, s: l, e, ev: e, scale: 0.125, mask, heads: &heads_at, q: rq, k: rk, v: rv };
        let b = Backward {
            grad: rows(&mut g),
            out: rows(&mut out),
            lse: at(&mut lse),
            dq: rows(&mut dq),
            dk: rows(&mut dk),
            dv: rows(&mut dv),
        };
        // Multiplies and adds of the two products over the scores that are seen.
        let work = (4 * n * l / if causal { 2 } else { 1 }) as u64;
        let name = format!("{heads} heads, {l}x{e}{}", if causal { ", causal" } else { "" });
        group.throughput(Throughput::Elements(work));
        // SAFETY: buffers of the sizes of the problem, here and below.
        group.bench_function(BenchmarkId::new("forward", &name), |bench| bench.iter(|| unsafe { a.forward(b.out, b.lse) }));
        group.throughput(Throughput::Elements(work * 5 / 2));
        group.bench_function(BenchmarkId::new("backward", &name), |bench| bench.iter(|| unsafe { a.backward(&b) }));
    }
    group.finish();
}

fn recurrent(c: &mut Criterion) {
    let mut group = c.benchmark_group("recurrent");
    for (cell, steps, batch, n) in [(Cell::Lstm, 32, 16, 256), (Cell::Gru, 32, 16, 256), (Cell::Tanh, 32, 16, 256)] {
        let width = cell.gates() * n;
        let mut w: Vec<f32> = uniform(width * n).iter().map(|v| v / 16.0).collect();
        let (mut x, mut dx, mut dhidden) =
            (uniform(steps * batch * width), uniform(steps * batch * width), uniform(steps * batch * width));
        let (mut h, mut cells) = (uniform((steps + 1) * batch * n), uniform((steps + 1) * batch * n));
        let (mut saved, mut g) = (uniform(steps * batch * 4 * n), uniform(steps * batch * n));
        let (mut dh, mut dc) = (uniform(batch * n), uniform(batch * n));
        let sequence = Sequence {
            cell,
            steps,
            batch,
            n,
            reverse: false,
            w: at(&mut w),
            bias: SendPtr(std::ptr::null_mut()),
            h: at(&mut h),
            c: at(&mut cells),
            saved: at(&mut saved),
        };
        let name = format!("{cell:?}, {steps} steps of {batch}x{n}");
        group.throughput(Throughput::Elements((2 * steps * batch * n * width) as u64));
        let (px, strides) = (at(&mut x), ((batch * width) as isize, width as isize));
        // SAFETY: buffers of the sizes of the sequence, here and below.
        group.bench_function(BenchmarkId::new("forward", &name), |bench| bench.iter(|| unsafe { sequence.forward(px, strides) }));
        let (pg, pdx, pdhidden) = (at(&mut g), at(&mut dx), at(&mut dhidden));
        let (pdh, pdc, strides) = (at(&mut dh), at(&mut dc), ((batch * n) as isize, n as isize));
        group.bench_function(BenchmarkId::new("backward", &name), |bench| {
            bench.iter(|| unsafe { sequence.backward(pg, strides, pdx, pdhidden, pdh, pdc, true) });
        });
    }
    group.finish();
}

fn optimisers(c: &mut Criterion) {
    let mut group = c.benchmark_group("optim");
    for (name, tensors, n) in [("in cache", 4, 8_000), ("50 x 200,000", 50, 200_000)] {
        let total = tensors * n;
        let (mut p, g, mut m, mut v) = (uniform(total), uniform(total), uniform(total), vec![0.1; total]);
        let (pp, pm, pv) = (at(&mut p), at(&mut m), at(&mut v));
        let decay = Decay { maximize: false, weight: 0.0, shrink: 0.99999 };
        let adam = Adam::<f32, false> {
            decay,
            weight1: 0.1,
            beta2: 0.999,
            weight2: 0.001,
            step_size: 1e-6,
            correction2: 0.5,
            eps: 1e-8,
        };
        let sgd = Sgd::<f32, true> { decay, momentum: 0.9, gain: 1.0, nesterov: false, first: false, lr: 1e-6 };
        // SAFETY: offsets below `total`.
        let part = |p: SendPtr<f32>, i: usize| SendPtr(unsafe { p.get().add(i * n) });
        let none = SendPtr(std::ptr::null_mut());
        group.throughput(Throughput::Bytes(28 * total as u64));
        group.bench_function(BenchmarkId::new("AdamW", name), |bench| {
            bench.iter(|| {
                let job = |i| Job { p: part(pp, i), g: g[i * n..].as_ptr(), s: [part(pm, i), part(pv, i), none], n, rule: adam };
                let jobs: Vec<_> = (0..tensors).map(job).collect();
                // SAFETY: disjoint parts of buffers, here and below.
                unsafe { run(level(), &jobs) }
            });
        });
        group.throughput(Throughput::Bytes(20 * total as u64));
        group.bench_function(BenchmarkId::new("SGD with momentum", name), |bench| {
            bench.iter(|| {
                let job = |i| Job { p: part(pp, i), g: g[i * n..].as_ptr(), s: [part(pm, i), none, none], n, rule: sgd };
                let jobs: Vec<_> = (0..tensors).map(job).collect();
                unsafe { run(level(), &jobs) }
            });
        });
        group.throughput(Throughput::Bytes(4 * total as u64));
        group.bench_function(BenchmarkId::new("sum of squares", name), |bench| bench.iter(|| black_box(sum_squares(&g))));
    }
    group.finish();
}

/// A conversion: what it reads, what it writes.
type Conversion = unsafe fn(*const u8, *mut u8, usize);

fn copies(c: &mut Criterion) {
    let mut group = c.benchmark_group("copy");
    for n in [512_usize, 1000, 2048] {
        let (x, mut y) = (uniform(n * n), uniform(n * n));
        group.throughput(Throughput::Bytes(8 * (n * n) as u64));
        let axes: [Axis; 2] = [(n, n as isize, 1), (n, 1, n as isize)];
        // SAFETY: matrices of n x n elements.
        group.bench_function(BenchmarkId::new("transpose", n), |bench| {
            bench.iter(|| unsafe { copy(y.as_mut_ptr(), x.as_ptr(), &axes) });
        });
    }
    let n = 1 << 20;
    let (x, mut y) = (uniform(n), uniform(n));
    let all: [(&str, Conversion, u64); 4] = [
        ("float16 to float32", convert::<F16ToF32>, 6),
        ("float32 to float16", convert::<F32ToF16>, 6),
        ("bfloat16 to float32", convert::<Bf16ToF32>, 6),
        ("float32 to bfloat16", convert::<F32ToBf16>, 6),
    ];
    for (name, f, bytes) in all {
        group.throughput(Throughput::Bytes(bytes * n as u64));
        // SAFETY: buffers of n elements of at most four bytes.
        group.bench_function(name, |bench| bench.iter(|| unsafe { f(x.as_ptr() as *const u8, y.as_mut_ptr() as *mut u8, n) }));
    }
    group.finish();
}

criterion_group!(benches, attention, recurrent, optimisers, copies);
criterion_main!(benches);
