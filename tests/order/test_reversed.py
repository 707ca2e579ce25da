import torch

from hetrl.order.reversed import Reversed


def test_the_last_member_is_first():
    """Member 0 of 3 is in round 2, member 2 in round 0."""
    assert Reversed().compute(torch.arange(3))["round"].tolist() == [2, 1, 0]
