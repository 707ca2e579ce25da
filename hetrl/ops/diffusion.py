"""Gaussian diffusion: schedules, forward noising, and the reverse chain of any noise predictor."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

Schedule = Literal["cosine", "vp", "linear"]
Sampler = Literal["ancestral", "ddim", "multistep"]
Spacing = Literal["even", "quadratic"]
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


def information_weights(rates: Float[Tensor, " steps"]) -> Float[Tensor, " steps"]:
    """Return c_0 = 0 and c_1 to c_T, with which the entropy of any a is made of how well it is known from x_t.

    H = 1/2 sum_t c_t E Var(a | x_t) + E H(a | x_1)

    The sum is the integral over the signal to noise g = abar / (1 - abar), from none up to that of x_1, of the least
    mean squared error (half of it is what x_1 tells of a), by trapezoids in log g; below x_T the error stands still.

    Args:
        rates: abar_0 to abar_T.
    Source: Guo, Shamai and Verdu 2005, IEEE Trans. Inf. Theory 51(4), equation 1.
    """
    gain = (rates / (1 - rates))[1:]  # of x_1, the greatest, to x_T
    level = gain.log()
    apart = (level[:-1] - level[1:]) / 2
    within = torch.zeros_like(gain)
    within[:-1] += apart
    within[1:] += apart
    counts = gain * within
    counts[-1] += gain[-1]
    return torch.cat([torch.zeros_like(gain[:1]), counts])


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
    ahead: Any = 0.0
    """How far the predicted x_0 is carried on along its change since the step before."""

    def clean(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return the x_0 that x_t and the noise predicted in it imply, kept in -1 to 1."""
        return ((x - self.spread * noise) / self.signal).clamp(-1, 1)

    def mean(self, x: Tensor, noise: Tensor) -> Tensor:
        """Return the mean of x_s, given x_t and the noise predicted in it."""
        return self.towards(x, self.clean(x, noise))

    def towards(self, x: Tensor, clean: Tensor) -> Tensor:
        """Return the mean of x_s, given x_t and x_0."""
        return self.from_clean * clean + self.from_noisy * x


def sample_times(n_steps: int, n_sample_steps: int, spacing: Spacing) -> list[int]:
    """Return the S of T steps that are taken, from T down.

    ``even``: round(T i / S). ``quadratic``: round(T (i / S)^2), but i at least; 5 of 20 are 20, 13, 7, 3, 1. Where all
    are taken the two are the same.

    Args:
        n_steps: T.
        n_sample_steps: S, from 1 to T.
        spacing: alike, or closer to each other where little noise is left.
    Source: Song et al. 2021, arXiv:2010.02502, appendix D.2 (both).
    """
    shares = [place / n_sample_steps for place in range(n_sample_steps, 0, -1)]
    if spacing == "even":
        return [round(n_steps * share) for share in shares]
    return [max(n_sample_steps - index, round(n_steps * share**2)) for index, share in enumerate(shares)]


def reverse_steps(
    rates: Float[Tensor, " steps"], n_sample_steps: int, sampler: Sampler, spacing: Spacing = "even"
) -> tuple[ReverseStep, ...]:
    """Return S steps from t = T to 0.

    mean of x_s = sqrt(abar_s) x_0 + sqrt(1 - abar_s - sigma^2) (x_t - sqrt(abar_t) x_0) / sqrt(1 - abar_t)
    sigma^2 = (1 - abar_s) / (1 - abar_t) (1 - abar_t / abar_s) where ancestral, otherwise 0

    With sigma^2 that is the posterior q(x_s | x_t, x_0) of the forward process, also where steps are left out. The
    last step, to 0, has no noise: its mean is the predicted x_0. ``multistep`` is ``ddim`` with x_0 carried on along
    its last change, x_0 + (x_0 - x_0 of the step before) h / (2 h_before), where h is how far a step goes in
    ln(abar / (1 - abar)); the first step has nothing before it, and the last is as it is.

    Args:
        rates: abar_0 to abar_T.
        n_sample_steps: S, from 1 to T.
        sampler: with the posterior's noise, or without any, of first or second order.
        spacing: which of the T steps, see :func:`sample_times`.
    Source: Ho et al. 2020, arXiv:2006.11239, equations 6 and 7; Song et al. 2021, arXiv:2010.02502, equations 12 and
        16; Lu et al. 2022, arXiv:2211.01095, algorithm 2 (multistep).
    """
    times = [*sample_times(len(rates) - 1, n_sample_steps, spacing), 0]
    levels = [math.log(rates[time].item() / (1 - rates[time].item())) / 2 for time in times[:-1]]
    found = []
    for index, time in enumerate(times[:-1]):
        now, then = rates[time].item(), rates[times[index + 1]].item()
        variance = (1 - then) / (1 - now) * (1 - now / then) if sampler == "ancestral" else 0.0
        from_noisy = math.sqrt((1 - then - variance) / (1 - now))
        from_clean = math.sqrt(then) - from_noisy * math.sqrt(now)
        ahead = 0.0
        if sampler == "multistep" and 0 < index < n_sample_steps - 1:
            ahead = (levels[index + 1] - levels[index]) / (levels[index] - levels[index - 1]) / 2
        coefficients = (math.sqrt(now), math.sqrt(1 - now), from_clean, from_noisy, math.sqrt(variance), ahead)
        found.append(ReverseStep(time, *coefficients))
    return tuple(found)


def path_kl(
    error: Float[Tensor, "*batch steps dim"], std: Float[Tensor, "*batch steps"], floor: float
) -> Float[Tensor, "*batch"]:
    """Return sum over steps of ||error||^2 / (2 std^2), the KL of two chains whose means are ``error`` apart [nat].

    >>> path_kl(torch.tensor([[0.1], [0.2]]), torch.tensor([0.5, 0.0]), 0.2)
    tensor(0.5200)

    Args:
        error: how far the mean of each step has moved.
        std: the deviation of each step, before and now.
        floor: what stands for the deviation of a step without noise.
    """
    std = torch.where(std > 0, std, floor)
    return (error.square().sum(-1) / (2 * std.square())).sum(-1)


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
    before: Tensor | None = None
    for index, step in enumerate(steps):
        clean = step.clean(points[-1], predict(points[-1], step.time))
        further = clean if before is None or not step.ahead else clean + step.ahead * (clean - before)
        before = clean
        means.append(step.towards(points[-1], further))
        if index < len(steps) - 1:
            noisy = step.std > 0
            points.append(torch.add(means[-1], noise.select(-2, index + 1), alpha=step.std) if noisy else means[-1])
    return points, means
