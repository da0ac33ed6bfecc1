"""GPUs of any vendor, through Vulkan, Metal or DX12: tensors go there with `x.to("gpu")`.

Nothing is started before the first use. A software adapter (lavapipe) is taken only if the environment variable
`RUSTGRAD_ADAPTER` names it, by a part of its name or as `cpu`; the variable also chooses between cards.
Functions take a device as an index, a string (`"gpu:1"`), a `device`, or None for the current one.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from . import _core
from ._core import DeviceLostError, KernelCompileError, OutOfMemoryError

__all__ = [
    "DeviceLostError",
    "DeviceProperties",
    "KernelCompileError",
    "OutOfMemoryError",
    "current_device",
    "device",
    "device_count",
    "empty_cache",
    "fallbacks",
    "get_device_name",
    "get_device_properties",
    "get_rng_state",
    "initial_seed",
    "is_available",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "max_memory_reserved",
    "memory_allocated",
    "memory_reserved",
    "memory_stats",
    "reset_peak_memory_stats",
    "seed",
    "set_device",
    "set_rng_state",
    "synchronize",
]

_current = 0


def _index(device: Any = None) -> int:
    if device is None:
        return _current
    if isinstance(device, int):
        return device
    d = device if isinstance(device, _core.device) else _core.device(device)
    own = _core.device("gpu").type  # "cuda" under `rustgrad.run --gpu-as cuda`
    if d.type != own:
        raise ValueError(f"Expected a {own} device, but got: {d}")
    return _current if d.index is None else int(d.index)


@dataclass(frozen=True)
class DeviceProperties:
    """What is known of a GPU; sizes in bytes."""

    name: str
    #: `DiscreteGpu`, `IntegratedGpu`, `VirtualGpu`, `Cpu` (a software adapter) or `Other`
    type: str
    #: `vulkan`, `metal` or `dx12`
    backend: str
    driver: str
    driver_info: str
    vendor: int
    #: whether kernels can compute with these
    int64: bool
    float64: bool
    float16: bool
    #: the smallest and the largest number of invocations that run in step, where the driver tells
    subgroups: tuple[int, int] | None
    #: the most that one kernel argument may have; larger tensors are worked on in parts
    max_binding: int
    #: the most that one tensor may have
    max_buffer: int
    max_bindings: int
    shared_memory: int


def is_available() -> bool:
    """Whether there is a GPU that may be used."""
    return device_count() > 0


def device_count() -> int:
    """How many GPUs there are."""
    return _core._gpu_count()


def current_device() -> int:
    """The index of the device that is meant where none is given."""
    return _current


def set_device(device: Any) -> None:
    """Chooses the current device; RuntimeError if there is no such device."""
    global _current
    i = _index(device)
    if i < 0 or i >= device_count():
        raise RuntimeError(f"GPU error: invalid device ordinal {i}: there are {device_count()} GPUs")
    _current = i


class device:
    """Another current device inside a `with` block; None and negative numbers change nothing."""

    def __init__(self, device: Any) -> None:
        self.idx = -1 if device is None else _index(device)

    def __enter__(self) -> None:
        self.before = _current
        if self.idx >= 0:
            set_device(self.idx)

    def __exit__(self, *exc: object) -> None:
        if self.idx >= 0:
            set_device(self.before)


def get_device_name(device: Any = None) -> str:
    """The adapter's name."""
    return get_device_properties(device).name


def get_device_properties(device: Any = None) -> DeviceProperties:
    """Limits and features. Opens the device; RuntimeError if there is none."""
    return DeviceProperties(**_core._gpu_info(_index(device)))


def synchronize(device: Any = None) -> None:
    """Waits until all work given so far has run, and raises what went wrong in it.

    Errors: IndexError for an index out of range, OutOfMemoryError, DeviceLostError, RuntimeError.
    """
    _core._gpu_synchronize(_index(device))


def memory_stats(device: Any = None) -> OrderedDict[str, int]:
    """Memory under PyTorch's names: bytes in use, their peak, bytes held from the driver, and blocks asked for."""
    allocated, peak, cached, blocks = _core._gpu_memory(_index(device))
    return OrderedDict(
        {
            "allocated_bytes.all.current": allocated,
            "allocated_bytes.all.peak": peak,
            "allocation.all.allocated": blocks,
            "reserved_bytes.all.current": allocated + cached,
        }
    )


def memory_allocated(device: Any = None) -> int:
    """Bytes in use by tensors, rounded up to block sizes."""
    return memory_stats(device)["allocated_bytes.all.current"]


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes in use since the start or `reset_peak_memory_stats`."""
    return memory_stats(device)["allocated_bytes.all.peak"]


def memory_reserved(device: Any = None) -> int:
    """Bytes held from the driver: in use, or kept for later."""
    return memory_stats(device)["reserved_bytes.all.current"]


def max_memory_reserved(device: Any = None) -> int:
    """At least the peak of what was in use."""
    return max(max_memory_allocated(device), memory_reserved(device))


def reset_peak_memory_stats(device: Any = None) -> None:
    """Lets the peak start anew."""
    _core._gpu_reset_peak(_index(device))


def empty_cache() -> None:
    """Gives memory that is kept for later back to the driver."""
    for i in range(device_count()):
        _core._gpu_empty_cache(i)


def fallbacks() -> dict[str, int]:
    """How often each op ran on the CPU for want of a kernel; only under `RUSTGRAD_GPU_FALLBACK=1`."""
    return dict(_core._gpu_fallbacks())


def manual_seed(seed: int) -> None:
    """Seeds the generator of the current device."""
    _core._gpu_manual_seed(_current, int(seed))


def manual_seed_all(seed: int) -> None:
    """Seeds the generators of all devices."""
    _core._gpu_manual_seed_all(int(seed))


def seed() -> None:
    """Seeds the generator of the current device with a random number."""
    _core._gpu_seed(_current)


def initial_seed() -> int:
    """The seed of the current device's generator."""
    return _core._gpu_initial_seed(_current)


def get_rng_state(device: Any = "gpu") -> Any:
    """The state of a device's generator, a uint8 tensor on the CPU."""
    return _core._gpu_get_rng_state(_index(device))


def set_rng_state(new_state: Any, device: Any = "gpu") -> None:
    """Puts a generator back into a state from `get_rng_state`."""
    _core._gpu_set_rng_state(_index(device), new_state)
