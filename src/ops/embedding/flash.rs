//! Scaled dot-product attention in float32 without storing the scores: shapes, strides and the gradient of the kernel.

use super::attention::{repeat_heads, weights};
use crate::autograd::{Grads, is_grad_enabled, needs_grad, record, save, save_output};
use crate::cpu::attention::{Attention, Backward, Head, Mask, Rows};
use crate::cpu::threads::SendPtr;
use crate::device::Device;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::layout::Dims;
use crate::ops::elementwise::{MUL, mul, sub};
use crate::ops::norm::num::ops;
use crate::ops::{copy, reduce, view};
use crate::tensor::Tensor;
use smallvec::{SmallVec, smallvec};

/// The question: operands as given, and how many query heads share a head of keys and of values.
#[derive(Clone, Copy)]
pub(super) struct Query<'a> {
    pub q: &'a Tensor,
    pub k: &'a Tensor,
    pub v: &'a Tensor,
    pub mask: Option<&'a Tensor>,
    pub causal: bool,
    pub scale: f64,
    pub share: [usize; 2],
}

/// The dimensions before the last two, broadcast against `batch` (`None`: they do not fit).
fn broadcast_batch(batch: &mut Dims, dims: &[usize], times: usize) -> Option<()> {
    let mut own: Dims = Dims::from_slice(dims);
    if let Some(heads) = own.last_mut() {
        *heads *= times;
    }
    while batch.len() < own.len() {
        batch.insert(0, 1);
    }
    let skip = batch.len() - own.len();
    for (b, &o) in batch[skip..].iter_mut().zip(&own) {
        match (*b, o) {
            (a, b) if a == b => {}
            (_, 1) => {}
            (1, o) => *b = o,
            _ => return None,
        }
    }
    Some(())
}

/// Offsets of every matrix of `t`, whose heads are shared by `times`, in the order of `batch`.
fn offsets(t: &Tensor, batch: &[usize], times: usize, keep: usize) -> Vec<isize> {
    let own = t.ndim() - keep;
    let (shape, strides) = (&t.shape()[..own], &t.strides()[..own]);
    let mut out = vec![0isize];
    for (d, &n) in batch.iter().enumerate() {
        let (step, share) = match (d + own).checked_sub(batch.len()) {
            Some(k) if shape[k] * if k + 1 == own { times } else { 1 } != 1 => (strides[k], if k + 1 == own { times } else { 1 }),
            _ => (0, 1),
        };
        out = out.iter().flat_map(|&o| (0..n).map(move |i| o + (i / share) as isize * step)).collect();
    }
    out
}

/// Elements of a row contiguous.
fn by_rows(t: &Tensor) -> Result<Tensor> {
    let d = t.ndim();
    if t.strides()[d - 1] == 1 || t.shape()[d - 1] == 1 { Ok(t.clone()) } else { copy::contiguous(t) }
}

fn rows(t: &Tensor, write: bool) -> Rows {
    let ptr = if write { t.ptr_mut() } else { t.ptr().cast_mut() };
    Rows { ptr: SendPtr(ptr as *mut f32), rs: t.strides()[t.ndim() - 2] }
}

/// A tensor for a result of `[batch..., n, e]`, its dimensions in memory in the order of those of `like`, as PyTorch's kernel
/// makes it: where heads were split from the elements of a token, putting them side by side again is then free.
fn result(like: &Tensor, batch: &[usize], n: usize, e: usize) -> Result<Tensor> {
    let mut shape: Dims = Dims::from_slice(batch);
    shape.extend([n, e]);
    let lead = shape.len() - 1;
    let mut order: SmallVec<[usize; 6]> = (0..lead).collect();
    if like.ndim() == lead + 1 && like.shape()[..lead] == shape[..lead] {
        order.sort_by_key(|&d| std::cmp::Reverse(like.strides()[d]));
    }
    let mut strides: SmallVec<[isize; 6]> = smallvec![1; lead + 1];
    let mut step = e as isize;
    for &d in order.iter().rev() {
        strides[d] = step;
        step *= shape[d] as isize;
    }
    Tensor::empty_strided(&shape, &strides, Dtype::F32, Device::Cpu)
}

/// The shapes of a question that the kernel answers.
struct Plan {
    batch: Dims,
    l: usize,
    s: usize,
    e: usize,
    ev: usize,
}

