"""Custom functions: a forward and a backward written by the user.

The core does the recording. `_core._apply_function(ctx, name, inputs, results, differentiable, dirty, saves)`
makes a node over the inputs (None stands for what is no tensor) and returns the list of results with the
differentiable tensors among them made results of the node: a dirty one in place, any other as an alias of its
memory. In a backward pass the node calls `ctx._run_backward(node, grads)` with one gradient or None per result
and gets one gradient or None per input. `saves` says whether the graph can be freed by a backward pass.
`_core._node_output(node, nr, tensor)` gives the values of `tensor` as the nr-th result of the node.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import rustgrad as rg
from rustgrad import _core

__all__ = ["FunctionCtx", "Function", "once_differentiable", "InplaceFunction", "NestedIOFunction"]


class FunctionCtx:
    """What forward leaves for backward; further attributes may be set freely."""

    needs_input_grad: tuple[bool, ...] = ()
    materialize_grads: bool = True
    to_save: tuple[Any, ...] = ()
    non_differentiable: tuple[Any, ...] = ()
    dirty_tensors: tuple[Any, ...] = ()
    _function: type[Function]
    _saved: tuple[Any, ...] = ()
    _node: Any = None
    _outputs: tuple[Any, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors (or None) for backward, where saved_tensors gives them back."""
        self.to_save = tensors

    def save_for_forward(self, *tensors: Any) -> None:
        """Accepted for compatibility; there is no forward-mode differentiation."""

    def mark_dirty(self, *args: Any) -> None:
        """Say which inputs forward has changed in place."""
        self.dirty_tensors = args

    def mark_shared_storage(self, *pairs: Any) -> None:
        """Accepted for compatibility; sharing is noticed by itself."""

    def mark_non_differentiable(self, *args: Any) -> None:
        """Say which outputs have no gradient."""
        self.non_differentiable = args

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward gets zeros (the default) or None for outputs without a gradient."""
        self.materialize_grads = value

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """The tensors of save_for_backward; RuntimeError where one has been changed since."""
        return tuple(self._unpack(entry) for entry in self._saved)

    @property
    def saved_variables(self) -> tuple[Any, ...]:
        """The old name of saved_tensors."""
        warnings.warn("'saved_variables' is deprecated; use 'saved_tensors'", DeprecationWarning, stacklevel=2)
        return self.saved_tensors

    def name(self) -> str:
        """The name of the node, `<class>Backward`."""
        return self._function.__name__ + "Backward"

    # --- between forward and backward ---------------------------------------------------------

    def _freeze(self, inputs: tuple[Any, ...], outputs: tuple[Any, ...]) -> None:
        """Note the saved tensors' versions. Outputs are kept without their history, which would be a cycle."""
        entries: list[Any] = []
        for i, tensor in enumerate(self.to_save):
            if tensor is None:
                entries.append(None)
                continue
            if not isinstance(tensor, rg.Tensor):
                raise TypeError(
                    f"save_for_backward can only save variables, but argument {i} is of type {type(tensor).__name__}"
                )
            is_input = any(tensor is a for a in inputs)
            nr = -1 if is_input else next((k for k, o in enumerate(outputs) if o is tensor), -1)
            entries.append((tensor.detach() if nr >= 0 else tensor, tensor._version, nr))
        self._saved = tuple(entries)
        self.to_save = ()

    def _unpack(self, entry: Any) -> Any:
        if entry is None:
            return None
        tensor, version, nr = entry
        if tensor._version != version:
            raise RuntimeError(
                "one of the variables needed for gradient computation has been modified by an inplace operation: "
                f"[{tensor.type()} {list(tensor.shape)}], which is output 0 of {_source(tensor)}, "
                f"is at version {tensor._version}; expected version {version} instead. "
                "Hint: enable anomaly detection to find the operation that failed to compute its gradient, "
                "with torch.autograd.set_detect_anomaly(True)."
            )
        if nr >= 0 and self._node is not None and self._outputs[nr] is not None:
            return _core._node_output(self._node, nr, tensor)
        return tensor

    def _run_backward(self, node: Any, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        """Called by the node: the gradients of the results to those of the inputs."""
        function = self._function
        backward = function.backward
        if backward is Function.backward:
            if function.vjp is not Function.vjp:
                backward = function.vjp
            else:
                raise NotImplementedError(
                    "You must implement either the backward or vjp method for your custom autograd.Function "
                    "to use it with backward mode AD."
                )
        if self.materialize_grads:
            grads = tuple(
                rg.zeros(like[0], dtype=like[1], device=like[2]) if g is None and like is not None else g
                for g, like in zip(grads, self._outputs, strict=True)
            )
        self._node = node
        try:
            result = backward(self, *grads)
        finally:
            self._node = None
        if not isinstance(result, tuple):
            result = (result,)
        expected = len(self.needs_input_grad)
        if len(result) > expected and all(r is None for r in result[expected:]):
            result = result[:expected]
        if len(result) != expected:
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients "
                f"(expected {expected}, got {len(result)})"
            )
        for value in result:
            if value is not None and not isinstance(value, rg.Tensor):
                raise RuntimeError(f"expected Variable or None (got {type(value).__name__})")
        return tuple(r if needed else None for r, needed in zip(result, self.needs_input_grad, strict=True))


