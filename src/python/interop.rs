//! Data in and out: nested sequences, NumPy arrays, buffers, storages.

use super::call::guarded;
use super::convert::scalar_from;
use super::tensor::{PyTensor, tensor_ref, wrap};
use super::types::{PyDtype, device_from};
use crate::device::{Device, default_device};
use crate::dtype::{Dtype, Element, Scalar, default_dtype};
use crate::layout::{Dims, Layout, Strides, sizes};
use crate::ops::copy;
use crate::storage::{Storage, StorageRef};
use crate::tensor::Tensor;
use crate::{dispatch, err};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyUserWarning, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

/// NumPy's letters for a dtype; bfloat16 has none.
fn type_string(d: Dtype) -> Option<&'static str> {
    Some(match d {
        Dtype::U8 => "|u1",
        Dtype::I8 => "|i1",
        Dtype::I16 => "<i2",
        Dtype::I32 => "<i4",
        Dtype::I64 => "<i8",
        Dtype::F16 => "<f2",
        Dtype::F32 => "<f4",
        Dtype::F64 => "<f8",
        Dtype::Bool => "|b1",
        Dtype::C64 => "<c8",
        Dtype::C128 => "<c16",
        Dtype::BF16 => return None,
    })
}

/// What NumPy reads a tensor's memory through; keeps the memory alive.
#[pyclass(frozen, module = "rustgrad._core")]
struct ArrayView {
    t: Tensor,
    read_only: bool,
}

#[pymethods]
impl ArrayView {
    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let d = PyDict::new(py);
        let size = self.t.dtype().size() as isize;
        let strides: Vec<isize> = self.t.strides().iter().map(|s| s * size).collect();
        d.set_item("shape", PyTuple::new(py, self.t.shape())?)?;
        d.set_item("typestr", type_string(self.t.dtype()))?;
        d.set_item("data", (guarded("numpy", || Ok(self.t.exposed() as usize))?, self.read_only))?;
        d.set_item("strides", PyTuple::new(py, strides)?)?;
        d.set_item("version", 3)?;
        Ok(d)
    }
}

/// A NumPy array over the tensor's memory.
#[pyfunction]
fn _to_numpy<'py>(py: Python<'py>, x: &Bound<'py, PyTensor>) -> PyResult<Bound<'py, PyAny>> {
    let t = x.get().tensor();
    if t.device() != Device::Cpu {
        return Err(PyTypeError::new_err(format!(
            "can't convert {} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first.",
            t.device()
        )));
    }
    if type_string(t.dtype()).is_none() {
        return Err(PyTypeError::new_err(format!("Got unsupported ScalarType {}", t.dtype().scalar_name())));
    }
    let view = Py::new(py, ArrayView { t, read_only: false })?;
    py.import("numpy")?.getattr("asarray")?.call1((view,))
}

struct Array {
    dtype: Dtype,
    shape: Dims,
    strides: Strides,
    ptr: usize,
    read_only: bool,
}

/// Reads an `__array_interface__`; `None` if the object has none.
fn array_of(o: &Bound<'_, PyAny>) -> PyResult<Option<Array>> {
    let Ok(i) = o.getattr("__array_interface__") else { return Ok(None) };
    let Ok(i) = i.cast::<PyDict>() else { return Ok(None) };
    let get = |k: &str| i.get_item(k)?.ok_or_else(|| PyTypeError::new_err("incomplete __array_interface__"));
    let text: String = get("typestr")?.extract()?;
    if text.starts_with('>') {
        return Err(PyValueError::new_err(
            "given numpy array has byte order different from the native byte order. Conversion between byte orders is currently not supported.",
        ));
    }
    let dtype = Dtype::ALL.into_iter().find(|d| type_string(*d).is_some_and(|s| s[1..] == text[1..])).ok_or_else(|| {
        let kind = o.getattr("dtype").and_then(|d| d.getattr("type")).and_then(|t| t.getattr("__name__")).map_or(text.clone(), |n| n.to_string());
        PyTypeError::new_err(format!(
            "can't convert np.ndarray of type numpy.{kind}. The only supported types are: float64, float32, float16, complex64, complex128, int64, int32, int16, int8, uint64, uint32, uint16, uint8, and bool."
        ))
    })?;
    let shape: Vec<usize> = get("shape")?.extract()?;
    let (ptr, read_only): (usize, bool) = get("data")?.extract()?;
    let strides: Option<Vec<isize>> = match i.get_item("strides")? {
        Some(s) if !s.is_none() => Some(s.extract()?),
        _ => None,
    };
    let size = dtype.size() as isize;
    let strides: Strides = match strides {
        None => crate::layout::contiguous_strides(&shape),
        Some(bytes) => {
            let mut out = Strides::new();
            for (k, b) in bytes.iter().enumerate() {
                if *b < 0 && shape[k] > 1 {
                    return Err(PyValueError::new_err(
                        "At least one stride in the given numpy array is negative, and tensors with negative strides are not currently supported. (You can probably work around this by making a copy of your array  with array.copy().) ",
                    ));
                }
                if b % size != 0 && shape[k] > 1 {
                    return Err(PyValueError::new_err(
                        "given numpy array strides not a multiple of the element byte size. Copy the numpy array to reallocate the memory.",
                    ));
                }
                out.push((b / size).max(0));
            }
            out
        }
    };
    Ok(Some(Array { dtype, shape: shape.as_slice().into(), strides, ptr, read_only }))
}

