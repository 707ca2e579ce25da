"""``hetrl show``."""

from hetrl.cli.console import out
from hetrl.cli.options import Overrides, RecipeName


def show(recipe: RecipeName, overrides: Overrides = None) -> None:
    """Print the linked program: every step with the keys it reads and writes, and their shapes."""
    from hetrl.engine.show import show
    from hetrl.engine.task import team_of
    from hetrl.recipe.check import check
    from hetrl.recipe.read import load

    loaded = load(recipe, *(overrides or []))
    check(loaded)
    out.print(show(loaded, team_of(loaded)))
