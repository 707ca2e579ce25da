import pytest
import torch
from jaxtyping import TypeCheckError

from hetrl.errors import RunError
from hetrl.weight.qadv import Qadv


def actions(q):
    """Return candidates that say which they are: 0, 1, 2, ..."""
    return torch.arange(q.shape[-1], dtype=q.dtype).unsqueeze(-1).expand(*q.shape, 1)


def run(q, **arguments):
    q = torch.tensor(q)
    out = Qadv(**arguments).compute(actions(q), q)
    return out["chosen"].squeeze(-1).tolist(), out["weight"].tolist()


def test_by_hand():
    """Means 3, -2 and 1: advantages (-2, -1, 3), (1, 0, -1) and (-1.5, 1.5, 0)."""
    chosen, weight = run([[1.0, 2.0, 6.0], [-1.0, -2.0, -3.0], [-0.5, 2.5, 1.0]])
    assert chosen == [[0, 1, 2]] * 3
    assert weight == [[0, 0, 3], [1, 0, 0], [0, 1.5, 0]]


def test_keeps_the_best():
    """Of advantages (-4, 2, 0, 3, -1) the two greatest are those of the fourth and the second."""
    assert run([[1.0, 7.0, 5.0, 8.0, 4.0]], keep=2) == ([[3, 1]], [[3, 2]])
    assert run([[1.0, 7.0, 5.0, 8.0, 4.0]], keep=1) == ([[3]], [[3]])


def test_of_equal_bests_one_is_kept_with_its_weight():
    chosen, weight = run([[0.0, 3.0, 3.0]], keep=1)
    assert weight == [[1]] and chosen[0][0] in (1, 2)


@pytest.mark.parametrize("value", [0.1, -7.3, 1e8, 0.0])
@pytest.mark.parametrize("several", [1, 3, 7, 64])
def test_where_all_are_equal_every_weight_is_exactly_0(value, several):
    """Not even the rounding of the mean is left: 0.1 + 0.1 + 0.1 is not 0.3."""
    q = torch.full((4, several), value)
    assert Qadv().compute(actions(q), q)["weight"].count_nonzero() == 0


def test_a_constant_added_changes_nothing():
    """Exactly, where the sums are exact: whole numbers, and means over four."""
    q = torch.randint(-50, 50, (100, 4)).float()
    expected = Qadv(keep=2).compute(actions(q), q)
    for constant in (-1000.0, 3.0, 4096.0):
        found = Qadv(keep=2).compute(actions(q), q + constant)
        assert torch.equal(found["weight"], expected["weight"])


def test_weights_are_not_negative_and_scale_with_the_values():
    q = torch.randn(50, 16, dtype=torch.float64)
    weight = Qadv().compute(actions(q), q)["weight"]
    assert (weight >= 0).all() and (weight > 0).any(-1).all()
    torch.testing.assert_close(Qadv().compute(actions(q), 3 * q)["weight"], 3 * weight)


def test_refuses():
    q = torch.zeros(2, 3)
    with pytest.raises(
        RunError, match=r"^weight/qadv: keep = 4 is more than the 3 candidates; lower it, or draw more\.$"
    ):
        Qadv(keep=4).compute(actions(q), q)
    with pytest.raises(TypeCheckError):
        Qadv().compute(torch.zeros(2, 3, 1), torch.zeros(2, 1))
