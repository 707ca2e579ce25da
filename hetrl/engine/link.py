"""From a recipe and a team to modules: checked, built, and proved."""

import warnings
from collections.abc import Iterable

from hetrl.engine.linked import Linked
from hetrl.engine.rehearsal import refuse_misfits
from hetrl.errors import HetrlWarning
from hetrl.recipe.check import check
from hetrl.recipe.check.large import large_observations
from hetrl.recipe.loaded import need_recipe
from hetrl.recipe.plan import grouped
from hetrl.recipe.schema import Recipe
from hetrl.team import Team


def link(recipe: Recipe, team: Team, provided: Iterable[str] | None = None) -> Linked:
    """Check a recipe against a team and build its modules.

    Args:
        recipe: what :func:`hetrl.load` returned.
        team: the task's agents.
        provided: the keys of a batch; left out, what the recipe's task and data write.

    Raises:
        RecipeError: it does not link, or a part of a package is not what such a part has to be.
    """
    need_recipe(recipe, "hetrl.link({}, team)")
    team = grouped(recipe, team)
    plan = check(recipe, team, provided)
    for line in large_observations(recipe, team):
        warnings.warn(line, HetrlWarning, stacklevel=2)
    linked = Linked(plan, team, recipe.run.seed)
    if provided is None:
        refuse_misfits(linked)
    return linked
