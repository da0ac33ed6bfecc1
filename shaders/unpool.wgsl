// Elements of planes to and from given places.

//# plane_put
//: g in float; places in int64; dx inout float32
//: plane u32; count u32
// Adds elements to where `places` says, one plane after the other in order; places outside are passed over.
fn element(i: u32) {
    for (var k = 0u; k < p.count; k++) {
        let at = places_at(i * p.count + k);
        if at >= i64(0) && at < i64(p.plane) {
            let to = i * p.plane + u32(at);
            dx_set(to, dx_at(to) + g_at(i * p.count + k));
        }
    }
}

//# plane_take
//: x in any; places in int64; y out any
//: plane u32; count u32
fn element(i: u32) {
    let at = places_at(i);
    var v = x_t(0);
    if at >= i64(0) && at < i64(p.plane) { v = x_at((i / p.count) * p.plane + u32(at)); }
    y_set(i, y_t(v));
}

//# unpool_owners
//: places in int64; owners atomic; fault atomic
//: plane u32; count u32; code u32
// The last element that goes to a place owns it.
fn element(i: u32) {
    let at = places_at(i);
    if at < i64(0) || at >= i64(p.plane) {
        rg_fault(p.code, i32(at));
        return;
    }
    atomicMax(&owners[(i / p.count) * p.plane + u32(at)], i + 1u);
}

//# unpool
//: x in any; owners in int32; y out any
//: unused u32
fn element(i: u32) {
    let owner = owners_at(i);
    var v = x_t(0);
    if owner > 0 { v = x_at(u32(owner) - 1u); }
    y_set(i, y_t(v));
}
