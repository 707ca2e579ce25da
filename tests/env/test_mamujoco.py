"""Robots driven by teams: equal to gymnasium-robotics step by step, and exact where it has no say."""

import importlib
import io
import math
import random
import warnings

import numpy as np
import pytest
import torch
from torchrl.envs.utils import check_env_specs

from hetrl.env import physics, robots
from hetrl.env.mamujoco import Mamujoco
from hetrl.errors import DependencyError, RecipeError, RunError

mujoco = pytest.importorskip("mujoco")

TASKS = [
    *[("Ant", parts) for parts in ("2x4", "2x4d", "4x2", "8x1")],
    *[("HalfCheetah", parts) for parts in ("2x3", "3x2", "6x1")],
    ("Hopper", "3x1"),
    *[("Humanoid", parts) for parts in ("9|8", "17x1")],
    *[("HumanoidStandup", parts) for parts in ("9|8", "17x1")],
    ("Reacher", "2x1"),
    ("Swimmer", "2x1"),
    *[("Walker2d", parts) for parts in ("2x3", "3x2", "6x1")],
]
IN_LIBRARY = {
    "Ant": "4x2",
    "HalfCheetah": "2x3",
    "Hopper": "3x1",
    "Humanoid": "9|8",
    "HumanoidStandup": "9|8",
    "Reacher": "2x1",
    "Swimmer": "2x1",
    "Walker2d": "2x3",
}
"""A factorisation that the library knows, of each robot: the nodes of the others are taken from it."""


@pytest.fixture(scope="module")
def library():
    pytest.importorskip("gymnasium_robotics")
    with warnings.catch_warnings():  # what it registers on import is out of date, and it says so
        warnings.simplefilter("ignore")
        obsk = importlib.import_module("gymnasium_robotics.envs.multiagent_mujoco.obsk")
        return importlib.import_module("gymnasium_robotics").mamujoco_v1, obsk.get_parts_and_edges


def theirs(library, name, parts, k):
    """Return the library's environment; for a factorisation that it lacks, one made of its nodes."""
    mamujoco_v1, get_parts_and_edges = library
    known, edges, root = get_parts_and_edges(name, IN_LIBRARY[name])
    nodes = {node.label: node for part in known for node in part}
    if name == "Ant":
        nodes = {f"{label[:-1]}_{label[-1]}": node for label, node in nodes.items()}
    if name == "Swimmer":
        nodes = {"motor1_rot": nodes["rot2"], "motor2_rot": nodes["rot3"]}
    partition = [tuple(nodes[joint] for joint in joints) for joints in robots.ROBOTS[name].agents(parts).values()]
    try:
        assert get_parts_and_edges(name, parts)[0]
        factorisation = None
    except Exception as error:
        assert "UNKNOWN" in str(error)
        factorisation = {"partition": partition, "edges": edges, "globals": root}
    outside = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda text: None)  # else it logs, here, that the cheetah's file is old
    try:
        return mamujoco_v1.parallel_env(name, parts, agent_obsk=k, agent_factorization=factorisation)
    finally:
        mujoco.set_mju_user_warning(outside)


def begin_alike(their, env, row):
    """Reset the library's environment and put it where a row of ours has begun."""
    their.reset()
    simulator, values = their.single_agent_env.unwrapped, env.physics.values[row]
    mujoco.mj_resetData(simulator.model, simulator.data)
    simulator.set_state(values[env.physics.columns["qpos"]], values[env.physics.columns["qvel"]])


def drawn(env, generator, reach=1.0):
    """Uniform actions, ``reach`` times the bound."""
    size = env.robot.torque * reach
    return {
        group: torch.from_numpy(
            generator.uniform(-size, size, (env.n_envs, len(agents), agents[0].action.size)).astype(np.float32)
        )
        for group, agents in env.team.layout.items()
    }


def make(name="Hopper", parts="3x1", **arguments):
    env = Mamujoco(**{"robot": name, "parts": parts, "n_envs": 3, **arguments})
    env.start()
    return env


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def through_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


# ----- equal to the library


