//! The elementwise ops: one row each, a formula over the primitives of [`crate::expr::prim`].
//!
//! From a row of [`table`] come the CPU evaluation, the gradient (and its gradient, and so on), the Python function,
//! method and in-place method, and the checks on dtypes. This file runs rows; [`calls`] has the entries that need more.

mod calls;
mod table;

pub(super) use calls::register;
pub use table::*;

use super::schema::{Schema, Ty};
use super::{Args, Value, copy, reduce};
use crate::autograd::{Grads, record, save, save_output};
use crate::device::Device;
use crate::dtype::{Category, Dtype, Scalar, default_dtype};
use crate::error::Result;
use crate::expr::builder::{E, Formula, Node, build, input, par};
use crate::expr::{Operand, eval, pending};
use crate::gpu;
use crate::layout::{Dims, broadcast};
use crate::tensor::Tensor;
use crate::{bail, ensure};
use smallvec::SmallVec;
use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

/// What dtypes an op takes and gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Any real dtype, promoted.
    Arith,
    /// As `Arith`; bool is refused (`-` and unary minus).
    NoBool,
    /// As `Arith`; bool has no kernel (rounding, `abs`).
    Rounding,
    /// The second power: as if the exponent were the number 2.
    Square,
    /// As `Arith`; the divisor (second operand) must not be a zero integer.
    Division,
    /// Integers become the default float dtype.
    Float,
    /// Only floating dtypes.
    FloatOnly,
    /// Promoted operands, bool result.
    Compare,
    /// Any dtype, bool result.
    Logical,
    /// Integers and bool.
    Bits,
    /// Integers without bool.
    Ints,
}

/// A row of the table.
pub struct Row {
    pub schema: &'static str,
    pub places: &'static str,
    pub kind: Kind,
    pub formula: fn(&[E], &[E]) -> E,
    pub doc: &'static str,
    /// The name of the graph node, where it is not CamelCase + "Backward0".
    pub node: Option<&'static str>,
    /// The formula, built at the first call.
    pub compiled: OnceLock<Arc<Compiled>>,
}

/// A formula with its gradients, which are made when first needed.
pub struct Compiled {
    formula: Arc<Formula>,
    /// How many inputs it has.
    n: usize,
    name: Cow<'static, str>,
    grads: OnceLock<Vec<Option<GradFormula>>>,
}

/// The gradient for one input: over some of the inputs, the incoming gradient (slot `n`) and the result
/// (slot `n + 1`).
struct GradFormula {
    slots: SmallVec<[usize; 4]>,
    compiled: Arc<Compiled>,
}

impl Compiled {
    pub fn new(n: usize, name: impl Into<Cow<'static, str>>, formula: Formula) -> Arc<Compiled> {
        Arc::new(Compiled { formula: Arc::new(formula), n, name: name.into(), grads: OnceLock::new() })
    }

    fn grads(&self) -> &[Option<GradFormula>] {
        self.grads.get_or_init(|| {
            (0..self.n)
                .map(|i| {
                    let mut f = self.formula.grad(self.n, i)?;
                    let slots: SmallVec<[usize; 4]> = (0..self.n + 2).filter(|&k| f.uses(k)).collect();
                    for node in &mut f.nodes {
                        if let Node::In(k) = node {
                            *k = slots.iter().position(|&s| s == *k as usize).unwrap() as u8;
                        }
                    }
                    let name = match f.nodes[f.root as usize] {
                        Node::Op(p, _) => format!("{}Backward0", p.info().name),
                        _ => "AliasBackward0".into(),
                    };
                    Some(GradFormula { compiled: Compiled::new(slots.len(), name, f), slots })
                })
                .collect()
        })
    }
}

/// Makes a formula outside of the table (for other families): `n` inputs, name of the graph node.
pub fn compile(n: usize, name: &'static str, f: impl FnOnce(&[E]) -> E) -> Arc<Compiled> {
    let formula = build(|| {
        let x: Vec<E> = (0..n).map(input).collect();
        f(&x)
    });
    Compiled::new(n, name, formula)
}

