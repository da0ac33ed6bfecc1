"""Tensors as text, in PyTorch's format to the character.

One format is chosen for a whole tensor from the values that will be shown: whole numbers print as ``1.``, others
with a fixed number of decimals, and a wide range of magnitudes switches everything to scientific notation.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import rustgrad as rg

_ELLIPSIS = object()  # stands for the elements that a summary leaves out


@dataclasses.dataclass
class _PrinterOptions:
    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


PRINT_OPTS = _PrinterOptions()

_PROFILES: dict[str, tuple[int, float, int, int]] = {
    "default": (4, 1000, 3, 80),
    "short": (2, 1000, 2, 80),
    "full": (4, math.inf, 3, 80),
}


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors print.

    Args:
        precision: digits after the decimal point (default 4)
        threshold: tensors of more elements are summarised (default 1000)
        edgeitems: elements shown at each end of a summarised dimension (default 3)
        linewidth: characters in a line (default 80)
        profile: "default", "short" or "full"; the other arguments override it
        sci_mode: force scientific notation on (True) or off (False); None decides by the values

    Example::

        >>> torch.set_printoptions(precision=2)
        >>> torch.tensor([1.12345])
        tensor([1.12])
    """
    if profile in _PROFILES:
        PRINT_OPTS.precision, PRINT_OPTS.threshold, PRINT_OPTS.edgeitems, PRINT_OPTS.linewidth = _PROFILES[profile]
    if precision is not None:
        PRINT_OPTS.precision = precision
    if threshold is not None:
        PRINT_OPTS.threshold = threshold
    if edgeitems is not None:
        PRINT_OPTS.edgeitems = edgeitems
    if linewidth is not None:
        PRINT_OPTS.linewidth = linewidth
    PRINT_OPTS.sci_mode = sci_mode


def get_printoptions() -> dict[str, Any]:
    """The options in force, as keyword arguments of :func:`set_printoptions`."""
    return dataclasses.asdict(PRINT_OPTS)


@contextlib.contextmanager
def printoptions(**kwargs: Any) -> Iterator[None]:
    """Change the options within a ``with`` block."""
    before = get_printoptions()
    set_printoptions(**kwargs)
    try:
        yield
    finally:
        set_printoptions(**before)


class _RealFormat:
    """The format of all numbers of one tensor (or of its real or imaginary parts)."""

    def __init__(self, values: list[Any], floating: bool) -> None:
        self.floating, self.whole, self.sci, self.width = floating, True, False, 1
        if not floating:
            self.width = max((len(str(v)) for v in values), default=1)
            return
        shown = [v for v in values if v != 0 and math.isfinite(v)]
        if not shown:
            return
        self.whole = all(v == math.ceil(v) for v in shown)
        low, high = min(map(abs, shown)), max(map(abs, shown))
        wide = high / low > 1000.0 or high > 1.0e8
        self.sci = wide or (not self.whole and low < 1.0e-4)
        if PRINT_OPTS.sci_mode is not None:
            self.sci = PRINT_OPTS.sci_mode
        if self.sci:
            self.width = max(len(f"{v:.{PRINT_OPTS.precision}e}") for v in shown)
        elif self.whole:
            self.width = max(len(f"{v:.0f}") + 1 for v in shown)
        else:
            self.width = max(len(f"{v:.{PRINT_OPTS.precision}f}") for v in shown)

    def __call__(self, value: Any) -> str:
        if not self.floating:
            text = str(value)
        elif self.sci:
            text = f"{value:.{PRINT_OPTS.precision}e}"
        elif self.whole:
            text = f"{value:.0f}" + ("." if math.isfinite(value) else "")
        else:
            text = f"{value:.{PRINT_OPTS.precision}f}"
        return text.rjust(self.width)


class _ComplexFormat:
    """Real and imaginary parts each have a format of their own."""

    def __init__(self, values: list[complex]) -> None:
        self.real = _RealFormat([v.real for v in values], True)
        self.imag = _RealFormat([v.imag for v in values], True)
        self.width = self.real.width + self.imag.width + 1

    def __call__(self, value: complex) -> str:
        imag = self.imag(value.imag).lstrip() + "j"
        return self.real(value.real) + ("" if imag[0] in "+-" else "+") + imag


_Format = _RealFormat | _ComplexFormat


def _values(tensor: rg.Tensor, summarise: bool) -> Any:
    """The nested list of the elements to show, with _ELLIPSIS where a dimension is cut."""
    edge = PRINT_OPTS.edgeitems
    if not summarise or tensor.dim() == 0:
        return tensor.tolist()
    size = tensor.shape[0]
    if tensor.dim() == 1:
        if size <= 2 * edge:
            return tensor.tolist()
        tail = tensor[size - edge :].tolist() if edge else []
        return [*tensor[:edge].tolist(), _ELLIPSIS, *tail]
    if size <= 2 * edge:
        return [_values(tensor[i], True) for i in range(size)]
    head = [_values(tensor[i], True) for i in range(edge)]
    return [*head, _ELLIPSIS, *(_values(tensor[i], True) for i in range(size - edge, size))]


def _flat(values: Any, into: list[Any]) -> list[Any]:
    if isinstance(values, list):
        for v in values:
            _flat(v, into)
    elif values is not _ELLIPSIS:
        into.append(values)
    return into


