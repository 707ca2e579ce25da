"""TorchRL environments: what their specs say, rows at once and each on its own, ends, exact continuation, errors."""

import functools
import io
import warnings

import numpy as np
import pytest
import torch
from env.torchrl_worlds import Alone, Leaving, Walk
from tensordict import TensorDict
from torchrl.data import Bounded, Categorical, Composite, Unbounded
from torchrl.envs import StepCounter, TransformedEnv
from torchrl.envs.utils import check_env_specs

from hetrl.env.torchrl import TorchRL
from hetrl.env.torchrl_world import Batch, Copies
from hetrl.errors import RecipeError, RunError
from hetrl.team import Box, Discrete
from hetrl.testing import check_env

BATCHED, COPIED = Walk, lambda: Walk()
WAYS = {"batch": {"factory": BATCHED}, "copies": {"factory": COPIED}, "processes": {"factory": COPIED, "workers": 2}}


@pytest.fixture
def made():
    """Make environments that are closed afterwards."""
    all_of_them = []

    def make(**words):
        all_of_them.append(TorchRL(**words))
        return all_of_them[-1]

    yield make
    for env in all_of_them:
        env.close()


def actions(env, seed=0):
    generator, taken = torch.Generator().manual_seed(seed), {}
    for group, agents in env.team.layout.items():
        shape, space = (env.n_envs, len(agents)), agents[0].action
        if isinstance(space, Box):
            taken[group] = torch.rand(*shape, space.size, generator=generator) * 2 - 1
        else:
            each = [torch.randint(options, (*shape, 1), generator=generator) for options in space.choices]
            taken[group] = torch.cat(each, -1)
    return taken


def play(env, steps=12, first=0):
    """Everything that ``steps`` steps give, in one vector."""
    seen = []
    for step in range(first, first + steps):
        moved = env.advance(actions(env, step))
        masks = [part for each in (moved.masks, moved.next_masks) for word in each.values() for part in word.values()]
        seen += [*moved.observation.values(), *moved.next_observation.values(), *moved.reward.values(), *masks]
        seen += [moved.terminated, moved.truncated, *moved.agent_terminated.values(), *moved.infos.values()]
    return torch.cat([part.flatten().float() for part in seen])


def through_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


# ----- what the specs say


@pytest.mark.parametrize("way", WAYS)
def test_a_team_of_two_kinds(made, way):
    env = made(**WAYS[way], n_envs=3)
    assert [(a.name, a.group, a.observation_size, a.action) for a in env.team.agents] == [
        ("left", "left", 2, Box((-1.0,), (1.0,))),
        ("right", "left", 2, Box((-1.0,), (1.0,))),
        ("guard", "guard", 3, Discrete((3,))),
    ]
    assert isinstance(env._world, Batch if way == "batch" else Copies) and env.horizon == 9
    assert env.masks["action_mask"].keys() == {"guard"} and "active" not in env.masks
    check_env_specs(env)


@pytest.mark.parametrize("way", WAYS)
def test_numbers_of_a_step(made, way):
    """Rewards are the action plus the step's number, clamped to the bounds, and the guard's choice."""
    env = made(**WAYS[way], n_envs=2)
    walkers, guard = env.team.agents[0].group, env.team.agents[2].group
    env.start()
    before = env._observation[walkers][..., 0]
    given = {walkers: torch.tensor([[[0.5], [-7.0]], [[0.0], [1.0]]]), guard: torch.tensor([[[2]], [[0]]])}
    moved = env.advance(given)
    assert moved.reward[walkers].tolist() == [[1.5, 0.0], [1.0, 2.0]] and moved.reward[guard].tolist() == [[2.0], [0.0]]
    assert env.team_reward(moved.reward).tolist() == pytest.approx([3.5 / 3, 1.0])
    gone = moved.next_observation[walkers]
    assert gone[..., 1].eq(1).all() and (gone[..., 0] - before - given[walkers].clamp(-1, 1)[..., 0]).abs().max() < 0.5
    assert moved.masks["action_mask"][guard].tolist() == [[[True, True, True]]] * 2  # after an odd number of steps
    assert env.infos["far"].tolist() == pytest.approx(gone[..., 0].abs().amax(-1).tolist())


