import torch

from hetrl.estimate.sum_of_utilities import SumOfUtilities


def test_the_docstrings_numbers():
    """1 + 2 + 4 = 7; without the second 5."""
    utility = tuple(torch.tensor([each]) for each in (1.0, 2.0, 4.0))
    assert SumOfUtilities().compute(utility)["q"].tolist() == [7.0]
    active = tuple(torch.tensor([each]) for each in (True, False, True))
    assert SumOfUtilities().compute(utility, active)["q"].tolist() == [5.0]


def test_each_utility_has_a_slope_of_1():
    utility = [torch.randn(4, requires_grad=True) for _ in range(3)]
    slopes = torch.autograd.grad(SumOfUtilities().compute(tuple(utility))["q"].sum(), utility)
    assert all((slope == 1).all() for slope in slopes)
