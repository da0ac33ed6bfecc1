#!/usr/bin/env python3
"""The same work in rustgrad, PyTorch (eager and compiled), JAX, ONNX Runtime and NumPy, side by side in one run.

    pip install torch jax onnxruntime onnx        # those that are missing are left out
    python benches/compare.py                     # every row, one thread and two
    python benches/compare.py --threads 1 --only gelu --json out.json

Libraries take turns (A B C A B C ...) in processes of their own, each call's result is read (`data_ptr`,
`block_until_ready`), and the table gives the median over rounds of the best time of a slice, in microseconds. Only
ratios within one run count.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import math
import multiprocessing as mp
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

Run = Callable[[], Any]
ROWS = [
    "scalar_add", "tiny_mlp_step", "add_64mb", "add_64mb_out", "exp_1m", "gelu_4m", "gelu_4m_grad", "sum_dim0",
    "softmax", "matmul_512", "matmul_2048",
]
LIBRARIES = ["rustgrad", "torch", "torch.compile", "jax", "onnxruntime", "numpy"]


def torch_like(name: str, T: Any, compiled: bool) -> Run | None:
    """The workload over a namespace like PyTorch's."""

    def gelu(x: Any) -> Any:
        return 0.5 * x * (1 + T.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))

    wrap = T.compile if compiled else (lambda f: f)

    def read(f: Callable[..., Any], *args: Any) -> Run:
        g = wrap(f)

        def run() -> None:
            g(*args).data_ptr()

        return run

    if name == "scalar_add":
        a, b = T.ones(1), T.ones(1)
        return None if compiled else (lambda: a + b)
    if name == "tiny_mlp_step":
        if compiled:
            return None
        nn = T.nn
        m = nn.Sequential(nn.Linear(2, 30), nn.ReLU(), nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 2))
        opt = T.optim.SGD(m.parameters(), lr=0.5)
        x, y = T.rand(2, 2), T.tensor([0, 1])

        def step() -> None:
            loss = nn.functional.cross_entropy(m(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()

        return step
    if name == "add_64mb":
        return read(lambda a, b: a + b, T.randn(1 << 24), T.randn(1 << 24))
    if name == "add_64mb_out":
        a, b, out = (T.randn(1 << 24) for _ in range(3))
        return None if compiled else (lambda: T.add(a, b, out=out))
    if name == "exp_1m":
        return read(lambda a: a.exp(), T.randn(1 << 20))
    if name == "gelu_4m":
        return read(gelu, T.randn(1 << 22))
    if name == "gelu_4m_grad":
        f, x = wrap(gelu), T.randn(1 << 22).requires_grad_(True)

        def both() -> None:
            x.grad = None
            f(x).sum().backward()
            x.grad.data_ptr()

        return both
    if name == "sum_dim0":
        return read(lambda a: a.sum(0), T.randn(2048, 1024))
    if name == "softmax":
        return read(lambda a: T.softmax(a, dim=-1), T.randn(2048, 1024))
    n = int(name.split("_")[1])
    return None if compiled else read(lambda a, b: a @ b, T.randn(n, n), T.randn(n, n))


def in_jax(name: str) -> Run | None:
    import jax
    import jax.numpy as jnp
    import numpy as np

    r = np.random.default_rng(0)

    def array(*shape: int) -> Any:
        return jnp.asarray(r.standard_normal(shape, dtype=np.float32))

    def gelu(x: Any) -> Any:
        return 0.5 * x * (1 + jnp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))

    def call(f: Callable[..., Any], *args: Any) -> Run:
        g = jax.jit(f)
        return lambda: g(*args).block_until_ready()

    n = 1 << 22
    made: dict[str, Callable[[], Run]] = {
        "scalar_add": lambda: call(lambda a, b: a + b, array(1), array(1)),
        "add_64mb": lambda: call(lambda a, b: a + b, array(1 << 24), array(1 << 24)),
        "exp_1m": lambda: call(jnp.exp, array(1 << 20)),
        "gelu_4m": lambda: call(gelu, array(n)),
        "gelu_4m_grad": lambda: call(jax.grad(lambda x: gelu(x).sum()), array(n)),
        "sum_dim0": lambda: call(lambda a: a.sum(0), array(2048, 1024)),
        "softmax": lambda: call(lambda a: jax.nn.softmax(a, axis=-1), array(2048, 1024)),
        "matmul_512": lambda: call(lambda a, b: a @ b, array(512, 512), array(512, 512)),
        "matmul_2048": lambda: call(lambda a, b: a @ b, array(2048, 2048), array(2048, 2048)),
    }
    return made[name]() if name in made else None


def in_onnxruntime(name: str, threads: int) -> Run | None:
    import numpy as np
    import onnxruntime as ort
    from onnx import TensorProto, helper

    shapes = {
        "exp_1m": ("Exp", [[1 << 20]], [1 << 20]), "softmax": ("Softmax", [[2048, 1024]], [2048, 1024]),
        "add_64mb": ("Add", [[1 << 24]] * 2, [1 << 24]), "sum_dim0": ("ReduceSum", [[2048, 1024]], [1, 1024]),
        "matmul_512": ("MatMul", [[512, 512]] * 2, [512, 512]),
        "matmul_2048": ("MatMul", [[2048, 2048]] * 2, [2048, 2048]),
    }
    if name not in shapes:
        return None
    op, inputs, output = shapes[name]
    names = [f"x{k}" for k in range(len(inputs))]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip(names, inputs)]
    constants = []
    if op == "ReduceSum":
        constants = [helper.make_tensor("axes", TensorProto.INT64, [1], [0])]
        names.append("axes")
    node = helper.make_node(op, names, ["y"])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, output)
    graph = helper.make_graph([node], "g", values, [result], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    r = np.random.default_rng(0)
    bound = session.io_binding()
    for n, s in zip(names, inputs):
        bound.bind_ortvalue_input(n, ort.OrtValue.ortvalue_from_numpy(r.standard_normal(s, dtype=np.float32)))
    bound.bind_output("y")
    return lambda: session.run_with_iobinding(bound)


def in_numpy(name: str) -> Run | None:
    import numpy as np

    r = np.random.default_rng(0)

    def array(*shape: int) -> Any:
        return r.standard_normal(shape, dtype=np.float32)

    def gelu(x: Any) -> Any:
        return 0.5 * x * (1 + np.tanh(np.float32(math.sqrt(2 / math.pi)) * (x + np.float32(0.044715) * x * x * x)))

    if name == "scalar_add":
        a, b = array(1), array(1)
        return lambda: a + b
    if name in ("add_64mb", "add_64mb_out"):
        a, b, c = array(1 << 24), array(1 << 24), array(1 << 24)
        return (lambda: np.add(a, b, out=c)) if name.endswith("out") else (lambda: a + b)
    if name == "exp_1m":
        a = array(1 << 20)
        return lambda: np.exp(a)
    if name == "gelu_4m":
        a = array(1 << 22)
        return lambda: gelu(a)
    if name == "sum_dim0":
        a = array(2048, 1024)
        return lambda: a.sum(0)
    if name.startswith("matmul"):
        n = int(name.split("_")[1])
        a, b = array(n, n), array(n, n)
        return lambda: a @ b
    return None


def build(library: str, name: str, threads: int) -> Run | None:
    if library in ("rustgrad", "torch", "torch.compile"):
        T = importlib.import_module(library.split(".")[0])
        T.set_num_threads(threads)
        T.manual_seed(0)
        return torch_like(name, T, library.endswith("compile"))
    if library == "jax":
        return in_jax(name)
    if library == "onnxruntime":
        return in_onnxruntime(name, threads)
    return in_numpy(name)


def worker(library: str, threads: int, pipe: Any) -> None:
    flag = "true" if threads > 1 else "false"
    os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={flag} intra_op_parallelism_threads={threads}"
    for k in ("RUSTGRAD_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[k] = str(threads)
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, cores[:threads])  # JAX takes its threads from what it sees
    run: Run | None = None
    while (message := pipe.recv()) is not None:
        try:
            if message[0] == "build":
                run = None
                gc.collect()
                run = build(library, message[1], threads)
                if run is not None:
                    for _ in range(3):
                        run()
                pipe.send(run is not None)
            else:
                assert run is not None
                begin = time.perf_counter()
                run()
                calls = max(1, int(0.02 / max(time.perf_counter() - begin, 1e-8)))
                best, end = math.inf, time.perf_counter() + message[1]
                while time.perf_counter() < end:
                    begin = time.perf_counter()
                    for _ in range(calls):
                        run()
                    best = min(best, (time.perf_counter() - begin) / calls)
                pipe.send(best * 1e6)
        except Exception as e:
            print(f"# {library}: {type(e).__name__}: {e}"[:160], file=sys.stderr)
            run = None
            pipe.send(False if message[0] == "build" else math.nan)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--only", default="", help="rows whose names begin so, comma-separated")
    parser.add_argument("--libraries", default=",".join(LIBRARIES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slice", type=float, default=0.15, help="seconds a turn")
    parser.add_argument("--json", help="a file for the numbers")
    options = parser.parse_args()
    wanted = [p for p in options.only.split(",") if p]
    rows = [r for r in ROWS if not wanted or any(r.startswith(p) for p in wanted)]
    libraries = options.libraries.split(",")
    context = mp.get_context("spawn")
    found: list[dict[str, Any]] = []
    for threads in map(int, options.threads.split(",")):
        workers = {}
        for library in libraries:
            mine, theirs = context.Pipe()
            process = context.Process(target=worker, args=(library, threads, theirs), daemon=True)
            process.start()
            workers[library] = (mine, process)
        print(f"\n{threads} thread(s), microseconds\n{'':<14}" + "".join(f"{lib:>15}" for lib in libraries))
        for row in rows:
            times: dict[str, list[float]] = {}
            for library, (pipe, _) in workers.items():
                pipe.send(("build", row))
                if pipe.recv():
                    times[library] = []
            for _ in range(options.rounds):
                for library, taken in times.items():
                    time.sleep(0.02)  # threads that spin after the last turn go to sleep
                    pipe = workers[library][0]
                    pipe.send(("run", options.slice))
                    taken.append(pipe.recv())
            medians = {lib: statistics.median(t) for lib, t in times.items()}
            cells = [f"{medians[lib]:>15.2f}" if lib in medians else f"{'-':>15}" for lib in libraries]
            print(f"{row:<14}" + "".join(cells), flush=True)
            found.append({"row": row, "threads": threads, "us": medians})
        for pipe, process in workers.values():
            pipe.send(None)
            process.join()
    if options.json:
        with open(options.json, "w") as f:
            json.dump(found, f, indent=1)


if __name__ == "__main__":
    main()
