"""Reductions, scans, order and search."""

import itertools

import numpy as np

import reference as R

from .base import OPS, S, inf, op

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
