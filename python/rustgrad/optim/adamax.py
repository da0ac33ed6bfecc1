"""Adamax: Adam with the infinity norm."""

from __future__ import annotations

from typing import Any

import rustgrad as rg

from .optimizer import (
    Item,
    ParamsT,
    _check_eps_betas,
    _check_lr,
    _check_nonnegative,
    _number,
    _PerParameter,
    _scalar,
    _zeros,
)

__all__ = ["Adamax"]


class Adamax(_PerParameter):
    """Adam whose second moment is a decaying maximum of gradient magnitudes."""

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        _check_lr(lr)
        _check_eps_betas(eps, betas)
        _check_nonnegative("weight_decay", weight_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _init_state(self, group: dict[str, Any], p: Any, grad: Any) -> dict[str, Any]:
        return {"step": _scalar(0.0), "exp_avg": _zeros(p), "exp_inf": _zeros(p)}

    def _fused_rule(self, group: dict[str, Any]) -> tuple[str, tuple[str, ...], tuple[Any, ...]] | None:
        return "adamax", ("exp_avg", "exp_inf"), (
            _number(group["lr"]), group["maximize"], group["weight_decay"], False, *group["betas"], group["eps"]
        )

    def _update(self, group: dict[str, Any], items: list[Item]) -> None:
        lr, (beta1, beta2), eps = _number(group["lr"]), group["betas"], group["eps"]
        weight_decay = group["weight_decay"]
        for p, grad, state in items:
            exp_avg, exp_inf, step = state["exp_avg"], state["exp_inf"], state["step"]
            step += 1
            if weight_decay != 0:
                grad = grad.add(p, alpha=weight_decay)
            exp_avg.lerp_(grad, 1 - beta1)
            exp_inf.copy_(rg.maximum(exp_inf.mul_(beta2), grad.abs().add_(eps)))
            p.addcdiv_(exp_avg, exp_inf, value=-(lr / (1 - beta1 ** step.item())))
