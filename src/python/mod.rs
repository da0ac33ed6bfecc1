//! The Python module `rustgrad._core`: the tensor class, the argument parser, and one callable for every
//! entry of the registry.

mod autograd;
mod call;
mod convert;
mod dlpack;
mod gpu;
mod index;
mod interop;
mod memory;
mod parse;
mod tensor;
mod types;

use crate::error::Error;
use mimalloc::MiMalloc;
use pyo3::exceptions::{PyAssertionError, PyIndexError, PyNotImplementedError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use std::sync::OnceLock;
use std::thread::ThreadId;

/// For handles, graph nodes and closures, of which every op makes several. Memory of tensors is `cpu::memory`'s.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

pyo3::create_exception!(
    _core,
    LinAlgError,
    PyRuntimeError,
    "Error raised by torch.linalg functions when the cause of error is a numerical inconsistency in the data."
);

pyo3::create_exception!(_core, DeviceLostError, PyRuntimeError, "The GPU is gone: its driver stopped or was reset.");
pyo3::create_exception!(_core, KernelCompileError, PyRuntimeError, "A kernel did not compile on this GPU's driver.");

impl From<Error> for PyErr {
    fn from(e: Error) -> PyErr {
        match e {
            Error::Runtime(m) => PyRuntimeError::new_err(m),
            Error::Value(m) => PyValueError::new_err(m),
            Error::Type(m) => PyTypeError::new_err(m),
            Error::Index(m) => PyIndexError::new_err(m),
            Error::NotImplemented(m) => PyNotImplementedError::new_err(m),
            Error::Memory(m) => memory::out_of_memory(m),
            Error::Assertion(m) => PyAssertionError::new_err(m),
            Error::DeviceLost(m) => DeviceLostError::new_err(m),
            Error::KernelCompile(m) => KernelCompileError::new_err(m),
            Error::Linalg(m) => LinAlgError::new_err(m),
            Error::Foreign(e) => match e.downcast::<PyErr>() {
                Ok(e) => *e,
                Err(_) => PyRuntimeError::new_err("exception raised by a callback"),
            },
        }
    }
}

impl From<PyErr> for Error {
    fn from(e: PyErr) -> Error {
        Error::Foreign(Box::new(e))
    }
}

/// Lets Ctrl-C stop a long kernel: the main thread, where Python handles signals, raises what a handler raises.
fn heed_signals(m: &Bound<'_, PyModule>) -> PyResult<()> {
    static MAIN: OnceLock<ThreadId> = OnceLock::new();
    let threading = m.py().import("threading")?;
    let is_main = threading.call_method0("main_thread")?.is(&threading.call_method0("current_thread")?);
    if is_main {
        MAIN.get_or_init(|| std::thread::current().id());
    }
    crate::cpu::threads::set_ask(|| {
        if MAIN.get() == Some(&std::thread::current().id()) {
            let raised = Python::attach(|py| py.check_signals().err());
            if let Some(e) = raised {
                crate::storage::raise(e.into());
            }
        }
    });
    Ok(())
}

#[pymodule]
fn _core(m: &Bound<'_, PyModule>) -> PyResult<()> {
    heed_signals(m)?;
    types::register(m)?;
    tensor::register(m)?;
    interop::register(m)?;
    memory::register(m)?;
    dlpack::register(m)?;
    gpu::register(m)?;
    autograd::register(m)?;
    index::register(m)?;
    m.add("DeviceLostError", m.py().get_type::<DeviceLostError>())?;
    m.add("KernelCompileError", m.py().get_type::<KernelCompileError>())?;
    m.add("LinAlgError", m.py().get_type::<LinAlgError>())?;
    call::register(m)
}
