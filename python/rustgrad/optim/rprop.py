"""Rprop: resilient backpropagation."""

from __future__ import annotations

from typing import Any

import rustgrad as rg

from .optimizer import Item, ParamsT, _check_lr, _number, _PerParameter, _scalar, _zeros

__all__ = ["Rprop"]


class Rprop(_PerParameter):
    """Steps whose size depends on the gradient's sign changes only."""

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        _check_lr(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        defaults = {
            "lr": lr,
            "etas": etas,
            "step_sizes": step_sizes,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _init_state(self, group: dict[str, Any], p: Any, grad: Any) -> dict[str, Any]:
        return {
            "step": _scalar(0.0),
            "prev": _zeros(p),
            "step_size": rg.full_like(grad, _number(group["lr"])),
        }

    def _update(self, group: dict[str, Any], items: list[Item]) -> None:
        eta_minus, eta_plus = group["etas"]
        low, high = group["step_sizes"]
        for p, grad, state in items:
            prev, step_size, step = state["prev"], state["step_size"], state["step"]
            step += 1
            change = grad.mul(prev)
            flipped = change.lt(0)
            factor = rg.ones_like(change).masked_fill_(change.gt(0), eta_plus).masked_fill_(flipped, eta_minus)
            step_size.mul_(factor).clamp_(low, high)
            grad = grad.masked_fill(flipped, 0)
            p.addcmul_(grad.sign(), step_size, value=-1)
            prev.copy_(grad)
