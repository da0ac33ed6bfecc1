"""A small profiler: wall time of regions named by record_function, and the schedule of steps."""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any

__all__ = [
    "ProfilerAction",
    "ProfilerActivity",
    "profile",
    "record_function",
    "schedule",
    "supported_activities",
    "tensorboard_trace_handler",
]


class ProfilerActivity(Enum):
    """Where time is spent."""

    CPU = 0
    XPU = 1
    MTIA = 2
    CUDA = 3
    HPU = 4
    PrivateUse1 = 5

    def __repr__(self) -> str:
        return f"<ProfilerActivity.{self.name}: {self.value}>"


class ProfilerAction(Enum):
    """What to do in a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


def supported_activities() -> set[ProfilerActivity]:
    """The CPU."""
    return {ProfilerActivity.CPU}


def kineto_available() -> bool:
    """False."""
    return False


def schedule(
    *, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0, skip_first_wait: int = 0
) -> Callable[[int], ProfilerAction]:
    """Cycles of waiting, warming up and recording, `repeat` of them (0: for ever) after skip_first steps."""
    if wait < 0 or warmup < 0 or active <= 0 or repeat < 0 or skip_first < 0:
        raise AssertionError("Invalid profiler schedule arguments")

    def action(step: int) -> ProfilerAction:
        if step < 0:
            raise AssertionError(f"Step must be non-negative. Got {step}.")
        if step < skip_first:
            return ProfilerAction.NONE
        step -= skip_first
        if skip_first_wait != 0:
            step += wait
        length = wait + warmup + active
        if repeat > 0 and step // length >= repeat:
            return ProfilerAction.NONE
        at = step % length
        if at < wait:
            return ProfilerAction.NONE
        if at < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD if at < length - 1 else ProfilerAction.RECORD_AND_SAVE

    return action


_running: list[profile] = []


class record_function:
    """Names a region for the profiler; a context manager and a decorator."""

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name = name
        self.args = args

    def __enter__(self) -> record_function:
        self._start = time.perf_counter()
        return self

    def __exit__(self, *exc: object) -> None:
        for profiler in _running:
            profiler._note(self.name, self._start, time.perf_counter() - self._start)

    def __call__(self, func: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(func)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with record_function(self.name, self.args):
                return func(*args, **kwargs)

        return wrapper


class _Average:
    """The calls of one region together; times in microseconds."""

    def __init__(self, key: str, count: int, total: float) -> None:
        self.key = key
        self.count = count
        self.cpu_time_total = self.self_cpu_time_total = total * 1e6
        self.cpu_time = self.cpu_time_total / count
        self.device_time_total = self.cuda_time_total = 0.0


class _Averages(list[_Average]):
    def table(
        self, sort_by: str | None = None, row_limit: int = 100, max_src_column_width: int = 75, **kwargs: Any
    ) -> str:
        """The regions as text, the longest first."""
        rows = sorted(self, key=lambda a: -a.cpu_time_total) if sort_by else list(self)
        width = max([4, *(len(a.key) for a in rows)])
        lines = [f"{'Name':>{width}}  {'CPU total':>12}  {'CPU time avg':>12}  {'# of Calls':>10}"]
        for a in rows[: row_limit if row_limit >= 0 else None]:
            lines.append(
                f"{a.key:>{width}}  {a.cpu_time_total / 1e3:>10.3f}ms  {a.cpu_time / 1e3:>10.3f}ms  {a.count:>10}"
            )
        return "\n".join(lines) + "\n"

    def total_average(self) -> _Average:
        """All regions together."""
        return _Average("Total", max(1, sum(a.count for a in self)), sum(a.cpu_time_total for a in self) / 1e6)


class profile:
    """Records the regions named by record_function while it runs; `step()` drives a schedule."""

    def __init__(
        self,
        use_cuda: bool | None = None,
        *,
        activities: Iterable[Any] | None = None,
        schedule: Callable[[int], ProfilerAction] | None = None,
        on_trace_ready: Callable[..., Any] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_flops: bool = False,
        with_modules: bool = False,
        experimental_config: Any = None,
        execution_trace_observer: Any = None,
        acc_events: bool = False,
        **kwargs: Any,
    ) -> None:
        self.activities = set(activities) if activities is not None else supported_activities()
        self.schedule = schedule or (lambda step: ProfilerAction.RECORD)
        self.on_trace_ready = on_trace_ready
        self.record_shapes = record_shapes
        self.profile_memory = profile_memory
        self.with_stack = with_stack
        self.step_num = 0
        self.current_action = self.schedule(0)
        self._events: list[tuple[str, float, float]] = []

    def _note(self, name: str, start: float, seconds: float) -> None:
        if self.current_action in (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE):
            self._events.append((name, start, seconds))

    def start(self) -> None:
        """Begin to record."""
        _running.append(self)

    def stop(self) -> None:
        """Record no more."""
        if self in _running:
            _running.remove(self)
        if self.on_trace_ready and self.current_action in (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE):
            self.on_trace_ready(self)

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def step(self) -> None:
        """The next step of the schedule begins."""
        before = self.current_action
        self.step_num += 1
        self.current_action = self.schedule(self.step_num)
        if before is ProfilerAction.RECORD_AND_SAVE:
            if self.on_trace_ready:
                self.on_trace_ready(self)
            self._events = []

    def key_averages(self, *args: Any, **kwargs: Any) -> _Averages:
        """The regions with their number of calls and times."""
        totals: dict[str, list[float]] = {}
        for name, _, seconds in self._events:
            entry = totals.setdefault(name, [0, 0.0])
            entry[0] += 1
            entry[1] += seconds
        return _Averages(_Average(name, int(n), total) for name, (n, total) in totals.items())

    def events(self) -> list[tuple[str, float, float]]:
        """(name, start, seconds) of each region."""
        return list(self._events)

    def export_chrome_trace(self, path: str) -> None:
        """Write the regions in the format of chrome://tracing."""
        events = [
            {"name": n, "ph": "X", "ts": s * 1e6, "dur": d * 1e6, "pid": os.getpid(), "tid": 0}
            for n, s, d in self._events
        ]
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"traceEvents": events}, f)

    def export_stacks(self, path: str, metric: str = "self_cpu_time_total") -> None:
        """Write an empty file: stacks are not recorded."""
        with open(path, "w", encoding="utf-8"):
            pass

    def add_metadata(self, key: str, value: str) -> None:
        """Ignored."""


def tensorboard_trace_handler(
    dir_name: str, worker_name: str | None = None, use_gzip: bool = False
) -> Callable[[profile], None]:
    """A handler for on_trace_ready that writes a trace file into the folder."""

    def handler(profiler: profile) -> None:
        os.makedirs(dir_name, exist_ok=True)
        name = worker_name or f"{os.uname().nodename}_{os.getpid()}"
        profiler.export_chrome_trace(os.path.join(dir_name, f"{name}.{time.time_ns()}.pt.trace.json"))

    return handler


def itt_available() -> bool:
    """False."""
    return False
