//! The Python class `Tensor`: attributes, numbers, operators. Everything with a name of its own among the
//! ops comes from the registry; printing and the rarer methods are written in Python.

use super::call::guarded;
use super::convert::{scalar_from, scalar_object};
use super::types::{PyDevice, dtype_object, size_object};
use crate::device::Device;
use crate::dtype::Scalar;
use crate::error::Result as CoreResult;
use crate::expr::Operand;
use crate::ops::{elementwise as ew, inplace};
use crate::tensor::Tensor;
use pyo3::PyTypeInfo;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple, PyType};
use std::cell::UnsafeCell;
use std::sync::Arc;

/// What a Python object refers to and may stop referring to. The interpreter's lock keeps threads apart: everything in this
/// module runs attached to the interpreter, so another lock would only cost time, twice in every call.
struct Held<T>(UnsafeCell<T>);

// SAFETY: `get` and `set` are called under the interpreter's lock and let nobody keep a reference.
unsafe impl<T: Send> Sync for Held<T> {}

impl<T: Clone> Held<T> {
    fn get(&self) -> T {
        // SAFETY: nothing else has the lock, and cloning a handle does not give it away.
        unsafe { (*self.0.get()).clone() }
    }
    /// What `f` sees in it. `f` must not run Python code, which may replace what it looks at.
    fn look<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        // SAFETY: as above; nothing replaces the value while `f` runs.
        f(unsafe { &*self.0.get() })
    }
    fn set(&self, value: T) {
        // SAFETY: as above; what was there is dropped after the cell is whole again, since that may run Python code.
        let old = unsafe { std::mem::replace(&mut *self.0.get(), value) };
        drop(old);
    }
}

/// A tensor as Python sees it. What it refers to can be replaced (`x.data = y`, `x.t_()`).
#[pyclass(name = "Tensor", subclass, dict, weakref, frozen)]
pub struct PyTensor {
    /// Always there, but for an instant while [`wrap`] makes the object.
    t: Held<Option<Tensor>>,
    /// The object last given out for the gradient, so that `x.grad is x.grad`.
    grad: Held<Option<Arc<Py<PyTensor>>>>,
}

impl PyTensor {
    pub fn new(t: Tensor) -> PyTensor {
        PyTensor { t: Held(Some(t).into()), grad: Held(None.into()) }
    }
    /// The tensor it stands for now.
    #[inline]
    pub fn tensor(&self) -> Tensor {
        self.look(Tensor::clone)
    }
    /// [`Held::look`] at the tensor.
    #[inline]
    fn look<R>(&self, f: impl FnOnce(&Tensor) -> R) -> R {
        self.t.look(|t| f(t.as_ref().expect("an object has its tensor from the start")))
    }
    /// The object for the gradient: the same one as long as it is the same tensor.
    fn grad_object(&self, py: Python<'_>) -> PyResult<Option<Py<PyTensor>>> {
        let Some(g) = self.tensor().grad() else {
            self.grad.set(None);
            return Ok(None);
        };
        if let Some(o) = self.grad.get()
            && Arc::ptr_eq(&o.get().tensor().0, &g.0)
        {
            return Ok(Some(o.clone_ref(py)));
        }
        let o = wrap(py, g)?;
        self.grad.set(Some(Arc::new(o.clone_ref(py))));
        Ok(Some(o))
    }
    /// Stands for another tensor from now on, with the old one's identity: gradient, hooks, history.
    pub fn replace(&self, with: Tensor) {
        let old = self.tensor();
        let same = old.0.meta.get().is_some_and(|a| with.0.meta.get().is_some_and(|b| std::ptr::eq(a, b)));
        let new =
            if same { with } else { inplace::with_identity(&old, with.storage().clone(), with.layout().clone(), with.dtype()) };
        self.t.set(Some(new));
    }
}

/// The tensor an object stands for, if it is one.
#[inline]
pub fn tensor_ref(o: &Bound<'_, PyAny>) -> Option<Tensor> {
    o.cast::<PyTensor>().ok().map(|t| t.get().tensor())
}

