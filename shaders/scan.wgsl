// Running results along a dimension. A tensor is outer x len x inner, a row being what lies along `len`; a workgroup takes
// a piece of a row, 1,024 elements at a time. Long rows are cut into pieces: first each piece's total, then the running
// totals, then the results with what came before. The sections say what a state `S` is, where it comes from and how two of
// them join, the earlier one first; the order of joins depends on the sizes alone.
//= sizes: mode u32; rows u32; len u32; inner u32; pieces u32; tiles u32; reverse u32

const TILE: u32 = 1024u;
// What is done: columns are rows that one invocation each goes through.
const WHOLE: u32 = 0u;
const TOTALS: u32 = 1u;
const RUNNING_TOTALS: u32 = 2u;
const AFTER_TOTALS: u32 = 3u;
const COLUMNS: u32 = 4u;

var<workgroup> tile: array<S, 1024>;
var<workgroup> part: array<S, 256>;

// The place in memory of element `i` of a row.
fn place(row: u32, i: u32) -> u32 {
    let k = select(i, p.len - 1u - i, p.reverse != 0u);
    return (row / p.inner * p.len + k) * p.inner + row % p.inner;
}

fn group(g: u32, l: u32) {
    if p.mode == COLUMNS {
        let row = g * 256u + l;
        if row < p.rows {
            var s = start();
            for (var i = 0u; i < p.len; i++) {
                let at = place(row, i);
                s = join(s, load(at, i));
                store(at, s);
            }
        }
        return;
    }
    // The running totals are of one piece for each row.
    let pieces = select(p.pieces, 1u, p.mode == RUNNING_TOTALS);
    let row = g / pieces;
    let piece = g % pieces;
    let count = select(p.len, p.pieces, p.mode == RUNNING_TOTALS);
    let first = piece * p.tiles * TILE;
    let last = select(min(count, first + p.tiles * TILE), count, p.mode == RUNNING_TOTALS);
    var carry = start();
    if p.mode == AFTER_TOTALS && piece > 0u { carry = load_total(row * p.pieces + piece - 1u); }
    for (var base = first; base < last; base += TILE) {
        for (var k = l; k < TILE; k += 256u) {
            let i = base + k;
            var s = start();
            if i < last {
                if p.mode == RUNNING_TOTALS { s = load_total(row * p.pieces + i); } else { s = load(place(row, i), i); }
            }
            tile[k] = s;
        }
        workgroupBarrier();
        // Four neighbours each, then the 256 totals by doubling.
        let a = tile[4u * l];
        let b = join(a, tile[4u * l + 1u]);
        let c = join(b, tile[4u * l + 2u]);
        let d = join(c, tile[4u * l + 3u]);
        part[l] = d;
        workgroupBarrier();
        for (var w = 1u; w < 256u; w <<= 1u) {
            var s = part[l];
            if l >= w { s = join(part[l - w], s); }
            workgroupBarrier();
            part[l] = s;
            workgroupBarrier();
        }
        var before = carry;
        if l > 0u { before = join(carry, part[l - 1u]); }
        tile[4u * l] = join(before, a);
        tile[4u * l + 1u] = join(before, b);
        tile[4u * l + 2u] = join(before, c);
        tile[4u * l + 3u] = join(before, d);
        carry = join(carry, part[255]);
        workgroupBarrier();
        if p.mode != TOTALS {
            for (var k = l; k < TILE; k += 256u) {
                let i = base + k;
                if i < last {
                    if p.mode == RUNNING_TOTALS { store_total(row * p.pieces + i, tile[k]); } else { store(place(row, i), tile[k]); }
                }
            }
        }
        workgroupBarrier();
    }
    if p.mode == TOTALS && l == 0u { store_total(row * p.pieces + piece, carry); }
}

//# scan
//: x in float32 int64; total inout float32 int64; y out float32 int64
//: sizes
//: OP = sum prod
alias S = x_t;
fn start_sum() -> S { return S(0); }
fn start_prod() -> S { return S(1); }
fn join_sum(a: S, b: S) -> S { return a + b; }
fn join_prod(a: S, b: S) -> S { return a * b; }
fn start() -> S { return start_$OP(); }
fn join(a: S, b: S) -> S { return join_$OP(a, b); }
fn load(at: u32, i: u32) -> S { return x_at(at); }
fn store(at: u32, s: S) { y_set(at, y_t(s)); }
fn load_total(k: u32) -> S { return S(total_at(k)); }
fn store_total(k: u32, s: S) { total_set(k, total_t(s)); }

//# scan_logaddexp
//: x in float32; total inout float32; y out float32
//: sizes
alias S = f32;
fn start() -> S { return -rg_inf(); }
fn join(a: S, b: S) -> S { return rg_logaddexp(a, b); }
fn load(at: u32, i: u32) -> S { return x_at(at); }
fn store(at: u32, s: S) { y_set(at, s); }
fn load_total(k: u32) -> S { return total_at(k); }
fn store_total(k: u32, s: S) { total_set(k, s); }

//# scan_greatest
//: x in index; total inout index; total_ix inout int32; y out int64
//: sizes
// Where the greatest key so far is, the last of equals.
struct S { key: x_t, at: u32 }
const NOWHERE: u32 = 0xffffffffu;
fn start() -> S { return S(x_t(0), NOWHERE); }
fn join(a: S, b: S) -> S {
    if b.at == NOWHERE || (a.at != NOWHERE && a.key > b.key) { return a; }
    return b;
}
fn load(at: u32, i: u32) -> S { return S(x_at(at), i); }
fn store(at: u32, s: S) { y_set(at, y_t(s.at)); }
fn load_total(k: u32) -> S { return S(x_t(total_at(k)), u32(total_ix_at(k))); }
fn store_total(k: u32, s: S) {
    total_set(k, total_t(s.key));
    total_ix_set(k, i32(s.at));
}

//# scan_linear
//: a in float32; b in float32; total inout float32; total_b inout float32; y out float32
//: sizes
// s[i] = b[i] + a[i] s[i - 1]. A state is the map s -> b + a s of some elements in a row.
struct S { a: f32, b: f32 }
fn start() -> S { return S(1.0, 0.0); }
// Nothing carried stays nothing, whatever the factor: a product of factors may be infinite where no single one is.
fn times(a: f32, s: f32) -> f32 { return select(a * s, 0.0, s == 0.0); }
fn join(s: S, t: S) -> S { return S(s.a * t.a, t.b + times(t.a, s.b)); }
fn load(at: u32, i: u32) -> S { return S(select(a_at(at), 0.0, i == 0u), b_at(at)); }
fn store(at: u32, s: S) { y_set(at, s.b); }
fn load_total(k: u32) -> S { return S(total_at(k), total_b_at(k)); }
fn store_total(k: u32, s: S) {
    total_set(k, s.a);
    total_b_set(k, s.b);
}
