"""The chain alone, with noise predictors that are exactly right: it must reproduce their distributions."""

import math
from itertools import pairwise

import pytest
import torch
from scipy.stats import kstest, norm

from hetrl.ops.diffusion import information_weights, noised, reverse, reverse_steps, sample_times, signal_rates

SCHEDULES = ["cosine", "vp", "linear"]


# ----- schedules


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_reaches_noise(schedule):
    """No more than 1% of the signal is left, however many steps there are, and less after each."""
    for n_steps in [*range(1, 60), 100, 1000]:
        rates = signal_rates(schedule, n_steps)
        assert rates.shape == (n_steps + 1,) and rates.dtype == torch.float64
        assert rates[0] == 1 and (rates.diff() < 0).all() and 0 < rates[-1] < 0.01


def test_cosine_follows_the_squared_cosine_until_the_last_step():
    rates = signal_rates("cosine", 20)
    level = [math.cos((t / 20 + 0.008) / 1.008 * math.pi / 2) ** 2 for t in range(20)]
    assert rates[:-1].tolist() == pytest.approx([each / level[0] for each in level])
    assert rates[-1].item() == pytest.approx(rates[-2].item() * 0.001)


def test_vp_ends_at_the_same_level_whatever_the_steps():
    """0.1 + 9.9 / 2 = 5.05, the mean rate of a ramp from 0.1 to 10."""
    assert [signal_rates("vp", n)[-1].item() for n in (5, 20, 300)] == pytest.approx([math.exp(-5.05)] * 3)
    first = -math.log(signal_rates("vp", 10)[1].item())
    assert first == pytest.approx((0.1 + 9.9 * 0.05) / 10)


def test_linear_is_linear():
    rates = signal_rates("linear", 20)
    beta = 1 - rates[1:] / rates[:-1]
    torch.testing.assert_close(beta, beta[0] * torch.arange(1, 21))
    assert rates[-1].item() == pytest.approx(0.005)


