//! Losses.

use super::elementwise::{Compiled, apply, result_type};
use super::{Args, Registry, Ret, copy, reduce, view, warn};
use crate::autograd::{no_grad, record};
use crate::error::Result;
use crate::expr::Operand;
use crate::layout::show;
use crate::tensor::Tensor;
use crate::{bail, ensure};
use smallvec::smallvec;
use std::sync::Arc;

mod class;
mod ctc;
mod embedded;
mod margin;
mod pointwise;

pub use class::{cross_entropy, nll_loss};

/// What becomes of the losses of the elements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reduction {
    None,
    Mean,
    Sum,
}

impl Reduction {
    pub fn parse(s: &str) -> Result<Reduction> {
        Ok(match s {
            "none" => Reduction::None,
            "mean" => Reduction::Mean,
            "sum" => Reduction::Sum,
            _ => bail!(Value, "{s} is not a valid value for reduction"),
        })
    }

    /// From `reduction` at `i`, and `size_average` and `reduce`, which it replaced.
    pub fn legacy(a: &Args, size_average: usize, reduce: usize, i: usize) -> Result<Reduction> {
        if a.ob(size_average).is_none() && a.ob(reduce).is_none() {
            return Reduction::parse(a.s(i));
        }
        let (r, name) = match (a.ob(size_average).unwrap_or(true), a.ob(reduce).unwrap_or(true)) {
            (true, true) => (Reduction::Mean, "mean"),
            (false, true) => (Reduction::Sum, "sum"),
            _ => (Reduction::None, "none"),
        };
        warn(format!("size_average and reduce args will be deprecated, please use reduction='{name}' instead."));
        Ok(r)
    }
}

/// Applies the reduction; `name` is that of the graph node.
pub fn finish(x: Tensor, red: Reduction, name: &'static str) -> Result<Tensor> {
    if red == Reduction::None {
        return Ok(x);
    }
    ensure!(
        red == Reduction::Sum || x.dtype().is_float(),
        Runtime,
        "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. Got: {}",
        x.dtype().scalar_name()
    );
    let n = x.numel() as f64;
    let out = no_grad(|| -> Result<Tensor> {
        let s = reduce::sum(&x, None, false, None)?;
        if red == Reduction::Mean { super::norm::num::ops(&super::elementwise::DIV, &s, n) } else { Ok(s) }
    })?;
    let shape = x.dims();
    Ok(record(name, &[&x], out, move |_, g| {
        let g = if red == Reduction::Mean { super::norm::num::ops(&super::elementwise::DIV, g, n)? } else { g.clone() };
        Ok(smallvec![Some(view::expand(&g, &shape)?)])
    }))
}

/// A formula over tensors of a common float dtype, reduced.
pub(crate) fn formula_loss(
    c: &Arc<Compiled>,
    x: &[&Tensor],
    params: &[f64],
    red: Reduction,
    name: &'static str,
    kernel: &str,
) -> Result<Tensor> {
    let operands: Vec<Operand> = x.iter().map(|t| Operand::T((*t).clone())).collect();
    let common = result_type(&operands);
    ensure!(common.is_float(), NotImplemented, "\"{kernel}\" not implemented for '{}'", common.scalar_name());
    let params: Vec<_> = params.iter().map(|&p| p.into()).collect();
    finish(apply(c, &operands, &params, common, common, None)?, red, name)
}

/// The warning of losses whose target is stretched.
pub(crate) fn warn_sizes(x: &Tensor, target: &Tensor) {
    if x.shape() != target.shape() {
        warn(format!(
            "Using a target size (torch.Size({})) that is different to the input size (torch.Size({})). This will likely lead to incorrect results due to broadcasting. Please ensure they have the same size.",
            show(target.shape()),
            show(x.shape())
        ));
    }
}

/// A target of class numbers as i64.
pub(crate) fn classes(target: &Tensor) -> Result<Tensor> {
    copy::contiguous(&copy::to_dtype(&target.detach(), crate::dtype::Dtype::I64)?)
}

pub(super) fn register(r: &mut Registry) {
    class::register(r);
    pointwise::register(r);
    embedded::register(r);
    margin::register(r);
    ctc::register(r);
}

impl Reduction {
    /// From the number that `torch.*` losses take.
    pub fn of_int(i: i64) -> Reduction {
        match i {
            1 => Reduction::Mean,
            2 => Reduction::Sum,
            _ => Reduction::None,
        }
    }
}

/// For entries: the result of a loss function as an answer.
pub(crate) fn answer(t: Result<Tensor>) -> Result<Ret> {
    t.map(Ret::from)
}
