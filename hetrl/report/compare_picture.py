"""A comparison as a picture: curves of each task, and below them scores and probabilities."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from hetrl.report.compare import Comparison
from hetrl.report.curve import label_frames, seeds_in_words
from hetrl.report.legend import WIDE, Said, add_legend, captions, legend_height, letters
from hetrl.report.looks import Look, looks
from hetrl.report.statistics import ENOUGH, LEAST, Estimate, interquartile_curve
from hetrl.report.writable import written

_LETTERS = 16
"""Of a name beside an axis, at most."""


def draw(comparison: Comparison, path: Path) -> Path:
    """Draw curves, and below them scores and probabilities, into a picture, task by task, and return its path."""
    tasks, n_methods = comparison.about.tasks, len(comparison.about.methods)
    pairs = n_methods * (n_methods - 1) // 2 * (0.35 if _keyed(comparison) else 0.6)
    below = 1.4 + max(0.6 * n_methods, pairs, 1.0)
    heights = [height for _ in tasks for height in (3.6, below)] + [below] * bool(comparison.scales)
    labels, note = _captions(comparison)
    lines: dict[str, Line2D] = {}
    with letters(WIDE), written(path) as half:
        height = sum(heights) + legend_height(list(labels.values()), note, WIDE)
        figure = Figure(figsize=(WIDE, height), layout="constrained")
        grid = figure.add_gridspec(len(heights), 2, height_ratios=heights)
        for row, task in enumerate(tasks):
            axis = figure.add_subplot(grid[2 * row, :])
            _draw_curves(comparison, axis, task, labels)
            lines.update({text: line for line, text in zip(*axis.get_legend_handles_labels(), strict=True)})
            _draw_below(comparison, figure, (grid[2 * row + 1, 0], grid[2 * row + 1, 1]), task)
        if comparison.scales:
            _draw_below(comparison, figure, (grid[-1, 0], grid[-1, 1]), None)
        add_legend(figure, list(lines.values()), list(lines), note, WIDE)
        figure.savefig(half, dpi=130)
    return path


def _looks(comparison: Comparison) -> dict[str, Look]:
    """Return how each method is drawn."""
    recipes = {entry.method: entry.recipe for entry in comparison.about.entries}
    return dict(zip(recipes, looks(list(recipes.values())), strict=True))


def _keyed(comparison: Comparison) -> bool:
    """Whether methods have letters, as their names are too long to stand everywhere."""
    methods = comparison.about.methods
    return len(methods) <= len(ascii_uppercase) and max(map(len, methods)) > _LETTERS


def _short(comparison: Comparison, method: str) -> str:
    """Return a method's name, or its letter."""
    return ascii_uppercase[comparison.about.methods.index(method)] if _keyed(comparison) else method


def _captions(comparison: Comparison) -> tuple[dict[str, str], str]:
    """Return what the legend says of each method, and of all."""
    found: dict[str, dict[str, Said]] = {}
    for entry in comparison.about.entries:
        frames, values = comparison.curve(entry)
        found.setdefault(entry.task, {})[entry.method] = _seeds(len(values), list(_stretches(frames, values)))
    labels, note = captions(found)
    if _keyed(comparison):
        labels = {method: f"{_short(comparison, method)}: {label}" for method, label in labels.items()}
    return labels, note


def _draw_curves(comparison: Comparison, axis: Axes, task: str, labels: Mapping[str, str]) -> None:
    found = _looks(comparison)
    for entry in comparison.about.on(task):
        look = found[entry.method]
        label: str | None = labels[entry.method]
        for some, there in _stretches(*comparison.curve(entry)):
            middle, low, high = interquartile_curve(there)
            dot = "o" if len(some) == 1 else None  # a line of one point would not be seen
            axis.plot(some, middle, color=look.color, linestyle=look.line, label=label, marker=dot, markersize=4)
            if low is not None and high is not None:
                ends = np.clip([low, high], 0, 1) if comparison.rate else (low, high)
                axis.fill_between(some, *ends, color=look.color, alpha=0.18, linewidth=0)
            label = None
        for run in entry.runs:
            axis.plot(*comparison.series[run], color=look.color, alpha=0.25, linewidth=0.7)
    axis.set(title=task, ylabel=f"{comparison.metric},\ninterquartile mean")
    axis.grid(alpha=0.3)
    label_frames(axis)


def _stretches(frames: np.ndarray, values: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield frames over which the same seeds are there, and the values of those."""
    there = ~np.isnan(values)
    changes = np.flatnonzero((there[:, 1:] != there[:, :-1]).any(0)) + 1
    for columns in np.split(np.arange(len(frames)), changes):
        rows = there[:, columns[0]]
        if rows.any():
            yield frames[columns], values[rows][:, columns]


def _seeds(n_all: int, found: Sequence[tuple[np.ndarray, np.ndarray]]) -> Said:
    """Return how many seeds there are, from where on fewer, and which intervals are drawn."""
    counts = [(float(frames[0]), len(there)) for frames, there in found]
    kinds = ["bootstrap" if count >= ENOUGH else "t-interval of the mean" for _, count in counts if count >= LEAST]
    return seeds_in_words(n_all, counts), f"95 % {', then '.join(dict.fromkeys(kinds))}" if kinds else ""


def _draw_below(comparison: Comparison, figure: Figure, places: Sequence[SubplotSpec], task: str | None) -> None:
    """Draw the scores on a task, or on all, and beside them who is better how probably."""
    _, pairs = comparison.statistics(task)
    _draw_scores(comparison, figure.add_subplot(places[0]), task)
    if pairs:
        _draw_pairs(comparison, figure.add_subplot(places[1]), pairs)


def _draw_scores(comparison: Comparison, axis: Axes, task: str | None) -> None:
    means, _ = comparison.statistics(task)
    found = _looks(comparison)
    for y, (method, scores) in enumerate(comparison.matrices(task).items()):
        color = found[method].color
        axis.plot(scores.flatten(), np.full(scores.size, y), "o", color=color, alpha=0.35, markersize=6)
        _draw_estimate(axis, y, means[method], color)
    _label(axis, [_short(comparison, method) for method in means])
    axis.xaxis.set_major_locator(MaxNLocator(nbins=4))
    title = "score" if task else f"all tasks, scaled by {comparison.scaled_by}"
    axis.set(title=textwrap.fill(title, 36), xlabel=f"{comparison.metric}, {comparison.score}")


def _draw_estimate(axis: Axes, y: int, found: Estimate, color: str) -> None:
    if found.low is not None and found.high is not None:
        axis.plot([found.low, found.high], [y, y], color=color, linewidth=8, alpha=0.3, solid_capstyle="butt")
    axis.plot([found.value] * 2, [y - 0.22, y + 0.22], color=color, linewidth=3)


def _label(axis: Axes, names: Sequence[str]) -> None:
    axis.set_yticks(range(len(names)), names, fontsize="small")
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.grid(alpha=0.3, axis="x")


def _draw_pairs(comparison: Comparison, axis: Axes, pairs: Sequence[tuple[str, str, Estimate]]) -> None:
    for y, (_, _, found) in enumerate(pairs):
        _draw_estimate(axis, y, found, "0.25")
    axis.axvline(0.5, color="0.5", linewidth=1.5, linestyle=":")
    between = " over " if _keyed(comparison) else "\nover "
    _label(axis, [between.join(_short(comparison, method) for method in pair) for *pair, _ in pairs])
    axis.set(title="probability of improvement", xlabel="of a better score", xlim=(-0.05, 1.05), xticks=(0, 0.5, 1))
