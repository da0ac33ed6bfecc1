//! cat, stack and their relatives.

use super::views::{at_least, unsqueeze_raw};
use crate::autograd::{needs_grad, record};
use crate::dtype::Dtype;
use crate::ensure;
use crate::error::Result;
use crate::layout::{Layout, show, wrap_dim};
use crate::ops::{Registry, copy, view};
use crate::tensor::Tensor;

/// Copies parts (same dimensions but for `d`) beside each other.
fn cat_raw(parts: &[Tensor], d: usize, dtype: Dtype) -> Result<Tensor> {
    let mut shape = parts[0].dims();
    let mut total = 0usize;
    for p in parts {
        total = total.checked_add(p.shape()[d]).ok_or_else(|| crate::err!(Runtime, "cat: size overflow"))?;
    }
    shape[d] = total;
    let out = Tensor::empty(&shape, dtype, parts[0].device())?;
    let mut at = 0;
    for p in parts {
        if p.numel() > 0 {
            let offset = at * out.strides()[d] as usize;
            copy::copy_raw(&out.alias(Layout::strided(p.shape(), out.strides(), offset)?), p)?;
        }
        at += p.shape()[d];
    }
    Ok(out)
}

/// Tensors beside each other along a dimension; empty rows (`[0]`) are left out. Differentiable.
pub fn cat(tensors: &[Tensor], dim: i64) -> Result<Tensor> {
    ensure!(!tensors.is_empty(), Value, "torch.cat(): expected a non-empty list of Tensors");
    for (i, t) in tensors.iter().enumerate() {
        ensure!(t.ndim() > 0, Runtime, "zero-dimensional tensor (at position {i}) cannot be concatenated");
    }
    let dtype = tensors[1..].iter().fold(tensors[0].dtype(), |d, t| d.promote(t.dtype()));
    let skipped = |t: &Tensor| t.shape() == [0];
    let first = tensors.iter().find(|t| !skipped(t)).unwrap_or(&tensors[0]);
    let d = wrap_dim(dim, first.ndim())?;
    for (i, t) in tensors.iter().enumerate().filter(|(_, t)| !skipped(t)) {
        ensure!(
            t.ndim() == first.ndim(),
            Runtime,
            "Tensors must have same number of dimensions: got {} and {}",
            first.ndim(),
            t.ndim()
        );
        for k in (0..t.ndim()).filter(|&k| k != d) {
            ensure!(
                t.shape()[k] == first.shape()[k],
                Runtime,
                "Sizes of tensors must match except in dimension {d}. Expected size {} but got size {} for tensor number {i} in the list.",
                first.shape()[k],
                t.shape()[k]
            );
        }
    }
    let parts: Vec<Tensor> = tensors.iter().filter(|t| !skipped(t)).map(Tensor::detach).collect();
    let out = if parts.is_empty() { Tensor::empty(&[0], dtype, first.device())? } else { cat_raw(&parts, d, dtype)? };
    let inputs: Vec<&Tensor> = tensors.iter().collect();
    if !needs_grad(&inputs) {
        return Ok(out);
    }
    // Of every input: its dtype and its length, none where it was left out.
    let pieces: Vec<(Dtype, Option<usize>)> = tensors.iter().map(|t| (t.dtype(), (!skipped(t)).then(|| t.shape()[d]))).collect();
    Ok(record("CatBackward0", &inputs, out, move |ctx, g| {
        let mut at = 0;
        let mut grads = crate::autograd::Grads::new();
        for (i, (dtype, len)) in pieces.iter().enumerate() {
            let Some(len) = len else {
                grads.push(if ctx.needs(i) { Some(Tensor::zeros(&[0], *dtype, g.device())?) } else { None });
                continue;
            };
            grads.push(if ctx.needs(i) {
                Some(copy::to_dtype(&view::narrow(g, d as i64, at as i64, *len as i64)?, *dtype)?)
            } else {
                None
            });
            at += len;
        }
        Ok(grads)
    }))
}

/// Tensors of one shape along a new dimension. Differentiable.
pub fn stack(tensors: &[Tensor], dim: i64) -> Result<Tensor> {
    ensure!(!tensors.is_empty(), Runtime, "stack expects a non-empty TensorList");
    let d = wrap_dim(dim, tensors[0].ndim() + 1)?;
    for (i, t) in tensors.iter().enumerate() {
        ensure!(
            t.shape() == tensors[0].shape(),
            Runtime,
            "stack expects each tensor to be equal size, but got {} at entry 0 and {} at entry {i}",
            show(tensors[0].shape()),
            show(t.shape())
        );
    }
    let dtype = tensors[1..].iter().fold(tensors[0].dtype(), |d, t| d.promote(t.dtype()));
    let parts: Vec<Tensor> = tensors.iter().map(|t| unsqueeze_raw(t, d)).collect::<Result<_>>()?;
    let out = cat_raw(&parts, d, dtype)?;
    let inputs: Vec<&Tensor> = tensors.iter().collect();
    if !needs_grad(&inputs) {
        return Ok(out);
    }
    let dtypes: Vec<Dtype> = tensors.iter().map(Tensor::dtype).collect();
    Ok(record("StackBackward0", &inputs, out, move |ctx, g| {
        let pick = |(i, dt): (usize, &Dtype)| -> Result<Option<Tensor>> {
            if ctx.needs(i) { Ok(Some(copy::to_dtype(&view::select(g, d as i64, i as i64)?, *dt)?)) } else { Ok(None) }
        };
        dtypes.iter().enumerate().map(pick).collect()
    }))
}

