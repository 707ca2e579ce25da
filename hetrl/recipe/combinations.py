"""Recipes on tasks with variations: which combinations there are, and what each is called."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from hetrl.errors import RecipeError
from hetrl.recipe.read import load
from hetrl.recipe.schema import Recipe
from hetrl.recipe.task_names import task_section

_NO_NAME = re.compile(r"[^A-Za-z0-9_.=+-]")
"""Letters that a folder's name does without."""
_OPEN, _CLOSED = "[{(", "]})"


@dataclass(frozen=True)
class Combination:
    """A recipe, on a task, with the changes that make it one of several."""

    name: str
    """Of its folder."""
    about: str
    """What messages call it."""
    recipe: str
    overrides: tuple[str, ...]

    def load(self) -> Recipe:
        """Return the recipe.

        Raises:
            RecipeError: it cannot be read, or a change leads nowhere in it.
        """
        return load(self.recipe, *self.overrides)


def combinations(
    recipes: Sequence[str], overrides: Sequence[str], tasks: Sequence[str] = (), vary: Sequence[str] = ()
) -> list[Combination]:
    """Return all combinations, recipes first.

    Args:
        recipes: names or files.
        overrides: changes to all of them, after the task.
        tasks: names of task sections, as :func:`~hetrl.recipe.task_names.task_section` takes them; none for each
            recipe's own task.
        vary: ``a.b=value,value`` texts; several of them are combined.

    Raises:
        RecipeError: a task or a variation cannot be read, or two combinations are the same.
    """
    sections = [task_section(name) for name in tasks]
    varied = [variation(text) for text in vary]
    none: list[str | None] = [None]
    names = labels([word for word, _ in varied])
    found = []
    for recipe, section, values in product(recipes, sections or none, product(*(values for _, values in varied))):
        given = [] if section is None else [f"task={section}"]
        changes = [f"{word}={value}" for (word, _), value in zip(varied, values, strict=True)]
        parts = [f"{label}={value}" for label, value in zip(names, values, strict=True)]
        stem = recipe.replace("\\", "/").split("/")[-1].removesuffix(".yaml").removesuffix(".yml")
        words = [stem, *([] if section is None else [section.removeprefix("task/")]), *parts]
        about = " on ".join([recipe, *([] if section is None else [section])])
        told = ", ".join([about, *parts])
        found.append(Combination(_NO_NAME.sub("_", "_".join(words)), told, recipe, (*given, *overrides, *changes)))
    for each in found:
        if [other.name for other in found].count(each.name) > 1:
            raise RecipeError(f"{each.about} is named twice, or would have the folder of another: {each.name}.")
    return found


def variation(text: str) -> tuple[str, list[str]]:
    """Return the word and the values of ``a.b=value,value``; a comma inside brackets is part of a value.

    Raises:
        RecipeError: it is no such text.
    """
    word, equals, values = text.partition("=")
    found = split(values)
    if not equals or not word.strip() or not all(found):
        raise RecipeError(f"--vary {text}: write a.b=value,value.")
    return word.strip(), found


def split(text: str) -> list[str]:
    """Return what stands between the commas of a text that are not inside brackets.

    >>> split("[64, 64],[128, 128]")
    ['[64, 64]', '[128, 128]']
    """
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in _OPEN) - (letter in _CLOSED)
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def labels(words: Sequence[str]) -> list[str]:
    """Return as much of the ends of dotted words as tells them apart.

    Raises:
        RecipeError: a word is there twice.
    """
    pieces = [word.split(".") for word in words]
    longest = max(map(len, pieces), default=1)
    for length in range(1, longest + 1):
        found = [".".join(each[-length:]) for each in pieces]
        if len(set(found)) == len(found):
            return found
    twice = next(word for word in words if list(words).count(word) > 1)
    raise RecipeError(f"--vary {twice}=...: '{twice}' is varied twice; put all its values into one.")
