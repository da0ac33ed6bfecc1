//! Differences and integrals along a dimension: diff, gradient, trapezoid, cumulative_trapezoid.

use super::cumsum_along;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::layout::{Dims, wrap_dim};
use crate::ops::elementwise as ew;
use crate::ops::reduce::{sum, tools::*};
use crate::ops::{Args, Registry, Ret, copy, view};
use crate::tensor::Tensor;
use crate::{bail, ensure};

/// Elements `from..to` of dimension `d`, negative positions from the end.
fn part(x: &Tensor, d: usize, from: i64, to: Option<i64>) -> Result<Tensor> {
    view::slice(x, d as i64, Some(from), to, 1)
}

/// The `n`-th differences of neighbours along `dim`.
pub fn diff(x: &Tensor, n: i64, dim: i64, prepend: Option<&Tensor>, append: Option<&Tensor>) -> Result<Tensor> {
    ensure!(x.ndim() > 0, Runtime, "diff expects input to be at least one-dimensional");
    let d = wrap_dim(dim, x.ndim())?;
    ensure!(n >= 0, Runtime, "order must be non-negative but got {n}");
    if n == 0 {
        return copy::clone(x, None);
    }
    let mut parts: Vec<Tensor> = vec![x.clone()];
    for (extra, at_start) in [(prepend, true), (append, false)] {
        let Some(e) = extra else { continue };
        ensure!(e.ndim() == x.ndim(), Runtime, "diff expects prepend or append to be the same dimension as input");
        for k in (0..x.ndim()).filter(|&k| k != d) {
            ensure!(
                e.shape()[k] == x.shape()[k],
                Runtime,
                "diff expects the shape of tensor to prepend or append to match that of input except along the differencing dimension; input.size({k}) = {}, but got tensor.size({k}) = {}",
                x.shape()[k],
                e.shape()[k]
            );
        }
        parts.insert(if at_start { 0 } else { parts.len() }, e.clone());
    }
    let mut out = x.clone();
    if parts.len() > 1 {
        let common = parts.iter().fold(parts[0].dtype(), |a, t| a.promote(t.dtype()));
        let parts: Vec<Tensor> = parts.iter().map(|t| copy::to_dtype(t, common)).collect::<Result<_>>()?;
        out = join(&parts.iter().collect::<Vec<_>>(), d)?;
    }
    if n as u64 >= out.size(d) as u64 {
        return copy::clone(&view::narrow(&out, d as i64, 0, 0)?, None);
    }
    for _ in 0..n {
        let (high, low) = (part(&out, d, 1, None)?, part(&out, d, 0, Some(-1))?);
        out = if out.dtype() == Dtype::Bool { call2(&ew::NE, &high, &low)? } else { ew::sub(&high, &low)? };
    }
    Ok(out)
}

fn no_bool(name: &str, tensors: &[&Tensor]) -> Result<()> {
    ensure!(
        tensors.iter().all(|t| t.dtype() != Dtype::Bool),
        Runtime,
        "{name}: received a bool input for {}, but bool is not supported",
        if tensors.len() > 1 { "`x` or `y`" } else { "`y`" }
    );
    Ok(())
}

/// Sums of neighbours along `dim`.
fn neighbours(y: &Tensor, d: usize) -> Result<Tensor> {
    if y.ndim() == 0 {
        bail!(Index, "Dimension specified as 0 but tensor has no dimensions");
    }
    ew::add(&part(y, d, 0, Some(-1))?, &part(y, d, 1, None)?)
}

/// The widths of the intervals between sample points, shaped so that they broadcast with y.
fn widths(name: &str, y: &Tensor, x: &Tensor, d: usize) -> Result<Tensor> {
    let points = if x.ndim() == 1 {
        ensure!(x.numel() == y.size(d), Runtime, "{name}: There must be one `x` value for each sample point");
        let mut shape = Dims::from_elem(1, y.ndim());
        shape[d] = x.numel();
        view::reshape_to(x, &shape)?
    } else if x.ndim() < y.ndim() {
        let mut shape = Dims::from_elem(1, y.ndim() - x.ndim());
        shape.extend_from_slice(x.shape());
        view::reshape_to(x, &shape)?
    } else {
        x.clone()
    };
    let d = d + points.ndim() - y.ndim();
    ensure!(points.ndim() > 0, Runtime, "{name}: There must be one `x` value for each sample point");
    ew::sub(&part(&points, d, 1, None)?, &part(&points, d, 0, Some(-1))?)
}

