// Losses of class numbers.

//# class_targets
//: goal in int64; weight in float; class_ out int32; w out float32; fault atomic
//: ignore u32; ignore_high u32; classes u32; weighted u32; code u32
// The class of every target as a small number, -1 for those that do not count, and its weight.
fn element(i: u32) {
    let t = goal_at(i);
    var c = -1;
    var v = 0.0;
    if t != ((i64(p.ignore_high) << 32u) | i64(p.ignore)) {
        if t < i64(0) || t >= i64(p.classes) {
            rg_fault(p.code, i32(t));
        } else {
            c = i32(t);
            v = 1.0;
            if p.weighted != 0u { v = weight_at(u32(c)); }
        }
    }
    class__set(i, c);
    w_set(i, v);
}

//# nll_pick
//: x in float; class_ in int32; w in float32; y out float32
//: classes u32; inner u32
fn element(i: u32) {
    let c = class__at(i);
    var v = 0.0;
    if c >= 0 { v = -(x_at(((i / p.inner) * p.classes + u32(c)) * p.inner + i % p.inner) * w_at(i)); }
    y_set(i, v);
}

//# nll_spread
//: g in float; class_ in int32; w in float32; total in float32; dx out float32
//: classes u32; inner u32; each u32
// The gradients of the losses are one for each target, or one in all, divided by the total.
fn element(e: u32) {
    let i = (e / p.inner / p.classes) * p.inner + e % p.inner;
    var v = 0.0;
    if class__at(i) == i32((e / p.inner) % p.classes) {
        v = -(g_at(select(0u, i, p.each != 0u)) / total_at(0u) * w_at(i));
    }
    dx_set(e, v);
}

//# inside_unit
//: x in float; fault atomic
//: code u32
fn element(i: u32) {
    let v = x_at(i);
    if !(v >= 0.0 && v <= 1.0) { rg_fault(p.code, i32(i)); }
}

//# multi_margin
//: x in float; class_ in int32; w in float32; y out float32
//: classes u32; margin f32; squared u32
// The loss of a sample.
fn element(i: u32) {
    let first = i * p.classes;
    let c = class__at(i);
    var sum = 0.0;
    if c >= 0 {
        let top = x_at(first + u32(c));
        for (var j = 0u; j < p.classes; j++) {
            let z = p.margin - top + x_at(first + j);
            if j != u32(c) && !(z <= 0.0) { sum += select(z, z * z, p.squared != 0u) * w_at(i); }
        }
    }
    y_set(i, sum / f32(p.classes));
}

//# multi_margin_backward
//: x in float; class_ in int32; w in float32; g in float; dx out float32
//: classes u32; margin f32; squared u32
// One element: another class for itself, the target for all others.
fn slope(z: f32, w: f32) -> f32 {
    if !(z > 0.0) { return 0.0; }
    return select(w, (z + z) * w, p.squared != 0u);
}
fn element(e: u32) {
    let i = e / p.classes;
    let first = i * p.classes;
    let j = e % p.classes;
    let c = class__at(i);
    var v = 0.0;
    if c >= 0 {
        let top = x_at(first + u32(c));
        let w = w_at(i);
        let g = g_at(i) / f32(p.classes);
        if j != u32(c) {
            v = slope(p.margin - top + x_at(e), w) * g;
        } else {
            for (var k = 0u; k < p.classes; k++) {
                if k != j { v -= slope(p.margin - top + x_at(first + k), w) * g; }
            }
        }
    }
    dx_set(e, v);
}

//# label_counts
//: goal in int64; y out int32; fault atomic
//: classes u32; code u32
// How often a class is among the labels of its sample; they end with the first -1.
fn element(e: u32) {
    let first = (e / p.classes) * p.classes;
    let j = i64(e % p.classes);
    var count = 0;
    for (var k = 0u; k < p.classes; k++) {
        let t = goal_at(first + k);
        if t < i64(-1) || t >= i64(p.classes) { rg_fault(p.code, i32(t)); }
        if t < i64(0) { break; }
        if t == j { count++; }
    }
    y_set(e, count);
}

//# multilabel_margin
//: x in float; counts in int32; y out float32
//: classes u32
// What a label adds to the loss of its sample.
fn element(e: u32) {
    let first = (e / p.classes) * p.classes;
    let n = counts_at(e);
    var sum = 0.0;
    if n > 0 {
        for (var j = 0u; j < p.classes; j++) {
            let z = 1.0 - x_at(e) + x_at(first + j);
            if counts_at(first + j) == 0 && z > 0.0 { sum += z; }
        }
    }
    y_set(e, f32(n) * sum / f32(p.classes));
}

//# multilabel_margin_backward
//: x in float; counts in int32; g in float; dx out float32
//: classes u32
fn element(e: u32) {
    let first = (e / p.classes) * p.classes;
    let n = counts_at(e);
    var sum = 0;
    for (var j = 0u; j < p.classes; j++) {
        let other = counts_at(first + j);
        if n > 0 {
            if other == 0 && 1.0 - x_at(e) + x_at(first + j) > 0.0 { sum -= n; }
        } else if other > 0 && 1.0 - x_at(first + j) + x_at(e) > 0.0 {
            sum += other;
        }
    }
    dx_set(e, f32(sum) * (g_at(e / p.classes) / f32(p.classes)));
}
