//! Singular values and eigenvalues, and what is made of them.

use super::super::elementwise::{self, mul, scale};
use super::super::matmul::{matmul, mt};
use super::super::{Registry, Ret, complex, copy, reduce, view};
use super::*;
use crate::autograd::{needs_grad, record, record_many, save, save_output};
use crate::bail;
use crate::cpu::linalg as kernel;
use crate::dtype::{Cplx, Scalar};
use crate::expr::Operand;
use smallvec::smallvec;

fn check_finite(data: &[f64], error: impl FnOnce() -> Error) -> Result<()> {
    if data.iter().all(|v| v.is_finite()) { Ok(()) } else { Err(error()) }
}

// ---- singular values ----

/// U, S and V^T of every matrix; no history.
fn svd_raw(a: &Tensor, full: bool, vectors: bool) -> Result<(Tensor, Tensor, Tensor)> {
    let (m, n) = sizes(a);
    let k = m.min(n);
    let mut data = load(a, "linalg_svd_cpu")?;
    let bad =
        || err!(Linalg, "linalg.svd: The algorithm failed to converge because the input matrix contained non-finite values.");
    check_finite(&data, bad)?;
    let batch = batch_of(a);
    let count: usize = batch.iter().product();
    let (uc, vr) = if full { (m, n) } else { (k, k) };
    let mut s = vec![0.0; count * k];
    let size = |x: usize| if vectors { count * x } else { 0 };
    let (mut u, mut vt) = (vec![0.0; size(m * uc)], vec![0.0; size(vr * n)]);
    let fail = |_| no_convergence("linalg.svd");
    if k > 0 {
        for (i, x) in each(&mut data, m * n).enumerate() {
            let s = &mut s[i * k..(i + 1) * k];
            if vectors {
                kernel::svd(m, n, x, full, &mut u[i * m * uc..(i + 1) * m * uc], s, &mut vt[i * vr * n..(i + 1) * vr * n])
                    .map_err(fail)?;
            } else {
                kernel::singular_values(m, n, x, s).map_err(fail)?;
            }
        }
    } else if vectors {
        // Any orthogonal matrix will do.
        for (x, size) in [(&mut u, uc), (&mut vt, vr)] {
            if size > 0 && x.len() == count * size * size {
                for i in 0..count * size {
                    x[i / size * size * size + (i % size) * (size + 1)] = 1.0;
                }
            }
        }
    }
    let s = store(&s, &shaped(batch, &[k]), a.dtype())?;
    if !vectors {
        let none = Tensor::empty(&[0], a.dtype(), a.device())?;
        return Ok((none.clone(), s, none));
    }
    Ok((store(&u, &shaped(batch, &[m, uc]), a.dtype())?, s, store(&vt, &shaped(batch, &[vr, n]), a.dtype())?))
}

fn number(row: &'static elementwise::Row, x: &Tensor, s: f64) -> Result<Tensor> {
    row.call(&[Operand::T(x.clone()), Operand::S(Scalar::Float(s))], &[], None)
}

/// 1 / (s_k^2 - s_j^2) at (j, k), and 0 on the diagonal.
fn gaps(s: &Tensor, squared: bool) -> Result<Tensor> {
    let s = if squared { mul(s, s)? } else { s.clone() };
    let n = s.shape()[s.ndim() - 1];
    let e = sub(&view::unsqueeze(&s, -2)?, &view::unsqueeze(&s, -1)?)?;
    let one = eye(n, &s)?;
    let inv = elementwise::RECIPROCAL.call(&[Operand::T(add(&e, &one)?)], &[], None)?;
    mul(&inv, &mask(n, n, &s, |i, j| (i != j) as u8 as f64)?)
}

fn skew(x: &Tensor) -> Result<Tensor> {
    sub(x, &mt(x)?)
}

