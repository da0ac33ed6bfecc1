"""Write python/rustgrad/_core.pyi: what type checkers know of the core.

    python tools/stubs.py            write the file
    python tools/stubs.py --check    exit with 1 if the file is not what would be written

The ops come from the core itself: the doc of each begins with its schema lines. The classes, and the functions
that are not ops, are declared in HAND below. What neither knows is declared from the signature the core shows,
with Any for every type; a declaration in HAND without a counterpart in the core is an error.
"""

from __future__ import annotations

import ast
import inspect
import keyword
import pathlib
import re
import sys
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

PATH = pathlib.Path(__file__).parent.parent / "python" / "rustgrad" / "_core.pyi"
WIDTH = 120

HEAD = '''\
"""The core, in Rust. Written by tools/stubs.py; do not edit."""

# Which overload takes a call is a question of order, as in the core.
# mypy: disable-error-code="overload-overlap, overload-cannot-match"

import builtins
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Self, SupportsIndex, TypeAlias, overload

import numpy as np

from ._types import Size

'''

HAND = '''
class dtype:
    @property
    def is_floating_point(self) -> builtins.bool: ...
    @property
    def is_complex(self) -> builtins.bool: ...
    @property
    def is_signed(self) -> builtins.bool: ...
    @property
    def itemsize(self) -> builtins.int: ...
    @property
    def _scalar_name(self) -> str: ...
    def to_real(self) -> dtype: ...
    def to_complex(self) -> dtype: ...
    def __reduce__(self) -> str: ...

class device:
    def __new__(cls, type: device | str | builtins.int, index: builtins.int | None = None) -> Self: ...
    @property
    def type(self) -> str: ...
    @property
    def index(self) -> builtins.int | None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exc: object) -> None: ...

class memory_format: ...

class Generator:
    def __new__(cls, device: device | str | None = None) -> Self: ...
    @property
    def device(self) -> device: ...
    def manual_seed(self, seed: Any) -> Self: ...
    def seed(self) -> builtins.int: ...
    def initial_seed(self) -> builtins.int: ...
    def get_state(self) -> Tensor: ...
    def set_state(self, new_state: Tensor) -> Self: ...
    def clone_state(self) -> Self: ...
    def _state(self) -> bytes: ...
    def _set_state(self, bytes: bytes) -> None: ...

class UntypedStorage:
    @property
    def device(self) -> device: ...
    @property
    def __array_interface__(self) -> dict[str, Any]: ...
    def size(self) -> builtins.int: ...
    def nbytes(self) -> builtins.int: ...
    def data_ptr(self) -> builtins.int: ...
    def to(self, device: _Device) -> UntypedStorage: ...
    def cpu(self) -> UntypedStorage: ...
    def clone(self) -> UntypedStorage: ...
    def copy_(self, source: UntypedStorage) -> None: ...
    def __len__(self) -> builtins.int: ...
    def __bytes__(self) -> bytes: ...

class Node:
    @property
    def next_functions(self) -> tuple[tuple[Node | None, builtins.int], ...]: ...
    @property
    def variable(self) -> Tensor: ...
    @property
    def _ctx(self) -> Any: ...
    def name(self) -> str: ...

class LinAlgError(RuntimeError): ...
class OutOfMemoryError(RuntimeError, MemoryError): ...
class DeviceLostError(RuntimeError): ...
class KernelCompileError(RuntimeError): ...

nn: Any
linalg: Any
special: Any
fft: Any
default_generator: Generator

_Device: TypeAlias = device | str | builtins.int
_Dtype: TypeAlias = dtype
# Python's own types name dtypes where an op takes one.
_OpDtype: TypeAlias = (
    dtype | builtins.type[builtins.float] | builtins.type[builtins.int] | builtins.type[builtins.bool]
)
_Format: TypeAlias = memory_format
_Generator: TypeAlias = Generator
_Storage: TypeAlias = UntypedStorage
_Int: TypeAlias = builtins.int | np.integer[Any]
_Float: TypeAlias = builtins.float | np.floating[Any] | np.integer[Any] | Tensor
# A number, or a tensor that stands for one.
_Scalar: TypeAlias = builtins.complex | np.number[Any] | np.bool | Tensor

def _set_classes(size: Any, return_types: Any) -> None: ...
def _named_results() -> dict[str, list[str]]: ...
def get_default_dtype() -> dtype: ...
def set_default_dtype(d: dtype) -> None: ...
def get_default_device() -> device: ...
def set_default_device(device: _Device | None) -> None: ...
def get_num_threads() -> builtins.int: ...
def set_num_threads(n: builtins.int) -> None: ...
def memory_stats() -> dict[str, builtins.int]: ...
def set_memory_limit(limit: builtins.int | None = None) -> None: ...
def empty_cache() -> None: ...
def reset_peak_memory_stats() -> None: ...
def _gpu_as_cuda() -> None: ...
def _gpu_count() -> builtins.int: ...
def _gpu_info(index: builtins.int) -> dict[str, Any]: ...
def _gpu_synchronize(index: builtins.int) -> None: ...
def _gpu_memory(index: builtins.int) -> tuple[builtins.int, builtins.int, builtins.int, builtins.int]: ...
def _gpu_empty_cache(index: builtins.int) -> None: ...
def _gpu_reset_peak(index: builtins.int) -> None: ...
def _gpu_fallbacks() -> list[tuple[str, builtins.int]]: ...
def _gpu_manual_seed(index: builtins.int, seed: Any) -> None: ...
def _gpu_manual_seed_all(seed: Any) -> None: ...
def _gpu_seed(index: builtins.int) -> builtins.int: ...
def _gpu_initial_seed(index: builtins.int) -> builtins.int: ...
def _gpu_rng_devices() -> list[builtins.int]: ...
def _gpu_get_rng_state(index: builtins.int) -> Tensor: ...
def _gpu_set_rng_state(index: builtins.int, state: Tensor) -> None: ...
def _set_pending(on: builtins.bool) -> builtins.bool: ...
def promote_types(type1: dtype, type2: dtype, /) -> dtype: ...
def _manual_seed(seed: Any) -> None: ...
def _set_autocast(device: str, on: builtins.bool, dtype: dtype) -> tuple[builtins.bool, dtype]: ...
def _autocast_state(device: str) -> tuple[builtins.bool, dtype]: ...
def tensor(
    data: Any, *, dtype: dtype | None = None, device: _Device | None = None, requires_grad: builtins.bool = False,
    pin_memory: builtins.bool = False,
) -> Tensor: ...
def as_tensor(data: Any, dtype: dtype | None = None, device: _Device | None = None) -> Tensor: ...
def from_numpy(array: Any, /) -> Tensor: ...
def from_dlpack(ext_tensor: Any) -> Tensor: ...
def frombuffer(
    buffer: Any, *, dtype: dtype, count: builtins.int = -1, offset: builtins.int = 0,
    requires_grad: builtins.bool = False,
) -> Tensor: ...
def _to_numpy(x: Tensor) -> np.ndarray[Any, np.dtype[Any]]: ...
def _to_dlpack(x: Tensor) -> Any: ...
def _storage_of(x: Tensor) -> UntypedStorage: ...
def _storage_from_buffer(data: bytes) -> UntypedStorage: ...
def _tensor_from_storage(
    storage: UntypedStorage, storage_offset: builtins.int, size: Sequence[builtins.int],
    stride: Sequence[builtins.int], dtype: dtype,
) -> Tensor: ...
def _grad_fn(x: Tensor) -> Node | None: ...
def _output_nr(x: Tensor) -> builtins.int: ...
def _backward(
    roots: Any, gradients: Any = None, retain_graph: builtins.bool | None = None, create_graph: builtins.bool = False,
    inputs: Any = None,
) -> None: ...
def _grad(
    outputs: Any, inputs: Any, grad_outputs: Any = None, retain_graph: builtins.bool | None = None,
    create_graph: builtins.bool = False, allow_unused: builtins.bool = False,
) -> tuple[Any, ...]: ...
def _register_hook(x: Tensor, f: Callable[[Any], Any]) -> builtins.int: ...
def _remove_hook(x: Tensor, id: builtins.int) -> None: ...
def _retain_grad(x: Tensor) -> None: ...
def _retains_grad(x: Tensor) -> builtins.bool: ...
def is_grad_enabled() -> builtins.bool: ...
def _set_grad_enabled(on: builtins.bool) -> builtins.bool: ...
def is_inference_mode_enabled() -> builtins.bool: ...
def _set_inference_mode(on: builtins.bool) -> builtins.bool: ...
def _mark_inference(x: Tensor) -> None: ...

class Tensor:
    def __new__(cls, *args: Any, **kwargs: Any) -> Self: ...
    @staticmethod
    def _make_subclass(cls: Any, data: Tensor, require_grad: builtins.bool = False) -> Any: ...
    # what it is
    @property
    def shape(self) -> Size: ...
    @property
    def dtype(self) -> _Dtype: ...
    @property
    def device(self) -> device: ...
    @property
    def layout(self) -> Any: ...
    @property
    def names(self) -> tuple[str | None, ...]: ...
    @property
    def ndim(self) -> builtins.int: ...
    @property
    def itemsize(self) -> builtins.int: ...
    @property
    def nbytes(self) -> builtins.int: ...
    @property
    def is_cpu(self) -> builtins.bool: ...
    @property
    def is_meta(self) -> builtins.bool: ...
    is_cuda: builtins.bool
    is_sparse: builtins.bool
    is_sparse_csr: builtins.bool
    is_quantized: builtins.bool
    is_mkldnn: builtins.bool
    is_mps: builtins.bool
    is_xpu: builtins.bool
    is_xla: builtins.bool
    is_nested: builtins.bool
    is_vulkan: builtins.bool
    is_ipu: builtins.bool
    is_maia: builtins.bool
    is_mtia: builtins.bool
    @overload
    def size(self, dim: None = None) -> Size: ...
    @overload
    def size(self, dim: SupportsIndex) -> builtins.int: ...
    @overload
    def stride(self, dim: None = None) -> tuple[builtins.int, ...]: ...
    @overload
    def stride(self, dim: SupportsIndex) -> builtins.int: ...
    def dim(self) -> builtins.int: ...
    def ndimension(self) -> builtins.int: ...
    def numel(self) -> builtins.int: ...
    def nelement(self) -> builtins.int: ...
    def element_size(self) -> builtins.int: ...
    def storage_offset(self) -> builtins.int: ...
    def data_ptr(self) -> builtins.int: ...
    def is_contiguous(self, memory_format: _Format | None = None) -> builtins.bool: ...
    def is_floating_point(self) -> builtins.bool: ...
    def is_complex(self) -> builtins.bool: ...
    def is_signed(self) -> builtins.bool: ...
    def is_inference(self) -> builtins.bool: ...
    def _is_view(self) -> builtins.bool: ...
    def _type_name(self) -> str: ...
    def _shares_storage(self, other: Tensor) -> builtins.bool: ...
    @property
    def _base(self) -> Tensor | None: ...
    @property
    def _version(self) -> builtins.int: ...
    # differentiation
    requires_grad: builtins.bool
    grad: Tensor | None
    data: Tensor
    @property
    def grad_fn(self) -> Node | None: ...
    @property
    def is_leaf(self) -> builtins.bool: ...
    @property
    def output_nr(self) -> builtins.int: ...
    @property
    def retains_grad(self) -> builtins.bool: ...
    @property
    def volatile(self) -> builtins.bool: ...
    def requires_grad_(self, requires_grad: builtins.bool = True) -> Self: ...
    def detach(self) -> Tensor: ...
    def detach_(self) -> Self: ...
    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any: ...
    # values
    def item(self) -> Any: ...
    def tolist(self) -> Any: ...
    def __bool__(self) -> builtins.bool: ...
    def __int__(self) -> builtins.int: ...
    def __index__(self) -> builtins.int: ...
    def __float__(self) -> builtins.float: ...
    def __complex__(self) -> builtins.complex: ...
    def __len__(self) -> builtins.int: ...
    def __hash__(self) -> builtins.int: ...
    def __repr__(self) -> str: ...
    def __reduce_ex__(self, protocol: Any) -> Any: ...
    def __iter__(self) -> Iterator[Tensor]: ...
    def __contains__(self, element: Any) -> builtins.bool: ...
    def __getitem__(self, index: Any) -> Tensor: ...
    def __setitem__(self, index: Any, value: Any) -> None: ...
'''

