import pytest
import torch

from hetrl.net.value_normalizer import ValueNormalizer


def fed(*batches, **arguments):
    normalizer = ValueNormalizer(**arguments).double()
    for batch in batches:
        normalizer.update(torch.tensor(batch, dtype=torch.float64))
    return normalizer


def number(tensor):
    return tensor.item()


def one(x):
    return torch.tensor([x], dtype=torch.float64)


def test_one_batch_by_hand():
    """Of 1 and 5, mean 3, mean square 13, variance 4: debiasing makes one batch count fully, whatever beta is."""
    normalizer = fed([1.0, 5.0], beta=0.5)
    assert [number(b) for b in (normalizer.m1, normalizer.m2, normalizer.d)] == [1.5, 6.5, 0.5]
    assert number(normalizer.normalize(one(7.0))) == pytest.approx(2.0)
    assert number(normalizer.denormalize(one(2.0))) == pytest.approx(7.0)


def test_two_batches_by_hand():
    """beta 0.5, batches (2) and (4): m1 = 0.5 * 1 + 0.5 * 4 = 2.5, m2 = 0.5 * 2 + 0.5 * 16 = 9, d = 0.75;
    mean 10/3, variance 12 - 100/9 = 8/9.
    """
    normalizer = fed([2.0], [4.0], beta=0.5)
    assert [number(b) for b in (normalizer.m1, normalizer.m2, normalizer.d)] == [2.5, 9.0, 0.75]
    assert number(normalizer.normalize(one(10 / 3))) == pytest.approx(0.0, abs=1e-12)
    assert number(normalizer.denormalize(one(1.0))) == pytest.approx(10 / 3 + (8 / 9) ** 0.5)


def test_per_element_weights_a_batch_by_its_size():
    """beta 0.5, two returns: beta^2 = 0.25, so d = 0.75 and m1 = 0.75 * 3."""
    normalizer = fed([1.0, 5.0], beta=0.5, per_element=True)
    assert (number(normalizer.d), number(normalizer.m1)) == (0.75, 2.25)


def test_variance_has_a_floor():
    """Equal returns have variance 0, taken as 0.01: 3 and 3.1 are one deviation apart."""
    normalizer = fed([3.0, 3.0])
    assert number(normalizer.normalize(one(3.1))) == pytest.approx(1.0)
    assert number(normalizer.denormalize(one(-1.0))) == pytest.approx(2.9)


def test_before_any_update():
    """Mean 0 and the floor, 0.01: 1 is 10, and back."""
    normalizer = fed()
    assert number(normalizer.normalize(one(1.0))) == pytest.approx(10.0)
    assert number(normalizer.denormalize(one(10.0))) == pytest.approx(1.0)


def test_a_first_update_of_a_slow_average_counts_fully():
    """beta 0.99999: d is 1e-5 after one batch, just its floor; the mean is the batch's."""
    assert number(fed([1.0, 5.0]).normalize(one(5.0))) == pytest.approx(1.0)


def test_statistics_take_no_gradient():
    normalizer, returns = ValueNormalizer(), torch.tensor([1.0, 5.0], requires_grad=True)
    normalizer.update(returns)
    assert not normalizer.m1.requires_grad


def test_statistics_travel_with_state_dict():
    other = ValueNormalizer().double()
    other.load_state_dict(fed([1.0, 5.0]).state_dict())
    assert number(other.normalize(one(7.0))) == pytest.approx(2.0)


def test_float32_is_enough_for_returns_of_100_and_deviation_5():
    """m2 - mean^2 = 25 is the difference of two numbers around 1e4, which float32 knows to about 1e-2 after
    1000 sums.
    """
    returns = torch.randn(1000, 64, dtype=torch.float64) * 5 + 100
    normalizer = ValueNormalizer()
    for batch in returns.float():
        normalizer.update(batch)
    found, expected = normalizer.normalize(torch.tensor([105.0])), fed(*returns.tolist()).normalize(one(105.0))
    assert number(found) == pytest.approx(number(expected), rel=0.01)
