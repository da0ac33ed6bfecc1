//! PyTorch's schema lines: `softmax(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor`.
//! One line is the signature for the argument parser, the error texts, the stubs and the docs.

use crate::dtype::Scalar;

/// The type of a parameter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ty {
    Tensor,
    /// A list of tensors; with `true` entries may be None.
    Tensors(bool),
    /// A tensor or a number (`Operand` in a schema line): the right side of `add`.
    Operand,
    Scalar,
    Int,
    /// Integers; `Some(n)`: a single one stands for `n` equal ones.
    Ints(Option<usize>),
    /// Like `Ints(Some(n))`, but an entry may be None (`ops::NO_INT`).
    OptionalInts(usize),
    Float,
    Floats,
    Bool,
    Str,
    Dtype,
    Device,
    Generator,
    MemoryFormat,
    /// Accepted and not looked at (`Layout`, `pin_memory`).
    Any,
}

#[derive(Clone, Debug)]
pub struct Param {
    pub name: &'static str,
    pub ty: Ty,
    pub optional: bool,
    pub keyword_only: bool,
    /// `Tensor...`: the remaining positional arguments may stand for the list.
    pub variadic: bool,
    pub default: Option<Default>,
}

/// A default value as the schema line gives it.
#[derive(Clone, Debug, PartialEq)]
pub enum Default {
    None,
    Number(Scalar),
    Str(&'static str),
    Ints(Vec<i64>),
}

/// A parsed schema line.
#[derive(Clone, Debug)]
pub struct Schema {
    pub name: &'static str,
    pub params: Vec<Param>,
    /// Where `self` stands among the parameters (0 if nowhere).
    pub self_at: usize,
    /// Names of the results, where there are several (`values`, `indices`).
    pub returns: Vec<&'static str>,
    pub text: &'static str,
}

impl Schema {
    /// Parses a line; a malformed one is a bug in this crate and panics when the registry is made.
    pub fn parse(text: &'static str) -> Schema {
        let (head, ret) = text.split_once("->").unwrap_or((text, "Tensor"));
        let open = head.find('(').unwrap_or_else(|| panic!("schema without '(': {text}"));
        let close = head.rfind(')').unwrap_or_else(|| panic!("schema without ')': {text}"));
        let name = head[..open].trim();
        let mut params = Vec::new();
        let mut keyword_only = false;
        for part in split(&head[open + 1..close]) {
            if part == "*" {
                keyword_only = true;
            } else if !part.is_empty() {
                params.push(param(part, keyword_only, text));
            }
        }
        let ret = ret.trim();
        let returns = if ret.starts_with('(') {
            split(ret.trim_matches(['(', ')'])).iter().filter_map(|p| p.split_whitespace().nth(1)).collect()
        } else {
            Vec::new()
        };
        let self_at = params.iter().position(|p: &Param| p.name == "self").unwrap_or(0);
        Schema { name, params, self_at, returns, text }
    }
}

fn split(text: &'static str) -> Vec<&'static str> {
    let (mut depth, mut start, mut out) = (0, 0, Vec::new());
    for (i, ch) in text.char_indices() {
        match ch {
            '[' | '(' => depth += 1,
            ']' | ')' => depth -= 1,
            ',' if depth == 0 => {
                out.push(text[start..i].trim());
                start = i + 1;
            }
            _ => {}
        }
    }
    out.push(text[start..].trim());
    out
}

fn param(part: &'static str, keyword_only: bool, text: &str) -> Param {
    let (decl, default) = match part.split_once('=') {
        Some((d, v)) => (d.trim(), Some(v.trim())),
        None => (part, None),
    };
    let (ty, name) = decl.rsplit_once(' ').unwrap_or_else(|| panic!("parameter without a type in {text}"));
    let (ty, optional) = match ty.strip_suffix('?') {
        Some(t) => (t, true),
        None => (ty, false),
    };
    let parsed = match ty {
        "Tensor" => Ty::Tensor,
        "Tensor[]" | "Tensor..." => Ty::Tensors(false),
        "Tensor?[]" => Ty::Tensors(true),
        "Operand" => Ty::Operand,
        "Scalar" => Ty::Scalar,
        "int" => Ty::Int,
        "int[]" => Ty::Ints(None),
        "float" => Ty::Float,
        "float[]" => Ty::Floats,
        "bool" => Ty::Bool,
        "str" => Ty::Str,
        "ScalarType" => Ty::Dtype,
        "Device" => Ty::Device,
        "Generator" => Ty::Generator,
        "MemoryFormat" => Ty::MemoryFormat,
        "Any" => Ty::Any,
        t if t.starts_with("int?[") => match t[5..].trim_end_matches(']').parse() {
            Ok(n) => Ty::OptionalInts(n),
            Err(_) => panic!("unknown type {t} in {text}"),
        },
        t => match t.strip_prefix("int[").and_then(|t| t.strip_suffix(']')).and_then(|n| n.parse().ok()) {
            Some(n) => Ty::Ints(Some(n)),
            None => panic!("unknown type {t} in {text}"),
        },
    };
    let default = default.map(|v| match v {
        "None" => Default::None,
        "True" => Default::Number(Scalar::Bool(true)),
        "False" => Default::Number(Scalar::Bool(false)),
        v if v.starts_with('[') => Default::Ints(
            v.trim_matches(['[', ']']).split(',').filter(|s| !s.trim().is_empty()).map(|s| s.trim().parse().unwrap()).collect(),
        ),
        v if v.starts_with(['\'', '"']) => Default::Str(v.trim_matches(['\'', '"'])),
        v => Default::Number(match v.parse::<i64>() {
            Ok(i) if parsed != Ty::Float => Scalar::Int(i),
            _ => Scalar::Float(v.parse().unwrap_or_else(|_| panic!("default {v} in {text}"))),
        }),
    });
    Param { name, ty: parsed, optional, keyword_only, variadic: ty == "Tensor...", default }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_a_line() {
        let s = Schema::parse(
            "max(Tensor self, int dim, int[2] k=[1, 2], *, bool keepdim=False, ScalarType? dtype=None) -> (Tensor values, Tensor indices)",
        );
        assert_eq!(s.name, "max");
        assert_eq!(s.params.len(), 5);
        assert_eq!(s.params[2].default, Some(Default::Ints(vec![1, 2])));
        assert!(s.params[3].keyword_only && s.params[4].optional);
        assert_eq!(s.returns, ["values", "indices"]);
    }
}
