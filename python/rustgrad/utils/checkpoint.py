"""Checkpointing: activations are computed anew in the backward pass instead of being kept."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import rustgrad as rg
from rustgrad import _core, random
from rustgrad._tree import flatten
from rustgrad.autograd import Function
from rustgrad.autograd.graph import _accumulator

__all__ = [
    "CheckpointError",
    "CheckpointFunction",
    "check_backward_validity",
    "checkpoint",
    "checkpoint_sequential",
    "detach_variable",
    "noop_context_fn",
    "set_checkpoint_debug_enabled",
    "set_checkpoint_early_stop",
]

_EXPLICIT = (
    "torch.utils.checkpoint{}: the use_reentrant parameter should be passed explicitly. {}use_reentrant=False is "
    "recommended, but if you need to preserve the current default behavior, you can pass use_reentrant=True. Refer to "
    "docs for more details on the differences between the two variants."
)


class CheckpointError(RuntimeError):
    """The function did not do the same when it was run again."""


def noop_context_fn() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """Contexts without effect, for the first run and for the second."""
    return contextlib.nullcontext(), contextlib.nullcontext()


def detach_variable(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The tensors without their history; they require grad as before."""
    if not isinstance(inputs, tuple):
        raise RuntimeError("Only tuple of tensors is supported. Got Unsupported input type: ", type(inputs).__name__)
    return tuple(x.detach().requires_grad_(x.requires_grad) if isinstance(x, rg.Tensor) else x for x in inputs)


def check_backward_validity(inputs: Iterable[Any]) -> None:
    """Warn where no input requires grad."""
    if not any(x.requires_grad for x in inputs if isinstance(x, rg.Tensor)):
        warnings.warn("None of the inputs have requires_grad=True. Gradients will be None", stacklevel=2)


class _Surroundings:
    """The random state and autocast setting of the first run, for the second."""

    def __init__(self, preserve_rng_state: bool) -> None:
        self.rng = random._get_all_states() if preserve_rng_state else None
        query = getattr(_core, "_autocast_state", None)
        self.autocast = None if query is None else query("cpu")

    @contextmanager
    def restored(self) -> Iterator[None]:
        now = random._get_all_states() if self.rng is not None else None
        before = None if self.autocast is None else _core._set_autocast("cpu", *self.autocast)
        if self.rng is not None:
            random._set_all_states(self.rng)
        try:
            yield
        finally:
            if now is not None:
                random._set_all_states(now)
            if before is not None:
                _core._set_autocast("cpu", *before)


class CheckpointFunction(Function):
    """The variant with use_reentrant=True: forward runs unrecorded; backward runs it again and goes through that."""

    @staticmethod
    def forward(ctx: Any, run_function: Callable[..., Any], preserve_rng_state: bool, *args: Any) -> Any:
        check_backward_validity(args)
        ctx.run_function = run_function
        ctx.surroundings = _Surroundings(preserve_rng_state)
        ctx.plain = [None if isinstance(a, rg.Tensor) else a for a in args]
        ctx.places = [i for i, a in enumerate(args) if isinstance(a, rg.Tensor)]
        ctx.save_for_backward(*[args[i] for i in ctx.places])
        return run_function(*args)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        args = list(ctx.plain)
        for i, tensor in zip(ctx.places, ctx.saved_tensors, strict=True):
            args[i] = tensor.detach().requires_grad_(tensor.requires_grad)
        with ctx.surroundings.restored(), rg.enable_grad():
            outputs = ctx.run_function(*args)
        if isinstance(outputs, rg.Tensor):
            outputs = (outputs,)
        pairs = [
            (o, g) for o, g in zip(outputs, grads, strict=True) if isinstance(o, rg.Tensor) and o.requires_grad
        ]
        if not pairs:
            raise RuntimeError("none of output has requires_grad=True, this checkpoint() is not necessary")
        rg.autograd.backward([o for o, _ in pairs], [g for _, g in pairs])
        return (None, None) + tuple(a.grad if isinstance(a, rg.Tensor) else None for a in args)


def _leaves_under(outputs: list[Any], own: list[Any]) -> list[Any]:
    """The leaves that require grad in the graph of the outputs, without the given ones."""
    seen: set[Any] = {_accumulator(x) for x in own if x.requires_grad}
    found: list[Any] = []
    stack = [_accumulator(o) if o.grad_fn is None else o.grad_fn for o in outputs]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if "AccumulateGrad" in node.name():
            found.append(node.variable)
        stack.extend(parent for parent, _ in node.next_functions if parent is not None)
    return found


class _Call:
    """A call whose tensor arguments can be replaced."""

    def __init__(self, function: Callable[..., Any], args: Any, kwargs: Any, context: Any) -> None:
        self.function = function
        self.context = context
        self.values, self.build = flatten((args, kwargs))
        self.places = [i for i, v in enumerate(self.values) if isinstance(v, rg.Tensor)]

    def tensors(self) -> list[Any]:
        """The tensor arguments, which the call then no longer holds itself."""
        taken = [self.values[i] for i in self.places]
        for i in self.places:
            self.values[i] = None
        return taken

    def __call__(self, tensors: Iterable[Any]) -> tuple[list[Any], Any]:
        values = list(self.values)
        for i, tensor in zip(self.places, tensors, strict=True):
            values[i] = tensor
        args, kwargs = self.build(values)
        return flatten(self.function(*args, **kwargs))


