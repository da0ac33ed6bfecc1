"""From constraints to the transforms that reach them from unconstrained numbers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import constraints, transforms

__all__ = ["ConstraintRegistry", "biject_to", "transform_to"]


class ConstraintRegistry:
    """Calls, for a constraint, the factory registered for its class."""

    def __init__(self) -> None:
        self._registry: dict[type, Callable[[Any], Any]] = {}

    def register(self, constraint: Any, factory: Callable[[Any], Any] | None = None) -> Callable[[Any], Any]:
        """Register a factory for the class of a constraint; without one, a decorator."""
        if factory is None:
            return lambda f: self.register(constraint, f)
        cls = constraint if isinstance(constraint, type) else type(constraint)
        if not issubclass(cls, constraints.Constraint):
            raise TypeError(
                f"Expected constraint to be either a Constraint subclass or instance, but got {constraint}"
            )
        self._registry[cls] = factory
        return factory

    def __call__(self, constraint: Any) -> Any:
        factory = self._registry.get(type(constraint))
        if factory is None:
            raise NotImplementedError(f"Cannot transform {type(constraint).__name__} constraints")
        return factory(constraint)


biject_to = ConstraintRegistry()
transform_to = ConstraintRegistry()

for _registry in (biject_to, transform_to):
    _registry.register(constraints._Real, lambda c: transforms.identity_transform)

    @_registry.register(constraints._GreaterThan)
    @_registry.register(constraints._GreaterThanEq)
    def _above(c: Any) -> Any:
        return transforms.ComposeTransform([transforms.ExpTransform(), transforms.AffineTransform(c.lower_bound, 1)])

    @_registry.register(constraints._LessThan)
    def _below(c: Any) -> Any:
        return transforms.ComposeTransform([transforms.ExpTransform(), transforms.AffineTransform(c.upper_bound, -1)])

    @_registry.register(constraints._Interval)
    @_registry.register(constraints._HalfOpenInterval)
    def _between(c: Any) -> Any:
        if (c.lower_bound, c.upper_bound) == (0, 1):
            return transforms.SigmoidTransform()
        affine = transforms.AffineTransform(c.lower_bound, c.upper_bound - c.lower_bound)
        return transforms.ComposeTransform([transforms.SigmoidTransform(), affine])

    _registry.register(constraints._LowerCholesky, lambda c: transforms.LowerCholeskyTransform())


@biject_to.register(constraints._IndependentConstraint)
def _biject_independent(c: Any) -> Any:
    return transforms.IndependentTransform(biject_to(c.base_constraint), c.reinterpreted_batch_ndims)


@transform_to.register(constraints._IndependentConstraint)
def _transform_independent(c: Any) -> Any:
    return transforms.IndependentTransform(transform_to(c.base_constraint), c.reinterpreted_batch_ndims)


biject_to.register(constraints._Simplex, lambda c: transforms.StickBreakingTransform())
transform_to.register(constraints._Simplex, lambda c: transforms.SoftmaxTransform())
