"""The Dirichlet distribution."""

from __future__ import annotations

from typing import Any

import rustgrad as rg

from . import constraints
from .exp_family import ExponentialFamily
from .utils import standard_gamma

__all__ = ["Dirichlet"]


class Dirichlet(ExponentialFamily):
    """The Dirichlet distribution over the simplex; the last dimension of `concentration` is the event."""

    arg_constraints = {"concentration": constraints.independent(constraints.positive, 1)}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, concentration: Any, validate_args: bool | None = None) -> None:
        if concentration.dim() < 1:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        super().__init__(concentration.shape[:-1], concentration.shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(Dirichlet, _instance)
        new.concentration = self.concentration.expand(tuple(batch_shape) + tuple(self.event_shape))
        self._finish_expand(new, Dirichlet, batch_shape, self.event_shape)
        return new

    def rsample(self, sample_shape: Any = ()) -> Any:
        draws = standard_gamma(self.concentration.expand(self._extended_shape(sample_shape)))
        return draws / draws.sum(-1, keepdim=True)

    def log_prob(self, value: Any) -> Any:
        if self._validate_args:
            self._validate_sample(value)
        c = self.concentration
        return rg.xlogy(c - 1.0, value).sum(-1) + rg.lgamma(c.sum(-1)) - rg.lgamma(c).sum(-1)

    @property
    def mean(self) -> Any:
        return self.concentration / self.concentration.sum(-1, True)

    @property
    def mode(self) -> Any:
        above = (self.concentration - 1).clamp(min=0.0)
        mode = above / above.sum(-1, True)
        inside = (self.concentration < 1).all(dim=-1)
        if bool(inside.any()):
            corner = rg.nn.functional.one_hot(mode[inside].argmax(dim=-1), above.shape[-1]).to(mode)
            mode = mode.clone()
            mode[inside] = corner
        return mode

    @property
    def variance(self) -> Any:
        total = self.concentration.sum(-1, True)
        return self.concentration * (total - self.concentration) / (total.pow(2) * (total + 1))

    def entropy(self) -> Any:
        k, c = self.concentration.size(-1), self.concentration
        total = c.sum(-1)
        return (
            rg.lgamma(c).sum(-1)
            - rg.lgamma(total)
            - (k - total) * rg.digamma(total)
            - ((c - 1.0) * rg.digamma(c)).sum(-1)
        )