def follow(library, name, parts, steps, k, row=1, reach=1.0, generator=None):
    """Step both with the same actions and compare all that they say. Returns the episodes that ended.

    The library gives float64 and ours is float32; rounded, observations are the same numbers, and rewards within one
    unit of the last place, as the sum of squares is taken in another order.
    """
    env, their = make(name, parts, observation="local", k=k), theirs(library, name, parts, k)
    whole = make(name, parts, observation="full+id", n_envs=1)
    begin_alike(their, env, row)
    generator = generator or np.random.default_rng(0)
    clipped = (env.robot.velocity, env.robot.local_velocity) == ("clipped_qvel", "qvel")
    ended = 0
    for _ in range(steps):
        taken = drawn(env, generator, reach)
        whole.physics.values[0] = env.physics.values[row]
        moved = env.advance(taken)
        single = {
            group: torch.cat([taken[env.team[agent.name].group][row : row + 1, env.team[agent.name].index].unsqueeze(1)
                              for agent in agents], 1)
            for group, agents in whole.team.layout.items()
        }  # fmt: skip
        seen_whole = whole.advance(single).next_observation
        whole._steps.zero_()
        acted = {f"agent_{i}": taken[a.group][row, a.index].numpy() for i, a in enumerate(env.team.agents)}
        seen, earned, terminated, truncated, _ = their.step(acted)
        for place, agent in enumerate(env.team.agents):
            expected = seen[f"agent_{place}"].astype(np.float32)
            found = moved.next_observation[agent.group][row, agent.index].numpy()
            assert found.shape == expected.shape and np.array_equal(found, expected), agent.name
            reward = moved.reward[agent.group][row, agent.index].item()
            assert reward == pytest.approx(earned[f"agent_{place}"], rel=3e-7, abs=1e-9)
        full = their.state().astype(np.float32)
        assert full.std() > 0.05  # there is something to compare
        one_hot = np.eye(len(env.team), dtype=np.float32)
        for place, agent in enumerate(whole.team.agents):
            found = seen_whole[agent.group][0, agent.index].numpy()
            assert np.array_equal(found, np.concatenate([full, one_hot[place]]))
        assert np.array_equal(whole.state(seen_whole)[0].numpy(), full)
        state = env.state(moved.next_observation)[row].numpy()
        if clipped:  # the one place where what agents see locally is not part of the full observation
            n_velocities = env.physics.model.nv
            state = np.concatenate([state[:-n_velocities], state[-n_velocities:].clip(-10, 10)])
        assert np.array_equal(state, full)
        assert terminated["agent_0"] == moved.terminated[row].item()
        assert (truncated["agent_0"] and not terminated["agent_0"]) == moved.truncated[row].item()
        if terminated["agent_0"] or truncated["agent_0"]:
            begin_alike(their, env, row)
            ended += 1
    return ended


@pytest.mark.parametrize("name", robots.ROBOTS)
def test_equals_the_library_step_by_step(library, name):
    """The first 120 steps of one factorisation, with its ends and resets; all of 1,000 steps are the slow test's."""
    parts = {"Walker2d": "6x1", "HalfCheetah": "3x2", "Humanoid": "17x1", "Ant": "8x1"}.get(name, IN_LIBRARY[name])
    ended = follow(library, name, parts, 120, k=1)
    assert ended > 0 or name in ("HalfCheetah", "Ant", "HumanoidStandup", "Swimmer")


@pytest.mark.parametrize("k", [0, 2, 5])
@pytest.mark.parametrize(("name", "parts"), TASKS)
def test_equals_the_library_with_other_neighbours(library, name, parts, k):
    follow(library, name, parts, 3, k)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "parts"), TASKS)
def test_equals_the_library_for_a_thousand_steps(library, name, parts):
    """A whole episode, to its end at the horizon, where nothing else ends it; the others end now and then."""
    assert follow(library, name, parts, 1000, k=1) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in robots.ROBOTS if name not in ("Reacher", "Swimmer")])
