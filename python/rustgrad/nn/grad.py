"""Gradients of convolutions, from the gradient of the output."""

from __future__ import annotations

from typing import Any

import rustgrad as rg

from . import functional as F


def _by_autograd(function: Any, output_grad: Any, wanted: str, input: Any, weight: Any, *rest: Any) -> Any:
    """The convolution is linear in each argument, so its gradient does not depend on the wanted one's values."""
    with rg.enable_grad():
        x = input.detach().requires_grad_(wanted == "input")
        w = weight.detach().requires_grad_(wanted == "weight")
        out = function(x, w, None, *rest)
        return rg.autograd.grad(out, x if wanted == "input" else w, output_grad)[0]


def conv1d_input(input_size: Any, weight: Any, grad_output: Any, stride: Any = 1, padding: Any = 0,
                 dilation: Any = 1, groups: int = 1) -> Any:
    """Gradient of conv1d in its input of this size."""
    return _by_autograd(F.conv1d, grad_output, "input", grad_output.new_zeros(input_size), weight, stride, padding,
                        dilation, groups)


def conv1d_weight(input: Any, weight_size: Any, grad_output: Any, stride: Any = 1, padding: Any = 0,
                  dilation: Any = 1, groups: int = 1) -> Any:
    """Gradient of conv1d in its weight of this size."""
    return _by_autograd(F.conv1d, grad_output, "weight", input, grad_output.new_zeros(weight_size), stride, padding,
                        dilation, groups)


def conv2d_input(input_size: Any, weight: Any, grad_output: Any, stride: Any = 1, padding: Any = 0,
                 dilation: Any = 1, groups: int = 1) -> Any:
    """Gradient of conv2d in its input of this size."""
    return _by_autograd(F.conv2d, grad_output, "input", grad_output.new_zeros(input_size), weight, stride, padding,
                        dilation, groups)


def conv2d_weight(input: Any, weight_size: Any, grad_output: Any, stride: Any = 1, padding: Any = 0,
                  dilation: Any = 1, groups: int = 1) -> Any:
    """Gradient of conv2d in its weight of this size."""
    return _by_autograd(F.conv2d, grad_output, "weight", input, grad_output.new_zeros(weight_size), stride, padding,
                        dilation, groups)


def conv3d_input(input_size: Any, weight: Any, grad_output: Any, stride: Any = 1, padding: Any = 0,
                 dilation: Any = 1, groups: int = 1) -> Any:
    """Gradient of conv3d in its input of this size."""
    return _by_autograd(F.conv3d, grad_output, "input", grad_output.new_zeros(input_size), weight, stride, padding,
                        dilation, groups)


def conv3d_weight(input: Any, weight_size: Any, grad_output: Any, stride: Any = 1, padding: Any = 0,
                  dilation: Any = 1, groups: int = 1) -> Any:
    """Gradient of conv3d in its weight of this size."""
    return _by_autograd(F.conv3d, grad_output, "weight", input, grad_output.new_zeros(weight_size), stride, padding,
                        dilation, groups)
