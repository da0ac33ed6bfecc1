"""The CPU as a device among others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from . import amp as amp


def is_available() -> bool:
    """True."""
    return True


def device_count() -> int:
    """1."""
    return 1


def current_device() -> str:
    """'cpu'."""
    return "cpu"


def set_device(device: Any) -> None:
    """Ignored: there is one."""


def synchronize(device: Any = None) -> None:
    """Nothing to wait for."""


def is_initialized() -> bool:
    """True."""
    return True


class Stream:
    """A stream without effect."""

    def __init__(self, priority: int = -1) -> None:
        pass

    def wait_stream(self, stream: Any) -> None:
        """Nothing to wait for."""


def current_stream(device: Any = None) -> Stream:
    """A stream without effect."""
    return Stream()


@contextmanager
def stream(stream: Any) -> Iterator[None]:
    """A context without effect."""
    yield
