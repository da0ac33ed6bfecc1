//! One argument parser for every function and method, driven by the schema line.

use super::convert::scalar_from;
use super::tensor::tensor_ref;
use super::types::{FORMATS, PyDtype, PyGenerator, PyMemoryFormat, device_from};
use crate::dtype::{Dtype, Scalar};
use crate::ops::schema::{Param, Schema, Ty};
use crate::ops::{Args, Ints, NO_INT, Value, default_value};
use pyo3::exceptions::{PyNotImplementedError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple, PyType};
use smallvec::SmallVec;

pub type Objects = SmallVec<[*mut ffi::PyObject; 8]>;

/// Positional arguments and keywords of a call.
pub struct Given<'a, 'py> {
    pub py: Python<'py>,
    /// A method call: the first positional argument is `self`, wherever the schema names it.
    pub bound: bool,
    pub positional: &'a [*mut ffi::PyObject],
    pub keywords: SmallVec<[(&'a str, *mut ffi::PyObject); 4]>,
}

/// Why an overload does not take a call.
pub enum Refusal<'a> {
    /// The next overload may try.
    Mismatch(Why<'a>),
    Raised(PyErr),
}
impl From<PyErr> for Refusal<'_> {
    fn from(e: PyErr) -> Self {
        Refusal::Raised(e)
    }
}

/// What did not fit; made into text only if no overload fits.
pub enum Why<'a> {
    Missing(usize),
    Type(usize, *mut ffi::PyObject),
    TooMany,
    Unexpected(&'a str),
    Twice(&'a str),
}

impl Why<'_> {
    /// The message, as PyTorch words it.
    pub fn text(&self, schema: &Schema, given: &Given<'_, '_>) -> String {
        let name_of = |p: &Param| if p.name == "self" { "input" } else { p.name };
        match self {
            Why::Missing(i) => {
                format!("{}() missing 1 required positional arguments: \"{}\"", schema.name, name_of(&schema.params[*i]))
            }
            Why::Type(i, obj) => {
                let p = &schema.params[*i];
                // SAFETY: a borrowed argument of the call, which still runs.
                let o = unsafe { Bound::from_borrowed_ptr(given.py, *obj) };
                let position = if p.keyword_only { String::new() } else { format!(" (position {})", i + 1) };
                format!("{}(): argument '{}'{position} must be {}, not {}", schema.name, name_of(p), wanted(p.ty), type_name(&o))
            }
            Why::TooMany => {
                let takes = schema.params.iter().take_while(|p| !p.keyword_only).count();
                let n = given.positional.len();
                format!(
                    "{}() takes {takes} positional argument{} but {n} {} given",
                    schema.name,
                    if takes == 1 { "" } else { "s" },
                    if n == 1 { "was" } else { "were" }
                )
            }
            Why::Unexpected(k) => format!("{}() got an unexpected keyword argument '{k}'", schema.name),
            Why::Twice(k) => format!("{}() got multiple values for argument '{k}'", schema.name),
        }
    }
}

fn wanted(ty: Ty) -> &'static str {
    match ty {
        Ty::Tensor | Ty::Operand => "Tensor",
        Ty::Tensors(_) => "tuple of Tensors",
        Ty::Scalar => "Number",
        Ty::Int => "int",
        Ty::Ints(_) | Ty::OptionalInts(_) => "tuple of ints",
        Ty::Float => "float",
        Ty::Floats => "tuple of floats",
        Ty::Bool => "bool",
        Ty::Str => "str",
        Ty::Dtype => "torch.dtype",
        Ty::Device => "torch.device",
        Ty::Generator => "torch.Generator",
        Ty::MemoryFormat => "torch.memory_format",
        Ty::Any => "object",
    }
}

/// NumPy's names for the same parameters.
fn same_name(param: &str, given: &str) -> bool {
    param == given
        || matches!(
            (param, given),
            ("self", "input")
                | ("dim", "axis")
                | ("keepdim", "keepdims")
                | ("self", "x" | "x1")
                | ("other", "x2")
                | ("dims", "axes" | "dim")
                | ("repeats", "reps")
        )
}

