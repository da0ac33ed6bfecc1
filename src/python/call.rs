//! One Python callable for every name of the registry, called by CPython's fast protocol.

use super::convert::result_object;
use super::parse::{Given, Objects, Refusal, describe, parse};
use super::tensor::{PyTensor, tensor_ref};
use crate::autograd::{is_grad_enabled, needs_grad, overwriting};
use crate::device::Device;
use crate::ops::{Args, Op, Ret, Value, inplace, registry};
use crate::tensor::Tensor;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

/// Elements from which a call gives the interpreter lock away while it works.
const DETACH: usize = 1 << 15;

#[derive(PartialEq, Eq, Clone, Copy, PartialOrd, Ord)]
enum Role {
    Function,
    Method,
    Inplace,
}

/// A Python name: its overloads, and how it is called.
struct Binding {
    name: String,
    ops: Vec<&'static Op>,
    role: Role,
    /// Whether `out=` is understood.
    out: bool,
}

static BINDINGS: OnceLock<Vec<Binding>> = OnceLock::new();

type Fast = ffi::PyCFunctionFastWithKeywords;

/// The C entry of binding `I`.
unsafe extern "C" fn entry<const I: usize>(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    nargs: ffi::Py_ssize_t,
    kwnames: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: CPython calls with the lock held and `nargs` + len(kwnames) valid references in `args`.
    unsafe { enter(I, slf, args, nargs as usize, kwnames) }
}

macro_rules! sixteen {
    ($m:ident $($p:literal)*) => {
        [$m!($($p)* 0), $m!($($p)* 1), $m!($($p)* 2), $m!($($p)* 3), $m!($($p)* 4), $m!($($p)* 5), $m!($($p)* 6), $m!($($p)* 7),
         $m!($($p)* 8), $m!($($p)* 9), $m!($($p)* 10), $m!($($p)* 11), $m!($($p)* 12), $m!($($p)* 13), $m!($($p)* 14), $m!($($p)* 15)]
    };
}
macro_rules! leaf {
    ($a:literal $b:literal $c:literal) => {
        entry::<{ $a * 256 + $b * 16 + $c }> as Fast
    };
}
macro_rules! row { ($a:literal $b:literal) => { sixteen!(leaf $a $b) }; }
macro_rules! page { ($a:literal) => { sixteen!(row $a) }; }

/// Entries for 2,560 names.
static ENTRIES: [[[Fast; 16]; 16]; 10] =
    [page!(0), page!(1), page!(2), page!(3), page!(4), page!(5), page!(6), page!(7), page!(8), page!(9)];

/// # Safety
/// As for [`entry`].
unsafe fn enter(
    i: usize,
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    nargs: usize,
    kwnames: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the lock is held.
    let py = unsafe { Python::assume_attached() };
    let b = &BINDINGS.get().expect("made at import")[i];
    let result = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: by the caller.
        let positional = if nargs == 0 { &[][..] } else { unsafe { std::slice::from_raw_parts(args, nargs) } };
        // A method's arguments, its tensor before them.
        let many;
        let mut few = [slf; 6];
        let mut keywords = smallvec::SmallVec::new();
        if !kwnames.is_null() {
            // SAFETY: a tuple of strings, whose values follow the positional arguments.
            unsafe {
                for k in 0..ffi::PyTuple_Size(kwnames) {
                    let mut len = 0;
                    let p = ffi::PyUnicode_AsUTF8AndSize(ffi::PyTuple_GetItem(kwnames, k), &mut len);
                    if p.is_null() {
                        return Err(PyErr::fetch(py));
                    }
                    let name = std::str::from_utf8_unchecked(std::slice::from_raw_parts(p as *const u8, len as usize));
                    keywords.push((name, *args.add(nargs + k as usize)));
                }
            }
        }
        if b.role == Role::Function {
            return invoke(b, &mut Given { py, bound: false, positional, keywords });
        }
        let positional = if nargs < few.len() {
            few[1..=nargs].copy_from_slice(positional);
            &few[..=nargs]
        } else {
            many = [&[slf], positional].concat();
            &many
        };
        let mut given = Given { py, bound: true, positional, keywords };
        invoke(b, &mut given)
    }));
    match result {
        Ok(Ok(o)) => o.into_ptr(),
        Ok(Err(e)) => {
            e.restore(py);
            std::ptr::null_mut()
        }
        Err(panic) => {
            panic_error(&b.name, panic).restore(py);
            std::ptr::null_mut()
        }
    }
}

