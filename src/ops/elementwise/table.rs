//! The table of elementwise ops: name in Rust, places, schema line, dtype rule, graph node, formula, doc.
//!
//! A row reads `NAME "places" "schema" Kind [= "NodeName"] |x, p| formula, "Doc.";` where `x` are the tensor and number
//! operands and `p` the other parameters. Rows without places are called by name only ([`super::calls`], other families).

use super::{Kind, Row};
use crate::expr::builder::{E, c, prim, wh};
use crate::expr::prim::Prim;
use std::sync::OnceLock;

macro_rules! rows {
    ($( $id:ident $places:literal $schema:literal $kind:ident $(= $node:literal)? $f:expr, $doc:literal; )*) => {
        $(
            #[doc = $doc]
            pub static $id: Row = Row {
                schema: $schema, places: $places, kind: Kind::$kind, formula: $f, doc: $doc,
                node: rows!(@node $($node)?), compiled: OnceLock::new(),
            };
        )*
        /// Every row.
        pub static ROWS: &[&Row] = &[$(&$id),*];
    };
    (@node $n:literal) => { Some($n) };
    (@node) => { None };
}

const SQRT_2: f64 = std::f64::consts::SQRT_2;

rows! {
    // ---- arithmetic ----
    NEG "fmi" "neg(Tensor self)" NoBool |x, _| -x[0], "The negative.";
    POSITIVE "fm" "positive(Tensor self)" NoBool = "AliasBackward0" |x, _| x[0] * 1.0, "The tensor itself.";
    ABS "fmi" "abs(Tensor self)" Rounding |x, _| x[0].abs(), "The absolute value.";
    SIGN "fmi" "sign(Tensor self)" Arith |x, _| x[0].sign(), "-1, 0 or 1.";
    SGN "fmi" "sgn(Tensor self)" Arith |x, _| x[0].sign(), "-1, 0 or 1.";
    SIGNBIT "fm" "signbit(Tensor self)" Logical |x, _| prim(Prim::SignBit, x), "Whether the sign bit is set.";
    MUL "fmi" "mul(Tensor self, Operand other)" Arith |x, _| x[0] * x[1], "The product.";
    ADD "" "add(Operand self, Operand other)" Arith |x, _| x[0] + x[1], "The sum.";
    ADD_ALPHA "" "add(Operand self, Operand other, *, Scalar alpha=1)" Arith = "AddBackward0" |x, p| x[0] + p[0] * x[1], "self + alpha * other.";
    SUB "" "sub(Operand self, Operand other)" NoBool |x, _| x[0] - x[1], "The difference.";
    SUB_ALPHA "" "sub(Operand self, Operand other, *, Scalar alpha=1)" NoBool = "SubBackward0" |x, p| x[0] - p[0] * x[1], "self - alpha * other.";
    RSUB "" "rsub(Operand self, Operand other)" NoBool = "RsubBackward1" |x, _| x[1] - x[0], "other - self.";
    DIV "" "div(Operand self, Operand other)" Float |x, _| x[0] / x[1], "The quotient.";
    DIV_TRUNC "" "div(Operand self, Operand other)" Division = "DivBackward1" |x, _| E::trunc_div(x[0], x[1]), "The quotient, rounded towards zero.";
    FLOOR_DIVIDE "fmi" "floor_divide(Operand self, Operand other)" Division |x, _| E::floor_div(x[0], x[1]), "The quotient, rounded down.";
    REMAINDER "fmi" "remainder(Operand self, Operand other)" Division |x, _| prim(Prim::Rem, x), "The remainder, with the sign of the divisor.";
    FMOD "fmi" "fmod(Tensor self, Operand other)" Division |x, _| prim(Prim::Fmod, x), "The remainder, with the sign of the dividend.";
    RECIPROCAL "fmi" "reciprocal(Tensor self)" Float |x, _| x[0].recip(), "1 / x.";
    SQUARE "fmi" "square(Tensor self)" Square = "PowBackward0" |x, _| x[0].square(), "x * x.";
    SQRT_POW "" "pow(Tensor self)" Float = "PowBackward0" |x, _| x[0].sqrt(), "The square root, as a power.";
    CUBE_POW "" "pow(Tensor self)" Float = "PowBackward0" |x, _| prim(Prim::Cube, x), "The third power.";
    RECIP_POW "" "pow(Tensor self)" Float = "PowBackward0" |x, _| x[0].recip(), "1 / x, as a power.";
    RECIP_SQUARE_POW "" "pow(Tensor self)" Float = "PowBackward0" |x, _| (x[0] * x[0]).recip(), "1 / x^2, as a power.";
    RSQRT_POW "" "pow(Tensor self)" Float = "PowBackward0" |x, _| x[0].rsqrt(), "1 / sqrt x, as a power.";
    POW_TENSOR "" "pow(Operand self, Operand exponent)" Arith = "PowBackward1" |x, _| E::pow(x[0], x[1]), "self to the power of exponent.";
    POW_SCALAR "" "pow(Operand self, Scalar exponent)" Arith = "PowBackward0" |x, p| E::pow(x[0], p[0]), "self to the power of exponent.";
    GCD "fmi" "gcd(Tensor self, Tensor other)" Ints |x, _| prim(Prim::Gcd, x), "Greatest common divisor.";
    LCM "fmi" "lcm(Tensor self, Tensor other)" Ints |x, _| prim(Prim::Lcm, x), "Least common multiple.";
    ADDCMUL "fmi" "addcmul(Tensor self, Tensor tensor1, Tensor tensor2, *, Scalar value=1)" Arith |x, p| x[0] + p[0] * x[1] * x[2], "self + value * tensor1 * tensor2.";
    ADDCDIV "fmi" "addcdiv(Tensor self, Tensor tensor1, Tensor tensor2, *, Scalar value=1)" Arith |x, p| x[0] + p[0] * (x[1] / x[2]), "self + value * tensor1 / tensor2.";
    LERP "fmi" "lerp(Tensor self, Tensor end, Operand weight)" FloatOnly |x, _|
        wh(x[2].abs().lt(0.5), x[0] + x[2] * (x[1] - x[0]), x[1] - (x[1] - x[0]) * (1.0 - x[2])), "self + weight * (end - self).";
    // ---- exponentials, roots, trigonometry ----
    EXP "fmi" "exp(Tensor self)" Float |x, _| x[0].exp(), "e to the power of each element.";
    EXP2 "fmis" "exp2(Tensor self)" Float |x, _| x[0].exp2(), "2 to the power of each element.";
    EXPM1 "fmis" "expm1(Tensor self)" Float |x, _| x[0].expm1(), "exp(x) - 1, exact near 0.";
    LOG "fmi" "log(Tensor self)" Float |x, _| x[0].log(), "The natural logarithm.";
    LOG2 "fmi" "log2(Tensor self)" Float |x, _| prim(Prim::Log2, x), "The logarithm to base 2.";
    LOG10 "fmi" "log10(Tensor self)" Float |x, _| prim(Prim::Log10, x), "The logarithm to base 10.";
    LOG1P "fmis" "log1p(Tensor self)" Float |x, _| x[0].log1p(), "log(1 + x), exact near 0.";
    SQRT "fmi" "sqrt(Tensor self)" Float |x, _| x[0].sqrt(), "The square root.";
    RSQRT "fmi" "rsqrt(Tensor self)" Float |x, _| x[0].rsqrt(), "1 / sqrt(x).";
    SIN "fmi" "sin(Tensor self)" Float |x, _| x[0].sin(), "The sine of an angle in radians.";
    COS "fmi" "cos(Tensor self)" Float |x, _| x[0].cos(), "The cosine of an angle in radians.";
    TAN "fmi" "tan(Tensor self)" Float |x, _| prim(Prim::Tan, x), "The tangent.";
    ASIN "fmi" "asin(Tensor self)" Float |x, _| prim(Prim::Asin, x), "The inverse sine.";
    ACOS "fmi" "acos(Tensor self)" Float |x, _| prim(Prim::Acos, x), "The inverse cosine.";
    ATAN "fmi" "atan(Tensor self)" Float |x, _| prim(Prim::Atan, x), "The inverse tangent.";
    ATAN2 "fmi" "atan2(Tensor self, Tensor other)" Float |x, _| prim(Prim::Atan2, x), "The angle of the point (other, self).";
    SINH "fmi" "sinh(Tensor self)" Float |x, _| x[0].sinh(), "The hyperbolic sine.";
    COSH "fmi" "cosh(Tensor self)" Float |x, _| x[0].cosh(), "The hyperbolic cosine.";
    TANH "fmin" "tanh(Tensor self)" Float |x, _| x[0].tanh(), "The hyperbolic tangent.";
    ASINH "fmi" "asinh(Tensor self)" Float |x, _| prim(Prim::Asinh, x), "The inverse hyperbolic sine.";
    ACOSH "fmi" "acosh(Tensor self)" Float |x, _| prim(Prim::Acosh, x), "The inverse hyperbolic cosine.";
    ATANH "fmi" "atanh(Tensor self)" Float |x, _| prim(Prim::Atanh, x), "The inverse hyperbolic tangent.";
    HYPOT "fmi" "hypot(Tensor self, Tensor other)" Arith |x, _| prim(Prim::Hypot, x), "sqrt(self^2 + other^2).";
    SINC "fmis" "sinc(Tensor self)" Float |x, _| prim(Prim::Sinc, x), "sin(pi x) / (pi x).";
    DEG2RAD "fmi" "deg2rad(Tensor self)" Float |x, _| x[0] * (std::f64::consts::PI / 180.0), "Degrees to radians.";
    RAD2DEG "fmi" "rad2deg(Tensor self)" Float |x, _| x[0] * (180.0 / std::f64::consts::PI), "Radians to degrees.";
    LOGADDEXP "fm" "logaddexp(Tensor self, Tensor other)" Arith |x, _| prim(Prim::LogAddExp, x), "log(exp(self) + exp(other)).";
    LOGADDEXP2 "fm" "logaddexp2(Tensor self, Tensor other)" Arith |x, _| prim(Prim::LogAddExp2, x), "log2(2^self + 2^other).";
    LDEXP "fmi" "ldexp(Tensor self, Tensor other)" Float |x, _| x[0] * x[1].exp2(), "self * 2^other.";
    XLOGY "fmis" "xlogy(Operand self, Operand other)" Float |x, _| prim(Prim::Xlogy, x), "self * log(other), 0 where self is 0.";
    XLOG1PY "s" "xlog1py(Operand self, Operand other)" Float |x, _| prim(Prim::Xlog1py, x), "self * log1p(other), 0 where self is 0.";
    LOGIT "" "logit(Tensor self)" Float |x, _| {
        let y = x[0] * wh(E::or(x[0].lt(0.0), x[0].gt(1.0)), c(f64::NAN), c(1.0));
        y.log() - (-y).log1p()
    }, "log(x / (1 - x)).";
    LOGIT_EPS "" "logit(Tensor self, Scalar low, Scalar high, Scalar at_low, Scalar at_high)" Float |x, p| {
        let y = wh(E::or(x[0].lt(p[0]), x[0].gt(p[1])), c(0.5), x[0]);
        wh(x[0].lt(p[0]), p[2], wh(x[0].gt(p[1]), p[3], y.log() - (-y).log1p()))
    }, "logit of x limited to [low, high].";
    // ---- rounding ----
    FLOOR "fmi" "floor(Tensor self)" Rounding |x, _| x[0].floor(), "Rounded down.";
    CEIL "fmi" "ceil(Tensor self)" Rounding |x, _| prim(Prim::Ceil, x), "Rounded up.";
    ROUND "" "round(Tensor self)" Rounding |x, _| x[0].round(), "Rounded to the nearest whole number, halves to even.";
    TRUNC "fmi" "trunc(Tensor self)" Rounding |x, _| x[0].trunc(), "Rounded towards zero.";
    FRAC "fmi" "frac(Tensor self)" FloatOnly |x, _| x[0] - x[0].trunc(), "The fractional part.";
    // ---- special functions ----
    ERF "fmis" "erf(Tensor self)" Float |x, _| x[0].erf(), "The error function.";
    ERFC "fmis" "erfc(Tensor self)" Float |x, _| x[0].erfc(), "1 - erf(x).";
    ERFINV "fmis" "erfinv(Tensor self)" Float |x, _| prim(Prim::ErfInv, x), "The inverse error function.";
    ERFCX "s" "erfcx(Tensor self)" Float |x, _| prim(Prim::Erfcx, x), "exp(x^2) erfc(x).";
    NDTR "s" "ndtr(Tensor self)" Float |x, _| (x[0] * (-1.0 / SQRT_2)).erfc() * 0.5, "The normal distribution function.";
    NDTRI "s" "ndtri(Tensor self)" Float |x, _| prim(Prim::NdTri, x), "The inverse of ndtr.";
    LOG_NDTR "s" "log_ndtr(Tensor self)" Float |x, _| prim(Prim::LogNdtr, x), "log(ndtr(x)).";
    LGAMMA "fmi" "lgamma(Tensor self)" Float |x, _| x[0].lgamma(), "log |Gamma(x)|.";
    DIGAMMA "fmi" "digamma(Tensor self)" Float |x, _| x[0].digamma(), "The derivative of lgamma.";
    POLYGAMMA_ROW "" "polygamma(Operand self, Scalar n)" Float |x, p| E::polygamma(p[0], x[0]), "The n-th derivative of digamma.";
    ZETA "s" "zeta(Operand self, Operand other)" Float |x, _| E::zeta(x[0], x[1]), "The Hurwitz zeta function.";
    IGAMMA "fmi" "igamma(Tensor self, Tensor other)" FloatOnly |x, _| prim(Prim::Igamma, x), "The regularised lower incomplete gamma function.";
    IGAMMAC "fmi" "igammac(Tensor self, Tensor other)" FloatOnly |x, _| prim(Prim::Igammac, x), "The regularised upper incomplete gamma function.";
    I0 "fmis" "i0(Tensor self)" Float |x, _| x[0].i0(), "Modified Bessel function of order 0.";
    I0E "s" "i0e(Tensor self)" Float |x, _| x[0].i0e(), "exp(-|x|) i0(x).";
    I1 "s" "i1(Tensor self)" Float |x, _| x[0].i1(), "Modified Bessel function of order 1.";
    I1E "s" "i1e(Tensor self)" Float |x, _| x[0].i1e(), "exp(-|x|) i1(x).";
    BESSEL_J0 "s" "bessel_j0(Tensor self)" Float |x, _| prim(Prim::BesselJ0, x), "Bessel function of the first kind, order 0.";
    BESSEL_J1 "s" "bessel_j1(Tensor self)" Float |x, _| prim(Prim::BesselJ1, x), "Bessel function of the first kind, order 1.";
    BESSEL_Y0 "s" "bessel_y0(Tensor self)" Float |x, _| prim(Prim::BesselY0, x), "Bessel function of the second kind, order 0.";
    BESSEL_Y1 "s" "bessel_y1(Tensor self)" Float |x, _| prim(Prim::BesselY1, x), "Bessel function of the second kind, order 1.";
    ENTR "s" "entr(Tensor self)" Float |x, _| wh(x[0].eq(0.0), x[0] * 0.0, wh(x[0].lt(0.0), c(f64::NEG_INFINITY), -x[0] * x[0].log())), "-x log(x).";
    // ---- larger and smaller ----
    MAXIMUM "fm" "maximum(Tensor self, Tensor other)" Arith |x, _| x[0].max(x[1]), "The larger; NaN if either is.";
    MINIMUM "fm" "minimum(Tensor self, Tensor other)" Arith |x, _| x[0].min(x[1]), "The smaller; NaN if either is.";
    FMAX "fm" "fmax(Tensor self, Tensor other)" Arith |x, _| prim(Prim::Fmax, x), "The larger; NaN only if both are.";
    FMIN "fm" "fmin(Tensor self, Tensor other)" Arith |x, _| prim(Prim::Fmin, x), "The smaller; NaN only if both are.";
    CLAMP_ROW "" "clamp(Operand self, Operand min, Operand max)" Arith = "ClampBackward1" |x, _| clamp_max(clamp_min(x[0], x[1]), x[2]), "Limited to [min, max].";
    CLAMP_MIN "fmi" "clamp_min(Tensor self, Operand min)" Arith = "ClampMinBackward0" |x, _| clamp_min(x[0], x[1]), "At least min.";
    CLAMP_MAX "fmi" "clamp_max(Tensor self, Operand max)" Arith = "ClampMaxBackward0" |x, _| clamp_max(x[0], x[1]), "At most max.";
    HEAVISIDE "fmi" "heaviside(Tensor self, Tensor values)" Arith |x, _| prim(Prim::Heaviside, x), "0, values or 1 for negative, zero, positive.";
    COPYSIGN "fmi" "copysign(Tensor self, Operand other)" Float |x, _| prim(Prim::CopySign, x), "The size of self with the sign of other.";
    NEXTAFTER "fmi" "nextafter(Tensor self, Tensor other)" FloatOnly |x, _| prim(Prim::NextAfter, x), "The next number towards other.";
    // ---- comparison, logic, bits ----
    EQ "fmi" "eq(Tensor self, Operand other)" Compare |x, _| x[0].eq(x[1]), "Equal.";
    NE "fmi" "ne(Tensor self, Operand other)" Compare |x, _| x[0].ne(x[1]), "Not equal.";
    LT "fmi" "lt(Tensor self, Operand other)" Compare |x, _| x[0].lt(x[1]), "Less.";
    LE "fmi" "le(Tensor self, Operand other)" Compare |x, _| x[0].le(x[1]), "Less or equal.";
    GT "fmi" "gt(Tensor self, Operand other)" Compare |x, _| x[0].gt(x[1]), "Greater.";
    GE "fmi" "ge(Tensor self, Operand other)" Compare |x, _| x[0].ge(x[1]), "Greater or equal.";
    LOGICAL_AND "fmi" "logical_and(Tensor self, Tensor other)" Logical |x, _| E::and(x[0], x[1]), "Both nonzero.";
    LOGICAL_OR "fmi" "logical_or(Tensor self, Tensor other)" Logical |x, _| E::or(x[0], x[1]), "Either nonzero.";
    LOGICAL_XOR "fmi" "logical_xor(Tensor self, Tensor other)" Logical |x, _| prim(Prim::LogicalXor, x), "Exactly one nonzero.";
    LOGICAL_NOT "fmi" "logical_not(Tensor self)" Logical |x, _| x[0].not(), "Zero.";
    ISNAN "fm" "isnan(Tensor self)" Logical |x, _| x[0].is_nan(), "NaN.";
    ISINF "fm" "isinf(Tensor self)" Logical |x, _| x[0].is_inf(), "Infinite.";
    ISFINITE "fm" "isfinite(Tensor self)" Logical |x, _| (x[0].is_nan() + x[0].is_inf()).not(), "Neither infinite nor NaN.";
    ISPOSINF "fm" "isposinf(Tensor self)" Logical |x, _| E::and(x[0].is_inf(), x[0].gt(0.0)), "Positive infinity.";
    ISNEGINF "fm" "isneginf(Tensor self)" Logical |x, _| E::and(x[0].is_inf(), x[0].lt(0.0)), "Negative infinity.";
    BITWISE_AND "fmi" "bitwise_and(Operand self, Operand other)" Bits |x, _| prim(Prim::BitAnd, x), "Bits set in both.";
    BITWISE_OR "fmi" "bitwise_or(Operand self, Operand other)" Bits |x, _| prim(Prim::BitOr, x), "Bits set in either.";
    BITWISE_XOR "fmi" "bitwise_xor(Operand self, Operand other)" Bits |x, _| prim(Prim::BitXor, x), "Bits set in exactly one.";
    BITWISE_NOT_INT "" "bitwise_not(Tensor self)" Bits |x, _| prim(Prim::BitNot, x), "Every bit flipped.";
    BITWISE_LEFT_SHIFT "fmi" "bitwise_left_shift(Operand self, Operand other)" Bits |x, _| prim(Prim::Shl, x), "Bits moved left.";
    BITWISE_RIGHT_SHIFT "fmi" "bitwise_right_shift(Operand self, Operand other)" Bits |x, _| prim(Prim::Shr, x), "Bits moved right.";
    WHERE "" "where(Operand condition, Operand self, Operand other)" Arith |x, _| wh(x[0], x[1], x[2]), "Elements of self where condition, else of other.";
    // ---- activations ----
    SIGMOID "fmin" "sigmoid(Tensor self)" Float |x, _| x[0].sigmoid(), "1 / (1 + exp(-x)).";
    RELU_ROW "" "relu(Tensor self)" NoBool |x, _| prim(Prim::Relu, x), "max(x, 0).";
    LEAKY_RELU_ROW "" "leaky_relu(Tensor self, Scalar slope)" FloatOnly |x, p| wh(x[0].gt(0.0), x[0], x[0] * p[0]), "x, or negative_slope * x below 0.";
    GELU_ERF "" "gelu(Tensor self)" FloatOnly |x, _| x[0] * x[0].normal_cdf(), "x Phi(x), with the normal distribution function.";
    GELU_TANH "" "gelu(Tensor self)" FloatOnly |x, _|
        x[0] * 0.5 * (((x[0] + x[0] * x[0] * x[0] * 0.044715) * (2.0 / std::f64::consts::PI).sqrt()).tanh() + 1.0), "gelu by its tanh approximation.";
    SILU_ROW "" "silu(Tensor self)" FloatOnly |x, _| x[0] * x[0].sigmoid(), "x sigmoid(x).";
    MISH_ROW "" "mish(Tensor self)" FloatOnly |x, _| x[0] * softplus(x[0]).tanh(), "x tanh(softplus(x)).";
    SOFTPLUS_ROW "" "softplus(Tensor self, Scalar beta, Scalar threshold)" FloatOnly |x, p|
        wh((x[0] * p[0]).gt(p[1]), x[0], softplus(x[0] * p[0]) / p[0]), "log(1 + exp(beta x)) / beta.";
    ELU_ROW "" "elu(Tensor self, Scalar alpha, Scalar scale, Scalar input_scale)" FloatOnly |x, p|
        wh(x[0].le(0.0), wh(x[0].le(0.0), x[0] * p[2], c(0.0)).expm1() * p[0] * p[1], x[0] * p[1]), "x, or alpha (exp(x) - 1) below 0.";
    HARDTANH_ROW "" "hardtanh(Tensor self, Scalar low, Scalar high)" Arith |x, p|
        wh(x[0].lt(p[0]), p[0], wh(x[0].eq(p[0]), prim(Prim::CopySign, &[p[0], x[0]]), wh(x[0].ge(p[1]), p[1], x[0]))),
        "x limited to [min_val, max_val]; no gradient at the bounds.";
    HARDSIGMOID_ROW "" "hardsigmoid(Tensor self)" FloatOnly |x, _| wh(
        E::and(x[0].gt(-3.0), x[0].lt(3.0)), (x[0] + 3.0) * (1.0 / 6.0), wh(x[0].le(-3.0), c(0.0), wh(x[0].ge(3.0), c(1.0), x[0] * 0.0))),
        "relu6(x + 3) / 6.";
    HARDSWISH_ROW "" "hardswish(Tensor self)" FloatOnly |x, _| {
        let middle = E::and(x[0].gt(-3.0), x[0].lt(3.0));
        let y = wh(middle, x[0], c(0.0));
        wh(middle, y * (y + 3.0) * (1.0 / 6.0), wh(x[0].le(-3.0), x[0] * 0.0, x[0]))
    }, "x relu6(x + 3) / 6.";
    LOGSIGMOID_ROW "" "logsigmoid(Tensor self)" FloatOnly = "LogSigmoidBackward0" |x, _| x[0].log_sigmoid(), "log(sigmoid(x)).";
    SOFTSHRINK_ROW "" "softshrink(Tensor self, Scalar lambd)" FloatOnly |x, p|
        wh(E::and(x[0].ge(-p[0]), x[0].le(p[0])), c(0.0), wh(x[0].gt(p[0]), x[0] - p[0], x[0] + p[0])), "Moved towards 0 by lambd.";
    HARDSHRINK_ROW "" "hardshrink(Tensor self, Scalar lambd)" FloatOnly |x, p|
        wh(E::and(x[0].ge(-p[0]), x[0].le(p[0])), c(0.0), x[0]), "0 within lambd of 0.";
    THRESHOLD_ROW "" "threshold(Tensor self, Scalar threshold, Scalar value)" Arith |x, p| wh(x[0].le(p[0]), p[1], x[0]), "value where x <= threshold.";
    NAN_TO_NUM_ROW "" "nan_to_num(Tensor self, Scalar nan, Scalar posinf, Scalar neginf)" Arith |x, p|
        wh(x[0].is_nan(), p[0], wh(E::and(x[0].is_inf(), x[0].gt(0.0)), p[1], wh(E::and(x[0].is_inf(), x[0].lt(0.0)), p[2], x[0]))), "NaN and infinities replaced.";
}

