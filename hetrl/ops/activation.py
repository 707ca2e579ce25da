"""Activations of layers whose output is nobody else's: in place where the derivative needs only the result."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent; eager, in place."""
    if torch.compiler.is_compiling() and x.device.type == "cpu":
        # The same function: for CPUs inductor writes a fast sigmoid, and a tanh three times slower than eager's.
        return 2 * torch.sigmoid(2 * x) - 1
    return x.tanh_()


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
