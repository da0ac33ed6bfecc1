"""What the loader and its worker processes share."""

from __future__ import annotations

import sys
import traceback
from typing import Any, NoReturn

# How often, in seconds, a process looks whether the other side still lives.
MP_STATUS_CHECK_INTERVAL = 5.0


class KeyErrorMessage(str):
    """A message whose repr is its text, so that a KeyError shows its lines as lines."""

    def __repr__(self) -> str:
        return str(self)


class ExceptionWrapper:
    """An exception and its traceback as text, to be raised again in another process."""

    def __init__(self, exc_info: Any = None, where: str = "in background") -> None:
        info = sys.exc_info() if exc_info is None else exc_info
        self.exc_type: Any = info[0]
        self.exc_msg = "".join(traceback.format_exception(*info))
        self.where = where

    def reraise(self) -> NoReturn:
        """Raise the exception with the original traceback in its message."""
        message = f"Caught {self.exc_type.__name__} {self.where}.\nOriginal {self.exc_msg}"
        if self.exc_type is KeyError:
            message = KeyErrorMessage(message)
        elif getattr(self.exc_type, "message", None):
            raise self.exc_type(message=message)
        try:
            exception = self.exc_type(message)
        except Exception:
            # Some exceptions cannot be made from one string.
            raise RuntimeError(message) from None
        raise exception


from . import collate as collate  # noqa: E402
from . import fetch as fetch  # noqa: E402
from . import worker as worker  # noqa: E402
