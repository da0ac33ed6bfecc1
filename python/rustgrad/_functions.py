"""Functions of the top level that are written in Python: type queries, settings, compositions."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import rustgrad as rg

from . import _core

__all__ = [
    "is_tensor", "is_storage", "is_floating_point", "is_complex", "is_nonzero", "is_inference", "numel", "finfo",
    "iinfo", "typename", "set_default_tensor_type", "is_grad_enabled", "use_deterministic_algorithms",
    "are_deterministic_algorithms_enabled", "is_deterministic_algorithms_warn_only_enabled",
    "set_float32_matmul_precision", "get_float32_matmul_precision", "set_num_interop_threads",
    "get_num_interop_threads", "broadcast_shapes", "is_warn_always_enabled", "set_warn_always", "set_flush_denormal",
    "get_file_path", "is_autocast_enabled", "set_deterministic_debug_mode",
    "get_deterministic_debug_mode",
]

_Tensor = _core.Tensor
is_grad_enabled = _core.is_grad_enabled


def is_tensor(obj: Any) -> bool:
    """Whether the object is a tensor."""
    return isinstance(obj, _Tensor)


def is_storage(obj: Any) -> bool:
    """Whether the object is a storage."""
    return isinstance(obj, (rg.storage.TypedStorage, _core.UntypedStorage))


def is_floating_point(input: Any) -> bool:
    """Whether the dtype is a floating one."""
    return bool(input.is_floating_point())


def is_complex(input: Any) -> bool:
    """Whether the dtype is complex."""
    return bool(input.is_complex())


def is_inference(input: Any) -> bool:
    """Whether the tensor was made in inference mode."""
    return bool(input.is_inference())


def is_nonzero(input: Any) -> bool:
    """Whether the single element is not zero."""
    if input.numel() != 1:
        values = "no values" if input.numel() == 0 else "more than one value"
        raise RuntimeError(f"Boolean value of Tensor with {values} is ambiguous")
    return bool(input)


def numel(input: Any) -> int:
    """The number of elements."""
    return int(input.numel())


def typename(obj: Any) -> str:
    """The type, with its module."""
    if isinstance(obj, _Tensor):
        return str(obj.type())
    t = obj if isinstance(obj, type) else type(obj)
    return t.__qualname__ if t.__module__ in ("", "builtins", None) else f"{t.__module__}.{t.__qualname__}"


def set_default_tensor_type(t: Any) -> None:
    """The old way to set the default dtype."""
    _core.set_default_dtype(rg._legacy.dtype_of_type_string(t) if isinstance(t, str) else t.dtype)


class _Info(SimpleNamespace):
    _kind = ""

    def __repr__(self) -> str:
        items = ", ".join(f"{k}={v}" for k, v in self.__dict__.items() if k != "bits")
        return f"{self._kind}({items})"


def _float_info(bits: int, mantissa: int, exponent: int) -> dict[str, float]:
    """The limits of a binary format with `mantissa` stored bits and `exponent` exponent bits."""
    bias = 2 ** (exponent - 1) - 1
    top, tiny = (2.0 - 2.0**-mantissa) * 2.0**bias, 2.0 ** (1 - bias)
    digits = {10: 3, 7: 2, 23: 6, 52: 15}[mantissa]
    return {
        "bits": bits, "min": -top, "max": top, "eps": 2.0**-mantissa, "smallest_normal": tiny, "tiny": tiny,
        "smallest_subnormal": tiny * 2.0**-mantissa, "resolution": 10.0**-digits,
    }


_FLOATS = {
    "float16": (16, 10, 5), "bfloat16": (16, 7, 8), "float32": (32, 23, 8), "float64": (64, 52, 11),
    "complex64": (32, 23, 8), "complex128": (64, 52, 11),
}
_INTS = {"uint8": (8, False), "int8": (8, True), "int16": (16, True), "int32": (32, True), "int64": (64, True)}


class finfo(_Info):
    """The limits of a floating dtype: eps, min, max, tiny, smallest_normal, resolution, bits."""

    _kind = "finfo"

    def __init__(self, type: Any = None) -> None:
        name = str(type or _core.get_default_dtype()).removeprefix("torch.")
        if name not in _FLOATS:
            raise TypeError("torch.finfo() requires a floating point input type. Use torch.iinfo to handle "
                            f"'torch.{name}'")
        super().__init__(**_float_info(*_FLOATS[name]), dtype=name)


class iinfo(_Info):
    """The limits of an integer dtype: min, max, bits."""

    _kind = "iinfo"

    def __init__(self, type: Any) -> None:
        name = str(type).removeprefix("torch.")
        if name not in _INTS:
            raise TypeError(f"torch.iinfo() requires an integer input type. Use torch.finfo to handle 'torch.{name}'")
        bits, signed = _INTS[name]
        low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
        super().__init__(bits=bits, min=low, max=high, dtype=name)


_settings: dict[str, Any] = {"deterministic": False, "warn_only": False, "precision": "highest", "warn_always": False}


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Accepted: every algorithm here is deterministic."""
    _settings.update(deterministic=bool(mode), warn_only=bool(warn_only))


