"""The gamma distribution, and chi-squared."""

from __future__ import annotations

from typing import Any

import rustgrad as rg

from . import constraints
from .exp_family import ExponentialFamily
from .normal import _is_number
from .utils import broadcast_all, standard_gamma

__all__ = ["Gamma"]


class Gamma(ExponentialFamily):
    """The gamma distribution with mean concentration / rate."""

    arg_constraints: dict[str, Any] = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = broadcast_all(concentration, rate)
        shape = () if _is_number(concentration, rate) else self.concentration.size()
        super().__init__(shape, validate_args=validate_args)

    @property
    def mean(self) -> Any:
        return self.concentration / self.rate

    @property
    def mode(self) -> Any:
        return ((self.concentration - 1) / self.rate).clamp(min=0)

    @property
    def variance(self) -> Any:
        return self.concentration / self.rate.pow(2)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return self._expand_parameters(Gamma, batch_shape, _instance, "concentration", "rate")

    def rsample(self, sample_shape: Any = ()) -> Any:
        shape = self._extended_shape(sample_shape)
        value = standard_gamma(self.concentration.expand(shape)) / self.rate.expand(shape)
        value.detach().clamp_(min=rg.finfo(value.dtype).tiny)
        return value

    def log_prob(self, value: Any) -> Any:
        value = rg.as_tensor(value, dtype=self.rate.dtype, device=self.rate.device)
        if self._validate_args:
            self._validate_sample(value)
        return (
            rg.xlogy(self.concentration, self.rate)
            + rg.xlogy(self.concentration - 1, value)
            - self.rate * value
            - rg.lgamma(self.concentration)
        )

    def cdf(self, value: Any) -> Any:
        if self._validate_args:
            self._validate_sample(value)
        return rg.special.gammainc(self.concentration, self.rate * value)

    def entropy(self) -> Any:
        return (
            self.concentration
            - rg.log(self.rate)
            + rg.lgamma(self.concentration)
            + (1.0 - self.concentration) * rg.digamma(self.concentration)
        )
