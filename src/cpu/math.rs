//! Elementary functions in float32 that vectorise: no branches, no tables, no calls.
//!
//! Inlined into a loop of a [`multiversion!`](super::isa) body they become vector code. Each is within the bound that
//! its comment gives (in units in the last place, against float64; the tests hold them to it over every exponent),
//! denormal results included, and is right at NaN, infinities and signed zeros. The polynomials were fitted by weighted
//! least squares (Lawson) to the relative error of the result. `FMA` as in [`super::isa::fma`].

use super::isa::{fma, fma64};

/// 1.5 * 2^23: added and taken away, it rounds to the nearest integer; its low bits then hold that integer.
const ROUND: f32 = 12_582_912.0;
/// As `ROUND` with the exponent's bias added: those low bits, moved to the exponent, are that power of two.
const BIASED: f32 = ROUND + 127.0;
/// 1.5 * 2^52: likewise in float64.
const ROUND64: f64 = 6_755_399_441_055_744.0;
/// ln 2 in two parts; products of the first with integers below 2^15 are exact.
const LN2_HI: f32 = 0.693_359_4;
const LN2_LO: f32 = -2.121_944_4e-4;
const LOG2_E: f32 = std::f32::consts::LOG2_E;

#[inline(always)]
fn abs(x: f32) -> f32 {
    f32::from_bits(x.to_bits() & 0x7fff_ffff)
}
#[inline(always)]
fn copysign(x: f32, sign: f32) -> f32 {
    f32::from_bits((x.to_bits() & 0x7fff_ffff) | (sign.to_bits() & 0x8000_0000))
}

/// `x` within [lo, hi]; NaN stays NaN.
#[inline(always)]
fn limit(x: f32, lo: f32, hi: f32) -> f32 {
    let x = if hi < x { hi } else { x };
    if lo > x { lo } else { x }
}

/// `(1 + q) 2^n` for whole |n| <= 252, in two steps, so that a denormal result is rounded once.
#[inline(always)]
fn times_power<const FMA: bool>(q: f32, n: f32) -> f32 {
    let t = fma::<FMA>(n, 0.5, BIASED);
    let rest = (n - (t - BIASED)) + BIASED;
    let (half, rest) = (f32::from_bits(t.to_bits() << 23), f32::from_bits(rest.to_bits() << 23));
    fma::<FMA>(q, half, half) * rest
}

/// `e^r - 1` for |r| <= ln 2 / 2.
#[inline(always)]
fn exp_near<const FMA: bool>(r: f32) -> f32 {
    let p = 1.381_314_5e-3;
    let p = fma::<FMA>(p, r, 8.369_419e-3);
    let p = fma::<FMA>(p, r, 4.166_845_6e-2);
    let p = fma::<FMA>(p, r, 1.666_651_5e-1);
    let p = fma::<FMA>(p, r, 4.999_999_4e-1);
    fma::<FMA>(p, r * r, r)
}

/// `x = n ln 2 + r`, |r| <= ln 2 / 2: (n + round, n, r). With [`ROUND`] or [`BIASED`] the low bits of the first hold an integer.
#[inline(always)]
fn split_ln2<const FMA: bool>(x: f32, round: f32) -> (f32, f32, f32) {
    let t = fma::<FMA>(x, LOG2_E, round);
    let n = t - round;
    (t, n, fma::<FMA>(n, -LN2_LO, fma::<FMA>(n, -LN2_HI, x)))
}

/// e^x; 1 ULP.
#[inline(always)]
pub fn exp<const FMA: bool>(x: f32) -> f32 {
    let x = limit(x, -104.0, 89.0);
    let (_, n, r) = split_ln2::<FMA>(x, ROUND);
    times_power::<FMA>(exp_near::<FMA>(r), n)
}

/// e^x where that is a normal number, and for NaN; 1 ULP.
#[inline(always)]
fn exp_normal<const FMA: bool>(x: f32) -> f32 {
    let (t, _, r) = split_ln2::<FMA>(x, BIASED);
    // 2^n; anything for a NaN, which r still is.
    let power = f32::from_bits(t.to_bits() << 23);
    fma::<FMA>(exp_near::<FMA>(r), power, power)
}

