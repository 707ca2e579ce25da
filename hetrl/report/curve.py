"""Learning curves as pictures."""

import textwrap
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # not pyplot, which would choose a backend and keep the figure
from matplotlib.ticker import MaxNLocator

from hetrl.errors import HetrlWarning, RunError, nearest
from hetrl.report.legend import NARROW, WIDE, Said, add_legend, captions, legend_height, letters
from hetrl.report.looks import Look, looks
from hetrl.report.writable import PICTURES, check_writable, written
from hetrl.runs.csv_table import FRAMES, read
from hetrl.runs.folder import Folder
from hetrl.runs.several import by_seed, folder_name, method_name, run_folders

Series = tuple[np.ndarray, np.ndarray]
"""Frames and values of a metric."""
_POINTS = 200
"""Of a stretch of a curve."""
_FEWEST_FRAMES = 10
"""That an axis spans."""


@dataclass(frozen=True)
class Curve:
    """What is drawn in one colour: a name and the series of each seed."""

    name: str
    series: Sequence[Series]
    within: tuple[np.ndarray, np.ndarray] | None = None
    """Of one seed: the ends of its values' own intervals, where it has such; see :func:`interval`."""
    recipe: str = ""
    """What gives the curve its look, see :func:`hetrl.report.looks.looks`; the name, unless another one is given."""


def draw_runs(runs: Sequence[Path], metric: str | None, path: Path) -> Path:
    """Draw the learning curves of runs into a picture and return its path; seeds of one recipe are one curve.

    Args:
        runs: run folders, or folders of seeds.
        metric: a column of their metrics; by default ``eval/return`` where all that have begun have it, else
            ``return``. A run without it is left out, with a warning.
        path: the picture.

    Raises:
        RunError: a folder is no run, or all lack the metric, or the picture cannot be written.
    """
    check_writable(path, PICTURES)
    series, chosen = _measured(run_folders(runs), metric)
    names = {run: _name(run) for run in series}
    groups = by_seed(list(series))
    called = [names[members[0]] for members in groups]
    for more in (folder_name, lambda members: members[0].name):  # as much as tells them apart
        called = [
            name if called.count(name) == 1 else f"{names[members[0]]}: {more(members)}"
            for name, members in zip(called, groups, strict=True)
        ]
    curves = [
        Curve(
            name, [series[run] for run in members], interval(members[0], chosen) if len(members) == 1 else None,
            method_name(members[0]),
        )
        for name, members in zip(called, groups, strict=True)
    ]  # fmt: skip
    return draw(curves, path, ylabel=chosen)


def _measured(runs: Sequence[Path], metric: str | None) -> tuple[dict[Path, Series], str]:
    """Return the series of all runs that have the metric, and the metric; the others are named in a warning each.

    Raises:
        RunError: none has it.
    """
    begun = [run for run in runs if Folder(run).metrics.exists() and read(Folder(run).metrics)]
    chosen = metric or _metric(begun or runs)
    found, problems = {}, []
    for run in runs:
        try:
            found[run] = from_run(run, chosen)
        except RunError as error:
            problems.append(error)
    if not found:
        raise problems[0]
    for problem in problems:
        warnings.warn(f"{str(problem).rstrip('.')}; it is left out.", HetrlWarning, stacklevel=2)
    return found, chosen


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
        RunError: the run has no such metric, or has logged nothing yet.
    """
    rows = read(Folder(run).metrics)
    if not rows:
        raise RunError(f"{run} has logged nothing yet.")
    points = [(row[FRAMES], row[metric]) for row in rows if metric in row]
    if not points:
        known = {name for row in rows for name in row} - {FRAMES}
        raise RunError(f"{run} has no metric '{metric}'.{nearest(metric, known)}")
    frames, values = np.array(points).T
    return frames, values


def interval(run: Path, metric: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the ends of a rate's interval over the episodes of each evaluation, as metrics have them.

    None where the metric is no rate (see ``Episodes.rates``), or was none in some evaluation.
    """
    rows = [row for row in read(Folder(run).metrics) if metric in row]
    ends = [(row[f"{metric}_low"], row[f"{metric}_high"]) for row in rows if f"{metric}_low" in row]
    if not ends or len(ends) < len(rows):
        return None
    low, high = np.array(ends).T
    return low, high


@dataclass(frozen=True)
class Stretch:
    """Frames over which the same seeds are there, their mean, and its 95 % interval."""

    frames: np.ndarray
    mean: np.ndarray
    half: np.ndarray
    """Half the interval's width; 0 of fewer than three seeds, of which none is drawn."""
    count: int
    """How many seeds."""


def stretches(curve: Curve) -> list[Stretch]:
    """Return the mean over seeds, stretch by stretch: where a seed stops, the others go on without it.

    Seeds are read off at common frames, by linear interpolation between their own, from where all have begun. One seed
    has no interval, and that of two (12.7 standard errors to either side) is left out too: both are drawn.
    """
    lasts = [frames[-1] for frames, _ in curve.series]
    start = min(max(frames[0] for frames, _ in curve.series), max(lasts))
    found = []
    for end in sorted({last for last in lasts if last > start} or {start}):
        there = [series for series, last in zip(curve.series, lasts, strict=True) if last >= end]
        grid = np.linspace(start, end, _POINTS)
        values = np.stack([np.interp(grid, *series) for series in there])
        half = half_width(values) if len(values) > 2 else np.zeros(len(grid))
        found.append(Stretch(grid, values.mean(0), half, len(values)))
        start = end
    return found


