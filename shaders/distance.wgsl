// Distances between vectors: norms of differences, and their gradients. `NORM` is the exponent: 0, 1, 2, infinity, any.

// A difference added to what has been folded so far.
fn fold_zero(s: f32, d: f32, e: f32) -> f32 { return s + select(1.0, 0.0, d == 0.0); }
fn fold_one(s: f32, d: f32, e: f32) -> f32 { return s + rg_abs(d); }
fn fold_two(s: f32, d: f32, e: f32) -> f32 { return s + d * d; }
fn fold_top(s: f32, d: f32, e: f32) -> f32 { return rg_max(s, rg_abs(d)); }
fn fold_any(s: f32, d: f32, e: f32) -> f32 { return s + rg_pow(rg_abs(d), e); }

// Two folded parts as one.
fn join_zero(s: f32, t: f32) -> f32 { return s + t; }
fn join_one(s: f32, t: f32) -> f32 { return s + t; }
fn join_two(s: f32, t: f32) -> f32 { return s + t; }
fn join_top(s: f32, t: f32) -> f32 { return rg_max(s, t); }
fn join_any(s: f32, t: f32) -> f32 { return s + t; }

// The norm.
fn root_zero(s: f32, e: f32) -> f32 { return s; }
fn root_one(s: f32, e: f32) -> f32 { return s; }
fn root_two(s: f32, e: f32) -> f32 { return sqrt(s); }
fn root_top(s: f32, e: f32) -> f32 { return s; }
fn root_any(s: f32, e: f32) -> f32 { return rg_pow(s, 1.0 / e); }

// The derivative of a distance by one difference, neither of them 0.
fn slope_zero(d: f32, dist: f32, e: f32) -> f32 { return 0.0; }
fn slope_one(d: f32, dist: f32, e: f32) -> f32 { return rg_copysign(1.0, d); }
fn slope_two(d: f32, dist: f32, e: f32) -> f32 { return d / dist; }
fn slope_top(d: f32, dist: f32, e: f32) -> f32 { return select(0.0, rg_copysign(1.0, d), rg_abs(d) == dist); }
fn slope_any(d: f32, dist: f32, e: f32) -> f32 { return rg_copysign(rg_pow(rg_abs(d) / dist, e - 1.0), d); }

// All pairs of rows: (batch, left, m) and (batch, right, m) to (batch, left, right).
//# pairs
//: a in float32; b in float32; y out float32
//: left u32; right u32; m u32; e f32
//: NORM = zero one two top any
fn element(i: u32) {
    let row = i / p.right;
    let a0 = row * p.m;
    let b0 = (row / p.left * p.right + i % p.right) * p.m;
    var s = 0.0;
    for (var t = 0u; t < p.m; t++) { s = fold_$NORM(s, a_at(a0 + t) - b_at(b0 + t), p.e); }
    y_set(i, root_$NORM(s, p.e));
}

// The same for long rows: a workgroup for each pair.
//# pairs_long
//: a in float32; b in float32; y out float32
//: left u32; right u32; m u32; e f32
//: NORM = zero one two top any
var<workgroup> part: array<f32, 256>;
fn group(g: u32, l: u32) {
    let row = g / p.right;
    let a0 = row * p.m;
    let b0 = (row / p.left * p.right + g % p.right) * p.m;
    var s = 0.0;
    for (var t = l; t < p.m; t += 256u) { s = fold_$NORM(s, a_at(a0 + t) - b_at(b0 + t), p.e); }
    part[l] = s;
    workgroupBarrier();
    for (var h = 128u; h > 0u; h = h / 2u) {
        if l < h { part[l] = join_$NORM(part[l], part[l + h]); }
        workgroupBarrier();
    }
    if l == 0u { y_set(g, root_$NORM(part[0], p.e)); }
}

// The gradient of `pairs` for a.
//# pairs_grad
//: g in float32; a in float32; b in float32; dist in float32; y out float32
//: left u32; right u32; m u32; e f32
//: NORM = zero one two top any
fn element(i: u32) {
    let row = i / p.m;
    let t = i % p.m;
    let b0 = row / p.left * p.right * p.m + t;
    let v = a_at(i);
    var s = 0.0;
    for (var j = 0u; j < p.right; j++) {
        let d = v - b_at(b0 + j * p.m);
        let far = dist_at(row * p.right + j);
        if d != 0.0 && far != 0.0 { s = s + g_at(row * p.right + j) * slope_$NORM(d, far, p.e); }
    }
    y_set(i, s);
}

// All pairs i < j of the rows of one matrix, called for all i and j.
//# own_pairs
//: a in float32; y out float32
//: rows u32; m u32; e f32
//: NORM = zero one two top any
fn element(at: u32) {
    let i = at / p.rows;
    let j = at % p.rows;
    if i >= j { return; }
    var s = 0.0;
    for (var t = 0u; t < p.m; t++) { s = fold_$NORM(s, a_at(i * p.m + t) - a_at(j * p.m + t), p.e); }
    y_set(i * (2u * p.rows - i - 1u) / 2u + j - i - 1u, root_$NORM(s, p.e));
}

//# own_pairs_grad
//: g in float32; a in float32; dist in float32; y out float32
//: rows u32; m u32; e f32
//: NORM = zero one two top any
fn element(at: u32) {
    let i = at / p.m;
    let t = at % p.m;
    let v = a_at(at);
    var s = 0.0;
    for (var j = 0u; j < p.rows; j++) {
        if j == i { continue; }
        let low = min(i, j);
        let k = low * (2u * p.rows - low - 1u) / 2u + max(i, j) - low - 1u;
        let d = v - a_at(j * p.m + t);
        let far = dist_at(k);
        if d != 0.0 && far != 0.0 { s = s + g_at(k) * slope_$NORM(d, far, p.e); }
    }
    y_set(at, s);
}
