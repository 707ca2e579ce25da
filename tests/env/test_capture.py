"""A captured step against the simulator's own: the same numbers, or a refusal that says why."""

import io
import random
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest
import torch
from env.drawn import actions
from torch.overrides import _get_current_function_mode_stack

from hetrl import graph
from hetrl.env import vmas
from hetrl.env.capture import capture
from hetrl.env.capture.capture import make
from hetrl.env.capture.masked_index import masked_index
from hetrl.env.capture.places import RefusalError
from hetrl.env.capture.proof import _refuse_merged
from hetrl.env.capture.runner import as_it_is, compiled, in_turns, replayed
from hetrl.env.simulator_state import PlayedChoice, choose_rows
from hetrl.env.vmas import _OWNERS, Vmas, scenario_class, scenarios
from hetrl.errors import RecipeError, RunError
from hetrl.testing.tape import Tape

pytest.importorskip("vmas")

# Warnings of vmas itself: joints without force limits, deprecated calls of torch.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Force limits not specified"),
    pytest.mark.filterwarnings("ignore::UserWarning:vmas"),
]


@pytest.fixture
def cheap(monkeypatch):
    """Programs as they are traced, without a compiler, after short proofs."""
    monkeypatch.setitem(capture.COMPILERS, "cpu", as_it_is)
    monkeypatch.setattr(capture, "_PROOF", 10)
    monkeypatch.setattr(capture, "_REHEARSALS", 3)


def staggered(**task):
    env = Vmas(**{"n_envs": 4, "horizon": 7, "seed": 3, **task})
    env.start()
    env._steps += torch.arange(4) % 3 * 2
    return env


def same(left, right):
    for part in ("next_observation", "reward", "observation"):
        ours, theirs = getattr(left, part), getattr(right, part)
        assert ours.keys() == theirs.keys()
        for group in ours:
            assert torch.equal(ours[group], theirs[group]), (part, group)
    assert torch.equal(left.terminated, right.terminated)
    assert torch.equal(left.truncated, right.truncated)


def through_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def process():
    return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()


@pytest.mark.parametrize(
    "task",
    [
        {"scenario": "simple"},
        {"scenario": "circle_trajectory"},  # its step draws random numbers
        pytest.param({"scenario": "navigation", "n_agents": 2, "n_lidar_rays": 3}, marks=pytest.mark.slow),
        {"scenario": "simple", "actions": "discrete"},
        {"scenario": "hetrl/relay"},
    ],
    ids=lambda task: "-".join(map(str, task.values())),
)
def test_the_same_numbers_resets_included(cheap, task):
    generator, before = torch.Generator().manual_seed(0), process()
    ours, theirs = staggered(capture=True, **task), staggered(**task)
    for _ in range(24):
        drawn = actions(ours, generator)
        same(ours.advance(drawn), theirs.advance(drawn))
    assert ours._capture.n_own <= 2  # what the first step makes, and no more
    assert process() == before


@pytest.mark.slow
def test_goals_of_their_own_get_traced_steps_of_their_own(cheap):
    """All rows start together every seventh step, and the goal is then another landmark, or not."""
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (Vmas(scenario="simple_push", n_envs=2, horizon=7, seed=1, capture=c) for c in (True, False))
    ours.start(), theirs.start()
    for _ in range(40):
        drawn = actions(ours, generator)
        same(ours.advance(drawn), theirs.advance(drawn))
    assert len(ours._capture._runners) == 2


@pytest.mark.slow
def test_loops_that_draw_until_it_fits(cheap):
    """Targets respawn by rejection: a traced step makes as many tries as ever seen, one more is the simulator's."""
    env = Vmas(scenario="discovery", n_envs=6, n_agents=2, n_targets=2, targets_respawn=True, seed=1)
    env.start()
    made = make(env, _OWNERS, as_it_is, None, 25)
    assert made.runner.traced.turns
    assert made.traced.worst < 1e-6
    assert made.traced.missed < 5


def test_a_state_continues_bit_for_bit(cheap):
    generator = torch.Generator().manual_seed(0)
    env = staggered(scenario="circle_trajectory", capture=True)
    for _ in range(9):
        env.advance(actions(env, generator))
    state = through_file(env.state_dict())
    other = Vmas(scenario="circle_trajectory", n_envs=4, horizon=7, seed=3, capture=True)
    other.load_state_dict(state)
    for _ in range(9):
        drawn = actions(env, generator)
        same(env.advance(drawn), other.advance(drawn))
    assert other._capture.n_own == 0


