"""``hetrl show``."""

from typing import Annotated

import typer

from hetrl import catalog
from hetrl.cli import completion
from hetrl.cli import parts as files
from hetrl.cli.console import out
from hetrl.cli.options import Overrides, Parts
from hetrl.errors import RecipeError
from hetrl.recipe.shipped import shipped


def show(
    recipe: Annotated[
        str,
        typer.Argument(help="A shipped recipe, a YAML file, or a part's name.", autocompletion=completion.parts),
    ],
    overrides: Overrides = None,
    parts: Parts = None,
) -> None:
    """Print a recipe's linked program with keys and shapes, or all about one part (hetrl show loss/huber_value)."""
    files.run(parts)
    if catalog.is_part(recipe):
        from hetrl.report.part import describe

        if overrides:
            raise RecipeError(f"'{recipe}' is a part, and changes such as '{overrides[0]}' are made to a recipe.")
        out.print(describe(recipe))
        return
    found = catalog.with_word(recipe)
    if found and recipe not in shipped():
        raise RecipeError(f"no recipe '{recipe}'; of the part, write hetrl show {' or hetrl show '.join(found)}.")
    from hetrl.engine.show import show
    from hetrl.engine.task import team_of
    from hetrl.recipe.check import check
    from hetrl.recipe.read import load

    loaded = load(recipe, *(overrides or []))
    check(loaded)
    out.print(show(loaded, team_of(loaded)))