@pytest.mark.parametrize("way", WAYS)
def test_its_own_state(made, way):
    """Places and the step's number, from the root; or all that is seen, side by side."""
    env = made(**WAYS[way], n_envs=2)
    moved = env.advance(actions(env))
    guard, own = env.team.agents[2].group, env.state(moved.next_observation)
    assert env.team.own_state and torch.equal(own, moved.next_observation[guard][:, 0]) and own[:, 2].tolist() == [1, 1]
    env = made(**WAYS[way], n_envs=2, state="observations")
    assert not env.team.own_state and env.state(env.start()).shape == (2, 2 + 2 + 3)
    with pytest.raises(
        RecipeError, match=r"^task\.state: Leaving has no 'state' of its own; write state: observations"
    ):
        made(factory=lambda: Leaving(), n_envs=1, horizon=3, state="own")


@pytest.mark.parametrize("way", WAYS)
def test_ends_and_resets_of_single_rows(made, way):
    """The first walker of row 1 goes straight on and is beyond 3 after four steps at most; the horizon cuts row 0."""
    env = made(**WAYS[way], n_envs=2, horizon=5)
    walkers, guard = env.team.agents[0].group, env.team.agents[2].group
    given = {walkers: torch.tensor([[[0.0], [0.0]], [[1.0], [0.0]]]), guard: torch.zeros(2, 1, 1, dtype=torch.int64)}
    env.start()
    ends = []
    for _ in range(5):
        moved = env.advance(given)
        ends.append((moved.terminated.tolist(), moved.truncated.tolist()))
        kept = moved.observation[walkers][0]
        assert torch.equal(kept, moved.next_observation[walkers][0]) or moved.truncated[0]
        if moved.terminated[1]:
            assert moved.next_observation[walkers][1, 0, 0] > 3 > moved.observation[walkers][1, 0, 0]
            assert moved.observation[walkers][1, :, 1].tolist() == [0, 0]
    assert [sum(end[0]) for end in ends] in ([0, 0, 1, 0, 0], [0, 0, 0, 1, 0]) and not any(end[0][0] for end in ends)
    assert [end[1] for end in ends] == [[False, False]] * 4 + [[True, False]]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("way", ["copies", "batch"])
def test_agents_that_end_before_the_episode(made, way, masked):
    """Two choices at once, one-hot; one reward at the root; the episode is over, cut, when the last has left."""
    factory = functools.partial(Leaving, masked, **({} if way == "batch" else {"batch_size": ()}))
    env = made(factory=factory, n_envs=2, horizon=20)
    assert isinstance(env._world, Batch if way == "batch" else Copies)
    assert env.team.names == ("team_0", "team_1", "team_2") and env.team.agents[0].action == Discrete((2, 3))
    env.start()
    here, died, over = [], [], []
    for step in range(5):
        here.append(env.masks["active"]["agents"][0].tolist())
        moved = env.advance(actions(env, step))
        assert moved.reward["agents"].tolist() == [[1, 1, 1]] * 2
        died.append(moved.agent_terminated["agents"][1].tolist())
        over.append((moved.terminated.tolist(), moved.truncated.tolist()))
    assert here == [[True] * 3, [True] * 3, [True, False, True], [True, False, False], [True] * 3]
    assert died == [[False] * 3, [False, True, False]] + [[False] * 3] * 3
    assert over == [([False] * 2, [False] * 2)] * 3 + [([False] * 2, [True] * 2), ([False] * 2, [False] * 2)]


def test_one_agent_at_the_root_is_a_team_of_one(made):
    """Not batch-locked, all it knows in the TensorDict; kind one-hot, then numbers, then bytes as 0 to 1."""
    env = made(factory=Alone, n_envs=4, horizon=5)
    (agent,) = env.team.agents
    assert isinstance(env._world, Batch)
    assert (agent.name, agent.observation_size, agent.action) == ("agent", 3 + 2 + 4, Discrete((2, 3, 2, 2)))
    seen = env.start()["agents"]
    assert seen[:, 0, :3].tolist() == [[1, 0, 0]] * 4 and seen[:, 0, 5:].eq(0.2).all()
    moved = env.advance({"agents": torch.tensor([0, 1, 1, 0]).expand(4, 1, 4)})
    assert moved.reward["agents"].tolist() == [[11.0]] * 4 and not moved.truncated.any()
    moved = env.advance({"agents": torch.tensor([0, 1, 0, 0]).expand(4, 1, 4)})
    assert moved.next_observation["agents"][:, 0, :3].tolist() == [[0, 0, 1]] * 4
    assert moved.truncated.all() and not moved.terminated.any()
    assert moved.observation["agents"][:, 0, :3].tolist() == [[1, 0, 0]] * 4


