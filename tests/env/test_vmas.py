"""The VMAS environment against bare ``vmas``: the same numbers, and resets that touch nothing else."""

import io
import random
import time

import numpy as np
import pytest
import torch
from env.drawn import actions
from tensordict import TensorDict
from torchrl.envs.utils import check_env_specs

from hetrl.env.scenarios import scenario_arguments, scenario_class, scenarios
from hetrl.env.simulator_state import copy_rows, footprint, restore, snapshot
from hetrl.env.vmas import Vmas, _flat
from hetrl.errors import RecipeError, RunError
from hetrl.team import Discrete

pytest.importorskip("vmas")

# Warnings of vmas itself: joints without force limits, deprecated calls of torch.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Force limits not specified"),
    pytest.mark.filterwarnings("ignore::UserWarning:vmas"),
    pytest.mark.filterwarnings("ignore::FutureWarning:torchrl"),
]

SLOW = {
    "hetrl/pass_and_shoot",
    "hetrl/run_pass_and_shoot",
    "hetrl/tether",
    "hetrl/three_against_one",
    "ball_passage",
    "ball_trajectory",
    "buzz_wire",
    "football",
    "joint_passage",
    "joint_passage_size",
    "multi_give_way",
    "passage",
    "pollock",
    "road_traffic",
    "sampling",
    "simple_world_comm",
    "waterfall",
}
MAIN = [
    "balance",
    "ball_passage",
    "ball_trajectory",
    "buzz_wire",
    "discovery",
    "dispersion",
    "dropout",
    "flocking",
    "football",
    "give_way",
    "joint_passage",
    "joint_passage_size",
    "multi_give_way",
    "navigation",
    "passage",
    "reverse_transport",
    "road_traffic",
    "sampling",
    "transport",
    "wheel",
    "wind_flocking",
]
OWN = [name for name in scenarios() if name.startswith("hetrl/")]
NOISY = {"asym_joint", "road_traffic"}
"""Observations carry noise: two looks at one state differ."""
COUPLED = {
    "football": "its scripted team draws a random number for every row without the ball, all from one stream",
}
"""Scenarios in which vmas itself lets a row act on another within the few steps of these tests. Rarer ways exist: a
pair of bodies is checked for contact in all rows as soon as any row has it close, which changes the last bit (passage,
seen once in 90 steps) or the collision penalty (navigation); targets of discovery respawn until no row has an overlap;
road_traffic records collisions of all rows into one buffer with ``map_type: "2"``."""


def each(names):
    return [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in names]


def same(left, right):
    return left.keys() == right.keys() and all(torch.equal(left[k].nan_to_num(7), right[k].nan_to_num(7)) for k in left)


def rows_of(tensors, rows):
    return {name: tensor[rows] for name, tensor in tensors.items()}


def at(n_envs, rows):
    """Return a mask of some rows."""
    return torch.zeros(n_envs, dtype=torch.bool).index_fill(0, torch.as_tensor(list(rows)), True)


def by_group(env, each_agent):
    return {
        group: torch.stack([each_agent[env.team.agents.index(agent)] for agent in agents], 1)
        for group, agents in env.team.layout.items()
    }


def through_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


class Bare:
    """``vmas.make_env`` whose construction and resets draw what ours draw, leaving vmas's shared state as it was."""

    def __init__(self, name, n_envs, seed, **kwargs):
        import vmas
        from vmas.simulator.environment import Environment

        self.shared, self.outside = Environment.vmas_random_state, list(Environment.vmas_random_state)
        torch.manual_seed(seed), np.random.seed(seed), random.seed(seed)
        self.shared[:] = [torch.get_rng_state(), np.random.get_state(), random.getstate()]
        self.env = vmas.make_env(scenario_class(name)(), num_envs=n_envs, clamp_actions=True, **kwargs)

    def __enter__(self):
        return self.env

    def __exit__(self, *_):
        self.shared[:] = self.outside


@pytest.mark.parametrize("name", each(scenarios()))
def test_torchrl_accepts_specs_and_rollouts(name):
    env = Vmas(scenario=name, n_envs=3, horizon=4)
    check_env_specs(env)
    rollout = env.rollout(5, break_when_any_done=False)
    assert rollout["next", "truncated"][:, 3].logical_or(rollout["next", "terminated"].any(1)).all()


