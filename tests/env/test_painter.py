"""Pictures of VMAS worlds: every body where it is, in its colour, without a display."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from hetrl.env.cue_game import CueGame
from hetrl.env.painter import PALETTE, SIDE, agent_colours
from hetrl.env.vmas import Vmas
from hetrl.errors import RunError

PIXELS = SIDE / 2.4
"""Of one unit, in a square view that reaches 1.2 to each side."""


def make(scenario="balance", n_envs=2, **arguments):
    env = Vmas(scenario=scenario, n_envs=n_envs, **arguments)
    env.start()
    return env


def at(frame, x, y, scale=PIXELS):
    """Return the colour at a place of the world."""
    height, width, _ = frame.shape
    return tuple(int(part) for part in frame[round(height / 2 - y * scale), round(width / 2 + x * scale)])


def place(env, body, x, y, rot=0.0, row=0):
    body.set_pos(torch.tensor([x, y]), batch_index=row)
    body.set_rot(torch.tensor([rot]), batch_index=row)


def test_each_agent_is_seen_at_its_place_and_leaves_it():
    env = make(n_agents=3)
    agents = env._simulator.agents
    colours = agent_colours(env._simulator)
    assert colours == list(PALETTE[:3]) and len({*colours}) == 3
    places = [(-0.6, 0.5), (0.1, 0.9), (0.8, 0.2)]
    for agent, (x, y) in zip(agents, places, strict=True):
        place(env, agent, x, y)
    frame = env.frame()
    assert frame.shape == (SIDE, SIDE, 3) and frame.dtype == np.uint8
    assert [at(frame, x, y) for x, y in places] == colours
    place(env, agents[1], 0.1, 0.5)
    moved = env.frame()
    assert at(moved, 0.1, 0.5) == colours[1] and at(moved, 0.1, 0.9) == at(frame, 1.1, 1.1)
    assert [at(moved, *places[i]) for i in (0, 2)] == [colours[0], colours[2]]


def test_steps_change_the_picture_of_their_row():
    env = make(n_agents=3)
    frames = [env.frame(row) for row in range(2)]
    assert not np.array_equal(*frames)
    actions = {group: torch.ones(2, len(agents), 2) for group, agents in env.team.layout.items()}
    for _ in range(3):
        env.advance(actions)
    assert not np.array_equal(env.frame(0), frames[0])
    assert np.array_equal(env.frame(1), env.frame(1))


def test_bodies_turn_and_are_hidden():
    """A goal's net, 0.1 by 0.35."""
    env = make("football", n_blue_agents=2, n_red_agents=1)
    world, scale = env._simulator.world, 512 / 3.6
    for body in world.entities:
        place(env, body, -1.5, -0.8)
    place(env, world.red_net, 0.5, 0.5)
    along, aside = (0.5, 0.5 + 0.15), (0.5 + 0.15, 0.5)
    upright = env.frame()
    net, floor = at(upright, *along, scale), at(upright, *aside, scale)
    assert net != floor
    place(env, world.red_net, 0.5, 0.5, rot=torch.pi / 2)
    assert [at(env.frame(), *there, scale) for there in (along, aside)] == [floor, net]
    world.red_net.is_rendering[0] = False
    assert [at(env.frame(), *there, scale) for there in (along, aside)] == [floor, floor]


def test_a_nose_points_where_the_agent_faces():
    env = make("diff_drive")
    agent = env._simulator.agents[0]
    place(env, agent, 0.5, 0.5, rot=torch.pi / 2)
    frame, tip = env.frame(), 1.25 * agent.shape.circumscribed_radius()
    paper = at(frame, 1.1, -1.1)
    around = [at(frame, 0.5 + x * tip, 0.5 + y * tip) for x, y in ((0, 1), (1, 0), (-1, 0), (0, -1))]
    assert around[0] != paper and around[1:3] == [paper] * 2


def test_agents_keep_colours_that_tell_them_apart():
    """In navigation, where each goal has its agent's colour."""
    env = make("navigation")
    colours = agent_colours(env._simulator)
    assert len({*colours}) == len(colours) and not {*colours} & {*PALETTE}


def test_a_scripted_opponent_does_not_look_like_the_team():
    env = make("football", n_blue_agents=2, n_red_agents=1)
    world, (opponent,) = env._simulator.world, env._simulator.scenario.red_agents
    for body in world.agents:
        place(env, body, -1.0, 0.5)
    place(env, opponent, 1.0, 0.5)
    frame = env.frame()
    height, width, _ = frame.shape
    seen = at(frame, 1.0, 0.5, width / 3.6)
    assert (height, width) == (336, 512) and seen not in PALETTE and seen[0] > 2 * seen[1]


def test_the_view_widens_when_an_agent_walks_out():
    env = make(n_agents=3)
    colour = agent_colours(env._simulator)[0]
    for x, wider in ((1.0, 0), (1.3, 1), (1.45, 2), (2.0, 3)):
        place(env, env._simulator.agents[0], x, 0.6)
        assert at(env.frame(), x, 0.6, PIXELS / 1.25**wider) == pytest.approx(colour, abs=12)
    place(env, env._simulator.agents[0], float("nan"), 0.6)
    assert colour not in {tuple(seen) for seen in env.frame().reshape(-1, 3).tolist()}


def test_drawing_disturbs_nothing():
    envs = [make(n_agents=3), make(n_agents=3)]
    outside = torch.get_rng_state()
    actions = {group: torch.ones(2, len(agents), 2) for group, agents in envs[0].team.layout.items()}
    for _ in range(3):
        envs[0].frame()
        moved = [env.advance(actions) for env in envs]
    for group, value in moved[0].observation.items():
        assert torch.equal(value, moved[1].observation[group])
    assert torch.equal(torch.get_rng_state(), outside)


@pytest.mark.parametrize("scenario", ["transport", "simple_world_comm", "diff_drive", "wheel", "joint_passage"])
def test_every_kind_of_body_can_be_drawn(scenario):
    assert len(np.unique(make(scenario).frame().reshape(-1, 3), axis=0)) > 4


def test_needs_neither_display_nor_opengl():
    program = (
        "import sys; sys.modules.update({'pyglet': None, 'matplotlib.pyplot': None});"
        "from hetrl.env.vmas import Vmas; env = Vmas(scenario='balance', n_envs=1); env.start();"
        "print(env.frame().shape)"
    )
    surroundings = {name: value for name, value in os.environ.items() if "DISPLAY" not in name}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], env=surroundings, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == f"({SIDE}, {SIDE}, 3)", done.stderr


def test_where_there_is_nothing_to_see():
    with pytest.raises(RunError, match=r"^env/cue_game draws no pictures; evaluate it without --video\.$"):
        CueGame(n_envs=2).frame()
