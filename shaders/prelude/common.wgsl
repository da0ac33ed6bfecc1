// Functions that any kernel may call.

// Notes that something is out of range; `code` says what, the first one stays.
fn rg_fault(code: u32, value: i32) {
    if atomicMax(&fault[0], code) == 0u {
        atomicStore(&fault[1], bitcast<u32>(value));
    }
}

// float16 bits, rounded to nearest even; too large values become infinite.
fn rg_to_f16(v: f32) -> u32 {
    let b = bitcast<u32>(v);
    let sign = (b >> 16u) & 0x8000u;
    let a = b & 0x7fffffffu;
    if a > 0x7f800000u { return sign | 0x7e00u; }
    if a >= 0x47800000u { return sign | 0x7c00u; }
    if a < 0x33000001u { return sign; }
    if a < 0x38800000u {
        // A denormal: the mantissa moved down.
        let shift = 126u - (a >> 23u);
        let m = (a & 0x7fffffu) | 0x800000u;
        let half_bit = 1u << (shift - 1u);
        let rest = m & ((1u << shift) - 1u);
        let q = m >> shift;
        let up = rest > half_bit || (rest == half_bit && (q & 1u) == 1u);
        return sign | (q + select(0u, 1u, up));
    }
    let r = a - 0x38000000u;
    return sign | ((r + 0xfffu + ((r >> 13u) & 1u)) >> 13u);
}

// bfloat16 bits, rounded to nearest even.
fn rg_to_bf16(v: f32) -> u32 {
    let b = bitcast<u32>(v);
    if (b & 0x7fffffffu) > 0x7f800000u { return 0x7fc0u; }
    return (b + 0x7fffu + ((b >> 16u) & 1u)) >> 16u;
}

// The float16 in the low half of a word.
fn rg_from_f16(w: u32) -> f32 {
    let sign = (w & 0x8000u) << 16u;
    let m = w & 0x7fffu;
    if m >= 0x7c00u { return bitcast<f32>(sign | 0x7f800000u | ((m & 0x3ffu) << 13u)); }
    if m < 0x400u { return bitcast<f32>(sign | bitcast<u32>(f32(m) * 5.9604644775390625e-8f)); }
    return bitcast<f32>(sign | ((m << 13u) + 0x38000000u));
}

// Whether a float32 is NaN, by its bits: `v != v` is false.
fn rg_isnan(v: f32) -> bool { return (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u; }

// The sum over `width` lanes, for each of the rows that share a workgroup. All invocations call it; `at` is the own place and
// `at - lane` that of the row's first lane.
var<workgroup> rg_lanes: array<f32, 256>;
fn rg_lane_sum(v: f32, at: u32, lane: u32, width: u32) -> f32 {
    workgroupBarrier();
    rg_lanes[at] = v;
    for (var step = width / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if lane < step { rg_lanes[at] = rg_lanes[at] + rg_lanes[at + step]; }
    }
    workgroupBarrier();
    return rg_lanes[at - lane];
}

// How many numbers, their mean and the sum of squared distances from it; of parts together by the rule of Chan, Golub and
// LeVeque (1979).
struct rg_Moments { n: f32, mean: f32, m2: f32 }
fn rg_join(a: rg_Moments, b: rg_Moments) -> rg_Moments {
    if b.n == 0.0 { return a; }
    let n = a.n + b.n;
    let d = b.mean - a.mean;
    let f = b.n / n;
    return rg_Moments(n, a.mean + d * f, a.m2 + b.m2 + d * d * a.n * f);
}
var<workgroup> rg_all: array<rg_Moments, 256>;
// What all invocations `l` of a workgroup have, in the first one.
fn rg_together(own: rg_Moments, l: u32) -> rg_Moments {
    rg_all[l] = own;
    workgroupBarrier();
    for (var w = 128u; w > 0u; w >>= 1u) {
        if l < w { rg_all[l] = rg_join(rg_all[l], rg_all[l + w]); }
        workgroupBarrier();
    }
    return rg_all[0];
}
