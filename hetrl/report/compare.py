"""Comparing recipes over seeds: what their runs score, and how surely one is better."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from hetrl.errors import RunError, nearest
from hetrl.report.comparable import Comparable, Entry, comparable
from hetrl.report.curve import Series, from_run, interval
from hetrl.report.statistics import Estimate, interquartile_mean, probability_of_improvement

_POINTS = 60
"""Points of a sample-efficiency curve, at most."""


def _last(frames: np.ndarray, values: np.ndarray) -> float:
    return float(values[-1])


def _tail(frames: np.ndarray, values: np.ndarray) -> float:
    return float(values[frames >= 0.9 * frames[-1]].mean())


def _area(frames: np.ndarray, values: np.ndarray) -> float:
    return float(np.trapezoid(values, frames) / (frames[-1] - frames[0])) if len(frames) > 1 else float(values[0])


SCORES: dict[str, tuple[Callable[[np.ndarray, np.ndarray], float], str]] = {
    "last": (_last, "its last value"),
    "tail": (_tail, "its mean over the last tenth of the frames"),
    "area": (_area, "its mean over all frames (the area under its curve, by their number)"),
}
"""What a run scores, by name: the function, and what it is. The best value is not among them: it rewards noise."""


@dataclass(frozen=True)
class Comparison:
    """Runs that may be compared, with their curves and scores."""

    about: Comparable
    metric: str
    score: str
    series: dict[Path, Series]
    scales: dict[str, tuple[float, float]]
    """Task -> what becomes 0 and 1 where tasks are taken together; empty where they are not."""
    scaled_by: str
    rate: bool = False
    """Whether the metric is a rate, such as that of wins: no interval of a score or a curve leaves 0 to 1."""
    _known: dict[str | None, tuple[dict[str, Estimate], list[tuple[str, str, Estimate]]]] = field(default_factory=dict)
    """What has been computed; bootstraps take their time."""

    def scores(self, entry: Entry) -> np.ndarray:
        """Return what each run of an entry scored, ``[runs]``."""
        function, _ = SCORES[self.score]
        return np.array([function(*self.series[run]) for run in entry.runs])

    def matrices(self, task: str | None) -> dict[str, np.ndarray]:
        """Return each method's scores on a task, or (None) its scaled scores on all, ``[runs, tasks]``."""
        if task is not None:
            return {entry.method: self.scores(entry)[:, None] for entry in self.about.on(task)}
        found: dict[str, list[np.ndarray]] = {}
        for each, (low, high) in self.scales.items():
            for method, scores in self.matrices(each).items():
                found.setdefault(method, []).append((scores - low) / (high - low))
        return {method: np.concatenate(columns, 1) for method, columns in found.items()}

    def curve(self, entry: Entry) -> tuple[np.ndarray, np.ndarray]:
        """Return frames of a task's curves, and each run's values at them, ``[runs, points]``; NaN beyond its last."""
        every = [self.series[run] for each in self.about.on(entry.task) for run in each.runs]
        frames = self._widest([frames for frames, _ in every])
        first = min(max(frames[0] for frames, _ in every), frames[-1])
        grid = frames[frames >= first]
        grid = grid[np.unique(np.linspace(0, len(grid) - 1, min(len(grid), _POINTS)).round().astype(int))]
        values = [np.interp(grid, *self.series[run], right=np.nan) for run in entry.runs]
        return grid, np.stack(values)

    @staticmethod
    def _widest(every: Sequence[np.ndarray]) -> np.ndarray:
        """Return the frames of the run that was measured least often; of several such, of the longest."""

        def apart(frames: np.ndarray) -> float:
            return round((frames[-1] - frames[0]) / (len(frames) - 1)) if len(frames) > 1 else 0

        return max(every, key=lambda frames: (apart(frames), frames[-1]))

    def statistics(self, task: str | None) -> tuple[dict[str, Estimate], list[tuple[str, str, Estimate]]]:
        """Return each method's interquartile mean, and how probably one is better than another; see `matrices`."""
        if task not in self._known:
            scores = self.matrices(task)
            means = {method: interquartile_mean(each) for method, each in scores.items()}
            if self.rate and task is not None:
                means = {method: each.within(0.0, 1.0) for method, each in means.items()}
            pairs = [(one, other, probability_of_improvement(scores[one], scores[other]))
                     for one, other in combinations(scores, 2)]  # fmt: skip
            self._known[task] = means, pairs
        return self._known[task]