fn camel(name: &str) -> String {
    name.split('_').filter(|p| !p.is_empty()).map(|p| p[..1].to_uppercase() + &p[1..]).collect()
}

/// The dtype that PyTorch's promotion gives operands: tensors with dimensions first, then 0-d tensors,
/// then numbers; a later group counts only where its category is higher.
pub fn result_type(operands: &[Operand]) -> Dtype {
    let mut groups: [Option<Dtype>; 3] = [None; 3];
    for o in operands {
        let (g, d) = match o {
            Operand::T(t) => (if t.ndim() > 0 { 0 } else { 1 }, t.dtype()),
            Operand::S(s) => (2, s.dtype()),
        };
        groups[g] = Some(groups[g].map_or(d, |old| old.promote(d)));
    }
    let combine = |high: Option<Dtype>, low: Option<Dtype>| match (high, low) {
        (Some(h), Some(l)) => Some(if h.category() >= l.category() { h } else { h.promote(l) }),
        (h, l) => h.or(l),
    };
    combine(groups[0], combine(groups[1], groups[2])).unwrap_or(default_dtype())
}

fn common_shape(operands: &[Operand]) -> Result<Dims> {
    let mut shape = Dims::new();
    let mut first = true;
    for o in operands {
        if let Operand::T(t) = o {
            shape = if first { t.dims() } else { broadcast(&shape, t.shape())? };
            first = false;
        }
    }
    Ok(shape)
}

/// The operand whose strides the result takes over: the first of full shape, where that is dense and not row-major.
fn pattern<'a>(operands: &'a [Operand], shape: &[usize]) -> Option<&'a Tensor> {
    let first = operands.iter().find_map(|o| match o {
        Operand::T(t) if t.shape() == shape => Some(t),
        _ => None,
    });
    first.filter(|t| !t.is_contiguous() && t.layout().is_dense())
}

/// The operands with large ones whose rows are not contiguous copied: a copy goes by blocks, where a kernel would fetch a
/// cache line for every element. None where nothing needs it.
fn straightened(operands: &[Operand], shape: &[usize]) -> Result<Option<SmallVec<[Operand; 3]>>> {
    const LARGE: usize = 1 << 14;
    let crooked = |o: &Operand| match o {
        Operand::T(t) => {
            t.device() == Device::Cpu
                && t.numel() >= LARGE
                && t.shape() == shape
                && !t.is_contiguous()
                && t.layout().is_dense()
                && !matches!(t.strides().last(), Some(0 | 1))
        }
        Operand::S(_) => false,
    };
    if pattern(operands, shape).is_some() || !operands.iter().any(crooked) {
        return Ok(None);
    }
    let copied = operands.iter().map(|o| match o {
        Operand::T(t) if crooked(o) => Ok(Operand::T(copy::contiguous(&t.detach())?)),
        o => Ok(o.clone()),
    });
    copied.collect::<Result<_>>().map(Some)
}

/// Memory for a result.
fn allocate(operands: &[Operand], shape: &[usize], dtype: Dtype, device: Device) -> Result<Tensor> {
    match pattern(operands, shape) {
        Some(t) => Tensor::empty_strided(shape, t.strides(), dtype, device),
        None => Tensor::empty(shape, dtype, device),
    }
}