fn softplus(x: E) -> E {
    0.0 - (-x).log_sigmoid()
}

/// NaN passes; the gradient goes to x where it is at the bound.
fn clamp_min(x: E, low: E) -> E {
    wh(E::or(x.lt(low), low.is_nan()), low, x)
}
fn clamp_max(x: E, high: E) -> E {
    wh(E::or(x.gt(high), high.is_nan()), high, x)
}

/// Further names of rows, and where they appear.
pub static ALIASES: &[(&str, &str, &Row)] = &[
    ("negative", "fmi", &NEG),
    ("absolute", "fmi", &ABS),
    ("multiply", "fmi", &MUL),
    ("arcsin", "fmi", &ASIN),
    ("arccos", "fmi", &ACOS),
    ("arctan", "fmi", &ATAN),
    ("arctan2", "fmi", &ATAN2),
    ("arcsinh", "fmi", &ASINH),
    ("arccosh", "fmi", &ACOSH),
    ("arctanh", "fmi", &ATANH),
    ("fix", "fmi", &TRUNC),
    ("gammaln", "s", &LGAMMA),
    ("psi", "s", &DIGAMMA),
    ("digamma", "s", &DIGAMMA),
    ("gammainc", "s", &IGAMMA),
    ("gammaincc", "s", &IGAMMAC),
    ("not_equal", "fmi", &NE),
    ("less", "fmi", &LT),
    ("less_equal", "fmi", &LE),
    ("greater", "fmi", &GT),
    ("greater_equal", "fmi", &GE),
    ("expit", "s", &SIGMOID),
];
