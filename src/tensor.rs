//! The tensor handle: storage, layout, dtype, and the autograd state that is made when first needed.

use crate::autograd::MetaSlot;
use crate::device::Device;
use crate::dtype::{Dtype, Element, Scalar};
use crate::error::Result;
use crate::layout::{Dims, Layout};
use crate::storage::{Storage, StorageRef};
use crate::{bail, dispatch, ensure};
use std::sync::Arc;

/// A reference to a tensor; cloning it is cheap and shares everything.
#[derive(Clone)]
pub struct Tensor(pub(crate) Arc<Impl>);

/// Immutable but for `meta`: operations that change a shape in place (`t_`, `set_data`) make a new
/// `Impl` with the same `Meta`, so that whoever saved the old one keeps what it saved.
pub struct Impl {
    pub(crate) storage: StorageRef,
    pub(crate) layout: Layout,
    pub(crate) dtype: Dtype,
    /// The tensor whose storage this one looks into; never itself a view.
    pub(crate) view_of: Option<Tensor>,
    pub(crate) meta: MetaSlot,
}

impl Tensor {
    // ---- construction ----

    /// A tensor over existing memory. The layout must lie inside the storage.
    pub fn from_parts(storage: StorageRef, layout: Layout, dtype: Dtype) -> Tensor {
        debug_assert!(layout.required().unwrap() * dtype.size() <= storage.nbytes());
        let t = Tensor(Arc::new(Impl { storage, layout, dtype, view_of: None, meta: MetaSlot::default() }));
        if crate::autograd::is_inference_mode() {
            t.meta().inference.store(true, std::sync::atomic::Ordering::Release);
        }
        t
    }

    fn alloc(shape: &[usize], dtype: Dtype, device: Device, zeroed: bool) -> Result<Tensor> {
        Tensor::fresh(Layout::contiguous(shape)?, dtype, device, zeroed)
    }

    /// Over memory of its own; the layout is contiguous from offset 0 on.
    fn fresh(layout: Layout, dtype: Dtype, device: Device, zeroed: bool) -> Result<Tensor> {
        let Some(bytes) = layout.numel().checked_mul(dtype.size()) else {
            bail!(Runtime, "Storage size calculation overflowed with sizes={}", crate::layout::show(&layout.shape))
        };
        let storage = if zeroed { Storage::zeros(bytes, device)? } else { Storage::empty(bytes, device)? };
        Ok(Tensor::from_parts(storage, layout, dtype))
    }

    /// Contiguous, content unspecified.
    pub fn empty(shape: &[usize], dtype: Dtype, device: Device) -> Result<Tensor> {
        Tensor::alloc(shape, dtype, device, false)
    }

    /// Contiguous, all zero.
    pub fn zeros(shape: &[usize], dtype: Dtype, device: Device) -> Result<Tensor> {
        Tensor::alloc(shape, dtype, device, true)
    }

    /// Dense with the given strides (which must be a permutation of contiguous ones).
    pub fn empty_strided(shape: &[usize], strides: &[isize], dtype: Dtype, device: Device) -> Result<Tensor> {
        let layout = Layout::strided(shape, strides, 0)?;
        let storage = Storage::empty(layout.required()? * dtype.size(), device)?;
        Ok(Tensor::from_parts(storage, layout, dtype))
    }

    /// Every element `value`.
    pub fn full(shape: &[usize], value: impl Into<Scalar>, dtype: Dtype, device: Device) -> Result<Tensor> {
        let value = value.into();
        let t = Tensor::empty(shape, dtype, device)?;
        match device {
            Device::Cpu => dispatch!(all dtype, T => t.data_mut::<T>().fill(T::from_scalar(value))),
            Device::Gpu(_) => crate::gpu::fill::fill_fresh(&t, value)?,
            _ => {}
        }
        Ok(t)
    }

    /// 0-d.
    pub fn scalar(value: impl Into<Scalar>, dtype: Dtype) -> Tensor {
        // Cannot fail: a few bytes on the CPU.
        Tensor::full(&[], value, dtype, Device::Cpu).expect("a scalar fits in memory")
    }

    /// From a slice, row-major.
    pub fn from_slice<T: Element>(data: &[T], shape: &[usize]) -> Result<Tensor> {
        let t = Tensor::empty(shape, T::DTYPE, Device::Cpu)?;
        ensure!(t.numel() == data.len(), Runtime, "{} values for shape {:?}", data.len(), shape);
        t.data_mut::<T>().copy_from_slice(data);
        Ok(t)
    }

    /// Same shape, dtype and device as `self`, content unspecified, contiguous.
    pub fn empty_like(&self) -> Result<Tensor> {
        Tensor::fresh(self.0.layout.packed()?, self.dtype(), self.device(), false)
    }

    /// Another look into the same storage; remembers whose view it is. Carries no gradient by itself:
    /// differentiable views are made by `ops::view::view_of`.
    pub fn alias(&self, layout: Layout) -> Tensor {
        let base = self.0.view_of.clone().unwrap_or_else(|| self.clone());
        Tensor(Arc::new(Impl {
            storage: self.0.storage.clone(),
            layout,
            dtype: self.0.dtype,
            view_of: Some(base),
            meta: MetaSlot::default(),
        }))
    }

    /// Same memory, no history, not a view as far as autograd is concerned.
    pub fn detach(&self) -> Tensor {
        Tensor(Arc::new(Impl {
            storage: self.0.storage.clone(),
            layout: self.0.layout.clone(),
            dtype: self.0.dtype,
            view_of: None,
            meta: MetaSlot::default(),
        }))
    }

