"""Every op of the table against NumPy: values, dtypes, shapes and layouts; variants against the op itself."""

import warnings

import numpy as np
import pytest

import rustgrad as torch
from rustgrad import _core
from samples import ELSEWHERE, OPS, S
from support import (
    LAYOUTS,
    NOT_YET,
    array,
    cast,
    convert,
    expanded_values,
    find,
    flat,
    function,
    ops,
    reference,
    same,
    tensor,
)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")

KIND_DTYPES = {"f": ("float32", "float64"), "i": ("int64", "int32"), "b": ("bool",), "c": ("float32",)}


def cases(op):
    for kind in op.kinds:
        for dtype in KIND_DTYPES[kind]:
            for n, (args, kwargs) in enumerate(op.samples(kind)):
                yield dtype, f"[{op.name} sample {n}, {dtype}]", cast(args, dtype), cast(kwargs, dtype)


def tensors(args, kwargs, leaf=tensor):
    return convert(args, leaf), convert(kwargs, leaf)


@ops(lambda op: op.ref is not None)
def test_values(op):
    f = function(op)
    for dtype, where, args, kwargs in cases(op):
        a, k = tensors(args, kwargs)
        same(f(*a, **k), reference(op, args, kwargs), dtype, op.tol, op.float_dtype, where)


@ops(lambda op: op.ref is not None and op.layouts and "c" not in op.kinds)
def test_layouts(op):
    """Transposed, strided and expanded operands answer what contiguous ones do."""
    f = function(op)
    dtype = KIND_DTYPES[op.kinds[0]][0]
    for n, (args, kwargs) in enumerate(op.samples(op.kinds[0])):
        for name, leaf in LAYOUTS.items():
            given = (args, kwargs)
            if name == "expanded":
                if not op.spread:
                    continue
                given = tuple(convert(v, lambda a: expanded_values(a) if a.dtype.kind == "f" else a) for v in given)
            args_, kwargs_ = (cast(v, dtype) for v in given)
            a, k = tensors(args_, kwargs_, leaf)
            if name == "expanded":
                a, k = (convert_mixed(v, leaf) for v in (args_, kwargs_))
            same(f(*a, **k), reference(op, args_, kwargs_), dtype, op.tol, op.float_dtype, f"[{op.name} sample {n}, {name}]")


def convert_mixed(value, leaf):
    """Indices and masks stay as they are: their values matter."""
    return convert(value, lambda a: leaf(a) if a.dtype.kind == "f" else tensor(a))


SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0]


@ops(lambda op: op.nonfinite)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_and_infinity(op, dtype):
    f = function(op)
    x = np.array(SPECIAL, dtype)
    n = len(op.samples()[0][0])
    args = (x,) if n == 1 else (np.repeat(x, len(x)), np.tile(x, len(x)))
    got, want = f(*convert(args, tensor)), reference(op, args, {})
    same(got, want, dtype, op.tol, op.float_dtype, op.name)
    unsigned = ("maximum", "minimum", "fmax", "fmin", "relu", "nn.functional.relu", "fmod", "floor_divide")
    if op.name not in unsigned:
        zeros = np.asarray(want) == 0
        np.testing.assert_array_equal(np.signbit(array(got))[zeros], np.signbit(want)[zeros], err_msg="sign of zero")


@ops(lambda op: "." not in op.name and callable(getattr(torch.Tensor, op.name, None)))
def test_method_is_the_function(op):
    f, method = function(op), getattr(torch.Tensor, op.name)
    checked = 0
    for args, kwargs in op.samples(op.kinds[0]):
        if op.call is not None or not args or not isinstance(args[0], np.ndarray) or op.name == "where":
            continue
        a, k = tensors(args, kwargs)
        try:
            got = method(*a, **k)
        except TypeError:
            if op.name in ("gradient", "bucketize"):
                continue
            raise
        for g, w in zip(flat(got), flat(f(*a, **k))):
            if isinstance(w, torch.Tensor):
                assert g.dtype == w.dtype
                np.testing.assert_array_equal(array(g), array(w))
            else:
                assert g == w
        checked += 1
    assert checked or op.call is not None or op.name in ("where", "polygamma", "result_type"), "no sample fits the method"


words = str.split

