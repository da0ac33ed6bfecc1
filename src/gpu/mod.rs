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
mod prelude;
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

impl Info {
    /// Bytes of a window: what is more than one binding is bound as several of them. A power of two, so that a kernel finds
    /// window and place by a shift.
    pub fn window(&self) -> usize {
        1 << self.max_binding.ilog2()
    }
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
pub(crate) struct Region {
    /// In bytes.
    at: usize,
    len: usize,
    /// Of element 0, from the start of the region, in elements.
    pub offset: u32,
}

impl Region {
    /// Of a tensor on a GPU; whole buffers where they can be bound, so that bind groups are used again.
    fn of(t: &Tensor, gpu: &Gpu) -> Result<Region> {
        let capacity = t.storage().buffer()?.capacity();
        if capacity <= gpu.info().max_binding {
            return Ok(Region { at: 0, len: capacity, offset: t.layout().offset as u32 });
        }
        let (start, end) = reach(t);
        let at = start - start % gpu.info().align;
        let len = (end - at).next_multiple_of(4).min(capacity - at);
        Ok(Region { at, len, offset: (t.layout().offset - at / t.dtype().size()) as u32 })
    }

    /// Start and length of its windows, in bytes.
    fn windows(self, gpu: &Gpu) -> impl Iterator<Item = (usize, usize)> {
        let step = if self.len <= gpu.info().max_binding { self.len.max(1) } else { gpu.info().window() };
        (0..self.len).step_by(step).map(move |k| (self.at + k, step.min(self.len - k)))
    }
}

/// The bytes of memory that a tensor reaches; strides may be negative.
fn reach(t: &Tensor) -> (usize, usize) {
    let (size, first) = (t.dtype().size(), t.layout().offset);
    let spans = || t.shape().iter().zip(t.strides()).map(|(&n, &s)| (n.max(1) as isize - 1) * s);
    let below: isize = spans().filter(|s| *s < 0).sum();
    let above: isize = spans().filter(|s| *s > 0).sum();
    (first.saturating_add_signed(below) * size, (first + above as usize + 1) * size)
}

/// Whether a tensor is one binding. If not, [`Call`] binds several; generated kernels are split instead, as they may have many
/// operands.
pub fn fits(t: &Tensor, gpu: &Gpu) -> bool {
    let (start, end) = reach(t);
    t.numel() == 0 || end - (start - start % gpu.info().align) <= gpu.info().max_binding
}

/// Elements `at..at + n` of a contiguous tensor as a flat one, without history.
pub(crate) fn flat(t: &Tensor, at: usize, n: usize) -> Result<Tensor> {
    Ok(t.alias(Layout::strided(&[n], &[1], t.layout().offset + at)?).detach())
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
        let item = Item { tensors: SmallVec::from_slice(self.tensors), each: SmallVec::new(), n: self.n };
        launch(self.name, &[item], self.params, self.choice)
    }
}

/// One of several things that a kernel does in one launch.
#[derive(Clone)]
pub struct Item<'a> {
    pub tensors: SmallVec<[&'a Tensor; 6]>,
    /// The section's parameters of the type `each`.
    pub each: SmallVec<[u32; 2]>,
    pub n: usize,
}

/// Runs a kernel for many items that share all other parameters, as many of them in a launch as can be bound. They must not
/// write what others read or write.
pub fn for_each(name: &'static str, items: &[Item], params: &[u32], choice: &[(&str, &str)]) -> Result<()> {
    let Some(first) = items.iter().find(|i| i.n > 0) else { return Ok(()) };
    let gpu = of(first.tensors[0])?;
    let slots = first.tensors.len();
    let words = 2 + slots + first.each.len();
    let most = (gpu.info().max_bindings / slots).min((MAX_PARAMS - params.len()) / words).clamp(1, 32);
    let alike = |i: &&Item| {
        i.n > 0
            && i.tensors.iter().zip(&first.tensors).all(|(t, f)| t.dtype() == f.dtype() && t.device() == f.device())
            && i.tensors.iter().all(|t| fits(t, gpu))
    };
    let (together, alone): (Vec<&Item>, Vec<&Item>) = items.iter().partition(alike);
    for part in together.chunks(most) {
        // The last launch has idle items, to be the same kernel as those before it.
        let idle = (part.len()..most.min(together.len())).map(|_| Item { n: 0, ..first.clone() });
        let items: Vec<Item> = part.iter().map(|i| (*i).clone()).chain(idle).collect();
        launch(name, &items, params, choice)?;
    }
    alone.into_iter().try_for_each(|i| launch(name, std::slice::from_ref(i), params, choice))
}

