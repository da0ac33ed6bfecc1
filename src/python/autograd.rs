//! The backward pass, hooks, graph nodes and custom functions for Python.

use super::call::guarded;
use super::tensor::{PyTensor, tensor_ref, wrap};
use crate::autograd::{self, Ctx, Edge, Grads, Hook, Node};
use crate::error::Error;
use crate::tensor::Tensor;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyTuple};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A node of the graph (`grad_fn`).
#[pyclass(name = "Node", module = "torch.autograd.graph", frozen, subclass)]
pub struct PyNode(Arc<Node>);

/// A node on its way into a Python object of its own class.
#[pyclass(frozen, module = "rustgrad._core")]
struct NodeToken(Arc<Node>);

/// A node as a Python object; its class is named after it (`MulBackward0`), as programs expect.
fn node_object(py: Python<'_>, node: Arc<Node>) -> PyResult<Py<PyAny>> {
    static CLASSES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    let classes = CLASSES.get_or_init(py, || PyDict::new(py).unbind()).bind(py);
    let name = node.name.rsplit("::").next().unwrap_or_default().to_string();
    let class = match classes.get_item(&name)? {
        Some(c) => c,
        None => {
            let body = PyDict::new(py);
            body.set_item("__module__", "torch.autograd.graph")?;
            let class = py.import("builtins")?.getattr("type")?.call1((&name, (py.get_type::<PyNode>(),), body))?;
            classes.set_item(&name, &class)?;
            class
        }
    };
    Ok(class.call1((Py::new(py, NodeToken(node))?,))?.unbind())
}

#[pymethods]
impl PyNode {
    #[new]
    fn new(token: PyRef<'_, NodeToken>) -> PyNode {
        PyNode(token.0.clone())
    }
    fn name(&self) -> String {
        self.0.name.to_string()
    }
    /// The nodes the inputs came from, with the number of the result.
    #[getter]
    fn next_functions<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let items = self
            .0
            .next()
            .iter()
            .map(|e| match e {
                Some(e) => Ok((Some(node_object(py, e.node.clone())?), e.nr)),
                None => Ok((None, 0)),
            })
            .collect::<PyResult<Vec<_>>>()?;
        PyTuple::new(py, items)
    }
    /// The leaf of an AccumulateGrad node.
    #[getter]
    fn variable(&self, py: Python<'_>) -> PyResult<Py<PyTensor>> {
        match self.0.leaf() {
            Some(t) => wrap(py, t.clone()),
            None => {
                Err(pyo3::exceptions::PyAttributeError::new_err(format!("'{}' object has no attribute 'variable'", self.0.name)))
            }
        }
    }
    fn __repr__(slf: PyRef<'_, Self>) -> String {
        format!("<{} object at {:#x}>", slf.0.name, slf.as_ptr() as usize)
    }
    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<PyNode>().is_ok_and(|o| Arc::ptr_eq(&o.get().0, &self.0))
    }
    fn __hash__(&self) -> usize {
        Arc::as_ptr(&self.0) as usize >> 4
    }
    /// What a custom function hung on its node.
    #[getter]
    fn _ctx(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.0.extra.lock().as_ref().and_then(|e| e.downcast_ref::<Py<PyAny>>().map(|o| o.clone_ref(py)))
    }
}

#[pyfunction]
fn _grad_fn(py: Python<'_>, x: &Bound<'_, PyTensor>) -> PyResult<Option<Py<PyAny>>> {
    x.get().tensor().grad_fn().map(|e| node_object(py, e.node)).transpose()
}

/// Which result of its `grad_fn` a tensor is.
#[pyfunction]
fn _output_nr(x: &Bound<'_, PyTensor>) -> u32 {
    x.get().tensor().grad_fn().map_or(0, |e| e.nr)
}

fn tensors(o: &Bound<'_, PyAny>) -> PyResult<Vec<Tensor>> {
    if let Some(t) = tensor_ref(o) {
        return Ok(vec![t]);
    }
    o.try_iter()?
        .map(|x| {
            let x = x?;
            tensor_ref(&x)
                .ok_or_else(|| PyTypeError::new_err(format!("expected Tensor, but got {}", super::parse::type_name(&x))))
        })
        .collect()
}

