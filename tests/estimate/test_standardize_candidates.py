import pytest
import torch

from hetrl.estimate.standardize_candidates import StandardizeCandidates
from hetrl.weight.qadv import Qadv


def run(q, **arguments):
    return StandardizeCandidates(**arguments).compute(torch.tensor(q, dtype=torch.float64))["q"]


def test_by_hand():
    """(1, 3): mean 2, deviation 1. (0, 0, 6): mean 2, deviation sqrt(24 / 3)."""
    torch.testing.assert_close(run([[1.0, 3.0]], eps=1e-12), torch.tensor([[-1.0, 1.0]]).double())
    expected = torch.tensor([[-2.0, -2.0, 4.0]]).double() / 8**0.5
    torch.testing.assert_close(run([[0.0, 0.0, 6.0]], eps=1e-12), expected)


@pytest.mark.parametrize("value", [0.1, -7.3, 1e8, 0.0])
@pytest.mark.parametrize("several", [1, 3, 7])
def test_equal_values_become_exactly_0(value, several):
    out = StandardizeCandidates().compute(torch.full((2, several), value))["q"]
    assert out.count_nonzero() == 0


def test_a_state_with_more_at_stake_weighs_no_more():
    q = torch.randn(16, 8, dtype=torch.float64)
    candidates = torch.randn(16, 8, 2, dtype=torch.float64)

    def weigh(q):
        return Qadv(keep=1).compute(candidates, StandardizeCandidates(eps=1e-12).compute(q)["q"])

    small, large = weigh(q), weigh(100 * q - 3)
    torch.testing.assert_close(small["weight"], large["weight"])
    assert torch.equal(small["chosen"], large["chosen"])
