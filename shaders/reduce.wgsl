// Reductions: sums, products, extremes and where they are. A tensor is outer x len x inner and is reduced along
// `len`. Long ones are cut into chunks of a fixed size, whose results are reduced again, so that the order of additions
// depends on the sizes alone.

fn step_sum(a: y_t, v: y_t) -> y_t { return a + v; }
fn step_squares(a: y_t, v: y_t) -> y_t { return a + v * v; }
fn step_magnitudes(a: y_t, v: y_t) -> y_t { return a + abs(v); }
fn step_prod(a: y_t, v: y_t) -> y_t { return a * v; }
fn beats_max(v: y_t, a: y_t) -> bool { return v > a || (rg_isnan(f32(v)) && !rg_isnan(f32(a))); }
fn beats_min(v: y_t, a: y_t) -> bool { return v < a || (rg_isnan(f32(v)) && !rg_isnan(f32(a))); }
fn step_max(a: y_t, v: y_t) -> y_t { return select(a, v, beats_max(v, a)); }
fn step_min(a: y_t, v: y_t) -> y_t { return select(a, v, beats_min(v, a)); }
fn step_max_magnitude(a: y_t, v: y_t) -> y_t { return step_max(a, abs(v)); }
// Extremes start from an element, which then comes twice.
fn start_sum(v: y_t) -> y_t { return y_t(0); }
fn start_squares(v: y_t) -> y_t { return y_t(0); }
fn start_magnitudes(v: y_t) -> y_t { return y_t(0); }
fn start_prod(v: y_t) -> y_t { return y_t(1); }
fn start_max(v: y_t) -> y_t { return v; }
fn start_min(v: y_t) -> y_t { return v; }
fn start_max_magnitude(v: y_t) -> y_t { return abs(v); }
fn merge_sum(a: y_t, b: y_t) -> y_t { return a + b; }
fn merge_squares(a: y_t, b: y_t) -> y_t { return a + b; }
fn merge_magnitudes(a: y_t, b: y_t) -> y_t { return a + b; }
fn merge_prod(a: y_t, b: y_t) -> y_t { return a * b; }
fn merge_max(a: y_t, b: y_t) -> y_t { return step_max(a, b); }
fn merge_min(a: y_t, b: y_t) -> y_t { return step_min(a, b); }
fn merge_max_magnitude(a: y_t, b: y_t) -> y_t { return step_max(a, b); }

//# fold_columns
//: x in number; y out float int bool
//: len u32; inner u32; chunk u32; chunks u32
//: OP = sum squares magnitudes prod max min max_magnitude
// One invocation folds one chunk of one column: result (outer, chunk, inner).
fn element(i: u32) {
    let j = i % p.inner;
    let c = (i / p.inner) % p.chunks;
    let o = i / p.inner / p.chunks;
    let first = c * p.chunk;
    let last = min(first + p.chunk, p.len);
    var at = (o * p.len + first) * p.inner + j;
    var a = start_$OP(y_t(x_at(at)));
    for (var k = first; k < last; k++) {
        a = step_$OP(a, y_t(x_at(at)));
        at += p.inner;
    }
    y_set(i, a);
}

//# fold_rows
//: x in number; y out float int bool
//: len u32; chunk u32; chunks u32
//: OP = sum squares magnitudes prod max min max_magnitude
// One workgroup folds one chunk of one row: result (row, chunk).
var<workgroup> part: array<y_t, 256>;
fn group(g: u32, l: u32) {
    let first = (g % p.chunks) * p.chunk;
    let last = min(first + p.chunk, p.len);
    let row = (g / p.chunks) * p.len;
    var a = start_$OP(y_t(x_at(row + first)));
    for (var k = first + l; k < last; k += 256u) {
        a = step_$OP(a, y_t(x_at(row + k)));
    }
    part[l] = a;
    workgroupBarrier();
    for (var w = 128u; w > 0u; w >>= 1u) {
        if l < w { part[l] = merge_$OP(part[l], part[l + w]); }
        workgroupBarrier();
    }
    if l == 0u { y_set(g, part[0]); }
}

//# extreme_columns
//: x in number; y out number; ix out int64 int32
//: len u32; inner u32; chunk u32; chunks u32
//: OP = max min
// One invocation finds the extreme of one chunk of one column, and the first place where it is; NaN comes before all.
fn element(i: u32) {
    let j = i % p.inner;
    let c = (i / p.inner) % p.chunks;
    let start = (i / p.inner / p.chunks) * p.len * p.inner + j;
    let first = c * p.chunk;
    let last = min(first + p.chunk, p.len);
    var b = y_t(x_at(start + first * p.inner));
    var at = first;
    for (var k = first + 1u; k < last; k++) {
        let v = y_t(x_at(start + k * p.inner));
        if beats_$OP(v, b) { b = v; at = k; }
    }
    y_set(i, b);
    ix_set(i, ix_t(at));
}

//# extreme_rows
//: x in number; y out number; ix out int64 int32
//: len u32; chunk u32; chunks u32
//: OP = max min
// The same of one chunk of one row by one workgroup.
var<workgroup> best: array<y_t, 256>;
var<workgroup> place: array<u32, 256>;
fn group(g: u32, l: u32) {
    let row = (g / p.chunks) * p.len;
    let first = (g % p.chunks) * p.chunk;
    let last = min(first + p.chunk, p.len);
    var b = y_t(x_at(row + first));
    var at = first;
    for (var k = first + l; k < last; k += 256u) {
        let v = y_t(x_at(row + k));
        if beats_$OP(v, b) { b = v; at = k; }
    }
    best[l] = b;
    place[l] = at;
    workgroupBarrier();
    for (var w = 128u; w > 0u; w >>= 1u) {
        if l < w {
            let v = best[l + w];
            // Of equals, the first.
            if beats_$OP(v, best[l]) || (!beats_$OP(best[l], v) && place[l + w] < place[l]) {
                best[l] = v;
                place[l] = place[l + w];
            }
        }
        workgroupBarrier();
    }
    if l == 0u {
        y_set(g, best[0]);
        ix_set(g, ix_t(place[0]));
    }
}
