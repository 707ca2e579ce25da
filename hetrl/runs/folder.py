"""A run's folder: the files in it, what a new one is called, and what it says about the machine."""

import functools
import json
import platform
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from hetrl import catalog
from hetrl.errors import RunError
from hetrl.recipe.read import load
from hetrl.recipe.same import first_difference
from hetrl.recipe.schema import Recipe
from hetrl.runs.csv_table import FRAMES, read

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
            RunError: it has no recipe.
        """
        if not self.recipe.exists():
            raise RunError(f"{self.path} is no run (it has no recipe.yaml).")

    def tree(self) -> dict[str, Any]:
        """Return the resolved recipe as nested dicts; they are shared, and not to be changed."""
        return _parsed(self.recipe.read_text(encoding="utf-8"))

    def load_checkpoint(self) -> dict[str, Any]:
        """Return the last checkpoint.

        Raises:
            RunError: there is none, or it cannot be read, or it is another program's.
        """
        if not self.checkpoint.exists():
            raise RunError(f"{self.path} has no checkpoint yet (checkpoints/last.ckpt).")
        return self._read_checkpoint()

    def frames_saved(self) -> int:
        """Return the frames of the last checkpoint, without reading its tensors; 0 where there is none.

        Raises:
            RunError: it cannot be read.
        """
        return int(self._read_checkpoint(mmap=True)["hetrl"]["frames"]) if self.checkpoint.exists() else 0

    def frames_logged(self) -> int:
        """Return the frames of the last row of the metrics; 0 where there is none."""
        rows = read(self.metrics) if self.metrics.exists() else []
        return int(rows[-1][FRAMES]) if rows else 0

    def _read_checkpoint(self, **how: bool) -> dict[str, Any]:
        try:
            found = torch.load(self.checkpoint, map_location="cpu", weights_only=True, **how)
        except Exception as error:
            raise RunError(f"{self.checkpoint} cannot be read as a checkpoint: {error}.") from error
        if not isinstance(found, dict) or "hetrl" not in found:
            raise RunError(f"{self.checkpoint} was not written by hetrl.")
        return found


@functools.lru_cache(maxsize=1024)
def _parsed(text: str) -> dict[str, Any]:
    # OmegaConf takes some hundredths of a second, and a comparison asks often.
    return OmegaConf.to_container(OmegaConf.create(text))  # type: ignore[return-value]


def task_name(task: Mapping[str, Any]) -> str:
    """Return what a task is called, from its section of a resolved recipe: the scenario, say, or the environment."""
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


def open_folder(path: Path, recipe: Recipe) -> Folder:
    """Return a new run's folder, with the recipe and the versions in it.

    Raises:
        RunError: something is there already.
    """
    folder = Folder(path)
    if path.exists() and any(path.iterdir()):
        _refuse_taken(folder, recipe)
    path.mkdir(parents=True, exist_ok=True)
    folder.recipe.write_text(recipe.yaml())
    folder.versions.write_text(json.dumps(describe_machine(recipe), indent=1) + "\n")
    return folder


def _refuse_taken(folder: Folder, recipe: Recipe) -> None:
    """Say what a folder that is not empty holds."""
    path = folder.path
    if not folder.recipe.exists():
        raise RunError(f"{path} exists and is no run; choose another --folder.")
    difference = first_difference(recipe.tree, load(folder.recipe).tree)
    if difference is not None:
        raise RunError(f"{path} holds a run of another recipe ({difference[0]} differs); choose another --folder.")
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
    found |= catalog.outside(_used(recipe.tree))
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    machine = {"python": platform.python_version(), "system": platform.platform(), "gpu": gpu}
    threads = recipe.run.threads or torch.get_num_threads()  # those that it trains with
    return {"seed": recipe.run.seed, **machine, "threads": threads, "packages": found}


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
