// Norms. Layer and RMS norm work on rows of `len` elements as softmax does (LANES, KEEP). Batch, group and instance norm work
// on groups of segments: group `i` has `size / inner` segments of `inner` elements, the first one `i * skip`, one `step` after
// the other; a group is cut into `parts` chunks of a fixed size, whose results are joined in order.
//= walk: groups u32; size u32; inner u32; step u32; skip u32; parts u32; chunk u32

// Bits of `flags`.
const WEIGHT: u32 = 1u;
const BIAS: u32 = 2u;
const CENTER: u32 = 4u;

const LANES: u32 = $LANESu;
const KEEP: u32 = $KEEPu;

// Of segments: where element `k` of group `i` is.
const OWN: u32 = 256u / LANES;
fn place(i: u32, k: u32) -> u32 { return (i * p.skip + (k / p.inner) * p.step) * p.inner + k % p.inner; }

//# norm_rows
//: x in float; w in float; b in float; y out float32; mean out float32; rstd out float32
//: rows u32; len u32; eps f32; flags u32
//: LANES = 1 8 32 256
//: KEEP = 1 4 16
fn put(at: u32, i: u32, v: f32) {
    var r = v;
    if (p.flags & WEIGHT) != 0u { r *= w_at(i); }
    if (p.flags & BIAS) != 0u { r += b_at(i); }
    y_set(at, r);
}
fn group(g: u32, l: u32) {
    let lane = l % LANES;
    let row = g * (256u / LANES) + l / LANES;
    let there = row < p.rows;
    let first = row * p.len;
    let held = p.len <= LANES * KEEP;
    let n = f32(p.len);
    var keep: array<f32, KEEP>;
    var sum = 0.0;
    if there {
        if held {
            for (var k = 0u; k < KEEP; k++) {
                let i = k * LANES + lane;
                if i < p.len {
                    keep[k] = x_at(first + i);
                    sum += keep[k];
                }
            }
        } else if (p.flags & CENTER) != 0u {
            for (var i = lane; i < p.len; i += LANES) { sum += x_at(first + i); }
        }
    }
    var m = rg_lane_sum(sum, l, lane, LANES) / n;
    if (p.flags & CENTER) == 0u { m = 0.0; }
    sum = 0.0;
    if there {
        if held {
            for (var k = 0u; k < KEEP; k++) {
                if k * LANES + lane < p.len { sum += (keep[k] - m) * (keep[k] - m); }
            }
        } else {
            for (var i = lane; i < p.len; i += LANES) {
                let d = x_at(first + i) - m;
                sum += d * d;
            }
        }
    }
    let s = 1.0 / rg_sqrt(rg_lane_sum(sum, l, lane, LANES) / n + p.eps);
    if !there { return; }
    if lane == 0u {
        mean_set(row, m);
        rstd_set(row, s);
    }
    if held {
        for (var k = 0u; k < KEEP; k++) {
            let i = k * LANES + lane;
            if i < p.len { put(first + i, i, (keep[k] - m) * s); }
        }
    } else {
        for (var i = lane; i < p.len; i += LANES) { put(first + i, i, (x_at(first + i) - m) * s); }
    }
}

