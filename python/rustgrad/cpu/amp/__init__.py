"""The old names of mixed precision on the CPU."""

from __future__ import annotations

import warnings
from typing import Any

from rustgrad.amp import autocast_mode as _modes
from rustgrad.amp import grad_scaler as _scaler

__all__ = ["GradScaler", "autocast"]


class autocast(_modes.autocast):
    """The old form of torch.amp.autocast('cpu')."""

    def __init__(self, enabled: bool = True, dtype: Any = None, cache_enabled: bool = True) -> None:
        warnings.warn(
            "`torch.cpu.amp.autocast(args...)` is deprecated. "
            "Please use `torch.amp.autocast('cpu', args...)` instead.",
            FutureWarning,
            stacklevel=2,
        )
        super().__init__("cpu", enabled=enabled, dtype=dtype, cache_enabled=cache_enabled)


class GradScaler(_scaler.GradScaler):
    """The old form of torch.amp.GradScaler('cpu')."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__("cpu", *args, **kwargs)