def test_equals_the_library_when_it_stays_on_its_feet(library, name):
    """Small actions let it stand longer: contacts last, and the ant's episodes reach the horizon. Two touch nothing."""
    follow(library, name, IN_LIBRARY[name], 1000, k=1, reach=0.1, generator=np.random.default_rng(1))


def test_a_reward_by_hand():
    """The docstring's: HalfCheetah, 0.1 m in 0.05 s with six torques of 0.5: 0.1 / 0.05 - 0.1 * 6 * 0.25 = 1.85."""
    env = make("HalfCheetah", "2x3")

    def moved_by_hand():
        env._place += 0.1

    env.physics.step = moved_by_hand
    moved = env.advance({"agents": torch.full((3, 2, 3), 0.5)})
    torch.testing.assert_close(moved.reward["agents"], torch.full((3, 2), 1.85))
    torch.testing.assert_close(env.team_reward(moved.reward), torch.full((3,), 1.85))


def test_actions_are_clamped_before_they_cost():
    """A torque of 7 costs, and does, what 1 does."""
    one, other = make("HalfCheetah", "2x3"), make("HalfCheetah", "2x3")
    a, b = one.advance({"agents": torch.full((3, 2, 3), 7.0)}), other.advance({"agents": torch.ones(3, 2, 3)})
    assert same(a.reward, b.reward) and same(a.observation, b.observation)


@pytest.mark.parametrize(("name", "parts"), [("Hopper", "3x1"), ("HalfCheetah", "2x3")])
def test_first_states_have_the_tasks_distribution(name, parts):
    """Uniform noise within its scale; the cheetah's velocities normal with 0.1. Five standard errors of 4,000."""
    env = Mamujoco(robot=name, parts=parts, n_envs=4000)
    env.start()
    columns, (scale, speed) = env.physics.columns, env.robot.noise
    assert scale == speed
    positions = env.physics.values[:, columns["qpos"]] - env.physics.model.qpos0
    velocities = env.physics.values[:, columns["qvel"]]
    assert abs(positions).max() <= scale and abs(positions).max() > 0.99 * scale
    uniform = scale / math.sqrt(3)
    assert positions.std(0) == pytest.approx(uniform, rel=0.05)
    assert velocities.std(0) == pytest.approx(scale if env.robot.normal else uniform, rel=0.06)
    assert (abs(velocities).max() > 3 * scale) == env.robot.normal
    for noise in (positions, velocities):
        assert abs(noise.mean(0)).max() < 5 * scale / math.sqrt(4000)
        assert abs(np.corrcoef(noise.T) - np.eye(noise.shape[1])).max() < 5 / math.sqrt(4000)


def test_the_reacher_begins_with_a_goal_in_its_disc():
    """Uniform over a disc of 0.2 m: a quarter of the goals within half of it, as many on each side; it stands still."""
    env = Mamujoco(robot="Reacher", parts="2x1", n_envs=4000)
    env.start()
    columns = env.physics.columns
    positions, velocities = env.physics.values[:, columns["qpos"]], env.physics.values[:, columns["qvel"]]
    arm, goal = positions[:, :2], positions[:, 2:]
    away = np.hypot(*goal.T)
    assert 0.198 < away.max() <= 0.2
    assert np.mean(away < 0.1) == pytest.approx(0.25, abs=0.035)
    assert np.mean(goal > 0, axis=0) == pytest.approx(0.5, abs=0.04)
    assert abs(np.corrcoef(positions.T) - np.eye(4)).max() < 5 / math.sqrt(4000)
    assert 0.099 < abs(arm).max() <= 0.1 and arm.std(0) == pytest.approx(0.1 / math.sqrt(3), rel=0.05)
    assert 0.00495 < abs(velocities[:, :2]).max() <= 0.005 and (velocities[:, 2:] == 0).all()
    seen = env._observation["agents"][:, 0].numpy()
    assert np.array_equal(seen[:, 4:6], goal.astype(np.float32))
    reach = 0.1 * np.cos(arm[:, 0]) + 0.11 * np.cos(arm.sum(1))  # links of 0.1 and 0.11 m
    assert np.allclose(seen[:, 8], reach - goal[:, 0], atol=1e-6)


