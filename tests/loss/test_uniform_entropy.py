import pytest
import torch

from hetrl.errors import RecipeError
from hetrl.loss.uniform_entropy import UniformEntropy

ERROR, WEIGHT = torch.tensor([[2.0, 4.0]]), torch.tensor([[0.0, 3.0]])


def test_the_docstrings_numbers():
    """0.02 * 3 = 0.06, and times the mean weight 1.5, 0.09."""
    assert UniformEntropy(coef=0.02).compute(ERROR)["loss"].item() == pytest.approx(0.06)
    assert UniformEntropy(coef=0.02, scale="weight").compute(ERROR, WEIGHT)["loss"].item() == pytest.approx(0.09)


def test_a_weight_that_happens_to_be_there_does_not_scale_it():
    assert UniformEntropy(coef=0.02).compute(ERROR, WEIGHT)["loss"].item() == pytest.approx(0.06)


def test_scaled_it_stops_where_the_weights_do():
    error = torch.rand(3, 5, requires_grad=True)
    loss = UniformEntropy(scale="weight").compute(error, torch.zeros(3, 1))["loss"]
    assert loss.count_nonzero() == 0 and torch.autograd.grad(loss.sum(), error)[0].count_nonzero() == 0


def test_the_weight_is_needed_where_it_scales():
    assert UniformEntropy.required({"scale": "weight"}) == {"weight"} and not UniformEntropy.required({})


@pytest.mark.parametrize("arguments", [{"coef": -0.1}, {"scale": "weights"}])
def test_refuses(arguments):
    with pytest.raises(RecipeError, match=r"^UniformEntropy: "):
        UniformEntropy(**arguments)
