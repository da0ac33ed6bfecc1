//! Losses of class numbers. What is out of range is noted by the kernels and raised when somebody waits for the GPU.

use super::softmax::plain;
use super::{call, of};
use crate::dtype::Dtype;
use crate::error::Result;
use crate::ops::{copy, reduce};
use crate::tensor::Tensor;

/// Targets of a loss on a GPU: the class of each (-1: it does not count), and its weight (0 there).
#[derive(Clone)]
pub struct Targets {
    pub class: Tensor,
    pub w: Tensor,
}

fn empty(shape: &[usize], like: &Tensor) -> Result<Tensor> {
    Tensor::empty(shape, Dtype::F32, like.device())
}

impl Targets {
    /// From class numbers (contiguous, int64) below `classes`; `message` says what others are.
    pub fn new(target: &Tensor, weight: Option<&Tensor>, ignore: i64, classes: usize, message: &str) -> Result<Targets> {
        let class = Tensor::empty(&[target.numel()], Dtype::I32, target.device())?;
        let w = empty(&[target.numel()], target)?;
        let weight = weight.map(|w| plain("nll_loss", w)).transpose()?;
        // Any float tensor stands for a weight that is not read.
        let given = weight.as_ref().unwrap_or(&w);
        let code = of(target)?.fault(message.into());
        let params = [ignore as u32, (ignore >> 32) as u32, classes as u32, weight.is_some() as u32, code];
        call("class_targets", &[target, given, &class, &w], &params, target.numel())?;
        Ok(Targets { class, w })
    }

    /// The weights added up.
    pub fn total(&self) -> Result<Tensor> {
        reduce::sum(&self.w, None, false, None)
    }

    /// The weighted negative of the value at every target's class; `x` is n x `classes` x `inner`.
    pub fn pick(&self, x: &Tensor, classes: usize, inner: usize) -> Result<Tensor> {
        let from = plain("nll_loss", x)?;
        let out = empty(&[self.class.numel()], x)?;
        call("nll_pick", &[&from, &self.class, &self.w, &out], &[classes as u32, inner as u32], out.numel())?;
        Ok(out)
    }

    /// The transpose of [`Targets::pick`]: `g` has a value for every target, or one in all, divided by `total`.
    pub fn spread(
        &self,
        g: &Tensor,
        total: &Tensor,
        shape: &[usize],
        each: bool,
        [classes, inner]: [usize; 2],
    ) -> Result<Tensor> {
        let from = plain("nll_loss_backward", g)?;
        let out = empty(shape, g)?;
        let params = [classes as u32, inner as u32, each as u32];
        call("nll_spread", &[&from, &self.class, &self.w, total, &out], &params, out.numel())?;
        copy::to_dtype(&out, g.dtype())
    }
}

/// Notes elements that are not between 0 and 1.
pub fn check_inside_unit(x: &Tensor, message: &str) -> Result<()> {
    let from = plain("binary_cross_entropy", x)?;
    call("inside_unit", &[&from], &[of(x)?.fault(message.into())], x.numel())
}

/// The multi-class hinge losses of samples of `classes` scores.
pub fn multi_margin(x: &Tensor, t: &Targets, classes: usize, margin: f64, squared: bool) -> Result<Tensor> {
    let from = plain("multi_margin_loss", x)?;
    let out = empty(&[t.class.numel()], x)?;
    let params = [classes as u32, (margin as f32).to_bits(), squared as u32];
    call("multi_margin", &[&from, &t.class, &t.w, &out], &params, out.numel())?;
    copy::to_dtype(&out, x.dtype())
}

/// The gradient of the scores of [`multi_margin`].
pub fn multi_margin_backward(x: &Tensor, g: &Tensor, t: &Targets, classes: usize, margin: f64, squared: bool) -> Result<Tensor> {
    let (from, g) = (plain("multi_margin_loss", x)?, plain("multi_margin_loss", g)?);
    let out = empty(x.shape(), x)?;
    let params = [classes as u32, (margin as f32).to_bits(), squared as u32];
    call("multi_margin_backward", &[&from, &t.class, &t.w, &g, &out], &params, out.numel())?;
    copy::to_dtype(&out, x.dtype())
}