def test_rewards_of_distance_and_of_height_by_hand():
    """A fingertip 0.3 and 0.4 m off, torques of 0.5: -0.5 - 0.5. A torso at 0.3 m: 0.3 / 0.003 + 1."""
    env = make("Reacher", "2x1")

    def moved_by_hand():
        env._gap[0][:] = env._gap[1] + [0.3, 0.4, 0.0]

    env.physics.step = moved_by_hand
    earned = env.advance({"agents": torch.full((3, 2, 1), 0.5)}).reward["agents"]
    torch.testing.assert_close(earned, torch.full((3, 2), -1.0))
    env = make("HumanoidStandup", "9|8")

    def put_by_hand():
        env._place[:] = 0.3

    env.physics.step = put_by_hand
    moved = env.advance(drawn(env, np.random.default_rng(0), reach=0.0))
    for earned in moved.reward.values():
        torch.testing.assert_close(earned, torch.full_like(earned, 101.0))
    assert not moved.terminated.any()


def test_the_horizon_is_gymnasiums_unless_said():
    horizons = {name: make(name, parts).horizon for name, parts in IN_LIBRARY.items()}
    assert horizons == dict.fromkeys(IN_LIBRARY, 1000) | {"Reacher": 50}
    assert make("Reacher", "2x1", horizon=7).horizon == 7


@pytest.mark.parametrize("name", robots.ROBOTS)
def test_the_table_of_robots_is_the_model(name):
    robot, model = robots.ROBOTS[name], physics.load_model(robots.ROBOTS[name].model)
    joints = list(robot.joints)
    if name.startswith("Humanoid"):
        joints[:2] = joints[1::-1]  # as the library has them
    goal = [] if robot.goal is None else ["target_x", "target_y"]
    assert [model.joint(i).name for i in range(model.njnt)][-len(joints + goal) :] == joints + goal
    assert (model.nq, model.nv) == tuple(size + len(joints + goal) for size in robot.root)
    if robot.gap:
        assert [model.body(body).name for body in robot.gap] == ["fingertip", "target"]
    assert not robot.height or robot.height == 1 / model.opt.timestep
    assert [model.joint(model.actuator_trnid[i, 0]).name for i in range(model.nu)] == list(robot.controls)
    assert (model.actuator_ctrlrange == [-robot.torque, robot.torque]).all()
    assert not robot.n_bodies or robot.n_bodies == model.nbody
    assert model.na == 0 and model.nsensor == 0 and model.nmocap == 0  # else a state has more than Physics keeps


# ----- the simulation


@pytest.mark.parametrize(
    ("name", "parts"), [("Hopper", "3x1"), ("Ant", "4x2"), ("Humanoid", "9|8"), ("Reacher", "2x1"), ("Swimmer", "2x1")]
)
def test_one_simulator_steps_as_one_for_each_environment(name, parts):
    """Loading rows, stepping and writing them back loses no bit against a simulator for each row."""
    env = make(name, parts)
    copies = [mujoco.MjData(env.physics.model) for _ in range(3)]
    for row, data in enumerate(copies):
        mujoco.mj_setState(env.physics.model, data, env.physics.values[row, : env.physics._state], env.physics._spec)
    controls = np.random.default_rng(0).uniform(-0.4, 0.4, (30, 3, env.physics.model.nu))
    for control in controls:
        env._control[:] = control
        env.physics.step()
        for data, own in zip(copies, control, strict=True):
            data.ctrl[:] = own
            mujoco.mj_step(env.physics.model, data, env.robot.n_substeps)
    columns = env.physics.columns
    for row, data in enumerate(copies):
        assert np.array_equal(env.physics.values[row, columns["qpos"]], data.qpos)
        assert np.array_equal(env.physics.values[row, columns["qvel"]], data.qvel)