def test_states_travel_between_captured_and_not(cheap):
    generator = torch.Generator().manual_seed(0)
    env = staggered(scenario="simple", capture=True)
    for _ in range(5):
        env.advance(actions(env, generator))
    other = Vmas(scenario="simple", n_envs=4, horizon=7, seed=3)
    other.load_state_dict(through_file(env.state_dict()))
    back = Vmas(scenario="simple", n_envs=4, horizon=7, seed=3, capture=True)
    back.load_state_dict(through_file(other.state_dict()))
    for _ in range(9):
        drawn = actions(env, generator)
        result = env.advance(drawn)
        same(result, other.advance(drawn))
        same(result, back.advance(drawn))


def test_auto_waits_and_goes_on_waiting_after_a_resume(cheap, monkeypatch):
    monkeypatch.setattr(capture, "PATIENCE", 6)
    generator = torch.Generator().manual_seed(0)
    env = staggered(scenario="simple", capture="auto")
    for _ in range(4):
        env.advance(actions(env, generator))
    assert not env._capture._runners
    other = Vmas(scenario="simple", n_envs=4, horizon=7, seed=3, capture="auto")
    other.load_state_dict(through_file(env.state_dict()))
    for _ in range(2):
        other.advance(actions(env, generator))
    assert not other._capture._runners
    other.advance(actions(env, generator))
    assert len(other._capture._runners) == 1


def test_nothing_stays_patched(cheap):
    from vmas.simulator.core import World

    before = dict(vars(World)), dict(vars(torch.Tensor))
    env = staggered(scenario="simple_push", capture=True)
    kind, attributes = type(env._simulator.world), set(vars(env._simulator.world))
    env.advance(actions(env, torch.Generator().manual_seed(0)))
    env.advance(actions(env, torch.Generator().manual_seed(0)))
    assert env._capture._runners
    assert (dict(vars(World)), dict(vars(torch.Tensor))) == before
    assert type(env._simulator.world) is kind is World
    assert attributes <= set(vars(env._simulator.world))
    assert not _get_current_function_mode_stack()


def test_an_impossible_action_is_told_by_the_simulator(cheap):
    """What the step asserts is a question as any other: a wrong answer leaves the step to the simulator."""
    env = staggered(scenario="simple", capture=True)
    still = {"agents": torch.zeros(4, 1, 2)}
    for _ in range(3):
        env.advance(still)
    with pytest.raises(AssertionError):
        env.advance({"agents": torch.full((4, 1, 2), torch.nan)})


# ----- recorded steps


BOTH_SETS = [
    {"scenario": "simple"},
    *(
        pytest.param({"scenario": name}, marks=pytest.mark.slow)
        for name in ("balance", "navigation", "wheel", "football", "hetrl/mixed_transport")
    ),
]


@pytest.mark.parametrize("task", BOTH_SETS, ids=lambda task: task["scenario"])
def test_recorded_steps_leave_the_same_numbers(cheap, monkeypatch, task):
    """In two sets of places that take turns; with resets, a state that is loaded, and what was given out kept."""
    generator = torch.Generator().manual_seed(0)
    plain = staggered(capture=True, **task)
    monkeypatch.setitem(graph.RECORDERS, "cpu", Tape)
    monkeypatch.setitem(capture.COMPILERS, "cpu", lambda traced: in_turns(traced, as_it_is(traced)))
    recorded, steps = staggered(capture=True, **task), []
    for number in range(24):
        drawn = actions(plain, generator)
        if not number:
            monkeypatch.setitem(capture.COMPILERS, "cpu", as_it_is)
        expected = plain.advance(drawn)
        if not number:
            monkeypatch.setitem(capture.COMPILERS, "cpu", lambda traced: in_turns(traced, as_it_is(traced)))
        steps.append((expected, recorded.advance(drawn)))
        if number == 15:
            recorded.load_state_dict(through_file(recorded.state_dict()))
    for expected, found in steps:
        same(expected, found)
    assert recorded._capture.n_own <= 3


