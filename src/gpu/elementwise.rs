//! Elementwise formulas as generated kernels: one dispatch a formula, whatever the dtypes, strides and broadcasting.

use super::wgsl::{self, Use};
use super::{Buffer, Gpu, Region, check_dtype, fits, of, prelude};
use crate::device::Device;
use crate::dtype::{Dtype, Scalar};
use crate::err;
use crate::error::Result;
use crate::expr::builder::{Formula, Node};
use crate::expr::eval::{self, Operand};
use crate::tensor::Tensor;
use rustc_hash::FxHasher;
use smallvec::SmallVec;
use std::fmt::Write;
use std::hash::{Hash, Hasher};

/// How a kernel finds an operand's element.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Place {
    /// At the position of the result's.
    Same,
    /// By strides.
    Strided,
    /// Always the first.
    One,
}

/// What the text of a kernel depends on.
#[derive(Clone, Debug)]
pub struct Shape<'a> {
    pub formula: &'a Formula,
    /// The compute type: `f32`, `f64`, `i32`, `i64`.
    pub compute: &'static str,
    /// For every input of the formula: its place among the tensors, or `None` for a number.
    pub inputs: SmallVec<[Option<usize>; 8]>,
    pub tensors: SmallVec<[(Dtype, Place); 8]>,
    /// Integer results are cut to the promoted dtype before they are stored in another one.
    pub cut: Option<Dtype>,
    pub out: Dtype,
    /// The result fills whole words of memory in order.
    pub whole_words: bool,
    pub out_strided: bool,
    /// Dimensions, where there are strides.
    pub rank: usize,
    pub params: usize,
}

/// The type in which formulas over a promoted dtype compute on a GPU.
pub fn compute_type(common: Dtype, wide: bool) -> &'static str {
    match common {
        Dtype::F64 => "f64",
        d if d.is_float() => "f32",
        Dtype::I64 => "i64",
        _ if wide => "i64",
        _ => "i32",
    }
}

fn literal(v: f64, compute: &str) -> String {
    match compute {
        "f64" => format!("{v:?}lf"),
        // A number that is not finite would be refused as a constant.
        "f32" if !(v as f32).is_finite() || (v != 0.0 && (v as f32).abs() < 1e-30) => {
            format!("rg_bits({}u)", (v as f32).to_bits())
        }
        "f32" => format!("{:?}f", v as f32),
        "i64" => format!("{}li", v as i64),
        _ => format!("{}i", v as i32),
    }
}

/// The call of a primitive: its row's text with the arguments for `x`, `y`, `z`.
fn primitive(text: &str, args: &[String]) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let bytes = text.as_bytes();
    for (i, c) in text.char_indices() {
        let word = |j: usize| bytes.get(j).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
        let alone = !word(i + 1) && (i == 0 || !word(i - 1)) && (i == 0 || bytes[i - 1] != b'.');
        match c {
            'x' | 'y' | 'z' if alone => out.push_str(&args[(c as u8 - b'x') as usize]),
            c => out.push(c),
        }
    }
    out
}

/// Whether every primitive of a formula exists in a compute type.
pub fn supports(f: &Formula, compute: &str) -> bool {
    f.nodes.iter().all(|n| match n {
        Node::Op(p, _) => {
            let text = p.info().wgsl;
            let exists = if compute.starts_with('i') { p.info().i64.is_some() } else { p.info().f32.is_some() };
            exists && !text.is_empty() && prelude::has_functions(text, compute)
        }
        _ => true,
    })
}

