import pytest
from scipy.stats import binomtest

from hetrl.ops.rate import wilson

SQUARE = 1.959963984540054**2


def test_the_docstrings_numbers():
    assert wilson(0, 4) == (0.0, pytest.approx(SQUARE / (4 + SQUARE)))
    assert wilson(4, 4) == (pytest.approx(4 / (4 + SQUARE)), 1.0)
    assert wilson(0, 4)[1] == pytest.approx(0.490, abs=5e-4)


def test_half_by_hand():
    """p = 1/2: the middle is 1/2, and half the width z / (2 sqrt(n + z^2))."""
    half = (SQUARE / (64 + SQUARE)) ** 0.5 / 2
    assert wilson(32, 64) == pytest.approx((0.5 - half, 0.5 + half))


@pytest.mark.parametrize(("hits", "trials"), [(0, 1), (1, 1), (3, 7), (29, 32), (58, 64), (511, 512)])
def test_as_scipy_has_it(hits, trials):
    found = binomtest(hits, trials).proportion_ci(method="wilson")
    assert wilson(hits, trials) == pytest.approx((found.low, found.high))


def test_nothing_is_known_of_no_trials():
    assert wilson(0, 0) == (0.0, 1.0)
