//! Bessel functions of orders 0 and 1: J, Y and the modified I.
//!
//! J and Y have the values of PyTorch, which computes Cephes' formulas without the leading 1 that Cephes
//! implies in the denominators `R0_Q`, `Q0_Q`, `Y0_Q`, `R1_Q`, `Q1_Q` and `Y1_Q`. The values are off by up
//! to 8e-7 around x = 5, and less than 1e-11 below 3 and above 15. With a 1 put before those tables the
//! functions are true to about 1e-15.

use super::poly;
use std::f64::consts::{FRAC_2_PI, FRAC_PI_4};

const SQRT_2_PI: f64 = 0.7978845608028654; // sqrt(2 / pi)
/// The squares of the first two zeros of J0 and of J1.
const ZEROS_0: [f64; 2] = [5.783185962946784, 30.471262343662087];
const ZEROS_1: [f64; 2] = [14.681970642123893, 49.2184563216946];

/// Chebyshev series of exp(-x) I0(x) on [0, 8], in x/2 - 2 (Cephes i0).
#[rustfmt::skip]
const I0_SMALL: [f64; 30] = [
    -4.4153416464793395e-18, 3.3307945188222384e-17, -2.431279846547955e-16, 1.715391285555133e-15,
    -1.1685332877993451e-14, 7.676185498604936e-14, -4.856446783111929e-13, 2.95505266312964e-12,
    -1.726826291441556e-11, 9.675809035373237e-11, -5.189795601635263e-10, 2.6598237246823866e-9,
    -1.300025009986248e-8, 6.046995022541919e-8, -2.670793853940612e-7, 1.1173875391201037e-6,
    -4.4167383584587505e-6, 1.6448448070728896e-5, -5.754195010082104e-5, 0.00018850288509584165,
    -0.0005763755745385824, 0.0016394756169413357, -0.004324309995050576, 0.010546460394594998,
    -0.02373741480589947, 0.04930528423967071, -0.09490109704804764, 0.17162090152220877,
    -0.3046826723431984, 0.6767952744094761,
];
/// Chebyshev series of exp(-x) sqrt(x) I0(x) on [8, inf], in 32/x - 2 (Cephes i0).
#[rustfmt::skip]
const I0_LARGE: [f64; 25] = [
    -7.233180487874754e-18, -4.830504485944182e-18, 4.46562142029676e-17, 3.461222867697461e-17,
    -2.8276239805165836e-16, -3.425485619677219e-16, 1.7725601330565263e-15, 3.8116806693526224e-15,
    -9.554846698828307e-15, -4.150569347287222e-14, 1.54008621752141e-14, 3.8527783827421426e-13,
    7.180124451383666e-13, -1.7941785315068062e-12, -1.3215811840447713e-11,
    -3.1499165279632416e-11, 1.1889147107846439e-11, 4.94060238822497e-10, 3.3962320257083865e-9,
    2.266668990498178e-8, 2.0489185894690638e-7, 2.8913705208347567e-6, 6.889758346916825e-5,
    0.0033691164782556943, 0.8044904110141088,
];
/// Chebyshev series of exp(-x) I1(x)/x on [0, 8] (Cephes i1).
#[rustfmt::skip]
const I1_SMALL: [f64; 29] = [
    2.7779141127610464e-18, -2.111421214358166e-17, 1.5536319577362005e-16, -1.1055969477353862e-15,
    7.600684294735408e-15, -5.042185504727912e-14, 3.223793365945575e-13, -1.9839743977649436e-12,
    1.1736186298890901e-11, -6.663489723502027e-11, 3.625590281552117e-10, -1.8872497517228294e-9,
    9.381537386495773e-9, -4.445059128796328e-8, 2.0032947535521353e-7, -8.568720264695455e-7,
    3.4702513081376785e-6, -1.3273163656039436e-5, 4.781565107550054e-5, -0.00016176081582589674,
    0.0005122859561685758, -0.0015135724506312532, 0.004156422944312888, -0.010564084894626197,
    0.024726449030626516, -0.05294598120809499, 0.1026436586898471, -0.17641651835783406,
    0.25258718644363365,
];
/// Chebyshev series of exp(-x) sqrt(x) I1(x) on [8, inf] (Cephes i1).
#[rustfmt::skip]
const I1_LARGE: [f64; 25] = [
    7.517296310842105e-18, 4.414348323071708e-18, -4.6503053684893586e-17, -3.209525921993424e-17,
    2.96262899764595e-16, 3.3082023109209285e-16, -1.8803547755107825e-15, -3.8144030724370075e-15,
    1.0420276984128802e-14, 4.272440016711951e-14, -2.1015418427726643e-14, -4.0835511110921974e-13,
    -7.198551776245908e-13, 2.0356285441470896e-12, 1.4125807436613782e-11, 3.2526035830154884e-11,
    -1.8974958123505413e-11, -5.589743462196584e-10, -3.835380385964237e-9, -2.6314688468895196e-8,
    -2.512236237870209e-7, -3.882564808877691e-6, -0.00011058893876262371, -0.009761097491361469,
    0.7785762350182801,
];
/// Cephes j0: numerator of the cosine amplitude in (5/x)^2.
#[rustfmt::skip]
const P0_P: [f64; 7] = [
    0.0007969367292973471, 0.08283523921074408, 1.239533716464143, 5.447250030587687,
    8.74716500199817, 5.303240382353949, 1.0,
];
/// Cephes j0: its denominator.
#[rustfmt::skip]
const P0_Q: [f64; 7] = [
    0.0009244088105588637, 0.08562884743544745, 1.2535274390105895, 5.470977403304171,
    8.761908832370695, 5.306052882353947, 1.0,
];
/// Cephes j0: numerator of the sine amplitude.
#[rustfmt::skip]
const Q0_P: [f64; 8] = [
    -0.011366383889846916, -1.2825271867050931, -19.553954425773597, -93.20601521237683,
    -177.68116798048806, -147.07750515495118, -51.41053267665993, -6.050143506007285,
];
/// Cephes j0: its denominator.
#[rustfmt::skip]
const Q0_Q: [f64; 7] = [
    64.3178256118178, 856.4300259769806, 3882.4018360540163, 7240.467741956525, 5930.727011873169,
    2062.0933166032783, 242.0057402402914,
];
/// Cephes j0: numerator of J0 on [0, 5] over its zeros, in x^2.
#[rustfmt::skip]
const R0_P: [f64; 4] = [
    -4794432209.782018, 1956174919465.5657, -249248344360967.72, 9708622510473064.0,
];
/// Cephes j0: its denominator.
#[rustfmt::skip]
const R0_Q: [f64; 8] = [
    499.563147152651, 173785.4016763747, 48440965.83399621, 11185553704.535683, 2112775201154.892,
    310518229857422.56, 3.1812195594320496e16, 1.7108629408104315e18,
];
/// Cephes y0: numerator of the regular part of Y0 on [0, 5], in x^2.
#[rustfmt::skip]
const Y0_P: [f64; 8] = [
    15592.436785523574, -14663929.59039716, 5435264770.518765, -982136065717.9115, 87590639439536.7,
    -3466283033847297.0, 4.4273326857256984e16, -1.8495080043698668e16,
];
/// Cephes y0: its denominator.
#[rustfmt::skip]
const Y0_Q: [f64; 7] = [
    1041.2835366425984, 626107.330137135, 268919633.39381415, 86400248710.3935, 20297961275010.555,
    3171577528429750.5, 2.5059625617265306e17,
];
/// Cephes j1: numerator of the cosine amplitude in (5/x)^2.
#[rustfmt::skip]
const P1_P: [f64; 7] = [
    0.0007621256162081731, 0.07313970569409176, 1.1271960812968493, 5.112079511468076,
    8.424045901417724, 5.214515986823615, 1.0,
];
/// Cephes j1: its denominator.
#[rustfmt::skip]
const P1_Q: [f64; 7] = [
    0.0005713231280725487, 0.06884559087544954, 1.105142326340617, 5.073863861286015,
    8.399855543276042, 5.209828486823619, 1.0,
];
/// Cephes j1: numerator of the sine amplitude.
#[rustfmt::skip]
const Q1_P: [f64; 8] = [
    0.05108625947501766, 4.982138729512334, 75.82382841325453, 366.7796093601508, 710.8563049989261,
    597.4896124006136, 211.68875710057213, 25.207020585802372,
];
/// Cephes j1: its denominator.
#[rustfmt::skip]
const Q1_Q: [f64; 7] = [
    74.23732770356752, 1056.4488603826283, 4986.410583376536, 9562.318924047562, 7997.041604473507,
    2826.1927851763908, 336.0936078106983,
];
/// Cephes j1: numerator of J1 on [0, 5] over its zeros, in x^2.
#[rustfmt::skip]
const R1_P: [f64; 4] = [
    -899971225.7055594, 452228297998.19403, -72749424522181.83, 3682957328638529.0,
];
/// Cephes j1: its denominator.
#[rustfmt::skip]
const R1_Q: [f64; 8] = [
    620.8364781180543, 256987.25675774884, 83514679.14319493, 22151159547.97925, 4749141220799.914,
    784369607876235.9, 8.952223361846274e16, 5.322786203326801e18,
];
/// Cephes y1: numerator of the regular part of Y1 on [0, 5], in x^2.
#[rustfmt::skip]
const Y1_P: [f64; 6] = [
    1263204747.9017804, -647355876379.1603, 114509511541823.73, -8127702555013251.0,
    2.024394757135949e17, -7.788771962659501e17,
];
/// Cephes y1: its denominator.
#[rustfmt::skip]
const Y1_Q: [f64; 8] = [
    594.3015923461282, 235564.09294306856, 73481194.44597217, 18760131610.870617,
    3882312774962.3857, 620557727146953.8, 6.871410873553005e16, 3.9727060811656064e18,
];

