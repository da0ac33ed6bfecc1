"""Optimisers against their formulas in NumPy, schedulers against their sequences, state dicts."""

import math

import numpy as np
import pytest

import rustgrad as torch
from rustgrad import nn, optim
from rustgrad.optim import lr_scheduler as sched

START = np.array([[1.0, -2.0], [0.5, 3.0]])
CURVE = np.array([[1.0, 4.0], [0.3, 2.0]])


def gradient(w):
    """Of sum(curve * w^2 / 2 + 0.1 w)."""
    return CURVE * w + 0.1


def sgd(w, n, lr=0.1, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, maximize=False):
    b = None
    for _ in range(n):
        g = (-1 if maximize else 1) * gradient(w) + weight_decay * w
        if momentum:
            b = g if b is None else momentum * b + (1 - dampening) * g
            g = g + momentum * b if nesterov else b
        w = w - lr * g
    return w


def adam(w, n, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False, decoupled=False, maximize=False):
    m = v = top = 0.0
    for t in range(1, n + 1):
        g = (-1 if maximize else 1) * gradient(w)
        if decoupled:
            w = w * (1 - lr * weight_decay)
        else:
            g = g + weight_decay * w
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g
        top = np.maximum(top, v)
        root = np.sqrt((top if amsgrad else v) / (1 - betas[1] ** t)) + eps
        w = w - lr * m / (1 - betas[0] ** t) / root
    return w


def adamw(w, n, lr=1e-3, weight_decay=1e-2, **kwargs):
    return adam(w, n, lr=lr, weight_decay=weight_decay, decoupled=True, **kwargs)


def adamax(w, n, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    m, u = 0.0, np.zeros_like(w)
    for t in range(1, n + 1):
        g = gradient(w) + weight_decay * w
        m, u = betas[0] * m + (1 - betas[0]) * g, np.maximum(betas[1] * u, np.abs(g) + eps)
        w = w - lr / (1 - betas[0] ** t) * m / u
    return w


def nadam(w, n, lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, momentum_decay=4e-3, decoupled_weight_decay=False):
    m = v = 0.0
    product = 1.0
    for t in range(1, n + 1):
        g = gradient(w)
        if decoupled_weight_decay:
            w = w * (1 - lr * weight_decay)
        else:
            g = g + weight_decay * w
        mu, after = (betas[0] * (1 - 0.5 * 0.96 ** (s * momentum_decay)) for s in (t, t + 1))
        product *= mu
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g
        root = np.sqrt(v / (1 - betas[1] ** t)) + eps
        w = w - lr * (1 - mu) / (1 - product) * g / root - lr * after / (1 - product * after) * m / root
    return w


def radam(w, n, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    m = v = 0.0
    limit = 2 / (1 - betas[1]) - 1
    for t in range(1, n + 1):
        g = gradient(w) + weight_decay * w
        m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g
        step, rho = m / (1 - betas[0] ** t), limit - 2 * t * betas[1] ** t / (1 - betas[1] ** t)
        if rho > 5:
            rect = math.sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho))
            step = step * rect * math.sqrt(1 - betas[1] ** t) / (np.sqrt(v) + eps)
        w = w - lr * step
    return w


def adagrad(w, n, lr=1e-2, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10):
    total = np.full_like(w, initial_accumulator_value)
    for t in range(n):
        g = gradient(w) + weight_decay * w
        total = total + g * g
        w = w - lr / (1 + t * lr_decay) * g / (np.sqrt(total) + eps)
    return w


def adadelta(w, n, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.0):
    v = u = np.zeros_like(w)
    for _ in range(n):
        g = gradient(w) + weight_decay * w
        v = rho * v + (1 - rho) * g * g
        d = np.sqrt(u + eps) / np.sqrt(v + eps) * g
        u = rho * u + (1 - rho) * d * d
        w = w - lr * d
    return w


def rmsprop(w, n, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False):
    v = mean = b = np.zeros_like(w)
    for _ in range(n):
        g = gradient(w) + weight_decay * w
        v, mean = alpha * v + (1 - alpha) * g * g, alpha * mean + (1 - alpha) * g
        d = g / (np.sqrt(v - mean * mean if centered else v) + eps)
        b = momentum * b + d
        w = w - lr * (b if momentum else d)
    return w


