//! Einstein summation and tensordot: operands are permuted and reshaped to batched products.

use super::super::elementwise::mul;
use super::super::{Registry, Ret, reduce, view};
use super::bmm;
use crate::error::{Error, Result};
use crate::layout::{Dims, wrap_dim};
use crate::tensor::Tensor;
use crate::{bail, ensure, err};
use smallvec::{SmallVec, smallvec};

/// Labels 0..52 are letters; from `ELLIPSIS` on, the dimensions an ellipsis stands for, counted from the last.
type Label = u8;
const LETTERS: usize = 52;
const ELLIPSIS: u8 = 52;

type Labels = SmallVec<[Label; 8]>;

/// One term of an equation: labels, and where its ellipsis stands.
#[derive(Default)]
struct Term {
    labels: Labels,
    ellipsis: Option<usize>,
}

fn label_of(c: u8) -> Option<Label> {
    match c {
        b'A'..=b'Z' => Some(c - b'A'),
        b'a'..=b'z' => Some(c - b'a' + 26),
        _ => None,
    }
}

fn name_of(l: Label) -> char {
    match l {
        0..26 => (b'A' + l) as char,
        26..52 => (b'a' + l - 26) as char,
        _ => '.',
    }
}

fn invalid(at: usize) -> Error {
    err!(Runtime, "einsum(): invalid subscript given at index {at} in the equation string, subscripts must be in [a-zA-Z]")
}

/// The terms of the left side, and the right side if there is one.
fn parse(equation: &str) -> Result<(Vec<Term>, Option<Term>)> {
    let text = equation.as_bytes();
    let arrow = equation.find("->");
    let mut terms = vec![Term::default()];
    let mut i = 0;
    while i < arrow.unwrap_or(text.len()) {
        let operand = terms.len() - 1;
        let term = &mut terms[operand];
        match text[i] {
            b' ' => {}
            b',' => terms.push(Term::default()),
            b'.' => {
                ensure!(
                    term.ellipsis.is_none(),
                    Runtime,
                    "einsum(): found '.' for operand {operand} for which an ellipsis was already found"
                );
                ensure!(
                    text[i..arrow.unwrap_or(text.len())].starts_with(b"..."),
                    Runtime,
                    "einsum(): found '.' for operand {operand} that is not part of any ellipsis"
                );
                term.ellipsis = Some(term.labels.len());
                i += 2;
            }
            c => term.labels.push(label_of(c).ok_or_else(|| invalid(i))?),
        }
        i += 1;
    }
    let Some(arrow) = arrow else { return Ok((terms, None)) };
    let mut out = Term::default();
    i = arrow + 2;
    while i < text.len() {
        match text[i] {
            b' ' => {}
            b'.' => {
                ensure!(
                    out.ellipsis.is_none(),
                    Runtime,
                    "einsum(): found '.' for output but an ellipsis (...) was already found"
                );
                ensure!(
                    text[i..].starts_with(b"..."),
                    Runtime,
                    "einsum(): found '.' for output that is not part of any ellipsis (...)"
                );
                out.ellipsis = Some(out.labels.len());
                i += 2;
            }
            c => {
                let l = label_of(c).ok_or_else(|| invalid(i))?;
                ensure!(
                    !out.labels.contains(&l),
                    Runtime,
                    "einsum(): output subscript {} appears more than once in the output",
                    name_of(l)
                );
                out.labels.push(l);
            }
        }
        i += 1;
    }
    Ok((terms, Some(out)))
}

/// An operand whose dimensions carry labels, each once.
struct Labelled {
    t: Tensor,
    labels: Labels,
}

/// `...` written out: `extra` dimensions, the last of which has the first ellipsis label.
fn spelled(term: &Term, extra: usize) -> Labels {
    let mut out = term.labels.clone();
    if let Some(at) = term.ellipsis {
        for k in 0..extra {
            out.insert(at, ELLIPSIS + k as u8);
        }
    }
    out
}

