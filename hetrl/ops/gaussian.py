"""Diagonal Gaussians, summed over the last dimension."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


def log_prob(
    x: Float[Tensor, "*batch dim"], mean: Float[Tensor, "*batch dim"], log_std: Float[Tensor, "*#batch dim"]
) -> Float[Tensor, "*batch"]:
    """Return log N(x; mean, std^2) in nat."""
    squares = ((x - mean) * (-log_std).exp()).square().sum(-1)
    return torch.add(-entropy(log_std) + 0.5 * x.shape[-1], squares, alpha=-0.5)


def entropy(log_std: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
    """Return the differential entropy in nat."""
    return (log_std + (0.5 + _LOG_SQRT_2PI)).sum(-1)


def inverse_softplus(x: float) -> float:
    """Return y with log(1 + e^y) = x."""
    return x + math.log(-math.expm1(-x))


def sample(mean: Tensor, log_std: Tensor, noise: Tensor) -> Tensor:
    """Return mean + std * noise."""
    return torch.addcmul(mean, log_std.exp(), noise)
