"""A comparison as a picture: curves, scores and probabilities, one row for each task."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hetrl.report.comparable import n_seeds
from hetrl.report.compare import Comparison
from hetrl.report.curve import frames_as_text
from hetrl.report.statistics import Estimate, interquartile_curve
from hetrl.report.writable import written


def draw(comparison: Comparison, path: Path) -> Path:
    """Draw curves, scores and probabilities into a picture, one row for each task, and return its path."""
    rows: list[str | None] = [*comparison.about.tasks, *([None] if comparison.scales else [])]
    n_pairs = len(comparison.about.methods) * (len(comparison.about.methods) - 1) // 2
    widths = [2.2, 1.1] + ([1.9] if n_pairs else [])
    size = 2.6 * sum(widths), max(3.4, 1 + 0.45 * n_pairs) * len(rows)
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
            _draw_pairs(row[2], comparison.statistics(task)[1])
    with written(path) as half:
        figure.savefig(half, dpi=130)
    return path


def _color(comparison: Comparison, method: str) -> str:
    return f"C{comparison.about.methods.index(method)}"


def _draw_curves(comparison: Comparison, axis: Axes, task: str) -> None:
    for entry in comparison.about.on(task):
        frames, values = comparison.curve(entry)
        middle, low, high = interquartile_curve(values)
        color = _color(comparison, entry.method)
        axis.plot(frames, middle, color=color, linewidth=2, label=f"{entry.method} ({n_seeds(len(values))})")
        if low is not None and high is not None:
            axis.fill_between(frames, low, high, color=color, alpha=0.18, linewidth=0)
        for each in values:
            axis.plot(frames, each, color=color, alpha=0.25, linewidth=0.7)
    axis.set(title=task, xlabel="environment frames", ylabel=f"{comparison.metric}, interquartile mean")
    axis.grid(alpha=0.3)
    axis.legend(loc="best", fontsize="small")
    axis.xaxis.set_major_formatter(frames_as_text)


def _draw_scores(comparison: Comparison, axis: Axes, task: str | None) -> None:
    means, _ = comparison.statistics(task)
    for y, (method, scores) in enumerate(comparison.matrices(task).items()):
        color = _color(comparison, method)
        axis.plot(scores.flatten(), np.full(scores.size, y), "o", color=color, alpha=0.35, markersize=5)
        _draw_estimate(axis, y, means[method], color)
    _label(axis, [""] * len(means))  # beside the legend a colour says enough
    axis.set(title="score" if task else "scaled score", xlabel=f"{comparison.metric}, {comparison.score}")


def _draw_estimate(axis: Axes, y: int, found: Estimate, color: str) -> None:
    if found.low is not None and found.high is not None:
        axis.plot([found.low, found.high], [y, y], color=color, linewidth=7, alpha=0.3, solid_capstyle="butt")
    axis.plot([found.value] * 2, [y - 0.22, y + 0.22], color=color, linewidth=2.5)


def _label(axis: Axes, names: Sequence[str]) -> None:
    axis.set_yticks(range(len(names)), names, fontsize="small")
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.grid(alpha=0.3, axis="x")


def _draw_pairs(axis: Axes, pairs: Sequence[tuple[str, str, Estimate]]) -> None:
    for y, (_, _, found) in enumerate(pairs):
        _draw_estimate(axis, y, found, "0.25")
    axis.axvline(0.5, color="0.5", linewidth=1, linestyle=":")
    _label(axis, [f"{one}\nover {other}" for one, other, _ in pairs])
    axis.set(title="probability of improvement", xlabel="probability of a better score", xlim=(-0.03, 1.03))
