"""Learning curves as pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np

from hetrl.errors import RunError, nearest
from hetrl.report.writable import written
from hetrl.runs.csv_table import FRAMES, read

matplotlib.use("Agg")


@dataclass(frozen=True)
class Curve:
    """One line of a picture: a name and one (frames, value) series for each seed."""

    name: str
    series: Sequence[tuple[np.ndarray, np.ndarray]]


def from_run(folder: Path, metric: str) -> tuple[np.ndarray, np.ndarray]:
    """Return frames and values of a metric of one run.

    Raises:
        RunError: the run has no such metric.
    """
    rows = read(folder / "metrics.csv")
    points = [(row[FRAMES], row[metric]) for row in rows if metric in row]
    if not points:
        known = {name for row in rows for name in row} - {FRAMES}
        raise RunError(f"{folder} has no metric '{metric}'.{nearest(metric, known)}")
    frames, values = np.array(points).T
    return frames, values


def interval(curve: Curve, n_points: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return frames, mean, and the lower and upper end of the mean's 95 % interval over seeds (Student's t).

    Seeds are read off at common frames, by linear interpolation between their own. One seed has no interval, and that
    of two (12.7 standard errors to either side) is left out too: both are drawn.
    """
    first = max(frames[0] for frames, _ in curve.series)
    last = min(frames[-1] for frames, _ in curve.series)
    grid = np.linspace(first, last, n_points)
    values = np.stack([np.interp(grid, frames, series) for frames, series in curve.series])
    mean, count = values.mean(0), len(values)
    if count <= 2:
        return grid, mean, mean, mean
    half = half_width(values)
    return grid, mean, mean - half, mean + half


def half_width(values: np.ndarray) -> np.ndarray:
    """Return half the width of the 95 % interval of the mean over dimension 0 (Student's t); of at least two values."""
    freedom = len(values) - 1
    # Beyond the table, the first terms of its expansion around the normal distribution's: within 0.3 % of it.
    t = _T_95[freedom - 1] if freedom <= len(_T_95) else 1.960 + 2.372 / freedom + 2.82 / freedom**2
    return t * values.std(0, ddof=1) / np.sqrt(len(values))


_T_95 = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""97.5 % quantiles of Student's t for 1 to 10 degrees of freedom."""


def draw(curves: Sequence[Curve], path: Path, *, ylabel: str, title: str = "") -> Path:
    """Draw curves into a PNG: the mean over seeds with its interval, the seeds themselves as thin lines."""
    return draw_panels({title: curves}, path, ylabel=ylabel)


def draw_panels(panels: Mapping[str, Sequence[Curve]], path: Path, *, ylabel: str) -> Path:
    """Draw several pictures, one for each title: up to three side by side, more in rows of two."""
    from matplotlib import pyplot as plt

    columns = len(panels) if len(panels) <= 3 else 2
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(6.4 * columns, 4.2 * rows), squeeze=False, layout="constrained")
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    for axis, (title, curves) in zip(axes.flat, panels.items(), strict=False):
        for index, curve in enumerate(curves):
            color = f"C{index}"
            frames, mean, low, high = interval(curve)
            count = len(curve.series)
            seeds = {1: "1 seed", 2: "2 seeds"}.get(count, f"{count} seeds, 95 % interval of the mean")
            axis.plot(frames, mean, color=color, linewidth=2, label=f"{curve.name} ({seeds})")
            axis.fill_between(frames, low, high, color=color, alpha=0.15, linewidth=0)
            if count > 1:
                for own_frames, values in curve.series:
                    axis.plot(own_frames, values, color=color, alpha=0.35, linewidth=0.8)
        axis.set(title=title, xlabel="environment frames", ylabel=ylabel)
        axis.grid(alpha=0.3)
        axis.legend(loc="best", fontsize="small")
        axis.xaxis.set_major_formatter(frames_as_text)
    with written(path):
        figure.savefig(path, dpi=130)
    plt.close(figure)
    return path


def frames_as_text(value: float, place: int | None = None) -> str:
    """Return frames as short text; matplotlib adds the tick's place."""
    return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k" if value else "0"
