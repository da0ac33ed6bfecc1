//! The gamma function's logarithm and its derivatives, and the Hurwitz zeta function.

use super::poly;
use std::f64::consts::PI;

/// Where lgamma has its minimum on the positive axis, the minimum, and minus the rest of the minimum.
const LG_MIN: (f64, f64, f64) = (1.4616321449683622, -0.12148629053584961, -3.638676997039505e-18);

/// fdlibm e_lgamma_r.c: around 2.
#[rustfmt::skip]
const LG_A: [f64; 12] = [
    4.4864094961891516e-5, 2.5214456545125733e-5, 0.00010801156724758394, 0.00022086279071390839,
    0.0005100697921535113, 0.0011927076318336207, 0.0028905138367341563, 0.007385550860814029,
    0.020580808432516733, 0.06735230105312927, 0.3224670334241136, 0.07721566490153287,
];
/// fdlibm e_lgamma_r.c: around the minimum.
#[rustfmt::skip]
const LG_T: [f64; 15] = [
    0.0003355291926355191, -0.00031275416837512086, 0.00031563207090362595, -0.0005385953053567405,
    0.000881081882437654, -0.0014034646998923284, 0.0022596478090061247, -0.0036845201678113826,
    0.006100538702462913, -0.010314224129834144, 0.01797067508118204, -0.032788541075985965,
    0.06462494023913339, -0.1475877229945939, 0.48383612272381005,
];
/// fdlibm e_lgamma_r.c: around 1, numerator.
#[rustfmt::skip]
const LG_U: [f64; 6] = [
    0.013381091853678766, 0.22896372806469245, 0.9777175279633727, 1.4549225013723477,
    0.6328270640250934, -0.07721566490153287,
];
/// fdlibm e_lgamma_r.c: around 1, denominator.
#[rustfmt::skip]
const LG_V: [f64; 6] = [
    0.003217092422824239, 0.10422264559336913, 0.7692851504566728, 2.128489763798934,
    2.4559779371304113, 1.0,
];
/// fdlibm e_lgamma_r.c: on [2, 3], numerator.
#[rustfmt::skip]
const LG_S: [f64; 7] = [
    3.194753265841009e-5, 0.0018402845140733772, 0.02664227030336386, 0.14635047265246445,
    0.325778796408931, 0.21498241596060885, -0.07721566490153287,
];
/// fdlibm e_lgamma_r.c: on [2, 3], denominator.
#[rustfmt::skip]
const LG_R: [f64; 7] = [
    7.326684307446256e-6, 0.0007779424963818936, 0.01864591917156529, 0.17193386563280308,
    0.7219355475671381, 1.3920053346762105, 1.0,
];
/// fdlibm e_lgamma_r.c: asymptotic.
#[rustfmt::skip]
const LG_W: [f64; 7] = [
    -0.0016309293409657527, 0.0008363399189962821, -0.00059518755745034, 0.0007936505586430196,
    -0.0027777777772877554, 0.08333333333333297, 0.4189385332046727,
];
/// The denominators of the Euler-Maclaurin terms of zeta: (2k)! / B_2k.
#[rustfmt::skip]
const ZETA_A: [f64; 12] = [
    12.0, -720.0, 30240.0, -1209600.0, 47900160.0, -1.8924375803183792e9, 7.47242496e10,
    -2.950130727918164e12, 1.1646782814350067e14, -4.597978722407473e15,
    1.8152105401943546e17, -7.166165256175667e18,
];
/// The asymptotic terms of digamma: B_2k / (2k), highest first.
#[rustfmt::skip]
const PSI_A: [f64; 7] = [
    1.0 / 12.0, -691.0 / 32760.0, 1.0 / 132.0, -1.0 / 240.0, 1.0 / 252.0, -1.0 / 120.0, 1.0 / 12.0,
];
/// The asymptotic terms of trigamma: B_2k, highest first.
#[rustfmt::skip]
const TRI_A: [f64; 7] = [
    7.0 / 6.0, -691.0 / 2730.0, 5.0 / 66.0, -1.0 / 30.0, 1.0 / 42.0, -1.0 / 30.0, 1.0 / 6.0,
];

/// sin(pi x), exact in its zeros.
fn sin_pi(x: f64) -> f64 {
    let r = x % 2.0;
    let n = (2.0 * r).round();
    let s = PI * (r - n / 2.0);
    match n as i32 & 3 {
        0 => s.sin(),
        1 => s.cos(),
        2 => -s.sin(),
        _ => -s.cos(),
    }
}

/// lgamma by interval; reflection on the negative axis (fdlibm e_lgamma_r.c).
pub(super) fn lgamma(x: f64) -> f64 {
    if x.is_nan() {
        return x;
    }
    if x.is_infinite() {
        return f64::INFINITY;
    }
    let a = x.abs();
    if a < 1e-21 {
        return -a.ln();
    }
    if x > 0.0 {
        return lgamma_pos(x);
    }
    let s = sin_pi(a).abs();
    if s == 0.0 { f64::INFINITY } else { (PI / (s * a)).ln() - lgamma_pos(a) }
}

