//! The scalar primitives: one row each, with the formula on the CPU, the WGSL text and the derivative.
//!
//! A row reads `Name "wgsl function text" (arguments) f [float formula] i [integer formula] d derivative;`
//! `f` is compiled for f32 and f64 (`T` names the type) and for every level of vector instructions (`FMA` as in
//! [`crate::cpu::isa::fma`]), `i` for i64, in which all integer dtypes and bool compute; an empty `[]` means that the
//! primitive does not exist there. `f [formula; condition => other]` has another formula for arguments that meet the
//! condition: they are rare, and the first one need not be right for them. The derivative gets the arguments
//! `x`, the result `y` and the gradient `g` of the result, and answers the gradients of the arguments.

use super::builder::{E, c, wh};
use super::special::Real;
use crate::cpu::isa::{self, Level};
use crate::cpu::math::Math;

/// A tile kernel: `out[k] = f(a[k], b[k], c[k])` for `k < n`. Bit `i` of the last argument says that operand `i` is one
/// number for all of `k`; unused operands are not read. The result may not overlap an operand: LLVM would take its scalar loop.
pub type Kernel<T> = unsafe fn(*const T, *const T, *const T, *mut T, usize, u32);

/// A kernel at every level of [`crate::cpu::isa`].
pub struct Versions<T> {
    baseline: Kernel<T>,
    #[cfg(target_arch = "x86_64")]
    avx2: Kernel<T>,
    #[cfg(target_arch = "x86_64")]
    avx512: Kernel<T>,
}

impl<T> Versions<T> {
    /// The kernel for the level in use.
    pub fn pick(&self) -> Kernel<T> {
        self.at(isa::level())
    }
    pub fn at(&self, level: Level) -> Kernel<T> {
        match level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => self.avx512,
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => self.avx2,
            _ => self.baseline,
        }
    }
}

/// What is known of a primitive.
pub struct Info {
    pub name: &'static str,
    pub arity: usize,
    pub wgsl: &'static str,
    pub f32: Option<Versions<f32>>,
    pub f64: Option<Versions<f64>>,
    pub i64: Option<Versions<i64>>,
    pub grad: fn(&[E], E, E) -> Vec<Option<E>>,
}

/// The loop of a kernel. Operands that are one number have loops of their own, where that number stays in a register.
macro_rules! tile {
    (@each $k:ident, $n:ident, $o:ident, $f:expr; $($x:ident = $v:expr),+) => {
        for $k in 0..$n {
            // SAFETY: the caller gives `n` readable and writable elements.
            unsafe {
                $(let $x = $v;)+
                *$o.add($k) = $f;
            }
        }
    };
    ($n:ident, $o:ident, $s:ident, $f:expr; $x:ident $a:ident) => {
        tile!(@each k, $n, $o, $f; $x = *$a.add(k))
    };
    ($n:ident, $o:ident, $s:ident, $f:expr; $x:ident $a:ident, $y:ident $b:ident) => {
        // SAFETY: an operand that is one number has one element.
        match $s & 3 {
            0 => tile!(@each k, $n, $o, $f; $x = *$a.add(k), $y = *$b.add(k)),
            1 => { let v = unsafe { *$a }; tile!(@each k, $n, $o, $f; $x = v, $y = *$b.add(k)) }
            2 => { let v = unsafe { *$b }; tile!(@each k, $n, $o, $f; $x = *$a.add(k), $y = v) }
            _ => tile!(@each k, $n, $o, $f; $x = *$a, $y = *$b),
        }
    };
    ($n:ident, $o:ident, $s:ident, $f:expr; $x:ident $a:ident, $y:ident $b:ident, $z:ident $c:ident) => {
        // SAFETY: as above.
        match $s & 7 {
            0 => tile!(@each k, $n, $o, $f; $x = *$a.add(k), $y = *$b.add(k), $z = *$c.add(k)),
            2 => { let v = unsafe { *$b }; tile!(@each k, $n, $o, $f; $x = *$a.add(k), $y = v, $z = *$c.add(k)) }
            4 => { let v = unsafe { *$c }; tile!(@each k, $n, $o, $f; $x = *$a.add(k), $y = *$b.add(k), $z = v) }
            6 => { let (v, w) = unsafe { (*$b, *$c) }; tile!(@each k, $n, $o, $f; $x = *$a.add(k), $y = v, $z = w) }
            m => tile!(@each k, $n, $o, $f; $x = *$a.add(if m & 1 != 0 { 0 } else { k }), $y = *$b.add(if m & 2 != 0 { 0 } else { k }),
                $z = *$c.add(if m & 4 != 0 { 0 } else { k })),
        }
    };
}

