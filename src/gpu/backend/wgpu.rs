//! The GPU through wgpu: adapters, one open compute pass, batched submits, cached pipelines and bind groups.
//!
//! Commands are encoded under one lock and submitted after [`BATCH`] dispatches, or when somebody waits. Buffers may be used
//! again as soon as they are released: whatever is encoded later runs later.

use super::super::{Buffer, Info, MemoryStats};
use crate::err;
use crate::error::{Error, Result};
use parking_lot::{Mutex, MutexGuard};
use rustc_hash::FxHashMap;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Dispatches after which a batch is submitted.
const BATCH: usize = 64;
/// Submissions that may be on their way.
const IN_FLIGHT: usize = 4;
/// Bytes of parameters in one batch.
const PARAMS: usize = 1 << 17;
/// Bytes of parameters that one kernel can see.
const PARAM_WINDOW: usize = 4 * super::super::MAX_PARAMS;
/// Bind groups that are kept.
const BIND_GROUPS: usize = 4096;
/// Workgroups along one dimension of a dispatch.
const MAX_GROUPS: usize = 65_535;
/// Bytes in the buffer in which kernels note what went wrong: a code, and a number that goes with it.
const FAULTS: u64 = 16;
/// Messages of faults that are remembered.
const FAULT_MESSAGES: usize = 1 << 16;

/// Memory on the device.
pub struct Raw {
    buffer: wgpu::Buffer,
    id: u64,
    pub capacity: usize,
}

type BindKey = smallvec::SmallVec<[(u64, u64, u64); 6]>;

/// What the lock protects.
#[derive(Default)]
struct State {
    encoder: Option<wgpu::CommandEncoder>,
    pass: Option<wgpu::ComputePass<'static>>,
    dispatches: usize,
    params: Vec<u8>,
    params_buffer: Option<wgpu::Buffer>,
    in_flight: VecDeque<wgpu::SubmissionIndex>,
    pipelines: FxHashMap<u64, wgpu::ComputePipeline>,
    last_pipeline: Option<u64>,
    layouts: FxHashMap<usize, (wgpu::BindGroupLayout, wgpu::PipelineLayout)>,
    bind_groups: FxHashMap<BindKey, wgpu::BindGroup>,
    free: BTreeMap<usize, Vec<(wgpu::Buffer, u64)>>,
    stats: MemoryStats,
    faults: Option<wgpu::Buffer>,
    /// A kernel that can fail was encoded since the faults were read.
    may_fault: bool,
    messages: VecDeque<String>,
    /// Codes of faults start here; a message has the code of its place.
    first_message: u32,
}

/// A GPU that is in use.
pub struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    info: Info,
    state: Mutex<State>,
    /// What wgpu reported, to be raised by the next call.
    failed: std::sync::Arc<Mutex<Option<Error>>>,
    next_id: AtomicU64,
}

/// Set in a forked child: drivers do not survive a fork.
static FORKED: AtomicBool = AtomicBool::new(false);

fn watch_forks() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        #[cfg(unix)]
        {
            extern "C" fn child() {
                FORKED.store(true, Ordering::Relaxed);
            }
            // SAFETY: the handler only stores to an atomic.
            unsafe { libc::pthread_atfork(None, None, Some(child)) };
        }
    });
}

