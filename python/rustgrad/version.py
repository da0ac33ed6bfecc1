"""The version of this library, and of the PyTorch interface it offers."""

from __future__ import annotations

from importlib import metadata as _metadata

try:
    rustgrad = _metadata.version("rustgrad")
except _metadata.PackageNotFoundError:  # used from a source tree
    rustgrad = "0.0.0"

__version__ = "2.13.0"
debug = False
cuda: str | None = None
hip: str | None = None
rocm: str | None = None
xpu: str | None = None
git_version = "unknown"

__all__ = ["__version__", "cuda", "debug", "git_version", "hip", "rocm", "xpu"]
