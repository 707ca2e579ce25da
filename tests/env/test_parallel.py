"""Anybody's parallel environments: who is there, what they may do, earn and say, exact continuation, bad input."""

import random

import numpy as np
import pytest
import torch
from env.stepped import actions, play, same, through_file
from env.worlds import recipe
from gymnasium import spaces
from mpe2 import simple_speaker_listener_v4, simple_spread_v3, simple_tag_v3, simple_v3
from pettingzoo import ParallelEnv
from torchrl.envs.utils import check_env_specs

from hetrl.env.adapter.parallel import Parallel
from hetrl.env.pettingzoo import PettingZoo
from hetrl.errors import RecipeError, RunError
from hetrl.runs.run import evaluate_run, resume, train
from hetrl.team import Box, Discrete

WORLDS = {
    "simple_spread_v3": simple_spread_v3,
    "simple_speaker_listener_v4": simple_speaker_listener_v4,
    "simple_tag_v3": simple_tag_v3,
}


@pytest.mark.parametrize("name", WORLDS)
def test_a_factory_gives_what_the_name_gives(name):
    """The general way through the parallel interface, against the short one."""

    def factory():
        return WORLDS[name].parallel_env(continuous_actions=True, max_cycles=5)

    short = PettingZoo(name=name, n_envs=2, horizon=5, seed=1, continuous_actions=True)
    long = Parallel(factory=factory, n_envs=2, seed=1, state="observations")
    own = Parallel(factory=factory, n_envs=2, seed=1)
    assert long.horizon == 5 and long.team == short.team and own.team.own_state
    assert same(short.start(), long.start())
    assert torch.equal(short.state(short._observation), own.state(own.start()))
    for step in range(12):
        one, other, third = (env.advance(actions(env, step)) for env in (short, long, own))
        assert same(one.observation, other.observation) and same(one.next_observation, other.next_observation)
        assert same(one.reward, other.reward) and torch.equal(one.truncated, other.truncated)
        assert all(part.all() for part in other.masks["active"].values()) and one.masks == {}
        assert torch.equal(short.state(one.next_observation), own.state(third.next_observation))
        assert torch.equal(short.state(one.observation), own.state(third.observation))


def test_one_of_turns_is_converted_by_the_library():
    made = {"n_envs": 2, "horizon": 5, "seed": 1, "state": "observations"}
    turns = Parallel(factory=lambda: simple_spread_v3.env(max_cycles=5), **made)
    parallel = Parallel(factory=lambda: simple_spread_v3.parallel_env(max_cycles=5), **made)
    turns.start(), parallel.start()
    assert turns.team == parallel.team and torch.equal(play(turns), play(parallel))


# ----- who is there


class Leavers(ParallelEnv):
    """Three agents on a line. a_1 leaves after step 1, c after step 3, a_0 after step 5, cut or not."""

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
        earned = {agent: float(self.count) for agent in self.possible_agents}  # also to those who have left
        none = dict.fromkeys(self.agents, False)
        flags = (none, gone) if self.cut else (gone, none)
        self.agents = [agent for agent in self.agents if not gone[agent]]
        return seen, earned, *flags, {agent: {} for agent in seen}


def leavers(n_envs=2, **arguments):
    env = Parallel(factory=lambda: Leavers(**arguments), n_envs=n_envs)
    env.start()
    return env


def test_a_strangers_team():
    env = leavers()
    assert [(a.name, a.group, a.observation_size, a.action) for a in env.team.agents] == [
        ("a_0", "a", 2, Box((-2.0, -2.0), (2.0, 2.0))),
        ("a_1", "a", 2, Box((-2.0, -2.0), (2.0, 2.0))),
        ("c", "c", 2, Discrete((3,))),
    ]
    assert env.team.state_size == 6 and not env.team.own_state and env.horizon == 100
    check_env_specs(env)


