//! `x[...]` and `x[...] = value`.
//!
//! Integers, slices, `None` and `...` become one view; tensors, masks and sequences are collected beside it
//! and go to `index` or `index_put` over that view.

use super::convert::scalar_from;
use super::interop::build;
use super::parse::type_name;
use super::tensor::{PyTensor, tensor_ref, wrap};
use crate::autograd::needs_grad;
use crate::dtype::Dtype;
use crate::error::Result as CoreResult;
use crate::layout::{Dims, Layout, Strides, wrap_dim};
use crate::ops::{copy, index as ops, inplace, view};
use crate::tensor::Tensor;
use crate::{bail, ensure};
use pyo3::exceptions::{PyIndexError, PyRuntimeError, PyTypeError, PyUserWarning, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use smallvec::SmallVec;

/// Elements from which the interpreter lock is given away.
const DETACH: usize = 1 << 15;

/// One entry of an index.
enum Item {
    Int(i64),
    Slice(i64, i64, i64),
    Ellipsis,
    NewAxis,
    /// `True` or `False`: a new dimension of size 1 or 0.
    Bool(bool),
    Tensor(Tensor),
}

type Indices = SmallVec<[Option<Tensor>; 4]>;

/// The view that the basic part of an index gives, built step by step.
struct Walk {
    /// The tensor so far, where the steps are recorded.
    tracked: Option<Tensor>,
    shape: Dims,
    strides: Strides,
    offset: usize,
    changed: bool,
}

impl Walk {
    fn new(x: &Tensor) -> Walk {
        let l = x.layout();
        Walk {
            tracked: needs_grad(&[x]).then(|| x.clone()),
            shape: l.shape.clone(),
            strides: l.strides.clone(),
            offset: l.offset,
            changed: false,
        }
    }

    fn step(&mut self, f: impl FnOnce(&Tensor) -> CoreResult<Tensor>, quick: impl FnOnce(&mut Walk)) -> CoreResult<()> {
        self.changed = true;
        match &self.tracked {
            Some(t) => {
                let t = f(t)?;
                self.shape = t.dims();
                self.tracked = Some(t);
            }
            None => quick(self),
        }
        Ok(())
    }

    /// `named` is the number of the dimension in x, for the message.
    fn select(&mut self, dim: usize, named: usize, i: i64) -> CoreResult<()> {
        let n = self.shape[dim] as i64;
        ensure!((-n..n).contains(&i), Index, "index {i} is out of bounds for dimension {named} with size {n}");
        self.step(
            |t| view::select(t, dim as i64, i),
            |w| {
                w.offset += (if i < 0 { i + n } else { i }) as usize * w.strides[dim] as usize;
                w.shape.remove(dim);
                w.strides.remove(dim);
            },
        )
    }

    fn slice(&mut self, dim: usize, start: i64, stop: i64, step: i64, keep_full: bool) -> CoreResult<()> {
        let n = self.shape[dim] as i64;
        let clamp = |v: i64| (if v < 0 { v.saturating_add(n) } else { v }).clamp(0, n);
        let s = clamp(start);
        let e = clamp(stop).max(s);
        if s == 0 && e == n && step == 1 && !keep_full {
            return Ok(());
        }
        self.step(
            |t| view::slice(t, dim as i64, Some(s), Some(e), step),
            |w| {
                let len = ((e - s) as u64).div_ceil(step as u64) as usize;
                if len > 0 {
                    w.offset += s as usize * w.strides[dim] as usize;
                }
                w.shape[dim] = len;
                w.strides[dim] = w.strides[dim].saturating_mul(step as isize);
            },
        )
    }

    fn unsqueeze(&mut self, dim: usize) -> CoreResult<()> {
        self.step(
            |t| view::unsqueeze(t, dim as i64),
            |w| {
                let st = if dim < w.shape.len() { w.strides[dim] * w.shape[dim] as isize } else { 1 };
                w.shape.insert(dim, 1);
                w.strides.insert(dim, st);
            },
        )
    }

    /// The view; the tensor itself if nothing was done.
    fn finish(self, x: &Tensor) -> CoreResult<Tensor> {
        match self.tracked {
            Some(t) => Ok(t),
            None if !self.changed => Ok(x.clone()),
            None => {
                let out = x.alias(Layout::strided(&self.shape, &self.strides, self.offset)?);
                out.mark_fresh_view();
                Ok(out)
            }
        }
    }
}

fn invalid(o: &Bound<'_, PyAny>) -> PyErr {
    let name = match o.get_type().getattr("__module__") {
        Ok(m) if m.to_string() == "numpy" => format!("numpy.{}", type_name(o)),
        _ => type_name(o),
    };
    PyIndexError::new_err(format!(
        "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got {name})"
    ))
}

/// A sequence or array as an index tensor: masks stay what they are, numbers become int64.
fn sequence(o: &Bound<'_, PyAny>) -> PyResult<Tensor> {
    if o.is_instance_of::<pyo3::types::PyString>() {
        return Err(PyTypeError::new_err("new(): invalid data type 'str'"));
    }
    let t = build(o, None)?;
    Ok(if matches!(t.dtype(), Dtype::Bool | Dtype::U8) { t } else { copy::to_dtype(&t, Dtype::I64)? })
}

fn item(o: &Bound<'_, PyAny>) -> PyResult<Item> {
    let p = o.as_ptr();
    let py = o.py();
    // SAFETY: type checks of, and calls on, a live object.
    unsafe {
        if p == ffi::Py_None() {
            return Ok(Item::NewAxis);
        }
        if p == ffi::Py_Ellipsis() {
            return Ok(Item::Ellipsis);
        }
        if ffi::PyBool_Check(p) != 0 {
            return Ok(Item::Bool(p == ffi::Py_True()));
        }
        if ffi::PyLong_Check(p) != 0 {
            let v = ffi::PyLong_AsLongLong(p);
            if v == -1 && !ffi::PyErr_Occurred().is_null() {
                ffi::PyErr_Clear();
                return Err(PyValueError::new_err("Overflow when unpacking long long"));
            }
            return Ok(Item::Int(v));
        }
        if ffi::Py_TYPE(p) == &raw mut ffi::PySlice_Type {
            let (mut start, mut stop, mut step) = (0, 0, 0);
            if ffi::PySlice_Unpack(p, &mut start, &mut stop, &mut step) < 0 {
                return Err(PyErr::fetch(py));
            }
            if step <= 0 {
                return Err(PyValueError::new_err("step must be greater than zero"));
            }
            return Ok(Item::Slice(start as i64, stop as i64, step as i64));
        }
        if let Some(t) = tensor_ref(o) {
            if t.ndim() == 0 && t.dtype().is_integral() {
                return Ok(match t.dtype() {
                    Dtype::Bool | Dtype::U8 => Item::Bool(t.item()?.i64() != 0),
                    _ => Item::Int(t.item()?.i64()),
                });
            }
            if t.dtype() == Dtype::U8 {
                let text = c"indexing with dtype torch.uint8 is now deprecated, please use a dtype torch.bool instead.";
                PyErr::warn(py, &py.get_type::<PyUserWarning>(), text, 1)?;
            }
            return Ok(Item::Tensor(t));
        }
        if ffi::PySequence_Check(p) != 0 {
            return Ok(Item::Tensor(sequence(o)?));
        }
        if ffi::PyIndex_Check(p) != 0 {
            return match o.call_method0("__index__").and_then(|v| v.extract::<i64>()) {
                Ok(v) => Ok(Item::Int(v)),
                Err(_) => Err(invalid(o)),
            };
        }
    }
    Err(invalid(o))
}

/// Whether a sequence that is no tuple is taken for one: an old habit, short sequences of mixed content.
fn acts_as_tuple(o: &Bound<'_, PyAny>) -> PyResult<bool> {
    // SAFETY: type checks of a live object.
    if tensor_ref(o).is_some() || unsafe { ffi::PySequence_Check(o.as_ptr()) } == 0 || o.hasattr("__array_interface__")? {
        return Ok(false);
    }
    let Ok(n) = o.len() else { return Ok(false) };
    if n >= 32 {
        return Ok(false);
    }
    for i in 0..n {
        let e = o.get_item(i)?;
        // SAFETY: as above.
        let special = unsafe {
            let p = e.as_ptr();
            p == ffi::Py_None()
                || p == ffi::Py_Ellipsis()
                || ffi::Py_TYPE(p) == &raw mut ffi::PySlice_Type
                || (ffi::PySequence_Check(p) != 0 && !e.is_instance_of::<pyo3::types::PyString>())
        };
        if special || tensor_ref(&e).is_some() {
            let text = c"Using a non-tuple sequence for multidimensional indexing is deprecated and will be changed in pytorch 2.9; use x[tuple(seq)] instead of x[seq]. In pytorch 2.9 this will be interpreted as tensor index, x[torch.tensor(seq)], which will result either in an error or a different result";
            PyErr::warn(o.py(), &o.py().get_type::<PyUserWarning>(), text, 1)?;
            return Ok(true);
        }
    }
    Ok(false)
}

fn items(index: &Bound<'_, PyAny>) -> PyResult<SmallVec<[Item; 4]>> {
    let mut out = SmallVec::new();
    if let Ok(t) = index.cast::<PyTuple>() {
        for o in t.iter_borrowed() {
            out.push(item(&o)?);
        }
    } else if index.cast::<PyList>().is_ok() && acts_as_tuple(index)? {
        for i in 0..index.len()? {
            out.push(item(&index.get_item(i)?)?);
        }
    } else {
        out.push(item(index)?);
    }
    Ok(out)
}

/// Applies the basic entries; answers the view and the tensors that index it.
fn walk(x: &Tensor, items: SmallVec<[Item; 4]>, assigning: bool) -> CoreResult<(Tensor, Indices)> {
    let mut w = Walk::new(x);
    let mut indices = Indices::new();
    if let [Item::Int(_)] = items.as_slice() {
        ensure!(
            x.ndim() > 0,
            Index,
            "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to convert a 0-dim tensor to a number"
        );
    }
    if let [Item::Slice(..)] = items.as_slice() {
        ensure!(x.ndim() > 0, Index, "slice() cannot be applied to a 0-dim tensor.");
    }
    let used: usize = items
        .iter()
        .map(|i| match i {
            Item::Int(_) | Item::Slice(..) => 1,
            Item::Tensor(t) if matches!(t.dtype(), Dtype::Bool | Dtype::U8) => t.ndim(),
            Item::Tensor(_) => 1,
            _ => 0,
        })
        .sum();
    ensure!(used <= x.ndim(), Index, "too many indices for tensor of dimension {}", x.ndim());
    let skip = x.ndim() - used;
    // A full slice alone is a step of its own when read.
    let keep_full = items.len() == 1 && !assigning;
    let (mut dim, mut named) = (0, 0);
    for i in items {
        match i {
            Item::Int(v) => {
                wrap_dim(dim as i64, w.shape.len())?;
                w.select(dim, named, v)?;
                named += 1;
            }
            Item::Slice(start, stop, step) => {
                wrap_dim(dim as i64, w.shape.len())?;
                w.slice(dim, start, stop, step, keep_full)?;
                dim += 1;
                named += 1;
            }
            Item::Ellipsis => {
                // A second one goes beyond the last dimension, which matters if an index follows.
                dim += skip;
                named += skip;
            }
            Item::NewAxis => {
                wrap_dim(dim as i64, w.shape.len() + 1)?;
                w.unsqueeze(dim)?;
                dim += 1;
            }
            Item::Bool(b) => {
                wrap_dim(dim as i64, w.shape.len() + 1)?;
                w.unsqueeze(dim)?;
                let covered: usize = indices.iter().flatten().map(|m| mask_dims(m) - 1).sum();
                indices.resize(dim - covered, None);
                indices.push(Some(Tensor::zeros(&[b as usize], Dtype::I64, x.device())?));
                dim += 1;
            }
            Item::Tensor(t) => {
                let dims = if matches!(t.dtype(), Dtype::Bool | Dtype::U8) { t.ndim() } else { 1 };
                // `indices` counts entries: a mask is one entry for several dimensions.
                let covered: usize = indices.iter().flatten().map(|m| mask_dims(m) - 1).sum();
                indices.resize(dim - covered, None);
                indices.push(Some(t));
                dim += dims;
                named += dims;
            }
        }
        if w.shape.len() > crate::layout::MAX_DIMS {
            bail!(Runtime, "too many dimensions");
        }
    }
    Ok((w.finish(x)?, indices))
}

fn mask_dims(t: &Tensor) -> usize {
    if matches!(t.dtype(), Dtype::Bool | Dtype::U8) { t.ndim() } else { 1 }
}

/// An integer that is neither a bool nor too large.
#[inline]
fn small_int(o: &Bound<'_, PyAny>) -> Option<i64> {
    let p = o.as_ptr();
    // SAFETY: a live object; the exact type excludes bool.
    unsafe {
        if ffi::Py_TYPE(p) != &raw mut ffi::PyLong_Type {
            return None;
        }
        let v = ffi::PyLong_AsLongLong(p);
        if v == -1 && !ffi::PyErr_Occurred().is_null() {
            ffi::PyErr_Clear();
            return None;
        }
        Some(v)
    }
}

/// `x[index]`
pub fn getitem<'py>(slf: &Bound<'py, PyTensor>, index: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = slf.py();
    let x = slf.get().tensor();
    if let Some(i) = small_int(index)
        && x.ndim() > 0
    {
        let mut w = Walk::new(&x);
        w.select(0, 0, i)?;
        return Ok(wrap(py, w.finish(&x)?)?.into_bound(py).into_any());
    }
    let (v, indices) = walk(&x, items(index)?, false)?;
    let out = if indices.is_empty() {
        // A full view of x is a tensor of its own.
        if std::sync::Arc::ptr_eq(&v.0, &x.0) { view::alias(&v) } else { v }
    } else if v.numel() >= DETACH || indices.iter().flatten().any(|t| t.numel() >= DETACH) {
        super::call::guarded("index", || Ok(py.detach(|| ops::index(&v, &indices))?))?
    } else {
        ops::index(&v, &indices)?
    };
    Ok(wrap(py, out)?.into_bound(py).into_any())
}

