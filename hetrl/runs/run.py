"""A run in its folder: trained, continued, evaluated, and its networks brought back."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger

from hetrl.data.behaviour import Behaviour
from hetrl.data.evaluate import Episodes, Watch, evaluate
from hetrl.engine.link import link
from hetrl.engine.linked import Linked
from hetrl.errors import DependencyError, RunError
from hetrl.recipe.read import load
from hetrl.recipe.same import refuse_other_recipe
from hetrl.recipe.schema import Recipe
from hetrl.runs.csv_table import CsvTable
from hetrl.runs.folder import Folder, default_folder, open_folder
from hetrl.train.build import build, evaluation_env, resolve_device
from hetrl.train.callbacks import Checkpoints, GracefulStop, ProgressBar
from hetrl.train.collection import Collection
from hetrl.train.learner import Learner
from hetrl.train.timings import Timings


def train(
    recipe: Recipe,
    folder: Path | None = None,
    *,
    wandb: str | None = None,
    callbacks: Sequence[L.Callback] = (),
    quiet: bool = False,
) -> Folder:
    """Train a recipe in a new folder and return the folder.

    Args:
        recipe: what to train.
        folder: where; by default a new one under ``runs/``.
        wandb: a Weights & Biases project to log to as well.
        callbacks: more of Lightning's, such as a :class:`~hetrl.report.monitor.BoundMonitor`.
        quiet: no progress bar.

    Raises:
        RecipeError: the recipe does not link.
        RunError: the folder is taken.
        DivergenceError: a loss became NaN or infinite, or a policy or the environment gave a number that is.
    """
    _require_wandb(wandb)
    module, data = build(recipe)  # before anything is written
    opened = open_folder(folder or default_folder(recipe), recipe)
    _fit(opened, module, data, None, _loggers(opened, None, wandb), [*callbacks, *_progress(quiet)])
    return opened


def resume(
    path: Path,
    *overrides: str,
    wandb: str | None = None,
    callbacks: Sequence[L.Callback] = (),
    quiet: bool = False,
) -> Folder:
    """Continue a run from its last checkpoint, bit for bit on the CPU.

    Args:
        path: the run's folder.
        overrides: only of ``run`` (more frames, another evaluation interval).
        wandb: a Weights & Biases project to log to as well.
        callbacks: as for :func:`train`.
        quiet: no progress bar.

    Raises:
        RunError: there is nothing to continue, or the overrides change the recipe.
    """
    folder = Folder(path)
    folder.refuse_if_empty()
    recipe = load(folder.recipe, *overrides)
    state = folder.load_checkpoint()["hetrl"]
    refuse_other_recipe(recipe, state["recipe"])
    frames = int(state["frames"])
    if frames >= recipe.run.frames:
        raise RunError(f"{path} is finished ({frames} frames); go on with run.frames=... above that.")
    _require_wandb(wandb)
    module, data = build(recipe)
    folder.recipe.write_text(recipe.yaml())
    _fit(folder, module, data, frames, _loggers(folder, frames, wandb), [*callbacks, *_progress(quiet)])
    return folder


def _fit(
    folder: Folder,
    module: Learner,
    data: Collection,
    resumed: int | None,
    loggers: Sequence[Logger],
    callbacks: Sequence[L.Callback],
) -> None:
    """Train into a folder; ``resumed`` says at which frames its checkpoint stands, None that there is none."""
    run = module.recipe.run
    saving = Checkpoints(folder.checkpoint.parent, run.checkpoint_every or max(run.frames // 20, 1))
    with _lightning_quiet():
        trainer = L.Trainer(
            max_epochs=1,
            accelerator="gpu" if data.device.type == "cuda" else "cpu",
            devices=1,
            plugins=LightningEnvironment(),  # one process; Slurm's signals and variables are not Lightning's business
            logger=list(loggers),
            callbacks=[saving, GracefulStop(), Timings(CsvTable(folder.timings, resumed)), *callbacks],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=1,
            default_root_dir=str(folder.path),
        )
        trainer.fit(module, data, ckpt_path=str(folder.checkpoint) if resumed is not None else None, weights_only=True)


@contextmanager
def _lightning_quiet() -> Iterator[None]:
    """Leave out what Lightning says about other kinds of training."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
            warnings.filterwarnings("ignore", message=".*LeafSpec.*")  # a deprecation between it and torch
            yield
    finally:
        logger.setLevel(level)


def _loggers(folder: Folder, resumed: int | None, wandb: str | None) -> list[Logger]:
    """Return who writes the metrics down: the table, TensorBoard, and a project of Weights & Biases where one is named.

    Rows after frame ``resumed`` are dropped: they come again.
    """
    own: list[Logger] = [
        CsvTable(folder.metrics, resumed),
        TensorBoardLogger(str(folder.path), name="", version="tensorboard", purge_step=resumed),
    ]
    if wandb is None:
        return own
    return [*own, WandbLogger(project=wandb, name=folder.path.name, save_dir=str(folder.path))]


def _require_wandb(project: str | None) -> None:
    """Refuse a project of Weights & Biases where that is not installed."""
    if project is None:
        return
    try:
        import wandb  # noqa: F401
    except ImportError:
        raise DependencyError("--wandb needs Weights & Biases: pip install 'hetrl[wandb]'.") from None


def _progress(quiet: bool) -> list[L.Callback]:
    return [] if quiet else [ProgressBar()]


def evaluate_run(path: Path, *overrides: str, n_episodes: int | None = None, watch: Watch | None = None) -> Episodes:
    """Evaluate a run's last checkpoint with deterministic policies.

    Args:
        path: the run's folder.
        overrides: changes to its recipe, such as another ``task.horizon``.
        n_episodes: how many episodes, by default ``run.n_eval_episodes``.
        watch: who looks on during the first of them, such as a :class:`~hetrl.report.video.Film`.

    Raises:
        RunError: the folder holds no run, or no checkpoint.
    """
    episodes = [] if n_episodes is None else [f"run.n_eval_episodes={n_episodes}"]
    recipe, linked, env = restored(path, *overrides, *episodes)
    behaviour = Behaviour(linked.team, linked.policy)
    return evaluate(env, behaviour, recipe.task.arguments.get("reward", "mean"), watch)


def restored(path: Path, *overrides: str) -> tuple[Recipe, Linked, Any]:
    """Return a run's recipe, its networks as the last checkpoint has them, and environments to evaluate them in.

    Raises:
        RunError: the folder holds no run, or no checkpoint, or the overrides make other networks.
    """
    folder = Folder(path)
    folder.refuse_if_empty()
    recipe = load(folder.recipe, *overrides)
    device = resolve_device(recipe.run.device)
    env = evaluation_env(recipe, device)
    linked = link(recipe, env.team)
    weights = folder.load_checkpoint()["state_dict"]
    try:
        linked.load_state_dict({name.removeprefix("linked."): value for name, value in weights.items()})
    except RuntimeError as error:
        raise RunError(f"{path} was trained with other networks than these overrides make: {error}") from None
    return recipe, linked.to(device), env