    /// Same memory with a version counter of its own (`x.data`): changes through it go unnoticed.
    pub fn uncounted(&self) -> Tensor {
        let s = &self.0.storage;
        match s.device() {
            Device::Cpu => {}
            Device::Gpu(_) => {
                let storage = s.again_on_gpu().unwrap_or_else(|e| crate::storage::raise(e));
                return Tensor::from_parts(storage, self.0.layout.clone(), self.0.dtype);
            }
            _ => return self.detach(),
        }
        // SAFETY: the new storage keeps the old one, and so its memory, alive.
        let storage = unsafe { Storage::guest(s.expose(), s.nbytes(), Box::new(s.clone())) };
        Tensor::from_parts(storage, self.0.layout.clone(), self.0.dtype)
    }

    // ---- what it is ----

    pub fn dtype(&self) -> Dtype {
        self.0.dtype
    }
    pub fn device(&self) -> Device {
        self.0.storage.device()
    }
    pub fn layout(&self) -> &Layout {
        &self.0.layout
    }
    pub fn shape(&self) -> &[usize] {
        &self.0.layout.shape
    }
    pub fn strides(&self) -> &[isize] {
        &self.0.layout.strides
    }
    pub fn dims(&self) -> Dims {
        self.0.layout.shape.clone()
    }
    pub fn ndim(&self) -> usize {
        self.0.layout.ndim()
    }
    pub fn numel(&self) -> usize {
        self.0.layout.numel()
    }
    /// The size of a dimension (0-d tensors have one of size 1).
    pub fn size(&self, dim: usize) -> usize {
        self.shape().get(dim).copied().unwrap_or(1)
    }
    pub fn storage(&self) -> &StorageRef {
        &self.0.storage
    }
    pub fn is_contiguous(&self) -> bool {
        self.0.layout.is_contiguous()
    }
    pub fn same_storage(&self, other: &Tensor) -> bool {
        Arc::ptr_eq(&self.0.storage, &other.0.storage)
    }
    /// `torch.FloatTensor`
    pub fn type_name(&self) -> String {
        format!("torch.{}Tensor", self.dtype().scalar_name())
    }

    // ---- memory (CPU) ----

    /// An error for tensors without memory that a kernel could read.
    pub fn check_data(&self, op: &str) -> Result<()> {
        match self.device() {
            Device::Cpu => Ok(()),
            d => bail!(NotImplemented, "{op}: not implemented for tensors on the '{d}' device"),
        }
    }

    /// An error for tensors without memory of any kind.
    pub fn check_memory(&self, op: &str) -> Result<()> {
        ensure!(self.device() != Device::Meta, NotImplemented, "{op}: not implemented for tensors on the 'meta' device");
        Ok(())
    }

    /// Address of element 0, to be read.
    pub fn ptr(&self) -> *const u8 {
        // wrapping_add: the pointer of an empty tensor is dangling.
        self.0.storage.ptr().wrapping_add(self.0.layout.offset * self.dtype().size())
    }

    /// Address of element 0, to be written.
    pub fn ptr_mut(&self) -> *mut u8 {
        self.0.storage.ptr_mut().wrapping_add(self.0.layout.offset * self.dtype().size())
    }

    /// Address of element 0 for use outside of this crate ([`Storage::expose`]).
    pub fn exposed(&self) -> *mut u8 {
        self.0.storage.expose().wrapping_add(self.0.layout.offset * self.dtype().size())
    }

    /// The elements of a contiguous CPU tensor. `T` must have the size of the dtype.
    pub fn data<T: Copy>(&self) -> &[T] {
        assert!(self.is_contiguous() && self.device() != Device::Meta, "data() of a strided or meta tensor");
        assert_eq!(std::mem::size_of::<T>(), self.dtype().size());
        if self.numel() == 0 {
            return &[];
        }
        // SAFETY: contiguous, in bounds of the storage (checked when the layout was made), element size
        // checked above; every bit pattern is a valid element (bool is kept as a byte).
        unsafe { std::slice::from_raw_parts(self.ptr() as *const T, self.numel()) }
    }

    /// The elements of a contiguous CPU tensor, to be written. For tensors that no one else is reading:
    /// results under construction and the targets of in-place operations.
    #[allow(clippy::mut_from_ref)]
    pub fn data_mut<T: Copy>(&self) -> &mut [T] {
        assert!(self.is_contiguous() && self.device() != Device::Meta, "data_mut() of a strided or meta tensor");
        assert_eq!(std::mem::size_of::<T>(), self.dtype().size());
        if self.numel() == 0 {
            return &mut [];
        }
        // SAFETY: as for `data`; exclusive by the caller's contract.
        unsafe { std::slice::from_raw_parts_mut(self.ptr_mut() as *mut T, self.numel()) }
    }

    /// Element by logical position (slow; for printing, `item` and tests).
    pub fn at(&self, mut index: usize) -> Scalar {
        assert!(index < self.numel());
        if let Device::Gpu(_) = self.device() {
            let host = crate::gpu::transfer::to_cpu(self).unwrap_or_else(|e| crate::storage::raise(e));
            return host.at(index);
        }
        let mut pos = self.layout().offset as isize;
        for d in (0..self.ndim()).rev() {
            pos += (index % self.shape()[d]) as isize * self.strides()[d];
            index /= self.shape()[d];
        }
        // SAFETY: the position is inside the layout, which lies inside the storage.
        dispatch!(all self.dtype(), T => unsafe { (*(self.0.storage.ptr() as *const T).offset(pos)).to_scalar() })
    }

    /// The value of a tensor with one element.
    pub fn item(&self) -> Result<Scalar> {
        ensure!(self.numel() == 1, Runtime, "a Tensor with {} elements cannot be converted to Scalar", self.numel());
        if let Device::Gpu(_) = self.device() {
            return Ok(crate::gpu::transfer::to_cpu(self)?.at(0));
        }
        self.check_data("item")?;
        Ok(self.at(0))
    }
}