/// The value of an assignment as a tensor, converted where it was a number.
fn value_tensor(x: &Tensor, value: &Bound<'_, PyAny>) -> PyResult<Tensor> {
    if let Some(t) = tensor_ref(value) {
        return Ok(t);
    }
    if let Some(s) = scalar_from(value)? {
        return Ok(ops::fill_value(s, x.dtype())?);
    }
    if value.cast::<PyList>().is_err() && value.cast::<PyTuple>().is_err() && value.hasattr("__array_interface__")? {
        return Ok(copy::to_dtype(&build(value, None)?, x.dtype())?);
    }
    Err(PyTypeError::new_err(format!("can't assign a {} to a {}", type_name(value), x.type_name())))
}

/// `value` without leading dimensions of size 1 beyond those of the target.
fn without_lead(value: Tensor, ndim: usize) -> CoreResult<Tensor> {
    let mut lead = 0;
    while value.ndim() - lead > ndim && value.shape()[lead] == 1 {
        lead += 1;
    }
    if lead == 0 { Ok(value) } else { view::reshape_to(&value, &value.shape()[lead..]) }
}

/// `x[index] = value`
pub fn setitem<'py>(slf: &Bound<'py, PyTensor>, index: &Bound<'py, PyAny>, value: &Bound<'py, PyAny>) -> PyResult<()> {
    let py = slf.py();
    let x = slf.get().tensor();
    let (v, indices) = walk(&x, items(index)?, true)?;
    let value = value_tensor(&x, value)?;
    if indices.is_empty() {
        let value = without_lead(value, v.ndim())?;
        return Ok(copy::copy_(&v, &value)?);
    }
    inplace::check_writable(&v)?;
    let put = || -> CoreResult<()> {
        if needs_grad(&[&v, &value]) {
            let r = ops::index_put(&v, &indices, &value, false, None)?;
            return inplace::assign_named(&v, r, "IndexPutBackward0");
        }
        ops::index_put(&v, &indices, &value, false, Some(&v))?;
        v.storage().bump_version();
        Ok(())
    };
    if v.numel() >= DETACH || value.numel() >= DETACH {
        py.detach(put)?
    } else {
        put()?
    }
    Ok(())
}

