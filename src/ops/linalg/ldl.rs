//! Symmetric indefinite matrices: L D L^T with the pivoting of Bunch and Kaufman.

use super::super::{Registry, Ret, copy};
use super::*;
use crate::bail;

/// Factors the lower triangle of an (n, n) matrix in place. Pivots are LAPACK's: k > 0 exchanged rows k, a
/// pair of -k says that a block of two was taken. Answers one more than the first zero block, or 0.
fn factor(n: usize, a: &mut [f64], pivots: &mut [i32]) -> usize {
    let alpha = (1.0 + 17f64.sqrt()) / 8.0;
    let mut info = 0;
    let mut k = 0;
    while k < n {
        let (mut step, mut p) = (1, k);
        let own = a[k * n + k].abs();
        let (mut top, mut col) = (k, 0.0);
        for i in k + 1..n {
            if a[i * n + k].abs() > col {
                (top, col) = (i, a[i * n + k].abs());
            }
        }
        if own.max(col) == 0.0 || own.is_nan() {
            if info == 0 {
                info = k + 1;
            }
        } else {
            if own < alpha * col {
                let mut row = 0f64;
                for j in k..top {
                    row = row.max(a[top * n + j].abs());
                }
                for i in top + 1..n {
                    row = row.max(a[i * n + top].abs());
                }
                if own < alpha * col * (col / row) {
                    p = top;
                    if a[top * n + top].abs() < alpha * row {
                        step = 2;
                    }
                }
            }
            let q = k + step - 1;
            if p != q {
                for i in p + 1..n {
                    a.swap(i * n + q, i * n + p);
                }
                for j in q + 1..p {
                    a.swap(j * n + q, p * n + j);
                }
                a.swap(q * n + q, p * n + p);
                if step == 2 {
                    a.swap(q * n + k, p * n + k);
                }
            }
            if step == 1 {
                let d = 1.0 / a[k * n + k];
                for j in k + 1..n {
                    let f = d * a[j * n + k];
                    for i in j..n {
                        a[i * n + j] -= f * a[i * n + k];
                    }
                }
                for i in k + 1..n {
                    a[i * n + k] *= d;
                }
            } else {
                let d21 = a[(k + 1) * n + k];
                let (d11, d22) = (a[(k + 1) * n + k + 1] / d21, a[k * n + k] / d21);
                let f = 1.0 / (d11 * d22 - 1.0) / d21;
                for j in k + 2..n {
                    let (x, y) = (a[j * n + k], a[j * n + k + 1]);
                    let (w0, w1) = (f * (d11 * x - y), f * (d22 * y - x));
                    for i in j..n {
                        a[i * n + j] -= a[i * n + k] * w0 + a[i * n + k + 1] * w1;
                    }
                    (a[j * n + k], a[j * n + k + 1]) = (w0, w1);
                }
            }
        }
        let mark = p as i32 + 1;
        if step == 1 {
            pivots[k] = mark;
        } else {
            (pivots[k], pivots[k + 1]) = (-mark, -mark);
        }
        k += step;
    }
    info
}

/// Solves with [`factor`]'s result: `b` has `n` rows of `c`.
fn solve(n: usize, c: usize, a: &[f64], pivots: &[i32], b: &mut [f64]) {
    let exchange = |b: &mut [f64], i: usize, mark: i32| {
        let p = mark.unsigned_abs() as usize - 1;
        if p != i {
            for j in 0..c {
                b.swap(i * c + j, p * c + j);
            }
        }
    };
    let subtract = |b: &mut [f64], to: usize, f: f64, from: usize| {
        for j in 0..c {
            b[to * c + j] -= f * b[from * c + j];
        }
    };
    let mut k = 0;
    while k < n {
        if pivots[k] > 0 {
            exchange(b, k, pivots[k]);
            for i in k + 1..n {
                subtract(b, i, a[i * n + k], k);
            }
            for j in 0..c {
                b[k * c + j] /= a[k * n + k];
            }
            k += 1;
        } else {
            if k + 1 >= n {
                return; // half a block: not LAPACK's pivots
            }
            exchange(b, k + 1, pivots[k]);
            for i in k + 2..n {
                subtract(b, i, a[i * n + k], k);
                subtract(b, i, a[i * n + k + 1], k + 1);
            }
            let d = a[(k + 1) * n + k];
            let (d0, d1) = (a[k * n + k] / d, a[(k + 1) * n + k + 1] / d);
            let t = d0 * d1 - 1.0;
            for j in 0..c {
                let (x, y) = (b[k * c + j] / d, b[(k + 1) * c + j] / d);
                (b[k * c + j], b[(k + 1) * c + j]) = ((d1 * x - y) / t, (d0 * y - x) / t);
            }
            k += 2;
        }
    }
    let mut k = n;
    while k > 0 {
        let last = k - 1;
        let step = if pivots[last] > 0 { 1 } else { 2.min(k) };
        for r in k - step..k {
            for i in k..n {
                subtract(b, r, a[i * n + r], i);
            }
        }
        exchange(b, last, pivots[last]);
        k -= step;
    }
}