macro_rules! kernel {
    ($t:ty, [] $args:tt) => {
        None
    };
    ($t:ty, [$f:expr $(; $special:expr => $slow:expr)?] $args:tt) => {{
        #[inline(always)]
        #[allow(dead_code, unused_variables)]
        unsafe fn body<const FMA: bool>(a: *const $t, b: *const $t, c: *const $t, o: *mut $t, n: usize, splat: u32) {
            type T = $t;
            $(
                // Arguments that the vector formula is not made for: the whole tile the long way.
                let mut special = false;
                let at = |p: *const $t, i: u32, k: usize| unsafe { *p.add(if splat >> i & 1 != 0 { 0 } else { k }) };
                for k in 0..n {
                    operands!(at k a b c; $args);
                    special |= $special;
                }
                if special {
                    for k in 0..n {
                        operands!(at k a b c; $args);
                        // SAFETY: `n` writable elements.
                        unsafe { *o.add(k) = if $special { $slow } else { $f } };
                    }
                    return;
                }
            )?
            named!(n o splat a b c $f; $args);
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
        unsafe fn avx2(a: *const $t, b: *const $t, c: *const $t, o: *mut $t, n: usize, splat: u32) {
            // SAFETY: by the caller.
            unsafe { body::<true>(a, b, c, o, n, splat) }
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c,bmi1,bmi2,lzcnt,popcnt")]
        unsafe fn avx512(a: *const $t, b: *const $t, c: *const $t, o: *mut $t, n: usize, splat: u32) {
            // SAFETY: by the caller.
            unsafe { body::<true>(a, b, c, o, n, splat) }
        }
        Some(Versions {
            baseline: body::<{ cfg!(target_arch = "aarch64") }>,
            #[cfg(target_arch = "x86_64")]
            avx2,
            #[cfg(target_arch = "x86_64")]
            avx512,
        })
    }};
}

/// Binds the names of a formula to the operands in turn.
macro_rules! operands {
    ($at:ident $k:ident $a:ident $b:ident $c:ident; ($x:ident)) => {
        let $x = $at($a, 0, $k);
    };
    ($at:ident $k:ident $a:ident $b:ident $c:ident; ($x:ident, $y:ident)) => {
        let ($x, $y) = ($at($a, 0, $k), $at($b, 1, $k));
    };
    ($at:ident $k:ident $a:ident $b:ident $c:ident; ($x:ident, $y:ident, $z:ident)) => {
        let ($x, $y, $z) = ($at($a, 0, $k), $at($b, 1, $k), $at($c, 2, $k));
    };
}

macro_rules! named {
    ($n:ident $o:ident $s:ident $a:ident $b:ident $c:ident $f:expr; ($x:ident)) => {
        tile!($n, $o, $s, $f; $x $a)
    };
    ($n:ident $o:ident $s:ident $a:ident $b:ident $c:ident $f:expr; ($x:ident, $y:ident)) => {
        tile!($n, $o, $s, $f; $x $a, $y $b)
    };
    ($n:ident $o:ident $s:ident $a:ident $b:ident $c:ident $f:expr; ($x:ident, $y:ident, $z:ident)) => {
        tile!($n, $o, $s, $f; $x $a, $y $b, $z $c)
    };
}

macro_rules! count {
    ($a:ident) => {
        1
    };
    ($a:ident, $b:ident) => {
        2
    };
    ($a:ident, $b:ident, $c:ident) => {
        3
    };
}

macro_rules! prims {
    ($( $name:ident $wgsl:literal ($($arg:ident),+) f [$($f:expr $(; $special:expr => $slow:expr)?)?] i [$($i:expr)?] d $d:expr; )*) => {
        /// A scalar primitive.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        #[repr(u8)]
        pub enum Prim { $($name),* }

        static TABLE: &[Info] = &[$(
            Info {
                name: stringify!($name),
                arity: count!($($arg),+),
                wgsl: $wgsl,
                f32: kernel!(f32, [$($f $(; $special => $slow)?)?] ($($arg),+)),
                f64: kernel!(f64, [$($f $(; $special => $slow)?)?] ($($arg),+)),
                i64: kernel!(i64, [$($i)?] ($($arg),+)),
                grad: { let d: fn(&[E], E, E) -> Vec<Option<E>> = $d; d },
            },
        )*];

        impl Prim {
            pub const ALL: &'static [Prim] = &[$(Prim::$name),*];
        }
    };
}

impl Prim {
    pub fn info(self) -> &'static Info {
        &TABLE[self as usize]
    }
}

#[inline(always)]
fn floor_div_i(a: i64, b: i64) -> i64 {
    if b == 0 {
        return 0; // refused before the kernel runs
    }
    let q = a.wrapping_div(b);
    if (a % b.wrapping_abs().max(1) != 0) && ((a < 0) != (b < 0)) { q.wrapping_sub(1) } else { q }
}
#[inline(always)]
fn rem_i(a: i64, b: i64) -> i64 {
    if b == 0 {
        return 0;
    }
    let r = a.wrapping_rem(b);
    if r != 0 && ((r < 0) != (b < 0)) { r + b } else { r }
}
#[inline(always)]
fn pow_i(mut a: i64, b: i64) -> i64 {
    if b < 0 {
        return match a {
            1 => 1,
            -1 => 1 - 2 * (b & 1),
            _ => 0,
        };
    }
    let (mut r, mut b) = (1i64, b as u64);
    while b != 0 {
        if b & 1 == 1 {
            r = r.wrapping_mul(a);
        }
        a = a.wrapping_mul(a);
        b >>= 1;
    }
    r
}
#[inline(always)]
fn gcd_i(a: i64, b: i64) -> i64 {
    let (mut a, mut b) = (a.wrapping_abs(), b.wrapping_abs());
    while b != 0 {
        (a, b) = (b, a.wrapping_rem(b));
    }
    a
}
#[inline(always)]
fn shift(a: i64, b: i64, left: bool) -> i64 {
    match (left, (0..64).contains(&b)) {
        (true, true) => a << b,
        (false, true) => a >> b,
        (true, false) => 0,
        (false, false) => {
            if a < 0 {
                -1
            } else {
                0
            }
        }
    }
}

fn none(_: &[E], _: E, _: E) -> Vec<Option<E>> {
    vec![None, None, None]
}
fn one(e: E) -> Vec<Option<E>> {
    vec![Some(e)]
}
fn two(a: E, b: E) -> Vec<Option<E>> {
    vec![Some(a), Some(b)]
}

const PI: f64 = std::f64::consts::PI;
const FRAC_2_SQRT_PI: f64 = std::f64::consts::FRAC_2_SQRT_PI;

prims! {
    Id "x" (x) f [x] i [x] d |_, _, g| one(g);
    Neg "rg_neg(x)" (x) f [-x] i [x.wrapping_neg()] d |_, _, g| one(-g);
    Abs "rg_abs(x)" (x) f [x.abs()] i [x.wrapping_abs()] d |x, _, g| one(g * x[0].sign());
    Sign "select(select(T(0), T(-1), x < T(0)), T(1), x > T(0))" (x) f [if x > 0.0 { 1.0 } else if x < 0.0 { -1.0 } else { 0.0 }] i [x.signum()] d |_, _, g| one(g * 0.0);
    Add "x + y" (x, y) f [x + y] i [x.wrapping_add(y)] d |_, _, g| two(g, g);
    Sub "x - y" (x, y) f [x - y] i [x.wrapping_sub(y)] d |_, _, g| two(g, -g);
    Mul "x * y" (x, y) f [x * y] i [x.wrapping_mul(y)] d |x, _, g| two(g * x[1], g * x[0]);
    Div "x / y" (x, y) f [x / y] i [] d |x, _, g| two(g / x[1], -g * ((x[0] / x[1]) / x[1]));
    FloorDiv "rg_floor_div(x, y)" (x, y) f [{
        // As CPython: exact quotient of the value without its remainder.
        let m = x % y;
        if y == 0.0 { x / y } else {
            let d = (x - m) / y;
            let d = if m != 0.0 && (y < 0.0) != (m < 0.0) { d - 1.0 } else { d };
            if d != 0.0 { let f = d.floor(); if d - f > 0.5 { f + 1.0 } else { f } } else { (0.0 as T).copysign(x / y) }
        }
    }] i [floor_div_i(x, y)] d none;
    TruncDiv "rg_trunc_div(x, y)" (x, y) f [(x / y).trunc()] i [if y == 0 { 0 } else { x.wrapping_div(y) }] d none;
    Rem "rg_rem(x, y)" (x, y) f [{ let m = x % y; if m != 0.0 && (m < 0.0) != (y < 0.0) { m + y } else { m } }] i [rem_i(x, y)]
        d |x, _, g| two(g, -g * E::floor_div(x[0], x[1]));
    Fmod "rg_fmod(x, y)" (x, y) f [x % y] i [if y == 0 { 0 } else { x.wrapping_rem(y) }] d |x, _, g| two(g, -g * E::trunc_div(x[0], x[1]));
    Pow "rg_pow(x, y)" (x, y) f [x.vpow::<FMA>(y); x.pow_is_special(y) => x.powf(y)] i [pow_i(x, y)] d |x, y, g| two(
        g * wh(x[1].eq(0.0), c(0.0), x[1] * E::pow(x[0], x[1] - 1.0)),
        g * wh(E::and(x[0].eq(0.0), x[1].ge(0.0)), c(0.0), y * x[0].log()),
    );
    Max "rg_max(x, y)" (x, y) f [if x.is_nan() || y.is_nan() { T::NAN } else if x > y { x } else { y }] i [x.max(y)] d |x, _, g| two(
        g * wh(x[0].eq(x[1]), c(0.5), x[0].gt(x[1])), g * wh(x[0].eq(x[1]), c(0.5), x[0].lt(x[1])));
    Min "rg_min(x, y)" (x, y) f [if x.is_nan() || y.is_nan() { T::NAN } else if x < y { x } else { y }] i [x.min(y)] d |x, _, g| two(
        g * wh(x[0].eq(x[1]), c(0.5), x[0].lt(x[1])), g * wh(x[0].eq(x[1]), c(0.5), x[0].gt(x[1])));
    Fmax "rg_fmax(x, y)" (x, y) f [if x.is_nan() { y } else if y.is_nan() { x } else if x > y { x } else { y }] i [x.max(y)] d |x, _, g| two(
        wh(E::or(x[0].ge(x[1]), x[1].is_nan()), g, c(0.0)), wh(E::or(x[0].ge(x[1]), x[1].is_nan()), c(0.0), g));
    Fmin "rg_fmin(x, y)" (x, y) f [if x.is_nan() { y } else if y.is_nan() { x } else if x < y { x } else { y }] i [x.min(y)] d |x, _, g| two(
        wh(E::or(x[0].le(x[1]), x[1].is_nan()), g, c(0.0)), wh(E::or(x[0].le(x[1]), x[1].is_nan()), c(0.0), g));
    Lt "select(T(0), T(1), x < y)" (x, y) f [(x < y) as u8 as T] i [(x < y) as i64] d none;
    Le "select(T(0), T(1), x <= y)" (x, y) f [(x <= y) as u8 as T] i [(x <= y) as i64] d none;
    Gt "select(T(0), T(1), x > y)" (x, y) f [(x > y) as u8 as T] i [(x > y) as i64] d none;
    Ge "select(T(0), T(1), x >= y)" (x, y) f [(x >= y) as u8 as T] i [(x >= y) as i64] d none;
    Eq "select(T(0), T(1), x == y)" (x, y) f [(x == y) as u8 as T] i [(x == y) as i64] d none;
    Ne "select(T(1), T(0), x == y)" (x, y) f [(x != y) as u8 as T] i [(x != y) as i64] d none;
    Where "select(y, z, x == T(0))" (x, y, z) f [std::hint::select_unpredictable(x != 0.0, y, z)] i [std::hint::select_unpredictable(x != 0, y, z)]
        d |x, _, g| vec![None, Some(wh(x[0], g, c(0.0))), Some(wh(x[0], c(0.0), g))];
    LogicalAnd "select(T(1), T(0), x == T(0) || y == T(0))" (x, y) f [(x != 0.0 && y != 0.0) as u8 as T] i [(x != 0 && y != 0) as i64] d none;
    LogicalOr "select(T(1), T(0), x == T(0) && y == T(0))" (x, y) f [(x != 0.0 || y != 0.0) as u8 as T] i [(x != 0 || y != 0) as i64] d none;
    LogicalXor "select(T(0), T(1), (x == T(0)) != (y == T(0)))" (x, y) f [((x != 0.0) != (y != 0.0)) as u8 as T] i [((x != 0) != (y != 0)) as i64] d none;
    LogicalNot "select(T(0), T(1), x == T(0))" (x) f [(x == 0.0) as u8 as T] i [(x == 0) as i64] d none;
    BitAnd "x & y" (x, y) f [] i [x & y] d none;
    BitOr "x | y" (x, y) f [] i [x | y] d none;
    BitXor "x ^ y" (x, y) f [] i [x ^ y] d none;
    BitNot "~x" (x) f [] i [!x] d none;
    Shl "rg_shl(x, y)" (x, y) f [] i [shift(x, y, true)] d none;
    Shr "rg_shr(x, y)" (x, y) f [] i [shift(x, y, false)] d none;
    Gcd "rg_gcd(x, y)" (x, y) f [] i [gcd_i(x, y)] d none;
    Lcm "rg_lcm(x, y)" (x, y) f [] i [{ let g = gcd_i(x, y); if g == 0 { 0 } else { (x / g).wrapping_mul(y).wrapping_abs() } }] d none;
    Floor "rg_floor(x)" (x) f [x.floor()] i [x] d |_, _, g| one(g * 0.0);
    Ceil "rg_ceil(x)" (x) f [x.ceil()] i [x] d |_, _, g| one(g * 0.0);
    Round "rg_round(x)" (x) f [x.round_ties_even()] i [x] d |_, _, g| one(g * 0.0);
    Trunc "rg_trunc(x)" (x) f [x.trunc()] i [x] d |_, _, g| one(g * 0.0);
    IsNan "rg_is_nan(x)" (x) f [x.is_nan() as u8 as T] i [{ let _ = x; 0 }] d none;
    IsInf "rg_is_inf(x)" (x) f [x.is_infinite() as u8 as T] i [{ let _ = x; 0 }] d none;
    SignBit "rg_signbit(x)" (x) f [x.is_sign_negative() as u8 as T] i [(x < 0) as i64] d none;
    CopySign "rg_copysign(x, y)" (x, y) f [x.copysign(y)] i [if (x < 0) != (y < 0) { x.wrapping_neg() } else { x }] d |x, y, g| two(wh(x[0].eq(0.0), c(0.0), g * (y / x[0])), g * 0.0);
    NextAfter "rg_nextafter(x, y)" (x, y) f [x.nextafter(y)] i [] d none;
    Exp "rg_exp(x)" (x) f [x.vexp::<FMA>()] i [] d |_, y, g| one(g * y);
    Exp2 "rg_exp2(x)" (x) f [x.vexp2::<FMA>()] i [] d |_, y, g| one(g * y * std::f64::consts::LN_2);
    Expm1 "rg_expm1(x)" (x) f [x.vexpm1::<FMA>()] i [] d |_, y, g| one(g * (y + 1.0));
    Log "rg_log(x)" (x) f [x.vlog::<FMA>()] i [] d |x, _, g| one(g / x[0]);
    Log2 "rg_log2(x)" (x) f [x.vlog2::<FMA>()] i [] d |x, _, g| one(g / (x[0] * std::f64::consts::LN_2));
    Log10 "rg_log10(x)" (x) f [x.vlog10::<FMA>()] i [] d |x, _, g| one(g / (x[0] * std::f64::consts::LN_10));
    Log1p "rg_log1p(x)" (x) f [x.vlog1p::<FMA>()] i [] d |x, _, g| one(g / (x[0] + 1.0));
    Sqrt "rg_sqrt(x)" (x) f [x.sqrt()] i [] d |_, y, g| one(g / (y * 2.0));
    Rsqrt "T(1) / rg_sqrt(x)" (x) f [1.0 / x.sqrt()] i [] d |_, y, g| one(g * -0.5 * (y * y * y));
    Recip "T(1) / x" (x) f [1.0 / x] i [] d |_, y, g| one(-g * (y * y));
    Square "x * x" (x) f [x * x] i [x.wrapping_mul(x)] d |x, _, g| one(g * (x[0] * 2.0));
    Cube "x * x * x" (x) f [x * x * x] i [] d |x, _, g| one(g * (x[0] * x[0] * 3.0));
    Sin "rg_sin(x)" (x) f [x.vsin::<FMA>(); x.trig_is_special() => x.sin()] i [] d |x, _, g| one(g * x[0].cos());
    Cos "rg_cos(x)" (x) f [x.vcos::<FMA>(); x.trig_is_special() => x.cos()] i [] d |x, _, g| one(-g * x[0].sin());
    Tan "rg_tan(x)" (x) f [x.tan()] i [] d |_, y, g| one(g * (y * y + 1.0));
    Asin "rg_asin(x)" (x) f [x.asin()] i [] d |x, _, g| one(g * (1.0 - x[0] * x[0]).rsqrt());
    Acos "rg_acos(x)" (x) f [x.acos()] i [] d |x, _, g| one(-g * (1.0 - x[0] * x[0]).rsqrt());
    Atan "rg_atan(x)" (x) f [x.atan()] i [] d |x, _, g| one(g / (x[0] * x[0] + 1.0));
    Atan2 "rg_atan2(x, y)" (x, y) f [x.atan2(y)] i [] d |x, _, g| {
        let r = g * wh((x[0] * x[0] + x[1] * x[1]).eq(0.0), c(0.0), (x[0] * x[0] + x[1] * x[1]).recip());
        two(r * x[1], -r * x[0])
    };
    Sinh "rg_sinh(x)" (x) f [x.sinh()] i [] d |x, _, g| one(g * x[0].cosh());
    Cosh "rg_cosh(x)" (x) f [x.cosh()] i [] d |x, _, g| one(g * x[0].sinh());
    Tanh "rg_tanh(x)" (x) f [x.vtanh::<FMA>()] i [] d |_, y, g| one(g * (1.0 - y * y));
    Asinh "rg_asinh(x)" (x) f [x.asinh_()] i [] d |x, _, g| one(g * (x[0] * x[0] + 1.0).rsqrt());
    Acosh "rg_acosh(x)" (x) f [if x > 1e10 { x.ln() + (std::f64::consts::LN_2 as T) } else { x.acosh() }] i [] d |x, _, g| one(g * (x[0] * x[0] - 1.0).rsqrt());
    Atanh "rg_atanh(x)" (x) f [x.atanh()] i [] d |x, _, g| one(g / (1.0 - x[0] * x[0]));
    Relu "rg_relu(x)" (x) f [if x < 0.0 { 0.0 } else { x }] i [x.max(0)] d |_, y, g| one(wh(y.le(0.0), c(0.0), g));
    Sigmoid "rg_sigmoid(x)" (x) f [x.vsigmoid::<FMA>()] i [] d |_, y, g| one(g * ((1.0 - y) * y));
    LogSigmoid "rg_logsigmoid(x)" (x) f [x.min(0.0) - (-x.abs()).vexp::<FMA>().vlog1p::<FMA>()] i [] d |x, _, g| one(g * (-x[0]).sigmoid());
    Erf "rg_erf(x)" (x) f [x.verf::<FMA>()] i [] d |x, _, g| one(g * FRAC_2_SQRT_PI * (-(x[0] * x[0])).exp());
    Erfc "rg_erfc(x)" (x) f [Real::erfc(x)] i [] d |x, _, g| one(g * -FRAC_2_SQRT_PI * (-(x[0] * x[0])).exp());
    NormalCdf "rg_normal_cdf(x)" (x) f [x.vnormal_cdf::<FMA>()] i [] d |x, _, g| one(g * (1.0 / (2.0 * PI).sqrt()) * (x[0] * x[0] * -0.5).exp());
    ErfInv "rg_erfinv(x)" (x) f [x.erfinv()] i [] d |_, y, g| one(g * (PI.sqrt() / 2.0) * (y * y).exp());
    NdTri "rg_ndtri(x)" (x) f [x.ndtri()] i [] d |_, y, g| one(g * (2.0 * PI).sqrt() * (y * y * 0.5).exp());
    LogNdtr "rg_log_ndtr(x)" (x) f [x.log_ndtr()] i [] d |x, y, g| one(g * (-(x[0] * x[0]) * 0.5 - y).exp() * (1.0 / (2.0 * PI).sqrt()));
    Erfcx "rg_erfcx(x)" (x) f [x.erfcx()] i [] d |x, y, g| one(g * (x[0] * y * 2.0 - FRAC_2_SQRT_PI));
    Lgamma "rg_lgamma(x)" (x) f [x.lgamma()] i [] d |x, _, g| one(g * x[0].digamma());
    Digamma "rg_digamma(x)" (x) f [x.digamma()] i [] d |x, _, g| one(g * E::polygamma(c(1.0), x[0]));
    Polygamma "rg_polygamma(x, y)" (x, y) f [y.polygamma(x)] i [] d |x, _, g| vec![None, Some(g * E::polygamma(x[0] + 1.0, x[1]))];
    Zeta "rg_zeta(x, y)" (x, y) f [x.zeta(y)] i [] d |x, _, g| vec![None, Some(-g * x[0] * E::zeta(x[0] + 1.0, x[1]))];
    I0 "rg_i0(x)" (x) f [x.i0()] i [] d |x, _, g| one(g * x[0].i1());
    I0e "rg_i0e(x)" (x) f [x.i0e()] i [] d |x, y, g| one(g * (x[0].i1e() - x[0].sign() * y));
    I1 "rg_i1(x)" (x) f [x.i1()] i [] d |x, y, g| one(g * wh(x[0].eq(0.0), c(0.5), x[0].i0() - y / x[0]));
    I1e "rg_i1e(x)" (x) f [x.i1e()] i [] d |x, y, g| one(g * wh(x[0].eq(0.0), c(0.5), x[0].i0e() - y * (x[0].sign() + x[0].recip())));
    Xlogy "rg_xlogy(x, y)" (x, y) f [if y.is_nan() { T::NAN } else if x == 0.0 { 0.0 } else { x * y.vlog::<FMA>() }] i []
        d |x, _, g| two(g * wh(E::and(x[0].eq(0.0), x[1].le(0.0)), c(0.0), x[1].log()), g * x[0] / x[1]);
    Xlog1py "rg_xlog1py(x, y)" (x, y) f [if y.is_nan() { T::NAN } else if x == 0.0 { 0.0 } else { x * y.vlog1p::<FMA>() }] i []
        d |x, _, g| two(g * wh(E::and(x[0].eq(0.0), x[1].le(-1.0)), c(0.0), x[1].log1p()), g * x[0] / (x[1] + 1.0));
    Sinc "rg_sinc(x)" (x) f [if x == 0.0 { 1.0 } else { let p = x * (PI as T); p.sin() / p }] i []
        d |x, _, g| one(g * wh(x[0].eq(0.0), c(0.0), ((x[0] * PI).cos() * (x[0] * PI) - (x[0] * PI).sin()) / (x[0] * x[0] * PI)));
    LogAddExp "rg_logaddexp(x, y)" (x, y) f [if x.is_infinite() && x == y { x } else { let m = x.max(y); if x.is_nan() || y.is_nan() { T::NAN } else { m + (-(x - y).abs()).vexp::<FMA>().vlog1p::<FMA>() } }] i []
        d |x, y, g| two(g * (x[0] - y).exp(), g * (x[1] - y).exp());
    LogAddExp2 "rg_logaddexp2(x, y)" (x, y) f [if x.is_infinite() && x == y { x } else { let m = x.max(y); if x.is_nan() || y.is_nan() { T::NAN } else { m + (-(x - y).abs()).vexp2::<FMA>().vlog1p::<FMA>() * (std::f64::consts::LOG2_E as T) } }] i []
        d |x, y, g| two(g * (x[0] - y).exp2(), g * (x[1] - y).exp2());
    Hypot "rg_hypot(x, y)" (x, y) f [x.hypot(y)] i [] d |x, y, g| two(g * (x[0] / y), g * (x[1] / y));
    Heaviside "rg_heaviside(x, y)" (x, y) f [if x == 0.0 { y } else { (x > 0.0) as u8 as T }] i [if x == 0 { y } else { (x > 0) as i64 }] d none;
    Igamma "rg_igamma(x, y)" (x, y) f [x.igamma(y)] i [] d |x, _, g| vec![None,
        Some(g * ((x[0] - 1.0) * x[1].log() - x[1] - x[0].lgamma()).exp())];
    Igammac "rg_igammac(x, y)" (x, y) f [x.igammac(y)] i [] d |x, _, g| vec![None,
        Some(-g * ((x[0] - 1.0) * x[1].log() - x[1] - x[0].lgamma()).exp())];
    BesselJ0 "rg_j0(x)" (x) f [x.bessel_j0()] i [] d none;
    BesselJ1 "rg_j1(x)" (x) f [x.bessel_j1()] i [] d none;
    BesselY0 "rg_y0(x)" (x) f [x.bessel_y0()] i [] d none;
    BesselY1 "rg_y1(x)" (x) f [x.bessel_y1()] i [] d none;
}
