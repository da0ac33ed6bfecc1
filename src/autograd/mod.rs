//! Reverse-mode differentiation.
//!
//! An op that is to be differentiable computes its result from plain memory and then calls [`record`],
//! giving the closure that turns the gradient of the result into the gradients of the inputs. The closure
//! is written in tensor ops, so it can itself be recorded (second derivatives). What it needs of the
//! forward pass it holds as [`Saved`], which notices when the memory has been changed since.

mod engine;
mod node;

pub use engine::{backward, grad};
pub use node::{Edge, GradFn, Hook, Node, Saved, overwriting, save, save_output};

use crate::error::Result;
use crate::tensor::Tensor;
use parking_lot::Mutex;
use smallvec::SmallVec;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::sync::{Arc, OnceLock, Weak};

/// The autograd state of a tensor; made when first needed, shared by every handle of the same tensor.
#[derive(Default)]
pub struct Meta {
    /// Set by the user on a leaf. A tensor with a `grad_fn` requires grad whatever this says.
    leaf_requires_grad: AtomicBool,
    has_grad_fn: AtomicBool,
    pub(crate) inference: AtomicBool,
    /// Of a leaf; few have any.
    hooks: OnceLock<Box<Mutex<LeafHooks>>>,
    state: Mutex<MetaState>,
}

#[derive(Default)]
struct MetaState {
    grad_fn: Option<Edge>,
    grad: Option<Tensor>,
    retain_grad: bool,
    accumulator: Weak<Node>,
    /// For a view: the version of the storage that `grad_fn` describes.
    view_version: u32,
}

#[derive(Default)]
struct LeafHooks {
    pre: Vec<(u64, Hook)>,
    /// Called with the leaf after a gradient was added to its `grad`.
    post: Vec<(u64, Hook)>,
}

/// Where a tensor keeps its [`Meta`], once it has one: a `OnceLock<Arc<Meta>>` that is filled by one exchange, since every
/// recorded op fills one.
#[derive(Default)]
pub struct MetaSlot(AtomicPtr<Meta>);

impl MetaSlot {
    #[inline]
    pub fn get(&self) -> Option<&Meta> {
        // SAFETY: null or from `Arc::into_raw`, whose count is given back when the slot is dropped.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }

    pub fn get_or_init(&self) -> &Meta {
        if self.get().is_none() {
            let _ = self.set(Arc::default());
        }
        self.get().expect("set by us or by another thread")
    }

    /// Fills an empty slot; a full one gives the value back.
    fn set(&self, meta: Arc<Meta>) -> Result<(), Arc<Meta>> {
        let new = Arc::into_raw(meta).cast_mut();
        match self.0.compare_exchange(std::ptr::null_mut(), new, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => Ok(()),
            // SAFETY: the count that was given up above.
            Err(_) => Err(unsafe { Arc::from_raw(new) }),
        }
    }

    /// A share in the meta, which is made where there is none.
    pub fn share(&self) -> Arc<Meta> {
        let m: *const Meta = self.get_or_init();
        // SAFETY: it came from `Arc::into_raw`, and the slot holds a count.
        unsafe {
            Arc::increment_strong_count(m);
            Arc::from_raw(m)
        }
    }
}

impl From<Arc<Meta>> for MetaSlot {
    fn from(meta: Arc<Meta>) -> MetaSlot {
        MetaSlot(AtomicPtr::new(Arc::into_raw(meta).cast_mut()))
    }
}

impl Drop for MetaSlot {
    fn drop(&mut self) {
        let m = *self.0.get_mut();
        if !m.is_null() {
            // SAFETY: the slot's own count.
            drop(unsafe { Arc::from_raw(m) });
        }
    }
}

thread_local! {
    static GRAD_MODE: Cell<bool> = const { Cell::new(true) };
    static INFERENCE: Cell<bool> = const { Cell::new(false) };
}

/// Whether operations are being recorded on this thread.
pub fn is_grad_enabled() -> bool {
    GRAD_MODE.with(Cell::get)
}
/// Turns recording on or off for this thread; answers what it was.
pub fn set_grad_enabled(on: bool) -> bool {
    GRAD_MODE.with(|m| m.replace(on))
}
pub fn is_inference_mode() -> bool {
    INFERENCE.with(Cell::get)
}
pub fn set_inference_mode(on: bool) -> bool {
    INFERENCE.with(|m| m.replace(on))
}

/// Runs `f` without recording.
pub fn no_grad<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            set_grad_enabled(self.0);
        }
    }
    let _restore = Restore(set_grad_enabled(false));
    f()
}

impl Tensor {
    pub(crate) fn meta(&self) -> &Meta {
        self.0.meta.get_or_init()
    }

    /// Whether gradients flow to this tensor: a leaf that asked for it, or a result of such.
    pub fn requires_grad(&self) -> bool {
        if let Some(m) = self.0.meta.get()
            && (m.leaf_requires_grad.load(Ordering::Acquire) || m.has_grad_fn.load(Ordering::Acquire))
        {
            return true;
        }
        // A view made before its base came to require grad through an in-place write.
        self.stale_view().is_some()
    }