/// e^x for x <= 0 (or NaN); 1 ULP, results below the normal numbers are 0. Two thirds of the work of [`exp`].
#[inline(always)]
pub fn exp_nonpositive<const FMA: bool>(x: f32) -> f32 {
    // The smallest argument whose result is normal.
    const LOWEST: f32 = -87.336_54;
    let e = exp_normal::<FMA>(if LOWEST > x { LOWEST } else { x });
    if x < LOWEST { 0.0 } else { e }
}

/// 2^x; 1 ULP.
#[inline(always)]
pub fn exp2<const FMA: bool>(x: f32) -> f32 {
    let x = limit(x, -151.0, 129.0);
    let n = (x + ROUND) - ROUND;
    let r = (x - n) * std::f32::consts::LN_2;
    times_power::<FMA>(exp_near::<FMA>(r), n)
}

/// e^x - 1; 3 ULP.
#[inline(always)]
pub fn expm1<const FMA: bool>(x: f32) -> f32 {
    let y = limit(x, -104.0, 89.0);
    let (t, _, r) = split_ln2::<FMA>(y, ROUND);
    let n = (t.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let p = 1.984_595_7e-4;
    let p = fma::<FMA>(p, r, 1.394_165_2e-3);
    let p = fma::<FMA>(p, r, 8.333_391_5e-3);
    let p = fma::<FMA>(p, r, 4.166_634_8e-2);
    let p = fma::<FMA>(p, r, 1.666_666_6e-1);
    let p = fma::<FMA>(p, r, 0.5);
    let small = fma::<FMA>(p, r * r, r);
    // 2^n (1 + small) - 1, with the scale in two factors for n = 128.
    let a = n >> 1;
    let (s, t) =
        (f32::from_bits((a.wrapping_add(127) << 23) as u32), f32::from_bits((n.wrapping_sub(a).wrapping_add(127) << 23) as u32));
    let big = fma::<FMA>(small * s, t, fma::<FMA>(s, t, -1.0));
    // n = 128: s * t is not finite, though the result may be.
    let huge = (small + 1.0) * s * t;
    let r = if n == 0 {
        small
    } else if n > 127 {
        huge
    } else {
        big
    };
    if x == 0.0 { x } else { r }
}

/// `x = m 2^e` with m in [sqrt(1/2), sqrt(2)), for positive finite x: (m - 1, e).
#[inline(always)]
fn split_exponent(x: f32) -> (f32, f32) {
    let denormal = x < f32::MIN_POSITIVE;
    let y = if denormal { x * 8_388_608.0 } else { x };
    let shift = if denormal { 23.0 } else { 0.0 };
    let i = (y.to_bits() as i32).wrapping_sub(0x3f35_04f3);
    let m = f32::from_bits(((i & 0x007f_ffff) + 0x3f35_04f3) as u32);
    (m - 1.0, (i >> 23) as f32 - shift)
}

/// `(ln(1 + f) - f + f^2 / 2) / f^3`
#[inline(always)]
fn log_tail<const FMA: bool>(f: f32) -> f32 {
    let p = 6.746_592e-2;
    let p = fma::<FMA>(p, f, -1.167_563_9e-1);
    let p = fma::<FMA>(p, f, 1.188_817_8e-1);
    let p = fma::<FMA>(p, f, -1.240_559_2e-1);
    let p = fma::<FMA>(p, f, 1.421_955_1e-1);
    let p = fma::<FMA>(p, f, -1.666_799_6e-1);
    let p = fma::<FMA>(p, f, 2.000_211_9e-1);
    let p = fma::<FMA>(p, f, -0.250_000_1);
    fma::<FMA>(p, f, 3.333_331_3e-1)
}

/// What a logarithm gives where its argument is not positive and finite.
#[inline(always)]
fn log_ends(x: f32, r: f32) -> f32 {
    let r = if x == f32::INFINITY { x } else { r };
    let r = if x == 0.0 { f32::NEG_INFINITY } else { r };
    // Negative or NaN.
    if x >= 0.0 { r } else { f32::NAN }
}

/// Natural logarithm; 1 ULP.
#[inline(always)]
pub fn log<const FMA: bool>(x: f32) -> f32 {
    let (f, e) = split_exponent(x);
    let z = f * f;
    let y = fma::<FMA>(e, LN2_LO, f * z * log_tail::<FMA>(f));
    let y = fma::<FMA>(z, -0.5, y) + f;
    log_ends(x, fma::<FMA>(e, LN2_HI, y))
}

/// `log(x) / log(base)` for a base whose `1 / ln` is given in two parts; exact for powers of two when the parts are log2 e.
#[inline(always)]
fn log_base<const FMA: bool>(x: f32, hi: f32, lo: f32, e_hi: f32, e_lo: f32) -> f32 {
    let (f, e) = split_exponent(x);
    let z = f * f;
    let tail = fma::<FMA>(z, -0.5, f * z * log_tail::<FMA>(f));
    // (f + tail) * (hi + lo) + e * (e_hi + e_lo), small parts first; `hi` has few bits, so that f * hi loses nothing much.
    let y = fma::<FMA>(f + tail, lo, fma::<FMA>(tail, hi, e * e_lo));
    log_ends(x, fma::<FMA>(e, e_hi, fma::<FMA>(f, hi, y)))
}

/// Logarithm to base 2; 2 ULP, exact for powers of two.
#[inline(always)]
pub fn log2<const FMA: bool>(x: f32) -> f32 {
    log_base::<FMA>(x, 1.442_382_8, 3.122_535_8e-4, 1.0, 0.0)
}

/// Logarithm to base 10; 3 ULP.
#[inline(always)]
pub fn log10<const FMA: bool>(x: f32) -> f32 {
    log_base::<FMA>(x, 0.434_326_17, -3.168_987_6e-5, 0.301_025_4, 4.605_039_e-6)
}

/// `ln(1 + x)`; 3 ULP (Kahan's correction of the rounding of 1 + x).
#[inline(always)]
pub fn log1p<const FMA: bool>(x: f32) -> f32 {
    let u = 1.0 + x;
    let d = u - 1.0;
    let r = log::<FMA>(u);
    let c = r * (x / d);
    let c = if d == 0.0 { x } else { c };
    if u == f32::INFINITY || u <= 0.0 { r } else { c }
}

/// Hyperbolic tangent; 2 ULP.
#[inline(always)]
pub fn tanh<const FMA: bool>(x: f32) -> f32 {
    let a = abs(x);
    let z = x * x;
    let p = -5.648_308e-3;
    let p = fma::<FMA>(p, z, 2.058_981_7e-2);
    let p = fma::<FMA>(p, z, -5.372_512_3e-2);
    let p = fma::<FMA>(p, z, 1.333_127_5e-1);
    let p = fma::<FMA>(p, z, -3.333_327_5e-1);
    let small = fma::<FMA>(p * z, x, x);
    // tanh = 1 - 2 / (e^2a + 1); beyond 9.1 that is 1.
    let b = if 10.0 < a { 10.0 } else { a };
    let e = exp_normal::<FMA>(b + b);
    let large = 1.0 - 2.0 / (e + 1.0);
    // The sign is set at the end for the sake of -0.
    copysign(if a < 0.625 { small } else { large }, x)
}

/// 1 / (1 + e^-x); 3 ULP.
#[inline(always)]
pub fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    let e = exp::<FMA>(-abs(x));
    let r = 1.0 / (1.0 + e);
    // NaN takes the second way and stays.
    if x >= 0.0 { r } else { e * r }
}

