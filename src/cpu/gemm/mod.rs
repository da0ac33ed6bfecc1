//! Matrix products of strided operands.
//!
//! Large products pack their operands into panels and run a register tile over them. Packing pays where panels are read
//! often: with few rows of tiles, or short rows, the operands are read where they are, provided that a tile's rows find
//! room in the first-level cache. Products with few rows or columns are rows of dot products or sums of scaled rows. Which
//! way is taken depends on sizes and strides alone, and every way sums each element in an order of its own, so the bits do
//! not depend on the number of threads.
//!
//! A product starts from nothing, from the result or from a bias for each column, and may end with an activation, which is
//! applied to each tile's rows while they are in cache.

#![allow(clippy::too_many_arguments)]

mod ends;
mod int;
mod kernel;
mod narrow;
mod pack;
mod packed;
mod turn;

pub use ends::Activation;
pub use int::{IntScalar, batched_gemm_int, gemm_int};
pub use kernel::{GemmScalar, Kernels};
pub use narrow::{Narrow, batched_gemm_narrow};
pub use pack::{pack_panel, with_scratch};
pub use packed::{Panels, gemm_panels, strided_panels};
pub use turn::{transpose, transpose_rows};

use super::threads::{SendPtr, in_parallel, num_threads, parallel_for, parallel_pieces};
use ends::Ends;
use packed::Strided;
use std::ops::Range;

/// Multiply-adds below which a product stays on one thread.
const PARALLEL_WORK: usize = 1 << 20;

/// Steps of an unpacked product at a time: rows of a tile stay in the first-level cache.
const DEPTH: usize = 800;

/// Bytes of a right operand that stay in the second-level cache.
const SECOND_CACHE: usize = 1 << 20;
/// Rows of tiles, or bytes of a row of the right operand, up to which packing costs more than it gains.
const FEW_TILES: usize = 12;
const NARROW: usize = 2 << 10;

/// Elements of a right operand small enough to turn on the stack.
const SMALL_COPY: usize = 512;

/// A strided matrix to read.
#[derive(Clone, Copy)]
pub struct Mat<T> {
    ptr: *const T,
    rs: isize,
    cs: isize,
}

// SAFETY: the pointer is only read while the caller of `gemm` keeps the operand alive and unwritten.
unsafe impl<T> Send for Mat<T> {}
// SAFETY: as for Send.
unsafe impl<T> Sync for Mat<T> {}

impl<T> Mat<T> {
    fn t(self) -> Self {
        Mat { ptr: self.ptr, rs: self.cs, cs: self.rs }
    }

    /// As [`Mat::at`], for a matrix that may not be there.
    fn from(self, row: usize, col: usize) -> *const T {
        if self.ptr.is_null() { self.ptr } else { self.at(row, col) }
    }

    fn at(self, row: usize, col: usize) -> *const T {
        self.ptr.wrapping_offset(row as isize * self.rs + col as isize * self.cs)
    }
}

/// A strided matrix to write.
#[derive(Clone, Copy)]
struct Out<T> {
    ptr: SendPtr<T>,
    rs: isize,
    cs: isize,
}

impl<T> Out<T> {
    /// What a product starts from: this matrix, or nothing.
    fn start(&self, accumulate: bool) -> Mat<T> {
        let ptr = if accumulate { self.ptr.get().cast_const() } else { std::ptr::null() };
        Mat { ptr, rs: self.rs, cs: self.cs }
    }

    fn at(self, row: usize, col: usize) -> *mut T {
        self.ptr.get().wrapping_offset(row as isize * self.rs + col as isize * self.cs)
    }
}

/// `c = a * b`, or `c += a * b` with `accumulate`: `a` is `m x k`, `b` is `k x n`, `c` is `m x n`,
/// element `(i, j)` of a matrix at `i * row stride + j * column stride`, strides in elements.
///
/// # Safety
/// All elements of `a` and `b` are readable; those of `c` are distinct, writable, not part of `a` or
/// `b`, and initialised when `accumulate` is set.
pub unsafe fn gemm<T: GemmScalar>(
    m: usize,
    n: usize,
    k: usize,
    a: *const T,
    rsa: isize,
    csa: isize,
    b: *const T,
    rsb: isize,
    csb: isize,
    c: *mut T,
    rsc: isize,
    csc: isize,
    accumulate: bool,
) {
    let a = Mat { ptr: a, rs: rsa, cs: csa };
    let b = Mat { ptr: b, rs: rsb, cs: csb };
    let c = Out { ptr: SendPtr(c), rs: rsc, cs: csc };
    // SAFETY: the caller's promise.
    unsafe { gemm_with(T::kernels(), m, n, k, a, b, c, Ends::start(c.start(accumulate))) }
}