class _Recompute(Function):
    """Stands in the graph for a whole call: inputs are its tensor arguments and the leaves it uses."""

    @staticmethod
    def forward(ctx: Any, call: Any, surroundings: Any, outputs: Any, count: int, *inputs: Any) -> Any:
        ctx.call, ctx.surroundings, ctx.count = call, surroundings, count
        ctx.set_materialize_grads(False)
        ctx.shapes = [(o.shape, o.dtype) for o in outputs]
        ctx.save_for_backward(*inputs)
        return tuple(o.detach() for o in outputs)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        twice = rg.is_grad_enabled()
        saved = ctx.saved_tensors
        given, leaves = saved[: ctx.count], saved[ctx.count :]
        if not twice:
            given = tuple(x.detach().requires_grad_(x.requires_grad) for x in given)
        with ctx.surroundings.restored(), rg.enable_grad(), ctx.call.context:
            results, _ = ctx.call(given)
        outputs = [r for r in results if _computed(r, given)]
        if [(o.shape, o.dtype) for o in outputs] != ctx.shapes:
            raise CheckpointError(
                "torch.utils.checkpoint: Recomputed values for the following tensors have different metadata than "
                "during the forward pass."
            )
        pairs = [(o, g) for o, g in zip(outputs, grads, strict=True) if g is not None]
        inputs = [*given, *leaves]
        wanted = [x for x in inputs if x.requires_grad]
        if not pairs or not wanted:
            return (None,) * (4 + len(inputs))
        found = iter(
            rg.autograd.grad(
                [o for o, _ in pairs],
                wanted,
                [g for _, g in pairs],
                retain_graph=True,
                create_graph=twice,
                allow_unused=True,
            )
        )
        return (None,) * 4 + tuple(next(found) if x.requires_grad else None for x in inputs)


def _without_reentry(function: Any, preserve: bool, contexts: Any, args: Any, kwargs: Any) -> Any:
    first, second = contexts
    call = _Call(function, args, kwargs, second)
    given = call.tensors()
    surroundings = _Surroundings(preserve)
    # The first run is recorded so that the parameters it uses are known; its graph is given up at once.
    inner = [x.detach().requires_grad_(x.requires_grad) for x in given]
    with first:
        results, build = call(inner)
    results = [_outer(r, inner, given) for r in results]
    places = [i for i, r in enumerate(results) if _computed(r, given)]
    outputs = [results[i] for i in places]
    if not outputs:
        return build(results)
    leaves = _leaves_under(outputs, inner)
    linked = _Recompute.apply(call, surroundings, outputs, len(given), *given, *leaves)
    for i, tensor in zip(places, linked, strict=True):
        results[i] = tensor
    return build(results)


def _computed(result: Any, given: Iterable[Any]) -> bool:
    """Whether a result is a tensor with a gradient that is not just one of the arguments."""
    return isinstance(result, rg.Tensor) and result.requires_grad and not any(result is g for g in given)


def _outer(result: Any, inner: list[Any], given: list[Any]) -> Any:
    """The caller's tensor for one that went through the function untouched."""
    for own, original in zip(inner, given, strict=True):
        if result is own:
            return original
    return result


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Callable[[], tuple[Any, Any]] = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    **kwargs: Any,
) -> Any:
    """function(*args, **kwargs), whose activations are not kept but computed again in the backward pass.

    With preserve_rng_state (the default) both runs see the same random numbers.
    """
    if use_reentrant is None:
        note = "Starting in PyTorch 2.9, calling checkpoint without use_reentrant will raise an exception. "
        warnings.warn(_EXPLICIT.format("", note), stacklevel=2)
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if use_reentrant:
        if kwargs:
            raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
        if context_fn is not noop_context_fn or debug is not False:
            raise ValueError("Passing `context_fn` or `debug` is only supported when use_reentrant=False.")
        return CheckpointFunction.apply(function, preserve, *args)
    if not rg.is_grad_enabled():
        with context_fn()[0]:
            return function(*args, **kwargs)
    return _without_reentry(function, preserve, context_fn(), args, kwargs)


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """Run functions (or a Sequential) one after the other, checkpointing all segments but the last."""
    if use_reentrant is None:
        note = "In version 2.9 we will raise an exception if use_reentrant is not passed. "
        warnings.warn(_EXPLICIT.format(".checkpoint_sequential", note), stacklevel=2)
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))

    def run(start: int, end: int) -> Callable[[Any], Any]:
        def forward(x: Any) -> Any:
            for i in range(start, end + 1):
                x = functions[i](x)
            return x

        return forward

    if isinstance(functions, rg.nn.Sequential):
        functions = list(functions.children())
    size = len(functions) // segments
    end = -1
    for start in range(0, size * (segments - 1), size):
        end = start + size - 1
        input = checkpoint(run(start, end), input, use_reentrant=use_reentrant, preserve_rng_state=preserve)
    return run(end + 1, len(functions) - 1)(input)


@contextmanager
def set_checkpoint_early_stop(enable: bool) -> Iterator[None]:
    """Accepted; the second run always goes to its end."""
    yield


@contextmanager
def set_checkpoint_debug_enabled(enabled: bool | None) -> Iterator[None]:
    """Accepted; without effect."""
    yield