/// Error function; 2 ULP.
#[inline(always)]
pub fn erf<const FMA: bool>(x: f32) -> f32 {
    let a = abs(x);
    let s = x * x;
    let p = 8.349_603e-5;
    let p = fma::<FMA>(p, s, -8.137_852_4e-4);
    let p = fma::<FMA>(p, s, 5.200_604_4e-3);
    let p = fma::<FMA>(p, s, -2.685_922_6e-2);
    let p = fma::<FMA>(p, s, 1.128_369_3e-1);
    let p = fma::<FMA>(p, s, -3.761_263_5e-1);
    let p = fma::<FMA>(p, s, 1.283_791_7e-1);
    let small = fma::<FMA>(p, x, x);
    // 1 - e^-(t + t Q(t)); beyond 3.93 that is 1.
    let t = if 4.0 < a { 4.0 } else { a };
    let q = 4.938_241e-6;
    let q = fma::<FMA>(q, t, -4.558_150_2e-5);
    let q = fma::<FMA>(q, t, -4.958_517_5e-5);
    let q = fma::<FMA>(q, t, 2.930_153_4e-3);
    let q = fma::<FMA>(q, t, -2.267_413_2e-2);
    let q = fma::<FMA>(q, t, 1.052_627e-1);
    let q = fma::<FMA>(q, t, 6.356_253e-1);
    let q = fma::<FMA>(q, t, 1.285_517_5e-1);
    let e = exp_normal::<FMA>(-fma::<FMA>(q, t, t));
    let r = copysign(if a < 0.925 { small } else { 1.0 - e }, x);
    if x.is_nan() { x } else { r }
}