fn svd_backward(u: &Tensor, s: &Tensor, vt: &Tensor, g: [Option<Tensor>; 3]) -> Result<Tensor> {
    let k = s.shape()[s.ndim() - 1] as i64;
    let (m, n) = (sizes(u).0, sizes(vt).1);
    let (u, vt) = (view::narrow(u, -1, 0, k)?, view::narrow(vt, -2, 0, k)?);
    let [gu, gs, gvt] = g;
    let gu = gu.map(|g| view::narrow(&g, -1, 0, k)).transpose()?;
    let gvt = gvt.map(|g| view::narrow(&g, -2, 0, k)).transpose()?;
    let mut inner: Option<Tensor> = None;
    let mut put = |x: Tensor| -> Result<()> {
        inner = Some(match &inner {
            None => x,
            Some(y) => add(y, &x)?,
        });
        Ok(())
    };
    if gu.is_some() || gvt.is_some() {
        let e = gaps(s, true)?;
        if let Some(gu) = &gu {
            put(scale_columns(&mul(&skew(&matmul(&mt(&u)?, gu)?)?, &e)?, s)?)?;
        }
        if let Some(gvt) = &gvt {
            put(scale_rows(&mul(&skew(&matmul(&vt, &mt(gvt)?)?)?, &e)?, s)?)?;
        }
    }
    if let Some(gs) = gs {
        put(scale_columns(&eye(k as usize, s)?, &gs)?)?;
    }
    let Some(inner) = inner else { return Tensor::zeros(&shaped(batch_of(&u), &[m, n]), s.dtype(), s.device()) };
    let inverse = || elementwise::RECIPROCAL.call(&[Operand::T(s.clone())], &[], None);
    let mut out = mm3(&u, &inner, &vt)?;
    if let Some(gu) = &gu
        && m > k as usize
    {
        // What of gU is orthogonal to U.
        let rest = minus_product(gu, &u, &matmul(&mt(&u)?, gu)?)?;
        out = add(&out, &matmul(&scale_columns(&rest, &inverse()?)?, &vt)?)?;
    }
    if let Some(gvt) = &gvt
        && n > k as usize
    {
        let rest = minus_product(gvt, &matmul(gvt, &mt(&vt)?)?, &vt)?;
        out = add(&out, &matmul(&u, &scale_rows(&rest, &inverse()?)?)?)?;
    }
    Ok(out)
}

/// U, S and V^T.
pub fn svd(a: &Tensor, full: bool) -> Result<(Tensor, Tensor, Tensor)> {
    check_float(a, "linalg.svd")?;
    check_matrix(a, "linalg.svd")?;
    let (u, s, vt) = svd_raw(a, full, true)?;
    let saved = (save_output(&u, 0), save_output(&s, 1), save_output(&vt, 2));
    record_many("LinalgSvdBackward0", &[a], &[&u, &s, &vt], move |ctx, g| {
        let (u, s, vt) = (saved.0.get(ctx)?, saved.1.get(ctx)?, saved.2.get(ctx)?);
        Ok(smallvec![Some(svd_backward(&u, &s, &vt, [g[0].clone(), g[1].clone(), g[2].clone()])?)])
    });
    Ok((u, s, vt))
}

/// Singular values in falling order.
pub fn svdvals(a: &Tensor) -> Result<Tensor> {
    check_float(a, "linalg.svd")?;
    check_matrix(a, "linalg.svd")?;
    if needs_grad(&[a]) {
        return Ok(svd(a, false)?.1);
    }
    Ok(svd_raw(a, false, false)?.1)
}

