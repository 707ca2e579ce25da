"""``layer_norm: true`` of what acts in continuous spaces and of values; by hand in net/test_categorical_policy.py."""

import pytest
import torch
from torch import nn

from hetrl.net.gaussian_policy import GaussianPolicy
from hetrl.net.local_value import LocalValue
from hetrl.net.mixed_policy import MixedPolicy
from hetrl.net.squashed_gaussian_policy import SquashedGaussianPolicy
from hetrl.net.state_value import StateValue
from hetrl.team import Agent, Box, Team

AGENT = Agent("a", "agents", 0, 6, Box((-1.0,) * 2, (1.0,) * 2), "agents")
TEAM = Team((AGENT,), 9)


@pytest.mark.parametrize(
    ("cls", "answer", "size"),
    [
        (GaussianPolicy, lambda net, seen: net.act(seen)["proposal"], 6),
        (SquashedGaussianPolicy, lambda net, seen: net.act(seen)["proposal"], 6),
        (MixedPolicy, lambda net, seen: net.act(seen)["proposal"], 6),
        (StateValue, lambda net, seen: net.value(seen)["value"], 9),
        (LocalValue, lambda net, seen: net.value(seen)["value"], 6),
    ],
)
def test_what_is_seen_and_every_hidden_layer_are_normalised(cls, answer, size):
    plain = cls(AGENT, TEAM, hidden=[8, 5])
    net = cls(AGENT, TEAM, hidden=[8, 5], layer_norm=True).double()
    norms = [module.normalized_shape for module in net.modules() if isinstance(module, nn.LayerNorm)]
    assert norms == [(size,), (8,), (5,)]
    assert not any(isinstance(module, nn.LayerNorm) for module in plain.modules())
    seen = torch.randn(20, size, dtype=torch.float64)
    torch.testing.assert_close(answer(net, seen), answer(net, 100 * seen + 3), rtol=1e-3, atol=1e-5)
    with torch.no_grad():
        assert (answer(plain.double(), 100 * seen) - answer(plain, seen)).abs().max() > 1e-3
