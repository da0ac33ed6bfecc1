"""Hooks on saved tensors: accepted as contexts; tensors are kept where they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import rustgrad as rg

__all__ = ["saved_tensors_hooks", "save_on_cpu", "disable_saved_tensors_hooks"]


def _accumulator(leaf: Any) -> Any:
    """The node that adds gradients to a leaf; equal for every handle of the same leaf."""
    with rg.enable_grad():
        return leaf.view_as(leaf).grad_fn.next_functions[0][0]


class saved_tensors_hooks:
    """Not supported: entering raises NotImplementedError."""

    def __init__(self, pack_hook: Callable[[Any], Any], unpack_hook: Callable[[Any], Any]) -> None:
        self.pack_hook = pack_hook
        self.unpack_hook = unpack_hook

    def __enter__(self) -> None:
        raise NotImplementedError(
            "rustgrad does not run hooks on saved tensors; use torch.utils.checkpoint to recompute activations"
        )

    def __exit__(self, *exc: object) -> None:
        pass


class save_on_cpu:
    """Saved tensors of CPU tensors are on the CPU already."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        self.pin_memory = pin_memory

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        pass


@contextmanager
def disable_saved_tensors_hooks(error_message: str) -> Iterator[None]:
    """There are no such hooks to disable."""
    yield
