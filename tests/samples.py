"""One registry of samples for every op: how to call it, the NumPy formula it must agree with, what it takes.

`OPS[name]` holds one `Op`. A name is a path from the package: `add`, `linalg.inv`, `nn.functional.gelu`,
`Tensor.unfold`. test_ops.py and test_grads.py run the whole table.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

import reference as R

inf, nan = math.inf, math.nan
words = str.split


class Number(np.ndarray):
    """An operand, whose dtype a test may change, as opposed to an index or a mask."""


class Draw:
    """Draws arguments. `d(2, 3)` is an array of the kind under test: float64, int64 or bool."""

    def __init__(self, kind="f", seed=0):
        self.kind, self.rng = kind, np.random.default_rng(seed)

    def __call__(self, *shape, lo=-2.0, hi=2.0, nonzero=False):
        if self.kind == "b":
            x = self.rng.random(shape) < 0.5
        elif self.kind == "i":
            lo, hi = (-5, 5) if (lo, hi) == (-2.0, 2.0) else (math.ceil(lo), math.floor(hi))
            x = self.rng.integers(lo, hi + 1, shape)
            x = np.where(x == 0, 1, x) if nonzero else x
        else:
            x = self.floats(*shape, lo=lo, hi=hi)
        return np.asarray(x).view(Number)

    def floats(self, *shape, lo=-2.0, hi=2.0):
        return np.asarray(self.rng.uniform(lo, hi, shape))

    def distinct(self, *shape):
        """Numbers far enough apart for finite differences."""
        if self.kind == "b":
            return self(*shape)
        n = math.prod(shape)
        x = self.rng.permutation(n).reshape(shape)
        return np.asarray(x - n // 2 if self.kind == "i" else x * 0.37 - 0.17 * n).view(Number)

    def index(self, n, *shape):
        return np.asarray(self.rng.integers(0, n, shape))

    def mask(self, *shape):
        return np.asarray(self.rng.random(shape) < 0.5)

    def positive_definite(self, *shape):
        a = self.floats(*shape)
        return a @ np.swapaxes(a, -1, -2) + shape[-1] * np.eye(shape[-1])

    def regular(self, *shape):
        """Well-conditioned square matrices."""
        return self.floats(*shape, lo=-1, hi=1) + 2 * np.eye(shape[-1])

    def log_probs(self, *shape):
        return R.log_softmax(self.floats(*shape), -1)


@dataclass
class Op:
    name: str
    ref: Any  # NumPy function of the same arguments; None: only gradients and consistency are checked
    make: Any  # Draw -> list of (args, kwargs)
    kinds: str = "f"  # f floats, i integers, b bool; c: made from numbers alone
    grad: bool = True
    fixed: tuple = ()  # positions and keywords of float arguments that have no gradient
    tol: float = 1.0  # multiplies the tolerance of values
    spread: bool = True  # values also hold for operands expanded along a dim
    nonfinite: bool = False  # the formula also covers NaN and infinities
    call: Any = None  # instead of the op itself: f(package, *args), for results that are unique up to a choice
    second: bool = True  # has a second derivative
    layouts: bool = True  # does not depend on how operands lie in memory
    native: bool = False  # the formula is evaluated in the dtype under test
    float_dtype: bool = True  # results in the dtype of the operands

    def samples(self, kind="f"):
        return self.make(Draw(kind, seed=sum(map(ord, self.name))))


OPS: dict[str, Op] = {}


def S(*args, **kwargs):
    return args, kwargs


def op(names, ref, make, kinds="f", **kwargs):
    for name in names.split():
        assert name not in OPS, name
        OPS[name] = Op(name, ref, make, kinds, **kwargs)


def F(names):
    """Names in nn.functional."""
    return " ".join("nn.functional." + n for n in names.split())


def special(names):
    return " ".join("special." + n for n in names.split())


def linalg(names):
    return " ".join("linalg." + n for n in names.split())


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

# Reductions and scans


def reduction(names, ref, kinds="fib", several=True, **kwargs):
    def make(d):
        x = d.distinct if "x" in kinds else d
        out = [S(x(3, 4)), S(x(3, 4), 0), S(x(2, 3, 4), -1, keepdim=True), S(x()), S(x(2, 3, 4), dim=1)]
        return out + [S(x(2, 3, 4), (0, 2)), S(x(2, 3, 4), (0, -1), keepdim=True)] if several else out

    op(names, ref, make, kinds.replace("x", ""), **kwargs)


reduction("sum", R.over(np.sum))
reduction("mean", R.over(np.mean), "f")
reduction("nansum", R.over(np.nansum), "fi")
reduction("nanmean", R.over(np.nanmean), "f")
reduction("prod", R.over(np.prod), "fib", several=False)
reduction("amax", R.over(np.max), "fibx")
reduction("amin", R.over(np.min), "fibx")
reduction("all", R.over(np.all), "fib", grad=False)
reduction("any", R.over(np.any), "fib", grad=False)
reduction("argmax", R.flat_if_none(np.argmax), "fix", several=False, grad=False)
reduction("argmin", R.flat_if_none(np.argmin), "fix", several=False, grad=False)
op("count_nonzero", R.over(np.count_nonzero), lambda d: [S(d(3, 4)), S(d(3, 4), 0), S(d(2, 3, 4), (0, 1))], "fib", grad=False)
op("logsumexp special.logsumexp", R.over(R.logsumexp), lambda d: [S(d(3, 4), 0), S(d(2, 3, 4), (0, 2), keepdim=True), S(d(3), -1)])
op("max", lambda x, *a, **k: np.maximum(x, a[0]) if a and np.ndim(a[0]) else R.extreme(np.max, np.argmax)(x, *a, **k) if a or k else np.max(x),
   lambda d: [S(d.distinct(3, 4)), S(d.distinct(3, 4), 1), S(d.distinct(2, 3, 4), 0, keepdim=True), S(d(3, 4), d(4))], "fi", spread=False)
op("min", lambda x, *a, **k: np.minimum(x, a[0]) if a and np.ndim(a[0]) else R.extreme(np.min, np.argmin)(x, *a, **k) if a or k else np.min(x),
   lambda d: [S(d.distinct(3, 4)), S(d.distinct(3, 4), 1), S(d.distinct(2, 3, 4), 0, keepdim=True), S(d(3, 4), d(4))], "fi", spread=False)
op("aminmax", lambda x, *, dim=None, keepdim=False: (np.min(x, axis=dim, keepdims=keepdim), np.max(x, axis=dim, keepdims=keepdim)),
   lambda d: [S(d.distinct(3, 4)), S(d.distinct(3, 4), dim=1, keepdim=True)], "fi")
op("var", R.var, lambda d: [S(d(3, 4)), S(d(3, 4), 0), S(d(2, 3, 4), (0, 2), keepdim=True), S(d(3, 4), 1, correction=0), S(d(3, 4), 1, unbiased=False)])
op("std", lambda *a, **k: np.sqrt(R.var(*a, **k)),
   lambda d: [S(d(3, 4)), S(d(3, 4), 0), S(d(2, 3, 4), (0, 2), keepdim=True), S(d(3, 4), 1, correction=0), S(d(3, 4), 1, unbiased=False)])
op("var_mean", lambda x, dim=None, *, correction=1, keepdim=False: (R.var(x, dim, correction=correction, keepdim=keepdim), np.mean(x, dim, keepdims=keepdim)),
   lambda d: [S(d(3, 4)), S(d(3, 4), 0, correction=0, keepdim=True)])
op("std_mean", lambda x, dim=None, *, correction=1, keepdim=False: (np.sqrt(R.var(x, dim, correction=correction, keepdim=keepdim)), np.mean(x, dim, keepdims=keepdim)),
   lambda d: [S(d(3, 4)), S(d(3, 4), 0, correction=0, keepdim=True)])
op("norm", lambda x, p=2, dim=None, keepdim=False: R.vector_norm(x, 2 if p == "fro" else p, dim, keepdim),
   lambda d: [S(d(3, 4)), S(d(3, 4), 1, 0), S(d(2, 3, 4), 3, (0, 1), True), S(d(5), inf), S(d(3, 4), "fro")])
op("median", lambda x, *a, **k: R.ordered(lambda n: (n - 1) // 2)(x, **({"dim": a[0]} if a else {}), **k) if a or k else np.sort(x.ravel())[(x.size - 1) // 2],
   lambda d: [S(d.distinct(3, 4)), S(d.distinct(3, 5), 1), S(d.distinct(4, 3), 0, keepdim=True)], "fi", spread=False)
op("nanmedian", lambda x, *a, **k: OPS["median"].ref(x, *a, **k), lambda d: [S(d.distinct(3, 4)), S(d.distinct(3, 5), 1)], "fi", spread=False)
op("mode", None, lambda d: [S(d.distinct(3, 4)), S(d.distinct(3, 4), 0, keepdim=True)], "f", spread=False)
op("kthvalue", R.ordered(lambda n, k: k - 1), lambda d: [S(d.distinct(3, 5), 2), S(d.distinct(4, 3), 1, dim=0, keepdim=True)], "fi", spread=False)
op("quantile", lambda x, q, dim=None, keepdim=False, interpolation="linear": np.quantile(x, q, axis=dim, keepdims=keepdim, method=interpolation),
   lambda d: [S(d.distinct(3, 4), 0.3), S(d.distinct(3, 5), 0.6, 1), S(d.distinct(5), 0.7, interpolation="lower"), S(d.distinct(3, 4), 0.4, dim=0, keepdim=True)], tol=2)
op("nanquantile", lambda x, q, dim=None: np.nanquantile(x, q, axis=dim), lambda d: [S(d.distinct(3, 4), 0.3), S(d.distinct(3, 5), 0.6, 1)], tol=2)
op("cumsum", lambda x, dim, dtype=None: np.cumsum(x, dim), lambda d: [S(d(3, 4), 0), S(d(2, 3, 4), -1), S(d(2, 19), 1), S(d(0, 3), 0)], "fib")
op("cumprod", lambda x, dim, dtype=None: np.cumprod(x, dim), lambda d: [S(d(3, 4), 0), S(d(2, 3, 4), -1)], "fib")
op("logcumsumexp", lambda x, dim: np.logaddexp.accumulate(x, dim), lambda d: [S(d(3, 4), 0), S(d(2, 3, 4), -1)])
op("cummax", R.running(np.greater_equal), lambda d: [S(d.distinct(3, 4), 0), S(d.distinct(2, 3, 4), -1)], "fi", spread=False)
op("cummin", R.running(np.less_equal), lambda d: [S(d.distinct(3, 4), 0), S(d.distinct(2, 3, 4), -1)], "fi", spread=False)
op("diff", lambda x, n=1, dim=-1, prepend=None, append=None: np.diff(x, n, dim, **{k: v for k, v in {"prepend": prepend, "append": append}.items() if v is not None}),
   lambda d: [S(d(3, 4)), S(d(5, 2), 2, 0), S(d(2, 3), prepend=d(2, 1)), S(d(2, 3), 1, 1, None, d(2, 2))], "fi")
op("trapezoid trapz", lambda y, x=None, *, dx=1, dim=-1: np.trapezoid(y, x, dx, dim), lambda d: [S(d(3, 4)), S(d(3, 4), dim=0), S(d(3, 4), dx=2.0), S(d(3, 4), d(4))])
op("cumulative_trapezoid", lambda y, x=None, *, dx=1, dim=-1: np.cumsum((np.take(y, range(1, y.shape[dim]), dim) + np.take(y, range(y.shape[dim] - 1), dim)) / 2 * (dx if x is None else np.diff(x)), dim),
   lambda d: [S(d(3, 4)), S(d(3, 4), dim=0), S(d(3, 4), dx=2.0), S(d(3, 4), d(4))])
op("gradient", lambda x, spacing=1.0, dim=None, edge_order=1: (g,) if isinstance(g := np.gradient(x, spacing, axis=dim, edge_order=edge_order), np.ndarray) else tuple(g),
   lambda d: [S(d(5)), S(d(4, 5)), S(d(4, 5), spacing=2.0, dim=1), S(d(6), edge_order=2)])
op("bincount", lambda x, w=None, minlength=0: np.bincount(x, w, minlength),
   lambda d: [S(d.index(6, 9)), S(d.index(4, 5), None, 8), S(d.index(4, 5), np.arange(5.0))], "f", grad=False, spread=False, float_dtype=False)
op("histc", lambda x, bins=100, min=0, max=0: np.histogram(x, bins, (min, max) if (min, max) != (0, 0) else None)[0].astype("f8"),
   lambda d: [S(d(20), 5, -2, 2), S(d(20), 4)], grad=False, spread=False)
op("histogram", lambda x, bins, *, range=None: tuple(np.asarray(v, "f8") for v in np.histogram(x, bins, range)), lambda d: [S(d(20), 5, range=(-2.0, 2.0))], grad=False, spread=False)
op("trace", np.trace, lambda d: [S(d(3, 3)), S(d(2, 4))], "fi")
op("cov", lambda x, *, correction=1: np.cov(x, ddof=correction), lambda d: [S(d(3, 5)), S(d(4)), S(d(3, 5), correction=0)])
op("corrcoef", np.corrcoef, lambda d: [S(d(3, 5))], tol=4)
op("is_nonzero", lambda x: bool(x), lambda d: [S(d(1, lo=1, hi=2)), S(np.array(0.0))], grad=False, spread=False)

# Order and search

op("sort", lambda x, dim=-1, descending=False: (np.take_along_axis(x, i := np.argsort(-x if descending else x, dim, kind="stable"), dim), i),
   lambda d: [S(d.distinct(3, 4)), S(d.distinct(3, 4), 0, True), S(d.distinct(2, 3, 2), 1)], "fi", spread=False)
op("argsort", lambda x, dim=-1, descending=False: np.argsort(-x if descending else x, dim, kind="stable"),
   lambda d: [S(d.distinct(3, 4)), S(d.distinct(3, 4), 0, True)], "fi", grad=False, spread=False)
op("msort", lambda x: np.sort(x, 0), lambda d: [S(d.distinct(5)), S(d.distinct(3, 4))], "fi")
op("topk", lambda x, k, dim=-1, largest=True, sorted=True: (np.take_along_axis(x, i := np.take(np.argsort(-x if largest else x, dim), range(k), dim), dim), i),
   lambda d: [S(d.distinct(3, 5), 2), S(d.distinct(4, 3), 3, 0, False)], "fi", spread=False)
op("unique", lambda x: np.unique(x), lambda d: [S(np.array([3, 1, 3, 2, 1]))], "i", grad=False, spread=False)
op("unique_consecutive", lambda x: np.array([k for k, _ in itertools.groupby(x.tolist())], x.dtype), lambda d: [S(np.array([1, 1, 2, 2, 2, 1]))], "i", grad=False, spread=False)
op("searchsorted", lambda s, v, *, right=False: np.searchsorted(s, v, "right" if right else "left"),
   lambda d: [S(np.array([1, 3, 5, 7, 9]), d(2, 3, lo=0, hi=10)), S(np.array([1, 3, 3, 9]), np.array([3, 9, 0]), right=True)], "i", grad=False, spread=False)
op("bucketize", lambda v, b, *, right=False: np.searchsorted(b, v, "right" if right else "left"), lambda d: [S(d(2, 3, lo=0, hi=10), np.array([1, 3, 5]))], "i", grad=False, spread=False)
op("nonzero argwhere", np.argwhere, lambda d: [S(d.mask(3, 4)), S(np.array([0.0, 2.0])), S(d.mask(0))], grad=False, spread=False)
op("nonzero_static", lambda x, *, size, fill_value=-1: np.concatenate([np.argwhere(x), np.full((size, x.ndim), fill_value)])[:size],
   lambda d: [S(np.array([1.0, 0, 2, 0]), size=3), S(d.mask(3, 4), size=2)], grad=False, spread=False)

# Shapes, joining, views


def shape(names, ref, make, kinds="fib", **kwargs):
    """Ops that move elements: every kind."""
    op(names, ref, make, kinds, **kwargs)


for _name in ("reshape", "Tensor.view"):
    shape(_name, lambda x, s: x.reshape(s), lambda d: [S(d(3, 4), (2, 6)), S(d(3, 4), (-1,)), S(d(), (1, 1)), S(d(0, 3), (3, 0))], layouts=_name == "reshape")
shape("Tensor.reshape_as", lambda x, o: x.reshape(o.shape), lambda d: [S(d(3, 4), d(6, 2))], fixed=(1,))
shape("Tensor.view_as", lambda x, o: x.reshape(o.shape), lambda d: [S(d(3, 4), d(6, 2))], fixed=(1,), layouts=False)
shape("permute", lambda x, s: x.transpose(s), lambda d: [S(d(2, 3, 4), (2, 0, 1)), S(d(2, 3), (-1, 0))])
shape("transpose swapaxes swapdims", np.swapaxes, lambda d: [S(d(2, 3, 4), 0, 2), S(d(3, 4), -1, 0)])
shape("t", np.transpose, lambda d: [S(d(3, 4)), S(d(3)), S(d())])
shape("adjoint", lambda x: np.swapaxes(x, -1, -2), lambda d: [S(d(2, 3, 4))])
shape("movedim moveaxis", np.moveaxis, lambda d: [S(d(2, 3, 4), 0, 2), S(d(2, 3, 4), (0, 1), (1, 2))])
shape("squeeze", lambda x, dim=None: x.squeeze() if dim is None else x.squeeze(tuple(i for i in ((dim,) if isinstance(dim, int) else dim) if x.shape[i] == 1)),
      lambda d: [S(d(1, 3, 1)), S(d(1, 3, 1), 0), S(d(1, 3), 1), S(d(1, 3, 1), (0, 2))])
shape("unsqueeze", np.expand_dims, lambda d: [S(d(3, 4), 0), S(d(3, 4), -1), S(d(), 0)])
shape("flatten", lambda x, start_dim=0, end_dim=-1: x.reshape(*x.shape[:start_dim], -1, *x.shape[x.ndim + end_dim + 1 :]), lambda d: [S(d(2, 3, 4)), S(d(2, 3, 4), 1), S(d(2, 3, 4), 0, -2), S(d())])
shape("unflatten", lambda x, dim, s: x.reshape(*x.shape[:dim], *s), lambda d: [S(d(3, 4), 1, (2, 2)), S(d(6), 0, (-1, 3))])
shape("ravel", np.ravel, lambda d: [S(d(2, 3)), S(d())])
shape("broadcast_to Tensor.expand", np.broadcast_to, lambda d: [S(d(3, 1), (2, 3, 4)), S(d(), (2,))])
shape("Tensor.expand_as", lambda x, o: np.broadcast_to(x, o.shape), lambda d: [S(d(3, 1), d(2, 3, 4))], fixed=(1,))
shape("narrow", lambda x, dim, start, n: np.take(x, range(start, start + n), dim), lambda d: [S(d(3, 5), 1, 1, 3), S(d(4, 2), 0, 0, 2)])
shape("select", lambda x, dim, i: np.take(x, i, dim), lambda d: [S(d(3, 5), 1, 2), S(d(4, 2), 0, -1)])
shape("diagonal", lambda x, offset=0, dim1=0, dim2=1: np.diagonal(x, offset, dim1, dim2), lambda d: [S(d(3, 4)), S(d(3, 4), 1), S(d(2, 3, 4), -1, 1, 2)])
shape("linalg.diagonal", lambda x, *, offset=0: np.diagonal(x, offset, -2, -1), lambda d: [S(d(2, 3, 4)), S(d(3, 4), offset=1)], "f")
shape("diag", np.diag, lambda d: [S(d(3)), S(d(3), 1), S(d(3, 4), -1)], "fi")
shape("diagflat", np.diagflat, lambda d: [S(d(2, 2)), S(d(3), -1)], "fi")
shape("diag_embed", lambda x: x[..., None] * np.eye(x.shape[-1], dtype=x.dtype), lambda d: [S(d(2, 3))], "fi")
shape("Tensor.unfold", R.unfold, lambda d: [S(d(7), 0, 3, 2), S(d(2, 5), 1, 2, 1)])
shape("as_strided", lambda x, size, stride, offset=0: np.lib.stride_tricks.as_strided(x.ravel()[offset:], size, [s * x.itemsize for s in stride]).copy(),
      lambda d: [S(d(12), (2, 3), (1, 4)), S(d(12), (2, 2), (3, 1), 2)], layouts=False)
shape("chunk", lambda x, n, dim=0: np.split(x, range(-(-x.shape[dim] // n), x.shape[dim], -(-x.shape[dim] // n)), dim), lambda d: [S(d(5, 2), 2), S(d(2, 6), 3, 1)])
shape("split", lambda x, s, dim=0: np.split(x, range(s, x.shape[dim], s) if isinstance(s, int) else np.cumsum(s)[:-1], dim), lambda d: [S(d(5, 2), 2), S(d(2, 6), [1, 2, 3], 1)])
shape("split_with_sizes", lambda x, s, dim=0: np.split(x, np.cumsum(s)[:-1], dim), lambda d: [S(d(2, 6), [1, 2, 3], 1)])
shape("tensor_split", lambda x, s, dim=0: np.array_split(x, s, dim), lambda d: [S(d(5, 2), 3), S(d(2, 6), (1, 4), 1)])
shape("hsplit", np.hsplit, lambda d: [S(d(2, 6), 3)])
shape("vsplit", np.vsplit, lambda d: [S(d(4, 2), 2)])
shape("dsplit", np.dsplit, lambda d: [S(d(2, 2, 4), 2)])
shape("unbind", lambda x, dim=0: tuple(np.moveaxis(x, dim, 0)), lambda d: [S(d(3, 2)), S(d(3, 2), 1)])
shape("cat concat concatenate", np.concatenate, lambda d: [S([d(2, 3), d(1, 3)]), S([d(2, 3), d(2, 1), d(2, 0)], 1)])
shape("stack", np.stack, lambda d: [S([d(2, 3), d(2, 3)]), S([d(2), d(2), d(2)], -1)])
for _name in ("hstack", "vstack", "dstack", "column_stack"):
    shape(_name, getattr(np, _name), lambda d: [S([d(2, 3), d(2, 3)])])
shape("row_stack", np.vstack, lambda d: [S([d(2, 3), d(2, 3)])])
for _name in ("atleast_1d", "atleast_2d"):
    shape(_name, getattr(np, _name), lambda d: [S(d()), S(d(3)), S(d(2, 3))])
shape("atleast_3d", np.atleast_3d, lambda d: [S(d()), S(d(3)), S(d(2, 3))])
shape("flip", np.flip, lambda d: [S(d(2, 3), (0, 1)), S(d(2, 3, 2), (1,))])
shape("fliplr", np.fliplr, lambda d: [S(d(2, 3))])
shape("flipud", np.flipud, lambda d: [S(d(2, 3)), S(d(4))])
shape("roll", lambda x, s, dims=None: np.roll(x, s, dims), lambda d: [S(d(2, 3), 2), S(d(4, 3), 1, 0), S(d(4, 3), (1, -1), (0, 1))])
shape("rot90", lambda x, k=1, dims=(0, 1): np.rot90(x, k, dims), lambda d: [S(d(2, 3)), S(d(2, 3), 2), S(d(2, 3, 2), -1, (1, 2))])
shape("tile", np.tile, lambda d: [S(d(2, 3), (2, 1)), S(d(3), (2, 2))])
shape("Tensor.repeat", np.tile, lambda d: [S(d(2, 3), (2, 1)), S(d(3), (2, 2))])
shape("repeat_interleave", lambda x, r, dim=None: np.repeat(x, r, dim), lambda d: [S(d(2, 3), 2), S(d(2, 3), 2, 1), S(d(3, 2), np.array([0, 2, 1]), 0)])
shape("tril", np.tril, lambda d: [S(d(3, 4)), S(d(2, 4, 3), 1)])
shape("triu", np.triu, lambda d: [S(d(3, 4)), S(d(2, 4, 3), -1)])
op("tril_indices", lambda r, c, offset=0: np.stack(np.tril_indices(r, offset, c)), lambda d: [S(3, 4), S(3, 3, -1)], grad=False, spread=False)
op("triu_indices", lambda r, c, offset=0: np.stack(np.triu_indices(r, offset, c)), lambda d: [S(3, 4), S(3, 3, 1)], grad=False, spread=False)
op("meshgrid", lambda a, b, indexing="ij": np.meshgrid(a, b, indexing=indexing), lambda d: [S(d(2), d(3), indexing="ij"), S(d(2), d(3), indexing="xy")], "fi")
op("broadcast_tensors", np.broadcast_arrays, lambda d: [S(d(2, 1), d(3))], "fib")
op("block_diag", None, lambda d: [S(d(2, 3), d(1, 2))])
op("cartesian_prod", lambda *x: np.array(list(itertools.product(*x))), lambda d: [S(d(2), d(3))], "fi")
op("combinations", lambda x, r=2: np.array(list(itertools.combinations(x, r))), lambda d: [S(d(4)), S(d(4), 3)], "fi")
op("vander", lambda x, N=None, increasing=False: np.vander(x, N, increasing), lambda d: [S(d(3)), S(d(3), 4), S(d(3), 3, True)], "fi")
op("linalg.vander", lambda x, *, N=None: np.vander(x, N, True), lambda d: [S(d(3)), S(d(3), N=4)], "fi")
op("Tensor.sum_to_size", lambda x, *s: x.sum(0), lambda d: [S(d(2, 3), 3)])
op("clone", np.copy, lambda d: [S(d(3, 4)), S(d())], "fib")
op("Tensor.contiguous", np.copy, lambda d: [S(d(3, 4))], "fib")
op("real", np.real, lambda d: [S(d(3))])
op("conj conj_physical resolve_conj resolve_neg", np.conj, lambda d: [S(d(3))])
op("Tensor.type_as", lambda x, o: x, lambda d: [S(d(3), d(2))], fixed=(1,), spread=False)
op(F("pad"), R.pad, lambda d: [S(d(2, 3), (1, 2)), S(d(2, 3, 4), (1, -1, 2, 0), value=3.0), *[S(d(2, 3, 5), (2, 1), m) for m in ("reflect", "replicate", "circular")],
   *[S(d(1, 2, 4, 4), (1, 2, 2, 1), m) for m in ("reflect", "replicate", "circular")]])
op("constant_pad_nd", lambda x, p, v=0: R.pad(x, p, value=v), lambda d: [S(d(2, 3), (1, 2), 2)], "fi")
op(F("one_hot"), lambda x, n=-1: np.eye(n if n > 0 else x.max() + 1, dtype="i8")[x], lambda d: [S(np.array([0, 2, 1])), S(np.array([[0, 2]]), 5)], "i", grad=False)

# Indexing

replace = lambda old, new: new
op("gather", lambda x, dim, i: np.take_along_axis(x, i, dim), lambda d: [S(d(3, 4), 0, d.index(3, 2, 4)), S(d(3, 4), 1, d.index(4, 3, 2)), S(d(5), 0, d.index(5, 7))], "fib")
op("take_along_dim", lambda x, i, dim=None: np.take_along_axis(x, i, dim), lambda d: [S(d(3, 4), d.index(4, 3, 2), 1)], "fi")
op("take", np.take, lambda d: [S(d(3, 4), d.index(12, 5)), S(d(3, 4), np.array([[0, 11], [-1, 3]]))], "fib")
op("index_select", lambda x, dim, i: np.take(x, i, dim), lambda d: [S(d(3, 4), 0, d.index(3, 5)), S(d(3, 4), 1, d.index(4, 2))], "fib")
op("masked_select", lambda x, m: x[np.broadcast_to(m, x.shape)], lambda d: [S(d(3, 4), d.mask(3, 4)), S(d(3, 4), d.mask(4))], "fib")
op("masked_fill", lambda x, m, v: np.where(m, np.asarray(v, x.dtype), x), lambda d: [S(d(3, 4), d.mask(3, 4), 1), S(d(3, 4), d.mask(4), 0), S(d(3, 4), d.mask(4), d())], "fib")
op("masked_scatter", R.masked_scatter, lambda d: [S(d(3, 4), d.mask(3, 4), d(12))], "fi")
op("scatter", R.scatter(replace), lambda d: [S(d(3, 5), 1, np.array([[0, 2, 1], [4, 3, 0]]), d(2, 3)), S(d(3, 5), 0, np.array([[0, 2, 1, 0, 2]]), 1)], "fi")
op("scatter_add", R.scatter(np.add), lambda d: [S(d(3, 5), 0, d.index(3, 2, 5), d(2, 5)), S(d(4), 0, np.array([1, 1, 1]), d(3))], "fi")
_REDUCE = {"sum": np.add, "prod": np.multiply, "amax": np.maximum, "amin": np.minimum}
op("scatter_reduce", lambda x, dim, i, src, reduce: R.scatter(_REDUCE[reduce])(x, dim, i, src),
   lambda d: [S(d.distinct(3, 5), 0, d.index(3, 2, 5), d(2, 5), r) for r in _REDUCE], "fi", second=False)
op("index_add", lambda x, dim, i, src, *, alpha=1: R.index_into(lambda a, b: a + alpha * b)(x, dim, i, src), lambda d: [S(d(3, 4), 0, np.array([0, 2, 0]), d(3, 4)), S(d(3, 4), 1, np.array([1]), d(3, 1), alpha=2)], "fi")
op("index_copy", R.index_into(replace), lambda d: [S(d(3, 4), 0, np.array([2, 0]), d(2, 4))], "fi")
op("index_fill", R.index_into(replace), lambda d: [S(d(3, 4), 1, np.array([2, 0]), 1)], "fi")
op("index_reduce", lambda x, dim, i, src, reduce: R.index_into(_REDUCE[reduce])(x, dim, i, src), lambda d: [S(d.distinct(3, 4), 0, np.array([2, 0, 2]), d(3, 4), r) for r in ("prod", "amax", "amin")], "f", second=False)


def _put(x, index, values, accumulate=False):
    out = x.copy()
    (np.add.at(out, tuple(index), values) if accumulate else out.__setitem__(tuple(index), values))
    return out


op("index_put", _put, lambda d: [S(d(3, 4), (np.array([0, 2]), np.array([1, 3])), d(2)), S(d(5), (np.array([0, 2, 0]),), d(3), True)], "fi")
op("put", lambda x, i, v, accumulate=False: _put(x.ravel(), (i,), v, accumulate).reshape(x.shape), lambda d: [S(d(3, 4), np.array([1, 9]), d(2)), S(d(3, 4), np.array([1, 1]), d(2), True)], "fi")
op("select_scatter", lambda x, s, dim, i: R.index_into(replace)(x, dim, [i], np.expand_dims(s, dim)), lambda d: [S(d(3, 4), d(4), 0, 1), S(d(3, 4), d(3), 1, 2)], "fi")
op("slice_scatter", lambda x, s, dim, start, end, step=1: R.index_into(replace)(x, dim, range(start, end, step), s), lambda d: [S(d(5, 3), d(2, 3), 0, 1, 5, 2)], "fi")
op("diagonal_scatter", lambda x, s, offset=0: _put(x, (np.arange(len(s)), np.arange(len(s)) + offset), s), lambda d: [S(d(3, 3), d(3)), S(d(3, 4), d(3), 1)], "fi")
op("unravel_index", lambda i, s: np.unravel_index(i, s), lambda d: [S(np.array([3, 11]), (3, 4))], "i", grad=False, spread=False)
op("fill", lambda x, v: np.full_like(x, v), lambda d: [S(d(3, 2), 2)], "fi")

# Matrix products

op("matmul linalg.matmul", np.matmul, lambda d: [S(d(3), d(3)), S(d(2, 3), d(3)), S(d(3), d(3, 2)), S(d(2, 3), d(3, 4)), S(d(2, 1, 2, 3), d(4, 3, 2)), S(d(0, 3), d(3, 2)), S(d(2, 0), d(0, 2))], "fi", tol=4)
op("mm", np.matmul, lambda d: [S(d(2, 3), d(3, 4)), S(d(17, 9), d(9, 21))], "fi", tol=4)
op("bmm", np.matmul, lambda d: [S(d(2, 2, 3), d(2, 3, 4))], "fi", tol=4)
op("mv", np.matmul, lambda d: [S(d(2, 3), d(3))], "fi", tol=4)
op("dot inner vdot", np.dot, lambda d: [S(d(5), d(5))], "fi", tol=4)
op("linalg.vecdot", lambda a, b, dim=-1: np.sum(a * b, dim), lambda d: [S(d(2, 3), d(3)), S(d(3, 2), d(3, 2), dim=0)], tol=4)
op("outer ger", np.outer, lambda d: [S(d(2), d(3))], "fi")
op("kron", np.kron, lambda d: [S(d(2, 2), d(1, 3))], "fi")
op("_addmm_activation", lambda c, a, b, *, beta=1, alpha=1, use_gelu=False: (lambda x: 0.5 * x * (1 + R.erf(x / math.sqrt(2))) if use_gelu else np.maximum(x, 0))(
    beta * c + alpha * (a @ b)), lambda d: [S(d(4), d(2, 3), d(3, 4)), S(d(4), d(2, 3), d(3, 4), use_gelu=True), S(d(2, 4), d(2, 3), d(3, 4), beta=2),
                                            S(d(33), d(14, 20), d(33, 20).T, use_gelu=True), S(d(3), d(30, 20), d(20, 3), use_gelu=True)], tol=8)
op("addmm", lambda c, a, b, *, beta=1, alpha=1: beta * c + alpha * (a @ b), lambda d: [S(d(2, 4), d(2, 3), d(3, 4)), S(d(4), d(2, 3), d(3, 4), beta=2, alpha=3)], "fi", tol=4)
op("addmv", lambda c, a, b, *, beta=1, alpha=1: beta * c + alpha * (a @ b), lambda d: [S(d(2), d(2, 3), d(3)), S(d(2), d(2, 3), d(3), beta=2, alpha=3)], "fi", tol=4)
op("addr", lambda c, a, b, *, beta=1, alpha=1: beta * c + alpha * np.outer(a, b), lambda d: [S(d(2, 3), d(2), d(3)), S(d(3), d(2), d(3), beta=2, alpha=3)], "fi", tol=4)
op("baddbmm", lambda c, a, b, *, beta=1, alpha=1: beta * c + alpha * (a @ b), lambda d: [S(d(2, 2, 4), d(2, 2, 3), d(2, 3, 4)), S(d(1, 2, 4), d(2, 2, 3), d(2, 3, 4), beta=2, alpha=3)], "fi", tol=4)
op("addbmm", lambda c, a, b, *, beta=1, alpha=1: beta * c + alpha * (a @ b).sum(0, dtype=c.dtype), lambda d: [S(d(2, 4), d(2, 2, 3), d(2, 3, 4)), S(d(2, 4), d(2, 2, 3), d(2, 3, 4), beta=2, alpha=3)], "fi", tol=4)
op("einsum", lambda eq, *x: np.einsum(eq, *x), lambda d: [S("ij,jk->ik", d(2, 3), d(3, 4)), S("ii->i", d(3, 3)), S("bij,bjk,k->b", d(2, 3, 4), d(2, 4, 2), d(2)), S("...i,...i", d(2, 3), d(2, 3)), S("ij->", d(2, 3))], tol=4)
op("tensordot", lambda a, b, dims=2: np.tensordot(a, b, dims), lambda d: [S(d(2, 3, 4), d(3, 4, 2)), S(d(2, 3), d(2, 3), dims=([0, 1], [0, 1])), S(d(2), d(3), dims=0)], tol=4)
op("chain_matmul", lambda *m: np.linalg.multi_dot(m), lambda d: [S(d(2, 3), d(3, 4), d(4, 2))], tol=4)
op("linalg.multi_dot", np.linalg.multi_dot, lambda d: [S([d(2, 3), d(3, 4), d(4, 2)])], tol=4)
op("matrix_power linalg.matrix_power", np.linalg.matrix_power, lambda d: [S(d(3, 3), 3), S(d(2, 2, 2), 2), S(d(3, 3), 0)], tol=8, spread=False)
op("cross", lambda a, b, dim=-1: np.cross(a, b, axis=dim), lambda d: [S(d(2, 3), d(2, 3), dim=1), S(d(3, 2), d(3, 2), dim=0)], "fi")
op("linalg.cross", lambda a, b, *, dim=-1: np.cross(a, b, axis=dim), lambda d: [S(d(2, 3), d(1, 3)), S(d(3, 2), d(3, 2), dim=0)], "f")
op("cdist", R.cdist, lambda d: [S(d(3, 4), d(2, 4)), S(d(2, 3, 4), d(2, 2, 4), 1.0), S(d(3, 2), d(2, 2), inf)], tol=4, spread=False)
op("pdist nn.functional.pdist", lambda x, p=2.0: R.cdist(x, x, p)[np.triu_indices(len(x), 1)], lambda d: [S(d(4, 3)), S(d(4, 3), 1.0)], spread=False, second=False)
op("pairwise_distance nn.functional.pairwise_distance", lambda a, b, p=2.0, eps=1e-6, keepdim=False: R.vector_norm(a - b + eps, p, -1, keepdim),
   lambda d: [S(d(3, 4), d(3, 4)), S(d(3, 4), d(4), 1.0, keepdim=True)], tol=2)
op("cosine_similarity nn.functional.cosine_similarity", R.cosine_similarity, lambda d: [S(d(3, 4), d(3, 4)), S(d(3, 4), d(3, 4), 0)], tol=2)
op(F("linear"), lambda x, w, b=None: x @ w.T + (0 if b is None else b), lambda d: [S(d(2, 3), d(4, 3)), S(d(2, 3), d(4, 3), d(4)), S(d(3), d(4, 3), d(4)), S(d(2, 2, 3), d(4, 3), d(4))], tol=4)
op("bilinear nn.functional.bilinear", lambda a, b, w, c=None: np.einsum("...i,oij,...j->...o", a, w, b) + (0 if c is None else c),
   lambda d: [S(d(2, 3), d(2, 4), d(2, 3, 4)), S(d(2, 3), d(2, 4), d(2, 3, 4), d(2))], tol=4)

# Linear algebra: where results are unique only up to sign, what they rebuild is compared

op(linalg("inv") + " inverse", np.linalg.inv, lambda d: [S(d.regular(3, 3)), S(d.regular(2, 2, 2))], tol=8, spread=False)
op(linalg("det") + " det", np.linalg.det, lambda d: [S(d.regular(3, 3)), S(d.regular(2, 2, 2))], tol=8, spread=False)
op(linalg("slogdet") + " slogdet", lambda a: tuple(np.linalg.slogdet(a)), lambda d: [S(d.regular(3, 3)), S(d.regular(2, 2, 2))], tol=8, spread=False)
op("logdet", lambda a: np.linalg.slogdet(a)[1], lambda d: [S(d.positive_definite(3, 3))], tol=8, spread=False)
op(linalg("solve"), np.linalg.solve, lambda d: [S(d.regular(3, 3), d(3, 2)), S(d.regular(3, 3), d(3)), S(d.regular(2, 3, 3), d(2, 3, 2))], tol=16, spread=False)
op(linalg("cholesky") + " cholesky", lambda a: np.linalg.cholesky((a + np.swapaxes(a, -1, -2)) / 2), lambda d: [S(d.positive_definite(3, 3)), S(d.positive_definite(2, 2, 2))], tol=8, spread=False,
   call=lambda m, a: m.linalg.cholesky((a + a.mT) / 2))
op("cholesky_solve", lambda b, l: np.linalg.solve(l @ l.T, b), lambda d: [S(d(3, 2), np.linalg.cholesky(d.positive_definite(3, 3)))], tol=16, spread=False,
   call=lambda m, b, l: m.cholesky_solve(b, l.tril()))
op("cholesky_inverse", lambda l: np.linalg.inv(l @ l.T), lambda d: [S(np.linalg.cholesky(d.positive_definite(3, 3)))], tol=16, spread=False, call=lambda m, l: m.cholesky_inverse(l.tril()))
op(linalg("solve_triangular"), lambda a, b, *, upper: np.linalg.solve(np.triu(a) if upper else np.tril(a), b), lambda d: [S(d.regular(3, 3), d(3, 2), upper=u) for u in (True, False)], tol=16, spread=False)
op("triangular_solve", lambda b, a: (np.linalg.solve(np.triu(a), b), np.triu(a)), lambda d: [S(d(3, 2), d.regular(3, 3))], tol=16, spread=False, call=lambda m, b, a: (m.triangular_solve(b, a)[0], a.triu()))
op(linalg("qr") + " qr", lambda a: (a, np.eye(min(a.shape))), lambda d: [S(d(4, 3)), S(d.regular(3, 3))], tol=8, spread=False, second=False,
   call=lambda m, a: (m.linalg.qr(a)[0] @ m.linalg.qr(a)[1], m.linalg.qr(a)[0].mT @ m.linalg.qr(a)[0]))
op(linalg("svd") + " svd", lambda a: (a, np.linalg.svd(a, compute_uv=False)), lambda d: [S(d(4, 3)), S(d(2, 2, 3))], tol=16, spread=False, second=False,
   call=lambda m, a: ((u := m.linalg.svd(a, full_matrices=False))[0] @ m.diag_embed(u[1]) @ u[2], u[1]))
op(linalg("svdvals"), lambda a: np.linalg.svd(a, compute_uv=False), lambda d: [S(d(4, 3))], tol=16, spread=False, second=False)
_symmetric = lambda m, a: (a + a.mT) / 2
op(linalg("eigh"), lambda a: ((a + a.T) / 2, np.linalg.eigvalsh((a + a.T) / 2)), lambda d: [S(d(3, 3))], tol=16, spread=False, second=False,
   call=lambda m, a: ((e := m.linalg.eigh(_symmetric(m, a)))[1] @ m.diag(e[0]) @ e[1].mT, e[0]))
op(linalg("eigvalsh"), lambda a: np.linalg.eigvalsh((a + a.T) / 2), lambda d: [S(d(3, 3))], tol=16, spread=False, second=False, call=lambda m, a: m.linalg.eigvalsh(_symmetric(m, a)))
op(linalg("pinv") + " pinverse", np.linalg.pinv, lambda d: [S(d(4, 3)), S(d(2, 3))], tol=16, spread=False, second=False)
op(linalg("lstsq"), lambda a, b: np.linalg.lstsq(a, b, rcond=None)[0], lambda d: [S(d(4, 3), d(4, 2))], tol=16, spread=False, second=False, call=lambda m, a, b: m.linalg.lstsq(a, b).solution)
op(linalg("lu") + " lu_unpack", lambda a: a, lambda d: [S(d.regular(3, 3))], tol=8, spread=False, call=lambda m, a: (p := m.linalg.lu(a))[0] @ p[1] @ p[2])
op(linalg("lu_factor") + " lu", lambda a: np.linalg.det(a), lambda d: [S(d.regular(3, 3))], grad=False, tol=8, spread=False,
   call=lambda m, a: m.linalg.lu_factor(a)[0].diagonal().prod() * (-1) ** int((m.linalg.lu_factor(a)[1] != m.arange(1, 4)).sum()))
op(linalg("lu_solve") + " lu_solve", lambda a, b: np.linalg.solve(a, b), lambda d: [S(d.regular(3, 3), d(3, 2))], tol=16, spread=False, call=lambda m, a, b: m.linalg.lu_solve(*m.linalg.lu_factor(a), b))
op(linalg("cholesky_ex"), lambda a: (np.linalg.cholesky(a), np.array(0)), lambda d: [S(d.positive_definite(3, 3))], grad=False, tol=8, spread=False, call=lambda m, a: (m.linalg.cholesky_ex(a)[0], m.linalg.cholesky_ex(a)[1].long()))
op(linalg("inv_ex"), lambda a: (np.linalg.inv(a), np.array(0)), lambda d: [S(d.regular(3, 3))], grad=False, tol=8, spread=False, call=lambda m, a: (m.linalg.inv_ex(a)[0], m.linalg.inv_ex(a)[1].long()))
op(linalg("solve_ex"), lambda a, b: np.linalg.solve(a, b), lambda d: [S(d.regular(3, 3), d(3, 2))], tol=16, spread=False, call=lambda m, a, b: m.linalg.solve_ex(a, b)[0])
op(linalg("matrix_rank"), np.linalg.matrix_rank, lambda d: [S(d(4, 3)), S(np.ones((3, 3)))], grad=False, spread=False)
op(linalg("cond"), lambda a, p=None: np.linalg.cond(a, p), lambda d: [S(d.regular(3, 3)), S(d.regular(3, 3), 1)], tol=16, spread=False, second=False)
op(linalg("vector_norm"), R.vector_norm, lambda d: [S(d(3, 4)), S(d(3, 4), 1, 0), S(d(2, 3, 4), 3, (0, 1), True), S(d(5), inf), S(d(5), -inf)])
op(linalg("matrix_norm"), lambda a, o="fro", dim=(-2, -1), keepdim=False: np.linalg.norm(a, o, dim, keepdim), lambda d: [S(d(3, 4)), S(d(3, 4), 1), S(d(2, 3, 4), inf, keepdim=True), S(d(3, 4), "nuc"), S(d(3, 4), 2)], tol=8, second=False, spread=False)
op(linalg("norm"), lambda a, o=None, dim=None, keepdim=False: np.linalg.norm(a, o, dim, keepdim), lambda d: [S(d(5)), S(d(3, 4)), S(d(3, 4), 1), S(d(3, 4), 2, 1), S(d(5), inf)], tol=4, second=False)
op(linalg("matrix_exp") + " matrix_exp", R.matrix_exp, lambda d: [S(d(3, 3)), S(d(2, 2, 2))], tol=16, spread=False, second=False)
op(linalg("householder_product") + " orgqr", lambda a: np.linalg.qr(a)[0], lambda d: [S(d(4, 3))], grad=False, tol=8, spread=False, call=lambda m, a: m.linalg.householder_product(*m.geqrf(a)))
op("geqrf", lambda a: np.abs(np.linalg.qr(a)[1]), lambda d: [S(d(4, 3))], grad=False, tol=8, spread=False, call=lambda m, a: m.geqrf(a)[0][:3].triu().abs())
op("ormqr", lambda a, c: np.linalg.qr(a, "complete")[0] @ c, lambda d: [S(d(4, 3), d(4, 2))], grad=False, tol=8, spread=False, call=lambda m, a, c: m.ormqr(*m.geqrf(a), c))
op(linalg("tensorinv"), np.linalg.tensorinv, lambda d: [S(d.regular(6, 6).reshape(2, 3, 6), 2)], tol=16, spread=False)
op(linalg("tensorsolve"), np.linalg.tensorsolve, lambda d: [S(d.regular(6, 6).reshape(2, 3, 6), d(2, 3))], tol=16, spread=False)
op(linalg("eigvals"), lambda a: np.sort(np.linalg.eigvals(a).real), lambda d: [S(np.diag([1.0, 2.0, 4.0]) + 0.1)], grad=False, tol=16, spread=False, call=lambda m, a: m.linalg.eigvals(a).real.sort()[0])
op(linalg("eig"), lambda a: a, lambda d: [S(np.diag([1.0, 2.0, 4.0]) + 0.1)], grad=False, tol=16, spread=False, call=lambda m, a: ((e := m.linalg.eig(a))[1] @ m.diag(e[0]) @ m.linalg.inv(e[1])).real)
op(linalg("ldl_factor"), lambda a: a, lambda d: [S(d.positive_definite(3, 3))], grad=False, tol=16, spread=False, call=lambda m, a: m.linalg.inv(m.linalg.ldl_solve(*m.linalg.ldl_factor(a), m.eye(3, dtype=a.dtype))))
op(linalg("ldl_solve"), np.linalg.solve, lambda d: [S(d.positive_definite(3, 3), d(3, 2))], grad=False, tol=16, spread=False, call=lambda m, a, b: m.linalg.ldl_solve(*m.linalg.ldl_factor(a), b))


def fourier(names, make, tol):
    """Seen through their magnitudes, so that values and gradients are of real numbers."""
    for name in words(names):
        numpy = getattr(np.fft, name)
        op("fft." + name, lambda *a, f=numpy: np.abs(f(*a)), make, tol=tol, second=False,
           call=lambda m, *a, name=name: abs(getattr(m.fft, name)(*a)))


fourier("fft ifft rfft irfft hfft ihfft", lambda d: [S(d(6)), S(d(2, 5)), S(d(6), 4)], tol=4)
fourier("fft2 ifft2 fftn ifftn rfft2 rfftn irfft2 irfftn", lambda d: [S(d(4, 6)), S(d(2, 3, 4))], tol=8)
def _stft(x, n_fft, hop, window, center=True):
    x = np.pad(x, n_fft // 2, "reflect") if center else x
    frames = [x[i : i + n_fft] * window for i in range(0, len(x) - n_fft + 1, hop)]
    return np.abs(np.fft.rfft(np.stack(frames), axis=1).T)


op("fft.hfft2 fft.hfftn", lambda x: np.fft.hfft(np.fft.fftn(x, axes=(0,))), lambda d: [S(d(4, 5))], tol=8)
op("fft.ihfft2 fft.ihfftn", lambda x: np.abs(np.fft.ifftn(np.fft.ihfft(x), axes=(0,))), lambda d: [S(d(4, 5))], tol=8, second=False)
OPS["fft.ihfft2"].call, OPS["fft.ihfftn"].call = lambda m, x: abs(m.fft.ihfft2(x)), lambda m, x: abs(m.fft.ihfftn(x))
op("stft", _stft, lambda d: [S(d(20), 8, 3, d(8, lo=0.3)), S(d(20), 6, 2, d(6, lo=0.3), False)], tol=8, second=False,
   call=lambda m, x, n, hop, w, center=True: abs(m.stft(x, n, hop, window=w, center=center, return_complex=True)))
op("istft", lambda x, w: x, lambda d: [S(d(24), d(8, lo=0.5))], tol=8, call=lambda m, x, w: m.istft(m.stft(x, 8, 2, window=w, return_complex=True), 8, 2, window=w, length=24))
op("embedding_bag", lambda w, i, offsets: R.embedding_bag(i, w, offsets, "sum"), lambda d: [S(d(5, 2), d.index(5, 6), np.array([0, 2, 2]))], second=False, call=lambda m, w, i, o: m.embedding_bag(w, i, o)[0])
op("fft.fftshift", np.fft.fftshift, lambda d: [S(d(5)), S(d(4, 3))])
op("fft.ifftshift", np.fft.ifftshift, lambda d: [S(d(5)), S(d(4, 3))])
op("fft.fftfreq", np.fft.fftfreq, lambda d: [S(5), S(8, 0.5)], kinds="c", grad=False, spread=False)
op("fft.rfftfreq", np.fft.rfftfreq, lambda d: [S(5), S(8, 0.5)], kinds="c", grad=False, spread=False)

# Convolution, pooling, resampling

_extent = {1: (7,), 2: (5, 6), 3: (3, 4, 4)}


def _conv_samples(n):
    def make(d):
        s, k = _extent[n], (3, 2, 2)[:n]
        more = [S(d(1, 4, *s), d(4, 2, *k), d(4), groups=2), S(d(1, 2, *s), d(3, 2, *k), None, 1, "same")] if n < 3 else []
        return [S(d(2, 2, *s), d(3, 2, *k)), S(d(1, 2, *s), d(3, 2, *k), d(3), stride=2, padding=1), S(d(1, 2, *s), d(2, 2, *k), d(2), dilation=2, padding=2),
                S(d(2, *s), d(3, 2, *k), d(3)), S(d(1, 3, *s), d(3, 1, *k), groups=3), *more]

    return make


def _transposed_samples(n):
    def make(d):
        s, k = (4, 3, 2)[:n], (3, 2, 2)[:n]
        return [S(d(2, 2, *s), d(2, 3, *k)), S(d(1, 2, *s), d(2, 3, *k), d(3), stride=2, padding=1, output_padding=1), S(d(1, 4, *s), d(4, 2, *k), d(4), groups=2, dilation=2)]

    return make


for _n in (1, 2, 3):
    op(f"conv{_n}d nn.functional.conv{_n}d", R.conv(_n), _conv_samples(_n), tol=4)
    op(f"conv_transpose{_n}d nn.functional.conv_transpose{_n}d", R.conv_transpose(_n), _transposed_samples(_n), tol=4)
    _make_pool = lambda d, n=_n: [S(d.distinct(2, 2, *_extent[n]), 2), S(d.distinct(1, 2, *_extent[n]), 3, 2, 1), S(d.distinct(2, *_extent[n]), 2, 1, 0, 1, True), S(d.distinct(1, 1, *_extent[n]), 2, 1, 1, 2)]
    op(f"max_pool{_n}d nn.functional.max_pool{_n}d", R.max_pool(_n), _make_pool)
    op(f"nn.functional.avg_pool{_n}d" + (" avg_pool1d" if _n == 1 else ""),
       lambda x, k, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None, n=_n: R.avg_pool(n)(x, k, stride, padding, 1, ceil_mode, count_include_pad=count_include_pad, divisor_override=divisor_override),
       lambda d, n=_n: [S(d(2, 2, *_extent[n]), 2), S(d(1, 2, *_extent[n]), 3, 2, 1), S(d(2, *_extent[n]), 2, 2, 1, True, False), *([S(d(1, 1, *_extent[n]), 2, divisor_override=3)] if n > 1 else [])])
    op(f"nn.functional.adaptive_avg_pool{_n}d" + (" adaptive_avg_pool1d" if _n == 1 else ""),
       R.adaptive_pool(_n, np.mean), lambda d, n=_n: [S(d(2, 2, *_extent[n]), 2), S(d(2, *_extent[n]), (3, 2, 1)[:n])])
    op(f"nn.functional.adaptive_max_pool{_n}d", R.adaptive_pool(_n, np.max), lambda d, n=_n: [S(d.distinct(2, 2, *_extent[n]), 2), S(d.distinct(1, 2, *_extent[n]), (3, 2, 1)[:n])])
    op(f"nn.functional.adaptive_max_pool{_n}d_with_indices" + (" adaptive_max_pool1d" if _n == 1 else ""), R.adaptive_pool(_n, np.max), lambda d, n=_n: [S(d.distinct(2, 2, *_extent[n]), 2)], grad=False,
       call=lambda m, x, o, n=_n: (lambda v, i: x.flatten(2).gather(2, i.flatten(2)).reshape(v.shape))(*getattr(m.nn.functional, f"adaptive_max_pool{n}d")(x, o, return_indices=True)))
    op(f"nn.functional.lp_pool{_n}d", R.lp_pool(_n), lambda d, n=_n: [S(d(2, 2, *_extent[n], lo=0.1, hi=2), 2, 2), S(d(1, 2, *_extent[n], lo=0.1, hi=2), 3, 2, 1)], tol=4)
    op(f"nn.functional.max_pool{_n}d_with_indices" + (" max_pool1d_with_indices" if _n == 1 else ""),
       lambda x, k, n=_n: (v := R.max_pool(n)(x, k), v), lambda d, n=_n: [S(d.distinct(2, 2, *_extent[n]), 2)], grad=False,
       call=lambda m, x, k, n=_n: (lambda v, i: (v, x.flatten(2).gather(2, i.flatten(2)).reshape(v.shape)))(*getattr(m.nn.functional, f"max_pool{n}d")(x, k, return_indices=True)))
    op(f"nn.functional.max_unpool{_n}d", lambda x, k, n=_n: np.where(np.isin(x, R.max_pool(n)(x, k)), x, 0), lambda d, n=_n: [S(d.distinct(1, 2, *[4] * n) + 100, 2)], second=False,
       call=lambda m, x, k, n=_n: getattr(m.nn.functional, f"max_unpool{n}d")(*getattr(m.nn.functional, f"max_pool{n}d")(x, k, return_indices=True), k), tol=4)
op(F("unfold"), R.im2col, lambda d: [S(d(2, 2, 5, 4), 2), S(d(1, 2, 5, 6), (3, 2), 2, 1, 2)])
op(F("fold"), R.col2im, lambda d: [S(d(2, 8, 6), (4, 3), 2), S(d(1, 12, 12), (5, 6), (3, 2), 1, 1, 2)])
op(F("interpolate"), R.interpolate, lambda d: [S(d(1, 2, 5), 7), S(d(1, 2, 4, 5), scale_factor=2.0), S(d(1, 2, 5, 4), (3, 7), mode="nearest-exact"), S(d(1, 2, 5), 8, mode="linear"), S(d(1, 2, 5), 8, mode="linear", align_corners=True),
   S(d(1, 2, 4, 5), (7, 3), mode="bilinear"), S(d(1, 2, 4, 5), scale_factor=1.7, mode="bilinear"), S(d(1, 1, 4, 5), (6, 8), mode="bilinear", align_corners=True), S(d(1, 1, 4, 5), (6, 8), mode="bicubic"),
   S(d(1, 1, 4, 5), (6, 3), mode="bicubic", align_corners=True), S(d(1, 1, 3, 4, 3), (4, 2, 5), mode="trilinear"), S(d(1, 2, 6, 5), (3, 2), mode="area")], tol=8)
op(F("upsample"), R.interpolate, lambda d: [S(d(1, 2, 4, 5), (8, 10))])
op(F("upsample_nearest"), R.interpolate, lambda d: [S(d(1, 2, 4, 5), (8, 10))])
op(F("upsample_bilinear"), lambda x, s: R.interpolate(x, s, mode="bilinear", align_corners=True), lambda d: [S(d(1, 2, 4, 5), (8, 10))], tol=8)
op(F("grid_sample"), R.grid_sample, lambda d: [S(d(1, 2, 4, 5), d(1, 3, 2, 2, lo=-1.3, hi=1.3), mode, pad, align) for mode, pad, align in
   [("bilinear", "zeros", False), ("bilinear", "border", True), ("bilinear", "reflection", False), ("nearest", "zeros", False), ("bicubic", "zeros", False), ("bicubic", "border", True)]] +
   [S(d(1, 1, 3, 4, 3), d(1, 2, 2, 2, 3, lo=-1.3, hi=1.3), "bilinear", "zeros", False)], tol=16, spread=False, second=False)
op(F("affine_grid"), R.affine_grid, lambda d: [S(d(2, 2, 3), (2, 1, 3, 4), align_corners=a) for a in (False, True)] + [S(d(1, 3, 4), (1, 1, 2, 3, 2), align_corners=False)], tol=4)
op(F("pixel_shuffle") + " pixel_shuffle", R.pixel_shuffle, lambda d: [S(d(2, 8, 2, 3), 2), S(d(9, 1, 2), 3)], "fi")
op(F("pixel_unshuffle") + " pixel_unshuffle", R.pixel_unshuffle, lambda d: [S(d(2, 2, 4, 6), 2), S(d(1, 3, 6), 3)], "fi")
op(F("channel_shuffle") + " channel_shuffle", R.channel_shuffle, lambda d: [S(d(1, 6, 2, 2), 3)], "f")

# Normalisation

op(F("batch_norm"), R.batch_norm, lambda d: [S(d(4, 3), d(3), d(3, lo=0.5, hi=2)), S(d(2, 3, 4), d(3), d(3, lo=0.5, hi=2), d(3), d(3)), S(d(4, 3, 2), None, None, d(3), d(3), True), S(d(3, 2, 2, 2), None, None, training=True, eps=1e-3), S(d(3, 66), None, None, d(66), d(66), True), S(d(1, 2, 65), None, None, d(2), None, True)],
   tol=8, fixed=(1, 2), spread=False)
op(F("instance_norm"), lambda x, m=None, v=None, w=None, b=None, use_input_stats=True, momentum=0.1, eps=1e-5: R.group_norm(x, x.shape[1], w, b, eps),
   lambda d: [S(d(2, 3, 4)), S(d(2, 3, 2, 2), None, None, d(3), d(3))], tol=8)
op(F("group_norm") + " group_norm", R.group_norm, lambda d: [S(d(2, 4, 3), 2), S(d(2, 4, 2, 2), 2, d(4), d(4)), S(d(2, 4), 1, d(4), d(4), 1e-3), S(d(1, 6, 3), 3, d(6), d(6)), S(d(2, 1, 5), 1, d(1))], tol=8)
op(F("layer_norm") + " layer_norm", R.layer_norm, lambda d: [S(d(2, 4), (4,)), S(d(2, 3, 4), (3, 4), d(3, 4), d(3, 4)), S(d(2, 3, 4), (4,), d(4), d(4), 1e-3), S(d(2, 3, 4), (4,), d(4)), S(d(2, 5), (5,), None, d(5))], tol=8)
op(F("rms_norm") + " rms_norm", R.rms_norm, lambda d: [S(d(2, 4), (4,), None, 1e-5), S(d(2, 3, 4), (4,), d(4), 1e-3)], tol=8)
op(F("local_response_norm"), R.local_response_norm, lambda d: [S(d(1, 5, 3), 3), S(d(1, 5, 2, 2), 2, alpha=0.1, beta=0.5, k=2.0)], tol=4)
op(F("normalize"), lambda x, p=2.0, dim=1, eps=1e-12: x / np.maximum(R.vector_norm(x, p, dim, True), eps), lambda d: [S(d(3, 4)), S(d(3, 4), 1.0, 0)], tol=4)
op("renorm", R.renorm, lambda d: [S(d(3, 4), 2, 0, 1.5), S(d(2, 3, 2), 1, 1, 2.0)], tol=4)

# Losses

_R3 = ("mean", "sum", "none")


def loss(names, ref, make, **kwargs):
    """The same samples under each reduction."""
    op(F(names), ref, lambda d: [S(*a, **k, reduction=r) for r in _R3 for a, k in make(d)], tol=kwargs.pop("tol", 4), **kwargs)


loss("mse_loss", R.reduced(lambda a, b: (a - b) ** 2), lambda d: [S(d(3, 4), d(3, 4))])
loss("l1_loss", R.reduced(lambda a, b: np.abs(a - b)), lambda d: [S(d(3, 4), d(3, 4))])
loss("smooth_l1_loss", R.reduced(lambda a, b, beta=1.0: np.where((e := np.abs(a - b)) < beta, e * e / (2 * beta or 1), e - beta / 2)), lambda d: [S(d(3, 4), d(3, 4)), S(d(3), d(3), beta=0.4)])
loss("huber_loss", R.reduced(lambda a, b, delta=1.0: np.where((e := np.abs(a - b)) < delta, e * e / 2, delta * (e - delta / 2))), lambda d: [S(d(3, 4), d(3, 4)), S(d(3), d(3), delta=0.4)])
loss("binary_cross_entropy", R.reduced(lambda p, t, weight=1.0: -weight * (t * np.log(p) + (1 - t) * np.log(1 - p))), lambda d: [S(d(3, 4, lo=0.1, hi=0.9), d(3, 4, lo=0.1, hi=0.9)), S(d(3, lo=0.1, hi=0.9), d(3, lo=0.1, hi=0.9), weight=d(3, lo=0.5))], fixed=("weight",))
loss("binary_cross_entropy_with_logits", R.reduced(lambda x, t, weight=1.0, pos_weight=1.0: weight * (pos_weight * t * np.log1p(np.exp(-x)) + (1 - t) * (x + np.log1p(np.exp(-x))))),
     lambda d: [S(d(3, 4), d(3, 4, lo=0, hi=1)), S(d(3, 4), d(3, 4, lo=0, hi=1), weight=d(4, lo=0.5), pos_weight=d(4, lo=0.5))], fixed=("weight", "pos_weight"))
loss("kl_div", lambda x, t, reduction="mean", log_target=False: R.reduced(lambda: np.exp(t) * (t - x) if log_target else t * (np.log(t) - x))(reduction=reduction),
     lambda d: [S(d.log_probs(3, 4), np.exp(d.log_probs(3, 4))), S(d.log_probs(3, 4), d.log_probs(3, 4), log_target=True)])
loss("poisson_nll_loss", R.reduced(lambda x, t, log_input=True, eps=1e-8: np.exp(x) - t * x if log_input else x - t * np.log(x + eps)), lambda d: [S(d(3, 4), d(3, 4, lo=0, hi=5)), S(d(3, 4, lo=0.5), d(3, 4, lo=0.1, hi=5), log_input=False)])
loss("gaussian_nll_loss", R.reduced(lambda x, t, v, full=False, eps=1e-6: 0.5 * (np.log(np.maximum(v, eps)) + (x - t) ** 2 / np.maximum(v, eps)) + (0.5 * math.log(2 * math.pi) if full else 0)), lambda d: [S(d(3, 4), d(3, 4), d(3, 4, lo=0.5)), S(d(3, 4), d(3, 4), d(3, 1, lo=0.5), full=True)])
loss("hinge_embedding_loss", R.reduced(lambda x, t, margin=1.0: np.where(t == 1, x, np.maximum(0, margin - x))), lambda d: [S(d(3, 4), np.where(d.mask(3, 4), 1.0, -1.0))], fixed=(1,))
loss("soft_margin_loss", R.reduced(lambda x, t: np.log1p(np.exp(-t * x))), lambda d: [S(d(3, 4), np.where(d.mask(3, 4), 1.0, -1.0))], fixed=(1,))
loss("margin_ranking_loss", R.reduced(lambda a, b, t, margin=0.0: np.maximum(0, -t * (a - b) + margin)), lambda d: [S(d(4), d(4), np.where(d.mask(4), 1.0, -1.0), margin=0.5)], fixed=(2,))
loss("cosine_embedding_loss", R.reduced(lambda a, b, t, margin=0.0: np.where(t == 1, 1 - R.cosine_similarity(a, b), np.maximum(0, R.cosine_similarity(a, b) - margin))), lambda d: [S(d(4, 3), d(4, 3), np.array([1, -1, 1, -1]), margin=0.1)])
loss("triplet_margin_loss", R.reduced(lambda a, p, n, margin=1.0, swap=False: np.maximum(0, R.vector_norm(a - p + 1e-6, 2, -1) - (np.minimum(R.vector_norm(a - n + 1e-6, 2, -1), R.vector_norm(p - n + 1e-6, 2, -1)) if swap else R.vector_norm(a - n + 1e-6, 2, -1)) + margin)),
     lambda d: [S(d(4, 3), d(4, 3), d(4, 3)), S(d(4, 3), d(4, 3), d(4, 3), swap=True, margin=2.0)])
loss("triplet_margin_with_distance_loss", R.reduced(lambda a, p, n: np.maximum(0, R.vector_norm(a - p + 1e-6, 2, -1) - R.vector_norm(a - n + 1e-6, 2, -1) + 1)), lambda d: [S(d(4, 3), d(4, 3), d(4, 3))])
loss("multilabel_margin_loss", R.reduced(R.multilabel_margin), lambda d: [S(d(2, 4), np.array([[3, 0, -1, 1], [1, -1, 0, 0]]))], second=False)
loss("multi_margin_loss", R.reduced(R.multi_margin), lambda d: [S(d(3, 4), d.index(4, 3)), S(d(3, 4), d.index(4, 3), p=2, margin=0.7, weight=d(4, lo=0.5))], fixed=("weight",), second=False)
loss("multilabel_soft_margin_loss", R.reduced(lambda x, t: np.mean(t * np.log1p(np.exp(-x)) + (1 - t) * np.log1p(np.exp(x)), -1)), lambda d: [S(d(3, 4), d.mask(3, 4) * 1.0)], fixed=(1,))
loss("nll_loss", R.nll_loss, lambda d: [S(d.log_probs(3, 4), d.index(4, 3)), S(d.log_probs(3, 4), np.array([0, 2, 2]), d(4, lo=0.5), ignore_index=2), S(d.log_probs(2, 4, 3), d.index(4, 2, 3)), S(d.log_probs(4), np.array(1))], fixed=(2,))
loss("cross_entropy", R.cross_entropy, lambda d: [S(d(3, 4), d.index(4, 3)), S(d(3, 4), np.array([0, 2, 2]), d(4, lo=0.5), ignore_index=2, label_smoothing=0.2), S(d(3, 4), np.array([0, 2, 2]), d(4, lo=0.5), ignore_index=2), S(d(3, 4), np.array([0, 2, 1]), ignore_index=2, label_smoothing=0.2), S(d(4), np.array(1), label_smoothing=0.3), S(d(2, 4, 3), d.index(4, 2, 3)), S(d(3, 4), np.exp(d.log_probs(3, 4)), label_smoothing=0.1), S(d(4), np.array(1))], fixed=(2,))
loss("linear_cross_entropy", lambda x, w, t, **k: R.cross_entropy(x @ w.T, t, **k), lambda d: [S(d(3, 4), d(5, 4), d.index(5, 3)), S(d(3, 4), d(5, 4), d.index(5, 3), label_smoothing=0.1)])
loss("ctc_loss", lambda x, *a, **k: R.ctc_loss(R.log_softmax(x, -1), *a, **k), lambda d: [S(d(6, 2, 4), np.array([[1, 2, 2], [3, 1, 1]]), np.array([6, 5]), np.array([3, 2]))], second=False, tol=8,
     call=lambda m, x, *a, **k: m.nn.functional.ctc_loss(x.log_softmax(-1), *a, **k))  # its gradient is that of the logits

# Embedding and attention

op(F("embedding"), lambda i, w, padding_idx=None: w[i], lambda d: [S(d.index(5, 2, 3), d(5, 2)), S(np.array(3), d(5, 2)), S(np.array([0, 4]), d(5, 2))])
op("embedding", lambda w, i: w[i], lambda d: [S(d(5, 2), d.index(5, 2, 3))])
op(F("embedding_bag"), R.embedding_bag, lambda d: [S(d.index(5, 2, 3), d(5, 2), mode=m) for m in ("mean", "sum", "max")] +
   [S(d.index(5, 6), d(5, 2), np.array([0, 2, 2]), mode="sum"), S(d.index(5, 6), d(5, 2), np.array([0, 2]), mode="sum", per_sample_weights=d(6))], second=False)
op(F("scaled_dot_product_attention"), R.attention, lambda d: [S(d(2, 3, 4), d(2, 5, 4), d(2, 5, 4)), S(d(1, 2, 3, 4), d(1, 2, 3, 4), d(1, 2, 3, 4), is_causal=True), S(d(2, 3, 4), d(2, 5, 4), d(2, 5, 4), attn_mask=d(3, 5)),
   S(d(2, 3, 4), d(2, 5, 4), d(2, 5, 4), attn_mask=np.arange(15).reshape(3, 5) % 4 != 1), S(d(2, 3, 4), d(2, 5, 4), d(2, 5, 4), scale=0.3), S(d(1, 4, 2, 4), d(1, 2, 3, 4), d(1, 2, 3, 4), enable_gqa=True)], tol=8)

# Names under which the same kernels are also registered: copies of views, and PyTorch's native signatures

_COPIES = {"alias": "clone", "narrow": "narrow", "permute": "permute", "select": "select", "split_with_sizes": "split_with_sizes",
           "squeeze": "squeeze", "t": "t", "transpose": "transpose", "unbind": "unbind", "unsqueeze": "unsqueeze", "diagonal": "diagonal",
           "expand": "Tensor.expand", "unfold": "Tensor.unfold", "view": "reshape", "detach": "clone"}
for _name, _base in _COPIES.items():
    shape(f"{_name}_copy", OPS[_base].ref, OPS[_base].make, grad=_name != "detach")
shape("as_strided_copy", OPS["as_strided"].ref, OPS["as_strided"].make, layouts=False)
shape("split_copy unsafe_split", lambda x, s, dim=0: np.split(x, range(s, x.shape[dim], s), dim), lambda d: [S(d(5, 2), 2), S(d(2, 6), 4, 1)])
shape("unsafe_chunk", OPS["chunk"].ref, OPS["chunk"].make)
shape("unsafe_split_with_sizes", OPS["split_with_sizes"].ref, OPS["split_with_sizes"].make)
shape("slice_copy", lambda x, dim, start, end, step: np.take(x, range(start, end, step), dim), lambda d: [S(d(5, 3), 0, 1, 5, 2)])


def _strided_scatter(x, src, size, stride, offset=0):
    out = x.copy()
    np.lib.stride_tricks.as_strided(out.ravel()[offset:], size, [s * x.itemsize for s in stride])[...] = src
    return out


op("as_strided_scatter", _strided_scatter, lambda d: [S(d(3, 4), d(2, 2), (2, 2), (4, 1), 1)], "fi", layouts=False)
op("complex", lambda a, b: (a, b), lambda d: [S(d(3, 4), d(3, 4))], call=lambda m, a, b: ((z := m.complex(a, b)).real, z.imag))
op("polar", lambda r, a: (r * np.cos(a), r * np.sin(a)), lambda d: [S(d(3, 4, lo=0.1), d(3, 4))], call=lambda m, r, a: ((z := m.polar(r, a)).real, z.imag))
op("imag", lambda a, b: b, lambda d: [S(d(3), d(3))], call=lambda m, a, b: m.imag(m.complex(a, b)), fixed=(0,))
op("view_as_real", lambda a, b: np.stack([a, b], -1), lambda d: [S(d(3), d(3))], call=lambda m, a, b: m.view_as_real(m.complex(a, b)))
op("view_as_complex", lambda x: (x[..., 0], x[..., 1]), lambda d: [S(d(3, 2))], call=lambda m, x: ((z := m.view_as_complex(x.contiguous())).real, z.imag))
op("angle", np.angle, lambda d: [S(d(3, 4)), S(d(4, lo=-3, hi=-1))], "fi", grad=False)
op("affine_grid_generator", lambda t, size, align: R.affine_grid(t, size, align), lambda d: [S(d(2, 2, 3), (2, 1, 3, 4), a) for a in (False, True)], tol=4)
_grid = lambda x, grid, mode, pad, align: R.grid_sample(x, grid, ("bilinear", "nearest", "bicubic")[mode], ("zeros", "border", "reflection")[pad], align)
op("grid_sampler grid_sampler_2d", _grid, lambda d: [S(d(1, 2, 4, 5), d(1, 3, 2, 2, lo=-1.3, hi=1.3), 0, 0, False), S(d(1, 2, 4, 5), d(1, 3, 2, 2, lo=-1.3, hi=1.3), 0, 1, True)], tol=16, spread=False, second=False)
op("grid_sampler_3d", _grid, lambda d: [S(d(1, 1, 3, 4, 3), d(1, 2, 2, 2, 3, lo=-1.3, hi=1.3), 0, 0, False)], tol=16, spread=False, second=False)
op("batch_norm native_batch_norm", lambda x, w, b, m, v, training, momentum, eps, *_: R.batch_norm(x, m, v, w, b, training, momentum, eps),
   lambda d: [S(d(2, 3, 4), d(3), d(3), d(3), d(3, lo=0.5, hi=2), False, 0.1, 1e-5), S(d(4, 3, 2), d(3), d(3), None, None, True, 0.1, 1e-3)], tol=8, fixed=(3, 4), spread=False)
OPS["batch_norm"].call = lambda m, *a: m.batch_norm(*a, False)
OPS["native_batch_norm"].call = lambda m, *a: m.native_batch_norm(*a)[0]
op("instance_norm", lambda x, w, b: R.group_norm(x, x.shape[1], w, b), lambda d: [S(d(2, 3, 4), d(3), d(3))], tol=8, call=lambda m, x, w, b: m.instance_norm(x, w, b, None, None, True, 0.1, 1e-5, False))
op("native_group_norm", lambda x, w, b: R.group_norm(x, 2, w, b), lambda d: [S(d(2, 4, 3), d(4), d(4))], tol=8, call=lambda m, x, w, b: m.native_group_norm(x, w, b, 2, 4, 3, 2, 1e-5)[0])
op("native_layer_norm", lambda x, w, b: R.layer_norm(x, (4,), w, b), lambda d: [S(d(2, 3, 4), d(4), d(4))], tol=8, call=lambda m, x, w, b: m.native_layer_norm(x, (4,), w, b, 1e-5)[0])
op("native_channel_shuffle", R.channel_shuffle, lambda d: [S(d(1, 6, 2, 2), 3)])
op("nn.functional.native_channel_shuffle", R.channel_shuffle, lambda d: [S(d(1, 6, 2, 2), 3)])
op("conv_tbc nn.functional.conv_tbc", lambda x, w, b, pad=0: R.conv(1)(x.transpose(1, 2, 0), w.transpose(2, 1, 0), b, padding=pad).transpose(2, 0, 1), lambda d: [S(d(5, 2, 3), d(3, 3, 4), d(4)), S(d(5, 2, 3), d(2, 3, 4), d(4), 1)], tol=4)
op("convolution", lambda x, w, b, stride, padding, dilation, transposed, extra, groups: R.conv_transpose(2)(x, w, b, stride, padding, extra, groups, dilation) if transposed else R.conv(2)(x, w, b, stride, padding, dilation, groups),
   lambda d: [S(d(1, 2, 5, 4), d(3, 2, 2, 3), d(3), (2, 1), (1, 0), (1, 1), False, (0, 0), 1), S(d(1, 2, 3, 3), d(2, 3, 2, 2), None, (2, 2), (1, 1), (1, 1), True, (1, 0), 1)], tol=4)


def native_loss(name):
    """A loss whose reduction is a number."""
    base, numbers = OPS["nn.functional." + name], {"none": 0, "mean": 1, "sum": 2}
    op(name, base.ref, base.make, tol=base.tol, second=base.second, fixed=base.fixed,
       call=lambda m, *a, reduction, **k: getattr(m, name)(*a, **k, reduction=numbers[reduction]))


for _name in words("binary_cross_entropy_with_logits cosine_embedding_loss hinge_embedding_loss kl_div margin_ranking_loss triplet_margin_loss"):
    native_loss(_name)
op("ctc_loss", OPS["nn.functional.ctc_loss"].ref, OPS["nn.functional.ctc_loss"].make, tol=8, second=False,
   call=lambda m, x, t, i, n, reduction: m.ctc_loss(x.log_softmax(-1), t, i, n, 0, ("none", "mean", "sum").index(reduction)))
op("poisson_nll_loss", lambda x, t: np.mean(np.exp(x) - t * x), lambda d: [S(d(3, 4), d(3, 4, lo=0, hi=5))], call=lambda m, x, t: m.poisson_nll_loss(x, t, True, False, 1e-8, 1))
op("embedding_renorm_", lambda w, i: np.where(np.isin(np.arange(len(w)), i)[:, None], R.renorm(w, 2, 0, 1.0), w), lambda d: [S(d(4, 3), np.array([0, 2]))], grad=False, tol=4, spread=False, call=lambda m, w, i: m.embedding_renorm_(w.clone(), i, 1.0, 2.0))
op("histogramdd", lambda x, bins: (np.histogramdd(x, bins)[0], *np.histogramdd(x, bins)[1]), lambda d: [S(d(9, 2), [3, 2])], grad=False, spread=False, call=lambda m, x, bins: ((h := m.histogramdd(x, bins))[0], *h[1]))
op(linalg("ldl_factor_ex"), lambda a: a, lambda d: [S(d.positive_definite(3, 3))], grad=False, tol=16, spread=False, call=lambda m, a: m.linalg.inv(m.linalg.ldl_solve(*m.linalg.ldl_factor_ex(a)[:2], m.eye(3, dtype=a.dtype))))
op(linalg("lu_factor_ex"), np.linalg.det, lambda d: [S(d.regular(3, 3))], grad=False, tol=8, spread=False,
   call=lambda m, a: (f := m.linalg.lu_factor_ex(a))[0].diagonal().prod() * (-1) ** int((f[1] != m.arange(1, 4)).sum()))

# Creation from numbers alone

op("arange", np.arange, lambda d: [S(5), S(2, 7), S(1, 9, 3), S(0.0, 1.0, 0.25), S(5, 1, -2)], kinds="c", grad=False, spread=False)
op("range", lambda a, b, s=1: np.arange(a, b + s / 2, s).astype("f8"), lambda d: [S(1, 4), S(0, 1, 0.5)], kinds="c", grad=False, spread=False)
op("linspace", np.linspace, lambda d: [S(0, 1, 5), S(-2.0, 3.0, 7), S(1, 1, 1)], kinds="c", grad=False, spread=False)
op("logspace", lambda a, b, n, base=10.0: np.logspace(a, b, n, base=base), lambda d: [S(0, 2, 5), S(0, 3, 4, base=2.0)], kinds="c", grad=False, spread=False, tol=4)
op("eye", np.eye, lambda d: [S(3), S(2, 4), S(0)], kinds="c", grad=False, spread=False)
op("full", np.full, lambda d: [S((2, 3), 2.5), S((2,), True), S((), 7)], kinds="c", grad=False, spread=False)
op("zeros", np.zeros, lambda d: [S((2, 3)), S(())], kinds="c", grad=False, spread=False)
op("ones", np.ones, lambda d: [S((2, 3)), S((0, 2))], kinds="c", grad=False, spread=False)
op("scalar_tensor", lambda v: np.float64(v), lambda d: [S(2.5)], kinds="c", grad=False, spread=False)
op("zeros_like", np.zeros_like, lambda d: [S(d(2, 3))], "fib", grad=False)
op("ones_like", np.ones_like, lambda d: [S(d(2, 3))], "fib", grad=False)
op("full_like", np.full_like, lambda d: [S(d(2, 3), 1)], "fi", grad=False)
op("Tensor.new_zeros", lambda x, s: np.zeros(s, x.dtype), lambda d: [S(d(2), (3, 2))], "fib", grad=False)
op("Tensor.new_ones", lambda x, s: np.ones(s, x.dtype), lambda d: [S(d(2), (3, 2))], "fib", grad=False)
op("Tensor.new_full", lambda x, s, v: np.full(s, v, x.dtype), lambda d: [S(d(2), (3, 2), 1)], "fi", grad=False)


def _window(n, f):
    return lambda m, periodic=True: f(m + 1)[:-1] if periodic else f(m)


op("hann_window", _window(1, np.hanning), lambda d: [S(6), S(5, False)], kinds="c", grad=False, spread=False)
op("hamming_window", _window(1, np.hamming), lambda d: [S(6), S(5, False)], kinds="c", grad=False, spread=False)
op("blackman_window", _window(1, np.blackman), lambda d: [S(6), S(5, False)], kinds="c", grad=False, spread=False, tol=4)
op("bartlett_window", _window(1, np.bartlett), lambda d: [S(6), S(5, False)], kinds="c", grad=False, spread=False)
op("kaiser_window", lambda n, periodic=True, beta=12.0: np.kaiser(n + periodic, beta)[:n], lambda d: [S(6), S(5, False, 8.0)], kinds="c", grad=False, spread=False, tol=4)

# Registered ops that the table leaves to other tests, each with its reason.
ELSEWHERE = {
    **dict.fromkeys(
        words("""rand randn randint randperm rand_like randn_like randint_like normal bernoulli bernoulli_ binomial poisson multinomial cauchy_ exponential_
        geometric_ log_normal_ normal_ random_ uniform_ dropout alpha_dropout feature_dropout feature_alpha_dropout dropout1d dropout2d
        dropout3d gumbel_softmax fractional_max_pool2d fractional_max_pool3d fractional_max_pool2d_with_indices
        fractional_max_pool3d_with_indices rrelu_ native_dropout randint_ default_generator"""),
        "random: test_random.py compares the stream",
    ),
    **dict.fromkeys(words("empty empty_like empty_strided empty_permuted new_empty new_empty_strided new_tensor new tensor as_tensor from_numpy asarray frombuffer"), "memory or outside data: test_views.py"),
    **dict.fromkeys(
        words("""size stride storage_offset alias dim ndimension numel nelement element_size is_contiguous is_floating_point is_complex is_signed is_pinned
        is_inference is_shared get_device data_ptr item tolist numpy type to cpu cuda storage untyped_storage get_default_dtype set_default_dtype
        get_default_device set_default_device get_num_threads set_num_threads promote_types result_type can_cast is_grad_enabled is_inference_mode_enabled is_same_size
        is_set_to is_neg is_conj is_coalesced has_names itemsize nbytes pin_memory share_memory_ apply_ map_ is_distributed is_tensor"""),
        "query or conversion: test_views.py, test_promotion.py",
    ),
    **dict.fromkeys(words("backward register_hook register_post_accumulate_grad_hook retain_grad requires_grad_ detach detach_ is_leaf"), "autograd: test_autograd.py"),
    **dict.fromkeys(words("bfloat16 bool byte char double float half int long short cfloat cdouble chalf"), "conversion: test_promotion.py"),
    **dict.fromkeys(words("copy_ resize_ resize_as_ set_ t_ transpose_ squeeze_ unsqueeze_ swapaxes_ swapdims_ as_strided_ zero_ fill_diagonal_"), "changes its operand: test_views.py"),
}