fn filled(tensors: &[Tensor], name: &str) -> Result<()> {
    ensure!(!tensors.is_empty(), Runtime, "{name} expects a non-empty TensorList");
    Ok(())
}

pub fn hstack(tensors: &[Tensor]) -> Result<Tensor> {
    filled(tensors, "hstack")?;
    let t: Vec<Tensor> = tensors.iter().map(|t| at_least(t, 1)).collect::<Result<_>>()?;
    cat(&t, if t[0].ndim() == 1 { 0 } else { 1 })
}

pub fn vstack(tensors: &[Tensor]) -> Result<Tensor> {
    filled(tensors, "vstack")?;
    let t: Vec<Tensor> = tensors.iter().map(|t| at_least(t, 2)).collect::<Result<_>>()?;
    cat(&t, 0)
}

pub fn dstack(tensors: &[Tensor]) -> Result<Tensor> {
    filled(tensors, "dstack")?;
    let t: Vec<Tensor> = tensors.iter().map(|t| at_least(t, 3)).collect::<Result<_>>()?;
    cat(&t, 2)
}

pub fn column_stack(tensors: &[Tensor]) -> Result<Tensor> {
    filled(tensors, "column_stack")?;
    let t: Vec<Tensor> = tensors
        .iter()
        .map(|t| if t.ndim() <= 1 { view::reshape_to(t, &[t.numel(), 1]) } else { Ok(t.clone()) })
        .collect::<Result<_>>()?;
    hstack(&t)
}

/// Matrices along the diagonal of one, zeros elsewhere. Differentiable.
pub fn block_diag(tensors: &[Tensor]) -> Result<Tensor> {
    if tensors.is_empty() {
        return Tensor::empty(&[1, 0], crate::dtype::default_dtype(), crate::device::Device::Cpu);
    }
    for (i, t) in tensors.iter().enumerate() {
        ensure!(
            t.ndim() <= 2,
            Runtime,
            "torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {i} has {} dimensions",
            t.ndim()
        );
    }
    let t: Vec<Tensor> = tensors.iter().map(|t| at_least(t, 2)).collect::<Result<_>>()?;
    let dtype = t[1..].iter().fold(t[0].dtype(), |d, t| d.promote(t.dtype()));
    let (rows, cols) = (t.iter().map(|t| t.shape()[0]).sum(), t.iter().map(|t| t.shape()[1]).sum());
    let out = Tensor::zeros(&[rows, cols], dtype, t[0].device())?;
    let (mut r, mut c) = (0, 0);
    let mut slots = Vec::new();
    for p in &t {
        let l = Layout::strided(p.shape(), out.strides(), r * cols + c)?;
        if p.numel() > 0 {
            copy::copy_raw(&out.alias(l), &p.detach())?;
        }
        slots.push((p.dtype(), r, c, p.dims()));
        (r, c) = (r + p.shape()[0], c + p.shape()[1]);
    }
    let inputs: Vec<&Tensor> = t.iter().collect();
    Ok(record("BlockDiagBackward0", &inputs, out, move |_, g| {
        slots
            .iter()
            .map(|(dtype, r, c, s)| {
                let row = view::narrow(g, 0, *r as i64, s[0] as i64)?;
                Ok(Some(copy::to_dtype(&view::narrow(&row, 1, *c as i64, s[1] as i64)?, *dtype)?))
            })
            .collect()
    }))
}

pub(super) fn register(r: &mut Registry) {
    for schema in [
        "cat(Tensor[] tensors, int dim=0) -> Tensor",
        "concat(Tensor[] tensors, int dim=0) -> Tensor",
        "concatenate(Tensor[] tensors, int dim=0) -> Tensor",
    ] {
        r.op("f", schema, "Tensors beside each other along a dimension.", |a| cat(&a.ts(0), a.int(1)).map(Into::into));
    }
    r.op("f", "stack(Tensor[] tensors, int dim=0) -> Tensor", "Tensors of one shape along a new dimension.", |a| {
        stack(&a.ts(0), a.int(1)).map(Into::into)
    });
    r.op("f", "hstack(Tensor[] tensors) -> Tensor", "Tensors beside each other, column after column.", |a| {
        hstack(&a.ts(0)).map(Into::into)
    });
    for schema in ["vstack(Tensor[] tensors) -> Tensor", "row_stack(Tensor[] tensors) -> Tensor"] {
        r.op("f", schema, "Tensors below each other, row after row.", |a| vstack(&a.ts(0)).map(Into::into));
    }
    r.op("f", "dstack(Tensor[] tensors) -> Tensor", "Tensors behind each other.", |a| dstack(&a.ts(0)).map(Into::into));
    r.op("f", "column_stack(Tensor[] tensors) -> Tensor", "Rows as the columns of a matrix.", |a| {
        column_stack(&a.ts(0)).map(Into::into)
    });
    r.op("f", "block_diag(Tensor... tensors=[]) -> Tensor", "Matrices along the diagonal of one.", |a| {
        block_diag(&a.ts(0)).map(Into::into)
    });
}
