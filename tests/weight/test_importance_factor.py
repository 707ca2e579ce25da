import math

import pytest
import torch
from jaxtyping import TypeCheckError

from hetrl.weight.importance_factor import ImportanceFactor


def test_by_hand():
    """2 * 1.5 = 3; and a policy that did not move leaves the factor, 0.7."""
    new = torch.tensor([math.log(1.5), -1.0])
    factor = ImportanceFactor().compute(new, torch.tensor([0.0, -1.0]), torch.tensor([2.0, 0.7]))["factor"]
    torch.testing.assert_close(factor, torch.tensor([3.0, 0.7]))


def test_telescopes_over_agents():
    """Ratios 2, 0.5 and 3 in turn: 1 * 2 * 0.5 * 3 = 3."""
    factor = torch.ones(1)
    for each in (2.0, 0.5, 3.0):
        factor = ImportanceFactor().compute(torch.tensor([math.log(each)]), torch.zeros(1), factor)["factor"]
    torch.testing.assert_close(factor, torch.tensor([3.0]))


def test_refuses_to_broadcast():
    with pytest.raises(TypeCheckError):
        ImportanceFactor().compute(torch.zeros(3), torch.zeros(3), torch.ones(3, 1))


def test_who_is_out_changes_nothing_when_told_so():
    """The second row's agent is out: its ratio of e stays away with ``skip``, and counts without."""
    log_prob, old, factor = torch.tensor([math.log(1.5), 1.0]), torch.zeros(2), torch.tensor([2.0, 2.0])
    active = torch.tensor([True, False])
    skipped = ImportanceFactor(inactive="skip").compute(log_prob, old, factor, active)["factor"]
    torch.testing.assert_close(skipped, torch.tensor([3.0, 2.0]))
    counted = ImportanceFactor().compute(log_prob, old, factor, active)["factor"]
    torch.testing.assert_close(counted, torch.tensor([3.0, 2 * math.e]))
