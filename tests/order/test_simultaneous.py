import torch

from hetrl.order.simultaneous import Simultaneous


def test_everyone_is_in_round_0():
    assert Simultaneous().compute(torch.arange(3))["round"].tolist() == [0, 0, 0]
