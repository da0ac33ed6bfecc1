//! Products of more than two matrices, powers, and products that are not sums: kron, cross, vander.

use super::super::elementwise::{mul, sub};
use super::super::{Registry, Ret, copy, view};
use super::{matmul, mm, reshaped};
use crate::dtype::Dtype;
use crate::error::Result;
use crate::layout::{Dims, broadcast, show, wrap_dim};
use crate::tensor::Tensor;
use crate::{bail, ensure};

/// The product of the matrices in the cheapest order; the first and last may be vectors.
pub fn multi_dot(ts: &[Tensor]) -> Result<Tensor> {
    let n = ts.len();
    ensure!(n >= 2, Runtime, "multi_dot(): expected at least 2 tensors but got {n}");
    let end = |i: usize, what: &str| -> Result<()> {
        ensure!(
            matches!(ts[i].ndim(), 1 | 2),
            Runtime,
            "multi_dot(): the {what} tensor must be 1D or 2D but got {}D",
            ts[i].ndim()
        );
        Ok(())
    };
    end(0, "first")?;
    end(n - 1, "last")?;
    for (i, t) in ts.iter().enumerate().take(n - 1).skip(1) {
        ensure!(t.ndim() == 2, Runtime, "multi_dot(): tensor {i} must be 2D but got {}D", t.ndim());
    }
    for (i, t) in ts.iter().enumerate().skip(1) {
        ensure!(
            t.dtype() == ts[0].dtype(),
            Runtime,
            "multi_dot(): all tensors must have be the same dtype but tensor 0 is {} and tensor {i} {}",
            ts[0].dtype().cpp_name(),
            t.dtype().cpp_name()
        );
    }
    let (first, last) = (ts[0].ndim() == 1, ts[n - 1].ndim() == 1);
    let mut list = ts.to_vec();
    if first {
        list[0] = view::unsqueeze(&list[0], 0)?;
    }
    if last {
        list[n - 1] = view::unsqueeze(&list[n - 1], 1)?;
    }
    for i in 0..n - 1 {
        ensure!(
            list[i].shape()[1] == list[i + 1].shape()[0],
            Runtime,
            "multi_dot(): tensors {i} and {} with shapes {} and {} cannot be multiplied",
            i + 1,
            show(ts[i].shape()),
            show(ts[i + 1].shape())
        );
    }
    let out = in_best_order(&list)?;
    Ok(match (first, last) {
        (true, true) => view::reshape_to(&out, &[])?,
        (true, false) => view::squeeze(&out, Some(&[0]))?,
        (false, true) => view::squeeze(&out, Some(&[1]))?,
        _ => out,
    })
}

/// Matrix chain multiplication by dynamic programming over the cost of each range.
fn in_best_order(ts: &[Tensor]) -> Result<Tensor> {
    let n = ts.len();
    let mut p: Vec<f64> = ts.iter().map(|t| t.shape()[0] as f64).collect();
    p.push(ts[n - 1].shape()[1] as f64);
    let (mut cost, mut cut) = (vec![vec![0f64; n]; n], vec![vec![0usize; n]; n]);
    for len in 2..=n {
        for i in 0..=n - len {
            let j = i + len - 1;
            cost[i][j] = f64::INFINITY;
            for k in i..j {
                let c = cost[i][k] + cost[k + 1][j] + p[i] * p[k + 1] * p[j + 1];
                if c < cost[i][j] {
                    (cost[i][j], cut[i][j]) = (c, k);
                }
            }
        }
    }
    fn build(ts: &[Tensor], cut: &[Vec<usize>], i: usize, j: usize) -> Result<Tensor> {
        if i == j {
            return Ok(ts[i].clone());
        }
        let k = cut[i][j];
        mm(&build(ts, cut, i, k)?, &build(ts, cut, k + 1, j)?)
    }
    build(ts, &cut, 0, n - 1)
}

/// Square matrices in the last two dimensions, or the errors of op `name`.
pub fn check_square(a: &Tensor, name: &str) -> Result<()> {
    ensure!(a.ndim() >= 2, Runtime, "{name}: The input tensor A must have at least 2 dimensions.");
    let (m, n) = (a.shape()[a.ndim() - 2], a.shape()[a.ndim() - 1]);
    ensure!(m == n, Runtime, "{name}: A must be batches of square matrices, but they are {m} by {n} matrices");
    Ok(())
}

