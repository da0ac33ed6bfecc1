//! Softmax and cross entropy: kernels over rows, read from memory once where they fit into registers.

use super::{Call, call};
use crate::cpu::softmax::Mode;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::ops::copy;
use crate::tensor::Tensor;

/// Without history, row-major, in a dtype that kernels read as float32.
pub(super) fn plain(op: &str, x: &Tensor) -> Result<Tensor> {
    if !matches!(x.dtype(), Dtype::F32 | Dtype::F16 | Dtype::BF16) {
        return Err(super::refuse(op, x.dtype(), super::of(x)?));
    }
    copy::contiguous(&x.detach())
}

/// Rows by workgroups: how many invocations work on a row, and how many elements of it each of them keeps.
#[derive(Clone, Copy)]
pub(super) struct Lanes {
    pub lanes: &'static str,
    pub keep: &'static str,
    /// Workgroups.
    pub n: usize,
}

impl Lanes {
    /// For `rows` rows of `len` elements that lie `inner` apart.
    pub fn new(rows: usize, len: usize, inner: usize) -> Lanes {
        // Enough invocations to fill a large GPU.
        const MANY: usize = 1 << 17;
        let all = [1, 8, 32, 256];
        let enough = |l: usize| len <= 4 * l || (inner > 1 && rows * l >= MANY);
        let mut lanes = all.into_iter().find(|&l| enough(l)).unwrap_or(256);
        if inner == 1 && len <= 512 && rows * 32 >= MANY {
            // Several short rows in a workgroup.
            lanes = lanes.min(32);
        }
        let keep = match len.div_ceil(lanes) {
            0..=1 => "1",
            2..=4 => "4",
            5..=16 => "16",
            _ => "1",
        };
        let name = ["1", "8", "32", "256"][all.iter().position(|&l| l == lanes).expect("one of them")];
        Lanes { lanes: name, keep, n: rows.div_ceil(256 / lanes) }
    }

    pub fn choice(&self) -> [(&'static str, &'static str); 2] {
        [("LANES", self.lanes), ("KEEP", self.keep)]
    }
}

/// Softmax of `x`, seen as outer x `len` x `inner`, along the middle.
pub fn forward(x: &Tensor, len: usize, inner: usize, mode: Mode) -> Result<Tensor> {
    let from = plain("softmax", x)?;
    let out = Tensor::empty(x.shape(), Dtype::F32, x.device())?;
    if x.numel() > 0 {
        let mode = match mode {
            Mode::Plain => 0,
            Mode::Log => 1,
            Mode::Safe => 2,
        };
        let rows = x.numel() / len;
        let r = Lanes::new(rows, len, inner);
        let params = [rows as u32, len as u32, inner as u32, mode];
        Call { name: "softmax", tensors: &[&from, &out], params: &params, choice: &r.choice(), n: r.n }.run()?;
    }
    copy::to_dtype(&out, x.dtype())
}

/// The gradient of [`forward`]'s input from that of the result, `g`, and the result, `y`.
pub fn backward(g: &Tensor, y: &Tensor, len: usize, inner: usize, log: bool) -> Result<Tensor> {
    let (gd, yd) = (plain("softmax_backward", g)?, plain("softmax_backward", y)?);
    let out = Tensor::empty(y.shape(), Dtype::F32, y.device())?;
    if y.numel() > 0 {
        let rows = y.numel() / len;
        let r = Lanes::new(rows, len, inner);
        let params = [rows as u32, len as u32, inner as u32, log as u32];
        let tensors = &[&gd, &yd, &out];
        Call { name: "softmax_backward", tensors, params: &params, choice: &r.choice(), n: r.n }.run()?;
    }
    copy::to_dtype(&out, y.dtype())
}

/// ln(sum(exp(x))) of contiguous rows, in float32 of the shape `shape`.
pub fn logsumexp(x: &Tensor, len: usize, shape: &[usize]) -> Result<Tensor> {
    let from = plain("logsumexp", x)?;
    let out = Tensor::empty(shape, Dtype::F32, x.device())?;
    let r = Lanes::new(out.numel(), len, 1);
    let params = [out.numel() as u32, len as u32];
    Call { name: "logsumexp", tensors: &[&from, &out], params: &params, choice: &[("LANES", r.lanes)], n: r.n }.run()?;
    Ok(out)
}

/// The losses of rows of logits with a class each (-1: none) and its weight; and what the gradient needs of the rows.
pub fn cross_entropy(x: &Tensor, class: &Tensor, w: &Tensor, len: usize, smoothing: f64) -> Result<(Tensor, Tensor)> {
    let rows = class.numel();
    let from = plain("cross_entropy", x)?;
    let loss = Tensor::empty(&[rows], Dtype::F32, x.device())?;
    let stats = Tensor::empty(&[2, rows], Dtype::F32, x.device())?;
    let r = Lanes::new(rows, len, 1);
    let params = [rows as u32, len as u32, (smoothing as f32).to_bits()];
    let tensors = [&from, class, w, &loss, &stats];
    Call { name: "cross_entropy", tensors: &tensors, params: &params, choice: &[("LANES", r.lanes)], n: r.n }.run()?;
    Ok((loss, stats))
}

/// The gradient of the logits of [`cross_entropy`]: `g` has that of every loss, or one in all; it is divided by `total`.
pub fn cross_entropy_backward(
    x: &Tensor,
    [class, w, stats, total]: [&Tensor; 4],
    g: &Tensor,
    len: usize,
    smoothing: f64,
    each: bool,
) -> Result<Tensor> {
    let (from, g) = (plain("cross_entropy", x)?, plain("cross_entropy", g)?);
    let dx = Tensor::empty(x.shape(), Dtype::F32, x.device())?;
    let params = [class.numel() as u32, len as u32, (smoothing as f32).to_bits(), each as u32];
    call("cross_entropy_backward", &[&from, class, w, stats, &g, total, &dx], &params, x.numel())?;
    copy::to_dtype(&dx, x.dtype())
}
