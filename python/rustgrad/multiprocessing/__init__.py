"""Python's multiprocessing, with tensors that travel between processes and `spawn`."""

from __future__ import annotations

import multiprocessing as _python
import sys as _sys
from collections.abc import Callable
from multiprocessing import *  # noqa: F403
from multiprocessing.reduction import ForkingPickler
from typing import Any

import rustgrad as rg

from .spawn import ProcessContext as ProcessContext
from .spawn import ProcessExitedException as ProcessExitedException
from .spawn import ProcessRaisedException as ProcessRaisedException
from .spawn import SpawnContext as SpawnContext
from .spawn import spawn as spawn
from .spawn import start_processes as start_processes

__all__ = ["get_all_sharing_strategies", "get_sharing_strategy", "set_sharing_strategy", "spawn"]
__all__ += _python.__all__

current_process = _python.current_process


def _numpy_of(tensor: Any) -> Any:
    return tensor.detach().cpu().contiguous().numpy()


def _rebuild(cls: Callable[..., Any] | None, array: Any, dtype: str | None, requires_grad: bool) -> Any:
    tensor = rg.from_numpy(array)
    if dtype is not None:
        tensor = tensor.view(getattr(rg, dtype))
    if cls is not None:
        return cls(tensor, requires_grad)
    return tensor.requires_grad_() if requires_grad else tensor


def _parameter(tensor: Any, requires_grad: bool) -> Any:
    return rg.nn.Parameter(tensor, requires_grad)


def _reduce(tensor: Any) -> tuple[Any, ...]:
    """A tensor as the NumPy array of its values; bfloat16 goes as the integers of the same bits."""
    name = None
    # The class goes by its own function: its name is PyTorch's, which pickle would look for in a module `torch`.
    cls = {rg.Tensor: None, rg.nn.Parameter: _parameter}.get(type(tensor), type(tensor))
    values = tensor.detach()
    if values.dtype == rg.bfloat16:
        name, values = "bfloat16", values.view(rg.int16)
    return _rebuild, (cls, _numpy_of(values), name, bool(tensor.requires_grad))


def _register(cls: type) -> None:
    """Let tensors of this class travel by value."""
    ForkingPickler.register(cls, _reduce)


_register(rg.Tensor)
_register(rg.nn.Parameter)


def get_all_sharing_strategies() -> set[str]:
    """Names of the ways to share tensors; they all copy here."""
    return {"file_descriptor", "file_system"}


_strategy = ["file_descriptor" if _sys.platform.startswith("linux") else "file_system"]


def get_sharing_strategy() -> str:
    """The name set_sharing_strategy was given."""
    return _strategy[0]


def set_sharing_strategy(new_strategy: str) -> None:
    """Accepted for compatibility; tensors are copied between processes."""
    if new_strategy not in get_all_sharing_strategies():
        raise AssertionError(f"invalid sharing strategy {new_strategy!r}")
    _strategy[0] = new_strategy
