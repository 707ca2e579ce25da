"""``hetrl show``."""

from hetrl.cli import parts as files
from hetrl.cli.console import out
from hetrl.cli.options import Overrides, Parts, RecipeName


def show(recipe: RecipeName, overrides: Overrides = None, parts: Parts = None) -> None:
    """Print the linked program: every step with the keys it reads and writes, and their shapes."""
    files.run(parts)
    from hetrl.engine.show import show
    from hetrl.engine.task import team_of
    from hetrl.recipe.check import check
    from hetrl.recipe.read import load

    loaded = load(recipe, *(overrides or []))
    check(loaded)
    out.print(show(loaded, team_of(loaded)))
