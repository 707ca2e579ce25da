import pytest
import torch
from jaxtyping import TypeCheckError

from hetrl.estimate.td_target import TDTarget


def target(reward, discount, terminated, q):
    given = [torch.tensor([float(x)]) for x in (reward, discount)]
    return TDTarget().compute(*given, torch.tensor([terminated]), torch.tensor([float(q)]))["target"].item()


def test_the_docstrings_numbers():
    """1 + 0.9 * 10 = 10; terminated, 1."""
    assert target(1, 0.9, False, 10) == pytest.approx(10)
    assert target(1, 0.9, True, 10) == 1


def test_the_discount_is_the_samples_own():
    """Three steps of 0.5 and one step: 2 + 0.125 * 8 = 3 and 2 + 0.5 * 8 = 6."""
    reward, q = torch.full((2,), 2.0), torch.full((2,), 8.0)
    found = TDTarget().compute(reward, torch.tensor([0.125, 0.5]), torch.zeros(2, dtype=torch.bool), q)["target"]
    assert found.tolist() == [3.0, 6.0]


def test_a_truncated_episode_has_a_value_after_it():
    """Only ``terminated`` is read; a recipe that reads ``done`` there says so."""
    assert TDTarget.reads["terminated"] == "terminated"
    assert set(TDTarget.reads.values()) == {"reward", "discount", "terminated", "next.min_q"}


def test_terminated_samples_ignore_the_value_wherever_they_stand():
    reward, discount, q = torch.randn(3, 4, 5).unbind(0)
    terminated = torch.rand(4, 5) < 0.5
    found = TDTarget().compute(reward, discount, terminated, q)["target"]
    torch.testing.assert_close(found, torch.where(terminated, reward, reward + discount * q))


def test_refuses_an_ensemble_or_a_broadcast():
    flags = torch.zeros(3, dtype=torch.bool)
    for q in (torch.zeros(2, 3), torch.zeros(3, 1)):
        with pytest.raises(TypeCheckError):
            TDTarget().compute(torch.zeros(3), torch.zeros(3), flags, q)
