"""Student's t distribution."""

from __future__ import annotations

import math
from typing import Any

import rustgrad as rg

from . import constraints
from .chi2 import Chi2
from .distribution import Distribution
from .normal import _is_number
from .utils import broadcast_all, standard_normal

__all__ = ["StudentT"]


class StudentT(Distribution):
    """Student's t with `df` degrees of freedom, shifted and scaled."""

    arg_constraints = {"df": constraints.positive, "loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, df: Any, loc: Any = 0.0, scale: Any = 1.0, validate_args: bool | None = None) -> None:
        self.df, self.loc, self.scale = broadcast_all(df, loc, scale)
        self._chi2 = Chi2(self.df)
        super().__init__(() if _is_number(df, loc, scale) else self.df.size(), validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._expand_parameters(StudentT, batch_shape, _instance, "df", "loc", "scale")
        new._chi2 = self._chi2.expand(batch_shape)
        return new

    @property
    def mean(self) -> Any:
        mean = self.loc.clone(memory_format=rg.contiguous_format)
        mean[self.df <= 1] = math.nan
        return mean

    @property
    def mode(self) -> Any:
        return self.loc

    @property
    def variance(self) -> Any:
        df = self.df
        variance = rg.where(df > 2, self.scale.pow(2) * df / (df - 2), rg.full_like(df, math.inf))
        return rg.where(df > 1, variance, rg.full_like(df, math.nan))

    def rsample(self, sample_shape: Any = ()) -> Any:
        x = standard_normal(self._extended_shape(sample_shape), self.df.dtype, self.df.device)
        z = self._chi2.rsample(sample_shape)
        return self.loc + self.scale * (x * rg.rsqrt(z / self.df))

    def log_prob(self, value: Any) -> Any:
        if self._validate_args:
            self._validate_sample(value)
        y = (value - self.loc) / self.scale
        z = (
            self.scale.log()
            + 0.5 * self.df.log()
            + 0.5 * math.log(math.pi)
            + rg.lgamma(0.5 * self.df)
            - rg.lgamma(0.5 * (self.df + 1.0))
        )
        return -0.5 * (self.df + 1.0) * rg.log1p(y**2.0 / self.df) - z

    def entropy(self) -> Any:
        half = 0.5 * self.df
        beta = rg.lgamma(half) + math.lgamma(0.5) - rg.lgamma(0.5 * (self.df + 1))
        return (
            self.scale.log()
            + 0.5 * (self.df + 1) * (rg.digamma(0.5 * (self.df + 1)) - rg.digamma(half))
            + 0.5 * self.df.log()
            + beta
        )
