"""hetrl: heterogeneous-agent multi-agent reinforcement learning, composed from small parts.

>>> import hetrl
>>> recipe = hetrl.load("happo", "task.n_envs=32")
>>> recipe.update[1].train
'actor'
"""

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import hetrl.train  # noqa: F401  (the package, found before the function below takes its name here)
from hetrl.catalog import component, register
from hetrl.component import Component
from hetrl.engine.link import link
from hetrl.errors import HetrlError
from hetrl.network import Network, Policy, mode
from hetrl.recipe.check import check
from hetrl.recipe.loaded import need_recipe
from hetrl.recipe.read import load
from hetrl.recipe.schema import Recipe

if TYPE_CHECKING:
    import lightning

    from hetrl.api.run import Run

__version__ = "0.1.0"

__all__ = [
    "Component",
    "HetrlError",
    "Network",
    "Policy",
    "Recipe",
    "Run",
    "build",
    "check",
    "component",
    "link",
    "load",
    "mode",
    "register",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "Run":  # it brings lightning and matplotlib along, which takes seconds
        from hetrl.api.run import Run

        return Run
    raise AttributeError(f"module 'hetrl' has no attribute {name!r}")


def build(recipe: Recipe) -> tuple[Any, Any]:
    """Return the LightningModule and the data of a recipe, for ``L.Trainer(...).fit(module, data)``.

    Raises:
        RecipeError: the recipe does not link, or its task cannot be built.
    """
    need_recipe(recipe, "hetrl.build({})")
    from hetrl.train.build import build  # importing lightning takes seconds

    return build(recipe)


def train(
    recipe: "str | os.PathLike[str] | Mapping[str, Any] | Recipe",
    *overrides: str,
    folder: "str | os.PathLike[str] | None" = None,
    seeds: int | None = None,
    at_once: int | None = None,
    callbacks: "Sequence[lightning.Callback]" = (),
    wandb: str | None = None,
    quiet: bool = False,
) -> "Run":
    """Train a recipe in a new folder, as ``hetrl train`` does, and return the run.

    ```python
    run = hetrl.train("happo", "task.n_envs=64", folder="runs/balance")
    ```

    Args:
        recipe: as for :func:`hetrl.load`: the name of a shipped recipe, a YAML file, nested dicts, or a recipe.
        overrides: changes to it, ``a.b=c``.
        folder: where; by default a new one under ``runs/``.
        seeds: train so many seeds, from ``run.seed`` upwards, each in a process of its own; see ``Run.seeds``.
        at_once: how many of them at once; by default as many as there are cores.
        callbacks: more of Lightning's; not with seeds.
        wandb: a Weights & Biases project to log to as well.
        quiet: no progress.

    Raises:
        RecipeError: the recipe cannot be read, or does not link.
        RunError: the folder is taken, or cannot be written; or seeds have failed.
        DivergenceError: a number became NaN or infinite.
    """
    from hetrl.api.train import train

    return train(
        recipe, *overrides, folder=folder, seeds=seeds, at_once=at_once, callbacks=callbacks, wandb=wandb, quiet=quiet
    )


Recipe.builder = staticmethod(build)