fn trapezoid(y: &Tensor, x: Option<&Tensor>, dx: f64, dim: i64) -> Result<Tensor> {
    let d = wrap_dim(dim, y.ndim())?;
    if y.size(d) == 0 {
        return Tensor::zeros(&without(y.shape(), d), y.dtype(), y.device());
    }
    match x {
        Some(x) => {
            no_bool("trapezoid", &[x, y])?;
            let area = ew::mul(&widths("trapezoid", y, x, d)?, &neighbours(y, d)?)?;
            let d = d + area.ndim() - y.ndim();
            call2s(&ew::DIV, &sum(&area, Some(&[d as i64]), false, None)?, 2.0)
        }
        None => {
            ensure!(y.ndim() > 0, Index, "Dimension specified as {dim} but tensor has no dimensions");
            no_bool("trapezoid", &[y])?;
            let ends = ew::add(&view::select(y, d as i64, 0)?, &view::select(y, d as i64, -1)?)?;
            let total = ew::sub(&sum(y, Some(&[d as i64]), false, None)?, &ew::scale(&ends, 0.5)?)?;
            ew::scale(&total, dx)
        }
    }
}

fn cumulative_trapezoid(y: &Tensor, x: Option<&Tensor>, dx: f64, dim: i64) -> Result<Tensor> {
    let d = wrap_dim(dim, y.ndim())?;
    match x {
        Some(x) => {
            no_bool("cumulative_trapezoid", &[x, y])?;
            let area = ew::mul(&widths("cumulative_trapezoid", y, x, d)?, &neighbours(y, d)?)?;
            let d = d + area.ndim() - y.ndim();
            let area = if area.dtype().is_integral() { copy::to_dtype(&area, Dtype::I64)? } else { area };
            call2s(&ew::DIV, &cumsum_along(&area, d, false)?, 2.0)
        }
        None if y.dtype() == Dtype::Bool => no_bool("cumulative_trapezoid", &[y]).map(|()| y.clone()),
        None => cumsum_along(&ew::scale(&neighbours(y, d)?, dx / 2.0)?, d, false),
    }
}

/// How far apart the samples of a dimension are.
enum Spacing {
    Step(f64),
    At(Tensor),
}

