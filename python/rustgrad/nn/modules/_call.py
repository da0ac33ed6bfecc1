"""How a Module is called when hooks are present: forward, forward-pre and backward hooks, its own and global ones."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from rustgrad import Tensor

from .._hooks import BackwardHook, RemovableHandle

Module: Any = None  # set by module.py, which imports this file


class _Global:
    """The hooks of all modules. `any_call_hook` holds the ids of those a call must run: its fast path looks there."""

    def __init__(self) -> None:
        self.forward_pre: OrderedDict[int, Any] = OrderedDict()
        self.forward: OrderedDict[int, Any] = OrderedDict()
        self.forward_with_kwargs: OrderedDict[int, bool] = OrderedDict()
        self.forward_always: OrderedDict[int, bool] = OrderedDict()
        self.backward_pre: OrderedDict[int, Any] = OrderedDict()
        self.backward: OrderedDict[int, Any] = OrderedDict()
        self.backward_is_full: bool | None = None
        self.registration: dict[str, OrderedDict[int, Any]] = {
            "module": OrderedDict(), "buffer": OrderedDict(), "parameter": OrderedDict()}
        self.any_call_hook: OrderedDict[int, bool] = OrderedDict()

    def registering(self, kind: str, module: Any, name: str, value: Any) -> Any:
        """Let the registration hooks replace a value on its way into a module."""
        for hook in self.registration[kind].values():
            replaced = hook(module, name, value)
            if replaced is not None:
                value = replaced
        return value


GLOBAL = _Global()


def _add(table: Any, hook: Any, prepend: bool = False, extra: Any = None) -> RemovableHandle:
    handle = RemovableHandle(table, extra_dict=extra)
    table[handle.id] = hook
    if prepend:
        table.move_to_end(handle.id, last=False)
    return handle


def _add_global(table: Any, hook: Any, *extra: Any) -> RemovableHandle:
    handle = _add(table, hook, extra=[*extra, GLOBAL.any_call_hook])
    GLOBAL.any_call_hook[handle.id] = True
    return handle


def register_module_buffer_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call hook(module, name, buffer) at each buffer registration; a result replaces the buffer."""
    return _add(GLOBAL.registration["buffer"], hook)


def register_module_module_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call hook(module, name, submodule) at each module registration; a result replaces the submodule."""
    return _add(GLOBAL.registration["module"], hook)


def register_module_parameter_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call hook(module, name, param) at each parameter registration; a result replaces the parameter."""
    return _add(GLOBAL.registration["parameter"], hook)


def register_module_forward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call hook(module, args) before every module's forward; a result replaces the arguments."""
    return _add_global(GLOBAL.forward_pre, hook)


def register_module_forward_hook(hook: Callable[..., Any], *, with_kwargs: bool = False,
                                 always_call: bool = False) -> RemovableHandle:
    """Call hook(module, args, output) after every module's forward; a result replaces the output."""
    handle = _add_global(GLOBAL.forward, hook, GLOBAL.forward_with_kwargs, GLOBAL.forward_always)
    if with_kwargs:
        GLOBAL.forward_with_kwargs[handle.id] = True
    if always_call:
        GLOBAL.forward_always[handle.id] = True
    return handle


def register_module_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call hook(module, grad_input, grad_output) at every module's backward; deprecated kind."""
    if GLOBAL.backward_is_full is True:
        raise RuntimeError("Cannot use both regular backward hooks and full backward hooks as a global Module hook. "
                           "Please use only one of them.")
    GLOBAL.backward_is_full = False
    return _add_global(GLOBAL.backward, hook)


def register_module_full_backward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call hook(module, grad_output) before every module's backward."""
    return _add_global(GLOBAL.backward_pre, hook)


def register_module_full_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Call hook(module, grad_input, grad_output) at every module's backward."""
    if GLOBAL.backward_is_full is False:
        raise RuntimeError("Cannot use both regular backward hooks and full backward hooks as a global Module hook. "
                           "Please use only one of them.")
    GLOBAL.backward_is_full = True
    return _add_global(GLOBAL.backward, hook)


# Methods of Module