/// Fits a call to a schema: fills `args` and, beside them, the argument objects (null: not given).
pub fn parse<'a, 'py>(
    schema: &Schema,
    given: &Given<'a, 'py>,
    args: &mut Args,
    objects: &mut Objects,
) -> Result<(), Refusal<'a>> {
    let py = given.py;
    let params = &schema.params;
    let values = &mut args.values;
    values.clear();
    objects.clear();
    let mut at = 0;
    let mut used = 0;
    let place = if given.bound { schema.self_at } else { 0 };
    if place > 0 {
        at = 1;
    }
    for (i, p) in params.iter().enumerate() {
        let mut obj: *mut ffi::PyObject = std::ptr::null_mut();
        if place > 0 && i == place {
            obj = given.positional[0];
        } else if !p.keyword_only && at < given.positional.len() {
            // x.view(2, 3): integers in a row stand for the list, where it is the only parameter left.
            let last = || params.get(i + 1).is_none_or(|n| n.keyword_only);
            let spread = p.ty == Ty::Ints(None) && last() && is_int(py, given.positional[at]);
            if spread && (given.positional.len() - at > 1 || i > 0 || !p.optional) {
                let mut list = Ints::new();
                for &o in &given.positional[at..] {
                    // SAFETY: borrowed arguments of the call.
                    match int_from(&unsafe { Bound::from_borrowed_ptr(py, o) })? {
                        Some(v) => list.push(v),
                        None => return Err(Refusal::Mismatch(Why::Type(i, o))),
                    }
                }
                at = given.positional.len();
                values.push(Value::Ints(list));
                objects.push(std::ptr::null_mut());
                continue;
            }
            obj = given.positional[at];
            // SAFETY: borrowed arguments of the call, here and below.
            if p.variadic && tensor_ref(&unsafe { Bound::from_borrowed_ptr(py, obj) }).is_some() {
                let mut list = Vec::with_capacity(given.positional.len() - at);
                for &o in &given.positional[at..] {
                    match tensor_ref(&unsafe { Bound::from_borrowed_ptr(py, o) }) {
                        Some(t) => list.push(Some(t)),
                        None => return Err(Refusal::Mismatch(Why::Type(i, o))),
                    }
                }
                at = given.positional.len();
                values.push(Value::Tensors(list));
                objects.push(std::ptr::null_mut());
                continue;
            }
            at += 1;
        } else if !given.keywords.is_empty()
            && let Some((_, o)) = given.keywords.iter().find(|(k, _)| same_name(p.name, k))
        {
            obj = *o;
            used += 1;
        }
        objects.push(obj);
        if obj.is_null() {
            if p.default.is_none() && !(p.optional && p.keyword_only) {
                return Err(Refusal::Mismatch(Why::Missing(i)));
            }
            values.push(default_value(p));
            continue;
        }
        // SAFETY: a borrowed argument of the call.
        let o = unsafe { Bound::from_borrowed_ptr(py, obj) };
        match convert(p, &o)? {
            Some(v) => values.push(v),
            None => return Err(Refusal::Mismatch(Why::Type(i, obj))),
        }
    }
    if at < given.positional.len() {
        return Err(Refusal::Mismatch(Why::TooMany));
    }
    if used < given.keywords.len() {
        for &(k, _) in &given.keywords {
            match params.iter().position(|p| same_name(p.name, k)) {
                None => return Err(Refusal::Mismatch(Why::Unexpected(k))),
                Some(i) if i < given.positional.len() && !params[i].keyword_only => return Err(Refusal::Mismatch(Why::Twice(k))),
                _ => {}
            }
        }
    }
    Ok(())
}

/// The name of an object's type, as messages show it.
pub fn type_name(o: &Bound<'_, PyAny>) -> String {
    o.get_type().name().map_or_else(|_| "object".into(), |n| n.to_string())
}

/// What a call looked like, for messages: `(Tensor, int, dim=str)`.
pub fn describe(given: &Given<'_, '_>) -> String {
    // SAFETY: borrowed arguments of the call.
    let name = |o: *mut ffi::PyObject| type_name(&unsafe { Bound::from_borrowed_ptr(given.py, o) });
    let mut parts: Vec<String> = given.positional.iter().map(|&o| name(o)).collect();
    parts.extend(given.keywords.iter().map(|(k, o)| format!("{k}={}", name(*o))));
    format!("({})", parts.join(", "))
}