/// Repeated labels become diagonals.
fn diagonals(t: &Tensor, labels: Labels, operand: usize) -> Result<Labelled> {
    let (mut t, mut labels) = (t.clone(), labels);
    let mut i = 0;
    while i < labels.len() {
        let Some(j) = labels[i + 1..].iter().position(|&l| l == labels[i]).map(|j| i + 1 + j) else {
            i += 1;
            continue;
        };
        let (p, q) = (t.shape()[i], t.shape()[j]);
        ensure!(
            p == q,
            Runtime,
            "einsum(): subscript {} is repeated for operand {operand} but the sizes don't match, {q} != {p}",
            name_of(labels[i])
        );
        t = view::diagonal(&t, 0, i as i64, j as i64)?;
        let l = labels[i];
        labels.remove(j);
        labels.remove(i);
        labels.push(l);
    }
    Ok(Labelled { t, labels })
}

fn sum_out(x: Labelled, keep: impl Fn(Label) -> bool) -> Result<Labelled> {
    let gone: Vec<i64> = (0..x.labels.len()).filter(|&i| !keep(x.labels[i])).map(|i| i as i64).collect();
    if gone.is_empty() {
        return Ok(x);
    }
    let dtype = x.t.dtype();
    let t = reduce::sum(&x.t, Some(&gone), false, Some(dtype))?;
    Ok(Labelled { t, labels: x.labels.into_iter().filter(|&l| keep(l)).collect() })
}

/// The dimensions of `x` in the order of `labels`.
fn arranged(x: &Labelled, labels: &[Label]) -> Result<Tensor> {
    let order: SmallVec<[i64; 8]> =
        labels.iter().map(|l| x.labels.iter().position(|m| m == l).expect("a label of this operand") as i64).collect();
    if order.iter().enumerate().all(|(i, &d)| i as i64 == d) { Ok(x.t.clone()) } else { view::permute(&x.t, &order) }
}

/// The product of two operands, summed over what is in neither `keep`.
fn pair(a: Labelled, b: Labelled, keep: impl Fn(Label) -> bool) -> Result<Labelled> {
    let a = sum_out(a, |l| keep(l) || b.labels.contains(&l))?;
    let b = sum_out(b, |l| keep(l) || a.labels.contains(&l))?;
    let pick = |x: &Labelled, y: &Labelled, shared: bool, kept: bool| -> Labels {
        x.labels.iter().copied().filter(|&l| y.labels.contains(&l) == shared && keep(l) == kept).collect()
    };
    let (batch, con) = (pick(&a, &b, true, true), pick(&a, &b, true, false));
    let (only_a, only_b) = (pick(&a, &b, false, true), pick(&b, &a, false, true));
    let size = |x: &Labelled, ls: &[Label]| -> Dims {
        ls.iter().map(|l| x.t.shape()[x.labels.iter().position(|m| m == l).unwrap()]).collect()
    };
    let (sb, sc, sx, sy) = (size(&a, &batch), size(&a, &con), size(&a, &only_a), size(&b, &only_b));
    let join = |ls: &[&[Label]]| -> Labels { ls.concat().into_iter().collect() };
    let labels = join(&[&batch, &only_a, &only_b]);
    let ta = arranged(&a, &join(&[&batch, &only_a, &con]))?;
    if con.is_empty() {
        // Nothing to sum: an elementwise product.
        let tb = arranged(&b, &join(&[&batch, &only_b]))?;
        let (mut xa, mut xb) = (sb.clone(), sb.clone());
        xa.extend(sx.iter().copied().chain(sy.iter().map(|_| 1)));
        xb.extend(sx.iter().map(|_| 1).chain(sy.iter().copied()));
        return Ok(Labelled { t: mul(&view::reshape_to(&ta, &xa)?, &view::reshape_to(&tb, &xb)?)?, labels });
    }
    let tb = arranged(&b, &join(&[&batch, &con, &only_b]))?;
    let n = |s: &Dims| s.iter().product::<usize>();
    let ta = view::reshape_to(&ta, &[n(&sb), n(&sx), n(&sc)])?;
    let tb = view::reshape_to(&tb, &[n(&sb), n(&sc), n(&sy)])?;
    let out = bmm(&ta, &tb)?;
    let mut shape = sb;
    shape.extend(sx);
    shape.extend(sy);
    Ok(Labelled { t: view::reshape_to(&out, &shape)?, labels })
}

