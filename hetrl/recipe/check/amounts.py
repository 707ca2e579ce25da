"""How much is there: samples in a run, rows in a sample? Of sources of data that say it."""

from dataclasses import dataclass

from hetrl import arguments
from hetrl.errors import RecipeError
from hetrl.recipe.plan import chunks
from hetrl.recipe.schema import Phase, Recipe


@dataclass(frozen=True)
class Amounts:
    """How much a run collects and trains on."""

    samples: int
    """Samples that the phases run on."""
    frames: int
    """Frames collected, whole collections."""
    rows: int
    """Rows of one sample."""

    @classmethod
    def of(cls, recipe: Recipe) -> "Amounts | None":
        """Return the amounts of a recipe whose names are known; None where its source of data does not say them."""
        found = recipe.data.entry("data").amounts(recipe.data.arguments, n_envs(recipe), recipe.run.frames)
        return None if found is None else cls(*found)


def n_envs(recipe: Recipe) -> int:
    """Return the task's environments, as the recipe says or by default."""
    default = arguments.parameters(recipe.task.entry("env").__init__)["n_envs"].default
    return recipe.task.arguments.get("n_envs", default)


def entries(phase: Phase, recipe: Recipe, rows: int) -> tuple[int, str]:
    """Return how many entries minibatches are made of, and what they are: rows, or chunks of a recurrent net."""
    found = chunks(recipe, {mode.net for step in phase.steps for mode in step.modes})
    if not found:
        return rows, "rows"
    chunk = next(iter(found.values()))  # the checker has seen that they are equal
    return rows // chunk, f"chunks of {chunk} steps"


def check_minibatches(recipe: Recipe) -> None:
    """Refuse more minibatches than a sample can be cut into.

    Raises:
        RecipeError: with both numbers.
    """
    amounts = Amounts.of(recipe)
    for phase in recipe.update:
        if amounts is None or not phase.trained:
            continue
        count, what = entries(phase, recipe, amounts.rows)
        if phase.minibatches > count:
            raise RecipeError(
                f"{phase.where}.minibatches = {phase.minibatches} is more than the {count} {what} of a batch; write at "
                f"most {count}, or give a batch more rows."
            )
