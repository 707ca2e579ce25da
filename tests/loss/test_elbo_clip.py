import math

import pytest
import torch

from hetrl.errors import RecipeError
from hetrl.loss.elbo_clip import ElboClip


def compute(apart, weight, **arguments):
    """Return the loss of one candidate whose error has fallen by ``apart``, and the slope along its error."""
    error = torch.tensor([[2.0 - apart]], dtype=torch.float64, requires_grad=True)
    weight = torch.tensor([[weight]], dtype=torch.float64)
    out = ElboClip(**arguments).compute(error, torch.full_like(error, 2.0).detach(), weight)
    (slope,) = torch.autograd.grad(out["loss"].sum(), error)
    return out["loss"].item(), slope.item(), out["clipped"].item()


def test_the_docstrings_numbers():
    """e^0.5 = 1.6487: held at 1.2 by the clip with weight 2, free with weight -2."""
    assert compute(0.5, 2.0) == pytest.approx((-2.4, 0.0, 1.0))
    assert compute(0.5, -2.0)[0] == pytest.approx(2 * math.exp(0.5))


@pytest.mark.parametrize("weight", [-2.0, -1e-3, 0.0, 0.7, 3.0])
@pytest.mark.parametrize("apart", [-3.0, -0.3, -0.1, 0.0, 0.1, 0.3, 3.0])
@pytest.mark.parametrize("clip", [0.05, 0.2, 1.0])
def test_is_the_clipped_surrogate_of_the_ratio(weight, apart, clip):
    """-min(rho w, clip(rho) w), term by term, and its slope along the error: rho w where the free term is less."""
    loss, slope, clipped = compute(apart, weight, clip=clip)
    rho = math.exp(apart)
    free, held = rho * weight, min(max(rho, 1 - clip), 1 + clip) * weight
    assert loss == pytest.approx(-min(free, held), abs=1e-12)
    inside = 1 - clip <= rho <= 1 + clip
    assert slope == pytest.approx(free if inside or free < held else 0.0, abs=1e-12)
    assert clipped == (not inside)


def test_equal_errors_give_a_ratio_of_exactly_1():
    error = 100 * torch.rand(50, 4)
    out = ElboClip().compute(error, error.clone(), torch.ones(50, 4))
    assert (out["loss"] == -1).all() and out["clipped"].count_nonzero() == 0


def test_without_weights_neither_loss_nor_gradient_however_far_apart():
    """e^400 is no float, and 0 times it would be no number."""
    error = torch.tensor([[0.0, 500.0]], requires_grad=True)
    out = ElboClip().compute(error, torch.tensor([[400.0, 1.0]]), torch.zeros(1, 2))
    assert out["loss"].item() == 0
    assert torch.autograd.grad(out["loss"].sum(), error)[0].tolist() == [[0, 0]]


@pytest.mark.parametrize("clip", [0.0, -0.1, 1.1])
def test_refuses(clip):
    with pytest.raises(RecipeError, match=r"^ElboClip: clip"):
        ElboClip(clip=clip)