def test_an_image_stays_bytes(made):
    seen = {"observation": Unbounded((2, 2), dtype=torch.uint8)}

    class Picture(Alone):
        def told(self, kind, batch):
            return TensorDict({"observation": torch.full((*batch, 2, 2), 51, dtype=torch.uint8)}, batch)

        def _step(self, tensordict):
            batch = tensordict.batch_size
            return self.told(0, batch).set("reward", torch.zeros(*batch, 1)).set("done", torch.zeros(*batch, 1) > 1)

    env = made(factory=functools.partial(Picture, seen=seen), n_envs=2, horizon=5)
    assert env.team.agents[0].observation_shape == (2, 2)
    assert env.start()["agents"].dtype == torch.uint8 and env.start()["agents"].shape == (2, 1, 4)


def test_the_horizon_is_a_step_counters(made):
    assert made(factory=lambda: TransformedEnv(Walk(), StepCounter(max_steps=4)), n_envs=1).horizon == 4
    env = made(factory=lambda: TransformedEnv(Walk(), StepCounter(max_steps=4)), n_envs=1, horizon=7)
    cut = [bool(env.advance({g: a * 0 for g, a in actions(env).items()}).truncated) for _ in range(4)]
    assert cut == [False, False, False, True]


def test_what_a_factory_takes(made):
    taken = {}

    def factory(num_envs, width=1, seed=None):
        taken.update(num_envs=num_envs, width=width, seed=seed)
        return Walk(num_envs)

    made(factory=functools.partial(factory, width=3), n_envs=2, seed=5)
    assert taken == {"num_envs": 2, "width": 3, "seed": 5}
    made(factory=functools.partial(factory, seed=7), n_envs=2, seed=5)
    assert taken["seed"] == 7


# ----- real ones


@pytest.mark.filterwarnings("ignore:PettingZoo in TorchRL is tested")
@pytest.mark.parametrize("workers", [None, 2])
def test_torchrls_wrapper_of_pettingzoo(made, workers):
    """The same numbers as PettingZoo itself on the same seeds and actions, for two groups, masks and the state."""
    from mpe2 import simple_tag_v3
    from torchrl.envs.libs.pettingzoo import PettingZooWrapper

    def factory():
        raw = simple_tag_v3.parallel_env(continuous_actions=False, max_cycles=4)
        return PettingZooWrapper(raw, use_mask=True, return_state=True)

    env = made(factory=factory, n_envs=2, horizon=9, workers=workers)
    assert env.team.sizes == "3 adversary: 16 -> discrete[5]; 1 agent: 14 -> discrete[5]"
    twin = simple_tag_v3.parallel_env(continuous_actions=False, max_cycles=4)
    env.start()
    twin.reset(seed=int(env._world._seeds[1]))
    bare = twin.reset()[0]  # the wrapper's set_seed resets once, and then it is reset
    for step in range(4):
        for agent in env.team.agents:
            seen = env._observation[agent.group][1, agent.index].numpy()
            assert (seen == bare[agent.name].astype(np.float32)).all()
        taken = actions(env, step)
        moved = env.advance(taken)
        bare, earned, *_ = twin.step({a.name: int(taken[a.group][1, a.index, 0]) for a in env.team.agents})
        for agent in env.team.agents:
            assert moved.reward[agent.group][1, agent.index] == np.float32(earned[agent.name])
        assert moved.truncated.all() == (step == 3)


def test_torchrls_vmas(made):
    """Rows at once; agents of unlike observations in one group, which TorchRL keeps as a list; one-hot; infos."""
    from torchrl.envs.libs.vmas import VmasEnv
    from torchrl.envs.utils import MarlGroupMapType

    one_group = functools.partial(VmasEnv, scenario="simple_tag", group_map=MarlGroupMapType.ALL_IN_ONE_GROUP)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        env = made(factory=one_group, n_envs=3, horizon=4)
        assert isinstance(env._world, Batch) and env.team.sizes == (
            "3 adversary: 16 -> continuous[2]; 1 agent: 14 -> continuous[2]"
        )
        moved = env.advance(actions(env))
        (bare,) = env._world.env._env.get_from_scenario(True, False, False, False)
        for agent, seen in zip(env.team.agents, bare, strict=True):
            assert torch.equal(moved.observation[agent.group][:, agent.index], seen)
        chosen = functools.partial(VmasEnv, scenario="balance", continuous_actions=False, categorical_actions=False)
        env = made(factory=chosen, n_envs=3, horizon=4)
        assert env.team.agents[0].action == Discrete((9,)) and {"pos_rew", "ground_rew"} <= env.infos.keys()
        play(env, 6)


