//! Writing whole tensors and views: fill, `*_scatter`, resize, set.

use super::{fill_value, lanes};
use crate::autograd::{is_grad_enabled, needs_grad, record};
use crate::dtype::Dtype;
use crate::ensure;
use crate::error::Result;
use crate::layout::{Layout, show, sizes};
use crate::ops::{MemoryFormat, Registry, Ret, copy, inplace, reduce, view};
use crate::storage::{Storage, StorageRef};
use crate::tensor::Tensor;
use smallvec::smallvec;
use std::sync::Arc;

/// A tensor like `x` with every element a 0-d value. Differentiable in the value.
pub fn fill(x: &Tensor, value: &Tensor) -> Result<Tensor> {
    zero_dims(value)?;
    let out = x.empty_like()?;
    copy::copy_raw(&out, &value.detach())?;
    let (shape, vd) = (x.dims(), value.dtype());
    Ok(record("FillBackward0", &[x, value], out, move |ctx, g| {
        let gx = if ctx.needs(0) { Some(Tensor::zeros(&shape, g.dtype(), g.device())?) } else { None };
        let gv = if ctx.needs(1) { Some(copy::to_dtype(&reduce::sum(g, None, false, None)?, vd)?) } else { None };
        Ok(smallvec![gx, gv])
    }))
}

fn zero_dims(value: &Tensor) -> Result<()> {
    ensure!(
        value.ndim() == 0,
        Runtime,
        "fill_ only supports 0-dimension value tensor but got tensor with {} dimensions.",
        value.ndim()
    );
    Ok(())
}

/// Every element becomes a 0-d value.
pub fn fill_(x: &Tensor, value: &Tensor) -> Result<()> {
    fill_named(x, value, "FillBackward3")
}

fn fill_named(x: &Tensor, value: &Tensor, name: &'static str) -> Result<()> {
    zero_dims(value)?;
    if needs_grad(&[x, value]) {
        let v = copy::to_dtype(value, x.dtype())?;
        return inplace::assign_named(x, view::expand(&v, x.shape())?, name);
    }
    // Elements that share memory all become the same.
    inplace::check_history(x)?;
    if x.dtype() == value.dtype() && !value.same_storage(x) {
        lanes::fill(x, &value.detach())?;
    } else {
        copy::copy_raw(x, &value.detach())?;
    }
    x.storage().bump_version();
    Ok(())
}

pub type Look = Arc<dyn Fn(&Tensor) -> Result<Tensor> + Send + Sync>;

/// A copy of `x` with `src` written into the view that `look` gives. Differentiable.
pub fn scatter_view(x: &Tensor, src: &Tensor, look: &Look, name: &'static str) -> Result<Tensor> {
    let out = copy::clone(&x.detach(), Some(MemoryFormat::Contiguous))?;
    let slot = look(&out)?;
    ensure!(
        slot.shape() == src.shape(),
        Runtime,
        "expected src to have a size equal to the slice of self. src size = {}, slice size = {}",
        show(src.shape()),
        show(slot.shape())
    );
    copy::copy_raw(&slot.detach(), &src.detach())?;
    let (look, from) = (look.clone(), (x.dtype(), src.dtype()));
    Ok(record(name, &[x, src], out, move |ctx, g| {
        let g = copy::contiguous(g)?;
        let gx = if ctx.needs(0) {
            let zeros = Tensor::zeros(look(&g.detach())?.shape(), g.dtype(), g.device())?;
            Some(copy::to_dtype(&scatter_view(&g, &zeros, &look, name)?, from.0)?)
        } else {
            None
        };
        let gs = if ctx.needs(1) { Some(copy::to_dtype(&look(&g)?, from.1)?) } else { None };
        Ok(smallvec![gx, gs])
    }))
}

/// The first bytes of a storage.
fn bytes(s: &StorageRef, n: usize) -> Result<Tensor> {
    Ok(Tensor::from_parts(s.clone(), Layout::contiguous(&[n])?, Dtype::U8))
}

/// The layout for a resized tensor and memory enough for it, which keeps the old content.
fn resize(x: &Tensor, size: &[i64], format: Option<MemoryFormat>) -> Result<Tensor> {
    ensure!(!(is_grad_enabled() && x.requires_grad()), Runtime, "cannot resize variables that require grad");
    let shape = sizes(size)?;
    let dense = Layout::contiguous(&shape)?;
    let strides = match format {
        None | Some(MemoryFormat::Contiguous | MemoryFormat::Preserve) => dense.strides.to_vec(),
        Some(f) => copy::format_strides(&shape, f)?,
    };
    let l = Layout::strided(&shape, &strides, x.layout().offset)?;
    let need = l.required()?.checked_mul(x.dtype().size());
    let Some(need) = need else { crate::bail!(Runtime, "Storage size calculation overflowed with sizes={}", show(size)) };
    let storage = if need <= x.storage().nbytes() {
        x.storage().clone()
    } else {
        let s = Storage::zeros(need, x.device())?;
        if x.device() == crate::device::Device::Cpu {
            // SAFETY: the new block is larger than the old one, and they are different blocks.
            unsafe { std::ptr::copy_nonoverlapping(x.storage().ptr(), s.ptr_mut(), x.storage().nbytes()) };
        } else if crate::gpu::holds(x) {
            copy::copy_raw(&bytes(&s, x.storage().nbytes())?, &bytes(x.storage(), x.storage().nbytes())?)?;
        }
        s
    };
    Ok(Tensor::from_parts(storage, l, x.dtype()))
}

