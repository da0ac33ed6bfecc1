//! More views (movedim, mT, atleast_*), copies of views, and small index helpers.

use crate::dtype::{Dtype, Scalar};
use crate::error::Result;
use crate::expr::Operand;
use crate::gpu;
use crate::layout::{Dims, Layout, broadcast, show, sizes, wrap_dim};
use crate::ops::{MemoryFormat, Registry, Ret, complex, copy, elementwise as ew, index, reduce, view};
use crate::tensor::Tensor;
use crate::{bail, ensure};

/// `x` with a dimension of size 1 inserted, without history.
pub fn unsqueeze_raw(x: &Tensor, d: usize) -> Result<Tensor> {
    let (mut shape, mut strides) = (x.dims(), x.layout().strides.clone());
    shape.insert(d, 1);
    strides.insert(d, 1);
    Ok(x.detach().alias(Layout::strided(&shape, &strides, x.layout().offset)?).detach())
}

/// At least 1, 2 or 3 dimensions, as NumPy adds them.
pub fn at_least(x: &Tensor, n: usize) -> Result<Tensor> {
    match (n, x.ndim()) {
        (_, 0) => view::reshape_to(x, &[1, 1, 1][..n]),
        (2 | 3, 1) => {
            let row = view::unsqueeze(x, 0)?;
            if n == 3 { view::unsqueeze(&row, -1) } else { Ok(row) }
        }
        (3, 2) => view::unsqueeze(x, -1),
        _ => Ok(x.clone()),
    }
}

pub fn movedim(x: &Tensor, from: &[i64], to: &[i64]) -> Result<Tensor> {
    ensure!(
        from.len() == to.len(),
        Runtime,
        "movedim: Invalid source or destination dims: source ({} dims) should contain the same number of dims as destination ({} dims)",
        show(from),
        show(to)
    );
    let n = x.ndim();
    let wrap = |v: &[i64]| -> Result<Vec<usize>> { v.iter().map(|&d| wrap_dim(d, n)).collect() };
    let (src, dst) = (wrap(from)?, wrap(to)?);
    for (list, given, name) in [(&src, from, "source"), (&dst, to, "destination")] {
        for (i, d) in list.iter().enumerate() {
            ensure!(!list[..i].contains(d), Runtime, "movedim: repeated dim in `{name}` ({})", show(given));
        }
    }
    if n == 0 {
        return Ok(view::alias(x));
    }
    let mut order = vec![usize::MAX; n];
    for (s, d) in src.iter().zip(&dst) {
        order[*d] = *s;
    }
    let mut rest = (0..n).filter(|d| !src.contains(d));
    for o in order.iter_mut().filter(|o| **o == usize::MAX) {
        *o = rest.next().expect("as many as places");
    }
    let order: Vec<i64> = order.into_iter().map(|d| d as i64).collect();
    view::permute(x, &order)
}

fn conj(x: &Tensor) -> Result<Tensor> {
    if x.dtype().is_complex() { complex::conj_physical(x) } else { Ok(x.clone()) }
}

fn matrix_transpose(x: &Tensor, name: &str) -> Result<Tensor> {
    ensure!(x.ndim() != 1, Runtime, "tensor.{name} is only supported on matrices or batches of matrices. Got 1-D tensor.");
    if x.ndim() == 0 { Ok(view::alias(x)) } else { view::transpose(x, -2, -1) }
}

fn reversed(x: &Tensor) -> Result<Tensor> {
    if x.ndim() != 2 && x.ndim() != 0 {
        crate::ops::warn_once(
            "The use of `x.T` on tensors of dimension other than 2 to reverse their shape is deprecated and it will throw an error in a future release. Consider `x.mT` to transpose batches of matrices or `x.permute(*torch.arange(x.ndim - 1, -1, -1))` to reverse the dimensions of a tensor.",
        );
    }
    let order: Vec<i64> = (0..x.ndim() as i64).rev().collect();
    view::permute(x, &order)
}

pub fn broadcast_tensors(tensors: &[Tensor]) -> Result<Vec<Tensor>> {
    let mut shape = Dims::new();
    for t in tensors {
        shape = broadcast(&shape, t.shape())?;
    }
    tensors.iter().map(|t| view::expand(t, &shape)).collect()
}

