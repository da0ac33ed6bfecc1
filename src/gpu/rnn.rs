//! Recurrent steps over a sequence: for each step a product with the weights and a kernel for the gates.

use super::matmul::{Start, product};
use super::{Call, call};
use crate::cpu::rnn::Cell;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::layout::Layout;
use crate::tensor::Tensor;

/// A sequence in memory; shapes as in `cpu::rnn::Sequence`, all float32 and contiguous but for `x` and the gradient of the
/// output, whose rows are.
pub struct Sequence<'a> {
    pub cell: Cell,
    pub reverse: bool,
    pub w: &'a Tensor,
    pub bias: Option<&'a Tensor>,
    /// Hidden states, (steps + 1, batch, n), and the cell states of an LSTM.
    pub h: &'a Tensor,
    pub c: Option<&'a Tensor>,
    pub saved: Option<&'a Tensor>,
}

fn name(cell: Cell) -> &'static str {
    match cell {
        Cell::Tanh => "tanh",
        Cell::Relu => "relu",
        Cell::Lstm => "lstm",
        Cell::Gru => "gru",
    }
}

/// A matrix in a contiguous tensor's memory, from an element on.
fn matrix(t: &Tensor, first: usize, shape: [usize; 2], strides: [usize; 2]) -> Result<Tensor> {
    let layout = Layout::strided(&shape, &strides.map(|s| s as isize), t.layout().offset + first)?;
    Ok(t.detach().alias(layout))
}

impl Sequence<'_> {
    fn sizes(&self) -> (usize, usize, usize) {
        let s = self.h.shape();
        (s[0] - 1, s[1], s[2])
    }

    /// Where the states before and after step `t` begin.
    fn around(&self, t: usize) -> (usize, usize) {
        let (_, batch, n) = self.sizes();
        let (before, after) = if self.reverse { (t + 1, t) } else { (t, t + 1) };
        (before * batch * n, after * batch * n)
    }

    /// Fills in the states, and what is saved.
    pub fn forward(&self, x: &Tensor) -> Result<()> {
        let (steps, batch, n) = self.sizes();
        let width = self.cell.gates() * n;
        let hidden = Tensor::empty(&[batch, width], Dtype::F32, x.device())?;
        let turned = matrix(self.w, 0, [n, width], [1, n])?;
        for i in 0..steps {
            let t = if self.reverse { steps - 1 - i } else { i };
            let (before, after) = self.around(t);
            product(&matrix(self.h, before, [batch, n], [n, 1])?, &turned, &[], &hidden, Start::Nothing)?;
            let params = [
                n,
                t * x.strides()[0] as usize,
                x.strides()[1] as usize,
                before,
                after,
                t * batch * self.cell.saved() * n,
                usize::from(self.saved.is_some()),
                usize::from(self.bias.is_some()),
            ]
            .map(|v| v as u32);
            let (bias, c) = (self.bias.unwrap_or(self.w), self.c.unwrap_or(self.h));
            // Where nothing is saved, any tensor stands for it.
            let saved = self.saved.unwrap_or(&hidden);
            let tensors = [x, &hidden, bias, self.h, c, saved];
            let choice = [("CELL", name(self.cell))];
            Call { name: "rnn_gates", tensors: &tensors, params: &params, choice: &choice, n: batch * n }.run()?;
        }
        Ok(())
    }

    /// As `cpu::rnn::Sequence::backward`: `dh` and `dc` hold the gradients of the last states, then those of the given ones.
    pub fn backward(&self, g: &Tensor, dx: &Tensor, dhidden: &Tensor, dh: &Tensor, dc: &Tensor, to_given: bool) -> Result<()> {
        let (steps, batch, n) = self.sizes();
        let width = self.cell.gates() * n;
        let saved = self.saved.unwrap_or(self.h);
        for i in 0..steps {
            let t = if self.reverse { i } else { steps - 1 - i };
            let (before, after) = self.around(t);
            let (first, row) = (t * g.strides()[0] as usize, g.strides()[1] as usize);
            let at = t * batch * width;
            match self.cell {
                Cell::Tanh | Cell::Relu => {
                    let params = [n, first, row, after, at].map(|v| v as u32);
                    let choice = [("CELL", name(self.cell))];
                    let tensors = [g, dh, self.h, dx];
                    Call { name: "rnn_grads", tensors: &tensors, params: &params, choice: &choice, n: batch * n }.run()?;
                }
                Cell::Lstm => {
                    let params = [n, first, row, before, after, at].map(|v| v as u32);
                    call("lstm_grads", &[g, dh, dc, self.c.unwrap_or(self.h), saved, dx], &params, batch * n)?;
                }
                Cell::Gru => {
                    let saved_at = t * batch * self.cell.saved() * n;
                    let params = [n, first, row, before, at, saved_at].map(|v| v as u32);
                    call("gru_grads", &[g, dh, self.h, saved, dx, dhidden], &params, batch * n)?;
                }
            }
            if i + 1 == steps && !to_given {
                break;
            }
            let gru = self.cell == Cell::Gru;
            let d = matrix(if gru { dhidden } else { dx }, at, [batch, width], [width, 1])?;
            product(&d, &self.w.detach(), &[], dh, if gru { Start::Result } else { Start::Nothing })?;
        }
        Ok(())
    }

    /// The gradient of the weights.
    pub fn weight(&self, dhidden: &Tensor, dw: &Tensor) -> Result<()> {
        let (steps, batch, n) = self.sizes();
        let (width, rows) = (self.cell.gates() * n, steps * batch);
        // The states before each step.
        let h = matrix(self.h, if self.reverse { batch * n } else { 0 }, [rows, n], [n, 1])?;
        product(&matrix(dhidden, 0, [width, rows], [1, width])?, &h, &[], dw, Start::Nothing)
    }
}
