"""Gradients of every differentiable op against central differences, and gradients of the gradients."""

import pytest

import rustgrad as torch
from rustgrad.autograd import gradcheck, gradgradcheck
from support import convert, flat, function, ops, tensor

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")


def problem(op, f, args, kwargs):
    """(function of the differentiable operands, those operands) for one sample."""
    leaves = []

    def leaf(a):
        t = tensor(a)
        if a.dtype.kind == "f":
            leaves.append(t.requires_grad_())
        return t

    args = tuple(convert(a, tensor if i in op.fixed else leaf) for i, a in enumerate(args))
    kwargs = {k: convert(v, tensor if k in op.fixed else leaf) for k, v in kwargs.items()}

    def run(*operands):
        place = {id(leaf): operand for leaf, operand in zip(leaves, operands)}

        def swap(value):
            return convert(value, lambda t: place.get(id(t), t), torch.Tensor)

        out = flat(f(*swap(args), **swap(kwargs)))
        return tuple(o for o in out if isinstance(o, torch.Tensor) and o.dtype == torch.float64)

    return run, tuple(leaves)


def problems(op):
    f = function(op)
    for args, kwargs in op.samples():
        run, leaves = problem(op, f, args, kwargs)
        if leaves and all(t.numel() for t in leaves):
            yield run, leaves


def smallest(op, most=2):
    """The samples with the fewest numbers: second derivatives cost their square."""
    return sorted(problems(op), key=lambda p: sum(t.numel() for t in p[1]))[:most]


@ops(lambda op: op.grad)
def test_gradient(op):
    found = 0
    for run, leaves in problems(op):
        assert gradcheck(run, leaves, check_undefined_grad=False), op.name
        found += 1
    assert found, "no differentiable sample"


@ops(lambda op: op.grad and op.second)
def test_second_gradient(op):
    found = 0
    for run, leaves in smallest(op):
        if not any(o.requires_grad for o in run()):
            continue
        assert gradgradcheck(run, leaves, gen_non_contig_grad_outputs=False, atol=1e-4), op.name
        found += 1
    assert found, "no differentiable sample"
