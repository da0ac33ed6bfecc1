"""The GPU backend measured, next to PyTorch on the same card where a CUDA build of it is installed.

    python benches/gpu.py                      # a table, and gpu.json
    RUSTGRAD_ADAPTER=llvmpipe python benches/gpu.py --json lavapipe.json

Sizes are those of a real card; on a software adapter they are smaller, to show that everything runs: its figures say
nothing. Every figure is the best of several rounds, each of as many calls as fill 50 ms and one wait at the end, so it
is the time of a call in a stream of calls. PyTorch computes in float32 without TF32.
"""

import argparse
import json
import math
import time

import numpy as np

import rustgrad as rg

ROUND = 0.05  # seconds that a round should last
ROUNDS = 5


class Side:
    """A library with its device."""

    def __init__(self, name, lib, device, wait):
        self.name, self.lib, self.device, self.wait = name, lib, device, wait

    def tensor(self, a):
        return self.lib.tensor(a).to(self.device)


def sides():
    found = [Side("rustgrad", rg, "gpu", rg.gpu.synchronize)]
    try:
        import torch
    except ImportError:
        return found
    if torch.cuda.is_available():
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        found.append(Side("torch", torch, "cuda", torch.cuda.synchronize))
    return found


def seconds(side, call, budget):
    """Seconds for one call."""
    call()
    side.wait()
    start = time.perf_counter()
    call()
    side.wait()
    once = time.perf_counter() - start
    calls = max(1, min(10_000, int(ROUND / max(once, 1e-7))))
    best = math.inf
    end = time.perf_counter() + budget
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(calls):
            call()
        side.wait()
        best = min(best, (time.perf_counter() - start) / calls)
        if time.perf_counter() > end:
            break
    return best


def read(x):
    """Asks for the values' place, so that what is pending is computed."""
    x.data_ptr()
    return x