# Operators: the forward ones, the reflected ones and those in place.
BINARY = ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor", "lshift", "rshift"]
UNARY = ["neg", "pos", "abs", "invert"]
COMPARE = ["eq", "ne", "lt", "le", "gt", "ge"]

# Results whose type depends on the values of the arguments.
RESULTS = {"unique": "Any", "unique_consecutive": "Any", "nonzero": "Any"}

# What the methods written in Python give; the rest gives what its annotation says.
GIVES = {
    "numpy": "np.ndarray[Any, np.dtype[Any]]", "__array__": "np.ndarray[Any, np.dtype[Any]]",
    "untyped_storage": "_Storage", "__deepcopy__": "Self", "share_memory_": "Self", "apply_": "Self", "map_": "Self",
}
TENSORS = [
    "bfloat16", "bool", "byte", "cdouble", "cfloat", "char", "cpu", "cuda", "double", "float", "half", "int", "long",
    "short", "new", "new_empty", "new_empty_strided", "new_full", "new_ones", "new_tensor", "new_zeros", "pin_memory",
    "to", "type_as", "__array_wrap__",
]
GIVES.update(dict.fromkeys(TENSORS, "Tensor"))

TYPES = {
    "Tensor": "Tensor", "Tensor[]": "Sequence[Tensor]", "Tensor?[]": "Sequence[Tensor | None]", "Operand": "_Scalar",
    "Scalar": "_Scalar", "int": "_Int", "int[]": "Sequence[_Int]", "float": "_Float", "float[]": "Sequence[_Float]",
    "bool": "builtins.bool", "str": "str", "ScalarType": "_OpDtype", "Device": "_Device", "Generator": "_Generator",
    "MemoryFormat": "_Format", "Any": "Any",
}


