"""L-BFGS with an optional line search for the strong Wolfe conditions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import rustgrad as rg
from rustgrad import _core

from .optimizer import Optimizer, ParamsT, _number

__all__ = ["LBFGS"]


class _Point(NamedTuple):
    """A place on the search line: step length, loss, flat gradient, slope."""

    t: Any
    f: float
    grad: Any
    slope: Any


def _cubic_minimum(a: _Point, b: _Point, bounds: tuple[Any, Any] | None = None) -> Any:
    """The minimum of the cubic through two values and slopes, kept within bounds."""
    if bounds is not None:
        low, high = bounds
    else:
        low, high = (a.t, b.t) if a.t <= b.t else (b.t, a.t)
    d1 = a.slope + b.slope - 3 * (a.f - b.f) / (a.t - b.t)
    square = d1**2 - a.slope * b.slope
    if not square >= 0:
        return (low + high) / 2.0
    d2 = square.sqrt()
    if a.t <= b.t:
        best = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2))
    else:
        best = a.t - (a.t - b.t) * ((a.slope + d2 - d1) / (a.slope - b.slope + 2 * d2))
    return min(max(best, low), high)


def _strong_wolfe(
    evaluate: Callable[[Any], _Point],
    t: Any,
    direction: Any,
    start: _Point,
    c1: float = 1e-4,
    c2: float = 0.9,
    tolerance_change: float = 1e-9,
    max_ls: int = 25,
) -> tuple[_Point, int]:
    """Search along the line; returns the chosen point and the number of evaluations."""
    scale = direction.abs().max()
    previous, point = start, evaluate(t)
    evaluations, rounds, done = 1, 0, False
    bracket: list[_Point] = []
    while rounds < max_ls:
        if point.f > start.f + c1 * point.t * start.slope or (rounds > 1 and point.f >= previous.f):
            bracket = [previous, point]
            break
        if abs(point.slope) <= -c2 * start.slope:
            bracket, done = [point], True
            break
        if point.slope >= 0:
            bracket = [previous, point]
            break
        shortest, longest = point.t + 0.01 * (point.t - previous.t), point.t * 10
        t = _cubic_minimum(previous, point, (shortest, longest))
        previous, point = point, evaluate(t)
        evaluations += 1
        rounds += 1
    if rounds == max_ls:
        bracket = [start, point]

    stalled = False
    low, high = (0, 1) if bracket[0].f <= bracket[-1].f else (1, 0)
    while not done and rounds < max_ls:
        if abs(bracket[1].t - bracket[0].t) * scale < tolerance_change:
            break
        t = _cubic_minimum(bracket[0], bracket[1])
        left, right = min(bracket[0].t, bracket[1].t), max(bracket[0].t, bracket[1].t)
        margin = 0.1 * (right - left)
        if min(right - t, t - left) < margin:
            if stalled or t >= right or t <= left:
                t = right - margin if abs(t - right) < abs(t - left) else left + margin
                stalled = False
            else:
                stalled = True
        else:
            stalled = False
        point = evaluate(t)
        evaluations += 1
        rounds += 1
        if point.f > start.f + c1 * point.t * start.slope or point.f >= bracket[low].f:
            bracket[high] = point
            low, high = (0, 1) if bracket[0].f <= bracket[1].f else (1, 0)
        else:
            if abs(point.slope) <= -c2 * start.slope:
                done = True
            elif point.slope * (bracket[high].t - bracket[low].t) >= 0:
                bracket[high] = bracket[low]
            bracket[low] = point
    return bracket[low], evaluations


class LBFGS(Optimizer):
    """Limited-memory BFGS over all parameters at once; `step` needs a closure that recomputes the loss."""

    def __init__(
        self,
        params: ParamsT,
        lr: Any = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        if isinstance(lr, rg.Tensor) and lr.numel() != 1:
            raise ValueError("Tensor lr must be 1-element")
        if not lr >= 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if max_eval is None:
            max_eval = max_iter * 5 // 4
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise ValueError("LBFGS doesn't support per-parameter options (parameter groups)")
        self._params = self.param_groups[0]["params"]
        self._numel_cache: int | None = None

    def _numel(self) -> int:
        if self._numel_cache is None:
            self._numel_cache = sum(p.numel() for p in self._params)
        return self._numel_cache

    def _flat_grad(self) -> Any:
        return rg.cat([(p.new_zeros(p.numel()) if p.grad is None else p.grad.reshape(-1)) for p in self._params], 0)

    def _move(self, t: Any, direction: Any) -> None:
        offset, t = 0, _number(t)
        for p in self._params:
            n = p.numel()
            p.add_(direction[offset : offset + n].view_as(p), alpha=t)
            offset += n

    def _evaluate(self, closure: Callable[[], float], origin: list[Any], t: Any, direction: Any) -> _Point:
        """Loss and gradient at origin + t * direction; the parameters go back to the origin."""
        self._move(t, direction)
        loss = closure()
        grad = self._flat_grad()
        for p, value in zip(self._params, origin, strict=True):
            p.copy_(value)
        return _Point(t, loss, grad, grad.dot(direction))

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Up to max_iter iterations; returns the loss of the first evaluation."""
        previous = _core._set_grad_enabled(False)
        try:
            return self._step(closure)
        finally:
            _core._set_grad_enabled(previous)

    def _direction(self, memory: dict[str, Any], al: list[Any], grad: Any, s: Any, prev_grad: Any) -> Any:
        """The quasi-Newton direction, after the memory has taken in the last step `s`."""
        dirs, steps, ro = memory["old_dirs"], memory["old_stps"], memory["ro"]
        y = grad.sub(prev_grad)
        ys = y.dot(s)
        if ys > 1e-10:
            if len(dirs) == len(al):
                for history in (dirs, steps, ro):
                    history.pop(0)
            dirs.append(y)
            steps.append(s)
            ro.append(1.0 / ys)
            memory["H_diag"] = ys / y.dot(y)
        q = grad.neg()
        for i in range(len(dirs) - 1, -1, -1):
            al[i] = steps[i].dot(q) * ro[i]
            q.add_(dirs[i], alpha=(-al[i]).item())
        r = q * memory["H_diag"]
        for i in range(len(dirs)):
            r.add_(steps[i], alpha=(al[i] - dirs[i].dot(r) * ro[i]).item())
        return r

    def _step(self, user_closure: Callable[[], Any]) -> Any:
        def closure() -> Any:
            _core._set_grad_enabled(True)
            try:
                return user_closure()
            finally:
                _core._set_grad_enabled(False)

        group = self.param_groups[0]
        lr, max_iter = _number(group["lr"]), group["max_iter"]
        tolerance_grad, tolerance_change = group["tolerance_grad"], group["tolerance_change"]
        state = self.state[self._params[0]]
        state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)

        first_loss = closure()
        loss = float(first_loss)
        evaluations = 1
        state["func_evals"] += 1
        grad = self._flat_grad()
        converged = grad.abs().max() <= tolerance_grad
        if converged:
            return first_loss

        d, t = state.get("d"), state.get("t")
        memory = {key: state.get(key) for key in ("old_dirs", "old_stps", "ro", "H_diag")}
        prev_grad, prev_loss = state.get("prev_flat_grad"), state.get("prev_loss")
        n_iter = 0
        while n_iter < max_iter:
            n_iter += 1
            state["n_iter"] += 1
            if state["n_iter"] == 1:
                d = grad.neg()
                memory = {"old_dirs": [], "old_stps": [], "ro": [], "H_diag": 1}
            else:
                al = state.setdefault("al", [None] * group["history_size"])
                d = self._direction(memory, al, grad, d.mul(t), prev_grad)
            if prev_grad is None:
                prev_grad = grad.clone()
            else:
                prev_grad.copy_(grad)
            prev_loss = loss

            t = min(1.0, 1.0 / grad.abs().sum()) * lr if state["n_iter"] == 1 else lr
            slope = grad.dot(d)
            if slope > -tolerance_change:
                break
            used = 0
            if group["line_search_fn"] is not None:
                if group["line_search_fn"] != "strong_wolfe":
                    raise RuntimeError("only 'strong_wolfe' is supported")
                origin, direction = [p.clone() for p in self._params], d
                point, used = _strong_wolfe(
                    lambda t: self._evaluate(lambda: float(closure()), origin, t, direction),  # noqa: B023
                    t,
                    d,
                    _Point(0, loss, grad.clone(), slope),
                )
                t, loss, grad = point.t, point.f, point.grad
                self._move(t, d)
                converged = grad.abs().max() <= tolerance_grad
            else:
                self._move(t, d)
                if n_iter != max_iter:
                    loss = float(closure())
                    grad = self._flat_grad()
                    converged = grad.abs().max() <= tolerance_grad
                    used = 1
            evaluations += used
            state["func_evals"] += used
            if (
                n_iter == max_iter
                or evaluations >= group["max_eval"]
                or converged
                or d.mul(t).abs().max() <= tolerance_change
                or abs(loss - prev_loss) < tolerance_change
            ):
                break
        state.update(d=d, t=t, **memory, prev_flat_grad=prev_grad, prev_loss=prev_loss)
        return first_loss
