"""Linear algebra: torch.linalg. The functions are the core's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._core import LinAlgError as LinAlgError
from ._core import linalg as _native

globals().update({name: getattr(_native, name) for name in dir(_native) if not name.startswith("_")})

if TYPE_CHECKING:
    # The functions are known at import time only.
    def __getattr__(name: str) -> Any: ...
