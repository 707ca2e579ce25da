"""The checker: does a recipe link? One file a question, all of them asked before anything is built."""

from collections.abc import Iterable

from hetrl.recipe.check.amounts import check_minibatches
from hetrl.recipe.check.gradients import check_gradients
from hetrl.recipe.check.keys import check_keys
from hetrl.recipe.check.names import check_names, provided_keys
from hetrl.recipe.check.nets import check_front, check_net, check_nets_used, check_zeros
from hetrl.recipe.check.phases import check_phase, check_time
from hetrl.recipe.check.scopes import check_scopes
from hetrl.recipe.check.shares import check_shares
from hetrl.recipe.check.team import check_team
from hetrl.recipe.loaded import need_recipe
from hetrl.recipe.plan import Plan, grouped
from hetrl.recipe.schema import Recipe
from hetrl.team import Team


def check(recipe: Recipe, team: Team | None = None, provided: Iterable[str] | None = None) -> Plan:
    """Return the plan of a recipe that links.

    Args:
        recipe: what :func:`hetrl.load` returned.
        team: the task's agents, to check what depends on them too.
        provided: the keys of the batches, where they come from elsewhere; left out, what the recipe's task and data
            write.

    Raises:
        RecipeError: where, what, and what to do, in one line.
    """
    need_recipe(recipe, "hetrl.check({})")
    for net in recipe.nets.values():
        check_net(net)
        check_front(net, recipe)
    own = provided is None
    given = provided_keys(recipe) if provided is None else list(provided)
    if team is not None:
        team = grouped(recipe, team)
    check_zeros(recipe)
    plan = Plan.of(recipe)
    check_names(recipe)
    for phase in recipe.update:
        for step in phase.every_step:
            check_scopes(step, plan)
    for phase in recipe.update:
        check_phase(phase, plan)
        check_gradients(phase, recipe.nets)
    check_keys(plan, given)
    if own:
        check_time(recipe)
        check_minibatches(recipe)
        check_shares(recipe)
    check_nets_used(plan)
    if team is not None:
        check_team(plan, team)
    return plan
