"""Names under which the same kernels are also registered: copies of views, and PyTorch's native signatures."""

import numpy as np

import reference as R

from . import layers  # noqa: F401 (whose entries are taken up here)
from .base import OPS, S, linalg, op, words
from .shapes import shape

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
