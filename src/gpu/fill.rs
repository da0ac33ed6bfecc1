//! One value over all of a tensor.

use super::call;
use crate::dispatch;
use crate::dtype::{Dtype, Scalar};
use crate::error::Result;
use crate::layout::Layout;
use crate::storage::{Storage, StorageRef};
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
    if t.dtype() == Dtype::C128 && value.f64() != 0.0 {
        return Err(super::refuse("fill", t.dtype(), super::of(t)?));
    }
    words(t.storage(), pattern(value, t.dtype()))
}

/// Zero bytes in all of a fresh storage. A kernel, since commands outside of a pass would end it.
pub fn zero(storage: &StorageRef) -> Result<()> {
    words(storage, [0, 0])
}

/// Two words in turn over all of a storage's memory.
fn words(storage: &StorageRef, [low, high]: [u32; 2]) -> Result<()> {
    let count = storage.nbytes().div_ceil(4);
    if count == 0 {
        return Ok(());
    }
    // Elements that are narrower than a word may end inside of the last one.
    let memory = Storage::on_gpu(storage.buffer_mut()?.clone(), count * 4, storage.device());
    let all = Tensor::from_parts(memory, Layout::contiguous(&[count])?, Dtype::I32);
    call("fill", &[&all], &[low, high], count)
}
