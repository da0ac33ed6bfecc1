//! WGSL text: what is common to all kernels (bindings, accessors by dtype, parameters, the entry point), and the sections
//! of the files in `shaders/`.
//!
//! A section is a kernel:
//!
//! ```text
//! //# softmax
//! //: x in float; y out float
//! //: cols u32; log u32
//! fn group(g: u32, l: u32) { ... x_at(i) ... y_set(i, v) ... p.cols ... }
//! ```
//!
//! The first `//:` line lists the tensors: name, use (`in`, `out`, `inout`, `atomic` for an array of atomic words), and the
//! dtypes it is tested with. The second lists parameters, 4 bytes each. Further `//:` lines name a placeholder and the texts
//! that may stand for it: `//: OP = sum prod max`. `fn element(i: u32)` is called for `i < p.n`, `fn group(g: u32, l: u32)`
//! by the 256 invocations `l` of each workgroup `g < p.n`. `shaders/README.md` has the whole convention.

use crate::dtype::Dtype;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::OnceLock;

/// The slot in which kernels note what went wrong (`rg_fault`); no tensor is given for it.
pub const FAULT: &str = "fault";

/// Invocations in a workgroup.
pub const GROUP: u32 = 256;

/// What a kernel does with a tensor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Use {
    In,
    Out,
    InOut,
    /// `array<atomic<u32>>`, for the kernel to do with as it likes.
    Atomic,
}

/// A tensor of a kernel.
#[derive(Clone, Debug)]
pub struct Slot {
    pub name: String,
    pub way: Use,
    /// The dtypes it is meant for.
    pub dtypes: Vec<Dtype>,
}

/// A kernel as it stands in a file.
#[derive(Debug)]
pub struct Section {
    pub name: String,
    pub slots: Vec<Slot>,
    pub params: Vec<(String, String)>,
    /// Placeholders and what may stand for them.
    pub variants: Vec<(String, Vec<String>)>,
    pub body: String,
}

/// Names of groups of dtypes in a section's header.
fn dtype_group(name: &str) -> Vec<Dtype> {
    use Dtype::*;
    match name {
        "float" => vec![F32, F16, BF16],
        "real" => vec![F32, F16, BF16, F64],
        "any" => vec![F32, F16, BF16, F64, I64, I32, I16, I8, U8, Bool],
        "int" => vec![I64, I32, I16, I8, U8],
        "index" => vec![I64, I32],
        "number" => vec![F32, F16, BF16, I64, I32, I16, I8, U8, Bool],
        _ => vec![Dtype::ALL.into_iter().find(|d| d.name() == name).unwrap_or_else(|| panic!("no dtype {name} for a kernel"))],
    }
}

macro_rules! files {
    ($($file:literal)*) => { &[$(($file, include_str!(concat!("../../shaders/", $file)))),*] };
}

/// The files with kernels: name and text.
static FILES: &[(&str, &str)] = files! {
    "attention.wgsl"
    "conv.wgsl"
    "distance.wgsl"
    "embedding.wgsl"
    "fill.wgsl"
    "grid.wgsl"
    "grid_backward.wgsl"
    "index.wgsl"
    "join.wgsl"
    "loss.wgsl"
    "matmul.wgsl"
    "moments.wgsl"
    "norm.wgsl"
    "numeric.wgsl"
    "optim.wgsl"
    "pool.wgsl"
    "random.wgsl"
    "reduce.wgsl"
    "resample.wgsl"
    "rnn.wgsl"
    "runs.wgsl"
    "scan.wgsl"
    "softmax.wgsl"
    "sort.wgsl"
    "unpool.wgsl"
};
/// Functions that any kernel may call, for floats and for integers.
static MATH: &str = include_str!("../../shaders/prelude/float.wgsl");
static DOUBLE: &str = include_str!("../../shaders/prelude/double.wgsl");
static SPECIAL: &str = include_str!("../../shaders/prelude/special.wgsl");
static INTEGER: &str = include_str!("../../shaders/prelude/int.wgsl");
static COMMON: &str = include_str!("../../shaders/prelude/common.wgsl");

