"""What an environment says at each step: who may do what, who is there, what is earned, what is told, what is seen."""

import numpy as np
import pytest
import torch
from env.worlds import Living, made, recipe, varied
from gymnasium import spaces
from pettingzoo.utils import BaseParallelWrapper

import hetrl
from hetrl.env.adapter.parallel import Parallel
from hetrl.errors import RecipeError, RunError
from hetrl.team import Discrete

MULTI = {"action_space": lambda self, agent: spaces.MultiDiscrete([3, 4])}


def still(env, n_envs=1):
    return {
        group: torch.zeros(n_envs, len(agents), agents[0].action.size, dtype=torch.int64)
        for group, agents in env.team.layout.items()
    }


# ----- masks


def masked(mask, **words):
    return varied(info=lambda self, agent: {"action_mask": mask(self, agent)}, **words)


def test_masks_that_come_with_the_steps_alone():
    """The first reset says nothing."""

    def step(self, given):
        seen, *rest = Living.step(self, given)
        return seen, *rest[:-1], {a: {"action_mask": np.eye(3, dtype=np.int8)[self.t % 3]} for a in seen}

    env = made(varied(step=step))
    assert env.masks["action_mask"]["agents"].all()
    for step in (1, 2, 3):
        moved = env.advance(still(env))
        assert moved.masks["action_mask"]["agents"].tolist() == [[[option == step % 3 for option in range(3)]] * 2]


def test_nothing_illegal_is_done_in_a_run(monkeypatch):
    """Masks from the first step on: 201 illegal actions in a short run where only the first reset was asked."""
    done = []

    class Strict(Living):
        def step(self, given):
            if self.t:
                done.extend(action == (self.t + 1) % 3 for action in given.values())
            seen, *rest = super().step(given)
            mask = np.ones(3, np.int8)
            mask[(self.t + 1) % 3] = 0
            return seen, *rest[:-1], {a: {"action_mask": mask} for a in seen}

    _, data = hetrl.build(recipe(monkeypatch, Strict, "data.frames=200"))
    done.clear()
    data.source.collect()
    assert len(done) == 2 * (200 - 20) and not any(done)


@pytest.mark.parametrize("mask", [
    np.array([1, 0, 1, 0, 1, 1, 0], np.int8),
    (np.array([1, 0, 1]), np.array([0, 1, 1, 0], bool)),
    [np.array([1, 0, 1]), np.array([0, 1, 1, 0])],
    [1, 0, 1, 0, 1, 1, 0],
])  # fmt: skip
def test_masks_of_several_choices_lie_side_by_side(mask):
    env = made(masked(lambda self, agent: mask, **MULTI))
    assert env.masks["action_mask"]["agents"].int().tolist() == [[[1, 0, 1, 0, 1, 1, 0]] * 2]


def test_a_mask_in_the_observation_is_no_observation():
    class Shown(Living):
        def observation_space(self, agent):
            inner = super().observation_space(agent)
            if agent == "a_0":
                return spaces.Dict({"observation": inner, "action_mask": spaces.MultiBinary(3)})
            return spaces.Dict({"b": inner, "a": spaces.Discrete(2), "action_mask": spaces.Box(0, 1, (3,), np.int8)})

        def see(self, agent):
            mask = np.array([0, 1, self.t % 2], np.int8)
            if agent == "a_0":
                return {"observation": np.full(4, 5.0), "action_mask": mask}
            return {"b": np.full(4, 5.0), "a": 1, "action_mask": mask}

    env = made(Shown)
    assert [agent.observation_size for agent in env.team.agents] == [4, 6]
    assert env._observation["a_1"].tolist() == [[[0, 1, 5, 5, 5, 5]]]  # by the words' alphabet, as gymnasium has them
    assert [part[0, 0].int().tolist() for part in env.masks["action_mask"].values()] == [[0, 1, 0]] * 2
    assert [part[0, 0].int().tolist() for part in env.advance(still(env)).masks["action_mask"].values()] == [
        [0, 1, 1]
    ] * 2


