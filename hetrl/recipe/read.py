"""From a file, a name or a mapping to a recipe: reading, changing, resolving."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hetrl.errors import RecipeError, nearest
from hetrl.recipe.frozen import Tree
from hetrl.recipe.override import override
from hetrl.recipe.schema import SECTIONS, Recipe


def shipped() -> dict[str, Path]:
    """Return the recipes that come with hetrl: name -> file (``task/...`` are sections to drop in)."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "recipes", package.parent / "recipes"):
        if folder.is_dir():
            return {str(p.relative_to(folder).with_suffix("")): p for p in sorted(folder.rglob("*.yaml"))}
    return {}


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
    for text in overrides:
        override(tree, text)
        _drop_in(tree)
    _refuse_resolvers(tree, "")
    try:
        resolved: Any = OmegaConf.to_container(OmegaConf.create(tree), resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise RecipeError(f"{name}: {str(error).splitlines()[0]}") from None
    return Recipe(resolved, name)


def _tree(recipe: str | os.PathLike[str] | Mapping[str, Any] | Recipe) -> tuple[str, Any]:
    """Return a recipe's name and its tree, references as they are written."""
    if isinstance(recipe, Recipe):
        return recipe.name, recipe.tree
    if not isinstance(recipe, Mapping):
        path = _find(recipe)
        return path.stem, _read(path)
    try:
        return "recipe", OmegaConf.to_container(OmegaConf.create(dict(recipe)), resolve=False)
    except OmegaConfBaseException as error:
        raise RecipeError(f"recipe: {str(error).splitlines()[0]}") from None


def _find(recipe: str | os.PathLike[str]) -> Path:
    text = os.fspath(recipe)
    known = shipped()
    if text in known:
        return known[text]
    path = Path(text)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        if path.is_file():
            return path
        raise RecipeError(f"there is no recipe file '{text}'.")
    recipes = [name for name in known if not name.startswith("task/")]
    raise RecipeError(f"no recipe '{text}' is shipped, and there is no such file.{nearest(text, recipes)}")


def _read(path: Path) -> Any:
    try:
        return OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise RecipeError(f"{path.name}{f', line {mark.line + 1}' if mark else ''}: {problem}.") from None
    except (OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        raise RecipeError(f"{path.name}: {str(error).splitlines()[0]}") from None


def _drop_in(tree: Tree) -> None:
    """Replace ``task: task/name`` by the shipped section of that name."""
    task = tree.get("task")
    if isinstance(task, str):
        tasks = {name: path for name, path in shipped().items() if name.startswith("task/")}
        if task not in tasks:
            raise RecipeError(f"task: no section '{task}' is shipped.{nearest(task, tasks)}")
        tree["task"] = _read(tasks[task])


def _refuse_resolvers(tree: Any, where: str) -> None:
    if isinstance(tree, dict):
        for word, value in tree.items():
            _refuse_resolvers(value, f"{where}.{word}" if where else str(word))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            _refuse_resolvers(value, f"{where}[{index}]")
    elif isinstance(tree, str) and re.search(r"\$\{[^}]*:", tree):
        raise RecipeError(
            f"{where}: '{tree}' asks for a resolver; only plain references such as ${{run.seed}} are read."
        )
