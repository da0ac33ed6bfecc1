// The image's side of sampling at points.

//# grid_sample_backward_input
//: places in int32; shares in float32; g in float; y inout float32
//: channels u32; plane u32; points u32; each u32; skip u32; count u32
//: OWNERS = 256 8
// A workgroup adds up the gradient of one plane. It goes through the taps in order, a part at a time; each element of the
// plane belongs to one invocation. Every owner looks at every tap: many of them hide the latency of a GPU's memory, where
// they run in step; few are less work for a software adapter.
var<workgroup> at_s: array<i32, 1024>;
var<workgroup> share_s: array<f32, 1024>;
fn group(gr: u32, l: u32) {
    let base = gr * p.plane;
    let start = (gr / p.channels) * p.points * p.each;
    let end = p.skip + p.count;
    for (var first = p.skip; first < end; first += 1024u) {
        let many = min(1024u, end - first);
        workgroupBarrier();
        for (var k = l; k < many; k += 256u) {
            at_s[k] = places_at(start + first + k);
            share_s[k] = shares_at(start + first + k) * g_at(gr * p.points + (first + k) / p.each);
        }
        workgroupBarrier();
        if l < $OWNERSu {
            for (var k = 0u; k < many; k++) {
                let at = at_s[k];
                if at >= 0 && u32(at) % $OWNERSu == l { y_set(base + u32(at), y_at(base + u32(at)) + share_s[k]); }
            }
        }
    }
}
