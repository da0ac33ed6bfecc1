// Sampling of images at points: along each dimension a coordinate becomes up to four taps; a sample is the sum over the
// product of the taps of its dimensions.

// The taps of one coordinate: elements (OUTSIDE: none), weights, and their derivatives by the coordinate as given.
const OUTSIDE: u32 = 0xffffffffu;
struct Taps { count: u32, index: array<u32, 4>, weight: array<f32, 4>, slope: array<f32, 4> }

fn near(x: f32) -> f32 { return ((1.25 * x - 2.25) * x) * x + 1.0; }
fn far(x: f32) -> f32 { return ((-0.75 * x + 3.75) * x - 6.0) * x + 3.0; }
fn near_slope(x: f32) -> f32 { return (3.75 * x - 4.5) * x; }
fn far_slope(x: f32) -> f32 { return (-2.25 * x + 7.5) * x - 6.0; }

// A coordinate mirrored at `low` and `low + span` until it is between, and the sign of the slope.
fn reflect_at(x: f32, low: f32, span: f32) -> vec2<f32> {
    if span <= 0.0 { return vec2<f32>(0.0, 0.0); }
    let sign = select(1.0, -1.0, x < low);
    let a = rg_abs(x - low);
    let flips = rg_floor(a / span);
    let extra = rg_fmod(a, span);
    if rg_fmod(flips, 2.0) == 0.0 { return vec2<f32>(extra + low, sign); }
    return vec2<f32>(span - extra + low, -sign);
}

// A coordinate moved inside as the padding says, and the slope of the move. NaN moves to zero.
fn bring_inside(x: f32, size: u32) -> vec2<f32> {
    var r = vec2<f32>(x, 1.0);
    if p.padding == 0u { return r; }
    let last = f32(size) - 1.0;
    if p.padding == 2u {
        if p.corners != 0u { r = reflect_at(x, 0.0, last); } else { r = reflect_at(x, -0.5, f32(size)); }
    }
    // The borders themselves have no slope.
    if r.x > 0.0 && r.x < last { return r; }
    if r.x > 0.0 { return vec2<f32>(last, 0.0); }
    return vec2<f32>(0.0, 0.0);
}

fn index_of(x: f32, size: u32) -> u32 {
    if x >= 0.0 && x < f32(size) { return u32(x); }
    return OUTSIDE;
}

fn single() -> Taps {
    var t: Taps;
    t.count = 1u;
    t.weight[0] = 1.0;
    return t;
}

fn taps(coordinate: f32, size: u32) -> Taps {
    var t = single();
    let length = f32(size);
    var x: f32;
    var scale: f32;
    if p.corners != 0u {
        scale = (length - 1.0) * 0.5;
        x = (coordinate + 1.0) * 0.5 * (length - 1.0);
    } else {
        scale = length * 0.5;
        x = ((coordinate + 1.0) * length - 1.0) * 0.5;
    }
    if p.mode == 1u {
        t.index[0] = index_of(rg_round(bring_inside(x, size).x), size);
    } else if p.mode == 0u {
        let r = bring_inside(x, size);
        let low = rg_floor(r.x);
        t.count = 2u;
        t.index[0] = index_of(low, size);
        t.index[1] = index_of(low + 1.0, size);
        t.weight[0] = low + 1.0 - r.x;
        t.weight[1] = r.x - low;
        t.slope[0] = -r.y * scale;
        t.slope[1] = r.y * scale;
    } else {
        let low = rg_floor(x);
        let f = x - low;
        t.count = 4u;
        t.weight[0] = far(f + 1.0);
        t.weight[1] = near(f);
        t.weight[2] = near(1.0 - f);
        t.weight[3] = far(2.0 - f);
        t.slope[0] = far_slope(f + 1.0) * scale;
        t.slope[1] = near_slope(f) * scale;
        t.slope[2] = -near_slope(1.0 - f) * scale;
        t.slope[3] = -far_slope(2.0 - f) * scale;
        for (var i = 0u; i < 4u; i++) {
            t.index[i] = index_of(bring_inside(low + f32(i) - 1.0, size).x, size);
        }
    }
    return t;
}

// The taps along depth, height and width of a point.
struct Point { z: Taps, y: Taps, x: Taps }
fn point(at: u32) -> Point {
    let x = taps(grid_at(at * p.dims), p.n_x);
    let y = taps(grid_at(at * p.dims + 1u), p.n_y);
    if p.dims == 2u { return Point(single(), y, x); }
    return Point(taps(grid_at(at * p.dims + 2u), p.n_z), y, x);
}
fn poisoned(t: Taps) -> bool {
    for (var i = 0u; i < t.count; i++) { if rg_isnan(t.weight[i]) { return true; } }
    return false;
}

