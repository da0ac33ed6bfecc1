//! What Python sees of the allocator and of pending expressions.

use crate::cpu::memory;
use crate::expr::pending;
use pyo3::exceptions::{PyMemoryError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};

static OUT_OF_MEMORY: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// `torch.OutOfMemoryError`: a RuntimeError, as PyTorch raises, and a MemoryError, as Python programs expect.
fn class(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    OUT_OF_MEMORY
        .get_or_try_init(py, || {
            let bases = PyTuple::new(py, [py.get_type::<PyRuntimeError>(), py.get_type::<PyMemoryError>()])?;
            let body = PyDict::new(py);
            body.set_item("__module__", "torch")?;
            body.set_item("__doc__", "Exception raised when a device is out of memory")?;
            let made = py.get_type::<PyType>().call1(("OutOfMemoryError", bases, body))?;
            Ok::<_, PyErr>(made.cast_into::<PyType>()?.unbind())
        })
        .map(|t| t.bind(py))
}

pub fn out_of_memory(message: String) -> PyErr {
    Python::attach(|py| match class(py) {
        Ok(c) => PyErr::from_type(c.clone(), message),
        Err(e) => e,
    })
}

/// Counters of the allocator of CPU memory, in bytes and calls, under the names of PyTorch's statistics. Tensors of up to
/// 1 KiB are not counted. `limit_bytes` is missing where there is no limit.
#[pyfunction]
fn memory_stats(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let d = PyDict::new(py);
    for (name, value) in memory::stats() {
        if name != "limit_bytes" || value != usize::MAX as u64 {
            d.set_item(name, value)?;
        }
    }
    Ok(d)
}

/// Bounds the memory of tensors to a number of bytes (None: no bound). An allocation beyond it raises OutOfMemoryError,
/// which is a MemoryError and a RuntimeError. The environment variable RUSTGRAD_MEMORY_LIMIT sets it at the start.
#[pyfunction]
#[pyo3(signature = (limit=None))]
fn set_memory_limit(limit: Option<usize>) {
    memory::set_limit(limit);
}

/// Gives memory that is kept for later tensors back to the system.
#[pyfunction]
fn empty_cache() {
    memory::empty_cache();
}

/// Starts new peaks in memory_stats() at the present values.
#[pyfunction]
fn reset_peak_memory_stats() {
    memory::reset_peak();
}

/// Whether elementwise ops over large tensors may wait until their results are needed; answers what it was before.
/// RUSTGRAD_EAGER=1 turns it off at the start.
#[pyfunction]
fn _set_pending(on: bool) -> bool {
    let before = pending::enabled();
    pending::set_enabled(on);
    before
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("OutOfMemoryError", class(m.py())?)?;
    m.add_function(wrap_pyfunction!(memory_stats, m)?)?;
    m.add_function(wrap_pyfunction!(set_memory_limit, m)?)?;
    m.add_function(wrap_pyfunction!(empty_cache, m)?)?;
    m.add_function(wrap_pyfunction!(reset_peak_memory_stats, m)?)?;
    m.add_function(wrap_pyfunction!(_set_pending, m)?)
}
