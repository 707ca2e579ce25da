"""A recipe as several commands take it: checked, warned about, with the agents of its task."""

from typing import TYPE_CHECKING

from hetrl.cli.console import err

if TYPE_CHECKING:
    from hetrl.recipe.schema import Recipe
    from hetrl.team import Team


def warned(recipe: "Recipe") -> "Recipe":
    """Return a recipe that links, after saying in a line each what it says in vain."""
    from hetrl.recipe.check import check
    from hetrl.recipe.check.warnings import warnings_of

    check(recipe)
    for line in warnings_of(recipe):
        err.print(f"warning: {line}", style="yellow", soft_wrap=True, highlight=False)
    return recipe


def team_of(recipe: "Recipe") -> "Team":
    """Return the agents of a recipe's task."""
    from hetrl.train.build import make_env, resolve_device

    return make_env(recipe, resolve_device("cpu"), 0, n_envs=1).team
