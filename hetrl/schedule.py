"""A number that changes over training: ``{linear: [start, end]}`` wherever a recipe may write a float.

``{linear: [start, end], until: 0.5}`` is at its end after half of the run, and stays there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hetrl.errors import RecipeError, nearest

_WORDS = ("linear", "until")


@dataclass(frozen=True)
class Linear:
    """From ``start`` to ``end`` in proportion to the frames done, which it is at the share ``until`` of the run."""

    start: float
    end: float
    until: float = 1.0

    def __call__(self, progress: float) -> float:
        """Return the value at ``progress`` (0 to 1)."""
        share = min(max(progress / self.until, 0.0), 1.0)
        return self.end if share == 1.0 else self.start + (self.end - self.start) * share


def parse(value: Any) -> Linear | None:
    """Return the schedule that ``value`` writes, or None where it is not one.

    Raises:
        RecipeError: it is a mapping, but not ``{linear: [start, end]}``, with or without ``until``.
    """
    if not isinstance(value, Mapping):
        return None
    if "linear" not in value or set(value) - set(_WORDS):
        unknown = next((word for word in value if word not in _WORDS), next(iter(value), ""))
        raise RecipeError(f"'{unknown}' is no schedule; write {{linear: [start, end]}}.{nearest(unknown, _WORDS)}")
    ends = value["linear"]
    if not isinstance(ends, (list, tuple)) or len(ends) != 2 or not all(type(end) in (int, float) for end in ends):
        raise RecipeError(f"a linear schedule is two numbers, {{linear: [start, end]}}, not {ends!r}.")
    until = value.get("until", 1.0)
    if type(until) not in (int, float) or not 0 < until <= 1:
        raise RecipeError(f"until = {until!r} is the share of the run after which a schedule ends; above 0, up to 1.")
    return Linear(float(ends[0]), float(ends[1]), float(until))