/// Calls into the core from where no entry of the registry does: what unwinds becomes an exception. Computing what was
/// pending may unwind (no memory, Ctrl-C), and so may any long kernel.
pub fn guarded<R>(name: &str, f: impl FnOnce() -> PyResult<R>) -> PyResult<R> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|p| Err(panic_error(name, p)))
}

/// A panic is a bug of ours; to Python it is a RuntimeError like any other.
pub fn panic_error(name: &str, panic: Box<dyn std::any::Any + Send>) -> PyErr {
    // Errors from where no result could carry them (`storage::raise`).
    let panic = match panic.downcast::<crate::error::Error>() {
        Ok(e) => return (*e).into(),
        Err(p) => p,
    };
    let text = panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|s| s.to_string()))
        .unwrap_or_default();
    PyRuntimeError::new_err(format!("{name}: internal error: {text}"))
}

fn invoke<'py>(b: &Binding, given: &mut Given<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
    let py = given.py;
    let mut out = None;
    if b.out
        && let Some(k) = given.keywords.iter().position(|(k, _)| *k == "out")
        && !b.ops.iter().any(|op| op.schema.params.iter().any(|p| p.name == "out"))
    {
        let (_, o) = given.keywords.remove(k);
        // SAFETY: a borrowed argument of the call.
        let o = unsafe { Bound::from_borrowed_ptr(py, o) };
        out = (!o.is_none()).then_some(o);
    }
    let mut first = None;
    let mut args = Args { values: smallvec::SmallVec::new(), target: None, out: None };
    let mut objects = Objects::new();
    for op in &b.ops {
        match parse(&op.schema, given, &mut args, &mut objects) {
            Ok(()) => {
                if let Some(out) = out {
                    return with_out(py, op, args, &out);
                }
                if b.role == Role::Inplace {
                    return run_inplace(py, op, args, objects[0]);
                }
                let r = run(py, op, &args)?;
                return result_object(py, r, &op.schema, &args, &objects);
            }
            Err(Refusal::Raised(e)) => return Err(e),
            Err(Refusal::Mismatch(why)) => {
                first.get_or_insert(why);
            }
        }
    }
    let text = if b.ops.len() == 1 {
        first.map(|why| why.text(&b.ops[0].schema, given)).unwrap_or_default()
    } else {
        let list: Vec<String> = b.ops.iter().map(|op| format!(" * {}", op.schema.text)).collect();
        format!(
            "{}() received an invalid combination of arguments - got {}, but expected one of:\n{}",
            b.name,
            describe(given),
            list.join("\n")
        )
    };
    Err(PyTypeError::new_err(text))
}

/// Elements that a call works on; a call that may wait for a GPU counts as much.
fn work(args: &Args) -> usize {
    let size = |t: &Tensor| if crate::gpu::holds(t) { DETACH } else { t.numel() };
    args.values
        .iter()
        .map(|v| match v {
            Value::Tensor(t) => size(t),
            Value::Tensors(ts) => ts.iter().flatten().map(size).sum(),
            _ => 0,
        })
        .max()
        .unwrap_or(0)
}

fn run(py: Python<'_>, op: &'static Op, args: &Args) -> PyResult<Ret> {
    let r = if work(args) >= DETACH {
        // The grad mode belongs to this thread, which stays the same.
        py.detach(|| op.run(args))
    } else {
        op.run(args)
    };
    give_warnings(py)?;
    r.map_err(PyErr::from)
}

/// What the op warned of, as `UserWarning`s (which the user's filter may turn into an exception).
pub fn give_warnings(py: Python<'_>) -> PyResult<()> {
    for text in crate::ops::take_warnings() {
        let text = CString::new(text.replace('\0', " ")).expect("no zero byte");
        PyErr::warn(py, &py.get_type::<pyo3::exceptions::PyUserWarning>(), &text, 1)?;
    }
    Ok(())
}

