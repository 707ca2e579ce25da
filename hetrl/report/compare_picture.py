"""A comparison as a picture: curves, scores and probabilities, one row for each task."""

import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import ascii_uppercase

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hetrl.report.compare import Comparison
from hetrl.report.curve import add_legend, label_frames, seeds_in_words
from hetrl.report.statistics import ENOUGH, LEAST, Estimate, interquartile_curve
from hetrl.report.writable import written

_LETTERS = 22
"""Of a line of a label, at most."""


def draw(comparison: Comparison, path: Path) -> Path:
    """Draw curves, scores and probabilities into a picture, one row for each task, and return its path."""
    rows: list[str | None] = [*comparison.about.tasks, *([None] if comparison.scales else [])]
    n_pairs = len(comparison.about.methods) * (len(comparison.about.methods) - 1) // 2
    widths = [2.2, 1.6] + ([1.9] if n_pairs else [])
    n_methods = len(comparison.about.methods)
    size = 2.6 * sum(widths), max(3.4, 1 + 0.3 * n_pairs, 1 + 0.6 * n_methods) * len(rows)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(rows), len(widths), width_ratios=widths, squeeze=False)
    for row, task in zip(axes, rows, strict=True):
        if task is None:
            for method in comparison.about.methods:
                row[0].plot([], [], color=_color(comparison, method), linewidth=2, label=method)
            row[0].axis("off")
            row[0].legend(loc="center", title=f"all tasks, scaled by {comparison.scaled_by}", frameon=False)
        else:
            _draw_curves(comparison, row[0], task)
        _draw_scores(comparison, row[1], task)
        if n_pairs:
            _draw_pairs(comparison, row[2], comparison.statistics(task)[1])
    with written(path) as half:
        figure.savefig(half, dpi=130)
    return path


def _color(comparison: Comparison, method: str) -> str:
    return f"C{comparison.about.methods.index(method)}"


def _keyed(comparison: Comparison) -> bool:
    """Whether methods have letters, as their names are too long to stand everywhere."""
    methods = comparison.about.methods
    return len(methods) <= len(ascii_uppercase) and max(map(len, methods)) > _LETTERS


def _short(comparison: Comparison, method: str) -> str:
    """Return a method's name, or its letter."""
    return ascii_uppercase[comparison.about.methods.index(method)] if _keyed(comparison) else method


def _draw_curves(comparison: Comparison, axis: Axes, task: str) -> None:
    for entry in comparison.about.on(task):
        frames, values = comparison.curve(entry)
        color = _color(comparison, entry.method)
        found = list(_stretches(frames, values))
        label: str | None = f"{_short(comparison, entry.method)} ({_seeds(len(values), found)})"
        for some, there in found:
            middle, low, high = interquartile_curve(there)
            dot = "o" if len(some) == 1 else None  # a line of one point would not be seen
            axis.plot(some, middle, color=color, linewidth=2, label=label, marker=dot, markersize=4)
            if low is not None and high is not None:
                ends = np.clip([low, high], 0, 1) if comparison.rate else (low, high)
                axis.fill_between(some, *ends, color=color, alpha=0.18, linewidth=0)
            label = None
        for run in entry.runs:
            axis.plot(*comparison.series[run], color=color, alpha=0.25, linewidth=0.7)
    axis.set(title=task, ylabel=f"{comparison.metric}, interquartile mean")
    axis.grid(alpha=0.3)
    label_frames(axis)
    add_legend(axis)


def _stretches(frames: np.ndarray, values: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield frames over which the same seeds are there, and the values of those."""
    there = ~np.isnan(values)
    changes = np.flatnonzero((there[:, 1:] != there[:, :-1]).any(0)) + 1
    for columns in np.split(np.arange(len(frames)), changes):
        rows = there[:, columns[0]]
        if rows.any():
            yield frames[columns], values[rows][:, columns]


def _seeds(n_all: int, found: Sequence[tuple[np.ndarray, np.ndarray]]) -> str:
    """Return how many seeds there are, from where on fewer, and which intervals are drawn."""
    counts = [(float(frames[0]), len(there)) for frames, there in found]
    kinds = ["bootstrap" if count >= ENOUGH else "t-interval of the mean" for _, count in counts if count >= LEAST]
    interval = f"; 95 % {', then '.join(dict.fromkeys(kinds))}" if kinds else ""
    return seeds_in_words(n_all, counts) + interval


def _draw_scores(comparison: Comparison, axis: Axes, task: str | None) -> None:
    means, _ = comparison.statistics(task)
    for y, (method, scores) in enumerate(comparison.matrices(task).items()):
        color = _color(comparison, method)
        axis.plot(scores.flatten(), np.full(scores.size, y), "o", color=color, alpha=0.35, markersize=5)
        _draw_estimate(axis, y, means[method], color)
    keyed = _keyed(comparison)
    named = [f"{_short(comparison, method)}: {method}" if keyed else method for method in means]
    _label(axis, [textwrap.fill(name, _LETTERS, break_long_words=False) for name in named])
    axis.set(title="score" if task else "scaled score", xlabel=f"{comparison.metric}, {comparison.score}")


def _draw_estimate(axis: Axes, y: int, found: Estimate, color: str) -> None:
    if found.low is not None and found.high is not None:
        axis.plot([found.low, found.high], [y, y], color=color, linewidth=7, alpha=0.3, solid_capstyle="butt")
    axis.plot([found.value] * 2, [y - 0.22, y + 0.22], color=color, linewidth=2.5)


def _label(axis: Axes, names: Sequence[str]) -> None:
    axis.set_yticks(range(len(names)), names, fontsize="small")
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.grid(alpha=0.3, axis="x")


def _draw_pairs(comparison: Comparison, axis: Axes, pairs: Sequence[tuple[str, str, Estimate]]) -> None:
    for y, (_, _, found) in enumerate(pairs):
        _draw_estimate(axis, y, found, "0.25")
    axis.axvline(0.5, color="0.5", linewidth=1, linestyle=":")
    _label(axis, [f"{_short(comparison, one)} over {_short(comparison, other)}" for one, other, _ in pairs])
    axis.set(title="probability of improvement", xlabel="probability of a better score", xlim=(-0.03, 1.03))
