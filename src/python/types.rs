//! Small value types: dtype, device, memory format, generator; and the Python classes the core needs.

use crate::device::{self, Device};
use crate::dtype::{self, Dtype};
use crate::ops::autocast;
use crate::ops::random::default_generator;
use crate::ops::{MemoryFormat, SharedGenerator, registry};
use crate::random::Generator;
use parking_lot::Mutex;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;
use std::sync::Arc;

/// `torch.float32` and its kin; one object for each.
#[pyclass(name = "dtype", module = "torch", frozen, eq, hash, skip_from_py_object)]
#[derive(PartialEq, Eq, Hash, Clone, Copy)]
pub struct PyDtype(pub Dtype);

#[pymethods]
impl PyDtype {
    fn __repr__(&self) -> String {
        format!("torch.{}", self.0.name())
    }
    fn __reduce__(&self) -> String {
        self.0.name().to_string()
    }
    #[getter]
    fn is_floating_point(&self) -> bool {
        self.0.is_float()
    }
    #[getter]
    fn is_complex(&self) -> bool {
        self.0.is_complex()
    }
    #[getter]
    fn is_signed(&self) -> bool {
        !matches!(self.0, Dtype::U8 | Dtype::Bool)
    }
    /// Bytes of one element.
    #[getter]
    fn itemsize(&self) -> usize {
        self.0.size()
    }
    fn to_real(&self, py: Python<'_>) -> Py<PyDtype> {
        dtype_object(py, self.0.to_real())
    }
    fn to_complex(&self, py: Python<'_>) -> Py<PyDtype> {
        dtype_object(py, self.0.to_complex())
    }
    /// The name PyTorch's messages and type strings use, `Float`.
    #[getter]
    fn _scalar_name(&self) -> &'static str {
        self.0.scalar_name()
    }
}

/// The one object of a dtype.
pub fn dtype_object(py: Python<'_>, d: Dtype) -> Py<PyDtype> {
    static ALL: PyOnceLock<Vec<Py<PyDtype>>> = PyOnceLock::new();
    let all = ALL.get_or_init(py, || Dtype::ALL.iter().map(|&d| Py::new(py, PyDtype(d)).expect("a small object")).collect());
    all[d as usize].clone_ref(py)
}

/// `torch.device`
#[pyclass(name = "device", module = "torch", frozen, eq, hash, skip_from_py_object)]
#[derive(PartialEq, Eq, Hash, Clone, Copy)]
pub struct PyDevice(pub Device);

/// A device from what users write: a string, a device, an index.
pub fn device_from(obj: &Bound<'_, PyAny>) -> PyResult<Device> {
    if let Ok(d) = obj.cast::<PyDevice>() {
        return Ok(d.get().0);
    }
    if let Ok(s) = obj.extract::<String>() {
        return Ok(Device::parse(&s)?);
    }
    if let Ok(i) = obj.extract::<i64>() {
        let found = obj.py().detach(crate::gpu::count);
        if found > 0 {
            return match u16::try_from(i) {
                Ok(i) => Ok(Device::Gpu(i)),
                Err(_) => Err(PyRuntimeError::new_err("Device index must not be negative")),
            };
        }
        return Err(PyRuntimeError::new_err("Cannot access accelerator device when none is available."));
    }
    Err(PyTypeError::new_err(format!("device(): argument 'type' must be str, not {}", obj.get_type().name()?)))
}

