"""An epoch is the stretch between two evaluations: what a user of Lightning knows of epochs holds."""

import threading

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint

import hetrl
from hetrl.errors import RunError
from hetrl.runs import run as runs
from hetrl.runs.csv_table import read
from hetrl.runs.folder import Folder

TINY = [
    "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2], n_envs: 4, horizon: 7}",
    "nets.actor.use=net/categorical_policy", "nets.actor.hidden=[8]", "nets.value.hidden=[8]", "data.frames=40",
    "run.frames=400", "run.eval_every=80", "run.n_eval_episodes=3", "run.device=cpu",
]  # fmt: skip
QUIET = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*no pre-optimization state.*", "ignore:.*exists and is not empty.*", "ignore:.*used to create the.*"
)


def fit(*changes, ckpt_path=None, **words):
    """Fit the tiny run under a Trainer of one's own."""
    module, data = hetrl.load("happo", *TINY, *changes).build()
    trainer = L.Trainer(**{"max_epochs": -1, "enable_checkpointing": False, **QUIET, **words})
    trainer.fit(module, data, ckpt_path=ckpt_path, weights_only=True)
    return module, trainer


class Told(Callback):
    """Keeps the frames at which each hook is called, and what can be watched there."""

    def __init__(self):
        self.epochs, self.validations, self.scores = [], [], []

    def on_train_epoch_end(self, trainer, pl_module):
        self.epochs.append(pl_module.frames)

    def on_validation_end(self, trainer, pl_module):
        if not trainer.sanity_checking:
            self.validations.append(pl_module.frames)
            self.scores.append(trainer.callback_metrics["eval/return"].item())


class Rows(L.pytorch.loggers.CSVLogger):
    """Keeps what is logged."""

    def __init__(self, path):
        super().__init__(path)
        self.rows = []

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, dict(metrics)))


@pytest.mark.parametrize("max_epochs", [1, -1, 5, 50])
def test_a_fit_has_an_epoch_for_each_evaluation_however_it_is_asked_for(max_epochs):
    """``max_epochs=1`` is one pass over the run, as it has always been written."""
    told = Told()
    module, trainer = fit(max_epochs=max_epochs, callbacks=[told])
    assert told.epochs == told.validations == [80, 160, 240, 320, 400]
    assert (module.frames, trainer.current_epoch, trainer.max_epochs) == (400, 5, max_epochs)


def test_the_length_of_a_stretch_may_change_from_one_to_the_next():
    """Batches of 40 cross 100, 200 and 300 at 120, 200 and 320; batches of 120 cross every multiple of 80 but 160."""
    told = Told()
    fit("run.eval_every=100", "run.frames=320", callbacks=[told])
    assert told.validations == [120, 200, 320]
    told = Told()
    fit("data.frames=120", "run.frames=360", callbacks=[told])
    assert told.validations == [120, 240, 360]


def test_fewer_epochs_end_the_fit_and_it_says_so(caplog):
    with caplog.at_level("INFO"):
        module, _ = fit(max_epochs=3)
    assert module.frames == 240
    assert "The fit ended after 240 of 400 frames, by Trainer(max_epochs=3): an epoch is the stretch" in caplog.text


@pytest.mark.parametrize("max_epochs", [1, -1])
def test_early_stopping_stops_as_it_says(max_epochs):
    """The first evaluation is the best so far, and the second is not better by so much."""
    stop = EarlyStopping("eval/return", mode="max", patience=1, min_delta=1e9)
    module, _ = fit(max_epochs=max_epochs, callbacks=[stop])
    assert (module.frames, stop.stopped_epoch) == (160, 1)


@pytest.mark.parametrize("max_epochs", [1, -1])
def test_the_best_checkpoints_are_those_of_the_best_evaluations(tmp_path, max_epochs):
    told, best = Told(), ModelCheckpoint(tmp_path, monitor="eval/return", mode="max", save_top_k=3)
    fit(max_epochs=max_epochs, callbacks=[told, best], enable_checkpointing=True)
    assert sorted(score.item() for score in best.best_k_models.values()) == sorted(told.scores)[-3:]
    for path, score in best.best_k_models.items():
        frames = torch.load(path, weights_only=True)["hetrl"]["frames"]
        assert told.scores[told.validations.index(frames)] == score.item()


