"""Gaussian diffusion: schedules, forward noising, and the reverse chain of any noise predictor."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

Schedule = Literal["cosine", "vp", "linear"]
Predictor = Callable[[Tensor, int], Tensor]
"""(noisy point x_t, step t) -> the noise that is in it."""

_LARGEST_RATE = 0.999  # Nichol and Dhariwal's: the cosine itself leaves no signal at all
_LAST_SIGNAL = 0.005


def signal_rates(schedule: Schedule, n_steps: int) -> Float[Tensor, " steps"]:
    """Return abar_0 = 1 down to abar_T, the share of the signal's variance that is left after t steps, in float64.

    abar_t = product over s <= t of (1 - beta_s),   abar_T < 0.01 for every T

    ``cosine``: abar_t follows cos^2 and no beta exceeds 0.999, so abar_T <= 0.001. ``vp``: beta_t = 1 - exp(-(0.1 +
    9.9 (t - 1/2) / T) / T), so abar_T = e^-5.05 = 0.0064. ``linear``: beta_t is proportional to t, and its slope such
    that abar_T = 0.005.

    Args:
        schedule: how the noise comes in.
        n_steps: T, above 0.
    Source: Nichol and Dhariwal 2021, arXiv:2102.09672, equation 17 (cosine, with their offset of 0.008); Wang et al.
        2023, arXiv:2208.06193 (vp, with rates of 0.1 to 10); Ho et al. 2020, arXiv:2006.11239 (linear).
    Differs: the linear schedule's ends are not those of 1,000 steps, which leave 0.82 of the signal after 20.
    """
    steps = torch.arange(n_steps + 1, dtype=torch.float64)
    if schedule == "cosine":
        level = ((steps / n_steps + 0.008) / 1.008 * math.pi / 2).cos().square()
        kept = (level[1:] / level[:-1]).clamp(min=1 - _LARGEST_RATE)
    elif schedule == "vp":
        kept = (-(0.1 + 9.9 * (steps[1:] - 0.5) / n_steps) / n_steps).exp()
    else:
        kept = 1 - _slope(n_steps) * steps[1:]
    return torch.cat([torch.ones(1, dtype=torch.float64), kept.cumprod(0)])


def _slope(n_steps: int) -> float:
    """Return the b with (1 - b) (1 - 2 b) ... (1 - T b) = abar_T, by bisection."""
    low, high = 0.0, 1 / n_steps
    for _ in range(60):
        middle = (low + high) / 2
        left = math.prod(1 - middle * step for step in range(1, n_steps + 1))
        low, high = (middle, high) if left > _LAST_SIGNAL else (low, middle)
    return low


def noised(
    clean: Float[Tensor, "*batch dim"], noise: Float[Tensor, "*batch dim"], rate: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch dim"]:
    """Return sqrt(abar_t) clean + sqrt(1 - abar_t) noise, a draw of x_t given x_0; ``rate`` is abar_t."""
    rate = rate.unsqueeze(-1)
    return rate.sqrt() * clean + (1 - rate).sqrt() * noise


class ReverseStep(NamedTuple):
    """One step back, from x_t to x_s with s < t, as plain numbers; or several, as tensors that broadcast."""

    time: Any
    """t."""
    signal: Any
    """sqrt(abar_t)."""
    spread: Any
    """sqrt(1 - abar_t)."""
    from_clean: Any
    """Weight of the predicted x_0 in the mean of x_s."""
    from_noisy: Any
    """Weight of x_t in it."""
    std: Any
    """Deviation of x_s around its mean."""

    def mean(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return the mean of x_s, given x_t and the noise predicted in it; the x_0 they imply is kept in -1 to 1."""
        clean = ((x - self.spread * noise) / self.signal).clamp(-1, 1)
        return self.from_clean * clean + self.from_noisy * x


def reverse_steps(
    rates: Float[Tensor, " steps"], n_sample_steps: int, sampler: Literal["ancestral", "ddim"]
) -> tuple[ReverseStep, ...]:
    """Return S steps from t = T to 0, evenly spaced.

    mean of x_s = sqrt(abar_s) x_0 + sqrt(1 - abar_s - sigma^2) (x_t - sqrt(abar_t) x_0) / sqrt(1 - abar_t)
    sigma^2 = (1 - abar_s) / (1 - abar_t) (1 - abar_t / abar_s) where ancestral, 0 where ddim

    With sigma^2 that is the posterior q(x_s | x_t, x_0) of the forward process, also where steps are left out. The
    last step, to 0, has no noise: its mean is the predicted x_0.

    Args:
        rates: abar_0 to abar_T.
        n_sample_steps: S, from 1 to T.
        sampler: with the posterior's noise, or without any.
    Source: Ho et al. 2020, arXiv:2006.11239, equations 6 and 7; Song et al. 2021, arXiv:2010.02502, equations 12 and
        16.
    """
    last = len(rates) - 1
    found = []
    for step in range(n_sample_steps, 0, -1):
        time, after = (round(last * place / n_sample_steps) for place in (step, step - 1))
        now, then = rates[time].item(), rates[after].item()
        variance = (1 - then) / (1 - now) * (1 - now / then) if sampler == "ancestral" else 0.0
        from_noisy = math.sqrt((1 - then - variance) / (1 - now))
        from_clean = math.sqrt(then) - from_noisy * math.sqrt(now)
        found.append(ReverseStep(time, math.sqrt(now), math.sqrt(1 - now), from_clean, from_noisy, math.sqrt(variance)))
    return tuple(found)


def reverse(
    predict: Predictor, steps: Sequence[ReverseStep], noise: Float[Tensor, "*batch draws dim"]
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the points x_t that the chain went through, from x_T on, and the mean of each step; the last is x_0.

    Args:
        predict: the noise in a point; the chain itself knows nothing of networks.
        steps: from :func:`reverse_steps`.
        noise: x_T, and the draw of every step but the last; x_T alone will do where the steps have no noise.
    """
    points, means = [noise.select(-2, 0)], []
    for index, step in enumerate(steps):
        means.append(step.mean(points[-1], predict(points[-1], step.time)))
        if index < len(steps) - 1:
            noisy = step.std > 0
            points.append(torch.add(means[-1], noise.select(-2, index + 1), alpha=step.std) if noisy else means[-1])
    return points, means
