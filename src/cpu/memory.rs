//! The memory of tensors: blocks by size class, kept when they are freed.
//!
//! A fresh large block costs a page fault for every page, which takes longer than most kernels take to fill it. So freed
//! blocks wait here for the next tensor of their class: a training step that has run once finds all its memory warm. What
//! is kept is bounded: in use and kept together stay within what was in use at the recent peak, plus a tenth and [`SLACK`].
//!
//! Blocks of 2 MiB and more are aligned to huge pages and ask for them. Blocks up to [`SMALL`] bytes are the system
//! allocator's, which is faster for them; they are not counted in [`stats`].
//!
//! No lock is ever waited for: where the cache is busy (or was, in another thread, when this process was forked), the
//! system allocator serves.

use parking_lot::Mutex;
use std::alloc::{Layout, alloc, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Alignment of blocks that vector kernels stream through.
pub const ALIGN: usize = 64;
/// Up to here the system allocator is asked every time.
const SMALL: usize = 1024;
/// From here on blocks are mapped by themselves.
const MAPPED: usize = 256 << 10;
const HUGE_PAGE: usize = 2 << 20;
/// Kept in any case.
const SLACK: usize = 32 << 20;
/// Allocations after which an old peak is forgotten.
const WINDOW: u64 = 20_000;

/// Eight classes to the power of two.
const STEPS: usize = 8;
const CLASSES: usize = (48 - 10) * STEPS;

/// The class of a size above [`SMALL`], and the size of its blocks; None beyond what can be addressed.
fn class(nbytes: usize) -> Option<(usize, usize)> {
    let n = nbytes.max(SMALL + 1) - 1;
    let power = n.ilog2() as usize;
    let step = (1usize << power) / STEPS;
    let k = (n - (1 << power)) / step;
    let index = (power - 10) * STEPS + k;
    (index < CLASSES).then(|| (index, (1 << power) + (k + 1) * step))
}

fn size_of_class(index: usize) -> usize {
    let power = index / STEPS + 10;
    (1 << power) + (index % STEPS + 1) * ((1 << power) / STEPS)
}

struct Cache {
    lists: [Vec<usize>; CLASSES],
    /// Bytes in the lists.
    kept: usize,
    /// The highest use in this window of allocations and in the one before.
    peaks: [usize; 2],
    count: u64,
}

static CACHE: Mutex<Cache> = Mutex::new(Cache { lists: [const { Vec::new() }; CLASSES], kept: 0, peaks: [0; 2], count: 0 });

static IN_USE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
static RESERVED: AtomicUsize = AtomicUsize::new(0);
static RESERVED_PEAK: AtomicUsize = AtomicUsize::new(0);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static REUSED: AtomicU64 = AtomicU64::new(0);
/// Bytes that may be in use; 0 until the environment has been read.
static LIMIT: AtomicUsize = AtomicUsize::new(0);

/// Memory of a tensor.
pub struct Block {
    pub ptr: NonNull<u8>,
    /// To be given back with the block.
    pub capacity: usize,
}

/// Why there is no block.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    /// The limit of [`set_limit`] would be passed; it is this many bytes.
    Limit(usize),
    System,
}

/// `nbytes` (not 0) of memory, zeroed or of unspecified content.
pub fn allocate(nbytes: usize, zeroed: bool) -> Result<Block, Refused> {
    if nbytes <= SMALL {
        return system(nbytes, zeroed).ok_or(Refused::System);
    }
    let (index, size) = class(nbytes).ok_or(Refused::System)?;
    let limit = limit();
    if IN_USE.load(Relaxed).saturating_add(size) > limit {
        return Err(Refused::Limit(limit));
    }
    let block = match take(index) {
        Some(b) => {
            REUSED.fetch_add(1, Relaxed);
            if zeroed {
                // SAFETY: the block has at least `nbytes`.
                unsafe { b.ptr.as_ptr().write_bytes(0, nbytes) };
            }
            b
        }
        None => {
            let fresh = fresh(size, zeroed).or_else(|| {
                empty_cache();
                fresh(size, zeroed)
            });
            let b = fresh.ok_or(Refused::System)?;
            let reserved = RESERVED.fetch_add(size, Relaxed) + size;
            RESERVED_PEAK.fetch_max(reserved, Relaxed);
            b
        }
    };
    ALLOCATIONS.fetch_add(1, Relaxed);
    let used = IN_USE.fetch_add(block.capacity, Relaxed) + block.capacity;
    PEAK.fetch_max(used, Relaxed);
    Ok(block)
}

