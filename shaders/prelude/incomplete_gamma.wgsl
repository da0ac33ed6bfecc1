// The regularised incomplete gamma functions. The methods by interval are those of `src/expr/special/`,
// with as many terms as float32 can tell apart; polynomials carry the names of the tables there.

// Row 0 of `TEMME`
fn rg_temme_0(x: f32) -> f32 {
    var q = -1.7665953e-7f;
    q = q * x + 8.2967114e-7f;
    q = q * x - 1.8540622e-6f;
    q = q * x - 2.1854485e-6f;
    q = q * x + 3.9192633e-5f;
    q = q * x - 1.7875514e-4f;
    q = q * x + 3.5273368e-4f;
    q = q * x + 0.0011574074f;
    q = q * x - 0.014814815f;
    q = q * x + 0.083333336f;
    return q * x - 0.33333334f;
}
// Row 1 of `TEMME`
fn rg_temme_1(x: f32) -> f32 {
    var q = 4.647128e-9f;
    q = q * x - 1.61209e-6f;
    q = q * x + 7.649161e-6f;
    q = q * x - 1.809855e-5f;
    q = q * x - 4.0187757e-7f;
    q = q * x + 2.0576132e-4f;
    q = q * x - 9.902263e-4f;
    q = q * x + 0.0026455026f;
    q = q * x - 0.0034722222f;
    return q * x - 0.0018518518f;
}
// Row 2 of `TEMME`
fn rg_temme_2(x: f32) -> f32 {
    var q = 3.4235786e-8f;
    q = q * x - 1.2760635e-5f;
    q = q * x + 5.292345e-5f;
    q = q * x - 1.0736653e-4f;
    q = q * x + 2.0093878e-6f;
    q = q * x + 7.7160494e-4f;
    q = q * x - 0.002681327f;
    return q * x + 0.004133598f;
}
// Row 3 of `TEMME`
fn rg_temme_3(x: f32) -> f32 {
    var q = -5.6749527e-6f;
    q = q * x + 1.1082654e-5f;
    q = q * x - 2.3965052e-7f;
    q = q * x - 7.5618016e-5f;
    q = q * x + 2.6772064e-4f;
    q = q * x - 4.691895e-4f;
    q = q * x + 2.2947209e-4f;
    return q * x + 6.4943417e-4f;
}
// Row 4 of `TEMME`
fn rg_temme_4(x: f32) -> f32 {
    var q = -3.968365e-5f;
    q = q * x + 6.6414985e-5f;
    q = q * x - 1.4638453e-6f;
    q = q * x - 2.9907248e-4f;
    q = q * x + 7.840392e-4f;
    return q * x - 8.618883e-4f;
}
// ln(1 + s) - s
fn rg_ln_1p_less(s: f32) -> f32 {
    if rg_abs(s) >= 0.5 { return rg_log1p(s) - s; }
    let r = s / (2.0 + s);
    let z = r * r;
    var t = 0.0;
    for (var k = 17.0; k >= 3.0; k -= 2.0) { t = t * z + 1.0 / k; }
    return r * (2.0 * z * t - s);
}
// x^a exp(-x) / gamma(a), by Stirling's formula where a is large: what remains of it has the size of the result's
// logarithm, so that nothing large cancels.
fn rg_igamma_factor(a: f32, x: f32) -> f32 {
    if a < 8.0 { return rg_exp(a * rg_log(x) - x - rg_lgamma_right(a)); }
    let z = 1.0 / a;
    let rest = z * rg_lg_w(z * z);
    return sqrt(a) * 0.39894228f * rg_exp(a * rg_ln_1p_less((x - a) / a) - rest);
}
// P by its power series.
fn rg_igamma_lower(a: f32, x: f32) -> f32 {
    let f = rg_igamma_factor(a, x);
    if f == 0.0 { return 0.0; }
    var r = a;
    var c = 1.0;
    var sum = 1.0;
    for (var k = 0; k < 2000; k++) {
        r += 1.0;
        c *= x / r;
        sum += c;
        if c <= 5.9604645e-8f * sum { break; }
    }
    return sum * f / a;
}
// Q for small x by the alternating series.
fn rg_igamma_upper(a: f32, x: f32) -> f32 {
    var f = 1.0;
    var sum = 0.0;
    for (var n = 1.0; n < 100.0; n += 1.0) {
        f *= -x / n;
        let t = f / (a + n);
        sum += t;
        if rg_abs(t) <= 5.9604645e-8f * rg_abs(sum) { break; }
    }
    let l = a * rg_log(x);
    return -rg_expm1(l - rg_lgamma_right(1.0 + a)) - rg_exp(l - rg_lgamma(a)) * sum;
}
// Q for x above a by the continued fraction.
fn rg_igamma_fraction(a: f32, x: f32) -> f32 {
    let f = rg_igamma_factor(a, x);
    if f == 0.0 { return 0.0; }
    var y = 1.0 - a;
    var z = x + 2.0 - a;
    var c = 0.0;
    var p2 = 1.0;
    var q2 = x;
    var p1 = x + 1.0;
    var q1 = z * x;
    var r = p1 / q1;
    for (var k = 0; k < 2000; k++) {
        c += 1.0;
        y += 1.0;
        z += 2.0;
        var pn = p1 * z - p2 * (y * c);
        var qn = q1 * z - q2 * (y * c);
        var change = 1.0;
        if qn != 0.0 {
            let t = pn / qn;
            change = rg_abs((r - t) / t);
            r = t;
        }
        p2 = p1;
        p1 = pn;
        q2 = q1;
        q1 = qn;
        if rg_abs(pn) > 16777216.0 {
            p2 *= 5.9604645e-8f;
            p1 *= 5.9604645e-8f;
            q2 *= 5.9604645e-8f;
            q1 *= 5.9604645e-8f;
        }
        if change <= 1.1920929e-7f { break; }
    }
    return r * f;
}
// P (sign -1) or Q (sign 1) for large a near x by Temme's uniform expansion.
fn rg_igamma_uniform(a: f32, x: f32, sign: f32) -> f32 {
    let s = (x - a) / a;
    let eta = rg_copysign(sqrt(max(-2.0 * rg_ln_1p_less(s), 0.0)), s);
    let z = 1.0 / a;
    let sum = rg_temme_0(eta) + z * (rg_temme_1(eta) + z * (rg_temme_2(eta) + z * (rg_temme_3(eta) + z * rg_temme_4(eta))));
    return 0.5 * rg_erfc(sign * eta * sqrt(0.5 * a)) + sign * rg_exp(-0.5 * a * eta * eta) * sum * 0.39894228f / sqrt(a);
}
fn rg_igamma_is_uniform(a: f32, x: f32) -> bool { return a > 20.0 && rg_abs(x - a) < 0.3 * a; }
// Whether (a, x) lies on the border of the domain or outside: 1 where P is 0, 2 where it is 1, 3 where there is nothing.
fn rg_igamma_border(a: f32, x: f32) -> i32 {
    if rg_isnan(a) || rg_isnan(x) { return select(3, 1, x == 0.0 && !(a <= 0.0)); }
    if a < 0.0 || x < 0.0 { return 3; }
    if a == 0.0 { return select(3, 2, x > 0.0); }
    if x == 0.0 { return 1; }
    if rg_isinf(a) { return select(1, 3, rg_isinf(x)); }
    if rg_isinf(x) { return 2; }
    return 0;
}
fn rg_igammac(a: f32, x: f32) -> f32 {
    let edge = rg_igamma_border(a, x);
    if edge == 3 { return rg_nan(); }
    if edge != 0 { return select(0.0, 1.0, edge == 1); }
    if rg_igamma_is_uniform(a, x) { return rg_igamma_uniform(a, x, 1.0); }
    if x > 1.1 {
        if x < a { return 1.0 - rg_igamma_lower(a, x); }
        return rg_igamma_fraction(a, x);
    }
    var lower = x * 1.1 < a;
    if x <= 0.5 { lower = -0.4 / rg_log(x) < a; }
    if lower { return 1.0 - rg_igamma_lower(a, x); }
    return rg_igamma_upper(a, x);
}
fn rg_igamma(a: f32, x: f32) -> f32 {
    let edge = rg_igamma_border(a, x);
    if edge == 3 { return rg_nan(); }
    if edge != 0 { return select(1.0, 0.0, edge == 1); }
    if rg_igamma_is_uniform(a, x) { return rg_igamma_uniform(a, x, -1.0); }
    if x > 1.0 && x > a { return 1.0 - rg_igammac(a, x); }
    return rg_igamma_lower(a, x);
}
