//! `x[...]` and `x[...] = value`.

use super::tensor::PyTensor;
use pyo3::prelude::*;

/// `x[index]`
pub fn getitem<'py>(slf: &Bound<'py, PyTensor>, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    slf.as_any().call_method1("select", (0, index))
}

/// `x[index] = value`
pub fn setitem<'py>(slf: &Bound<'py, PyTensor>, index: &Bound<'py, PyAny>, value: &Bound<'py, PyAny>) -> PyResult<()> {
    getitem(slf, index)?.call_method1("copy_", (value,)).map(drop)
}

pub fn register(_m: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
