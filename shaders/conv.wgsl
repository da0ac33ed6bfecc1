// Convolutions as matrix products whose right operand is never stored: y[r, c] = sum over k of left[r, k] * x[c, k].
// Output and input side ("gather"): rows are channels, columns positions (image, z, y, x), k goes over channels and
// taps. Weight ("weight"): rows are output channels, columns input channels and taps, k goes over positions.
// In both, a position and a tap together say where x is read: at the sum of their coordinates, 0 outside.
// All kernels here take the same parameters. A large sum is cut into slices, which lie behind each other in y.
//= sizes: rows u32; cols u32; len u32; groups u32; plane u32; grid1 u32; grid2 u32; base0 i32; base1 i32; base2 i32; ps0 i32; ps1 i32; ps2 i32
//= sizes: taps u32; taps1 u32; taps2 u32; ts0 i32; ts1 i32; ts2 i32; lim0 u32; lim1 u32; lim2 u32; x_image u32; x_channel u32; x_group u32
//= sizes: l_row u32; l_group u32; l_channel u32; ls0 u32; ls1 u32; ls2 u32; y_image u32; y_row u32; y_group u32; ys0 u32; ys1 u32; ys2 u32; y_slice u32; chunk u32; biased u32

// No coordinate that is added to this is inside.
const OUTSIDE: i32 = -0x40000000;
const NONE: u32 = 0xffffffffu;

// A position: where its image begins and how its coordinates move the address; the coordinates.
fn position(i: u32) -> vec4<i32> {
    let at = i % p.plane;
    let z = p.base0 + i32(at / (p.grid1 * p.grid2)) * p.ps0;
    let y = p.base1 + i32(at / p.grid2 % p.grid1) * p.ps1;
    let x = p.base2 + i32(at % p.grid2) * p.ps2;
    return vec4<i32>(i32(i / p.plane * p.x_image) + (z * i32(p.lim1) + y) * i32(p.lim2) + x, z, y, x);
}
// The same of a channel and tap.
fn tap(i: u32) -> vec4<i32> {
    let at = i % p.taps;
    let z = i32(at / (p.taps1 * p.taps2)) * p.ts0;
    let y = i32(at / p.taps2 % p.taps1) * p.ts1;
    let x = i32(at % p.taps2) * p.ts2;
    return vec4<i32>(i32(i / p.taps * p.x_channel) + (z * i32(p.lim1) + y) * i32(p.lim2) + x, z, y, x);
}
fn columns_gather(i: u32) -> vec4<i32> { return position(i); }
fn columns_weight(i: u32) -> vec4<i32> { return tap(i); }
fn steps_gather(i: u32) -> vec4<i32> { return tap(i); }
fn steps_weight(i: u32) -> vec4<i32> { return position(i); }
// Where k lies in a row of the left operand.
fn left_gather(k: u32) -> u32 {
    let at = k % p.taps;
    return k / p.taps * p.l_channel + at / (p.taps1 * p.taps2) * p.ls0 + at / p.taps2 % p.taps1 * p.ls1 + at % p.taps2 * p.ls2;
}
fn left_weight(k: u32) -> u32 { return k / p.plane * p.l_channel + k % p.plane; }
// Where a column lies in the result.
fn place_gather(i: u32) -> u32 {
    let at = i % p.plane;
    return i / p.plane * p.y_image + at / (p.grid1 * p.grid2) * p.ys0 + at / p.grid2 % p.grid1 * p.ys1 + at % p.grid2 * p.ys2;
}
fn place_weight(i: u32) -> u32 { return i; }
// The element of x at a column's and a step's coordinates together.
fn inside(v: vec4<i32>) -> bool {
    return u32(v.y) < p.lim0 && u32(v.z) < p.lim1 && u32(v.w) < p.lim2;
}

