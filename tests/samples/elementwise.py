"""Elementwise ops of one operand, activations, and elementwise ops of two and three operands."""

import math

import numpy as np

import reference as R

from .base import F, S, inf, nan, op, special

# Elementwise, one operand


def unary(names, ref, kinds="fib", lo=-2.0, hi=2.0, nonzero=False, **kwargs):
    def make(d):
        draw = lambda *s: d(*s, lo=lo, hi=hi, nonzero=nonzero)
        return [S(draw(3, 4)), S(draw()), S(draw(0, 3)), S(draw(2, 1, 5))]

    kwargs.setdefault("nonfinite", isinstance(ref, np.ufunc) and "f" in kinds)
    op(names, ref, make, kinds, **kwargs)


unary("neg negative", np.negative, "fi")
unary("positive", np.positive, "fi")
unary("abs absolute", np.abs, "fi")
unary("sign sgn", lambda x: x if x.dtype == bool else np.sign(x), "fib", nonfinite=False)
unary("signbit", np.signbit, "fi", grad=False)
unary("square", lambda x: x if x.dtype == bool else x * x, "fi", nonfinite=True)
unary("reciprocal", lambda x: 1.0 / x, nonzero=True, kinds="fi", nonfinite=True)
unary("exp", np.exp)
unary("exp2 special.exp2", np.exp2)
unary("expm1 special.expm1", np.expm1)
unary("log", np.log, lo=0.1, hi=5)
unary("log2", np.log2, lo=0.1, hi=5)
unary("log10", np.log10, lo=0.1, hi=5)
unary("log1p special.log1p", np.log1p, lo=-0.8, hi=5)
unary("sqrt", np.sqrt, lo=0.1, hi=5)
unary("rsqrt", lambda x: 1 / np.sqrt(x), "fi", lo=0.3, hi=5, nonzero=True, nonfinite=True)
unary("sin", np.sin)
unary("cos", np.cos)
unary("tan", np.tan, lo=-1.2, hi=1.2, tol=4)
unary("asin arcsin", np.arcsin, lo=-0.9, hi=0.9)
unary("acos arccos", np.arccos, lo=-0.9, hi=0.9)
unary("atan arctan", np.arctan)
unary("sinh", np.sinh)
unary("cosh", np.cosh)
unary("tanh nn.functional.tanh", np.tanh)
unary("asinh arcsinh", np.arcsinh)
unary("acosh arccosh", np.arccosh, lo=1.2, hi=5, kinds="fi")
unary("atanh arctanh", np.arctanh, lo=-0.9, hi=0.9, tol=4)
unary("sinc special.sinc", np.sinc, tol=4)
unary("deg2rad", np.deg2rad, "fi")
unary("rad2deg", np.rad2deg, "fi", tol=4)
unary("floor", np.floor, "f", second=False)
unary("ceil", np.ceil, "f", second=False)
unary("trunc fix", np.trunc, "f", second=False)
unary("frac", lambda x: x - np.trunc(x), "f")
op("round", lambda x, decimals=0: np.round(x, decimals),
   lambda d: [S(d(3, 4)), S(np.array([0.5, 1.5, 2.5, -0.5, -1.5])), S(d(3, 4), decimals=1), S(d(3, lo=100, hi=900), decimals=-2)],
   second=False, grad=False)
