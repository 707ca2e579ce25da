"""``hetrl diff``."""

from typing import Annotated

import typer

from hetrl.cli import completion
from hetrl.cli import parts as files
from hetrl.cli.console import out
from hetrl.cli.options import Parts


def _sides(incomplete: str) -> list[str]:
    return completion.recipes(incomplete) + completion.runs(incomplete)


def diff(
    one: Annotated[
        str, typer.Argument(help="A shipped recipe, a YAML file, or a run's folder.", autocompletion=_sides)
    ],
    other: Annotated[str, typer.Argument(help="The same, to set beside it.", autocompletion=_sides)],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Changes to the second one.", metavar="[A.B=C]...", autocompletion=completion.overrides),
    ] = None,
    parts: Parts = None,
) -> None:
    """Say what two recipes do differently: nets, phases, steps and arguments, rather than lines of text."""
    files.run(parts)
    from hetrl.recipe.diff import recipe_of, show_differences
    from hetrl.recipe.read import load

    texts = overrides or []
    recipes = load(recipe_of(one)), load(recipe_of(other), *texts)
    out.print(show_differences(*recipes, (one, " ".join([other, *texts]))))