/// Evaluates a formula over operands of promoted dtype `common` into a tensor of `out_dtype`, recording its
/// gradient. `target`, if given, has the right shape and dtype and is written instead of fresh memory.
pub fn apply(
    c: &Arc<Compiled>,
    operands: &[Operand],
    params: &[Scalar],
    common: Dtype,
    out_dtype: Dtype,
    target: Option<&Tensor>,
) -> Result<Tensor> {
    let mut device = Device::Cpu;
    for o in operands {
        if let Operand::T(t) = o {
            ensure!(!t.dtype().is_complex(), NotImplemented, "{}: not implemented for '{}'", c.name, t.dtype().scalar_name());
            if t.device() != Device::Cpu {
                device = t.device();
            }
        }
    }
    if device != Device::Cpu {
        // A number may come as a tensor of the CPU.
        let astray = operands.iter().find_map(|o| match o {
            Operand::T(t) if t.device() != device && !(t.ndim() == 0 && t.device() == Device::Cpu) => Some(t.device()),
            _ => None,
        });
        let astray = astray.or_else(|| target.map(Tensor::device).filter(|d| *d != device));
        device.check_same(astray.unwrap_or(device))?;
    }
    let shape = common_shape(operands)?;
    let straight = straightened(operands, &shape)?;
    let read = straight.as_deref().unwrap_or(operands);
    let later = match target {
        None if device != Device::Meta && pattern(operands, &shape).is_none() => {
            pending::record(&c.formula, read, params, common, out_dtype, &shape)
        }
        _ => None,
    };
    let now = later.is_none();
    let out = match (target, later) {
        (Some(t), _) => t.detach(),
        (None, Some(t)) => t,
        (None, None) => allocate(operands, &shape, out_dtype, device)?,
    };
    if device == Device::Meta {
        return Ok(out);
    }
    match device {
        _ if !now => {}
        Device::Gpu(_) => gpu::elementwise::run(&c.formula, read, params, common, &out)?,
        _ => eval::run(&c.formula, read, params, common, &out),
    }
    if target.is_some() || !out_dtype.is_float() {
        return Ok(out);
    }
    finish(c, operands, params, common, out)
}

/// Records the gradient of a result, if anything requires one.
fn finish(c: &Arc<Compiled>, operands: &[Operand], params: &[Scalar], common: Dtype, out: Tensor) -> Result<Tensor> {
    let tracked = |o: &Operand| matches!(o, Operand::T(t) if t.requires_grad());
    if !operands.iter().any(tracked) || !crate::autograd::is_grad_enabled() {
        return Ok(out);
    }
    let tensors: SmallVec<[&Tensor; 3]> = operands
        .iter()
        .filter_map(|o| match o {
            Operand::T(t) => Some(t),
            Operand::S(_) => None,
        })
        .collect();
    record_formula(c, operands, &tensors, params, common, out)
}

fn record_formula(
    c: &Arc<Compiled>,
    operands: &[Operand],
    tensors: &[&Tensor],
    params: &[Scalar],
    common: Dtype,
    out: Tensor,
) -> Result<Tensor> {
    enum Kept {
        Tensor(crate::autograd::Saved),
        Number(Scalar),
        No,
    }
    let n = operands.len();
    let mut used = [false; 10];
    for (o, g) in operands.iter().zip(c.grads()) {
        if let (Operand::T(t), Some(g)) = (o, g)
            && t.requires_grad()
        {
            for &s in &g.slots {
                used[s] = true;
            }
        }
    }
    let kept: SmallVec<[Kept; 3]> = operands
        .iter()
        .enumerate()
        .map(|(i, o)| match o {
            Operand::T(t) if used[i] => Kept::Tensor(save(t)),
            Operand::S(s) => Kept::Number(*s),
            _ => Kept::No,
        })
        .collect();
    let result = used[n + 1].then(|| save_output(&out, 0));
    // For each recorded input: which operand it is, its dtype, and its shape where that is not the result's.
    let targets: SmallVec<[(u8, Dtype, Option<Box<Dims>>); 3]> = operands
        .iter()
        .enumerate()
        .filter_map(|(i, o)| match o {
            Operand::T(t) => Some((i as u8, t.dtype(), (t.shape() != out.shape()).then(|| Box::new(t.dims())))),
            Operand::S(_) => None,
        })
        .collect();
    let (c2, params): (Arc<Compiled>, Box<[Scalar]>) = (c.clone(), params.into());
    let f = move |ctx: &crate::autograd::Ctx, g: &Tensor| -> Result<Grads> {
        let mut grads = Grads::new();
        for (k, (i, dtype, shape)) in targets.iter().enumerate() {
            let shape = shape.as_ref().map_or(g.shape(), |s| s);
            let formula = match (&c2.grads()[*i as usize], ctx.needs(k)) {
                (Some(f), true) => f,
                (None, true) if dtype.is_float() => {
                    grads.push(Some(Tensor::zeros(shape, *dtype, g.device())?));
                    continue;
                }
                _ => {
                    grads.push(None);
                    continue;
                }
            };
            let mut args: SmallVec<[Operand; 4]> = SmallVec::new();
            for &s in &formula.slots {
                args.push(if s == n {
                    Operand::T(g.clone())
                } else if s == n + 1 {
                    Operand::T(result.as_ref().expect("saved").get(ctx)?)
                } else {
                    match &kept[s] {
                        Kept::Tensor(t) => Operand::T(t.get(ctx)?),
                        Kept::Number(s) => Operand::S(*s),
                        Kept::No => unreachable!("used operands are kept"),
                    }
                });
            }
            let passes_through = matches!(formula.compiled.formula.nodes[formula.compiled.formula.root as usize], Node::In(_));
            let gi = if passes_through && formula.slots.as_slice() == [n] {
                copy::to_dtype(g, *dtype)?
            } else {
                let simple = if *dtype == common { quick(&formula.compiled, &args, &params) } else { None };
                simple.unwrap_or_else(|| apply(&formula.compiled, &args, &params, common, *dtype, None))?
            };
            grads.push(Some(reduce::sum_to(&gi, shape)?));
        }
        Ok(grads)
    };
    let name: &'static str = match &c.name {
        Cow::Borrowed(s) => s,
        Cow::Owned(s) => intern(s),
    };
    Ok(record(name, tensors, out, f))
}