// The next 16 steps, noted where all invocations can read them; elements and vectors of four, 0 outside.
var<workgroup> steps: array<vec4<i32>, 16>;
var<workgroup> lefts: array<u32, 16>;
fn note(l: u32, k: u32, end: u32) {
    if l >= 16u { return; }
    steps[l] = vec4<i32>(0, OUTSIDE, OUTSIDE, OUTSIDE);
    lefts[l] = NONE;
    if k + l < end {
        steps[l] = steps_$MAP(k + l);
        lefts[l] = left_$MAP(k + l);
    }
}
fn x_one(base: u32, c: vec4<i32>) -> y_t {
    if inside(c) { return y_t(x_at(base + u32(c.x))); }
    return y_t(0);
}
fn w_one(base: u32, r: u32, k: u32) -> y_t {
    if r < p.rows && k != NONE { return y_t(w_at(base + r * p.l_row + k)); }
    return y_t(0);
}
fn column(c: u32) -> vec4<i32> {
    if c < p.cols { return columns_$MAP(c); }
    return vec4<i32>(0, OUTSIDE, OUTSIDE, OUTSIDE);
}
fn w_four(base: u32, r: u32, k: u32) -> vec4<y_t> {
    return vec4<y_t>(w_one(base, r, k), w_one(base, r + 1u, k), w_one(base, r + 2u, k), w_one(base, r + 3u, k));
}
fn columns(c: u32) -> array<vec4<i32>, 4> {
    return array<vec4<i32>, 4>(column(c), column(c + 1u), column(c + 2u), column(c + 3u));
}
fn x_four(base: u32, c: array<vec4<i32>, 4>, step: vec4<i32>) -> vec4<y_t> {
    return vec4<y_t>(x_one(base, c[0] + step), x_one(base, c[1] + step), x_one(base, c[2] + step), x_one(base, c[3] + step));
}

// Tiles of 64 x 64, 4 x 4 for each invocation, in steps of 16.
//# conv
//: x in any; w in any; bias in any; y out any
//: sizes
//: MAP = gather weight
var<workgroup> left: array<vec4<y_t>, 272>;
var<workgroup> right: array<vec4<y_t>, 272>;
fn out(y0: u32, first: u32, biased: bool, r: u32, c: u32, v: vec4<y_t>) {
    if r >= p.rows { return; }
    var b = y_t(0);
    if biased { b = y_t(bias_at(first + r)); }
    let to = y0 + r * p.y_row;
    if c < p.cols { y_set(to + place_$MAP(c), v.x + b); }
    if c + 1u < p.cols { y_set(to + place_$MAP(c + 1u), v.y + b); }
    if c + 2u < p.cols { y_set(to + place_$MAP(c + 2u), v.z + b); }
    if c + 3u < p.cols { y_set(to + place_$MAP(c + 3u), v.w + b); }
}
fn group(g: u32, l: u32) {
    let tall = (p.rows + 63u) / 64u;
    let wide = (p.cols + 63u) / 64u;
    // Tiles that read the same part of x follow each other.
    let r0 = g % tall * 64u;
    let c0 = g / tall % wide * 64u;
    let rest = g / (tall * wide);
    let unit = rest % p.groups;
    let slice = rest / p.groups;
    let x0 = unit * p.x_group;
    let w0 = unit * p.l_group;
    let first = slice * p.chunk;
    let end = min(first + p.chunk, p.len);
    let tx = l % 16u;
    let ty = l / 16u;
    // The left operand is read along k, the right one along the columns.
    let q = columns(c0 + tx * 4u);
    var s0 = vec4<y_t>(y_t(0));
    var s1 = vec4<y_t>(y_t(0));
    var s2 = vec4<y_t>(y_t(0));
    var s3 = vec4<y_t>(y_t(0));
    for (var k = first; k < end; k += 16u) {
        note(l, k, end);
        workgroupBarrier();
        let at = steps[ty];
        right[ty * 17u + tx] = x_four(x0, q, at);
        let lk = lefts[tx];
        let r = r0 + ty * 4u;
        left[tx * 17u + ty] = w_four(w0, r, lk);
        workgroupBarrier();
        for (var i = 0u; i < 16u; i++) {
            let u = left[i * 17u + ty];
            let v = right[i * 17u + tx];
            s0 = s0 + v * u.x;
            s1 = s1 + v * u.y;
            s2 = s2 + v * u.z;
            s3 = s3 + v * u.w;
        }
    }
    let y0 = slice * p.y_slice + unit * p.y_group;
    let r = r0 + ty * 4u;
    let c = c0 + tx * 4u;
    let b0 = unit * p.rows;
    let biased = p.biased != 0u && slice == 0u;
    out(y0, b0, biased, r, c, s0);
    out(y0, b0, biased, r + 1u, c, s1);
    out(y0, b0, biased, r + 2u, c, s2);
    out(y0, b0, biased, r + 3u, c, s3);
}

