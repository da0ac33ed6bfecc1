"""Gradient clipping."""

from __future__ import annotations

import types
import warnings
from typing import Any

import rustgrad as rg
from rustgrad import Tensor, _core

__all__ = ["clip_grad_norm", "clip_grad_norm_", "clip_grad_value_"]


def _as_list(tensors: Any) -> list[Any]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _norm_of_norms(tensors: list[Any], norm_type: float) -> Any:
    device = tensors[0].device
    norms = [rg.linalg.vector_norm(t, norm_type).to(device) for t in tensors]
    return rg.linalg.vector_norm(rg.stack(norms), norm_type)


def _get_total_norm(tensors: Any, norm_type: float = 2.0, error_if_nonfinite: bool = False,
                    foreach: bool | None = None) -> Any:
    """The norm of all the tensors taken as one vector; RuntimeError if it must be finite and is not."""
    with rg.no_grad():
        tensors = _as_list(tensors)
        norm_type = float(norm_type)
        if not tensors:
            return rg.tensor(0.0)
        total = _core._grads_norm(tensors) if norm_type == 2.0 else None
        if total is None:
            total = _norm_of_norms(tensors, norm_type)
        if error_if_nonfinite and not bool(rg.isfinite(total)):
            raise RuntimeError(
                f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be "
                "clipped. To disable this error and scale the gradients by the non-finite norm anyway, set "
                "`error_if_nonfinite=False`")
        return total


def _clip_grads_with_norm_(parameters: Any, max_norm: float, total_norm: Any, foreach: bool | None = None) -> None:
    """Scale the gradients by max_norm / total_norm where that is below one, in place."""
    with rg.no_grad():
        grads = [g for g in (p.grad for p in _as_list(parameters)) if g is not None]
        if _core._grads_clip(grads, float(max_norm), total_norm):
            return
        coef = rg.clamp(float(max_norm) / (total_norm + 1e-6), max=1.0)
        for g in grads:
            g.mul_(coef.to(g.device))


def clip_grad_norm_(parameters: Any, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False,
                    foreach: bool | None = None) -> Any:
    """Scale all gradients so that their norm, as one vector, is at most max_norm; returns the norm before."""
    is_generator = isinstance(parameters, types.GeneratorType)
    parameters = _as_list(parameters)
    if is_generator and not parameters:
        warnings.warn("`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=3)
    grads = [g for g in (p.grad for p in parameters) if g is not None]
    total_norm = _get_total_norm(grads, norm_type, error_if_nonfinite, foreach)
    _clip_grads_with_norm_(parameters, max_norm, total_norm, foreach)
    return total_norm


def clip_grad_norm(parameters: Any, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False,
                   foreach: bool | None = None) -> Any:
    """Deprecated name of clip_grad_norm_."""
    warnings.warn("`torch.nn.utils.clip_grad_norm` is now deprecated in favor of `torch.nn.utils.clip_grad_norm_`.",
                  FutureWarning, stacklevel=2)
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


def clip_grad_value_(parameters: Any, clip_value: float, foreach: bool | None = None) -> None:
    """Clamp every gradient element to [-clip_value, clip_value]."""
    clip_value = float(clip_value)
    with rg.no_grad():
        for p in _as_list(parameters):
            if p.grad is not None:
                p.grad.clamp_(min=-clip_value, max=clip_value)

