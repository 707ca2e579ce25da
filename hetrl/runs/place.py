"""Where runs are trained, as ``--on`` says it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hetrl.engine.device import resolve_device
from hetrl.errors import RunError
from hetrl.recipe.schema import Recipe
from hetrl.runs.launch import Executor
from hetrl.runs.local import LocalProcesses
from hetrl.runs.submitted import Slurm, SubmititHere, Submits, refuse_place, refuse_without_time

_MANY = 1_000_000
"""Jobs at once where a queue decides."""
_GPU_WORDS = ("gpus_per_node", "gres", "gpus", "gpus_per_task")


@dataclass(frozen=True)
class RunPlace:
    """A place, and what runs ask for there.

    Raises:
        RunError: there is no such place, or what it needs is missing.
    """

    name: str = "local"
    words: Mapping[str, Any] = field(default_factory=dict)
    """Of each job of Slurm."""
    at_once: int | None = None

    def __post_init__(self) -> None:
        refuse_place(self.name)
        if self.name == "slurm":
            refuse_without_time(self.words)
        elif self.words and self.name == "local":
            raise RunError("--slurm goes with --on slurm.")

    def refuse_device(self, recipe: Recipe) -> None:
        """Refuse a recipe whose device is not there; of a cluster, one that asks for a GPU and gets none.

        Raises:
            RecipeError: the device is not here.
            RunError: jobs ask for no GPU.
        """
        if self.name != "slurm":
            resolve_device(recipe)
        elif recipe.run.device.startswith("cuda") and not any(word in self.words for word in _GPU_WORDS):
            raise RunError(
                f"{recipe.name}: run.device={recipe.run.device}, and the jobs ask for no GPU; --slurm gpus_per_node=1."
            )

    def executor(self, folder: Path, *recipes: Recipe) -> Executor:
        """Return what starts the runs of some recipes.

        Args:
            folder: of all of them.
            recipes: each once.
        """
        threads = max(recipe.run.threads or 1 for recipe in recipes)
        inside = folder / "submitit"
        if self.name == "slurm":
            words = {"cpus_per_task": threads, **self.words}
            return Submits(Slurm(inside, words), threads, self.at_once or _MANY)
        on_gpu = any(":" not in recipe.run.device and resolve_device(recipe).type == "cuda" for recipe in recipes)
        here = LocalProcesses(threads, self.at_once, on_gpu)
        if self.name == "local":
            return here
        return Submits(SubmititHere(inside, self.words), threads, here.at_once, here)
