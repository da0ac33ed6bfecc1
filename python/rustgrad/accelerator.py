"""The accelerator of this machine: its GPUs (`rustgrad.gpu`), if there are any, in PyTorch's shape."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from . import _core, gpu

__all__ = [
    "current_accelerator",
    "current_device_idx",
    "current_device_index",
    "current_stream",
    "device_count",
    "device_index",
    "empty_cache",
    "get_memory_info",
    "is_available",
    "max_memory_allocated",
    "max_memory_reserved",
    "memory_allocated",
    "memory_reserved",
    "memory_stats",
    "reset_accumulated_memory_stats",
    "reset_peak_memory_stats",
    "set_device_idx",
    "set_device_index",
    "set_stream",
    "synchronize",
]


def _need() -> None:
    if not gpu.is_available():
        raise RuntimeError("Cannot access accelerator device when none is available.")


def is_available() -> bool:
    """Whether there is an accelerator."""
    return gpu.is_available()


def device_count() -> int:
    """How many accelerators there are."""
    return gpu.device_count()


def current_accelerator(check_available: bool = False) -> Any:
    """`device(type="gpu")`, or None without a GPU."""
    return _core.device("gpu") if gpu.is_available() else None


def current_device_index() -> int:
    """The index of the current GPU; RuntimeError without one."""
    _need()
    return gpu.current_device()


current_device_idx = current_device_index


def set_device_index(device: Any) -> None:
    """Chooses the current GPU; RuntimeError without one."""
    _need()
    gpu.set_device(device)


set_device_idx = set_device_index


class _Stream:
    """The one queue of a GPU: work runs in the order in which it was given."""

    def __init__(self, index: int) -> None:
        self.device = _core.device(f"gpu:{index}")

    def synchronize(self) -> None:
        gpu.synchronize(self.device)


def current_stream(device: Any = None) -> Any:
    """The queue of a GPU; RuntimeError without one."""
    _need()
    return _Stream(gpu._index(device))


def set_stream(stream: Any) -> None:
    """Each GPU has one queue, so there is nothing to choose; RuntimeError without a GPU."""
    _need()


def synchronize(device: Any = None) -> None:
    """Waits for a GPU; RuntimeError without one."""
    _need()
    gpu.synchronize(device)


def get_memory_info(device: Any = None) -> tuple[int, int]:
    """Refused: drivers do not tell through Vulkan, Metal and DX12 alike how much memory is free."""
    _need()
    raise NotImplementedError("the free memory of a GPU is not known; see memory_stats")


class device_index:
    """Another current GPU inside a context; None means no change."""

    def __init__(self, device: int | None) -> None:
        self.idx = device
        self.before: int | None = None

    def __enter__(self) -> None:
        if self.idx is not None:
            self.before = current_device_index()
            set_device_index(self.idx)

    def __exit__(self, *exc: object) -> None:
        if self.before is not None:
            set_device_index(self.before)


def empty_cache() -> None:
    """Gives memory that is kept for later back to the driver."""
    gpu.empty_cache()


def memory_allocated(device: Any = None) -> int:
    """Bytes in use on a GPU; 0 without one."""
    return gpu.memory_allocated(device) if gpu.is_available() else 0


def memory_reserved(device: Any = None) -> int:
    """Bytes held from the driver; 0 without a GPU."""
    return gpu.memory_reserved(device) if gpu.is_available() else 0


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes in use; 0 without a GPU."""
    return gpu.max_memory_allocated(device) if gpu.is_available() else 0


def max_memory_reserved(device: Any = None) -> int:
    """The most bytes held; 0 without a GPU."""
    return gpu.max_memory_reserved(device) if gpu.is_available() else 0


def memory_stats(device: Any = None) -> OrderedDict[str, Any]:
    """`rustgrad.gpu.memory_stats`; empty without a GPU."""
    return gpu.memory_stats(device) if gpu.is_available() else OrderedDict()


def reset_peak_memory_stats(device: Any = None) -> None:
    """Lets the peak start anew."""
    if gpu.is_available():
        gpu.reset_peak_memory_stats(device)


reset_accumulated_memory_stats = reset_peak_memory_stats