// Tiles of 128 x 128 (HIGH = 32) or 64 x 256 (HIGH = 16), 8 x 8 for each invocation, in steps of 16.
//# conv_large
//: x in float; w in float; bias in float; y out float
//: sizes
//: MAP = gather weight
//: HIGH = 32 16
// Vectors of four in a tile's rows and columns; one more than these lies between steps, so that they start in different banks.
const HIGH: u32 = $HIGHu;
const WIDE: u32 = 1024u / HIGH;
var<workgroup> left: array<vec4<f32>, (HIGH + 1u) * 16u>;
var<workgroup> right: array<vec4<f32>, (WIDE + 1u) * 16u>;
fn out(y0: u32, first: u32, biased: bool, r: u32, at: vec4<u32>, v: vec4<f32>) {
    if r >= p.rows { return; }
    var b = 0.0;
    if biased { b = bias_at(first + r); }
    let to = y0 + r * p.y_row;
    if at.x != NONE { y_set(to + at.x, v.x + b); }
    if at.y != NONE { y_set(to + at.y, v.y + b); }
    if at.z != NONE { y_set(to + at.z, v.z + b); }
    if at.w != NONE { y_set(to + at.w, v.w + b); }
}
fn place(c: u32) -> u32 {
    if c < p.cols { return place_$MAP(c); }
    return NONE;
}
fn group(g: u32, l: u32) {
    let tall = (p.rows + HIGH * 4u - 1u) / (HIGH * 4u);
    let wide = (p.cols + WIDE * 4u - 1u) / (WIDE * 4u);
    // Tiles that read the same part of x follow each other.
    let r0 = g % tall * (HIGH * 4u);
    let c0 = g / tall % wide * (WIDE * 4u);
    let rest = g / (tall * wide);
    let unit = rest % p.groups;
    let slice = rest / p.groups;
    let x0 = unit * p.x_group;
    let w0 = unit * p.l_group;
    let first = slice * p.chunk;
    let end = min(first + p.chunk, p.len);
    // Who reads what: four columns at some steps, four or eight rows at one step.
    let bn = l % WIDE;
    let bk = l / WIDE;
    const APART: u32 = 256u / WIDE;
    let ak = l % 16u;
    let am = l / 16u;
    let q = columns(c0 + bn * 4u);
    // 32 invocations side by side compute 32 rows by 64 columns.
    let warp = l / 32u;
    let tx = warp % (WIDE / 16u) * 16u + l % 8u;
    let ty = warp / (WIDE / 16u) * 8u + l / 8u % 4u;
    var y00 = vec4<f32>(); var y01 = vec4<f32>();
    var y10 = vec4<f32>(); var y11 = vec4<f32>();
    var y20 = vec4<f32>(); var y21 = vec4<f32>();
    var y30 = vec4<f32>(); var y31 = vec4<f32>();
    var y40 = vec4<f32>(); var y41 = vec4<f32>();
    var y50 = vec4<f32>(); var y51 = vec4<f32>();
    var y60 = vec4<f32>(); var y61 = vec4<f32>();
    var y70 = vec4<f32>(); var y71 = vec4<f32>();
    for (var k = first; k < end; k += 16u) {
        note(l, k, end);
        workgroupBarrier();
        let lk = lefts[ak];
        left[ak * (HIGH + 1u) + am] = w_four(w0, r0 + am * 4u, lk);
        if HIGH == 32u { left[ak * (HIGH + 1u) + am + 16u] = w_four(w0, r0 + am * 4u + 64u, lk); }
        for (var i = bk; i < 16u; i += APART) {
            let at = steps[i];
            right[i * (WIDE + 1u) + bn] = x_four(x0, q, at);
        }
        workgroupBarrier();
        for (var i = 0u; i < 16u; i++) {
            let u = left[i * (HIGH + 1u) + ty];
            let v = right[i * (WIDE + 1u) + tx];
            let w = right[i * (WIDE + 1u) + tx + 8u];
            y00 = y00 + v * u.x; y01 = y01 + w * u.x;
            y10 = y10 + v * u.y; y11 = y11 + w * u.y;
            y20 = y20 + v * u.z; y21 = y21 + w * u.z;
            y30 = y30 + v * u.w; y31 = y31 + w * u.w;
            let t = left[i * (HIGH + 1u) + ty + 4u];
            y40 = y40 + v * t.x; y41 = y41 + w * t.x;
            y50 = y50 + v * t.y; y51 = y51 + w * t.y;
            y60 = y60 + v * t.z; y61 = y61 + w * t.z;
            y70 = y70 + v * t.w; y71 = y71 + w * t.w;
        }
    }
    let y0 = slice * p.y_slice + unit * p.y_group;
    let b0 = unit * p.rows;
    let biased = p.biased != 0u && slice == 0u;
    let r = r0 + ty * 4u;
    let c = c0 + tx * 4u;
    let at = vec4<u32>(place(c), place(c + 1u), place(c + 2u), place(c + 3u));
    let on = vec4<u32>(place(c + 32u), place(c + 33u), place(c + 34u), place(c + 35u));
    out(y0, b0, biased, r, at, y00); out(y0, b0, biased, r, on, y01);
    out(y0, b0, biased, r + 1u, at, y10); out(y0, b0, biased, r + 1u, on, y11);
    out(y0, b0, biased, r + 2u, at, y20); out(y0, b0, biased, r + 2u, on, y21);
    out(y0, b0, biased, r + 3u, at, y30); out(y0, b0, biased, r + 3u, on, y31);
    out(y0, b0, biased, r + 16u, at, y40); out(y0, b0, biased, r + 16u, on, y41);
    out(y0, b0, biased, r + 17u, at, y50); out(y0, b0, biased, r + 17u, on, y51);
    out(y0, b0, biased, r + 18u, at, y60); out(y0, b0, biased, r + 18u, on, y61);
    out(y0, b0, biased, r + 19u, at, y70); out(y0, b0, biased, r + 19u, on, y71);
}

