// Bessel functions of orders 0 and 1. The methods by interval are those of `src/expr/special/`,
// with as many terms as float32 can tell apart; polynomials carry the names of the tables there.

// A step of Clenshaw's rule for Chebyshev series, on (b0, b1, b2).
fn rg_clenshaw(s: vec3<f32>, x: f32, a: f32) -> vec3<f32> { return vec3<f32>(x * s.x - s.y + a, s.x, s.y); }
// `I0_SMALL`
fn rg_i0_small(x: f32) -> f32 {
    var s = vec3<f32>(2.6598237e-9f, 0.0, 0.0);
    s = rg_clenshaw(s, x, -1.300025e-8f);
    s = rg_clenshaw(s, x, 6.046995e-8f);
    s = rg_clenshaw(s, x, -2.6707937e-7f);
    s = rg_clenshaw(s, x, 1.1173876e-6f);
    s = rg_clenshaw(s, x, -4.416738e-6f);
    s = rg_clenshaw(s, x, 1.6448448e-5f);
    s = rg_clenshaw(s, x, -5.754195e-5f);
    s = rg_clenshaw(s, x, 1.8850289e-4f);
    s = rg_clenshaw(s, x, -5.763756e-4f);
    s = rg_clenshaw(s, x, 0.0016394756f);
    s = rg_clenshaw(s, x, -0.00432431f);
    s = rg_clenshaw(s, x, 0.010546461f);
    s = rg_clenshaw(s, x, -0.023737416f);
    s = rg_clenshaw(s, x, 0.049305283f);
    s = rg_clenshaw(s, x, -0.0949011f);
    s = rg_clenshaw(s, x, 0.1716209f);
    s = rg_clenshaw(s, x, -0.30468267f);
    s = rg_clenshaw(s, x, 0.6767953f);
    return 0.5 * (s.x - s.z);
}
// `I0_LARGE`
fn rg_i0_large(x: f32) -> f32 {
    var s = vec3<f32>(3.396232e-9f, 0.0, 0.0);
    s = rg_clenshaw(s, x, 2.266669e-8f);
    s = rg_clenshaw(s, x, 2.0489186e-7f);
    s = rg_clenshaw(s, x, 2.8913705e-6f);
    s = rg_clenshaw(s, x, 6.8897585e-5f);
    s = rg_clenshaw(s, x, 0.0033691165f);
    s = rg_clenshaw(s, x, 0.8044904f);
    return 0.5 * (s.x - s.z);
}
// `I1_SMALL`
fn rg_i1_small(x: f32) -> f32 {
    var s = vec3<f32>(9.381537e-9f, 0.0, 0.0);
    s = rg_clenshaw(s, x, -4.445059e-8f);
    s = rg_clenshaw(s, x, 2.0032948e-7f);
    s = rg_clenshaw(s, x, -8.56872e-7f);
    s = rg_clenshaw(s, x, 3.4702514e-6f);
    s = rg_clenshaw(s, x, -1.3273164e-5f);
    s = rg_clenshaw(s, x, 4.781565e-5f);
    s = rg_clenshaw(s, x, -1.6176082e-4f);
    s = rg_clenshaw(s, x, 5.12286e-4f);
    s = rg_clenshaw(s, x, -0.0015135724f);
    s = rg_clenshaw(s, x, 0.004156423f);
    s = rg_clenshaw(s, x, -0.010564085f);
    s = rg_clenshaw(s, x, 0.024726449f);
    s = rg_clenshaw(s, x, -0.052945983f);
    s = rg_clenshaw(s, x, 0.10264366f);
    s = rg_clenshaw(s, x, -0.17641652f);
    s = rg_clenshaw(s, x, 0.2525872f);
    return 0.5 * (s.x - s.z);
}
// `I1_LARGE`
fn rg_i1_large(x: f32) -> f32 {
    var s = vec3<f32>(-3.8353805e-9f, 0.0, 0.0);
    s = rg_clenshaw(s, x, -2.6314689e-8f);
    s = rg_clenshaw(s, x, -2.512236e-7f);
    s = rg_clenshaw(s, x, -3.8825647e-6f);
    s = rg_clenshaw(s, x, -1.1058894e-4f);
    s = rg_clenshaw(s, x, -0.009761098f);
    s = rg_clenshaw(s, x, 0.77857625f);
    return 0.5 * (s.x - s.z);
}
// `P0_P`
fn rg_bessel_p0_p(x: f32) -> f32 {
    var q = 7.9693674e-4f;
    q = q * x + 0.08283524f;
    q = q * x + 1.2395337f;
    q = q * x + 5.44725f;
    q = q * x + 8.747165f;
    q = q * x + 5.3032403f;
    return q * x + 1.0f;
}
// `P0_Q`
fn rg_bessel_p0_q(x: f32) -> f32 {
    var q = 9.244088e-4f;
    q = q * x + 0.085628845f;
    q = q * x + 1.2535274f;
    q = q * x + 5.4709773f;
    q = q * x + 8.761909f;
    q = q * x + 5.3060527f;
    return q * x + 1.0f;
}
// `Q0_P`
fn rg_bessel_q0_p(x: f32) -> f32 {
    var q = -0.011366384f;
    q = q * x - 1.2825272f;
    q = q * x - 19.553955f;
    q = q * x - 93.20602f;
    q = q * x - 177.68117f;
    q = q * x - 147.0775f;
    q = q * x - 51.410534f;
    return q * x - 6.0501437f;
}
// `Q0_Q`
fn rg_bessel_q0_q(x: f32) -> f32 {
    var q = 64.317825f;
    q = q * x + 856.43005f;
    q = q * x + 3882.4019f;
    q = q * x + 7240.468f;
    q = q * x + 5930.727f;
    q = q * x + 2062.0933f;
    return q * x + 242.00574f;
}
// `R0_P`
fn rg_bessel_r0_p(x: f32) -> f32 {
    var q = -4.794432e9f;
    q = q * x + 1.9561749e12f;
    q = q * x - 2.4924834e14f;
    return q * x + 9.708622e15f;
}
// `R0_Q`
fn rg_bessel_r0_q(x: f32) -> f32 {
    var q = 499.56314f;
    q = q * x + 1.737854e5f;
    q = q * x + 4.8440964e7f;
    q = q * x + 1.1185553e10f;
    q = q * x + 2.1127753e12f;
    q = q * x + 3.105182e14f;
    q = q * x + 3.1812196e16f;
    return q * x + 1.7108629e18f;
}
// `Y0_P`
fn rg_bessel_y0_p(x: f32) -> f32 {
    var q = 15592.437f;
    q = q * x - 1.466393e7f;
    q = q * x + 5.435265e9f;
    q = q * x - 9.8213606e11f;
    q = q * x + 8.759064e13f;
    q = q * x - 3.4662832e15f;
    q = q * x + 4.4273326e16f;
    return q * x - 1.849508e16f;
}
// `Y0_Q`
fn rg_bessel_y0_q(x: f32) -> f32 {
    var q = 1041.2836f;
    q = q * x + 6.261073e5f;
    q = q * x + 2.6891965e8f;
    q = q * x + 8.6400246e10f;
    q = q * x + 2.029796e13f;
    q = q * x + 3.1715775e15f;
    return q * x + 2.5059626e17f;
}
// `P1_P`
fn rg_bessel_p1_p(x: f32) -> f32 {
    var q = 7.621256e-4f;
    q = q * x + 0.073139705f;
    q = q * x + 1.1271961f;
    q = q * x + 5.1120796f;
    q = q * x + 8.424046f;
    q = q * x + 5.214516f;
    return q * x + 1.0f;
}
// `P1_Q`
fn rg_bessel_p1_q(x: f32) -> f32 {
    var q = 5.7132315e-4f;
    q = q * x + 0.06884559f;
    q = q * x + 1.1051424f;
    q = q * x + 5.073864f;
    q = q * x + 8.399856f;
    q = q * x + 5.2098284f;
    return q * x + 1.0f;
}
// `Q1_P`
fn rg_bessel_q1_p(x: f32) -> f32 {
    var q = 0.05108626f;
    q = q * x + 4.9821386f;
    q = q * x + 75.82383f;
    q = q * x + 366.7796f;
    q = q * x + 710.8563f;
    q = q * x + 597.4896f;
    q = q * x + 211.68875f;
    return q * x + 25.20702f;
}
// `Q1_Q`
fn rg_bessel_q1_q(x: f32) -> f32 {
    var q = 74.23733f;
    q = q * x + 1056.4489f;
    q = q * x + 4986.4106f;
    q = q * x + 9562.319f;
    q = q * x + 7997.0415f;
    q = q * x + 2826.1929f;
    return q * x + 336.0936f;
}
// `R1_P`
fn rg_bessel_r1_p(x: f32) -> f32 {
    var q = -8.999712e8f;
    q = q * x + 4.522283e11f;
    q = q * x - 7.274942e13f;
    return q * x + 3.6829573e15f;
}
// `R1_Q`
fn rg_bessel_r1_q(x: f32) -> f32 {
    var q = 620.8365f;
    q = q * x + 2.5698725e5f;
    q = q * x + 8.351468e7f;
    q = q * x + 2.215116e10f;
    q = q * x + 4.749141e12f;
    q = q * x + 7.843696e14f;
    q = q * x + 8.952224e16f;
    return q * x + 5.3227864e18f;
}
// `Y1_P`
fn rg_bessel_y1_p(x: f32) -> f32 {
    var q = 1.2632047e9f;
    q = q * x - 6.473559e11f;
    q = q * x + 1.14509516e14f;
    q = q * x - 8.1277027e15f;
    q = q * x + 2.0243947e17f;
    return q * x - 7.788772e17f;
}
// `Y1_Q`
fn rg_bessel_y1_q(x: f32) -> f32 {
    var q = 594.3016f;
    q = q * x + 2.355641e5f;
    q = q * x + 7.348119e7f;
    q = q * x + 1.8760133e10f;
    q = q * x + 3.8823128e12f;
    q = q * x + 6.2055775e14f;
    q = q * x + 6.871411e16f;
    return q * x + 3.9727062e18f;
}
fn rg_i0e(x: f32) -> f32 {
    let a = rg_abs(x);
    if a <= 8.0 { return rg_i0_small(a / 2.0 - 2.0); }
    return rg_i0_large(32.0 / a - 2.0) / sqrt(a);
}
fn rg_i0(x: f32) -> f32 {
    // The exponential alone may be too large.
    let e = rg_exp(0.5 * rg_abs(x));
    return e * rg_i0e(x) * e;
}
fn rg_i1e(x: f32) -> f32 {
    let a = rg_abs(x);
    if a <= 8.0 { return x * rg_i1_small(a / 2.0 - 2.0); }
    return rg_copysign(rg_i1_large(32.0 / a - 2.0) / sqrt(a), x);
}
fn rg_i1(x: f32) -> f32 {
    let e = rg_exp(0.5 * rg_abs(x));
    return e * rg_i1e(x) * e;
}
// Hankel's expansion at x > 5: amplitudes of cos and sin of x - pi/4, or, for order 1, of x - 3 pi/4.
fn rg_bessel_wave_0(x: f32) -> vec2<f32> {
    let z = 25.0 / (x * x);
    return vec2<f32>(rg_bessel_p0_p(z) / rg_bessel_p0_q(z), 5.0 / x * (rg_bessel_q0_p(z) / rg_bessel_q0_q(z)));
}
fn rg_bessel_wave_1(x: f32) -> vec2<f32> {
    let z = 25.0 / (x * x);
    return vec2<f32>(rg_bessel_p1_p(z) / rg_bessel_p1_q(z), 5.0 / x * (rg_bessel_q1_p(z) / rg_bessel_q1_q(z)));
}
// (sin x + cos x, sin x - cos x) sqrt(1 / (pi x)): waves a quarter of pi away without the rounding of a difference.
fn rg_bessel_phase(x: f32) -> vec2<f32> {
    let s = rg_sin(x);
    let c = rg_cos(x);
    return vec2<f32>(s + c, s - c) * (0.56418958f / sqrt(x));
}
fn rg_j0(v: f32) -> f32 {
    let x = rg_abs(v);
    if x <= 5.0 {
        let z = x * x;
        if x < 1e-3 { return 1.0 - z / 4.0; }
        return (z - 5.783185962946784f) * (z - 30.471262343662087f) * rg_bessel_r0_p(z) / rg_bessel_r0_q(z);
    }
    let a = rg_bessel_wave_0(x);
    let w = rg_bessel_phase(x);
    return a.x * w.x - a.y * w.y;
}
fn rg_j1(v: f32) -> f32 {
    let x = rg_abs(v);
    var r: f32;
    if x <= 5.0 {
        let z = x * x;
        r = rg_bessel_r1_p(z) / rg_bessel_r1_q(z) * x * (z - 14.681970642123893f) * (z - 49.2184563216946f);
    } else {
        let a = rg_bessel_wave_1(x);
        let w = rg_bessel_phase(x);
        r = a.x * w.y + a.y * w.x;
    }
    return select(r, -r, v < 0.0);
}
fn rg_y0(x: f32) -> f32 {
    if x == 0.0 { return -rg_inf(); }
    if !(x > 0.0) { return rg_nan(); }
    if x <= 5.0 {
        let z = x * x;
        return rg_bessel_y0_p(z) / rg_bessel_y0_q(z) + 0.63661977f * rg_log(x) * rg_j0(x);
    }
    let a = rg_bessel_wave_0(x);
    let w = rg_bessel_phase(x);
    return a.x * w.y + a.y * w.x;
}
fn rg_y1(x: f32) -> f32 {
    if x == 0.0 { return -rg_inf(); }
    if !(x > 0.0) { return rg_nan(); }
    if x <= 5.0 {
        let z = x * x;
        return x * (rg_bessel_y1_p(z) / rg_bessel_y1_q(z)) + 0.63661977f * (rg_j1(x) * rg_log(x) - 1.0 / x);
    }
    let a = rg_bessel_wave_1(x);
    let w = rg_bessel_phase(x);
    return a.y * w.y - a.x * w.x;
}
