//! Tensors on a GPU: memory, and the running of kernels from `shaders/`.
//!
//! [`backend`] talks to the driver, [`wgsl`] makes the texts of kernels, and this file brings tensors to them: a [`Call`]
//! names a kernel, its tensors and its parameters. The other files are families of ops, as in `cpu/`.

pub mod attention;
mod backend;
pub mod conv;
pub mod distance;
pub mod elementwise;
pub mod embedding;
pub mod fill;
pub mod index;
pub mod join;
pub mod loss;
pub mod matmul;
pub mod norm;
pub mod numeric;
pub mod optim;
pub mod pool;
pub mod random;
pub mod reduce;
pub mod resample;
pub mod rnn;
pub mod scan;
pub mod softmax;
pub mod sort;
pub mod transfer;
pub mod wgsl;

#[cfg(test)]
mod tests;

pub use backend::{Gpu, count};

use crate::device::Device;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::layout::Layout;
use crate::tensor::Tensor;
use crate::{bail, ensure, err};
use rustc_hash::FxHasher;
use smallvec::SmallVec;
use std::hash::{Hash, Hasher};
use wgsl::{Section, Use};

/// Words of parameters that a kernel may have.
pub const MAX_PARAMS: usize = 256;

/// What is known of a GPU.
#[derive(Clone, Debug, Default)]
pub struct Info {
    pub name: String,
    /// `DiscreteGpu`, `IntegratedGpu`, `VirtualGpu`, `Cpu`, `Other`.
    pub kind: String,
    pub backend: String,
    pub driver: String,
    pub driver_info: String,
    pub vendor: u32,
    pub int64: bool,
    pub float64: bool,
    pub float16: bool,
    /// The smallest and the largest subgroup.
    pub subgroups: Option<(u32, u32)>,
    /// Bytes that one binding may have.
    pub max_binding: usize,
    /// Bytes that one buffer may have.
    pub max_buffer: usize,
    /// Storage buffers that a kernel may bind.
    pub max_bindings: usize,
    /// Bytes of memory that a workgroup shares.
    pub shared_memory: usize,
    /// To what the start of a binding is aligned.
    pub align: usize,
    /// The same for parameters.
    pub param_align: usize,
}

/// Memory in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryStats {
    pub allocated: usize,
    pub peak: usize,
    pub cached: usize,
    pub allocations: usize,
}

/// A block of memory on a GPU.
pub struct Buffer {
    gpu: &'static Gpu,
    raw: backend::Raw,
}

impl Buffer {
    pub fn new(gpu: &'static Gpu, nbytes: usize) -> Result<Buffer> {
        Ok(Buffer { gpu, raw: gpu.alloc(nbytes)? })
    }
    pub fn gpu(&self) -> &'static Gpu {
        self.gpu
    }
    fn raw(&self) -> &backend::Raw {
        &self.raw
    }
    /// Bytes, rounded up to a size class.
    pub fn capacity(&self) -> usize {
        #[cfg(feature = "gpu")]
        return self.raw.capacity;
        #[cfg(not(feature = "gpu"))]
        match self.raw {}
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.gpu.release(&self.raw);
    }
}

/// Whether a tensor lies on a GPU.
pub fn holds(t: &Tensor) -> bool {
    matches!(t.device(), Device::Gpu(_))
}

/// The GPU on which a tensor lies.
pub fn of(t: &Tensor) -> Result<&'static Gpu> {
    match t.device() {
        Device::Gpu(i) => Gpu::get(i),
        d => bail!(Runtime, "Expected all tensors to be on the same device, but found one on {d} beside one on a GPU"),
    }
}

/// An error for what a GPU cannot do.
pub fn refuse(op: &str, dtype: Dtype, gpu: &Gpu) -> crate::error::Error {
    err!(NotImplemented, "{op}: not implemented for {} on the GPU '{}'", dtype.name(), gpu.info().name)
}

/// An error unless kernels can read elements of this dtype here.
pub fn check_dtype(op: &str, d: Dtype, gpu: &Gpu) -> Result<()> {
    let fits = match d {
        Dtype::I64 => gpu.info().int64,
        Dtype::F64 | Dtype::C128 => gpu.info().float64,
        _ => true,
    };
    if fits { Ok(()) } else { Err(refuse(op, d, gpu)) }
}

/// The part of a buffer that a kernel sees of a tensor.
#[derive(Clone, Copy)]
pub(crate) struct Window {
    /// In bytes.
    at: usize,
    len: usize,
    /// Of element 0, from the start of the window, in elements.
    pub offset: u32,
}

/// The bytes of memory that a tensor reaches; strides may be negative.
fn reach(t: &Tensor) -> (usize, usize) {
    let (size, first) = (t.dtype().size(), t.layout().offset);
    let spans = || t.shape().iter().zip(t.strides()).map(|(&n, &s)| (n.max(1) as isize - 1) * s);
    let below: isize = spans().filter(|s| *s < 0).sum();
    let above: isize = spans().filter(|s| *s > 0).sum();
    (first.saturating_add_signed(below) * size, (first + above as usize + 1) * size)
}

/// Whether a kernel can bind all of a tensor at once; if not, the op has to be split.
pub fn fits(t: &Tensor, gpu: &Gpu) -> bool {
    let (start, end) = reach(t);
    t.numel() == 0 || end - (start - start % gpu.info().align) <= gpu.info().max_binding
}

