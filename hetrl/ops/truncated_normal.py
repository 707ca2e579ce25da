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


def two_truncated_normals(
    mean: Float[Tensor, "*batch 1 dim"],
    std: Float[Tensor, "*batch 1 1"],
    other_mean: Float[Tensor, "*batch 1 dim"],
    other_std: Float[Tensor, "*batch 1 1"],
    n_other: int,
    share: Float[Tensor, "*batch several dim"],
) -> tuple[Float[Tensor, "*batch several dim"], Float[Tensor, "*batch several"]]:
    """Return draws of two such normals, and log p / (sum of both densities by their shares of the draws).

    Weighed by the exponential of the second, all of them are draws of p, the first; none counts more than K / (K - n).

    Args:
        mean: of the first, p.
        std: the first one's.
        other_mean: of the second.
        other_std: the second one's.
        n_other: n, how many of the K draws, the last ones, are of the second; from 1 to K - 1.
        share: uniform draws from 0 to 1.
    Source: Owen and Zhou 2000, J. Am. Stat. Assoc. 95(449), section 2 (defensive mixtures).
    """
    n = share.shape[-2]
    first = n - n_other
    own, others = share[..., :first, :], share[..., first:, :]
    drawn = torch.cat(
        [
            truncated_normal(mean.expand_as(own), std, own),
            truncated_normal(other_mean.expand_as(others), other_std, others),
        ],
        -2,
    )
    of_one, of_other = truncated_log_prob(drawn, mean, std), truncated_log_prob(drawn, other_mean, other_std)
    return drawn, of_one - torch.logaddexp(of_one + math.log(first / n), of_other + math.log(n_other / n))
