"""The particle worlds of mpe2: equal to the library bit for bit, within TorchRL's specs, exact continuation."""

import importlib
import sys

import numpy as np
import pytest
import torch
from env.stepped import actions, play, same, through_file
from torchrl.envs.utils import check_env_specs

import hetrl
from hetrl.env import pettingzoo
from hetrl.env.pettingzoo import PettingZoo
from hetrl.errors import DependencyError, RecipeError, RunError
from hetrl.recipe.check import check
from hetrl.team import Box

WORLDS = sorted(pettingzoo._TASKS)
KINDS = [True, False]


def library(name, **arguments):
    return importlib.import_module(f"mpe2.{name}").parallel_env(**arguments)


def of_row(env, taken, row):
    """What the library's own environment is given in that row: agent -> its action."""
    given = {}
    for agent in env.team.agents:
        action = taken[agent.group][row, agent.index].numpy()
        given[agent.name] = action if isinstance(agent.action, Box) else int(action[0])
    return given


# ----- mpe2


@pytest.mark.parametrize("continuous", KINDS)
@pytest.mark.parametrize("name", WORLDS)
def test_a_world_is_the_librarys_bit_for_bit(name, continuous):
    """Two rows over two episodes and a half: observations, states, rewards and ends on the same actions and seeds."""
    env = PettingZoo(name=name, n_envs=2, horizon=6, seed=4, continuous_actions=continuous)
    twins = [library(name, continuous_actions=continuous, max_cycles=6) for _ in range(2)]
    observation = env.start()
    bare = [twin.reset(seed=seed)[0] for twin, seed in zip(twins, env._episode_seeds.tolist(), strict=True)]
    for step in range(15):
        for row, (twin, seen) in enumerate(zip(twins, bare, strict=True)):
            for agent in env.team.agents:
                assert (observation[agent.group][row, agent.index].numpy() == seen[agent.name]).all()
            assert (env.state(observation)[row].numpy() == twin.state()).all()
        taken = actions(env, step)
        moved = env.advance(taken)
        assert moved.truncated.all() == ((step + 1) % 6 == 0) and not moved.terminated.any()
        for row, twin in enumerate(twins):
            bare[row], earned, _, cut, _ = twin.step(of_row(env, taken, row))
            for agent in env.team.agents:
                assert (moved.next_observation[agent.group][row, agent.index].numpy() == bare[row][agent.name]).all()
                assert moved.reward[agent.group][row, agent.index] == np.float32(earned[agent.name])
            assert all(cut.values()) == moved.truncated[row]
            if moved.truncated[row]:
                bare[row] = twin.reset(seed=int(env._episode_seeds[row]))[0]
        observation = moved.observation


@pytest.mark.parametrize("continuous", KINDS)
@pytest.mark.parametrize("name", WORLDS)
def test_torchrl_accepts_every_world(name, continuous):
    check_env_specs(PettingZoo(name=name, n_envs=2, horizon=5, continuous_actions=continuous))


def test_torchrl_rolls_out_and_resets_single_rows():
    env = PettingZoo(name="simple_spread_v3", n_envs=3, horizon=4)
    rollout = env.rollout(9, break_when_any_done=False)
    assert rollout["next", "truncated"][0, :, 0].nonzero().flatten().tolist() == [3, 7]
    after = env.step(env.rand_action(env.reset()))["next"]
    before = after["agents", "observation"].clone()
    after["_reset"] = torch.tensor([[False], [True], [False]])
    again = env.reset(after.clone())["agents", "observation"]
    assert env._steps.tolist() == [1, 0, 1]
    assert [torch.equal(again[row], before[row]) for row in range(3)] == [True, False, True]


def test_every_world_of_the_installed_library_is_named():
    from mpe2.all_modules import mpe_environments

    assert {name.removeprefix("mpe/") for name in mpe_environments} == set(WORLDS)


def test_the_catalogue_says_what_each_is_about_and_its_agents_sizes():
    found = PettingZoo.catalogue()
    assert list(found) == WORLDS
    assert found["simple_speaker_listener_v4"] == (
        "One sees the goal and can only speak, the other moves and can only listen. "
        "1 speaker: 3 -> discrete[3]; 1 listener: 11 -> discrete[5]"
    )


def test_the_horizon_is_the_librarys_unless_given():
    assert PettingZoo(name="simple_v3", n_envs=1).horizon == 25
    env = PettingZoo(name="simple_v3", n_envs=1, horizon=40)
    env.start()
    ends = [bool(env.advance(actions(env)).truncated) for _ in range(40)]
    assert ends == [False] * 39 + [True]


