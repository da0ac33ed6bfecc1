//! Triangles, diagonals, grids and combinations.

use super::cat::stack;
use crate::autograd::record;
use crate::device::{Device, default_device};
use crate::dtype::Dtype;
use crate::error::Result;
use crate::gpu;
use crate::layout::{Dims, show, wrap_dim};
use crate::ops::index::{advanced, write};
use crate::ops::{Registry, Ret, copy, reduce, view};
use crate::tensor::Tensor;
use crate::{bail, dispatch, ensure};
use smallvec::smallvec;
use std::sync::Arc;

/// The lower (or upper) triangle of matrices; zeros elsewhere. Differentiable.
pub fn triangle(x: &Tensor, diagonal: i64, lower: bool, target: Option<&Tensor>) -> Result<Tensor> {
    let name = if lower { "tril" } else { "triu" };
    ensure!(x.ndim() >= 2, Runtime, "{name}: input tensor must have at least 2 dimensions");
    x.check_memory(name)?;
    let target = target.filter(|t| t.is_contiguous());
    let out = match target {
        Some(t) => t.detach(),
        None if gpu::holds(x) => x.empty_like()?,
        None => copy::clone(&x.detach(), Some(crate::ops::MemoryFormat::Contiguous))?,
    };
    let (rows, cols) = (x.shape()[x.ndim() - 2], x.shape()[x.ndim() - 1]);
    if gpu::holds(x) {
        gpu::join::triangle(&copy::contiguous(&x.detach())?, &out, diagonal, lower)?;
    } else if out.numel() > 0 {
        dispatch!(bytes out.dtype(), T => {
            for (i, row) in out.data_mut::<T>().chunks_exact_mut(cols).enumerate() {
                let edge = ((i % rows) as i64).saturating_add(diagonal);
                if lower {
                    row[edge.saturating_add(1).clamp(0, cols as i64) as usize..].fill(0);
                } else {
                    row[..edge.clamp(0, cols as i64) as usize].fill(0);
                }
            }
        });
    }
    if target.is_some() {
        return Ok(out);
    }
    let node = if lower { "TrilBackward0" } else { "TriuBackward0" };
    Ok(record(node, &[x], out, move |_, g| Ok(smallvec![Some(triangle(g, diagonal, lower, None)?)])))
}

/// The row and column numbers of a triangle.
pub fn triangle_indices(rows: i64, cols: i64, offset: i64, lower: bool, dtype: Dtype) -> Result<Tensor> {
    let name = if lower { "tril_indices" } else { "triu_indices" };
    ensure!(rows >= 0, Runtime, "row must be non-negative, got{rows}");
    ensure!(cols >= 0, Runtime, "col must be non-negative, got{cols}");
    ensure!(matches!(dtype, Dtype::I64 | Dtype::I32), NotImplemented, "\"{name}\" not implemented for '{}'", dtype.scalar_name());
    // Columns of a row that belong to the triangle.
    let range = |r: i64| {
        let edge = r.saturating_add(offset);
        if lower { (0, edge.saturating_add(1).clamp(0, cols)) } else { (edge.clamp(0, cols), cols) }
    };
    let mut n = 0usize;
    for r in 0..rows {
        let (a, b) = range(r);
        n = n.checked_add((b - a) as usize).ok_or_else(|| crate::err!(Runtime, "{name}: the result is too large"))?;
    }
    let out = Tensor::empty(&[2, n], Dtype::I64, Device::Cpu)?;
    let (first, second) = out.data_mut::<i64>().split_at_mut(n);
    let mut at = 0;
    for r in 0..rows {
        let (a, b) = range(r);
        for c in a..b {
            first[at] = r;
            second[at] = c;
            at += 1;
        }
    }
    copy::to_dtype(&out, dtype)
}

/// The last dimension as the diagonal of matrices. Differentiable.
pub fn diag_embed(x: &Tensor, offset: i64, dim1: i64, dim2: i64) -> Result<Tensor> {
    let nd = x.ndim() + 1;
    ensure!(x.ndim() >= 1, Index, "Dimension out of range (expected to be in range of [-1, 0], but got {dim1})");
    let (a, b) = (wrap_dim(dim1, nd)?, wrap_dim(dim2, nd)?);
    ensure!(a != b, Runtime, "diagonal dimensions cannot be identical {dim1}, {dim2}");
    let n = (offset.unsigned_abs() as usize)
        .checked_add(x.shape()[x.ndim() - 1])
        .ok_or_else(|| crate::err!(Runtime, "diag_embed: the result is too large"))?;
    let mut shape = Dims::new();
    let mut batch = x.shape()[..x.ndim() - 1].iter();
    for d in 0..nd {
        shape.push(if d == a || d == b { n } else { *batch.next().expect("as many as there are") });
    }
    let out = Tensor::zeros(&shape, x.dtype(), x.device())?;
    let slot = view::diagonal(&out, offset, a as i64, b as i64)?;
    if x.numel() > 0 {
        copy::copy_raw(&slot.detach(), &x.detach())?;
    }
    Ok(record("DiagEmbedBackward0", &[x], out, move |_, g| Ok(smallvec![Some(view::diagonal(g, offset, a as i64, b as i64)?)])))
}

