// Random numbers by Philox 4x32-10 (Salmon et al., Parallel random numbers: as easy as 1, 2, 3): a block of four words for
// every counter and key. The key is the generator's seed, the counter its position: the same seed gives the same numbers,
// whatever the device. Every section has the parameters seed0, seed1 (the key) and at0, at1 (the first block).

fn mul_high(a: u32, b: u32) -> u32 {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let m = a1 * b0 + ((a0 * b0) >> 16u);
    let n = a0 * b1 + (m & 0xffffu);
    return a1 * b1 + (m >> 16u) + (n >> 16u);
}
// Block `i` from the first one on; `sub` numbers further blocks of the same position.
fn philox(i: u32, sub: u32) -> vec4<u32> {
    let low = p.at0 + i;
    var c = vec4<u32>(low, p.at1 + select(0u, 1u, low < i), sub, 0u);
    var k = vec2<u32>(p.seed0, p.seed1);
    for (var r = 0u; r < 10u; r++) {
        let h0 = mul_high(0xd2511f53u, c.x);
        let h1 = mul_high(0xcd9e8d57u, c.z);
        c = vec4<u32>(h1 ^ c.y ^ k.x, 0xcd9e8d57u * c.z, h0 ^ c.w ^ k.y, 0xd2511f53u * c.x);
        k += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
    }
    return c;
}

// Uniform in [0, 1).
fn unit(w: u32) -> f32 { return f32(w >> 8u) * 5.9604645e-8f; }
// Exponential, never 0: minus the logarithm of (w + 1/2) / 2^32, exact at both ends.
fn exponential(w: u32) -> f32 {
    if w < 0x80000000u { return -rg_log((f32(w) + 0.5) * 2.3283064e-10f); }
    return -rg_log1p(-(f32(~w) + 0.5) * 2.3283064e-10f);
}
// Two independent normal numbers (Box and Muller).
fn normal(a: u32, b: u32) -> vec2<f32> {
    let r = sqrt(2.0 * exponential(a));
    let t = 6.2831853f * unit(b);
    return r * vec2<f32>(rg_cos(t), rg_sin(t));
}

//# random_fill
//: y out float int bool
//: seed0 u32; seed1 u32; at0 u32; at1 u32; count u32; a u32; b u32
//: OP = uniform normal bernoulli exponential geometric cauchy log_normal
//: ROUND = none f16 bf16
// Four elements each; `a` and `b` are two numbers of the distribution.
fn first() -> f32 { return bitcast<f32>(p.a); }
fn second() -> f32 { return bitcast<f32>(p.b); }
fn round_none(v: f32) -> f32 { return v; }
fn round_f16(v: f32) -> f32 { return rg_from_f16(rg_to_f16(v)); }
fn round_bf16(v: f32) -> f32 { return bitcast<f32>(rg_to_bf16(v) << 16u); }
fn scaled(u: f32) -> f32 {
    let v = round_$ROUND(first() + u * (second() - first()));
    // A value that rounds up to the excluded end becomes the other end.
    return select(v, first(), v >= second());
}
fn draw_uniform(w: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(scaled(unit(w.x)), scaled(unit(w.y)), scaled(unit(w.z)), scaled(unit(w.w)));
}
fn draw_normal(w: vec4<u32>) -> vec4<f32> { return vec4<f32>(normal(w.x, w.y), normal(w.z, w.w)) * second() + first(); }
// `a` is how many of the 2^32 words mean a 1, less one; `b` is 0 where none does.
fn draw_bernoulli(w: vec4<u32>) -> vec4<f32> {
    let limit = vec4<u32>(p.a);
    return select(vec4<f32>(0.0), vec4<f32>(1.0), w <= limit) * second();
}
fn draw_exponential(w: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(exponential(w.x), exponential(w.y), exponential(w.z), exponential(w.w)) * first();
}
fn draw_geometric(w: vec4<u32>) -> vec4<f32> { return max(ceil(draw_exponential(w)), vec4<f32>(1.0)); }
fn cauchy(w: u32) -> f32 { return first() + second() * rg_tan(3.14159265f * ((f32(w >> 9u) + 0.5) * 1.1920929e-7f - 0.5)); }
fn draw_cauchy(w: vec4<u32>) -> vec4<f32> { return vec4<f32>(cauchy(w.x), cauchy(w.y), cauchy(w.z), cauchy(w.w)); }
fn draw_log_normal(w: vec4<u32>) -> vec4<f32> {
    let v = draw_normal(w);
    return vec4<f32>(rg_exp(v.x), rg_exp(v.y), rg_exp(v.z), rg_exp(v.w));
}
fn element(i: u32) {
    var v = draw_$OP(philox(i, 0u));
    for (var k = 0u; k < min(4u, p.count - 4u * i); k++) { y_set(4u * i + k, y_t(v[k])); }
}

//# random_integers
//: y out any
//: seed0 u32; seed1 u32; at0 u32; at1 u32; count u32; low i32; span u32
// low + word mod span, where all of them fit 32 bits; four elements each. A span of 0 is 2^32.
fn element(i: u32) {
    var w = philox(i, 0u);
    for (var k = 0u; k < min(4u, p.count - 4u * i); k++) {
        let r = select(w[k] % max(p.span, 1u), w[k], p.span == 0u);
        y_set(4u * i + k, y_t(p.low + bitcast<i32>(r)));
    }
}

