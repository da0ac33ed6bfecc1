// Means and variances: Welford's step for an element; parts are joined. A tensor is outer x len x inner; as in
// reduce.wgsl, long columns are cut into chunks of a fixed size, which are joined in order.

fn add(a: rg_Moments, v: f32) -> rg_Moments {
    let n = a.n + 1.0;
    let d = v - a.mean;
    let mean = a.mean + d / n;
    return rg_Moments(n, mean, a.m2 + d * (v - mean));
}

//# moments_rows
//: x in float; mean out float32; m2 out float32
//: len u32; chunk u32; chunks u32
// Mean and sum of squared distances from it of one chunk of one row, by one workgroup.
fn group(g: u32, l: u32) {
    let row = (g / p.chunks) * p.len;
    let first = (g % p.chunks) * p.chunk;
    let last = min(first + p.chunk, p.len);
    var a = rg_Moments(0.0, 0.0, 0.0);
    for (var k = first + l; k < last; k += 256u) { a = add(a, x_at(row + k)); }
    a = rg_together(a, l);
    if l == 0u {
        mean_set(g, a.mean);
        m2_set(g, a.m2);
    }
}

//# moments_columns
//: x in float; mean out float32; m2 out float32
//: len u32; inner u32; chunk u32; chunks u32
// The same of one chunk of one column, by one invocation.
fn element(i: u32) {
    let c = (i / p.inner) % p.chunks;
    let start = (i / p.inner / p.chunks) * p.len * p.inner + i % p.inner;
    let last = min((c + 1u) * p.chunk, p.len);
    var a = rg_Moments(0.0, 0.0, 0.0);
    for (var k = c * p.chunk; k < last; k++) { a = add(a, x_at(start + k * p.inner)); }
    mean_set(i, a.mean);
    m2_set(i, a.m2);
}

//# moments_join
//: means in float32; m2s in float32; mean out float32; m2 out float32
//: len u32; inner u32; chunk u32; chunks u32
// One column's moments from those of its chunks, by one workgroup.
fn group(g: u32, l: u32) {
    let start = (g / p.inner) * p.chunks * p.inner + g % p.inner;
    var a = rg_Moments(0.0, 0.0, 0.0);
    for (var c = l; c < p.chunks; c += 256u) {
        let n = min((c + 1u) * p.chunk, p.len) - c * p.chunk;
        let i = start + c * p.inner;
        a = rg_join(a, rg_Moments(f32(n), means_at(i), m2s_at(i)));
    }
    a = rg_together(a, l);
    if l == 0u {
        mean_set(g, a.mean);
        m2_set(g, a.m2);
    }
}
