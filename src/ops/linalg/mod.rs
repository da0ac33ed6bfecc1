//! Linear algebra: inverses, solves, decompositions, norms.
//!
//! Everything is computed in f64, matrix by matrix, and rounded to the dtype once. Gradients are tensor ops.

mod factor;
mod ldl;
mod matrix;
mod norms;
mod qr;
mod solve;
mod spectral;

pub use factor::cholesky;
pub use norms::nuclear_norm;
pub use solve::{inv, solve, solve_triangular};
pub use spectral::{eigh, pinv, svd};

use super::elementwise::{add, mul, sub};
use super::matmul::{matmul, mt};
use super::{Registry, copy, view};
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::layout::{Dims, broadcast};
use crate::tensor::Tensor;
use crate::{ensure, err};

/// At least two dimensions.
fn check_matrix(a: &Tensor, name: &str) -> Result<()> {
    ensure!(a.ndim() >= 2, Runtime, "{name}: The input tensor A must have at least 2 dimensions.");
    Ok(())
}

/// Square matrices.
fn check_square(a: &Tensor, name: &str) -> Result<()> {
    check_matrix(a, name)?;
    let (m, n) = sizes(a);
    ensure!(m == n, Runtime, "{name}: A must be batches of square matrices, but they are {m} by {n} matrices");
    Ok(())
}

/// A floating dtype.
fn check_float(a: &Tensor, name: &str) -> Result<()> {
    let d = a.dtype();
    ensure!(
        d.is_float() || d.is_complex(),
        Runtime,
        "{name}: Expected a floating point or complex tensor as input. Got {}",
        d.scalar_name()
    );
    Ok(())
}

/// No half types.
fn check_precision(a: &Tensor, name: &str) -> Result<()> {
    ensure!(a.dtype().size() != 2, Runtime, "{name}: Low precision dtypes not supported. Got {}", a.dtype().scalar_name());
    Ok(())
}

/// Rows and columns.
fn sizes(a: &Tensor) -> (usize, usize) {
    (a.shape()[a.ndim() - 2], a.shape()[a.ndim() - 1])
}

fn batch_of(a: &Tensor) -> &[usize] {
    &a.shape()[..a.ndim() - 2]
}

/// `batch` followed by `tail`.
fn shaped(batch: &[usize], tail: &[usize]) -> Dims {
    batch.iter().chain(tail).copied().collect()
}

/// The matrices of a tensor in memory of their own, row by row, in f64. `kernel` names the op in the error
/// for dtypes that have none.
fn load(a: &Tensor, kernel: &str) -> Result<Vec<f64>> {
    a.check_data(kernel)?;
    ensure!(
        matches!(a.dtype(), Dtype::F32 | Dtype::F64),
        NotImplemented,
        "\"{kernel}\" not implemented for '{}'",
        a.dtype().scalar_name()
    );
    Ok(copy::contiguous(&copy::to_dtype(&a.detach(), Dtype::F64)?)?.data::<f64>().to_vec())
}

/// A tensor of `dtype` from f64 values.
fn store(data: &[f64], shape: &[usize], dtype: Dtype) -> Result<Tensor> {
    copy::to_dtype(&Tensor::from_slice(data, shape)?, dtype)
}

fn store_int(data: &[i32], shape: &[usize]) -> Result<Tensor> {
    Tensor::from_slice(data, shape)
}

/// The consecutive matrices of `size` elements; none where there is nothing in them.
fn each(data: &mut [f64], size: usize) -> impl Iterator<Item = &mut [f64]> {
    data.chunks_exact_mut(size.max(1))
}

/// `(Batch element i): ` for tensors of several matrices.
fn which(batch: &[usize], i: usize) -> String {
    if batch.is_empty() { String::new() } else { format!("(Batch element {i}): ") }
}

fn no_convergence(name: &str) -> Error {
    err!(
        Linalg,
        "{name}: The algorithm failed to converge because the input matrix is ill-conditioned or has too many repeated eigenvalues (error code: 1)."
    )
}

/// 1 where `keep(row, column)`, else 0.
fn mask(m: usize, n: usize, like: &Tensor, keep: impl Fn(usize, usize) -> f64) -> Result<Tensor> {
    let mut data = vec![0.0; m * n];
    for i in 0..m {
        for j in 0..n {
            data[i * n + j] = keep(i, j);
        }
    }
    store(&data, &[m, n], like.dtype())
}

/// The lower triangle up to diagonal `k`; differentiable.
fn tril(x: &Tensor, k: isize) -> Result<Tensor> {
    let (m, n) = sizes(x);
    mul(x, &mask(m, n, x, |i, j| (j as isize - i as isize <= k) as u8 as f64)?)
}

/// The upper triangle from diagonal `k`; differentiable.
fn triu(x: &Tensor, k: isize) -> Result<Tensor> {
    let (m, n) = sizes(x);
    mul(x, &mask(m, n, x, |i, j| (j as isize - i as isize >= k) as u8 as f64)?)
}

/// x + x^T with the diagonal counted once.
fn mirrored(x: &Tensor) -> Result<Tensor> {
    let n = sizes(x).1;
    let s = add(x, &mt(x)?)?;
    mul(&s, &mask(n, n, x, |i, j| if i == j { 0.5 } else { 1.0 })?)
}

fn neg(x: &Tensor) -> Result<Tensor> {
    super::elementwise::NEG.call(&[crate::expr::Operand::T(x.clone())], &[], None)
}

/// The identity, (n, n).
fn eye(n: usize, like: &Tensor) -> Result<Tensor> {
    mask(n, n, like, |i, j| (i == j) as u8 as f64)
}

/// Every column of `x` times the element of `s` for it (s has one dimension less).
fn scale_columns(x: &Tensor, s: &Tensor) -> Result<Tensor> {
    mul(x, &view::unsqueeze(s, -2)?)
}

fn scale_rows(x: &Tensor, s: &Tensor) -> Result<Tensor> {
    mul(x, &view::unsqueeze(s, -1)?)
}

/// `a` stretched to these leading dimensions.
fn with_batch(a: &Tensor, batch: &[usize]) -> Result<Tensor> {
    let (m, n) = sizes(a);
    view::expand(a, &shaped(batch, &[m, n]))
}

/// Both operands with their common leading dimensions.
fn common_batch(a: &Tensor, b: &Tensor) -> Result<(Tensor, Tensor)> {
    let batch = broadcast(batch_of(a), batch_of(b))?;
    Ok((with_batch(a, &batch)?, with_batch(b, &batch)?))
}

fn mm3(a: &Tensor, b: &Tensor, c: &Tensor) -> Result<Tensor> {
    matmul(&matmul(a, b)?, c)
}

/// x - a b.
fn minus_product(x: &Tensor, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    sub(x, &matmul(a, b)?)
}

pub(super) fn register(r: &mut Registry) {
    factor::register(r);
    ldl::register(r);
    matrix::register(r);
    norms::register(r);
    qr::register(r);
    solve::register(r);
    spectral::register(r);
}
