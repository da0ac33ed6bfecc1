//! Activations that are not plain rows of the elementwise table.

use super::elementwise::{GELU_ERF, GELU_TANH, RELU_ROW, Row};
use super::{Args, Registry, Ret, inplace};
use crate::dtype::{Dtype, Scalar};
use crate::error::Result;
use crate::expr::Operand;
use crate::tensor::Tensor;
use crate::{bail, ensure};

/// A row over one tensor, with numbers.
fn row(row: &'static Row, x: &Tensor, params: &[Scalar]) -> Result<Tensor> {
    row.call(&[Operand::T(x.clone())], params, None)
}

/// Writes a result over the first argument, and answers that.
fn over(a: &Args, result: Result<Tensor>) -> Result<Ret> {
    inplace::check_writable(a.t(0))?;
    inplace::assign(a.t(0), result?)?;
    Ok(a.t(0).clone().into())
}

/// The result, or with `inplace` the first argument after it is written there.
fn maybe_over(a: &Args, inplace: bool, result: Result<Tensor>) -> Result<Ret> {
    if inplace {
        over(a, result)
    } else {
        result.map(Ret::from)
    }
}

fn float_only(x: &Tensor, kernel: &str) -> Result<()> {
    ensure!(
        x.dtype().is_float(),
        NotImplemented,
        "\"{kernel}\" not implemented for '{}'",
        x.dtype().scalar_name()
    );
    Ok(())
}

/// `max(x, 0)`. Differentiable.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    ensure!(
        x.dtype() != Dtype::Bool,
        Runtime,
        "Boolean inputs not supported for relu"
    );
    ensure!(
        !x.dtype().is_complex(),
        NotImplemented,
        "clamp is not supported for complex types"
    );
    row(&RELU_ROW, x, &[])
}

/// `x Phi(x)`, or its approximation by tanh. Differentiable.
pub fn gelu(x: &Tensor, approximate: &str) -> Result<Tensor> {
    let formula = match approximate {
        "none" => &GELU_ERF,
        "tanh" => &GELU_TANH,
        _ => bail!(Runtime, "approximate argument must be either none or tanh."),
    };
    float_only(x, "GeluKernelImpl")?;
    row(formula, x, &[])
}

pub(super) fn register(r: &mut Registry) {
    r.op("fmi", "relu(Tensor self) -> Tensor", "max(x, 0).", |a| {
        relu(a.t(0)).map(Ret::from)
    });
    r.op(
        "n",
        "relu(Tensor self, bool inplace=False) -> Tensor",
        "max(x, 0).",
        |a| maybe_over(a, a.b(1), relu(a.t(0))),
    );
    r.op(
        "fn",
        "relu_(Tensor self) -> Tensor",
        "relu in place.",
        |a| over(a, relu(a.t(0))),
    );
    r.op(
        "n",
        "gelu(Tensor self, *, str approximate='none') -> Tensor",
        "x Phi(x), with the normal distribution function.",
        |a| gelu(a.t(0), a.s(1)).map(Ret::from),
    );
}
