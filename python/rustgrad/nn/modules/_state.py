"""The state dict of a Module: saving, loading and the hooks around both."""

from __future__ import annotations

import warnings
from collections import OrderedDict, namedtuple
from collections.abc import Callable, Mapping
from typing import Any

import rustgrad as rg
from rustgrad import Tensor

from .._hooks import RemovableHandle
from ..parameter import Parameter, is_lazy
from . import _call

EXTRA = "_extra_state"


class _IncompatibleKeys(namedtuple("IncompatibleKeys", ["missing_keys", "unexpected_keys"])):
    """What load_state_dict returns."""

    __slots__ = ()

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return super().__repr__()

    __str__ = __repr__


class _WrappedHook:
    """A load_state_dict pre-hook, that may want the module as its first argument."""

    def __init__(self, hook: Callable[..., Any], module: Any = None) -> None:
        self.hook = hook
        self.with_module = module is not None
        self.module = module
        self.__name__ = getattr(hook, "__name__", type(hook).__name__)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.hook(self.module, *args, **kwargs) if self.with_module else self.hook(*args, **kwargs)


def parse_to(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any, bool, Any]:
    """(device, dtype, non_blocking, memory_format) of the arguments of `to`, as for a tensor."""
    args, kwargs = tuple(args), dict(kwargs)
    memory_format = kwargs.pop("memory_format", None)
    if "tensor" in kwargs:
        args = (kwargs.pop("tensor"), *args)
    device = dtype = None
    rest = args
    if args and isinstance(args[0], Tensor):
        device, dtype, rest = args[0].device, args[0].dtype, args[1:]
    elif args and isinstance(args[0], rg.dtype):
        dtype, rest = args[0], args[1:]
    elif args:
        if args[0] is not None:
            device = args[0] if isinstance(args[0], rg.device) else rg.device(args[0])
        rest = args[1:]
        if rest and (rest[0] is None or isinstance(rest[0], rg.dtype)):
            dtype, rest = rest[0], rest[1:]
    if "device" in kwargs:
        value = kwargs.pop("device")
        device = value if value is None or isinstance(value, rg.device) else rg.device(value)
    dtype = kwargs.pop("dtype", dtype)
    non_blocking = kwargs.pop("non_blocking", rest[0] if rest else False)
    kwargs.pop("copy", None)
    if kwargs or len(rest) > 2 or not isinstance(non_blocking, bool) or not (
            dtype is None or isinstance(dtype, rg.dtype)):
        raise TypeError("to() received an invalid combination of arguments - got "
                        f"({', '.join(type(a).__name__ for a in args)}"
                        f"{''.join(f', {k}={type(v).__name__}' for k, v in kwargs.items())})")
    return device, dtype, non_blocking, memory_format


def _keeps_extra_state(module: Any) -> bool:
    return type(module).get_extra_state is not _call.Module.get_extra_state


def save_to_state_dict(self: Any, destination: Any, prefix: str, keep_vars: bool) -> None:
    """Put this module's own entries (not its children's) into `destination`."""
    for name, param in self._parameters.items():
        if param is not None:
            destination[prefix + name] = param if keep_vars or is_lazy(param) else param.detach()
    hidden = self._non_persistent_buffers_set
    for name, buf in self._buffers.items():
        if buf is not None and name not in hidden:
            destination[prefix + name] = buf if keep_vars or is_lazy(buf) else buf.detach()
    if _keeps_extra_state(self):
        destination[prefix + EXTRA] = self.get_extra_state()