def are_deterministic_algorithms_enabled() -> bool:
    """What use_deterministic_algorithms was told."""
    return bool(_settings["deterministic"])


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """What use_deterministic_algorithms was told."""
    return bool(_settings["warn_only"])


def set_deterministic_debug_mode(debug_mode: Any) -> None:
    """Accepted: every algorithm here is deterministic."""
    use_deterministic_algorithms(debug_mode not in (0, "default"), warn_only=debug_mode in (1, "warn"))


def get_deterministic_debug_mode() -> int:
    """0 default, 1 warn, 2 error."""
    return (1 if _settings["warn_only"] else 2) if _settings["deterministic"] else 0


def set_float32_matmul_precision(precision: str) -> None:
    """Accepted: float32 products are always computed in float32."""
    if precision not in ("highest", "high", "medium"):
        raise RuntimeError(f"Invalid float32 matmul precision: {precision}")
    _settings["precision"] = precision


def get_float32_matmul_precision() -> str:
    """What set_float32_matmul_precision was told."""
    return str(_settings["precision"])


def set_num_interop_threads(n: int) -> None:
    """Accepted: there is one pool of threads."""
    _settings["interop"] = int(n)


def get_num_interop_threads() -> int:
    """What set_num_interop_threads was told."""
    return int(_settings.get("interop", 1))


def is_warn_always_enabled() -> bool:
    """What set_warn_always was told."""
    return bool(_settings["warn_always"])


def set_warn_always(b: bool) -> None:
    """Accepted."""
    _settings["warn_always"] = bool(b)


def set_flush_denormal(mode: bool) -> bool:
    """False: denormal numbers are kept."""
    return False


def is_autocast_enabled(device_type: str | None = None) -> bool:
    """Whether an autocast context is active."""
    from .amp import autocast_mode

    return bool(getattr(autocast_mode, "is_autocast_enabled", lambda *_: False)(device_type))


def get_file_path(*parts: str) -> str:
    """A path inside the package."""
    import os

    return os.path.join(os.path.dirname(__file__), *parts)


def broadcast_shapes(*shapes: Any) -> Any:
    """The shape that the given shapes broadcast to."""
    out: list[int] = []
    for shape in shapes:
        sizes: Sequence[int] = (shape,) if isinstance(shape, int) else tuple(shape)
        if any(s < 0 for s in sizes):
            raise RuntimeError(f"Trying to create tensor with negative dimension {min(sizes)}: {list(sizes)}")
        out = [1] * (len(sizes) - len(out)) + out
        for i in range(-len(sizes), 0):
            if out[i] == 1:
                out[i] = sizes[i]
            elif sizes[i] not in (1, out[i]):
                raise RuntimeError("Shape mismatch: objects cannot be broadcast to a single shape")
    return rg.Size(out)
