"""Bodies: what tells two agents apart physically, and what does not."""

import math

import pytest
import torch
from vmas.simulator.core import Agent, Box, Landmark, Sphere, World
from vmas.simulator.dynamics.diff_drive import DiffDrive
from vmas.simulator.sensors import Lidar
from vmas.simulator.utils import Color

from hetrl.env.physique import physique
from hetrl.env.vmas import Vmas

WORLD = World(2, torch.device("cpu"))


def lidar(**arguments):
    return [Lidar(WORLD, **{"n_rays": 4, "max_range": 1.0, **arguments})]


@pytest.mark.parametrize(
    "other",
    [
        {"mass": 2.0},
        {"shape": Sphere(0.06)},
        {"shape": Box(0.1, 0.1)},
        {"max_speed": 1.0},
        {"drag": 0.1},
        {"u_multiplier": 2.0},
        {"u_multiplier": [1.0, 0.5]},
        {"u_range": 0.5},
        {"max_f": 3.0},
        {"rotatable": False},
        {"collide": False},
        {"obs_range": 1.0},
        {"obs_noise": 0.1},
        {"gravity": (0.0, -1.0)},
        {"dynamics": DiffDrive(WORLD)},
        {"sensors": lidar()},
    ],
    ids=lambda other: next(iter(other)),
)
def test_physical_properties_count(other):
    assert physique(Agent("agent", **other)) != physique(Agent("agent"))


@pytest.mark.parametrize(
    "other", [{"max_range": 2.0}, {"n_rays": 5}, {"angle_end": math.pi}, {"angle_start": 0.1, "angle_end": 3.0}]
)
def test_what_a_lidar_sees_counts(other):
    assert physique(Agent("agent", sensors=lidar(**other))) != physique(Agent("agent", sensors=lidar()))


def sees(agent=None, start="a", least=0.1):
    return lambda entity: entity is not agent and entity.name.startswith(start) and entity.mass > least


@pytest.mark.parametrize(
    "other",
    [
        lambda entity: isinstance(entity, Landmark),
        lambda entity: entity.name.startswith("agent"),
        lambda entity: any(entity.name == name for name in "bc"),
        lambda entity, kind="a": isinstance(entity, Agent) and kind,
        sees("me", "b"),
        sees("me", "a", 0.2),
        sees("me", ("a", "b")),
    ],
)
def test_whom_a_lidar_sees_counts(other):
    alike = [
        lambda entity: isinstance(entity, Agent),
        lambda entity: entity.name.startswith("wall"),
        lambda entity: any(entity.name == name for name in "ab"),
        lambda entity, kind="b": isinstance(entity, Agent) and kind,
        sees("me", "a"),
        sees("me", ("a", "c")),
    ]
    body = physique(Agent("agent", sensors=lidar(entity_filter=other)))
    assert body not in {physique(Agent("agent", sensors=lidar(entity_filter=rule))) for rule in alike}


def test_who_a_filter_refers_to_and_where_it_is_written_do_not_count():
    one, two, three = (
        physique(Agent("agent", sensors=lidar(entity_filter=rule)))
        for rule in (sees(Landmark("one")), sees(Landmark("two")), sees(Landmark("one"), "b"))
    )
    assert one == two != three
    alike = [lidar(entity_filter=lambda entity: entity.movable), lidar(entity_filter=lambda entity: entity.movable)]
    assert len({physique(Agent("agent", sensors=sensors)) for sensors in alike}) == 1


def test_names_colours_and_state_do_not():
    one = Agent("one", color=Color.RED, alpha=0.1, sensors=lidar(alpha=0.3), render_action=True)
    two = Agent("two", color=Color.BLUE, sensors=lidar())
    for agent in (one, two):
        WORLD.add_agent(agent)
    one.set_pos(torch.ones(2), batch_index=None)
    one.goal_of_the_day = 3
    assert physique(one) == physique(two) and hash(physique(one)) == hash(physique(two))


@pytest.mark.parametrize(
    ("scenario", "arguments", "bodies"),
    [
        ("balance", {}, {"agents": 3}),
        ("simple_tag", {}, {"adversary": 3, "agent": 1}),
        ("navigation", {}, {"agents": 4}),
        ("football", {"n_blue_agents": 5, "n_red_agents": 1}, {"agents": 5}),
        (
            "football",
            {"n_blue_agents": 5, "n_red_agents": 1, "physically_different": True},
            {"agent_blue_0": 2, "agent_blue_2": 2, "agent_blue_4": 1},
        ),
        ("joint_passage_size", {}, {"agent_0": 1, "agent_1": 1}),
        ("joint_passage", {}, {"agents": 2}),
        ("joint_passage", {"asym_package": False, "mass_ratio": 4}, {"agent_0": 1, "agent_1": 1}),
    ],
)
@pytest.mark.filterwarnings("ignore:Force limits not specified")
def test_sharing_groups_are_bodies(scenario, arguments, bodies):
    team = Vmas(scenario=scenario, n_envs=1, **arguments).team
    assert {body: len(agents) for body, agents in team.bodies.items()} == bodies
