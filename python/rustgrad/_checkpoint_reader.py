"""``load``: checkpoints from PyTorch and from here, zip archives and the older stream of pickles."""

from __future__ import annotations

import io
import os
import pickle
import struct
import sys
from typing import IO, Any

import rustgrad as rg
from rustgrad import _archive, _weights_only_unpickler
from rustgrad import storage as _storage

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001
_MAX_VERSION = 10
_DAMAGED = "The file might be corrupted."

_DOCS = (
    "\n\nCheck the documentation of torch.load to learn more about types accepted by default with weights_only "
    "https://pytorch.org/docs/stable/generated/torch.load.html."
)
_CHANGED = (
    "In PyTorch 2.6, we changed the default value of the `weights_only` argument in `torch.load` from `False` to "
    "`True`. Re-running `torch.load` with `weights_only` set to `False` will likely succeed, but it can result in "
    "arbitrary code execution. Do it only if you got the file from a trusted source."
)
_OPTIONS = (
    "Weights only load failed. This file can still be loaded, to do so you have two options, "
    f"\033[1mdo those steps only if you trust the source of the checkpoint\033[0m. \n\t(1) {_CHANGED}\n\t(2) "
    "Alternatively, to load with `weights_only=True` please check the recommended steps in the following error "
    "message.\n\tWeightsUnpickler error: "
)
_FAILED = f"Weights only load failed. {_CHANGED}\n"
_ISSUE = (
    "Please file an issue with the following so that we can make `weights_only=True` compatible with your use case: "
    "WeightsUnpickler error: "
)


def _explained(error: Exception) -> pickle.UnpicklingError:
    if isinstance(error, _weights_only_unpickler.UnsupportedGlobal):
        return pickle.UnpicklingError(f"{_OPTIONS}{error}{_DOCS}")
    if isinstance(error, _weights_only_unpickler.BlockedGlobal):
        return pickle.UnpicklingError(f"{_FAILED}\n\n{error}{_DOCS}")
    return pickle.UnpicklingError(f"{_FAILED}{_ISSUE}\n\n{error}{_DOCS}")


def _restricted(file: IO[bytes], persistent_load: Any, encoding: str = "bytes") -> Any:
    unpickler = _weights_only_unpickler.Unpickler(file, encoding=encoding)
    unpickler.persistent_load = persistent_load
    try:
        return unpickler.load()
    except pickle.UnpicklingError as error:
        raise _explained(error) from None


def _unrestricted(file: IO[bytes], persistent_load: Any, pickle_module: Any, **kwargs: Any) -> Any:
    class Unpickler(pickle_module.Unpickler):  # type: ignore[misc]
        def find_class(self, module: str, name: str) -> Any:
            if module == "torch" or module.startswith("torch."):
                return _weights_only_unpickler.find_class(module, name)
            return super().find_class(module, name)

        def persistent_load(self, pid: Any) -> Any:
            return persistent_load(pid)

    return Unpickler(file, **kwargs).load()


# Devices ---------------------------------------------------------------------------------------------------------

_META = object()  # a storage that has been sent to the meta device


def default_restore_location(storage: Any, location: str) -> Any:
    """The storage on the device a checkpoint names; storages of devices that are not here raise RuntimeError."""
    if location.startswith("cpu"):
        return storage
    if location == "meta":
        return _META
    if location.startswith("gpu"):
        if not rg.gpu.is_available():
            raise RuntimeError(
                "Attempting to deserialize object on a GPU but rustgrad.gpu.is_available() is False. Please use "
                "torch.load with map_location=torch.device('cpu') to map your storages to the CPU."
            )
        return storage.to(location)
    if location.startswith("cuda"):
        raise RuntimeError(
            "Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False. If you are "
            "running on a CPU-only machine, please use torch.load with map_location=torch.device('cpu') to map your "
            "storages to the CPU."
        )
    if location.startswith("mps"):
        raise RuntimeError(
            "Attempting to deserialize object on MPS device but torch.backends.mps.is_available() is False. If you are "
            "running on a CPU-only machine, please use torch.load with map_location=torch.device('cpu') to map your "
            "storages to the CPU."
        )
    raise RuntimeError(
        f"don't know how to restore data location of torch.storage.UntypedStorage (tagged with {location})"
    )


def _restore(storage: Any, location: str, map_location: Any) -> Any:
    if map_location is None:
        return default_restore_location(storage, location)
    if isinstance(map_location, dict):
        return default_restore_location(storage, str(map_location.get(location, location)))
    if isinstance(map_location, bytes):
        map_location = map_location.decode()
    if isinstance(map_location, (str, rg.device)):
        return default_restore_location(storage, str(map_location))
    moved = map_location(storage, location)
    if moved is None:
        return default_restore_location(storage, location)
    return moved._untyped_storage if isinstance(moved, _storage.TypedStorage) else moved


