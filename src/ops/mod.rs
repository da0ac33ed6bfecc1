//! The ops, one file per family, and the registry from which every Python function and method is made.
//!
//! To add an op, write in its family's file a typed Rust function (check, forward, gradient) and one
//! registry entry: where it appears, its schema line, its doc, and a closure from [`Args`] to the function.
//! Where it appears: `f` function, `m` method, `i` in-place method made from the op, `n` nn.functional,
//! `l` linalg, `s` special, `t` fft, `p` property, `_` private helper of the Python package.

pub mod activation;
pub mod autocast;
pub mod complex;
pub mod conv;
pub mod copy;
pub mod creation;
pub mod elementwise;
pub mod embedding;
pub mod fallback;
pub mod fft;
pub mod index;
pub mod inplace;
pub mod join;
pub mod linalg;
pub mod loss;
pub mod matmul;
pub mod misc;
pub mod norm;
pub mod numeric;
pub mod optim;
pub mod pool;
pub mod random;
pub mod reduce;
pub mod resample;
pub mod rnn;
pub mod scan;
pub mod schema;
pub mod sort;
pub mod view;

use crate::device::Device;
use crate::dtype::{Dtype, Scalar};
use crate::error::Result;
use crate::expr::Operand;

use crate::small::Small;
use crate::tensor::Tensor;
use schema::{Default, Schema, Ty};
use smallvec::SmallVec;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A generator that several threads may draw from.
pub type SharedGenerator = std::sync::Arc<parking_lot::Mutex<crate::random::Generator>>;

pub type Ints = Small<i64>;

/// Stands for None in a list of integers some of which may be missing.
pub const NO_INT: i64 = i64::MIN;

/// `torch.contiguous_format` and its kin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryFormat {
    Contiguous,
    Preserve,
    ChannelsLast,
    ChannelsLast3d,
}

/// One parsed argument.
#[derive(Clone)]
pub enum Value {
    None,
    Tensor(Tensor),
    Tensors(Vec<Option<Tensor>>),
    Scalar(Scalar),
    Ints(Ints),
    Floats(Vec<f64>),
    Str(String),
    Dtype(Dtype),
    Device(Device),
    Generator(SharedGenerator),
    MemoryFormat(MemoryFormat),
}

/// The arguments of a call in the order of the schema; the parser has checked the types, so that the
/// accessors panic only where an entry does not fit its own schema line.
pub struct Args {
    pub values: SmallVec<[Value; 6]>,
    /// The target of an in-place call: an op that can write there directly may, and answers it.
    pub target: Option<Tensor>,
    /// `out=`: where an op may write its result if it fits, and answers it. Its content says nothing.
    pub out: Option<Tensor>,
}