@pytest.mark.parametrize("cut", [False, True])
def test_who_leaves_early_is_inactive_and_sees_nothing(cut):
    """What the environment pays them counts. Who is cut off sees for one step what it led to: a value follows."""
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
        last = [cut and step == left for left in (5, 1, 3)]
        for one, present, just_cut in zip(seen, expected, last, strict=True):
            assert one[1] == (step if present or just_cut else 0) and bool(one[0] != 0) == (present or just_cut)
        moved = env.advance(actions(env, step))
        assert [*moved.reward["a"][0].tolist(), *moved.reward["c"][0].tolist()] == [step + 1] * 3
        ended = [not cut and left == step + 1 for left in (5, 1, 3)]
        flags = env_flags = [env.agent_terminated[group][0].tolist() for group in ("a", "c")]
        assert step == 4 or [*flags[0], *env_flags[1]] == ended
        over = step == 4
        assert moved.terminated.tolist() == [over and not cut] * 2
        assert moved.truncated.tolist() == [over and cut] * 2
    assert moved.next_observation["a"][0].tolist() == [[pytest.approx(moved.next_observation["a"][0, 0, 0]), 5], [0, 0]]
    assert moved.next_masks["active"]["a"].tolist() == [[True, False]] * 2  # who took part in the last step
    assert all(part.all() for part in moved.masks["active"].values())  # all are back in the next episode


def test_the_horizon_cuts_a_strangers_episode():
    env = Parallel(factory=Leavers, n_envs=2, horizon=2)
    env.start()
    ends = [env.advance(actions(env, step)) for step in range(4)]
    assert [bool(moved.truncated.all()) for moved in ends] == [False, True] * 2
    assert not any(moved.terminated.any() for moved in ends)
    assert ends[1].next_masks["active"]["a"].tolist() == [[True, False]] * 2


def test_what_it_provides():
    assert PettingZoo.provides({"name": "simple_v3"}) == ["agent.observation", "agent.reward", "state", "reward"]
    assert Parallel.provides({"factory": Leavers, "reward": "per_agent"}) == [
        "agent.observation", "agent.reward", "state", "agent.active", "agent.action_mask",
    ]  # fmt: skip
    steered = {"factory": lambda: simple_v3.parallel_env(max_cycles=5, continuous_actions=True)}
    assert Parallel.provides(steered)[-1] == "agent.active"


# ----- exact continuation


def test_rows_at_different_steps_continue_too():
    env, twin = leavers(n_envs=3), leavers(n_envs=3)
    play(env, 2)
    env._reset_rows(torch.tensor([1]))
    play(env, 2)
    assert env._steps.tolist() == [4, 2, 4]
    twin.load_state_dict(through_file(env.state_dict()))
    assert torch.equal(play(twin, first=4), play(env, first=4))


class Global(Leavers):
    """Draws from the generators of the process, which no seed of a reset settles."""

    def step(self, given):
        self.place += np.random.rand() + random.random() + float(torch.rand(1))
        return super().step(given)


@pytest.mark.parametrize("steps", [None, 0, 3])
def test_what_a_stranger_draws_from_the_global_generators_continues_too(steps):
    """Before the first start, right after it, and right after a horizon."""
    env, twin = (Parallel(factory=Global, n_envs=2, horizon=3, seed=seed) for seed in (1, 2))
    if steps is not None:
        env.start()
        play(env, steps) if steps else None
    twin.load_state_dict(through_file(env.state_dict()))
    if steps is None:
        env.start(), twin.start()
    assert torch.equal(play(twin, 7), play(env, 7))


def test_states_of_a_world_by_name_and_of_a_factory_do_not_mix():
    named = PettingZoo(name="simple_v3", n_envs=2)
    other = Parallel(factory=simple_v3.parallel_env, n_envs=2, horizon=5, state="observations")
    for one, another in ((named, other), (other, named)):
        with pytest.raises(RunError, match="only one of the saved environment and this task comes from a factory"):
            one.load_state_dict(another.state_dict())