def _swapped(data: Any, dtype: Any) -> bytes:
    import numpy as np

    width = dtype.itemsize // 2 if dtype.is_complex else dtype.itemsize
    return np.frombuffer(data, dtype=f"u{width}").byteswap().tobytes()


def _typed(storage: Any, dtype: Any, untyped_asked: bool) -> Any:
    if untyped_asked and storage is not _META:
        return storage
    return _storage.TypedStorage(wrap_storage=None if storage is _META else storage, dtype=dtype)


def _parse_pid(pid: Any) -> tuple[Any, str, str, int, Any]:
    """The class's dtype, key, location, number of elements, and the legacy format's view of a storage."""
    if not isinstance(pid, tuple) or len(pid) < 5:
        raise pickle.UnpicklingError(f"persistent id of a storage is damaged: {pid!r}")
    kind, cls, key, location, numel = pid[:5]
    if isinstance(kind, bytes):
        kind = kind.decode("ascii")
    if kind != "storage":
        raise RuntimeError(f"Unknown typename for persistent_load, expected 'storage' but got '{kind}'")
    dtype = _storage.dtype_of_storage_class(cls)
    key, location = (v.decode("ascii") if isinstance(v, bytes) else v for v in (key, location))
    if dtype is None or not isinstance(key, str) or not isinstance(location, str):
        raise pickle.UnpicklingError(f"persistent id of a storage is damaged: {pid!r}")
    if type(numel) is not int or not 0 <= numel < 1 << 62:
        raise pickle.UnpicklingError(f"a storage cannot have {numel!r} elements")
    return dtype, key, location, numel, pid[5] if len(pid) > 5 else None


# The zip format --------------------------------------------------------------------------------------------------


def _load_zip(archive: _archive.Reader, map_location: Any, pickle_module: Any, weights_only: bool, kwargs: Any) -> Any:
    if "constants.pkl" in archive:
        raise RuntimeError("This file is a TorchScript archive; rustgrad.load reads checkpoints made by torch.save")
    version = archive.read("version" if "version" in archive else ".data/version").strip()
    if not version.isdigit() or int(version) > _MAX_VERSION:
        raise RuntimeError(
            f"Attempted to read a PyTorch file with version {version.decode(errors='replace')[:20]}, but the maximum "
            f"supported version for reading is {_MAX_VERSION}."
        )
    order = archive.read("byteorder").decode(errors="replace") if "byteorder" in archive else "little"
    if order not in ("little", "big"):
        raise ValueError(f"Unknown endianness type: {order}")
    loaded: dict[str, tuple[Any, Any]] = {}

    def persistent_load(pid: Any) -> Any:
        dtype, key, location, numel, _ = _parse_pid(pid)
        untyped_asked = pid[1] is _storage.UntypedStorage
        if key not in loaded:
            name, nbytes = f"data/{key}", numel * dtype.itemsize
            if archive.size(name) != nbytes and not nbytes <= archive.size(name) < nbytes + dtype.itemsize:
                raise RuntimeError(
                    f"record size ({archive.size(name)} bytes) does not match expected size ({nbytes} bytes = {numel} "
                    f"elements * {dtype.itemsize} bytes/element) of storage {key}: the file is damaged"
                )
            data = archive.view(name)
            if order != sys.byteorder and dtype.itemsize > 1:
                data = _swapped(data, dtype)
            storage = _storage.from_buffer(data)
            loaded[key] = (_restore(storage, location, map_location), dtype)
        return _typed(loaded[key][0], dtype, untyped_asked)

    file = io.BytesIO(archive.read("data.pkl"))
    if weights_only:
        return _restricted(file, persistent_load, kwargs.get("encoding", "utf-8"))
    return _unrestricted(file, persistent_load, pickle_module, **kwargs)


# The older format: pickles one after the other, then the storages -------------------------------------------------


def _load_legacy(file: IO[bytes], map_location: Any, pickle_module: Any, weights_only: bool, kwargs: Any) -> Any:
    def refuse(pid: Any) -> Any:
        raise pickle.UnpicklingError("unexpected storage in the head of the file")

    def read(persistent_load: Any = refuse) -> Any:
        if weights_only:
            return _restricted(file, persistent_load, kwargs.get("encoding", "utf-8"))
        return _unrestricted(file, persistent_load, pickle_module, **kwargs)

    if read() != MAGIC_NUMBER:
        raise RuntimeError("Invalid magic number; corrupt file?")
    if (version := read()) != PROTOCOL_VERSION:
        raise RuntimeError(f"Invalid protocol version: {version}")
    info = read()
    little = not isinstance(info, dict) or info.get("little_endian", True)
    waiting: dict[str, _Pending] = {}

    def persistent_load(pid: Any) -> Any:
        dtype, key, location, numel, view = _parse_pid(pid)
        pending = waiting.get(key)
        if pending is None:
            # The bytes come after the pickle: the storage is made now and filled then.
            nbytes = numel * dtype.itemsize
            missing = nbytes + sum(p.storage.nbytes() for p in waiting.values()) - _left(file)
            if missing > 0:
                raise RuntimeError(f"unexpected EOF, expected {missing} more bytes. {_DAMAGED}")
            storage = _storage.from_buffer(bytes(nbytes))
            pending = waiting[key] = _Pending(storage, _restore(storage, location, map_location), dtype, numel)
        if view is not None:
            return _legacy_view(pending, view, dtype)
        return _typed(pending.restored, dtype, pid[1] is _storage.UntypedStorage)

    result = read(persistent_load)
    keys = read()
    if not isinstance(keys, list) or any(key not in waiting for key in keys) or len(set(keys)) != len(waiting):
        raise RuntimeError(f"the file's list of storages does not match its tensors. {_DAMAGED}")
    for key in keys:
        _fill(file, waiting[key], little)
    return result


