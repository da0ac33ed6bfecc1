"""Datasets, samplers, collation, loaders with and without workers."""

import collections
import os
import warnings

import numpy as np
import pytest

import rustgrad as torch
from rustgrad import nn
from rustgrad.utils import data
from rustgrad.utils.data import DataLoader, Dataset, IterableDataset, default_collate, get_worker_info


class Squares(Dataset):
    def __init__(self, n=10):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if i >= self.n:
            raise IndexError
        return torch.tensor(i * i), i


class Draws(Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, i):
        return torch.rand(()).item(), os.getpid(), get_worker_info().id


class Stream(IterableDataset):
    def __iter__(self):
        info = get_worker_info()
        first, step = (info.id, info.num_workers) if info else (0, 1)
        return iter(range(first, 7, step))


class Broken(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, i):
        if i == 2:
            raise KeyError("item two")
        return i


Point = collections.namedtuple("Point", "x y")


def test_collate():
    assert default_collate([1, 2]).dtype is torch.int64
    assert default_collate([1.0, 2.0]).dtype is torch.float64
    assert default_collate([np.float32(1), np.float32(2)]).dtype is torch.float32
    assert default_collate([np.zeros(2), np.ones(2)]).tolist() == [[0, 0], [1, 1]]
    assert default_collate(["a", "b"]) == ["a", "b"]
    assert default_collate([torch.ones(2), torch.zeros(2)]).shape == (2, 2)
    out = default_collate([{"a": 1, "b": [1.0, "x"]}, {"a": 2, "b": [2.0, "y"]}])
    assert out["a"].tolist() == [1, 2]
    assert out["b"][0].tolist() == [1.0, 2.0]
    assert list(out["b"][1]) == ["x", "y"]
    p = default_collate([Point(1, 2), Point(3, 4)])
    assert isinstance(p, Point)
    assert p.y.tolist() == [2, 4]
    with pytest.raises(RuntimeError, match="each element in list of batch should be of equal size"):
        default_collate([[1], [1, 2]])
    with pytest.raises(TypeError, match="default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found"):
        default_collate([object()])
    with pytest.raises(RuntimeError, match=r"stack expects each tensor to be equal size, but got \[2\] at entry 0 and \[3\] at entry 1"):
        default_collate([torch.ones(2), torch.ones(3)])


def test_batches():
    loader = DataLoader(Squares(), batch_size=4)
    assert [b[0].tolist() for b in loader] == [[0, 1, 4, 9], [16, 25, 36, 49], [64, 81]]
    assert len(loader) == 3
    loader = DataLoader(Squares(), batch_size=4, drop_last=True)
    assert (len(loader), len(list(loader))) == (2, 2)
    assert [x for _, x in DataLoader(Squares(3), batch_size=None)] == [0, 1, 2]
    assert DataLoader(Squares(3), batch_size=2, collate_fn=lambda items: [i for _, i in items]).__iter__().__next__() == [0, 1]


def test_reproducible_shuffles():
    def order(seed):
        loader = DataLoader(Squares(), batch_size=10, shuffle=True, generator=torch.Generator().manual_seed(seed))
        return next(iter(loader))[1].tolist()

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert sorted(order(1)) == list(range(10))


def test_samplers():
    assert list(data.SequentialSampler(range(3))) == [0, 1, 2]
    assert list(data.BatchSampler(range(5), 2, False)) == [[0, 1], [2, 3], [4]]
    assert list(data.BatchSampler(range(5), 2, True)) == [[0, 1], [2, 3]]
    assert len(data.BatchSampler(range(5), 2, False)) == 3
    it = iter(data.RandomSampler(range(3), replacement=True, num_samples=10**10))
    assert next(it) in range(3)  # lazily
    s = data.DistributedSampler(range(5), num_replicas=2, rank=1, shuffle=False)
    assert list(s) == [1, 3, 0]
    assert [b[1].tolist() for b in DataLoader(Squares(), batch_sampler=[[1, 2], [5]])] == [[1, 2], [5]]