def test_recorded_resets_leave_the_same_numbers(cheap, monkeypatch):
    """Where the host does not ask, every step ends with a reset, perhaps of nobody: called, and played."""
    monkeypatch.setitem(graph.RECORDERS, "cpu", Tape)
    monkeypatch.setitem(capture.COMPILERS, "cpu", lambda traced: in_turns(traced, as_it_is(traced)))
    generator, envs = torch.Generator().manual_seed(0), []
    for number in range(2):
        env = Vmas(scenario="hetrl/relay", n_envs=4, horizon=5, seed=3, capture=True)
        env.asks, env._apart = False, True
        env._choose = PlayedChoice("a reset") if number else choose_rows
        env.start()
        env._steps += torch.arange(4) % 3 * 2
        envs.append(env)
    steps = []
    for number in range(24):
        drawn = actions(envs[0], generator)
        steps.append([env.advance(drawn) for env in envs])
        if number == 11:
            envs[1].load_state_dict(through_file(envs[1].state_dict()))
    for expected, found in steps:
        same(expected, found)
    (played,) = envs[1]._choose._played.values()
    assert played.refused is None and sum(int(found.truncated.sum()) for _, found in steps) > 8


def test_only_what_is_captured_and_never_asks_records_its_resets():
    assert staggered(scenario="simple")._choose is choose_rows
    assert staggered(scenario="simple", capture=True)._choose is choose_rows


def trusting(monkeypatch):
    """An environment, captured, that may leave questions for later, as on a GPU; and actions of nobody."""
    monkeypatch.setitem(capture.COMPILERS, "cpu", lambda traced: in_turns(traced, as_it_is(traced)))
    env, still = staggered(scenario="simple", capture=True), {"agents": torch.zeros(4, 1, 2)}
    env.asks = False
    for _ in range(3):
        env.advance(still)
    return env, still


def test_steps_on_trust_are_asked_about_at_the_end(cheap, monkeypatch):
    env, still = trusting(monkeypatch)
    assert env.trust()
    env.advance(still)
    assert env.held() and env.trust()
    before = env.state_dict()
    env.advance({"agents": torch.full((4, 1, 2), torch.nan)})
    assert not env.held() and not env.trust() and env.held()  # and no more on trust
    env.load_state_dict(before)
    with pytest.raises(AssertionError):
        env.advance({"agents": torch.full((4, 1, 2), torch.nan)})


def test_on_a_cpu_every_step_is_asked(cheap, monkeypatch):
    env, _ = trusting(monkeypatch)
    env.asks = True
    assert not env.trust() and env.held()
    assert not staggered(scenario="simple").trust()


# ----- masks, filters, and who holds what


@pytest.mark.parametrize(
    "index",
    [
        lambda mask: mask[:, 0],
        lambda mask: (mask[:, 0], None),
        lambda mask: (mask[:, 0], 1),
        lambda mask: (slice(None), mask[0]),
        lambda mask: (Ellipsis, mask[0]),
        lambda mask: mask,
    ],
)
@pytest.mark.parametrize("holds", [0.0, 0.5, 1.0])
def test_packed_rows_come_first_and_go_back(index, holds):
    """Read, changed and written as ``x[mask] = f(x[mask])`` would, a view of one and of two dimensions included."""
    generator = torch.Generator().manual_seed(0)
    x, mask = torch.rand(6, 3, generator=generator), torch.rand(6, 3, generator=generator) < holds
    found, real = masked_index(x, index(mask)), x[index(mask)]
    rows, n = found.read(packed=True).movedim(found.first, 0), real.shape[found.first]
    assert len(rows) == found.mask.numel()
    assert torch.equal(rows[:n], real.movedim(found.first, 0))
    assert not n or all(torch.equal(row, rows[0]) for row in rows[n:])
    new = torch.rand(found.read(packed=True).shape, generator=generator)
    for value in (new, new.select(found.first, 0).unsqueeze(found.first)[:1], torch.tensor(7.0)):
        ours = torch.where(found.fitting, found.unpacked(value), found.view)
        theirs = x.clone()
        theirs[index(mask)] = value.narrow(found.first, 0, n) if value is new else value
        assert torch.equal(ours, masked_index(theirs, index(mask)).view)