def _split(text: str) -> list[str]:
    """Split at the commas outside brackets."""
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c in "[(") - (c in ")]")
        if c == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    return [p for p in (*parts, text[start:].strip()) if p]


def _type(name: str) -> str:
    """The annotation for a type of the schema language."""
    if name.endswith("?"):
        inner = _type(name[:-1])
        return inner if inner == "Any" else f"{inner} | None"
    if re.fullmatch(r"int\?\[\d+\]", name):
        return "_Int | Sequence[_Int | None]"
    if re.fullmatch(r"int\[\d+\]", name):
        return "_Int | Sequence[_Int]"
    return TYPES[name]


def _default(text: str) -> str:
    if text.startswith("["):
        items = text.strip("[]")
        return f"({items},)" if items and "," not in items else f"({items})"
    return text


class Results:
    """The named tuples that ops return, one class for each list of names."""

    def __init__(self) -> None:
        self.classes: dict[str, list[str]] = {}

    def annotation(self, text: str) -> str:
        """The annotation for what a schema line returns."""
        if not text.startswith("("):
            return {"Tensor": "Tensor", "Tensor[]": "tuple[Tensor, ...]", "bool": "builtins.bool",
                    "int": "builtins.int", "ScalarType": "dtype", "str": "str", "Scalar": "Any", "()": "None"}[text]
        fields = [part.split() for part in _split(text[1:-1])]
        if not fields:
            return "None"
        types = [self.annotation(f[0]) for f in fields]
        if any(len(f) == 1 for f in fields):
            return f"tuple[{', '.join(types)}]"
        key = "_" + "_".join(f[1] for f in fields)
        if any(t != "Tensor" for t in types):
            key += "_lists"
        self.classes[key] = [f"{f[1]}: {t}" for f, t in zip(fields, types, strict=True)]
        return key

    def text(self) -> str:
        """The classes."""
        return "".join(
            f"class {name}(NamedTuple):\n" + "".join(f"    {field}\n" for field in fields) + "\n"
            for name, fields in sorted(self.classes.items())
        )