fn optional_tensors(o: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<Option<Tensor>>> {
    let Some(o) = o.filter(|o| !o.is_none()) else { return Ok(Vec::new()) };
    if let Some(t) = tensor_ref(o) {
        return Ok(vec![Some(t)]);
    }
    o.try_iter()?
        .map(|x| {
            let x = x?;
            if x.is_none() {
                return Ok(None);
            }
            match tensor_ref(&x) {
                Some(t) => Ok(Some(t)),
                None => Err(PyTypeError::new_err(format!(
                    "gradients can be either Tensors or None, but got {}",
                    x.get_type().name()?
                ))),
            }
        })
        .collect()
}

/// Accumulates gradients into the leaves.
#[pyfunction]
#[pyo3(signature = (roots, gradients=None, retain_graph=None, create_graph=false, inputs=None))]
fn _backward(
    py: Python<'_>,
    roots: &Bound<'_, PyAny>,
    gradients: Option<&Bound<'_, PyAny>>,
    retain_graph: Option<bool>,
    create_graph: bool,
    inputs: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let roots = tensors(roots)?;
    let given = optional_tensors(gradients)?;
    let inputs = inputs.filter(|i| !i.is_none()).map(tensors).transpose()?;
    if let Some([]) = inputs.as_deref() {
        return Err(PyRuntimeError::new_err("'inputs' argument to backward() cannot be empty."));
    }
    let retain = retain_graph.unwrap_or(create_graph);
    guarded("backward", || Ok(py.detach(|| autograd::backward(&roots, &given, retain, create_graph, inputs.as_deref()))?))
}

/// The gradients of `outputs` with respect to `inputs`.
#[pyfunction]
#[pyo3(signature = (outputs, inputs, grad_outputs=None, retain_graph=None, create_graph=false, allow_unused=false))]
fn _grad(
    py: Python<'_>,
    outputs: &Bound<'_, PyAny>,
    inputs: &Bound<'_, PyAny>,
    grad_outputs: Option<&Bound<'_, PyAny>>,
    retain_graph: Option<bool>,
    create_graph: bool,
    allow_unused: bool,
) -> PyResult<Vec<Option<Py<PyTensor>>>> {
    let (roots, inputs, given) = (tensors(outputs)?, tensors(inputs)?, optional_tensors(grad_outputs)?);
    let retain = retain_graph.unwrap_or(create_graph);
    let grads =
        guarded("grad", || Ok(py.detach(|| autograd::grad(&roots, &inputs, &given, retain, create_graph, allow_unused))?))?;
    grads.into_iter().map(|g| g.map(|g| wrap(py, g)).transpose()).collect()
}

static HOOK: AtomicU64 = AtomicU64::new(1);

/// Calls a Python function with a gradient; what it returns, if anything, replaces it.
fn python_hook(f: Py<PyAny>, keep_name: &'static str) -> Hook {
    Arc::new(move |g: &Tensor| {
        Python::attach(|py| {
            let r = f.bind(py).call1((wrap(py, g.clone())?,))?;
            if r.is_none() {
                return Ok(None);
            }
            match tensor_ref(&r) {
                Some(t) => Ok(Some(t)),
                None => {
                    Err(PyTypeError::new_err(format!("{keep_name} must return a Tensor or None, not {}", r.get_type().name()?)))
                }
            }
        })
        .map_err(|e: PyErr| Error::from(e))
    })
}

/// Registers a hook on the gradient of a tensor; answers its number.
#[pyfunction]
fn _register_hook(x: &Bound<'_, PyTensor>, f: Py<PyAny>) -> PyResult<u64> {
    let id = HOOK.fetch_add(1, Ordering::Relaxed);
    x.get().tensor().register_hook(id, python_hook(f, "a hook"))?;
    Ok(id)
}

/// Registers a function called with a leaf after its gradient has been accumulated; answers its number.
#[pyfunction]
fn _register_post_hook(x: &Bound<'_, PyTensor>, f: Py<PyAny>) -> u64 {
    let id = HOOK.fetch_add(1, Ordering::Relaxed);
    x.get().tensor().register_post_hook(id, python_hook(f, "a hook"));
    id
}

#[pyfunction]
fn _remove_hook(x: &Bound<'_, PyTensor>, id: u64) {
    x.get().tensor().remove_hook(id);
}

#[pyfunction]
fn _retain_grad(x: &Bound<'_, PyTensor>) -> PyResult<()> {
    Ok(x.get().tensor().retain_grad()?)
}

#[pyfunction]
fn _retains_grad(x: &Bound<'_, PyTensor>) -> bool {
    x.get().tensor().retains_grad()
}

#[pyfunction]
fn is_grad_enabled() -> bool {
    autograd::is_grad_enabled()
}
/// Turns recording on or off; answers what it was.
#[pyfunction]
fn _set_grad_enabled(on: bool) -> bool {
    autograd::set_grad_enabled(on)
}
#[pyfunction]
fn is_inference_mode_enabled() -> bool {
    autograd::is_inference_mode()
}
#[pyfunction]
fn _set_inference_mode(on: bool) -> bool {
    autograd::set_inference_mode(on)
}
/// Marks a result as made in inference mode.
#[pyfunction]
fn _mark_inference(x: &Bound<'_, PyTensor>) {
    x.get().tensor().meta().inference.store(true, Ordering::Release);
}

/// Records a custom function: `results` become results of a new node over `inputs` (None: not a tensor).
/// In the backward pass the node calls `ctx._run_backward(node, grads)`. A dirty result is changed in place;
/// any other becomes an alias of its memory. `saves` says whether a backward pass frees the graph.
#[pyfunction]
fn _apply_function<'py>(
    py: Python<'py>,
    ctx: Py<PyAny>,
    name: String,
    inputs: &Bound<'py, PyList>,
    results: &Bound<'py, PyList>,
    differentiable: Vec<bool>,
    dirty: Vec<bool>,
    saves: bool,
) -> PyResult<Vec<Py<PyAny>>> {
    let placeholder = Tensor::scalar(0.0, crate::dtype::Dtype::F32);
    let ins: Vec<Tensor> = inputs.iter().map(|o| tensor_ref(&o).unwrap_or_else(|| placeholder.clone())).collect();
    let expected: Vec<(crate::layout::Dims, crate::dtype::Dtype)> = ins.iter().map(|t| (t.dims(), t.dtype())).collect();
    let refs: Vec<&Tensor> = ins.iter().collect();
    let label = name.clone();
    let kept = ctx.clone_ref(py);
    let f = move |c: &Ctx, grads: &[Option<Tensor>]| -> crate::error::Result<Grads> {
        Python::attach(|py| -> PyResult<Grads> {
            let args: Vec<Option<Py<PyTensor>>> =
                grads.iter().map(|g| g.clone().map(|g| wrap(py, g)).transpose()).collect::<PyResult<_>>()?;
            let node = node_object(py, c.node.clone())?;
            let r = kept.bind(py).call_method1("_run_backward", (node, PyTuple::new(py, args)?))?;
            let mut out = Grads::new();
            for (k, g) in r.try_iter()?.enumerate() {
                out.push(match tensor_ref(&g?) {
                    None => None,
                    Some(_) if !c.needs(k) => None,
                    Some(t) => Some(fit_gradient(t, &expected[k].0, expected[k].1, &label, k)?),
                });
            }
            Ok(out)
        })
        .map_err(Error::from)
    };
    let node = Node::custom(name, &refs, results.len(), Arc::new(f), saves);
    *node.extra.lock() = Some(Box::new(ctx));
    results
        .iter()
        .enumerate()
        .map(|(i, o)| {
            let (Some(t), true) = (tensor_ref(&o), differentiable[i]) else { return Ok(o.unbind()) };
            let linked = t.detach();
            linked.set_grad_fn(Some(Edge { node: node.clone(), nr: i as u32 }));
            if dirty[i] {
                crate::ops::inplace::rebase(&t, linked)?;
                return Ok(o.unbind());
            }
            Ok(wrap(py, linked)?.into_any())
        })
        .collect()
}

