"""Handles that remove a registered hook."""

from __future__ import annotations

import itertools
import weakref
from collections import OrderedDict
from typing import Any

_next_id = itertools.count()


class RemovableHandle:
    """Removes one hook from the dict that holds it; usable as a context manager."""

    id: int

    def __init__(self, hooks_dict: dict[int, Any], *, extra_dict: Any = None) -> None:
        self.hooks_dict_ref = weakref.ref(hooks_dict)
        self.id = next(_next_id)
        extra = [] if extra_dict is None else extra_dict if isinstance(extra_dict, (list, tuple)) else [extra_dict]
        self.extra_dict_ref = tuple(weakref.ref(d) for d in extra)

    def remove(self) -> None:
        """Remove the hook; a second call does nothing."""
        for ref in (self.hooks_dict_ref, *self.extra_dict_ref):
            hooks = ref()
            if hooks is not None:
                hooks.pop(self.id, None)

    def __getstate__(self) -> tuple[Any, int]:
        return self.hooks_dict_ref(), self.id

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        hooks = state[0]
        # An OrderedDict of our own stands in for a dict that was gone when the handle was pickled.
        self.hooks_dict_ref = weakref.ref(OrderedDict() if hooks is None else hooks)
        self.id = state[1]
        self.extra_dict_ref = ()

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()
