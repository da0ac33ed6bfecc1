"""The random stream: seeding, state, and keeping it aside for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import rustgrad as rg

from . import _core
from ._core import default_generator as default_generator

__all__ = ["set_rng_state", "get_rng_state", "manual_seed", "seed", "initial_seed", "fork_rng", "default_generator"]


def manual_seed(seed: Any) -> Any:
    """Start the default generators' streams anew, a GPU's too; answers that of the CPU."""
    _core._gpu_manual_seed_all(int(seed))
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Seed from the system's randomness; answers the seed."""
    drawn = int(default_generator.seed())
    _core._gpu_manual_seed_all(drawn)
    return drawn


def initial_seed() -> int:
    """The seed the stream was started with."""
    return int(default_generator.initial_seed())


def _get_state(generator: Any) -> Any:
    """The state as a tensor of bytes."""
    return rg.tensor(list(generator._state()), dtype=_core.uint8)


def _set_state(generator: Any, state: Any) -> Any:
    """Restore a state; answers the generator. RuntimeError if it is no state."""
    if not isinstance(state, _core.Tensor) or state.dtype != _core.uint8:
        raise TypeError("RNG state must be a torch.ByteTensor")
    generator._set_state(bytes(state.tolist()))
    return generator


def get_rng_state() -> Any:
    """The state of the default generator: 5056 bytes."""
    return _get_state(default_generator)


def set_rng_state(new_state: Any) -> None:
    """Restore a state of the default generator."""
    _set_state(default_generator, new_state)


def _get_all_states() -> tuple[Any, dict[int, Any]]:
    """The states of the default generators: the CPU's, and those of GPUs that have been used."""
    return get_rng_state(), {i: _core._gpu_get_rng_state(i) for i in _core._gpu_rng_devices()}


def _set_all_states(states: tuple[Any, dict[int, Any]]) -> None:
    set_rng_state(states[0])
    for i in _core._gpu_rng_devices():
        if i in states[1]:
            _core._gpu_set_rng_state(i, states[1][i])
        else:  # first used since then
            _core._gpu_manual_seed(i, _core._gpu_initial_seed(i))


@contextlib.contextmanager
def fork_rng(devices: Any = None, enabled: bool = True, **_: Any) -> Iterator[None]:
    """Inside, draw freely; afterwards the streams are where they were, those of GPUs too."""
    states = _get_all_states() if enabled else None
    try:
        yield
    finally:
        if states is not None:
            _set_all_states(states)


def _clone_state(generator: Any) -> Any:
    other = type(generator)(generator.device)
    other._set_state(generator._state())
    return other


_Generator: Any = _core.Generator
_Generator.get_state = _get_state
_Generator.set_state = _set_state
_Generator.clone_state = _clone_state
