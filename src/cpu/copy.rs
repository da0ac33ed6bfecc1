//! Copies between strided blocks: rows, transpositions in registers, and everything else element by element.

use super::isa::{Level, level};
use super::threads::{SendPtr, parallel_for};
use std::ops::Range;

/// One dimension of a copy: length, and steps of destination and source in elements.
pub type Axis = (usize, isize, isize);

/// Bytes that one piece of a parallel region copies at least.
const GRAIN: usize = 128 << 10;

/// Copies a block of elements of a plain type. Axes are in order of falling steps of the destination.
///
/// # Safety
/// Every position that the axes reach is inside both blocks; the blocks do not overlap, and no two positions of the
/// destination are the same.
pub unsafe fn copy<T: Copy + Send + Sync>(dst: *mut T, src: *const T, axes: &[Axis]) {
    let (dst, src) = (SendPtr(dst), SendPtr(src.cast_mut()));
    let total: usize = axes.iter().map(|a| a.0).product();
    if total == 0 {
        return;
    }
    let Some((&last, lead)) = axes.split_last() else {
        // SAFETY: by the caller, here and below.
        return unsafe { *dst.get() = *src.get() };
    };
    if let (n, 1, 1) = last {
        // Rows of contiguous elements; long ones are cut.
        let piece = (GRAIN / size_of::<T>()).max(1);
        let (rows, cuts) = (total / n, n.div_ceil(piece));
        return parallel_for(rows * cuts, (piece / n).max(1), |range| {
            if cuts == 1 {
                walk(lead, range, |d, s| unsafe {
                    std::ptr::copy_nonoverlapping(src.get().wrapping_offset(s), dst.get().wrapping_offset(d), n);
                });
            } else {
                for i in range {
                    let at = i % cuts * piece;
                    walk(lead, i / cuts..i / cuts + 1, |d, s| unsafe {
                        let (from, to) = (src.get().wrapping_offset(s).add(at), dst.get().wrapping_offset(d).add(at));
                        std::ptr::copy_nonoverlapping(from, to, piece.min(n - at));
                    });
                }
            }
        });
    }
    if let (n, 1, sn) = last
        && let Some(at) = lead.iter().position(|a| a.2 == 1)
    {
        // A transposition: rows of the destination are columns of the source. Strips of rows are the pieces.
        let (m, dm, _) = lead[at];
        let outer: smallvec::SmallVec<[Axis; 6]> = lead.iter().enumerate().filter(|(k, _)| *k != at).map(|(_, a)| *a).collect();
        let strips = m.div_ceil(STRIP);
        let grain = (GRAIN / (m.min(STRIP) * n * size_of::<T>()).max(1)).max(1);
        let level = level();
        // What does not stay in the caches anyway need not go through them, where lines are written whole.
        let lines = |step: isize| (step * size_of::<T>() as isize) % 64 == 0;
        let whole = dst.get() as usize % 64 == 0 && lines(dm) && outer.iter().all(|a| lines(a.1));
        let stream = total * size_of::<T>() >= STREAM && whole && size_of::<T>() == 4;
        return parallel_for(total / (m * n) * strips, grain, |range| {
            for i in range {
                let i0 = i % strips * STRIP;
                let rows = (m - i0).min(STRIP);
                walk(&outer, i / strips..i / strips + 1, |d, s| unsafe {
                    let to = dst.get().wrapping_offset(d + i0 as isize * dm);
                    let from = src.get().wrapping_offset(s + i0 as isize);
                    transpose(level, stream, to, dm, from, sn, rows, n);
                });
            }
        });
    }
    let (n, ds, ss) = last;
    parallel_for(total / n, (GRAIN / size_of::<T>() / n).max(1), |range| {
        walk(lead, range, |d, s| unsafe {
            let (to, from) = (dst.get().wrapping_offset(d), src.get().wrapping_offset(s));
            if ds == 1 && ss == 0 {
                std::slice::from_raw_parts_mut(to, n).fill(*from);
            } else {
                for k in 0..n as isize {
                    *to.wrapping_offset(k * ds) = *from.wrapping_offset(k * ss);
                }
            }
        });
    });
}

/// Bytes from which a transposition is written past the caches.
const STREAM: usize = 8 << 20;