/// `c = activation(a * b + bias)`, the bias a row of `n` elements; the rest as for [`gemm`].
///
/// # Safety
/// As for [`gemm`]; the bias is readable and no part of `c`.
pub unsafe fn gemm_bias<T: GemmScalar>(
    m: usize,
    n: usize,
    k: usize,
    a: *const T,
    rsa: isize,
    csa: isize,
    b: *const T,
    rsb: isize,
    csb: isize,
    c: *mut T,
    rsc: isize,
    csc: isize,
    bias: *const T,
    activation: Option<Activation>,
) {
    let a = Mat { ptr: a, rs: rsa, cs: csa };
    let b = Mat { ptr: b, rs: rsb, cs: csb };
    let c = Out { ptr: SendPtr(c), rs: rsc, cs: csc };
    // SAFETY: the caller's promise.
    unsafe { gemm_with(T::kernels(), m, n, k, a, b, c, Ends { init: Mat { ptr: bias, rs: 0, cs: 1 }, activation }) }
}

/// A batch of products; matrix `i` of an operand starts at `i * batch stride`.
///
/// # Safety
/// As for [`gemm`], for every matrix of the batch; the matrices of `c` do not overlap.
pub unsafe fn batched_gemm<T: GemmScalar>(
    batch: usize,
    m: usize,
    n: usize,
    k: usize,
    a: *const T,
    bsa: isize,
    rsa: isize,
    csa: isize,
    b: *const T,
    bsb: isize,
    rsb: isize,
    csb: isize,
    c: *mut T,
    bsc: isize,
    rsc: isize,
    csc: isize,
    accumulate: bool,
) {
    let kernels = T::kernels();
    let a = Mat { ptr: a, rs: rsa, cs: csa };
    let b = Mat { ptr: b, rs: rsb, cs: csb };
    let c = SendPtr(c);
    let one = |i: usize| {
        let a = Mat { ptr: a.at(0, 0).wrapping_offset(i as isize * bsa), rs: a.rs, cs: a.cs };
        let b = Mat { ptr: b.at(0, 0).wrapping_offset(i as isize * bsb), rs: b.rs, cs: b.cs };
        let c = Out { ptr: SendPtr(c.get().wrapping_offset(i as isize * bsc)), rs: rsc, cs: csc };
        // SAFETY: the caller's promise for matrix `i`.
        unsafe { gemm_with(kernels, m, n, k, a, b, c, Ends::start(c.start(accumulate))) }
    };
    let work = m.saturating_mul(n).saturating_mul(k).max(1);
    // Few large products go one by one, each on all threads; many go side by side.
    if batch < 2 * num_threads() && work >= PARALLEL_WORK {
        (0..batch).for_each(one);
    } else {
        parallel_for(batch, (PARALLEL_WORK / 4 / work).max(1), |range| {
            range.for_each(one);
        });
    }
}

