"""Is everything that the recipe names there, and do its arguments suit it?"""

from hetrl import arguments, catalog
from hetrl.errors import RecipeError
from hetrl.recipe.check.amounts import n_envs
from hetrl.recipe.check.memory import memories
from hetrl.recipe.net import Mode
from hetrl.recipe.plan import chunks
from hetrl.recipe.schema import Recipe


def check_names(recipe: Recipe) -> None:
    """Look up what every step stands for.

    Raises:
        RecipeError: an entry, a net, a mode, a role or an argument is unknown.
    """
    for phase in recipe.update:
        for step in phase.every_step:
            step.look_up()


def provided_keys(recipe: Recipe) -> list[str]:
    """Return the keys that the recipe's own task and data write.

    Raises:
        RecipeError: the task or the data is unknown, or their arguments do not suit them or each other.
    """
    environment, data = recipe.task.entry("env"), recipe.data.entry("data")
    for word in ("seed", "device"):
        if word in recipe.task.arguments:
            raise RecipeError(f"task.{word}: set run.{word} instead; it holds for the whole run.")
    environment.check_arguments(recipe.task.arguments)
    data.check_arguments(recipe.data.arguments, n_envs(recipe))
    _check_judge(recipe)
    carried = memories(recipe, data, n_envs(recipe)) if chunks(recipe) else []
    return data.provides([*environment.provides(recipe.task.arguments), *carried])


def _check_judge(recipe: Recipe) -> None:
    """Refuse a judge of candidates that cannot value a joint action; see ``data/replay``."""
    if recipe.data.arguments.get("n_candidates", 1) == 1:
        return
    default = arguments.parameters(catalog.resolve(recipe.data.name, "data").__init__)["judge"].default
    judge = str(recipe.data.arguments.get("judge", default))
    try:
        mode = Mode.of(judge, recipe.nets)
    except RecipeError as error:
        raise RecipeError(f"data.judge: {error}") from None
    needed = set(mode.table.reads) - set(mode.table.optional)
    if (needed, set(mode.table.writes)) != ({"state", "action"}, {"q"}) or mode.slow:
        raise RecipeError(f"data.judge: '{judge}' does not value joint actions as they are now; write {default}.")
