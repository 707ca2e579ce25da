import pytest
import torch
from jaxtyping import TypeCheckError

from hetrl.ops.huber import huber


@pytest.mark.parametrize(
    ("error", "expected"), [(0.5, 0.125), (1.0, 0.5), (3.0, 2.5), (-0.5, 0.125), (-3.0, 2.5), (0, 0)]
)
def test_is_quadratic_and_then_linear(error, expected):
    """delta 1: 0.5^2 / 2 = 0.125, 1 / 2 = 0.5 at the bend, and 1 (3 - 1/2) = 2.5 beyond, on both sides."""
    target = torch.tensor([7.0])
    assert huber(target - error, target, 1.0).tolist() == [expected]


def test_without_delta_is_half_the_square():
    """100^2 / 2 = 5000."""
    assert huber(torch.zeros(2), torch.tensor([100.0, -2.0]), None).tolist() == [5000.0, 2.0]


def test_gradient_is_the_clipped_error():
    """In the prediction: -e inside and -delta sign(e) outside, that is -0.5, -2 and 2 for delta 2."""
    prediction = torch.zeros(3, requires_grad=True)
    huber(prediction, torch.tensor([0.5, 7.0, -7.0]), 2.0).sum().backward()
    assert prediction.grad.tolist() == [-0.5, -2.0, 2.0]


def test_refuses_to_broadcast():
    with pytest.raises(TypeCheckError):
        huber(torch.zeros(3), torch.zeros(3, 1), 1.0)
