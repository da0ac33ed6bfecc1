"""What tensors print, recorded from PyTorch. Every string is literal: a difference in a space is a difference."""

import pytest

import rustgrad as torch
from rustgrad import nn

T = torch.tensor


@pytest.fixture(autouse=True)
def default_options():
    yield
    torch.set_printoptions(profile="default")
    torch.set_default_dtype(torch.float32)


def evaluate(expression):
    return eval(expression, {"T": T, "torch": torch, "nn": nn})


REPR = [
    (
        "T([[1, 2], [3, 4]])",
        """\
tensor([[1, 2],
        [3, 4]])""",
    ),
    ("T(4.4)", "tensor(4.4000)"),
    ("T(4.4, requires_grad=True) * 1", "tensor(4.4000, grad_fn=<MulBackward0>)"),
    ("T([1.5, float(\"nan\"), float(\"inf\")])", "tensor([1.5000,    nan,    inf])"),
    ("T([1., 2., 3.])", "tensor([1., 2., 3.])"),
    ("T([1e-5, 1.])", "tensor([1.0000e-05, 1.0000e+00])"),
    ("T([1e8, 1.])", "tensor([1.0000e+08, 1.0000e+00])"),
    ("T([0.1, 123456.789])", "tensor([1.0000e-01, 1.2346e+05])"),
    ("T([[True, False]])", "tensor([[ True, False]])"),
    ("T(True)", "tensor(True)"),
    ("T([])", "tensor([])"),
    ("torch.zeros(2, 0, 3)", "tensor([], size=(2, 0, 3))"),
    ("torch.empty(0, 3, dtype=torch.float64, requires_grad=True)", "tensor([], size=(0, 3), dtype=torch.float64, requires_grad=True)"),
    ("T([], dtype=torch.int64)", "tensor([], dtype=torch.int64)"),
    ("T([], dtype=torch.bool)", "tensor([], dtype=torch.bool)"),
    ("T([1., 2.]).half()", "tensor([1., 2.], dtype=torch.float16)"),
    ("T([1., 2.], dtype=torch.float64)", "tensor([1., 2.], dtype=torch.float64)"),
    ("T(1, dtype=torch.int32)", "tensor(1, dtype=torch.int32)"),
    ("T(5, dtype=torch.uint8)", "tensor(5, dtype=torch.uint8)"),
    ("torch.arange(1001)", "tensor([   0,    1,    2,  ...,  998,  999, 1000])"),
    ("torch.zeros(3)[0]", "tensor(0.)"),
    ("T([2.2], requires_grad=True)", "tensor([2.2000], requires_grad=True)"),
    (
        "nn.Parameter(T([1.]))",
        """\
Parameter containing:
tensor([1.], requires_grad=True)""",
    ),
    (
        "nn.Parameter(torch.zeros(2, 2))",
        """\
Parameter containing:
tensor([[0., 0.],
        [0., 0.]], requires_grad=True)""",
    ),
    (
        "nn.Parameter(T([1., 2.]), requires_grad=False)",
        """\
Parameter containing:
tensor([1., 2.])""",
    ),
    ("T([1.0000001, 2])", "tensor([1.0000, 2.0000])"),
    ("T([-0.0, 1])", "tensor([-0., 1.])"),
    ("T([1e10])", "tensor([1.0000e+10])"),
    ("T([0.00001])", "tensor([1.0000e-05])"),
    ("T([1000000., 0.5])", "tensor([1.0000e+06, 5.0000e-01])"),
    ("T([12345678.])", "tensor([12345678.])"),
    ("T(123456789.)", "tensor(1.2346e+08)"),
    (
        "torch.zeros(2, 2, 2)",
        """\
tensor([[[0., 0.],
         [0., 0.]],

        [[0., 0.],
         [0., 0.]]])""",
    ),
    (
        "torch.zeros(1, 2, 1, 2)",
        """\
tensor([[[[0., 0.]],

         [[0., 0.]]]])""",
    ),
    ("T([1., 2.]).bfloat16()", "tensor([1., 2.], dtype=torch.bfloat16)"),
    ("T(2.5).bfloat16()", "tensor(2.5000, dtype=torch.bfloat16)"),
    ("T([1 / 3]).half()", "tensor([0.3333], dtype=torch.float16)"),
    ("T([1 / 3]).bfloat16()", "tensor([0.3340], dtype=torch.bfloat16)"),
    ("T(float(\"nan\"))", "tensor(nan)"),
    ("T(float(\"-inf\"))", "tensor(-inf)"),
    ("T([float(\"inf\"), 1.])", "tensor([inf, 1.])"),
    ("T([float(\"inf\"), -1.5])", "tensor([    inf, -1.5000])"),
    ("T([100000, 1])", "tensor([100000,      1])"),
    (
        "T([[1.5, -2.25], [1000., 3]])",
        """\
tensor([[   1.5000,   -2.2500],
        [1000.0000,    3.0000]])""",
    ),
    ("T([1e-40])", "tensor([9.9999e-41])"),
    ("T([0., 1e-10])", "tensor([0.0000e+00, 1.0000e-10])"),
    ("T([1e5, 1.1])", "tensor([1.0000e+05, 1.1000e+00])"),
    ("T([9999., 1.5])", "tensor([9.9990e+03, 1.5000e+00])"),
    (
        "T([[-1.5, 2.], [10., -100.25]])",
        """\
tensor([[  -1.5000,    2.0000],
        [  10.0000, -100.2500]])""",
    ),
    (
        "T([[-1, 20], [300, 4]])",
        """\
tensor([[ -1,  20],
        [300,   4]])""",
    ),
    ("T([1e-8, 1e8])", "tensor([1.0000e-08, 1.0000e+08])"),
    ("T([1., 2e6])", "tensor([1.0000e+00, 2.0000e+06])"),
    ("T([1., 1000.])", "tensor([   1., 1000.])"),
    ("T([1., 1001.])", "tensor([1.0000e+00, 1.0010e+03])"),
    ("T([1e-4, 1e-2])", "tensor([1.0000e-04, 1.0000e-02])"),
    ("T([9e-5, 1e-2])", "tensor([9.0000e-05, 1.0000e-02])"),
    (
        "torch.arange(30.)",
        """\
tensor([ 0.,  1.,  2.,  3.,  4.,  5.,  6.,  7.,  8.,  9., 10., 11., 12., 13.,
        14., 15., 16., 17., 18., 19., 20., 21., 22., 23., 24., 25., 26., 27.,
        28., 29.])""",
    ),
    (
        "torch.arange(40.).reshape(2, 20)",
        """\
tensor([[ 0.,  1.,  2.,  3.,  4.,  5.,  6.,  7.,  8.,  9., 10., 11., 12., 13.,
         14., 15., 16., 17., 18., 19.],
        [20., 21., 22., 23., 24., 25., 26., 27., 28., 29., 30., 31., 32., 33.,
         34., 35., 36., 37., 38., 39.]])""",
    ),
    (
        "torch.arange(-20, 20)",
        """\
tensor([-20, -19, -18, -17, -16, -15, -14, -13, -12, -11, -10,  -9,  -8,  -7,
         -6,  -5,  -4,  -3,  -2,  -1,   0,   1,   2,   3,   4,   5,   6,   7,
          8,   9,  10,  11,  12,  13,  14,  15,  16,  17,  18,  19])""",
    ),
    (
        "torch.zeros(1001, 2)",
        """\
tensor([[0., 0.],
        [0., 0.],
        [0., 0.],
        ...,
        [0., 0.],
        [0., 0.],
        [0., 0.]])""",
    ),
    (
        "torch.zeros(3, 1001)",
        """\
tensor([[0., 0., 0.,  ..., 0., 0., 0.],
        [0., 0., 0.,  ..., 0., 0., 0.],
        [0., 0., 0.,  ..., 0., 0., 0.]])""",
    ),
    (
        "torch.zeros(7, 8, 20)",
        """\
tensor([[[0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         ...,
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.]],

        [[0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         ...,
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.]],

        [[0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         ...,
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.]],

        ...,

        [[0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         ...,
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.]],

        [[0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         ...,
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.]],

        [[0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         ...,
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.],
         [0., 0., 0.,  ..., 0., 0., 0.]]])""",
    ),
    (
        "torch.arange(1008).reshape(7, 144) % 10",
        """\
tensor([[0, 1, 2,  ..., 1, 2, 3],
        [4, 5, 6,  ..., 5, 6, 7],
        [8, 9, 0,  ..., 9, 0, 1],
        ...,
        [6, 7, 8,  ..., 7, 8, 9],
        [0, 1, 2,  ..., 1, 2, 3],
        [4, 5, 6,  ..., 5, 6, 7]])""",
    ),
    (
        "torch.zeros(2, 2, requires_grad=True) * 1",
        """\
tensor([[0., 0.],
        [0., 0.]], grad_fn=<MulBackward0>)""",
    ),
    (
        "torch.zeros(2, 3, 40, requires_grad=True) * 1",
        """\
tensor([[[0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0.,
          0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0.],
         [0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0.,
          0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0.],
         [0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0.,
          0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0.]],

        [[0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0.,
          0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0.],
         [0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0.,
          0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0.],
         [0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0.,
          0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0., 0.]]],
       grad_fn=<MulBackward0>)""",
    ),
    (
        "torch.zeros(1, 12, dtype=torch.float64, requires_grad=True) + 0.125",
        """\
tensor([[0.1250, 0.1250, 0.1250, 0.1250, 0.1250, 0.1250, 0.1250, 0.1250, 0.1250,
         0.1250, 0.1250, 0.1250]], dtype=torch.float64, grad_fn=<AddBackward0>)""",
    ),
    ("torch.zeros(2, device=\"meta\")", "tensor(..., device='meta', size=(2,))"),
    ("torch.zeros((), device=\"meta\")", "tensor(..., device='meta', size=())"),
    ("torch.zeros(2, device=\"meta\", dtype=torch.float16)", "tensor(..., device='meta', size=(2,), dtype=torch.float16)"),
    ("torch.zeros(2, device=\"meta\", dtype=torch.int64)", "tensor(..., device='meta', size=(2,), dtype=torch.int64)"),
    ("T([2**62, -(2**63)])", "tensor([ 4611686018427387904, -9223372036854775808])"),
    ("T([255, 0], dtype=torch.uint8)", "tensor([255,   0], dtype=torch.uint8)"),
    (
        "T([[1., float(\"nan\")], [float(\"inf\"), -1e-3]])",
        """\
tensor([[ 1.0000,     nan],
        [    inf, -0.0010]])""",
    ),
    (
        "torch.eye(3)",
        """\
tensor([[1., 0., 0.],
        [0., 1., 0.],
        [0., 0., 1.]])""",
    ),
    (
        "torch.ones(2, 3).t()",
        """\
tensor([[1., 1.],
        [1., 1.],
        [1., 1.]])""",
    ),
    ("torch.arange(6.)[::2]", "tensor([0., 2., 4.])"),
    ("torch.ones(1).expand(3)", "tensor([1., 1., 1.])"),
]


