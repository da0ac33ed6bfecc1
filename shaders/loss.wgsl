// Losses of class numbers, and of sequences of them.

// The logarithm of a sum from the logarithms of its parts.
fn log_add(a: f32, b: f32) -> f32 {
    let high = select(b, a, a > b);
    let low = select(a, b, a > b);
    if low == -rg_inf() { return high; }
    return high + rg_log(1.0 + rg_exp(low - high));
}

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

//# ctc_table
//: x in float32; labels in int32; sizes in int32; table inout float32
//: count u32; classes u32; width u32; steps u32; back u32
// For every step and position of a target with blanks around its labels, the logarithm of the probability of the paths that
// lead there (or from there to the end); a workgroup has a sample. `sizes` has numbers of steps, then of positions.
fn group(g: u32, l: u32) {
    let len = u32(sizes_at(g));
    let n = u32(sizes_at(p.count + g));
    for (var k = 0u; k < p.steps; k++) {
        if k < len {
            var t = k;
            var before = k - 1u;
            if p.back != 0u {
                t = len - 1u - k;
                before = t + 1u;
            }
            for (var r = l; r < n; r += 256u) {
                // Backwards, positions count from the end.
                let s = select(r, n - 1u - r, p.back != 0u);
                let one = select(s - 1u, s + 1u, p.back != 0u);
                let two = select(s - 2u, s + 2u, p.back != 0u);
                let label = labels_at(g * p.width + s);
                var v = -rg_inf();
                if k == 0u {
                    if r < 2u { v = 0.0; }
                } else {
                    let base = (g * p.steps + before) * p.width;
                    v = table_at(base + s);
                    if r >= 1u { v = log_add(v, table_at(base + one)); }
                    // A label may follow another one without the blank between.
                    if r >= 2u && r % 2u == 1u && labels_at(g * p.width + two) != label { v = log_add(v, table_at(base + two)); }
                }
                table_set((g * p.steps + t) * p.width + s, v + x_at((t * p.count + g) * p.classes + u32(label)));
            }
        }
        storageBarrier();
        workgroupBarrier();
    }
}

//# ctc_loss
//: table in float32; sizes in int32; y out float32
//: count u32; width u32; steps u32
fn element(i: u32) {
    let len = u32(sizes_at(i));
    let n = u32(sizes_at(p.count + i));
    if len == 0u {
        y_set(i, select(rg_inf(), -0.0, n == 1u));
        return;
    }
    let last = (i * p.steps + len - 1u) * p.width + n - 1u;
    var v = table_at(last);
    if n > 1u { v = log_add(v, table_at(last - 1u)); }
    y_set(i, -v);
}

//# ctc_backward
//: x in float32; labels in int32; sizes in int32; alpha in float32; beta in float32; loss in float32; g in float; dx out float32
//: count u32; classes u32; width u32; steps u32; zero_infinity u32
// One element of the gradient of the logarithms of probabilities, as before a log-softmax.
fn element(e: u32) {
    let i = (e / p.classes) % p.count;
    let t = e / p.classes / p.count;
    let own = i32(e % p.classes);
    let l = loss_at(i);
    if t >= u32(sizes_at(i)) || (p.zero_infinity != 0u && l == rg_inf()) {
        dx_set(e, 0.0);
        return;
    }
    let n = u32(sizes_at(p.count + i));
    var sum = -rg_inf();
    for (var s = 0u; s < n; s++) {
        if labels_at(i * p.width + s) == own {
            let at = (i * p.steps + t) * p.width + s;
            sum = log_add(sum, alpha_at(at) + beta_at(at));
        }
    }
    dx_set(e, (rg_exp(x_at(e)) - rg_exp(sum + l - x_at(e))) * g_at(i));
}
