//! Inverses, determinants and systems of equations.

use super::super::elementwise::{self, mul};
use super::super::matmul::{matmul, mt};
use super::super::{Registry, Ret, complex, copy, view};
use super::factor::lu_raw;
use super::spectral::{cofactors, pinv};
use super::*;
use crate::autograd::{record, record_many, save, save_output};
use crate::bail;
use crate::cpu::linalg::{self as kernel, View};
use crate::dtype::Scalar;
use crate::expr::Operand;
use smallvec::smallvec;

/// Applies the row exchanges of a factorisation to `b` (k rows of `cols`).
fn exchange(pivots: &[usize], b: &mut [f64], cols: usize) {
    for (i, &p) in pivots.iter().enumerate() {
        if i != p {
            for c in 0..cols {
                b.swap(i * cols + c, p * cols + c);
            }
        }
    }
}

/// x with `a x = b` for square `a` (of the same batch); also the position of the first zero pivot of each.
fn solve_raw(a: &Tensor, b: &Tensor, name: &str) -> Result<(Tensor, Vec<usize>)> {
    let (mut lu, pivots, infos) = lu_raw(a, name)?;
    let mut x = load(b, name)?;
    let (n, cols) = (sizes(a).0, sizes(b).1);
    if n * cols > 0 {
        for (i, (f, x)) in each(&mut lu, n * n).zip(x.chunks_exact_mut(n * cols)).enumerate() {
            exchange(&pivots[i * n..(i + 1) * n], x, cols);
            let (f, x) = (View::rows(f, n), View::rows(x, cols));
            // SAFETY: an (n, n) and an (n, cols) matrix.
            unsafe {
                kernel::solve_triangular(n, cols, f, false, true, x);
                kernel::solve_triangular(n, cols, f, true, false, x);
            }
        }
    }
    Ok((store(&x, b.shape(), b.dtype())?, infos))
}

fn singular_at(infos: &[usize]) -> Option<(usize, usize)> {
    infos.iter().position(|&i| i != 0).map(|b| (b, infos[b]))
}

/// A complex matrix as a real one of twice the size: [[re, -im], [im, re]]. Differentiable.
fn embedded(a: &Tensor) -> Result<Tensor> {
    let (re, im) = (complex::real(a)?, complex::imag(a)?);
    let n = sizes(a).0;
    let first = mask(2 * n, n, &re, |i, j| (i == j) as u8 as f64)?;
    let second = mask(2 * n, n, &re, |i, j| (i == j + n) as u8 as f64)?;
    let turned = mask(2 * n, n, &re, |i, j| if i == j { -1.0 } else { 0.0 })?;
    let (ft, st) = (mt(&first)?, mt(&second)?);
    let diagonal = add(&mm3(&first, &re, &ft)?, &mm3(&second, &re, &st)?)?;
    add(&diagonal, &add(&mm3(&turned, &im, &st)?, &mm3(&second, &im, &ft)?)?)
}

/// The complex matrix whose parts lie one above the other in `x`.
fn from_halves(x: &Tensor) -> Result<Tensor> {
    let n = (sizes(x).0 / 2) as i64;
    complex::complex(&view::narrow(x, -2, 0, n)?, &view::narrow(x, -2, n, n)?)
}

/// [[re], [im]]
fn halves(b: &Tensor) -> Result<Tensor> {
    let (re, im) = (complex::real(b)?, complex::imag(b)?);
    let n = sizes(b).0;
    let first = mask(2 * n, n, &re, |i, j| (i == j) as u8 as f64)?;
    let second = mask(2 * n, n, &re, |i, j| (i == j + n) as u8 as f64)?;
    add(&matmul(&first, &re)?, &matmul(&second, &im)?)
}

