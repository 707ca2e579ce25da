import torch
from torch.nn.functional import one_hot

import hetrl
from hetrl.encoder import Encoding
from hetrl.net.entities import Entities
from hetrl.net.local_q import LocalQ
from hetrl.team import Agent, Box, Discrete, Team

STEERS = Agent("a", "steers", 0, 2, Box((-1.0,) * 3, (1.0,) * 3), "steers")
CHOOSES = Agent("b", "chooses", 0, 2, Discrete((4,)), "chooses")
TEAM = Team((STEERS, CHOOSES), state_size=4)
SEEN = torch.randn(5, 2, generator=torch.Generator().manual_seed(0))


def test_sees_its_own_observation_and_action_alone():
    for agent, size in ((STEERS, 2 + 3), (CHOOSES, 2 + 4)):
        net = LocalQ(agent, TEAM, hidden=[8], ensemble=3)
        assert net.joint.body.weights[0].shape == (3, size, 8)


def test_an_index_and_its_one_hot_form_are_the_same_action():
    net, action = LocalQ(CHOOSES, TEAM, hidden=[8]), torch.tensor([[0], [3], [1], [2], [3]])
    found = net.q(SEEN, action)["q"]
    assert found.shape == (2, 5)
    assert torch.equal(found, net.q(SEEN, one_hot(action[:, 0], 4).float())["q"])
    assert torch.equal(net.min(SEEN, action)["q"], found.amin(0))


def test_candidates_are_judged_as_actions_are():
    net, several = LocalQ(STEERS, TEAM, hidden=[8]), torch.randn(5, 7, 3)
    each = [net.min(SEEN, several[:, place])["q"] for place in range(7)]
    torch.testing.assert_close(net.candidates(SEEN, several)["q"], torch.stack(each, -1))


def test_an_encoder_stands_in_front():
    encoder = Encoding(Entities, {"own": 0, "entity": 1, "hidden": [4], "size": 6, "heads": 2})
    net = LocalQ(STEERS, TEAM, hidden=[8], encoder=encoder)
    assert net.q(SEEN, torch.zeros(5, 3))["q"].shape == (2, 5)
    assert net.joint.body.weights[0].shape == (2, 6 + 3, 8)


def test_units_that_the_state_lists_are_not_its_concern():
    """Of battles: the team's state lists them, and an agent's own observation is another size."""
    choosing = "nets.actor={use: net/categorical_policy, hidden: [8]}"
    hetrl.load("isac", "task={use: env/battle, n_envs: 2}", "data.capacity=10000", choosing).build()
