// Resizing by tables, columns of patches.

//# resize_axis
//: x in float; ends in int32; index in int32; weight in float32; y out float32
//: input u32; output u32; inner u32
// The middle of outer x input x inner becomes `output` long: element `o` is made of the taps `ends[o]..ends[o + 1]`.
fn element(e: u32) {
    let j = e % p.inner;
    let o = (e / p.inner) % p.output;
    let base = (e / p.inner / p.output) * p.input * p.inner + j;
    let last = ends_at(o + 1u);
    var sum = 0.0;
    for (var t = ends_at(o); t < last; t++) {
        sum += x_at(base + u32(index_at(u32(t))) * p.inner) * weight_at(u32(t));
    }
    y_set(e, sum);
}

//# unfold
//: x in any; y out any
//: height u32; width u32; k_y u32; k_x u32; s_y u32; s_x u32; o_y u32; o_x u32; d_y u32; d_x u32; rows u32; columns u32
fn element(e: u32) {
    let ox = e % p.columns;
    let oy = (e / p.columns) % p.rows;
    let tap = e / p.columns / p.rows;
    let kx = tap % p.k_x;
    let ky = (tap / p.k_x) % p.k_y;
    let plane = tap / p.k_x / p.k_y;
    // Outside wraps around to large numbers.
    let y = oy * p.s_y + ky * p.d_y - p.o_y;
    let x = ox * p.s_x + kx * p.d_x - p.o_x;
    var v = x_t(0);
    if y < p.height && x < p.width { v = x_at((plane * p.height + y) * p.width + x); }
    y_set(e, y_t(v));
}

//# fold
//: x in any; y out any
//: height u32; width u32; k_y u32; k_x u32; s_y u32; s_x u32; o_y u32; o_x u32; d_y u32; d_x u32; rows u32; columns u32
fn element(e: u32) {
    let x = e % p.width + p.o_x;
    let y = (e / p.width) % p.height + p.o_y;
    let plane = e / p.width / p.height;
    var sum = x_t(0);
    for (var ky = 0u; ky < p.k_y; ky++) {
        // How far the patch that has the element here is from the first one.
        let dy = y - ky * p.d_y;
        if ky * p.d_y > y || dy % p.s_y != 0u || dy / p.s_y >= p.rows { continue; }
        for (var kx = 0u; kx < p.k_x; kx++) {
            let dx = x - kx * p.d_x;
            if kx * p.d_x > x || dx % p.s_x != 0u || dx / p.s_x >= p.columns { continue; }
            sum += x_at((((plane * p.k_y + ky) * p.k_x + kx) * p.rows + dy / p.s_y) * p.columns + dx / p.s_x);
        }
    }
    y_set(e, y_t(sum));
}
