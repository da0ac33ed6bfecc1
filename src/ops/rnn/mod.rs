//! Recurrent steps over a whole sequence. What the inputs give the gates comes from outside, as one product for all steps.

use crate::autograd::{self, Ctx, Grads, is_grad_enabled, needs_grad, record_many, save};
use crate::cpu::gemm::gemm;
use crate::cpu::rnn::{Cell, Sequence};
use crate::cpu::threads::SendPtr;
use crate::device::Device;
use crate::dtype::Dtype;
use crate::error::Result;
use crate::gpu;
use crate::layout::{Layout, show};
use crate::ops::elementwise::{add, mul, sub};
use crate::ops::matmul::matmul;
use crate::ops::{Args, Registry, Ret, copy, reduce, view};
use crate::tensor::Tensor;
use crate::{bail, ensure};
use smallvec::SmallVec;

mod formula;

/// The operands: `x` (T, N, gates H), `h` and `c` (N, H), `w` (gates H, H), `bias` (gates H) inside the reset gate of a GRU.
#[derive(Clone)]
struct Operands {
    cell: Cell,
    reverse: bool,
    x: Tensor,
    h: Tensor,
    c: Option<Tensor>,
    w: Tensor,
    bias: Option<Tensor>,
}

impl Operands {
    fn check(&self) -> Result<()> {
        let (x, h, w) = (&self.x, &self.h, &self.w);
        ensure!(
            x.ndim() == 3 && h.ndim() == 2 && w.ndim() == 2,
            Runtime,
            "recurrent steps: expected x, h and weight of 3, 2 and 2 dimensions, got {}, {} and {}",
            show(x.shape()),
            show(h.shape()),
            show(w.shape())
        );
        let (batch, n) = (h.shape()[0], h.shape()[1]);
        let width = self.cell.gates() * n;
        ensure!(
            x.shape()[1] == batch && x.shape()[2] == width && w.shape() == [width, n],
            Runtime,
            "recurrent steps: x of shape {} and weight of shape {} do not fit h of shape {} and {} gates",
            show(x.shape()),
            show(w.shape()),
            show(h.shape()),
            self.cell.gates()
        );
        ensure!(x.shape()[0] > 0, Runtime, "Expected sequence length to be larger than 0 in RNN");
        if let Some(c) = &self.c {
            ensure!(
                c.shape() == h.shape(),
                Runtime,
                "recurrent steps: c of shape {}, h of shape {}",
                show(c.shape()),
                show(h.shape())
            );
        }
        if let Some(b) = &self.bias {
            ensure!(b.shape() == [width], Runtime, "recurrent steps: bias of shape {}, expected [{width}]", show(b.shape()));
        }
        Ok(())
    }

    /// In the order in which they are recorded.
    fn all(&self) -> SmallVec<[&Tensor; 5]> {
        [Some(&self.x), Some(&self.h), Some(&self.w), self.c.as_ref(), self.bias.as_ref()].into_iter().flatten().collect()
    }

    /// The same operands from the list of [`Operands::all`].
    fn with(&self, all: Vec<Tensor>) -> Operands {
        let mut all = all.into_iter();
        let mut next = || all.next().expect("as many as there were");
        let (x, h, w) = (next(), next(), next());
        let c = self.c.as_ref().map(|_| next());
        let bias = self.bias.as_ref().map(|_| next());
        Operands { cell: self.cell, reverse: self.reverse, x, h, c, w, bias }
    }
}

/// The output (T, N, H) and the last states. Differentiable.
fn steps(ops: &Operands) -> Result<Vec<Tensor>> {
    ops.check()?;
    let device = ops.x.device();
    let ready = matches!(device, Device::Cpu | Device::Gpu(_))
        && ops.all().iter().all(|t| t.dtype() == Dtype::F32 && t.device() == device);
    if ready && ops.x.numel() > 0 { fused(ops) } else { formula::steps(ops) }
}

fn to_read(t: &Tensor) -> SendPtr<f32> {
    SendPtr(t.ptr().cast_mut() as *mut f32)
}

fn to_write(t: &Tensor) -> SendPtr<f32> {
    SendPtr(t.ptr_mut() as *mut f32)
}

const NOTHING: SendPtr<f32> = SendPtr(std::ptr::null_mut());

/// Rows contiguous, in whatever order; a sum's gradient, one value for all, becomes one row.
fn by_rows(t: &Tensor) -> Result<Tensor> {
    let d = t.ndim() - 1;
    if t.strides()[d] == 1 {
        return Ok(t.clone());
    }
    if t.strides().iter().all(|&s| s == 0) {
        let row = copy::contiguous(&view::slice(&view::slice(t, 0, Some(0), Some(1), 1)?, 1, Some(0), Some(1), 1)?)?;
        return view::expand(&row, t.shape());
    }
    copy::contiguous(t)
}

/// What the forward pass leaves for the backward pass.
struct Memory {
    /// `[T + 1, N, H]`, the given states among them; `c` only of an LSTM.
    h: Tensor,
    c: Option<Tensor>,
    gates: Option<Tensor>,
}