unsafe fn gemm_with<T: GemmScalar>(
    kernels: &Kernels<T>,
    m: usize,
    n: usize,
    k: usize,
    a: Mat<T>,
    b: Mat<T>,
    c: Out<T>,
    ends: Ends<T>,
) {
    if m == 0 || n == 0 {
        return;
    }
    // SAFETY: every access below stays inside the operands, whose validity is the caller's promise.
    unsafe {
        if k == 0 {
            fill(m, n, c, ends.init);
            return ends.finish(c, 0..m, 0..n);
        }
        // A column is a row of the transposed product.
        if n == 1 && m > 1 {
            return gemm_with(kernels, 1, m, k, b.t(), a.t(), transposed(c), ends.t());
        }
        if c.cs != 1 && c.rs == 1 && m > 1 {
            return gemm_with(kernels, n, m, k, b.t(), a.t(), transposed(c), ends.t());
        }
        let nothing = Mat { ptr: std::ptr::null(), rs: 0, cs: 0 };
        let a_rows = a.cs == 1 || k == 1;
        let b_cols = b.rs == 1 || k == 1;
        let b_rows = b.cs == 1 || n == 1;
        // Few rows or columns, both operands contiguous along k: dot products.
        if k >= kernels.lanes {
            if m == 1 && b_cols && (b.cs != 1 || n == 1) {
                return dots_copied(kernels, m, n, k, a, b, c, ends, !a_rows, false);
            }
            if m <= 8 && b_cols && !b_rows {
                return dots_copied(kernels, m, n, k, a, b, c, ends, !a_rows, false);
            }
            if n <= 12 && a_rows && m > 1 && (n <= 4 || k >= 4 * kernels.lanes) && m > n {
                return dots_copied(kernels, m, n, k, a, b, c, ends, false, !b_cols);
            }
        }
        if c.cs != 1 && n > 1 {
            // Neither rows nor columns of the result are contiguous: go through a copy.
            return with_scratch::<T, _>(m * n, |ptr| {
                let tmp = Out { ptr, rs: n as isize, cs: 1 };
                gemm_with(kernels, m, n, k, a, b, tmp, Ends::start(nothing));
                copied(m, n, tmp, c, ends);
            });
        }
        if !ends.init.ptr.is_null() && ends.init.cs != 1 && n > 1 {
            // The kernels below start from rows.
            fill(m, n, c, ends.init);
            return gemm_with(kernels, m, n, k, a, b, c, Ends { init: c.start(true), ..ends });
        }
        if m == 1 && b_rows {
            return row_times(kernels, n, k, a, b, c, ends);
        }
        if n <= 12 && m >= 32 && a.rs == 1 && c.rs != 1 {
            // Columns of `a` are contiguous: make the result by columns, then turn it.
            return with_scratch::<T, _>(m * n, |ptr| {
                let tmp = Out { ptr, rs: m as isize, cs: 1 };
                gemm_with(kernels, n, m, k, b.t(), a.t(), tmp, Ends::start(nothing));
                copied(m, n, transposed(tmp), c, ends);
            });
        }
        let work = m * n * k;
        if !b_rows && k * n <= SMALL_COPY && work < PARALLEL_WORK {
            let mut copy = [T::default(); SMALL_COPY];
            for p in 0..k {
                for j in 0..n {
                    copy[p * n + j] = *b.at(p, j);
                }
            }
            let b = Mat { ptr: copy.as_ptr(), rs: n as isize, cs: 1 };
            return unpacked(kernels, m, n, k, a, b, c, ends);
        }
        let small = m <= kernels.mr || (work < PARALLEL_WORK && k * n * size_of::<T>() <= 48 << 10);
        let few = m <= FEW_TILES * kernels.mr && spread::<T>(b.rs) || n * size_of::<T>() <= NARROW;
        if b_rows && (small || few && a_rows && spread::<T>(a.rs)) {
            return unpacked(kernels, m, n, k, a, b, c, ends);
        }
        let a = Strided { ptr: a.ptr, across: a.rs, step: a.cs };
        let b = Strided { ptr: b.ptr, across: b.cs, step: b.rs };
        packed::packed(kernels, m, n, k, &a, &b, c, ends);
    }
}

fn transposed<T>(c: Out<T>) -> Out<T> {
    Out { ptr: c.ptr, rs: c.cs, cs: c.rs }
}

/// Whether rows so far apart fit side by side into the first-level cache: those at multiples of 4 KB push each other out.
fn spread<T>(stride: isize) -> bool {
    !(stride.unsigned_abs() * size_of::<T>()).is_multiple_of(4096)
}

/// A product that was made elsewhere becomes the result.
unsafe fn copied<T: GemmScalar>(m: usize, n: usize, from: Out<T>, c: Out<T>, ends: Ends<T>) {
    for i in 0..m {
        for j in 0..n {
            // SAFETY: inside all three by the caller's promise.
            unsafe {
                let v = *from.at(i, j);
                *c.at(i, j) = if ends.init.ptr.is_null() { v } else { *ends.init.at(i, j) + v };
            }
        }
    }
    // SAFETY: as above.
    unsafe { ends.finish(c, 0..m, 0..n) }
}

