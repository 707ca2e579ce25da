"""What a run takes of the process it gives back, also where it fails."""

import io
import logging
import signal
import sys

import lightning as L
import pytest
import torch
from rich.console import Console

import hetrl
from hetrl.errors import DependencyError, DivergenceError, RunError
from hetrl.runs import run as runs
from hetrl.runs.csv_table import read
from hetrl.runs.folder import Folder
from hetrl.train.callbacks import ProgressBar

TINY = [
    "task={use: env/tabular_game, n_states: 3, n_actions: [2, 2], n_envs: 4, horizon: 7}",
    "nets.actor.use=net/categorical_policy", "nets.actor.hidden=[8]", "nets.value.hidden=[8]", "data.frames=40",
    "run.frames=80", "run.eval_every=40", "run.n_eval_episodes=3", "run.device=cpu",
]  # fmt: skip
# Lightning's advice for other kinds of training: a short epoch.
pytestmark = pytest.mark.filterwarnings("ignore:.*smaller than the logging interval.*")


class Failing(L.Callback):
    """Raises after the first batch, and keeps what was trained."""

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.module = pl_module
        assert "run" in vars(pl_module.phases[0])  # it is timed
        raise DivergenceError("enough")


def process():
    """Return who handles signals, and how much Lightning says."""
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    return list(map(id, handlers)), logging.getLogger("lightning.pytorch").level


def test_a_run_gives_back_what_it_took(tmp_path):
    """SIGTERM too: a process that has trained can still be ended."""
    before = process()
    runs.train(hetrl.load("happo", *TINY), tmp_path / "run", quiet=True)
    assert process() == before


def test_a_run_that_fails_gives_back_what_it_took(tmp_path):
    """Signals, the level of Lightning's messages, the marks of the timings, and the terminal's line."""
    before, failing, bar = process(), Failing(), ProgressBar()
    with pytest.raises(DivergenceError, match="enough"):
        runs.train(hetrl.load("happo", *TINY), tmp_path / "run", callbacks=[failing, bar], quiet=True)
    assert process() == before
    assert all("run" not in vars(owner) for owner in (*failing.module.phases, failing.module.evaluation))
    assert not bar._progress.live.is_started


def test_without_a_terminal_every_evaluation_is_a_line(tmp_path):
    said = io.StringIO()
    bar = ProgressBar(Console(file=said, width=200))
    folder = runs.train(
        hetrl.load("happo", *TINY, "run.frames=240", "run.eval_every=80"), tmp_path / "run", callbacks=[bar], quiet=True
    )
    evaluated = [f"{row['frames']:.0f}" for row in read(folder.metrics) if row["frames"] and "eval/return" in row]
    lines = [line.split()[0] for line in said.getvalue().splitlines() if "eval/return" in line]
    assert lines == evaluated and len(lines) == 3


def test_without_weights_and_biases_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(DependencyError, match=r"^--wandb needs Weights & Biases: pip install 'hetrl\[wandb\]'\.$"):
        runs.train(hetrl.load("happo", *TINY), tmp_path / "run", wandb="mine", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_of_another_program_is_refused(tmp_path):
    folder = runs.train(hetrl.load("happo", *TINY), tmp_path / "run", quiet=True)
    torch.save({"weights": torch.zeros(1)}, folder.checkpoint)
    for use in (Folder(folder.path).load_checkpoint, Folder(folder.path).frames_saved):
        with pytest.raises(RunError, match=r"checkpoints/last\.ckpt was not written by hetrl\.$"):
            use()