def test_a_checkpoint_by_return_is_labelled_with_its_own_evaluation(tmp_path):
    """Where the run ends between two evaluations, it is evaluated only where somebody watches."""
    told, rows = Told(), Rows(tmp_path)
    fit("run.frames=200", callbacks=[told], logger=rows)
    assert [step for step, row in rows.rows if "eval/return" in row] == [0, 80, 160]
    watched = Rows(tmp_path)
    best = ModelCheckpoint(tmp_path / "best", monitor="eval/return", mode="max", save_top_k=-1)
    fit("run.frames=200", callbacks=[best], logger=watched, enable_checkpointing=True)
    assert [step for step, row in watched.rows if "eval/return" in row] == [0, 80, 160, 200]
    assert len(best.best_k_models) == 3


def test_every_batch_is_one_row_and_an_evaluation_is_part_of_it(tmp_path):
    rows = Rows(tmp_path)
    fit("run.frames=160", logger=rows)
    assert [step for step, _ in rows.rows] == [0, 40, 80, 120, 160]
    assert "critic/value" in rows.rows[2][1] and "eval/return" in rows.rows[2][1]
    assert "eval/return" not in rows.rows[3][1]


def test_a_trainer_without_validation_evaluates_nothing(tmp_path):
    rows = Rows(tmp_path)
    fit("run.frames=80", logger=rows, limit_val_batches=0)
    assert [(step, "eval/return" in row) for step, row in rows.rows] == [(40, False), (80, False)]


def test_whatever_an_evaluation_gives_can_be_watched():
    _, trainer = fit("run.frames=80")
    assert {"eval/return", "eval/return_std", "eval/episode_length"} <= set(trainer.callback_metrics)


@pytest.mark.parametrize(("changes", "words"), [(["run.eval_every=null"], {}), ([], {"limit_val_batches": 0})])
def test_who_waits_for_an_evaluation_that_never_comes_is_told_before_training(changes, words):
    stop = EarlyStopping("eval/return", mode="max")
    with pytest.raises(RunError, match=r"^EarlyStopping\(monitor='eval/return'\): there are no evaluations; write run"):
        fit(*changes, callbacks=[stop], **words)
    stop = EarlyStopping("return", mode="max", patience=100)
    assert fit(*changes, "run.frames=80", callbacks=[stop], **words)[0].frames == 80


def test_without_evaluations_the_run_is_one_epoch():
    told = Told()
    module, trainer = fit("run.eval_every=null", callbacks=[told])
    assert (told.epochs, told.validations, module.frames) == ([400], [], 400)
    assert trainer.limit_val_batches == 1.0


@pytest.mark.parametrize(
    ("words", "frames"),
    [
        ({"limit_train_batches": 3}, 120),
        ({"limit_train_batches": 3, "max_epochs": 1}, 120),
        ({"limit_train_batches": 99}, 400),
        ({"max_steps": 70}, 80),  # 60 a batch: 2 agents and a critic, 5 epochs of 4 minibatches
        ({"fast_dev_run": True}, 40),
        ({"min_epochs": 9}, 400),
        ({"num_sanity_val_steps": 0}, 400),
        ({"limit_val_batches": 0}, 400),
        ({"reload_dataloaders_every_n_epochs": 2}, 400),
    ],
    ids=str,
)
def test_other_words_of_a_trainer(words, frames):
    module, trainer = fit(**words)
    assert module.frames == frames
    for word, value in words.items():
        assert getattr(trainer, word) == value or word in ("fast_dev_run", "limit_val_batches")


class Enough(Callback):
    """Stops after the first batch, as Lightning's limit of time does."""

    def on_train_batch_end(self, trainer, *given):
        trainer.should_stop = True


