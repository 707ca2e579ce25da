import math

import pytest
import torch
from scipy.stats import truncnorm

from hetrl.ops.truncated_normal import truncated_log_prob, truncated_normal, two_truncated_normals

CASES = [(0.0, 1.0), (0.5, 0.3), (-0.5, 0.3), (1.5, 0.12), (-1.5, 0.12), (0.9, 0.01), (-3.0, 2.0)]
SHARES = torch.linspace(0.0005, 0.9995, 1000, dtype=torch.float64)


def draws(mean, std, dtype=torch.float64):
    like = torch.full((1000, 1), mean, dtype=dtype)
    return truncated_normal(like, torch.full((1, 1), std, dtype=dtype), SHARES.unsqueeze(-1).to(dtype)).squeeze(-1)


@pytest.mark.parametrize(("mean", "std"), CASES)
def test_quantiles_are_scipys(mean, std):
    expected = truncnorm.ppf(SHARES.numpy(), (-1 - mean) / std, (1 - mean) / std, mean, std)
    torch.testing.assert_close(draws(mean, std), torch.tensor(expected), rtol=0, atol=1e-11)
    torch.testing.assert_close(draws(mean, std, torch.float32).double(), torch.tensor(expected), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("mean", "std"), CASES)
def test_mean_and_variance_are_the_closed_form(mean, std):
    """With l, h the ends in units of std, f the normal density, Z what lies within: mean + std (f(l) - f(h)) / Z and
    std^2 (1 + (l f(l) - h f(h)) / Z - ((f(l) - f(h)) / Z)^2). Evenly spread shares integrate over quantiles."""
    low, high = (-1 - mean) / std, (1 - mean) / std
    f = [math.exp(-(end**2) / 2) / math.sqrt(2 * math.pi) for end in (low, high)]
    within = (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))) / 2
    first = (f[0] - f[1]) / within
    found = draws(mean, std)
    assert found.mean().item() == pytest.approx(mean + std * first, abs=1e-3 * std)
    expected = std**2 * (1 + (low * f[0] - high * f[1]) / within - first**2)
    assert found.var(correction=0).item() == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(("mean", "std"), CASES)
def test_log_densities_are_scipys_summed_over_dimensions(mean, std):
    value = torch.linspace(-1, 1, 41, dtype=torch.float64)
    expected = torch.tensor(truncnorm.logpdf(value.numpy(), (-1 - mean) / std, (1 - mean) / std, mean, std))
    pair = torch.stack([value, value.flip(0)], -1)
    like = torch.ones(1, 2, dtype=value.dtype)
    found = truncated_log_prob(pair, mean * like, std * like)
    torch.testing.assert_close(found, expected + expected.flip(0), rtol=1e-9, atol=1e-9)


def test_they_stay_in_the_box_at_any_share_and_far_outside_of_it():
    share = torch.tensor([[0.0], [1e-30], [0.5], [1.0]])
    for mean in (0.0, 1.2, -1.2, 30.0, -30.0):
        found = truncated_normal(torch.full((4, 1), mean), torch.full((4, 1), 0.1), share)
        assert (found.abs() <= 1).all()
    assert truncated_normal(torch.zeros(1, 1), torch.ones(1, 1), torch.full((1, 1), 0.5)).item() == pytest.approx(
        0, abs=1e-6
    )


def test_two_normals_are_weighed_by_what_the_mixture_has_of_them():
    """One draw of each, both at the quantile 1/2, by hand with scipy's densities in two dimensions."""
    place, width = torch.tensor([[0.2, -0.1]]).double(), torch.tensor([[0.5]]).double()
    other, narrow = torch.tensor([[0.6, 0.3]]).double(), torch.tensor([[0.1]]).double()
    drawn, weight = two_truncated_normals(place, width, other, narrow, 1, torch.full((2, 2), 0.5).double())
    assert torch.equal(drawn[0], truncated_normal(place, width, torch.full((1, 2), 0.5).double())[0])
    assert torch.equal(drawn[1], truncated_normal(other, narrow, torch.full((1, 2), 0.5).double())[0])
    for row in range(2):
        p, q = (
            math.prod(
                truncnorm.pdf(value, (-1 - mean) / std.item(), (1 - mean) / std.item(), mean, std.item())
                for value, mean in zip(drawn[row].tolist(), centre[0].tolist(), strict=True)
            )
            for centre, std in ((place, width), (other, narrow))
        )
        assert weight[row].exp().item() == pytest.approx(p / (p / 2 + q / 2), rel=1e-9)
