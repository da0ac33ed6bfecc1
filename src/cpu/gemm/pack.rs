//! Copies operand blocks into panels that a kernel reads from one end to the other.

use super::super::threads::SendPtr;
use super::turn::{self, transpose};
use std::cell::RefCell;

/// Scratch kept per thread for the next call, in bytes; larger blocks are freed.
const KEEP: usize = 32 << 20;
const ALIGN: usize = 64;

thread_local! {
    /// Free blocks of this thread; a stack, so that nested users get blocks of their own.
    static FREE: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
}

struct Block {
    ptr: *mut u8,
    bytes: usize,
}

impl Block {
    fn new(bytes: usize) -> Block {
        let bytes = bytes.next_power_of_two().max(4096);
        let layout = std::alloc::Layout::from_size_align(bytes, ALIGN).expect("scratch size");
        // SAFETY: the layout has a size above zero.
        let ptr = unsafe { std::alloc::alloc(layout) };
        if ptr.is_null() {
            std::alloc::handle_alloc_error(layout);
        }
        Block { ptr, bytes }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same size and alignment.
        unsafe {
            std::alloc::dealloc(self.ptr, std::alloc::Layout::from_size_align_unchecked(self.bytes, ALIGN));
        }
    }
}

/// Calls `f` with uninitialised scratch memory for `len` elements, aligned to a cache line.
pub fn with_scratch<T, R>(len: usize, f: impl FnOnce(SendPtr<T>) -> R) -> R {
    let bytes = len.checked_mul(size_of::<T>()).expect("scratch size");
    let kept = FREE.with_borrow_mut(|free| {
        let at = free.iter().rposition(|block| block.bytes >= bytes)?;
        Some(free.swap_remove(at))
    });
    let block = kept.unwrap_or_else(|| Block::new(bytes));
    let result = f(SendPtr(block.ptr.cast()));
    if block.bytes <= KEEP {
        // The thread may be on its way out, its storage gone: then the block is simply freed.
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < 4 {
                free.push(block);
            } else if let Some(small) = free.iter_mut().min_by_key(|kept| kept.bytes)
                && small.bytes < block.bytes
            {
                *small = block;
            }
        });
    }
    result
}

/// Packs `depth` steps of `width` elements: `dst[p * full + i] = src[p * step + i * across]`,
/// and zeros for `width <= i < full`.
///
/// # Safety
/// `dst` has room for `depth * full` elements; the source elements are readable.
pub unsafe fn pack_panel<T: Copy + Default>(
    dst: *mut T,
    full: usize,
    src: *const T,
    across: isize,
    step: isize,
    width: usize,
    depth: usize,
) {
    debug_assert!(width <= full);
    // SAFETY: the caller's promise; all indices stay below `depth * full` and `width`, `depth`.
    unsafe {
        if width < full {
            for p in 0..depth {
                for i in width..full {
                    *dst.add(p * full + i) = T::default();
                }
            }
        }
        if across == 1 {
            turn::copy_rows(src, step, depth, width, dst, full as isize);
            return;
        }
        if step == 1 {
            return transpose(src, across, width, depth, dst, full as isize);
        }
        // Blocks of 16 steps keep both sides in the first-level cache.
        for p0 in (0..depth).step_by(16) {
            for i in 0..width {
                let row = src.offset(i as isize * across);
                for p in p0..(p0 + 16).min(depth) {
                    *dst.add(p * full + i) = *row.offset(p as isize * step);
                }
            }
        }
    }
}
