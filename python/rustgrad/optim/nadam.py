"""NAdam: Adam with Nesterov momentum."""

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

__all__ = ["NAdam"]


class NAdam(_PerParameter):
    """Adam with Nesterov momentum and a momentum schedule."""

    _group_defaults = {
        "maximize": False,
        "foreach": None,
        "capturable": False,
        "differentiable": False,
        "decoupled_weight_decay": False,
    }
    _scalar_entries = ("step", "mu_product")

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
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
        _check_nonnegative("momentum_decay", momentum_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _init_state(self, group: dict[str, Any], p: Any, grad: Any) -> dict[str, Any]:
        return {"step": _scalar(0.0), "mu_product": _scalar(1.0), "exp_avg": _zeros(p), "exp_avg_sq": _zeros(p)}

    def _fused_rule(self, group: dict[str, Any]) -> tuple[str, tuple[str, ...], tuple[Any, ...]] | None:
        decay, decoupled = group["weight_decay"], group["decoupled_weight_decay"]
        return "nadam", ("exp_avg", "exp_avg_sq", "mu_product"), (
            _number(group["lr"]), group["maximize"], decay, decoupled, *group["betas"], group["eps"],
            group["momentum_decay"],
        )

    def _update(self, group: dict[str, Any], items: list[Item]) -> None:
        lr, (beta1, beta2), eps = _number(group["lr"]), group["betas"], group["eps"]
        weight_decay, decay, decoupled = (
            group["weight_decay"],
            group["momentum_decay"],
            group["decoupled_weight_decay"],
        )
        for p, grad, state in items:
            exp_avg, exp_avg_sq = state["exp_avg"], state["exp_avg_sq"]
            step, mu_product = state["step"], state["mu_product"]
            step += 1
            t = step.item()
            if weight_decay != 0:
                if decoupled:
                    p.mul_(1 - lr * weight_decay)
                else:
                    grad = grad.add(p, alpha=weight_decay)
            mu = beta1 * (1.0 - 0.5 * (0.96 ** (t * decay)))
            mu_next = beta1 * (1.0 - 0.5 * (0.96 ** ((t + 1) * decay)))
            mu_product *= mu
            exp_avg.lerp_(grad, 1 - beta1)
            exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
            denom = exp_avg_sq.div(1 - beta2**t).sqrt_().add_(eps)
            product = mu_product.item()
            p.addcdiv_(grad, denom, value=(-lr * (1.0 - mu) / (1.0 - product)))
            p.addcdiv_(exp_avg, denom, value=(-lr * mu_next) / (1.0 - product * mu_next))
