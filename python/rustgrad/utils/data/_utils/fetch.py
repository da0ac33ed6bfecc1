"""From indices to a collated batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import rustgrad as rg

from ..dataset import Subset, TensorDataset
from .collate import default_collate


class _MapDatasetFetcher:
    """Looks samples up by index."""

    def __init__(self, dataset: Any, auto_collation: bool, collate_fn: Callable[[Any], Any], drop_last: bool) -> None:
        self.dataset = dataset
        self.auto_collation = auto_collation
        self.collate_fn = collate_fn
        self.drop_last = drop_last
        self._rows = _rows_of(dataset) if auto_collation and collate_fn is default_collate else None

    def fetch(self, index: Any) -> Any:
        if not self.auto_collation:
            return self.collate_fn(self.dataset[index])
        if self._rows is not None and index and all(type(i) is int for i in index):
            # Rows of tensors: one gather instead of many rows and a stack.
            tensors, chain = self._rows
            for indices in chain:
                index = [indices[i] for i in index]
            if all(type(i) is int for i in index):
                rows = rg.tensor(index)
                return [t[rows] for t in tensors]
            return self.collate_fn([tuple(t[i] for t in tensors) for i in index])
        getitems = getattr(self.dataset, "__getitems__", None)
        if getitems:
            return self.collate_fn(getitems(index))
        dataset = self.dataset
        return self.collate_fn([dataset[i] for i in index])


def _rows_of(dataset: Any) -> tuple[Any, list[Any]] | None:
    """The tensors under (subsets of) a plain TensorDataset, and the index lists on the way to it."""
    chain = []
    while type(dataset) is Subset:
        chain.append(dataset.indices)
        dataset = dataset.dataset
    if type(dataset) is not TensorDataset:
        return None
    if any(type(t) is not rg.Tensor or t.requires_grad for t in dataset.tensors):
        return None
    return dataset.tensors, chain


class _IterableDatasetFetcher:
    """Takes samples from a stream."""

    def __init__(self, dataset: Any, auto_collation: bool, collate_fn: Callable[[Any], Any], drop_last: bool) -> None:
        self.dataset_iter = iter(dataset)
        self.auto_collation = auto_collation
        self.collate_fn = collate_fn
        self.drop_last = drop_last
        self.ended = False

    def fetch(self, index: Any) -> Any:
        if self.ended:
            raise StopIteration
        if not self.auto_collation:
            return self.collate_fn(next(self.dataset_iter))
        data = []
        for _ in index:
            try:
                data.append(next(self.dataset_iter))
            except StopIteration:
                self.ended = True
                break
        if len(data) == 0 or (self.drop_last and len(data) < len(index)):
            raise StopIteration
        return self.collate_fn(data)
