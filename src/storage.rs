//! Reference-counted memory on a device, with the version counter that autograd checks.
//!
//! The memory of a tensor may not exist yet: a *pending* storage knows how to compute its content and does so when
//! somebody asks for its address. Whoever reads a storage's memory later (a pending computation) is registered with it,
//! and is computed before the memory is written. That is why reading ([`Storage::ptr`]) and writing
//! ([`Storage::ptr_mut`]) are different calls.

use crate::cpu::memory::{self, Refused};
use crate::device::Device;
use crate::err;
use crate::error::{Error, Result};
use crate::gpu;
use parking_lot::Mutex;
use std::any::Any;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, Weak};

/// Alignment of blocks that vector kernels stream through.
const ALIGN: usize = memory::ALIGN;

enum Owner {
    /// Memory of a GPU, once it is there. Kernels of the CPU never get an address: `ptr` stays null.
    Gpu(OnceLock<Arc<gpu::Buffer>>),
    /// From the allocator, to be given back to it.
    Heap,
    /// Somebody else's memory (a NumPy array, a DLPack capsule), kept alive by this value.
    Guest(#[allow(dead_code)] Box<dyn Any + Send + Sync>),
}

/// A computation whose result is a storage's content.
pub trait Pending: Send + Sync {
    /// Writes the content.
    ///
    /// # Safety
    /// `to` has room for the storage's bytes.
    unsafe fn compute(&self, to: *mut u8);
    /// The content in a GPU's memory, for what is pending there.
    fn compute_on_gpu(&self) -> Result<Arc<gpu::Buffer>> {
        Err(err!(Runtime, "nothing is pending on a GPU"))
    }
    /// Memory of the same size that this computation reads, element by element, and nobody will read again: the result may
    /// be written over it.
    fn donor(&self) -> Option<StorageRef> {
        None
    }
    fn as_any(&self) -> &dyn Any;
}

/// What few storages have.
#[derive(Default)]
struct Extra {
    pending: Mutex<Option<Box<dyn Pending>>>,
    /// Pending storages that will read this one.
    readers: Mutex<Vec<Weak<Storage>>>,
}

/// Somebody is in `readers`.
const READ_LATER: u8 = 1;
/// The computation was stopped after it had begun to write over what it reads.
const LOST: u8 = 4;
/// The address is known outside, where it may be written without our knowing.
const EXPOSED: u8 = 2;

/// A block of memory. Tensors that share it are views of each other.
pub struct Storage {
    /// Null while the content is pending.
    ptr: AtomicPtr<u8>,
    nbytes: usize,
    /// Of a heap block, as the allocator wants it back.
    capacity: std::sync::atomic::AtomicUsize,
    device: Device,
    flags: AtomicU8,
    version: AtomicU32,
    owner: Owner,
    extra: OnceLock<Box<Extra>>,
}

// SAFETY: the block is plain bytes; concurrent access is governed by the tensors that share it, exactly as
// NumPy and PyTorch do (a data race is possible only where a program writes a tensor from two threads).
unsafe impl Send for Storage {}
// SAFETY: as above.
unsafe impl Sync for Storage {}

pub type StorageRef = Arc<Storage>;

fn block(nbytes: usize, zeroed: bool) -> Result<memory::Block> {
    memory::allocate(nbytes, zeroed).map_err(|why| match why {
        Refused::Limit(limit) => err!(
            Memory,
            "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate {nbytes} bytes. The limit is {limit} bytes."
        ),
        Refused::System => err!(
            Memory,
            "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate {nbytes} bytes."
        ),
    })
}

impl Storage {
    fn new(ptr: *mut u8, nbytes: usize, capacity: usize, device: Device, owner: Owner) -> Storage {
        Storage {
            ptr: AtomicPtr::new(ptr),
            nbytes,
            capacity: capacity.into(),
            device,
            flags: AtomicU8::new(0),
            version: AtomicU32::new(0),
            owner,
            extra: OnceLock::new(),
        }
    }

    fn heap(nbytes: usize, device: Device, zeroed: bool) -> Result<StorageRef> {
        if let Device::Gpu(i) = device {
            let buffer = gpu::Buffer::new(gpu::Gpu::get(i)?, nbytes)?;
            let storage = Storage::on_gpu(Arc::new(buffer), nbytes, device);
            if zeroed {
                gpu::fill::zero(&storage)?;
            }
            return Ok(storage);
        }
        let (ptr, capacity) = if nbytes == 0 || device != Device::Cpu {
            // No memory: a well-aligned dangling pointer that is never read.
            (ALIGN as *mut u8, 0)
        } else {
            let b = block(nbytes, zeroed)?;
            (b.ptr.as_ptr(), b.capacity)
        };
        Ok(Arc::new(Storage::new(ptr, nbytes, capacity, device, Owner::Heap)))
    }

    /// Memory with unspecified content.
    pub fn empty(nbytes: usize, device: Device) -> Result<StorageRef> {
        Storage::heap(nbytes, device, false)
    }

