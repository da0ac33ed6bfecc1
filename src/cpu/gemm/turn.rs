//! Blocks that are moved or turned: between rows along a dimension and vectors across it.

#[cfg(target_arch = "x86_64")]
use crate::cpu::isa::Level;

/// `dst[c * dst_stride + r] = rows[r][c]` for `c < cols`, at most 16 rows.
///
/// # Safety
/// Every row has `cols` readable elements; the elements of `dst` are writable and no part of a row.
pub unsafe fn transpose_rows<T: Copy>(rows: &[*const T], cols: usize, dst: *mut T, dst_stride: isize) {
    // SAFETY: the caller's promise; the level is the processor's.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if size_of::<T>() == 4 && rows.len() <= 16 && crate::cpu::isa::level() >= Level::Avx512 {
            let mut from = [rows[0].cast::<f32>(); 16];
            for (from, row) in from.iter_mut().zip(rows) {
                *from = row.cast();
            }
            for c in (0..cols).step_by(16) {
                let to = dst.offset(c as isize * dst_stride);
                x86::block(from.map(|f| f.wrapping_add(c)), rows.len(), (cols - c).min(16), to.cast(), dst_stride);
            }
            return;
        }
        for c in 0..cols {
            let to = dst.offset(c as isize * dst_stride);
            for (r, row) in rows.iter().enumerate() {
                *to.add(r) = *row.add(c);
            }
        }
    }
}

/// `dst[c * dst_stride + r] = src[r * src_stride + c]` for `r < rows`, `c < cols`.
///
/// # Safety
/// The elements are readable and writable, and the two matrices do not overlap.
pub unsafe fn transpose<T: Copy>(src: *const T, src_stride: isize, rows: usize, cols: usize, dst: *mut T, dst_stride: isize) {
    // SAFETY: the caller's promise; blocks lie inside the matrices; the level is the processor's.
    unsafe {
        for r in (0..rows).step_by(16) {
            for c in (0..cols).step_by(16) {
                let from = src.offset(r as isize * src_stride + c as isize);
                let to = dst.offset(c as isize * dst_stride + r as isize);
                let (height, width) = ((rows - r).min(16), (cols - c).min(16));
                #[cfg(target_arch = "x86_64")]
                if size_of::<T>() == 4 && crate::cpu::isa::level() >= Level::Avx512 {
                    let first = from.cast::<f32>();
                    let lines = std::array::from_fn(|i| first.wrapping_offset(i as isize * src_stride));
                    x86::block(lines, height, width, to.cast(), dst_stride);
                    continue;
                }
                plain(from, src_stride, height, width, to, dst_stride);
            }
        }
    }
}

/// `dst[r * dst_stride + c] = src[r * src_stride + c]` for `r < rows`, `c < cols`.
///
/// # Safety
/// The elements are readable and writable, and the two matrices do not overlap.
pub unsafe fn copy_rows<T: Copy>(src: *const T, src_stride: isize, rows: usize, cols: usize, dst: *mut T, dst_stride: isize) {
    // SAFETY: the caller's promise; the level is the processor's.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        if size_of::<T>() == 4 && (1..=32).contains(&cols) && crate::cpu::isa::level() >= Level::Avx512 {
            return x86::copy_rows(src.cast(), src_stride, rows, cols, dst.cast(), dst_stride);
        }
        for r in 0..rows as isize {
            let (from, to) = (src.offset(r * src_stride), dst.offset(r * dst_stride));
            // (Not a call: rows are short.)
            for c in 0..cols {
                *to.add(c) = *from.add(c);
            }
        }
    }
}

