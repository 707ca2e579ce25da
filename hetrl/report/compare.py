"""Comparing recipes over seeds: one table and one picture."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import numpy as np
from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from hetrl.errors import RunError, nearest
from hetrl.report.comparable import Comparable, Entry, comparable, n_seeds
from hetrl.report.curve import frames_as_text, from_run
from hetrl.report.statistics import (
    FEWER_RESAMPLES,
    RESAMPLES,
    Estimate,
    interquartile_curve,
    interquartile_mean,
    probability_of_improvement,
)
from hetrl.report.target import written

Series = tuple[np.ndarray, np.ndarray]

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
        """Return the frames of a task's curves, and each run's values at them, ``[runs, points]``."""
        every = [self.series[run] for each in self.about.on(entry.task) for run in each.runs]
        first, last = max(frames[0] for frames, _ in every), min(frames[-1] for frames, _ in every)
        grid, _ = min(every, key=lambda series: len(series[0]))
        grid = grid[(grid >= first) & (grid <= last)]
        grid = grid[np.unique(np.linspace(0, len(grid) - 1, min(len(grid), _POINTS)).round().astype(int))]
        return grid, np.stack([np.interp(grid, *self.series[run]) for run in entry.runs])

    def statistics(self, task: str | None) -> tuple[dict[str, Estimate], list[tuple[str, str, Estimate]]]:
        """Return each method's interquartile mean, and how probably one is better than another; see `matrices`."""
        if task not in self._known:
            scores = self.matrices(task)
            means = {method: interquartile_mean(each) for method, each in scores.items()}
            pairs = [(one, other, probability_of_improvement(scores[one], scores[other]))
                     for one, other in combinations(scores, 2)]  # fmt: skip
            self._known[task] = means, pairs
        return self._known[task]

    def table(self) -> RenderableType:
        """Return all figures as text."""
        blocks: list[RenderableType] = [Text(line) for line in self._heading()]
        for task in [*self.about.tasks, *([None] if self.scales else [])]:
            means, pairs = self.statistics(task)
            grid = _grid(task or "all tasks, scaled", "seeds", "IQM", "95 % interval", "mean", "lowest", "highest")
            for method, scores in self.matrices(task).items():
                rest = [_number(value) for value in (scores.mean(), scores.min(), scores.max())]
                grid.add_row(Text(method), str(len(scores)), *_estimate(means[method]), *rest)
            blocks += [grid, *_pair_table(pairs)]
        if self.scales:
            ends = "; ".join(f"{task} {_number(low)} is 0, {_number(high)} is 1"
                             for task, (low, high) in self.scales.items())  # fmt: skip
            blocks.append(Text(f"Scaled by {self.scaled_by}: {ends}."))
        blocks += [Text(f"Note: {note}", style="yellow") for note in self.about.notes]
        return Group(*blocks)

    def _heading(self) -> list[str]:
        measured = self.about.entries[0].tree["run"]
        what = f"A run's score is {self.metric}: {SCORES[self.score][1]}."
        if self.metric.startswith("eval/"):
            what += f" An evaluation is {measured.get('n_eval_episodes', 64)} episodes with deterministic policies."
        return [
            what,
            "IQM: interquartile mean over seeds; intervals: percentile bootstrap over seeds within tasks "
            f"({RESAMPLES:,} resamples, {FEWER_RESAMPLES:,} for probabilities and curves).",
        ]

    def draw(self, path: Path) -> Path:
        """Draw curves, scores and probabilities into a PNG, one row for each task, and return its path."""
        from matplotlib import pyplot as plt

        rows: list[str | None] = [*self.about.tasks, *([None] if self.scales else [])]
        n_pairs = len(self.about.methods) * (len(self.about.methods) - 1) // 2
        widths = [2.2, 1.1] + ([1.9] if n_pairs else [])
        figure, axes = plt.subplots(
            len(rows), len(widths), figsize=(2.6 * sum(widths), max(3.4, 1 + 0.45 * n_pairs) * len(rows)),
            width_ratios=widths, squeeze=False, layout="constrained",
        )  # fmt: skip
        for row, task in zip(axes, rows, strict=True):
            if task is None:
                for method in self.about.methods:
                    row[0].plot([], [], color=self._color(method), linewidth=2, label=method)
                row[0].axis("off")
                row[0].legend(loc="center", title=f"all tasks, scaled by {self.scaled_by}", frameon=False)
            else:
                self._draw_curves(row[0], task)
            self._draw_scores(row[1], task)
            if n_pairs:
                _draw_pairs(row[2], self.statistics(task)[1])
        with written(path):
            figure.savefig(path, dpi=130)
        plt.close(figure)
        return path

    def _color(self, method: str) -> str:
        return f"C{self.about.methods.index(method)}"

    def _draw_curves(self, axis, task: str) -> None:  # type: ignore[no-untyped-def]
        for entry in self.about.on(task):
            frames, values = self.curve(entry)
            middle, low, high = interquartile_curve(values)
            color = self._color(entry.method)
            axis.plot(frames, middle, color=color, linewidth=2, label=f"{entry.method} ({n_seeds(len(values))})")
            if low is not None:
                axis.fill_between(frames, low, high, color=color, alpha=0.18, linewidth=0)
            for each in values:
                axis.plot(frames, each, color=color, alpha=0.25, linewidth=0.7)
        axis.set(title=task, xlabel="environment frames", ylabel=f"{self.metric}, interquartile mean")
        axis.grid(alpha=0.3)
        axis.legend(loc="best", fontsize="small")
        axis.xaxis.set_major_formatter(frames_as_text)

    def _draw_scores(self, axis, task: str | None) -> None:  # type: ignore[no-untyped-def]
        means, _ = self.statistics(task)
        for place, (method, scores) in enumerate(self.matrices(task).items()):
            color = self._color(method)
            axis.plot(scores.flatten(), np.full(scores.size, place), "o", color=color, alpha=0.35, markersize=5)
            _draw_estimate(axis, place, means[method], color)
        _label(axis, [""] * len(means))  # beside the legend a colour says enough
        axis.set(title="score" if task else "scaled score", xlabel=f"{self.metric}, {self.score}")


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
    series = {run: from_run(run, metric) for entry in about.entries for run in entry.runs}
    found = Comparison(about, metric, score, series, {}, "")
    if not scale:
        return found
    scales, by = _scales(found, scale)
    return Comparison(about, metric, score, series, scales, by)


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


