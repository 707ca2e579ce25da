"""A recipe as several commands take it: checked, and warned about."""

from typing import TYPE_CHECKING

from hetrl.cli.console import err

if TYPE_CHECKING:
    from hetrl.recipe.schema import Recipe


def warned(recipe: "Recipe") -> "Recipe":
    """Return a recipe that links, after saying in a line each what it says in vain; the first process does."""
    from hetrl.ranks import Rank
    from hetrl.recipe.check import check
    from hetrl.recipe.check.warnings import warnings_of

    check(recipe)
    first = Rank.here(recipe.run.devices, recipe.run.nodes).first
    for line in warnings_of(recipe) if first else ():
        err.print(f"warning: {line}", style="yellow", soft_wrap=True, highlight=False)
    return recipe
