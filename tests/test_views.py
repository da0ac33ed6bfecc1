"""Aliasing, strides, contiguity, memory shared with NumPy, conversions, queries, memory formats."""

import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rustgrad as torch


def fresh():
    return torch.arange(24.0).reshape(2, 3, 4)


VIEWS = {
    "view": lambda x: x.view(4, 6),
    "reshape": lambda x: x.reshape(-1),
    "slice": lambda x: x[:, 1:],
    "transpose": lambda x: x.transpose(0, 2),
    "permute": lambda x: x.permute(2, 0, 1),
    "movedim": lambda x: x.movedim(0, 2),
    "unsqueeze": lambda x: x.unsqueeze(1),
    "squeeze": lambda x: x[:1].squeeze(0),
    "select": lambda x: x.select(1, 2),
    "narrow": lambda x: x.narrow(2, 1, 2),
    "split": lambda x: x.split(2, 1)[1],
    "chunk": lambda x: x.chunk(2, 2)[1],
    "unbind": lambda x: x.unbind(1)[0],
    "diagonal": lambda x: x.diagonal(0, 1, 2),
    "unfold": lambda x: x.unfold(2, 2, 1),
    "expand": lambda x: x[:, :1].expand(2, 5, 4),
    "flatten": lambda x: x.flatten(1),
    "unflatten": lambda x: x.unflatten(2, (2, 2)),
    "detach": lambda x: x.detach(),
    "data": lambda x: x.data,
    "as_strided": lambda x: x.as_strided((2, 2), (1, 12), 3),
    "view_as": lambda x: x.view_as(torch.zeros(24)),
    "T": lambda x: x[0].T,
    "mT": lambda x: x.mT,
    "numpy": lambda x: torch.from_numpy(x.numpy()),
    "contiguous": lambda x: x.contiguous(),
    "to": lambda x: x.to(torch.float32),
    "cpu": lambda x: x.cpu(),
    "view_dtype": lambda x: x.view(torch.int32),
    "swapaxes": lambda x: x.swapaxes(0, 1),
    "tensor_split": lambda x: x.tensor_split(3, 1)[2],
    "hsplit": lambda x: x.hsplit(3)[0],
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_shares_memory(name):
    x = fresh()
    v = VIEWS[name](x)
    v.zero_()
    n = x.numel() - int((x != 0).sum())
    places = set(np.unique(VIEWS[name](torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)).numpy().view(np.float32)).tolist()) | {0.0}
    assert n == len(places)
    assert v.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()


COPIES = {
    "clone": lambda x: x.clone(),
    "tensor": lambda x: torch.tensor(x.numpy()),
    "advanced": lambda x: x[[0, 1]],
    "mask": lambda x: x[x >= 0],
    "reshape of a transpose": lambda x: x.transpose(0, 1).reshape(6, 4),
    "contiguous of a transpose": lambda x: x.transpose(0, 1).contiguous(),
    "to(dtype)": lambda x: x.to(torch.float64),
    "to(copy=True)": lambda x: x.to(torch.float32, copy=True),
    "repeat": lambda x: x.repeat(1, 1, 1),
    "index_select": lambda x: x.index_select(0, torch.tensor([0, 1])),
    "flip": lambda x: x.flip(0),
    "roll": lambda x: x.roll(1),
    "deepcopy": copy.deepcopy,
    "numpy copy": lambda x: torch.tensor(x.numpy().copy()),
    "cat": lambda x: torch.cat([x]),
    "tolist": lambda x: torch.tensor(x.tolist()),
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_does_not(name):
    x = fresh()
    COPIES[name](x).zero_()
    assert x.sum().item() == 276.0


def test_self_is_returned_where_nothing_changes():
    x = fresh()
    assert x.contiguous() is x
    assert x.to(torch.float32) is x
    assert x.to("cpu") is x
    assert x.cpu() is x
    assert x.float() is x
    assert x.type_as(torch.ones(1)) is x
    assert x.reshape(2, 3, 4).data_ptr() == x.data_ptr()
    assert torch.as_tensor(x) is x


def test_strides_and_offsets():
    x = fresh()
    assert x.stride() == (12, 4, 1)
    assert x.transpose(0, 2).stride() == (1, 4, 12)
    assert x[1, 1:].storage_offset() == 16
    assert x[:, ::2].stride() == (12, 8, 1)
    assert x[:, :1].expand(2, 5, 4).stride() == (12, 0, 1)
    assert x.stride(-1) == 1
    assert x.unfold(2, 3, 1).stride() == (12, 4, 1, 1)
    assert torch.zeros(2, 0, 3).stride() == (3, 3, 1)


def test_contiguity():
    x = fresh()
    assert x.is_contiguous()
    assert not x.transpose(0, 1).is_contiguous()
    assert x[:, :1].is_contiguous() is False
    assert x[0].is_contiguous()
    assert x.transpose(0, 1).contiguous().is_contiguous()
    assert torch.zeros(1, 3).t().is_contiguous()


def test_view_needs_compatible_strides():
    x = fresh().transpose(0, 1)
    text = "view size is not compatible with input tensor's size and stride (at least one dimension spans across two contiguous subspaces). Use .reshape(...) instead."
    with pytest.raises(RuntimeError) as caught:
        x.view(-1)
    assert str(caught.value) == text
    assert x.view(3, 2, 2, 2).stride() == (4, 12, 2, 1)
    with pytest.raises(RuntimeError, match=r"shape '\[5, -1\]' is invalid for input of size 24"):
        x.reshape(5, -1)


def test_writing_into_an_expanded_tensor_raises():
    x = torch.zeros(1, 3).expand(2, 3)
    with pytest.raises(RuntimeError, match="unsupported operation: more than one element of the written-to tensor refers to a single memory location"):
        x.add_(1)


def test_overlap_of_source_and_target_raises():
    x = torch.arange(5.0)
    with pytest.raises(RuntimeError, match="unsupported operation: some elements of the input tensor and the written-to tensor refer to a single memory location"):
        x[1:].add_(x[:-1])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.permutations([0, 1, 2, 3]), st.lists(st.integers(1, 3), min_size=4, max_size=4), st.data())