#[pymethods]
impl PyDevice {
    #[new]
    #[pyo3(signature = (r#type, index=None))]
    fn new(r#type: &Bound<'_, PyAny>, index: Option<u16>) -> PyResult<PyDevice> {
        let d = device_from(r#type)?;
        Ok(PyDevice(match index {
            None => d,
            Some(i) => Device::parse(&format!("{}:{i}", d.kind()))?,
        }))
    }
    #[getter]
    fn r#type(&self) -> &'static str {
        self.0.kind()
    }
    #[getter]
    fn index(&self) -> Option<u16> {
        self.0.index()
    }
    fn __str__(&self) -> String {
        self.0.to_string()
    }
    fn __repr__(&self) -> String {
        match self.0.index() {
            Some(i) => format!("device(type='{}', index={i})", self.0.kind()),
            None => format!("device(type='{}')", self.0.kind()),
        }
    }
    fn __reduce__(slf: PyRef<'_, Self>, py: Python<'_>) -> PyResult<(Py<PyAny>, (String,))> {
        Ok((py.get_type::<PyDevice>().into_any().unbind(), (slf.0.to_string(),)))
    }
    fn __enter__(slf: PyRef<'_, Self>) -> PyResult<PyRef<'_, Self>> {
        slf.0.check_usable()?;
        device::push_default_device(slf.0);
        Ok(slf)
    }
    #[pyo3(signature = (*_args))]
    fn __exit__(&self, _args: &Bound<'_, PyTuple>) {
        device::pop_default_device();
    }
}

/// `torch.contiguous_format` and its kin.
#[pyclass(name = "memory_format", module = "torch", frozen, eq, hash, skip_from_py_object)]
#[derive(PartialEq, Eq, Hash, Clone, Copy)]
pub struct PyMemoryFormat(pub u8);

pub const FORMATS: [(MemoryFormat, &str); 4] = [
    (MemoryFormat::Contiguous, "contiguous_format"),
    (MemoryFormat::Preserve, "preserve_format"),
    (MemoryFormat::ChannelsLast, "channels_last"),
    (MemoryFormat::ChannelsLast3d, "channels_last_3d"),
];

#[pymethods]
impl PyMemoryFormat {
    fn __repr__(&self) -> String {
        format!("torch.{}", FORMATS[self.0 as usize].1)
    }
}

/// A source of random numbers with PyTorch's CPU stream.
#[pyclass(name = "Generator", module = "torch._C", frozen, subclass)]
pub struct PyGenerator(pub SharedGenerator);

#[pymethods]
impl PyGenerator {
    #[new]
    #[pyo3(signature = (device=None))]
    fn new(device: Option<&Bound<'_, PyAny>>) -> PyResult<PyGenerator> {
        // torch's own default seed
        const SEED: u64 = 67280421310721;
        let g = match device.map(device_from).transpose()? {
            Some(Device::Gpu(index)) => Generator::for_gpu(index, SEED),
            Some(d) => d.check_usable().map(|_| Generator::new(SEED))?,
            None => Generator::new(SEED),
        };
        Ok(PyGenerator(Arc::new(Mutex::new(g))))
    }
    /// Starts the stream anew from a seed; answers the generator.
    fn manual_seed<'py>(slf: PyRef<'py, Self>, seed: &Bound<'py, PyAny>) -> PyResult<PyRef<'py, Self>> {
        slf.0.lock().manual_seed(seed_from(seed)?);
        Ok(slf)
    }
    fn seed(&self) -> u64 {
        self.0.lock().seed_from_os()
    }
    fn initial_seed(&self) -> u64 {
        self.0.lock().initial_seed()
    }
    #[getter]
    fn device(&self) -> PyDevice {
        PyDevice(self.0.lock().gpu().map_or(Device::Cpu, Device::Gpu))
    }
    /// The state as bytes (5056 of them; 16 for a GPU's).
    fn _state(&self) -> Vec<u8> {
        self.0.lock().get_state()
    }
    fn _set_state(&self, bytes: &[u8]) -> PyResult<()> {
        self.0.lock().set_state(bytes).map_err(|e| PyRuntimeError::new_err(e.to_string()))
    }
    fn __repr__(slf: PyRef<'_, Self>) -> String {
        format!("<torch._C.Generator object at {:#x}>", slf.as_ptr() as usize)
    }
}

/// A seed as torch takes it: any integer (negatives wrap), a float is cut.
pub fn seed_from(seed: &Bound<'_, PyAny>) -> PyResult<u64> {
    if let Ok(v) = seed.extract::<i64>() {
        return Ok(v as u64);
    }
    if let Ok(v) = seed.extract::<u64>() {
        return Ok(v);
    }
    if let Ok(v) = seed.extract::<f64>() {
        return Ok(v as i64 as u64);
    }
    if let Ok(v) = seed.call_method0("__int__").and_then(|v| v.extract::<i64>()) {
        return Ok(v as u64);
    }
    Err(PyRuntimeError::new_err("Overflow when unpacking long long"))
}

/// Classes written in Python that the core makes instances of; set once by the package.
pub struct Classes {
    pub size: Py<PyAny>,
    pub return_types: Py<PyAny>,
}

pub static CLASSES: PyOnceLock<Classes> = PyOnceLock::new();

/// Tells the core the classes `Size` and the namespace `return_types`.
#[pyfunction]
fn _set_classes(py: Python<'_>, size: Py<PyAny>, return_types: Py<PyAny>) {
    let _ = CLASSES.set(py, Classes { size, return_types });
}

/// The ops with named results: name -> fields.
#[pyfunction]
fn _named_results() -> std::collections::HashMap<&'static str, Vec<&'static str>> {
    registry().ops.iter().filter(|o| !o.schema.returns.is_empty()).map(|o| (o.schema.name, o.schema.returns.clone())).collect()
}

/// A `torch.Size`.
pub fn size_object<'py>(py: Python<'py>, shape: &[usize]) -> PyResult<Bound<'py, PyAny>> {
    let tuple = PyTuple::new(py, shape)?;
    match CLASSES.get(py) {
        Some(c) => c.size.bind(py).call1((tuple,)),
        None => Ok(tuple.into_any()),
    }
}

