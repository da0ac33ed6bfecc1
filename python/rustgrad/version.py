"""The version of this library (`rustgrad`), and of the PyTorch interface it offers."""

from __future__ import annotations

from typing import Any

__version__ = "2.13.0"
debug = False
cuda: str | None = None
hip: str | None = None
rocm: str | None = None
xpu: str | None = None
git_version = "unknown"

__all__ = ["__version__", "cuda", "debug", "git_version", "hip", "rocm", "xpu"]


def __getattr__(name: str) -> Any:
    if name != "rustgrad":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # Only when asked for: it takes as long to import as all of this package.
    from importlib import metadata

    try:
        return metadata.version("rustgrad")
    except metadata.PackageNotFoundError:  # used from a source tree
        return "0.0.0"
