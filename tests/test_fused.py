"""Kernels that do a whole layer or step at once, against the same in float64, which goes by tensor operations."""

import numpy as np
import pytest

import rustgrad as torch
from rustgrad import nn, optim

F = nn.functional


def run(dtype, arrays, f):
    """f of leaves, and their gradients for a loss that weighs every element differently."""
    leaves = [torch.tensor(a).to(dtype).requires_grad_(True) for a in arrays]
    out = f(*leaves)
    weight = torch.tensor(np.cos(np.arange(out.numel()))).reshape(out.shape).to(dtype)
    (out * weight).sum().backward()
    return [out.detach(), *(t.grad for t in leaves)]


def same(arrays, f, tolerance=1e-5):
    for got, want in zip(run(torch.float32, arrays, f), run(torch.float64, arrays, f), strict=True):
        scale = max(1.0, want.abs().max().item()) if want.numel() else 1.0
        np.testing.assert_allclose(got.double().numpy(), want.numpy(), rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), (63, 65, 3, 5), (64, 64, 16, 16), (130, 70, 33, 17), (17, 200, 8, 8)])
@pytest.mark.parametrize("kind", ["plain", "causal", "bool", "added", "keys", "shared heads"])
def test_attention(sizes, kind):
    rows, cols, e, ev = sizes
    rng = np.random.default_rng(0)
    heads = 2 if kind == "shared heads" else 4
    arrays = [rng.standard_normal(s) for s in [(2, 4, rows, e), (2, heads, cols, e), (2, heads, cols, ev)]]
    seen = rng.random((rows, cols)) > 0.3
    seen[0] = False  # a query that sees nothing

    def f(q, k, v):
        mask = {"bool": torch.tensor(seen), "keys": torch.tensor(seen[-1])}.get(kind)
        if kind == "added":
            mask = torch.tensor(np.sin(np.arange(rows * cols)).reshape(rows, cols)).to(q.dtype)
        causal = kind in ("causal", "shared heads")
        return F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal, enable_gqa=kind == "shared heads")

    same(arrays, f)


def test_attention_reads_a_projection_in_place():
    x = np.random.default_rng(1).standard_normal((2, 70, 3 * 24))

    def f(x):
        q, k, v = (part.view(2, 70, 4, 6).transpose(1, 2) for part in x.split(24, -1))
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        assert x.dtype == torch.float64 or out.transpose(1, 2).is_contiguous()
        return out.transpose(1, 2).reshape(2, 70, 24)

    same([x], f)


def test_attention_twice_differentiated():
    arrays = [np.random.default_rng(i).standard_normal((1, 2, 5, 3)) for i in range(3)]
    results = []
    for dtype in (torch.float32, torch.float64):
        leaves = [torch.tensor(a).to(dtype).requires_grad_(True) for a in arrays]
        out = F.scaled_dot_product_attention(*leaves, is_causal=True)
        first = torch.autograd.grad((out**2).sum(), leaves, create_graph=True)
        results.append(torch.autograd.grad(sum((g**2).sum() for g in first), leaves))
    for got, want in zip(*results, strict=True):
        np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("sizes", [(1, 1, 3, 4), (5, 14, 6, 33), (3, 25, 2, 16)])
@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2}, {"batch_first": True, "bias": False}])
def test_recurrent_layers(name, sizes, options):
    steps, batch, inputs, hidden = sizes
    layer = getattr(nn, name)(inputs, hidden, **options)
    shape = (batch, steps, inputs) if options.get("batch_first") else (steps, batch, inputs)
    x = np.random.default_rng(2).standard_normal(shape)
    weights = [p.detach().numpy() for p in layer.parameters()]
    names = [n for n, _ in layer.named_parameters()]

    def f(x, *weights):
        module = getattr(nn, name)(inputs, hidden, **options).to(x.dtype)
        out, last = torch.func.functional_call(module, dict(zip(names, weights, strict=True)), (x,))
        states = last if isinstance(last, tuple) else (last,)
        return torch.cat([out.flatten(), *(s.flatten() for s in states)])

    same([x, *weights], f)


def test_a_changed_output_of_a_recurrent_layer_is_noticed():
    layer = nn.LSTM(3, 4)
    out, _ = layer(torch.randn(2, 1, 3))
    out.detach().mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        out.sum().backward()


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Adagrad"])
def test_steps_over_strided_and_shared_parameters(name):
    start = np.random.default_rng(3).standard_normal((6, 40))

    def train(make):
        params, read = make()
        steps = getattr(optim, name)(params, lr=0.1, **({"momentum": 0.9} if name == "SGD" else {}))
        for _ in range(3):
            for p in params:
                p.grad = (p.detach() * 0.5 + 1).clone()
            steps.step()
        return read()

    def plain():
        params = [nn.Parameter(torch.tensor(start[i : i + 2].copy())) for i in (0, 2, 4)]
        return params, lambda: torch.cat([p.detach() for p in params]).numpy()

    def shared():  # three parts of one storage, one of them transposed
        whole = torch.tensor(start.copy())
        params = [whole[:2], whole[2:4].t(), whole[4:]]
        for p in params:
            p.requires_grad_(True)
        return params, lambda: whole.numpy()

    np.testing.assert_array_equal(train(plain), train(shared))


def test_versions_of_what_a_step_writes():
    p = nn.Parameter(torch.ones(3))
    y = (p * p).sum()
    p.grad = torch.ones(3)
    optim.SGD([p], lr=0.1).step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_gradients_of_some_parts_of_a_split():
    x = torch.randn(6, 4, requires_grad=True)
    _, b = x.split(3)
    (b * 2).sum().backward()
    assert x.grad.tolist() == [[0.0] * 4] * 3 + [[2.0] * 4] * 3
    x.grad = None
    rows = x.unbind(1)
    (rows[1] + 3 * rows[3]).sum().backward()
    assert x.grad.tolist() == [[0.0, 1.0, 0.0, 3.0]] * 6
