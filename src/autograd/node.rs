//! Nodes of the graph, saved tensors, and dropping a long graph without recursion.

use super::{Ctx, Grads};
use crate::bail;
use crate::error::Result;
use crate::tensor::Tensor;
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Points at the `nr`-th result of a node.
#[derive(Clone)]
pub struct Edge {
    pub node: Arc<Node>,
    pub nr: u32,
}

/// Turns the gradients of a node's results into those of its inputs.
pub type GradFn = Arc<dyn Fn(&Ctx, &[Option<Tensor>]) -> Result<Grads> + Send + Sync>;

/// Sees a gradient and may replace it.
pub type Hook = Arc<dyn Fn(&Tensor) -> Result<Option<Tensor>> + Send + Sync>;

pub(crate) enum Kind {
    Op,
    /// Adds what arrives to the `grad` of a leaf.
    Accumulate(Tensor),
}

/// One recorded operation.
pub struct Node {
    pub name: std::borrow::Cow<'static, str>,
    pub(crate) edges: SmallVec<[Option<Edge>; 3]>,
    pub(crate) outputs: usize,
    pub(crate) sequence: u64,
    pub(crate) kind: Kind,
    /// `None` once a backward pass without `retain_graph` has used it.
    pub(crate) f: Mutex<Option<GradFn>>,
    /// Whether `f` holds saved tensors; nodes without can run any number of times.
    saves: bool,
    /// Few nodes have any.
    hooks: OnceLock<Box<Mutex<Hooks>>>,
    /// What the binding layer hangs on a node (the context of a custom function).
    pub extra: Mutex<Option<Box<dyn std::any::Any + Send + Sync>>>,
}

#[derive(Default)]
struct Hooks {
    pre: Vec<(u32, u64, Hook)>,
    retain: Vec<(u32, std::sync::Weak<super::Meta>)>,
}

static SEQUENCE: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// Whether a closure made on this thread since the flag was cleared holds a saved tensor.
    static SAVED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    /// How many drops of nodes this thread is inside of, and what they leave to the outermost one.
    static DEPTH: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
    static GRAVEYARD: RefCell<Vec<Remains>> = const { RefCell::new(Vec::new()) };
}

impl Node {
    pub(crate) fn new(
        name: impl Into<std::borrow::Cow<'static, str>>,
        inputs: &[&Tensor],
        outputs: usize,
        f: GradFn,
    ) -> Arc<Node> {
        Arc::new(Node {
            name: name.into(),
            edges: inputs.iter().map(|t| t.grad_edge()).collect(),
            outputs,
            sequence: SEQUENCE.fetch_add(1, Ordering::Relaxed),
            kind: Kind::Op,
            f: Mutex::new(Some(f)),
            saves: SAVED.with(|s| s.replace(false)),
            hooks: OnceLock::new(),
            extra: Mutex::new(None),
        })
    }

    /// A node whose closure keeps what it needs in ways of its own; `saves`: it can run once unless kept.
    pub fn custom(name: String, inputs: &[&Tensor], outputs: usize, f: GradFn, saves: bool) -> Arc<Node> {
        SAVED.with(|s| s.set(saves));
        Node::new(name, inputs, outputs, f)
    }

    pub(crate) fn accumulator(leaf: Tensor) -> Arc<Node> {
        Arc::new(Node {
            name: "torch::autograd::AccumulateGrad".into(),
            edges: SmallVec::new(),
            outputs: 1,
            // Accumulators run as soon as their gradient is complete.
            sequence: u64::MAX,
            kind: Kind::Accumulate(leaf),
            f: Mutex::new(None),
            saves: false,
            hooks: OnceLock::new(),
            extra: Mutex::new(None),
        })
    }

    /// The nodes the inputs came from, as PyTorch's `next_functions`.
    pub fn next(&self) -> &[Option<Edge>] {
        &self.edges
    }

    /// The leaf of an accumulator.
    pub fn leaf(&self) -> Option<&Tensor> {
        match &self.kind {
            Kind::Accumulate(t) => Some(t),
            Kind::Op => None,
        }
    }

    /// The closure; given up by the graph unless it is to be kept.
    pub(crate) fn take_fn(&self, keep: bool) -> Result<GradFn> {
        let mut f = self.f.lock();
        let got = if keep || !self.saves { f.clone() } else { f.take() };
        match got {
            Some(f) => Ok(f),
            None => bail!(
                Runtime,
                "Trying to backward through the graph a second time (or directly access saved tensors after they have already been freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). Specify retain_graph=True if you need to backward through the graph a second time or if you need to access saved tensors after calling backward."
            ),
        }
    }

    pub fn add_pre_hook(&self, nr: u32, id: u64, hook: Hook) {
        self.hooks.get_or_init(Default::default).lock().pre.push((nr, id, hook));
    }
    pub fn remove_hook(&self, id: u64) {
        if let Some(h) = self.hooks.get() {
            h.lock().pre.retain(|(_, i, _)| *i != id);
        }
    }
    pub(crate) fn retain(&self, nr: u32, t: &Tensor) {
        self.hooks.get_or_init(Default::default).lock().retain.push((nr, Arc::downgrade(&t.0.meta.share())));
    }

