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
//! that may stand for it: `//: OP = sum prod max`. `fn element(i: u32)` is called for `i < n`, `fn group(g: u32, l: u32)`
//! by the 256 invocations `l` of each workgroup `g < n`. `shaders/README.md` has the whole convention.
//!
//! A tensor may be several bindings ([`Binding`]): windows of one that is larger than a binding, or those of many items that
//! one launch works on. Its accessors choose; a section does not know of it.

use super::prelude::{self, Declarations};
use crate::dtype::Dtype;
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::{Arc, OnceLock};

/// The slot in which kernels note what went wrong (`rg_fault`); no tensor is given for it.
pub const FAULT: &str = "fault";

/// The type of a parameter that every item of a launch has of its own; it is read as a function, `NAME()`.
pub const EACH: &str = "each";

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
    shared: Arc<Shared>,
}

/// What stands before the first section of a file, for all of its sections: declarations, and lists of parameters by name.
#[derive(Debug, Default)]
struct Shared {
    text: String,
    lists: HashMap<String, String>,
}

impl Shared {
    fn parse(text: &str) -> Shared {
        let mut shared = Shared::default();
        for line in text.lines() {
            match line.strip_prefix("//= ").and_then(|l| l.split_once(": ")) {
                Some((name, list)) => shared.add_list(name, list),
                None => shared.text += &format!("{line}\n"),
            }
        }
        shared
    }

    /// A list may go on over several lines.
    fn add_list(&mut self, name: &str, list: &str) {
        let all = self.lists.entry(name.to_string()).or_default();
        *all = format!("{all}; {list}");
    }
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

/// All kernels by name.
pub fn sections() -> &'static HashMap<String, Section> {
    static ALL: OnceLock<HashMap<String, Section>> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all = HashMap::new();
        for (file, text) in FILES {
            let text = prelude::current(file, text);
            let mut parts = text.split("\n//# ");
            let shared = Arc::new(Shared::parse(parts.next().unwrap_or_default()));
            for part in parts {
                let s = parse(part, &shared);
                let name = s.name.clone();
                assert!(all.insert(name.clone(), s).is_none(), "two kernels are called {name}");
            }
        }
        all
    })
}