/// One block of at most 16 x 16.
unsafe fn plain<T: Copy>(src: *const T, src_stride: isize, rows: usize, cols: usize, dst: *mut T, dst_stride: isize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut r = 0;
        while r + 4 <= rows {
            let from = [0, 1, 2, 3].map(|i| src.offset((r as isize + i) * src_stride));
            for c in 0..cols {
                let to = dst.offset(c as isize * dst_stride).add(r);
                for (i, from) in from.iter().enumerate() {
                    *to.add(i) = *from.add(c);
                }
            }
            r += 4;
        }
        while r < rows {
            for c in 0..cols {
                *dst.offset(c as isize * dst_stride).add(r) = *src.offset(r as isize * src_stride).add(c);
            }
            r += 1;
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(clippy::needless_range_loop)]
mod x86 {
    use std::arch::x86_64::*;

    /// Rows of 1 to 32 elements of four bytes.
    ///
    /// # Safety
    /// As for [`super::copy_rows`]; the processor has AVX-512 F.
    #[target_feature(enable = "avx512f")]
    pub unsafe fn copy_rows(src: *const f32, src_stride: isize, rows: usize, cols: usize, dst: *mut f32, dst_stride: isize) {
        let live = u32::MAX >> (32 - cols);
        let (first, second) = (live as u16, (live >> 16) as u16);
        // SAFETY: masks hide what is outside.
        unsafe {
            for r in 0..rows as isize {
                let (from, to) = (src.wrapping_offset(r * src_stride), dst.wrapping_offset(r * dst_stride));
                _mm512_mask_storeu_ps(to, first, _mm512_maskz_loadu_ps(first, from));
                if second != 0 {
                    let (from, to) = (from.wrapping_add(16), to.wrapping_add(16));
                    _mm512_mask_storeu_ps(to, second, _mm512_maskz_loadu_ps(second, from));
                }
            }
        }
    }

    /// One block of at most 16 x 16 elements of four bytes, from rows that lie anywhere.
    ///
    /// # Safety
    /// As for [`super::transpose`]; the processor has AVX-512 F.
    #[target_feature(enable = "avx512f")]
    pub unsafe fn block(src: [*const f32; 16], rows: usize, cols: usize, dst: *mut f32, dst_stride: isize) {
        // SAFETY: masks hide what is outside; only rows and columns of the block are touched.
        unsafe {
            let (live_rows, live_cols) = ((0xffff_u32 >> (16 - rows)) as u16, (0xffff_u32 >> (16 - cols)) as u16);
            let whole = rows == 16 && cols == 16;
            // Constant bounds everywhere, so that the block stays in registers.
            let mut r = [_mm512_setzero_ps(); 16];
            if whole {
                for i in 0..16 {
                    r[i] = _mm512_loadu_ps(src[i]);
                }
            } else {
                for i in 0..16 {
                    let live = if i < rows { live_cols } else { 0 };
                    r[i] = _mm512_maskz_loadu_ps(live, src[i]);
                }
            }
            // Pairs of rows, then fours: lane q of r[4g + i] is column 4q + i of rows 4g..4g + 4.
            let mut t = [_mm512_setzero_ps(); 16];
            for i in 0..8 {
                t[2 * i] = _mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]);
                t[2 * i + 1] = _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]);
            }
            for g in 0..4 {
                let [a, b, c, d] = [0, 1, 2, 3].map(|i| _mm512_castps_pd(t[4 * g + i]));
                r[4 * g] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
                r[4 * g + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
                r[4 * g + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
                r[4 * g + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
            }
            // Then the lanes.
            for i in 0..4 {
                let a = _mm512_shuffle_f32x4::<0x88>(r[i], r[4 + i]);
                let b = _mm512_shuffle_f32x4::<0x88>(r[8 + i], r[12 + i]);
                let c = _mm512_shuffle_f32x4::<0xdd>(r[i], r[4 + i]);
                let d = _mm512_shuffle_f32x4::<0xdd>(r[8 + i], r[12 + i]);
                t[i] = _mm512_shuffle_f32x4::<0x88>(a, b);
                t[8 + i] = _mm512_shuffle_f32x4::<0xdd>(a, b);
                t[4 + i] = _mm512_shuffle_f32x4::<0x88>(c, d);
                t[12 + i] = _mm512_shuffle_f32x4::<0xdd>(c, d);
            }
            if whole {
                for c in 0..16 {
                    _mm512_storeu_ps(dst.offset(c as isize * dst_stride), t[c]);
                }
            } else {
                for c in 0..16 {
                    if c < cols {
                        _mm512_mask_storeu_ps(dst.offset(c as isize * dst_stride), live_rows, t[c]);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_all_sizes() {
        for (rows, cols) in [(1, 1), (16, 16), (16, 5), (3, 16), (15, 17), (33, 50), (4, 31)] {
            let src: Vec<f32> = (0..rows * (cols + 2)).map(|v| v as f32).collect();
            let mut dst = vec![-1.0_f32; cols * (rows + 3)];
            // SAFETY: both buffers have the strides given.
            unsafe { transpose(src.as_ptr(), cols as isize + 2, rows, cols, dst.as_mut_ptr(), rows as isize + 3) };
            for (i, &v) in dst.iter().enumerate() {
                let (c, r) = (i / (rows + 3), i % (rows + 3));
                assert_eq!(v, if r < rows { src[r * (cols + 2) + c] } else { -1.0 }, "{rows} x {cols} at {i}");
            }
        }
    }

    #[test]
    fn rows_of_all_widths() {
        for cols in 1..=40 {
            let src: Vec<f32> = (0..7 * 41).map(|v| v as f32).collect();
            let mut dst = vec![-1.0_f32; 7 * 43];
            // SAFETY: both buffers have the strides given.
            unsafe { copy_rows(src.as_ptr(), 41, 7, cols, dst.as_mut_ptr(), 43) };
            for (i, &v) in dst.iter().enumerate() {
                let (r, c) = (i / 43, i % 43);
                assert_eq!(v, if c < cols { src[r * 41 + c] } else { -1.0 }, "{cols} at {i}");
            }
        }
    }
}
