"""Derivatives as functions, by recording and backward passes.

Inside a transform the arguments are tensors of its own that require grad. Results keep their graph only where
something outside may differentiate through them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import rustgrad as rg
from rustgrad._tree import flatten
from rustgrad.autograd.graph import _accumulator


def functional_call(
    module: Any,
    parameter_and_buffer_dicts: Any,
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Call the module with the given tensors in place of its parameters and buffers."""
    given = parameter_and_buffer_dicts
    if not isinstance(given, dict):
        if not isinstance(given, Sequence):
            raise ValueError(
                "Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, "
                f"but got {type(given)}"
            )
        if not all(isinstance(d, dict) for d in given):
            raise ValueError("Expected all elements of parameter_and_buffer_dicts to be dictionaries")
        names = [k for d in given for k in d]
        repeated = sorted({k for k in names if names.count(k) > 1})
        if repeated:
            raise ValueError(f"{repeated} appeared in multiple dictionaries; behavior of functional call is ambiguous")
        given = {k: v for d in given for k, v in d.items()}
    return rg.nn.utils.stateless._functional_call(
        module, given, args, kwargs, tie_weights=tie_weights, strict=strict
    )


def stack_module_state(models: Sequence[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(parameters, buffers) of several modules of one class, each stacked in a new first dimension."""
    if len(models) == 0:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if not (all(m.training for m in models) or all(not m.training for m in models)):
        raise RuntimeError("stack_module_state: Expected all models to have the same training/eval mode.")
    if any(type(m) is not type(models[0]) for m in models):
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    parameters: dict[str, Any] = {}
    for name, first in models[0].named_parameters():
        stacked = rg.stack([dict(m.named_parameters())[name] for m in models]).detach()
        parameters[name] = stacked.requires_grad_(first.requires_grad)
    buffers = {
        name: rg.stack([dict(m.named_buffers())[name] for m in models]).detach()
        for name, _ in models[0].named_buffers()
    }
    return parameters, buffers


# For each transform that is running, innermost last: the leaves that it and those inside it have made.
_made: list[list[Any]] = []


@contextmanager
def _transform() -> Iterator[list[Any]]:
    """A transform runs: recording is on, and what it makes is noted."""
    made: list[Any] = []
    _made.append(made)
    try:
        with rg.enable_grad():
            yield made
    finally:
        _made.pop()


def _own(x: Any) -> Any:
    """An argument of the transform's own: still part of the graph outside, where there is one."""
    if not isinstance(x, rg.Tensor):
        raise ValueError(f"Thing passed to transform API must be Tensor, got {type(x)}")
    if x.requires_grad:
        return x.view_as(x)
    return _leaf(x.detach())


def _leaf(x: Any) -> Any:
    """A tensor made into a leaf of the running transforms."""
    leaf = x.requires_grad_()
    for made in _made:
        made.append(leaf)
    return leaf


def _release(results: Any, made: list[Any]) -> Any:
    """The results, without their graph where all its leaves were made by the transform."""
    leaves, build = flatten(results)
    mine = {_accumulator(x) for x in made}
    verdict: dict[Any, bool] = {}

    def foreign(tensor: Any) -> bool:
        stack, seen = [tensor.grad_fn], set()
        while stack:
            node = stack.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            if verdict.get(node):
                return True
            if "AccumulateGrad" in node.name() and node not in mine:
                verdict[tensor.grad_fn] = True
                return True
            stack.extend(parent for parent, _ in node.next_functions)
        return False

    def finish(x: Any) -> Any:
        if not isinstance(x, rg.Tensor) or not x.requires_grad:
            return x
        if x.grad_fn is None:
            return x.detach() if _accumulator(x) in mine else x
        return x if foreign(x) else x.detach()

    return build([finish(x) for x in leaves])


def _pick(args: tuple[Any, ...], argnums: Any) -> Any:
    if isinstance(argnums, int):
        if not -len(args) <= argnums < len(args):
            raise RuntimeError(f"Got argnum={argnums}, but only {len(args)} positional inputs")
        return args[argnums]
    if len(set(argnums)) != len(argnums):
        raise RuntimeError(f"argnums elements must be unique, got {argnums}")
    return tuple(_pick(args, i) for i in argnums)


def _place(args: tuple[Any, ...], argnums: Any, values: Any) -> tuple[Any, ...]:
    changed = list(args)
    if isinstance(argnums, int):
        changed[argnums] = values
    else:
        for i, value in zip(argnums, values, strict=True):
            changed[i] = value
    return tuple(changed)


def _gradients(outputs: list[Any], inputs: list[Any], given: list[Any] | None = None) -> list[Any]:
    """Differentiable gradients, zeros where there is no dependence."""
    pairs = [(o, None if given is None else given[i]) for i, o in enumerate(outputs) if o.requires_grad]
    if not pairs:
        return [rg.zeros_like(x) for x in inputs]
    grads = rg.autograd.grad(
        [o for o, _ in pairs],
        inputs,
        None if given is None else [g for _, g in pairs],
        create_graph=True,
        allow_unused=True,
    )
    return [rg.zeros_like(x) if g is None else g for g, x in zip(grads, inputs, strict=True)]


def grad_and_value(func: Callable[..., Any], argnums: Any = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function giving (gradient of func's scalar result, result); with has_aux (gradient, (result, aux))."""

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with _transform() as made:
            leaves, build = flatten(_pick(args, argnums))
            own = [_own(x) for x in leaves]
            output = func(*_place(args, argnums, build(own)), **kwargs)
            aux = None
            if has_aux:
                if not (isinstance(output, tuple) and len(output) == 2):
                    raise RuntimeError(
                        "grad_and_value(f)(*args): output of function f should be a tuple: (output, aux) "
                        "if has_aux is True"
                    )
                output, aux = output
            if not isinstance(output, rg.Tensor):
                raise RuntimeError(
                    f"grad_and_value(f)(*args): Expected f(*args) to return a Tensor, got {type(output)}"
                )
            if output.dim() != 0:
                raise RuntimeError(
                    "grad_and_value(f)(*args): Expected f(*args) to return a scalar Tensor, got tensor with "
                    f"{output.dim()} dims. Maybe you wanted to use the vjp or jacrev APIs instead?"
                )
            gradient = build(_gradients([output], own))
            result = (gradient, (output, aux)) if has_aux else (gradient, output)
            return _release(result, made)

    return wrapper


def grad(func: Callable[..., Any], argnums: Any = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function giving the gradient of func's scalar result with respect to the arguments at argnums."""
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        gradient, value = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return wrapper


def _split_aux(output: Any, has_aux: bool, what: str) -> tuple[Any, Any]:
    if not has_aux:
        return output, None
    if not (isinstance(output, tuple) and len(output) == 2):
        raise RuntimeError(f"{what}: output of function f should be a tuple: (output, aux) if has_aux is True")
    return output


def _output_leaves(output: Any, what: str) -> tuple[list[Any], Any]:
    leaves, build = flatten(output)
    for x in leaves:
        if not isinstance(x, rg.Tensor):
            raise RuntimeError(f"{what}: expected {what} to return only tensors, got unsupported type {type(x)}")
    return leaves, build


def vjp(func: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """(func(*primals), a function from a vector v, nested like the result, to v^T J for each primal)."""
    with _transform() as made:
        leaves, build = flatten(primals)
        own = [_own(x) for x in leaves]
        output, aux = _split_aux(func(*build(own)), has_aux, "vjp(f, *primals)")
        outputs, _ = _output_leaves(output, "vjp(f, *primals)")

    def pull(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> Any:
        with rg.enable_grad():
            given = flatten(cotangents)[0]
            if len(given) != len(outputs):
                raise RuntimeError(
                    "Expected pytree structure of cotangents to be the same as pytree structure of outputs to the "
                    f"function. cotangents: {len(given)} leaves, primal output: {len(outputs)} leaves"
                )
            return build(_release(_gradients(outputs, own, given), made))

    result = _release(output, made)
    return (result, pull, aux) if has_aux else (result, pull)


def jvp(
    func: Callable[..., Any], primals: Any, tangents: Any, *, strict: bool = False, has_aux: bool = False
) -> Any:
    """(func(*primals), J v) for tangents v nested like the primals."""
    if not isinstance(primals, tuple):
        raise RuntimeError(
            "jvp(f, primals, tangents): Expected primals to be a tuple. E.g. it should be valid to call f(*primals)."
        )
    with _transform() as made:
        leaves, build = flatten(primals)
        directions = flatten(tangents)[0]
        if len(leaves) != len(directions):
            raise RuntimeError(
                "jvp(f, primals, tangents): Expected primals and tangents to have the same python structure."
            )
        own = [_own(x) for x in leaves]
        output, aux = _split_aux(func(*build(own)), has_aux, "jvp(f, primals, tangents)")
        outputs, rebuild = _output_leaves(output, "jvp(f, primals, tangents)")
        # u^T J is linear in u; its gradient in the direction of the tangents is J v.
        dummies = [_leaf(rg.zeros_like(o)) for o in outputs]
        rows = _gradients(outputs, own, dummies)
        product = rebuild(_gradients(rows, dummies, directions))
        product, output = _release((product, output), made)
    return (output, product, aux) if has_aux else (output, product)


def jacrev(
    func: Callable[..., Any],
    argnums: Any = 0,
    *,
    has_aux: bool = False,
    chunk_size: int | None = None,
    _preallocate_and_copy: bool = False,
) -> Callable[..., Any]:
    """A function giving func's Jacobian, output.shape + input.shape, nested like the result and the arguments."""

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with _transform() as made:
            leaves, build = flatten(_pick(args, argnums))
            own = [_own(x) for x in leaves]
            output = func(*_place(args, argnums, build(own)), **kwargs)
            output, aux = _split_aux(output, has_aux, "jacrev(f)(*args)")
            outputs, rebuild = _output_leaves(output, "jacrev(f)(*args)")

            def jacobian(o: Any) -> Any:
                rows = [_gradients([element], own) for element in o.reshape(-1).unbind(0)] if o.numel() else []
                columns = [
                    rg.stack([row[k] for row in rows]).reshape(tuple(o.shape) + tuple(x.shape))
                    if rows
                    else x.new_zeros(tuple(o.shape) + tuple(x.shape))
                    for k, x in enumerate(own)
                ]
                return build(columns)

            result = _release(rebuild([jacobian(o) for o in outputs]), made)
            return (result, _release(aux, made)) if has_aux else result

    return wrapper


def jacfwd(
    func: Callable[..., Any], argnums: Any = 0, has_aux: bool = False, *, randomness: str = "error"
) -> Callable[..., Any]:
    """The same as jacrev: there is no forward mode."""
    return jacrev(func, argnums, has_aux=has_aux)


def hessian(func: Callable[..., Any], argnums: Any = 0) -> Callable[..., Any]:
    """A function giving the second derivatives, as the Jacobian of the Jacobian."""
    return jacfwd(jacrev(func, argnums), argnums)
