import pytest
import torch
from jaxtyping import TypeCheckError

from hetrl.estimate.soft_td_target import SoftTDTarget
from hetrl.estimate.td_target import TDTarget


def target(terminated=False, alpha=0.5, log_probs=(-1, -3)):
    given = [torch.tensor([float(x)]) for x in (1, 0.9)]
    rest = [torch.tensor([10.0]), torch.tensor([alpha]), tuple(torch.tensor([float(x)]) for x in log_probs)]
    return SoftTDTarget().compute(*given, torch.tensor([terminated]), *rest)["target"].item()


def test_the_docstrings_numbers():
    """1 + 0.9 (10 + 0.5 * 4) = 11.8."""
    assert target() == pytest.approx(11.8)


def test_after_the_end_there_is_no_entropy_either():
    assert target(terminated=True) == 1


def test_a_certain_team_is_worth_less():
    """Log-probs 2 and 1 cost 1.5: 1 + 0.9 * 8.5 = 8.65."""
    assert target(log_probs=(2, 1)) == pytest.approx(8.65)


def test_one_agent_and_many():
    """1 + 0.9 (10 + 0.5) = 10.45; five agents of -1 are worth five times the bonus, 1 + 0.9 * 12.5 = 12.25."""
    assert target(log_probs=(-1,)) == pytest.approx(10.45)
    assert target(log_probs=(-1,) * 5) == pytest.approx(12.25)


def test_without_a_price_it_is_the_plain_target():
    reward, discount, q, one, other = torch.randn(5, 6).unbind(0)
    flags = torch.rand(6) < 0.5
    soft = SoftTDTarget().compute(reward, discount, flags, q, torch.zeros(6), (one, other))["target"]
    torch.testing.assert_close(soft, TDTarget().compute(reward, discount, flags, q)["target"])


def test_refuses_to_broadcast():
    flags, zero = torch.zeros(3, dtype=torch.bool), torch.zeros(3)
    for alpha, log_probs in ((torch.zeros(3, 1), (zero,)), (zero, (zero, torch.zeros(3, 1)))):
        with pytest.raises(TypeCheckError):
            SoftTDTarget().compute(zero, zero, flags, zero, alpha, log_probs)