op("special.round", np.round, lambda d: [S(np.array([0.5, 1.5, 2.5, -0.5])), S(d(3, 4))], grad=False)
unary("erf special.erf", R.erf, "fi")
unary("erfc special.erfc", R.erfc, "fi")
unary("erfinv special.erfinv", R.erfinv, "f", lo=-0.95, hi=0.95)
unary("lgamma special.gammaln", R.lgamma, "fi", lo=0.2, hi=6, nonzero=True, tol=2)
unary("digamma special.digamma special.psi", R.digamma, "fi", lo=0.5, hi=6, nonzero=True, tol=2)
unary("i0 special.i0", R.bessel_i(0), "fi")
unary("sigmoid nn.functional.sigmoid special.expit", lambda x: 1 / (1 + np.exp(-1.0 * x)), nonfinite=True)
unary("special.i0e", R.bessel_i(0, scaled=True), "fi")
unary("special.i1", R.bessel_i(1), "fi")
unary("special.i1e", R.bessel_i(1, scaled=True), "fi")
unary("special.bessel_j0", R.bessel_j(0), "fi", grad=False, lo=-12, hi=12, tol=100)  # PyTorch has 7 digits
unary("special.bessel_j1", R.bessel_j(1), "fi", grad=False, lo=-12, hi=12, tol=100)  # PyTorch has 7 digits
unary("special.bessel_y0", R.bessel_y(0), "f", grad=False, lo=0.5, hi=12, tol=100)
unary("special.bessel_y1", R.bessel_y(1), "f", grad=False, lo=0.5, hi=12, tol=100)
unary("special.modified_bessel_i0", R.bessel_i(0), "f", grad=False)
unary("special.modified_bessel_i1", R.bessel_i(1), "f", grad=False)
unary("special.modified_bessel_k0", R.bessel_k(0), "f", grad=False, lo=0.3, hi=4)
unary("special.modified_bessel_k1", R.bessel_k(1), "f", grad=False, lo=0.3, hi=4)
unary("special.scaled_modified_bessel_k0", R.bessel_k(0, True), "f", grad=False, lo=0.3, hi=4)
unary("special.scaled_modified_bessel_k1", R.bessel_k(1, True), "f", grad=False, lo=0.3, hi=4)
unary("special.spherical_bessel_j0", lambda x: np.sinc(x / np.pi), "f", grad=False)
unary("special.ndtr", R.ndtr, "fi")
unary("special.ndtri", R.ndtri, "f", lo=0.05, hi=0.95)
unary("special.log_ndtr", lambda x: np.log(R.ndtr(x)), "fi")
unary("special.erfcx", lambda x: np.exp(x * x) * R.erfc(x), "f", tol=2)
unary("special.entr", lambda x: -x * np.log(x), "f", lo=0.1, hi=3)
_airy = {-2.0: 0.22740742820168557, -0.5: 0.47572809161053967, 0.0: 0.3550280538878172, 1.0: 0.1352924163128814, 3.5: 0.002584098786989634}
op("special.airy_ai", lambda x: np.array([_airy[v] for v in x]), lambda d: [S(np.array(list(_airy)))], grad=False)
unary("isnan", np.isnan, "fib", grad=False)
unary("isinf", np.isinf, "fi", grad=False)
unary("isfinite", np.isfinite, "fi", grad=False)
unary("isposinf", lambda x: x == np.inf, "fi", grad=False, nonfinite=True)
unary("isneginf", lambda x: x == -np.inf, "fi", grad=False, nonfinite=True)
unary("isreal", lambda x: np.ones(x.shape, bool), "fib", grad=False)
unary("logical_not", np.logical_not, "fib", grad=False)
unary("bitwise_not", np.invert, "ib", grad=False)
op("nan_to_num", lambda x, nan=0.0, posinf=None, neginf=None: np.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf),
   lambda d: [S(d(3, 4)), S(np.array([nan, inf, -inf, 1.0]), nan=1.0, posinf=5.0, neginf=-6.0)])
op("logit special.logit", lambda x, eps=None: np.log((y := x if eps is None else np.clip(x, eps, 1 - eps)) / (1 - y)),
   lambda d: [S(d(3, 4, lo=0.1, hi=0.9)), S(d(3, 4, lo=0.02, hi=0.98), eps=0.2)], "f")
op("polygamma", lambda n, x: R.polygamma(n, x), lambda d: [S(n, d(5, lo=0.5, hi=5)) for n in (0, 1, 2, 3)], "f", tol=4)
op("special.polygamma", R.polygamma, lambda d: [S(1, d(5, lo=0.5, hi=5))], "f", tol=4)
op("mvlgamma special.multigammaln",
   lambda x, p: p * (p - 1) / 4 * math.log(math.pi) + sum(R.lgamma(x - j / 2) for j in range(p)),
   lambda d: [S(d(4, lo=2, hi=6), 3), S(d(2, 2, lo=1, hi=4), 1)], "f", tol=4)
