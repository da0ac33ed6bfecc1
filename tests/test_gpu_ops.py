"""Every op of the registry on the GPU against the CPU: values, gradients, strides, NaN and infinity."""

import numpy as np
import pytest

import rustgrad as torch
from gpu_support import close, flat, need_gpu, on_gpu, strided_on_gpu, transposed_on_gpu
from samples import OPS
from support import cast, convert, function, ops, tensor

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")

#: Families and ops without kernels: they have to say so, and an op that gets a kernel has to leave this list.
NO_KERNEL = {
    # decompositions and what solves with them
    "inverse", "det", "slogdet", "logdet", "cholesky", "cholesky_solve", "cholesky_inverse", "triangular_solve", "qr", "svd",
    "pinverse", "lu_unpack", "lu", "lu_solve", "matrix_exp", "orgqr", "geqrf", "ormqr",
    # complex numbers, transcendental functions of float64
    "stft", "istft", "float_power",
}
NO_KERNEL_FAMILIES = ("fft.", "linalg.")
#: Made from numbers alone: they are where they are asked for.
FROM_NUMBERS = {"tril_indices", "triu_indices"}
KIND_DTYPE = {"f": "float32", "i": "int64", "b": "bool", "c": "float32"}


def has_kernel(op):
    return op.name not in NO_KERNEL | FROM_NUMBERS and not op.name.startswith(NO_KERNEL_FAMILIES)


@pytest.fixture(autouse=True)
def gpu():
    need_gpu()


def both(op, args, kwargs, leaf=on_gpu):
    f = function(op)
    want = f(*convert(args, tensor), **convert(kwargs, tensor))
    got = f(*convert(args, leaf), **convert(kwargs, leaf))
    return got, want


@ops(lambda op: has_kernel(op) and op.kinds != "c")
def test_values(op):
    for kind in op.kinds:
        dtype = KIND_DTYPE[kind]
        for n, (args, kwargs) in enumerate(op.samples(kind)):
            got, want = both(op, cast(args, dtype), cast(kwargs, dtype))
            close(got, want, 1e-4 * op.tol, 1e-5 * op.tol, f"[{op.name} sample {n}, {dtype}]")


@ops(lambda op: has_kernel(op) and op.layouts and op.kinds != "c")
def test_layouts(op):
    dtype = KIND_DTYPE[op.kinds[0]]
    args, kwargs = op.samples(op.kinds[0])[0]
    for leaf in (strided_on_gpu, transposed_on_gpu):
        got, want = both(op, cast(args, dtype), cast(kwargs, dtype), leaf)
        close(got, want, 1e-4 * op.tol, 1e-5 * op.tol, f"[{op.name}, {leaf.__name__}]")


@ops(lambda op: has_kernel(op) and op.grad and "f" in op.kinds)
def test_gradients(op):
    f = function(op)
    for n, (args, kwargs) in enumerate(op.samples("f")[:4]):
        args, kwargs = cast(args, "float32"), cast(kwargs, "float32")
        grads = []
        for leaf in (tensor, on_gpu):
            leaves = []

            def given(a, leaf=leaf, leaves=leaves):
                t = leaf(a)
                if a.dtype.kind == "f":
                    t.requires_grad_()
                    leaves.append(t)
                return t

            out = [t for t in flat(f(*convert(args, given), **convert(kwargs, given)))
                   if isinstance(t, torch.Tensor) and t.requires_grad]
            if not out:
                break
            # Weights that differ from element to element.
            total = sum((t * torch.linspace(0.5, 1.5, t.numel()).reshape(t.shape).to(t.device)).sum() for t in out)
            got = torch.autograd.grad(total, leaves, allow_unused=True)
            grads.append([torch.zeros_like(x) if g is None else g for g, x in zip(got, leaves)])
        if len(grads) == 2:
            close(grads[1], grads[0], 1e-3 * op.tol, 1e-4 * op.tol, f"[gradient of {op.name}, sample {n}]")


SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0], dtype="float32")


class Special:
    """Puts the special numbers into float operands, into each in another order."""

    def __init__(self, shift):
        self.shift, self.count = shift, 0

    def __call__(self, a):
        self.count += 1
        return np.resize(np.roll(SPECIAL, self.shift * self.count), a.shape) if a.dtype.kind == "f" else a


@ops(lambda op: has_kernel(op) and op.nonfinite)
def test_nan_and_infinity(op):
    args, kwargs = op.samples("f")[0]
    for shift in range(len(SPECIAL)):
        special = Special(shift)
        got, want = both(op, cast(convert(args, special), "float32"), cast(convert(kwargs, special), "float32"))
        close(got, want, 1e-4, 1e-5, f"[{op.name}, shift {shift}]")


@pytest.mark.parametrize("name", sorted(op.name for op in OPS.values() if not has_kernel(op) and op.kinds != "c" and op.name not in FROM_NUMBERS))
def test_missing_kernels_say_so(name):
    """NotImplementedError at the call or in the gradient, unless the op is made of others that have kernels."""
    op = OPS[name]
    dtype = KIND_DTYPE[op.kinds[0]]
    args, kwargs = op.samples(op.kinds[0])[0]
    try:
        got, want = both(op, cast(args, dtype), cast(kwargs, dtype))
    except NotImplementedError as e:
        assert "gpu" in str(e).lower(), e
    else:
        assert name not in NO_KERNEL, f"{name} has a kernel now"
        close(got, want, 1e-3 * op.tol, 1e-4 * op.tol, f"[{op.name}]")
