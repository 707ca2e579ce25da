import math

import pytest
import torch
from jaxtyping import TypeCheckError

from hetrl.ops import gaussian


def test_log_prob_by_hand():
    """One dimension, x = 2, mean 0, std 2: -(2/2)^2 / 2 - log 2 - log(2 pi) / 2 = -0.5 - 0.693147 - 0.918939."""
    found = gaussian.log_prob(torch.tensor([[2.0]]), torch.tensor([[0.0]]), torch.tensor([[math.log(2.0)]]))
    assert found.item() == pytest.approx(-0.5 - 0.693147 - 0.918939, abs=1e-5)


def test_log_prob_is_summed_over_dimensions():
    """At the mean with std 1 each of 3 dimensions gives -log(2 pi) / 2 = -0.918939: -2.756816. The std may be
    shared.
    """
    found = gaussian.log_prob(torch.ones(2, 3), torch.ones(2, 3), torch.zeros(3))
    assert found.shape == (2,)
    assert found.tolist() == pytest.approx([-2.756816] * 2, abs=1e-5)


def test_entropy_by_hand():
    """log(2 pi e) / 2 = 1.418939 for std 1, and log 2 more for std 2: 1.418939 + 2.112086 = 3.531025."""
    assert gaussian.entropy(torch.tensor([0.0, math.log(2.0)])).item() == pytest.approx(3.531025, abs=1e-5)


def test_sample_is_mean_plus_scaled_noise():
    """1 + 2 * 3 = 7, 1 + 0.5 * -2 = 0."""
    log_std = torch.tensor([2.0, 0.5]).log()
    found = gaussian.sample(torch.ones(1, 2), log_std, torch.tensor([[3.0, -2.0]]))
    torch.testing.assert_close(found, torch.tensor([[7.0, 0.0]]))


@pytest.mark.parametrize("shape", [(5, 2), (2,)], ids=["state_dependent", "shared"])
def test_a_draw_is_as_likely_as_its_noise(shape):
    """By hand, std 2 and noise 1: -1/2 - log 2 - log(2 pi) / 2 = -2.112086. Value and gradients are the density's."""
    by_hand = gaussian.drawn_log_prob(torch.ones(1, 1), torch.full((1, 1), math.log(2.0)))
    assert by_hand.item() == pytest.approx(-2.112086, abs=1e-5)
    mean, noise = torch.randn(5, 2).double().requires_grad_(), torch.randn(5, 2).double()
    log_std = torch.randn(shape).double().requires_grad_()
    short = gaussian.drawn_log_prob(noise, log_std)
    long = gaussian.log_prob(gaussian.sample(mean, log_std, noise), mean, log_std)
    torch.testing.assert_close(short, long)
    slopes = torch.autograd.grad(long.sum(), (mean, log_std))
    torch.testing.assert_close(slopes[0], torch.zeros(5, 2).double())
    torch.testing.assert_close(torch.autograd.grad(short.sum(), log_std)[0], slopes[1])


@pytest.mark.parametrize("std", [1e-4, 0.5, 1.0, 30.0])
def test_inverse_softplus(std):
    assert math.log1p(math.exp(gaussian.inverse_softplus(std))) == pytest.approx(std, rel=1e-9)


def test_refuses_an_action_of_another_size():
    with pytest.raises(TypeCheckError):
        gaussian.log_prob(torch.zeros(3, 1), torch.zeros(3, 2), torch.zeros(2))


def test_kl_by_hand():
    """From N(0, 1) to N(1, 4): log 2 + (1 + 1) / 8 - 1/2 = 0.443147; back: -log 2 + (4 + 1) / 2 - 1/2 = 1.306853."""
    narrow, wide = (torch.zeros(1), torch.zeros(1)), (torch.ones(1), torch.full((1,), math.log(2.0)))
    assert gaussian.kl(*narrow, *wide).item() == pytest.approx(0.443147, abs=1e-6)
    assert gaussian.kl(*wide, *narrow).item() == pytest.approx(1.306853, abs=1e-6)


def test_kl_is_that_of_torch_summed_over_dimensions():
    old_mean, old_log_std, mean, log_std = torch.randn(4, 5, 2, 3, dtype=torch.float64).unbind(0)
    old, new = (torch.distributions.Normal(m, s.exp()) for m, s in ((old_mean, old_log_std), (mean, log_std)))
    expected = torch.distributions.kl_divergence(old, new).sum(-1)
    torch.testing.assert_close(gaussian.kl(old_mean, old_log_std, mean, log_std), expected)


def test_kl_to_itself_is_0_and_so_is_its_gradient():
    mean, log_std = torch.randn(2, 4, 3, dtype=torch.float64).unbind(0)
    now = [part.clone().requires_grad_() for part in (mean, log_std)]
    found = gaussian.kl(mean, log_std, *now)
    torch.testing.assert_close(found, torch.zeros(4).double())
    found.sum().backward()
    assert all(part.grad.abs().max() < 1e-12 for part in now)
