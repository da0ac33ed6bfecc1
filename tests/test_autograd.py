"""The graph: accumulation, versions, hooks, modes, custom functions, views written in place."""

import gc
import sys
import threading
import warnings
import weakref

import pytest

import rustgrad as torch
from rustgrad.autograd import Function, grad


def leaf(*values):
    return torch.tensor(values if len(values) != 1 else values[0], dtype=torch.float64, requires_grad=True)


# Accumulation and repeated backward


def test_gradients_accumulate_into_the_same_tensor():
    x = leaf(1.0, 2.0)
    (x * x).sum().backward()
    first = x.grad
    (3 * x).sum().backward()
    assert x.grad is first
    assert x.grad.tolist() == [5.0, 7.0]


def test_two_uses_of_a_leaf_add_up():
    x = leaf(3.0)
    (x * x + x).backward()
    assert x.grad.item() == 7.0


def test_backward_wants_a_gradient_for_more_than_one_element():
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="grad can be implicitly created only for scalar outputs"):
        (x * 2).backward()
    (x * 2).backward(torch.tensor([1.0, 10.0], dtype=torch.float64))
    assert x.grad.tolist() == [2.0, 20.0]


def test_backward_of_what_needs_no_gradient():
    with pytest.raises(RuntimeError, match="element 0 of tensors does not require grad and does not have a grad_fn"):
        torch.ones(1).sum().backward()


def test_second_backward_needs_retain_graph():
    x = leaf(1.0, 2.0)
    y = x.exp().sum()
    y.backward(retain_graph=True)
    y.backward()
    with pytest.raises(RuntimeError, match="Trying to backward through the graph a second time"):
        y.backward()


def test_a_graph_that_saved_nothing_may_run_again():
    x = leaf(1.0, 2.0)
    y = x.sum()
    y.backward()
    y.backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_backward_with_inputs_leaves_others_alone():
    x, y = leaf(2.0), leaf(3.0)
    (x * y).backward(inputs=[x])
    assert x.grad.item() == 3.0
    assert y.grad is None


def test_gradient_of_a_wrong_shape():
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"Mismatch in shape: grad_output\[0\] has a shape of torch.Size\(\[3\]\) and output\[0\] has a shape of torch.Size\(\[2\]\)"):
        (x * 2).backward(torch.ones(3, dtype=torch.float64))
    with pytest.raises(RuntimeError, match=r"attempting to assign a gradient of size '\[3\]' to a tensor of size '\[2\]'"):
        x.grad = torch.ones(3, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="attempting to assign a gradient of dtype|attempting to assign a gradient with dtype"):
        x.grad = torch.ones(2)
    with pytest.raises(TypeError, match="assigned grad expected to be a Tensor or None but got grad of type"):
        x.grad = 1.0


def test_only_floats_may_require_gradients():
    with pytest.raises(RuntimeError, match="Only Tensors of floating point and complex dtype can require gradients"):
        torch.tensor([1, 2], requires_grad=True)


# Versions


def test_a_saved_tensor_that_was_written_raises():
    x = leaf(1.0, 2.0)
    y = x.exp()
    y.mul_(2)
    with pytest.raises(RuntimeError, match="one of the variables needed for gradient computation has been modified by an inplace operation"):
        y.sum().backward()


def test_a_write_to_what_was_not_saved_is_fine():
    x = leaf(1.0, 2.0)
    y = x * 3
    y.add_(1)
    y.sum().backward()
    assert x.grad.tolist() == [3.0, 3.0]


def test_the_message_names_versions():
    x, w = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = x * w
    with torch.no_grad():
        w.add_(1)
    with pytest.raises(RuntimeError, match="is at version 1; expected version 0 instead"):
        y.sum().backward()


def test_writes_through_views_count():
    base = torch.zeros(4)
    view = base[1:3]
    before = base._version
    view.fill_(1)
    assert base._version == view._version == before + 1
    base.detach().add_(1)
    assert view._version == before + 2
    base.data.add_(1)
    assert view._version == before + 2


def test_leaf_in_place():
    x = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place operation"):
        x.add_(1)
    with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad is being used in an in-place operation"):
        x[0] = 1
    with torch.no_grad():
        x.add_(1)
    x.data.mul_(2)
    assert x.tolist() == [4.0, 6.0]
    assert x.is_leaf


