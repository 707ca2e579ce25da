"""The trials of a search: drawn when there is room, told as they are evaluated, and stopped where they lag."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from hetrl.errors import RecipeError, RunError, nearest
from hetrl.recipe.combinations import labels
from hetrl.recipe.read import load
from hetrl.runs.board import SeedsBoard
from hetrl.runs.folder import Folder
from hetrl.runs.launch import Executor, SeedProcess, command_line
from hetrl.runs.metrics import MetricsTable
from hetrl.runs.parts import options
from hetrl.runs.place import RunPlace
from hetrl.runs.ready import make_ready, show_last_lines
from hetrl.runs.seeds import refuse_unfit
from hetrl.search.found import SAID, Found
from hetrl.search.ranges import changes
from hetrl.search.study import require_optuna, seeded


@dataclass
class Trial:
    """A run, and what Optuna knows of it."""

    known: Any
    """Optuna's trial."""
    process: SeedProcess
    reported: int
    """Frames of the last value that was told; what is measured before any training is not, as it says nothing."""
    value: float | None = None
    over: bool = False
    """Whether Optuna was told how it ended."""
    seen: tuple[int, int] | None = None
    """When its table was written, and how long it was, when it was last read."""


class Trials:
    """The trials of one call.

    Args:
        search: as far as it has come; this process is its folder's sole writer.
        seed: from which trials are drawn.
        place: where they are trained.
        executor: what starts them there.
        board: shows them.
        console: to say what is to be known besides.
        wandb: a Weights & Biases project to log to as well.
    """

    def __init__(
        self,
        search: Found,
        seed: int,
        place: RunPlace,
        executor: Executor,
        board: SeedsBoard,
        console: Console,
        wandb: str | None,
    ) -> None:
        self._folder, self._words, self._study, self._seed = search.folder, search.words, search.study, seed
        self._place, self._executor, self._board, self._console, self._wandb = place, executor, board, console, wandb
        self._ranges = search.words.ranges
        self._labels = labels([each.word for each in self._ranges])
        self._states = require_optuna().trial.TrialState
        self._trials: dict[int, Trial] = {}

    # ----- which there are

    def begun(self) -> list[SeedProcess]:
        """Return the processes of trials that were drawn and have not ended; of whole runs Optuna is told."""
        found = []
        for each in self._study.get_trials(states=(self._states.RUNNING,)):
            seeded(self._study, self._seed, each.number)
            found.append(self._process(require_optuna().trial.Trial(self._study, each._trial_id)))
        return [process for process in found if process is not None]

    def new(self) -> Iterator[SeedProcess]:
        """Yield processes until there are as many trials as were asked for; those that failed do not count.

        Each trial is drawn when its process is asked for, after all that is known by then.
        """
        every = self._study.get_trials(deepcopy=False)
        for _ in range(self._words.trials - sum(each.state != self._states.FAIL for each in every)):
            seeded(self._study, self._seed, len(self._study.get_trials(deepcopy=False)))
            process = self._process(self._study.ask())
            if process is not None:
                yield process

    def _process(self, known: Any) -> SeedProcess | None:
        """Return what trains a trial, ready to start; None where it has ended already, or cannot be trained."""
        values = {each.word: each.draw(known) for each in self._ranges}
        shown = [f"{label}={_short(value)}" for label, value in zip(self._labels, values.values(), strict=True)]
        name = " ".join([f"trial {known.number}", *shown])
        saved = Folder(self._folder.run(known.number)).frames_saved()
        try:
            process = self._made(known.number, name, [*self._words.overrides, *changes(values)], saved > 0)
        except RecipeError as error:  # at the ends of the ranges it links, and here it does not
            self._fail(known, str(error))
            self._board.say(f"{name}  failed  {error}")
            return None
        reported = self._study.get_trials(deepcopy=False)[known.number].last_step
        self._trials[known.number] = trial = Trial(known, process, reported or 0)
        lags = self._report(trial)
        if saved >= process.frames:
            self._complete(trial)
            return None
        make_ready(process, self._executor, saved=saved > 0)
        if lags:
            self._prune(trial)
        if trial.over and process.process is None:
            self._board.say(f"{name}  pruned")
            return None
        self._board.add(process.key, process.run, process.frames)
        return process

    def _made(self, number: int, name: str, overrides: Sequence[str], saved: bool) -> SeedProcess:
        recipe, run = load(self._folder.recipe, *overrides), self._folder.run(number)
        refuse_unfit(recipe, self._place)
        given, threads = options(recipe.tree), f"run.threads={recipe.run.threads or 1}"
        words = [str(self._folder.recipe), *overrides, threads, "--folder", str(run), *given]
        new, on = (command_line(each, self._wandb) for each in (words, ["--resume", str(run), *given]))
        return SeedProcess(number, run, on if saved else new, new=new, on=on, frames=recipe.run.frames, name=name)

    # ----- what becomes of them

    def look(self, process: SeedProcess, ended: bool) -> None:
        """Tell Optuna what a trial has measured since the last look, and stop it where that is not promising.

        Args:
            process: of the trial.
            ended: whether it has.

        Raises:
            RunError: it is evaluated, and what is searched by is not measured.
        """
        trial = self._trials[process.seed]
        if trial.over:
            return
        lags = self._report(trial)
        if ended:
            word = process.ending(Folder(process.run).frames_saved() >= process.frames)
            if word == "done":
                self._complete(trial)
            elif word == "failed":
                trial.over = True
                self._fail(trial.known, process.last_words())
                show_last_lines(process, self._console)
        elif lags and not process.interrupted:
            self._prune(trial)

    def _report(self, trial: Trial) -> bool:
        """Report what is new; whether the trial had better stop."""
        path, metric, lags = Folder(trial.process.run).metrics, self._words.metric, False
        if not path.exists() or trial.seen == (seen := _stamp(path)):
            return False
        trial.seen, table = seen, MetricsTable.of(path)
        if metric not in table:
            if "eval/return" in table and table.frames("eval/return")[-1] > 0:
                raise RunError(self._unmeasured(trial, table))
            return False
        for frames, value in zip(table.frames(metric), table[metric], strict=True):
            trial.value = float(value)
            if frames > trial.reported:
                trial.reported = int(frames)
                trial.known.report(trial.value, trial.reported)
                lags |= trial.known.should_prune()
        return lags and trial.reported < trial.process.frames

    def _prune(self, trial: Trial) -> None:
        trial.over = True
        self._study.tell(trial.known, state=self._states.PRUNED)
        trial.process.when_stopped = "pruned"
        trial.process.interrupt()

    def _complete(self, trial: Trial) -> None:
        trial.over = True
        if trial.value is None:
            raise RunError(self._unmeasured(trial, MetricsTable.of(Folder(trial.process.run).metrics)))
        if not math.isfinite(trial.value):
            return self._fail(trial.known, f"{self._words.metric} is {trial.value} at the end")
        self._study.tell(trial.known, trial.value)

    def _fail(self, known: Any, said: str) -> None:
        known.set_user_attr(SAID, said)
        self._study.tell(known, state=self._states.FAIL)

    def _unmeasured(self, trial: Trial, table: MetricsTable) -> str:
        metric = self._words.metric
        near = nearest(metric, [name for name in table if name != "frames"])
        return f"--metric {metric}: {trial.process.run} does not log it.{near} Begin a new search."


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