/// A tensor over the memory of an array, which it keeps alive.
fn share(o: &Bound<'_, PyAny>, a: &Array) -> PyResult<Tensor> {
    let layout = Layout::strided(&a.shape, &a.strides, 0)?;
    let bytes = layout.required()? * a.dtype.size();
    // SAFETY: the exporter promises this memory for as long as it lives, and it is kept alive.
    let storage = unsafe { Storage::guest(a.ptr as *mut u8, bytes, Box::new(o.clone().unbind())) };
    Ok(Tensor::from_parts(storage, layout, a.dtype))
}

fn warn_read_only(py: Python<'_>) -> PyResult<()> {
    let text = c"The given NumPy array is not writable, and PyTorch does not support non-writable tensors. This means writing to this tensor will result in undefined behavior. You may want to copy the array to protect its data or make it writable before converting it to a tensor. This type of warning will be suppressed for the rest of this program.";
    PyErr::warn(py, &py.get_type::<PyUserWarning>(), text, 1)
}

/// A tensor that shares the memory of a NumPy array.
#[pyfunction]
fn from_numpy(py: Python<'_>, array: &Bound<'_, PyAny>) -> PyResult<Py<PyTensor>> {
    let is_array = array.get_type().getattr("__module__").is_ok_and(|m| m.to_string() == "numpy") && array.hasattr("__len__")?;
    match array_of(array)? {
        Some(a) if is_array => {
            if a.read_only {
                warn_read_only(py)?;
            }
            wrap(py, share(array, &a)?)
        }
        _ => Err(PyTypeError::new_err(format!("expected np.ndarray (got {})", array.get_type().name()?))),
    }
}

#[derive(Default)]
struct Nested {
    shape: Vec<usize>,
    values: Vec<Scalar>,
    dtype: Option<Dtype>,
}

impl Nested {
    fn note(&mut self, d: Dtype) {
        self.dtype = Some(self.dtype.map_or(d, |old| old.promote(d)));
    }

    fn walk(&mut self, o: &Bound<'_, PyAny>, depth: usize) -> PyResult<()> {
        if depth > 128 {
            return Err(PyValueError::new_err(format!("too many dimensions '{}'", o.get_type().name()?)));
        }
        if let Some(t) = tensor_ref(o) {
            self.note(t.dtype());
            if t.ndim() > 0 {
                return self.sequence(o, depth);
            }
            self.values.push(t.item()?);
            return Ok(());
        }
        if let Some(s) = number(o)? {
            self.note(match o.getattr("dtype").ok().and_then(|_| array_of(o).ok().flatten()) {
                Some(a) if !o.is_instance_of::<pyo3::types::PyFloat>() || a.dtype == Dtype::F64 => a.dtype,
                _ => s.dtype(),
            });
            self.values.push(s);
            return Ok(());
        }
        // SAFETY: a live object.
        if !o.is_instance_of::<PyString>() && unsafe { ffi::PySequence_Check(o.as_ptr()) } != 0 {
            return self.sequence(o, depth);
        }
        if depth > 0 && !o.is_instance_of::<PyString>() {
            return Err(PyRuntimeError::new_err(format!("Could not infer dtype of {}", o.get_type().name()?)));
        }
        if o.is_instance_of::<PyString>() {
            return Err(PyValueError::new_err("too many dimensions 'str'"));
        }
        Err(PyRuntimeError::new_err(format!("Could not infer dtype of {}", o.get_type().name()?)))
    }

