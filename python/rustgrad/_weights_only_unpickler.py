"""Reads the pickles of checkpoints without running code from the file.

Only the instructions that tensors, containers and numbers need are known, only names from a fixed list (and those
that the program added) can be called, and never what a file defines.
"""

from __future__ import annotations

import _compat_pickle
import importlib
import pickle
import struct
import sys
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import IO, Any

import rustgrad as rg
from rustgrad import _utils
from rustgrad import storage as _storage

_BLOCKED_MODULES = ("sys", "os", "posix", "nt")
_DTYPES = (
    "float16 float32 float64 half float double bfloat16 complex32 complex64 complex128 cfloat cdouble chalf "
    "uint8 int8 int16 short int32 int int64 long bool uint16 uint32 uint64 "
    "float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz"
)
_LAYOUTS = ("strided", "sparse_coo")

# What a damaged or hostile pickle makes the interpreter stumble over.
_STUMBLES = (struct.error, LookupError, AttributeError, UnicodeError, OverflowError, TypeError, ValueError)

_user_globals: dict[str, Any] = {}


class UnsupportedGlobal(pickle.UnpicklingError):
    """The file asks for a name that is not on the list: the program may add it."""


class BlockedGlobal(pickle.UnpicklingError):
    """The file asks for a name from a module that is never given out."""


def qualified_name(obj: Any) -> str:
    """The name by which a file asks for a class or function."""
    module = getattr(obj, "__module__", None)
    name = getattr(obj, "__qualname__", None) or obj.__name__
    return f"{module}.{name}" if module not in (None, "builtins", "__builtin__") else str(name)


def own_and_torch_name(name: str) -> tuple[str, ...]:
    """Classes of this library are known under both package names."""
    for here, there in (("rustgrad", "torch"), ("torch", "rustgrad")):
        if name.startswith(here + "."):
            return name, there + name[len(here) :]
    return (name,)


def add_safe_globals(items: list[Any]) -> None:
    for item in items:
        if isinstance(item, tuple):
            obj, name = item
            _user_globals[name] = obj
        else:
            for name in own_and_torch_name(qualified_name(item)):
                _user_globals[name] = item


def _bytearray(*args: Any) -> bytearray:
    if not args:
        return bytearray()
    if isinstance(args[0], (bytes, bytearray)) and len(args) == 1:
        return bytearray(args[0])
    return bytearray(_encode(*args))


def _encode(text: Any, encoding: Any = "utf-8") -> bytes:
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise pickle.UnpicklingError("Only text in latin1, utf-8 or ascii can be encoded")
    return text.encode(encoding)


def _get_layout(name: Any) -> Any:
    found = {f"torch.{known}": known for known in _LAYOUTS}.get(name)
    if found is None:
        raise pickle.UnpicklingError(f"Unknown layout {name!r}")
    return getattr(rg, found)


def _as_set(items: Any = ()) -> set[Any]:
    return set(items)


def _device(*args: Any) -> Any:
    return rg.device(*args)


def _size(items: Any = ()) -> Any:
    return rg.Size(tuple(items))


def _default_globals() -> dict[str, Any]:
    found: dict[str, Any] = {
        "collections.OrderedDict": OrderedDict,
        "collections.Counter": Counter,
        "_codecs.encode": _encode,
        "bytearray": _bytearray,
        "set": _as_set,
        "complex": complex,
        "torch.device": _device,
        "torch.Size": _size,
        "torch.serialization._get_layout": _get_layout,
        "torch.storage.UntypedStorage": _storage.UntypedStorage,
        "torch.storage.TypedStorage": _storage.TypedStorage,
        "torch._tensor._rebuild_from_type_v2": _utils._rebuild_from_type_v2,
        "torch.Tensor": rg.Tensor,
    }
    names = ("_tensor", "_tensor_v2", "_tensor_v3", "_parameter", "_parameter_with_state", "_meta_tensor_no_storage")
    for name in (*names, "_sparse_tensor"):
        found[f"torch._utils._rebuild{name}"] = getattr(_utils, f"_rebuild{name}")
    for name in _storage._NAMES:
        found[f"torch.{name}"] = found[f"torch.storage.{name}"] = getattr(_storage, name)
    for name in _DTYPES.split():
        if hasattr(rg, name):
            found[f"torch.{name}"] = getattr(rg, name)
    parameter = getattr(getattr(rg, "nn", None), "Parameter", None)
    if parameter is not None:
        found["torch.nn.parameter.Parameter"] = parameter
    return found


def _name_of(module: str, name: str) -> str:
    return name if module in ("builtins", "__builtin__") else f"{module}.{name}"


