//! Fourier transforms of rows of complex numbers, by the `rustfft` crate.

use super::threads::{SendPtr, parallel_for};
use crate::dtype::Cplx;
use parking_lot::Mutex;
use rustfft::num_complex::Complex;
use rustfft::{Fft, FftDirection, FftNum, FftPlanner};
use std::sync::{Arc, LazyLock};

/// Plans are kept, as making one takes longer than a small transform.
struct Plans<T: FftNum> {
    planner: FftPlanner<T>,
    made: usize,
}

/// Plans kept before all are forgotten: programs with many lengths must not grow without end.
const KEEP: usize = 64;

impl<T: FftNum> Plans<T> {
    fn new() -> Mutex<Plans<T>> {
        Mutex::new(Plans { planner: FftPlanner::new(), made: 0 })
    }

    fn plan(&mut self, n: usize, direction: FftDirection) -> Arc<dyn Fft<T>> {
        self.made += 1;
        if self.made > KEEP {
            *self = Plans { planner: FftPlanner::new(), made: 1 };
        }
        self.planner.plan_fft(n, direction)
    }
}

/// Floats that have a Fourier transform.
pub trait FftFloat: FftNum + Default {
    /// The nearest float.
    fn of(x: f64) -> Self;
    #[doc(hidden)]
    fn plan(n: usize, direction: FftDirection) -> Arc<dyn Fft<Self>>;
}

macro_rules! fft_float {
    ($($t:ty)*) => {$(
        impl FftFloat for $t {
            fn of(x: f64) -> $t {
                x as $t
            }
            fn plan(n: usize, direction: FftDirection) -> Arc<dyn Fft<$t>> {
                static PLANS: LazyLock<Mutex<Plans<$t>>> = LazyLock::new(Plans::new);
                PLANS.lock().plan(n, direction)
            }
        }
    )*};
}
fft_float!(f32 f64);

/// Transforms every row of `n` numbers in place and multiplies the results by `scale`.
pub fn fft_rows<T: FftFloat>(data: &mut [Cplx<T>], n: usize, forward: bool, scale: f64) {
    assert!(n > 0 && data.len().is_multiple_of(n), "fft rows");
    let direction = if forward { FftDirection::Forward } else { FftDirection::Inverse };
    let plan = T::plan(n, direction);
    let rows = data.len() / n;
    let all = SendPtr(data.as_mut_ptr().cast::<Complex<T>>());
    let factor = T::of(scale);
    parallel_for(rows, (1 << 13) / n.max(1), |range| {
        let mut scratch = vec![Complex::default(); plan.get_inplace_scratch_len()];
        for r in range {
            // SAFETY: both complex types are two floats in C layout; each row belongs to one piece.
            let row = unsafe { all.slice(r * n, n) };
            plan.process_with_scratch(row, &mut scratch);
            if scale != 1.0 {
                for z in row {
                    *z = Complex::new(z.re * factor, z.im * factor);
                }
            }
        }
    });
}