/// Zeros with a one at each class.
pub fn one_hot(x: &Tensor, classes: i64) -> Result<Tensor> {
    ensure!(x.dtype() == Dtype::I64, Runtime, "one_hot is only applicable to index tensor of type LongTensor.");
    let mut shape = x.dims();
    if gpu::holds(x) && x.numel() > 0 {
        let n = if classes == -1 {
            reduce::extreme_over(&x.detach(), &[], false, true)?.item()?.i64().saturating_add(1)
        } else {
            classes
        };
        ensure!(n > 0, Runtime, "num_classes should be positive");
        shape.push(n as usize);
        let zeros = Tensor::zeros(&shape, Dtype::I64, x.device())?;
        return index::along::scatter_value(&zeros, -1, &view::unsqueeze(&x.detach(), -1)?, Scalar::Int(1), None);
    }
    x.check_data("one_hot")?;
    let c = copy::contiguous(&x.detach())?;
    let values = c.data::<i64>();
    if values.is_empty() {
        ensure!(classes > 0, Runtime, "Can not infer total number of classes from empty tensor.");
        shape.push(classes as usize);
        return Tensor::zeros(&shape, Dtype::I64, x.device());
    }
    ensure!(values.iter().all(|&v| v >= 0), Runtime, "Class values must be non-negative.");
    let n = if classes == -1 {
        values.iter().max().map_or(0, |m| m.saturating_add(1))
    } else {
        ensure!(classes > 0, Runtime, "num_classes should be positive");
        ensure!(values.iter().all(|&v| v < classes), Runtime, "Class values must be smaller than num_classes.");
        classes
    } as usize;
    shape.push(n);
    let out = Tensor::zeros(&shape, Dtype::I64, x.device())?;
    for (row, &v) in out.data_mut::<i64>().chunks_exact_mut(n).zip(values) {
        row[v as usize] = 1;
    }
    Ok(out)
}

/// Row-major positions as one index for each dimension.
pub fn unravel_index(x: &Tensor, shape: &[i64]) -> Result<Vec<Tensor>> {
    ensure!(
        x.dtype().is_integral() && x.dtype() != Dtype::Bool,
        Type,
        "expected 'indices' to be integer dtype, but got torch.{}",
        x.dtype().name()
    );
    ensure!(
        shape.iter().all(|&s| s >= 0),
        Value,
        "torch.unravel_index: 'shape' cannot have negative values, but got ({})",
        shape.iter().map(|s| s.to_string()).collect::<Vec<_>>().join(", ")
    );
    let shape = sizes(shape)?;
    crate::layout::checked_numel(&shape)?;
    let c = copy::contiguous(&copy::to_dtype(&x.detach(), Dtype::I64)?)?;
    if gpu::holds(&c) {
        let (mut rest, mut out) = (c, Vec::new());
        for &n in shape.iter().rev() {
            let n = Operand::S(Scalar::Int((n as i64).max(1)));
            out.push(ew::REMAINDER.call(&[Operand::T(rest.clone()), n.clone()], &[], None)?);
            rest = ew::FLOOR_DIVIDE.call(&[Operand::T(rest), n], &[], None)?;
        }
        out.reverse();
        return Ok(out);
    }
    let mut rest = c.data::<i64>().to_vec();
    let mut out = Vec::new();
    for &n in shape.iter().rev() {
        let n = (n as i64).max(1);
        let digits: Vec<i64> = rest.iter().map(|v| v.rem_euclid(n)).collect();
        rest.iter_mut().for_each(|v| *v = v.div_euclid(n));
        out.push(Tensor::from_slice(&digits, x.shape())?);
    }
    out.reverse();
    Ok(out)
}

/// A row-major copy.
fn fresh(x: Result<Tensor>) -> Result<Ret> {
    copy::clone(&x?, Some(MemoryFormat::Contiguous)).map(Into::into)
}

