"""A whole step of a rollout as one recording: the same numbers as step by step, whatever stands around it."""

import io

import pytest
import torch

import hetrl
from hetrl import graph
from hetrl.env import vmas
from hetrl.env.capture import capture
from hetrl.env.capture.runner import as_it_is, in_turns
from hetrl.env.vmas import Vmas
from hetrl.testing.tape import Tape

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:vmas")
N_ENVS, HORIZON = 4, 10


class Counted(Tape):
    """A recording that counts how often it is played."""

    plays = 0

    def play(self):
        """Play it, which no graph does while another is recorded."""
        assert not graph.inline()
        type(self).plays += 1
        super().play()


@pytest.fixture
def like_a_gpu(monkeypatch):
    """Have recordings, and environments that do not ask, as on a GPU; proofs are short."""
    monkeypatch.setattr(Counted, "plays", 0)
    monkeypatch.setitem(graph.RECORDERS, "cpu", Counted)
    monkeypatch.setitem(capture.COMPILERS, "cpu", lambda traced: in_turns(traced, as_it_is(traced)))
    monkeypatch.setattr(capture, "_PROOF", 10)
    monkeypatch.setattr(capture, "_REHEARSALS", 3)
    # From when it is built on.
    monkeypatch.setattr(Vmas, "asks", property(lambda self: False, lambda self, value: None), raising=False)


def source_of(scenario, graphs, *more, apart=False):
    """Return a source of steps that are captured; rows end together, or apart."""
    task = f"task={{use: env/vmas, scenario: {scenario}, n_envs: {N_ENVS}, horizon: {HORIZON}, capture: true}}"
    words = [task, "data.frames=80", f"run.graphs={graphs}", "run.device=cpu", "nets.actor.hidden=[8]"]
    hetrl.rng.seed(0)
    _, data = hetrl.load("happo", *words, *more).build()
    if apart:
        data.source._env._steps, data.source._env._apart = 2 * torch.arange(N_ENVS), True
    return data.source


def same(left, right):
    """Whether two batches are equal bit for bit."""
    assert set(left.keys(True, True)) == set(right.keys(True, True))
    assert all(torch.equal(left[key], right[key]) for key in left.keys(True, True))


def played(source):
    """Return the recording of a step, which was not refused."""
    (found,) = source._take.recordings
    assert found.refused is None and len(found._recordings) == 1
    return found


def through_file(state):
    """Return a state as a checkpoint brings it back."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize(
    ("scenario", "apart", "recorder"),
    [
        ("hetrl/relay", True, Counted),  # agents of several layout groups
        ("simple", False, Counted),  # all rows begin anew together, by the simulator
        ("circle_trajectory", True, Counted),  # its step draws random numbers
        ("circle_trajectory", True, graph.Called),  # without recordings, as on a CPU
        pytest.param("balance", True, Counted, marks=pytest.mark.slow),
    ],
)
def test_a_rollout_is_the_same_bit_for_bit(like_a_gpu, monkeypatch, scenario, apart, recorder):
    """Observations, actions, rewards, ends and what they lead to, over three batches with resets of the spare."""
    monkeypatch.setitem(graph.RECORDERS, "cpu", recorder)
    plain, recorded = (source_of(scenario, graphs, apart=apart) for graphs in (False, True))
    for _ in range(3):
        one, other = plain.rollout(), recorded.rollout()
        same(one, other)
    assert one["done"].any() and not one["done"].all()
    assert played(recorded)


def test_what_a_step_draws_comes_from_the_environments_stream(like_a_gpu, monkeypatch):
    """Rewards with noise, of rows apart from each other; and the process's own generator is left alone."""
    base = vmas.scenario_class("simple")

    class Noisy(base):
        def reward(self, agent):
            return super().reward(agent) + torch.randn(self.world.batch_dim)

    monkeypatch.setattr(vmas, "scenario_class", lambda name: Noisy)
    plain, recorded = (source_of("simple", graphs, apart=True) for graphs in (False, True))
    for _ in range(3):
        same(plain.rollout(), recorded.rollout())
    before = torch.get_rng_state()
    recorded.rollout()
    assert played(recorded) and torch.equal(before, torch.get_rng_state())


def test_what_is_stored_and_carried_on_stays(like_a_gpu):
    """A batch and what is saved after it are nobody's places: the next steps leave them alone."""
    source = source_of("simple", True, apart=True)
    source.rollout()
    batch, state = source.rollout(), source.state_dict()
    held = batch.clone(), {group: value.clone() for group, value in state["observation"].items()}
    source.rollout()
    same(batch, held[0])
    assert all(torch.equal(state["observation"][group], value) for group, value in held[1].items())


def test_it_goes_on_from_a_checkpoint_bit_for_bit(like_a_gpu):
    """The spare's age and stream, places and noise: in another process, and after a recording in this one."""
    one, other = (source_of("circle_trajectory", True, apart=True) for _ in range(2))
    for _ in range(2):
        one.rollout()
    other.rollout()
    state = through_file(one.state_dict())
    for source in (other, one):
        source.load_state_dict(state)
    for _ in range(2):
        same(one.rollout(), other.rollout())


def test_a_batch_that_went_another_way_is_taken_again(like_a_gpu, monkeypatch):
    """From the simulator, the spare and the noise of its beginning, and the next batch is played again."""
    plain, recorded = (source_of("circle_trajectory", graphs, apart=True) for graphs in (False, True))
    for number in range(4):
        with monkeypatch.context() as patched:
            if number == 2:
                patched.setattr(recorded._env, "held", lambda: Vmas.held(recorded._env) and False)
            same(plain.rollout(), recorded.rollout())
    assert played(recorded)


def test_one_recording_holds_all_that_is_within(like_a_gpu):
    """The policies', the simulator's and the resets' own recordings are called in it, and not played."""
    source = source_of("simple", True, apart=True)
    for _ in range(2):
        source.rollout()
    Counted.plays = 0
    source.rollout()
    n_steps = 80 // N_ENVS
    assert Counted.plays == n_steps + n_steps // 8 + (source._env._spare.age < n_steps % 8)


def test_a_step_that_cannot_be_one_recording_is_several(like_a_gpu, monkeypatch):
    """It says why once, and goes on with the numbers of one that is not recorded."""
    plain, recorded = (source_of("simple", graphs, apart=True) for graphs in (False, True))
    same(plain.rollout(), recorded.rollout())  # in which the simulator is captured
    own = recorded._env._reset_where

    def asks(done):  # half-way: the simulator has stepped, and its tensors are those of a recording that fails
        return own(done) if bool(done.any() | True) else {}

    monkeypatch.setattr(recorded._env, "_reset_where", asks)
    with pytest.warns(UserWarning, match="run.graphs: a step runs operation by operation: _local_scalar_dense waits"):
        same(plain.rollout(), recorded.rollout())
    Counted.plays = 0
    same(plain.rollout(), recorded.rollout())
    assert Counted.plays > 3 * 80 // N_ENVS  # policies, simulator and resets, each by itself
