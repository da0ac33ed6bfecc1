//! Element types, promotion, and the traits that generic kernels use.

use half::{bf16, f16};
use std::sync::atomic::{AtomicU8, Ordering};

/// The element type of a tensor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum Dtype {
    U8,
    I8,
    I16,
    I32,
    I64,
    F16,
    BF16,
    F32,
    F64,
    Bool,
    C64,
    C128,
}
use Dtype::*;

/// Promotion goes by category first: bool < integer < floating < complex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Category {
    Bool,
    Int,
    Float,
    Complex,
}

impl Dtype {
    pub const ALL: [Dtype; 12] = [U8, I8, I16, I32, I64, F16, BF16, F32, F64, Bool, C64, C128];

    /// Bytes of one element.
    pub const fn size(self) -> usize {
        match self {
            U8 | I8 | Bool => 1,
            I16 | F16 | BF16 => 2,
            I32 | F32 => 4,
            I64 | F64 | C64 => 8,
            C128 => 16,
        }
    }

    pub const fn category(self) -> Category {
        match self {
            Bool => Category::Bool,
            U8 | I8 | I16 | I32 | I64 => Category::Int,
            F16 | BF16 | F32 | F64 => Category::Float,
            C64 | C128 => Category::Complex,
        }
    }

    pub fn is_float(self) -> bool {
        self.category() == Category::Float
    }
    pub fn is_complex(self) -> bool {
        self.category() == Category::Complex
    }
    /// Integer or bool.
    pub fn is_integral(self) -> bool {
        self.category() <= Category::Int
    }

    /// The Python name, `float32`.
    pub const fn name(self) -> &'static str {
        match self {
            U8 => "uint8",
            I8 => "int8",
            I16 => "int16",
            I32 => "int32",
            I64 => "int64",
            F16 => "float16",
            BF16 => "bfloat16",
            F32 => "float32",
            F64 => "float64",
            Bool => "bool",
            C64 => "complex64",
            C128 => "complex128",
        }
    }

    /// The name PyTorch's messages use, `Float`.
    pub const fn scalar_name(self) -> &'static str {
        match self {
            U8 => "Byte",
            I8 => "Char",
            I16 => "Short",
            I32 => "Int",
            I64 => "Long",
            F16 => "Half",
            BF16 => "BFloat16",
            F32 => "Float",
            F64 => "Double",
            Bool => "Bool",
            C64 => "ComplexFloat",
            C128 => "ComplexDouble",
        }
    }

    /// The C++ name, as matmul's errors print it.
    pub const fn cpp_name(self) -> &'static str {
        match self {
            U8 => "unsigned char",
            I8 => "signed char",
            I16 => "short int",
            I32 => "int",
            I64 => "long int",
            F16 => "c10::Half",
            BF16 => "c10::BFloat16",
            F32 => "float",
            F64 => "double",
            Bool => "bool",
            C64 => "c10::complex<float>",
            C128 => "c10::complex<double>",
        }
    }

    /// The real type of a complex one; others are unchanged.
    pub const fn to_real(self) -> Dtype {
        match self {
            C64 => F32,
            C128 => F64,
            d => d,
        }
    }

    /// The complex type of a floating one.
    pub const fn to_complex(self) -> Dtype {
        match self {
            F64 | C128 => C128,
            _ => C64,
        }
    }

    /// The dtype that holds both, as PyTorch's `promote_types`.
    pub fn promote(self, other: Dtype) -> Dtype {
        if self == other {
            return self;
        }
        let (a, b) = if self.category() <= other.category() { (self, other) } else { (other, self) };
        match (a.category(), b.category()) {
            (Category::Float, Category::Complex) => {
                if a == F64 {
                    C128
                } else {
                    b
                }
            }
            (x, y) if x < y => b,
            (Category::Int, _) => {
                let (u8s, signed) = if a == U8 { (true, b) } else { (b == U8, a) };
                if u8s {
                    return if signed == I8 { I16 } else { signed };
                }
                if a.size() > b.size() { a } else { b }
            }
            (Category::Float, _) => {
                if a.size() == 2 && b.size() == 2 {
                    F32
                } else if a.size() > b.size() {
                    a
                } else {
                    b
                }
            }
            _ => C128,
        }
    }

    /// Whether an in-place result of dtype `from` may be written into `self`.
    pub fn can_hold(self, from: Dtype) -> bool {
        from.category() <= self.category()
    }

    /// The dtype in which float kernels compute: f32 for the half types.
    pub fn compute(self) -> Dtype {
        match self {
            F16 | BF16 => F32,
            d => d,
        }
    }
}

static DEFAULT: AtomicU8 = AtomicU8::new(F32 as u8);

