"""The old names of mixed precision for CUDA."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import rustgrad as rg
from rustgrad.amp import autocast_mode as _modes

from . import grad_scaler as grad_scaler
from .grad_scaler import GradScaler as GradScaler

__all__ = ["GradScaler", "amp_definitely_not_available", "autocast", "custom_bwd", "custom_fwd"]


def amp_definitely_not_available() -> bool:
    """True."""
    return not rg.cuda.is_available()


class autocast(_modes.autocast):
    """The old form of torch.amp.autocast('cuda')."""

    def __init__(self, enabled: bool = True, dtype: Any = None, cache_enabled: bool = True) -> None:
        warnings.warn(
            "`torch.cuda.amp.autocast(args...)` is deprecated. "
            "Please use `torch.amp.autocast('cuda', args...)` instead.",
            FutureWarning,
            stacklevel=2,
        )
        super().__init__("cuda", enabled=enabled, dtype=dtype, cache_enabled=cache_enabled)


custom_fwd = functools.partial(_modes.custom_fwd, device_type="cuda")
custom_bwd = functools.partial(_modes.custom_bwd, device_type="cuda")