fn is_int(py: Python<'_>, o: *mut ffi::PyObject) -> bool {
    // SAFETY: a borrowed argument of the call.
    unsafe {
        if ffi::PyLong_Check(o) != 0 {
            return true;
        }
        let b = Bound::from_borrowed_ptr(py, o);
        if let Some(t) = tensor_ref(&b) {
            return t.ndim() == 0 && t.dtype().is_integral();
        }
        ffi::PyIndex_Check(o) != 0
    }
}

/// An integer, from whatever has `__index__` (NumPy's integers, 0-d integer tensors).
pub fn int_from(o: &Bound<'_, PyAny>) -> PyResult<Option<i64>> {
    let p = o.as_ptr();
    // SAFETY: a live object.
    unsafe {
        if ffi::PyLong_Check(p) != 0 {
            let v = ffi::PyLong_AsLongLong(p);
            if v == -1 && !ffi::PyErr_Occurred().is_null() {
                ffi::PyErr_Clear();
                return Err(PyTypeError::new_err("Overflow when unpacking long long"));
            }
            return Ok(Some(v));
        }
        if let Some(t) = tensor_ref(o) {
            return Ok(if t.numel() == 1 && t.dtype().is_integral() && !t.requires_grad() {
                Some(t.item()?.i64())
            } else {
                None
            });
        }
        if ffi::PyIndex_Check(p) != 0 {
            return Ok(Some(o.call_method0("__index__")?.extract::<i64>()?));
        }
    }
    Ok(None)
}

fn items<'py>(o: &Bound<'py, PyAny>) -> Option<Vec<Bound<'py, PyAny>>> {
    if let Ok(l) = o.cast::<PyList>() {
        Some(l.iter().collect())
    } else if let Ok(t) = o.cast::<PyTuple>() {
        Some(t.iter().collect())
    } else {
        None
    }
}

fn dtype_from(o: &Bound<'_, PyAny>) -> Option<Dtype> {
    if let Ok(d) = o.cast::<PyDtype>() {
        return Some(d.get().0);
    }
    // Python's own types name dtypes too.
    let t = o.cast::<PyType>().ok()?;
    let py = o.py();
    if t.is(py.get_type::<pyo3::types::PyFloat>()) {
        Some(Dtype::F64)
    } else if t.is(py.get_type::<pyo3::types::PyBool>()) {
        Some(Dtype::Bool)
    } else if t.is(py.get_type::<pyo3::types::PyInt>()) {
        Some(Dtype::I64)
    } else {
        None
    }
}

