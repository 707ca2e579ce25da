"""Keeping to a box with inverted gradients."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def held(u: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
    """Return u, clipped to -1 to 1, with a gradient that fades towards the bound it leads to.

    g (1 - u) / 2 where descent raises u (g < 0),   g (1 + u) / 2 where it lowers it

    Unlike behind tanh the gradient away from a bound stays whole, and beyond the bound it turns around: u comes back.
    At u = 0.5, g = -1 becomes -0.25 and g = 1 becomes 0.75; at u = 1.2, g = -1 becomes 0.1.

    Source: Hausknecht and Stone 2016, arXiv:1511.04143, equation 11.
    Differs: nothing.
    """
    return _Held.apply(u) if torch.is_grad_enabled() else u.clamp(-1, 1)


class _Held(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(u: Tensor) -> Tensor:
        """Return u, clipped."""
        return u.clamp(-1, 1)

    @staticmethod
    def setup_context(context: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        """Keep u."""
        context.save_for_backward(*inputs)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """Return the gradient, inverted beyond the bounds."""
        (u,) = context.saved_tensors
        return gradient * 0.5 * (1 + gradient.sign() * u)
