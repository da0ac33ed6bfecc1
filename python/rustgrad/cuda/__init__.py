"""CUDA's names, for programs that ask: there is no such device here.

Questions are answered (no device, no memory used), harmless requests are ignored, and what needs a
device raises AssertionError. `offer_gpu`, which is `python -m rustgrad.run --gpu-as cuda`, puts the GPU of
`rustgrad.gpu` under these names instead.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import rustgrad as rg
from rustgrad._core import OutOfMemoryError as OutOfMemoryError

from . import amp as amp

_MESSAGE = "Torch not compiled with CUDA enabled"


def _missing(*args: Any, **kwargs: Any) -> NoReturn:
    raise AssertionError(_MESSAGE)


class CudaError(RuntimeError):
    """A CUDA call failed."""


has_half = True
has_magma = False
default_generators: tuple[Any, ...] = ()


def is_available() -> bool:
    """False."""
    return False


def device_count() -> int:
    """0."""
    return 0


def is_initialized() -> bool:
    """False."""
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """False."""
    return False


def is_tf32_supported() -> bool:
    """False."""
    return False


def get_arch_list() -> list[str]:
    """No architectures."""
    return []


def get_gencode_flags() -> str:
    """No flags."""
    return ""


def init() -> None:
    """Raises AssertionError."""
    _missing()


def synchronize(device: Any = None) -> None:
    """Raises AssertionError."""
    _missing()


def current_device() -> int:
    """Raises AssertionError."""
    _missing()


def set_device(device: Any) -> None:
    """Raises AssertionError, but for a negative index, which means no change."""
    index = device if isinstance(device, int) else getattr(rg.device(device), "index", None)
    if index is None or index >= 0:
        _missing()


def get_device_name(device: Any = None) -> str:
    """Raises AssertionError."""
    _missing()


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """Raises AssertionError."""
    _missing()


def get_device_properties(device: Any = None) -> Any:
    """Raises AssertionError."""
    _missing()


def can_device_access_peer(device: Any, peer_device: Any) -> bool:
    """Raises AssertionError."""
    _missing()


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """Raises AssertionError."""
    _missing()


def set_per_process_memory_fraction(fraction: float, device: Any = None) -> None:
    """Raises AssertionError."""
    _missing()


# --- random numbers -------------------------------------------------------------------------------


def manual_seed(seed: int) -> None:
    """Ignored: there is no generator to seed."""


def manual_seed_all(seed: int) -> None:
    """Ignored: there is no generator to seed."""


def seed() -> None:
    """Ignored: there is no generator to seed."""


def seed_all() -> None:
    """Ignored: there is no generator to seed."""


def initial_seed() -> int:
    """Raises AssertionError."""
    _missing()


def get_rng_state(device: Any = "cuda") -> Any:
    """Raises AssertionError."""
    _missing()


def get_rng_state_all() -> list[Any]:
    """No states."""
    return []


def set_rng_state(new_state: Any, device: Any = "cuda") -> None:
    """Ignored: there is no generator."""


def set_rng_state_all(new_states: Any) -> None:
    """Ignored: there are no generators."""


# --- memory ---------------------------------------------------------------------------------------


def empty_cache() -> None:
    """Nothing is cached."""


def ipc_collect() -> None:
    """Nothing to collect."""


def memory_allocated(device: Any = None) -> int:
    """0."""
    return 0


max_memory_allocated = memory_reserved = max_memory_reserved = memory_allocated
memory_cached = max_memory_cached = memory_allocated


def reset_peak_memory_stats(device: Any = None) -> None:
    """Nothing to reset."""


reset_max_memory_allocated = reset_max_memory_cached = reset_accumulated_memory_stats = reset_peak_memory_stats


def memory_stats(device: Any = None) -> OrderedDict[str, Any]:
    """Empty."""
    return OrderedDict()


def memory_summary(device: Any = None, abbreviated: bool = False) -> str:
    """Empty."""
    return ""


def utilization(device: Any = None) -> int:
    """Raises AssertionError."""
    _missing()


def get_allocator_backend() -> str:
    """'native'."""
    return "native"


# --- streams, events, devices ---------------------------------------------------------------------


class Event:
    """An event can be made; to record it raises AssertionError."""

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False) -> None:
        self.enable_timing = enable_timing

    def record(self, stream: Any = None) -> None:
        """Raises AssertionError."""
        _missing()

    wait = synchronize = elapsed_time = record

    def query(self) -> bool:
        """True: nothing was recorded."""
        return True

    def __repr__(self) -> str:
        return "<torch.cuda.Event uninitialized>"


class Stream:
    """Raises AssertionError."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _missing()


