"""The identity functions that let a Module see its gradients."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import rustgrad as rg
from rustgrad import Tensor
from rustgrad.utils.hooks import RemovableHandle

__all__ = ["RemovableHandle", "BackwardHook"]


_identity_class: Any = None


def _identity() -> Any:
    """The autograd Function that copies nothing forward and nothing back. Made on first use: autograd loads later."""
    global _identity_class
    if _identity_class is None:

        class BackwardHookFunction(rg.autograd.Function):
            @staticmethod
            def forward(ctx: Any, on_grads: Any, zeros_for_none: bool, *args: Any) -> Any:
                ctx.on_grads = on_grads
                ctx.set_materialize_grads(zeros_for_none)
                ctx.mark_non_differentiable(*[a for a in args if not a.requires_grad])
                return tuple(a.view_as(a) for a in args)

            @staticmethod
            def backward(ctx: Any, *grads: Any) -> Any:
                return (None, None, *ctx.on_grads(grads))

        _identity_class = BackwardHookFunction
    return _identity_class


class BackwardHook:
    """Runs a module's full backward hooks once both of its sides' gradients are known.

    An identity is put around the module's inputs and outputs; hooks on those two nodes collect the gradients.
    Hook calls: `user_hooks(module, grad_input, grad_output)`, `user_pre_hooks(module, grad_output)`.
    """

    def __init__(self, module: Any, user_hooks: list[Any], user_pre_hooks: list[Any]) -> None:
        self.module = module
        self.user_hooks = user_hooks
        self.user_pre_hooks = user_pre_hooks
        self.grad_outputs: Any = None
        self.n_inputs = -1
        self.n_outputs = -1
        self.input_index: list[int] | None = None
        self.output_index: list[int] = []

    def _wrap(self, value: Any, on_grads: Callable[[Any], Any], start: Callable[[list[int]], None],
              is_input: bool) -> Any:
        if not rg.is_grad_enabled():
            return value
        items = list(value) if isinstance(value, tuple) else [value]
        at = [i for i, v in enumerate(items) if isinstance(v, Tensor)]
        if not any(items[i].requires_grad for i in at):
            return value
        start(at)
        for i, new in zip(at, _identity().apply(on_grads, is_input, *[items[i] for i in at])):
            items[i] = new
        if not isinstance(value, tuple):
            return items[0]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)

    def setup_input_hook(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, so wrapped that their gradients pass through the hooks."""
        self.n_inputs = len(args)

        def start(at: list[int]) -> None:
            self.input_index = at

        wrapped: tuple[Any, ...] = self._wrap(args, self._on_grad_input, start, True)
        return wrapped

    def setup_output_hook(self, result: Any) -> Any:
        """The result, so wrapped that its gradient passes through the hooks."""

        def start(at: list[int]) -> None:
            self.output_index = at
            self.n_outputs = len(result) if isinstance(result, tuple) else 1

        return self._wrap(result, self._on_grad_output, start, False)

    @staticmethod
    def _spread(grads: Any, at: list[int], n: int) -> tuple[Any, ...]:
        full: list[Any] = [None] * n
        for i, g in zip(at, grads):
            full[i] = g
        return tuple(full)

    def _run(self, grad_input: Any) -> Any:
        out = grad_input
        for hook in self.user_hooks:
            res = hook(self.module, out, self.grad_outputs)
            if res is None:
                continue
            res = res if isinstance(res, tuple) else (res,)
            if len(res) != len(out):
                raise RuntimeError("Backward hook returned an invalid number of grad_input, "
                                   f"got {len(res)}, but expected {len(out)}")
            out = res
        return out

    def _on_grad_output(self, grads: Any) -> Any:
        outs = self._spread(grads, self.output_index, self.n_outputs)
        for hook in self.user_pre_hooks:
            res = hook(self.module, outs)
            if res is None:
                continue
            res = res if isinstance(res, tuple) else (res,)
            if len(res) != len(outs):
                raise RuntimeError("Backward pre hook returned an invalid number of grad_output, "
                                   f"got {len(res)}, but expected {len(outs)}")
            outs = res
        self.grad_outputs = outs
        if self.input_index is None:  # no input needs a gradient: there is nothing more to wait for
            if self.user_hooks:
                warnings.warn("Full backward hook is firing when gradients are computed with respect to module outputs "
                              "since no inputs require gradients. See https://docs.pytorch.org/docs/main/generated/"
                              "torch.nn.Module.html#torch.nn.Module.register_full_backward_hook for more details.",
                              stacklevel=5)
            if any(r is not None for r in self._run((None,) * max(self.n_inputs, 1))):
                raise RuntimeError("Backward hook for Modules where no input requires gradient should always return "
                                   "None or None for all gradients.")
            self.grad_outputs = None
        return tuple(outs[i] for i in self.output_index)

    def _on_grad_input(self, grad_in: Any) -> Any:
        if self.grad_outputs is None:
            raise RuntimeError("Module backward hook for grad_input is called before the grad_output one. This "
                               "happens because the gradient in your nn.Module flows to the Module's input without "
                               "passing through the Module's output. Make sure that the output depends on the input "
                               "and that the loss is computed based on the output.")
        assert self.input_index is not None
        res = self._run(self._spread(grad_in, self.input_index, self.n_inputs))
        self.grad_outputs = None
        return tuple(res[i] for i in self.input_index)
