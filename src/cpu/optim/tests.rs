use super::*;
use crate::cpu::isa::available;

fn numbers(n: usize, seed: u64) -> Vec<f64> {
    let mut x = seed;
    let mut next = || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 40) as f64 / 8_388_608.0 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// Two steps of a rule over tensors of some lengths, by every level, against the rule in float64.
fn check<R: Rule<f32>, W: Rule<f64>>(rule: R, wide: W) {
    let lengths = [1usize, 0, 7, 16, 33, PIECE - 1, 2 * PIECE + 5];
    let total: usize = lengths.iter().sum();
    let single = |v: &[f64]| v.iter().map(|v| *v as f32).collect::<Vec<f32>>();
    let (p0, g) = (single(&numbers(total, 1)), single(&numbers(total, 2)));
    let s0: Vec<f32> = single(&numbers(total, 3)).iter().map(|v| v.abs() + 0.01).collect();
    let mut first: Option<Vec<u32>> = None;
    for level in available() {
        let (mut p, mut s) = (p0.clone(), [s0.clone(), s0.clone(), s0.clone()]);
        for _ in 0..2 {
            let mut at = 0;
            let mut jobs = Vec::new();
            for n in lengths {
                // SAFETY: the offsets add up to the length of the vectors.
                unsafe {
                    jobs.push(Job {
                        p: SendPtr(p.as_mut_ptr().add(at)),
                        g: g.as_ptr().add(at),
                        s: std::array::from_fn(|i| SendPtr(s[i].as_mut_ptr().add(at))),
                        n,
                        rule,
                    });
                }
                at += n;
            }
            // SAFETY: the jobs are disjoint parts of vectors.
            unsafe { run(level, &jobs) };
        }
        for k in 0..total {
            let mut state = [s0[k] as f64; 3];
            let mut want = p0[k] as f64;
            for _ in 0..2 {
                want = wide.step(want, g[k] as f64, &mut state);
            }
            // A handful of roundings of numbers of size one; the quotient may have grown.
            let bound = 2e-6 * (1.0 + want.abs());
            assert!((p[k] as f64 - want).abs() <= bound, "{} element {k}: {} {want}", level.name(), p[k]);
            for i in 0..R::STATES {
                assert!((s[i][k] as f64 - state[i]).abs() <= 1e-6 * (1.0 + state[i].abs()), "{} state {i}", level.name());
            }
            for i in R::STATES..3 {
                assert_eq!(s[i][k], s0[k], "a state that the rule does not have");
            }
        }
        let bits = p.iter().map(|v| v.to_bits()).collect();
        assert!(first.get_or_insert_with(|| Vec::clone(&bits)) == &bits, "{} gives other bits", level.name());
    }
}

fn decay<T: Float>(maximize: bool, weight: f64, shrink: f64) -> Decay<T> {
    Decay { maximize, weight: T::of(weight), shrink: T::of(shrink) }
}

macro_rules! rule {
    (|$T:ident| $rule:expr) => {{
        fn make<$T: Float>() -> impl Rule<$T> {
            $rule
        }
        check(make::<f32>(), make::<f64>());
    }};
}

#[test]
fn every_rule_at_every_level() {
    rule!(|T| Sgd::<T, false> {
        decay: decay(true, 0.0, 1.0),
        momentum: T::of(0.0),
        gain: T::of(0.0),
        nesterov: false,
        first: false,
        lr: T::of(0.1)
    });
    for (nesterov, first) in [(false, false), (true, false), (false, true), (true, true)] {
        let make = |n, f| (sgd::<f32>(n, f), sgd::<f64>(n, f));
        let (a, b) = make(nesterov, first);
        check(a, b);
    }
    rule!(|T| adam::<T, false>());
    rule!(|T| adam::<T, true>());
    rule!(|T| Adamax::<T> {
        decay: decay(false, 0.1, 1.0),
        weight1: T::of(0.1),
        beta2: T::of(0.99),
        eps: T::of(1e-3),
        step_size: T::of(0.01)
    });
    rule!(|T| NAdam::<T> {
        decay: decay(false, 0.0, 0.99),
        weight1: T::of(0.6),
        beta2: T::of(0.99),
        weight2: T::of(0.01),
        correction2: T::of(0.1),
        eps: T::of(1e-3),
        of_grad: T::of(-0.01),
        of_moment: T::of(-0.02)
    });
    rule!(|T| radam::<T>(true));
    rule!(|T| radam::<T>(false));
    rule!(|T| rms::<T, false, false>());
    rule!(|T| rms::<T, false, true>());
    rule!(|T| Adagrad::<T> { decay: decay(false, 0.1, 1.0), lr: T::of(0.1), eps: T::of(1e-3) });
}

fn sgd<T: Float>(nesterov: bool, first: bool) -> Sgd<T, true> {
    Sgd { decay: decay(false, 0.1, 1.0), momentum: T::of(0.9), gain: T::of(0.7), nesterov, first, lr: T::of(0.1) }
}

fn adam<T: Float, const AMSGRAD: bool>() -> Adam<T, AMSGRAD> {
    Adam {
        decay: decay(false, 0.0, 0.999),
        weight1: T::of(0.1),
        beta2: T::of(0.99),
        weight2: T::of(0.01),
        step_size: T::of(0.01),
        correction2: T::of(0.3),
        eps: T::of(1e-3),
    }
}

fn radam<T: Float>(adaptive: bool) -> RAdam<T> {
    RAdam {
        decay: decay(false, 0.0, 1.0),
        weight1: T::of(0.1),
        beta2: T::of(0.99),
        weight2: T::of(0.01),
        correction1: T::of(0.4),
        correction2: T::of(0.3),
        lr: T::of(0.01),
        eps: T::of(1e-3),
        adaptive,
        rect: T::of(0.8),
    }
}

fn rms<T: Float, const CENTERED: bool, const MOMENTUM: bool>() -> RmsProp<T, CENTERED, MOMENTUM> {
    RmsProp {
        decay: decay(false, 0.1, 1.0),
        alpha: T::of(0.9),
        weight: T::of(0.1),
        eps: T::of(1e-2),
        momentum: T::of(0.9),
        lr: T::of(0.01),
    }
}

#[test]
fn pieces_cover_everything_once() {
    let lengths = [3usize, 0, 10, 25, 1];
    for grain in [1, 7, 10, 100] {
        let mut seen: Vec<Vec<u8>> = lengths.iter().map(|&n| vec![0; n]).collect();
        for piece in pieces(lengths.iter().copied(), grain) {
            assert!(piece.iter().map(|(_, s, e)| e - s).sum::<usize>() <= grain);
            piece.iter().for_each(|&(t, s, e)| seen[t][s..e].iter_mut().for_each(|v| *v += 1));
        }
        assert!(seen.iter().flatten().all(|v| *v == 1));
    }
}

#[test]
fn sums_of_squares() {
    for n in [0, 1, 31, 32, 33, 1000] {
        let x: Vec<f32> = numbers(n, 5).iter().map(|v| *v as f32 * 1e25).collect();
        let want: f64 = x.iter().map(|v| *v as f64 * *v as f64).sum();
        for level in available() {
            // SAFETY: the processor has the level.
            let got = unsafe { sum_squares::at(level, &x) };
            assert!((got - want).abs() <= 1e-13 * want, "{} {n}: {got} {want}", level.name());
        }
    }
}
