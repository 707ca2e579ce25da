"""The moment at which a batch is over: trained on, and evaluated where an evaluation comes after it."""

from abc import abstractmethod
from typing import Any

import lightning as L

from hetrl.train.learner import Learner


class Settled(L.Callback):
    """A callback that does something whenever a batch is over."""

    _waits = False

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Do it, unless an evaluation is still to come."""
        assert isinstance(pl_module, Learner)
        self._waits = pl_module.awaits_evaluation
        if not self._waits:
            self.on_settled(trainer, pl_module)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Do it where the evaluation has been waited for."""
        assert isinstance(pl_module, Learner)
        if self._waits:
            self._waits = False
            self.on_settled(trainer, pl_module)

    @abstractmethod
    def on_settled(self, trainer: L.Trainer, learner: Learner) -> None:
        """Do it."""