/// Calls `f` for runs of rows that a kernel can bind, at best for all at once, with those parts of the tensors and how many
/// rows they are. Tensor `i` is contiguous and has `per[i]` elements for each of `rows` rows; 0 stands for one that is given
/// whole.
pub fn in_rows<const N: usize>(
    tensors: [&Tensor; N],
    per: [usize; N],
    rows: usize,
    mut f: impl FnMut(&[&Tensor; N], usize) -> Result<()>,
) -> Result<()> {
    let gpu = of(tensors[0])?;
    if tensors.iter().all(|t| fits(t, gpu)) {
        return f(&tensors, rows);
    }
    let room = gpu.info().max_binding - gpu.info().align;
    let most = tensors.iter().zip(per).filter(|(_, n)| *n > 0).map(|(t, n)| room / (n * t.dtype().size())).min();
    // Parts begin at whole words of narrow elements, too.
    let step = most.unwrap_or(0) / 4 * 4;
    ensure!(step > 0, NotImplemented, "{}: a row is more than the GPU '{}' can bind", crate::ops::current(), gpu.info().name);
    let mut from = 0;
    while from < rows {
        let n = step.min(rows - from);
        let mut parts: [Option<Tensor>; N] = [const { None }; N];
        for (i, t) in tensors.iter().enumerate().filter(|(i, _)| per[*i] > 0) {
            let l = Layout::strided(&[n * per[i]], &[1], t.layout().offset + from * per[i])?;
            parts[i] = Some(t.alias(l));
        }
        f(&std::array::from_fn(|i| parts[i].as_ref().unwrap_or(tensors[i])), n)?;
        from += n;
    }
    Ok(())
}

pub(crate) fn window(t: &Tensor, gpu: &Gpu) -> Result<Window> {
    let capacity = t.storage().buffer()?.capacity();
    if capacity <= gpu.info().max_binding {
        return Ok(Window { at: 0, len: capacity, offset: t.layout().offset as u32 });
    }
    let (start, end) = reach(t);
    let at = start - start % gpu.info().align;
    let len = (end - at).next_multiple_of(4).min(capacity - at);
    ensure!(
        len <= gpu.info().max_binding,
        NotImplemented,
        "a tensor of {} bytes is more than one kernel can bind on the GPU '{}' ({} bytes)",
        end - start,
        gpu.info().name,
        gpu.info().max_binding
    );
    Ok(Window { at, len, offset: (t.layout().offset - at / t.dtype().size()) as u32 })
}

/// A kernel from `shaders/` with what it works on.
pub struct Call<'a> {
    /// The section's name.
    pub name: &'static str,
    /// In the section's order.
    pub tensors: &'a [&'a Tensor],
    /// 4 bytes each, in the section's order.
    pub params: &'a [u32],
    /// Texts for the section's placeholders.
    pub choice: &'a [(&'a str, &'a str)],
    /// Elements, or workgroups: what the section counts.
    pub n: usize,
}

impl Call<'_> {
    /// Encodes the kernel. What was pending in the tensors is computed first.
    pub fn run(&self) -> Result<()> {
        if self.n == 0 {
            return Ok(());
        }
        let Some(section) = wgsl::sections().get(self.name) else {
            bail!(Runtime, "no kernel is called {}", self.name);
        };
        let slots: SmallVec<[&wgsl::Slot; 8]> = section.slots.iter().filter(|s| s.name != wgsl::FAULT).collect();
        let faults = slots.len() < section.slots.len();
        assert_eq!(slots.len(), self.tensors.len(), "{} takes {} tensors", self.name, slots.len());
        assert_eq!(section.params.len(), self.params.len(), "{} takes {} parameters", self.name, section.params.len());
        let gpu = of(self.tensors[0])?;
        ensure!(self.n <= u32::MAX as usize, NotImplemented, "{}: more than 2^32 elements on a GPU", self.name);
        let mut words: SmallVec<[u32; 24]> = smallvec::smallvec![self.n as u32];
        let mut dtypes: SmallVec<[Dtype; 8]> = SmallVec::new();
        let mut binds = SmallVec::<[(&Buffer, usize, usize); 8]>::new();
        for (t, s) in self.tensors.iter().zip(&slots) {
            ensure!(
                t.device() == self.tensors[0].device(),
                Runtime,
                "Expected all tensors to be on the same device, but found at least two devices, {} and {}!",
                self.tensors[0].device(),
                t.device()
            );
            if s.way != Use::Atomic {
                check_dtype(self.name, t.dtype(), gpu)?;
            }
            let buffer = if s.way == Use::In { t.storage().buffer()? } else { t.storage().buffer_mut()? };
            let w = window(t, gpu)?;
            binds.push((buffer, w.at, w.len));
            words.push(w.offset);
            dtypes.push(t.dtype());
        }
        words.extend_from_slice(self.params);
        let mut h = FxHasher::default();
        (self.name, &dtypes, self.choice).hash(&mut h);
        let groups = if section.counts_elements() { self.n.div_ceil(wgsl::GROUP as usize) } else { self.n };
        let source = || {
            let mut all = dtypes.clone();
            if faults {
                all.push(Dtype::I32);
            }
            wgsl::section_source(section, &all, self.choice)
        };
        gpu.launch(h.finish(), &source, &binds, faults, &words, groups)
    }
}

/// [`Call::run`] without placeholders.
pub fn call(name: &'static str, tensors: &[&Tensor], params: &[u32], n: usize) -> Result<()> {
    Call { name, tensors, params, choice: &[], n }.run()
}

impl Section {
    /// Whether it is called for elements, not for workgroups.
    pub fn counts_elements(&self) -> bool {
        self.body.contains("fn element(")
    }
}
