//! searchsorted, bucketize, isin.

use super::order_along;
use crate::cpu::threads::{SendPtr, parallel_for};
use crate::dtype::{Dtype, Scalar};
use crate::error::Result;
use crate::expr::Operand;
use crate::gpu;
use crate::layout::show;
use crate::ops::reduce::tools::*;
use crate::ops::{Registry, Ret, copy};
use crate::tensor::Tensor;
use crate::{bail, ensure};

/// How many of `n` sorted values come before `v`: those less, or with `right` those not greater. A NaN
/// comes after everything.
fn position<T: Real>(n: usize, at: impl Fn(usize) -> T, v: T, right: bool) -> usize {
    let (mut low, mut high) = (0, n);
    while low < high {
        let mid = low + (high - low) / 2;
        let stop = if right { at(mid) > v } else { at(mid) >= v };
        if stop { high = mid } else { low = mid + 1 }
    }
    low
}

/// A number as a 0-d tensor.
fn as_tensor(o: Operand) -> Tensor {
    match o {
        Operand::T(t) => t.detach(),
        Operand::S(s) => Tensor::scalar(s, s.dtype()),
    }
}

fn searchsorted(
    seq: &Tensor,
    values: Operand,
    int32: bool,
    right: bool,
    side: Option<&str>,
    sorter: Option<&Tensor>,
) -> Result<Tensor> {
    const NAME: &str = "torch.searchsorted()";
    let is_number = matches!(values, Operand::S(_));
    let v = as_tensor(values);
    ensure!(
        !seq.dtype().is_complex() && !v.dtype().is_complex(),
        NotImplemented,
        "\"searchsorted_out_cpu\" not implemented for 'ComplexFloat'"
    );
    seq.check_memory("searchsorted")?;
    v.check_memory("searchsorted")?;
    let right = match side {
        None => right,
        Some("right") => true,
        Some("left") => {
            ensure!(!right, Runtime, "{NAME}: side and right can't be set to opposites, got side of left while right was True");
            false
        }
        Some(s) => bail!(Runtime, "{NAME}: side can only be 'left' or 'right' but got {s}"),
    };
    ensure!(seq.ndim() > 0, Runtime, "{NAME}: boundaries tensor should have positive dimension, but got 0 dimension");
    if v.ndim() == 0 && v.numel() == 1 {
        ensure!(
            seq.ndim() == 1 || !is_number && seq.ndim() == 1,
            Runtime,
            "{NAME}: input value can be a scalar only when boundaries tensor dimension is 1, but we got boundaries tensor dim({}) and input value's dim(0) numel(1)",
            seq.ndim()
        );
    }
    let matching = seq.ndim() == v.ndim() && seq.ndim() > 0 && seq.shape()[..seq.ndim() - 1] == v.shape()[..v.ndim() - 1];
    ensure!(
        seq.ndim() == 1 || matching,
        Runtime,
        "{NAME}: boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor and input value tensor must match, but we got boundaries tensor {} and input value tensor {}",
        show(seq.shape()),
        show(v.shape())
    );
    let n = seq.shape()[seq.ndim() - 1];
    ensure!(
        !int32 || n < i32::MAX as usize,
        Runtime,
        "{NAME}: the size of boundaries' last dimension should be less than {}, but we got {n}",
        i32::MAX
    );
    let sorter = match sorter {
        None => None,
        Some(s) => {
            ensure!(
                s.shape() == seq.shape(),
                Runtime,
                "{NAME}: boundary and sorter must have the same size, but got boundary tensor {}and got sorter tensor {}",
                show(seq.shape()),
                show(s.shape())
            );
            ensure!(
                s.dtype() == Dtype::I64,
                Runtime,
                "{NAME}: sorter must be a tensor of long dtype but got dtype {}",
                s.dtype().scalar_name()
            );
            s.check_memory("searchsorted")?;
            let s = copy::contiguous(&s.detach())?;
            ensure!(
                gpu::holds(&s) || s.data::<i64>().iter().all(|&i| i >= 0 && (i as usize) < n),
                Runtime,
                "{NAME}: sorter index out of range"
            );
            Some(s)
        }
    };
    let common = wide_dtype(seq.dtype().promote(v.dtype()));
    let (b, v) = (copy::contiguous(&copy::to_dtype(&seq.detach(), common)?)?, copy::contiguous(&copy::to_dtype(&v, common)?)?);
    if gpu::holds(seq) {
        // A number lies on the CPU.
        let v = copy::to_device(&v, seq.device())?;
        let each = (seq.ndim() != 1).then(|| v.shape()[v.ndim() - 1]);
        let out = gpu::sort::searchsorted(&b, sorter.as_ref(), &v, each, right)?;
        return if int32 { copy::to_dtype(&out, Dtype::I32) } else { Ok(out) };
    }
    let out = Tensor::empty(v.shape(), Dtype::I64, v.device())?;
    let per_row = if seq.ndim() == 1 { v.numel() } else { v.shape()[v.ndim() - 1] };
    kernel!(common, T => {
        let (b, v) = (b.data::<T>(), v.data::<T>());
        let order = sorter.as_ref().map(|s| s.data::<i64>());
        let to = SendPtr(out.data_mut::<i64>().as_mut_ptr());
        parallel_for(v.len(), 1024, |range| {
            for i in range {
                let start = if per_row == v.len() { 0 } else { i / per_row * n };
                let row = &b[start..start + n];
                let p = match order {
                    Some(o) => position(n, |k| row[o[start + k] as usize], v[i], right),
                    None => position(n, |k| row[k], v[i], right),
                };
                // SAFETY: result `i` belongs to this piece.
                unsafe { *to.get().add(i) = p as i64 };
            }
        });
    });
    if int32 { copy::to_dtype(&out, Dtype::I32) } else { Ok(out) }
}

