//! What `rustgrad.gpu` asks of the backend.

use super::call::guarded;
use super::tensor::{PyTensor, wrap};
use super::types::seed_from;
use crate::device::Device;
use crate::dtype::Dtype;
use crate::gpu::{self, Gpu};
use crate::ops::random::{gpu_generator, gpu_generators, seed_gpus};
use crate::random::os_seed;
use crate::tensor::Tensor;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// How many GPUs there are. The first call looks for drivers.
#[pyfunction]
fn _gpu_count(py: Python<'_>) -> PyResult<usize> {
    py.detach(|| guarded("gpu", || Ok(gpu::count())))
}

/// What is known of a GPU.
#[pyfunction]
fn _gpu_info(py: Python<'_>, index: u16) -> PyResult<Py<PyDict>> {
    let i = py.detach(|| guarded("gpu", || Ok(Gpu::get(index)?.info().clone())))?;
    let d = PyDict::new(py);
    d.set_item("name", i.name)?;
    d.set_item("type", i.kind)?;
    d.set_item("backend", i.backend)?;
    d.set_item("driver", i.driver)?;
    d.set_item("driver_info", i.driver_info)?;
    d.set_item("vendor", i.vendor)?;
    d.set_item("int64", i.int64)?;
    d.set_item("float64", i.float64)?;
    d.set_item("float16", i.float16)?;
    d.set_item("subgroups", i.subgroups)?;
    d.set_item("max_binding", i.max_binding)?;
    d.set_item("max_buffer", i.max_buffer)?;
    d.set_item("max_bindings", i.max_bindings)?;
    d.set_item("shared_memory", i.shared_memory)?;
    Ok(d.unbind())
}

/// Waits until all work has run, and raises what went wrong.
#[pyfunction]
fn _gpu_synchronize(py: Python<'_>, index: u16) -> PyResult<()> {
    py.detach(|| guarded("synchronize", || Ok(Gpu::get(index)?.sync()?)))
}

/// Bytes in use, the most there were, bytes kept for later, and how many blocks were asked for.
#[pyfunction]
fn _gpu_memory(py: Python<'_>, index: u16) -> PyResult<(usize, usize, usize, usize)> {
    let s = py.detach(|| guarded("memory_stats", || Ok(Gpu::get(index)?.memory_stats())))?;
    Ok((s.allocated, s.peak, s.cached, s.allocations))
}

/// Gives memory that is kept for later back to the driver.
#[pyfunction]
fn _gpu_empty_cache(py: Python<'_>, index: u16) -> PyResult<()> {
    py.detach(|| {
        guarded("empty_cache", || {
            Gpu::get(index)?.empty_cache();
            Ok(())
        })
    })
}

/// The peak starts anew from what is in use.
#[pyfunction]
fn _gpu_reset_peak(py: Python<'_>, index: u16) -> PyResult<()> {
    py.detach(|| {
        guarded("reset_peak_memory_stats", || {
            Gpu::get(index)?.reset_peak();
            Ok(())
        })
    })
}

/// How often each op ran on the CPU for want of a kernel.
#[pyfunction]
fn _gpu_fallbacks() -> Vec<(&'static str, usize)> {
    crate::ops::fallback::counts()
}

/// From now on the GPU goes by CUDA's name.
#[pyfunction]
fn _gpu_as_cuda() {
    crate::device::offer_as_cuda();
}

/// Seeds the default generator of a GPU.
#[pyfunction]
fn _gpu_manual_seed(index: u16, seed: &Bound<'_, PyAny>) -> PyResult<()> {
    gpu_generator(index).lock().manual_seed(seed_from(seed)?);
    Ok(())
}

/// Seeds the default generators of all GPUs, those to come too. Does not look for drivers.
#[pyfunction]
fn _gpu_manual_seed_all(seed: &Bound<'_, PyAny>) -> PyResult<()> {
    seed_gpus(seed_from(seed)?);
    Ok(())
}

/// Seeds the default generator of a GPU from the system's randomness; answers the seed.
#[pyfunction]
fn _gpu_seed(index: u16) -> u64 {
    let seed = os_seed();
    gpu_generator(index).lock().manual_seed(seed);
    seed
}

#[pyfunction]
fn _gpu_initial_seed(index: u16) -> u64 {
    gpu_generator(index).lock().initial_seed()
}

/// The GPUs whose default generators have been used.
#[pyfunction]
fn _gpu_rng_devices() -> Vec<u16> {
    gpu_generators()
}

/// The state of a GPU's default generator: a tensor of 16 bytes.
#[pyfunction]
fn _gpu_get_rng_state(py: Python<'_>, index: u16) -> PyResult<Py<PyTensor>> {
    let bytes = gpu_generator(index).lock().get_state();
    wrap(py, Tensor::from_slice(&bytes, &[bytes.len()])?)
}

#[pyfunction]
fn _gpu_set_rng_state(index: u16, state: &Bound<'_, PyTensor>) -> PyResult<()> {
    let t = state.get().tensor();
    if t.dtype() != Dtype::U8 || t.device() != Device::Cpu {
        return Err(PyTypeError::new_err("RNG state must be a torch.ByteTensor"));
    }
    let t = crate::ops::copy::contiguous(&t.detach())?;
    gpu_generator(index).lock().set_state(t.data::<u8>()).map_err(|e| PyRuntimeError::new_err(e.to_string()))
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(_gpu_as_cuda, m)?)?;
    m.add_function(wrap_pyfunction!(_gpu_count, m)?)?;
    m.add_function(wrap_pyfunction!(_gpu_info, m)?)?;
    m.add_function(wrap_pyfunction!(_gpu_synchronize, m)?)?;
    m.add_function(wrap_pyfunction!(_gpu_memory, m)?)?;
    m.add_function(wrap_pyfunction!(_gpu_empty_cache, m)?)?;
    m.add_function(wrap_pyfunction!(_gpu_reset_peak, m)?)?;
    m.add_function(wrap_pyfunction!(_gpu_fallbacks, m)?)?;
    m.add_function(wrap_pyfunction!(_gpu_manual_seed, m)?)?;
    m.add_function(wrap_pyfunction!(_gpu_manual_seed_all, m)?)?;
    m.add_function(wrap_pyfunction!(_gpu_seed, m)?)?;
    m.add_function(wrap_pyfunction!(_gpu_initial_seed, m)?)?;
    m.add_function(wrap_pyfunction!(_gpu_rng_devices, m)?)?;
    m.add_function(wrap_pyfunction!(_gpu_get_rng_state, m)?)?;
    m.add_function(wrap_pyfunction!(_gpu_set_rng_state, m)?)
}