/// A Chebyshev series by Clenshaw's rule, the highest coefficient first, the constant one halved.
fn chebyshev(x: f64, c: &[f64]) -> f64 {
    let (mut b0, mut b1, mut b2) = (0.0, 0.0, 0.0);
    for &a in c {
        b2 = b1;
        b1 = b0;
        b0 = x * b1 - b2 + a;
    }
    0.5 * (b0 - b2)
}

/// I0 as exp(|x|) times the scaled function's series (Cephes i0).
pub(super) fn i0(x: f64) -> f64 {
    let a = x.abs();
    if a <= 8.0 {
        a.exp() * chebyshev(a / 2.0 - 2.0, &I0_SMALL)
    } else {
        a.exp() * chebyshev(32.0 / a - 2.0, &I0_LARGE) / a.sqrt()
    }
}

/// exp(-|x|) I0(x) (Cephes i0e).
pub(super) fn i0e(x: f64) -> f64 {
    let a = x.abs();
    if a <= 8.0 { chebyshev(a / 2.0 - 2.0, &I0_SMALL) } else { chebyshev(32.0 / a - 2.0, &I0_LARGE) / a.sqrt() }
}

/// I1 as exp(|x|) times the scaled function's series (Cephes i1).
pub(super) fn i1(x: f64) -> f64 {
    let a = x.abs();
    let r = if a <= 8.0 {
        a.exp() * a * chebyshev(a / 2.0 - 2.0, &I1_SMALL)
    } else {
        a.exp() * chebyshev(32.0 / a - 2.0, &I1_LARGE) / a.sqrt()
    };
    if x < 0.0 { -r } else { r }
}

