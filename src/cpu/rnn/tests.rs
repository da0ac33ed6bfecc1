use super::*;

fn numbers(n: usize, seed: u64) -> Vec<f32> {
    let mut x = seed;
    let mut next = || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// A loss, sum of `out * weight` over all outputs, by the formulas in float64.
#[allow(clippy::too_many_arguments)]
fn loss(
    cell: Cell,
    steps: usize,
    batch: usize,
    n: usize,
    reverse: bool,
    x: &[f64],
    w: &[f64],
    bias: &[f64],
    h: &[f64],
    c: &[f64],
    weight: &[f32],
) -> (f64, Vec<f64>) {
    let width = cell.gates() * n;
    let (mut h, mut c) = (h.to_vec(), c.to_vec());
    let mut outs = vec![0.0; steps * batch * n];
    for i in 0..steps {
        let t = if reverse { steps - 1 - i } else { i };
        let (before, old) = (h.clone(), c.clone());
        for b in 0..batch {
            let side = |j: usize| (0..n).map(|k| before[b * n + k] * w[j * n + k]).sum::<f64>() + bias[j];
            let input = |j: usize| x[(t * batch + b) * width + j];
            for u in 0..n {
                let gate = |g: usize| input(g * n + u) + side(g * n + u);
                let to = b * n + u;
                h[to] = match cell {
                    Cell::Tanh => gate(0).tanh(),
                    Cell::Relu => gate(0).max(0.0),
                    Cell::Lstm => {
                        c[to] = sigmoid(gate(1)) * old[to] + sigmoid(gate(0)) * gate(2).tanh();
                        sigmoid(gate(3)) * c[to].tanh()
                    }
                    Cell::Gru => {
                        let new = (input(2 * n + u) + sigmoid(gate(0)) * side(2 * n + u)).tanh();
                        new + sigmoid(gate(1)) * (before[to] - new)
                    }
                };
                outs[(t * batch + b) * n + u] = h[to];
            }
        }
    }
    (outs.iter().zip(weight).map(|(o, w)| o * *w as f64).sum(), outs)
}

#[test]
fn sequences_against_the_formulas() {
    for cell in [Cell::Tanh, Cell::Relu, Cell::Lstm, Cell::Gru] {
        for (steps, batch, n) in [(1, 1, 1), (3, 1, 5), (1, 14, 4), (4, 13, 33), (3, 25, 16)] {
            for reverse in [false, true] {
                let width = cell.gates() * n;
                let mut x = numbers(steps * batch * width, 1);
                let mut w: Vec<f32> = numbers(width * n, 2).iter().map(|v| v * 0.3).collect();
                let mut bias = if cell == Cell::Gru { numbers(width, 3) } else { vec![0.0; width] };
                let first = if reverse { steps } else { 0 };
                let given = |seed: u64| numbers(batch * n, seed);
                let (h0, c0) = (given(4), given(5));
                let filled = |v: &[f32]| {
                    let mut all = vec![f32::NAN; (steps + 1) * batch * n];
                    all[first * batch * n..(first + 1) * batch * n].copy_from_slice(v);
                    all
                };
                let (mut h, mut c) = (filled(&h0), filled(&c0));
                let mut saved = vec![f32::NAN; steps * batch * cell.saved().max(1) * n];
                let mut weight = numbers(steps * batch * n, 6);
                let p = |v: &mut Vec<f32>| SendPtr(v.as_mut_ptr());
                let sequence = Sequence {
                    cell,
                    steps,
                    batch,
                    n,
                    reverse,
                    w: p(&mut w),
                    bias: if cell == Cell::Gru { p(&mut bias) } else { SendPtr(std::ptr::null_mut()) },
                    h: p(&mut h),
                    c: p(&mut c),
                    saved: p(&mut saved),
                };
                let mut dx = vec![f32::NAN; x.len()];
                let mut dhidden = vec![f32::NAN; x.len()];
                let (mut dh, mut dc) = (vec![0.0; batch * n], vec![0.0; batch * n]);
                // SAFETY: all buffers have the sizes of the sequence.
                unsafe {
                    sequence.forward(p(&mut x), ((batch * width) as isize, width as isize));
                    let strides = ((batch * n) as isize, n as isize);
                    sequence.backward(p(&mut weight), strides, p(&mut dx), p(&mut dhidden), p(&mut dh), p(&mut dc), true);
                }
                let wide = |v: &[f32]| v.iter().map(|v| *v as f64).collect::<Vec<f64>>();
                let (mut xw, ww, bw, mut hw, cw) = (wide(&x), wide(&w), wide(&bias), wide(&h0), wide(&c0));
                let of = |x: &[f64], h: &[f64]| loss(cell, steps, batch, n, reverse, x, &ww, &bw, h, &cw, &weight);
                let outs = of(&xw, &hw).1;
                let name = format!("{cell:?} {steps}x{batch}x{n} reverse {reverse}");
                for t in 0..steps {
                    for k in 0..batch * n {
                        let state = if reverse { t } else { t + 1 };
                        let (got, want) = (h[state * batch * n + k] as f64, outs[t * batch * n + k]);
                        assert!((got - want).abs() <= 3e-6, "{name}, step {t}: {got} {want}");
                    }
                }
                // Differences of the float64 formula; some elements of each gradient.
                let step = 1e-5;
                for k in (0..x.len()).step_by(x.len().div_ceil(7)) {
                    let v = xw[k];
                    let mut at = |d: f64| {
                        xw[k] = v + d;
                        of(&xw, &hw).0
                    };
                    let want = (at(step) - at(-step)) / (2.0 * step);
                    at(0.0);
                    assert!((dx[k] as f64 - want).abs() <= 2e-5 * (1.0 + want.abs()), "{name}, dx {k}: {} {want}", dx[k]);
                }
                for k in (0..h0.len()).step_by(h0.len().div_ceil(5)) {
                    let v = hw[k];
                    let mut at = |d: f64| {
                        hw[k] = v + d;
                        of(&xw, &hw).0
                    };
                    let want = (at(step) - at(-step)) / (2.0 * step);
                    at(0.0);
                    assert!((dh[k] as f64 - want).abs() <= 2e-5 * (1.0 + want.abs()), "{name}, dh {k}: {} {want}", dh[k]);
                }
            }
        }
    }
}

#[test]
fn gates_at_every_level() {
    use crate::cpu::isa::available;
    let n = 37;
    for level in available() {
        let (x, hidden, c0) = (numbers(4 * n, 1), numbers(4 * n, 2), numbers(n, 3));
        let (mut h, mut c, mut s) = (vec![0.0; n], vec![0.0; n], vec![0.0; 4 * n]);
        let block = |p: *const f32| Block { ptr: p.cast_mut(), ld: 0 };
        let g = Gates {
            rows: 1,
            n,
            x: block(x.as_ptr()),
            hidden: block(hidden.as_ptr()),
            bias: block(x.as_ptr()),
            h0: block(c0.as_ptr()),
            h1: block(h.as_mut_ptr()),
            c0: block(c0.as_ptr()),
            c1: block(c.as_mut_ptr()),
            saved: block(s.as_mut_ptr()),
        };
        // SAFETY: one row of each; the processor has the level.
        unsafe { forward_gates::at(level, Cell::Lstm, &g) };
        for u in 0..n {
            let gate = |k: usize| (x[k * n + u] + hidden[k * n + u]) as f64;
            let want = sigmoid(gate(1)) * c0[u] as f64 + sigmoid(gate(0)) * gate(2).tanh();
            assert!((c[u] as f64 - want).abs() <= 1e-6, "{} {}: {} {want}", level.name(), u, c[u]);
            assert!((h[u] as f64 - sigmoid(gate(3)) * want.tanh()).abs() <= 1e-6);
        }
    }
}