class ExternalStream(Stream):
    """Raises AssertionError."""


class CUDAGraph:
    """Raises AssertionError."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _missing()


def current_stream(device: Any = None) -> Any:
    """Raises AssertionError."""
    _missing()


default_stream = current_stream


def is_current_stream_capturing() -> bool:
    """False."""
    return False


@contextmanager
def stream(stream: Any) -> Iterator[None]:
    """Do nothing for None; anything else cannot exist."""
    yield


class device:
    """Selects a device; to enter it raises AssertionError unless the index is negative or None."""

    def __init__(self, device: Any) -> None:
        self.idx = -1 if device is None else device if isinstance(device, int) else (rg.device(device).index or 0)

    def __enter__(self) -> None:
        if self.idx >= 0:
            _missing()

    def __exit__(self, *exc: object) -> None:
        pass


class device_of(device):
    """The device of a tensor: none, for it cannot be on one."""

    def __init__(self, obj: Any) -> None:
        self.idx = -1


def _tensor_type(name: str) -> type:
    return type(name, (), {"__new__": _missing, "__module__": "torch.cuda", "__doc__": "Raises AssertionError."})


FloatTensor = _tensor_type("FloatTensor")
DoubleTensor = _tensor_type("DoubleTensor")
HalfTensor = _tensor_type("HalfTensor")
BFloat16Tensor = _tensor_type("BFloat16Tensor")
LongTensor = _tensor_type("LongTensor")
IntTensor = _tensor_type("IntTensor")
ShortTensor = _tensor_type("ShortTensor")
CharTensor = _tensor_type("CharTensor")
ByteTensor = _tensor_type("ByteTensor")
BoolTensor = _tensor_type("BoolTensor")


class nvtx:
    """Marks for NVIDIA's profiler: ignored."""

    @staticmethod
    def range_push(msg: str) -> int:
        """-2: there is no profiler."""
        return -2

    @staticmethod
    def range_pop() -> int:
        """-2: there is no profiler."""
        return -2

    @staticmethod
    def mark(msg: str) -> None:
        """Ignored."""

    @staticmethod
    @contextmanager
    def range(msg: str, *args: Any, **kwargs: Any) -> Iterator[None]:
        """Ignored."""
        yield


# --- the GPU under these names --------------------------------------------------------------------


class _GpuEvent:
    """A point in the work of the GPU, which is waited for when it is recorded."""

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False) -> None:
        self.time: float | None = None

    def record(self, stream: Any = None) -> None:
        """Waits for the GPU and takes the time."""
        synchronize()
        self.time = time.perf_counter()

    def synchronize(self) -> None:
        """Nothing is left to wait for."""

    def wait(self, stream: Any = None) -> None:
        """Nothing is left to wait for."""

    def query(self) -> bool:
        """True."""
        return True

    def elapsed_time(self, end_event: _GpuEvent) -> float:
        """Milliseconds to another event; RuntimeError if one was not recorded."""
        if self.time is None or end_event.time is None:
            raise RuntimeError("Both events must be recorded before calculating elapsed time.")
        return (end_event.time - self.time) * 1e3


def offer_gpu() -> None:
    """Puts the GPU under CUDA's name, for the rest of the process: `device("cuda")`, `x.cuda()`, `x.is_cuda`, and this
    module's functions mean it."""
    from rustgrad import gpu

    rg._core._gpu_as_cuda()
    here: dict[str, Any] = globals()
    for name in gpu.__all__:
        if name in here:
            here[name] = getattr(gpu, name)
    here["is_initialized"] = here["is_bf16_supported"] = gpu.is_available
    here["init"] = here["ipc_collect"] = lambda: None
    here["seed_all"] = gpu.seed
    here["Event"] = _GpuEvent
    here["current_stream"] = here["default_stream"] = rg.accelerator.current_stream
    here["device"] = gpu.device
    is_cuda = property(lambda self: self.device.type == "cuda", doc="Whether the memory is the GPU's.")
    setattr(rg.Tensor, "is_cuda", is_cuda)  # noqa: B010 - declared as a plain flag
