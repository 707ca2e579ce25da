import math

import pytest
import torch
from jaxtyping import TypeCheckError

from hetrl.loss.clipped_surrogate import ClippedSurrogate
from hetrl.loss.surrogate import Surrogate


@pytest.mark.parametrize(
    ("rho", "factor", "advantage", "loss"), [(1.5, 2, 1, -3.0), (0.5, 1, -1, 0.5), (1.0, 0.5, 4, -2.0)]
)
def test_by_hand(rho, factor, advantage, loss):
    """-rho F A, and so is its gradient in log_prob: 1.5 * 2 * 1 = 3."""
    log_prob = torch.tensor([math.log(rho)], dtype=torch.float64, requires_grad=True)
    others = (torch.tensor([float(x)], dtype=torch.float64) for x in (0, advantage, factor))
    out = Surrogate().compute(log_prob, *others)["loss"]
    (gradient,) = torch.autograd.grad(out.sum(), log_prob)
    assert (out.item(), gradient.item()) == pytest.approx((loss, loss))


def test_inside_the_clip_both_surrogates_are_one():
    old, advantage, factor = torch.randn(50), torch.randn(50), torch.rand(50) + 0.5
    new = (old + 0.1 * torch.rand(50) - 0.05).requires_grad_()
    plain, clipped = Surrogate().compute(new, old, advantage, factor), ClippedSurrogate().compute(
        new, old, advantage, factor
    )  # fmt: skip
    torch.testing.assert_close(plain["loss"], clipped["loss"])
    slopes = [torch.autograd.grad(each["loss"].sum(), new)[0] for each in (plain, clipped)]
    torch.testing.assert_close(*slopes)


@pytest.mark.parametrize("role", range(4))
def test_refuses_to_broadcast(role):
    roles = [torch.zeros(3) for _ in range(4)]
    roles[role] = torch.zeros(3, 1)
    with pytest.raises(TypeCheckError):
        Surrogate().compute(*roles)