def _text(values: Any, dim: int, indent: int, fmt: _Format) -> str:
    if dim == 0:
        return fmt(values)
    pad = " " * (indent + 1)
    if dim == 1:
        per_line = max(1, (PRINT_OPTS.linewidth - indent) // (fmt.width + 2))
        words = [" ..." if v is _ELLIPSIS else fmt(v) for v in values]
        lines = [", ".join(words[i : i + per_line]) for i in range(0, len(words), per_line)]
        return "[" + (",\n" + pad).join(lines) + "]"
    rows = ["..." if v is _ELLIPSIS else _text(v, dim - 1, indent + 1, fmt) for v in values]
    return "[" + ("," + "\n" * (dim - 1) + pad).join(rows) + "]"


def _contents(tensor: rg.Tensor, indent: int) -> str:
    values = _values(tensor, tensor.numel() > PRINT_OPTS.threshold)
    flat = _flat(values, [])
    fmt: _Format = _ComplexFormat(flat) if tensor.is_complex() else _RealFormat(flat, tensor.is_floating_point())
    return _text(values, tensor.dim(), indent, fmt)


def _with_suffixes(text: str, suffixes: list[str], indent: int, own_line: bool) -> str:
    """Append ``, suffix`` each, on a line of its own where it would not fit."""
    column = len(text) - text.rfind("\n") + 1
    for suffix in suffixes:
        if own_line or column + len(suffix) + 2 > PRINT_OPTS.linewidth:
            text += ",\n" + " " * indent + suffix
            column, own_line = indent + len(suffix), False
        else:
            text += ", " + suffix
            column += len(suffix) + 2
    return text + ")"


def _is_plain(tensor: rg.Tensor) -> bool:
    """Tensors and parameters print as ``tensor(...)``, other subclasses under their own name."""
    return type(tensor).__name__ in ("Tensor", "Parameter", "Buffer", "UninitializedParameter", "UninitializedBuffer")


def _sparse_text(tensor: Any, indent: int, suffixes: list[str]) -> str:
    suffixes.append(f"size={tuple(tensor.shape)}")
    indices, values = tensor._indices().detach(), tensor._values().detach()
    suffixes.append(f"nnz={values.shape[0]}")
    parts = []
    for name, part in (("indices", indices), ("values", values)):
        head = f"{name}=tensor("
        body = _contents(part, indent + len(head)) if part.numel() else "[]"
        if part.numel() == 0:
            body += f", size={tuple(part.shape)}"
        parts.append(head + body + ")")
    return (",\n" + " " * indent).join(parts)


def _str(tensor: rg.Tensor, *, tensor_contents: str | None = None) -> str:
    """The repr of a tensor. A tensor subclass prints under its own name."""
    prefix = "tensor(" if _is_plain(tensor) else type(tensor).__name__ + "("
    indent = len(prefix)
    suffixes: list[str] = []
    own_line = False
    shown = tensor.detach()
    dtype, default = shown.dtype, rg.get_default_dtype()
    if shown.device.type != "cpu":
        suffixes.append(f"device='{shown.device}'")

    if getattr(shown, "is_sparse", False):
        text, own_line = _sparse_text(shown, indent, suffixes), True
        if dtype != default:
            suffixes.append(f"dtype={dtype}")
        suffixes.append(f"layout={shown.layout}")
    elif shown.device.type == "meta":
        suffixes.append(f"size={tuple(shown.shape)}")
        if dtype != default:
            suffixes.append(f"dtype={dtype}")
        text = "..."
    elif shown.numel() == 0:
        if shown.dim() != 1:
            suffixes.append(f"size={tuple(shown.shape)}")
        if dtype != default:
            suffixes.append(f"dtype={dtype}")
        text = "[]"
    else:
        if dtype not in (default, _complex_of(default), rg.int64, rg.bool):
            suffixes.append(f"dtype={dtype}")
        text = "" if tensor_contents is not None else _contents(shown, indent)
    if tensor_contents is not None:
        text = tensor_contents

    name = _grad_fn_name(tensor)
    if name is not None:
        suffixes.append(f"grad_fn=<{name}>")
    elif tensor.requires_grad:
        suffixes.append("requires_grad=True")
    return _with_suffixes(prefix + text, suffixes, indent, own_line)


def _complex_of(dtype: rg.dtype) -> Any:
    return getattr(rg, "complex128" if dtype == rg.float64 else "complex64", None)


def _grad_fn_name(tensor: rg.Tensor) -> str | None:
    try:
        grad_fn = tensor.grad_fn
    except RuntimeError:  # a view whose base was modified in a way that has no gradient
        return "Invalid"
    if grad_fn is None:
        return None
    name: str = grad_fn.name()
    return name.rsplit("::", 1)[-1]


def _parameter_str(parameter: rg.Tensor) -> str:
    """The repr of an ``nn.Parameter``."""
    return "Parameter containing:\n" + _str(parameter)


def _format(tensor: rg.Tensor, spec: str) -> str:
    """``format(tensor, spec)``: a 0-d tensor formats as its number, any other tensor takes no format."""
    if tensor.dim() == 0 and tensor.device.type != "meta" and type(tensor).__name__ == "Tensor":
        return format(tensor.detach().item(), spec)
    if spec:
        raise TypeError(f"unsupported format string passed to {type(tensor).__name__}.__format__")
    return str(tensor)
