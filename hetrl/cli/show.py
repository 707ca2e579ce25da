"""``hetrl show``."""

from collections.abc import Sequence
from pathlib import Path
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
        typer.Argument(help="A shipped recipe, a YAML file, a part's name, or a key.", autocompletion=completion.parts),
    ],
    overrides: Overrides = None,
    parts: Parts = None,
) -> None:
    """Print a recipe's linked program with keys and shapes, or all about one part or quantity.

    hetrl show happo, hetrl show loss/huber_value, hetrl show factor
    """
    files.run(parts)
    if catalog.is_part(recipe):
        from hetrl.report.part import describe

        _refuse_changes(recipe, "part", overrides)
        out.print(describe(recipe))
        return
    if recipe not in shipped():
        if found := catalog.with_word(recipe):
            raise RecipeError(f"no recipe '{recipe}'; of the part, write hetrl show {' or hetrl show '.join(found)}.")
        from hetrl.report.quantity import describe_quantity, quantities

        if (meant := quantities(recipe)) and not Path(recipe).is_file():
            _refuse_changes(recipe, "quantity", overrides)
            for key in meant:
                out.print(describe_quantity(key))
            return
    from hetrl.engine.show import show
    from hetrl.engine.task import team_of
    from hetrl.recipe.check import check
    from hetrl.recipe.read import load

    loaded = load(recipe, *(overrides or []))
    check(loaded)
    out.print(show(loaded, team_of(loaded)))


def _refuse_changes(name: str, what: str, overrides: Sequence[str] | None) -> None:
    if overrides:
        raise RecipeError(f"'{name}' is a {what}, and changes such as '{overrides[0]}' are made to a recipe.")