def seeds_in_words(n_all: int, counts: Sequence[tuple[float, int]]) -> str:
    """Return how many seeds a curve has, and from where on it has fewer.

    Args:
        n_all: how many in all.
        counts: the frames at which a stretch begins, and how many seeds are in it.

    >>> seeds_in_words(3, [(0, 3), (40_000, 2)])
    '3 seeds, 2 from 40k on'
    """
    said, before = ["1 seed" if n_all == 1 else f"{n_all} seeds"], n_all
    for start, count in counts:
        if count != before:
            said.append(f"{count} from {frames_as_text(start)} on")
        before = count
    return ", ".join(said)


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


def draw_panels(
    panels: Mapping[str, Sequence[Curve]], path: Path, *, ylabel: str, ylim: tuple[float, float] | None = None
) -> Path:
    """Draw a picture with axes for each title, in rows of two; a name looks the same in all of them.

    Args:
        panels: title -> its curves.
        path: of the picture.
        ylabel: what is drawn.
        ylim: the ends of what can be; an interval of a mean may reach beyond.
    """
    columns = 1 if len(panels) == 1 else 2
    rows, width = -(-len(panels) // columns), NARROW if columns == 1 else WIDE
    every = list({curve.name: curve for curves in panels.values() for curve in curves}.values())
    look = dict(zip([each.name for each in every], looks([each.recipe or each.name for each in every]), strict=True))
    labels, note = captions({title: {each.name: _said(each) for each in curves} for title, curves in panels.items()})
    height = 3.4 * rows + (legend_height(list(labels.values()), note, width) if rows * columns == len(panels) else 0.0)
    with letters(width), written(path) as half:
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        for axis, (title, curves) in zip(axes.flat, panels.items(), strict=False):
            for curve in curves:
                _draw_curve(axis, curve, look[curve.name], labels[curve.name])
            axis.set(title=title, ylim=ylim)
            axis.grid(alpha=0.3)
            label_frames(axis)
        if len(panels) == 1:
            axes[0, 0].set_ylabel(textwrap.fill(ylabel, 32))
        else:
            figure.supylabel(ylabel, fontsize="medium")
        lines = {text: line for axis in axes.flat for line, text in zip(*axis.get_legend_handles_labels(), strict=True)}
        free = axes.flat[len(panels) :]
        for axis in free:
            axis.axis("off")
        add_legend(free[-1] if len(free) else figure, list(lines.values()), list(lines), note, width)
        figure.savefig(half, dpi=130)
    return path


def _said(curve: Curve) -> Said:
    """Return how many seeds a curve has, and which intervals are drawn."""
    found = stretches(curve)
    kinds = ["95 % t-interval of the mean"] if any(each.count > 2 for each in found) else []
    kinds += ["95 % of its episodes"] if curve.within is not None else []
    return seeds_in_words(len(curve.series), [(each.frames[0], each.count) for each in found]), "; ".join(kinds)


def _draw_curve(axis: Axes, curve: Curve, look: Look, text: str) -> None:
    if curve.within is not None:
        axis.fill_between(curve.series[0][0], *curve.within, color=look.color, alpha=0.15, linewidth=0)
    label: str | None = text
    for each in stretches(curve):
        dot = "o" if each.frames[0] == each.frames[-1] else None  # a line of one point would not be seen
        axis.plot(each.frames, each.mean, color=look.color, linestyle=look.line, label=label, marker=dot, markersize=4)
        low, high = each.mean - each.half, each.mean + each.half
        axis.fill_between(each.frames, low, high, color=look.color, alpha=0.15, linewidth=0)
        label = None
    if len(curve.series) > 1:
        for own_frames, values in curve.series:
            axis.plot(own_frames, values, color=look.color, alpha=0.35, linewidth=0.8)


def label_frames(axis: Axes) -> None:
    """Write frames below an axis: whole, none below 0, and few enough to be read."""
    axis.set_xlabel("environment frames")
    left = max(axis.get_xlim()[0], 0.0)
    axis.set_xlim(left, max(axis.get_xlim()[1], left + _FEWEST_FRAMES))
    axis.xaxis.set_major_locator(MaxNLocator(nbins=5, integer=True, min_n_ticks=2))
    axis.xaxis.set_major_formatter(frames_as_text)


def frames_as_text(value: float, position: float | None = None) -> str:
    """Return frames as short text; matplotlib gives the tick's position too. There are none below 0.

    >>> frames_as_text(1_250_000), frames_as_text(6400), frames_as_text(50), frames_as_text(-0.04)
    ('1.25M', '6.4k', '50', '')
    """
    if value < 0:
        return ""
    return f"{value / 1e6:.4g}M" if value >= 1e6 else f"{value / 1e3:.4g}k" if value >= 1e3 else f"{value:.4g}"
