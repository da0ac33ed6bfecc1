"""CUDA's switches; there is no CUDA."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _MatmulFlags:
    def __init__(self) -> None:
        self.allow_tf32 = False
        self.allow_fp16_reduced_precision_reduction = True
        self.allow_bf16_reduced_precision_reduction = True
        self.allow_fp16_accumulation = False
        self.fp32_precision = "none"


class _PlanCache:
    size = 0
    max_size = 0

    def clear(self) -> None:
        """Nothing is cached."""


matmul = _MatmulFlags()
cufft_plan_cache = _PlanCache()
_sdp = {"flash": True, "mem_efficient": True, "math": True, "cudnn": True}


def is_built() -> bool:
    """False."""
    return False


def flash_sdp_enabled() -> bool:
    """What enable_flash_sdp was given last."""
    return _sdp["flash"]


def enable_flash_sdp(enabled: bool) -> None:
    """Kept; there is one kernel."""
    _sdp["flash"] = enabled


def mem_efficient_sdp_enabled() -> bool:
    """What enable_mem_efficient_sdp was given last."""
    return _sdp["mem_efficient"]


def enable_mem_efficient_sdp(enabled: bool) -> None:
    """Kept; there is one kernel."""
    _sdp["mem_efficient"] = enabled


def math_sdp_enabled() -> bool:
    """What enable_math_sdp was given last."""
    return _sdp["math"]


def enable_math_sdp(enabled: bool) -> None:
    """Kept; there is one kernel."""
    _sdp["math"] = enabled


def cudnn_sdp_enabled() -> bool:
    """What enable_cudnn_sdp was given last."""
    return _sdp["cudnn"]


def enable_cudnn_sdp(enabled: bool) -> None:
    """Kept; there is one kernel."""
    _sdp["cudnn"] = enabled


def is_flash_attention_available() -> bool:
    """False."""
    return False


def preferred_linalg_library(backend: Any = None) -> str:
    """'default'."""
    return "default"


@contextmanager
def sdp_kernel(
    enable_flash: bool = True,
    enable_math: bool = True,
    enable_mem_efficient: bool = True,
    enable_cudnn: bool = True,
) -> Iterator[dict[str, bool]]:
    """The choice of attention kernels inside a context; kept, there is one kernel."""
    before = dict(_sdp)
    _sdp.update(flash=enable_flash, math=enable_math, mem_efficient=enable_mem_efficient, cudnn=enable_cudnn)
    try:
        yield {}
    finally:
        _sdp.update(before)
