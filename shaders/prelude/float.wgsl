// Functions of float32 that the primitives of formulas use (`src/expr/prim.rs`), and any kernel may. WGSL's own drop NaN
// (min, max, clamp) or lose accuracy (exp, log, tanh, asin, atan, sin of large arguments). Polynomials as in
// `src/cpu/math.rs`. Comparisons with NaN are false; `x != x` is not to be relied upon.

// A number from its bits: constants that are not finite are refused by WGSL.
fn rg_bits(b: u32) -> f32 { return bitcast<f32>(b ^ (p.n & 0u)); }
fn rg_nan() -> f32 { return rg_bits(0x7fc00000u); }
fn rg_inf() -> f32 { return rg_bits(0x7f800000u); }
fn rg_isinf(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) == 0x7f800000u; }
fn rg_is_nan(x: f32) -> f32 { return select(0.0, 1.0, rg_isnan(x)); }
fn rg_is_inf(x: f32) -> f32 { return select(0.0, 1.0, rg_isinf(x)); }
fn rg_signbit(x: f32) -> f32 { return f32(bitcast<u32>(x) >> 31u); }
fn rg_abs(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(x) & 0x7fffffffu); }
fn rg_neg(x: f32) -> f32 { return bitcast<f32>(bitcast<u32>(x) ^ 0x80000000u); }
fn rg_copysign(x: f32, y: f32) -> f32 {
    return bitcast<f32>((bitcast<u32>(x) & 0x7fffffffu) | (bitcast<u32>(y) & 0x80000000u));
}
fn rg_floor(x: f32) -> f32 { return select(floor(x), x, rg_abs(x) >= 8388608.0 || x == 0.0 || rg_isnan(x)); }
fn rg_ceil(x: f32) -> f32 { return select(rg_copysign(ceil(x), x), x, rg_abs(x) >= 8388608.0 || x == 0.0 || rg_isnan(x)); }
fn rg_round(x: f32) -> f32 { return select(rg_copysign(round(x), x), x, rg_abs(x) >= 8388608.0 || x == 0.0 || rg_isnan(x)); }
fn rg_trunc(x: f32) -> f32 { return select(rg_copysign(trunc(x), x), x, rg_abs(x) >= 8388608.0 || x == 0.0 || rg_isnan(x)); }
fn rg_sqrt(x: f32) -> f32 { return select(select(rg_nan(), x, x == 0.0), sqrt(x), x > 0.0); }
fn rg_max(x: f32, y: f32) -> f32 {
    if rg_isnan(x) || rg_isnan(y) { return rg_nan(); }
    return select(y, x, x > y);
}
fn rg_min(x: f32, y: f32) -> f32 {
    if rg_isnan(x) || rg_isnan(y) { return rg_nan(); }
    return select(y, x, x < y);
}
fn rg_fmax(x: f32, y: f32) -> f32 {
    if rg_isnan(x) { return y; }
    if rg_isnan(y) { return x; }
    return select(y, x, x > y);
}
fn rg_fmin(x: f32, y: f32) -> f32 {
    if rg_isnan(x) { return y; }
    if rg_isnan(y) { return x; }
    return select(y, x, x < y);
}
fn rg_relu(x: f32) -> f32 { return select(x, 0.0, x < 0.0); }
fn rg_trunc_div(x: f32, y: f32) -> f32 { return rg_trunc(x / y); }
// The rest of a division that rounds towards zero, exact: by subtraction of scaled divisors.
fn rg_fmod(x: f32, y: f32) -> f32 {
    let a = rg_abs(x);
    let b = rg_abs(y);
    if rg_isnan(x) || rg_isnan(y) || rg_isinf(x) || b == 0.0 { return rg_nan(); }
    if a < b { return x; }
    var r = a;
    for (var k = 0u; k < 300u && r >= b; k++) {
        // The largest b 2^e that is not above r.
        let e = i32(bitcast<u32>(r) >> 23u) - i32(bitcast<u32>(b) >> 23u);
        if e > 100 && (bitcast<u32>(b) >> 23u) == 0u { return rg_copysign(0.0, x); }
        var d = ldexp(b, e);
        if d > r { d = ldexp(b, e - 1); }
        r = r - d;
    }
    return rg_copysign(r, x);
}
fn rg_rem(x: f32, y: f32) -> f32 {
    let m = rg_fmod(x, y);
    return select(m, m + y, m != 0.0 && !rg_isnan(m) && (m < 0.0) != (y < 0.0));
}
fn rg_floor_div(x: f32, y: f32) -> f32 {
    if y == 0.0 { return x / y; }
    let m = rg_fmod(x, y);
    var d = (x - m) / y;
    if m != 0.0 && (y < 0.0) != (m < 0.0) { d = d - 1.0; }
    if rg_isnan(m) { return rg_nan(); }
    if d != 0.0 {
        let f = floor(d);
        return select(f, f + 1.0, d - f > 0.5);
    }
    return rg_copysign(0.0, x / y);
}
fn rg_nextafter(x: f32, y: f32) -> f32 {
    if rg_isnan(x) || rg_isnan(y) { return rg_nan(); }
    if x == y { return y; }
    if x == 0.0 { return rg_bits((bitcast<u32>(y) & 0x80000000u) | 1u); }
    let up = (x < y) == (x > 0.0);
    return bitcast<f32>(select(bitcast<u32>(x) - 1u, bitcast<u32>(x) + 1u, up));
}
fn rg_heaviside(x: f32, y: f32) -> f32 {
    if x == 0.0 { return y; }
    return select(0.0, 1.0, x > 0.0);
}

