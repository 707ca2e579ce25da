"""What a Trainer's own words mean to a run: how far a fit goes, and how far an epoch of it.

An epoch is the stretch between two evaluations, and Lightning's validation loop at its end is the evaluation: what
watches ``eval/return``, saves by it, or prunes by it works as with any other module.
"""

from typing import Any

import lightning as L
from lightning.pytorch.utilities.rank_zero import rank_zero_info

from hetrl.errors import RunError

_ONE_PASS = 1
"""``Trainer(max_epochs=1)``: one pass over the run, as with -1. It could mean one stretch, and end nearly every run."""


class Epochs(L.Callback):
    """Holds the words of a Trainer to what they can mean here, for as long as a fit takes.

    Args:
        frames: of the run.
        evaluates: whether there are evaluations in it.
    """

    def __init__(self, frames: int, evaluates: bool) -> None:
        self._frames, self._evaluates = frames, evaluates
        self._before: dict[str, Any] = {}
        self._n_batches = 0

    def on_fit_start(self, trainer: Any, pl_module: L.LightningModule) -> None:
        """Take the Trainer's words over.

        Raises:
            RunError: one of them means nothing here.
        """
        _refuse_words(trainer)
        if not self._evaluates or trainer.limit_val_batches == 0:
            _refuse_waiting(trainer)
        self._n_batches = 0
        loop = trainer.fit_loop
        self._before = {
            "max_epochs": loop.max_epochs,
            "min_epochs": loop.min_epochs,
            "reload_dataloaders_every_n_epochs": trainer.reload_dataloaders_every_n_epochs,
            "log_every_n_steps": trainer.log_every_n_steps,
            "limit_val_batches": trainer.limit_val_batches,
        }
        if loop.max_epochs == _ONE_PASS and not trainer.fast_dev_run:
            loop.max_epochs = -1
        trainer.reload_dataloaders_every_n_epochs = 1  # each stretch has its own length
        trainer.log_every_n_steps = min(trainer.log_every_n_steps, 1)  # every batch is logged, whatever it says
        if not self._evaluates:
            trainer.limit_val_batches = 0

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """End the fit where its limit of batches or of optimiser steps is reached, so that Lightning validates."""
        self._n_batches += 1
        limit = trainer.limit_train_batches
        if isinstance(limit, int) and self._n_batches >= limit:
            trainer.should_stop = True
        if 0 <= trainer.max_steps <= trainer.global_step:
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: Any, pl_module: L.LightningModule) -> None:
        """Let the run end where it has its frames, however many epochs are the least: there is nothing more."""
        if getattr(pl_module, "frames", 0) >= self._frames:
            trainer.fit_loop.min_epochs = 0

    def on_train_end(self, trainer: Any, pl_module: L.LightningModule) -> None:
        """Say what ended a fit before its run."""
        frames, limit = getattr(pl_module, "frames", self._frames), trainer.fit_loop.max_epochs
        if frames < self._frames and not trainer.fast_dev_run and 0 <= (limit or 0) <= trainer.current_epoch:
            rank_zero_info(
                f"The fit ended after {frames} of {self._frames} frames, by Trainer(max_epochs={limit}): an epoch is "
                "the stretch between two evaluations. max_epochs=-1 leaves the end to run.frames."
            )

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Give the words back."""
        self._give_back(trainer)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Give the words back: Lightning calls no teardown where a fit raises."""
        self._give_back(trainer)

    def _give_back(self, trainer: L.Trainer) -> None:
        words, self._before = self._before, {}
        for word, value in words.items():
            setattr(trainer.fit_loop if word in ("max_epochs", "min_epochs") else trainer, word, value)


def _refuse_words(trainer: L.Trainer) -> None:
    limit = trainer.limit_train_batches
    if isinstance(limit, float) and limit != 1.0:
        raise RunError(
            f"Trainer(limit_train_batches={limit}): a share of what? Say a number of batches, or run.frames=..."
        )
    for word, value, default in (
        ("val_check_interval", trainer.val_check_interval, 1.0),
        ("check_val_every_n_epoch", trainer.check_val_every_n_epoch, 1),
    ):
        if value != default:
            raise RunError(f"Trainer({word}={value}): run.eval_every says when evaluations come; leave {word} away.")
    if trainer.precision != "32-true":
        raise RunError(
            f"Trainer(precision='{trainer.precision}'): numbers have 32 bits throughout, as ratios and targets need; "
            "leave precision away."
        )


def _refuse_waiting(trainer: Any) -> None:
    """Refuse who waits for an evaluation where none will come: the fit would find that out at its end."""
    for each in trainer.callbacks:
        monitor = getattr(each, "monitor", None)
        if isinstance(monitor, str) and monitor.startswith("eval/"):
            raise RunError(
                f"{type(each).__name__}(monitor='{monitor}'): there are no evaluations; write run.eval_every=..., "
                "without limit_val_batches=0, or watch another figure, such as 'return'."
            )


def begun_anew(loops: dict[str, Any], ended: int) -> None:
    """Say of a checkpoint's loops that some epochs are complete, and that nothing is in the middle.

    What is left of a stretch is an epoch again. Lightning's own account of an epoch in its middle depends on where in
    it the checkpoint was written, and on how many batches it was to have; earlier versions had one epoch for a whole
    run.

    Args:
        loops: of a checkpoint; changed in place.
        ended: epochs that ended beside those of which it is said already.
    """
    fit = loops["fit_loop"]
    n_epochs = fit["epoch_progress"]["current"]["processed"] + ended
    for words in fit["epoch_progress"].values():
        words.update(dict.fromkeys(words, n_epochs))
    batches = fit["epoch_loop.batch_progress"]
    n_batches = batches["total"]["ready"]
    batches["total"].update(dict.fromkeys(batches["total"], n_batches))
    batches["current"].update(dict.fromkeys(batches["current"], 0))
    batches["is_last_batch"] = False
    fit["epoch_loop.state_dict"]["_batches_that_stepped"] = n_batches
