//! Cholesky and LU factorisations and what is solved with them.

use super::super::elementwise::{add, scale};
use super::super::matmul::{matmul, mt};
use super::super::{Registry, Ret, view};
use super::solve::solve_triangular;
use super::*;
use crate::autograd::{no_grad, record, record_many, save, save_output};
use crate::bail;
use crate::cpu::linalg::{self as kernel, View};

use smallvec::smallvec;

// ---- Cholesky ----

fn cholesky_raw(a: &Tensor, upper: bool) -> Result<(Tensor, Vec<usize>)> {
    let n = sizes(a).0;
    let mut data = load(a, "cholesky_cpu")?;
    let mut infos = vec![0; batch_of(a).iter().product()];
    if n > 0 {
        for (i, m) in each(&mut data, n * n).enumerate() {
            let v = View::rows(m, n);
            // SAFETY: an (n, n) matrix. The factor goes where the triangle that is read lies.
            infos[i] = unsafe { kernel::cholesky(n, if upper { v.t() } else { v }) };
            for r in 0..n {
                for c in 0..n {
                    if if upper { c < r } else { c > r } {
                        m[r * n + c] = 0.0;
                    }
                }
            }
        }
    }
    Ok((store(&data, a.shape(), a.dtype())?, infos))
}

fn cholesky_with_info(a: &Tensor, upper: bool, name: &str, strict: bool) -> Result<(Tensor, Vec<usize>)> {
    if strict {
        check_float(a, name)?;
    }
    check_square(a, name)?;
    let (out, infos) = cholesky_raw(a, upper)?;
    let so = save_output(&out, 0);
    let out = record("LinalgCholeskyExBackward0", &[a], out, move |ctx, g| {
        let o = so.get(ctx)?;
        let (l, gl) = if upper { (mt(&o)?, mt(g)?) } else { (o, g.clone()) };
        let lt = mt(&l)?;
        // L^-T sym(tril(L^T gL)) L^-1
        let phi = scale(&mirrored(&tril(&matmul(&lt, &gl)?, 0)?)?, 0.5)?;
        let left = solve_triangular(&lt, &phi, true, true, false)?;
        Ok(smallvec![Some(solve_triangular(&l, &left, false, false, false)?)])
    });
    Ok((out, infos))
}

fn check_positive(infos: &[usize], batch: &[usize], name: &str) -> Result<()> {
    if let Some(b) = infos.iter().position(|&i| i != 0) {
        bail!(
            Linalg,
            "{name}: {}The factorization could not be completed because the input is not positive-definite (the leading minor of order {} is not positive-definite).",
            which(batch, b),
            infos[b]
        );
    }
    Ok(())
}

/// The Cholesky factor.
pub fn cholesky(a: &Tensor, upper: bool, name: &str) -> Result<Tensor> {
    let (out, infos) = cholesky_with_info(a, upper, name, name.starts_with("linalg"))?;
    check_positive(&infos, batch_of(a), name)?;
    Ok(out)
}

/// x with `l l^T x = b`.
fn cholesky_solve(b: &Tensor, l: &Tensor, upper: bool) -> Result<Tensor> {
    ensure!(b.ndim() >= 2, Runtime, "b should have at least 2 dimensions, but has {} dimensions instead", b.ndim());
    ensure!(l.ndim() >= 2, Runtime, "u should have at least 2 dimensions, but has {} dimensions instead", l.ndim());
    let ((n, k), (p, q)) = (sizes(l), sizes(b));
    ensure!(n == k, Runtime, "A must be batches of square matrices, but they are {n} by {k} matrices");
    ensure!(
        b.dtype() == l.dtype(),
        Runtime,
        "expected scalar type {} but found {}",
        b.dtype().scalar_name(),
        l.dtype().scalar_name()
    );
    ensure!(
        n == p,
        Runtime,
        "Incompatible matrix sizes for cholesky_solve: each A matrix is {n} by {n} but each b matrix is {p} by {q}"
    );
    let (b, l) = common_batch(b, l)?;
    let out = no_grad(|| {
        let (lower, up) = if upper { (mt(&l)?, l.detach()) } else { (l.detach(), mt(&l)?) };
        solve_triangular(&up, &solve_triangular(&lower, &b.detach(), false, true, false)?, true, true, false)
    })?;
    let (sl, so) = (save(&l), save_output(&out, 0));
    Ok(record("CholeskySolveBackward0", &[&b, &l], out, move |ctx, g| {
        let l = sl.get(ctx)?;
        let gb = cholesky_solve(g, &l, upper)?;
        let gl = if ctx.needs(1) { Some(factor_grad(&matmul(&gb, &mt(&so.get(ctx)?)?)?, &l, upper)?) } else { None };
        Ok(smallvec![Some(gb), gl])
    }))
}

