"""NumPy formulas, written for clarity and small inputs, that the ops are compared with."""

import itertools
import math

import numpy as np

vec = np.vectorize


def floats(f):
    """A scalar function over an array of any shape (also an empty one), in float64."""
    return lambda *xs: np.vectorize(f, otypes=[np.float64])(*xs)


# Special functions

erf, erfc, lgamma = floats(math.erf), floats(math.erfc), floats(math.lgamma)


def _digamma(x):
    if x <= 0 and x == math.floor(x):
        return -math.inf if x == 0 else math.nan
    if x < 0:
        return _digamma(1 - x) - math.pi / math.tan(math.pi * x)
    shift = 0.0
    while x < 20:
        shift, x = shift - 1 / x, x + 1
    y = 1 / (x * x)
    return shift + math.log(x) - 0.5 / x - y * (1 / 12 - y * (1 / 120 - y * (1 / 252 - y / 240)))


def _zeta(s, q):
    n = 20
    head = sum((q + k) ** -s for k in range(n))
    a = q + n
    tail = a ** (1 - s) / (s - 1) + 0.5 * a**-s + s * a ** (-s - 1) / 12 - s * (s + 1) * (s + 2) * a ** (-s - 3) / 720
    return head + tail + s * (s + 1) * (s + 2) * (s + 3) * (s + 4) * a ** (-s - 5) / 30240


def _inverse(f, lo, hi, y):
    for _ in range(200):
        mid = (lo + hi) / 2
        lo, hi = (mid, hi) if f(mid) < y else (lo, mid)
    return (lo + hi) / 2


def _igamma(a, x):
    term = total = 1 / a
    for n in range(1, 400):
        term *= x / (a + n)
        total += term
    return total * math.exp(-x + a * math.log(x) - math.lgamma(a)) if x > 0 else 0.0


digamma, zeta, igamma = floats(_digamma), floats(_zeta), floats(_igamma)
ndtr = floats(lambda x: 0.5 * math.erfc(-x / math.sqrt(2)))
erfinv = floats(lambda y: _inverse(math.erf, -6.0, 6.0, y))
ndtri = floats(lambda y: _inverse(lambda x: 0.5 * math.erfc(-x / math.sqrt(2)), -12.0, 12.0, y))


def polygamma(n, x):
    return digamma(x) if n == 0 else (-1) ** (n + 1) * math.factorial(n) * zeta(n + 1, x)


_ANGLES = (np.arange(4000) + 0.5) * np.pi / 4000  # the midpoint rule is exact to rounding for periodic integrands


def bessel_j(n):
    return floats(lambda x: np.mean(np.cos(n * _ANGLES - x * np.sin(_ANGLES))))


def bessel_i(n, scaled=False):
    return floats(lambda x: np.mean(np.exp(x * np.cos(_ANGLES) - scaled * abs(x)) * np.cos(n * _ANGLES)))


_STEPS = (np.arange(60000) + 0.5) * (12.0 / 60000)


def bessel_k(n, scaled=False):
    return floats(lambda x: np.sum(np.exp(-x * np.cosh(_STEPS) + scaled * x) * np.cosh(n * _STEPS)) * (12.0 / 60000))


def bessel_y(n):
    def y(x):
        first = np.mean(np.sin(x * np.sin(_ANGLES) - n * _ANGLES))
        e = np.exp(n * _STEPS) + (-1) ** n * np.exp(-n * _STEPS)
        return first - np.sum(e * np.exp(-x * np.sinh(_STEPS))) * (12.0 / 60000) / np.pi

    return floats(y)


def recurrence(first, second, step):
    """An orthogonal polynomial from its first two members and step(n, x, p_n, p_n-1)."""

    def p(x, n):
        a, b = np.ones_like(x, dtype=np.float64), second(x)
        for k in range(1, n):
            a, b = b, step(k, x, b, a)
        return first(x) if n == 0 else b

    return p


# Reductions


def over(f):
    """f(x, axis, keepdims) with the dims of a torch call: none, one, several."""

    def g(x, dim=None, keepdim=False, **kwargs):
        axis = tuple(dim) if isinstance(dim, (list, tuple)) else dim
        if axis == ():
            axis = None
        return f(x, axis=axis, keepdims=keepdim, **kwargs)

    return g


