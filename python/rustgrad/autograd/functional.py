"""Jacobians, Hessians and their products with vectors, by backward passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import rustgrad as rg

__all__ = ["vjp", "jvp", "jacobian", "hessian", "hvp", "vhp"]


def _tupled(value: Any, what: str, fn: str) -> tuple[bool, tuple[Any, ...]]:
    """(was a tuple, the value as a tuple of tensors); TypeError otherwise."""
    is_tuple = isinstance(value, tuple)
    values = value if is_tuple else (value,)
    for i, element in enumerate(values):
        if not isinstance(element, rg.Tensor):
            if is_tuple:
                raise TypeError(
                    f"The {what} given to {fn} must be either a Tensor or a tuple of Tensors but the value at "
                    f"index {i} has type {type(element)}."
                )
            raise TypeError(
                f"The {what} given to {fn} must be either a Tensor or a tuple of Tensors but the given {what} "
                f"has type {type(element)}."
            )
    return is_tuple, values


def _untupled(value: Any, is_tuple: bool | tuple[bool, bool]) -> Any:
    if isinstance(is_tuple, tuple):
        outer, inner = is_tuple
        value = tuple(v if inner else v[0] for v in value)
        return value if outer else value[0]
    return value if is_tuple else value[0]


def _prepare(inputs: tuple[Any, ...], create_graph: bool) -> tuple[Any, ...]:
    """Inputs of their own for the function: part of the caller's graph only with create_graph."""
    if create_graph:
        return tuple(x.view_as(x) if x.requires_grad else x.detach().requires_grad_() for x in inputs)
    return tuple(x.detach().requires_grad_() for x in inputs)


def _finish(tensors: tuple[Any, ...], create_graph: bool) -> tuple[Any, ...]:
    return tensors if create_graph else tuple(t.detach() for t in tensors)


def _check_outputs(outputs: tuple[Any, ...], strict: bool) -> None:
    if strict:
        for i, o in enumerate(outputs):
            if not o.requires_grad:
                raise RuntimeError(
                    f"Output {i} of the user-provided function does not require gradient. The outputs must be "
                    "computed in a differentiable manner from the input when running in strict mode."
                )


def _vectors(v: Any, like: tuple[Any, ...], like_is_tuple: bool, fn: str, missing: str) -> tuple[Any, ...]:
    if v is None:
        if len(like) != 1 or like[0].nelement() != 1:
            raise RuntimeError(missing)
        return (rg.ones_like(like[0]),)
    _, vectors = _tupled(v, "v", fn)
    vectors = tuple(x.detach() if not x.requires_grad else x for x in vectors)
    if len(vectors) != len(like):
        if like_is_tuple:
            raise RuntimeError(
                f"v is a tuple of invalid length: should be {len(like)} but got {len(vectors)}."
            )
        raise RuntimeError("The given v should contain a single Tensor.")
    for i, (a, b) in enumerate(zip(vectors, like, strict=True)):
        if a.size() != b.size():
            prefix = f"Entry {i} in " if like_is_tuple else ""
            raise RuntimeError(f"{prefix}v has invalid size: should be {b.size()} but got {a.size()}.")
    return vectors


def _grad(
    outputs: tuple[Any, ...],
    inputs: tuple[Any, ...],
    given: tuple[Any, ...] | None,
    create_graph: bool,
    strict: bool = False,
    what: str = "",
) -> tuple[Any, ...]:
    """Gradients with zeros for what is unused; in strict mode that is an error."""
    pairs = [(o, None if given is None else given[i]) for i, o in enumerate(outputs) if o.requires_grad]
    if pairs:
        grads = rg.autograd.grad(
            tuple(o for o, _ in pairs),
            inputs,
            None if given is None else tuple(g for _, g in pairs),
            create_graph=create_graph,
            retain_graph=True,
            allow_unused=True,
        )
    else:
        grads = (None,) * len(inputs)
    if strict:
        for i, g in enumerate(grads):
            if g is None:
                raise RuntimeError(
                    f"The {what} of the user-provided function is independent of input {i}. This is not allowed in "
                    "strict mode."
                )
    return tuple(rg.zeros_like(x) if g is None else g for g, x in zip(grads, inputs, strict=True))


def vjp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func's outputs, v^T J): the product of a vector, shaped as the outputs, with the Jacobian."""
    with rg.enable_grad():
        in_tuple, inputs = _tupled(inputs, "inputs", "vjp")
        inputs = _prepare(inputs, create_graph)
        out_tuple, outputs = _tupled(func(*inputs), "outputs of the user-provided function", "vjp")
        _check_outputs(outputs, strict)
        vectors = _vectors(
            v,
            outputs,
            out_tuple,
            "vjp",
            "The vector v can only be None if the user-provided function returns a single Tensor with a single "
            "element.",
        )
        product = _grad(outputs, inputs, vectors, create_graph, strict, "output")
    return _untupled(_finish(outputs, create_graph), out_tuple), _untupled(_finish(product, create_graph), in_tuple)


def jvp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func's outputs, J v): the product of the Jacobian with a vector shaped as the inputs."""
    with rg.enable_grad():
        in_tuple, inputs = _tupled(inputs, "inputs", "jvp")
        inputs = _prepare(inputs, create_graph)
        vectors = _vectors(
            v,
            inputs,
            in_tuple,
            "jvp",
            "The vector v can only be None if the input to the user-provided function is a single Tensor with a "
            "single element.",
        )
        out_tuple, outputs = _tupled(func(*inputs), "outputs of the user-provided function", "jvp")
        _check_outputs(outputs, strict)
        # u^T J is linear in u: its own gradient, in the direction v, is J v.
        dummies = tuple(rg.zeros_like(o, requires_grad=True) for o in outputs)
        row = _grad(outputs, inputs, dummies, True, strict, "output")
        product = _grad(row, dummies, vectors, create_graph)
    return _untupled(_finish(outputs, create_graph), out_tuple), _untupled(_finish(product, create_graph), out_tuple)


