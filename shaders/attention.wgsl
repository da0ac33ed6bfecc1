// Scaled dot-product attention by blocks of 64 queries and 64 keys; the matrix of scores is never stored (Dao et al. 2022).
// Operands are [n, heads, rows, elements], strides given but for the last, which is 1. A workgroup is 16 x 16 invocations,
// (ty, tx), of which each has 4 x 4 scores: rows 4 ty onwards, and every 16th column from tx.
//
// `tile` holds 16 elements of each row and column, turned, or rows of what is summed up; `w` holds weights, turned:
// element (column, row). 17 instead of 16 vectors a line keep neighbours in different banks.
//= operands: l u32; s u32; e u32; ev u32; heads u32; blocks u32; scale f32; mask u32; k_share u32; v_share u32
//= operands: q_n u32; q_h u32; q_i u32; k_n u32; k_h u32; k_i u32; v_n u32; v_h u32; v_i u32; m_n u32; m_h u32; m_i u32; m_j u32; o_n u32; o_h u32; o_i u32

const LINE: u32 = 17u;
const RIGHT: u32 = 16u * LINE;
var<workgroup> tile: array<vec4<f32>, 544>;
var<workgroup> w: array<vec4<f32>, 1088>;

// `s` plus the products of 16 elements of rows and columns.
fn products(s: mat4x4<f32>, ty: u32, tx: u32) -> mat4x4<f32> {
    var r = s;
    for (var e = 0u; e < 16u; e++) {
        let a = tile[e * LINE + ty];
        let b = tile[RIGHT + e * LINE + tx];
        r[0] = r[0] + a.x * b;
        r[1] = r[1] + a.y * b;
        r[2] = r[2] + a.z * b;
        r[3] = r[3] + a.w * b;
    }
    return r;
}

// Element `e` of row (columns: 64 + column) `r`.
fn put(r: u32, e: u32, v: f32) {
    if r < 64u {
        tile[e * LINE + r / 4u][r % 4u] = v;
    } else {
        tile[RIGHT + e * LINE + r % 16u][(r - 64u) / 16u] = v;
    }
}

// Puts a block of weights where all can read it.
fn share(s: mat4x4<f32>, ty: u32, tx: u32) {
    for (var j = 0u; j < 4u; j++) {
        w[(tx + 16u * j) * LINE + ty] = vec4<f32>(s[0][j], s[1][j], s[2][j], s[3][j]);
    }
}

const WIDE: u32 = $WIDEu;
const PARTS: u32 = WIDE / 64u;
// Rows of `WIDE` elements that fit into `tile`.
const CHUNK: u32 = 2048u / WIDE;
alias Sums = array<vec4<f32>, 4u * PARTS>;

// Adds the rows in `tile`, the first of which has the weights of column `from`.
fn add_up(a: ptr<function, Sums>, start: u32, ty: u32, tx: u32) {
    for (var k = 0u; k < CHUNK; k++) {
        let f = w[(start + k) * LINE + ty];
        for (var c = 0u; c < PARTS; c++) {
            let v = tile[(k * PARTS + c) * 16u + tx];
            (*a)[c] += f.x * v;
            (*a)[PARTS + c] += f.y * v;
            (*a)[2u * PARTS + c] += f.z * v;
            (*a)[3u * PARTS + c] += f.w * v;
        }
    }
}

// The score of query `i` and key `j` from their product.
fn score(product: f32, n: u32, h: u32, i: u32, j: u32) -> f32 {
    if j >= p.s { return -rg_inf(); }
    let v = product * p.scale;
    if p.mask == 0u || i >= p.l { return v; }
    if p.mask == 1u { return select(v, -rg_inf(), j > i); }
    let m = f32(m_at(n * p.m_n + h * p.m_h + i * p.m_i + j * p.m_j));
    if p.mask == 2u { return select(v, -rg_inf(), m == 0.0); }
    return v + m;
}

// Keys that queries before `end` see.
fn seen(end: u32) -> u32 { return select(p.s, min(p.s, end), p.mask == 1u); }