#[rustfmt::skip]
impl Args {
    /// Memory that is there for the result.
    pub fn place(&self) -> Option<&Tensor> { self.target.as_ref().or(self.out.as_ref()) }
    pub fn t(&self, i: usize) -> &Tensor { self.ot(i).expect("a tensor") }
    pub fn ot(&self, i: usize) -> Option<&Tensor> { match &self.values[i] { Value::Tensor(t) => Some(t), _ => None } }
    pub fn ts(&self, i: usize) -> Vec<Tensor> { self.ots(i).iter().flatten().cloned().collect() }
    pub fn ots(&self, i: usize) -> &[Option<Tensor>] { match &self.values[i] { Value::Tensors(t) => t, _ => &[] } }
    pub fn osc(&self, i: usize) -> Option<Scalar> { match &self.values[i] { Value::Scalar(s) => Some(*s), _ => None } }
    pub fn sc(&self, i: usize) -> Scalar { self.osc(i).expect("a number") }
    pub fn int(&self, i: usize) -> i64 { self.sc(i).i64() }
    pub fn oint(&self, i: usize) -> Option<i64> { self.osc(i).map(Scalar::i64) }
    pub fn f(&self, i: usize) -> f64 { self.sc(i).f64() }
    pub fn of(&self, i: usize) -> Option<f64> { self.osc(i).map(Scalar::f64) }
    pub fn b(&self, i: usize) -> bool { self.int(i) != 0 }
    pub fn ob(&self, i: usize) -> Option<bool> { self.oint(i).map(|v| v != 0) }
    pub fn ints(&self, i: usize) -> &[i64] { self.oints(i).unwrap_or(&[]) }
    pub fn oints(&self, i: usize) -> Option<&[i64]> { match &self.values[i] { Value::Ints(v) => Some(v), _ => None } }
    pub fn floats(&self, i: usize) -> Option<&[f64]> { match &self.values[i] { Value::Floats(v) => Some(v), _ => None } }
    pub fn os(&self, i: usize) -> Option<&str> { match &self.values[i] { Value::Str(s) => Some(s), _ => None } }
    pub fn s(&self, i: usize) -> &str { self.os(i).unwrap_or("") }
    pub fn dtype(&self, i: usize) -> Option<Dtype> { match &self.values[i] { Value::Dtype(d) => Some(*d), _ => None } }
    pub fn device(&self, i: usize) -> Option<Device> { match &self.values[i] { Value::Device(d) => Some(*d), _ => None } }
    pub fn generator(&self, i: usize) -> Option<&SharedGenerator> { match &self.values[i] { Value::Generator(g) => Some(g), _ => None } }
    pub fn memory_format(&self, i: usize) -> Option<MemoryFormat> { match &self.values[i] { Value::MemoryFormat(m) => Some(*m), _ => None } }
    /// A tensor or a number; `None` where neither was given.
    pub fn operand(&self, i: usize) -> Option<Operand> {
        match &self.values[i] {
            Value::Tensor(t) => Some(Operand::T(t.clone())),
            Value::Scalar(s) => Some(Operand::S(*s)),
            _ => None,
        }
    }
}

/// What an op answers.
pub enum Ret {
    None,
    Tensor(Tensor),
    /// A tuple; with names in the schema, `torch.return_types.NAME`.
    Tuple(Vec<Tensor>),
    /// A tuple some of whose entries are None.
    Options(Vec<Option<Tensor>>),
    List(Vec<Tensor>),
    /// A tensor and a tuple of tensors.
    Nested(Tensor, Vec<Tensor>),
    Scalar(Scalar),
    Ints(Vec<i64>),
    /// The first argument becomes this tensor (a metadata change in place: `t_`, `resize_`).
    Replace(Tensor),
    Dtype(Dtype),
    Str(String),
}

impl From<Tensor> for Ret {
    fn from(t: Tensor) -> Ret {
        Ret::Tensor(t)
    }
}
impl From<(Tensor, Tensor)> for Ret {
    fn from((a, b): (Tensor, Tensor)) -> Ret {
        Ret::Tuple(vec![a, b])
    }
}
impl From<Vec<Tensor>> for Ret {
    fn from(v: Vec<Tensor>) -> Ret {
        Ret::Tuple(v)
    }
}
impl From<bool> for Ret {
    fn from(b: bool) -> Ret {
        Ret::Scalar(Scalar::Bool(b))
    }
}