#[pyfunction]
fn get_default_dtype(py: Python<'_>) -> Py<PyDtype> {
    dtype_object(py, dtype::default_dtype())
}

#[pyfunction]
fn set_default_dtype(d: &Bound<'_, PyDtype>) -> PyResult<()> {
    if !d.get().0.is_float() {
        return Err(PyTypeError::new_err(format!(
            "only floating-point types are supported as the default type, got torch.{}",
            d.get().0.name()
        )));
    }
    dtype::set_default_dtype(d.get().0);
    Ok(())
}

#[pyfunction]
fn set_default_device(device: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    let d = device.map(device_from).transpose()?.unwrap_or(Device::Cpu).check_usable()?;
    device::set_default_device(d);
    Ok(())
}

#[pyfunction]
fn get_default_device() -> PyDevice {
    PyDevice(device::default_device())
}

/// Seeds the default generator.
#[pyfunction]
fn _manual_seed(seed: &Bound<'_, PyAny>) -> PyResult<()> {
    default_generator().lock().manual_seed(seed_from(seed)?);
    Ok(())
}

#[pyfunction]
fn set_num_threads(n: i64) -> PyResult<()> {
    if n <= 0 {
        return Err(PyRuntimeError::new_err("set_num_threads expects a positive integer"));
    }
    crate::cpu::threads::set_num_threads(n as usize);
    Ok(())
}

#[pyfunction]
fn get_num_threads() -> usize {
    crate::cpu::threads::num_threads()
}

/// Turns autocast on or off for this thread; answers what it was. Devices other than the CPU have none.
#[pyfunction]
fn _set_autocast(py: Python<'_>, device: &str, on: bool, dtype: PyRef<'_, PyDtype>) -> (bool, Py<PyDtype>) {
    let before = if device == "cpu" { autocast::set(on, dtype.0) } else { (false, dtype.0) };
    (before.0, dtype_object(py, before.1))
}

#[pyfunction]
fn _autocast_state(py: Python<'_>, device: &str) -> (bool, Py<PyDtype>) {
    let now = autocast::state();
    (device == "cpu" && now.0, dtype_object(py, now.1))
}

#[pyfunction]
fn promote_types(py: Python<'_>, a: PyRef<'_, PyDtype>, b: PyRef<'_, PyDtype>) -> Py<PyDtype> {
    dtype_object(py, a.0.promote(b.0))
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = m.py();
    m.add_class::<PyDtype>()?;
    m.add_class::<PyDevice>()?;
    m.add_class::<PyMemoryFormat>()?;
    m.add_class::<PyGenerator>()?;
    for d in Dtype::ALL {
        m.add(d.name(), dtype_object(py, d))?;
    }
    for (name, d) in [
        ("float", Dtype::F32),
        ("double", Dtype::F64),
        ("half", Dtype::F16),
        ("long", Dtype::I64),
        ("int", Dtype::I32),
        ("short", Dtype::I16),
        ("cfloat", Dtype::C64),
        ("cdouble", Dtype::C128),
    ] {
        m.add(name, dtype_object(py, d))?;
    }
    for (i, (_, name)) in FORMATS.iter().enumerate() {
        m.add(*name, Py::new(py, PyMemoryFormat(i as u8))?)?;
    }
    m.add("default_generator", Py::new(py, PyGenerator(default_generator().clone()))?)?;
    for f in [
        wrap_pyfunction!(_set_classes, m)?,
        wrap_pyfunction!(_named_results, m)?,
        wrap_pyfunction!(get_default_dtype, m)?,
        wrap_pyfunction!(set_default_dtype, m)?,
        wrap_pyfunction!(set_default_device, m)?,
        wrap_pyfunction!(get_default_device, m)?,
        wrap_pyfunction!(_manual_seed, m)?,
        wrap_pyfunction!(set_num_threads, m)?,
        wrap_pyfunction!(get_num_threads, m)?,
        wrap_pyfunction!(promote_types, m)?,
        wrap_pyfunction!(_set_autocast, m)?,
        wrap_pyfunction!(_autocast_state, m)?,
    ] {
        m.add_function(f)?;
    }
    Ok(())
}