def test_a_step_that_computes_with_the_rows_of_a_mask(cheap, monkeypatch):
    """As many random numbers as the mask has rows, and the first of them for all."""

    def lucky(self, agent, reward):
        right = agent.state.pos[:, 0] > 0
        rows = agent.state.pos[right]
        reward[right] += torch.randn(rows.shape[0], 2).sum(-1) * rows[:1].sum()
        return reward

    monkeypatch.setattr(Tricks, "lucky", lucky, raising=False)
    tricky(monkeypatch, "lucky")
    env = Vmas(scenario="simple", n_envs=5, seed=1)
    env.start()
    made = make(env, _OWNERS, as_it_is, None, 30)
    assert made.runner.traced.draws[0].shape == (5, 2)
    assert not made.traced.missed
    assert made.traced.worst < 1e-6


@pytest.mark.parametrize("collides", [True, False])
def test_a_filter_of_contacts_may_be_a_tensor(cheap, monkeypatch, collides):
    base = scenario_class("simple_push")

    class Scenario(base):
        def make_world(self, *args, **kwargs):
            world = super().make_world(*args, **kwargs)
            self.allowed = torch.tensor(collides)
            for agent in world.agents:
                agent.collision_filter = lambda _: self.allowed
            return world

    monkeypatch.setattr(vmas, "scenario_class", lambda name: Scenario)
    env = Vmas(scenario="simple_push", n_envs=4, seed=1)
    env.start()
    made = make(env, _OWNERS, as_it_is, None, 10)
    assert made.traced.missed == 0
    assert made.traced.worst < 1e-6


def test_two_tensors_that_became_one_are_refused():
    """A later step may write one of them in place."""
    here, there = torch.zeros(3), torch.zeros(3)
    theirs = {("a",): here, ("b",): there, ("c",): here}
    _refuse_merged(theirs, theirs, [("a",), ("b",), ("c",)])
    with pytest.raises(RefusalError, match="two tensors became one: b, a"):
        _refuse_merged({("a",): here, ("b",): here}, theirs, [("a",), ("b",)])


def test_what_the_simulator_holds_twice_stays_two_tensors(cheap):
    """The speaker cannot move: its forces, and the force of its action, are zeros in two places."""
    env = staggered(scenario="simple_speaker_listener", capture=True)
    for _ in range(3):
        env.advance(actions(env, torch.Generator().manual_seed(0)))
    assert env._capture.n_own == 1
    world = env._simulator.world
    forces = [*world.forces_dict.values(), *(agent.state.force for agent in world.agents)]
    assert len({force.untyped_storage().data_ptr() for force in forces}) == len(forces)


def test_constants_of_one_number_are_that_number(cheap):
    env = Vmas(scenario="simple", n_envs=4, seed=1)
    env.start()
    graph = make(env, _OWNERS, as_it_is, None, 3).runner.traced.graph
    held = [getattr(graph, node.target) for node in graph.graph.nodes if node.op == "get_attr"]
    assert all(len(value.unique()) > 1 for value in held)


# ----- refusals


class Tricks:
    """Rewards that no tensor program can give."""

    def number(self, agent, reward):
        return reward + agent.state.pos[0, 0].item()

    def python(self, agent, reward):
        return reward + random.random()

    def numpy(self, agent, reward):
        return reward + float(np.random.uniform())

    def order(self, agent, reward):
        return reward + torch.randperm(5).tolist()[0]

    def counter(self, agent, reward):
        self.calls = getattr(self, "calls", 0) + 1
        return reward + self.calls

    def branch(self, agent, reward):
        for scale in (100, 300, 1000, 3000):
            if (agent.state.pos[0, 0] * scale).long() % 2:
                reward = reward + 1
        return reward

    def rows(self, agent, reward):
        return reward + (agent.state.pos[:, 0] > 0).nonzero().shape[0]

    def mean(self, agent, reward):
        return reward + agent.state.pos[:, 0][agent.state.pos[:, 0] > 0].sum()

    def index(self, agent, reward):
        return reward + agent.state.pos[0][(agent.state.pos[0, 0] > 0).long()]

    def growing(self, agent, reward):
        self.past = [*getattr(self, "past", []), agent.state.pos[:, 0]]
        return reward + self.past[-1]