/// The product of nothing: zeros, or what it starts from.
unsafe fn fill<T: GemmScalar>(m: usize, n: usize, c: Out<T>, init: Mat<T>) {
    for i in 0..m {
        for j in 0..n {
            // SAFETY: inside both by the caller's promise.
            unsafe { *c.at(i, j) = if init.ptr.is_null() { T::default() } else { *init.at(i, j) } };
        }
    }
}

/// Runs one piece per range of `0..n`, ranges being multiples of `unit`, in parallel if `work` pays.
fn split(n: usize, unit: usize, work: usize, f: impl Fn(usize, usize) + Sync) {
    let threads = if work < PARALLEL_WORK / 4 || in_parallel() { 1 } else { num_threads() };
    let units = n.div_ceil(unit);
    if threads == 1 || units == 1 {
        return f(0, n);
    }
    // The split may depend on the threads: no element's sum crosses a piece.
    let piece = units.div_ceil(4 * threads) * unit;
    parallel_pieces(n.div_ceil(piece), |i| f(i * piece, ((i + 1) * piece).min(n)));
}

/// Dot products, after copying an operand whose rows are not contiguous along k.
unsafe fn dots_copied<T: GemmScalar>(
    kernels: &Kernels<T>,
    m: usize,
    n: usize,
    k: usize,
    a: Mat<T>,
    b: Mat<T>,
    c: Out<T>,
    ends: Ends<T>,
    copy_a: bool,
    copy_b: bool,
) {
    let (extra_a, extra_b) = (if copy_a { m * k } else { 0 }, if copy_b { n * k } else { 0 });
    // SAFETY: the scratch has room for both copies; the rest is the caller's promise.
    unsafe {
        if extra_a + extra_b == 0 {
            return dots(kernels, m, n, k, a, b.t(), c, ends);
        }
        with_scratch::<T, _>(extra_a + extra_b, |scratch| {
            let copy = |from: Mat<T>, rows: usize, to: *mut T| {
                for i in 0..rows {
                    for p in 0..k {
                        *to.add(i * k + p) = *from.at(i, p);
                    }
                }
                Mat { ptr: to.cast_const(), rs: k as isize, cs: 1 }
            };
            let a = if copy_a { copy(a, m, scratch.get()) } else { a };
            let bt = if copy_b { copy(b.t(), n, scratch.get().add(extra_a)) } else { b.t() };
            dots(kernels, m, n, k, a, bt, c, ends);
        });
    }
}

/// `c[i, j] = dot(a row i, bt row j)`, both contiguous along k.
unsafe fn dots<T: GemmScalar>(
    kernels: &Kernels<T>,
    m: usize,
    n: usize,
    k: usize,
    a: Mat<T>,
    bt: Mat<T>,
    c: Out<T>,
    ends: Ends<T>,
) {
    let init = ends.init;
    let run = |i0: usize, i1: usize, j0: usize, j1: usize| {
        for j in (j0..j1).step_by(4) {
            for i in (i0..i1).step_by(4) {
                let kernel = kernels.dots[(i1 - i).min(4) - 1][(j1 - j).min(4) - 1];
                // SAFETY: the tile lies inside the operands.
                unsafe {
                    kernel(k, a.at(i, 0), a.rs, bt.at(j, 0), bt.rs, c.at(i, j), c.rs, c.cs, init.from(i, j), init.rs, init.cs);
                }
            }
        }
        // SAFETY: as above.
        unsafe { ends.finish(c, i0..i1, j0..j1) }
    };
    if n >= m {
        split(n, 4, m * n * k, |j0, j1| run(0, m, j0, j1));
    } else {
        split(m, 4, m * n * k, |i0, i1| run(i0, i1, 0, n));
    }
}

/// Rows of a matrix that are read side by side: enough to keep a sum in a register for a while, few enough for the
/// processor to see that each is read from one end to the other.
const STREAMS: usize = 8;

