// Elements kept or dropped by where they lie.

//# triangle
//: x in any; y out any
//: rows u32; cols u32; unit u32; diagonal i32; lower u32
fn element(i: u32) {
    let c = i32((i / p.unit) % p.cols);
    let r = i32((i / (p.unit * p.cols)) % p.rows);
    let keep = select(c - r >= p.diagonal, c - r <= p.diagonal, p.lower != 0u);
    y_set(i, select(y_t(0), y_t(x_at(i)), keep));
}
