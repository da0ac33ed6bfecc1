//! Splitting in NumPy's ways.

use crate::dtype::Dtype;
use crate::ensure;
use crate::error::Result;
use crate::layout::wrap_dim;
use crate::ops::{Args, Registry, Ret, Value, copy, view};
use crate::tensor::Tensor;

/// Nearly equal parts; the first ones are longer by one where it does not come out even.
pub fn tensor_split(x: &Tensor, sections: i64, dim: i64) -> Result<Vec<Tensor>> {
    splittable(x)?;
    let d = wrap_dim(dim, x.ndim())?;
    ensure!(sections > 0, Runtime, "number of sections must be larger than 0, got {sections}");
    let n = x.shape()[d] as i64;
    let (base, longer) = (n / sections, n % sections);
    let mut at = 0;
    (0..sections)
        .map(|i| {
            let len = base + (i < longer) as i64;
            at += len;
            view::slice(x, d as i64, Some(at - len), Some(at), 1)
        })
        .collect()
}

fn splittable(x: &Tensor) -> Result<()> {
    ensure!(x.ndim() > 0, Runtime, "tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims");
    Ok(())
}

/// Parts that end before each of the indices, and the rest.
pub fn tensor_split_at(x: &Tensor, indices: &[i64], dim: i64) -> Result<Vec<Tensor>> {
    splittable(x)?;
    let d = wrap_dim(dim, x.ndim())? as i64;
    let mut start = 0;
    let mut out = Vec::new();
    for &i in indices {
        out.push(view::slice(x, d, Some(start), Some(i), 1)?);
        start = i;
    }
    out.push(view::slice(x, d, Some(start), None, 1)?);
    Ok(out)
}

fn by_tensor(x: &Tensor, at: &Tensor, dim: i64) -> Result<Vec<Tensor>> {
    ensure!(
        at.dtype() == Dtype::I64,
        Runtime,
        "tensor_split expected tensor_indices_or_sections to have dtype of long, but got {}",
        at.dtype().scalar_name()
    );
    ensure!(
        at.ndim() <= 1,
        Runtime,
        "tensor_split expected tensor_indices_or_sections to be a zero-dimensional or one-dimensional tensor, but got a tensor with {} dims",
        at.ndim()
    );
    if at.ndim() == 0 {
        return tensor_split(x, at.item()?.i64(), dim);
    }
    let at = copy::contiguous(&copy::to_host(at)?)?;
    tensor_split_at(x, at.data::<i64>(), dim)
}

fn named(a: &Args, name: &str, least: usize, dim: i64) -> Result<Ret> {
    let x = a.t(0);
    ensure!(
        x.ndim() >= least,
        Runtime,
        "torch.{name} requires a tensor with at least {least} dimension, but got a tensor with {} dimensions!",
        x.ndim()
    );
    match &a.values[1] {
        Value::Ints(v) => tensor_split_at(x, v, dim),
        _ => {
            let (n, k) = (x.shape()[dim as usize], a.int(1));
            ensure!(
                k > 0 && n as i64 % k == 0,
                Runtime,
                "torch.{name} attempted to split along dimension {dim}, but the size of the dimension {n} is not divisible by the split_size {k}!"
            );
            tensor_split(x, k, dim)
        }
    }
    .map(Ret::Tuple)
}

fn hsplit(a: &Args) -> Result<Ret> {
    named(a, "hsplit", 1, if a.t(0).ndim() == 1 { 0 } else { 1 })
}
fn vsplit(a: &Args) -> Result<Ret> {
    named(a, "vsplit", 2, 0)
}
fn dsplit(a: &Args) -> Result<Ret> {
    named(a, "dsplit", 3, 2)
}

pub(super) fn register(r: &mut Registry) {
    r.op(
        "fm",
        "tensor_split(Tensor self, Tensor tensor_indices_or_sections, int dim=0) -> Tensor[]",
        "Parts as NumPy's array_split.",
        |a| by_tensor(a.t(0), a.t(1), a.int(2)).map(Ret::Tuple),
    );
    r.op("fm", "tensor_split(Tensor self, int sections, int dim=0) -> Tensor[]", "Nearly equal parts.", |a| {
        tensor_split(a.t(0), a.int(1), a.int(2)).map(Ret::Tuple)
    });
    r.op("fm", "tensor_split(Tensor self, int[] indices, int dim=0) -> Tensor[]", "Parts that end at indices.", |a| {
        tensor_split_at(a.t(0), a.ints(1), a.int(2)).map(Ret::Tuple)
    });
    r.op("fm", "hsplit(Tensor self, int sections) -> Tensor[]", "Equal parts, column-wise.", hsplit);
    r.op("fm", "hsplit(Tensor self, int[] indices) -> Tensor[]", "Parts that end at indices, column-wise.", hsplit);
    r.op("fm", "vsplit(Tensor self, int sections) -> Tensor[]", "Equal parts, row-wise.", vsplit);
    r.op("fm", "vsplit(Tensor self, int[] indices) -> Tensor[]", "Parts that end at indices, row-wise.", vsplit);
    r.op("fm", "dsplit(Tensor self, int sections) -> Tensor[]", "Equal parts, depth-wise.", dsplit);
    r.op("fm", "dsplit(Tensor self, int[] indices) -> Tensor[]", "Parts that end at indices, depth-wise.", dsplit);
    r.op("fm", "unsafe_split(Tensor self, int split_size, int dim=0) -> Tensor[]", "split.", |a| {
        view::split(a.t(0), a.int(1), a.int(2)).map(Ret::Tuple)
    });
    r.op("fm", "unsafe_split_with_sizes(Tensor self, int[] split_sizes, int dim=0) -> Tensor[]", "split_with_sizes.", |a| {
        view::split_sizes(a.t(0), a.ints(1), a.int(2)).map(Ret::Tuple)
    });
    r.op("fm", "unsafe_chunk(Tensor self, int chunks, int dim=0) -> Tensor[]", "chunk.", |a| {
        view::chunk(a.t(0), a.int(1), a.int(2)).map(Ret::Tuple)
    });
}
