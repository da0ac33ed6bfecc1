//! Singular values and eigenvalues, by the crate faer.

use super::small_svd;
use faer::{MatRef, Side};

/// The iteration did not converge.
pub struct NoConvergence;

fn matrix(m: usize, n: usize, a: &[f64]) -> MatRef<'_, f64> {
    MatRef::from_row_major_slice(a, m, n)
}

fn write(from: MatRef<'_, f64>, transposed: bool, to: &mut [f64]) {
    let (m, n) = (from.nrows(), from.ncols());
    for j in 0..n {
        for i in 0..m {
            to[if transposed { j * m + i } else { i * n + j }] = from[(i, j)];
        }
    }
}

/// `U S V^T` of an (m, n) matrix; `u` and `vt` are row-major and whole (`full`) or of the first min(m, n)
/// columns and rows.
pub fn svd(m: usize, n: usize, a: &[f64], full: bool, u: &mut [f64], s: &mut [f64], vt: &mut [f64]) -> Result<(), NoConvergence> {
    if m.min(n) <= small_svd::LARGEST && small_svd::svd(m, n, a, full, u, s, vt) {
        return Ok(());
    }
    let a = matrix(m, n, a);
    let d = if full { a.svd() } else { a.thin_svd() }.map_err(|_| NoConvergence)?;
    write(d.U(), false, u);
    write(d.V(), true, vt);
    for (i, s) in s.iter_mut().enumerate() {
        *s = d.S()[i];
    }
    Ok(())
}

/// Singular values in falling order.
pub fn singular_values(m: usize, n: usize, a: &[f64], s: &mut [f64]) -> Result<(), NoConvergence> {
    s.copy_from_slice(&matrix(m, n, a).singular_values().map_err(|_| NoConvergence)?);
    Ok(())
}

fn side(upper: bool) -> Side {
    if upper { Side::Upper } else { Side::Lower }
}

/// Eigenvalues in rising order and eigenvectors (columns of `v`) of a symmetric matrix given by a triangle.
pub fn eigen_symmetric(n: usize, a: &[f64], upper: bool, w: &mut [f64], v: &mut [f64]) -> Result<(), NoConvergence> {
    let d = matrix(n, n, a).self_adjoint_eigen(side(upper)).map_err(|_| NoConvergence)?;
    write(d.U(), false, v);
    for (i, w) in w.iter_mut().enumerate() {
        *w = d.S()[i];
    }
    Ok(())
}

/// The eigenvalues of [`eigen_symmetric`] alone.
pub fn eigenvalues_symmetric(n: usize, a: &[f64], upper: bool, w: &mut [f64]) -> Result<(), NoConvergence> {
    w.copy_from_slice(&matrix(n, n, a).self_adjoint_eigenvalues(side(upper)).map_err(|_| NoConvergence)?);
    Ok(())
}

/// Eigenvalues and eigenvectors of length 1 (columns) of any square matrix, as (real, imaginary) pairs.
pub fn eigen(n: usize, a: &[f64], w: &mut [[f64; 2]], v: &mut [[f64; 2]]) -> Result<(), NoConvergence> {
    let d = matrix(n, n, a).eigen().map_err(|_| NoConvergence)?;
    for (i, w) in w.iter_mut().enumerate() {
        let x = d.S()[i];
        *w = [x.re, x.im];
    }
    let u = d.U();
    for j in 0..n {
        let norm = (0..n).map(|i| u[(i, j)].re.powi(2) + u[(i, j)].im.powi(2)).sum::<f64>().sqrt();
        let f = if norm > 0.0 { 1.0 / norm } else { 1.0 };
        // Turned so that the largest component is real, as LAPACK does.
        let size = |i: usize| u[(i, j)].re.hypot(u[(i, j)].im);
        let top = (0..n).fold(0, |best, i| if size(i) > size(best) { i } else { best });
        let (c, s) = match size(top) {
            r if r > 0.0 && u[(top, j)].im != 0.0 => {
                let r = r.copysign(u[(top, j)].re);
                (u[(top, j)].re / r, u[(top, j)].im / r)
            }
            _ => (1.0, 0.0),
        };
        for i in 0..n {
            let z = u[(i, j)];
            v[i * n + j] = [(z.re * c + z.im * s) * f, if i == top { 0.0 } else { (z.im * c - z.re * s) * f }];
        }
    }
    Ok(())
}

/// The eigenvalues of [`eigen`] alone.
pub fn eigenvalues(n: usize, a: &[f64], w: &mut [[f64; 2]]) -> Result<(), NoConvergence> {
    let d = matrix(n, n, a).eigenvalues().map_err(|_| NoConvergence)?;
    for (w, x) in w.iter_mut().zip(d) {
        *w = [x.re, x.im];
    }
    Ok(())
}
