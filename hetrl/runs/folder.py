"""A run's folder: the files in it, and what a new one is called."""

import functools
import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hetrl.disk import replace_text, writes
from hetrl.errors import RunError, nearest
from hetrl.recipe import text as yaml_text
from hetrl.recipe.read import load
from hetrl.recipe.same import first_difference
from hetrl.recipe.schema import Recipe
from hetrl.runs import lock, parts
from hetrl.runs.csv_table import FRAMES, read
from hetrl.runs.machine import describe_machine
from hetrl.train import checkpoint_file
from hetrl.train.restorable import refuse_malformed

_NO_NAME = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
"""Letters that no file of Windows has in its name, nor a folder that is to be copied there."""
LAST = "last"
"""The name of a run's last checkpoint."""


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
    def init(self) -> Path:
        """What the run was given to begin with, where it was given anything."""
        return self.path / "init.json"

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
        """Return what :func:`~hetrl.runs.machine.describe_machine` said; empty where the file is missing.

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
        if kept := self.parts():
            parts.compare(self.path, self.tree(), kept)

    def keep_parts(self) -> None:
        """Keep the files that have registered what the run uses, as they are now, beside those that are kept.

        Raises:
            RunError: one cannot be written.
        """
        kept = parts.keep(self.path, self.tree(), self.parts())
        if kept != self.parts():
            replace_text(self.versions, json.dumps({**self.machine(), "parts": kept}, indent=1) + "\n")

    def named(self, name: str) -> Path:
        """Return a checkpoint by name: ``last``, ``previous``, ``best``, its frames, or its file's name.

        ``best`` is the one of the best evaluation among those that :attr:`run.keep` kept.

        Raises:
            RunError: there is no such checkpoint.
        """
        folder = self.checkpoint.parent
        if name == LAST:
            return self.checkpoint
        if name == "best":
            return self._best()
        for each in (f"{name}.ckpt", name, f"best-{name}.ckpt", f"frames-{name}.ckpt"):
            if Path(each).name == each and (folder / each).is_file():
                return folder / each
        known = [each.stem for each in folder.glob("*.ckpt")]
        raise RunError(f"{self.path} has no checkpoint '{name}'.{nearest(name, known)}")

    def _best(self) -> Path:
        scores = {int(row[FRAMES]): row["eval/return"] for row in read(self.metrics) if "eval/return" in row}
        kept = {frames: self.checkpoint.parent / f"best-{frames}.ckpt" for frames in scores}
        there = [frames for frames, path in kept.items() if path.is_file()]
        if not there:
            raise RunError(f"{self.path} has kept no best checkpoint; train with run.keep=best (--keep best).")
        return kept[max(there, key=lambda frames: (scores[frames], -frames))]

    def load_checkpoint(self, name: str = LAST) -> dict[str, Any]:
        """Return a checkpoint, by default the last one, once its digest is found right.

        Raises:
            RunError: there is none, or it cannot be read, is damaged, or another program's.
        """
        if name != LAST:
            return self._read_checkpoint(self.named(name))
        if not self.checkpoint.exists():
            before = checkpoint_file.previous(self.checkpoint)
            if before.exists():
                raise RunError(
                    f"{self.checkpoint} is gone; go on from the one before it: mv {before} {self.checkpoint}"
                )
            raise RunError(f"{self.path} has no checkpoint yet (checkpoints/last.ckpt).")
        return self._read_checkpoint(self.checkpoint)

    def frames_saved(self) -> int:
        """Return the frames of the last checkpoint; 0 where there is none.

        Raises:
            RunError: it cannot be read, is damaged, or another program's.
        """
        if not self.checkpoint.exists():
            return 0
        return int(self._read_checkpoint(self.checkpoint, mmap=True)["hetrl"]["frames"])

    def frames_logged(self) -> int:
        """Return the frames of the last row of the metrics; 0 where there is none."""
        rows = read(self.metrics) if self.metrics.exists() else []
        return int(rows[-1][FRAMES]) if rows else 0

    @staticmethod
    def _read_checkpoint(path: Path, *, mmap: bool = False) -> dict[str, Any]:
        found = checkpoint_file.read(path, mmap=mmap)
        refuse_malformed(found, path)
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


def default_folder(recipe: Recipe, *, seeds: bool = False, search: bool = False) -> Path:
    """Return a folder under ``runs/`` that does not exist yet, named after recipe, task and the one seed."""
    task = task_name({"use": recipe.task.name, **recipe.task.arguments})
    ending = "_search" if search else "" if seeds else f"_seed{recipe.run.seed}"
    stem = _NO_NAME.sub("_", f"{recipe.name}_{task}") + ending
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
    make_room(folder, recipe)
    replace_text(folder.recipe, recipe.yaml())
    replace_text(folder.versions, json.dumps(describe_machine(recipe), indent=1) + "\n")
    folder.keep_parts()
    return folder


def make_room(folder: Folder, recipe: Recipe) -> None:
    """Clear away what a start without a checkpoint has left; say what any other folder holds.

    The same recipe with the same seed makes the same rows again. Of another one, only what nothing was trained in goes.

    Raises:
        RunError: something is there already, or it cannot be written.
    """
    with writes(folder.path):
        folder.path.mkdir(parents=True, exist_ok=True)
        if not is_free(folder.path):
            _clear(folder, recipe)


def _clear(folder: Folder, recipe: Recipe) -> None:
    path = folder.path
    if not folder.recipe.exists():
        raise RunError(f"{path} exists and is no run; choose another --folder.")
    if any(folder.checkpoint.parent.glob("*.ckpt")) or folder.frames_logged() > 0:
        _refuse_taken(folder, recipe)
    for file in (folder.init, folder.metrics, folder.timings):
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
