"""What is varied in a search, and where: ``log:1e-4:1e-3``, ``0.9:0.99``, ``int:1:8``, or a list of values."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hetrl.errors import RecipeError, nearest
from hetrl.recipe.combinations import Combination, combinations, variation

_KINDS = ("log", "int", "float")
_MOST_CORNERS = 64
"""Combinations of ends that are all checked; where there are more, each word's ends are checked alone."""


@dataclass(frozen=True)
class Range:
    """A word of a recipe, and the values that it may have."""

    word: str
    kind: str
    """``log``, ``int``, ``float``, or ``list``."""
    ends: tuple[str, ...]
    """The lowest and the highest value, or all of a list, as trials have them."""

    @classmethod
    def parse(cls, text: str) -> "Range":
        """Return what ``a.b=log:1e-4:1e-3`` says.

        Raises:
            RecipeError: it is neither a list nor a range, or a range that is empty.
        """
        word, values = variation(text)
        if len(values) > 1:
            return cls(word, "list", tuple(values))
        kind, low, high = _parts(text, word, values[0])
        ends = _number(text, low), _number(text, high)
        _refuse_empty(text, kind, *ends)
        return cls(word, kind, tuple(str(int(end) if kind == "int" else end) for end in ends))

    def draw(self, trial: Any) -> Any:
        """Return the value that a trial of Optuna's has; a trial that has one already keeps it."""
        if self.kind == "list":
            return trial.suggest_categorical(self.word, self.ends)
        if self.kind == "int":
            return trial.suggest_int(self.word, *map(int, self.ends))
        return trial.suggest_float(self.word, *map(float, self.ends), log=self.kind == "log")


def changes(values: Mapping[str, Any]) -> list[str]:
    """Return the overrides that values of words are."""
    return [f"{word}={value}" for word, value in values.items()]


def corners(recipe: str, overrides: Sequence[str], ranges: Sequence[Range]) -> list[Combination]:
    """Return a recipe at all ends of its ranges and all values of its lists.

    Where that would be more than 64, each word goes through its own while the others are as the recipe has them.

    Args:
        recipe: a name or a file.
        overrides: changes that all have.
        ranges: what is varied.

    Raises:
        RecipeError: a value is there twice.
    """
    texts = [f"{each.word}={','.join(each.ends)}" for each in ranges]
    many = math.prod(len(each.ends) for each in ranges) > _MOST_CORNERS
    groups = [[text] for text in texts] if many else [texts]
    return [each for group in groups for each in combinations([recipe], overrides, vary=group)]


def _parts(text: str, word: str, value: str) -> tuple[str, str, str]:
    *kinds, low, high = ["", *(part.strip() for part in value.split(":"))]
    kind = ":".join(kinds).strip(":") or "float"
    if kind not in _KINDS and low:
        raise RecipeError(f"--vary {text}: there is no range '{kind}:'.{nearest(kind, _KINDS)}")
    if not low:
        raise RecipeError(
            f"--vary {text}: one value is no choice; write {word}=log:1e-4:1e-3, {word}=0.9:0.99, {word}=int:1:8, or a "
            f"list, {word}=VALUE,VALUE."
        )
    return kind, low, high


def _number(text: str, end: str) -> float:
    try:
        number = float(end)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise RecipeError(f"--vary {text}: '{end}' is no number; a range goes from one number to a higher one.")
    return number


def _refuse_empty(text: str, kind: str, low: float, high: float) -> None:
    if not low < high:
        raise RecipeError(f"--vary {text}: {low:g} is not below {high:g}; a range goes upwards.")
    if kind == "log" and low <= 0:
        raise RecipeError(f"--vary {text}: {low:g} has no logarithm; begin above 0, or leave out 'log:'.")
    if kind == "int" and not (low.is_integer() and high.is_integer()):
        raise RecipeError(f"--vary {text}: the ends of 'int:' are whole numbers; for others leave it out.")