@pytest.mark.parametrize("kind", ["discrete", "multi_discrete"])
@pytest.mark.parametrize("name", ["balance", pytest.param("simple_world_comm", marks=pytest.mark.slow)])
def test_discrete_actions(name, kind):
    env = Vmas(scenario=name, n_envs=3, actions=kind, horizon=3)
    check_env_specs(env)
    space = env.team.agents[0].action
    assert isinstance(space, Discrete)
    generator = torch.Generator().manual_seed(0)
    with Bare(name, 3, 0, continuous_actions=False, multidiscrete_actions=kind == "multi_discrete") as bare:
        env.seed(5)
        env.start()
        bare.reset(seed=5)
        drawn = actions(env, generator)
        _, rewards, _, _ = bare.step([drawn[agent.group][:, agent.index] for agent in env.team.agents])
        assert same(env.advance(drawn).reward, by_group(env, rewards))


@pytest.mark.parametrize("name", each(scenarios()))
def test_fifty_steps_equal_bare_vmas(name):
    """Bare vmas also computes infos: equality in every scenario shows that they have no effect on what follows."""
    env = Vmas(scenario=name, n_envs=3, horizon=1000, seed=3)
    generator = torch.Generator().manual_seed(0)
    with Bare(name, 3, 3) as bare:
        assert same(env.start(), by_group(env, [_flat(o) for o in bare.reset(seed=3)]))
        for _ in range(50):
            drawn = actions(env, generator)
            observation, reward, terminated, _ = env._simulate(drawn)
            theirs = bare.step([drawn[agent.group][:, agent.index] for agent in env.team.agents])
            assert same(observation, by_group(env, [_flat(o) for o in theirs[0]]))
            assert same(reward, by_group(env, [reward.flatten() for reward in theirs[1]]))
            assert torch.equal(terminated, theirs[2])


@pytest.mark.parametrize("name", each(scenarios()))
def test_a_reset_changes_nothing_for_other_rows(name):
    generator = torch.Generator().manual_seed(0)
    env, twin = (Vmas(scenario=name, n_envs=5, horizon=1000, seed=3) for _ in range(2))
    env.start()
    for _ in range(4):
        env._simulate(actions(env, generator))
    twin.load_state_dict(through_file(env.state_dict()))
    rows, others = torch.tensor([1, 4]), torch.tensor([0, 2, 3])
    before = env._observation
    observation = env._reset_where(at(5, rows))
    assert same(rows_of(observation, others), rows_of(before, others))
    if name not in NOISY:  # what the spare saw is what the running simulator now shows
        with env._stream:
            own = env._observe(env._simulator)
        assert same(rows_of(own, rows), rows_of(observation, rows))
        env._stream.load_state_dict(twin._stream.state_dict())
    if name in COUPLED:
        return
    for _ in range(4):
        drawn = actions(env, generator)
        mine, theirs = env._simulate(drawn), twin._simulate(drawn)
        assert same(rows_of(mine[0], others), rows_of(theirs[0], others))
        assert same(rows_of(mine[1], others), rows_of(theirs[1], others))
        assert torch.equal(mine[2][others], theirs[2][others])


@pytest.mark.parametrize("name", each([*MAIN, *OWN]))
def test_state_continues_bit_for_bit(name):
    generator = torch.Generator().manual_seed(0)
    env = Vmas(scenario=name, n_envs=4, horizon=6, seed=3)
    env.start()
    env._steps += torch.arange(4)  # rows finish at different steps, so that the spare is in use
    for _ in range(8):
        env.advance(actions(env, generator))
    twin = Vmas(scenario=name, n_envs=4, horizon=6, seed=3)
    twin.load_state_dict(through_file(env.state_dict()))
    for _ in range(8):
        drawn = actions(env, generator)
        mine, theirs = env.advance(drawn), twin.advance(drawn)
        for part in ("next_observation", "reward", "observation"):
            assert same(getattr(mine, part), getattr(theirs, part)), part
        assert torch.equal(mine.terminated, theirs.terminated)
        assert torch.equal(mine.truncated, theirs.truncated)


def test_state_of_another_size_is_refused():
    env = Vmas(scenario="balance", n_envs=3)
    with pytest.raises(RunError, match="saved with n_envs = 4, this task has n_envs = 3"):
        env.load_state_dict(Vmas(scenario="balance", n_envs=4).state_dict())
    with pytest.raises(RunError, match="no object at 'world/_agents/3'"):
        env.load_state_dict(Vmas(scenario="balance", n_envs=3, n_agents=4).state_dict())


