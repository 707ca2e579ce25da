import math

import pytest
import torch

from hetrl.ops.tanh import log_slope, squash, unsquash

LOW, HIGH = torch.tensor([-0.5, 1.0], dtype=torch.float64), torch.tensor([2.0, 5.0], dtype=torch.float64)


def test_squash_by_hand():
    """tanh 0 = 0 is the middle, (0.75, 3); tanh u = 0.5 is three quarters up: -0.5 + 2.5 * 0.75 = 1.375, and 4."""
    u = torch.tensor([[0.0, 0.0], [math.atanh(0.5)] * 2, [50.0, -50.0]], dtype=torch.float64)
    expected = torch.tensor([[0.75, 3.0], [1.375, 4.0], [2.0, 1.0]], dtype=torch.float64)
    torch.testing.assert_close(squash(u, LOW, HIGH), expected)


def test_unsquash_is_its_inverse():
    u = torch.linspace(-5, 5, 20, dtype=torch.float64).view(10, 2)
    torch.testing.assert_close(unsquash(squash(u, LOW, HIGH), LOW, HIGH), u)


def test_unsquash_of_a_bound_is_finite():
    u = unsquash(torch.stack([LOW, HIGH]), LOW, HIGH)
    assert u.isfinite().all() and (u[0] < -6).all() and (u[1] > 6).all()


def test_log_slope_by_hand():
    """At u = 0 tanh has slope 1, in both dimensions; where tanh u = 0.5 it is 0.75."""
    u = torch.tensor([[0.0, 0.0], [0.0, math.atanh(0.5)]], dtype=torch.float64)
    assert log_slope(u).tolist() == pytest.approx([0.0, math.log(0.75)], abs=1e-12)


def test_log_slope_and_the_scale_are_the_derivative_of_squash():
    u = torch.tensor([[-1.3, 0.4]], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(squash(u, LOW, HIGH).sum(), u)
    scale = ((HIGH - LOW) / 2).log().sum()
    torch.testing.assert_close(log_slope(u.detach()) + scale, slope.log().sum(-1))


def test_log_slope_is_stable_far_out():
    """log(1 - tanh^2 u) tends to 2 log 2 - 2 |u|; 1 - tanh(40)^2 itself is 0 in floats."""
    for u in (40.0, -40.0):
        found = log_slope(torch.tensor([[u]], dtype=torch.float64))
        assert found.item() == pytest.approx(2 * math.log(2) - 80, rel=1e-12)
