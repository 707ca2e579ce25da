"""Runs that are compared train on one kind of device, also where each would choose for itself."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from rich.console import Console

from hetrl.recipe.read import load
from hetrl.recipe.schema import Recipe
from hetrl.runs.folder import Folder
from hetrl.runs.place import RunPlace
from hetrl.train.placed import placed

_NAMES = {"cpu": "CPU", "cuda": "GPU"}


def one_device(
    recipes: Mapping[str, Recipe], runs: Iterable[Path], place: RunPlace, console: Console
) -> dict[str, Recipe]:
    """Return recipes with a device in the place of ``run.device=auto``, one for all runs here, and say which.

    It is that of the runs which have begun, if any have; else the GPU, where any of the recipes is quicker on it.

    Args:
        recipes: by what they are called.
        runs: folders of their runs, begun or not.
        place: where they are trained. Jobs of a cluster are not here, and each chooses where it is.
        console: takes the line.
    """
    undecided = [recipe for recipe in recipes.values() if recipe.run.device == "auto"]
    if not undecided or place.name == "slurm" or not torch.cuda.is_available():
        return dict(recipes)
    kind = _begun(runs)
    if kind is not None:
        line = f"run.device=auto: all runs train on the {_NAMES[kind]}, as those that have begun."
    else:
        found = [placed(recipe) for recipe in undecided]
        kind = max((each.device.type for each in found), key=list(_NAMES).index)
        why = next(each.why for each in found if each.device.type == kind)
        line = f"{why} All runs train there."
    console.print(line, highlight=False, soft_wrap=True)
    return {
        name: load(recipe, f"run.device={kind}") if recipe.run.device == "auto" else recipe
        for name, recipe in recipes.items()
    }


def _begun(runs: Iterable[Path]) -> str | None:
    """Return the kind of device that a run names which has begun; None where none does."""
    for run in runs:
        folder = Folder(run)
        if folder.recipe.exists() and folder.frames_saved():
            kind = load(folder.recipe).run.device.partition(":")[0]
            if kind in _NAMES:
                return kind
    return None
