//! What reductions do to a pair of values.

/// An element that kernels compute with: f32, f64, i64 or a byte.
pub trait Value: Copy + Send + Sync + PartialOrd + 'static {}
impl<T: Copy + Send + Sync + PartialOrd + 'static> Value for T {}

/// A reduction: an accumulator takes in elements, and accumulators merge. Merging is associative but for rounding.
pub trait Fold<T>: 'static {
    const START: T;
    /// The accumulator `a` after element `v`.
    fn step<const FMA: bool>(a: T, v: T) -> T;
    fn merge(a: T, b: T) -> T;
}

/// Sum; integers wrap.
pub struct Sum;
/// Sum of squares.
pub struct Squares;
/// Sum of absolute values.
pub struct Magnitudes;
/// Product; integers wrap.
pub struct Prod;
/// Largest; NaN if there is one.
pub struct Max;
/// Smallest; NaN if there is one.
pub struct Min;
/// Largest of what is not NaN, in fewer instructions than [`Max`].
pub struct MaxNumber;
/// Bitwise or, and.
pub struct Or;
pub struct And;

macro_rules! floats {
    ($($t:ty, $fma:ident);*) => {$(
        impl Fold<$t> for Sum {
            const START: $t = 0.0;
            #[inline(always)]
            fn step<const FMA: bool>(a: $t, v: $t) -> $t {
                a + v
            }
            #[inline(always)]
            fn merge(a: $t, b: $t) -> $t {
                a + b
            }
        }
        impl Fold<$t> for Squares {
            const START: $t = 0.0;
            #[inline(always)]
            fn step<const FMA: bool>(a: $t, v: $t) -> $t {
                super::super::isa::$fma::<FMA>(v, v, a)
            }
            #[inline(always)]
            fn merge(a: $t, b: $t) -> $t {
                a + b
            }
        }
        impl Fold<$t> for Magnitudes {
            const START: $t = 0.0;
            #[inline(always)]
            fn step<const FMA: bool>(a: $t, v: $t) -> $t {
                a + v.abs()
            }
            #[inline(always)]
            fn merge(a: $t, b: $t) -> $t {
                a + b
            }
        }
        impl Fold<$t> for Prod {
            const START: $t = 1.0;
            #[inline(always)]
            fn step<const FMA: bool>(a: $t, v: $t) -> $t {
                a * v
            }
            #[inline(always)]
            fn merge(a: $t, b: $t) -> $t {
                a * b
            }
        }
        impl Fold<$t> for Max {
            const START: $t = <$t>::NEG_INFINITY;
            #[inline(always)]
            fn step<const FMA: bool>(a: $t, v: $t) -> $t {
                Self::merge(a, v)
            }
            // A NaN accumulator stays: nothing is greater.
            #[inline(always)]
            fn merge(a: $t, b: $t) -> $t {
                if (b > a) | b.is_nan() { b } else { a }
            }
        }
        impl Fold<$t> for Min {
            const START: $t = <$t>::INFINITY;
            #[inline(always)]
            fn step<const FMA: bool>(a: $t, v: $t) -> $t {
                Self::merge(a, v)
            }
            #[inline(always)]
            fn merge(a: $t, b: $t) -> $t {
                if (b < a) | b.is_nan() { b } else { a }
            }
        }
        impl Fold<$t> for MaxNumber {
            const START: $t = <$t>::NEG_INFINITY;
            #[inline(always)]
            fn step<const FMA: bool>(a: $t, v: $t) -> $t {
                Self::merge(a, v)
            }
            #[inline(always)]
            fn merge(a: $t, b: $t) -> $t {
                if b > a { b } else { a }
            }
        }
    )*};
}
floats!(f32, fma; f64, fma64);

macro_rules! plain {
    ($($op:ident, $t:ty, $start:expr, |$a:ident, $b:ident| $e:expr;)*) => {$(
        impl Fold<$t> for $op {
            const START: $t = $start;
            #[inline(always)]
            fn step<const FMA: bool>(a: $t, v: $t) -> $t {
                Self::merge(a, v)
            }
            #[inline(always)]
            fn merge($a: $t, $b: $t) -> $t {
                $e
            }
        }
    )*};
}
plain! {
    Sum, i64, 0, |a, b| a.wrapping_add(b);
    Prod, i64, 1, |a, b| a.wrapping_mul(b);
    Max, i64, i64::MIN, |a, b| if b > a { b } else { a };
    Min, i64, i64::MAX, |a, b| if b < a { b } else { a };
    Or, u8, 0, |a, b| a | b;
    And, u8, 1, |a, b| a & b;
}
