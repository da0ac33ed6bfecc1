//! Losses on the distances of pairs and triplets.

use super::pointwise::{floating, formula};
use super::{Reduction, answer, finish};
use crate::error::Result;
use crate::expr::builder::{c, par, wh};
use crate::layout::show;
use crate::ops::elementwise::{Compiled, MINIMUM, compile, mul};
use crate::ops::norm::lp::distance;
use crate::ops::norm::num::op2;
use crate::ops::{Registry, reduce};
use crate::tensor::Tensor;
use crate::{bail, ensure};
use std::sync::{Arc, OnceLock};

/// `x` where the target is 1, `max(0, margin - x)` where it is -1. Differentiable.
pub fn hinge_embedding_loss(x: &Tensor, target: &Tensor, margin: f64, red: Reduction) -> Result<Tensor> {
    let f = formula!(2, "AddBackward0", |x| {
        let m = par(0) - x[0];
        wh(x[1].ne(1.0), wh(m.lt(0.0), c(0.0), m), c(0.0)) + wh(x[1].ne(-1.0), x[0], c(0.0))
    });
    finish(floating(f, &[x, target], &[margin])?, red, "MeanBackward0")
}

/// `max(0, -target (x1 - x2) + margin)`. Differentiable.
pub fn margin_ranking_loss(x1: &Tensor, x2: &Tensor, target: &Tensor, margin: f64, red: Reduction) -> Result<Tensor> {
    let f = formula!(3, "ClampMinBackward0", |x| {
        let v = par(0) - x[2] * (x[0] - x[1]);
        wh(v.lt(0.0), c(0.0), v)
    });
    finish(floating(f, &[x1, x2, target], &[margin])?, red, "MeanBackward0")
}

/// `1 - cos` where the target is 1, `max(0, cos - margin)` where it is -1. Differentiable.
pub fn cosine_embedding_loss(x1: &Tensor, x2: &Tensor, target: &Tensor, margin: f64, red: Reduction) -> Result<Tensor> {
    let (t, s1, s2) = (target.ndim(), show(x1.shape()), show(x2.shape()));
    match t {
        0 => ensure!(
            x1.ndim() == 1 && x2.ndim() == 1,
            Runtime,
            "0D target tensor expects 1D input tensors, but found inputs with sizes {s1} and {s2}."
        ),
        1 => ensure!(
            x1.ndim() == 2 && x2.ndim() == 2,
            Runtime,
            "1D target tensor expects 2D input tensors, but found inputs with sizes {s1} and {s2}."
        ),
        _ => bail!(Runtime, "0D or 1D target tensor expected, multi-target not supported"),
    }
    let dot = |a: &Tensor, b: &Tensor| reduce::sum(&mul(a, b)?, Some(&[-1]), false, None);
    let f = formula!(4, "AddBackward0", |x| {
        let cos = x[0] / ((x[1] + 1e-12) * (x[2] + 1e-12)).sqrt();
        let far = cos - par(0);
        wh(x[3].eq(1.0), 1.0 - cos, c(0.0)) + wh(x[3].eq(-1.0), wh(far.lt(0.0), c(0.0), far), c(0.0))
    });
    finish(floating(f, &[&dot(x1, x2)?, &dot(x1, x1)?, &dot(x2, x2)?, target], &[margin])?, red, "MeanBackward0")
}

/// `max(0, d(anchor, positive) - d(anchor, negative) + margin)`. Differentiable.
#[allow(clippy::too_many_arguments)]
pub fn triplet_margin_loss(
    a: &Tensor,
    p: &Tensor,
    n: &Tensor,
    margin: f64,
    norm: f64,
    eps: f64,
    swap: bool,
    red: Reduction,
) -> Result<Tensor> {
    ensure!(
        a.ndim() == p.ndim() && p.ndim() == n.ndim(),
        Runtime,
        "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: anchor {}D, positive {}D, and negative {}D inputs",
        a.ndim(),
        p.ndim(),
        n.ndim()
    );
    let near = distance(a, p, norm, eps)?;
    let mut far = distance(a, n, norm, eps)?;
    if swap {
        far = op2(&MINIMUM, &far, &distance(p, n, norm, eps)?)?;
    }
    let f = formula!(2, "ClampMinBackward0", |x| {
        let v = par(0) + x[0] - x[1];
        wh(v.lt(0.0), c(0.0), v)
    });
    finish(floating(f, &[&near, &far], &[margin])?, red, "MeanBackward0")
}