class Unpickler:
    """The interpreter. ``persistent_load`` gives the storages."""

    def __init__(self, file: IO[bytes], *, encoding: str = "bytes") -> None:
        self._file, self._encoding = file, encoding
        self.persistent_load: Callable[[Any], Any] = self._no_persistent
        self._globals = _default_globals()
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    @staticmethod
    def _no_persistent(pid: Any) -> Any:
        raise pickle.UnpicklingError("unsupported persistent id encountered")

    def _read(self, count: int) -> bytes:
        data = self._file.read(count)
        if len(data) != count:
            raise EOFError("Ran out of input")
        return data

    def _line(self) -> str:
        line = self._file.readline(65536)
        if not line.endswith(b"\n"):
            raise pickle.UnpicklingError("pickle data was truncated")
        return line[:-1].decode("utf-8")

    def _pop_mark(self) -> list[Any]:
        if not self._marks:
            raise pickle.UnpicklingError("the pickle is damaged: a group ends that has not begun")
        items, self._stack = self._stack, self._marks.pop()
        return items

    def load(self) -> Any:
        """The object that the next pickle in the file describes."""
        while True:
            code = self._read(1)[0]
            if code == 0x2E:  # STOP
                if not self._stack:
                    raise pickle.UnpicklingError("the pickle is damaged: it ends without an object")
                return self._stack.pop()
            run = _OPCODES.get(code)
            if run is None:
                raise pickle.UnpicklingError(f"Unsupported operand {code}")
            if code == 0x51:  # BINPERSID: the loader's own errors stay as they are
                run(self)
                continue
            try:
                run(self)
            except _STUMBLES as error:
                raise pickle.UnpicklingError(f"the pickle is damaged: {error!r}") from error

    # Names and calls

    def _find(self, module: str, name: str) -> Any:
        full = _name_of(module, name)
        if module.split(".")[0] in _BLOCKED_MODULES:
            raise BlockedGlobal(f"Trying to load unsupported GLOBAL {full} whose module {module} is blocked.")
        for known in own_and_torch_name(full):
            if known in self._globals:
                return self._globals[known]
            if known in _user_globals:
                return _user_globals[known]
        raise UnsupportedGlobal(
            f"Unsupported global: GLOBAL {full} was not an allowed global by default. "
            f"Please use `torch.serialization.add_safe_globals([{full}])` or the "
            f"`torch.serialization.safe_globals([{full}])` context manager to allowlist this global "
            "if you trust this class/function."
        )

    def _is_allowed(self, obj: Any) -> bool:
        return any(obj is known for table in (self._globals, _user_globals) for known in table.values())

    def _global(self) -> None:
        module = self._line()
        name = self._line()
        # Protocol 2 has the names of Python 2.
        module, name = _compat_pickle.NAME_MAPPING.get((module, name), (module, name))
        self._stack.append(self._find(_compat_pickle.IMPORT_MAPPING.get(module, module), name))

    def _reduce(self) -> None:
        args = self._stack.pop()
        func = self._stack[-1]
        if not callable(func) or not self._is_allowed(func) or self._only_named(func):
            raise pickle.UnpicklingError(f"Trying to call reduce for unrecognized function {func}")
        if not isinstance(args, tuple):
            raise pickle.UnpicklingError(f"Expected a tuple of arguments for {func}")
        if func is _utils._rebuild_from_type_v2:
            self._check_rebuild(args)
        self._stack[-1] = func(*args)

    @staticmethod
    def _only_named(func: Any) -> bool:
        """Tensor and storage classes are arguments; calling them could allocate any amount of memory."""
        if not isinstance(func, type) or any(func is known for known in _user_globals.values()):
            return False
        return func is _storage.UntypedStorage or issubclass(func, (rg.Tensor, _storage.TypedStorage))

    def _check_rebuild(self, args: tuple[Any, ...]) -> None:
        if len(args) != 4 or not self._is_allowed(args[0]) or not isinstance(args[2], tuple):
            raise pickle.UnpicklingError("Trying to rebuild a tensor through an unrecognized function")
        if not (isinstance(args[1], type) and issubclass(args[1], rg.Tensor) and self._is_allowed(args[1])):
            raise pickle.UnpicklingError(f"Trying to rebuild a tensor of unrecognized type {args[1]}")

    def _newobj(self) -> None:
        args = self._stack.pop()
        cls = self._stack.pop()
        if not isinstance(cls, type) or not isinstance(args, tuple):
            raise pickle.UnpicklingError(f"Trying to create an object of {cls}, which is no class")
        if cls is OrderedDict:
            self._stack.append(OrderedDict())
        elif cls in _user_globals.values():
            self._stack.append(cls.__new__(cls, *args))
        else:
            raise pickle.UnpicklingError(
                f"Can not create new object for arbitrary classes, only for those added with add_safe_globals: {cls}"
            )

    def _build(self) -> None:
        state = self._stack.pop()
        obj = self._stack[-1]
        if isinstance(obj, rg.Tensor):
            _utils._set_obj_state(obj, state)
        elif type(obj) is OrderedDict:
            if not isinstance(state, dict):
                raise pickle.UnpicklingError(f"The state of an OrderedDict must be a dict, but got {type(state)}")
            obj.__dict__.update(state)
        elif type(obj) in _user_globals.values():
            if hasattr(obj, "__setstate__"):
                obj.__setstate__(state)
            else:
                _utils._set_obj_state(obj, state)
        else:
            raise pickle.UnpicklingError(
                f"Can only build Tensor, Parameter, OrderedDict or types allowlisted via `add_safe_globals`, "
                f"but got {type(obj)}"
            )

    # Containers

    def _append(self) -> None:
        item = self._stack.pop()
        self._list().append(item)

    def _appends(self) -> None:
        items = self._pop_mark()
        self._list().extend(items)

    def _list(self) -> list[Any]:
        if type(self._stack[-1]) is not list:
            raise pickle.UnpicklingError(f"Can only append to lists, but got {type(self._stack[-1])}")
        found: list[Any] = self._stack[-1]
        return found

    def _set_items(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) not in (dict, OrderedDict, Counter) and type(target) not in _user_globals.values():
            raise pickle.UnpicklingError(f"Can only set items of dictionaries, but got {type(target)}")
        if len(items) % 2:
            raise pickle.UnpicklingError("odd number of items for SETITEMS")
        for i in range(0, len(items), 2):
            target[items[i]] = items[i + 1]

    def _setitem(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set_items([key, value])

    def _setitems(self) -> None:
        self._set_items(self._pop_mark())

    def _mark(self) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _tuple(self) -> None:
        items = self._pop_mark()
        self._stack.append(tuple(items))

    def _small_tuple(self, count: int) -> None:
        if len(self._stack) < count:
            raise IndexError("pop from empty list")
        self._stack[-count:] = [tuple(self._stack[-count:])]

    # Values

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _unpack(self, fmt: str) -> Any:
        return struct.unpack(fmt, self._read(struct.calcsize(fmt)))[0]

    def _text(self) -> None:
        self._push(self._read(self._unpack("<I")).decode("utf-8", "surrogatepass"))

    def _bytes(self, fmt: str) -> None:
        count = self._unpack(fmt)
        if count < 0:
            raise pickle.UnpicklingError("negative length of a string")
        data = self._read(count)
        self._push(data if self._encoding == "bytes" else data.decode(self._encoding, "strict"))

    def _long(self) -> None:
        self._push(int.from_bytes(self._read(self._unpack("<B")), "little", signed=True))

    def _proto(self) -> None:
        self._read(1)  # what is not known fails at its first unknown instruction

    def _persistent(self) -> None:
        pid = self._stack.pop()
        if not isinstance(pid, (tuple, int)) or isinstance(pid, tuple) and (not pid or pid[0] != "storage"):
            raise pickle.UnpicklingError(f"persistent_load id must be a storage, but got {type(pid)}")
        self._push(self.persistent_load(pid))

    def _get(self, fmt: str) -> None:
        index = self._unpack(fmt)
        if index not in self._memo:
            raise pickle.UnpicklingError(f"Memo value not found at index {index}")
        self._push(self._memo[index])

    def _put(self, fmt: str) -> None:
        self._memo[self._unpack(fmt)] = self._stack[-1]


_OPCODES: dict[int, Callable[[Unpickler], None]] = {
    ord("c"): Unpickler._global,
    ord("R"): Unpickler._reduce,
    0x81: Unpickler._newobj,
    ord("b"): Unpickler._build,
    ord("a"): Unpickler._append,
    ord("e"): Unpickler._appends,
    ord("s"): Unpickler._setitem,
    ord("u"): Unpickler._setitems,
    ord("("): Unpickler._mark,
    ord("t"): Unpickler._tuple,
    0x85: lambda u: u._small_tuple(1),
    0x86: lambda u: u._small_tuple(2),
    0x87: lambda u: u._small_tuple(3),
    ord("N"): lambda u: u._push(None),
    0x89: lambda u: u._push(False),
    0x88: lambda u: u._push(True),
    ord(")"): lambda u: u._push(()),
    ord("]"): lambda u: u._push([]),
    ord("}"): lambda u: u._push({}),
    0x8F: lambda u: u._push(set()),
    ord("J"): lambda u: u._push(u._unpack("<i")),
    ord("K"): lambda u: u._push(u._unpack("<B")),
    ord("M"): lambda u: u._push(u._unpack("<H")),
    ord("G"): lambda u: u._push(u._unpack(">d")),
    ord("X"): Unpickler._text,
    ord("T"): lambda u: u._bytes("<i"),
    ord("U"): lambda u: u._bytes("<B"),
    0x8A: Unpickler._long,
    0x80: Unpickler._proto,
    ord("Q"): Unpickler._persistent,
    ord("h"): lambda u: u._get("<B"),
    ord("j"): lambda u: u._get("<I"),
    ord("q"): lambda u: u._put("<B"),
    ord("r"): lambda u: u._put("<I"),
}


def find_class(module: str, name: str) -> Any:
    """The object that an unrestricted pickle means by a name: PyTorch's names give this library's objects."""
    module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)
    if module != "torch" and not module.startswith("torch."):
        __import__(module)
        found: Any = sys.modules[module]
        for part in name.split("."):
            found = getattr(found, part)
        return found
    known = _default_globals().get(f"{module}.{name}")
    if known is not None and known not in (_device, _size, _get_layout):
        return known
    own = "rustgrad" + module[len("torch") :]
    try:
        found = importlib.import_module(own)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise AttributeError(f"The file needs {module}.{name}, which rustgrad does not have") from error
    return found
