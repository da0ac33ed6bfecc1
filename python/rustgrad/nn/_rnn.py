"""Recurrent steps and layers in tensor operations: Elman, LSTM and GRU, over padded or packed sequences.

The input side of every gate is one matmul for all steps; a step adds only the hidden side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import rustgrad as rg
from rustgrad import _core
from rustgrad._core import nn as _native

__all__ = ["lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell", "run_layer"]


# Cells


def _check_cell(input: Any, hidden: tuple[Any, ...], w_ih: Any, w_hh: Any, gates: int) -> None:
    """RuntimeError where the shapes of a cell's arguments do not fit together."""
    if input.dim() != 2:
        raise RuntimeError(f"Expected 2D input (batch x feature), but got {input.dim()}D input")
    if input.size(1) != w_ih.size(1):
        raise RuntimeError(f"input has inconsistent input_size: got {input.size(1)} expected {w_ih.size(1)}")
    size = w_hh.size(1)
    for name, w in (("weight_ih", w_ih), ("weight_hh", w_hh)):
        if w.size(0) != gates * size:
            raise RuntimeError(f"{name} first dim must be {gates} * hidden_size = {gates * size}, but got {w.size(0)}")
    for i, h in enumerate(hidden):
        if h.dim() != 2:
            raise RuntimeError(f"Expected 2D hidden{i} (batch x hidden_size), but got {h.dim()}D tensor")
        if h.size(0) != input.size(0):
            raise RuntimeError(f"Input batch size {input.size(0)} doesn't match hidden{i} batch size {h.size(0)}")
        if h.size(1) != size:
            raise RuntimeError(f"hidden{i} has inconsistent hidden_size: got {h.size(1)}, expected {size}")


def _lstm_step(gates: Any, c: Any) -> tuple[Any, Any]:
    i, f, g, o = gates.chunk(4, 1)
    c = f.sigmoid() * c + i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def _gru_step(x: Any, hidden_side: Any, h: Any) -> Any:
    x_r, x_z, x_n = x.chunk(3, 1)
    h_r, h_z, h_n = hidden_side.chunk(3, 1)
    n = (x_n + (x_r + h_r).sigmoid() * h_n).tanh()
    return n + (x_z + h_z).sigmoid() * (h - n)


def _one_step(mode: str, x: Any, h: Any, c: Any, w_hh: Any, bias: Any = None) -> Any:
    """The next states (h,) or (h, c), from what the input gives the gates (N, gates H)."""
    return _core._rnn_steps(mode, x.unsqueeze(0), h, c, w_hh, bias, False)[1:]


