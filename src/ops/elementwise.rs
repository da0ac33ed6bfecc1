//! The elementwise ops: one row each, a formula over the primitives of [`crate::expr::prim`].
//!
//! From a row come the CPU evaluation, the gradient (and its gradient, and so on), the Python function,
//! method and in-place method, and the checks on dtypes.

use super::schema::{Schema, Ty};
use super::{Args, Call, Op, Registry, Ret, Value, copy, inplace, reduce};
use crate::autograd::{Grads, needs_grad, record, save, save_output};
use crate::dtype::{Category, Dtype, Scalar, default_dtype};
use crate::error::Result;
use crate::expr::builder::{E, Formula, Node, build, c, input, par, prim, wh};
use crate::expr::prim::Prim;
use crate::expr::{Operand, eval};
use crate::layout::{Dims, broadcast};
use crate::tensor::Tensor;
use crate::{bail, ensure};
use smallvec::{SmallVec, smallvec};
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
    /// The name in dtype errors, where it differs.
    pub compiled: OnceLock<Arc<Compiled>>,
}

/// A formula with its gradients, which are made when first needed.
pub struct Compiled {
    formula: Formula,
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
        Arc::new(Compiled { formula, n, name: name.into(), grads: OnceLock::new() })
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

/// Memory for a result: strided as the first operand of full shape, where that is dense.
fn allocate(operands: &[Operand], shape: &[usize], dtype: Dtype, device: crate::device::Device) -> Result<Tensor> {
    for o in operands {
        if let Operand::T(t) = o
            && t.shape() == shape
        {
            if !t.is_contiguous() && t.layout().is_dense() {
                return Tensor::empty_strided(shape, t.strides(), dtype, device);
            }
            break;
        }
    }
    Tensor::empty(shape, dtype, device)
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
    let mut device = crate::device::Device::Cpu;
    for o in operands {
        if let Operand::T(t) = o {
            ensure!(!t.dtype().is_complex(), NotImplemented, "{}: not implemented for '{}'", c.name, t.dtype().scalar_name());
            if t.device() != crate::device::Device::Cpu {
                device = t.device();
            }
        }
    }
    let shape = common_shape(operands)?;
    let out = match target {
        Some(t) => t.detach(),
        None => allocate(operands, &shape, out_dtype, device)?,
    };
    if device == crate::device::Device::Meta {
        for o in operands {
            if let Operand::T(t) = o {
                ensure!(
                    t.device() == device || t.ndim() == 0,
                    Runtime,
                    "Expected all tensors to be on the same device, but found at least two devices, {device} and {}!",
                    t.device()
                );
            }
        }
        return Ok(out);
    }
    eval::run(&c.formula, operands, params, common, &out);
    if target.is_some() || !out_dtype.is_float() {
        return Ok(out);
    }
    let tensors: SmallVec<[&Tensor; 3]> = operands
        .iter()
        .filter_map(|o| match o {
            Operand::T(t) => Some(t),
            Operand::S(_) => None,
        })
        .collect();
    if !needs_grad(&tensors) {
        return Ok(out);
    }
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
    // For each recorded input: which operand it is, its dtype and shape.
    let targets: SmallVec<[(usize, Dtype, Dims); 3]> = operands
        .iter()
        .enumerate()
        .filter_map(|(i, o)| match o {
            Operand::T(t) => Some((i, t.dtype(), t.dims())),
            Operand::S(_) => None,
        })
        .collect();
    let (c2, params): (Arc<Compiled>, SmallVec<[Scalar; 2]>) = (c.clone(), params.into());
    let f = move |ctx: &crate::autograd::Ctx, g: &Tensor| -> Result<Grads> {
        let mut grads = Grads::new();
        for (k, (i, dtype, shape)) in targets.iter().enumerate() {
            let formula = match (&c2.grads()[*i], ctx.needs(k)) {
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
                apply(&formula.compiled, &args, &params, common, *dtype, None)?
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
        self.call(&operands, &params, a.target.as_ref())
    }

    /// The row over operands: dtype rules, then [`apply`].
    pub fn call(&'static self, operands: &[Operand], params: &[Scalar], target: Option<&Tensor>) -> Result<Tensor> {
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
        Operand::T(t) => {
            let t = copy::contiguous(&t.detach())?;
            crate::dispatch!(real "div", t.dtype(), T => t.data::<T>().iter().any(|v| crate::dtype::Element::to_i64(*v) == 0))
        }
    };
    ensure!(!zero, Runtime, "ZeroDivisionError");
    Ok(())
}

macro_rules! rows {
    ($( $id:ident $places:literal $schema:literal $kind:ident $(= $node:literal)? $f:expr, $doc:literal; )*) => {
        $(
            #[doc = $doc]
            pub static $id: Row = Row {
                schema: $schema, places: $places, kind: Kind::$kind, formula: $f, doc: $doc,
                node: rows!(@node $($node)?), compiled: OnceLock::new(),
            };
        )*
        /// Every row.
        pub static ROWS: &[&Row] = &[$(&$id),*];
    };
    (@node $n:literal) => { Some($n) };
    (@node) => { None };
}

const SQRT_2: f64 = std::f64::consts::SQRT_2;

rows! {
    // ---- arithmetic ----
    NEG "fmi" "neg(Tensor self)" NoBool |x, _| -x[0], "The negative.";
    NEGATIVE "fmi" "negative(Tensor self)" NoBool = "NegBackward0" |x, _| -x[0], "The negative.";
    POSITIVE "fm" "positive(Tensor self)" NoBool = "AliasBackward0" |x, _| x[0] * 1.0, "The tensor itself.";
    ABS "fmi" "abs(Tensor self)" Rounding |x, _| x[0].abs(), "The absolute value.";
    ABSOLUTE "fmi" "absolute(Tensor self)" Rounding = "AbsBackward0" |x, _| x[0].abs(), "The absolute value.";
    SIGN "fmi" "sign(Tensor self)" Arith |x, _| x[0].sign(), "-1, 0 or 1.";
    SGN "fmi" "sgn(Tensor self)" Arith |x, _| x[0].sign(), "-1, 0 or 1.";
    SIGNBIT "fm" "signbit(Tensor self)" Logical |x, _| prim(Prim::SignBit, x), "Whether the sign bit is set.";
    MUL "fmi" "mul(Tensor self, Operand other)" Arith |x, _| x[0] * x[1], "The product.";
    MULTIPLY "fmi" "multiply(Tensor self, Operand other)" Arith = "MulBackward0" |x, _| x[0] * x[1], "The product.";
    ADD "" "add(Operand self, Operand other)" Arith |x, _| x[0] + x[1], "The sum.";
    ADD_ALPHA "" "add(Operand self, Operand other, *, Scalar alpha=1)" Arith = "AddBackward0" |x, p| x[0] + p[0] * x[1], "self + alpha * other.";
    SUB "" "sub(Operand self, Operand other)" NoBool |x, _| x[0] - x[1], "The difference.";
    SUB_ALPHA "" "sub(Operand self, Operand other, *, Scalar alpha=1)" NoBool = "SubBackward0" |x, p| x[0] - p[0] * x[1], "self - alpha * other.";
    RSUB "" "rsub(Operand self, Operand other)" NoBool = "RsubBackward1" |x, _| x[1] - x[0], "other - self.";
    DIV "" "div(Operand self, Operand other)" Float |x, _| x[0] / x[1], "The quotient.";
    DIV_TRUNC "" "div(Operand self, Operand other)" Division = "DivBackward1" |x, _| E::trunc_div(x[0], x[1]), "The quotient, rounded towards zero.";
    FLOOR_DIVIDE "fmi" "floor_divide(Operand self, Operand other)" Division |x, _| E::floor_div(x[0], x[1]), "The quotient, rounded down.";
    REMAINDER "fmi" "remainder(Operand self, Operand other)" Division |x, _| prim(Prim::Rem, x), "The remainder, with the sign of the divisor.";
    FMOD "fmi" "fmod(Tensor self, Operand other)" Division |x, _| prim(Prim::Fmod, x), "The remainder, with the sign of the dividend.";
    RECIPROCAL "fmi" "reciprocal(Tensor self)" Float |x, _| x[0].recip(), "1 / x.";
    SQUARE "fmi" "square(Tensor self)" Square = "PowBackward0" |x, _| x[0].square(), "x * x.";
    SQRT_POW "" "pow(Tensor self)" Float = "PowBackward0" |x, _| x[0].sqrt(), "The square root, as a power.";
    POW_TENSOR "" "pow(Operand self, Operand exponent)" Arith = "PowBackward1" |x, _| E::pow(x[0], x[1]), "self to the power of exponent.";
    POW_SCALAR "" "pow(Operand self, Scalar exponent)" Arith = "PowBackward0" |x, p| E::pow(x[0], p[0]), "self to the power of exponent.";
    GCD "fmi" "gcd(Tensor self, Tensor other)" Ints |x, _| prim(Prim::Gcd, x), "Greatest common divisor.";
    LCM "fmi" "lcm(Tensor self, Tensor other)" Ints |x, _| prim(Prim::Lcm, x), "Least common multiple.";
    ADDCMUL "fmi" "addcmul(Tensor self, Tensor tensor1, Tensor tensor2, *, Scalar value=1)" Arith |x, p| x[0] + p[0] * x[1] * x[2], "self + value * tensor1 * tensor2.";
    ADDCDIV "fmi" "addcdiv(Tensor self, Tensor tensor1, Tensor tensor2, *, Scalar value=1)" Arith |x, p| x[0] + p[0] * (x[1] / x[2]), "self + value * tensor1 / tensor2.";
    LERP "fmi" "lerp(Tensor self, Tensor end, Operand weight)" FloatOnly |x, _|
        wh(x[2].abs().lt(0.5), x[0] + x[2] * (x[1] - x[0]), x[1] - (x[1] - x[0]) * (1.0 - x[2])), "self + weight * (end - self).";
    // ---- exponentials, roots, trigonometry ----
    EXP "fmi" "exp(Tensor self)" Float |x, _| x[0].exp(), "e to the power of each element.";
    EXP2 "fmis" "exp2(Tensor self)" Float |x, _| x[0].exp2(), "2 to the power of each element.";
    EXPM1 "fmis" "expm1(Tensor self)" Float |x, _| x[0].expm1(), "exp(x) - 1, exact near 0.";
    LOG "fmi" "log(Tensor self)" Float |x, _| x[0].log(), "The natural logarithm.";
    LOG2 "fmi" "log2(Tensor self)" Float |x, _| prim(Prim::Log2, x), "The logarithm to base 2.";
    LOG10 "fmi" "log10(Tensor self)" Float |x, _| prim(Prim::Log10, x), "The logarithm to base 10.";
    LOG1P "fmis" "log1p(Tensor self)" Float |x, _| x[0].log1p(), "log(1 + x), exact near 0.";
    SQRT "fmi" "sqrt(Tensor self)" Float |x, _| x[0].sqrt(), "The square root.";
    RSQRT "fmi" "rsqrt(Tensor self)" Float |x, _| x[0].rsqrt(), "1 / sqrt(x).";
    SIN "fmi" "sin(Tensor self)" Float |x, _| x[0].sin(), "The sine of an angle in radians.";
    COS "fmi" "cos(Tensor self)" Float |x, _| x[0].cos(), "The cosine of an angle in radians.";
    TAN "fmi" "tan(Tensor self)" Float |x, _| prim(Prim::Tan, x), "The tangent.";
    ASIN "fmi" "asin(Tensor self)" Float |x, _| prim(Prim::Asin, x), "The inverse sine.";
    ARCSIN "fmi" "arcsin(Tensor self)" Float = "AsinBackward0" |x, _| prim(Prim::Asin, x), "The inverse sine.";
    ACOS "fmi" "acos(Tensor self)" Float |x, _| prim(Prim::Acos, x), "The inverse cosine.";
    ARCCOS "fmi" "arccos(Tensor self)" Float = "AcosBackward0" |x, _| prim(Prim::Acos, x), "The inverse cosine.";
    ATAN "fmi" "atan(Tensor self)" Float |x, _| prim(Prim::Atan, x), "The inverse tangent.";
    ARCTAN "fmi" "arctan(Tensor self)" Float = "AtanBackward0" |x, _| prim(Prim::Atan, x), "The inverse tangent.";
    ATAN2 "fmi" "atan2(Tensor self, Tensor other)" Float |x, _| prim(Prim::Atan2, x), "The angle of the point (other, self).";
    ARCTAN2 "fmi" "arctan2(Tensor self, Tensor other)" Float = "Atan2Backward0" |x, _| prim(Prim::Atan2, x), "The angle of the point (other, self).";
    SINH "fmi" "sinh(Tensor self)" Float |x, _| x[0].sinh(), "The hyperbolic sine.";
    COSH "fmi" "cosh(Tensor self)" Float |x, _| x[0].cosh(), "The hyperbolic cosine.";
    TANH "fmin" "tanh(Tensor self)" Float |x, _| x[0].tanh(), "The hyperbolic tangent.";
    ASINH "fmi" "asinh(Tensor self)" Float |x, _| prim(Prim::Asinh, x), "The inverse hyperbolic sine.";
    ARCSINH "fmi" "arcsinh(Tensor self)" Float = "AsinhBackward0" |x, _| prim(Prim::Asinh, x), "The inverse hyperbolic sine.";
    ACOSH "fmi" "acosh(Tensor self)" Float |x, _| prim(Prim::Acosh, x), "The inverse hyperbolic cosine.";
    ARCCOSH "fmi" "arccosh(Tensor self)" Float = "AcoshBackward0" |x, _| prim(Prim::Acosh, x), "The inverse hyperbolic cosine.";
    ATANH "fmi" "atanh(Tensor self)" Float |x, _| prim(Prim::Atanh, x), "The inverse hyperbolic tangent.";
    ARCTANH "fmi" "arctanh(Tensor self)" Float = "AtanhBackward0" |x, _| prim(Prim::Atanh, x), "The inverse hyperbolic tangent.";
    HYPOT "fmi" "hypot(Tensor self, Tensor other)" Arith |x, _| prim(Prim::Hypot, x), "sqrt(self^2 + other^2).";
    SINC "fmis" "sinc(Tensor self)" Float |x, _| prim(Prim::Sinc, x), "sin(pi x) / (pi x).";
    DEG2RAD "fmi" "deg2rad(Tensor self)" Float |x, _| x[0] * (std::f64::consts::PI / 180.0), "Degrees to radians.";
    RAD2DEG "fmi" "rad2deg(Tensor self)" Float |x, _| x[0] * (180.0 / std::f64::consts::PI), "Radians to degrees.";
    LOGADDEXP "fm" "logaddexp(Tensor self, Tensor other)" Arith |x, _| prim(Prim::LogAddExp, x), "log(exp(self) + exp(other)).";
    LOGADDEXP2 "fm" "logaddexp2(Tensor self, Tensor other)" Arith |x, _| prim(Prim::LogAddExp2, x), "log2(2^self + 2^other).";
    LDEXP "fmi" "ldexp(Tensor self, Tensor other)" Float |x, _| x[0] * x[1].exp2(), "self * 2^other.";
    XLOGY "fmis" "xlogy(Operand self, Operand other)" Float |x, _| prim(Prim::Xlogy, x), "self * log(other), 0 where self is 0.";
    XLOG1PY "s" "xlog1py(Operand self, Operand other)" Float |x, _| prim(Prim::Xlog1py, x), "self * log1p(other), 0 where self is 0.";
    LOGIT "" "logit(Tensor self)" Float |x, _| {
        let y = x[0] * wh(E::or(x[0].lt(0.0), x[0].gt(1.0)), c(f64::NAN), c(1.0));
        y.log() - (-y).log1p()
    }, "log(x / (1 - x)).";
    LOGIT_EPS "" "logit(Tensor self, Scalar low, Scalar high, Scalar at_low, Scalar at_high)" Float |x, p| {
        let y = wh(E::or(x[0].lt(p[0]), x[0].gt(p[1])), c(0.5), x[0]);
        wh(x[0].lt(p[0]), p[2], wh(x[0].gt(p[1]), p[3], y.log() - (-y).log1p()))
    }, "logit of x limited to [low, high].";
    // ---- rounding ----
    FLOOR "fmi" "floor(Tensor self)" Rounding |x, _| x[0].floor(), "Rounded down.";
    CEIL "fmi" "ceil(Tensor self)" Rounding |x, _| prim(Prim::Ceil, x), "Rounded up.";
    ROUND "" "round(Tensor self)" Rounding |x, _| x[0].round(), "Rounded to the nearest whole number, halves to even.";
    TRUNC "fmi" "trunc(Tensor self)" Rounding |x, _| x[0].trunc(), "Rounded towards zero.";
    FIX "fmi" "fix(Tensor self)" Rounding = "TruncBackward0" |x, _| x[0].trunc(), "Rounded towards zero.";
    FRAC "fmi" "frac(Tensor self)" FloatOnly |x, _| x[0] - x[0].trunc(), "The fractional part.";
    // ---- special functions ----
    ERF "fmis" "erf(Tensor self)" Float |x, _| x[0].erf(), "The error function.";
    ERFC "fmis" "erfc(Tensor self)" Float |x, _| x[0].erfc(), "1 - erf(x).";
    ERFINV "fmis" "erfinv(Tensor self)" Float |x, _| prim(Prim::ErfInv, x), "The inverse error function.";
    ERFCX "s" "erfcx(Tensor self)" Float |x, _| prim(Prim::Erfcx, x), "exp(x^2) erfc(x).";
    NDTR "s" "ndtr(Tensor self)" Float |x, _| (x[0] * (-1.0 / SQRT_2)).erfc() * 0.5, "The normal distribution function.";
    NDTRI "s" "ndtri(Tensor self)" Float |x, _| prim(Prim::NdTri, x), "The inverse of ndtr.";
    LOG_NDTR "s" "log_ndtr(Tensor self)" Float |x, _| prim(Prim::LogNdtr, x), "log(ndtr(x)).";
    LGAMMA "fmi" "lgamma(Tensor self)" Float |x, _| x[0].lgamma(), "log |Gamma(x)|.";
    GAMMALN "s" "gammaln(Tensor self)" Float = "LgammaBackward0" |x, _| x[0].lgamma(), "log |Gamma(x)|.";
    DIGAMMA "fmi" "digamma(Tensor self)" Float |x, _| x[0].digamma(), "The derivative of lgamma.";
    PSI "s" "psi(Tensor self)" Float = "DigammaBackward0" |x, _| x[0].digamma(), "The derivative of lgamma.";
    S_DIGAMMA "s" "digamma(Tensor self)" Float |x, _| x[0].digamma(), "The derivative of lgamma.";
    POLYGAMMA_ROW "" "polygamma(Operand self, Scalar n)" Float |x, p| E::polygamma(p[0], x[0]), "The n-th derivative of digamma.";
    ZETA "s" "zeta(Operand self, Operand other)" Float |x, _| E::zeta(x[0], x[1]), "The Hurwitz zeta function.";
    IGAMMA "fmi" "igamma(Tensor self, Tensor other)" FloatOnly |x, _| prim(Prim::Igamma, x), "The regularised lower incomplete gamma function.";
    IGAMMAC "fmi" "igammac(Tensor self, Tensor other)" FloatOnly |x, _| prim(Prim::Igammac, x), "The regularised upper incomplete gamma function.";
    GAMMAINC "s" "gammainc(Tensor self, Tensor other)" FloatOnly = "IgammaBackward0" |x, _| prim(Prim::Igamma, x), "The regularised lower incomplete gamma function.";
    GAMMAINCC "s" "gammaincc(Tensor self, Tensor other)" FloatOnly = "IgammacBackward0" |x, _| prim(Prim::Igammac, x), "The regularised upper incomplete gamma function.";
    I0 "fmis" "i0(Tensor self)" Float |x, _| x[0].i0(), "Modified Bessel function of order 0.";
    I0E "s" "i0e(Tensor self)" Float |x, _| x[0].i0e(), "exp(-|x|) i0(x).";
    I1 "s" "i1(Tensor self)" Float |x, _| x[0].i1(), "Modified Bessel function of order 1.";
    I1E "s" "i1e(Tensor self)" Float |x, _| x[0].i1e(), "exp(-|x|) i1(x).";
    BESSEL_J0 "s" "bessel_j0(Tensor self)" Float |x, _| prim(Prim::BesselJ0, x), "Bessel function of the first kind, order 0.";
    BESSEL_J1 "s" "bessel_j1(Tensor self)" Float |x, _| prim(Prim::BesselJ1, x), "Bessel function of the first kind, order 1.";
    BESSEL_Y0 "s" "bessel_y0(Tensor self)" Float |x, _| prim(Prim::BesselY0, x), "Bessel function of the second kind, order 0.";
    BESSEL_Y1 "s" "bessel_y1(Tensor self)" Float |x, _| prim(Prim::BesselY1, x), "Bessel function of the second kind, order 1.";
    ENTR "s" "entr(Tensor self)" Float |x, _| wh(x[0].eq(0.0), x[0] * 0.0, wh(x[0].lt(0.0), c(f64::NEG_INFINITY), -x[0] * x[0].log())), "-x log(x).";
    // ---- larger and smaller ----
    MAXIMUM "fm" "maximum(Tensor self, Tensor other)" Arith |x, _| x[0].max(x[1]), "The larger; NaN if either is.";
    MINIMUM "fm" "minimum(Tensor self, Tensor other)" Arith |x, _| x[0].min(x[1]), "The smaller; NaN if either is.";
    FMAX "fm" "fmax(Tensor self, Tensor other)" Arith |x, _| prim(Prim::Fmax, x), "The larger; NaN only if both are.";
    FMIN "fm" "fmin(Tensor self, Tensor other)" Arith |x, _| prim(Prim::Fmin, x), "The smaller; NaN only if both are.";
    CLAMP_ROW "" "clamp(Operand self, Operand min, Operand max)" Arith = "ClampBackward1" |x, _| clamp_max(clamp_min(x[0], x[1]), x[2]), "Limited to [min, max].";
    CLAMP_MIN "fmi" "clamp_min(Tensor self, Operand min)" Arith = "ClampMinBackward0" |x, _| clamp_min(x[0], x[1]), "At least min.";
    CLAMP_MAX "fmi" "clamp_max(Tensor self, Operand max)" Arith = "ClampMaxBackward0" |x, _| clamp_max(x[0], x[1]), "At most max.";
    HEAVISIDE "fmi" "heaviside(Tensor self, Tensor values)" Arith |x, _| prim(Prim::Heaviside, x), "0, values or 1 for negative, zero, positive.";
    COPYSIGN "fmi" "copysign(Tensor self, Operand other)" Float |x, _| prim(Prim::CopySign, x), "The size of self with the sign of other.";
    NEXTAFTER "fmi" "nextafter(Tensor self, Tensor other)" FloatOnly |x, _| prim(Prim::NextAfter, x), "The next number towards other.";
    // ---- comparison, logic, bits ----
    EQ "fmi" "eq(Tensor self, Operand other)" Compare |x, _| x[0].eq(x[1]), "Equal.";
    NE "fmi" "ne(Tensor self, Operand other)" Compare |x, _| x[0].ne(x[1]), "Not equal.";
    NOT_EQUAL "fmi" "not_equal(Tensor self, Operand other)" Compare |x, _| x[0].ne(x[1]), "Not equal.";
    LT "fmi" "lt(Tensor self, Operand other)" Compare |x, _| x[0].lt(x[1]), "Less.";
    LESS "fmi" "less(Tensor self, Operand other)" Compare |x, _| x[0].lt(x[1]), "Less.";
    LE "fmi" "le(Tensor self, Operand other)" Compare |x, _| x[0].le(x[1]), "Less or equal.";
    LESS_EQUAL "fmi" "less_equal(Tensor self, Operand other)" Compare |x, _| x[0].le(x[1]), "Less or equal.";
    GT "fmi" "gt(Tensor self, Operand other)" Compare |x, _| x[0].gt(x[1]), "Greater.";
    GREATER "fmi" "greater(Tensor self, Operand other)" Compare |x, _| x[0].gt(x[1]), "Greater.";
    GE "fmi" "ge(Tensor self, Operand other)" Compare |x, _| x[0].ge(x[1]), "Greater or equal.";
    GREATER_EQUAL "fmi" "greater_equal(Tensor self, Operand other)" Compare |x, _| x[0].ge(x[1]), "Greater or equal.";
    LOGICAL_AND "fmi" "logical_and(Tensor self, Tensor other)" Logical |x, _| E::and(x[0], x[1]), "Both nonzero.";
    LOGICAL_OR "fmi" "logical_or(Tensor self, Tensor other)" Logical |x, _| E::or(x[0], x[1]), "Either nonzero.";
    LOGICAL_XOR "fmi" "logical_xor(Tensor self, Tensor other)" Logical |x, _| prim(Prim::LogicalXor, x), "Exactly one nonzero.";
    LOGICAL_NOT "fmi" "logical_not(Tensor self)" Logical |x, _| x[0].not(), "Zero.";
    ISNAN "fm" "isnan(Tensor self)" Logical |x, _| x[0].is_nan(), "NaN.";
    ISINF "fm" "isinf(Tensor self)" Logical |x, _| x[0].is_inf(), "Infinite.";
    ISFINITE "fm" "isfinite(Tensor self)" Logical |x, _| (x[0].is_nan() + x[0].is_inf()).not(), "Neither infinite nor NaN.";
    ISPOSINF "fm" "isposinf(Tensor self)" Logical |x, _| E::and(x[0].is_inf(), x[0].gt(0.0)), "Positive infinity.";
    ISNEGINF "fm" "isneginf(Tensor self)" Logical |x, _| E::and(x[0].is_inf(), x[0].lt(0.0)), "Negative infinity.";
    BITWISE_AND "fmi" "bitwise_and(Operand self, Operand other)" Bits |x, _| prim(Prim::BitAnd, x), "Bits set in both.";
    BITWISE_OR "fmi" "bitwise_or(Operand self, Operand other)" Bits |x, _| prim(Prim::BitOr, x), "Bits set in either.";
    BITWISE_XOR "fmi" "bitwise_xor(Operand self, Operand other)" Bits |x, _| prim(Prim::BitXor, x), "Bits set in exactly one.";
    BITWISE_NOT_INT "" "bitwise_not(Tensor self)" Bits |x, _| prim(Prim::BitNot, x), "Every bit flipped.";
    BITWISE_LEFT_SHIFT "fmi" "bitwise_left_shift(Operand self, Operand other)" Bits |x, _| prim(Prim::Shl, x), "Bits moved left.";
    BITWISE_RIGHT_SHIFT "fmi" "bitwise_right_shift(Operand self, Operand other)" Bits |x, _| prim(Prim::Shr, x), "Bits moved right.";
    WHERE "" "where(Operand condition, Operand self, Operand other)" Arith |x, _| wh(x[0], x[1], x[2]), "Elements of self where condition, else of other.";
    // ---- activations ----
    SIGMOID "fmin" "sigmoid(Tensor self)" Float |x, _| x[0].sigmoid(), "1 / (1 + exp(-x)).";
    EXPIT "s" "expit(Tensor self)" Float = "SigmoidBackward0" |x, _| x[0].sigmoid(), "1 / (1 + exp(-x)).";
    RELU_ROW "" "relu(Tensor self)" NoBool |x, _| prim(Prim::Relu, x), "max(x, 0).";
    LEAKY_RELU_ROW "" "leaky_relu(Tensor self, Scalar slope)" FloatOnly |x, p| wh(x[0].gt(0.0), x[0], x[0] * p[0]), "x, or negative_slope * x below 0.";
    GELU_ERF "" "gelu(Tensor self)" FloatOnly |x, _| x[0] * 0.5 * ((x[0] * (1.0 / SQRT_2)).erf() + 1.0), "x Phi(x), with the normal distribution function.";
    GELU_TANH "" "gelu(Tensor self)" FloatOnly |x, _|
        x[0] * 0.5 * (((x[0] + x[0] * x[0] * x[0] * 0.044715) * (2.0 / std::f64::consts::PI).sqrt()).tanh() + 1.0), "gelu by its tanh approximation.";
    SILU_ROW "" "silu(Tensor self)" FloatOnly |x, _| x[0] * x[0].sigmoid(), "x sigmoid(x).";
    MISH_ROW "" "mish(Tensor self)" FloatOnly |x, _| x[0] * softplus(x[0]).tanh(), "x tanh(softplus(x)).";
    SOFTPLUS_ROW "" "softplus(Tensor self, Scalar beta, Scalar threshold)" FloatOnly |x, p|
        wh((x[0] * p[0]).gt(p[1]), x[0], softplus(x[0] * p[0]) / p[0]), "log(1 + exp(beta x)) / beta.";
    ELU_ROW "" "elu(Tensor self, Scalar alpha, Scalar scale, Scalar input_scale)" FloatOnly |x, p|
        wh(x[0].le(0.0), wh(x[0].le(0.0), x[0] * p[2], c(0.0)).expm1() * p[0] * p[1], x[0] * p[1]), "x, or alpha (exp(x) - 1) below 0.";
    HARDTANH_ROW "" "hardtanh(Tensor self, Scalar low, Scalar high)" Arith |x, p|
        wh(x[0].le(p[0]), p[0], wh(x[0].ge(p[1]), p[1], x[0])), "x limited to [min_val, max_val].";
    HARDSIGMOID_ROW "" "hardsigmoid(Tensor self)" FloatOnly |x, _| wh(
        E::and(x[0].gt(-3.0), x[0].lt(3.0)), (x[0] + 3.0) * (1.0 / 6.0), wh(x[0].le(-3.0), c(0.0), wh(x[0].ge(3.0), c(1.0), x[0] * 0.0))),
        "relu6(x + 3) / 6.";
    HARDSWISH_ROW "" "hardswish(Tensor self)" FloatOnly |x, _| {
        let middle = E::and(x[0].gt(-3.0), x[0].lt(3.0));
        let y = wh(middle, x[0], c(0.0));
        wh(middle, y * (y + 3.0) * (1.0 / 6.0), wh(x[0].le(-3.0), x[0] * 0.0, x[0]))
    }, "x relu6(x + 3) / 6.";
    LOGSIGMOID_ROW "" "logsigmoid(Tensor self)" FloatOnly = "LogSigmoidBackward0" |x, _| x[0].log_sigmoid(), "log(sigmoid(x)).";
    SOFTSHRINK_ROW "" "softshrink(Tensor self, Scalar lambd)" FloatOnly |x, p|
        wh(E::and(x[0].ge(-p[0]), x[0].le(p[0])), c(0.0), wh(x[0].gt(p[0]), x[0] - p[0], x[0] + p[0])), "Moved towards 0 by lambd.";
    HARDSHRINK_ROW "" "hardshrink(Tensor self, Scalar lambd)" FloatOnly |x, p|
        wh(E::and(x[0].ge(-p[0]), x[0].le(p[0])), c(0.0), x[0]), "0 within lambd of 0.";
    THRESHOLD_ROW "" "threshold(Tensor self, Scalar threshold, Scalar value)" Arith |x, p| wh(x[0].le(p[0]), p[1], x[0]), "value where x <= threshold.";
    NAN_TO_NUM_ROW "" "nan_to_num(Tensor self, Scalar nan, Scalar posinf, Scalar neginf)" Arith |x, p|
        wh(x[0].is_nan(), p[0], wh(E::and(x[0].is_inf(), x[0].gt(0.0)), p[1], wh(E::and(x[0].is_inf(), x[0].lt(0.0)), p[2], x[0]))), "NaN and infinities replaced.";
}

fn softplus(x: E) -> E {
    0.0 - (-x).log_sigmoid()
}

/// NaN passes; the gradient goes to x where it is at the bound.
fn clamp_min(x: E, low: E) -> E {
    wh(E::or(x.lt(low), low.is_nan()), low, x)
}
fn clamp_max(x: E, high: E) -> E {
    wh(E::or(x.gt(high), high.is_nan()), high, x)
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

fn with_alpha(plain: &'static Row, scaled: &'static Row, a: &Args) -> Result<Ret> {
    let operands = [a.operand(0).unwrap(), a.operand(1).unwrap()];
    let alpha = a.sc(2);
    if alpha.f64() == 1.0 {
        return plain.call(&operands, &[], a.target.as_ref()).map(Ret::from);
    }
    let common = result_type(&operands);
    ensure!(
        !(alpha.is_float() && common.is_integral()),
        Runtime,
        "For integral input tensors, argument alpha must not be a floating point number."
    );
    ensure!(
        !matches!(alpha, Scalar::Bool(_)) || common == Dtype::Bool,
        Runtime,
        "Boolean alpha only supported for Boolean results."
    );
    scaled.call(&operands, &[alpha], a.target.as_ref()).map(Ret::from)
}

pub(super) fn register(r: &mut Registry) {
    for row in ROWS.iter().filter(|row| !row.places.is_empty()) {
        r.ops.push(Op { places: row.places, schema: Schema::parse(row.schema), doc: row.doc, call: Call::Elementwise(row) });
    }
    r.op("fmi", "add(Tensor self, Operand other, *, Scalar alpha=1) -> Tensor", "self + alpha * other.", |a| {
        with_alpha(&ADD, &ADD_ALPHA, a)
    });
    r.op("fmi", "subtract(Tensor self, Operand other, *, Scalar alpha=1) -> Tensor", "self - alpha * other.", |a| {
        with_alpha(&SUB, &SUB_ALPHA, a)
    });
    for schema in [
        "div(Tensor self, Operand other, *, str? rounding_mode=None) -> Tensor",
        "divide(Tensor self, Operand other, *, str? rounding_mode=None) -> Tensor",
    ] {
        r.op("fmi", schema, "The quotient; rounding_mode 'trunc' or 'floor' rounds it.", |a| {
            let row = match a.os(2) {
                None => &DIV,
                Some("trunc") => &DIV_TRUNC,
                Some("floor") => &FLOOR_DIVIDE,
                Some(m) => bail!(Runtime, "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{m}'"),
            };
            row.call(&[a.operand(0).unwrap(), a.operand(1).unwrap()], &[], a.target.as_ref()).map(Ret::from)
        });
    }
    r.op("fmi", "true_divide(Tensor self, Operand other) -> Tensor", "The quotient.", |a| {
        DIV.call(&[a.operand(0).unwrap(), a.operand(1).unwrap()], &[], a.target.as_ref()).map(Ret::from)
    });
    r.op("f", "rsub(Tensor self, Operand other, *, Scalar alpha=1) -> Tensor", "other - alpha * self.", |a| {
        let scaled = if a.sc(2).f64() == 1.0 {
            a.operand(0).unwrap()
        } else {
            Operand::T(MUL.call(&[a.operand(0).unwrap(), Operand::S(a.sc(2))], &[], None)?)
        };
        RSUB.call(&[scaled, a.operand(1).unwrap()], &[], None).map(Ret::from)
    });
    r.op("fmi", "pow(Operand self, Operand exponent) -> Tensor", "self to the power of exponent.", |a| {
        some_tensor("pow", &[a.operand(0).unwrap(), a.operand(1).unwrap()])?;
        pow(a.operand(0).unwrap(), a.operand(1).unwrap()).map(Ret::from)
    });
    r.op("fmi", "float_power(Operand self, Operand exponent) -> Tensor", "pow in float64.", |a| {
        let wide = |o: Operand| -> Result<Operand> {
            Ok(match o {
                Operand::T(t) => Operand::T(copy::to_dtype(&t, Dtype::F64)?),
                s => s,
            })
        };
        some_tensor("float_power", &[a.operand(0).unwrap(), a.operand(1).unwrap()])?;
        pow(wide(a.operand(0).unwrap())?, wide(a.operand(1).unwrap())?).map(Ret::from)
    });
    r.op("fmi", "bitwise_not(Tensor self) -> Tensor", "Every bit flipped; logical for bool.", |a| {
        let row = if a.t(0).dtype() == Dtype::Bool { &LOGICAL_NOT } else { &BITWISE_NOT_INT };
        row.call(&[a.operand(0).unwrap()], &[], None).map(Ret::from)
    });
    r.op(
        "fmis",
        "round(Tensor self, *, int decimals=0) -> Tensor",
        "Rounded to the nearest, halves to even; to a number of decimals.",
        |a| {
            let x = a.operand(0).unwrap();
            if a.int(1) == 0 {
                return ROUND.call(&[x], &[], a.target.as_ref()).map(Ret::from);
            }
            ensure!(
                a.t(0).dtype().is_float(),
                NotImplemented,
                "\"round_vml_cpu\" not implemented for '{}'",
                a.t(0).dtype().scalar_name()
            );
            let p = 10f64.powi(a.int(1).unsigned_abs().min(400) as i32);
            let (up, down) = if a.int(1) > 0 { (p, 1.0 / p) } else { (1.0 / p, p) };
            let _ = down;
            let scaled = if a.int(1) > 0 {
                MUL.call(&[x, Operand::S(up.into())], &[], None)?
            } else {
                DIV.call(&[x, Operand::S(p.into())], &[], None)?
            };
            let r = ROUND.call(&[Operand::T(scaled)], &[], None)?;
            let row = if a.int(1) > 0 { &DIV } else { &MUL };
            row.call(&[Operand::T(r), Operand::S(p.into())], &[], None).map(Ret::from)
        },
    );
    for schema in [
        "clamp(Tensor self, Operand? min=None, Operand? max=None) -> Tensor",
        "clip(Tensor self, Operand? min=None, Operand? max=None) -> Tensor",
    ] {
        r.op("fmi", schema, "Limited to [min, max].", |a| {
            let x = a.operand(0).unwrap();
            match (a.operand(1), a.operand(2)) {
                (Some(lo), Some(hi)) => CLAMP_ROW.call(&[x, lo, hi], &[], a.target.as_ref()),
                (Some(lo), None) => CLAMP_MIN.call(&[x, lo], &[], a.target.as_ref()),
                (None, Some(hi)) => CLAMP_MAX.call(&[x, hi], &[], a.target.as_ref()),
                (None, None) => bail!(Runtime, "torch.clamp: At least one of 'min' or 'max' must not be None"),
            }
            .map(Ret::from)
        });
    }
    r.op("fm", "polygamma(int n, Tensor self) -> Tensor", "The n-th derivative of digamma.", |a| {
        ensure!(a.int(0) >= 0, Runtime, "polygamma(n, x) does not support negative n.");
        POLYGAMMA_ROW.call(&[a.operand(1).unwrap()], &[a.sc(0)], None).map(Ret::from)
    });
    r.op("fmi", "sub(Tensor self, Operand other, *, Scalar alpha=1) -> Tensor", "self - alpha * other.", |a| {
        with_alpha(&SUB, &SUB_ALPHA, a)
    });
    r.op(
        "fm",
        "where(Tensor condition, Operand self, Operand other) -> Tensor",
        "Elements of self where condition, else of other.",
        |a| {
            let (x, y) = (a.operand(1).unwrap(), a.operand(2).unwrap());
            let cond = a.t(0).clone();
            ensure!(
                cond.dtype() == Dtype::Bool || cond.dtype() == Dtype::U8,
                Runtime,
                "where expected condition to be a boolean tensor, but got a tensor with dtype {}",
                cond.dtype().scalar_name()
            );
            let d = result_type(&[x.clone(), y.clone()]);
            if d.is_complex() {
                return super::complex::choose_complex(&cond, &x, &y).map(Ret::from);
            }
            apply(WHERE.compiled(), &[Operand::T(cond), x, y], &[], d, d, a.target.as_ref()).map(Ret::from)
        },
    );
}

/// Writes the result of an elementwise call over its first operand; the generic way for all in-place methods.
pub fn finish_inplace(target: &Tensor, result: Tensor) -> Result<()> {
    inplace::assign(target, result)
}

/// One gradient and nothing else.
pub fn only(g: Tensor) -> Grads {
    smallvec![Some(g)]
}