def cases(real):
    """Name, what is counted (bytes or operations; None for time alone), and a maker of the call."""
    rng = np.random.default_rng(0)
    normal = lambda *shape: rng.standard_normal(shape, dtype=np.float32)
    n = 1 << (26 if real else 20)
    yield "copy", "GB/s", 8 * n, lambda s: (lambda x: lambda: x.clone())(s.tensor(normal(n)))
    yield "add", "GB/s", 12 * n, lambda s: (lambda x, y: lambda: read(x + y))(s.tensor(normal(n)), s.tensor(normal(n)))
    yield "mul by a row", "GB/s", 8 * n, lambda s: (lambda x, y: lambda: read(x * y))(
        s.tensor(normal(n // 1024, 1024)), s.tensor(normal(1024)))

    def gelu(s):
        x = s.tensor(normal(n))
        return lambda: read(0.5 * x * (1 + (0.7978845608 * (x + 0.044715 * x * x * x)).tanh()))

    yield "gelu by hand", "GB/s", 8 * n, gelu
    yield "sum", "GB/s", 4 * n, lambda s: (lambda x: lambda: x.sum())(s.tensor(normal(n)))
    rows = (n // 1024, 1024)
    yield "sum over rows", "GB/s", 4 * n, lambda s: (lambda x: lambda: x.sum(1))(s.tensor(normal(*rows)))
    yield "sum over columns", "GB/s", 4 * n, lambda s: (lambda x: lambda: x.sum(0))(s.tensor(normal(*rows)))
    yield "softmax", "GB/s", 8 * n, lambda s: (lambda x: lambda: x.softmax(1))(s.tensor(normal(*rows)))

    def layer_norm(s):
        x, w, b = s.tensor(normal(*rows)), s.tensor(normal(1024)), s.tensor(normal(1024))
        return lambda: s.lib.nn.functional.layer_norm(x, (1024,), w, b)

    yield "layer norm", "GB/s", 8 * n, layer_norm
    for m in (1024, 2048, 4096, 8192) if real else (256, 512):
        yield f"matmul {m}", "GF/s", 2 * m**3, lambda s, m=m: (lambda a, b: lambda: a @ b)(
            s.tensor(normal(m, m)), s.tensor(normal(m, m)))
    k = 4096 if real else 1024
    yield f"matrix {k} x vector", "GB/s", 4 * k * k, lambda s: (lambda a, b: lambda: a @ b)(
        s.tensor(normal(k, k)), s.tensor(normal(k)))
    b, h, t, d = (8, 12, 1024, 64) if real else (1, 4, 256, 64)

    def attention(causal, train):
        def make(s):
            q, k, v = (s.tensor(normal(b, h, t, d)) for _ in range(3))
            f = s.lib.nn.functional.scaled_dot_product_attention
            if not train:
                return lambda: f(q, k, v, is_causal=causal)
            q, k, v = (x.requires_grad_() for x in (q, k, v))
            g = s.tensor(normal(b, h, t, d))
            return lambda: s.lib.autograd.grad(f(q, k, v, is_causal=causal), (q, k, v), g)
        return make

    yield "attention", "GF/s", 4 * b * h * t * t * d, attention(False, False)
    yield "attention, causal", "GF/s", 2 * b * h * t * t * d, attention(True, False)
    yield "attention with gradient", "GF/s", 14 * b * h * t * t * d, attention(False, True)
    c, size, images = (256, 28, 32) if real else (32, 28, 2)

    def conv(train):
        def make(s):
            x, w = s.tensor(normal(images, c, size, size)), s.tensor(normal(c, c, 3, 3))
            f = lambda: s.lib.nn.functional.conv2d(x, w, padding=1)
            if not train:
                return f
            x.requires_grad_()
            w.requires_grad_()
            g = s.tensor(normal(images, c, size, size))
            return lambda: s.lib.autograd.grad(f(), (x, w), g)
        return make

    work = 2 * images * c * c * size * size * 9
    yield "conv 3x3", "GF/s", work, conv(False)
    yield "conv 3x3 with gradients", "GF/s", 3 * work, conv(True)
    yield "small add", "us", None, lambda s: (lambda x: lambda: read(x + 1))(s.tensor(normal(16)))
    yield "small matmul", "us", None, lambda s: (lambda x: lambda: x @ x)(s.tensor(normal(16, 16)))
    yield "GPT training step", "ms", None, lambda s: gpt_step(s, real)


def gpt_step(s, real):
    """A step of AdamW on a small decoder-only transformer."""
    lib, nn, F = s.lib, s.lib.nn, s.lib.nn.functional
    width, heads, layers, length, batch, vocabulary = (384, 6, 6, 256, 16, 4096) if real else (64, 4, 2, 64, 2, 256)

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.n1, self.n2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x):
            n, t, _ = x.shape
            q, k, v = (y.reshape(n, t, heads, -1).transpose(1, 2) for y in self.qkv(self.n1(x)).split(width, -1))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.transpose(1, 2).reshape(n, t, width))
            return x + self.down(F.gelu(self.up(self.n2(x))))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.token, self.place = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
            self.blocks, self.norm = nn.Sequential(*(Block() for _ in range(layers))), nn.LayerNorm(width)
            self.head = nn.Linear(width, vocabulary)

        def forward(self, tokens):
            x = self.token(tokens) + self.place.weight
            return self.head(self.norm(self.blocks(x)))

    lib.manual_seed(0)
    model = GPT().to(s.device)
    optimizer = lib.optim.AdamW(model.parameters(), lr=3e-4)
    tokens = s.tensor(np.random.default_rng(1).integers(0, vocabulary, (batch, length)))
    wanted = s.tensor(np.random.default_rng(2).integers(0, vocabulary, (batch, length)))

    def step():
        optimizer.zero_grad()
        F.cross_entropy(model(tokens).reshape(-1, vocabulary), wanted.reshape(-1)).backward()
        optimizer.step()

    return step


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--json", default="gpu.json", help="where the figures go")
    ap.add_argument("--only", default="", help="cases whose name contains this")
    ap.add_argument("--seconds", type=float, default=1.0, help="for each case and library")
    opts = ap.parse_args()
    properties = rg.gpu.get_device_properties()
    real = properties.type != "Cpu"
    both = sides()
    driver = f"{properties.driver} {properties.driver_info}"
    print(f"{properties.name}, {properties.backend}, driver {driver}; {time.strftime('%Y-%m-%d')}")
    if not real:
        print("a software adapter: no figure here says anything about a GPU")
    print(f"\n| {'case':<26} | unit | {' | '.join(f'{s.name:>10}' for s in both)} | {'ratio':>6} |")
    print(f"|{'-' * 28}|------|{'|'.join('-' * 12 for _ in both)}|{'-' * 8}|")
    rows = []
    for name, unit, work, make in cases(real):
        if opts.only not in name:
            continue
        times = []
        for s in both:
            try:
                times.append(seconds(s, make(s), opts.seconds))
            except Exception as e:  # a case that fails is shown, and the others go on
                print(f"  {name}: {type(e).__name__}: {e}")
                times.append(math.nan)
        shown = [work / t / 1e9 if work else t * (1e6 if unit == "us" else 1e3) for t in times]
        ratio = f"{times[1] / times[0]:.2f}" if len(times) > 1 else "-"
        print(f"| {name:<26} | {unit:<4} | {' | '.join(f'{v:>10.1f}' for v in shown)} | {ratio:>6} |", flush=True)
        rows.append({"case": name, "unit": unit, **{s.name: v for s, v in zip(both, shown)},
                     **{s.name + "_seconds": t for s, t in zip(both, times)}})
    with open(opts.json, "w") as f:
        json.dump({"adapter": properties.__dict__, "date": time.strftime("%Y-%m-%d"), "rows": rows}, f, indent=1)


if __name__ == "__main__":
    main()