/// Gives a block back.
///
/// # Safety
/// It came from [`allocate`] with this capacity, and nothing uses it any more.
pub unsafe fn release(ptr: NonNull<u8>, capacity: usize) {
    if capacity <= SMALL {
        // SAFETY: made by `system` with this size.
        return unsafe { dealloc(ptr.as_ptr(), small(capacity)) };
    }
    let used = IN_USE.fetch_sub(capacity, Relaxed) - capacity;
    if let Some(mut c) = CACHE.try_lock()
        && let Some((index, _)) = class(capacity)
    {
        c.lists[index].push(ptr.as_ptr() as usize);
        c.kept += capacity;
        let bound = c.peaks[0].max(c.peaks[1]).max(used);
        trim(&mut c, (bound + bound / 10 + SLACK).saturating_sub(used));
    } else {
        // SAFETY: by the caller.
        unsafe { unmap(ptr, capacity) };
    }
}

/// A kept block of the class, or of one of the next two, which are not much larger.
fn take(index: usize) -> Option<Block> {
    let mut c = CACHE.try_lock()?;
    c.count += 1;
    if c.count % WINDOW == 0 {
        c.peaks = [0, c.peaks[0]];
    }
    let used = IN_USE.load(Relaxed) + size_of_class(index);
    c.peaks[0] = c.peaks[0].max(used);
    for i in index..(index + 3).min(CLASSES) {
        if let Some(p) = c.lists[i].pop() {
            let capacity = size_of_class(i);
            c.kept -= capacity;
            return Some(Block { ptr: NonNull::new(p as *mut u8)?, capacity });
        }
    }
    // A fresh block will be made: what is kept makes room for it.
    let bound = c.peaks[0].max(c.peaks[1]);
    trim(&mut c, (bound + bound / 10 + SLACK).saturating_sub(used));
    None
}

/// Frees kept blocks, large ones first, until at most `bytes` are kept.
fn trim(c: &mut Cache, bytes: usize) {
    let mut i = CLASSES;
    while c.kept > bytes && i > 0 {
        i -= 1;
        while c.kept > bytes
            && let Some(p) = c.lists[i].pop()
        {
            let capacity = size_of_class(i);
            c.kept -= capacity;
            // SAFETY: a block of this class that nobody holds.
            unsafe { unmap(NonNull::new_unchecked(p as *mut u8), capacity) };
        }
    }
}

/// Whether the limit leaves room for `nbytes`.
pub fn fits(nbytes: usize) -> bool {
    IN_USE.load(Relaxed).saturating_add(nbytes) <= limit()
}

/// Gives all kept blocks back to the system.
pub fn empty_cache() {
    if let Some(mut c) = CACHE.try_lock() {
        trim(&mut c, 0);
    }
}

/// Working memory of a kernel from the same store: a vector's would be mapped afresh every time.
pub struct Scratch<T: Copy> {
    block: Option<Block>,
    len: usize,
    of: std::marker::PhantomData<T>,
}

// SAFETY: the block belongs to this value alone.
unsafe impl<T: Copy + Send> Send for Scratch<T> {}

impl<T: Copy> Scratch<T> {
    /// `len` elements, made from their positions. Unwinds with an [`Error`](crate::Error) where there is no memory.
    pub fn from_fn(len: usize, mut f: impl FnMut(usize) -> T) -> Scratch<T> {
        let nbytes = len * size_of::<T>();
        assert!(align_of::<T>() <= 16);
        let block = (nbytes > 0).then(|| {
            allocate(nbytes, false).unwrap_or_else(|_| {
                let e = crate::err!(Memory, "can't allocate {nbytes} bytes of working memory");
                std::panic::resume_unwind(Box::new(e))
            })
        });
        if let Some(b) = &block {
            let p = b.ptr.as_ptr() as *mut T;
            for k in 0..len {
                // SAFETY: room for `len`.
                unsafe { p.add(k).write(f(k)) };
            }
        }
        Scratch { block, len, of: std::marker::PhantomData }
    }

