"""The arguments and options that several commands take."""

from typing import Annotated

import typer

RecipeName = Annotated[str, typer.Argument(help="A shipped recipe (see 'hetrl list recipe') or a YAML file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Changes, such as run.seed=1 or update.actors.epochs=10.", metavar="[A.B=C]..."),
]
