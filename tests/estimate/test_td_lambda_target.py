import pytest
import torch

from hetrl.estimate.gae import GAE
from hetrl.estimate.td_lambda_target import TDLambdaTarget

HALF = {"gamma": 0.5, "lmbda": 0.5}


def target(terminated=(False, False), truncated=(False, False), **arguments):
    """Rewards 1 2, Q' 4 8."""
    flags = [torch.tensor(each) for each in (terminated, truncated)]
    found = TDLambdaTarget(**arguments).compute(torch.tensor([1.0, 2.0]), torch.tensor([4.0, 8.0]), *flags)
    return found["target"].tolist()


def test_by_hand():
    """y_1 = 2 + 0.5 * 8 = 6 and y_0 = 1 + 0.5 (0.5 * 4 + 0.5 * 6) = 3.5."""
    assert target(**HALF) == [3.5, 6.0]


def test_lambda_0_is_one_step_and_1_is_the_whole_rest():
    assert target(gamma=0.5, lmbda=0.0) == [3.0, 6.0]
    assert target(gamma=0.5, lmbda=1.0) == [4.0, 6.0]


def test_ends():
    """Terminated: the reward alone. Cut off: all of Q' of the state where it was, and nothing of the next episode."""
    assert target((True, False), **HALF) == [1.0, 6.0]
    assert target((False, False), (True, False), **HALF) == [3.0, 6.0]
    assert target((True, True), (True, True), **HALF) == [1.0, 2.0]


@pytest.mark.parametrize("lmbda", [0.0, 0.7, 1.0])
def test_where_values_follow_each_other_it_is_the_return_of_the_advantage_estimate(lmbda):
    """With Q'_t = V_{t+1}, r + gamma ((1 - lambda) V + lambda y) is A + V of the generalised estimate."""
    generator = torch.Generator().manual_seed(0)
    reward, value = torch.randn(2, 30, 4, generator=generator, dtype=torch.float64)
    following = torch.cat([value[1:], torch.randn(1, 4, generator=generator, dtype=torch.float64)])
    never = torch.zeros(30, 4, dtype=torch.bool)
    found = TDLambdaTarget(gamma=0.9, lmbda=lmbda).compute(reward, following, never, never)["target"]
    wanted = GAE(gamma=0.9, lmbda=lmbda).compute(reward, value, following, never, never)["return"]
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)
