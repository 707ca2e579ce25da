"""A slow copy is a horizon: the closed form is what the program's own copy and target do."""

import pytest
import torch
from exact.slow_copies import GAMMA, share
from torch import nn

import hetrl
from hetrl.engine.linked import SlowCopy
from hetrl.recipe.net import Target


class Constant(nn.Module):
    """A critic of one number."""

    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.zeros((), dtype=torch.float64))


@pytest.mark.parametrize(("every", "n_step"), [(1, 1), (2, 1), (2, 5), (3, 10)])
def test_the_share_that_has_come_through(every, n_step):
    critic = Constant()
    slow = SlowCopy(critic, Target(where="q", tau=0.005, every=every))
    target, discount = hetrl.component("estimate/td_target"), torch.tensor(GAMMA**n_step, dtype=torch.float64)
    rewards = (1 - discount) / (1 - GAMMA)  # of n steps
    for _ in range(3000):
        with torch.no_grad():
            found = target.compute(rewards, discount, torch.tensor(False), slow.net.value)
            critic.value.copy_(found["target"])
        slow.follow(critic)
    assert slow.net.value.item() * (1 - GAMMA) == pytest.approx(share(3000, every=every, n_step=n_step), rel=1e-9)


def test_the_figures_of_the_documentation():
    """HADDPG and HATD3 on the cheetah at 200,000 frames; with the reference's ten steps the delay costs nothing."""
    assert [round(share(19_000, every=every), 2) for every in (1, 2)] == [0.61, 0.38]
    assert [round(share(19_000, every=every, n_step=10), 2) for every in (1, 2)] == [1.0, 0.99]
    assert [round(share(5_850, every=every, n_step=5), 2) for every in (1, 2)] == [0.76, 0.51]
    assert share(19_000, tau=0.01, every=2) == pytest.approx(share(19_000), abs=1e-3)
