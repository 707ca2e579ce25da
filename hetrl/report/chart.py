"""Line charts as inline SVG: no picture files, colours from the page's style sheet."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from markupsafe import Markup, escape
from matplotlib.ticker import MaxNLocator

from hetrl.report.curve import frames_as_text

N_COLORS = 8
"""Colours of the style sheet; lines beyond them are dashed."""
_POINTS = 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 16, 10, 24


Scale = Callable[[Any], Any]
"""From frames or values, a number or an array of them, to coordinates."""


@dataclass(frozen=True)
class Polyline:
    """One line of a chart, against environment frames."""

    name: str
    color: int
    frames: np.ndarray
    values: np.ndarray
    spread: np.ndarray | None = None
    """Half the height of a band around it."""
    faint: bool = False


def chart(lines: Sequence[Polyline], label: str, width: int = 310, height: int = 170) -> Markup:
    """Return a chart of lines as an SVG element.

    A line of many values is drawn as about 300 points, each the mean of neighbours, so that a page stays small. Where
    no line has a finite value there is no chart, and the text is empty.

    Args:
        lines: infinite and missing values are left out, and so are lines of nothing else.
        label: what a screen reader says.
        width: of its coordinates [pixel]; on the page it is as wide as its place.
        height: the same.
    """
    thinned = [_thinned(line) for line in lines if np.isfinite(line.values).any()]
    if not thinned:
        return Markup()
    x_ends = _range([line.frames for line in thinned], room=0.0)
    y_ends = _range([part for line in thinned for part in _edges(line)], room=0.06)
    to_x = _scale(*x_ends, _LEFT, width - _RIGHT)
    to_y = _scale(*y_ends, height - _BOTTOM, _TOP)
    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">']
    for tick in _ticks(*y_ends, max(height // 45, 3)):
        y = to_y(tick)
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{width - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{tick:.6g}</text>')
    for tick in _ticks(*x_ends, max(width // 90, 2)):
        x, bottom = to_x(tick), height - _BOTTOM
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{bottom + 15}" text-anchor="middle">'
                     f"{frames_as_text(tick)}</text>")  # fmt: skip
    for line in thinned:
        parts += _elements(line, to_x, to_y)
    return Markup("".join([*parts, "</svg>"]))  # every text in it is a number, or escaped


def _elements(line: Polyline, to_x: Scale, to_y: Scale) -> list[str]:
    """Return a line's SVG elements: its band, itself, and a dot where it has a single point."""
    points = np.stack([to_x(line.frames), to_y(line.values)], 1)
    color = f"c{line.color % N_COLORS}"
    parts = []
    if line.spread is not None:
        upper, lower = (np.stack([to_x(line.frames), to_y(edge)], 1) for edge in _edges(line))
        parts.append(f'<polygon class="band {color}" points="{_points(np.concatenate([upper, lower[::-1]]))}"/>')
    words = " ".join([*(["faint"] if line.faint else []), *(["dashed"] if line.color >= N_COLORS else [])])
    title = f"<title>{escape(line.name)}: {line.values[-1]:.4g} at the end</title>"
    parts.append(f'<polyline class="line {color} {words}" points="{_points(points)}">{title}</polyline>')
    if len(points) == 1:
        parts.append(f'<circle class="dot {color}" cx="{points[0, 0]:.1f}" cy="{points[0, 1]:.1f}" r="3"/>')
    return parts


def _thinned(line: Polyline) -> Polyline:
    known = np.isfinite(line.values)
    spread = None if line.spread is None else np.where(np.isfinite(line.spread), line.spread, 0.0)  # a value stays
    columns = [line.frames[known], line.values[known], None if spread is None else spread[known]]
    if len(columns[0]) > _POINTS:
        ends = np.linspace(0, len(columns[0]), _POINTS + 1).round().astype(int)
        columns = [
            None if column is None else np.array([column[start:end].mean() for start, end in pairwise(ends)])
            for column in columns
        ]
    return Polyline(line.name, line.color, columns[0], columns[1], columns[2], line.faint)


def _edges(line: Polyline) -> tuple[np.ndarray, np.ndarray]:
    spread = np.zeros_like(line.values) if line.spread is None else line.spread
    return line.values + spread, line.values - spread


def _range(columns: Sequence[np.ndarray], room: float) -> tuple[float, float]:
    every = np.concatenate(columns)
    low, high = float(every.min()), float(every.max())
    if low == high:
        low, high = low - (abs(low) or 1.0) / 2, high + (abs(high) or 1.0) / 2
    return low - room * (high - low), high + room * (high - low)


def _scale(low: float, high: float, start: float, end: float) -> Scale:
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _ticks(low: float, high: float, count: int) -> list[float]:
    found = MaxNLocator(nbins=count, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(tick) for tick in found if low <= tick <= high]


def _points(points: np.ndarray) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
