//! Ops without a kernel for a GPU, on the CPU: only where the user asks for it (`RUSTGRAD_GPU_FALLBACK=1`), with a warning
//! for each op, and counted.

use super::{Args, Op, Ret, Value, copy};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::gpu;
use crate::tensor::Tensor;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::OnceLock;

static COUNTS: parking_lot::Mutex<BTreeMap<&'static str, usize>> = parking_lot::Mutex::new(BTreeMap::new());

/// Whether the user asks for it.
pub fn enabled() -> bool {
    static ON: OnceLock<bool> = OnceLock::new();
    *ON.get_or_init(|| std::env::var("RUSTGRAD_GPU_FALLBACK").is_ok_and(|v| !v.is_empty() && v != "0"))
}

/// How often each op went this way.
pub fn counts() -> Vec<(&'static str, usize)> {
    COUNTS.lock().iter().map(|(k, v)| (*k, *v)).collect()
}

/// The GPU that an argument lies on.
fn device_of(args: &Args) -> Option<Device> {
    args.values.iter().find_map(|v| match v {
        Value::Tensor(t) if gpu::holds(t) => Some(t.device()),
        Value::Tensors(ts) => ts.iter().flatten().find(|t| gpu::holds(t)).map(Tensor::device),
        Value::Device(d @ Device::Gpu(_)) => Some(*d),
        _ => None,
    })
}

/// The op as given; if that has no kernel on a GPU, on copies of its arguments on the CPU. Differentiable.
pub fn run(op: &Op, args: &Args) -> Result<Ret> {
    let Some(device) = device_of(args) else { return op.run_as_given(args) };
    // Kernels of the CPU that meet a GPU's tensor unwind with the error.
    let first = match catch_unwind(AssertUnwindSafe(|| op.run_as_given(args))) {
        Ok(r) => r,
        Err(panic) => match panic.downcast::<Error>() {
            Ok(e) => Err(*e),
            Err(p) => resume_unwind(p),
        },
    };
    let Err(Error::NotImplemented(why)) = first else { return first };
    let name = op.schema.name;
    let seen = {
        let mut counts = COUNTS.lock();
        let n = counts.entry(name).or_default();
        *n += 1;
        *n > 1
    };
    if !seen {
        super::warn(format!("{name} has no kernel on the GPU ({why}); it runs on the CPU (RUSTGRAD_GPU_FALLBACK)"));
    }
    let host = |t: &Tensor| copy::to_device(t, Device::Cpu);
    let mut here = Args { values: args.values.clone(), target: None, out: None };
    for v in &mut here.values {
        match v {
            Value::Tensor(t) => *t = host(t)?,
            Value::Tensors(ts) => {
                for t in ts.iter_mut().flatten() {
                    *t = host(t)?;
                }
            }
            Value::Device(d @ Device::Gpu(_)) => *d = Device::Cpu,
            _ => {}
        }
    }
    let back = |t: Tensor| copy::to_device(&t, device);
    Ok(match op.run_as_given(&here)? {
        Ret::Tensor(t) => Ret::Tensor(back(t)?),
        Ret::Tuple(ts) => Ret::Tuple(ts.into_iter().map(back).collect::<Result<_>>()?),
        Ret::List(ts) => Ret::List(ts.into_iter().map(back).collect::<Result<_>>()?),
        Ret::Options(ts) => Ret::Options(ts.into_iter().map(|t| t.map(back).transpose()).collect::<Result<_>>()?),
        Ret::Nested(t, ts) => Ret::Nested(back(t)?, ts.into_iter().map(back).collect::<Result<_>>()?),
        r => r,
    })
}