fn q_row(n: u32, h: u32) -> u32 { return n * p.q_n + h * p.q_h; }
fn k_row(n: u32, h: u32) -> u32 { return n * p.k_n + (h / p.k_share) * p.k_h; }
fn v_row(n: u32, h: u32) -> u32 { return n * p.v_n + (h / p.v_share) * p.v_h; }
fn q_elem(at: u32, i: u32, e: u32) -> f32 {
    if i >= p.l || e >= p.e { return 0.0; }
    return q_at(at + i * p.q_i + e);
}
fn k_elem(at: u32, j: u32, e: u32) -> f32 {
    if j >= p.s || e >= p.e { return 0.0; }
    return k_at(at + j * p.k_i + e);
}
fn v_elem(at: u32, j: u32, e: u32) -> f32 {
    if j >= p.s || e >= p.ev { return 0.0; }
    return v_at(at + j * p.v_i + e);
}

fn g_elem(at: u32, i: u32, e: u32) -> f32 {
    if i >= p.l || e >= p.ev { return 0.0; }
    return grad_at(at + i * p.g_i + e);
}

// Where the 1,024 numbers that invocation `t` fetches with others go: row `x`, element `y`.
fn fetch(t: u32, r: u32) -> vec2<u32> {
    let i = t + 256u * r;
    return vec2<u32>(i / 16u, i % 16u);
}

// Products of 64 queries and 64 keys: queries are rows and keys are columns, or, turned, the other way round.
fn scores(qr: u32, kr: u32, i0: u32, j0: u32, t: u32, turned: bool) -> mat4x4<f32> {
    var s = mat4x4<f32>();
    for (var e0 = 0u; e0 < p.e; e0 += 16u) {
        workgroupBarrier();
        for (var r = 0u; r < 4u; r++) {
            let f = fetch(t, r);
            put(f.x + select(0u, 64u, turned), f.y, q_elem(qr, i0 + f.x, e0 + f.y));
            put(f.x + select(64u, 0u, turned), f.y, k_elem(kr, j0 + f.x, e0 + f.y));
        }
        workgroupBarrier();
        s = products(s, t / 16u, t % 16u);
    }
    return s;
}
// The same of the result's gradient and values: the gradient of the weights.
fn slopes(gr: u32, vr: u32, i0: u32, j0: u32, t: u32, turned: bool) -> mat4x4<f32> {
    var s = mat4x4<f32>();
    for (var e0 = 0u; e0 < p.ev; e0 += 16u) {
        workgroupBarrier();
        for (var r = 0u; r < 4u; r++) {
            let f = fetch(t, r);
            put(f.x + select(0u, 64u, turned), f.y, g_elem(gr, i0 + f.x, e0 + f.y));
            put(f.x + select(64u, 0u, turned), f.y, v_elem(vr, j0 + f.x, e0 + f.y));
        }
        workgroupBarrier();
        s = products(s, t / 16u, t % 16u);
    }
    return s;
}

