//! Reductions, scans, softmax, norms and selection by themselves, beside a copy of the same size:
//! `cargo bench --bench reductions`.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rustgrad::cpu::cross_entropy::{self, Classes};
use rustgrad::cpu::reduce::extreme::extreme;
use rustgrad::cpu::reduce::moments::{Moments, moments};
use rustgrad::cpu::reduce::ops::{Max, Sum};
use rustgrad::cpu::reduce::source::Converted;
use rustgrad::cpu::reduce::{Shape, fold};
use rustgrad::cpu::scan::{Plus, scan};
use rustgrad::cpu::softmax::{self, Mode};
use rustgrad::cpu::sort::topk_rows;
use rustgrad::cpu::{norm, threads};
use rustgrad::random::Generator;
use std::hint::black_box;

const ROWS: usize = 2048;
const COLS: usize = 1024;
const ALONG: Shape = Shape { outer: ROWS, len: COLS, inner: 1 };
const DOWN: Shape = Shape { outer: 1, len: ROWS, inner: COLS };

/// Uniform numbers in [-1, 1), the same in every run.
fn uniform(n: usize) -> Vec<f32> {
    let mut out = vec![0.0; n];
    Generator::new(0).fill_uniform_f32(&mut out, -1.0, 1.0);
    out
}

/// One group of benches, each on one and on two threads, with the bytes that it moves.
struct Group<'a>(criterion::BenchmarkGroup<'a, criterion::measurement::WallTime>);

impl Group<'_> {
    fn run(&mut self, name: &str, floats: usize, mut f: impl FnMut()) {
        self.0.throughput(Throughput::Bytes(4 * floats as u64));
        for n in [1, 2] {
            threads::set_num_threads(n);
            self.0.bench_function(format!("{name}, {n} threads"), |b| b.iter(&mut f));
        }
    }
}

fn passes(c: &mut Criterion) {
    let mut g = Group(c.benchmark_group("pass over 2048 x 1024"));
    let n = ROWS * COLS;
    let (x, mut y) = (uniform(n), uniform(n));
    let halves: Vec<half::bf16> = x.iter().map(|&v| half::bf16::from_f32(v)).collect();
    let src: &[f32] = &x;
    g.run("copy", 2 * n, || y.copy_from_slice(black_box(src)));
    let (mut rows, mut cols, mut at) = (vec![0.0; ROWS], vec![0.0; COLS], vec![0; ROWS]);
    g.run("sum along rows", n, || fold::<f32, Sum, _>(black_box(&src), ALONG, &mut rows));
    g.run("sum down columns", n, || fold::<f32, Sum, _>(black_box(&src), DOWN, &mut cols));
    g.run("sum of all", n, || fold::<f32, Sum, _>(black_box(&src), Shape { outer: 1, len: n, inner: 1 }, &mut rows[..1]));
    g.run("sum along rows of bfloat16", n / 2, || {
        fold::<f32, Sum, _>(black_box(&Converted::<half::bf16, f32>::new(&halves)), ALONG, &mut rows);
    });
    g.run("maximum and place along rows", n, || extreme::<f32, Max, _>(black_box(&src), ALONG, &mut rows, &mut at));
    g.run("maximum and place down columns", n, || {
        extreme::<f32, Max, _>(black_box(&src), DOWN, &mut cols, &mut at[..COLS]);
    });
    let mut spread = vec![Moments::default(); ROWS];
    g.run("moments along rows", n, || moments::<f32, _>(black_box(&src), ALONG, &mut spread));
    g.run("moments down columns", n, || moments::<f32, _>(black_box(&src), DOWN, &mut spread[..COLS]));
    g.run("running sum along rows", 2 * n, || scan(black_box(src), &mut y, COLS, 1, false, Plus));
    g.run("running sum down columns", 2 * n, || scan(black_box(src), &mut y, ROWS, COLS, false, Plus));
}

fn rows(c: &mut Criterion) {
    let mut g = Group(c.benchmark_group("rows of 2048 x 1024"));
    let n = ROWS * COLS;
    let (x, d, mut y) = (uniform(n), uniform(n), vec![0.0; n]);
    g.run("softmax", 2 * n, || softmax::forward(black_box(&x), &mut y, COLS, 1, Mode::Plain));
    g.run("log_softmax", 2 * n, || softmax::forward(black_box(&x), &mut y, COLS, 1, Mode::Log));
    g.run("softmax down columns", 2 * n, || softmax::forward(black_box(&x), &mut y, ROWS, COLS, Mode::Plain));
    g.run("softmax backward", 3 * n, || softmax::backward(black_box(&d), &x, &mut y, COLS, 1, false));
    g.run("log_softmax backward", 3 * n, || softmax::backward(black_box(&d), &x, &mut y, COLS, 1, true));
    let (w, b) = (uniform(COLS), uniform(COLS));
    let (mut m, mut s) = (vec![0.0; ROWS], vec![0.0; ROWS]);
    g.run("layer norm", 2 * n, || norm::forward(black_box(&x), COLS, Some(&w), Some(&b), 1e-5, true, &mut y, &mut m, &mut s));
    let mut sums = vec![0.0; 2 * norm::blocks(ROWS) * COLS];
    g.run("layer norm backward", 3 * n, || norm::backward(black_box(&x), &d, COLS, Some(&w), &m, &s, true, &mut y, &mut sums));
}

fn selection(c: &mut Criterion) {
    let mut g = Group(c.benchmark_group("selection"));
    let (n, len) = (32, 50_000);
    let x = uniform(n * len);
    let (mut v, mut i) = (vec![0.0; n * 50], vec![0; n * 50]);
    g.run("50 largest of 50,000", n * len, || topk_rows(black_box(&x), len, 50, true, true, &mut v, &mut i));
    let (rows, classes) = (150, 10_000);
    let target: Vec<i64> = (0..rows as i64).map(|r| r * 61 % classes as i64).collect();
    let p = Classes { n: classes, target: &target, ignore: -100, weight: None, smoothing: 0.0 };
    let x = &x[..rows * classes];
    let (mut loss, mut m, mut s, mut dx) = (vec![0.0; rows], vec![0.0; rows], vec![0.0; rows], vec![0.0; rows * classes]);
    g.run("loss of 10,000 classes", x.len(), || cross_entropy::forward(black_box(x), p, &mut loss, &mut m, &mut s));
    g.run("its gradient", 2 * x.len(), || cross_entropy::backward(black_box(x), p, &m, &s, |_| 0.5, &mut dx));
}

criterion_group!(benches, passes, rows, selection);
criterion_main!(benches);
