// Order. Values become integers that order as PyTorch orders the values (NaN is the greatest, the zeros are equal), each
// with its position in the row; no two of these pairs are equal, so every way to sort them is stable. Runs of up to 1,024
// are sorted in a workgroup's memory, then merged two by two.

// Whether a key of a float stands for NaN.
fn is_top(k: x_t) -> bool { return k + x_t(1) < k; }

// `flip`: 0 the order as it is, 1 turned round, 2 turned round but for NaN, which stays the greatest.

//# keys_of_floats
//: x in float; y out int32
//: flip u32
fn element(i: u32) {
    let v = x_at(i);
    var k = bitcast<i32>(v);
    if k < 0 { k = k ^ 0x7fffffff; }
    if v == 0.0 { k = 0; }
    if rg_isnan(v) { k = select(0x7fffffff, ~0x7fffffff, p.flip == 2u); }
    y_set(i, select(k, ~k, p.flip != 0u));
}

//# keys_of_float64
//: x in int64; y out int64
//: flip u32
// From the bits.
fn element(i: u32) {
    let top = 0x7fffffffffffffffli;
    let bits = x_at(i);
    var k = bits;
    if k < 0li { k = k ^ top; }
    if (bits & top) == 0li { k = 0li; }
    if (bits & top) > 0x7ff0000000000000li { k = select(top, ~top, p.flip == 2u); }
    y_set(i, select(k, ~k, p.flip != 0u));
}

//# keys_of_integers
//: x in int bool; y out index
//: flip u32
fn element(i: u32) {
    let k = y_t(x_at(i));
    y_set(i, select(k, ~k, p.flip != 0u));
}

//# sort_runs
//: x in index; y out index; iy out int32
//: len u32; runs u32; run u32; count u32
// Every row consists of `runs` runs of `run` elements (a power of two), the last one perhaps shorter; there are `count` in
// all. A workgroup sorts as many as it has room for.
var<workgroup> key: array<x_t, 1024>;
var<workgroup> at: array<u32, 1024>;
const NOWHERE: u32 = 0xffffffffu;
fn order(i: u32, j: u32) {
    let a = key[i];
    let b = key[j];
    let s = at[i];
    let t = at[j];
    // What is not there goes last.
    if (t != NOWHERE && b < a) || ((b == a || s == NOWHERE) && t < s) {
        key[i] = b;
        key[j] = a;
        at[i] = t;
        at[j] = s;
    }
}
fn group(g: u32, l: u32) {
    for (var e = l; e < 1024u; e += 256u) {
        let r = g * (1024u / p.run) + e / p.run;
        let i = r % p.runs * p.run + e % p.run;
        let here = r < p.count && i < p.len;
        if here { key[e] = x_at(r / p.runs * p.len + i); }
        at[e] = select(NOWHERE, i, here);
    }
    workgroupBarrier();
    for (var k = 2u; k <= p.run; k <<= 1u) {
        // Two sorted halves, the second one backwards: a bitonic sequence.
        let h = k / 2u;
        for (var t = l; t < 512u; t += 256u) { order(t / h * k + t % h, t / h * k + (k - 1u - t % h)); }
        workgroupBarrier();
        for (var d = k / 4u; d > 0u; d >>= 1u) {
            for (var t = l; t < 512u; t += 256u) { order(t / d * 2u * d + t % d, t / d * 2u * d + t % d + d); }
            workgroupBarrier();
        }
    }
    for (var e = l; e < 1024u; e += 256u) {
        let r = g * (1024u / p.run) + e / p.run;
        let i = r % p.runs * p.run + e % p.run;
        if r < p.count && i < p.len {
            y_set(r / p.runs * p.len + i, y_t(key[e]));
            iy_set(r / p.runs * p.len + i, i32(at[e]));
        }
    }
}

//# merge_runs
//: x in index; ix in int32; y out index; iy out int32
//: len u32; run u32
// Every element finds its place among the two runs: its own, and how many of the other run come before it.
fn element(e: u32) {
    let row = e / p.len * p.len;
    let i = e - row;
    let first = i - i % (2u * p.run);
    let k = x_at(e);
    let left = i - first < p.run;
    let begin = select(first, min(first + p.run, p.len), left);
    var low = begin;
    var high = select(min(first + p.run, p.len), min(first + 2u * p.run, p.len), left);
    while low < high {
        let mid = low + (high - low) / 2u;
        let o = x_at(row + mid);
        if o < k || (!left && o == k) { low = mid + 1u; } else { high = mid; }
    }
    let to = row + select(i - p.run, i, left) + (low - begin);
    y_set(to, y_t(k));
    iy_set(to, ix_at(e));
}

