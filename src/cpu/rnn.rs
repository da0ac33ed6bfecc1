//! Recurrent steps over a whole sequence: Elman, LSTM and GRU.
//!
//! What the inputs give the gates is made before, as one product for all steps. A step then adds what the hidden state
//! gives, from weights packed once, and turns gates into states while they are in cache. Batches are cut into rows that
//! go through all steps on their own, so no step waits for another thread.

use super::gemm::{gemm, pack_panel, with_scratch};
use super::math;
use super::threads::{SendPtr, parallel_for, parallel_pieces};

/// Which recurrence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cell {
    Tanh,
    Relu,
    Lstm,
    Gru,
}

impl Cell {
    pub fn gates(self) -> usize {
        match self {
            Cell::Tanh | Cell::Relu => 1,
            Cell::Lstm => 4,
            Cell::Gru => 3,
        }
    }

    /// How many values of each unit and step the backward pass needs besides the states.
    pub fn saved(self) -> usize {
        match self {
            Cell::Tanh | Cell::Relu => 0,
            Cell::Lstm | Cell::Gru => 4,
        }
    }
}

/// Columns of a panel of packed weights.
const PANEL: usize = 32;
/// Rows of the batch that go through the steps together: those of one register tile.
const ROWS: usize = 12;
/// Multiply-adds below which a step stays on one thread.
const PARALLEL_WORK: usize = 1 << 20;

/// A sequence: `steps` of `batch` rows of `n` units. State `i` is the one before step `i`, or after it in reverse.
#[derive(Clone, Copy)]
pub struct Sequence {
    pub cell: Cell,
    pub steps: usize,
    pub batch: usize,
    pub n: usize,
    pub reverse: bool,
    /// `[gates n, n]`, row-major.
    pub w: SendPtr<f32>,
    /// The hidden side's bias of a GRU, `[gates n]`, or null.
    pub bias: SendPtr<f32>,
    /// `[steps + 1, batch, n]`: hidden states, the first one given.
    pub h: SendPtr<f32>,
    /// The same for the cell states of an LSTM.
    pub c: SendPtr<f32>,
    /// `[steps, batch, saved n]`, or null where there will be no backward pass.
    pub saved: SendPtr<f32>,
}

/// Rows of one step: the first element, and how far apart they are.
#[derive(Clone, Copy)]
struct Block {
    ptr: *mut f32,
    ld: usize,
}

impl Block {
    /// # Safety
    /// `n` elements from `row` and `part * n` on belong to the caller.
    #[inline(always)]
    unsafe fn read<'a>(self, row: usize, part: usize, n: usize) -> &'a [f32] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts(self.ptr.add(row * self.ld + part * n), n) }
    }

    /// # Safety
    /// As for `read`, and nobody else uses them.
    #[inline(always)]
    unsafe fn write<'a>(self, row: usize, part: usize, n: usize) -> &'a mut [f32] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.add(row * self.ld + part * n), n) }
    }
}

/// Everything the gates of one step touch. Slices of one row never overlap.
struct Gates {
    rows: usize,
    n: usize,
    /// What inputs and hidden state give.
    x: Block,
    hidden: Block,
    bias: Block,
    h0: Block,
    h1: Block,
    c0: Block,
    c1: Block,
    saved: Block,
}

/// One unit of each gate after another; the signature tells LLVM that the slices do not overlap.
#[inline(always)]
fn lstm_row<const FMA: bool>(
    n: usize,
    x: [&[f32]; 4],
    hidden: [&[f32]; 4],
    c0: &[f32],
    c1: &mut [f32],
    h1: &mut [f32],
    si: &mut [f32],
    sf: &mut [f32],
    sg: &mut [f32],
    so: &mut [f32],
) {
    gate::<FMA, false>(n, x[0], hidden[0], si);
    gate::<FMA, false>(n, x[1], hidden[1], sf);
    gate::<FMA, true>(n, x[2], hidden[2], sg);
    gate::<FMA, false>(n, x[3], hidden[3], so);
    lstm_state::<FMA>(n, c0, si, sf, sg, so, c1, h1);
}

