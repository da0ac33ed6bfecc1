//! Singular value decomposition of small matrices by implicit QR sweeps over a bidiagonal form (Golub and
//! Kahan; Demmel and Kahan). The order of the steps is LAPACK's, so that the signs of the vectors are too.

use super::{house, q_columns, qr};

/// Up to this many singular values LAPACK takes this way.
pub const LARGEST: usize = 25;

const EPS: f64 = f64::EPSILON / 2.0;

/// A row-major matrix.
struct Rows {
    data: Vec<f64>,
    cols: usize,
}

impl Rows {
    fn zeros(rows: usize, cols: usize) -> Rows {
        Rows { data: vec![0.0; rows * cols], cols }
    }
    fn identity(n: usize) -> Rows {
        let mut out = Rows::zeros(n, n);
        (0..n).for_each(|i| out.data[i * n + i] = 1.0);
        out
    }
    fn at(&mut self, i: usize, j: usize) -> &mut f64 {
        &mut self.data[i * self.cols + j]
    }
    fn get(&self, i: usize, j: usize) -> f64 {
        self.data[i * self.cols + j]
    }
    fn rows(&self) -> usize {
        if self.cols == 0 { 0 } else { self.data.len() / self.cols }
    }
    fn turned(&self) -> Rows {
        let (m, n) = (self.rows(), self.cols);
        let mut out = Rows::zeros(n, m);
        for i in 0..m {
            for j in 0..n {
                *out.at(j, i) = self.get(i, j);
            }
        }
        out
    }
    /// (I - tau v v^T) applied to rows `r..` of columns `c..`.
    fn reflect_rows(&mut self, v: &[f64], tau: f64, r: usize, c: usize) {
        for j in c..self.cols {
            let mut sum = 0.0;
            for (i, v) in v.iter().enumerate() {
                sum += v * self.get(r + i, j);
            }
            for (i, v) in v.iter().enumerate() {
                *self.at(r + i, j) -= tau * sum * v;
            }
        }
    }
    /// (I - tau v v^T) applied from the right to columns `c..` of rows `r..`.
    fn reflect_columns(&mut self, v: &[f64], tau: f64, r: usize, c: usize) {
        for i in r..self.rows() {
            let row = &mut self.data[i * self.cols + c..i * self.cols + c + v.len()];
            let sum: f64 = row.iter().zip(v).map(|(x, v)| x * v).sum();
            row.iter_mut().zip(v).for_each(|(x, v)| *x -= tau * sum * v);
        }
    }
}

/// A reflection: where its vector starts, the vector, its factor.
type Reflection = (usize, Vec<f64>, f64);

/// The bidiagonal form of `a`, upper or lower, with the reflections of the rows and of the columns.
fn bidiagonal(mut a: Rows, upper: bool, d: &mut [f64], e: &mut [f64]) -> (Vec<Reflection>, Vec<Reflection>) {
    let (m, n) = (a.rows(), a.cols);
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for i in 0..m.min(n) {
        for first in [true, false] {
            // The first step of the pair makes d, the second e.
            if first == upper {
                let r = if upper { i } else { i + 1 };
                if r >= m {
                    continue;
                }
                let mut v: Vec<f64> = (r..m).map(|k| a.get(k, i)).collect();
                let (beta, tau) = house(&mut v);
                v[0] = 1.0;
                a.reflect_rows(&v, tau, r, i + 1);
                if upper {
                    d[i] = beta
                } else {
                    e[i] = beta
                }
                left.push((r, v, tau));
            } else {
                let c = if upper { i + 1 } else { i };
                if c >= n {
                    continue;
                }
                let mut v: Vec<f64> = (c..n).map(|k| a.get(i, k)).collect();
                let (beta, tau) = house(&mut v);
                v[0] = 1.0;
                a.reflect_columns(&v, tau, i + 1, c);
                if upper {
                    e[i] = beta
                } else {
                    d[i] = beta
                }
                right.push((c, v, tau));
            }
        }
    }
    (left, right)
}

