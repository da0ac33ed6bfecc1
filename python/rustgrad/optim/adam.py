"""Adam: adaptive moment estimation."""

from __future__ import annotations

from typing import Any

import rustgrad as rg

from .optimizer import (
    Item,
    ParamsT,
    _check_eps_betas,
    _check_fused,
    _check_nonnegative,
    _get_scalar_dtype,
    _number,
    _PerParameter,
    _zeros,
)

__all__ = ["Adam"]

class Adam(_PerParameter):
    """Adam, with AMSGrad and decoupled weight decay as options."""

    _group_defaults = {
        "amsgrad": False,
        "maximize": False,
        "foreach": None,
        "capturable": False,
        "differentiable": False,
        "decoupled_weight_decay": False,
        "fused": None,
    }

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-3,
        betas: tuple[Any, Any] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        if isinstance(lr, rg.Tensor):
            if foreach and not capturable:
                raise ValueError("lr as a Tensor is not supported for capturable=False and foreach=True")
            if lr.numel() != 1:
                raise ValueError("Tensor lr must be 1-element")
        if not lr >= 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        _check_eps_betas(eps, betas)
        _check_nonnegative("weight_decay", weight_decay)
        tensors = [isinstance(b, rg.Tensor) for b in betas]
        if not (all(isinstance(b, float) for b in betas) or all(tensors)):
            raise ValueError("betas must be either both floats or both Tensors")
        for i, beta in enumerate(betas):
            if tensors[i]:
                if not capturable and foreach:
                    raise ValueError(f"betas[{i}] as a Tensor is not supported for capturable=False and foreach=True")
                if beta.numel() != 1:
                    raise ValueError(f"Tensor betas[{i}] must be 1-element")
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)
        _check_fused(fused, foreach, differentiable)

    def _init_state(self, group: dict[str, Any], p: Any, grad: Any) -> dict[str, Any]:
        state = {
            "step": rg.tensor(0.0, dtype=_get_scalar_dtype(group["fused"])),
            "exp_avg": _zeros(p),
            "exp_avg_sq": _zeros(p),
        }
        if group["amsgrad"]:
            state["max_exp_avg_sq"] = _zeros(p)
        return state

    def _fused_rule(self, group: dict[str, Any]) -> tuple[str, tuple[str, ...], tuple[Any, ...]] | None:
        lr, (beta1, beta2), amsgrad = group["lr"], group["betas"], group["amsgrad"]
        if isinstance(lr, rg.Tensor):
            return None
        names = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if amsgrad else ("exp_avg", "exp_avg_sq")
        decay, decoupled = group["weight_decay"], group["decoupled_weight_decay"]
        return "adam", names, (
            lr, group["maximize"], decay, decoupled, _number(beta1), _number(beta2), group["eps"], amsgrad
        )

    def _update(self, group: dict[str, Any], items: list[Item]) -> None:
        lr, eps, weight_decay, amsgrad = group["lr"], group["eps"], group["weight_decay"], group["amsgrad"]
        decoupled, differentiable = group["decoupled_weight_decay"], self.defaults["differentiable"]
        beta1, beta2 = _number(group["betas"][0]), _number(group["betas"][1])
        tensor_lr = isinstance(lr, rg.Tensor)
        weight1, weight2 = 1 - beta1, 1 - beta2
        for p, grad, state in items:
            exp_avg, exp_avg_sq, step = state["exp_avg"], state["exp_avg_sq"], state["step"]
            step += 1
            if weight_decay != 0:
                if decoupled:
                    p.mul_(1 - lr * weight_decay)
                else:
                    grad = grad.add(p, alpha=weight_decay)
            exp_avg.lerp_(grad, weight1)
            exp_avg_sq.mul_(beta2).addcmul_(grad, grad, value=weight2)
            t = step.item()
            step_size = lr / (1 - beta1**t)
            correction2_sqrt = (1 - beta2**t) ** 0.5
            second = exp_avg_sq
            if amsgrad:
                second = state["max_exp_avg_sq"]
                second.copy_(rg.maximum(second, exp_avg_sq))
            denom = (second.sqrt() / correction2_sqrt).add_(eps)
            if differentiable:
                p.add_(exp_avg.clone() / denom * -step_size)
            else:
                p.addcdiv_(exp_avg, denom, value=-step_size.item() if tensor_lr else -step_size)