impl Shape<'_> {
    fn key(&self) -> u64 {
        let mut h = FxHasher::default();
        for n in &self.formula.nodes {
            match n {
                Node::In(i) => (0u8, *i as u64, 0u64).hash(&mut h),
                Node::Par(i) => (1u8, *i as u64, 0u64).hash(&mut h),
                Node::Const(v) => (2u8, v.to_bits(), 0u64).hash(&mut h),
                Node::Op(p, [a, b, c]) => (3u8, ((*p as u64) << 32) | *a as u64, ((*b as u64) << 32) | *c as u64).hash(&mut h),
            }
        }
        (self.formula.root, self.compute, &self.inputs, &self.tensors, self.cut).hash(&mut h);
        (self.out, self.whole_words, self.out_strided, self.rank, self.params).hash(&mut h);
        h.finish()
    }

    /// The kernel.
    pub fn source(&self) -> String {
        let names: Vec<String> = (0..self.tensors.len()).map(|k| format!("a{k}")).collect();
        let mut slots: Vec<(&str, Dtype, Use)> =
            names.iter().zip(&self.tensors).map(|(n, t)| (n.as_str(), t.0, Use::In)).collect();
        let narrow = wgsl::per_word(self.out);
        // Whole words are written at once.
        let word = self.whole_words && narrow > 1;
        slots.push(("y", if word { Dtype::I32 } else { self.out }, Use::Out));
        let mut params: Vec<(String, &str)> = Vec::new();
        if word {
            params.push(("count".into(), "u32"));
        }
        for d in 0..self.rank {
            params.push((format!("d{d}"), "u32"));
        }
        for (k, t) in self.tensors.iter().enumerate() {
            if t.1 == Place::Strided {
                (0..self.rank).for_each(|d| params.push((format!("a{k}_s{d}"), "u32")));
            }
        }
        if self.out_strided {
            (0..self.rank).for_each(|d| params.push((format!("y_s{d}"), "u32")));
        }
        let (each, wide) = match self.compute {
            "f32" => ("f32", 1),
            "i32" => ("i32", 1),
            "f64" => ("f32", 3),
            _ => ("u32", 2),
        };
        for k in 0..self.params {
            (0..wide).for_each(|w| params.push((format!("q{k}_{w}"), each)));
        }
        let mut body = String::new();
        self.value(&mut body);
        if word {
            let bits = 32 / narrow;
            let _ = writeln!(
                body,
                "fn element(w: u32) {{ var bits = 0u; for (var e = 0u; e < {narrow}u; e++) {{ let i = w * {narrow}u + e; if i < p.count {{ let v = value(i); bits |= {} << (e * {bits}u); }} }} y_set(w, bitcast<i32>(bits)); }}",
                wgsl::pack(self.out, "v")
            );
        } else {
            body.push_str("fn element(i: u32) { let v = value(i); ");
            if self.out_strided {
                let _ = writeln!(body, "{} y_set({}, v); }}", self.position(), self.dot("y"));
            } else {
                body.push_str("y_set(i, v); }\n");
            }
        }
        let params: Vec<(&str, &str)> = params.iter().map(|(n, t)| (n.as_str(), *t)).collect();
        wgsl::kernel(&wgsl::Source {
            slots: &slots,
            binding: wgsl::Binding::PLAIN,
            params: &params,
            body: &body,
            compute: self.compute,
        })
    }

    /// Statements for the index along every dimension, from the linear one.
    fn position(&self) -> String {
        let mut s = String::from("var r = i; ");
        for d in (0..self.rank).rev() {
            if d == 0 {
                s.push_str("let i0 = r; ");
            } else {
                let _ = write!(s, "let i{d} = r % p.d{d}; r = r / p.d{d}; ");
            }
        }
        s
    }

    fn dot(&self, name: &str) -> String {
        (0..self.rank).map(|d| format!("i{d} * p.{name}_s{d}")).collect::<Vec<_>>().join(" + ")
    }

    /// `fn value(i) -> y_t`: the formula at one element.
    fn value(&self, body: &mut String) {
        let out = wgsl::value_type(self.out);
        let _ = writeln!(body, "fn value(i: u32) -> {out} {{");
        if self.tensors.iter().any(|t| t.1 == Place::Strided) {
            let _ = writeln!(body, "{}", self.position());
        }
        for (k, (d, place)) in self.tensors.iter().enumerate() {
            let at = match place {
                Place::Same => "i".to_string(),
                Place::One => "0u".to_string(),
                Place::Strided => self.dot(&format!("a{k}")),
            };
            let _ = writeln!(body, "let x{k} = {};", cast(&format!("a{k}_at({at})"), wgsl::value_type(*d), self.compute));
        }
        let number = |k: usize| match self.compute {
            "f32" | "i32" => format!("p.q{k}_0"),
            "f64" => format!("(f64(p.q{k}_0) + f64(p.q{k}_1) + f64(p.q{k}_2))"),
            _ => format!("((i64(p.q{k}_1) << 32u) | i64(p.q{k}_0))"),
        };
        let mut numbers = 0;
        let mut of_input: SmallVec<[String; 8]> = SmallVec::new();
        for i in &self.inputs {
            of_input.push(match i {
                Some(k) => format!("x{k}"),
                None => {
                    numbers += 1;
                    number(numbers - 1)
                }
            });
        }
        let mut at: Vec<String> = Vec::with_capacity(self.formula.nodes.len());
        for (j, n) in self.formula.nodes.iter().enumerate() {
            at.push(match *n {
                Node::In(i) => of_input[i as usize].clone(),
                Node::Par(i) => number(numbers + i as usize),
                Node::Const(v) => literal(v, self.compute),
                Node::Op(p, args) => {
                    let args: Vec<String> = args[..p.info().arity].iter().map(|a| at[*a as usize].clone()).collect();
                    let _ = writeln!(body, "let v{j} = {};", primitive(p.info().wgsl, &args));
                    format!("v{j}")
                }
            });
        }
        let mut result = at[self.formula.root as usize].clone();
        if let Some(d) = self.cut {
            result = cut(&result, d, self.compute);
        }
        let _ = writeln!(body, "return {};\n}}", store(&result, self.compute, self.out));
    }
}