/// A vector as a diagonal matrix, or the diagonal of a matrix.
pub fn diag(x: &Tensor, offset: i64) -> Result<Tensor> {
    match x.ndim() {
        1 => diag_embed(x, offset, 0, 1),
        2 => copy::clone(&view::diagonal(x, offset, 0, 1)?, None),
        n => bail!(Runtime, "diag(): Supports 1D or 2D tensors. Got {n}D"),
    }
}

/// The sum of the diagonal. Differentiable.
pub fn trace(x: &Tensor) -> Result<Tensor> {
    ensure!(x.ndim() == 2, Runtime, "trace: expected a matrix, but got tensor with dim {}", x.ndim());
    let out = reduce::sum(&view::diagonal(&x.detach(), 0, 0, 1)?, None, false, None)?;
    let shape = x.dims();
    Ok(record("TraceBackward0", &[x], out, move |_, g| {
        let zeros = Tensor::zeros(&shape, g.dtype(), g.device())?;
        let look: write::Look = Arc::new(|t: &Tensor| view::diagonal(t, 0, 0, 1));
        let g = view::expand(g, &[shape[0].min(shape[1])])?;
        Ok(smallvec![Some(write::scatter_view(&zeros, &g, &look, "DiagonalScatterBackward0")?)])
    }))
}

/// Vectors stretched over a grid.
pub fn meshgrid(tensors: &[Tensor], indexing: Option<&str>) -> Result<Vec<Tensor>> {
    ensure!(!tensors.is_empty(), Runtime, "meshgrid expects a non-empty TensorList");
    for t in tensors {
        ensure!(t.dtype() == tensors[0].dtype(), Runtime, "meshgrid expects all tensors to have the same dtype");
        ensure!(
            t.ndim() <= 1,
            Runtime,
            "torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {}",
            show(t.shape())
        );
        ensure!(t.device() == tensors[0].device(), Runtime, "torch.meshgrid expects all tensors to have the same device");
    }
    if indexing.is_none() {
        crate::ops::warn("torch.meshgrid: in an upcoming release, it will be required to pass the indexing argument.");
    }
    let xy = match indexing.unwrap_or("ij") {
        "ij" => false,
        "xy" => true,
        other => bail!(Runtime, "torch.meshgrid: indexing must be one of \"xy\" or \"ij\", but received: {other}"),
    };
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    if xy && tensors.len() >= 2 {
        order.swap(0, 1);
    }
    let shape: Dims = order.iter().map(|&i| tensors[i].numel()).collect();
    tensors
        .iter()
        .enumerate()
        .map(|(i, t)| {
            let axis = order.iter().position(|&o| o == i).expect("a permutation");
            let mut own = Dims::from_elem(1, tensors.len());
            own[axis] = t.numel();
            view::expand(&view::reshape_to(t, &own)?, &shape)
        })
        .collect()
}

/// All tuples of elements of vectors, one row each.
pub fn cartesian_prod(tensors: &[Tensor]) -> Result<Tensor> {
    ensure!(!tensors.is_empty(), Runtime, "meshgrid expects a non-empty TensorList");
    for t in tensors {
        ensure!(t.ndim() == 1, Runtime, "Expect a 1D vector, but got shape {}", show(t.shape()));
    }
    if let [t] = tensors {
        return Ok(t.clone());
    }
    let columns: Vec<Tensor> =
        meshgrid(tensors, Some("ij"))?.iter().map(|t| view::reshape_to(t, &[t.numel()])).collect::<Result<_>>()?;
    stack(&columns, 1)
}