def _grid(title: str, *columns: str) -> Table:
    grid = Table(Column(Text(title)), expand=False)
    for column in columns:
        grid.add_column(column, justify="right")
    return grid


def _number(value: float) -> str:
    return f"{value:.4g}"


def _estimate(found: Estimate) -> tuple[str, str]:
    if found.low is None or found.high is None:
        return _number(found.value), "-"
    return _number(found.value), f"{_number(found.low)} to {_number(found.high)}"


def _pair_table(pairs: Sequence[tuple[str, str, Estimate]]) -> list[Table]:
    grid = _grid("", "probability of a better score", "95 % interval")
    for one, other, found in pairs:
        grid.add_row(Text(f"{one} over {other}"), *_estimate(found))
    return [grid] if pairs else []


def _draw_estimate(axis, place: int, found: Estimate, color: str) -> None:  # type: ignore[no-untyped-def]
    if found.low is not None:
        axis.plot([found.low, found.high], [place, place], color=color, linewidth=7, alpha=0.3, solid_capstyle="butt")
    axis.plot([found.value] * 2, [place - 0.22, place + 0.22], color=color, linewidth=2.5)


def _label(axis, names: Sequence[str]) -> None:  # type: ignore[no-untyped-def]
    axis.set_yticks(range(len(names)), names, fontsize="small")
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.grid(alpha=0.3, axis="x")


def _draw_pairs(axis, pairs: Sequence[tuple[str, str, Estimate]]) -> None:  # type: ignore[no-untyped-def]
    for place, (_, _, found) in enumerate(pairs):
        _draw_estimate(axis, place, found, "0.25")
    axis.axvline(0.5, color="0.5", linewidth=1, linestyle=":")
    _label(axis, [f"{one}\nover {other}" for one, other, _ in pairs])
    axis.set(title="probability of improvement", xlabel="probability of a better score", xlim=(-0.03, 1.03))