def test_success_terminates():
    """The one landmark under the one agent: terminated at once, not truncated, also on the last step."""
    env = PettingZoo(name="simple_spread_v3", n_envs=2, N=1, horizon=2, terminate_on_success=True)
    still = {"agents": torch.zeros(2, 1, 1, dtype=torch.int64)}
    env.start()
    for covered in (0, 1):
        for simulator, at in zip(env._simulators.all, (covered, 1), strict=True):
            world = simulator.env.world
            world.agents[0].state.p_pos = np.zeros(2)
            world.landmarks[0].state.p_pos = np.zeros(2) if at else np.ones(2)
        moved = env.advance(still)
        assert moved.terminated.tolist() == [bool(covered), True] and not moved.truncated.any()


def test_the_teams_reward():
    """simple_spread's agents earn three numbers of their own; sum and mean differ by their count."""
    kinds = {kind: PettingZoo(name="simple_spread_v3", n_envs=2, reward=kind) for kind in ("sum", "mean", "per_agent")}
    for env in kinds.values():
        env.start()
    moved = {kind: env.advance(actions(env)) for kind, env in kinds.items()}
    total, mean, none = (kinds[kind].team_reward(moved[kind].reward) for kind in kinds)
    torch.testing.assert_close(total, moved["sum"].reward["agents"].sum(-1))
    torch.testing.assert_close(total, 3 * mean)
    assert none is None


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "expected"), [("sum", -76.8), ("mean", -25.6)])
def test_a_random_policy_earns_what_the_reference_says(kind, expected):
    """-76.8 over 500 episodes of continuous simple_spread, counted as the sum over agents; here over 1,000."""
    env = PettingZoo(name="simple_spread_v3", n_envs=200, continuous_actions=True, reward=kind)
    returns = []
    for episode in range(5):
        env.start()
        steps = [env.team_reward(env._simulate(actions(env, 100 * episode + step))[1]) for step in range(25)]
        returns.append(torch.stack(steps).sum(0))
    returns = torch.cat(returns)
    assert abs(returns.mean() - expected) < 4 * returns.std() * (1 / 500 + 1 / 1000) ** 0.5


def test_actions_are_clamped_to_their_bounds():
    env, other = (PettingZoo(name="simple_spread_v3", n_envs=2, continuous_actions=True) for _ in range(2))
    env.start(), other.start()
    beyond = actions(env, low=-1.0, high=2.0)
    within = {group: action.clamp(0, 1) for group, action in beyond.items()}
    assert same(env.advance(beyond).observation, other.advance(within).observation)
    assert env.team.agents[0].action == Box((0.0,) * 5, (1.0,) * 5)


def test_pictures():
    env = PettingZoo(name="simple_world_comm_v3", n_envs=2)
    env.start()
    first, other = env.frame(0), env.frame(1)
    assert first.shape == (700, 700, 3) and first.dtype == np.uint8 and first.min() == 0 < first.max()
    assert not np.array_equal(first, other) and np.array_equal(first, env.frame(0))


# ----- random numbers and exact continuation


@pytest.mark.parametrize("continuous", KINDS)
@pytest.mark.parametrize("name", WORLDS)
def test_state_continues_bit_for_bit(name, continuous):
    made = {"name": name, "n_envs": 2, "horizon": 5, "continuous_actions": continuous}
    env, twin = PettingZoo(**made, seed=3), PettingZoo(**made, seed=9)
    env.start(), twin.start()
    play(env, 8), play(twin, 2)
    twin.load_state_dict(through_file(env.state_dict()))
    assert same(twin._observation, env._observation)
    assert torch.equal(play(twin, 8, first=8), play(env, 8, first=8))


def test_a_state_from_before_the_first_start():
    made = {"name": "simple_v3", "n_envs": 2}
    env, twin = PettingZoo(**made, seed=3), PettingZoo(**made, seed=9)
    twin.load_state_dict(through_file(env.state_dict()))
    assert same(twin.start(), env.start())


def test_states_that_do_not_fit_are_refused():
    env = PettingZoo(name="simple_v3", n_envs=2)
    with pytest.raises(RunError, match=r"size\] = {'agents': \[3, 1, 1\]}, this task has {'agents': \[2, 1, 1\]}"):
        env.load_state_dict(PettingZoo(name="simple_v3", n_envs=3).state_dict())


def test_seeds():
    def fresh(seed):
        env = PettingZoo(name="simple_tag_v3", n_envs=3, horizon=5, seed=seed)
        env.start()
        return env

    expected = play(fresh(1))
    assert torch.equal(play(fresh(1)), expected)
    assert not torch.equal(play(fresh(2)), expected)
    env = fresh(2)
    env.seed(1)
    env.start()
    assert torch.equal(play(env), expected)
    rows = fresh(1)._observation["adversary"]
    assert not torch.equal(rows[0], rows[1])


