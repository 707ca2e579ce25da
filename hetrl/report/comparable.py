"""Which runs may be compared: seeds of one recipe belong together, and recipes must have been measured alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any

from hetrl.errors import RunError
from hetrl.recipe.frozen import Tree
from hetrl.runs.folder import Folder, task_name
from hetrl.runs.seeds_folder import SeedsFolder
from hetrl.runs.several import by_seed, flat, method_name, run_folders

_NOT_THE_TASK = ("n_envs", "groups")
"""Words of ``task`` that are about how one trains on it."""
_MEASURED = ("frames", "eval_every", "n_eval_episodes")
"""Words of ``run`` that must be equal; what is left out has the value that :data:`_DEFAULTS` says."""
_DEFAULTS = {"eval_every": None, "n_eval_episodes": 64}
_ABSENT = "default"
"""What a tree has where it says nothing."""
_WORDS, _LETTERS = 3, 40
"""Of a label, at most: differences, and letters of a value."""

"""A resolved recipe, or a section of it."""
Words = tuple[str | int, ...]
"""A place in a tree."""


@dataclass(frozen=True)
class Entry:
    """The seeds of one recipe on one task."""

    method: str
    task: str
    runs: tuple[Path, ...]
    tree: Tree
    """The recipe of the first one."""
    recipe: str
    """What it calls itself, without what tells variants of it apart: that gives it its look in pictures."""


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
    resolved = [run.resolve() for run in runs]
    for run, path in zip(runs, resolved, strict=True):
        if resolved.count(path) > 1:
            raise RunError(f"{run} is named twice.")
    entries = _entries(by_seed(runs))
    problems = [*_unbegun(flat(paths)), *_unfinished(runs)]
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
    trees = [Folder(members[0]).tree() for members in groups]
    tasks = _task_names([tree["task"] for tree in trees])
    recipes = [method_name(members[0]) for members in groups]
    methods = _method_names(recipes, tasks, trees)
    return [
        Entry(method, task, tuple(members), tree, recipe)
        for method, task, members, tree, recipe in zip(methods, tasks, groups, trees, recipes, strict=True)
    ]


def _task_names(tasks: Sequence[Tree]) -> list[str]:
    """Return names of tasks; different ones of one name say what differs from the first."""
    bare = [_bare(task) for task in tasks]
    names = [task_name(task) for task in tasks]
    for name in dict.fromkeys(names):
        indices = [index for index, each in enumerate(names) if each == name]
        alike = [bare[index] for index in indices]
        for index, label in zip(indices, _labels(alike, _apart(alike)), strict=True):
            if bare[index] != alike[0]:
                names[index] += f", {label}"
    return names


def _bare(task: Tree) -> Tree:
    return {word: value for word, value in task.items() if word not in _NOT_THE_TASK}


def _method_names(names: Sequence[str], tasks: Sequence[str], trees: Sequence[Tree]) -> list[str]:
    """Return names of recipes; several of one name on one task say in what they differ, on every task alike."""
    found = list(names)
    for name in dict.fromkeys(names):
        indices = [index for index, each in enumerate(names) if each == name]
        bare = {index: {**trees[index], "run": None, "about": None} for index in indices}
        apart = [_apart([bare[index] for index in indices if tasks[index] == task]) for task in dict.fromkeys(tasks)]
        words = list(dict.fromkeys(word for each in apart for word in each))
        if words:
            for index, label in zip(indices, _labels(list(bare.values()), words), strict=True):
                found[index] = f"{name} ({label})"
    return found


def _apart(trees: Sequence[Any], where: Words = ()) -> list[Words]:
    """Return the places in which some of several trees differ."""
    words: Sequence[str | int]
    if trees and all(isinstance(tree, dict) for tree in trees):
        words = list(dict.fromkeys(word for tree in trees for word in tree))
    elif trees and all(_has_entries(tree) and len(tree) == len(trees[0]) for tree in trees):
        words = range(len(trees[0]))
    else:
        return [where] if any(tree != trees[0] for tree in trees) else []
    return [place for word in words for place in _apart([_at(tree, [word]) for tree in trees], (*where, word))]


def _has_entries(tree: Any) -> bool:
    """Say whether it is a list of phases or steps."""
    return isinstance(tree, list) and any(isinstance(each, dict) for each in tree)


def _at(tree: Any, words: Sequence[str | int]) -> Any:
    for word in words:
        if isinstance(tree, list):
            tree = dict(enumerate(tree))
        tree = tree.get(word, _ABSENT) if isinstance(tree, dict) else _ABSENT
    return tree


def _labels(trees: Sequence[Tree], places: Sequence[Words]) -> list[str]:
    """Return what each of several trees has in some places, in a few words; numbered where those are not enough."""
    more = ["..."] if len(places) > _WORDS else []
    labels = [", ".join([_label(tree, place) for place in places[:_WORDS]] + more) for tree in trees]
    values = [[_at(tree, place) for place in places] for tree in trees]
    known: dict[str, list[list[Any]]] = {}
    for label, each in zip(labels, values, strict=True):
        if each not in known.setdefault(label, []):
            known[label].append(each)
    return [label if len(known[label]) == 1 else f"{label} #{known[label].index(each) + 1}"
            for label, each in zip(labels, values, strict=True)]  # fmt: skip


def _label(tree: Tree, place: Words) -> str:
    """Return what a tree has in a place, such as ``actors.epochs=5``, or ``order/fixed`` for what is used there."""
    value = _at(tree, place)
    if place[-1] == "use" and value != _ABSENT:
        return str(value)
    names = []
    for end, word in enumerate(place, 1):
        entry = _at(tree, place[:end])
        named = isinstance(word, int) and isinstance(entry, dict)
        names.append(next((str(entry[each]) for each in ("phase", "use", "net") if named and each in entry), str(word)))
    text = f"{len(value)} entries" if _has_entries(value) else str(value)
    return f"{'.'.join(names[-2:])}={text if len(text) <= _LETTERS else text[: _LETTERS - 3] + '...'}"


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
        frames, wanted = Folder(run).frames_logged(), Folder(run).tree()["run"]["frames"]
        if frames < wanted:
            found.append(f"{run} is not finished ({frames:,} of {wanted:,} frames); hetrl train --resume {run}.")
    return found


def _refuse_repeated_seeds(entry: Entry) -> None:
    seeds = [Folder(run).tree()["run"].get("seed", 0) for run in entry.runs]
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
    tree = Folder(run).tree()["run"]
    return {word: tree.get(word, _DEFAULTS.get(word)) for word in _MEASURED}


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else "not set"


def _on_other_tasks(entries: Sequence[Entry]) -> list[str]:
    """Say of each task which methods did not run on it."""
    ran = {(entry.method, entry.task): entry for entry in entries}
    found = []
    for method, task in product(*(dict.fromkeys(words) for words in zip(*ran, strict=True))):
        if (method, task) in ran:
            continue
        mine = next(entry for entry in entries if entry.method == method)
        there = next(entry for entry in entries if entry.task == task)
        if (there.method, mine.task) in ran:
            found.append(f"{method} did not run on {task}, {there.method} did.")
            continue
        one, other = sorted((mine, there), key=entries.index)
        trees = [_bare(entry.tree["task"]) for entry in (one, other)]
        place = _apart(trees)[0]
        here, elsewhere = (_at(tree, place) for tree in trees)
        found.append(
            f"{one.method} ran on {one.task}, {other.method} on {other.task}: "
            f"task.{'.'.join(map(str, place))} is {here} and {elsewhere}."
        )
    return found


def _versions(runs: Sequence[Path]) -> list[str]:
    """Say which packages, and which files that registered parts, had other versions in some of the runs."""
    known: dict[str, set[str]] = {}
    for run in runs:
        parts = {file: digest[:12] for file, digest in Folder(run).parts().items()}
        for package, version in {**Folder(run).machine().get("packages", {}), **parts}.items():
            known.setdefault(package, set()).add(str(version))
    return [
        f"{package} had versions {' and '.join(sorted(versions))}."
        for package, versions in known.items()
        if len(versions) > 1
    ]


def n_seeds(count: int) -> str:
    """Return so many seeds as text."""
    return "1 seed" if count == 1 else f"{count} seeds"


def _few(entries: Sequence[Entry]) -> list[str]:
    least = min(len(entry.runs) for entry in entries)
    if least >= 5:
        return []
    return [
        f"{n_seeds(least)} in some entry: with fewer than 5, intervals of scores are Student's t of the mean, and "
        "those of probabilities come out too narrow (below 3, none is given)."
    ]
