"""Modules without their first values."""

from __future__ import annotations

import inspect
from typing import Any

import rustgrad as rg

from ..modules.module import Module


def skip_init(module_cls: Any, *args: Any, **kwargs: Any) -> Any:
    """Make a module whose parameters are allocated and not initialized."""
    if not issubclass(module_cls, Module):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    device = kwargs.pop("device", "cpu")
    states = rg.random._get_all_states()
    module = module_cls(*args, **kwargs, device=device)
    rg.random._set_all_states(states)  # the values drawn are of no use, so they are given back
    return module
