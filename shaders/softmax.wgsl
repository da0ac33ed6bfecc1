// Softmax, its logarithm and what is made of the same sums: rows of `len` elements, `inner` apart from one element to the
// next. A workgroup has 256 / LANES rows; each invocation keeps up to KEEP elements of its row, longer rows are read again.
//
// Of a row are known its largest number and the sum of exp(x - largest), made in one pass: the sum is scaled when a
// larger number turns up. A row of nothing but -inf has the sum 0.

struct Stats { m: f32, s: f32 }

fn add_term(a: Stats, v: f32) -> Stats {
    if v > a.m { return Stats(v, a.s * rg_exp(a.m - v) + 1.0); }
    if v == -rg_inf() { return a; }
    if v == a.m { return Stats(a.m, a.s + 1.0); }
    return Stats(a.m, a.s + rg_exp(v - a.m));
}

fn add_stats(a: Stats, b: Stats) -> Stats {
    if a.m == b.m { return Stats(a.m, a.s + b.s); }
    if a.m > b.m { return Stats(a.m, a.s + b.s * rg_exp(b.m - a.m)); }
    return Stats(b.m, b.s + a.s * rg_exp(a.m - b.m));
}

// The sum as softmax wants it: a row with +inf, or of nothing but -inf, has none.
fn finite_sum(a: Stats) -> f32 {
    if rg_isinf(a.m) { return rg_nan(); }
    return a.s;
}

// What the lanes of a row have together; every invocation calls it, and `at - lane` is the row's first place.
const LANES: u32 = $LANESu;
const KEEP: u32 = $KEEPu;
var<workgroup> parts: array<Stats, 256>;
fn row_stats(own: Stats, at: u32, lane: u32) -> Stats {
    parts[at] = own;
    for (var step = LANES / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if lane < step { parts[at] = add_stats(parts[at], parts[at + step]); }
    }
    workgroupBarrier();
    return parts[at - lane];
}

// Where invocation `l` of workgroup `g` works: whether its row is there, the first element of it, its lane and its place.
struct Row { there: bool, first: u32, lane: u32, at: u32 }
fn row_of(g: u32, l: u32) -> Row {
    // Neighbours read neighbouring elements.
    let across = p.inner > 1u;
    let lane = select(l % LANES, l / (256u / LANES), across);
    let own = select(l / LANES, l % (256u / LANES), across);
    let row = g * (256u / LANES) + own;
    return Row(row < p.rows, (row / p.inner) * p.len * p.inner + row % p.inner, lane, own * LANES + lane);
}

//# softmax
//: x in float; y out float32
//: rows u32; len u32; inner u32; mode u32
//: LANES = 1 8 32 256
//: KEEP = 1 4 16
fn group(g: u32, l: u32) {
    let row = row_of(g, l);
    let lane = row.lane;
    let first = row.first;
    let held = p.len <= LANES * KEEP;
    var keep: array<f32, KEEP>;
    var a = Stats(-rg_inf(), 0.0);
    if row.there {
        if held {
            for (var k = 0u; k < KEEP; k++) {
                let i = k * LANES + lane;
                if i < p.len {
                    keep[k] = x_at(first + i * p.inner);
                    a = add_term(a, keep[k]);
                }
            }
        } else {
            for (var i = lane; i < p.len; i += LANES) { a = add_term(a, x_at(first + i * p.inner)); }
        }
    }
    a = row_stats(a, row.at, lane);
    if !row.there { return; }
    // mode: 0 softmax, 1 its logarithm, 2 softmax in which rows of nothing but -inf become 0.
    let nothing = p.mode == 2u && a.s == 0.0;
    let s = finite_sum(a);
    let scale = 1.0 / s;
    let ln = rg_log(s);
    if held {
        for (var k = 0u; k < KEEP; k++) {
            let i = k * LANES + lane;
            if i < p.len {
                let d = keep[k] - a.m;
                var v = 0.0;
                if p.mode == 1u { v = d - ln; } else if !nothing { v = rg_exp(d) * scale; }
                y_set(first + i * p.inner, v);
            }
        }
        return;
    }
    for (var i = lane; i < p.len; i += LANES) {
        let d = x_at(first + i * p.inner) - a.m;
        var v = 0.0;
        if p.mode == 1u { v = d - ln; } else if !nothing { v = rg_exp(d) * scale; }
        y_set(first + i * p.inner, v);
    }
}

