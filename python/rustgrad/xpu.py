"""Intel's GPUs under their own name: not there."""

from __future__ import annotations

from typing import Any, NoReturn


def is_available() -> bool:
    """False."""
    return False


def device_count() -> int:
    """0."""
    return 0


def manual_seed(seed: int) -> None:
    """Ignored: there is no generator to seed."""


manual_seed_all = manual_seed


def empty_cache() -> None:
    """Nothing is cached."""


def _missing(*args: Any, **kwargs: Any) -> NoReturn:
    raise AssertionError("Torch not compiled with XPU enabled")


synchronize = set_device = current_device = get_device_properties = get_device_name = _missing
