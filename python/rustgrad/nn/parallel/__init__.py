"""Data parallelism. There is one device to a module, so DataParallel calls the module it wraps."""

from .data_parallel import DataParallel, data_parallel
from .distributed import DistributedDataParallel

__all__ = ["DataParallel", "DistributedDataParallel", "data_parallel"]
