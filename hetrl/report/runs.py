"""Curves of run folders: runs that differ only by their seed belong together."""

import json
from collections.abc import Sequence
from pathlib import Path

from omegaconf import OmegaConf

from hetrl.errors import RunError
from hetrl.report.curve import Curve, draw, from_run
from hetrl.train.csv_logger import read


def draw_runs(runs: Sequence[Path], metric: str | None, path: Path) -> Path:
    """Draw the learning curves of runs into a PNG and return its path.

    Args:
        runs: run folders.
        metric: a column of their metrics; by default ``eval/return`` where all have it, else ``return``.
        path: the picture.

    Raises:
        RunError: a folder is no run, or lacks the metric.
    """
    for run in runs:
        if not (run / "recipe.yaml").exists():
            raise RunError(f"{run} is no run (it has no recipe.yaml).")
    chosen = metric or _metric(runs)
    groups: dict[str, list[Path]] = {}
    for run in runs:
        groups.setdefault(_identity(run), []).append(run)
    names = [_name(members[0]) for members in groups.values()]
    curves = [
        Curve(
            name if names.count(name) == 1 else f"{name}: {members[0].name}", [from_run(run, chosen) for run in members]
        )
        for name, members in zip(names, groups.values(), strict=True)
    ]
    return draw(curves, path, ylabel=chosen)


def _metric(runs: Sequence[Path]) -> str:
    every = [any("eval/return" in row for row in read(run / "metrics.csv")) for run in runs]
    return "eval/return" if all(every) else "return"


def _tree(run: Path) -> dict[str, object]:
    return OmegaConf.to_container(OmegaConf.load(run / "recipe.yaml"))  # type: ignore[return-value]


def _identity(run: Path) -> str:
    """Return what two runs of different seeds have in common."""
    tree = _tree(run)
    return json.dumps({word: value for word, value in tree.items() if word not in ("run", "about")}, sort_keys=True)


def _name(run: Path) -> str:
    tree = _tree(run)
    about = str(tree.get("about") or run.name).split(".")[0]
    task = tree["task"]
    return f"{about}, {task.get('scenario', task['use'])}" if isinstance(task, dict) else about