/// The matrix of cofactors, which is the gradient of the determinant; no history.
pub fn cofactors(a: &Tensor) -> Result<Tensor> {
    let (u, s, vt) = crate::autograd::no_grad(|| svd_raw(a, true, true))?;
    let n = sizes(a).0;
    let values = load(&s, "linalg_svd_cpu")?;
    let mut others = vec![1.0; values.len()];
    for (row, out) in values.chunks_exact(n.max(1)).zip(others.chunks_exact_mut(n.max(1))) {
        for i in 0..n {
            out[i] = (0..n).filter(|&j| j != i).map(|j| row[j]).product();
        }
    }
    let others = store(&others, s.shape(), a.dtype())?;
    crate::autograd::no_grad(|| {
        let [_, _, du] = super::solve::determinants(&u, "lu_cpu")?;
        let [_, _, dv] = super::solve::determinants(&vt, "lu_cpu")?;
        let sign: Vec<f64> = du.iter().zip(&dv).map(|(x, y)| (x * y).signum()).collect();
        let sign = store(&sign, &shaped(batch_of(a), &[1, 1]), a.dtype())?;
        mul(&sign, &matmul(&scale_columns(&u, &others)?, &vt)?)
    })
}

// ---- symmetric matrices ----

fn triangle(uplo: &str) -> Result<bool> {
    match uplo {
        "L" | "l" => Ok(false),
        "U" | "u" => Ok(true),
        _ => bail!(Runtime, "Expected UPLO argument to be 'L' or 'U', but got {uplo}"),
    }
}

fn eigh_raw(a: &Tensor, upper: bool, vectors: bool) -> Result<(Tensor, Tensor)> {
    let n = sizes(a).0;
    let mut data = load(a, "linalg_eigh_cpu")?;
    check_finite(&data, || no_convergence("linalg.eigh"))?;
    let batch = batch_of(a);
    let count: usize = batch.iter().product();
    let mut w = vec![0.0; count * n];
    let mut v = vec![0.0; if vectors { count * n * n } else { 0 }];
    if n > 0 {
        for (i, x) in each(&mut data, n * n).enumerate() {
            let w = &mut w[i * n..(i + 1) * n];
            let done = if vectors {
                kernel::eigen_symmetric(n, x, upper, w, &mut v[i * n * n..(i + 1) * n * n])
            } else {
                kernel::eigenvalues_symmetric(n, x, upper, w)
            };
            done.map_err(|_| no_convergence("linalg.eigh"))?;
        }
    }
    let w = store(&w, &shaped(batch, &[n]), a.dtype())?;
    let v = if vectors { store(&v, a.shape(), a.dtype())? } else { Tensor::empty(&[0], a.dtype(), a.device())? };
    Ok((w, v))
}

/// Eigenvalues in rising order and eigenvectors of symmetric matrices.
pub fn eigh(a: &Tensor, uplo: &str) -> Result<(Tensor, Tensor)> {
    check_square(a, "linalg.eigh")?;
    let (w, v) = eigh_raw(a, triangle(uplo)?, true)?;
    let (sw, sv) = (save_output(&w, 0), save_output(&v, 1));
    record_many("LinalgEighBackward0", &[a], &[&w, &v], move |ctx, g| {
        let (w, v) = (sw.get(ctx)?, sv.get(ctx)?);
        let vt = mt(&v)?;
        let diagonal = match &g[0] {
            Some(gw) => Some(scale_columns(&eye(w.shape()[w.ndim() - 1], &w)?, gw)?),
            None => None,
        };
        let inner = match &g[1] {
            None => diagonal,
            Some(gv) => {
                let x = mul(&matmul(&vt, gv)?, &gaps(&w, false)?)?;
                Some(match diagonal {
                    Some(d) => add(&x, &d)?,
                    None => x,
                })
            }
        };
        Ok(smallvec![inner.map(|x| mm3(&v, &x, &vt)).transpose()?])
    });
    Ok((w, v))
}

fn eigvalsh(a: &Tensor, uplo: &str) -> Result<Tensor> {
    check_square(a, "linalg.eigh")?;
    if needs_grad(&[a]) {
        return Ok(eigh(a, uplo)?.0);
    }
    Ok(eigh_raw(a, triangle(uplo)?, false)?.0)
}

// ---- any square matrix ----

