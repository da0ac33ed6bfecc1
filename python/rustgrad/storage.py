"""Storages: the memory under tensors, untyped in the core, and the typed names that checkpoints use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

import rustgrad as rg
from rustgrad._core import UntypedStorage

__all__ = ["TypedStorage", "UntypedStorage", "storage_class", "dtype_of_storage_class"]

# The storage classes of checkpoints, with the dtype of their elements.
_NAMES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
}


def buffer(untyped: UntypedStorage) -> memoryview:
    """The bytes of a storage: of the CPU's without a copy, to read and write."""
    return np.asarray(untyped if untyped.device.type == "cpu" else untyped.cpu()).data


def from_buffer(data: bytes | bytearray | memoryview) -> UntypedStorage:
    """A storage of these bytes: a copy of immutable ones, the same memory otherwise."""
    if isinstance(data, bytes) or len(data) == 0:
        return rg._core._storage_from_buffer(bytes(data))
    array = np.frombuffer(data, dtype=np.uint8)
    if not array.flags.writeable or array.ctypes.data % 16:
        array = array.copy()
    return rg.from_numpy(array).untyped_storage()


class TypedStorage:
    """A storage seen as elements of one dtype. ``untyped`` is None for a storage on the meta device."""

    _dtype_name: ClassVar[str | None] = None

    def __init__(self, *, wrap_storage: Any, dtype: Any = None, _internal: bool = True) -> None:
        self._untyped_storage = wrap_storage
        self.dtype = dtype if self._dtype_name is None else getattr(rg, self._dtype_name)

    def untyped(self) -> Any:
        return self._untyped_storage

    @property
    def device(self) -> Any:
        return rg.device("meta") if self._untyped_storage is None else self._untyped_storage.device

    def element_size(self) -> int:
        return int(self.dtype.itemsize)

    def nbytes(self) -> int:
        return 0 if self._untyped_storage is None else int(self._untyped_storage.nbytes())

    def size(self) -> int:
        return self.nbytes() // self.element_size()

    __len__ = size

    def data_ptr(self) -> int:
        return 0 if self._untyped_storage is None else int(self._untyped_storage.data_ptr())

    def _tensor(self) -> Any:
        return rg._core._tensor_from_storage(self._untyped_storage, 0, (self.size(),), (1,), self.dtype)

    def tolist(self) -> list[Any]:
        values: list[Any] = self._tensor().tolist()
        return values

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tolist())

    def __getitem__(self, index: Any) -> Any:
        found = self._tensor()[index]
        return found.item() if isinstance(index, int) else found.tolist()

    def __setitem__(self, index: Any, value: Any) -> None:
        self._tensor()[index] = value

    def __repr__(self) -> str:
        rows = "\n".join(f" {value}" for value in self.tolist())
        return f"{rows}\n[torch.storage.TypedStorage(dtype={self.dtype}, device={self.device}) of size {self.size()}]"


def _define(name: str, dtype_name: str) -> type[TypedStorage]:
    return type(name, (TypedStorage,), {"_dtype_name": dtype_name, "__module__": __name__})


_CLASSES: dict[str, type[TypedStorage]] = {name: _define(name, dtype) for name, dtype in _NAMES.items()}
globals().update(_CLASSES)


def __getattr__(name: str) -> Any:  # for type checkers: the classes above are made by a loop
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def storage_class(dtype: Any) -> Any:
    """The class under which a checkpoint names a storage of this dtype; None where there is none."""
    name = str(dtype).removeprefix("torch.")
    return next((_CLASSES[known] for known, of in _NAMES.items() if of == name), None)


def dtype_of_storage_class(cls: Any) -> Any:
    """The element dtype of a storage class; untyped storages count bytes."""
    if cls is UntypedStorage:
        return rg.uint8
    name = getattr(cls, "_dtype_name", None)
    return None if name is None else getattr(rg, name)