/// Names made at run time are few; each is kept once for the life of the process.
fn intern(s: &str) -> &'static str {
    static NAMES: parking_lot::Mutex<Vec<&'static str>> = parking_lot::Mutex::new(Vec::new());
    let mut names = NAMES.lock();
    match names.iter().find(|n| **n == s) {
        Some(n) => n,
        None => {
            let leaked: &'static str = Box::leak(s.to_string().into_boxed_str());
            names.push(leaked);
            leaked
        }
    }
}

impl Row {
    fn name(&self) -> &'static str {
        self.schema.split('(').next().unwrap()
    }

    pub fn compiled(&'static self) -> &'static Arc<Compiled> {
        self.compiled.get_or_init(|| {
            let schema = Schema::parse(self.schema);
            let n = schema.params.iter().filter(|p| matches!(p.ty, Ty::Tensor | Ty::Operand)).count();
            let p = schema.params.len() - n;
            let formula = build(|| {
                let x: Vec<E> = (0..n).map(input).collect();
                let q: Vec<E> = (0..p).map(par).collect();
                (self.formula)(&x, &q)
            });
            let name = self.node.map_or_else(|| Cow::Owned(camel(self.name()) + "Backward0"), Cow::Borrowed);
            Compiled::new(n, name, formula)
        })
    }

    /// Calls the row with parsed arguments.
    pub fn run(&'static self, schema: &Schema, a: &Args) -> Result<Tensor> {
        let mut operands: SmallVec<[Operand; 3]> = SmallVec::new();
        let mut params: SmallVec<[Scalar; 2]> = SmallVec::new();
        for (p, v) in schema.params.iter().zip(&a.values) {
            match (p.ty, v) {
                (Ty::Tensor | Ty::Operand, Value::Tensor(t)) => operands.push(Operand::T(t.clone())),
                (Ty::Operand, Value::Scalar(s)) => operands.push(Operand::S(*s)),
                (_, Value::Scalar(s)) => params.push(*s),
                _ => {}
            }
        }
        some_tensor(self.name(), &operands)?;
        self.call(&operands, &params, a.place())
    }

    /// The row over operands: dtype rules, then [`apply`].
    pub fn call(&'static self, operands: &[Operand], params: &[Scalar], target: Option<&Tensor>) -> Result<Tensor> {
        let simple = match self.kind {
            Kind::Arith | Kind::NoBool | Kind::Rounding | Kind::Division | Kind::Float | Kind::FloatOnly => true,
            Kind::Square | Kind::Compare | Kind::Logical | Kind::Bits | Kind::Ints => false,
        };
        if simple
            && target.is_none()
            && let Some(done) = quick(self.compiled(), operands, params)
        {
            return done;
        }
        let common = result_type(operands);
        if common.is_complex() {
            return super::complex::elementwise(self.name(), operands, params);
        }
        let refuse = |d: Dtype| crate::err!(NotImplemented, "\"{}\" not implemented for '{}'", self.name(), d.scalar_name());
        let (common, out) = match self.kind {
            Kind::Arith => (common, common),
            Kind::NoBool => {
                if common == Dtype::Bool || (self.name() == "sub" && operands.iter().all(is_bool)) {
                    ensure!(
                        operands.len() != 1,
                        Runtime,
                        "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to invert a mask, use the `~` or `logical_not()` operator instead."
                    );
                    ensure!(
                        operands.len() < 2 || !operands.iter().all(is_bool),
                        Runtime,
                        "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or `logical_xor()` operator instead."
                    );
                    bail!(
                        Runtime,
                        "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a mask, use the `~` or `logical_not()` operator instead."
                    );
                }
                (common, common)
            }
            Kind::Rounding => {
                ensure!(common != Dtype::Bool, NotImplemented, "\"{}_cpu\" not implemented for 'Bool'", self.name());
                (common, common)
            }
            Kind::Square => {
                let d = if common == Dtype::Bool { Dtype::I64 } else { common };
                (d, d)
            }
            Kind::Division => {
                if common.is_integral() {
                    check_divisor(&operands[1])?;
                }
                (common, common)
            }
            Kind::Float => {
                let d = if common.is_integral() { default_dtype() } else { common };
                (d, d)
            }
            Kind::FloatOnly => {
                ensure!(common.is_float(), NotImplemented, "{}", refuse(common).message());
                (common, common)
            }
            Kind::Compare | Kind::Logical => (common, Dtype::Bool),
            Kind::Bits => {
                ensure!(
                    common.is_integral(),
                    NotImplemented,
                    "\"{}_cpu\" not implemented for '{}'",
                    self.name(),
                    common.scalar_name()
                );
                (common, common)
            }
            Kind::Ints => {
                ensure!(common.category() == Category::Int, NotImplemented, "{}", refuse(common).message());
                (common, common)
            }
        };
        let c = self.compiled();
        ensure!(eval::supports(&c.formula, common) || common.is_complex(), NotImplemented, "{}", refuse(common).message());
        let target = target.filter(|t| {
            t.dtype() == out && !overlapping_input(t, operands) && common_shape(operands).is_ok_and(|s| s.as_slice() == t.shape())
        });
        apply(c, operands, params, common, out, target)
    }
}