# ----- recipes


@pytest.mark.parametrize("task", ["mpe_spread", "mpe_speaker_listener"])
@pytest.mark.parametrize("continuous", KINDS)
def test_the_shipped_tasks_link(task, continuous):
    discrete = ["task.continuous_actions=false", "nets.actor.use=net/categorical_policy"]
    check(hetrl.load("happo", f"task=task/{task}", *([] if continuous else discrete)))


TINY = ["task.n_envs=4", "task.horizon=7", "data.frames=40", "run.frames=80", "run.eval_every=40", "run.device=cpu",
        "run.n_eval_episodes=3", "nets.actor.hidden=[8]", "nets.value.hidden=[8]"]  # fmt: skip


# Lightning's advice for other kinds of training.
@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*", "ignore:.*no pre-optimization state.*")
def test_two_updates_and_a_resume(tmp_path):
    from hetrl.runs.run import resume, train

    recipe = ("happo", "task=task/mpe_speaker_listener", *TINY)
    folder = train(hetrl.load(*recipe), tmp_path / "run", quiet=True)
    resumed = resume(folder.path, "run.frames=120", quiet=True).load_checkpoint()
    whole = train(hetrl.load(*recipe, "run.frames=120"), tmp_path / "whole", quiet=True).load_checkpoint()
    assert resumed["hetrl"]["frames"] == 120
    assert same(resumed["state_dict"], whole["state_dict"])


# ----- errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "env/pettingzoo needs the argument 'name'."),
        ({"name": "simple_sprad_v3"}, "task.name: mpe2 has no world 'simple_sprad_v3'. Nearest: 'simple_spread_v3'."),
        (
            {"name": "simple_spread_v3", "continuous": True},
            "task.continuous: 'simple_spread_v3' has no such argument. Nearest: 'continuous_actions'.",
        ),
        ({"name": "simple_v3", "max_cycles": 5}, "task.max_cycles: write task.horizon instead."),
        (
            {"name": "simple_v3", "continuous_actions": "false"},
            "task.continuous_actions: 'false' is not true or false.",
        ),
        ({"name": "simple_v3", "continuous_actions": 1}, "task.continuous_actions: 1 is not true or false."),
        ({"name": "simple_spread_v3", "N": True}, "task.N: True is not a whole number."),
        ({"name": "simple_spread_v3", "N": 3.0}, "task.N: 3.0 is not a whole number."),
        ({"name": "simple_spread_v3", "local_ratio": "0.5"}, "task.local_ratio: '0.5' is not a number."),
        (
            {"name": "simple_v3", "render_mode": "human"},
            "task.render_mode: leave it out; pictures are drawn without a display.",
        ),
        (
            {"name": "simple_spread_v3", "local_ratio": 2.0},
            "task: 'simple_spread_v3' cannot be built with {'local_ratio': 2.0}: local_ratio is a proportion. Must be "
            "between 0 and 1.. Change those arguments.",
        ),
        ({"name": "simple_v3", "n_envs": 0}, "env/pettingzoo: n_envs = 0: Input should be greater than 0."),
        ({"name": "simple_v3", "horizon": 0}, "env/pettingzoo: horizon = 0: Input should be greater than 0."),
    ],
)
def test_refuses_wrong_arguments(arguments, message):
    with pytest.raises(RecipeError) as caught:
        PettingZoo(**arguments)
    assert str(caught.value) == message


def test_a_number_may_be_whole_and_a_default_of_none_tells_nothing():
    env = PettingZoo(name="simple_spread_v3", n_envs=1, local_ratio=1, num_agent_neighbors=1)
    assert env.team.agents[0].observation_size == 4 + 2 * 3 + (2 + 2)  # itself, landmarks, a neighbour and its word


def test_rows_that_are_not_there_and_an_episode_stepped_on():
    env = PettingZoo(name="simple_v3", n_envs=1, horizon=1)
    env.start()
    for row in (1, -1):
        with pytest.raises(RunError, match=rf"^frame: no environment {row}, there are 1; rows count from 0\.$"):
            env.frame(row)
    env._simulate(actions(env))
    with pytest.raises(RunError, match="an episode at its horizon was stepped on; reset it first"):
        env._simulate(actions(env))


def test_without_mpe2_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpe2", None)
    for name in [name for name in sys.modules if name.startswith("mpe2.")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(DependencyError, match=r'run: pip install "hetrl\[pettingzoo\]"'):
        PettingZoo(name="simple_v3")