REASONS = {
    "number": r"it reads a number out of a tensor \(.item\) at test_capture.py:\d+",
    "python": "it draws from the generators of python or numpy inside a step",
    "numpy": "it draws from the generators of python or numpy inside a step",
    "order": r"it reads a number out of a tensor \(.tolist\) at test_capture.py:\d+",
    "counter": "values that are no tensors are others: scenario/calls",
    "branch": r"its path changes at \d+ of 10 steps \(it asks tensors at .*test_capture.py:\d+",
    "rows": r"shapes depend on numbers \(nonzero.default\)",
    "mean": "the reward of 'agents' differs",
    "index": r"it reads a number out of a tensor \(as an index\) at test_capture.py:\d+",
    "growing": "what it holds changes from step to step: scenario/past",
}


def tricky(monkeypatch, trick):
    base = scenario_class("simple")

    class Scenario(base):
        def reward(self, agent):
            return getattr(Tricks, trick)(self, agent, super().reward(agent))

    monkeypatch.setattr(vmas, "scenario_class", lambda name: Scenario)


@pytest.mark.parametrize("trick", REASONS)
def test_what_cannot_be_captured_is_refused(cheap, monkeypatch, trick):
    tricky(monkeypatch, trick)
    env = staggered(scenario="simple", capture=True)
    with pytest.raises(RunError, match=REASONS[trick]) as caught:
        for _ in range(3):
            env.advance({"agents": torch.ones(4, 1, 2)})
    text = str(caught.value)
    assert text.startswith("task.capture: scenario 'simple' cannot be captured: ")
    assert text.endswith(". Write task.capture=auto, which falls back to its own steps, or false.")
    assert "\n" not in text


def test_auto_falls_back_and_says_why_once(cheap, monkeypatch):
    monkeypatch.setattr(capture, "PATIENCE", 0)
    tricky(monkeypatch, "number")
    ours, theirs = staggered(scenario="simple", capture="auto"), staggered(scenario="simple")
    generator = torch.Generator().manual_seed(0)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(9):
            drawn = actions(ours, generator)
            same(ours.advance(drawn), theirs.advance(drawn))
    texts = [str(one.message) for one in said if "task.capture" in str(one.message)]
    assert len(texts) == 1
    assert texts[0].startswith("task.capture: scenario 'simple' takes its steps itself: it reads a number out of")
    assert "\n" not in texts[0]


def test_auto_survives_a_broken_compiler(cheap, monkeypatch):
    def broken(traced):
        raise RuntimeError("no C++ compiler\nfound")

    monkeypatch.setattr(capture, "PATIENCE", 0)
    monkeypatch.setitem(capture.COMPILERS, "cpu", broken)
    env = staggered(scenario="simple", capture="auto")
    with pytest.warns(UserWarning, match="takes its steps itself: RuntimeError: no C"):
        env.advance({"agents": torch.ones(4, 1, 2)})
    env = staggered(scenario="simple", capture=True)
    with pytest.raises(RunError, match="cannot be captured: RuntimeError: no C"):
        env.advance({"agents": torch.ones(4, 1, 2)})


def test_a_wrong_step_is_found(cheap, monkeypatch):
    """One that is off by a thousandth, in the observation or in what it leaves behind."""

    def off(traced):
        run = as_it_is(traced)
        return lambda given: [value * 1.001 if value.is_floating_point() else value for value in run(given)]

    monkeypatch.setitem(capture.COMPILERS, "cpu", off)
    env = staggered(scenario="simple", capture=True)
    with pytest.raises(RunError, match=r"differs by [0-9.]+e-0[34] after one step"):
        env.advance({"agents": torch.ones(4, 1, 2)})


@pytest.mark.parametrize(("shift", "is_rounding"), [(1.0, True), (100.0, False)])
def test_what_rounding_explains_is_no_difference(cheap, monkeypatch, shift, is_rounding):
    """The sign of what is zero but for rounding may be another one; it may not be a hundred."""

    def astray(self, agent, reward):
        return reward + ((agent.state.pos + 0.3 - 0.3) - agent.state.pos).sum(-1).sign()

    def shifted(traced):
        run, paid = as_it_is(traced), traced.rewards["agents"]
        return lambda given: [value + shift if number == paid else value for number, value in enumerate(run(given))]

    monkeypatch.setattr(Tricks, "astray", astray, raising=False)
    tricky(monkeypatch, "astray")
    env = Vmas(scenario="simple", n_envs=4, seed=1)
    env.start()
    if is_rounding:
        assert make(env, _OWNERS, shifted, None, 10).compiled.amplified == 10
        return
    with pytest.raises(RefusalError, match="the reward of 'agents' differs"):
        make(env, _OWNERS, shifted, None, 10)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"capture": "on"}, "task.capture: no choice 'on'. There are: auto, false, true."),
        ({"capture": 1}, "task.capture: no choice 1. There are: auto, false, true."),
        ({"broad_phase": "exact"}, "task.broad_phase: no choice 'exact'. There are: batch, none."),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(RecipeError) as caught:
        Vmas(scenario="simple", n_envs=2, **arguments)
    assert str(caught.value) == message


