use super::*;
use crate::cpu::isa::available;

fn numbers(n: usize, seed: u64) -> Vec<f32> {
    let mut x = seed;
    let mut next = || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 40) as f32 / 8_388_608.0 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

fn rows(v: &mut [f32], width: usize) -> Rows {
    Rows { ptr: SendPtr(v.as_mut_ptr()), rs: width as isize }
}

/// Result and gradients of one head in float64.
struct Wide {
    out: Vec<f64>,
    dq: Vec<f64>,
    dk: Vec<f64>,
    dv: Vec<f64>,
}

#[allow(clippy::too_many_arguments)]
fn wide(
    l: usize,
    s: usize,
    e: usize,
    ev: usize,
    scale: f64,
    q: &[f32],
    k: &[f32],
    v: &[f32],
    g: &[f32],
    bias: impl Fn(usize, usize) -> f64,
) -> Wide {
    let mut w = Wide { out: vec![0.0; l * ev], dq: vec![0.0; l * e], dk: vec![0.0; s * e], dv: vec![0.0; s * ev] };
    for i in 0..l {
        let score = |j: usize| (0..e).map(|x| q[i * e + x] as f64 * k[j * e + x] as f64).sum::<f64>() * scale + bias(i, j);
        let scores: Vec<f64> = (0..s).map(score).collect();
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if max == f64::NEG_INFINITY {
            continue;
        }
        let total: f64 = scores.iter().map(|x| (x - max).exp()).sum();
        let p: Vec<f64> = scores.iter().map(|x| (x - max).exp() / total).collect();
        let dp: Vec<f64> = (0..s).map(|j| (0..ev).map(|x| g[i * ev + x] as f64 * v[j * ev + x] as f64).sum()).collect();
        let mean: f64 = p.iter().zip(&dp).map(|(a, b)| a * b).sum();
        for j in 0..s {
            let ds = p[j] * (dp[j] - mean) * scale;
            for x in 0..ev {
                w.out[i * ev + x] += p[j] * v[j * ev + x] as f64;
                w.dv[j * ev + x] += p[j] * g[i * ev + x] as f64;
            }
            for x in 0..e {
                w.dq[i * e + x] += ds * k[j * e + x] as f64;
                w.dk[j * e + x] += ds * q[i * e + x] as f64;
            }
        }
    }
    w
}

fn close(got: &[f32], want: &[f64], what: &str) {
    let size = want.iter().fold(1.0, |m: f64, v| m.max(v.abs()));
    for (k, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((*g as f64 - w).abs() <= 4e-6 * size, "{what}, element {k}: {g} {w}");
    }
}

#[test]
fn blocks_against_the_formula() {
    for (heads, l, s, e, ev) in [
        (1, 1, 1, 1, 1),
        (1, 63, 65, 3, 5),
        (9, 64, 64, 16, 16),
        (2, 130, 70, 33, 17),
        (1, 70, 200, 8, 8),
        (2, 300, 300, 8, 4),
        (8, 17, 5, 64, 64),
    ] {
        let (mut q, mut k, mut v) = (numbers(heads * l * e, 1), numbers(heads * s * e, 2), numbers(heads * s * ev, 3));
        let mut g = numbers(heads * l * ev, 4);
        let mut added = numbers(l * s, 5);
        // A query that sees nothing, and a key that nobody sees.
        let mut seen: Vec<u8> = added.iter().map(|v| (*v > -0.5) as u8).collect();
        seen[..s].fill(0);
        (0..l).for_each(|i| seen[i * s + s / 2] = 0);
        for which in 0..4 {
            let mask = match which {
                0 => Mask::None,
                1 => Mask::Causal,
                2 => Mask::Bool(SendPtr(seen.as_mut_ptr()), s as isize, 1),
                _ => Mask::Add(SendPtr(added.as_mut_ptr()), s as isize, 1),
            };
            let mut out = vec![f32::NAN; heads * l * ev];
            let mut lse = vec![f32::NAN; heads * l];
            let (mut dq, mut dk, mut dv) = (vec![f32::NAN; q.len()], vec![f32::NAN; k.len()], vec![f32::NAN; v.len()]);
            let of = |h: usize, n: usize| (h * n) as isize;
            let at: Vec<Head> = (0..heads)
                .map(|h| Head {
                    q: of(h, l * e),
                    k: of(h, s * e),
                    v: of(h, s * ev),
                    mask: 0,
                    out: of(h, l * ev),
                    grad: of(h, l * ev),
                    dq: of(h, l * e),
                    dk: of(h, s * e),
                    dv: of(h, s * ev),
                })
                .collect();
            let (rq, rk, rv) = (rows(&mut q, e), rows(&mut k, e), rows(&mut v, ev));
            let a = Attention { l, s, e, ev, scale: 0.7, mask, heads: &at, q: rq, k: rk, v: rv };
            let to = rows(&mut out, ev);
            let b = Backward {
                grad: rows(&mut g, ev),
                out: to,
                lse: SendPtr(lse.as_mut_ptr()),
                dq: rows(&mut dq, e),
                dk: rows(&mut dk, e),
                dv: rows(&mut dv, ev),
            };
            // SAFETY: all buffers have the sizes of the problem.
            unsafe {
                a.forward(to, b.lse);
                a.backward(&b);
            }
            for h in 0..heads {
                let bias = |i: usize, j: usize| match which {
                    1 if j > i => f64::NEG_INFINITY,
                    2 if seen[i * s + j] == 0 => f64::NEG_INFINITY,
                    3 => added[i * s + j] as f64,
                    _ => 0.0,
                };
                let part = |v: &[f32], n: usize| v[h * n..(h + 1) * n].to_vec();
                let (q, k, v, g) = (part(&q, l * e), part(&k, s * e), part(&v, s * ev), part(&g, l * ev));
                let want = wide(l, s, e, ev, 0.7f32 as f64, &q, &k, &v, &g, bias);
                let name = format!("{l}x{s}x{e} mask {which}");
                close(&part(&out, l * ev), &want.out, &format!("out {name}"));
                close(&part(&dq, l * e), &want.dq, &format!("dq {name}"));
                close(&part(&dk, s * e), &want.dk, &format!("dk {name}"));
                close(&part(&dv, s * ev), &want.dv, &format!("dv {name}"));
            }
        }
    }
}

#[test]
fn weights_at_every_level() {
    let (cols, lanes) = (37, 48);
    for level in available() {
        let scores: Vec<f32> = numbers(BLOCK * BLOCK, 9).iter().map(|v| v * 20.0).collect();
        let mut s = scores.clone();
        (0..cols).for_each(|j| s[j * BLOCK + 3] = f32::NEG_INFINITY);
        s[BLOCK + 5] = f32::NAN;
        let before = s.clone();
        let mut run = Running { max: [f32::NEG_INFINITY; BLOCK], total: [0.0; BLOCK], factor: [0.0; BLOCK] };
        // SAFETY: a block of scores; the processor has the level.
        unsafe { weigh::at(level, s.as_mut_ptr(), cols, lanes, &mut run) };
        for i in 0..lanes {
            let column: Vec<f64> = (0..cols).map(|j| before[j * BLOCK + i] as f64).collect();
            let max = column.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let want: f64 = column.iter().map(|v| if max.is_finite() { (v - max).exp() } else { 0.0 }).sum();
            match i {
                3 => assert_eq!(run.total[i], 0.0, "all hidden"),
                5 => assert!(run.total[i].is_nan()),
                _ => assert!((run.total[i] as f64 - want).abs() <= 1e-6 * want, "{} lane {i}", level.name()),
            }
        }
    }
}
