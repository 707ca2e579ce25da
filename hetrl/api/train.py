"""Training from Python: what ``hetrl train`` does, and the run that comes of it."""

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hetrl.api.run import Run
from hetrl.errors import RunError
from hetrl.recipe.check import check
from hetrl.recipe.check.warnings import warnings_of
from hetrl.recipe.read import load
from hetrl.recipe.schema import Recipe
from hetrl.runs import run as runs
from hetrl.runs.seeds import train_seeds


def train(
    recipe: str | os.PathLike[str] | Mapping[str, Any] | Recipe,
    *overrides: str,
    folder: str | os.PathLike[str] | None = None,
    seeds: int | None = None,
    init: str | os.PathLike[str] | Run | None = None,
    at_once: int | None = None,
    on: str = "local",
    slurm: Mapping[str, Any] | None = None,
    keep: str | None = None,
    callbacks: Sequence[Any] = (),
    wandb: str | None = None,
    quiet: bool = False,
) -> Run:
    """Train a recipe in a new folder, as ``hetrl train`` does, and return the run.

    ```python
    run = hetrl.train("happo", "task.n_envs=64", folder="runs/balance")
    ```

    Args:
        recipe: as for :func:`hetrl.load`: the name of a shipped recipe, a YAML file, nested dicts, or a recipe.
        overrides: changes to it, ``a.b=c``.
        folder: where; by default a new one under ``runs/``.
        seeds: train so many seeds, from ``run.seed`` upwards, each in a process of its own; see ``Run.seeds``.
        init: another run whose weights it starts from: a folder, ``"runs/other:actor"`` for some of its nets, or a
            :class:`Run`. Seeds start from a folder of seeds each from its own.
        at_once: how many of them at once; by default as many as there are cores.
        on: where seeds are trained: ``local``, ``slurm``, or ``submitit-local`` for jobs on this machine.
        slurm: what each job of Slurm asks for: ``{"partition": "gpu", "time": 240}``, in minutes.
        keep: checkpoints that stay beside the last one: ``"best"``, ``"best:3"``, ``"every:1e5"``.
        callbacks: more of Lightning's; not with seeds.
        wandb: a Weights & Biases project to log to as well.
        quiet: no progress.

    Raises:
        RecipeError: the recipe cannot be read, or does not link.
        RunError: the folder is taken, or cannot be written, or nothing of ``init`` fits; or seeds have failed.
        DivergenceError: a number became NaN or infinite.
    """
    loaded = load(recipe, *overrides, *([] if keep is None else [f"run.keep={keep}"]))
    check(loaded)
    for line in warnings_of(loaded):
        warnings.warn(line, stacklevel=2)
    path = None if folder is None else Path(folder)
    origin = init.path if isinstance(init, Run) else None if init is None else os.fspath(init)
    if seeds is None:
        if at_once is not None:
            raise RunError("hetrl.train(at_once=...) goes with seeds=....")
        if on != "local" or slurm is not None:
            raise RunError("hetrl.train(on=..., slurm=...) goes with seeds=....")
        return Run(runs.train(loaded, path, init=origin, wandb=wandb, callbacks=callbacks, quiet=quiet).path)
    if callbacks:
        raise RunError("hetrl.train(seeds=...): seeds are trained in processes of their own, without callbacks.")
    if not isinstance(seeds, int) or isinstance(seeds, bool) or seeds < 1:
        raise RunError(f"hetrl.train(seeds={seeds!r}): give the number of seeds, 1 or more.")
    outcome = train_seeds(loaded, seeds, path, init=origin, at_once=at_once, wandb=wandb, on=on, slurm=slurm)
    outcome.refuse_failures()
    return Run(outcome.folder.path)
