import pytest
import torch

from hetrl.errors import RecipeError
from hetrl.order.greedy import Greedy


def rounds(*advantages):
    values = tuple(torch.tensor(each, dtype=torch.float64) for each in advantages)
    return Greedy().compute(torch.arange(len(values)), values)["round"].tolist()


def test_by_hand():
    """Mean sizes 1, 3 and 2, whatever the signs: the second agent first, then the third."""
    assert rounds([1.0, -1.0], [-6.0, 0.0], [2.0, 2.0]) == [2, 0, 1]


def test_ties_go_in_team_order():
    assert rounds([1.0], [-1.0], [2.0], [1.0]) == [1, 2, 0, 3]


def test_groups_are_refused():
    """Their advantages are agents', and nothing says whose."""
    with pytest.raises(RecipeError, match=r"^2 members have the values of 3 agents; write of: agent\.$"):
        Greedy().compute(torch.arange(2), (torch.ones(4),) * 3)
