"""The GPU backend: memory, order of work, splitting, errors, threads, processes, training."""

import copy
import os
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

import rustgrad as torch
from gpu_support import need_gpu
from rustgrad import nn
from rustgrad.nn import functional as F


@pytest.fixture(autouse=True)
def gpu():
    need_gpu()


def run(code, **env):
    """A program of its own, with other settings of the environment (None removes one)."""
    settings = {**os.environ, **env}
    settings = {k: v for k, v in settings.items() if v is not None}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=settings, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# Devices


def test_import_starts_no_driver():
    assert run("""
        import rustgrad
        maps = open('/proc/self/maps').read() if __import__('os').path.exists('/proc/self/maps') else ''
        print('libvulkan' in maps)
    """) == "False"


def test_a_software_adapter_is_used_only_by_name():
    code = "import rustgrad as t; print(t.gpu.device_count() and t.gpu.get_device_properties().type)"
    assert run(code, RUSTGRAD_ADAPTER=None) != "Cpu"
    assert run(code, RUSTGRAD_ADAPTER="no such card") == "0"


def test_properties_and_names():
    p = torch.gpu.get_device_properties("gpu:0")
    assert p.name == torch.gpu.get_device_name() and p.max_binding >= 1 << 27
    assert torch.accelerator.current_accelerator().type == "gpu"
    assert torch.accelerator.device_count() == torch.gpu.device_count() >= 1
    x = torch.ones(2, device="gpu")
    assert str(x.device) == "gpu:0" and "device='gpu:0'" in repr(x)
    with pytest.raises(RuntimeError, match="ordinal"):
        torch.ones(1, device="gpu:77")


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"])
@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0), (255,), (257,), (3, 5, 7)])
def test_there_and_back(dtype, shape):
    x = (torch.randn(shape) * 50).to(getattr(torch, dtype))
    y = x.to("gpu")
    assert y.dtype == x.dtype and y.shape == x.shape
    assert torch.equal(y.cpu(), x)
    assert torch.equal(y.clone().cpu(), x) and torch.equal((y.t() if y.ndim == 2 else y).cpu(), x.t() if x.ndim == 2 else x)


def test_integers_are_exact():
    x = torch.tensor([2**62 + 1, -(2**53) - 1, 2**31, -(2**31) - 1])
    y = x.to("gpu")
    assert torch.equal((y + 1).cpu(), x + 1) and torch.equal((y * 3).cpu(), x * 3)


# Order of work, memory


def test_uploads_come_in_order():
    """Each upload goes between the dispatches around it, though all of it is submitted at once."""
    x = torch.zeros(1000, device="gpu")
    total = torch.zeros(1000)
    for k in range(40):
        row = torch.full((1000,), float(k))
        x.copy_(x + row.to("gpu"))
        x[k] = -1.0
        total = total + row
        total[k] = -1.0
    assert torch.equal(x.cpu(), total)


def test_memory_is_counted_and_used_again():
    torch.gpu.synchronize()
    before = torch.gpu.memory_allocated()
    x = torch.ones(1 << 20, device="gpu")
    assert torch.gpu.memory_allocated() - before >= 4 << 20
    torch.gpu.reset_peak_memory_stats()
    for _ in range(10):
        y = (x + 1).sum()
    assert y.item() == 2 << 20
    assert torch.gpu.max_memory_allocated() - before < 16 << 20
    del x, y
    assert torch.gpu.memory_allocated() == before
    torch.gpu.empty_cache()
    assert torch.gpu.memory_reserved() <= torch.gpu.memory_allocated() + (1 << 20)


def test_out_of_memory_is_an_exception():
    size = torch.gpu.get_device_properties().max_buffer // 4 + 1024
    with pytest.raises(torch.OutOfMemoryError, match="GPU out of memory"):
        torch.empty(size, device="gpu")
    assert torch.ones(3, device="gpu").sum().item() == 3