/// A new Python object for a tensor.
///
/// `Py::new` would call `object.__new__`, which on Python 3.11 and 3.12 makes a dictionary for each instance, known to the
/// garbage collector. Without that call attributes still get theirs when one is set.
pub fn wrap(py: Python<'_>, t: Tensor) -> PyResult<Py<PyTensor>> {
    let class = PyTensor::type_object_raw(py);
    // SAFETY: the class's own allocation gives an object of its size that is zero beyond the header, as `object.__new__`
    // does. Zero bytes are a valid `PyTensor` (`zero_is_none` below), without attributes and weak references.
    unsafe {
        let object = Bound::from_owned_ptr_or_err(py, ffi::PyType_GenericAlloc(class, 0))?.cast_into_unchecked::<PyTensor>();
        object.get().t.set(Some(t));
        Ok(object.unbind())
    }
}

/// What [`wrap`] relies on, decided when this is compiled.
const _: () = {
    const fn zero_is_none<T>() {
        // SAFETY: any bytes are a valid array of bytes.
        let bytes = unsafe { std::mem::transmute_copy::<Option<Arc<T>>, [u8; size_of::<usize>()]>(&None) };
        let mut k = 0;
        while k < bytes.len() {
            assert!(bytes[k] == 0);
            k += 1;
        }
    }
    assert!(size_of::<PyTensor>() == 2 * size_of::<usize>());
    zero_is_none::<crate::tensor::Impl>();
    zero_is_none::<Py<PyTensor>>();
};

/// What the right side of an operator is; `None` makes Python try the other side.
fn operand(o: &Bound<'_, PyAny>) -> PyResult<Option<Operand>> {
    if let Some(t) = tensor_ref(o) {
        return Ok(Some(Operand::T(t)));
    }
    Ok(scalar_from(o)?.map(Operand::S))
}

type Binary = fn(Operand, Operand) -> CoreResult<Tensor>;

fn binary<'py>(slf: &Bound<'py, PyTensor>, other: &Bound<'py, PyAny>, f: Binary) -> PyResult<Bound<'py, PyAny>> {
    let py = slf.py();
    let Some(o) = operand(other)? else { return Ok(py.NotImplemented().into_bound(py)) };
    let x = slf.get().tensor();
    let big = x.numel() >= 1 << 15;
    let a = Operand::T(x);
    let r = guarded("operator", || Ok(if big { py.detach(|| f(a, o))? } else { f(a, o)? }))?;
    Ok(wrap(py, r)?.into_bound(py).into_any())
}

/// The right side of `x += y`. What it cannot be makes the binding answer NotImplemented, so that Python tries `x + y`
/// and then raises.
struct Addend<'py>(Bound<'py, PyAny>);

impl<'a, 'py> FromPyObject<'a, 'py> for Addend<'py> {
    type Error = PyErr;
    fn extract(o: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        match operand(&o)? {
            Some(_) => Ok(Addend(o.to_owned())),
            None => Err(PyTypeError::new_err("not an operand")),
        }
    }
}

fn in_place(slf: &Bound<'_, PyTensor>, other: &Addend<'_>, name: &str) -> PyResult<()> {
    slf.as_any().call_method1(name, (&other.0,)).map(drop)
}

fn call_or_pass<'py>(slf: &Bound<'py, PyTensor>, name: &str, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = slf.py();
    if operand(other)?.is_none() {
        return Ok(py.NotImplemented().into_bound(py));
    }
    slf.as_any().call_method1(name, (other,))
}

fn item_number(t: &Tensor) -> PyResult<Scalar> {
    Ok(t.item()?)
}

#[pymethods]
impl PyTensor {
    /// The legacy constructor: sizes, or data, always in the default dtype.
    #[new]
    #[pyo3(signature = (*args, **kwargs))]
    fn new_legacy(args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, pyo3::types::PyDict>>) -> PyResult<PyTensor> {
        super::interop::legacy_tensor(args, kwargs).map(PyTensor::new)
    }

