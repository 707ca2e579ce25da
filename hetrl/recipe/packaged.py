"""Recipes and task sections that installed packages bring, beside those that come with hetrl."""

import functools
from pathlib import Path

from hetrl.offers import claim, folder_of, offered, provider
from hetrl.recipe.shipped import shipped


@functools.cache
def packaged() -> dict[str, tuple[Path, str]]:
    """Return the recipes that packages bring: name -> file, and the package.

    A package names a folder under ``hetrl.recipe``, ``acme = "acme_marl.recipes"``: its ``fast.yaml`` is the recipe
    ``acme.fast``, and its ``task/field.yaml`` the section ``task/acme.field``. What names no folder brings none.
    """
    found: dict[str, tuple[Path, str]] = {}
    for name, points in sorted(offered().items()):
        kind, _, vendor = name.partition("/")
        if kind != "recipe" or claim(name, points):
            continue
        folder = folder_of(points[0])
        for within in ("", "task/"):
            for file in sorted((folder / within).glob("*.yaml")) if folder else ():
                found[f"{within}{vendor}.{file.stem}"] = file, provider(points[0])
    return found


def recipes() -> dict[str, Path]:
    """Return all recipes that have a name, hetrl's own and those of packages: name -> file."""
    return {**shipped(), **{name: file for name, (file, _) in packaged().items()}}