/// A rotation that turns (f, g) into (r, 0): cosine, sine, r.
fn rotation(f: f64, g: f64) -> (f64, f64, f64) {
    if g == 0.0 {
        (1.0, 0.0, f)
    } else if f == 0.0 {
        (0.0, 1f64.copysign(g), g.abs())
    } else {
        let r = f.hypot(g).copysign(f);
        (f / r, g / r, r)
    }
}

/// The smaller singular value of [[f, g], [0, h]].
fn smaller(f: f64, g: f64, h: f64) -> f64 {
    let (low, high, g) = (f.abs().min(h.abs()), f.abs().max(h.abs()), g.abs());
    if low == 0.0 {
        return 0.0;
    }
    let (s, t) = (1.0 + low / high, (high - low) / high);
    if g < high {
        let u = (g / high).powi(2);
        low * (2.0 / ((s * s + u).sqrt() + (t * t + u).sqrt()))
    } else {
        let u = high / g;
        if u == 0.0 {
            return low * high / g;
        }
        let c = 1.0 / ((1.0 + (s * u).powi(2)).sqrt() + (1.0 + (t * u).powi(2)).sqrt());
        low * c * u * 2.0
    }
}

/// The decomposition of [[f, g], [0, h]]: smaller and larger value (with signs), then sine and cosine of the
/// right and of the left rotation.
fn two_by_two(f: f64, g: f64, h: f64) -> [f64; 6] {
    let sign = |x: f64| 1f64.copysign(x);
    let swap = h.abs() > f.abs();
    let (ft, ht) = if swap { (h, f) } else { (f, h) };
    let (fa, ha, ga) = (ft.abs(), ht.abs(), g.abs());
    let mut largest = if swap { 3 } else { 1 };
    let (mut low, mut high, clt, crt, slt, srt);
    if ga == 0.0 {
        (low, high, clt, crt, slt, srt) = (ha, fa, 1.0, 1.0, 0.0, 0.0);
    } else {
        if ga > fa {
            largest = 2;
        }
        if ga > fa && fa / ga < EPS {
            high = ga;
            low = if ha > 1.0 { fa / (ga / ha) } else { fa / ga * ha };
            (clt, slt, srt, crt) = (1.0, ht / g, 1.0, ft / g);
        } else {
            let d = fa - ha;
            let l = if d == fa { 1.0 } else { d / fa };
            let m = g / ft;
            let t = 2.0 - l;
            let (mm, tt) = (m * m, t * t);
            let s = (tt + mm).sqrt();
            let r = if l == 0.0 { m.abs() } else { (l * l + mm).sqrt() };
            let a = 0.5 * (s + r);
            (low, high) = (ha / a, fa * a);
            let t = if mm != 0.0 {
                (m / (s + t) + m / (r + l)) * (1.0 + a)
            } else if l == 0.0 {
                2.0 * sign(ft) * sign(g)
            } else {
                g / d.copysign(ft) + m / t
            };
            let l = (t * t + 4.0).sqrt();
            crt = 2.0 / l;
            srt = t / l;
            clt = (crt + srt * m) / a;
            slt = ht / ft * srt / a;
        }
    }
    let (csl, snl, csr, snr) = if swap { (srt, crt, slt, clt) } else { (clt, slt, crt, srt) };
    let s = match largest {
        1 => sign(csr) * sign(csl) * sign(f),
        2 => sign(snr) * sign(csl) * sign(g),
        _ => sign(snr) * sign(snl) * sign(h),
    };
    high = high.copysign(s);
    low = low.copysign(s * sign(f) * sign(h));
    [low, high, snr, csr, snl, csl]
}

/// Rotates lines j and j + 1 of `a` (rows, or columns where `columns`).
fn rotate(a: &mut Rows, columns: bool, j: usize, c: f64, s: f64) {
    let n = if columns { a.rows() } else { a.cols };
    for i in 0..n {
        let (p, q) = if columns { (i * a.cols + j, i * a.cols + j + 1) } else { (j * a.cols + i, (j + 1) * a.cols + i) };
        let t = a.data[q];
        a.data[q] = c * t - s * a.data[p];
        a.data[p] = s * t + c * a.data[p];
    }
}

