"""Metrics as one CSV table, by environment frames."""

import csv
import io
import math
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger

from hetrl.disk import replaced, writes
from hetrl.errors import RunError

FRAMES = "frames"
TableRow = dict[str, float]
"""Column -> value, of what was logged together."""


class CsvTable(Logger):
    """One row for each logged batch, its first column the frames; readable at any moment, also after a kill.

    Lightning's own CSV logger deletes the file of a run that is resumed; this one keeps the rows up to the checkpoint.

    Args:
        path: the file.
        keep: frames of the checkpoint that is resumed; later rows will come again and are dropped, once the first of
            them does. None to start anew.

    Raises:
        RunError: the file is there and cannot be read as a table, or a row cannot be written.
    """

    def __init__(self, path: Path, keep: int | None = None) -> None:
        super().__init__()
        self.path = path
        self._columns: list[str] = [FRAMES]
        self._kept: list[TableRow] | None = None
        if keep is not None and path.exists():
            self._kept = [row for row in read(path) if row[FRAMES] <= keep]
            self._columns = list({FRAMES: None, **{name: None for row in self._kept for name in row}})

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
        if self._kept is None and not new and self.path.exists():
            with writes(self.path), self.path.open("a", newline="", encoding="utf-8") as file:
                self._writer(file).writerow(self._text(row))
            return
        rows = self._kept
        if rows is None:
            rows = read(self.path) if self.path.exists() else []
        self._columns += new
        self._rewrite([*rows, row])
        self._kept = None

    def _rewrite(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Replace the file whole, so that a kill leaves the old one or the new one."""
        with (
            writes(self.path),
            replaced(self.path) as half,
            half.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = self._writer(file)
            writer.writeheader()
            writer.writerows(map(self._text, rows))

    def _writer(self, file: Any) -> "csv.DictWriter[str]":
        return csv.DictWriter(file, self._columns)

    @staticmethod
    def _text(row: Mapping[str, float]) -> dict[str, str]:
        return {name: f"{value:.0f}" if name == FRAMES else repr(value) for name, value in row.items()}


def read(path: Path) -> list[TableRow]:
    """Return the rows of a table; a row leaves out what was not logged with it.

    A last line without its end was cut off by a kill or a full disk, and is left out.

    Raises:
        RunError: there is no such table, or something in it is no number.
    """
    if not path.exists():
        raise RunError(f"there are no metrics at {path}.")
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise RunError(f"{path} is no table: it is no text ({error.reason} at byte {error.start}).") from None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}.") from error
    table = csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline=""), strict=True)
    try:
        columns = next(table, [FRAMES])
        if columns[:1] != [FRAMES]:
            raise RunError(f"{path} is no table of metrics: its first column is not '{FRAMES}'.")
        return [_row(columns, cells, f"{path}, line {table.line_num}") for cells in table]
    except csv.Error as error:
        raise RunError(f"{path}, line {table.line_num}: {error}; mend or drop that line.") from None


def _row(columns: Sequence[str], cells: Sequence[str], where: str) -> TableRow:
    """Return a row as numbers."""
    if len(cells) != len(columns):
        raise RunError(f"{where} has {len(cells)} cells for {len(columns)} columns; mend or drop that line.")
    row: TableRow = {}
    for name, cell in zip(columns, cells, strict=True):
        try:
            row |= {name: float(cell)} if cell else {}
        except ValueError:
            raise RunError(f"{where}: {name} is {cell[:40]!r}, no number; mend or drop that line.") from None
    if not math.isfinite(row.get(FRAMES, math.nan)):
        raise RunError(f"{where} does not say its {FRAMES}; mend or drop that line.")
    return row
