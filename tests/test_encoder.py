"""Encoders in front of other networks: of an observation, and of the state."""

from dataclasses import replace

import pytest
import torch

from hetrl.encoder import Encoding, StateEncoder, behind, in_front, in_front_of_state
from hetrl.errors import RecipeError
from hetrl.net.convolutional import Convolutional
from hetrl.net.entities import Entities
from hetrl.net.joint_q import JointQ
from hetrl.net.state_value import StateValue
from hetrl.team import Box, Team

ARM = Box((-1.0,), (1.0,))
EYES = Team.of(["a_0", "b", "a_1"], [(4, 4), 3, (4, 4)], [ARM] * 3)
"""Two who see an image, and between them one who sees three numbers."""
EYE = Encoding(Convolutional, {"filters": [2], "kernels": [3], "strides": [1], "size": 5})


def test_without_an_encoder_nothing_is_in_front():
    assert in_front(None, EYES.agents[0], EYES) == (None, 16)
    assert in_front_of_state(None, EYES) == (None, 35)
    body = torch.nn.Linear(2, 2)
    assert behind(None, body) is body


def test_the_state_is_encoded_agent_by_agent_with_common_weights_in_team_order():
    """5 features of a_0, b's own three numbers, 5 features of a_1."""
    encoder = StateEncoder(EYE, EYES)
    seen = {"a": torch.rand(6, 2, 16), "b": torch.rand(6, 1, 3)}
    found = encoder(EYES.state(seen))
    assert (encoder.features, len(encoder.encoders)) == (13, 2)
    eye = encoder.encoders[0]
    wanted = torch.cat([eye(seen["a"][:, 0]), seen["b"][:, 0], eye(seen["a"][:, 1])], -1)
    torch.testing.assert_close(found, wanted)
    assert encoder(EYES.state(seen).view(2, 3, 35)).shape == (2, 3, 13)


def test_a_state_of_the_environments_own_is_one_observation():
    own = replace(EYES, state_size=25, state_shape=(5, 5))
    encoder = StateEncoder(EYE, own)
    assert (encoder.features, encoder(torch.rand(2, 25)).shape) == (5, (2, 5))
    with pytest.raises(RecipeError, match=r"^encoder: agent 'state' sees 25 numbers in a row, and nobody an image"):
        StateEncoder(EYE, replace(EYES, state_size=25, state_shape=(25,)))


def test_a_state_made_of_some_entries_is_one_observation():
    """What was chosen of the observations does not divide into those of agents any more."""
    some = replace(EYES, state_size=4, state_from=((1, 0), (1, 1), (0, 3), (2, 4)))
    encoder = StateEncoder(Encoding(Entities, {"own": 2, "entity": 1, "size": 4}), some)
    assert encoder(torch.rand(2, 4)).shape == (2, 6)


def test_critics_encode_the_state_once_for_all_candidates(monkeypatch):
    critic = JointQ(EYES.agents[0], EYES, hidden=[4], encoder=EYE)
    rows = []
    encode = Convolutional.encode
    monkeypatch.setattr(Convolutional, "encode", lambda self, seen: rows.append(len(seen)) or encode(self, seen))
    state, actions = torch.rand(3, 35), tuple(torch.rand(3, 1) for _ in range(3))
    found = critic.candidates(state, actions, torch.rand(3, 7, 1), 1)["q"]
    assert found.shape == (3, 7) and rows == [3, 3]  # the images, and b's numbers
    assert critic.q(state, actions)["q"].shape == (2, 3)


def test_an_encoder_has_parameters_that_are_trained():
    value = StateValue(EYES.agents[0], EYES, hidden=[4], encoder=EYE)
    value.value(torch.rand(8, 35))["value"].sum().backward()
    assert all(parameter.grad is not None for parameter in value.parameters())
    assert "body.encoder.encoders.0.linear.weight" in value.state_dict()
