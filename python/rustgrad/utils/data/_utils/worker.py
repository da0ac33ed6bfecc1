"""What runs in a worker process of the loader."""

from __future__ import annotations

import pickle
import queue
import random
import threading
from collections import deque
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np

import rustgrad as rg

from . import ExceptionWrapper, fetch

_worker_info: WorkerInfo | None = None


class WorkerInfo:
    """A worker's id, num_workers, seed and dataset."""

    __initialized = False

    def __init__(self, **kwargs: Any) -> None:
        for key, value in kwargs.items():
            setattr(self, key, value)
        self.__keys = tuple(kwargs.keys())
        self.__initialized = True

    def __setattr__(self, key: str, value: Any) -> None:
        if self.__initialized:
            raise RuntimeError(f"Cannot assign attributes to {self.__class__.__name__} objects")
        super().__setattr__(key, value)

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({', '.join(f'{k}={getattr(self, k)}' for k in self.__keys)})"


def get_worker_info() -> Any:
    """In a worker process its WorkerInfo, else None."""
    return _worker_info


class _IterableDatasetStopIteration:
    """Says that a worker's stream has ended."""

    def __init__(self, worker_id: int) -> None:
        self.worker_id = worker_id


class _ResumeIteration:
    """Asks a persistent worker to begin a new epoch; the worker sends it back."""

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed


def _generate_state(base_seed: int, worker_id: int) -> list[int]:
    """The worker's seed for NumPy: four words mixed from the base seed and the worker's id."""
    words = [worker_id, base_seed & 0xFFFFFFFF, base_seed >> 32, 0]
    return [int(w) for w in np.random.SeedSequence(words).generate_state(4)]


class _Sender(threading.Thread):
    """Writes results to the loader, so that the worker goes on while the loader is busy."""

    def __init__(self, connection: Any) -> None:
        super().__init__(daemon=True)
        self.connection = connection
        self.queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.broken = False
        self.start()

    def send(self, task: int, data: Any, worker_id: int) -> None:
        try:
            message = ForkingPickler.dumps((task, data), pickle.HIGHEST_PROTOCOL)
        except Exception:
            wrapper = ExceptionWrapper(where=f"in DataLoader worker process {worker_id}")
            message = ForkingPickler.dumps((task, wrapper), pickle.HIGHEST_PROTOCOL)
        self.queue.put(message)

    def run(self) -> None:
        while (message := self.queue.get()) is not None:
            try:
                self.connection.send_bytes(message)
            except (BrokenPipeError, OSError):
                self.broken = True
                return

    def finish(self) -> None:
        self.queue.put(None)
        self.join()


def _read_tasks(connection: Any, pending: deque[Any]) -> bool:
    """Take in what has been asked for, waiting for one task at least; False where the loader is done."""
    try:
        while not pending or connection.poll():
            task = connection.recv()
            if task is None:
                return False
            pending.append(task)
    except (EOFError, OSError):
        return False
    return True


def _worker_loop(
    iterable: bool,
    dataset: Any,
    tasks: Any,
    results: Any,
    unused: list[Any],
    worker_id: int,
    auto_collation: bool,
    collate_fn: Callable[[Any], Any],
    drop_last: bool,
    base_seed: int,
    init_fn: Callable[[int], None] | None,
    num_workers: int,
) -> None:
    """Answer tasks (number, indices) until told to stop, or until the loader is gone."""
    global _worker_info
    try:
        for connection in unused:  # the loader's ends, which a fork copied
            connection.close()
        sender = _Sender(results)
        rg.set_num_threads(1)
        seed = base_seed + worker_id
        random.seed(seed)
        rg.manual_seed(seed)
        np.random.seed(_generate_state(base_seed, worker_id))
        _worker_info = WorkerInfo(id=worker_id, num_workers=num_workers, seed=seed, dataset=dataset)
        fetcher_class: Any = fetch._IterableDatasetFetcher if iterable else fetch._MapDatasetFetcher
        fetcher = None
        problem: ExceptionWrapper | None = None

        def start() -> Any:
            return fetcher_class(dataset, auto_collation, collate_fn, drop_last)

        try:
            if init_fn is not None:
                init_fn(worker_id)
            fetcher = start()
        except Exception:
            problem = ExceptionWrapper(where=f"in DataLoader worker process {worker_id}")

        ended = False
        pending: deque[Any] = deque()
        while _read_tasks(tasks, pending):
            if sender.broken:
                break
            task, index = pending.popleft()
            if isinstance(index, _ResumeIteration):
                sender.send(task, index, worker_id)
                ended = False
                try:
                    fetcher = start()
                except Exception:
                    problem = ExceptionWrapper(where=f"in DataLoader worker process {worker_id}")
                continue
            if ended:
                continue
            data: Any
            if problem is not None:
                data, problem = problem, None
            else:
                try:
                    data = fetcher.fetch(index)  # type: ignore[union-attr]
                except Exception as error:
                    if isinstance(error, StopIteration) and iterable:
                        data = _IterableDatasetStopIteration(worker_id)
                        ended = True
                    else:
                        data = ExceptionWrapper(where=f"in DataLoader worker process {worker_id}")
            sender.send(task, data, worker_id)
            del data
        if not sender.broken:
            sender.finish()
    except KeyboardInterrupt:
        pass  # the main process raises it
