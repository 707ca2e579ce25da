import math

import pytest
import torch

from hetrl.loss.clipped_joint_surrogate import ClippedJointSurrogate
from hetrl.loss.clipped_surrogate import ClippedSurrogate


def loss(rho, factor, advantage, scale=None):
    """Return the loss and its gradient in the log-prob."""
    log_prob = torch.tensor([math.log(rho)], dtype=torch.float64, requires_grad=True)
    others = [torch.tensor([float(x)], dtype=torch.float64) for x in (0, advantage, factor)]
    share = None if scale is None else torch.tensor([scale], dtype=torch.float64)
    out = ClippedJointSurrogate().compute(log_prob, *others, share)["loss"]
    return out.item(), torch.autograd.grad(out.sum(), log_prob)[0].item()


@pytest.mark.parametrize(
    ("given", "wanted", "slope"),
    [
        ((1.5, 1.5, 1), -1.2, 0.0),  # l = 1.5 * 1.1 = 1.65, clipped at 1.2
        ((1.5, 1.5, -1), 1.65, 1.65),
        ((1.5, 1.5, 1, 0.5), -1.1, 0.0),  # half the clip: l = 1.5 * 1.05, clipped at 1.1
        ((1.0, 1.5, 2), -2.2, -2.2),  # within: l = 1.1, and the gradient goes on
        ((0.5, 0.2, -1), 0.8, 0.0),  # l = 0.5 * 0.9
    ],
)
def test_by_hand(given, wanted, slope):
    assert loss(*given) == (pytest.approx(wanted), pytest.approx(slope))


def test_what_those_before_have_used_up_is_not_the_agents():
    """F = 1.1 leaves 1.2 / 1.1 of the way up: a ratio of 1.1 is clipped, which it is not alone."""
    assert loss(1.1, 1.5, 1)[1] == 0.0
    assert loss(1.1, 1.0, 1)[1] == pytest.approx(-1.1)


def test_of_the_first_in_turn_it_is_the_clipped_surrogate():
    generator = torch.Generator().manual_seed(0)
    new, old, advantage = torch.randn(3, 200, generator=generator, dtype=torch.float64)
    new.requires_grad_()
    both = [
        cls().compute(new, old, advantage, torch.ones_like(old)) for cls in (ClippedJointSurrogate, ClippedSurrogate)
    ]
    torch.testing.assert_close(both[0]["loss"], both[1]["loss"], rtol=0, atol=1e-12)
    assert torch.equal(both[0]["clipped"], both[1]["clipped"])
    slopes = [torch.autograd.grad(each["loss"].sum(), new)[0] for each in both]
    torch.testing.assert_close(*slopes, rtol=0, atol=1e-12)
