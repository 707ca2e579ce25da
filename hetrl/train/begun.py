"""The moment at which a fit has everything that it goes on from."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L

from hetrl.errors import HetrlError, RunError
from hetrl.train.checkpoint_file import way_on


class Begun(L.Callback):
    """Does something once all that a checkpoint holds is restored; says so where it could not be.

    Args:
        then: what is done: what belongs to the run that goes on, and would spoil the one that is there.
    """

    def __init__(self, then: Callable[[], None]) -> None:
        self._then, self._begun = then, False

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin: the module's own ``on_train_start`` is over."""
        if not self._begun:
            self._begun = True
            self._then()

    @contextmanager
    def restoring(self, path: Path) -> Iterator[None]:
        """Turn whatever a checkpoint's content makes go wrong before training begins into one line.

        Raises:
            RunError: it cannot be restored.
        """
        try:
            yield
        except (HetrlError, MemoryError):
            raise
        except Exception as error:
            if self._begun:
                raise
            raise RunError(f"{path} is no checkpoint to go on from: {_said(error)}.{way_on(path)}") from error


def _said(error: Exception) -> str:
    lines: list[Any] = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}, {lines[0].rstrip('.')[:200]}"