/// Diagonalises an upper bidiagonal matrix; `vt` gets the rotations of the columns, `u` those of the rows.
/// False where it does not converge.
fn sweep(d: &mut [f64], e: &mut [f64], vt: &mut Rows, u: &mut Rows) -> bool {
    let n = d.len();
    let tol = EPS.powf(-0.125).clamp(10.0, 100.0) * EPS;
    let mut low = d[0].abs();
    let mut mu = low;
    for i in 1..n {
        if low == 0.0 {
            break;
        }
        mu = d[i].abs() * (mu / (mu + e[i - 1].abs()));
        low = low.min(mu);
    }
    let thresh = (tol * (low / (n as f64).sqrt())).max(6.0 * (n as f64 * (n as f64 * f64::MIN_POSITIVE)));
    let (mut old_start, mut old_end) = (usize::MAX, 0usize);
    let mut down = true;
    let mut end = n; // one past the block
    let mut budget = 6 * n * n + 100;
    'outer: while end > 1 {
        let m = end - 1;
        let mut top = d[m].abs();
        let mut start = 0;
        for k in (0..m).rev() {
            if e[k].abs() <= thresh {
                e[k] = 0.0;
                if k == m - 1 {
                    end -= 1;
                    continue 'outer;
                }
                start = k + 1;
                break;
            }
            top = top.max(d[k].abs()).max(e[k].abs());
        }
        if start == m - 1 {
            let [lo, hi, snr, csr, snl, csl] = two_by_two(d[m - 1], e[m - 1], d[m]);
            (d[m - 1], e[m - 1], d[m]) = (hi, 0.0, lo);
            rotate(vt, false, m - 1, csr, snr);
            rotate(u, true, m - 1, csl, snl);
            end -= 2;
            continue;
        }
        if budget < m - start {
            return false;
        }
        budget -= m - start;
        // A new block is swept from its larger end to its smaller.
        if old_start == usize::MAX || start > old_end || m < old_start {
            down = d[start].abs() >= d[m].abs();
        }
        let mut least;
        if down {
            if e[m - 1].abs() <= tol * d[m].abs() {
                e[m - 1] = 0.0;
                continue;
            }
            let mut mu = d[start].abs();
            least = mu;
            for k in start..m {
                if e[k].abs() <= tol * mu {
                    e[k] = 0.0;
                    continue 'outer;
                }
                mu = d[k + 1].abs() * (mu / (mu + e[k].abs()));
                least = least.min(mu);
            }
        } else {
            if e[start].abs() <= tol * d[start].abs() {
                e[start] = 0.0;
                continue;
            }
            let mut mu = d[m].abs();
            least = mu;
            for k in (start..m).rev() {
                if e[k].abs() <= tol * mu {
                    e[k] = 0.0;
                    continue 'outer;
                }
                mu = d[k].abs() * (mu / (mu + e[k].abs()));
                least = least.min(mu);
            }
        }
        (old_start, old_end) = (start, m);
        let mut shift = 0.0;
        if n as f64 * tol * (least / top) > EPS.max(0.01 * tol) {
            let first = if down { d[start].abs() } else { d[m].abs() };
            shift = if down { smaller(d[m - 1], e[m - 1], d[m]) } else { smaller(d[start], e[start], d[start + 1]) };
            if first > 0.0 && (shift / first).powi(2) < EPS {
                shift = 0.0;
            }
        }
        step(d, e, vt, u, (start, m), shift, down);
        let last = if down { m - 1 } else { start };
        if e[last].abs() <= thresh {
            e[last] = 0.0;
        }
    }
    true
}