fn fresh_all(parts: Result<Vec<Tensor>>) -> Result<Ret> {
    parts?.iter().map(|t| copy::clone(t, Some(MemoryFormat::Contiguous))).collect::<Result<Vec<_>>>().map(Ret::Tuple)
}

fn register_copies(r: &mut Registry) {
    r.op("f", "alias_copy(Tensor self) -> Tensor", "A copy.", |a| fresh(Ok(a.t(0).clone())));
    r.op("f", "detach_copy(Tensor self) -> Tensor", "A copy without history.", |a| fresh(Ok(a.t(0).detach())));
    r.op("f", "view_copy(Tensor self, int[] size) -> Tensor", "view, copied.", |a| fresh(view::reshape(a.t(0), a.ints(1))));
    r.op("f", "expand_copy(Tensor self, int[] size, *, bool implicit=False) -> Tensor", "expand, copied.", |a| {
        fresh(view::expand_sizes(a.t(0), a.ints(1)))
    });
    r.op("f", "permute_copy(Tensor self, int[] dims) -> Tensor", "permute, copied.", |a| fresh(view::permute(a.t(0), a.ints(1))));
    r.op("f", "transpose_copy(Tensor self, int dim0, int dim1) -> Tensor", "transpose, copied.", |a| {
        fresh(view::transpose(a.t(0), a.int(1), a.int(2)))
    });
    r.op("f", "t_copy(Tensor self) -> Tensor", "t, copied.", |a| fresh(view::t(a.t(0))));
    r.op("f", "select_copy(Tensor self, int dim, int index) -> Tensor", "select, copied.", |a| {
        fresh(view::select(a.t(0), a.int(1), a.int(2)))
    });
    r.op("fm", "narrow_copy(Tensor self, int dim, int start, int length) -> Tensor", "narrow, copied.", |a| {
        fresh(view::narrow(a.t(0), a.int(1), a.int(2), a.int(3)))
    });
    r.op(
        "f",
        "slice_copy(Tensor self, int dim=0, int? start=None, int? end=None, int step=1) -> Tensor",
        "A slice, copied.",
        |a| fresh(view::slice(a.t(0), a.int(1), a.oint(2), a.oint(3), a.int(4))),
    );
    r.op("f", "squeeze_copy(Tensor self) -> Tensor", "squeeze, copied.", |a| fresh(view::squeeze(a.t(0), None)));
    r.op("f", "squeeze_copy(Tensor self, int[1] dim) -> Tensor", "squeeze, copied.", |a| {
        fresh(view::squeeze(a.t(0), Some(a.ints(1))))
    });
    r.op("f", "unsqueeze_copy(Tensor self, int dim) -> Tensor", "unsqueeze, copied.", |a| {
        fresh(view::unsqueeze(a.t(0), a.int(1)))
    });
    r.op("f", "diagonal_copy(Tensor self, int offset=0, int dim1=0, int dim2=1) -> Tensor", "diagonal, copied.", |a| {
        fresh(view::diagonal(a.t(0), a.int(1), a.int(2), a.int(3)))
    });
    r.op("f", "unfold_copy(Tensor self, int dimension, int size, int step) -> Tensor", "Sliding windows, copied.", |a| {
        fresh(view::unfold(a.t(0), a.int(1), a.int(2), a.int(3)))
    });
    r.op(
        "f",
        "as_strided_copy(Tensor self, int[] size, int[] stride, int? storage_offset=None) -> Tensor",
        "as_strided, copied.",
        |a| fresh(view::as_strided(a.t(0), a.ints(1), a.ints(2), a.oint(3))),
    );
    r.op("f", "unbind_copy(Tensor self, int dim=0) -> Tensor[]", "unbind, copied.", |a| {
        fresh_all(view::unbind(a.t(0), a.int(1)))
    });
    r.op("f", "split_copy(Tensor self, int split_size, int dim=0) -> Tensor[]", "split, copied.", |a| {
        fresh_all(view::split(a.t(0), a.int(1), a.int(2)))
    });
    r.op("f", "split_with_sizes_copy(Tensor self, int[] split_sizes, int dim=0) -> Tensor[]", "split_with_sizes, copied.", |a| {
        fresh_all(view::split_sizes(a.t(0), a.ints(1), a.int(2)))
    });
}

