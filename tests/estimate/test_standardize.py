import pytest
import torch

from hetrl.errors import RecipeError
from hetrl.estimate.standardize import Standardize

EXACT = 1e-30
"""An eps that makes no difference in float64."""


def standardized(numbers, eps=EXACT):
    return Standardize(eps=eps).compute(torch.tensor(numbers, dtype=torch.float64))["advantage"].tolist()


def test_by_hand():
    """1 and 3: mean 2, population deviation 1, so -1 and 1 (a sample's deviation would give 0.707)."""
    assert standardized([1.0, 3.0]) == [-1.0, 1.0]


def test_eps_is_added_to_the_deviation():
    """1 / (1 + 1) = 0.5."""
    assert standardized([1.0, 3.0], eps=1.0) == [-0.5, 0.5]


def test_equal_advantages_become_0():
    assert standardized([2.0, 2.0], eps=1e-5) == [0.0, 0.0]


def test_is_over_all_dimensions():
    assert standardized([[1.0, 1.0], [3.0, 3.0]]) == [[-1.0, -1.0], [1.0, 1.0]]


def test_refuses_eps_0():
    with pytest.raises(RecipeError, match=r"^Standardize: eps = 0.0"):
        Standardize(eps=0.0)