def state_dict(self: Any, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
    """An OrderedDict of dotted name -> tensor, sharing memory with the module; detached unless keep_vars."""
    if args:
        warnings.warn("Positional args are being deprecated, use kwargs instead. Refer to "
                      "https://pytorch.org/docs/main/generated/torch.nn.Module.html#torch.nn.Module.state_dict for "
                      "details.", FutureWarning, stacklevel=2)
        destination = args[0] if destination is None else destination
        prefix = args[1] if len(args) > 1 and prefix == "" else prefix
        keep_vars = args[2] if len(args) > 2 and keep_vars is False else keep_vars
    if destination is None:
        destination = OrderedDict()
        destination._metadata = OrderedDict()
    local_metadata = {"version": self._version}
    if hasattr(destination, "_metadata"):
        destination._metadata[prefix[:-1]] = local_metadata
    for hook in self._state_dict_pre_hooks.values():
        hook(self, prefix, keep_vars)
    self._save_to_state_dict(destination, prefix, keep_vars)
    for name, module in self._modules.items():
        if module is not None:
            module.state_dict(destination=destination, prefix=prefix + name + ".", keep_vars=keep_vars)
    for hook in self._state_dict_hooks.values():
        result = hook(self, destination, prefix, local_metadata)
        if getattr(hook, "_from_public_api", False):
            if result is not None:
                raise RuntimeError("state_dict post-hook must return None")
        elif result is not None:
            destination = result
    return destination


def _copy_in(module: Any, name: str, key: str, current: Any, given: Any, assign: bool, lazy: bool) -> None:
    if current.device.type == "meta" and given.device.type != "meta" and not assign:
        warnings.warn(f"for {key}: copying from a non-meta parameter in the checkpoint to a meta parameter in the "
                      "current model, which is a no-op. (Did you mean to pass `assign=True` to assign items in the "
                      "state dictionary to their corresponding key in the module instead of copying them in place?)",
                      stacklevel=5)
    if not assign:
        if lazy:
            current.materialize(given.shape)
        current.copy_(given)
        return
    if isinstance(current, Parameter):
        if not isinstance(given, Parameter):
            given = Parameter(given, requires_grad=current.requires_grad)
        else:
            given.requires_grad_(current.requires_grad)
    setattr(module, name, given)


def load_from_state_dict(self: Any, state: Any, prefix: str, local_metadata: Any, strict: bool,
                         missing_keys: list[str], unexpected_keys: list[str], error_msgs: list[str]) -> None:
    """Copy this module's own entries (not its children's) out of `state`; what is wrong goes into the lists."""
    for hook in self._load_state_dict_pre_hooks.values():
        hook(state, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
    hidden = self._non_persistent_buffers_set
    local = {**self._parameters, **{k: v for k, v in self._buffers.items() if k not in hidden}}
    local = {k: v for k, v in local.items() if v is not None}
    assign = local_metadata.get("assign_to_params_buffers", False)
    for name, current in local.items():
        key = prefix + name
        if key not in state:
            if strict:
                missing_keys.append(key)
            continue
        given = state[key]
        if not isinstance(given, Tensor):
            error_msgs.append(f'While copying the parameter named "{key}", expected torch.Tensor or Tensor-like '
                              f"object from checkpoint but received {type(given)}")
            continue
        lazy = is_lazy(current)
        if not lazy:
            if current.dim() == 0 and given.dim() == 1:
                given = given[0]  # very old checkpoints held scalars as one-element vectors
            if given.shape != current.shape:
                error_msgs.append(f"size mismatch for {key}: copying a param with shape {given.shape} from "
                                  f"checkpoint, the shape in current model is {current.shape}.")
                continue
        elif is_lazy(given):
            continue
        try:
            with rg.no_grad():
                _copy_in(self, name, key, current, given, assign, lazy)
        except Exception as ex:
            error_msgs.append(f'While copying the parameter named "{key}", whose dimensions in the model are '
                              f"{current.size()} and whose dimensions in the checkpoint are {given.size()}, an "
                              f"exception occurred : {ex.args}.")
    key = prefix + EXTRA
    if _keeps_extra_state(self) or type(self).set_extra_state is not _call.Module.set_extra_state:
        if key in state:
            self.set_extra_state(state[key])
        elif strict:
            missing_keys.append(key)
    elif strict and key in state:
        unexpected_keys.append(key)
    if strict:
        for key in state:
            if key.startswith(prefix) and key != prefix + EXTRA:
                first, dot, _ = key[len(prefix):].partition(".")
                if dot:
                    if first not in self._modules:
                        unexpected_keys.append(key)
                elif first not in local:
                    unexpected_keys.append(key)


def load_state_dict(self: Any, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
    """Copy tensors into the parameters and buffers of the same names, casting dtypes; `assign` takes them as they are.

    Returns the missing and unexpected keys; where `strict`, and for any shape mismatch, raises RuntimeError.
    """
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
    missing: list[str] = []
    unexpected: list[str] = []
    errors: list[str] = []
    metadata = getattr(state_dict, "_metadata", None)
    state = OrderedDict(state_dict)
    if metadata is not None:
        state._metadata = metadata  # type: ignore[attr-defined]

    def load(module: Any, local_state: Any, prefix: str = "") -> None:
        local_metadata = {} if metadata is None else metadata.get(prefix[:-1], {})
        if assign:
            local_metadata["assign_to_params_buffers"] = assign
        module._load_from_state_dict(local_state, prefix, local_metadata, True, missing, unexpected, errors)
        for name, child in module._modules.items():
            if child is not None:
                child_prefix = prefix + name + "."
                load(child, {k: v for k, v in local_state.items() if k.startswith(child_prefix)}, child_prefix)
        result = _IncompatibleKeys(missing, unexpected)
        for hook in module._load_state_dict_post_hooks.values():
            if hook(module, result) is not None:
                raise AssertionError(
                    "Hooks registered with ``register_load_state_dict_post_hook`` are not expected to return new "
                    "values, if incompatible_keys need to be modified, it should be done inplace.")

    load(self, state)
    if strict:
        if unexpected:
            errors.insert(0, "Unexpected key(s) in state_dict: {}. ".format(", ".join(f'"{k}"' for k in unexpected)))
        if missing:
            errors.insert(0, "Missing key(s) in state_dict: {}. ".format(", ".join(f'"{k}"' for k in missing)))
    if errors:
        raise RuntimeError("Error(s) in loading state_dict for {}:\n\t{}".format(
            self.__class__.__name__, "\n\t".join(errors)))
    return _IncompatibleKeys(missing, unexpected)


# Registering hooks


def register_state_dict_pre_hook(self: Any, hook: Callable[..., None]) -> RemovableHandle:
    """Call hook(module, prefix, keep_vars) before state_dict."""
    handle = RemovableHandle(self._state_dict_pre_hooks)
    self._state_dict_pre_hooks[handle.id] = hook
    return handle


def register_state_dict_post_hook(self: Any, hook: Callable[..., None]) -> RemovableHandle:
    """Call hook(module, state_dict, prefix, local_metadata) after state_dict; it changes the dict in place."""
    hook._from_public_api = True  # type: ignore[attr-defined]
    handle = RemovableHandle(self._state_dict_hooks)
    self._state_dict_hooks[handle.id] = hook
    return handle


def register_state_dict_hook(self: Any, hook: Callable[..., Any]) -> RemovableHandle:
    """Like register_state_dict_post_hook, but the hook may return another dict."""
    if getattr(hook, "_from_public_api", False):
        raise RuntimeError("Cannot register the same function as the state dict post hook that was previously "
                           "registered via register_state_dict_post_hook")
    handle = RemovableHandle(self._state_dict_hooks)
    self._state_dict_hooks[handle.id] = hook
    return handle


def register_private_load_pre_hook(self: Any, hook: Callable[..., None],
                                   with_module: bool = False) -> RemovableHandle:
    """Call hook([module,] state_dict, prefix, local_metadata, strict, missing, unexpected, errors) before loading."""
    handle = RemovableHandle(self._load_state_dict_pre_hooks)
    self._load_state_dict_pre_hooks[handle.id] = _WrappedHook(hook, self if with_module else None)
    return handle


def register_load_state_dict_pre_hook(self: Any, hook: Callable[..., None]) -> RemovableHandle:
    """Call hook(module, state_dict, prefix, ...) before loading."""
    return register_private_load_pre_hook(self, hook, with_module=True)


def register_load_state_dict_post_hook(self: Any, hook: Callable[..., None]) -> RemovableHandle:
    """Call hook(module, incompatible_keys) after loading; it may change the two lists in place."""
    handle = RemovableHandle(self._load_state_dict_post_hooks)
    self._load_state_dict_post_hooks[handle.id] = hook
    return handle
