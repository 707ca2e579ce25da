"""Short names of the task sections that are shipped: ``balance`` for ``task/vmas_balance``."""

import re

from hetrl.errors import RecipeError, nearest
from hetrl.recipe.packaged import recipes


def task_section(name: str) -> str:
    """Return the section that a name means: itself, or the one that ends with it, from one of its words on.

    Raises:
        RecipeError: there is no such section, or several end so.
    """
    sections = [each for each in recipes() if each.startswith("task/")]
    wanted = name.replace("\\", "/").removeprefix("task/")
    if f"task/{wanted}" in sections:
        return f"task/{wanted}"
    found = [each for each in sections if wanted in _ends(each)]
    if len(found) == 1:
        return found[0]
    if found:
        raise RecipeError(f"--task {name}: that may be {' or '.join(found)}; write one of them.")
    raise RecipeError(f"--task {name}: no task of that name is shipped.{nearest(wanted, _short(sections))}")


def _ends(section: str) -> list[str]:
    """Return what a section may be called: ``hopper_3x1`` and ``3x1`` for ``task/mamujoco_hopper_3x1``."""
    stem = section.removeprefix("task/")
    return [stem[match.end() :] for match in re.finditer(r"[._]", stem)]


def _short(sections: list[str]) -> list[str]:
    """Return names that are near to what somebody may have meant: whole ones, and those without the family."""
    stems = [each.removeprefix("task/") for each in sections]
    return [*stems, *(ends[0] for each in sections if (ends := _ends(each)))]
