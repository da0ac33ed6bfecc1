//! Distances between rows; tensors are contiguous.

use super::{Call, of, refuse};
use crate::dtype::Dtype;
use crate::error::Result;
use crate::tensor::Tensor;

/// Rows at least this long have a workgroup for each pair.
const LONG: usize = 512;

fn norm(p: f64) -> &'static str {
    match p {
        0.0 => "zero",
        1.0 => "one",
        2.0 => "two",
        p if p.is_infinite() => "top",
        _ => "any",
    }
}

/// Launches a kernel whose last parameter is the exponent.
fn run(name: &'static str, tensors: &[&Tensor], sizes: &[usize], p: f64, n: usize) -> Result<()> {
    let y = tensors[tensors.len() - 1];
    if y.dtype() != Dtype::F32 {
        return Err(refuse(crate::ops::current(), y.dtype(), of(y)?));
    }
    let mut params: Vec<u32> = sizes.iter().map(|&s| s as u32).collect();
    let e = if p.is_finite() { p as f32 } else { 0.0 };
    params.push(e.to_bits());
    Call { name, tensors, params: &params, choice: &[("NORM", norm(p))], n }.run()
}

/// Distances of all pairs of rows: (batch, r1, m) and (batch, r2, m) to (batch, r1, r2).
pub fn pairs(a: &Tensor, b: &Tensor, out: &Tensor, p: f64) -> Result<()> {
    let sizes = [a.shape()[1], b.shape()[1], a.shape()[2]];
    run(if sizes[2] < LONG { "pairs" } else { "pairs_long" }, &[a, b, out], &sizes, p, out.numel())
}

/// The gradient of [`pairs`] for `a`.
pub fn pairs_grad(g: &Tensor, a: &Tensor, b: &Tensor, dist: &Tensor, out: &Tensor, p: f64) -> Result<()> {
    let sizes = [a.shape()[1], b.shape()[1], a.shape()[2]];
    run("pairs_grad", &[g, a, b, dist, out], &sizes, p, out.numel())
}

/// Distances of all pairs `i < j` of the rows of `x`.
pub fn own_pairs(x: &Tensor, out: &Tensor, p: f64) -> Result<()> {
    let rows = x.shape()[0];
    run("own_pairs", &[x, out], &[rows, x.shape()[1]], p, if out.numel() == 0 { 0 } else { rows * rows })
}

/// The gradient of [`own_pairs`].
pub fn own_pairs_grad(g: &Tensor, x: &Tensor, dist: &Tensor, out: &Tensor, p: f64) -> Result<()> {
    run("own_pairs_grad", &[g, x, dist, out], &[x.shape()[0], x.shape()[1]], p, out.numel())
}
