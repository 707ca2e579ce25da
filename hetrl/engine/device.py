"""Which device a run takes, and why."""

from dataclasses import dataclass
from typing import Any

import torch

from hetrl.errors import RecipeError
from hetrl.ranks import Rank
from hetrl.recipe.schema import Recipe

_ENVS, _ROWS = 512, 2048
"""From so many environments, or rows of a minibatch, on a GPU is the quicker. By count: it takes some 7 microseconds
for each of the 900 operations of a step of VMAS, and of the 70 of a minibatch, whatever the rows; a core takes about 5
milliseconds and 5 microseconds a row for the step, and 3 microseconds a row for the minibatch."""


@dataclass(frozen=True)
class Chosen:
    """A device, and where ``auto`` had a choice, a line that says how it chose."""

    device: torch.device
    why: str | None = None


def chosen(recipe: Recipe) -> Chosen:
    """Return the device that ``run.device`` names; of ``auto`` the one that should be quicker for a job of this size.

    Where a run begins, ``auto`` is measured instead, see :mod:`hetrl.train.placed`.

    Raises:
        RecipeError: it names a GPU that is not here.
    """
    name = recipe.run.device
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return Chosen(torch.device("cpu"))
    if name != "auto":
        return Chosen(named(name, recipe))
    n_envs, n_rows = sizes(recipe)
    of = f"{n_envs:,} environments and minibatches of {n_rows:,} rows"
    least = f"from {_ENVS:,} environments, or {_ROWS:,} rows, on"
    if n_envs >= _ENVS or n_rows >= _ROWS:
        return Chosen(named("cuda", recipe), f"run.device=auto takes the GPU: {of}; it pays {least}.")
    line = f"run.device=auto takes the CPU: a GPU pays {least}, and here are {of}; run.device=cuda takes it anyway."
    return Chosen(torch.device("cpu"), line)


def resolve_device(recipe: Recipe) -> torch.device:
    """Return the device alone, see :func:`chosen`."""
    return chosen(recipe).device


def sizes(recipe: Recipe) -> tuple[int, int]:
    """Return how many environments there are, and how many rows the largest minibatch of a phase has."""
    cls: Any = recipe.data.entry("data")
    n_envs = recipe.task.arguments.get("n_envs", 1)
    amounts = cls.amounts(recipe.data.arguments, n_envs, recipe.run.frames)
    n_rows = n_envs if amounts is None else amounts[2]
    return n_envs, max((n_rows // phase.minibatches for phase in recipe.update if phase.train is not None), default=0)


def named(name: str, recipe: Recipe) -> torch.device:
    """Return the device that ``cpu``, ``cuda`` or ``cuda:1`` is; a GPU with its number, of which each process has one.

    Raises:
        RecipeError: it is not here.
    """
    device = torch.device(name)
    if device.type == "cpu":
        return device
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if not n_gpus:
        raise RecipeError("run.device: there is no CUDA GPU here; use cpu, or auto.")
    run = recipe.run
    if run.n_ranks > 1:
        if n_gpus < run.devices:
            raise RecipeError(
                f"run.devices = {run.devices} processes need a GPU each, and here are {n_gpus}; write "
                f"run.devices={n_gpus}, or run.device=cpu."
            )
        return torch.device("cuda", Rank.here(run.devices, run.nodes).local)
    index = torch.cuda.current_device() if device.index is None else device.index
    if index >= n_gpus:
        raise RecipeError(f"run.device: there is no cuda:{index} here, the last is cuda:{n_gpus - 1}.")
    return torch.device("cuda", index)