fn ldl_factor(a: &Tensor) -> Result<(Tensor, Tensor, Vec<i32>)> {
    let name = "torch.linalg.ldl_factor_ex";
    check_float(a, name)?;
    check_square(a, name)?;
    let n = sizes(a).0;
    let mut data = load(a, "ldl_factor_kernel_cpu")?;
    let count: usize = batch_of(a).iter().product();
    let (mut pivots, mut infos) = (vec![0; count * n], vec![0; count]);
    if n > 0 {
        for (i, m) in each(&mut data, n * n).enumerate() {
            infos[i] = factor(n, m, &mut pivots[i * n..(i + 1) * n]) as i32;
            // Only the lower triangle is part of the result.
            for r in 0..n {
                m[r * n + r + 1..(r + 1) * n].fill(0.0);
            }
        }
    }
    let pivots = store_int(&pivots, &shaped(batch_of(a), &[n]))?;
    Ok((store(&data, a.shape(), a.dtype())?, pivots, infos))
}

fn ldl_solve(ld: &Tensor, pivots: &Tensor, b: &Tensor) -> Result<Tensor> {
    let name = "torch.linalg.ldl_solve";
    check_float(ld, name)?;
    check_square(ld, name)?;
    ensure!(
        b.ndim() >= 2,
        Runtime,
        "{name}: Expected B to have at least 2 dimensions, but it has {} dimensions instead",
        b.ndim()
    );
    let (n, c) = (sizes(ld).0, sizes(b).1);
    ensure!(
        sizes(b).0 == n,
        Runtime,
        "{name}: Incompatible shapes of A and B for the equation AX = B ({n}x{n} and {}x{c})",
        sizes(b).0
    );
    ensure!(
        pivots.shape() == &ld.shape()[..ld.ndim() - 1],
        Runtime,
        "{name}: Expected LD.shape[:-1] and pivots.shape to be the same, but got pivots with shape {} instead",
        crate::layout::show(pivots.shape())
    );
    ensure!(
        pivots.dtype().category() == crate::dtype::Category::Int,
        Runtime,
        "{name}: Expected pivots to be integers. Got {}",
        pivots.dtype().scalar_name()
    );
    ensure!(
        ld.dtype() == b.dtype(),
        Runtime,
        "{name}: LD dtype {} does not match b dtype {}",
        ld.dtype().scalar_name(),
        b.dtype().scalar_name()
    );
    let (ld, b) = common_batch(ld, b)?;
    let steps = view::expand(pivots, &shaped(batch_of(&ld), &[n]))?;
    let steps = copy::contiguous(&copy::to_dtype(&steps.detach(), Dtype::I32)?)?;
    let steps = steps.data::<i32>();
    for &p in steps {
        ensure!(p != 0 && p.unsigned_abs() as usize <= n, Runtime, "{name}: pivots must be between 1 and {n}, got {p}");
    }
    let (factors, mut x) = (load(&ld, "ldl_solve_kernel_cpu")?, load(&b, "ldl_solve_kernel_cpu")?);
    if n * c > 0 {
        for (i, x) in x.chunks_exact_mut(n * c).enumerate() {
            solve(n, c, &factors[i * n * n..(i + 1) * n * n], &steps[i * n..(i + 1) * n], x);
        }
    }
    store(&x, b.shape(), b.dtype())
}

pub(super) fn register(r: &mut Registry) {
    r.op(
        "l",
        "ldl_factor(Tensor self, *, bool hermitian=False) -> (Tensor LD, Tensor pivots)",
        "L D L^T of symmetric matrices, compact.",
        |a| {
            let (ld, pivots, infos) = ldl_factor(a.t(0))?;
            if let Some(i) = infos.iter().find(|&&i| i != 0) {
                bail!(Runtime, "torch.linalg.ldl_factor: the factorization could not be completed: block {i} of D is zero.");
            }
            Ok((ld, pivots).into())
        },
    );
    r.op(
        "l",
        "ldl_factor_ex(Tensor self, *, bool hermitian=False, bool check_errors=False) -> (Tensor LD, Tensor pivots, Tensor info)",
        "L D L^T of symmetric matrices, compact, and its zero blocks.",
        |a| {
            let (ld, pivots, infos) = ldl_factor(a.t(0))?;
            ensure!(!a.b(2) || infos.iter().all(|&i| i == 0), Runtime, "torch.linalg.ldl_factor_ex: D has a zero block.");
            Ok(Ret::Tuple(vec![ld, pivots, store_int(&infos, batch_of(a.t(0)))?]))
        },
    );
    r.op("l", "ldl_solve(Tensor LD, Tensor pivots, Tensor B, *, bool hermitian=False) -> Tensor", "Solves with L D L^T.", |a| {
        ldl_solve(a.t(0), a.t(1), a.t(2)).map(Ret::from)
    });
}
