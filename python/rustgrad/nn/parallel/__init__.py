"""Data parallelism. There is one device to a module, so DataParallel calls the module it wraps."""

from .data_parallel import DataParallel, data_parallel

__all__ = ["DataParallel", "data_parallel"]