pub(super) fn register(r: &mut Registry) {
    r.op("m", "fill_(Tensor self, Tensor value) -> Tensor", "Every element becomes a 0-d tensor's.", |a| {
        fill_(a.t(0), a.t(1))?;
        Ok(a.t(0).clone().into())
    });
    r.op("m", "fill_(Tensor self, Scalar value) -> Tensor", "Every element becomes a number.", |a| {
        fill_named(a.t(0), &fill_value(a.sc(1), a.t(0).dtype())?, "FillBackward2")?;
        Ok(a.t(0).clone().into())
    });
    r.op("f", "fill_(Tensor self, Operand value) -> Tensor", "Every element becomes a number.", |a| {
        let v = match a.ot(1) {
            Some(t) => t.clone(),
            None => fill_value(a.sc(1), a.t(0).dtype())?,
        };
        fill_(a.t(0), &v)?;
        Ok(a.t(0).clone().into())
    });
    r.op("fm", "zero_(Tensor self) -> Tensor", "Every element becomes 0.", |a| {
        let x = a.t(0);
        let zero = Tensor::scalar(0i64, x.dtype());
        if needs_grad(&[x]) {
            inplace::assign_named(x, view::expand(&zero, x.shape())?, "ZeroBackward0")?;
        } else {
            fill_(x, &zero)?;
        }
        Ok(x.clone().into())
    });
    r.op("f", "fill(Tensor self, Tensor value) -> Tensor", "A tensor of this shape filled with a 0-d tensor's value.", |a| {
        fill(a.t(0), a.t(1)).map(Into::into)
    });
    r.op("f", "fill(Tensor self, Scalar value) -> Tensor", "A tensor of this shape filled with a number.", |a| {
        fill(a.t(0), &fill_value(a.sc(1), a.t(0).dtype())?).map(Into::into)
    });
    r.op(
        "fm",
        "select_scatter(Tensor self, Tensor src, int dim, int index) -> Tensor",
        "A copy with src at one index of a dimension.",
        |a| {
            let (dim, index) = (a.int(2), a.int(3));
            scatter_view(
                a.t(0),
                a.t(1),
                &(Arc::new(move |t: &Tensor| view::select(t, dim, index)) as Look),
                "SelectScatterBackward0",
            )
            .map(Into::into)
        },
    );
    r.op(
        "fm",
        "slice_scatter(Tensor self, Tensor src, int dim=0, int? start=None, int? end=None, int step=1) -> Tensor",
        "A copy with src in a slice of a dimension.",
        |a| {
            let (dim, start, end, step) = (a.int(2), a.oint(3), a.oint(4), a.int(5));
            let look: Look = Arc::new(move |t: &Tensor| view::slice(t, dim, start, end, step));
            scatter_view(a.t(0), a.t(1), &look, "SliceScatterBackward0").map(Into::into)
        },
    );
    r.op(
        "fm",
        "diagonal_scatter(Tensor self, Tensor src, int offset=0, int dim1=0, int dim2=1) -> Tensor",
        "A copy with src on a diagonal.",
        |a| {
            let (offset, dim1, dim2) = (a.int(2), a.int(3), a.int(4));
            let look: Look = Arc::new(move |t: &Tensor| view::diagonal(t, offset, dim1, dim2));
            scatter_view(a.t(0), a.t(1), &look, "DiagonalScatterBackward0").map(Into::into)
        },
    );
    r.op(
        "fm",
        "as_strided_scatter(Tensor self, Tensor src, int[] size, int[] stride, int? storage_offset=None) -> Tensor",
        "A copy with src in a strided view.",
        |a| {
            let (size, stride, offset) = (a.ints(2).to_vec(), a.ints(3).to_vec(), a.oint(4).unwrap_or(0));
            let look: Look = Arc::new(move |t: &Tensor| {
                let base = t.layout().offset as i64;
                view::as_strided(t, &size, &stride, Some(offset + base))
            });
            scatter_view(a.t(0), a.t(1), &look, "AsStridedScatterBackward0").map(Into::into)
        },
    );
    r.op(
        "m",
        "resize_(Tensor self, int[] size, *, MemoryFormat? memory_format=None) -> Tensor",
        "Another shape over the same memory, which grows where needed.",
        |a| resize(a.t(0), a.ints(1), a.memory_format(2)).map(Ret::Replace),
    );
    r.op(
        "m",
        "resize_as_(Tensor self, Tensor the_template, *, MemoryFormat? memory_format=None) -> Tensor",
        "resize_ to the shape of another tensor.",
        |a| {
            let size: Vec<i64> = a.t(1).shape().iter().map(|&s| s as i64).collect();
            resize(a.t(0), &size, a.memory_format(2)).map(Ret::Replace)
        },
    );
    r.op("m", "set_(Tensor self, Tensor source) -> Tensor", "The memory and shape of another tensor.", |a| {
        ensure!(
            a.t(0).dtype() == a.t(1).dtype(),
            Runtime,
            "Could not set tensor of type {} to a tensor of type {}",
            a.t(1).dtype().cpp_name(),
            a.t(0).dtype().cpp_name()
        );
        Ok(Ret::Replace(a.t(1).detach()))
    });
    r.op("m", "set_(Tensor self) -> Tensor", "An empty tensor.", |a| {
        Ok(Ret::Replace(Tensor::empty(&[0], a.t(0).dtype(), a.t(0).device())?))
    });
}
