//! Dropout: elements, whole channels, and the variant for SELU networks.

use super::{Draw, fill};
use crate::device::Device;
use crate::dtype::Scalar;
use crate::ensure;
use crate::error::Result;
use crate::expr::Operand;
use crate::ops::creation::like;
use crate::ops::elementwise as ew;
use crate::ops::{Args, OpFn, Registry, Ret, inplace, view};
use crate::tensor::Tensor;
use std::sync::Arc;

fn check_p(p: f64) -> Result<()> {
    ensure!((0.0..=1.0).contains(&p), Value, "dropout probability has to be between 0 and 1, but got {p:?}");
    Ok(())
}

fn feature_shape(x: &Tensor, feature: bool) -> Result<Vec<usize>> {
    if !feature {
        return Ok(x.shape().to_vec());
    }
    ensure!(x.ndim() >= 2, Runtime, "Feature dropout requires at least 2 dimensions in the input");
    Ok(x.shape().iter().enumerate().map(|(i, &s)| if i < 2 { s } else { 1 }).collect())
}

/// Zeroes elements (or whole channels) with probability `p` and scales the others by 1 / (1 - p).
pub fn dropout(x: &Tensor, p: f64, training: bool, feature: bool) -> Result<Tensor> {
    check_p(p)?;
    if !training || p == 0.0 || x.numel() == 0 {
        return Ok(x.clone());
    }
    if p == 1.0 {
        return ew::mul(x, &Tensor::zeros(&[], x.dtype(), Device::Cpu)?);
    }
    let noise = if feature {
        Tensor::empty(&feature_shape(x, true)?, x.dtype(), x.device())?
    } else {
        like(&x.detach(), None, None, None)?
    };
    fill(&noise, Draw::Bernoulli(1.0 - p), None)?;
    let noise = ew::DIV.call(&[Operand::T(noise), Operand::S(Scalar::Float(1.0 - p))], &[], None)?;
    ew::mul(x, &noise)
}

/// Dropout that keeps mean and variance for SELU networks (Klambauer et al. 2017).
pub fn alpha_dropout(x: &Tensor, p: f64, training: bool, feature: bool) -> Result<Tensor> {
    check_p(p)?;
    if !training || p == 0.0 || x.numel() == 0 {
        return Ok(x.clone());
    }
    if p == 1.0 {
        return ew::mul(x, &Tensor::zeros(&[], x.dtype(), Device::Cpu)?);
    }
    const ALPHA: f64 = 1.758_099_340_847_376_6;
    let noise = if feature {
        Tensor::empty(&feature_shape(x, true)?, x.dtype(), x.device())?
    } else {
        like(&x.detach(), None, None, None)?
    };
    fill(&noise, Draw::Bernoulli(1.0 - p), None)?;
    let a = 1.0 / ((ALPHA * ALPHA * p + 1.0) * (1.0 - p)).sqrt();
    let shift = ew::SUB.call(&[Operand::T(noise.clone()), Operand::S(Scalar::Int(1))], &[], None)?;
    let shift = ew::scale(&shift, ALPHA * a)?;
    let shift = ew::ADD.call(&[Operand::T(shift), Operand::S(Scalar::Float(ALPHA * a * p))], &[], None)?;
    ew::add(&ew::mul(x, &ew::scale(&noise, a)?)?, &shift)
}

fn maybe_inplace(x: &Tensor, r: Tensor, write: bool) -> Result<Ret> {
    if write && !Arc::ptr_eq(&x.0, &r.0) {
        inplace::assign(x, r)?;
        return Ok(Ret::Tensor(x.clone()));
    }
    Ok(Ret::Tensor(r))
}

