"""Reductions, scans, softmax and selection at the borders of vectors, tiles and pieces, over layouts and dtypes."""

import itertools

import numpy as np
import pytest

import rustgrad as torch
from rustgrad.nn import functional as F

rng = np.random.default_rng(0)
LENGTHS = (1, 7, 16, 63, 64, 65, 500, 513, 4097)
LAYOUTS = {
    "as it is": lambda x: x,
    "transposed": lambda x: x.t(),
    "every second": lambda x: x[::2, 1::2],
    "stretched": lambda x: x[:, :1].expand(x.shape[0], 9),
}


def normal(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def close(got, want, rtol=2e-6, atol=1e-6):
    np.testing.assert_allclose(got.detach().numpy().astype(np.float64), want, rtol=rtol, atol=atol)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dims", [None, 0, 1, (0, 1)])
def test_folds_of_any_layout(layout, dims):
    for shape in [(3, 70), (70, 3), (65, 130), (1, 5000), (600, 90)]:
        t = LAYOUTS[layout](torch.tensor(normal(*shape)))
        x = t.numpy().astype(np.float64)
        n = x.size if dims in (None, (0, 1)) else x.shape[dims]
        given = {} if dims is None else {"dim": dims}
        close(t.sum(**given), x.sum(dims), atol=1e-6 * n)
        close(t.mean(**given), x.mean(dims))
        close(t.amax(**given), x.max(dims))
        close(t.amin(**given), x.min(dims))
        close(t.norm(**given), np.sqrt((x * x).sum(dims)))
        close(torch.linalg.vector_norm(t, 1, dims), np.abs(x).sum(dims))
        close(torch.linalg.vector_norm(t, float("inf"), dims), np.abs(x).max(dims))
        close(torch.logsumexp(t, (0, 1) if dims is None else dims), np.log(np.exp(x).sum(dims)))
        if n > 1:
            close(t.var(**given), x.var(dims, ddof=1), rtol=1e-5)
        if dims in (0, 1):
            values, index = t.max(dims)
            assert np.array_equal(index.numpy(), x.argmax(dims)) and np.array_equal(values.numpy(), x.max(dims))
            assert np.array_equal(t.argmin(dims).numpy(), x.argmin(dims))
            close(t.cumsum(dims), x.cumsum(dims), atol=1e-5)


@pytest.mark.parametrize("gone", [(0, 2), (1, 3), (0, 3), (0, 1, 3), (0, 2, 3)])
def test_reduced_dimensions_that_are_not_neighbours(gone):
    x = normal(5, 6, 7, 70)
    for t in (torch.tensor(x), torch.tensor(np.ascontiguousarray(x.transpose(2, 0, 3, 1))).permute(1, 3, 0, 2)):
        close(t.sum(gone), x.astype(np.float64).sum(gone), atol=1e-4)
        close(t.amax(gone), x.max(gone))
        close(t.var(gone), x.astype(np.float64).var(gone, ddof=1), rtol=1e-5)
        assert np.array_equal((t > -1).all(gone[0]).numpy(), (x > -1).all(gone[0]))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"])
def test_dtypes(dtype):
    d = getattr(torch, dtype)
    for shape in [(3, 70), (130, 5), (2, 5000)]:
        t = torch.tensor(rng.integers(0, 2 if dtype == "bool" else 20, shape)).to(d)
        x = t.double().numpy()
        total = x.sum(1)
        if dtype == "float16":
            total = total.astype(np.float16)
        if dtype == "bfloat16":
            total = torch.tensor(total, dtype=torch.float32).to(d).float().numpy()
        assert np.array_equal(t.sum(1).double().numpy(), total)
        assert np.array_equal(t.amax(0).double().numpy(), x.max(0))
        assert np.array_equal(t.amin(1).double().numpy(), x.min(1))
        assert np.array_equal(t.any(0).numpy().astype(bool), x.any(0)) and np.array_equal(t.all(1).numpy().astype(bool), x.all(1))
        assert np.array_equal(torch.count_nonzero(t, 1).numpy(), np.count_nonzero(x, 1))
        if dtype != "bool":
            assert np.array_equal(t.max(1)[1].numpy(), x.argmax(1)) and np.array_equal(t.argmin(0).numpy(), x.argmin(0))


@pytest.mark.parametrize("n", LENGTHS)
def test_where_nan_is(n):
    for at in {0, n // 2, n - 1}:
        x = normal(2, n)
        x[0, at] = np.nan
        t = torch.tensor(x)
        for layout in (t, t.t().contiguous().t()):
            assert torch.isnan(layout.amax(1)).tolist() == [True, False]
            assert torch.isnan(layout.sum(1)).tolist() == [True, False]
            values, index = layout.max(1)
            assert np.isnan(values[0].item()) and index[0].item() == at
            assert layout.argmin(1)[0].item() == at
        assert torch.isnan(t.max()).item() and torch.isnan(torch.linalg.vector_norm(t, float("inf"))).item()
        assert torch.isnan(t.softmax(1)[0]).all().item() and not torch.isnan(t.softmax(1)[1]).any().item()


def test_norms_of_what_overflows_when_squared():
    for scale in (1e30, 1e-30):
        x = normal(3, 700).astype(np.float64) * scale
        close(torch.tensor(x, dtype=torch.float32).norm(dim=1) / scale, np.sqrt((x * x).sum(1)) / scale)
    assert torch.zeros(5).norm().item() == 0.0


def test_long_sums_are_accurate():
    x = torch.full((1 << 22,), 0.1)
    exact = float(np.float32(0.1)) * (1 << 22)
    assert abs(x.sum().item() - exact) <= 1e-6 * exact
    assert abs(x.reshape(1 << 21, 2).sum(0)[1].item() - exact / 2) <= 1e-6 * exact


def test_the_number_of_threads_changes_no_bit():
    before = torch.get_num_threads()
    x, y = torch.tensor(normal(300, 1000)), torch.tensor(rng.integers(0, 1000, 300))
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            w = x.clone().requires_grad_(True)
            F.cross_entropy(F.layer_norm(w, (1000,), torch.ones(1000), torch.zeros(1000)), y).backward()
            parts = [w.grad, x.sum(), x.sum(0), x.sum(1), x.var(0), x.softmax(1), x.softmax(0), x.cumsum(1), x.norm(), x.topk(9, 0)[0]]
            results.append([p.numpy().tobytes() for p in parts])
    finally:
        torch.set_num_threads(before)
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("shape", [(300, 1000), (70_001, 3), (9, 10_000), (2, 70, 600), (100_003,)])
def test_elementwise_results_that_nobody_has_asked_for(shape):
    x = torch.tensor(normal(*shape))
    halves = x.half()
    functions = [torch.sum, torch.mean, torch.amax, torch.norm, torch.var]
    functions += [lambda t, f=f, d=d: f(t, d) for d in range(len(shape)) for f in (torch.sum, torch.amin, torch.var, torch.argmax)]
    functions += [lambda t: torch.sum(t, (0, -1)) if t.ndim > 2 else torch.cumsum(t, -1)]
    for f in functions:
        for source in (x, halves):
            stored = (source * 2 + 1).tanh()
            stored.numpy()
            assert torch.equal(f((source * 2 + 1).tanh()), f(stored))


@pytest.mark.parametrize("n", LENGTHS)
def test_softmax_and_its_gradient(n):
    x = normal(3, n)
    wide = x.astype(np.float64)
    p = np.exp(wide - wide.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    g = normal(3, n).astype(np.float64)
    for axis in (1, 0):
        turn = (lambda a: a) if axis else (lambda a: a.T)
        t = torch.tensor(np.ascontiguousarray(turn(x)), requires_grad=True)
        y = t.softmax(axis)
        close(y, turn(p))
        y.backward(torch.tensor(turn(g), dtype=torch.float32))
        close(t.grad, turn(p * (g - (g * p).sum(1, keepdims=True))))
        t.grad = None
        z = t.log_softmax(axis)
        close(z, turn(np.log(p)), atol=2e-6)
        z.sum().backward()
        close(t.grad, turn(1 - p * n), atol=1e-6 * n)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_cross_entropy_of_many_classes(reduction):
    for n, weighted, smoothing in itertools.product((2, 65, 700), (False, True), (0.0, 0.2)):
        x, y, w = normal(6, n) * 3, rng.integers(0, n, 6), rng.uniform(0.5, 2, n).astype(np.float32)
        y[1] = 1
        t = torch.tensor(x, requires_grad=True)
        weight = torch.tensor(w) if weighted else None
        target = torch.tensor(y)
        loss = F.cross_entropy(t, target, weight, ignore_index=1, reduction=reduction, label_smoothing=smoothing)
        loss.sum().backward()
        # In float64 by the general way: log_softmax, then a product with the smoothed target.
        u = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        full = weight.double() if weighted else torch.ones(n, dtype=torch.float64)
        goal = (F.one_hot(target, n) * (1 - smoothing) + smoothing / n) * full * (target != 1).unsqueeze(1)
        want = -(u.log_softmax(1) * goal).sum(1)
        if reduction != "none":
            want = want.sum()
        if reduction == "mean":
            want = want / full[target[target != 1]].sum()
        want.sum().backward()
        close(loss.detach(), want.detach().numpy(), rtol=3e-6, atol=3e-6)
        close(t.grad, u.grad.numpy(), atol=2e-6)


def test_cross_entropy_twice_and_its_saved_values():
    x = torch.tensor(normal(3, 5).astype(np.float64), requires_grad=True)
    y = torch.tensor([1, 4, 0])
    for options in ({}, {"reduction": "sum", "label_smoothing": 0.1}, {"reduction": "none", "ignore_index": 4}):
        assert torch.autograd.gradcheck(lambda x, o=options: F.cross_entropy(x, y, **o), (x,))
        assert torch.autograd.gradgradcheck(lambda x, o=options: F.cross_entropy(x, y, **o), (x,))
    z = x.detach().clone().requires_grad_(True) * 1
    loss = F.cross_entropy(z, y)
    z.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("n", [5, 64, 130, 600])
def test_layer_norm_under_one_gradient_for_all_rows(n):
    x, w, b = normal(4, 3, n), normal(n), normal(n)
    grads, g = [], torch.tensor(normal(n))
    for stretched in (True, False):
        t, u, v = (torch.tensor(a, requires_grad=True) for a in (x, w, b))
        y = F.layer_norm(t, (n,), u, v)
        y.backward(g.expand(4, 3, n) if stretched else g.expand(4, 3, n).contiguous())
        grads.append([t.grad, u.grad, v.grad])
    for a, b in zip(*grads):
        assert torch.equal(a, b)


@pytest.mark.parametrize("k", [1, 3, 50])
def test_topk_of_long_rows(k):
    for n in (600, 5000, 20_011):
        x = np.round(normal(2, n), 1)  # ties: the first comes first
        x[1, n // 3] = np.nan
        for largest in (True, False):
            values, index = torch.tensor(x).topk(k, largest=largest)
            key = np.where(np.isnan(x), np.inf, x)
            want = np.argsort(-key if largest else key, axis=1, kind="stable")[:, :k]
            assert np.array_equal(index.numpy(), want)
            assert np.array_equal(values.numpy(), np.take_along_axis(x, want, 1), equal_nan=True)
    rising = torch.arange(10_000)
    assert rising.topk(k)[1].tolist() == list(range(9_999, 9_999 - k, -1))
