"""hetrl: heterogeneous-agent multi-agent reinforcement learning, composed from small parts.

>>> import hetrl
>>> recipe = hetrl.load("happo", "task.n_envs=32")
>>> recipe.update[1].train
'actor'

What it offers is imported when it is first asked for: torch takes a second, and help and lists do without it.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hetrl.errors import HetrlError

if TYPE_CHECKING:
    from hetrl.api.run import Run
    from hetrl.api.train import train
    from hetrl.catalog import component, register
    from hetrl.component import Component
    from hetrl.engine.link import link
    from hetrl.network import Network, Policy, mode
    from hetrl.recipe.check import check
    from hetrl.recipe.read import load
    from hetrl.recipe.schema import Recipe

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
_PLACES = {
    "Component": "hetrl.component",
    "Network": "hetrl.network",
    "Policy": "hetrl.network",
    "Recipe": "hetrl.recipe.schema",
    "Run": "hetrl.api.run",
    "check": "hetrl.recipe.check",
    "component": "hetrl.catalog",
    "link": "hetrl.engine.link",
    "load": "hetrl.recipe.read",
    "mode": "hetrl.network",
    "register": "hetrl.catalog",
    "train": "hetrl.api.train",
}
"""Name -> the module that it is imported from when it is first asked for."""


def build(recipe: "Recipe") -> tuple[Any, Any]:
    """Return the LightningModule and the data of a recipe, for ``L.Trainer(...).fit(module, data)``.

    Raises:
        RecipeError: the recipe does not link, or its task cannot be built.
    """
    from hetrl.recipe.loaded import need_recipe

    need_recipe(recipe, "hetrl.build({})")
    from hetrl.train.build import build  # importing lightning takes seconds

    return build(recipe)


if not TYPE_CHECKING:  # type checkers see the imports above

    def __getattr__(name: str) -> Any:
        if name not in _PLACES:
            raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
        value = globals()[name] = getattr(import_module(_PLACES[name]), name)
        return value

    def __dir__() -> list[str]:
        return [*__all__, "__version__"]


class _Package(ModuleType):
    """A package in which what is offered keeps its name where a module, ``hetrl/component.py``, is called the same."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _PLACES and isinstance(value, ModuleType)):  # the import of a submodule sets it here
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