//# softmax_backward
//: g in float; y in float; dx out float32
//: rows u32; len u32; inner u32; log u32
//: LANES = 1 8 32 256
//: KEEP = 1 4 16
fn group(gr: u32, l: u32) {
    let row = row_of(gr, l);
    let lane = row.lane;
    let first = row.first;
    let held = p.len <= LANES * KEEP;
    var gs: array<f32, KEEP>;
    var ys: array<f32, KEEP>;
    var sum = 0.0;
    if row.there {
        if held {
            for (var k = 0u; k < KEEP; k++) {
                let i = k * LANES + lane;
                if i < p.len {
                    gs[k] = g_at(first + i * p.inner);
                    ys[k] = y_at(first + i * p.inner);
                    sum += select(gs[k] * ys[k], gs[k], p.log != 0u);
                }
            }
        } else {
            for (var i = lane; i < p.len; i += LANES) {
                let v = g_at(first + i * p.inner);
                if p.log != 0u { sum += v; } else { sum += v * y_at(first + i * p.inner); }
            }
        }
    }
    sum = rg_lane_sum(sum, row.at, lane, LANES);
    if !row.there { return; }
    if held {
        for (var k = 0u; k < KEEP; k++) {
            let i = k * LANES + lane;
            if i < p.len {
                var v = ys[k] * (gs[k] - sum);
                if p.log != 0u { v = gs[k] - rg_exp(ys[k]) * sum; }
                dx_set(first + i * p.inner, v);
            }
        }
        return;
    }
    for (var i = lane; i < p.len; i += LANES) {
        let e = first + i * p.inner;
        var v = 0.0;
        if p.log != 0u { v = g_at(e) - rg_exp(y_at(e)) * sum; } else { v = y_at(e) * (g_at(e) - sum); }
        dx_set(e, v);
    }
}

//# logsumexp
//: x in float; y out float32
//: rows u32; len u32
//: LANES = 1 8 32 256
fn group(g: u32, l: u32) {
    let lane = l % LANES;
    let row = g * (256u / LANES) + l / LANES;
    var a = Stats(-rg_inf(), 0.0);
    if row < p.rows {
        for (var i = lane; i < p.len; i += LANES) { a = add_term(a, x_at(row * p.len + i)); }
    }
    a = row_stats(a, l, lane);
    if row < p.rows && lane == 0u {
        // NaN beside infinities is in the sum.
        if rg_isinf(a.m) && !rg_isnan(a.s) { y_set(row, a.m); } else { y_set(row, a.m + rg_log(a.s)); }
    }
}

//# cross_entropy
//: x in float; class_ in int32; w in float32; loss out float32; stats out float32
//: rows u32; len u32; smoothing f32
//: LANES = 1 8 32 256
// The loss of every row, and for the gradient its largest number and sum. A row without a class has none. The mean of
// x - largest is made for smoothing only.
fn group(g: u32, l: u32) {
    let lane = l % LANES;
    let row = g * (256u / LANES) + l / LANES;
    let there = row < p.rows;
    var a = Stats(-rg_inf(), 0.0);
    if there {
        for (var i = lane; i < p.len; i += LANES) { a = add_term(a, x_at(row * p.len + i)); }
    }
    a = row_stats(a, l, lane);
    var rest = 0.0;
    if p.smoothing > 0.0 {
        if there {
            for (var i = lane; i < p.len; i += LANES) { rest += x_at(row * p.len + i) - a.m; }
        }
        rest = rg_lane_sum(rest, l, lane, LANES);
    }
    if !there || lane != 0u { return; }
    let s = finite_sum(a);
    stats_set(row, a.m);
    stats_set(p.rows + row, s);
    let t = class__at(row);
    if t < 0 {
        loss_set(row, 0.0);
        return;
    }
    let ln = rg_log(s);
    var v = (ln - (x_at(row * p.len + u32(t)) - a.m)) * w_at(row);
    if p.smoothing > 0.0 { v = v * (1.0 - p.smoothing) + (ln - rest / f32(p.len)) * p.smoothing; }
    loss_set(row, v);
}

//# cross_entropy_backward
//: x in float; class_ in int32; w in float32; stats in float32; g in float; total in float32; dx out float32
//: rows u32; len u32; smoothing f32; each u32
// One element of the gradient. The gradient of the losses is one for each row, or one in all, divided by the total.
fn element(i: u32) {
    let row = i / p.len;
    let t = class__at(row);
    if t < 0 {
        dx_set(i, 0.0);
        return;
    }
    let f = g_at(select(0u, row, p.each != 0u)) / total_at(0u) * w_at(row);
    var v = rg_exp(x_at(i) - stats_at(row)) * (f / stats_at(p.rows + row)) - f * (p.smoothing / f32(p.len));
    if i % p.len == u32(t) { v += f * (p.smoothing - 1.0); }
    dx_set(i, v);
}