/// Distribution function of the standard normal distribution, within 3e-7; 0 and 1 beyond -5.7 and 5.7, where float32 has
/// nothing between the two.
#[inline(always)]
pub fn normal_cdf<const FMA: bool>(x: f32) -> f32 {
    // 1/2 + x P(x^2) / Q(x^2), a rational fit on [-5.7, 5.7]: one division is cheaper than an exponential.
    let t = limit(x, -5.7, 5.7);
    let s = t * t;
    let p = 2.158_014_3e-8;
    let p = fma::<FMA>(p, s, 6.374_156e-6);
    let p = fma::<FMA>(p, s, 1.793_935_2e-4);
    let p = fma::<FMA>(p, s, 4.740_826_5e-3);
    let p = fma::<FMA>(p, s, 3.494_113_7e-2);
    let p = fma::<FMA>(p, s, 3.989_422e-1);
    let q = 1.164_955_6e-6;
    let q = fma::<FMA>(q, s, 7.676_76e-5);
    let q = fma::<FMA>(q, s, 1.944_551_2e-3);
    let q = fma::<FMA>(q, s, 2.926_067_3e-2);
    let q = fma::<FMA>(q, s, 2.542_499e-1);
    let q = fma::<FMA>(q, s, 1.0);
    let r = 0.5 + t * p / q;
    let r = if x > 5.7 { 1.0 } else { r };
    let r = if x < -5.7 { 0.0 } else { r };
    limit(r, 0.0, 1.0)
}

/// Largest argument that [`sin`] and [`cos`] reduce; larger ones (and what is not finite) are for the standard library.
pub const TRIG_LIMIT: f32 = 1.0e6;

/// The quadrant of x and the rest, |rest| <= pi/4, by float64 with pi/2 in two parts.
#[inline(always)]
fn quadrant<const FMA: bool>(x: f32) -> (i32, f32) {
    let x = x as f64;
    let t = fma64::<FMA>(x, std::f64::consts::FRAC_2_PI, ROUND64);
    let n = t - ROUND64;
    // 33 bits of pi/2, and the rest.
    let r = fma64::<FMA>(n, -1.570_796_326_734_125_6, x);
    (t.to_bits() as i32, fma64::<FMA>(n, -6.077_100_506_506_192e-11, r) as f32)
}

