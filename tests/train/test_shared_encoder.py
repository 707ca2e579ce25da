"""An encoder as a net of its own, which policy and critic stand behind: features, gradients, acting, checkpoints."""

from pathlib import Path

import lightning as L
import pytest
import torch
from env.bars import Bars

import hetrl
from hetrl import catalog
from hetrl.engine.phase import run_programs
from hetrl.engine.store import Store
from hetrl.errors import RecipeError, RunError
from hetrl.export.export import export
from hetrl.report.monitor import BoundMonitor
from hetrl.runs import run as runs
from hetrl.runs.folder import Folder
from hetrl.runs.restored import restored
from hetrl.train.inherit import inherit

RECIPE = str(Path(__file__).parent / "shared_encoder.yaml")
EYES = "nets.eyes={use: net/convolutional, filters: [4, 4], kernels: [3, 2], strides: [2, 1], size: 8}"
TINY = [EYES, "task={use: env/my.bars, side: 6, n_envs: 4, horizon: 5, eyes: 2, others: 1}", "data.frames=40",
        "run.frames=80", "run.eval_every=null", "run.n_eval_episodes=2", "nets.actor.hidden=[8]",
        "nets.value.hidden=[8]", "nets.actor.per=agent", "nets.value.per=agent",
        "update.learners.order.of=agent"]  # fmt: skip
RECURRENT = ["nets.actor={use: net/recurrent_policy, hidden: [8], memory: 6, chunk: 5, encoder: {net: eyes}}",
             "update.learners.minibatches=2"]  # fmt: skip
QUIET = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False,
         "log_every_n_steps": 1, "max_epochs": 1, "enable_checkpointing": False}  # fmt: skip
pytestmark = pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")


@pytest.fixture(autouse=True)
def bars(monkeypatch):
    monkeypatch.setitem(catalog.REGISTERED, "env/my.bars", Bars)


def fitted(*changes):
    module, data = hetrl.load(RECIPE, *changes).build()
    L.Trainer(**QUIET).fit(module, data)
    return module, data


def test_both_losses_move_the_eyes_and_what_acts_looks_through_them():
    module, data = hetrl.load(RECIPE, *TINY).build()
    linked = module.linked
    agent = linked.team.agents[0]
    eyes, actor = (linked.nets[name].of((agent,)) for name in ("eyes", "actor"))
    assert linked.policy((agent,)) is linked.policy((agent,))
    (sample,) = data.source.collect().samples
    store = Store(linked.team, sample)
    seen = store.read("agent.observation", (agent,))
    features = eyes.encode(seen)["features"]
    assert features.shape == (*sample.batch_size, 8)
    assert linked.policy((agent,)).greedy(seen[0]).equal(actor.greedy(features[0]))
    gradients = []
    for step in ("loss.agent.value", "loss.agent.surrogate"):
        runner = module.phases[1]
        for phase in module.phases[:1]:
            phase.run(store, 0.0, torch.Generator(), None)
        (turn,) = runner._turns.of((agent,))
        run_programs(turn.programs["prepare"], store)
        linked.requires_grad_(True)
        ((lane, program),) = turn.lanes
        loss = program(program.gather(store, lane))[step].mean()
        gradients.append(torch.autograd.grad(loss, list(eyes.parameters()), allow_unused=True))
    assert all(part is not None and part.abs().sum() > 0 for found in gradients for part in found)


@pytest.mark.parametrize("changes", [[], pytest.param(RECURRENT, marks=pytest.mark.slow)], ids=["rows", "recurrent"])
def test_a_run_goes_on_bit_for_bit_and_is_restored(changes, tmp_path):
    words = [*TINY, *changes]
    whole = runs.train(hetrl.load(RECIPE, *words), tmp_path / "whole", quiet=True).load_checkpoint()
    runs.train(hetrl.load(RECIPE, *words, "run.frames=40"), tmp_path / "half", quiet=True)
    runs.resume(tmp_path / "half", "run.frames=80", quiet=True)
    after = Folder(tmp_path / "half").load_checkpoint()
    start = hetrl.load(RECIPE, *words).build()[0].state_dict()
    for name, value in whole["state_dict"].items():
        assert value.equal(after["state_dict"][name]), name
        if name.startswith("linked.nets.eyes."):
            assert not value.equal(start[name]), name
    _, linked, _ = restored(tmp_path / "half")
    for name, value in linked.nets["eyes"].state_dict().items():
        assert value.equal(whole["state_dict"][f"linked.nets.eyes.{name}"])


