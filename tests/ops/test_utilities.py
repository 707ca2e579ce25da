import torch

from hetrl.ops.utilities import present


def test_who_is_out_counts_0():
    utility = torch.tensor([1.0, 2.0]), torch.tensor([float("nan"), 4.0])
    active = torch.tensor([True, False]), torch.tensor([False, True])
    assert [each.tolist() for each in present(utility, active)] == [[1.0, 0.0], [0.0, 4.0]]


def test_everybody_is_there_where_nothing_says_otherwise():
    utility = torch.randn(3), torch.randn(3)
    assert all(map(torch.equal, present(utility, None), utility))