fn parse(text: &str, shared: &Arc<Shared>) -> Section {
    let (name, rest) = text.split_once('\n').expect("a section has lines");
    let mut headers = Vec::new();
    let mut body = String::new();
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
        .flat_map(|item| shared.lists.get(item).map_or_else(|| vec![item.clone()], |list| items(list)))
        .map(|item| {
            let (n, t) =
                item.split_once(' ').unwrap_or_else(|| panic!("neither name and type of a parameter nor a list: {item}"));
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
    Section { name: name.trim().to_string(), slots, params, variants, body, shared: shared.clone() }
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

/// How a kernel's tensors are bound, where that is not one binding each.
#[derive(Clone, Copy)]
pub struct Binding<'a> {
    /// How often the kernel has all of its tensors: it works on several items in one launch, and each workgroup on one.
    pub items: usize,
    /// Of how many bindings, one behind the other in memory, each tensor consists; those beyond the list are one. Only for a
    /// single item.
    pub windows: &'a [usize],
    /// Bytes of a window (the last one of a tensor may have fewer): a power of two.
    pub window: usize,
}

impl Binding<'_> {
    pub const PLAIN: Binding<'static> = Binding { items: 1, windows: &[], window: 1 << 31 };

    /// Bindings of a tensor.
    fn count(&self, tensor: usize) -> usize {
        if self.items > 1 { self.items } else { self.windows.get(tensor).copied().unwrap_or(1) }
    }
}

/// A name with the number of one of several.
fn nth(name: &str, k: usize, count: usize) -> String {
    if count == 1 { name.to_string() } else { format!("{name}{k}") }
}

/// A `switch` with a case for each of `count`.
fn switch(on: &str, count: usize, case: &dyn Fn(usize) -> String) -> String {
    let mut s = format!("switch {on} {{ ");
    for k in 0..count {
        let label = if k + 1 == count { "default:".to_string() } else { format!("case {k}u:") };
        let _ = write!(s, "{label} {{ {} }} ", case(k));
    }
    s + "}"
}

/// A value that each item has of its own: `NAME` of the parameters as a function.
fn of_item(out: &mut String, function: &str, name: &str, items: usize) {
    let body = match items {
        1 => format!("return p.{name};"),
        _ => format!("var v: u32; {} return v;", switch("item", items, &|k| format!("v = p.{};", nth(name, k, items)))),
    };
    let _ = writeln!(out, "fn {function}() -> u32 {{ {body} }}");
}

/// Declares a tensor from binding number `first` on, and its accessors: `NAME_t` the value type, `NAME_at(i)`,
/// `NAME_set(i, v)`, and `NAME_raw` / `NAME_put`, which take positions from the start of the first binding.
fn declare(out: &mut String, first: usize, name: &str, d: Dtype, way: Use, count: usize, binding: &Binding) {
    let (t, narrow) = (value_type(d), per_word(d) > 1);
    let write = way != Use::In;
    if way == Use::Atomic {
        assert_eq!(count, 1, "{name}: atomic words are one binding");
        let _ = writeln!(out, "@group(0) @binding({first}) var<storage, read_write> {name}: array<atomic<u32>>;");
        return;
    }
    // Other invocations may write the other elements of a word.
    let memory = if narrow && write { "atomic<u32>" } else { memory_type(d) };
    let array = |k: usize| nth(&format!("{name}_m"), k, count);
    for k in 0..count {
        let _ = writeln!(out, "@group(0) @binding({}) var<storage, read_write> {}: array<{memory}>;", first + k, array(k));
    }
    let _ = writeln!(out, "alias {name}_t = {t};");
    let (n, bits) = (per_word(d), 32 / per_word(d));
    let at = if narrow { format!("i / {n}u") } else { "i".to_string() };
    // A statement on an array and a place in it.
    let on = |statement: &dyn Fn(&str, &str) -> String| {
        if count == 1 {
            return statement(&array(0), &at);
        }
        if binding.items > 1 {
            return switch("item", count, &|k| statement(&array(k), &at));
        }
        let units = (binding.window / d.size().max(4)) as u32;
        let window = switch(&format!("w >> {}u", units.ilog2()), count, &|k| statement(&array(k), "j"));
        format!("let w = {at}; let j = w & {}u; {window}", units - 1)
    };
    let read = on(&|m, at| {
        let word = if narrow && write { format!("atomicLoad(&{m}[{at}])") } else { format!("{m}[{at}]") };
        let value = if narrow { unpack(d, &format!("({word} >> ((i % {n}u) * {bits}u))")) } else { word };
        if count == 1 { format!("return {value};") } else { format!("v = {value};") }
    });
    let (before, after) = if count == 1 { (String::new(), "") } else { (format!("var v: {name}_t; "), " return v;") };
    let _ = writeln!(out, "fn {name}_raw(i: u32) -> {name}_t {{ {before}{read}{after} }}");
    if write {
        let store = if narrow {
            let mask = if bits == 8 { "0xffu" } else { "0xffffu" };
            let change = on(&|m, at| format!("atomicAnd(&{m}[{at}], ~({mask} << s)); atomicOr(&{m}[{at}], b << s);"));
            format!("let s = (i % {n}u) * {bits}u; let b = {}; {change}", pack(d, "v"))
        } else {
            on(&|m, at| format!("{m}[{at}] = v;"))
        };
        let _ = writeln!(out, "fn {name}_put(i: u32, v: {name}_t) {{ {store} }}");
    }
    of_item(out, &format!("{name}_start"), &format!("{name}_o"), binding.items);
    let _ = writeln!(out, "fn {name}_at(i: u32) -> {name}_t {{ return {name}_raw({name}_start() + i); }}");
    if write {
        let _ = writeln!(out, "fn {name}_set(i: u32, v: {name}_t) {{ {name}_put({name}_start() + i, v); }}");
    }
}

/// What a kernel is made of.
pub struct Source<'a> {
    /// Name, dtype and use of every tensor.
    pub slots: &'a [(&'a str, Dtype, Use)],
    pub binding: Binding<'a>,
    /// Name and type of every parameter, 4 bytes each; with the type `each` there is one for every item.
    pub params: &'a [(&'a str, &'a str)],
    pub body: &'a str,
    /// Where the primitives of formulas compute: `f32`, `f64`, `i32`, `i64`.
    pub compute: &'a str,
}

