//! Pending expressions: elementwise results that are computed when somebody needs them.
//!
//! An op over a large tensor records an [`Expr`]: its formula and its operands, which may be pending themselves. When the
//! values are asked for, the expressions grow together into one formula, whose common parts are computed once per tile,
//! and only its result is stored. What an expression reads stays unchanged until then ([`Storage::ptr_mut`] sees to that).
//! Results are the same bits as without: every primitive is computed by the same kernel in the same type.
//!
//! A pending tensor that is read again after it was drawn into another expression (a saved activation in the backward
//! pass) is drawn in again, and so is computed twice rather than stored; [`MAX_USES`] bounds that.

use super::builder::{Formula, Node, build, push};
use super::eval::{self, Compute, MAX_INPUTS, Operand, Plan, compute_dtype};
use crate::cpu::memory;
use crate::device::Device;
use crate::dtype::{Dtype, Scalar};
use crate::error::Result;
use crate::gpu;
use crate::layout::{Dims, Layout};
use crate::storage::{Pending, Storage, StorageRef};
use crate::tensor::Tensor;
use smallvec::SmallVec;
use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// Elements from which on an op is recorded: below, recording costs more than a pass over a cache.
const MIN_ELEMENTS: usize = 1 << 16;
/// Operations in one expression at most.
const MAX_OPS: usize = 64;
/// How often a pending result is drawn into others before it is computed for good.
const MAX_USES: u32 = 3;

enum Arg {
    Tensor(Tensor),
    Number(Scalar),
    Expr(Arc<Expr>),
}

/// An elementwise op that has not run.
pub struct Expr {
    formula: Arc<Formula>,
    args: SmallVec<[Arg; 3]>,
    params: SmallVec<[Scalar; 2]>,
    /// The compute type, to which every dtype in here is equal (or bool).
    common: Dtype,
    shape: Dims,
    /// Operations in here, those that are shared counted every time.
    ops: usize,
    /// The tensors that are read, each once.
    leaves: SmallVec<[Tensor; 4]>,
    uses: AtomicU32,
}

/// 0: not asked yet, 1: on, 2: off.
static MODE: AtomicU8 = AtomicU8::new(0);

/// Whether ops are recorded; `RUSTGRAD_EAGER=1` and [`set_enabled`] turn it off.
pub fn enabled() -> bool {
    match MODE.load(Ordering::Relaxed) {
        1 => true,
        2 => false,
        _ => {
            let on = !std::env::var("RUSTGRAD_EAGER").is_ok_and(|v| !v.is_empty() && v != "0");
            set_enabled(on);
            on
        }
    }
}
pub fn set_enabled(on: bool) {
    MODE.store(if on { 1 } else { 2 }, Ordering::Relaxed);
}

fn same_leaf(a: &Tensor, b: &Tensor) -> bool {
    a.same_storage(b) && a.layout() == b.layout() && a.dtype() == b.dtype()
}

/// The expression behind a pending tensor that fills its storage.
fn expr_of(t: &Tensor) -> Option<Arc<Expr>> {
    let whole = t.layout().offset == 0 && t.is_contiguous() && t.numel() * t.dtype().size() == t.storage().nbytes();
    if !whole {
        return None;
    }
    t.storage().with_pending(|w| w.downcast_ref::<Work>().map(|w| w.0.clone())).flatten()
}

