import math

import pytest
import torch
from jaxtyping import TypeCheckError

from hetrl.errors import RecipeError
from hetrl.loss.clipped_surrogate import ClippedSurrogate


def surrogate(rho, factor, advantage, clip=0.2):
    log_prob = torch.tensor([math.log(rho)], dtype=torch.float64, requires_grad=True)
    others = (torch.tensor([float(x)], dtype=torch.float64) for x in (0, advantage, factor))
    out = ClippedSurrogate(clip=clip).compute(log_prob, *others)
    (gradient,) = torch.autograd.grad(out["loss"].sum(), log_prob)
    return out["loss"].item(), gradient.item(), out["clipped"].item()


@pytest.mark.parametrize(
    ("rho", "factor", "advantage", "loss", "gradient", "clipped"),
    [
        (1.5, 2, 1, -2.4, 0.0, 1.0),
        (1.5, 2, -1, 3.0, 3.0, 1.0),
        (0.5, 1, 1, -0.5, -0.5, 1.0),
        (0.5, 1, -1, 0.8, 0.0, 1.0),
        (1.1, 2, 1, -2.2, -2.2, 0.0),
        (1.0, 2, 3, -6.0, -6.0, 0.0),
    ],
)
def test_by_hand(rho, factor, advantage, loss, gradient, clipped):
    """clip 0.2. With A > 0 a ratio above 1.2 stops pushing: -1.2 F A = -2.4, no gradient; with A < 0 it does not:
    1.5 * 2 = 3. Below 0.8 it is the other way round: -0.5, and 0.8. The gradient in log_prob is -rho F A or 0.
    """
    assert surrogate(rho, factor, advantage) == pytest.approx((loss, gradient, clipped), abs=1e-12)


def test_wider_clip():
    """rho 1.5 is inside a clip of 0.6, and -1.5 is the loss."""
    assert surrogate(1.5, 1, 1, clip=0.6) == pytest.approx((-1.5, -1.5, 0.0))


def test_the_fraction_clipped_has_no_gradient():
    out = ClippedSurrogate().compute(*(torch.zeros(2, requires_grad=True) for _ in range(4)))
    assert not out["clipped"].requires_grad


@pytest.mark.parametrize("role", range(4))
def test_refuses_to_broadcast(role):
    roles = [torch.zeros(3) for _ in range(4)]
    roles[role] = torch.zeros(3, 1)
    with pytest.raises(TypeCheckError):
        ClippedSurrogate().compute(*roles)


@pytest.mark.parametrize("clip", [0.0, -0.2, "0.2", None, True, math.inf, math.nan])
def test_refuses_a_clip_that_is_none(clip):
    with pytest.raises(RecipeError, match=r"^ClippedSurrogate: clip"):
        ClippedSurrogate(clip=clip)


def test_refuses_an_unknown_argument():
    with pytest.raises(RecipeError, match=r"ClippedSurrogate has no argument 'clipping'. Nearest: 'clip'."):
        ClippedSurrogate(clipping=0.2)
