//! Copies: clone, contiguous, to, copy_.

use super::{MemoryFormat, Registry, Ret, complex, inplace};
use crate::autograd::record;
use crate::device::Device;
use crate::dispatch;
use crate::dtype::{Dtype, Element};
use crate::ensure;
use crate::error::Result;
use crate::expr::builder::{Formula, build, input};
use crate::expr::{Operand, eval};
use crate::gpu::{self, transfer};
use crate::tensor::Tensor;
use smallvec::{SmallVec, smallvec};
use std::sync::OnceLock;

fn identity() -> &'static Formula {
    static F: OnceLock<Formula> = OnceLock::new();
    F.get_or_init(|| build(|| crate::expr::builder::prim(crate::expr::prim::Prim::Id, &[input(0)])))
}

/// Writes `src`, broadcast and converted, over `dst`. No history, no version: the bare memory operation.
/// Overlapping memory is handled as if `src` had been copied first.
pub fn copy_raw(dst: &Tensor, src: &Tensor) -> Result<()> {
    if dst.device() == Device::Meta {
        return Ok(());
    }
    if src.device() != dst.device() && dst.numel() > 0 {
        // A number goes as a parameter.
        if gpu::holds(dst) && src.device() == Device::Cpu && src.numel() == 1 && !dst.dtype().is_complex() {
            let v = Tensor::scalar(src.at(0), dst.dtype());
            return gpu::elementwise::run(identity(), &[Operand::S(v.item()?)], &[], dst.dtype(), &dst.detach());
        }
        let moved = transfer::move_to(src, dst.device())?;
        return copy_raw(dst, &moved);
    }
    let expanded;
    let src = if src.shape() == dst.shape() {
        src
    } else {
        expanded = src.alias(src.layout().expand(dst.shape())?);
        &expanded
    };
    if dst.numel() == 0 {
        return Ok(());
    }
    let safe;
    let src = if src.same_storage(dst) && src.layout() == dst.layout() && src.dtype() == dst.dtype() {
        return Ok(()); // x[i] += y writes the view that it has changed
    } else if src.same_storage(dst) {
        safe = clone_dense(&src.detach())?;
        &safe
    } else {
        src
    };
    if gpu::holds(dst) {
        return copy_on_gpu(dst, src);
    }
    dst.check_data("copy_")?;
    if src.dtype() == dst.dtype() {
        if dst.is_contiguous() && src.is_contiguous() {
            let bytes = dst.numel() * dst.dtype().size();
            let (to, from) = (dst.ptr_mut(), src.ptr());
            // Different storages may be views of a guest's memory.
            let apart = (to as usize).abs_diff(from as usize) >= bytes;
            if bytes < 1 << 20 || !apart {
                // SAFETY: both blocks have that many bytes; `copy` allows overlap.
                unsafe { std::ptr::copy(from, to, bytes) };
            } else {
                // SAFETY: as above, and the blocks are apart.
                unsafe { crate::cpu::copy::copy(to, from, &[(bytes, 1, 1)]) };
            }
        } else {
            dispatch!(bytes dst.dtype(), T => copy_strided::<T>(dst, src));
        }
    } else if src.dtype().is_complex() || dst.dtype().is_complex() {
        let from = contiguous(src)?;
        let to = Tensor::empty(dst.shape(), dst.dtype(), dst.device())?;
        dispatch!(all from.dtype(), S => dispatch!(all to.dtype(), D => {
            for (d, s) in to.data_mut::<D>().iter_mut().zip(from.data::<S>()) { *d = D::from_scalar(s.to_scalar()); }
        }));
        return copy_raw(dst, &to);
    } else if let Some(convert) = conversion(src.dtype(), dst.dtype())
        && dst.layout().is_dense()
        && src.strides() == dst.strides()
    {
        // SAFETY: dense in the same order, of the dtypes that the conversion is for, and of different storages.
        unsafe { convert(src.ptr(), dst.ptr_mut(), dst.numel()) };
    } else {
        let common = if src.dtype().is_integral() && dst.dtype().is_float() {
            // Through f64, so that int64 values are rounded once.
            Dtype::F64
        } else {
            src.dtype()
        };
        eval::run(identity(), &[Operand::T(src.clone())], &[], common, dst);
    }
    Ok(())
}

/// [`copy_raw`] between tensors of one GPU and one shape.
fn copy_on_gpu(dst: &Tensor, src: &Tensor) -> Result<()> {
    let (dst, src) = match (src.dtype().is_complex(), dst.dtype().is_complex()) {
        (false, false) => (dst.detach(), src.detach()),
        // Complex numbers are pairs of real ones.
        (true, true) => (complex::pairs(dst)?, complex::pairs(src)?),
        (false, true) => {
            complex::part(dst, true).and_then(|im| copy_raw(&im, &Tensor::scalar(0i64, im.dtype())))?;
            (complex::part(dst, false)?, src.detach())
        }
        (true, false) => (dst.detach(), complex::part(src, false)?),
    };
    gpu::elementwise::run(identity(), &[Operand::T(src.clone())], &[], src.dtype(), &dst)
}

