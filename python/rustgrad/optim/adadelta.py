"""Adadelta."""

from __future__ import annotations

from typing import Any

from .optimizer import Item, ParamsT, _check_lr, _check_nonnegative, _number, _PerParameter, _scalar, _zeros

__all__ = ["Adadelta"]


class Adadelta(_PerParameter):
    """Scales each step by running averages of squared gradients and squared updates."""

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        _check_lr(lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        if not eps >= 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        _check_nonnegative("weight_decay", weight_decay)
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "capturable": capturable,
            "foreach": foreach,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _init_state(self, group: dict[str, Any], p: Any, grad: Any) -> dict[str, Any]:
        return {"step": _scalar(0.0), "square_avg": _zeros(p), "acc_delta": _zeros(p)}

    def _update(self, group: dict[str, Any], items: list[Item]) -> None:
        lr, rho, eps, weight_decay = _number(group["lr"]), group["rho"], group["eps"], group["weight_decay"]
        for p, grad, state in items:
            square_avg, acc_delta, step = state["square_avg"], state["acc_delta"], state["step"]
            step += 1
            if weight_decay != 0:
                grad = grad.add(p, alpha=weight_decay)
            square_avg.mul_(rho).addcmul_(grad, grad, value=1 - rho)
            delta = acc_delta.add(eps).sqrt_().div_(square_avg.add(eps).sqrt_()).mul_(grad)
            acc_delta.mul_(rho).addcmul_(delta, delta, value=1 - rho)
            p.add_(delta, alpha=-lr)