def rprop(w, n, lr=1e-2, etas=(0.5, 1.2), step_sizes=(1e-6, 50)):
    before, size = np.zeros_like(w), np.full_like(w, lr)
    for _ in range(n):
        g = gradient(w)
        s = g * before
        size = np.clip(size * np.where(s > 0, etas[1], np.where(s < 0, etas[0], 1)), *step_sizes)
        g = np.where(s < 0, 0, g)
        w, before = w - np.sign(g) * size, g
    return w


def asgd(w, n, lr=1e-2, lambd=1e-4, alpha=0.75, weight_decay=0.0):
    eta = lr
    for t in range(1, n + 1):
        g = gradient(w) + weight_decay * w
        w = w * (1 - lambd * eta) - eta * g
        eta = lr / (1 + lambd * lr * t) ** alpha
    return w


CASES = [
    ("SGD", sgd, {"lr": 0.1}),
    ("SGD", sgd, {"lr": 0.05, "momentum": 0.9, "dampening": 0.2, "weight_decay": 0.1}),
    ("SGD", sgd, {"lr": 0.05, "momentum": 0.9, "nesterov": True}),
    ("SGD", sgd, {"lr": 0.01, "maximize": True}),
    ("Adam", adam, {}),
    ("Adam", adam, {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.1, "amsgrad": True}),
    ("Adam", adam, {"lr": 0.1, "maximize": True}),
    ("AdamW", adamw, {}),
    ("AdamW", adamw, {"lr": 0.1, "weight_decay": 0.3, "amsgrad": True}),
    ("Adamax", adamax, {"lr": 0.1, "weight_decay": 0.1}),
    ("NAdam", nadam, {"lr": 0.1, "weight_decay": 0.1}),
    ("NAdam", nadam, {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", radam, {"lr": 0.1, "weight_decay": 0.1}),
    ("Adagrad", adagrad, {"lr": 0.5, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.2}),
    ("Adadelta", adadelta, {"weight_decay": 0.1}),
    ("RMSprop", rmsprop, {"weight_decay": 0.1}),
    ("RMSprop", rmsprop, {"lr": 0.05, "momentum": 0.9, "centered": True}),
    ("Rprop", rprop, {"lr": 0.1}),
    ("ASGD", asgd, {"lr": 0.1, "weight_decay": 0.1}),
]


def parameter(dtype=torch.float64):
    return nn.Parameter(torch.tensor(START, dtype=dtype))


def step(w, optimizer, n=1):
    for _ in range(n):
        optimizer.zero_grad()
        (torch.tensor(CURVE, dtype=w.dtype) * w * w / 2 + 0.1 * w).sum().backward()
        optimizer.step()


@pytest.mark.parametrize(("name", "formula", "options"), CASES, ids=[f"{c[0]} {c[2]}" for c in CASES])
def test_ten_steps(name, formula, options):
    w = parameter()
    step(w, getattr(optim, name)([w], **options), 10)
    np.testing.assert_allclose(w.detach().numpy(), formula(START, 10, **options), rtol=1e-7)


@pytest.mark.parametrize(("name", "formula", "options"), CASES, ids=[f"{c[0]} {c[2]}" for c in CASES])
def test_state_dict_round_trip(name, formula, options):
    """Five steps, a new optimiser from the state, five more: the same numbers as ten."""
    w = parameter()
    first = getattr(optim, name)([w], **options)
    step(w, first, 5)
    state = first.state_dict()
    assert list(state) == ["state", "param_groups"]
    assert state["param_groups"][0]["params"] == [0]
    v = nn.Parameter(w.detach().clone())
    second = getattr(optim, name)([v], lr=123.0)
    second.load_state_dict(state)
    step(v, second, 5)
    np.testing.assert_allclose(v.detach().numpy(), formula(START, 10, **options), rtol=1e-7)


def test_adam_state():
    w = parameter()
    o = optim.Adam([w])
    assert o.state_dict()["state"] == {}
    step(w, o, 2)
    state = o.state_dict()["state"][0]
    assert list(state) == ["step", "exp_avg", "exp_avg_sq"]
    assert state["step"].item() == 2.0
    assert state["exp_avg"].shape == (2, 2)


def test_groups():
    a, b = parameter(), parameter()
    o = optim.SGD([{"params": [a]}, {"params": [b], "lr": 0.5}], lr=0.1)
    assert [g["lr"] for g in o.param_groups] == [0.1, 0.5]
    a.grad, b.grad = torch.ones(2, 2, dtype=torch.float64), torch.ones(2, 2, dtype=torch.float64)
    o.param_groups[0]["lr"] = 0.2
    o.step()
    np.testing.assert_allclose(a.detach().numpy(), START - 0.2)
    np.testing.assert_allclose(b.detach().numpy(), START - 0.5)
    o.add_param_group({"params": parameter()})
    assert o.param_groups[2]["lr"] == 0.1
    o.param_groups[0]["mine"] = "kept"
    assert o.state_dict()["param_groups"][0]["mine"] == "kept"
    with pytest.raises(ValueError, match="some parameters appear in more than one parameter group"):
        o.add_param_group({"params": [a]})


def test_named_parameters():
    net = nn.Linear(2, 1)
    o = optim.SGD(net.named_parameters(), lr=0.1)
    assert o.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]


def test_parameters_without_gradients_are_skipped():
    a, b = parameter(), parameter()
    o = optim.Adam([a, b], lr=0.1)
    a.grad = torch.ones_like(a)
    o.step()
    np.testing.assert_array_equal(b.detach().numpy(), START)
    assert list(o.state_dict()["state"]) == [0]
    o.zero_grad()
    assert a.grad is None


def test_closure_and_hooks():
    w = parameter()
    o = optim.SGD([w], lr=0.1)
    seen = []
    o.register_step_pre_hook(lambda *_: seen.append("pre"))
    o.register_step_post_hook(lambda *_: seen.append("post"))

    def closure():
        o.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    assert o.step(closure).item() == pytest.approx((START**2).sum())
    assert seen == ["pre", "post"]
    np.testing.assert_allclose(w.detach().numpy(), START * 0.8)


def test_lbfgs_reaches_the_minimum():
    w = parameter()
    o = optim.LBFGS([w], lr=1, max_iter=30, line_search_fn="strong_wolfe")
    calls = []

    def closure():
        calls.append(1)
        o.zero_grad()
        loss = (torch.tensor(CURVE) * w * w / 2 + 0.1 * w).sum()
        loss.backward()
        return loss

    o.step(closure)
    np.testing.assert_allclose(w.detach().numpy(), -0.1 / CURVE, atol=1e-5)
    assert len(calls) > 2


ERRORS = [
    (lambda: optim.SGD([], lr=0.1), ValueError, "optimizer got an empty parameter list"),
    (lambda: optim.SGD([parameter()], lr=-1), ValueError, "Invalid learning rate: -1"),
    (lambda: optim.Adam([parameter()], betas=(1.0, 0.9)), ValueError, "Invalid beta parameter at index 0: 1.0"),
    (lambda: optim.SGD(parameter(), lr=0.1), TypeError,
     "params argument given to the optimizer should be an iterable of Tensors or dicts, but got torch.DoubleTensor"),
    (lambda: optim.SGD([parameter() * 2], lr=0.1), ValueError, "can't optimize a non-leaf Tensor"),
    (lambda: optim.SGD([parameter()], lr=0.1, nesterov=True), ValueError, "Nesterov momentum requires a momentum and zero dampening"),
    (lambda: optim.SGD([parameter()], lr=0.1).load_state_dict(optim.SGD([{"params": [parameter()]}, {"params": [parameter()]}], lr=0.1).state_dict()),
     ValueError, "loaded state dict has a different number of parameter groups"),
]


@pytest.mark.parametrize(("make", "error", "text"), ERRORS, ids=[e[2] for e in ERRORS])
def test_errors(make, error, text):
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value) == text