fn inv_with_info(a: &Tensor, name: &str) -> Result<(Tensor, Vec<usize>)> {
    check_float(a, name)?;
    check_precision(a, name)?;
    check_square(a, name)?;
    let n = sizes(a).0;
    if a.dtype().is_complex() {
        let (x, infos) = inv_with_info(&embedded(a)?, name)?;
        return Ok((from_halves(&view::narrow(&x, -1, 0, n as i64)?)?, infos));
    }
    let one = with_batch(&eye(n, a)?, batch_of(a))?;
    let (out, infos) = solve_raw(a, &one, "inverse_cpu")?;
    let so = save_output(&out, 0);
    let out = record("LinalgInvExBackward0", &[a], out, move |ctx, g| {
        let t = mt(&so.get(ctx)?)?;
        Ok(smallvec![Some(neg(&mm3(&t, g, &t)?)?)])
    });
    Ok((out, infos))
}

/// The inverse of square matrices.
pub fn inv(a: &Tensor) -> Result<Tensor> {
    let (out, infos) = inv_with_info(a, "linalg.inv")?;
    if let Some((b, i)) = singular_at(&infos) {
        bail!(
            Linalg,
            "linalg.inv: {}The diagonal element {i} is zero, the inversion could not be completed because the input matrix is singular.",
            which(batch_of(a), b)
        );
    }
    Ok(out)
}

/// Whether `b` of a system is a vector (or a batch of them) as PyTorch decides.
fn is_vector(a: &Tensor, b: &Tensor) -> bool {
    b.ndim() == 1 || (a.ndim() - 1 == b.ndim() && b.shape() == &a.shape()[..a.ndim() - 1])
}

fn check_pair(a: &Tensor, b: &Tensor, name: &str, left: bool, what: &str) -> Result<()> {
    ensure!(
        a.dtype() == b.dtype(),
        Runtime,
        "{name}: Expected A and B to have the same dtype, but found A of type {} and B of type {} instead",
        a.dtype().scalar_name(),
        b.dtype().scalar_name()
    );
    let ((n, _), (p, q)) = (sizes(a), sizes(b));
    ensure!(
        if left { n == p } else { n == q },
        Runtime,
        "{name}: Incompatible shapes of A and B for the equation {what} ({n}x{n} and {p}x{q})"
    );
    Ok(())
}

fn solve_with_info(a: &Tensor, b: &Tensor, left: bool, name: &str) -> Result<(Tensor, Vec<usize>)> {
    check_float(a, name)?;
    check_precision(a, name)?;
    check_square(a, name)?;
    let vector = is_vector(a, b);
    ensure!(
        left || !vector,
        Runtime,
        "{name}: Vector broadcasting of the left hand side is not supported for left=False. In this case linalg.solve is equivalent to B / A.squeeze(-1)"
    );
    let b2 = if vector { view::unsqueeze(b, -1)? } else { b.clone() };
    check_pair(a, &b2, name, left, if left { "AX = B" } else { "XA = B" })?;
    let (a2, b2) = if left { (a.clone(), b2) } else { (mt(a)?, mt(&b2)?) };
    let (a2, b2) = common_batch(&a2, &b2)?;
    if a.dtype().is_complex() {
        let (x, infos) = solve_with_info(&embedded(&a2)?, &halves(&b2)?, true, name)?;
        let x = from_halves(&x)?;
        let x = if left { x } else { mt(&x)? };
        return Ok((if vector { view::squeeze(&x, Some(&[-1]))? } else { x }, infos));
    }
    let (out, infos) = solve_raw(&a2, &b2, "linalg_solve_cpu")?;
    let (sa, so) = (save(&a2), save_output(&out, 0));
    let out = record("LinalgSolveExBackward0", &[&a2, &b2], out, move |ctx, g| {
        let gb = solve_with_info(&mt(&sa.get(ctx)?)?, g, true, "linalg.solve")?.0;
        let ga = if ctx.needs(0) { Some(neg(&matmul(&gb, &mt(&so.get(ctx)?)?)?)?) } else { None };
        Ok(smallvec![ga, Some(gb)])
    });
    let out = if left { out } else { mt(&out)? };
    Ok((if vector { view::squeeze(&out, Some(&[-1]))? } else { out }, infos))
}

