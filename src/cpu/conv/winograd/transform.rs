//! The transforms of F(4x4, 3x3): a tile of 4 x 4 outputs is a product of 6 x 6 numbers for each channel.
//!
//! Toom-Cook at the points 0, ±3/4, ±3/2 and infinity, which keep the error near that of a plain sum (with the
//! customary 0, ±1, ±2 it is four times as large). `BT` below is the transform of the input, `G` that of the kernel,
//! `AT` that of the products; their transposes serve the gradients. Every transform works on 16 channels at once.

use super::LANES;
use crate::cpu::isa::fma;

const A: f32 = 0.75;
const B: f32 = 1.5;
const A2: f32 = A * A;
const B2: f32 = B * B;
const A3: f32 = A * A * A;
const B3: f32 = B * B * B;
/// The product of the polynomial (x^2 - a^2)(x^2 - b^2): x^4 - SUM x^2 + PRODUCT.
const SUM: f32 = A2 + B2;
const PRODUCT: f32 = A2 * B2;
/// Reciprocals of the products of differences of the points: of 0, of ±a, of ±b.
const F0: f32 = 1.0 / PRODUCT;
const FA: f32 = 1.0 / (2.0 * A2 * (A2 - B2));
const FB: f32 = 1.0 / (2.0 * B2 * (B2 - A2));

/// Input of one dimension.
#[inline(always)]
fn b_t<const FMA: bool>(d: [f32; 6]) -> [f32; 6] {
    let (ea, eb) = (fma::<FMA>(-B2, d[2], d[4]), fma::<FMA>(-A2, d[2], d[4]));
    let (oa, ob) = (A * fma::<FMA>(-B2, d[1], d[3]), B * fma::<FMA>(-A2, d[1], d[3]));
    let first = fma::<FMA>(PRODUCT, d[0], fma::<FMA>(-SUM, d[2], d[4]));
    let last = fma::<FMA>(PRODUCT, d[1], fma::<FMA>(-SUM, d[3], d[5]));
    [first, ea + oa, ea - oa, eb + ob, eb - ob, last]
}

/// Products of one dimension to four outputs.
#[inline(always)]
fn a_t<const FMA: bool>(m: [f32; 6]) -> [f32; 4] {
    let (sa, ta, sb, tb) = (m[1] + m[2], m[1] - m[2], m[3] + m[4], m[3] - m[4]);
    [m[0] + (sa + sb), fma::<FMA>(A, ta, B * tb), fma::<FMA>(A2, sa, B2 * sb), fma::<FMA>(A3, ta, fma::<FMA>(B3, tb, m[5]))]
}

/// Gradients of four outputs to those of the products.
#[inline(always)]
fn a_<const FMA: bool>(g: [f32; 4]) -> [f32; 6] {
    let (ea, oa) = (fma::<FMA>(A2, g[2], g[0]), A * fma::<FMA>(A2, g[3], g[1]));
    let (eb, ob) = (fma::<FMA>(B2, g[2], g[0]), B * fma::<FMA>(B2, g[3], g[1]));
    [g[0], ea + oa, ea - oa, eb + ob, eb - ob, g[3]]
}

/// A kernel of one dimension.
#[inline(always)]
fn g<const FMA: bool>(w: [f32; 3]) -> [f32; 6] {
    let (ea, oa) = (FA * fma::<FMA>(A2, w[2], w[0]), (FA * A) * w[1]);
    let (eb, ob) = (FB * fma::<FMA>(B2, w[2], w[0]), (FB * B) * w[1]);
    [F0 * w[0], ea + oa, ea - oa, eb + ob, eb - ob, w[2]]
}

/// Gradients of the transformed kernel to those of the kernel.
#[inline(always)]
fn g_t<const FMA: bool>(u: [f32; 6]) -> [f32; 3] {
    let (sa, ta, sb, tb) = (u[1] + u[2], u[1] - u[2], u[3] + u[4], u[3] - u[4]);
    [
        fma::<FMA>(F0, u[0], fma::<FMA>(FA, sa, FB * sb)),
        fma::<FMA>(FA * A, ta, (FB * B) * tb),
        fma::<FMA>(FA * A2, sa, fma::<FMA>(FB * B2, sb, u[5])),
    ]
}

type Lanes = [f32; LANES];

/// A one-dimensional transform of vectors: `M` of them, `step` elements apart, to `N`, `out_step` apart.
macro_rules! lanes {
    ($f:ident::<$fma:ident>, [$($m:literal)*] $from:expr, $step:expr, [$($n:literal)*] $to:expr, $out_step:expr) => {{
        let (from, step, to, out_step) = ($from, $step, $to, $out_step);
        // Arrays of our own: the vectoriser need not ask what overlaps.
        let d = [$(*from.add($m * step).cast::<Lanes>()),*];
        let mut r = [[0.0_f32; LANES]; [$($n),*].len()];
        for l in 0..LANES {
            let v = $f::<$fma>([$(d[$m][l]),*]);
            $(r[$n][l] = v[$n];)*
        }
        $(*to.add($n * out_step).cast::<Lanes>() = r[$n];)*
    }};
}

