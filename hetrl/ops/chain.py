"""A short noising process run backwards: every step learned, every draw reparametrised, and a bound of the log-prob.

    forwards    q(x_{k+1} | x_k) = N(sqrt(1 - b_k) x_k, b_k)
    backwards   x_S ~ N(0, 1),   p(x_k | x_{k+1}) = N(sqrt(1 - b_k) x_{k+1} + shift, b_k e^(2 raw))

With no shift and raw = 0 the way back is the way forth reversed, and x_0 is standard normal.
"""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

Backward = Callable[[Tensor, int], tuple[Tensor, Tensor]]
"""(point x_{k+1}, k) -> shift and raw of the step to x_k, each ``*B A``."""

_LEAST, _MOST = 0.1, 0.7
_HALF_LOG = 0.5 * math.log(2 * math.pi)


def noising_rates(n_steps: int) -> list[float]:
    """Return b_0 to b_{S-1}, the share of the variance that is fresh noise after each step: evenly from 0.1 to 0.7.

    The last step on the way back, of b_0, leaves little to do, so that it can narrow around one action. Of four steps
    0.095 of the signal's variance is left at the end; of one step, with 0.7, it is 0.3.
    """
    if n_steps == 1:
        return [_MOST]
    return [_LEAST + (_MOST - _LEAST) * k / (n_steps - 1) for k in range(n_steps)]


def signal_left(rates: Sequence[float]) -> list[float]:
    """Return abar_0 = 1 to abar_S, the share of the signal's variance that is left after so many steps of noising."""
    left = [1.0]
    for rate in rates:
        left.append(left[-1] * (1 - rate))
    return left


def cross_entropy_back(
    shift: Float[Tensor, "*batch dim"],
    raw: Float[Tensor, "*batch dim"],
    point: Float[Tensor, "*batch dim"],
    mean: Float[Tensor, "*batch dim"],
    variance: Float[Tensor, "*batch dim"],
    rate: Float[Tensor, "*batch 1"],
    left: Float[Tensor, "*batch 1"],
) -> Float[Tensor, "*batch"]:
    """Return -E log p(x_k | x_{k+1}) over where x_k was, of clean points x_0 with a mean and a variance [nat].

    Noising a clean point and looking back from x_{k+1}, x_k is normal with

        mean c x_0 + sqrt(1 - b_k) (1 - abar_k) / (1 - abar_{k+1}) x_{k+1},   c = sqrt(abar_k) b_k / (1 - abar_{k+1})
        variance (1 - abar_k) / (1 - abar_{k+1}) b_k

    so over clean points its mean has theirs for x_0, and its variance c^2 times theirs more. abar_{k+1} = (1 - b_k)
    abar_k. With clean points proportional to exp(Q / alpha) given x_{k+1}, the least error is the noising of the policy
    proportional to exp(Q / alpha) reversed.

    Args:
        shift: what the step adds, as in :func:`chain`.
        raw: the log of how much wider than the noising it is.
        point: x_{k+1}.
        mean: of the clean points.
        variance: theirs.
        rate: b_k.
        left: abar_k.
    Source: Ho et al. 2020, arXiv:2006.11239, equations 6 and 7 (the way back, given where it began).
    """
    noisy = 1 - (1 - rate) * left
    of_clean = left.sqrt() * rate / noisy
    kept = (1 - rate).sqrt()
    goal = of_clean * mean + kept * (1 - left) / noisy * point
    spread = of_clean.square() * variance + (1 - left) / noisy * rate
    std = rate.sqrt() * raw.exp()
    off = (goal - kept * point - shift).square() + spread
    return (std.log() + _HALF_LOG + off / (2 * std.square())).sum(-1)


def chain(
    step: Backward, rates: Sequence[float], noise: Float[Tensor, "*batch draws dim"]
) -> tuple[Float[Tensor, "*batch dim"], Float[Tensor, "*batch"]]:
    """Return x_0, and log p(x_0, ..., x_S) - log q(x_1, ..., x_S | x_0) of the chain that led there [nat].

    In the mean over chains that is E log p(x_0) + E KL(p(x_1, ..., x_S | x_0) || q(x_1, ..., x_S | x_0)): never below
    the mean log-prob of x_0, and equal to it, draw by draw, where the way back is the noising reversed.

    All but one of the normal densities' constants cancel: of every step is left

        -noise^2 / 2 - raw + (x_{k+1} - sqrt(1 - b_k) x_k)^2 / (2 b_k)

    Args:
        step: what has been learned.
        rates: b_0 to b_{S-1}.
        noise: x_S, then the draws of the steps in the order in which they are taken, S + 1 in all.
    Source: Celik et al. 2025, arXiv:2502.02316 (the bound, as a term of the maximum-entropy objective).
    """
    x, *draws = noise.unbind(-2)
    score = -0.5 * noise.square().sum(-2) - _HALF_LOG
    for k, draw in zip(reversed(range(len(rates))), draws, strict=True):
        kept, fresh = math.sqrt(1 - rates[k]), math.sqrt(rates[k])
        shift, raw = step(x, k)
        new = torch.addcmul(torch.add(shift, x, alpha=kept), raw.exp(), fresh * draw)
        back = torch.add(x, new, alpha=-kept) * (1 / fresh)
        score, x = torch.addcmul(score - raw, back, 0.5 * back), new
    return x, score.sum(-1)
