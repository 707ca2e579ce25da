"""A worker: takes runs from a list, one after the other, and trains each by ``hetrl train``, as the launcher does.

Any number of workers may share a folder. Each holds a lock of the operating system on the run that it trains, so no two
take the same one, and a worker that is killed leaves its run to the next, which goes on from the last checkpoint.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from hetrl.disk import replace_text
from hetrl.errors import HetrlError, RunError
from hetrl.recipe.read import load
from hetrl.runs.board import SeedsBoard
from hetrl.runs.folder import Folder
from hetrl.runs.launch import SeedProcess, StopSignals, command_line, run_side_by_side
from hetrl.runs.local import LocalProcesses
from hetrl.runs.lock import sole_writer
from hetrl.runs.ready import make_ready, show_last_lines

from .entries import Entry, RunList
from .results import DATA, RefusedError, kept, refuse_other, refuse_version, take
from .version import Probe, as_json, fingerprint, probe

THREADS = 1
"""Of a run: the machine's cores are for more runs."""


class Worker:
    """Takes what is free, in the order of the list, until nothing is.

    Args:
        wanted: the list.
        runs: the folder of the runs' folders.
        data: where results are kept.
        at_once: how many are trained side by side.
        seconds: after which the runs are asked to save and end.
        told: takes a line for the user.
        probed: trains a recipe for a moment, see :func:`~listed.version.probe`.
    """

    def __init__(
        self,
        wanted: RunList,
        runs: Path,
        data: Path = DATA,
        at_once: int = 1,
        seconds: float | None = None,
        told: Callable[[str], None] = print,
        probed: Callable[..., Probe] = probe,
    ) -> None:
        self._wanted, self._runs, self._data = wanted, runs, data
        self._told, self._probed = told, probed
        self._end = None if seconds is None else time.monotonic() + seconds
        self._executor = LocalProcesses(THREADS, at_once)
        self._held: dict[str, tuple[Entry, Probe, ExitStack]] = {}
        self._passed: set[str] = set()
        """Runs that this worker leaves alone: done, refused, or failed."""

    def work(self, entries: Sequence[Entry]) -> None:
        """Train entries until none is free, or a stop is asked for."""
        console = Console(markup=False, emoji=False)
        with StopSignals() as stop, SeedsBoard(console, {}, {}, folds=True) as board:
            self._stop, self._board = stop, board
            try:
                run_side_by_side(self.free(entries), self._executor, stop, board, self._look)
            finally:
                for process in list(stop.running):
                    if process.process is not None:
                        process.process.wait()  # it saves
                    self._let_go(process)

    def free(self, entries: Sequence[Entry]) -> Iterator[SeedProcess]:
        """Yield the process of the next entry that has frames left and that nobody trains, as long as there is one."""
        while (process := self._next(entries)) is not None:
            self._board.add(process.key, process.run, process.frames)
            yield process

    def _next(self, entries: Sequence[Entry]) -> SeedProcess | None:
        for entry in entries:
            if entry.name in self._passed or entry.name in self._held:
                continue
            claim = ExitStack()
            try:
                claim.enter_context(sole_writer(self._runs / f"{entry.name}.taken"))
            except RunError:
                continue  # another worker has it
            try:
                begun = self._begin(entry)
            except (HetrlError, RefusedError) as error:
                self._told(f"left alone: {error}")
                begun = None
            except BaseException:
                claim.close()
                raise
            if begun is not None:
                process, version = begun
                self._held[entry.name] = entry, version, claim
                return process
            self._passed.add(entry.name)
            claim.close()
        return None

    def _begin(self, entry: Entry) -> tuple[SeedProcess, Probe] | None:
        """Return the process that starts a run or goes on with it; nothing where it is done.

        Raises:
            RefusedError: what is there is of another recipe or version.
        """
        before = kept(entry, self._data)
        if before is not None:
            refuse_other(entry, before)
            if before.frames >= entry.frames:
                return None
        run = self._runs / entry.name
        saved = Folder(run).frames_saved()
        version = self._version(entry, run, begun=saved > 0)
        if saved >= entry.frames:
            take(entry, run, version, self._data)
            return None
        new = [entry.recipe, *entry.overrides, "--folder", str(run)]
        on = ["--resume", str(run), f"run.frames={entry.frames}"]
        first, then = (command_line(words, None) for words in (new, on))
        process = SeedProcess(
            entry.seed, run, then if saved else first, new=first, on=then, frames=entry.frames, name=entry.name
        )
        make_ready(process, self._executor, saved=saved > 0)
        return process, version

    def _version(self, entry: Entry, run: Path, begun: bool) -> Probe:
        """Return the probe of the code that began a run; where nobody has, of ours, which is written beside it.

        Raises:
            RefusedError: other code or another recipe began it.
        """
        note, ours = run.with_name(f"{entry.name}.probe.json"), self._probed(entry.loaded)
        if not begun:
            note.parent.mkdir(parents=True, exist_ok=True)
            replace_text(note, as_json(dict(ours)) + "\n")
            return ours
        away = f"move {run} away to start it again."
        if fingerprint(load(Folder(run).recipe)) != fingerprint(entry.loaded):
            raise RefusedError(f"{entry.name}: {run} holds a run of another recipe; {away}")
        if not note.exists():
            raise RefusedError(f"{entry.name}: {note.name} is gone, so nobody knows which version began it; {away}")
        theirs: Probe = json.loads(note.read_text(encoding="utf-8"))
        try:
            refuse_version(entry.name, theirs, ours, self._wanted.accepted, "this code")
        except RefusedError as error:
            raise RefusedError(f"{error} Or {away}") from None
        return theirs

    def _look(self, process: SeedProcess, ended: bool) -> None:
        if ended:
            self._let_go(process)
        elif self._end is not None and time.monotonic() > self._end and not self._stop.asked:
            self._stop.asked = True
            self._stop.forward()

    def _let_go(self, process: SeedProcess) -> None:
        """Keep what a run has measured, and leave it to others."""
        entry, version, claim = self._held.pop(process.name)
        with claim:
            word = process.ending(Folder(process.run).frames_saved() >= entry.frames)
            if word != "stopped":
                self._passed.add(entry.name)
            if word == "failed":
                self._told(f"{entry.name} failed: {process.last_words()}")
                show_last_lines(process, Console(markup=False, emoji=False))
            try:
                take(entry, process.run, version, self._data)
            except (HetrlError, RefusedError) as error:
                self._told(f"not kept: {error}")