multiversion! {
    /// The transformed input of `tiles` neighbouring tiles: `src` holds 6 rows of `4 tiles + 2` columns of vectors,
    /// `tmp` has room for as much, element `p` of tile `t` goes to `out[p * step + t * width]`.
    ///
    /// # Safety
    /// As described; `tmp` and `out` belong to the caller alone.
    pub unsafe fn input(src: *const f32, tmp: *mut f32, tiles: usize, out: *mut f32, step: usize, width: usize) {
        let row = (4 * tiles + 2) * LANES;
        // SAFETY: by the caller.
        unsafe {
            for c in (0..row).step_by(LANES) {
                lanes!(b_t::<FMA>, [0 1 2 3 4 5] src.add(c), row, [0 1 2 3 4 5] tmp.add(c), row);
            }
            for t in 0..tiles {
                for y in 0..6 {
                    let (from, to) = (tmp.add(y * row + 4 * t * LANES), out.add(6 * y * step + t * width));
                    lanes!(b_t::<FMA>, [0 1 2 3 4 5] from, LANES, [0 1 2 3 4 5] to, step);
                }
            }
        }
    }
}

multiversion! {
    /// The transformed output gradient of `tiles` neighbouring tiles: `src` holds 4 rows of `4 tiles` columns of
    /// vectors, `tmp` has room for 6 such rows; the rest as for [`input`].
    ///
    /// # Safety
    /// As for [`input`].
    pub unsafe fn gradient(src: *const f32, tmp: *mut f32, tiles: usize, out: *mut f32, step: usize, width: usize) {
        let row = 4 * tiles * LANES;
        // SAFETY: by the caller.
        unsafe {
            for c in (0..row).step_by(LANES) {
                lanes!(a_::<FMA>, [0 1 2 3] src.add(c), row, [0 1 2 3 4 5] tmp.add(c), row);
            }
            for t in 0..tiles {
                for y in 0..6 {
                    let (from, to) = (tmp.add(y * row + 4 * t * LANES), out.add(6 * y * step + t * width));
                    lanes!(a_::<FMA>, [0 1 2 3] from, LANES, [0 1 2 3 4 5] to, step);
                }
            }
        }
    }
}

multiversion! {
    /// Products of `tiles` neighbouring tiles to 4 rows of `4 tiles` outputs, plus a bias for each lane. Products come
    /// from `src[p * step + t * width]`, `tmp` has room for 24 vectors. Returns NaN if an output is not finite.
    ///
    /// # Safety
    /// As for [`input`].
    pub unsafe fn output(src: *const f32, step: usize, width: usize, tiles: usize, bias: &Lanes, tmp: *mut f32, out: *mut f32) -> f32 {
        let row = 4 * tiles * LANES;
        let mut odd = [0.0_f32; LANES];
        // SAFETY: by the caller.
        unsafe {
            for t in 0..tiles {
                for x in 0..6 {
                    let (from, to) = (src.add(x * step + t * width), tmp.add(x * LANES));
                    lanes!(a_t::<FMA>, [0 1 2 3 4 5] from, 6 * step, [0 1 2 3] to, 6 * LANES);
                }
                for y in 0..4 {
                    let to = out.add(y * row + 4 * t * LANES);
                    lanes!(a_t::<FMA>, [0 1 2 3 4 5] tmp.add(6 * y * LANES), LANES, [0 1 2 3] to, LANES);
                    for x in 0..4 {
                        let to = to.add(x * LANES);
                        for l in 0..LANES {
                            *to.add(l) += bias[l];
                            // NaN or an infinity anywhere makes the sum NaN.
                            odd[l] = fma::<FMA>(*to.add(l), 0.0, odd[l]);
                        }
                    }
                }
            }
        }
        odd.iter().sum()
    }
}

multiversion! {
    /// Transformed kernels of 16 channels: tap `k` at `w[k * LANES]`, element `p` to `out[p * step]`.
    ///
    /// # Safety
    /// 9 vectors are readable and 36 writable.
    pub unsafe fn kernel(w: *const f32, out: *mut f32, step: usize) {
        let mut tmp = [0.0_f32; 18 * LANES];
        let tmp = tmp.as_mut_ptr();
        // SAFETY: by the caller.
        unsafe {
            for x in 0..3 {
                lanes!(g::<FMA>, [0 1 2] w.add(x * LANES), 3 * LANES, [0 1 2 3 4 5] tmp.add(x * LANES), 3 * LANES);
            }
            for y in 0..6 {
                lanes!(g::<FMA>, [0 1 2] tmp.add(3 * y * LANES), LANES, [0 1 2 3 4 5] out.add(6 * y * step), step);
            }
        }
    }
}

multiversion! {
    /// The gradient of 16 kernels from that of their transforms, element `p` at `u[p * step]`: tap `k` to `w[k * LANES]`.
    ///
    /// # Safety
    /// 36 vectors are readable and 9 writable.
    pub unsafe fn kernel_gradient(u: *const f32, step: usize, w: *mut f32) {
        let mut tmp = [0.0_f32; 18 * LANES];
        let tmp = tmp.as_mut_ptr();
        // SAFETY: by the caller.
        unsafe {
            for x in 0..6 {
                lanes!(g_t::<FMA>, [0 1 2 3 4 5] u.add(x * step), 6 * step, [0 1 2] tmp.add(x * LANES), 6 * LANES);
            }
            for y in 0..3 {
                lanes!(g_t::<FMA>, [0 1 2 3 4 5] tmp.add(6 * y * LANES), LANES, [0 1 2] w.add(3 * y * LANES), LANES);
            }
        }
    }
}