op("frexp", lambda x: (np.frexp(x)[0], np.frexp(x)[1].astype("i8")), lambda d: [S(d(3, 4)), S(np.array([0.0, 1.0, 8.0]))], grad=False,
   call=lambda m, x: (m.frexp(x)[0], m.frexp(x)[1].to(m.int64)))
_polynomials = {
    "chebyshev_polynomial_t": (lambda x: x, lambda n, x, b, a: 2 * x * b - a),
    "chebyshev_polynomial_u": (lambda x: 2 * x, lambda n, x, b, a: 2 * x * b - a),
    "chebyshev_polynomial_v": (lambda x: 2 * x - 1, lambda n, x, b, a: 2 * x * b - a),
    "chebyshev_polynomial_w": (lambda x: 2 * x + 1, lambda n, x, b, a: 2 * x * b - a),
    "hermite_polynomial_h": (lambda x: 2 * x, lambda n, x, b, a: 2 * x * b - 2 * n * a),
    "hermite_polynomial_he": (lambda x: x, lambda n, x, b, a: x * b - n * a),
    "laguerre_polynomial_l": (lambda x: 1 - x, lambda n, x, b, a: ((2 * n + 1 - x) * b - n * a) / (n + 1)),
    "legendre_polynomial_p": (lambda x: x, lambda n, x, b, a: ((2 * n + 1) * x * b - n * a) / (n + 1)),
    "shifted_chebyshev_polynomial_t": (lambda x: 2 * x - 1, lambda n, x, b, a: 2 * (2 * x - 1) * b - a),
    "shifted_chebyshev_polynomial_u": (lambda x: 4 * x - 2, lambda n, x, b, a: 2 * (2 * x - 1) * b - a),
    "shifted_chebyshev_polynomial_v": (lambda x: 4 * x - 3, lambda n, x, b, a: 2 * (2 * x - 1) * b - a),
    "shifted_chebyshev_polynomial_w": (lambda x: 4 * x - 1, lambda n, x, b, a: 2 * (2 * x - 1) * b - a),
}
for _name, (_second, _step) in _polynomials.items():
    op(special(_name), R.recurrence(lambda x: np.ones_like(x), _second, _step),
       lambda d: [S(d(4, lo=0.05, hi=0.9), n) for n in (0, 1, 2, 5)], grad=False, tol=8, spread=False)

# Activations

unary("relu nn.functional.relu", lambda x: np.maximum(x, 0), "fi", nonfinite=True)
unary(F("relu6"), lambda x: np.clip(x, 0, 6), "f", lo=-3, hi=9, nonfinite=True)
unary(F("selu") + " selu", lambda x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(x)), "f")
unary(F("silu"), lambda x: x / (1 + np.exp(-x)), "f")
unary(F("mish"), lambda x: x * np.tanh(np.log1p(np.exp(x))), "f")
unary(F("softsign"), lambda x: x / (1 + np.abs(x)), "f")
unary(F("tanhshrink"), lambda x: x - np.tanh(x), "f", tol=4)
unary(F("logsigmoid"), lambda x: -np.log1p(np.exp(-x)), "f")
unary(F("hardsigmoid"), lambda x: np.clip(x / 6 + 0.5, 0, 1), "f", lo=-5, hi=5)
unary(F("hardswish"), lambda x: x * np.clip(x / 6 + 0.5, 0, 1), "f", lo=-5, hi=5)


def activation(names, ref, *samples, lo=-3.0, hi=3.0, **kwargs):
    op(names, ref, lambda d: [S(d(3, 4, lo=lo, hi=hi), **s) for s in ({}, *samples)], "f", **kwargs)


activation(F("gelu"), lambda x, approximate="none": 0.5 * x * (1 + (R.erf(x / math.sqrt(2)) if approximate == "none" else
           np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))), {"approximate": "tanh"})