def play(env, steps=40, seed=0):
    """All that happens in the steps, with episodes that end on the way."""
    generator, seen = np.random.default_rng(seed), []
    for _ in range(steps):
        moved = env.advance(drawn(env, generator))
        seen += [*moved.next_observation.values(), *moved.observation.values(), *moved.reward.values()]
        seen += [moved.terminated, moved.truncated]
    return torch.cat([part.flatten().float() for part in seen])


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_threads_change_no_number(threads):
    arguments = {"n_envs": 5, "horizon": 17, "observation": "local"}
    expected = play(make("Ant", "4x2", **arguments))
    assert torch.equal(play(make("Ant", "4x2", **arguments, threads=threads)), expected)


def test_environments_do_not_touch_each_other():
    """Row 0 of a large batch goes where a batch of its own goes, whatever the others do."""
    alone, among = make(n_envs=1), make(n_envs=7)
    among.physics.values[0] = alone.physics.values[0]
    generator = np.random.default_rng(0)
    for _ in range(15):
        taken = drawn(among, generator)
        mine = alone._simulate({"agents": taken["agents"][:1]})
        others = among._simulate(taken)
        assert torch.equal(mine[0]["agents"], others[0]["agents"][:1])


def test_unhealthy_terminates_and_the_horizon_truncates():
    """A hopper is 1.25 m high; one that is put at 0.5 m is below 0.7 and terminates, also at the horizon."""
    env = make(horizon=2)
    still = {"agents": torch.zeros(3, 3, 1)}
    moved = env.advance(still)
    assert not moved.terminated.any() and not moved.truncated.any()
    assert moved.observation is moved.next_observation
    env.physics.values[1, env.physics.columns["qpos"]][1] = 0.5
    moved = env.advance(still)
    assert moved.terminated.tolist() == [False, True, False] and moved.truncated.tolist() == [True, False, True]
    assert moved.reward["agents"][0, 0] == pytest.approx(moved.reward["agents"][1, 0] + 1, abs=0.5)  # survival
    assert (env._steps == 0).all()
    assert not torch.equal(moved.observation["agents"], moved.next_observation["agents"])
    assert moved.observation["agents"][:, 0, 0] == pytest.approx(1.25, abs=0.006)


def test_only_finished_environments_are_reset():
    env = make()
    env._steps[1] = env.horizon - 1
    moved = env.advance({"agents": torch.zeros(3, 3, 1)})
    kept, changed = moved.observation["agents"], moved.next_observation["agents"]
    assert torch.equal(kept[[0, 2]], changed[[0, 2]]) and not torch.equal(kept[1], changed[1])
    assert env._steps.tolist() == [1, 0, 1]


def test_returned_tensors_do_not_change_afterwards():
    env = make(horizon=3)
    first = env.advance(drawn(env, np.random.default_rng(0)))
    kept = [value.clone() for part in (first.next_observation, first.reward) for value in part.values()]
    flags = first.terminated.clone()
    play(env, 5)
    now = [value for part in (first.next_observation, first.reward) for value in part.values()]
    assert all(map(torch.equal, kept, now)) and torch.equal(flags, first.terminated)


# ----- teams, specs


@pytest.mark.parametrize("observation", ["local", "full+id"])
@pytest.mark.parametrize(("name", "parts"), TASKS)
def test_torchrl_accepts_specs_and_rollouts(name, parts, observation):
    env = Mamujoco(robot=name, parts=parts, observation=observation, n_envs=2, horizon=3)
    check_env_specs(env)
    rollout = env.rollout(4, break_when_any_done=False)
    ends = rollout["next", "done"][:, 2].all() or rollout["next", "terminated"].any()
    assert ends and rollout["state"].shape == (2, 4, env.team.state_size)
    assert {agent.name for agent in env.team.agents} == set(env.team.names) and len(env.team) >= 2
    total = sum(agent.action.size for agent in env.team.agents)
    assert total == env.physics.model.nu