# ----- exact continuation


@pytest.mark.parametrize("own_stream", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_goes_on_bit_for_bit(made, way, own_stream):
    """Seeded by a generator of its own or drawing from the process's, in the middle of episodes of unlike lengths."""
    factory = functools.partial(Walk, own_stream=own_stream)
    words = {**WAYS[way], "factory": factory if way == "batch" else lambda: factory(), "n_envs": 4, "horizon": 5}
    env, twin = made(**words, seed=1), made(**words, seed=2)
    env.start(), twin.start()
    play(env, 8), play(twin, 3)
    assert env.repeats
    twin.load_state_dict(through_file(env.state_dict()))
    assert torch.equal(play(env, 12, 50), play(twin, 12, 50))


@pytest.mark.parametrize("own_stream", [True, False])
def test_rows_are_the_same_in_however_many_processes(made, own_stream):
    found = []
    for workers in (None, 1, 2, 3):
        torch.manual_seed(workers or 0)  # of no account
        env = made(factory=lambda: Walk(own_stream=own_stream), n_envs=5, horizon=4, seed=3, workers=workers)
        env.seed(3)
        env.start()
        found.append(play(env, 9))
    assert all(torch.equal(found[0], other) for other in found[1:])


def test_two_environments_do_not_disturb_each_other(made):
    env, twin = (made(factory=lambda n_envs: Walk(n_envs, own_stream=False), n_envs=3, seed=3) for _ in range(2))
    env.seed(3), twin.seed(3)
    env.start(), twin.start()
    alone = play(env, 5)
    other = made(factory=lambda n_envs: Walk(n_envs, own_stream=False), n_envs=3)
    found = []
    for step in range(5):
        play(other, 1)
        torch.rand(3)
        found.append(play(twin, 1, step))
    assert torch.equal(alone, torch.cat(found))


class Counting(Walk):
    """Something of it lies where nobody can look."""

    hidden = [0]

    def draw(self):
        self.hidden[0] += 1
        return torch.full(self.place.shape, (self.hidden[0] * 0.37) % 1)


@pytest.mark.filterwarnings("error")
def test_one_that_cannot_be_looked_into_begins_afresh_and_says_so(made):
    env, twin = (made(factory=Counting, n_envs=2, horizon=5) for _ in range(2))
    env.start()
    with pytest.warns(UserWarning, match=r"^task \(Counting\): where it stands cannot be saved, as a trial showed"):
        state = through_file(env.state_dict())
    with pytest.warns(UserWarning, match=r"^task \(Counting\): the 2 episodes under way are not continued but begin"):
        twin.load_state_dict(state)
    assert not env.repeats and not twin.repeats


def test_one_that_does_not_repeat_is_refused_unless_it_says_so(made):
    class Unseeded(Walk):
        def _set_seed(self, seed):
            pass

        def draw(self):
            return torch.from_numpy(np.random.default_rng().normal(size=self.place.shape)).float()

    env, twin = (made(factory=lambda: Unseeded(), n_envs=2) for _ in range(2))
    play(env, 3)
    with pytest.raises(RunError, match=r"^state: Unseeded does not repeat an episode from the same seed and actions"):
        twin.load_state_dict(through_file(env.state_dict()))
    env, twin = (made(factory=lambda: Unseeded(), n_envs=2, repeats=False) for _ in range(2))
    env.start()
    play(env, 3)
    with pytest.warns(UserWarning, match="begin afresh"):
        twin.load_state_dict(through_file(env.state_dict()))


def test_a_state_of_another_task(made):
    state = made(factory=COPIED, n_envs=2).state_dict()
    with pytest.raises(RunError, match=r"^state: saved with observations .*, this task has"):
        made(factory=COPIED, n_envs=3).load_state_dict(state)


# ----- pictures and closing


def test_pictures(made):
    env = made(factory=COPIED, n_envs=2)
    play(env, 2)
    assert env.frame(1).shape == (4, 5, 3) and env.frame(1).max() == 2
    with pytest.raises(RunError, match=r"^task \(Leaving\): it draws nothing; its render\(\) has to give an array"):
        made(factory=lambda: Leaving(), n_envs=1, horizon=3).frame()


def test_every_environment_is_closed():
    made = []

    def factory():
        made.append(Walk())
        return made[-1]

    env = TorchRL(factory=factory, n_envs=3)
    assert TorchRL.provides({"factory": factory}) == [
        "agent.observation", "agent.reward", "state", "reward", "agent.action_mask",
    ]  # fmt: skip
    env.close()
    assert [each.closed for each in made] == [1] * 6


@pytest.mark.parametrize("way", WAYS)
def test_what_was_closed_is_made_again_and_goes_on(made, way):
    """As a module that is fitted again has it; and an evaluation, which goes back to the beginning each time."""
    env, twin = (made(**WAYS[way], n_envs=4, horizon=5, seed=3) for _ in range(2))
    first = env.state_dict()
    for each in (env, twin):
        each.start()
        play(each, 7)
    env.close()
    assert env.is_closed and torch.equal(play(env, 7, 50), play(twin, 7, 50))
    env.close()
    begun = [{group: seen.clone() for group, seen in env.start().items()}]
    for _ in range(2):
        env.load_state_dict(first)
        begun.append({group: seen.clone() for group, seen in env.start().items()})
        play(env, 3)
    assert all(torch.equal(seen, begun[2][group]) for group, seen in begun[1].items())


def test_what_does_not_repeat_is_not_made_again(made):
    env = made(factory=COPIED, n_envs=2, repeats=False)
    env.start()
    env.close()
    with pytest.raises(
        RunError, match=r"^task \(Walk\): it was closed, and its episodes under way cannot be brought back"
    ):
        env.advance(actions(env))


@pytest.mark.filterwarnings("error")
def test_a_state_from_before_the_first_start_says_nothing_where_it_is_loaded(made):
    """As evaluations have it, again and again."""
    env = made(factory=COPIED, n_envs=2, repeats=False)
    state, seen = env.state_dict(), []
    for _ in range(2):
        env.load_state_dict(state)
        seen.append(env.start()["left"].clone())
        play(env, 3)
    assert torch.equal(*seen)


# ----- errors


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (lambda: 3, "task: the factory makes a int, which is no EnvBase of TorchRL."),
        (lambda: Walk(5), r"task \(Walk\): it has a batch of \[5\] environments, and task.n_envs = 2; let it, or its "
         "factory, take 'n_envs' and make as many, or make one with an empty batch_size."),
        (Alone, r"task.horizon: Alone has no max_steps; say after how many steps to cut."),
        (lambda: Alone(actions=Composite({"action": Unbounded((1,), dtype=torch.int64)})),
         r"task \(Alone\): 'agent' acts in UnboundedDiscrete of torch.int64, \[1\]; only Bounded and Unbounded real"),
        (lambda: Alone(actions=Composite({"a": Categorical(2), "b": Bounded(-1, 1, (1,))})),
         r"task \(Alone\): 'agent' both chooses and steers \(a, b\); only one kind of action for an agent is known."),
        (lambda: Alone(seen={"number": Unbounded((1,), dtype=torch.int64)}),
         r"task \(Alone\): 'agent' sees nothing: its observation_spec has no 'observation' for it, nor any real"),
        (lambda: Alone(actions=Composite({})), r"task \(Alone\): its action_spec is empty; nobody acts in it."),
    ],
)  # fmt: skip
def test_refuses_what_cannot_be_used(factory, message):
    with pytest.raises(RecipeError, match=f"^{message}") as caught:
        TorchRL(factory=factory, n_envs=2)
    assert "\n" not in str(caught.value)


