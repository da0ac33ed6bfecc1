//! The error function and its relatives.

use super::poly;

/// erf(1) rounded to few bits, the middle of the table around 1 (fdlibm).
const ERX: f64 = 0.8450629115104675;
const FRAC_SQRT_PI_2: f64 = 0.886226925452758; // sqrt(pi) / 2
const SQRT_2PI: f64 = 2.5066282746310007;

/// Cephes ndtri, |y - 1/2| <= 3/8: numerator.
#[rustfmt::skip]
const NDTRI_P0: [f64; 5] = [
    -59.96335010141079, 98.00107541859997, -56.67628574690703, 13.931260938727968,
    -1.2391658386738125,
];
/// Its denominator.
#[rustfmt::skip]
const NDTRI_Q0: [f64; 9] = [
    1.0, 1.9544885833814176, 4.676279128988815, 86.36024213908905, -225.46268785411937,
    200.26021238006066, -82.03722561683334, 15.90562251262117, -1.1833162112133,
];
/// Cephes ndtri, sqrt(-2 ln y) in [2, 8]: numerator.
#[rustfmt::skip]
const NDTRI_P1: [f64; 9] = [
    4.0554489230596245, 31.525109459989388, 57.16281922464213, 44.08050738932008,
    14.684956192885803, 2.1866330685079025, -0.1402560791713545, -0.03504246268278482,
    -0.0008574567851546854,
];
/// Its denominator.
#[rustfmt::skip]
const NDTRI_Q1: [f64; 9] = [
    1.0, 15.779988325646675, 45.39076351288792, 41.3172038254672, 15.04253856929075,
    2.504649462083094, -0.14218292285478779, -0.03808064076915783, -0.0009332594808954574,
];
/// Cephes ndtri, sqrt(-2 ln y) in [8, 64]: numerator.
#[rustfmt::skip]
const NDTRI_P2: [f64; 9] = [
    3.2377489177694603, 6.915228890689842, 3.9388102529247444, 1.3330346081580755,
    0.20148538954917908, 0.012371663481782003, 0.00030158155350823543, 2.6580697468673755e-6,
    6.239745391849833e-9,
];
/// Its denominator.
#[rustfmt::skip]
const NDTRI_Q2: [f64; 9] = [
    1.0, 6.02427039364742, 3.6798356385616087, 1.3770209948908132, 0.21623699359449663,
    0.013420400608854318, 0.00032801446468212774, 2.8924786474538068e-6, 6.790194080099813e-9,
];
/// fdlibm s_erf.c, |x| < 0.84375: erf(x)/x - 1, numerator in x^2.
#[rustfmt::skip]
const ERF_P: [f64; 5] = [
    -2.3763016656650163e-5, -0.005770270296489442, -0.02848174957559851, -0.3250421072470015,
    0.12837916709551256,
];
/// Its denominator.
#[rustfmt::skip]
const ERF_Q: [f64; 6] = [
    -3.960228278775368e-6, 0.00013249473800432164, 0.005081306281875766, 0.0650222499887673,
    0.39791722395915535, 1.0,
];
/// fdlibm s_erf.c, 0.84375 <= |x| < 1.25: erf(x) - ERX, numerator in |x| - 1.
#[rustfmt::skip]
const ERF_A: [f64; 7] = [
    -0.002166375594868791, 0.035478304325618236, -0.11089469428239668, 0.31834661990116175,
    -0.3722078760357013, 0.41485611868374833, -0.0023621185607526594,
];
/// Its denominator.
#[rustfmt::skip]
const ERF_B: [f64; 7] = [
    0.011984499846799107, 0.01363708391202905, 0.12617121980876164, 0.07182865441419627,
    0.540397917702171, 0.10642088040084423, 1.0,
];
/// fdlibm s_erf.c, 1.25 <= x < 1/0.35: ln(x erfcx(x)) + 0.5625, numerator in 1/x^2.
#[rustfmt::skip]
const ERFC_RA: [f64; 8] = [
    -9.814329344169145, -81.2874355063066, -184.60509290671104, -162.39666946257347,
    -62.375332450326006, -10.558626225323291, -0.6938585727071818, -0.009864944034847148,
];
/// Its denominator.
#[rustfmt::skip]
const ERFC_SA: [f64; 9] = [
    -0.0604244152148581, 6.570249770319282, 108.63500554177944, 429.00814002756783,
    645.3872717332679, 434.56587747522923, 137.65775414351904, 19.651271667439257, 1.0,
];
/// fdlibm s_erf.c, 1/0.35 <= x < 28: as above.
#[rustfmt::skip]
const ERFC_RB: [f64; 7] = [
    -483.5191916086514, -1025.0951316110772, -637.5664433683896, -160.63638485582192,
    -17.757954917754752, -0.799283237680523, -0.0098649429247001,
];
/// Its denominator.
#[rustfmt::skip]
const ERFC_SB: [f64; 8] = [
    -22.44095244658582, 474.52854120695537, 2553.0504064331644, 3199.8582195085955,
    1536.729586084437, 325.7925129965739, 30.33806074348246, 1.0,
];

/// exp(sign x^2) with the rounding error of x^2 taken care of (x split as in fdlibm s_erf.c).
fn exp_sq(x: f64, sign: f64) -> f64 {
    let h = f64::from_bits(x.to_bits() & 0xffff_ffff_0000_0000);
    (sign * h * h).exp() * (sign * (x - h) * (x + h)).exp()
}