#[inline(always)]
fn lstm_state<const FMA: bool>(n: usize, c0: &[f32], i: &[f32], f: &[f32], g: &[f32], o: &[f32], c1: &mut [f32], h1: &mut [f32]) {
    let (c0, i, f, g, o, c1, h1) = (&c0[..n], &i[..n], &f[..n], &g[..n], &o[..n], &mut c1[..n], &mut h1[..n]);
    for k in 0..n {
        let c = f[k] * c0[k] + i[k] * g[k];
        c1[k] = c;
        h1[k] = o[k] * math::tanh::<FMA>(c);
    }
}

/// `sigmoid(x + hidden)`, or the hyperbolic tangent.
#[inline(always)]
fn gate<const FMA: bool, const TANH: bool>(n: usize, x: &[f32], hidden: &[f32], out: &mut [f32]) {
    let (x, hidden, out) = (&x[..n], &hidden[..n], &mut out[..n]);
    for k in 0..n {
        let v = x[k] + hidden[k];
        out[k] = if TANH { math::tanh::<FMA>(v) } else { math::sigmoid::<FMA>(v) };
    }
}

#[inline(always)]
fn relu(n: usize, x: &[f32], hidden: &[f32], out: &mut [f32]) {
    let (x, hidden, out) = (&x[..n], &hidden[..n], &mut out[..n]);
    for k in 0..n {
        let v = x[k] + hidden[k];
        // NaN stays.
        out[k] = if v < 0.0 { 0.0 } else { v };
    }
}

/// `sigmoid(x + hidden + bias)`
#[inline(always)]
fn biased_gate<const FMA: bool>(n: usize, x: &[f32], hidden: &[f32], bias: &[f32], out: &mut [f32]) {
    let (x, hidden, bias, out) = (&x[..n], &hidden[..n], &bias[..n], &mut out[..n]);
    for k in 0..n {
        out[k] = math::sigmoid::<FMA>(x[k] + (hidden[k] + bias[k]));
    }
}

#[inline(always)]
fn gru_state<const FMA: bool>(
    n: usize,
    x: &[f32],
    hidden: &[f32],
    bias: &[f32],
    h0: &[f32],
    r: &[f32],
    z: &[f32],
    new: &mut [f32],
    kept: &mut [f32],
    h1: &mut [f32],
) {
    let (x, hidden, bias, h0, r, z) = (&x[..n], &hidden[..n], &bias[..n], &h0[..n], &r[..n], &z[..n]);
    let (new, kept, h1) = (&mut new[..n], &mut kept[..n], &mut h1[..n]);
    for k in 0..n {
        let side = hidden[k] + bias[k];
        let v = math::tanh::<FMA>(x[k] + r[k] * side);
        kept[k] = side;
        new[k] = v;
        h1[k] = v + z[k] * (h0[k] - v);
    }
}

multiversion! {
    /// Gates to states for the rows of one step.
    ///
    /// # Safety
    /// The blocks are as [`Gates`] says, for `rows` rows.
    unsafe fn forward_gates(cell: Cell, g: &Gates) {
        let n = g.n;
        for r in 0..g.rows {
            // SAFETY: by the caller.
            unsafe {
                let x = |part: usize| g.x.read(r, part, n);
                let hidden = |part: usize| g.hidden.read(r, part, n);
                let saved = |part: usize| g.saved.write(r, part, n);
                let h1 = g.h1.write(r, 0, n);
                match cell {
                    Cell::Tanh => gate::<FMA, true>(n, x(0), hidden(0), h1),
                    Cell::Relu => relu(n, x(0), hidden(0), h1),
                    Cell::Lstm => lstm_row::<FMA>(
                        n, [x(0), x(1), x(2), x(3)], [hidden(0), hidden(1), hidden(2), hidden(3)],
                        g.c0.read(r, 0, n), g.c1.write(r, 0, n), h1, saved(0), saved(1), saved(2), saved(3),
                    ),
                    Cell::Gru => {
                        let bias = |part: usize| g.bias.read(0, part, n);
                        biased_gate::<FMA>(n, x(0), hidden(0), bias(0), saved(0));
                        biased_gate::<FMA>(n, x(1), hidden(1), bias(1), saved(1));
                        gru_state::<FMA>(
                            n, x(2), hidden(2), bias(2), g.h0.read(r, 0, n), saved(0), saved(1), saved(2), saved(3), h1,
                        );
                    }
                }
            }
        }
    }
}