def changed(**words):
    """A factory of walks with other attributes or specs."""

    def factory():
        env = Walk()
        for word, value in words.items():
            setattr(env, word, value)
        return env

    return factory


def masked_by(n):
    env = Walk()
    seen = env.observation_spec.clone().unlock_()
    seen["guards", "action_mask"] = Categorical(2, shape=(1, n), dtype=torch.bool)
    env.observation_spec = seen
    return env


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (changed(group_map={"walkers": ["left"], "guards": ["guard"]}),
         "its group_map has 1 agents in 'walkers', and its specs have 2."),
        (changed(group_map={"others": ["left"]}), "its group_map has the group 'others', and its action_spec has "
         "walkers, guards."),
        (lambda: masked_by(2), r"'guard' has an action_mask of 2 entries, and its action is discrete\[3\]; a mask has"),
        (changed(reward_spec=Composite({"walkers": Composite({"reward": Unbounded((2, 1))}, shape=(2,))})),
         "its reward_spec has no reward, for all or for 'guard'."),
        (changed(reward_spec=Composite({"reward": Unbounded((2,))})),
         r"the reward 'reward' is \[2\], and an agent earns one number."),
        (changed(done_spec=Composite({"walkers": Composite({"done": Categorical(2, shape=(2, 1), dtype=torch.bool)})})),
         "its done_spec has no 'done', for all or for each agent; episodes have to end somewhere."),
    ],
)  # fmt: skip
def test_refuses_specs_that_do_not_fit(factory, message):
    with pytest.raises(RecipeError, match=rf"^task \(Walk\): {message}"):
        TorchRL(factory=factory, n_envs=2)