//# random_wide
//: y out int64
//: seed0 u32; seed1 u32; at0 u32; at1 u32; low0 u32; low1 u32; span0 u32; span1 u32
// The same with 64 bits, a block each.
fn element(i: u32) {
    let w = philox(i, 0u);
    var v = (u64(w.y) << 32u) | u64(w.x);
    let span = (u64(p.span1) << 32u) | u64(p.span0);
    if (p.span0 | p.span1) != 0u { v = v % span; }
    y_set(i, bitcast<i64>(v + ((u64(p.low1) << 32u) | u64(p.low0))));
}

//# random_bernoulli
//: x in float; y out any
//: seed0 u32; seed1 u32; at0 u32; at1 u32; count u32
// 1 with the probability that an element of `x` gives; four elements each.
fn element(i: u32) {
    var w = philox(i, 0u);
    for (var k = 0u; k < min(4u, p.count - 4u * i); k++) {
        y_set(4u * i + k, select(y_t(0), y_t(1), unit(w[k]) < x_at(4u * i + k)));
    }
}

//# random_poisson
//: x in float32; y out float32
//: seed0 u32; seed1 u32; at0 u32; at1 u32
// By products of uniforms for small rates, by transformed rejection (Hörmann 1993) else.
fn element(i: u32) {
    let rate = x_at(i);
    var k = 0.0;
    if rg_isnan(rate) {
        k = rate;
    } else if rate < 10.0 {
        // Exponential waiting times until the rate is used up: at most some tens of them.
        var left = rate;
        for (var s = 0u; s < 64u && left > 0.0; s++) {
            var w = philox(i, s);
            for (var j = 0u; j < 4u; j++) {
                left -= exponential(w[j]);
                if left > 0.0 { k += 1.0; }
            }
        }
    } else {
        let root = sqrt(rate);
        let log_rate = rg_log(rate);
        let b = 0.931 + 2.53 * root;
        let a = -0.059 + 0.02483 * b;
        let alpha = 1.1239 + 1.1328 / (b - 3.4);
        let vr = 0.9277 - 3.6224 / (b - 2.0);
        k = floor(rate);
        for (var s = 0u; s < 128u; s++) {
            let w = philox(i, s);
            let u = unit(w.x) + 2.9802322e-8f - 0.5;
            let v = unit(w.y) + 2.9802322e-8f;
            let us = 0.5 - rg_abs(u);
            let c = floor((2.0 * a / us + b) * u + rate + 0.43);
            if us >= 0.07 && v <= vr {
                k = c;
                break;
            }
            if c < 0.0 || (us < 0.013 && v > us) { continue; }
            // The logarithm of the probability of c, without differences of large numbers.
            let less = select(-rate, c * rg_log(rate / c) + (c - rate) - 0.5 * rg_log(6.2831853f * c) - 0.083333336f / (c + 0.2), c > 0.0);
            if rg_log(v * alpha / (a / (us * us) + b)) <= less {
                k = c;
                break;
            }
        }
    }
    y_set(i, k);
}

//# random_binomial
//: x in float32; q in float32; y out float32
//: seed0 u32; seed1 u32; at0 u32; at1 u32
// By geometric gaps for small means, by transformed rejection (Hörmann 1993) else; for q > 1/2 of the failures.
// What Stirling's formula leaves of log k!.
fn stirling_tail(k: f32) -> f32 {
    if k < 1.0 { return 0.081061467f; }
    if k < 2.0 { return 0.041340696f; }
    let z = 1.0 / (k + 1.0);
    return (0.083333333f - (0.0027777778f - 7.9365079e-4f * z * z) * z * z) * z;
}
fn element(i: u32) {
    let n = x_at(i);
    let turned = q_at(i) > 0.5;
    let pr = select(q_at(i), 1.0 - q_at(i), turned);
    var k = 0.0;
    if rg_isnan(n) || rg_isnan(pr) {
        k = rg_nan();
    } else if n > 0.0 && pr > 0.0 && n * pr < 10.0 {
        let scale = -1.0 / rg_log1p(-pr);
        var sum = 0.0;
        for (var s = 0u; s < 64u && sum <= n; s++) {
            var w = philox(i, s);
            for (var j = 0u; j < 4u; j++) {
                sum += max(ceil(exponential(w[j]) * scale), 1.0);
                if sum <= n { k += 1.0; }
            }
        }
    } else if n > 0.0 && pr > 0.0 {
        let spread = sqrt(n * pr * (1.0 - pr));
        let b = 1.15 + 2.53 * spread;
        let a = -0.0873 + 0.0248 * b + 0.01 * pr;
        let c = n * pr + 0.5;
        let vr = 0.92 - 4.2 / b;
        let r = pr / (1.0 - pr);
        let alpha = (2.83 + 5.1 / b) * spread;
        let m = floor((n + 1.0) * pr);
        k = m;
        for (var s = 0u; s < 128u; s++) {
            let w = philox(i, s);
            let u = unit(w.x) + 2.9802322e-8f - 0.5;
            let v = unit(w.y) + 2.9802322e-8f;
            let us = 0.5 - rg_abs(u);
            let t = floor((2.0 * a / us + b) * u + c);
            if us >= 0.07 && v <= vr {
                k = t;
                break;
            }
            if t < 0.0 || t > n { continue; }
            let bound = (m + 0.5) * rg_log((m + 1.0) / (r * (n - m + 1.0)))
                + (n + 1.0) * rg_log((n - m + 1.0) / (n - t + 1.0))
                + (t + 0.5) * rg_log(r * (n - t + 1.0) / (t + 1.0))
                + stirling_tail(m) + stirling_tail(n - m) - stirling_tail(t) - stirling_tail(n - t);
            if rg_log(v * alpha / (a / (us * us) + b)) <= bound {
                k = t;
                break;
            }
        }
    }
    y_set(i, select(k, n - k, turned));
}