fn bucketize(values: Operand, bounds: &Tensor, int32: bool, right: bool) -> Result<Tensor> {
    ensure!(bounds.ndim() == 1, Runtime, "boundaries tensor must be 1 dimension, but got dim({})", bounds.ndim());
    searchsorted(bounds, values, int32, right, None, None)
}

/// Which elements are among the test elements.
fn isin(elements: Operand, test: Operand, invert: bool) -> Result<Tensor> {
    let (e, t) = (as_tensor(elements), as_tensor(test));
    ensure!(
        !e.dtype().is_complex() && !t.dtype().is_complex(),
        Runtime,
        "Unsupported input type encountered for isin(): {}",
        if e.dtype().is_complex() { e.dtype().scalar_name() } else { t.dtype().scalar_name() }
    );
    e.check_memory("isin")?;
    t.check_memory("isin")?;
    let common = wide_dtype(e.dtype().promote(t.dtype()));
    if gpu::holds(&e) || gpu::holds(&t) {
        // A number lies on the CPU.
        let device = if gpu::holds(&e) { e.device() } else { t.device() };
        let common = |t: &Tensor| copy::to_device(&copy::to_dtype(t, common)?, device);
        return gpu::sort::isin(&common(&e)?, &common(&t)?, invert);
    }
    let (e, t) = (copy::contiguous(&copy::to_dtype(&e, common)?)?, copy::to_dtype(&t, common)?);
    let t = reshaped(&t, &[t.numel()])?;
    let sorted = gather_along(&t, &order_along(&t, 0, false)?, 0)?;
    let out = Tensor::empty(e.shape(), Dtype::Bool, e.device())?;
    kernel!(common, T => {
        let (e, t) = (e.data::<T>(), sorted.data::<T>());
        // NaNs come last and equal nothing.
        let t = &t[..t.partition_point(|v| !v.nan())];
        for (o, &v) in out.data_mut::<u8>().iter_mut().zip(e) {
            let p = position(t.len(), |k| t[k], v, false);
            *o = (t.get(p).is_some_and(|&x| x == v) != invert) as u8;
        }
    });
    Ok(out)
}

pub fn register(r: &mut Registry) {
    r.op(
        "f",
        "searchsorted(Tensor sorted_sequence, Operand self, *, bool out_int32=False, bool right=False, str? side=None, Tensor? sorter=None) -> Tensor",
        "Where elements belong in a sorted sequence.",
        |a| searchsorted(a.t(0), a.operand(1).unwrap_or(Operand::S(Scalar::Int(0))), a.b(2), a.b(3), a.os(4), a.ot(5)).map(Ret::from),
    );
    r.op(
        "f",
        "bucketize(Operand self, Tensor boundaries, *, bool out_int32=False, bool right=False) -> Tensor",
        "Which bucket elements fall into.",
        |a| bucketize(a.operand(0).unwrap_or(Operand::S(Scalar::Int(0))), a.t(1), a.b(2), a.b(3)).map(Ret::from),
    );
    let doc = "Whether elements are among the test elements.";
    r.op(
        "f",
        "isin(Tensor elements, Tensor test_elements, *, bool assume_unique=False, bool invert=False) -> Tensor",
        doc,
        |a| isin(Operand::T(a.t(0).clone()), Operand::T(a.t(1).clone()), a.b(3)).map(Ret::from),
    );
    r.op("f", "isin(Scalar element, Tensor test_elements, *, bool assume_unique=False, bool invert=False) -> Tensor", doc, |a| {
        isin(Operand::S(a.sc(0)), Operand::T(a.t(1).clone()), a.b(3)).map(Ret::from)
    });
    r.op("f", "isin(Tensor elements, Scalar test_element, *, bool assume_unique=False, bool invert=False) -> Tensor", doc, |a| {
        isin(Operand::T(a.t(0).clone()), Operand::S(a.sc(1)), a.b(3)).map(Ret::from)
    });
}
