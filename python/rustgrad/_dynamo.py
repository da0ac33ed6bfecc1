"""The compiler's front end by its private name, which some programs configure; without effect."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from rustgrad.compiler import allow_in_graph as allow_in_graph
from rustgrad.compiler import disable as disable
from rustgrad.compiler import is_compiling as is_compiling
from rustgrad.compiler import reset as reset

config = SimpleNamespace(
    suppress_errors=False, cache_size_limit=8, recompile_limit=8, verbose=False, optimize_ddp=True
)


def graph_break(msg: str = "") -> None:
    """Ignored."""


def mark_dynamic(t: Any, index: Any, **kwargs: Any) -> None:
    """Ignored."""


mark_static = maybe_mark_dynamic = mark_dynamic


def optimize(*args: Any, **kwargs: Any) -> Any:
    """A decorator that returns the function."""
    return lambda fn: fn