/// The dtype of new floating-point tensors (`torch.get_default_dtype`).
pub fn default_dtype() -> Dtype {
    match DEFAULT.load(Ordering::Relaxed) {
        x if x == F64 as u8 => F64,
        x if x == F16 as u8 => F16,
        x if x == BF16 as u8 => BF16,
        _ => F32,
    }
}

/// Sets what [`default_dtype`] answers; `d` must be floating.
pub fn set_default_dtype(d: Dtype) {
    DEFAULT.store(d as u8, Ordering::Relaxed);
}

/// A Python number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    Bool(bool),
    Int(i64),
    Float(f64),
    Complex(f64, f64),
}

impl Scalar {
    /// The dtype of a tensor made from this number.
    pub fn dtype(self) -> Dtype {
        match self {
            Scalar::Bool(_) => Bool,
            Scalar::Int(_) => I64,
            Scalar::Float(_) => default_dtype(),
            Scalar::Complex(..) => default_dtype().to_complex(),
        }
    }
    pub fn f64(self) -> f64 {
        match self {
            Scalar::Bool(b) => b as u8 as f64,
            Scalar::Int(i) => i as f64,
            Scalar::Float(f) => f,
            Scalar::Complex(r, _) => r,
        }
    }
    /// Floats are truncated (and saturate).
    pub fn i64(self) -> i64 {
        match self {
            Scalar::Bool(b) => b as i64,
            Scalar::Int(i) => i,
            Scalar::Float(f) => f as i64,
            Scalar::Complex(r, _) => r as i64,
        }
    }
    pub fn is_float(self) -> bool {
        matches!(self, Scalar::Float(_) | Scalar::Complex(..))
    }
}

impl From<f64> for Scalar {
    fn from(v: f64) -> Scalar {
        Scalar::Float(v)
    }
}
impl From<i64> for Scalar {
    fn from(v: i64) -> Scalar {
        Scalar::Int(v)
    }
}
impl From<bool> for Scalar {
    fn from(v: bool) -> Scalar {
        Scalar::Bool(v)
    }
}

/// A bool element: one byte, 0 or 1 (any other byte reads as true).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(transparent)]
pub struct B8(pub u8);

/// A complex element, as it lies in memory.
#[derive(Clone, Copy, PartialEq, Debug)]
#[repr(C)]
pub struct Cplx<T> {
    pub re: T,
    pub im: T,
}

/// A storage element type.
pub trait Element: Copy + Send + Sync + PartialEq + 'static {
    const DTYPE: Dtype;
    fn to_f64(self) -> f64;
    fn to_i64(self) -> i64;
    fn from_f64(v: f64) -> Self;
    fn from_i64(v: i64) -> Self;
    fn from_scalar(v: Scalar) -> Self {
        match v {
            Scalar::Float(f) => Self::from_f64(f),
            Scalar::Complex(r, _) => Self::from_f64(r),
            v => Self::from_i64(v.i64()),
        }
    }
    fn to_scalar(self) -> Scalar;
}

macro_rules! int_element {
    ($($t:ty, $d:ident;)*) => {$(
        impl Element for $t {
            const DTYPE: Dtype = Dtype::$d;
            #[inline(always)] fn to_f64(self) -> f64 { self as f64 }
            #[inline(always)] fn to_i64(self) -> i64 { self as i64 }
            // Through i64, so that out-of-range floats wrap as a C cast on this machine does.
            #[inline(always)] fn from_f64(v: f64) -> Self { v as i64 as $t }
            #[inline(always)] fn from_i64(v: i64) -> Self { v as $t }
            fn to_scalar(self) -> Scalar { Scalar::Int(self as i64) }
        }
    )*};
}
int_element! { u8, U8; i8, I8; i16, I16; i32, I32; i64, I64; }

macro_rules! float_element {
    ($($t:ty, $d:ident, $to:expr, $from:expr;)*) => {$(
        impl Element for $t {
            const DTYPE: Dtype = Dtype::$d;
            #[inline(always)] fn to_f64(self) -> f64 { ($to)(self) }
            #[inline(always)] fn to_i64(self) -> i64 { ($to)(self) as i64 }
            #[inline(always)] fn from_f64(v: f64) -> Self { ($from)(v) }
            #[inline(always)] fn from_i64(v: i64) -> Self { ($from)(v as f64) }
            fn to_scalar(self) -> Scalar { Scalar::Float(($to)(self)) }
        }
    )*};
}
float_element! {
    f32, F32, |v: f32| v as f64, |v: f64| v as f32;
    f64, F64, |v: f64| v, |v: f64| v;
    f16, F16, |v: f16| v.to_f32() as f64, |v: f64| f16::from_f32(v as f32);
    bf16, BF16, |v: bf16| v.to_f32() as f64, |v: f64| bf16::from_f32(v as f32);
}