/// Encodes a kernel for items that are bound together.
fn launch(name: &'static str, items: &[Item], params: &[u32], choice: &[(&str, &str)]) -> Result<()> {
    if items.iter().all(|i| i.n == 0) {
        return Ok(());
    }
    let Some(section) = wgsl::sections().get(name) else {
        bail!(Runtime, "no kernel is called {name}");
    };
    let slots: SmallVec<[&wgsl::Slot; 8]> = section.slots.iter().filter(|s| s.name != wgsl::FAULT).collect();
    let faults = slots.len() < section.slots.len();
    let each = section.params.iter().filter(|p| p.1 == wgsl::EACH).count();
    assert_eq!(section.params.len(), params.len() + each, "{name} takes {} parameters", section.params.len());
    let gpu = of(items[0].tensors[0])?;
    let per_group = if section.counts_elements() { wgsl::GROUP as usize } else { 1 };
    let groups: SmallVec<[usize; 4]> = items.iter().map(|i| i.n.div_ceil(per_group)).collect();
    let all: usize = groups.iter().sum();
    let total: usize = items.iter().map(|i| i.n).sum();
    ensure!(total <= u32::MAX as usize, NotImplemented, "{name}: more than 2^32 elements on a GPU");
    let mut words: SmallVec<[u32; 32]> = items.iter().map(|i| i.n as u32).collect();
    if items.len() > 1 {
        words.extend(groups.iter().scan(0, |at, n| Some(std::mem::replace(at, *at + *n) as u32)));
    }
    let mut dtypes: SmallVec<[Dtype; 8]> = SmallVec::new();
    let mut windows: SmallVec<[usize; 8]> = SmallVec::new();
    let mut binds = SmallVec::<[(&Buffer, usize, usize); 8]>::new();
    for (k, s) in slots.iter().enumerate() {
        let before = binds.len();
        for i in items {
            assert_eq!(slots.len(), i.tensors.len(), "{name} takes {} tensors", slots.len());
            let t = i.tensors[k];
            items[0].tensors[0].device().check_same(t.device())?;
            if s.way != Use::Atomic {
                check_dtype(name, t.dtype(), gpu)?;
            }
            let buffer = if s.way == Use::In { t.storage().buffer()? } else { t.storage().buffer_mut()? };
            let region = Region::of(t, gpu)?;
            binds.extend(region.windows(gpu).map(|(at, len)| (&**buffer, at, len)));
            words.push(region.offset);
        }
        dtypes.push(items[0].tensors[k].dtype());
        windows.push(binds.len() - before);
        ensure!(
            s.way != Use::Atomic || windows[k] == 1,
            NotImplemented,
            "{}: a tensor is more than one kernel can bind on the GPU '{}' ({} bytes)",
            crate::ops::current(),
            gpu.info().name,
            gpu.info().max_binding
        );
    }
    let mut given = params.iter();
    let mut own = 0;
    for (_, ty) in &section.params {
        if ty == wgsl::EACH {
            words.extend(items.iter().map(|i| i.each[own]));
            own += 1;
        } else {
            words.extend(given.next().copied());
        }
    }
    let mut h = FxHasher::default();
    (name, items.len(), &dtypes, &windows, choice).hash(&mut h);
    let source = || {
        let mut dtypes = dtypes.clone();
        if faults {
            dtypes.push(Dtype::I32);
        }
        let binding = wgsl::Binding { items: items.len(), windows: &windows, window: gpu.info().window() };
        wgsl::section_source(section, &dtypes, binding, choice)
    };
    gpu.launch(h.finish(), &source, &binds, faults, &words, all)
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
