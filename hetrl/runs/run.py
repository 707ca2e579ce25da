"""A run in its folder: trained, continued, evaluated, and its networks brought back."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import DeviceStatsMonitor, LearningRateMonitor
from rich.console import Console

from hetrl import rng
from hetrl.acting.drawing import Drawing
from hetrl.data.behaviour import Behaviour
from hetrl.data.environment import used
from hetrl.data.evaluate import Episodes, Watch, evaluate
from hetrl.errors import RecipeError, RunError
from hetrl.ranks import Rank
from hetrl.recipe import text
from hetrl.recipe.read import load
from hetrl.recipe.same import refuse_other_recipe
from hetrl.recipe.schema import Recipe
from hetrl.runs.failed import nothing_left
from hetrl.runs.fit import fit
from hetrl.runs.folder import LAST, Folder, default_folder, make_room, open_folder
from hetrl.runs.lock import sole_writer
from hetrl.runs.loggers import loggers_of, require_wandb
from hetrl.runs.origin import Given, Origin
from hetrl.runs.restored import restored_actors
from hetrl.train.build import build
from hetrl.train.callbacks import DeviceNote, ProgressBar, SizeNote
from hetrl.train.checkpoint_file import CheckpointFiles
from hetrl.train.rank_files import is_dealt, of_process
from hetrl.train.restorable import refuse_unfit


def train(
    recipe: Recipe,
    folder: Path | None = None,
    *,
    init: str | Path | None = None,
    wandb: str | None = None,
    callbacks: Sequence[L.Callback] = (),
    quiet: bool = False,
) -> Folder:
    """Train a recipe in a new folder and return the folder, in each process. A start that fails leaves none.

    Args:
        recipe: what to train.
        folder: where; by default a new one under ``runs/``.
        init: another run whose weights it starts from, see :class:`~hetrl.runs.origin.Origin`.
        wandb: a Weights & Biases project to log to as well.
        callbacks: more of Lightning's, such as a :class:`~hetrl.report.monitor.BoundMonitor`.
        quiet: no progress bar.

    Raises:
        RecipeError: the recipe does not link.
        RunError: the folder is taken, or being written by somebody else, or cannot be written, or the weights of the
            other run do not fit.
        DivergenceError: a loss became NaN or infinite, or a policy or the environment gave a number that is.
    """
    require_wandb(wandb)
    _refuse_unfit_callbacks(callbacks)
    module, data = build(recipe)  # before anything is written
    given = None if init is None else Origin.parse(init).give(module)
    opened = Folder(folder or default_folder(recipe))
    if not module.rank.first:
        return fit(opened, module, data, None, [], callbacks)
    with sole_writer(opened.path):
        make_room(opened, recipe)
        with nothing_left(opened):
            open_folder(opened.path, recipe)
            if given is not None:
                _tell(given, opened, quiet)
            fit(opened, module, data, None, loggers_of(opened, None, wandb), [*callbacks, *_progress(quiet)])
    return opened


def _tell(given: Given, folder: Folder, quiet: bool) -> None:
    """Save what a run was given, and print it."""
    given.save(folder)
    if not quiet:
        console = Console(markup=False, emoji=False)
        for line in given.lines():
            console.print(line, highlight=False, soft_wrap=True)


def resume(
    path: Path,
    *overrides: str,
    checkpoint: str = LAST,
    wandb: str | None = None,
    callbacks: Sequence[L.Callback] = (),
    quiet: bool = False,
) -> Folder:
    """Continue a run from a checkpoint, by default its last one, bit for bit on the CPU.

    Args:
        path: the run's folder.
        overrides: only of ``run`` (more frames, another evaluation interval).
        checkpoint: which, as :meth:`~hetrl.runs.folder.Folder.named` takes it; rows after it come again.
        wandb: a Weights & Biases project to log to as well.
        callbacks: as for :func:`train`.
        quiet: no progress bar.

    Raises:
        RunError: there is nothing to continue, or the checkpoint is damaged or does not fit, or the overrides change
            the recipe, or somebody else writes into the folder.
    """
    folder = Folder(path)
    folder.refuse_if_empty()
    folder.need_parts()
    _refuse_unfit_callbacks(callbacks)
    rank = _rank(load(folder.recipe, *overrides))
    with sole_writer(path) if rank.first else nullcontext():
        _resume(folder, overrides, checkpoint, wandb, [*callbacks, *(_progress(quiet) if rank.first else [])])
    return folder


def _rank(recipe: Recipe) -> Rank:
    return Rank.here(recipe.run.devices, recipe.run.nodes)


def _resume(
    folder: Folder, overrides: Sequence[str], name: str, wandb: str | None, callbacks: Sequence[L.Callback]
) -> None:
    recipe = load(folder.recipe, *overrides)
    path = folder.named(name)
    checkpoint = folder.load_checkpoint(name)
    refuse_other_recipe(recipe, _recipe_in(checkpoint, path).yaml())
    frames = checkpoint["hetrl"]["frames"]
    if frames >= recipe.run.frames:
        raise RunError(f"{folder.path} is finished ({frames} frames); go on with run.frames=... above that.")
    require_wandb(wandb)
    rank = _rank(recipe)
    checkpoint = of_process(checkpoint, path, rank)
    began_on = rng.kind_of_device(checkpoint["hetrl"].get("global", {}))
    module, data = build(recipe, f"frames{frames}" if is_dealt(checkpoint) else None, began_on)
    refuse_unfit(checkpoint, module, data, path)
    files = CheckpointFiles(checkpoint)
    del checkpoint  # it may hold a large buffer: in memory no longer than it takes to restore it
    loggers = loggers_of(folder, frames, wandb) if rank.first else []
    fit(folder, module, data, (path, frames), loggers, callbacks, files)


def _recipe_in(checkpoint: Mapping[str, Any], path: Path) -> Recipe:
    """Return the recipe that a checkpoint says it is of."""
    try:
        return load(text.parse(checkpoint["hetrl"]["recipe"], "the checkpoint's recipe", whole=True))
    except RecipeError as error:
        raise RunError(f"{path} is no checkpoint to go on from: {error}") from None


def _refuse_unfit_callbacks(callbacks: Sequence[L.Callback]) -> None:
    """Refuse what is no callback, or writes rows by the number of batches: a run's table goes by frames."""
    if not isinstance(callbacks, Sequence):
        raise RunError(f"callbacks: a {type(callbacks).__name__} is no list; write callbacks=[...].")
    for each in callbacks:
        if isinstance(each, type):
            raise RunError(f"callbacks: {each.__name__} is a class; make one, {each.__name__}(...).")
        if not isinstance(each, L.Callback):
            raise RunError(f"callbacks: {each!r} is no callback of Lightning's.")
        if isinstance(each, LearningRateMonitor | DeviceStatsMonitor):
            raise RunError(
                f"{type(each).__name__} logs against batches, and a run's table goes by frames; use it under a Trainer "
                "of your own, L.Trainer(...).fit(*hetrl.build(recipe))."
            )