def test_torchrl_resets_only_the_rows_it_asks_for():
    env = make()
    after = env.step(env.rand_action(env.reset()))["next"]
    before = env.physics.values.copy()
    after["_reset"] = torch.tensor([[False], [True], [False]])
    env.reset(after)
    changed = (env.physics.values != before).any(1)
    assert changed.tolist() == [False, True, False] and env._steps.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("task", "observation", "bodies"),
    [
        ("Ant 4x2", "local", {"hip_ankle": 4}),
        ("Ant 8x1", "local", {"hip": 4, "ankle": 4}),
        ("Walker2d 2x3", "full+id", {"foot_joint_leg_joint_thigh_joint": 2}),
        ("Walker2d 6x1", "local", {"thigh_joint": 2, "leg_joint": 2, "foot_joint": 2}),
        ("HalfCheetah 2x3", "full+id", {"back": 1, "front": 1}),
        ("Hopper 3x1", "local", {"thigh_joint": 1, "leg_joint": 1, "foot_joint": 1}),
        ("Humanoid 9|8", "local", {"upper": 1, "lower": 1}),
        ("Reacher 2x1", "full+id", {"joint0": 1, "joint1": 1}),
        ("Swimmer 2x1", "local", {"motor1_rot": 1, "motor2_rot": 1}),
    ],
)
def test_mirrored_limbs_have_one_body(task, observation, bodies):
    name, parts = task.split()
    team = robots.team(robots.robot(name), parts, observation, 1)
    assert {body: len(members) for body, members in team.bodies.items()} == bodies


def test_sizes():
    """As the library's: hopper 8, 9, 8 (the middle joint has two neighbours), humanoid 242 and 170, and the reacher's
    second joint alone sees how far its tip is off, in three numbers."""
    sizes = {
        task: [agent.observation_size for agent in robots.team(robots.robot(task[0]), task[1], "local", 1).agents]
        for task in [
            ("Hopper", "3x1"),
            ("Humanoid", "9|8"),
            ("HalfCheetah", "2x3"),
            ("Reacher", "2x1"),
            ("Swimmer", "2x1"),
        ]
    }
    assert list(sizes.values()) == [[8, 9, 8], [242, 170], [12, 12], [7, 10], [6, 6]]


def test_the_catalogue_has_every_task_with_its_sizes():
    catalogue = Mamujoco.catalogue()
    assert list(catalogue) == [f"{name} {parts}" for name, parts in TASKS]
    assert catalogue["HalfCheetah 2x3"] == "2 agents: 19 -> continuous[3]"


def test_per_agent_makes_no_team_reward():
    env = make(reward="per_agent")
    assert env.team_reward(env.advance(drawn(env, np.random.default_rng(0))).reward) is None
    assert make(reward="sum").team_reward({"agents": torch.ones(3, 3)}).tolist() == [3, 3, 3]


# ----- random numbers and exact continuation


@pytest.mark.parametrize(
    ("name", "parts"), [("Hopper", "3x1"), ("Humanoid", "17x1"), ("Ant", "4x2"), ("Reacher", "2x1"), ("Swimmer", "2x1")]
)
def test_state_continues_bit_for_bit(name, parts):
    """Saved in the middle of episodes, with ends and resets after it."""
    env = make(name, parts, horizon=25)
    play(env, 10)
    twin = make(name, parts, horizon=25, seed=8)
    twin.load_state_dict(through_file(env.state_dict()))
    assert same(twin._observation, env._observation)
    assert torch.equal(play(twin, seed=1), play(env, seed=1))


def test_a_saved_state_does_not_change_afterwards():
    env = make()
    state = env.state_dict()
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    assert state.keys() - tensors.keys() == {"robot", "parts"}
    kept = {name: value.clone() for name, value in tensors.items()}
    play(env, 5)
    assert same(tensors, kept)
    env.load_state_dict(state)
    play(env, 5)
    assert same(tensors, kept)


def test_state_of_another_number_of_environments_is_refused():
    with pytest.raises(RunError, match=r"saved with \[n_envs, the robot's columns\] = \[4, 21\], this task has \[3, "):
        make().load_state_dict(make(n_envs=4).state_dict())


