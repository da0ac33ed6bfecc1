"""What the distributions share."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import rustgrad as rg
from rustgrad.autograd import Function

__all__ = ["broadcast_all", "clamp_probs", "lazy_property", "logits_to_probs", "probs_to_logits", "tril_matrix_to_vec"]

euler_constant = 0.57721566490153286060


def broadcast_all(*values: Any) -> tuple[Any, ...]:
    """Numbers and tensors as tensors of one shape; numbers take the dtype of the tensors."""
    if not all(isinstance(v, (int, float, rg.Tensor)) or hasattr(v, "__torch_function__") for v in values):
        raise ValueError(
            "Input arguments must all be instances of Number, torch.Tensor or objects implementing __torch_function__."
        )
    tensors = [v for v in values if isinstance(v, rg.Tensor)]
    if len(tensors) < len(values):
        like: dict[str, Any] = {"dtype": rg.get_default_dtype()}
        if tensors:
            like = {"dtype": tensors[0].dtype, "device": tensors[0].device}
        values = tuple(v if isinstance(v, rg.Tensor) else rg.tensor(v, **like) for v in values)
    return tuple(rg.broadcast_tensors(*values))


def standard_normal(shape: Any, dtype: Any, device: Any) -> Any:
    """Normal numbers of mean 0 and deviation 1."""
    return rg.normal(rg.zeros(shape, dtype=dtype, device=device), rg.ones(shape, dtype=dtype, device=device))


def logits_to_probs(logits: Any, is_binary: bool = False) -> Any:
    """Probabilities from log odds (binary) or from log probabilities up to a constant."""
    return rg.sigmoid(logits) if is_binary else rg.softmax(logits, dim=-1)


def clamp_probs(probs: Any) -> Any:
    """Probabilities kept away from 0 and 1."""
    eps = rg.finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def probs_to_logits(probs: Any, is_binary: bool = False) -> Any:
    """The inverse of logits_to_probs."""
    clamped = clamp_probs(probs)
    return rg.log(clamped) - rg.log1p(-clamped) if is_binary else rg.log(clamped)


def sum_rightmost(value: Any, dim: int) -> Any:
    """Sum over the last `dim` dimensions."""
    return value if dim == 0 else value.reshape(tuple(value.shape[:-dim]) + (-1,)).sum(-1)


def tril_matrix_to_vec(mat: Any, diag: int = 0) -> Any:
    """The lower triangle of (batches of) matrices as vectors."""
    n = mat.shape[-1]
    rows, columns = rg.tril_indices(n, n, diag)
    return mat[..., rows, columns]


class lazy_property:
    """An attribute computed when it is first asked for, with recording on."""

    def __init__(self, wrapped: Callable[[Any], Any]) -> None:
        self.wrapped = wrapped
        self.__doc__ = wrapped.__doc__

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        with rg.enable_grad():
            value = self.wrapped(instance)
        setattr(instance, self.wrapped.__name__, value)
        return value


def _gamma_number(alpha: float, normal: Callable[[], float], uniform: Callable[[], float]) -> float:
    """One gamma number by the method of Marsaglia and Tsang, drawing in PyTorch's order."""
    scale = 1.0
    if alpha < 1.0:
        if alpha == 0.0:
            return 0.0
        scale = (1 - uniform()) ** (1.0 / alpha)
        alpha += 1.0
    d = alpha - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    while True:
        x = normal()
        y = 1.0 + c * x
        while y <= 0:
            x = normal()
            y = 1.0 + c * x
        v = y * y * y
        u = 1 - uniform()
        if u < 1.0 - 0.0331 * x**4 or math.log(u) < 0.5 * x * x + d * (1.0 - v + math.log(v)):
            return scale * d * v


class _StandardGamma(Function):
    """Gamma numbers; the gradient is that of the inverse of the distribution function."""

    @staticmethod
    def forward(ctx: Any, alpha: Any) -> Any:
        def normal() -> float:
            return float(rg.randn((), dtype=rg.float64))

        def uniform() -> float:
            return float(rg.rand((), dtype=rg.float64))

        values = [_gamma_number(a, normal, uniform) for a in alpha.double().reshape(-1).tolist()]
        result = rg.tensor(values, dtype=rg.float64).reshape(alpha.shape).to(alpha.dtype)
        result = result.clamp(min=rg.finfo(alpha.dtype).tiny)
        ctx.save_for_backward(alpha, result)
        return result

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        alpha, value = (t.detach().double() for t in ctx.saved_tensors)
        step = 1e-4 * alpha.clamp(max=1.0)
        slope = (rg.special.gammainc(alpha + step, value) - rg.special.gammainc(alpha - step, value)) / (2 * step)
        log_density = rg.xlogy(alpha - 1, value) - value - rg.lgamma(alpha)
        return grad * (-slope / log_density.exp()).to(grad.dtype)


def standard_gamma(alpha: Any) -> Any:
    """Gamma numbers of rate 1, differentiable in the concentration."""
    native = getattr(rg, "_standard_gamma", None)
    return native(alpha) if native is not None else _StandardGamma.apply(alpha)
