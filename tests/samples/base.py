"""What a sample is, and how the table of them is filled."""


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
