"""What several seeds have reached, shown while they run."""

import csv
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from hetrl.runs.csv_table import FRAMES
from hetrl.runs.folder import Folder

_PRINT_EVERY = 30.0
"""Seconds between two plain lines where there is no terminal."""


class SeedsBoard:
    """One line of progress for each seed; where there is no terminal, a plain line now and then.

    Args:
        console: to show it on.
        runs: the folders of the runs.
        frames: that each is to have.
        folds: whether the line of a run that has ended leaves the board, and stays as plain text above it.
    """

    def __init__(
        self,
        console: Console,
        runs: Mapping[int | str, Path],
        frames: Mapping[int | str, int],
        folds: bool = False,
    ) -> None:
        self._console, self._folds = console, folds
        self._progress = Progress(
            TextColumn("{task.fields[about]}"), BarColumn(), TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(compact=True), console=console, disable=not console.is_terminal,
        )  # fmt: skip
        self._frames: dict[int | str, int] = {}
        self._tables: dict[int | str, GrowingTable] = {}
        self._bars: dict[int | str, TaskID] = {}
        self._printed = time.monotonic()
        for seed, run in runs.items():
            self.add(seed, run, frames[seed])

    def add(self, seed: int | str, run: Path, frames: int) -> None:
        """Show one more."""
        self._frames[seed], self._tables[seed] = frames, GrowingTable(Folder(run).metrics)
        self._bars[seed] = self._progress.add_task("", total=frames, about=_named(seed), figures="waiting")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()

    def update(self, running: Sequence[int | str]) -> None:
        """Read what the running seeds have logged, and show it."""
        plain = not self._console.is_terminal and time.monotonic() - self._printed > _PRINT_EVERY
        for seed in running:
            table = self._tables[seed]
            table.read()
            figures = table.figures()
            self._progress.update(self._bars[seed], completed=table.frames, figures=figures)
            if plain:
                self.say(f"{_named(seed)}  {figures}")
        if plain:
            self._printed = time.monotonic()

    def end(self, seed: int | str, ending: Callable[[bool], str]) -> None:
        """Say how a seed ended, which `ending` knows when told whether it has all its frames."""
        table = self._tables[seed]
        table.read()
        figures = f"{ending(table.frames >= self._frames[seed])}  {table.figures()}"
        self._progress.update(self._bars[seed], completed=table.frames, figures=figures, visible=not self._folds)
        if self._folds or not self._console.is_terminal:
            self.say(f"{_named(seed)}  {figures}")

    def say(self, line: str) -> None:
        """Print a line above the board."""
        self._console.print(line, highlight=False, soft_wrap=True)


def _named(seed: int | str) -> str:
    return f"seed {seed}" if isinstance(seed, int) else seed


class GrowingTable:
    """The last value of every column of a table that another process writes; only what is new is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.latest: dict[str, float] = {}
        self._same, self._at = (0, b""), 0

    def read(self) -> None:
        """Take in the lines that are complete by now."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            stamp = os.fstat(file.fileno())
            header = file.readline()
            if (stamp.st_ino, header) != self._same or stamp.st_size < self._at:  # rewritten, with new columns
                self._same, self._at = (stamp.st_ino, header), len(header)
            file.seek(self._at)
            fresh = file.read()
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self._at += len(whole)
        columns = next(csv.reader([header.decode(errors="replace").strip()]), [])  # a name may have a comma
        for line in whole.decode(errors="replace").splitlines():
            row = zip(columns, line.split(","), strict=False)
            with suppress(ValueError):  # a number cut off, where the file was rewritten between two looks
                self.latest |= {name: float(word) for name, word in row if word}

    @property
    def frames(self) -> float:
        """Frames so far."""
        return self.latest.get(FRAMES, 0)

    def figures(self) -> str:
        """Return frames and returns as text."""
        if FRAMES not in self.latest:
            return "starting"
        shown = [f"{self.latest[FRAMES]:,.0f} frames"]
        shown += [f"{name} {self.latest[name]:.3g}" for name in ("return", "eval/return") if name in self.latest]
        return "  ".join(shown)