//# attention
//: q in float; k in float; v in float; m in float32 bool; out out float32; lse out float32
//: operands
//: WIDE = 64 128 256
// A block of queries of a head. The running maximum and sum of a row are known to four invocations.
var<workgroup> few: array<f32, 256>;
var<workgroup> more: array<f32, 256>;
var<workgroup> factor: array<f32, 64>;
fn group(g: u32, t: u32) {
    // Late queries see most keys: they come first.
    let i0 = (p.blocks - 1u - g % p.blocks) * 64u;
    let head = g / p.blocks;
    let n = head / p.heads;
    let h = head % p.heads;
    let ty = t / 16u;
    let tx = t % 16u;
    let row = t % 64u;
    let quarter = t / 64u;
    let qr = q_row(n, h);
    let kr = k_row(n, h);
    let vr = v_row(n, h);
    var sums: Sums;
    var top = -rg_inf();
    var total = 0.0;
    let end = seen(i0 + 64u);
    for (var j0 = 0u; j0 < end; j0 += 64u) {
        var s = scores(qr, kr, i0, j0, t, false);
        for (var i = 0u; i < 4u; i++) {
            for (var j = 0u; j < 4u; j++) { s[i][j] = score(s[i][j], n, h, i0 + ty * 4u + i, j0 + tx + 16u * j); }
        }
        share(s, ty, tx);
        workgroupBarrier();
        // 16 scores of the row each.
        var high = top;
        for (var k = 0u; k < 16u; k++) {
            let v = w[(quarter * 16u + k) * LINE + row / 4u][row % 4u];
            high = select(high, v, v > high);
        }
        few[t] = high;
        workgroupBarrier();
        high = max(max(few[row], few[64u + row]), max(few[128u + row], few[192u + row]));
        // A query all hidden so far has no maximum to take away.
        let base = select(high, 0.0, high == -rg_inf());
        let scale = rg_exp(top - base);
        top = high;
        var sum = 0.0;
        for (var k = 0u; k < 16u; k++) {
            let at = (quarter * 16u + k) * LINE + row / 4u;
            let v = rg_exp(w[at][row % 4u] - base);
            w[at][row % 4u] = v;
            sum += v;
        }
        more[t] = sum;
        if quarter == 0u { factor[row] = scale; }
        workgroupBarrier();
        total = total * scale + ((more[row] + more[64u + row]) + (more[128u + row] + more[192u + row]));
        for (var i = 0u; i < 4u; i++) {
            let f = factor[ty * 4u + i];
            for (var c = 0u; c < PARTS; c++) { sums[i * PARTS + c] *= f; }
        }
        for (var k0 = 0u; k0 < 64u; k0 += CHUNK) {
            workgroupBarrier();
            for (var r = 0u; r < 8u; r++) {
                let at = t + 256u * r;
                tile[at / 4u][at % 4u] = v_elem(vr, j0 + k0 + at / WIDE, at % WIDE);
            }
            workgroupBarrier();
            add_up(&sums, k0, ty, tx);
        }
    }
    workgroupBarrier();
    if quarter == 0u {
        // Infinity where all is hidden makes zeros in the backward pass.
        factor[row] = select(1.0 / total, 0.0, total == 0.0);
        if i0 + row < p.l {
            var v = rg_inf();
            if total != 0.0 { v = top + rg_log(total); }
            lse_set(head * p.l + i0 + row, v);
        }
    }
    workgroupBarrier();
    for (var i = 0u; i < 4u; i++) {
        let to = i0 + ty * 4u + i;
        let f = factor[ty * 4u + i];
        for (var c = 0u; c < PARTS; c++) {
            for (var k = 0u; k < 4u; k++) {
                let e = c * 64u + tx * 4u + k;
                if to < p.l && e < p.ev { out_set(n * p.o_n + h * p.o_h + to * p.o_i + e, sums[i * PARTS + c][k] * f); }
            }
        }
    }
}

//# attention_backward_q
//: q in float; k in float; v in float; m in float32 bool; grad in float; lse in float32; dot in float32; out out float32
//: operands; g_n u32; g_h u32; g_i u32
//: WIDE = 64 128 256
// The gradient of a block of queries; the strides `o` are those of the result, `dot` has the products of result and gradient.
fn group(g: u32, t: u32) {
    let i0 = (p.blocks - 1u - g % p.blocks) * 64u;
    let head = g / p.blocks;
    let n = head / p.heads;
    let h = head % p.heads;
    let ty = t / 16u;
    let tx = t % 16u;
    let qr = q_row(n, h);
    let kr = k_row(n, h);
    let vr = v_row(n, h);
    let gr = n * p.g_n + h * p.g_h;
    var sums: Sums;
    let end = seen(i0 + 64u);
    for (var j0 = 0u; j0 < end; j0 += 64u) {
        var s = scores(qr, kr, i0, j0, t, false);
        var d = slopes(gr, vr, i0, j0, t, false);
        for (var i = 0u; i < 4u; i++) {
            let at = min(i0 + ty * 4u + i, p.l - 1u);
            let log = lse_at(head * p.l + at);
            let own = dot_at(head * p.l + at);
            for (var j = 0u; j < 4u; j++) {
                let weight = rg_exp(score(s[i][j], n, h, i0 + ty * 4u + i, j0 + tx + 16u * j) - log);
                s[i][j] = weight * (d[i][j] - own) * p.scale;
            }
        }
        share(s, ty, tx);
        for (var k0 = 0u; k0 < 64u; k0 += CHUNK) {
            workgroupBarrier();
            for (var r = 0u; r < 8u; r++) {
                let at = t + 256u * r;
                tile[at / 4u][at % 4u] = k_elem(kr, j0 + k0 + at / WIDE, at % WIDE);
            }
            workgroupBarrier();
            add_up(&sums, k0, ty, tx);
        }
    }
    for (var i = 0u; i < 4u; i++) {
        let to = i0 + ty * 4u + i;
        for (var c = 0u; c < PARTS; c++) {
            for (var k = 0u; k < 4u; k++) {
                let e = c * 64u + tx * 4u + k;
                if to < p.l && e < p.e { out_set(n * p.o_n + h * p.o_h + to * p.o_i + e, sums[i * PARTS + c][k]); }
            }
        }
    }
}