/// The pending result of an op over `operands` (of promoted dtype `common`), where that pays and is possible.
pub fn record(
    formula: &Arc<Formula>,
    operands: &[Operand],
    params: &[Scalar],
    common: Dtype,
    out_dtype: Dtype,
    shape: &Dims,
) -> Option<Tensor> {
    let numel: usize = shape.iter().product();
    let device = operands.iter().find_map(|o| match o {
        Operand::T(t) if t.device() != Device::Cpu => Some(t.device()),
        _ => None,
    });
    let device = device.unwrap_or(Device::Cpu);
    // On a GPU a dispatch costs more than recording, whatever its size.
    let least = if device == Device::Cpu { MIN_ELEMENTS } else { 1 };
    if numel < least || !enabled() || compute_dtype(common) != common || !(out_dtype == common || out_dtype == Dtype::Bool) {
        return None;
    }
    let nbytes = numel.checked_mul(out_dtype.size())?;
    // What will not fit in memory fails now, at the call.
    let max_leaves = match device {
        Device::Gpu(i) => {
            let gpu = gpu::Gpu::get(i).ok()?;
            if !gpu::elementwise::may_record(gpu, formula, operands, common, nbytes) {
                return None;
            }
            MAX_INPUTS.min(gpu.info().max_bindings - 1)
        }
        _ if memory::fits(nbytes) => MAX_INPUTS,
        _ => return None,
    };
    let mut args: SmallVec<[Arg; 3]> = SmallVec::new();
    for o in operands {
        let arg = match o {
            Operand::S(s) => Arg::Number(*s),
            Operand::T(t) => {
                if t.device() != device {
                    // A number that came as a tensor; it may change before it is used.
                    args.push(Arg::Number(t.item().ok()?));
                    continue;
                }
                if t.storage().is_exposed() {
                    return None;
                }
                let grown = if t.shape() == shape.as_slice() { expr_of(t) } else { None };
                match grown {
                    // (A reshaped view is read as memory: its expression has other dimensions.)
                    Some(e) if e.shape == *shape && e.common == common && e.uses.load(Ordering::Relaxed) < MAX_USES => {
                        Arg::Expr(e)
                    }
                    _ => Arg::Tensor(t.detach()),
                }
            }
        };
        args.push(arg);
    }
    let own = formula.nodes.iter().filter(|n| matches!(n, Node::Op(..))).count();
    let mut size = measure(&args, own, max_leaves);
    if size.is_none() {
        // Too much: what is pending is computed, and read as memory.
        for (a, o) in args.iter_mut().zip(operands) {
            if let (Arg::Expr(_), Operand::T(t)) = (&*a, o) {
                *a = Arg::Tensor(t.detach());
            }
        }
        size = measure(&args, own, max_leaves);
    }
    let (ops, leaves) = size?;
    for t in &leaves {
        // Tensors are read as memory; one that is pending is computed now.
        t.storage().settle();
    }
    for a in &args {
        if let Arg::Expr(e) = a {
            e.uses.fetch_add(1, Ordering::Relaxed);
        }
    }
    let expr = Arc::new(Expr {
        formula: formula.clone(),
        args,
        params: params.into(),
        common,
        shape: shape.clone(),
        ops,
        leaves,
        uses: AtomicU32::new(0),
    });
    let work = Box::new(Work(expr.clone(), out_dtype, device));
    let storage = match device {
        Device::Cpu => Storage::pending(nbytes, work),
        _ => Storage::pending_on_gpu(nbytes, device, work),
    };
    for t in &expr.leaves {
        t.storage().read_later(&storage);
    }
    Some(Tensor::from_parts(storage, Layout::contiguous(shape).ok()?, out_dtype))
}

/// Operations and distinct tensors of an expression, unless they are too many.
fn measure(args: &[Arg], own: usize, max_leaves: usize) -> Option<(usize, SmallVec<[Tensor; 4]>)> {
    let mut ops = own;
    let mut leaves: SmallVec<[Tensor; 4]> = SmallVec::new();
    let mut add = |t: &Tensor| {
        if !leaves.iter().any(|l| same_leaf(l, t)) {
            leaves.push(t.clone());
        }
    };
    for a in args {
        match a {
            Arg::Number(_) => {}
            Arg::Tensor(t) => add(t),
            Arg::Expr(e) => {
                ops += e.ops;
                e.leaves.iter().for_each(&mut add);
            }
        }
    }
    (ops <= MAX_OPS && leaves.len() <= max_leaves).then_some((ops, leaves))
}

/// One formula over memory: the expression with all that grew into it.
struct Flat {
    formula: Formula,
    inputs: SmallVec<[Operand; 4]>,
    params: Vec<Scalar>,
}

impl Expr {
    /// Whether nobody but its one holder, here and further down, can read this expression; collects the handles in it.
    fn is_last<'a>(self: &'a Arc<Expr>, held: &mut Vec<&'a Tensor>) -> bool {
        held.extend(&self.leaves);
        Arc::strong_count(self) == 1
            && self.args.iter().all(|a| match a {
                Arg::Number(_) => true,
                Arg::Tensor(t) => {
                    held.push(t);
                    true
                }
                Arg::Expr(e) => e.is_last(held),
            })
    }

    fn flatten(&self) -> Flat {
        let inputs: SmallVec<[Operand; 4]> = self.leaves.iter().map(|t| Operand::T(t.clone())).collect();
        let mut params: Vec<Scalar> = Vec::new();
        let formula = build(|| {
            let mut known = HashMap::new();
            self.grow(&self.leaves, &mut params, &mut known)
        });
        Flat { formula, inputs, params }
    }

    /// Puts the expression into the arena. Nodes are pushed as they are, so that the result has the bits of the single ops.
    fn grow(&self, leaves: &[Tensor], params: &mut Vec<Scalar>, known: &mut HashMap<*const Expr, super::E>) -> super::E {
        let mut args: SmallVec<[super::E; 4]> = SmallVec::new();
        for a in &self.args {
            args.push(match a {
                Arg::Number(s) => number(*s, params),
                Arg::Tensor(t) => {
                    let i = leaves.iter().position(|l| same_leaf(l, t)).expect("measured before");
                    push(Node::In(i as u8))
                }
                Arg::Expr(e) => match known.get(&Arc::as_ptr(e)) {
                    Some(at) => *at,
                    None => {
                        let at = e.grow(leaves, params, known);
                        known.insert(Arc::as_ptr(e), at);
                        at
                    }
                },
            });
        }
        let mut at: SmallVec<[super::E; 16]> = SmallVec::new();
        for n in &self.formula.nodes {
            at.push(match *n {
                Node::In(i) => args[i as usize],
                Node::Par(i) => number(self.params[i as usize], params),
                Node::Op(p, mut a) => {
                    for a in &mut a[..p.info().arity] {
                        *a = at[*a as usize].0;
                    }
                    push(Node::Op(p, a))
                }
                n => push(n),
            });
        }
        at[self.formula.root as usize]
    }
}