/// The most frequent small case, without the questions that others have to ask: contiguous tensors of one shape and one
/// floating dtype in CPU memory, with a result of that dtype.
fn quick(c: &Arc<Compiled>, operands: &[Operand], params: &[Scalar]) -> Option<Result<Tensor>> {
    let Operand::T(first) = operands.first()? else { return None };
    let dtype = first.dtype();
    let plain = |t: &Tensor| t.device() == Device::Cpu && t.is_contiguous() && t.dtype() == dtype;
    if !matches!(dtype, Dtype::F32 | Dtype::F64) || first.numel() > QUICK || !plain(first) {
        return None;
    }
    for o in &operands[1..] {
        match o {
            Operand::T(t) if plain(t) && t.shape() == first.shape() => {}
            Operand::S(s) if !s.dtype().is_complex() => {}
            _ => return None,
        }
    }
    if !eval::supports(&c.formula, dtype) {
        return None;
    }
    Some(first.empty_like().and_then(|out| {
        eval::run(&c.formula, operands, params, dtype, &out);
        finish(c, operands, params, dtype, out)
    }))
}

/// Elements up to which [`quick`] is taken.
const QUICK: usize = 1 << 12;

/// Python's own numbers are not for us: one operand has to be a tensor.
fn some_tensor(name: &str, operands: &[Operand]) -> Result<()> {
    let any = operands.iter().any(|o| matches!(o, Operand::T(_)));
    ensure!(any, Type, "{name}() received an invalid combination of arguments - one of them must be a Tensor");
    Ok(())
}