impl Memory {
    fn sequence(&self, ops: &Operands, w: &Tensor, bias: Option<&Tensor>) -> Sequence {
        Sequence {
            cell: ops.cell,
            steps: ops.x.shape()[0],
            batch: ops.h.shape()[0],
            n: ops.h.shape()[1],
            reverse: ops.reverse,
            w: to_read(w),
            bias: bias.map_or(NOTHING, to_read),
            h: to_read(&self.h),
            c: self.c.as_ref().map_or(NOTHING, to_read),
            saved: self.gates.as_ref().map_or(NOTHING, to_read),
        }
    }

    fn on_gpu<'a>(&'a self, ops: &Operands, w: &'a Tensor, bias: Option<&'a Tensor>) -> gpu::rnn::Sequence<'a> {
        let (h, c, saved) = (&self.h, self.c.as_ref(), self.gates.as_ref());
        gpu::rnn::Sequence { cell: ops.cell, reverse: ops.reverse, w, bias, h, c, saved }
    }

    /// State `i` of `states` as a tensor of its own.
    fn copied(states: &Tensor, i: usize) -> Result<Tensor> {
        copy::clone(&view::select(states, 0, i as i64)?, None)
    }
}

fn fused(ops: &Operands) -> Result<Vec<Tensor>> {
    let dense = |t: &Tensor| copy::contiguous(&t.detach());
    let (steps, batch, n) = (ops.x.shape()[0], ops.h.shape()[0], ops.h.shape()[1]);
    let first = if ops.reverse { steps } else { 0 };
    let x = by_rows(&ops.x.detach())?;
    let (w, bias) = (dense(&ops.w)?, ops.bias.as_ref().map(dense).transpose()?);
    let empty = |shape: &[usize]| Tensor::empty(shape, Dtype::F32, x.device());
    let states = |given: &Tensor| -> Result<Tensor> {
        let all = empty(&[steps + 1, batch, n])?;
        copy::copy_raw(&all.alias(view::select(&all, 0, first as i64)?.layout().clone()), &given.detach())?;
        Ok(all)
    };
    let recorded = needs_grad(&ops.all());
    let memory = Memory {
        h: states(&ops.h)?,
        c: ops.c.as_ref().map(states).transpose()?,
        gates: if recorded && ops.cell.saved() > 0 { Some(empty(&[steps, batch, ops.cell.saved() * n])?) } else { None },
    };
    if gpu::holds(&x) {
        memory.on_gpu(ops, &w, bias.as_ref()).forward(&x)?;
    } else {
        // The states are written through these.
        let (h, c) = (to_write(&memory.h), memory.c.as_ref().map_or(NOTHING, to_write));
        let saved = memory.gates.as_ref().map_or(NOTHING, to_write);
        let sequence = Sequence { h, c, saved, ..memory.sequence(ops, &w, bias.as_ref()) };
        // SAFETY: shapes were checked; states and saved values are fresh memory of the size that `Sequence` asks for.
        unsafe { sequence.forward(to_read(&x), (x.strides()[0], x.strides()[1])) };
    }
    let offset = if ops.reverse { 0 } else { batch * n };
    let layout = Layout::strided(&[steps, batch, n], memory.h.strides(), offset)?;
    let out = Tensor::from_parts(memory.h.storage().clone(), layout, Dtype::F32);
    let last = steps - first;
    let mut outs = vec![out, Memory::copied(&memory.h, last)?];
    if let Some(c) = &memory.c {
        outs.push(Memory::copied(c, last)?);
    }
    let saved: Vec<_> = ops.all().into_iter().map(save).collect();
    // The output shares the memory of the states: a change in place of it is noticed.
    let saved_h = save(&memory.h);
    let shape = ops.clone_shape();
    let inputs = ops.all();
    record_many(name(ops.cell), &inputs, &outs.iter().collect::<Vec<_>>(), move |ctx, g| {
        let all = saved.iter().map(|s| s.get(ctx)).collect::<Result<Vec<_>>>()?;
        saved_h.get(ctx)?;
        let ops = shape.with(all);
        if is_grad_enabled() { again(ctx, &ops, g) } else { backward(ctx, &ops, &memory, g) }
    });
    Ok(outs)
}

fn name(cell: Cell) -> &'static str {
    match cell {
        Cell::Lstm => "LstmBackward0",
        Cell::Gru => "GruBackward0",
        Cell::Tanh => "RnnTanhBackward0",
        Cell::Relu => "RnnReluBackward0",
    }
}

impl Operands {
    /// Which operands there are, without keeping their memory.
    fn clone_shape(&self) -> Operands {
        let none = Tensor::scalar(0.0, Dtype::F32);
        let all = self.all().iter().map(|_| none.clone()).collect();
        self.with(all)
    }
}

