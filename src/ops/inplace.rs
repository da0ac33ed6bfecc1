//! Writing into tensors that others may see: checks, versions, and the rewriting of history.
//!
//! An in-place op is the out-of-place op followed by [`assign`]: the result is written over the target and
//! its history becomes the target's. For a view, the history of the base is rewritten (`CopySlices`), and
//! every other view of it derives its own anew when asked.

use super::{copy, view};
use crate::autograd::{Edge, is_grad_enabled, record};
use crate::ensure;
use crate::error::Result;
use crate::layout::{Layout, show};
use crate::storage::Storage;
use crate::tensor::{Impl, Tensor};
use smallvec::smallvec;
use std::sync::Arc;

/// What forbids writing to `target`.
pub fn check_writable(target: &Tensor) -> Result<()> {
    check_history(target)?;
    ensure!(
        !target.layout().overlaps_itself(),
        Runtime,
        "unsupported operation: more than one element of the written-to tensor refers to a single memory location. Please clone() the tensor before performing the operation."
    );
    Ok(())
}

/// Whether autograd allows a change in place.
pub fn check_history(target: &Tensor) -> Result<()> {
    ensure!(
        !target.is_inference() || crate::autograd::is_inference_mode(),
        Runtime,
        "Inplace update to inference tensor outside InferenceMode is not allowed.You can make a clone to get a normal tensor before doing inplace update.See https://github.com/pytorch/rfcs/pull/17 for more details."
    );
    if is_grad_enabled()
        && target.0.view_of.is_some()
        && let Some(e) = target.grad_fn()
    {
        ensure!(
            !matches!(e.node.name.as_ref(), "SplitBackward0" | "UnbindBackward0" | "SplitWithSizesBackward0"),
            Runtime,
            "Output {} of {} is a view and is being modified inplace. This view is the output of a function that returns multiple views. Such functions do not allow the output views to be modified inplace. You should replace the inplace operation by an out-of-place one.",
            e.nr,
            e.node.name
        );
    }
    if is_grad_enabled() && target.requires_grad() {
        ensure!(!target.is_leaf(), Runtime, "a leaf Variable that requires grad is being used in an in-place operation.");
        if let Some(base) = &target.0.view_of {
            ensure!(
                !(base.requires_grad() && base.is_leaf()),
                Runtime,
                "a view of a leaf Variable that requires grad is being used in an in-place operation."
            );
        }
    } else if is_grad_enabled()
        && let Some(base) = &target.0.view_of
    {
        ensure!(
            !(base.requires_grad() && base.is_leaf()),
            Runtime,
            "a view of a leaf Variable that requires grad is being used in an in-place operation."
        );
    }
    Ok(())
}

/// Refuses an operand that shares some of the target's memory under another layout: elements would be
/// overwritten before they are read. (As PyTorch, only where both are dense, so that the answer is cheap.)
pub fn check_overlap(target: &Tensor, operand: &Tensor) -> Result<()> {
    if !operand.same_storage(target) || operand.layout() == target.layout() || operand.numel() == 0 || target.numel() == 0 {
        return Ok(());
    }
    if !(operand.layout().is_dense() && target.layout().is_dense()) {
        return Ok(());
    }
    let ends = |t: &Tensor| (t.layout().offset, t.layout().offset + t.numel());
    let ((s1, e1), (s2, e2)) = (ends(target), ends(operand));
    ensure!(
        !(s1 < e2 && s2 < e1) || (s1, e1) == (s2, e2) && target.strides() == operand.strides(),
        Runtime,
        "unsupported operation: some elements of the input tensor and the written-to tensor refer to a single memory location. Please clone() the tensor before performing the operation."
    );
    Ok(())
}

/// Writes the result of an op over `target`.
pub fn assign(target: &Tensor, value: Tensor) -> Result<()> {
    assign_named(target, value, "ZeroBackward0")
}