def test_horizon_truncates_and_never_terminates():
    env = Vmas(scenario="navigation", n_envs=4, horizon=3)
    env.start()
    still = {"agents": torch.zeros(4, 4, 2)}
    for step in range(1, 10):
        result = env.advance(still)
        assert not result.terminated.any()
        assert result.truncated.all() == (step % 3 == 0)
        assert (result.observation is result.next_observation) == (step % 3 != 0)


def test_a_genuine_end_at_the_horizon_is_a_termination():
    env = Vmas(scenario="navigation", n_envs=4, horizon=2)
    env.start()
    ends = torch.tensor([True, False, True, False])
    env._simulator.scenario.done = lambda: ends & (env._steps >= 1)
    still = {"agents": torch.zeros(4, 4, 2)}
    env.advance(still)
    result = env.advance(still)
    assert result.terminated.tolist() == [True, False, True, False]
    assert result.truncated.tolist() == [False, True, False, True]


def test_the_true_last_observation_is_kept():
    env = Vmas(scenario="navigation", n_envs=4, horizon=3, seed=2)
    generator = torch.Generator().manual_seed(0)
    with Bare("navigation", 4, 2) as bare:
        env.start()
        bare.reset(seed=2)
        env._steps += torch.tensor([0, 0, 1, 0])
        for _ in range(2):
            drawn = actions(env, generator)
            result = env.advance(drawn)
            theirs = bare.step(list(drawn["agents"].unbind(1)))
    assert result.truncated.tolist() == [False, False, True, False]
    assert same(result.next_observation, by_group(env, theirs[0]))
    changed = (result.next_observation["agents"] != result.observation["agents"]).flatten(1).any(1)
    assert changed.tolist() == [False, False, True, False]
    assert env._steps.tolist() == [2, 2, 0, 2]


def test_reset_rows_follow_the_scenario():
    """2,000 rows through the spare and 2,000 from full resets: means within five standard errors, spreads alike."""
    env = Vmas(scenario="balance", n_envs=1000, seed=1)
    full = torch.cat([env.start()["agents"][:, 0] for _ in range(2)])
    for _ in range(5):
        env._simulate({"agents": torch.zeros(1000, 3, 2)})
    half = torch.arange(500)
    spare = torch.cat([env._reset_where(at(1000, half))["agents"][half, 0] for _ in range(4)])
    error = (full.var(0) / 2000 + spare.var(0) / 2000).sqrt()
    assert ((full.mean(0) - spare.mean(0)).abs() <= 5 * error + 1e-6).all()
    torch.testing.assert_close(full.std(0), spare.std(0), rtol=0.1, atol=1e-5)
    assert len(spare[:, 8:10].unique(dim=0)) == 2000  # no initial state is handed out twice


def test_what_all_rows_share_changes_only_when_all_start():
    env = Vmas(scenario="simple_adversary", n_envs=4, seed=0)
    generator = torch.Generator().manual_seed(0)
    env.start()
    goal = env._simulator.agents[0].goal
    for _ in range(6):
        env._simulate(actions(env, generator))
        env._reset_where(at(4, [0, 2]))
        assert env._simulator.agents[0].goal is goal
    goals = set()
    for _ in range(12):
        env._reset_where(at(4, range(4)))
        goals.add(env._simulator.agents[0].goal.name)
    assert len(goals) == 2


@pytest.mark.parametrize("name", ["simple_spread", "simple_adversary"])
def test_without_questions_scenarios_that_never_terminate_give_the_same_numbers(name):
    """The host counts the steps that all rows have taken; then TorchRL resets one of them."""
    env, asked = (Vmas(scenario=name, n_envs=4, horizon=5, seed=3) for _ in range(2))
    env.asks = False
    generator = torch.Generator().manual_seed(0)
    assert same(env.start(), asked.start())
    for step in range(1, 12):
        drawn = actions(env, generator)
        mine, theirs = env.advance(drawn), asked.advance(drawn)
        assert same(mine.observation, theirs.observation) and same(mine.next_observation, theirs.next_observation)
        assert torch.equal(mine.truncated, theirs.truncated)
        assert (mine.observation is mine.next_observation) == (step % 5 != 0)
    before = env._observation
    env._reset(TensorDict({"_reset": at(4, [1]).unsqueeze(-1)}, [4]))
    assert same(rows_of(env._observation, [0, 2, 3]), rows_of(before, [0, 2, 3]))
    assert env._steps.tolist() == [1, 0, 1, 1]
    env.advance(actions(env, generator))
    for _ in range(5):  # apart from each other now
        env.advance(actions(env, generator))
    assert env._steps.tolist() == [2, 1, 2, 2]


