"""Runs side by side: which ones some paths name, which are seeds of one recipe, and what they are called."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

from hetrl.errors import RunError
from hetrl.runs.combined_folder import CombinedFolder
from hetrl.runs.folder import Folder
from hetrl.runs.seeds_folder import SeedsFolder


def run_folders(paths: Sequence[Path]) -> list[Path]:
    """Return the run folders that ``paths`` name: themselves, or the runs that a folder of seeds, or of combinations of
    recipes and tasks, has begun.

    Raises:
        RunError: one is neither, or there is none.
    """
    found: list[Path] = []
    for path in flat(paths):
        seeds = SeedsFolder(path)
        if seeds.recipe.exists():
            found += [run for run in seeds.runs.values() if Folder(run).recipe.exists()]
        else:
            found.append(path)
    if not found:
        raise RunError(f"no seed has been started in {paths[0]}; hetrl train --resume {paths[0]}.")
    for run in found:
        Folder(run).refuse_if_empty()
    return found


def flat(paths: Sequence[Path]) -> list[Path]:
    """Return paths, folders of combinations replaced by the folders of seeds in them."""
    return [each for path in paths for each in _inside(path) or [path]]


def _inside(path: Path) -> list[Path]:
    return [seeds.path for seeds in CombinedFolder(path).combinations.values()]


def by_seed(runs: Sequence[Path]) -> list[list[Path]]:
    """Return runs in groups: those whose recipes differ in nothing but how they were run and how they are described."""
    groups: dict[str, list[Path]] = {}
    for run in runs:
        tree = {word: value for word, value in Folder(run).tree().items() if word not in ("run", "about")}
        groups.setdefault(json.dumps(tree, sort_keys=True), []).append(run)
    return list(groups.values())


def method_name(run: Path) -> str:
    """Return how a run's recipe calls itself: the first words of what it says about itself."""
    return re.split(r"[.,:;]", str(Folder(run).tree().get("about") or folder_name([run])))[0]


def folder_name(members: Sequence[Path]) -> str:
    """Return what the folders of a recipe's seeds are called, without the seed."""
    first = members[0].resolve()
    if SeedsFolder(first.parent).recipe.exists():
        return first.parent.name
    return re.sub(r"_?(seed)?_?\d+$", "", first.name) or first.name if len(members) > 1 else first.name
