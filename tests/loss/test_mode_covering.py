import pytest
import torch

import hetrl
from hetrl.errors import RecipeError


def test_by_hand():
    """0.5 times 0.2 times 3 is 0.3."""
    loss = hetrl.component("loss/mode_covering", coef=0.5)
    found = loss.compute(error=torch.tensor([3.0, -1.0]), alpha=torch.tensor([0.2, 0.4]))
    torch.testing.assert_close(found["loss"], torch.tensor([0.3, -0.2]))


AROUND = "{net: actor.around, n: 4}, {net: q.candidates}, {use: weight/boltzmann}"
COVER = "{net: actor.backward_error}, {use: loss/mode_covering, coef: {linear: [10, 1]}}"
REST = "{net: actor.sample}, {net: q.min, reads: {action: agents.proposal}}, {use: loss/soft_policy}"


def test_it_stands_beside_the_other_direction_in_a_recipe():
    """Checked and linked; its coefficient follows a schedule, and is 0 or more."""
    words = f"update.actors.prepare=[{AROUND}]", f"update.actors.steps=[{COVER}, {REST}]"
    hetrl.check(hetrl.load("chain_hasac", *words))
    with pytest.raises(RecipeError, match="coef = -1"):
        hetrl.component("loss/mode_covering", coef=-1.0)
