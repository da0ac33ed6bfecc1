//! Norms of matrices and condition numbers.

use super::super::elementwise::{self, div};
use super::super::{Args, Registry, Ret, Value, complex, copy, reduce, view};
use super::solve::inv;
use super::spectral::svdvals;
use super::*;
use crate::bail;
use crate::layout::wrap_dim;

/// Which norm.
#[derive(Clone, PartialEq)]
enum Order {
    Number(f64),
    Name(String),
}

impl Order {
    /// Argument `i`, or `default` where it is None.
    fn of(a: &Args, i: usize, default: Order) -> Order {
        match &a.values[i] {
            Value::Scalar(s) => Order::Number(s.f64()),
            Value::Str(s) => Order::Name(s.clone()),
            _ => default,
        }
    }

    fn show(&self) -> String {
        match self {
            Order::Name(s) => s.clone(),
            Order::Number(v) if v.is_infinite() => {
                if *v > 0.0 {
                    "inf".into()
                } else {
                    "-inf".into()
                }
            }
            Order::Number(v) => format!("{v}"),
        }
    }
}

fn converted(x: &Tensor, dtype: Option<Dtype>, name: &str) -> Result<Tensor> {
    let Some(d) = dtype else { return Ok(x.clone()) };
    ensure!(
        d.is_float() || d.is_complex(),
        Runtime,
        "{name}: dtype should be floating point or complex, but got {}",
        d.scalar_name()
    );
    ensure!(
        d.is_complex() == x.dtype().is_complex(),
        Runtime,
        "{name}: dtype should be {} for {} inputs, but got {}",
        if x.dtype().is_complex() { "complex" } else { "real" },
        if x.dtype().is_complex() { "complex" } else { "real" },
        d.scalar_name()
    );
    ensure!(
        x.dtype().promote(d) == d,
        Runtime,
        "{name}: the dtype of the input ({}) should be convertible without narrowing to the specified dtype ({})",
        x.dtype().scalar_name(),
        d.scalar_name()
    );
    copy::to_dtype(x, d)
}

/// The sum of the singular values of the matrices in two dimensions.
pub fn nuclear_norm(x: &Tensor, dims: &[i64], keepdim: bool, dtype: Option<Dtype>) -> Result<Tensor> {
    matrix_norm(x, &Order::Name("nuc".into()), dims, keepdim, dtype)
}

/// The norm of the matrices in two dimensions of `x`.
fn matrix_norm(x: &Tensor, order: &Order, dims: &[i64], keepdim: bool, dtype: Option<Dtype>) -> Result<Tensor> {
    let name = "linalg.matrix_norm";
    check_matrix(x, name)?;
    check_float(x, name)?;
    ensure!(dims.len() == 2, Runtime, "{name}: dim must be a 2-tuple. Got {}", crate::layout::show(dims));
    let d: Vec<usize> = dims.iter().map(|&d| wrap_dim(d, x.ndim())).collect::<Result<_>>()?;
    ensure!(d[0] != d[1], Runtime, "{name}: dims must be different. Got ({}, {})", dims[0], dims[1]);
    let x = converted(x, dtype, name)?;
    let both = [d[0] as i64, d[1] as i64];
    match order {
        Order::Name(n) if n == "fro" => reduce::vector_norm(&x, 2.0, Some(&both), keepdim, None),
        Order::Name(n) if n == "nuc" => {
            let s = by_singular_values(&x, &d, |s| reduce::sum(s, Some(&[-1]), false, None))?;
            kept(&s, &d, x.ndim(), keepdim)
        }
        Order::Number(p) if p.abs() == 2.0 => {
            let top = *p > 0.0;
            let s = by_singular_values(&x, &d, |s| {
                let n = s.shape()[s.ndim() - 1];
                if n == 0 && top {
                    return reduce::sum(s, Some(&[-1]), false, None);
                }
                ensure!(n > 0, Index, "amin(): Expected reduction dim -1 to have non-zero size.");
                view::select(s, -1, if top { 0 } else { n as i64 - 1 })
            })?;
            kept(&s, &d, x.ndim(), keepdim)
        }
        Order::Number(p) if p.abs() == 1.0 || p.is_infinite() => {
            // The largest (or smallest) sum of absolute values of a column (order 1) or a row (infinity).
            let (summed, over) = if p.is_infinite() { (d[1], d[0]) } else { (d[0], d[1]) };
            let s = reduce::vector_norm(&x, 1.0, Some(&[summed as i64]), keepdim, None)?;
            let over = if !keepdim && over > summed { over - 1 } else { over };
            // The largest of none is 0.
            if s.size(over) == 0 && *p > 0.0 {
                return reduce::sum(&s, Some(&[over as i64]), keepdim, None);
            }
            reduce::extreme_over(&s, &[over as i64], keepdim, *p > 0.0)
        }
        _ => bail!(Runtime, "{name}: Order {} not supported.", order.show()),
    }
}

