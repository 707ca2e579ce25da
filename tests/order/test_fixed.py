import pytest
import torch

from hetrl.errors import RecipeError
from hetrl.order.fixed import Fixed


def test_is_team_order_by_default():
    assert Fixed().compute(torch.arange(3))["round"].tolist() == [0, 1, 2]


def test_by_hand():
    """Order 2, 0, 1: member 2 is in round 0, member 0 in round 1, member 1 in round 2."""
    assert Fixed(order=[2, 0, 1]).compute(torch.arange(3))["round"].tolist() == [1, 2, 0]


@pytest.mark.parametrize("order", [[0, 1], [0, 1, 1], [1, 2, 3], [0, 1, 2, 3], []])
def test_refuses_what_is_no_permutation(order):
    with pytest.raises(RecipeError, match=rf"order \[{', '.join(map(str, order))}\] is no permutation of 0"):
        Fixed(order=order).compute(torch.arange(3))


@pytest.mark.parametrize("order", ["210", [0.0, 1.0], {"0": 1}])
def test_refuses_what_is_no_list_of_indices(order):
    with pytest.raises(RecipeError, match=r"^Fixed: order"):
        Fixed(order=order)
