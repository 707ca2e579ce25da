"""Several samples in a Lightning batch, and the bookkeeping of batches that are not equally large."""

from pathlib import Path

import lightning as L
import pytest
import torch
from tensordict import TensorDict

import hetrl
from hetrl.data.collected import Collected
from hetrl.runs import run as runs
from hetrl.runs.csv_table import read
from hetrl.train.callbacks import Checkpoints
from hetrl.train.learner import Learner

RECIPE = Path(__file__).parent / "replay.yaml"
QUIET = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}


def fit(module, data, **options) -> L.Trainer:
    trainer = L.Trainer(max_epochs=1, enable_checkpointing=False, log_every_n_steps=1, **QUIET | options)
    trainer.fit(module, data)
    return trainer


def weights(module: Learner) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def test_frames_samples_and_updates():
    """200 frames: 80 of warm-up without an update, then 30 collections of a step in 4 environments, 3 samples each."""
    module, data = hetrl.load(RECIPE).build()
    assert len(data) == 31
    trainer = fit(module, data)
    assert module.frames == data.collected == 200
    assert module.iteration == 90
    assert data.source.ring.written == 50
    # every sample trains the value, every second one each of three actors
    assert trainer.global_step == 90 + 45 * 3
    assert (data.n_batches, len(data)) == (31, 0)


@pytest.mark.parametrize(
    "changes",
    [["data.warmup=30"], ["data.frames=12", "run.frames=101"], ["data.warmup=0", "data.batch=4"], ["run.frames=50"]],
    ids=["rounded", "uneven", "no warm-up", "warm-up only"],
)
def test_the_length_is_the_number_of_batches(changes):
    """With more batches than it says, Lightning would stop early; with fewer, it would not know the last."""
    module, data = hetrl.load(RECIPE, *changes).build()
    n_batches, run_frames = len(data), module.recipe.run.frames
    trainer = fit(module, data)
    assert trainer.fit_loop.epoch_loop.batch_progress.total.completed == n_batches == data.n_batches
    assert run_frames <= module.frames == data.collected
    assert module.frames - module.batch_frames < run_frames
    if changes == ["run.frames=50"]:
        assert (module.frames, module.iteration) == (80, 0)


def test_phases_run_on_every_so_many_th_sample(monkeypatch):
    """The k-th, 2k-th, ...: counted over samples, also across batches."""
    module, data = hetrl.load(RECIPE, "update.actors.every=4", "update.estimate.every=4").build()
    ran: list[tuple[str, int]] = []
    for phase in module.phases:

        def run(*given, phase=phase, healthy=phase.run):
            ran.append((phase.phase.name, module.iteration))
            return healthy(*given)

        monkeypatch.setattr(phase, "run", run)
    fit(module, data, limit_train_batches=5)
    assert [number for name, number in ran if name == "critic"] == list(range(1, 13))
    assert [number for name, number in ran if name == "actors"] == [4, 8, 12]


def test_what_is_logged_is_the_mean_over_samples(monkeypatch):
    module, data = hetrl.load(RECIPE).build()
    values = {"critic": iter([1.0, 2.0, 6.0]), "actors": iter([5.0]), "estimate": iter([])}
    for phase in module.phases:
        figures = values[phase.phase.name]
        monkeypatch.setattr(phase, "run", lambda *_, figures=figures, name=phase.phase.name: (
            {f"{name}/x": torch.tensor(next(figures))} if name != "estimate" else {}))  # fmt: skip
    fit(module, data, limit_train_batches=2)
    assert (module.metrics["critic/x"], module.metrics["actors/x"]) == (3.0, 5.0)


def test_samples_are_drawn_one_after_the_other(monkeypatch):
    """Each only when the phases are done with the one before."""
    module, data = hetrl.load(RECIPE).build()
    events: list[str] = []
    sample, run = data.source.sample, module.phases[0].run
    monkeypatch.setattr(data.source, "sample", lambda: events.append("draw") or sample())
    monkeypatch.setattr(module.phases[0], "run", lambda *given: events.append("run") or run(*given))
    fit(module, data, limit_train_batches=2)
    assert events == ["draw", "run"] * 3


