"""Changes to a recipe as texts: ``update.actors.epochs=10``."""

import re
from typing import Any

from hetrl.errors import RecipeError, nearest
from hetrl.recipe.frozen import Tree
from hetrl.recipe.schema import SECTIONS
from hetrl.recipe.text import parse

_MADE = ("run", "groups", "optim", "order")
"""Mappings that an override may begin where the recipe has none."""
_MOST_SHOWN = 200
"""Letters of an override in a message."""


def override(tree: Tree, text: str) -> None:
    """Change one place of a tree.

    In a list, a word names an entry: the phase, the last part of what a step uses, or its net. ``null`` drops an entry.

    Args:
        tree: the recipe's.
        text: ``a.b=value``.

    Raises:
        RecipeError: the text is no such change, or leads nowhere.
    """
    if not isinstance(text, str):
        shown = repr(text)
        raise RecipeError(
            f"an override is a text, 'run.seed=3', not {shown if len(shown) < _MOST_SHOWN else type(text).__name__}; "
            "write several one after the other."
        )
    path, equals, value = text.partition("=")
    text = text if len(text) < _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."
    if not equals or not path.strip():
        raise RecipeError(f"override '{text}': write a.b=value.")
    words = path.strip().split(".")
    if not all(words):
        raise RecipeError(f"override '{text}': a word is missing between two dots; write a.b=value.")
    if words[0] not in SECTIONS:
        raise RecipeError(f"override '{text}': no section '{words[0]}'.{nearest(words[0], SECTIONS)}")
    parsed = parse(value, f"override '{text}'", whole=False)
    place: Any = tree
    for word in words[:-1]:
        if isinstance(place, dict) and word not in place and word in _MADE:
            place[word] = {}
        place = place[_step_into(place, word, text)]
    if isinstance(place, list):
        index = _step_into(place, words[-1], text)
        place[index : index + 1] = [] if parsed is None else [parsed]
    elif isinstance(place, dict):
        place[words[-1]] = parsed
    else:
        raise RecipeError(f"override '{text}': '{words[-2]}' is a single value; there is nothing below it.")


def _step_into(place: Any, word: str, text: str) -> Any:
    """Return the key or index that ``word`` names in a mapping or a list."""
    if isinstance(place, dict):
        if word not in place:
            raise RecipeError(f"override '{text}': nothing is called '{word}' there.{nearest(word, map(str, place))}")
        return word
    if not isinstance(place, list):
        raise RecipeError(f"override '{text}': '{word}' is below a single value.")
    if word.isdigit() and int(word) < len(place):
        return int(word)
    titles = [_titles(entry) for entry in place]
    found = [index for index, names in enumerate(titles) if word in names]
    if len(found) != 1:
        problem = "nothing" if not found else f"{len(found)} entries"
        known = [name for names in titles for name in names]
        raise RecipeError(f"override '{text}': {problem} called '{word}' there; use its index.{nearest(word, known)}")
    return found[0]


def _titles(entry: Any) -> list[str]:
    """Return what an override may call an entry of a list."""
    if not isinstance(entry, dict):
        return []
    names = [str(entry[word]) for word in ("phase", "use", "net") if word in entry]
    return [*names, *(re.split(r"[/.]", name)[-1] for name in names if "/" in name)]
