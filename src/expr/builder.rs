//! Writing formulas: handles `E` into an arena of nodes, with operators; and differentiating them.

use super::prim::Prim;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// A node of a formula.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Node {
    /// The `i`-th input: a tensor element or a number.
    In(u8),
    /// The `i`-th number given with the call (`alpha`, `eps`).
    Par(u8),
    Const(f64),
    Op(Prim, [u32; 3]),
}

/// A handle to a node of the formula under construction.
#[derive(Clone, Copy)]
pub struct E(pub(crate) u32);

#[derive(Default)]
struct Arena {
    nodes: Vec<Node>,
    known: HashMap<(u8, u64, u64), u32>,
}

thread_local! {
    static ARENA: RefCell<Arena> = RefCell::default();
}

impl Node {
    /// Equal nodes have equal keys.
    fn key(&self) -> (u8, u64, u64) {
        match *self {
            Node::In(i) => (0, i as u64, 0),
            Node::Par(i) => (1, i as u64, 0),
            Node::Const(v) => (2, v.to_bits(), 0),
            Node::Op(p, [a, b, c]) => (3, (p as u64) << 32 | a as u64, (b as u64) << 32 | c as u64),
        }
    }
}

/// Puts a node into the arena as it is; an equal one is used again.
pub(super) fn push(n: Node) -> E {
    ARENA.with_borrow_mut(|a| {
        let next = a.nodes.len() as u32;
        let at = *a.known.entry(n.key()).or_insert(next);
        if at == next {
            a.nodes.push(n);
        }
        E(at)
    })
}

fn node(e: E) -> Node {
    ARENA.with_borrow(|a| a.nodes[e.0 as usize])
}

/// A number in a formula.
pub fn c(v: f64) -> E {
    push(Node::Const(v))
}

/// `if cond != 0 { a } else { b }`
pub fn wh(cond: E, a: E, b: E) -> E {
    if a.0 == b.0 { a } else { push(Node::Op(Prim::Where, [cond.0, a.0, b.0])) }
}

/// A finished formula: nodes in an order of evaluation, without what the result does not need.
#[derive(Clone, Debug)]
pub struct Formula {
    pub nodes: Vec<Node>,
    pub root: u32,
}

/// Runs `f` in a fresh arena and keeps what the result needs.
pub fn build(f: impl FnOnce() -> E) -> Formula {
    let outer = ARENA.take();
    let root = f();
    let arena = ARENA.replace(outer);
    prune(&arena.nodes, root.0)
}

fn prune(nodes: &[Node], root: u32) -> Formula {
    let mut live = vec![false; nodes.len()];
    live[root as usize] = true;
    for i in (0..=root as usize).rev() {
        if live[i]
            && let Node::Op(p, args) = nodes[i]
        {
            for &a in &args[..p.info().arity] {
                live[a as usize] = true;
            }
        }
    }
    let mut place = vec![0u32; nodes.len()];
    let mut kept = Vec::new();
    for (i, n) in nodes.iter().enumerate() {
        if live[i] {
            place[i] = kept.len() as u32;
            kept.push(match *n {
                Node::Op(p, args) => {
                    let mut to = [0; 3];
                    for k in 0..p.info().arity {
                        to[k] = place[args[k] as usize];
                    }
                    Node::Op(p, to)
                }
                n => n,
            });
        }
    }
    Formula { root: place[root as usize], nodes: kept }
}

impl Formula {
    /// Whether the `i`-th input is used.
    pub fn uses(&self, i: usize) -> bool {
        self.nodes.contains(&Node::In(i as u8))
    }

    /// Puts this formula into the arena, with `inputs` for its inputs; answers the handle of every node.
    fn splice(&self, inputs: &dyn Fn(u8) -> E) -> Vec<E> {
        let mut at: Vec<E> = Vec::with_capacity(self.nodes.len());
        for n in &self.nodes {
            let e = match *n {
                Node::In(i) => inputs(i),
                Node::Op(p, args) => {
                    let args = args.map(|k| at.get(k as usize).copied().unwrap_or(E(0)));
                    prim(p, &args[..p.info().arity])
                }
                n => push(n),
            };
            at.push(e);
        }
        at
    }

    /// The gradient with respect to input `wrt`, as a formula over the `n` inputs, then the gradient of the
    /// result (input `n`), then the result itself (input `n + 1`). `None` where it is zero everywhere.
    pub fn grad(&self, n: usize, wrt: usize) -> Option<Formula> {
        let mut nothing = false;
        let f = build(|| {
            let at = self.splice(&|i| push(Node::In(i)));
            let mut grads: Vec<Option<E>> = vec![None; self.nodes.len()];
            grads[self.root as usize] = Some(push(Node::In(n as u8)));
            let mut total: Option<E> = None;
            for i in (0..self.nodes.len()).rev() {
                let Some(g) = grads[i] else { continue };
                match self.nodes[i] {
                    Node::In(k) if k as usize == wrt => total = Some(total.map_or(g, |t| t + g)),
                    Node::Op(p, args) if self.depends(i, wrt) => {
                        let arity = p.info().arity;
                        let x: Vec<E> = args[..arity].iter().map(|&a| at[a as usize]).collect();
                        let y = if i == self.root as usize { push(Node::In(n as u8 + 1)) } else { at[i] };
                        for (k, d) in (p.info().grad)(&x, y, g).into_iter().enumerate().take(arity) {
                            let a = args[k] as usize;
                            if let Some(d) = d
                                && self.depends(a, wrt)
                            {
                                grads[a] = Some(grads[a].map_or(d, |old| old + d));
                            }
                        }
                    }
                    _ => {}
                }
            }
            nothing = total.is_none();
            total.unwrap_or_else(|| c(0.0))
        });
        (!nothing).then_some(f)
    }