/// sin or cos of quadrant `n` and rest `r`.
#[inline(always)]
fn wave<const FMA: bool>(n: i32, r: f32) -> f32 {
    let s = r * r;
    let p = 2.717_366_7e-6;
    let p = fma::<FMA>(p, s, -1.983_923_3e-4);
    let p = fma::<FMA>(p, s, 8.333_329e-3);
    let p = fma::<FMA>(p, s, -1.666_666_7e-1);
    let sin = fma::<FMA>(p * s, r, r);
    let q = 2.442_568e-5;
    let q = fma::<FMA>(q, s, -1.388_725_1e-3);
    let q = fma::<FMA>(q, s, 4.166_664_6e-2);
    let cos = fma::<FMA>(q, s * s, fma::<FMA>(s, -0.5, 1.0));
    let y = if n & 1 == 0 { sin } else { cos };
    f32::from_bits(y.to_bits() ^ ((n as u32 & 2) << 30))
}

/// Sine for |x| <= [`TRIG_LIMIT`]; 2 ULP.
#[inline(always)]
pub fn sin<const FMA: bool>(x: f32) -> f32 {
    let (n, r) = quadrant::<FMA>(x);
    let y = wave::<FMA>(n, r);
    // Keeps the sign of a zero.
    if x == 0.0 { x } else { y }
}

/// Cosine for |x| <= [`TRIG_LIMIT`]; 2 ULP.
#[inline(always)]
pub fn cos<const FMA: bool>(x: f32) -> f32 {
    let (n, r) = quadrant::<FMA>(x);
    wave::<FMA>(n.wrapping_add(1), r)
}

/// Whether [`pow`] leaves these arguments to the standard library: a zero or what is not finite.
#[inline(always)]
pub fn pow_is_special(x: f32, y: f32) -> bool {
    let a = abs(x);
    !(a > 0.0 && a < f32::INFINITY && abs(y) < f32::INFINITY)
}

/// `x^y` for arguments that are not [`pow_is_special`], in float64; 1 ULP.
#[inline(always)]
pub fn pow<const FMA: bool>(x: f32, y: f32) -> f32 {
    // log2 |x| from s = (m - 1) / (m + 1): ln m = 2 (s + s^3 / 3 + ...), |s| < 0.172.
    let i = ((abs(x) as f64).to_bits() as i64).wrapping_sub(0x3fe6_a09e_667f_3bcd);
    let m = f64::from_bits(((i & 0x000f_ffff_ffff_ffff) + 0x3fe6_a09e_667f_3bcd) as u64);
    let e = ((i >> 52) as i32) as f64;
    let s = (m - 1.0) / (m + 1.0);
    let z = s * s;
    let p = 1.0 / 15.0;
    let p = fma64::<FMA>(p, z, 1.0 / 13.0);
    let p = fma64::<FMA>(p, z, 1.0 / 11.0);
    let p = fma64::<FMA>(p, z, 1.0 / 9.0);
    let p = fma64::<FMA>(p, z, 1.0 / 7.0);
    let p = fma64::<FMA>(p, z, 0.2);
    let p = fma64::<FMA>(p, z, 1.0 / 3.0);
    let p = fma64::<FMA>(p, z, 1.0);
    let log2 = fma64::<FMA>(s * p, 2.0 * std::f64::consts::LOG2_E, e);
    let t = log2 * y as f64;
    let t = if 200.0 < t { 200.0 } else { t };
    let t = if -200.0 > t { -200.0 } else { t };
    let u = t + ROUND64;
    let r = (t - (u - ROUND64)) * std::f64::consts::LN_2;
    let p = 1.0 / 362_880.0;
    let p = fma64::<FMA>(p, r, 1.0 / 40_320.0);
    let p = fma64::<FMA>(p, r, 1.0 / 5_040.0);
    let p = fma64::<FMA>(p, r, 1.0 / 720.0);
    let p = fma64::<FMA>(p, r, 1.0 / 120.0);
    let p = fma64::<FMA>(p, r, 1.0 / 24.0);
    let p = fma64::<FMA>(p, r, 1.0 / 6.0);
    let p = fma64::<FMA>(p, r, 0.5);
    let p = fma64::<FMA>(p, r, 1.0);
    let p = fma64::<FMA>(p, r, 1.0);
    let n = (u.to_bits() as i64).wrapping_sub(ROUND64.to_bits() as i64);
    let r = (p * f64::from_bits((n.wrapping_add(1023) << 52) as u64)) as f32;
    // A negative base: only whole exponents, odd ones turn the sign. Every float32 from 2^24 on is even.
    let a = abs(y);
    let whole = a + 8_388_608.0 - 8_388_608.0 == a || a >= 8_388_608.0;
    let half = a * 0.5;
    let odd = whole && a < 16_777_216.0 && half + 8_388_608.0 - 8_388_608.0 != half;
    let negative = if whole { if odd { -r } else { r } } else { f32::NAN };
    if x < 0.0 { negative } else { r }
}