# Schedulers: the learning rates of the first epochs from 0.1

F64 = {
    "StepLR": (lambda o: sched.StepLR(o, 3, 0.1), [0.1] * 3 + [0.010000000000000002] * 3 + [0.0010000000000000002] * 2),
    "MultiStepLR": (lambda o: sched.MultiStepLR(o, [2, 5], 0.5), [0.1] * 2 + [0.05] * 3 + [0.025] * 3),
    "ExponentialLR": (lambda o: sched.ExponentialLR(o, 0.9), [0.1 * 0.9**i for i in range(8)]),
    "LambdaLR": (lambda o: sched.LambdaLR(o, lambda e: 1 / (e + 1)), [0.1 / (i + 1) for i in range(8)]),
    "MultiplicativeLR": (lambda o: sched.MultiplicativeLR(o, lambda e: 0.5), [0.1 * 0.5**i for i in range(8)]),
    "ConstantLR": (lambda o: sched.ConstantLR(o, 0.5, 3), [0.05] * 3 + [0.1] * 5),
    "LinearLR": (lambda o: sched.LinearLR(o, 0.2, 1.0, 4), [0.02, 0.04, 0.06, 0.08, 0.1, 0.1, 0.1, 0.1]),
    "PolynomialLR": (lambda o: sched.PolynomialLR(o, 4, 2.0), [0.1 * (1 - min(i, 4) / 4) ** 2 for i in range(8)]),
    "CosineAnnealingLR": (lambda o: sched.CosineAnnealingLR(o, 5, 0.01), [0.01 + 0.09 * (1 + math.cos(math.pi * i / 5)) / 2 for i in range(8)]),
    "CosineAnnealingWarmRestarts": (
        lambda o: sched.CosineAnnealingWarmRestarts(o, 2, 2),
        [0.05 * (1 + math.cos(math.pi * t / n)) for t, n in [(0, 2), (1, 2), (0, 4), (1, 4), (2, 4), (3, 4), (0, 8), (1, 8)]]),
    "CyclicLR": (lambda o: sched.CyclicLR(o, 0.1, 0.5, step_size_up=2, cycle_momentum=False), [0.1, 0.3, 0.5, 0.3, 0.1, 0.3, 0.5, 0.3]),
    "SequentialLR": (
        lambda o: sched.SequentialLR(o, [sched.ConstantLR(o, 0.1, 2), sched.ExponentialLR(o, 0.5)], [3]),
        [0.01, 0.01, 0.1, 0.1, 0.05, 0.025, 0.0125, 0.00625]),
    "ChainedScheduler": (
        lambda o: sched.ChainedScheduler([sched.ConstantLR(o, 0.1, 2), sched.ExponentialLR(o, 0.5)]),
        [0.01, 0.005, 0.025, 0.0125, 0.00625, 0.003125, 0.0015625, 0.00078125]),
    "OneCycleLR": (
        lambda o: sched.OneCycleLR(o, 1.0, total_steps=8, pct_start=0.25, cycle_momentum=False, anneal_strategy="linear"),
        [0.04, 1.0, *[1 + (0.04 / 1e4 - 1) * i / 6 for i in range(1, 7)]]),
}


