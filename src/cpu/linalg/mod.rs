//! Factorisations of row-major f64 matrices. Recursion turns most of the work into matrix products, and
//! nothing depends on the number of threads.

mod small_svd;
mod spectral;

pub use spectral::{eigen, eigen_symmetric, eigenvalues, eigenvalues_symmetric, singular_values, svd};

use super::gemm;

/// Sizes below which a recursion ends in plain loops.
const BASE: usize = 24;

/// A matrix inside other memory: address, row stride, column stride.
#[derive(Clone, Copy)]
pub struct View {
    ptr: *mut f64,
    rs: isize,
    cs: isize,
}

impl View {
    /// The whole of a row-major slice with `cols` columns.
    pub fn rows(data: &mut [f64], cols: usize) -> View {
        View { ptr: data.as_mut_ptr(), rs: cols as isize, cs: 1 }
    }

    /// The transposed matrix.
    pub fn t(self) -> View {
        View { ptr: self.ptr, rs: self.cs, cs: self.rs }
    }

    fn part(self, i: usize, j: usize) -> View {
        View { ptr: self.at(i, j), ..self }
    }

    fn at(self, i: usize, j: usize) -> *mut f64 {
        self.ptr.wrapping_offset(i as isize * self.rs + j as isize * self.cs)
    }

    /// # Safety
    /// The element lies inside the matrix, which is alive.
    unsafe fn get(self, i: usize, j: usize) -> f64 {
        // SAFETY: by the caller.
        unsafe { *self.at(i, j) }
    }

    /// # Safety
    /// As for `get`, and nobody else holds a reference to the element.
    unsafe fn set(self, i: usize, j: usize, v: f64) {
        // SAFETY: by the caller.
        unsafe { *self.at(i, j) = v }
    }
}

/// `c -= a @ b` for (m, k) and (k, n).
///
/// # Safety
/// The matrices are alive and `c` overlaps neither of the others.
unsafe fn subtract_product(m: usize, n: usize, k: usize, a: View, b: View, c: View) {
    let mut minus = vec![0.0; m * k];
    for i in 0..m {
        for p in 0..k {
            // SAFETY: by the caller.
            minus[i * k + p] = -unsafe { a.get(i, p) };
        }
    }
    // SAFETY: by the caller.
    unsafe { gemm::gemm::<f64>(m, n, k, minus.as_ptr(), k as isize, 1, b.ptr, b.rs, b.cs, c.ptr, c.rs, c.cs, true) }
}

/// Solves `a x = b` for triangular `a` (n, n), writing x over `b` (n, cols). A zero on the diagonal gives
/// infinities and NaN, as the division does.
///
/// # Safety
/// The matrices are alive, of those sizes, and do not overlap.
pub unsafe fn solve_triangular(n: usize, cols: usize, a: View, upper: bool, unit: bool, b: View) {
    // SAFETY: by the caller, for all parts below.
    unsafe {
        if n <= BASE {
            for step in 0..n {
                let i = if upper { n - 1 - step } else { step };
                let others = if upper { i + 1..n } else { 0..i };
                for p in others {
                    let f = a.get(i, p);
                    if f != 0.0 {
                        for j in 0..cols {
                            b.set(i, j, b.get(i, j) - f * b.get(p, j));
                        }
                    }
                }
                if !unit {
                    let d = a.get(i, i);
                    for j in 0..cols {
                        b.set(i, j, b.get(i, j) / d);
                    }
                }
            }
            return;
        }
        let h = n / 2;
        let (low, high) = (b, b.part(h, 0));
        if upper {
            solve_triangular(n - h, cols, a.part(h, h), upper, unit, high);
            subtract_product(h, cols, n - h, a.part(0, h), high, low);
            solve_triangular(h, cols, a, upper, unit, low);
        } else {
            solve_triangular(h, cols, a, upper, unit, low);
            subtract_product(n - h, cols, h, a.part(h, 0), low, high);
            solve_triangular(n - h, cols, a.part(h, h), upper, unit, high);
        }
    }
}