COMPLEX = [
    ("T([1 + 2j])", "tensor([1.+2.j])"),
    ("T(1 + 2j)", "tensor(1.+2.j)"),
    ("T([1 + 2j, 3.5 - 1j, complex(\"nan\"), complex(\"inf\")])", "tensor([1.0000+2.j, 3.5000-1.j,    nan+0.j,    inf+0.j])"),
    ("T([1e-8 + 2j, 3e9])", "tensor([1.0000e-08+2.j, 3.0000e+09+0.j])"),
    ("T([1 + 2j, 100 - 3j], dtype=torch.complex128)", "tensor([  1.+2.j, 100.-3.j], dtype=torch.complex128)"),
    ("torch.zeros(0, dtype=torch.complex64)", "tensor([], dtype=torch.complex64)"),
    (
        "torch.arange(12) * (1 + 0.5j)",
        """\
tensor([ 0.+0.0000j,  1.+0.5000j,  2.+1.0000j,  3.+1.5000j,  4.+2.0000j,  5.+2.5000j,
         6.+3.0000j,  7.+3.5000j,  8.+4.0000j,  9.+4.5000j, 10.+5.0000j, 11.+5.5000j])""",
    ),
]


OPTIONS = [
    ({"precision": 2}, "T([1.23456, 100.])", "tensor([  1.23, 100.00])"),
    ({"precision": 2, "sci_mode": False}, "T([1.23456, 1e-6])", "tensor([1.23, 0.00])"),
    ({"precision": 0}, "T([1.5, 2.25])", "tensor([2, 2])"),
    ({"sci_mode": True}, "T([1.5, -20.])", "tensor([ 1.5000e+00, -2.0000e+01])"),
    ({"sci_mode": True}, "T([1., 2.])", "tensor([1.0000e+00, 2.0000e+00])"),
    ({"sci_mode": False}, "T([1e-8, 1e8])", "tensor([        0.0000, 100000000.0000])"),
    ({"threshold": 5}, "torch.arange(12)", "tensor([ 0,  1,  2,  ...,  9, 10, 11])"),
    ({"threshold": 5, "edgeitems": 1}, "torch.arange(20.).reshape(4, 5)", """\
tensor([[ 0.,  ...,  4.],
        ...,
        [15.,  ..., 19.]])"""),
    ({"linewidth": 30}, "torch.arange(12.)", """\
tensor([ 0.,  1.,  2.,  3.,
         4.,  5.,  6.,  7.,
         8.,  9., 10., 11.])"""),
    ({"linewidth": 20}, "torch.zeros(2, requires_grad=True) * 1", """\
tensor([0., 0.],
       grad_fn=<MulBackward0>)"""),
    ({"profile": "short"}, "T([1 / 3, 2 / 3])", "tensor([0.33, 0.67])"),
    ({"profile": "full"}, "torch.arange(1001)[990:]", "tensor([ 990,  991,  992,  993,  994,  995,  996,  997,  998,  999, 1000])"),
    ({"profile": "short", "precision": 6}, "T([1 / 3])", "tensor([0.333333])"),
]