fn lgamma_pos(x: f64) -> f64 {
    if x < 2.0 {
        let (base, x) = if x <= 0.9 { (-x.ln(), x) } else { (0.0, x - 1.0) };
        // Now lgamma(1 + x) is wanted, -0.1 < x < 1; x is exact but for rounding above.
        return base + lgamma_1p(x);
    }
    if x < 8.0 {
        let n = x.floor();
        let y = x - n;
        let r = 0.5 * y + y * poly(y, &LG_S) / poly(y, &LG_R);
        let z = (2..n as i32).fold(1.0, |z, k| z * (y + f64::from(k)));
        return if z == 1.0 { r } else { r + z.ln() };
    }
    if x < 2.9e17 {
        let z = 1.0 / x;
        let w = LG_W[6] + z * poly(z * z, &LG_W[..6]);
        return (x - 0.5) * (x.ln() - 1.0) + w;
    }
    x * (x.ln() - 1.0)
}

/// lgamma(1 + x) for -0.1 <= x < 1 (fdlibm e_lgamma_r.c).
fn lgamma_1p(x: f64) -> f64 {
    if x >= 0.7316 {
        let y = 1.0 - x;
        y * poly(y, &LG_A) - 0.5 * y
    } else if x >= 0.23164 {
        let y = x - (LG_MIN.0 - 1.0);
        LG_MIN.1 + (y * y * poly(y, &LG_T) - LG_MIN.2)
    } else {
        x * poly(x, &LG_U) / poly(x, &LG_V) - 0.5 * x
    }
}

/// Recurrence up to 10 and the asymptotic series there; reflection on the negative axis (Cephes psi).
pub(super) fn digamma(x: f64) -> f64 {
    if x == 0.0 {
        return f64::INFINITY.copysign(-x);
    }
    if x < 0.0 {
        let r = x.fract();
        return if r == 0.0 || x.is_infinite() { f64::NAN } else { digamma(1.0 - x) - PI / (PI * r).tan() };
    }
    let (mut x, mut r) = (x, 0.0);
    while x < 10.0 {
        r -= 1.0 / x;
        x += 1.0;
    }
    if x == 10.0 {
        return r + 2.251752589066721;
    }
    let y = if x < 1e17 {
        let z = 1.0 / (x * x);
        z * poly(z, &PSI_A)
    } else {
        0.0
    };
    r + x.ln() - 0.5 / x - y
}

/// The derivative of digamma: recurrence up to 12, asymptotic series (DLMF 5.15.8), reflection below 1/2.
fn trigamma(x: f64) -> f64 {
    if x < 0.5 {
        let s = (PI * x).sin();
        return PI * PI / (s * s) - trigamma(1.0 - x);
    }
    let (mut x, mut r) = (x, 0.0);
    while x < 12.0 {
        r += 1.0 / (x * x);
        x += 1.0;
    }
    let z = 1.0 / (x * x);
    r + (1.0 + 0.5 / x + z * poly(z, &TRI_A)) / x
}

/// (-1)^(n+1) n! zeta(n + 1, x) (DLMF 25.11.12); n = 1 by its own series, for negative x too.
pub(super) fn polygamma(x: f64, n: f64) -> f64 {
    if n == 0.0 {
        return digamma(x);
    }
    if n == 1.0 {
        return trigamma(x);
    }
    let factorial = if n > 170.0 { f64::INFINITY } else { (2..=n as u32).map(f64::from).product::<f64>() };
    let sign = if n % 2.0 == 0.0 { -1.0 } else { 1.0 };
    sign * factorial * zeta(n + 1.0, x)
}

/// Euler-Maclaurin summation (Cephes zeta); whole s at negative q is folded back to q > 0.
pub(super) fn zeta(s: f64, q: f64) -> f64 {
    if s == 1.0 {
        return f64::INFINITY;
    }
    if s < 1.0 || q.is_nan() {
        return f64::NAN;
    }
    if q <= 0.0 {
        if q == q.floor() {
            return f64::INFINITY;
        }
        if s != s.floor() {
            return f64::NAN;
        }
        if s.is_infinite() {
            return s; // some term has |q + k| < 1
        }
        // The terms of negative base are (-1)^s times those of zeta(s, 1 - r) before 1 - q.
        let r = q - q.floor();
        let sign = if s % 2.0 == 0.0 { 1.0 } else { -1.0 };
        return (zeta(s, r) + sign * zeta(s, 1.0 - r)) - sign * zeta(s, 1.0 - q);
    }
    if s.is_nan() {
        return s;
    }
    let mut sum = q.powf(-s);
    let (mut a, mut b, mut i) = (q, 0.0, 0);
    while i < 9 || a <= 9.0 {
        i += 1;
        a += 1.0;
        b = a.powf(-s);
        sum += b;
        if b < f64::EPSILON / 2.0 * sum {
            return sum;
        }
    }
    let w = a;
    sum += b * w / (s - 1.0);
    sum -= 0.5 * b;
    let (mut f, mut k) = (1.0, 0.0);
    for c in ZETA_A {
        f *= s + k;
        b /= w;
        let t = f * b / c;
        sum += t;
        if (t / sum).abs() < f64::EPSILON / 2.0 {
            break;
        }
        k += 1.0;
        f *= s + k;
        b /= w;
        k += 1.0;
    }
    sum
}