// Few rows, as where each channel has a kernel of its own: one invocation for each result, called for all
// columns of all rows of all groups.
//# conv_direct
//: x in any; w in any; bias in any; y out any
//: sizes
fn element(i: u32) {
    let c = i % p.cols;
    let r = i / p.cols % p.rows;
    let unit = i / p.cols / p.rows;
    let q = position(c);
    var sum = y_t(0);
    let channels = p.len / max(p.taps, 1u);
    let tall = p.taps / max(p.taps1 * p.taps2, 1u);
    for (var j = 0u; j < channels; j++) {
        let origin = unit * p.x_group + j * p.x_channel + u32(q.x);
        let w0 = unit * p.l_group + r * p.l_row + j * p.l_channel;
        for (var z = 0u; z < tall; z++) {
            let dz = i32(z) * p.ts0;
            if u32(q.y + dz) >= p.lim0 { continue; }
            for (var t = 0u; t < p.taps1; t++) {
                let dy = i32(t) * p.ts1;
                if u32(q.z + dy) >= p.lim1 { continue; }
                for (var s = 0u; s < p.taps2; s++) {
                    let dx = i32(s) * p.ts2;
                    if u32(q.w + dx) >= p.lim2 { continue; }
                    let at = origin + u32((dz * i32(p.lim1) + dy) * i32(p.lim2) + dx);
                    sum = sum + y_t(x_at(at)) * y_t(w_at(w0 + z * p.ls0 + t * p.ls1 + s * p.ls2));
                }
            }
        }
    }
    if p.biased != 0u { sum = sum + y_t(bias_at(unit * p.rows + r)); }
    y_set(unit * p.y_group + r * p.y_row + place_gather(c), sum);
}

// The weight's side where there is little of it: a workgroup for each element and slice.
//# conv_weight_direct
//: x in any; w in any; bias in any; y out any
//: sizes
var<workgroup> part: array<y_t, 256>;
fn group(g: u32, l: u32) {
    let c = g % p.cols;
    let r = g / p.cols % p.rows;
    let rest = g / (p.cols * p.rows);
    let unit = rest % p.groups;
    let slice = rest / p.groups;
    let q = tap(c);
    let x0 = unit * p.x_group;
    let w0 = unit * p.l_group + r * p.l_row;
    let end = min((slice + 1u) * p.chunk, p.len);
    var sum = y_t(0);
    for (var k = slice * p.chunk + l; k < end; k += 256u) {
        let at = q + position(k);
        if inside(at) { sum = sum + y_t(x_at(x0 + u32(at.x))) * y_t(w_at(w0 + left_weight(k))); }
    }
    part[l] = sum;
    workgroupBarrier();
    for (var h = 128u; h > 0u; h = h / 2u) {
        if l < h { part[l] = part[l] + part[l + h]; }
        workgroupBarrier();
    }
    if l == 0u { y_set(slice * p.y_slice + unit * p.y_group + r * p.y_row + c, part[0]); }
}