    /// Runs the hooks of the results and stores gradients that were asked to be retained.
    pub(crate) fn run_hooks(&self, grads: &mut [Option<Tensor>]) -> Result<()> {
        let Some(hooks) = self.hooks.get() else { return Ok(()) };
        let (pre, retain) = {
            let h = hooks.lock();
            (h.pre.clone(), h.retain.clone())
        };
        for (nr, _, hook) in pre {
            if let Some(g) = &grads[nr as usize]
                && let Some(new) = hook(g)?
            {
                grads[nr as usize] = Some(new);
            }
        }
        for (nr, meta) in retain {
            if let (Some(meta), Some(g)) = (meta.upgrade(), &grads[nr as usize]) {
                let mut state = meta.state.lock();
                let sum = match state.grad.take() {
                    None => g.clone(),
                    Some(old) => crate::ops::elementwise::add(&old, g)?,
                };
                state.grad = Some(sum);
            }
        }
        Ok(())
    }
}

/// The closure that saved tensors was not recorded.
pub(super) fn forget_saves() {
    SAVED.with(|s| s.set(false));
}

/// What a node held.
struct Remains {
    _edges: SmallVec<[Option<Edge>; 3]>,
    _closure: Option<GradFn>,
}

/// Nodes that may be dropped inside each other.
const NESTED: u32 = 32;

impl Drop for Node {
    fn drop(&mut self) {
        let remains = Remains { _edges: std::mem::take(&mut self.edges), _closure: self.f.get_mut().take() };
        // A chain of a million nodes must not recurse: what lies deeper is put on a list, which the outermost drop empties.
        let Ok(depth) = DEPTH.try_with(|d| d.replace(d.get() + 1)) else {
            return; // the thread is ending
        };
        if depth == NESTED {
            let _ = GRAVEYARD.try_with(|g| g.borrow_mut().push(remains));
        } else {
            drop(remains);
            while depth == 0
                && let Ok(Some(next)) = GRAVEYARD.try_with(|g| g.borrow_mut().pop())
            {
                drop(next);
            }
        }
        DEPTH.set(depth);
    }
}

/// A tensor kept for the backward pass, with the version it had.
pub struct Saved {
    tensor: Tensor,
    version: u32,
    /// A result of the node that saves it: kept without history (no cycle), which is put back on use.
    output: Option<u32>,
}

thread_local! {
    /// The memory that an in-place call is about to overwrite.
    static DOOMED: RefCell<Option<crate::storage::StorageRef>> = const { RefCell::new(None) };
}

/// Runs `f`, the out-of-place half of an in-place call on `target`: what it saves of that memory it saves as
/// a copy.
pub fn overwriting<R>(target: &Tensor, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<crate::storage::StorageRef>);
    impl Drop for Restore {
        fn drop(&mut self) {
            DOOMED.with_borrow_mut(|d| *d = self.0.take());
        }
    }
    let _restore = Restore(DOOMED.with_borrow_mut(|d| d.replace(target.storage().clone())));
    f()
}

/// A copy with the history of `t`, where its memory is about to be overwritten.
fn rescue(t: &Tensor) -> Option<Tensor> {
    if !DOOMED.with_borrow(|d| d.as_ref().is_some_and(|d| Arc::ptr_eq(d, t.storage()))) {
        return None;
    }
    // A copy that cannot be made leaves the original, whose change the version check will notice.
    let copy = crate::ops::copy::clone_dense(&t.detach()).ok()?;
    if let Some(edge) = t.grad_edge() {
        copy.set_grad_fn(Some(edge));
    }
    Some(copy)
}

/// Keeps an input for the backward pass.
pub fn save(t: &Tensor) -> Saved {
    SAVED.with(|s| s.set(true));
    if let Some(copy) = rescue(t) {
        return Saved { version: copy.storage().version(), tensor: copy, output: None };
    }
    Saved { tensor: t.clone(), version: t.storage().version(), output: None }
}

/// Keeps the `nr`-th result for the backward pass.
pub fn save_output(t: &Tensor, nr: u32) -> Saved {
    SAVED.with(|s| s.set(true));
    Saved { tensor: t.detach(), version: t.storage().version(), output: Some(nr) }
}

impl Saved {
    /// The tensor, or an error if its memory was changed since it was saved.
    pub fn get(&self, ctx: &Ctx) -> Result<Tensor> {
        let now = self.tensor.storage().version();
        if now != self.version {
            let name = match self.output {
                Some(nr) => format!(", which is output {nr} of {}", ctx.node.name),
                None => match self.tensor.grad_fn() {
                    Some(e) => format!(", which is output {} of {}", e.nr, e.node.name),
                    None => String::new(),
                },
            };
            bail!(
                Runtime,
                "one of the variables needed for gradient computation has been modified by an inplace operation: [{} {}]{}, is at version {}; expected version {} instead. Hint: enable anomaly detection to find the operation that failed to compute its gradient, with torch.autograd.set_detect_anomaly(True).",
                self.tensor.type_name(),
                crate::layout::show(self.tensor.shape()),
                name,
                now,
                self.version
            );
        }
        match self.output {
            Some(nr) if super::is_grad_enabled() => {
                let t = self.tensor.detach();
                t.set_grad_fn(Some(Edge { node: ctx.node.clone(), nr }));
                Ok(t)
            }
            _ => Ok(self.tensor.clone()),
        }
    }
}