def test_state_of_another_robot_is_refused():
    """Also where both have as many numbers, and are parted alike."""
    cheetah, walker = make("HalfCheetah", "2x3"), make("Walker2d", "2x3")
    assert cheetah.physics.values.shape == walker.physics.values.shape
    with pytest.raises(RunError, match=r"^state: saved with HalfCheetah 2x3, this task has Walker2d 2x3\.$"):
        walker.load_state_dict(through_file(cheetah.state_dict()))
    with pytest.raises(RunError, match=r"^state: saved with HalfCheetah 3x2, this task has HalfCheetah 2x3\.$"):
        cheetah.load_state_dict(make("HalfCheetah", "3x2").state_dict())


def test_there_is_no_picture_of_a_row_that_is_not_there():
    with pytest.raises(RunError, match=r"^frame: no environment 9, there are 4; rows count from 0\.$"):
        make(n_envs=4).frame(9)


def test_seeds():
    expected = play(make(seed=1))
    assert torch.equal(play(make(seed=1)), expected)
    assert not torch.equal(play(make(seed=2)), expected)
    env = make(seed=2)
    env.seed(1)
    env.start()
    assert torch.equal(play(env), expected)


def test_the_random_stream_is_private():
    def process():
        return torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()

    before = process()
    alone = play(make(seed=1))
    after = process()
    assert torch.equal(before[0], after[0]) and before[1] == after[1] and (before[2] == after[2]).all()
    env, other = make(seed=1), make(seed=1)
    torch.rand(5)
    play(other)
    assert torch.equal(play(env), alone)


# ----- errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"robot": "HalfCheeta"}, "task.robot: no robot 'HalfCheeta'. Nearest: 'HalfCheetah'."),
        (
            {"robot": "Pusher", "parts": "3p"},
            "task.robot: no robot 'Pusher'. There are: Ant, HalfCheetah, Hopper, Humanoid, HumanoidStandup, Reacher, "
            "Swimmer, Walker2d.",
        ),
        (
            {"robot": "ManySegmentSwimmer"},
            "task.robot: ManySegmentSwimmer's model is generated by gymnasium-robotics and not offered here.",
        ),
        ({"parts": "4x3"}, "task.parts: no factorisation '4x3'. Nearest: '2x3'."),
        ({"observation": "all"}, "env/mamujoco: observation = 'all': Input should be 'local' or 'full+id'."),
        ({"k": -1}, "env/mamujoco: k = -1: Input should be greater than or equal to 0."),
        ({"threads": 0}, "env/mamujoco: threads = 0: Input should be greater than 0."),
        ({"n_env": 4}, "env/mamujoco has no argument 'n_env'. Nearest: 'n_envs'."),
        (
            {"reward": "means"},
            "env/mamujoco: reward = 'means': Input should be 'mean', 'sum', 'per_agent' or 'of_the_living'.",
        ),
        ({"device": "gpu"}, "task.device: 'gpu' is no torch device; use 'cpu', 'cuda' or 'cuda:0'."),
    ],
)
def test_refuses_wrong_arguments(arguments, message):
    with pytest.raises(RecipeError) as caught:
        Mamujoco(**{"robot": "HalfCheetah", "parts": "2x3", **arguments})
    assert str(caught.value) == message


def test_neighbours_go_with_local_observations_only():
    given = {"robot": "Ant", "parts": "4x2", "k": 2}
    Mamujoco.check_arguments({**given, "observation": "local"})
    with pytest.raises(RecipeError, match=r"^task\.k: who sees everything has no neighbours; drop it, or set"):
        Mamujoco.check_arguments(given)


@pytest.mark.parametrize("package", ["mujoco", "gymnasium"])
def test_a_missing_package_is_named_with_what_installs_it(monkeypatch, package):
    monkeypatch.setattr(physics, "find_spec", lambda name: None if name == package else object())
    physics.load_model.cache_clear()
    with pytest.raises(
        DependencyError, match=rf'^task: {package} is not installed; run: pip install "hetrl\[mujoco\]"'
    ):
        Mamujoco(robot="Ant", parts="4x2")
    Mamujoco.catalogue()  # needs neither
