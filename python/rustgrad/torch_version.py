"""The version of PyTorch whose interface this library has, as ``torch.__version__`` gives it."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["TorchVersion"]

_PEP440 = re.compile(
    r"v?(?P<release>\d+(?:\.\d+)*)"
    r"(?:[-_.]?(?P<stage>alpha|beta|preview|pre|rc|a|b|c)[-_.]?(?P<stage_n>\d*))?"
    r"(?:(?:[-_.]?(?P<post>post|rev|r)[-_.]?(?P<post_n>\d*))|-(?P<post_short>\d+))?"
    r"(?:[-_.]?(?P<dev>dev)[-_.]?(?P<dev_n>\d*))?"
    r"(?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?",
    re.IGNORECASE,
)
_STAGES = {"alpha": 0, "a": 0, "beta": 1, "b": 1, "c": 2, "rc": 2, "pre": 2, "preview": 2}


def _key(text: str) -> tuple[Any, ...]:
    """Orders versions: 1.0.dev1 < 1.0a1 < 1.0 = 1.0.0 < 1.0+local < 1.0.post1."""
    match = _PEP440.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"Invalid version: {text!r}")
    release = [int(n) for n in match["release"].split(".")]
    while len(release) > 1 and release[-1] == 0:
        release.pop()
    stage = (_STAGES[match["stage"].lower()], int(match["stage_n"] or 0)) if match["stage"] else None
    post = int(match["post_n"] or match["post_short"] or 0) if match["post"] or match["post_short"] else -1
    dev = int(match["dev_n"] or 0) if match["dev"] else None
    if stage is None:
        stage = (-1, 0) if dev is not None and post < 0 else (3, 0)
    local = re.split(r"[-_.]", (match["local"] or "").lower())
    parts = [(1, int(p), "") if p.isdigit() else (0, 0, p) for p in local] if match["local"] else []
    return (release, stage, post, (1, 0) if dev is None else (0, dev), parts)


class TorchVersion(str):
    """A version string that compares as a version: with strings, and with tuples such as ``(2, 0)``."""

    def _compare(self, other: Any, name: str) -> Any:
        try:
            if isinstance(other, str):
                theirs = _key(other)
            elif hasattr(other, "__iter__"):
                theirs = _key(".".join(str(item) for item in other))
            else:
                return NotImplemented
        except ValueError:
            if name == "__eq__":
                return False
            if not isinstance(other, str):
                raise
            return bool(getattr(str(self), name)(other))
        return bool(getattr(_Ordered(_key(str(self))), name)(_Ordered(theirs)))

    def __lt__(self, other: Any) -> bool:
        return self._compare(other, "__lt__")  # type: ignore[no-any-return]

    def __le__(self, other: Any) -> bool:
        return self._compare(other, "__le__")  # type: ignore[no-any-return]

    def __gt__(self, other: Any) -> bool:
        return self._compare(other, "__gt__")  # type: ignore[no-any-return]

    def __ge__(self, other: Any) -> bool:
        return self._compare(other, "__ge__")  # type: ignore[no-any-return]

    def __eq__(self, other: Any) -> bool:
        return self._compare(other, "__eq__")  # type: ignore[no-any-return]

    def __ne__(self, other: Any) -> bool:
        equal = self._compare(other, "__eq__")
        return equal if equal is NotImplemented else not equal

    __hash__ = str.__hash__


class _Ordered(tuple[Any, ...]):
    """A key as a tuple, so that the comparison methods exist by name."""


__version__ = TorchVersion("2.13.0+rustgrad")