/// `f` of the singular values, with the two dimensions moved to the end.
fn by_singular_values(x: &Tensor, d: &[usize], f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let order: Vec<i64> = (0..x.ndim()).filter(|i| !d.contains(i)).chain(d.iter().copied()).map(|i| i as i64).collect();
    f(&svdvals(&view::permute(x, &order)?)?)
}

/// With the reduced dimensions as ones.
fn kept(s: &Tensor, d: &[usize], ndim: usize, keepdim: bool) -> Result<Tensor> {
    if !keepdim {
        return Ok(s.clone());
    }
    let mut rest = s.shape().iter();
    let shape: Dims =
        (0..ndim).map(|i| if d.contains(&i) { 1 } else { *rest.next().expect("a dimension that stayed") }).collect();
    view::reshape_to(s, &shape)
}

/// `torch.linalg.norm`: of vectors or of matrices, by the dimensions.
fn norm(x: &Tensor, order: Option<Order>, dims: Option<&[i64]>, keepdim: bool, dtype: Option<Dtype>) -> Result<Tensor> {
    if let Some(d) = dims {
        ensure!(
            d.len() == 1 || d.len() == 2,
            Runtime,
            "linalg.norm: If dim is specified, it must be of length 1 or 2. Got {}",
            crate::layout::show(d)
        );
    } else if order.is_some() {
        ensure!(
            x.ndim() == 1 || x.ndim() == 2,
            Runtime,
            "linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {}D.",
            x.ndim()
        );
    }
    let all: Vec<i64> = (0..x.ndim() as i64).collect();
    match order {
        Some(o) if dims.is_some_and(|d| d.len() == 2) || (dims.is_none() && x.ndim() == 2) => {
            matrix_norm(x, &o, dims.unwrap_or(&all), keepdim, dtype)
        }
        Some(Order::Name(n)) => bail!(Runtime, "linalg.norm: Order {n} not supported for vectors."),
        Some(Order::Number(p)) => reduce::vector_norm(x, p, dims, keepdim, dtype),
        None => {
            if let Some([a, b]) = dims {
                let (p, q) = (wrap_dim(*a, x.ndim())?, wrap_dim(*b, x.ndim())?);
                ensure!(p != q, Runtime, "dim {p} appears multiple times in the list of dims");
            }
            reduce::vector_norm(x, 2.0, dims, keepdim, dtype)
        }
    }
}