/// One row times a matrix with contiguous rows.
unsafe fn row_times<T: GemmScalar>(kernels: &Kernels<T>, n: usize, k: usize, a: Mat<T>, b: Mat<T>, c: Out<T>, ends: Ends<T>) {
    let init = ends.init;
    let (wide, step, ldb) = (8 * kernels.lanes, a.cs, b.rs);
    let run = |j0: usize, j1: usize| {
        for p in (0..k).step_by(STREAMS) {
            let depth = (k - p).min(STREAMS);
            for j in (j0..j1).step_by(wide) {
                let cols = (j1 - j).min(wide);
                let vectors = cols.div_ceil(kernels.lanes);
                let tail = cols - (vectors - 1) * kernels.lanes;
                // SAFETY: `cols` columns from `j` lie inside `b` and `c`.
                unsafe {
                    let init = if p > 0 { c.at(0, j).cast_const() } else { init.from(0, j) };
                    let (a, b, c) = (a.at(0, p), b.at(p, j), c.at(0, j));
                    kernels.row[vectors - 1](depth, a, 0, step, b, ldb, c, 0, tail, init, 0);
                }
            }
        }
        // SAFETY: as above.
        unsafe { ends.finish(c, 0..1, j0..j1) }
    };
    // Long pieces of rows: what limits this is memory.
    let threads = if n * k < PARALLEL_WORK / 4 || in_parallel() { 1 } else { num_threads().min(n.div_ceil(wide)) };
    let piece = n.div_ceil(wide).div_ceil(threads) * wide;
    parallel_pieces(n.div_ceil(piece), |i| run(i * piece, ((i + 1) * piece).min(n)));
}

/// Small products: tiles straight over the operands; rows of `b` and `c` are contiguous.
unsafe fn unpacked<T: GemmScalar>(
    kernels: &Kernels<T>,
    m: usize,
    n: usize,
    k: usize,
    a: Mat<T>,
    b: Mat<T>,
    c: Out<T>,
    ends: Ends<T>,
) {
    let (lanes, nr) = (kernels.lanes, kernels.nr());
    let height = m.div_ceil(m.div_ceil(kernels.mr));
    // What is read again for every row of tiles stays in the second-level cache: `depth` rows of `wide` columns.
    let (wide, depth) = if m <= kernels.mr {
        // A right operand beyond the caches comes by few rows at a time, as in `row_times`.
        (n, if k * n * size_of::<T>() > SECOND_CACHE { 2 * STREAMS } else { k })
    } else {
        let wide = n.div_ceil(n.div_ceil(NARROW / size_of::<T>())).next_multiple_of(nr);
        (wide, k.div_ceil(k.div_ceil(DEPTH.min(SECOND_CACHE / (wide * size_of::<T>())))))
    };
    let tiles = |i: usize, j: usize, p: usize, height: usize, cols: usize| {
        let vectors = 1 + usize::from(cols > lanes);
        let tail = cols - (vectors - 1) * lanes;
        // SAFETY: the tile lies inside the operands.
        unsafe {
            let init = if p > 0 { c.start(true) } else { ends.init };
            let kernel = kernels.raw[height - 1][vectors - 1];
            let deep = (k - p).min(depth);
            kernel(deep, a.at(i, p), a.rs, a.cs, b.at(p, j), b.rs, c.at(i, j), c.rs, tail, init.from(i, j), init.rs);
        }
    };
    let run = |rows: Range<usize>, cols: Range<usize>| {
        for j0 in cols.clone().step_by(wide) {
            let j1 = (j0 + wide).min(cols.end);
            for p in (0..k).step_by(depth) {
                for i in rows.clone().step_by(height) {
                    let i1 = (i + height).min(rows.end);
                    for j in (j0..j1).step_by(nr) {
                        tiles(i, j, p, i1 - i, (j1 - j).min(nr));
                    }
                    if p + depth >= k {
                        // SAFETY: the sums of these rows are complete.
                        unsafe { ends.finish(c, i..i1, j0..j1) }
                    }
                }
            }
        }
    };
    if n.div_ceil(nr) >= m.div_ceil(height) {
        split(n, nr, m * n * k / 4, |j0, j1| run(0..m, j0..j1));
    } else {
        split(m, height, m * n * k / 4, |i0, i1| run(i0..i1, 0..n));
    }
}

#[cfg(test)]
mod tests;