    fn sequence(&mut self, o: &Bound<'_, PyAny>, depth: usize) -> PyResult<()> {
        let n = o.len()?;
        if self.shape.len() == depth {
            if !self.values.is_empty() {
                // A number stood where now a sequence stands.
                return Err(PyTypeError::new_err(format!("must be real number, not {}", o.get_type().name()?)));
            }
            self.shape.push(n);
        } else if self.shape[depth] != n {
            return Err(PyValueError::new_err(format!(
                "expected sequence of length {} at dim {depth} (got {n})",
                self.shape[depth]
            )));
        }
        // A NumPy array inside a list is read at once.
        if tensor_ref(o).is_none()
            && o.hasattr("__array_interface__")?
            && let Some(a) = array_of(o)?
        {
            self.note(a.dtype);
            for (k, s) in a.shape.iter().enumerate().skip(1) {
                if self.shape.len() == depth + k {
                    self.shape.push(*s);
                }
            }
            let t = copy::contiguous(&share(o, &a)?)?;
            self.values.extend((0..t.numel()).map(|i| t.at(i)));
            return Ok(());
        }
        for i in 0..n {
            let x = o.get_item(i)?;
            let before = self.values.len();
            self.walk(&x, depth + 1)?;
            if self.shape.len() > depth + 1 && self.values.len() == before + 1 && is_number(&x) {
                return Err(PyTypeError::new_err(format!("expected a sequence at dim {depth} (got {})", x.get_type().name()?)));
            }
        }
        Ok(())
    }
}

fn is_number(o: &Bound<'_, PyAny>) -> bool {
    tensor_ref(o).is_none_or(|t| t.ndim() == 0) && number(o).is_ok_and(|n| n.is_some())
}

/// A Python or NumPy number (not a 0-d tensor).
fn number(o: &Bound<'_, PyAny>) -> PyResult<Option<Scalar>> {
    scalar_from(o)
}

/// A new tensor with the values of `data`.
pub fn build(data: &Bound<'_, PyAny>, dtype: Option<Dtype>) -> PyResult<Tensor> {
    if let Some(t) = tensor_ref(data) {
        let t = t.detach();
        return Ok(match dtype {
            Some(d) if d != t.dtype() => copy::to_dtype(&t, d)?,
            _ => copy::clone(&t, Some(crate::ops::MemoryFormat::Contiguous))?,
        });
    }
    // SAFETY: a live object.
    let exact = unsafe { ffi::PyFloat_CheckExact(data.as_ptr()) != 0 || ffi::PyLong_CheckExact(data.as_ptr()) != 0 };
    if !exact
        && !data.is_instance_of::<PyList>()
        && !data.is_instance_of::<PyTuple>()
        && let Some(a) = array_of(data)?
    {
        let t = share(data, &a)?;
        return Ok(match dtype {
            Some(d) if d != t.dtype() => copy::contiguous(&copy::to_dtype(&t, d)?)?,
            _ => copy::clone(&t, Some(crate::ops::MemoryFormat::Contiguous))?,
        });
    }
    let mut n = Nested::default();
    n.walk(data, 0)?;
    if let (None, false) = (n.dtype, n.values.is_empty()) {
        return Err(PyRuntimeError::new_err("Could not infer dtype"));
    }
    let expect: usize = crate::layout::checked_numel(&n.shape)?;
    if expect != n.values.len() {
        return Err(PyValueError::new_err("expected sequences of equal length"));
    }
    let d = dtype.unwrap_or(n.dtype.unwrap_or(default_dtype()));
    if d.category() == crate::dtype::Category::Int && n.values.iter().any(|v| matches!(v, Scalar::Float(f) if !f.is_finite())) {
        return Err(PyValueError::new_err("cannot convert float NaN or infinity to integer"));
    }
    let t = Tensor::empty(&n.shape, d, Device::Cpu)?;
    dispatch!(all d, T => for (o, v) in t.data_mut::<T>().iter_mut().zip(&n.values) { *o = T::from_scalar(*v); });
    Ok(t)
}

fn place(t: Tensor, device: Option<&Bound<'_, PyAny>>) -> PyResult<Tensor> {
    let device = device.filter(|d| !d.is_none()).map(device_from).transpose()?.unwrap_or_else(default_device).check_usable()?;
    Ok(copy::to_device(&t, device)?)
}