def test_a_chain_is_one_kernel():
    """An elementwise chain stores its result alone."""
    x = torch.randn(1 << 20, device="gpu")
    torch.gpu.synchronize()
    base = torch.gpu.memory_allocated()
    torch.gpu.reset_peak_memory_stats()
    y = 0.5 * x * (1 + torch.tanh(0.797 * (x + 0.0447 * x * x * x)))
    y.data_ptr()
    assert torch.gpu.max_memory_allocated() - base == 4 << 20


def test_pending_results_see_what_was_there():
    x = torch.randn(300, device="gpu")
    y = x * 2
    want = x.cpu() * 2
    x.zero_()
    assert torch.equal(y.cpu(), want)
    z = torch.randn(300, device="gpu")
    w = z.exp()
    v = z[10:20]
    v += 1
    assert not torch.equal(w[10:20].cpu(), z[10:20].exp().cpu())


# More than a kernel can bind


@pytest.fixture
def large():
    n = torch.gpu.get_device_properties().max_binding
    if n > 1 << 28:
        pytest.skip("this adapter binds too much at once for a test of splitting")
    return n // 4 + 12345


def test_elementwise_splits(large):
    x = torch.arange(large, dtype=torch.float32)
    y = x.to("gpu")
    z = (y * 2 + 1).cpu()
    assert torch.equal(z, x * 2 + 1)
    assert torch.equal((y > 1e6).cpu(), x > 1e6)


def test_reductions_split(large):
    x = torch.ones(large, dtype=torch.float32)
    x[large - 3] = 5.0
    y = x.to("gpu")
    assert y.sum().item() == pytest.approx(large + 4)
    assert y.max().item() == 5.0


def test_products_split(large):
    rows = large // 256 + 3
    a, b = torch.randn(rows, 256), torch.randn(256, 3)
    got = (a.to("gpu") @ b.to("gpu")).cpu()
    assert torch.allclose(got, a @ b, rtol=1e-4, atol=1e-3)