/// The gradient of a factor from minus that of the symmetric matrix it makes. The whole factor has one, as
/// PyTorch gives it.
fn factor_grad(x: &Tensor, l: &Tensor, upper: bool) -> Result<Tensor> {
    let s = add(x, &mt(x)?)?;
    neg(&if upper { matmul(l, &s)? } else { matmul(&s, l)? })
}

fn cholesky_inverse(l: &Tensor, upper: bool) -> Result<Tensor> {
    check_square(l, "cholesky_inverse")?;
    let one = with_batch(&eye(sizes(l).0, l)?, batch_of(l))?;
    let out = no_grad(|| cholesky_solve(&one, &l.detach(), upper))?;
    let (sl, so) = (save(l), save_output(&out, 0));
    Ok(record("CholeskyInverseBackward0", &[l], out, move |ctx, g| {
        let x = so.get(ctx)?;
        Ok(smallvec![Some(factor_grad(&mm3(&x, g, &x)?, &sl.get(ctx)?, upper)?)])
    }))
}

// ---- LU ----

/// P L U of every matrix: the factors together, row exchanges counted from 0, first zero pivots.
pub fn lu_raw(a: &Tensor, kernel_name: &str) -> Result<(Vec<f64>, Vec<usize>, Vec<usize>)> {
    let (m, n) = sizes(a);
    let k = m.min(n);
    let mut data = load(a, kernel_name)?;
    let count: usize = batch_of(a).iter().product();
    let (mut pivots, mut infos) = (vec![0; count * k], vec![0; count]);
    if m * n > 0 {
        for (i, f) in each(&mut data, m * n).enumerate() {
            // SAFETY: an (m, n) matrix.
            infos[i] = unsafe { kernel::lu(m, n, View::rows(f, n), &mut pivots[i * k..(i + 1) * k]) };
        }
    }
    Ok((data, pivots, infos))
}

/// The permutation matrices of row exchanges: A = P L U.
fn permutations(pivots: &[usize], m: usize, k: usize, batch: &[usize], dtype: Dtype) -> Result<Tensor> {
    let count: usize = batch.iter().product();
    let mut out = vec![0.0; count * m * m];
    for i in 0..count {
        let mut rows: Vec<usize> = (0..m).collect();
        for (s, &p) in pivots[i * k..(i + 1) * k].iter().enumerate() {
            rows.swap(s, p);
        }
        for (to, &from) in rows.iter().enumerate() {
            out[i * m * m + from * m + to] = 1.0;
        }
    }
    store(&out, &shaped(batch, &[m, m]), dtype)
}

/// L with its ones, (m, k), from both factors together; differentiable.
fn lower_of(lu: &Tensor) -> Result<Tensor> {
    let (m, n) = sizes(lu);
    let k = m.min(n);
    let l = tril(&view::narrow(lu, -1, 0, k as i64)?, -1)?;
    add(&l, &mask(m, k, lu, |i, j| (i == j) as u8 as f64)?)
}

/// U, (k, n), from both factors together; differentiable.
fn upper_of(lu: &Tensor) -> Result<Tensor> {
    let (m, n) = sizes(lu);
    triu(&view::narrow(lu, -2, 0, m.min(n) as i64)?, 0)
}

