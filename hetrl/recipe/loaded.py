"""What takes a recipe takes one that is loaded."""

from collections.abc import Mapping
from typing import Any

from hetrl.errors import RecipeError
from hetrl.recipe.schema import Recipe


def need_recipe(found: Any, call: str) -> None:
    """Refuse what is no recipe yet, such as its name.

    Args:
        found: what stands in the place of the recipe.
        call: the call as a message writes it, the recipe being ``{}``.

    Raises:
        RecipeError: it is none; with what to write instead.
    """
    if isinstance(found, Recipe):
        return
    short = "{...}" if isinstance(found, Mapping) else repr(found)
    written = call.format(f"hetrl.load({short if len(short) < 80 else '...'})")
    raise RecipeError(f"{call.split('(')[0]} takes a recipe, not a {type(found).__name__}; load it first: {written}.")