@pytest.mark.parametrize(
    ("mask", "words", "message"),
    [
        (np.ones(4), {}, "has an action_mask of [4], and its options are [3]"),
        (np.ones((1, 3)), {}, "has an action_mask of [1, 3], and its options are [3]"),
        (np.ones(12), MULTI, "has an action_mask of [12], and its options are [7]"),
        ((np.ones(4), np.ones(3)), MULTI, "has an action_mask of [[4], [3]], and its options are [[3], [4]]"),
        ((np.ones(3),), MULTI, "has an action_mask of [[3]], and its options are [[3], [4]]"),
        (np.array([0.0, -1e9, 0.0]), {}, "has an action_mask with other numbers than 0 and 1"),
        (np.array([1, 2, 0]), {}, "has an action_mask with other numbers than 0 and 1"),
        (np.array([1, np.nan, 0]), {}, "has an action_mask with other numbers than 0 and 1"),
        (["yes"] * 3, {}, "has an action_mask of <U3; give bools, or 0 and 1"),
        (np.zeros(3, np.int8), {}, "has an action_mask that leaves no option"),
        (np.array([1, 1, 1, 0, 0, 0, 0]), MULTI, "has an action_mask that leaves no option of a choice"),
        (
            np.ones(2, bool),
            {"action_space": lambda self, agent: spaces.Box(-1, 1, (2,))},
            "has an action_mask, and its actions are continuous",
        ),
    ],
)
def test_a_mask_that_cannot_be_is_named_by_agent_and_step(mask, words, message):
    def late(self, agent):
        return mask if self.t == 2 and agent == "a_1" else None

    env = made(masked(late, **words), n_envs=2)
    space = env.team.agents[0].action
    acts = still(env, 2) if isinstance(space, Discrete) else {"agents": torch.zeros(2, 2, 2)}
    env.advance(acts)
    with pytest.raises(RunError) as caught:
        env.advance(acts)
    assert str(caught.value) == f"task: environment 0, step 2 of its episode: agent 'a_1' {message}; correct Varied."


@pytest.mark.parametrize("mask", [np.array([1.0, 0, 1, 0, 1, 1, 0]), (np.array([1.0, 0, 1]), np.array([0.0, 1, 1, 0]))])
def test_a_mask_may_be_numbers_of_any_type(mask):
    found = made(masked(lambda self, agent: mask, **MULTI)).masks["action_mask"]
    assert [part[0].tolist() for part in found.values()] == [[[True, False, True, False, True, True, False]] * 2]


def test_who_has_ended_needs_no_option():
    nothing = masked(lambda self, agent: np.zeros(3, np.int8) if self.t == 4 else None, die={"a_0": 4, "a_1": 4})
    env = made(nothing)
    for _ in range(4):
        moved = env.advance(still(env))
    assert moved.terminated.all() and moved.next_masks["action_mask"]["agents"].all()


# ----- who is there


def test_who_dies_comes_back_and_joins_late():
    """a is there from 0 on, dies with step 2, is back after step 4; b joins after step 3; c is cut off with step 5."""
    there = {0: "ac", 1: "ac", 2: "c", 3: "bc", 4: "abc", 5: "ab", 6: "ab"}

    class Coming(Living):
        possible_agents = ["a", "b", "c"]

        def reset(self, seed=None, options=None):
            self.rng, self.t, self.agents = np.random.default_rng(seed), 0, list(there[0])
            return {a: self.see(a) for a in self.agents}, {}

        def see(self, agent):
            return np.full(4, self.t + 1.0)

        def step(self, given):
            assert sorted(given) == sorted(self.agents)
            before, self.t = self.agents, self.t + 1
            self.agents = list(there[self.t])
            here = {*before, *self.agents}
            over, cut = {a: a == "a" and self.t == 2 for a in here}, {a: a == "c" and self.t == 5 for a in here}
            return {a: self.see(a) for a in here}, dict.fromkeys(given, 0), over, cut, {}

    env = made(Coming)
    for step in range(1, 7):
        moved = env.advance(still(env))
        active = moved.masks["active"]["agents"][0].tolist()
        assert active == [agent in there[step] for agent in "abc"]
        assert moved.agent_terminated["agents"].tolist() == [[step == 2, False, False]]
        shown = [here or (step == 5 and agent == "c") for agent, here in zip("abc", active, strict=True)]
        assert moved.next_observation["agents"][0, :, 0].tolist() == [(step + 1) * here for here in shown]
        assert not moved.terminated.any() and not moved.truncated.any()


def test_what_is_paid_to_the_dead_and_for_dying_counts():
    """10 each an episode, of whom one dies with step 1 of 10; and 100 off for that."""

    def step(self, given):
        seen, _, *rest = Living.step(self, given)
        return seen, {a: 1.0 - 100 * (a == "a_1" and self.t == 1) for a in self.possible_agents}, *rest

    env = made(varied(die={"a_1": 1}, step=step))
    paid = torch.stack([env.advance(still(env)).reward["agents"][0] for _ in range(10)]).sum(0)
    assert paid.tolist() == [10, -90]


def test_an_episode_that_all_leave_is_terminated_or_cut():
    """Terminated where nobody was cut, also where an environment says both of the same agent."""

    def both(self, given):
        seen, paid, end, cut, infos = Living.step(self, given)
        return seen, paid, dict.fromkeys(end, self.t == 10), cut, infos

    assert [_last(cls) for cls in (Living, varied(step=both), varied(die={"a_0": 10, "a_1": 3}))] == [
        (False, True), (True, False), (True, False),
    ]  # fmt: skip


