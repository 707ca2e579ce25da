"""Run folders: what they are, which belong together, and their curves."""

import functools
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from hetrl.errors import RunError
from hetrl.report.curve import Curve, draw, from_run
from hetrl.report.writable import PICTURES, check_target
from hetrl.runs.csv_table import FRAMES, read
from hetrl.runs.run import Folder
from hetrl.runs.seeds import SeedsFolder

Tree = dict[str, Any]


def run_folders(paths: Sequence[Path]) -> list[Path]:
    """Return the run folders that ``paths`` name: themselves, or the runs that a folder of seeds has begun.

    Raises:
        RunError: one is neither, or there is none.
    """
    found: list[Path] = []
    for path in paths:
        seeds = SeedsFolder(path)
        if seeds.recipe.exists():
            found += [run for run in seeds.runs.values() if Folder(run).recipe.exists()]
        elif Folder(path).recipe.exists():
            found.append(path)
        else:
            raise RunError(f"{path} is no run (it has no recipe.yaml).")
    if not found:
        raise RunError(f"no seed has been started in {paths[0]}; hetrl train --resume {paths[0]}.")
    return found


def draw_runs(runs: Sequence[Path], metric: str | None, path: Path) -> Path:
    """Draw the learning curves of runs into a PNG and return its path.

    Args:
        runs: run folders, or folders of seeds.
        metric: a column of their metrics; by default ``eval/return`` where all have it, else ``return``.
        path: the picture.

    Raises:
        RunError: a folder is no run, or lacks the metric, or the picture cannot be written.
    """
    check_target(path, PICTURES)
    runs = run_folders(runs)
    chosen = metric or _metric(runs)
    names = {run: _name(run) for run in runs}
    groups = by_seed(runs)
    firsts = [names[members[0]] for members in groups]
    curves = [
        Curve(
            name if firsts.count(name) == 1 else f"{name}: {folder_name(members)}",
            [from_run(run, chosen) for run in members],
        )
        for name, members in zip(firsts, groups, strict=True)
    ]
    return draw(curves, path, ylabel=chosen)


def tree_of(run: Path) -> Tree:
    """Return the resolved recipe of a run; it is not to be changed."""
    return _parsed(Folder(run).recipe.read_text(encoding="utf-8"))


@functools.lru_cache(maxsize=1024)
def _parsed(text: str) -> Tree:
    # OmegaConf takes some hundredths of a second, and a comparison asks often.
    return OmegaConf.to_container(OmegaConf.create(text))  # type: ignore[return-value]


def by_seed(runs: Sequence[Path]) -> list[list[Path]]:
    """Return runs in groups: those whose recipes differ in nothing but how they were run and how they are described."""
    groups: dict[str, list[Path]] = {}
    for run in runs:
        tree = {word: value for word, value in tree_of(run).items() if word not in ("run", "about")}
        groups.setdefault(json.dumps(tree, sort_keys=True), []).append(run)
    return list(groups.values())


def frames_logged(run: Path) -> int:
    """Return the frames of the last row of a run's metrics; 0 without any."""
    rows = read(Folder(run).metrics) if Folder(run).metrics.exists() else []
    return int(rows[-1][FRAMES]) if rows else 0


def method_name(run: Path) -> str:
    """Return how a run's recipe calls itself: the first words of what it says about itself."""
    return re.split(r"[.,:;]", str(tree_of(run).get("about") or folder_name([run])))[0]


def folder_name(members: Sequence[Path]) -> str:
    """Return what the folders of a recipe's seeds are called, without the seed."""
    first = members[0].resolve()
    if SeedsFolder(first.parent).recipe.exists():
        return first.parent.name
    return re.sub(r"_?(seed)?_?\d+$", "", first.name) or first.name if len(members) > 1 else first.name


def task_name(task: Tree) -> str:
    """Return what a task is called."""
    named = [task[word] for word in ("scenario", "name", "robot") if word in task]
    return str((*named, task["use"])[0]).split("/")[-1]


def _metric(runs: Sequence[Path]) -> str:
    every = [any("eval/return" in row for row in read(run / "metrics.csv")) for run in runs]
    return "eval/return" if all(every) else "return"


def _name(run: Path) -> str:
    tree = tree_of(run)
    about = str(tree.get("about") or run.name).split(".")[0]
    task = tree["task"]
    return f"{about}, {task.get('scenario', task['use'])}" if isinstance(task, dict) else about
