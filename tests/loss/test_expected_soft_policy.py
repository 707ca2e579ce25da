import math

import pytest
import torch

from hetrl.loss.expected_soft_policy import ExpectedSoftPolicy
from hetrl.loss.soft_policy import SoftPolicy


def test_by_hand():
    """Two options of probability 1/2, Q 1 and 3, alpha 1: ln(1/2) - 2."""
    log_prob = torch.tensor([[0.5, 0.5]]).log()
    out = ExpectedSoftPolicy().compute(torch.ones(1), log_prob, torch.tensor([[1.0, 3.0]]))["loss"]
    assert out.item() == pytest.approx(-math.log(2) - 2)


def test_it_is_the_mean_of_the_sampled_loss():
    logits, q, alpha = torch.randn(1, 4, dtype=torch.float64), torch.randn(1, 4).double(), torch.tensor([0.3]).double()
    log_prob = logits.log_softmax(-1)
    each = SoftPolicy().compute(alpha.expand(4), log_prob[0], q[0])["loss"]
    torch.testing.assert_close(ExpectedSoftPolicy().compute(alpha, log_prob, q)["loss"][0], log_prob[0].exp() @ each)


def test_its_minimum_is_the_softmax_of_q():
    """The gradient vanishes at pi = softmax(Q / alpha) and nowhere near it."""
    q, alpha = torch.randn(5, 3, dtype=torch.float64), torch.full((5,), 0.7, dtype=torch.float64)

    def slope(logits):
        logits = logits.requires_grad_()
        loss = ExpectedSoftPolicy().compute(alpha, logits.log_softmax(-1), q)["loss"]
        return torch.autograd.grad(loss.sum(), logits)[0]

    assert slope(q / 0.7).abs().max() < 1e-12
    assert slope(q / 0.7 + torch.tensor([0.5, 0.0, 0.0])).abs().max() > 1e-2


def test_an_option_without_probability_does_not_count():
    log_prob = torch.tensor([[0.0, -1e10]])
    out = ExpectedSoftPolicy().compute(torch.ones(1), log_prob, torch.tensor([[2.0, 1e3]]))["loss"]
    assert out.item() == -2
