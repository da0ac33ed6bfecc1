// Products of matrices with any strides, in batches of up to three dimensions:
// y[b, r, c] = start + sum over k of a[b, r, k] * b[b, k, c], in float32 for floats and exactly for integers.
// A large sum over k is cut into slices, whose results lie behind each other in y (`ys` apart) and are added by
// `matmul_join`. All kernels here take the same parameters.
//= sizes: rows u32; cols u32; len u32; ar u32; ac u32; br u32; bc u32; yr u32; yc u32; ir u32; ic u32; ys u32
//= sizes: s1 u32; s2 u32; a0 u32; a1 u32; a2 u32; b0 u32; b1 u32; b2 u32; y0 u32; y1 u32; y2 u32
//= sizes: batch u32; mode u32; negate u32; chunk u32; slices u32; side u32

// Workgroups next to each other take tiles from a band of rows, so that they share what they read.
const BAND: u32 = 8u;

// What a kernel does with the finished sum: as it is, onto what y holds (1), onto a start of its own (2).
fn finish(at: u32, start: u32, sum: y_t) {
    var v = sum;
    if p.negate != 0u { v = -v; }
    if p.mode == 1u { v = y_at(at) + v; }
    if p.mode == 2u { v = y_t(init_at(start)) + v; }
    y_set(at, v);
}

// Where an item of the batch begins in a, b and y.
fn starts(i: u32) -> vec3<u32> {
    let i2 = i % p.s2;
    let i1 = (i / p.s2) % p.s1;
    let i0 = i / (p.s2 * p.s1);
    return i0 * vec3<u32>(p.a0, p.b0, p.y0) + i1 * vec3<u32>(p.a1, p.b1, p.y1) + i2 * vec3<u32>(p.a2, p.b2, p.y2);
}

// The tile (row, column) of a number, band by band.
fn tile_of(t: u32, tall: u32, wide: u32) -> vec2<u32> {
    let band = t / (BAND * wide);
    let size = min(tall - band * BAND, BAND);
    let rest = t - band * BAND * wide;
    return vec2<u32>(band * BAND + rest % size, rest / size);
}

// Elements and vectors of four, 0 outside of the matrices; what is outside of the result is left out. A section says by WHOLE
// whether all of its tiles and steps are full.
fn a_one(base: u32, r: u32, k: u32, end: u32) -> y_t {
    if WHOLE || (r < p.rows && k < end) { return y_t(a_at(base + r * p.ar + k * p.ac)); }
    return y_t(0);
}
fn b_one(base: u32, k: u32, c: u32, end: u32) -> y_t {
    if WHOLE || (c < p.cols && k < end) { return y_t(b_at(base + k * p.br + c * p.bc)); }
    return y_t(0);
}
fn a_four(base: u32, r: u32, k: u32, end: u32) -> vec4<y_t> {
    return vec4<y_t>(a_one(base, r, k, end), a_one(base, r + 1u, k, end), a_one(base, r + 2u, k, end), a_one(base, r + 3u, k, end));
}
fn b_four(base: u32, k: u32, c: u32, end: u32) -> vec4<y_t> {
    return vec4<y_t>(b_one(base, k, c, end), b_one(base, k, c + 1u, end), b_one(base, k, c + 2u, end), b_one(base, k, c + 3u, end));
}
fn one_out(y0: u32, r: u32, c: u32, v: y_t) {
    if WHOLE || c < p.cols { finish(y0 + r * p.yr + c * p.yc, r * p.ir + c * p.ic, v); }
}
fn four_out(y0: u32, r: u32, c: u32, v: vec4<y_t>) {
    one_out(y0, r, c, v.x);
    one_out(y0, r, c + 1u, v.y);
    one_out(y0, r, c + 2u, v.z);
    one_out(y0, r, c + 3u, v.w);
}