def _last(cls):
    env = made(cls)
    moved = [env.advance(still(env)) for _ in range(10)][-1]
    return bool(moved.terminated), bool(moved.truncated)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            {"step": lambda self, given: ({}, *Living.step(self, given)[1:])},
            "there is no observation of agent 'a_0', who is in 'agents'",
        ),
        (
            {"length": 1, "step": lambda self, given: ({}, *Living.step(self, given)[1:])},
            "there is no observation of agent 'a_0', who was cut off: a value follows",
        ),
        (
            {"step": lambda self, given: (*Living.step(self, given)[:1], {"a_9": 1}, {}, {}, {})},
            "there is a reward of 'a_9', who is not in possible_agents",
        ),
        (
            {"step": lambda self, given: (*Living.step(self, given)[:1], {"a_1": 1.0}, {}, {}, {})},
            "there is no reward of agent 'a_0', who has acted",
        ),
        (
            {
                "step": lambda self, given: (
                    {**Living.step(self, given)[0], "x": 0},
                    dict.fromkeys(given, 0),
                    {},
                    {},
                    {},
                )
            },
            "there is an observation of 'x', who is not in possible_agents",
        ),
        (
            {"step": lambda self, given: (*Living.step(self, given)[:1], {"a_0": "much"}, {}, {}, {})},
            "agent 'a_0' has a reward of 'much', which is no number",
        ),
        (
            {"step": lambda self, given: Living.step(self, given)[:4]},
            "step() returned a tuple, not observations, rewards, terminations, truncations, infos",
        ),
        (
            {"step": lambda self, given: (*Living.step(self, given)[:2], False, False, {})},
            "step() returned terminations that are a bool, not agent -> its own",
        ),
        (
            {"see": lambda self, agent: np.zeros(4 - self.t)},
            "agent 'a_0' has an observation of [3], but its space says [4]",
        ),
    ],
)
def test_what_is_given_wrongly_is_one_line(words, message):
    env = made(varied(**words))
    with pytest.raises(RunError) as caught:
        env.advance(still(env))
    assert str(caught.value) == f"task: environment 0, step 1 of its episode: {message}; correct Varied."


def test_nobody_there_after_a_reset():
    with pytest.raises(RecipeError, match=r"^task: Varied has nobody in 'agents' after a reset"):
        made(varied(reset=lambda self, seed=None, options=None: ({}, {})))


# ----- what is told


def test_numbers_of_an_episodes_end_are_told():
    """Per agent they are averaged; texts, arrays and NaN are left out; names are cleaned."""

    def info(self, agent):
        mine = {
            "won": agent == "a_0",
            "left, in m": np.float32(self.t),
            "path": "x",
            "each": np.ones(2),
            "none": np.nan,
        }
        return {**mine, "alone": np.array(3)} if agent == "a_1" else mine

    for length, horizon in ((3, 9), (9, 3)):  # its own end, and the horizon's
        env = made(varied(info=info, length=length), n_envs=2, horizon=horizon)
        moved = [env.advance(still(env, 2)) for _ in range(3)]
        assert [each.infos for each in moved[:2]] == [{}, {}]
        told = {name: value.tolist() for name, value in moved[-1].infos.items()}
        assert told == {"won": [0.5] * 2, "left__in_m": [3] * 2, "alone": [3] * 2}


def test_a_win_is_a_rate_in_evaluation(monkeypatch):
    cls = varied(info=lambda self, agent: {"won": self.rng.random() < 2})
    module, _ = hetrl.build(recipe(monkeypatch, cls, "run.eval_every=40"))
    assert module.evaluation.run()["eval/info/won"] == 1


# ----- spaces


@pytest.mark.parametrize(
    ("space", "taken", "given", "says"),
    [
        (spaces.Discrete(3, start=-1), [2], 1, "discrete[3]"),
        (spaces.MultiDiscrete([2, 3], start=[5, 0]), [1, 2], [6, 2], "discrete[2, 3]"),
        (spaces.MultiDiscrete([[2, 3], [2, 2]]), [1, 2, 0, 1], [[1, 2], [0, 1]], "discrete[2, 3, 2, 2]"),
        (spaces.MultiBinary(3), [1, 0, 1], [1, 0, 1], "discrete[2, 2, 2]"),
        (spaces.MultiBinary([1, 2]), [1, 0], [[1, 0]], "discrete[2, 2]"),
        (spaces.Box(-1, 1, (2, 1), np.float64), [0.5, 9], [[0.5], [1]], "continuous[2]"),
        (spaces.Box(0, 9, (2,), np.int8), [2.6, 300], [3, 9], "continuous[2]"),
        (spaces.Box(0, 9, ()), [2.5], 2.5, "continuous[1]"),
    ],
)
def test_actions_arrive_as_their_space_has_them(space, taken, given, says):
    env = made(varied(action_space=lambda self, agent: space))
    kind = torch.int64 if says.startswith("disc") else torch.float32
    env.advance({"agents": torch.tensor([[taken, taken]], dtype=kind)})
    found = env._simulators.all[0].env.actions["a_0"]
    assert np.asarray(found).tolist() == given and str(env.team.agents[0].action) == says
    assert space.contains(found)