//# norm_rows_backward
//: x in float; g in float; w in float; mean in float32; rstd in float32; dx out float32
//: rows u32; len u32; flags u32; g_step u32
//: LANES = 1 8 32 256
//: KEEP = 1 4 16
fn incoming(row: u32, i: u32) -> f32 {
    var v = g_at(row * p.g_step + i);
    if (p.flags & WEIGHT) != 0u { v *= w_at(i); }
    return v;
}
fn group(gr: u32, l: u32) {
    let lane = l % LANES;
    let row = gr * (256u / LANES) + l / LANES;
    let there = row < p.rows;
    let first = row * p.len;
    let held = p.len <= LANES * KEEP;
    let n = f32(p.len);
    var m = 0.0;
    var s = 0.0;
    var hats: array<f32, KEEP>;
    var gs: array<f32, KEEP>;
    var sum = 0.0;
    var products = 0.0;
    if there {
        m = mean_at(row);
        s = rstd_at(row);
        if held {
            for (var k = 0u; k < KEEP; k++) {
                let i = k * LANES + lane;
                if i < p.len {
                    hats[k] = (x_at(first + i) - m) * s;
                    gs[k] = incoming(row, i);
                    sum += gs[k];
                    products += gs[k] * hats[k];
                }
            }
        } else {
            for (var i = lane; i < p.len; i += LANES) {
                let v = incoming(row, i);
                sum += v;
                products += v * ((x_at(first + i) - m) * s);
            }
        }
    }
    var a = rg_lane_sum(sum, l, lane, LANES) / n;
    let c = rg_lane_sum(products, l, lane, LANES) / n;
    if (p.flags & CENTER) == 0u { a = 0.0; }
    if !there { return; }
    if held {
        for (var k = 0u; k < KEEP; k++) {
            let i = k * LANES + lane;
            if i < p.len { dx_set(first + i, s * (gs[k] - a - hats[k] * c)); }
        }
    } else {
        for (var i = lane; i < p.len; i += LANES) {
            dx_set(first + i, s * (incoming(row, i) - a - (x_at(first + i) - m) * s * c));
        }
    }
}

//# norm_columns
//: x in float; g in float; mean in float32; rstd in float32; out out float32
//: rows u32; len u32; block u32; g_step u32
// The gradients of weight and bias from `block` rows: result (weight or bias, block, column).
fn element(e: u32) {
    let i = e % p.len;
    let start = (e / p.len) * p.block;
    let to = min(start + p.block, p.rows);
    var dw = 0.0;
    var db = 0.0;
    for (var r = start; r < to; r++) {
        let v = g_at(r * p.g_step + i);
        db += v;
        dw += v * ((x_at(r * p.len + i) - mean_at(r)) * rstd_at(r));
    }
    out_set(e, dw);
    out_set(p.n + e, db);
}

//# group_moments
//: x in float; out out float32
//: walk
//: LANES = 8 256
// Mean and sum of squared distances from it of the chunks of groups: result (group, part, 2). With fewer lanes than
// invocations, neighbours are of different groups: the columns of a matrix.
fn group(g: u32, l: u32) {
    let part = g % p.parts;
    let i = (g / p.parts) * OWN + l % OWN;
    let lane = l / OWN;
    let own = (l % OWN) * LANES + lane;
    let start = part * p.chunk;
    let to = select(start, min(start + p.chunk, p.size), i < p.groups);
    let n = f32(min(start + p.chunk, p.size) - start);
    var sum = 0.0;
    for (var k = start + lane; k < to; k += LANES) { sum += x_at(place(i, k)); }
    let m = rg_lane_sum(sum, own, lane, LANES) / n;
    sum = 0.0;
    // What rounding left of the mean is taken out of the squares.
    var rest = 0.0;
    for (var k = start + lane; k < to; k += LANES) {
        let d = x_at(place(i, k)) - m;
        sum += d * d;
        rest += d;
    }
    let squares = rg_lane_sum(sum, own, lane, LANES);
    let r = rg_lane_sum(rest, own, lane, LANES) / n;
    if lane == 0u && i < p.groups {
        out_set((i * p.parts + part) * 2u, m + r);
        out_set((i * p.parts + part) * 2u + 1u, squares - n * r * r);
    }
}

//# group_statistics
//: x in float32; mean out float32; rstd out float32
//: size u32; parts u32; chunk u32; eps f32
// Joins the parts of a group.
fn group(g: u32, l: u32) {
    var a = rg_Moments(0.0, 0.0, 0.0);
    for (var k = l; k < p.parts; k += 256u) {
        let n = min((k + 1u) * p.chunk, p.size) - k * p.chunk;
        let i = (g * p.parts + k) * 2u;
        a = rg_join(a, rg_Moments(f32(n), x_at(i), x_at(i + 1u)));
    }
    a = rg_together(a, l);
    if l == 0u {
        mean_set(g, a.mean);
        rstd_set(g, 1.0 / rg_sqrt(a.m2 / a.n + p.eps));
    }
}

