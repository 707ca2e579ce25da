"""hetrl: heterogeneous-agent multi-agent reinforcement learning, composed from small parts.

>>> import hetrl
>>> recipe = hetrl.load("happo", "task.n_envs=32")
>>> recipe.update[1].train
'actor'
"""

from typing import Any

from hetrl.catalog import component, register
from hetrl.component import Component
from hetrl.engine.link import link
from hetrl.errors import HetrlError
from hetrl.network import Network, Policy, mode
from hetrl.recipe.check import check
from hetrl.recipe.loaded import need_recipe
from hetrl.recipe.read import load
from hetrl.recipe.schema import Recipe

__version__ = "0.1.0"

__all__ = [
    "Component",
    "HetrlError",
    "Network",
    "Policy",
    "Recipe",
    "build",
    "check",
    "component",
    "link",
    "load",
    "mode",
    "register",
]


def build(recipe: Recipe) -> tuple[Any, Any]:
    """Return the LightningModule and the data of a recipe, for ``L.Trainer(...).fit(module, data)``.

    Raises:
        RecipeError: the recipe does not link, or its task cannot be built.
    """
    need_recipe(recipe, "hetrl.build({})")
    from hetrl.train.build import build  # importing lightning takes seconds

    return build(recipe)


Recipe.builder = staticmethod(build)