/// How often every class is among the labels of its sample.
pub fn label_counts(target: &Tensor, classes: usize, message: &str) -> Result<Tensor> {
    let out = Tensor::empty(&[target.numel()], Dtype::I32, target.device())?;
    let code = of(target)?.fault(message.into());
    call("label_counts", &[target, &out], &[classes as u32, code], out.numel())?;
    Ok(out)
}

/// The multi-label hinge losses of samples of `classes` scores.
pub fn multilabel_margin(x: &Tensor, counts: &Tensor, classes: usize) -> Result<Tensor> {
    let from = plain("multilabel_margin_loss", x)?;
    let out = empty(&[x.numel() / classes, classes], x)?;
    call("multilabel_margin", &[&from, counts, &out], &[classes as u32], out.numel())?;
    copy::to_dtype(&reduce::sum(&out, Some(&[1]), false, None)?, x.dtype())
}

/// The gradient of the scores of [`multilabel_margin`].
pub fn multilabel_margin_backward(x: &Tensor, g: &Tensor, counts: &Tensor, classes: usize) -> Result<Tensor> {
    let (from, g) = (plain("multilabel_margin_loss", x)?, plain("multilabel_margin_loss", g)?);
    let out = empty(x.shape(), x)?;
    call("multilabel_margin_backward", &[&from, counts, &g, &out], &[classes as u32], out.numel())?;
    copy::to_dtype(&out, x.dtype())
}

/// Connectionist temporal classification of `[steps, count, classes]` logarithms of probabilities.
#[derive(Clone)]
pub struct Ctc {
    /// `[count, width]`: targets with blanks around every label.
    labels: Tensor,
    /// `[2, count]`: steps, and positions of the targets.
    sizes: Tensor,
    shape: [usize; 3],
    width: usize,
}

impl Ctc {
    /// For targets and numbers of steps that are in range.
    pub fn new(x: &Tensor, targets: &[Vec<usize>], lengths: &[usize], blank: usize) -> Result<Ctc> {
        let count = targets.len();
        let width = 2 * targets.iter().map(Vec::len).max().unwrap_or(0) + 1;
        let mut labels = vec![blank as i32; count * width];
        for (row, target) in labels.chunks_mut(width).zip(targets) {
            target.iter().enumerate().for_each(|(k, &l)| row[2 * k + 1] = l as i32);
        }
        let positions = targets.iter().map(|t| 2 * t.len() + 1);
        let sizes: Vec<i32> = lengths.iter().copied().chain(positions).map(|v| v as i32).collect();
        let there = |v: &[i32], shape: &[usize]| copy::to_device(&Tensor::from_slice(v, shape)?, x.device());
        Ok(Ctc {
            labels: there(&labels, &[count, width])?,
            sizes: there(&sizes, &[2, count])?,
            shape: [x.shape()[0], count, x.shape()[2]],
            width,
        })
    }

    fn table(&self, x: &Tensor, back: bool) -> Result<Tensor> {
        let [steps, count, classes] = self.shape;
        let table = empty(&[count, steps, self.width], x)?;
        let params = [count as u32, classes as u32, self.width as u32, steps as u32, back as u32];
        call("ctc_table", &[x, &self.labels, &self.sizes, &table], &params, count)?;
        Ok(table)
    }

    /// The losses of the samples.
    pub fn losses(&self, x: &Tensor) -> Result<Tensor> {
        let from = plain("ctc_loss", x)?;
        let [steps, count, _] = self.shape;
        let out = empty(&[count], x)?;
        let params = [count as u32, self.width as u32, steps as u32];
        call("ctc_loss", &[&self.table(&from, false)?, &self.sizes, &out], &params, count)?;
        Ok(out)
    }

    /// The gradient of the input from the losses and their gradients.
    pub fn gradient(&self, x: &Tensor, loss: &Tensor, g: &Tensor, zero_infinity: bool) -> Result<Tensor> {
        let (from, g, loss) = (plain("ctc_loss", x)?, plain("ctc_loss", g)?, plain("ctc_loss", loss)?);
        let [steps, count, classes] = self.shape;
        let (alpha, beta) = (self.table(&from, false)?, self.table(&from, true)?);
        let out = empty(x.shape(), x)?;
        let params = [count as u32, classes as u32, self.width as u32, steps as u32, zero_infinity as u32];
        let tensors = [&from, &self.labels, &self.sizes, &alpha, &beta, &loss, &g, &out];
        call("ctc_backward", &tensors, &params, out.numel())?;
        Ok(out)
    }
}