/// `iter(x)`: over the first dimension.
pub fn iter<'py>(slf: &Bound<'py, PyTensor>) -> PyResult<Bound<'py, PyAny>> {
    let py = slf.py();
    let x = slf.get().tensor();
    if x.ndim() == 0 {
        return Err(PyTypeError::new_err("iteration over a 0-d tensor"));
    }
    let parts: Vec<_> = view::unbind(&x, 0)?.into_iter().map(|t| wrap(py, t)).collect::<PyResult<_>>()?;
    Ok(PyList::new(py, parts)?.try_iter()?.into_any())
}

/// `element in x`
pub fn contains(slf: &Bound<'_, PyTensor>, element: &Bound<'_, PyAny>) -> PyResult<bool> {
    if tensor_ref(element).is_none() && scalar_from(element)?.is_none() {
        return Err(PyRuntimeError::new_err(format!(
            "Tensor.__contains__ only supports Tensor or scalar, but you passed in a {}.",
            element.get_type().repr()?
        )));
    }
    let equal = slf.as_any().call_method1("eq", (element,))?;
    match tensor_ref(&equal) {
        Some(t) => Ok(ops::advanced::true_positions(&t)?.numel() > 0),
        None => equal.extract(),
    }
}

pub fn register(_m: &Bound<'_, PyModule>) -> PyResult<()> {
    Ok(())
}