/// The Cholesky factor of the symmetric matrix whose lower triangle is in `a`, written over that triangle.
/// Answers 0, or the order of the first leading minor that is not positive.
///
/// # Safety
/// `a` is a live (n, n) matrix.
pub unsafe fn cholesky(n: usize, a: View) -> usize {
    // SAFETY: by the caller, for all parts below.
    unsafe {
        if n <= BASE {
            for j in 0..n {
                let mut d = a.get(j, j);
                for p in 0..j {
                    d -= a.get(j, p) * a.get(j, p);
                }
                if d.is_nan() || d <= 0.0 {
                    return j + 1;
                }
                let d = d.sqrt();
                a.set(j, j, d);
                for i in j + 1..n {
                    let mut v = a.get(i, j);
                    for p in 0..j {
                        v -= a.get(i, p) * a.get(j, p);
                    }
                    a.set(i, j, v / d);
                }
            }
            return 0;
        }
        let h = n / 2;
        let info = cholesky(h, a);
        if info != 0 {
            return info;
        }
        let below = a.part(h, 0);
        solve_triangular(h, n - h, a, false, false, below.t());
        // The upper triangle of the rest is overwritten too; nobody reads it.
        subtract_product(n - h, n - h, h, below, below.t(), a.part(h, h));
        match cholesky(n - h, a.part(h, h)) {
            0 => 0,
            info => h + info,
        }
    }
}

unsafe fn swap_rows(a: View, cols: usize, i: usize, j: usize) {
    if i != j {
        for c in 0..cols {
            // SAFETY: rows of the matrix by the caller's promise.
            unsafe { std::ptr::swap(a.at(i, c), a.at(j, c)) };
        }
    }
}

/// `P L U` of an (m, n) matrix in place, with row exchanges: step `i` exchanged rows `i` and `pivots[i]`
/// (counted from 0). Answers 0, or one more than the first position with a zero pivot.
///
/// # Safety
/// `a` is a live (m, n) matrix.
pub unsafe fn lu(m: usize, n: usize, a: View, pivots: &mut [usize]) -> usize {
    // SAFETY: by the caller, for all parts below.
    unsafe {
        if n == 1 || n.min(m) == 1 || n <= 4 {
            let mut info = 0;
            for j in 0..n.min(m) {
                let (mut best, mut at) = (a.get(j, j).abs(), j);
                for i in j + 1..m {
                    let v = a.get(i, j).abs();
                    if v > best {
                        (best, at) = (v, i);
                    }
                }
                pivots[j] = at;
                swap_rows(a, n, j, at);
                let d = a.get(j, j);
                if d == 0.0 {
                    if info == 0 {
                        info = j + 1;
                    }
                    continue;
                }
                for i in j + 1..m {
                    let f = a.get(i, j) / d;
                    a.set(i, j, f);
                    if f != 0.0 {
                        for c in j + 1..n {
                            a.set(i, c, a.get(i, c) - f * a.get(j, c));
                        }
                    }
                }
            }
            return info;
        }
        let k = m.min(n);
        let h = k / 2;
        let right = a.part(0, h);
        let mut info = lu(m, h, a, &mut pivots[..h]);
        for i in 0..h {
            swap_rows(right, n - h, i, pivots[i]);
        }
        solve_triangular(h, n - h, a, false, true, right);
        let rest = a.part(h, h);
        subtract_product(m - h, n - h, h, a.part(h, 0), right, rest);
        let second = lu(m - h, n - h, rest, &mut pivots[h..k]);
        if info == 0 && second != 0 {
            info = h + second;
        }
        for i in h..k {
            pivots[i] += h;
            swap_rows(a, h, i, pivots[i]);
        }
        info
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 4];
    let (ca, cb) = (a.chunks_exact(4), b.chunks_exact(4));
    let tail: f64 = ca.remainder().iter().zip(cb.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in ca.zip(cb) {
        for l in 0..4 {
            lanes[l] += x[l] * y[l];
        }
    }
    (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]) + tail
}

/// The reflection that turns `x` into a multiple of the first unit vector: answers that multiple and the
/// factor of the reflection; the vector (without its leading 1) replaces the rest of `x`.
fn house(x: &mut [f64]) -> (f64, f64) {
    let alpha = x[0];
    // Scaled, so that squares neither overflow nor vanish.
    let scale = x[1..].iter().fold(0.0f64, |s, v| s.max(v.abs()));
    let tail = if scale == 0.0 || !scale.is_finite() {
        if x[1..].iter().any(|v| !v.is_finite()) { f64::NAN } else { 0.0 }
    } else {
        scale * x[1..].iter().map(|v| (v / scale) * (v / scale)).sum::<f64>().sqrt()
    };
    // LAPACK's convention: nothing to annihilate means no reflection.
    if tail == 0.0 {
        return (alpha, 0.0);
    }
    let beta = -alpha.hypot(tail).copysign(alpha);
    for v in &mut x[1..] {
        *v /= alpha - beta;
    }
    (beta, (beta - alpha) / beta)
}

