"""PettingZoo: equal to mpe2 bit for bit, every world within TorchRL's specs, agents that leave, exact continuation."""

import importlib
import io
import random
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from gymnasium import spaces
from pettingzoo import ParallelEnv
from torchrl.envs.utils import check_env_specs

import hetrl
from hetrl import catalog
from hetrl.env import pettingzoo
from hetrl.env.pettingzoo import PettingZoo
from hetrl.errors import DependencyError, RecipeError, RunError
from hetrl.recipe.check import check
from hetrl.team import Box, Discrete

WORLDS = sorted(pettingzoo._TASKS)
KINDS = [True, False]


def library(name, **arguments):
    return importlib.import_module(f"mpe2.{name}").parallel_env(**arguments)


def actions(env, seed=0, low=0.0, high=1.0):
    """Random actions of every agent, within 0 and 1 where continuous."""
    generator, taken = torch.Generator().manual_seed(seed), {}
    for group, agents in env.team.layout.items():
        shape, space = (env.n_envs, len(agents)), agents[0].action
        if isinstance(space, Box):
            taken[group] = torch.rand(*shape, space.size, generator=generator) * (high - low) + low
        else:
            each = [torch.randint(options, (*shape, 1), generator=generator) for options in space.choices]
            taken[group] = torch.cat(each, -1)
    return taken


def of_row(env, taken, row):
    """What the library's own environment is given in that row: agent -> its action."""
    given = {}
    for agent in env.team.agents:
        action = taken[agent.group][row, agent.index].numpy()
        given[agent.name] = action if isinstance(agent.action, Box) else int(action[0])
    return given


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[key], right[key]) for key in left)


def play(env, steps=12, first=0):
    """Everything that ``steps`` steps give, in one vector."""
    seen = []
    for step in range(first, first + steps):
        moved = env.advance(actions(env, step))
        masks = [part for parts in (moved.masks, moved.next_masks) for word in parts.values() for part in word.values()]
        seen += [*moved.observation.values(), *moved.next_observation.values(), *moved.reward.values(), *masks]
        seen += [moved.terminated, moved.truncated]
    return torch.cat([part.flatten().float() for part in seen])


def through_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


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


@pytest.mark.parametrize("name", ["simple_spread_v3", "simple_speaker_listener_v4", "simple_tag_v3"])
def test_a_factory_gives_what_the_name_gives(name):
    """The general way through the parallel interface, against the short one."""
    short = PettingZoo(name=name, n_envs=2, horizon=5, seed=1, continuous_actions=True)
    long = PettingZoo(factory=lambda: library(name, continuous_actions=True, max_cycles=5), n_envs=2, seed=1)
    assert long.horizon == 5 and long.team == short.team
    assert same(short.start(), long.start())
    for step in range(12):
        one, other = short.advance(actions(short, step)), long.advance(actions(short, step))
        assert same(one.observation, other.observation) and same(one.next_observation, other.next_observation)
        assert same(one.reward, other.reward) and torch.equal(one.truncated, other.truncated)
        assert all(part.all() for part in other.masks["active"].values()) and one.masks == {}


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
        for simulator, at in zip(env._simulators, (covered, 1), strict=True):
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


# ----- other environments, by a factory


