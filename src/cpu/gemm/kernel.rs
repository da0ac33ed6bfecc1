//! Register-tile kernels for the instruction sets we know, chosen once at run time.
//!
//! A tile is `R` rows by `V` vectors. Rows come from `a` as broadcasts, vectors from rows of `b`, so
//! the result is stored along rows of `c`. Each element is one chain of multiply-adds in the order of
//! `k`, whatever the tile; that is why blocking never changes the bits.

#![allow(clippy::too_many_arguments, clippy::needless_range_loop)]

use super::super::isa::prefetch;
use std::sync::OnceLock;

/// `c[R x V*lanes] = init + a[R x k] * b[k x V*lanes]`; `tail` columns are live in the last vector. `init` is null for
/// nothing, `c` itself to accumulate, or what to add to the product: rows `ldi` apart.
/// Arguments: k, a, rsa, csa, b, ldb, c, ldc, tail, init, ldi.
pub type Tile<T> = unsafe fn(usize, *const T, isize, isize, *const T, isize, *mut T, isize, usize, *const T, isize);

/// `c[i, j] = init[i, j] + dot(a row i, b row j)`, rows contiguous; `init` null for nothing.
/// Arguments: k, a, lda, b, ldb, c, rsc, csc, init, rsi, csi.
pub type Dots<T> = unsafe fn(usize, *const T, isize, *const T, isize, *mut T, isize, isize, *const T, isize, isize);

/// `c[R x V*lanes] = start[R] + a[R x k] * b`, where row `p` of `b` begins at `offsets[p]`: a tile of a convolution.
/// Column `p` of `a` is contiguous. Without `start` (null) the sums begin at zero.
/// Arguments: k, a, csa, b, offsets, start, c, ldc, tail.
pub type Taps<T> = unsafe fn(usize, *const T, isize, *const T, *const usize, *const T, *mut T, isize, usize);

/// As [`Taps`] for one row of `a`, over several lines of positions: line `q` of `b` begins `q * step` further on, that of
/// `c` at `q * ldc`. Arguments: k, a, b, step, offsets, start, c, ldc, tail.
pub type Lines<T> = unsafe fn(usize, *const T, *const T, isize, *const usize, *const T, *mut T, isize, usize);

/// `c[i, j] (+)= dot(a row i, b from offsets[j])`: the gradient of a convolution's weight.
/// Arguments: k, a, lda, b, offsets, c, rsc, accumulate.
pub type Correlate<T> = unsafe fn(usize, *const T, isize, *const T, *const usize, *mut T, isize, bool);

/// The kernels of one instruction set.
pub struct Kernels<T: 'static> {
    /// Name of the instruction set, for reports.
    pub name: &'static str,
    /// Most rows in a tile.
    pub mr: usize,
    /// Elements in a vector.
    pub lanes: usize,
    /// `[rows - 1][vectors - 1]`, `b` packed (full vectors readable), `a` with unit row stride.
    pub packed: &'static [[Tile<T>; 2]],
    /// `[rows - 1][vectors - 1]`, any strides of `a`; columns beyond `tail` of `b` are not touched.
    pub raw: &'static [[Tile<T>; 2]],
    /// One row by up to eight vectors, as `raw`.
    pub row: &'static [Tile<T>; 8],
    /// `[rows of a - 1][rows of b - 1]`.
    pub dots: &'static [[Dots<T>; 4]; 4],
    /// `[rows - 1][vectors - 1]`.
    pub taps: &'static [[Taps<T>; 2]],
    /// `[vectors - 1]`: the number of lines that a kernel takes together, the kernel, and that for one line.
    pub lines: &'static [(usize, Lines<T>, Lines<T>); 8],
    /// `[rows of a - 1][offsets - 1]`.
    pub correlate: &'static [[Correlate<T>; 9]; 2],
}

impl<T> Kernels<T> {
    /// Columns in a full tile.
    pub fn nr(&self) -> usize {
        2 * self.lanes
    }
}