/// A new tensor with a copy of `data`.
#[pyfunction]
#[pyo3(signature = (data, *, dtype=None, device=None, requires_grad=false, pin_memory=false))]
fn tensor(
    py: Python<'_>,
    data: &Bound<'_, PyAny>,
    dtype: Option<PyRef<'_, PyDtype>>,
    device: Option<&Bound<'_, PyAny>>,
    requires_grad: bool,
    pin_memory: bool,
) -> PyResult<Py<PyTensor>> {
    let _ = pin_memory;
    if tensor_ref(data).is_some() {
        let text = c"To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or sourceTensor.detach().clone().requires_grad_(True), rather than torch.tensor(sourceTensor).";
        PyErr::warn(py, &py.get_type::<PyUserWarning>(), text, 1)?;
    } else if let Ok(l) = data.cast::<PyList>()
        && let Ok(first) = l.get_item(0)
        && first.get_type().name()? == "ndarray"
    {
        let text = c"Creating a tensor from a list of numpy.ndarrays is extremely slow. Please consider converting the list to a single numpy.ndarray with numpy.array() before converting to a tensor.";
        PyErr::warn(py, &py.get_type::<PyUserWarning>(), text, 1)?;
    }
    let t = build(data, dtype.map(|d| d.0))?;
    // A tensor's copy stays where the tensor is.
    let stays = tensor_ref(data).is_some() && device.is_none_or(|d| d.is_none());
    let t = if stays { t } else { place(t, device)? };
    if requires_grad {
        if !t.dtype().is_float() && !t.dtype().is_complex() {
            return Err(PyRuntimeError::new_err("Only Tensors of floating point and complex dtype can require gradients"));
        }
        t.set_requires_grad(true)?;
    }
    wrap(py, t)
}

/// A tensor over `data` without a copy where possible.
#[pyfunction]
#[pyo3(signature = (data, dtype=None, device=None))]
fn as_tensor(
    py: Python<'_>,
    data: &Bound<'_, PyAny>,
    dtype: Option<PyRef<'_, PyDtype>>,
    device: Option<&Bound<'_, PyAny>>,
) -> PyResult<Py<PyAny>> {
    let dtype = dtype.map(|d| d.0);
    if let Some(t) = tensor_ref(data) {
        if dtype.is_none_or(|d| d == t.dtype()) && device.is_none_or(|d| d.is_none()) {
            return Ok(data.clone().unbind());
        }
        let t = match dtype {
            Some(d) => copy::to_dtype(&t, d)?,
            None => t,
        };
        let t = if device.is_none_or(|d| d.is_none()) { t } else { place(t, device)? };
        return Ok(wrap(py, t)?.into_any());
    }
    // SAFETY: a live object.
    let plain = unsafe { ffi::PyFloat_Check(data.as_ptr()) != 0 || ffi::PyLong_Check(data.as_ptr()) != 0 };
    if !plain && let Some(a) = array_of(data)? {
        if a.read_only && !a.shape.is_empty() {
            warn_read_only(py)?;
        }
        let t = share(data, &a)?;
        let t = match dtype {
            Some(d) => copy::to_dtype(&t, d)?,
            None => t,
        };
        return Ok(wrap(py, place(t, device)?)?.into_any());
    }
    Ok(wrap(py, place(build(data, dtype)?, device)?)?.into_any())
}