def test_without_questions_each_step_ends_with_a_reset_of_what_ended():
    """Horizon 6 from steps 0, 1, 2, 3: rows are cut one after the other, and nothing else changes."""
    env = Vmas(scenario="balance", n_envs=4, horizon=6, seed=3)
    env.asks = False
    generator = torch.Generator().manual_seed(0)
    env.start()
    env._steps += torch.arange(4)
    begun = []
    for _ in range(30):
        moved = env.advance(actions(env, generator))
        done = moved.terminated | moved.truncated
        assert same(rows_of(moved.observation, ~done), rows_of(moved.next_observation, ~done))
        assert env._steps[done].eq(0).all() and env._steps[~done].ge(1).all()
        begun += moved.observation["agents"][done, 0, 8:10].tolist()
    assert len(begun) >= 18 and len({tuple(each) for each in begun}) == len(begun)  # none is handed out twice


def test_without_questions_a_spare_serves_eight_steps():
    """Three rows are reset in every step: what they begin with changes at every eighth."""
    env = Vmas(scenario="balance", n_envs=4, seed=3)
    env.asks = False
    env.start()
    env._simulate({"agents": torch.zeros(4, 3, 2)})
    begun = [env._reset_where(at(4, [0, 1, 3]))["agents"][:, 0, 8:10] for _ in range(20)]
    changes = [step for step in range(1, 20) if not torch.equal(begun[step][0], begun[step - 1][0])]
    assert changes == [8, 16]
    assert all(torch.equal(each[2], begun[0][2]) for each in begun)


def test_the_schedule_of_a_spare_goes_on_where_it_was_saved():
    env, twin = (Vmas(scenario="balance", n_envs=4, horizon=6, seed=3) for _ in range(2))
    env.asks = twin.asks = False
    generator = torch.Generator().manual_seed(0)
    env.start()
    env._steps += torch.arange(4)
    for _ in range(11):
        env.advance(actions(env, generator))
    twin.load_state_dict(through_file(env.state_dict()))
    for _ in range(11):
        drawn = actions(env, generator)
        assert same(env.advance(drawn).observation, twin.advance(drawn).observation)


def test_torchrl_resets_only_the_rows_it_asks_for():
    env = Vmas(scenario="navigation", n_envs=4, horizon=100)
    first = env.reset()
    after = env.step(env.rand_action(first))["next"]
    after["_reset"] = torch.tensor([[False], [True], [False], [False]])
    again = env.reset(after.clone())
    changed = (again["agents", "observation"] != after["agents", "observation"]).flatten(1).any(1)
    assert changed.tolist() == [False, True, False, False]
    assert env._steps.tolist() == [1, 0, 1, 1]


def test_team_reward_and_state():
    kinds = {}
    for kind in ("mean", "sum", "per_agent"):
        env = Vmas(scenario="simple_tag", n_envs=3, reward=kind, seed=4)
        kinds[kind] = env.rollout(2)["next"]
        assert ("reward" in set(kinds[kind].keys())) == (kind != "per_agent")
    torch.testing.assert_close(kinds["sum"]["reward"], 4 * kinds["mean"]["reward"])
    own = torch.cat([kinds["sum"][group, "reward"] for group in ("adversary", "agent")], 2)
    torch.testing.assert_close(own.sum(2), kinds["sum"]["reward"])
    assert kinds["sum"]["state"].shape[-1] == env.team.state_size == 3 * 16 + 14