fn gradient_along(x: &Tensor, d: usize, spacing: &Spacing, edge_order: i64) -> Result<Tensor> {
    let n = x.size(d) as i64;
    let at = |from: i64, len: i64| view::narrow(x, d as i64, from, len);
    // Weighted sum of three slices.
    let combine = |w: [&Tensor; 3], s: [Tensor; 3]| -> Result<Tensor> {
        ew::add(&ew::add(&ew::mul(w[0], &s[0])?, &ew::mul(w[1], &s[1])?)?, &ew::mul(w[2], &s[2])?)
    };
    let (first, middle, last) = match spacing {
        Spacing::Step(h) => {
            let middle = call2s(&ew::DIV, &ew::sub(&at(2, n - 2)?, &at(0, n - 2)?)?, 2.0 * h)?;
            if edge_order == 1 {
                let first = call2s(&ew::DIV, &ew::sub(&at(1, 1)?, &at(0, 1)?)?, *h)?;
                (first, middle, call2s(&ew::DIV, &ew::sub(&at(n - 1, 1)?, &at(n - 2, 1)?)?, *h)?)
            } else {
                let edge = |w: [f64; 3], from: i64| -> Result<Tensor> {
                    let s = |k: i64| ew::scale(&at(from + k, 1)?, w[k as usize]);
                    call2s(&ew::DIV, &ew::add(&ew::add(&s(0)?, &s(1)?)?, &s(2)?)?, *h)
                };
                (edge([-1.5, 2.0, -0.5], 0)?, middle, edge([0.5, -2.0, 1.5], n - 3)?)
            }
        }
        Spacing::At(points) => {
            let mut shape = Dims::from_elem(1, x.ndim());
            shape[d] = n as usize - 1;
            let h = view::reshape_to(&diff(points, 1, 0, None, None)?, &shape)?;
            let (h1, h2) = (part(&h, d, 0, Some(-1))?, part(&h, d, 1, None)?);
            let both = ew::add(&h1, &h2)?;
            let a = call1(&ew::NEG, &ew::div(&h2, &ew::mul(&h1, &both)?)?)?;
            let b = ew::div(&ew::sub(&h2, &h1)?, &ew::mul(&h1, &h2)?)?;
            let c = ew::div(&h1, &ew::mul(&h2, &both)?)?;
            let middle = combine([&a, &b, &c], [at(0, n - 2)?, at(1, n - 2)?, at(2, n - 2)?])?;
            let step = |k: i64| view::narrow(&h, d as i64, k, 1);
            if edge_order == 1 {
                let first = ew::div(&ew::sub(&at(1, 1)?, &at(0, 1)?)?, &step(0)?)?;
                (first, middle, ew::div(&ew::sub(&at(n - 1, 1)?, &at(n - 2, 1)?)?, &step(n - 2)?)?)
            } else {
                // `near` is the interval at the edge, `far` the next one.
                let edge = |near: Tensor, far: Tensor| -> Result<[Tensor; 3]> {
                    let both = ew::add(&near, &far)?;
                    Ok([
                        ew::div(&ew::add(&ew::scale(&near, 2.0)?, &far)?, &ew::mul(&near, &both)?)?,
                        ew::div(&both, &ew::mul(&near, &far)?)?,
                        ew::div(&near, &ew::mul(&far, &both)?)?,
                    ])
                };
                let [a, b, c] = edge(step(0)?, step(1)?)?;
                let first = combine([&call1(&ew::NEG, &a)?, &b, &call1(&ew::NEG, &c)?], [at(0, 1)?, at(1, 1)?, at(2, 1)?])?;
                let [a, b, c] = edge(step(n - 2)?, step(n - 3)?)?;
                let last = combine([&c, &call1(&ew::NEG, &b)?, &a], [at(n - 3, 1)?, at(n - 2, 1)?, at(n - 1, 1)?])?;
                (first, middle, last)
            }
        }
    };
    join(&[&first, &middle, &last], d)
}

fn gradient(x: &Tensor, spacing: Vec<Spacing>, list: bool, dims: Option<&[i64]>, edge_order: i64) -> Result<Vec<Tensor>> {
    ensure!(edge_order == 1 || edge_order == 2, Runtime, "torch.gradient only supports edge_order=1 and edge_order=2.");
    ensure!(x.dtype() != Dtype::U8, Runtime, "torch.gradient does not support uint8 input.");
    ensure!(
        x.dtype() != Dtype::Bool,
        Runtime,
        "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or `logical_xor()` operator instead."
    );
    let dims: Vec<usize> = match dims {
        None => (0..x.ndim()).collect(),
        Some(dims) => dims.iter().map(|&d| wrap_dim(d, x.ndim())).collect::<Result<_>>()?,
    };
    for (i, d) in dims.iter().enumerate() {
        ensure!(!dims[..i].contains(d), Runtime, "dim {d} appears multiple times in the list of dims");
    }
    ensure!(x.ndim() > 0 || dims.is_empty(), Runtime, "torch.gradient expected input to have at least one dimension");
    ensure!(
        !list || spacing.len() == dims.len(),
        Runtime,
        "torch.gradient expected spacing to be unspecified, a scalar or it's spacing and dim arguments to have the same length, but got a spacing argument of length {} and a dim argument of length {}.",
        spacing.len(),
        dims.len()
    );
    for &d in &dims {
        ensure!(
            x.size(d) as i64 > edge_order,
            Runtime,
            "torch.gradient expected each dimension size to be at least edge_order+1"
        );
    }
    for (k, s) in spacing.iter().enumerate() {
        if let Spacing::At(t) = s {
            ensure!(
                t.ndim() == 1,
                Runtime,
                "torch.gradient expected each element of spacing to have one dimension, but got an element with {} dimensions!",
                t.ndim()
            );
            ensure!(
                t.numel() == x.size(dims[k]),
                Runtime,
                "torch.gradient expected each element of spacing to have the size of its dimension, {}, but got {}",
                x.size(dims[k]),
                t.numel()
            );
        }
    }
    let x = &if x.dtype().is_integral() { copy::to_dtype(x, crate::dtype::default_dtype())? } else { x.clone() };
    dims.iter().enumerate().map(|(k, &d)| gradient_along(x, d, &spacing[k.min(spacing.len() - 1)], edge_order)).collect()
}

