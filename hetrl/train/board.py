"""TensorBoard's files, and one line where the disk does not take them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import TensorBoardLogger

from hetrl.disk import writes


class Board(TensorBoardLogger):
    """Lightning's logger for TensorBoard.

    Raises:
        RunError: a file cannot be written.
    """

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """Return TensorBoard's writer, which opens its file when it is first asked for."""
        with writes(Path(self.log_dir)):
            return super().experiment

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        """Add a row."""
        with writes(Path(self.log_dir)):
            super().log_metrics(metrics, step)

    def save(self) -> None:
        """Write what is waiting."""
        with writes(Path(self.log_dir)):
            super().save()

    def finalize(self, status: str) -> None:
        """Write what is waiting, and close."""
        with writes(Path(self.log_dir)):
            super().finalize(status)


@contextmanager
def silent_threads() -> Iterator[None]:
    """Keep TensorBoard's writing thread from printing what it then raises where it is next asked for anything."""
    before = threading.excepthook

    def hook(given: Any) -> None:
        if not (issubclass(given.exc_type, OSError) and type(given.thread).__module__.startswith("tensorboard")):
            before(given)

    threading.excepthook = hook
    try:
        yield
    finally:
        threading.excepthook = before
