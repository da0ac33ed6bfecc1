"""TorchScript's names: functions and modules run as Python; there is nothing to save or load."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Final, NoReturn

import rustgrad as rg

__all__ = [
    "Error",
    "Final",
    "Attribute",
    "ScriptFunction",
    "ScriptModule",
    "annotate",
    "export",
    "fork",
    "freeze",
    "ignore",
    "interface",
    "is_scripting",
    "is_tracing",
    "isinstance",
    "load",
    "onednn_fusion_enabled",
    "optimize_for_inference",
    "optimized_execution",
    "save",
    "script",
    "script_if_tracing",
    "script_method",
    "set_fusion_strategy",
    "strict_fusion",
    "trace",
    "trace_module",
    "unused",
    "wait",
]


class Error(RuntimeError):
    """TorchScript's runtime error."""


def is_scripting() -> bool:
    """False."""
    return False


def is_tracing() -> bool:
    """False."""
    return False


def script(obj: Any, optimize: None = None, *args: Any, **kwargs: Any) -> Any:
    """The function, class or module itself."""
    return obj


def trace(func: Any, example_inputs: Any = None, *args: Any, **kwargs: Any) -> Any:
    """The function or module itself."""
    return func


def trace_module(mod: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
    """The module itself."""
    return mod


def script_method(fn: Any) -> Any:
    """The method itself."""
    return fn


script_if_tracing = export = interface = script_method


def ignore(drop: Any = False, **kwargs: Any) -> Any:
    """The function itself; as `ignore(drop=...)` a decorator."""
    return drop if callable(drop) else lambda fn: fn


def unused(fn: Any) -> Any:
    """The function itself."""
    return fn


def _overload(fn: Any) -> Any:
    return fn


_overload_method = _overload


def freeze(mod: Any, *args: Any, **kwargs: Any) -> Any:
    """The module itself."""
    return mod


optimize_for_inference = freeze


def annotate(the_type: Any, the_value: Any) -> Any:
    """The value itself."""
    return the_value


def Attribute(value: Any, type: Any) -> Any:
    """The value itself."""
    return value


def isinstance(obj: Any, target_type: Any) -> bool:
    """Whether the object has the type; parameters of generic types are not looked at."""
    import builtins
    import typing

    types: tuple[Any, ...] = target_type if builtins.isinstance(target_type, tuple) else (target_type,)
    return builtins.isinstance(obj, tuple(typing.get_origin(t) or t for t in types))


def fork(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call the function; `wait` gives its result."""
    return func(*args, **kwargs)


def wait(future: Any) -> Any:
    """The result of `fork`."""
    return future


def save(m: Any, f: Any, _extra_files: Any = None) -> NoReturn:
    """Raises NotImplementedError."""
    raise NotImplementedError("rustgrad does not write TorchScript archives; use torch.save(module.state_dict(), path)")


def load(f: Any, map_location: Any = None, _extra_files: Any = None, *args: Any) -> NoReturn:
    """Raises ValueError for a missing file, else NotImplementedError."""
    if type(f) is str or hasattr(f, "__fspath__"):
        if not os.path.exists(f):
            raise ValueError(f"The provided filename {f} does not exist")
        if os.path.isdir(f):
            raise ValueError(f"The provided filename {f} is a directory")
    raise NotImplementedError("rustgrad does not run TorchScript archives; load a state dict with torch.load instead")


class _Context:
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        pass


class strict_fusion(_Context):
    """A context without effect."""


class optimized_execution(_Context):
    """A context without effect."""


def set_fusion_strategy(strategy: Any) -> list[Any]:
    """Ignored."""
    return []


def onednn_fusion_enabled() -> bool:
    """False."""
    return False


class ScriptFunction:
    """No function is of this class."""


def __getattr__(name: str) -> Any:
    if name == "ScriptModule":  # modules that derive from it are ordinary modules
        return rg.nn.Module
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