/// Calls `f` with the offsets of every index of the axes in a range of their row-major numbers.
#[inline(always)]
fn walk(axes: &[Axis], range: Range<usize>, mut f: impl FnMut(isize, isize)) {
    let mut index: smallvec::SmallVec<[usize; 8]> = smallvec::smallvec![0; axes.len()];
    let (mut d, mut s, mut rest) = (0isize, 0isize, range.start);
    for (k, &(n, ds, ss)) in axes.iter().enumerate().rev() {
        index[k] = rest % n;
        rest /= n;
        d += index[k] as isize * ds;
        s += index[k] as isize * ss;
    }
    for _ in range {
        f(d, s);
        for (k, &(n, ds, ss)) in axes.iter().enumerate().rev() {
            index[k] += 1;
            (d, s) = (d + ds, s + ss);
            if index[k] < n {
                break;
            }
            index[k] = 0;
            (d, s) = (d - n as isize * ds, s - n as isize * ss);
        }
    }
}

/// Rows of the destination that go together: several lines of each source row are then used while they are near.
const STRIP: usize = 32;

/// `dst[i * dm + j] = src[i + j * sn]` for `i < m`, `j < n`.
///
/// # Safety
/// All those elements are valid and no two blocks overlap; the processor has `level`. With `stream`, rows of 4-byte elements
/// of the destination start on lines.
unsafe fn transpose<T: Copy>(level: Level, stream: bool, dst: *mut T, dm: isize, src: *const T, sn: isize, m: usize, n: usize) {
    // SAFETY: by the caller; full tiles lie inside both blocks.
    unsafe {
        let tile: usize = match (level, size_of::<T>()) {
            #[cfg(target_arch = "x86_64")]
            (Level::Avx512, 4) => 16,
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2 | Level::Avx512, 8) => 4,
            #[cfg(target_arch = "x86_64")]
            (Level::Avx2, 4) => 8,
            _ => 0,
        };
        let (full_m, full_n) = if tile == 0 { (0, 0) } else { (m / tile * tile, n / tile * tile) };
        let at = |i: usize, j: usize| {
            (dst.wrapping_offset(i as isize * dm + j as isize), src.wrapping_offset(i as isize + j as isize * sn))
        };
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (stream, at); // no tiles there
        #[cfg(target_arch = "x86_64")]
        for j in (0..full_n).step_by(tile.max(1)) {
            for i in (0..full_m).step_by(tile.max(1)) {
                let (to, from) = at(i, j);
                match tile {
                    16 if stream => x86::tile16::<true>(to as *mut f32, dm, from as *const f32, sn),
                    16 => x86::tile16::<false>(to as *mut f32, dm, from as *const f32, sn),
                    8 => x86::tile8(to as *mut f32, dm, from as *const f32, sn),
                    _ => x86::tile4(to as *mut f64, dm, from as *const f64, sn),
                }
            }
        }
        #[cfg(target_arch = "x86_64")]
        if stream {
            std::arch::x86_64::_mm_sfence();
        }
        scalar(dst, dm, src, sn, 0..full_m, full_n..n);
        scalar(dst, dm, src, sn, full_m..m, 0..n);
    }
}