@pytest.mark.slow
def test_policies_are_exported_with_the_eyes_in_front_of_them(tmp_path):
    """Every file is run against its policy, of observations."""
    runs.train(hetrl.load(RECIPE, *TINY), tmp_path / "run", quiet=True)
    export(tmp_path / "run", tmp_path / "files")


@pytest.mark.slow
def test_pictures_are_told_apart_by_who_looks():
    """Who does not look earns 1/2; as with eyes for the policy alone, nine in ten are right."""
    assert fitted()[0].metrics["eval/return"] > 0.9 * 8


def test_the_bound_monitor_is_refused():
    module, data = hetrl.load(RECIPE, *TINY).build()
    with pytest.raises(RunError, match=r"^the bound monitor measures policies that read observations themselves"):
        L.Trainer(**QUIET, callbacks=[BoundMonitor(1)]).fit(module, data)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ("nets.actor.encoder={net: eye}", "nets.actor.encoder: no net 'eye'. Nearest: 'eyes'."),
        ("nets.actor.encoder={net: value}",
         "nets.actor.encoder: 'value' (net/local_value) makes no features of observations; name an encoder."),
        ("nets.actor.encoder={net: eyes, size: 3}",
         "nets.actor.encoder: write {net: name}, a net of this recipe, or {use: net/...}; not {'net': 'eyes', "
         "'size': 3}."),
        ("nets={actor: {use: net/categorical_policy, encoder: {net: eyes}}, eyes: {use: net/convolutional}}",
         "nets.actor.encoder: 'eyes' stands after 'actor' under nets; write it before."),
        ("nets.actor.per=team", "nets.actor.encoder: 'eyes' is per: agent and 'actor' per: team; share them alike."),
        ("nets.value={use: net/state_value, per: agent, encoder: {net: eyes}}",
         "nets.value.encoder: net/state_value reads more than one agent's observation, of which 'eyes' makes features; "
         "write an encoder of its own, {use: net/...}."),
        ("update.learners.steps.0=null",
         "update.learners trains 'eyes' too, and none of its losses (loss.agent.surrogate, loss.agent.value) depends "
         "on it; add one that does, or write train: [actor, value]."),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(change, text):
    with pytest.raises(RecipeError) as caught:
        hetrl.check(hetrl.load(RECIPE, *TINY, change))
    assert str(caught.value) == text


def test_zeros_that_mean_something_stay():
    recipe = hetrl.load(RECIPE, *TINY, "nets.eyes={use: net/entities, own: 1, entity: 5}",
                        "task.normalize_observations=true")  # fmt: skip
    with pytest.raises(RecipeError, match=r"^nets.eyes \(net/entities\) tells by its zeros who is absent, and task\."):
        hetrl.check(recipe)


def test_weights_mean_nothing_behind_other_eyes(tmp_path):
    """Of another run the eyes are taken with what looks through them, or nothing is."""
    run = runs.train(hetrl.load(RECIPE, *TINY, "run.frames=40"), tmp_path / "run", quiet=True)
    checkpoint = run.load_checkpoint()
    module, _ = hetrl.load(RECIPE, *TINY).build()
    assert set(inherit(module, checkpoint, run.tree(), optimizers=True).loaded) == {"eyes", "actor", "value"}
    module, _ = hetrl.load(RECIPE, *TINY, "nets.eyes.filters=[4, 5]", "nets.value.encoder=null").build()
    with pytest.raises(
        RunError, match=r"^the weights of 'actor' \(eye_0\) do not fit: it reads the features of 'eyes', "
    ):
        inherit(module, checkpoint, run.tree(), ["actor"])