/// x with `a x = b` (or `x a = b`).
pub fn solve(a: &Tensor, b: &Tensor, left: bool) -> Result<Tensor> {
    let (out, infos) = solve_with_info(a, b, left, "linalg.solve")?;
    if let Some((i, _)) = singular_at(&infos) {
        bail!(Linalg, "torch.linalg.solve: {}The solver failed because the input matrix is singular.", which(batch_of(a), i));
    }
    Ok(out)
}

/// x with `a x = b` (or `x a = b`) for triangular `a`.
pub fn solve_triangular(a: &Tensor, b: &Tensor, upper: bool, left: bool, unit: bool) -> Result<Tensor> {
    let name = "linalg.solve_triangular";
    check_square(a, name)?;
    ensure!(b.ndim() >= 2, Runtime, "{name}: The input tensor B must have at least 2 dimensions.");
    check_pair(a, b, name, left, if left { "AX = B" } else { "XA = B" })?;
    if !left {
        return mt(&solve_triangular(&mt(a)?, &mt(b)?, !upper, true, unit)?);
    }
    let (a, b) = common_batch(a, b)?;
    let mut x = load(&b, "triangular_solve_cpu")?;
    let mut f = load(&a, "triangular_solve_cpu")?;
    let (n, cols) = sizes(&b);
    if n * cols > 0 {
        for (f, x) in each(&mut f, n * n).zip(x.chunks_exact_mut(n * cols)) {
            // SAFETY: an (n, n) and an (n, cols) matrix.
            unsafe { kernel::solve_triangular(n, cols, View::rows(f, n), upper, unit, View::rows(x, cols)) };
        }
    }
    let out = store(&x, b.shape(), b.dtype())?;
    let (sa, so) = (save(&a), save_output(&out, 0));
    Ok(record("LinalgSolveTriangularBackward0", &[&a, &b], out, move |ctx, g| {
        let gb = solve_triangular(&mt(&sa.get(ctx)?)?, g, !upper, true, unit)?;
        let ga = if ctx.needs(0) {
            let full = neg(&matmul(&gb, &mt(&so.get(ctx)?)?)?)?;
            let k = unit as isize;
            Some(if upper { triu(&full, k)? } else { tril(&full, -k)? })
        } else {
            None
        };
        Ok(smallvec![ga, Some(gb)])
    }))
}

// ---- determinants ----

/// Sign and log of the absolute value of determinants, and the determinants themselves.
pub fn determinants(a: &Tensor, kernel_name: &str) -> Result<[Vec<f64>; 3]> {
    let n = sizes(a).0;
    let (lu, pivots, _) = lu_raw(a, kernel_name)?;
    let count: usize = batch_of(a).iter().product();
    let mut out = [vec![1.0; count], vec![0.0; count], vec![1.0; count]];
    for i in 0..count {
        let odd = pivots[i * n..(i + 1) * n].iter().enumerate().filter(|(k, p)| k != *p).count() % 2 == 1;
        let (mut sign, mut log, mut det) = if odd { (-1.0, 0.0, -1.0) } else { (1.0, 0.0, 1.0) };
        for k in 0..n {
            let d: f64 = lu[i * n * n + k * n + k];
            sign *= if d == 0.0 || d.is_nan() { 0.0 } else { d.signum() };
            log += d.abs().ln();
            det *= d;
        }
        (out[0][i], out[1][i], out[2][i]) = (sign, log, det);
    }
    Ok(out)
}

pub fn det(a: &Tensor) -> Result<Tensor> {
    check_float(a, "linalg.det")?;
    check_square(a, "linalg.det")?;
    let [_, _, d] = determinants(a, "lu_cpu")?;
    let singular = d.contains(&0.0);
    let out = store(&d, batch_of(a), a.dtype())?;
    let (sa, so) = (save(a), save_output(&out, 0));
    Ok(record("LinalgDetBackward0", &[a], out, move |ctx, g| {
        let a = sa.get(ctx)?;
        let g = view::unsqueeze(&view::unsqueeze(g, -1)?, -1)?;
        if singular {
            return Ok(smallvec![Some(mul(&g, &cofactors(&a)?)?)]);
        }
        let d = view::unsqueeze(&view::unsqueeze(&so.get(ctx)?, -1)?, -1)?;
        Ok(smallvec![Some(mul(&mul(&g, &d)?, &mt(&inv_with_info(&a, "linalg.inv")?.0)?)?)])
    }))
}