# ----- forwards


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_noising_has_the_mean_and_variance_of_its_steps(schedule):
    """Each step keeps sqrt(1 - beta) and adds sqrt(beta) noise; t of them are one draw with abar_t."""
    rates = signal_rates(schedule, 20)
    mean, variance = torch.tensor([[0.7]], dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    for time in range(1, 21):
        kept = rates[time] / rates[time - 1]
        mean, variance = kept.sqrt() * mean, kept * variance + (1 - kept)
        rate = rates[time].expand(1)
        clean = torch.tensor([[0.7]], dtype=torch.float64)
        torch.testing.assert_close(noised(clean, torch.zeros_like(clean), rate), mean)
        one = noised(torch.zeros_like(clean), torch.ones_like(clean), rate)  # what unit noise adds: the deviation
        torch.testing.assert_close(one.square(), variance)


def test_noised_draws_have_these_moments():
    """40,000 draws at abar = 0.64: mean 0.8 * 0.5 = 0.4 and variance 0.36, each within four standard errors."""
    n = 40_000
    x = noised(torch.full((n, 1), 0.5), torch.randn(n, 1), torch.full((n,), 0.64))
    assert x.mean().item() == pytest.approx(0.4, abs=4 * 0.6 / n**0.5)
    assert x.var().item() == pytest.approx(0.36, abs=4 * 0.36 * (2 / n) ** 0.5)


# ----- one step back


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("n_sample_steps", [20, 7, 1])
def test_an_ancestral_step_is_the_posterior(schedule, n_sample_steps):
    """Given x_0, the pair (x_s, x_t) is Gaussian; its conditional has the step's mean and deviation."""
    rates = signal_rates(schedule, 20)
    steps = reverse_steps(rates, n_sample_steps, "ancestral")
    ends = [*(step.time for step in steps[1:]), 0]
    x, clean = torch.tensor([[0.9]], dtype=torch.float64), 0.3
    for step, after in zip(steps, ends, strict=True):
        now, then = rates[step.time].item(), rates[after].item()
        together = math.sqrt(now / then) * (1 - then)  # covariance of x_s and x_t
        mean = math.sqrt(then) * clean + together / (1 - now) * (x.item() - math.sqrt(now) * clean)
        noise = (x - math.sqrt(now) * clean) / math.sqrt(1 - now)
        assert step.mean(x, noise).item() == pytest.approx(mean, abs=1e-12)
        assert step.std**2 == pytest.approx((1 - then) - together**2 / (1 - now), abs=1e-12)
    assert steps[-1].std == 0 and steps[-1].from_noisy == 0


def test_a_step_without_noise_keeps_the_noise_that_is_there():
    """From sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps to the same with abar_s, so that the pair stays on its line."""
    rates = signal_rates("cosine", 20)
    steps = reverse_steps(rates, 10, "ddim")
    clean, noise = torch.tensor([[0.3]], dtype=torch.float64), torch.tensor([[-0.8]], dtype=torch.float64)
    for step, after in zip(steps, [*(step.time for step in steps[1:]), 0], strict=True):
        x = noised(clean, noise, rates[step.time].expand(1))
        torch.testing.assert_close(step.mean(x, noise), noised(clean, noise, rates[after].expand(1)))
        assert step.std == 0


@pytest.mark.parametrize("n_sample_steps", range(1, 21))
def test_steps_are_spread_from_the_last_to_the_first(n_sample_steps):
    times = [step.time for step in reverse_steps(signal_rates("vp", 20), n_sample_steps, "ddim")]
    assert times[0] == 20 and len(times) == n_sample_steps
    gaps = {before - after for before, after in zip(times, [*times[1:], 0], strict=True)}
    assert min(gaps) >= 1 and max(gaps) - min(gaps) <= 1


def test_quadratic_steps_are_closer_where_little_noise_is_left():
    assert sample_times(20, 5, "quadratic") == [20, 13, 7, 3, 1]
    assert sample_times(20, 20, "quadratic") == sample_times(20, 20, "even") == list(range(20, 0, -1))
    for several in range(1, 21):
        times = sample_times(20, several, "quadratic")
        gaps = [before - after for before, after in zip(times, [*times[1:], 0], strict=True)]
        assert times[0] == 20 and len(times) == several and min(gaps) >= 1
        assert all(later <= earlier + 1 for earlier, later in pairwise(gaps))  # each is rounded


def kept(sampler, spacing, std):
    """Return the share that is left of a Gaussian's deviation after 5 of 20 steps of an exact predictor."""
    rates = signal_rates("cosine", 20)
    steps = reverse_steps(rates, 5, sampler, spacing)
    start = torch.tensor([[[0.0]], [[1.0]]], dtype=torch.float64)
    ends = reverse(predictor(rates, [1.0], [0.0], std), steps, start)[1][-1].flatten()
    return ((ends[1] - ends[0]) / std).item()


def test_what_five_steps_keep_of_a_deviation():
    """The chain is linear, so where 1 ends says it all. Worked out besides: 0.49 evenly and of first order, 0.74
    quadratically, 0.85 of second order."""
    found = [kept(*way, 0.2) for way in (("ddim", "even"), ("ddim", "quadratic"), ("multistep", "quadratic"))]
    assert found == pytest.approx([0.49, 0.74, 0.85], abs=0.005)
    assert kept("multistep", "quadratic", 0.4) == pytest.approx(0.92, abs=0.005)


def test_a_second_order_step_by_hand():
    """Where the prediction goes from 0.1 to 0.3 and the step in ln(abar / (1 - abar)) is as long as that before,
    0.3 + 0.2 / 2 = 0.4 stands in for it; the first step and the last take it as it is."""
    step = reverse_steps(signal_rates("cosine", 20), 5, "multistep")
    assert step[0].ahead == step[-1].ahead == 0 and all(each.ahead > 0 for each in step[1:-1])
    rates = torch.tensor([1.0, 0.8, 0.5, 0.2, 0.2 / 4.2], dtype=torch.float64)  # odds 4, 1, 1/4, 1/20
    second = reverse_steps(rates, 4, "multistep")
    assert second[2].ahead == pytest.approx(0.5)
    asked = iter([0.0, 0.1, 0.3, 0.0])

    def predict(x, time):  # the noise for which x_0 is what is asked
        rate = rates[time]
        return (x - rate.sqrt() * next(asked)) / (1 - rate).sqrt()

    _, means = reverse(predict, second, torch.zeros(1, 1, 1, dtype=torch.float64))
    assert means[2].item() == pytest.approx(second[2].from_clean * 0.4 + second[2].from_noisy * means[1].item())


def test_the_predicted_action_stays_in_the_box():
    """A predictor that sees no noise at all takes x / sqrt(abar) for the action, which is far outside."""
    steps = reverse_steps(signal_rates("cosine", 20), 20, "ancestral")
    _, means = reverse(lambda x, time: torch.zeros_like(x), steps, 3 * torch.randn(500, 20, 2))
    assert (means[-1].abs() <= 1).all() and (means[-1].abs() == 1).any()
    for step, mean in zip(steps, means, strict=True):
        assert mean.isfinite().all() and (mean.abs() <= step.from_clean + step.from_noisy * 30).all()


# ----- the whole chain, with exact predictors


def predictor(rates, weights, centres, std):
    """Return the exact noise predictor of a mixture of Gaussians: from the mean of x_0 given x_t."""
    weights, centres = (torch.tensor(each, dtype=torch.float64) for each in (weights, centres))

    def predict(x, time):
        rate = rates[time]
        variance = rate * std**2 + 1 - rate
        off = x - rate.sqrt() * centres  # [..., components]
        share = (weights.log() - off.square() / (2 * variance)).softmax(-1)
        clean = (share * (centres + std**2 * rate.sqrt() / variance * off)).sum(-1, keepdim=True)
        return (x - rate.sqrt() * clean) / (1 - rate).sqrt()

    return predict


def cdf(weights, centres, std):
    return lambda x: sum(w * norm.cdf(x, c, std) for w, c in zip(weights, centres, strict=True))


@pytest.mark.parametrize("sampler", ["ancestral", "ddim"])
def test_from_a_point_mass_every_chain_ends_there(sampler):
    rates = signal_rates("cosine", 20)
    steps = reverse_steps(rates, 5, sampler)
    _, means = reverse(predictor(rates, [1.0], [0.37], 0.0), steps, torch.randn(100, 5, 1, dtype=torch.float64))
    torch.testing.assert_close(means[-1], torch.full((100, 1), 0.37, dtype=torch.float64))


def test_without_noise_the_chain_is_a_function_of_where_it_starts():
    rates = signal_rates("cosine", 20)
    steps, predict = reverse_steps(rates, 20, "ddim"), predictor(rates, [0.5, 0.5], [-0.5, 0.5], 0.1)
    noise = torch.randn(50, 20, 1, dtype=torch.float64)
    once = reverse(predict, steps, noise)[1][-1]
    others = torch.cat([noise[:, :1], torch.randn(50, 19, 1, dtype=torch.float64)], 1)
    assert torch.equal(reverse(predict, steps, others)[1][-1], once)
    assert torch.equal(reverse(predict, steps, noise[:, :1])[1][-1], once)
    assert once.unique().numel() == 50


def linear_ends(n_steps, sampler, mean, std):
    """Return mean and deviation of the ends, exactly: with a Gaussian the chain is linear in its draws.

    Fed with no draw at all and with each of them alone, it shows its constant and its slopes.
    """
    rates = signal_rates("cosine", n_steps)
    steps = reverse_steps(rates, n_steps, sampler)
    draws = torch.cat([torch.zeros(1, n_steps), torch.eye(n_steps)]).double().unsqueeze(-1)
    ends = reverse(predictor(rates, [1.0], [mean], std), steps, draws)[1][-1].flatten()
    return ends[0].item(), (ends[1:] - ends[0]).square().sum().sqrt().item()


@pytest.mark.parametrize(("sampler", "expected"), [("ancestral", (0.28, 0.053, 0.013)), ("ddim", (0.21, 0.024, 0.005))])
def test_reproduces_a_gaussian_the_better_the_more_steps(sampler, expected):
    """N(0.2, 0.15^2), no random number involved. However right the predictor is, chains of few steps end too narrow:
    the share that is missing of the deviation after 20, 200 and 1,000 steps falls about as one over their number."""
    for n_steps, missing in zip((20, 200, 1000), expected, strict=True):
        mean, std = linear_ends(n_steps, sampler, 0.2, 0.15)
        assert mean == pytest.approx(0.2, abs=2e-3)
        assert 1 - std / 0.15 == pytest.approx(missing, rel=0.05)


N = 20_000
"""Draws of a Kolmogorov-Smirnov test. At a level of 0.001 it refuses a distance of 0.0138. A normal distribution 10%
too wide is 0.024 away, more than three standard errors (0.0026) beyond that: missed once in thousands of times."""


def ends(n_steps, sampler, weights, centres, std):
    rates = signal_rates("cosine", n_steps)
    steps = reverse_steps(rates, n_steps, sampler)
    n_draws = n_steps if sampler == "ancestral" else 1
    noise = torch.randn(N, n_draws, 1, dtype=torch.float64)
    return reverse(predictor(rates, weights, centres, std), steps, noise)[1][-1].flatten().numpy()


@pytest.mark.parametrize("sampler", ["ancestral", "ddim"])
def test_draws_of_twenty_steps_have_the_distribution_that_is_worked_out(sampler):
    found = ends(20, sampler, [1.0], [0.2], 0.15)
    assert kstest(found, norm(*linear_ends(20, sampler, 0.2, 0.15)).cdf).pvalue > 1e-3


@pytest.mark.parametrize("sampler", ["ancestral", "ddim"])
def test_reproduces_a_mixture(sampler):
    """0.3 N(-0.5, 0.1^2) + 0.7 N(0.4, 0.1^2), in 500 steps, which leave 3% of a mode's deviation missing.

    Moments, and a test of the whole distribution that does refuse what is a little off: wider modes, another share,
    shifted modes.
    """
    weights, centres, std = [0.3, 0.7], [-0.5, 0.4], 0.1
    found = ends(500, sampler, weights, centres, std)
    mean = 0.3 * -0.5 + 0.7 * 0.4
    variance = 0.01 + 0.3 * 0.25 + 0.7 * 0.16 - mean**2
    assert found.mean() == pytest.approx(mean, abs=4 * (variance / N) ** 0.5)
    assert found.var() == pytest.approx(variance, rel=0.02)
    assert kstest(found, cdf(weights, centres, std)).pvalue > 1e-3
    for wrong in ((weights, centres, 1.1 * std), ([0.27, 0.73], centres, std), (weights, [-0.48, 0.42], std)):
        assert kstest(found, cdf(*wrong)).pvalue < 1e-3


# ----- what a noised action tells


def entropy_of(density, schedule="linear", n_steps=20):
    """Return the entropy made of how well a is known from x_t, and that of the density itself, by quadrature."""
    rates = signal_rates(schedule, n_steps)
    grid = torch.linspace(-1, 1, 801, dtype=torch.float64)
    p = density(grid)
    p = p / p.sum()
    found = torch.zeros((), dtype=torch.float64)
    for time, (rate, count) in enumerate(zip(rates, information_weights(rates), strict=True)):
        if time == 0:
            continue
        spread = (1 - rate).sqrt()
        ends = (rate.sqrt() + 5 * spread).item()
        point = torch.linspace(-ends, ends, 801, dtype=torch.float64)
        joint = p * (-(point.unsqueeze(-1) - rate.sqrt() * grid).square() / (2 * spread**2)).exp()
        joint = joint / joint.sum(0)
        joint = joint * p  # each a has all its probability on the points of the grid
        of_point = joint.sum(-1)
        share = joint / of_point.clamp(min=1e-300).unsqueeze(-1)
        mean = (share * grid).sum(-1, keepdim=True)
        variance = (share * (grid - mean).square()).sum(-1)
        found += 0.5 * count * (of_point * variance).sum()
        if time == 1:
            found += (of_point * 0.5 * (2 * math.pi * math.e * variance.clamp(min=1e-12)).log()).sum()
    width = grid[1] - grid[0]
    return found.item(), -(torch.special.xlogy(p, p / width)).sum().item()


def bumps(width, *places):
    return lambda a: sum((-(a - place).square() / (2 * width**2)).exp() for place in places)


@pytest.mark.parametrize(
    ("density", "within"),
    [
        (torch.ones_like, 0.04),  # the box: ln 2
        *[(bumps(width, 0.0), 0.02) for width in (0.05, 0.1, 0.2, 0.4)],
        *[(bumps(width, -0.6, 0.6), 0.04) for width in (0.05, 0.1, 0.2)],
        (bumps(0.2, 0.9), 0.1),  # cut off by an end of the box
    ],
)
def test_entropies_are_made_of_posterior_variances(density, within):
    """To within 0.04 nat, and 0.1 where an end cuts a density off: trapezoids, and what is left is taken for normal."""
    found, expected = entropy_of(density)
    assert found == pytest.approx(expected, abs=within)
    assert entropy_of(torch.ones_like)[1] == pytest.approx(math.log(2), abs=2e-3)


def test_what_steps_count_by_hand():
    """Of gains 1 (t = 1) and e^-2 (t = 2) a trapezoid of width 2 in the logarithm: 1 and e^-2, and e^-2 once more for
    what lies below."""
    gains = torch.tensor([1.0, math.exp(-2)], dtype=torch.float64)
    rates = torch.cat([torch.ones(1, dtype=torch.float64), gains / (1 + gains)])
    torch.testing.assert_close(information_weights(rates), torch.tensor([0, 1, 2 * math.exp(-2)], dtype=torch.float64))
