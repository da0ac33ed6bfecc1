//! Special functions of real arguments, with the values and the special cases of PyTorch.
//!
//! f64 is computed directly; f32 is computed in f64 and rounded. The coefficient tables are those of
//! Cephes (S. Moshier) and of Sun's fdlibm, named at each table.

mod bessel;
mod erf;
mod gamma;
mod igamma;
#[cfg(test)]
mod tests;

/// The functions on both float types that kernels compute in.
pub trait Real: Copy {
    /// The next representable value after `self` towards `y`.
    fn nextafter(self, y: Self) -> Self;
    /// Inverse hyperbolic sine, accurate for tiny and for huge arguments.
    fn asinh_(self) -> Self;
    /// Error function.
    fn erf_(self) -> Self;
    /// `1 - erf(x)`.
    fn erfc(self) -> Self;
    /// Inverse of the error function.
    fn erfinv(self) -> Self;
    /// Quantile function of the standard normal distribution.
    fn ndtri(self) -> Self;
    /// Logarithm of the distribution function of the standard normal distribution.
    fn log_ndtr(self) -> Self;
    /// `exp(x^2) erfc(x)`.
    fn erfcx(self) -> Self;
    /// Logarithm of the absolute value of the gamma function.
    fn lgamma(self) -> Self;
    /// Derivative of the logarithm of the gamma function.
    fn digamma(self) -> Self;
    /// The `n`-th derivative of digamma at `self`; `n` is a whole number.
    fn polygamma(self, n: Self) -> Self;
    /// Hurwitz zeta function: the sum of `(q + k)^-self` over `k >= 0`.
    fn zeta(self, q: Self) -> Self;
    /// Modified Bessel function of the first kind, order 0.
    fn i0(self) -> Self;
    /// `exp(-|x|) I0(x)`.
    fn i0e(self) -> Self;
    /// Modified Bessel function of the first kind, order 1.
    fn i1(self) -> Self;
    /// `exp(-|x|) I1(x)`.
    fn i1e(self) -> Self;
    /// Regularised lower incomplete gamma function P(self, x).
    fn igamma(self, x: Self) -> Self;
    /// Regularised upper incomplete gamma function Q(self, x).
    fn igammac(self, x: Self) -> Self;
    /// Bessel function of the first kind, order 0.
    fn bessel_j0(self) -> Self;
    /// Bessel function of the first kind, order 1.
    fn bessel_j1(self) -> Self;
    /// Bessel function of the second kind, order 0.
    fn bessel_y0(self) -> Self;
    /// Bessel function of the second kind, order 1.
    fn bessel_y1(self) -> Self;
}

macro_rules! real {
    ($t:ty; $($name:ident($($arg:ident),*) = $f:path;)*) => {
        impl Real for $t {
            fn nextafter(self, y: $t) -> $t {
                if self.is_nan() || y.is_nan() {
                    <$t>::NAN
                } else if self == y {
                    y
                } else if y > self {
                    self.next_up()
                } else {
                    self.next_down()
                }
            }
            $(
                #[allow(clippy::unnecessary_cast)]
                fn $name(self $(, $arg: $t)*) -> $t {
                    $f(self as f64 $(, $arg as f64)*) as $t
                }
            )*
        }
    };
}

macro_rules! reals {
    ($($t:ty),*) => {
        $(real! { $t;
            asinh_() = asinh;
            erf_() = erf::erf;
            erfc() = erf::erfc;
            erfinv() = erf::erfinv;
            ndtri() = erf::ndtri;
            log_ndtr() = erf::log_ndtr;
            erfcx() = erf::erfcx;
            lgamma() = gamma::lgamma;
            digamma() = gamma::digamma;
            polygamma(n) = gamma::polygamma;
            zeta(q) = gamma::zeta;
            i0() = bessel::i0;
            i0e() = bessel::i0e;
            i1() = bessel::i1;
            i1e() = bessel::i1e;
            igamma(x) = igamma::igamma;
            igammac(x) = igamma::igammac;
            bessel_j0() = bessel::j0;
            bessel_j1() = bessel::j1;
            bessel_y0() = bessel::y0;
            bessel_y1() = bessel::y1;
        })*
    };
}

reals!(f32, f64);

/// asinh x = sign(x) ln1p(|x| + x^2 / (1 + sqrt(x^2 + 1))).
fn asinh(x: f64) -> f64 {
    let a = x.abs();
    let r = if a > 1e9 {
        a.ln() + std::f64::consts::LN_2 // the next term is 1 / (4 a^2)
    } else {
        (a + a * a / (1.0 + (a * a + 1.0).sqrt())).ln_1p()
    };
    r.copysign(x)
}

/// A polynomial by Horner's rule, the highest coefficient first.
fn poly(x: f64, c: &[f64]) -> f64 {
    c.iter().fold(0.0, |r, &a| r * x + a)
}
