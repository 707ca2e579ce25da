"""The colour and line of a recipe's curve: the same in every picture, from the table in ``looks.yaml``."""

from collections.abc import Sequence, Set
from dataclasses import dataclass
from functools import cache
from itertools import cycle, product
from pathlib import Path

import numpy as np
from matplotlib.colors import to_hex, to_rgb

from hetrl.recipe.shipped import tree

_LINES = ("solid", "dashed", "dashdot", "dotted")
_GREY = "#777777"
"""Of names that are not listed, where those that are have taken all colours."""
_DARK = 0.1
"""Luminance below which a second shade is lighter, and not darker."""


@dataclass(frozen=True)
class Look:
    """How a curve is drawn: its colour as #rrggbb, and matplotlib's name of its line."""

    color: str
    line: str


def looks(recipes: Sequence[str]) -> list[Look]:
    """Return how the curves of one picture look, no two alike while looks are left.

    A listed recipe has its own. Where it comes several times, as with and without an override, the later curves have
    other lines and a second shade of its colour. Names that are not listed take the colours that no listed one of the
    picture has, in their order, and further lines when those are used up.

    Args:
        recipes: of each curve: a recipe's name, or what it calls itself; anything else is a name that is not listed.
    """
    colors, listed = _table()
    families = {listed[recipe] for recipe in recipes if recipe in listed}
    free = [color for color in colors if color not in {look.color for look in families}] or [_GREY]
    others = cycle(Look(color, line) for line, color in product(_LINES, free))
    own = {look: cycle(_variants(look, families)) for look in families}
    return [next(own[listed[recipe]] if recipe in listed else others) for recipe in recipes]


def _variants(look: Look, families: Set[Look]) -> list[Look]:
    """Return a family's looks, its own first; none is another family's of the picture."""
    first = _LINES.index(look.line)
    lines = _LINES[first:] + _LINES[:first]
    shades = look.color, _shade(look.color)
    turns = [Look(shades[(step + turn) % 2], line) for turn in (0, 1) for step, line in enumerate(lines)]
    return [each for each in turns if each == look or each not in families]


def _shade(color: str) -> str:
    """Return a darker shade of a colour, or of a dark one a lighter."""
    rgb = np.array(to_rgb(color))
    end = np.ones(3) if rgb**2.2 @ np.array([0.2126, 0.7152, 0.0722]) < _DARK else np.zeros(3)
    red, green, blue = (0.5 * rgb + 0.5 * end).tolist()
    return to_hex((red, green, blue))


@cache
def _table() -> tuple[list[str], dict[str, Look]]:
    """Return the colours in their order, and the look of each listed name."""
    table = tree(Path(__file__).with_name("looks.yaml"))
    colors = table["colors"]
    listed = {name: Look(colors[row["color"]], row["line"]) for row in table["recipes"] for name in row["names"]}
    return list(colors.values()), listed
