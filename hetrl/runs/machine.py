"""What a run says of the machine and of the packages that it is trained with."""

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from hetrl import catalog
from hetrl.recipe.schema import Recipe
from hetrl.runs import parts

PACKAGES = ("hetrl", "torch", "torchrl", "tensordict", "lightning", "vmas", "numpy", "omegaconf")


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
