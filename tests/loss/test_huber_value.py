import pytest
import torch
from jaxtyping import TypeCheckError

from hetrl.errors import RecipeError
from hetrl.loss.huber_value import HuberValue


def loss(value, target, old=None, **arguments):
    v = torch.tensor([float(value)], requires_grad=True)
    given = [torch.tensor([float(x)]) for x in (target, old) if x is not None]
    out = HuberValue(**arguments).compute(v, *given)["loss"]
    (gradient,) = torch.autograd.grad(out.sum(), v)
    return out.item(), gradient.item()


@pytest.mark.parametrize(
    ("value", "target", "expected", "gradient"), [(1, 2, 0.5, -1), (2, 1, 0.5, 1), (0, 20, 150, -10), (20, 0, 150, 10)]
)
def test_by_hand(value, target, expected, gradient):
    """delta 10: 1 / 2; and 10 (20 - 5) = 150, where the slope is 10."""
    assert loss(value, target) == (expected, gradient)


def test_without_delta_is_half_the_square():
    """20^2 / 2 = 200."""
    assert loss(0, 20, delta=None) == (200, -20)


@pytest.mark.parametrize("sign", [1, -1])
def test_clip_takes_the_larger_branch(sign):
    """v_old 0, v 1, y 2, c 0.2: h(2 - 1) = 0.5 and h(2 - 0.2) = 1.62, so 1.62, which no longer depends on v."""
    assert loss(sign, 2 * sign, 0, clip=0.2) == pytest.approx((1.62, 0.0))


def test_clip_never_makes_the_loss_smaller():
    """v_old 0, v 1, y 0.1, c 0.2: h(-0.9) = 0.405 and h(-0.1) = 0.005, so 0.405 with slope 0.9."""
    assert loss(1, 0.1, 0, clip=0.2) == pytest.approx((0.405, 0.9))


def test_inside_the_clip_both_branches_agree():
    """v_old 0, v 0.1, y 1: 0.9^2 / 2 = 0.405 either way, slope -0.9."""
    assert loss(0.1, 1, 0, clip=0.2) == pytest.approx((0.405, -0.9))


def test_coef():
    """3 * 0.5."""
    assert loss(1, 2, coef=3.0) == (1.5, -3)


def test_clip_needs_the_old_value():
    assert HuberValue.required({"clip": 0.2}) == {"old_value"}
    assert HuberValue.required({"clip": None}) == HuberValue.required({}) == frozenset()


def test_refuses_to_broadcast():
    with pytest.raises(TypeCheckError):
        HuberValue().compute(torch.zeros(3), torch.zeros(3, 1))


@pytest.mark.parametrize("values", [{"delta": 0.0}, {"clip": -0.2}, {"coef": -1.0}, {"delta": "10"}])
def test_refuses_what_is_out_of_range(values):
    with pytest.raises(RecipeError, match=f"^HuberValue: {next(iter(values))} = "):
        HuberValue(**values)
