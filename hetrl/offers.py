"""What installed packages offer under ``hetrl.<kind>``: found by name, and imported only when it is asked for."""

from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
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
    word = name.partition("/")[2]
    if "." not in word:
        return (
            f"'{name}' of {provider(points[0])} names no vendor; call it 'vendor.{word}' in its pyproject.toml, or "
            "uninstall it."
        )
    if len(points) > 1:
        both = " and by ".join(provider(point) for point in points[:2])
        return f"'{name}' is provided twice, by {both}; uninstall one of them."
    return ""


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