/// What the backward pass of one step touches.
struct GateGrads {
    rows: usize,
    n: usize,
    /// The gradient of the output, of what follows (replaced by what comes directly, not through the product), and of the
    /// cell state.
    out: Block,
    dh: Block,
    dc: Block,
    h0: Block,
    h1: Block,
    c0: Block,
    c1: Block,
    saved: Block,
    /// Of what the inputs gave, and of what the hidden state gave (only where that differs).
    dx: Block,
    dhidden: Block,
}

#[inline(always)]
fn lstm_grads<const FMA: bool>(
    n: usize,
    out: &[f32],
    dh: &[f32],
    dc: &mut [f32],
    c0: &[f32],
    c1: &[f32],
    s: [&[f32]; 4],
    di: &mut [f32],
    df: &mut [f32],
    dg: &mut [f32],
    d_o: &mut [f32],
) {
    let (out, dh, dc, c0, c1) = (&out[..n], &dh[..n], &mut dc[..n], &c0[..n], &c1[..n]);
    let (i, f, g, o) = (&s[0][..n], &s[1][..n], &s[2][..n], &s[3][..n]);
    let (di, df, dg, d_o) = (&mut di[..n], &mut df[..n], &mut dg[..n], &mut d_o[..n]);
    for k in 0..n {
        let grad = out[k] + dh[k];
        let t = math::tanh::<FMA>(c1[k]);
        let c = dc[k] + grad * o[k] * (1.0 - t * t);
        d_o[k] = grad * t * (o[k] * (1.0 - o[k]));
        di[k] = c * g[k] * (i[k] * (1.0 - i[k]));
        df[k] = c * c0[k] * (f[k] * (1.0 - f[k]));
        dg[k] = c * i[k] * (1.0 - g[k] * g[k]);
        dc[k] = c * f[k];
    }
}

#[inline(always)]
fn gru_grads(
    n: usize,
    out: &[f32],
    dh: &mut [f32],
    h0: &[f32],
    s: [&[f32]; 4],
    dx_r: &mut [f32],
    dx_z: &mut [f32],
    dx_n: &mut [f32],
    dh_r: &mut [f32],
    dh_z: &mut [f32],
    dh_n: &mut [f32],
) {
    let (out, dh, h0) = (&out[..n], &mut dh[..n], &h0[..n]);
    let (r, z, new, side) = (&s[0][..n], &s[1][..n], &s[2][..n], &s[3][..n]);
    let (dx_r, dx_z, dx_n) = (&mut dx_r[..n], &mut dx_z[..n], &mut dx_n[..n]);
    let (dh_r, dh_z, dh_n) = (&mut dh_r[..n], &mut dh_z[..n], &mut dh_n[..n]);
    for k in 0..n {
        let grad = out[k] + dh[k];
        let pre = grad * (1.0 - z[k]) * (1.0 - new[k] * new[k]);
        let of_r = pre * side[k] * (r[k] * (1.0 - r[k]));
        let of_z = grad * (h0[k] - new[k]) * (z[k] * (1.0 - z[k]));
        dx_r[k] = of_r;
        dx_z[k] = of_z;
        dx_n[k] = pre;
        dh_r[k] = of_r;
        dh_z[k] = of_z;
        dh_n[k] = pre * r[k];
        dh[k] = grad * z[k];
    }
}