//# attention_backward_kv
//: q in float; k in float; v in float; m in float32 bool; grad in float; lse in float32; dot in float32; dk out float32; dv out float32
//: operands; g_n u32; g_h u32; g_i u32
//: WIDE = 64 128 256
// The gradients of a block of keys and values, for every head of queries: (head, key, element) without gaps.
fn group(g: u32, t: u32) {
    let j0 = (g % p.blocks) * 64u;
    let head = g / p.blocks;
    let n = head / p.heads;
    let h = head % p.heads;
    let ty = t / 16u;
    let tx = t % 16u;
    let qr = q_row(n, h);
    let kr = k_row(n, h);
    let vr = v_row(n, h);
    let gr = n * p.g_n + h * p.g_h;
    var of_k: Sums;
    var of_v: Sums;
    // Queries before the block see none of it.
    let first = select(0u, j0, p.mask == 1u);
    for (var i0 = first; i0 < p.l; i0 += 64u) {
        var s = scores(qr, kr, i0, j0, t, true);
        var d = slopes(gr, vr, i0, j0, t, true);
        for (var j = 0u; j < 4u; j++) {
            let query = i0 + tx + 16u * j;
            let at = head * p.l + min(query, p.l - 1u);
            let log = lse_at(at);
            let own = dot_at(at);
            for (var i = 0u; i < 4u; i++) {
                var weight = 0.0;
                if query < p.l { weight = rg_exp(score(s[i][j], n, h, query, j0 + ty * 4u + i) - log); }
                s[i][j] = weight;
                d[i][j] = weight * (d[i][j] - own) * p.scale;
            }
        }
        share(s, ty, tx);
        for (var k0 = 0u; k0 < 64u; k0 += CHUNK) {
            workgroupBarrier();
            for (var r = 0u; r < 8u; r++) {
                let at = t + 256u * r;
                tile[at / 4u][at % 4u] = g_elem(gr, i0 + k0 + at / WIDE, at % WIDE);
            }
            workgroupBarrier();
            add_up(&of_v, k0, ty, tx);
        }
        workgroupBarrier();
        share(d, ty, tx);
        for (var k0 = 0u; k0 < 64u; k0 += CHUNK) {
            workgroupBarrier();
            for (var r = 0u; r < 8u; r++) {
                let at = t + 256u * r;
                tile[at / 4u][at % 4u] = q_elem(qr, i0 + k0 + at / WIDE, at % WIDE);
            }
            workgroupBarrier();
            add_up(&of_k, k0, ty, tx);
        }
    }
    for (var i = 0u; i < 4u; i++) {
        let to = j0 + ty * 4u + i;
        for (var c = 0u; c < PARTS; c++) {
            for (var k = 0u; k < 4u; k++) {
                let e = c * 64u + tx * 4u + k;
                if to < p.s && e < p.e { dk_set((head * p.s + to) * p.e + e, of_k[i * PARTS + c][k]); }
                if to < p.s && e < p.ev { dv_set((head * p.s + to) * p.ev + e, of_v[i * PARTS + c][k]); }
            }
        }
    }
}