/// The whole text of a kernel. The parameters begin with `n` of every item, where there are several the first workgroup of
/// each, and the offset of every tensor in elements.
pub fn kernel(s: &Source) -> String {
    let mut out = String::with_capacity(s.body.len() + 2048);
    let items = s.binding.items;
    out.push_str("struct P { ");
    let each = |out: &mut String, name: &str| {
        (0..items).for_each(|k| {
            let _ = write!(out, "{}: u32, ", nth(name, k, items));
        })
    };
    each(&mut out, "n");
    if items > 1 {
        each(&mut out, "first");
    }
    for (name, ..) in s.slots {
        if *name != FAULT {
            each(&mut out, &format!("{name}_o"));
        }
    }
    for (name, ty) in s.params {
        if *ty == EACH {
            each(&mut out, name);
        } else {
            let _ = write!(out, "{name}: {ty}, ");
        }
    }
    out.push_str("}\n");
    if items > 1 {
        out.push_str("var<private> item: u32;\n");
    }
    let mut bindings = 0;
    for (k, (name, d, way)) in s.slots.iter().enumerate() {
        let count = s.binding.count(k);
        declare(&mut out, bindings, name, *d, *way, count, &s.binding);
        bindings += count;
    }
    let _ = writeln!(out, "@group(0) @binding({bindings}) var<uniform> p: P;");
    for (name, _) in s.params.iter().filter(|p| p.1 == EACH) {
        of_item(&mut out, name, name, items);
    }
    let _ = writeln!(out, "alias T = {};\nconst T_BITS: u32 = {}u;", s.compute, if s.compute.ends_with("64") { 64 } else { 32 });
    out.push_str(s.body);
    let element = s.body.contains("fn element(");
    let call = if element { "let i = g * 256u + l; if i < n { element(i); }" } else { "if g < n { group(g, l); }" };
    let _ = writeln!(
        out,
        "@compute @workgroup_size({GROUP})\nfn main(@builtin(workgroup_id) w: vec3<u32>, @builtin(num_workgroups) nw: vec3<u32>, @builtin(local_invocation_index) l: u32) {{"
    );
    out.push_str("var g = w.y * nw.x + w.x; var n = p.");
    out.push_str(&nth("n", 0, items));
    out.push_str(";\n");
    if items > 1 {
        // The last item that begins at this workgroup or before it: items without work have none.
        out.push_str("var first = 0u;\n");
        for k in 1..items {
            let _ = writeln!(out, "if g >= p.first{k} && p.n{k} > 0u {{ item = {k}u; n = p.n{k}; first = p.first{k}; }}");
        }
        out.push_str("g -= first;\n");
    }
    let _ = writeln!(out, "{call} }}");
    prelude::include(&mut out, &[], &[prelude::of_type(s.compute), prelude::common()]);
    out
}

/// A kernel's text from a file, for the dtypes and the texts of its placeholders.
pub fn section_source(s: &Section, dtypes: &[Dtype], binding: Binding, choice: &[(&str, &str)]) -> String {
    assert_eq!(s.slots.len(), dtypes.len(), "{} takes {} tensors", s.name, s.slots.len());
    let slots: Vec<_> = s.slots.iter().zip(dtypes).map(|(slot, d)| (slot.name.as_str(), *d, slot.way)).collect();
    let params: Vec<_> = s.params.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    let filled = |text: &str| choice.iter().fold(text.to_string(), |t, (name, by)| t.replace(&format!("${name}"), by));
    let mut body = filled(&s.body);
    prelude::include(&mut body, &["group"], &[&Declarations::parse(&filled(&s.shared.text))]);
    kernel(&Source { slots: &slots, binding, params: &params, body: &body, compute: "f32" })
}