#[inline(always)]
fn elman_grads<const TANH: bool>(n: usize, out: &[f32], dh: &[f32], h1: &[f32], dx: &mut [f32]) {
    let (out, dh, h1, dx) = (&out[..n], &dh[..n], &h1[..n], &mut dx[..n]);
    for k in 0..n {
        let grad = out[k] + dh[k];
        dx[k] = if TANH {
            grad * (1.0 - h1[k] * h1[k])
        } else if h1[k] > 0.0 {
            grad
        } else {
            0.0
        };
    }
}

multiversion! {
    /// Gradients of the gates of one step.
    ///
    /// # Safety
    /// The blocks are as [`GateGrads`] says, for `rows` rows.
    unsafe fn backward_gates(cell: Cell, g: &GateGrads) {
        let n = g.n;
        for r in 0..g.rows {
            // SAFETY: by the caller.
            unsafe {
                let (out, h1) = (g.out.read(r, 0, n), g.h1.read(r, 0, n));
                let dx = |part: usize| g.dx.write(r, part, n);
                let saved = |part: usize| g.saved.read(r, part, n);
                match cell {
                    Cell::Tanh => elman_grads::<true>(n, out, g.dh.read(r, 0, n), h1, dx(0)),
                    Cell::Relu => elman_grads::<false>(n, out, g.dh.read(r, 0, n), h1, dx(0)),
                    Cell::Lstm => lstm_grads::<FMA>(
                        n, out, g.dh.read(r, 0, n), g.dc.write(r, 0, n), g.c0.read(r, 0, n), g.c1.read(r, 0, n),
                        [saved(0), saved(1), saved(2), saved(3)], dx(0), dx(1), dx(2), dx(3),
                    ),
                    Cell::Gru => {
                        let side = |part: usize| g.dhidden.write(r, part, n);
                        gru_grads(
                            n, out, g.dh.write(r, 0, n), g.h0.read(r, 0, n), [saved(0), saved(1), saved(2), saved(3)],
                            dx(0), dx(1), dx(2), side(0), side(1), side(2),
                        );
                    }
                }
            }
        }
    }
}

/// A right operand of many products with few rows: packed in panels, or as it lies in memory.
#[derive(Clone, Copy)]
struct Weights {
    ptr: SendPtr<f32>,
    k: usize,
    n: usize,
    /// Strides of what is not packed.
    strides: Option<(isize, isize)>,
}

impl Weights {
    fn size(k: usize, n: usize) -> usize {
        k * n.next_multiple_of(PANEL)
    }

    /// Packs element `(p, j)` at `p * rs + j * cs` into `to`, which has room for [`Weights::size`].
    ///
    /// # Safety
    /// Both are valid for that.
    unsafe fn packed(to: SendPtr<f32>, from: SendPtr<f32>, k: usize, n: usize, rs: isize, cs: isize) -> Weights {
        parallel_for(n.div_ceil(PANEL), ((1 << 16) / (k * PANEL).max(1)).max(1), |panels| {
            for j in panels {
                let width = (n - j * PANEL).min(PANEL);
                // SAFETY: panel `j` belongs to this piece.
                unsafe {
                    let source = from.get().offset((j * PANEL) as isize * cs);
                    pack_panel(to.get().add(j * PANEL * k), PANEL, source, cs, rs, width, k);
                }
            }
        });
        Weights { ptr: to, k, n, strides: None }
    }