fn is_bool(o: &Operand) -> bool {
    match o {
        Operand::T(t) => t.dtype() == Dtype::Bool,
        Operand::S(s) => matches!(s, Scalar::Bool(_)),
    }
}

/// Whether writing `target` could change an operand element that is read later.
fn overlapping_input(target: &Tensor, operands: &[Operand]) -> bool {
    target.layout().overlaps_itself()
        || operands.iter().any(|o| matches!(o, Operand::T(t) if t.same_storage(target) && t.layout() != target.layout()))
}

fn check_divisor(o: &Operand) -> Result<()> {
    let zero = match o {
        Operand::S(s) => s.f64() == 0.0,
        // A GPU would have to be waited for; its kernels give 0.
        Operand::T(t) if gpu::holds(t) => false,
        Operand::T(t) => {
            let t = copy::contiguous(&t.detach())?;
            crate::dispatch!(real "div", t.dtype(), T => t.data::<T>().iter().any(|v| crate::dtype::Element::to_i64(*v) == 0))
        }
    };
    ensure!(!zero, Runtime, "ZeroDivisionError");
    Ok(())
}

/// `self ** exponent` for tensors and numbers on either side.
pub fn pow(a: Operand, b: Operand) -> Result<Tensor> {
    if result_type(&[a.clone(), b.clone()]).is_complex() {
        return super::complex::pow(&a, &b);
    }
    match b {
        Operand::S(s) => {
            let integral = result_type(&[a.clone(), b]).is_integral();
            ensure!(!(integral && s.f64() < 0.0), Runtime, "Integers to negative integer powers are not allowed.");
            // Frequent powers without the general function; the same values.
            let row = match s.f64() {
                2.0 if !s.is_float() || !integral => Some(&SQUARE),
                0.5 if !integral => Some(&SQRT_POW),
                3.0 if !integral => Some(&CUBE_POW),
                -0.5 if !integral => Some(&RSQRT_POW),
                -1.0 if !integral => Some(&RECIP_POW),
                -2.0 if !integral => Some(&RECIP_SQUARE_POW),
                _ => None,
            };
            match row {
                Some(row) => row.call(&[a], &[], None),
                None => {
                    // The number takes part in promotion, as an operand does.
                    let common = result_type(&[a.clone(), Operand::S(s)]);
                    apply(POW_SCALAR.compiled(), &[a], &[s], common, common, None)
                }
            }
        }
        b => POW_TENSOR.call(&[a, b], &[], None),
    }
}

/// `a + b`.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    ADD.call(&[Operand::T(a.clone()), Operand::T(b.clone())], &[], None)
}
/// `a - b`.
pub fn sub(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    SUB.call(&[Operand::T(a.clone()), Operand::T(b.clone())], &[], None)
}
/// `a * b`.
pub fn mul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    MUL.call(&[Operand::T(a.clone()), Operand::T(b.clone())], &[], None)
}
/// `a / b`.
pub fn div(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    DIV.call(&[Operand::T(a.clone()), Operand::T(b.clone())], &[], None)
}
/// `a * s`.
pub fn scale(a: &Tensor, s: f64) -> Result<Tensor> {
    MUL.call(&[Operand::T(a.clone()), Operand::S(Scalar::Float(s))], &[], None)
}

/// `a += b` on bare memory: no history, but a new version.
pub fn add_into(a: &Tensor, b: &Tensor) -> Result<()> {
    let sum = crate::autograd::no_grad(|| ADD.call(&[Operand::T(a.clone()), Operand::T(b.clone())], &[], Some(a)))?;
    if !(sum.same_storage(a)) {
        copy::copy_raw(a, &sum)?;
    }
    a.storage().bump_version();
    Ok(())
}