activation(F("elu"), lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(x)), {"alpha": 0.7})
activation(F("celu") + " celu", lambda x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(x / alpha)), {"alpha": 0.7})
activation(F("leaky_relu"), lambda x, negative_slope=0.01: np.where(x > 0, x, negative_slope * x), {"negative_slope": 0.3})
activation(F("softplus"), lambda x, beta=1.0, threshold=20.0: np.where(x * beta > threshold, x, np.log1p(np.exp(beta * x)) / beta),
           {"beta": 2.0}, {"beta": 2.0, "threshold": 1.0})
activation(F("hardtanh"), lambda x, min_val=-1.0, max_val=1.0: np.clip(x, min_val, max_val), {"min_val": -0.5, "max_val": 2.0})
activation(F("softshrink"), lambda x, lambd=0.5: np.sign(x) * np.maximum(np.abs(x) - lambd, 0), {"lambd": 1.1})
activation(F("hardshrink") + " hardshrink", lambda x, lambd=0.5: np.where(np.abs(x) > lambd, x, 0), {"lambd": 1.1})
op(F("threshold") + " threshold", lambda x, t, v: np.where(x > t, x, v), lambda d: [S(d(3, 4), 0.3, -7.0)], "f")
op(F("prelu") + " prelu", lambda x, w: np.where(x > 0, x, x * w.reshape(1, -1, *[1] * (x.ndim - 2))),
   lambda d: [S(d(2, 3, 4), d(3)), S(d(2, 3), d(1))])
op(F("rrelu") + " rrelu", lambda x, lower=1 / 8, upper=1 / 3: np.where(x > 0, x, x * (lower + upper) / 2),
   lambda d: [S(d(3, 4)), S(d(3, 4), lower=0.1, upper=0.5)])
op(F("glu"), lambda x, dim=-1: np.split(x, 2, dim)[0] / (1 + np.exp(-np.split(x, 2, dim)[1])), lambda d: [S(d(3, 4)), S(d(4, 3), 0)])
op(F("softmax") + " softmax special.softmax", R.softmax, lambda d: [S(d(3, 4), 1), S(d(2, 3, 4), 0), S(d(2, 3, 4), -2), S(d(4), 0), S(d(0, 3), 1)])
op(F("log_softmax") + " log_softmax special.log_softmax", R.log_softmax, lambda d: [S(d(3, 4), 1), S(d(2, 3, 4), 0), S(d(2, 3, 4), -2), S(d(4), 0)])
op(F("softmin"), lambda x, dim: R.softmax(-x, dim), lambda d: [S(d(3, 4), 1), S(d(2, 3), 0)])

# Elementwise, two and three operands


def binary(names, ref, kinds="fib", lo=-2.0, hi=2.0, nonzero=False, number=1.5, **kwargs):
    """Equal shapes, broadcasting, 0-d, empty and (number) a Python number on the right."""

    def make(d):
        a = lambda *s: d(*s, lo=lo, hi=hi)
        b = lambda *s: d(*s, lo=lo, hi=hi, nonzero=nonzero)
        out = [S(a(3, 4), b(3, 4)), S(a(3, 1), b(4)), S(a(2, 3), b()), S(a(), b(2, 2)), S(a(0, 3), b(3))]
        return [*out, S(a(3), {"f": number, "i": 3, "b": True}[d.kind])] if number is not None else out

    kwargs.setdefault("nonfinite", isinstance(ref, np.ufunc) and "f" in kinds)
    op(names, ref, make, kinds, **kwargs)


def alpha(f):
    return lambda a, b, *, alpha=1: f(a, alpha * b if not isinstance(alpha, int) or alpha != 1 else b)


binary("mul multiply", np.multiply)
op("add", alpha(np.add), lambda d: [S(d(3, 4), d(3, 4)), S(d(3, 1), d(4)), S(d(2, 3), d()), S(d(3), True if d.kind == "b" else 2), S(d(0, 2), d(2)),
   *([] if d.kind == "b" else [S(d(3, 4), d(4), alpha=3)])], "fib")
