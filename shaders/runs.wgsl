// Sorting of targets, counting and collecting: what the kernels of index.wgsl need beside them.

// Sums of the numbers before, in place; the sum of all behind them. One workgroup.

//# count_scan
//: c inout int32
//: length u32
var<workgroup> sums: array<i32, 256>;
fn group(g: u32, l: u32) {
    var carry = 0;
    for (var at = 0u; at < p.length; at += 1024u) {
        let first = at + l * 4u;
        var own = 0;
        for (var k = 0u; k < 4u; k++) { if first + k < p.length { own += c_at(first + k); } }
        sums[l] = own;
        workgroupBarrier();
        for (var d = 1u; d < 256u; d = d * 2u) {
            var before = 0;
            if l >= d { before = sums[l - d]; }
            workgroupBarrier();
            sums[l] += before;
            workgroupBarrier();
        }
        var sum = carry + sums[l] - own;
        for (var k = 0u; k < 4u; k++) {
            if first + k < p.length {
                let v = c_at(first + k);
                c_set(first + k, sum);
                sum += v;
            }
        }
        carry += sums[255];
        workgroupBarrier();
    }
    if l == 0u { c_set(p.length, carry); }
}

// How many of a block's 2,048 keys have each digit of 4 bits.

//# radix_count
//: key in int32; c out int32
//: length u32; shift u32; blocks u32
var<workgroup> digits: array<atomic<u32>, 16>;
fn group(g: u32, l: u32) {
    if l < 16u { atomicStore(&digits[l], 0u); }
    workgroupBarrier();
    for (var k = 0u; k < 8u; k++) {
        let i = g * 2048u + k * 256u + l;
        if i < p.length { atomicAdd(&digits[(u32(key_at(i)) >> p.shift) & 15u], 1u); }
    }
    workgroupBarrier();
    if l < 16u { c_set(l * p.blocks + g, i32(atomicLoad(&digits[l]))); }
}

// Moves a block's keys to where their digit begins, in their order. Counts of two digits share a word.

//# radix_move
//: key in int32; order in int32; c in int32; key_out out int32; order_out out int32
//: length u32; shift u32; blocks u32; first u32
var<workgroup> counts: array<u32, 2048>;
fn group(g: u32, l: u32) {
    for (var j = 0u; j < 8u; j++) { counts[j * 256u + l] = 0u; }
    let start = g * 2048u + l * 8u;
    for (var k = 0u; k < 8u; k++) {
        if start + k < p.length {
            let d = (u32(key_at(start + k)) >> p.shift) & 15u;
            counts[(d >> 1u) * 256u + l] += 1u << ((d & 1u) * 16u);
        }
    }
    workgroupBarrier();
    for (var step = 1u; step < 256u; step = step * 2u) {
        var before = array<u32, 8>();
        if l >= step { for (var j = 0u; j < 8u; j++) { before[j] = counts[j * 256u + l - step]; } }
        workgroupBarrier();
        for (var j = 0u; j < 8u; j++) { counts[j * 256u + l] += before[j]; }
        workgroupBarrier();
    }
    // From here on a column holds how many go before this invocation's next key.
    var before = array<u32, 8>();
    if l > 0u { for (var j = 0u; j < 8u; j++) { before[j] = counts[j * 256u + l - 1u]; } }
    workgroupBarrier();
    for (var j = 0u; j < 8u; j++) { counts[j * 256u + l] = before[j]; }
    for (var k = 0u; k < 8u; k++) {
        let i = start + k;
        if i < p.length {
            let v = key_at(i);
            let d = (u32(v) >> p.shift) & 15u;
            let half = (d & 1u) * 16u;
            let word = (d >> 1u) * 256u + l;
            let at = u32(c_at(d * p.blocks + g)) + ((counts[word] >> half) & 0xffffu);
            counts[word] += 1u << half;
            key_out_set(at, v);
            if p.first != 0u { order_out_set(at, i32(i)); } else { order_out_set(at, order_at(i)); }
        }
    }
}

// How many of a block's 2,048 flags are set.

//# flag_count
//: x in bool uint8; c out int32
//: length u32
var<workgroup> total: atomic<u32>;
fn group(g: u32, l: u32) {
    if l == 0u { atomicStore(&total, 0u); }
    workgroupBarrier();
    var own = 0u;
    for (var k = 0u; k < 8u; k++) {
        let i = g * 2048u + k * 256u + l;
        if i < p.length { own += select(0u, 1u, x_at(i) != 0); }
    }
    atomicAdd(&total, own);
    workgroupBarrier();
    if l == 0u { c_set(g, i32(atomicLoad(&total))); }
}

// The positions of the flags that are set, in order.

//# flag_places
//: x in bool uint8; c in int32; y out int64
//: length u32
var<workgroup> sums: array<u32, 256>;
fn group(g: u32, l: u32) {
    let start = g * 2048u + l * 8u;
    var own = 0u;
    for (var k = 0u; k < 8u; k++) { if start + k < p.length { own += select(0u, 1u, x_at(start + k) != 0); } }
    sums[l] = own;
    workgroupBarrier();
    for (var d = 1u; d < 256u; d = d * 2u) {
        var before = 0u;
        if l >= d { before = sums[l - d]; }
        workgroupBarrier();
        sums[l] += before;
        workgroupBarrier();
    }
    var at = u32(c_at(g)) + sums[l] - own;
    for (var k = 0u; k < 8u; k++) {
        let i = start + k;
        if i < p.length { if x_at(i) != 0 {
            y_set(at, i64(i));
            at++;
        } }
    }
}

// One of the numbers of a row-major position: the position over what lies inside, modulo the size.

//# unravel
//: x in int64; y out int64
//: inner u32; size u32; step u32; at u32
fn element(i: u32) {
    y_set(i * p.step + p.at, (x_at(i) / i64(p.inner)) % i64(p.size));
}

// One more index of several: what it adds to the place.

//# index_sum
//: index in index; key inout int32; fault atomic
//: size u32; step u32; first u32; code u32
fn element(k: u32) {
    let v = index_at(k);
    let n = index_t(p.size);
    var w = v;
    if v < index_t(0) { w = v + n; }
    if w < index_t(0) || w >= n {
        rg_fault(p.code, i32(v));
        w = index_t(0);
    }
    let before = select(key_at(k), 0, p.first != 0u);
    key_set(k, before + i32(w) * i32(p.step));
}
