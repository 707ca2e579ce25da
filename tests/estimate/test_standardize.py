import pytest
import torch
from jaxtyping import TypeCheckError

from hetrl.errors import RecipeError
from hetrl.estimate.standardize import Standardize

EXACT = 1e-30
"""An eps that makes no difference in float64."""


def standardized(numbers, active=None, eps=EXACT):
    mask = None if active is None else torch.tensor(active)
    return Standardize(eps=eps).compute(torch.tensor(numbers, dtype=torch.float64), mask)["advantage"].tolist()


def test_by_hand():
    """1 and 3: mean 2, population deviation 1, so -1 and 1 (a sample's deviation would give 0.707)."""
    assert standardized([1.0, 3.0]) == [-1.0, 1.0]


def test_eps_is_added_to_the_deviation():
    """1 / (1 + 1) = 0.5."""
    assert standardized([1.0, 3.0], eps=1.0) == [-0.5, 0.5]


def test_statistics_are_of_active_rows_and_hold_for_all():
    """Of 1 3 (100): mean 2, deviation 1, so -1 1 98."""
    assert standardized([1.0, 3.0, 100.0], [True, True, False]) == [-1.0, 1.0, 98.0]


def test_all_active_is_no_mask():
    assert standardized([1.0, 2.0, 6.0], [True] * 3) == pytest.approx(standardized([1.0, 2.0, 6.0]), rel=1e-14)


def test_equal_advantages_become_0():
    assert standardized([2.0, 2.0], eps=1e-5) == [0.0, 0.0]


def test_is_over_all_dimensions():
    assert standardized([[1.0, 1.0], [3.0, 3.0]]) == [[-1.0, -1.0], [1.0, 1.0]]


def test_nobody_active_leaves_no_nan():
    """An agent dead in the whole batch has no statistics; its rows are masked later, and 0 * NaN is NaN."""
    found = standardized([1.0, 3.0], [False, False], eps=1e-5)
    assert all(number == number for number in found)


def test_refuses_to_broadcast():
    with pytest.raises(TypeCheckError):
        Standardize().compute(torch.zeros(3), torch.ones(3, 1, dtype=torch.bool))


def test_refuses_eps_0():
    with pytest.raises(RecipeError, match=r"^Standardize: eps = 0.0"):
        Standardize(eps=0.0)
