//! Where a tensor's memory is.

use crate::err;
use crate::error::Result;
use std::sync::atomic::{AtomicBool, Ordering};

/// A device. `Meta` has shapes and no memory. `Gpu` is named by PyTorch's programs as `gpu:0`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Device {
    Cpu,
    Meta,
    Gpu(u16),
    /// A device of another library's name (`cuda:1`): it can be named and compared, never used.
    Foreign(&'static str, Option<u16>),
}

/// Whether the GPU goes by CUDA's name.
static AS_CUDA: AtomicBool = AtomicBool::new(false);

/// From now on `cuda` means the GPU, and devices say so: for programs that know no other name.
pub fn offer_as_cuda() {
    AS_CUDA.store(true, Ordering::Relaxed);
}

const FOREIGN: [&str; 5] = ["cuda", "mps", "xpu", "hpu", "xla"];

impl Device {
    /// Parses `cpu`, `meta`, `gpu:1`, `cuda:0`.
    pub fn parse(text: &str) -> Result<Device> {
        let bad = || {
            err!(
                Runtime,
                "Expected one of cpu, cuda, mps, xpu, hpu, xla, meta, gpu device type at start of device string: {text}"
            )
        };
        let (kind, index) = match text.split_once(':') {
            Some((k, i)) => (k, Some(i.parse::<u16>().map_err(|_| err!(Runtime, "Invalid device string: '{text}'"))?)),
            None => (text, None),
        };
        match kind {
            "cpu" => Ok(Device::Cpu),
            "meta" => Ok(Device::Meta),
            "gpu" => Ok(Device::Gpu(index.unwrap_or(0))),
            "cuda" if AS_CUDA.load(Ordering::Relaxed) => Ok(Device::Gpu(index.unwrap_or(0))),
            _ => FOREIGN.iter().find(|f| **f == kind).map(|f| Device::Foreign(f, index)).ok_or_else(bad),
        }
    }

    pub fn kind(self) -> &'static str {
        match self {
            Device::Cpu => "cpu",
            Device::Meta => "meta",
            Device::Gpu(_) if AS_CUDA.load(Ordering::Relaxed) => "cuda",
            Device::Gpu(_) => "gpu",
            Device::Foreign(k, _) => k,
        }
    }

    pub fn index(self) -> Option<u16> {
        match self {
            Device::Gpu(i) => Some(i),
            Device::Foreign(_, i) => i,
            _ => None,
        }
    }

    /// An error for tensors that have to be on one device.
    pub fn check_same(self, other: Device) -> Result<()> {
        let text = "Expected all tensors to be on the same device, but found at least two devices";
        if self == other { Ok(()) } else { Err(err!(Runtime, "{text}, {self} and {other}!")) }
    }

    /// An error for devices that this build has no backend for.
    pub fn check_usable(self) -> Result<Device> {
        match self {
            Device::Cpu | Device::Meta => Ok(self),
            Device::Gpu(i) => crate::gpu::Gpu::get(i).map(|_| self),
            Device::Foreign("cuda", _) => Err(err!(Assertion, "Torch not compiled with CUDA enabled")),
            Device::Foreign(k, _) => Err(err!(Runtime, "PyTorch is not linked with support for {k} devices")),
        }
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.index() {
            Some(i) => write!(f, "{}:{i}", self.kind()),
            None => f.write_str(self.kind()),
        }
    }
}

static DEFAULT: parking_lot::Mutex<Vec<Device>> = parking_lot::Mutex::new(Vec::new());

/// The device of new tensors.
pub fn default_device() -> Device {
    DEFAULT.lock().last().copied().unwrap_or(Device::Cpu)
}
/// Sets it until [`pop_default_device`].
pub fn push_default_device(d: Device) {
    DEFAULT.lock().push(d);
}
pub fn pop_default_device() {
    DEFAULT.lock().pop();
}
/// Sets it for good.
pub fn set_default_device(d: Device) {
    *DEFAULT.lock() = vec![d];
}
