"""torch.nn.functional: the native functions of the core, and those that are written in Python."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import rustgrad as rg
from rustgrad._core import nn as _native

from ._attention import _canonical_mask as _canonical_mask
from ._attention import _in_projection as _in_projection
from ._attention import _in_projection_packed as _in_projection_packed
from ._attention import _mha_shape_check as _mha_shape_check
from ._attention import _none_or_dtype as _none_or_dtype
from ._attention import multi_head_attention_forward as multi_head_attention_forward
from ._resample import affine_grid as affine_grid
from ._resample import grid_sample as grid_sample
from ._resample import interpolate as interpolate

globals().update({name: getattr(_native, name) for name in dir(_native) if not name.startswith("_")})

if TYPE_CHECKING:
    # The natives are known at import time only.
    def __getattr__(name: str) -> Any: ...

    from rustgrad import Tensor


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Any:
    """Sample from the Gumbel-softmax distribution; `hard` gives one-hot samples with the soft gradient."""
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=2)
    gumbels = -rg.empty_like(logits, memory_format=rg.legacy_contiguous_format).exponential_().log()
    soft = ((logits + gumbels) / tau).softmax(dim)
    if not hard:
        return soft
    index = soft.max(dim, keepdim=True)[1]
    one_hot = rg.zeros_like(logits, memory_format=rg.legacy_contiguous_format).scatter_(dim, index, 1.0)
    return one_hot - soft.detach() + soft


def triplet_margin_with_distance_loss(anchor: Tensor, positive: Tensor, negative: Tensor, *,
                                      distance_function: Callable[..., Any] | None = None, margin: float = 1.0,
                                      swap: bool = False, reduction: str = "mean") -> Any:
    """max(d(a, p) - d(a, n) + margin, 0) for any distance; pairwise_distance by default."""
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    distance: Any = _native.pairwise_distance if distance_function is None else distance_function
    if not anchor.dim() == positive.dim() == negative.dim():
        raise RuntimeError("The anchor, positive, and negative tensors are expected to have the same number of "
                           f"dimensions, but got: anchor {anchor.dim()}D, positive {positive.dim()}D, and negative "
                           f"{negative.dim()}D inputs")
    dist_pos = distance(anchor, positive)
    dist_neg = distance(anchor, negative)
    if swap:
        dist_neg = rg.minimum(dist_neg, distance(positive, negative))
    loss = rg.clamp_min(margin + dist_pos - dist_neg, 0)
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


def assert_int_or_pair(arg: Any, arg_name: str, message: str) -> None:
    """Raise AssertionError, with the name put into the message, unless arg is an int or a pair."""
    if not (isinstance(arg, int) or len(arg) == 2):
        raise AssertionError(message.format(arg_name))


def _get_softmax_dim(name: str, ndim: int, stacklevel: int) -> int:
    warnings.warn(f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an "
                  "argument.", stacklevel=stacklevel)
    return 0 if ndim in (0, 1, 3) else 1


def _verify_batch_size(size: Any) -> None:
    """ValueError where batch statistics would be taken over one value."""
    count = size[0]
    for s in size[2:]:
        count *= s
    if count == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {size}")


def upsample(input: Tensor, size: Any = None, scale_factor: Any = None, mode: str = "nearest",
             align_corners: bool | None = None) -> Any:
    """Deprecated name of interpolate."""
    warnings.warn("`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2)
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Any:
    """Deprecated name of interpolate(mode="nearest")."""
    warnings.warn("`nn.functional.upsample_nearest` is deprecated. Use `nn.functional.interpolate` instead.",
                  stacklevel=2)
    return interpolate(input, size, scale_factor, "nearest")


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Any:
    """Deprecated name of interpolate(mode="bilinear", align_corners=True)."""
    warnings.warn("`nn.functional.upsample_bilinear` is deprecated. Use `nn.functional.interpolate` instead.",
                  stacklevel=2)
    return interpolate(input, size, scale_factor, "bilinear", True)


def _fractional_output(input: Tensor, n: int, output_size: Any, output_ratio: Any) -> tuple[int, ...]:
    if output_size is None and output_ratio is None:
        raise ValueError(f"fractional_max_pool{n}d requires specifying either an output_size or an output_ratio")
    if output_size is not None:
        return (output_size,) * n if isinstance(output_size, int) else tuple(output_size)
    ratios = (output_ratio,) * n if isinstance(output_ratio, float) else tuple(output_ratio)
    return tuple(int(s * r) for s, r in zip(input.shape[-n:], ratios))


def _intervals(samples: Any, size: int, out: int, kernel: int) -> Any:
    """Where each pooling window starts: evenly spread, shifted by one random number per plane."""
    if out == 1:
        return rg.full((*samples.shape, 1), size - kernel, dtype=rg.int64, device=samples.device)
    alpha = (size - kernel) / (out - 1)
    steps = rg.arange(out - 1, dtype=samples.dtype, device=samples.device)
    starts = ((steps + samples.unsqueeze(-1)) * alpha).to(rg.int64) - (samples * alpha).to(rg.int64).unsqueeze(-1)
    last = rg.full((*samples.shape, 1), size - kernel, dtype=rg.int64, device=samples.device)
    return rg.cat([starts, last], -1)


def _fractional(input: Tensor, kernel_size: Any, output_size: Any, output_ratio: Any, samples: Any,
                n: int) -> tuple[Any, Any]:
    kernel = (kernel_size,) * n if isinstance(kernel_size, int) else tuple(kernel_size)
    out = _fractional_output(input, n, output_size, output_ratio)
    batched = input if input.dim() == n + 2 else input.unsqueeze(0)
    if batched.dim() != n + 2:
        raise RuntimeError(f"fractional_max_pool{n}d(): Expected {n + 1}D or {n + 2}D tensor, but got: {input.dim()}D")
    for name, size, k, o in zip(("time", "height", "width")[-n:], batched.shape[2:], kernel, out):
        if o + k - 1 > size:
            raise RuntimeError(f"fractional_max_pool{n}d(): pool {name} {k} too large relative to input {name} {size}")
    batch, channels = batched.shape[:2]
    if samples is None:
        samples = rg.rand(batch, channels, n, dtype=input.dtype, device=input.device)
    # In 2-D, PyTorch's random numbers come last dimension first.
    flat: Any = None
    for d in range(n):
        start = _intervals(samples[..., 1 - d if n == 2 else d], batched.shape[2 + d], out[d], kernel[d])
        window = start.unsqueeze(-1) + rg.arange(kernel[d], device=start.device)  # (batch, channels, out, kernel)
        shape = [batch, channels] + [1] * (2 * n)
        shape[2 + d], shape[2 + n + d] = out[d], kernel[d]
        window = window.view(shape)
        flat = window if flat is None else flat * batched.shape[2 + d] + window
    flat = flat.reshape(batch, channels, -1)
    values = batched.flatten(2).gather(2, flat).view(batch, channels, *out, -1)
    best, where = values.max(-1)
    index = flat.view(batch, channels, *out, -1).gather(-1, where.unsqueeze(-1)).squeeze(-1)
    return (best, index) if input.dim() == n + 2 else (best.squeeze(0), index.squeeze(0))


def fractional_max_pool2d_with_indices(input: Tensor, kernel_size: Any, output_size: Any = None,
                                       output_ratio: Any = None, return_indices: bool = False,
                                       _random_samples: Any = None) -> tuple[Any, Any]:
    """Max pooling over windows at random places, to an output size or ratio; with the indices of the maxima."""
    return _fractional(input, kernel_size, output_size, output_ratio, _random_samples, 2)


def fractional_max_pool3d_with_indices(input: Tensor, kernel_size: Any, output_size: Any = None,
                                       output_ratio: Any = None, return_indices: bool = False,
                                       _random_samples: Any = None) -> tuple[Any, Any]:
    """Max pooling over windows at random places, to an output size or ratio; with the indices of the maxima."""
    return _fractional(input, kernel_size, output_size, output_ratio, _random_samples, 3)


def fractional_max_pool2d(input: Tensor, kernel_size: Any, output_size: Any = None, output_ratio: Any = None,
                          return_indices: bool = False, _random_samples: Any = None) -> Any:
    """Max pooling over windows at random places, to an output size or ratio."""
    both = _fractional(input, kernel_size, output_size, output_ratio, _random_samples, 2)
    return both if return_indices else both[0]


def fractional_max_pool3d(input: Tensor, kernel_size: Any, output_size: Any = None, output_ratio: Any = None,
                          return_indices: bool = False, _random_samples: Any = None) -> Any:
    """Max pooling over windows at random places, to an output size or ratio."""
    both = _fractional(input, kernel_size, output_size, output_ratio, _random_samples, 3)
    return both if return_indices else both[0]
