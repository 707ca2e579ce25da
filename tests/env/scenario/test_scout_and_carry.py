"""Scout and carry: who sees cannot push, who pushes cannot see, and the scout's place is the message."""

import pytest
import torch
from env.scenario.scripted import play, steer

from hetrl.env.vmas import Vmas


def script(seen):
    """The scout turns until it sees the goal and hovers over it; the carrier follows the scout."""
    scout, carrier = seen["scout"], seen["carrier"]
    velocity, goal, sees = scout[:, 2:4], scout[:, 9:11], scout[:, 11:]
    force = torch.where(sees > 0, steer(goal, velocity, gain=4.0), -3 * velocity)
    follow = steer(carrier[:, 6:8], carrier[:, 2:4], gain=4.0, damping=1.0)
    return {"scout": torch.cat([force, 1 - sees], -1), "carrier": follow}


def test_together_they_arrive():
    earned, arrived = play(script, "scout_and_carry")
    assert arrived.float().mean() > 0.98 and earned.mean() > 1.95


@pytest.mark.parametrize(
    ("team", "at_most"),
    [({"without": ["scout"]}, 0.2), ({"without": ["carrier"]}, 0.4), ({"difference": 0.0}, 0.3)],
    ids=["no_scout", "no_carrier", "all_alike"],
)
def test_a_lesser_team_does_not(team, at_most):
    earned, arrived = play(script, "scout_and_carry", **team)
    assert arrived.float().mean() < 0.1 and earned.mean() < at_most


def test_the_scout_sees_far_before_it_and_the_carrier_does_not():
    """The goal is 1 unit to the right. The scout's view is half of the circle around its heading, here 0 and pi."""
    env = Vmas(scenario="hetrl/scout_and_carry", n_envs=2)
    env.start()
    scout, carrier = env._simulator.agents
    for thing, place in ((scout, 0.0), (carrier, 0.0), (env._simulator.scenario.goal, 1.0)):
        thing.set_pos(torch.tensor([place, 0.0]), batch_index=None)
    scout.set_rot(torch.tensor([[0.0], [torch.pi]]), batch_index=None)
    seen = env._observe(env._simulator)
    assert seen["scout"][:, 0, 9:].tolist() == [[1, 0, 1], [0, 0, 0]]
    assert seen["carrier"][:, 0, 8:].tolist() == [[0, 0, 0], [0, 0, 0]]


def test_the_scout_flies_and_the_carrier_takes_its_cage_along():
    """Both push to the right for 60 steps: the scout crosses the cage, the carrier cannot leave it."""
    env = Vmas(scenario="hetrl/scout_and_carry", n_envs=2)
    env.start()
    (scout, carrier), cage = env._simulator.agents, env._simulator.scenario.cage
    for thing, place in ((scout, -1.2), (carrier, -0.8), (cage, -0.8)):
        thing.set_pos(torch.tensor([place, 0.0]), batch_index=None)
    ahead = {"scout": torch.tensor([[[1.0, 0.0, 0.0]]] * 2), "carrier": torch.tensor([[[1.0, 0.0]]] * 2)}
    for _ in range(60):
        env._simulate(ahead)
    assert (scout.state.pos[:, 0] > cage.state.pos[:, 0] + 0.2).all()
    assert (cage.state.pos[:, 0] > -0.2).all() and ((carrier.state.pos - cage.state.pos).abs() < 0.2).all()
