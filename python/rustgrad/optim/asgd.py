"""ASGD: averaged stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from .optimizer import Item, ParamsT, _check_lr, _check_nonnegative, _number, _PerParameter, _scalar, _zeros

__all__ = ["ASGD"]


class ASGD(_PerParameter):
    """Gradient descent that also keeps the average of the iterates (state entry `ax`)."""

    _scalar_entries = ("step", "eta", "mu")

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        _check_lr(lr)
        _check_nonnegative("weight_decay", weight_decay)
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _init_state(self, group: dict[str, Any], p: Any, grad: Any) -> dict[str, Any]:
        return {
            "step": _scalar(0.0),
            "eta": _scalar(_number(group["lr"])),
            "mu": _scalar(1.0),
            "ax": _zeros(p),
        }

    def _update(self, group: dict[str, Any], items: list[Item]) -> None:
        lr, lambd, alpha, t0 = _number(group["lr"]), group["lambd"], group["alpha"], group["t0"]
        weight_decay = group["weight_decay"]
        for p, grad, state in items:
            ax, step, eta, mu = state["ax"], state["step"], state["eta"], state["mu"]
            step += 1
            t = step.item()
            if weight_decay != 0:
                grad = grad.add(p, alpha=weight_decay)
            rate = eta.item()
            p.mul_(1 - lambd * rate)
            p.add_(grad, alpha=-rate)
            if mu.item() != 1:
                ax.add_(p.sub(ax).mul_(mu))
            else:
                ax.copy_(p)
            eta.copy_(_scalar(lr / ((1 + lambd * lr * t) ** alpha)))
            mu.copy_(_scalar(1 / max(1, t - t0)))