/// Dropout of whole channels with `dims` dimensions each. Without a batch dimension dropout1d and dropout3d take the input
/// as one sample; dropout2d takes three dimensions as (batch, channel, length), as PyTorch has always done.
fn channels(a: &Args, dims: usize) -> Result<Ret> {
    let (x, p, n) = (a.t(0), a.f(1), a.t(0).ndim());
    check_p(p)?;
    if n != dims + 1 && n != dims + 2 {
        let exists = format!(
            "Note that dropout{dims}d exists to provide channel-wise dropout on inputs with {dims} spatial dimension{}, a channel dimension, and an optional batch dimension (i.e. {}D or {}D inputs).",
            if dims == 1 { "" } else { "s" },
            dims + 1,
            dims + 2
        );
        ensure!(dims != 1, Runtime, "dropout1d: Expected 2D or 3D input, but received a {n}D input. {exists}");
        crate::ops::warn(format!(
            "dropout{dims}d: Received a {n}-D input to dropout{dims}d, which is deprecated and will result in an error in a future release. To retain the behavior and silence this warning, please use dropout instead. {exists}"
        ));
    }
    if dims == 2 && n == 3 {
        crate::ops::warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout behavior is desired - input is interpreted as shape (N, C, L), where C is the channel dim. This behavior will change in a future release to interpret the input as one without a batch dimension, i.e. shape (C, H, W). To maintain the 1D channel-wise dropout behavior, please switch to using dropout1d instead.",
        );
    }
    if dims == 2 || n == dims + 2 {
        return maybe_inplace(x, dropout(x, p, a.b(2), true)?, a.b(3));
    }
    let one = dropout(&view::unsqueeze(x, 0)?, p, a.b(2), true)?;
    maybe_inplace(x, view::squeeze(&one, Some(&[0]))?, a.b(3))
}

pub(super) fn register(r: &mut Registry) {
    r.op(
        "n",
        "dropout(Tensor self, float p=0.5, bool training=True, bool inplace=False) -> Tensor",
        "Zeroes elements with probability p and scales the others by 1 / (1 - p).",
        |a| maybe_inplace(a.t(0), dropout(a.t(0), a.f(1), a.b(2), false)?, a.b(3)),
    );
    r.op(
        "f",
        "dropout(Tensor self, float p, bool train) -> Tensor",
        "Zeroes elements with probability p and scales the others by 1 / (1 - p).",
        |a| dropout(a.t(0), a.f(1), a.b(2), false).map(Ret::from),
    );
    for (schema, call) in [
        ("dropout1d(Tensor self, float p=0.5, bool training=True, bool inplace=False) -> Tensor", (|a| channels(a, 1)) as OpFn),
        ("dropout2d(Tensor self, float p=0.5, bool training=True, bool inplace=False) -> Tensor", |a| channels(a, 2)),
        ("dropout3d(Tensor self, float p=0.5, bool training=True, bool inplace=False) -> Tensor", |a| channels(a, 3)),
    ] {
        r.op("n", schema, "Zeroes whole channels.", call);
    }
    r.op("f", "feature_dropout(Tensor self, float p, bool train) -> Tensor", "Zeroes whole channels.", |a| {
        dropout(a.t(0), a.f(1), a.b(2), true).map(Ret::from)
    });
    r.op(
        "n",
        "alpha_dropout(Tensor self, float p=0.5, bool training=False, bool inplace=False) -> Tensor",
        "Dropout for SELU networks.",
        |a| maybe_inplace(a.t(0), alpha_dropout(a.t(0), a.f(1), a.b(2), false)?, a.b(3)),
    );
    r.op(
        "n",
        "feature_alpha_dropout(Tensor self, float p=0.5, bool training=False, bool inplace=False) -> Tensor",
        "alpha_dropout of whole channels.",
        |a| maybe_inplace(a.t(0), alpha_dropout(a.t(0), a.f(1), a.b(2), true)?, a.b(3)),
    );
    r.op("f", "alpha_dropout(Tensor self, float p, bool train) -> Tensor", "Dropout for SELU networks.", |a| {
        alpha_dropout(a.t(0), a.f(1), a.b(2), false).map(Ret::from)
    });
}