    fn ptr(&self) -> *mut T {
        self.block.as_ref().map_or(NonNull::dangling().as_ptr(), |b| b.ptr.as_ptr() as *mut T)
    }
}

impl<T: Copy> std::ops::Deref for Scratch<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: all elements were written when it was made.
        unsafe { std::slice::from_raw_parts(self.ptr(), self.len) }
    }
}
impl<T: Copy> std::ops::DerefMut for Scratch<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.ptr(), self.len) }
    }
}

impl<T: Copy> Drop for Scratch<T> {
    fn drop(&mut self) {
        if let Some(b) = &self.block {
            // SAFETY: from `allocate`, and given back once.
            unsafe { release(b.ptr, b.capacity) }
        }
    }
}

fn small(nbytes: usize) -> Layout {
    // Of a size below its alignment an allocator must ask the system in another, slower way.
    Layout::from_size_align(nbytes.max(16), 16).expect("small")
}

fn system(nbytes: usize, zeroed: bool) -> Option<Block> {
    let layout = small(nbytes);
    // SAFETY: the size is not zero.
    let p = unsafe { if zeroed { alloc_zeroed(layout) } else { alloc(layout) } };
    NonNull::new(p).map(|ptr| Block { ptr, capacity: nbytes })
}

/// A block of a class from the system.
fn fresh(size: usize, zeroed: bool) -> Option<Block> {
    #[cfg(unix)]
    if size >= MAPPED {
        return map(size).map(|ptr| Block { ptr, capacity: size });
    }
    let layout = Layout::from_size_align(size, ALIGN).ok()?;
    // SAFETY: the size is not zero.
    let p = unsafe { if zeroed { alloc_zeroed(layout) } else { alloc(layout) } };
    NonNull::new(p).map(|ptr| Block { ptr, capacity: size })
}

