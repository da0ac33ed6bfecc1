//! Every function at every level against float64, over all exponents, and at the ends.

use super::super::isa::{Level, available};

macro_rules! tiles {
    ($($name:ident($($arg:ident),*);)*) => {$(
        mod $name {
            multiversion! {
                /// # Safety
                /// The arguments and the result have `n` elements.
                pub unsafe fn tile($($arg: *const f32,)* out: *mut f32, n: usize) {
                    for k in 0..n {
                        // SAFETY: by the caller.
                        unsafe { *out.add(k) = crate::cpu::math::$name::<FMA>($(*$arg.add(k)),*) }
                    }
                }
            }
        }
    )*};
}
tiles! {
    exp(x); exp2(x); expm1(x); log(x); log2(x); log10(x); log1p(x); tanh(x); sigmoid(x); erf(x); sin(x); cos(x); normal_cdf(x); pow(x, y);
}

/// Bit patterns over all of float32, both signs, dense enough to meet every exponent a few thousand times.
fn all() -> Vec<f32> {
    (0..=u32::MAX).step_by(4099).map(f32::from_bits).chain([0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::NAN]).collect()
}

/// The distance of `got` from the float64 value, in units in the last place of the float32 result.
fn ulps(got: f32, want: f64) -> f64 {
    if want.is_nan() || got.is_nan() {
        return if want.is_nan() && got.is_nan() { 0.0 } else { f64::INFINITY };
    }
    let w = want as f32;
    if w.is_infinite() || got.is_infinite() {
        return if w == got { 0.0 } else { f64::INFINITY };
    }
    let a = w.abs().max(f32::MIN_POSITIVE);
    (got as f64 - want).abs() / (a.next_up() as f64 - a as f64)
}

fn check(name: &str, bound: f64, x: &[f32], run: unsafe fn(Level, *const f32, *mut f32, usize), f: impl Fn(f64) -> f64) {
    for level in available() {
        let mut y = vec![0f32; x.len()];
        // SAFETY: both have as many elements; the processor has the level.
        unsafe { run(level, x.as_ptr(), y.as_mut_ptr(), x.len()) };
        let mut worst = (0.0, 0.0f32, 0.0f32);
        for (&x, &y) in x.iter().zip(&y) {
            let u = ulps(y, f(x as f64));
            if u > worst.0 {
                worst = (u, x, y);
            }
            if x == 0.0 && f(0.0) == 0.0 {
                assert_eq!(y.to_bits(), x.to_bits(), "{name}: the sign of zero");
            }
        }
        println!("{name} {}: {:.2} ULP at {:e}", level.name(), worst.0, worst.1);
        assert!(worst.0 <= bound, "{name} at {}: {} ULP for {:e} -> {:e}", level.name(), worst.0, worst.1, worst.2);
    }
}

#[test]
fn bounds() {
    let x = all();
    check("exp", 1.0, &x, exp::tile::at, f64::exp);
    check("exp2", 1.0, &x, exp2::tile::at, f64::exp2);
    check("expm1", 3.0, &x, expm1::tile::at, f64::exp_m1);
    check("log", 1.0, &x, log::tile::at, f64::ln);
    check("log2", 2.0, &x, log2::tile::at, f64::log2);
    check("log10", 3.0, &x, log10::tile::at, f64::log10);
    check("log1p", 3.0, &x, log1p::tile::at, f64::ln_1p);
    check("tanh", 2.0, &x, tanh::tile::at, f64::tanh);
    check("sigmoid", 3.0, &x, sigmoid::tile::at, |x| 1.0 / (1.0 + (-x).exp()));
    check("erf", 2.0, &x, erf::tile::at, crate::expr::special::Real::erf_);
    let trig: Vec<f32> = x.iter().copied().filter(|v| v.abs() <= super::TRIG_LIMIT).collect();
    check("sin", 2.0, &trig, sin::tile::at, f64::sin);
    check("cos", 2.0, &trig, cos::tile::at, f64::cos);
}

