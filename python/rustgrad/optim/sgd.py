"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

import rustgrad as rg
from rustgrad import _core

from .optimizer import Item, ParamsT, _check_fused, _number, _PerParameter

__all__ = ["SGD"]

class SGD(_PerParameter):
    """Gradient descent with optional momentum (heavy ball or Nesterov) and weight decay."""

    _group_defaults = {"nesterov": False, "maximize": False, "foreach": None, "differentiable": False, "fused": None}

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: Any = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        if isinstance(lr, rg.Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if lr < 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if momentum < 0.0:
            raise ValueError(f"Invalid momentum value: {momentum}")
        if weight_decay < 0.0:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        _check_fused(fused, foreach, differentiable)

    def _gather(self, group: dict[str, Any]) -> list[Item]:
        keeps_state, all_state = group["momentum"] != 0, self.state
        items = []
        for p in group["params"]:
            grad = p.grad
            if grad is not None:  # without momentum no state comes into being
                items.append((p, grad, all_state[p] if keeps_state else {}))
        return items

    def _fused_step(self, group: dict[str, Any], items: list[Item]) -> bool:
        if self.defaults["differentiable"]:
            return False
        momentum = group["momentum"]
        options = (_number(group["lr"]), group["maximize"], _number(group["weight_decay"]), False, momentum,
                   group["dampening"], group["nesterov"])
        if momentum == 0:
            params, grads, _ = zip(*items, strict=True)
            done: bool = _core._optim_step("sgd", params, grads, (), (), (), (), (*options, False))
            return done
        # Parameters without a buffer get one, which starts as the gradient.
        for first in (False, True):
            part = [item for item in items if (item[2].get("momentum_buffer") is None) == first]
            if part:
                params, grads, states = zip(*part, strict=True)
                pairs = zip(grads, states, strict=True)
                buffers = [rg.empty_like(g) if first else s["momentum_buffer"] for g, s in pairs]
                if not _core._optim_step("sgd", params, grads, buffers, (), (), (), (*options, first)):
                    return False
                if first:
                    for state, buffer in zip(states, buffers, strict=True):
                        state["momentum_buffer"] = buffer
                    break
        return True

    def _update(self, group: dict[str, Any], items: list[Item]) -> None:
        lr, momentum, nesterov = group["lr"], group["momentum"], group["nesterov"]
        weight_decay, dampening = group["weight_decay"], group["dampening"]
        differentiable = self.defaults["differentiable"]
        if not (differentiable and isinstance(lr, rg.Tensor)):
            lr = _number(lr)
        for p, grad, state in items:
            if weight_decay != 0:
                grad = grad.add(p, alpha=weight_decay)
            if momentum != 0:
                buffer = state.get("momentum_buffer")
                if buffer is None:
                    buffer = state["momentum_buffer"] = grad.detach().clone()
                else:
                    buffer.mul_(momentum).add_(grad, alpha=1 - dampening)
                grad = grad.add(buffer, alpha=momentum) if nesterov else buffer
            if isinstance(lr, rg.Tensor):
                p.addcmul_(grad, -lr)
            else:
                p.add_(grad, alpha=-lr)