/// The text of a file: as it was built in, or as it now is in the folder `RUSTGRAD_SHADERS`, for who is writing kernels.
fn current(file: &str, built_in: &'static str) -> Cow<'static, str> {
    match std::env::var("RUSTGRAD_SHADERS") {
        Ok(folder) if !folder.is_empty() => {
            let path = std::path::Path::new(&folder).join(file);
            std::fs::read_to_string(path).map_or(Cow::Borrowed(built_in), Cow::Owned)
        }
        _ => Cow::Borrowed(built_in),
    }
}

/// All kernels by name.
pub fn sections() -> &'static HashMap<String, Section> {
    static ALL: OnceLock<HashMap<String, Section>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all = HashMap::new();
        for (file, text) in FILES {
            let text = current(file, text);
            // What stands before the first section is shared by all of a file.
            let mut parts = text.split("\n//# ");
            let shared = parts.next().unwrap_or_default();
            for part in parts {
                let s = parse(part, shared);
                let name = s.name.clone();
                assert!(all.insert(name.clone(), s).is_none(), "two kernels are called {name}");
            }
        }
        all
    })
}

fn parse(text: &str, shared: &str) -> Section {
    let (name, rest) = text.split_once('\n').expect("a section has lines");
    let mut headers = Vec::new();
    let mut body = String::from(shared);
    body.push('\n');
    for line in rest.lines() {
        match line.strip_prefix("//:") {
            Some(h) => headers.push(h.trim()),
            None => {
                body.push_str(line);
                body.push('\n');
            }
        }
    }
    let items = |s: &str| s.split(';').map(|i| i.trim().to_string()).filter(|i| !i.is_empty()).collect::<Vec<_>>();
    let slots = items(headers.first().copied().unwrap_or_default())
        .iter()
        .map(|item| {
            let mut words = item.split_whitespace();
            let name = words.next().expect("a name").to_string();
            let way = match words.next() {
                Some("in") => Use::In,
                Some("out") => Use::Out,
                Some("inout") => Use::InOut,
                Some("atomic") => Use::Atomic,
                w => panic!("how is {name} used? {w:?}"),
            };
            Slot { name, way, dtypes: words.flat_map(dtype_group).collect() }
        })
        .collect();
    let params = items(headers.get(1).copied().unwrap_or_default())
        .iter()
        .map(|item| {
            let (n, t) = item.split_once(' ').unwrap_or_else(|| panic!("a parameter has a name and a type: {item}"));
            (n.to_string(), t.to_string())
        })
        .collect();
    let variants = headers
        .iter()
        .skip(2)
        .map(|h| {
            let (n, v) = h.split_once('=').expect("NAME = texts");
            (n.trim().to_string(), v.split_whitespace().map(String::from).collect())
        })
        .collect();
    Section { name: name.trim().to_string(), slots, params, variants, body }
}

/// The type in which elements are read and written.
pub fn value_type(d: Dtype) -> &'static str {
    match d {
        Dtype::F32 | Dtype::F16 | Dtype::BF16 => "f32",
        Dtype::F64 => "f64",
        Dtype::I64 => "i64",
        _ => "i32",
    }
}

/// The type of the array in memory.
pub fn memory_type(d: Dtype) -> &'static str {
    match d {
        Dtype::F32 => "f32",
        Dtype::F64 => "f64",
        Dtype::I64 => "i64",
        Dtype::I32 => "i32",
        Dtype::C64 => "vec2<f32>",
        Dtype::C128 => "vec2<f64>",
        _ => "u32",
    }
}

/// Elements in a word of memory, for dtypes that are narrower than one.
pub fn per_word(d: Dtype) -> u32 {
    (4 / d.size().min(4)) as u32
}

/// The expression that unpacks the element in `bits` (moved down to bit 0).
pub fn unpack(d: Dtype, bits: &str) -> String {
    match d {
        Dtype::F16 => format!("rg_from_f16({bits})"),
        Dtype::BF16 => format!("bitcast<f32>(({bits} & 0xffffu) << 16u)"),
        Dtype::I16 => format!("extractBits(bitcast<i32>({bits}), 0u, 16u)"),
        Dtype::I8 => format!("extractBits(bitcast<i32>({bits}), 0u, 8u)"),
        Dtype::U8 => format!("i32({bits} & 0xffu)"),
        Dtype::Bool => format!("select(0, 1, ({bits} & 0xffu) != 0u)"),
        _ => unreachable!("not a narrow dtype"),
    }
}

