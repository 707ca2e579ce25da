"""Which runs may be compared: seeds of one recipe belong together, and recipes must have been measured alike."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from hetrl.errors import RunError
from hetrl.report.runs import (
    Tree,
    by_seed,
    folder_name,
    frames_logged,
    method_name,
    run_folders,
    task_name,
    tree_of,
)
from hetrl.train.learner import first_difference
from hetrl.train.run import Folder
from hetrl.train.seeds import SeedsFolder

_NOT_THE_TASK = ("n_envs", "groups")
"""Words of ``task`` that are about how one trains on it."""
_MEASURED = ("frames", "eval_every", "n_eval_episodes")
"""Words of ``run`` that must be equal; what is left out has the value that :data:`_DEFAULTS` says."""
_DEFAULTS = {"eval_every": None, "n_eval_episodes": 64}


@dataclass(frozen=True)
class Entry:
    """The seeds of one recipe on one task."""

    method: str
    task: str
    runs: tuple[Path, ...]
    tree: Tree
    """The recipe of the first one."""


@dataclass(frozen=True)
class Comparable:
    """Entries side by side, and what a reader should know about them."""

    entries: tuple[Entry, ...]
    notes: tuple[str, ...]

    @property
    def tasks(self) -> list[str]:
        """The tasks, as they first appear."""
        return list(dict.fromkeys(entry.task for entry in self.entries))

    @property
    def methods(self) -> list[str]:
        """The methods, as they first appear."""
        return list(dict.fromkeys(entry.method for entry in self.entries))

    def on(self, task: str) -> list[Entry]:
        """Return the entries of a task."""
        return [entry for entry in self.entries if entry.task == task]

    @property
    def complete(self) -> bool:
        """Whether every method ran on every task."""
        return len(self.entries) == len(self.tasks) * len(self.methods)


def comparable(paths: Sequence[Path], *, anyway: bool = False) -> Comparable:
    """Group runs and make sure that they can be compared.

    Args:
        paths: run folders, or folders of seeds.
        anyway: go on where they are not comparable, and note why they are not.

    Raises:
        RunError: a run is unfinished, appears twice, or was trained or measured unlike another.
    """
    runs = run_folders(paths)
    places = [run.resolve() for run in runs]
    for run, place in zip(runs, places, strict=True):
        if places.count(place) > 1:
            raise RunError(f"{run} is named twice.")
    entries = _entries(by_seed(runs))
    problems = [*_unbegun(paths), *_unfinished(runs)]
    for entry in entries:
        _refuse_repeated_seeds(entry)
        problems += _measured_unlike(entry.runs)
    tasks = list(dict.fromkeys(entry.task for entry in entries))
    for task in tasks:
        problems += _measured_unlike([entry.runs[0] for entry in entries if entry.task == task])
    problems += _on_other_tasks(entries)
    problems = list(dict.fromkeys(problems))
    if problems and not anyway:
        more = f" And {len(problems) - 3} more." if len(problems) > 3 else ""
        raise RunError(f"{' '.join(problems[:3])}{more} To compare all the same: --anyway.")
    return Comparable(tuple(entries), (*problems, *_versions(runs), *_few(entries)))


def _entries(groups: Sequence[Sequence[Path]]) -> list[Entry]:
    trees = [tree_of(members[0]) for members in groups]
    tasks = _task_names([tree["task"] for tree in trees])
    names = [method_name(members[0]) for members in groups]
    alike: dict[tuple[str, str], list[int]] = {}
    for place, pair in enumerate(zip(names, tasks, strict=True)):
        alike.setdefault(pair, []).append(place)
    for places in alike.values():
        if len(places) > 1:
            told = _told_apart([trees[place] for place in places], [folder_name(groups[place]) for place in places])
            for place, more in zip(places, told, strict=True):
                names[place] += f" ({more})"
    return [Entry(*each[:2], tuple(each[2]), each[3]) for each in zip(names, tasks, groups, trees, strict=True)]


def _told_apart(trees: Sequence[Tree], folders: Sequence[str]) -> list[str]:
    """Return a few words for each of several recipes of one name: the value that differs, else the folder's name."""
    bare = [{word: value for word, value in tree.items() if word not in ("run", "about")} for tree in trees]
    apart = {found[0] for tree in bare[1:] if (found := first_difference(bare[0], tree)) is not None}
    if len(apart) == 1:
        words = apart.pop().split(".")
        values = [_at(tree, words) for tree in bare]
        if not any(isinstance(value, (dict, list)) for value in values) and len(set(values)) == len(values):
            named = "" if words[-1] == "use" else ".".join(words[-2:]) + "="
            return [f"{named}{'default' if value is None else value}" for value in values]
    if len(set(folders)) == len(folders):
        return list(folders)
    return [f"{folder} #{number}" for number, folder in enumerate(folders, 1)]


