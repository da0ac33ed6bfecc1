// The error function and its relatives. The methods by interval are those of `src/expr/special/`,
// with as many terms as float32 can tell apart; polynomials carry the names of the tables there.

// `ERF_P`
fn rg_erf_p(x: f32) -> f32 {
    var q = -2.3763017e-5f;
    q = q * x - 0.0057702702f;
    q = q * x - 0.02848175f;
    q = q * x - 0.3250421f;
    return q * x + 0.12837917f;
}
// `ERF_Q`
fn rg_erf_q(x: f32) -> f32 {
    var q = -3.9602282e-6f;
    q = q * x + 1.3249474e-4f;
    q = q * x + 0.005081306f;
    q = q * x + 0.06502225f;
    q = q * x + 0.3979172f;
    return q * x + 1.0f;
}
// `ERF_A`
fn rg_erf_a(x: f32) -> f32 {
    var q = -0.0021663755f;
    q = q * x + 0.035478305f;
    q = q * x - 0.110894695f;
    q = q * x + 0.31834662f;
    q = q * x - 0.37220788f;
    q = q * x + 0.4148561f;
    return q * x - 0.0023621186f;
}
// `ERF_B`
fn rg_erf_b(x: f32) -> f32 {
    var q = 0.0119845f;
    q = q * x + 0.013637084f;
    q = q * x + 0.12617122f;
    q = q * x + 0.071828656f;
    q = q * x + 0.54039794f;
    q = q * x + 0.10642088f;
    return q * x + 1.0f;
}
// `ERFC_RA`
fn rg_erfc_ra(x: f32) -> f32 {
    var q = -9.814329f;
    q = q * x - 81.28744f;
    q = q * x - 184.60509f;
    q = q * x - 162.39667f;
    q = q * x - 62.37533f;
    q = q * x - 10.558626f;
    q = q * x - 0.69385856f;
    return q * x - 0.009864944f;
}
// `ERFC_SA`
fn rg_erfc_sa(x: f32) -> f32 {
    var q = -0.060424414f;
    q = q * x + 6.5702496f;
    q = q * x + 108.635f;
    q = q * x + 429.00815f;
    q = q * x + 645.38727f;
    q = q * x + 434.5659f;
    q = q * x + 137.65776f;
    q = q * x + 19.651272f;
    return q * x + 1.0f;
}
// `ERFC_RB`
fn rg_erfc_rb(x: f32) -> f32 {
    var q = -483.5192f;
    q = q * x - 1025.0951f;
    q = q * x - 637.56647f;
    q = q * x - 160.63638f;
    q = q * x - 17.757956f;
    q = q * x - 0.79928327f;
    return q * x - 0.009864943f;
}
// `ERFC_SB`
fn rg_erfc_sb(x: f32) -> f32 {
    var q = -22.440952f;
    q = q * x + 474.52853f;
    q = q * x + 2553.0503f;
    q = q * x + 3199.8582f;
    q = q * x + 1536.7296f;
    q = q * x + 325.7925f;
    q = q * x + 30.33806f;
    return q * x + 1.0f;
}
// `NDTRI_P0`
fn rg_ndtri_p0(x: f32) -> f32 {
    var q = -59.96335f;
    q = q * x + 98.001076f;
    q = q * x - 56.676285f;
    q = q * x + 13.931261f;
    return q * x - 1.2391658f;
}
// `NDTRI_Q0`
fn rg_ndtri_q0(x: f32) -> f32 {
    var q = 1.0f;
    q = q * x + 1.9544886f;
    q = q * x + 4.676279f;
    q = q * x + 86.360245f;
    q = q * x - 225.46269f;
    q = q * x + 200.26021f;
    q = q * x - 82.037224f;
    q = q * x + 15.9056225f;
    return q * x - 1.1833162f;
}
// `NDTRI_P1`
fn rg_ndtri_p1(x: f32) -> f32 {
    var q = 4.055449f;
    q = q * x + 31.52511f;
    q = q * x + 57.16282f;
    q = q * x + 44.08051f;
    q = q * x + 14.684957f;
    q = q * x + 2.186633f;
    q = q * x - 0.14025608f;
    q = q * x - 0.03504246f;
    return q * x - 8.5745676e-4f;
}
// `NDTRI_Q1`
fn rg_ndtri_q1(x: f32) -> f32 {
    var q = 1.0f;
    q = q * x + 15.779988f;
    q = q * x + 45.390762f;
    q = q * x + 41.317204f;
    q = q * x + 15.042539f;
    q = q * x + 2.5046494f;
    q = q * x - 0.14218292f;
    q = q * x - 0.03808064f;
    return q * x - 9.332595e-4f;
}
// `NDTRI_P2`
fn rg_ndtri_p2(x: f32) -> f32 {
    var q = 3.2377489f;
    q = q * x + 6.915229f;
    q = q * x + 3.9388103f;
    q = q * x + 1.3330346f;
    q = q * x + 0.2014854f;
    q = q * x + 0.012371664f;
    q = q * x + 3.0158155e-4f;
    q = q * x + 2.6580697e-6f;
    return q * x + 6.2397456e-9f;
}
// `NDTRI_Q2`
fn rg_ndtri_q2(x: f32) -> f32 {
    var q = 1.0f;
    q = q * x + 6.0242705f;
    q = q * x + 3.6798356f;
    q = q * x + 1.377021f;
    q = q * x + 0.216237f;
    q = q * x + 0.0134204f;
    q = q * x + 3.2801446e-4f;
    q = q * x + 2.8924787e-6f;
    return q * x + 6.790194e-9f;
}
// x with few bits of mantissa, so that its square is exact.
fn rg_short(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(x) & 0xfffff000u); }
// exp(x^2) with the rounding error of the square taken care of.
fn rg_exp_sq(x: f32) -> f32 {
    let h = rg_short(x);
    return rg_exp(h * h) * rg_exp((x - h) * (x + h));
}
// ln(x erfcx(x)) for x >= 1.25.
fn rg_ln_x_erfcx(x: f32) -> f32 {
    let s = 1.0 / (x * x);
    if x < 2.857143 { return rg_erfc_ra(s) / rg_erfc_sa(s) - 0.5625; }
    return rg_erfc_rb(s) / rg_erfc_sb(s) - 0.5625;
}
fn rg_erfc(x: f32) -> f32 {
    if rg_isnan(x) { return x; }
    let a = rg_abs(x);
    if a < 0.84375 {
        let z = x * x;
        let y = x * (rg_erf_p(z) / rg_erf_q(z));
        if x < 0.25 { return 1.0 - (x + y); }
        return 0.5 - (x - 0.5 + y);
    }
    var c = 0.0;
    if a < 1.25 {
        let s = a - 1.0;
        c = 0.15493708848953247f - rg_erf_a(s) / rg_erf_b(s);
    } else if a < 10.2 {
        let h = rg_short(a);
        c = rg_exp(-h * h - 0.5625) * rg_exp((h - a) * (h + a) + (rg_ln_x_erfcx(a) + 0.5625)) / a;
    }
    return select(c, 2.0 - c, x < 0.0);
}
// erfcx for x >= 0.
fn rg_erfcx_right(x: f32) -> f32 {
    if x < 1.25 { return rg_exp(x * x) * rg_erfc(x); }
    if x < 28.0 { return rg_exp(rg_ln_x_erfcx(x)) / x; }
    let s = 0.5 / x / x;
    return 0.56418958f * (1.0 - s * (1.0 - 3.0 * s)) / x;
}
fn rg_erfcx(x: f32) -> f32 {
    if rg_isnan(x) { return x; }
    if x >= 0.0 { return rg_erfcx_right(x); }
    if x < -9.5 { return rg_inf(); }
    let e = 2.0 * rg_exp_sq(x);
    if x < -6.1 { return e; }
    return e - rg_erfcx_right(-x);
}
// Giles, Approximating the erfinv function: single precision.
fn rg_erfinv(x: f32) -> f32 {
    let a = rg_abs(x);
    if a == 1.0 { return rg_copysign(rg_inf(), x); }
    if !(a < 1.0) { return rg_nan(); }
    var w = -rg_log((1.0 - a) * (1.0 + a));
    var q: f32;
    if w < 5.0 {
        w = w - 2.5;
        q = 2.81022636e-8f;
        q = q * w + 3.43273939e-7f;
        q = q * w - 3.5233877e-6f;
        q = q * w - 4.39150654e-6f;
        q = q * w + 2.1858087e-4f;
        q = q * w - 1.25372503e-3f;
        q = q * w - 4.17768164e-3f;
        q = q * w + 0.246640727f;
        q = q * w + 1.50140941f;
    } else {
        w = sqrt(w) - 3.0;
        q = -2.00214257e-4f;
        q = q * w + 1.00950558e-4f;
        q = q * w + 1.34934322e-3f;
        q = q * w - 3.67342844e-3f;
        q = q * w + 5.73950773e-3f;
        q = q * w - 7.6224613e-3f;
        q = q * w + 9.43887047e-3f;
        q = q * w + 1.00167406f;
        q = q * w + 2.83297682f;
    }
    return q * x;
}
fn rg_ndtri(y: f32) -> f32 {
    if y == 0.0 { return -rg_inf(); }
    if y == 1.0 { return rg_inf(); }
    if !(y > 0.0 && y < 1.0) { return rg_nan(); }
    let upper = y > 0.864664717f;
    let t = select(y, 1.0 - y, upper);
    if t > 0.135335283f {
        let d = t - 0.5;
        let z = d * d;
        return (d + d * (z * rg_ndtri_p0(z) / rg_ndtri_q0(z))) * 2.50662827f;
    }
    let r = sqrt(-2.0 * rg_log(t));
    let z = 1.0 / r;
    var q: f32;
    if r < 8.0 { q = rg_ndtri_p1(z) / rg_ndtri_q1(z); } else { q = rg_ndtri_p2(z) / rg_ndtri_q2(z); }
    let x = r - rg_log(r) / r - z * q;
    return select(-x, x, upper);
}
fn rg_log_ndtr(x: f32) -> f32 {
    if rg_isnan(x) { return x; }
    let t = x * 0.707106781f;
    if x < -1.0 { return rg_log(0.5 * rg_erfcx(-t)) - 0.5 * x * x; }
    return rg_log1p(-0.5 * rg_erfc(t));
}
