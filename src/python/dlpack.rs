//! DLPack (https://dmlc.github.io/dlpack): tensors to and from other libraries without a copy.

use super::call::guarded;
use super::tensor::{PyTensor, wrap};
use crate::device::Device;
use crate::dtype::Dtype;
use crate::layout::{Layout, contiguous_strides};
use crate::storage::Storage;
use crate::tensor::Tensor;
use pyo3::exceptions::{PyBufferError, PyRuntimeError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::ffi::{CStr, c_void};

#[repr(C)]
#[derive(Clone, Copy)]
struct DlDevice {
    kind: i32,
    id: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct DlType {
    code: u8,
    bits: u8,
    lanes: u16,
}

#[repr(C)]
struct DlTensor {
    data: *mut c_void,
    device: DlDevice,
    ndim: i32,
    dtype: DlType,
    shape: *mut i64,
    strides: *mut i64,
    byte_offset: u64,
}

#[repr(C)]
struct Managed {
    tensor: DlTensor,
    manager: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Managed)>,
}

const NAME: &CStr = c"dltensor";
const USED: &CStr = c"used_dltensor";
const CPU: i32 = 1;

/// What an exported tensor keeps alive.
struct Export {
    _tensor: Tensor,
    shape: Vec<i64>,
    strides: Vec<i64>,
    managed: Managed,
}

unsafe extern "C" fn release(m: *mut Managed) {
    // SAFETY: `manager` is the box made in `to_capsule`; the consumer calls this once.
    unsafe { drop(Box::from_raw((*m).manager as *mut Export)) }
}

unsafe extern "C" fn drop_capsule(capsule: *mut ffi::PyObject) {
    // SAFETY: called by CPython with our capsule; one that was consumed has another name.
    unsafe {
        if ffi::PyCapsule_IsValid(capsule, NAME.as_ptr()) != 0 {
            let m = ffi::PyCapsule_GetPointer(capsule, NAME.as_ptr()) as *mut Managed;
            release(m);
        }
    }
}

fn type_of(d: Dtype) -> DlType {
    let code = match d {
        Dtype::U8 => 1,
        Dtype::I8 | Dtype::I16 | Dtype::I32 | Dtype::I64 => 0,
        Dtype::F16 | Dtype::F32 | Dtype::F64 => 2,
        Dtype::BF16 => 4,
        Dtype::C64 | Dtype::C128 => 5,
        Dtype::Bool => 6,
    };
    DlType { code, bits: (d.size() * 8) as u8, lanes: 1 }
}

/// A capsule over the tensor's memory.
#[pyfunction]
fn _to_dlpack<'py>(py: Python<'py>, x: &Bound<'py, PyTensor>) -> PyResult<Bound<'py, PyAny>> {
    let t = x.get().tensor();
    if t.requires_grad() {
        return Err(PyBufferError::new_err("Can't export tensors that require gradient, use tensor.detach()"));
    }
    if t.device() != Device::Cpu {
        return Err(PyBufferError::new_err(format!("Can't export a tensor on the {} device", t.device())));
    }
    let data = guarded("dlpack", || Ok(t.exposed() as *mut c_void))?;
    let mut e = Box::new(Export {
        shape: t.shape().iter().map(|&s| s as i64).collect(),
        strides: t.strides().iter().map(|&s| s as i64).collect(),
        managed: Managed {
            tensor: DlTensor {
                data,
                device: DlDevice { kind: CPU, id: 0 },
                ndim: t.ndim() as i32,
                dtype: type_of(t.dtype()),
                shape: std::ptr::null_mut(),
                strides: std::ptr::null_mut(),
                byte_offset: 0,
            },
            manager: std::ptr::null_mut(),
            deleter: Some(release),
        },
        _tensor: t,
    });
    e.managed.tensor.shape = e.shape.as_mut_ptr();
    e.managed.tensor.strides = e.strides.as_mut_ptr();
    let raw = Box::into_raw(e);
    // SAFETY: the box lives until the deleter is called.
    unsafe {
        (*raw).managed.manager = raw as *mut c_void;
        let p = ffi::PyCapsule_New(&raw mut (*raw).managed as *mut c_void, NAME.as_ptr(), Some(drop_capsule));
        Bound::from_owned_ptr_or_err(py, p)
    }
}

/// An imported block, given back when the last tensor over it goes.
struct Import(*mut Managed);
// SAFETY: the deleter may be called from any thread, as DLPack demands.
unsafe impl Send for Import {}
// SAFETY: nothing is read through a shared reference.
unsafe impl Sync for Import {}
impl Drop for Import {
    fn drop(&mut self) {
        // SAFETY: taken over from a capsule that no one else will use.
        unsafe {
            if let Some(f) = (*self.0).deleter {
                f(self.0);
            }
        }
    }
}

/// A tensor over the memory behind a capsule, or behind an object with `__dlpack__`.
#[pyfunction]
fn from_dlpack(py: Python<'_>, ext_tensor: &Bound<'_, PyAny>) -> PyResult<Py<PyTensor>> {
    let capsule = if ext_tensor.hasattr("__dlpack__")? {
        if let Ok(d) = ext_tensor.call_method0("__dlpack_device__") {
            let (kind, _): (i32, i32) = d.extract()?;
            if kind != CPU {
                return Err(PyRuntimeError::new_err(format!("from_dlpack: memory of device type {kind} cannot be read here")));
            }
        }
        let kwargs = PyDict::new(py);
        ext_tensor.call_method("__dlpack__", (), Some(&kwargs))?
    } else {
        ext_tensor.clone()
    };
    // SAFETY: a live object; the name is checked before the pointer is used.
    let m = unsafe {
        if ffi::PyCapsule_IsValid(capsule.as_ptr(), NAME.as_ptr()) == 0 {
            return Err(PyTypeError::new_err(format!(
                "from_dlpack(): expected an object with __dlpack__ or an unused 'dltensor' capsule, not {}",
                super::parse::type_name(ext_tensor)
            )));
        }
        ffi::PyCapsule_GetPointer(capsule.as_ptr(), NAME.as_ptr()) as *mut Managed
    };
    // SAFETY: a valid capsule holds a managed tensor.
    let d = unsafe { &(*m).tensor };
    let dtype = Dtype::ALL
        .into_iter()
        .find(|&k| {
            let t = type_of(k);
            (t.code, t.bits) == (d.dtype.code, d.dtype.bits)
        })
        .filter(|_| d.dtype.lanes == 1)
        .ok_or_else(|| {
            PyValueError::new_err(format!("from_dlpack: unsupported type code {} with {} bits", d.dtype.code, d.dtype.bits))
        })?;
    if d.device.kind != CPU {
        return Err(PyRuntimeError::new_err("from_dlpack: the memory is not the CPU's"));
    }
    let n = d.ndim.max(0) as usize;
    // SAFETY: shape and strides (which may be null: contiguous) have `ndim` entries.
    let (shape, strides) = unsafe {
        let shape: Vec<usize> = (0..n).map(|i| (*d.shape.add(i)).max(0) as usize).collect();
        let strides: Vec<isize> = if d.strides.is_null() {
            contiguous_strides(&shape).to_vec()
        } else {
            (0..n).map(|i| *d.strides.add(i) as isize).collect()
        };
        (shape, strides)
    };
    let layout = Layout::strided(&shape, &strides, 0)?;
    let bytes = layout.required()? * dtype.size();
    let ptr = (d.data as *mut u8).wrapping_add(d.byte_offset as usize);
    // SAFETY: the producer promises the memory until the deleter is called; the capsule is marked as used.
    let storage = unsafe {
        ffi::PyCapsule_SetName(capsule.as_ptr(), USED.as_ptr());
        ffi::PyCapsule_SetDestructor(capsule.as_ptr(), None);
        Storage::guest(ptr, bytes, Box::new(Import(m)))
    };
    wrap(py, Tensor::from_parts(storage, layout, dtype))
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(_to_dlpack, m)?)?;
    m.add_function(wrap_pyfunction!(from_dlpack, m)?)
}