def test_any_chain_of_views_reads_what_numpy_reads(order, steps, data):
    a = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    t = torch.from_numpy(a.copy())
    n = a.transpose(order)[tuple(slice(None, None, s) for s in steps)]
    t = t.permute(*order)[tuple(slice(None, None, s) for s in steps)]
    split = data.draw(st.integers(0, 3))
    shape = (math.prod(n.shape[: split + 1]), *n.shape[split + 1 :])
    np.testing.assert_array_equal(t.reshape(shape).numpy(), n.reshape(shape))
    np.testing.assert_array_equal((t + 0).numpy(), n)
    assert t.stride() == tuple(s // 4 for s in n.strides)


# NumPy and Python


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool"])
def test_from_numpy_and_back(dtype):
    a = np.array([[0, 1, 2], [3, 4, 5]]).astype(dtype)
    t = torch.from_numpy(a)
    assert t.dtype is getattr(torch, dtype)
    assert t.numpy().dtype == a.dtype
    np.testing.assert_array_equal(t.numpy(), a)
    a[0, 0] = 1
    assert t[0, 0].item() == 1
    assert t.tolist() == a.tolist()
    np.testing.assert_array_equal(np.asarray(t.t()), a.T)


def test_numpy_refusals():
    with pytest.raises(ValueError, match="At least one stride in the given numpy array is negative"):
        torch.from_numpy(np.arange(3)[::-1])
    with pytest.raises(RuntimeError, match=r"Can't call numpy\(\) on Tensor that requires grad. Use tensor.detach\(\).numpy\(\) instead."):
        torch.ones(1, requires_grad=True).numpy()
    with pytest.raises(TypeError, match="can't convert np.ndarray of type numpy.object_|can't convert np.ndarray of type"):
        torch.from_numpy(np.array(["a"]))
    with pytest.raises(TypeError, match=r"expected np.ndarray \(got list\)"):
        torch.from_numpy([1])
    assert torch.ones(1, requires_grad=True).numpy(force=True).tolist() == [1.0]


def test_numpy_scalars_and_arrays_in_arithmetic():
    t = torch.ones(2)
    assert (t * np.float64(2)).dtype == torch.float32
    assert (t + np.array([1.0, 2.0], dtype=np.float32)).tolist() == [2.0, 3.0]
    assert torch.tensor(np.float64(1)).dtype == torch.float64
    assert torch.tensor(np.float32(1)).dtype == torch.float32
    assert torch.tensor(np.int32(1)).dtype == torch.int32
    assert np.sum(t.numpy()) == 2


def test_creation_from_python():
    assert torch.tensor([[1, 2], [3, 4]]).dtype == torch.int64
    assert torch.tensor([1, 2.5]).dtype == torch.float32
    assert torch.tensor([True, False]).dtype == torch.bool
    assert torch.tensor([]).dtype == torch.float32
    assert torch.tensor([torch.tensor(1.0), 2]).tolist() == [1.0, 2.0]
    assert torch.tensor([np.array([1, 2]), np.array([3, 4])]).tolist() == [[1, 2], [3, 4]]
    assert torch.as_tensor([1, 2]).tolist() == [1, 2]
    a = np.ones(2)
    torch.as_tensor(a)[0] = 5
    assert a[0] == 5
    torch.tensor(a)[0] = 7
    assert a[0] == 5
    assert torch.full((2,), 1).dtype == torch.int64
    assert torch.arange(3).dtype == torch.int64
    assert torch.arange(0, 1, 0.25).dtype == torch.float32
    assert torch.ones(2, 3).new_tensor([1, 2]).dtype == torch.float32
    assert torch.empty(2, 3).shape == (2, 3)
    assert torch.empty_like(torch.ones(2, dtype=torch.int32)).dtype == torch.int32
    assert torch.empty_strided((2, 3), (1, 2)).stride() == (1, 2)
    assert torch.ones(2).new_empty(3).shape == (3,)


CREATION_ERRORS = [
    ("torch.tensor([[1, 2], [3]])", ValueError, "expected sequence of length 2 at dim 1 (got 1)"),
    ("torch.tensor(['a'])", ValueError, "too many dimensions 'str'"),
    ("torch.tensor([None])", RuntimeError, "Could not infer dtype of NoneType"),
    ("torch.zeros(-1)", RuntimeError, "zeros: Dimension size must be non-negative."),
    ("torch.arange(0, 5, -1)", RuntimeError, "upper bound and lower bound inconsistent with step sign"),
    ("torch.arange(0, 5, 0)", RuntimeError, "step must be nonzero"),
    ("torch.eye(-1)", RuntimeError, "n must be greater or equal to 0, got -1"),
    ("torch.linspace(0, 1, -1)", RuntimeError, "number of steps must be non-negative"),
    ("torch.ones(2).item()", RuntimeError, "a Tensor with 2 elements cannot be converted to Scalar"),
    ("bool(torch.ones(2))", RuntimeError, "Boolean value of Tensor with more than one value is ambiguous"),
    ("float(torch.ones(2))", ValueError, "only one element tensors can be converted to Python scalars"),
    ("torch.ones(2, 3).expand(4, 3)", RuntimeError,
     "The expanded size of the tensor (4) must match the existing size (2) at non-singleton dimension 0.  Target sizes: [4, 3].  Tensor sizes: [2, 3]"),
    ("torch.ones(2, 3).transpose(0, 2)", IndexError, "Dimension out of range (expected to be in range of [-2, 1], but got 2)"),
    ("torch.ones(2, 3).permute(0, 0)", RuntimeError, "permute(): duplicate dims are not allowed."),
    ("torch.ones(2, 3).narrow(0, 1, 2)", RuntimeError, "start (1) + length (2) exceeds dimension size (2)."),
    ("torch.ones(2, 3, 4).t()", RuntimeError, "t() expects a tensor with <= 2 dimensions, but self is 3D"),
    ("torch.ones(2, 3).split([1, 2])", RuntimeError,
     "split_with_sizes expects split_sizes to sum exactly to 2 (input tensor's size at dimension 0), but got split_sizes=[1, 2]"),
    ("torch.cat([torch.ones(2), torch.ones(2, 2)])", RuntimeError, "Tensors must have same number of dimensions: got 1 and 2"),
    ("torch.stack([torch.ones(2), torch.ones(3)])", RuntimeError, "stack expects each tensor to be equal size, but got [2] at entry 0 and [3] at entry 1"),
]


@pytest.mark.parametrize(("code", "error", "text"), CREATION_ERRORS, ids=[e[0] for e in CREATION_ERRORS])
def test_errors(code, error, text):
    with pytest.raises(error) as caught:
        eval(code, {"torch": torch})
    assert str(caught.value).splitlines()[0] == text


def test_python_numbers():
    assert float(torch.tensor(2.5)) == 2.5
    assert int(torch.tensor(2.9)) == 2
    assert bool(torch.tensor([0.0])) is False
    assert [10, 20, 30][torch.tensor(1)] == 20
    assert complex(torch.tensor(1.5)) == 1.5
    assert f"{torch.tensor(3.14159):.2f}" == "3.14"
    assert torch.tensor(7) % 4 == 3
    assert -(torch.tensor(7) // -2) == 4
    assert 2 ** torch.tensor(3) == 8
    assert abs(torch.tensor(-3)) == 3
    assert ~torch.tensor(5) == -6
    assert (torch.tensor(6) & 3, torch.tensor(6) | 1, torch.tensor(6) ^ 2, torch.tensor(1) << 3, torch.tensor(8) >> 2) == (2, 7, 4, 8, 2)
    assert 1 - torch.tensor(3) == -2
    assert 12 // torch.tensor(5) == 2
    assert 12 / torch.tensor(5) == pytest.approx(2.4)


def test_queries():
    x = torch.zeros(2, 3, dtype=torch.float64)
    assert (x.size(), x.size(1), x.dim(), x.ndim, x.numel(), x.nelement()) == ((2, 3), 3, 2, 2, 6, 6)
    assert (x.element_size(), x.nbytes, x.itemsize) == (8, 48, 8)
    assert x.is_floating_point()
    assert not x.is_complex()
    assert torch.zeros(1, dtype=torch.int8).is_signed()
    assert not torch.zeros(1, dtype=torch.uint8).is_signed()
    assert isinstance(x.shape, torch.Size)
    assert x.shape.numel() == 6
    assert x.device == torch.device("cpu")
    assert str(x.device) == "cpu"
    assert x.layout is torch.strided
    assert x.get_device() == -1
    assert x.untyped_storage().nbytes() == 48
    assert x.type() == "torch.DoubleTensor"
    assert x.type(torch.int32).dtype == torch.int32
    assert not x.is_cuda
    assert hash(x) != hash(torch.zeros(2, 3, dtype=torch.float64))


def test_shapes_changed_in_place():
    x = torch.arange(6.0).reshape(2, 3)
    y = x
    y.t_()
    assert x.shape == (3, 2)
    x.unsqueeze_(0)
    assert x.shape == (1, 3, 2)
    x.squeeze_()
    x.transpose_(0, 1)
    assert x.tolist() == [[0, 1, 2], [3, 4, 5]]
    z = torch.arange(4.0)
    z.resize_(2, 2)
    assert z.tolist() == [[0, 1], [2, 3]]
    z.resize_(3)
    assert z.tolist() == [0, 1, 2]
    z.resize_as_(torch.zeros(1, 2))
    assert z.shape == (1, 2)
    w = torch.zeros(2)
    w.set_(torch.ones(3))
    assert w.tolist() == [1, 1, 1]
    e = torch.zeros(3, 3)
    e.fill_diagonal_(2)
    assert e.trace().item() == 6
    w.copy_(torch.tensor([1, 2, 3]))
    assert w.tolist() == [1.0, 2.0, 3.0]
    w.zero_()
    assert w.sum() == 0
    w.data = torch.ones(5)
    assert w.shape == (5,)


def test_memory_formats():
    x = torch.arange(120.0).reshape(2, 3, 4, 5)
    y = x.contiguous(memory_format=torch.channels_last)
    assert y.stride() == (60, 1, 15, 3)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert not y.is_contiguous()
    assert torch.equal(x, y)
    assert y.clone().stride() == y.stride()
    assert torch.empty_like(y).stride() == y.stride()
    assert (y + 1).stride() == y.stride()
    assert x.to(memory_format=torch.channels_last).stride() == y.stride()


def test_named_results():
    x = torch.tensor([[3.0, 1.0], [2.0, 5.0]])
    out = x.max(1)
    assert type(out).__name__ == "max"
    assert out.values.tolist() == [3.0, 5.0]
    values, indices = out
    assert indices is out.indices is out[1]
    assert repr(out).startswith("torch.return_types.max(\nvalues=tensor([3., 5.]),\nindices=tensor([0, 1]))")


def test_deepcopy_keeps_sharing_and_refuses_graphs():
    x = torch.ones(2)
    a, b = copy.deepcopy([x, x[:1]])
    a[0] = 5
    assert b[0] == 5
    with pytest.raises(RuntimeError, match="Only Tensors created explicitly by the user"):
        copy.deepcopy(torch.ones(1, requires_grad=True) * 2)


def test_dlpack():
    x = torch.arange(6.0).reshape(2, 3)
    a = np.from_dlpack(x)
    assert a.tolist() == x.tolist()
    y = torch.from_dlpack(np.arange(3.0))
    assert y.tolist() == [0.0, 1.0, 2.0]


def test_apply_and_map():
    x = torch.tensor([1.0, 2.0])
    assert x.apply_(lambda v: v * 2).tolist() == [2.0, 4.0]
    assert x.map_(torch.tensor([1.0, 1.0]), lambda a, b: a - b).tolist() == [1.0, 3.0]


def test_no_more_than_64_dimensions():
    x = torch.ones([1] * 64)
    for grow in (lambda: x.unsqueeze(0), lambda: x[None], lambda: x.expand([1] * 65), lambda: x.view([1] * 65)):
        with pytest.raises(RuntimeError, match="too many dimensions"):
            grow()
    assert x.squeeze().ndim == 0
