//! Between host memory and a GPU's.

use super::{Buffer, Gpu, of};
use crate::device::Device;
use crate::error::Result;
use crate::ops::copy;
use crate::tensor::Tensor;

/// Bytes that go in one piece: staging memory is bounded.
const PIECE: usize = 64 << 20;

/// A copy of a CPU tensor on a GPU, contiguous. No history.
pub fn to_gpu(x: &Tensor, index: u16) -> Result<Tensor> {
    let gpu = Gpu::get(index)?;
    super::check_dtype("to", x.dtype(), gpu)?;
    let x = copy::contiguous(&x.detach())?;
    let out = Tensor::empty(x.shape(), x.dtype(), Device::Gpu(index))?;
    let nbytes = x.numel() * x.dtype().size();
    if nbytes > 0 {
        // SAFETY: the elements of a contiguous tensor.
        let bytes = unsafe { std::slice::from_raw_parts(x.ptr(), nbytes) };
        write(out.storage().buffer_mut()?, bytes)?;
    }
    Ok(out)
}

/// Writes bytes to the start of a buffer, whose size is a multiple of 4.
pub fn write(to: &Buffer, bytes: &[u8]) -> Result<()> {
    let gpu = to.gpu();
    for (k, piece) in bytes.chunks(PIECE).enumerate() {
        if piece.len() % 4 == 0 {
            gpu.upload(to, k * PIECE, piece)?;
        } else {
            let mut padded = piece.to_vec();
            padded.resize(piece.len().next_multiple_of(4), 0);
            gpu.upload(to, k * PIECE, &padded)?;
        }
    }
    Ok(())
}

/// A copy of a GPU tensor in host memory, contiguous. Waits for the GPU. No history.
pub fn to_cpu(x: &Tensor) -> Result<Tensor> {
    let x = copy::contiguous(&x.detach())?;
    let out = Tensor::empty(x.shape(), x.dtype(), Device::Cpu)?;
    let nbytes = x.numel() * x.dtype().size();
    if nbytes > 0 {
        // SAFETY: fresh and contiguous.
        let bytes = unsafe { std::slice::from_raw_parts_mut(out.ptr_mut(), nbytes) };
        read(&x, bytes)?;
    } else {
        of(&x)?.sync()?;
    }
    Ok(out)
}

/// The bytes of a contiguous tensor.
fn read(x: &Tensor, to: &mut [u8]) -> Result<()> {
    let gpu = of(x)?;
    let from = x.storage().buffer()?;
    let start = x.layout().offset * x.dtype().size();
    let mut done = 0;
    while done < to.len() {
        let n = PIECE.min(to.len() - done);
        let at = start + done;
        let (head, end) = (at % 4, (at + n).next_multiple_of(4));
        if head == 0 && end == at + n {
            gpu.download(from, at, &mut to[done..done + n])?;
        } else {
            let mut words = vec![0; end - (at - head)];
            gpu.download(from, at - head, &mut words)?;
            to[done..done + n].copy_from_slice(&words[head..head + n]);
        }
        done += n;
    }
    Ok(())
}

/// A copy on another device.
pub fn move_to(x: &Tensor, device: Device) -> Result<Tensor> {
    match (x.device(), device) {
        (Device::Cpu, Device::Gpu(i)) => to_gpu(x, i),
        (Device::Gpu(_), Device::Cpu) => to_cpu(x),
        (Device::Gpu(_), Device::Gpu(i)) => to_gpu(&to_cpu(x)?, i),
        (from, _) => Err(crate::err!(NotImplemented, "cannot copy from the {from} device to {device}")),
    }
}