op("sub subtract", alpha(np.subtract), lambda d: [S(d(3, 4), d(3, 4)), S(d(3, 1), d(4)), S(d(2, 3), d()), S(d(3), 2), S(d(3, 4), d(4), alpha=3)], "fi")
op("rsub", lambda a, b, *, alpha=1: b - alpha * a, lambda d: [S(d(3, 4), d(3, 4)), S(d(3, 1), d(4)), S(d(3), 2), S(d(3, 4), d(4), alpha=3)], "fi")


def divide(a, b, *, rounding_mode=None):
    q = np.true_divide(a, b)
    return q if rounding_mode is None else {"floor": np.floor, "trunc": np.trunc}[rounding_mode](q).astype(np.result_type(a, b))


op("div divide", divide, lambda d: [S(d(3, 4), d(3, 4, lo=0.5, hi=3)), S(d(3, 1), d(4, lo=-3, hi=-1)), S(d(3), 2), *[
   S(d(3, 4, lo=-9, hi=9), d(4, lo=0.7, hi=3), rounding_mode=m) for m in ("floor", "trunc")]], "fi", second=False)
binary("true_divide", np.true_divide, "fi", nonzero=True)
binary("floor_divide", np.floor_divide, "fi", nonzero=True, grad=False, lo=-7.3, hi=7.9)
binary("remainder", np.remainder, "fi", nonzero=True, lo=-7.3, hi=7.9, nonfinite=False)
binary("fmod", np.fmod, "fi", nonzero=True, lo=-7.3, hi=7.9)
op("pow", lambda a, b: np.power(a, b), lambda d: [S(d(3, 4, lo=0.3, hi=3), d(3, 4, lo=0, hi=3)), S(d(3, 1, lo=0.3, hi=3), d(4, lo=0, hi=3)), S(d(3, 4), 2),
   S(d(3, 4), 3), S(2, d(3, 4, lo=0, hi=3)), S(d(3, lo=0.3, hi=4), d(3, lo=1, hi=3)), *([S(d(4, lo=0.2, hi=3), p) for p in (0.5, -1, -2.5, 0)] if d.kind == "f" else [])], "fi", tol=4)
op("float_power", lambda a, b: np.float_power(a, b), lambda d: [S(d(3, 4, lo=0.3, hi=3), d(4, lo=0, hi=3)), S(d(3, lo=0.3, hi=3), 2)], "fi", float_dtype=False)
binary("atan2 arctan2", np.arctan2, "fi", number=None, nonzero=True, nonfinite=False)
binary("hypot", np.hypot, "f", number=None)
binary("logaddexp", np.logaddexp, "f", number=None)
binary("logaddexp2", np.logaddexp2, "f", number=None, nonfinite=False)
binary("ldexp", lambda a, b: a * np.exp2(b), "fi", number=None)
binary("xlogy special.xlogy", lambda a, b: a * np.log(b), "f", lo=0.2, hi=3)
op("special.xlog1py", lambda a, b: a * np.log1p(b), lambda d: [S(d(3, 4), d(4, lo=-0.5, hi=3)), S(d(3), 1.5), S(0.0, d(3, lo=1))])
op("special.zeta", R.zeta, lambda d: [S(d(5, lo=1.5, hi=5), d(5, lo=0.5, hi=4)), S(3.0, d(4, lo=1, hi=4)), S(d(4, lo=2, hi=4), 2.0)], grad=False, tol=4)
op("igamma special.gammainc", R.igamma, lambda d: [S(d(6, lo=0.5, hi=8), d(6, lo=0.1, hi=9))], fixed=(0,), tol=8)
op("igammac special.gammaincc", lambda a, x: 1 - R.igamma(a, x), lambda d: [S(d(6, lo=0.5, hi=8), d(6, lo=0.1, hi=9))], fixed=(0,), tol=8)
binary("maximum", np.maximum, "fib", number=None)
binary("minimum", np.minimum, "fib", number=None)
binary("fmax", np.fmax, "fib", number=None)
binary("fmin", np.fmin, "fib", number=None)
binary("copysign", np.copysign, "fi", nonzero=True, fixed=(1,), nonfinite=False)
binary("nextafter", np.nextafter, "f", number=None, grad=False, nonfinite=False, native=True, tol=0)
binary("heaviside", np.heaviside, "f", number=None, grad=False, nonfinite=False)
binary("gcd", np.gcd, "i", number=None, grad=False)
binary("lcm", np.lcm, "i", number=None, grad=False)
for _names, _f in {"eq": np.equal, "ne not_equal": np.not_equal, "lt less": np.less, "le less_equal": np.less_equal,
                   "gt greater": np.greater, "ge greater_equal": np.greater_equal}.items():
    binary(_names, _f, "fib", grad=False)