def test_a_stop_between_two_evaluations_is_evaluated_where_somebody_watches(tmp_path):
    best, rows, unwatched = ModelCheckpoint(tmp_path, monitor="eval/return", mode="max"), Rows(tmp_path), Rows(tmp_path)
    module, _ = fit(callbacks=[Enough(), best], enable_checkpointing=True, logger=rows)
    assert (module.frames, [step for step, row in rows.rows if "eval/return" in row]) == (40, [0, 40])
    assert best.best_model_score == rows.rows[-1][1]["eval/return"]
    fit(callbacks=[Enough()], logger=unwatched)
    assert [step for step, row in unwatched.rows if "eval/return" in row] == [0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"limit_train_batches": 0.5}, r"^Trainer\(limit_train_batches=0.5\): a share of what\? Say a number"),
        ({"val_check_interval": 0.5}, r"^Trainer\(val_check_interval=0.5\): run.eval_every says when evaluations come"),
        ({"check_val_every_n_epoch": 2}, r"^Trainer\(check_val_every_n_epoch=2\): run.eval_every says when"),
        ({"precision": "64-true"}, r"^Trainer\(precision='64-true'\): numbers have 32 bits throughout"),
        ({"precision": "bf16-mixed"}, r"^Trainer\(precision='bf16-mixed'\): numbers have 32 bits throughout"),
        ({"gradient_clip_val": 0.5}, r"^Trainer\(gradient_clip_val=0.5\): .* update.PHASE.optim.max_grad_norm=0.5\.$"),
        ({"accumulate_grad_batches": 2}, r"^Trainer\(accumulate_grad_batches=2\): a batch is a whole collection here"),
    ],
    ids=str,
)
def test_words_that_mean_nothing_here_are_refused(words, message):
    with pytest.raises(RunError, match=message):
        fit(**words)


def test_validate_and_test_evaluate_whenever_they_are_asked_to():
    module, data = hetrl.load("happo", *TINY, "run.eval_every=null", "run.frames=40").build()
    trainer = L.Trainer(max_epochs=1, enable_checkpointing=False, **QUIET)
    (before,) = trainer.validate(module, data, verbose=False)
    trainer.fit(module, data)  # what was evaluated without gradients has them again
    (after,) = trainer.test(module, verbose=False)
    expected = module.evaluation.run()
    assert {name: after[name] for name in expected} == pytest.approx(expected)
    assert (before["step"], after["step"]) == (0, 40)


def whole(frames):
    module, _ = fit(f"run.frames={frames}")
    return module.state_dict()


def same(left, right):
    assert all(torch.equal(left[name], right[name]) for name in left) and list(left) == list(right)


def test_a_finished_fit_goes_on_with_more_frames(tmp_path):
    """From Lightning's own file, under ``max_epochs=1``, to where a single run would be, bit for bit."""
    fit("run.frames=160", max_epochs=1, default_root_dir=tmp_path, enable_checkpointing=True)
    (path,) = tmp_path.rglob("*.ckpt")
    told = Told()
    module, trainer = fit("run.frames=320", max_epochs=1, ckpt_path=path, callbacks=[told])
    assert (module.frames, told.validations, trainer.current_epoch) == (320, [240, 320], 4)
    same(module.state_dict(), whole(320))


def test_a_finished_fit_without_more_frames_is_refused(tmp_path):
    _, trainer = fit("run.frames=80")
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    with pytest.raises(RunError, match=r"^this run is finished \(80 frames\); to go on, build it with run.frames="):
        fit("run.frames=80", ckpt_path=tmp_path / "a.ckpt")


def test_a_checkpoint_between_a_batch_and_its_evaluation_goes_on_with_the_evaluation(tmp_path):
    """Each batch takes 60 steps of optimisers, and the second one ends a stretch."""
    saver = ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=60, save_top_k=-1)
    rows = Rows(tmp_path)
    fit("run.frames=160", callbacks=[saver], enable_checkpointing=True, logger=rows)
    again, told = Rows(tmp_path), Told()
    module, _ = fit("run.frames=160", ckpt_path=tmp_path / "step=120.ckpt", logger=again, callbacks=[told])
    assert again.rows == rows.rows[2:]
    same(module.state_dict(), whole(160))
    middle = Rows(tmp_path)
    module, _ = fit("run.frames=160", ckpt_path=tmp_path / "step=60.ckpt", logger=middle)
    assert middle.rows == rows.rows[2:]


