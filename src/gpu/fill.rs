//! Values from nothing: one number, and rows of numbers.

use super::call;
use crate::dispatch;
use crate::dtype::{Dtype, Scalar};
use crate::error::Result;
use crate::storage::Storage;
use crate::tensor::Tensor;

/// The bytes of one element, repeated to two words.
fn pattern(value: Scalar, dtype: Dtype) -> [u32; 2] {
    use crate::dtype::Element;
    let mut bytes = [0u8; 8];
    dispatch!(all dtype, T => {
        let v = T::from_scalar(value);
        let size = std::mem::size_of::<T>();
        for k in 0..8 / size.min(8) {
            // SAFETY: `size` bytes of a plain value into an array of 8.
            unsafe { std::ptr::copy_nonoverlapping(&v as *const T as *const u8, bytes.as_mut_ptr().add(k * size), size.min(8)) };
        }
    });
    let word = |k: usize| u32::from_le_bytes(bytes[4 * k..][..4].try_into().expect("four bytes"));
    [word(0), word(1)]
}

/// Writes one value over all of a fresh tensor's memory.
pub fn fill_fresh(t: &Tensor, value: Scalar) -> Result<()> {
    let nbytes = t.storage().nbytes();
    if nbytes == 0 {
        return Ok(());
    }
    let gpu = super::of(t)?;
    let [low, high] = pattern(value, t.dtype());
    let words = nbytes.div_ceil(4);
    if (low, high) == (0, 0) {
        return gpu.clear(t.storage().buffer_mut()?, 0, words * 4);
    }
    if t.dtype() == Dtype::C128 {
        return Err(super::refuse("fill", t.dtype(), gpu));
    }
    // Elements that are narrower than a word may end inside of the last one.
    let memory = Storage::on_gpu(t.storage().buffer_mut()?.clone(), words * 4, t.device());
    let piece = gpu.info().max_binding / 4;
    let mut at = 0;
    while at < words {
        let n = piece.min(words - at);
        // The memory as words.
        let view = Tensor::from_parts(memory.clone(), crate::layout::Layout::strided(&[n], &[1], at)?, Dtype::I32);
        call("fill", &[&view], &[low, high], n)?;
        at += n;
    }
    Ok(())
}