/// `x.op_(...)`: the op, written over x.
fn run_inplace<'py>(py: Python<'py>, op: &'static Op, mut args: Args, slf: *mut ffi::PyObject) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: a borrowed argument of the call.
    let this = unsafe { Bound::from_borrowed_ptr(py, slf) };
    let Some(x) = tensor_ref(&this) else {
        return Err(PyTypeError::new_err(format!("{}_() needs a tensor", op.schema.name)));
    };
    inplace::check_writable(&x)?;
    for v in &args.values[1..] {
        if let Value::Tensor(t) = v {
            inplace::check_overlap(&x, t)?;
        }
    }
    let tracked = {
        let tensors: Vec<&Tensor> =
            args.values.iter().filter_map(|v| if let Value::Tensor(t) = v { Some(t) } else { None }).collect();
        needs_grad(&tensors)
    };
    if !tracked {
        args.target = Some(x.clone());
    }
    let result = if tracked { overwriting(&x, || run(py, op, &args)) } else { run(py, op, &args) };
    match result? {
        Ret::Tensor(r) if !tracked && r.same_storage(&x) && r.layout() == x.layout() => x.storage().bump_version(),
        Ret::Tensor(r) => inplace::assign(&x, r)?,
        _ => return Err(PyRuntimeError::new_err(format!("{}_() has no in-place form", op.schema.name))),
    }
    Ok(this)
}

/// Ops whose `out=` may not be one of their inputs.
const MOVES: [&str; 7] = ["cat", "concat", "concatenate", "gather", "index_select", "masked_select", "take"];

/// Whether the elements of two tensors lie in overlapping ranges of memory.
fn memory_meets(a: &Tensor, b: &Tensor) -> bool {
    if a.device() != Device::Cpu || b.device() != Device::Cpu {
        return a.same_storage(b) && a.numel() > 0 && b.numel() > 0;
    }
    let range = |t: &Tensor| {
        let top = t.layout().required().unwrap_or(0).saturating_sub(t.layout().offset);
        (t.ptr() as usize, t.ptr() as usize + top * t.dtype().size())
    };
    let ((s1, e1), (s2, e2)) = (range(a), range(b));
    a.numel() > 0 && b.numel() > 0 && s1 < e2 && s2 < e1
}

/// `op(..., out=t)`: the result is written to `t`, which is resized where needed.
fn with_out<'py>(py: Python<'py>, op: &'static Op, mut args: Args, out: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let targets: Vec<Bound<'py, PyTensor>> = match out.cast::<PyTensor>() {
        Ok(t) => vec![t.clone()],
        Err(_) => out.try_iter()?.map(|o| Ok(o?.cast_into::<PyTensor>()?)).collect::<PyResult<_>>()?,
    };
    if is_grad_enabled() {
        let any = args.values.iter().any(|v| matches!(v, Value::Tensor(t) if t.requires_grad()));
        if any || targets.iter().any(|t| t.get().tensor().requires_grad()) {
            return Err(PyRuntimeError::new_err(format!(
                "{}(): functions with out=... arguments don't support automatic differentiation, but one of the arguments requires grad.",
                op.schema.name
            )));
        }
    }
    // Memory of the target that is read under another layout would be overwritten while in use; ops that
    // move data refuse their own inputs altogether.
    let moves = MOVES.contains(&op.schema.name);
    for t in &targets {
        let o = t.get().tensor();
        for v in &args.values {
            let inputs = match v {
                Value::Tensor(a) => std::slice::from_ref(a),
                _ => &[],
            };
            let listed: Vec<Tensor> =
                if let Value::Tensors(ts) = v { ts.iter().flatten().cloned().collect() } else { Vec::new() };
            for a in inputs.iter().chain(&listed) {
                if moves && memory_meets(a, &o) {
                    return Err(PyRuntimeError::new_err(
                        "unsupported operation: some elements of the input tensor and the written-to tensor refer to a single memory location. Please clone() the tensor before performing the operation.",
                    ));
                }
                inplace::check_overlap(&o, a)?;
            }
        }
    }
    if let [t] = &targets[..] {
        args.out = Some(t.get().tensor());
    }
    let results = match run(py, op, &args)? {
        Ret::Tensor(t) => vec![t],
        Ret::Tuple(ts) => ts,
        _ => return Err(PyTypeError::new_err(format!("{}() has no out= form", op.schema.name))),
    };
    if results.len() != targets.len() {
        return Err(PyTypeError::new_err(format!("{}(): out= needs {} tensors", op.schema.name, results.len())));
    }
    for (t, r) in targets.iter().zip(results) {
        let mut o = t.get().tensor();
        if r.same_storage(&o) && r.layout() == o.layout() {
            // Written where it belongs already.
            inplace::check_writable(&o)?;
            o.storage().bump_version();
            continue;
        }
        if moves && !op.schema.name.starts_with("c") && o.dtype() != r.dtype() {
            return Err(PyRuntimeError::new_err(format!(
                "Expected out tensor to have dtype {}, but got {} instead",
                r.dtype().cpp_name(),
                o.dtype().cpp_name()
            )));
        }
        if !o.dtype().can_hold(r.dtype()) {
            return Err(PyRuntimeError::new_err(format!(
                "result type {} can't be cast to the desired output type {}",
                r.dtype().scalar_name(),
                o.dtype().scalar_name()
            )));
        }
        if o.shape() != r.shape() {
            if o.numel() != 0 {
                let w = format!(
                    "An output with one or more elements was resized since it had shape {}, which does not match the required output shape {}. This behavior is deprecated, and in a future PyTorch release outputs will not be resized unless they have zero elements.",
                    crate::layout::show(o.shape()),
                    crate::layout::show(r.shape())
                );
                PyErr::warn(py, &py.get_type::<pyo3::exceptions::PyUserWarning>(), &CString::new(w).unwrap(), 1)?;
            }
            let fresh = Tensor::empty(r.shape(), o.dtype(), o.device())?;
            let fresh = inplace::with_identity(&o, fresh.storage().clone(), fresh.layout().clone(), o.dtype());
            t.get().replace(fresh.clone());
            o = fresh;
        }
        inplace::assign(&o, r)?;
    }
    Ok(out.clone())
}