// Tiles of 64 x 64, 4 x 4 for each invocation, in steps of 16.
//# matmul
//: a in any; b in any; init in any; y out any
//: sizes
var<workgroup> left: array<vec4<y_t>, 272>;
var<workgroup> right: array<vec4<y_t>, 272>;
const WHOLE: bool = false;
fn row_out(y0: u32, r: u32, c: u32, v: vec4<y_t>) {
    if r < p.rows { four_out(y0, r, c, v); }
}
fn group(g: u32, l: u32) {
    let tall = (p.rows + 63u) / 64u;
    let wide = (p.cols + 63u) / 64u;
    let tile = tile_of(g % (tall * wide), tall, wide);
    let rest = g / (tall * wide);
    let item = rest % p.batch;
    let slice = rest / p.batch;
    let base = starts(item);
    let r0 = tile.x * 64u;
    let c0 = tile.y * 64u;
    let first = slice * p.chunk;
    let end = min(first + p.chunk, p.len);
    // Neighbours read along the dimension that is contiguous.
    let ak = select(l / 16u, l % 16u, p.ac == 1u);
    let am = select(l % 16u, l / 16u, p.ac == 1u);
    let bk = select(l % 16u, l / 16u, p.bc == 1u);
    let bn = select(l / 16u, l % 16u, p.bc == 1u);
    let tx = l % 16u;
    let ty = l / 16u;
    var w = vec4<y_t>(y_t(0));
    var x = vec4<y_t>(y_t(0));
    var y = vec4<y_t>(y_t(0));
    var z = vec4<y_t>(y_t(0));
    // The next step is on its way while this one is computed.
    var na = a_four(base.x, r0 + am * 4u, first + ak, end);
    var nb = b_four(base.y, first + bk, c0 + bn * 4u, end);
    for (var k = first; k < end; k += 16u) {
        left[ak * 17u + am] = na;
        right[bk * 17u + bn] = nb;
        workgroupBarrier();
        if k + 16u < end {
            na = a_four(base.x, r0 + am * 4u, k + 16u + ak, end);
            nb = b_four(base.y, k + 16u + bk, c0 + bn * 4u, end);
        }
        for (var i = 0u; i < 16u; i++) {
            let u = left[i * 17u + ty];
            let v = right[i * 17u + tx];
            w = w + v * u.x;
            x = x + v * u.y;
            y = y + v * u.z;
            z = z + v * u.w;
        }
        workgroupBarrier();
    }
    let y0 = slice * p.ys + base.z;
    let r = r0 + ty * 4u;
    let c = c0 + tx * 4u;
    row_out(y0, r, c, w);
    row_out(y0, r + 1u, c, x);
    row_out(y0, r + 2u, c, y);
    row_out(y0, r + 3u, c, z);
}

