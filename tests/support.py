"""What the tests share: finding an op by its name, giving it NumPy arguments, comparing what it answers."""

import contextlib

import numpy as np
import pytest

import rustgrad as torch
from samples import OPS, Number

# What the table's names are looked up in.
for _name in ("linalg", "special", "fft"):
    with contextlib.suppress(ImportError):
        __import__(f"rustgrad.{_name}")

DTYPES = {
    np.dtype(n): getattr(torch, n)
    for n in ("float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool", "complex64", "complex128")
}


def find(name):
    """The callable under a path from the package, or None."""
    value = torch
    for part in name.split("."):
        value = getattr(value, part, None)
    return value


def function(op):
    """What the samples of the op are given to; a missing op is a failure, not a skip."""
    if op.call is not None:
        return lambda *args, **kwargs: op.call(torch, *args, **kwargs)
    f = find(op.name)
    if f is None:
        pytest.fail(f"torch.{op.name} does not exist", pytrace=False)
    return f


def convert(value, leaf, kind=np.ndarray):
    """The same nesting of lists, tuples and dicts with every array (or other `kind`) put through `leaf`."""
    if isinstance(value, kind):
        return leaf(value)
    if isinstance(value, (list, tuple)):
        return type(value)(convert(v, leaf, kind) for v in value)
    if isinstance(value, dict):
        return {k: convert(v, leaf, kind) for k, v in value.items()}
    return value


def cast(value, dtype):
    """Floating arrays, or operands of an integer dtype, in another NumPy dtype of their kind."""
    kind = np.dtype(dtype).kind
    wanted = lambda a: a.dtype.kind == kind and (kind == "f" or isinstance(a, Number))
    return convert(value, lambda a: np.asarray(a.astype(dtype) if wanted(a) else a))


def tensor(a):
    return torch.tensor(a.tolist(), dtype=DTYPES[a.dtype]).reshape(a.shape)


def array(t):
    return t.detach().numpy()


def flat(out):
    """Tensors and numbers of a result, in order."""
    if isinstance(out, (list, tuple)):
        return [x for o in out for x in flat(o)]
    return [out]


LAYOUTS = {}


def layout(f):
    LAYOUTS[f.__name__] = f
    return f


@layout
def transposed(a):
    return tensor(np.ascontiguousarray(a.transpose())).permute(*range(a.ndim - 1, -1, -1)) if a.ndim > 1 else tensor(a)


@layout
def strided(a):
    """Every second element along each dim of a larger tensor, from an offset."""
    if not a.ndim:
        return tensor(np.stack([a, a + a.dtype.type(1), a]))[2]
    big = np.full([2 * s + 1 for s in a.shape], a.dtype.type(1))
    inner = tuple(slice(1, 2 * s + 1, 2) for s in a.shape)
    big[inner] = a
    return tensor(big)[inner]


@layout
def expanded(a):
    """Stride 0 along the first dim longer than 1; the values are those of its first slice."""
    for d, s in enumerate(a.shape):
        if s > 1:
            return tensor(np.take(a, [0], d)).expand(*a.shape)
    return tensor(a)


def expanded_values(a):
    for d, s in enumerate(a.shape):
        if s > 1:
            return np.ascontiguousarray(np.broadcast_to(np.take(a, [0], d), a.shape))
    return a


def result_dtype(want, dtype):
    """The dtype of a result, from NumPy's result and the dtype of the arguments."""
    want = np.asarray(want).dtype
    if want.kind == "f":
        return np.dtype(dtype) if np.dtype(dtype).kind == "f" else np.dtype("float32")
    return np.dtype("int64") if want.kind in "iu" and np.dtype(dtype).kind == "f" else want


def same(got, want, dtype, tol=1.0, check_dtype=True, where=""):
    got, want = flat(got), flat(want)
    assert len(got) == len(want), f"{len(got)} results, expected {len(want)} {where}"
    rtol, atol = {"f8": (1e-7, 1e-9), "f4": (2e-5, 4e-6)}.get(np.dtype(dtype).str[1:], (2e-5, 4e-6))
    for g, w in zip(got, want):
        if not isinstance(g, torch.Tensor):
            assert g == w, where
            continue
        w = np.asarray(w)
        assert tuple(g.shape) == w.shape, f"shape {tuple(g.shape)}, expected {w.shape} {where}"
        if check_dtype:
            expected = DTYPES[result_dtype(w, dtype)]
            assert g.dtype == expected, f"dtype {g.dtype}, expected {expected} {where}"
        g = array(g)
        if w.dtype.kind in "fc":
            np.testing.assert_allclose(g, w, rtol=rtol * tol, atol=atol * tol, equal_nan=True, err_msg=where)
        else:
            np.testing.assert_array_equal(g, w, err_msg=where)


def reference(op, args, kwargs):
    """NumPy's answer, floating arguments in float64; those in bool where NumPy would compute in half precision."""
    with np.errstate(all="ignore"):
        if op.native:
            return op.ref(*args, **kwargs)
        args, kwargs = cast(args, np.float64), cast(kwargs, np.float64)
        want = op.ref(*args, **kwargs)
        if any(np.asarray(w).dtype in (np.float16, np.float32) for w in flat(want)):
            wide = lambda a: a.astype(np.float64) if a.dtype == bool else a
            want = op.ref(*convert(args, wide), **convert(kwargs, wide))
        return want


# In the table, not in the library: test_ops.py fails when one of them appears and is not taken off this list.
NOT_YET = {
    *(
        f"special.{name}"
        for name in (
            "airy_ai", "spherical_bessel_j0", "modified_bessel_i0", "modified_bessel_i1", "modified_bessel_k0",
            "modified_bessel_k1", "scaled_modified_bessel_k0", "scaled_modified_bessel_k1", "chebyshev_polynomial_t",
            "chebyshev_polynomial_u", "chebyshev_polynomial_v", "chebyshev_polynomial_w", "hermite_polynomial_h",
            "hermite_polynomial_he", "laguerre_polynomial_l", "legendre_polynomial_p", "shifted_chebyshev_polynomial_t",
            "shifted_chebyshev_polynomial_u", "shifted_chebyshev_polynomial_v", "shifted_chebyshev_polynomial_w",
        )
    ),
}


def ops(condition=lambda op: True):
    return pytest.mark.parametrize("op", [o for o in OPS.values() if o.name not in NOT_YET and condition(o)], ids=lambda o: o.name)