/// Sums of products over the labels of an equation (`ij,jk->ik`).
pub fn einsum(equation: &str, operands: &[Tensor]) -> Result<Tensor> {
    ensure!(!operands.is_empty(), Runtime, "einsum(): must provide at least one operand");
    let (terms, out) = parse(equation)?;
    ensure!(terms.len() >= operands.len(), Runtime, "einsum(): more operands were provided than specified in the equation");
    ensure!(terms.len() <= operands.len(), Runtime, "einsum(): fewer operands were provided than specified in the equation");
    let mut extra = 0;
    let mut list = Vec::with_capacity(operands.len());
    for (i, (term, t)) in terms.iter().zip(operands).enumerate() {
        let named = term.labels.len();
        ensure!(
            if term.ellipsis.is_some() { named <= t.ndim() } else { named == t.ndim() },
            Runtime,
            "einsum(): the number of subscripts in the equation ({named}) {} the number of dimensions ({}) for operand {i}{}",
            if term.ellipsis.is_some() { "is more than" } else { "does not match" },
            t.ndim(),
            if term.ellipsis.is_some() { "" } else { " and no ellipsis was given" }
        );
        extra = extra.max(t.ndim() - named);
        list.push(diagonals(t, spelled(term, t.ndim() - named), i)?);
    }
    // Sizes by label; a size of 1 stretches.
    let mut sizes = [1usize; LETTERS + crate::layout::MAX_DIMS + 1];
    let mut seen = [0usize; LETTERS + crate::layout::MAX_DIMS + 1];
    for (i, x) in list.iter().enumerate() {
        for (&l, &s) in x.labels.iter().zip(x.t.shape()) {
            let size = &mut sizes[l as usize];
            ensure!(
                *size == s || *size == 1 || s == 1,
                Runtime,
                "einsum(): subscript {} has size {s} for operand {i} which does not broadcast with previously seen size {}",
                name_of(l),
                *size
            );
            if s != 1 {
                *size = s;
            }
        }
    }
    for term in &terms {
        for &l in &term.labels {
            seen[l as usize] += 1;
        }
    }
    let result: Labels = match &out {
        Some(term) => {
            for &l in &term.labels {
                ensure!(
                    seen[l as usize] > 0,
                    Runtime,
                    "einsum(): output subscript {} does not appear in the equation for any input operand",
                    name_of(l)
                );
            }
            spelled(term, extra)
        }
        // Without an arrow: the ellipsis, then the letters that appear once, in order.
        None => {
            (0..extra).rev().map(|k| ELLIPSIS + k as u8).chain((0..LETTERS as u8).filter(|&l| seen[l as usize] == 1)).collect()
        }
    };
    // An operand of size 1 where the label is larger does not have the label.
    let mut rest: Vec<Labelled> = Vec::with_capacity(list.len());
    for x in list {
        let gone: Vec<i64> =
            (0..x.labels.len()).filter(|&d| x.t.shape()[d] == 1 && sizes[x.labels[d] as usize] != 1).map(|d| d as i64).collect();
        rest.push(if gone.is_empty() {
            x
        } else {
            let labels = x.labels.iter().enumerate().filter(|(d, _)| !gone.contains(&(*d as i64))).map(|(_, &l)| l).collect();
            Labelled { t: view::squeeze(&x.t, Some(&gone))?, labels }
        });
    }
    rest.reverse();
    let mut acc = rest.pop().expect("at least one operand");
    while let Some(next) = rest.pop() {
        acc = pair(acc, next, |l| result.contains(&l) || rest.iter().any(|x| x.labels.contains(&l)))?;
    }
    let acc = sum_out(acc, |l| result.contains(&l))?;
    // An ellipsis dimension that only 1-sized operands had, or a label dropped everywhere, is of size 1.
    let mut acc = acc;
    for &l in &result {
        if !acc.labels.contains(&l) {
            acc.t = view::unsqueeze(&acc.t, -1)?;
            acc.labels.push(l);
        }
    }
    arranged(&acc, &result)
}