/// A 1-d tensor over the memory of an object with the buffer protocol. `count` -1: all of it; `offset` in bytes.
#[pyfunction]
#[pyo3(signature = (buffer, *, dtype, count=-1, offset=0, requires_grad=false))]
fn frombuffer(
    py: Python<'_>,
    buffer: &Bound<'_, PyAny>,
    dtype: PyRef<'_, PyDtype>,
    count: i64,
    offset: i64,
    requires_grad: bool,
) -> PyResult<Py<PyTensor>> {
    let view = py.import("numpy")?.getattr("frombuffer")?.call1((buffer, "u1"))?;
    let a = array_of(&view)?.ok_or_else(|| PyValueError::new_err("object does not implement Python buffer protocol."))?;
    let (len, size) = (a.shape[0] as i64, dtype.0.size() as i64);
    if len == 0 || count == 0 {
        return Err(PyValueError::new_err(format!("both buffer length ({len}) and count ({count}) must not be 0")));
    }
    if offset < 0 || offset >= len {
        return Err(PyValueError::new_err(format!(
            "offset ({offset} bytes) must be non-negative and no greater than buffer length ({len} bytes) - 1"
        )));
    }
    let n = if count < 0 {
        if (len - offset) % size != 0 {
            return Err(PyValueError::new_err(format!(
                "buffer length ({} bytes) after offset ({offset} bytes) must be a multiple of element size ({size})",
                len - offset
            )));
        }
        (len - offset) / size
    } else {
        if count.checked_mul(size).and_then(|b| b.checked_add(offset)).is_none_or(|end| end > len) {
            return Err(PyValueError::new_err(format!(
                "requested buffer length ({count} * {size} bytes) after offset ({offset} bytes) must not be greater than actual buffer length ({len} bytes)"
            )));
        }
        count
    };
    if a.read_only {
        let text = c"The given buffer is not writable, and PyTorch does not support non-writable tensors. This means you can write to the underlying (supposedly non-writable) buffer using the tensor. You may want to copy the buffer to protect its data or make it writable before converting it to a tensor. This type of warning will be suppressed for the rest of this program.";
        PyErr::warn(py, &py.get_type::<PyUserWarning>(), text, 1)?;
    }
    let ptr = (a.ptr + offset as usize) as *mut u8;
    let layout = Layout::contiguous(&[n as usize])?;
    let t = if (ptr as usize).is_multiple_of(dtype.0.size().min(8)) {
        // SAFETY: checked to lie inside the buffer, which the array keeps alive.
        let storage = unsafe { Storage::guest(ptr, (n * size) as usize, Box::new(view.unbind())) };
        Tensor::from_parts(storage, layout, dtype.0)
    } else {
        let t = Tensor::empty(&[n as usize], dtype.0, Device::Cpu)?;
        // SAFETY: as above; an unaligned buffer has to be copied.
        unsafe { std::ptr::copy_nonoverlapping(ptr, t.ptr_mut(), (n * size) as usize) };
        t
    };
    t.set_requires_grad(requires_grad)?;
    wrap(py, t)
}

/// `torch.Tensor(2, 3)`, `torch.Tensor([1, 2])`: sizes or data, in the default dtype.
pub fn legacy_tensor(args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Tensor> {
    let dtype = match kwargs.map(|k| k.get_item("dtype")).transpose()?.flatten() {
        Some(d) if !d.is_none() => d.cast::<PyDtype>()?.get().0,
        _ => default_dtype(),
    };
    let mut ints = Vec::new();
    for a in args.iter() {
        if let Ok(i) = a.extract::<i64>()
            && tensor_ref(&a).is_none()
        {
            ints.push(i);
        }
    }
    if args.is_empty() {
        return Ok(Tensor::empty(&[0], dtype, Device::Cpu)?);
    }
    if ints.len() == args.len() {
        return Ok(Tensor::zeros(&sizes(&ints)?, dtype, Device::Cpu)?);
    }
    if args.len() > 1 {
        return Err(PyTypeError::new_err("new() received an invalid combination of arguments"));
    }
    let data = args.get_item(0)?;
    if let Some(t) = tensor_ref(&data) {
        return if t.dtype() == dtype { Ok(t.detach()) } else { Ok(copy::to_dtype(&t.detach(), dtype)?) };
    }
    if data.get_type().name()? == "Size" {
        return Ok(Tensor::zeros(&sizes(&data.extract::<Vec<i64>>()?)?, dtype, Device::Cpu)?);
    }
    build(&data, Some(dtype))
}

/// A block of memory that tensors look into.
#[pyclass(name = "UntypedStorage", module = "torch.storage", frozen)]
struct PyStorage(StorageRef);

impl PyStorage {
    /// The bytes as a tensor.
    fn content(&self) -> crate::error::Result<Tensor> {
        Ok(Tensor::from_parts(self.0.clone(), Layout::contiguous(&[self.0.nbytes()])?, Dtype::U8))
    }
}

#[pymethods]
impl PyStorage {
    fn size(&self) -> usize {
        self.0.nbytes()
    }
    fn nbytes(&self) -> usize {
        self.0.nbytes()
    }
    fn data_ptr(&self) -> PyResult<usize> {
        guarded("data_ptr", || match self.0.device() {
            Device::Cpu => Ok(self.0.expose() as usize),
            Device::Gpu(_) => Ok(std::sync::Arc::as_ptr(self.0.buffer_mut()?) as usize),
            _ => Ok(0),
        })
    }
    /// The bytes on another device; the storage itself where they are there.
    fn to(&self, device: &Bound<'_, PyAny>) -> PyResult<PyStorage> {
        let device = device_from(device)?.check_usable()?;
        guarded("to", || Ok(PyStorage(copy::to_device(&self.content()?, device)?.storage().clone())))
    }
    fn cpu(&self) -> PyResult<PyStorage> {
        guarded("cpu", || Ok(PyStorage(copy::to_device(&self.content()?, Device::Cpu)?.storage().clone())))
    }
    fn clone(&self) -> PyResult<PyStorage> {
        guarded("clone", || Ok(PyStorage(copy::clone_dense(&self.content()?)?.storage().clone())))
    }
    /// Writes the bytes of another storage, of as many, over these.
    fn copy_(&self, source: PyRef<'_, PyStorage>) -> PyResult<()> {
        guarded("copy_", || {
            copy::copy_raw(&self.content()?, &source.content()?)?;
            self.0.bump_version();
            Ok(())
        })
    }
    fn __len__(&self) -> usize {
        self.0.nbytes()
    }
    #[getter]
    fn device(&self) -> super::types::PyDevice {
        super::types::PyDevice(self.0.device())
    }
    fn __bytes__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        if let Device::Gpu(_) = self.0.device() {
            return self.cpu()?.__bytes__(py);
        }
        if self.0.device() != Device::Cpu {
            return Err(PyRuntimeError::new_err("a storage without memory has no bytes"));
        }
        // SAFETY: the storage holds that many bytes; they are copied at once.
        let bytes = unsafe { std::slice::from_raw_parts(self.0.ptr(), self.0.nbytes()) };
        Ok(PyBytes::new(py, bytes))
    }
    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        if self.0.device() != Device::Cpu {
            let why = format!("can't convert a storage on {} to numpy", self.0.device());
            return Err(pyo3::exceptions::PyAttributeError::new_err(why));
        }
        let d = PyDict::new(py);
        d.set_item("shape", (self.0.nbytes(),))?;
        d.set_item("typestr", "|u1")?;
        d.set_item("data", (self.0.expose() as usize, false))?;
        d.set_item("version", 3)?;
        Ok(d)
    }
}