/// Sign and logarithm of the absolute value of the determinant.
pub fn slogdet(a: &Tensor, name: &str) -> Result<(Tensor, Tensor)> {
    check_float(a, name)?;
    check_precision(a, name)?;
    check_square(a, name)?;
    let [sign, log, _] = determinants(a, "lu_cpu")?;
    let (sign, log) = (store(&sign, batch_of(a), a.dtype())?, store(&log, batch_of(a), a.dtype())?);
    let sa = save(a);
    record_many("LinalgSlogdetBackward0", &[a], &[&sign, &log], move |ctx, g| {
        let Some(g) = &g[1] else { return Ok(smallvec![None]) };
        let g = view::unsqueeze(&view::unsqueeze(g, -1)?, -1)?;
        Ok(smallvec![Some(mul(&g, &mt(&inv_with_info(&sa.get(ctx)?, "linalg.inv")?.0)?)?)])
    });
    Ok((sign, log))
}

pub fn logdet(a: &Tensor) -> Result<Tensor> {
    check_float(a, "logdet")?;
    check_square(a, "logdet")?;
    let (sign, log) = slogdet(a, "logdet")?;
    // A negative determinant has no real logarithm.
    let sign = sign.detach();
    let negative = elementwise::LT.call(&[Operand::T(sign), Operand::S(Scalar::Int(0))], &[], None)?;
    let out =
        elementwise::WHERE.call(&[Operand::T(negative), Operand::S(Scalar::Float(f64::NAN)), Operand::T(log)], &[], None)?;
    copy::to_dtype(&out, a.dtype())
}

// ---- least squares and tensors as matrices ----

fn lstsq(a: &Tensor, b: &Tensor, rcond: Option<f64>, driver: Option<&str>) -> Result<Ret> {
    let name = "torch.linalg.lstsq";
    ensure!(a.ndim() >= 2, Runtime, "{name}: input must have at least 2 dimensions.");
    ensure!(b.ndim() >= 1, Runtime, "{name}: other must have at least 1 dimension.");
    ensure!(
        a.dtype() == b.dtype(),
        Runtime,
        "{name}: Expected input and other to have the same dtype, but got input's dtype {} and other's dtype {}",
        a.dtype().scalar_name(),
        b.dtype().scalar_name()
    );
    let driver = driver.unwrap_or("gelsy");
    ensure!(
        matches!(driver, "gels" | "gelsy" | "gelsd" | "gelss"),
        Runtime,
        "{name}: parameter `driver` should be one of (gels, gelsy, gelsd, gelss)"
    );
    let vector = is_vector(a, b);
    let b2 = if vector { view::unsqueeze(b, -1)? } else { b.clone() };
    let (m, n) = sizes(a);
    ensure!(m == sizes(&b2).0, Runtime, "{name}: input.size(-2) should match other.size(-2)");
    let (a2, b2) = common_batch(a, &b2)?;
    let eps = if a.dtype() == Dtype::F64 { f64::EPSILON } else { f32::EPSILON as f64 };
    let rcond = rcond.unwrap_or(eps * m.max(n) as f64);
    let x = matmul(&pinv(&a2, None, Some(rcond), false)?, &b2)?;
    let empty = |dtype| Tensor::empty(&[0], dtype, a.device());
    let batch = batch_of(&a2).to_vec();
    let (s, rank) = crate::autograd::no_grad(|| -> Result<(Tensor, Vec<i64>)> {
        let s = spectral::svdvals(&a2.detach())?;
        let k = m.min(n);
        let values = load(&s, "linalg_svd_cpu")?;
        let count: usize = batch.iter().product();
        let rank = (0..count)
            .map(|i| {
                let row = &values[i * k..(i + 1) * k];
                row.iter().filter(|&&v| v > rcond * row.first().copied().unwrap_or(0.0)).count() as i64
            })
            .collect();
        Ok((s, rank))
    })?;
    let full = rank.iter().all(|&r| r == n as i64);
    let residuals = if m > n && full && driver != "gelsy" {
        let r = minus_product(&b2, &a2, &x)?;
        crate::ops::reduce::sum(&mul(&r, &r)?, Some(&[-2]), false, None)?
    } else {
        record("LinalgLstsqBackward0", &[&a2, &b2], empty(a.dtype())?, |_, _| Ok(smallvec![None, None]))
    };
    let rank = if driver == "gels" { empty(Dtype::I64)? } else { Tensor::from_slice(&rank, &batch)? };
    let s = if matches!(driver, "gelsd" | "gelss") { s } else { empty(a.dtype())? };
    let x = if vector { view::squeeze(&x, Some(&[-1]))? } else { x };
    Ok(Ret::Tuple(vec![x, residuals, rank, s]))
}