class Leavers(ParallelEnv):
    """Three agents on a line. b leaves after step 1, c after step 3, a after step 5, cut or not."""

    metadata = {"name": "leavers"}
    render_mode = None

    def __init__(self, cut=False, seeded=True):
        self.possible_agents = ["a_0", "a_1", "c"]
        self.cut, self.seeded, self.max_cycles = cut, seeded, 100
        self.leaving = {"a_0": 5, "a_1": 1, "c": 3}

    def observation_space(self, agent):
        seen = spaces.Box(-9, 9, (2, 1) if agent == "c" else (2,), np.float64)
        return spaces.Dict({"observation": seen, "action_mask": spaces.MultiBinary(3)}) if agent == "c" else seen

    def action_space(self, agent):
        return spaces.Discrete(3, start=-1) if agent == "c" else spaces.Box(-2, 2, (1, 2), np.float64)

    def reset(self, seed=None, options=None):
        self.random = np.random.default_rng(seed if self.seeded else None)
        self.agents, self.count = list(self.possible_agents), 0
        self.place = self.random.normal()
        return self.look(), {agent: {} for agent in self.agents}

    def look(self):
        each = {agent: np.array([self.place, self.count]) for agent in self.agents}
        if "c" in each:
            mask = np.array([1, self.count % 2, 1], np.int8)
            each["c"] = {"observation": each["c"][:, None], "action_mask": mask}
        return each

    def step(self, given):
        assert set(given) == set(self.agents)
        assert all(given[a].shape == (1, 2) and given[a].dtype == np.float64 for a in given if a != "c")
        assert given.get("c", 0) in (-1, 0, 1)
        self.count += 1
        self.place += sum(float(np.sum(action)) for action in given.values()) + self.random.normal()
        seen, gone = self.look(), {agent: self.leaving[agent] == self.count for agent in self.agents}
        earned = {agent: float(self.count) for agent in self.possible_agents}  # also those who have left
        none = dict.fromkeys(self.agents, False)
        flags = (none, gone) if self.cut else (gone, none)
        self.agents = [agent for agent in self.agents if not gone[agent]]
        return seen, earned, *flags, {agent: {} for agent in seen}


def leavers(n_envs=2, **arguments):
    env = PettingZoo(factory=lambda: Leavers(**arguments), n_envs=n_envs)
    env.start()
    return env


def test_a_strangers_team():
    env = leavers()
    assert [(a.name, a.group, a.observation_size, a.action) for a in env.team.agents] == [
        ("a_0", "a", 2, Box((-2.0, -2.0), (2.0, 2.0))),
        ("a_1", "a", 2, Box((-2.0, -2.0), (2.0, 2.0))),
        ("c", "c", 2, Discrete((3,))),
    ]
    assert env.team.state_size == 6 and env.horizon == 100
    check_env_specs(env)


@pytest.mark.parametrize("cut", [False, True])
def test_who_leaves_early_is_inactive_sees_nothing_and_earns_nothing(cut):
    env = leavers(cut=cut)
    here = {0: [True, True, True], 1: [True, False, True], 3: [True, False, False]}
    for step in range(5):
        there = [[*env.masks["active"]["a"][row].tolist(), *env.masks["active"]["c"][row].tolist()] for row in (0, 1)]
        expected = here[max(count for count in here if count <= step)]
        assert there == [expected] * 2
        # An agent that has left may do anything, as it is not asked.
        allowed = [True, bool(step % 2), True] if expected[2] else [True] * 3
        assert env.masks["action_mask"]["c"].tolist() == [[allowed]] * 2 and list(env.masks["action_mask"]) == ["c"]
        seen = [*env._observation["a"][0].unbind(), *env._observation["c"][0].unbind()]
        assert [bool(one[1] == step) and bool(one[0] != 0) for one in seen] == expected or step == 0
        assert all(one.eq(0).all() for one, there in zip(seen, expected, strict=True) if not there)
        moved = env.advance(actions(env, step))
        earned = [*moved.reward["a"][0].tolist(), *moved.reward["c"][0].tolist()]
        assert earned == [(step + 1) * is_here for is_here in expected]
        last = step == 4
        assert moved.terminated.tolist() == [last and not cut] * 2
        assert moved.truncated.tolist() == [last and cut] * 2
    assert moved.next_observation["a"][0].tolist() == [[pytest.approx(moved.next_observation["a"][0, 0, 0]), 5], [0, 0]]
    assert moved.next_masks["active"]["a"].tolist() == [[True, False]] * 2  # who took part in the last step
    assert all(part.all() for part in moved.masks["active"].values())  # all are back in the next episode


def test_the_horizon_cuts_a_strangers_episode():
    env = PettingZoo(factory=Leavers, n_envs=2, horizon=2)
    env.start()
    ends = [env.advance(actions(env, step)) for step in range(4)]
    assert [bool(moved.truncated.all()) for moved in ends] == [False, True] * 2
    assert not any(moved.terminated.any() for moved in ends)
    assert ends[1].next_masks["active"]["a"].tolist() == [[True, False]] * 2