/// The tensor without history where the host can read it.
pub fn to_host(x: &Tensor) -> Result<Tensor> {
    if gpu::holds(x) { transfer::to_cpu(x) } else { Ok(x.detach()) }
}

/// The tensor itself if it is on the device, else a copy there. Differentiable.
pub fn to_device(x: &Tensor, device: Device) -> Result<Tensor> {
    let back = x.device();
    if device == back {
        return Ok(x.clone());
    }
    if device == Device::Meta {
        return Tensor::empty(x.shape(), x.dtype(), device);
    }
    ensure!(back != Device::Meta, NotImplemented, "Cannot copy out of meta tensor; no data!");
    let out = transfer::move_to(x, device)?;
    Ok(record("ToCopyBackward0", &[x], out, move |_, g| Ok(smallvec![Some(to_device(g, back)?)])))
}

/// The kernel for two dtypes, where there is one.
fn conversion(from: Dtype, to: Dtype) -> Option<unsafe fn(*const u8, *mut u8, usize)> {
    use crate::cpu::convert::*;
    Some(match (from, to) {
        (Dtype::F16, Dtype::F32) => convert::<F16ToF32>,
        (Dtype::F32, Dtype::F16) => convert::<F32ToF16>,
        (Dtype::BF16, Dtype::F32) => convert::<Bf16ToF32>,
        (Dtype::F32, Dtype::BF16) => convert::<F32ToBf16>,
        (Dtype::F32, Dtype::F64) => convert::<F32ToF64>,
        (Dtype::F64, Dtype::F32) => convert::<F64ToF32>,
        (Dtype::I64, Dtype::F32) => convert::<I64ToF32>,
        (Dtype::I64, Dtype::F64) => convert::<I64ToF64>,
        (Dtype::I32, Dtype::F32) => convert::<I32ToF32>,
        (Dtype::I32, Dtype::I64) => convert::<I32ToI64>,
        (Dtype::I64, Dtype::I32) => convert::<I64ToI32>,
        (Dtype::F32, Dtype::I64) => convert::<F32ToI64>,
        (Dtype::U8, Dtype::F32) => convert::<U8ToF32>,
        (Dtype::Bool, Dtype::F32) => convert::<BoolToF32>,
        (Dtype::Bool, Dtype::I64) => convert::<BoolToI64>,
        (Dtype::F32, Dtype::Bool) => convert::<F32ToBool>,
        (Dtype::I64, Dtype::Bool) => convert::<I64ToBool>,
        _ => return None,
    })
}

/// Same dtype, same shape, any strides.
fn copy_strided<T: Copy + Send + Sync>(dst: &Tensor, src: &Tensor) {
    let mut axes: SmallVec<[(usize, isize, isize); 8]> = SmallVec::new();
    let mut order: SmallVec<[usize; 8]> = (0..dst.ndim()).filter(|&d| dst.shape()[d] != 1).collect();
    order.sort_by_key(|&d| std::cmp::Reverse(dst.strides()[d]));
    for d in order {
        let (n, ds, ss) = (dst.shape()[d], dst.strides()[d], src.strides()[d]);
        match axes.last_mut() {
            Some((pn, pd, ps)) if *pd == ds * n as isize && *ps == ss * n as isize => {
                *pn *= n;
                (*pd, *ps) = (ds, ss);
            }
            _ => axes.push((n, ds, ss)),
        }
    }
    // SAFETY: positions are those of the two layouts, which lie inside their storages; `copy_raw` gives no overlapping ones.
    unsafe { crate::cpu::copy::copy(dst.ptr_mut() as *mut T, src.ptr() as *const T, &axes) }
}

/// A copy without history that keeps a dense layout's strides.
pub fn clone_dense(x: &Tensor) -> Result<Tensor> {
    let out = if x.layout().is_dense() && !x.is_contiguous() {
        Tensor::empty_strided(x.shape(), x.strides(), x.dtype(), x.device())?
    } else {
        x.empty_like()?
    };
    copy_raw(&out, x)?;
    Ok(out)
}

/// Strides for a memory format.
pub fn format_strides(shape: &[usize], format: MemoryFormat) -> Result<Vec<isize>> {
    let order: &[usize] = match (format, shape.len()) {
        (MemoryFormat::ChannelsLast, 4) => &[0, 2, 3, 1],
        (MemoryFormat::ChannelsLast3d, 5) => &[0, 2, 3, 4, 1],
        (MemoryFormat::ChannelsLast, _) => crate::bail!(Runtime, "required rank 4 tensor to use channels_last format"),
        (MemoryFormat::ChannelsLast3d, _) => crate::bail!(Runtime, "required rank 5 tensor to use channels_last_3d format"),
        _ => return Ok(crate::layout::contiguous_strides(shape).to_vec()),
    };
    let mut strides = vec![0; shape.len()];
    let mut acc = 1isize;
    for &d in order.iter().rev() {
        strides[d] = acc;
        acc *= shape[d].max(1) as isize;
    }
    Ok(strides)
}

