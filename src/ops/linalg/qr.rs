//! Householder QR and products with its reflectors.

use super::super::elementwise::{add, mul};
use super::super::matmul::{matmul, mt};
use super::super::{Registry, Ret, copy, view};
use super::solve::solve_triangular;
use super::*;
use crate::autograd::{needs_grad, record, record_many, save_output};
use crate::bail;
use crate::cpu::linalg as kernel;
use smallvec::smallvec;

/// Every matrix by columns, and the factors of its reflectors.
fn reflectors(a: &Tensor) -> Result<(Vec<f64>, Vec<f64>)> {
    let (m, n) = sizes(a);
    let k = m.min(n);
    let mut data = load(&mt(&a.detach())?, "geqrf_cpu")?;
    let count: usize = batch_of(a).iter().product();
    let mut tau = vec![0.0; count * k];
    if k > 0 {
        for (f, t) in each(&mut data, m * n).zip(tau.chunks_exact_mut(k)) {
            kernel::qr(m, n, f, t);
        }
    }
    Ok((data, tau))
}

/// Q with `cols` columns and R with `rows` rows; no history.
fn qr_raw(a: &Tensor, cols: usize, rows: usize, with_q: bool) -> Result<(Tensor, Tensor)> {
    let (m, n) = sizes(a);
    let k = m.min(n);
    let (data, tau) = reflectors(a)?;
    let batch = batch_of(a);
    let count: usize = batch.iter().product();
    let mut r = vec![0.0; count * rows * n];
    let mut q = Vec::with_capacity(if with_q { count * m * cols } else { 0 });
    for i in 0..count {
        let f = &data[i * m * n..(i + 1) * m * n];
        for j in 0..n {
            for p in 0..=j.min(rows.saturating_sub(1)) {
                if p < m && p < rows {
                    r[i * rows * n + p * n + j] = f[j * m + p];
                }
            }
        }
        if with_q {
            q.extend(kernel::q_columns(m, f, &tau[i * k..(i + 1) * k], cols));
        }
    }
    let q = if with_q {
        mt(&store(&q, &shaped(batch, &[cols, m]), a.dtype())?)?
    } else {
        Tensor::empty(&[0], a.dtype(), a.device())?
    };
    Ok((copy::contiguous(&q)?, store(&r, &shaped(batch, &[rows, n]), a.dtype())?))
}

fn or_zero(g: Option<&Tensor>, like: &Tensor) -> Result<Tensor> {
    match g {
        Some(g) => Ok(g.clone()),
        None => Tensor::zeros(like.shape(), like.dtype(), like.device()),
    }
}

/// (gQ + Q copy(triu(gR R^T - Q^T gQ))) R^-T for Q (m, n) and R (n, n).
fn tall_backward(q: &Tensor, r: &Tensor, gq: &Tensor, gr: &Tensor) -> Result<Tensor> {
    let s = triu(&minus_product(&matmul(gr, &mt(r)?)?, &mt(q)?, gq)?, 0)?;
    let g = add(gq, &matmul(q, &mirrored(&s)?)?)?;
    solve_triangular(&mt(r)?, &g, false, false, false)
}

fn qr_backward(a: &Tensor, q: &Tensor, r: &Tensor, gq: Option<&Tensor>, gr: Option<&Tensor>) -> Result<Tensor> {
    let (m, n) = sizes(a);
    let (gq, gr) = (or_zero(gq, q)?, or_zero(gr, r)?);
    if m >= n {
        return tall_backward(q, r, &gq, &gr);
    }
    // A = [X Y] with X = Q U square and Y = Q V.
    let (m_, rest) = (m as i64, (n - m) as i64);
    let part = |x: &Tensor, first: bool| if first { view::narrow(x, -1, 0, m_) } else { view::narrow(x, -1, m_, rest) };
    let gv = part(&gr, false)?;
    let gq = add(&gq, &matmul(&part(a, false)?, &mt(&gv)?)?)?;
    let gx = tall_backward(q, &part(r, true)?, &gq, &part(&gr, true)?)?;
    let gy = matmul(q, &gv)?;
    let put = |x: &Tensor, from: usize, len: usize| matmul(x, &mask(len, n, x, |i, j| (i + from == j) as u8 as f64)?);
    add(&put(&gx, 0, m)?, &put(&gy, m, n - m)?)
}