fn tensorinv(a: &Tensor, ind: i64) -> Result<Tensor> {
    ensure!(ind > 0, Runtime, "Expected a strictly positive integer for 'ind', but got {ind}");
    let ind = ind as usize;
    ensure!(ind <= a.ndim(), Runtime, "ArrayRef: invalid slice, N = {ind}; size = {}", a.ndim());
    let (head, tail) = a.shape().split_at(ind);
    let (p, q): (usize, usize) = (head.iter().product(), tail.iter().product());
    ensure!(
        p == q,
        Runtime,
        "Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but got {q} != {p}"
    );
    let out = inv(&view::reshape_to(a, &[p, p])?)?;
    view::reshape_to(&out, &shaped(tail, head))
}

fn tensorsolve(a: &Tensor, b: &Tensor, dims: Option<&[i64]>) -> Result<Tensor> {
    let mut a = a.clone();
    if let Some(dims) = dims {
        // These dimensions go to the end.
        let n = a.ndim();
        let gone: Vec<usize> = dims.iter().map(|&d| crate::layout::wrap_dim(d, n)).collect::<Result<_>>()?;
        let order: Vec<i64> = (0..n).filter(|d| !gone.contains(d)).chain(gone.iter().copied()).map(|d| d as i64).collect();
        a = view::permute(&a, &order)?;
    }
    ensure!(b.ndim() <= a.ndim(), Runtime, "ArrayRef: invalid slice, N = {}; size = {}", b.ndim(), a.ndim());
    let (head, tail) = a.shape().split_at(b.ndim());
    let (p, q): (usize, usize) = (head.iter().product(), tail.iter().product());
    ensure!(
        p == q,
        Runtime,
        "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == prod(self.shape[:other.ndim]), but got {q} != {p}"
    );
    let tail = tail.to_vec();
    let x = solve(&view::reshape_to(&a, &[p, p])?, &view::reshape_to(b, &[b.numel()])?, true)?;
    view::reshape_to(&x, &tail)
}

fn infos_tensor(infos: &[usize], batch: &[usize]) -> Result<Tensor> {
    store_int(&infos.iter().map(|&i| i as i32).collect::<Vec<_>>(), batch)
}

