"""``hetrl report``."""

from pathlib import Path
from typing import Annotated

import typer

from hetrl.cli import parts as files
from hetrl.cli.console import out
from hetrl.cli.options import Parts, RunPath


def report(
    run: RunPath,
    to: Annotated[Path | None, typer.Option(help="The page to write; by default RUN/report.html.")] = None,
    parts: Parts = None,
) -> None:
    """Write one page about a run, in one file: curves, agents, the linked program, recipe, timings, versions."""
    files.run(parts)
    from hetrl.report.page import write

    out.print(str(write(run, to or run / "report.html")), soft_wrap=True, highlight=False)