# ----- the broad phase


@pytest.mark.parametrize("captured", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("broad_phase", "coupled"), [("batch", True), ("none", False)])
def test_rows_depend_on_each_other_only_through_the_broad_phase(cheap, captured, broad_phase, coupled):
    """Agents of row 0 are 0.203 apart, a penalty if somebody looks; those of row 1 are in one place, or far apart."""
    found = []
    for apart in (0.0, 1.0):
        env = Vmas(
            scenario="navigation", n_envs=2, n_agents=2, n_lidar_rays=3, seed=0, broad_phase=broad_phase,
            capture=captured,
        )  # fmt: skip
        env.start()
        env.advance({"agents": torch.zeros(2, 2, 2)})
        for agent, x in zip(env._simulator.agents, ([0.0, 0.0], [0.203, apart]), strict=True):
            agent.state._pos = torch.tensor([[x[0], 0.0], [x[1], 0.0]])
            agent.state._vel = torch.zeros(2, 2)
        found.append(env.advance({"agents": torch.zeros(2, 2, 2)}).reward["agents"][0])
        assert (env._capture is not None) == captured
    assert torch.equal(*found) != coupled


# ----- slow: the compiler, all scenarios


@pytest.mark.slow
def test_compiled(monkeypatch):
    """From the same states to rounding, and a resumed one bit for bit."""
    monkeypatch.setattr(capture, "_PROOF", 30)
    generator = torch.Generator().manual_seed(0)
    env, theirs = staggered(scenario="simple_spread", capture=True), staggered(scenario="simple_spread")
    for _ in range(9):
        drawn = actions(env, generator)
        ours, other = env.advance(drawn), theirs.advance(drawn)
        torch.testing.assert_close(ours.observation, other.observation, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(ours.reward, other.reward, atol=1e-4, rtol=1e-4)
    again = Vmas(scenario="simple_spread", n_envs=4, horizon=7, seed=3, capture=True)
    again.load_state_dict(through_file(env.state_dict()))
    for _ in range(9):
        drawn = actions(env, generator)
        same(env.advance(drawn), again.advance(drawn))


@pytest.mark.slow
def test_refused_without_assertions():
    program = """
        import warnings; warnings.filterwarnings("ignore")
        import torch
        from hetrl.env.vmas import Vmas
        env = Vmas(scenario="simple", n_envs=2, capture=True)
        env.start()
        try:
            env.advance({"agents": torch.zeros(2, 1, 2)})
        except Exception as error:
            print(type(error).__name__, error)
    """
    done = subprocess.run(
        [sys.executable, "-O", "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("RunError task.capture: scenario 'simple' cannot be captured: python runs with -O")


REFUSED = {"road_traffic": r"it reads a number out of a tensor \(as an index\)"}
"""Scenarios that cannot be captured with their default arguments, and why."""
TOO_LARGE = {"pollock"}
"""79,232 operations: tracing takes minutes and gigabytes. The table in the docs has it."""


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(scenarios()) - TOO_LARGE))
def test_every_scenario_is_equal_or_refused(name):
    env = Vmas(scenario=name, n_envs=5, seed=1)
    env.start()
    if name in REFUSED:
        with pytest.raises(RefusalError, match=REFUSED[name]):
            make(env, _OWNERS, as_it_is, None, 60)
        return
    assert make(env, _OWNERS, as_it_is, None, 60).traced.worst < 1e-5


@pytest.mark.gpu
@pytest.mark.parametrize("compiler", [compiled, replayed])
def test_on_a_gpu(compiler):
    env = Vmas(scenario="balance", n_envs=64, seed=1, device="cuda")
    env.start()
    made = make(env, _OWNERS, compiler, None, 50)
    assert made.compiled.worst < 1e-4