/// Products of `a` and `b` summed over these dimensions of each; the others follow in order.
pub fn contract(a: &Tensor, b: &Tensor, da: &[usize], db: &[usize]) -> Result<Tensor> {
    let keep = |n: usize, gone: &[usize]| -> SmallVec<[usize; 8]> { (0..n).filter(|d| !gone.contains(d)).collect() };
    let (ka, kb) = (keep(a.ndim(), da), keep(b.ndim(), db));
    let order = |x: &[usize], y: &[usize]| -> Vec<i64> { x.iter().chain(y).map(|&d| d as i64).collect() };
    let k: usize = da.iter().map(|&d| a.shape()[d]).product();
    let rows: usize = ka.iter().map(|&d| a.shape()[d]).product();
    let cols: usize = kb.iter().map(|&d| b.shape()[d]).product();
    let pa = view::reshape_to(&view::permute(a, &order(&ka, da))?, &[rows, k])?;
    let pb = view::reshape_to(&view::permute(b, &order(db, &kb))?, &[k, cols])?;
    let shape: Dims = ka.iter().map(|&d| a.shape()[d]).chain(kb.iter().map(|&d| b.shape()[d])).collect();
    view::reshape_to(&super::mm(&pa, &pb)?, &shape)
}

/// [`contract`] with checks; dimensions of size 1 stretch.
pub fn tensordot(a: &Tensor, b: &Tensor, dims_a: &[i64], dims_b: &[i64]) -> Result<Tensor> {
    ensure!(dims_a.len() == dims_b.len(), Runtime, "both dimension lists should have same length");
    ensure!(a.dtype() == b.dtype(), Runtime, "both inputs should have same dtype");
    let (mut a, mut b) = (a.clone(), b.clone());
    let (mut da, mut db): (SmallVec<[usize; 8]>, SmallVec<[usize; 8]>) = (smallvec![], smallvec![]);
    for (&i, &j) in dims_a.iter().zip(dims_b) {
        let (p, q) = (wrap_dim(i, a.ndim())?, wrap_dim(j, b.ndim())?);
        if a.ndim() == 0 || b.ndim() == 0 {
            bail!(Index, "Dimension specified as {i} but tensor has no dimensions");
        }
        let (sp, sq) = (a.shape()[p], b.shape()[q]);
        ensure!(
            !da.contains(&p) && !db.contains(&q),
            Runtime,
            "dim {} appears multiple times in the list of dims",
            if da.contains(&p) { p } else { q }
        );
        if sp != sq {
            let (t, d, other) = if sp == 1 {
                (&mut b, q, 1)
            } else if sq == 1 {
                (&mut a, p, 1)
            } else {
                bail!(
                    Runtime,
                    "contracted dimensions need to match, but first has size {sp} in dim {i} and second has size {sq} in dim {j}"
                )
            };
            debug_assert_eq!(other, 1);
            let dtype = t.dtype();
            *t = reduce::sum(t, Some(&[d as i64]), true, Some(dtype))?;
        }
        da.push(p);
        db.push(q);
    }
    contract(&a, &b, &da, &db)
}

pub(super) fn register(r: &mut Registry) {
    r.op("f", "einsum(str equation, Tensor... operands) -> Tensor", "Sums of products over labelled dimensions.", |a| {
        einsum(a.s(0), &a.ts(1)).map(Ret::from)
    });
    r.op(
        "f",
        "tensordot(Tensor self, Tensor other, int dims=2) -> Tensor",
        "Products summed over the last dims of self and the first of other.",
        |a| {
            let (x, y, n) = (a.t(0), a.t(1), a.int(2));
            ensure!(n >= 0, Runtime, "tensordot expects dims >= 0, but got dims={n}");
            ensure!(n <= x.ndim().min(y.ndim()) as i64, Runtime, "tensordot expects dims < ndim_a or ndim_b, but got dims={n}");
            let (da, db): (Vec<i64>, Vec<i64>) = ((-n..0).collect(), (0..n).collect());
            tensordot(x, y, &da, &db).map(Ret::from)
        },
    );
    r.op(
        "_",
        "_tensordot(Tensor self, Tensor other, int[] dims_self, int[] dims_other) -> Tensor",
        "Products summed over the given dimensions.",
        |a| tensordot(a.t(0), a.t(1), a.ints(2), a.ints(3)).map(Ret::from),
    );
}
