"""Anomaly detection: accepted, not acted upon (errors name their operation as it is)."""

from __future__ import annotations

from types import TracebackType

__all__ = ["detect_anomaly", "set_detect_anomaly"]

_enabled = [False]


def is_anomaly_enabled() -> bool:
    """What set_detect_anomaly was given last."""
    return _enabled[0]


class set_detect_anomaly:
    """Switch the mode at once; as a context it is switched back at the end."""

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self.prev = _enabled[0]
        _enabled[0] = mode

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _enabled[0] = self.prev


class detect_anomaly:
    """The mode as a context."""

    def __init__(self, check_nan: bool = True) -> None:
        self.prev = _enabled[0]

    def __enter__(self) -> None:
        self.prev = _enabled[0]
        _enabled[0] = True

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        _enabled[0] = self.prev
