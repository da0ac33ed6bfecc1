"""Adagrad."""

from __future__ import annotations

from typing import Any

import rustgrad as rg

from .optimizer import (
    Item,
    ParamsT,
    _check_fused,
    _check_lr,
    _check_nonnegative,
    _get_scalar_dtype,
    _number,
    _PerParameter,
)

__all__ = ["Adagrad"]


class Adagrad(_PerParameter):
    """Divides the gradient by the root of the sum of all its squares so far."""

    _group_defaults = {"foreach": None, "maximize": False, "differentiable": False, "fused": None}

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        _check_lr(lr)
        _check_nonnegative("lr_decay", lr_decay)
        _check_nonnegative("weight_decay", weight_decay)
        _check_nonnegative("initial_accumulator_value", initial_accumulator_value)
        if not eps >= 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        _check_fused(fused, foreach, differentiable)
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p].update(self._init_state(group, p, None))

    def _init_state(self, group: dict[str, Any], p: Any, grad: Any) -> dict[str, Any]:
        start = group["initial_accumulator_value"]
        return {
            "step": rg.tensor(0.0, dtype=_get_scalar_dtype(group["fused"])),
            "sum": rg.full_like(p, start, memory_format=rg.preserve_format),
        }

    def share_memory(self) -> None:
        """Move the state to shared memory."""
        for state in self.state.values():
            state["sum"].share_memory_()

    def _fused_rule(self, group: dict[str, Any]) -> tuple[str, tuple[str, ...], tuple[Any, ...]] | None:
        return "adagrad", ("sum",), (
            _number(group["lr"]), group["maximize"], group["weight_decay"], False, group["lr_decay"], group["eps"]
        )

    def _update(self, group: dict[str, Any], items: list[Item]) -> None:
        lr, lr_decay, eps = _number(group["lr"]), group["lr_decay"], group["eps"]
        weight_decay = group["weight_decay"]
        for p, grad, state in items:
            total, step = state["sum"], state["step"]
            step += 1
            if weight_decay != 0:
                grad = grad.add(p, alpha=weight_decay)
            rate = lr / (1 + (step.item() - 1) * lr_decay)
            total.addcmul_(grad, grad, value=1)
            p.addcdiv_(grad, total.sqrt().add_(eps), value=-rate)
