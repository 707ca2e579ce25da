"""Diagonal Gaussians, summed over the last dimension."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import mse_loss

_LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


def log_prob(
    x: Float[Tensor, "*batch dim"], mean: Float[Tensor, "*batch dim"], log_std: Float[Tensor, "*#batch dim"]
) -> Float[Tensor, "*batch"]:
    """Return log N(x; mean, std^2) in nat."""
    squares = mse_loss(mean, x, reduction="none")  # one node of the graph, and a cheap one
    precision = (-2 * log_std).exp()
    constant = log_std.sum(-1) + _LOG_SQRT_2PI * x.shape[-1]
    if log_std.dim() > 1:
        return torch.add(-constant, (squares * precision).sum(-1), alpha=-0.5)
    # One deviation for all samples makes this a matrix product, which costs half of the elementwise sum.
    rows = torch.addmv(constant, squares.flatten(0, -2), precision, beta=-1, alpha=-0.5)
    return rows.view(squares.shape[:-1])


def entropy(log_std: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
    """Return the differential entropy in nat."""
    return log_std.sum(-1) + (0.5 + _LOG_SQRT_2PI) * log_std.shape[-1]


def kl(
    old_mean: Float[Tensor, "*batch dim"],
    old_log_std: Float[Tensor, "*batch dim"],
    mean: Float[Tensor, "*batch dim"],
    log_std: Float[Tensor, "*batch dim"],
) -> Float[Tensor, "*batch"]:
    """Return KL(old || now) in nat, summed over dimensions.

    log(std / old_std) + (old_std^2 + (old_mean - mean)^2) / (2 std^2) - 1/2
    """
    apart = log_std - old_log_std
    shift = (old_mean - mean) * (-log_std).exp()
    return (apart + 0.5 * ((-2 * apart).exp() + shift * shift - 1)).sum(-1)


def inverse_softplus(x: float) -> float:
    """Return y with log(1 + e^y) = x."""
    return x + math.log(-math.expm1(-x))


def drawn_log_prob(
    noise: Float[Tensor, "*batch dim"], log_std: Float[Tensor, "*#batch dim"]
) -> Float[Tensor, "*batch"]:
    """Return log N(x; mean, std^2) in nat of the x = mean + std * noise that :func:`sample` returns.

    The distance from the mean is the noise, whatever mean and deviation are, so no gradient has to find its way through
    x only to cancel.
    """
    return -_LOG_SQRT_2PI * noise.shape[-1] - torch.addcmul(log_std, noise, noise, value=0.5).sum(-1)


def sample(mean: Tensor, log_std: Tensor, noise: Tensor) -> Tensor:
    """Return mean + std * noise."""
    return torch.addcmul(mean, log_std.exp(), noise)