/// Float types that have gemm kernels.
pub trait GemmScalar:
    Copy
    + Send
    + Sync
    + Default
    + PartialEq
    + PartialOrd
    + crate::cpu::math::Math
    + std::fmt::Debug
    + std::ops::Add<Output = Self>
    + std::ops::AddAssign
    + std::ops::Mul<Output = Self>
    + 'static
{
    /// The best kernels for this machine.
    fn kernels() -> &'static Kernels<Self>;
    /// Every set of kernels up to the level in use, best first.
    fn all_kernels() -> Vec<&'static Kernels<Self>>;
}

/// Steps of the right operand that are fetched ahead of their use: it lies in the second-level cache.
const AHEAD: isize = 8;

macro_rules! kernels {
    (
        $set:ident, $name:literal, $(#[$feature:meta])?, $t:ty, $lanes:literal, mr $mr:literal,
        rows [$($r:literal)*],
        $zero:ident, $set1:ident, $load:ident, $store:ident, $mask:ident, $loadm:ident, $storem:ident,
        $fma:ident, $add:ident, $sum:ident
    ) => {
        pub mod $set {
            use super::*;

            /// # Safety
            /// The CPU has the instruction set; all elements of the tile are readable or writable as
            /// `Tile` describes.
            $(#[$feature])?
            unsafe fn tile<const R: usize, const V: usize, const PACKED: bool>(
                k: usize,
                a: *const $t,
                rsa: isize,
                csa: isize,
                b: *const $t,
                ldb: isize,
                c: *mut $t,
                ldc: isize,
                tail: usize,
                init: *const $t,
                ldi: isize,
            ) {
                let rsa = if PACKED { 1 } else { rsa };
                // SAFETY: the caller's promise; `mask` hides the columns beyond `tail`.
                unsafe {
                    let mask = $mask(tail);
                    let mut acc = [[$zero(); V]; R];
                    let (mut ap, mut bp) = (a, b);
                    // Low tiles wait for memory anyway.
                    if R >= 4 {
                        for r in 0..R {
                            prefetch(c.wrapping_offset(r as isize * ldc), V * $lanes);
                        }
                    }
                    for _ in 0..k {
                        if R >= 4 {
                            prefetch(bp.wrapping_offset(AHEAD * ldb), V * $lanes);
                        }
                        let mut bv = [$zero(); V];
                        for v in 0..V - 1 {
                            bv[v] = $load(bp.add(v * $lanes));
                        }
                        bv[V - 1] = if PACKED {
                            $load(bp.add((V - 1) * $lanes))
                        } else {
                            $loadm(mask, bp.wrapping_add((V - 1) * $lanes))
                        };
                        for r in 0..R {
                            let av = $set1(*ap.offset(r as isize * rsa));
                            for v in 0..V {
                                acc[r][v] = $fma(av, bv[v], acc[r][v]);
                            }
                        }
                        ap = ap.wrapping_offset(csa);
                        bp = bp.wrapping_offset(ldb);
                    }
                    let add = !init.is_null();
                    for r in 0..R {
                        let row = c.offset(r as isize * ldc);
                        let from = init.wrapping_offset(r as isize * ldi);
                        for v in 0..V {
                            let (at, from) = (row.add(v * $lanes), from.wrapping_add(v * $lanes));
                            let value = acc[r][v];
                            if v + 1 < V || tail == $lanes {
                                $store(at, if add { $add($load(from), value) } else { value });
                            } else {
                                let new = if add { $add($loadm(mask, from), value) } else { value };
                                $storem(mask, at, new);
                            }
                        }
                    }
                }
            }

            /// # Safety
            /// The CPU has the instruction set; `R` rows of `a` and `C` rows of `b` have `k` elements.
            $(#[$feature])?
            unsafe fn dots<const R: usize, const C: usize>(
                k: usize,
                a: *const $t,
                lda: isize,
                b: *const $t,
                ldb: isize,
                c: *mut $t,
                rsc: isize,
                csc: isize,
                init: *const $t,
                rsi: isize,
                csi: isize,
            ) {
                // SAFETY: the caller's promise; the last partial vector is masked.
                unsafe {
                    let mut acc = [[$zero(); C]; R];
                    let mut p = 0;
                    while p + $lanes <= k {
                        let mut av = [$zero(); R];
                        for r in 0..R {
                            av[r] = $load(a.offset(r as isize * lda).add(p));
                        }
                        for j in 0..C {
                            let bv = $load(b.offset(j as isize * ldb).add(p));
                            for r in 0..R {
                                acc[r][j] = $fma(av[r], bv, acc[r][j]);
                            }
                        }
                        p += $lanes;
                    }
                    if p < k {
                        let mask = $mask(k - p);
                        let mut av = [$zero(); R];
                        for r in 0..R {
                            av[r] = $loadm(mask, a.offset(r as isize * lda).add(p));
                        }
                        for j in 0..C {
                            let bv = $loadm(mask, b.offset(j as isize * ldb).add(p));
                            for r in 0..R {
                                acc[r][j] = $fma(av[r], bv, acc[r][j]);
                            }
                        }
                    }
                    for r in 0..R {
                        for j in 0..C {
                            let at = c.offset(r as isize * rsc + j as isize * csc);
                            let value = $sum(acc[r][j]);
                            let from = init.wrapping_offset(r as isize * rsi + j as isize * csi);
                            *at = if init.is_null() { value } else { *from + value };
                        }
                    }
                }
            }

            /// # Safety
            /// The CPU has the instruction set; the elements are readable or writable as `Taps` describes; columns
            /// beyond `tail` are not touched.
            $(#[$feature])?
            unsafe fn taps<const R: usize, const V: usize>(
                k: usize,
                a: *const $t,
                csa: isize,
                b: *const $t,
                offsets: *const usize,
                start: *const $t,
                c: *mut $t,
                ldc: isize,
                tail: usize,
            ) {
                // SAFETY: the caller's promise; `mask` hides the columns beyond `tail`.
                unsafe {
                    let mask = $mask(tail);
                    let mut acc = [[$zero(); V]; R];
                    if !start.is_null() {
                        for r in 0..R {
                            acc[r] = [$set1(*start.add(r)); V];
                        }
                    }
                    let mut ap = a;
                    for p in 0..k {
                        let bp = b.add(*offsets.add(p));
                        let mut bv = [$zero(); V];
                        for v in 0..V - 1 {
                            bv[v] = $load(bp.add(v * $lanes));
                        }
                        bv[V - 1] = $loadm(mask, bp.wrapping_add((V - 1) * $lanes));
                        for r in 0..R {
                            let av = $set1(*ap.add(r));
                            for v in 0..V {
                                acc[r][v] = $fma(av, bv[v], acc[r][v]);
                            }
                        }
                        ap = ap.wrapping_offset(csa);
                    }
                    for r in 0..R {
                        let row = c.offset(r as isize * ldc);
                        for v in 0..V - 1 {
                            $store(row.add(v * $lanes), acc[r][v]);
                        }
                        $storem(mask, row.add((V - 1) * $lanes), acc[r][V - 1]);
                    }
                }
            }

            /// # Safety
            /// As for `taps`.
            $(#[$feature])?
            unsafe fn lines<const Q: usize, const V: usize>(
                k: usize,
                a: *const $t,
                b: *const $t,
                step: isize,
                offsets: *const usize,
                start: *const $t,
                c: *mut $t,
                ldc: isize,
                tail: usize,
            ) {
                // SAFETY: the caller's promise; `mask` hides the columns beyond `tail`.
                unsafe {
                    let mask = $mask(tail);
                    let first = if start.is_null() { $zero() } else { $set1(*start) };
                    let mut acc = [[first; V]; Q];
                    for p in 0..k {
                        let av = $set1(*a.add(p));
                        let bp = b.add(*offsets.add(p));
                        for q in 0..Q {
                            let bp = bp.offset(q as isize * step);
                            for v in 0..V - 1 {
                                acc[q][v] = $fma(av, $load(bp.add(v * $lanes)), acc[q][v]);
                            }
                            let last = $loadm(mask, bp.wrapping_add((V - 1) * $lanes));
                            acc[q][V - 1] = $fma(av, last, acc[q][V - 1]);
                        }
                    }
                    for q in 0..Q {
                        let row = c.offset(q as isize * ldc);
                        for v in 0..V - 1 {
                            $store(row.add(v * $lanes), acc[q][v]);
                        }
                        $storem(mask, row.add((V - 1) * $lanes), acc[q][V - 1]);
                    }
                }
            }

            /// # Safety
            /// The CPU has the instruction set; `R` rows of `a` and `C` rows of `b` have `k` elements.
            $(#[$feature])?
            unsafe fn correlate<const R: usize, const C: usize>(
                k: usize,
                a: *const $t,
                lda: isize,
                b: *const $t,
                offsets: *const usize,
                c: *mut $t,
                rsc: isize,
                accumulate: bool,
            ) {
                // SAFETY: the caller's promise; the last partial vector is masked.
                unsafe {
                    let mut from = [b; C];
                    for j in 0..C {
                        from[j] = b.add(*offsets.add(j));
                    }
                    let mut acc = [[$zero(); C]; R];
                    let mut p = 0;
                    while p + $lanes <= k {
                        let mut av = [$zero(); R];
                        for r in 0..R {
                            av[r] = $load(a.offset(r as isize * lda).add(p));
                        }
                        for j in 0..C {
                            let bv = $load(from[j].add(p));
                            for r in 0..R {
                                acc[r][j] = $fma(av[r], bv, acc[r][j]);
                            }
                        }
                        p += $lanes;
                    }
                    if p < k {
                        let mask = $mask(k - p);
                        let mut av = [$zero(); R];
                        for r in 0..R {
                            av[r] = $loadm(mask, a.offset(r as isize * lda).add(p));
                        }
                        for j in 0..C {
                            let bv = $loadm(mask, from[j].add(p));
                            for r in 0..R {
                                acc[r][j] = $fma(av[r], bv, acc[r][j]);
                            }
                        }
                    }
                    for r in 0..R {
                        for j in 0..C {
                            let at = c.offset(r as isize * rsc).add(j);
                            let value = $sum(acc[r][j]);
                            *at = if accumulate { *at + value } else { value };
                        }
                    }
                }
            }

            pub static KERNELS: Kernels<$t> = Kernels {
                name: $name,
                mr: $mr,
                lanes: $lanes,
                packed: &[$([tile::<$r, 1, true>, tile::<$r, 2, true>]),*],
                raw: &[$([tile::<$r, 1, false>, tile::<$r, 2, false>]),*],
                row: &[
                    tile::<1, 1, false>, tile::<1, 2, false>, tile::<1, 3, false>,
                    tile::<1, 4, false>, tile::<1, 5, false>, tile::<1, 6, false>,
                    tile::<1, 7, false>, tile::<1, 8, false>,
                ],
                dots: &[
                    [dots::<1, 1>, dots::<1, 2>, dots::<1, 3>, dots::<1, 4>],
                    [dots::<2, 1>, dots::<2, 2>, dots::<2, 3>, dots::<2, 4>],
                    [dots::<3, 1>, dots::<3, 2>, dots::<3, 3>, dots::<3, 4>],
                    [dots::<4, 1>, dots::<4, 2>, dots::<4, 3>, dots::<4, 4>],
                ],
                taps: &[$([taps::<$r, 1>, taps::<$r, 2>]),*],
                lines: &[
                    (8, lines::<8, 1>, lines::<1, 1>), (4, lines::<4, 2>, lines::<1, 2>),
                    (2, lines::<2, 3>, lines::<1, 3>), (2, lines::<2, 4>, lines::<1, 4>),
                    (1, lines::<1, 5>, lines::<1, 5>), (1, lines::<1, 6>, lines::<1, 6>),
                    (1, lines::<1, 7>, lines::<1, 7>), (1, lines::<1, 8>, lines::<1, 8>),
                ],
                correlate: &[
                    [
                        correlate::<1, 1>, correlate::<1, 2>, correlate::<1, 3>, correlate::<1, 4>, correlate::<1, 5>,
                        correlate::<1, 6>, correlate::<1, 7>, correlate::<1, 8>, correlate::<1, 9>,
                    ],
                    [
                        correlate::<2, 1>, correlate::<2, 2>, correlate::<2, 3>, correlate::<2, 4>, correlate::<2, 5>,
                        correlate::<2, 6>, correlate::<2, 7>, correlate::<2, 8>, correlate::<2, 9>,
                    ],
                ],
            };
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::*;
    use std::arch::x86_64::*;

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn mask16(tail: usize) -> __mmask16 {
        (0xffff_u32 >> (16 - tail)) as __mmask16
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn mask8(tail: usize) -> __mmask8 {
        (0xff_u32 >> (8 - tail)) as __mmask8
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn storem16(mask: __mmask16, at: *mut f32, value: __m512) {
        // SAFETY: the caller's promise that the live elements are writable.
        unsafe { _mm512_mask_storeu_ps(at, mask, value) }
    }
    #[inline]
    #[target_feature(enable = "avx512f")]
    unsafe fn storem8(mask: __mmask8, at: *mut f64, value: __m512d) {
        // SAFETY: the caller's promise that the live elements are writable.
        unsafe { _mm512_mask_storeu_pd(at, mask, value) }
    }

    static ONES_THEN_ZEROS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn mask_f32(tail: usize) -> __m256i {
        assert!(tail <= 8);
        // SAFETY: eight elements from index 8 - tail lie inside the table.
        unsafe { _mm256_loadu_si256(ONES_THEN_ZEROS.as_ptr().add(8 - tail).cast()) }
    }
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn mask_f64(tail: usize) -> __m256i {
        mask_f32(2 * tail)
    }
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn loadm_f32(mask: __m256i, at: *const f32) -> __m256 {
        // SAFETY: the caller's promise that the live elements are readable.
        unsafe { _mm256_maskload_ps(at, mask) }
    }
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn loadm_f64(mask: __m256i, at: *const f64) -> __m256d {
        // SAFETY: the caller's promise that the live elements are readable.
        unsafe { _mm256_maskload_pd(at, mask) }
    }
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn storem_f32(mask: __m256i, at: *mut f32, value: __m256) {
        // SAFETY: the caller's promise that the live elements are writable.
        unsafe { _mm256_maskstore_ps(at, mask, value) }
    }
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn storem_f64(mask: __m256i, at: *mut f64, value: __m256d) {
        // SAFETY: the caller's promise that the live elements are writable.
        unsafe { _mm256_maskstore_pd(at, mask, value) }
    }
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn sum_f32(v: __m256) -> f32 {
        let half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
        let pair = _mm_add_ps(half, _mm_movehl_ps(half, half));
        _mm_cvtss_f32(_mm_add_ss(pair, _mm_shuffle_ps::<1>(pair, pair)))
    }
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn sum_f64(v: __m256d) -> f64 {
        let half = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd::<1>(v));
        _mm_cvtsd_f64(_mm_add_sd(half, _mm_unpackhi_pd(half, half)))
    }

    kernels!(avx512_f32, "avx512", #[target_feature(enable = "avx512f")], f32, 16, mr 12,
        rows [1 2 3 4 5 6 7 8 9 10 11 12],
        _mm512_setzero_ps, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, mask16,
        _mm512_maskz_loadu_ps, storem16, _mm512_fmadd_ps, _mm512_add_ps, _mm512_reduce_add_ps);
    kernels!(avx512_f64, "avx512", #[target_feature(enable = "avx512f")], f64, 8, mr 12,
        rows [1 2 3 4 5 6 7 8 9 10 11 12],
        _mm512_setzero_pd, _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd, mask8,
        _mm512_maskz_loadu_pd, storem8, _mm512_fmadd_pd, _mm512_add_pd, _mm512_reduce_add_pd);
    kernels!(avx2_f32, "avx2", #[target_feature(enable = "avx2,fma")], f32, 8, mr 6,
        rows [1 2 3 4 5 6],
        _mm256_setzero_ps, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, mask_f32,
        loadm_f32, storem_f32, _mm256_fmadd_ps, _mm256_add_ps, sum_f32);
    kernels!(avx2_f64, "avx2", #[target_feature(enable = "avx2,fma")], f64, 4, mr 6,
        rows [1 2 3 4 5 6],
        _mm256_setzero_pd, _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, mask_f64,
        loadm_f64, storem_f64, _mm256_fmadd_pd, _mm256_add_pd, sum_f64);
}

/// Vectors as arrays, for machines without a kernel of their own; the compiler makes SSE2 or NEON.
mod portable {
    use super::*;

    macro_rules! arrays {
        ($module:ident, $set:ident, $t:ty, $lanes:literal) => {
            mod $module {
                use super::*;
                type Vector = [$t; $lanes];

                #[inline(always)]
                fn zero() -> Vector {
                    [0.0; $lanes]
                }
                #[inline(always)]
                fn set1(value: $t) -> Vector {
                    [value; $lanes]
                }
                #[inline(always)]
                unsafe fn load(at: *const $t) -> Vector {
                    // SAFETY: the caller's promise that the elements are readable.
                    unsafe { at.cast::<Vector>().read_unaligned() }
                }
                #[inline(always)]
                unsafe fn store(at: *mut $t, value: Vector) {
                    // SAFETY: the caller's promise that the elements are writable.
                    unsafe { at.cast::<Vector>().write_unaligned(value) }
                }
                #[inline(always)]
                fn mask(tail: usize) -> usize {
                    tail
                }
                #[inline(always)]
                unsafe fn loadm(tail: usize, at: *const $t) -> Vector {
                    let mut out = zero();
                    for i in 0..tail.min($lanes) {
                        // SAFETY: the caller's promise that the live elements are readable.
                        out[i] = unsafe { *at.add(i) };
                    }
                    out
                }
                #[inline(always)]
                unsafe fn storem(tail: usize, at: *mut $t, value: Vector) {
                    for i in 0..tail.min($lanes) {
                        // SAFETY: the caller's promise that the live elements are writable.
                        unsafe { *at.add(i) = value[i] };
                    }
                }
                #[inline(always)]
                fn fma(a: Vector, b: Vector, c: Vector) -> Vector {
                    std::array::from_fn(|i| {
                        if cfg!(target_arch = "aarch64") {
                            a[i].mul_add(b[i], c[i])
                        } else {
                            a[i] * b[i] + c[i]
                        }
                    })
                }
                #[inline(always)]
                fn add(a: Vector, b: Vector) -> Vector {
                    std::array::from_fn(|i| a[i] + b[i])
                }
                #[inline(always)]
                fn sum(a: Vector) -> $t {
                    a.iter().sum()
                }

                kernels!($set, "portable", , $t, $lanes, mr 4, rows [1 2 3 4],
                    zero, set1, load, store, mask, loadm, storem, fma, add, sum);
            }
            pub use $module::$set;
        };
    }
    arrays!(single, portable_f32, f32, 4);
    arrays!(double, portable_f64, f64, 2);
}

macro_rules! scalar {
    ($t:ty, $avx512:ident, $avx2:ident, $portable:ident) => {
        impl GemmScalar for $t {
            #[inline]
            fn kernels() -> &'static Kernels<$t> {
                static CHOSEN: OnceLock<&'static Kernels<$t>> = OnceLock::new();
                CHOSEN.get_or_init(|| Self::all_kernels()[0])
            }

            fn all_kernels() -> Vec<&'static Kernels<$t>> {
                let mut all = Vec::new();
                #[cfg(target_arch = "x86_64")]
                {
                    use crate::cpu::isa::{Level, level};
                    if level() >= Level::Avx512 {
                        all.push(&x86::$avx512::KERNELS);
                    }
                    if level() >= Level::Avx2 {
                        all.push(&x86::$avx2::KERNELS);
                    }
                }
                all.push(&portable::$portable::KERNELS);
                all
            }
        }
    };
}
scalar!(f32, avx512_f32, avx2_f32, portable_f32);
scalar!(f64, avx512_f64, avx2_f64, portable_f64);