fn by_points(a: &Args, f: fn(&Tensor, Option<&Tensor>, f64, i64) -> Result<Tensor>) -> Result<Ret> {
    f(a.t(0), a.ot(1), 1.0, a.int(2)).map(Ret::from)
}
fn by_step(a: &Args, f: fn(&Tensor, Option<&Tensor>, f64, i64) -> Result<Tensor>) -> Result<Ret> {
    f(a.t(0), None, a.f(1), a.int(2)).map(Ret::from)
}

pub fn register(r: &mut Registry) {
    r.op(
        "fm",
        "diff(Tensor self, int n=1, int dim=-1, Tensor? prepend=None, Tensor? append=None) -> Tensor",
        "Differences of neighbours.",
        |a| diff(a.t(0), a.int(1), a.int(2), a.ot(3), a.ot(4)).map(Ret::from),
    );
    r.op("f", "trapezoid(Tensor y, Tensor x, *, int dim=-1) -> Tensor", "The integral by the trapezoidal rule.", |a| {
        by_points(a, trapezoid)
    });
    r.op("f", "trapezoid(Tensor y, *, Scalar dx=1, int dim=-1) -> Tensor", "The integral by the trapezoidal rule.", |a| {
        by_step(a, trapezoid)
    });
    r.op("f", "trapz(Tensor y, Tensor x, *, int dim=-1) -> Tensor", "trapezoid.", |a| by_points(a, trapezoid));
    r.op("f", "trapz(Tensor y, *, float dx=1, int dim=-1) -> Tensor", "trapezoid.", |a| by_step(a, trapezoid));
    r.op("f", "cumulative_trapezoid(Tensor y, Tensor x, *, int dim=-1) -> Tensor", "Running trapezoid.", |a| {
        by_points(a, cumulative_trapezoid)
    });
    r.op("f", "cumulative_trapezoid(Tensor y, *, Scalar dx=1, int dim=-1) -> Tensor", "Running trapezoid.", |a| {
        by_step(a, cumulative_trapezoid)
    });
    let doc = "Central differences along dimensions.";
    r.op("f", "gradient(Tensor self, *, Scalar? spacing=None, int[1]? dim=None, int edge_order=1) -> Tensor[]", doc, |a| {
        gradient(a.t(0), vec![Spacing::Step(a.of(1).unwrap_or(1.0))], false, a.oints(2), a.int(3)).map(Ret::from)
    });
    r.op("f", "gradient(Tensor self, *, Tensor[] spacing, int[1]? dim=None, int edge_order=1) -> Tensor[]", doc, |a| {
        gradient(a.t(0), a.ts(1).into_iter().map(Spacing::At).collect(), true, a.oints(2), a.int(3)).map(Ret::from)
    });
    r.op("f", "gradient(Tensor self, *, float[] spacing, int[1]? dim=None, int edge_order=1) -> Tensor[]", doc, |a| {
        let spacing = a.floats(1).unwrap_or(&[]).iter().map(|&h| Spacing::Step(h)).collect();
        gradient(a.t(0), spacing, true, a.oints(2), a.int(3)).map(Ret::from)
    });
}
