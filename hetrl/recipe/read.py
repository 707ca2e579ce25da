"""From a file, a name or a mapping to a recipe: reading, changing, resolving."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hetrl.errors import RecipeError, nearest
from hetrl.recipe import text
from hetrl.recipe.frozen import Tree
from hetrl.recipe.override import override
from hetrl.recipe.packaged import packaged, recipes
from hetrl.recipe.plain import plain
from hetrl.recipe.references import resolved
from hetrl.recipe.schema import SECTIONS, Recipe
from hetrl.recipe.shipped import shipped as shipped


def load(recipe: str | os.PathLike[str] | Mapping[str, Any] | Recipe, *overrides: str) -> Recipe:
    """Read a recipe.

    Args:
        recipe: the name of a shipped recipe, a YAML file, the same thing as nested dicts, or a recipe to change.
        overrides: ``a.b=c`` texts. In a list, a word names an entry: the phase, the last part of what a step uses, or
            its net (``update.actors.epochs=10``, ``update.actors.steps.clipped_surrogate.clip=0.1``), and ``null``
            drops it (``update.actors.steps.entropy_bonus=null``).

    Raises:
        RecipeError: the file or a section cannot be read as a recipe.
    """
    name, tree = _tree(recipe)
    if not isinstance(tree, dict):
        raise RecipeError(f"{name}: a recipe is a mapping of sections, {', '.join(SECTIONS)}.")
    _drop_in(tree)
    for change in overrides:
        override(tree, change)
        _drop_in(tree)
    return Recipe(resolved(plain(tree), name), name)


def _tree(recipe: str | os.PathLike[str] | Mapping[str, Any] | Recipe) -> tuple[str, Any]:
    """Return a recipe's name and its tree, references as they are written."""
    if isinstance(recipe, Recipe):
        return recipe.name, recipe.tree
    if isinstance(recipe, (str, os.PathLike)):
        path, name = _find(recipe), os.fspath(recipe)
        return name if name in packaged() else path.stem, _read(path)
    if not isinstance(recipe, Mapping):
        raise RecipeError(f"{recipe!r} is no recipe; give a name, a YAML file, a mapping, or a recipe.")
    return "recipe", plain(recipe)


def _find(recipe: str | os.PathLike[str]) -> Path:
    """Return the file behind a name."""
    name = os.fspath(recipe)
    known = _by_name()
    if _slashed(name) in known:
        return known[_slashed(name)]
    path = Path(name)
    found = os.path.isfile(path)  # noqa: PTH113 (names that no file can have are no error to it)
    if path.suffix in (".yaml", ".yml") or found:
        if found:
            return path
        raise RecipeError(f"there is no recipe file '{name}'.")
    whole = [each for each in known if not each.startswith("task/")]
    raise RecipeError(f"no recipe '{name}' is shipped, and there is no such file.{nearest(name, whole)}")


def _read(path: Path) -> Any:
    try:
        with path.open(encoding="utf-8") as file:
            found = file.read(text.MOST_LETTERS + 1)
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path.name}: it is no text ({error.reason} at byte {error.start}).") from None
    except OSError as error:
        raise RecipeError(f"{path.name} cannot be read: {error.strerror or error}.") from None
    return text.parse(found, path.name, whole=True)


def _drop_in(tree: Tree) -> None:
    """Replace ``task: task/name`` by the section of that name."""
    task = tree.get("task")
    if isinstance(task, str):
        tasks = {name: path for name, path in _by_name().items() if name.startswith("task/")}
        task = _slashed(task)
        if task not in tasks:
            raise RecipeError(f"task: no section '{task}' is shipped.{nearest(task, tasks)}")
        tree["task"] = _read(tasks[task])


def _by_name() -> dict[str, Path]:
    return {_slashed(name): path for name, path in recipes().items()}


def _slashed(name: str) -> str:
    """Return a name with slashes in it, also where it is typed, or comes from a disk, with backslashes."""
    return name.replace("\\", "/")