//# merge_slices
//: x in index; ix in int32; iy out int32
//: slices u32; len u32; run u32
// The same for the order of slices, each of `len` keys that are compared one after the other.
fn compare(a: u32, b: u32) -> i32 {
    for (var c = 0u; c < p.len; c++) {
        let v = x_at(a * p.len + c);
        let w = x_at(b * p.len + c);
        if v != w { return select(1, -1, v < w); }
    }
    return 0;
}
fn element(i: u32) {
    let first = i - i % (2u * p.run);
    let k = u32(ix_at(i));
    let left = i - first < p.run;
    let begin = select(first, min(first + p.run, p.slices), left);
    var low = begin;
    var high = select(min(first + p.run, p.slices), min(first + 2u * p.run, p.slices), left);
    while low < high {
        let mid = low + (high - low) / 2u;
        let o = compare(u32(ix_at(mid)), k);
        if o < 0 || (!left && o == 0) { low = mid + 1u; } else { high = mid; }
    }
    iy_set(select(i - p.run, i, left) + (low - begin), i32(k));
}

//# median_of_sorted
//: x in index; ix in int32; y out int64
//: len u32; nan u32; ignore u32
fn element(row: u32) {
    var numbers = p.len;
    if p.nan != 0u {
        var low = 0u;
        while low < numbers {
            let mid = low + (numbers - low) / 2u;
            if is_top(x_at(row * p.len + mid)) { numbers = mid; } else { low = mid + 1u; }
        }
    }
    var k = (max(numbers, 1u) - 1u) / 2u;
    if p.ignore == 0u && numbers < p.len { k = numbers; }
    y_set(row, y_t(ix_at(row * p.len + k)));
}

//# mode_of_sorted
//: x in index; ix in int32; y out int64
//: len u32; nan u32
// The end of the longest run of equals, of the first such.
var<workgroup> longest: array<u32, 256>;
var<workgroup> end: array<u32, 256>;
fn group(row: u32, l: u32) {
    let start = row * p.len;
    var best = 0u;
    var at = 0u;
    for (var i = l; i < p.len; i += 256u) {
        let k = x_at(start + i);
        let nan = p.nan != 0u && is_top(k);
        if i + 1u < p.len && !nan && x_at(start + i + 1u) == k { continue; }
        var low = 0u;
        var high = i;
        while low < high && !nan {
            let mid = low + (high - low) / 2u;
            if x_at(start + mid) < k { low = mid + 1u; } else { high = mid; }
        }
        let n = select(i + 1u - low, 1u, nan);
        if n > best {
            best = n;
            at = i;
        }
    }
    longest[l] = best;
    end[l] = at;
    workgroupBarrier();
    for (var w = 128u; w > 0u; w >>= 1u) {
        if l < w {
            let o = l + w;
            if longest[o] > longest[l] || (longest[o] == longest[l] && end[o] < end[l]) {
                longest[l] = longest[o];
                end[l] = end[o];
            }
        }
        workgroupBarrier();
    }
    if l == 0u { y_set(row, y_t(ix_at(start + end[0]))); }
}

//# unique_flags
//: x in index; order in int32; y out int64
//: len u32; nan u32
// Whether a slice differs from the one before it. NaN differs from NaN.
fn element(k: u32) {
    var differs = k == 0u;
    if !differs {
        let a = u32(order_at(k - 1u)) * p.len;
        let b = u32(order_at(k)) * p.len;
        for (var c = 0u; c < p.len && !differs; c++) {
            let v = x_at(a + c);
            differs = v != x_at(b + c) || (p.nan != 0u && is_top(v));
        }
    }
    y_set(k, select(y_t(0), y_t(1), differs));
}

//# unique_places
//: x in int64; order in int32; first out int64; start out int64; inverse out int64
//: slices u32
// `x` counts the distinct slices so far: where each is first seen, where its run begins, and which one every slice is.
fn element(k: u32) {
    let g = u32(x_at(k)) - 1u;
    let at = order_at(k);
    inverse_set(u32(at), inverse_t(g));
    if k == 0u || u32(x_at(k - 1u)) - 1u != g {
        first_set(g, first_t(at));
        start_set(g, start_t(k));
    }
    if k + 1u == p.slices { start_set(g + 1u, start_t(p.slices)); }
}

