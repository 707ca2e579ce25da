"""``hetrl plot``."""

from pathlib import Path
from typing import Annotated

import typer

from hetrl.cli import completion
from hetrl.cli.console import out


def plot(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Runs or folders of seeds; what differs only by seed is a curve.", autocompletion=completion.runs
        ),
    ],
    metric: Annotated[str | None, typer.Option(help="By default eval/return, or return without evaluations.")] = None,
    to: Annotated[Path, typer.Option(help="The picture to write.")] = Path("curve.png"),
) -> None:
    """Draw learning curves as a PNG: the mean over seeds with its interval."""
    from hetrl.report.curve import draw_runs

    out.print(str(draw_runs(runs, metric, to)), soft_wrap=True, highlight=False)