/// The gradients by the kernel, in the order of [`Operands::all`].
fn backward(ctx: &Ctx, ops: &Operands, memory: &Memory, g: &[Option<Tensor>]) -> Result<Grads> {
    let (steps, batch, n) = (ops.x.shape()[0], ops.h.shape()[0], ops.h.shape()[1]);
    let (width, device) = (ops.cell.gates() * n, ops.x.device());
    let out = match &g[0] {
        Some(g) => by_rows(&g.detach())?,
        None => view::expand(&Tensor::zeros(&[1, 1, n], Dtype::F32, device)?, &[steps, batch, n])?,
    };
    let given = |g: Option<&Option<Tensor>>| match g {
        Some(Some(g)) => copy::clone(&g.detach(), Some(crate::ops::MemoryFormat::Contiguous)),
        _ => Tensor::zeros(&[batch, n], Dtype::F32, device),
    };
    let (dh, dc) = (given(g.get(1))?, given(g.get(2))?);
    let dx = Tensor::empty(&[steps, batch, width], Dtype::F32, device)?;
    let gru = ops.cell == Cell::Gru;
    let dhidden = if gru { dx.empty_like()? } else { dx.clone() };
    let w = copy::contiguous(&ops.w.detach())?;
    let on_gpu = gpu::holds(&dx);
    if on_gpu {
        memory.on_gpu(ops, &w, None).backward(&out, &dx, &dhidden, &dh, &dc, ctx.needs(1))?;
    } else {
        let sequence = memory.sequence(ops, &w, None);
        let strides = (out.strides()[0], out.strides()[1]);
        let (dx, dhidden, dh, dc) = (to_write(&dx), to_write(&dhidden), to_write(&dh), to_write(&dc));
        // SAFETY: shapes are those of the forward pass; gradients are fresh memory.
        unsafe { sequence.backward(to_read(&out), strides, dx, dhidden, dh, dc, ctx.needs(1)) };
    }
    let mut grads: Grads = [Some(dx), Some(dh), None].into_iter().collect();
    if ctx.needs(2) {
        let dw = Tensor::empty(&[width, n], Dtype::F32, device)?;
        if on_gpu {
            memory.on_gpu(ops, &w, None).weight(&dhidden, &dw)?;
        } else {
            // The states before each step.
            let h = to_read(&memory.h).get().wrapping_add(if ops.reverse { batch * n } else { 0 });
            // SAFETY: matrices of steps * batch rows of `width` and `n` elements, and a fresh one.
            unsafe {
                let (d, to) = (to_read(&dhidden), to_write(&dw));
                gemm(width, n, steps * batch, d.get(), 1, width as isize, h, n as isize, 1, to.get(), n as isize, 1, false);
            }
        }
        grads[2] = Some(dw);
    }
    if ops.c.is_some() {
        grads.push(Some(dc));
    }
    if ops.bias.is_some() {
        grads.push(Some(reduce::sum(&dhidden, Some(&[0, 1]), false, None)?));
    }
    Ok(grads)
}

/// The gradients as a graph: the steps in tensor ops, differentiated.
fn again(ctx: &Ctx, ops: &Operands, g: &[Option<Tensor>]) -> Result<Grads> {
    let outs = formula::steps(ops)?;
    let all = ops.all();
    let wanted: Vec<usize> = (0..all.len()).filter(|&i| ctx.needs(i)).collect();
    let inputs: Vec<Tensor> = wanted.iter().map(|&i| all[i].clone()).collect();
    let (roots, given): (Vec<_>, Vec<_>) =
        outs.into_iter().zip(g).filter(|(_, g)| g.is_some()).map(|(o, g)| (o, g.clone())).unzip();
    let found = autograd::grad(&roots, &inputs, &given, true, true, true)?;
    let mut grads: Grads = all.iter().map(|_| None).collect();
    for (i, g) in wanted.into_iter().zip(found) {
        grads[i] = g;
    }
    Ok(grads)
}

fn call(a: &Args) -> Result<Ret> {
    let cell = match a.s(0) {
        "LSTM" => Cell::Lstm,
        "GRU" => Cell::Gru,
        "RNN_TANH" => Cell::Tanh,
        "RNN_RELU" => Cell::Relu,
        other => bail!(Runtime, "Unknown RNN mode: {other}"),
    };
    let c = a.ot(3).cloned();
    ensure!(c.is_some() == (cell == Cell::Lstm), Runtime, "recurrent steps: a cell state belongs to an LSTM alone");
    let ops =
        Operands { cell, reverse: a.b(6), x: a.t(1).clone(), h: a.t(2).clone(), c, w: a.t(4).clone(), bias: a.ot(5).cloned() };
    steps(&ops).map(Ret::Tuple)
}

pub(super) fn register(r: &mut Registry) {
    r.op(
        "_",
        "_rnn_steps(str mode, Tensor x, Tensor h, Tensor? c, Tensor weight, Tensor? bias, bool reverse) -> (Tensor, Tensor, Tensor)",
        "Recurrent steps over what the inputs give the gates: the output and the last states.",
        call,
    );
}
