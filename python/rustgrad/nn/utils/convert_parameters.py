"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import rustgrad as rg
from rustgrad import Tensor


def _check_param_device(param: Any, old_param_device: Any) -> Any:
    """TypeError where parameters lie on different devices."""
    if old_param_device is None:
        return param.device
    if param.device != old_param_device:
        raise TypeError("Found two parameters on different devices, this is currently not supported.")
    return old_param_device


def parameters_to_vector(parameters: Iterable[Any]) -> Any:
    """All parameters, flattened, one after another."""
    device = None
    pieces = []
    for param in parameters:
        device = _check_param_device(param, device)
        pieces.append(param.view(-1))
    return rg.cat(pieces)


def vector_to_parameters(vec: Any, parameters: Iterable[Any]) -> None:
    """Let every parameter be its slice of the vector, one after another."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {type(vec).__name__}")
    device = None
    start = 0
    for param in parameters:
        device = _check_param_device(param, device)
        n = param.numel()
        param.data = vec[start:start + n].view_as(param).data
        start += n
