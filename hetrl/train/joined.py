"""Processes exchange numbers while they fit or evaluate together, and at no other time."""

import lightning as L

from hetrl import ranks


class Joined(L.Callback):
    """Joins the other processes of a Trainer, where it has any, and leaves them at the end, also with an error."""

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Join them."""
        ranks.join()

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Leave them."""
        ranks.leave()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Leave them: Lightning calls no teardown where a fit raises."""
        ranks.leave()