//# grid_sample
//: x in float; grid in float; y out float32
//: channels u32; n_z u32; n_y u32; n_x u32; points u32; dims u32; mode u32; padding u32; corners u32
// A point of up to SPAN channels.
const SPAN: u32 = 8u;
fn element(e: u32) {
    let spans = (p.channels + SPAN - 1u) / SPAN;
    let at = e % p.points;
    let image = e / p.points / spans;
    let first = image * p.channels + ((e / p.points) % spans) * SPAN;
    let count = min(SPAN, (image + 1u) * p.channels - first);
    let plane = p.n_z * p.n_y * p.n_x;
    var t = point(image * p.points + at);
    var sums: array<f32, SPAN>;
    for (var i = 0u; i < t.z.count; i++) {
        for (var j = 0u; j < t.y.count; j++) {
            if t.z.index[i] == OUTSIDE || t.y.index[j] == OUTSIDE { continue; }
            let row = first * plane + (t.z.index[i] * p.n_y + t.y.index[j]) * p.n_x;
            for (var k = 0u; k < t.x.count; k++) {
                if t.x.index[k] == OUTSIDE { continue; }
                let w = t.z.weight[i] * t.y.weight[j] * t.x.weight[k];
                for (var c = 0u; c < SPAN; c++) {
                    if c < count { sums[c] += x_at(row + t.x.index[k] + c * plane) * w; }
                }
            }
        }
    }
    // Such a sample is not a number whatever the image holds.
    let bad = poisoned(t.x) || poisoned(t.y) || poisoned(t.z);
    for (var c = 0u; c < SPAN; c++) {
        if c < count { y_set((first + c) * p.points + at, select(sums[c], rg_nan(), bad)); }
    }
}

//# grid_sample_backward_grid
//: x in float; grid in float; g in float; y out float32
//: channels u32; n_z u32; n_y u32; n_x u32; points u32; dims u32; mode u32; padding u32; corners u32
// The gradient of one point.
fn element(e: u32) {
    var t = point(e);
    let image = e / p.points;
    let plane = p.n_z * p.n_y * p.n_x;
    var sums = vec3<f32>();
    for (var i = 0u; i < t.z.count; i++) {
        for (var j = 0u; j < t.y.count; j++) {
            if t.z.index[i] == OUTSIDE || t.y.index[j] == OUTSIDE { continue; }
            for (var k = 0u; k < t.x.count; k++) {
                if t.x.index[k] == OUTSIDE { continue; }
                let at = (t.z.index[i] * p.n_y + t.y.index[j]) * p.n_x + t.x.index[k];
                var dot = 0.0;
                for (var c = image * p.channels; c < (image + 1u) * p.channels; c++) {
                    dot += g_at(c * p.points + e % p.points) * x_at(c * plane + at);
                }
                sums += dot * vec3<f32>(
                    t.z.weight[i] * t.y.weight[j] * t.x.slope[k],
                    t.z.weight[i] * t.y.slope[j] * t.x.weight[k],
                    t.z.slope[i] * t.y.weight[j] * t.x.weight[k]);
            }
        }
    }
    for (var d = 0u; d < p.dims; d++) { y_set(e * p.dims + d, sums[d]); }
}

//# grid_sample_taps
//: grid in float; places out int32; shares out float32
//: each u32; n_z u32; n_y u32; n_x u32; dims u32; mode u32; padding u32; corners u32
// The taps of one point: where they are in a plane (-1: nowhere) and how much they count.
fn element(e: u32) {
    var t = point(e);
    var n = e * p.each;
    for (var i = 0u; i < t.z.count; i++) {
        for (var j = 0u; j < t.y.count; j++) {
            for (var k = 0u; k < t.x.count; k++) {
                let inside = t.z.index[i] != OUTSIDE && t.y.index[j] != OUTSIDE && t.x.index[k] != OUTSIDE;
                let at = (t.z.index[i] * p.n_y + t.y.index[j]) * p.n_x + t.x.index[k];
                places_set(n, select(-1, i32(at), inside));
                shares_set(n, t.z.weight[i] * t.y.weight[j] * t.x.weight[k]);
                n++;
            }
        }
    }
}
