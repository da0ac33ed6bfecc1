//! Conversions of element types, contiguous on both sides: arithmetic without branches, which LLVM vectorises.

use super::threads::{SendPtr, parallel_for};
use std::marker::PhantomData;

/// A conversion of one element.
pub trait Convert {
    type From: Copy;
    type To: Copy;
    fn one(v: Self::From) -> Self::To;
}

/// float16 by its bits to float32.
#[inline(always)]
fn widen_f16(h: u16) -> f32 {
    let sign = ((h & 0x8000) as u32) << 16;
    let rest = ((h & 0x7fff) as u32) << 13;
    // Exponents differ by 112; a product takes denormals along.
    let finite = (f32::from_bits(rest) * f32::from_bits(0x7780_0000)).to_bits();
    let bits = if h & 0x7c00 == 0x7c00 { rest | 0x7f80_0000 } else { finite };
    f32::from_bits(bits | sign)
}

/// float32 to float16, to nearest, ties to even.
#[inline(always)]
fn narrow_f16(v: f32) -> u16 {
    let bits = v.to_bits();
    let sign = bits & 0x8000_0000;
    let a = bits ^ sign;
    let odd = (a >> 13) & 1;
    let normal = a.wrapping_sub(112 << 23).wrapping_add(0xfff + odd) >> 13;
    // Adding 0.5 puts the last bit of a float16 denormal last.
    let denormal = (f32::from_bits(a) + 0.5).to_bits().wrapping_sub(0x3f00_0000);
    let rest = if a < 113 << 23 { denormal } else { normal };
    let rest = if a >= 143 << 23 { 0x7c00 } else { rest };
    let rest = if a > 0x7f80_0000 { 0x7e00 } else { rest };
    (rest | (sign >> 16)) as u16
}

/// float32 to bfloat16, to nearest, ties to even.
#[inline(always)]
fn narrow_bf16(v: f32) -> u16 {
    let bits = v.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    (if v.is_nan() { (bits >> 16) | 0x40 } else { rounded }) as u16
}

macro_rules! conversions {
    ($($name:ident: $from:ty => $to:ty, |$v:ident| $body:expr;)*) => {$(
        pub struct $name;
        impl Convert for $name {
            type From = $from;
            type To = $to;
            #[inline(always)]
            fn one($v: $from) -> $to {
                $body
            }
        }
    )*};
}
// Half types and bool are given by their bits.
conversions! {
    F16ToF32: u16 => f32, |v| widen_f16(v);
    F32ToF16: f32 => u16, |v| narrow_f16(v);
    Bf16ToF32: u16 => f32, |v| f32::from_bits((v as u32) << 16);
    F32ToBf16: f32 => u16, |v| narrow_bf16(v);
    F32ToF64: f32 => f64, |v| v as f64;
    F64ToF32: f64 => f32, |v| v as f32;
    I64ToF32: i64 => f32, |v| v as f32;
    I64ToF64: i64 => f64, |v| v as f64;
    I32ToF32: i32 => f32, |v| v as f32;
    I32ToI64: i32 => i64, |v| v as i64;
    I64ToI32: i64 => i32, |v| v as i32;
    F32ToI64: f32 => i64, |v| v as i64;
    U8ToF32: u8 => f32, |v| v as f32;
    BoolToF32: u8 => f32, |v| if v != 0 { 1.0 } else { 0.0 };
    BoolToI64: u8 => i64, |v| (v != 0) as i64;
    F32ToBool: f32 => u8, |v| (v != 0.0) as u8;
    I64ToBool: i64 => u8, |v| (v != 0) as u8;
}

multiversion! {
    /// # Safety
    /// `n` elements are valid on both sides, which are apart.
    unsafe fn run<C: Convert>(which: PhantomData<C>, from: *const C::From, to: *mut C::To, n: usize) {
        for k in 0..n {
            // SAFETY: by the caller.
            unsafe { *to.add(k) = C::one(*from.add(k)) };
        }
    }
}

/// Converts `n` elements.
///
/// # Safety
/// `n` elements are valid on both sides, which are apart.
pub unsafe fn convert<C: Convert>(from: *const u8, to: *mut u8, n: usize) {
    let (from, to) = (SendPtr(from.cast_mut() as *mut C::From), SendPtr(to as *mut C::To));
    parallel_for(n, 1 << 16, |range| {
        // SAFETY: the caller's promise; ranges are disjoint.
        unsafe { run(PhantomData::<C>, from.get().add(range.start), to.get().add(range.start), range.len()) }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::isa::available;
    use half::{bf16, f16};

    fn each<C: Convert>(from: &[C::From], check: impl Fn(C::From, C::To))
    where
        C::To: Default,
    {
        for level in available() {
            let mut to = vec![C::To::default(); from.len()];
            // SAFETY: both have that many elements.
            unsafe { run::at(level, PhantomData::<C>, from.as_ptr(), to.as_mut_ptr(), from.len()) };
            from.iter().zip(to).for_each(|(f, t)| check(*f, t));
        }
    }

    #[test]
    fn half_types_agree_with_their_definition() {
        let all: Vec<u16> = (0..=u16::MAX).collect();
        let same = |a: f32, b: f32| assert!(a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan(), "{a} {b}");
        each::<F16ToF32>(&all, |f, t| same(t, f16::from_bits(f).to_f32()));
        each::<Bf16ToF32>(&all, |f, t| same(t, bf16::from_bits(f).to_f32()));
        // Every float16 and bfloat16, what lies half way between two of them, and the neighbours of that.
        let mut near: Vec<f32> = Vec::new();
        for h in 0..=u16::MAX {
            for (a, b) in [
                (f16::from_bits(h).to_f32(), f16::from_bits(h.wrapping_add(1)).to_f32()),
                (bf16::from_bits(h).to_f32(), bf16::from_bits(h.wrapping_add(1)).to_f32()),
            ] {
                let mid = a + (b - a) / 2.0;
                near.extend([
                    a,
                    mid,
                    f32::from_bits(mid.to_bits().wrapping_add(1)),
                    f32::from_bits(mid.to_bits().wrapping_sub(1)),
                ]);
            }
        }
        each::<F32ToF16>(&near, |f, t| {
            let want = f16::from_f32(f);
            assert!(t == want.to_bits() || want.is_nan() && f16::from_bits(t).is_nan(), "{f}: {t:x} {:x}", want.to_bits());
        });
        each::<F32ToBf16>(&near, |f, t| {
            let want = bf16::from_f32(f);
            assert!(t == want.to_bits() || want.is_nan() && bf16::from_bits(t).is_nan(), "{f}: {t:x} {:x}", want.to_bits());
        });
    }

    #[test]
    fn numbers_and_truth() {
        let f = [0.0f32, -0.0, 1.5, -2.7, 3e9, -1e30, f32::NAN, f32::INFINITY, 1e-40];
        each::<F32ToI64>(&f, |f, t| assert_eq!(t, f as i64));
        each::<F32ToBool>(&f, |f, t| assert_eq!(t, (f != 0.0) as u8));
        let i = [0i64, 1, -1, i64::MAX, i64::MIN, (1 << 53) + 1, (1 << 40) + 1, 7];
        each::<I64ToF32>(&i, |f, t| assert_eq!(t, f as f32));
        each::<I64ToI32>(&i, |f, t| assert_eq!(t, f as i32));
        each::<I64ToBool>(&i, |f, t| assert_eq!(t, (f != 0) as u8));
        each::<BoolToF32>(&[0, 1, 2, 255], |f, t| assert_eq!(t, (f != 0) as u8 as f32));
    }
}
