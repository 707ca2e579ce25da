"""What the bound monitor logged, as a picture."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from hetrl.errors import RunError
from hetrl.report.curve import Series, frames_as_text
from hetrl.report.writable import written
from hetrl.runs.csv_table import FRAMES, TableRow, read
from hetrl.runs.folder import Folder

_PREFIX = "bound/"
_MEAN_OF = 5
"""Measurements in the running mean of the change."""


def draw(run: Path, to: Path) -> Path:
    """Draw what the bound monitor logged: a panel for each term of the bound, and one for the run's returns.

    "Promised" is the critic's gain per state times the mean episode length at that point of training: to first order,
    what the return should change by. An agent has the same colour in every panel.

    Args:
        run: the run's folder, or its table of metrics.
        to: the picture to write.

    Raises:
        RunError: the run has not been monitored, or the picture cannot be written.
    """
    logged = _Logged(read(run if run.is_file() else Folder(run).metrics))
    if not logged.has("change"):
        raise RunError(f"{run} has no figures of the bound; train with --monitor 5000, say.")
    figure = Figure(figsize=(16, 8.4), layout="constrained")
    axes = figure.subplots(2, 3, sharex=True)
    for axis, (title, panel) in zip(axes.flat, _PANELS.items(), strict=True):
        panel(logged, axis)
        axis.set_title(title, fontsize="medium")
        axis.grid(alpha=0.3)
        axis.xaxis.set_major_formatter(frames_as_text)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize="small")
        else:
            axis.text(0.5, 0.5, "not measured in this run", transform=axis.transAxes, ha="center", color="grey")
    for axis in axes[-1]:
        axis.set_xlabel("environment frames")
    with written(to) as half:
        figure.savefig(half, dpi=110)
    return to


class _Logged:
    """What was logged, and the colour of each agent."""

    def __init__(self, rows: Sequence[TableRow]) -> None:
        self._rows = rows
        names = sorted({name for row in rows for name in row if name.startswith(_PREFIX) and name.count("/") == 2})
        self.colours = {agent: f"C{i}" for i, agent in enumerate(dict.fromkeys(name.split("/")[1] for name in names))}

    def has(self, name: str) -> bool:
        return any(_PREFIX + name in row for row in self._rows)

    def points(self, name: str, prefix: str = _PREFIX) -> Series:
        """Return the frames and values of a figure."""
        found = [(row[FRAMES], row[prefix + name]) for row in self._rows if prefix + name in row]
        frames, values = np.array(found, dtype=float).reshape(-1, 2).T
        return frames, values

    def draw(self, axis: Axes, name: str, prefix: str = _PREFIX, **style: Any) -> None:
        """Draw a figure that was measured."""
        frames, values = self.points(name, prefix)
        if len(frames):
            axis.plot(frames, values, **style)

    def draw_agents(self, axis: Axes, name: str) -> None:
        """Draw a figure of every agent."""
        for agent, colour in self.colours.items():
            self.draw(axis, f"{agent}/{name}", color=colour, marker=".", linewidth=1, label=agent)


def _change(logged: _Logged, axis: Axes) -> None:
    frames, values = logged.points("change")
    error = logged.points("change_error")[1]
    axis.errorbar(frames, values, yerr=error, fmt=".", color="silver", capsize=2, label="measured, one standard error")
    if len(values) >= _MEAN_OF:
        mean = np.convolve(values, np.full(_MEAN_OF, 1 / _MEAN_OF), "valid")
        axis.plot(frames[_MEAN_OF // 2 :][: len(mean)], mean, color="black", label=f"mean of {_MEAN_OF}")
    at, gain = logged.points("gain")
    known, steps = logged.points("episode_length", "")
    if len(at) and len(known):
        axis.plot(at, gain * np.interp(at, known, steps), color="C3", label="promised")
    axis.axhline(0, color="grey", linewidth=0.6)


def _gain(logged: _Logged, axis: Axes) -> None:
    logged.draw_agents(axis, "gain")
    logged.draw(axis, "gain", color="black", linewidth=1.5, label="all")
    axis.axhline(0, color="grey", linewidth=0.6)


def _logarithmic(axis: Axes) -> None:
    """Scale where there is anything above 0, with plain numbers."""
    if any(np.greater(line.get_ydata(), 0).any() for line in axis.lines):
        axis.set_yscale("log")
        axis.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter("{x:g}")


def _kl(logged: _Logged, axis: Axes) -> None:
    logged.draw_agents(axis, "kl")
    _logarithmic(axis)


def _spread(logged: _Logged, axis: Axes) -> None:
    logged.draw_agents(axis, "least_eigenvalue")
    if axis.lines:
        axis.axhline(1 / 3, color="grey", linestyle="--", linewidth=1, label="of uniform actions")
    _logarithmic(axis)


def _critic(logged: _Logged, axis: Axes) -> None:
    for name, colour, label in (
        ("critic_bias", "black", "bias: value less return"),
        ("critic_error", "C3", "mean absolute error"),
        ("critic_spread", "C4", "spread of the ensemble"),
    ):
        logged.draw(axis, name, color=colour, marker=".", linewidth=1, label=label)
    axis.axhline(0, color="grey", linewidth=0.6)


def _returns(logged: _Logged, axis: Axes) -> None:
    logged.draw(axis, "return", "", color="silver", linewidth=0.8, label="while training")
    logged.draw(axis, "eval/return", "", color="black", marker=".", label="evaluation")


_PANELS: dict[str, Callable[[_Logged, Axes], None]] = {
    "What a sweep changed, and what it promised [reward an episode]": _change,
    "What each turn promised, by the critic [reward a state]": _gain,
    "KL of each agent's turn [nat]": _kl,
    "Least eigenvalue of an agent's actions [halves of the range, squared]": _spread,
    "Critic against fresh returns [reward]": _critic,
    "The run's return [reward an episode]": _returns,
}