    /// `c (+)= a * weights` for `m` rows; `c` has room for whole panels.
    ///
    /// # Safety
    /// The rows are valid, `c` initialised if `accumulate`.
    unsafe fn product(&self, m: usize, a: Block, c: Block, accumulate: bool) {
        let (k, n) = (self.k, self.n);
        if let Some((rs, cs)) = self.strides {
            // SAFETY: the caller's promise.
            return unsafe {
                gemm(m, n, k, a.ptr, a.ld as isize, 1, self.ptr.get(), rs, cs, c.ptr, c.ld as isize, 1, accumulate)
            };
        }
        let depth = k.div_ceil(k.div_ceil(384));
        let (ap, cp) = (SendPtr(a.ptr), SendPtr(c.ptr));
        let (lda, ldc) = (a.ld as isize, c.ld as isize);
        parallel_for(n.div_ceil(PANEL), (PARALLEL_WORK / (m * k * PANEL).max(1)).max(1), |panels| {
            for j in panels {
                for p in (0..k).step_by(depth) {
                    // SAFETY: the caller's promise; panels write columns of their own.
                    unsafe {
                        let (a, c) = (ap.get().add(p), cp.get().add(j * PANEL));
                        let w = self.ptr.get().add(j * PANEL * k + p * PANEL);
                        let d = (k - p).min(depth);
                        gemm(m, PANEL, d, a, lda, 1, w, PANEL as isize, 1, c, ldc, 1, accumulate || p > 0);
                    }
                }
            }
        });
    }
}

impl Sequence {
    fn width(&self) -> usize {
        self.cell.gates() * self.n
    }

    /// How the batch is cut: pieces, and rows in each. Depends on sizes alone.
    fn cut(&self) -> (usize, usize) {
        // A single step, or a single row, is left to `gemm` as a whole.
        let pieces = if self.steps == 1 || self.batch == 1 { 1 } else { self.batch.div_ceil(ROWS) };
        (pieces, self.batch.div_ceil(pieces))
    }

    fn packs(&self) -> bool {
        self.steps > 1 && self.batch > 1
    }

    /// Runs `f` for each piece of the batch with the weights at hand; `backward`: those of the product with the gradients.
    fn with_pieces(&self, backward: bool, f: impl Fn(usize, usize, &Weights) + Sync) {
        let (k, n) = if backward { (self.width(), self.n) } else { (self.n, self.width()) };
        let row = self.n as isize;
        let (rs, cs) = if backward { (row, 1) } else { (1, row) };
        let (pieces, rows) = self.cut();
        let run = |weights: &Weights| {
            parallel_pieces(pieces, |i| {
                let at = (i * rows).min(self.batch);
                f(at, rows.min(self.batch - at), weights);
            });
        };
        if self.packs() {
            with_scratch::<f32, _>(Weights::size(k, n), |to| {
                // SAFETY: the weights are a matrix of gates n by n.
                run(&unsafe { Weights::packed(to, self.w, k, n, rs, cs) });
            });
        } else {
            run(&Weights { ptr: self.w, k, n, strides: Some((rs, cs)) });
        }
    }

    /// The rows from `at` on of state `i`.
    fn state(&self, states: SendPtr<f32>, i: usize, at: usize) -> Block {
        Block { ptr: states.get().wrapping_add((i * self.batch + at) * self.n), ld: self.n }
    }

    /// The states before and after step `t`.
    fn around(&self, t: usize) -> (usize, usize) {
        if self.reverse { (t + 1, t) } else { (t, t + 1) }
    }

