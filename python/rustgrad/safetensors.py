"""The safetensors format: named tensors after a JSON header, without any code in the file.

A file is eight bytes with the header's length, the header, and the tensors' bytes in little-endian order, one after
the other without gaps. Everything in the header is checked before a tensor is made.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import struct
import sys
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import rustgrad as rg
from rustgrad import storage as _storage

__all__ = ["SafetensorError", "load", "load_file", "safe_open", "save", "save_file", "load_model", "save_model"]

_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
_SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}
_NAMES = {name: code for code, name in _DTYPES.items()}
_MAX_HEADER = 100_000_000


class SafetensorError(Exception):
    """The file is no valid safetensors file."""


class _Entry:
    """One tensor's place in a file."""

    def __init__(self, code: str, shape: tuple[int, ...], start: int, end: int) -> None:
        self.code, self.shape, self.start, self.end = code, shape, start, end


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise SafetensorError(f"Error while deserializing header: the name {key!r} occurs twice")
        found[key] = value
    return found


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _entry(name: str, info: Any) -> _Entry:
    where = f"Error while deserializing header: tensor {name!r}"
    if not isinstance(info, dict) or set(info) != {"dtype", "shape", "data_offsets"}:
        raise SafetensorError(f"{where} must have exactly dtype, shape and data_offsets")
    code, shape, offsets = info["dtype"], info["shape"], info["data_offsets"]
    if not isinstance(code, str) or code not in _DTYPES:
        raise SafetensorError(f"{where} has an unknown dtype {code!r}; known are {', '.join(_DTYPES)}")
    if not isinstance(shape, list) or not all(map(_is_count, shape)):
        raise SafetensorError(f"{where} has an invalid shape {shape!r}")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_count, offsets)):
        raise SafetensorError(f"{where} has invalid data_offsets {offsets!r}")
    size = _SIZES[code] * math.prod(shape)
    if math.prod(max(n, 1) for n in shape) >= 1 << 60:
        raise SafetensorError(f"{where} has a shape {shape} whose size overflows")
    if offsets[1] - offsets[0] != size:
        raise SafetensorError(f"{where} of shape {shape} and dtype {code} takes {size} bytes, not {offsets}")
    return _Entry(code, tuple(shape), offsets[0], offsets[1])


