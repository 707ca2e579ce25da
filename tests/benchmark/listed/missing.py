"""What a list still wants, and what it costs."""

from collections.abc import Mapping
from dataclasses import dataclass

from .entries import Entry, RunList
from .results import Result

SHARE = 0.05
"""Of a run that has to be there before its speed counts: the evaluation at the beginning weighs too much before."""


@dataclass(frozen=True)
class Missing:
    """A run that is not done.

    Args:
        entry: which.
        frames: that are left.
        speed: frames a second of a core.
        measured: whether the speed is of results, and not the list's.
    """

    entry: Entry
    frames: int
    speed: float
    measured: bool

    @property
    def hours(self) -> float:
        """Of a core."""
        return self.frames / self.speed / 3600


def speed_of(entry: Entry, results: Mapping[Entry, Result]) -> tuple[float, bool]:
    """Return frames a second: those of results of this arm on this task, the quickest, else those of the list."""
    like = [
        result.speed
        for other, result in results.items()
        if (other.arm, other.where) == (entry.arm, entry.where) and result.frames >= SHARE * other.frames
    ]
    return (max(like), True) if like else (float(entry.speed), False)


def missing(wanted: RunList, results: Mapping[Entry, Result]) -> list[Missing]:
    """Return what is not done, in the order in which it is taken."""
    found = []
    for entry in wanted.entries:
        left = entry.frames - (results[entry].frames if entry in results else 0)
        if left > 0:
            found.append(Missing(entry, left, *speed_of(entry, results)))
    return found


def missing_in_words(wanted: RunList, results: Mapping[Entry, Result]) -> list[str]:
    """Return a line for each run that is not done, and sums of them."""
    found = missing(wanted, results)
    lines = []
    for each in found:
        run = f"{each.entry.priority}  {each.entry.name:36} {each.frames:>12,} frames"
        lines.append(f"{run}  {each.hours:6.2f} h  at {each.speed:,.0f}/s{'' if each.measured else ', by the list'}")
    for priority in sorted({each.entry.priority for each in found}):
        hours = sum(each.hours for each in found if each.entry.priority == priority)
        lines.append(f"priority {priority}: {hours:.1f} hours of a core")
    n_done = len(wanted.entries) - len(found)
    hours = sum(each.hours for each in found)
    lines.append(f"{n_done} of {len(wanted.entries)} runs are done; the rest takes {hours:.1f} hours of a core")
    return lines