# In-place methods and functions with out=, as PyTorch 2.13 has them.
IN_PLACE = words("""abs absolute acos acosh add addbmm addcdiv addcmul addmm addmv addr arccos arccosh arcsin arcsinh arctan arctan2
arctanh asin asinh atan atan2 atanh baddbmm bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor
ceil clamp clamp_max clamp_min clip copysign cos cosh cumprod cumsum deg2rad digamma div divide eq erf erfc erfinv exp exp2 expm1 fill
fix float_power floor floor_divide fmod frac gcd ge greater greater_equal gt heaviside hypot i0 igamma igammac index_add
index_copy index_fill index_put index_reduce lcm ldexp le lerp less less_equal lgamma log log10 log1p log2 logical_and
logical_not logical_or logical_xor logit lt masked_fill masked_scatter mul multiply mvlgamma nan_to_num ne neg negative nextafter
not_equal polygamma pow put rad2deg reciprocal relu remainder renorm round rsqrt scatter scatter_add scatter_reduce sgn sigmoid
sign sin sinc sinh sqrt square sub subtract tan tanh tril triu true_divide trunc xlogy""")

OUT = words("""abs absolute acos acosh add addbmm addcdiv addcmul addmm addmv addr all amax amin aminmax any arange arccos arccosh arcsin arcsinh arctan
arctan2 arctanh argmax argmin asin asinh atan atan2 atanh baddbmm bitwise_and bitwise_left_shift bitwise_not bitwise_or
bitwise_right_shift bitwise_xor bmm bucketize cat ceil chain_matmul clamp clamp_max clamp_min clip column_stack concat concatenate
conj_physical copysign cos cosh cross cummax cummin cumprod cumsum deg2rad diag diff digamma div divide dot dstack eq erf erfc
erfinv exp exp2 expm1 eye fix float_power floor floor_divide fmax fmin fmod frac full gather gcd ge ger greater greater_equal gt
heaviside hstack hypot i0 igamma igammac index_add index_copy index_reduce index_select inner isin isneginf isposinf kron kthvalue
lcm ldexp le lerp less less_equal lgamma linspace log log10 log1p log2 logaddexp logaddexp2 logcumsumexp logical_and logical_not
logical_or logical_xor logit logspace logsumexp lt masked_select matmul matrix_power max maximum mean median min minimum mm
msort mul multiply mv mvlgamma nan_to_num nanmean nanmedian nanquantile nansum ne neg negative nextafter nonzero norm
not_equal ones outer polygamma pow prod quantile rad2deg range reciprocal remainder renorm round row_stack rsqrt scatter
scatter_add scatter_reduce searchsorted sgn sigmoid sign signbit sin sinc sinh softmax sort sqrt square stack std sub subtract
sum take take_along_dim tan tanh tensordot topk tril triu true_divide trunc var vdot vstack xlogy zeros
linalg.cholesky linalg.cross linalg.det linalg.inv linalg.matmul linalg.matrix_norm linalg.matrix_power linalg.multi_dot linalg.norm linalg.pinv linalg.solve
linalg.vecdot linalg.vector_norm special.erf special.expit special.i0e special.i1 special.logit special.xlogy special.zeta""")


@pytest.mark.parametrize("name", IN_PLACE)
def test_in_place(name):
    """`x.op_(...)` writes what `x.op(...)` answers, into x itself, also through a strided view, and counts a version."""
    op = OPS[name]
    f, method = function(op), getattr(torch.Tensor, name + "_", None)
    assert method is not None, f"torch.Tensor has no {name}_"
    checked = 0
    for args, kwargs in op.samples(op.kinds[0]):
        if not args or not isinstance(args[0], np.ndarray):
            if name != "polygamma":
                continue
            args = (args[1], args[0])
        else:
            args = tuple(args)
        a, k = tensors(args, kwargs)
        want = f(a[1], a[0]) if name == "polygamma" else f(*a, **k)
        if not isinstance(want, torch.Tensor) or want.shape != a[0].shape:
            continue
        for leaf in (tensor, LAYOUTS["strided"]):
            target = leaf(args[0])
            version = target._version
            assert method(target, *a[1:], **k) is target
            assert target.dtype == a[0].dtype
            np.testing.assert_allclose(array(target), array(want.to(target.dtype)), rtol=1e-13, err_msg=name)
            assert target._version > version
        checked += 1
    assert checked


WITH_DIM = words("max min median nanmedian mean std var all any prod sum nansum nanmean norm argmax argmin")


FUNCTIONS_IN_PLACE = words("""relu celu selu threshold nn.functional.relu nn.functional.celu nn.functional.elu nn.functional.hardtanh
nn.functional.leaky_relu nn.functional.selu nn.functional.threshold""")