fn complex_tensor(data: &[[f64; 2]], shape: &[usize], dtype: Dtype) -> Result<Tensor> {
    let data: Vec<Cplx<f64>> = data.iter().map(|v| Cplx { re: v[0], im: v[1] }).collect();
    copy::to_dtype(&Tensor::from_slice(&data, shape)?, dtype.to_complex())
}

fn eig(a: &Tensor, vectors: bool) -> Result<(Tensor, Tensor)> {
    check_square(a, "linalg.eig")?;
    if !vectors && needs_grad(&[a]) {
        return eig(a, true);
    }
    ensure!(a.dtype().is_float(), Runtime, "Unknown Complex ScalarType for {}", a.dtype().scalar_name());
    let n = sizes(a).0;
    let mut data = load(a, "linalg_eig_out_cpu")?;
    check_finite(&data, || err!(Runtime, "torch.linalg.eig: input tensor should not contain infs or NaNs."))?;
    let batch = batch_of(a);
    let count: usize = batch.iter().product();
    let mut w = vec![[0.0; 2]; count * n];
    let mut v = vec![[0.0; 2]; if vectors { count * n * n } else { 0 }];
    if n > 0 {
        for (i, x) in each(&mut data, n * n).enumerate() {
            let w = &mut w[i * n..(i + 1) * n];
            let done =
                if vectors { kernel::eigen(n, x, w, &mut v[i * n * n..(i + 1) * n * n]) } else { kernel::eigenvalues(n, x, w) };
            done.map_err(|_| no_convergence("linalg.eig"))?;
        }
    }
    let w = complex_tensor(&w, &shaped(batch, &[n]), a.dtype())?;
    let v = if vectors { complex_tensor(&v, a.shape(), a.dtype())? } else { Tensor::empty(&[0], w.dtype(), a.device())? };
    if vectors {
        let (sw, sv) = (save_output(&w, 0), save_output(&v, 1));
        record_many("LinalgEigBackward0", &[a], &[&w, &v], move |ctx, g| {
            Ok(smallvec![Some(eig_backward(&sw.get(ctx)?, &sv.get(ctx)?, g[0].as_ref(), g[1].as_ref())?)])
        });
    }
    Ok((w, v))
}

/// V^-H (diag(gw) + (V^H gV - V^H V diag(re(V^H gV))) / conj(E)) V^H with E the differences of eigenvalues; the
/// real part of it, the matrix being real.
fn eig_backward(w: &Tensor, v: &Tensor, gw: Option<&Tensor>, gv: Option<&Tensor>) -> Result<Tensor> {
    let n = sizes(v).0;
    let adjoint = |x: &Tensor| complex::conj_physical(&mt(x)?);
    let vh = adjoint(v)?;
    let like = complex::real(v)?;
    let one = eye(n, &like)?;
    let off = mask(n, n, &like, |i, j| (i != j) as u8 as f64)?;
    let mut inner = match gw {
        Some(g) => Some(mul(&view::unsqueeze(g, -2)?, &one)?),
        None => None,
    };
    if let Some(gv) = gv {
        let m = matmul(&vh, gv)?;
        let diagonal = complex::real(&view::diagonal(&m, 0, -2, -1)?)?;
        let m = sub(&m, &scale_columns(&matmul(&vh, v)?, &diagonal)?)?;
        let e = sub(&view::unsqueeze(w, -2)?, &view::unsqueeze(w, -1)?)?;
        let e = complex::conj_physical(&add(&e, &one)?)?;
        let m = mul(&elementwise::div(&m, &e)?, &off)?;
        inner = Some(match inner {
            Some(x) => add(&x, &m)?,
            None => m,
        });
    }
    let Some(inner) = inner else { return Tensor::zeros(v.shape(), like.dtype(), v.device()) };
    complex::real(&super::solve::solve(&vh, &matmul(&inner, &vh)?, true)?)
}

// ---- made of them ----

fn eps(d: Dtype) -> f64 {
    if d == Dtype::F64 { f64::EPSILON } else { f32::EPSILON as f64 }
}

