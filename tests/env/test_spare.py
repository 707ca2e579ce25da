"""The spare simulator where the host does not ask: its reset as one recording, and when it comes."""

import io
from itertools import pairwise

import pytest
import torch
from env.drawn import actions

from hetrl import graph
from hetrl.env.capture import capture
from hetrl.env.capture.runner import as_it_is, in_turns
from hetrl.env.vmas import Vmas
from hetrl.testing.tape import Tape

pytestmark = [
    pytest.mark.filterwarnings("ignore:Force limits not specified"),
    pytest.mark.filterwarnings("ignore::UserWarning:vmas"),
]


@pytest.fixture(autouse=True)
def taped(monkeypatch):
    """Have recordings, and environments that do not ask, as on a GPU; proofs are short."""
    monkeypatch.setitem(graph.RECORDERS, "cpu", Tape)
    monkeypatch.setitem(capture.COMPILERS, "cpu", lambda traced: in_turns(traced, as_it_is(traced)))
    monkeypatch.setattr(capture, "_PROOF", 10)
    monkeypatch.setattr(capture, "_REHEARSALS", 3)
    # From when it is built on.
    monkeypatch.setattr(Vmas, "asks", property(lambda self: False, lambda self, value: None), raising=False)


def apart(scenario, **more):
    """Return environments whose rows end apart from each other."""
    env = Vmas(scenario=scenario, n_envs=4, horizon=10, seed=3, capture=True, **more)
    env.start()
    env._steps, env._apart = 2 * torch.arange(4), True
    return env


def same(left, right):
    assert all(torch.equal(left.observation[group], seen) for group, seen in right.observation.items())
    assert torch.equal(left.truncated, right.truncated)


@pytest.mark.parametrize(
    "scenario",
    ["simple", pytest.param("balance", marks=pytest.mark.slow), pytest.param("hetrl/relay", marks=pytest.mark.slow)],
)
def test_a_recorded_reset_draws_what_a_reset_draws(monkeypatch, scenario):
    """The same rows at the same steps, every eighth a new spare; also from a checkpoint on."""
    generator, plain, recorded = torch.Generator().manual_seed(0), apart(scenario), apart(scenario)
    monkeypatch.setattr(plain, "_capture_resets", lambda spare: None)
    ages = []
    for number in range(36):
        drawn = actions(plain, generator)
        same(plain.advance(drawn), recorded.advance(drawn))
        ages.append(recorded._spare.age)
        if number == 21:
            file = io.BytesIO()
            torch.save(recorded.state_dict(), file)
            file.seek(0)
            recorded.load_state_dict(torch.load(file, weights_only=True))
    assert ages == [number % 8 for number in range(36)]
    assert plain._spare.captured is None
    played = recorded._spare._played
    assert played.refused is None and len(played._recordings) == 1


def test_each_recorded_reset_is_another():
    """What it draws goes on from where the stream is, and the stream from what was drawn."""
    env, still = apart("simple"), {"agents": torch.zeros(4, 1, 2)}
    seen, states = [], []
    for number in range(41):
        env.advance(still)
        if number % 8 == 0:
            seen.append(env._spare.observation["agents"].clone())
            states.append(env._spare_stream.state_dict()["torch"])
    assert not any(torch.equal(one, other) for one, other in pairwise(seen))
    assert not any(torch.equal(one, other) for one, other in pairwise(states))


def test_a_reset_that_draws_for_all_rows_together_is_the_simulators():
    env = apart("simple_push")
    still = {group: torch.zeros(4, len(agents), 2) for group, agents in env.team.layout.items()}
    with pytest.warns(UserWarning) as said:
        env.advance(still)
    line = "task.capture: scenario 'simple_push' resets itself: a reset draws what all its environments share."
    assert [str(each.message) for each in said] == [line] and env._spare.captured.refused


@pytest.mark.parametrize(("asks", "when"), [(True, True), (False, "auto"), (False, False)])
def test_resets_are_captured_where_steps_are_and_nobody_asks(monkeypatch, asks, when):
    """With ``auto``, once it has begun."""
    monkeypatch.setattr(Vmas, "asks", asks, raising=False)
    env = Vmas(scenario="simple", n_envs=2, horizon=4, seed=3, capture=when)
    env.asks = asks
    env.start()
    spare = env._spare = env._make_spare()
    env._capture_resets(spare)
    assert spare.captured is None
    if when == "auto":
        env._capture._taken = capture.PATIENCE
        env._capture_resets(spare)
        assert spare.captured.refused is None
