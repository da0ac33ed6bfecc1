"""Creation from numbers alone."""

import numpy as np

from .base import S, op

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
