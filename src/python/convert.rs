//! Between Python objects and the core's values.

use super::tensor::{PyTensor, tensor_ref, wrap};
use super::types::{CLASSES, dtype_object};
use crate::dtype::Scalar;
use crate::ops::schema::Schema;
use crate::ops::{Args, Ret, Value};
use crate::tensor::Tensor;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyComplex, PyList, PyTuple};
use std::sync::Arc;

/// A Python number, or `None` if the object is none. Integers beyond int64 are an error.
pub fn scalar_from(obj: &Bound<'_, PyAny>) -> PyResult<Option<Scalar>> {
    let p = obj.as_ptr();
    // SAFETY: type checks of a live object.
    unsafe {
        if ffi::PyBool_Check(p) != 0 {
            return Ok(Some(Scalar::Bool(p == ffi::Py_True())));
        }
        if ffi::PyFloat_Check(p) != 0 {
            return Ok(Some(Scalar::Float(ffi::PyFloat_AsDouble(p))));
        }
        if ffi::PyLong_Check(p) != 0 {
            let v = ffi::PyLong_AsLongLong(p);
            if v == -1 && !ffi::PyErr_Occurred().is_null() {
                ffi::PyErr_Clear();
                // uint64 values keep their bits, as torch does; beyond that is an error.
                return match obj.extract::<u64>() {
                    Ok(v) => Ok(Some(Scalar::Int(v as i64))),
                    Err(_) => Err(PyRuntimeError::new_err("Overflow when unpacking long long")),
                };
            }
            return Ok(Some(Scalar::Int(v)));
        }
        if ffi::PyComplex_Check(p) != 0 {
            let c = obj.cast::<PyComplex>()?;
            return Ok(Some(Scalar::Complex(c.getattr("real")?.extract()?, c.getattr("imag")?.extract()?)));
        }
    }
    numpy_scalar(obj)
}

/// NumPy's scalars (`np.float32(1)`, `np.int64(1)`, `np.bool_`) by what they convert to.
fn numpy_scalar(obj: &Bound<'_, PyAny>) -> PyResult<Option<Scalar>> {
    if tensor_ref(obj).is_some() || !obj.hasattr("dtype")? || !obj.hasattr("item")? || obj.hasattr("__len__")? {
        return Ok(None);
    }
    if obj.getattr("ndim").and_then(|n| n.extract::<usize>()).is_ok_and(|n| n != 0) {
        return Ok(None);
    }
    let item = obj.call_method0("item")?;
    if item.get_type().is(obj.get_type()) { Ok(None) } else { scalar_from(&item) }
}

/// A number as the Python object.
pub fn scalar_object<'py>(py: Python<'py>, s: Scalar) -> Bound<'py, PyAny> {
    match s {
        Scalar::Bool(b) => pyo3::types::PyBool::new(py, b).to_owned().into_any(),
        Scalar::Int(i) => i.into_pyobject(py).expect("infallible").into_any(),
        Scalar::Float(f) => f.into_pyobject(py).expect("infallible").into_any(),
        Scalar::Complex(r, i) => PyComplex::from_doubles(py, r, i).into_any(),
    }
}

/// A tensor as a Python object: the argument object itself where the op answered its argument.
fn tensor_object<'py>(py: Python<'py>, t: Tensor, args: &Args, objects: &[*mut ffi::PyObject]) -> PyResult<Bound<'py, PyAny>> {
    for (v, &o) in args.values.iter().zip(objects).take(2) {
        if let Value::Tensor(a) = v
            && Arc::ptr_eq(&a.0, &t.0)
            && !o.is_null()
        {
            // SAFETY: arguments are borrowed for the length of the call.
            let o = unsafe { Bound::from_borrowed_ptr(py, o) };
            if o.is_instance_of::<PyTensor>() {
                return Ok(o);
            }
        }
    }
    Ok(wrap(py, t)?.into_bound(py).into_any())
}

/// A tuple as the class of named results, where the schema names them.
fn named<'py>(py: Python<'py>, schema: &Schema, tuple: Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
    match CLASSES.get(py) {
        Some(c) if !schema.returns.is_empty() => match c.return_types.bind(py).getattr(schema.name) {
            Ok(cls) => cls.call1((tuple,)),
            Err(_) => Ok(tuple.into_any()),
        },
        _ => Ok(tuple.into_any()),
    }
}

/// The result of an op as a Python object. `objects` are the argument objects in schema order.
pub fn result_object<'py>(
    py: Python<'py>,
    r: Ret,
    schema: &Schema,
    args: &Args,
    objects: &[*mut ffi::PyObject],
) -> PyResult<Bound<'py, PyAny>> {
    Ok(match r {
        Ret::None => py.None().into_bound(py),
        Ret::Tensor(t) => tensor_object(py, t, args, objects)?,
        Ret::Tuple(ts) => {
            let items: Vec<_> = ts.into_iter().map(|t| wrap(py, t)).collect::<PyResult<_>>()?;
            named(py, schema, PyTuple::new(py, items)?)?
        }
        Ret::Nested(t, ts) => {
            let items: Vec<_> = ts.into_iter().map(|t| wrap(py, t)).collect::<PyResult<_>>()?;
            let items = [wrap(py, t)?.into_bound(py).into_any(), PyTuple::new(py, items)?.into_any()];
            named(py, schema, PyTuple::new(py, items)?)?
        }
        Ret::Options(ts) => {
            let items: Vec<_> = ts.into_iter().map(|t| t.map(|t| wrap(py, t)).transpose()).collect::<PyResult<_>>()?;
            PyTuple::new(py, items)?.into_any()
        }
        Ret::List(ts) => {
            let items: Vec<_> = ts.into_iter().map(|t| wrap(py, t)).collect::<PyResult<_>>()?;
            PyList::new(py, items)?.into_any()
        }
        Ret::Scalar(s) => scalar_object(py, s),
        Ret::Ints(v) => PyTuple::new(py, v)?.into_any(),
        Ret::Dtype(d) => dtype_object(py, d).into_bound(py).into_any(),
        Ret::Str(s) => s.into_pyobject(py)?.into_any(),
        Ret::Replace(t) => {
            // SAFETY: as above; the first argument of an in-place op is a tensor.
            let o = unsafe { Bound::from_borrowed_ptr(py, objects[0]) };
            o.cast::<PyTensor>()?.get().replace(t);
            o
        }
    })
}