def test_datasets():
    t = data.TensorDataset(torch.arange(3), torch.arange(3) * 2)
    assert t[1][1].item() == 2
    assert len(data.ConcatDataset([Squares(3), Squares(4)])) == 7
    assert (Squares(3) + Squares(4))[3][1] == 0
    assert data.Subset(Squares(), [4, 2])[1][1] == 2
    assert [i for _, i in Squares(3)] == [0, 1, 2]
    with pytest.raises(AssertionError, match="Size mismatch between tensors"):
        data.TensorDataset(torch.ones(2), torch.ones(3))
    with pytest.raises(ValueError, match="Sum of input lengths does not equal the length of the input dataset!"):
        data.random_split(range(5), [2, 2])
    assert [len(s) for s in data.random_split(range(10), [0.55, 0.45])] == [6, 4]


def test_loader_errors():
    with pytest.raises(ValueError, match="sampler option is mutually exclusive with shuffle"):
        DataLoader(Squares(), shuffle=True, sampler=range(3))
    with pytest.raises(ValueError, match="batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"):
        DataLoader(Squares(), batch_size=2, batch_sampler=[[0]])
    with pytest.raises(ValueError, match="num_workers option should be non-negative"):
        DataLoader(Squares(), num_workers=-1)
    with pytest.raises(ValueError, match="batch_size should be a positive integer value, but got batch_size=0"):
        DataLoader(Squares(), batch_size=0)
    with pytest.raises(ValueError, match="num_samples should be a positive integer value, but got num_samples=0"):
        DataLoader(Squares(0), shuffle=True)


def test_iterable_datasets():
    assert [b.tolist() for b in DataLoader(Stream(), batch_size=3)] == [[0, 1, 2], [3, 4, 5], [6]]
    with pytest.raises(ValueError, match="expected unspecified shuffle option"):
        DataLoader(Stream(), shuffle=True)
    with pytest.raises(TypeError):
        len(DataLoader(Stream()))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_workers_keep_the_order():
    loader = DataLoader(Squares(), batch_size=3, num_workers=2)
    assert [b[1].tolist() for b in loader] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    loader = DataLoader(Squares(), batch_size=5, num_workers=1, persistent_workers=True, prefetch_factor=2)
    assert [b[0].tolist() for b in loader] == [b[0].tolist() for b in loader]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_workers_are_processes_with_seeds_of_their_own():
    def run():
        torch.manual_seed(3)
        return [[v[k] for v in batch] for batch in DataLoader(Draws(), batch_size=1, num_workers=2, collate_fn=list) for k in range(3)]

    first, second = run(), run()
    assert first[0::3] == second[0::3]
    assert os.getpid() not in {pid for (pid,) in first[1::3]}
    assert {i for (i,) in first[2::3]} == {0, 1}
    assert len({v for (v,) in first[0::3]}) == 6


class Tensors(Dataset):
    def __len__(self):
        return 3

    def __getitem__(self, i):
        kinds = [torch.float32, torch.bfloat16, torch.bool]
        return nn.Parameter(torch.ones(1)) if i == 0 else torch.ones(2, 2, dtype=kinds[i]).t()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_tensors_of_any_kind_come_from_workers():
    got = [b[0] for b in DataLoader(Tensors(), batch_size=1, num_workers=1, collate_fn=list)]
    assert [t.dtype for t in got] == [torch.float32, torch.bfloat16, torch.bool]
    assert isinstance(got[0], nn.Parameter)
    assert all(bool((t == 1).all()) for t in got)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_workers_of_iterable_datasets_and_init():
    assert sorted(v for b in DataLoader(Stream(), batch_size=2, num_workers=2) for v in b.tolist()) == list(range(7))
    seen = list(DataLoader(Squares(2), num_workers=1, worker_init_fn=lambda i: torch.set_num_threads(1)))
    assert len(seen) == 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_errors_of_workers_travel():
    with pytest.raises(KeyError, match="Caught KeyError in DataLoader worker process 0"):
        list(DataLoader(Broken(), num_workers=1))
    with pytest.raises(KeyError, match="item two"):
        list(DataLoader(Broken()))


def test_pin_memory_without_an_accelerator_only_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (batch,) = DataLoader(Squares(2), batch_size=2, pin_memory=True)
    assert batch[1].tolist() == [0, 1]