def test_masks_in_infos_and_several_choices():
    class Informed(Leavers):
        def observation_space(self, agent):
            return spaces.Box(-9, 9, (2,), np.float32)

        def action_space(self, agent):
            return spaces.MultiDiscrete([2, 4]) if agent == "a_0" else spaces.Discrete(2)

        def reset(self, seed=None, options=None):
            self.agents = list(self.possible_agents)
            seen = {agent: np.zeros(2, np.float32) for agent in self.agents}
            return seen, {"a_1": {"action_mask": np.array([0, 1], np.int8)}}

        def step(self, given):
            self.given = given
            seen, _ = self.reset()
            none = dict.fromkeys(seen, False)
            return seen, dict.fromkeys(seen, 1), none, none, {}

    env = PettingZoo(factory=Informed, n_envs=1)
    env.start()
    assert [str(agent.action) for agent in env.team.agents] == ["discrete[2, 4]", "discrete[2]", "discrete[2]"]
    assert {group: mask.tolist() for group, mask in env.masks["action_mask"].items()} == {
        "a_1": [[[False, True], [True, True]]]
    }
    moved = env.advance({"a_0": torch.tensor([[[1, 3]]]), "a_1": torch.tensor([[[0], [1]]])})
    given = env._simulators[0].env.given
    assert given["a_0"].tolist() == [1, 3] and (given["a_1"], given["c"]) == (0, 1)
    assert moved.masks["action_mask"]["a_1"].all()


def test_what_it_provides():
    assert PettingZoo.provides({"name": "simple_v3"}) == ["agent.observation", "agent.reward", "state", "reward"]
    assert PettingZoo.provides({"factory": Leavers, "reward": "per_agent"}) == [
        "agent.observation", "agent.reward", "state", "agent.active", "agent.action_mask",
    ]  # fmt: skip
    plain = {"factory": lambda: library("simple_v3", max_cycles=5)}
    assert PettingZoo.provides(plain)[-1] == "agent.active"


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


def test_rows_at_different_steps_continue_too():
    env, twin = leavers(n_envs=3), leavers(n_envs=3)
    play(env, 2)
    env._reset_rows(torch.tensor([1]))
    play(env, 2)
    assert env._steps.tolist() == [4, 2, 4]
    twin.load_state_dict(through_file(env.state_dict()))
    assert torch.equal(play(twin, first=4), play(env, first=4))


def test_a_state_from_before_the_first_start():
    made = {"name": "simple_v3", "n_envs": 2}
    env, twin = PettingZoo(**made, seed=3), PettingZoo(**made, seed=9)
    twin.load_state_dict(through_file(env.state_dict()))
    assert same(twin.start(), env.start())


class Global(Leavers):
    """Draws from the generators of the process, which no seed of a reset settles."""

    def step(self, given):
        self.place += np.random.rand() + random.random() + float(torch.rand(1))
        return super().step(given)


@pytest.mark.parametrize("steps", [None, 0, 3])
def test_what_a_stranger_draws_from_the_global_generators_continues_too(steps):
    """Before the first start, right after it, and right after a horizon."""
    env, twin = (PettingZoo(factory=Global, n_envs=2, horizon=3, seed=seed) for seed in (1, 2))
    if steps is not None:
        env.start()
        play(env, steps) if steps else None
    twin.load_state_dict(through_file(env.state_dict()))
    if steps is None:
        env.start(), twin.start()
    assert torch.equal(play(twin, 7), play(env, 7))


def test_states_of_a_world_by_name_and_of_a_factory_do_not_mix():
    named = PettingZoo(name="simple_v3", n_envs=2)
    other = PettingZoo(factory=lambda: library("simple_v3"), n_envs=2)
    for one, another in ((named, other), (other, named)):
        with pytest.raises(RunError, match="only one of the saved environment and this task comes from a factory"):
            one.load_state_dict(another.state_dict())


def test_states_that_do_not_fit_are_refused():
    env = PettingZoo(name="simple_v3", n_envs=2)
    with pytest.raises(RunError, match=r"size\] = {'agents': \[3, 1, 1\]}, this task has {'agents': \[2, 1, 1\]}"):
        env.load_state_dict(PettingZoo(name="simple_v3", n_envs=3).state_dict())
    with pytest.raises(RunError, match="does not repeat an episode from the same seed and actions"):
        state = leavers(seeded=False).state_dict()
        leavers(seeded=False).load_state_dict(state)


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


