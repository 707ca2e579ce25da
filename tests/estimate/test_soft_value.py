import torch

from hetrl.estimate.soft_td_target import SoftTDTarget
from hetrl.estimate.soft_value import SoftValue
from hetrl.estimate.td_target import TDTarget


def test_by_hand():
    """10 - 0.5 * -4."""
    assert SoftValue().compute(*(torch.tensor([x]) for x in (10.0, 0.5, -4.0)))["value"].tolist() == [12.0]


def test_of_one_agent_its_target_is_that_of_the_joint_policy():
    reward, discount, q, alpha, log_prob = torch.rand(5, 20, dtype=torch.float64)
    ended = torch.arange(20) % 3 == 0
    value = SoftValue().compute(q, alpha, log_prob)["value"]
    found = TDTarget().compute(reward, discount, ended, value)["target"]
    wanted = SoftTDTarget().compute(reward, discount, ended, q, alpha, (log_prob,))["target"]
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)