/// exp(-|x|) I1(x) (Cephes i1e).
pub(super) fn i1e(x: f64) -> f64 {
    let a = x.abs();
    let r = if a <= 8.0 { a * chebyshev(a / 2.0 - 2.0, &I1_SMALL) } else { chebyshev(32.0 / a - 2.0, &I1_LARGE) / a.sqrt() };
    if x < 0.0 { -r } else { r }
}

/// The amplitudes of cos and sin in Hankel's expansion of order 0 at x > 5.
fn amplitudes_0(x: f64) -> (f64, f64) {
    let z = 25.0 / (x * x);
    (poly(z, &P0_P) / poly(z, &P0_Q), 5.0 / x * (poly(z, &Q0_P) / poly(z, &Q0_Q)))
}

/// The amplitudes of cos and sin in Hankel's expansion of order 1 at x > 5.
fn amplitudes_1(x: f64) -> (f64, f64) {
    let z = 25.0 / (x * x);
    (poly(z, &P1_P) / poly(z, &P1_Q), 5.0 / x * (poly(z, &Q1_P) / poly(z, &Q1_Q)))
}

/// J0 by a rational function with its zeros taken out, and by Hankel's expansion (Cephes j0).
pub(super) fn j0(x: f64) -> f64 {
    let x = x.abs();
    if x <= 5.0 {
        let z = x * x;
        if x < 1e-5 {
            return 1.0 - z / 4.0;
        }
        return (z - ZEROS_0[0]) * (z - ZEROS_0[1]) * poly(z, &R0_P) / poly(z, &R0_Q);
    }
    let (p, q) = amplitudes_0(x);
    let (sin, cos) = (x - FRAC_PI_4).sin_cos();
    (p * cos - q * sin) * SQRT_2_PI / x.sqrt()
}

/// J1, as J0 (Cephes j1).
pub(super) fn j1(x: f64) -> f64 {
    if x < 0.0 {
        return -j1(-x);
    }
    if x <= 5.0 {
        let z = x * x;
        return poly(z, &R1_P) / poly(z, &R1_Q) * x * (z - ZEROS_1[0]) * (z - ZEROS_1[1]);
    }
    let (p, q) = amplitudes_1(x);
    let (sin, cos) = (x - 3.0 * FRAC_PI_4).sin_cos();
    (p * cos - q * sin) * SQRT_2_PI / x.sqrt()
}

/// Y0: its logarithmic part and a rational function, and Hankel's expansion (Cephes y0).
pub(super) fn y0(x: f64) -> f64 {
    if x <= 5.0 {
        if x == 0.0 {
            return f64::NEG_INFINITY;
        }
        if x < 0.0 {
            return f64::NAN;
        }
        let z = x * x;
        return poly(z, &Y0_P) / poly(z, &Y0_Q) + FRAC_2_PI * x.ln() * j0(x);
    }
    let (p, q) = amplitudes_0(x);
    let (sin, cos) = (x - FRAC_PI_4).sin_cos();
    (p * sin + q * cos) * SQRT_2_PI / x.sqrt()
}

/// Y1, as Y0 (Cephes y1).
pub(super) fn y1(x: f64) -> f64 {
    if x <= 5.0 {
        if x == 0.0 {
            return f64::NEG_INFINITY;
        }
        if x < 0.0 {
            return f64::NAN;
        }
        let z = x * x;
        return x * (poly(z, &Y1_P) / poly(z, &Y1_Q)) + FRAC_2_PI * (j1(x) * x.ln() - 1.0 / x);
    }
    let (p, q) = amplitudes_1(x);
    let (sin, cos) = (x - 3.0 * FRAC_PI_4).sin_cos();
    (p * sin + q * cos) * SQRT_2_PI / x.sqrt()
}