/// Makes the callables and puts them where they belong.
pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = m.py();
    // Name and place -> overloads, in the order of the registry.
    let mut names: BTreeMap<(char, Role, String), Vec<&'static Op>> = BTreeMap::new();
    for op in &registry().ops {
        for place in op.places.chars() {
            let role = match place {
                'm' | 'p' => Role::Method,
                'i' => Role::Inplace,
                _ => Role::Function,
            };
            let name = if place == 'i' { format!("{}_", op.schema.name) } else { op.schema.name.to_string() };
            names.entry((place, role, name)).or_default().push(op);
        }
    }
    let keys: Vec<_> = names.keys().cloned().collect();
    let bindings: Vec<Binding> = names
        .into_iter()
        .map(|((place, role, name), ops)| Binding { name, ops, role, out: matches!(place, 'f' | 'l' | 's' | 't' | 'n' | '_') })
        .collect();
    let count = bindings.len();
    assert!(count <= 2560, "more names than entries");
    if BINDINGS.set(bindings).is_err() {
        return Err(PyRuntimeError::new_err("rustgrad._core is already loaded"));
    }
    let sub = |name: &str| -> PyResult<Bound<'_, PyModule>> {
        let s = PyModule::new(py, name)?;
        m.add(name, &s)?;
        Ok(s)
    };
    let (nn, linalg, special, fft) = (sub("nn")?, sub("linalg")?, sub("special")?, sub("fft")?);
    let class = py.get_type::<PyTensor>();
    for (i, (place, role, name)) in keys.into_iter().enumerate() {
        let b = &BINDINGS.get().unwrap()[i];
        let lines: Vec<&str> = b.ops.iter().map(|op| op.schema.text).collect();
        let doc = format!("{}\n\n{}", lines.join("\n"), b.ops[0].doc);
        let def = Box::leak(Box::new(ffi::PyMethodDef {
            ml_name: CString::new(name.clone()).unwrap().into_raw(),
            ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: ENTRIES[i >> 8][(i >> 4) & 15][i & 15] },
            ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
            ml_doc: CString::new(doc).unwrap().into_raw(),
        }));
        // SAFETY: the definition lives for ever; both calls answer a new reference or null.
        let object = unsafe {
            let p = if role == Role::Function {
                ffi::PyCFunction_NewEx(def, std::ptr::null_mut(), std::ptr::null_mut())
            } else {
                ffi::PyDescr_NewMethod(class.as_ptr() as *mut ffi::PyTypeObject, def)
            };
            Bound::from_owned_ptr_or_err(py, p)?
        };
        match place {
            'f' | '_' => m.add(name.as_str(), object)?,
            'n' => nn.add(name.as_str(), object)?,
            'l' => linalg.add(name.as_str(), object)?,
            's' => special.add(name.as_str(), object)?,
            't' => fft.add(name.as_str(), object)?,
            'p' => {
                let property = py.import("builtins")?.getattr("property")?.call1((object,))?;
                class.setattr(name.as_str(), property)?;
            }
            _ => class.setattr(name.as_str(), object)?,
        }
    }
    Ok(())
}
