"""The parts of Tensor that are written in Python; attached to the core's class when the package loads."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

import rustgrad as rg

from . import _core, _tensor_str, _utils
from .utils.hooks import RemovableHandle

Tensor = _core.Tensor
_HANDLED: dict[str, Any] = {}


def _method(function: Any) -> Any:
    """Make a function a method of Tensor under its own name."""
    _HANDLED[function.__name__] = function
    return function


# --- text, copies, conversions ----------------------------------------------------------------


@_method
def __repr__(self: Any, *, tensor_contents: str | None = None) -> str:
    return _tensor_str._str(self, tensor_contents=tensor_contents)


@_method
def __format__(self: Any, spec: str) -> str:
    return _tensor_str._format(self, spec)


@_method
def __reduce_ex__(self: Any, protocol: int) -> Any:
    return _utils._reduce_tensor(self)


@_method
def __deepcopy__(self: Any, memo: dict[Any, Any]) -> Any:
    return _utils._deepcopy_tensor(self, memo)


@_method
def __array__(self: Any, dtype: Any = None, copy: bool | None = None) -> Any:
    array = self.numpy()
    if dtype is not None and array.dtype != np.dtype(dtype):
        if copy is False:
            raise ValueError("unable to avoid a copy: the tensor has another dtype")
        return array.astype(dtype)
    return array.copy() if copy else array


@_method
def __array_wrap__(self: Any, array: Any) -> Any:
    # ufuncs over a tensor (np.sin(x)) give a tensor. NumPy deprecates this signature; PyTorch has it, and so
    # programs see the same warning.
    array = np.asarray(array)
    return rg.from_numpy(array.copy() if not array.shape else array)


@_method
def numpy(self: Any, *, force: bool = False) -> Any:
    """A NumPy array over the same memory; with force=True whatever conversion that takes."""
    if force:
        return _core._to_numpy(self.detach().cpu().resolve_conj().resolve_neg())
    if self.requires_grad:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
    return _core._to_numpy(self)


@_method
def __dlpack__(self: Any, *, stream: Any = None, max_version: Any = None, dl_device: Any = None,
               copy: bool | None = None) -> Any:
    return _core._to_dlpack(self.clone() if copy else self)


@_method
def __dlpack_device__(self: Any) -> tuple[int, int]:
    return (1, 0)


@_method
def __dir__(self: Any) -> list[str]:
    return sorted(set(dir(type(self))) | set(getattr(self, "__dict__", {})))


@_method
def untyped_storage(self: Any) -> Any:
    """The block of memory this tensor looks into."""
    return _core._storage_of(self)


@_method
def storage(self: Any) -> Any:
    """The block of memory, as elements of this dtype."""
    from .storage import TypedStorage

    return TypedStorage(wrap_storage=_core._storage_of(self), dtype=self.dtype, _internal=True)


_DTYPE_METHODS = {
    "float": "float32", "double": "float64", "half": "float16", "bfloat16": "bfloat16", "long": "int64", "int": "int32",
    "short": "int16", "char": "int8", "byte": "uint8", "bool": "bool", "cfloat": "complex64", "cdouble": "complex128",
}


def _conversion(name: str, dtype: Any) -> Any:
    to = _core._to

    def convert(self: Any, memory_format: Any = None) -> Any:
        return to(self, dtype, None, False, memory_format)

    convert.__name__ = convert.__qualname__ = name
    convert.__doc__ = f"The values as {dtype}."
    return convert


for _name, _dtype in _DTYPE_METHODS.items():
    _HANDLED[_name] = _conversion(_name, getattr(_core, _dtype))


@_method
def as_subclass(self: Any, cls: Any) -> Any:
    """The same tensor as an instance of a subclass."""
    return Tensor._make_subclass(cls, self, self.requires_grad)


@_method
def to(self: Any, *args: Any, **kwargs: Any) -> Any:
    """Convert: `to(dtype)`, `to(device)`, `to(device, dtype)`, `to(other)`; itself where nothing changes."""
    dtype, device = kwargs.pop("dtype", None), kwargs.pop("device", None)
    copy, memory_format = kwargs.pop("copy", False), kwargs.pop("memory_format", None)
    kwargs.pop("non_blocking", None)
    if "other" in kwargs:
        args = (kwargs.pop("other"), *args)
    if kwargs:
        raise TypeError(f"to() received an invalid combination of arguments - got keyword {next(iter(kwargs))!r}")
    rest: tuple[Any, ...] = ()
    if args:
        first, rest = args[0], args[1:]
        if isinstance(first, Tensor):
            dtype, device = first.dtype, first.device
        elif isinstance(first, _core.dtype):
            dtype = first
        elif first is None or isinstance(first, (str, int, _core.device)):
            device = first
            if rest and (rest[0] is None or isinstance(rest[0], _core.dtype)):
                dtype, rest = rest[0] if rest[0] is not None else dtype, rest[1:]
        else:
            raise TypeError(
                f"to() received an invalid combination of arguments - got ({', '.join(type(a).__name__ for a in args)})"
            )
    if len(rest) > 1:
        copy = rest[1]
    return _core._to(self, dtype, device, bool(copy), memory_format)


@_method
def type(self: Any, dtype: Any = None, non_blocking: bool = False, **kwargs: Any) -> Any:
    """The type string, `torch.FloatTensor`; with an argument, a conversion."""
    if dtype is None:
        return self._type_name()
    if isinstance(dtype, str):
        dtype = rg._legacy.dtype_of_type_string(dtype)
    elif not isinstance(dtype, _core.dtype):
        dtype = dtype.dtype
    return _core._to(self, dtype, None, False, None)


@_method
def type_as(self: Any, other: Any) -> Any:
    """The values in the dtype of another tensor."""
    return _core._to(self, other.dtype, other.device, False, None)


@_method
def cpu(self: Any, memory_format: Any = None) -> Any:
    """The values in the CPU's memory; itself if they are there."""
    return _core._to(self, None, "cpu", False, memory_format)