def test_a_checkpoint_from_when_a_run_was_one_epoch_goes_on(tmp_path):
    _, trainer = fit("run.frames=400", limit_train_batches=7)
    trainer.save_checkpoint(tmp_path / "new.ckpt")
    checkpoint = torch.load(tmp_path / "new.ckpt", weights_only=True)
    loop = checkpoint["loops"]["fit_loop"]
    loop["epoch_progress"]["total"] = {"ready": 1, "completed": 0, "started": 1, "processed": 0}
    loop["epoch_progress"]["current"] = {"ready": 1, "completed": 0, "started": 1, "processed": 0}
    for words in ("total", "current"):
        loop["epoch_loop.batch_progress"][words] = {"ready": 7, "completed": 6, "started": 7, "processed": 7}
    del checkpoint["hetrl"]["waiting"]
    torch.save(checkpoint, tmp_path / "old.ckpt")
    told = Told()
    module, _ = fit(ckpt_path=tmp_path / "old.ckpt", callbacks=[told])
    assert told.validations == [320, 400]
    same(module.state_dict(), whole(400))


def test_a_callback_that_ends_a_run_in_its_folder_ends_it_with_a_checkpoint(tmp_path):
    stop = EarlyStopping("eval/return", mode="max", patience=1, min_delta=1e9)
    folder = runs.train(hetrl.load("happo", *TINY), tmp_path / "run", callbacks=[stop], quiet=True)
    assert folder.frames_saved() == 160
    resumed = runs.resume(folder.path, quiet=True)
    assert resumed.frames_saved() == 400
    uninterrupted = runs.train(hetrl.load("happo", *TINY), tmp_path / "whole", quiet=True)
    assert read(resumed.metrics) == read(uninterrupted.metrics)
    same(resumed.load_checkpoint()["state_dict"], uninterrupted.load_checkpoint()["state_dict"])


def test_a_run_trains_in_a_thread(tmp_path):
    """There python hands out no signals."""
    raised = []

    def go():
        try:
            runs.train(hetrl.load("happo", *TINY, "run.frames=80"), tmp_path / "run", quiet=True)
        except BaseException as error:  # pragma: no cover
            raised.append(error)

    thread = threading.Thread(target=go)
    thread.start()
    thread.join()
    assert not raised and Folder(tmp_path / "run").frames_saved() == 80


def test_a_run_saves_by_a_callback_of_ones_own_as_well(tmp_path):
    best = ModelCheckpoint(tmp_path / "best", monitor="eval/return", mode="max", save_top_k=2)
    hetrl.train("happo", *TINY, "run.frames=240", folder=tmp_path / "run", callbacks=[best], quiet=True)
    assert len(list((tmp_path / "best").iterdir())) == 2 == len(best.best_k_models)
    assert Folder(tmp_path / "run").frames_saved() == 240


@pytest.mark.parametrize(
    ("callbacks", "message"),
    [
        (EarlyStopping("return"), r"^callbacks: a EarlyStopping is no list; write callbacks=\[...\]\.$"),
        ([EarlyStopping], r"^callbacks: EarlyStopping is a class; make one, EarlyStopping\(\.\.\.\)\.$"),
        (["stop"], r"^callbacks: 'stop' is no callback of Lightning's\.$"),
    ],
)
def test_what_is_no_callback(callbacks, message, tmp_path):
    with pytest.raises(RunError, match=message):
        hetrl.train("happo", *TINY, folder=tmp_path / "run", callbacks=callbacks, quiet=True)
    assert not (tmp_path / "run").exists()


def test_what_counts_batches_is_refused_in_a_run(tmp_path):
    watch = L.pytorch.callbacks.LearningRateMonitor()
    with pytest.raises(RunError, match=r"^LearningRateMonitor logs against batches, and a run's table goes by frames"):
        runs.train(hetrl.load("happo", *TINY), tmp_path / "run", callbacks=[watch], quiet=True)
    assert not (tmp_path / "run").exists()
