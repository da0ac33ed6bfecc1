"""SummaryWriter, from the package tensorboardX where it is installed."""

from __future__ import annotations

from typing import Any

import rustgrad as rg

try:
    from tensorboardX import SummaryWriter as _Base
except ImportError as error:
    raise ImportError("torch.utils.tensorboard needs the package tensorboardX: pip install tensorboardX") from error

__all__ = ["SummaryWriter"]


def _plain(value: Any) -> Any:
    """Tensors as NumPy arrays, in containers too."""
    if isinstance(value, rg.Tensor):
        return value.detach().cpu().float().numpy() if value.dtype == rg.bfloat16 else value.detach().cpu().numpy()
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(v) for v in value)
    return value


class SummaryWriter(_Base):  # type: ignore[misc]
    """tensorboardX's writer, which takes this library's tensors too."""

    def __getattribute__(self, name: str) -> Any:
        attribute = super().__getattribute__(name)
        if not name.startswith("add_") or name == "add_graph" or not callable(attribute):
            return attribute
        return lambda *args, **kwargs: attribute(*_plain(args), **_plain(kwargs))
