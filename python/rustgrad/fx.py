"""Graph capture's names: `wrap` is accepted, tracing is not offered."""

from __future__ import annotations

from typing import Any


def wrap(fn_or_name: Any) -> Any:
    """The function (or name) itself."""
    return fn_or_name


def symbolic_trace(root: Any, concrete_args: Any = None) -> Any:
    """Raises NotImplementedError."""
    raise NotImplementedError("rustgrad does not trace modules into graphs")


class Tracer:
    """Cannot be used: tracing is not offered."""

    def trace(self, root: Any, concrete_args: Any = None) -> Any:
        """Raises NotImplementedError."""
        return symbolic_trace(root, concrete_args)
