"""DataLoader: batches of samples, from this process or from worker processes.

Each worker has two pipes of its own, one for the indices it is asked for and one for its results.
The loader deals tasks out in turn and takes results in the same order, so the order of batches does
not depend on timing, and a worker that dies is seen as the end of its pipe.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing as python_multiprocessing
import os
import pickle
import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing.connection import wait
from typing import Any, Generic, NoReturn, TypeVar

import rustgrad as rg

from . import _utils
from ._utils import ExceptionWrapper
from ._utils.collate import default_collate, default_convert
from ._utils.worker import _IterableDatasetStopIteration, _ResumeIteration, get_worker_info
from .dataset import Dataset, IterableDataset
from .sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler, _random_seed

__all__ = ["DataLoader", "get_worker_info", "default_collate", "default_convert"]

_T_co = TypeVar("_T_co", covariant=True)


class _DatasetKind:
    Map = 0
    Iterable = 1

    @staticmethod
    def create_fetcher(
        kind: int, dataset: Any, auto_collation: bool, collate_fn: Callable[[Any], Any], drop_last: bool
    ) -> Any:
        """What turns indices into batches, for a dataset of this kind."""
        cls: Any = _utils.fetch._MapDatasetFetcher
        if kind == _DatasetKind.Iterable:
            cls = _utils.fetch._IterableDatasetFetcher
        return cls(dataset, auto_collation, collate_fn, drop_last)


class _InfiniteConstantSampler(Sampler[None]):
    """The keys of a stream: None, for ever."""

    def __iter__(self) -> Iterator[None]:
        return itertools.repeat(None)


def _default_context() -> Any:
    """How workers start: as the program has chosen, else by fork where that is safe."""
    method = python_multiprocessing.get_start_method(allow_none=True)
    if method is None:
        method = "fork" if sys.platform.startswith("linux") else python_multiprocessing.get_start_method()
    return python_multiprocessing.get_context(method)


class DataLoader(Generic[_T_co]):
    """Iterates over a dataset in batches; see PyTorch's DataLoader for the options.

    `pin_memory` only warns where there is no accelerator. Raises ValueError for options that exclude each other.
    """

    dataset: Any
    batch_size: int | None
    num_workers: int
    pin_memory: bool
    drop_last: bool
    timeout: float
    sampler: Any
    pin_memory_device: str
    prefetch_factor: int | None
    _iterator: _BaseDataLoaderIter | None
    __initialized = False

    def __init__(
        self,
        dataset: Dataset[_T_co],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Any = None,
        batch_sampler: Any = None,
        num_workers: int = 0,
        collate_fn: Callable[[Any], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Any = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        if num_workers < 0:
            raise ValueError(
                "num_workers option should be non-negative; use num_workers=0 to disable multiprocessing."
            )
        if timeout < 0:
            raise ValueError("timeout option should be non-negative")
        if num_workers == 0 and prefetch_factor is not None:
            raise ValueError(
                "prefetch_factor option could only be specified in multiprocessing."
                "let num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to None."
            )
        if num_workers > 0 and prefetch_factor is None:
            prefetch_factor = 2
        elif prefetch_factor is not None and prefetch_factor < 0:
            raise ValueError("prefetch_factor option should be non-negative")
        if persistent_workers and num_workers == 0:
            raise ValueError("persistent_workers option needs num_workers > 0")

        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.in_order = in_order

        if isinstance(dataset, IterableDataset):
            self._dataset_kind = _DatasetKind.Iterable
            if shuffle not in {False, None}:
                raise ValueError(
                    f"DataLoader with IterableDataset: expected unspecified shuffle option, but got shuffle={shuffle}"
                )
            if sampler is not None:
                raise ValueError(
                    f"DataLoader with IterableDataset: expected unspecified sampler option, but got sampler={sampler}"
                )
            if batch_sampler is not None:
                raise ValueError(
                    "DataLoader with IterableDataset: expected unspecified "
                    f"batch_sampler option, but got batch_sampler={batch_sampler}"
                )
        else:
            shuffle = bool(shuffle)
            self._dataset_kind = _DatasetKind.Map

        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
                )
            batch_size = None
            drop_last = False
        elif batch_size is None:
            if drop_last:
                raise ValueError(
                    "batch_size=None option disables auto-batching and is mutually exclusive with drop_last"
                )
        if sampler is None:
            if self._dataset_kind == _DatasetKind.Iterable:
                sampler = _InfiniteConstantSampler()
            elif shuffle:
                sampler = RandomSampler(self.dataset, generator=generator)
            else:
                sampler = SequentialSampler(self.dataset)
        if batch_size is not None and batch_sampler is None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)

        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.generator = generator
        if collate_fn is None:
            collate_fn = default_collate if self._auto_collation else default_convert
        self.collate_fn = collate_fn
        self.persistent_workers = persistent_workers
        self.__initialized = True
        self._IterableDataset_len_called: int | None = None
        self._iterator = None
        self.check_worker_number_rationality()

    def _get_iterator(self) -> _BaseDataLoaderIter:
        if self.num_workers == 0:
            return _SingleProcessDataLoaderIter(self)
        self.check_worker_number_rationality()
        return _MultiProcessingDataLoaderIter(self)

    @property
    def multiprocessing_context(self) -> Any:
        """The multiprocessing context that starts the workers, or None."""
        return self.__multiprocessing_context

    @multiprocessing_context.setter
    def multiprocessing_context(self, multiprocessing_context: Any) -> None:
        if multiprocessing_context is not None:
            if self.num_workers <= 0:
                raise ValueError(
                    "multiprocessing_context can only be used with multi-process loading (num_workers > 0), "
                    f"but got num_workers={self.num_workers}"
                )
            if isinstance(multiprocessing_context, str):
                valid = python_multiprocessing.get_all_start_methods()
                if multiprocessing_context not in valid:
                    raise ValueError(
                        "multiprocessing_context option "
                        f"should specify a valid start method in {valid!r}, but got "
                        f"multiprocessing_context={multiprocessing_context!r}"
                    )
                multiprocessing_context = python_multiprocessing.get_context(multiprocessing_context)
            if not isinstance(multiprocessing_context, python_multiprocessing.context.BaseContext):
                raise TypeError(
                    "multiprocessing_context option should be a valid context object or a string specifying the "
                    f"start method, but got multiprocessing_context={multiprocessing_context}"
                )
        self.__multiprocessing_context = multiprocessing_context

    def __setattr__(self, attr: str, val: Any) -> None:
        if self.__initialized and attr in (
            "batch_size",
            "batch_sampler",
            "sampler",
            "drop_last",
            "dataset",
            "persistent_workers",
        ):
            raise ValueError(f"{attr} attribute should not be set after {self.__class__.__name__} is initialized")
        super().__setattr__(attr, val)

    def __iter__(self) -> _BaseDataLoaderIter:
        if self.persistent_workers and self.num_workers > 0:
            if self._iterator is None:
                self._iterator = self._get_iterator()
            else:
                self._iterator._reset(self)
            return self._iterator
        return self._get_iterator()

    @property
    def _auto_collation(self) -> bool:
        return self.batch_sampler is not None

    @property
    def _index_sampler(self) -> Any:
        return self.batch_sampler if self._auto_collation else self.sampler

    def __len__(self) -> int:
        if self._dataset_kind != _DatasetKind.Iterable:
            return len(self._index_sampler)
        length = self._IterableDataset_len_called = len(self.dataset)
        if self.batch_size is None:
            return length
        return length // self.batch_size if self.drop_last else -(-length // self.batch_size)

    def check_worker_number_rationality(self) -> None:
        """Warn where there are more workers than processors."""
        if not self.num_workers:
            return
        if hasattr(os, "sched_getaffinity"):
            available, note = len(os.sched_getaffinity(0)), ""
        else:
            available, note = os.cpu_count() or 0, " (`cpuset` is not taken into account)"
        if available and self.num_workers > available:
            warnings.warn(
                f"This DataLoader will create {self.num_workers} worker processes in total. "
                f"Our suggested max number of worker in current system is {available}{note}, which is smaller than "
                "what this DataLoader is going to create. Please be aware that excessive worker creation might get "
                "DataLoader running slow or even freeze, lower the worker number to avoid potential slowness/freeze "
                "if necessary.",
                stacklevel=2,
            )


class _BaseDataLoaderIter:
    def __init__(self, loader: DataLoader[Any]) -> None:
        self._dataset = loader.dataset
        self._dataset_kind = loader._dataset_kind
        self._IterableDataset_len_called = loader._IterableDataset_len_called
        self._auto_collation = loader._auto_collation
        self._drop_last = loader.drop_last
        self._index_sampler = loader._index_sampler
        self._num_workers = loader.num_workers
        if loader.pin_memory_device:
            warnings.warn(
                "pin_memory_device is deprecated, the current accelerator will be used as the device,"
                f"ignore pin_memory_device='{loader.pin_memory_device}'.",
                stacklevel=2,
            )
        if loader.pin_memory and not rg.gpu.is_available():
            warnings.warn(
                "'pin_memory' argument is set as true but no accelerator is found, "
                "then device pinned memory won't be used.",
                stacklevel=2,
            )
        self._pin_memory = False
        self._timeout = loader.timeout
        self._collate_fn = loader.collate_fn
        self._sampler_iter = iter(self._index_sampler)
        self._base_seed = _random_seed(loader.generator)
        self._persistent_workers = loader.persistent_workers
        self._num_yielded = 0

    def __iter__(self) -> _BaseDataLoaderIter:
        return self

    def _reset(self, loader: DataLoader[Any], first_iter: bool = False) -> None:
        self._sampler_iter = iter(self._index_sampler)
        self._num_yielded = 0
        self._IterableDataset_len_called = loader._IterableDataset_len_called

    def _next_index(self) -> Any:
        return next(self._sampler_iter)

    def _next_data(self) -> Any:
        raise NotImplementedError

    def __next__(self) -> Any:
        data = self._next_data()
        self._num_yielded += 1
        if (
            self._dataset_kind == _DatasetKind.Iterable
            and self._IterableDataset_len_called is not None
            and self._num_yielded > self._IterableDataset_len_called
        ):
            message = (
                f"Length of IterableDataset {self._dataset} was reported to be {self._IterableDataset_len_called}"
                f"(when accessing len(dataloader)), but {self._num_yielded} samples have been fetched. "
            )
            if self._num_workers > 0:
                message += (
                    "For multiprocessing data-loading, this could be caused by not properly configuring the "
                    "IterableDataset replica at each worker. Please see "
                    "https://pytorch.org/docs/stable/data.html#torch.utils.data.IterableDataset for examples."
                )
            warnings.warn(message, stacklevel=2)
        return data

    def __len__(self) -> int:
        return len(self._index_sampler)

    def __getstate__(self) -> NoReturn:
        raise NotImplementedError("{} cannot be pickled", self.__class__.__name__)


class _SingleProcessDataLoaderIter(_BaseDataLoaderIter):
    def __init__(self, loader: DataLoader[Any]) -> None:
        super().__init__(loader)
        if self._timeout != 0:
            raise AssertionError("_SingleProcessDataLoaderIter requires timeout == 0")
        if self._num_workers != 0:
            raise AssertionError("_SingleProcessDataLoaderIter requires num_workers == 0")
        self._dataset_fetcher = _DatasetKind.create_fetcher(
            self._dataset_kind, self._dataset, self._auto_collation, self._collate_fn, self._drop_last
        )

    def _next_data(self) -> Any:
        return self._dataset_fetcher.fetch(self._next_index())


class _Worker:
    """A worker process and the loader's ends of its two pipes."""

    def __init__(self, context: Any, worker_id: int, arguments: tuple[Any, ...], others: list[_Worker]) -> None:
        task_reader, self.tasks = context.Pipe(duplex=False)
        self.results, result_writer = context.Pipe(duplex=False)
        inherited: list[Any] = []
        if context.get_start_method() == "fork":
            inherited = [end for w in (*others, self) for end in (w.tasks, w.results)]
        iterable, dataset, *rest = arguments
        self.process = context.Process(
            target=_utils.worker._worker_loop,
            args=(iterable, dataset, task_reader, result_writer, inherited, worker_id, *rest),
            daemon=True,
        )
        self.process.start()
        task_reader.close()
        result_writer.close()
        self.active = True
        self.outstanding = 0

    def died(self) -> RuntimeError:
        return RuntimeError(f"DataLoader worker (pid(s) {self.process.pid}) exited unexpectedly")

    def send(self, task: Any) -> None:
        try:
            self.tasks.send(task)
        except OSError as error:
            raise self.died() from error

    def receive(self) -> Any:
        """The next message, which must be on its way; RuntimeError where the worker is gone."""
        if not self.process.is_alive() and not self.results.poll():
            raise self.died()
        try:
            message = self.results.recv_bytes()
        except (EOFError, OSError) as error:
            self.process.join(1)
            raise self.died() from error
        return pickle.loads(message)

    def stop(self) -> None:
        self.results.close()
        with contextlib.suppress(OSError):
            self.tasks.send(None)
        self.tasks.close()


