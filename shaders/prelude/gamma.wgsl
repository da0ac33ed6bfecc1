// The gamma function's logarithm and its derivatives, and the Hurwitz zeta function.
// The methods by interval are those of `src/expr/special/`, with as many terms as float32 can tell apart; polynomials carry the
// names of the tables there.

// `LG_A`
fn rg_lg_a(x: f32) -> f32 {
    var q = 4.4864097e-5f;
    q = q * x + 2.5214456e-5f;
    q = q * x + 1.0801157e-4f;
    q = q * x + 2.2086278e-4f;
    q = q * x + 5.100698e-4f;
    q = q * x + 0.0011927077f;
    q = q * x + 0.0028905137f;
    q = q * x + 0.007385551f;
    q = q * x + 0.020580808f;
    q = q * x + 0.0673523f;
    q = q * x + 0.32246703f;
    return q * x + 0.077215664f;
}
// `LG_T`
fn rg_lg_t(x: f32) -> f32 {
    var q = 3.3552918e-4f;
    q = q * x - 3.1275416e-4f;
    q = q * x + 3.1563206e-4f;
    q = q * x - 5.385953e-4f;
    q = q * x + 8.8108185e-4f;
    q = q * x - 0.0014034647f;
    q = q * x + 0.0022596477f;
    q = q * x - 0.0036845203f;
    q = q * x + 0.0061005387f;
    q = q * x - 0.010314224f;
    q = q * x + 0.017970676f;
    q = q * x - 0.03278854f;
    q = q * x + 0.06462494f;
    q = q * x - 0.14758772f;
    return q * x + 0.4838361f;
}
// `LG_U`
fn rg_lg_u(x: f32) -> f32 {
    var q = 0.013381092f;
    q = q * x + 0.22896373f;
    q = q * x + 0.9777175f;
    q = q * x + 1.4549226f;
    q = q * x + 0.63282704f;
    return q * x - 0.077215664f;
}
// `LG_V`
fn rg_lg_v(x: f32) -> f32 {
    var q = 0.0032170925f;
    q = q * x + 0.10422265f;
    q = q * x + 0.76928514f;
    q = q * x + 2.1284897f;
    q = q * x + 2.455978f;
    return q * x + 1.0f;
}
// `LG_S`
fn rg_lg_s(x: f32) -> f32 {
    var q = 3.1947533e-5f;
    q = q * x + 0.0018402846f;
    q = q * x + 0.02664227f;
    q = q * x + 0.14635047f;
    q = q * x + 0.32577878f;
    q = q * x + 0.21498242f;
    return q * x - 0.077215664f;
}
// `LG_R`
fn rg_lg_r(x: f32) -> f32 {
    var q = 7.326684e-6f;
    q = q * x + 7.779425e-4f;
    q = q * x + 0.01864592f;
    q = q * x + 0.17193386f;
    q = q * x + 0.7219356f;
    q = q * x + 1.3920053f;
    return q * x + 1.0f;
}
// `LG_W` without its last
fn rg_lg_w(x: f32) -> f32 {
    var q = -0.0016309293f;
    q = q * x + 8.363399e-4f;
    q = q * x - 5.9518754e-4f;
    q = q * x + 7.936506e-4f;
    q = q * x - 0.0027777778f;
    return q * x + 0.083333336f;
}
// `PSI_A`
fn rg_psi_a(x: f32) -> f32 {
    var q = 0.083333336f;
    q = q * x - 0.021092797f;
    q = q * x + 0.007575758f;
    q = q * x - 0.004166667f;
    q = q * x + 0.003968254f;
    q = q * x - 0.008333334f;
    return q * x + 0.083333336f;
}
// `TRI_A`
fn rg_tri_a(x: f32) -> f32 {
    var q = 1.1666666f;
    q = q * x - 0.25311357f;
    q = q * x + 0.07575758f;
    q = q * x - 0.033333335f;
    q = q * x + 0.023809524f;
    q = q * x - 0.033333335f;
    return q * x + 0.16666667f;
}
// x without the nearest whole number: sin(pi x) and tan(pi x) up to sign are those of the rest.
fn rg_rest(x: f32) -> f32 { return x - rg_round(x); }
// lgamma(1 + x) for -0.1 <= x < 1.
fn rg_lgamma_1p(x: f32) -> f32 {
    if x >= 0.7316 {
        let y = 1.0 - x;
        return y * rg_lg_a(y) - 0.5 * y;
    }
    if x >= 0.23164 {
        // The minimum lies at 1.4616321449683622.
        let y = (x - 0.46163213f) - 1.4901161e-8f;
        return -0.12148629f + y * y * rg_lg_t(y);
    }
    return x * rg_lg_u(x) / rg_lg_v(x) - 0.5 * x;
}
// lgamma for x > 0.
fn rg_lgamma_right(x: f32) -> f32 {
    if x < 2.0 {
        if x <= 0.9 { return rg_lgamma_1p(x) - rg_log(x); }
        return rg_lgamma_1p(x - 1.0);
    }
    if x < 8.0 {
        let n = floor(x);
        let y = x - n;
        var r = 0.5 * y + y * rg_lg_s(y) / rg_lg_r(y);
        var z = 1.0;
        for (var k = 2.0; k < n; k += 1.0) { z *= y + k; }
        if z > 1.0 { r += rg_log(z); }
        return r;
    }
    if x < 1e9 {
        let z = 1.0 / x;
        return (x - 0.5) * (rg_log(x) - 1.0) + (0.41893853f + z * rg_lg_w(z * z));
    }
    return x * (rg_log(x) - 1.0);
}
fn rg_lgamma(x: f32) -> f32 {
    if rg_isnan(x) { return x; }
    let a = rg_abs(x);
    if rg_isinf(x) { return a; }
    if a < 1e-8 { return -rg_log(a); }
    if x > 0.0 { return rg_lgamma_right(x); }
    let s = rg_abs(rg_sin(3.14159265f * rg_rest(a)));
    if s == 0.0 { return rg_inf(); }
    return rg_log(3.14159265f / (s * a)) - rg_lgamma_right(a);
}
// digamma for x > 0.
fn rg_digamma_right(v: f32) -> f32 {
    var x = v;
    var r = 0.0;
    for (var k = 0; k < 10 && x < 10.0; k++) {
        r -= 1.0 / x;
        x += 1.0;
    }
    let z = 1.0 / x;
    let s = z * z;
    return r + (rg_log(x) - 0.5 * z - s * rg_psi_a(s));
}
fn rg_digamma(x: f32) -> f32 {
    if rg_isnan(x) { return x; }
    if x == 0.0 { return rg_copysign(rg_inf(), rg_neg(x)); }
    if x > 0.0 { return rg_digamma_right(x); }
    if rg_isinf(x) { return rg_nan(); }
    let r = rg_rest(x);
    if r == 0.0 { return rg_nan(); }
    return rg_digamma_right(1.0 - x) - 3.14159265f / rg_tan(3.14159265f * r);
}
// trigamma for x >= 1/2.
fn rg_trigamma_right(v: f32) -> f32 {
    var x = v;
    var r = 0.0;
    for (var k = 0; k < 12 && x < 12.0; k++) {
        r += 1.0 / (x * x);
        x += 1.0;
    }
    let i = 1.0 / x;
    let z = i * i;
    return r + (1.0 + 0.5 * i + z * rg_tri_a(z)) * i;
}
fn rg_trigamma(x: f32) -> f32 {
    if rg_isnan(x) { return x; }
    if x >= 0.5 { return rg_trigamma_right(x); }
    if rg_isinf(x) { return rg_nan(); }
    let s = 3.14159265f / rg_sin(3.14159265f * rg_rest(x));
    return s * s - rg_trigamma_right(1.0 - x);
}
// (-1)^(n+1) n! zeta(n + 1, x)
fn rg_polygamma(n: f32, x: f32) -> f32 {
    if n == 0.0 { return rg_digamma(x); }
    if n == 1.0 { return rg_trigamma(x); }
    let odd = n - 2.0 * floor(0.5 * n) == 1.0;
    let z = rg_zeta(n + 1.0, x);
    var v: f32;
    if n < 30.0 {
        var f = 1.0;
        for (var k = 2.0; k <= n; k += 1.0) { f *= k; }
        v = f * z;
    } else {
        // The factorial alone may be too large.
        v = rg_copysign(rg_exp(rg_lgamma_right(n + 1.0) + rg_log(rg_abs(z))), z);
    }
    return select(-v, v, odd);
}
// One term of the Euler-Maclaurin sum, (sum, derivative, s + k, base): whether it is the last that counts.
fn rg_zeta_term(t: ptr<function, vec4<f32>>, c: f32) -> bool {
    let d = (*t).y * (*t).z / (*t).w;
    let term = d / c;
    let s = (*t).x + term;
    (*t) = vec4<f32>(s, d * ((*t).z + 1.0) / (*t).w, (*t).z + 2.0, (*t).w);
    return rg_abs(term) <= 5.9604645e-8f * rg_abs(s);
}
// zeta for q > 0.
fn rg_zeta_right(s: f32, q: f32) -> f32 {
    var sum = rg_pow(q, -s);
    var a = q;
    var b = 0.0;
    for (var i = 0; i < 9; i++) {
        a += 1.0;
        b = rg_pow(a, -s);
        sum += b;
        if b < 5.9604645e-8f * sum { return sum; }
    }
    if rg_isinf(q) { return sum; }
    sum += b * a / (s - 1.0) - 0.5 * b;
    var t = vec4<f32>(sum, b, s, a);
    if rg_zeta_term(&t, 12.0f) { return t.x; }
    if rg_zeta_term(&t, -720.0f) { return t.x; }
    if rg_zeta_term(&t, 30240.0f) { return t.x; }
    if rg_zeta_term(&t, -1.2096e6f) { return t.x; }
    if rg_zeta_term(&t, 4.790016e7f) { return t.x; }
    if rg_zeta_term(&t, -1.8924376e9f) { return t.x; }
    if rg_zeta_term(&t, 7.4724246e10f) { return t.x; }
    if rg_zeta_term(&t, -2.9501308e12f) { return t.x; }
    return t.x;
}
fn rg_zeta(s: f32, q: f32) -> f32 {
    if rg_isnan(s) || rg_isnan(q) { return rg_nan(); }
    if s == 1.0 { return rg_inf(); }
    if s < 1.0 { return rg_nan(); }
    if q > 0.0 { return rg_zeta_right(s, q); }
    let r = q - rg_floor(q);
    let t = rg_ceil(q) - q;
    if r == 0.0 || rg_isinf(q) { return rg_inf(); }
    if rg_isinf(s) { return s; }
    if s != rg_floor(s) { return rg_nan(); }
    // The terms of negative base are (-1)^s times those of zeta(s, t), t = 1 - r, before 1 - q.
    let even = s - 2.0 * floor(0.5 * s) == 0.0;
    let sign = select(-1.0, 1.0, even);
    return (rg_zeta_right(s, r) + sign * rg_zeta_right(s, t)) - sign * rg_zeta_right(s, 1.0 - q);
}