/// The gradient of A = P L U from those of L (m, k) and U (k, n).
fn lu_backward(p: &Tensor, l: &Tensor, u: &Tensor, gl: Option<&Tensor>, gu: Option<&Tensor>) -> Result<Tensor> {
    let (m, k) = sizes(l);
    let n = sizes(u).1;
    let zero = |x: &Tensor| Tensor::zeros(x.shape(), x.dtype(), x.device());
    let mut gl = match gl {
        Some(g) => g.clone(),
        None => zero(l)?,
    };
    let mut gu = match gu {
        Some(g) => g.clone(),
        None => zero(u)?,
    };
    let part = |x: &Tensor, dim: i64, from: usize, len: usize| view::narrow(x, dim, from as i64, len as i64);
    let (l1, u1) = (part(l, -2, 0, k)?, part(u, -1, 0, k)?);
    // x U^-T and L^-T x
    let over_u = |x: &Tensor| solve_triangular(&mt(&u1)?, x, false, false, false);
    let over_l = |x: &Tensor| solve_triangular(&mt(&l1)?, x, true, true, true);
    let mut rest = None;
    if n > k {
        let g2 = over_l(&part(&gu, -1, k, n - k)?)?;
        gl = minus_product(&gl, &g2, &mt(&part(u, -1, k, n - k)?)?)?;
        gu = part(&gu, -1, 0, k)?;
        rest = Some((g2, -1));
    } else if m > k {
        let g2 = over_u(&part(&gl, -2, k, m - k)?)?;
        gu = minus_product(&gu, &mt(&part(l, -2, k, m - k)?)?, &g2)?;
        gl = part(&gl, -2, 0, k)?;
        rest = Some((g2, -2));
    }
    let phi = add(&tril(&matmul(&mt(&l1)?, &gl)?, -1)?, &triu(&matmul(&gu, &mt(&u1)?)?, 0)?)?;
    let g1 = over_u(&over_l(&phi)?)?;
    let whole = match rest {
        None => g1,
        Some((g2, dim)) => {
            // Beside each other, by products with parts of the identity.
            let total = if dim == -1 { n } else { m };
            let put = |x: &Tensor, from: usize, len: usize| -> Result<Tensor> {
                let e = mask(len, total, x, |i, j| (i + from == j) as u8 as f64)?;
                if dim == -1 { matmul(x, &e) } else { matmul(&mt(&e)?, x) }
            };
            add(&put(&g1, 0, k)?, &put(&g2, k, total - k)?)?
        }
    };
    matmul(p, &whole)
}

/// The factors of every matrix together, with the exchanges counted from 1 as LAPACK does, and zero pivots.
fn lu_factor(a: &Tensor, kernel_name: &str) -> Result<(Tensor, Tensor, Vec<usize>)> {
    ensure!(
        a.ndim() >= 2,
        Runtime,
        "torch.lu_factor: Expected tensor with 2 or more dimensions. Got size: {} instead",
        crate::layout::show(a.shape())
    );
    let (m, n) = sizes(a);
    let k = m.min(n);
    let (data, pivots, infos) = lu_raw(a, kernel_name)?;
    let out = store(&data, a.shape(), a.dtype())?;
    let steps = store_int(&pivots.iter().map(|&p| p as i32 + 1).collect::<Vec<_>>(), &shaped(batch_of(a), &[k]))?;
    let p = permutations(&pivots, m, k, batch_of(a), a.dtype())?;
    let so = save_output(&out, 0);
    let out = record("LinalgLuFactorExBackward0", &[a], out, move |ctx, g| {
        let lu = so.get(ctx)?;
        let k = k as i64;
        let (gl, gu) = (tril(&view::narrow(g, -1, 0, k)?, -1)?, triu(&view::narrow(g, -2, 0, k)?, 0)?);
        Ok(smallvec![Some(lu_backward(&p, &lower_of(&lu)?, &upper_of(&lu)?, Some(&gl), Some(&gu))?)])
    });
    Ok((out, steps, infos))
}

fn check_pivoting(pivot: bool, name: &str) -> Result<()> {
    ensure!(pivot, Runtime, "{name}: LU without pivoting is not implemented on the CPU");
    Ok(())
}

fn lu(a: &Tensor) -> Result<Vec<Tensor>> {
    ensure!(
        a.ndim() >= 2,
        Runtime,
        "linalg.lu: Expected tensor with 2 or more dimensions. Got size: {} instead",
        crate::layout::show(a.shape())
    );
    let (m, n) = sizes(a);
    let k = m.min(n);
    let (data, pivots, _) = lu_raw(a, "lu_cpu")?;
    let both = store(&data, a.shape(), a.dtype())?;
    let (l, u) = (lower_of(&both)?, upper_of(&both)?);
    let p = permutations(&pivots, m, k, batch_of(a), a.dtype())?;
    let (sl, su, p2) = (save_output(&l, 0), save_output(&u, 1), p.clone());
    record_many("LinalgLuBackward0", &[a], &[&l, &u], move |ctx, g| {
        Ok(smallvec![Some(lu_backward(&p2, &sl.get(ctx)?, &su.get(ctx)?, g[0].as_ref(), g[1].as_ref())?)])
    });
    Ok(vec![p, l, u])
}

