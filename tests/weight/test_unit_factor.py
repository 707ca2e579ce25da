import torch

from hetrl.weight.unit_factor import UnitFactor


def test_is_1_for_every_sample():
    factor = UnitFactor().compute(torch.tensor([[2.0, -3.0, float("nan")]], dtype=torch.float64))["factor"]
    assert factor.tolist() == [[1.0, 1.0, 1.0]] and factor.dtype == torch.float64