/// The condition number: the norm times that of the inverse.
fn cond(a: &Tensor, order: Option<Order>) -> Result<Tensor> {
    ensure!(a.ndim() >= 2, Runtime, "linalg.cond: The input tensor must have at least 2 dimensions.");
    let last: [i64; 2] = [-2, -1];
    match order {
        None | Some(Order::Number(2.0 | -2.0)) => {
            let s = svdvals(a)?;
            let n = s.shape()[s.ndim() - 1] as i64;
            if n == 0 {
                return Tensor::zeros(batch_of(a), a.dtype(), a.device());
            }
            let (low, high) = (view::select(&s, -1, n - 1)?, view::select(&s, -1, 0)?);
            if order == Some(Order::Number(-2.0)) { div(&low, &high) } else { div(&high, &low) }
        }
        Some(o) => {
            let known = match &o {
                Order::Name(n) => n == "fro" || n == "nuc",
                Order::Number(p) => p.abs() == 1.0 || p.is_infinite(),
            };
            ensure!(known, Runtime, "linalg.cond got an invalid norm type: {}", o.show());
            check_square(a, &format!("linalg.cond(ord={})", o.show()))?;
            check_float(a, "linalg.cond")?;
            if a.numel() == 0 {
                return Tensor::zeros(batch_of(a), a.dtype(), a.device());
            }
            // A singular matrix has condition infinity.
            let whole = inv(a);
            let inverse = match whole {
                Ok(x) => x,
                Err(Error::Linalg(_)) if a.ndim() == 2 => return Tensor::full(&[], f64::INFINITY, a.dtype(), a.device()),
                Err(Error::Linalg(_)) => return cond_each(a, &o),
                Err(e) => return Err(e),
            };
            let n = |t: &Tensor| matrix_norm(t, &o, &last, false, None);
            elementwise::mul(&n(a)?, &n(&inverse)?)
        }
    }
}

/// [`cond`] of matrices some of which are singular.
fn cond_each(a: &Tensor, order: &Order) -> Result<Tensor> {
    let (m, n) = sizes(a);
    let count: usize = batch_of(a).iter().product();
    let flat = view::reshape_to(a, &[count, m, n])?;
    let parts: Vec<Tensor> =
        (0..count as i64).map(|i| cond(&view::select(&flat, 0, i)?, Some(order.clone()))).collect::<Result<_>>()?;
    view::reshape_to(&super::super::matmul::stack(&parts, 0)?, batch_of(a))
}

/// The inner products of vectors along a dimension.
fn vecdot(x: &Tensor, y: &Tensor, dim: i64) -> Result<Tensor> {
    check_float(x, "linalg.vecdot")?;
    ensure!(
        x.dtype() == y.dtype(),
        Runtime,
        "linalg.vecdot: Expected vectors with the same dtype, but found {} and {}",
        x.dtype().scalar_name(),
        y.dtype().scalar_name()
    );
    let d = x.dtype();
    let p = elementwise::mul(&complex::conj_physical(x)?, y)?;
    wrap_dim(dim, p.ndim())?;
    reduce::sum(&p, Some(&[dim]), false, Some(d))
}

pub(super) fn register(r: &mut Registry) {
    r.op("l", "vecdot(Tensor x, Tensor y, *, int dim=-1) -> Tensor", "The inner products of vectors.", |a| {
        vecdot(a.t(0), a.t(1), a.int(2)).map(Ret::from)
    });
    r.op(
        "l",
        "diagonal(Tensor A, *, int offset=0, int dim1=-2, int dim2=-1) -> Tensor",
        "A diagonal of matrices, as a view.",
        |a| view::diagonal(a.t(0), a.int(1), a.int(2), a.int(3)).map(Ret::from),
    );
    for schema in [
        "matrix_norm(Tensor self, Scalar ord, int[] dim=[-2, -1], bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
        "matrix_norm(Tensor self, str ord='fro', int[] dim=[-2, -1], bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
    ] {
        r.op("l", schema, "The norm of matrices.", |a| {
            matrix_norm(a.t(0), &Order::of(a, 1, Order::Name("fro".into())), a.ints(2), a.b(3), a.dtype(4)).map(Ret::from)
        });
    }
    for schema in [
        "norm(Tensor self, Scalar? ord=None, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
        "norm(Tensor self, str ord, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
    ] {
        r.op("l", schema, "The norm of vectors or matrices.", |a| {
            let order = match &a.values[1] {
                Value::None => None,
                _ => Some(Order::of(a, 1, Order::Number(2.0))),
            };
            norm(a.t(0), order, a.oints(2), a.b(3), a.dtype(4)).map(Ret::from)
        });
    }
    for schema in ["cond(Tensor self, Scalar? p=None) -> Tensor", "cond(Tensor self, str p) -> Tensor"] {
        r.op("l", schema, "The condition number.", |a| {
            let order = match &a.values[1] {
                Value::None => None,
                _ => Some(Order::of(a, 1, Order::Number(2.0))),
            };
            cond(a.t(0), order).map(Ret::from)
        });
    }
}