def _define(name: str, params: Iterable[str], result: str, indent: str) -> str:
    """A def, over several lines if need be."""
    params = list(params)
    line = f"{indent}def {name}({', '.join(params)}) -> {result}: ..."
    if len(line) <= WIDTH:
        return line + "\n"
    lines = [indent + "   "]
    for p in params:
        if len(lines[-1]) + len(p) + 2 > WIDTH:
            lines.append(indent + "   ")
        lines[-1] += f" {p},"
    return f"{indent}def {name}(\n" + "\n".join(lines) + f"\n{indent}) -> {result}: ...\n"


def _signatures(line: str, method: bool, out: bool) -> list[list[str]]:
    """The parameter lists that one schema line stands for."""
    head = line.split("->")[0].strip()
    lists: list[list[str]] = [[]]
    parts = _split(head[head.index("(") + 1:head.rindex(")")])
    star = False
    itself = next((i for i, part in enumerate(parts) if part.endswith(" self")), 0) if method else -1
    if method:
        lists[0].append("self")
    for i, part in enumerate(parts):
        if part == "*":
            star = True
            for params in lists:
                if not any(p.startswith("*") for p in params):
                    params.append("*")
            continue
        if i == itself:
            continue
        declaration, _, default = part.partition("=")
        kind, name = declaration.rsplit(" ", 1)
        last = i + 1 == len(parts) or parts[i + 1] == "*"
        name = "input" if name == "self" else name
        spread = None
        if kind == "Tensor...":
            kind, spread = "Tensor[]", "Tensor"
        elif kind == "int[]" and last and not star:
            spread = "_Int"
        end = ""
        if default:
            end = f" = {_default(default)}"
        elif star and kind.endswith("?"):
            end = " = None"
        slash = keyword.iskeyword(name)
        text = f"{name}{'_' * slash}: {_type(kind)}{end}"
        more = [[*params, f"*{name}: {spread}"] for params in lists] if spread else []
        for params in lists:
            params.append(text)
            if slash:
                params.append("/")
        lists += more
    if out:
        for params in lists:
            if not any(p.startswith("*") for p in params):
                params.append("*")
            params.append("out: Tensor | Sequence[Tensor] | None = None")
    return lists