def test_teams():
    assert list(Vmas(scenario="balance", n_envs=1).team.layout) == ["agents"]
    team = Vmas(scenario="simple_world_comm", n_envs=1).team
    assert {group: len(agents) for group, agents in team.layout.items()} == {
        "lead_adversary": 1,
        "adversary": 3,
        "agent": 2,
    }
    assert team["lead_adversary_0"].action.low == (-1, -1, 0, 0, 0, 0)
    crypto = Vmas(scenario="simple_crypto", n_envs=1).team
    assert [(agent.name, agent.group, agent.index) for agent in crypto.agents] == [
        ("eve_0", "eve", 0),
        ("bob_0", "bob_0", 0),
        ("alice_0", "bob_0", 1),
    ]
    assert Vmas(scenario="het_mass", n_envs=1).team.names == ("agent_0", "agent_1")


def test_dictionary_observations_are_joined():
    """Football's dictionary has the parts of its flat observation, matrices for the other players."""
    env = Vmas(scenario="football", n_envs=2, dict_obs=True)
    observation = env.start()["agents"]
    assert observation.shape == (2, 3, env.team.agents[0].observation_size)
    parts = env._simulator.scenario.observation(env._simulator.agents[1])
    assert isinstance(parts, dict)
    torch.testing.assert_close(observation[:, 1], torch.cat([part.flatten(1) for part in parts.values()], 1))


def test_seeds():
    def play(env):
        generator = torch.Generator().manual_seed(0)
        env._steps += torch.arange(4)
        return torch.cat([env.advance(actions(env, generator)).observation["agents"] for _ in range(12)])

    def fresh(seed):
        env = Vmas(scenario="balance", n_envs=4, horizon=6, seed=seed)
        env.start()
        return env

    one = fresh(1)
    expected = play(one)
    assert torch.equal(play(fresh(1)), expected)
    assert not torch.equal(play(fresh(2)), expected)
    one.seed(1)
    one.start()
    assert torch.equal(play(one), expected)


def test_environments_do_not_disturb_each_other_or_the_process():
    def play(others):
        env = Vmas(scenario="asym_joint", n_envs=3, horizon=4, seed=1)  # noisy observations
        env.start()
        env._steps += torch.arange(3)
        seen = []
        for _ in range(8):
            seen.append(env.advance({"agents": torch.ones(3, 2, 2)}).observation["agents"])
            for other in others:
                other.advance({"agents": torch.ones(5, 2, 2)})
        return torch.cat(seen)

    def process():
        return torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()

    evaluation = Vmas(scenario="asym_joint", n_envs=5, horizon=3, seed=1)
    evaluation.start()
    before = process()
    alone = play([])
    together = play([evaluation])
    after = process()
    assert torch.equal(alone, together)
    assert torch.equal(before[0], after[0])
    assert before[1] == after[1]
    assert (before[2] == after[2]).all()


