import pytest
import torch

import hetrl
from hetrl.errors import RecipeError
from hetrl.loss.noise_drift import NoiseDrift

SLOW = "{net: actor.target.predict, writes: {noise: agent.old_predicted_noise}}"
OWN = "{net: actor.predict, writes: {noise: agent.old_predicted_noise}}"


def test_by_hand():
    """0.5 (1 + 4) = 2.5, and 0 where nothing has moved."""
    predicted, old = torch.tensor([[1.0, 0.0], [0.5, 2.0]]), torch.tensor([[0.0, 2.0], [0.5, 2.0]])
    found = NoiseDrift(coef=0.5).compute(predicted, old)
    assert found["loss"].tolist() == [2.5, 0] and found["drift"].tolist() == [5, 0]


def test_where_nothing_has_moved_it_pulls_nowhere():
    old = torch.randn(5, 2)
    predicted = old.clone().requires_grad_()
    NoiseDrift().compute(predicted, old)["loss"].sum().backward()
    assert predicted.grad.abs().max() == 0


def words(old, *more):
    """Return overrides of ``haqo`` that make it weighted noise estimation with a drift."""
    around = "{net: actor.around, n: 4}, {net: q.candidates}, {use: weight/boltzmann, alpha: 0.05}"
    return (
        f"update.actors.prepare=[{around}, {{net: actor.implied_noise}}, {old}]",
        "update.actors.steps=[{net: actor.predict}, {use: loss/noise_matching}, {use: loss/noise_drift, coef: 0.1}]",
        *more,
    )


def test_one_line_of_a_recipe():
    """Against a slow copy, or against the policy before the turn where a turn has several steps."""
    hetrl.check(hetrl.load("haqo", *words(SLOW)))
    hetrl.check(hetrl.load("haqo", *words(OWN, "update.actors.epochs=2")))
    with pytest.raises(RecipeError, match=r"noise_drift. compares 'actor' .* epochs: 2, or"):
        hetrl.check(hetrl.load("haqo", *words(OWN)))
