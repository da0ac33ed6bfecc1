"""Shapes, joining, views, indexing."""

import itertools

import numpy as np

import reference as R

from .base import F, S, op

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