pub(super) fn register(r: &mut Registry) {
    r.op("fm", "inverse(Tensor self) -> Tensor", "The inverse of square matrices.", |a| inv(a.t(0)).map(Ret::from));
    r.op("l", "inv(Tensor A) -> Tensor", "The inverse of square matrices.", |a| inv(a.t(0)).map(Ret::from));
    r.op(
        "l",
        "inv_ex(Tensor A, *, bool check_errors=False) -> (Tensor inverse, Tensor info)",
        "The inverse, and where it failed.",
        |a| {
            if a.b(1) {
                inv(a.t(0))?;
            }
            let (out, infos) = inv_with_info(a.t(0), "linalg.inv")?;
            Ok((out, infos_tensor(&infos, batch_of(a.t(0)))?).into())
        },
    );
    r.op("l", "solve(Tensor A, Tensor B, *, bool left=True) -> Tensor", "The solution of A X = B (or X A = B).", |a| {
        solve(a.t(0), a.t(1), a.b(2)).map(Ret::from)
    });
    r.op(
        "l",
        "solve_ex(Tensor A, Tensor B, *, bool left=True, bool check_errors=False) -> (Tensor result, Tensor info)",
        "The solution, and where it failed.",
        |a| {
            let (x, infos) = solve_with_info(a.t(0), a.t(1), a.b(2), "linalg.solve")?;
            if a.b(3) && singular_at(&infos).is_some() {
                solve(a.t(0), a.t(1), a.b(2))?;
            }
            let batch = if infos.len() == 1 && a.t(0).ndim() == 2 { Vec::new() } else { batch_of(a.t(0)).to_vec() };
            let n: usize = batch.iter().product();
            let info = infos_tensor(&infos[..n.min(infos.len())], &batch)?;
            Ok((x, info).into())
        },
    );
    r.op(
        "l",
        "solve_triangular(Tensor A, Tensor B, *, bool upper, bool left=True, bool unitriangular=False) -> Tensor",
        "The solution of A X = B for triangular A.",
        |a| solve_triangular(a.t(0), a.t(1), a.b(2), a.b(3), a.b(4)).map(Ret::from),
    );
    r.op(
        "fm",
        "triangular_solve(Tensor self, Tensor A, bool upper=True, bool transpose=False, bool unitriangular=False) -> (Tensor solution, Tensor cloned_coefficient)",
        "The solution of A X = self for triangular A.",
        |a| {
            let (b, t) = (a.t(0), a.t(1));
            ensure!(b.ndim() >= 2, Runtime, "torch.triangular_solve: Expected b to have at least 2 dimensions, but it has {} dimensions instead", b.ndim());
            ensure!(t.ndim() >= 2, Runtime, "torch.triangular_solve: Expected A to have at least 2 dimensions, but it has {} dimensions instead", t.ndim());
            check_square(t, "triangular_solve")?;
            let (m, flip) = if a.b(3) { (mt(t)?, true) } else { (t.clone(), false) };
            let x = solve_triangular(&m, b, a.b(2) != flip, true, a.b(4))?;
            let coefficient = copy::clone(&with_batch(t, batch_of(&x))?, None)?;
            Ok((x, coefficient).into())
        },
    );
    r.op("l", "det(Tensor A) -> Tensor", "The determinant.", |a| det(a.t(0)).map(Ret::from));
    r.op("fm", "det(Tensor self) -> Tensor", "The determinant.", |a| det(a.t(0)).map(Ret::from));
    r.op("l", "slogdet(Tensor A) -> (Tensor sign, Tensor logabsdet)", "Sign and logarithm of the determinant.", |a| {
        slogdet(a.t(0), "linalg.slogdet").map(Ret::from)
    });
    r.op("fm", "slogdet(Tensor self) -> (Tensor sign, Tensor logabsdet)", "Sign and logarithm of the determinant.", |a| {
        slogdet(a.t(0), "linalg.slogdet").map(Ret::from)
    });
    r.op("fm", "logdet(Tensor self) -> Tensor", "The logarithm of the determinant.", |a| logdet(a.t(0)).map(Ret::from));
    r.op(
        "l",
        "lstsq(Tensor self, Tensor b, float? rcond=None, *, str? driver=None) -> (Tensor solution, Tensor residuals, Tensor rank, Tensor singular_values)",
        "The solution of least squares.",
        |a| lstsq(a.t(0), a.t(1), a.of(2), a.os(3)),
    );
    r.op("l", "tensorinv(Tensor self, int ind=2) -> Tensor", "The inverse of a tensor as a map.", |a| {
        tensorinv(a.t(0), a.int(1)).map(Ret::from)
    });
    r.op("l", "tensorsolve(Tensor self, Tensor other, int[]? dims=None) -> Tensor", "x with tensordot(self, x) = other.", |a| {
        tensorsolve(a.t(0), a.t(1), a.oints(2)).map(Ret::from)
    });
}
