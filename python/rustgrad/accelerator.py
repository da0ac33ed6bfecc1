"""The accelerator of this machine: none, so far."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NoReturn

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


def _missing() -> NoReturn:
    raise RuntimeError("Cannot access accelerator device when none is available.")


def is_available() -> bool:
    """Whether there is an accelerator."""
    return False


def device_count() -> int:
    """How many accelerators there are."""
    return 0


def current_accelerator(check_available: bool = False) -> Any:
    """The device of the accelerator, or None."""
    return None


def current_device_index() -> int:
    """Raises RuntimeError without an accelerator."""
    _missing()


current_device_idx = current_device_index


def set_device_index(device: Any) -> None:
    """Raises RuntimeError without an accelerator."""
    _missing()


set_device_idx = set_device_index


def current_stream(device: Any = None) -> Any:
    """Raises RuntimeError without an accelerator."""
    _missing()


def set_stream(stream: Any) -> None:
    """Raises RuntimeError without an accelerator."""
    _missing()


def synchronize(device: Any = None) -> None:
    """Raises RuntimeError without an accelerator."""
    _missing()


def get_memory_info(device: Any = None) -> tuple[int, int]:
    """Raises RuntimeError without an accelerator."""
    _missing()


class device_index:
    """A device inside a context; None means no change."""

    def __init__(self, device: int | None) -> None:
        self.idx = device

    def __enter__(self) -> None:
        if self.idx is not None:
            _missing()

    def __exit__(self, *exc: object) -> None:
        pass


def empty_cache() -> None:
    """Nothing is cached."""


def memory_allocated(device: Any = None) -> int:
    """0."""
    return 0


memory_reserved = max_memory_allocated = max_memory_reserved = memory_allocated


def memory_stats(device: Any = None) -> OrderedDict[str, Any]:
    """Empty."""
    return OrderedDict()


def reset_peak_memory_stats(device: Any = None) -> None:
    """Nothing to reset."""


reset_accumulated_memory_stats = reset_peak_memory_stats