def test_a_tensordict_is_a_batch_with_one_sample():
    """The same fit with the collection's batches and with plain TensorDicts."""
    changes = ["task.n_envs=4", "task.horizon=7", "data.frames=40", "run.frames=120", "run.device=cpu",
               "nets.actor.hidden=[8]", "nets.value.hidden=[8]", "run.eval_every=null"]  # fmt: skip
    module, data = hetrl.load("happo", *changes).build()
    fit(module, data)
    plain, data = hetrl.load("happo", *changes).build()
    batches = (data.source.rollout() for _ in range(3))

    class Batches:
        def __len__(self) -> int:
            return 3

        def __iter__(self):
            return batches

    fit(plain, Batches())
    assert torch.equal(weights(module), weights(plain))
    assert (plain.frames, plain.iteration) == (120, 3)


def test_a_collection_of_fresh_steps_is_its_own_sample():
    _, data = hetrl.load("happo", "task.n_envs=4", "task.horizon=7", "data.frames=40", "run.device=cpu").build()
    batch = data.source.rollout()
    collected = Collected.of(batch)
    assert collected.frames == 40 and list(collected.samples) == [batch]
    assert collected.episodes == 4 and collected.lengths == 28
    assert collected.returns == batch["episode", "return"].sum()
    assert data.source.n_collections(80) == 2 and data.source.n_collections(81) == 3


def test_a_collection_follows_to_a_device():
    """The samples when they are asked for, not before."""
    drawn: list[int] = []

    def samples():
        drawn.append(1)
        yield TensorDict({"x": torch.zeros(2)}, [2])

    collected = Collected(2, torch.zeros(()), torch.zeros(()), torch.zeros(()), samples())
    assert collected.to(torch.device("cpu")) is collected
    moved = collected.to(torch.device("meta"))
    assert moved.returns.is_meta and not drawn
    assert [sample["x"].is_meta for sample in moved.samples] == [True] and drawn == [1]


def test_checkpoints_and_evaluations_come_with_the_frames(tmp_path, monkeypatch):
    """The warm-up of 80 frames crosses 40 at once; after it batches are 4 frames."""
    saved: list[int] = []
    monkeypatch.setattr(Checkpoints, "save", lambda self, trainer: saved.append(trainer.lightning_module.frames))
    changes = ["run.checkpoint_every=40", "run.eval_every=60", "run.n_eval_episodes=2"]
    folder = runs.train(hetrl.load(RECIPE, *changes), tmp_path / "run", quiet=True)
    assert saved == [80, 120, 160, 200]
    rows = read(folder.metrics)
    assert [row["frames"] for row in rows] == [0, *range(80, 201, 4)]
    assert [row["frames"] for row in rows if "eval/return" in row] == [0, 80, 120, 180]
    assert [row["frames"] for row in rows if "critic/value" not in row] == [0, 80]


def test_an_unsaved_buffer_is_filled_again(tmp_path):
    """Resumed at 200 frames: 80 with the policies and without an update, then as before."""
    with pytest.warns(UserWarning, match="data.save is false"):
        folder = runs.train(hetrl.load(RECIPE, "data.save=false"), tmp_path / "run", quiet=True)
    state = folder.load_checkpoint()
    assert state["Collection"]["source"]["ring"] is None
    with pytest.warns(UserWarning, match="data.save is false"):
        runs.resume(folder.path, "run.frames=300", quiet=True)
    rows = read(folder.metrics)
    assert [row["frames"] for row in rows][-6:] == [280, 284, 288, 292, 296, 300]
    assert "critic/value" not in rows[-6] and all("critic/value" in row for row in rows[-5:])
    assert folder.load_checkpoint()["hetrl"]["iteration"] == 90 + 15
