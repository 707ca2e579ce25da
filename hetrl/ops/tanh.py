"""Squashing into a box with tanh."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

_LIMIT = 1 - 1e-6  # a stored action on the bound has no finite pre-image


def squash(u: Float[Tensor, "*batch dim"], low: Tensor, high: Tensor) -> Float[Tensor, "*batch dim"]:
    """Return low + (high - low) (1 + tanh u) / 2."""
    return low + (high - low) * 0.5 * (1 + u.tanh())


def unsquash(action: Float[Tensor, "*batch dim"], low: Tensor, high: Tensor) -> Float[Tensor, "*batch dim"]:
    """Return the u that :func:`squash` maps to ``action``; actions on the bounds are taken just inside."""
    return torch.atanh(((action - low) * 2 / (high - low) - 1).clamp(-_LIMIT, _LIMIT))


def log_slope(u: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
    """Return log(1 - tanh(u)^2), summed over dimensions: 2 log 2 - 2 (u + log(1 + e^-2u))."""
    half = torch.nn.functional.softplus(u, beta=-2)  # -log(1 + e^-2u) / 2
    return 2 * math.log(2) * u.shape[-1] - 2 * torch.add(u, half, alpha=-2).sum(-1)