@pytest.mark.parametrize("name", ["simple_spread_v3", None])
def test_the_random_stream_is_private(name):
    class Careless(Leavers):
        def reset(self, seed=None, options=None):
            np.random.rand(), random.random(), torch.rand(1)
            return super().reset(seed, options)

    def process():
        return torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()

    def fresh():
        env = PettingZoo(name=name, n_envs=2, horizon=4) if name else PettingZoo(factory=Careless, n_envs=2)
        env.start()
        return env

    before = process()
    alone = play(fresh())
    env, other = fresh(), fresh()
    after = process()
    assert torch.equal(before[0], after[0]) and before[1] == after[1] and (before[2] == after[2]).all()
    np.random.rand(5)
    play(other)
    assert torch.equal(play(env), alone)


def test_returned_tensors_do_not_change_afterwards():
    env = leavers()
    first, masks = env._observation, env.masks
    kept = ({k: v.clone() for k, v in first.items()}, {k: v.clone() for k, v in masks["active"].items()})
    play(env, 4)
    env._reset_rows(torch.tensor([0]))
    assert same(first, kept[0]) and same(masks["active"], kept[1])


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


@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*", "ignore:.*no pre-optimization state.*")
def test_a_package_can_give_a_factory_a_name(tmp_path, monkeypatch):
    """As the documentation says. Agents that choose and that steer, that leave and that are masked, in one team."""
    from hetrl.runs.run import evaluate_run, resume, train

    page = (Path(__file__).parents[2] / "docs" / "environments.md").read_text()
    (code,) = re.findall(r"^```py\n(from my_package .*?)^```", page, re.MULTILINE | re.DOTALL)
    theirs, world = types.ModuleType("my_package"), types.ModuleType("yourlab_world")
    theirs.parallel_env = Leavers
    for module in (theirs, world):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(code, "yourlab_world.py", "exec"), world.__dict__)
    monkeypatch.setitem(catalog.BUILT_IN, "env/yourlab.world", "yourlab_world:World")
    task = "task={use: env/yourlab.world, n_envs: 4, horizon: 7}"
    words = [task, "nets.actor.use=net/mixed_policy", "data.frames=40", "run.frames=80", "run.device=cpu"]
    recipe = hetrl.load("happo", *words, "run.eval_every=40", "run.n_eval_episodes=2")
    folder = train(recipe, tmp_path / "run", quiet=True)
    assert folder.load_checkpoint()["hetrl"]["frames"] == 80
    assert evaluate_run(folder.path, n_episodes=2).lengths.max() <= 7
    assert resume(folder.path, "run.frames=120", quiet=True).load_checkpoint()["hetrl"]["frames"] == 120
    with pytest.raises(RecipeError, match=r"env/yourlab\.world has no argument 'n_env'"):
        check(hetrl.load("happo", "task={use: env/yourlab.world, n_env: 4}", *words[1:]))


# ----- errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "task: name one world of mpe2 (hetrl list pettingzoo) or, in Python, give a factory."),
        (
            {"name": "simple_v3", "factory": Leavers},
            "task: name one world of mpe2 (hetrl list pettingzoo) or, in Python, give a factory.",
        ),
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
        ({"factory": Leavers, "N": 3}, "task.N: a factory is called without arguments; give it yours there."),
        ({"name": "simple_v3", "n_envs": 0}, "env/pettingzoo: n_envs = 0: Input should be greater than 0."),
        ({"name": "simple_v3", "horizon": 0}, "env/pettingzoo: horizon = 0: Input should be greater than 0."),
        (
            {"factory": lambda: importlib.import_module("mpe2.simple_v3").env()},
            "task.factory: OrderEnforcingWrapper is no parallel PettingZoo environment; make it with parallel_env, or "
            "convert it with pettingzoo.utils.conversions.aec_to_parallel.",
        ),
    ],
)
def test_refuses_wrong_arguments(arguments, message):
    with pytest.raises(RecipeError) as caught:
        PettingZoo(**arguments)
    assert str(caught.value) == message