/// Identity matrices of the shape and dtype of `a`.
pub fn identity_like(a: &Tensor) -> Result<Tensor> {
    let out = Tensor::zeros(a.shape(), a.dtype(), a.device())?;
    if out.numel() > 0 && a.device() != crate::device::Device::Meta {
        copy::copy_raw(&view::diagonal(&out, 0, -2, -1)?, &Tensor::scalar(1i64, a.dtype()))?;
    }
    Ok(out)
}

/// `a @ a @ ...`, `n` times; negative powers are those of the inverse.
pub fn matrix_power(a: &Tensor, n: i64) -> Result<Tensor> {
    check_square(a, "linalg.matrix_power")?;
    if n == 0 {
        let one = identity_like(a)?;
        return Ok(crate::autograd::record("CopyBackwards", &[a], one, {
            let dims = a.dims();
            move |_, g| Ok(smallvec::smallvec![Some(Tensor::zeros(&dims, g.dtype(), g.device())?)])
        }));
    }
    let mut base = if n < 0 { super::super::linalg::inv(a)? } else { a.clone() };
    let mut left = n.unsigned_abs();
    if left == 1 {
        return if n < 0 { Ok(base) } else { copy::clone(&base, None) };
    }
    let mut out: Option<Tensor> = None;
    loop {
        if left & 1 == 1 {
            out = Some(match out {
                None => base.clone(),
                Some(o) => matmul(&o, &base)?,
            });
        }
        left >>= 1;
        if left == 0 {
            return Ok(out.expect("a positive power has a set bit"));
        }
        base = matmul(&base, &base)?;
    }
}

/// The Kronecker product.
pub fn kron(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let n = a.ndim().max(b.ndim());
    let spread = |t: &Tensor, second: bool| {
        let lead = n - t.ndim();
        let mut s = Dims::new();
        for d in 0..n {
            let size = if d < lead { 1 } else { t.shape()[d - lead] };
            s.extend_from_slice(&if second { [1, size] } else { [size, 1] });
        }
        s
    };
    let (sa, sb) = (spread(a, false), spread(b, true));
    let shape: Dims = (0..n).map(|d| sa[2 * d] * sb[2 * d + 1]).collect();
    let out = mul(&view::reshape_to(a, &sa)?, &view::reshape_to(b, &sb)?)?;
    reshaped(copy::contiguous(&out)?, &shape, "UnsafeViewBackward0")
}

fn cross(a: &Tensor, b: &Tensor, dim: i64) -> Result<Tensor> {
    ensure!(a.ndim() == b.ndim(), Runtime, "linalg.cross: inputs must have the same number of dimensions.");
    let d = wrap_dim(dim, a.ndim())?;
    ensure!(
        a.size(d) == 3 && b.size(d) == 3,
        Runtime,
        "linalg.cross: inputs dimension {dim} must have length 3. Got {} and {}",
        a.size(d),
        b.size(d)
    );
    let shape = broadcast(a.shape(), b.shape())?;
    let (a, b) = (view::expand(a, &shape)?, view::expand(b, &shape)?);
    let d = d as i64;
    let part = |t: &Tensor, i: i64| view::select(t, d, i);
    let mut parts = Vec::with_capacity(3);
    for i in 0..3 {
        let (j, k) = ((i + 1) % 3, (i + 2) % 3);
        parts.push(sub(&mul(&part(&a, j)?, &part(&b, k)?)?, &mul(&part(&a, k)?, &part(&b, j)?)?)?);
    }
    let out = stack(&parts, d)?;
    let shape = out.dims();
    reshaped(out, &shape, "LinalgCrossBackward0")
}

/// Tensors of one shape beside each other in a new dimension; differentiable.
pub fn stack(parts: &[Tensor], dim: i64) -> Result<Tensor> {
    let mut shape = parts[0].dims();
    let d = wrap_dim(dim, shape.len() + 1)?;
    shape.insert(d, parts.len());
    let out = Tensor::empty(&shape, parts[0].dtype(), parts[0].device())?;
    for (i, p) in parts.iter().enumerate() {
        copy::copy_raw(&view::select(&out, d as i64, i as i64)?, &p.detach())?;
    }
    let inputs: Vec<&Tensor> = parts.iter().collect();
    Ok(crate::autograd::record("StackBackward0", &inputs, out, move |ctx, g| {
        (0..g.shape()[d]).map(|i| if ctx.needs(i) { view::select(g, d as i64, i as i64).map(Some) } else { Ok(None) }).collect()
    }))
}

