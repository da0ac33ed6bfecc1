"""RAdam: rectified Adam."""

from __future__ import annotations

from typing import Any

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

__all__ = ["RAdam"]


class RAdam(_PerParameter):
    """Adam whose adaptive rate is used only once its variance can be estimated."""

    _group_defaults = {
        "foreach": None,
        "maximize": False,
        "differentiable": False,
        "decoupled_weight_decay": False,
        "capturable": False,
    }

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        _check_lr(lr)
        _check_eps_betas(eps, betas)
        _check_nonnegative("weight_decay", weight_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _init_state(self, group: dict[str, Any], p: Any, grad: Any) -> dict[str, Any]:
        return {"step": _scalar(0.0), "exp_avg": _zeros(p), "exp_avg_sq": _zeros(p)}

    def _fused_rule(self, group: dict[str, Any]) -> tuple[str, tuple[str, ...], tuple[Any, ...]] | None:
        decay, decoupled = group["weight_decay"], group["decoupled_weight_decay"]
        return "radam", ("exp_avg", "exp_avg_sq"), (
            _number(group["lr"]), group["maximize"], decay, decoupled, *group["betas"], group["eps"]
        )

    def _update(self, group: dict[str, Any], items: list[Item]) -> None:
        lr, (beta1, beta2), eps = _number(group["lr"]), group["betas"], group["eps"]
        weight_decay, decoupled = group["weight_decay"], group["decoupled_weight_decay"]
        rho_inf = 2 / (1 - beta2) - 1
        for p, grad, state in items:
            exp_avg, exp_avg_sq, step = state["exp_avg"], state["exp_avg_sq"], state["step"]
            step += 1
            t = step.item()
            if weight_decay != 0:
                if decoupled:
                    p.mul_(1 - lr * weight_decay)
                else:
                    grad = grad.add(p, alpha=weight_decay)
            exp_avg.lerp_(grad, 1 - beta1)
            exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
            correction2 = 1 - beta2**t
            update = exp_avg / (1 - beta1**t) * lr
            rho_t = rho_inf - 2 * t * (beta2**t) / correction2
            if rho_t > 5.0:
                rect = (
                    (rho_t - 4) * (rho_t - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho_t)
                ) ** 0.5
                update = update * ((correction2**0.5) / exp_avg_sq.sqrt().add_(eps)) * rect
            p.add_(update, alpha=-1.0)
