"""Gradients against central differences."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import rustgrad as rg

__all__ = ["gradcheck", "gradgradcheck", "GradcheckError"]


class GradcheckError(RuntimeError):
    """Analytical and numerical gradients differ."""


def _tupled(value: Any) -> tuple[Any, ...]:
    if isinstance(value, rg.Tensor):
        return (value,)
    return tuple(value)


def _wants_grad(value: Any) -> bool:
    return isinstance(value, rg.Tensor) and value.requires_grad


def _differentiable(outputs: Any) -> tuple[Any, ...]:
    return tuple(o for o in _tupled(outputs) if isinstance(o, rg.Tensor) and o.requires_grad)


def _check_inputs(inputs: tuple[Any, ...]) -> None:
    if not any(_wants_grad(x) for x in inputs):
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, "
            "but none of the them have requires_grad=True."
        )
    for i, x in enumerate(inputs):
        if not _wants_grad(x):
            continue
        if x.dtype not in (rg.float64, rg.complex128):
            warnings.warn(
                f"Input #{i} requires gradient and is not a double precision floating point or complex. "
                "This check will likely fail if all the inputs are not of double precision floating point or complex. ",
                stacklevel=3,
            )
        if any(stride == 0 and size > 1 for stride, size in zip(x.stride(), x.shape, strict=True)):
            raise RuntimeError(
                f"The {i}th input has a dimension with stride 0. gradcheck only supports inputs that are "
                "non-overlapping to be able to compute the numerical gradients correctly. You should call "
                ".contiguous on the input before passing it to gradcheck."
            )
        x.retain_grad()


def _numerical(fn: Callable[[], tuple[Any, ...]], inputs: list[Any], eps: float) -> list[list[Any]]:
    """Jacobians by central differences: for each output and input one of shape (input size, output size)."""
    sizes = [o.numel() for o in fn()]
    jacobians = [[rg.zeros(x.numel(), n, dtype=x.dtype) for x in inputs] for n in sizes]
    for k, x in enumerate(inputs):
        data = x.detach()
        for row, index in enumerate(itertools.product(*(range(n) for n in x.shape))):
            original = data[index].item()
            data[index] = original - eps
            below = [o.detach().clone() for o in fn()]
            data[index] = original + eps
            above = [o.detach().clone() for o in fn()]
            data[index] = original
            for j, (a, b) in enumerate(zip(above, below, strict=True)):
                jacobians[j][k][row] = ((a - b) / (2 * eps)).reshape(-1).to(jacobians[j][k].dtype)
    return jacobians


def _analytical(output: Any, inputs: list[Any]) -> list[Any]:
    """The same for one output, row by row of the transposed Jacobian, by backward passes."""
    jacobians = [rg.zeros(x.numel(), output.numel(), dtype=x.dtype) for x in inputs]
    for column in range(output.numel()):
        seed = rg.zeros(output.numel(), dtype=output.dtype)
        seed[column] = 1
        grads = rg.autograd.grad(output, inputs, seed.view(output.shape), retain_graph=True, allow_unused=True)
        for jacobian, grad in zip(jacobians, grads, strict=True):
            if grad is not None:
                jacobian[:, column] = grad.reshape(-1)
    return jacobians


def _compare(
    fn: Callable[..., Any],
    inputs: tuple[Any, ...],
    eps: float,
    atol: float,
    rtol: float,
    nondet_tol: float,
    check_grad_dtypes: bool,
) -> None:
    leaves = [x for x in inputs if _wants_grad(x)]
    if any(x.is_complex() for x in leaves):
        raise NotImplementedError("gradcheck of complex inputs is not implemented")
    kept = [i for i, o in enumerate(_tupled(fn(*inputs))) if _wants_grad(o)]
    if not kept:
        numerical = _numerical(lambda: tuple(o for o in _tupled(fn(*inputs)) if isinstance(o, rg.Tensor)), leaves, eps)
        if any(bool((j != 0).any()) for row in numerical for j in row):
            raise GradcheckError("Numerical gradient for function expected to be zero")
        return
    # Differences write into the inputs: the graph is recorded afterwards.
    numerical = _numerical(lambda: tuple(_tupled(fn(*inputs))[i] for i in kept), leaves, eps)
    outputs = _differentiable(fn(*inputs))
    for i, output in enumerate(outputs):
        analytical, again = _analytical(output, leaves), _analytical(output, leaves)
        for j, (a, n) in enumerate(zip(analytical, numerical[i], strict=True)):
            if not rg.allclose(a, n.to(a.dtype), rtol, atol):
                raise GradcheckError(
                    f"Jacobian mismatch for output {i} with respect to input {j},\nnumerical:{n}\nanalytical:{a}\n"
                )
        for a, b in zip(analytical, again, strict=True):
            if bool(((a - b).abs() > nondet_tol).any()):
                raise GradcheckError(
                    "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times "
                    "gives different values, although analytical gradient matches numerical gradient."
                    f"The tolerance for nondeterminism was {nondet_tol}."
                )
        if check_grad_dtypes:
            grads = rg.autograd.grad(output, leaves, rg.ones_like(output), retain_graph=True, allow_unused=True)
            for g, x in zip(grads, leaves, strict=True):
                if g is not None and g.dtype != x.dtype:
                    raise GradcheckError("Gradient has dtype mismatch")


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """True if the gradients of func agree with central differences; else raises GradcheckError, or False.

    Inputs should be float64. The options for batched and forward-mode gradients and fast_mode are accepted; the
    check made is always the full one.
    """
    arguments = _tupled(inputs)
    try:
        _check_inputs(arguments)
        _compare(func, arguments, eps, atol, rtol, nondet_tol, check_grad_dtypes)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """gradcheck of the gradient of func, with respect to its inputs and to the gradients of its outputs."""
    arguments = _tupled(inputs)
    if grad_outputs is None:
        outputs = _differentiable(func(*arguments))
        seeds: Sequence[Any] = [
            rg.randn_like(o if o.dtype == rg.float64 else o.double()).to(o.dtype).requires_grad_() for o in outputs
        ]
    else:
        seeds = _tupled(grad_outputs)
    count = len(seeds)

    def gradient(*args: Any) -> tuple[Any, ...]:
        own, given = args[: len(args) - count], args[len(args) - count :]
        wanted = tuple(x for x in own if _wants_grad(x))
        grads = rg.autograd.grad(
            _differentiable(func(*own)), wanted, given, create_graph=True, allow_unused=True
        )
        return tuple(g for g in grads if g is not None)

    return gradcheck(
        gradient,
        arguments + tuple(seeds),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        nondet_tol=nondet_tol,
        check_grad_dtypes=check_grad_dtypes,
        fast_mode=fast_mode,
        masked=masked,
    )