impl Element for B8 {
    const DTYPE: Dtype = Bool;
    #[inline(always)]
    fn to_f64(self) -> f64 {
        (self.0 != 0) as u8 as f64
    }
    #[inline(always)]
    fn to_i64(self) -> i64 {
        (self.0 != 0) as i64
    }
    #[inline(always)]
    fn from_f64(v: f64) -> Self {
        B8((v != 0.0) as u8)
    }
    #[inline(always)]
    fn from_i64(v: i64) -> Self {
        B8((v != 0) as u8)
    }
    fn to_scalar(self) -> Scalar {
        Scalar::Bool(self.0 != 0)
    }
}

macro_rules! complex_element {
    ($($t:ty, $d:ident;)*) => {$(
        impl Element for Cplx<$t> {
            const DTYPE: Dtype = Dtype::$d;
            fn to_f64(self) -> f64 { self.re as f64 }
            fn to_i64(self) -> i64 { self.re as i64 }
            fn from_f64(v: f64) -> Self { Cplx { re: v as $t, im: 0.0 } }
            fn from_i64(v: i64) -> Self { Cplx { re: v as $t, im: 0.0 } }
            fn from_scalar(v: Scalar) -> Self {
                match v {
                    Scalar::Complex(r, i) => Cplx { re: r as $t, im: i as $t },
                    v => Self::from_f64(v.f64()),
                }
            }
            fn to_scalar(self) -> Scalar { Scalar::Complex(self.re as f64, self.im as f64) }
        }
    )*};
}
complex_element! { f32, C64; f64, C128; }

/// `dispatch!(dtype, T => body)`: runs `body` with `T` the element type of the dtype.
/// `dispatch!(real dtype, ...)` leaves the complex types out, `float` takes f32 and f64 only (convert
/// half types first), `bytes` stands for any type of the same size. What is left out is an error.
#[macro_export]
macro_rules! dispatch {
    (@arms $d:expr, $T:ident, $body:expr, [$($v:ident = $t:ty),*], $other:expr) => {
        match $d {
            $( $crate::dtype::Dtype::$v => { #[allow(dead_code)] type $T = $t; $body } )*
            #[allow(unreachable_patterns)]
            _ => $other,
        }
    };
    (all $d:expr, $T:ident => $body:expr) => {
        $crate::dispatch!(@arms $d, $T, $body, [U8 = u8, I8 = i8, I16 = i16, I32 = i32, I64 = i64,
            F16 = half::f16, BF16 = half::bf16, F32 = f32, F64 = f64, Bool = $crate::dtype::B8,
            C64 = $crate::dtype::Cplx<f32>, C128 = $crate::dtype::Cplx<f64>], unreachable!())
    };
    (real $op:expr, $d:expr, $T:ident => $body:expr) => {
        $crate::dispatch!(@arms $d, $T, $body, [U8 = u8, I8 = i8, I16 = i16, I32 = i32, I64 = i64,
            F16 = half::f16, BF16 = half::bf16, F32 = f32, F64 = f64, Bool = $crate::dtype::B8],
            $crate::bail!(NotImplemented, "\"{}\" not implemented for '{}'", $op, $d.scalar_name()))
    };
    (float $op:expr, $d:expr, $T:ident => $body:expr) => {
        $crate::dispatch!(@arms $d, $T, $body, [F32 = f32, F64 = f64],
            $crate::bail!(NotImplemented, "\"{}\" not implemented for '{}'", $op, $d.scalar_name()))
    };
    (int $op:expr, $d:expr, $T:ident => $body:expr) => {
        $crate::dispatch!(@arms $d, $T, $body, [U8 = u8, I8 = i8, I16 = i16, I32 = i32, I64 = i64],
            $crate::bail!(NotImplemented, "\"{}\" not implemented for '{}'", $op, $d.scalar_name()))
    };
    (bytes $d:expr, $T:ident => $body:expr) => {
        match $d.size() {
            1 => { type $T = u8; $body }
            2 => { type $T = u16; $body }
            4 => { type $T = u32; $body }
            8 => { type $T = u64; $body }
            _ => { type $T = u128; $body }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promotion_is_torchs() {
        assert_eq!(U8.promote(I8), I16);
        assert_eq!(U8.promote(I64), I64);
        assert_eq!(I64.promote(F16), F16);
        assert_eq!(F16.promote(BF16), F32);
        assert_eq!(F64.promote(C64), C128);
        assert_eq!(Bool.promote(U8), U8);
        for a in Dtype::ALL {
            for b in Dtype::ALL {
                assert_eq!(a.promote(b), b.promote(a));
            }
        }
    }
}
