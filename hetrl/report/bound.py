"""The page of the bound monitor, from a run's metrics."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hetrl.errors import RunError
from hetrl.report.curve import frames_as_text
from hetrl.runs.csv_table import FRAMES, read

_PREFIX = "bound/"
_MEAN_OF = 5
Points = tuple[np.ndarray, np.ndarray]
"""Frames and values."""


def draw(run: Path, to: Path) -> Path:
    """Draw what the bound monitor logged into a PNG, one panel for each term, and the run's returns beside them.

    Promised is what the critic says of a state, times the steps of an episode of the time: the first order of what the
    return should change by. Agents have the same colour in every panel.

    Args:
        run: the run's folder, or its table of metrics.
        to: the picture to write.

    Raises:
        RunError: the run has not been monitored.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    page = _Page(read(run if run.is_file() else run / "metrics.csv"))
    if not page.has("change"):
        raise RunError(f"{run} has no figures of the bound; train with --monitor 5000, say.")
    figure, axes = plt.subplots(2, 3, figsize=(16, 8.4), sharex=True, layout="constrained")
    for axis, (title, panel) in zip(axes.flat, _PANELS.items(), strict=True):
        panel(page, axis)
        axis.set_title(title, fontsize="medium")
        axis.grid(alpha=0.3)
        axis.xaxis.set_major_formatter(frames_as_text)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize="small")
        else:
            axis.text(0.5, 0.5, "not measured in this run", transform=axis.transAxes, ha="center", color="grey")
    for axis in axes[-1]:
        axis.set_xlabel("environment frames")
    to.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(to, dpi=110)
    plt.close(figure)
    return to


class _Page:
    """What was logged, and the colour of each agent."""

    def __init__(self, rows: Sequence[dict[str, float]]) -> None:
        self._rows = rows
        names = sorted({name for row in rows for name in row if name.startswith(_PREFIX) and name.count("/") == 2})
        self.colours = {agent: f"C{i}" for i, agent in enumerate(dict.fromkeys(name.split("/")[1] for name in names))}

    def has(self, name: str) -> bool:
        return any(_PREFIX + name in row for row in self._rows)

    def points(self, name: str, prefix: str = _PREFIX) -> Points:
        """Return the frames and values of a figure."""
        found = [(row[FRAMES], row[prefix + name]) for row in self._rows if prefix + name in row]
        frames, values = np.array(found, dtype=float).reshape(-1, 2).T
        return frames, values

    def line(self, axis: Any, name: str, prefix: str = _PREFIX, **style: Any) -> None:
        """Draw a figure that was measured."""
        frames, values = self.points(name, prefix)
        if len(frames):
            axis.plot(frames, values, **style)

    def agents(self, axis: Any, name: str) -> None:
        """Draw a figure of every agent."""
        for agent, colour in self.colours.items():
            self.line(axis, f"{agent}/{name}", color=colour, marker=".", linewidth=1, label=agent)


def _change(page: _Page, axis: Any) -> None:
    frames, values = page.points("change")
    error = page.points("change_error")[1]
    axis.errorbar(frames, values, yerr=error, fmt=".", color="silver", capsize=2, label="measured, one standard error")
    if len(values) >= _MEAN_OF:
        mean = np.convolve(values, np.full(_MEAN_OF, 1 / _MEAN_OF), "valid")
        axis.plot(frames[_MEAN_OF // 2 :][: len(mean)], mean, color="black", label=f"mean of {_MEAN_OF}")
    at, gain = page.points("gain")
    known, steps = page.points("episode_length", "")
    if len(at) and len(known):
        axis.plot(at, gain * np.interp(at, known, steps), color="C3", label="promised")
    axis.axhline(0, color="grey", linewidth=0.6)


def _gain(page: _Page, axis: Any) -> None:
    page.agents(axis, "gain")
    page.line(axis, "gain", color="black", linewidth=1.5, label="all")
    axis.axhline(0, color="grey", linewidth=0.6)


def _logarithmic(axis: Any) -> None:
    """Scale where there is anything above 0, with plain numbers."""
    from matplotlib.ticker import LogLocator

    if any(np.greater(line.get_ydata(), 0).any() for line in axis.lines):
        axis.set_yscale("log")
        axis.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        axis.yaxis.set_major_formatter("{x:g}")
        axis.yaxis.set_minor_formatter("{x:g}")


def _kl(page: _Page, axis: Any) -> None:
    page.agents(axis, "kl")
    _logarithmic(axis)


def _spread(page: _Page, axis: Any) -> None:
    page.agents(axis, "least_eigenvalue")
    if axis.lines:
        axis.axhline(1 / 3, color="grey", linestyle="--", linewidth=1, label="of uniform actions")
    _logarithmic(axis)


def _critic(page: _Page, axis: Any) -> None:
    for name, colour, label in (
        ("critic_bias", "black", "bias: value less return"),
        ("critic_error", "C3", "mean absolute error"),
        ("critic_spread", "C4", "spread of the ensemble"),
    ):
        page.line(axis, name, color=colour, marker=".", linewidth=1, label=label)
    axis.axhline(0, color="grey", linewidth=0.6)


def _returns(page: _Page, axis: Any) -> None:
    page.line(axis, "return", "", color="silver", linewidth=0.8, label="while training")
    page.line(axis, "eval/return", "", color="black", marker=".", label="evaluation")


_PANELS: dict[str, Callable[[_Page, Any], None]] = {
    "What a sweep changed, and what it promised [reward an episode]": _change,
    "What each turn promised, by the critic [reward a state]": _gain,
    "KL of each agent's turn [nat]": _kl,
    "Least eigenvalue of an agent's actions [halves of the range, squared]": _spread,
    "Critic against fresh returns [reward]": _critic,
    "The run's return [reward an episode]": _returns,
}