def lstm_cell(input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> tuple[Any, Any]:
    """One LSTM step: input (N, I), hx = (h, c), each (N, H), weights (4H, I) and (4H, H) -> the next (h, c)."""
    if not isinstance(hx, (tuple, list)):
        raise TypeError("lstm_cell(): argument 'hx' (position 2) must be tuple of Tensors, not "
                        f"{type(hx).__name__}")
    if len(hx) != 2:
        raise RuntimeError("lstm_cell expects two hidden states")
    _check_cell(input, tuple(hx), w_ih, w_hh, 4)
    bias = b_ih if b_hh is None else b_hh if b_ih is None else b_ih + b_hh
    h, c = _one_step("LSTM", _native.linear(input, w_ih, bias), hx[0], hx[1], w_hh)
    return h, c


def gru_cell(input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Any:
    """One GRU step: input (N, I), hx (N, H), weights (3H, I) and (3H, H) -> the next h."""
    _check_cell(input, (hx,), w_ih, w_hh, 3)
    return _one_step("GRU", _native.linear(input, w_ih, b_ih), hx, None, w_hh, b_hh)[0]


def rnn_tanh_cell(input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Any:
    """One Elman step with tanh: input (N, I), hx (N, H), weights (H, I) and (H, H) -> the next h."""
    _check_cell(input, (hx,), w_ih, w_hh, 1)
    return (_native.linear(input, w_ih, b_ih) + _native.linear(hx, w_hh, b_hh)).tanh()


def rnn_relu_cell(input: Any, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Any:
    """One Elman step with ReLU: input (N, I), hx (N, H), weights (H, I) and (H, H) -> the next h."""
    _check_cell(input, (hx,), w_ih, w_hh, 1)
    return (_native.linear(input, w_ih, b_ih) + _native.linear(hx, w_hh, b_hh)).relu()


# Layers. A state is a tuple of tensors (N, ·): (h,) or (h, c).


def _stepper(mode: str, params: list[Any], has_bias: bool) -> tuple[Callable[[Any], Any], Callable[..., Any]]:
    """(input side of all steps, one step) of one direction of one layer."""
    w_ih, w_hh = params[0], params[1]
    b_ih, b_hh = (params[2], params[3]) if has_bias else (None, None)
    w_t = w_hh.t()
    if mode == "GRU":  # the hidden bias stays inside the reset gate
        def step(x: Any, state: Any) -> Any:
            return (_gru_step(x, _native.linear(state[0], w_hh, b_hh), state[0]),)

        return lambda x: _native.linear(x, w_ih, b_ih), step

    bias = None if b_ih is None else b_ih + b_hh
    if mode == "LSTM":
        w_hr = params[-1] if len(params) in (3, 5) else None

        def step(x: Any, state: Any) -> Any:
            h, c = _lstm_step(rg.addmm(x, state[0], w_t), state[1])
            return (h if w_hr is None else _native.linear(h, w_hr)), c
    elif mode == "RNN_RELU":
        def step(x: Any, state: Any) -> Any:
            return (rg.addmm(x, state[0], w_t).relu(),)
    else:
        def step(x: Any, state: Any) -> Any:
            return (rg.addmm(x, state[0], w_t).tanh(),)
    return lambda x: _native.linear(x, w_ih, bias), step


def _padded_direction(xs: Any, state: Any, step: Any, reverse: bool) -> tuple[Any, Any]:
    steps = xs.unbind(0)
    outs = []
    for x in (reversed(steps) if reverse else steps):
        state = step(x, state)
        outs.append(state[0])
    if reverse:
        outs.reverse()
    return rg.stack(outs, 0), state


def _fused_direction(mode: str, params: list[Any], has_bias: bool, input: Any, state: Any, reverse: bool) -> Any:
    """One direction of a layer over padded sequences (T, N, I): the output and the last states."""
    w_ih, w_hh = params[0], params[1]
    b_ih: Any = params[2] if has_bias else None
    b_hh: Any = params[3] if has_bias else None
    if has_bias and mode != "GRU":  # the hidden bias of a GRU stays inside the reset gate
        b_ih, b_hh = b_ih + b_hh, None
    c = state[1] if mode == "LSTM" else None
    out, *state = _core._rnn_steps(mode, _native.linear(input, w_ih, b_ih), state[0], c, w_hh, b_hh, reverse)
    return out, tuple(state)


def _packed_direction(xs: Any, state: Any, step: Any, reverse: bool, sizes: list[int]) -> tuple[Any, Any]:
    """Sequences are sorted by length: forward they drop off the end of the batch, backward they join there."""
    steps = xs.split(sizes, 0)
    outs = []
    if reverse:
        first = state
        n = sizes[-1]
        state = tuple(s[:n] for s in first)
        for x, size in zip(reversed(steps), reversed(sizes)):
            if size > n:
                state = tuple(rg.cat([s, f[n:size]], 0) for s, f in zip(state, first))
                n = size
            state = step(x, state)
            outs.append(state[0])
        outs.reverse()
        return rg.cat(outs, 0), state
    finished = []
    n = sizes[0]
    for x, size in zip(steps, sizes):
        if size < n:
            finished.append(tuple(s[size:] for s in state))
            state = tuple(s[:size] for s in state)
            n = size
        state = step(x, state)
        outs.append(state[0])
    finished.append(state)
    finished.reverse()
    return rg.cat(outs, 0), tuple(rg.cat(parts, 0) for parts in zip(*finished))


def run_layer(mode: str, input: Any, hx: tuple[Any, ...], params: list[Any], has_bias: bool, num_layers: int,
              dropout: float, training: bool, bidirectional: bool, batch_sizes: list[int] | None) -> Any:
    """All layers over input (T, N, I), or (sum of lengths, I) with batch_sizes.

    `hx` holds tensors (layers * directions, N, ·). Returns the output and the final states, stacked alike.
    """
    if batch_sizes is None and input.size(0) == 0:
        raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
    directions = 2 if bidirectional else 1
    per = len(params) // (num_layers * directions)
    firsts = [h.unbind(0) for h in hx]
    finals = []
    for layer in range(num_layers):
        outs = []
        for d in range(directions):
            k = layer * directions + d
            own = params[k * per:(k + 1) * per]
            state = tuple(f[k] for f in firsts)
            if batch_sizes is None and per not in (3, 5):
                out, state = _fused_direction(mode, own, has_bias, input, state, d == 1)
            else:  # packed sequences, or an LSTM with projections
                project, step = _stepper(mode, own, has_bias)
                if batch_sizes is None:
                    out, state = _padded_direction(project(input), state, step, d == 1)
                else:
                    out, state = _packed_direction(project(input), state, step, d == 1, batch_sizes)
            outs.append(out)
            finals.append(state)
        input = outs[0] if directions == 1 else rg.cat(outs, -1)
        if dropout > 0 and training and layer < num_layers - 1:
            input = _native.dropout(input, dropout, True)
    return input, tuple(rg.stack(s, 0) for s in zip(*finals))
