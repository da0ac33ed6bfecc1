"""Result dtypes, as PyTorch 2.13 gives them."""

import numpy as np
import pytest

import rustgrad as torch

NAMES = {"b1": "bool", "u1": "uint8", "i1": "int8", "i2": "int16", "i4": "int32", "i8": "int64", "f2": "float16",
         "bf": "bfloat16", "f4": "float32", "f8": "float64"}
DTYPES = {short: getattr(torch, name) for short, name in NAMES.items()}
ORDER = list(NAMES)

PROMOTED = """
b1 b1 u1 i1 i2 i4 i8 f2 bf f4 f8
u1 u1 u1 i2 i2 i4 i8 f2 bf f4 f8
i1 i1 i2 i1 i2 i4 i8 f2 bf f4 f8
i2 i2 i2 i2 i2 i4 i8 f2 bf f4 f8
i4 i4 i4 i4 i4 i4 i8 f2 bf f4 f8
i8 i8 i8 i8 i8 i8 i8 f2 bf f4 f8
f2 f2 f2 f2 f2 f2 f2 f2 f4 f4 f8
bf bf bf bf bf bf bf f4 bf f4 f8
f4 f4 f4 f4 f4 f4 f4 f4 f4 f4 f8
f8 f8 f8 f8 f8 f8 f8 f8 f8 f8 f8
"""

# With dims times True, 2, 2.5; times 0-d bool, int64, float32, float64.
MIXED = """
b1 b1 i8 f4 b1 i8 f4 f8
u1 u1 u1 f4 u1 u1 f4 f8
i1 i1 i1 f4 i1 i1 f4 f8
i2 i2 i2 f4 i2 i2 f4 f8
i4 i4 i4 f4 i4 i4 f4 f8
i8 i8 i8 f4 i8 i8 f4 f8
f2 f2 f2 f2 f2 f2 f2 f2
bf bf bf bf bf bf bf bf
f4 f4 f4 f4 f4 f4 f4 f4
f8 f8 f8 f8 f8 f8 f8 f8
"""

# Result per dtype of ORDER; -- raises.
UNARY = """
sum i8 i8 i8 i8 i8 i8 f2 bf f4 f8
prod i8 i8 i8 i8 i8 i8 f2 bf f4 f8
mean -- -- -- -- -- -- f2 bf f4 f8
cumsum i8 i8 i8 i8 i8 i8 f2 bf f4 f8
exp f4 f4 f4 f4 f4 f4 f2 bf f4 f8
abs -- u1 i1 i2 i4 i8 f2 bf f4 f8
sqrt f4 f4 f4 f4 f4 f4 f2 bf f4 f8
argmax -- i8 i8 i8 i8 i8 i8 i8 i8 i8
all b1 u1 b1 b1 b1 b1 b1 b1 b1 b1
any b1 u1 b1 b1 b1 b1 b1 b1 b1 b1
softmax -- -- -- -- -- -- f2 bf f4 f8
std -- -- -- -- -- -- f2 bf f4 f8
neg -- u1 i1 i2 i4 i8 f2 bf f4 f8
sigmoid f4 f4 f4 f4 f4 f4 f2 bf f4 f8
floor -- u1 i1 i2 i4 i8 f2 bf f4 f8
round -- u1 i1 i2 i4 i8 f2 bf f4 f8
square i8 u1 i1 i2 i4 i8 f2 bf f4 f8
reciprocal f4 f4 f4 f4 f4 f4 f2 bf f4 f8
relu -- u1 i1 i2 i4 i8 f2 bf f4 f8
"""


def rows(table):
    return [line.split() for line in table.strip().splitlines()]


def ones(short):
    return torch.ones(2, dtype=DTYPES[short])


