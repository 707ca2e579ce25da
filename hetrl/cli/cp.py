"""``hetrl cp``."""

from pathlib import Path
from typing import Annotated

import typer

from hetrl.cli.console import out
from hetrl.cli.options import RecipeName
from hetrl.errors import RunError


def cp(
    recipe: RecipeName,
    file: Annotated[Path, typer.Argument(help="Where to put the copy.")],
) -> None:
    """Copy a shipped recipe to a file of your own, to change it."""
    from hetrl.disk import replace_text
    from hetrl.recipe.packaged import recipes

    known = recipes()
    if recipe not in known:
        from hetrl.recipe.read import load

        load(recipe)  # says what is wrong, and the nearest name
        known = {recipe: Path(recipe)}
    try:
        if file.is_dir():
            file = file / known[recipe].name
        if file.exists():
            raise RunError(f"{file} exists; choose another name.")
    except OSError as error:  # a name too long, a folder that is closed to us
        raise RunError(f"{file} cannot be written: {error.strerror or error}.") from None
    replace_text(file, known[recipe].read_text(encoding="utf-8"))
    out.print(f"{file}\nhetrl check {file}\nhetrl train {file}", soft_wrap=True, highlight=False)