/// Zeroed pages; large blocks start at a huge page.
#[cfg(unix)]
fn map(size: usize) -> Option<NonNull<u8>> {
    let extra = if size >= HUGE_PAGE { HUGE_PAGE } else { 0 };
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping; the parts before and after the aligned block are unmapped again, the block is ours.
    unsafe {
        let p = libc::mmap(std::ptr::null_mut(), size.checked_add(extra)?, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
        if p == libc::MAP_FAILED {
            return None;
        }
        let p = p as *mut u8;
        let front = if extra > 0 { p.align_offset(HUGE_PAGE) } else { 0 };
        if front > 0 {
            libc::munmap(p.cast(), front);
        }
        let block = p.add(front);
        let page = libc::sysconf(libc::_SC_PAGESIZE).max(4096) as usize;
        let end = size.next_multiple_of(page);
        if extra > front && size + extra > front + end {
            libc::munmap(block.add(end).cast(), size + extra - front - end);
        }
        #[cfg(target_os = "linux")]
        if extra > 0 {
            // Advice only: without huge pages everything works the same.
            libc::madvise(block.cast(), size, libc::MADV_HUGEPAGE);
        }
        NonNull::new(block)
    }
}

/// # Safety
/// A block of [`fresh`] that nobody uses.
unsafe fn unmap(ptr: NonNull<u8>, size: usize) {
    RESERVED.fetch_sub(size, Relaxed);
    #[cfg(unix)]
    if size >= MAPPED {
        // SAFETY: mapped by `map` with this size.
        unsafe { libc::munmap(ptr.as_ptr().cast(), size) };
        return;
    }
    // SAFETY: allocated by `fresh` with this layout.
    unsafe { dealloc(ptr.as_ptr(), Layout::from_size_align_unchecked(size, ALIGN)) }
}

/// Reads `123`, `512K`, `2M` or `4G`.
fn parse(text: &str) -> Option<usize> {
    let text = text.trim();
    let (digits, unit) = match text.chars().last()?.to_ascii_uppercase() {
        'K' => (&text[..text.len() - 1], 1 << 10),
        'M' => (&text[..text.len() - 1], 1 << 20),
        'G' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    digits.trim().parse::<usize>().ok()?.checked_mul(unit).filter(|n| *n > 0)
}

/// Bytes that may be in use (`RUSTGRAD_MEMORY_LIMIT` or [`set_limit`]); `usize::MAX` without a limit.
pub fn limit() -> usize {
    match LIMIT.load(Relaxed) {
        0 => {
            let n = std::env::var("RUSTGRAD_MEMORY_LIMIT").ok().and_then(|t| parse(&t)).unwrap_or(usize::MAX);
            LIMIT.store(n, Relaxed);
            n
        }
        n => n,
    }
}

/// Bounds the bytes in use; None takes the bound away.
pub fn set_limit(bytes: Option<usize>) {
    LIMIT.store(bytes.unwrap_or(usize::MAX).max(1), Relaxed);
}

/// Starts a new peak at what is in use now.
pub fn reset_peak() {
    PEAK.store(IN_USE.load(Relaxed), Relaxed);
    RESERVED_PEAK.store(RESERVED.load(Relaxed), Relaxed);
}

/// What the allocator has counted, under the names of PyTorch's `memory_stats`.
pub fn stats() -> [(&'static str, u64); 7] {
    [
        ("allocated_bytes.all.current", IN_USE.load(Relaxed) as u64),
        ("allocated_bytes.all.peak", PEAK.load(Relaxed) as u64),
        ("reserved_bytes.all.current", RESERVED.load(Relaxed) as u64),
        ("reserved_bytes.all.peak", RESERVED_PEAK.load(Relaxed) as u64),
        ("allocation.all.allocated", ALLOCATIONS.load(Relaxed)),
        ("allocation.all.reused", REUSED.load(Relaxed)),
        ("limit_bytes", limit() as u64),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_hold_what_they_are_asked_for() {
        for n in (1025..200_000).step_by(7).chain([1 << 20, (1 << 20) + 1, 3 << 30, 1 << 45]) {
            let (i, size) = class(n).unwrap();
            assert!(size >= n && size - n <= n / STEPS + 1, "{n} {size}");
            assert_eq!(size_of_class(i), size);
            assert_eq!(class(size), Some((i, size)));
            assert_eq!(size % ALIGN, 0);
        }
        assert_eq!(class(usize::MAX), None);
    }

    #[test]
    fn blocks_come_back_zeroed_and_aligned() {
        for n in [1, 1000, 5000, 300_000, 5 << 20] {
            for _ in 0..3 {
                let b = allocate(n, true).unwrap();
                // SAFETY: `n` bytes of ours.
                let bytes = unsafe { std::slice::from_raw_parts_mut(b.ptr.as_ptr(), n) };
                assert!(bytes.iter().all(|v| *v == 0));
                bytes.fill(7);
                assert!(n <= SMALL || b.ptr.as_ptr() as usize % ALIGN == 0);
                assert!(n < HUGE_PAGE || b.ptr.as_ptr() as usize % HUGE_PAGE == 0);
                // SAFETY: allocated above.
                unsafe { release(b.ptr, b.capacity) };
            }
        }
    }

    #[test]
    fn scratch_holds_what_it_is_made_of() {
        for n in [0, 1, 100, 100_000] {
            let mut s = Scratch::from_fn(n, |k| k as u64);
            assert!(s.iter().enumerate().all(|(k, v)| *v == k as u64) && s.len() == n);
            s.fill(7);
            assert!(s.iter().all(|v| *v == 7));
        }
    }

    #[test]
    fn sizes_with_units() {
        assert_eq!(parse("4G"), Some(4 << 30));
        assert_eq!(parse(" 12k "), Some(12 << 10));
        assert_eq!(parse("77"), Some(77));
        assert_eq!(parse("many"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn what_cannot_be_had_is_refused() {
        assert_eq!(allocate(1 << 47, false).err(), Some(Refused::System));
        assert_eq!(allocate(usize::MAX, false).err(), Some(Refused::System));
    }
}
