"""`Variable`, the name tensors had once."""

from __future__ import annotations

from typing import Any

import rustgrad as rg

__all__ = ["Variable"]


class _VariableMeta(type):
    def __instancecheck__(cls, other: object) -> bool:
        return isinstance(other, rg.Tensor)


class Variable(metaclass=_VariableMeta):
    """Variable(tensor, requires_grad=False) is a tensor; isinstance answers for tensors."""

    def __new__(cls, data: Any = None, requires_grad: bool = False, volatile: Any = None) -> Any:
        if data is None:
            data = rg.empty(0)
        return data.detach().requires_grad_(requires_grad)
