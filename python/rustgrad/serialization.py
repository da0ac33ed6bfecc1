"""``save`` and ``load``: checkpoints in PyTorch's formats, in both directions."""

from __future__ import annotations

import io
import os
import pickle
import pickletools
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import rustgrad as rg
from rustgrad import _archive, _utils, _weights_only_unpickler
from rustgrad import storage as _storage
from rustgrad._checkpoint_reader import MAGIC_NUMBER, PROTOCOL_VERSION, default_restore_location, load
from rustgrad._weights_only_unpickler import _get_layout as _get_layout

__all__ = [
    "save",
    "load",
    "add_safe_globals",
    "get_safe_globals",
    "clear_safe_globals",
    "safe_globals",
    "get_unsafe_globals_in_checkpoint",
    "default_restore_location",
    "location_tag",
    "SourceChangeWarning",
]

DEFAULT_PROTOCOL = 2


class SourceChangeWarning(Warning):
    """The source of a pickled class has changed."""


# Allowed names ---------------------------------------------------------------------------------------------------


def add_safe_globals(safe_globals: list[Any]) -> None:
    """Allow these functions and classes in files that are loaded with ``weights_only=True``."""
    _weights_only_unpickler.add_safe_globals(safe_globals)


def get_safe_globals() -> list[Any]:
    """The functions and classes that the program has allowed."""
    found: list[Any] = []
    for obj in _weights_only_unpickler._user_globals.values():
        if not any(obj is known for known in found):
            found.append(obj)
    return found


def clear_safe_globals() -> None:
    """Forget what :func:`add_safe_globals` has allowed."""
    _weights_only_unpickler._user_globals.clear()


class safe_globals:
    """Allow functions and classes within a ``with`` block."""

    def __init__(self, safe_globals: list[Any]) -> None:
        self.safe_globals, self._before = safe_globals, dict[str, Any]()

    def __enter__(self) -> None:
        self._before = dict(_weights_only_unpickler._user_globals)
        add_safe_globals(self.safe_globals)

    def __exit__(self, *_: object) -> None:
        _weights_only_unpickler._user_globals.clear()
        _weights_only_unpickler._user_globals.update(self._before)


def get_unsafe_globals_in_checkpoint(f: Any) -> list[str]:
    """The names in a checkpoint that ``weights_only=True`` would refuse. Nothing is run."""
    with _opened(f, "rb") as file:
        if not _is_zip(file):
            raise ValueError("Expected input to be a checkpoint returned by torch.save")
        data = _archive.Reader(file).read("data.pkl")
    allowed = {**_weights_only_unpickler._default_globals(), **_weights_only_unpickler._user_globals}
    found = []
    for opcode, arg, _ in pickletools.genops(data):
        if opcode.name == "GLOBAL":
            name = _weights_only_unpickler._name_of(*str(arg).split(" ", 1))
            known = _weights_only_unpickler.own_and_torch_name(name)
            if not any(n in allowed for n in known) and name not in found:
                found.append(name)
    return found


# Files -----------------------------------------------------------------------------------------------------------


def _is_path(f: Any) -> bool:
    return isinstance(f, (str, os.PathLike))


@contextmanager
def _opened(f: Any, mode: str) -> Iterator[Any]:
    if not _is_path(f):
        yield f
        return
    try:
        file = open(f, mode)  # noqa: SIM115
    except FileNotFoundError:
        parent = os.path.dirname(os.path.abspath(f))
        if mode == "wb" and not os.path.isdir(parent):
            raise RuntimeError(f"Parent directory {os.path.dirname(f) or parent} does not exist.") from None
        raise
    with file:
        yield file


def _is_zip(file: IO[bytes]) -> bool:
    start = file.tell()
    magic = file.read(4)
    file.seek(start)
    return magic == b"PK\x03\x04"


# Saving ----------------------------------------------------------------------------------------------------------

_OWN_PICKLER: Any = pickle._Pickler  # the one in Python: how it writes names can be changed


def _torch_names() -> dict[int, tuple[str, str]]:
    """What PyTorch calls this library's basic objects, by their identity."""
    found: dict[int, tuple[str, str]] = {}
    for name, obj in _weights_only_unpickler._default_globals().items():
        if name.startswith("torch."):
            module, _, last = name.rpartition(".")
            found.setdefault(id(obj), (module, last))
    for name in ("Size", "device"):
        found[id(getattr(rg, name))] = ("torch", name)
    return found


def location_tag(storage: Any) -> str:
    """The device name that a checkpoint records for a storage."""
    return sys.intern(str(storage.device))  # one string, which a pickle then writes once