/// The functions above on the types that formulas compute in; float64 has the standard library's.
pub trait Math: Copy {
    fn vexp<const FMA: bool>(self) -> Self;
    fn vexp2<const FMA: bool>(self) -> Self;
    fn vexpm1<const FMA: bool>(self) -> Self;
    fn vlog<const FMA: bool>(self) -> Self;
    fn vlog2<const FMA: bool>(self) -> Self;
    fn vlog10<const FMA: bool>(self) -> Self;
    fn vlog1p<const FMA: bool>(self) -> Self;
    fn vtanh<const FMA: bool>(self) -> Self;
    fn vsigmoid<const FMA: bool>(self) -> Self;
    fn verf<const FMA: bool>(self) -> Self;
    fn vnormal_cdf<const FMA: bool>(self) -> Self;
    fn vsin<const FMA: bool>(self) -> Self;
    fn vcos<const FMA: bool>(self) -> Self;
    fn vpow<const FMA: bool>(self, y: Self) -> Self;
    /// Whether `vsin` and `vcos` leave the argument to the standard library.
    fn trig_is_special(self) -> bool;
    /// Whether `vpow` does.
    fn pow_is_special(self, y: Self) -> bool;
}

macro_rules! math {
    ($t:ty: $($name:ident = $f:expr;)*) => {$(
        #[inline(always)]
        fn $name<const FMA: bool>(self) -> $t {
            ($f)(self)
        }
    )*};
}

impl Math for f32 {
    math! { f32:
        vexp = exp::<FMA>; vexp2 = exp2::<FMA>; vexpm1 = expm1::<FMA>; vlog = log::<FMA>; vlog2 = log2::<FMA>; vlog10 = log10::<FMA>;
        vlog1p = log1p::<FMA>; vtanh = tanh::<FMA>; vsigmoid = sigmoid::<FMA>; verf = erf::<FMA>; vnormal_cdf = normal_cdf::<FMA>; vsin = sin::<FMA>; vcos = cos::<FMA>;
    }
    #[inline(always)]
    fn vpow<const FMA: bool>(self, y: f32) -> f32 {
        pow::<FMA>(self, y)
    }
    #[inline(always)]
    fn trig_is_special(self) -> bool {
        !(abs(self) <= TRIG_LIMIT)
    }
    #[inline(always)]
    fn pow_is_special(self, y: f32) -> bool {
        pow_is_special(self, y)
    }
}

impl Math for f64 {
    math! { f64:
        vexp = f64::exp; vexp2 = f64::exp2; vexpm1 = f64::exp_m1; vlog = f64::ln; vlog2 = f64::log2; vlog10 = f64::log10;
        vlog1p = f64::ln_1p; vtanh = f64::tanh; vsigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        verf = crate::expr::special::Real::erf_;
        vnormal_cdf = |x: f64| 0.5 * crate::expr::special::Real::erfc(-x * std::f64::consts::FRAC_1_SQRT_2); vsin = f64::sin; vcos = f64::cos;
    }
    #[inline(always)]
    fn vpow<const FMA: bool>(self, y: f64) -> f64 {
        self.powf(y)
    }
    #[inline(always)]
    fn trig_is_special(self) -> bool {
        false
    }
    #[inline(always)]
    fn pow_is_special(self, _: f64) -> bool {
        false
    }
}

#[cfg(test)]
mod tests;
