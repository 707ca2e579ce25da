import pytest
import torch
from jaxtyping import TypeCheckError

from hetrl.loss.weighted_denoising import WeightedDenoising


def test_the_docstrings_numbers():
    """(0 * 5 + 3 * 2) / 2 = 3; and (1 * 1 + 1 * 3) / 2 = 2."""
    out = WeightedDenoising().compute(torch.tensor([[5.0, 2.0], [1.0, 3.0]]), torch.tensor([[0.0, 3.0], [1.0, 1.0]]))
    assert out["loss"].tolist() == [3, 2] and out["weight"].tolist() == [1.5, 1]


def test_its_slope_is_the_weight():
    error, weight = torch.rand(4, 3, requires_grad=True), torch.rand(4, 3)
    WeightedDenoising().compute(error, weight)["loss"].sum().backward()
    torch.testing.assert_close(error.grad, weight / 3)


def test_without_weights_neither_loss_nor_gradient():
    error = torch.rand(4, 3, requires_grad=True)
    loss = WeightedDenoising().compute(error, torch.zeros(4, 3))["loss"]
    assert loss.count_nonzero() == 0
    assert torch.autograd.grad(loss.sum(), error)[0].count_nonzero() == 0


def test_refuses_to_broadcast():
    with pytest.raises(TypeCheckError):
        WeightedDenoising().compute(torch.zeros(4, 3), torch.zeros(4, 1))