@pytest.mark.parametrize("row", rows(PROMOTED), ids=lambda r: r[0])
def test_two_tensors(row):
    left, *want = row
    for right, w in zip(ORDER, want):
        assert torch.promote_types(DTYPES[left], DTYPES[right]) is DTYPES[w]
        assert (ones(left) * ones(right)).dtype is DTYPES[w], f"{left} * {right}"
        assert torch.where(torch.tensor([True, False]), ones(left), ones(right)).dtype is DTYPES[w]
        assert torch.cat([ones(left), ones(right)]).dtype is DTYPES[w]
        quotient = (ones(left) / ones(right)).dtype
        assert quotient is (DTYPES[w] if DTYPES[w].is_floating_point else torch.float32)
        assert (ones(left) == ones(right)).dtype is torch.bool


@pytest.mark.parametrize("row", rows(MIXED), ids=lambda r: r[0])
def test_numbers_and_0d_tensors(row):
    left, *want = row
    zero_d = [torch.tensor(1, dtype=d) for d in (torch.bool, torch.int64, torch.float32, torch.float64)]
    for other, w in zip([True, 2, 2.5, *zero_d], want):
        assert torch.result_type(ones(left), other) is DTYPES[w]
        assert (ones(left) * other).dtype is DTYPES[w], f"{left} * {other!r}"
        assert (other * ones(left)).dtype is DTYPES[w]


@pytest.mark.parametrize("row", rows(UNARY), ids=lambda r: r[0])
def test_one_operand(row):
    name, *want = row
    for short, w in zip(ORDER, want):
        args = (0,) if name in ("softmax", "cumsum") else ()
        if w == "--":
            with pytest.raises(RuntimeError):
                getattr(ones(short), name)(*args)
        else:
            assert getattr(ones(short), name)(*args).dtype is DTYPES[w], f"{name} of {short}"


def test_results_that_do_not_fit_in_place():
    x = torch.ones(2, dtype=torch.int64)
    with pytest.raises(RuntimeError) as caught:
        x += 0.5
    assert str(caught.value) == "result type Float can't be cast to the desired output type Long"
    with pytest.raises(RuntimeError, match="result type Float can't be cast to the desired output type Long"):
        x.div_(2)
    x.add_(True)
    h = torch.ones(2, dtype=torch.float16)
    h.mul_(torch.ones(2, dtype=torch.float64))
    assert (x.tolist(), h.dtype) == ([2, 2], torch.float16)


def test_matmul_does_not_promote():
    with pytest.raises(RuntimeError) as caught:
        torch.ones(2, 2) @ torch.ones(2, 2, dtype=torch.float64)
    assert str(caught.value) == "expected m1 and m2 to have the same dtype, but got: float != double"