FORMAT = [
    ("T(0.7512)", ".2f", "0.75"),
    ("T(3)", "", "3"),
    ("T([1.])", "", "tensor([1.])"),
    ("T(2.0)", "", "2.0"),
    ("T(1234.5)", ",.1f", "1,234.5"),
    ("T(3)", ">5", "    3"),
    ("T(1.5, requires_grad=True) * 2", ".3f", "3.000"),
    ("T(True)", "", "True"),
    ("nn.Linear(2, 2).weight[0, 0] * 0 + 1", "+.2f", "+1.00"),
]


@pytest.mark.parametrize(("expression", "expected"), REPR, ids=[e for e, _ in REPR])
def test_repr(expression, expected):
    assert repr(evaluate(expression)) == expected


@pytest.mark.parametrize(("expression", "expected"), COMPLEX, ids=[e for e, _ in COMPLEX])
def test_complex(expression, expected):
    assert repr(evaluate(expression)) == expected


@pytest.mark.parametrize(("options", "expression", "expected"), OPTIONS)
def test_options(options, expression, expected):
    torch.set_printoptions(**options)
    assert repr(evaluate(expression)) == expected


@pytest.mark.parametrize(("expression", "spec", "expected"), FORMAT)
def test_format(expression, spec, expected):
    assert format(evaluate(expression), spec) == expected