@pytest.mark.parametrize(
    ("space", "seen", "flat"),
    [
        (spaces.Discrete(3, start=4), 5, [0, 1, 0]),
        (spaces.MultiBinary(2), np.array([1, 0], np.int8), [1, 0]),
        (spaces.Box(-5, 5, (2, 2), np.int32), np.array([[1, 2], [3, -4]]), [1, 2, 3, -4]),
        (spaces.Box(0, 1, ()), np.float64(0.5), [0.5]),
        (spaces.Tuple((spaces.Discrete(2), spaces.Box(0, 9, (1,)))), (1, np.array([7.0])), [0, 1, 7]),
    ],
)
def test_observations_are_flattened_as_gymnasium_does(space, seen, flat):
    env = made(varied(observation_space=lambda self, agent: space, see=lambda self, agent: seen))
    assert env._observation["agents"].tolist() == [[flat, flat]]
    assert env._observation["agents"].dtype == torch.float32


def test_an_image_keeps_its_shape_and_its_bytes():
    image = spaces.Box(0, 255, (2, 3, 3), np.uint8)
    cls = varied(observation_space=lambda self, agent: image, see=lambda self, agent: np.full((2, 3, 3), 250, np.uint8))
    env = made(cls)
    assert env.team.agents[0].observation_shape == (2, 3, 3)
    assert env._observation["agents"].dtype == torch.uint8 and env._observation["agents"].unique().tolist() == [250]
    floats = varied(observation_space=lambda self, agent: image, see=lambda self, agent: np.full((2, 3, 3), 0.5))
    with pytest.raises(RunError, match=r"agent 'a_0' has an observation of float64, but its space says uint8"):
        made(floats)
    grid = spaces.Box(0, 1, (2, 3), np.uint8)  # flags are no image
    flags = varied(observation_space=lambda self, agent: grid, see=lambda self, agent: np.ones((2, 3), np.uint8))
    assert (
        made(flags)._observation["agents"].unique().tolist() == [1]
        and made(flags)._observation["agents"].is_floating_point()
    )


@pytest.mark.parametrize(
    ("space", "seen", "says"),
    [
        (spaces.Discrete(3), 7, "7, but its space says Discrete(3)"),
        (
            spaces.Dict({"x": spaces.Box(0, 1, (2,))}),
            {"y": 1},
            "{'y': 1}, but its space says Dict('x': Box(0.0, 1.0, (2,), float32))",
        ),
        (spaces.Dict({"x": spaces.Box(0, 1, (2,))}), {"x": np.ones(3)}, "{'x': array([1., 1., 1.])}, but its space"),
    ],
)
def test_an_observation_that_is_not_of_its_space(space, seen, says):
    with pytest.raises(RunError) as caught:
        made(varied(observation_space=lambda self, agent: space, see=lambda self, agent: seen))
    assert f"environment 0, step 0 of its episode: agent 'a_0' has an observation of {says}" in str(caught.value)


# ----- the horizon


def test_max_cycles_is_found_through_wrappers():
    class Wrapped(BaseParallelWrapper):
        possible_agents = property(lambda self: self.env.possible_agents)

    class Hidden:
        """A wrapper of nobody's library."""

        def __init__(self, inner):
            self.env = inner

        def __getattr__(self, word):
            if word == "max_cycles":
                raise AttributeError(word)
            return getattr(self.__dict__["env"], word)

    timed = varied(max_cycles=7)
    for factory in (
        timed,
        lambda: Wrapped(timed()),
        lambda: Wrapped(Wrapped(timed())),
        lambda: Hidden(Wrapped(timed())),
    ):
        assert Parallel(factory=factory, n_envs=1).horizon == 7


def test_environments_of_two_kinds():
    def factory():
        return varied(possible_agents=["a", "b"])() if len(Living.made) % 2 else Living()

    Living.made.clear()
    with pytest.raises(RecipeError, match=r"the factory made environments of two kinds: .* in environment 1"):
        made(factory, n_envs=2)
