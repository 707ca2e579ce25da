"""Checkpoints that stay: those of the best evaluations, and one after every so many frames."""

from pathlib import Path
from typing import Any

import lightning as L

from hetrl.recipe.keep import Keep
from hetrl.train.learner import Learner
from hetrl.train.settled import Settled

SCORE = "eval/return"
"""What the best evaluations are best in."""


class Keeping(Settled):
    """Writes ``best-FRAMES.ckpt`` and ``frames-FRAMES.ckpt`` beside the last checkpoint.

    A file of an evaluation that is no longer among the best is removed; of equal ones the earlier stays.
    """

    def __init__(self, folder: Path, keep: Keep) -> None:
        self._folder, self._keep = folder, keep
        self._best: dict[int, float] = {}

    def on_settled(self, trainer: L.Trainer, learner: Learner) -> None:
        """Write what is to be kept of this batch."""
        frames, before = learner.frames, learner.frames - learner.batch_frames
        if self._keep.best and SCORE in learner.metrics:
            self._rank(trainer, frames, learner.metrics[SCORE])
        every = self._keep.every
        if every is not None and frames // every > before // every:
            trainer.save_checkpoint(self._folder / f"frames-{frames}.ckpt")

    def _rank(self, trainer: L.Trainer, frames: int, score: float) -> None:
        ranked = sorted({**self._best, frames: score}.items(), key=lambda each: (-each[1], each[0]))
        self._best, out = dict(ranked[: self._keep.best]), ranked[self._keep.best :]
        if frames in self._best:
            trainer.save_checkpoint(best(self._folder, frames))
        for worse, _ in out:
            best(self._folder, worse).unlink(missing_ok=True)

    def state_dict(self) -> dict[str, Any]:
        """Return the scores, by frames."""
        return {"best": dict(self._best)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from them."""
        self._best = {int(frames): float(score) for frames, score in state_dict["best"].items()}


def best(folder: Path, frames: int) -> Path:
    """Return where the checkpoint of a good evaluation is kept."""
    return folder / f"best-{frames}.ckpt"
