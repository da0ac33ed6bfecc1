"""How tensors are taken apart and put together again, for checkpoints, pickle and copy.

The ``_rebuild_*`` functions have the names and arguments that PyTorch's checkpoints call them by.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import rustgrad as rg
from rustgrad import storage as _storage

_NON_LEAF = (
    "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment.  "
    "If you were attempting to deepcopy a module, this may be because of a torch.nn.utils.weight_norm usage, "
    "see https://github.com/pytorch/pytorch/pull/103001"
)


def _strided(storage: Any, offset: int, size: Any, stride: Any, dtype: Any) -> rg.Tensor:
    """A tensor over a storage, every element of which lies inside it."""
    size, stride = tuple(size), tuple(stride)
    if len(size) != len(stride) or not all(type(n) is int for n in (offset, *size, *stride)):
        raise RuntimeError(f"size {size}, stride {stride} and offset {offset} do not describe a tensor")
    if min((offset, *size, *stride), default=0) < 0:
        raise RuntimeError(f"size {size}, stride {stride} and offset {offset} must not be negative")
    untyped = storage._untyped_storage if isinstance(storage, _storage.TypedStorage) else storage
    if untyped is None:
        return rg.empty_strided(size, stride, dtype=dtype, device="meta")
    reach = 0 if 0 in size else offset + 1 + sum((n - 1) * step for n, step in zip(size, stride))
    if reach * dtype.itemsize > untyped.nbytes():
        raise RuntimeError(
            f"a tensor of size {list(size)}, stride {list(stride)} and storage offset {offset} needs "
            f"{reach * dtype.itemsize} bytes, but its storage has {untyped.nbytes()}: the file might be corrupted"
        )
    return rg._core._tensor_from_storage(untyped, offset, size, stride, dtype)


def _rebuild_tensor(storage: Any, storage_offset: int, size: Any, stride: Any) -> rg.Tensor:
    return _strided(storage, storage_offset, size, stride, storage.dtype)


def _finish(tensor: rg.Tensor, requires_grad: bool, backward_hooks: Any, metadata: Any) -> rg.Tensor:
    if metadata:
        if metadata.get("conj"):
            tensor = tensor.conj()
        if metadata.get("neg"):
            tensor = -tensor
    if requires_grad:
        tensor.requires_grad_(True)
    if backward_hooks:
        tensor._backward_hooks = backward_hooks  # type: ignore[attr-defined]
    return tensor


def _rebuild_tensor_v2(
    storage: Any,
    storage_offset: int,
    size: Any,
    stride: Any,
    requires_grad: bool,
    backward_hooks: Any,
    metadata: Any = None,
) -> rg.Tensor:
    return _finish(_rebuild_tensor(storage, storage_offset, size, stride), requires_grad, backward_hooks, metadata)


def _rebuild_tensor_v3(
    storage: Any,
    storage_offset: int,
    size: Any,
    stride: Any,
    requires_grad: bool,
    backward_hooks: Any,
    dtype: Any,
    metadata: Any = None,
) -> rg.Tensor:
    return _finish(_strided(storage, storage_offset, size, stride, dtype), requires_grad, backward_hooks, metadata)


def _rebuild_meta_tensor_no_storage(dtype: Any, size: Any, stride: Any, requires_grad: bool) -> rg.Tensor:
    return rg.empty_strided(tuple(size), tuple(stride), dtype=dtype, device="meta", requires_grad=requires_grad)


def _rebuild_sparse_tensor(layout: Any, data: Any) -> rg.Tensor:
    if str(layout) != "torch.sparse_coo":
        raise NotImplementedError(f"rebuilding sparse tensor for layout {layout}")
    indices, values, size = data[:3]
    tensor: rg.Tensor = rg.sparse_coo_tensor(indices, values, tuple(size))  # type: ignore[attr-defined]
    return tensor


def _rebuild_parameter(data: Any, requires_grad: bool, backward_hooks: Any) -> Any:
    parameter = rg.nn.Parameter(data, requires_grad)
    if backward_hooks:
        parameter._backward_hooks = backward_hooks
    return parameter


def _rebuild_parameter_with_state(data: Any, requires_grad: bool, backward_hooks: Any, state: Any) -> Any:
    return _set_obj_state(_rebuild_parameter(data, requires_grad, backward_hooks), state)


def _rebuild_from_type_v2(func: Any, new_type: type | None, args: Any, state: Any) -> Any:
    tensor = func(*args)
    if new_type is not None and type(tensor) is not new_type:
        tensor = tensor.as_subclass(new_type)
    return _set_obj_state(tensor, state)


def _set_obj_state(obj: Any, state: Any) -> Any:
    """Give back the attributes that a tensor carried; (dict, slots) is how classes with slots keep theirs."""
    attributes, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    if attributes:
        obj.__dict__.update(attributes)
    for name, value in (slots or {}).items():
        setattr(obj, name, value)
    return obj


def _named(kind: str, *args: Any) -> Any:
    """A dtype by its name, a device or a size by its arguments: how these objects leave a plain pickle."""
    return getattr(rg, args[0]) if kind == "dtype" else getattr(rg, kind)(*args)


def _rebuild_from_bytes(
    data: Any, dtype: str, size: Any, stride: Any, requires_grad: bool, device: str = "cpu"
) -> rg.Tensor:
    storage = _storage.TypedStorage(wrap_storage=None) if data is None else _storage.from_buffer(data)
    tensor = _strided(storage, 0, size, stride, getattr(rg, dtype))
    if device != "cpu" and data is not None:
        tensor = tensor.to(device)
    return tensor.requires_grad_(True) if requires_grad else tensor


def _attributes(tensor: rg.Tensor) -> dict[str, Any]:
    return dict(getattr(tensor, "__dict__", None) or {})


def _span(tensor: rg.Tensor) -> int:
    """The number of storage elements from a tensor's first to its last."""
    if tensor.numel() == 0:
        return 0
    return 1 + sum((int(n) - 1) * int(step) for n, step in zip(tensor.shape, tensor.stride()))


