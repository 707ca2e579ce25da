"""Minibatches that are recorded and played: the numbers of the run without, in every shipped recipe."""

import re
import warnings

import pytest
import torch

import hetrl
from hetrl import graph
from hetrl.engine.store import Store
from hetrl.net.joint_q import JointQ
from hetrl.network import Network
from hetrl.recipe.shipped import shipped
from hetrl.runs.csv_table import read
from hetrl.runs.run import resume, train
from hetrl.testing.tape import Tape

SIZES = {
    "data/on_policy": ["task.n_envs=4", "data.frames=80", "run.frames=640"],
    "data/replay": ["task.n_envs=4", "data.warmup=80", "data.batch=32", "data.capacity=400", "run.frames=640"],
}
QUICK = ("happo", "hasac", "omdpg")
NAMES = [name for name in shipped() if not name.startswith("task/")]
EACH = [pytest.param(name, marks=[] if name in QUICK else [pytest.mark.slow]) for name in NAMES]
ASKING = ("coma",)
"""Who asks for numbers on a CPU, and on no GPU: torch does, for the one-hot choices of net/joint_q."""
EXACT_RATE = 2.0**-11
"""A learning rate that 32 bits hold: a played step reads it from a tensor."""


@pytest.fixture(autouse=True)
def taped(monkeypatch):
    """Record as a GPU does; and keep no products of networks from turn to turn, which are equal to rounding only."""
    monkeypatch.setitem(graph.RECORDERS, "cpu", Tape)
    monkeypatch.setattr(JointQ, "settled", Network.settled)


def built(name, *more):
    torch.manual_seed(0)
    recipe = hetrl.load(name)
    module, data = hetrl.load(recipe, *SIZES[recipe.data.name], "run.device=cpu", "run.eval_every=null", *more).build()
    for phase in module.phases:
        phase._schedules = {}
        for optimizer in phase.optimizers.values():
            if "lr" in optimizer.param_groups[0]:
                optimizer.param_groups[0]["lr"] = EXACT_RATE
    return module, data


def updated(module, samples, seed):
    """Run every phase once on each sample, and return what is logged and all that is kept."""
    torch.manual_seed(seed)
    generator, logged = torch.Generator().manual_seed(seed), {}
    for sample in samples:
        store = Store(module.linked.team, sample)
        for phase in module.phases:
            logged |= phase.run(store, 0.5, generator, lambda optimizer, closure: optimizer.step(closure))
    moments = [
        moment
        for phase in module.phases for optimizer in phase.optimizers.values()
        for state in optimizer.state.values() for moment in state.values()
    ]  # fmt: skip
    kept = [value for value in module.linked.state_dict().values() if isinstance(value, torch.Tensor)]
    return logged, [*kept, *moments, generator.get_state(), torch.get_rng_state()]


def alike(name, ours, theirs):
    """Whether tensors are equal: bit for bit in ``QUICK``; elsewhere what lies otherwise may round otherwise."""
    if name in QUICK or not theirs.dtype.is_floating_point:
        return torch.equal(ours, theirs)
    return torch.allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", EACH)
def test_what_is_played_is_what_is_called(name):
    """Collections, which policies act in as they are after the last update, and updates."""
    module, data = built(name)
    played, collection = built(name, "run.graphs=true")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for seed in range(3):
            samples, those = ([*each.source.collect().samples] for each in (data, collection))
            assert len(samples) == len(those)
            for left, right in zip(samples, those, strict=True):
                assert all(alike(name, left[key], right[key]) for key in left.keys(True, True))
            logged, kept = updated(module, samples, seed)
            other, ours = updated(played, those, seed)
            assert logged.keys() == other.keys() and all(alike(name, logged[key], other[key]) for key in logged)
            assert len(kept) == len(ours) and all(alike(name, *each) for each in zip(kept, ours, strict=True))
    refused = [str(line.message) for line in said if "run.graphs" in str(line.message)]
    assert not refused or name in ASKING, refused


def test_minibatches_of_two_sizes_and_weights_that_move():
    """Rows that do not divide evenly; and weights loaded, or moved to another place, in between."""
    words = ["task.n_envs=3", "data.frames=30", "run.frames=640", "update.actors.epochs=2", "update.critic.epochs=1"]
    module, data = built("happo", *words)
    played, _ = built("happo", *words, "run.graphs=true")
    samples = list(data.source.collect().samples)
    for seed in range(3):
        for each in (module, played) if seed else ():
            weights = each.linked.nets.state_dict()
            each.linked.nets.load_state_dict({name: 0.9 * value for name, value in weights.items()})
            if seed == 2:
                each.double().float()  # all weights lie elsewhere
        logged, kept = updated(module, samples, seed)
        other, ours = updated(played, samples, seed)
        assert all(torch.equal(logged[key], other[key]) for key in logged)
        assert all(map(torch.equal, kept, ours))


def test_the_rate_may_follow_a_schedule():
    module, data = built("happo", "run.graphs=true")
    samples, rate = list(data.source.collect().samples), EXACT_RATE
    actors = module.phases[1].optimizers["agent_0"]
    for _ in range(2):
        before = [parameter.detach().clone() for parameter in actors.param_groups[0]["params"]]
        updated(module, samples, 0)
        moved = [(a - b).abs().max().item() for a, b in zip(before, actors.param_groups[0]["params"], strict=True)]
        assert max(moved) > 0 if rate else max(moved) == 0
        actors.param_groups[0]["lr"] = rate = 0.0


def test_a_phase_that_cannot_be_played_says_so_once(monkeypatch):
    from hetrl.engine import objective

    own = objective.masked_mean
    module, data = built("happo", "run.graphs=true")
    monkeypatch.setattr(objective, "masked_mean", lambda value, *rest: own(value, *rest) * bool(value.isfinite().all()))
    samples = list(data.source.collect().samples)
    with pytest.warns(UserWarning) as said:
        updated(module, samples, 0)
    lines = [str(each.message) for each in said]
    assert len(lines) == 4 and len(set(lines)) == 2  # three actors and the critic
    assert all(re.fullmatch(r"run.graphs: update.\w+ runs operation by operation: .* waits .*\.", x) for x in lines)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        updated(module, samples, 1)


@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")
def test_a_run_goes_on_to_the_last_digit(tmp_path):
    """It is stopped, continued, and then recorded anew; its random numbers and its moments are where they were."""
    words = [*SIZES["data/replay"], "run.device=cpu", "run.graphs=true", "run.eval_every=null", "task.horizon=10"]
    whole = train(hetrl.load("hasac", *words, "run.frames=120"), tmp_path / "whole", quiet=True)
    train(hetrl.load("hasac", *words, "run.frames=100"), tmp_path / "half", quiet=True)
    half = resume(tmp_path / "half", "run.frames=120", quiet=True)
    late = [[row for row in read(folder.metrics) if row["frames"] > 100] for folder in (whole, half)]
    assert len(late[0]) == 5 and late[0] == late[1]
