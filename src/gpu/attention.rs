//! Scaled dot-product attention by blocks, forward and backward.

use super::Call;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::tensor::Tensor;

/// Elements that a query, key or value may have.
pub const WIDEST: usize = 256;

/// Queries and keys in a block.
const BLOCK: usize = 64;

/// The operands: `[n, heads, rows, elements]`, elements contiguous; `share` query heads have a head of keys (of values).
pub struct Attention {
    pub q: Tensor,
    pub k: Tensor,
    pub v: Tensor,
    /// `[n, heads, queries, keys]`, bool or float32.
    pub mask: Option<Tensor>,
    pub causal: bool,
    pub scale: f64,
    pub share: [usize; 2],
}

/// Strides of batch, heads and rows.
fn strides(t: &Tensor) -> [u32; 3] {
    std::array::from_fn(|d| t.strides()[d] as u32)
}

impl Attention {
    fn heads(&self) -> usize {
        self.q.shape()[0] * self.q.shape()[1]
    }

    fn sizes(&self) -> [usize; 4] {
        [self.q.shape()[2], self.k.shape()[2], self.q.shape()[3], self.v.shape()[3]]
    }

    /// How wide the sums of a kernel are.
    fn wide(&self) -> &'static str {
        let [.., e, ev] = self.sizes();
        match e.max(ev) {
            0..=64 => "64",
            65..=128 => "128",
            _ => "256",
        }
    }

    /// What stands for a mask that is not there is not read.
    fn mask(&self) -> &Tensor {
        self.mask.as_ref().unwrap_or(&self.q)
    }

    fn params(&self, blocks: usize, out: &Tensor) -> Vec<u32> {
        let [l, s, e, ev] = self.sizes();
        let kind = match &self.mask {
            _ if self.causal => 1,
            None => 0,
            Some(m) if m.dtype() == Dtype::Bool => 2,
            Some(_) => 3,
        };
        let mut p: Vec<u32> = [l, s, e, ev, self.q.shape()[1], blocks].map(|v| v as u32).into();
        p.extend([(self.scale as f32).to_bits(), kind, self.share[0] as u32, self.share[1] as u32]);
        [&self.q, &self.k, &self.v].iter().for_each(|t| p.extend(strides(t)));
        p.extend(self.mask().strides().iter().map(|&s| s as u32));
        p.extend(strides(out));
        p
    }

    /// Writes the answer into `out`; the logarithms of the sums of exponentials of all queries.
    pub fn forward(&self, out: &Tensor) -> Result<Tensor> {
        let l = self.sizes()[0];
        let lse = Tensor::empty(&[self.heads() * l], Dtype::F32, out.device())?;
        let blocks = l.div_ceil(BLOCK);
        let tensors = [&self.q, &self.k, &self.v, self.mask(), out, &lse];
        let params = self.params(blocks, out);
        let choice = [("WIDE", self.wide())];
        Call { name: "attention", tensors: &tensors, params: &params, choice: &choice, n: blocks * self.heads() }.run()?;
        Ok(lse)
    }

    /// The gradients of keys and values for every query head, flat; that of the queries is written into `dq`. `dot` has the
    /// products of each answer and its gradient.
    pub fn backward(&self, grad: &Tensor, lse: &Tensor, dot: &Tensor, dq: &Tensor) -> Result<(Tensor, Tensor)> {
        let [l, s, e, ev] = self.sizes();
        let heads = self.heads();
        let choice = [("WIDE", self.wide())];
        let with_grad = |blocks: usize| {
            let mut p = self.params(blocks, dq);
            p.extend(strides(grad));
            p
        };
        let blocks = l.div_ceil(BLOCK);
        let tensors = [&self.q, &self.k, &self.v, self.mask(), grad, lse, dot, dq];
        let params = with_grad(blocks);
        Call { name: "attention_backward_q", tensors: &tensors, params: &params, choice: &choice, n: blocks * heads }.run()?;
        let dk = Tensor::empty(&[heads * s * e], Dtype::F32, grad.device())?;
        let dv = Tensor::empty(&[heads * s * ev], Dtype::F32, grad.device())?;
        let blocks = s.div_ceil(BLOCK);
        let tensors = [&self.q, &self.k, &self.v, self.mask(), grad, lse, dot, &dk, &dv];
        let params = with_grad(blocks);
        Call { name: "attention_backward_kv", tensors: &tensors, params: &params, choice: &choice, n: blocks * heads }.run()?;
        Ok((dk, dv))
    }
}
