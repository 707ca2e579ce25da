"""A run on disk: its folder, its loggers, its Trainer; starting, resuming, evaluating."""

import json
import logging
import platform
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import Logger, TensorBoardLogger

from hetrl import catalog
from hetrl.data.behaviour import Behaviour
from hetrl.data.evaluate import Episodes, Watch, evaluate
from hetrl.engine.link import link
from hetrl.engine.linked import Linked
from hetrl.errors import DependencyError, RunError
from hetrl.recipe.read import load
from hetrl.recipe.schema import Recipe
from hetrl.runs.csv_table import CsvTable
from hetrl.train.build import build, evaluation_env, resolve_device
from hetrl.train.callbacks import Checkpoints, GracefulStop, ProgressBar
from hetrl.train.learner import first_difference, refuse_other_recipe
from hetrl.train.timings import Timings

PACKAGES = ("hetrl", "torch", "torchrl", "tensordict", "lightning", "vmas", "numpy", "omegaconf")


@dataclass(frozen=True)
class Folder:
    """Where a run keeps what it is, what it measured, and how to go on."""

    path: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.path / "recipe.yaml"

    @property
    def versions(self) -> Path:
        """Versions of the packages, the machine, and the seed."""
        return self.path / "versions.json"

    @property
    def metrics(self) -> Path:
        """The table of metrics."""
        return self.path / "metrics.csv"

    @property
    def timings(self) -> Path:
        """The table of where the time went."""
        return self.path / "timings.csv"

    @property
    def checkpoint(self) -> Path:
        """The last checkpoint."""
        return self.path / "checkpoints" / "last.ckpt"

    def load_checkpoint(self) -> dict[str, Any]:
        """Return the last checkpoint.

        Raises:
            RunError: there is none, or it cannot be read.
        """
        if not self.checkpoint.exists():
            raise RunError(f"{self.path} has no checkpoint yet (checkpoints/last.ckpt).")
        try:
            return torch.load(self.checkpoint, map_location="cpu", weights_only=True)
        except Exception as error:
            raise RunError(f"{self.checkpoint} cannot be read as a checkpoint: {error}.") from error


def default_folder(recipe: Recipe, *, seeds: bool = False) -> Path:
    """Return a folder under ``runs/`` that does not exist yet, named after recipe, task and the one seed."""
    named = [recipe.task.arguments[word] for word in ("scenario", "name", "robot") if word in recipe.task.arguments]
    task = str((*named, recipe.task.name)[0]).split("/")[-1]
    stem = f"{recipe.name}_{task}" + ("" if seeds else f"_seed{recipe.run.seed}")
    path, number = Path("runs") / stem, 2
    while path.exists():
        path, number = Path("runs") / f"{stem}_{number}", number + 1
    return path


def open_folder(path: Path, recipe: Recipe) -> Folder:
    """Return a new run's folder, with the recipe and the versions in it.

    Raises:
        RunError: something is there already.
    """
    folder = Folder(path)
    if path.exists() and any(path.iterdir()):
        if not folder.recipe.exists():
            raise RunError(f"{path} exists and is no run; choose another --folder.")
        other = load(folder.recipe)
        difference = first_difference(recipe.tree, other.tree)
        if difference is not None:
            raise RunError(f"{path} holds a run of another recipe ({difference[0]} differs); choose another --folder.")
        raise RunError(f"{path} holds this run already; continue it with --resume {path}, or choose another --folder.")
    path.mkdir(parents=True, exist_ok=True)
    folder.recipe.write_text(recipe.yaml())
    folder.versions.write_text(json.dumps(describe_machine(recipe), indent=1) + "\n")
    return folder


def describe_machine(recipe: Recipe) -> dict[str, Any]:
    """Return versions (also of packages that bring an entry of the recipe), machine and seed, as saved with a run."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    found |= catalog.outside(_used(recipe.tree))
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    machine = {"python": platform.python_version(), "system": platform.platform(), "gpu": gpu}
    return {"seed": recipe.run.seed, **machine, "threads": torch.get_num_threads(), "packages": found}


def _used(tree: Any) -> Iterator[str]:
    """Yield the catalog names in a recipe."""
    if isinstance(tree, Mapping):
        if isinstance(tree.get("use"), str):
            yield tree["use"]
        tree = tree.values()
    elif not isinstance(tree, list):
        return
    for each in tree:
        yield from _used(each)


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
        DivergenceError: a loss became NaN or infinite.
    """
    module, data = build(recipe)  # before anything is written
    place = open_folder(folder or default_folder(recipe), recipe)
    _fit(place, recipe, module, data, None, wandb, callbacks, quiet)
    return place


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
    if not folder.recipe.exists():
        raise RunError(f"{path} is no run (it has no recipe.yaml).")
    recipe = load(folder.recipe, *overrides)
    checkpoint = folder.load_checkpoint()
    state = checkpoint.get("hetrl")
    if state is None:
        raise RunError(f"{folder.checkpoint} was not written by hetrl.")
    refuse_other_recipe(recipe, state["recipe"])
    if state["frames"] >= recipe.run.frames:
        raise RunError(f"{path} is finished ({state['frames']} frames); go on with run.frames=... above that.")
    module, data = build(recipe)
    folder.recipe.write_text(recipe.yaml())
    _fit(folder, recipe, module, data, int(state["frames"]), wandb, callbacks, quiet)
    return folder


def _fit(
    folder: Folder,
    recipe: Recipe,
    module: Any,
    data: Any,
    resumed: int | None,
    wandb: str | None,
    more: Sequence[L.Callback],
    quiet: bool,
) -> None:
    loggers: list[Logger] = [
        CsvTable(folder.metrics, resumed),
        TensorBoardLogger(str(folder.path), name="", version="tensorboard", purge_step=resumed),
    ]
    if wandb is not None:
        loggers.append(_wandb_logger(wandb, folder))
    every = recipe.run.checkpoint_every or max(recipe.run.frames // 20, 1)
    callbacks: list[L.Callback] = [
        Checkpoints(folder.checkpoint.parent, every),
        GracefulStop(),
        Timings(CsvTable(folder.timings, resumed)),
        *more,
    ]
    if not quiet:
        callbacks.append(ProgressBar())
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # Lightning's advice for other kinds of training, and a deprecation between it and torch.
        warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        trainer = L.Trainer(
            max_epochs=1,
            accelerator="gpu" if data.device.type == "cuda" else "cpu",
            devices=1,
            logger=loggers,
            callbacks=callbacks,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=1,
            default_root_dir=str(folder.path),
        )
        trainer.fit(module, data, ckpt_path=str(folder.checkpoint) if resumed is not None else None, weights_only=True)


def _wandb_logger(project: str, folder: Folder) -> Logger:
    try:
        import wandb  # noqa: F401
    except ImportError:
        raise DependencyError("--wandb needs Weights & Biases: pip install 'hetrl[wandb]'.") from None
    from lightning.pytorch.loggers import WandbLogger

    return WandbLogger(project=project, name=folder.path.name, save_dir=str(folder.path))


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
    if not folder.recipe.exists():
        raise RunError(f"{path} is no run (it has no recipe.yaml).")
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