    pub fn is_leaf(&self) -> bool {
        self.grad_edge_raw().is_none() && self.stale_view().is_none()
    }

    /// Marks a leaf. The dtype must be floating or complex.
    pub fn set_requires_grad(&self, on: bool) -> Result<()> {
        crate::ensure!(
            !on || self.dtype().is_float() || self.dtype().is_complex(),
            Runtime,
            "only Tensors of floating point dtype can require gradients"
        );
        if !self.is_leaf() {
            crate::ensure!(
                on,
                Runtime,
                "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a subgraph that doesn't require differentiation use var_no_grad = var.detach()."
            );
            return Ok(());
        }
        if on || self.0.meta.get().is_some() {
            self.meta().leaf_requires_grad.store(on, Ordering::Release);
        }
        Ok(())
    }

    pub fn is_inference(&self) -> bool {
        self.0.meta.get().is_some_and(|m| m.inference.load(Ordering::Acquire))
    }

    fn grad_edge_raw(&self) -> Option<Edge> {
        let m = self.0.meta.get()?;
        if !m.has_grad_fn.load(Ordering::Acquire) {
            return None;
        }
        m.state.lock().grad_fn.clone()
    }

    /// The base, if this is a view whose history was overtaken by an in-place write to the base.
    fn stale_view(&self) -> Option<&Tensor> {
        let base = self.0.view_of.as_ref()?;
        let base_meta = base.0.meta.get()?;
        if !base_meta.has_grad_fn.load(Ordering::Acquire) {
            return None;
        }
        let mine = self.0.meta.get().map_or(0, |m| m.state.lock().view_version);
        let theirs = base_meta.state.lock().view_version;
        // Versions are noted only when history is rewritten, so a difference means exactly that.
        (mine < theirs).then_some(base)
    }

    /// The node that made this tensor, and which of its results it is.
    pub fn grad_fn(&self) -> Option<Edge> {
        if let Some(base) = self.stale_view() {
            let base = base.clone();
            let version = base.meta().state.lock().view_version;
            let fresh = crate::ops::view::as_view_of(&base, self.layout().clone());
            if let Ok(Some(edge)) = fresh.map(|f| f.grad_edge_raw()) {
                let m = self.meta();
                let mut state = m.state.lock();
                state.grad_fn = Some(edge);
                state.view_version = version;
                m.has_grad_fn.store(true, Ordering::Release);
            }
        }
        self.grad_edge_raw()
    }

    /// Where the gradient of this tensor goes: its `grad_fn`, the accumulator of a leaf, or nowhere.
    pub fn grad_edge(&self) -> Option<Edge> {
        if self.0.meta.get().is_none() && self.0.view_of.is_none() {
            return None;
        }
        if let Some(e) = self.grad_fn() {
            return Some(e);
        }
        let m = self.0.meta.get()?;
        if !m.leaf_requires_grad.load(Ordering::Acquire) {
            return None;
        }
        let mut state = m.state.lock();
        let node = state.accumulator.upgrade().unwrap_or_else(|| {
            let n = Node::accumulator(self.clone());
            state.accumulator = Arc::downgrade(&n);
            n
        });
        Some(Edge { node, nr: 0 })
    }

    /// Replaces the history (in-place operations; results of a function).
    pub fn set_grad_fn(&self, mut edge: Option<Edge>) {
        if self.0.meta.get().is_none() {
            // A fresh result: its state is made in one go, without locks.
            let has_grad_fn = edge.is_some().into();
            let view_version = if self.0.view_of.is_some() { 0 } else { self.0.storage.version() };
            let state = Mutex::new(MetaState { grad_fn: edge, view_version, ..MetaState::default() });
            match self.0.meta.set(Arc::new(Meta { has_grad_fn, state, ..Meta::default() })) {
                Ok(()) => return,
                Err(late) => edge = late.state.lock().grad_fn.take(),
            }
        }
        let m = self.meta();
        let mut state = m.state.lock();
        m.has_grad_fn.store(edge.is_some(), Ordering::Release);
        m.leaf_requires_grad.store(false, Ordering::Release);
        state.grad_fn = edge;
        state.view_version = if self.0.view_of.is_some() { state.view_version } else { self.0.storage.version() };
    }

    /// Notes that a view was made from the present history of its base.
    pub(crate) fn mark_fresh_view(&self) {
        let Some(base) = &self.0.view_of else { return };
        let Some(m) = base.0.meta.get() else { return };
        let version = m.state.lock().view_version;
        if version > 0 {
            self.meta().state.lock().view_version = version;
        }
    }

    /// Cuts the history off and makes this a leaf (`detach_`).
    pub fn clear_history(&self) {
        if self.0.meta.get().is_some() {
            self.set_grad_fn(None);
        }
    }

