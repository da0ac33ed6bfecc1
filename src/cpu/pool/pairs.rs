//! Max pooling of float32 over windows two wide and two apart with AVX-512: even and odd columns are parted by a
//! permutation, which LLVM does not find.

use std::arch::x86_64::*;

/// The maxima of `best.len()` windows and, if wanted, their places in the plane, as `beats` of the parent decides:
/// the first of equal ones, NaN before all. `rows` are where each row's first column lies in the plane `x`; `first` is the
/// place of the first window's first element.
///
/// # Safety
/// The processor has AVX-512 F. Every row has `2 * best.len()` elements in `x`; `index`, if any, is as long as `best`.
#[target_feature(enable = "avx512f")]
pub unsafe fn max_pairs(
    x: *const f32,
    rows: impl Iterator<Item = usize> + Clone,
    first: usize,
    best: &mut [f32],
    index: Option<&mut [i64]>,
) {
    let lanes = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    let odd = _mm512_add_epi32(lanes, _mm512_set1_epi32(1));
    let to_index = index.map(|i| i.as_mut_ptr());
    for o in (0..best.len()).step_by(16) {
        let count = (best.len() - o).min(16);
        // Two inputs to an output.
        let live = (1u64 << (2 * count)) - 1;
        let mut value = _mm512_set1_ps(f32::NEG_INFINITY);
        let mut at = _mm512_add_epi32(_mm512_set1_epi32((first + 2 * o) as i32), lanes);
        for row in rows.clone() {
            let from = row + 2 * o;
            // SAFETY: masked loads of elements of the row.
            let (a, b) = unsafe {
                let p = x.add(from);
                (
                    _mm512_maskz_loadu_ps(live as __mmask16, p),
                    _mm512_maskz_loadu_ps((live >> 16) as __mmask16, p.wrapping_add(16)),
                )
            };
            for (columns, shift) in [(lanes, 0), (odd, 1)] {
                let v = _mm512_permutex2var_ps(a, columns, b);
                let beats = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(v, value) | _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
                value = _mm512_mask_mov_ps(value, beats, v);
                at = _mm512_mask_add_epi32(at, beats, _mm512_set1_epi32((from + shift) as i32), lanes);
            }
        }
        let mask = ((1u32 << count) - 1) as __mmask16;
        // SAFETY: masked stores of `count` elements.
        unsafe {
            _mm512_mask_storeu_ps(best.as_mut_ptr().add(o), mask, value);
            if let Some(to) = to_index {
                let (low, high) = (_mm512_castsi512_si256(at), _mm512_extracti64x4_epi64::<1>(at));
                _mm512_mask_storeu_epi64(to.add(o), mask as __mmask8, _mm512_cvtepu32_epi64(low));
                _mm512_mask_storeu_epi64(to.wrapping_add(o + 8), (mask >> 8) as __mmask8, _mm512_cvtepu32_epi64(high));
            }
        }
    }
}
