"""Data loading, checkpointing and other helpers; submodules load when they are first used."""

from __future__ import annotations

import importlib
from typing import Any

_SUBMODULES = ("checkpoint", "data", "dlpack", "hooks", "tensorboard")


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        try:
            return importlib.import_module(f"{__name__}.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.{name}":
                raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