def _source(tensor: Any) -> str:
    """The node a tensor came from, as messages name it."""
    return "AccumulateGrad" if tensor.grad_fn is None else str(tensor.grad_fn.name())


class Function:
    """Base class: static `forward(ctx, *args)` and `backward(ctx, *grads)`, called through `apply`.

    Alternatively `forward(*args)` and `setup_context(ctx, inputs, output)`.
    """

    generate_vmap_rule = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        warnings.warn(
            f"{self.__class__} should not be instantiated. Methods on autograd functions are all static, so you "
            "should invoke them on the class itself. Instantiating an autograd function will raise an error in a "
            "future version of PyTorch.",
            DeprecationWarning,
            stacklevel=2,
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(
            "Legacy autograd function with non-static forward method is deprecated. "
            "Please use new-style autograd function with static forward method. "
            "(Example: https://pytorch.org/docs/stable/autograd.html#torch.autograd.Function)"
        )

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the result; runs without recording."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """Fill the context, where forward does not take it."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """One gradient (or None) for each argument of forward."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for "
            "your custom autograd.Function to use it with backward mode AD."
        )

    vjp = backward

    @staticmethod
    def jvp(ctx: Any, *grad_inputs: Any) -> Any:
        """Forward-mode differentiation is not supported."""
        raise NotImplementedError(
            "You must implement the jvp function for custom autograd.Function to use it with forward mode AD."
        )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run forward and record the function for the backward pass."""
        ctx: Any = FunctionCtx()
        ctx._function = cls
        tensor_type = rg.Tensor
        ctx.needs_input_grad = tuple(isinstance(a, tensor_type) and a.requires_grad for a in args)
        recording = _core.is_grad_enabled() and any(ctx.needs_input_grad)
        previous = _core._set_grad_enabled(False)
        try:
            if cls.setup_context is Function.setup_context:
                result = cls.forward(ctx, *args, **kwargs)
            else:
                result = cls.forward(*args, **kwargs)
                cls.setup_context(ctx, args, result)
        finally:
            _core._set_grad_enabled(previous)
        single = not isinstance(result, tuple)
        results = (result,) if single else result
        if single and not isinstance(result, tensor_type) and result is not None:
            return result
        ctx._freeze(args, results)
        if not recording:
            return result

        plain = {id(t) for t in ctx.non_differentiable}
        dirty = {id(t) for t in ctx.dirty_tensors}
        ctx.dirty_tensors = ctx.non_differentiable = ()
        differentiable = [
            isinstance(r, tensor_type) and id(r) not in plain and (r.is_floating_point() or r.is_complex())
            for r in results
        ]
        ctx._outputs = tuple((r.shape, r.dtype, r.device) if isinstance(r, tensor_type) else None for r in results)
        linked = _core._apply_function(
            ctx,
            ctx.name(),
            [a if isinstance(a, tensor_type) else None for a in args],
            list(results),
            differentiable,
            [id(r) in dirty for r in results],
            any(entry is not None for entry in ctx._saved),
        )
        return linked[0] if single else tuple(linked)


def once_differentiable(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a backward whose own gradient cannot be taken: to try raises RuntimeError."""

    @functools.wraps(fn)
    def wrapper(ctx: Any, *args: Any) -> Any:
        previous = _core._set_grad_enabled(False)
        try:
            outputs = fn(ctx, *args)
        finally:
            _core._set_grad_enabled(previous)
        recorded = previous and any(isinstance(a, rg.Tensor) and a.requires_grad for a in args)
        if not recorded:
            return outputs
        single = not isinstance(outputs, tuple)
        marked = [
            _NotTwice.apply(o.detach().requires_grad_()) if isinstance(o, rg.Tensor) else o
            for o in ((outputs,) if single else outputs)
        ]
        return marked[0] if single else tuple(marked)

    return wrapper


class _NotTwice(Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")


class InplaceFunction(Function):
    """The old base class of functions with an in-place variant."""

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace


class NestedIOFunction(Function):
    """The old base class of functions over nested arguments; use Function."""