def _parse(data: memoryview) -> tuple[dict[str, _Entry], dict[str, str] | None, memoryview]:
    """The checked header and the bytes after it."""
    if len(data) < 8:
        raise SafetensorError("Error while deserializing header: header too small")
    (length,) = struct.unpack("<Q", data[:8])
    if length > _MAX_HEADER:
        raise SafetensorError("Error while deserializing header: header too large")
    if 8 + length > len(data):
        raise SafetensorError("Error while deserializing header: invalid header length")
    try:
        header = json.loads(bytes(data[8 : 8 + length]).decode("utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise SafetensorError(f"Error while deserializing header: invalid JSON in header: {error}") from None
    if not isinstance(header, dict):
        raise SafetensorError("Error while deserializing header: the header must be an object")
    metadata = header.pop("__metadata__", None)
    if metadata is not None and not (
        isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())
    ):
        raise SafetensorError("Error while deserializing header: __metadata__ must map names to text")
    entries = {name: _entry(name, info) for name, info in header.items()}
    position = 0
    for name, entry in sorted(entries.items(), key=lambda item: (item[1].start, item[1].end)):
        if entry.start != position:
            raise SafetensorError(f"Error while deserializing header: invalid offset for tensor {name!r}")
        position = entry.end
    rest = data[8 + length :]
    if position != len(rest):
        raise SafetensorError(
            f"Error while deserializing header: metadata covers {position} bytes, the file has {len(rest)}"
        )
    return entries, metadata, rest


def _swapped(data: Any, width: int) -> Any:
    """The format is little-endian; so are nearly all machines."""
    if sys.byteorder == "little" or width == 1:
        return data
    import numpy as np

    return np.frombuffer(data, dtype=f"u{width}").byteswap().tobytes()


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    stride, step = [], 1
    for n in reversed(shape):
        stride.append(step)
        step *= max(n, 1)
    return tuple(reversed(stride))


def _tensor(entry: _Entry, rest: memoryview, device: Any) -> rg.Tensor:
    storage = _storage.from_buffer(bytes(_swapped(rest[entry.start : entry.end], _SIZES[entry.code])))
    dtype = getattr(rg, _DTYPES[entry.code])
    tensor = rg._core._tensor_from_storage(storage, 0, entry.shape, _contiguous(entry.shape), dtype)
    return tensor if str(device) == "cpu" else tensor.to(device)


def _bytes_of(name: str, tensor: rg.Tensor) -> tuple[str, memoryview]:
    code = _NAMES.get(str(tensor.dtype).removeprefix("torch."))
    if code is None:
        raise ValueError(f"tensor {name!r}: safetensors has no dtype for {tensor.dtype}")
    if tensor.device.type == "meta":
        raise ValueError(f"tensor {name!r} is on the meta device and has no data to save")
    if not tensor.is_contiguous():
        raise ValueError(
            f"You are trying to save a non contiguous tensor: `{name}` which is not allowed. It either means you are "
            "trying to save tensors which are reference of each other in which case it's recommended to save only the "
            "full tensors, and reslice at load time, or simply call `.contiguous()` on your tensor to pack it before "
            "saving."
        )
    plain = tensor.detach().cpu()
    width = _SIZES[code]
    start = plain.storage_offset() * width
    raw = _storage.buffer(plain.untyped_storage())[start : start + plain.numel() * width]
    return code, memoryview(_swapped(raw, width))


def _shared(tensors: Mapping[str, rg.Tensor]) -> list[set[str]]:
    """Groups of names whose tensors overlap in memory."""
    spans = []
    for name, tensor in tensors.items():
        if tensor.device.type == "cpu" and tensor.numel():
            spans.append((tensor.data_ptr(), tensor.data_ptr() + tensor.numel() * tensor.dtype.itemsize, name))
    groups: list[set[str]] = []
    reach = -1
    for start, end, name in sorted(spans):
        if start < reach:
            groups[-1].add(name)
        else:
            groups.append({name})
        reach = max(reach, end)
    return [group for group in groups if len(group) > 1]


def _pieces(tensors: Mapping[Any, rg.Tensor], metadata: Mapping[Any, Any] | None) -> Iterator[bytes | memoryview]:
    for name, tensor in tensors.items():
        if not isinstance(name, str) or name == "__metadata__":
            raise ValueError(f"{name!r} cannot name a tensor")
        if not isinstance(tensor, rg.Tensor):
            raise ValueError(f"Key `{name}` is invalid, expected torch.Tensor but received {type(tensor)}")
    if shared := _shared(tensors):
        raise RuntimeError(
            "\n            Some tensors share memory, this will lead to duplicate memory on disk and potential "
            f"differences when loading them again: {shared}.\n            A potential way to correctly save your model "
            "is to use `save_model`.\n            More information at https://huggingface.co/docs/safetensors/"
            "torch_shared_tensors\n            "
        )
    parts = {name: _bytes_of(name, tensor) for name, tensor in tensors.items()}
    # Wide elements first, so that every tensor is aligned to its element size.
    order = sorted(parts, key=lambda name: (-_SIZES[parts[name][0]], name))
    header: dict[str, Any] = {}
    if metadata is not None:
        if not all(isinstance(k, str) and isinstance(v, str) for k, v in metadata.items()):
            raise TypeError("metadata must map text to text")
        header["__metadata__"] = dict(metadata)
    position = 0
    for name in order:
        code, data = parts[name]
        end = position + len(data)
        header[name] = {"dtype": code, "shape": list(tensors[name].shape), "data_offsets": [position, end]}
        position = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    yield struct.pack("<Q", len(text)) + text
    for name in order:
        yield parts[name][1]


def save(tensors: Mapping[str, rg.Tensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """The tensors as the bytes of a safetensors file."""
    return b"".join(_pieces(tensors, metadata))


def save_file(
    tensors: Mapping[str, rg.Tensor], filename: str | os.PathLike[str], metadata: Mapping[str, str] | None = None
) -> None:
    """Write the tensors to a file. An error leaves no file behind that was not there before."""
    pieces = _pieces(tensors, metadata)
    head = next(pieces)
    with open(filename, "wb") as file:
        file.write(head)
        file.writelines(pieces)


def load(data: bytes) -> dict[str, rg.Tensor]:
    """The tensors in the bytes of a safetensors file."""
    entries, _, rest = _parse(memoryview(data))
    return {name: _tensor(entry, rest, "cpu") for name, entry in sorted(entries.items())}


def load_file(filename: str | os.PathLike[str], device: Any = "cpu") -> dict[str, rg.Tensor]:
    """The tensors of a file."""
    with safe_open(filename, framework="pt", device=device) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no dict)


class _Slice:
    """A tensor of an open file, of which a part can be taken by indexing."""

    def __init__(self, entry: _Entry, make: Any) -> None:
        self._entry, self._make = entry, make

    def get_shape(self) -> list[int]:
        return list(self._entry.shape)

    def get_dtype(self) -> str:
        return self._entry.code

    def __getitem__(self, index: Any) -> rg.Tensor:
        part: rg.Tensor = self._make()[index]
        return part.clone()


class safe_open:
    """Opens a file without reading its tensors: ``with safe_open(path, framework="pt") as f: f.get_tensor(name)``."""

    def __init__(self, filename: str | os.PathLike[str], framework: str = "pt", device: Any = "cpu") -> None:
        if framework not in ("pt", "torch", "pytorch", "rustgrad"):
            raise SafetensorError(f"framework {framework!r} is not offered here; use 'pt'")
        self._device = device
        with open(filename, "rb") as file:
            length = file.seek(0, os.SEEK_END)
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if length else None
        self._view = memoryview(self._map if self._map is not None else b"")
        self._entries, self._metadata, self._rest = _parse(self._view)

    def __enter__(self) -> safe_open:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._rest.release()
        self._view.release()
        if self._map is not None:
            self._map.close()

    def keys(self) -> list[str]:
        return sorted(self._entries)

    def offset_keys(self) -> list[str]:
        return sorted(self._entries, key=lambda name: self._entries[name].start)

    def metadata(self) -> dict[str, str] | None:
        return self._metadata

    def _find(self, name: str) -> _Entry:
        if name not in self._entries:
            raise SafetensorError(f"File does not contain tensor {name}")
        return self._entries[name]

    def get_tensor(self, name: str) -> rg.Tensor:
        return _tensor(self._find(name), self._rest, self._device)

    def get_slice(self, name: str) -> _Slice:
        entry = self._find(name)
        return _Slice(entry, lambda: _tensor(entry, self._rest, self._device))


def save_model(model: rg.nn.Module, filename: str, metadata: dict[str, str] | None = None) -> None:
    """Write a module's state; of tensors that are the same memory one is written and the others are noted."""
    state = dict(model.state_dict())
    notes = dict(metadata or {})
    for group in _shared(state):
        same = {(state[name].data_ptr(), tuple(state[name].shape)) for name in group}
        if len(same) != 1:
            raise RuntimeError(f"the tensors {sorted(group)} overlap without being the same: make copies of them first")
        kept, *others = sorted(group)
        for name in others:
            notes[name] = kept
            del state[name]
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, filename, {"format": "pt", **notes})


def load_model(
    model: rg.nn.Module, filename: str | os.PathLike[str], strict: bool = True, device: Any = "cpu"
) -> tuple[set[str], list[str]]:
    """Read a module's state from a file; returns the names that were missing and those that were unexpected."""
    state = load_file(filename, device)
    own = dict(model.state_dict())
    result = model.load_state_dict(state, strict=False)
    missing, unexpected = set(result.missing_keys), list(result.unexpected_keys)
    for group in _shared(own):
        if any(name in state for name in group):
            missing -= group
    if strict and (missing or unexpected):
        raise RuntimeError(
            f"Error(s) in loading state_dict for {type(model).__name__}: missing {sorted(missing)}, "
            f"unexpected {unexpected}"
        )
    return missing, unexpected
