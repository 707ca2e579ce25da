"""An eye by hand: range, view and walls."""

import pytest
import torch
from vmas.simulator.core import Agent, Box, Landmark, World

from hetrl.env.scenario.eye import Eye


def spot(places, rot=0.0, walls=(), **eye):
    """Return what an agent at (1, 1) with this eye sees of each place, ``[N, 3]``."""
    places = torch.tensor(places)
    world = World(len(places), torch.device("cpu"))
    barriers = []
    for (x, y), sides in walls:
        barriers.append(Landmark(f"wall_{len(barriers)}", shape=Box(*sides)))
        world.add_landmark(barriers[-1])
        barriers[-1].set_pos(torch.tensor([x, y]), batch_index=None)
    agent = Agent("agent", sensors=[Eye(world, walls=barriers, **{"max_range": 10.0, **eye})])
    world.add_agent(agent)
    agent.set_pos(torch.tensor([1.0, 1.0]), batch_index=None)
    agent.set_rot(torch.tensor([rot]), batch_index=None)
    return agent.sensors[0].see(places)


def test_within_range():
    """3 4 5: a place at (3, 4) from the agent is 5 away."""
    assert spot([[4.0, 5.0]], max_range=5.001).tolist() == [[3, 4, 1]]
    assert spot([[4.0, 5.0]], max_range=4.999).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize(("rot", "seen"), [(0.0, [1, 0, 0, 0]), (torch.pi / 2, [0, 1, 0, 0]), (-0.6, [1, 0, 0, 1])])
def test_within_view(rot, seen):
    """Places to the right, above, to the left, and 1 rad below the right one; the view is 1.6 rad, 0.8 to each side."""
    below = [1 + torch.tensor(1.0).cos().item(), 1 - torch.tensor(1.0).sin().item()]
    places = [[2.0, 1.0], [1.0, 2.0], [0.0, 1.0], below]
    assert spot(places, rot=rot, view=1.6)[:, 2].tolist() == seen


def test_behind_walls():
    """A wall from (1.9, 0.5) to (2.1, 1.5) hides (3, 1) and (3, 1.4), not (3, 2.2), (1.8, 1) before it, or (0, 1)."""
    places = [[3.0, 1.0], [3.0, 1.4], [3.0, 2.2], [1.8, 1.0], [0.0, 1.0]]
    assert spot(places, walls=[((2.0, 1.0), (0.2, 1.0))])[:, 2].tolist() == [0, 0, 1, 1, 1]
    above = ((2.0, 2.5), (0.2, 1.8))
    assert spot(places, walls=[((2.0, 1.0), (0.2, 1.0)), above])[:, 2].tolist() == [0, 0, 0, 1, 1]


def test_it_is_asked_about_a_place():
    with pytest.raises(NotImplementedError, match="use see"):
        Eye(World(1, torch.device("cpu")), max_range=1.0).measure()
