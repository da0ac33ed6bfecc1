// Elementwise ops with several results.

// By bits, so that numbers whose exponent is the smallest are not taken for 0.

//# frexp
//: x in float; m out float; e out int32
fn element(i: u32) {
    let v = x_at(i);
    let b = bitcast<u32>(v);
    let a = b & 0x7fffffffu;
    if a == 0u || a >= 0x7f800000u {
        m_set(i, v);
        e_set(i, 0);
        return;
    }
    // The leading bit of a denormal number goes where others have theirs.
    let up = select(0u, countLeadingZeros(a) - 8u, a < 0x00800000u);
    let shifted = a << up;
    m_set(i, bitcast<f32>((b & 0x80000000u) | (shifted & 0x007fffffu) | 0x3f000000u));
    e_set(i, i32(max(a >> 23u, 1u)) - i32(up) - 126);
}
