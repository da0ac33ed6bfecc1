//! Which vector instructions kernels use, decided once at run time.
//!
//! `multiversion!` compiles a function for every level and calls the version of [`level`]. The
//! bodies are plain Rust that LLVM vectorises; where a level has fused multiply-add, `FMA` is true inside the body
//! and [`fma`] is one instruction. Results may differ in the last bits between levels, never between thread counts.

use std::sync::atomic::{AtomicU8, Ordering};

/// Instruction levels, each containing those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Level {
    /// What every processor of the architecture has: SSE2 on x86-64, NEON on aarch64.
    Baseline = 1,
    /// AVX2, FMA and F16C.
    Avx2 = 2,
    /// AVX-512 F, BW, DQ and VL, besides the above.
    Avx512 = 3,
}

impl Level {
    pub fn name(self) -> &'static str {
        match self {
            Level::Baseline => "baseline",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
        }
    }
}

/// 0 until the first question.
static LEVEL: AtomicU8 = AtomicU8::new(0);

/// The best level of this processor.
fn detect() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
        let avx512 = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        if avx2 && avx512 {
            return Level::Avx512;
        }
        if avx2 {
            return Level::Avx2;
        }
    }
    Level::Baseline
}

#[cold]
fn decide() -> Level {
    let best = detect();
    let level = match std::env::var("RUSTGRAD_ISA").as_deref() {
        Ok("baseline") => Level::Baseline,
        Ok("avx2") => best.min(Level::Avx2),
        // "avx512", nothing, or what we do not know: the best there is.
        _ => best,
    };
    LEVEL.store(level as u8, Ordering::Relaxed);
    level
}

/// The level in use: the processor's best, or a lower one that `RUSTGRAD_ISA` (`baseline`, `avx2`, `avx512`) names.
#[inline]
pub fn level() -> Level {
    match LEVEL.load(Ordering::Relaxed) {
        1 => Level::Baseline,
        2 => Level::Avx2,
        3 => Level::Avx512,
        _ => decide(),
    }
}

/// The levels that this processor has, lowest first: for tests that compare them.
pub fn available() -> impl Iterator<Item = Level> {
    let best = detect();
    [Level::Baseline, Level::Avx2, Level::Avx512].into_iter().filter(move |l| *l <= best)
}

/// Asks for the cache lines of `n` elements, at any address.
#[inline(always)]
pub fn prefetch<T>(at: *const T, n: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..n * size_of::<T>()).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch may be of any address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast::<i8>().wrapping_add(line)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (at, n);
}

/// `a * b + c`: fused where `FMA` says that this is one instruction, two roundings elsewhere (never a call).
#[inline(always)]
pub fn fma<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// [`fma`] in double precision.
#[inline(always)]
pub fn fma64<const FMA: bool>(a: f64, b: f64, c: f64) -> f64 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// Compiles a function once per [`Level`] and calls the version of the level in use.
///
/// ```text
/// multiversion! {
///     /// # Safety
///     /// Both pointers have `n` elements.
///     pub unsafe fn scale(x: *const f32, s: f32, out: *mut f32, n: usize) {
///         for k in 0..n { unsafe { *out.add(k) = fma::<FMA>(*x.add(k), s, 0.0) } }
///     }
/// }
/// scale::at(Level::Avx2, ...)   // tests: one level
/// ```
/// The function may be safe or unsafe, and may have type parameters with one bound each. What it calls is compiled for
/// the level where it is inlined (`#[inline(always)]`). Closures are not: their bodies keep the baseline's features
/// unless LLVM inlines them, so hot loops belong in the body itself.
macro_rules! multiversion {
    ($(#[$meta:meta])* $vis:vis unsafe fn $($rest:tt)*) => {
        multiversion! { @make [$(#[$meta])*] [$vis] [unsafe] $($rest)* }
    };
    ($(#[$meta:meta])* $vis:vis fn $($rest:tt)*) => {
        multiversion! { @make [$(#[$meta])*] [$vis] [] $($rest)* }
    };
    (@make [$($meta:tt)*] [$vis:vis] [$($q:tt)?] $name:ident $(<$($g:ident: $bound:path),*>)? ($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $($meta)*
        #[inline]
        #[allow(clippy::too_many_arguments)]
        #[allow(dead_code)] // tests may call single levels only
        $vis $($q)? fn $name $(<$($g: $bound),*>)? ($($arg: $ty),*) $(-> $ret)? {
            // SAFETY: the caller's promise, if the function asks for one; the processor has the level.
            unsafe { $name::at($crate::cpu::isa::level(), $($arg),*) }
        }
        #[allow(clippy::too_many_arguments)]
        $vis mod $name {
            #[allow(unused_imports)]
            use super::*;
            #[inline(always)]
            #[allow(unused_variables, dead_code)]
            $($q)? fn body<const FMA: bool $($(, $g: $bound)*)?>($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
            #[allow(unused_unsafe)]
            unsafe fn avx2 $(<$($g: $bound),*>)? ($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: the caller's promise.
                unsafe { body::<true $($(, $g)*)?>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
            #[allow(unused_unsafe)]
            unsafe fn avx512 $(<$($g: $bound),*>)? ($($arg: $ty),*) $(-> $ret)? {
                // SAFETY: the caller's promise.
                unsafe { body::<true $($(, $g)*)?>($($arg),*) }
            }
            /// The version of one level.
            ///
            /// # Safety
            /// As the function itself, and the processor has `level`.
            #[allow(unused_unsafe)]
            pub unsafe fn at $(<$($g: $bound),*>)? (level: $crate::cpu::isa::Level, $($arg: $ty),*) $(-> $ret)? {
                // SAFETY: the caller's promise.
                unsafe {
                    match level {
                        #[cfg(target_arch = "x86_64")]
                        $crate::cpu::isa::Level::Avx512 => avx512($($arg),*),
                        #[cfg(target_arch = "x86_64")]
                        $crate::cpu::isa::Level::Avx2 => avx2($($arg),*),
                        // aarch64 has fused multiply-add in its baseline.
                        _ => body::<{ cfg!(target_arch = "aarch64") } $($(, $g)*)?>($($arg),*),
                    }
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    multiversion! {
        /// # Safety
        /// `x` and `out` have `n` elements.
        unsafe fn twice(x: *const f32, out: *mut f32, n: usize) {
            for k in 0..n {
                // SAFETY: by the caller.
                unsafe { *out.add(k) = fma::<FMA>(*x.add(k), 2.0, 0.0) }
            }
        }
    }

    #[test]
    fn every_level_runs() {
        let x: Vec<f32> = (0..100).map(|v| v as f32).collect();
        for l in available() {
            let mut y = vec![0f32; 100];
            // SAFETY: both have 100 elements and the processor has the level.
            unsafe { twice::at(l, x.as_ptr(), y.as_mut_ptr(), 100) };
            assert!(y.iter().enumerate().all(|(k, v)| *v == 2.0 * k as f32), "{}", l.name());
        }
    }
}