/// A gradient a user's backward gave, in the shape and dtype of its input, or an error.
fn fit_gradient(t: Tensor, shape: &[usize], dtype: crate::dtype::Dtype, name: &str, k: usize) -> PyResult<Tensor> {
    let fits = t.shape() == shape || crate::layout::broadcast(t.shape(), shape).is_ok_and(|b| b.as_slice() == t.shape());
    if !fits {
        return Err(PyRuntimeError::new_err(format!(
            "Function {name} returned an invalid gradient at index {k} - got {} but expected shape compatible with {}",
            crate::layout::show(t.shape()),
            crate::layout::show(shape)
        )));
    }
    Ok(crate::ops::copy::to_dtype(&crate::ops::reduce::sum_to(&t, shape)?, dtype)?)
}

/// The values of `x` as the `nr`-th result of a node.
#[pyfunction]
fn _node_output(py: Python<'_>, node: PyRef<'_, PyNode>, nr: u32, x: &Bound<'_, PyTensor>) -> PyResult<Py<PyTensor>> {
    let t = x.get().tensor().detach();
    if autograd::is_grad_enabled() {
        t.set_grad_fn(Some(Edge { node: node.0.clone(), nr }));
    }
    wrap(py, t)
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<PyNode>()?;
    for f in [
        wrap_pyfunction!(_grad_fn, m)?,
        wrap_pyfunction!(_output_nr, m)?,
        wrap_pyfunction!(_backward, m)?,
        wrap_pyfunction!(_grad, m)?,
        wrap_pyfunction!(_register_hook, m)?,
        wrap_pyfunction!(_register_post_hook, m)?,
        wrap_pyfunction!(_remove_hook, m)?,
        wrap_pyfunction!(_retain_grad, m)?,
        wrap_pyfunction!(_retains_grad, m)?,
        wrap_pyfunction!(is_grad_enabled, m)?,
        wrap_pyfunction!(_set_grad_enabled, m)?,
        wrap_pyfunction!(is_inference_mode_enabled, m)?,
        wrap_pyfunction!(_set_inference_mode, m)?,
        wrap_pyfunction!(_mark_inference, m)?,
        wrap_pyfunction!(_apply_function, m)?,
        wrap_pyfunction!(_node_output, m)?,
    ] {
        m.add_function(f)?;
    }
    Ok(())
}