@_method
def cuda(self: Any, device: Any = None, non_blocking: bool = False, memory_format: Any = None) -> Any:
    """AssertionError: there is no CUDA here."""
    return _core._to(self, None, "cuda", False, memory_format)


@_method
def pin_memory(self: Any, device: Any = None) -> Any:
    """The tensor itself, as a GPU has staging memory of its own; RuntimeError where there is no GPU."""
    if rg.gpu.is_available():
        if self.device.type != "cpu":
            raise RuntimeError(f"cannot pin '{self.type()}' only dense CPU tensors can be pinned")
        return self
    raise RuntimeError("Cannot access accelerator device when none is available.")


@_method
def is_pinned(self: Any, device: Any = None) -> bool:
    """False: there is no pinned memory."""
    return False


@_method
def share_memory_(self: Any) -> Any:
    """Itself; workers get copies."""
    return self


@_method
def is_shared(self: Any) -> bool:
    """False: tensors are copied between processes."""
    return False


@_method
def get_device(self: Any) -> int:
    """The index of the device; -1 on the CPU."""
    return -1 if self.device.index is None else int(self.device.index)


@_method
def apply_(self: Any, function: Callable[[Any], Any]) -> Any:
    """Replace each element by function(element); slow."""
    flat = [function(v) for v in self.reshape(-1).tolist()]
    return self.copy_(rg.tensor(flat, dtype=self.dtype).reshape(self.shape))


@_method
def map_(self: Any, other: Any, function: Callable[[Any, Any], Any]) -> Any:
    """Replace each element by function(element, element of other); slow."""
    pairs = zip(self.reshape(-1).tolist(), other.expand_as(self).reshape(-1).tolist(), strict=True)
    return self.copy_(rg.tensor([function(a, b) for a, b in pairs], dtype=self.dtype).reshape(self.shape))


# --- new tensors like this one -----------------------------------------------------------------


@_method
def new_tensor(self: Any, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
               layout: Any = None, pin_memory: bool = False) -> Any:
    """A tensor of the data in this one's dtype."""
    return rg.tensor(data, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad)


@_method
def new(self: Any, *args: Any, **kwargs: Any) -> Any:
    """The old constructor: sizes or data, in this tensor's dtype."""
    return Tensor(*args, dtype=self.dtype)