// 2^n for n of at most 127 in absolute value, and y 2^n in two steps.
fn rg_pow2(n: i32) -> f32 { return bitcast<f32>(u32(n + 127) << 23u); }
fn rg_scale(y: f32, n: i32) -> f32 {
    let a = n >> 1u;
    return y * rg_pow2(a) * rg_pow2(n - a);
}
// (e^r - 1 - r) / r^2
fn rg_exp_tail(r: f32) -> f32 {
    var q = 1.9875691500e-4f;
    q = q * r + 1.3981999507e-3f;
    q = q * r + 8.3334519073e-3f;
    q = q * r + 4.1665795894e-2f;
    q = q * r + 1.6666665459e-1f;
    return q * r + 5.0000001201e-1f;
}
fn rg_exp(v: f32) -> f32 {
    if rg_isnan(v) { return v; }
    let x = clamp(v, -104.0, 89.0);
    let n = round(x * 1.44269504f);
    let r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    return rg_scale(rg_exp_tail(r) * (r * r) + r + 1.0, i32(n));
}
fn rg_exp2(v: f32) -> f32 {
    if rg_isnan(v) { return v; }
    let x = clamp(v, -151.0, 129.0);
    let n = round(x);
    let r = (x - n) * 0.69314718f;
    return rg_scale(rg_exp_tail(r) * (r * r) + r + 1.0, i32(n));
}
fn rg_expm1(x: f32) -> f32 {
    if rg_abs(x) < 0.35 {
        var q = 1.9845957e-4f;
        q = q * x + 1.3941652e-3f;
        q = q * x + 8.3333915e-3f;
        q = q * x + 4.1666348e-2f;
        q = q * x + 1.6666666e-1f;
        q = q * x + 0.5;
        return q * (x * x) + x;
    }
    return rg_exp(x) - 1.0;
}
fn rg_log_tail(f: f32) -> f32 {
    var q = 6.746592e-2f;
    q = q * f - 1.1675639e-1f;
    q = q * f + 1.1888178e-1f;
    q = q * f - 1.2405592e-1f;
    q = q * f + 1.4219551e-1f;
    q = q * f - 1.6667996e-1f;
    q = q * f + 2.0002119e-1f;
    q = q * f - 2.500001e-1f;
    return q * f + 3.3333313e-1f;
}
// m - 1 and e of x = m 2^e with m in [sqrt(1/2), sqrt(2)).
fn rg_split(x: f32) -> vec2<f32> {
    let tiny = x < 1.17549435e-38f;
    let y = select(x, x * 8388608.0, tiny);
    let i = bitcast<i32>(y) - 0x3f3504f3;
    let m = bitcast<f32>((i & 0x007fffff) + 0x3f3504f3);
    return vec2<f32>(m - 1.0, f32(i >> 23u) - select(0.0, 23.0, tiny));
}
fn rg_log_ends(x: f32, r: f32) -> f32 {
    if x == 0.0 { return -rg_inf(); }
    if rg_isinf(x) && x > 0.0 { return x; }
    if x > 0.0 { return r; }
    return rg_nan();
}
fn rg_log(x: f32) -> f32 {
    let s = rg_split(x);
    let f = s.x;
    let z = f * f;
    let y = f * z * rg_log_tail(f) - s.y * 2.12194440e-4f - 0.5 * z + f;
    return rg_log_ends(x, y + s.y * 0.693359375f);
}
fn rg_log2(x: f32) -> f32 {
    let s = rg_split(x);
    let f = s.x;
    let tail = f * f * f * rg_log_tail(f) - 0.5 * f * f;
    return rg_log_ends(x, (f + tail) * 3.1225358e-4f + tail * 1.4423828f + f * 1.4423828f + s.y);
}
fn rg_log10(x: f32) -> f32 {
    let s = rg_split(x);
    let f = s.x;
    let tail = f * f * f * rg_log_tail(f) - 0.5 * f * f;
    return rg_log_ends(x, (f + tail) * -3.1689876e-5f + tail * 0.43432617f + s.y * 4.605039e-6f + f * 0.43432617f + s.y * 0.3010254f);
}
fn rg_log1p(x: f32) -> f32 {
    if x > -0.29 && x < 0.41 {
        let z = x * x;
        return x * z * rg_log_tail(x) - 0.5 * z + x;
    }
    return rg_log(1.0 + x);
}
fn rg_tanh(x: f32) -> f32 {
    let a = rg_abs(x);
    if rg_isnan(x) { return x; }
    if a < 0.625 {
        let z = x * x;
        var q = -5.648308e-3f;
        q = q * z + 2.0589817e-2f;
        q = q * z - 5.3725123e-2f;
        q = q * z + 1.3331275e-1f;
        q = q * z - 3.3333275e-1f;
        return q * z * x + x;
    }
    let e = rg_exp(2.0 * min(a, 10.0));
    return rg_copysign(1.0 - 2.0 / (e + 1.0), x);
}
fn rg_sigmoid(x: f32) -> f32 {
    let e = rg_exp(-rg_abs(x));
    let r = 1.0 / (1.0 + e);
    return select(e * r, r, x >= 0.0);
}
fn rg_logsigmoid(x: f32) -> f32 {
    if rg_isnan(x) { return x; }
    return min(x, 0.0) - rg_log1p(rg_exp(-rg_abs(x)));
}
fn rg_erf(x: f32) -> f32 {
    if rg_isnan(x) { return x; }
    let a = rg_abs(x);
    if a < 0.925 {
        let s = x * x;
        var q = 8.349603e-5f;
        q = q * s - 8.1378524e-4f;
        q = q * s + 5.2006044e-3f;
        q = q * s - 2.6859226e-2f;
        q = q * s + 1.1283693e-1f;
        q = q * s - 3.7612635e-1f;
        q = q * s + 1.2837917e-1f;
        return q * x + x;
    }
    let t = min(a, 4.0);
    var q = 4.938241e-6f;
    q = q * t - 4.5581502e-5f;
    q = q * t - 4.9585175e-5f;
    q = q * t + 2.9301534e-3f;
    q = q * t - 2.2674132e-2f;
    q = q * t + 1.052627e-1f;
    q = q * t + 6.356253e-1f;
    q = q * t + 1.2855175e-1f;
    return rg_copysign(1.0 - rg_exp(-(q * t + t)), x);
}
fn rg_normal_cdf(x: f32) -> f32 {
    if rg_isnan(x) { return x; }
    let t = clamp(x, -5.7, 5.7);
    let s = t * t;
    var u = 2.1580143e-8f;
    u = u * s + 6.374156e-6f;
    u = u * s + 1.7939352e-4f;
    u = u * s + 4.7408265e-3f;
    u = u * s + 3.4941137e-2f;
    u = u * s + 3.989422e-1f;
    var w = 1.1649556e-6f;
    w = w * s + 7.67676e-5f;
    w = w * s + 1.9445512e-3f;
    w = w * s + 2.9260673e-2f;
    w = w * s + 2.542499e-1f;
    w = w * s + 1.0;
    let r = clamp(0.5 + t * u / w, 0.0, 1.0);
    return select(select(r, 1.0, x > 5.7), 0.0, x < -5.7);
}
// The quadrant of x and the rest, |rest| <= pi/4: pi/2 in four parts of few bits.
fn rg_quadrant(x: f32) -> vec2<f32> {
    let n = round(x * 0.636619772f);
    var r = x - n * 1.5703125f;
    r = r - n * 4.837512969970703e-4f;
    r = r - n * 7.549323e-8f;
    return vec2<f32>(n, r);
}
fn rg_wave(n: i32, r: f32) -> f32 {
    let s = r * r;
    var y: f32;
    if (n & 1) == 0 {
        var q = 2.7173667e-6f;
        q = q * s - 1.9839233e-4f;
        q = q * s + 8.333329e-3f;
        q = q * s - 1.6666667e-1f;
        y = q * s * r + r;
    } else {
        var q = 2.442568e-5f;
        q = q * s - 1.3887251e-3f;
        q = q * s + 4.1666646e-2f;
        y = q * (s * s) - 0.5 * s + 1.0;
    }
    return select(y, -y, (n & 2) != 0);
}
fn rg_sin(x: f32) -> f32 {
    if rg_isinf(x) || rg_isnan(x) { return rg_nan(); }
    if rg_abs(x) > 30000.0 { return sin(x); }
    let q = rg_quadrant(x);
    return select(rg_wave(i32(q.x), q.y), x, x == 0.0);
}
fn rg_cos(x: f32) -> f32 {
    if rg_isinf(x) || rg_isnan(x) { return rg_nan(); }
    if rg_abs(x) > 30000.0 { return cos(x); }
    let q = rg_quadrant(x);
    return rg_wave(i32(q.x) + 1, q.y);
}
fn rg_tan(x: f32) -> f32 { return rg_sin(x) / rg_cos(x); }
fn rg_sinh(x: f32) -> f32 {
    let a = rg_abs(x);
    if a < 0.35 {
        let z = x * x;
        return x + x * z * (1.6666667e-1f + z * (8.3333333e-3f + z * 1.984127e-4f));
    }
    if a > 88.0 {
        let e = rg_exp(0.5 * a);
        return rg_copysign(0.5 * e * e, x);
    }
    let e = rg_exp(a);
    return rg_copysign(0.5 * (e - 1.0 / e), x);
}
fn rg_cosh(x: f32) -> f32 {
    let a = rg_abs(x);
    if a > 88.0 {
        let e = rg_exp(0.5 * a);
        return 0.5 * e * e;
    }
    let e = rg_exp(a);
    return 0.5 * (e + 1.0 / e);
}
fn rg_asinh(x: f32) -> f32 {
    let a = rg_abs(x);
    if a > 1e10 { return rg_copysign(rg_log(a) + 0.69314718f, x); }
    return rg_copysign(rg_log1p(a + a * a / (1.0 + sqrt(a * a + 1.0))), x);
}
fn rg_acosh(x: f32) -> f32 {
    if x > 1e10 { return rg_log(x) + 0.69314718f; }
    if x >= 1.0 {
        let t = x - 1.0;
        return rg_log1p(t + sqrt(2.0 * t + t * t));
    }
    return rg_nan();
}
fn rg_atanh(x: f32) -> f32 {
    let a = rg_abs(x);
    if a == 1.0 { return rg_copysign(rg_inf(), x); }
    if a < 1.0 { return rg_copysign(0.5 * rg_log1p(2.0 * a / (1.0 - a)), x); }
    return rg_nan();
}
// Cephes' asinf and atanf.
fn rg_asin_small(x: f32) -> f32 {
    let z = x * x;
    var q = 4.2163199048e-2f;
    q = q * z + 2.4181311049e-2f;
    q = q * z + 4.5470025998e-2f;
    q = q * z + 7.4953002686e-2f;
    q = q * z + 1.6666752422e-1f;
    return q * z * x + x;
}
fn rg_asin(x: f32) -> f32 {
    let a = rg_abs(x);
    if a <= 0.5 { return rg_asin_small(x); }
    if a <= 1.0 { return rg_copysign(1.57079633f - 2.0 * rg_asin_small(sqrt(0.5 * (1.0 - a))), x); }
    return rg_nan();
}
fn rg_acos(x: f32) -> f32 {
    let a = rg_abs(x);
    if a <= 0.5 { return 1.57079633f - rg_asin_small(x); }
    if a <= 1.0 {
        let r = 2.0 * rg_asin_small(sqrt(0.5 * (1.0 - a)));
        return select(r, 3.14159265f - r, x < 0.0);
    }
    return rg_nan();
}
fn rg_atan(x: f32) -> f32 {
    if rg_isnan(x) { return x; }
    let a = rg_abs(x);
    var y = 0.0;
    var t = a;
    if a > 2.414213562f {
        y = 1.57079633f;
        t = -1.0 / a;
    } else if a > 0.4142135624f {
        y = 0.785398163f;
        t = (a - 1.0) / (a + 1.0);
    }
    let z = t * t;
    var q = 8.05374449538e-2f;
    q = q * z - 1.38776856032e-1f;
    q = q * z + 1.99777106478e-1f;
    q = q * z - 3.33329491539e-1f;
    return rg_copysign(y + (q * z * t + t), x);
}
fn rg_atan2(y: f32, x: f32) -> f32 {
    if rg_isnan(x) || rg_isnan(y) { return rg_nan(); }
    let back = rg_signbit(x) != 0.0;
    if y == 0.0 { return rg_copysign(select(0.0, 3.14159265f, back), y); }
    if x == 0.0 { return rg_copysign(1.57079633f, y); }
    if rg_isinf(x) && rg_isinf(y) { return rg_copysign(select(0.785398163f, 2.35619449f, back), y); }
    if rg_isinf(y) { return rg_copysign(1.57079633f, y); }
    if rg_isinf(x) { return rg_copysign(select(0.0, 3.14159265f, back), y); }
    let r = rg_atan(rg_abs(y / x));
    return rg_copysign(select(r, 3.14159265f - r, back), y);
}
fn rg_hypot(x: f32, y: f32) -> f32 {
    if rg_isinf(x) || rg_isinf(y) { return rg_inf(); }
    if rg_isnan(x) || rg_isnan(y) { return rg_nan(); }
    let a = max(rg_abs(x), rg_abs(y));
    let b = min(rg_abs(x), rg_abs(y));
    if a == 0.0 { return 0.0; }
    let r = b / a;
    return a * sqrt(1.0 + r * r);
}
// x^y by logarithms in two parts: the product y log2 x keeps what float32 would lose.
fn rg_pow(x: f32, y: f32) -> f32 {
    if y == 0.0 || x == 1.0 { return 1.0; }
    if rg_isnan(x) || rg_isnan(y) { return rg_nan(); }
    let a = rg_abs(x);
    let b = rg_abs(y);
    let whole = b >= 8388608.0 || floor(b) == b;
    let odd = whole && b < 16777216.0 && floor(b * 0.5) * 2.0 != b;
    if rg_isinf(y) {
        if a == 1.0 { return 1.0; }
        return select(0.0, rg_inf(), (a > 1.0) == (y > 0.0));
    }
    let negative = rg_signbit(x) != 0.0 && odd;
    if a == 0.0 || rg_isinf(x) {
        let r = select(0.0, rg_inf(), (a == 0.0) == (y < 0.0));
        return select(r, -r, negative);
    }
    if x < 0.0 && !whole { return rg_nan(); }
    // Small whole powers are products.
    if whole && b <= 4.0 {
        var r = a;
        if b >= 2.0 { r = r * a; }
        if b >= 3.0 { r = r * a; }
        if b >= 4.0 { r = r * a; }
        if y < 0.0 { r = 1.0 / r; }
        return select(r, -r, negative);
    }
    let s = rg_split(a);
    let f = s.x;
    let l = (f + (f * f * f * rg_log_tail(f) - 0.5 * f * f)) * 1.44269504f;
    // y (e + l) as a whole number and a rest.
    let yi = round(y);
    let yf = y - yi;
    let high = yi * s.y;
    let part = yf * s.y + y * l;
    let n = round(part);
    let r = (part - n) * 0.69314718f;
    let total = high + n;
    if total > 200.0 { return select(rg_inf(), -rg_inf(), negative); }
    if total < -200.0 { return select(0.0, -0.0, negative); }
    let v = rg_scale(rg_exp_tail(r) * (r * r) + r + 1.0, i32(total));
    return select(v, -v, negative);
}
fn rg_xlogy(x: f32, y: f32) -> f32 {
    if rg_isnan(y) { return rg_nan(); }
    if x == 0.0 { return 0.0; }
    return x * rg_log(y);
}
fn rg_xlog1py(x: f32, y: f32) -> f32 {
    if rg_isnan(y) { return rg_nan(); }
    if x == 0.0 { return 0.0; }
    return x * rg_log1p(y);
}
fn rg_sinc(x: f32) -> f32 {
    if x == 0.0 { return 1.0; }
    let a = x * 3.14159265f;
    return rg_sin(a) / a;
}
fn rg_logaddexp(x: f32, y: f32) -> f32 {
    if rg_isinf(x) && x == y { return x; }
    if rg_isnan(x) || rg_isnan(y) { return rg_nan(); }
    return max(x, y) + rg_log1p(rg_exp(-rg_abs(x - y)));
}
fn rg_logaddexp2(x: f32, y: f32) -> f32 {
    if rg_isinf(x) && x == y { return x; }
    if rg_isnan(x) || rg_isnan(y) { return rg_nan(); }
    return max(x, y) + rg_log1p(rg_exp2(-rg_abs(x - y))) * 1.44269504f;
}