@pytest.mark.parametrize("expression", ["T([1.])", "nn.Parameter(T(1.5))", 'torch.zeros((), device="meta")'])
def test_format_refuses(expression):
    value = evaluate(expression)
    with pytest.raises(TypeError, match=f"unsupported format string passed to {type(value).__name__}.__format__"):
        format(value, ".2f")


def test_default_dtype_hides_the_suffix():
    torch.set_default_dtype(torch.float64)
    assert repr(T([1.0])) == "tensor([1.])"
    assert repr(T([1.0], dtype=torch.float32)) == "tensor([1.], dtype=torch.float32)"
    assert repr(torch.zeros(0)) == "tensor([])"


def test_subclass_prints_its_name():
    class Marked(torch.Tensor):
        pass

    assert repr(T([1.0]).as_subclass(Marked)) == "Marked([1.])"


def test_str_is_repr_and_printing_keeps_the_tensor():
    x = T([1.0, 2.0], requires_grad=True)
    y = x * 2
    assert str(y) == repr(y) == "tensor([2., 4.], grad_fn=<MulBackward0>)"
    y.sum().backward()
    assert repr(x.grad) == "tensor([2., 2.])"


def test_options_stay_until_reset():
    torch.set_printoptions(sci_mode=True)
    assert repr(T(2.5)) == "tensor(2.5000e+00)"
    torch.set_printoptions(precision=2)  # sci_mode goes back to automatic
    assert repr(T(2.5)) == "tensor(2.50)"