    fn depends(&self, i: usize, input: usize) -> bool {
        match self.nodes[i] {
            Node::In(k) => k as usize == input,
            Node::Op(p, args) => args[..p.info().arity].iter().any(|&a| self.depends(a as usize, input)),
            _ => false,
        }
    }
}

/// Applies a primitive, folding what is known beforehand. Only identities that hold for NaN and Inf too.
pub fn prim(p: Prim, x: &[E]) -> E {
    let k = |i: usize| match x.get(i).map(|e| node(*e)) {
        Some(Node::Const(v)) => Some(v),
        _ => None,
    };
    match (p, k(0), k(1)) {
        (Prim::Mul, Some(1.0), _) => return x[1],
        (Prim::Mul | Prim::Div, _, Some(1.0)) => return x[0],
        (Prim::Add, Some(0.0), _) => return x[1],
        (Prim::Add | Prim::Sub, _, Some(0.0)) => return x[0],
        (Prim::Mul, Some(a), Some(b)) => return c(a * b),
        (Prim::Add, Some(a), Some(b)) => return c(a + b),
        (Prim::Neg, Some(a), _) => return c(-a),
        _ => {}
    }
    let mut args = [0; 3];
    for (slot, e) in args.iter_mut().zip(x) {
        *slot = e.0;
    }
    push(Node::Op(p, args))
}

/// The `i`-th input.
pub fn input(i: usize) -> E {
    push(Node::In(i as u8))
}
/// The `i`-th number given with the call.
pub fn par(i: usize) -> E {
    push(Node::Par(i as u8))
}

macro_rules! operators {
    ($($tr:ident $f:ident $p:ident;)*) => {$(
        impl $tr for E { type Output = E; fn $f(self, o: E) -> E { prim(Prim::$p, &[self, o]) } }
        impl $tr<f64> for E { type Output = E; fn $f(self, o: f64) -> E { prim(Prim::$p, &[self, c(o)]) } }
        impl $tr<E> for f64 { type Output = E; fn $f(self, o: E) -> E { prim(Prim::$p, &[c(self), o]) } }
    )*};
}
operators! { Add add Add; Sub sub Sub; Mul mul Mul; Div div Div; }

impl Neg for E {
    type Output = E;
    fn neg(self) -> E {
        prim(Prim::Neg, &[self])
    }
}

macro_rules! unary {
    ($($f:ident $p:ident,)*) => { #[allow(clippy::should_implement_trait)] impl E { $( #[doc = stringify!($p)] pub fn $f(self) -> E { prim(Prim::$p, &[self]) } )* } };
}
unary! {
    abs Abs, sign Sign, exp Exp, exp2 Exp2, expm1 Expm1, log Log, log1p Log1p, sqrt Sqrt, rsqrt Rsqrt, recip Recip, square Square,
    sin Sin, cos Cos, sinh Sinh, cosh Cosh, tanh Tanh, sigmoid Sigmoid, log_sigmoid LogSigmoid, erf Erf, erfc Erfc, normal_cdf NormalCdf, floor Floor, trunc Trunc,
    round Round, digamma Digamma, lgamma Lgamma, i0 I0, i0e I0e, i1 I1, i1e I1e, is_nan IsNan, is_inf IsInf, not LogicalNot,
}

macro_rules! compare {
    ($($f:ident $p:ident,)*) => { impl E { $( #[doc = stringify!($p)] pub fn $f(self, o: impl IntoE) -> E { prim(Prim::$p, &[self, o.into_e()]) } )* } };
}
compare! { lt Lt, le Le, gt Gt, ge Ge, eq Eq, ne Ne, max Max, min Min, }

/// A handle or a number.
pub trait IntoE {
    fn into_e(self) -> E;
}
impl IntoE for E {
    fn into_e(self) -> E {
        self
    }
}
impl IntoE for f64 {
    fn into_e(self) -> E {
        c(self)
    }
}

impl E {
    pub fn pow(x: E, y: E) -> E {
        prim(Prim::Pow, &[x, y])
    }
    pub fn and(x: E, y: E) -> E {
        prim(Prim::LogicalAnd, &[x, y])
    }
    pub fn or(x: E, y: E) -> E {
        prim(Prim::LogicalOr, &[x, y])
    }
    pub fn floor_div(x: E, y: E) -> E {
        prim(Prim::FloorDiv, &[x, y])
    }
    pub fn trunc_div(x: E, y: E) -> E {
        prim(Prim::TruncDiv, &[x, y])
    }
    pub fn polygamma(n: E, x: E) -> E {
        prim(Prim::Polygamma, &[n, x])
    }
    pub fn zeta(s: E, q: E) -> E {
        prim(Prim::Zeta, &[s, q])
    }
}