/// One sweep over a block, down or up.
fn step(d: &mut [f64], e: &mut [f64], vt: &mut Rows, u: &mut Rows, (start, m): (usize, usize), shift: f64, down: bool) {
    // The rotations that make zeros in e, and those that restore the form, in the order they are made.
    let mut list: Vec<(usize, [f64; 2], [f64; 2])> = Vec::with_capacity(m - start);
    if shift == 0.0 {
        let (mut cs, mut old_cs, mut old_sn) = (1.0, 1.0, 0.0);
        for k in 0..m - start {
            let (i, next, between) = if down { (start + k, start + k + 1, start + k) } else { (m - k, m - k - 1, m - k - 1) };
            let (c, sn, r) = rotation(d[i] * cs, e[between]);
            cs = c;
            if k > 0 {
                e[if down { between - 1 } else { between + 1 }] = old_sn * r;
            }
            let (oc, os, di) = rotation(old_cs * r, d[next] * sn);
            (old_cs, old_sn, d[i]) = (oc, os, di);
            list.push((i, [cs, sn], [old_cs, old_sn]));
        }
        let (last, edge) = if down { (m, m - 1) } else { (start, start) };
        let h = d[last] * cs;
        d[last] = h * old_cs;
        e[edge] = h * old_sn;
    } else {
        let first = if down { start } else { m };
        let mut f = (d[first].abs() - shift) * (1f64.copysign(d[first]) + shift / d[first]);
        let mut g = if down { e[start] } else { e[m - 1] };
        for k in 0..m - start {
            let (i, next, between) = if down { (start + k, start + k + 1, start + k) } else { (m - k, m - k - 1, m - k - 1) };
            let (cr, sr, r) = rotation(f, g);
            if k > 0 {
                e[if down { between - 1 } else { between + 1 }] = r;
            }
            f = cr * d[i] + sr * e[between];
            e[between] = cr * e[between] - sr * d[i];
            g = sr * d[next];
            d[next] *= cr;
            let (cl, sl, r) = rotation(f, g);
            d[i] = r;
            f = cl * e[between] + sl * d[next];
            d[next] = cl * d[next] - sl * e[between];
            if k + 1 < m - start {
                let beyond = if down { between + 1 } else { between - 1 };
                g = sl * e[beyond];
                e[beyond] *= cl;
            }
            list.push((i, [cr, sr], [cl, sl]));
        }
        e[if down { m - 1 } else { start }] = f;
    }
    for (i, a, b) in list {
        if down {
            rotate(vt, false, i, a[0], a[1]);
            rotate(u, true, i, b[0], b[1]);
        } else {
            rotate(vt, false, i - 1, b[0], -b[1]);
            rotate(u, true, i - 1, a[0], -a[1]);
        }
    }
}

