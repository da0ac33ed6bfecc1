"""RMSprop."""

from __future__ import annotations

from typing import Any

from .optimizer import Item, ParamsT, _check_lr, _check_nonnegative, _number, _PerParameter, _scalar, _zeros

__all__ = ["RMSprop"]


class RMSprop(_PerParameter):
    """Divides the gradient by a running average of its magnitude; optionally centered and with momentum."""

    _group_defaults = {
        "momentum": 0,
        "centered": False,
        "foreach": None,
        "maximize": False,
        "differentiable": False,
        "capturable": False,
    }

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
    ) -> None:
        _check_lr(lr)
        if not eps >= 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        _check_nonnegative("momentum", momentum)
        _check_nonnegative("weight_decay", weight_decay)
        _check_nonnegative("alpha", alpha)
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "capturable": capturable,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _init_state(self, group: dict[str, Any], p: Any, grad: Any) -> dict[str, Any]:
        state = {"step": _scalar(0.0), "square_avg": _zeros(p)}
        if group["momentum"] > 0:
            state["momentum_buffer"] = _zeros(p)
        if group["centered"]:
            state["grad_avg"] = _zeros(p)
        return state

    def _fused_rule(self, group: dict[str, Any]) -> tuple[str, tuple[str, ...], tuple[Any, ...]] | None:
        momentum, centered = group["momentum"], group["centered"]
        names = ["square_avg"] + ["grad_avg"] * bool(centered) + ["momentum_buffer"] * (momentum > 0)
        return "rmsprop", tuple(names), (
            _number(group["lr"]), group["maximize"], group["weight_decay"], False, group["alpha"], group["eps"],
            momentum, centered,
        )

    def _update(self, group: dict[str, Any], items: list[Item]) -> None:
        lr, alpha, eps, momentum = _number(group["lr"]), group["alpha"], group["eps"], group["momentum"]
        weight_decay, centered = group["weight_decay"], group["centered"]
        for p, grad, state in items:
            square_avg, step = state["square_avg"], state["step"]
            step += 1
            if weight_decay != 0:
                grad = grad.add(p, alpha=weight_decay)
            square_avg.mul_(alpha).addcmul_(grad, grad, value=1 - alpha)
            if centered:
                grad_avg = state["grad_avg"]
                grad_avg.lerp_(grad, 1 - alpha)
                avg = square_avg.addcmul(grad_avg, grad_avg, value=-1).sqrt_().add_(eps)
            else:
                avg = square_avg.sqrt().add_(eps)
            if momentum > 0:
                buffer = state["momentum_buffer"]
                buffer.mul_(momentum).addcdiv_(grad, avg)
                p.add_(buffer, alpha=-lr)
            else:
                p.addcdiv_(grad, avg, value=-lr)