    /// Fills in the states, and what is saved. Row `b` of step `t` of what the inputs give is at `t * strides.0 + b * strides.1`.
    ///
    /// # Safety
    /// All memory is as the fields say, and `x` has `gates n` elements in each row; states and saved values are distinct
    /// from the rest.
    pub unsafe fn forward(&self, x: SendPtr<f32>, strides: (isize, isize)) {
        let (width, n) = (self.width(), self.n);
        let ld = width.next_multiple_of(PANEL);
        let zeros = vec![0f32; width];
        let bias = if self.bias.get().is_null() { zeros.as_ptr().cast_mut() } else { self.bias.get() };
        let bias = SendPtr(bias);
        let saved = self.cell.saved() * n;
        self.with_pieces(false, |at, rows, weights| {
            with_scratch::<f32, _>(rows * ld + saved, |scratch| {
                for i in 0..self.steps {
                    let t = if self.reverse { self.steps - 1 - i } else { i };
                    let (before, after) = self.around(t);
                    let hidden = Block { ptr: scratch.get(), ld };
                    let h0 = self.state(self.h, before, at);
                    let keep = if self.saved.get().is_null() {
                        // One row that is written again and again.
                        Block { ptr: scratch.get().wrapping_add(rows * ld), ld: 0 }
                    } else {
                        Block { ptr: self.saved.get().wrapping_add((t * self.batch + at) * saved), ld: saved }
                    };
                    // SAFETY: the caller's promise; pieces have rows of their own.
                    unsafe {
                        weights.product(rows, h0, hidden, false);
                        let g = Gates {
                            rows,
                            n,
                            x: Block {
                                ptr: x.get().wrapping_offset(t as isize * strides.0 + at as isize * strides.1),
                                ld: strides.1 as usize,
                            },
                            hidden,
                            bias: Block { ptr: bias.get(), ld: 0 },
                            h0,
                            h1: self.state(self.h, after, at),
                            c0: self.state(self.c, before, at),
                            c1: self.state(self.c, after, at),
                            saved: keep,
                        };
                        forward_gates(self.cell, &g);
                    }
                }
            });
        });
    }

    /// Gradients of what the inputs gave (`dx`, `[steps, batch, gates n]`), for a GRU of what the hidden states gave
    /// (`dhidden`, alike), and of the given states: `dh` and `dc` (`[batch, n]`) hold those of the last states before.
    /// `out` is the gradient of the output, with strides of step and row. Without `to_given`, `dh` is left unspecified.
    ///
    /// # Safety
    /// As for [`Sequence::forward`].
    pub unsafe fn backward(
        &self,
        out: SendPtr<f32>,
        strides: (isize, isize),
        dx: SendPtr<f32>,
        dhidden: SendPtr<f32>,
        dh: SendPtr<f32>,
        dc: SendPtr<f32>,
        to_given: bool,
    ) {
        let (width, n) = (self.width(), self.n);
        let ld = n.next_multiple_of(PANEL);
        let saved = self.cell.saved() * n;
        self.with_pieces(true, |at, rows, weights| {
            with_scratch::<f32, _>(rows * ld, |scratch| {
                let here = Block { ptr: scratch.get(), ld };
                let given = Block { ptr: dh.get().wrapping_add(at * n), ld: n };
                // SAFETY: the caller's promise; pieces have rows of their own.
                unsafe {
                    for r in 0..rows {
                        here.write(r, 0, n).copy_from_slice(given.read(r, 0, n));
                    }
                    for i in 0..self.steps {
                        let t = if self.reverse { i } else { self.steps - 1 - i };
                        let (before, after) = self.around(t);
                        let gates =
                            |p: SendPtr<f32>| Block { ptr: p.get().wrapping_add((t * self.batch + at) * width), ld: width };
                        let g = GateGrads {
                            rows,
                            n,
                            out: Block {
                                ptr: out.get().wrapping_offset(t as isize * strides.0 + at as isize * strides.1),
                                ld: strides.1 as usize,
                            },
                            dh: here,
                            dc: Block { ptr: dc.get().wrapping_add(at * n), ld: n },
                            h0: self.state(self.h, before, at),
                            h1: self.state(self.h, after, at),
                            c0: self.state(self.c, before, at),
                            c1: self.state(self.c, after, at),
                            saved: Block { ptr: self.saved.get().wrapping_add((t * self.batch + at) * saved), ld: saved },
                            dx: gates(dx),
                            dhidden: gates(dhidden),
                        };
                        backward_gates(self.cell, &g);
                        if i + 1 == self.steps && !to_given {
                            break;
                        }
                        let gru = self.cell == Cell::Gru;
                        weights.product(rows, if gru { g.dhidden } else { g.dx }, here, gru);
                    }
                    for r in 0..rows {
                        given.write(r, 0, n).copy_from_slice(here.read(r, 0, n));
                    }
                }
            });
        });
    }
}

#[cfg(test)]
mod tests;