/// The steps of LAPACK's pivots, checked, counted from 0.
fn pivot_steps(pivots: &Tensor, m: usize, name: &str) -> Result<Vec<usize>> {
    ensure!(pivots.dtype() == Dtype::I32, Runtime, "{name}: pivots should be a Tensor of scalar type torch.int32");
    pivots.check_data(name)?;
    let data = super::super::copy::contiguous(&pivots.detach())?;
    data.data::<i32>()
        .iter()
        .map(|&p| {
            ensure!(p >= 1 && p as usize <= m, Runtime, "{name}: pivots must be between 1 and {m}, got {p}");
            Ok(p as usize - 1)
        })
        .collect()
}

fn lu_unpack(both: &Tensor, pivots: &Tensor, data: bool, permutation: bool) -> Result<Vec<Tensor>> {
    let name = "torch.lu_unpack";
    ensure!(both.ndim() >= 2, Runtime, "{name}: The input tensor LU_data must have at least 2 dimensions.");
    let (m, n) = sizes(both);
    let empty = || Tensor::empty(&[0], both.dtype(), both.device());
    let p = if permutation {
        ensure!(
            pivots.dtype() == Dtype::I32,
            Runtime,
            "torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 dtype.\nNote: this function is intended to be used with the output produced by torch.linalg.lu_factor"
        );
        let k = m.min(n);
        ensure!(
            pivots.ndim() >= 1
                && pivots.shape()[pivots.ndim() - 1] == k
                && pivots.numel() == batch_of(both).iter().product::<usize>() * k,
            Runtime,
            "{name}: LU_pivots does not fit LU_data"
        );
        permutations(&pivot_steps(pivots, m, name)?, m, k, batch_of(both), both.dtype())?
    } else {
        empty()?
    };
    let (l, u) = if data { (lower_of(both)?, upper_of(both)?) } else { (empty()?, empty()?) };
    Ok(vec![p, l, u])
}

fn lu_solve(both: &Tensor, pivots: &Tensor, b: &Tensor, left: bool, adjoint: bool) -> Result<Tensor> {
    let name = "linalg.lu_solve";
    check_float(both, name)?;
    ensure!(
        both.dtype() == b.dtype(),
        Runtime,
        "{name}: Expected LU and B to have the same dtype, but found LU of type {} and B of type {} instead",
        both.dtype().scalar_name(),
        b.dtype().scalar_name()
    );
    ensure!(pivots.dtype() == Dtype::I32, Runtime, "{name}: pivots should be a Tensor of scalar type torch.int32");
    check_square(both, name)?;
    ensure!(b.ndim() >= 2, Runtime, "{name}: The input tensor B must have at least 2 dimensions.");
    let ((n, _), (p, q)) = (sizes(both), sizes(b));
    ensure!(
        if left { n == p } else { n == q },
        Runtime,
        "{name}: Incompatible shapes of A and B for the equation {} ({n}x{n} and {p}x{q})",
        if left { "AX = B" } else { "XA = B" }
    );
    ensure!(
        pivots.ndim() + 1 == both.ndim() && pivots.shape() == &both.shape()[..both.ndim() - 1],
        Runtime,
        "{name}: Number of pivots per batch should be same as the dimension of the matrix"
    );
    let perm = permutations(&pivot_steps(pivots, n, name)?, n, n, batch_of(both), both.dtype())?;
    let (l, u) = (lower_of(both)?, upper_of(both)?);
    // X A = B is A^T X^T = B^T.
    let (b, transposed) = if left { (b.clone(), adjoint) } else { (mt(b)?, !adjoint) };
    let x = if transposed {
        let y = solve_triangular(&mt(&u)?, &b, false, true, false)?;
        matmul(&perm, &solve_triangular(&mt(&l)?, &y, true, true, true)?)?
    } else {
        let y = solve_triangular(&l, &matmul(&mt(&perm)?, &b)?, false, true, true)?;
        solve_triangular(&u, &y, true, true, false)?
    };
    if left { Ok(x) } else { mt(&x) }
}

fn infos_of(infos: &[usize], a: &Tensor) -> Result<Tensor> {
    store_int(&infos.iter().map(|&i| i as i32).collect::<Vec<_>>(), batch_of(a))
}

fn check_pivots(infos: &[usize], a: &Tensor) -> Result<()> {
    if let Some(b) = infos.iter().position(|&i| i != 0) {
        let i = infos[b];
        bail!(
            Runtime,
            "torch.linalg.lu_factor: {}U[{i},{i}] is zero and using it on lu_solve would result in a division by zero. If you still want to perform the factorization, consider calling linalg.lu(A, pivot) or linalg.lu_factor_ex(A, pivot)",
            which(batch_of(a), b)
        );
    }
    Ok(())
}

