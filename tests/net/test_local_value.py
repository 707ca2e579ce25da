import torch

import hetrl
from hetrl.encoder import Encoding
from hetrl.net.entities import Entities
from hetrl.net.local_value import LocalValue
from hetrl.team import Agent, Box, Team

AGENT = Agent("a", "agents", 0, 2, Box((-1.0,), (1.0,)), "agents")
TEAM = Team((AGENT,), state_size=7)


def linear(**arguments):
    """Return a critic that is 2 x - y + 0.5."""
    net = LocalValue(AGENT, TEAM, hidden=[], **arguments)
    with torch.no_grad():
        net.head.body[0].weight.copy_(torch.tensor([[2.0, -1.0]]))
        net.head.body[0].bias.fill_(0.5)
    return net.double()


SEEN = torch.tensor([[1.0, 0.0], [3.0, 4.0]], dtype=torch.float64)


def test_by_hand_of_the_observation_and_not_of_the_state():
    """2 - 0 + 0.5 and 6 - 4 + 0.5; the state has 7 numbers."""
    assert linear().value(SEEN)["value"].tolist() == [2.5, 2.5]
    assert linear().normalized(SEEN.view(1, 2, 2))["normalized_value"].shape == (1, 2)


def test_normalises():
    """Returns 1 and 5 have mean 3 and deviation 2: -1 and 1; the output 2.5 is then worth 2.5 * 2 + 3 = 8."""
    net = linear(normalize=True)
    returns = torch.tensor([1.0, 5.0], dtype=torch.float64)
    torch.testing.assert_close(net.normalize(returns)["normalized_return"], torch.tensor([-1.0, 1.0]).double())
    eight = torch.tensor([8.0, 8.0], dtype=torch.float64)
    torch.testing.assert_close(net.value(SEEN)["value"], eight)
    torch.testing.assert_close(net.denormalize(net.normalized(SEEN)["normalized_value"])["value"], eight)


def test_units_that_the_state_lists_are_not_its_concern():
    """Of battles: the team's state lists them, and an agent's own observation is another size."""
    hetrl.load("ippo", "task={use: env/battle, n_envs: 2}", "nets.actor.use=net/categorical_policy").build()


def test_an_encoder_stands_in_front():
    encoder = Encoding(Entities, {"own": 0, "entity": 1, "hidden": [4], "size": 6, "heads": 2})
    net = LocalValue(AGENT, TEAM, hidden=[4], encoder=encoder)
    assert net.value(SEEN.float())["value"].shape == (2,)
    assert net.head.body[0].in_features == 6
