//! Padding: with a number, by reflection, by the edge, around the other end.

use super::arrange::pick;
use crate::autograd::record;
use crate::dtype::Scalar;
use crate::error::Result;
use crate::layout::{Dims, show};
use crate::ops::index::{fill_value, lanes};
use crate::ops::{Registry, copy, view};
use crate::tensor::Tensor;
use crate::{bail, ensure};
use smallvec::smallvec;
use std::sync::Arc;

/// Pads (or, where negative, cuts) with a number; pairs from the last dimension on. Differentiable.
pub fn constant_pad_nd(x: &Tensor, pad: &[i64], value: Scalar) -> Result<Tensor> {
    ensure!(pad.len().is_multiple_of(2), Runtime, "Length of pad must be even but instead it equals {}", pad.len());
    ensure!(
        pad.len() / 2 <= x.ndim(),
        Runtime,
        "Length of pad should be no more than twice the number of dimensions of the input. Pad length is {} while the input has {} dimensions.",
        pad.len(),
        x.ndim()
    );
    let mut shape = Dims::new();
    // Where the input is cut, and where it goes.
    let (mut from, mut to) = (x.detach(), Vec::new());
    for d in 0..x.ndim() {
        let k = x.ndim() - 1 - d;
        let (before, after) = if 2 * k < pad.len() { (pad[2 * k], pad[2 * k + 1]) } else { (0, 0) };
        let n = x.shape()[d] as i64;
        let new = n.checked_add(before).and_then(|v| v.checked_add(after));
        let Some(new) = new else { bail!(Runtime, "constant_pad_nd: size overflow") };
        ensure!(
            new >= 0,
            Runtime,
            "The input size {n}, plus negative padding {before} and {after} resulted in a negative output size, which is invalid. Check dimension {d} of your input."
        );
        shape.push(new as usize);
        let (start, end) = ((-before).clamp(0, n), n - (-after).clamp(0, n));
        let len = (end - start).max(0);
        from = view::narrow(&from, d as i64, start.min(n - len), len)?;
        to.push((before.max(0).min(new - len), len));
    }
    let out = Tensor::empty(&shape, x.dtype(), x.device())?;
    lanes::fill(&out, &fill_value(value, x.dtype())?)?;
    if from.numel() > 0 {
        let mut slot = out.detach();
        for (d, (start, len)) in to.into_iter().enumerate() {
            slot = view::narrow(&slot, d as i64, start, len)?;
        }
        copy::copy_raw(&slot.detach(), &from.detach())?;
    }
    let back: Vec<i64> = pad.iter().map(|p| p.saturating_neg()).collect();
    Ok(record("ConstantPadNdBackward0", &[x], out, move |_, g| Ok(smallvec![Some(constant_pad_nd(g, &back, Scalar::Int(0))?)])))
}

/// For each result index the input index it copies; a function of the padded dimension.
fn sources(mode: &str, n: usize, before: i64, after: i64) -> Option<Vec<usize>> {
    let total = (n as i64).checked_add(before)?.checked_add(after)?;
    // Circular padding cuts first and wraps what is left.
    let (n, cut) = match mode {
        "circular" => (n as i64 + before.min(0) + after.min(0), -before.min(0)),
        _ => (n as i64, 0),
    };
    if total < 0 || (n <= 0 && total > 0) {
        return None;
    }
    (0..total)
        .map(|j| {
            let i = j - before;
            let i = match mode {
                "reflect" if i < 0 => -i,
                "reflect" if i >= n => 2 * (n - 1) - i,
                "replicate" => i.clamp(0, n - 1),
                "circular" => (j - before.max(0)).rem_euclid(n),
                _ => i,
            };
            (0..n).contains(&i).then_some((i + cut) as usize)
        })
        .collect()
}

