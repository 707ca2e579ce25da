"""What a run in a folder adds to a Trainer: checkpoints, a progress bar, and a graceful stop."""

import signal
import time
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from hetrl import ranks
from hetrl.train.checkpoint_file import previous
from hetrl.train.checkpoint_size import large
from hetrl.train.collection import Collection
from hetrl.train.learner import Learner
from hetrl.train.rank_files import forget_unused
from hetrl.train.settled import Settled
from hetrl.train.signals import TakenSignals


class Checkpoints(Settled):
    """Writes ``last.ckpt`` every so many frames, and where a fit ends; a file is replaced whole or not at all.

    The one before it is kept as ``previous.ckpt``. For a Trainer with
    :class:`~hetrl.train.checkpoint_file.CheckpointFiles` among its plugins.
    """

    def __init__(self, folder: Path, every: int) -> None:
        self.folder, self.every = folder, every
        self._saved = 0

    def on_settled(self, trainer: L.Trainer, learner: Learner) -> None:
        """Save after a batch that crosses a multiple of ``every``, after the last, and where a stop was asked for."""
        frames, before = learner.frames, learner.frames - learner.batch_frames
        done = frames >= learner.recipe.run.frames
        if done or trainer.should_stop or frames // self.every > before // self.every:
            self.save(trainer)
            self._saved = frames

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save where another callback ended the fit after the last batch was over."""
        assert isinstance(pl_module, Learner)
        if pl_module.batch_frames and self._saved != pl_module.frames:
            self.save(trainer)

    def save(self, trainer: L.Trainer) -> Path:
        """Write the checkpoint.

        Raises:
            RunError: it cannot be written; the last one stays.
        """
        path = self.folder / "last.ckpt"
        trainer.save_checkpoint(path, storage_options={"keep": previous(path)})
        if trainer.is_global_zero:
            forget_unused(self.folder)
        return path


class SizeNote(L.Callback):
    """Says before training how large checkpoints will be, where they are large."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say it."""
        data = getattr(trainer, "datamodule", None)
        if isinstance(pl_module, Learner) and isinstance(data, Collection) and (line := large(pl_module, data)):
            Console(markup=False).print(line, highlight=False, soft_wrap=True)


class DeviceNote(L.Callback):
    """Says before training which device ``run.device=auto`` took, where it had a choice."""

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say it."""
        if isinstance(pl_module, Learner) and pl_module.placed is not None and pl_module.placed.why:
            Console(markup=False).print(pl_module.placed.why, highlight=False, soft_wrap=True)


class GracefulStop(L.Callback):
    """Stops after the batch, and after its checkpoint, on the first of the signals that ask for it.

    A second Ctrl-C stops at once. The others may come as often as they like: a scheduler sends them to every process of
    a job, and whoever started this one hands them on.
    """

    def __init__(self) -> None:
        self.asked = False
        self._signals = TakenSignals()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take over the signals for as long as training runs."""

        def stop(number: int, frame: FrameType | None) -> None:
            self.asked = True
            if number == signal.SIGINT:
                self._signals.give_back(number)

        self._signals.take(stop)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop here, and not wherever the signal comes: :class:`Checkpoints`, which is next, has to know of it."""
        self._stop(trainer, pl_module)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop here where the signal came during an evaluation."""
        self._stop(trainer, pl_module)

    def _stop(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop where this process was asked to, or any other of the run's: all of them do so here."""
        if ranks.either(self.asked or trainer.should_stop, pl_module.device):
            trainer.should_stop = True

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Give the signals back now: at teardown Lightning has restored its own, and this would undo it."""
        self._signals.give_back()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Give the signals back where a fit raises."""
        self._signals.give_back()


class ProgressBar(Settled):
    """Frames, frames per second, mean return, and the time left, on one line."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._progress: Progress | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the bar."""
        assert isinstance(pl_module, Learner)
        self._start, self._first = time.perf_counter(), pl_module.frames
        self._progress = Progress(
            TextColumn("{task.fields[about]}", markup=False), BarColumn(), TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(compact=True), console=self._console, disable=not self._console.is_terminal,
        )  # fmt: skip
        total = pl_module.recipe.run.frames
        self._task = self._progress.add_task(
            "", total=total, completed=self._first, about=pl_module.recipe.name, figures=""
        )
        self._progress.start()
        self._printed = self._start

    def on_settled(self, trainer: L.Trainer, learner: Learner) -> None:
        """Show where the run is; where there is no terminal, a plain line for each evaluation, and now and then."""
        assert self._progress is not None
        now, frames = time.perf_counter(), learner.frames
        rate = (frames - self._first) / (now - self._start)
        shown = [f"{frames:,} frames", f"{rate:,.0f} frames/s"]
        shown += [f"{word} {value:.3g}" for word, value in learner.metrics.items() if word in ("return", "eval/return")]
        self._progress.update(self._task, completed=frames, figures="  ".join(shown))
        due = now - self._printed > 10 or frames >= learner.recipe.run.frames or "eval/return" in learner.metrics
        if due and not self._console.is_terminal:
            self._console.print("  ".join(shown), highlight=False)
            self._printed = now

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Stop the bar."""
        self._stop()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Stop the bar: Lightning calls no teardown where a fit raises."""
        self._stop()

    def _stop(self) -> None:
        if self._progress is not None:
            self._progress.stop()
