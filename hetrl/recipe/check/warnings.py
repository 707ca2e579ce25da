"""What links and yet trains nothing, or not what it seems to."""

from hetrl.recipe.schema import Recipe


def warnings_of(recipe: Recipe) -> list[str]:
    """Return one line for each."""
    return []