def _op(name: str, doc: str, results: Results, method: bool = False, indent: str = "") -> str:
    """The declarations of an op from the schema lines at the head of its doc; nothing if there are none."""
    in_place = method and name.endswith("_")
    lines = []
    for line in doc.splitlines():
        if not line.startswith((f"{name}(", f"{name.rstrip('_')}(")):
            break
        lines.append(line)
    found: list[str] = []
    for line in lines:
        returned = line.split("->")[1].strip() if "->" in line else "Tensor"
        if in_place:
            result = "Self"
        else:
            result = RESULTS.get(name) or results.annotation(returned)
        out = not method and not name.endswith("_") and (returned == "Tensor" or returned.startswith("("))
        for params in _signatures(line, method, out):
            text = _define(name, params, result, indent)
            if text not in found:
                found.append(text)
    return (f"{indent}@overload\n" if len(found) > 1 else "") + f"{indent}@overload\n".join(found)


def _parameters(function: Any, name: str) -> list[str]:
    """The parameters a function of the core shows, with Any for every type."""
    text = getattr(function, "__text_signature__", None) or "(*args, **kwargs)"
    params = []
    for p in _split(text[1:-1]):
        if p in ("$self", "/", "*"):
            params.append(p.lstrip("$"))
        else:
            word, _, default = p.partition("=")
            params.append(f"{word}: Any" + (f" = {default}" if default else ""))
    return params


def _written(function: Callable[..., Any]) -> tuple[list[str], str]:
    """The parameters and the result of a method written in Python."""
    builtin = re.compile(r"\b(bool|int|float|type|bytes|complex)\b")
    params: list[str] = []
    signature = inspect.signature(function)
    names = list(signature.parameters.values())
    stars: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    for p in names:
        star = stars.get(p.kind, "")
        if p.kind is p.KEYWORD_ONLY and not any(q.startswith("*") for q in params):
            params.append("*")
        if p is names[0]:
            params.append("self")
            continue
        kind = builtin.sub(r"builtins.\1", str(p.annotation))
        params.append(f"{star}{p.name}: {kind}" + ("" if p.default is p.empty else f" = {p.default!r}"))
    return params, builtin.sub(r"builtins.\1", str(signature.return_annotation))


def _members(node: ast.ClassDef | ast.Module) -> dict[str, ast.stmt]:
    """The names a class or module declares."""
    found: dict[str, ast.stmt] = {}
    for item in node.body:
        if isinstance(item, (ast.FunctionDef, ast.ClassDef)):
            found[item.name] = item
        elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            found[item.target.id] = item
    return found


