import pytest
import torch

from hetrl.errors import RecipeError, RunError
from hetrl.weight.qadv import Qadv
from hetrl.weight.qcut import Qcut


def actions(q):
    """Return candidates that say which they are: 0, 1, 2, ..."""
    return torch.arange(q.shape[-1], dtype=q.dtype).unsqueeze(-1).expand(*q.shape, 1)


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        (0.0, [[0, 1, 2], [0, 0, 3]]),
        (1.0, [[0, 1, 2], [0, 0, 3]]),  # on the threshold it counts
        (1.5, [[0, 0, 2], [0, 0, 3]]),
        (2.5, [[0, 0, 0], [0, 0, 3]]),
        (9.0, [[0, 0, 0], [0, 0, 0]]),
    ],
)
def test_by_hand(threshold, expected):
    """Advantages (-3, 1, 2) and (-2, -1, 3)."""
    q = torch.tensor([[0.0, 4.0, 5.0], [1.0, 2.0, 6.0]])
    out = Qcut(threshold=threshold).compute(actions(q), q)
    assert out["weight"].tolist() == expected and torch.equal(out["chosen"], actions(q))


@pytest.mark.parametrize("keep", [None, 3])
def test_threshold_0_is_qadv(keep):
    q = torch.randn(200, 8)
    q[:50] = q[:50].round()  # with ties
    q[:5] = 0.3
    found, expected = (cls(keep=keep).compute(actions(q), q) for cls in (Qcut, Qadv))
    assert torch.equal(found["weight"], expected["weight"]) and torch.equal(found["chosen"], expected["chosen"])


def test_the_best_are_kept_after_the_cut():
    q = torch.tensor([[0.0, 4.0, 5.0]])
    out = Qcut(threshold=1.5, keep=2).compute(actions(q), q)
    assert out["weight"].tolist() == [[2, 0]] and out["chosen"][0, 0].item() == 2


def test_a_constant_added_changes_nothing():
    q = torch.randint(-50, 50, (100, 4)).float()
    cut = Qcut(threshold=7.0)
    expected = cut.compute(actions(q), q)["weight"]
    assert torch.equal(cut.compute(actions(q), q + 4096)["weight"], expected)
    assert (expected >= 0).all() and ((expected == 0) | (expected >= 7)).all()


def test_where_all_are_equal_every_weight_is_exactly_0():
    q = torch.full((3, 7), 0.1)
    assert Qcut().compute(actions(q), q)["weight"].count_nonzero() == 0


def test_refuses():
    q = torch.zeros(2, 3)
    with pytest.raises(RunError, match=r"^weight/qcut: keep = 4 is more than the 3 candidates"):
        Qcut(keep=4).compute(actions(q), q)
    with pytest.raises(RecipeError, match=r"threshold = -1\.0"):
        Qcut(threshold=-1.0)