/// The value of an argument, or `None` if its type does not fit.
fn convert(p: &Param, o: &Bound<'_, PyAny>) -> PyResult<Option<Value>> {
    if o.is_none() {
        return Ok(if p.optional || p.ty == Ty::Any { Some(Value::None) } else { None });
    }
    Ok(match p.ty {
        Ty::Tensor => tensor_ref(o).map(Value::Tensor),
        Ty::Operand => match tensor_ref(o) {
            Some(t) => Some(Value::Tensor(t)),
            None => scalar_from(o)?.map(Value::Scalar),
        },
        Ty::Tensors(optional) => {
            let Some(list) = items(o) else { return Ok(None) };
            let mut out = Vec::with_capacity(list.len());
            for x in list {
                match tensor_ref(&x) {
                    Some(t) => out.push(Some(t)),
                    None if optional && x.is_none() => out.push(None),
                    None => return Ok(None),
                }
            }
            Some(Value::Tensors(out))
        }
        Ty::Scalar => match tensor_ref(o) {
            Some(t) if t.ndim() == 0 && !t.requires_grad() => Some(Value::Scalar(t.item()?)),
            Some(_) => None,
            None => scalar_from(o)?.map(Value::Scalar),
        },
        Ty::Float => match tensor_ref(o) {
            Some(t) if t.ndim() == 0 => Some(Value::Scalar(Scalar::Float(t.item()?.f64()))),
            Some(_) => None,
            None => match scalar_from(o)? {
                Some(Scalar::Complex(..)) | None => None,
                Some(s) => Some(Value::Scalar(Scalar::Float(s.f64()))),
            },
        },
        Ty::Int => {
            // SAFETY: a live object.
            if unsafe { ffi::PyBool_Check(o.as_ptr()) } != 0 && p.name != "dim" {
                Some(Value::Scalar(Scalar::Int(o.extract::<bool>()? as i64)))
            } else {
                int_from(o)?.map(|v| Value::Scalar(Scalar::Int(v)))
            }
        }
        Ty::Bool => {
            // SAFETY: a live object.
            if unsafe { ffi::PyBool_Check(o.as_ptr()) } != 0 {
                Some(Value::Scalar(Scalar::Bool(o.extract()?)))
            } else {
                match tensor_ref(o) {
                    None => match scalar_from(o)? {
                        Some(Scalar::Bool(b)) => Some(Value::Scalar(Scalar::Bool(b))),
                        Some(Scalar::Int(i)) => Some(Value::Scalar(Scalar::Bool(i != 0))),
                        _ => None,
                    },
                    _ => None,
                }
            }
        }
        Ty::Ints(n) => {
            if let Some(list) = items(o) {
                let mut out = Ints::new();
                for x in list {
                    match int_from(&x)? {
                        Some(v) => out.push(v),
                        None => return Ok(None),
                    }
                }
                if let (Some(n), 1) = (n, out.len()) {
                    return Ok(Some(Value::Ints(Ints::from_elem(out[0], n))));
                }
                Some(Value::Ints(out))
            // SAFETY: a live object.
            } else if unsafe { ffi::PyBool_Check(o.as_ptr()) } != 0 {
                // `x.var(False)` means another overload.
                None
            } else if let Some(n) = n {
                int_from(o)?.map(|v| Value::Ints(Ints::from_elem(v, n)))
            } else {
                None
            }
        }
        Ty::OptionalInts(n) => match items(o) {
            Some(list) => {
                let mut out = Ints::new();
                for x in list {
                    match if x.is_none() { Some(NO_INT) } else { int_from(&x)? } {
                        Some(v) => out.push(v),
                        None => return Ok(None),
                    }
                }
                Some(Value::Ints(out))
            }
            None => int_from(o)?.map(|v| Value::Ints(Ints::from_elem(v, n))),
        },
        Ty::Floats => match items(o) {
            Some(list) => {
                let mut out = Vec::with_capacity(list.len());
                for x in list {
                    match scalar_from(&x)? {
                        Some(s) => out.push(s.f64()),
                        None => return Ok(None),
                    }
                }
                Some(Value::Floats(out))
            }
            None => scalar_from(o)?.map(|s| Value::Floats(vec![s.f64()])),
        },
        Ty::Str => o.extract::<String>().ok().map(Value::Str),
        Ty::Dtype => dtype_from(o).map(Value::Dtype),
        Ty::Device => match device_from(o) {
            Ok(d) => Some(Value::Device(d)),
            Err(e) if e.is_instance_of::<PyTypeError>(o.py()) => None,
            Err(e) => return Err(e),
        },
        Ty::Generator => o.cast::<PyGenerator>().ok().map(|g| Value::Generator(g.get().0.clone())),
        Ty::MemoryFormat => match o.cast::<PyMemoryFormat>() {
            Ok(f) => Some(Value::MemoryFormat(FORMATS[f.get().0 as usize].0)),
            // Another library's constant of the same name (PyTorch's own, where both are loaded).
            Err(_) if type_name(o) == "memory_format" => {
                let text = o.str()?.to_string();
                FORMATS.iter().find(|(_, n)| text.ends_with(n)).map(|(f, _)| Value::MemoryFormat(*f))
            }
            Err(_) => None,
        },
        Ty::Any => {
            // Looked at only to refuse what would silently become something else.
            if type_name(o) == "layout" && o.str()? != "torch.strided" {
                return Err(PyNotImplementedError::new_err(format!("only layout=torch.strided is supported, got {}", o.str()?)));
            }
            Some(Value::None)
        }
    })
}
