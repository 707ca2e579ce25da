import math

import pytest
import torch

from hetrl.estimate.standardize import Standardize
from hetrl.estimate.standardize_jointly import StandardizeJointly


def test_by_hand():
    """(1, 3) and (5, 7): mean 4, variance (9 + 1 + 1 + 9) / 4 = 5."""
    one, other = torch.tensor([1.0, 3.0]), torch.tensor([5.0, 7.0])
    component = StandardizeJointly(eps=1e-12)
    found = [component.compute(each, (one, other))["advantage"] for each in (one, other)]
    torch.testing.assert_close(found[0], torch.tensor([-3.0, -1.0]) / math.sqrt(5))
    torch.testing.assert_close(found[1], torch.tensor([1.0, 3.0]) / math.sqrt(5))


def test_alone_it_is_standardize():
    own, active = torch.randn(4, 5), torch.rand(4, 5) > 0.3
    jointly = StandardizeJointly().compute(own, (own,), (active,))["advantage"]
    torch.testing.assert_close(jointly, Standardize().compute(own, active)["advantage"])


def test_only_active_rows_count_and_all_are_scaled():
    """Of (0, 2) and (100, 4) the active 0, 2, 4 have mean 2 and variance 8/3."""
    one, other = torch.tensor([0.0, 2.0]), torch.tensor([100.0, 4.0])
    active = (torch.tensor([True, True]), torch.tensor([False, True]))
    found = StandardizeJointly(eps=1e-12).compute(other, (one, other), active)["advantage"]
    torch.testing.assert_close(found, torch.tensor([98.0, 2.0]) / math.sqrt(8 / 3))


def test_agents_keep_their_proportions():
    """What has ten times the spread keeps it; standardised alone, both would have spread 1."""
    small = torch.randn(1000)
    large = 10 * small
    found = [StandardizeJointly().compute(each, (small, large))["advantage"].std() for each in (small, large)]
    assert (found[1] / found[0]).item() == pytest.approx(10, rel=1e-4)