/// Householder QR of a matrix given by its columns (`cols` of `m` elements, one after the other): R above
/// and on the diagonal, the reflectors' vectors below it (without the leading 1), their factors in `tau`.
pub fn qr(m: usize, cols: usize, a: &mut [f64], tau: &mut [f64]) {
    for k in 0..m.min(cols) {
        let (head, rest) = a.split_at_mut((k + 1) * m);
        let x = &mut head[k * m + k..];
        let beta;
        (beta, tau[k]) = house(x);
        if tau[k] == 0.0 {
            continue;
        }
        x[0] = 1.0;
        for c in rest.chunks_exact_mut(m) {
            reflect(x, tau[k], &mut c[k..]);
        }
        x[0] = beta;
    }
}

fn reflect(v: &[f64], tau: f64, c: &mut [f64]) {
    let f = tau * dot(v, c);
    for (c, v) in c.iter_mut().zip(v) {
        *c -= f * v;
    }
}

/// The first `cols` columns of the orthogonal matrix of [`qr`]'s reflectors (columns of `m` elements).
pub fn q_columns(m: usize, reflectors: &[f64], tau: &[f64], cols: usize) -> Vec<f64> {
    let mut q = vec![0.0; m * cols];
    for j in 0..cols.min(m) {
        q[j * m + j] = 1.0;
    }
    let mut v = vec![0.0; m];
    for k in (0..tau.len()).rev() {
        v[k] = 1.0;
        v[k + 1..].copy_from_slice(&reflectors[k * m + k + 1..(k + 1) * m]);
        // Columns before k are still unit vectors above the reflection.
        for c in q.chunks_exact_mut(m.max(1)).skip(k) {
            reflect(&v[k..], tau[k], &mut c[k..]);
        }
    }
    q
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(m: usize, n: usize) -> Vec<f64> {
        let mut s = 12345u64;
        let mut next = || {
            s = s.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (s >> 11) as f64 / (1u64 << 53) as f64 - 0.5
        };
        (0..m * n).map(|_| next()).collect()
    }

    #[test]
    fn lu_reproduces_the_matrix() {
        for (m, n) in [(1, 1), (5, 5), (60, 60), (70, 33), (33, 70), (4, 9)] {
            let a = sample(m, n);
            let mut f = a.clone();
            let k = m.min(n);
            let mut piv = vec![0; k];
            // SAFETY: a matrix of that size.
            let info = unsafe { lu(m, n, View::rows(&mut f, n), &mut piv) };
            assert_eq!(info, 0);
            let mut p = a.clone();
            for i in 0..k {
                for c in 0..n {
                    p.swap(i * n + c, piv[i] * n + c);
                }
            }
            for i in 0..m {
                for j in 0..n {
                    let mut s = 0.0;
                    for q in 0..=i.min(j).min(k - 1) {
                        s += if q == i { 1.0 } else { f[i * n + q] } * f[q * n + j];
                    }
                    assert!((s - p[i * n + j]).abs() < 1e-11);
                }
            }
        }
    }

    #[test]
    fn cholesky_reproduces_the_matrix() {
        for n in [1, 7, 61] {
            let b = sample(n, n);
            let mut a = vec![0.0; n * n];
            for i in 0..n {
                for j in 0..n {
                    a[i * n + j] = dot(&b[i * n..(i + 1) * n], &b[j * n..(j + 1) * n]) + if i == j { 1.0 } else { 0.0 };
                }
            }
            let mut f = a.clone();
            // SAFETY: a matrix of that size.
            assert_eq!(unsafe { cholesky(n, View::rows(&mut f, n)) }, 0);
            for i in 0..n {
                for j in 0..=i {
                    let s = dot(&f[i * n..i * n + j + 1], &f[j * n..j * n + j + 1]);
                    assert!((s - a[i * n + j]).abs() < 1e-10);
                }
            }
        }
    }

    #[test]
    fn qr_is_orthogonal_and_reproduces() {
        for (m, n) in [(6, 4), (4, 6), (5, 5)] {
            let a = sample(n, m);
            let mut f = a.clone();
            let k = m.min(n);
            let mut tau = vec![0.0; k];
            qr(m, n, &mut f, &mut tau);
            let q = q_columns(m, &f, &tau, k);
            for j in 0..n {
                for i in 0..m {
                    let s: f64 = (0..=j.min(k - 1)).map(|p| q[p * m + i] * f[j * m + p]).sum();
                    assert!((s - a[j * m + i]).abs() < 1e-12);
                }
            }
        }
    }
}
