//! Scaled dot-product attention by blocks: the matrix of scores is never stored.
//!
//! Scores are made for a block of queries and a block of keys, in memory that stays in cache. The forward pass keeps a
//! running maximum and sum of each row ("online softmax", Milakov and Gimelshein 2018) and saves their logarithm; the
//! backward pass makes the blocks again from it (Dao et al. 2022, FlashAttention). Every row goes through the blocks of
//! keys in the same order whatever the split, so the bits do not depend on the number of threads.

use super::gemm::{gemm, pack_panel, with_scratch};
use super::math;
use super::threads::{SendPtr, parallel_for, parallel_pieces};
use std::ops::Range;

/// Queries and keys in a block.
const BLOCK: usize = 64;
/// Multiply-adds below which everything stays on the caller.
const PARALLEL_WORK: usize = 1 << 20;
/// Heads from which each is one piece of work in the backward pass.
const MANY: usize = 8;

/// A matrix for each head: rows `rs` apart, elements of a row contiguous.
#[derive(Clone, Copy)]
pub struct Rows {
    pub ptr: SendPtr<f32>,
    pub rs: isize,
}

impl Rows {
    fn at(self, offset: isize, row: usize) -> *mut f32 {
        self.ptr.get().wrapping_offset(offset + row as isize * self.rs)
    }
}

/// What is added to the scores, element (query, key) of a head at `query * rs + key * cs`.
#[derive(Clone, Copy)]
pub enum Mask {
    None,
    /// Keys after the query are hidden.
    Causal,
    /// 0 hides.
    Bool(SendPtr<u8>, isize, isize),
    Add(SendPtr<f32>, isize, isize),
}

/// Offsets of a head in elements.
#[derive(Clone, Copy, Default)]
pub struct Head {
    pub q: isize,
    pub k: isize,
    pub v: isize,
    pub mask: isize,
    pub out: isize,
    /// Of the gradients of the result and of q, k and v.
    pub grad: isize,
    pub dq: isize,
    pub dk: isize,
    pub dv: isize,
}

/// The problem: `l` queries and `s` keys of `e` elements, values of `ev` elements; none of them zero.
pub struct Attention<'a> {
    pub l: usize,
    pub s: usize,
    pub e: usize,
    pub ev: usize,
    pub scale: f32,
    pub mask: Mask,
    pub heads: &'a [Head],
    pub q: Rows,
    pub k: Rows,
    pub v: Rows,
}