/// [`assign`]; `name` is the history of the target where the value has none of its own.
pub fn assign_named(target: &Tensor, value: Tensor, name: &'static str) -> Result<()> {
    check_writable(target)?;
    ensure!(
        target.shape() == value.shape(),
        Runtime,
        "output with shape {} doesn't match the broadcast shape {}",
        show(target.shape()),
        show(value.shape())
    );
    ensure!(
        target.dtype().can_hold(value.dtype()),
        Runtime,
        "result type {} can't be cast to the desired output type {}",
        value.dtype().scalar_name(),
        target.dtype().scalar_name()
    );
    let tracked = is_grad_enabled()
        && (value.requires_grad() || target.requires_grad())
        && (target.dtype().is_float() || target.dtype().is_complex());
    let value = if tracked && value.dtype() != target.dtype() { copy::to_dtype(&value, target.dtype())? } else { value };
    copy::copy_raw(target, &value.detach())?;
    target.storage().bump_version();
    if tracked {
        let value = if value.requires_grad() {
            if name == "CopyBackwards" {
                // The history of a copy is a node of its own, even where the value is a leaf.
                record("CopyBackwards", &[target, &value], value.detach(), |c, g| {
                    let to_target = c.needs(0).then(|| Tensor::zeros(g.shape(), g.dtype(), g.device())).transpose()?;
                    Ok(smallvec![to_target, Some(g.clone())])
                })
            } else {
                value
            }
        } else {
            record(name, &[target], value.detach(), |_, g| Ok(smallvec![Some(Tensor::zeros(g.shape(), g.dtype(), g.device())?)]))
        };
        rebase(target, value)?;
    }
    Ok(())
}

/// Makes the history of `value` that of `target`.
pub fn rebase(target: &Tensor, value: Tensor) -> Result<()> {
    let Some(base) = target.0.view_of.clone() else {
        target.set_grad_fn(value.grad_fn());
        return Ok(());
    };
    let (base_layout, layout) = (base.layout().clone(), target.layout().clone());
    let new = record_copy_slices(&base, &value, base_layout, layout);
    base.set_grad_fn(new);
    Ok(())
}

fn record_copy_slices(base: &Tensor, value: &Tensor, base_layout: Layout, layout: Layout) -> Option<Edge> {
    let shell = base.detach();
    let out = record("CopySlices", &[base, value], shell, move |ctx, g| {
        let whole = laid_out_like(g, &base_layout)?;
        let slice = inside(&whole, &base_layout, &layout)?;
        let to_value = ctx.needs(1).then(|| copy::clone(&slice, None)).transpose()?;
        let to_base = if ctx.needs(0) { Some(view::zero_slice(&whole, &base_layout, &layout)?) } else { None };
        Ok(smallvec![to_base, to_value])
    });
    out.grad_fn()
}

/// A copy of `g` whose memory is laid out as a base tensor's is (offset 0). Differentiable.
pub fn laid_out_like(g: &Tensor, base: &Layout) -> Result<Tensor> {
    if base.is_contiguous() {
        return copy::contiguous(g);
    }
    let flat = Layout::strided(&base.shape, &base.strides, 0)?;
    let storage = Storage::zeros(flat.required()? * g.dtype().size(), g.device())?;
    let out = Tensor::from_parts(storage, flat, g.dtype());
    copy::copy_raw(&out, &g.detach())?;
    Ok(record("CloneBackward0", &[g], out, |_, g| Ok(smallvec![Some(g.clone())])))
}

/// The part of `whole` (laid out like the base) that a view of the base looks at. Differentiable.
pub fn inside(whole: &Tensor, base: &Layout, view_layout: &Layout) -> Result<Tensor> {
    let offset = whole.layout().offset + view_layout.offset - base.offset;
    let l = Layout::strided(&view_layout.shape, &view_layout.strides, offset)?;
    view::as_view_of(whole, l)
}

/// The same tensor (same identity, same gradient) with other memory or another shape.
pub fn with_identity(of: &Tensor, storage: Arc<Storage>, layout: Layout, dtype: crate::dtype::Dtype) -> Tensor {
    let meta = of.0.meta.share().into();
    Tensor(Arc::new(Impl { storage, layout, dtype, view_of: of.0.view_of.clone(), meta }))
}
