"""TensorBoard's files, and one line where the disk does not take them."""

from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import TensorBoardLogger

from hetrl.disk import writes


class Board(TensorBoardLogger):
    """Lightning's logger for TensorBoard.

    Raises:
        RunError: a file cannot be written.
    """

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