class Lying(Walk):
    """Gives something else than its specs say, from step ``since`` on."""

    def __init__(self, change, since):
        super().__init__()
        self.change, self.since = change, since

    def _reset(self, tensordict=None, **words):
        given = super()._reset(tensordict, **words)
        return self.change(given) if self.since == 0 else given

    def _step(self, tensordict):
        given = super()._step(tensordict)
        return self.change(given) if self.count >= self.since else given


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda td: td.exclude(("walkers", "observation")), "nothing at 'walkers.observation' {when}, and its specs"),
        (lambda td: td.set("state", torch.zeros(4)), r"'state' is \[4\] {when}, and its specs say \[3\]."),
    ],
)
@pytest.mark.parametrize("since", [0, 2])
def test_lying_specs_are_told_with_the_key_and_the_step(made, change, message, since):
    """At a reset when it is made, before anything is written; at a step when it comes."""
    message = rf"^task \(Lying\): {message.format(when='at step 2' if since else 'at a reset')}"
    if since == 0:
        with pytest.raises(RunError, match=message):
            made(factory=lambda: Lying(change, since), n_envs=2)
    else:
        env = made(factory=lambda: Lying(change, since), n_envs=2)
        env.advance(actions(env))
        with pytest.raises(RunError, match=message) as caught:
            env.advance(actions(env))
        assert caught.value.__notes__ == [
            "This was step 2 of its episode.", "This was in environment 0 of the task (they count from 0).",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda td: td.exclude(("guards", "reward")), "its _step gave no 'guards.reward' at step 1, which its"),
        (lambda td: td.set(("walkers", "reward"), torch.zeros(2, 3)), "what it gives at step 1 is not what its specs"),
        (lambda td: 3, "its _step gave a int at step 1, and no TensorDict."),
    ],
)
def test_lying_rewards(made, change, message):
    env = made(factory=lambda: Lying(change, 1), n_envs=2)
    with pytest.raises(RunError, match=rf"^task \(Lying\): {message}"):
        env.advance(actions(env))


def test_its_own_errors_are_its_own(made):
    def fail(_):
        raise KeyError("mine")

    for workers in (None, 2):
        env = made(factory=lambda: Lying(fail, 2), n_envs=3, workers=workers)
        env.advance(actions(env))
        with pytest.raises(KeyError, match="mine") as caught:
            env.advance(actions(env))
        assert "This was step 2 of its episode." in caught.value.__notes__


def test_an_episode_stepped_on(made):
    env = made(factory=COPIED, n_envs=1, horizon=1)
    env._simulate(actions(env))
    with pytest.raises(RunError, match=r"^task \(Walk\): an episode at its horizon was stepped on; reset it first"):
        env._simulate(actions(env))


def test_the_contract_of_environments_holds():
    class Walks(TorchRL):
        """Walks.

        Args:
            n_envs: environments in the batch.
            seed: of all episodes.
            device: where the tensors live.
        """

        def __init__(self, *, n_envs: int = 2, seed: int = 0, device: str = "cpu") -> None:
            super().__init__(factory=self.factory, n_envs=n_envs, seed=seed, device=device, horizon=4)

        factory = staticmethod(COPIED)

        @staticmethod
        def provides(arguments):
            return TorchRL.provides({**arguments, "factory": COPIED})

    check_env(Walks)
    Walks.factory = staticmethod(Walk)
    check_env(Walks)
