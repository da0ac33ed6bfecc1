"""Distributions given by probabilities or by logits; the other is computed when it is asked for."""

from __future__ import annotations

from typing import Any

from .distribution import Distribution
from .normal import _is_number
from .utils import broadcast_all, lazy_property, logits_to_probs, probs_to_logits


def check_one(probs: Any, logits: Any) -> None:
    """ValueError unless exactly one is given."""
    if (probs is None) == (logits is None):
        raise ValueError("Either `probs` or `logits` must be specified, but not both.")


class BinaryParameters(Distribution):
    """`probs` or `logits` of an event that happens or not."""

    _binary = True

    def _set(self, probs: Any, logits: Any) -> Any:
        """Keep what was given; answers the batch shape."""
        check_one(probs, logits)
        value = logits if probs is None else probs
        (tensor,) = broadcast_all(value)
        setattr(self, "logits" if probs is None else "probs", tensor)
        self._param = tensor
        return () if _is_number(value) else tensor.size()

    def _expand(self, cls: type, batch_shape: Any, _instance: Any, *names: str) -> Any:
        new = self._expand_parameters(cls, batch_shape, _instance, "probs", "logits", *names)
        new._param = new.__dict__.get("probs", new.__dict__.get("logits"))
        return new

    @lazy_property
    def logits(self) -> Any:
        """The log odds (or log probabilities)."""
        return probs_to_logits(self.probs, is_binary=self._binary)

    @lazy_property
    def probs(self) -> Any:
        """The probabilities."""
        return logits_to_probs(self.logits, is_binary=self._binary)

    @property
    def param_shape(self) -> Any:
        """The shape of the parameter."""
        return self._param.size()
