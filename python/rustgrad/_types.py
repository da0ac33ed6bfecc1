"""Size and the named results of ops with several outputs: the classes the core makes instances of."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, SupportsIndex


class Size(tuple[int, ...]):
    """The shape of a tensor: a tuple of sizes."""

    __module__ = "torch"
    __slots__ = ()

    def numel(self) -> int:
        """The number of elements."""
        n = 1
        for s in self:
            n *= s
        return n

    def __repr__(self) -> str:
        return f"torch.Size([{', '.join(map(str, self))}])"

    __str__ = __repr__

    def __getitem__(self, index: Any) -> Any:
        item = tuple.__getitem__(self, index)
        return Size(item) if isinstance(index, slice) else item

    def __add__(self, other: Any) -> Any:
        return Size(tuple.__add__(self, tuple(other)))

    def __radd__(self, other: Any) -> Any:
        return Size(tuple.__add__(tuple(other), self))

    def __mul__(self, n: SupportsIndex) -> Any:
        return Size(tuple.__mul__(self, n))

    __rmul__ = __mul__

    def __reduce__(self) -> Any:
        return (Size, (tuple(self),))


class _Result(tuple[Any, ...]):
    """A tuple with names for its entries, printed over several lines as PyTorch does."""

    __slots__ = ()
    _fields: tuple[str, ...] = ()

    def __repr__(self) -> str:
        name = type(self).__name__
        lines = ",\n".join(f"{f}={v!r}" for f, v in zip(self._fields, self, strict=True))
        return f"torch.return_types.{name}(\n{lines})"

    def __reduce__(self) -> Any:
        return (tuple, (tuple(self),))


def _entry(i: int) -> Any:
    return property(lambda self: tuple.__getitem__(self, i))


def _result(name: str, fields: Iterable[str]) -> type[_Result]:
    names = tuple(fields)
    body: dict[str, Any] = {f: _entry(i) for i, f in enumerate(names)}
    return type(name, (_Result,), body | {"__slots__": (), "__module__": "torch.return_types", "_fields": names})


class _ReturnTypes(SimpleNamespace):
    """torch.return_types: one class for each op with named results, made from the ops' signatures."""

    def define(self, signatures: dict[str, list[str]]) -> None:
        """Make the classes of the given ops."""
        for name, fields in signatures.items():
            setattr(self, name, _result(name, fields))


return_types = _ReturnTypes()
