"""Metrics as one CSV table, by environment frames."""

import csv
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger

from hetrl.errors import RunError

FRAMES = "frames"
TableRow = dict[str, float]
"""Column -> value, of what was logged together."""


class CsvTable(Logger):
    """One row for each logged batch, its first column the frames; readable at any moment, also after a kill.

    Lightning's own CSV logger deletes the file of a run that is resumed; this one keeps the rows up to the checkpoint.

    Args:
        path: the file.
        keep: frames of the checkpoint that is resumed; later rows will come again and are dropped. None to start anew.
    """

    def __init__(self, path: Path, keep: int | None = None) -> None:
        super().__init__()
        self.path = path
        self._columns: list[str] = [FRAMES]
        if keep is not None and path.exists():
            rows = [row for row in read(path) if row[FRAMES] <= keep]
            self._columns = list({FRAMES: None, **{name: None for row in rows for name in row}})
            self._rewrite(rows)

    @property
    def name(self) -> str:
        """Name of the logger."""
        return "csv"

    @property
    def version(self) -> int:
        """Unused; Lightning asks for it."""
        return 0

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the resolved recipe lies beside the table."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Add a row."""
        row = {FRAMES: float(step or 0), **metrics}
        new = [name for name in row if name not in self._columns]
        if new or not self.path.exists():
            rows = read(self.path) if self.path.exists() else []
            self._columns += new
            self._rewrite([*rows, row])
            return
        with self.path.open("a", newline="") as file:
            self._writer(file).writerow(self._text(row))

    def _rewrite(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Replace the file whole, so that a kill leaves the old one or the new one."""
        half = self.path.with_suffix(".part")
        with half.open("w", newline="") as file:
            writer = self._writer(file)
            writer.writeheader()
            writer.writerows(map(self._text, rows))
        half.replace(self.path)

    def _writer(self, file: Any) -> "csv.DictWriter[str]":
        return csv.DictWriter(file, self._columns)

    @staticmethod
    def _text(row: Mapping[str, float]) -> dict[str, str]:
        return {name: f"{value:.0f}" if name == FRAMES else repr(value) for name, value in row.items()}


def read(path: Path) -> list[TableRow]:
    """Return the rows of a table; a row leaves out what was not logged with it.

    Raises:
        RunError: there is no such table.
    """
    if not path.exists():
        raise RunError(f"there are no metrics at {path}.")
    with path.open(newline="") as file:
        table = csv.DictReader(file)
        complete = [row for row in table if None not in row.values() and None not in row]
    return [{name: float(text) for name, text in row.items() if text not in ("", None)} for row in complete]
