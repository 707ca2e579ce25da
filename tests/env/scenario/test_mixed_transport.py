"""Mixed transport: strength ahead and lightness aside, in bodies of equal sizes."""

import pytest
import torch
from env.scenario.scripted import play, steer

from hetrl.env.vmas import Vmas

RADIUS = 0.15


def script(seen):
    """The pusher pushes; each steerer runs along beside the package and presses while the goal is beyond it."""
    done = {"pusher": torch.tensor([1.0, 0.0]).expand(len(seen["pusher"]), 2)}
    for name, side in (("steerer_0", 1.0), ("steerer_1", -1.0)):
        _, velocity, package, moving, to_goal = seen[name].split(2, -1)
        need = (-side * to_goal[:, 1:]).clamp(min=0)
        clearance = torch.where(need > 0.01, 0.04 - 8 * need.clamp(max=0.04), 0.12)
        beside = torch.cat([torch.zeros_like(need), side * (RADIUS + clearance)], -1)
        along = torch.cat([3 * moving[:, :1], torch.zeros_like(need)], -1)
        done[name] = along + steer(package + beside, velocity - moving, gain=8.0, damping=1.0)
    return done


def test_together_they_arrive():
    earned, arrived = play(script, "mixed_transport", horizon=120)
    assert arrived.float().mean() > 0.98 and earned.mean() > 1.95


@pytest.mark.parametrize(
    ("team", "at_most"),
    [
        ({"without": ["pusher"]}, 0.3),
        ({"without": ["steerer_0"]}, 0.6),
        ({"without": ["steerer_0", "steerer_1"]}, 0.6),
        ({"difference": 0.0}, 0.5),
    ],
    ids=["no_pusher", "one_steerer", "no_steerers", "all_alike"],
)
def test_a_lesser_team_does_not(team, at_most):
    earned, arrived = play(script, "mixed_transport", horizon=120, **team)
    assert not arrived.any() and earned.mean() < at_most


def test_sizes_are_equal_and_bodies_are_not():
    team = Vmas(scenario="hetrl/mixed_transport", n_envs=2).team
    assert list(team.layout) == ["agents"]
    assert {body: len(agents) for body, agents in team.bodies.items()} == {"pusher": 1, "steerer": 2}
    assert list(Vmas(scenario="hetrl/mixed_transport", n_envs=2, difference=0.0).team.bodies) == ["agents"]


def test_the_pusher_cannot_step_aside():
    env = Vmas(scenario="hetrl/mixed_transport", n_envs=2)
    env.start()
    pusher, *steerers = env._simulator.agents
    start = [agent.state.pos.clone() for agent in (pusher, *steerers)]
    for _ in range(5):
        env._simulate({"agents": torch.tensor([0.0, 1.0]).expand(2, 3, 2)})
    moved = [(agent.state.pos - place)[:, 1] for agent, place in zip((pusher, *steerers), start, strict=True)]
    assert (moved[0] == 0).all() and all((along > 0.01).all() for along in moved[1:])