    /// Makes an instance of a subclass that stands for the same memory as `data`.
    #[staticmethod]
    #[pyo3(signature = (cls, data, require_grad=false))]
    fn _make_subclass<'py>(
        cls: &Bound<'py, PyType>,
        data: &Bound<'py, PyTensor>,
        require_grad: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = cls.py();
        let t = data.get().tensor().detach();
        t.set_requires_grad(require_grad)?;
        let base = py.get_type::<PyTensor>();
        let o = base.getattr("__new__")?.call1((cls,))?;
        o.cast::<PyTensor>()?.get().t.set(Some(t));
        Ok(o)
    }

    // ---- what it is ----

    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        size_object(py, &self.look(Tensor::dims))
    }
    #[pyo3(signature = (dim=None))]
    fn size<'py>(&self, py: Python<'py>, dim: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        let t = self.tensor();
        match dim.filter(|d| !d.is_none()) {
            None => size_object(py, t.shape()),
            Some(d) => {
                let d = super::parse::int_from(d)?.ok_or_else(|| PyTypeError::new_err("size(): argument 'dim' must be int"))?;
                if t.ndim() == 0 {
                    return Err(pyo3::exceptions::PyIndexError::new_err(format!(
                        "Dimension specified as {d} but tensor has no dimensions"
                    )));
                }
                let d = crate::layout::wrap_dim(d, t.ndim())?;
                Ok(t.shape()[d].into_pyobject(py)?.into_any())
            }
        }
    }
    #[pyo3(signature = (dim=None))]
    fn stride<'py>(&self, py: Python<'py>, dim: Option<i64>) -> PyResult<Bound<'py, PyAny>> {
        let t = self.tensor();
        Ok(match dim {
            None => PyTuple::new(py, t.strides())?.into_any(),
            Some(d) => t.strides()[crate::layout::wrap_dim(d, t.ndim())?].into_pyobject(py)?.into_any(),
        })
    }
    #[getter]
    fn dtype(&self, py: Python<'_>) -> Py<super::types::PyDtype> {
        dtype_object(py, self.look(Tensor::dtype))
    }
    #[getter]
    fn device(&self) -> PyDevice {
        PyDevice(self.look(Tensor::device))
    }
    #[getter]
    fn ndim(&self) -> usize {
        self.look(Tensor::ndim)
    }
    fn dim(&self) -> usize {
        self.look(Tensor::ndim)
    }
    fn ndimension(&self) -> usize {
        self.look(Tensor::ndim)
    }
    fn numel(&self) -> usize {
        self.look(Tensor::numel)
    }
    fn nelement(&self) -> usize {
        self.look(Tensor::numel)
    }
    #[getter]
    fn itemsize(&self) -> usize {
        self.look(|t| t.dtype().size())
    }
    fn element_size(&self) -> usize {
        self.look(|t| t.dtype().size())
    }
    #[getter]
    fn nbytes(&self) -> usize {
        let t = self.tensor();
        t.numel() * t.dtype().size()
    }
    fn storage_offset(&self) -> usize {
        self.look(|t| t.layout().offset)
    }
    /// The address of the first element (0 for a tensor without elements); on a GPU a number that tells blocks of memory apart.
    fn data_ptr(&self) -> PyResult<usize> {
        let t = self.tensor();
        match t.device() {
            _ if t.numel() == 0 => Ok(0),
            Device::Cpu => guarded("data_ptr", || Ok(t.exposed() as usize)),
            Device::Gpu(_) => {
                let block = guarded("data_ptr", || Ok(Arc::as_ptr(t.storage().buffer_mut()?) as usize))?;
                Ok(block + t.layout().offset * t.dtype().size())
            }
            _ => Ok(0),
        }
    }
    #[pyo3(signature = (memory_format=None))]
    fn is_contiguous(&self, memory_format: Option<&Bound<'_, super::types::PyMemoryFormat>>) -> PyResult<bool> {
        let t = self.tensor();
        match memory_format.map(|f| super::types::FORMATS[f.get().0 as usize].0) {
            None | Some(crate::ops::MemoryFormat::Contiguous | crate::ops::MemoryFormat::Preserve) => Ok(t.is_contiguous()),
            Some(f) => Ok(crate::ops::copy::format_strides(t.shape(), f).is_ok_and(|s| t.strides() == s)),
        }
    }
    fn is_floating_point(&self) -> bool {
        self.look(|t| t.dtype().is_float())
    }
    fn is_complex(&self) -> bool {
        self.look(|t| t.dtype().is_complex())
    }
    fn is_signed(&self) -> bool {
        !matches!(self.look(Tensor::dtype), crate::dtype::Dtype::U8 | crate::dtype::Dtype::Bool)
    }
    fn is_inference(&self) -> bool {
        self.look(Tensor::is_inference)
    }
    #[getter]
    fn is_meta(&self) -> bool {
        self.look(Tensor::device) == Device::Meta
    }
    #[getter]
    fn _base(&self, py: Python<'_>) -> PyResult<Option<Py<PyTensor>>> {
        self.tensor().0.view_of.clone().map(|b| wrap(py, b)).transpose()
    }
    fn _is_view(&self) -> bool {
        self.tensor().0.view_of.is_some()
    }
    #[getter]
    fn _version(&self) -> u32 {
        self.look(|t| t.storage().version())
    }
    fn _type_name(&self) -> String {
        self.tensor().type_name()
    }
    fn _shares_storage(&self, other: &Bound<'_, PyTensor>) -> bool {
        self.tensor().same_storage(&other.get().tensor())
    }

    // ---- autograd attributes ----

    #[getter]
    fn requires_grad(&self) -> bool {
        self.look(Tensor::requires_grad)
    }
    #[setter]
    fn set_requires_grad(&self, on: bool) -> PyResult<()> {
        Ok(self.tensor().set_requires_grad(on)?)
    }
    #[pyo3(signature = (requires_grad=true))]
    fn requires_grad_<'py>(slf: Bound<'py, Self>, requires_grad: bool) -> PyResult<Bound<'py, Self>> {
        let t = slf.get().tensor();
        if requires_grad && !t.dtype().is_float() && !t.dtype().is_complex() {
            return Err(PyRuntimeError::new_err("only Tensors of floating point dtype can require gradients"));
        }
        t.set_requires_grad(requires_grad)?;
        Ok(slf)
    }
    #[getter]
    fn is_leaf(&self) -> bool {
        self.tensor().is_leaf()
    }
    #[getter]
    fn grad(&self, py: Python<'_>) -> PyResult<Option<Py<PyTensor>>> {
        let t = self.tensor();
        let g = self.grad_object(py)?;
        if g.is_none() && t.requires_grad() && !t.is_leaf() && !t.retains_grad() {
            let text = c"The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute won't be populated during autograd.backward(). If you indeed want the .grad field to be populated for a non-leaf Tensor, use .retain_grad() on the non-leaf Tensor. If you access the non-leaf Tensor by mistake, make sure you access the leaf Tensor instead. See github.com/pytorch/pytorch/pull/30531 for more informations.";
            PyErr::warn(py, &py.get_type::<pyo3::exceptions::PyUserWarning>(), text, 1)?;
        }
        Ok(g)
    }
    #[setter]
    fn set_grad(&self, g: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let t = self.tensor();
        let Some(g) = g.filter(|g| !g.is_none()) else {
            t.set_grad(None);
            self.grad.set(None);
            return Ok(());
        };
        let object = g;
        let Some(g) = tensor_ref(g) else {
            return Err(PyTypeError::new_err(format!(
                "assigned grad expected to be a Tensor or None but got grad of type {}",
                g.get_type().name()?
            )));
        };
        if g.dtype() != t.dtype() {
            return Err(PyRuntimeError::new_err(format!(
                "attempting to assign a gradient with dtype '{}' to a tensor with grad_dtype '{}'. The gradient must match the tensor's grad_dtype (defaults to the tensor's dtype).",
                g.dtype().scalar_name().to_lowercase(),
                t.dtype().scalar_name().to_lowercase()
            )));
        }
        if g.shape() != t.shape() {
            return Err(PyRuntimeError::new_err(format!(
                "attempting to assign a gradient of size '{}' to a tensor of size '{}'. Please ensure that the gradient and the tensor are the same size",
                crate::layout::show(g.shape()),
                crate::layout::show(t.shape())
            )));
        }
        t.set_grad(Some(g));
        if object.get_type().is(object.py().get_type::<PyTensor>()) {
            self.grad.set(Some(Arc::new(object.cast::<PyTensor>()?.clone().unbind())));
        }
        Ok(())
    }
    #[deleter]
    fn delete_grad(&self) {
        self.tensor().set_grad(None);
    }
    #[getter]
    fn get_data(&self, py: Python<'_>) -> PyResult<Py<PyTensor>> {
        wrap(py, self.tensor().uncounted())
    }
    #[setter]
    fn set_data(&self, data: &Bound<'_, PyTensor>) -> PyResult<()> {
        self.replace(data.get().tensor().detach());
        Ok(())
    }
    fn detach(&self, py: Python<'_>) -> PyResult<Py<PyTensor>> {
        wrap(py, self.tensor().detach())
    }
    fn detach_<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, Self>> {
        let t = slf.get().tensor();
        if t.0.view_of.is_some() && t.requires_grad() {
            return Err(PyRuntimeError::new_err(
                "Can't detach views in-place. Use detach() instead. If you are using DistributedDataParallel (DDP) for training, and gradient_as_bucket_view is set as True, gradients are views of DDP buckets, and hence detach_() cannot be called on these gradients. To fix this error, please refer to the Optimizer.zero_grad() function in torch/optim/optimizer.py as a solution.",
            ));
        }
        t.clear_history();
        Ok(slf)
    }

    // ---- values ----

    fn item<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        // A number that lies in memory is read where it is.
        let here = |t: &Tensor| (t.numel() == 1 && t.device() == Device::Cpu && !t.storage().is_pending()).then(|| t.at(0));
        let number = match self.look(here) {
            Some(v) => v,
            None => self.tensor().item()?,
        };
        Ok(scalar_object(py, number))
    }
    fn tolist<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let t = guarded("tolist", || Ok(crate::ops::copy::to_host(&self.tensor())?))?;
        t.check_data("tolist")?;
        guarded("tolist", || Ok(t.ptr()))?;
        fn level<'py>(py: Python<'py>, t: &Tensor, dim: usize, at: usize) -> PyResult<Bound<'py, PyAny>> {
            if dim == t.ndim() {
                return Ok(scalar_object(py, t.at(at)));
            }
            let n = t.shape()[dim];
            let items: Vec<_> = (0..n).map(|i| level(py, t, dim + 1, at * n + i)).collect::<PyResult<_>>()?;
            Ok(PyList::new(py, items)?.into_any())
        }
        level(py, &t, 0, 0)
    }
    fn __bool__(&self) -> PyResult<bool> {
        let t = self.tensor();
        match t.numel() {
            0 => Err(PyRuntimeError::new_err("Boolean value of Tensor with no values is ambiguous")),
            1 => Ok(match item_number(&t)? {
                Scalar::Complex(r, i) => r != 0.0 || i != 0.0,
                s => s.f64() != 0.0,
            }),
            _ => Err(PyRuntimeError::new_err("Boolean value of Tensor with more than one value is ambiguous")),
        }
    }
    fn __float__(&self) -> PyResult<f64> {
        let t = self.tensor();
        if t.numel() != 1 {
            return Err(pyo3::exceptions::PyValueError::new_err("only one element tensors can be converted to Python scalars"));
        }
        Ok(item_number(&t)?.f64())
    }
    fn __int__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let s = item_number(&self.tensor())?;
        scalar_object(py, s).call_method0("__int__")
    }
    fn __complex__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let s = item_number(&self.tensor())?;
        py.import("builtins")?.getattr("complex")?.call1((scalar_object(py, s),))
    }
    fn __index__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let t = self.tensor();
        if t.numel() != 1 || !t.dtype().is_integral() {
            return Err(PyTypeError::new_err("only integer tensors of a single element can be converted to an index"));
        }
        Ok(scalar_object(py, Scalar::Int(t.item()?.i64())))
    }
    fn __len__(&self) -> PyResult<usize> {
        let t = self.tensor();
        if t.ndim() == 0 { Err(PyTypeError::new_err("len() of a 0-d tensor")) } else { Ok(t.shape()[0]) }
    }
    fn __hash__(slf: &Bound<'_, Self>) -> isize {
        // By identity, as torch's.
        (slf.as_ptr() as usize >> 4) as isize
    }
    fn __getitem__<'py>(slf: &Bound<'py, Self>, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        super::index::getitem(slf, index)
    }
    fn __setitem__<'py>(slf: &Bound<'py, Self>, index: &Bound<'py, PyAny>, value: &Bound<'py, PyAny>) -> PyResult<()> {
        super::index::setitem(slf, index, value)
    }
    fn __iter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        super::index::iter(slf)
    }
    fn __contains__(slf: &Bound<'_, Self>, element: &Bound<'_, PyAny>) -> PyResult<bool> {
        super::index::contains(slf, element)
    }

    // ---- operators ----

    fn __add__<'py>(slf: &Bound<'py, Self>, o: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary(slf, o, |a, b| ew::ADD.call(&[a, b], &[], None))
    }
    fn __radd__<'py>(slf: &Bound<'py, Self>, o: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary(slf, o, |a, b| ew::ADD.call(&[a, b], &[], None))
    }
    fn __sub__<'py>(slf: &Bound<'py, Self>, o: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary(slf, o, |a, b| ew::SUB.call(&[a, b], &[], None))
    }
    fn __rsub__<'py>(slf: &Bound<'py, Self>, o: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary(slf, o, |a, b| ew::RSUB.call(&[a, b], &[], None))
    }
    fn __mul__<'py>(slf: &Bound<'py, Self>, o: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary(slf, o, |a, b| ew::MUL.call(&[a, b], &[], None))
    }
    fn __rmul__<'py>(slf: &Bound<'py, Self>, o: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary(slf, o, |a, b| ew::MUL.call(&[a, b], &[], None))
    }
    fn __truediv__<'py>(slf: &Bound<'py, Self>, o: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary(slf, o, |a, b| ew::DIV.call(&[a, b], &[], None))
    }
    fn __rtruediv__<'py>(slf: &Bound<'py, Self>, o: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary(slf, o, |a, b| {
            // As torch: the reciprocal, times the number.
            let r = ew::RECIPROCAL.call(&[a], &[], None)?;
            ew::MUL.call(&[Operand::T(r), b], &[], None)
        })
    }
    fn __floordiv__<'py>(slf: &Bound<'py, Self>, o: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary(slf, o, |a, b| ew::FLOOR_DIVIDE.call(&[a, b], &[], None))
    }
    fn __rfloordiv__<'py>(slf: &Bound<'py, Self>, o: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary(slf, o, |a, b| ew::FLOOR_DIVIDE.call(&[b, a], &[], None))
    }
    fn __mod__<'py>(slf: &Bound<'py, Self>, o: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary(slf, o, |a, b| ew::REMAINDER.call(&[a, b], &[], None))
    }
    fn __rmod__<'py>(slf: &Bound<'py, Self>, o: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary(slf, o, |a, b| ew::REMAINDER.call(&[b, a], &[], None))
    }
    fn __pow__<'py>(slf: &Bound<'py, Self>, o: &Bound<'py, PyAny>, _m: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary(slf, o, ew::pow)
    }
    fn __rpow__<'py>(slf: &Bound<'py, Self>, o: &Bound<'py, PyAny>, _m: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary(slf, o, |a, b| ew::pow(b, a))
    }
    fn __matmul__<'py>(slf: &Bound<'py, Self>, o: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let Some(b) = tensor_ref(o) else { return Ok(py.NotImplemented().into_bound(py)) };
        if crate::ops::autocast::state().0 {
            return slf.as_any().call_method1("matmul", (o,));
        }
        let a = slf.get().tensor();
        let big = a.numel().max(b.numel()) >= 1 << 12;
        let product =
            || Ok(if big { py.detach(|| crate::ops::matmul::matmul(&a, &b))? } else { crate::ops::matmul::matmul(&a, &b)? });
        let r = guarded("matmul", product)?;
        Ok(wrap(py, r)?.into_bound(py).into_any())
    }
    fn __and__<'py>(slf: &Bound<'py, Self>, o: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary(slf, o, |a, b| ew::BITWISE_AND.call(&[a, b], &[], None))
    }
    fn __rand__<'py>(slf: &Bound<'py, Self>, o: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary(slf, o, |a, b| ew::BITWISE_AND.call(&[b, a], &[], None))
    }
    fn __or__<'py>(slf: &Bound<'py, Self>, o: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary(slf, o, |a, b| ew::BITWISE_OR.call(&[a, b], &[], None))
    }
    fn __ror__<'py>(slf: &Bound<'py, Self>, o: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary(slf, o, |a, b| ew::BITWISE_OR.call(&[b, a], &[], None))
    }
    fn __xor__<'py>(slf: &Bound<'py, Self>, o: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary(slf, o, |a, b| ew::BITWISE_XOR.call(&[a, b], &[], None))
    }
    fn __rxor__<'py>(slf: &Bound<'py, Self>, o: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary(slf, o, |a, b| ew::BITWISE_XOR.call(&[b, a], &[], None))
    }
    fn __lshift__<'py>(slf: &Bound<'py, Self>, o: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary(slf, o, |a, b| ew::BITWISE_LEFT_SHIFT.call(&[a, b], &[], None))
    }
    fn __rlshift__<'py>(slf: &Bound<'py, Self>, o: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary(slf, o, |a, b| ew::BITWISE_LEFT_SHIFT.call(&[b, a], &[], None))
    }
    fn __rshift__<'py>(slf: &Bound<'py, Self>, o: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary(slf, o, |a, b| ew::BITWISE_RIGHT_SHIFT.call(&[a, b], &[], None))
    }
    fn __rrshift__<'py>(slf: &Bound<'py, Self>, o: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        binary(slf, o, |a, b| ew::BITWISE_RIGHT_SHIFT.call(&[b, a], &[], None))
    }
    fn __neg__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.as_any().call_method0("neg")
    }
    fn __pos__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.as_any().call_method0("positive")
    }
    fn __abs__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.as_any().call_method0("abs")
    }
    fn __invert__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.as_any().call_method0("bitwise_not")
    }
    fn __richcmp__<'py>(
        slf: &Bound<'py, Self>,
        o: &Bound<'py, PyAny>,
        op: pyo3::basic::CompareOp,
    ) -> PyResult<Bound<'py, PyAny>> {
        use pyo3::basic::CompareOp::*;
        let name = match op {
            Lt => "lt",
            Le => "le",
            Eq => "eq",
            Ne => "ne",
            Gt => "gt",
            Ge => "ge",
        };
        if operand(o)?.is_none() && o.hasattr("__array_interface__")? {
            let other = slf.py().import("rustgrad")?.getattr("as_tensor")?.call1((o,))?;
            return slf.as_any().call_method1(name, (other,));
        }
        call_or_pass(slf, name, o)
    }
    fn __iadd__<'py>(slf: Bound<'py, Self>, o: Addend<'py>) -> PyResult<()> {
        in_place(&slf, &o, "add_")
    }
    fn __isub__<'py>(slf: Bound<'py, Self>, o: Addend<'py>) -> PyResult<()> {
        in_place(&slf, &o, "sub_")
    }
    fn __imul__<'py>(slf: Bound<'py, Self>, o: Addend<'py>) -> PyResult<()> {
        in_place(&slf, &o, "mul_")
    }
    fn __itruediv__<'py>(slf: Bound<'py, Self>, o: Addend<'py>) -> PyResult<()> {
        in_place(&slf, &o, "div_")
    }
    fn __ifloordiv__<'py>(slf: Bound<'py, Self>, o: Addend<'py>) -> PyResult<()> {
        in_place(&slf, &o, "floor_divide_")
    }
    fn __imod__<'py>(slf: Bound<'py, Self>, o: Addend<'py>) -> PyResult<()> {
        in_place(&slf, &o, "remainder_")
    }
    fn __ipow__<'py>(slf: Bound<'py, Self>, o: Addend<'py>, _m: &Bound<'py, PyAny>) -> PyResult<()> {
        in_place(&slf, &o, "pow_")
    }
    fn __iand__<'py>(slf: Bound<'py, Self>, o: Addend<'py>) -> PyResult<()> {
        in_place(&slf, &o, "bitwise_and_")
    }
    fn __ior__<'py>(slf: Bound<'py, Self>, o: Addend<'py>) -> PyResult<()> {
        in_place(&slf, &o, "bitwise_or_")
    }
    fn __ixor__<'py>(slf: Bound<'py, Self>, o: Addend<'py>) -> PyResult<()> {
        in_place(&slf, &o, "bitwise_xor_")
    }
    fn __ilshift__<'py>(slf: Bound<'py, Self>, o: Addend<'py>) -> PyResult<()> {
        in_place(&slf, &o, "bitwise_left_shift_")
    }
    fn __irshift__<'py>(slf: Bound<'py, Self>, o: Addend<'py>) -> PyResult<()> {
        in_place(&slf, &o, "bitwise_right_shift_")
    }
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyTensor>()?;
    let class = m.py().get_type::<PyTensor>();
    class.setattr("__array_priority__", 1000)?;
    // Given here and not to the class macro, so that messages say 'Tensor'.
    class.setattr("__name__", "Tensor")?;
    class.setattr("__module__", "torch")?;
    Ok(())
}
