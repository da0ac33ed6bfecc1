"""Switches for recording: contexts that are decorators too."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Generator
from typing import Any

from rustgrad import _core

__all__ = ["no_grad", "enable_grad", "set_grad_enabled", "inference_mode", "set_multithreading_enabled"]

_set = _core._set_grad_enabled


def _wrap_generator(factory: Callable[[], Any], func: Callable[..., Any]) -> Callable[..., Any]:
    """Run each step of a generator in the context; between the steps the caller's mode holds."""

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        generator = func(*args, **kwargs)
        try:
            with factory():
                value = generator.send(None)
            while True:
                try:
                    sent = yield value
                except GeneratorExit:
                    with factory():
                        generator.close()
                    raise
                except BaseException as error:
                    with factory():
                        value = generator.throw(error)
                else:
                    with factory():
                        value = generator.send(sent)
        except StopIteration as stop:
            return stop.value

    return wrapper


class _ContextDecorator:
    """A context manager that decorates functions, generator functions and (by __init__) classes."""

    def __enter__(self) -> Any:
        raise NotImplementedError

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        raise NotImplementedError

    def clone(self) -> Any:
        """A fresh context of the same kind, so that a decorated function may call itself."""
        return self.__class__()

    def __call__(self, orig_func: Any) -> Any:
        if inspect.isclass(orig_func):
            # A class is entered when an instance is made.
            orig_func.__init__ = self(orig_func.__init__)  # type: ignore[method-assign]
            return orig_func
        factory = self.clone
        if inspect.isgeneratorfunction(orig_func):
            return _wrap_generator(factory, orig_func)

        @functools.wraps(orig_func)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with factory():
                return orig_func(*args, **kwargs)

        return wrapper


class no_grad(_ContextDecorator):
    """Records nothing inside; as `with no_grad():`, `@no_grad()` or `@no_grad`."""

    prev: bool

    def __new__(cls, orig_func: Any = None) -> Any:
        self = object.__new__(cls)
        return self if orig_func is None else self(orig_func)

    def __enter__(self) -> None:
        self.prev = _set(False)

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        _set(self.prev)


class enable_grad(_ContextDecorator):
    """Records inside, whatever the mode outside; as a context or a decorator."""

    prev: bool

    def __new__(cls, orig_func: Any = None) -> Any:
        self = object.__new__(cls)
        return self if orig_func is None else self(orig_func)

    def __enter__(self) -> None:
        self.prev = _set(True)

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        _set(self.prev)


class set_grad_enabled(_ContextDecorator):
    """Switches recording at once; as a context it switches back at the end."""

    def __init__(self, mode: bool) -> None:
        self.prev = _core.is_grad_enabled()
        self.mode = mode
        _set(mode)

    def __call__(self, orig_func: Any) -> Any:
        _set(self.prev)
        return super().__call__(orig_func)

    def __enter__(self) -> None:
        _set(self.mode)

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        _set(self.prev)

    def __str__(self) -> str:
        return f"torch.autograd.grad_mode.set_grad_enabled(mode={self.mode})"

    __repr__ = __str__

    def clone(self) -> set_grad_enabled:
        """A fresh context of the same mode; making it does not leave the mode switched."""
        before = _core.is_grad_enabled()
        fresh = self.__class__(self.mode)
        _set(before)
        return fresh


class inference_mode(_ContextDecorator):
    """Like no_grad; the tensors made inside can never be part of a graph."""

    def __new__(cls, mode: Any = True) -> Any:
        if isinstance(mode, bool):
            return object.__new__(cls)
        return cls()(mode)

    def __init__(self, mode: bool = True) -> None:
        self.mode = mode

    def __enter__(self) -> None:
        grad = _set(not self.mode)
        self._previous = (_core._set_inference_mode(self.mode), grad)

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        inference, grad = self._previous
        _core._set_inference_mode(inference)
        _set(grad)

    def clone(self) -> inference_mode:
        """A fresh context of the same mode."""
        return self.__class__(self.mode)


class set_multithreading_enabled(_ContextDecorator):
    """Accepted for compatibility: the backward pass runs on the calling thread."""

    def __init__(self, mode: bool) -> None:
        self.mode = mode

    def __enter__(self) -> None:
        pass

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        pass

    def clone(self) -> set_multithreading_enabled:
        """A fresh context of the same mode."""
        return self.__class__(self.mode)