/// The bound below which singular values count as zero: max(atol, rtol * largest), (..., 1).
fn bound(s: &Tensor, a: &Tensor, atol: Option<&Tensor>, rtol: Option<&Tensor>) -> Result<Tensor> {
    let (m, n) = sizes(a);
    let usual = eps(a.dtype()) * m.max(n) as f64;
    let column = |t: &Tensor| if t.ndim() == 0 { Ok(t.detach()) } else { view::unsqueeze(&t.detach(), -1) };
    let top = view::narrow(&s.detach(), -1, 0, 1)?;
    let atol_t = atol.map(column).transpose()?;
    let relative = match (rtol, &atol_t) {
        (Some(r), _) => mul(&column(r)?, &top)?,
        (None, None) => scale(&top, usual)?,
        // A given atol above 0 switches the usual relative bound off.
        (None, Some(t)) => {
            let positive = number(&elementwise::GT, t, 0.0)?;
            let r = elementwise::WHERE.call(
                &[Operand::T(positive), Operand::S(Scalar::Float(0.0)), Operand::S(Scalar::Float(usual))],
                &[],
                None,
            )?;
            mul(&copy::to_dtype(&r, s.dtype())?, &top)?
        }
    };
    match atol_t {
        None => Ok(relative),
        Some(t) => elementwise::MAXIMUM.call(&[Operand::T(t), Operand::T(relative)], &[], None),
    }
}

/// The pseudoinverse.
pub fn pinv(a: &Tensor, atol: Option<&Tensor>, rtol: Option<f64>, hermitian: bool) -> Result<Tensor> {
    let rtol = rtol.map(|r| Tensor::scalar(r, Dtype::F64));
    pinv_with(a, atol, rtol.as_ref(), hermitian)
}

fn pinv_with(a: &Tensor, atol: Option<&Tensor>, rtol: Option<&Tensor>, hermitian: bool) -> Result<Tensor> {
    ensure!(
        a.ndim() >= 2 && (a.dtype().is_complex() || matches!(a.dtype(), Dtype::F32 | Dtype::F64)),
        Runtime,
        "linalg.pinv({}{{{}}}): expected a tensor with 2 or more dimensions of float, double, cfloat or cdouble types",
        a.dtype().scalar_name(),
        crate::layout::show(a.shape())
    );
    let (m, n) = sizes(a);
    if hermitian {
        check_square(a, "linalg.pinv")?;
    }
    let raw = || -> Result<Tensor> {
        let a = a.detach();
        if a.numel() == 0 {
            return Tensor::empty(&shaped(batch_of(&a), &[n, m]), a.dtype(), a.device());
        }
        let invert = |s: &Tensor, sizes: &Tensor, low: &Tensor| -> Result<Tensor> {
            let keep = elementwise::GT.call(&[Operand::T(sizes.clone()), Operand::T(low.clone())], &[], None)?;
            let inv = elementwise::RECIPROCAL.call(&[Operand::T(s.clone())], &[], None)?;
            let out = elementwise::WHERE.call(&[Operand::T(keep), Operand::T(inv), Operand::S(Scalar::Float(0.0))], &[], None)?;
            copy::to_dtype(&out, a.dtype())
        };
        if hermitian {
            let (w, v) = eigh_raw(&a, false, true)?;
            let abs = elementwise::ABS.call(&[Operand::T(w.clone())], &[], None)?;
            let sorted = svd_raw(&a, false, false)?.1;
            let low = bound(&sorted, &a, atol, rtol)?;
            return matmul(&scale_columns(&v, &invert(&w, &abs, &low)?)?, &mt(&v)?);
        }
        let (u, s, vt) = svd_raw(&a, false, true)?;
        let low = bound(&s, &a, atol, rtol)?;
        matmul(&scale_columns(&mt(&vt)?, &invert(&s, &s, &low)?)?, &mt(&u)?)
    };
    let out = crate::autograd::no_grad(raw)?;
    let (sa, so) = (save(a), save_output(&out, 0));
    Ok(record("LinalgPinvBackward0", &[a], out, move |ctx, g| {
        let (a, p) = (sa.get(ctx)?, so.get(ctx)?);
        // dP = -P dA P + P P^T dA^T (I - A P) + (I - P A) dA^T P^T P, transposed for the gradient.
        let (pt, gt) = (mt(&p)?, mt(g)?);
        let first = mm3(&pt, g, &pt)?;
        let second = mm3(&minus_product(&gt, &a, &matmul(&p, &gt)?)?, &p, &pt)?;
        let third = mm3(&pt, &p, &minus_product(&gt, &matmul(&gt, &p)?, &a)?)?;
        Ok(smallvec![Some(sub(&add(&second, &third)?, &first)?)])
    }))
}