/// The adapters that may be used: hardware, or what `RUSTGRAD_ADAPTER` names by a part of its name (or `cpu`).
fn adapters() -> &'static [wgpu::Adapter] {
    static FOUND: OnceLock<Vec<wgpu::Adapter>> = OnceLock::new();
    FOUND.get_or_init(|| {
        let mut desc = wgpu::InstanceDescriptor::new_without_display_handle();
        desc.backends = wgpu::Backends::VULKAN | wgpu::Backends::METAL | wgpu::Backends::DX12;
        desc.flags = wgpu::InstanceFlags::empty();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let instance = wgpu::Instance::new(desc);
            pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()))
        }));
        let wanted = std::env::var("RUSTGRAD_ADAPTER").unwrap_or_default().to_lowercase();
        let mut adapters: Vec<_> = found.unwrap_or_default();
        adapters.retain(|a| {
            let info = a.get_info();
            let software = info.device_type == wgpu::DeviceType::Cpu;
            match wanted.as_str() {
                "" => !software,
                "cpu" => software,
                w => info.name.to_lowercase().contains(w),
            }
        });
        // Discrete cards first; the same card may be found through several interfaces.
        adapters.sort_by_key(|a| match a.get_info().device_type {
            wgpu::DeviceType::DiscreteGpu => 0,
            wgpu::DeviceType::IntegratedGpu => 1,
            wgpu::DeviceType::VirtualGpu => 2,
            _ => 3,
        });
        let mut seen: Vec<(u32, u32, String, wgpu::Backend)> = Vec::new();
        adapters.retain(|a| {
            let i = a.get_info();
            let again = seen.iter().any(|s| s.0 == i.vendor && s.1 == i.device && s.2 == i.device_pci_bus_id && s.3 != i.backend);
            seen.push((i.vendor, i.device, i.device_pci_bus_id, i.backend));
            !again
        });
        adapters
    })
}

/// How many GPUs there are.
pub fn count() -> usize {
    if FORKED.load(Ordering::Relaxed) { 0 } else { adapters().len() }
}

fn forked() -> Error {
    err!(
        Runtime,
        "Cannot re-initialize the GPU in a forked subprocess. To use the GPU with multiprocessing, you must use the 'spawn' start method"
    )
}

/// The size of the block that is taken for so many bytes: four sizes for each power of two.
fn size_class(nbytes: usize) -> usize {
    let n = nbytes.max(256);
    let step = (n.next_power_of_two() / 8).max(256);
    n.div_ceil(step) * step
}