def compare(
    paths: Sequence[Path],
    *,
    score: str = "last",
    metric: str = "eval/return",
    scale: Sequence[str] = (),
    anyway: bool = False,
) -> Comparison:
    """Compare runs of several recipes over seeds.

    Args:
        paths: run folders, or folders of seeds.
        score: what a run scores, see :data:`SCORES`.
        metric: of which column of the metrics.
        scale: to take tasks together as well: ``task=low:high`` for each, which become 0 and 1; or ``runs``, for the
            lowest and highest score on the task among the runs compared.
        anyway: compare what is not comparable, with a note.

    Raises:
        RunError: the runs are not comparable, or lack the metric, or the scale does not fit the tasks.
        DependencyError: rliable is missing.
    """
    if score not in SCORES:
        raise RunError(f"--score {score}: there is no such score.{nearest(score, SCORES)}")
    about = comparable(paths, anyway=anyway)
    series, about = _measured(about, metric, anyway)
    rate = all(interval(run, metric) is not None for run in series)
    found = Comparison(about, metric, score, series, {}, "", rate)
    if not scale:
        return found
    scales, by = _scales(found, scale)
    return replace(found, scales=scales, scaled_by=by)


def _measured(about: Comparable, metric: str, anyway: bool) -> tuple[dict[Path, Series], Comparable]:
    """Return the series of all runs, and what is compared: with ``anyway``, runs without the metric are left out.

    Raises:
        RunError: a run has no such metric, or with ``anyway`` none has.
    """
    series, problems = {}, []
    for run in (run for entry in about.entries for run in entry.runs):
        try:
            series[run] = from_run(run, metric)
        except RunError as error:
            problems.append(error)
    if problems and (not anyway or not series):
        raise problems[0]
    kept = [replace(entry, runs=tuple(run for run in entry.runs if run in series)) for entry in about.entries]
    notes = [f"{str(problem).rstrip('.')}; it is left out." for problem in problems]
    return series, Comparable(tuple(entry for entry in kept if entry.runs), (*notes, *about.notes))


def _scales(found: Comparison, texts: Sequence[str]) -> tuple[dict[str, tuple[float, float]], str]:
    about = found.about
    if not about.complete or any(
        len({len(entry.runs) for entry in about.entries if entry.method == method}) > 1 for method in about.methods
    ):
        raise RunError("--scale takes all tasks together: every method needs runs on each, and equally many.")
    scores = {task: np.concatenate([found.scores(entry) for entry in about.on(task)]) for task in about.tasks}
    if list(texts) == ["runs"]:
        scales = {task: (float(each.min()), float(each.max())) for task, each in scores.items()}
        by = "the runs compared"
    else:
        given = [_scale(text) for text in texts]
        scales, by = dict(given), "hand"
        for task, _ in given:
            if [each for each, _ in given].count(task) > 1:
                raise RunError(f"--scale {task}=...: '{task}' is given twice.")
            if task not in scores:
                raise RunError(f"--scale {task}=...: no task '{task}' is compared.{nearest(task, scores)}")
        for task in scores:
            if task not in scales:
                raise RunError(f"--scale: say what is 0 and 1 on '{task}' too, {task}=LOW:HIGH.")
    for task, (low, high) in scales.items():
        if low == high:
            raise RunError(f"--scale: on '{task}' both ends are {low:g}.")
        if not (low < high and math.isfinite(high - low)):
            raise RunError(f"--scale: on '{task}' {low:g} and {high:g} are not a lower and a higher finite number.")
    return scales, by


def _scale(text: str) -> tuple[str, tuple[float, float]]:
    task, _, ends = text.rpartition("=")
    low, _, high = ends.partition(":")
    try:
        return task, (float(low), float(high))
    except ValueError:
        raise RunError(f"--scale {text}: write TASK=LOW:HIGH, or runs.") from None
