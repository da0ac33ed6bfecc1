//! Reference-counted memory on a device, with the version counter that autograd checks.

use crate::device::Device;
use crate::error::Result;
use crate::{ensure, err};
use std::alloc::{Layout as Mem, alloc, alloc_zeroed, dealloc};
use std::any::Any;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Alignment of blocks that vector kernels stream through.
const ALIGN: usize = 64;
/// Small blocks get what the allocator gives fastest.
const SMALL: usize = 1024;

fn memory(nbytes: usize) -> Option<Mem> {
    Mem::from_size_align(nbytes, if nbytes <= SMALL { 16 } else { ALIGN }).ok()
}

enum Owner {
    /// From the allocator, to be given back to it.
    Heap,
    /// Somebody else's memory (a NumPy array, a DLPack capsule), kept alive by this value.
    Guest(#[allow(dead_code)] Box<dyn Any + Send + Sync>),
}

/// A block of memory. Tensors that share it are views of each other.
pub struct Storage {
    ptr: NonNull<u8>,
    nbytes: usize,
    device: Device,
    version: AtomicU32,
    owner: Owner,
}

// SAFETY: the block is plain bytes; concurrent access is governed by the tensors that share it, exactly as
// NumPy and PyTorch do (a data race is possible only where a program writes a tensor from two threads).
unsafe impl Send for Storage {}
// SAFETY: as above.
unsafe impl Sync for Storage {}

pub type StorageRef = Arc<Storage>;

impl Storage {
    fn heap(nbytes: usize, device: Device, zeroed: bool) -> Result<StorageRef> {
        let ptr = if nbytes == 0 || device != Device::Cpu {
            // No memory: a well-aligned dangling pointer that is never read.
            NonNull::new(ALIGN as *mut u8).unwrap()
        } else {
            let fail = || {
                err!(
                    Runtime,
                    "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate {nbytes} bytes."
                )
            };
            ensure!(nbytes <= isize::MAX as usize - ALIGN, Runtime, "{}", fail().message());
            let mem = memory(nbytes).ok_or_else(fail)?;
            // SAFETY: the size is not zero.
            let p = unsafe { if zeroed { alloc_zeroed(mem) } else { alloc(mem) } };
            NonNull::new(p).ok_or_else(fail)?
        };
        Ok(Arc::new(Storage { ptr, nbytes, device, version: AtomicU32::new(0), owner: Owner::Heap }))
    }

    /// Memory with unspecified content.
    pub fn empty(nbytes: usize, device: Device) -> Result<StorageRef> {
        Storage::heap(nbytes, device, false)
    }

    /// Memory filled with zero bytes.
    pub fn zeros(nbytes: usize, device: Device) -> Result<StorageRef> {
        Storage::heap(nbytes, device, true)
    }

    /// Memory that belongs to `owner`.
    ///
    /// # Safety
    /// `ptr` must be valid for reads and writes of `nbytes` for as long as `owner` lives.
    pub unsafe fn guest(ptr: *mut u8, nbytes: usize, owner: Box<dyn Any + Send + Sync>) -> StorageRef {
        let ptr = NonNull::new(ptr).unwrap_or(NonNull::new(ALIGN as *mut u8).unwrap());
        Arc::new(Storage { ptr, nbytes, device: Device::Cpu, version: AtomicU32::new(0), owner: Owner::Guest(owner) })
    }

    pub fn nbytes(&self) -> usize {
        self.nbytes
    }
    pub fn device(&self) -> Device {
        self.device
    }
    /// The first byte; dangling where there is no memory (0 bytes, or a device other than the CPU).
    pub fn ptr(&self) -> *const u8 {
        self.ptr.as_ptr()
    }
    /// [`Storage::ptr`] for writing.
    pub fn ptr_mut(&self) -> *mut u8 {
        self.ptr.as_ptr()
    }
    /// How often the content has been changed in place.
    pub fn version(&self) -> u32 {
        self.version.load(Ordering::Acquire)
    }
    /// Records a change in place.
    pub fn bump_version(&self) {
        self.version.fetch_add(1, Ordering::AcqRel);
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        if self.nbytes == 0 || self.device != Device::Cpu || !matches!(self.owner, Owner::Heap) {
            return;
        }
        if let Some(mem) = memory(self.nbytes) {
            // SAFETY: allocated in `heap` with this size and alignment, and not yet freed.
            unsafe { dealloc(self.ptr.as_ptr(), mem) }
        }
    }
}
