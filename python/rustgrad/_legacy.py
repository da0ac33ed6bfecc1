"""The old typed constructors: FloatTensor(2, 3), LongTensor([1]), and type strings."""

from __future__ import annotations

from typing import Any

from . import _core

NAMES = {
    "FloatTensor": "float32", "DoubleTensor": "float64", "HalfTensor": "float16", "BFloat16Tensor": "bfloat16",
    "ByteTensor": "uint8", "CharTensor": "int8", "ShortTensor": "int16", "IntTensor": "int32", "LongTensor": "int64",
    "BoolTensor": "bool",
}


class _TensorType(type):
    """isinstance(x, LongTensor) asks for the dtype; calling makes a plain Tensor."""

    dtype: Any

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, _core.Tensor) and instance.dtype == cls.dtype

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        kwargs.pop("device", None)
        return _core.Tensor(*args, dtype=cls.dtype)

    def __repr__(cls) -> str:
        return f"<class 'torch.{cls.__name__}'>"


def define(namespace: dict[str, Any], prefix: str = "torch") -> None:
    """Put the typed constructors into a namespace."""
    for name, dtype in NAMES.items():
        namespace[name] = _TensorType(name, (), {"dtype": getattr(_core, dtype), "__module__": prefix})


def dtype_of_type_string(text: str) -> Any:
    """The dtype of 'torch.FloatTensor'."""
    name = text.rsplit(".", 1)[-1]
    if name not in NAMES:
        raise ValueError(f"invalid type: '{text}'")
    return getattr(_core, NAMES[name])
