import pytest
import torch

from hetrl.errors import RecipeError
from hetrl.loss.kl_penalty import KLPenalty


def test_by_hand():
    """beta 1 and KL 0.04 cost 0.04; with target 0.01 and rate 1 the ratio 4 is cut to 2, and beta becomes 2."""
    penalty = KLPenalty(coef=1.0, target=0.01, rate=1.0)
    out = penalty.compute(torch.full((3,), 0.04))
    torch.testing.assert_close(out["loss"], torch.full((3,), 0.04))
    assert out["coef"].tolist() == [1, 1, 1] and penalty.beta.item() == 2
    assert penalty.compute(torch.full((3,), 0.0))["coef"][0] == 2
    assert penalty.beta.item() == 1  # no KL at all halves it


def test_at_the_target_nothing_changes():
    penalty = KLPenalty(coef=0.3, target=0.02, rate=0.5)
    penalty.compute(torch.tensor([0.01, 0.03]))
    assert penalty.beta.item() == pytest.approx(0.3)


def test_inactive_rows_do_not_count_in_the_mean():
    """Active mean 0.02, twice the target, and not (0.02 + 5) / 2."""
    penalty = KLPenalty(coef=1.0, target=0.01, rate=0.5)
    penalty.compute(torch.tensor([0.015, 5.0]), torch.tensor([True, False]))
    assert penalty.beta.item() == pytest.approx(1.5**0.5)


def test_the_gradient_is_the_coefficient_before_it_moved():
    penalty = KLPenalty(coef=0.5, target=1e-3, rate=1.0)
    kl = torch.tensor([0.1, 0.2], requires_grad=True)
    out = penalty.compute(kl)
    assert torch.autograd.grad(out["loss"].sum(), kl)[0].tolist() == [0.5, 0.5]
    assert not out["kl"].requires_grad and not out["coef"].requires_grad


def test_bounds_and_a_fixed_coefficient():
    penalty = KLPenalty(coef=1.0, rate=1.0, smallest=0.75, largest=1.5)
    penalty.compute(torch.ones(1))
    assert penalty.beta.item() == 1.5
    penalty.compute(torch.zeros(1))
    assert penalty.beta.item() == 0.75
    for fixed in (KLPenalty(coef=2.0, target=None), KLPenalty(coef=0.0)):
        before = fixed.beta.item()
        fixed.compute(torch.ones(1))
        assert fixed.beta.item() == before


def test_the_coefficient_is_state():
    penalty, twin = KLPenalty(rate=1.0), KLPenalty(rate=1.0)
    penalty.compute(torch.ones(1))
    twin.load_state_dict(penalty.state_dict())
    assert twin.beta.item() == 2


@pytest.mark.parametrize(
    "arguments",
    [{"coef": -1.0}, {"target": 0.0}, {"rate": 1.5}, {"largest": 0.0}, {"smallest": 2.0}, {"largest": 0.5}],
)
def test_refuses(arguments):
    with pytest.raises(RecipeError, match=r"^(KLPenalty: |coef = 1.0 must lie)"):
        KLPenalty(**arguments)
