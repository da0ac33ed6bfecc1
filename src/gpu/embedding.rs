//! Bags of rows of a table, on a GPU.

use super::{Call, call, of};
use crate::dtype::Dtype;
use crate::error::Result;
use crate::tensor::Tensor;

/// What [`bags`] works on: contiguous tensors, and how they are read.
pub struct Bags<'a> {
    pub table: &'a Tensor,
    pub index: &'a Tensor,
    pub offsets: &'a Tensor,
    /// A factor for each index.
    pub factors: Option<&'a Tensor>,
    /// `sum`, `mean` or `max`.
    pub mode: &'a str,
    /// Whether the last offset is an end.
    pub last_offset: bool,
    /// The row that is left out.
    pub padding: Option<usize>,
}

impl Bags<'_> {
    pub fn count(&self) -> usize {
        self.offsets.numel() - self.last_offset as usize
    }
}

/// The bag of every index.
pub fn bag_of(b: &Bags) -> Result<Tensor> {
    let out = Tensor::zeros(&[b.index.numel()], Dtype::I64, b.index.device())?;
    if b.count() > 0 {
        call("bag_of", &[b.offsets, &out], &[b.count() as u32, b.last_offset as u32], out.numel())?;
    }
    Ok(out)
}

/// The bags, the row from which each of their elements is (for maxima), and their sizes.
pub fn bags(b: &Bags) -> Result<(Tensor, Tensor, Tensor)> {
    let (bags, rows, width, n) = (b.count(), b.table.shape()[0], b.table.shape()[1], b.index.numel());
    let device = b.table.device();
    let out = Tensor::zeros(&[bags, width], b.table.dtype(), device)?;
    let chosen = Tensor::empty(&[bags, width], Dtype::I64, device)?;
    let sizes = Tensor::zeros(&[bags], Dtype::I64, device)?;
    let gpu = of(b.table)?;
    let bad = "embedding_bag: Expected idx >= 0 && idx < num_embeddings but found idx to be {}";
    let first =
        "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from position 0. However, got {}";
    let last = format!("offsets[-1] can not be greater than input's length {n} but got offsets[-1] of {{}}");
    let params = [
        width as u32,
        rows as u32,
        n as u32,
        b.offsets.numel() as u32,
        b.padding.map_or(u32::MAX, |p| p as u32),
        b.factors.is_some() as u32,
        gpu.fault(bad.into()),
        gpu.fault(first.into()),
        gpu.fault(last),
    ];
    let factors = b.factors.unwrap_or(b.table);
    Call {
        name: "bag",
        tensors: &[b.table, b.index, b.offsets, factors, &out, &chosen, &sizes],
        params: &params,
        choice: &[("MODE", b.mode)],
        n: bags * width,
    }
    .run()?;
    Ok((out, chosen, sizes))
}