/// The elements of a rectangle one by one, in blocks that keep both sides in cache.
///
/// # Safety
/// As for [`transpose`].
unsafe fn scalar<T: Copy>(dst: *mut T, dm: isize, src: *const T, sn: isize, rows: Range<usize>, cols: Range<usize>) {
    const B: usize = 16;
    for j0 in cols.clone().step_by(B) {
        for i in rows.clone() {
            for j in j0..(j0 + B).min(cols.end) {
                // SAFETY: by the caller.
                unsafe {
                    *dst.wrapping_offset(i as isize * dm + j as isize) = *src.wrapping_offset(i as isize + j as isize * sn);
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    /// # Safety
    /// 16 rows of 16 elements are valid on both sides.
    /// With `STREAM`, rows of the destination are whole lines, which go past the caches.
    #[target_feature(enable = "avx512f")]
    pub unsafe fn tile16<const STREAM: bool>(dst: *mut f32, dm: isize, src: *const f32, sn: isize) {
        // SAFETY: the caller's promise.
        unsafe {
            let r: [__m512; 16] = std::array::from_fn(|k| _mm512_loadu_ps(src.offset(k as isize * sn)));
            // Pairs, then fours of rows interleaved within 128-bit parts.
            let mut a = [_mm512_setzero_ps(); 16];
            for k in 0..8 {
                a[2 * k] = _mm512_unpacklo_ps(r[2 * k], r[2 * k + 1]);
                a[2 * k + 1] = _mm512_unpackhi_ps(r[2 * k], r[2 * k + 1]);
            }
            let mut b = [_mm512_setzero_ps(); 16];
            for k in 0..4 {
                let pd = |v: __m512| _mm512_castps_pd(v);
                let ps = |v: __m512d| _mm512_castpd_ps(v);
                b[4 * k] = ps(_mm512_unpacklo_pd(pd(a[4 * k]), pd(a[4 * k + 2])));
                b[4 * k + 1] = ps(_mm512_unpackhi_pd(pd(a[4 * k]), pd(a[4 * k + 2])));
                b[4 * k + 2] = ps(_mm512_unpacklo_pd(pd(a[4 * k + 1]), pd(a[4 * k + 3])));
                b[4 * k + 3] = ps(_mm512_unpackhi_pd(pd(a[4 * k + 1]), pd(a[4 * k + 3])));
            }
            // Column `c + 4 part` is in part `part` of b[c], b[c + 4], b[c + 8], b[c + 12].
            for c in 0..4 {
                let lo = _mm512_shuffle_f32x4::<0x88>(b[c], b[c + 4]);
                let lo_odd = _mm512_shuffle_f32x4::<0xdd>(b[c], b[c + 4]);
                let hi = _mm512_shuffle_f32x4::<0x88>(b[c + 8], b[c + 12]);
                let hi_odd = _mm512_shuffle_f32x4::<0xdd>(b[c + 8], b[c + 12]);
                let row = |k: usize| dst.offset(k as isize * dm);
                let put = |at: *mut f32, v: __m512| if STREAM { _mm512_stream_ps(at, v) } else { _mm512_storeu_ps(at, v) };
                put(row(c), _mm512_shuffle_f32x4::<0x88>(lo, hi));
                put(row(c + 4), _mm512_shuffle_f32x4::<0x88>(lo_odd, hi_odd));
                put(row(c + 8), _mm512_shuffle_f32x4::<0xdd>(lo, hi));
                put(row(c + 12), _mm512_shuffle_f32x4::<0xdd>(lo_odd, hi_odd));
            }
        }
    }

    /// # Safety
    /// 8 rows of 8 elements are valid on both sides.
    #[target_feature(enable = "avx2")]
    pub unsafe fn tile8(dst: *mut f32, dm: isize, src: *const f32, sn: isize) {
        // SAFETY: the caller's promise.
        unsafe {
            let r: [__m256; 8] = std::array::from_fn(|k| _mm256_loadu_ps(src.offset(k as isize * sn)));
            let mut a = [_mm256_setzero_ps(); 8];
            for k in 0..4 {
                a[2 * k] = _mm256_unpacklo_ps(r[2 * k], r[2 * k + 1]);
                a[2 * k + 1] = _mm256_unpackhi_ps(r[2 * k], r[2 * k + 1]);
            }
            let mut b = [_mm256_setzero_ps(); 8];
            for k in 0..2 {
                b[4 * k] = _mm256_shuffle_ps::<0x44>(a[4 * k], a[4 * k + 2]);
                b[4 * k + 1] = _mm256_shuffle_ps::<0xee>(a[4 * k], a[4 * k + 2]);
                b[4 * k + 2] = _mm256_shuffle_ps::<0x44>(a[4 * k + 1], a[4 * k + 3]);
                b[4 * k + 3] = _mm256_shuffle_ps::<0xee>(a[4 * k + 1], a[4 * k + 3]);
            }
            for c in 0..4 {
                let row = |k: usize| dst.offset(k as isize * dm);
                _mm256_storeu_ps(row(c), _mm256_permute2f128_ps::<0x20>(b[c], b[c + 4]));
                _mm256_storeu_ps(row(c + 4), _mm256_permute2f128_ps::<0x31>(b[c], b[c + 4]));
            }
        }
    }

    /// # Safety
    /// 4 rows of 4 elements are valid on both sides.
    #[target_feature(enable = "avx2")]
    pub unsafe fn tile4(dst: *mut f64, dm: isize, src: *const f64, sn: isize) {
        // SAFETY: the caller's promise.
        unsafe {
            let r: [__m256d; 4] = std::array::from_fn(|k| _mm256_loadu_pd(src.offset(k as isize * sn)));
            let (a, b) = (_mm256_unpacklo_pd(r[0], r[1]), _mm256_unpackhi_pd(r[0], r[1]));
            let (c, d) = (_mm256_unpacklo_pd(r[2], r[3]), _mm256_unpackhi_pd(r[2], r[3]));
            _mm256_storeu_pd(dst, _mm256_permute2f128_pd::<0x20>(a, c));
            _mm256_storeu_pd(dst.offset(dm), _mm256_permute2f128_pd::<0x20>(b, d));
            _mm256_storeu_pd(dst.offset(2 * dm), _mm256_permute2f128_pd::<0x31>(a, c));
            _mm256_storeu_pd(dst.offset(3 * dm), _mm256_permute2f128_pd::<0x31>(b, d));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::isa::available;

    #[test]
    fn transpositions_at_every_level_and_border() {
        fn check<T: Copy + PartialEq + std::fmt::Debug>(of: impl Fn(usize) -> T) {
            for level in available() {
                for (m, n) in [(1, 1), (3, 70), (4, 4), (8, 8), (16, 16), (17, 33), (64, 16), (40, 100), (15, 15)] {
                    let (sn, dm) = (m + 3, n + 5);
                    let src: Vec<T> = (0..sn * n).map(&of).collect();
                    let mut dst = vec![of(7); dm * m];
                    // SAFETY: the blocks have room for the steps.
                    unsafe { transpose(level, false, dst.as_mut_ptr(), dm as isize, src.as_ptr(), sn as isize, m, n) };
                    for i in 0..m {
                        for j in 0..dm {
                            let want = if j < n { src[i + j * sn] } else { of(7) };
                            assert_eq!(dst[i * dm + j], want, "{} {m}x{n} at {i}, {j}", level.name());
                        }
                    }
                }
            }
        }
        check(|k| k as u8);
        check(|k| k as u16);
        check(|k| k as u32);
        check(|k| k as u64);
        check(|k| k as u128);
    }

    #[test]
    fn large_transpositions_past_the_caches() {
        #[repr(align(64))]
        #[derive(Clone, Copy)]
        struct Line([u32; 16]);
        let (m, n) = (2000, 1056i32);
        let src: Vec<u32> = (0..m * n).map(|k| k as u32).collect();
        let mut dst = vec![Line([0; 16]); (m * n) as usize / 16];
        // SAFETY: both have that many elements.
        unsafe { copy(dst.as_mut_ptr() as *mut u32, src.as_ptr(), &[(m as usize, n as isize, 1), (n as usize, 1, m as isize)]) };
        for i in 0..m as usize {
            for j in 0..n as usize {
                let k = i * n as usize + j;
                assert_eq!(dst[k / 16].0[k % 16], src[i + j * m as usize]);
            }
        }
    }

    #[test]
    fn any_axes() {
        // A 3-d permutation, a broadcast, a negative step, long rows.
        let src: Vec<u32> = (0..200_000).collect();
        for axes in [
            vec![(5usize, 700isize, 1isize), (20, 35, 500), (35, 1, 5)],
            vec![(7, 300, 0), (300, 1, 0)],
            vec![(7, 300, 0), (300, 1, 1)],
            vec![(100, 64, 1), (3, 16, 1000), (16, 1, 100)],
            vec![(2, 90_000, 90_000), (90_000, 1, 1)],
            vec![(4, 50, 1000), (25, 2, 3)],
            vec![(16, 64, 1), (64, 1, 16)],
            vec![],
        ] {
            let mut got = vec![u32::MAX; 180_001];
            let mut want = got.clone();
            // SAFETY: the positions are inside both.
            unsafe { copy(got.as_mut_ptr(), src.as_ptr(), &axes) };
            walk(&axes, 0..axes.iter().map(|a| a.0).product(), |d, s| want[d as usize] = src[s as usize]);
            assert_eq!(got, want, "{axes:?}");
        }
    }
}
