"""rustgrad: PyTorch-compatible tensors, differentiation and deep learning in one small wheel.

`import rustgrad as torch` and go on as before. Names, signatures, dtype rules, printing and the CPU's random
stream are PyTorch's.
"""

from __future__ import annotations

import math as _math
from typing import TYPE_CHECKING, Any

from . import _core, _legacy, _types
from ._core import Generator as Generator
from ._core import Tensor as Tensor
from ._core import device as device
from ._core import dtype as dtype
from ._core import memory_format as memory_format
from ._core import _addmm_activation as _addmm_activation
from ._types import Size as Size
from ._types import return_types as return_types
from .torch_version import TorchVersion as TorchVersion

__version__ = TorchVersion("2.13.0+rustgrad")

_core._set_classes(Size, return_types)
return_types.define(_core._named_results())

if TYPE_CHECKING:
    from ._core import *

    FloatTensor: Any
    DoubleTensor: Any
    HalfTensor: Any
    BFloat16Tensor: Any
    ByteTensor: Any
    CharTensor: Any
    ShortTensor: Any
    IntTensor: Any
    LongTensor: Any
    BoolTensor: Any
# The core's functions, dtypes and formats under their own names.
for _name in dir(_core):
    if not _name.startswith("_") and not isinstance(getattr(_core, _name), type(_core)):
        globals()[_name] = getattr(_core, _name)
from . import version as version  # noqa: E402

_legacy.define(globals())


class layout:
    """How elements are stored: torch.strided, torch.sparse_coo."""

    __module__ = "torch"

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"torch.{self._name}"

    def __reduce__(self) -> str:
        return self._name


strided = layout("strided")
sparse_coo = layout("sparse_coo")
sparse_csr = layout("sparse_csr")
legacy_contiguous_format = _core.contiguous_format
inf, nan, pi, e = _math.inf, _math.nan, _math.pi, _math.e
newaxis = None

from . import _tensor  # noqa: E402

_tensor.attach()

from . import autograd as autograd  # noqa: E402
from . import nn as nn  # noqa: E402
from . import optim as optim  # noqa: E402
from . import random as random  # noqa: E402
from . import serialization as serialization  # noqa: E402
from . import storage as storage  # noqa: E402
from . import utils as utils  # noqa: E402
from . import functional as functional  # noqa: E402
from ._functions import *  # noqa: E402, F403
from ._tensor_str import set_printoptions as set_printoptions  # noqa: E402
from .autograd import enable_grad as enable_grad  # noqa: E402
from .autograd import inference_mode as inference_mode  # noqa: E402
from .autograd import no_grad as no_grad  # noqa: E402
from .autograd import set_grad_enabled as set_grad_enabled  # noqa: E402
from .functional import einsum as einsum  # type: ignore[no-redef] # noqa: E402
from .functional import tensordot as tensordot  # type: ignore[assignment] # noqa: E402
from .random import fork_rng as fork_rng  # noqa: E402
from .random import get_rng_state as get_rng_state  # noqa: E402
from .random import initial_seed as initial_seed  # noqa: E402
from .random import manual_seed as manual_seed  # noqa: E402
from .random import seed as seed  # noqa: E402
from .random import set_rng_state as set_rng_state  # noqa: E402
from .serialization import load as load  # noqa: E402
from .serialization import save as save  # noqa: E402
from .storage import UntypedStorage as UntypedStorage  # noqa: E402

# Subpackages that few programs use load when they are asked for.
_LAZY = {
    "accelerator", "amp", "backends", "compiler", "cpu", "cuda", "distributed", "distributions", "fft", "func", "gpu",
    "hub", "jit", "linalg", "mps", "multiprocessing", "onnx", "overrides", "profiler", "quasirandom", "safetensors",
    "signal", "sparse", "special", "testing", "types", "xpu", "run", "masked", "torch_version", "nested", "fx",
    "export",
}
_LAZY_NAMES = {
    "autocast": ("amp", "autocast"), "GradScaler": ("amp", "GradScaler"), "compile": ("compiler", "compile"),
    "vmap": ("func", "vmap"), "sparse_coo_tensor": ("sparse", "sparse_coo_tensor"),
    "lstm_cell": ("nn._rnn", "lstm_cell"), "gru_cell": ("nn._rnn", "gru_cell"),
    "rnn_tanh_cell": ("nn._rnn", "rnn_tanh_cell"), "rnn_relu_cell": ("nn._rnn", "rnn_relu_cell"),
}
if TYPE_CHECKING:
    # What the above gives: a name that is in neither is unknown to type checkers.
    from . import accelerator as accelerator
    from . import amp as amp
    from . import backends as backends
    from . import compiler as compiler
    from . import cpu as cpu
    from . import cuda as cuda
    from . import distributed as distributed
    from . import distributions as distributions
    from . import fft as fft
    from . import func as func
    from . import fx as fx
    from . import gpu as gpu
    from . import hub as hub
    from . import jit as jit
    from . import linalg as linalg
    from . import mps as mps
    from . import multiprocessing as multiprocessing
    from . import profiler as profiler
    from . import run as run
    from . import safetensors as safetensors
    from . import special as special
    from . import xpu as xpu
    from .amp import GradScaler as GradScaler
    from .amp import autocast as autocast
    from .compiler import compile as compile
    from .func.vmap import vmap as vmap
    from .nn._rnn import gru_cell as gru_cell
    from .nn._rnn import lstm_cell as lstm_cell
    from .nn._rnn import rnn_relu_cell as rnn_relu_cell
    from .nn._rnn import rnn_tanh_cell as rnn_tanh_cell


def _load(name: str) -> Any:
    import importlib

    if name in _LAZY:
        try:
            return importlib.import_module(f"{__name__}.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.{name}":
                raise
    elif name in _LAZY_NAMES:
        module, attribute = _LAZY_NAMES[name]
        try:
            value = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.{module}":
                raise
        else:
            globals()[name] = value
            return value
    raise AttributeError(f"module 'torch' has no attribute '{name}'")


if not TYPE_CHECKING:
    __getattr__ = _load


def __dir__() -> list[str]:
    return sorted(set(globals()) | _LAZY_NAMES.keys())

