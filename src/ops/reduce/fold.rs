//! The folding kernel: every reduction that combines elements in a fixed order.

use super::tools::Block;
use crate::cpu::threads::{SendPtr, parallel_for};

/// Rows shorter than this are folded by one thread.
const PIECE: usize = 1 << 16;

/// Folds a row in a fixed order: eight lanes, blocks merged pairwise, so that sums stay accurate.
pub fn fold_row<T: Copy, A: Copy>(row: &[T], init: A, f: &impl Fn(A, T) -> A, merge: &impl Fn(A, A) -> A) -> A {
    const BLOCK: usize = 1024;
    if row.len() > BLOCK {
        let mid = (row.len() / 2).next_multiple_of(BLOCK).min(row.len() - 1);
        return merge(fold_row(&row[..mid], init, f, merge), fold_row(&row[mid..], init, f, merge));
    }
    if row.len() < 8 {
        return row.iter().fold(init, |a, &v| f(a, v));
    }
    let mut lanes = [init; 8];
    let mut chunks = row.chunks_exact(8);
    for c in &mut chunks {
        for k in 0..8 {
            lanes[k] = f(lanes[k], c[k]);
        }
    }
    for (k, &v) in chunks.remainder().iter().enumerate() {
        lanes[k] = f(lanes[k], v);
    }
    merge(
        merge(merge(lanes[0], lanes[4]), merge(lanes[2], lanes[6])),
        merge(merge(lanes[1], lanes[5]), merge(lanes[3], lanes[7])),
    )
}

/// [`fold_row`] on all threads; the pieces depend on the length alone.
pub fn fold_long<T: Copy + Sync, A: Copy + Send + Sync>(
    row: &[T],
    init: A,
    f: &(impl Fn(A, T) -> A + Sync),
    merge: &(impl Fn(A, A) -> A + Sync),
) -> A {
    if row.len() <= PIECE {
        return fold_row(row, init, f, merge);
    }
    let mut parts = vec![init; row.len().div_ceil(PIECE)];
    let to = SendPtr(parts.as_mut_ptr());
    parallel_for(parts.len(), 1, |range| {
        for p in range {
            let part = fold_row(&row[p * PIECE..((p + 1) * PIECE).min(row.len())], init, f, merge);
            // SAFETY: part `p` belongs to this piece.
            unsafe { *to.get().add(p) = part };
        }
    });
    fold_row(&parts, init, merge, merge)
}

/// Columns `0..acc.len()` of `len` rows that lie `stride` apart.
fn fold_columns<T: Copy, A: Copy>(
    x: &[T],
    stride: usize,
    len: usize,
    acc: &mut [A],
    init: A,
    f: &impl Fn(A, T) -> A,
    merge: &impl Fn(A, A) -> A,
) {
    if len > 64 {
        let mid = len / 2;
        fold_columns(x, stride, mid, acc, init, f, merge);
        let mut other = vec![init; acc.len()];
        fold_columns(&x[mid * stride..], stride, len - mid, &mut other, init, f, merge);
        for (a, b) in acc.iter_mut().zip(other) {
            *a = merge(*a, b);
        }
        return;
    }
    acc.fill(init);
    for i in 0..len {
        for (a, &v) in acc.iter_mut().zip(&x[i * stride..]) {
            *a = f(*a, v);
        }
    }
}

/// Folds the middle axis of a block of `x`: `out[o, j]` from `x[o, .., j]`. Same bits for any number of
/// threads.
pub fn fold_block<T: Copy + Sync, A: Copy + Send + Sync>(
    x: &[T],
    b: &Block,
    out: &mut [A],
    init: A,
    f: impl Fn(A, T) -> A + Sync,
    merge: impl Fn(A, A) -> A + Sync,
) {
    let (outer, len, inner) = (b.outer, b.len, b.inner);
    assert!(x.len() == outer * len * inner && out.len() == outer * inner);
    if len == 0 || out.is_empty() {
        out.fill(init);
        return;
    }
    let to = SendPtr(out.as_mut_ptr());
    if inner == 1 {
        if len > PIECE && outer < 64 {
            for (row, o) in x.chunks_exact(len).zip(out) {
                *o = fold_long(row, init, &f, &merge);
            }
            return;
        }
        parallel_for(outer, (PIECE / len).max(1), |range| {
            for o in range {
                let v = fold_row(&x[o * len..(o + 1) * len], init, &f, &merge);
                // SAFETY: result `o` belongs to this piece.
                unsafe { *to.get().add(o) = v };
            }
        });
        return;
    }
    const WIDTH: usize = 1024;
    let chunks = inner.div_ceil(WIDTH);
    // Tall blocks are cut along the folded axis as well.
    let tall = (PIECE / inner.min(WIDTH)).max(64);
    let pieces = if outer * chunks < 64 { len.div_ceil(tall) } else { 1 };
    if pieces > 1 {
        let mut parts = vec![init; outer * pieces * inner];
        let to = SendPtr(parts.as_mut_ptr());
        parallel_for(outer * pieces * chunks, 1, |range| {
            for task in range {
                let (o, p, c) = (task / chunks / pieces, task / chunks % pieces, task % chunks);
                let (r0, c0) = (p * tall, c * WIDTH);
                let (rows, w) = (tall.min(len - r0), WIDTH.min(inner - c0));
                // SAFETY: these columns of part (o, p) belong to this piece.
                let acc = unsafe { to.slice((o * pieces + p) * inner + c0, w) };
                fold_columns(&x[(o * len + r0) * inner + c0..], inner, rows, acc, init, &f, &merge);
            }
        });
        let whole = Block { data: b.data.clone(), outer, len: pieces, inner };
        for o in 0..outer {
            let acc = &mut out[o * inner..(o + 1) * inner];
            fold_columns(&parts[o * pieces * inner..], inner, whole.len, acc, init, &merge, &merge);
        }
        return;
    }
    parallel_for(outer * chunks, (PIECE / (len * inner.min(WIDTH))).max(1), |range| {
        for task in range {
            let (o, c0) = (task / chunks, task % chunks * WIDTH);
            let w = WIDTH.min(inner - c0);
            // SAFETY: these columns of result `o` belong to this piece.
            let acc = unsafe { to.slice(o * inner + c0, w) };
            fold_columns(&x[o * len * inner + c0..], inner, len, acc, init, &f, &merge);
        }
    });
}
