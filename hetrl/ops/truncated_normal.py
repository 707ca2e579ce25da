"""Normal draws that are kept in a box by drawing within it, not by clipping."""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.special import ndtr, ndtri


def truncated_normal(
    mean: Float[Tensor, "*batch dim"], std: Float[Tensor, "*#batch #dim"], share: Float[Tensor, "*batch dim"]
) -> Float[Tensor, "*batch dim"]:
    """Return draws of N(mean, std^2) given that they lie between -1 and 1.

    The quantile at a share of what lies within: with F the normal distribution's and l, h where the ends are in units
    of std around the mean, mean + std F^-1(F(l) + share (F(h) - F(l))). Of mean 0 and any std the half is 0.

    Args:
        mean: where the normal is; may lie outside of the box.
        std: how wide, above 0.
        share: uniform draws from 0 to 1.
    Source: Devroye 1986, Non-Uniform Random Variate Generation, chapter 2 (inversion).
    """
    beyond = mean < 0
    centre, share = mean.abs(), torch.where(beyond, 1 - share, share)  # of the mirrored draw: its ends are in the
    low, high = ndtr((-1 - centre) / std), ndtr((1 - centre) / std)  # lower tail, where shares are not rounded to 1
    drawn = (centre + std * ndtri(low + share * (high - low))).clamp(-1, 1)
    return torch.where(beyond, -drawn, drawn)


def truncated_log_prob(
    value: Float[Tensor, "*batch dim"], mean: Float[Tensor, "*#batch dim"], std: Float[Tensor, "*#batch #dim"]
) -> Float[Tensor, "*batch"]:
    """Return the log-density of such a draw, summed over dimensions; the value lies between -1 and 1.

    Args:
        value: the draw.
        mean: where the normal is; may lie outside of the box.
        std: how wide, above 0.
    """
    centre = mean.abs()
    within = ndtr((1 - centre) / std) - ndtr((-1 - centre) / std)
    normal = ((value - mean) / std).square() / 2 + std.log() + 0.5 * math.log(2 * math.pi)
    return -(normal + within.log()).sum(-1)
