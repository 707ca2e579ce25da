"""A short noising process run backwards: the bound of its log-prob against closed forms and quadrature."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

from hetrl.ops.chain import chain, cross_entropy_back, noising_rates, signal_left


def normal(mean, deviation):
    return Normal(*(torch.as_tensor(each, dtype=torch.float64) for each in (mean, deviation)))


STANDARD = normal(0, 1)


def fresh(x, k):
    return torch.zeros_like(x), torch.zeros_like(x)


def nodes(n_draws, n=9):
    """Return normal noise ``[n^draws, draws, 1]`` and weights of which polynomials of it have their exact mean."""
    points, weights = (torch.tensor(each) for each in np.polynomial.hermite_e.hermegauss(n))
    grid = torch.cartesian_prod(*[points] * n_draws).view(-1, n_draws, 1)
    share = torch.cartesian_prod(*[weights / weights.sum()] * n_draws).view(-1, n_draws).prod(-1)
    return grid, share


def test_rates_by_hand():
    assert noising_rates(4) == pytest.approx([0.1, 0.3, 0.5, 0.7])
    assert noising_rates(2) == pytest.approx([0.1, 0.7]) and noising_rates(1) == [0.7]
    assert math.prod(1 - rate for rate in noising_rates(4)) == pytest.approx(0.0945)


def test_one_step_by_hand():
    """From x_1 = 1 with shift 0.5, raw = ln 2 and noise -0.5, of rate 0.36: x_0 = 0.8 + 0.5 + 2 0.6 (-0.5) = 0.7.

    ln N(1) + ln N(0.7; 1.3, 1.2^2) - ln N(1; 0.8 0.7, 0.6^2) = -1.418939 - 1.226260 + 0.677002.
    """
    noise = torch.tensor([[1.0], [-0.5]])
    x, score = chain(lambda x, k: (torch.full_like(x, 0.5), torch.full_like(x, math.log(2))), [0.36], noise)
    assert x.item() == pytest.approx(0.7)
    assert score.item() == pytest.approx(-1.968197, abs=1e-5)


@pytest.mark.parametrize("n_steps", [1, 2, 4, 9])
def test_a_fresh_chain_is_normal_draw_by_draw(n_steps):
    x, score = chain(fresh, noising_rates(n_steps), torch.randn(50, n_steps + 1, 3).double())
    torch.testing.assert_close(score, STANDARD.log_prob(x).sum(-1), rtol=0, atol=1e-12)


# ----- linear steps: everything is normal


SLOPES, SHIFTS, RAWS = (0.3, -0.4, 0.2), (0.5, -0.2, 0.1), (-0.7, 0.3, -0.2)


def linear(x, k):
    return SLOPES[k] * x + SHIFTS[k], torch.full_like(x, RAWS[k])


def path_of(rates):
    """Return mean and covariance of (x_0, ..., x_S) under linear steps, from their definition."""
    n = len(rates)
    of_noise, mean = torch.zeros(n + 1, n + 1).double(), torch.zeros(n + 1).double()
    of_noise[n, n] = 1
    for k in reversed(range(n)):
        kept = math.sqrt(1 - rates[k]) + SLOPES[k]
        of_noise[k] = kept * of_noise[k + 1]
        of_noise[k, k] = math.sqrt(rates[k]) * math.exp(RAWS[k])
        mean[k] = kept * mean[k + 1] + SHIFTS[k]
    return mean, of_noise @ of_noise.T


def noising_of(rates):
    """Return what x_0 counts in the mean of (x_1, ..., x_S) given it, and their covariance, when noised forwards."""
    left = torch.tensor(
        [math.prod(1 - rate for rate in rates[: k + 1]) for k in range(len(rates))], dtype=torch.float64
    )
    earlier, later = torch.maximum(left, left.unsqueeze(-1)), torch.minimum(left, left.unsqueeze(-1))
    return left.sqrt(), (later / earlier).sqrt() * (1 - earlier)


def test_of_linear_steps_it_is_the_closed_form_draw_by_draw():
    """log p of the whole path less log q of its rest given its end, both as joint normals."""
    rates, noise = noising_rates(3), torch.randn(40, 4, 1).double()
    x, score = chain(linear, rates, noise)
    mean, covariance = path_of(rates)
    points, at = [noise[:, 0]], noise[:, 0]
    for k in (2, 1, 0):
        shift, raw = linear(at, k)
        at = math.sqrt(1 - rates[k]) * at + shift + math.sqrt(rates[k]) * raw.exp() * noise[:, 3 - k]
        points.append(at)
    path = torch.cat(points[::-1], -1)
    torch.testing.assert_close(x, path[:, :1])
    from_end, spread = noising_of(rates)
    forth = MultivariateNormal(torch.zeros(3).double(), spread).log_prob(path[:, 1:] - from_end * x)
    torch.testing.assert_close(score, MultivariateNormal(mean, covariance).log_prob(path) - forth)


def test_of_linear_steps_its_mean_is_that_of_the_log_prob_and_a_kl():
    """The mean over all noise is exact, as the score is quadratic in it; the KL is that of two normals."""
    rates = noising_rates(3)
    noise, share = nodes(4, 5)
    _, score = chain(linear, rates, noise)
    mean, covariance = path_of(rates)
    width = covariance[0, 0]
    negentropy = -0.5 * torch.log(2 * math.pi * math.e * width)
    slope = covariance[1:, 0] / width
    inside = covariance[1:, 1:] - torch.outer(slope, slope) * width  # of p(x_1, ..., x_S | x_0)
    from_end, spread = noising_of(rates)
    apart = mean[1:] - from_end * mean[0]
    second = inside + torch.outer(slope - from_end, slope - from_end) * width + torch.outer(apart, apart)
    kl = 0.5 * (torch.trace(torch.linalg.solve(spread, second)) - 3 + torch.logdet(spread) - torch.logdet(inside))
    assert kl > 0.1
    torch.testing.assert_close((share * score).sum(), negentropy + kl)


def test_of_a_normals_noising_reversed_only_the_start_is_off():
    """The way back from N(m, s^2) is linear. Its score is ln N(x_0; m, s^2), and what starting from N(0, 1) costs."""
    goal, width, rates = 0.6, 0.4, noising_rates(3)
    left = [1.0]
    for rate in rates:
        left.append(left[-1] * (1 - rate))
    variances = [share * width**2 + 1 - share for share in left]

    def step(x, k):
        gain = math.sqrt(1 - rates[k]) * variances[k] / variances[k + 1]
        mean = math.sqrt(left[k]) * goal + gain * (x - math.sqrt(left[k + 1]) * goal)
        deviation = math.sqrt(variances[k] * rates[k] / variances[k + 1])
        return mean - math.sqrt(1 - rates[k]) * x, torch.full_like(x, math.log(deviation / math.sqrt(rates[k])))

    noise = torch.randn(40, 4, 1).double()
    x, score = chain(step, rates, noise)
    start = noise[:, 0]
    cost = STANDARD.log_prob(start) - normal(math.sqrt(left[-1]) * goal, math.sqrt(variances[-1])).log_prob(start)
    torch.testing.assert_close(score, (normal(goal, width).log_prob(x) + cost).squeeze(-1))


# ----- two modes


def test_its_mean_is_never_below_that_of_the_log_prob_on_a_mixture():
    """One step to either side: p(x_0) by quadrature, over the x_1 that lead there. The gap is a KL, found likewise."""
    rate, deviation = 0.7, 0.25
    raw = math.log(deviation / math.sqrt(rate))

    def step(x, k):
        return 1.2 * torch.tanh(6 * x) - math.sqrt(1 - rate) * x, torch.full_like(x, raw)

    start = torch.linspace(-7, 7, 1401, dtype=torch.float64)
    draws = torch.linspace(-7, 7, 701, dtype=torch.float64)
    noise = torch.cartesian_prod(start, draws).view(len(start), len(draws), 2, 1)
    x, score = chain(step, [rate], noise)
    share = STANDARD.log_prob(start).exp().unsqueeze(-1) * STANDARD.log_prob(draws).exp()
    share = share / share.sum()
    ends = x.squeeze(-1)
    grid = torch.linspace(-4, 4, 4001, dtype=torch.float64)
    starts = STANDARD.log_prob(start) + math.log(start[1] - start[0])
    log_prob = torch.logsumexp(starts + normal(1.2 * torch.tanh(6 * start), deviation).log_prob(grid.unsqueeze(-1)), -1)
    place = (ends - grid[0]) / (grid[1] - grid[0])
    below = place.long().clamp(0, len(grid) - 2)
    along = torch.lerp(log_prob[below], log_prob[below + 1], place - below)
    assert torch.trapezoid(log_prob.exp(), grid).item() == pytest.approx(1, abs=1e-6)
    assert log_prob[2000] < log_prob.max() - 2  # a valley
    gap = (share * (score - along)).sum().item()
    back = STANDARD.log_prob(start).unsqueeze(-1) + normal(ends, deviation).log_prob(
        1.2 * torch.tanh(6 * start).unsqueeze(-1)
    )
    forth = normal(math.sqrt(1 - rate) * ends, math.sqrt(rate)).log_prob(start.unsqueeze(-1))
    kl = (share * (back - along - forth)).sum().item()
    assert gap > 0.02
    assert gap == pytest.approx(kl, abs=1e-6)


def test_gradients_are_the_derivatives():
    noise = torch.randn(3, 3, 2).double()
    parameters = torch.tensor([0.3, -0.2, 0.1]).double().requires_grad_()

    def both(values):
        return chain(lambda x, k: (values[0] * x.sin() + values[1] * k, values[2] * x), noising_rates(2), noise)

    assert torch.autograd.gradcheck(both, parameters)


# ----- towards clean points


def test_a_step_back_to_clean_points_by_hand():
    """The last step, of rate 0.36: where x_0 was is the clean point. From x_1 = 1 with shift 0.1 the step expects 0.9;
    points of mean 0.5 and variance 0.04 are 0.16 + 0.04 off: ln 0.6 + ln(2 pi) / 2 + 0.2 / 0.72 = 0.685891."""
    one = torch.ones(1, dtype=torch.float64)
    found = cross_entropy_back(0.1 * one, 0 * one, one, 0.5 * one, 0.04 * one, 0.36 * one, one)
    assert found.item() == pytest.approx(0.685891, abs=1e-6)
    assert signal_left([0.36, 0.5]) == pytest.approx([1, 0.64, 0.32])


def test_a_step_back_to_clean_points_by_quadrature():
    """Of two clean points; where x_k was is found from the noising alone: how it gets there, and on to x_{k+1}."""
    rates, k = noising_rates(4), 2
    left, rate, at = signal_left(rates)[k], rates[k], 0.4
    clean, share = torch.tensor([-0.8, 1.1]).double(), torch.tensor([0.3, 0.7]).double()
    grid = torch.linspace(-8, 8, 8001).double()
    backs = []
    for u in clean:
        there = normal(math.sqrt(left) * u, math.sqrt(1 - left)).log_prob(grid)
        on = normal(math.sqrt(1 - rate) * grid, math.sqrt(rate)).log_prob(torch.tensor(at).double())
        backs.append((there + on).softmax(-1))
    shift, raw = 0.3, -0.4
    step = normal(math.sqrt(1 - rate) * at + shift, math.sqrt(rate) * math.exp(raw)).log_prob(grid)
    expected = -(share @ (torch.stack(backs) @ step))
    mean = share @ clean
    variance = share @ (clean - mean).square()
    numbers = (
        torch.as_tensor(each, dtype=torch.float64).view(1) for each in (shift, raw, at, mean, variance, rate, left)
    )
    torch.testing.assert_close(cross_entropy_back(*numbers), expected)