def test_in_place_makes_a_non_leaf():
    x, y = leaf(2.0, 3.0), torch.ones(2, dtype=torch.float64)
    y.mul_(x)
    assert y.requires_grad
    assert not y.is_leaf
    (y * y).sum().backward()
    assert x.grad.tolist() == [4.0, 6.0]


# Views written in place, and setitem


def test_setitem_is_differentiable_on_both_sides():
    x, v = leaf(1.0, 2.0, 3.0), leaf(5.0)
    y = x * 2
    y[1] = v * 3
    (y * torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64)).sum().backward()
    assert y.tolist() == [2.0, 15.0, 6.0]
    assert x.grad.tolist() == [2.0, 0.0, 200.0]
    assert v.grad.item() == 30.0
    assert "CopySlices" in repr(y.grad_fn)


def test_in_place_on_a_view_rewrites_the_history_of_the_base():
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    y = x * 1
    row = y[0]
    row.mul_(10)
    y.sum().backward()
    assert x.grad.tolist() == [[10.0, 10.0], [1.0, 1.0]]


def test_a_view_sees_what_was_done_to_its_base():
    x = leaf(1.0, 2.0, 3.0)
    y = x * 1
    view = y[:2]
    y.mul_(torch.tensor([2.0, 3.0, 4.0], dtype=torch.float64))
    view.sum().backward()
    assert x.grad.tolist() == [2.0, 3.0, 0.0]