pub(super) fn register(r: &mut Registry) {
    r.op("l", "cholesky(Tensor self, *, bool upper=False) -> Tensor", "The Cholesky factor.", |a| {
        cholesky(a.t(0), a.b(1), "linalg.cholesky").map(Ret::from)
    });
    r.op("fm", "cholesky(Tensor self, bool upper=False) -> Tensor", "The Cholesky factor.", |a| {
        cholesky(a.t(0), a.b(1), "cholesky").map(Ret::from)
    });
    r.op(
        "l",
        "cholesky_ex(Tensor self, *, bool upper=False, bool check_errors=False) -> (Tensor L, Tensor info)",
        "The Cholesky factor, and where there is none.",
        |a| {
            let (out, infos) = cholesky_with_info(a.t(0), a.b(1), "linalg.cholesky", true)?;
            if a.b(2) {
                check_positive(&infos, batch_of(a.t(0)), "linalg.cholesky_ex")?;
            }
            Ok((out, infos_of(&infos, a.t(0))?).into())
        },
    );
    r.op("fm", "cholesky_solve(Tensor self, Tensor L, bool upper=False) -> Tensor", "Solves with a Cholesky factor.", |a| {
        cholesky_solve(a.t(0), a.t(1), a.b(2)).map(Ret::from)
    });
    r.op(
        "fm",
        "cholesky_inverse(Tensor self, bool upper=False) -> Tensor",
        "The inverse of a matrix from its Cholesky factor.",
        |a| cholesky_inverse(a.t(0), a.b(1)).map(Ret::from),
    );
    r.op("l", "lu_factor(Tensor A, *, bool pivot=True) -> (Tensor LU, Tensor pivots)", "The LU factorisation, compact.", |a| {
        check_pivoting(a.b(1), "linalg.lu_factor")?;
        let (out, piv, infos) = lu_factor(a.t(0), "lu_cpu")?;
        check_pivots(&infos, a.t(0))?;
        Ok((out, piv).into())
    });
    for (places, schema) in [
        ("l", "lu_factor_ex(Tensor A, *, bool pivot=True, bool check_errors=False) -> (Tensor LU, Tensor pivots, Tensor info)"),
        ("f", "_lu_with_info(Tensor self, bool pivot=True, bool check_errors=True) -> (Tensor LU, Tensor pivots, Tensor info)"),
    ] {
        r.op(places, schema, "The LU factorisation, compact, and its zero pivots.", |a| {
            check_pivoting(a.b(1), "linalg.lu_factor")?;
            let (out, piv, infos) = lu_factor(a.t(0), "lu_cpu")?;
            if a.b(2) {
                check_pivots(&infos, a.t(0))?;
            }
            Ok(Ret::Tuple(vec![out, piv, infos_of(&infos, a.t(0))?]))
        });
    }
    r.op("fm", "lu(Tensor self, bool pivot=True, bool get_infos=False) -> Tensor[]", "The LU factorisation, compact.", |a| {
        check_pivoting(a.b(1), "linalg.lu_factor")?;
        let (out, piv, infos) = lu_factor(a.t(0), "lu_cpu")?;
        if a.b(2) {
            return Ok(Ret::Tuple(vec![out, piv, infos_of(&infos, a.t(0))?]));
        }
        check_pivots(&infos, a.t(0))?;
        Ok((out, piv).into())
    });
    r.op("l", "lu(Tensor A, *, bool pivot=True) -> (Tensor P, Tensor L, Tensor U)", "A = P L U.", |a| {
        check_pivoting(a.b(1), "linalg.lu")?;
        lu(a.t(0)).map(Ret::Tuple)
    });
    r.op(
        "f",
        "lu_unpack(Tensor LU_data, Tensor LU_pivots, bool unpack_data=True, bool unpack_pivots=True) -> (Tensor P, Tensor L, Tensor U)",
        "P, L and U from the compact form.",
        |a| lu_unpack(a.t(0), a.t(1), a.b(2), a.b(3)).map(Ret::Tuple),
    );
    r.op(
        "l",
        "lu_solve(Tensor LU, Tensor pivots, Tensor B, *, bool left=True, bool adjoint=False) -> Tensor",
        "Solves with an LU factorisation.",
        |a| lu_solve(a.t(0), a.t(1), a.t(2), a.b(3), a.b(4)).map(Ret::from),
    );
    r.op("fm", "lu_solve(Tensor self, Tensor LU_data, Tensor LU_pivots) -> Tensor", "Solves with an LU factorisation.", |a| {
        lu_solve(a.t(1), a.t(2), a.t(0), true, false).map(Ret::from)
    });
}
