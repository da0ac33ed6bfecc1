//! The blocked product over packed panels, for operands that can fill panels.

#![allow(clippy::too_many_arguments)]

use super::super::threads::{SendPtr, num_threads, parallel_pieces};
use super::kernel::{GemmScalar, Kernels};
use super::pack::{pack_panel, with_scratch};
use super::{Ends, Mat, NARROW, Out, PARALLEL_WORK, split, spread};

/// An operand that copies parts of itself into panels: rows of the left operand or columns of the
/// right one lie `across`, the summed dimension is stepped through.
pub trait Panels<T>: Sync {
    /// Writes `dst[s * full + i]` = element `(across + i, step + s)` for `i < width`, `s < depth`, and
    /// zero for `width <= i < full`.
    ///
    /// # Safety
    /// `dst` has room for `full * depth` elements and nobody else uses them; the element range lies
    /// inside the operand.
    unsafe fn pack(&self, dst: *mut T, full: usize, across: usize, width: usize, step: usize, depth: usize);

    /// The operand as a matrix, if tiles may read its rows where they are.
    fn rows(&self) -> Option<Mat<T>> {
        None
    }
}

/// A matrix in memory.
pub(super) struct Strided<T> {
    pub ptr: *const T,
    pub across: isize,
    pub step: isize,
}

// SAFETY: the pointer is only read, while the caller of `gemm` keeps the operand alive and unwritten.
unsafe impl<T> Sync for Strided<T> {}

impl<T: Copy + Default> Panels<T> for Strided<T> {
    unsafe fn pack(&self, dst: *mut T, full: usize, across: usize, width: usize, step: usize, depth: usize) {
        let src = self.ptr.wrapping_offset(across as isize * self.across + step as isize * self.step);
        // SAFETY: the caller's promise.
        unsafe { pack_panel(dst, full, src, self.across, self.step, width, depth) }
    }

    fn rows(&self) -> Option<Mat<T>> {
        (self.step == 1 && spread::<T>(self.across)).then_some(Mat { ptr: self.ptr, rs: self.across, cs: 1 })
    }
}

/// `c (+)= a * b` for operands given as panels; rows of `c` are contiguous and `ldc` apart.
///
/// # Safety
/// The `m x n` elements of `c` are writable, distinct, no part of `a` or `b`, and initialised when
/// `accumulate` is set; `a` has `m` across and `k` steps, `b` has `n` across and `k` steps.
pub unsafe fn gemm_panels<T: GemmScalar>(
    m: usize,
    n: usize,
    k: usize,
    a: &dyn Panels<T>,
    b: &dyn Panels<T>,
    c: *mut T,
    ldc: isize,
    accumulate: bool,
) {
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        if !accumulate {
            for i in 0..m {
                // SAFETY: a row of the result.
                unsafe {
                    std::slice::from_raw_parts_mut(c.offset(i as isize * ldc), n).fill(T::default());
                }
            }
        }
        return;
    }
    let c = Out { ptr: SendPtr(c), rs: ldc, cs: 1 };
    // SAFETY: the caller's promise.
    unsafe { packed(T::kernels(), m, n, k, a, b, c, Ends::start(c.start(accumulate))) }
}

/// A strided matrix as panels for [`gemm_panels`].
///
/// # Safety
/// The elements stay readable and unwritten while the panels are in use.
pub unsafe fn strided_panels<T: Copy + Default>(ptr: *const T, across: isize, step: isize) -> impl Panels<T> {
    Strided { ptr, across, step }
}