thread_local! {
    static WARNINGS: std::cell::RefCell<Vec<String>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Threads whose warnings were not taken: every call asks, and a thread's own list costs more to look at.
static WARNED: AtomicUsize = AtomicUsize::new(0);

/// Notes a warning for the caller; the binding layer turns it into a `UserWarning` after the call.
pub fn warn(text: impl Into<String>) {
    WARNINGS.with_borrow_mut(|w| {
        if w.is_empty() {
            WARNED.fetch_add(1, Ordering::Relaxed);
        }
        // Without a binding layer nobody empties the list.
        if w.len() < 100 {
            w.push(text.into());
        }
    });
}

/// [`warn`], the first time in this process only.
pub fn warn_once(text: &'static str) {
    static SEEN: parking_lot::Mutex<Vec<&'static str>> = parking_lot::Mutex::new(Vec::new());
    let mut seen = SEEN.lock();
    if !seen.contains(&text) {
        seen.push(text);
        warn(text);
    }
}

/// The warnings noted on this thread since the last time.
pub fn take_warnings() -> Vec<String> {
    if WARNED.load(Ordering::Relaxed) == 0 {
        return Vec::new();
    }
    let mine = WARNINGS.with_borrow_mut(std::mem::take);
    if !mine.is_empty() {
        WARNED.fetch_sub(1, Ordering::Relaxed);
    }
    mine
}

thread_local! {
    static CURRENT: std::cell::Cell<&'static str> = const { std::cell::Cell::new("backward") };
}

/// The op that runs on this thread, for messages from below.
pub fn current() -> &'static str {
    CURRENT.get()
}

pub type OpFn = fn(&Args) -> Result<Ret>;

/// How an entry is called.
#[derive(Clone, Copy)]
pub enum Call {
    Fn(OpFn),
    /// A row of the elementwise table.
    Elementwise(&'static elementwise::Row),
}

/// One entry of the registry: an overload of an op.
pub struct Op {
    pub places: &'static str,
    pub schema: Schema,
    pub doc: &'static str,
    pub call: Call,
}

impl Op {
    pub fn run(&self, args: &Args) -> Result<Ret> {
        if autocast::state().0
            && let Some(cast) = autocast::cast(self.schema.name, args)?
        {
            return self.run_here(&cast);
        }
        self.run_here(args)
    }

    fn run_here(&self, args: &Args) -> Result<Ret> {
        if fallback::enabled() { fallback::run(self, args) } else { self.run_as_given(args) }
    }

    fn run_as_given(&self, args: &Args) -> Result<Ret> {
        CURRENT.set(self.schema.name);
        match self.call {
            Call::Fn(f) => f(args),
            Call::Elementwise(row) => row.run(&self.schema, args).map(Ret::Tensor),
        }
    }
}

/// All ops. Entries of the same name are overloads, tried in order.
#[derive(Default)]
pub struct Registry {
    pub ops: Vec<Op>,
}

impl Registry {
    /// Adds an entry: places, schema line, doc, and the call.
    pub fn op(&mut self, places: &'static str, schema: &'static str, doc: &'static str, f: OpFn) {
        self.ops.push(Op { places, schema: Schema::parse(schema), doc, call: Call::Fn(f) });
    }
}

/// The registry, made on first use.
pub fn registry() -> &'static Registry {
    static REGISTRY: OnceLock<Registry> = OnceLock::new();
    REGISTRY.get_or_init(|| {
        let mut r = Registry::default();
        let families: &[fn(&mut Registry)] = &[
            activation::register,
            complex::register,
            conv::register,
            copy::register,
            creation::register,
            elementwise::register,
            embedding::register,
            fft::register,
            index::register,
            join::register,
            linalg::register,
            loss::register,
            matmul::register,
            misc::register,
            norm::register,
            numeric::register,
            optim::register,
            pool::register,
            random::register,
            reduce::register,
            resample::register,
            rnn::register,
            scan::register,
            sort::register,
            view::register,
        ];
        families.iter().for_each(|register| register(&mut r));
        r
    })
}

/// The value that stands for an argument that was not given.
pub fn default_value(p: &schema::Param) -> Value {
    match &p.default {
        None | Some(Default::None) => Value::None,
        Some(Default::Number(s)) => match p.ty {
            Ty::Ints(n) => Value::Ints(Ints::from_elem(s.i64(), n.unwrap_or(1))),
            _ => Value::Scalar(*s),
        },
        Some(Default::Str(s)) => Value::Str((*s).to_string()),
        Some(Default::Ints(v)) => match p.ty {
            Ty::Ints(Some(n)) if v.len() == 1 => Value::Ints(Ints::from_elem(v[0], n)),
            _ => Value::Ints(v.iter().copied().collect()),
        },
    }
}