def odd(**changed):
    """A factory of teams with another space, horizon or mask."""
    return lambda: type("Odd", (Leavers,), {word: lambda self, agent, s=s: s for word, s in changed.items()})()


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (
            odd(observation_space=spaces.Discrete(3)),
            "task: agent 'a_0' observes Discrete(3); only Box is known, alone or as 'observation' beside an "
            "'action_mask'. Flatten it in the factory.",
        ),
        (
            odd(action_space=spaces.Tuple((spaces.Discrete(2),))),
            "task: agent 'a_0' acts in Tuple(Discrete(2)); only Box of floats, Discrete and MultiDiscrete are known. "
            "Wrap the environment in the factory.",
        ),
        (
            odd(action_space=spaces.Discrete(4)),
            "task: agent 'c' has an action_mask of shape [3], but its action is discrete[4]; a mask has one entry for "
            "each option of a single choice.",
        ),
    ],
)
def test_refuses_odd_spaces(factory, message):
    with pytest.raises(RecipeError) as caught:
        PettingZoo(factory=factory, n_envs=1)
    assert str(caught.value) == message


def test_a_number_may_be_whole_and_a_default_of_none_tells_nothing():
    env = PettingZoo(name="simple_spread_v3", n_envs=1, local_ratio=1, num_agent_neighbors=1)
    assert env.team.agents[0].observation_size == 4 + 2 * 3 + (2 + 2)  # itself, landmarks, a neighbour and its word


def bare(without):
    """A parallel environment that inherits nothing, and lacks something."""
    words = {word: part for word, part in vars(Leavers).items() if not word.startswith("__") and word != without}
    return type("Bare", (), {"__init__": Leavers.__init__, **words})()


class Nobody(Leavers):
    def __init__(self):
        super().__init__()
        self.possible_agents = []


class Unattended(Leavers):
    def reset(self, seed=None, options=None):
        seen = super().reset(seed)
        del self.agents
        return seen


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (
            lambda: bare("action_space"),
            "task.factory: Bare is no parallel PettingZoo environment (it has no action_space); make it with "
            "parallel_env, or convert it with pettingzoo.utils.conversions.aec_to_parallel.",
        ),
        (Nobody, "task.factory: Nobody has no possible_agents; name everyone who may ever take part."),
        (Unattended, "task.factory: Unattended has nobody in 'agents' after a reset."),
    ],
)
def test_refuses_factories_that_lack_something(factory, message):
    with pytest.raises(RecipeError) as caught:
        PettingZoo(factory=factory, n_envs=1)
    assert str(caught.value) == message


def test_a_factory_needs_not_be_wrapped():
    """An environment that inherits nothing has no 'unwrapped'."""
    assert PettingZoo(factory=lambda: bare(None), n_envs=1).horizon == 100


@pytest.mark.parametrize(
    ("word", "changed", "message"),
    [
        ("a_0", lambda seen: seen[:1], r"agent 'a_0' has observation \[1\], but its space says \[2\]"),
        (
            "c",
            lambda seen: {**seen, "action_mask": np.ones(1, np.int8)},
            r"agent 'c' has action_mask \[1\], but its space says \[3\]",
        ),
    ],
)
def test_what_is_not_of_its_space_is_refused(word, changed, message):
    """One number in place of several is not repeated to fill them."""

    class Short(Leavers):
        def look(self):
            each = super().look()
            return {**each, word: changed(each[word])} if self.count and word in each else each

    env = PettingZoo(factory=Short, n_envs=1)
    env.start()
    with pytest.raises(RunError, match=f"^env/pettingzoo: {message}; the environment has to keep to it"):
        env.advance(actions(env))


def test_a_factory_without_max_cycles_needs_a_horizon():
    def factory():
        env = Leavers()
        env.max_cycles = None
        return env

    with pytest.raises(RecipeError, match=r"task\.horizon: the factory's environment has no max_cycles"):
        PettingZoo(factory=factory, n_envs=1)
    assert PettingZoo(factory=factory, n_envs=1, horizon=7).horizon == 7


def test_a_factory_that_draws_nothing_and_an_episode_stepped_on():
    with pytest.raises(RunError, match="draws nothing; give it render_mode='rgb_array'"):
        leavers().frame()
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
