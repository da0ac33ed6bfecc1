//! Scaled dot-product attention in float32 without storing the scores: shapes, strides and the gradient of the kernel.

use super::attention::{repeat_heads, weights};
use crate::autograd::{Grads, is_grad_enabled, needs_grad, record, save, save_output};
use crate::cpu::attention::{Attention, Backward, Head, Mask, Rows};
use crate::cpu::threads::SendPtr;
use crate::device::Device;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::gpu;
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
    Tensor::empty_strided(&shape, &strides, Dtype::F32, like.device())
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
        let here = q.device() == Device::Cpu || (gpu::holds(q) && e.max(ev) <= gpu::attention::WIDEST);
        if !here || k.shape()[nk - 1] != e || v.shape()[nv - 2] != s || k.device() != q.device() || v.device() != q.device() {
            return None;
        }
        let mut batch = Dims::new();
        broadcast_batch(&mut batch, &q.shape()[..nq - 2], 1)?;
        broadcast_batch(&mut batch, &k.shape()[..nk - 2], share[0])?;
        broadcast_batch(&mut batch, &v.shape()[..nv - 2], share[1])?;
        if let Some(m) = mask {
            if needs_grad(&[m]) || m.device() != q.device() {
                return None;
            }
            let mut whole = batch.clone();
            whole.extend([l, s]);
            m.layout().expand(&whole).ok()?;
        }
        (batch.iter().product::<usize>() * l * s * e * ev > 0).then_some(Plan { batch, l, s, e, ev })
    }
}

/// An operand (with its heads shared by `times`) for the kernel of a GPU: `[n, heads, rows, elements]`, rows contiguous.
fn four(t: &Tensor, batch: &[usize], times: usize) -> Result<Tensor> {
    let (own, lead) = (t.ndim() - 2, batch.len());
    let mut shape: Dims = Dims::from_slice(batch);
    // Heads that are shared stay as they are; one that serves all is stretched.
    if times > 1 && own > 0 {
        shape[lead - 1] /= times;
    }
    shape.extend_from_slice(&t.shape()[own..]);
    let wide = by_rows(&view::expand(&t.detach(), &shape)?)?;
    four_dims(&wide)
}

/// The dimensions before the last two as two.
fn four_dims(t: &Tensor) -> Result<Tensor> {
    let d = t.ndim();
    let (rows, elements) = (t.shape()[d - 2], t.shape()[d - 1]);
    Ok(match d {
        2 => view::unsqueeze(&view::unsqueeze(t, 0)?, 0)?,
        3 => view::unsqueeze(t, 0)?,
        4 => t.clone(),
        _ => view::reshape_to(t, &[t.shape()[..d - 3].iter().product(), t.shape()[d - 3], rows, elements])?,
    }
    .detach())
}

impl Plan {
    /// A fresh result of `[batch..., n, e]`, and the same with four dimensions.
    fn result(&self, like: &Tensor, n: usize, e: usize) -> Result<(Tensor, Tensor)> {
        let out = if self.batch.len() <= 2 {
            result(like, &self.batch, n, e)?
        } else {
            let mut shape = self.batch.clone();
            shape.extend([n, e]);
            Tensor::empty(&shape, Dtype::F32, like.device())?
        };
        let four = four_dims(&out)?;
        Ok((out, four))
    }

    fn on_gpu(&self, ask: &Query) -> Result<gpu::attention::Attention> {
        let mask = match ask.mask {
            None => None,
            Some(m) => {
                let mut whole = self.batch.clone();
                whole.extend([self.l, self.s]);
                let m = if m.dtype() == Dtype::Bool { m.detach() } else { copy::to_dtype(&m.detach(), Dtype::F32)? };
                Some(four_dims(&view::expand(&m, &whole)?)?)
            }
        };
        Ok(gpu::attention::Attention {
            q: four(ask.q, &self.batch, 1)?,
            k: four(ask.k, &self.batch, ask.share[0])?,
            v: four(ask.v, &self.batch, ask.share[1])?,
            mask,
            causal: ask.causal,
            scale: ask.scale,
            share: ask.share,
        })
    }
}

/// The answer, and the logarithms of the sums of exponentials.
fn forward(ask: &Query, plan: Plan) -> Result<(Tensor, Tensor)> {
    if gpu::holds(ask.q) {
        let (out, four) = plan.result(ask.q, plan.l, plan.ev)?;
        let lse = plan.on_gpu(ask)?.forward(&four)?;
        return Ok((out, lse));
    }
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
    Ok((out, lse))
}

/// The answer of the kernel to operands in float32, `None` where it does not apply. Differentiable.
pub(super) fn fused(ask: Query) -> Result<Option<Tensor>> {
    let Some(plan) = ask.plan() else { return Ok(None) };
    let (out, lse) = forward(&ask, plan)?;
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
    if gpu::holds(ask.q) {
        return backward_on_gpu(ask, &plan, out, lse, g);
    }
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

fn backward_on_gpu(ask: &Query, plan: &Plan, out: &Tensor, lse: &Tensor, g: &Tensor) -> Result<Grads> {
    let kernel = plan.on_gpu(ask)?;
    let g = g.detach();
    let dot = reduce::sum(&mul(&out.detach(), &g)?, Some(&[-1]), false, None)?;
    let (dq, to) = plan.result(ask.q, plan.l, plan.e)?;
    let (dk, dv) = kernel.backward(&four(&g, &plan.batch, 1)?, lse, &copy::contiguous(&dot)?, &to)?;
    let batched = |t: &Tensor, e: usize| -> Result<Tensor> {
        let mut shape = plan.batch.clone();
        shape.extend([plan.s, e]);
        view::reshape_to(t, &shape)
    };
    Ok(smallvec![
        Some(shared_sum(&dq, ask.q, 1)?),
        Some(shared_sum(&batched(&dk, plan.e)?, ask.k, ask.share[0])?),
        Some(shared_sum(&batched(&dv, plan.ev)?, ask.v, ask.share[1])?)
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
