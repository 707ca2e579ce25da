"""``hetrl export``."""

from pathlib import Path
from typing import Annotated

import typer

from hetrl.cli import parts as files
from hetrl.cli.console import out
from hetrl.cli.options import Parts


def export(
    run: Annotated[Path, typer.Argument(help="A run's folder.")],
    to: Annotated[Path, typer.Argument(help="The new folder.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to the task, such as task.n_agents=5.", metavar="[A.B=C]...")
    ] = None,
    format: Annotated[str, typer.Option(help="onnx, or torch for what torch.export.load reads.")] = "onnx",
    checkpoint: Annotated[
        str, typer.Option(help="Which one: last, best, previous, or the one kept at these frames.")
    ] = "last",
    stochastic: Annotated[bool, typer.Option("--stochastic", help="With actions that are drawn.")] = False,
    parts: Parts = None,
) -> None:
    """Write a run's policies as files that need no hetrl, with a player, once they act as the policies do."""
    files.run(parts)
    from hetrl.export.export import export

    written = export(run, to, *(overrides or []), format=format, stochastic=stochastic, checkpoint=checkpoint)
    out.print(str(written), soft_wrap=True, highlight=False)
    out.print(f"Act with them: python {to / 'play.py'}", soft_wrap=True, highlight=False)
