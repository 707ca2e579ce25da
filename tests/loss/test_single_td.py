import pytest
import torch
from jaxtyping import TypeCheckError

from hetrl.errors import RecipeError
from hetrl.loss.single_td import SingleTD
from hetrl.loss.td import TD


def test_the_docstrings_numbers():
    """(1 - 3)^2 = 4; with delta 0.5 it is 0.5 (2 - 0.25) = 0.875."""
    q, target = torch.tensor([1.0]), torch.tensor([3.0])
    assert SingleTD().compute(q, target)["loss"].tolist() == [4.0]
    assert SingleTD(delta=0.5).compute(q, target)["loss"].tolist() == [0.875]
    assert SingleTD(delta=0.5, coef=2.0).compute(q, target)["loss"].tolist() == [1.75]


@pytest.mark.parametrize("values", [{}, {"delta": 0.7}, {"coef": 0.5}])
def test_is_the_loss_of_an_ensemble_of_one(values):
    q, target = torch.randn(3, 5), torch.randn(3, 5)
    found, wanted = SingleTD(**values).compute(q, target), TD(**values).compute(q.unsqueeze(0), target)
    torch.testing.assert_close(found["loss"], wanted["loss"])


def test_refuses_an_ensemble_or_a_broadcast():
    for q in (torch.zeros(2, 3), torch.zeros(3, 1)):
        with pytest.raises(TypeCheckError):
            SingleTD().compute(q, torch.zeros(3))


@pytest.mark.parametrize("values", [{"delta": 0.0}, {"coef": -1.0}])
def test_refuses_what_is_out_of_range(values):
    with pytest.raises(RecipeError, match=f"^SingleTD: {next(iter(values))} = "):
        SingleTD(**values)
