// Pooling of planes of depth, height and width (z, y, x): `n` sizes of the input, `m` of the output, windows of `k` elements
// `d` apart, a step of `s` and padding of `o`; adaptive windows cut the input into m pieces that may overlap.
//= windows: n_z u32; n_y u32; n_x u32; m_z u32; m_y u32; m_x u32; k_z u32; k_y u32; k_x u32
//= windows: s_z u32; s_y u32; s_x u32; o_z u32; o_y u32; o_x u32; d_z u32; d_y u32; d_x u32; adaptive u32

// Of window `i`: the first element inside of the input, the end of them, and its length where padding counts.
fn window(i: u32, n: u32, m: u32, k: u32, s: u32, o: u32, d: u32) -> vec3<u32> {
    if p.adaptive != 0u {
        let a = (i * n) / m;
        let b = ((i + 1u) * n + m - 1u) / m;
        return vec3<u32>(a, b, b - a);
    }
    let start = i * s;
    let to = min(start + (k - 1u) * d + 1u, n + 2u * o);
    let skipped = ((max(o, start) - start + d - 1u) / d) * d;
    return vec3<u32>(min(start + skipped - o, n), min(max(to, o) - o, n), max(to, start) - start);
}

// The first and the end of the windows that element `i` may lie in.
fn seen(i: u32, n: u32, m: u32, k: u32, s: u32, o: u32, d: u32) -> vec2<u32> {
    if p.adaptive != 0u { return vec2<u32>((i * m) / n, ((i + 1u) * m + n - 1u) / n); }
    let reach = (k - 1u) * d + 1u;
    return vec2<u32>((max(i + o + 1u, reach) - reach + s - 1u) / s, min((i + o) / s + 1u, m));
}

//# max_pool
//: x in number; y out number; places out int64 int32 float32
//: windows
//: PLACES = 0 1
fn element(e: u32) {
    let ox = e % p.m_x;
    let oy = (e / p.m_x) % p.m_y;
    let oz = (e / p.m_x / p.m_y) % p.m_z;
    let base = (e / p.m_x / p.m_y / p.m_z) * p.n_z * p.n_y * p.n_x;
    let wz = window(oz, p.n_z, p.m_z, p.k_z, p.s_z, p.o_z, p.d_z);
    let wy = window(oy, p.n_y, p.m_y, p.k_y, p.s_y, p.o_y, p.d_y);
    let wx = window(ox, p.n_x, p.m_x, p.k_x, p.s_x, p.o_x, p.d_x);
    var place = 0u;
    var best = x_t(0);
    var found = false;
    for (var z = wz.x; z < wz.y; z += p.d_z) {
        for (var y = wy.x; y < wy.y; y += p.d_y) {
            for (var x = wx.x; x < wx.y; x += p.d_x) {
                let at = (z * p.n_y + y) * p.n_x + x;
                let v = x_at(base + at);
                if !found || v > best || rg_isnan(f32(v)) {
                    best = v;
                    place = at;
                    found = true;
                }
            }
        }
    }
    // All of the window may lie in the padding.
    if !found { best = x_t(-rg_inf()); }
    y_set(e, y_t(best));
    if $PLACESu == 1u { places_set(e, places_t(place)); }
}

//# max_pool_backward
//: g in float; places in int64; dx out float32
//: windows
// An element of the input gets the gradients of the windows that it is the maximum of.
fn element(e: u32) {
    let x = e % p.n_x;
    let y = (e / p.n_x) % p.n_y;
    let z = (e / p.n_x / p.n_y) % p.n_z;
    let base = (e / p.n_x / p.n_y / p.n_z) * p.m_z * p.m_y * p.m_x;
    let own = i64((z * p.n_y + y) * p.n_x + x);
    let sz = seen(z, p.n_z, p.m_z, p.k_z, p.s_z, p.o_z, p.d_z);
    let sy = seen(y, p.n_y, p.m_y, p.k_y, p.s_y, p.o_y, p.d_y);
    let sx = seen(x, p.n_x, p.m_x, p.k_x, p.s_x, p.o_x, p.d_x);
    var sum = 0.0;
    for (var a = sz.x; a < sz.y; a++) {
        for (var b = sy.x; b < sy.y; b++) {
            for (var c = sx.x; c < sx.y; c++) {
                let at = base + (a * p.m_y + b) * p.m_x + c;
                if places_at(at) == own { sum += g_at(at); }
            }
        }
    }
    dx_set(e, sum);
}

//# avg_pool
//: x in float int64; y out float32 int64
//: windows; divide u32; divisor i32
fn element(e: u32) {
    let wx = window(e % p.m_x, p.n_x, p.m_x, p.k_x, p.s_x, p.o_x, p.d_x);
    let wy = window((e / p.m_x) % p.m_y, p.n_y, p.m_y, p.k_y, p.s_y, p.o_y, p.d_y);
    let wz = window((e / p.m_x / p.m_y) % p.m_z, p.n_z, p.m_z, p.k_z, p.s_z, p.o_z, p.d_z);
    let base = (e / p.m_x / p.m_y / p.m_z) * p.n_z * p.n_y * p.n_x;
    var sum = y_t(0);
    for (var z = wz.x; z < wz.y; z++) {
        for (var y = wy.x; y < wy.y; y++) {
            for (var x = wx.x; x < wx.y; x++) { sum += y_t(x_at(base + (z * p.n_y + y) * p.n_x + x)); }
        }
    }
    let inside = (wx.y - min(wx.x, wx.y)) * (wy.y - min(wy.x, wy.y)) * (wz.y - min(wz.x, wz.y));
    if inside == 0u {
        y_set(e, y_t(0));
        return;
    }
    var count = y_t(inside);
    if p.divide == 1u { count = y_t(wx.z * wy.z * wz.z); }
    if p.divide == 2u { count = y_t(p.divisor); }
    y_set(e, sum / count);
}

//# avg_pool_backward
//: g in float; dx out float32
//: windows; divide u32; divisor i32
// An element of the input gets shares of the windows that it lies in.
fn element(e: u32) {
    let sx = seen(e % p.n_x, p.n_x, p.m_x, p.k_x, p.s_x, p.o_x, p.d_x);
    let sy = seen((e / p.n_x) % p.n_y, p.n_y, p.m_y, p.k_y, p.s_y, p.o_y, p.d_y);
    let sz = seen((e / p.n_x / p.n_y) % p.n_z, p.n_z, p.m_z, p.k_z, p.s_z, p.o_z, p.d_z);
    let base = (e / p.n_x / p.n_y / p.n_z) * p.m_z * p.m_y * p.m_x;
    var sum = 0.0;
    for (var a = sz.x; a < sz.y; a++) {
        let wz = window(a, p.n_z, p.m_z, p.k_z, p.s_z, p.o_z, p.d_z);
        for (var b = sy.x; b < sy.y; b++) {
            let wy = window(b, p.n_y, p.m_y, p.k_y, p.s_y, p.o_y, p.d_y);
            for (var c = sx.x; c < sx.y; c++) {
                let wx = window(c, p.n_x, p.m_x, p.k_x, p.s_x, p.o_x, p.d_x);
                var count = f32((wx.y - wx.x) * (wy.y - wy.x) * (wz.y - wz.x));
                if p.divide == 1u { count = f32(wx.z * wy.z * wz.z); }
                if p.divide == 2u { count = f32(p.divisor); }
                sum += g_at(base + (a * p.m_y + b) * p.m_x + c) / count;
            }
        }
    }
    dx_set(e, sum);
}
