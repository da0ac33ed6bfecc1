//! Reductions of contiguous memory, seen as outer x len x inner, along the middle.
//!
//! A reduction is a tree whose shape depends on the sizes alone: runs of [`BLOCK`] elements, pieces of [`PIECE`], then
//! the whole. Partial results of columns are merged in the same manner.

pub mod extreme;
pub mod kernels;
pub mod moments;
pub mod ops;
pub mod source;

use super::threads::{SendPtr, parallel_for};
use kernels::{fold_rows, fold_runs};
use ops::{Fold, Value};
use source::Source;
use std::marker::PhantomData;

/// Elements read at a time; they stay in L1.
pub const BLOCK: usize = 4096;
/// Elements that are worth handing to another thread.
pub const PIECE: usize = 1 << 16;
/// Columns worked on together.
const WIDTH: usize = 1024;
/// Rows that are added up without partial results in between.
const TALL: usize = 512;

/// What is reduced: `len` of outer x len x inner.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    pub outer: usize,
    pub len: usize,
    pub inner: usize,
}

impl Shape {
    pub fn numel(&self) -> usize {
        self.outer * self.len * self.inner
    }
}

/// Room for `n` elements if the source needs it.
fn buffer<T: Copy, S: Source<T>>(n: usize, zero: T) -> Vec<T> {
    if S::BUFFERED { vec![zero; n] } else { Vec::new() }
}

/// Folds the middle axis by `O`: `out[o, j]` from `x[o, .., j]`.
pub fn fold<T: Value, O: Fold<T>, S: Source<T>>(x: &S, s: Shape, out: &mut [T]) {
    assert!(x.len() == s.numel() && out.len() == s.outer * s.inner, "reduction buffers");
    if s.len == 0 || out.is_empty() {
        out.fill(O::START);
    } else if s.inner == 1 {
        fold_last::<T, O, S>(x, s, out);
    } else {
        fold_columns::<T, O, S>(x, s, out);
    }
}

/// One run of any length up to [`PIECE`].
///
/// # Safety
/// The run is inside `x`; `buffer` has room for a block if the source needs it.
unsafe fn fold_run<T: Value, O: Fold<T>, S: Source<T>>(x: &S, at: usize, n: usize, buffer: *mut T) -> T {
    let mut parts = [O::START; PIECE / BLOCK];
    let count = n.div_ceil(BLOCK);
    let mut all = O::START;
    // SAFETY: inside, by the caller.
    unsafe {
        for (b, part) in parts[..count].iter_mut().enumerate() {
            let (at, n) = (at + b * BLOCK, BLOCK.min(n - b * BLOCK));
            fold_runs(PhantomData::<O>, x.read(at, n, buffer), 1, n, part);
        }
        fold_runs(PhantomData::<O::Merge>, parts.as_ptr(), 1, count, &mut all);
    }
    all
}

fn fold_last<T: Value, O: Fold<T>, S: Source<T>>(x: &S, s: Shape, out: &mut [T]) {
    let to = SendPtr(out.as_mut_ptr());
    let len = s.len;
    if len <= BLOCK {
        // Several rows at a time.
        let group = (BLOCK / len).max(1);
        parallel_for(s.outer, (PIECE / len).next_multiple_of(group), |rows| {
            let mut buffer = buffer::<T, S>(group * len, O::START);
            for first in rows.clone().step_by(group) {
                let count = group.min(rows.end - first);
                // SAFETY: these rows and results belong to this piece.
                unsafe {
                    let x = x.read(first * len, count * len, buffer.as_mut_ptr());
                    fold_runs(PhantomData::<O>, x, count, len, to.get().add(first));
                }
            }
        });
        return;
    }
    let pieces = len.div_ceil(PIECE);
    let mut parts = vec![O::START; s.outer * pieces];
    let part = SendPtr(parts.as_mut_ptr());
    parallel_for(parts.len(), (PIECE / len).max(1), |range| {
        let mut buffer = buffer::<T, S>(BLOCK, O::START);
        for task in range {
            let (row, at) = (task / pieces, task % pieces * PIECE);
            // SAFETY: this part belongs to this piece.
            unsafe { *part.get().add(task) = fold_run::<T, O, S>(x, row * len + at, PIECE.min(len - at), buffer.as_mut_ptr()) }
        }
    });
    if pieces == 1 {
        out.copy_from_slice(&parts);
    } else {
        // SAFETY: `pieces` parts for every result.
        unsafe { fold_runs(PhantomData::<O::Merge>, parts.as_ptr(), s.outer, pieces, out.as_mut_ptr()) }
    }
}

