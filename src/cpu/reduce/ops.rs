//! What reductions do to a pair of values.

/// An element that kernels compute with: f32, f64, i64 or a byte.
pub trait Value: Copy + Send + Sync + PartialOrd + 'static {
    /// A small number, such as a row of a block.
    fn small(n: usize) -> Self;
    fn to_small(self) -> usize;
}
macro_rules! values {
    ($($t:ty),*) => {$(
        impl Value for $t {
            #[inline(always)]
            fn small(n: usize) -> $t {
                n as $t
            }
            #[inline(always)]
            fn to_small(self) -> usize {
                self as usize
            }
        }
    )*};
}
values!(f32, f64, i64, u8);

/// A reduction: an accumulator takes in elements, and accumulators merge. Merging is associative but for rounding.
pub trait Fold<T>: Send + Sync + 'static {
    const START: T;
    /// The GPU kernel's name for it.
    const NAME: &'static str;
    /// What reduces the results of parts.
    type Merge: Fold<T>;
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
/// Largest absolute value; NaN if there is one.
pub struct MaxMagnitude;
/// Largest of what is not NaN, in fewer instructions than [`Max`].
pub struct MaxNumber;

macro_rules! floats {
    ($($t:ty, $fma:ident);*) => {$(
        impl Fold<$t> for Sum {
            const NAME: &'static str = "sum";
            const START: $t = 0.0;
            type Merge = Self;
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
            const NAME: &'static str = "squares";
            const START: $t = 0.0;
            type Merge = Sum;
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
            const NAME: &'static str = "magnitudes";
            const START: $t = 0.0;
            type Merge = Sum;
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
            const NAME: &'static str = "prod";
            const START: $t = 1.0;
            type Merge = Self;
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
            const NAME: &'static str = "max";
            const START: $t = <$t>::NEG_INFINITY;
            type Merge = Self;
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
        impl Fold<$t> for MaxMagnitude {
            const NAME: &'static str = "max_magnitude";
            const START: $t = 0.0;
            type Merge = Max;
            #[inline(always)]
            fn step<const FMA: bool>(a: $t, v: $t) -> $t {
                <Max as Fold<$t>>::merge(a, v.abs())
            }
            #[inline(always)]
            fn merge(a: $t, b: $t) -> $t {
                <Max as Fold<$t>>::merge(a, b)
            }
        }
        impl Fold<$t> for Min {
            const NAME: &'static str = "min";
            const START: $t = <$t>::INFINITY;
            type Merge = Self;
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
            const NAME: &'static str = "max_number";
            const START: $t = <$t>::NEG_INFINITY;
            type Merge = Self;
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
    ($($op:ident $name:literal, $t:ty, $start:expr, |$a:ident, $b:ident| $e:expr;)*) => {$(
        impl Fold<$t> for $op {
            const NAME: &'static str = $name;
            const START: $t = $start;
            type Merge = Self;
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
    Sum "sum", i64, 0, |a, b| a.wrapping_add(b);
    Prod "prod", i64, 1, |a, b| a.wrapping_mul(b);
    Max "max", i64, i64::MIN, |a, b| if b > a { b } else { a };
    Min "min", i64, i64::MAX, |a, b| if b < a { b } else { a };
    Max "max", u8, 0, |a, b| if b > a { b } else { a };
    Min "min", u8, u8::MAX, |a, b| if b < a { b } else { a };
}
