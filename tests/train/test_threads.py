"""A recipe's threads are its own: while it is built and trained, and not a moment longer."""

import json
import signal

import lightning as L
import pytest
import torch

import hetrl
from hetrl.errors import DivergenceError
from hetrl.runs import run as runs
from hetrl.train.build import build
from hetrl.train.learner import Learner
from hetrl.train.threads import cpu_threads

TINY = [
    "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2], n_envs: 4, horizon: 7}",
    "nets.actor.use=net/categorical_policy", "nets.actor.hidden=[8]", "nets.value.hidden=[8]", "data.frames=40",
    "run.frames=80", "run.device=cpu", "run.threads=null",
]  # fmt: skip
QUIET = {
    "accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False,
    "enable_checkpointing": False, "max_epochs": 1, "log_every_n_steps": 1,
}  # fmt: skip
# Lightning's advice for other kinds of training: a short epoch.
pytestmark = pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")


@pytest.fixture
def three():
    """Let torch have 3 threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


class Watching(L.Callback):
    """Notes the threads of every batch; raises in the last one where it is told to."""

    def __init__(self, error=None):
        self.seen, self._error = [], error

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.seen.append(torch.get_num_threads())
        if self._error is not None and pl_module.frames == 80:
            raise self._error


def test_building_leaves_the_threads_and_builds_with_the_recipes(three, monkeypatch):
    seen, attach = [], Learner.__init__

    def noting(self, *given):
        seen.append(torch.get_num_threads())
        attach(self, *given)

    monkeypatch.setattr(Learner, "__init__", noting)
    build(hetrl.load("happo", *TINY, "run.threads=2"))
    build(hetrl.load("happo", *TINY))
    assert seen == [2, 3] and torch.get_num_threads() == 3


def test_they_hold_while_it_is_fitted(three):
    module, data = build(hetrl.load("happo", *TINY, "run.threads=2"))
    watching = Watching()
    trainer = L.Trainer(callbacks=[watching], **QUIET)
    trainer.fit(module, data)
    assert watching.seen == [2, 2] and torch.get_num_threads() == 3


@pytest.mark.parametrize("error", [DivergenceError("x"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_they_are_given_back_where_the_fit_raises(three, error):
    module, data = build(hetrl.load("happo", *TINY, "run.threads=2"))
    watching = Watching(error)
    handler = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises((DivergenceError, SystemExit)):
            L.Trainer(callbacks=[watching], **QUIET).fit(module, data)
    finally:
        signal.signal(signal.SIGINT, handler)  # Lightning ignores Ctrl-C from the first one on
    assert watching.seen == [2, 2] and torch.get_num_threads() == 3


def test_without_any_in_the_recipe_torchs_own_hold(three):
    module, data = build(hetrl.load("happo", *TINY))
    watching = Watching()
    L.Trainer(callbacks=[watching], **QUIET).fit(module, data)
    assert watching.seen == [3, 3] and torch.get_num_threads() == 3


def test_a_run_says_what_it_used(three, tmp_path):
    for number, overrides in ((2, ["run.threads=2"]), (3, [])):
        folder = runs.train(hetrl.load("happo", *TINY, *overrides), tmp_path / str(number), quiet=True)
        assert json.loads(folder.versions.read_text())["threads"] == number
    assert torch.get_num_threads() == 3


def test_they_are_given_back_where_the_block_raises(three):
    with pytest.raises(ZeroDivisionError), cpu_threads(2):
        assert torch.get_num_threads() == 2
        raise ZeroDivisionError
    assert torch.get_num_threads() == 3