/// Columns `c..c + acc.len()` of rows `r..r + rows` (of `inner` elements, the first at `at`) into `acc`.
///
/// # Safety
/// They are inside `x`; `buffer` has room for eight rows of `acc` if the source needs it.
unsafe fn fold_tile<T: Value, O: Fold<T>, S: Source<T>>(
    x: &S,
    at: usize,
    inner: usize,
    rows: usize,
    acc: &mut [T],
    buffer: *mut T,
) {
    if rows > TALL {
        let half = (rows / 2).next_multiple_of(8);
        let mut other = vec![O::START; acc.len()];
        // SAFETY: both halves are inside.
        unsafe {
            fold_tile::<T, O, S>(x, at, inner, half, acc, buffer);
            fold_tile::<T, O, S>(x, at + half * inner, inner, rows - half, &mut other, buffer);
        }
        for (a, b) in acc.iter_mut().zip(other) {
            *a = O::merge(*a, b);
        }
        return;
    }
    let w = acc.len();
    // SAFETY: inside, by the caller.
    unsafe {
        if !S::BUFFERED {
            return fold_rows(PhantomData::<O>, x.read(at, w, buffer), inner, rows, acc);
        }
        for first in (0..rows).step_by(8) {
            let count = 8.min(rows - first);
            for r in 0..count {
                x.read(at + (first + r) * inner, w, buffer.add(r * w));
            }
            fold_rows(PhantomData::<O>, buffer, w, count, acc);
        }
    }
}

fn fold_columns<T: Value, O: Fold<T>, S: Source<T>>(x: &S, s: Shape, out: &mut [T]) {
    let Shape { outer, len, inner } = s;
    // Narrow rows are taken several at a time, as one wide row.
    let group = if inner < 64 && len >= 16 { (128 / inner).min(len / 8) } else { 1 };
    if group > 1 {
        let wide = inner * group;
        let whole = len / group;
        let mut sums = vec![O::START; outer * wide];
        let (part, to) = (SendPtr(sums.as_mut_ptr()), SendPtr(out.as_mut_ptr()));
        parallel_for(outer, (PIECE / (len * inner)).max(1), |range| {
            let mut buffer = buffer::<T, S>(8 * wide, O::START);
            for o in range {
                // SAFETY: these sums and results belong to this piece.
                unsafe {
                    let (acc, out) = (part.slice(o * wide, wide), to.slice(o * inner, inner));
                    let at = o * len * inner;
                    fold_tile::<T, O, S>(x, at, wide, whole, acc, buffer.as_mut_ptr());
                    out.fill(O::START);
                    fold_rows(PhantomData::<O::Merge>, acc.as_ptr(), inner, group, out);
                    let rest = len - whole * group;
                    if rest > 0 {
                        let x = x.read(at + whole * wide, rest * inner, buffer.as_mut_ptr());
                        fold_rows(PhantomData::<O>, x, inner, rest, out);
                    }
                }
            }
        });
        return;
    }
    let chunks = inner.div_ceil(WIDTH);
    // Tall blocks are cut along the folded axis as well.
    let tall = (PIECE / inner.min(WIDTH)).max(64);
    let pieces = if outer * chunks < 64 { len.div_ceil(tall) } else { 1 };
    let mut parts = if pieces > 1 { vec![O::START; outer * pieces * inner] } else { Vec::new() };
    let rows = if pieces > 1 { tall } else { len };
    let to = SendPtr(if pieces > 1 { parts.as_mut_ptr() } else { out.as_mut_ptr() });
    parallel_for(outer * pieces * chunks, (PIECE / (rows * inner.min(WIDTH))).max(1), |range| {
        let mut buffer = buffer::<T, S>(8 * WIDTH.min(inner), O::START);
        for task in range {
            let (o, p, c) = (task / chunks / pieces, task / chunks % pieces, task % chunks);
            let (r0, c0) = (p * rows, c * WIDTH);
            let w = WIDTH.min(inner - c0);
            // SAFETY: these columns of this part belong to this piece.
            unsafe {
                let acc = to.slice((o * pieces + p) * inner + c0, w);
                acc.fill(O::START);
                fold_tile::<T, O, S>(x, (o * len + r0) * inner + c0, inner, rows.min(len - r0), acc, buffer.as_mut_ptr());
            }
        }
    });
    if pieces > 1 {
        out.fill(O::START);
        for (out, parts) in out.chunks_exact_mut(inner).zip(parts.chunks_exact(pieces * inner)) {
            // SAFETY: `pieces` rows of `inner` parts.
            unsafe { fold_rows(PhantomData::<O::Merge>, parts.as_ptr(), inner, pieces, out) }
        }
    }
}

#[cfg(test)]
mod tests;
