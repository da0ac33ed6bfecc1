// Means and variances in one pass.

//# moments_rows
//: x in float; mean out float32; m2 out float32
//: len u32; inner u32
// Mean and the sum of squared distances from it, for one row (or column) a workgroup: Welford's step, Chan's merge.
var<workgroup> count_s: array<f32, 256>;
var<workgroup> mean_s: array<f32, 256>;
var<workgroup> m2_s: array<f32, 256>;
fn group(g: u32, l: u32) {
    let start = (g / p.inner) * p.len * p.inner + g % p.inner;
    var n = 0.0;
    var m = 0.0;
    var s = 0.0;
    for (var k = l; k < p.len; k += 256u) {
        let v = x_at(start + k * p.inner);
        n += 1.0;
        let d = v - m;
        m += d / n;
        s += d * (v - m);
    }
    count_s[l] = n;
    mean_s[l] = m;
    m2_s[l] = s;
    workgroupBarrier();
    for (var w = 128u; w > 0u; w >>= 1u) {
        if l < w && count_s[l + w] > 0.0 {
            let a = count_s[l];
            let b = count_s[l + w];
            let d = mean_s[l + w] - mean_s[l];
            let f = b / (a + b);
            mean_s[l] += d * f;
            m2_s[l] += m2_s[l + w] + d * d * a * f;
            count_s[l] = a + b;
        }
        workgroupBarrier();
    }
    if l == 0u {
        mean_set(g, mean_s[0]);
        m2_set(g, m2_s[0]);
    }
}

//# moments_columns
//: x in float; mean out float32; m2 out float32
//: len u32; inner u32
// The same by one invocation a column, for short ones.
fn element(i: u32) {
    let start = (i / p.inner) * p.len * p.inner + i % p.inner;
    var n = 0.0;
    var m = 0.0;
    var s = 0.0;
    for (var k = 0u; k < p.len; k++) {
        let v = x_at(start + k * p.inner);
        n += 1.0;
        let d = v - m;
        m += d / n;
        s += d * (v - m);
    }
    mean_set(i, m);
    m2_set(i, s);
}