fn cast(v: &str, from: &str, to: &str) -> String {
    if from == to { v.to_string() } else { format!("{to}({v})") }
}

/// An integer wrapped as a narrower dtype would.
fn cut(v: &str, d: Dtype, compute: &str) -> String {
    let low = format!("i32({v})");
    let t = match d {
        Dtype::I32 => low,
        Dtype::I16 => format!("extractBits({low}, 0u, 16u)"),
        Dtype::I8 => format!("extractBits({low}, 0u, 8u)"),
        Dtype::U8 => format!("({low} & 0xff)"),
        Dtype::Bool => format!("select(0, 1, {v} != {compute}(0))"),
        _ => return v.to_string(),
    };
    cast(&t, "i32", compute)
}

/// A computed value as the type in which a dtype is stored.
fn store(v: &str, compute: &str, out: Dtype) -> String {
    let to = wgsl::value_type(out);
    match (compute, out) {
        (_, Dtype::Bool) => format!("select(1, 0, {v} == {compute}(0))"),
        // Conversions of float to int saturate; PyTorch's narrow ones wrap.
        ("f32", Dtype::U8 | Dtype::I8 | Dtype::I16) => format!("i32({v})"),
        _ => cast(v, compute, to),
    }
}

fn words(s: Scalar, compute: &str, to: &mut SmallVec<[u32; 64]>) -> Result<()> {
    match compute {
        "f32" => to.push((s.f64() as f32).to_bits()),
        "i32" => to.push(s.i64() as i32 as u32),
        "f64" => {
            let v = s.f64();
            let a = v as f32;
            let b = (v - a as f64) as f32;
            let c = (v - a as f64 - b as f64) as f32;
            if v.is_finite() && (a as f64 + b as f64 + c as f64) != v {
                return Err(err!(NotImplemented, "the number {v} cannot be given to a float64 kernel on a GPU"));
            }
            let rest = |x: f32| if v.is_finite() { x.to_bits() } else { 0 };
            to.extend_from_slice(&[a.to_bits(), rest(b), rest(c)]);
        }
        _ => {
            let v = s.i64();
            to.extend_from_slice(&[v as u32, (v >> 32) as u32]);
        }
    }
    Ok(())
}