def flat_if_none(f):
    def g(x, dim=None, keepdim=False):
        out = f(x, axis=dim)
        return np.expand_dims(out, dim) if keepdim and dim is not None else out

    return g


def logsumexp(x, axis=None, keepdims=False):
    top = np.max(x, axis=axis, keepdims=True)
    top = np.where(np.isfinite(top), top, 0)
    out = np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True)) + top
    return out if keepdims else np.squeeze(out, axis=axis if axis is not None else tuple(range(x.ndim)))


def softmax(x, dim, dtype=None):
    e = np.exp(x - np.max(x, axis=dim, keepdims=True)) if x.size else x
    return e / e.sum(axis=dim, keepdims=True)


def log_softmax(x, dim, dtype=None):
    return x - logsumexp(x, axis=dim, keepdims=True)


def extreme(values, indices):
    """max/min over a dim: (values, indices)."""

    def g(x, dim, keepdim=False):
        v, i = values(x, axis=dim, keepdims=True), np.expand_dims(indices(x, axis=dim), dim)
        return (v, i) if keepdim else (v.squeeze(dim), i.squeeze(dim))

    return g


def ordered(pick):
    """kthvalue, median, ...: (values, indices) at position pick(length) of the sorted lane."""

    def g(x, *args, dim=-1, keepdim=False):
        k = pick(x.shape[dim], *args)
        order = np.argsort(x, axis=dim, kind="stable")
        i = np.take(order, [k], axis=dim)
        v = np.take_along_axis(x, i, axis=dim)
        return (v, i) if keepdim else (v.squeeze(dim), i.squeeze(dim))

    return g


def running(better):
    """cummax/cummin: a later equal value takes over."""

    def g(x, dim):
        x = np.moveaxis(x, dim, 0)
        v, i = x.copy(), np.zeros(x.shape, np.int64)
        for k in range(1, len(x)):
            new = better(x[k], v[k - 1]) | np.isnan(x[k])
            v[k], i[k] = np.where(new, x[k], v[k - 1]), np.where(new, k, i[k - 1])
        return np.moveaxis(v, 0, dim), np.moveaxis(i, 0, dim)

    return g


def var(x, dim=None, *, correction=1, keepdim=False, unbiased=None):
    axis = tuple(dim) if isinstance(dim, (list, tuple)) else dim
    ddof = correction if unbiased is None else int(unbiased)
    return np.var(x, axis=axis, ddof=ddof, keepdims=keepdim)


def vector_norm(x, ord=2, dim=None, keepdim=False):
    axis = tuple(dim) if isinstance(dim, (list, tuple)) else dim
    a = np.abs(x)
    reduce = {"axis": axis, "keepdims": keepdim}
    if ord == math.inf:
        return np.max(a, **reduce)
    if ord == -math.inf:
        return np.min(a, **reduce)
    if ord == 0:
        return np.sum(a != 0, **reduce).astype(x.dtype)
    return np.sum(a**ord, **reduce) ** (1 / ord)


# Indexing


def scatter(reduce):
    def g(x, dim, index, src):
        out = x.copy()
        for at in np.ndindex(index.shape):
            to = list(at)
            to[dim] = index[at]
            to = tuple(to)
            out[to] = reduce(out[to], src[at] if np.ndim(src) else src)
        return out

    return g


def index_into(reduce):
    def g(x, dim, index, src, **kwargs):
        out = np.moveaxis(x, dim, 0).copy()
        values = np.moveaxis(src, dim, 0) if np.ndim(src) else np.full_like(out[: len(index)], src)
        for k, i in enumerate(index):
            out[i] = reduce(out[i], values[k], **kwargs)
        return np.moveaxis(out, 0, dim)

    return g


def unfold(x, dim, size, step):
    starts = range(0, x.shape[dim] - size + 1, step)
    return np.stack([np.moveaxis(np.take(x, range(s, s + size), axis=dim), dim, -1) for s in starts], axis=dim)