//# searchsorted
//: x in float32 int64; order in int64; v in float32 int64; y out int64
//: len u32; each u32; rows u32; ordered u32; right u32
// How many of a sorted row come before a value: those less, or with `right` those not greater. NaN comes after everything.
fn element(i: u32) {
    let start = select(0u, i / p.each * p.len, p.rows != 0u);
    let v = x_t(v_at(i));
    var low = 0u;
    var high = p.len;
    while low < high {
        let mid = low + (high - low) / 2u;
        var at = mid;
        if p.ordered != 0u { at = min(u32(order_at(start + mid)), p.len - 1u); }
        let o = x_at(start + at);
        let stop = (p.right != 0u && o > v) || (p.right == 0u && o >= v);
        if stop { high = mid; } else { low = mid + 1u; }
    }
    y_set(i, y_t(low));
}

//# isin
//: x in index; v in index; y out bool
//: len u32; nan u32; invert u32
// Whether a key is among the sorted ones. NaN equals nothing.
fn element(i: u32) {
    let k = x_t(v_at(i));
    var low = 0u;
    var high = p.len;
    while low < high {
        let mid = low + (high - low) / 2u;
        if x_at(mid) < k { low = mid + 1u; } else { high = mid; }
    }
    let found = low < p.len && x_at(min(low, p.len - 1u)) == k && !(p.nan != 0u && is_top(k));
    y_set(i, select(0, 1, found != (p.invert != 0u)));
}

//# count
//: x in index; y atomic
//: bins u32
// How often each number below `bins` occurs.
fn element(i: u32) {
    let b = x_at(i);
    if b >= x_t(0) && b < x_t(p.bins) { atomicAdd(&y[p.y_o + u32(b)], 1u); }
}

//# weigh
//: x in index; order in int32; w in float32; y out float32
//: len u32
// The sum of the weights of what falls into a bin, in a fixed order: `x` are the bins, sorted.
var<workgroup> part: array<f32, 256>;
fn before(bin: u32) -> u32 {
    var low = 0u;
    var high = p.len;
    while low < high {
        let mid = low + (high - low) / 2u;
        if x_at(mid) < x_t(bin) { low = mid + 1u; } else { high = mid; }
    }
    return low;
}
fn group(bin: u32, l: u32) {
    let last = before(bin + 1u);
    var s = 0.0;
    for (var k = before(bin) + l; k < last; k += 256u) { s += w_at(u32(order_at(k))); }
    part[l] = s;
    workgroupBarrier();
    for (var w = 128u; w > 0u; w >>= 1u) {
        if l < w { part[l] += part[l + w]; }
        workgroupBarrier();
    }
    if l == 0u { y_set(bin, part[0]); }
}

//# histogram_bins
//: x in float32; edge in float32; y inout int32
//: dims u32; dim u32; edges u32; find u32
// The bin of every point, a dimension at a time: -1 outside. `find` as in `src/ops/sort/histogram.rs`.
fn search(v: f32, begin: u32, end: u32) -> u32 {
    var low = begin;
    var high = end;
    while low < high {
        let mid = low + (high - low) / 2u;
        if edge_at(mid) <= v { low = mid + 1u; } else { high = mid; }
    }
    return max(low, 1u) - 1u;
}
fn element(i: u32) {
    let v = x_at(i * p.dims + p.dim);
    var at = 0;
    if p.dim > 0u { at = y_at(i); }
    let first = edge_at(0u);
    let last = edge_at(p.edges - 1u);
    if at < 0 || !(v >= first && v <= last) {
        y_set(i, -1);
        return;
    }
    var b = 0u;
    if p.find == 2u {
        b = search(v, 0u, p.edges);
    } else {
        b = min(u32(max((v - first) * f32(p.edges - 1u) / (last - first), 0.0)), p.edges - 1u);
    }
    if p.find == 1u { b = search(v, max(b, 1u) - 1u, min(b + 2u, p.edges)); }
    y_set(i, at * i32(p.edges - 1u) + i32(min(b, p.edges - 2u)));
}