def test_in_place_on_a_view_of_a_view():
    x = leaf([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    y = x.clone()
    y.t()[1:].narrow(1, 0, 1).mul_(7)
    y.sum().backward()
    assert x.grad.tolist() == [[1.0, 7.0, 7.0], [1.0, 1.0, 1.0]]


def test_split_views_refuse_writes():
    y = leaf(1.0, 2.0, 3.0, 4.0) * 1
    a, _ = y.split(2)
    with pytest.raises(RuntimeError, match="is a view and is being modified inplace"):
        a.mul_(2)


def test_index_assignment_forms():
    x = leaf(1.0, 2.0, 3.0, 4.0)
    y = x * 1
    y[y > 2.5] = 0
    y[torch.tensor([0])] = leaf(9.0) * 2
    y.sum().backward()
    assert y.tolist() == [18.0, 2.0, 0.0, 0.0]
    assert x.grad.tolist() == [0.0, 1.0, 0.0, 0.0]


# detach, requires_grad_, is_leaf, grad of a non-leaf


def test_detach_shares_memory_and_has_no_history():
    x = leaf(1.0, 2.0)
    d = (x * 2).detach()
    assert not d.requires_grad
    assert d.is_leaf
    d2 = x.detach()
    d2[0] = 7
    assert x[0].item() == 7
    (x.detach() * x).sum().backward()
    assert x.grad.tolist() == [7.0, 2.0]


def test_requires_grad_of_a_non_leaf_cannot_be_cleared():
    y = leaf(1.0) * 2
    with pytest.raises(RuntimeError, match="you can only change requires_grad flags of leaf variables"):
        y.requires_grad = False
    assert leaf(1.0).requires_grad_(False).requires_grad is False


def test_grad_of_a_non_leaf_warns_and_is_none():
    y = leaf(1.0) * 2
    with pytest.warns(UserWarning, match="The .grad attribute of a Tensor that is not a leaf Tensor is being accessed"):
        assert y.grad is None


def test_retain_grad():
    x = leaf(2.0)
    y = x * 3
    y.retain_grad()
    assert y.retains_grad
    (y * y).backward()
    assert y.grad.item() == 12.0
    assert x.grad.item() == 36.0
    with pytest.raises(RuntimeError, match="can't retain_grad on Tensor that has requires_grad=False"):
        torch.ones(1).retain_grad()


# Hooks


def test_hooks_replace_gradients_in_order_and_can_be_removed():
    x = leaf(1.0)
    y = x * 2
    seen = []
    first = y.register_hook(lambda g: seen.append(g.item()) or g * 10)
    y.register_hook(lambda g: seen.append(g.item()))
    y.backward(retain_graph=True)
    assert seen == [1.0, 10.0]
    assert x.grad.item() == 20.0
    first.remove()
    y.backward()
    assert seen == [1.0, 10.0, 1.0]
    assert x.grad.item() == 22.0


def test_hook_on_a_leaf_sees_the_whole_gradient():
    x = leaf(3.0)
    seen = []
    x.register_hook(lambda g: seen.append(g.item()))
    (x * x).backward()
    assert seen == [6.0]


def test_post_accumulate_hook():
    x = leaf(3.0)
    seen = []
    x.register_post_accumulate_grad_hook(lambda p: seen.append(p.grad.item()))
    (x * x).backward()
    (x * 2).backward()
    assert seen == [6.0, 8.0]
    with pytest.raises(RuntimeError, match="post accumulate grad hooks cannot be registered on non-leaf tensors"):
        (x * 2).register_post_accumulate_grad_hook(print)


def test_hook_errors_travel():
    x = leaf(3.0)
    x.register_hook(lambda g: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        (x * 2).backward()
    with pytest.raises(RuntimeError, match="cannot register a hook on a tensor that doesn't require gradient"):
        torch.ones(1).register_hook(print)


def test_graph_can_be_walked():
    x, y = leaf(1.0), leaf(2.0)
    z = (x * y).exp()
    assert z.grad_fn.name() == "ExpBackward0"
    mul = z.grad_fn.next_functions[0][0]
    assert type(mul).__name__ == "MulBackward0"
    assert [f.name() for f, _ in mul.next_functions] == ["torch::autograd::AccumulateGrad"] * 2
    assert mul.next_functions[0][0].variable.data_ptr() == x.data_ptr()


# grad()


def test_grad_does_not_touch_leaves():
    x = leaf(2.0)
    (g,) = grad(x * x * x, x)
    assert g.item() == 12.0
    assert x.grad is None


def test_grad_of_a_non_leaf_and_several_outputs():
    x = leaf(2.0)
    y = x * 3
    (g,) = grad([y * y, y * 5], [y])
    assert g.item() == 17.0


def test_grad_of_unused_inputs():
    x, y = leaf(2.0), leaf(3.0)
    with pytest.raises(RuntimeError, match="The differentiated Tensor at index 1 appears to not have been used in the graph. Set allow_unused=True"):
        grad(x * x, [x, y])
    gx, gy = grad(x * x, [x, y], allow_unused=True)
    assert (gx.item(), gy) == (4.0, None)
    assert grad(x * x, [x, y], materialize_grads=True)[1].item() == 0.0
    with pytest.raises(RuntimeError, match="One of the differentiated Tensors does not require grad"):
        grad(x * x, [torch.ones(1)])


def test_create_graph_gives_every_derivative():
    x = leaf(2.0)
    y = x**5
    for expected in (80.0, 160.0, 240.0, 240.0, 120.0):
        (y,) = grad(y, x, create_graph=True)
        assert y.item() == pytest.approx(expected)


def test_gradient_penalty():
    w, x = leaf(2.0, 3.0), leaf(1.0, -1.0)
    (g,) = grad((w * x).tanh().sum(), x, create_graph=True)
    (g * g).sum().backward()
    eps = 1e-6

    def penalty(w0):
        t = torch.tensor([w0, 3.0], dtype=torch.float64)
        s = 1 - (t * x.detach()).tanh() ** 2
        return ((t * s) ** 2).sum().item()

    assert w.grad[0].item() == pytest.approx((penalty(2 + eps) - penalty(2 - eps)) / (2 * eps), rel=1e-6)


# Modes


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_modes_as_context_decorator_and_generator(mode):
    x = leaf(1.0)
    with mode():
        assert not torch.is_grad_enabled()
        assert not (x * 2).requires_grad
    assert torch.is_grad_enabled()

    @mode()
    def f():
        return x * 2

    assert not f().requires_grad

    @mode()
    def numbers():
        for _ in range(2):
            yield (x * 2).requires_grad

    it = numbers()
    assert next(it) is False
    assert torch.is_grad_enabled()
    assert next(it) is False


def test_no_grad_without_brackets():
    @torch.no_grad
    def f(x):
        return x * 2

    assert not f(leaf(1.0)).requires_grad


def test_enable_grad_inside_no_grad():
    x = leaf(1.0)
    with torch.no_grad(), torch.enable_grad():
        y = x * 2
    assert y.requires_grad

    @torch.enable_grad()
    def f():
        return x * 2

    with torch.no_grad():
        assert f().requires_grad


def test_set_grad_enabled_as_function_context_and_decorator():
    x = leaf(1.0)
    try:
        torch.set_grad_enabled(False)
        assert not (x * 2).requires_grad
    finally:
        torch.set_grad_enabled(True)
    with torch.set_grad_enabled(False):
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad

    @torch.set_grad_enabled(False)
    def f():
        return x * 2

    assert torch.is_grad_enabled()
    assert not f().requires_grad


def test_modes_are_left_when_the_body_raises():
    with pytest.raises(ValueError, match="body"), torch.no_grad():
        raise ValueError("body")
    assert torch.is_grad_enabled()


def test_grad_mode_belongs_to_the_thread():
    seen = []
    with torch.no_grad():
        t = threading.Thread(target=lambda: seen.append(torch.is_grad_enabled()))
        t.start()
        t.join()
    assert seen == [True]


def test_inference_tensors():
    with torch.inference_mode():
        t = torch.ones(2)
        assert t.is_inference()
        t.add_(1)
    assert not torch.is_inference_mode_enabled()
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor outside InferenceMode is not allowed"):
        t.add_(1)


# Functions written in Python


class Cube(Function):
    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(x)
        ctx.scale = scale
        return scale * x * x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 3 * ctx.scale * x * x, None


def test_custom_function():
    x = leaf(2.0)
    y = Cube.apply(x, 10.0)
    assert type(y.grad_fn).__name__ == "CubeBackward"
    y.backward()
    assert (y.item(), x.grad.item()) == (80.0, 120.0)


def test_custom_function_twice_differentiated():
    x = leaf(2.0)
    (g,) = grad(Cube.apply(x, 1.0), x, create_graph=True)
    (h,) = grad(g, x)
    assert h.item() == 12.0


def test_custom_function_checks_versions():
    x = leaf(2.0)
    base = x * 1
    y = Cube.apply(base, 1.0)
    base.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()


def test_custom_function_returning_the_wrong_number():
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x, y):
            return x * y

        @staticmethod
        def backward(ctx, g):
            return (g,)

    with pytest.raises(RuntimeError, match=r"function WrongBackward returned an incorrect number of gradients \(expected 2, got 1\)"):
        Wrong.apply(leaf(1.0), leaf(2.0)).backward()


def test_custom_function_returning_a_wrong_shape():
    class Wrong(Function):
        @staticmethod
        def forward(ctx, x):
            return x.sum()

        @staticmethod
        def backward(ctx, g):
            return torch.ones(3, dtype=torch.float64)

    with pytest.raises(RuntimeError, match=r"Function WrongBackward returned an invalid gradient at index 0 - got \[3\] but expected shape compatible with \[2\]"):
        Wrong.apply(leaf(1.0, 2.0)).backward()


def test_custom_function_with_setup_context_and_needs_input_grad():
    seen = []

    class Product(Function):
        @staticmethod
        def forward(x, y):
            return x * y

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx, g):
            seen.append(ctx.needs_input_grad)
            x, y = ctx.saved_tensors
            return g * y, g * x

    x = leaf(2.0)
    Product.apply(x, torch.tensor(5.0, dtype=torch.float64)).backward()
    assert x.grad.item() == 5.0
    assert seen == [(True, False)]


def test_custom_function_several_outputs_and_non_differentiable():
    class Both(Function):
        @staticmethod
        def forward(ctx, x):
            index = torch.argmax(x)
            ctx.mark_non_differentiable(index)
            return x * 2, x * 3, index

        @staticmethod
        def backward(ctx, g, h, _):
            return 2 * g + 3 * h

    x = leaf(1.0, 2.0)
    a, b, i = Both.apply(x)
    assert not i.requires_grad
    a.sum().backward(retain_graph=True)
    assert x.grad.tolist() == [2.0, 2.0]
    (a + b).sum().backward()
    assert x.grad.tolist() == [7.0, 7.0]


def test_once_differentiable():
    from rustgrad.autograd.function import once_differentiable

    class Square(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once_differentiable
        def backward(ctx, g):
            return 2 * g * ctx.saved_tensors[0]

    x = leaf(3.0)
    (g,) = grad(Square.apply(x), x, create_graph=True)
    assert g.item() == 6.0
    x = leaf(3.0)
    y = x * 1
    y.retain_grad()
    (g,) = grad(Square.apply(y), y, torch.ones((), dtype=torch.float64).requires_grad_(), create_graph=True)
    with pytest.raises(RuntimeError, match="trying to differentiate twice a function that was marked with @once_differentiable"):
        g.backward()


def test_functions_are_not_instances():
    with pytest.raises(RuntimeError, match="Legacy autograd function"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Cube()(leaf(1.0), 1.0)


# Size, memory, order


def test_a_graph_of_a_million_nodes_runs_and_is_dropped():
    x = torch.zeros((), requires_grad=True)
    y = x
    for _ in range(1_000_000):
        y = y + 1
    y.backward()
    assert y.item() == 1_000_000
    assert x.grad.item() == 1
    for _ in range(300_000):
        y = y + 1
    del y  # without running it
    gc.collect()


def test_the_graph_goes_with_its_result():
    class Token:
        pass

    token = Token()
    alive = weakref.ref(token)
    x = leaf(1.0)
    y = x * 2
    y.register_hook(lambda g, token=token: None)
    del token, y
    gc.collect()
    assert alive() is None


def test_diamond_runs_each_node_once():
    x = leaf(1.5)
    runs = []
    y = x
    for _ in range(40):
        z = y * 0.5
        z.register_hook(lambda g: runs.append(1))
        y = z + z
    y.backward()
    assert len(runs) == 40
    assert x.grad.item() == 1.0


def test_gradient_at_kinks():
    x = leaf(0.0)
    for f, expected in [(torch.relu, 0.0), (torch.abs, 0.0), (lambda t: t.clamp(0, 1), 1.0), (torch.sqrt, float("inf")),
                        (lambda t: t.norm(), 0.0), (lambda t: torch.maximum(t, t.detach()), 0.5)]:
        (g,) = grad(f(x), x)
        assert g.item() == expected
    x = leaf(2.0, 5.0, 5.0)
    assert grad(x.max(), x)[0].tolist() == [0.0, 0.5, 0.5]
    assert grad(x.max(0).values, x)[0].tolist() == [0.0, 1.0, 0.0]
    assert grad(x.amax(), x)[0].tolist() == [0.0, 0.5, 0.5]


def test_gradients_keep_the_dtype_of_their_leaf():
    x = torch.ones(2, requires_grad=True)
    y = torch.ones(2, dtype=torch.float64, requires_grad=True)
    h = torch.ones(2, dtype=torch.float16, requires_grad=True)
    (x * y * h).sum().backward()
    assert (x.grad.dtype, y.grad.dtype, h.grad.dtype) == (torch.float32, torch.float64, torch.float16)
    b = torch.ones(3, 1, requires_grad=True)
    (b + torch.ones(2, 3, 4)).sum().backward()
    assert b.grad.tolist() == [[8.0]] * 3


def test_saved_tensors_hooks_are_refused():
    # Not offered: the context says so instead of doing nothing.
    with pytest.raises(NotImplementedError, match="checkpoint"), torch.autograd.graph.saved_tensors_hooks(id, id):
        pass


def test_checkpoint_gives_the_same_gradients():
    from rustgrad.utils.checkpoint import checkpoint

    w = leaf(0.5, -0.3)
    calls = []

    def block(x):
        calls.append(1)
        return (x * w).tanh().exp()

    x = leaf(1.0, 2.0)
    block(x).sum().backward()
    plain = (x.grad.clone(), w.grad.clone())
    x.grad = w.grad = None
    calls.clear()
    checkpoint(block, x, use_reentrant=False).sum().backward()
    assert len(calls) == 2
    assert x.grad.tolist() == plain[0].tolist()
    assert w.grad.tolist() == plain[1].tolist()


def test_recursion_limit_is_not_the_depth_of_the_graph():
    limit = sys.getrecursionlimit()
    x = leaf(1.0)
    y = x
    for _ in range(2 * limit):
        y = Cube.apply(y, 1.0) * 0 + y
    y.backward()
    assert x.grad.item() == 1.0


def test_functional_jacobian_and_hessian():
    x = leaf(1.0, 2.0)
    f = lambda t: t**3
    assert torch.autograd.functional.jacobian(f, x).tolist() == [[3.0, 0.0], [0.0, 12.0]]
    assert torch.autograd.functional.hessian(lambda t: (t**3).sum(), x).tolist() == [[6.0, 0.0], [0.0, 12.0]]
    value, vjp = torch.autograd.functional.vjp(f, x, torch.ones(2, dtype=torch.float64))
    assert vjp.tolist() == [3.0, 12.0]