#[test]
fn distribution_function() {
    let x: Vec<f32> =
        (-400_000..400_000).map(|k| k as f32 * 5e-5).chain([f32::INFINITY, f32::NEG_INFINITY, 1e30, -1e30]).collect();
    for level in available() {
        let mut y = vec![0f32; x.len()];
        // SAFETY: both have as many elements; the processor has the level.
        unsafe { normal_cdf::tile::at(level, x.as_ptr(), y.as_mut_ptr(), x.len()) };
        for (&x, &y) in x.iter().zip(&y) {
            let want = 0.5 * crate::expr::special::Real::erfc(-x as f64 * std::f64::consts::FRAC_1_SQRT_2);
            let off = (y as f64 - want).abs();
            assert!(off <= 3e-7 && (0.0..=1.0).contains(&y), "{x}: {y:e} for {want:e} at {}", level.name());
        }
        let mut nan = 0f32;
        // SAFETY: one element each.
        unsafe { normal_cdf::tile::at(level, &f32::NAN, &mut nan, 1) };
        assert!(nan.is_nan());
    }
}

#[test]
fn powers_of_two_have_whole_logarithms() {
    for e in -126..128 {
        let mut y = 0f32;
        // SAFETY: one element each.
        unsafe { log2::tile(&2f32.powi(e), &mut y, 1) };
        assert_eq!(y, e as f32);
    }
}

#[test]
fn power() {
    let base: Vec<f32> = (0..=u32::MAX).step_by(1 << 22 | 4099).map(f32::from_bits).collect();
    let exponent: Vec<f32> = [
        0.0,
        -0.0,
        0.5,
        1.0,
        -1.0,
        2.0,
        3.0,
        -3.0,
        0.3333,
        7.25,
        -11.5,
        1e-3,
        40.0,
        126.0,
        8_388_609.0,
        16_777_216.0,
        1e9,
        -1e30,
    ]
    .into_iter()
    .collect();
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for &b in &base {
        for &e in &exponent {
            if !super::pow_is_special(b, e) {
                x.push(b);
                y.push(e);
            }
        }
    }
    for level in available() {
        let mut out = vec![0f32; x.len()];
        // SAFETY: all have as many elements; the processor has the level.
        unsafe { pow::tile::at(level, x.as_ptr(), y.as_ptr(), out.as_mut_ptr(), x.len()) };
        for k in 0..x.len() {
            let u = ulps(out[k], (x[k] as f64).powf(y[k] as f64));
            assert!(u <= 1.0, "pow({:e}, {}) = {:e}: {u} ULP at {}", x[k], y[k], out[k], level.name());
        }
    }
}

#[test]
fn exp_of_what_is_not_positive() {
    multiversion! {
        fn run(x: &[f32], y: &mut [f32]) {
            for (y, &x) in y.iter_mut().zip(x) {
                *y = crate::cpu::math::exp_nonpositive::<FMA>(x);
            }
        }
    }
    let mut x: Vec<f32> = (0..2_000_000).map(|i| -(i as f32) * 5e-5).collect();
    x.extend([-0.0, -f32::MIN_POSITIVE, -1e-45, f32::NEG_INFINITY, f32::from_bits(0x7fc0_01ff), f32::from_bits(0xffc0_0001)]);
    for level in available() {
        let mut y = vec![0.0; x.len()];
        // SAFETY: the processor has the level.
        unsafe { run::at(level, &x, &mut y) };
        for (&x, &y) in x.iter().zip(&y) {
            let want = f64::from(x).exp();
            if want < 1.18e-38 {
                assert!(y <= 1.2e-38, "{x}: {y}");
            } else if x.is_nan() {
                assert!(y.is_nan());
            } else {
                let ulp = f64::from(f32::from_bits((want as f32).to_bits() + 1)) - f64::from(want as f32);
                assert!((f64::from(y) - want).abs() <= ulp, "{x}: {y} for {want}");
            }
        }
    }
}