def register_full_backward_pre_hook(self: Any, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
    """Call hook(module, grad_output) when the gradient reaches the output; a result replaces the gradient."""
    return _add(self._backward_pre_hooks, hook, prepend)


def register_backward_hook(self: Any, hook: Callable[..., Any]) -> RemovableHandle:
    """Deprecated kind of register_full_backward_hook."""
    if self._is_full_backward_hook is True:
        raise RuntimeError("Cannot use both regular backward hooks and full backward hooks on a single Module. "
                           "Please use only one of them.")
    self._is_full_backward_hook = False
    return _add(self._backward_hooks, hook)


def register_full_backward_hook(self: Any, hook: Callable[..., Any], prepend: bool = False) -> RemovableHandle:
    """Call hook(module, grad_input, grad_output) once both are known; a result replaces grad_input."""
    if self._is_full_backward_hook is False:
        raise RuntimeError("Cannot use both regular backward hooks and full backward hooks on a single Module. "
                           "Please use only one of them.")
    self._is_full_backward_hook = True
    return _add(self._backward_hooks, hook, prepend)


def register_forward_pre_hook(self: Any, hook: Callable[..., Any], *, prepend: bool = False,
                              with_kwargs: bool = False) -> RemovableHandle:
    """Call hook(module, args[, kwargs]) before forward; a result replaces the arguments."""
    handle = _add(self._forward_pre_hooks, hook, prepend, self._forward_pre_hooks_with_kwargs)
    if with_kwargs:
        self._forward_pre_hooks_with_kwargs[handle.id] = True
    return handle


def register_forward_hook(self: Any, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False,
                          always_call: bool = False) -> RemovableHandle:
    """Call hook(module, args[, kwargs], output) after forward; a result replaces the output."""
    handle = _add(self._forward_hooks, hook, prepend,
                  [self._forward_hooks_with_kwargs, self._forward_hooks_always_called])
    if with_kwargs:
        self._forward_hooks_with_kwargs[handle.id] = True
    if always_call:
        self._forward_hooks_always_called[handle.id] = True
    return handle


def backward_hooks(self: Any) -> tuple[list[Any], list[Any]]:
    """The full and the deprecated backward hooks that apply to this module."""
    full: list[Any] = []
    plain: list[Any] = []
    if GLOBAL.backward_is_full is True:
        full += GLOBAL.backward.values()
    elif GLOBAL.backward_is_full is False:
        plain += GLOBAL.backward.values()
    if self._is_full_backward_hook is True:
        full += self._backward_hooks.values()
    elif self._is_full_backward_hook is False:
        plain += self._backward_hooks.values()
    return full, plain


def backward_pre_hooks(self: Any) -> list[Any]:
    """The backward pre-hooks that apply to this module."""
    return [*GLOBAL.backward_pre.values(), *self._backward_pre_hooks.values()]


def _run_pre_hooks(self: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
    for hook_id, hook in [*GLOBAL.forward_pre.items(), *self._forward_pre_hooks.items()]:
        if hook_id in self._forward_pre_hooks_with_kwargs:
            res = hook(self, args, kwargs)
            if res is None:
                continue
            if not (isinstance(res, tuple) and len(res) == 2):
                raise RuntimeError("forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got "
                                   f"{res}.")
            args, kwargs = res
        else:
            res = hook(self, args)
            if res is not None:
                args = res if isinstance(res, tuple) else (res,)
    return args, kwargs


def _hook_entries(self: Any) -> list[tuple[int, Any, bool, bool]]:
    entries = [(i, h, i in GLOBAL.forward_with_kwargs, i in GLOBAL.forward_always)
               for i, h in GLOBAL.forward.items()]
    entries += [(i, h, i in self._forward_hooks_with_kwargs, i in self._forward_hooks_always_called)
                for i, h in self._forward_hooks.items()]
    return entries


def _first_tensor(result: Any) -> Any:
    while not isinstance(result, Tensor):
        if isinstance(result, dict):
            result = next((v for v in result.values() if isinstance(v, Tensor)), None)
        elif isinstance(result, (tuple, list)) and result:
            result = result[0]
        else:
            return None
        if result is None:
            return None
    return result


def _attach_plain_backward_hooks(self: Any, result: Any, hooks: list[Any]) -> None:
    """The deprecated hooks see the gradients of the last node of the module only."""
    var = _first_tensor(result)
    node = None if var is None else var.grad_fn
    if node is None or not hooks:
        return
    warnings.warn("Using a non-full backward hook when the forward contains multiple autograd Nodes is deprecated and "
                  "will be removed in future versions. This hook will be missing some grad_input. Please use "
                  "register_full_backward_hook to get the documented behavior.", FutureWarning, stacklevel=3)
    for hook in hooks:
        node.register_hook(lambda gi, go, hook=hook: hook(self, gi, go))


def call_with_hooks(self: Any, *args: Any, **kwargs: Any) -> Any:
    """The whole call: pre-hooks, forward, hooks; hooks marked always_call run even if something raised."""
    called: set[int] = set()
    result = None
    try:
        full, plain = backward_hooks(self)
        pre = backward_pre_hooks(self)
        args, kwargs = _run_pre_hooks(self, args, kwargs)
        bw = None
        if full or pre:
            bw = BackwardHook(self, full, pre)
            args = bw.setup_input_hook(args)
        result = self.forward(*args, **kwargs)
        for hook_id, hook, with_kwargs, _always in _hook_entries(self):
            called.add(hook_id)
            res = hook(self, args, kwargs, result) if with_kwargs else hook(self, args, result)
            if res is not None:
                result = res
        if bw is not None:
            if not isinstance(result, (Tensor, tuple)):
                warnings.warn("For backward hooks to be called, module output should be a Tensor or a tuple of Tensors "
                              f"but received {type(result)}", stacklevel=2)
            result = bw.setup_output_hook(result)
        if plain:
            _attach_plain_backward_hooks(self, result, plain)
        return result
    except Exception:
        for hook_id, hook, with_kwargs, always in _hook_entries(self):
            if always and hook_id not in called:
                try:
                    res = hook(self, args, kwargs, result) if with_kwargs else hook(self, args, result)
                    if res is not None:
                        result = res
                except Exception as e:
                    warnings.warn("module forward hook with ``always_call=True`` raised an exception that was "
                                  f"silenced as another error was raised in forward: {e!s}", stacklevel=2)
        raise