fn matrix_rank(a: &Tensor, atol: Option<&Tensor>, rtol: Option<&Tensor>, hermitian: bool) -> Result<Tensor> {
    ensure!(a.ndim() >= 2, Runtime, "torch.linalg.matrix_rank: The input tensor input must have at least 2 dimensions.");
    ensure!(
        matches!(a.dtype(), Dtype::F32 | Dtype::F64) || a.dtype().is_complex(),
        Runtime,
        "This function doesn't handle types other than float and double"
    );
    if hermitian {
        check_square(a, "linalg.matrix_rank")?;
    }
    crate::autograd::no_grad(|| {
        let a = a.detach();
        if a.numel() == 0 {
            return Tensor::zeros(batch_of(&a), Dtype::I64, a.device());
        }
        let s = if hermitian {
            let w = elementwise::ABS.call(&[Operand::T(eigh_raw(&a, false, false)?.0)], &[], None)?;
            // Rising order of absolute values is not falling order of size.
            let mut data = load(&w, "linalg_eigh_cpu")?;
            for row in data.chunks_exact_mut(sizes(&a).0) {
                row.sort_by(|x, y| y.total_cmp(x));
            }
            store(&data, w.shape(), w.dtype())?
        } else {
            svd_raw(&a, false, false)?.1
        };
        let low = bound(&s, &a, atol, rtol)?;
        let above = elementwise::GT.call(&[Operand::T(s), Operand::T(low)], &[], None)?;
        reduce::sum(&above, Some(&[-1]), false, None)
    })
}

fn optional_scalar(a: &super::super::Args, i: usize) -> Option<Tensor> {
    a.of(i).map(|v| Tensor::scalar(v, Dtype::F64))
}

