//! Losses that are a formula over the elements.

use super::{Reduction, answer, finish, formula_loss, warn_sizes};
use crate::ensure;
use crate::error::Result;
use crate::ops::elementwise::{Compiled, compile, div, mul};
use crate::ops::{Registry, reduce};
use crate::tensor::Tensor;
use std::sync::{Arc, OnceLock};

/// A formula that is made when first needed.
macro_rules! formula {
    ($n:literal, $name:literal, $f:expr) => {{
        static F: OnceLock<Arc<Compiled>> = OnceLock::new();
        F.get_or_init(|| compile($n, $name, $f))
    }};
}

/// The loss with a weight for each element: a weighted sum, or a mean in proportion to the weights.
fn weighted(
    elements: Tensor,
    x: &Tensor,
    weight: Option<&Tensor>,
    red: Reduction,
    name: &'static str,
) -> Result<Tensor> {
    let Some(w) = weight else {
        return finish(elements, red, name);
    };
    ensure!(
        w.shape() == x.shape(),
        Value,
        "Weights and input must have the same size."
    );
    let e = mul(&elements, w)?;
    Ok(match red {
        Reduction::None => e,
        Reduction::Sum => reduce::sum(&e, None, false, None)?,
        Reduction::Mean => div(
            &reduce::sum(&e, None, false, None)?,
            &reduce::sum(w, None, false, None)?,
        )?,
    })
}

/// `(x - target)^2`. Differentiable.
pub fn mse_loss(
    x: &Tensor,
    target: &Tensor,
    weight: Option<&Tensor>,
    red: Reduction,
) -> Result<Tensor> {
    warn_sizes(x, target);
    let f = formula!(2, "MseLossBackward0", |x| (x[0] - x[1]).square());
    weighted(
        formula_loss(f, &[x, target], &[], Reduction::None, "", "mse_cpu")?,
        x,
        weight,
        red,
        "MseLossBackward0",
    )
}

pub(super) fn register(r: &mut Registry) {
    r.op(
        "n",
        "mse_loss(Tensor self, Tensor target, bool? size_average=None, bool? reduce=None, str reduction='mean', Tensor? weight=None) -> Tensor",
        "The mean of the squared differences.",
        |a| answer(mse_loss(a.t(0), a.t(1), a.ot(5), Reduction::legacy(a, 2, 3, 4)?)),
    );
}
