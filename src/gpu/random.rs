//! Random numbers by Philox 4x32-10.

use super::{Call, call, of, refuse};
use crate::dtype::Dtype;
use crate::error::Result;
use crate::ops::copy;
use crate::tensor::Tensor;

/// A part of a generator's stream: the seed, and the first block of four words.
#[derive(Clone, Copy, Debug)]
pub struct Stream {
    pub seed: u64,
    pub at: u64,
}

impl Stream {
    fn words(self) -> [u32; 4] {
        [self.seed as u32, (self.seed >> 32) as u32, self.at as u32, (self.at >> 32) as u32]
    }
}

/// Blocks that `n` elements take at four each.
pub fn blocks(n: usize) -> u64 {
    n.div_ceil(4) as u64
}

/// Fills a contiguous tensor by a distribution of the section `random_fill`, four elements a block.
pub fn fill(t: &Tensor, s: Stream, op: &'static str, a: u32, b: u32) -> Result<()> {
    // The numbers have the accuracy of float32.
    if t.dtype() == Dtype::F64 && op != "bernoulli" {
        return Err(refuse(crate::ops::current(), t.dtype(), of(t)?));
    }
    let round = match t.dtype() {
        Dtype::F16 => "f16",
        Dtype::BF16 => "bf16",
        _ => "none",
    };
    let [k0, k1, a0, a1] = s.words();
    let params = [k0, k1, a0, a1, t.numel() as u32, a, b];
    let choice = [("OP", op), ("ROUND", round)];
    Call { name: "random_fill", tensors: &[t], params: &params, choice: &choice, n: t.numel().div_ceil(4) }.run()
}

/// 1 with probability `p`, else 0.
pub fn bernoulli(t: &Tensor, s: Stream, p: f64) -> Result<()> {
    // How many of the 2^32 words mean a 1.
    let limit = (p * 4_294_967_296.0).round() as u64;
    fill(t, s, "bernoulli", limit.saturating_sub(1) as u32, if limit > 0 { 1f32.to_bits() } else { 0 })
}

/// Integers from `low` on, `span` of them (0 stands for 2^64). Whether four elements share a block depends on the numbers
/// alone: [`integer_blocks`].
pub fn integers(t: &Tensor, s: Stream, low: i64, span: u64) -> Result<()> {
    let [k0, k1, a0, a1] = s.words();
    if is_small(low, span) {
        let params = [k0, k1, a0, a1, t.numel() as u32, low as u32, span as u32];
        return call("random_integers", &[t], &params, t.numel().div_ceil(4));
    }
    if t.dtype() != Dtype::I64 {
        let wide = Tensor::empty(t.shape(), Dtype::I64, t.device())?;
        integers(&wide, s, low, span)?;
        return copy::copy_raw(t, &wide);
    }
    let params = [k0, k1, a0, a1, low as u32, (low >> 32) as u32, span as u32, (span >> 32) as u32];
    call("random_wide", &[t], &params, t.numel())
}

/// Whether all the numbers fit int32.
fn is_small(low: i64, span: u64) -> bool {
    let fits = |v: i128| (i128::from(i32::MIN)..=i128::from(i32::MAX)).contains(&v);
    span != 0 && fits(low.into()) && fits(i128::from(low) + i128::from(span) - 1)
}

/// Blocks that [`integers`] takes for `n` elements.
pub fn integer_blocks(n: usize, low: i64, span: u64) -> u64 {
    if is_small(low, span) { blocks(n) } else { n as u64 }
}

/// 1 with the probability that each element of `p` gives, else 0; both contiguous.
pub fn bernoulli_of(p: &Tensor, out: &Tensor, s: Stream) -> Result<()> {
    if p.dtype() == Dtype::F64 {
        return Err(refuse(crate::ops::current(), p.dtype(), of(p)?));
    }
    let [k0, k1, a0, a1] = s.words();
    let params = [k0, k1, a0, a1, p.numel() as u32];
    call("random_bernoulli", &[p, out], &params, p.numel().div_ceil(4))
}

/// One number for each element of contiguous float32 tensors, which it has a block (and further ones of that number) for:
/// `random_poisson` of rates, `random_binomial` of counts and probabilities.
pub fn sample(name: &'static str, inputs: &[&Tensor], s: Stream) -> Result<Tensor> {
    let out = Tensor::empty(inputs[0].shape(), Dtype::F32, inputs[0].device())?;
    let tensors: Vec<&Tensor> = inputs.iter().copied().chain([&out]).collect();
    call(name, &tensors, &s.words(), out.numel())?;
    Ok(out)
}
