"""A number that changes over training: ``{linear: [start, end]}`` wherever a recipe may write a float."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hetrl.errors import RecipeError, nearest


@dataclass(frozen=True)
class Linear:
    """From ``start`` to ``end`` in proportion to the frames done."""

    start: float
    end: float

    def __call__(self, progress: float) -> float:
        """Return the value at ``progress`` (0 to 1)."""
        return self.start + (self.end - self.start) * min(max(progress, 0.0), 1.0)


def parse(value: Any) -> Linear | None:
    """Return the schedule that ``value`` writes, or None where it is not one.

    Raises:
        RecipeError: it is a mapping, but not ``{linear: [start, end]}``.
    """
    if not isinstance(value, Mapping):
        return None
    if set(value) != {"linear"}:
        unknown = next((word for word in value if word != "linear"), "")
        raise RecipeError(f"'{unknown}' is no schedule; write {{linear: [start, end]}}.{nearest(unknown, ['linear'])}")
    ends = value["linear"]
    if not isinstance(ends, (list, tuple)) or len(ends) != 2 or not all(type(end) in (int, float) for end in ends):
        raise RecipeError(f"a linear schedule is two numbers, {{linear: [start, end]}}, not {ends!r}.")
    return Linear(float(ends[0]), float(ends[1]))
