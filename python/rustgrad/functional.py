"""Functions whose arguments need sorting out before the core sees them: torch.functional."""

from __future__ import annotations

import string
from typing import Any

from . import _core

_LETTERS = string.ascii_uppercase + string.ascii_lowercase


def _subscripts(labels: Any) -> str:
    out = []
    for label in labels:
        if label is Ellipsis:
            out.append("...")
        elif 0 <= label < len(_LETTERS):
            out.append(_LETTERS[label])
        else:
            raise ValueError("einsum(): subscript in subscript list is not within the valid range [0, 52)")
    return "".join(out)


def einsum(*args: Any) -> Any:
    """Sums of products over labelled dimensions: einsum("ij,jk->ik", a, b) or einsum(a, [0, 1], b, [1, 2], [0, 2])."""
    if len(args) < 2:
        raise ValueError("einsum(): must specify the equation string and at least one operand, or at least one operand "
                         "and its subscripts list")
    if isinstance(args[0], str):
        equation, operands = args[0], args[1:]
    else:
        # Operands and lists of labels in turn; a list left over is that of the result.
        equation = ",".join(_subscripts(labels) for labels in args[1::2])
        if len(args) % 2:
            equation += "->" + _subscripts(args[-1])
        operands = args[:-1:2] if len(args) % 2 else args[::2]
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        return einsum(equation, *operands[0])
    return _core.einsum(equation, list(operands))


def tensordot(a: Any, b: Any, dims: Any = 2, out: Any = None) -> Any:
    """Products summed over the last `dims` dimensions of `a` and the first of `b`, or over given dimensions of each."""
    if isinstance(dims, _core.Tensor):
        if dims.numel() > 1:
            if dims.shape[0] != 2:
                raise AssertionError(f"dims tensor must have size 2 in dim 0, got {dims.shape[0]}")
            dims = dims.tolist()
        else:
            dims = int(dims.item())
    if isinstance(dims, (list, tuple)):
        left, right = ([d] if isinstance(d, int) else list(d) for d in (dims[0], dims[1]))
    else:
        if not isinstance(dims, int):
            raise RuntimeError("tensordot expects dims to be int or tuple[list[int], list[int]] or list[list[int]] "
                               f"containing two lists, but got dims={dims}")
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a.dim(), b.dim()):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        left, right = list(range(-dims, 0)), list(range(dims))
    return _core._tensordot(a, b, left, right, out=out)
