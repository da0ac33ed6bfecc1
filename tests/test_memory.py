"""The memory of tensors: what is kept, counted, limited, and what a signal does in a long kernel."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
import weakref

import pytest

import rustgrad as torch


def stats(name):
    return torch.memory_stats()[name]


def test_results_take_attributes_and_weak_references():
    # Objects of results are made without a dictionary; one comes with the first attribute.
    y = torch.ones(2) + 1
    assert y.__dict__ == {}
    y.note = "kept"
    assert y.note == "kept" and y.__dict__ == {"note": "kept"}
    y.itself = y
    ref = weakref.ref(y)
    assert ref() is y
    del y
    gc.collect()
    assert ref() is None


def test_freed_blocks_serve_again():
    torch.empty_cache()
    x = torch.zeros(1 << 20)
    address = x.data_ptr()
    del x
    reused = stats("allocation.all.reused")
    y = torch.empty(1 << 20)
    assert y.data_ptr() == address and stats("allocation.all.reused") == reused + 1
    del y
    z = torch.zeros(1 << 20)  # a block that was used before is cleared
    assert z.data_ptr() == address and z.abs().sum().item() == 0


def test_counters():
    gc.collect()
    before = stats("allocated_bytes.all.current")
    torch.reset_peak_memory_stats()
    x = torch.empty(1 << 20)
    assert 4 << 20 <= stats("allocated_bytes.all.current") - before <= 5 << 20
    del x
    assert stats("allocated_bytes.all.current") == before
    assert stats("allocated_bytes.all.peak") - before >= 4 << 20
    assert stats("reserved_bytes.all.current") >= stats("allocated_bytes.all.current")
    torch.empty_cache()
    assert stats("reserved_bytes.all.current") == stats("allocated_bytes.all.current")


def test_what_is_kept_is_bounded():
    torch.empty_cache()
    for k in range(1, 60):
        torch.empty(k << 18).fill_(1)  # sizes that never come again
    kept = stats("reserved_bytes.all.current") - stats("allocated_bytes.all.current")
    assert kept <= 1.2 * (60 << 20) + stats("allocated_bytes.all.peak") + (40 << 20)
    torch.empty_cache()


def test_the_limit_raises_at_the_call():
    limit = stats("allocated_bytes.all.current") + (16 << 20)
    torch.set_memory_limit(limit)
    try:
        small = torch.ones(1 << 20)
        for make in (lambda: torch.zeros(1 << 23), lambda: small.expand(16, 1 << 20) + 1, lambda: small.repeat(16)):
            with pytest.raises(MemoryError, match="can't allocate memory"):
                make()
            with pytest.raises(RuntimeError):
                make()
            with pytest.raises(torch.OutOfMemoryError):
                make()
        assert (small + 1)[0].item() == 2
        assert stats("limit_bytes") == limit
    finally:
        torch.set_memory_limit(None)
    assert "limit_bytes" not in torch.memory_stats()
    assert torch.zeros(1 << 23).numel() == 1 << 23


def test_the_limit_of_the_environment():
    code = "import rustgrad as t; t.ones(100)\ntry: t.zeros(1 << 24)\nexcept MemoryError: print('refused', t.memory_stats()['limit_bytes'])"
    out = subprocess.run([sys.executable, "-c", code], env={**os.environ, "RUSTGRAD_MEMORY_LIMIT": "32M"}, capture_output=True, text=True)
    assert out.stdout.split() == ["refused", str(32 << 20)], out.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
@pytest.mark.parametrize("threads", [1, 2])
def test_a_signal_stops_a_long_kernel(threads):
    class Stop(Exception):
        pass

    def handler(*_):
        raise Stop

    before, old = torch.get_num_threads(), signal.signal(signal.SIGALRM, handler)
    torch.set_num_threads(threads)
    a = torch.ones(3000, 3000)
    try:
        with pytest.raises(Stop):
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            while True:
                b = a @ a @ a  # several of these take seconds
                del b
        # Nothing is left in a bad state.
        assert (a[:10] @ a)[0, 0].item() == 3000
        begin = time.perf_counter()
        with pytest.raises(Stop):
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            torch.ones(1 << 12, 1 << 12).double().matmul(torch.ones(1 << 12, 1 << 12).double()).sum().item()
            time.sleep(60)
        assert time.perf_counter() - begin < 60
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)
        torch.set_num_threads(before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_computes_on_threads_of_its_own():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        x = torch.ones(1 << 20)
        assert x.add(1).sum().item() == 2 << 20
        y = x * 3  # pending across the fork
        pid = os.fork()
        if pid == 0:
            ok = y.sum().item() == 3 << 20 and (x @ x).item() == 1 << 20
            os._exit(0 if ok else 1)
        assert os.waitpid(pid, 0)[1] == 0
        assert y.sum().item() == 3 << 20
    finally:
        torch.set_num_threads(before)