/// The expression for the bits of a narrow element.
pub fn pack(d: Dtype, value: &str) -> String {
    match d {
        Dtype::F16 => format!("rg_to_f16({value})"),
        Dtype::BF16 => format!("rg_to_bf16({value})"),
        Dtype::I16 => format!("(bitcast<u32>({value}) & 0xffffu)"),
        Dtype::I8 | Dtype::U8 => format!("(bitcast<u32>({value}) & 0xffu)"),
        Dtype::Bool => format!("select(0u, 1u, ({value}) != 0)"),
        _ => unreachable!("not a narrow dtype"),
    }
}

/// Declares binding `k` and its accessors: `NAME_t` the value type, `NAME_at(i)`, `NAME_set(i, v)`, and `NAME_raw` /
/// `NAME_put`, which take positions from the start of the binding.
fn declare(out: &mut String, k: usize, name: &str, d: Dtype, way: Use) {
    let (t, narrow) = (value_type(d), per_word(d) > 1);
    let write = way != Use::In;
    if way == Use::Atomic {
        let _ = writeln!(out, "@group(0) @binding({k}) var<storage, read_write> {name}: array<atomic<u32>>;");
        return;
    }
    // Other invocations may write the other elements of a word.
    let memory = if narrow && write { "atomic<u32>" } else { memory_type(d) };
    let _ = writeln!(out, "@group(0) @binding({k}) var<storage, read_write> {name}_m: array<{memory}>;");
    let _ = writeln!(out, "alias {name}_t = {t};");
    if narrow {
        let (n, bits) = (per_word(d), 32 / per_word(d));
        let word = if write { format!("atomicLoad(&{name}_m[i / {n}u])") } else { format!("{name}_m[i / {n}u]") };
        let value = unpack(d, &format!("({word} >> ((i % {n}u) * {bits}u))"));
        let _ = writeln!(out, "fn {name}_raw(i: u32) -> {name}_t {{ return {value}; }}");
        if write {
            let mask = if bits == 8 { "0xffu" } else { "0xffffu" };
            let _ = writeln!(
                out,
                "fn {name}_put(i: u32, v: {name}_t) {{ let s = (i % {n}u) * {bits}u; atomicAnd(&{name}_m[i / {n}u], ~({mask} << s)); atomicOr(&{name}_m[i / {n}u], {} << s); }}",
                pack(d, "v")
            );
        }
    } else {
        let _ = writeln!(out, "fn {name}_raw(i: u32) -> {name}_t {{ return {name}_m[i]; }}");
        if write {
            let _ = writeln!(out, "fn {name}_put(i: u32, v: {name}_t) {{ {name}_m[i] = v; }}");
        }
    }
    let _ = writeln!(out, "fn {name}_at(i: u32) -> {name}_t {{ return {name}_raw(p.{name}_o + i); }}");
    if write {
        let _ = writeln!(out, "fn {name}_set(i: u32, v: {name}_t) {{ {name}_put(p.{name}_o + i, v); }}");
    }
}

/// What a kernel is made of.
pub struct Source<'a> {
    /// Name, dtype and use of every tensor.
    pub slots: &'a [(&'a str, Dtype, Use)],
    /// Name and type of every parameter, 4 bytes each.
    pub params: &'a [(&'a str, &'a str)],
    pub body: &'a str,
    /// Where the primitives of formulas compute: `f32`, `f64`, `i32`, `i64`.
    pub compute: &'a str,
}

