"""Apple's Metal as a device: not there."""

from __future__ import annotations

from typing import NoReturn


def _missing() -> NoReturn:
    raise RuntimeError("Cannot use the MPS device: it is not available.")


def is_available() -> bool:
    """False."""
    return False


def device_count() -> int:
    """0."""
    return 0


def manual_seed(seed: int) -> None:
    """Ignored: there is no generator to seed."""


def empty_cache() -> None:
    """Raises RuntimeError."""
    raise RuntimeError("Cannot execute emptyCache() without MPS backend.")


def synchronize() -> None:
    """Raises RuntimeError."""
    _missing()


def current_allocated_memory() -> int:
    """0."""
    return 0


driver_allocated_memory = current_allocated_memory