    /// Memory filled with zero bytes.
    pub fn zeros(nbytes: usize, device: Device) -> Result<StorageRef> {
        Storage::heap(nbytes, device, true)
    }

    /// CPU memory whose content `work` computes when it is needed.
    pub fn pending(nbytes: usize, work: Box<dyn Pending>) -> StorageRef {
        let s = Storage::new(std::ptr::null_mut(), nbytes, 0, Device::Cpu, Owner::Heap);
        let extra = s.extra.get_or_init(Default::default);
        *extra.pending.lock() = Some(work);
        Arc::new(s)
    }

    /// Memory of a GPU.
    pub fn on_gpu(buffer: Arc<gpu::Buffer>, nbytes: usize, device: Device) -> StorageRef {
        let owner = Owner::Gpu(OnceLock::from(buffer));
        Arc::new(Storage::new(std::ptr::null_mut(), nbytes, 0, device, owner))
    }

    /// Memory of a GPU whose content `work` computes when it is needed.
    pub fn pending_on_gpu(nbytes: usize, device: Device, work: Box<dyn Pending>) -> StorageRef {
        let s = Storage::new(std::ptr::null_mut(), nbytes, 0, device, Owner::Gpu(OnceLock::new()));
        *s.extra.get_or_init(Default::default).pending.lock() = Some(work);
        Arc::new(s)
    }

    /// The memory of a GPU, to be read. Computes a pending content.
    pub fn buffer(&self) -> Result<&Arc<gpu::Buffer>> {
        let Owner::Gpu(slot) = &self.owner else {
            return Err(err!(
                Runtime,
                "Expected all tensors to be on the same device, but found at least two devices, gpu and {}!",
                self.device
            ));
        };
        if let Some(b) = slot.get() {
            return Ok(b);
        }
        let extra = self.extra.get().expect("a storage without memory is pending");
        let mut work = extra.pending.lock();
        if let Some(w) = work.as_ref() {
            let b = w.compute_on_gpu()?;
            let _ = slot.set(b);
        }
        let done = work.take();
        drop(work);
        drop(done); // what it held may be freed, without the lock
        Ok(slot.get().expect("computed above, or by another thread"))
    }

    /// [`Storage::buffer`] for writing: what is pending and reads this memory is computed first.
    pub fn buffer_mut(&self) -> Result<&Arc<gpu::Buffer>> {
        if self.flags.load(Ordering::Acquire) & READ_LATER != 0 {
            self.compute_readers();
        }
        self.buffer()
    }

    /// The same memory of a GPU with a version counter of its own.
    pub fn again_on_gpu(&self) -> Result<StorageRef> {
        let b = self.buffer_mut()?.clone();
        self.flags.fetch_or(EXPOSED, Ordering::AcqRel);
        let s = Storage::on_gpu(b, self.nbytes, self.device);
        s.flags.store(EXPOSED, Ordering::Relaxed);
        Ok(s)
    }

    /// Memory that belongs to `owner`.
    ///
    /// # Safety
    /// `ptr` must be valid for reads and writes of `nbytes` for as long as `owner` lives.
    pub unsafe fn guest(ptr: *mut u8, nbytes: usize, owner: Box<dyn Any + Send + Sync>) -> StorageRef {
        let ptr = if ptr.is_null() { ALIGN as *mut u8 } else { ptr };
        let s = Storage::new(ptr, nbytes, 0, Device::Cpu, Owner::Guest(owner));
        s.flags.store(EXPOSED, Ordering::Relaxed);
        Arc::new(s)
    }

    pub fn nbytes(&self) -> usize {
        self.nbytes
    }
    pub fn device(&self) -> Device {
        self.device
    }

    /// The first byte, to be read; dangling where there is no memory (0 bytes, or a device other than the CPU).
    /// Computes a pending content, and unwinds with an [`Error`] where there is no memory for it.
    #[inline]
    pub fn ptr(&self) -> *const u8 {
        let p = self.ptr.load(Ordering::Acquire);
        if p.is_null() { self.compute() } else { p }
    }

    /// Computes a pending content, wherever it belongs.
    pub fn settle(&self) {
        match &self.owner {
            Owner::Gpu(_) => drop(self.buffer().unwrap_or_else(|e| raise(e))),
            _ => drop(self.ptr()),
        }
    }

    /// [`Storage::ptr`] for writing: what is pending and reads this memory is computed first.
    #[inline]
    pub fn ptr_mut(&self) -> *mut u8 {
        if self.flags.load(Ordering::Acquire) & READ_LATER != 0 {
            self.compute_readers();
        }
        self.ptr().cast_mut()
    }

    /// The address for use outside of this crate, from now on: pending computations never rely on this memory again.
    pub fn expose(&self) -> *mut u8 {
        let p = self.ptr_mut();
        self.flags.fetch_or(EXPOSED, Ordering::AcqRel);
        p
    }
    pub fn is_exposed(&self) -> bool {
        self.flags.load(Ordering::Acquire) & EXPOSED != 0
    }