/// A number as a parameter, equal ones once.
fn number(s: Scalar, params: &mut Vec<Scalar>) -> super::E {
    let same = |a: &Scalar| match (*a, s) {
        (Scalar::Float(a), Scalar::Float(b)) => a.to_bits() == b.to_bits(),
        (Scalar::Int(a), Scalar::Int(b)) => a == b,
        (Scalar::Bool(a), Scalar::Bool(b)) => a == b,
        _ => false,
    };
    let i = params.iter().position(same).unwrap_or_else(|| {
        params.push(s);
        params.len() - 1
    });
    push(Node::Par(i as u8))
}

/// What a storage holds while its content is pending.
struct Work(Arc<Expr>, Dtype, Device);

impl Pending for Work {
    unsafe fn compute(&self, to: *mut u8) {
        let e = &self.0;
        let nbytes = e.shape.iter().product::<usize>() * self.1.size();
        let flat = e.flatten();
        let layout = Layout::contiguous(&e.shape).expect("checked when it was recorded");
        // SAFETY: `to` has room for the bytes and outlives this call.
        let storage = unsafe { Storage::guest(to, nbytes, Box::new(())) };
        let out = Tensor::from_parts(storage, layout, self.1);
        eval::run(&flat.formula, &flat.inputs, &flat.params, e.common, &out);
    }
    fn compute_on_gpu(&self) -> Result<Arc<gpu::Buffer>> {
        let e = &self.0;
        let out = Tensor::empty(&e.shape, self.1, self.2)?;
        let flat = e.flatten();
        gpu::elementwise::run(&flat.formula, &flat.inputs, &flat.params, e.common, &out)?;
        out.storage().buffer().cloned()
    }
    fn donor(&self) -> Option<StorageRef> {
        let e = &self.0;
        let mut held = Vec::new();
        if !e.is_last(&mut held) {
            return None;
        }
        let nbytes = e.shape.iter().product::<usize>() * self.1.size();
        let last = |t: &&Tensor| {
            let whole = t.layout().offset == 0 && t.is_contiguous() && t.dtype() == self.1;
            // All handles to the storage, and all references to each handle, are in this expression.
            let handles: Vec<&&Tensor> = held.iter().filter(|h| h.same_storage(t)).collect();
            let references = |h: &Tensor| handles.iter().filter(|o| Arc::ptr_eq(&o.0, &h.0)).count();
            let mut distinct: Vec<_> = handles.iter().map(|h| Arc::as_ptr(&h.0)).collect();
            distinct.sort();
            distinct.dedup();
            whole
                && handles.iter().all(|h| h.layout() == t.layout())
                && t.storage().may_donate(nbytes)
                && Arc::strong_count(t.storage()) == distinct.len()
                && handles.iter().all(|h| Arc::strong_count(&h.0) == references(h))
        };
        e.leaves.iter().find(last).map(|t| t.storage().clone())
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// Reads a pending tensor of a compute dtype tile by tile, without storing it.
pub struct Tiles<T> {
    plan: Plan<T>,
    numel: usize,
    // The plan has the addresses of their memory.
    _inputs: SmallVec<[Operand; 4]>,
}

impl<T: Compute> Tiles<T> {
    /// The tiles of `t` if it is pending and has not been drawn into anything else: who reads it next would compute it again.
    pub fn of(t: &Tensor) -> Option<Tiles<T>> {
        if t.dtype() != T::DTYPE || t.device() != Device::Cpu {
            return None;
        }
        let e = expr_of(t)?;
        if e.common != T::DTYPE || e.uses.fetch_add(1, Ordering::Relaxed) > 0 {
            return None;
        }
        let flat = e.flatten();
        let plan = Plan::new(&flat.formula, &flat.inputs, &flat.params, e.common, &e.shape, None);
        Some(Tiles { plan, numel: t.numel(), _inputs: flat.inputs })
    }

    pub fn numel(&self) -> usize {
        self.numel
    }

    /// Writes the elements `start..start + n`, in row-major order, to `to`.
    ///
    /// # Safety
    /// They are elements of the tensor, and `to` has room for them.
    pub unsafe fn read(&self, start: usize, n: usize, to: *mut T) {
        // SAFETY: by the caller; `to` is none of the inputs, which are shared.
        unsafe { self.plan.read(start, n, to) }
    }
}
