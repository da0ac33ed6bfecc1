// Bags of rows of a table.

// The bag of every index: the last one that begins at it or before.

//# bag_of
//: offsets in index; y out int64
//: bags u32; end u32
fn element(k: u32) {
    var low = 0u;
    var high = p.bags;
    for (var s = 0u; s < 32u && low < high; s++) {
        let m = (low + high) / 2u;
        if offsets_at(m) <= offsets_t(k) { low = m + 1u; } else { high = m; }
    }
    // Behind the last bag there may be indices of none.
    var none = low == 0u;
    if p.end != 0u { none = none || offsets_at(p.bags) <= offsets_t(k); }
    y_set(k, select(i64(low) - 1li, 0li, none));
}

// Sum, mean or largest value of a column of a bag; which row a largest value is from; how many rows are in the bag.

//# bag
//: table in real; index in index; offsets in index; factors in real; y out real; chosen out int64; sizes out int64; fault atomic
//: width u32; rows u32; count u32; starts u32; padding u32; weighted u32; code u32; code_first u32; code_last u32
//: MODE = sum mean max
fn offset(b: u32) -> u32 {
    if b >= p.starts { return p.count; }
    let v = offsets_at(b);
    if v < offsets_t(0) || v > offsets_t(p.count) {
        rg_fault(p.code_last, i32(v));
        return p.count;
    }
    return u32(v);
}
fn weight(k: u32) -> y_t {
    if p.weighted == 0u { return y_t(1.0); }
    return y_t(factors_at(k));
}
fn take_sum(have: y_t, v: y_t, first: bool, k: u32) -> y_t { return have + v * weight(k); }
fn take_mean(have: y_t, v: y_t, first: bool, k: u32) -> y_t { return have + v; }
fn take_max(have: y_t, v: y_t, first: bool, k: u32) -> y_t { return select(have, v, first || v > have); }
fn end_sum(v: y_t, n: u32) -> y_t { return v; }
fn end_mean(v: y_t, n: u32) -> y_t { return v / y_t(max(n, 1u)); }
fn end_max(v: y_t, n: u32) -> y_t { return v; }
fn element(e: u32) {
    let b = e / p.width;
    let c = e % p.width;
    let start = offset(b);
    let end = offset(b + 1u);
    if e == 0u && p.starts > 0u { if offsets_at(0u) != offsets_t(0) { rg_fault(p.code_first, i32(offsets_at(0u))); } }
    var have = y_t(0.0);
    var n = 0u;
    var from_row = -1li;
    for (var k = start; k < end; k++) {
        let i = index_at(k);
        if i < index_t(0) || i >= index_t(p.rows) {
            rg_fault(p.code, i32(i));
            continue;
        }
        if u32(i) == p.padding { continue; }
        let v = y_t(table_at(u32(i) * p.width + c));
        let before = have;
        have = take_$MODE(have, v, n == 0u, k);
        if n == 0u || v > before { from_row = i64(i); }
        n++;
    }
    y_set(e, end_$MODE(have, n));
    chosen_set(e, from_row);
    if c == 0u { sizes_set(b, i64(n)); }
}