pub(super) fn register(r: &mut Registry) {
    for schema in [
        "movedim(Tensor self, int source, int destination) -> Tensor",
        "moveaxis(Tensor self, int source, int destination) -> Tensor",
    ] {
        r.op("fm", schema, "A dimension moved to another place.", |a| movedim(a.t(0), &[a.int(1)], &[a.int(2)]).map(Into::into));
    }
    for schema in [
        "movedim(Tensor self, int[] source, int[] destination) -> Tensor",
        "moveaxis(Tensor self, int[] source, int[] destination) -> Tensor",
    ] {
        r.op("fm", schema, "Dimensions moved to other places.", |a| movedim(a.t(0), a.ints(1), a.ints(2)).map(Into::into));
    }
    r.op("p", "T(Tensor self) -> Tensor", "Dimensions in reverse.", |a| reversed(a.t(0)).map(Into::into));
    r.op("p", "mT(Tensor self) -> Tensor", "The last two dimensions exchanged.", |a| {
        matrix_transpose(a.t(0), "mT").map(Into::into)
    });
    r.op("p", "mH(Tensor self) -> Tensor", "The last two dimensions exchanged, conjugated.", |a| {
        conj(&matrix_transpose(a.t(0), "mH")?).map(Into::into)
    });
    r.op("p", "H(Tensor self) -> Tensor", "A matrix transposed and conjugated.", |a| {
        let x = a.t(0);
        match x.ndim() {
            0 => Ok(view::alias(x).into()),
            2 => conj(&view::transpose(x, 0, 1)?).map(Into::into),
            1 => bail!(Runtime, "tensor.H is only supported on matrices (2-D tensors). Got 1-D tensor."),
            n => bail!(
                Runtime,
                "tensor.H is only supported on matrices (2-D tensors). Got {n}-D tensor. For batches of matrices, consider using tensor.mH"
            ),
        }
    });
    r.op("fm", "adjoint(Tensor self) -> Tensor", "The last two dimensions exchanged, conjugated.", |a| {
        conj(&matrix_transpose(a.t(0), "adjoint()")?).map(Into::into)
    });
    r.op("f", "atleast_1d(Tensor self) -> Tensor", "At least one dimension.", |a| at_least(a.t(0), 1).map(Into::into));
    r.op("f", "atleast_1d(Tensor... tensors) -> Tensor[]", "At least one dimension each.", |a| {
        a.ts(0).iter().map(|t| at_least(t, 1)).collect::<Result<Vec<_>>>().map(Ret::Tuple)
    });
    r.op("f", "atleast_2d(Tensor self) -> Tensor", "At least two dimensions.", |a| at_least(a.t(0), 2).map(Into::into));
    r.op("f", "atleast_2d(Tensor... tensors) -> Tensor[]", "At least two dimensions each.", |a| {
        a.ts(0).iter().map(|t| at_least(t, 2)).collect::<Result<Vec<_>>>().map(Ret::Tuple)
    });
    r.op("f", "atleast_3d(Tensor self) -> Tensor", "At least three dimensions.", |a| at_least(a.t(0), 3).map(Into::into));
    r.op("f", "atleast_3d(Tensor... tensors) -> Tensor[]", "At least three dimensions each.", |a| {
        a.ts(0).iter().map(|t| at_least(t, 3)).collect::<Result<Vec<_>>>().map(Ret::Tuple)
    });
    r.op("f", "broadcast_tensors(Tensor... tensors) -> Tensor[]", "Tensors stretched to one shape.", |a| {
        broadcast_tensors(&a.ts(0)).map(Ret::Tuple)
    });
    r.op("n", "one_hot(Tensor self, int num_classes=-1) -> Tensor", "Zeros with a one at each class.", |a| {
        one_hot(a.t(0), a.int(1)).map(Into::into)
    });
    r.op("f", "unravel_index(Tensor indices, int[1] shape) -> Tensor[]", "Row-major positions as one index a dimension.", |a| {
        unravel_index(a.t(0), a.ints(1)).map(Ret::Tuple)
    });
    register_copies(r);
}
