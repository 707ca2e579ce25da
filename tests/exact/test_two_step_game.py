"""What a sum of utilities cannot say, and a monotone mixture can: Rashid et al. 2018, section 6.1, table 1."""

import pytest
import torch
from exact.two_step_game import ADDITIVE, GAMMA, RISKY, SAFE, learned, tables, trained


def test_the_nearest_sum_by_hand():
    """Of 0 1 1 8 the mean is 2.5, and the means of rows and columns are 0.5 and 4.5: 2 below and above."""
    risky = torch.tensor(RISKY)
    rows, columns = risky.mean(1, keepdim=True), risky.mean(0, keepdim=True)
    wanted = rows + columns - risky.mean()
    assert wanted.tolist() == ADDITIVE


def test_a_sum_ends_at_the_nearest_one_and_plays_for_7():
    """The risky game then seems worth 6.5 at most, less than 7; published are 6.94 and 6.36 at the start."""
    learner = learned(None, updates=250, rate=0.05)
    start = [[GAMMA * 7.0] * 2, [GAMMA * 6.5] * 2]
    wanted = torch.tensor([start, SAFE, ADDITIVE], dtype=torch.float64)
    torch.testing.assert_close(learner.tables(), wanted, atol=0.01, rtol=0.0)
    assert learner.play() == 7.0


def test_a_monotone_mixture_learns_every_payoff_and_plays_for_8():
    learner = learned([8], updates=400, rate=0.01)
    start = [[GAMMA * 7.0] * 2, [GAMMA * 8.0] * 2]
    wanted = torch.tensor([start, SAFE, RISKY], dtype=torch.float64)
    torch.testing.assert_close(learner.tables(), wanted, atol=0.05, rtol=0.0)
    assert learner.play() == 8.0


@pytest.mark.slow
def test_a_weighted_sum_is_a_sum_still():
    """Without mixing layers the weights are the state's, and the nearest sum is the same."""
    learner = learned([], seed=1, updates=1500, rate=0.01)
    torch.testing.assert_close(learner.tables()[2], torch.tensor(ADDITIVE, dtype=torch.float64), atol=0.01, rtol=0.0)
    assert learner.play() == 7.0


@pytest.mark.parametrize("state", [1, 2])
def test_the_tables_pay_what_is_published(state):
    _, reward, _ = tables()
    assert reward[state].tolist() == (SAFE, RISKY)[state - 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "phase", "more", "earned"),
    [
        ("vdn", "utilities", [], 7.0),
        ("qmix", "values", ["nets.mixer.hidden=[8]", "nets.mixer.hyper=[16]", "nets.mixer.target.tau=0.05"], 8.0),
    ],
)
def test_the_recipes_do_the_same_from_what_they_collect(recipe, phase, more, earned):
    changes = ["nets.utility.target.tau=0.05", f"update.{phase}.optim.lr=1e-2", *more]
    return_, utility = trained(recipe, 0, *changes)
    assert return_ == earned
    if recipe == "vdn":
        total = utility[:, 0].unsqueeze(-1) + utility[:, 1].unsqueeze(-2)
        wanted = torch.tensor([[[GAMMA * 7.0] * 2, [GAMMA * 6.5] * 2], SAFE, ADDITIVE])
        torch.testing.assert_close(total, wanted, atol=0.3, rtol=0.0)