fn qr(a: &Tensor, mode: &str) -> Result<(Tensor, Tensor)> {
    check_float(a, "linalg.qr")?;
    check_matrix(a, "linalg.qr")?;
    let (m, n) = sizes(a);
    let k = m.min(n);
    let (cols, rows, with_q) = match mode {
        "reduced" => (k, k, true),
        "complete" => (m, m, true),
        "r" => (k, k, false),
        _ => bail!(Runtime, "qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'"),
    };
    let (q, r) = qr_raw(a, cols, rows, with_q)?;
    if !needs_grad(&[a]) {
        return Ok((q, r));
    }
    let complete = mode == "complete" && m > n;
    let sa = crate::autograd::save(a);
    let (sq, sr) = (save_output(&q, 0), save_output(&r, 1));
    record_many("LinalgQrBackward0", &[a], &[&q, &r], move |ctx, g| {
        ensure!(
            with_q,
            Runtime,
            "The derivative of linalg.qr depends on Q, which is not computed when mode='r'. Please use linalg.qr(A, mode='reduced') if you are going to differentiate through linalg.qr."
        );
        ensure!(!complete, Runtime, "The QR decomposition is not differentiable when mode='complete' and nrows > ncols.");
        Ok(smallvec![Some(qr_backward(&sa.get(ctx)?, &sq.get(ctx)?, &sr.get(ctx)?, g[0].as_ref(), g[1].as_ref())?)])
    });
    Ok((q, r))
}

fn geqrf(a: &Tensor) -> Result<(Tensor, Tensor)> {
    ensure!(a.ndim() >= 2, Runtime, "torch.geqrf: input must have at least 2 dimensions.");
    let (m, n) = sizes(a);
    let (data, tau) = reflectors(a)?;
    let out = copy::contiguous(&mt(&store(&data, &shaped(batch_of(a), &[n, m]), a.dtype())?)?)?;
    let tau = store(&tau, &shaped(batch_of(a), &[m.min(n)]), a.dtype())?;
    record_many("GeqrfBackward0", &[a], &[&out, &tau], |_, _| {
        bail!(NotImplemented, "the derivative for 'geqrf' is not implemented.")
    });
    Ok((out, tau))
}

/// The `i`-th reflector's vector, (..., m, 1); differentiable in what lies below the diagonal.
fn vector(v: &Tensor, i: usize) -> Result<Tensor> {
    let m = sizes(v).0;
    let col = view::narrow(v, -1, i as i64, 1)?;
    let below = mul(&col, &mask(m, 1, v, |r, _| (r > i) as u8 as f64)?)?;
    add(&below, &mask(m, 1, v, |r, _| (r == i) as u8 as f64)?)
}

/// H x = x - tau v (v^T x) for the `i`-th reflector.
fn apply(v: &Tensor, tau: &Tensor, i: usize, x: &Tensor) -> Result<Tensor> {
    let v = vector(v, i)?;
    let t = view::unsqueeze(&view::narrow(tau, -1, i as i64, 1)?, -1)?;
    minus_product(x, &mul(&v, &t)?, &matmul(&mt(&v)?, x)?)
}

fn check_reflectors(v: &Tensor, tau: &Tensor, name: &str) -> Result<()> {
    ensure!(v.ndim() >= 2, Runtime, "{name}: input must have at least 2 dimensions.");
    let (m, n) = sizes(v);
    ensure!(m >= n, Runtime, "{name}: input.shape[-2] must be greater than or equal to input.shape[-1]");
    check_tau(v, tau, name)
}

fn check_tau(v: &Tensor, tau: &Tensor, name: &str) -> Result<()> {
    let n = sizes(v).1;
    ensure!(
        tau.ndim() >= 1 && n >= tau.shape()[tau.ndim() - 1],
        Runtime,
        "{name}: input.shape[-1] must be greater than or equal to tau.shape[-1]"
    );
    ensure!(
        v.ndim() - tau.ndim() == 1,
        Runtime,
        "{name}: Expected tau to have one dimension less than input, but got tau.ndim equal to {} and input.ndim is equal to {}",
        tau.ndim(),
        v.ndim()
    );
    ensure!(
        tau.shape()[..tau.ndim() - 1] == *batch_of(v),
        Runtime,
        "{name}: Expected batch dimensions of tau to be equal to input.shape[:-2], but got {}",
        crate::layout::show(&tau.shape()[..tau.ndim() - 1])
    );
    ensure!(
        tau.dtype() == v.dtype(),
        Runtime,
        "{name}: tau dtype {} does not match input dtype {}",
        tau.dtype().scalar_name(),
        v.dtype().scalar_name()
    );
    Ok(())
}