/// ln(x erfcx(x)) for x >= 1.25, less than 28 or so (fdlibm s_erf.c).
fn ln_x_erfcx(x: f64) -> f64 {
    let s = 1.0 / (x * x);
    let r = if x < 1.0 / 0.35 { poly(s, &ERFC_RA) / poly(s, &ERFC_SA) } else { poly(s, &ERFC_RB) / poly(s, &ERFC_SB) };
    r - 0.5625
}

/// erf by rational functions on four intervals (fdlibm s_erf.c).
pub(super) fn erf(x: f64) -> f64 {
    let a = x.abs();
    if a.is_nan() {
        x
    } else if a < 0.84375 {
        let z = x * x;
        x + x * (poly(z, &ERF_P) / poly(z, &ERF_Q))
    } else if a < 1.25 {
        let s = a - 1.0;
        (ERX + poly(s, &ERF_A) / poly(s, &ERF_B)).copysign(x)
    } else if a < 6.0 {
        (1.0 - erfc(a)).copysign(x)
    } else {
        1f64.copysign(x)
    }
}

/// erfc by rational functions on five intervals (fdlibm s_erf.c).
pub(super) fn erfc(x: f64) -> f64 {
    let a = x.abs();
    if a.is_nan() {
        return x;
    }
    if a < 0.84375 {
        let z = x * x;
        let y = x * (poly(z, &ERF_P) / poly(z, &ERF_Q));
        return if x < 0.25 { 1.0 - (x + y) } else { 0.5 - (x - 0.5 + y) };
    }
    let c = if a < 1.25 {
        let s = a - 1.0;
        1.0 - ERX - poly(s, &ERF_A) / poly(s, &ERF_B)
    } else if a < 28.0 {
        let h = f64::from_bits(a.to_bits() & 0xffff_ffff_0000_0000);
        (-h * h - 0.5625).exp() * ((h - a) * (h + a) + (ln_x_erfcx(a) + 0.5625)).exp() / a
    } else {
        0.0
    };
    if x < 0.0 { 2.0 - c } else { c }
}

/// exp(x^2) erfc(x): the parts of erfc without its exponential, and the asymptotic series DLMF 7.12.1.
pub(super) fn erfcx(x: f64) -> f64 {
    if x.is_nan() {
        x
    } else if x < -26.7 {
        f64::INFINITY
    } else if x < -6.1 {
        2.0 * exp_sq(x, 1.0)
    } else if x < 0.0 {
        2.0 * exp_sq(x, 1.0) - erfcx(-x)
    } else if x < 1.25 {
        (x * x).exp() * erfc(x)
    } else if x < 28.0 {
        ln_x_erfcx(x).exp() / x
    } else {
        let s = 0.5 / (x * x);
        let t = 1.0 - s * (1.0 - 3.0 * s * (1.0 - 5.0 * s * (1.0 - 7.0 * s * (1.0 - 9.0 * s))));
        0.5 * std::f64::consts::FRAC_2_SQRT_PI * t / x
    }
}

/// A first guess by rational functions, then Halley steps on erf, or on erfc in the tails.
pub(super) fn erfinv(y: f64) -> f64 {
    let a = y.abs();
    if a.is_nan() || a > 1.0 {
        return f64::NAN;
    }
    if a == 1.0 {
        return f64::INFINITY.copysign(y);
    }
    let mut x;
    if a <= 0.7 {
        let z = a * a;
        x = a * poly(z, &[-0.140543331, 0.914624893, -1.645349621, 0.886226899])
            / poly(z, &[0.012229801, -0.329097515, 1.442710462, -2.118377725, 1.0]);
    } else {
        let z = (-((1.0 - a) / 2.0).ln()).sqrt();
        x = poly(z, &[1.641345311, 3.429567803, -1.624906493, -1.970840454]) / poly(z, &[1.637067800, 3.543889200, 1.0]);
    }
    for _ in 0..2 {
        let f = if a <= 0.7 { erf(x) - a } else { (1.0 - a) - erfc(x) };
        let u = f * FRAC_SQRT_PI_2 * exp_sq(x, 1.0);
        x -= u / (1.0 + x * u);
    }
    x.copysign(y)
}

/// Rational functions in the middle and in sqrt(-2 ln y) in the tails (Cephes ndtri).
pub(super) fn ndtri(y: f64) -> f64 {
    const EXP_M2: f64 = 0.1353352832366127;
    if y == 0.0 {
        return f64::NEG_INFINITY;
    }
    if y == 1.0 {
        return f64::INFINITY;
    }
    if !(0.0..=1.0).contains(&y) {
        return f64::NAN;
    }
    let upper = y > 1.0 - EXP_M2;
    let t = if upper { 1.0 - y } else { y };
    if t > EXP_M2 {
        let d = t - 0.5;
        let z = d * d;
        return (d + d * (z * poly(z, &NDTRI_P0) / poly(z, &NDTRI_Q0))) * SQRT_2PI;
    }
    let r = (-2.0 * t.ln()).sqrt();
    let z = 1.0 / r;
    let q = if r < 8.0 { poly(z, &NDTRI_P1) / poly(z, &NDTRI_Q1) } else { poly(z, &NDTRI_P2) / poly(z, &NDTRI_Q2) };
    let x = r - r.ln() / r - z * q;
    if upper { x } else { -x }
}

/// ln(erfc(-x / sqrt 2) / 2), by erfcx in the lower tail.
pub(super) fn log_ndtr(x: f64) -> f64 {
    let t = x * std::f64::consts::FRAC_1_SQRT_2;
    if x < -1.0 { (erfcx(-t) / 2.0).ln() - t * t } else { (-erfc(t) / 2.0).ln_1p() }
}
