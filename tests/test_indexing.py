"""Random index expressions against NumPy: reading, writing, gradients; the errors and PyTorch's own rules."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rustgrad as torch

settings.register_profile("suite", max_examples=150, deadline=None, derandomize=True)
settings.load_profile("suite")

shapes = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)


def slices(n):
    bound = st.none() | st.integers(-n - 2, n + 2)
    return st.builds(slice, bound, bound, st.none() | st.integers(1, 3))


@st.composite
def basic(draw, shape):
    """Integers, slices, None and at most one Ellipsis over a prefix of the dims."""
    items = []
    for n in shape[: draw(st.integers(0, len(shape)))]:
        items.append(draw(st.integers(-n, n - 1) | slices(n)))
    for _ in range(draw(st.integers(0, 2))):
        items.insert(draw(st.integers(0, len(items))), None)
    if draw(st.booleans()):
        items.append(...)
    return tuple(items)


@st.composite
def advanced(draw, shape):
    """Some dims by integer arrays that broadcast together, others by slices. (Where arrays meet integers or 0-d
    arrays, PyTorch and NumPy order the dims of the result differently.)"""
    arrays = draw(st.lists(st.booleans(), min_size=len(shape), max_size=len(shape)).filter(any))
    common = draw(st.sampled_from([(2,), (3,), (2, 3)]))
    items = []
    for n, is_array in zip(shape, arrays):
        if not is_array:
            items.append(draw(slices(n)))
        else:
            part = common[draw(st.integers(0, len(common) - 1)) :]
            values = draw(st.lists(st.integers(-n, n - 1), min_size=math.prod(part), max_size=math.prod(part)))
            items.append(np.array(values, dtype=np.int64).reshape(part))
    if draw(st.booleans()):
        items.insert(draw(st.integers(0, len(items))), None)
    return tuple(items)


@st.composite
def masked(draw, shape):
    k = draw(st.integers(1, len(shape)))
    mask = draw(st.lists(st.booleans(), min_size=math.prod(shape[:k]), max_size=math.prod(shape[:k])))
    return (np.array(mask).reshape(shape[:k]), *[draw(slices(n)) for n in shape[k:]])


indices = st.shared(shapes, key="shape").flatmap(lambda s: basic(s) | advanced(s) | masked(s))


def data(shape):
    return np.arange(math.prod(shape), dtype=np.float64).reshape(shape)


def give(index):
    return tuple(torch.tensor(i.tolist(), dtype=torch.bool if i.dtype == bool else torch.int64).reshape(i.shape) if isinstance(i, np.ndarray) else i for i in index)


@given(st.shared(shapes, key="shape"), indices)
def test_getitem(shape, index):
    x = data(shape)
    want = x[index]
    got = torch.tensor(x)[give(index)]
    assert tuple(got.shape) == want.shape
    np.testing.assert_array_equal(got.numpy(), want)


@given(st.shared(shapes, key="shape"), indices)
def test_getitem_of_a_strided_tensor(shape, index):
    x = data(tuple(2 * n for n in shape))
    every = (slice(None, None, 2),) * len(shape)
    np.testing.assert_array_equal(torch.tensor(x)[every].transpose(0, -1)[...].transpose(0, -1)[give(index)].numpy(), x[every][index])


@given(st.shared(shapes, key="shape"), indices, st.booleans())
def test_setitem(shape, index, by_number):
    x, t = data(shape), torch.tensor(data(shape))
    target = x[index]
    unique = np.unique(data(shape)[index]).size == target.size
    if by_number or not unique:  # which of several values for one place stays is not defined
        x[index], t[give(index)] = -5, -5
    else:
        value = -1 - np.arange(target.size, dtype=np.float64).reshape(target.shape)
        x[index], t[give(index)] = value, torch.tensor(value)
    np.testing.assert_array_equal(t.numpy(), x)


@given(st.shared(shapes, key="shape"), indices)
def test_setitem_broadcasts_its_value(shape, index):
    x, t = data(shape), torch.tensor(data(shape))
    target = x[index]
    if target.ndim and target.shape[-1]:
        row = np.full((target.shape[-1],), 7.0)
        x[index], t[give(index)] = row, torch.tensor(row)
        np.testing.assert_array_equal(t.numpy(), x)


@given(st.shared(shapes, key="shape"), indices)
def test_gradient_of_getitem_counts_how_often_a_place_is_read(shape, index):
    counts = np.zeros(shape)
    flat = np.arange(math.prod(shape)).reshape(shape)[index]
    np.add.at(counts.reshape(-1), np.ravel(flat), 1)
    t = torch.tensor(data(shape)).requires_grad_()
    t[give(index)].sum().backward()
    np.testing.assert_array_equal(t.grad.numpy(), counts)


@given(st.shared(shapes, key="shape"), indices)
def test_gradient_of_setitem(shape, index):
    """What was overwritten has no gradient; the value gets one for each time that it was written."""
    keep = np.ones(shape)
    keep[index] = 0
    base = torch.tensor(data(shape)).requires_grad_()
    value = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    t = base * 3
    t[give(index)] = value
    t.sum().backward()
    np.testing.assert_array_equal(base.grad.numpy(), 3 * keep)
    assert (0.0 if value.grad is None else value.grad.item()) == np.size(keep[index])


@given(st.shared(shapes, key="shape"), indices)
def test_index_put_accumulates(shape, index):
    if not index or not all(isinstance(i, np.ndarray) and i.dtype == np.int64 for i in index):
        return
    x = data(shape)
    value = np.ones(x[index].shape)
    np.add.at(x, index, value)
    t = torch.tensor(data(shape))
    t.index_put_(give(index), torch.tensor(value), accumulate=True)
    np.testing.assert_array_equal(t.numpy(), x)


X = torch.arange(12.0).reshape(3, 4)

ERRORS = [
    ("x[3]", IndexError, "index 3 is out of bounds for dimension 0 with size 3"),
    ("x[0, -5]", IndexError, "index -5 is out of bounds for dimension 1 with size 4"),
    ("x[0, 0, 0]", IndexError, "too many indices for tensor of dimension 2"),
    ("x[::-1]", ValueError, "step must be greater than zero"),
    ("x[::0]", ValueError, "slice step cannot be zero"),
    ("x[torch.tensor([3])]", IndexError, "index 3 is out of bounds for dimension 0 with size 3"),
    ("x[torch.tensor([0, 1]), torch.tensor([0, 1, 2])]", IndexError,
     "shape mismatch: indexing tensors could not be broadcast together with shapes [2], [3]"),
    ("x[torch.tensor([True, False])]", IndexError,
     "The shape of the mask [2] at index 0 does not match the shape of the indexed tensor [3, 4] at index 0"),
    ("x[torch.tensor([1.0])]", IndexError, "tensors used as indices must be long, int, byte or bool tensors"),
    ("x['a']", TypeError, "new(): invalid data type 'str'"),
    ("x[1.0]", IndexError, "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got float)"),
    ("torch.tensor(1.)[0]", IndexError,
     "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in C++ to convert a 0-dim tensor to a number"),
    ("x.__setitem__((0,), torch.ones(3))", RuntimeError,
     "The expanded size of the tensor (4) must match the existing size (3) at non-singleton dimension 0.  Target sizes: [4].  Tensor sizes: [3]"),
    ("x.__setitem__(torch.tensor([0, 2]), torch.ones(3, 4))", RuntimeError,
     "shape mismatch: value tensor of shape [3, 4] cannot be broadcast to indexing result of shape [2, 4]"),
]


@pytest.mark.parametrize(("code", "error", "text"), ERRORS, ids=[e[0] for e in ERRORS])
def test_errors(code, error, text):
    with pytest.raises(error) as caught:
        eval(code, {"x": X.clone(), "torch": torch})
    assert str(caught.value) == text


def test_basic_indices_are_views_and_advanced_ones_copies():
    x = X.clone()
    x[1][2] = -1
    x[:, 0].fill_(9)
    x[None, ..., 1:2].mul_(0)
    x[[0]].zero_()
    x[x > 100].zero_()
    assert x.tolist() == [[9, 0, 2, 3], [9, 0, -1, 7], [9, 0, 10, 11]]


def test_lists_ranges_and_arrays():
    assert X[[0, 2], [1, 3]].tolist() == [1, 11]
    assert X[range(2), 0].tolist() == [0, 4]
    assert X[np.array([2, 0])].tolist() == [[8, 9, 10, 11], [0, 1, 2, 3]]
    assert X[np.int64(1), np.int32(2)].item() == 6
    assert X[[[0, 1], [2, 0]]].tolist() == [2, 4]
    assert X[[True, False, True]].tolist() == [[0, 1, 2, 3], [8, 9, 10, 11]]
    assert X[torch.tensor(1), torch.tensor(2)].item() == 6
    assert X[[]].shape == (0, 4)


def test_bool_indices():
    assert X[True].shape == (1, 3, 4)
    assert X[False].shape == (0, 3, 4)
    assert X[torch.tensor(True)].shape == (1, 3, 4)
    assert X[:, torch.tensor([True, False, True, False])].tolist() == [[0, 2], [4, 6], [8, 10]]
    with pytest.warns(UserWarning, match="indexing with dtype torch.uint8 is now deprecated"):
        assert X[torch.tensor([1, 0, 1], dtype=torch.uint8)].shape == (2, 4)


def test_augmented_assignment_counts_a_repeated_place_once():
    x = torch.zeros(3)
    x[torch.tensor([0, 0, 2])] += 1
    assert x.tolist() == [1, 0, 1]
    x.index_add_(0, torch.tensor([0, 0, 2]), torch.ones(3))
    assert x.tolist() == [3, 0, 2]


def test_swap_through_views_is_an_alias():
    x = X.clone()
    x[0], x[1] = x[1], x[0]
    assert x[0].tolist() == x[1].tolist() == [4, 5, 6, 7]
    x = X.clone()
    x[[0, 1]] = x[[1, 0]]
    assert x[0].tolist() == [4, 5, 6, 7]
    assert x[1].tolist() == [0, 1, 2, 3]


def test_assignment_casts_to_the_dtype_of_the_target():
    x = torch.zeros(3, dtype=torch.int64)
    x[0] = 2.9
    x[1:] = torch.tensor([1.5, -1.5])
    assert x.tolist() == [2, 1, -1]
    m = torch.zeros(2, dtype=torch.bool)
    m[0] = 3
    assert m.tolist() == [True, False]


def test_iteration_and_length():
    assert [r.tolist() for r in X] == X.tolist()
    assert len(X) == 3
    assert (5.0 in X, 50.0 in X) == (True, False)
    with pytest.raises(TypeError, match="iteration over a 0-d tensor"):
        iter(torch.tensor(1.0))
    with pytest.raises(TypeError, match=r"len\(\) of a 0-d tensor"):
        len(torch.tensor(1.0))
    a, b, c = X
    assert c.tolist() == [8, 9, 10, 11]