def _at(tree: Any, words: Sequence[str]) -> Any:
    for word in words:
        tree = tree[int(word)] if isinstance(tree, list) else tree.get(word) if isinstance(tree, dict) else None
    return tree


def _task_names(tasks: Sequence[Tree]) -> list[str]:
    """Return names of tasks; different ones of one name say what differs."""
    bare = [{word: value for word, value in task.items() if word not in _NOT_THE_TASK} for task in tasks]
    known: dict[str, list[Tree]] = {}
    names = []
    for task in bare:
        alike = known.setdefault(task_name(task), [])
        if task not in alike:
            alike.append(task)
        name = task_name(task)
        if task != alike[0]:
            where, here, _ = first_difference(task, alike[0]) or ("", "", "")
            name = f"{name}, {where}={here}"
        names.append(name)
    return names


def _unbegun(paths: Sequence[Path]) -> list[str]:
    return [
        f"{run} has not been started; hetrl train --resume {path}."
        for path in paths
        for run in SeedsFolder(path).runs.values()
        if SeedsFolder(path).recipe.exists() and not Folder(run).recipe.exists()
    ]


def _unfinished(runs: Sequence[Path]) -> list[str]:
    found = []
    for run in runs:
        frames, wanted = frames_logged(run), tree_of(run)["run"]["frames"]
        if frames < wanted:
            found.append(f"{run} is not finished ({frames:,} of {wanted:,} frames); hetrl train --resume {run}.")
    return found


def _refuse_repeated_seeds(entry: Entry) -> None:
    seeds = [tree_of(run)["run"].get("seed", 0) for run in entry.runs]
    for (seed, run), (same, other) in combinations(zip(seeds, entry.runs, strict=True), 2):
        if seed == same:
            raise RunError(f"{run} and {other} are the same recipe with the same seed {seed}; name one of them.")


def _measured_unlike(runs: Sequence[Path]) -> list[str]:
    """Return in what runs on one task differ from the first that must be equal."""
    found = []
    first = _measured(runs[0])
    for run in runs[1:]:
        for word, value in _measured(run).items():
            if value != first[word]:
                found.append(f"run.{word} is {_number(first[word])} in {runs[0]} and {_number(value)} in {run}.")
    return found


def _measured(run: Path) -> dict[str, Any]:
    tree = tree_of(run)["run"]
    return {word: tree.get(word, _DEFAULTS.get(word)) for word in _MEASURED}


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "not set"


def _on_other_tasks(entries: Sequence[Entry]) -> list[str]:
    """Say where a method did not run on a task on which another did."""
    found = []
    for one, other in combinations(entries, 2):
        alone = all(each.task != one.task or each.method == one.method for each in entries)
        if one.task != other.task and one.method != other.method and alone:
            mine, theirs = (
                {word: value for word, value in entry.tree["task"].items() if word not in _NOT_THE_TASK}
                for entry in (one, other)
            )
            where, here, there = first_difference(mine, theirs) or ("", "", "")
            found.append(
                f"{one.method} ran on {one.task}, {other.method} on {other.task}: task.{where} is {here} and {there}."
            )
    return found


def _versions(runs: Sequence[Path]) -> list[str]:
    """Say which packages had other versions in some of the runs."""
    known: dict[str, set[str]] = {}
    for run in runs:
        if Folder(run).versions.exists():
            saved = json.loads(Folder(run).versions.read_text())
            for package, version in saved.get("packages", {}).items():
                known.setdefault(package, set()).add(version)
    return [
        f"{package} had versions {' and '.join(sorted(versions))}."
        for package, versions in known.items()
        if len(versions) > 1
    ]


def _few(entries: Sequence[Entry]) -> list[str]:
    least = min(len(entry.runs) for entry in entries)
    if least >= 5:
        return []
    few = f"{least} seed{'s' if least > 1 else ''}"
    return [f"{few} in some entry: with fewer than 5, intervals come out too narrow (below 3, none is given)."]
