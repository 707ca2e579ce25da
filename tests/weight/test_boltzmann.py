import math

import pytest
import torch

import hetrl
from hetrl.errors import RecipeError
from hetrl.weight.boltzmann import Boltzmann


def test_by_hand():
    """exp(0) and exp(ln 3) are 1 and 3; at half the temperature 1 and 9. 1 / (0.25^2 + 0.75^2) = 1.6 count."""
    q = torch.tensor([[0.0, math.log(3)]])
    out = Boltzmann(alpha=1.0).compute(q)
    torch.testing.assert_close(out["weight"], torch.tensor([[0.25, 0.75]]))
    torch.testing.assert_close(out["effective"], torch.tensor([1.6]))
    torch.testing.assert_close(Boltzmann(alpha=0.5).compute(q)["weight"], torch.tensor([[0.1, 0.9]]))


def test_the_agents_own_temperature():
    """Each sample's, where none is given."""
    q = torch.tensor([[0.0, math.log(3)]] * 2)
    found = Boltzmann().compute(q, torch.tensor([1.0, 0.5]))["weight"]
    torch.testing.assert_close(found, torch.tensor([[0.25, 0.75], [0.1, 0.9]]))
    assert Boltzmann.required({}) == {"own_alpha"} and Boltzmann.required({"alpha": 0.1}) == frozenset()


def test_what_a_candidate_counts_before():
    """Weights 1 : 3 by value and 1 : 2 before it are 1 : 6."""
    q, prior = torch.tensor([[0.0, math.log(3)]]), torch.tensor([[0.0, math.log(2)]])
    found = Boltzmann(alpha=1.0).compute(q, prior=prior)["weight"]
    torch.testing.assert_close(found, torch.tensor([[1 / 7, 6 / 7]]))


@pytest.mark.parametrize("alpha", [1e-4, 0.3, 50.0])
def test_a_constant_in_q_changes_nothing(alpha):
    """Exactly, where adding it rounds nothing; and far values are no trouble."""
    q = torch.randint(-8, 8, (20, 16)).double()
    weight = Boltzmann(alpha=alpha)
    found = weight.compute(q)["weight"]
    for constant in (2.0**20, -(2.0**20)):
        assert torch.equal(weight.compute(q + constant)["weight"], found)
    torch.testing.assert_close(found.sum(-1), torch.ones(20).double())
    assert (found >= 0).all() and found.isfinite().all()


def test_the_temperature_may_follow_a_schedule_and_is_above_0():
    tree = {"use": "weight/boltzmann", "alpha": {"linear": [0.1, 0.01]}}
    recipe = hetrl.load("haqo", "update.actors.prepare=[{net: actor.around}, {net: q.candidates}]").tree
    recipe["update"][1]["prepare"] += [tree, {"net": "actor.implied_noise"}]
    recipe["update"][1]["steps"] = [{"net": "actor.predict"}, {"use": "loss/noise_matching"}]
    recipe["nets"]["actor"].pop("n_sample_steps")
    hetrl.check(hetrl.load(recipe))
    with pytest.raises(RecipeError, match=r"alpha = 0"):
        Boltzmann(alpha=0.0)
