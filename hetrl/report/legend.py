"""Legends and letters of pictures: readable where a page shows them at half its width, and each thing said once."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

WIDE, NARROW = 9.0, 6.4
"""Widths of pictures with axes side by side, and of those with a single one [inch]."""
_POINTS = {WIDE: 15.0, NARROW: 12.0}
"""Letters. On a page 700 pixels wide a picture at half its width has letters of 8 or 9 pixels."""
_PER_INCH = 120.0
"""Letters of one point in an inch, about; of so many points, that many times fewer."""
_MARK = 7
"""Letters that the line before a label takes."""
_LINE = 1.5
"""Lines of a legend are so many times as high as its letters."""

Said = tuple[str, str]
"""How many seeds a curve has, and which interval is drawn, if any."""


@contextmanager
def letters(width: float) -> Iterator[None]:
    """Set the size of letters and lines while a picture of a width [inch] is made and written."""
    size = _POINTS[width]
    with rc_context({
        "font.size": size, "axes.titlesize": size, "legend.fontsize": size, "legend.title_fontsize": 0.9 * size,
        "lines.linewidth": size / 6,
    }):  # fmt: skip
        yield


def captions(panels: Mapping[str, Mapping[str, Said]]) -> tuple[dict[str, str], str]:
    """Return a label for each name, and what is above them all: the seeds and the interval that most have.

    Args:
        panels: title -> name -> what is to be said of the curve.

    >>> captions({"": {"one": ("3 seeds", "95 %"), "other": ("3 seeds", "95 %")}})
    ({'one': 'one', 'other': 'other'}, '3 seeds each; 95 %')
    >>> captions({"": {"one": ("3 seeds", "95 %"), "other": ("2 seeds", "")}})
    ({'one': 'one (3 seeds)', 'other': 'other (2 seeds)'}, '95 %')
    """
    every = [said for named in panels.values() for said in named.values()]
    names = list(dict.fromkeys(name for named in panels.values() for name in named))
    if len(names) == 1 and len(set(every)) == 1:
        return {names[0]: f"{names[0]} ({_joined(*every[0])})".strip()}, ""
    kinds = {interval for _, interval in every if interval}
    shared = kinds.pop() if len(kinds) == 1 else ""
    texts = {
        title: {
            name: _joined(seeds, "" if interval == shared else interval) for name, (seeds, interval) in named.items()
        }
        for title, named in panels.items()
    }
    common, count = Counter(text for named in texts.values() for text in named.values()).most_common(1)[0]
    if count <= len(every) / 2:
        common = ""
    labels = {}
    for name in names:
        found = {title: named[name] for title, named in texts.items() if name in named}
        odd = {title: text for title, text in found.items() if text != common}
        if len(set(found.values())) > 1:
            odd = {title: f"{title}: {text}" for title, text in odd.items()}
        labels[name] = f"{name} ({'; '.join(dict.fromkeys(odd.values()))})" if odd else name
    each = common and common + (" each" if count == len(every) else ", where no others are named")
    return labels, _joined(each, shared)


def _joined(*texts: str) -> str:
    return "; ".join(text for text in texts if text)


def legend_height(labels: Sequence[str], note: str, width: float) -> float:
    """Return how high a legend below a figure of a width is [inch]."""
    filled, above, columns = _laid_out(labels, note, width, width)
    lines = [label.count("\n") + 1 for label in filled]
    rows = -(-len(lines) // columns)
    highest = max((sum(lines[start : start + rows]) for start in range(0, len(lines), rows)), default=0)
    return (highest + len(above.splitlines())) * _POINTS[width] * _LINE / 72


def add_legend(place: Figure | Axes, handles: Sequence[Any], labels: Sequence[str], note: str, width: float) -> None:
    """Say which line is what, below a figure, or in an axis that has nothing else.

    Args:
        place: the figure or the axis.
        handles: lines.
        labels: what they are.
        note: what is said of all of them.
        width: of the figure [inch].
    """
    below = isinstance(place, Figure)
    filled, above, columns = _laid_out(labels, note, width, width if below else width / 2)
    rest: dict[str, Any] = {"loc": "outside lower center" if below else "center", "title": above or None}
    place.legend(handles, filled, frameon=False, ncols=columns, **rest)


def _laid_out(labels: Sequence[str], note: str, width: float, room: float) -> tuple[list[str], str, int]:
    """Return labels and note in lines that fit into the room [inch], and how many columns of labels do."""
    fits = int(room * _PER_INCH / _POINTS[width])
    filled = [textwrap.fill(label, fits - _MARK) for label in labels]
    longest = max((len(line) for label in filled for line in label.split("\n")), default=0)
    columns = min(max(fits // (longest + _MARK), 1), len(labels) or 1)
    return filled, textwrap.fill(note, fits), columns
