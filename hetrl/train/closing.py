"""Environments are closed where a fit ends, also with an error."""

import lightning as L


class Closing(L.Callback):
    """Closes the environments of the collection and of the evaluation; simulators are made again where they have to."""

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Close them."""
        _close(trainer, pl_module)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Close them: Lightning calls no teardown where a fit raises."""
        _close(trainer, pl_module)


def _close(trainer: L.Trainer, module: L.LightningModule) -> None:
    for owner in (getattr(getattr(trainer, "datamodule", None), "source", None), getattr(module, "evaluation", None)):
        if owner is not None:
            owner.close()