/// Powers 0..n of the elements of `x` in a new last dimension.
fn powers(x: &Tensor, n: usize) -> Result<Tensor> {
    let mut parts = Vec::with_capacity(n);
    let one = Tensor::full(x.shape(), 1i64, x.dtype(), x.device())?;
    parts.push(one);
    for i in 1..n {
        let next = if i == 1 { x.clone() } else { mul(&parts[i - 1], x)? };
        parts.push(next);
    }
    if n == 0 {
        let mut shape = x.dims();
        shape.push(0);
        return Tensor::empty(&shape, x.dtype(), x.device());
    }
    stack(&parts, -1)
}

fn vander(x: &Tensor, n: Option<i64>, increasing: bool) -> Result<Tensor> {
    ensure!(x.ndim() == 1, Runtime, "x must be a one-dimensional tensor.");
    let n = n.unwrap_or(x.shape()[0] as i64);
    ensure!(n >= 0, Runtime, "N must be non-negative.");
    let x = if x.dtype().is_integral() { copy::to_dtype(x, Dtype::I64)? } else { x.clone() };
    let out = powers(&x, n as usize)?;
    if increasing || n < 2 {
        return Ok(out);
    }
    // Columns the other way round.
    let parts: Vec<Tensor> = (0..n).rev().map(|i| view::select(&out, 1, i)).collect::<Result<_>>()?;
    stack(&parts, 1)
}

pub(super) fn register(r: &mut Registry) {
    r.op("f", "chain_matmul(Tensor... matrices) -> Tensor", "The product of the matrices in the cheapest order.", |a| {
        let ts = a.ts(0);
        for t in &ts {
            ensure!(t.ndim() == 2, Runtime, "Tensor dimension is {}, expected 2 instead.", t.ndim());
        }
        match ts.len() {
            0 => bail!(Runtime, "chain_matmul(): Expected one or more matrices"),
            1 => Ok(ts[0].clone().into()),
            _ => multi_dot(&ts).map(Ret::from),
        }
    });
    r.op("l", "multi_dot(Tensor[] tensors) -> Tensor", "The product of the matrices in the cheapest order.", |a| {
        multi_dot(&a.ts(0)).map(Ret::from)
    });
    for places in ["fm", "l"] {
        r.op(places, "matrix_power(Tensor self, int n) -> Tensor", "A matrix multiplied by itself.", |a| {
            matrix_power(a.t(0), a.int(1)).map(Ret::from)
        });
    }
    r.op("fm", "kron(Tensor self, Tensor other) -> Tensor", "The Kronecker product.", |a| kron(a.t(0), a.t(1)).map(Ret::from));
    r.op(
        "fm",
        "cross(Tensor self, Tensor other, int? dim=None) -> Tensor",
        "The vector product along a dimension of size 3.",
        |a| {
            let (x, y) = (a.t(0), a.t(1));
            let dim = match a.oint(2) {
                Some(d) => d,
                None => match (0..x.ndim()).find(|&d| x.shape()[d] == 3) {
                    Some(d) => d as i64,
                    None => bail!(Runtime, "no dimension of size 3 in input"),
                },
            };
            cross(x, y, dim).map(Ret::from)
        },
    );
    r.op(
        "l",
        "cross(Tensor self, Tensor other, *, int dim=-1) -> Tensor",
        "The vector product along a dimension of size 3.",
        |a| cross(a.t(0), a.t(1), a.int(2)).map(Ret::from),
    );
    r.op("f", "vander(Tensor x, int? N=None, bool increasing=False) -> Tensor", "Powers of a vector as columns.", |a| {
        vander(a.t(0), a.oint(1), a.b(2)).map(Ret::from)
    });
    r.op("l", "vander(Tensor x, *, int? N=None) -> Tensor", "Powers 0, 1, ... in a new last dimension.", |a| {
        let x = a.t(0);
        let n = a.oint(1).unwrap_or(x.shape().last().map_or(1, |&n| n as i64));
        ensure!(n > 1, Runtime, "N must be greater than 1.");
        // A number counts as a vector of one.
        let x = &if x.ndim() == 0 { view::unsqueeze(x, 0)? } else { x.clone() };
        let x = if x.dtype().is_integral() { copy::to_dtype(x, Dtype::I64)? } else { x.clone() };
        powers(&x, n as usize).map(Ret::from)
    });
}