pub(super) fn register(r: &mut Registry) {
    r.op(
        "l",
        "svd(Tensor A, bool full_matrices=True, *, str? driver=None) -> (Tensor U, Tensor S, Tensor Vh)",
        "The singular value decomposition.",
        |a| {
            ensure!(
                a.os(2).is_none(),
                Runtime,
                "torch.linalg.svd: keyword argument `driver=` is only supported on CUDA inputs with cuSOLVER backend."
            );
            let (u, s, vt) = svd(a.t(0), a.b(1))?;
            Ok(Ret::Tuple(vec![u, s, vt]))
        },
    );
    r.op(
        "fm",
        "svd(Tensor self, bool some=True, bool compute_uv=True) -> (Tensor U, Tensor S, Tensor V)",
        "The singular value decomposition.",
        |a| {
            let x = a.t(0);
            ensure!(
                x.ndim() >= 2,
                Runtime,
                "linalg.svd: input should have at least 2 dimensions, but has {} dimensions instead",
                x.ndim()
            );
            if a.b(2) {
                let (u, s, vt) = svd(x, !a.b(1))?;
                return Ok(Ret::Tuple(vec![u, s, mt(&vt)?]));
            }
            let (m, n) = sizes(x);
            let zero = |k: usize| Tensor::zeros(&shaped(batch_of(x), &[k, k]), x.dtype(), x.device());
            Ok(Ret::Tuple(vec![zero(m)?, svdvals(x)?, zero(n)?]))
        },
    );
    r.op("l", "svdvals(Tensor A, *, str? driver=None) -> Tensor", "Singular values in falling order.", |a| {
        svdvals(a.t(0)).map(Ret::from)
    });
    r.op(
        "l",
        "eigh(Tensor self, str UPLO='L') -> (Tensor eigenvalues, Tensor eigenvectors)",
        "Eigenvalues and eigenvectors of symmetric matrices.",
        |a| eigh(a.t(0), a.s(1)).map(Ret::from),
    );
    r.op("l", "eigvalsh(Tensor self, str UPLO='L') -> Tensor", "Eigenvalues of symmetric matrices.", |a| {
        eigvalsh(a.t(0), a.s(1)).map(Ret::from)
    });
    r.op("l", "eig(Tensor self) -> (Tensor eigenvalues, Tensor eigenvectors)", "Eigenvalues and eigenvectors.", |a| {
        eig(a.t(0), true).map(Ret::from)
    });
    r.op("l", "eigvals(Tensor self) -> Tensor", "Eigenvalues.", |a| Ok(eig(a.t(0), false)?.0.into()));
    r.op("fm", "pinverse(Tensor self, float rcond=1e-15) -> Tensor", "The pseudoinverse.", |a| {
        pinv(a.t(0), None, a.of(1), false).map(Ret::from)
    });
    r.op(
        "l",
        "pinv(Tensor self, *, Tensor? atol=None, Tensor? rtol=None, bool hermitian=False) -> Tensor",
        "The pseudoinverse.",
        |a| pinv_with(a.t(0), a.ot(1), a.ot(2), a.b(3)).map(Ret::from),
    );
    r.op(
        "l",
        "pinv(Tensor self, *, float? atol=None, float? rtol=None, bool hermitian=False) -> Tensor",
        "The pseudoinverse.",
        |a| pinv_with(a.t(0), optional_scalar(a, 1).as_ref(), optional_scalar(a, 2).as_ref(), a.b(3)).map(Ret::from),
    );
    r.op("l", "pinv(Tensor self, Tensor rcond, bool hermitian=False) -> Tensor", "The pseudoinverse.", |a| {
        pinv_with(a.t(0), None, a.ot(1), a.b(2)).map(Ret::from)
    });
    r.op("l", "pinv(Tensor self, float rcond, bool hermitian=False) -> Tensor", "The pseudoinverse.", |a| {
        pinv_with(a.t(0), None, optional_scalar(a, 1).as_ref(), a.b(2)).map(Ret::from)
    });
    r.op(
        "l",
        "matrix_rank(Tensor self, *, Tensor? atol=None, Tensor? rtol=None, bool hermitian=False) -> Tensor",
        "The number of singular values above a bound.",
        |a| matrix_rank(a.t(0), a.ot(1), a.ot(2), a.b(3)).map(Ret::from),
    );
    r.op(
        "l",
        "matrix_rank(Tensor self, *, float? atol=None, float? rtol=None, bool hermitian=False) -> Tensor",
        "The number of singular values above a bound.",
        |a| matrix_rank(a.t(0), optional_scalar(a, 1).as_ref(), optional_scalar(a, 2).as_ref(), a.b(3)).map(Ret::from),
    );
    // The tolerance of these is an absolute one.
    r.op(
        "l",
        "matrix_rank(Tensor self, Tensor tol, bool hermitian=False) -> Tensor",
        "The number of singular values above a bound.",
        |a| matrix_rank(a.t(0), a.ot(1), Some(&Tensor::scalar(0.0, Dtype::F64)), a.b(2)).map(Ret::from),
    );
    r.op(
        "l",
        "matrix_rank(Tensor self, float tol, bool hermitian=False) -> Tensor",
        "The number of singular values above a bound.",
        |a| matrix_rank(a.t(0), optional_scalar(a, 1).as_ref(), Some(&Tensor::scalar(0.0, Dtype::F64)), a.b(2)).map(Ret::from),
    );
}
