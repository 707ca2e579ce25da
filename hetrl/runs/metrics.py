"""What a run has measured, as arrays."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from hetrl.errors import UnknownNameError, nearest
from hetrl.runs.csv_table import FRAMES, TableRow, read


class MetricsTable(Mapping[str, np.ndarray]):
    """Name -> the values of a metric, in the order in which they were logged; see :meth:`frames` for when.

    A metric has a value only where it was logged: an evaluation's return is rarer than the return while training.
    :meth:`table` has all of them side by side.

    Args:
        rows: of the table.
    """

    def __init__(self, rows: Sequence[TableRow]) -> None:
        self._rows = rows
        self._names = list({name: None for row in rows for name in row})

    @classmethod
    def of(cls, path: Path) -> "MetricsTable":
        """Return what a table holds; nothing where there is none yet.

        Raises:
            RunError: it cannot be read.
        """
        return cls(read(path) if path.exists() else [])

    def __getitem__(self, name: str) -> np.ndarray:
        """Return the values of a metric.

        Raises:
            UnknownNameError: nothing of that name was logged.
        """
        return np.array([row[name] for row in self._rows_of(name)])

    def frames(self, name: str) -> np.ndarray:
        """Return the environment frames at which the values of a metric were logged, as many as it has values."""
        return np.array([row[FRAMES] for row in self._rows_of(name)])

    def table(self) -> dict[str, np.ndarray]:
        """Return all metrics as columns of equal length, NaN where nothing was logged: ``pandas.DataFrame(table)``."""
        return {name: np.array([row.get(name, np.nan) for row in self._rows]) for name in self._names}

    def _rows_of(self, name: str) -> list[TableRow]:
        if name not in self._names:
            raise UnknownNameError(f"no metric {name!r} was logged.{nearest(str(name), self._names)}")
        return [row for row in self._rows if name in row]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return f"<{len(self._rows)} rows of {', '.join(self._names) or 'nothing'}>"


def joined(tables: Mapping[int, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return tables below one another, NaN where one has no such column."""
    names = list({name: None for table in tables.values() for name in table})
    lengths = [len(next(iter(table.values()))) for table in tables.values()]
    columns = {
        name: [table.get(name, np.full(n_rows, np.nan)) for n_rows, table in zip(lengths, tables.values(), strict=True)]
        for name in names
    }
    return {name: np.concatenate(parts) for name, parts in columns.items()}