/// Large products: both operands packed, block by block.
///
/// # Safety
/// As for [`gemm_panels`]; rows of what the product starts from are contiguous.
pub(super) unsafe fn packed<T: GemmScalar>(
    kernels: &Kernels<T>,
    m: usize,
    n: usize,
    k: usize,
    a: &dyn Panels<T>,
    b: &dyn Panels<T>,
    c: Out<T>,
    ends: Ends<T>,
) {
    let (lanes, nr) = (kernels.lanes, kernels.nr());
    // A row panel of `a` stays in the first-level cache, a column block of `b` in the second.
    let kc_most = 1536 / size_of::<T>();
    let kc = k.div_ceil(k.div_ceil(kc_most)).next_multiple_of(4).min(k);
    let block_most = (480 << 10) / (kc * size_of::<T>()) / nr * nr;
    let block_most = block_most.max(nr);
    let (mc, nc) = (m.min(3072), n.min(3072 / nr * nr));
    let height = mc.div_ceil(mc.div_ceil(kernels.mr));
    let mc_full = mc.next_multiple_of(height);
    let nc_full = nc.next_multiple_of(nr);
    // Under a short row of tiles, rows of the left operand are not read often enough to be packed.
    let rows = if n * size_of::<T>() <= NARROW { a.rows() } else { None };
    with_scratch::<T, _>((mc_full + nc_full) * kc, |scratch| {
        let pack_a = scratch;
        // SAFETY: inside the scratch.
        let pack_b = SendPtr(unsafe { scratch.get().add(mc_full * kc) });
        for jc in (0..n).step_by(nc) {
            let nb = (n - jc).min(nc);
            let blocks = nb.div_ceil(block_most);
            let block = nb.div_ceil(blocks).next_multiple_of(nr);
            for pc in (0..k).step_by(kc) {
                let kb = (k - pc).min(kc);
                split(nb, nr, nb * kb * 4, |j0, j1| {
                    for j in (j0..j1).step_by(nr) {
                        // SAFETY: panel `j / nr` of the scratch belongs to this piece.
                        unsafe {
                            let to = pack_b.get().add(j * kb);
                            b.pack(to, nr, jc + j, (nb - j).min(nr), pc, kb);
                        }
                    }
                });
                for ic in (0..m).step_by(mc) {
                    let mb = (m - ic).min(mc);
                    let to_pack = if rows.is_some() { 0 } else { mb };
                    split(to_pack, height, to_pack * kb * 4, |i0, i1| {
                        for i in (i0..i1).step_by(height) {
                            // SAFETY: panel `i / height` of the scratch belongs to this piece.
                            unsafe {
                                let to = pack_a.get().add(i * kb);
                                a.pack(to, height, ic + i, (mb - i).min(height), pc, kb);
                            }
                        }
                    });
                    let col_blocks = nb.div_ceil(block);
                    let bands = if mb * nb * kb < PARALLEL_WORK || num_threads() == 1 {
                        1
                    } else {
                        mb.div_ceil(height).min((8 * num_threads()).div_ceil(col_blocks))
                    };
                    let band = mb.div_ceil(height).div_ceil(bands) * height;
                    let bands = mb.div_ceil(band);
                    let piece = |at: usize| {
                        let (j0, i0) = (at / bands * block, at % bands * band);
                        let (j1, i1) = ((j0 + block).min(nb), (i0 + band).min(mb));
                        for i in (i0..i1).step_by(height) {
                            let tall = (i1 - i).min(height);
                            // SAFETY: inside the scratch.
                            let panel = || Mat { ptr: unsafe { pack_a.get().add(i * kb) }, rs: 1, cs: height as isize };
                            let (tiles, left) = match rows {
                                Some(a) => (&kernels.raw[tall - 1], Mat { ptr: a.at(ic + i, pc), ..a }),
                                None => (&kernels.packed[tall - 1], panel()),
                            };
                            for j in (j0..j1).step_by(nr) {
                                let cols = (j1 - j).min(nr);
                                let vectors = 1 + usize::from(cols > lanes);
                                // SAFETY: the tile lies inside the panels and `c`; pieces are
                                // disjoint in `c`.
                                unsafe {
                                    // What the first stretch of `k` starts from; the others add to it.
                                    let init = if pc > 0 { c.start(true) } else { ends.init };
                                    tiles[vectors - 1](
                                        kb,
                                        left.ptr,
                                        left.rs,
                                        left.cs,
                                        pack_b.get().add(j * kb),
                                        nr as isize,
                                        c.at(ic + i, jc + j),
                                        c.rs,
                                        cols - (vectors - 1) * lanes,
                                        init.from(ic + i, jc + j),
                                        init.rs,
                                    );
                                }
                            }
                            if pc + kb == k {
                                // SAFETY: the sums of these rows are complete.
                                unsafe { ends.finish(c, ic + i..ic + i + tall, jc + j0..jc + j1) }
                            }
                        }
                    };
                    if bands * col_blocks == 1 || bands == 1 && num_threads() == 1 {
                        (0..col_blocks).for_each(piece);
                    } else {
                        parallel_pieces(bands * col_blocks, piece);
                    }
                }
            }
        }
    });
}