#[pyfunction]
fn _storage_of(x: &Bound<'_, PyTensor>) -> PyStorage {
    PyStorage(x.get().tensor().storage().clone())
}

/// A storage with a copy of the bytes.
#[pyfunction]
fn _storage_from_buffer(data: &[u8]) -> PyResult<PyStorage> {
    let s = Storage::empty(data.len(), Device::Cpu)?;
    // SAFETY: fresh memory of that size.
    unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), s.ptr_mut(), data.len()) };
    Ok(PyStorage(s))
}

/// A tensor over a storage; the layout must lie inside it. `storage_offset` counts elements.
#[pyfunction]
fn _tensor_from_storage(
    py: Python<'_>,
    storage: PyRef<'_, PyStorage>,
    storage_offset: usize,
    size: Vec<usize>,
    stride: Vec<isize>,
    dtype: PyRef<'_, PyDtype>,
) -> PyResult<Py<PyTensor>> {
    let layout = Layout::strided(&size, &stride, storage_offset)?;
    let need = layout.required()?.checked_mul(dtype.0.size());
    let host = storage.0.device() == Device::Cpu;
    if need.is_none_or(|n| n > storage.0.nbytes()) || host && !(storage.0.ptr() as usize).is_multiple_of(dtype.0.size().min(8)) {
        return Err(err!(
            Runtime,
            "setStorage: sizes {}, strides {}, storage offset {storage_offset}, and itemsize {} are out of bounds for storage of size {}",
            crate::layout::show(&size),
            crate::layout::show(&stride),
            dtype.0.size(),
            storage.0.nbytes()
        )
        .into());
    }
    wrap(py, Tensor::from_parts(storage.0.clone(), layout, dtype.0))
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyStorage>()?;
    for f in [
        wrap_pyfunction!(_to_numpy, m)?,
        wrap_pyfunction!(from_numpy, m)?,
        wrap_pyfunction!(tensor, m)?,
        wrap_pyfunction!(as_tensor, m)?,
        wrap_pyfunction!(frombuffer, m)?,
        wrap_pyfunction!(_storage_of, m)?,
        wrap_pyfunction!(_storage_from_buffer, m)?,
        wrap_pyfunction!(_tensor_from_storage, m)?,
    ] {
        m.add_function(f)?;
    }
    Ok(())
}