def test_rows_split(large):
    x = torch.randn(large // 500, 500)
    y = x.to("gpu")
    for f in (lambda t: t.softmax(1), lambda t: F.layer_norm(t, (500,)), lambda t: t.log_softmax(1)):
        a, b = f(x), f(y).cpu()
        assert torch.allclose(a[-3:], b[-3:], atol=1e-5) and torch.allclose(a[:3], b[:3], atol=1e-5)
        assert (a - b).abs().max().item() < 1e-4


#: On a tensor of n rows of 64 that is more than one binding.
BEYOND = {
    "fill": lambda x, d: torch.full(x.shape, 3.0, device=d),
    "cumsum": lambda x, d: x.cumsum(1),
    "argmax": lambda x, d: x.argmax(1),
    "where the largest is": lambda x, d: x.flatten().argmax(),
    "var": lambda x, d: x.var(0),
    "var of all": lambda x, d: x.flatten().var(0),
    "sort": lambda x, d: x.sort(1).indices,
    "gather": lambda x, d: x.gather(1, torch.arange(64, device=d).flip(0).expand_as(x)),
    "rows": lambda x, d: x[torch.tensor([0, len(x) - 1, 5], device=d)],
    "rows written": lambda x, d: x.index_copy(0, torch.tensor([len(x) - 2], device=d), torch.ones(1, 64, device=d)),
    "rows added": lambda x, d: x.index_add(0, torch.tensor([len(x) - 1, 0, 7], device=d), torch.ones(3, 64, device=d)),
    "mask": lambda x, d: x[x > 3.5],
    "flip": lambda x, d: x.flip(0),
    "tril": lambda x, d: x.tril(-(len(x) - 100)),
    "pool": lambda x, d: F.max_pool1d(x.reshape(64, 1, -1), 2),
    "conv": lambda x, d: F.conv1d(x.reshape(64, 1, -1), torch.ones(1, 1, 3, device=d)),
    "batch norm": lambda x, d: F.batch_norm(x, None, None, training=True),
    "cross entropy": lambda x, d: F.cross_entropy(x, torch.arange(len(x), device=d) % 64),
    "half": lambda x, d: torch.cat([x.half(), x.half()]) + 1,
    "bool": lambda x, d: torch.cat([x > 0] * 5).sum(0),
}


@pytest.mark.parametrize("name", BEYOND)
def test_tensors_beyond_a_binding(large, name):
    torch.manual_seed(0)
    x = torch.rand(1000, 64).repeat(large // 64000 + 1, 1)
    x[-3:] += torch.arange(3.0)[:, None]
    want, got = BEYOND[name](x, "cpu"), BEYOND[name](x.to("gpu"), "gpu").cpu()
    assert got.shape == want.shape and got.dtype == want.dtype
    if got.dtype.is_floating_point:
        assert torch.allclose(got.float(), want.float(), rtol=1e-4, atol=1e-4)
    else:
        assert torch.equal(got, want)


# Sizes around the borders of tiles, workgroups and words

BORDERS = [1, 2, 31, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 1023, 1025]


@pytest.mark.parametrize("n", BORDERS)
def test_sizes_around_borders(n):
    torch.manual_seed(n)
    x, rows, square = torch.randn(n), torch.randn(3, n), torch.randn(n, 5)
    weight, image = torch.randn(n, 7), torch.randn(1, 2, 5, n)
    kernel = torch.randn(3, 2, 3, 3)
    programs = {
        "sum": lambda d: rows.to(d).sum(1), "columns": lambda d: square.to(d).sum(0), "mean": lambda d: x.to(d).mean(),
        "max": lambda d: rows.to(d).max(1).values, "argmax": lambda d: rows.to(d).argmax(1), "var": lambda d: square.to(d).var(),
        "softmax": lambda d: rows.to(d).softmax(1), "layer_norm": lambda d: F.layer_norm(rows.to(d), (n,)),
        "cumsum": lambda d: rows.to(d).cumsum(1), "sort": lambda d: rows.to(d).sort(1).values,
        "bool": lambda d: (x.to(d) > 0), "half": lambda d: x.to(d).half() + 1, "uint8": lambda d: (x.abs().to(d) * 9).to(torch.uint8),
        "k": lambda d: rows.to(d) @ weight.to(d), "m": lambda d: square.to(d) @ square.to(d).T[:, :9],
        "vector": lambda d: square.to(d).T @ x.to(d), "t": lambda d: (square.to(d).T * 2).contiguous(),
        "conv": lambda d: F.conv2d(image.to(d), kernel.to(d), padding=1),
        "gather": lambda d: rows.to(d)[:, torch.arange(n - 1, -1, -1, device=d)],
        "flip": lambda d: rows.to(d).flip(1), "cat": lambda d: torch.cat([x.to(d), x.to(d)[: n // 2]]),
        "attention": lambda d: F.scaled_dot_product_attention(*(square.to(d)[None, None] for _ in range(3)), is_causal=True),
    }
    for name, f in programs.items():
        want, got = f("cpu"), f("gpu").cpu()
        assert got.shape == want.shape and got.dtype == want.dtype, name
        np.testing.assert_allclose(got.float().numpy(), want.float().numpy(), rtol=2e-4, atol=2e-4, err_msg=name)


# Errors


def test_an_index_out_of_range_is_raised_at_the_next_sync():
    x = torch.randn(5, 3, device="gpu")
    for bad in (7, -9):
        with pytest.raises(IndexError, match=str(bad)):
            torch.index_select(x, 0, torch.tensor([0, bad], device="gpu")).cpu()
        assert torch.isfinite(x).all().item()  # raised once, and nothing is broken
    F.embedding(torch.tensor([9], device="gpu"), x)
    with pytest.raises(IndexError):
        torch.gpu.synchronize()


def test_devices_do_not_mix():
    x = torch.randn(3, device="gpu")
    with pytest.raises(RuntimeError, match="same device"):
        x + torch.randn(3)
    with pytest.raises(RuntimeError, match="same device"):
        x.reshape(1, 3) @ torch.randn(3, 1)
    assert (x + torch.tensor(1.0)).device.type == "gpu"  # a number may come as a tensor
    with pytest.raises(TypeError, match="cpu"):
        x.numpy()


def test_a_missing_kernel_is_named():
    with pytest.raises(NotImplementedError, match="gpu"):
        torch.linalg.svd(torch.eye(3, device="gpu"))


def test_fallback_warns_once_and_counts():
    out = run("""
        import warnings, rustgrad as torch
        x = torch.eye(3).to('gpu').requires_grad_()
        with warnings.catch_warnings(record=True) as w:
            warnings.simplefilter('always')
            torch.linalg.svdvals(x).sum().backward()
            torch.linalg.svdvals(x)
        print(len([m for m in w if 'svdvals' in str(m.message)]), torch.gpu.fallbacks()['svdvals'], x.grad.device)
    """, RUSTGRAD_GPU_FALLBACK="1")
    assert out == "1 2 gpu:0"


# Threads and processes


def test_several_threads():
    x = torch.randn(64, 64, device="gpu")
    want = (x @ x).sum().item()
    results = []

    def work():
        for _ in range(10):
            y = x @ x
            z = torch.randn(500).to("gpu").exp().sum()
            results.append((y.sum().item(), z.item() > 0))

    threads = [threading.Thread(target=work) for _ in range(4)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    assert len(results) == 40 and all(a == want and b for a, b in results)


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_forked_child_gets_an_error():
    out = run("""
        import os, rustgrad as torch
        x = torch.ones(3, device='gpu'); x.sum().item()
        r, w = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                x + 1; torch.ones(2, device='gpu'); text = 'no error'
            except RuntimeError as e:
                text = str(e)
            try: del x
            except Exception as e: text += repr(e)
            os.write(w, text.encode()); os._exit(0)
        os.waitpid(pid, 0)
        print(os.read(r, 1000).decode())
        print((x + 1).sum().item())
    """)
    assert "forked subprocess" in out and out.endswith("6.0")


# Repeating, training


def test_the_same_bits_again():
    torch.manual_seed(0)
    x, w = torch.randn(300, 200), torch.randn(200, 100)
    index = torch.randint(0, 20, (5000,))

    def once():
        a, b = x.to("gpu").requires_grad_(), w.to("gpu").requires_grad_()
        loss = F.cross_entropy(a @ b, torch.arange(300, device="gpu") % 100) + (a @ b).softmax(1).var()
        loss.backward()
        t = torch.zeros(20, 7, device="gpu").index_add_(0, index.to("gpu"), torch.linspace(0, 1, 35000).reshape(5000, 7).to("gpu"))
        return loss.item(), a.grad.cpu(), b.grad.cpu(), t.cpu()

    first = once()
    for _ in range(3):
        again = once()
        assert first[0] == again[0] and all(torch.equal(p, q) for p, q in zip(first[1:], again[1:]))


class GPT(nn.Module):
    """A small decoder-only transformer."""

    def __init__(self, vocabulary=50, width=32, heads=4, layers=2, length=16):
        super().__init__()
        self.heads = heads
        self.token, self.place = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList()
        for _ in range(layers):
            self.blocks.append(nn.ModuleDict({
                "norm1": nn.LayerNorm(width), "qkv": nn.Linear(width, 3 * width), "out": nn.Linear(width, width),
                "norm2": nn.LayerNorm(width), "up": nn.Linear(width, 4 * width), "down": nn.Linear(4 * width, width),
            }))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary)

    def forward(self, tokens):
        n, t = tokens.shape
        x = self.token(tokens) + self.place(torch.arange(t, device=tokens.device))
        for b in self.blocks:
            q, k, v = b["qkv"](b["norm1"](x)).split(x.shape[-1], -1)
            split = lambda y: y.reshape(n, t, self.heads, -1).transpose(1, 2)
            y = F.scaled_dot_product_attention(split(q), split(k), split(v), is_causal=True)
            x = x + b["out"](y.transpose(1, 2).reshape(n, t, -1))
            x = x + b["down"](F.gelu(b["up"](b["norm2"](x))))
        return self.head(self.norm(x))


def models():
    mlp = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 5))
    cnn = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5),
    )
    tokens = torch.randint(0, 50, (4, 17))
    return {
        "mlp": (mlp, torch.randn(32, 20), torch.randint(0, 5, (32,))),
        "cnn": (cnn, torch.randn(8, 3, 16, 16), torch.randint(0, 5, (8,))),
        "gpt": (GPT(), tokens[:, :-1], tokens[:, 1:].reshape(-1)),
    }


@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
@pytest.mark.parametrize("name", ["mlp", "cnn", "gpt"])
def test_training_follows_the_cpu(name, optimizer):
    torch.manual_seed(1)
    model, x, y = models()[name]
    losses = []
    for device in ("cpu", "gpu"):
        m = copy.deepcopy(model).to(device)
        o = torch.optim.SGD(m.parameters(), lr=0.05, momentum=0.9) if optimizer == "SGD" else torch.optim.AdamW(m.parameters(), lr=1e-3)
        a, b = x.to(device), y.to(device)
        curve = []
        for _ in range(20):
            o.zero_grad()
            out = m(a)
            loss = F.cross_entropy(out.reshape(-1, out.shape[-1]), b)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(m.parameters(), 1.0)
            o.step()
            curve.append(loss.item())
        losses.append((curve, [p.detach().cpu().numpy() for p in m.parameters()]))
    np.testing.assert_allclose(losses[1][0], losses[0][0], rtol=1e-3, atol=1e-3)
    assert losses[0][0][-1] < losses[0][0][0]
    for p, q in zip(losses[1][1], losses[0][1]):
        np.testing.assert_allclose(p, q, rtol=1e-3, atol=2e-3)


def test_random_numbers():
    torch.manual_seed(3)
    a = torch.randn(100_000, device="gpu")
    torch.manual_seed(3)
    b = torch.randn(100_000, device="gpu")
    assert torch.equal(a.cpu(), b.cpu()) and not torch.equal(a.cpu(), torch.randn(100_000, device="gpu").cpu())
    assert abs(a.mean().item()) < 0.02 and abs(a.std().item() - 1) < 0.02
    u = torch.rand(100_000, device="gpu")
    assert u.min().item() >= 0 and u.max().item() < 1 and abs(u.mean().item() - 0.5) < 0.01
    kept = F.dropout(torch.ones(100_000, device="gpu"), 0.25)
    assert kept.unique().cpu().tolist() == [0.0, pytest.approx(4 / 3)]
    assert abs((kept > 0).float().mean().item() - 0.75) < 0.01


def test_saving_keeps_the_device(tmp_path):
    x = torch.randn(5, 3, device="gpu")
    torch.save({"x": x}, tmp_path / "x.pt")
    assert torch.load(tmp_path / "x.pt", map_location="cpu")["x"].device.type == "cpu"
    y = torch.load(tmp_path / "x.pt")["x"]
    assert y.device.type == "gpu" and torch.equal(x.cpu(), y.cpu())


def test_the_gpu_under_cudas_name(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent("""
        import torch
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        model = torch.nn.Linear(3, 2).to(device)
        x = torch.ones(1, 3).cuda()
        torch.cuda.synchronize()
        print(device.type, model(x).is_cuda, x.device, torch.cuda.device_count() >= 1, torch.cuda.max_memory_allocated() > 0)
    """))
    done = subprocess.run([sys.executable, "-m", "rustgrad.run", "--gpu-as", "cuda", str(program)], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["cuda", "True", "cuda:0", "True", "True"], done.stderr