/// Whether a formula can be run later: nothing about it would be refused then.
pub fn may_record(gpu: &Gpu, f: &Formula, operands: &[Operand], common: Dtype, nbytes: usize) -> bool {
    let wide = operands.iter().any(|o| matches!(o, Operand::T(t) if t.dtype() == Dtype::I64));
    let compute = compute_type(common, wide);
    let tensors = operands.iter().all(|o| match o {
        Operand::T(t) => check_dtype("", t.dtype(), gpu).is_ok() && (t.ndim() <= 6),
        Operand::S(_) => true,
    });
    tensors
        && nbytes <= gpu.info().max_buffer
        && match compute {
            "i64" => gpu.info().int64,
            // Numbers may not fit a kernel's parameters.
            "f64" => false,
            _ => true,
        }
        && supports(f, compute)
}

/// Evaluates the formula into `out` on its GPU: any dtype, any strides; the inputs broadcast to its shape. `common` is the
/// promoted dtype of the inputs.
pub fn run(f: &Formula, inputs: &[Operand], params: &[Scalar], common: Dtype, out: &Tensor) -> Result<()> {
    if out.numel() == 0 {
        return Ok(());
    }
    let gpu = of(out)?;
    check_dtype(crate::ops::current(), out.dtype(), gpu)?;
    // Numbers, and tensors of the CPU that are one.
    let mut given: SmallVec<[Operand; 4]> = SmallVec::new();
    for o in inputs {
        given.push(match o {
            Operand::T(t) if t.device() == Device::Cpu && t.numel() == 1 => Operand::S(t.item()?),
            Operand::T(t) => {
                check_dtype(crate::ops::current(), t.dtype(), gpu)?;
                Operand::T(t.clone())
            }
            o => o.clone(),
        });
    }
    let whole = fits(out, gpu)
        && out.numel() <= u32::MAX as usize / 2
        && given.iter().all(|o| !matches!(o, Operand::T(t) if !fits(t, gpu)));
    if whole { dispatch(gpu, f, &given, params, common, out) } else { split(f, &given, params, common, out) }
}

/// In two halves, where a tensor is more than a kernel can bind.
fn split(f: &Formula, inputs: &[Operand], params: &[Scalar], common: Dtype, out: &Tensor) -> Result<()> {
    let Some(d) = (0..out.ndim()).find(|&d| out.shape()[d] > 1) else {
        return Err(err!(NotImplemented, "{}: a tensor is too large for the GPU", crate::ops::current()));
    };
    let n = out.shape()[d];
    // The first half ends at a multiple of 64, so that words of memory stay whole.
    let mut half = n / 2;
    if half > 64 {
        half -= half % 64;
    }
    for (start, len) in [(0, half), (half, n - half)] {
        let part = |t: &Tensor| -> Result<Tensor> {
            let lead = out.ndim() - t.ndim();
            if d < lead || t.shape()[d - lead] == 1 {
                return Ok(t.clone());
            }
            let l = t.layout();
            let mut shape = l.shape.clone();
            shape[d - lead] = len;
            let offset = (l.offset as isize + start as isize * l.strides[d - lead]) as usize;
            Ok(t.alias(crate::layout::Layout::strided(&shape, &l.strides, offset)?))
        };
        let parts: Result<SmallVec<[Operand; 4]>> = inputs
            .iter()
            .map(|o| match o {
                Operand::T(t) => part(t).map(Operand::T),
                o => Ok(o.clone()),
            })
            .collect();
        run(f, &parts?, params, common, &part(out)?)?;
    }
    Ok(())
}