impl Query<'_> {
    /// `None` where the kernel does not apply.
    fn plan(&self) -> Option<Plan> {
        let Query { q, k, v, mask, share, .. } = *self;
        let (nq, nk, nv) = (q.ndim(), k.ndim(), v.ndim());
        let (l, e, s, ev) = (q.shape()[nq - 2], q.shape()[nq - 1], k.shape()[nk - 2], v.shape()[nv - 1]);
        if k.shape()[nk - 1] != e || v.shape()[nv - 2] != s || [q, k, v].iter().any(|t| t.device() != Device::Cpu) {
            return None;
        }
        let mut batch = Dims::new();
        broadcast_batch(&mut batch, &q.shape()[..nq - 2], 1)?;
        broadcast_batch(&mut batch, &k.shape()[..nk - 2], share[0])?;
        broadcast_batch(&mut batch, &v.shape()[..nv - 2], share[1])?;
        if let Some(m) = mask {
            if needs_grad(&[m]) || m.device() != Device::Cpu {
                return None;
            }
            let mut whole = batch.clone();
            whole.extend([l, s]);
            m.layout().expand(&whole).ok()?;
        }
        (batch.iter().product::<usize>() * l * s * e * ev > 0).then_some(Plan { batch, l, s, e, ev })
    }
}

/// The answer of the kernel to operands in float32, `None` where it does not apply. Differentiable.
pub(super) fn fused(ask: Query) -> Result<Option<Tensor>> {
    let Some(plan) = ask.plan() else { return Ok(None) };
    let (q, k, v) = (by_rows(&ask.q.detach())?, by_rows(&ask.k.detach())?, by_rows(&ask.v.detach())?);
    let mask = match ask.mask {
        Some(m) if m.dtype() != Dtype::Bool => Some(copy::to_dtype(&m.detach(), Dtype::F32)?),
        m => m.map(Tensor::detach),
    };
    let kernel = Kernel { plan, q, k, v, mask, causal: ask.causal, scale: ask.scale, share: ask.share };
    let out = result(ask.q, &kernel.plan.batch, kernel.plan.l, kernel.plan.ev)?;
    let heads = kernel.plan.batch.iter().product::<usize>();
    let lse = Tensor::empty(&[heads * kernel.plan.l], Dtype::F32, Device::Cpu)?;
    kernel.with(&out, None, |a| {
        // SAFETY: strides and offsets are those of the tensors; results are fresh memory.
        unsafe { a.forward(rows(&out, true), SendPtr(lse.ptr_mut() as *mut f32)) }
    });
    let saved = [ask.q, ask.k, ask.v].map(save);
    let saved_mask = ask.mask.map(save);
    let saved_out = save_output(&out, 0);
    let (causal, scale, share) = (ask.causal, ask.scale, ask.share);
    let name = "ScaledDotProductFlashAttentionForCpuBackward0";
    Ok(Some(record(name, &[ask.q, ask.k, ask.v], out, move |ctx, g| {
        let [q, k, v] = [saved[0].get(ctx)?, saved[1].get(ctx)?, saved[2].get(ctx)?];
        let mask = saved_mask.as_ref().map(|m| m.get(ctx)).transpose()?;
        let ask = Query { q: &q, k: &k, v: &v, mask: mask.as_ref(), causal, scale, share };
        if is_grad_enabled() {
            return in_tensor_ops(&ask, g);
        }
        backward(&ask, &saved_out.get(ctx)?, &lse, g)
    })))
}

/// Operands ready for the kernel.
struct Kernel {
    plan: Plan,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Option<Tensor>,
    causal: bool,
    scale: f64,
    share: [usize; 2],
}

impl Kernel {
    /// Calls `f` with the problem; `out` and the gradients give the offsets of what is written.
    fn with(&self, out: &Tensor, grads: Option<[&Tensor; 4]>, f: impl FnOnce(&Attention)) {
        let Plan { ref batch, l, s, e, ev } = self.plan;
        let mut heads: Vec<Head> = vec![Head::default(); batch.iter().product()];
        let mut put = |t: &Tensor, times: usize, field: fn(&mut Head) -> &mut isize| {
            for (h, o) in heads.iter_mut().zip(offsets(t, batch, times, 2)) {
                *field(h) = o;
            }
        };
        put(&self.q, 1, |h| &mut h.q);
        put(&self.k, self.share[0], |h| &mut h.k);
        put(&self.v, self.share[1], |h| &mut h.v);
        put(out, 1, |h| &mut h.out);
        if let Some([g, dq, dk, dv]) = grads {
            put(g, 1, |h| &mut h.grad);
            put(dq, 1, |h| &mut h.dq);
            put(dk, 1, |h| &mut h.dk);
            put(dv, 1, |h| &mut h.dv);
        }
        let mut mask = if self.causal { Mask::Causal } else { Mask::None };
        if let Some(m) = &self.mask {
            let mut whole = batch.clone();
            whole.extend([l, s]);
            if let Ok(layout) = m.layout().expand(&whole) {
                let m = m.alias(layout);
                put(&m, 1, |h| &mut h.mask);
                let (rs, cs) = (m.strides()[batch.len()], m.strides()[batch.len() + 1]);
                let ptr = m.ptr().cast_mut();
                mask = if m.dtype() == Dtype::Bool {
                    Mask::Bool(SendPtr(ptr), rs, cs)
                } else {
                    Mask::Add(SendPtr(ptr as *mut f32), rs, cs)
                };
            }
        }
        let (q, k, v) = (rows(&self.q, false), rows(&self.k, false), rows(&self.v, false));
        f(&Attention { l, s, e, ev, scale: self.scale as f32, mask, heads: &heads, q, k, v });
    }
}