/// U S V^T of an (m, n) matrix, as [`super::svd`]; false where the sweeps do not converge.
pub fn svd(m: usize, n: usize, a: &[f64], full: bool, u: &mut [f64], s: &mut [f64], vt: &mut [f64]) -> bool {
    let k = m.min(n);
    if k == 0 {
        return false;
    }
    let a = Rows { data: a.to_vec(), cols: n };
    // Far more rows than columns (or the other way round): first a triangle.
    let wide = m < n;
    // The bounds (11/6 and 3/2) are those of the libraries PyTorch is built with.
    let long = if wide { 6 * n >= 11 * k - 11 * k % 6 } else { 2 * m >= 3 * k - k % 2 };
    let mut outer = None;
    let core = if long {
        let mut tall = if wide { a.data.clone() } else { a.turned().data };
        let len = m.max(n);
        let mut tau = vec![0.0; k];
        qr(len, k, &mut tall, &mut tau);
        let mut r = Rows::zeros(k, k);
        for j in 0..k {
            for i in 0..=j {
                *r.at(i, j) = tall[j * len + i];
            }
        }
        outer = Some(Rows { data: q_columns(len, &tall, &tau, if full { len } else { k }), cols: len });
        if wide { r.turned() } else { r }
    } else {
        a
    };
    let (rows, cols) = (core.rows(), core.cols);
    let (mut d, mut e) = (vec![0.0; k], vec![0.0; k]);
    let (left, right) = bidiagonal(core, !wide, &mut d, &mut e);
    let (mut ub, mut vb) = (Rows::identity(k), Rows::identity(k));
    // A lower bidiagonal form is rotated to an upper one.
    let lower = wide;
    let mut turns = Vec::new();
    if k == 1 {
        ub.data[0] = 1f64.copysign(d[0]);
        d[0] = d[0].abs();
    } else {
        if lower {
            for i in 0..k - 1 {
                let (c, sn, r) = rotation(d[i], e[i]);
                d[i] = r;
                e[i] = sn * d[i + 1];
                d[i + 1] *= c;
                turns.push((c, -sn));
            }
        }
        if !sweep(&mut d, &mut e, &mut vb, &mut ub) {
            return false;
        }
    }
    for i in 0..k {
        if d[i] < 0.0 || (d[i] == 0.0 && d[i].is_sign_negative()) {
            d[i] = -d[i];
            vb.data[i * k..(i + 1) * k].iter_mut().for_each(|v| *v = -*v);
        }
    }
    // Falling order, moving the smallest to the end.
    for last in (1..k).rev() {
        let mut at = 0;
        for j in 1..=last {
            if d[j] <= d[at] {
                at = j;
            }
        }
        if at != last {
            d.swap(at, last);
            for j in 0..k {
                vb.data.swap(at * k + j, last * k + j);
                ub.data.swap(j * k + at, j * k + last);
            }
        }
    }
    for (j, &(c, sn)) in turns.iter().enumerate().rev() {
        rotate(&mut ub, false, j, c, sn);
    }
    s.copy_from_slice(&d);
    // The small vectors inside larger identities, under the reflections.
    let lift = |small: &Rows, size: usize, width: usize, list: &[Reflection]| -> Rows {
        let mut out = Rows::zeros(size, width);
        for i in 0..size {
            for j in 0..width {
                *out.at(i, j) = if i < k && j < k {
                    small.get(i, j)
                } else if i == j {
                    1.0
                } else {
                    0.0
                };
            }
        }
        for (at, v, tau) in list.iter().rev() {
            out.reflect_rows(v, *tau, *at, 0);
        }
        out
    };
    let vs = vb.turned();
    let side = |small: &Rows, size: usize, whole: usize, list: &[Reflection], factored: bool| -> Rows {
        let width = if full { whole } else { k };
        let inside = lift(small, size, if factored { k } else { width }, list);
        match (&outer, factored) {
            (Some(q), true) => {
                // q holds its columns one after the other.
                let mut out = Rows::zeros(whole, width);
                for i in 0..whole {
                    for j in 0..width {
                        *out.at(i, j) = if j < k { (0..k).map(|p| q.get(p, i) * inside.get(p, j)).sum() } else { q.get(j, i) };
                    }
                }
                out
            }
            _ => inside,
        }
    };
    let left_side = side(&ub, rows, m, &left, long && !wide);
    let right_side = side(&vs, cols, n, &right, long && wide);
    u.copy_from_slice(&left_side.data);
    vt.copy_from_slice(&right_side.turned().data);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reproduces_the_matrix() {
        for (m, n) in [(1, 1), (3, 3), (9, 4), (4, 9), (5, 4), (4, 5), (20, 20)] {
            let a: Vec<f64> = (0..m * n).map(|i| ((i * i * 7 + 3 * i) % 23) as f64 - 11.0).collect();
            let k = m.min(n);
            let (mut u, mut s, mut vt) = (vec![0.0; m * k], vec![0.0; k], vec![0.0; k * n]);
            assert!(svd(m, n, &a, false, &mut u, &mut s, &mut vt));
            assert!(s.windows(2).all(|w| w[0] >= w[1]));
            for i in 0..m {
                for j in 0..n {
                    let x: f64 = (0..k).map(|p| u[i * k + p] * s[p] * vt[p * n + j]).sum();
                    assert!((x - a[i * n + j]).abs() < 1e-10);
                }
            }
        }
    }
}
