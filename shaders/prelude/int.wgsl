// The primitives of formulas on integers: `T` is i32 or i64. Division by zero gives 0.

fn rg_neg(x: T) -> T { return -x; }
fn rg_abs(x: T) -> T { return select(x, -x, x < T(0)); }
fn rg_floor(x: T) -> T { return x; }
fn rg_ceil(x: T) -> T { return x; }
fn rg_round(x: T) -> T { return x; }
fn rg_trunc(x: T) -> T { return x; }
fn rg_is_nan(x: T) -> T { return T(0); }
fn rg_is_inf(x: T) -> T { return T(0); }
fn rg_signbit(x: T) -> T { return select(T(0), T(1), x < T(0)); }
fn rg_copysign(x: T, y: T) -> T { return select(x, -x, (x < T(0)) != (y < T(0))); }
fn rg_max(x: T, y: T) -> T { return select(y, x, x > y); }
fn rg_min(x: T, y: T) -> T { return select(y, x, x < y); }
fn rg_fmax(x: T, y: T) -> T { return select(y, x, x > y); }
fn rg_fmin(x: T, y: T) -> T { return select(y, x, x < y); }
fn rg_relu(x: T) -> T { return select(x, T(0), x < T(0)); }
fn rg_heaviside(x: T, y: T) -> T { return select(select(T(0), T(1), x > T(0)), y, x == T(0)); }
fn rg_trunc_div(x: T, y: T) -> T {
    if y == T(0) { return T(0); }
    if y == T(-1) { return -x; }
    return x / y;
}
fn rg_fmod(x: T, y: T) -> T {
    if y == T(0) || y == T(-1) { return T(0); }
    return x - (x / y) * y;
}
fn rg_floor_div(x: T, y: T) -> T {
    let q = rg_trunc_div(x, y);
    return select(q, q - T(1), rg_fmod(x, y) != T(0) && (x < T(0)) != (y < T(0)));
}
fn rg_rem(x: T, y: T) -> T {
    let r = rg_fmod(x, y);
    return select(r, r + y, r != T(0) && (r < T(0)) != (y < T(0)));
}
fn rg_pow(x: T, y: T) -> T {
    if y < T(0) {
        if x == T(1) { return T(1); }
        if x == T(-1) { return select(T(1), T(-1), (y & T(1)) != T(0)); }
        return T(0);
    }
    var r = T(1);
    var a = x;
    var b = y;
    for (var k = 0u; k < 64u && b > T(0); k++) {
        if (b & T(1)) != T(0) { r = r * a; }
        a = a * a;
        b = b >> 1u;
    }
    return r;
}
fn rg_shl(x: T, y: T) -> T {
    if y < T(0) || y >= T(T_BITS) { return T(0); }
    return x << u32(y);
}
fn rg_shr(x: T, y: T) -> T {
    if y < T(0) || y >= T(T_BITS) { return select(T(0), T(-1), x < T(0)); }
    return x >> u32(y);
}
fn rg_gcd(x: T, y: T) -> T {
    var a = rg_abs(x);
    var b = rg_abs(y);
    for (var k = 0u; k < 100u && b != T(0); k++) {
        let r = a - (a / b) * b;
        a = b;
        b = r;
    }
    return a;
}
fn rg_lcm(x: T, y: T) -> T {
    let g = rg_gcd(x, y);
    if g == T(0) { return T(0); }
    return rg_abs((x / g) * y);
}
