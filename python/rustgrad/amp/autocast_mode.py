"""Autocast: matrix products in a lower precision inside a region."""

from __future__ import annotations

import collections.abc
import functools
import warnings
from collections.abc import Callable
from typing import Any

import rustgrad as rg
from rustgrad import _core

__all__ = ["autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]

_DEVICES = (
    "cpu, cuda, ipu, xpu, mkldnn, opengl, opencl, ideep, hip, ve, fpga, maia, xla, lazy, vulkan, mps, meta, hpu, mtia, "
    "privateuseone"
)


def is_autocast_available(device_type: str) -> bool:
    """Whether autocast can act on this kind of device."""
    return device_type in ("cpu", "gpu")


class autocast:
    """Context manager and decorator: inside, products of floating tensors are taken in `dtype`.

    Acts on the CPU (bfloat16 by default, float16 on request). For a device that is not there it warns and does nothing.
    """

    def __init__(
        self, device_type: str, dtype: Any = None, enabled: bool = True, cache_enabled: bool | None = None
    ) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if device_type not in _DEVICES.split(", ") and device_type != "gpu":
            raise RuntimeError(f"Expected one of {_DEVICES} device type at start of device string: {device_type}")
        self.device = device_type
        if dtype is None:
            dtype = rg.bfloat16 if device_type == "cpu" else rg.float16
        self.fast_dtype = dtype
        self._cache_enabled = True if cache_enabled is None else cache_enabled
        if enabled and device_type == "cuda":
            warnings.warn("CUDA is not available or torch_xla is imported. Disabling autocast.", stacklevel=2)
            enabled = False
        elif enabled and device_type == "cpu" and dtype not in (rg.bfloat16, rg.float16):
            warnings.warn(
                "In CPU autocast, but the target dtype is not supported. Disabling autocast.\n"
                "CPU Autocast only supports dtypes of torch.bfloat16, torch.float16 currently.",
                stacklevel=2,
            )
            enabled = False
        elif not is_autocast_available(device_type):
            enabled = False
        self._enabled = enabled
        self._previous: list[Any] = []  # one entry for each time it is entered and not yet left

    def __enter__(self) -> autocast:
        setter = getattr(_core, "_set_autocast", None)
        # The setter answers (enabled, dtype) as they were.
        self._previous.append(None if setter is None else setter(self.device, self._enabled, self.fast_dtype))
        return self

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        previous = self._previous.pop()
        if previous is not None:
            _core._set_autocast(self.device, *previous)

    def __call__(self, func: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(func)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self:
                return func(*args, **kwargs)

        return wrapper


def _cast(value: Any, device_type: str, dtype: Any) -> Any:
    """Floating tensors (but float64) of the device to the dtype, inside containers too."""
    if isinstance(value, rg.Tensor):
        eligible = value.is_floating_point() and value.device.type == device_type and value.dtype is not rg.float64
        return value.to(dtype) if eligible else value
    if isinstance(value, (str, bytes)):
        return value
    if isinstance(value, collections.abc.Mapping):
        return {_cast(k, device_type, dtype): _cast(v, device_type, dtype) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_cast(v, device_type, dtype) for v in value)
    return value


def _enabled(device_type: str) -> bool:
    query = getattr(_core, "_autocast_state", None)
    return bool(query(device_type)[0]) if query is not None else False


def custom_fwd(fwd: Any = None, *, device_type: str, cast_inputs: Any = None) -> Any:
    """Decorate a Function's forward: with cast_inputs it runs outside autocast on inputs cast to that dtype."""
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        on = _enabled(device_type)
        args[0]._dtype = _core._autocast_state(device_type)[1] if on else None
        if cast_inputs is None:
            args[0]._fwd_used_autocast = on
            return fwd(*args, **kwargs)
        args[0]._fwd_used_autocast = False
        if not on:
            return fwd(*args, **kwargs)
        with autocast(device_type=device_type, enabled=False):
            return fwd(*_cast(args, device_type, cast_inputs), **_cast(kwargs, device_type, cast_inputs))

    return decorated


def custom_bwd(bwd: Any = None, *, device_type: str) -> Any:
    """Decorate a Function's backward: it runs with the autocast state of its forward."""
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        with autocast(device_type=device_type, enabled=args[0]._fwd_used_autocast, dtype=args[0]._dtype):
            return bwd(*args, **kwargs)

    return decorated