    /// Whether the content has not been computed.
    #[inline]
    pub fn is_pending(&self) -> bool {
        match &self.owner {
            Owner::Gpu(b) => b.get().is_none(),
            _ => self.ptr.load(Ordering::Acquire).is_null(),
        }
    }

    /// Looks at a computation that is pending.
    pub fn with_pending<R>(&self, f: impl FnOnce(&dyn Any) -> R) -> Option<R> {
        if !self.is_pending() {
            return None;
        }
        self.extra.get()?.pending.lock().as_ref().map(|w| f(w.as_any()))
    }

    /// Registers a pending storage that will read this one.
    pub fn read_later(&self, reader: &StorageRef) {
        let mut readers = self.extra.get_or_init(Default::default).readers.lock();
        if readers.len() >= 8 && readers.len().is_power_of_two() {
            readers.retain(|r| r.upgrade().is_some_and(|s| s.is_pending()));
        }
        readers.push(Arc::downgrade(reader));
        self.flags.fetch_or(READ_LATER, Ordering::AcqRel);
    }

    #[cold]
    fn compute_readers(&self) {
        self.flags.fetch_and(!READ_LATER, Ordering::AcqRel);
        let readers = self.extra.get().map(|e| std::mem::take(&mut *e.readers.lock())).unwrap_or_default();
        for r in readers {
            let Some(s) = r.upgrade() else { continue };
            s.settle();
        }
    }

    /// Whether this memory may be taken over by a result of `nbytes`: of the allocator, complete, known to nobody else, and
    /// read later by one pending storage at most.
    pub fn may_donate(&self, nbytes: usize) -> bool {
        let alone = || self.extra.get().is_none_or(|e| e.readers.lock().iter().filter(|r| r.strong_count() > 0).count() <= 1);
        self.nbytes == nbytes
            && !self.is_pending()
            && self.capacity.load(Ordering::Relaxed) > 0
            && matches!(self.owner, Owner::Heap)
            && !self.is_exposed()
            && alone()
    }

    #[cold]
    fn compute(&self) -> *const u8 {
        /// What happens if the computation unwinds.
        enum Guard<'a> {
            Fresh(NonNull<u8>, usize),
            Donated(&'a AtomicU8),
        }
        impl Drop for Guard<'_> {
            fn drop(&mut self) {
                match self {
                    // SAFETY: allocated below, and nobody has seen it.
                    Guard::Fresh(p, capacity) => unsafe { memory::release(*p, *capacity) },
                    Guard::Donated(flags) => drop(flags.fetch_or(LOST, Ordering::AcqRel)),
                }
            }
        }
        if matches!(self.owner, Owner::Gpu(_)) {
            raise(err!(NotImplemented, "{}: not implemented for tensors on the '{}' device", crate::ops::current(), self.device));
        }
        let extra = self.extra.get().expect("a storage without an address is pending");
        let mut slot = extra.pending.lock();
        let Some(work) = slot.as_ref() else {
            // Another thread was faster.
            return self.ptr.load(Ordering::Acquire);
        };
        if self.flags.load(Ordering::Acquire) & LOST != 0 {
            raise(err!(Runtime, "the values of this tensor are lost: the computation of them was interrupted"));
        }
        let donor = work.donor();
        let (ptr, capacity, guard) = match &donor {
            Some(d) => (d.ptr.load(Ordering::Acquire), d.capacity.load(Ordering::Relaxed), Guard::Donated(&self.flags)),
            None => {
                let b = block(self.nbytes, false).unwrap_or_else(|e| raise(e));
                (b.ptr.as_ptr(), b.capacity, Guard::Fresh(b.ptr, b.capacity))
            }
        };
        // SAFETY: the block has room for the bytes; a donor's is written element by element after it was read.
        unsafe { work.compute(ptr) };
        std::mem::forget(guard);
        if let Some(d) = &donor {
            // The memory is ours now.
            d.capacity.store(0, Ordering::Relaxed);
        }
        self.capacity.store(capacity, Ordering::Relaxed);
        self.ptr.store(ptr, Ordering::Release);
        let done = slot.take();
        drop(slot);
        drop(done); // what it held may be freed, without the lock
        ptr
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

/// Unwinds with an error, for the boundary to raise: from places that have no result to return one in.
pub fn raise(e: Error) -> ! {
    std::panic::resume_unwind(Box::new(e))
}

impl Drop for Storage {
    fn drop(&mut self) {
        let (ptr, capacity) = (*self.ptr.get_mut(), *self.capacity.get_mut());
        if capacity == 0 || !matches!(self.owner, Owner::Heap) {
            return;
        }
        if let Some(p) = NonNull::new(ptr) {
            // SAFETY: from the allocator with this capacity, and not yet given back.
            unsafe { memory::release(p, capacity) }
        }
    }
}