    pub fn grad(&self) -> Option<Tensor> {
        self.0.meta.get()?.state.lock().grad.clone()
    }
    pub fn set_grad(&self, g: Option<Tensor>) {
        if g.is_none() && self.0.meta.get().is_none() {
            return;
        }
        let old = std::mem::replace(&mut self.meta().state.lock().grad, g);
        drop(old);
    }
    pub fn retain_grad(&self) -> Result<()> {
        crate::ensure!(self.requires_grad(), Runtime, "can't retain_grad on Tensor that has requires_grad=False");
        let Some(edge) = self.grad_fn() else { return Ok(()) };
        let mut state = self.meta().state.lock();
        if !std::mem::replace(&mut state.retain_grad, true) {
            edge.node.retain(edge.nr, self);
        }
        Ok(())
    }
    pub fn retains_grad(&self) -> bool {
        self.0.meta.get().is_some_and(|m| m.state.lock().retain_grad)
    }

    /// Calls `hook` with the gradient of this tensor when it is known; what it returns replaces it.
    pub fn register_hook(&self, id: u64, hook: Hook) -> Result<()> {
        crate::ensure!(self.requires_grad(), Runtime, "cannot register a hook on a tensor that doesn't require gradient");
        match self.grad_fn() {
            Some(e) => e.node.add_pre_hook(e.nr, id, hook),
            None => self.meta().hooks.get_or_init(Default::default).lock().pre.push((id, hook)),
        }
        Ok(())
    }
    pub fn remove_hook(&self, id: u64) {
        if let Some(e) = self.grad_edge_raw() {
            e.node.remove_hook(id);
        }
        if let Some(hooks) = self.0.meta.get().and_then(|m| m.hooks.get()) {
            let mut hooks = hooks.lock();
            hooks.pre.retain(|(i, _)| *i != id);
            hooks.post.retain(|(i, _)| *i != id);
        }
    }
    /// Calls `hook` with this leaf after each accumulation of its gradient.
    pub fn register_post_hook(&self, id: u64, hook: Hook) {
        self.meta().hooks.get_or_init(Default::default).lock().post.push((id, hook));
    }
    pub(crate) fn leaf_post_hooks(&self) -> Vec<Hook> {
        self.hooks_of(|h| &h.post)
    }
    pub(crate) fn leaf_hooks(&self) -> Vec<Hook> {
        self.hooks_of(|h| &h.pre)
    }
    fn hooks_of(&self, list: impl Fn(&LeafHooks) -> &Vec<(u64, Hook)>) -> Vec<Hook> {
        let hooks = self.0.meta.get().and_then(|m| m.hooks.get());
        hooks.map_or_else(Vec::new, |h| list(&h.lock()).iter().map(|(_, h)| h.clone()).collect())
    }
}

/// Whether an op over these inputs has to be recorded.
pub fn needs_grad(inputs: &[&Tensor]) -> bool {
    is_grad_enabled() && inputs.iter().any(|t| t.requires_grad())
}

/// The gradients a backward closure returns: one for each recorded input, `None` where there is none.
pub type Grads = SmallVec<[Option<Tensor>; 3]>;

/// Makes `out` the result of a node called `name` over `inputs`, if anything requires grad.
///
/// `f` gets the gradient of `out` and answers the gradients of `inputs`, in order; it may skip those that
/// [`Ctx::needs`] says nobody asked for. Gradients must have the shape of their input.
pub fn record<F>(name: &'static str, inputs: &[&Tensor], out: Tensor, f: F) -> Tensor
where
    F: Fn(&Ctx, &Tensor) -> Result<Grads> + Send + Sync + 'static,
{
    if needs_grad(inputs) {
        let node = Node::new(
            name,
            inputs,
            1,
            Arc::new(move |ctx: &Ctx, g: &[Option<Tensor>]| f(ctx, g[0].as_ref().expect("a single result has a gradient"))),
        );
        out.set_grad_fn(Some(Edge { node, nr: 0 }));
    } else {
        node::forget_saves();
    }
    out
}

/// [`record`] for several results; results that get no gradient arrive as `None`. Results of integer
/// dtype stay without history.
pub fn record_many<F>(name: &'static str, inputs: &[&Tensor], outs: &[&Tensor], f: F)
where
    F: Fn(&Ctx, &[Option<Tensor>]) -> Result<Grads> + Send + Sync + 'static,
{
    if needs_grad(inputs) {
        let node = Node::new(name, inputs, outs.len(), Arc::new(f));
        for (i, o) in outs.iter().enumerate() {
            if o.dtype().is_float() || o.dtype().is_complex() {
                o.set_grad_fn(Some(Edge { node: node.clone(), nr: i as u32 }));
            }
        }
    } else {
        node::forget_saves();
    }
}

/// What a backward closure may ask for.
pub struct Ctx<'a> {
    pub(crate) node: &'a Arc<Node>,
}

impl Ctx<'_> {
    /// Whether the gradient of the `i`-th recorded input is wanted.
    pub fn needs(&self, i: usize) -> bool {
        self.node.edges[i].is_some()
    }
}