class _Pending:
    """A storage of a legacy file whose bytes are yet to come."""

    def __init__(self, storage: Any, restored: Any, dtype: Any, numel: int) -> None:
        self.storage, self.restored, self.dtype, self.numel = storage, restored, dtype, numel


def _legacy_view(pending: _Pending, view: Any, dtype: Any) -> Any:
    """A storage that is a part of another one: files from before PyTorch 0.4 have them."""
    _, offset, size = view
    if offset < 0 or size < 0 or offset + size > pending.numel:
        raise RuntimeError(f"a storage view lies outside its storage. {_DAMAGED}")
    if offset == 0 and size == pending.numel:
        return _typed(pending.restored, dtype, False)
    raise NotImplementedError("this checkpoint holds partial storage views, which PyTorch stopped writing in 2018")


def _left(file: IO[bytes]) -> int:
    here = file.tell()
    end = file.seek(0, os.SEEK_END)
    file.seek(here)
    return end - here


def _exactly(file: IO[bytes], count: int) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise RuntimeError(f"unexpected EOF, expected {count - len(data)} more bytes. {_DAMAGED}")
    return data


def _fill(file: IO[bytes], pending: _Pending, little: bool) -> None:
    (numel,) = struct.unpack("<q" if little else ">q", _exactly(file, 8))
    if numel != pending.numel:
        raise RuntimeError(f"storage has wrong size: expected {pending.numel} got {numel}. {_DAMAGED}")
    data: Any = _exactly(file, numel * pending.dtype.itemsize)
    if little != (sys.byteorder == "little") and pending.dtype.itemsize > 1:
        data = _swapped(data, pending.dtype)
    if data:
        _storage.buffer(pending.storage)[:] = data
        if pending.restored is not _META and pending.restored.device.type == "gpu":
            pending.restored.copy_(pending.storage)


# The entry -------------------------------------------------------------------------------------------------------


def load(
    f: Any,
    map_location: Any = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """Load an object saved with :func:`save` here or in PyTorch.

    Args:
        f: a path, or a seekable file open for reading in binary mode
        map_location: where storages go: a device, its name, a dict from names to names, or a function of the storage
            and the name of its device
        pickle_module: unpickles in place of pickle; with ``weights_only=False`` only
        weights_only: read tensors, containers and numbers only, running no code from the file (the default)
        mmap: map the file into memory instead of reading it; for paths only
    """
    if weights_only is None:
        weights_only = pickle_module is None and os.environ.get("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "0") not in (
            *("1", "y", "yes", "true"),
        )
    if weights_only and pickle_module is not None:
        raise RuntimeError("Can not safely load weights when explicit pickle_module is specified")
    if mmap and not isinstance(f, (str, os.PathLike)):
        raise ValueError("f must be a file path in order to use the mmap argument")
    pickle_load_args.setdefault("encoding", "utf-8")
    if isinstance(f, (str, os.PathLike)):
        with open(f, "rb") as file:
            return _load_file(file, map_location, pickle_module or pickle, weights_only, bool(mmap), pickle_load_args)
    for method in ("seek", "tell", "read"):
        if not hasattr(f, method):
            raise AttributeError(
                f"'{type(f).__name__}' object has no attribute '{method}'. You can only torch.load from a file that is "
                "seekable. Please pre-load the data into a buffer like io.BytesIO and try to load from it instead."
            )
    return _load_file(f, map_location, pickle_module or pickle, weights_only, False, pickle_load_args)


def _load_file(
    file: IO[bytes], map_location: Any, pickle_module: Any, weights_only: bool, mapped: bool, kwargs: dict[str, Any]
) -> Any:
    start = file.tell()
    magic = file.read(4)
    file.seek(start)
    if magic == b"PK\x03\x04":
        return _load_zip(_archive.Reader(file, mapped), map_location, pickle_module, weights_only, kwargs)
    if mapped:
        raise RuntimeError(
            "mmap can only be used with files saved with `torch.save(_use_new_zipfile_serialization=True), please "
            "torch.save your checkpoint with this option in order to use mmap."
        )
    return _load_legacy(file, map_location, pickle_module, weights_only, kwargs)
