"""The arguments and options that several commands take."""

from pathlib import Path
from typing import Annotated

import typer

from hetrl.cli import completion

RecipeName = Annotated[
    str,
    typer.Argument(
        help="A shipped recipe (see 'hetrl list recipe') or a YAML file.", autocompletion=completion.recipes
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        help="Changes, such as run.seed=1 or update.actors.epochs=10.",
        metavar="[A.B=C]...",
        autocompletion=completion.overrides,
    ),
]
RunPath = Annotated[Path, typer.Argument(help="A run's folder.", autocompletion=completion.runs)]
Parts = Annotated[
    list[Path] | None,
    typer.Option("--parts", help="A Python file that registers parts of yours; may be given several times."),
]
