"""The parts of the old profiler that programs use; timing itself is in rustgrad.profiler."""

from rustgrad.profiler import profile as profile
from rustgrad.profiler import record_function as record_function

__all__ = ["profile", "record_function"]


class emit_nvtx:
    """Does nothing without CUDA."""

    def __init__(self, enabled: bool = True, record_shapes: bool = False) -> None:
        self.enabled = enabled

    def __enter__(self) -> "emit_nvtx":
        return self

    def __exit__(self, *exc: object) -> None:
        pass