/// The whole text of a kernel. The parameters begin with `n` and the offset of every tensor, in elements.
pub fn kernel(s: &Source) -> String {
    let mut out = String::with_capacity(s.body.len() + 2048);
    out.push_str("struct P { n: u32, ");
    for (name, ..) in s.slots {
        if *name != FAULT {
            let _ = write!(out, "{name}_o: u32, ");
        }
    }
    for (name, ty) in s.params {
        let _ = write!(out, "{name}: {ty}, ");
    }
    out.push_str("}\n");
    for (k, (name, d, way)) in s.slots.iter().enumerate() {
        declare(&mut out, k, name, *d, *way);
    }
    let _ = writeln!(out, "@group(0) @binding({}) var<uniform> p: P;", s.slots.len());
    let _ = writeln!(out, "alias T = {};\nconst T_BITS: u32 = {}u;", s.compute, if s.compute.ends_with("64") { 64 } else { 32 });
    out.push_str(s.body);
    let element = s.body.contains("fn element(");
    let call = if element { "let i = g * 256u + l; if i < p.n { element(i); }" } else { "if g < p.n { group(g, l); }" };
    let _ = writeln!(
        out,
        "@compute @workgroup_size({GROUP})\nfn main(@builtin(workgroup_id) w: vec3<u32>, @builtin(num_workgroups) nw: vec3<u32>, @builtin(local_invocation_index) l: u32) {{ let g = w.y * nw.x + w.x; {call} }}"
    );
    include(&mut out, &[common(), of_type(s.compute)]);
    out
}

/// A kernel's text from a file, for the dtypes and the texts of its placeholders.
pub fn section_source(s: &Section, dtypes: &[Dtype], choice: &[(&str, &str)]) -> String {
    assert_eq!(s.slots.len(), dtypes.len(), "{} takes {} tensors", s.name, s.slots.len());
    let slots: Vec<_> = s.slots.iter().zip(dtypes).map(|(slot, d)| (slot.name.as_str(), *d, slot.way)).collect();
    let params: Vec<_> = s.params.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    let mut body = s.body.clone();
    for (name, text) in choice {
        body = body.replace(&format!("${name}"), text);
    }
    kernel(&Source { slots: &slots, params: &params, body: &body, compute: "f32" })
}

/// Functions by name, with what they call.
type Functions = HashMap<String, (String, Vec<String>)>;

fn common() -> &'static Functions {
    static F: OnceLock<Functions> = OnceLock::new();
    F.get_or_init(|| functions(&current("prelude/common.wgsl", COMMON)))
}
fn float() -> &'static Functions {
    static F: OnceLock<Functions> = OnceLock::new();
    F.get_or_init(|| {
        let mut all = functions(&current("prelude/float.wgsl", MATH));
        all.extend(functions(&current("prelude/special.wgsl", SPECIAL)));
        all
    })
}
fn double() -> &'static Functions {
    static F: OnceLock<Functions> = OnceLock::new();
    F.get_or_init(|| functions(&current("prelude/double.wgsl", DOUBLE)))
}
/// The functions of a compute type.
fn of_type(compute: &str) -> &'static Functions {
    match compute {
        "f64" => double(),
        c if c.starts_with('i') => integer(),
        _ => float(),
    }
}
fn integer() -> &'static Functions {
    static F: OnceLock<Functions> = OnceLock::new();
    F.get_or_init(|| functions(&current("prelude/int.wgsl", INTEGER)))
}

/// The top-level functions of a prelude: each begins with `fn ` at the start of a line.
fn functions(text: &str) -> Functions {
    let mut all = Functions::new();
    for part in format!("\n{text}").split("\nfn ").skip(1) {
        let name = part.split('(').next().unwrap_or_default().to_string();
        // Comments between functions belong to the next one.
        let end = part.rfind('}').map_or(part.len(), |e| e + 1);
        let text = format!("fn {}\n", &part[..end]);
        let calls = names(&text).filter(|n| *n != name).collect();
        all.insert(name, (text, calls));
    }
    all
}

/// The names that begin with `rg_` in a text.
fn names(text: &str) -> impl Iterator<Item = String> + '_ {
    text.match_indices("rg_").filter_map(|(at, _)| {
        let before = text[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            return None;
        }
        Some(text[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
    })
}

/// Appends the functions that the text calls.
fn include(out: &mut String, tables: &[&Functions]) {
    let mut wanted: Vec<String> = names(out).collect();
    let mut done: Vec<String> = Vec::new();
    while let Some(name) = wanted.pop() {
        if done.contains(&name) {
            continue;
        }
        if let Some((text, calls)) = tables.iter().find_map(|t| t.get(&name)) {
            out.push_str(text);
            wanted.extend(calls.iter().cloned());
        }
        done.push(name);
    }
}

/// Whether every `rg_` function in a text exists for a compute type.
pub fn has_functions(text: &str, compute: &str) -> bool {
    let table = of_type(compute);
    names(text).all(|n| table.contains_key(&n) || common().contains_key(&n))
}