def test_integers_wrap_and_divide_as_in_c_and_python():
    assert (torch.tensor([200], dtype=torch.uint8) + 101).item() == 45
    assert (torch.tensor([127], dtype=torch.int8) + 1).item() == -128
    assert (torch.tensor([-7]) // 2).item() == -4
    assert (torch.tensor([-7]) % 3).item() == 2
    assert torch.fmod(torch.tensor([-7]), 3).item() == -1
    assert (torch.tensor([2**31 - 1], dtype=torch.int32) + 1).item() == -(2**31)
    assert (torch.tensor([2**62]) * 2).item() == -(2**63)
    assert torch.tensor([2**53 + 1]).sum().item() == 2**53 + 1
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        torch.tensor([1]) // torch.tensor([0])
    with pytest.raises(RuntimeError, match="Integers to negative integer powers are not allowed"):
        torch.tensor([2]) ** -1


def test_bool_arithmetic():
    t = torch.tensor([True, False])
    assert (t + t).tolist() == [True, False]
    assert t.sum().item() == 1
    with pytest.raises(RuntimeError, match="Subtraction, the `-` operator, with two bool tensors is not supported"):
        t - t
    with pytest.raises(RuntimeError, match="Negation, the `-` operator, on a bool tensor is not supported"):
        -t
    assert (~t).tolist() == [False, True]


@pytest.mark.parametrize("short", ORDER)
def test_casts(short):
    x = torch.tensor([0.0, 1.7, -1.7, 300.0])
    if short in ("u1", "i1"):
        x = x[:3].abs()
    want = {"f2": np.float16, "bf": np.float32}.get(short, getattr(np, NAMES[short], np.bool_) if short != "b1" else np.bool_)
    got = x.to(DTYPES[short])
    assert got.dtype is DTYPES[short]
    back = got.to(torch.float64).numpy()
    tolerance = {"f2": 1e-3, "bf": 1e-2}.get(short, 1e-6)
    np.testing.assert_allclose(back, x.numpy().astype(want).astype(np.float64), rtol=tolerance)


def test_cast_methods():
    x = torch.tensor([1.5])
    for name, dtype in {"half": "float16", "bfloat16": "bfloat16", "float": "float32", "double": "float64", "int": "int32", "long": "int64",
                            "short": "int16", "char": "int8", "byte": "uint8", "bool": "bool"}.items():
        assert getattr(x, name)().dtype is getattr(torch, dtype)
    assert x.to(torch.ones(1, dtype=torch.float64)).dtype is torch.float64
    assert x.type(torch.LongTensor).dtype is torch.int64
    y = x.clone().requires_grad_()
    y.double().sum().backward()
    assert y.grad.dtype is torch.float32


def test_half_precision_rounds_to_nearest_even():
    assert torch.tensor([2049.0, 2051.0]).half().tolist() == [2048.0, 2052.0]
    assert torch.tensor([257.0, 259.0]).bfloat16().tolist() == [256.0, 260.0]
    assert torch.tensor([70000.0]).half().item() == float("inf")
    assert torch.tensor([1e-8]).half().item() == 0.0
    assert torch.tensor([6e-8]).half().item() == 5.960464477539063e-08
    assert torch.tensor([float("nan")]).half().isnan().item()


def test_default_dtype():
    try:
        torch.set_default_dtype(torch.float64)
        assert torch.tensor([1.0]).dtype is torch.float64
        assert torch.zeros(1).dtype is torch.float64
        assert (torch.tensor([1]) / 2).dtype is torch.float64
        assert torch.get_default_dtype() is torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    with pytest.raises(TypeError, match="only floating-point types are supported as the default type"):
        torch.set_default_dtype(torch.int64)


def test_dtype_objects():
    assert (torch.float is torch.float32, torch.long is torch.int64, torch.half is torch.float16) == (True, True, True)
    assert repr(torch.float32) == "torch.float32"
    assert torch.float16.itemsize == 2
    assert torch.finfo(torch.float32).eps == 2**-23
    assert torch.finfo(torch.bfloat16).max == 3.3895313892515355e38
    assert (torch.iinfo(torch.int8).min, torch.iinfo(torch.uint8).max) == (-128, 255)
    assert torch.can_cast(torch.int64, torch.float32)
    assert not torch.can_cast(torch.float32, torch.int64)


def test_explicit_dtypes_of_reductions():
    x = torch.ones(3, dtype=torch.float16)
    assert x.sum(dtype=torch.float64).dtype is torch.float64
    assert torch.ones(3, dtype=torch.int64).mean(dtype=torch.float32).item() == 1.0
    assert x.cumsum(0, dtype=torch.float32).dtype is torch.float32
    assert x.softmax(0, dtype=torch.float64).dtype is torch.float64
    with pytest.raises(RuntimeError) as caught:
        torch.ones(3, dtype=torch.int64).mean()
    assert str(caught.value) == "mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. Got: Long"


def test_complex_numbers():
    z = torch.tensor([3 + 4j, 1 - 1j])
    assert z.dtype is torch.complex64
    assert z.abs().tolist() == [5.0, pytest.approx(2**0.5)]
    assert z.real.tolist() == [3.0, 1.0]
    assert z.imag.tolist() == [4.0, -1.0]
    assert (z * z.conj()).real.tolist() == [25.0, 2.0]
    assert (z + 1.5).dtype is torch.complex64
    assert torch.view_as_real(z).tolist() == [[3.0, 4.0], [1.0, -1.0]]