/// The gradients by the kernel.
fn backward(ask: &Query, out: &Tensor, lse: &Tensor, g: &Tensor) -> Result<Grads> {
    // The shapes were found fit in the forward pass.
    let Some(plan) = ask.plan() else { return in_tensor_ops(ask, g) };
    let (q, k, v, g) = (by_rows(&ask.q.detach())?, by_rows(&ask.k.detach())?, by_rows(&ask.v.detach())?, by_rows(&g.detach())?);
    let mask = match ask.mask {
        Some(m) if m.dtype() != Dtype::Bool => Some(copy::to_dtype(m, Dtype::F32)?),
        m => m.cloned(),
    };
    let dq = result(ask.q, &plan.batch, plan.l, plan.e)?;
    let dk = result(ask.k, &plan.batch, plan.s, plan.e)?;
    let dv = result(ask.v, &plan.batch, plan.s, plan.ev)?;
    let kernel = Kernel { plan, q, k, v, mask, causal: ask.causal, scale: ask.scale, share: ask.share };
    kernel.with(out, Some([&g, &dq, &dk, &dv]), |a| {
        let b = Backward {
            grad: rows(&g, false),
            out: rows(out, false),
            lse: SendPtr(lse.ptr().cast_mut() as *mut f32),
            dq: rows(&dq, true),
            dk: rows(&dk, true),
            dv: rows(&dv, true),
        };
        // SAFETY: strides and offsets are those of the tensors; results are fresh memory.
        unsafe { a.backward(&b) }
    });
    Ok(smallvec![
        Some(shared_sum(&dq, ask.q, 1)?),
        Some(shared_sum(&dk, ask.k, ask.share[0])?),
        Some(shared_sum(&dv, ask.v, ask.share[1])?)
    ])
}

/// The gradient of an operand whose heads were repeated and which was broadcast. Differentiable.
fn shared_sum(g: &Tensor, operand: &Tensor, times: usize) -> Result<Tensor> {
    let d = g.ndim();
    let g = if times == 1 {
        g.clone()
    } else {
        let heads = (g.shape()[d - 3] / times) as i64;
        let split = view::unflatten(g, d as i64 - 3, &[heads, times as i64])?;
        reduce::sum(&split, Some(&[d as i64 - 2]), false, None)?
    };
    reduce::sum_to(&g, operand.shape())
}

/// The gradients in tensor ops, which can be differentiated again.
fn in_tensor_ops(ask: &Query, g: &Tensor) -> Result<Grads> {
    use crate::ops::matmul::matmul;
    let t = |x: &Tensor| view::transpose(x, -2, -1);
    let (k, v) = (repeat_heads(ask.k, ask.share[0])?, repeat_heads(ask.v, ask.share[1])?);
    let w = weights(ask.q, &k, ask.mask, ask.causal, ask.scale)?;
    let dv = matmul(&t(&w)?, g)?;
    let dw = matmul(g, &t(&v)?)?;
    let total = reduce::sum(&mul(&dw, &w)?, Some(&[-1]), true, None)?;
    let ds = ops(&MUL, &mul(&w, &sub(&dw, &total)?)?, ask.scale)?;
    let dq = matmul(&ds, &k)?;
    let dk = matmul(&t(&ds)?, ask.q)?;
    Ok(smallvec![
        Some(reduce::sum_to(&dq, ask.q.shape())?),
        Some(shared_sum(&dk, ask.k, ask.share[0])?),
        Some(shared_sum(&dv, ask.v, ask.share[1])?)
    ])
}