for _name in ("and", "or", "xor"):
    binary("logical_" + _name, getattr(np, "logical_" + _name), "fib", number=None, grad=False)
    binary("bitwise_" + _name, getattr(np, "bitwise_" + _name), "ib", grad=False)
for _name, _f in (("left", np.left_shift), ("right", np.right_shift)):
    binary(f"bitwise_{_name}_shift", _f, "i", lo=1, hi=6, grad=False)
op("clamp clip", lambda x, min=None, max=None: np.clip(x, min, max), lambda d: [S(d(3, 4), -1, 1), S(d(3, 4), min=0), S(d(3, 4), max=1),
   S(d(3, 4), d(4, lo=-2, hi=-1), d(4, lo=1, hi=2)), S(d(2, 3), None, d(3))], "fi")
op("clamp_min", np.maximum, lambda d: [S(d(3, 4), 0), S(d(3, 4), d(4))], "fi")
op("clamp_max", np.minimum, lambda d: [S(d(3, 4), 0), S(d(3, 4), d(4))], "fi")
op("addcmul", lambda x, a, b, *, value=1: x + value * a * b, lambda d: [S(d(3, 4), d(3, 4), d(3, 4)), S(d(3, 4), d(3, 1), d(4), value=3)], "fi")
op("addcdiv", lambda x, a, b, *, value=1: x + value * a / b,
   lambda d: [S(d(3, 4), d(3, 4), d(3, 4, lo=1, hi=3)), S(d(3, 4), d(3, 1), d(4, lo=1, hi=3), value=0.5)])
op("lerp", lambda a, b, w: a + w * (b - a), lambda d: [S(d(3, 4), d(3, 4), 0.3), S(d(3, 4), d(4), 0.8), S(d(3, 4), d(4), d(3, 4, lo=0, hi=1))])
op("where", np.where, lambda d: [S(d.mask(3, 4), d(3, 4), d(3, 4)), S(d.mask(3, 1), d(4), d(1)), S(d.mask(4), d(4), d())], "fib")
op("isclose", lambda a, b, rtol=1e-5, atol=1e-8, equal_nan=False: np.isclose(a, b, rtol, atol, equal_nan),
   lambda d: [S(x := d(3, 4), x + np.where(d.mask(3, 4), 0, 1)), S(np.array([nan, 1.0, inf]), np.array([nan, 1.0, inf]), equal_nan=True)], "fi", grad=False)
op("allclose", lambda a, b, rtol=1e-5, atol=1e-8, equal_nan=False: np.allclose(a, b, rtol, atol, equal_nan),
   lambda d: [S(x := d(3, 4), x + 0), S(x, x + 1), S(x, x + 0.01, atol=0.1)], grad=False, spread=False)
op("equal", np.array_equal, lambda d: [S(x := d(3, 4), x + 0), S(x, x[:2]), S(x, 1 - x)], "fi", grad=False, spread=False)
op("dist", lambda a, b, p=2: R.vector_norm(a - b, p), lambda d: [S(d(3, 4), d(3, 4)), S(d(3, 4), d(4), 1), S(d(5), d(5), inf)])
op("isin", np.isin, lambda d: [S(d(3, 4), np.array([1, 3])), S(d(3), d(2, 2))], "i", grad=False)
