"""Differentiation: backward passes, recording modes, custom functions and checks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import rustgrad as rg
from rustgrad import _core

from . import anomaly_mode as anomaly_mode
from . import function as function
from . import grad_mode as grad_mode
from . import variable as variable
from .anomaly_mode import detect_anomaly as detect_anomaly
from .anomaly_mode import set_detect_anomaly as set_detect_anomaly
from .function import Function as Function
from .function import NestedIOFunction as NestedIOFunction
from .grad_mode import enable_grad as enable_grad
from .grad_mode import inference_mode as inference_mode
from .grad_mode import no_grad as no_grad
from .grad_mode import set_grad_enabled as set_grad_enabled
from .grad_mode import set_multithreading_enabled as set_multithreading_enabled
from .gradcheck import gradcheck as gradcheck  # the function takes the place of the module's name
from .gradcheck import gradgradcheck as gradgradcheck
from .variable import Variable as Variable

__all__ = [
    "Variable",
    "Function",
    "backward",
    "grad_mode",
    "NestedIOFunction",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "inference_mode",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
    "set_multithreading_enabled",
    "variable",
]


def _as_tuple(value: Any) -> tuple[Any, ...]:
    return (value,) if isinstance(value, rg.Tensor) else tuple(value)


def _gradients_for(outputs: tuple[Any, ...], given: Any) -> list[Any]:
    """The starting gradients, one (or None for a scalar's one) for each output."""
    if given is None:
        return [None] * len(outputs)
    grads = list(_as_tuple(given))
    if len(grads) != len(outputs):
        raise RuntimeError(f"got {len(outputs)} tensors and {len(grads)} gradients")
    return grads


def backward(
    tensors: Any,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    """Add the gradients of the sum of the tensors to the leaves' grad (or only to that of `inputs`)."""
    if grad_variables is not None:
        import warnings

        warnings.warn("`grad_variables` is deprecated. Use `grad_tensors` instead.", FutureWarning, stacklevel=2)
        if grad_tensors is not None:
            raise RuntimeError(
                "`grad_tensors` and `grad_variables` (deprecated) arguments both passed to `backward()`. "
                "Please only use `grad_tensors`."
            )
        grad_tensors = grad_variables
    if inputs is not None:
        inputs = list(inputs.values()) if isinstance(inputs, dict) else list(_as_tuple(inputs))
        if not inputs:
            raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
    roots = _as_tuple(tensors)
    keep = create_graph if retain_graph is None else retain_graph
    _core._backward(list(roots), _gradients_for(roots, grad_tensors), keep, create_graph, inputs)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> Any:
    """The gradients of the sum of the outputs with respect to the inputs, as a tuple (or a dict for a dict)."""
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False."
        )
    if allow_unused is None:
        allow_unused = materialize_grads
    if not only_inputs:
        import warnings

        warnings.warn(
            "only_inputs argument is deprecated and is ignored now (defaults to True). To accumulate gradient for "
            "other parts of the graph, please use torch.autograd.backward.",
            FutureWarning,
            stacklevel=2,
        )
    names: Sequence[Any] | None = None
    if isinstance(inputs, dict):
        names, inputs = list(inputs), list(inputs.values())
    roots, leaves = _as_tuple(outputs), list(_as_tuple(inputs))
    keep = create_graph if retain_graph is None else retain_graph

    def once(given: list[Any], keep: bool) -> list[Any]:
        return list(_core._grad(list(roots), leaves, given, keep, create_graph, allow_unused))

    if is_grads_batched:
        given = _gradients_for(roots, grad_outputs)
        n = next(g for g in given if g is not None).shape[0]
        rows = [once([None if g is None else g[i] for g in given], True) for i in range(n)]
        result = [None if column[0] is None else rg.stack(list(column)) for column in zip(*rows, strict=True)]
    else:
        result = once(_gradients_for(roots, grad_outputs), keep)
    if materialize_grads:
        result = [rg.zeros_like(x) if g is None else g for g, x in zip(result, leaves, strict=True)]
    return tuple(result) if names is None else dict(zip(names, result, strict=True))


def __getattr__(name: str) -> Any:
    # These are needed by few programs and load when they are asked for.
    if name in ("functional", "graph", "profiler"):
        import importlib

        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
