"""Activations of layers whose output is nobody else's: in place where the derivative needs only the result."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent; eager, in place."""
    if x.device.type != "cpu":
        return x.tanh_()
    # The same function, to within 1e-7 of 1: sigmoids are torch's own, and inductor's, fast on every CPU. A tanh is
    # MKL's, which takes four times as long where it does not know the CPU, and inductor's is as slow.
    if torch.compiler.is_compiling() or x.requires_grad:
        return 2 * torch.sigmoid(2 * x) - 1
    return x.mul_(2).sigmoid_().mul_(2).sub_(1)


def relu(x: Tensor) -> Tensor:
    """Rectified linear unit; eager, in place."""
    if torch.compiler.is_compiling() and x.device.type == "cpu":
        return _Relu.apply(x)
    return x.relu_()


class _Relu(torch.autograd.Function):
    """The same function without a comparison in its graph.

    Where only the sign is needed to go back (through a frozen layer), inductor stores torch's own comparison as
    booleans, one element at a time on CPUs: that took ten times as long as the product before it.
    """

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        """Return max(x, 0)."""
        result = x.relu()
        context.save_for_backward(result)
        return result

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """Return the gradient where the result is above 0."""
        (result,) = context.saved_tensors
        return gradient * result.sign()


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": relu,
    "tanh": tanh,
    "silu": functional.silu,
    "mish": functional.mish,
    "elu": functional.elu,
    "gelu": functional.gelu,
}


def tanh_slope(gradient: Tensor, result: Tensor) -> Tensor:
    """Return the gradient before a tanh of that result; eager, in place."""
    if torch.compiler.is_compiling():
        return gradient * (1 - result * result)
    return torch.ops.aten.tanh_backward.grad_input(gradient, result, grad_input=gradient)


def relu_slope(gradient: Tensor, result: Tensor) -> Tensor:
    """Return the gradient before a relu of that result; eager, in place."""
    if torch.compiler.is_compiling():
        return gradient * result.sign()  # see _Relu
    return torch.ops.aten.threshold_backward.grad_input(gradient, result, 0, grad_input=gradient)


SLOPES: dict[Callable[[Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]] = {relu: relu_slope, tanh: tanh_slope}
"""Of the activations whose derivative needs only the result: from the gradient after one to that before it."""