def _rows(output: Any, inputs: tuple[Any, ...], create_graph: bool, strict: bool, i: int) -> tuple[Any, ...]:
    """The Jacobian of one output with respect to each input: output.shape + input.shape."""
    columns: list[list[Any]] = [[] for _ in inputs]
    for j in range(output.nelement()):
        if not output.requires_grad:
            grads: Any = (None,) * len(inputs)
        else:
            grads = rg.autograd.grad(
                (output.reshape(-1)[j],), inputs, retain_graph=True, create_graph=create_graph, allow_unused=True
            )
        for k, (column, g, x) in enumerate(zip(columns, grads, inputs, strict=True)):
            if g is not None:
                if strict and create_graph and not g.requires_grad:
                    raise RuntimeError(
                        "The jacobian of the user-provided function is independent of input "
                        f"{k}. This is not allowed in strict mode when create_graph=True."
                    )
                column.append(g)
            else:
                if strict:
                    raise RuntimeError(
                        f"Output {i} of the user-provided function is independent of input {k}. "
                        "This is not allowed in strict mode."
                    )
                column.append(rg.zeros_like(x))
    return tuple(
        rg.stack(column, dim=0).view(output.size() + x.size()) if column else x.new_zeros(output.size() + x.size())
        for column, x in zip(columns, inputs, strict=True)
    )


def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian: a tensor of shape output.shape + input.shape, or (nested) tuples of them."""
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your '
            'function has more outputs than inputs, "forward-mode" tends to be more performant. '
            'Otherwise, prefer to use "reverse-mode".'
        )
    with rg.enable_grad():
        in_tuple, inputs = _tupled(inputs, "inputs", "jacobian")
        inputs = _prepare(inputs, create_graph)
        out_tuple, outputs = _tupled(func(*inputs), "outputs of the user-provided function", "jacobian")
        _check_outputs(outputs, strict)
        result = tuple(
            _finish(_rows(o, inputs, create_graph, strict, i), create_graph) for i, o in enumerate(outputs)
        )
    return _untupled(result, (out_tuple, in_tuple))


def _scalar_output(func: Callable[..., Any], inputs: tuple[Any, ...], fn: str) -> Any:
    is_tuple, outputs = _tupled(func(*inputs), "outputs of the user-provided function", fn)
    if is_tuple:
        raise RuntimeError(f"The function given to {fn} should return a single Tensor")
    if outputs[0].nelement() != 1:
        raise RuntimeError(f"The Tensor returned by the function given to {fn} should contain a single element")
    return outputs[0]


def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The Hessian of a scalar function: shape input.shape + input.shape, or nested tuples of them."""
    in_tuple, inputs = _tupled(inputs, "inputs", "hessian")
    if outer_jacobian_strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError('Expected strategy to be either "forward-mode" or "reverse-mode".')

    def scalar(*args: Any) -> Any:
        out = func(*args)
        is_tuple, outputs = _tupled(out, "outputs of the user-provided function", "hessian")
        if is_tuple:
            raise RuntimeError("The function given to hessian should return a single Tensor")
        if outputs[0].nelement() != 1:
            raise RuntimeError(
                "The Tensor returned by the function given to hessian should contain a single element"
            )
        return outputs[0].squeeze() if outputs[0].dim() else outputs[0]

    def gradient(*args: Any) -> Any:
        rows = jacobian(scalar, args, create_graph=True)
        return tuple(row.view_as(x) for row, x in zip(rows, args, strict=True))

    result = jacobian(gradient, inputs, create_graph=create_graph, strict=strict)
    return _untupled(result, (in_tuple, in_tuple))


def vhp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func's output, v^T H) for a scalar function."""
    with rg.enable_grad():
        in_tuple, inputs = _tupled(inputs, "inputs", "vhp")
        inputs = _prepare(inputs, create_graph)
        vectors = _vectors(
            v,
            inputs,
            in_tuple,
            "vhp",
            "The vector v can only be None if the input to the user-provided function is a single Tensor with a "
            "single element.",
        )
        output = _scalar_output(func, inputs, "vhp")
        _check_outputs((output,), strict)
        first = _grad((output,), inputs, None, True, strict, "output")
        product = _grad(first, inputs, vectors, create_graph, strict, "double backward")
    return _finish((output,), create_graph)[0], _untupled(_finish(product, create_graph), in_tuple)


def hvp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> tuple[Any, Any]:
    """(func's output, H v) for a scalar function."""
    with rg.enable_grad():
        in_tuple, inputs = _tupled(inputs, "inputs", "hvp")
        inputs = _prepare(inputs, create_graph)
        vectors = _vectors(
            v,
            inputs,
            in_tuple,
            "hvp",
            "The vector v can only be None if the input to the user-provided function is a single Tensor with a "
            "single element.",
        )
        output = _scalar_output(func, inputs, "hvp")
        _check_outputs((output,), strict)
        first = _grad((output,), inputs, None, True, strict, "output")
        dummies = tuple(rg.zeros_like(x, requires_grad=True) for x in inputs)
        row = _grad(first, inputs, dummies, True, strict, "double backward")
        product = _grad(row, dummies, vectors, create_graph)
    return _finish((output,), create_graph)[0], _untupled(_finish(product, create_graph), in_tuple)