multiversion! {
    /// Products to scores, one row for each key, one lane for each query: `s * scale`, and the mask where there is one.
    /// Lanes from `rows` on are of no query.
    ///
    /// # Safety
    /// `s` has `cols` rows of `lanes` elements, `BLOCK` apart; the mask has the element of each score.
    unsafe fn masked(s: *mut f32, cols: usize, rows: usize, lanes: usize, scale: f32, mask: Mask, offset: isize, i0: usize, j0: usize) {
        for j in 0..cols {
            // SAFETY: by the caller.
            unsafe {
                let x = std::slice::from_raw_parts_mut(s.add(j * BLOCK), lanes);
                for v in x.iter_mut() {
                    *v *= scale;
                }
                let x = &mut x[..rows];
                match mask {
                    Mask::None => {}
                    Mask::Causal => x[..(j0 + j).saturating_sub(i0).min(rows)].fill(f32::NEG_INFINITY),
                    Mask::Bool(m, rs, cs) => {
                        let m = m.get().wrapping_offset(offset + i0 as isize * rs + (j0 + j) as isize * cs);
                        if rs == 0 {
                            if *m == 0 {
                                x.fill(f32::NEG_INFINITY);
                            }
                        } else {
                            for (i, v) in x.iter_mut().enumerate() {
                                *v = if *m.wrapping_offset(i as isize * rs) == 0 { f32::NEG_INFINITY } else { *v };
                            }
                        }
                    }
                    Mask::Add(m, rs, cs) => {
                        let m = m.get().wrapping_offset(offset + i0 as isize * rs + (j0 + j) as isize * cs);
                        if rs == 0 {
                            let m = *m;
                            x.iter_mut().for_each(|v| *v += m);
                        } else {
                            for (i, v) in x.iter_mut().enumerate() {
                                *v += *m.wrapping_offset(i as isize * rs);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What the forward pass knows of each query of a block, one lane each.
struct Running {
    max: [f32; BLOCK],
    total: [f32; BLOCK],
    /// What the sums so far are to be multiplied by.
    factor: [f32; BLOCK],
}

multiversion! {
    /// Scores to weights `exp(score - maximum)`, the running maximum and sum of each query brought up to date.
    ///
    /// # Safety
    /// As for [`masked`].
    unsafe fn weigh(s: *mut f32, cols: usize, lanes: usize, run: &mut Running) {
        let Running { max, total, factor } = run;
        let (max, total, factor) = (&mut max[..lanes], &mut total[..lanes], &mut factor[..lanes]);
        // SAFETY: by the caller, here and below.
        let row = |j: usize| unsafe { std::slice::from_raw_parts_mut(s.add(j * BLOCK), lanes) };
        factor.copy_from_slice(max);
        for j in 0..cols {
            for (m, v) in max.iter_mut().zip(row(j).iter()) {
                *m = if *v > *m { *v } else { *m };
            }
        }
        let mut shift = [0.0; BLOCK];
        let shift = &mut shift[..lanes];
        for (((m, t), f), d) in max.iter().zip(total.iter_mut()).zip(factor.iter_mut()).zip(shift.iter_mut()) {
            // A query all hidden so far has no maximum to take away.
            *d = if *m == f32::NEG_INFINITY { 0.0 } else { *m };
            *f = math::exp_nonpositive::<FMA>(*f - *d);
            *t *= *f;
        }
        for j in 0..cols {
            for ((v, d), t) in row(j).iter_mut().zip(shift.iter()).zip(total.iter_mut()) {
                let p = math::exp_nonpositive::<FMA>(*v - *d);
                *v = p;
                *t += p;
            }
        }
    }
}

multiversion! {
    /// The logarithm of each query's sum of exponentials (infinity where all is hidden, so that the backward pass makes
    /// zeros of it), and the factor that makes its weights sum to one.
    fn finish(run: &mut Running, lse: &mut [f32]) {
        for (i, lse) in lse.iter_mut().enumerate() {
            let sum = run.total[i];
            run.factor[i] = if sum == 0.0 { 0.0 } else { 1.0 / sum };
            *lse = if sum == 0.0 { f32::INFINITY } else { run.max[i] + math::log::<FMA>(sum) };
        }
    }
}

multiversion! {
    /// Rows of `n` elements times a factor each.
    ///
    /// # Safety
    /// `x` has a row for each factor, `ld` apart.
    unsafe fn scale_rows(x: *mut f32, n: usize, ld: isize, factors: &[f32]) {
        for (i, &f) in factors.iter().enumerate() {
            if f != 1.0 {
                // SAFETY: by the caller.
                for v in unsafe { std::slice::from_raw_parts_mut(x.offset(i as isize * ld), n) } {
                    *v *= f;
                }
            }
        }
    }
}

multiversion! {
    /// Scores become weights; products of values and gradient become gradients of the products of keys and queries.
    ///
    /// # Safety
    /// As for [`masked`], `d` as `s`; `lse` and `dot` have `lanes` elements.
    unsafe fn differentiate(s: *mut f32, d: *mut f32, cols: usize, lanes: usize, scale: f32, lse: &[f32], dot: &[f32]) {
        let (lse, dot) = (&lse[..lanes], &dot[..lanes]);
        for j in 0..cols {
            // SAFETY: by the caller.
            let (x, y) = unsafe {
                (std::slice::from_raw_parts_mut(s.add(j * BLOCK), lanes), std::slice::from_raw_parts_mut(d.add(j * BLOCK), lanes))
            };
            for k in 0..lanes {
                // At most 0, but for rounding.
                let p = math::exp_nonpositive::<FMA>(x[k] - lse[k]);
                x[k] = p;
                y[k] = p * (y[k] - dot[k]) * scale;
            }
        }
    }
}

multiversion! {
    /// The dot product of the columns of two matrices of `n` rows of `lanes` elements, `BLOCK` apart.
    fn column_dots(n: usize, lanes: usize, a: &[f32], b: &[f32], out: &mut [f32]) {
        let out = &mut out[..lanes];
        out.fill(0.0);
        for (a, b) in a.chunks_exact(BLOCK).zip(b.chunks_exact(BLOCK)).take(n) {
            for ((o, a), b) in out.iter_mut().zip(a).zip(b) {
                *o = crate::cpu::isa::fma::<FMA>(*a, *b, *o);
            }
        }
    }
}

impl Attention<'_> {
    /// How many keys the queries before `end` see.
    fn seen(&self, end: usize) -> usize {
        if matches!(self.mask, Mask::Causal) { self.s.min(end) } else { self.s }
    }

    /// Scores of queries `i0..i0 + rows` and keys `j0..j0 + cols`, masked: a row for each key.
    ///
    /// # Safety
    /// `qt` holds the queries of the block turned, padded with zeros to `lanes`; `s` has room for a block.
    unsafe fn scores(
        &self,
        head: &Head,
        qt: *const f32,
        s: *mut f32,
        i0: usize,
        rows: usize,
        lanes: usize,
        j0: usize,
        cols: usize,
    ) {
        let block = BLOCK as isize;
        // A block that is seen whole needs no mask.
        let mask = match self.mask {
            Mask::Causal if j0 + cols <= i0 + 1 => Mask::None,
            m => m,
        };
        // SAFETY: the caller's promise, and that of `forward` and `backward`.
        unsafe {
            gemm(cols, lanes, self.e, self.k.at(head.k, j0), self.k.rs, 1, qt, block, 1, s, block, 1, false);
            masked(s, cols, rows, lanes, self.scale, mask, head.mask, i0, j0);
        }
    }

    /// The result of the block of queries at `i0` of one head.
    ///
    /// # Safety
    /// As for [`Attention::forward`]; `qt` has room for `BLOCK` queries, `s` for a block of scores.
    unsafe fn forward_block(&self, head: &Head, i0: usize, qt: *mut f32, s: *mut f32, out: Rows, lse: *mut f32) {
        let block = BLOCK as isize;
        let rows = (self.l - i0).min(BLOCK);
        let lanes = rows.next_multiple_of(16);
        let mut run = Running { max: [f32::NEG_INFINITY; BLOCK], total: [0.0; BLOCK], factor: [0.0; BLOCK] };
        // SAFETY: inside the operands by the caller's promise.
        unsafe {
            let to = out.at(head.out, i0);
            pack_panel(qt, BLOCK, self.q.at(head.q, i0), self.q.rs, 1, rows, self.e);
            let seen = self.seen(i0 + rows);
            for j0 in (0..seen).step_by(BLOCK) {
                let cols = (seen - j0).min(BLOCK);
                self.scores(head, qt, s, i0, rows, lanes, j0, cols);
                weigh(s, cols, lanes, &mut run);
                if j0 > 0 {
                    scale_rows(to, self.ev, out.rs, &run.factor[..rows]);
                }
                gemm(rows, self.ev, cols, s, 1, block, self.v.at(head.v, j0), self.v.rs, 1, to, out.rs, 1, j0 > 0);
            }
            finish(&mut run, std::slice::from_raw_parts_mut(lse.add(i0), rows));
            scale_rows(to, self.ev, out.rs, &run.factor[..rows]);
        }
    }

    /// `out = softmax(q k^T scale + mask) v`, and the logarithms of the sums of exponentials, `l` for each head.
    ///
    /// # Safety
    /// The operands are readable at every head's offsets; `out` and `lse` are writable, distinct, and no part of them.
    pub unsafe fn forward(&self, out: Rows, lse: SendPtr<f32>) {
        let blocks = self.l.div_ceil(BLOCK);
        let work = self.l.min(BLOCK) * self.s * (self.e + self.ev);
        parallel_for(self.heads.len() * blocks, (PARALLEL_WORK / work.max(1)).max(1), |range| {
            with_scratch::<f32, _>(BLOCK * (self.e + BLOCK), |scratch| {
                for task in range.clone() {
                    // Late queries see most keys: they come first, so that the last pieces to run are short ones.
                    let (h, block) = (task / blocks, blocks - 1 - task % blocks);
                    // SAFETY: the caller's promise; tasks write disjoint rows.
                    unsafe {
                        let (qt, s) = (scratch.get(), scratch.get().add(BLOCK * self.e));
                        self.forward_block(&self.heads[h], block * BLOCK, qt, s, out, lse.get().add(h * self.l));
                    }
                }
            });
        });
    }

    /// What the queries `rows` and keys `keys` of one head give each other: the gradients of the former, of the latter,
    /// or both.
    ///
    /// # Safety
    /// As for [`Attention::backward`].
    unsafe fn backward_part(
        &self,
        head: &Head,
        b: &Backward,
        lse: *const f32,
        rows: Range<usize>,
        keys: Range<usize>,
        to_q: bool,
        to_kv: bool,
    ) {
        let block = BLOCK as isize;
        let wide = self.e.max(self.ev);
        with_scratch::<f32, _>(BLOCK * (wide + self.ev + 2 * BLOCK), |scratch| {
            let qt = scratch.get();
            // SAFETY: inside the scratch; inside the operands by the caller's promise.
            unsafe {
                let gt = qt.add(BLOCK * wide);
                let s = gt.add(BLOCK * self.ev);
                let d = s.add(BLOCK * BLOCK);
                // Keys from here on have no gradient yet.
                let mut fresh = keys.start;
                for i0 in rows.clone().step_by(BLOCK) {
                    let n = (rows.end - i0).min(BLOCK);
                    let lanes = n.next_multiple_of(16);
                    let seen = self.seen(i0 + n).min(keys.end);
                    if seen <= keys.start {
                        continue;
                    }
                    let g = b.grad.at(head.grad, i0);
                    let mut dot = [0f32; BLOCK];
                    let mut logs = [0f32; BLOCK];
                    logs[..n].copy_from_slice(std::slice::from_raw_parts(lse.add(i0), n));
                    pack_panel(gt, BLOCK, g, b.grad.rs, 1, n, self.ev);
                    pack_panel(qt, BLOCK, b.out.at(head.out, i0), b.out.rs, 1, n, self.ev);
                    let turned = |p: *mut f32| std::slice::from_raw_parts(p, BLOCK * self.ev);
                    column_dots(self.ev, lanes, turned(gt), turned(qt), &mut dot);
                    pack_panel(qt, BLOCK, self.q.at(head.q, i0), self.q.rs, 1, n, self.e);
                    for j0 in (keys.start..seen).step_by(BLOCK) {
                        let cols = (seen - j0).min(BLOCK);
                        self.scores(head, qt, s, i0, n, lanes, j0, cols);
                        gemm(cols, lanes, self.ev, self.v.at(head.v, j0), self.v.rs, 1, gt, block, 1, d, block, 1, false);
                        differentiate(s, d, cols, lanes, self.scale, &logs, &dot);
                        if to_kv {
                            let (q, dk, dv) = (self.q.at(head.q, i0), b.dk.at(head.dk, j0), b.dv.at(head.dv, j0));
                            // A block that is seen for the first time may end before the next query block's does.
                            let old = fresh.saturating_sub(j0).min(cols);
                            gemm(old, self.ev, n, s, block, 1, g, b.grad.rs, 1, dv, b.dv.rs, 1, true);
                            gemm(old, self.e, n, d, block, 1, q, self.q.rs, 1, dk, b.dk.rs, 1, true);
                            let (rest, row) = (cols - old, old as isize);
                            let (s, d) = (s.offset(row * block), d.offset(row * block));
                            let (dk, dv) = (dk.wrapping_offset(row * b.dk.rs), dv.wrapping_offset(row * b.dv.rs));
                            gemm(rest, self.ev, n, s, block, 1, g, b.grad.rs, 1, dv, b.dv.rs, 1, false);
                            gemm(rest, self.e, n, d, block, 1, q, self.q.rs, 1, dk, b.dk.rs, 1, false);
                        }
                        if to_q {
                            let (k, dq) = (self.k.at(head.k, j0), b.dq.at(head.dq, i0));
                            gemm(n, self.e, cols, d, 1, block, k, self.k.rs, 1, dq, b.dq.rs, 1, j0 > keys.start);
                        }
                    }
                    fresh = fresh.max(seen);
                }
                if to_kv {
                    // Keys that no query sees.
                    for j in fresh..keys.end {
                        std::slice::from_raw_parts_mut(b.dk.at(head.dk, j), self.e).fill(0.0);
                        std::slice::from_raw_parts_mut(b.dv.at(head.dv, j), self.ev).fill(0.0);
                    }
                }
            }
        });
    }

    /// The gradients of q, k and v; `heads` have their gradients apart even where they share keys.
    ///
    /// # Safety
    /// As for [`Attention::forward`]; what is written is distinct from what is read and from each other.
    pub unsafe fn backward(&self, b: &Backward) {
        let heads = self.heads.len();
        let work = 5 * self.l * self.s * self.e.max(self.ev);
        // SAFETY: the caller's promise; tasks write disjoint rows.
        let part = |h: usize, rows: Range<usize>, keys: Range<usize>, to_q: bool, to_kv: bool| unsafe {
            self.backward_part(&self.heads[h], b, b.lse.get().add(h * self.l), rows, keys, to_q, to_kv);
        };
        if heads >= MANY || work < PARALLEL_WORK {
            let grain = (PARALLEL_WORK / work.max(1)).max(1);
            return parallel_for(heads, grain, |range| range.for_each(|h| part(h, 0..self.l, 0..self.s, true, true)));
        }
        // Few heads: the gradients of keys and those of queries are made apart, each by pieces; scores are made twice.
        const PIECE: usize = 2 * BLOCK;
        let (of_keys, of_rows) = (self.s.div_ceil(PIECE), self.l.div_ceil(PIECE));
        parallel_pieces(heads * (of_keys + of_rows), |task| {
            let (h, p) = (task / (of_keys + of_rows), task % (of_keys + of_rows));
            if p < of_keys {
                let keys = p * PIECE..((p + 1) * PIECE).min(self.s);
                // Queries before the piece see none of it.
                let first = if matches!(self.mask, Mask::Causal) { keys.start.min(self.l) } else { 0 };
                part(h, first..self.l, keys, false, true);
            } else {
                let p = of_rows - 1 - (p - of_keys);
                part(h, p * PIECE..((p + 1) * PIECE).min(self.l), 0..self.s, true, false);
            }
        });
    }
}

/// What the backward pass reads besides the operands, and where it writes.
pub struct Backward {
    pub grad: Rows,
    pub out: Rows,
    pub lse: SendPtr<f32>,
    pub dq: Rows,
    pub dk: Rows,
    pub dv: Rows,
}

#[cfg(test)]
mod tests;
