//! What kernels share: the declarations (functions, variables, constants, structs) of `shaders/prelude/` and of what stands
//! before the first section of a file. Only those that a kernel uses become part of its text.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::OnceLock;

macro_rules! files {
    ($($file:literal)*) => { &[$(($file, include_str!(concat!("../../shaders/prelude/", $file)))),*] };
}

/// For all kernels.
static COMMON: &[(&str, &str)] = files! { "common.wgsl" };
/// For those that compute in float32, int32 or int64, float64.
static FLOAT: &[(&str, &str)] = files! { "float.wgsl" "error_function.wgsl" "gamma.wgsl" "incomplete_gamma.wgsl" "bessel.wgsl" };
static INTEGER: &[(&str, &str)] = files! { "int.wgsl" };
static DOUBLE: &[(&str, &str)] = files! { "double.wgsl" };

/// The text of a file in `shaders/`: as it was built in, or as it now is in the folder `RUSTGRAD_SHADERS`, for who is writing
/// kernels.
pub fn current(file: &str, built_in: &'static str) -> Cow<'static, str> {
    match std::env::var("RUSTGRAD_SHADERS") {
        Ok(folder) if !folder.is_empty() => {
            let path = std::path::Path::new(&folder).join(file);
            std::fs::read_to_string(path).map_or(Cow::Borrowed(built_in), Cow::Owned)
        }
        _ => Cow::Borrowed(built_in),
    }
}

/// Declarations by name.
#[derive(Clone, Debug, Default)]
pub struct Declarations(HashMap<String, Declaration>);

#[derive(Clone, Debug)]
struct Declaration {
    text: String,
    uses: Vec<String>,
}

impl Declarations {
    /// Those of a text in which each begins at the start of a line.
    pub fn parse(text: &str) -> Declarations {
        let mut all = HashMap::new();
        let mut open = String::new();
        for line in text.lines() {
            let code = line.split("//").next().unwrap_or_default().trim_end();
            if code.is_empty() {
                continue;
            }
            open.push_str(code);
            open.push('\n');
            let depth = open.matches('{').count() - open.matches('}').count();
            if depth == 0 && code.ends_with([';', '}']) {
                let text = std::mem::take(&mut open);
                let name = declared(&text).to_string();
                let uses = names(&text).filter(|n| *n != name).map(String::from).collect();
                all.insert(name, Declaration { text, uses });
            }
        }
        assert!(open.is_empty(), "a declaration does not end: {open}");
        Declarations(all)
    }

    fn of_files(files: &[(&str, &'static str)]) -> Declarations {
        let text: String = files.iter().map(|(f, text)| current(&format!("prelude/{f}"), text).into_owned() + "\n").collect();
        Declarations::parse(&text)
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }
}

/// The name that a declaration gives: behind its keyword and, of a variable, the address space.
fn declared(text: &str) -> &str {
    let rest = text.split_once([' ', '<']).map_or("", |s| s.1);
    let rest = if text.starts_with("var<") { rest.split_once('>').map_or("", |s| s.1) } else { rest };
    names(rest).next().unwrap_or_else(|| panic!("what is declared here? {text}"))
}

/// The names in a text.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(move |c| !name(c)).filter(|w| w.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'))
}

/// Appends the declarations that a text uses, and some more; of two with one name those of the first table.
pub fn include(out: &mut String, more: &[&str], tables: &[&Declarations]) {
    let mut wanted: Vec<String> = names(out).chain(more.iter().copied()).map(String::from).collect();
    let mut done: HashSet<String> = HashSet::new();
    while let Some(name) = wanted.pop() {
        if done.contains(&name) {
            continue;
        }
        if let Some(d) = tables.iter().find_map(|t| t.0.get(&name)) {
            out.push_str(&d.text);
            wanted.extend(d.uses.iter().cloned());
        }
        done.insert(name);
    }
}

/// The prelude of a compute type.
pub fn of_type(compute: &str) -> &'static Declarations {
    static ALL: [OnceLock<Declarations>; 3] = [const { OnceLock::new() }; 3];
    let (k, files) = match compute {
        "f64" => (0, DOUBLE),
        c if c.starts_with('i') => (1, INTEGER),
        _ => (2, FLOAT),
    };
    ALL[k].get_or_init(|| Declarations::of_files(files))
}

/// The prelude of all compute types.
pub fn common() -> &'static Declarations {
    static ALL: OnceLock<Declarations> = OnceLock::new();
    ALL.get_or_init(|| Declarations::of_files(COMMON))
}

/// Whether every `rg_` function in a text exists for a compute type.
pub fn has_functions(text: &str, compute: &str) -> bool {
    names(text).filter(|n| n.starts_with("rg_")).all(|n| of_type(compute).has(n) || common().has(n))
}