def test_building_leaves_the_random_state_of_vmas_alone():
    from vmas.simulator.environment import Environment

    before = [Environment.vmas_random_state[0].clone(), Environment.vmas_random_state[2]]
    Vmas(scenario="navigation", n_envs=3, n_agents=9).start()
    assert torch.equal(before[0], Environment.vmas_random_state[0])
    assert before[1] == Environment.vmas_random_state[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scenario": "balence"}, "task.scenario: no VMAS scenario 'balence'. Nearest: 'balance'."),
        ({"n_agent": 4}, "task.n_agent: scenario 'balance' has no such argument. Nearest: 'n_agents'."),
        ({"n_envs": 0}, "task.n_envs: 0 is not a whole number of at least 1."),
        ({"horizon": 2.5}, "task.horizon: 2.5 is not a whole number of at least 1."),
        ({"seed": -1}, "task.seed: -1 is not a whole number of at least 0."),
        ({"reward": "means"}, "task.reward: no choice 'means'. Nearest: 'mean'."),
        ({"actions": "discret"}, "task.actions: no choice 'discret'. Nearest: 'discrete'."),
        ({"device": "gpu"}, "task.device: 'gpu' is no torch device; use 'cpu', 'cuda' or 'cuda:0'."),
        ({"n_agents": 1001}, "task.n_agents = 1001: VMAS makes them one by one; write at most 1,000."),
        (
            {"n_agents": 1},
            "task: scenario 'balance' cannot be built with {'n_agents': 1}: an assertion in it failed. "
            "Change those arguments.",
        ),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(RecipeError) as caught:
        Vmas(**{"scenario": "balance", "n_envs": 2, **arguments})
    assert str(caught.value) == message


def test_scenario_arguments_are_read_from_the_source():
    assert scenario_arguments("balance") == {"n_agents", "package_mass", "random_package_pos_on_line"}
    assert {"n_blue_agents", "ai_red_agents", "dense_reward_ratio"} <= scenario_arguments("football")
    assert {"map_type", "probability_use_recording"} <= scenario_arguments("road_traffic")
    assert scenario_arguments("simple") == frozenset()
    assert all(scenario_arguments(name) is not None for name in scenarios())
    stock = {name for name in scenarios() if not name.startswith("hetrl/")}
    assert set(MAIN) < stock and len(stock) == 41


def test_partial_resets_cost_less_than_a_step():
    """512 rows, five of which finish at every step; a loop over rows would cost many steps."""
    env = Vmas(scenario="balance", n_envs=512, horizon=10**6)
    env.start()
    still = {"agents": torch.zeros(512, 3, 2)}
    rows = at(512, range(0, 512, 100))
    env._simulate(still)
    env._reset_where(rows)
    plain, resets = [], []
    for _ in range(15):
        start = time.perf_counter()
        env._simulate(still)
        middle = time.perf_counter()
        env._reset_where(rows)  # the same rows again: each time the spare is reset in full as well
        plain.append(middle - start)
        resets.append(time.perf_counter() - start)
    assert min(resets) < 2 * min(plain)


class Toy:
    """A simulator in which slots share tensors: an alias, a view, a reference that changes, a tuple."""

    def __init__(self, n):
        self.n = n
        self.parts = [Part(), Part()]
        self.whole = torch.zeros(n, 2)
        self.parts[0].half = self.whole[:, 0]
        self.alias = self.parts[1].half = torch.zeros(n)
        self.pair = (torch.zeros(n, 3), "text")
        self.by_part = {part: torch.zeros(n) for part in self.parts}
        self.chosen = self.parts[0]
        self.count = 0

    def reset(self):
        self.whole.uniform_()
        self.alias = self.parts[1].half = torch.rand(self.n)
        self.pair = (torch.rand(self.n, 3), "text")
        for value in self.by_part.values():
            value[:] = 5
        self.chosen = self.parts[int(torch.rand(()) < 0.5)]


class Part:
    half: torch.Tensor


FIRST = (("parts",),)


def test_rows_are_copied_and_sharing_survives():
    small, source, target = Toy(2), Toy(5), Toy(5)
    found = footprint(small, source, (2, 5), small.reset, FIRST, trials=16)
    assert {row.path: row.in_place for row in found.rows} == {
        ("whole",): True,
        ("parts", 0, "half"): True,
        ("alias",): False,
        ("parts", 1, "half"): False,
        ("pair", 0): False,
        ("by_part", 0): True,
        ("by_part", 1): True,
    }
    assert found.shared == (("chosen",),)
    source.reset()
    whole = target.whole
    copy_rows(found.rows, source, target, at(5, [1, 3]))
    assert target.whole is whole
    assert torch.equal(target.whole[[1, 3]], source.whole[[1, 3]])
    assert not target.whole[[0, 2, 4]].any()
    target.whole[:, 0] = 9  # the view still looks into the whole
    assert (target.parts[0].half == 9).all()
    assert target.alias is target.parts[1].half
    assert torch.equal(target.pair[0][3], source.pair[0][3])
    assert target.by_part[target.parts[0]].tolist() == [0, 5, 0, 5, 0]


def test_snapshots_keep_sharing():
    saved, loaded = Toy(4), Toy(4)
    saved.reset()
    saved.chosen, saved.count, saved.late = saved.parts[1], 3, [torch.ones(2), {"x": saved.parts[0]}]
    restore(loaded, through_file(snapshot(saved, FIRST)))
    assert loaded.chosen is loaded.parts[1]
    assert loaded.count == 3
    assert torch.equal(loaded.whole, saved.whole)
    loaded.whole[:, 0] = 9
    assert (loaded.parts[0].half == 9).all()
    assert not (saved.whole == 9).any()
    assert loaded.alias is loaded.parts[1].half
    assert torch.equal(loaded.pair[0], saved.pair[0]) and loaded.pair[1] == "text"
    assert torch.equal(loaded.late[0], torch.ones(2)) and loaded.late[1]["x"] is loaded.parts[0]
    assert list(loaded.by_part) == loaded.parts