//# group_apply
//: x in float; mean in float32; rstd in float32; w in float; b in float; y out float32
//: inner u32; channels u32; count u32; flags u32
// `count` channels make a group; 0: each channel is one, over all samples.
fn element(e: u32) {
    let segment = e / p.inner;
    let c = segment % p.channels;
    var i = c;
    if p.count > 0u { i = segment / p.count; }
    var scale = rstd_at(i);
    if (p.flags & WEIGHT) != 0u { scale *= w_at(c); }
    var v = (x_at(e) - mean_at(i)) * scale;
    if (p.flags & BIAS) != 0u { v += b_at(c); }
    y_set(e, v);
}

//# group_sums
//: x in float; g in float; mean in float32; out out float32
//: walk; count u32
//: LANES = 8 256
// Sums of g (x - mean) and of g over the chunks of groups: result (products or plain, group, part). These groups are channels
// of all samples, or of single ones where `count` of them share a mean.
fn group(gr: u32, l: u32) {
    let part = gr % p.parts;
    let i = (gr / p.parts) * OWN + l % OWN;
    let lane = l / OWN;
    let own = (l % OWN) * LANES + lane;
    let start = part * p.chunk;
    let to = select(start, min(start + p.chunk, p.size), i < p.groups);
    var m = 0.0;
    if i < p.groups { m = mean_at(i / p.count); }
    var products = 0.0;
    var plain = 0.0;
    for (var k = start + lane; k < to; k += LANES) {
        let v = g_at(place(i, k));
        plain += v;
        products += v * (x_at(place(i, k)) - m);
    }
    products = rg_lane_sum(products, own, lane, LANES);
    plain = rg_lane_sum(plain, own, lane, LANES);
    if lane == 0u && i < p.groups {
        out_set(i * p.parts + part, products);
        out_set((p.groups + i) * p.parts + part, plain);
    }
}

//# group_slopes
//: sums in float32; w in float; rstd in float32; out out float32
//: channels u32; each u32; count u32; size u32; flags u32
// What a group's gradient has of x - mean, and what is taken away from it: result (2, group). `each` channels of a group
// have sums of their own.
fn element(i: u32) {
    var products = 0.0;
    var plain = 0.0;
    for (var k = 0u; k < p.each; k++) {
        let s = i * p.each + k;
        var f = 1.0;
        if (p.flags & WEIGHT) != 0u { f = w_at(s % p.channels); }
        products += sums_at(s) * f;
        plain += sums_at(p.n * p.each + s) * f;
    }
    let r = rstd_at(i);
    out_set(i, r * r * r * products / f32(p.size));
    out_set(p.n + i, r * plain / f32(p.size));
}

//# group_backward
//: x in float; g in float; w in float; mean in float32; rstd in float32; slopes in float32; dx out float32
//: inner u32; channels u32; count u32; flags u32; groups u32
fn element(e: u32) {
    let segment = e / p.inner;
    let c = segment % p.channels;
    var i = c;
    if p.count > 0u { i = segment / p.count; }
    var a = rstd_at(i);
    if (p.flags & WEIGHT) != 0u { a *= w_at(c); }
    dx_set(e, g_at(e) * a - (x_at(e) - mean_at(i)) * slopes_at(i) - slopes_at(p.groups + i));
}

//# channel_windows
//: x in float; y out float32
//: inner u32; channels u32; before u32; after u32
// The sum over neighbouring channels.
fn element(e: u32) {
    let c = (e / p.inner) % p.channels;
    let first = c - min(c, p.before);
    let last = min(c + min(p.after, p.channels), p.channels - 1u);
    var sum = 0.0;
    for (var k = first; k <= last; k++) { sum += x_at(e + k * p.inner - c * p.inner); }
    y_set(e, sum);
}
