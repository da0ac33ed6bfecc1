// Memory filled with a pattern of one or two words.

//# fill
//: y out int32
//: low u32; high u32
fn element(i: u32) {
    y_set(i, bitcast<i32>(select(p.low, p.high, (i & 1u) == 1u)));
}
