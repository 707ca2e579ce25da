import pytest
import torch

import hetrl
from hetrl.errors import RecipeError


def test_by_hand():
    """0.5 times 0.2 times 3 is 0.3."""
    loss = hetrl.component("loss/mode_covering", coef=0.5)
    found = loss.compute(error=torch.tensor([3.0, -1.0]), alpha=torch.tensor([0.2, 0.4]))
    torch.testing.assert_close(found["loss"], torch.tensor([0.3, -0.2]))


def test_its_coefficient_may_follow_a_schedule():
    hetrl.check(hetrl.load("haqo_soft", "update.actors.steps.mode_covering.coef={linear: [1, 0]}"))
    with pytest.raises(RecipeError, match="coef = -1"):
        hetrl.component("loss/mode_covering", coef=-1.0)
