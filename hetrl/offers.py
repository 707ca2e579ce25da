"""What installed packages offer under ``hetrl.<kind>``: found by name, and imported only when it is asked for."""

import importlib.util
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from hetrl.errors import RecipeError

GROUP = "hetrl."


def offered() -> dict[str, list[EntryPoint]]:
    """Return ``kind/name`` -> the entry points that claim it; none is imported."""
    found: dict[str, list[EntryPoint]] = {}
    for group in sorted(group for group in entry_points().groups if group.startswith(GROUP)):
        for point in entry_points(group=group):
            found.setdefault(f"{group.removeprefix(GROUP)}/{point.name}", []).append(point)
    return found


def claim(name: str, points: Sequence[EntryPoint]) -> str:
    """Return why no recipe can use a name that these entry points claim; ``""`` where it can."""
    kind, _, word = name.partition("/")
    if kind == "recipe":
        return _claim_of_recipes(word, points)
    if "." not in word:
        return (
            f"'{name}' of {provider(points[0])} names no vendor; call it 'vendor.{word}' in its pyproject.toml, or "
            "uninstall it."
        )
    if len(points) > 1:
        both = " and by ".join(provider(point) for point in points[:2])
        return f"'{name}' is provided twice, by {both}; uninstall one of them."
    return ""


def _claim_of_recipes(vendor: str, points: Sequence[EntryPoint]) -> str:
    package = provider(points[0])
    if len(points) > 1:
        return f"recipes of '{vendor}' are provided twice, by {package} and by {provider(points[1])}; uninstall one."
    if not vendor.isidentifier() or vendor == "hetrl":
        return f"recipes of {package} are called '{vendor}'; write one word of its own in its pyproject.toml."
    if folder_of(points[0]) is None:
        return f"{package} says that its recipes are in {points[0].value}, and there is no such folder; repair it."
    return ""


def folder_of(point: EntryPoint) -> Path | None:
    """Return the folder that an entry names, without importing anything where it is installed as files."""
    words = point.value.split(":")[0].split(".")
    if point.dist is not None:
        folder = Path(str(point.dist.locate_file(Path(*words))))
        if folder.is_dir():
            return folder
    try:
        found = importlib.util.find_spec(".".join(words))  # installed for editing: its parents are imported
    except Exception:
        return None
    places = [] if found is None else list(found.submodule_search_locations or ())
    return next((Path(place) for place in places if Path(place).is_dir()), None)


def provider(point: EntryPoint) -> str:
    """Return the package and version that brings an entry."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else f"the package of {point.value}"


def described(name: str, point: EntryPoint) -> str:
    """Return what messages call an entry of a package."""
    return f"'{name}' of {provider(point)} ({point.value})"


def imported(name: str, point: EntryPoint) -> Any:
    """Import what a package offers under a name.

    Raises:
        RecipeError: it does not import.
    """
    try:
        return point.load()
    except Exception as error:
        text = (str(error).strip().splitlines() or [""])[0]
        raise RecipeError(
            f"{described(name, point)} does not import: {type(error).__name__}: {text} Repair that package, or "
            "uninstall it."
        ) from error