// Tiles of 128 x 128, 8 x 8 for each invocation, in steps of 16.
//# matmul_large
//: a in float; b in float; init in float; y out float
//: sizes
//: WHOLE = true false
const WHOLE: bool = $WHOLE;
// Rows of 32 vectors and one more, so that columns lie in different banks.
var<workgroup> left: array<vec4<f32>, 528>;
var<workgroup> right: array<vec4<f32>, 528>;
fn row_out(y0: u32, r: u32, c: u32, v: vec4<f32>, w: vec4<f32>) {
    if !WHOLE && r >= p.rows { return; }
    four_out(y0, r, c, v);
    four_out(y0, r, c + 32u, w);
}
fn group(g: u32, l: u32) {
    let tall = (p.rows + 127u) / 128u;
    let wide = (p.cols + 127u) / 128u;
    let tile = tile_of(g % (tall * wide), tall, wide);
    let rest = g / (tall * wide);
    let item = rest % p.batch;
    let slice = rest / p.batch;
    let base = starts(item);
    let r0 = tile.x * 128u;
    let c0 = tile.y * 128u;
    let first = slice * p.chunk;
    let end = min(first + p.chunk, p.len);
    // Two vectors of four for each invocation and operand: 16 steps by 32 vectors.
    let along_a = p.ac == 1u;
    let ak = select(l / 32u, l % 16u, along_a);
    let am = select(l % 32u, l / 16u, along_a);
    let ak2 = select(8u, 0u, along_a);
    let am2 = select(0u, 16u, along_a);
    let along_b = p.bc != 1u;
    let bk = select(l / 32u, l % 16u, along_b);
    let bn = select(l % 32u, l / 16u, along_b);
    let bk2 = select(8u, 0u, along_b);
    let bn2 = select(0u, 16u, along_b);
    // 32 invocations side by side compute 32 rows by 64 columns.
    let tx = (l / 32u % 2u) * 16u + l % 8u;
    let ty = (l / 64u) * 8u + l / 8u % 4u;
    var y00 = vec4<f32>(); var y01 = vec4<f32>();
    var y10 = vec4<f32>(); var y11 = vec4<f32>();
    var y20 = vec4<f32>(); var y21 = vec4<f32>();
    var y30 = vec4<f32>(); var y31 = vec4<f32>();
    var y40 = vec4<f32>(); var y41 = vec4<f32>();
    var y50 = vec4<f32>(); var y51 = vec4<f32>();
    var y60 = vec4<f32>(); var y61 = vec4<f32>();
    var y70 = vec4<f32>(); var y71 = vec4<f32>();
    // The next step is on its way while this one is computed.
    var na = a_four(base.x, r0 + am * 4u, first + ak, end);
    var na2 = a_four(base.x, r0 + (am + am2) * 4u, first + ak + ak2, end);
    var nb = b_four(base.y, first + bk, c0 + bn * 4u, end);
    var nb2 = b_four(base.y, first + bk + bk2, c0 + (bn + bn2) * 4u, end);
    for (var k = first; k < end; k += 16u) {
        left[ak * 33u + am] = na;
        left[(ak + ak2) * 33u + am + am2] = na2;
        right[bk * 33u + bn] = nb;
        right[(bk + bk2) * 33u + bn + bn2] = nb2;
        workgroupBarrier();
        if k + 16u < end {
            na = a_four(base.x, r0 + am * 4u, k + 16u + ak, end);
            na2 = a_four(base.x, r0 + (am + am2) * 4u, k + 16u + ak + ak2, end);
            nb = b_four(base.y, k + 16u + bk, c0 + bn * 4u, end);
            nb2 = b_four(base.y, k + 16u + bk + bk2, c0 + (bn + bn2) * 4u, end);
        }
        for (var i = 0u; i < 16u; i++) {
            let u = left[i * 33u + ty];
            let v = right[i * 33u + tx];
            let w = right[i * 33u + tx + 8u];
            y00 = y00 + v * u.x; y01 = y01 + w * u.x;
            y10 = y10 + v * u.y; y11 = y11 + w * u.y;
            y20 = y20 + v * u.z; y21 = y21 + w * u.z;
            y30 = y30 + v * u.w; y31 = y31 + w * u.w;
            let t = left[i * 33u + ty + 4u];
            y40 = y40 + v * t.x; y41 = y41 + w * t.x;
            y50 = y50 + v * t.y; y51 = y51 + w * t.y;
            y60 = y60 + v * t.z; y61 = y61 + w * t.z;
            y70 = y70 + v * t.w; y71 = y71 + w * t.w;
        }
        workgroupBarrier();
    }
    let y0 = slice * p.ys + base.z;
    let r = r0 + ty * 4u;
    let c = c0 + tx * 4u;
    row_out(y0, r, c, y00, y01);
    row_out(y0, r + 1u, c, y10, y11);
    row_out(y0, r + 2u, c, y20, y21);
    row_out(y0, r + 3u, c, y30, y31);
    row_out(y0, r + 16u, c, y40, y41);
    row_out(y0, r + 17u, c, y50, y51);
    row_out(y0, r + 18u, c, y60, y61);
    row_out(y0, r + 19u, c, y70, y71);
}