def _new_filled(name: str) -> Any:
    def make(self: Any, *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False,
             **_: Any) -> Any:
        if "size" in _:
            size = (_["size"],)
        if len(size) == 1 and not isinstance(size[0], int):
            size = tuple(size[0]) if not isinstance(size[0], Tensor) else (int(size[0]),)
        return getattr(_core, name)(size, dtype=dtype or self.dtype, device=device or self.device,
                                    requires_grad=requires_grad)

    make.__name__ = make.__qualname__ = f"new_{name}"
    make.__doc__ = f"torch.{name} in this tensor's dtype and device."
    return make


for _name in ("zeros", "ones", "empty"):
    _HANDLED[f"new_{_name}"] = _new_filled(_name)


@_method
def new_full(self: Any, size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None,
             requires_grad: bool = False, **_: Any) -> Any:
    """torch.full in this tensor's dtype and device."""
    return rg.full(size, fill_value, dtype=dtype or self.dtype, device=device or self.device,
                   requires_grad=requires_grad)


@_method
def new_empty_strided(self: Any, size: Any, stride: Any, *, dtype: Any = None, device: Any = None,
                      requires_grad: bool = False, **_: Any) -> Any:
    """torch.empty_strided in this tensor's dtype and device."""
    return rg.empty_strided(size, stride, dtype=dtype or self.dtype, device=device or self.device,
                            requires_grad=requires_grad)


# --- differentiation -----------------------------------------------------------------------------


@_method
def backward(self: Any, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False,
             inputs: Any = None) -> None:
    """Add the gradient of this tensor to the leaves' grad."""
    if inputs is not None and isinstance(inputs, Tensor):
        inputs = [inputs]
    _core._backward(self, gradient, create_graph if retain_graph is None else retain_graph, create_graph, inputs)


@_method
def retain_grad(self: Any) -> None:
    """Keep the gradient of this non-leaf in its grad."""
    _core._retain_grad(self)


class _TensorHook(RemovableHandle):
    def __init__(self, tensor: Any, number: int) -> None:
        self._tensor, self._number = weakref.ref(tensor), number

    def remove(self) -> None:
        """Take the hook off again."""
        tensor = self._tensor()
        if tensor is not None:
            _core._remove_hook(tensor, self._number)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


@_method
def register_hook(self: Any, hook: Callable[[Any], Any]) -> Any:
    """Call hook(grad) when the gradient is known; what it returns replaces the gradient."""
    return _TensorHook(self, _core._register_hook(self, hook))


@_method
def register_post_accumulate_grad_hook(self: Any, hook: Callable[[Any], None]) -> Any:
    """Call hook(self) after a gradient was added to this leaf's grad."""
    if not self.is_leaf:
        raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
    return _TensorHook(self, _core._register_post_hook(self, hook))


def _grad_fn(self: Any) -> Any:
    return _core._grad_fn(self)


@classmethod  # type: ignore[misc]
def _torch_function(cls: Any, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
    return func(*args, **(kwargs or {}))


_FLAGS = ("is_sparse", "is_cuda", "is_quantized", "is_mkldnn", "is_mps", "is_xpu", "is_nested", "is_sparse_csr",
          "is_xla", "is_vulkan", "is_ipu", "is_maia", "is_mtia")


def _volatile(self: Any) -> bool:
    import warnings

    warnings.warn("volatile was removed (Variable.volatile is always False)", stacklevel=2)
    return False


def attach() -> None:
    """Put the methods onto the class."""
    cls: Any = Tensor
    for name, function in _HANDLED.items():
        setattr(cls, name, function)
    cls.grad_fn = property(_grad_fn, doc="The node that made this tensor; None for a leaf.")
    cls.output_nr = property(lambda self: _core._output_nr(self), doc="Which result of its node this tensor is.")
    cls.retains_grad = property(lambda self: _core._retains_grad(self), doc="Whether a non-leaf keeps its grad.")
    cls.layout = property(lambda self: rg.strided, doc="How the elements are stored.")
    cls.names = property(lambda self: (None,) * self.ndim, doc="No dimension has a name.")
    cls.volatile = property(_volatile, doc="False; a relic.")
    cls.is_cpu = property(lambda self: self.device.type == "cpu", doc="Whether the memory is the CPU's.")
    cls.__torch_function__ = _torch_function
    for flag in _FLAGS:
        setattr(cls, flag, False)