def test_an_episode_that_does_not_repeat_is_refused_and_the_word_for_it_named():
    with pytest.raises(
        RunError, match=r"does not repeat an episode from the same seed and actions.*task\.repeats=false"
    ):
        leavers(seeded=False).load_state_dict(leavers(seeded=False).state_dict())


def test_the_random_stream_is_private():
    class Careless(Leavers):
        def reset(self, seed=None, options=None):
            np.random.rand(), random.random(), torch.rand(1)
            return super().reset(seed, options)

    def process():
        return torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()

    def fresh():
        env = Parallel(factory=Careless, n_envs=2)
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


@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*", "ignore:.*no pre-optimization state.*")
def test_a_team_that_chooses_and_steers_and_leaves_is_trained(tmp_path, monkeypatch):
    """Agents that choose and that steer, that leave and that are masked, in one team."""
    words = ["nets.actor.use=net/mixed_policy", "data.frames=40", "run.frames=80", "run.device=cpu", "task.horizon=7",
             "run.eval_every=40", "run.n_eval_episodes=2"]  # fmt: skip
    folder = train(recipe(monkeypatch, Leavers, words=words), tmp_path / "run", quiet=True)
    assert folder.load_checkpoint()["hetrl"]["frames"] == 80
    assert evaluate_run(folder.path, n_episodes=2).lengths.tolist() == [5, 5]
    assert resume(folder.path, "run.frames=120", quiet=True).load_checkpoint()["hetrl"]["frames"] == 120


# ----- bad input


def bare(without):
    """A parallel environment that inherits nothing, and lacks something."""
    words = {word: part for word, part in vars(Leavers).items() if not word.startswith("__") and word != without}
    return type("Bare", (), {"__init__": Leavers.__init__, **words})()


class Nobody(Leavers):
    def __init__(self):
        super().__init__()
        self.possible_agents = []


def odd(**changed):
    """A factory of teams with another space."""
    return lambda: type("Odd", (Leavers,), {word: lambda self, agent, s=s: s for word, s in changed.items()})()


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (
            lambda: bare("action_space"),
            "task: Bare is no parallel PettingZoo environment (it has no action_space); give a ParallelEnv, or an "
            "AECEnv.",
        ),
        (Nobody, "task: Nobody has no possible_agents; name everyone who may ever take part."),
        (
            odd(observation_space=spaces.Sequence(spaces.Discrete(3))),
            "task: agent 'a_0' observes Sequence(Discrete(3), stack=False), which gymnasium does not flatten to a "
            "vector; wrap the environment in the factory.",
        ),
        (
            odd(action_space=spaces.Tuple((spaces.Discrete(2),))),
            "task: agent 'a_0' acts in Tuple(Discrete(2)); only Box, Discrete, MultiDiscrete and MultiBinary are "
            "known. Wrap the environment in the factory.",
        ),
    ],
)
def test_refuses_what_is_no_such_environment(factory, message):
    with pytest.raises(RecipeError) as caught:
        Parallel(factory=factory, n_envs=1)
    assert str(caught.value) == message


def test_a_factory_needs_not_be_wrapped():
    """An environment that inherits nothing has no 'unwrapped'."""
    assert Parallel(factory=lambda: bare(None), n_envs=1).horizon == 100


def test_a_factory_without_max_cycles_needs_a_horizon():
    def factory():
        env = Leavers()
        env.max_cycles = None
        return env

    with pytest.raises(RecipeError, match=r"^task\.horizon: Leavers has no max_cycles; write after how many steps an"):
        Parallel(factory=factory, n_envs=1)
    assert Parallel(factory=factory, n_envs=1, horizon=7).horizon == 7


def test_a_factory_that_draws_nothing():
    said = r"^task: Leavers draws nothing; make it with render_mode='rgb_array', or write render_mode = 'rgb_array' in"
    with pytest.raises(RunError, match=said):
        leavers().frame()