/// The first columns of the product of the reflectors.
fn householder_product(v: &Tensor, tau: &Tensor) -> Result<Tensor> {
    check_reflectors(v, tau, "torch.linalg.householder_product")?;
    let (m, n) = sizes(v);
    load(&tau.detach(), "orgqr_cpu")?;
    let mut q = with_batch(&mask(m, n, v, |i, j| (i == j) as u8 as f64)?, batch_of(v))?;
    let count = tau.shape()[tau.ndim() - 1];
    for i in (0..count).rev() {
        q = apply(v, tau, i, &q)?;
    }
    let q = copy::contiguous(&q)?;
    if count > 0 {
        return Ok(q);
    }
    let (dv, dt) = (v.dims(), tau.dims());
    Ok(record("LinalgHouseholderProductBackward0", &[v, tau], q, move |_, g| {
        let zero = |s: &Dims| Tensor::zeros(s, g.dtype(), g.device());
        Ok(smallvec![Some(zero(&dv)?), Some(zero(&dt)?)])
    }))
}

fn ormqr(v: &Tensor, tau: &Tensor, x: &Tensor, left: bool, transpose: bool) -> Result<Tensor> {
    let name = "torch.ormqr";
    ensure!(v.ndim() >= 2, Runtime, "{name}: input must have at least 2 dimensions.");
    ensure!(x.ndim() >= 2, Runtime, "{name}: other must have at least 2 dimensions.");
    let (rows, side) = (sizes(v).0, if left { sizes(x).0 } else { sizes(x).1 });
    ensure!(
        side >= tau.size(tau.ndim().saturating_sub(1)),
        Runtime,
        "{name}: other.shape[{}] must be greater than or equal to tau.shape[-1]",
        if left { -2 } else { -1 }
    );
    ensure!(side == rows, Runtime, "{name}: other.shape[{}] must be equal to input.shape[-2]", if left { -2 } else { -1 });
    check_tau(v, tau, name)?;
    ensure!(
        batch_of(x) == batch_of(v),
        Runtime,
        "{name}: Expected batch dimensions of other to be equal to input.shape[:-2], but got {}",
        crate::layout::show(batch_of(x))
    );
    ensure!(
        x.dtype() == v.dtype(),
        Runtime,
        "{name}: Expected input and other to have the same dtype, but input has dtype {} and other has dtype {}",
        v.dtype().scalar_name(),
        x.dtype().scalar_name()
    );
    // x Q = (Q^T x^T)^T
    let (mut y, back) = if left { (x.clone(), transpose) } else { (mt(x)?, !transpose) };
    let k = tau.shape()[tau.ndim() - 1];
    // Q y applies the last reflector first.
    for s in 0..k {
        y = apply(v, tau, if back { s } else { k - 1 - s }, &y)?;
    }
    if left { Ok(y) } else { mt(&y) }
}

pub(super) fn register(r: &mut Registry) {
    r.op(
        "l",
        "qr(Tensor A, str mode='reduced') -> (Tensor Q, Tensor R)",
        "A = Q R with orthogonal Q and upper triangular R.",
        |a| qr(a.t(0), a.s(1)).map(Ret::from),
    );
    r.op(
        "fm",
        "qr(Tensor self, bool some=True) -> (Tensor Q, Tensor R)",
        "A = Q R with orthogonal Q and upper triangular R.",
        |a| qr(a.t(0), if a.b(1) { "reduced" } else { "complete" }).map(Ret::from),
    );
    r.op("fm", "geqrf(Tensor self) -> (Tensor a, Tensor tau)", "QR as reflectors.", |a| geqrf(a.t(0)).map(Ret::from));
    r.op("l", "householder_product(Tensor self, Tensor tau) -> Tensor", "Columns of the product of reflectors.", |a| {
        householder_product(a.t(0), a.t(1)).map(Ret::from)
    });
    r.op("fm", "orgqr(Tensor self, Tensor input2) -> Tensor", "Columns of the product of reflectors.", |a| {
        householder_product(a.t(0), a.t(1)).map(Ret::from)
    });
    r.op(
        "fm",
        "ormqr(Tensor self, Tensor tau, Tensor other, bool left=True, bool transpose=False) -> Tensor",
        "The product of reflectors times a matrix.",
        |a| ormqr(a.t(0), a.t(1), a.t(2), a.b(3), a.b(4)).map(Ret::from),
    );
}
