"""Relay: what the lookout sees reaches the hauler only through the runner's words."""

import pytest
import torch
from env.scenario.scripted import play, steer

from hetrl.env.vmas import Vmas


def go(seen):
    """To the target where it is seen, else to the place that was said."""
    place, velocity, heard, target, sees = seen.split([2, 2, 2, 2, 1], -1)
    return steer(torch.where(sees > 0, target, heard - place), velocity, gain=5.0, damping=1.0)


def script(seen):
    """The lookout says where the target is, the runner repeats it, and both movers go there."""
    lookout, runner, hauler = seen["lookout"], seen["runner"], seen["hauler"]
    if lookout.shape[-1] == 3:
        said = lookout[:, :2]
    else:  # all alike: the lookout, too, has to come near
        said = torch.cat([torch.zeros(len(lookout), 2), lookout[:, :2] + lookout[:, 6:8]], -1)
    return {"lookout": said, "runner": torch.cat([go(runner), runner[:, 4:6]], -1), "hauler": go(hauler)}


def test_together_they_arrive():
    earned, arrived = play(script, "relay", horizon=100)
    assert arrived.float().mean() > 0.98 and earned.mean() > 1.95


@pytest.mark.parametrize(
    ("team", "at_most"),
    [({"without": ["lookout"]}, 0.2), ({"without": ["runner"]}, 0.2), ({"without": ["hauler"]}, 0.7),
     ({"difference": 0.0}, 0.2)],
    ids=["no_lookout", "no_runner", "no_hauler", "all_alike"],
)  # fmt: skip
def test_a_lesser_team_does_not(team, at_most):
    earned, arrived = play(script, "relay", horizon=100, **team)
    assert arrived.float().mean() < 0.3 and earned.mean() < at_most


def test_words_travel_one_hop_a_step():
    """The lookout says 0.5 -0.5 and the runner 0.1 0.2: a fifth of it is heard after a step, by the next one only, and
    after a second step 1 - 0.8^2 = 0.36 of it.
    """
    env = Vmas(scenario="hetrl/relay", n_envs=3)
    first = env.start()
    said = {
        "lookout": torch.tensor([0.5, -0.5]),
        "runner": torch.tensor([0.0, 0.0, 0.1, 0.2]),
        "hauler": torch.tensor([0.0, 0.0]),
    }
    assert all((first[name][..., 4:6] == 0).all() for name in ("runner", "hauler"))
    for share in (0.2, 0.36):
        after = env._simulate({name: words.expand(3, 1, -1) for name, words in said.items()})[0]
        assert after["runner"][:, 0, 4:6].tolist() == [pytest.approx([0.5 * share, -0.5 * share])] * 3
        assert after["hauler"][:, 0, 4:6].tolist() == [pytest.approx([0.1 * share, 0.2 * share])] * 3
    reset = env._reset_where(torch.tensor([False, True, False]))  # a new episode begins in silence
    assert reset["runner"][:, 0, 4].tolist() == pytest.approx([0.18, 0.0, 0.18])


def test_sizes():
    team = Vmas(scenario="hetrl/relay", n_envs=1).team
    assert [(agent.name, agent.observation_size, agent.action.size) for agent in team.agents] == [
        ("lookout", 3, 2), ("runner", 9, 4), ("hauler", 9, 2),
    ]  # fmt: skip
    assert list(Vmas(scenario="hetrl/relay", n_envs=1, difference=0.0).team.bodies) == ["agents"]