pub(super) fn register(r: &mut Registry) {
    r.op(
        "n",
        "hinge_embedding_loss(Tensor self, Tensor target, float margin=1.0, bool? size_average=None, bool? reduce=None, str reduction='mean') -> Tensor",
        "x where the target is 1, max(0, margin - x) where it is -1.",
        |a| answer(hinge_embedding_loss(a.t(0), a.t(1), a.f(2), Reduction::legacy(a, 3, 4, 5)?)),
    );
    r.op(
        "f",
        "hinge_embedding_loss(Tensor self, Tensor target, float margin=1.0, int reduction=1) -> Tensor",
        "x where the target is 1, max(0, margin - x) where it is -1.",
        |a| answer(hinge_embedding_loss(a.t(0), a.t(1), a.f(2), Reduction::of_int(a.int(3)))),
    );
    r.op(
        "n",
        "margin_ranking_loss(Tensor input1, Tensor input2, Tensor target, float margin=0, bool? size_average=None, bool? reduce=None, str reduction='mean') -> Tensor",
        "max(0, -target (input1 - input2) + margin).",
        |a| {
            let red = Reduction::legacy(a, 4, 5, 6)?;
            let (x, y, t) = (a.t(0), a.t(1), a.t(2));
            ensure!(
                x.ndim() == y.ndim() && x.ndim() == t.ndim(),
                Runtime,
                "margin_ranking_loss : All input tensors should have same dimension but got sizes: input1: torch.Size({}), input2: torch.Size({}), target: torch.Size({}) ",
                show(x.shape()),
                show(y.shape()),
                show(t.shape())
            );
            answer(margin_ranking_loss(x, y, t, a.f(3), red))
        },
    );
    r.op(
        "f",
        "margin_ranking_loss(Tensor input1, Tensor input2, Tensor target, float margin=0.0, int reduction=1) -> Tensor",
        "max(0, -target (input1 - input2) + margin).",
        |a| answer(margin_ranking_loss(a.t(0), a.t(1), a.t(2), a.f(3), Reduction::of_int(a.int(4)))),
    );
    r.op(
        "n",
        "cosine_embedding_loss(Tensor input1, Tensor input2, Tensor target, float margin=0, bool? size_average=None, bool? reduce=None, str reduction='mean') -> Tensor",
        "1 - cos where the target is 1, max(0, cos - margin) where it is -1.",
        |a| answer(cosine_embedding_loss(a.t(0), a.t(1), a.t(2), a.f(3), Reduction::legacy(a, 4, 5, 6)?)),
    );
    r.op(
        "f",
        "cosine_embedding_loss(Tensor input1, Tensor input2, Tensor target, float margin=0.0, int reduction=1) -> Tensor",
        "1 - cos where the target is 1, max(0, cos - margin) where it is -1.",
        |a| answer(cosine_embedding_loss(a.t(0), a.t(1), a.t(2), a.f(3), Reduction::of_int(a.int(4)))),
    );
    r.op(
        "n",
        "triplet_margin_loss(Tensor anchor, Tensor positive, Tensor negative, float margin=1.0, float p=2, float eps=1e-06, bool swap=False, bool? size_average=None, bool? reduce=None, str reduction='mean') -> Tensor",
        "max(0, d(anchor, positive) - d(anchor, negative) + margin).",
        |a| {
            let red = Reduction::legacy(a, 7, 8, 9)?;
            ensure!(a.f(3) > 0.0, Value, "margin must be greater than 0, got {}", a.f(3));
            answer(triplet_margin_loss(a.t(0), a.t(1), a.t(2), a.f(3), a.f(4), a.f(5), a.b(6), red))
        },
    );
    r.op(
        "f",
        "triplet_margin_loss(Tensor anchor, Tensor positive, Tensor negative, float margin=1.0, float p=2, float eps=1e-06, bool swap=False, int reduction=1) -> Tensor",
        "max(0, d(anchor, positive) - d(anchor, negative) + margin).",
        |a| answer(triplet_margin_loss(a.t(0), a.t(1), a.t(2), a.f(3), a.f(4), a.f(5), a.b(6), Reduction::of_int(a.int(7)))),
    );
}
