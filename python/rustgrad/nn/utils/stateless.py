"""A module called with other parameters and buffers than its own."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

from ..parameter import Parameter

__all__ = ["functional_call"]

_MISSING = object()


def _with_ties(module: Any, given: dict[str, Any]) -> dict[str, Any]:
    """Where one name of a shared tensor is given, its other names get the same value."""
    names_of: dict[Any, list[str]] = {}
    named = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    for name, tensor in named:
        names_of.setdefault(tensor, []).append(name)
    out = dict(given)
    for names in names_of.values():
        present = [n for n in names if n in given]
        if not present or len(names) == 1:
            continue
        first = given[present[0]]
        if any(given[n] is not first for n in present[1:]):
            raise ValueError(f"functional_call got multiple values for keys {sorted(present)}, which are tied. "
                             "Consider using tie_weights=False")
        for n in names:
            out[n] = first
    return out


def _swap(module: Any, name: str, value: Any) -> Any:
    """Put a tensor in a slot, whatever its class; returns what was there."""
    path, _, leaf = name.rpartition(".")
    owner = module.get_submodule(path)
    for table in (owner._parameters, owner._buffers):
        if leaf in table:
            old = table[leaf]
            table[leaf] = value
            return old
    if hasattr(owner, leaf):
        old = getattr(owner, leaf)
        object.__setattr__(owner, leaf, value)
        return old
    if value is not _MISSING:
        object.__setattr__(owner, leaf, value)
    return _MISSING


@contextlib.contextmanager
def _reparametrize_module(module: Any, parameters_and_buffers: dict[str, Any], tie_weights: bool = False,
                          strict: bool = False, stack_weights: bool = False) -> Iterator[None]:
    """Inside, the module has the given tensors instead of its own."""
    values = _with_ties(module, parameters_and_buffers) if tie_weights else parameters_and_buffers
    if strict:
        own = {n for n, _ in module.named_parameters(remove_duplicate=False)}
        own |= {n for n, _ in module.named_buffers(remove_duplicate=False)}
        messages = []
        unexpected, missing = sorted(set(values) - own), sorted(own - set(values))
        if unexpected:
            messages.append("Unexpected key(s): " + ", ".join(map(repr, unexpected)) + ".")
        if missing:
            messages.append("Missing key(s): " + ", ".join(map(repr, missing)) + ".")
        if messages:
            raise RuntimeError("Error(s) in reparametrizing for {}:\n\t{}".format(
                type(module).__name__, "\n\t".join(messages)))
    old: dict[str, Any] = {}
    try:
        for name, value in values.items():
            old[name] = _swap(module, name, value)
        yield
    finally:
        for name, before in reversed(list(old.items())):
            if before is _MISSING:
                path, _, leaf = name.rpartition(".")
                owner = module.get_submodule(path)
                if leaf in owner.__dict__:
                    object.__delattr__(owner, leaf)
            else:
                after = _swap(module, name, before)
                # A buffer the module assigned anew belongs to the caller's dict.
                if values.get(name) is not after and not isinstance(before, Parameter):
                    parameters_and_buffers[name] = after


def _functional_call(module: Any, parameters_and_buffers: dict[str, Any], args: Any = None, kwargs: Any = None, *,
                     tie_weights: bool = True, strict: bool = False) -> Any:
    if args is None:
        args = ()
    elif not isinstance(args, tuple):
        args = (args,)
    with _reparametrize_module(module, parameters_and_buffers, tie_weights=tie_weights, strict=strict):
        return module(*args, **(kwargs or {}))


def functional_call(module: Any, parameters_and_buffers: dict[str, Any], args: Any = None, kwargs: Any = None, *,
                    tie_weights: bool = True, strict: bool = False) -> Any:
    """Deprecated place of func.functional_call."""
    warnings.warn("`torch.nn.utils.stateless.functional_call` is deprecated as of PyTorch 2.0 and will be removed in a "
                  "future version of PyTorch. Please use `torch.func.functional_call` instead which is a drop-in "
                  "replacement.", FutureWarning, stacklevel=2)
    return _functional_call(module, parameters_and_buffers, args, kwargs, tie_weights=tie_weights, strict=strict)
