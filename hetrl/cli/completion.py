"""What a shell completes: recipes, words of a recipe, runs and kinds, found without reading a recipe or a run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from hetrl import catalog
from hetrl.recipe import packaged
from hetrl.recipe.shipped import tree

_MOST_LETTERS = 40
"""A value that is longer is not written behind its word."""
_SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-+")
"""Letters that a shell leaves as they are."""


def recipes(incomplete: str) -> list[str]:
    """Return the shipped recipes and the YAML files that begin so."""
    names = [name for name in packaged.recipes() if not name.startswith("task/")]
    return [name for name in names if name.startswith(incomplete)] + _files(incomplete)


def parts(incomplete: str) -> list[str]:
    """Return the recipes and the names of parts that begin so."""
    return recipes(incomplete) + [name for name in catalog.names() if name.startswith(incomplete)]


def kinds(incomplete: str) -> list[str]:
    """Return what ``hetrl list`` lists and begins so."""
    known = ("recipe", "task", "scenario", *catalog.KINDS, *with_tasks())
    return [word for word in known if word.startswith(incomplete)]


def with_tasks() -> list[str]:
    """Return the environments that list their tasks, by the last word of their name."""
    return [name.split("/")[1] for name in catalog.names("env") if catalog.lists_tasks(name)]


def runs(incomplete: str) -> list[str]:
    """Return the folders of runs and of seeds that begin so; where there is none, a shell goes on with files."""
    found = dict.fromkeys(_there(incomplete) + (_there("runs/") if "runs/".startswith(incomplete) else []))
    return [
        name
        for name in found
        if any(Path(name, file).is_file() for file in ("recipe.yaml", "seeds.yaml", "combinations.txt", "search.json"))
    ]


def overrides(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the words of the recipe at hand that begin so, one step further, each with its value where it is short."""
    if "=" in incomplete:
        sections = [f"task={name}" for name in packaged.recipes() if name.startswith("task/")]
        return [each for each in sections if each.startswith(incomplete)]
    recipe = str(ctx.params.get("recipe") or ctx.params.get("other") or "")
    file = packaged.recipes().get(recipe, Path(recipe))
    try:
        found = tree(file)
    except Exception:  # what is no recipe has no words
        return []
    depth = incomplete.count(".") + 1
    matching: list[str] = []
    while not matching or (len(matching) == 1 and matching[0].endswith(".")):  # a word alone would end with a space
        matching = [word for word in _words(found, "", depth) if word.startswith(incomplete)]
        if not matching:
            break
        depth += 1
    return matching


def _files(incomplete: str) -> list[str]:
    """Return the YAML files that begin so."""
    return [name for name in _there(incomplete) if name.endswith((".yaml", ".yml"))]


def _there(incomplete: str) -> list[str]:
    """Return the paths that begin so, as a shell lists them."""
    folder, slash, stem = incomplete.rpartition("/")
    try:
        names = sorted(each.name for each in Path(folder + slash).iterdir())
    except OSError:
        return []
    return [f"{folder}{slash}{name}" for name in names if name.startswith(stem)]


def _words(tree: Any, above: str, depth: int) -> Iterator[str]:
    """Yield the words of a tree down to a depth: ``a.b=value``, or ``a.b.`` where more is below."""
    for word, value in _entries(tree):
        name = f"{above}{word}"
        below = isinstance(value, dict | list) and any(True for _ in _entries(value))
        if not below:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            short = len(text) <= _MOST_LETTERS and _SAFE.issuperset(text) and value is not None
            yield f"{name}={text if short else ''}"
        elif depth > 1:
            yield from _words(value, f"{name}.", depth - 1)
        else:
            yield f"{name}."


def _entries(tree: Any) -> Iterator[tuple[str, Any]]:
    """Yield what an override may step into: the words of a mapping, the phases and steps of a list by their names."""
    if isinstance(tree, dict):
        yield from ((str(word), value) for word, value in tree.items() if word != "phase")
    elif isinstance(tree, list):
        names = [_name(each) for each in tree]
        yield from ((name, each) for name, each in zip(names, tree, strict=True) if name and names.count(name) == 1)


def _name(entry: Any) -> str:
    """Return what an override calls an entry of a list; ``""`` where its name has a dot, which would be a step."""
    found = entry.get("phase") or entry.get("use") or entry.get("net") if isinstance(entry, dict) else ""
    name = str(found or "").split("/")[-1]
    return "" if "." in name else name