def _progress(quiet: bool) -> list[L.Callback]:
    return [] if quiet else [SizeNote(), DeviceNote(), ProgressBar()]


def evaluate_run(
    path: Path,
    *overrides: str,
    n_episodes: int | None = None,
    stochastic: bool = False,
    checkpoint: str = LAST,
    watch: Watch | None = None,
) -> Episodes:
    """Evaluate a checkpoint of a run, by default its last one.

    Only the policies are restored: the task may have another state or team.

    Args:
        path: the run's folder.
        overrides: changes to its recipe, such as another ``task.horizon``; ``run.seed`` is the seed of the episodes.
        n_episodes: how many episodes, by default ``run.n_eval_episodes``.
        stochastic: draw the actions; otherwise they are the deterministic ones.
        checkpoint: which, as :meth:`~hetrl.runs.folder.Folder.named` takes it.
        watch: who looks on during the first of them, such as a :class:`~hetrl.report.video.Film`.

    Raises:
        RunError: the folder holds no run, or no checkpoint, or the policies do not fit the task.
    """
    episodes = [] if n_episodes is None else [f"run.n_eval_episodes={n_episodes}"]
    recipe, linked, env = restored_actors(path, *overrides, *episodes, checkpoint=checkpoint)
    policies = Behaviour(linked.team, linked.policy)
    acting = Drawing(policies, linked.team, recipe.run.seed) if stochastic else policies
    with used(env):
        return evaluate(env, acting, recipe.task.arguments.get("reward", "mean"), watch)