def _with_attributes(
    tensor: rg.Tensor, function: Any, args: tuple[Any, ...], unnamed: bool = False
) -> tuple[Any, ...]:
    state = _attributes(tensor)
    plain = type(tensor) is rg.Tensor
    if plain and not state:
        return function, args
    return _rebuild_from_type_v2, (function, None if plain and unnamed else type(tensor), args, state)


def _reduce_meta(tensor: rg.Tensor) -> tuple[Any, ...]:
    args = (tensor.dtype, tuple(tensor.size()), tuple(tensor.stride()), tensor.requires_grad)
    return _rebuild_meta_tensor_no_storage, args


def _reduce_sparse(tensor: Any) -> tuple[Any, ...]:
    parts = (tensor._indices(), tensor._values(), tensor.size(), tensor.is_coalesced())
    return _rebuild_sparse_tensor, (tensor.layout, parts)


def _reduce_tensor(tensor: rg.Tensor) -> tuple[Any, ...]:
    """``Tensor.__reduce_ex__``: the elements a tensor reaches, as bytes, for pickle and multiprocessing."""
    if getattr(tensor, "is_sparse", False):
        return _reduce_sparse(tensor)
    dtype, size, stride = str(tensor.dtype).removeprefix("torch."), tuple(tensor.size()), tuple(tensor.stride())
    data = None
    if tensor.device.type != "meta":
        plain = tensor.detach().cpu()
        step = plain.dtype.itemsize
        start = plain.storage_offset() * step
        data = bytes(_storage.buffer(plain.untyped_storage())[start : start + _span(plain) * step])
        stride = tuple(plain.stride())
    args: tuple[Any, ...] = (data, dtype, size, stride, tensor.requires_grad)
    if tensor.device.type == "gpu":
        args = (*args, str(tensor.device))
    return _with_attributes(tensor, _rebuild_from_bytes, args, unnamed=True)


def _reduce_for_save(tensor: rg.Tensor) -> tuple[Any, ...]:
    """How ``save`` takes a tensor apart: its storage stays an object that a persistent id stands for."""
    if tensor.device.type == "meta":
        return _with_attributes(tensor, *_reduce_meta(tensor))
    if getattr(tensor, "is_sparse", False):
        return _reduce_sparse(tensor)
    plain = tensor.detach()
    if plain.is_complex() and hasattr(plain, "is_conj") and plain.is_conj():
        plain = plain.resolve_conj()
    hooks: OrderedDict[int, Any] = OrderedDict()
    where = (plain.storage_offset(), tuple(plain.size()), tuple(plain.stride()), tensor.requires_grad, hooks)
    untyped = plain.untyped_storage()
    if _storage.storage_class(plain.dtype) is None:
        return _with_attributes(tensor, _rebuild_tensor_v3, (untyped, *where, plain.dtype))
    typed = _storage.TypedStorage(wrap_storage=untyped, dtype=plain.dtype)
    return _with_attributes(tensor, _rebuild_tensor_v2, (typed, *where))


def _reduce_parameter_for_save(parameter: rg.Tensor) -> tuple[Any, ...]:
    data, state = parameter.detach(), _attributes(parameter)
    if type(data) is not rg.Tensor:
        data = data.as_subclass(rg.Tensor)
    if state:
        return _rebuild_parameter_with_state, (data, parameter.requires_grad, OrderedDict(), state)
    return _rebuild_parameter, (data, parameter.requires_grad, OrderedDict())


def _deepcopy_tensor(tensor: rg.Tensor, memo: dict[Any, Any]) -> rg.Tensor:
    """``Tensor.__deepcopy__``: tensors that share a storage share one in the copy too."""
    if not tensor.is_leaf:
        raise RuntimeError(_NON_LEAF)
    if id(tensor) in memo:
        found: rg.Tensor = memo[id(tensor)]
        return found
    plain = tensor.detach()
    if plain.device.type == "meta" or getattr(plain, "is_sparse", False):
        new = plain.clone()
    else:
        untyped, copies = plain.untyped_storage(), memo.setdefault("torch", {})
        key = untyped.data_ptr() if untyped.nbytes() else id(tensor)
        if key not in copies:
            copies[key] = untyped.clone()
        new = _strided(copies[key], plain.storage_offset(), plain.size(), plain.stride(), plain.dtype)
    if type(tensor) is not type(new):
        new = new.as_subclass(type(tensor))
    if tensor.requires_grad:
        new.requires_grad_(True)
    if tensor.grad is not None:
        new.grad = copy.deepcopy(tensor.grad, memo)
    if state := _attributes(tensor):
        new.__dict__.update(copy.deepcopy(state, memo))
    memo[id(tensor)] = new
    return new