def test_functions_in_place():
    """`torch.relu_(x)` and its kin: PyTorch's, and whatever else the core registers."""
    names = {n[:-1] for n in registered() if n.endswith("_") and not n.startswith("Tensor.")} & set(OPS)
    for name in sorted(names | set(FUNCTIONS_IN_PLACE)):
        (first, *args), kwargs = OPS[name].samples()[0]
        target, want = tensor(np.asarray(first)), function(OPS[name])(tensor(first), *args, **kwargs)
        f = find(name + "_")
        assert f is not None, f"torch.{name}_ does not exist"
        assert f(target, *args, **kwargs) is target
        np.testing.assert_allclose(array(target), array(want), rtol=1e-13, err_msg=name)


@pytest.mark.parametrize("name", OUT)
def test_out(name):
    """`out=` is written, resized where it is empty, and answered."""
    op, f = OPS[name], find(name)
    assert f is not None, f"torch.{name} does not exist"
    if op.call is not None:  # the samples go through a wrapper: one call by hand
        sample = op.samples(op.kinds[0])[0]
        args, kwargs = (sample[0][:1], {}) if name != "linalg.solve" else sample
    else:
        args, kwargs = op.samples(op.kinds[0])[0]
        if name == "aminmax":
            args, kwargs = S(*args, dim=0)
        if name in WITH_DIM:
            args, kwargs = op.samples(op.kinds[0])[1]
    a, k = tensors(args, kwargs)
    want = f(*a, **k)
    results = flat(want)
    empty = [torch.empty(0, dtype=r.dtype) for r in results]
    target = tuple(empty) if isinstance(want, tuple) else empty[0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got = f(*a, **k, out=target)
    for g, e, r in zip(flat(got), empty, results):
        assert g is e or g.data_ptr() == e.data_ptr()
        assert e.shape == r.shape
        np.testing.assert_array_equal(array(e), array(r), err_msg=name)


def test_out_of_a_wrong_dtype_raises():
    with pytest.raises(RuntimeError, match="result type Float can't be cast to the desired output type Long"):
        torch.add(torch.ones(2), torch.ones(2), out=torch.zeros(2, dtype=torch.int64))


def test_out_may_be_an_operand():
    x = torch.tensor([1.0, 2.0, 3.0])
    torch.add(x, 1, out=x)
    assert x.tolist() == [2.0, 3.0, 4.0]
    torch.cumsum(x, 0, out=x)
    assert x.tolist() == [2.0, 5.0, 9.0]


def test_overlapping_in_place():
    """A result that reads what it overwrites is as if it had read everything first."""
    x = torch.arange(6.0)
    x[1:].copy_(x[:-1].clone())
    assert x.tolist() == [0, 0, 1, 2, 3, 4]
    y = torch.arange(4.0).reshape(2, 2)
    y += y.t().clone()
    assert y.tolist() == [[0, 3], [3, 6]]


# The registry: every op that the core registers has samples


def schema_names(owner):
    """(attribute, names in its schema lines) of the callables that a signature describes."""
    for attribute in dir(owner):
        if attribute.startswith("_"):
            continue
        doc = getattr(getattr(owner, attribute, None), "__doc__", None) or ""
        names = [line.partition("(")[0] for line in doc.split("\n\n")[0].splitlines() if "(" in line]
        if names and callable(getattr(owner, attribute)) and all(n.strip("_").isidentifier() for n in names):
            yield attribute


def registered():
    for place, prefix in (("", ""), ("nn", "nn.functional."), ("linalg", "linalg."), ("special", "special."), ("fft", "fft.")):
        owner = getattr(_core, place) if place else _core
        if owner is None:
            continue
        for name in schema_names(owner):
            if not isinstance(getattr(owner, name), type):
                yield prefix + name
    for name in schema_names(torch.Tensor):
        yield "Tensor." + name


def covered(path):
    name = path.rpartition(".")[2]
    if path in OPS or name in ELSEWHERE:
        return True
    base = path.removesuffix("_")
    if path.startswith("Tensor."):
        base = base.removeprefix("Tensor.")
        return base in OPS or f"Tensor.{base}" in OPS or base in ELSEWHERE
    return base != path and base in OPS  # test_functions_in_place


def test_what_is_not_there_yet_is_not_there():
    assert [name for name in sorted(NOT_YET) if find(name) is not None] == []


def test_every_registered_op_has_samples():
    names = sorted(set(registered()))
    assert len(names) > 300
    assert [n for n in names if not covered(n)] == []


def test_the_table_names_no_op_twice_and_gives_samples():
    assert all(op.samples(op.kinds[0]) for op in OPS.values())
    assert not set(OPS) & set(ELSEWHERE)