class _Saved:
    """The storages of one save, numbered in the order they are met."""

    def __init__(self, key_of: Callable[[Any, int], str]) -> None:
        self.by_key: dict[str, tuple[Any, Any]] = {}
        self._keys: dict[int, str] = {}
        self._dtypes: dict[int, Any] = {}
        self._key_of = key_of

    def persistent_id(self, obj: Any, legacy: bool = False) -> tuple[Any, ...] | None:
        if isinstance(obj, _storage.TypedStorage):
            untyped, dtype = obj._untyped_storage, obj.dtype
            cls = _storage.storage_class(dtype)
        elif isinstance(obj, _storage.UntypedStorage):
            untyped, dtype, cls = obj, rg.uint8, _storage.UntypedStorage
        else:
            return None
        address = untyped.data_ptr() if untyped.nbytes() else id(obj)
        if self._dtypes.setdefault(address, dtype) != dtype:
            raise RuntimeError("Cannot save multiple tensors or storages that view the same data as different types")
        key = self._keys.get(address)
        if key is None:
            key = self._keys[address] = self._key_of(untyped, len(self._keys))
            self.by_key[key] = (untyped, dtype)  # holds the storage, so that its address stays its own
        pid = ("storage", cls, key, location_tag(untyped), untyped.nbytes() // dtype.itemsize)
        return (*pid, None) if legacy else pid


def _reduced(obj: Any) -> Any:
    """How ``save`` takes the library's own objects apart; NotImplemented leaves the rest to pickle."""
    if isinstance(obj, rg.Tensor):
        if isinstance(obj, rg.nn.Parameter):
            return _utils._reduce_parameter_for_save(obj)
        return _utils._reduce_for_save(obj)
    kind = type(obj)
    if kind is rg.Size:
        return rg.Size, (tuple(obj),)
    if kind is rg.device:
        return rg.device, (obj.type,) if obj.index is None else (obj.type, obj.index)
    if kind is getattr(rg, "layout", None):
        return _get_layout, (str(obj),)
    return NotImplemented


def _pickled(obj: Any, saved: _Saved, pickle_module: Any, protocol: int, legacy: bool) -> bytes:
    names = _torch_names()

    def torch_name(obj: Any) -> tuple[str, str] | None:
        if type(obj) is rg.dtype:
            return "torch", str(obj).removeprefix("torch.")
        return names.get(id(obj))

    base: Any = _OWN_PICKLER if pickle_module is pickle else pickle_module.Pickler
    rewrites = hasattr(base, "save_global")

    class Pickler(base):  # type: ignore[misc]
        def persistent_id(self, obj: Any) -> Any:
            return saved.persistent_id(obj, legacy)

        def reducer_override(self, obj: Any) -> Any:
            name = torch_name(obj)
            if name is None:
                return _reduced(obj)
            return name[1] if rewrites else (_weights_only_unpickler.find_class, name)

        def save_global(self, obj: Any, name: str | None = None) -> None:
            known = torch_name(obj)
            if known is None:
                super().save_global(obj, name)
            else:
                self.write(b"c%s\n%s\n" % (known[0].encode(), known[1].encode()))
                self.memoize(obj)

    out = io.BytesIO()
    Pickler(out, protocol=protocol).dump(obj)
    return out.getvalue()


def save(
    obj: Any,
    f: Any,
    pickle_module: Any = pickle,
    pickle_protocol: int = DEFAULT_PROTOCOL,
    _use_new_zipfile_serialization: bool = True,
    _disable_byteorder_record: bool = False,
) -> None:
    """Save an object to a file, in the format that PyTorch reads.

    Args:
        obj: what to save; tensors that share memory share it again when loaded
        f: a path, or a file open for writing in binary mode
        pickle_module: the module that pickles what is not a tensor
        pickle_protocol: its protocol
    """
    if not _is_path(f) and not hasattr(f, "write"):
        raise AttributeError("expected 'f' to be string, path, or a file-like object with a 'write' attribute")
    folder = "archive"
    if _is_path(f):
        folder = os.path.splitext(os.path.basename(os.fspath(f)))[0] or folder
    # Pickled first: an object that cannot be saved leaves no half-written file.
    legacy = not _use_new_zipfile_serialization
    saved = _Saved((lambda untyped, n: str(untyped.data_ptr() or n)) if legacy else lambda untyped, n: str(n))
    data = _pickled(obj, saved, pickle_module, pickle_protocol, legacy)
    with _opened(f, "wb") as file:
        if legacy:
            _write_legacy(file, data, saved, pickle_module, pickle_protocol)
            return
        archive = _archive.Writer(file, folder)
        archive.add("data.pkl", data)
        archive.add(".format_version", b"1")
        archive.add(".storage_alignment", str(_archive.ALIGNMENT).encode())
        if not _disable_byteorder_record:
            archive.add("byteorder", sys.byteorder.encode())
        for key, (untyped, _) in saved.by_key.items():
            archive.add(f"data/{key}", _storage.buffer(untyped) if untyped.nbytes() else b"")
        archive.add("version", b"3\n")
        archive.add(".data/serialization_id", archive.serialization_id())
        archive.close()
        file.flush()


def _write_legacy(file: IO[bytes], data: bytes, saved: _Saved, pickle_module: Any, protocol: int) -> None:
    sizes = {"short": 2, "int": 4, "long": 4}
    info = {"protocol_version": PROTOCOL_VERSION, "little_endian": sys.byteorder == "little", "type_sizes": sizes}
    for head in (MAGIC_NUMBER, PROTOCOL_VERSION, info):
        pickle_module.dump(head, file, protocol=protocol)
    file.write(data)
    keys = sorted(saved.by_key)
    pickle_module.dump(keys, file, protocol=protocol)
    for key in keys:
        untyped, dtype = saved.by_key[key]
        file.write(struct.pack("<q", untyped.nbytes() // dtype.itemsize))
        file.write(_storage.buffer(untyped) if untyped.nbytes() else b"")
