//! Scaled dot-product attention: what it accepts, and the way of products and a softmax.

use super::flash::{Query, fused};
use crate::dtype::{B8, Dtype};
use crate::error::Result;
use crate::expr::Operand;
use crate::ops::elementwise::{MUL, WHERE, add};
use crate::ops::matmul::matmul;
use crate::ops::norm::num::ops;
use crate::ops::norm::softmax::{safe_softmax, softmax};
use crate::ops::{Registry, Ret, copy, view};
use crate::tensor::Tensor;
use crate::{bail, ensure};

fn check(q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>, p: f64, causal: bool) -> Result<()> {
    ensure!(
        q.dtype() == k.dtype() && q.dtype() == v.dtype(),
        Runtime,
        "Expected query, key, and value to have the same dtype, but got query.dtype: {} key.dtype: {} and value.dtype: {} instead.",
        q.dtype().cpp_name(),
        k.dtype().cpp_name(),
        v.dtype().cpp_name()
    );
    ensure!(
        q.ndim() >= 2 && k.ndim() >= 2 && v.ndim() >= 2,
        Runtime,
        "Expected query, key, and value to all be  at least 2 dimensional, but got query.dim: {} key.dim: {} and value.dim: {} instead.",
        q.ndim(),
        k.ndim(),
        v.ndim()
    );
    ensure!(
        q.dtype().is_float(),
        NotImplemented,
        "\"scaled_dot_product_attention\" not implemented for '{}'",
        q.dtype().scalar_name()
    );
    if let Some(m) = mask {
        ensure!(
            m.dtype() == Dtype::Bool || m.dtype() == Dtype::F32 || m.dtype() == q.dtype(),
            Runtime,
            "Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype: {} and  query.dtype: {} instead.",
            m.dtype().cpp_name(),
            q.dtype().cpp_name()
        );
        ensure!(!causal, Runtime, "_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True");
        ensure!(m.ndim() >= 1, Runtime, "Expected attn_mask to have at least 1 dimension");
    }
    ensure!((0.0..=1.0).contains(&p), Runtime, "dropout probability has to be between 0 and 1, but got {p}");
    Ok(())
}

/// Every head of keys or values, repeated for the query heads that share it.
pub(super) fn repeat_heads(x: &Tensor, times: usize) -> Result<Tensor> {
    if times == 1 {
        return Ok(x.clone());
    }
    let d = x.ndim();
    let mut shape = x.dims();
    shape.insert(d - 2, times);
    let wide = view::expand(&view::unsqueeze(x, d as i64 - 2)?, &shape)?;
    let mut flat = x.dims();
    flat[d - 3] *= times;
    view::reshape_to(&wide, &flat)
}

/// Row `i` may look at columns up to `i`.
fn causal_mask(rows: usize, cols: usize) -> Result<Tensor> {
    let m = Tensor::zeros(&[rows, cols], Dtype::Bool, crate::device::Device::Cpu)?;
    if cols > 0 {
        for (i, row) in m.data_mut::<B8>().chunks_exact_mut(cols).enumerate() {
            row[..(i + 1).min(cols)].fill(B8(1));
        }
    }
    Ok(m)
}

/// `softmax(q k^T scale + mask)`. Differentiable.
pub(super) fn weights(q: &Tensor, k: &Tensor, mask: Option<&Tensor>, causal: bool, scale: f64) -> Result<Tensor> {
    // Both sides get the root of the factor, so that the products stay small in half precision.
    let root = scale.abs().sqrt();
    let q = ops(&MUL, q, root.copysign(scale))?;
    let k = ops(&MUL, k, root)?;
    let scores = matmul(&q, &view::transpose(&k, -2, -1)?)?;
    let causal = if causal {
        let m = causal_mask(scores.shape()[scores.ndim() - 2], scores.shape()[scores.ndim() - 1])?;
        Some(copy::to_device(&m, scores.device())?)
    } else {
        None
    };
    match causal.as_ref().or(mask) {
        None => softmax(&scores, -1, None),
        Some(m) if m.dtype() == Dtype::Bool => {
            let hidden = Operand::S(f64::NEG_INFINITY.into());
            safe_softmax(&WHERE.call(&[Operand::T(m.clone()), Operand::T(scores), hidden], &[], None)?, -1)
        }
        Some(m) => safe_softmax(&add(&scores, &copy::to_dtype(m, scores.dtype())?)?, -1),
    }
}

/// `softmax(q k^T scale + mask) v`. Differentiable.
#[allow(clippy::too_many_arguments)]
pub fn scaled_dot_product_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: Option<&Tensor>,
    p: f64,
    causal: bool,
    scale: Option<f64>,
    gqa: bool,
) -> Result<Tensor> {
    check(q, k, v, mask, p, causal)?;
    let mut share = [1, 1];
    if gqa {
        ensure!(q.ndim() >= 3 && k.ndim() >= 3 && v.ndim() >= 3, Runtime, "enable_gqa needs a dimension for heads");
        let heads = q.shape()[q.ndim() - 3];
        let (hk, hv) = (k.shape()[k.ndim() - 3], v.shape()[v.ndim() - 3]);
        if hk == 0 || hv == 0 || heads % hk != 0 || heads % hv != 0 {
            bail!(Runtime, "Number of heads in key and value must divide the number of heads in query");
        }
        share = [heads / hk, heads / hv];
    }
    let e = q.shape()[q.ndim() - 1];
    let scale = scale.unwrap_or_else(|| 1.0 / (e as f64).sqrt());
    if p == 0.0 && q.dtype() != Dtype::F64 {
        // Half precision is read and written as such, and computed in float32.
        let single = |t: &Tensor| copy::to_dtype(t, Dtype::F32);
        let (q32, k32, v32) = (single(q)?, single(k)?, single(v)?);
        if let Some(out) = fused(Query { q: &q32, k: &k32, v: &v32, mask, causal, scale, share })? {
            return copy::to_dtype(&out, q.dtype());
        }
    }
    let (k, v) = (repeat_heads(k, share[0])?, repeat_heads(v, share[1])?);
    let weights = weights(q, &k, mask, causal, scale)?;
    let weights = if p > 0.0 { crate::ops::random::dropout(&weights, p, true, false)? } else { weights };
    matmul(&weights, &v)
}

pub(super) fn register(r: &mut Registry) {
    r.op(
        "n",
        "scaled_dot_product_attention(Tensor query, Tensor key, Tensor value, Tensor? attn_mask=None, float dropout_p=0.0, bool is_causal=False, *, float? scale=None, bool enable_gqa=False) -> Tensor",
        "softmax(query key^T scale + attn_mask) value.",
        |a| scaled_dot_product_attention(a.t(0), a.t(1), a.t(2), a.ot(3), a.f(4), a.b(5), a.of(6), a.b(7)).map(Ret::from),
    );
}