class _MultiProcessingDataLoaderIter(_BaseDataLoaderIter):
    def __init__(self, loader: DataLoader[Any]) -> None:
        super().__init__(loader)
        self._owner = os.getpid()
        self._shutdown = False
        self._in_order = loader.in_order
        self._prefetch_factor = loader.prefetch_factor
        self._worker_list: list[_Worker] = []
        if self._num_workers <= 0:
            raise AssertionError("num_workers must be greater than 0 for MultiProcessingDataLoaderIter")
        if self._prefetch_factor is None or self._prefetch_factor <= 0:
            raise AssertionError("prefetch_factor must be greater than 0 for MultiProcessingDataLoaderIter")
        rg.multiprocessing  # noqa: B018  (teaches pickle about tensors)
        context = loader.multiprocessing_context or _default_context()
        arguments = (
            self._dataset_kind == _DatasetKind.Iterable,
            self._dataset,
            self._auto_collation,
            self._collate_fn,
            self._drop_last,
            self._base_seed,
            loader.worker_init_fn,
            self._num_workers,
        )
        for i in range(self._num_workers):
            self._worker_list.append(_Worker(context, i, arguments, self._worker_list))
        self._reset(loader, first_iter=True)

    @property
    def _workers(self) -> list[Any]:
        return [w.process for w in self._worker_list]

    def _reset(self, loader: DataLoader[Any], first_iter: bool = False) -> None:
        super()._reset(loader, first_iter)
        self._cycle = itertools.cycle(self._worker_list)
        self._send_idx = 0
        self._pending: deque[_Worker] = deque()  # whose turn it is, task by task
        for worker in self._worker_list:
            worker.active = True
        if not first_iter:
            for worker in self._worker_list:
                worker.send((-1, _ResumeIteration()))
            for worker in self._worker_list:  # what is left of a broken-off epoch is thrown away
                while not isinstance(self._receive([worker])[1], _ResumeIteration):
                    pass
        for worker in self._worker_list:
            worker.outstanding = 0
        for _ in range((self._prefetch_factor or 0) * self._num_workers):
            self._try_put_index()

    def _try_put_index(self) -> None:
        """Deal out one more task, where there is one and a worker for it."""
        try:
            index = self._next_index()
        except StopIteration:
            return
        candidates = [w for w in itertools.islice(self._cycle, self._num_workers) if w.active]
        if not candidates:
            return
        worker = candidates[0] if self._in_order else min(candidates, key=lambda w: w.outstanding)
        for w in self._cycle:  # the next turn is that of the worker after this one
            if w is worker:
                break
        worker.send((self._send_idx, index))
        worker.outstanding += 1
        self._send_idx += 1
        self._pending.append(worker)

    def _receive(self, workers: list[_Worker]) -> tuple[_Worker, Any]:
        """The first message of one of the workers; RuntimeError on a time-out or where one has died."""
        if len(workers) > 1 or not workers[0].results.poll():
            handles = {w.results: w for w in workers} | {w.process.sentinel: w for w in workers}
            ready = wait(list(handles), self._timeout or None)
            if not ready:
                raise RuntimeError(f"DataLoader timed out after {self._timeout} seconds")
            worker = next((handles[r] for r in ready if r is handles[r].results), handles[ready[0]])
        else:
            worker = workers[0]
        return worker, worker.receive()[1]

    def _next_data(self) -> Any:
        while self._pending:
            if self._in_order:
                worker = self._pending.popleft()
                if not worker.active:  # its stream ended before this task
                    continue
                _, data = self._receive([worker])
            else:
                waiting = [w for w in self._worker_list if w.active and w.outstanding]
                if not waiting:
                    break
                worker, data = self._receive(waiting)
                self._pending.remove(worker)
            worker.outstanding -= 1
            if isinstance(data, _IterableDatasetStopIteration):
                worker.active = False
                if not self._persistent_workers:
                    with contextlib.suppress(OSError):
                        worker.tasks.send(None)
                self._try_put_index()
                continue
            self._try_put_index()
            if isinstance(data, ExceptionWrapper):
                data.reraise()
            return data
        if not self._persistent_workers:
            self._shutdown_workers()
        raise StopIteration

    def _shutdown_workers(self) -> None:
        """Stop all workers; one that does not come to an end by itself is terminated."""
        if self._shutdown or self._owner != os.getpid():
            return
        self._shutdown = True
        self._pending.clear()
        for worker in self._worker_list:
            worker.stop()
        for worker in self._worker_list:
            worker.process.join(timeout=_utils.MP_STATUS_CHECK_INTERVAL)
            if worker.process.is_alive():
                worker.process.terminate()
                worker.process.join()

    def __del__(self) -> None:
        if not sys.is_finalizing():
            with contextlib.suppress(Exception):
                self._shutdown_workers()


