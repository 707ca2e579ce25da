import pytest
import torch

from hetrl.errors import RecipeError
from hetrl.loss.entropy_bonus import EntropyBonus


def test_by_hand():
    """2 nat at 0.01 is -0.02; a Gaussian's entropy may be negative, -1 gives 0.01."""
    loss = EntropyBonus(coef=0.01).compute(torch.tensor([2.0, -1.0]))["loss"]
    torch.testing.assert_close(loss, torch.tensor([-0.02, 0.01]))


def test_pushes_entropy_up():
    entropy = torch.tensor([2.0], requires_grad=True)
    EntropyBonus(coef=0.5).compute(entropy)["loss"].sum().backward()
    assert entropy.grad.tolist() == [-0.5]


def test_may_be_off():
    assert EntropyBonus(coef=0.0).compute(torch.tensor([2.0]))["loss"].item() == 0


def test_refuses_a_penalty():
    with pytest.raises(RecipeError, match=r"^EntropyBonus: coef = -0.1: "):
        EntropyBonus(coef=-0.1)
