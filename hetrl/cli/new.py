"""``hetrl new``."""

from pathlib import Path
from typing import Annotated

import typer

from hetrl.cli.console import out


def new(
    kind: Annotated[str, typer.Argument(help="loss, weight, estimate, order, net, optim, data or env.")],
    name: Annotated[str, typer.Argument(help="What recipes will call it, vendor.name.", metavar="VENDOR.NAME")],
    folder: Annotated[Path, typer.Argument(help="Where to write the package; a folder that does not exist.")],
) -> None:
    """Start a package of your own: one part, its tests to fill in, and a recipe that uses it."""
    from hetrl.scaffold.new import new

    files = new(kind, name, folder)
    steps = f'cd {folder}\npython -m pip install -e ".[dev]"\npython -m pytest    # fails where something is to fill in'
    text = "\n".join([*map(str, files), "", "Next:", *(f"  {line}" for line in steps.splitlines())])
    out.print(text, soft_wrap=True, highlight=False)