/// All choices of `r` elements, in order.
pub fn combinations(x: &Tensor, r: i64, with_replacement: bool) -> Result<Tensor> {
    ensure!(x.ndim() == 1, Runtime, "Expect a 1D vector, but got shape {}", show(x.shape()));
    ensure!(r >= 0, Runtime, "Expect a non-negative number, but got {r}");
    if r == 0 {
        return Tensor::empty(&[0], x.dtype(), x.device());
    }
    let (n, r) = (x.numel(), r as usize);
    // How many: n choose r, or n + r - 1 choose r.
    let top = if with_replacement { if n == 0 { 0 } else { n + r - 1 } } else { n };
    let mut count = if top < r { 0u128 } else { 1 };
    for k in 0..r.min(top) as u128 {
        count = count.saturating_mul(top as u128 - k) / (k + 1);
        ensure!(count < 1 << 62, Runtime, "combinations: the result is too large");
    }
    let index = Tensor::empty(&[count as usize, r], Dtype::I64, Device::Cpu)?;
    let slots = index.data_mut::<i64>();
    let mut now: Vec<usize> = if with_replacement { vec![0; r] } else { (0..r).collect() };
    for row in slots.chunks_exact_mut(r) {
        row.iter_mut().zip(&now).for_each(|(o, &v)| *o = v as i64);
        // The last place that can still grow does; those behind it start anew.
        let limit = |k: usize| if with_replacement { n - 1 } else { n + k - r };
        if let Some(k) = (0..r).rev().find(|&k| now[k] < limit(k)) {
            now[k] += 1;
            for j in k + 1..r {
                now[j] = if with_replacement { now[k] } else { now[j - 1] + 1 };
            }
        }
    }
    advanced::index(x, &[Some(copy::to_device(&index, x.device())?)])
}

const INDICES: [(&str, bool); 2] = [
    (
        "tril_indices(int row, int col, int offset=0, *, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
        true,
    ),
    (
        "triu_indices(int row, int col, int offset=0, *, ScalarType? dtype=None, Any? layout=None, Device? device=None, bool? pin_memory=None) -> Tensor",
        false,
    ),
];

pub(super) fn register(r: &mut Registry) {
    r.op("fmi", "tril(Tensor self, int diagonal=0) -> Tensor", "The lower triangle of matrices.", |a| {
        triangle(a.t(0), a.int(1), true, a.target.as_ref()).map(Into::into)
    });
    r.op("fmi", "triu(Tensor self, int diagonal=0) -> Tensor", "The upper triangle of matrices.", |a| {
        triangle(a.t(0), a.int(1), false, a.target.as_ref()).map(Into::into)
    });
    r.op("f", INDICES[0].0, "Rows and columns of the lower triangle.", |a| {
        let out = triangle_indices(a.int(0), a.int(1), a.int(2), true, a.dtype(3).unwrap_or(Dtype::I64))?;
        copy::to_device(&out, a.device(5).unwrap_or_else(default_device).check_usable()?).map(Into::into)
    });
    r.op("f", INDICES[1].0, "Rows and columns of the upper triangle.", |a| {
        let out = triangle_indices(a.int(0), a.int(1), a.int(2), false, a.dtype(3).unwrap_or(Dtype::I64))?;
        copy::to_device(&out, a.device(5).unwrap_or_else(default_device).check_usable()?).map(Into::into)
    });
    r.op("fm", "diag(Tensor self, int diagonal=0) -> Tensor", "A diagonal matrix, or the diagonal of a matrix.", |a| {
        diag(a.t(0), a.int(1)).map(Into::into)
    });
    r.op("fm", "diagflat(Tensor self, int offset=0) -> Tensor", "All elements as the diagonal of a matrix.", |a| {
        diag(&view::reshape_to(a.t(0), &[a.t(0).numel()])?, a.int(1)).map(Into::into)
    });
    r.op(
        "fm",
        "diag_embed(Tensor self, int offset=0, int dim1=-2, int dim2=-1) -> Tensor",
        "The last dimension as the diagonal of matrices.",
        |a| diag_embed(a.t(0), a.int(1), a.int(2), a.int(3)).map(Into::into),
    );
    r.op("fm", "trace(Tensor self) -> Tensor", "The sum of the diagonal.", |a| trace(a.t(0)).map(Into::into));
    r.op("f", "meshgrid(Tensor... tensors=[], *, str? indexing=None) -> Tensor[]", "Vectors stretched over a grid.", |a| {
        meshgrid(&a.ts(0), a.os(1)).map(Ret::Tuple)
    });
    r.op("f", "cartesian_prod(Tensor... tensors) -> Tensor", "All tuples of elements of vectors.", |a| {
        cartesian_prod(&a.ts(0)).map(Into::into)
    });
    r.op("f", "combinations(Tensor self, int r=2, bool with_replacement=False) -> Tensor", "All choices of r elements.", |a| {
        combinations(a.t(0), a.int(1), a.b(2)).map(Into::into)
    });
}