fn dispatch(gpu: &'static Gpu, f: &Formula, inputs: &[Operand], params: &[Scalar], common: Dtype, out: &Tensor) -> Result<()> {
    let (axes, out_strides) = eval::axes(inputs, out.shape(), Some(out));
    let dense = |of: &dyn Fn(usize) -> isize| {
        let mut expect = 1;
        (0..axes.len()).rev().all(|a| {
            let ok = of(a) == expect;
            expect *= axes[a].0 as isize;
            ok
        })
    };
    let mut tensors: SmallVec<[(Dtype, Place); 8]> = SmallVec::new();
    let mut read: SmallVec<[(&Tensor, usize); 8]> = SmallVec::new();
    let mut slots: SmallVec<[Option<usize>; 8]> = SmallVec::new();
    let mut wide = false;
    for (i, o) in inputs.iter().enumerate() {
        let Operand::T(t) = o else {
            slots.push(None);
            continue;
        };
        wide |= t.dtype() == Dtype::I64;
        // One binding for an operand that is given twice.
        let same = read.iter().position(|(r, _)| r.same_storage(t) && r.layout() == t.layout() && r.dtype() == t.dtype());
        slots.push(Some(same.unwrap_or_else(|| {
            let place = if axes.iter().all(|(_, st)| st[i] == 0) {
                Place::One
            } else if dense(&|a| axes[a].1[i]) {
                Place::Same
            } else {
                Place::Strided
            };
            tensors.push((t.dtype(), place));
            read.push((t, i));
            tensors.len() - 1
        })));
    }
    let compute = compute_type(common, wide || out.dtype() == Dtype::I64 && common.is_integral());
    if (compute == "i64" && !gpu.info().int64) || !supports(f, compute) {
        return Err(super::refuse(crate::ops::current(), common, gpu));
    }
    let w = Region::of(out, gpu)?;
    let out_strided = !dense(&|a| out_strides[a]);
    let narrow = wgsl::per_word(out.dtype());
    let fills = out.layout().offset == 0 && out.numel() * out.dtype().size() == out.storage().nbytes();
    let whole_words = !out_strided && w.offset % narrow == 0 && (fills || out.numel() % narrow as usize == 0);
    let word = whole_words && narrow > 1;
    let strided = out_strided || tensors.iter().any(|t| t.1 == Place::Strided);
    let integer = compute.starts_with('i');
    let shape = Shape {
        formula: f,
        compute,
        inputs: slots,
        cut: (integer && common != Dtype::I64 && out.dtype() != common && f.nodes.len() > 1).then_some(common),
        out: out.dtype(),
        whole_words,
        out_strided,
        rank: if strided { axes.len() } else { 0 },
        params: inputs.iter().filter(|o| matches!(o, Operand::S(_))).count() + params.len(),
        tensors,
    };
    let n = if word { out.numel().div_ceil(narrow as usize) } else { out.numel() };
    let mut data: SmallVec<[u32; 64]> = smallvec::smallvec![n as u32];
    let mut binds: SmallVec<[(&Buffer, usize, usize); 8]> = SmallVec::new();
    for (t, _) in &read {
        let w = Region::of(t, gpu)?;
        binds.push((t.storage().buffer()?, w.at, w.len));
        data.push(w.offset);
    }
    binds.push((out.storage().buffer_mut()?, w.at, w.len));
    data.push(if word { w.offset / narrow } else { w.offset });
    if word {
        data.push(out.numel() as u32);
    }
    if strided {
        data.extend(axes.iter().map(|a| a.0 as u32));
        for ((_, i), (_, place)) in read.iter().zip(&shape.tensors) {
            if *place == Place::Strided {
                data.extend(axes.iter().map(|a| a.1[*i] as u32));
            }
        }
    }
    if out_strided {
        data.extend(out_strides.iter().map(|s| *s as u32));
    }
    for o in inputs {
        if let Operand::S(s) = o {
            words(*s, compute, &mut data)?;
        }
    }
    for s in params {
        words(*s, compute, &mut data)?;
    }
    if data.len() > super::MAX_PARAMS {
        return Err(err!(NotImplemented, "{}: too many dimensions for the GPU", crate::ops::current()));
    }
    gpu.launch(shape.key(), &|| shape.source(), &binds, false, &data, n.div_ceil(wgsl::GROUP as usize))
}
