"""A run's folder: the files in it, what a new one is called, and what it says about the machine."""

import functools
import json
import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from hetrl import catalog
from hetrl.disk import replace_text, writes
from hetrl.errors import RunError
from hetrl.recipe import text as yaml_text
from hetrl.recipe.read import load
from hetrl.recipe.same import first_difference
from hetrl.recipe.schema import Recipe
from hetrl.runs import lock, parts
from hetrl.runs.csv_table import FRAMES, read
from hetrl.train import checkpoint_file
from hetrl.train.restorable import refuse_malformed

PACKAGES = ("hetrl", "torch", "torchrl", "tensordict", "lightning", "vmas", "numpy", "omegaconf")


@dataclass(frozen=True)
class Folder:
    """Where a run keeps what it is, what it measured, and how to go on."""

    path: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe; a folder without one is no run."""
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

    def refuse_if_empty(self) -> None:
        """Raise where the folder holds no run.

        Raises:
            RunError: it has no recipe, or that is no run's.
            RecipeError: it is no recipe at all.
        """
        if not self.recipe.exists():
            raise RunError(f"{self.path} is no run (it has no recipe.yaml).")
        tree = self.tree()
        for section in ("task", "run"):
            if not isinstance(tree.get(section), dict):
                raise RunError(f"{self.recipe} is no run's recipe: it has no section '{section}'.")

    def tree(self) -> dict[str, Any]:
        """Return the resolved recipe as nested dicts; they are shared, and not to be changed.

        Raises:
            RunError: it cannot be read.
            RecipeError: it is no recipe.
        """
        try:
            with self.recipe.open(encoding="utf-8") as file:
                text = file.read(yaml_text.MOST_LETTERS + 1)
        except UnicodeDecodeError as error:
            raise RunError(f"{self.recipe} is no text ({error.reason} at byte {error.start}).") from None
        except OSError as error:
            raise RunError(f"{self.recipe} cannot be read: {error.strerror or error}.") from error
        return _parsed(text, str(self.recipe))

    def machine(self) -> dict[str, Any]:
        """Return what :func:`describe_machine` wrote; empty where the file is missing.

        Raises:
            RunError: it cannot be read.
        """
        try:
            found = json.loads(self.versions.read_bytes())
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise RunError(f"{self.versions} cannot be read: {error.strerror or error}.") from error
        except (ValueError, RecursionError):  # half a file, or no text
            found = None
        if not isinstance(found, dict) or not isinstance(found.get("packages", {}), dict):
            raise RunError(f"{self.versions} does not hold what hetrl wrote; remove it to go without.")
        return found

    def parts(self) -> dict[str, str]:
        """Return the files below ``parts/`` that registered what the run uses -> their SHA-256.

        Raises:
            RunError: it cannot be read.
        """
        found = self.machine().get("parts", {})
        return {str(name): str(digest) for name, digest in found.items()} if isinstance(found, dict) else {}

    def need_parts(self) -> None:
        """Ask for the files that the run used where a name in its recipe is missing; warn where one has changed.

        Raises:
            RunError: with the files to give.
        """
        parts.compare(self.path, self.tree(), self.parts())

    def keep_parts(self) -> None:
        """Keep the files that have registered what the run uses, as they are now, beside those that are kept.

        Raises:
            RunError: one cannot be written.
        """
        kept = parts.keep(self.path, self.tree(), self.parts())
        if kept != self.parts():
            replace_text(self.versions, json.dumps({**self.machine(), "parts": kept}, indent=1) + "\n")

    def load_checkpoint(self) -> dict[str, Any]:
        """Return the last checkpoint, once its digest is found right.

        Raises:
            RunError: there is none, or it cannot be read, is damaged, or another program's.
        """
        if not self.checkpoint.exists():
            before = checkpoint_file.previous(self.checkpoint)
            if before.exists():
                raise RunError(
                    f"{self.checkpoint} is gone; go on from the one before it: mv {before} {self.checkpoint}"
                )
            raise RunError(f"{self.path} has no checkpoint yet (checkpoints/last.ckpt).")
        return self._read_checkpoint()

    def frames_saved(self) -> int:
        """Return the frames of the last checkpoint; 0 where there is none.

        Raises:
            RunError: it cannot be read, is damaged, or another program's.
        """
        return int(self._read_checkpoint(mmap=True)["hetrl"]["frames"]) if self.checkpoint.exists() else 0

    def frames_logged(self) -> int:
        """Return the frames of the last row of the metrics; 0 where there is none."""
        rows = read(self.metrics) if self.metrics.exists() else []
        return int(rows[-1][FRAMES]) if rows else 0

    def _read_checkpoint(self, *, mmap: bool = False) -> dict[str, Any]:
        found = checkpoint_file.read(self.checkpoint, mmap=mmap)
        refuse_malformed(found, self.checkpoint)
        return found


@functools.lru_cache(maxsize=1024)
def _parsed(text: str, name: str) -> dict[str, Any]:
    # OmegaConf takes some hundredths of a second, and a comparison asks often.
    return yaml_text.parse(text, name, whole=True)


def task_name(task: Mapping[str, Any]) -> str:
    """Return what a task is called, from its section of a resolved recipe: the scenario, say, or the environment.

    Environments of others are called by their own name, whatever their words mean: ``my.forage``.
    """
    if "." in str(task["use"]):
        return str(task["use"]).split("/")[-1]
    named = [task[word] for word in ("scenario", "name", "robot") if word in task]
    return str((*named, task["use"])[0]).split("/")[-1]


def default_folder(recipe: Recipe, *, seeds: bool = False) -> Path:
    """Return a folder under ``runs/`` that does not exist yet, named after recipe, task and the one seed."""
    task = task_name({"use": recipe.task.name, **recipe.task.arguments})
    stem = f"{recipe.name}_{task}" + ("" if seeds else f"_seed{recipe.run.seed}")
    path, number = Path("runs") / stem, 2
    while path.exists():
        path, number = Path("runs") / f"{stem}_{number}", number + 1
    return path


def is_free(path: Path) -> bool:
    """Whether a folder is empty, but for its lock and for files that a kill left half written."""
    return all(each.name == lock.NAME or (each.name[0] == "." and ".part" in each.name) for each in path.iterdir())


def open_folder(path: Path, recipe: Recipe) -> Folder:
    """Return a new run's folder, with the recipe and the versions in it; to be called by its sole writer.

    Raises:
        RunError: something is there already, or it cannot be written.
    """
    folder = Folder(path)
    with writes(path):
        path.mkdir(parents=True, exist_ok=True)
        _make_room(folder, recipe)
    replace_text(folder.recipe, recipe.yaml())
    replace_text(folder.versions, json.dumps(describe_machine(recipe), indent=1) + "\n")
    folder.keep_parts()
    return folder


def _make_room(folder: Folder, recipe: Recipe) -> None:
    """Clear away what a start without a checkpoint has left; say what any other folder holds.

    The same recipe with the same seed makes the same rows again. Of another one, only what nothing was trained in goes.
    """
    path = folder.path
    if is_free(path):
        return
    if not folder.recipe.exists():
        raise RunError(f"{path} exists and is no run; choose another --folder.")
    if any(folder.checkpoint.parent.glob("*.ckpt")) or folder.frames_logged() > 0:
        _refuse_taken(folder, recipe)
    for file in (folder.metrics, folder.timings):
        file.unlink(missing_ok=True)
    for inner in (path / "tensorboard", path / parts.FOLDER, folder.checkpoint.parent):
        shutil.rmtree(inner, ignore_errors=True)


def _refuse_taken(folder: Folder, recipe: Recipe) -> None:
    """Say which run a folder holds, unless it is this one and there is nothing to go on from: it starts again."""
    path = folder.path
    difference = first_difference(recipe.tree, load(folder.recipe).tree)
    if difference is not None:
        raise RunError(f"{path} holds a run of another recipe ({difference[0]} differs); choose another --folder.")
    if any(folder.checkpoint.parent.glob("*.ckpt")):
        raise RunError(f"{path} holds this run already; continue it with --resume {path}, or choose another --folder.")


def describe_machine(recipe: Recipe) -> dict[str, Any]:
    """Return what is saved with a run: its seed, machine and threads, and the packages' versions.

    Among the packages are those that bring a part of the recipe.
    """
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    found |= catalog.outside(parts.used(recipe.tree))
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    machine = {"python": platform.python_version(), "system": platform.platform(), "gpu": gpu}
    threads = recipe.run.threads or torch.get_num_threads()  # those that it trains with
    return {"seed": recipe.run.seed, **machine, "threads": threads, "packages": found}
