// Optimiser steps: parameter, gradient and states of each element are read and written once. The rules, and the order of
// their operations, are those of `src/cpu/optim.rs`. Slots of states that a rule does not have are not touched.
//= decay: maximize u32; weight f32; shrink f32

// The parameter and the gradient after what all rules share.
fn decayed(v: f32, g: f32, maximize: u32, weight: f32, shrink: f32) -> vec2<f32> {
    let d = select(g, -g, maximize != 0u);
    let w = select(v * shrink, v, shrink == 1.0);
    return vec2<f32>(w, select(d + weight * w, d, weight == 0.0));
}
// From `start` to `end`, computed from the nearer one.
fn lerp(start: f32, end: f32, weight: f32) -> f32 {
    return select(end - (end - start) * (1.0 - weight), start + weight * (end - start), weight < 0.5);
}
fn larger(x: f32, y: f32) -> f32 { return select(x, y, y > x || rg_isnan(y)); }

//# sgd
//: v inout float; g in float; a inout float
//: decay; lr f32; momentum f32; gain f32; nesterov u32; first u32
//: MOMENTUM = true false
fn element(i: u32) {
    let d = decayed(v_at(i), g_at(i), p.maximize, p.weight, p.shrink);
    var step = d.y;
    if $MOMENTUM {
        var s = d.y;
        if p.first == 0u { s = a_at(i) * p.momentum + p.gain * d.y; }
        a_set(i, s);
        step = select(s, d.y + p.momentum * s, p.nesterov != 0u);
    }
    v_set(i, d.x - p.lr * step);
}

//# adam
//: v inout float; g in float; a inout float; b inout float; c inout float
//: decay; weight1 f32; beta2 f32; weight2 f32; step_size f32; correction2 f32; eps f32
//: AMSGRAD = true false
fn element(i: u32) {
    let d = decayed(v_at(i), g_at(i), p.maximize, p.weight, p.shrink);
    let m = lerp(a_at(i), d.y, p.weight1);
    var s = b_at(i) * p.beta2 + p.weight2 * d.y * d.y;
    a_set(i, m);
    b_set(i, s);
    if $AMSGRAD {
        s = larger(c_at(i), s);
        c_set(i, s);
    }
    v_set(i, d.x - p.step_size * m / (sqrt(s) / p.correction2 + p.eps));
}

//# adamax
//: v inout float; g in float; a inout float; b inout float
//: decay; weight1 f32; beta2 f32; eps f32; step_size f32
fn element(i: u32) {
    let d = decayed(v_at(i), g_at(i), p.maximize, p.weight, p.shrink);
    let m = lerp(a_at(i), d.y, p.weight1);
    let s = larger(b_at(i) * p.beta2, rg_abs(d.y) + p.eps);
    a_set(i, m);
    b_set(i, s);
    v_set(i, d.x - p.step_size * m / s);
}

//# nadam
//: v inout float; g in float; a inout float; b inout float
//: decay; weight1 f32; beta2 f32; weight2 f32; correction2 f32; eps f32; of_grad f32; of_moment f32
fn element(i: u32) {
    let d = decayed(v_at(i), g_at(i), p.maximize, p.weight, p.shrink);
    let m = lerp(a_at(i), d.y, p.weight1);
    let s = b_at(i) * p.beta2 + p.weight2 * d.y * d.y;
    a_set(i, m);
    b_set(i, s);
    let denom = sqrt(s / p.correction2) + p.eps;
    v_set(i, d.x + p.of_grad * d.y / denom + p.of_moment * m / denom);
}

//# radam
//: v inout float; g in float; a inout float; b inout float
//: decay; weight1 f32; beta2 f32; weight2 f32; correction1 f32; correction2 f32; lr f32; eps f32; adaptive u32; rect f32
fn element(i: u32) {
    let d = decayed(v_at(i), g_at(i), p.maximize, p.weight, p.shrink);
    let m = lerp(a_at(i), d.y, p.weight1);
    let s = b_at(i) * p.beta2 + p.weight2 * d.y * d.y;
    a_set(i, m);
    b_set(i, s);
    var step = m / p.correction1 * p.lr;
    if p.adaptive != 0u { step = step * (p.correction2 / (sqrt(s) + p.eps)) * p.rect; }
    v_set(i, d.x - step);
}

// The states: mean square, then the mean where `CENTERED`, then the buffer where `MOMENTUM`.
//# rmsprop
//: v inout float; g in float; a inout float; b inout float; c inout float
//: decay; alpha f32; share f32; eps f32; momentum f32; lr f32
//: CENTERED = true false
//: MOMENTUM = true false
fn element(i: u32) {
    let d = decayed(v_at(i), g_at(i), p.maximize, p.weight, p.shrink);
    var s = a_at(i) * p.alpha + p.share * d.y * d.y;
    a_set(i, s);
    if $CENTERED {
        let m = lerp(b_at(i), d.y, p.share);
        b_set(i, m);
        s = s - m * m;
    }
    let avg = sqrt(s) + p.eps;
    if !$MOMENTUM {
        v_set(i, d.x - p.lr * d.y / avg);
    } else if $CENTERED {
        let m = c_at(i) * p.momentum + d.y / avg;
        c_set(i, m);
        v_set(i, d.x - p.lr * m);
    } else {
        let m = b_at(i) * p.momentum + d.y / avg;
        b_set(i, m);
        v_set(i, d.x - p.lr * m);
    }
}

//# adagrad
//: v inout float; g in float; a inout float
//: decay; lr f32; eps f32
fn element(i: u32) {
    let d = decayed(v_at(i), g_at(i), p.maximize, p.weight, p.shrink);
    let s = a_at(i) + d.y * d.y;
    a_set(i, s);
    v_set(i, d.x - p.lr * d.y / (sqrt(s) + p.eps));
}

// Sums of squares: workgroup g adds up the elements from g * chunk on into the element g of y.
//# squares
//: x in float; y out float32
//: size each; chunk u32
var<workgroup> part: array<f32, 256>;
fn group(g: u32, l: u32) {
    let end = min((g + 1u) * p.chunk, size());
    var s = 0.0;
    for (var i = g * p.chunk + l; i < end; i += 256u) {
        let v = x_at(i);
        s = s + v * v;
    }
    part[l] = s;
    workgroupBarrier();
    for (var h = 128u; h > 0u; h = h / 2u) {
        if l < h { part[l] = part[l] + part[l + h]; }
        workgroupBarrier();
    }
    if l == 0u { y_set(g, part[0]); }
}

// The root of the sum of all of x, by one workgroup.
//# root_of_sum
//: x in float32; y out float32
//: size u32
var<workgroup> part: array<f32, 256>;
fn group(g: u32, l: u32) {
    var s = 0.0;
    for (var i = l; i < p.size; i += 256u) { s = s + x_at(i); }
    part[l] = s;
    workgroupBarrier();
    for (var h = 128u; h > 0u; h = h / 2u) {
        if l < h { part[l] = part[l] + part[l + h]; }
        workgroupBarrier();
    }
    if l == 0u { y_set(0u, sqrt(part[0])); }
}

// x times min(bound / (norm + 1e-6), 1); NaN stays.
//# clip
//: x inout float; norm in float32
//: bound f32
fn element(i: u32) {
    let factor = p.bound / (norm_at(0u) + 1e-6);
    if factor >= 1.0 && !rg_isnan(factor) { return; }
    x_set(i, x_at(i) * factor);
}