def masked_scatter(x, mask, source):
    out = x.copy()
    mask = np.broadcast_to(mask, x.shape)
    out[mask] = source.ravel()[: mask.sum()]
    return out


# Convolution, pooling, resampling: loops over output positions


def tupled(v, n):
    return (v,) * n if isinstance(v, int) else tuple(v)


def conv(n):
    def g(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
        batched = x.ndim == n + 2
        x = x if batched else x[None]
        stride, dilation = tupled(stride, n), tupled(dilation, n)
        kernel = w.shape[2:]
        if padding == "valid":
            padding = 0
        if padding == "same":
            total = [d * (k - 1) for d, k in zip(dilation, kernel)]
            pads = [(t // 2, t - t // 2) for t in total]
        else:
            pads = [(p, p) for p in tupled(padding, n)]
        x = np.pad(x, [(0, 0), (0, 0), *pads])
        size = [(s - d * (k - 1) - 1) // st + 1 for s, d, k, st in zip(x.shape[2:], dilation, kernel, stride)]
        out = np.zeros((x.shape[0], w.shape[0], *size), np.float64)
        ci, co = w.shape[1], w.shape[0] // groups
        for gr in range(groups):
            for at in np.ndindex(*size):
                window = tuple(
                    slice(a * st, a * st + d * (k - 1) + 1, d) for a, st, d, k in zip(at, stride, dilation, kernel)
                )
                patch = x[(slice(None), slice(gr * ci, gr * ci + ci), *window)].reshape(x.shape[0], -1)
                flat = w[gr * co : gr * co + co].reshape(co, -1)
                out[(slice(None), slice(gr * co, gr * co + co), *at)] = patch @ flat.T
        if b is not None:
            out += b.reshape(-1, *[1] * n)
        return out if batched else out[0]

    return g


def conv_transpose(n):
    def g(x, w, b=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
        stride, padding, dilation = tupled(stride, n), tupled(padding, n), tupled(dilation, n)
        extra, kernel = tupled(output_padding, n), w.shape[2:]
        full = [
            (s - 1) * st + d * (k - 1) + 1 + e for s, st, d, k, e in zip(x.shape[2:], stride, dilation, kernel, extra)
        ]
        ci, co = w.shape[0] // groups, w.shape[1]
        out = np.zeros((x.shape[0], co * groups, *full), np.float64)
        for gr in range(groups):
            for at in np.ndindex(*x.shape[2:]):
                window = tuple(
                    slice(a * st, a * st + d * (k - 1) + 1, d) for a, st, d, k in zip(at, stride, dilation, kernel)
                )
                values = np.tensordot(
                    x[(slice(None), slice(gr * ci, gr * ci + ci), *at)], w[gr * ci : gr * ci + ci], axes=1
                )
                out[(slice(None), slice(gr * co, gr * co + co), *window)] += values
        crop = tuple(slice(p, f - p) for p, f in zip(padding, full))
        out = out[(slice(None), slice(None), *crop)]
        return out if b is None else out + b.reshape(-1, *[1] * n)

    return g


def pool(n, reduce):
    """reduce(window values, number of in-bounds and padded elements) over windows with -inf padding."""

    def g(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, **kwargs):
        kernel = tupled(kernel_size, n)
        stride = kernel if stride in (None, ()) else tupled(stride, n)
        padding, dilation = tupled(padding, n), tupled(dilation, n)
        sizes = x.shape[-n:]
        out_size = []
        for s, k, st, p, d in zip(sizes, kernel, stride, padding, dilation):
            span = s + 2 * p - d * (k - 1) - 1
            o = (-(-span // st) if ceil_mode else span // st) + 1
            out_size.append(o - 1 if ceil_mode and (o - 1) * st >= s + p else o)
        flat = x.reshape(-1, *sizes)
        out = np.zeros((len(flat), *out_size), np.float64)
        for at in np.ndindex(*out_size):
            lanes, full = [], 1
            for a, k, st, p, d, s in zip(at, kernel, stride, padding, dilation, sizes):
                places = [a * st - p + j * d for j in range(k)]
                lanes.append([q for q in places if 0 <= q < s])
                full *= len([q for q in places if q < s + p])
            window = flat[np.ix_(range(len(flat)), *lanes)].reshape(len(flat), -1)
            out[(slice(None), *at)] = reduce(window, full, **kwargs)
        return out.reshape(*x.shape[:-n], *out_size)

    return g


def max_pool(n):
    return pool(n, lambda w, full: w.max(axis=1))


def avg_pool(n):
    def mean(w, full, count_include_pad=True, divisor_override=None):
        return w.sum(axis=1) / (divisor_override or (full if count_include_pad else w.shape[1]))

    return pool(n, mean)


def lp_pool(n):
    def g(x, norm_type, kernel_size, stride=None, ceil_mode=False):
        return pool(n, lambda w, full: np.sum(w**norm_type, axis=1) ** (1 / norm_type))(
            x, kernel_size, stride, 0, 1, ceil_mode
        )

    return g


def adaptive_pool(n, reduce):
    def g(x, output_size):
        sizes = x.shape[-n:]
        target = [s if t is None else t for s, t in zip(sizes, tupled(output_size, n))]
        out = np.zeros((*x.shape[:-n], *target), np.float64)
        for at in np.ndindex(*target):
            window = tuple(slice(a * s // t, -(-(a + 1) * s // t)) for a, s, t in zip(at, sizes, target))
            out[(..., *at)] = reduce(x[(..., *window)], axis=tuple(range(-n, 0)))
        return out

    return g


def im2col(x, kernel_size, dilation=1, padding=0, stride=1):
    k, d, p, s = (tupled(v, 2) for v in (kernel_size, dilation, padding, stride))
    x = np.pad(x, [(0, 0), (0, 0), (p[0], p[0]), (p[1], p[1])])
    size = [(x.shape[2 + i] - d[i] * (k[i] - 1) - 1) // s[i] + 1 for i in range(2)]
    cols = [
        x[:, :, a * s[0] : a * s[0] + d[0] * (k[0] - 1) + 1 : d[0], b * s[1] : b * s[1] + d[1] * (k[1] - 1) + 1 : d[1]]
        for a, b in np.ndindex(*size)
    ]
    return np.stack([c.reshape(x.shape[0], -1) for c in cols], axis=-1)


def col2im(x, output_size, kernel_size, dilation=1, padding=0, stride=1):
    h, w = output_size
    c = x.shape[1] // math.prod(tupled(kernel_size, 2))
    where = im2col(np.arange(1, c * h * w + 1.0).reshape(1, c, h, w), kernel_size, dilation, padding, stride)[0]
    out = np.zeros((x.shape[0], c * h * w + 1), np.float64)
    for b in range(x.shape[0]):
        np.add.at(out[b], where.astype(int), x[b])
    return out[:, 1:].reshape(x.shape[0], c, h, w)


def _cubic(t, a=-0.75):
    t = abs(t)
    if t <= 1:
        return ((a + 2) * t - (a + 3)) * t * t + 1
    return (((t - 5) * t + 8) * t - 4) * a if t < 2 else 0.0


def _taps(mode, size, target, scale, align):
    """For every output position of a dim: [(input position, weight)]."""
    ratio = ((size - 1) / (target - 1) if target > 1 else 0) if align else (1 / scale if scale else size / target)
    rows = []
    for o in range(target):
        if mode == "nearest":
            rows.append([(min(int(math.floor(o * ratio)), size - 1), 1.0)])
            continue
        if mode == "nearest-exact":
            rows.append([(min(int(math.floor((o + 0.5) * ratio)), size - 1), 1.0)])
            continue
        if mode == "area":
            lo, hi = o * size // target, -(-(o + 1) * size // target)
            rows.append([(i, 1 / (hi - lo)) for i in range(lo, hi)])
            continue
        at = o * ratio if align else (o + 0.5) * ratio - 0.5
        if mode == "linear":
            at = max(at, 0.0)
            i = min(int(at), size - 1)
            rows.append([(i, 1 - (at - i)), (min(i + 1, size - 1), at - i)])
        else:
            i = math.floor(at)
            rows.append([(min(max(i + k, 0), size - 1), _cubic(at - i - k)) for k in (-1, 0, 1, 2)])
    return rows


def interpolate(x, size=None, scale_factor=None, mode="nearest", align_corners=None, recompute_scale_factor=None):
    n = x.ndim - 2
    scales = tupled(scale_factor, n) if isinstance(scale_factor, (int, tuple, list)) else (scale_factor,) * n
    target = tupled(size, n) if size is not None else [int(s * f) for s, f in zip(x.shape[2:], scales)]
    if size is not None or recompute_scale_factor:
        scales = (None,) * n
    kind = {"bilinear": "linear", "trilinear": "linear", "bicubic": "cubic"}.get(mode, mode)
    for d in range(n):
        rows = _taps(kind, x.shape[2 + d], target[d], scales[d], bool(align_corners))
        lanes = [sum(np.take(x, i, axis=2 + d) * w for i, w in row) for row in rows]
        x = np.stack(lanes, axis=2 + d)
    return x


def _unnormalise(g, size, align):
    return (g + 1) / 2 * (size - 1) if align else ((g + 1) * size - 1) / 2


def _reflect(v, size, align):
    low, high = (0.0, size - 1.0) if align else (-0.5, size - 0.5)
    span = high - low
    if span == 0:
        return 0.0
    v = abs(v - low) % (2 * span)
    return low + (v if v <= span else 2 * span - v)


def grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False):
    n = x.ndim - 2
    out = np.zeros((*x.shape[:2], *grid.shape[1:-1]), np.float64)
    sizes = x.shape[2:]

    def place(v, size):
        if padding_mode == "reflection":
            v = _reflect(v, size, align_corners)
        return v if padding_mode == "zeros" else min(max(v, 0.0), size - 1.0)

    for at in np.ndindex(grid.shape[0], *grid.shape[1:-1]):
        raw = [_unnormalise(g, s, align_corners) for g, s in zip(grid[at][::-1], sizes)]
        taps = []
        for v, s in zip(raw, sizes):
            if mode == "bicubic":
                i = math.floor(v)
                taps.append([(place(i + k, s), _cubic(v - i - k)) for k in (-1, 0, 1, 2)])
                continue
            v = place(v, s)
            if mode == "nearest":
                taps.append([(float(np.rint(v)), 1.0)])
            else:
                i = math.floor(v)
                taps.append([(i, 1 - (v - i)), (i + 1, v - i)])
        for combination in itertools.product(*taps):
            index = [int(i) for i, _ in combination]
            if all(0 <= i < s for i, s in zip(index, sizes)):
                weight = math.prod(w for _, w in combination)
                out[(at[0], slice(None), *at[1:])] += weight * x[(at[0], slice(None), *index)]
    assert n in (2, 3)
    return out


def affine_grid(theta, size, align_corners=False):
    def axis(s):
        return np.linspace(-1, 1, s) if align_corners else (2 * np.arange(s) + 1) / s - 1

    axes = np.meshgrid(*[axis(s) for s in size[2:]], indexing="ij")
    base = np.stack([*axes[::-1], np.ones_like(axes[0])], axis=-1)
    return np.einsum("...k,nik->n...i", base, theta)


def pixel_shuffle(x, r):
    *b, c, h, w = x.shape
    x = x.reshape(*b, c // (r * r), r, r, h, w)
    n = len(b)
    return x.transpose(*range(n), n, n + 3, n + 1, n + 4, n + 2).reshape(*b, c // (r * r), h * r, w * r)


def pixel_unshuffle(x, r):
    *b, c, h, w = x.shape
    n = len(b)
    x = x.reshape(*b, c, h // r, r, w // r, r)
    return x.transpose(*range(n), n, n + 2, n + 4, n + 1, n + 3).reshape(*b, c * r * r, h // r, w // r)


def channel_shuffle(x, groups):
    b, c, *rest = x.shape
    return x.reshape(b, groups, c // groups, *rest).swapaxes(1, 2).reshape(x.shape)


def pad(x, pad, mode="constant", value=None):
    widths = [(0, 0)] * x.ndim
    for i in range(len(pad) // 2):
        widths[x.ndim - 1 - i] = (pad[2 * i], pad[2 * i + 1])
    crop = tuple(slice(max(-a, 0), s - max(-b, 0)) for (a, b), s in zip(widths, x.shape))
    widths = [(max(a, 0), max(b, 0)) for a, b in widths]
    kind = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode]
    kwargs = {"constant_values": value or 0} if kind == "constant" else {}
    return np.pad(x[crop], widths, kind, **kwargs)


# Normalisation


def _shaped(v, ndim, default):
    return default if v is None else v.reshape(-1, *[1] * (ndim - 2))


def batch_norm(x, mean, var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    if training or mean is None:
        axes = (0, *range(2, x.ndim))
        mean, var = x.mean(axes), x.var(axes)
    y = (x - _shaped(mean, x.ndim, 0)) / np.sqrt(_shaped(var, x.ndim, 1) + eps)
    return y * _shaped(weight, x.ndim, 1) + _shaped(bias, x.ndim, 0)


def group_norm(x, groups, weight=None, bias=None, eps=1e-5):
    y = x.reshape(x.shape[0], groups, -1)
    y = ((y - y.mean(2, keepdims=True)) / np.sqrt(y.var(2, keepdims=True) + eps)).reshape(x.shape)
    return y * _shaped(weight, x.ndim, 1) + _shaped(bias, x.ndim, 0)


def layer_norm(x, shape, weight=None, bias=None, eps=1e-5):
    axes = tuple(range(-len(shape), 0))
    y = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)
    return y * (1 if weight is None else weight) + (0 if bias is None else bias)


def rms_norm(x, shape, weight=None, eps=None):
    axes = tuple(range(-len(shape), 0))
    y = x / np.sqrt((x * x).mean(axes, keepdims=True) + (np.finfo(np.float32).eps if eps is None else eps))
    return y * (1 if weight is None else weight)


def local_response_norm(x, size, alpha=1e-4, beta=0.75, k=1.0):
    c = x.shape[1]
    windows = [
        np.sum(x[:, max(0, i - size // 2) : min(c, i + (size - 1) // 2 + 1)] ** 2, axis=1) / size for i in range(c)
    ]
    return x / (k + alpha * np.stack(windows, axis=1)) ** beta


def renorm(x, p, dim, maxnorm):
    norms = vector_norm(x, p, tuple(d for d in range(x.ndim) if d != dim % x.ndim), keepdim=True)
    return x * np.where(norms > maxnorm, maxnorm / (norms + 1e-7), 1)


# Losses


def reduced(f):
    def g(*args, reduction="mean", **kwargs):
        loss = f(*args, **kwargs)
        return {"mean": np.mean, "sum": np.sum, "none": np.asarray}[reduction](loss)

    return g


def nll_loss(logp, target, weight=None, ignore_index=-100, reduction="mean"):
    if logp.ndim == 1:
        logp, target, single = logp[None], target[None], True
    else:
        single = False
    classes = np.moveaxis(logp, 1, -1)
    keep = target != ignore_index
    safe = np.where(keep, target, 0)
    w = (np.ones(logp.shape[1]) if weight is None else weight)[safe] * keep
    loss = -np.take_along_axis(classes, safe[..., None], -1)[..., 0] * w
    if reduction == "none":
        return loss[0] if single else loss
    return loss.sum() / w.sum() if reduction == "mean" else loss.sum()


def cross_entropy(x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    c_axis = 0 if x.ndim == 1 else 1
    logp, c = log_softmax(x, c_axis), x.shape[c_axis]
    w = np.ones(c) if weight is None else weight
    if target.dtype.kind == "f":
        soft = target * (1 - label_smoothing) + label_smoothing / c
        loss = -(logp * soft * w.reshape(-1, *[1] * (x.ndim - 1 - c_axis))).sum(c_axis)
        n = loss.size
        return {"none": loss, "sum": loss.sum(), "mean": loss.sum() / n}[reduction]
    plain = nll_loss(logp, target, weight, ignore_index, reduction)
    if not label_smoothing:
        return plain
    keep = target != ignore_index
    smooth = -(logp * w.reshape(-1, *[1] * (x.ndim - 1 - c_axis))).sum(c_axis) * keep
    if reduction == "mean":
        smooth = smooth.sum() / (w[np.where(keep, target, 0)] * keep).sum()
    elif reduction == "sum":
        smooth = smooth.sum()
    return (1 - label_smoothing) * plain + label_smoothing / c * smooth


def ctc_loss(logp, targets, input_lengths, target_lengths, blank=0, reduction="mean", zero_infinity=False):
    losses = []
    for b, (t_len, s_len) in enumerate(zip(input_lengths, target_lengths)):
        labels = [blank]
        for s in targets[b][:s_len]:
            labels += [s, blank]
        alpha = np.full(len(labels), -np.inf)
        alpha[:2] = logp[0, b, labels[:2]]
        for t in range(1, t_len):
            new = np.full_like(alpha, -np.inf)
            for s in range(len(labels)):
                skip = s >= 2 and labels[s] != blank and labels[s] != labels[s - 2]
                paths = [alpha[s]] + ([alpha[s - 1]] if s >= 1 else []) + ([alpha[s - 2]] if skip else [])
                new[s] = np.logaddexp.reduce(paths) + logp[t, b, labels[s]]
            alpha = new
        losses.append(-np.logaddexp.reduce(alpha[-2:]))
    losses = np.array(losses)
    if zero_infinity:
        losses = np.where(np.isinf(losses), 0, losses)
    if reduction == "mean":
        return np.mean(losses / np.maximum(target_lengths, 1))
    return losses.sum() if reduction == "sum" else losses


def multilabel_margin(x, target):
    rows = []
    for xi, ti in zip(x, target):
        positive = list(itertools.takewhile(lambda j: j >= 0, ti))
        others = [k for k in range(len(xi)) if k not in positive]
        rows.append(sum(max(0.0, 1 - (xi[j] - xi[k])) for j in positive for k in others) / len(xi))
    return np.array(rows)


def multi_margin(x, target, p=1, margin=1.0, weight=None):
    rows = []
    for xi, t in zip(x, target):
        terms = [max(0.0, margin - xi[t] + xi[j]) ** p for j in range(len(xi)) if j != t]
        rows.append(sum(terms) * (1 if weight is None else weight[t]) / len(xi))
    return np.array(rows)


# Embedding, attention, distances


def embedding_bag(index, weight, offsets=None, mode="mean", per_sample_weights=None, include_last_offset=False):
    if offsets is None:
        bags = [(row, None if per_sample_weights is None else per_sample_weights[i]) for i, row in enumerate(index)]
    else:
        ends = offsets[1:] if include_last_offset else [*offsets[1:], len(index)]
        bags = [
            (index[a:b], None if per_sample_weights is None else per_sample_weights[a:b]) for a, b in zip(offsets, ends)
        ]
    reduce = {"mean": np.mean, "sum": np.sum, "max": np.max}[mode]
    out = []
    for rows, w in bags:
        values = weight[rows] * (1 if w is None else w[:, None])
        out.append(reduce(values, axis=0) if len(rows) else np.zeros(weight.shape[1]))
    return np.stack(out)


def attention(q, k, v, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None, enable_gqa=False):
    if enable_gqa:
        k, v = (np.repeat(t, q.shape[-3] // t.shape[-3], axis=-3) for t in (k, v))
    score = q @ np.swapaxes(k, -1, -2) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if is_causal:
        attn_mask = np.tril(np.ones(score.shape[-2:], bool))
    if attn_mask is not None:
        score = np.where(attn_mask, score, -np.inf) if attn_mask.dtype == bool else score + attn_mask
    return softmax(score, -1) @ v


def cdist(x, y, p=2.0, **_):
    return vector_norm(x[..., :, None, :] - y[..., None, :, :], p, -1)


def cosine_similarity(x, y, dim=1, eps=1e-8):
    return np.sum(x * y, dim) / (np.maximum(vector_norm(x, 2, dim), eps) * np.maximum(vector_norm(y, 2, dim), eps))


def matrix_exp(a):
    out = term = np.broadcast_to(np.eye(a.shape[-1]), a.shape)
    for k in range(1, 60):
        term = term @ a / k
        out = out + term
    return out
