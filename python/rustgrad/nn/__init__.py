"""Layers, losses, containers and initial values, under torch.nn's names."""

from .parameter import (  # isort: skip
    Buffer,
    Parameter,
    UninitializedBuffer,
    UninitializedParameter,
)
from . import attention, functional, grad, init, modules, parallel, utils
from .modules import *  # noqa: F403
from .modules import __all__ as _modules_all
from .parallel import DataParallel
from .parameter import UninitializedTensorMixin as _UninitializedTensorMixin
from .utils import skip_init as _skip_init

__all__ = [  # noqa: PLE0604
    *_modules_all, "Buffer", "DataParallel", "Parameter", "UninitializedBuffer", "UninitializedParameter",
    "attention", "functional", "grad", "init", "modules", "parallel", "parameter", "utils",
]


def factory_kwargs(kwargs):  # type: ignore[no-untyped-def]
    """The `device`, `dtype` and `memory_format` among keyword arguments; TypeError for any other."""
    if kwargs is None:
        return {}
    simple = {"device", "dtype", "memory_format"}
    expected = simple | {"factory_kwargs"}
    if not kwargs.keys() <= expected:
        raise TypeError(f"unexpected kwargs {kwargs.keys() - expected}")
    given = dict(kwargs.get("factory_kwargs", {}))
    for key in simple:
        if key in kwargs:
            if key in given:
                raise TypeError(f"{key} specified twice, in **kwargs and in factory_kwargs")
            given[key] = kwargs[key]
    return given


_ = (_UninitializedTensorMixin, _skip_init)