@pytest.mark.parametrize("name", F64)
def test_schedule(name):
    make, want = F64[name]
    o = optim.SGD([parameter()], lr=0.1)
    s = make(o)
    seen = []
    for _ in range(8):
        seen.append(o.param_groups[0]["lr"])
        o.step()
        if len(seen) < 8:
            s.step()
    np.testing.assert_allclose(seen, want, rtol=1e-12, atol=1e-15)
    assert s.get_last_lr() == [seen[-1]]
    assert "initial_lr" in o.param_groups[0]


def test_steplr_is_a_recursion():
    o = optim.SGD([parameter()], lr=0.1)
    s = sched.StepLR(o, 1, 0.1)
    o.step()
    s.step()
    assert o.param_groups[0]["lr"] == 0.010000000000000002


def test_reduce_on_plateau():
    o = optim.SGD([parameter()], lr=1.0)
    s = sched.ReduceLROnPlateau(o, factor=0.5, patience=1)
    seen = []
    for value in [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5]:
        o.step()
        s.step(value)
        seen.append(o.param_groups[0]["lr"])
    assert seen == [1.0, 1.0, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]


def test_scheduler_state_and_warning():
    o = optim.SGD([parameter()], lr=0.1)
    s = sched.StepLR(o, 2)
    with pytest.warns(UserWarning, match="Detected call of `lr_scheduler.step\\(\\)` before `optimizer.step\\(\\)`"):
        s.step()
    other = sched.StepLR(optim.SGD([parameter()], lr=0.1), 7)
    other.load_state_dict(s.state_dict())
    assert (other.step_size, other.last_epoch) == (2, 1)


def test_averaged_model():
    from rustgrad.optim.swa_utils import AveragedModel

    net = nn.Linear(1, 1, bias=False)
    average = AveragedModel(net)
    for value in (1.0, 2.0, 6.0):
        net.weight.data.fill_(value)
        average.update_parameters(net)
    assert average.module.weight.item() == pytest.approx(3.0)
    assert average.n_averaged.item() == 3


def test_float32_and_half_parameters_step():
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.bfloat16, 3e-2)):
        w = parameter(dtype)
        step(w, optim.Adam([w], lr=0.1), 5)
        assert w.dtype is dtype
        np.testing.assert_allclose(w.detach().double().numpy(), adam(START, 5, lr=0.1), rtol=tolerance, atol=tolerance)
