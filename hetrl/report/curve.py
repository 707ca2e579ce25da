"""Learning curves as pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # not pyplot, which would choose a backend and keep the figure

from hetrl.errors import RunError, nearest
from hetrl.report.writable import PICTURES, check_writable, written
from hetrl.runs.csv_table import FRAMES, read
from hetrl.runs.folder import Folder
from hetrl.runs.several import by_seed, folder_name, run_folders

Series = tuple[np.ndarray, np.ndarray]
"""Frames and values of a metric."""


@dataclass(frozen=True)
class Curve:
    """What is drawn in one colour: a name and the series of each seed."""

    name: str
    series: Sequence[Series]


def draw_runs(runs: Sequence[Path], metric: str | None, path: Path) -> Path:
    """Draw the learning curves of runs into a picture and return its path; seeds of one recipe are one curve.

    Args:
        runs: run folders, or folders of seeds.
        metric: a column of their metrics; by default ``eval/return`` where all have it, else ``return``.
        path: the picture.

    Raises:
        RunError: a folder is no run, or lacks the metric, or the picture cannot be written.
    """
    check_writable(path, PICTURES)
    runs = run_folders(runs)
    chosen = metric or _metric(runs)
    names = {run: _name(run) for run in runs}
    groups = by_seed(runs)
    firsts = [names[members[0]] for members in groups]
    curves = [
        Curve(
            name if firsts.count(name) == 1 else f"{name}: {folder_name(members)}",
            [from_run(run, chosen) for run in members],
        )
        for name, members in zip(firsts, groups, strict=True)
    ]
    return draw(curves, path, ylabel=chosen)


def _metric(runs: Sequence[Path]) -> str:
    every = [any("eval/return" in row for row in read(Folder(run).metrics)) for run in runs]
    return "eval/return" if all(every) else "return"


def _name(run: Path) -> str:
    tree = Folder(run).tree()
    about = str(tree.get("about") or run.name).split(".")[0]
    task = tree["task"]
    return f"{about}, {task.get('scenario', task['use'])}" if isinstance(task, dict) else about


def from_run(run: Path, metric: str) -> Series:
    """Return frames and values of a metric of one run.

    Raises:
        RunError: the run has no such metric.
    """
    rows = read(Folder(run).metrics)
    points = [(row[FRAMES], row[metric]) for row in rows if metric in row]
    if not points:
        known = {name for row in rows for name in row} - {FRAMES}
        raise RunError(f"{run} has no metric '{metric}'.{nearest(metric, known)}")
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
    """Draw curves into a picture: the mean over seeds with its interval, the seeds themselves as thin lines."""
    return draw_panels({title: curves}, path, ylabel=ylabel)


def draw_panels(panels: Mapping[str, Sequence[Curve]], path: Path, *, ylabel: str) -> Path:
    """Draw several pictures, one for each title: up to three side by side, more in rows of two."""
    columns = len(panels) if len(panels) <= 3 else 2
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(6.4 * columns, 4.2 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    for axis, (title, curves) in zip(axes.flat, panels.items(), strict=False):
        for index, curve in enumerate(curves):
            _draw_curve(axis, curve, f"C{index}")
        axis.set(title=title, xlabel="environment frames", ylabel=ylabel)
        axis.grid(alpha=0.3)
        axis.legend(loc="best", fontsize="small")
        axis.xaxis.set_major_formatter(frames_as_text)
    with written(path) as half:
        figure.savefig(half, dpi=130)
    return path


def _draw_curve(axis: Axes, curve: Curve, color: str) -> None:
    frames, mean, low, high = interval(curve)
    count = len(curve.series)
    seeds = {1: "1 seed", 2: "2 seeds"}.get(count, f"{count} seeds, 95 % interval of the mean")
    axis.plot(frames, mean, color=color, linewidth=2, label=f"{curve.name} ({seeds})")
    axis.fill_between(frames, low, high, color=color, alpha=0.15, linewidth=0)
    if count > 1:
        for own_frames, values in curve.series:
            axis.plot(own_frames, values, color=color, alpha=0.35, linewidth=0.8)


def frames_as_text(value: float, position: float | None = None) -> str:
    """Return frames as short text; matplotlib gives the tick's position too."""
    return f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k" if value else "0"