/// Padding by a mode other than a constant: 1, 2 or 3 last dimensions. Differentiable.
fn pad_mode(x: &Tensor, pad: &[i64], mode: &str) -> Result<Tensor> {
    let dims = pad.len() / 2;
    let nd = x.ndim();
    let fits = match dims {
        1 => nd == 2 || nd == 3,
        2 => nd == 3 || nd == 4,
        3 => nd == 4 || nd == 5,
        _ => false,
    };
    ensure!(
        fits || !(2..=5).contains(&nd),
        NotImplemented,
        "Padding size {} is not supported for {nd}D input tensor.",
        pad.len()
    );
    ensure!(fits, NotImplemented, "Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now");
    // Spatial sizes must not be 0; the batch may be.
    let bad = (nd - dims..nd).any(|d| x.shape()[d] == 0) || (mode != "circular" && nd == dims + 2 && x.shape()[1] == 0);
    ensure!(
        !bad,
        Runtime,
        "Expected {}D or {}D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for input, but got: {}",
        dims + 1,
        dims + 2,
        show(x.shape())
    );
    let mut lists = vec![None; nd];
    for k in 0..dims {
        let d = nd - 1 - k;
        let (n, before, after) = (x.shape()[d], pad[2 * k], pad[2 * k + 1]);
        match mode {
            "reflect" => ensure!(
                before < n as i64 && after < n as i64,
                Runtime,
                "Argument #{}: Padding size should be less than the corresponding input dimension, but got: padding ({before}, {after}) at dimension {d} of input {}",
                4 + 2 * k,
                show(x.shape())
            ),
            "circular" => {
                ensure!(before <= n as i64 && after <= n as i64, Runtime, "Padding value causes wrapping around more than once.");
                ensure!(
                    n as i64 + before.saturating_add(after) >= 0,
                    Runtime,
                    "Negative padding value is resulting in an empty dimension"
                );
            }
            _ => {}
        }
        let Some(list) = sources(mode, n, before, after).filter(|l| !l.is_empty() || mode == "circular") else {
            let axis = ["W", "H", "D"][k];
            let out = (n as i64).saturating_add(before).saturating_add(after);
            bail!(Runtime, "input ({axis}: {n}) is too small. Calculated output {axis}: {out}");
        };
        lists[d] = (before != 0 || after != 0).then_some(list);
    }
    let name = match (mode, dims) {
        ("reflect", 1) => "ReflectionPad1DBackward0",
        ("reflect", 2) => "ReflectionPad2DBackward0",
        ("reflect", _) => "ReflectionPad3DBackward0",
        ("replicate", 1) => "ReplicationPad1DBackward0",
        ("replicate", 2) => "ReplicationPad2DBackward0",
        ("replicate", _) => "ReplicationPad3DBackward0",
        _ => "CopySlices",
    };
    pick(x, &Arc::new(lists), name)
}

/// `torch.nn.functional.pad`
pub fn pad(x: &Tensor, pad: &[i64], mode: &str, value: Option<f64>) -> Result<Tensor> {
    ensure!(pad.len().is_multiple_of(2), Runtime, "Padding length must be divisible by 2");
    ensure!(
        pad.len() <= 2 * x.ndim(),
        Runtime,
        "Padding length should be less than or equal to two times the input dimension but got padding length {} and input of dimension {}",
        pad.len(),
        x.ndim()
    );
    match mode {
        "constant" => constant_pad_nd(x, pad, Scalar::Float(value.unwrap_or(0.0))),
        "reflect" | "replicate" | "circular" => {
            ensure!(value.is_none_or(|v| v == 0.0), Runtime, "Padding mode \"{mode}\" doesn't take in value argument");
            pad_mode(x, pad, mode)
        }
        _ => bail!(NotImplemented, "Unrecognised padding mode {mode}"),
    }
}

pub(super) fn register(r: &mut Registry) {
    r.op("f", "constant_pad_nd(Tensor self, int[] pad, Scalar value=0) -> Tensor", "Padding with a number.", |a| {
        constant_pad_nd(a.t(0), a.ints(1), a.sc(2)).map(Into::into)
    });
    r.op(
        "n",
        "pad(Tensor self, int[] pad, str mode='constant', float? value=None) -> Tensor",
        "Padding of the last dimensions.",
        |a| pad(a.t(0), a.ints(1), a.s(2), a.of(3)).map(Into::into),
    );
}
