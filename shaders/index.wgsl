// Elements that an index names: read, written, combined.
//
// A place is the sum of what the dimensions give and `step` times the index. Dimensions are numbered from the innermost one;
// each has strides for three tensors: `a` for the one that is indexed, `b` for the index, `c` for values.
//= axes: d0 u32; d1 u32; d2 u32; d3 u32; d4 u32
//= axes: a0 u32; b0 u32; c0 u32; a1 u32; b1 u32; c1 u32; a2 u32; b2 u32; c2 u32; a3 u32; b3 u32; c3 u32; a4 u32; b4 u32; c4 u32; a5 u32; b5 u32; c5 u32
//= axes: size u32; step u32; wrap u32; code u32

const NONE: u32 = 0xffffffffu;

fn place(k: u32) -> vec3<u32> {
    var r = k;
    var i = r % p.d0;
    r = r / p.d0;
    var o = i * vec3<u32>(p.a0, p.b0, p.c0);
    if $RANK > 2 {
        i = r % p.d1;
        r = r / p.d1;
        o += i * vec3<u32>(p.a1, p.b1, p.c1);
    }
    if $RANK > 3 {
        i = r % p.d2;
        r = r / p.d2;
        o += i * vec3<u32>(p.a2, p.b2, p.c2);
        i = r % p.d3;
        r = r / p.d3;
        o += i * vec3<u32>(p.a3, p.b3, p.c3);
        i = r % p.d4;
        r = r / p.d4;
        o += i * vec3<u32>(p.a4, p.b4, p.c4);
    }
    return o + r * vec3<u32>(p.a5, p.b5, p.c5);
}

// An index as a number; NONE, with a note of it, where it is not below `size`.
fn position(v: index_t) -> u32 {
    let n = index_t(p.size);
    var w = v;
    if p.wrap != 0u && v < index_t(0) { w = v + n; }
    if w < index_t(0) || w >= n {
        rg_fault(p.code, i32(v));
        return NONE;
    }
    return u32(w);
}

// Two values with one target, of the type that the section calls sum_t.
fn merge_set(a: sum_t, b: sum_t) -> sum_t { return b; }
fn merge_add(a: sum_t, b: sum_t) -> sum_t { return a + b; }
fn merge_mul(a: sum_t, b: sum_t) -> sum_t { return a * b; }
fn merge_max(a: sum_t, b: sum_t) -> sum_t { return select(b, a, a >= b || rg_isnan(f32(a))); }
fn merge_min(a: sum_t, b: sum_t) -> sum_t { return select(b, a, a <= b || rg_isnan(f32(a))); }

// y[c] = x[place]

//# index_read
//: x in any; index in index; y out any; fault atomic
//: axes
//: RANK = 2 3 6
fn element(k: u32) {
    let o = place(k);
    let w = position(index_at(o.y));
    if w != NONE { y_set(o.z, y_t(x_at(o.x + w * p.step))); }
}

// y[place] = v, where no place occurs twice or the values are one.

//# index_write
//: index in index; v in any; y out any; fault atomic
//: axes
//: RANK = 2 3 6
fn element(k: u32) {
    let o = place(k);
    let w = position(index_at(o.y));
    if w != NONE { y_set(o.x + w * p.step, y_t(v_at(o.z))); }
}

// The last index that names a target has it.

//# index_claim
//: index in index; winner atomic; fault atomic
//: axes
//: RANK = 2 3 6
fn element(k: u32) {
    let o = place(k);
    let w = position(index_at(o.y));
    if w != NONE { atomicMax(&winner[p.winner_o + o.x + w * p.step], o.y + 1u); }
}

// index_write by those that have their target. Here `c` is for the winners; the value is that of the element.

//# index_win
//: index in index; v in any; winner in int32; y out any; fault atomic
//: axes; claim u32
//: RANK = 2 3 6
fn element(k: u32) {
    let o = place(k);
    let w = position(index_at(o.y));
    if w != NONE && u32(winner_at(o.z + w * p.claim)) == o.y + 1u { y_set(o.x + w * p.step, y_t(v_at(k))); }
}

// All indices of a row one after the other: no two invocations have a target in common.

//# index_each
//: index in index; v in any; y inout any; fault atomic
//: axes; length u32; next u32; value u32
//: RANK = 2 3 6
//: OP = set add mul max min
alias sum_t = y_t;
fn element(k: u32) {
    let o = place(k);
    for (var i = 0u; i < p.length; i++) {
        let w = position(index_at(o.y + i * p.next));
        if w != NONE {
            let at = o.x + w * p.step;
            y_set(at, merge_$OP(y_at(at), y_t(v_at(o.z + i * p.value))));
        }
    }
}

// Targets as numbers, to be sorted.

//# index_keys
//: index in index; key out int32; fault atomic
//: axes
//: RANK = 2 3 6
fn element(k: u32) {
    let o = place(k);
    let w = position(index_at(o.y));
    key_set(k, i32(o.x + select(w, 0u, w == NONE) * p.step));
}

// Values with the same target in one number, a chunk of 64 sorted indices each. `order` says where their values are. Runs that
// lie inside of the chunk are done; a run that began before it goes to `head`, one that goes on behind it to `tail`. The
// invocation is for a chunk and an element beside the index.

//# index_runs
//: index in index; order in int32; v in any; y inout any; head out float32 int32 int64 float64; tail out float32 int32 int64 float64; fault atomic
//: axes; length u32; others u32; value u32
//: RANK = 2 3 6
//: OP = add mul max min
alias sum_t = head_t;
fn done(at: u32, v: head_t) {
    y_set(at, y_t(merge_$OP(head_t(y_at(at)), v)));
}
fn element(e: u32) {
    let o = place(e % p.others);
    let start = (e / p.others) * 64u;
    let end = min(start + 64u, p.length);
    var key = index_at(start);
    var sum = head_t(v_at(o.z + u32(order_at(start)) * p.value));
    var begun = false;
    if start > 0u { begun = index_at(start - 1u) == key; }
    for (var s = start + 1u; s < end; s++) {
        let other = index_at(s);
        let v = head_t(v_at(o.z + u32(order_at(s)) * p.value));
        if other == key {
            sum = merge_$OP(sum, v);
        } else {
            if begun { head_set(e, sum); } else { done(o.x + position(key) * p.step, sum); }
            begun = false;
            key = other;
            sum = v;
        }
    }
    var more = false;
    if end < p.length { more = index_at(end) == key; }
    if begun { head_set(e, sum); } else if more { tail_set(e, tail_t(sum)); } else { done(o.x + position(key) * p.step, sum); }
}

// The runs that index_runs left open, put together by the chunk in which they begin.

//# index_join
//: index in index; head in float32 int32 int64 float64; tail in float32 int32 int64 float64; y inout any; fault atomic
//: axes; length u32; others u32
//: RANK = 2 3 6
//: OP = add mul max min
alias sum_t = head_t;
fn element(e: u32) {
    let start = (e / p.others) * 64u;
    var end = start + 64u;
    if end >= p.length { return; }
    let key = index_at(end - 1u);
    if index_at(end) != key { return; }
    if start > 0u && index_at(start) == key { if index_at(start - 1u) == key { return; } }
    var sum = head_t(tail_at(e));
    for (var c = e + p.others; end < p.length; c += p.others) {
        sum = merge_$OP(sum, head_at(c));
        end += 64u;
        if end >= p.length { break; }
        if index_at(end - 1u) != key || index_at(end) != key { break; }
    }
    let o = place(e % p.others);
    let at = o.x + position(key) * p.step;
    y_set(at, y_t(merge_$OP(head_t(y_at(at)), sum)));
}
