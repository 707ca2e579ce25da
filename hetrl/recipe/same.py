"""Whether two recipes are the same, and where they first differ."""

from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import OmegaConf

from hetrl.errors import RunError
from hetrl.recipe.schema import Recipe

ABSENT = "absent"
"""Stands for a word that one of two trees does not have."""


def refuse_other_recipe(recipe: Recipe, saved: str) -> None:
    """Raise where a saved recipe is not ``recipe``. Of ``run``, everything but the seed may differ, and the task may by
    now be known not to repeat its episodes.

    Args:
        recipe: what is to be trained now.
        saved: the recipe of a checkpoint or of a folder, as YAML.

    Raises:
        RunError: naming the first word that differs.
    """
    other: Any = OmegaConf.to_container(OmegaConf.create(saved))
    mine = _compared(recipe.tree, {"seed": recipe.run.seed})
    theirs = _compared(other, {"seed": other["run"].get("seed", 0)})
    difference = first_difference(mine, theirs)
    if difference is not None:
        where, here, there = difference
        raise RunError(
            f"the checkpoint is of another recipe: {where} is {there!r} there and {here!r} here; a new run may start "
            "from its weights and be another one: hetrl train RECIPE --init RUN."
        )


def _compared(tree: Mapping[str, Any], run: Mapping[str, Any]) -> dict[str, Any]:
    task = tree.get("task")
    kept = {word: value for word, value in task.items() if word != "repeats"} if isinstance(task, Mapping) else task
    return {**tree, "run": run, "task": kept}


def first_difference(mine: Any, theirs: Any, where: str = "") -> tuple[str, Any, Any] | None:
    """Return (where, mine, theirs) of the first place in which two trees differ; the ``about`` text does not count."""
    return next(differences(mine, theirs, where), None)


def differences(mine: Any, theirs: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (where, mine, theirs) of every place in which two trees differ; the ``about`` text does not count."""
    if isinstance(mine, dict) and isinstance(theirs, dict):
        pairs = [(str(word), mine.get(word, ABSENT), theirs.get(word, ABSENT)) for word in {**mine, **theirs}]
    elif isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        pairs = [(str(index), *pair) for index, pair in enumerate(zip(mine, theirs, strict=True))]
    else:
        if mine != theirs:
            yield where, mine, theirs
        return
    for word, here, there in pairs:
        place = f"{where}.{word}" if where else word
        if place != "about":
            yield from differences(here, there, place)
