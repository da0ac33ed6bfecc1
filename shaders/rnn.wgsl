// Recurrent steps: gates to states for one step of a sequence, and their gradients. What inputs and hidden state give the
// gates comes from products. States lie behind each other, (steps + 1, batch, n); `before` and `after` are where those
// of this step begin. An index is one of batch and unit.

// CELL: what becomes of the gates. `saved` takes what the backward pass needs where `keep` says so.
//# rnn_gates
//: x in float32; hidden in float32; bias in float32; h inout float32; c inout float32; saved out float32
//: units u32; x_first u32; x_row u32; before u32; after u32; saved_first u32; keep u32; biased u32
//: CELL = tanh relu lstm gru
fn side(at: u32, unit: u32) -> f32 {
    if p.biased != 0u { return hidden_at(at) + bias_at(unit); }
    return hidden_at(at);
}
fn keep_four(row: u32, k: u32, v: vec4<f32>) {
    if p.keep == 0u { return; }
    let at = p.saved_first + row * 4u * p.units + k;
    saved_set(at, v.x);
    saved_set(at + p.units, v.y);
    saved_set(at + 2u * p.units, v.z);
    saved_set(at + 3u * p.units, v.w);
}
fn cell_tanh(i: u32, row: u32, k: u32, x: u32) {
    h_set(p.after + i, rg_tanh(x_at(x) + side(i, k)));
}
fn cell_relu(i: u32, row: u32, k: u32, x: u32) {
    let v = x_at(x) + side(i, k);
    h_set(p.after + i, select(v, 0.0, v < 0.0));
}
fn cell_lstm(i: u32, row: u32, k: u32, x: u32) {
    let n = p.units;
    let at = row * 4u * n + k;
    let input = rg_sigmoid(x_at(x) + side(at, k));
    let forget = rg_sigmoid(x_at(x + n) + side(at + n, k + n));
    let fresh = rg_tanh(x_at(x + 2u * n) + side(at + 2u * n, k + 2u * n));
    let out = rg_sigmoid(x_at(x + 3u * n) + side(at + 3u * n, k + 3u * n));
    let state = forget * c_at(p.before + i) + input * fresh;
    c_set(p.after + i, state);
    h_set(p.after + i, out * rg_tanh(state));
    keep_four(row, k, vec4<f32>(input, forget, fresh, out));
}
fn cell_gru(i: u32, row: u32, k: u32, x: u32) {
    let n = p.units;
    let at = row * 3u * n + k;
    let r = rg_sigmoid(x_at(x) + side(at, k));
    let z = rg_sigmoid(x_at(x + n) + side(at + n, k + n));
    let s = side(at + 2u * n, k + 2u * n);
    let fresh = rg_tanh(x_at(x + 2u * n) + r * s);
    h_set(p.after + i, fresh + z * (h_at(p.before + i) - fresh));
    keep_four(row, k, vec4<f32>(r, z, fresh, s));
}
fn element(i: u32) {
    let row = i / p.units;
    let k = i % p.units;
    cell_$CELL(i, row, k, p.x_first + row * p.x_row + k);
}

// Gradients of the gates of one step: `dh` and `dc` come from the steps after it.
//# rnn_grads
//: g in float32; dh in float32; h in float32; dx out float32
//: units u32; g_first u32; g_row u32; after u32; dx_first u32
//: CELL = tanh relu
fn slope_tanh(h: f32) -> f32 { return 1.0 - h * h; }
fn slope_relu(h: f32) -> f32 { return select(0.0, 1.0, h > 0.0); }
fn element(i: u32) {
    let grad = g_at(p.g_first + i / p.units * p.g_row + i % p.units) + dh_at(i);
    let slope = slope_$CELL(h_at(p.after + i));
    dx_set(p.dx_first + i, select(grad * slope, 0.0, slope == 0.0));
}

//# lstm_grads
//: g in float32; dh in float32; dc inout float32; c in float32; saved in float32; dx out float32
//: units u32; g_first u32; g_row u32; before u32; after u32; dx_first u32
fn element(i: u32) {
    let n = p.units;
    let k = i % n;
    let row = i / n;
    let grad = g_at(p.g_first + row * p.g_row + k) + dh_at(i);
    // Saved values and gradients of the gates lie alike.
    let at = p.dx_first + row * 4u * n + k;
    let input = saved_at(at);
    let forget = saved_at(at + n);
    let fresh = saved_at(at + 2u * n);
    let out = saved_at(at + 3u * n);
    let t = rg_tanh(c_at(p.after + i));
    let d = dc_at(i) + grad * out * (1.0 - t * t);
    dx_set(at, d * fresh * (input * (1.0 - input)));
    dx_set(at + n, d * c_at(p.before + i) * (forget * (1.0 - forget)));
    dx_set(at + 2u * n, d * input * (1.0 - fresh * fresh));
    dx_set(at + 3u * n, grad * t * (out * (1.0 - out)));
    dc_set(i, d * forget);
}

//# gru_grads
//: g in float32; dh inout float32; h in float32; saved in float32; dx out float32; dhidden out float32
//: units u32; g_first u32; g_row u32; before u32; dx_first u32; saved_first u32
fn element(i: u32) {
    let n = p.units;
    let k = i % n;
    let row = i / n;
    let grad = g_at(p.g_first + row * p.g_row + k) + dh_at(i);
    let s = p.saved_first + row * 4u * n + k;
    let r = saved_at(s);
    let z = saved_at(s + n);
    let fresh = saved_at(s + 2u * n);
    let pre = grad * (1.0 - z) * (1.0 - fresh * fresh);
    let of_r = pre * saved_at(s + 3u * n) * (r * (1.0 - r));
    let of_z = grad * (h_at(p.before + i) - fresh) * (z * (1.0 - z));
    let at = p.dx_first + row * 3u * n + k;
    dx_set(at, of_r);
    dx_set(at + n, of_z);
    dx_set(at + 2u * n, pre);
    dhidden_set(at, of_r);
    dhidden_set(at + n, of_z);
    dhidden_set(at + 2u * n, pre * r);
    dh_set(i, grad * z);
}
