"""A run in its folder: trained, continued, evaluated, and its networks brought back."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint, DeviceStatsMonitor, LearningRateMonitor
from lightning.pytorch.loggers import Logger
from rich.console import Console

from hetrl import ranks
from hetrl.acting.drawing import Drawing
from hetrl.data.behaviour import Behaviour
from hetrl.data.environment import used
from hetrl.data.evaluate import Episodes, Watch, evaluate
from hetrl.disk import replace_text
from hetrl.errors import RecipeError, RunError
from hetrl.ranks import ALONE, Rank
from hetrl.recipe import text
from hetrl.recipe.keep import Keep
from hetrl.recipe.read import load
from hetrl.recipe.same import refuse_other_recipe
from hetrl.recipe.schema import Recipe
from hetrl.runs.csv_table import CsvTable
from hetrl.runs.failed import nothing_left
from hetrl.runs.folder import LAST, Folder, default_folder, make_room, open_folder
from hetrl.runs.lock import sole_writer
from hetrl.runs.loggers import loggers_of, require_wandb
from hetrl.runs.origin import Given, Origin
from hetrl.runs.restored import restored_actors
from hetrl.train.begun import Begun
from hetrl.train.board import silent_threads
from hetrl.train.build import build
from hetrl.train.callbacks import Checkpoints, DeviceNote, GracefulStop, ProgressBar, SizeNote
from hetrl.train.checkpoint_file import CheckpointFiles
from hetrl.train.collection import Collection
from hetrl.train.keeping import Keeping
from hetrl.train.learner import Learner
from hetrl.train.processes import Processes, environment
from hetrl.train.rank_files import COLLECTION, of_process
from hetrl.train.restorable import refuse_unfit
from hetrl.train.timings import Timings


def train(
    recipe: Recipe,
    folder: Path | None = None,
    *,
    init: str | Path | None = None,
    wandb: str | None = None,
    callbacks: Sequence[L.Callback] = (),
    quiet: bool = False,
) -> Folder:
    """Train a recipe in a new folder and return the folder. A start that fails leaves none.

    With ``run.devices`` this process starts the others, which are called the same way: the first one writes the folder.

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
        return _fit(opened, module, data, None, [], callbacks)
    with sole_writer(opened.path):
        make_room(opened, recipe)
        with nothing_left(opened):
            open_folder(opened.path, recipe)
            if given is not None:
                _tell(given, opened, quiet)
            _fit(opened, module, data, None, loggers_of(opened, None, wandb), [*callbacks, *_progress(quiet)])
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
    module, data = build(recipe, f"frames{frames}" if "sources" in checkpoint[COLLECTION] else None)
    refuse_unfit(checkpoint, module, data, path)
    files = CheckpointFiles(checkpoint)
    del checkpoint  # it may hold a large buffer: in memory no longer than it takes to restore it
    loggers = loggers_of(folder, frames, wandb) if rank.first else []
    _fit(folder, module, data, (path, frames), loggers, callbacks, files)


def _recipe_in(checkpoint: Mapping[str, Any], path: Path) -> Recipe:
    """Return the recipe that a checkpoint says it is of."""
    try:
        return load(text.parse(checkpoint["hetrl"]["recipe"], "the checkpoint's recipe", whole=True))
    except RecipeError as error:
        raise RunError(f"{path} is no checkpoint to go on from: {error}") from None


def _fit(
    folder: Folder,
    module: Learner,
    data: Collection,
    resumed: tuple[Path, int] | None,
    loggers: Sequence[Logger],
    callbacks: Sequence[L.Callback],
    files: CheckpointFiles | None = None,
) -> Folder:
    """Train into a folder; ``resumed`` says from which checkpoint, and at which frames it stands.

    Returns:
        The folder, of several processes that of the first one: it alone may have chosen a name.
    """
    run, rank = module.recipe.run, module.rank
    checkpoint, frames = resumed or (None, None)
    saving = Checkpoints(folder.checkpoint.parent, run.checkpoint_every or max(run.frames // 20, 1))
    keep = Keep.parse(run.keep)
    keeping = [Keeping(folder.checkpoint.parent, keep)] if keep != Keep() else []
    timings = [Timings(CsvTable(folder.timings, frames))] if rank.first else []
    opened = [folder]

    def take_note() -> None:
        opened[0] = Folder(Path(ranks.from_first(str(folder.path))))
        if rank.first:
            _take_note(folder, module.recipe)

    begun = Begun(take_note)
    restoring = nullcontext() if checkpoint is None else begun.restoring(checkpoint)
    with _lightning_quiet(), silent_threads(), restoring:
        trainer = L.Trainer(
            max_epochs=-1,
            accelerator="gpu" if data.device.type == "cuda" else "cpu",
            devices=[data.device.index or 0] if rank == ALONE and data.device.type == "cuda" else run.devices,
            num_nodes=run.nodes,
            strategy="auto" if rank == ALONE else Processes(),
            logger=list(loggers),
            callbacks=[begun, GracefulStop(), *keeping, saving, *timings, *callbacks],
            plugins=[environment(rank), files or CheckpointFiles()],
            enable_checkpointing=any(isinstance(each, Checkpoint) for each in callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=1,
            default_root_dir=str(folder.path),
        )
        try:
            trainer.fit(module, data, ckpt_path=str(checkpoint) if checkpoint else None, weights_only=True)
        except ranks.LostError:
            if rank.first:
                raise
            raise SystemExit(2) from None  # the first one says it
    return opened[0]


def _take_note(folder: Folder, recipe: Recipe) -> None:
    """Write down what goes on: the recipe, and the files of its parts as they are now."""
    replace_text(folder.recipe, recipe.yaml())
    folder.keep_parts()


@contextmanager
def _lightning_quiet() -> Iterator[None]:
    """Leave out what Lightning says about other kinds of training."""
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # a deprecation between it and torch
            warnings.filterwarnings("ignore", message=".*`srun` command is available.*")
            warnings.filterwarnings("ignore", message=r".*following callbacks: \['Keeping'\].*")  # run.keep may change
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


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