def _rest(core: ModuleType, handled: dict[str, Any], known: set[str], results: Results) -> str:
    """The rest of the class Tensor."""
    cls, pad = core.Tensor, "    "
    text = "    # operators\n"
    for name in BINARY:
        text += f"{pad}def __{name}__(self, other: _Scalar) -> Tensor: ...\n"
    text += f"{pad}def __matmul__(self, other: Tensor) -> Tensor: ...\n"
    for name in (*BINARY, "matmul"):
        text += f"{pad}def __r{name}__(self, other: Any) -> Tensor: ...\n"
    for name in BINARY:
        text += f"{pad}def __i{name}__(self, other: _Scalar) -> Self: ...\n"
    for name in UNARY:
        text += f"{pad}def __{name}__(self) -> Tensor: ...\n"
    for name in COMPARE:
        ignore = "  # type: ignore[override]" if name in ("eq", "ne") else ""
        text += f"{pad}def __{name}__(self, other: Any) -> Tensor: ...{ignore}\n"
    text += "    # written in Python\n"
    for name, function in sorted(handled.items()):
        if name in known:
            continue
        params, result = _written(function)
        text += _define(name, params, GIVES.get(name, result), pad)
    text += "    # ops\n"
    for name in sorted(set(dir(cls)) - set(handled) - known):
        if name.startswith("__"):
            continue
        member = inspect.getattr_static(cls, name)
        if isinstance(member, property) and (member.fget.__doc__ or "").startswith(f"{name}("):
            text += f"{pad}@property\n{pad}def {name}(self) -> Tensor: ...\n"
        elif not callable(member):
            text += f"{pad}{name}: Any\n"
        else:
            text += _op(name, member.__doc__ or "", results, method=True, indent=pad) or _define(
                name, _parameters(member, name), "Any", pad
            )
    return text


def _check(core: ModuleType, declared: dict[str, ast.stmt]) -> None:
    """What is declared by hand is in the core."""
    for name, node in declared.items():
        if re.match(r"_[A-Z]", name):
            continue  # an alias
        if not hasattr(core, name):
            raise SystemExit(f"tools/stubs.py declares {name}, which the core lacks")
        if isinstance(node, ast.ClassDef):
            for member in _members(node):
                if not hasattr(getattr(core, name), member):
                    raise SystemExit(f"tools/stubs.py declares {name}.{member}, which the core lacks")


def generate() -> str:
    """The text of the stub for the core that can be imported."""
    from rustgrad import _core as core
    from rustgrad import _tensor

    declared = _members(ast.parse(HAND))
    _check(core, declared)
    tensor = declared["Tensor"]
    assert isinstance(tensor, ast.ClassDef)
    results = Results()
    rest_of_tensor = _rest(core, _tensor._HANDLED, set(_members(tensor)), results)
    values, functions, public = "", "", []
    for name in sorted(dir(core)):
        value = getattr(core, name)
        if name.startswith("__"):
            continue
        if not name.startswith("_") and not isinstance(value, ModuleType):
            public.append(name)
        if name in declared:
            continue
        if isinstance(value, (core.dtype, core.memory_format)):
            values += f"{name}: {type(value).__name__}\n"
        elif callable(value):
            functions += _op(name, value.__doc__ or "", results) or _define(name, _parameters(value, name), "Any", "")
        else:
            values += f"{name}: Any\n"
    # What rustgrad takes over as its own.
    names, line = "__all__ = [\n", "   "
    for name in public:
        if len(line) + len(name) + 4 > WIDTH:
            names, line = names + line + "\n", "   "
        line += f' "{name}",'
    names += line + "\n]\n"
    hand, classes = HAND.split("class Tensor:")
    tensor_class = "class Tensor:" + classes + rest_of_tensor
    return HEAD + names + hand + results.text() + tensor_class + "\n" + values + "\n" + functions


def main() -> int:
    """Write the stub, or compare it."""
    sys.path.append(str(PATH.parent.parent))  # an installed core goes first
    text = generate()
    if "--check" in sys.argv[1:]:
        if PATH.read_text() != text:
            print(f"{PATH.name} is not what the core says: run python tools/stubs.py")
            return 1
        return 0
    PATH.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
