"""What the tests of the GPU share: an adapter, and operands on it."""

import functools
import os

import numpy as np
import pytest

import rustgrad as torch
from support import convert, tensor


@functools.cache
def available():
    return torch.gpu.is_available()


def need_gpu():
    """Fails, with what to install, where there is no adapter: a test that did not run must not look like one that passed."""
    if os.environ.get("RUSTGRAD_TEST_GPU") == "0":
        pytest.skip("RUSTGRAD_TEST_GPU=0")
    if not available():
        pytest.fail("no GPU adapter was found: tools/need_gpu.py says what to install", pytrace=False)


def on_gpu(a):
    return tensor(a).to("gpu")


def strided_on_gpu(a):
    """Every second element along each dim of a larger tensor, from an offset."""
    if not a.ndim:
        return tensor(np.stack([a, a + a.dtype.type(1), a])).to("gpu")[2]
    big = np.full([2 * s + 1 for s in a.shape], a.dtype.type(1))
    inner = tuple(slice(1, 2 * s + 1, 2) for s in a.shape)
    big[inner] = a
    return tensor(big).to("gpu")[inner]


def transposed_on_gpu(a):
    if a.ndim < 2:
        return on_gpu(a)
    return tensor(np.ascontiguousarray(a.transpose())).to("gpu").permute(*range(a.ndim - 1, -1, -1))


def to_cpu(value):
    return convert(value, lambda t: t.cpu(), torch.Tensor)


def close(got, want, rtol, atol, where="", device="gpu"):
    """The GPU's answer against the CPU's: same nesting, shapes and dtypes; values to a tolerance."""
    got, want = flat(got), flat(want)
    assert len(got) == len(want), f"{len(got)} results, the CPU gives {len(want)} {where}"
    for g, w in zip(got, want):
        if not isinstance(w, torch.Tensor):
            assert g == w or (g != g and w != w), f"{g} instead of {w} {where}"
            continue
        assert g.device.type == device, f"the result is on {g.device} {where}"
        assert g.shape == w.shape and g.dtype == w.dtype, f"{g.shape} {g.dtype} instead of {w.shape} {w.dtype} {where}"
        g, w = g.detach().cpu().numpy(), w.detach().numpy()
        if w.dtype.kind in "fc":
            np.testing.assert_allclose(g, w, rtol=rtol, atol=atol, equal_nan=True, err_msg=where)
        else:
            np.testing.assert_array_equal(g, w, err_msg=where)


def flat(out):
    if isinstance(out, (list, tuple)):
        return [x for o in out for x in flat(o)]
    return [out]
