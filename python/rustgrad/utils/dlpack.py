"""DLPack capsules: tensors to and from other libraries without a copy."""

from __future__ import annotations

from typing import Any

from .. import _core
from .._core import from_dlpack as from_dlpack

__all__ = ["to_dlpack", "from_dlpack"]


def to_dlpack(tensor: Any) -> Any:
    """A capsule over the tensor's memory, to be consumed once."""
    return _core._to_dlpack(tensor)