/// A copy of its own. Differentiable.
pub fn clone(x: &Tensor, format: Option<MemoryFormat>) -> Result<Tensor> {
    let out = match format {
        None | Some(MemoryFormat::Preserve) => clone_dense(x)?,
        Some(f) => {
            let out = match f {
                MemoryFormat::Contiguous => Tensor::empty(x.shape(), x.dtype(), x.device())?,
                f => Tensor::empty_strided(x.shape(), &format_strides(x.shape(), f)?, x.dtype(), x.device())?,
            };
            copy_raw(&out, x)?;
            out
        }
    };
    Ok(record("CloneBackward0", &[x], out, |_, g| Ok(smallvec![Some(g.clone())])))
}

/// The tensor itself if it is row-major, else a row-major copy. Differentiable.
pub fn contiguous(x: &Tensor) -> Result<Tensor> {
    if x.is_contiguous() { Ok(x.clone()) } else { clone(x, Some(MemoryFormat::Contiguous)) }
}

/// The tensor itself if it has the dtype, else a converted copy. Differentiable between floating dtypes.
pub fn to_dtype(x: &Tensor, dtype: Dtype) -> Result<Tensor> {
    if x.dtype() == dtype {
        return Ok(x.clone());
    }
    let out = if x.layout().is_dense() && !x.is_contiguous() {
        Tensor::empty_strided(x.shape(), x.strides(), dtype, x.device())?
    } else {
        Tensor::empty(x.shape(), dtype, x.device())?
    };
    copy_raw(&out, x)?;
    if !(dtype.is_float() || dtype.is_complex()) {
        return Ok(out);
    }
    let back = x.dtype();
    Ok(record("ToCopyBackward0", &[x], out, move |_, g| Ok(smallvec![Some(to_dtype(g, back)?)])))
}

/// `dst.copy_(src)`: broadcast, converted, differentiable on both sides.
pub fn copy_(dst: &Tensor, src: &Tensor) -> Result<()> {
    inplace::check_overlap(dst, src)?;
    let value = to_dtype(src, dst.dtype())?;
    let value = if value.shape() == dst.shape() { value } else { super::view::expand(&value, dst.shape())? };
    inplace::assign_named(dst, value, "CopyBackwards")
}

pub(super) fn register(r: &mut Registry) {
    r.op("fm", "clone(Tensor self, *, MemoryFormat? memory_format=None) -> Tensor", "A copy with memory of its own.", |a| {
        clone(a.t(0), a.memory_format(1)).map(Ret::from)
    });
    r.op(
        "m",
        "contiguous(Tensor self, *, MemoryFormat? memory_format=None) -> Tensor",
        "Row-major; itself if it is already.",
        |a| match a.memory_format(1) {
            None | Some(MemoryFormat::Contiguous | MemoryFormat::Preserve) => contiguous(a.t(0)).map(Ret::from),
            Some(f) => {
                if a.t(0).strides() == format_strides(a.t(0).shape(), f)? {
                    Ok(a.t(0).clone().into())
                } else {
                    clone(a.t(0), Some(f)).map(Ret::from)
                }
            }
        },
    );
    r.op(
        "m",
        "copy_(Tensor self, Tensor src, bool non_blocking=False) -> Tensor",
        "Writes src, broadcast and converted, over self.",
        |a| {
            copy_(a.t(0), a.t(1))?;
            Ok(a.t(0).clone().into())
        },
    );
    r.op(
        "_",
        "_to(Tensor self, ScalarType? dtype=None, Device? device=None, bool copy=False, MemoryFormat? memory_format=None) -> Tensor",
        "Conversion of dtype and device.",
        |a| {
            let x = a.t(0);
            let device = a.device(2).unwrap_or(x.device()).check_usable()?;
            let dtype = a.dtype(1).unwrap_or(x.dtype());
            if device != x.device() {
                if device == Device::Meta {
                    return Ok(Tensor::empty(x.shape(), dtype, device)?.into());
                }
                // The conversion goes where there is less to move.
                let moved = if dtype.size() < x.dtype().size() {
                    to_device(&to_dtype(x, dtype)?, device)?
                } else {
                    to_dtype(&to_device(x, device)?, dtype)?
                };
                return Ok(moved.into());
            }
            let format = a.memory_format(4).filter(|f| *f != MemoryFormat::Preserve);
            let out = to_dtype(x, dtype)?;
            let fresh = dtype != x.dtype();
            match format {
                Some(f) if out.strides() != format_strides(x.shape(), f)? => clone(&out, Some(f)).map(Ret::from),
                _ if a.b(3) && !fresh => clone(x, format).map(Ret::from),
                _ => Ok(out.into()),
            }
        },
    );
}