// One column: `side` invocations share a row's sum.
//# matvec
//: a in any; b in any; init in any; y out any
//: sizes
var<workgroup> part: array<y_t, 256>;
fn group(g: u32, l: u32) {
    let high = 256u / p.side;
    let blocks = (p.rows + high - 1u) / high;
    let rest = g / blocks;
    let item = rest % p.batch;
    let slice = rest / p.batch;
    let base = starts(item);
    let along = p.ac == 1u;
    let q = select(l / high, l % p.side, along);
    let r = (g % blocks) * high + select(l % high, l / p.side, along);
    let apart = select(high, 1u, along);
    let first = slice * p.chunk;
    let end = min(first + p.chunk, p.len);
    var s0 = y_t(0);
    var s1 = y_t(0);
    var s2 = y_t(0);
    var s3 = y_t(0);
    if r < p.rows {
        var at = base.x + r * p.ar + (first + q) * p.ac;
        var from_b = base.y + (first + q) * p.br;
        let step = p.side * p.ac;
        let step_b = p.side * p.br;
        var k = first + q;
        for (; k + 3u * p.side < end; k += 4u * p.side) {
            s0 = s0 + y_t(a_at(at)) * y_t(b_at(from_b));
            s1 = s1 + y_t(a_at(at + step)) * y_t(b_at(from_b + step_b));
            s2 = s2 + y_t(a_at(at + 2u * step)) * y_t(b_at(from_b + 2u * step_b));
            s3 = s3 + y_t(a_at(at + 3u * step)) * y_t(b_at(from_b + 3u * step_b));
            at += 4u * step;
            from_b += 4u * step_b;
        }
        for (; k < end; k += p.side) {
            s0 = s0 + y_t(a_at(at)) * y_t(b_at(from_b));
            at += step;
            from_b += step_b;
        }
    }
    part[l] = (s0 + s1) + (s2 + s3);
    workgroupBarrier();
    for (var s = p.side / 2u; s > 0u; s = s / 2u) {
        if q < s { part[l] = part[l] + part[l + s * apart]; }
        workgroupBarrier();
    }
    if q == 0u && r < p.rows {
        finish(slice * p.ys + base.z + r * p.yr, r * p.ir, part[l]);
    }
}

// Two to eight columns, likewise.
//# matfew
//: a in any; b in any; init in any; y out any
//: sizes
var<workgroup> part: array<vec4<y_t>, 512>;
fn four(at: u32, c: u32) -> vec4<y_t> {
    let last = p.cols - 1u;
    return vec4<y_t>(
        y_t(b_at(at + min(c, last) * p.bc)),
        y_t(b_at(at + min(c + 1u, last) * p.bc)),
        y_t(b_at(at + min(c + 2u, last) * p.bc)),
        y_t(b_at(at + min(c + 3u, last) * p.bc))
    );
}
const WHOLE: bool = false;
fn group(g: u32, l: u32) {
    let high = 256u / p.side;
    let blocks = (p.rows + high - 1u) / high;
    let rest = g / blocks;
    let item = rest % p.batch;
    let slice = rest / p.batch;
    let base = starts(item);
    let along = p.ac == 1u;
    let q = select(l / high, l % p.side, along);
    let r = (g % blocks) * high + select(l % high, l / p.side, along);
    let apart = select(high, 1u, along);
    let first = slice * p.chunk;
    let end = min(first + p.chunk, p.len);
    var s = vec4<y_t>(y_t(0));
    var t = vec4<y_t>(y_t(0));
    if r < p.rows {
        for (var k = first + q; k < end; k += p.side) {
            let v = y_t(a_at(base.x + r * p.ar + k * p.ac));
            let at = base.y + k * p.br;
            s = s + four(at, 0u) * v;
            if p.cols > 4u { t = t + four(at, 4u) * v; }
        }
    }
    part[l] = s;
    part[l + 256u] = t;
    workgroupBarrier();
    for (var h = p.side / 2u; h > 0u; h = h / 2u) {
        if q < h {
            part[l] = part[l] + part[l + h * apart];
            part[l + 256u] = part[l + 256u] + part[l + 256u + h * apart];
        }
        workgroupBarrier();
    }
    if q == 0u && r < p.rows {
        let y0 = slice * p.ys + base.z;
        four_out(y0, r, 0u, part[l]);
        four_out(y0, r, 4u, part[l + 256u]);
    }
}

// The slices of a sum together, in their order; an index is one of batch, row, column.
//# matmul_join
//: a in any; init in any; y out any
//: sizes
fn element(i: u32) {
    var s = a_at(i);
    for (var k = 1u; k < p.slices; k++) { s = s + a_at(k * p.n + i); }
    let c = i % p.cols;
    let r = (i / p.cols) % p.rows;
    finish(starts(i / p.cols / p.rows).z + r * p.yr + c * p.yc, r * p.ir + c * p.ic, y_t(s));
}
