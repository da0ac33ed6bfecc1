"""Convolution, pooling, resampling, normalisation, losses, embedding, attention."""

import math

import numpy as np

import reference as R

from .base import F, S, op

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