impl Gpu {
    /// GPU number `index`, which is opened at the first call.
    pub fn get(index: u16) -> Result<&'static Gpu> {
        static OPEN: Mutex<Vec<Option<&'static Gpu>>> = Mutex::new(Vec::new());
        if FORKED.load(Ordering::Relaxed) {
            return Err(forked());
        }
        let mut open = OPEN.lock();
        let i = index as usize;
        if let Some(Some(g)) = open.get(i) {
            return Ok(g);
        }
        let adapters = adapters();
        let Some(adapter) = adapters.get(i) else {
            let text = if adapters.is_empty() {
                "No GPU is available: no adapter was found through Vulkan, Metal or DX12. A software adapter is used only when RUSTGRAD_ADAPTER names it (llvmpipe)".to_string()
            } else {
                format!("GPU error: invalid device ordinal: there are {} GPUs, and gpu:{i} was asked for", adapters.len())
            };
            return Err(err!(Runtime, "{text}"));
        };
        watch_forks();
        let gpu: &'static Gpu = Box::leak(Box::new(Gpu::open(adapter)?));
        if open.len() <= i {
            open.resize(i + 1, None);
        }
        open[i] = Some(gpu);
        Ok(gpu)
    }

    fn open(adapter: &wgpu::Adapter) -> Result<Gpu> {
        use wgpu::Features;
        let has = adapter.features();
        let features = has & (Features::SHADER_INT64 | Features::SHADER_F64 | Features::SHADER_F16 | Features::SUBGROUP);
        let limits = adapter.limits();
        let desc = wgpu::DeviceDescriptor {
            label: Some("rustgrad"),
            required_features: features,
            required_limits: limits.clone(),
            memory_hints: wgpu::MemoryHints::Performance,
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&desc))
            .map_err(|e| err!(Runtime, "the GPU '{}' could not be opened: {e}", adapter.get_info().name))?;
        let failed = std::sync::Arc::new(Mutex::new(None));
        let slot = failed.clone();
        device.on_uncaptured_error(std::sync::Arc::new(move |e: wgpu::Error| {
            let e = match e {
                wgpu::Error::OutOfMemory { .. } => err!(Memory, "GPU out of memory"),
                wgpu::Error::Validation { description, .. } => err!(Runtime, "GPU validation error: {description}"),
                wgpu::Error::Internal { description, .. } => err!(Runtime, "GPU internal error: {description}"),
            };
            slot.lock().get_or_insert(e);
        }));
        let slot = failed.clone();
        device.set_device_lost_callback(move |reason, text| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                *slot.lock() = Some(err!(DeviceLost, "GPU device lost: {text}"));
            }
        });
        let a = adapter.get_info();
        let info = Info {
            name: a.name,
            kind: format!("{:?}", a.device_type),
            backend: a.backend.to_string(),
            driver: a.driver,
            driver_info: a.driver_info,
            vendor: a.vendor,
            int64: features.contains(Features::SHADER_INT64),
            float64: features.contains(Features::SHADER_F64),
            float16: features.contains(Features::SHADER_F16),
            subgroups: (features.contains(Features::SUBGROUP)).then_some((a.subgroup_min_size, a.subgroup_max_size)),
            max_binding: limits.max_storage_buffer_binding_size.min((1 << 31) - 4) as usize & !255,
            max_buffer: limits.max_buffer_size as usize,
            max_bindings: limits.max_storage_buffers_per_shader_stage as usize,
            shared_memory: limits.max_compute_workgroup_storage_size as usize,
            align: limits.min_storage_buffer_offset_alignment.max(16) as usize,
            param_align: limits.min_uniform_buffer_offset_alignment.max(16) as usize,
        };
        Ok(Gpu { device, queue, info, state: Mutex::default(), failed, next_id: AtomicU64::new(1) })
    }

    pub fn info(&self) -> &Info {
        &self.info
    }

    /// What went wrong in the meantime.
    fn check(&self) -> Result<()> {
        if FORKED.load(Ordering::Relaxed) {
            return Err(forked());
        }
        match self.failed.lock().take() {
            None => Ok(()),
            Some(e) => {
                if let Error::DeviceLost(text) = &e {
                    // It stays lost.
                    *self.failed.lock() = Some(Error::DeviceLost(text.clone()));
                }
                Err(e)
            }
        }
    }

    fn buffer(&self, size: u64, usage: wgpu::BufferUsages, mapped: bool) -> Result<wgpu::Buffer> {
        let b = self.device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: mapped });
        match self.failed.lock().take() {
            None => Ok(b),
            Some(e) => Err(e),
        }
    }

    /// Memory with unspecified content.
    pub fn alloc(&'static self, nbytes: usize) -> Result<Raw> {
        self.check()?;
        let class = size_class(nbytes);
        if class > self.info.max_buffer {
            return Err(err!(
                Memory,
                "GPU out of memory: tried to allocate {nbytes} bytes, but '{}' has buffers of at most {} bytes",
                self.info.name,
                self.info.max_buffer
            ));
        }
        let mut s = self.state.lock();
        let kept = s.free.get_mut(&class).and_then(Vec::pop);
        let (buffer, id) = match kept {
            Some(b) => {
                s.stats.cached -= class;
                b
            }
            None => {
                let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
                let made = match self.buffer(class as u64, usage, false) {
                    Err(Error::Memory(_)) => {
                        self.submit(&mut s);
                        self.wait(&mut s)?;
                        self.drop_cache(&mut s);
                        self.buffer(class as u64, usage, false)
                    }
                    b => b,
                };
                let b = made.map_err(|e| match e {
                    Error::Memory(_) => err!(
                        Memory,
                        "GPU out of memory: tried to allocate {nbytes} bytes on '{}' ({} bytes are in use)",
                        self.info.name,
                        s.stats.allocated
                    ),
                    e => e,
                })?;
                (b, self.next_id.fetch_add(1, Ordering::Relaxed))
            }
        };
        s.stats.allocated += class;
        s.stats.peak = s.stats.peak.max(s.stats.allocated);
        s.stats.allocations += 1;
        Ok(Raw { buffer, id, capacity: class })
    }

    /// Takes memory back.
    pub fn release(&self, raw: &Raw) {
        if FORKED.load(Ordering::Relaxed) {
            // Another process's driver: not even the handle may be dropped.
            std::mem::forget(raw.buffer.clone());
            return;
        }
        let mut s = self.state.lock();
        s.stats.allocated -= raw.capacity;
        s.stats.cached += raw.capacity;
        s.free.entry(raw.capacity).or_default().push((raw.buffer.clone(), raw.id));
        // At most as much again as the peak is kept.
        if s.stats.cached > (s.stats.peak - s.stats.allocated).max(64 << 20) + (256 << 20) {
            self.drop_cache(&mut s);
        }
    }

    fn drop_cache(&self, s: &mut State) {
        s.bind_groups.clear();
        s.free.clear();
        s.stats.cached = 0;
    }

    /// The encoder, outside of a pass.
    fn encoder<'s>(&self, s: &'s mut State) -> &'s mut wgpu::CommandEncoder {
        s.pass = None;
        s.last_pipeline = None;
        s.encoder.get_or_insert_with(|| self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default()))
    }

    fn submit(&self, s: &mut State) {
        s.pass = None;
        s.last_pipeline = None;
        s.dispatches = 0;
        let Some(encoder) = s.encoder.take() else { return };
        if !s.params.is_empty() {
            let b = s.params_buffer.as_ref().expect("made with the first parameters");
            // Runs before this submission, and after what was submitted earlier.
            self.queue.write_buffer(b, 0, &s.params);
            s.params.clear();
        }
        let index = self.queue.submit([encoder.finish()]);
        s.in_flight.push_back(index);
        while s.in_flight.len() > IN_FLIGHT {
            let first = s.in_flight.pop_front();
            let _ = self.device.poll(wgpu::PollType::Wait { submission_index: first, timeout: None });
        }
    }

    /// Waits for all that was submitted.
    fn wait(&self, s: &mut State) -> Result<()> {
        s.in_flight.clear();
        self.device.poll(wgpu::PollType::wait_indefinitely()).map_err(|e| err!(Runtime, "GPU error: {e}"))?;
        self.check()
    }

    /// Writes bytes, after what was encoded so far. `at` and the number of bytes are multiples of 4.
    pub fn upload(&self, to: &Buffer, at: usize, bytes: &[u8]) -> Result<()> {
        self.check()?;
        if bytes.is_empty() {
            return Ok(());
        }
        let staging = self.buffer(bytes.len() as u64, wgpu::BufferUsages::COPY_SRC, true)?;
        staging.slice(..).get_mapped_range_mut().map_err(|e| err!(Runtime, "GPU error: {e}"))?.slice(..).copy_from_slice(bytes);
        staging.unmap();
        let mut s = self.state.lock();
        self.encoder(&mut s).copy_buffer_to_buffer(&staging, 0, &to.raw().buffer, at as u64, bytes.len() as u64);
        s.dispatches += 8;
        if s.dispatches >= BATCH {
            self.submit(&mut s);
        }
        Ok(())
    }

    /// Reads bytes, when all that was encoded has run. Positions and length are multiples of 4.
    pub fn download(&self, from: &Buffer, at: usize, to: &mut [u8]) -> Result<()> {
        self.check()?;
        let n = to.len() as u64;
        let staging = self.buffer(n + FAULTS, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST, false)?;
        let mut s = self.state.lock();
        self.encoder(&mut s).copy_buffer_to_buffer(&from.raw().buffer, at as u64, &staging, 0, n);
        self.read(s, staging, n, to)
    }

    /// Submits, waits, and reads `staging`, at whose end the faults are put.
    fn read(&self, mut s: MutexGuard<State>, staging: wgpu::Buffer, n: u64, to: &mut [u8]) -> Result<()> {
        let may_fault = std::mem::take(&mut s.may_fault);
        if may_fault && let Some(f) = s.faults.clone() {
            let e = self.encoder(&mut s);
            e.copy_buffer_to_buffer(&f, 0, &staging, n, FAULTS);
            e.clear_buffer(&f, 0, None);
        }
        self.submit(&mut s);
        let (sender, receiver) = std::sync::mpsc::channel();
        staging.slice(..).map_async(wgpu::MapMode::Read, move |r| drop(sender.send(r)));
        self.wait(&mut s)?;
        let mapped = receiver.recv().map_err(|e| err!(Runtime, "GPU error: {e}"))?;
        mapped.map_err(|e| err!(Runtime, "GPU error: {e}"))?;
        let view = staging.slice(..).get_mapped_range().map_err(|e| err!(Runtime, "GPU error: {e}"))?;
        to.copy_from_slice(&view[..n as usize]);
        if may_fault {
            let word = |k: usize| u32::from_le_bytes(view[n as usize + 4 * k..][..4].try_into().expect("four bytes"));
            let (code, value) = (word(0), word(1) as i32);
            if code != 0 {
                let text = (code.wrapping_sub(s.first_message) as usize).checked_sub(1).and_then(|i| s.messages.get(i));
                let text = text.map_or("index {} is out of range", String::as_str);
                return Err(err!(Index, "{}", text.replace("{}", &value.to_string())));
            }
        }
        Ok(())
    }

    /// The code with which kernels say that something is out of range; `{}` stands for the number that goes with it.
    pub fn fault(&self, message: String) -> u32 {
        let mut s = self.state.lock();
        if s.messages.len() == FAULT_MESSAGES {
            s.messages.pop_front();
            s.first_message += 1;
        }
        // Equal messages follow each other.
        if s.messages.back() != Some(&message) {
            s.messages.push_back(message);
        }
        s.first_message + s.messages.len() as u32
    }

    /// Encodes a kernel: `source` makes its text if `key` is new. Bindings are buffers with windows in bytes, each bound for
    /// reading and writing; with `faults` the last one is where errors are noted. `params` are words.
    pub fn launch(
        &self,
        key: u64,
        source: &dyn Fn() -> String,
        binds: &[(&Buffer, usize, usize)],
        faults: bool,
        params: &[u32],
        groups: usize,
    ) -> Result<()> {
        self.check()?;
        let mut guard = self.state.lock();
        let s = &mut *guard;
        let count = binds.len() + faults as usize;
        debug_assert!(params.len() * 4 <= PARAM_WINDOW);
        if count > self.info.max_bindings {
            return Err(err!(
                NotImplemented,
                "{}: its kernel reads and writes {count} buffers; the GPU '{}' can bind {}",
                crate::ops::current(),
                self.info.name,
                self.info.max_bindings
            ));
        }
        let (layout, pipeline_layout) = s.layouts.entry(count).or_insert_with(|| self.layout(count));
        if let Entry::Vacant(slot) = s.pipelines.entry(key) {
            slot.insert(self.pipeline(pipeline_layout, &source())?);
        }
        if s.params_buffer.is_none() {
            let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
            s.params_buffer = Some(self.buffer((PARAMS + PARAM_WINDOW) as u64, usage, false)?);
        }
        if faults {
            s.may_fault = true;
            if s.faults.is_none() {
                let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
                s.faults = Some(self.buffer(FAULTS, usage, false)?);
            }
        }
        let bind_key: BindKey =
            binds.iter().map(|(b, at, n)| (b.raw().id, *at as u64, *n as u64)).chain(faults.then_some((0, 0, FAULTS))).collect();
        if s.bind_groups.len() >= BIND_GROUPS {
            s.bind_groups.clear();
        }
        let group = s.bind_groups.entry(bind_key).or_insert_with_key(|k| {
            let mut entries: Vec<wgpu::BindGroupEntry> = Vec::with_capacity(count + 1);
            for (i, (_, at, n)) in k.iter().enumerate() {
                let buffer = binds.get(i).map_or_else(|| s.faults.as_ref().expect("made above"), |b| &b.0.raw().buffer);
                let binding = wgpu::BufferBinding { buffer, offset: *at, size: std::num::NonZeroU64::new(*n) };
                entries.push(wgpu::BindGroupEntry { binding: i as u32, resource: wgpu::BindingResource::Buffer(binding) });
            }
            let buffer = s.params_buffer.as_ref().expect("made above");
            let window = wgpu::BufferBinding { buffer, offset: 0, size: std::num::NonZeroU64::new(PARAM_WINDOW as u64) };
            entries.push(wgpu::BindGroupEntry { binding: count as u32, resource: wgpu::BindingResource::Buffer(window) });
            self.device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries: &entries })
        });
        if s.pass.is_none() {
            let e =
                s.encoder.get_or_insert_with(|| self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default()));
            s.pass = Some(e.begin_compute_pass(&wgpu::ComputePassDescriptor::default()).forget_lifetime());
            s.last_pipeline = None;
        }
        let pass = s.pass.as_mut().expect("opened above");
        if s.last_pipeline != Some(key) {
            pass.set_pipeline(&s.pipelines[&key]);
            s.last_pipeline = Some(key);
        }
        let at = s.params.len();
        for w in params {
            s.params.extend_from_slice(&w.to_le_bytes());
        }
        s.params.resize(s.params.len().next_multiple_of(self.info.param_align), 0);
        pass.set_bind_group(0, &*group, &[at as u32]);
        let rows = groups.div_ceil(MAX_GROUPS);
        pass.dispatch_workgroups(groups.div_ceil(rows) as u32, rows as u32, 1);
        s.dispatches += 1;
        if s.dispatches >= BATCH || s.params.len() + PARAM_WINDOW > PARAMS {
            self.submit(s);
        }
        Ok(())
    }

    fn layout(&self, count: usize) -> (wgpu::BindGroupLayout, wgpu::PipelineLayout) {
        let entry = |i: usize, ty, dynamic| wgpu::BindGroupLayoutEntry {
            binding: i as u32,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: dynamic, min_binding_size: None },
            count: None,
        };
        let mut entries: Vec<_> =
            (0..count).map(|i| entry(i, wgpu::BufferBindingType::Storage { read_only: false }, false)).collect();
        entries.push(entry(count, wgpu::BufferBindingType::Uniform, true));
        let l = self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: None, entries: &entries });
        let p = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&l)],
            immediate_size: 0,
        });
        (l, p)
    }

    fn pipeline(&self, layout: &wgpu::PipelineLayout, source: &str) -> Result<wgpu::ComputePipeline> {
        let desc = wgpu::ShaderModuleDescriptor { label: None, source: wgpu::ShaderSource::Wgsl(source.into()) };
        // SAFETY: our kernels check their indices, and their loops end.
        let module = unsafe { self.device.create_shader_module_trusted(desc, wgpu::ShaderRuntimeChecks::unchecked()) };
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: Some(layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: None,
        });
        match self.failed.lock().take() {
            None => Ok(pipeline),
            Some(Error::DeviceLost(m)) => Err(Error::DeviceLost(m)),
            Some(e) => Err(err!(KernelCompile, "a kernel did not compile on '{}': {e}", self.info.name)),
        }
    }

    /// Waits until all that was encoded has run, and raises what went wrong.
    pub fn sync(&self) -> Result<()> {
        self.check()?;
        let mut s = self.state.lock();
        if s.may_fault {
            let staging = self.buffer(FAULTS, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST, false)?;
            return self.read(s, staging, 0, &mut []);
        }
        self.submit(&mut s);
        self.wait(&mut s)
    }

    pub fn memory_stats(&self) -> MemoryStats {
        self.state.lock().stats
    }
    /// Gives what is kept for later back to the driver.
    pub fn empty_cache(&self) {
        let mut s = self.state.lock();
        self.submit(&mut s);
        self.drop_cache(&mut s);
    }
    pub fn reset_peak(&self) {
        let mut s = self.state.lock();
        s.stats.peak = s.stats.allocated;
    }
}
